"""A daily report of what changed most, which is refused where somebody was not looking.

`gaps` says what was not observed, `missed` what is proved to have happened without a row. While either is not empty for
the day, the report's figures would be lower bounds, and the checks are red.
"""

from datetime import datetime

from airflow.providers.common.sql.operators.sql import (
    SQLCheckOperator,
    SQLExecuteQueryOperator,
    SQLTableCheckOperator,
)
from airflow.sdk import DAG, Param

FROM = "CAST('{{ params.since or data_interval_start or ts }}' AS TIMESTAMP WITH TIME ZONE)"
TO = "CAST('{{ params.until or data_interval_end or ts }}' AS TIMESTAMP WITH TIME ZONE)"

with DAG(
    dag_id="zktrail_report",
    description=__doc__.splitlines()[0],
    schedule="@daily",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    tags=["zktrail", "zookeeper"],
    params={
        "since": Param("", type="string", description="From here on (UTC); empty: the beginning of the run's interval"),
        "until": Param("", type="string", description="Up to here (UTC); empty: the end of the run's interval"),
    },
) as dag:
    # The recording had begun before the interval, and nothing of it lies in a gap.
    recorded = SQLCheckOperator(
        task_id="recorded",
        conn_id="zktrail",
        sql=f"SELECT count(*) > 0 FROM coverage WHERE from_time <= {FROM}",
    )

    no_gap = SQLCheckOperator(
        task_id="no_gap",
        conn_id="zktrail",
        sql=f"""
            SELECT count(*) = 0 FROM gaps
            WHERE from_time < {TO} AND (to_time IS NULL OR to_time > {FROM})
        """,
    )

    nothing_missed = SQLTableCheckOperator(
        task_id="nothing_missed",
        conn_id="zktrail",
        table="changes",
        partition_clause=f"time >= {FROM} AND time < {TO}",
        checks={"nothing_missed": {"check_statement": "COALESCE(SUM(missed), 0) = 0"}},
    )

    report = SQLExecuteQueryOperator(
        task_id="report",
        conn_id="zktrail",
        sql=f"""
            SELECT cluster, path, count(*) AS changes FROM changes
            WHERE time >= {FROM} AND time < {TO}
            GROUP BY cluster, path
            ORDER BY changes DESC, cluster, path
            LIMIT 20
        """,
        show_return_value_in_logs=True,
    )

    [recorded, no_gap, nothing_missed] >> report
