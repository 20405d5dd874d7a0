"""Reads the configuration as it was at a moment, and refuses to guess where that is not certain.

For a job that must run with the settings of the day it is about, not with those of today.
"""

from datetime import datetime

from airflow.providers.postgres.hooks.postgres import PostgresHook
from airflow.sdk import DAG, Param, task
from airflow.sdk.exceptions import AirflowFailException

with DAG(
    dag_id="zktrail_config_at",
    description=__doc__.splitlines()[0],
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    tags=["zktrail", "zookeeper"],
    params={
        "path": Param("/config", type="string", description="The znode, with everything below it"),
        "moment": Param("", type="string", description="Which moment (UTC); empty: the run's own date"),
    },
) as dag:

    @task
    def settings(params=None, ts=None):
        path = params["path"]
        # A table function takes its argument when the query is planned: a constant, not a parameter.
        moment = datetime.fromisoformat(params["moment"] or ts).isoformat()
        rows = PostgresHook(postgres_conn_id="zktrail").get_records(
            f"""
            SELECT path, version, data_text(data), uncertain FROM znodes_at('{moment}')
            WHERE path = %(path)s OR path LIKE %(below)s
            ORDER BY path
            """,
            parameters={"path": path, "below": path.rstrip("/") + "/%"},
        )
        uncertain = [name for name, _, _, is_uncertain in rows if is_uncertain]
        if uncertain:
            raise AirflowFailException(f"not certain at {moment}: {', '.join(uncertain)}")
        for name, version, value, _ in rows:
            print(f"{name} (version {version}): {value}")
        return {name: value for name, _, value, _ in rows}

    @task
    def use(values: dict):
        print(f"{len(values)} settings")
        if not values:
            raise AirflowFailException("there was nothing at that path")

    use(settings())
