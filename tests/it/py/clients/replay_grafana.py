"""What Grafana's PostgreSQL data source sends: as plain text over the simple protocol, its macros already expanded.

There is no Grafana to be had from a package registry; its statements are replayed with psycopg, and what it makes of
the answers (types that it knows by their number, a column `time`) is checked here.
"""

import datetime

from drive_psycopg import Psycopg
from suite import CHECKS, check, equal, require, run, version_of

UTC = datetime.timezone.utc
# Types whose values the data source reads as numbers, times, booleans or text.
KNOWN_OIDS = {16, 17, 20, 21, 23, 25, 700, 701, 1042, 1043, 1082, 1114, 1184, 1700}
TIME_OIDS = {1114, 1184, 1082}
NUMBER_OIDS = {20, 21, 23, 700, 701, 1700}

# The schemas of the search path, "$user" being the user.
IN_SEARCH_PATH = """quote_ident(table_schema) IN (
    SELECT CASE WHEN trim(part[at]) = '"$user"' THEN user ELSE trim(part[at]) END
    FROM generate_series(
        array_lower(string_to_array(current_setting('search_path'), ','), 1),
        array_upper(string_to_array(current_setting('search_path'), ','), 1)
    ) AS at, string_to_array(current_setting('search_path'), ',') part)"""

TABLES = f"""
SELECT CASE WHEN {IN_SEARCH_PATH}
    THEN quote_ident(table_name) ELSE quote_ident(table_schema) || '.' || quote_ident(table_name) END AS "table"
FROM information_schema.tables
WHERE quote_ident(table_schema) NOT IN ('information_schema', 'pg_catalog', '_timescaledb_cache')
ORDER BY CASE WHEN {IN_SEARCH_PATH} THEN 0 ELSE 1 END, 1"""

COLUMNS = f"""
SELECT quote_ident(column_name) AS "column", data_type AS "type"
FROM information_schema.columns
WHERE CASE WHEN array_length(parse_ident('TABLE'), 1) = 2
    THEN quote_ident(table_schema) = (parse_ident('TABLE'))[1] AND quote_ident(table_name) = (parse_ident('TABLE'))[2]
    ELSE quote_ident(table_name) = 'TABLE' AND {IN_SEARCH_PATH} END"""


