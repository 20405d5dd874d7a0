"""ADBC for PostgreSQL: Arrow columns, read through binary COPY."""

import decimal
from urllib.parse import quote, urlencode

import adbc_driver_postgresql.dbapi as dbapi

from drive_psycopg2 import state_of_refusal
from suite import Client, run, version_of

# Arrow's names of what it makes of the columns.
TYPES = {
    "integer": "int32",
    "bigint": "int64",
    "text": "string",
    "boolean": "bool",
    "bytea": "binary",
    "date": "date32[day]",
    "timestamp with time zone": "timestamp[us, tz=UTC]",
}


class Adbc(Client):
    name = "adbc"
    types = TYPES

    def versions(self):
        return version_of("adbc-driver-postgresql")

    def connect(self, user=None, password=None, ca=None):
        settings = self.settings
        tls = {"sslmode": "verify-full", "sslrootcert": ca} if ca else {"sslmode": "disable"}
        user, password = quote(user or settings.user), quote(password or settings.password)
        uri = f"postgresql://{user}:{password}@{settings.host}:{settings.port}/{settings.database}?{urlencode(tls)}"
        return dbapi.connect(uri, autocommit=True)

    def query(self, connection, sql, *parameters):
        with connection.cursor() as cursor:
            if sql.lstrip().upper().startswith(("SHOW", "EXPLAIN")):
                # What COPY cannot wrap is asked for plainly.
                cursor.adbc_statement.set_options(**{"adbc.postgresql.use_copy": "false"})
            cursor.execute(sql, parameters or None)
            if cursor.description is None:
                return [], []
            table = cursor.fetch_arrow_table()
            columns = [column.to_pylist() for column in table.columns]
            return table.column_names, list(zip(*columns)) if columns else []

    def command(self, connection, sql):
        with connection.cursor() as cursor:
            cursor.execute(sql)

    def sqlstate(self, error):
        return getattr(error, "sqlstate", None) or state_of_refusal(str(error))

    def same(self, got, expected):
        """numeric has no type of its own in Arrow: it comes as text."""
        if isinstance(got, str) and isinstance(expected, (decimal.Decimal, int)):
            return decimal.Decimal(got) == expected
        return super().same(got, expected)

    def tables(self, connection):
        objects = connection.adbc_get_objects(depth="tables", db_schema_filter="public").read_all().to_pylist()
        return [
            table["table_name"] for catalog in objects for schema in catalog["catalog_db_schemas"] or []
            for table in schema["db_schema_tables"] or []
        ]

    def columns(self, connection, table):
        schema = connection.adbc_get_table_schema(table, db_schema_filter="public")
        return [(field.name, str(field.type), None) for field in schema]

    def stream(self, connection, sql, count):
        rows = []
        with connection.cursor() as cursor:
            cursor.execute(sql)
            while len(rows) < count:
                piece = cursor.fetchmany(min(500, count - len(rows)))
                if not piece:
                    break
                rows += piece
        return rows

    def prepared(self, connection, sql, parameters):
        found = []
        with connection.cursor() as cursor:
            cursor.adbc_prepare(sql)
            for parameter in parameters:
                cursor.execute(sql, (parameter,))
                found.append(cursor.fetchone()[0])
        return found

    def cancel(self, connection):
        connection.adbc_cancel()


if __name__ == "__main__":
    run(Adbc)
