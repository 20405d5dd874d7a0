"""SQLAlchemy over psycopg2, in both versions that are in use: reflection, Core, transactions."""

import io
import re

import sqlalchemy
from sqlalchemy import create_engine, inspect, text

from drive_psycopg2 import plain, state_of_refusal
from suite import Client, NotApplicable, require, run, version_of

# How SQLAlchemy writes the types that it reflects.
TYPES = {
    "integer": "INTEGER",
    "bigint": "BIGINT",
    "text": "TEXT",
    "boolean": "BOOLEAN",
    "bytea": "BYTEA",
    "date": "DATE",
    "timestamp with time zone": "TIMESTAMP WITH TIME ZONE",
}


def bound(sql, parameters):
    """With colons that are not parameters escaped, as SQLAlchemy wants them."""
    sql = re.sub(r"\$(\d+)", r":p\1", sql.replace("\\", "\\\\").replace(":", "\\:"))
    return text(sql), {f"p{number}": value for number, value in enumerate(parameters, 1)}


class Sqlalchemy(Client):
    name = f"sqlalchemy{'.'.join(sqlalchemy.__version__.split('.')[:1])}"
    types = TYPES
    driver = "psycopg2"

    def __init__(self, settings):
        super().__init__(settings)
        self.engines = {}

    def versions(self):
        return version_of("SQLAlchemy")

    def engine(self, user=None, password=None, ca=None):
        settings = self.settings
        tls = {"sslmode": "verify-full", "sslrootcert": ca} if ca else {"sslmode": "disable"}
        url = sqlalchemy.engine.URL.create(
            f"postgresql+{self.driver}", user or settings.user, password or settings.password, settings.host,
            settings.port, settings.database, query=tls,
        )
        return create_engine(url, poolclass=sqlalchemy.pool.NullPool)

    def connect(self, **how):
        return self.engine(**how).connect().execution_options(isolation_level="AUTOCOMMIT")

    def query(self, connection, sql, *parameters):
        result = connection.execute(*bound(sql, parameters))
        if not result.returns_rows:
            return [], []
        return list(result.keys()), [tuple(map(plain, row)) for row in result.fetchall()]

    def sqlstate(self, error):
        cause = getattr(error, "orig", error)
        state = getattr(cause, "pgcode", None) or getattr(cause, "sqlstate", None)
        return state or state_of_refusal(str(cause))

    def tables(self, connection):
        return inspect(connection).get_table_names()

    def columns(self, connection, table):
        columns = inspect(connection).get_columns(table)
        return [(column["name"], self.written(connection, column["type"]), column["nullable"]) for column in columns]

    def written(self, connection, kind):
        return kind.compile(connection.dialect)

    def keys(self, connection, table):
        inspector = inspect(connection)
        # Reflected whole, as ORMs and Superset do.
        reflected = sqlalchemy.Table(table, sqlalchemy.MetaData(), autoload_with=connection)
        require(len(reflected.columns) == len(self.settings.tables[table]), f"{table} reflected with {len(reflected.columns)}")
        inspector.get_schema_names()
        inspector.get_view_names()
        comment = inspector.get_table_comment(table)
        require("text" in comment, f"comment of {table}: {comment!r}")
        return (
            inspector.get_pk_constraint(table)["constrained_columns"] + inspector.get_indexes(table)
            + inspector.get_foreign_keys(table) + inspector.get_unique_constraints(table)
            + inspector.get_check_constraints(table)
        )

    def stream(self, connection, sql, count):
        connection = connection.execution_options(isolation_level="READ COMMITTED", stream_results=True, max_row_buffer=500)
        result = connection.execute(bound(sql, ())[0])
        rows = []
        while len(rows) < count:
            piece = result.fetchmany(min(500, count - len(rows)))
            if not piece:
                break
            rows += piece
        result.close()
        return rows

    def copy_out(self, connection, sql):
        out = io.StringIO()
        with connection.connection.cursor() as cursor:
            cursor.copy_expert(sql, out)
        return out.getvalue()

    def prepared(self, connection, sql, parameters):
        """Compiled once; what reaches the server is the driver's business."""
        statement, _ = bound(sql, ())
        return [connection.execute(statement, {"p1": parameter}).scalar() for parameter in parameters]

    def statements(self, connection, sql):
        return self.query(connection, sql)[1]

    def cancel(self, connection):
        connection.connection.dbapi_connection.cancel()

    def begin(self, connection):
        connection.execution_options(isolation_level="READ COMMITTED")
        self.transaction = connection.begin()

    def commit(self, connection):
        self.transaction.commit()
        connection.execution_options(isolation_level="AUTOCOMMIT")

    def rollback(self, connection):
        self.transaction.rollback()
        connection.execution_options(isolation_level="AUTOCOMMIT")

    def savepoint(self, connection):
        return connection.begin_nested().rollback


class Sqlalchemy14(Sqlalchemy):
    name = "sqlalchemy14"

    def batch(self, connection, sql, parameters):
        raise NotApplicable("sends one query at a time")


class Sqlalchemy2(Sqlalchemy):
    """The newer one with the newer driver."""

    name = "sqlalchemy2"
    driver = "psycopg"

    def cancel(self, connection):
        connection.connection.dbapi_connection.cancel_safe(timeout=10)

    def copy_out(self, connection, sql):
        with connection.connection.cursor() as cursor, cursor.copy(sql) as copy:
            return b"".join(bytes(piece) for piece in copy).decode()

    def statements(self, connection, sql):
        with connection.connection.cursor() as cursor:
            cursor.execute(sql)
            while cursor.nextset():
                pass
            return cursor.fetchall()


if __name__ == "__main__":
    run(Sqlalchemy14 if sqlalchemy.__version__.startswith("1.") else Sqlalchemy2)
