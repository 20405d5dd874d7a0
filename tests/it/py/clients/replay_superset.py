"""What Superset sends: its PostgreSQL engine over SQLAlchemy 1.4, charts and SQL Lab included.

Superset itself is tested elsewhere; here its statements are held against figures that Python computes.
"""

import datetime

import sqlalchemy
from sqlalchemy import inspect

from drive_sqlalchemy import Sqlalchemy
from suite import CHECKS, ENDLESS, check, equal, in_background, require, run, version_of, wait_busy, wait_idle

UTC = datetime.timezone.utc
SECOND, DAY = datetime.timedelta(seconds=1), datetime.timedelta(days=1)


class Superset(Sqlalchemy):
    name = "superset"

    def versions(self):
        return {"replayed with SQLAlchemy": version_of("SQLAlchemy")["SQLAlchemy"]}

    def changes(self):
        return self.rows("SELECT time, kind, path FROM changes")


def to_timestamp(time):
    text = time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
    return f"TO_TIMESTAMP('{text}', 'YYYY-MM-DD HH24:MI:SS.US')"


@check("superset.connect")
def connect(client):
    with client.opened() as connection:
        equal(connection.dialect.server_version_info[0] >= 9, True, "server version")
        equal(connection.exec_driver_sql("SELECT 1").scalar(), 1)
        inspector = inspect(connection)
        require("public" in inspector.get_schema_names(), f"schemas {inspector.get_schema_names()}")
        equal(inspector.default_schema_name, "public")
        equal(sorted(inspector.get_table_names("public")), sorted(client.settings.tables))
        equal(inspector.get_view_names("public"), [])
        names = connection.exec_driver_sql("SELECT datname FROM pg_database WHERE datistemplate = false ORDER BY datname")
        require(client.settings.database in [row[0] for row in names], "databases")


@check("superset.columns")
def columns(client):
    with client.opened() as connection:
        inspector = inspect(connection)
        for table, expected in client.settings.tables.items():
            found = inspector.get_columns(table, "public")
            equal([column["name"] for column in found], [column[0] for column in expected])
            times = {column["name"] for column in found if isinstance(column["type"], (sqlalchemy.types.DateTime, sqlalchemy.types.Date))}
            equal(times, {column[0] for column in expected if column[1].startswith(("timestamp", "date"))}, f"times of {table}")
            inspector.get_pk_constraint(table, "public")
            inspector.get_foreign_keys(table, "public")
            inspector.get_indexes(table, "public")
            inspector.get_table_comment(table, "public")


@check("superset.sql_lab")
def sql_lab(client):
    with client.opened() as connection:
        connection.exec_driver_sql('set search_path = "public"')
        cursor = connection.connection.cursor()
        cursor.execute("SELECT seq, time, path, data FROM changes ORDER BY seq\nLIMIT 1001")
        rows = cursor.fetchmany(1001)
        equal(len(rows), 1001)
        # What it takes the columns' types from.
        equal([column.type_code for column in cursor.description], [20, 1184, 25, 17], "types")


@check("superset.cancel")
def cancel(client):
    with client.opened() as running, client.opened() as other:
        pid = running.exec_driver_sql("SELECT pg_backend_pid()").scalar()
        wait = in_background(lambda: client.query(running, ENDLESS))
        try:
            wait_busy(client.settings.pid)
            other.exec_driver_sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid='{pid}'")
            rested = wait_idle(client.settings.pid)
        finally:
            client.cancel(running)
        require(wait() is not None, "it ended by itself")
        running.invalidate()
    return f"rests after {rested:.1f} s"


@check("superset.estimate")
def estimate(client):
    rows = client.rows("EXPLAIN SELECT path, count(*) FROM changes GROUP BY path")
    require(rows and isinstance(rows[0][0], str), f"{rows!r:.100}")