class Grafana(Psycopg):
    name = "grafana"

    def versions(self):
        return {"replayed with psycopg": version_of("psycopg")["psycopg"]}

    def frame(self, sql):
        """Column name -> (type's number, values), as the data source would have it."""
        with self.opened() as connection:
            cursor = connection.execute(sql)
            rows = cursor.fetchall()
            types = [column.type_code for column in cursor.description]
            unknown = [(column.name, column.type_code) for column in cursor.description if column.type_code not in KNOWN_OIDS]
            require(not unknown, f"types that it does not know: {unknown}")
            values = zip(*rows) if rows else ((),) * len(types)
            return {column.name: (kind, values) for column, kind, values in zip(cursor.description, types, values)}

    def times(self):
        """(time, kind) of every change."""
        return self.rows("SELECT time, kind FROM changes")

    def range(self):
        """From and to, in the form of the macros: the middle half of the history."""
        times = sorted(time for time, _ in self.times())
        return times[len(times) // 4], times[3 * len(times) // 4]


def rfc3339(time):
    """Without trailing zeros, as Go writes it."""
    text = time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f").rstrip("0").rstrip(".")
    return f"'{text}Z'"


@check("grafana.version")
def version(client):
    frame = client.frame("SELECT current_setting('server_version_num')::int/100 as version")
    require(frame["version"][1][0] >= 905, f"version {frame['version']}")


@check("grafana.timescaledb")
def timescaledb(client):
    frame = client.frame("SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'")
    equal(list(frame["extversion"][1]), [])


@check("grafana.tables")
def tables(client):
    frame = client.frame(TABLES)
    equal(sorted(frame["table"][1]), sorted(client.settings.tables))


@check("grafana.columns")
def columns(client):
    for table, expected in client.settings.tables.items():
        for name in (table, f"public.{table}"):
            frame = client.frame(COLUMNS.replace("TABLE", name))
            found = {column.strip('"'): kind for column, kind in zip(frame["column"][1], frame["type"][1])}
            equal(found, {column[0]: column[1] for column in expected}, name)


@check("grafana.health")
def health(client):
    with client.opened() as connection:
        connection.execute("-- ping")
        equal(connection.execute("SELECT 1").fetchone(), (1,))


@check("grafana.time_filter")
def time_filter(client):
    since, until = client.range()
    expected = sum(since <= time <= until for time, _ in client.times())
    between = f"time BETWEEN {rfc3339(since)} AND {rfc3339(until)}"
    equal(client.frame(f"SELECT count(*) AS n FROM changes WHERE {between}")["n"][1], (expected,), "$__timeFilter")
    bounds = f"time >= {rfc3339(since)} AND time <= {rfc3339(until)}"
    equal(client.frame(f"SELECT count(*) AS n FROM changes WHERE {bounds}")["n"][1], (expected,), "$__timeFrom")


def epochs(client, seconds):
    counts = {}
    for time, kind in client.times():
        key = (time.timestamp() // seconds * seconds, kind)
        counts[key] = counts.get(key, 0) + 1
    return counts


@check("grafana.time_group")
def time_group(client):
    for seconds in (1, 5, 60):
        since, until = min(client.times())[0], max(client.times())[0]
        frame = client.frame(f"""
            SELECT floor(extract(epoch from time)/{seconds})*{seconds} AS "time", kind AS metric, count(*) AS value
            FROM changes WHERE time BETWEEN {rfc3339(since)} AND {rfc3339(until)} GROUP BY 1, 2 ORDER BY 1, 2""")
        require(frame["time"][0] in NUMBER_OIDS and frame["value"][0] in NUMBER_OIDS, f"types {frame}")
        found = {(float(time), kind): n for time, kind, n in zip(*(frame[name][1] for name in ("time", "metric", "value")))}
        equal(found, epochs(client, seconds), f"groups of {seconds} s")


@check("grafana.time_epoch")
def time_epoch(client):
    frame = client.frame('SELECT extract(epoch from time) as "time", seq FROM changes ORDER BY seq LIMIT 3')
    expected = [time.timestamp() for (time,) in client.rows("SELECT time FROM changes ORDER BY seq LIMIT 3")]
    equal([float(value) for value in frame["time"][1]], expected, "$__timeEpoch")
    frame = client.frame('SELECT observed_at AS "time", seq FROM changes ORDER BY seq LIMIT 3')
    require(frame["time"][0] in TIME_OIDS, f"$__time gives type {frame['time'][0]}")


@check("grafana.unix_epoch_filter")
def unix_epoch_filter(client):
    since, until = (int(time.timestamp()) for time in client.range())
    expected = sum(since <= time.timestamp() <= until for time, _ in client.times())
    column = "extract(epoch from time)"
    frame = client.frame(f"SELECT count(*) AS n FROM changes WHERE {column} >= {since} AND {column} <= {until}")
    equal(frame["n"][1], (expected,))


@check("grafana.unix_epoch_group")
def unix_epoch_group(client):
    frame = client.frame("""
        SELECT floor((extract(epoch from time))/10)*10 AS "time", kind AS metric, count(*) AS value
        FROM changes GROUP BY 1, 2 ORDER BY 1""")
    found = {(float(time), kind): n for time, kind, n in zip(*(frame[name][1] for name in ("time", "metric", "value")))}
    equal(found, epochs(client, 10))


@check("grafana.unix_epoch_nano")
def unix_epoch_nano(client):
    since, until = (int(time.timestamp()) * 10**9 for time in client.range())
    column = "CAST(floor(extract(epoch from time)) AS bigint) * 1000000000"
    expected = sum(since <= int(time.timestamp()) * 10**9 <= until for time, _ in client.times())
    frame = client.frame(f"SELECT count(*) AS n FROM changes WHERE {column} >= {since} AND {column} <= {until}")
    equal(frame["n"][1], (expected,))


@check("grafana.variables")
def variables(client):
    frame = client.frame("SELECT DISTINCT kind AS __text, kind AS __value FROM changes ORDER BY 1")
    equal(list(frame["__value"][1]), sorted(client.settings.facts["by_kind"]))
    chosen = ",".join(f"'{kind}'" for kind in client.settings.facts["by_kind"])
    frame = client.frame(f"SELECT count(*) AS n FROM changes WHERE kind IN ({chosen}) AND path ~ '^/'")
    equal(frame["n"][1], (client.settings.facts["changes"],))


@check("grafana.annotations")
def annotations(client):
    since, until = client.range()
    frame = client.frame(f"""
        SELECT extract(epoch from time) AS time, path AS text, kind || ',' || evidence AS tags
        FROM changes WHERE time BETWEEN {rfc3339(since)} AND {rfc3339(until)} AND kind = 'created' LIMIT 100""")
    require(len(frame["text"][1]) > 0 and all(tags.startswith("created,") for tags in frame["tags"][1]), f"{frame!r:.200}")


@check("grafana.table")
def table(client):
    for name, expected in client.settings.tables.items():
        frame = client.frame(f"SELECT * FROM {name} LIMIT 20")
        equal(list(frame), [column[0] for column in expected], f"columns of {name}")
        for column, kind, _ in expected:
            if kind.startswith("timestamp"):
                require(frame[column][0] in TIME_OIDS, f"{name}.{column} has type {frame[column][0]}")


if __name__ == "__main__":
    run(Grafana, CHECKS)
