"""What is stored comes out as it is."""

import datetime

from suite import check, require

UTC = datetime.timezone.utc


@check("values.time")
def time(client):
    """Instants are exact to the microsecond and know their zone."""
    facts = client.settings.facts
    with client.opened() as connection:
        client.command(connection, "SET TimeZone = 'UTC'")
        rows = client.query(connection, "SELECT time FROM changes ORDER BY seq LIMIT 3")[1]
    client.expect_rows(rows, [(datetime.datetime.fromisoformat(text),) for text in facts["first_times"]])


@check("values.time_zone")
def time_zone(client):
    """SET TimeZone changes how an instant is written, and not which it is."""
    sql = "SELECT CAST(TIMESTAMPTZ '2026-11-20 03:12:00+00' AS text)"
    with client.opened() as connection:
        for zone, written in (
            ("Asia/Tokyo", "2026-11-20 12:12:00+09"),
            ("America/New_York", "2026-11-19 22:12:00-05"),
            ("Asia/Kolkata", "2026-11-20 08:42:00+05:30"),
            ("UTC", "2026-11-20 03:12:00+00"),
        ):
            client.command(connection, f"SET TimeZone = '{zone}'")
            client.expect(client.query(connection, sql)[1][0][0], written, zone)
            instant = client.query(connection, "SELECT TIMESTAMPTZ '2026-11-20 03:12:00+00'")[1][0][0]
            client.expect(instant, datetime.datetime(2026, 11, 20, 3, 12, tzinfo=UTC), zone)


@check("values.time_zone_read")
def time_zone_read(client):
    """A literal without a zone is a time of the session's zone, and days begin there."""
    with client.opened() as connection:
        client.command(connection, "SET TimeZone = 'Asia/Tokyo'")
        got = client.query(connection, "SELECT TIMESTAMPTZ '2026-11-20 12:00:00'")[1][0][0]
        client.expect(got, datetime.datetime(2026, 11, 20, 3, 0, tzinfo=UTC), "literal")
        got = client.query(connection, "SELECT date_trunc('day', TIMESTAMPTZ '2026-11-20 03:00:00+00')")[1][0][0]
        client.expect(got, datetime.datetime(2026, 11, 19, 15, 0, tzinfo=UTC), "date_trunc")


@check("values.bytea")
def bytea(client):
    rows = client.rows("SELECT data FROM znodes WHERE path = '/clients/bytes'")
    client.expect_rows(rows, [(bytes(range(256)),)])
    rows = client.rows("SELECT data FROM znodes WHERE path = '/clients/empty'")
    client.expect_rows(rows, [(b"",)])


@check("values.large")
def large(client):
    value = b"zktrail " * 8000
    rows = client.rows("SELECT data, length(data) FROM znodes WHERE path = '/clients/large'")
    client.expect_rows(rows, [(value, len(value))])


@check("values.null")
def null(client):
    sql = "SELECT data, session_id, cxid, cause, version FROM changes WHERE kind = 'deleted' ORDER BY seq LIMIT 1"
    rows = client.rows(sql)
    client.expect_rows(rows, [(None, None, None, None, None)])


@check("values.big_integers")
def big_integers(client):
    """Session ids pass 2^53, and every digit counts."""
    rows = client.rows("SELECT DISTINCT ephemeral_owner FROM znodes WHERE ephemeral_owner <> 0 ORDER BY 1")
    client.expect_rows(rows, [(int(owner),) for owner in client.settings.facts["owners"]])
    require(any(int(owner) > 2**53 for owner in client.settings.facts["owners"]), "no owner passes 2^53")
    client.expect(client.value("SELECT 9223372036854775807"), 9223372036854775807)


@check("values.unicode")
def unicode(client):
    rows = client.rows("SELECT path, length(path) FROM znodes WHERE path LIKE '/clients/ünïcode/%'")
    path = "/clients/ünïcode/日本語 é"
    client.expect_rows(rows, [(path, len(path))])


@check("values.floats")
def floats(client):
    rows = client.rows("SELECT CAST('Infinity' AS double precision), CAST('-Infinity' AS double precision), CAST(0.1 AS double precision)")
    client.expect_rows(rows, [(float("inf"), float("-inf"), 0.1)])


@check("values.aggregates")
def aggregates(client):
    """count and sum come as integers, not as text or floats."""
    rows = client.rows("SELECT kind, count(*) FROM changes GROUP BY kind ORDER BY kind")
    client.expect_rows(rows, sorted(client.settings.facts["by_kind"].items()))


@check("values.empty")
def empty(client):
    with client.opened() as connection:
        names, rows = client.query(connection, "SELECT seq, path, time FROM changes WHERE path = '/no/such/path'")
    client.expect_rows(rows, [])
    client.expect(list(names), ["seq", "path", "time"], "columns of an empty result")


@check("values.wide")
def wide(client):
    numbers = range(300)
    columns = ", ".join(f"seq + {n} AS c{n}" for n in numbers)
    with client.opened() as connection:
        names, rows = client.query(connection, f"SELECT {columns} FROM changes ORDER BY seq LIMIT 1")
    first = client.settings.facts["first_seqs"][0]
    client.expect(list(names), [f"c{n}" for n in numbers], "names")
    client.expect_rows(rows, [tuple(first + n for n in numbers)])


@check("values.many_rows")
def many_rows(client):
    count = 100_000
    with client.opened() as connection:
        rows = client.query(connection, f"SELECT g.i, 'row ' || CAST(g.i AS text) FROM generate_series(1, {count}) AS g(i) ORDER BY 1")[1]
    client.expect(len(rows), count, "rows")
    client.expect_rows([tuple(rows[-1])], [(count, f"row {count}")])


@check("values.every_column")
def every_column(client):
    """Every column of every table can be read."""
    with client.opened() as connection:
        for table, columns in client.settings.tables.items():
            names, rows = client.query(connection, f"SELECT * FROM {table} LIMIT 50")
            client.expect(list(names), [column[0] for column in columns], f"columns of {table}")
            require(rows or table in ("gaps", "sessions", "audit"), f"{table} is empty")