@check("superset.time_filters")
def time_filters(client):
    times = sorted(row[0] for row in client.changes())
    since, until = times[len(times) // 4], times[3 * len(times) // 4]
    expected = sum(since <= time < until for time in times)
    equal(client.value(f"""
        SELECT COUNT(*) AS count FROM public.changes
        WHERE time >= {to_timestamp(since)} AND time < {to_timestamp(until)} LIMIT 50000"""), expected)


def truncated(time, unit):
    if unit == "week":
        return truncated(time - time.weekday() * DAY, "day")
    if unit == "quarter":
        return truncated(time.replace(month=(time.month - 1) // 3 * 3 + 1, day=1), "day")
    first = {"year": (1, 1), "month": (time.month, 1)}.get(unit, (time.month, time.day))
    keep = ["hour", "minute", "second"]
    kept = keep[: keep.index(unit) + 1] if unit in keep else []
    clock = {name: getattr(time, name) if name in kept else 0 for name in keep}
    return time.replace(month=first[0], day=first[1], microsecond=0, **clock)


# Grain, SQL, and what it means.
GRAINS = [
    *((unit, f"DATE_TRUNC('{unit}', time)", lambda time, unit=unit: truncated(time, unit))
      for unit in ("second", "minute", "hour", "day", "week", "month", "quarter", "year")),
    ("5 seconds", "DATE_TRUNC('minute', time) + INTERVAL '5 seconds' * FLOOR(EXTRACT(SECOND FROM time) / 5)",
     lambda time: truncated(time, "second") - time.second % 5 * SECOND),
    ("30 seconds", "DATE_TRUNC('minute', time) + INTERVAL '30 seconds' * FLOOR(EXTRACT(SECOND FROM time) / 30)",
     lambda time: truncated(time, "second") - time.second % 30 * SECOND),
    ("5 minutes", "DATE_TRUNC('hour', time) + INTERVAL '5 minutes' * FLOOR(EXTRACT(MINUTE FROM time) / 5)",
     lambda time: truncated(time, "minute") - time.minute % 5 * 60 * SECOND),
    ("15 minutes", "DATE_TRUNC('hour', time) + INTERVAL '15 minutes' * FLOOR(EXTRACT(MINUTE FROM time) / 15)",
     lambda time: truncated(time, "minute") - time.minute % 15 * 60 * SECOND),
]


@check("superset.time_grains")
def time_grains(client):
    changes = client.changes()
    for name, sql, meaning in GRAINS:
        expected = {}
        for time, _, _ in changes:
            bucket = meaning(time.astimezone(UTC))
            expected[bucket] = expected.get(bucket, 0) + 1
        rows = client.rows(f"SELECT {sql} AS time, COUNT(*) AS count FROM public.changes GROUP BY {sql} ORDER BY count DESC LIMIT 10000")
        equal(dict(rows), expected, name)


@check("superset.chart")
def chart(client):
    changes = client.changes()
    counts = {}
    for _, _, path in changes:
        counts[path] = counts.get(path, 0) + 1
    # Cut where the counts differ, so that there is one right answer.
    ranked = sorted(counts.values(), reverse=True)
    top = next(n for n in range(10, len(ranked)) if ranked[n - 1] > ranked[n])
    least = ranked[top - 1]
    expected = {}
    for time, _, path in changes:
        if counts[path] >= least:
            key = (truncated(time.astimezone(UTC), "minute"), path)
            expected[key] = expected.get(key, 0) + 1
    virtual = "(SELECT time, path, kind FROM changes) AS virtual_table"
    rows = client.rows(f"""
        SELECT DATE_TRUNC('minute', time) AS __timestamp, path AS path, count(*) AS "COUNT(*)"
        FROM {virtual}
        JOIN (SELECT path AS path__, count(*) AS mme_inner__ FROM {virtual} GROUP BY path
              ORDER BY mme_inner__ DESC LIMIT {top}) AS anon_1 ON path = path__
        GROUP BY DATE_TRUNC('minute', time), path ORDER BY "COUNT(*)" DESC LIMIT 10000""")
    equal({(time, path): count for time, path, count in rows}, expected)


@check("superset.filters")
def filters(client):
    kinds = client.rows("SELECT kind AS kind FROM (SELECT * FROM changes) AS virtual_table GROUP BY kind ORDER BY kind ASC LIMIT 1000")
    equal([row[0] for row in kinds], sorted(client.settings.facts["by_kind"]))
    count = client.value("SELECT COUNT(*) AS rowcount FROM (SELECT path AS path, time AS time FROM public.changes LIMIT 50000) AS rowcount_qry")
    equal(count, min(50000, client.settings.facts["changes"]))


if __name__ == "__main__":
    run(Superset, CHECKS)
