"""Transactions, and errors with the states that clients act on."""

from suite import check, refused


def one(client, connection):
    client.expect(client.query(connection, "SELECT 1")[1][0][0], 1)


@check("transactions.commit")
def commit(client):
    with client.opened() as connection:
        client.begin(connection)
        one(client, connection)
        client.commit(connection)
        one(client, connection)


@check("transactions.rollback")
def rollback(client):
    with client.opened() as connection:
        client.begin(connection)
        one(client, connection)
        client.rollback(connection)
        one(client, connection)


@check("transactions.failed")
def failed(client):
    """After an error nothing is answered until the rollback."""
    with client.opened() as connection:
        client.begin(connection)
        refused(client, "42P01", lambda: client.query(connection, "SELECT * FROM no_such_table"))
        refused(client, "25P02", lambda: client.query(connection, "SELECT 1"))
        client.rollback(connection)
        one(client, connection)


@check("transactions.savepoint")
def savepoint(client):
    with client.opened() as connection:
        client.begin(connection)
        one(client, connection)
        back = client.savepoint(connection)
        refused(client, "42P01", lambda: client.query(connection, "SELECT * FROM no_such_table"))
        back()
        one(client, connection)
        client.commit(connection)


@check("transactions.read_only")
def read_only(client):
    with client.opened() as connection:
        client.command(connection, "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        one(client, connection)
        client.command(connection, "COMMIT")
        client.expect(client.query(connection, "SHOW transaction_read_only")[1][0][0], "on")


@check("transactions.one_moment")
def one_moment(client):
    """now() does not move within a transaction."""
    with client.opened() as connection:
        client.begin(connection)
        first = client.query(connection, "SELECT CAST(now() AS text)")[1][0][0]
        second = client.query(connection, "SELECT CAST(now() AS text)")[1][0][0]
        client.commit(connection)
        client.expect(second, first, "now()")


ERRORS = {
    "syntax": ("42601", "SELEC 1"),
    "unknown_table": ("42P01", "SELECT * FROM no_such_table"),
    "unknown_column": ("42703", "SELECT no_such_column FROM changes"),
    "unknown_function": ("42883", "SELECT no_such_function(1)"),
    "division_by_zero": ("22012", "SELECT 1 / (seq - seq) FROM changes"),
    "bad_value": ("22P02", "SELECT CAST('not a number' AS integer)"),
    "bad_time": ("22007", "SELECT CAST('not a time' AS timestamptz)"),
    "insert": ("25006", "INSERT INTO changes (seq) VALUES (1)"),
    "delete": ("25006", "DELETE FROM changes"),
    "create": ("25006", "CREATE TABLE mine (a int)"),
    "drop": ("25006", "DROP TABLE changes"),
    "ambiguous": ("42702", "SELECT seq FROM changes a CROSS JOIN changes b"),
    "ungrouped": ("42803", "SELECT path, count(*) FROM changes"),
}


def register(name, state, sql):
    @check(f"errors.{name}")
    def is_refused(client):
        with client.opened() as connection:
            refused(client, state, lambda: client.query(connection, sql))
            # In autocommit mode the next query is answered as if nothing had been.
            one(client, connection)


for name, (state, sql) in ERRORS.items():
    register(name, state, sql)
