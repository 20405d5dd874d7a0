"""asyncpg: everything is prepared, and everything is binary."""

import asyncio
import ssl
import threading

import asyncpg

from drive_psycopg2 import COLUMNS
from suite import Client, run, version_of


class Asyncpg(Client):
    name = "asyncpg"
    table_function_text = True

    def __init__(self, settings):
        super().__init__(settings)
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.running = {}

    def wait(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()

    def versions(self):
        return version_of("asyncpg")

    def connect(self, user=None, password=None, ca=None):
        settings = self.settings
        tls = ssl.create_default_context(cafile=ca) if ca else False
        return self.wait(asyncpg.connect(
            host=settings.host, port=settings.port, database=settings.database, timeout=30, ssl=tls,
            user=user or settings.user, password=password or settings.password,
        ))

    def close(self, connection):
        self.wait(connection.close(timeout=10))

    def query(self, connection, sql, *parameters):
        return self.wait(self.fetch(connection, sql, parameters))

    async def fetch(self, connection, sql, parameters):
        statement = await connection.prepare(sql)
        self.running[connection] = asyncio.ensure_future(statement.fetch(*parameters))
        try:
            rows = await self.running[connection]
        except asyncio.CancelledError:
            # asyncpg sends a CancelRequest and drops what the server says to it.
            raise Cancelled from None
        return [attribute.name for attribute in statement.get_attributes()], [tuple(row) for row in rows]

    def command(self, connection, sql):
        self.wait(connection.execute(sql))

    def sqlstate(self, error):
        return "57014" if isinstance(error, Cancelled) else getattr(error, "sqlstate", None)

    def tables(self, connection):
        sql = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
        return [row[0] for row in self.query(connection, sql)[1]]

    def columns(self, connection, table):
        return self.query(connection, COLUMNS.replace("%s", "$1"), table)[1]

    def stream(self, connection, sql, count):
        async def read():
            rows = []
            async with connection.transaction():
                cursor = await connection.cursor(sql)
                while len(rows) < count:
                    piece = await cursor.fetch(min(500, count - len(rows)))
                    if not piece:
                        break
                    rows += [tuple(row) for row in piece]
            return rows

        return self.wait(read())

    def copy_out(self, connection, sql):
        query = sql[len("COPY ("):sql.rindex(") TO STDOUT")]
        pieces = []

        async def write(piece):
            pieces.append(piece)

        self.wait(connection.copy_from_query(query, output=write, format="csv", header=True))
        return b"".join(pieces).decode()

    def prepared(self, connection, sql, parameters):
        async def execute():
            statement = await connection.prepare(sql)
            return [await statement.fetchval(parameter) for parameter in parameters]

        return self.wait(execute())

    def batch(self, connection, sql, parameters):
        async def execute():
            statement = await connection.prepare(sql)
            return [row[0] for row in await statement.fetchmany([(parameter,) for parameter in parameters])]

        return self.wait(execute())

    def statements(self, connection, sql):
        """`execute` runs several; only the last one is read by itself."""
        *first, last = sql.split(";")
        self.wait(connection.execute(";".join(first)))
        return self.query(connection, last)[1]

    def cancel(self, connection):
        self.loop.call_soon_threadsafe(self.running[connection].cancel)

    def savepoint(self, connection):
        """Nested transactions are savepoints."""
        nested = connection.transaction()
        self.wait(nested.start())
        return lambda: self.wait(nested.rollback())

    def begin(self, connection):
        self.transaction = connection.transaction()
        self.wait(self.transaction.start())

    def commit(self, connection):
        self.wait(self.transaction.commit())

    def rollback(self, connection):
        self.wait(self.transaction.rollback())


class Cancelled(Exception):
    """The query was cancelled, and the client kept the server's words to itself."""

    def __str__(self):
        return "cancelled"


if __name__ == "__main__":
    run(Asyncpg)
