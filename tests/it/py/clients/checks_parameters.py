"""A value of each type goes there and comes back."""

import datetime
import decimal
import uuid

from suite import check, require

UTC = datetime.timezone.utc
MOMENT = datetime.datetime(2026, 11, 20, 3, 12, 0, 123456)

# feature, SQL type, values; the first also must not equal something else.
TYPES = [
    ("int2", "smallint", [0, -32768, 32767]),
    ("int4", "integer", [0, -2147483648, 2147483647]),
    ("int8", "bigint", [0, -9223372036854775807, 9223372036854775807, 2**53 + 1]),
    ("float4", "real", [0.0, 1.5, -0.25]),
    ("float8", "double precision", [0.1, -1e300, 1 / 3, 5e-324]),
    ("numeric", "numeric(20,5)", [decimal.Decimal("12345.67890"), decimal.Decimal("-0.00001")]),
    ("text", "text", ["", "/brokers/ids/1", "O'Brien \\ \"quoted\" %s $1 :p ?", "日本語 🦓 é", "two\nlines\tand a tab"]),
    ("bool", "boolean", [True, False]),
    ("date", "date", [datetime.date(2026, 11, 20), datetime.date(1999, 12, 31), datetime.date(1970, 1, 1)]),
    ("timestamp", "timestamp", [MOMENT, datetime.datetime(1969, 7, 20, 20, 17, 40)]),
    ("timestamptz", "timestamptz", [MOMENT.replace(tzinfo=UTC), MOMENT.replace(tzinfo=datetime.timezone(datetime.timedelta(hours=9)))]),
    ("bytea", "bytea", [b"", bytes(range(256)), b"\\x00\\'"]),
    ("uuid", "uuid", [uuid.UUID("6f1d1c2e-0b57-4f0c-9c5e-0123456789ab")]),
]


def register(feature, kind, values):
    @check(f"parameters.{feature}")
    def goes_there_and_back(client):
        with client.opened() as connection:
            client.command(connection, "SET TimeZone = 'UTC'")
            for value in values:
                got = client.query(connection, f"SELECT CAST($1 AS {kind})", value)[1][0][0]
                client.expect(got, value, f"{kind} {value!r}")


for feature, kind, values in TYPES:
    register(feature, kind, values)


@check("parameters.null")
def null(client):
    for kind in ("integer", "text", "timestamptz", "bytea"):
        client.expect(client.value(f"SELECT CAST($1 AS {kind})", None), None, f"NULL as {kind}")
    client.expect(client.value("SELECT count(*) FROM changes WHERE path = CAST($1 AS text)", None), 0)


@check("parameters.array")
def array(client):
    kinds = ["created", "deleted"]
    got = client.value("SELECT count(*) FROM changes WHERE kind = ANY(CAST($1 AS text[]))", kinds)
    expected = client.settings.facts["by_kind"]
    client.expect(got, sum(expected.get(kind, 0) for kind in kinds))


@check("parameters.limit")
def limit(client):
    rows = client.rows("SELECT seq FROM changes ORDER BY seq LIMIT $1 OFFSET $2", 5, 2)
    seqs = client.settings.facts["first_seqs"]
    client.expect_rows(rows, [(seq,) for seq in seqs[2:7]])


@check("parameters.inferred")
def inferred(client):
    """The server tells the types: nothing is cast."""
    facts = client.settings.facts
    moment = datetime.datetime.fromisoformat(facts["middle_time"])
    rows = client.rows(
        "SELECT count(*) FROM changes WHERE time >= $1 AND path LIKE $2 AND version >= $3 AND seq > $4",
        moment, "/work/%", 0, 0,
    )
    client.expect_rows(rows, [(facts["after_middle"],)])
    client.expect(client.value("SELECT count(*) FROM znodes WHERE data = $1", bytes(range(256))), 1, "by value")


@check("parameters.in_functions")
def in_functions(client):
    rows = client.rows("SELECT count(*) FROM changes WHERE date_trunc('hour', time) <= $1 AND length(path) > $2",
                       datetime.datetime(2100, 1, 1, tzinfo=UTC), 0)
    client.expect_rows(rows, [(client.settings.facts["changes"],)])
    require(client.settings.facts["changes"] > 0, "an empty history proves nothing")
