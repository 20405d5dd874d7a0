"""psycopg2: parameters are written into the text, results come as text."""

import io
import re

import psycopg2
import psycopg2.extras

from suite import Client, run, version_of

COLUMNS = """
SELECT column_name, data_type, is_nullable = 'YES' FROM information_schema.columns
WHERE table_schema = 'public' AND table_name = %s ORDER BY ordinal_position"""


class Psycopg2(Client):
    name = "psycopg2"

    def __init__(self, settings):
        super().__init__(settings)
        psycopg2.extras.register_uuid()

    def versions(self):
        found = version_of("psycopg2-binary")
        return {"psycopg2": found["psycopg2-binary"]}

    def connect(self, user=None, password=None, ca=None):
        settings = self.settings
        tls = {"sslmode": "verify-full", "sslrootcert": ca} if ca else {"sslmode": "disable"}
        connection = psycopg2.connect(
            host=settings.host, port=settings.port, dbname=settings.database, connect_timeout=30,
            user=user or settings.user, password=password or settings.password, **tls,
        )
        connection.autocommit = True
        return connection

    def query(self, connection, sql, *parameters):
        if parameters:
            sql = re.sub(r"\$\d+", "%s", sql.replace("%", "%%"))
        with connection.cursor() as cursor:
            cursor.execute(sql, parameters or None)
            if cursor.description is None:
                return [], []
            return [column.name for column in cursor.description], [tuple(map(plain, row)) for row in cursor.fetchall()]

    def sqlstate(self, error):
        if isinstance(error, psycopg2.OperationalError) and error.pgcode is None:
            return state_of_refusal(str(error))
        return getattr(error, "pgcode", None)

    def tables(self, connection):
        sql = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
        return [row[0] for row in self.query(connection, sql)[1]]

    def columns(self, connection, table):
        with connection.cursor() as cursor:
            cursor.execute(COLUMNS, (table,))
            return cursor.fetchall()

    def stream(self, connection, sql, count):
        connection.autocommit = False
        with connection.cursor("streamed") as cursor:
            cursor.itersize = 500
            cursor.execute(sql)
            rows = []
            while len(rows) < count:
                piece = cursor.fetchmany(min(500, count - len(rows)))
                if not piece:
                    break
                rows += piece
        connection.rollback()
        return rows

    def copy_out(self, connection, sql):
        out = io.StringIO()
        with connection.cursor() as cursor:
            cursor.copy_expert(sql, out)
        return out.getvalue()

    def prepared(self, connection, sql, parameters):
        found = []
        with connection.cursor() as cursor:
            cursor.execute(f"PREPARE again (bigint) AS {sql}")
            for parameter in parameters:
                cursor.execute("EXECUTE again (%s)", (parameter,))
                found.append(cursor.fetchone()[0])
            cursor.execute("DEALLOCATE again")
        return found

    def statements(self, connection, sql):
        return self.query(connection, sql)[1]

    def cancel(self, connection):
        connection.cancel()

    def begin(self, connection):
        connection.autocommit = False

    def commit(self, connection):
        connection.commit()
        connection.autocommit = True

    def rollback(self, connection):
        connection.rollback()
        connection.autocommit = True


def plain(value):
    return bytes(value) if isinstance(value, memoryview) else value


def state_of_refusal(text):
    """libpq tells no SQLSTATE of a refused connection: what a person reads must do."""
    text = text.lower()
    if "too many" in text:
        return "53300"
    if "password authentication failed" in text:
        return "28P01"
    return None


if __name__ == "__main__":
    # The module is used by SQLAlchemy's program too.
    run(Psycopg2)
