"""Lists who is alive: the ephemeral znodes directly below a path, and fails where there are too few.

Put it before a job that needs a healthy cluster.
"""

from datetime import datetime

from airflow.providers.common.sql.operators.sql import SQLCheckOperator, SQLExecuteQueryOperator
from airflow.sdk import DAG, Param

# Jinja fills the statements in before they are sent; a quote in the path must not end the text.
WHERE = """parent(path) = '{{ params.path | replace("'", "''") }}' AND ephemeral_owner <> 0"""

with DAG(
    dag_id="zktrail_members",
    description=__doc__.splitlines()[0],
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    tags=["zktrail", "zookeeper"],
    params={
        "path": Param("/brokers/ids", type="string", description="Where the members are"),
        "least": Param(1, type="integer", description="How many there must be at least"),
    },
) as dag:
    members = SQLExecuteQueryOperator(
        task_id="members",
        conn_id="zktrail",
        sql=f"""
            SELECT path, CAST(ctime AS VARCHAR) AS joined, hex(ephemeral_owner) AS session, data_text(data) AS value
            FROM znodes
            WHERE {WHERE}
            ORDER BY path
        """,
        show_return_value_in_logs=True,
    )

    enough = SQLCheckOperator(
        task_id="enough",
        conn_id="zktrail",
        sql="SELECT count(*) >= {{ params.least }} FROM znodes WHERE " + WHERE,
    )

    members >> enough
