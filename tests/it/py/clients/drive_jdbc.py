"""JDBC: pgjdbc behind a small Java program, which does what it is told line by line."""

import base64
import datetime
import decimal
import os
import re
import subprocess
import threading
import uuid

from suite import Client, NotApplicable, run

UTC = datetime.timezone.utc
TYPES = {
    "integer": "int4",
    "bigint": "int8",
    "boolean": "bool",
    "timestamp with time zone": "timestamptz",
}


class SqlException(Exception):
    def __init__(self, state, text):
        super().__init__(text)
        self.state = state


def encode(value):
    """A value as the Java program reads it: a letter for the type, then text."""
    if value is None:
        return "-"
    if isinstance(value, list):
        return "a" + ",".join(base64.b64encode(item.encode()).decode() for item in value)
    if isinstance(value, bytes):
        return "x" + base64.b64encode(value).decode()
    if isinstance(value, datetime.datetime):
        return ("z" if value.tzinfo else "t") + value.isoformat()
    for kind, letter in ((bool, "b"), (int, "i"), (float, "f"), (decimal.Decimal, "n"), (datetime.date, "d"), (uuid.UUID, "u")):
        if isinstance(value, kind):
            return letter + str(value)
    return "s" + value


DECODERS = {
    "-": lambda text: None,
    "a": lambda text: [base64.b64decode(item).decode() for item in text.split(",")],
    "x": base64.b64decode,
    "z": datetime.datetime.fromisoformat,
    "t": datetime.datetime.fromisoformat,
    "d": datetime.date.fromisoformat,
    "b": lambda text: text == "true",
    "i": int,
    "f": float,
    "n": decimal.Decimal,
    "u": uuid.UUID,
    "s": str,
}


def decode(text):
    return DECODERS[text[0]](text[1:])


class Jdbc(Client):
    name = "jdbc"
    types = TYPES

    def __init__(self, settings):
        super().__init__(settings)
        self.process = subprocess.Popen(
            ["java", "-Xmx512m", "-cp", os.environ["ZKTRAIL_JDBC"], os.environ["ZKTRAIL_JDBC_PROGRAM"]],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="ascii",
        )
        self.lock = threading.Lock()
        self.waiting = {}
        threading.Thread(target=self.listen, daemon=True).start()
        self.asked = 0

    def listen(self):
        for line in self.process.stdout:
            number, *fields = line.rstrip("\n").split("\t")
            event, answer = self.waiting[int(number)]
            answer.extend(base64.b64decode(field).decode() for field in fields)
            event.set()

    def ask(self, command, *arguments):
        """Asks and waits. Many threads may."""
        event, answer = threading.Event(), []
        with self.lock:
            self.asked += 1
            number = self.asked
            self.waiting[number] = event, answer
            fields = [base64.b64encode(str(argument).encode()).decode() for argument in arguments]
            self.process.stdin.write("\t".join([str(number), command, *fields]) + "\n")
            self.process.stdin.flush()
        while not event.wait(1):
            if self.process.poll() is not None:
                raise RuntimeError(f"the Java program ended with {self.process.returncode}")
        del self.waiting[number]
        status, *rest = answer
        if status == "error":
            raise SqlException(rest[0] or None, rest[1])
        return rest

    def table(self, answer):
        """Column names and rows of an answer: the number of columns, their names, then the cells."""
        if not answer:
            return [], []
        width = int(answer[0])
        names, cells = answer[1:1 + width], [decode(cell) for cell in answer[1 + width:]]
        return names, [tuple(cells[at:at + width]) for at in range(0, len(cells), width)]

    def versions(self):
        return {"pgjdbc": self.ask("version")[0]}

    def connect(self, user=None, password=None, ca=None):
        settings = self.settings
        url = f"jdbc:postgresql://{settings.host}:{settings.port}/{settings.database}"
        tls = ("verify-full", ca) if ca else ("disable", "")
        return self.ask("connect", url, user or settings.user, password or settings.password, *tls)[0]

    def close(self, connection):
        self.ask("close", connection)

    def query(self, connection, sql, *parameters):
        sql = re.sub(r"\$\d+", "?", sql) if parameters else sql
        return self.table(self.ask("query", connection, sql, *map(encode, parameters)))

    def sqlstate(self, error):
        return getattr(error, "state", None)

    def tables(self, connection):
        return [row[0] for row in self.table(self.ask("tables", connection))[1]]

    def columns(self, connection, table):
        return self.table(self.ask("columns", connection, table))[1]

    def keys(self, connection, table):
        return self.table(self.ask("keys", connection, table))[1]

    def stream(self, connection, sql, count):
        return self.table(self.ask("stream", connection, sql, count))[1]

    def copy_out(self, connection, sql):
        return self.ask("copy", connection, sql)[0]

    def prepared(self, connection, sql, parameters):
        answer = self.ask("prepared", connection, re.sub(r"\$\d+", "?", sql), *map(encode, parameters))
        return [row[0] for row in self.table(answer)[1]]

    def batch(self, connection, sql, parameters):
        raise NotApplicable("its batches are for writes")

    def statements(self, connection, sql):
        return self.table(self.ask("statements", connection, sql))[1]

    def cancel(self, connection):
        self.ask("cancel", connection)

    def begin(self, connection):
        self.ask("autocommit", connection, "false")

    def commit(self, connection):
        self.ask("commit", connection)

    def rollback(self, connection):
        self.ask("rollback", connection)

    def savepoint(self, connection):
        self.ask("savepoint", connection)
        return lambda: self.ask("back", connection)


if __name__ == "__main__":
    run(Jdbc)
