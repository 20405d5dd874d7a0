"""Waits until something changes below a path of ZooKeeper, then goes on with what it was.

A sensor asks the history, so that a change is not missed that came between two looks, or while Airflow was down.
"""

from datetime import datetime

from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
from airflow.providers.common.sql.sensors.sql import SqlSensor
from airflow.sdk import DAG, Param

# Below the path, since the moment: the parameters of both tasks.
BELOW = {"path": "{{ params.path }}", "below": "{{ params.path.rstrip('/') }}/%", "since": "{{ params.since or ts }}"}

with DAG(
    dag_id="zktrail_wait_for_change",
    description=__doc__.splitlines()[0],
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    tags=["zktrail", "zookeeper"],
    params={
        "path": Param("/config", type="string", description="The znode, with everything below it"),
        "since": Param("", type="string", description="From here on (UTC); empty: from the run's own date"),
    },
) as dag:
    wait = SqlSensor(
        task_id="wait",
        conn_id="zktrail",
        sql="""
            SELECT count(*) FROM changes
            WHERE (path = %(path)s OR path LIKE %(below)s)
              AND time > CAST(%(since)s AS TIMESTAMP WITH TIME ZONE)
        """,
        parameters=BELOW,
        poke_interval=10,
        timeout=6 * 3600,
    )

    what_changed = SQLExecuteQueryOperator(
        task_id="what_changed",
        conn_id="zktrail",
        sql="""
            SELECT CAST(time AS VARCHAR) AS time, kind, path, version, data_text(data) AS value, evidence
            FROM changes
            WHERE (path = %(path)s OR path LIKE %(below)s)
              AND time > CAST(%(since)s AS TIMESTAMP WITH TIME ZONE)
            ORDER BY position, seq
            LIMIT 100
        """,
        parameters=BELOW,
        show_return_value_in_logs=True,
    )

    wait >> what_changed
