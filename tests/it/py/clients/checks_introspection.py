"""What the client finds out about the tables by its own means."""

from suite import Wrong, check, equal, require


@check("introspection.tables")
def tables(client):
    with client.opened() as connection:
        found = set(client.tables(connection))
    equal(sorted(found), sorted(client.settings.tables), "tables")


@check("introspection.columns")
def columns(client):
    wrong = []
    with client.opened() as connection:
        for table, expected in client.settings.tables.items():
            found = client.columns(connection, table)
            equal([column[0] for column in found], [column[0] for column in expected], f"columns of {table}")
            for (name, kind, nullable), (_, expected_kind, expected_nullable) in zip(found, expected):
                expected_kind = client.types.get(expected_kind, expected_kind)
                if kind != expected_kind:
                    wrong.append(f"{table}.{name} is {kind}, not {expected_kind}")
                if nullable is not None and nullable != expected_nullable:
                    wrong.append(f"{table}.{name} nullable: {nullable}, not {expected_nullable}")
    if wrong:
        raise Wrong(f"{len(wrong)} wrong, such as {'; '.join(wrong[:3])}")


@check("introspection.keys")
def keys(client):
    with client.opened() as connection:
        for table in client.settings.tables:
            found = client.keys(connection, table)
            equal(found, [], f"keys of {table}")


INFORMATION_SCHEMA = """
SELECT column_name, data_type, is_nullable FROM information_schema.columns
WHERE table_schema = 'public' AND table_name = 'changes' ORDER BY ordinal_position"""


@check("introspection.information_schema")
def information_schema(client):
    rows = client.rows(INFORMATION_SCHEMA)
    expected = [(name, kind, "YES" if nullable else "NO") for name, kind, nullable in client.settings.tables["changes"]]
    client.expect_rows(rows, expected, "information_schema.columns")


CATALOG = """
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE n.nspname = 'public' AND c.relname = 'gaps' ORDER BY a.attnum"""


@check("introspection.pg_catalog")
def pg_catalog(client):
    rows = client.rows(CATALOG)
    expected = [("gaps", name, kind, not nullable) for name, kind, nullable in client.settings.tables["gaps"]]
    client.expect_rows(rows, expected, "pg_attribute")


@check("introspection.regclass")
def regclass(client):
    oid = client.value("SELECT CAST(c.oid AS bigint) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n "
                       "ON n.oid = c.relnamespace WHERE c.relname = 'changes' AND n.nspname = 'public'")
    client.expect(client.value("SELECT CAST(CAST('changes' AS regclass) AS bigint)"), int(oid), "'changes'::regclass")
    client.expect(client.value("SELECT CAST(to_regclass('no_such_table') AS text)"), None, "to_regclass of nothing")
    require(int(oid) > 0, f"oid {oid}")
