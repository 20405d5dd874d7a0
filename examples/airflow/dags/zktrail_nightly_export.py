"""Writes each day's changes into a Parquet file of its own, for a lake that has its own keeper.

The rows are streamed: a cursor of the server hands them over in batches. The file appears under its name when it is whole,
so that a run that is repeated replaces it and a reader never sees half of it.
"""

import os
from contextlib import closing
from datetime import date, datetime
from pathlib import Path

from airflow.providers.common.sql.operators.sql import SQLCheckOperator
from airflow.providers.postgres.hooks.postgres import PostgresHook
from airflow.sdk import DAG, Param, task

BATCH_ROWS = 50_000
COLUMNS = """
    cluster, incarnation, seq, time, zxid, position, ordinal, kind, path, version, node_type, ephemeral_owner, data,
    data_length, evidence, missed, source
"""

with DAG(
    dag_id="zktrail_nightly_export",
    description=__doc__.splitlines()[0],
    schedule="@daily",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    tags=["zktrail", "zookeeper"],
    params={
        "folder": Param("/tmp/zktrail-export", type="string", description="Where the files go"),
        "day": Param("", type="string", description="Which day (UTC); empty: that of the run's interval"),
    },
) as dag:
    # `date` is the day on which a change was recorded: a row never leaves it.
    @task
    def export(params=None, data_interval_start=None, ts=None):
        import pyarrow as pa
        import pyarrow.parquet as pq

        day = date.fromisoformat(params["day"] or str(data_interval_start or ts)[:10])
        schema = pa.schema(
            [
                ("cluster", pa.string()),
                ("incarnation", pa.int32()),
                ("seq", pa.int64()),
                ("time", pa.timestamp("us", tz="UTC")),
                ("zxid", pa.int64()),
                ("position", pa.int64()),
                ("ordinal", pa.int32()),
                ("kind", pa.string()),
                ("path", pa.string()),
                ("version", pa.int32()),
                ("node_type", pa.string()),
                ("ephemeral_owner", pa.int64()),
                ("data", pa.binary()),
                ("data_length", pa.int32()),
                ("evidence", pa.string()),
                ("missed", pa.int64()),
                ("source", pa.string()),
            ]
        )
        folder = Path(params["folder"])
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / f"changes-{day}.parquet"
        unfinished = folder / f".{target.name}.{os.getpid()}"
        rows = 0
        try:
            with closing(PostgresHook(postgres_conn_id="zktrail").get_conn()) as connection:
                with connection.cursor(name="export") as cursor, pq.ParquetWriter(unfinished, schema, compression="zstd") as out:
                    cursor.itersize = BATCH_ROWS
                    cursor.execute(f"SELECT {COLUMNS} FROM changes WHERE date = '{day}' ORDER BY cluster, seq")
                    while batch := cursor.fetchmany(BATCH_ROWS):
                        columns = [
                            pa.array(
                                [bytes(value) if isinstance(value, memoryview) else value for value in column], field.type
                            )
                            for field, column in zip(schema, zip(*batch))
                        ]
                        out.write_batch(pa.record_batch(columns, schema=schema))
                        rows += len(batch)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
        unfinished.rename(target)
        print(f"{target}: {rows} rows")
        return {"file": str(target), "rows": rows}

    # Nothing came in between: what is in the file is what is on record.
    whole = SQLCheckOperator(
        task_id="whole",
        conn_id="zktrail",
        sql="""
            SELECT count(*) = {{ ti.xcom_pull(task_ids='export')['rows'] }} FROM changes
            WHERE date = '{{ params.day or (data_interval_start or logical_date) | ds }}'
        """,
    )

    export() >> whole
