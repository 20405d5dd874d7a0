"""Fills a PostgreSQL with the tables and rows that an agent's HTTP door gives.

usage: load_postgresql.py SETTINGS HTTP_ADDRESS ADMINISTRATOR_PASSWORD
"""

import base64
import json
import sys
import urllib.request

import psycopg
from psycopg import sql

from suite import Settings


def rows_of(address, table):
    request = urllib.request.Request(
        f"http://{address}/sql", f"SELECT * FROM {table}".encode(),
        {"Accept": "application/json", "Content-Type": "text/plain"},
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)


def value(kind, told):
    if told is None:
        return None
    if kind == "bytea":
        return base64.b64decode(told)
    if kind == "bigint" and isinstance(told, str):
        number = int(told, 16)
        return number - (1 << 64) if number >= 1 << 63 else number
    return told


def main(settings, address, password):
    where = {"host": settings.host, "port": settings.port, "user": "administrator", "password": password}
    with psycopg.connect(dbname="postgres", autocommit=True, **where) as connection:
        connection.execute(f"CREATE DATABASE {settings.database}")
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(
            sql.Identifier(settings.user), sql.Literal(settings.password)))
        connection.execute(f"ALTER ROLE {settings.user} SET default_transaction_read_only = on")
    with psycopg.connect(dbname=settings.database, autocommit=True, **where) as connection:
        for table, columns in settings.tables.items():
            declared = ", ".join(f"{name} {kind}{'' if nullable else ' NOT NULL'}" for name, kind, nullable in columns)
            connection.execute(f"CREATE TABLE {table} ({declared})")
            connection.execute(f"GRANT SELECT ON {table} TO {settings.user}")
            names = ", ".join(column[0] for column in columns)
            with connection.cursor().copy(f"COPY {table} ({names}) FROM STDIN") as copy:
                for row in rows_of(address, table):
                    copy.write_row([value(kind, row[name]) for name, kind, _ in columns])
        connection.execute("ANALYZE")


if __name__ == "__main__":
    main(Settings(sys.argv[1]), *sys.argv[2:])
