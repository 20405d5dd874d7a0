"""psycopg 3: parameters and prepared statements on the server, pipelines, server-side cursors."""

import re

import psycopg

from drive_psycopg2 import COLUMNS, state_of_refusal
from suite import Client, run, version_of


class Psycopg(Client):
    name = "psycopg"

    def versions(self):
        return version_of("psycopg")

    def connect(self, user=None, password=None, ca=None):
        settings = self.settings
        tls = {"sslmode": "verify-full", "sslrootcert": ca} if ca else {"sslmode": "disable"}
        return psycopg.connect(
            host=settings.host, port=settings.port, dbname=settings.database, connect_timeout=30, autocommit=True,
            user=user or settings.user, password=password or settings.password, **tls,
        )

    def query(self, connection, sql, *parameters):
        if parameters:
            sql = re.sub(r"\$\d+", "%s", sql.replace("%", "%%"))
        cursor = connection.execute(sql, parameters or None)
        if cursor.description is None:
            return [], []
        return [column.name for column in cursor.description], cursor.fetchall()

    def sqlstate(self, error):
        return getattr(error, "sqlstate", None) or state_of_refusal(str(error))

    def tables(self, connection):
        sql = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
        return [row[0] for row in self.query(connection, sql)[1]]

    def columns(self, connection, table):
        return connection.execute(COLUMNS, (table,)).fetchall()

    def stream(self, connection, sql, count):
        rows = []
        with connection.transaction(), connection.cursor(name="streamed") as cursor:
            cursor.execute(sql)
            while len(rows) < count:
                piece = cursor.fetchmany(min(500, count - len(rows)))
                if not piece:
                    break
                rows += piece
        return rows

    def copy_out(self, connection, sql):
        with connection.cursor() as cursor, cursor.copy(sql) as copy:
            return b"".join(bytes(piece) for piece in copy).decode()

    def prepared(self, connection, sql, parameters):
        sql = sql.replace("$1", "%s")
        return [connection.execute(sql, (parameter,), prepare=True).fetchone()[0] for parameter in parameters]

    def batch(self, connection, sql, parameters):
        sql = sql.replace("$1", "%s")
        with connection.pipeline():
            cursors = [connection.execute(sql, (parameter,)) for parameter in parameters]
        return [cursor.fetchone()[0] for cursor in cursors]

    def statements(self, connection, sql):
        cursor = connection.execute(sql)
        while cursor.nextset():
            pass
        return cursor.fetchall()

    def cancel(self, connection):
        connection.cancel_safe(timeout=10)

    def begin(self, connection):
        connection.autocommit = False

    def commit(self, connection):
        connection.commit()
        connection.autocommit = True

    def rollback(self, connection):
        connection.rollback()
        connection.autocommit = True

    def savepoint(self, connection):
        """Nested transactions are savepoints."""
        nested = connection.transaction()
        nested.__enter__()

        def back():
            # An exception is how a nested transaction is told to go back.
            undo = psycopg.Rollback(nested)
            nested.__exit__(psycopg.Rollback, undo, undo.__traceback__)

        return back


if __name__ == "__main__":
    run(Psycopg)
