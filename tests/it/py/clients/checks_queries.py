"""Ways of asking."""

import csv
import datetime
import io

from suite import LONG_RESULT, NotApplicable, check, require, resident_bytes

STREAMED_ROWS = 2_500
# What may be held of a result that is being streamed. Results of the size that would be built otherwise are far larger.
STREAM_BYTES_MAX = 300 << 20


@check("queries.stream")
def stream(client):
    """The first rows come while the last are not made yet, and little of it lies in memory."""
    with client.opened() as connection:
        before = resident_bytes(client.settings.pid)
        rows = client.stream(connection, LONG_RESULT, STREAMED_ROWS)
        require(len(rows) == STREAMED_ROWS, f"{len(rows)} rows instead of {STREAMED_ROWS}")
        grown = resident_bytes(client.settings.pid) - before
        require(grown < STREAM_BYTES_MAX, f"the server grew by {grown >> 20} MiB")
    # Nobody waits for the rest any more.
    client.expect(client.value("SELECT 1"), 1)
    return f"grew by {grown >> 20} MiB"


@check("queries.stream_all")
def stream_all(client):
    """Read in pieces, the result is the whole one."""
    total = client.settings.facts["changes"]
    with client.opened() as connection:
        rows = client.stream(connection, "SELECT seq FROM changes ORDER BY seq", total + 1)
    require(len(rows) == total, f"{len(rows)} rows instead of {total}")
    require(len({row[0] for row in rows}) == total, "rows come twice")


@check("queries.copy_out")
def copy_out(client):
    sql = "SELECT path, version, data FROM znodes WHERE path IN ('/clients/bytes', '/clients/empty') ORDER BY path"
    with client.opened() as connection:
        text = client.copy_out(connection, f"COPY ({sql}) TO STDOUT WITH (FORMAT csv, HEADER)")
    rows = list(csv.reader(io.StringIO(text)))
    expected = [
        ["path", "version", "data"],
        ["/clients/bytes", "0", "\\x" + bytes(range(256)).hex()],
        ["/clients/empty", "0", "\\x"],
    ]
    require(rows == expected, f"{rows!r:.200}")


@check("queries.prepared")
def prepared(client):
    seqs = client.settings.facts["first_seqs"]
    with client.opened() as connection:
        got = client.prepared(connection, "SELECT seq + 1 FROM changes WHERE seq = $1", seqs)
    client.expect_rows([(value,) for value in got], [(seq + 1,) for seq in seqs])


@check("queries.batch")
def batch(client):
    seqs = client.settings.facts["first_seqs"]
    with client.opened() as connection:
        got = client.batch(connection, "SELECT seq + 1 FROM changes WHERE seq = $1", seqs)
    client.expect_rows([(value,) for value in got], [(seq + 1,) for seq in seqs])


@check("queries.statements")
def statements(client):
    with client.opened() as connection:
        rows = client.statements(connection, "SET application_name = 'suite'; SELECT 1; SHOW application_name")
        client.expect_rows(rows, [("suite",)])


@check("queries.explain")
def explain(client):
    rows = client.rows("EXPLAIN SELECT count(*) FROM changes WHERE path = '/clients'")
    require(len(rows) >= 1 and rows[0], "no plan")


@check("queries.shapes")
def shapes(client):
    """CTE, window, FILTER, DISTINCT ON, grouping sets, CASE, subqueries."""
    client.expect_rows(
        client.rows("""
            WITH ranked AS (
                SELECT kind, seq, row_number() OVER (PARTITION BY kind ORDER BY seq) AS n FROM changes
            )
            SELECT count(*) FILTER (WHERE n = 1), count(DISTINCT kind) FROM ranked"""),
        [(len(client.settings.facts["by_kind"]),) * 2],
    )
    rows = client.rows("SELECT DISTINCT ON (kind) kind, seq FROM changes ORDER BY kind, seq")
    require(len(rows) == len(client.settings.facts["by_kind"]), f"DISTINCT ON: {rows!r:.200}")
    rows = client.rows("SELECT kind, count(*) FROM changes GROUP BY ROLLUP (kind) ORDER BY kind NULLS LAST")
    client.expect(rows[-1][1], client.settings.facts["changes"], "ROLLUP")
    client.expect(client.value("SELECT count(*) FROM changes WHERE path ILIKE '/CLIENTS/BYTES' AND path ~ '^/clients/b'"), 1)
    client.expect(
        client.value("SELECT EXTRACT(hour FROM TIMESTAMPTZ '2026-11-20 03:12:00+00' AT TIME ZONE 'UTC')"), 3, "EXTRACT"
    )


@check("queries.formats")
def formats(client):
    """to_char and to_timestamp mean what PostgreSQL means."""
    client.expect(client.value("SELECT to_char(TIMESTAMP '2026-11-20 03:12:00', 'YYYY-MM-DD HH24:MI:SS')"), "2026-11-20 03:12:00")
    with client.opened() as connection:
        client.command(connection, "SET TimeZone = 'UTC'")
        sql = "SELECT to_timestamp('2026-11-20 03:12:00.250000', 'YYYY-MM-DD HH24:MI:SS.US')"
        moment = datetime.datetime(2026, 11, 20, 3, 12, 0, 250000, tzinfo=datetime.timezone.utc)
        client.expect(client.query(connection, sql)[1][0][0], moment)


def only_here(client):
    if client.settings.is_postgresql:
        raise NotApplicable("PostgreSQL has no such function")


@check("queries.znodes_at")
def znodes_at(client):
    only_here(client)
    facts = client.settings.facts
    by_position, by_time = facts["znodes_at_position"], facts["znodes_at_time"]
    moment = datetime.datetime.fromisoformat(facts["middle_time"])
    if not client.table_function_text:
        client.expect(client.value("SELECT count(*) FROM znodes_at($1)", facts["middle_position"]), by_position, "by zxid")
        client.expect(client.value("SELECT count(*) FROM znodes_at($1)", moment), by_time, "by time")
    client.expect(client.value("SELECT count(*) FROM znodes_at(CAST($1 AS bigint))", facts["middle_position"]), by_position, "by a cast")
    client.expect(client.value("SELECT count(*) FROM znodes_at($1)", hex(facts["middle_position"])), by_position, "by a zxid's text")
    client.expect(client.value("SELECT count(*) FROM znodes_at($1)", facts["middle_time"]), by_time, "by a time's text")
    rows = client.rows("SELECT count(*) FROM znodes_at($1) WHERE path LIKE $2", facts["middle_time"], "/work/%")
    require(0 < int(rows[0][0]) <= by_time, f"beside another parameter: {rows}")


@check("queries.tree_diff")
def tree_diff(client):
    only_here(client)
    facts = client.settings.facts
    moments = facts["middle_position"], facts["last_position"]
    if client.table_function_text:
        moments = map(hex, moments)
    client.expect(client.value("SELECT count(*) FROM tree_diff($1, $2)", *moments), facts["tree_diff"])


@check("queries.own_functions")
def own_functions(client):
    only_here(client)
    rows = client.rows("SELECT parent(path), name(path), depth(path), data_text(data) FROM znodes WHERE path = '/clients/text'")
    client.expect_rows(rows, [("/clients", "text", 2, "plain text")])
