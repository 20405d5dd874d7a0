"""pandas: read_sql over SQLAlchemy. What a column becomes is pandas's own rule; what is in it must be right."""

import datetime
import decimal

import pandas

from drive_sqlalchemy import Sqlalchemy2, bound
from suite import NotApplicable, run, version_of

# Cells of these say the same as what they wrap.
MISSING = (None, pandas.NaT, pandas.NA)


class Pandas(Sqlalchemy2):
    name = "pandas"

    def versions(self):
        return version_of("pandas")

    def query(self, connection, sql, *parameters):
        statement, values = bound(sql, parameters)
        frame = pandas.read_sql(statement, connection, params=values or None)
        return list(frame.columns), [tuple(map(cell, row)) for row in frame.itertuples(index=False, name=None)]

    def command(self, connection, sql):
        connection.exec_driver_sql(sql)

    def same(self, got, expected):
        if expected is None:
            return got in MISSING or got != got
        if isinstance(expected, decimal.Decimal) and isinstance(got, float):
            return got == float(expected)
        if isinstance(expected, datetime.date) and not isinstance(expected, datetime.datetime) and isinstance(got, datetime.datetime):
            return got.date() == expected
        return got == expected

    def sqlstate(self, error):
        """pandas wraps what SQLAlchemy wraps."""
        return super().sqlstate(error.__cause__ if isinstance(error, pandas.errors.DatabaseError) else error)

    def tables(self, connection):
        raise NotApplicable("leaves introspection to SQLAlchemy")

    def stream(self, connection, sql, count):
        connection = connection.execution_options(isolation_level="READ COMMITTED", stream_results=True)
        rows = []
        for frame in pandas.read_sql(bound(sql, ())[0], connection, chunksize=500):
            rows += frame.itertuples(index=False, name=None)
            if len(rows) >= count:
                break
        return rows[:count]

    def copy_out(self, connection, sql):
        raise NotApplicable("does not COPY")

    def prepared(self, connection, sql, parameters):
        raise NotApplicable("prepares nothing itself")

    def statements(self, connection, sql):
        raise NotApplicable("reads one result")


def not_its_own(self, connection, table):
    raise NotApplicable("leaves introspection to SQLAlchemy")


Pandas.columns = Pandas.keys = not_its_own


def cell(value):
    if isinstance(value, pandas.Timestamp):
        return value.to_pydatetime()
    return value.item() if hasattr(value, "item") else value


if __name__ == "__main__":
    run(Pandas)
