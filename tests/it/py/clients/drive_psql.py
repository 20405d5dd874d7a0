"""psql: a process a connection, fed through its standard input; everything it shows is text."""

import csv
import datetime
import io
import os
import re
import signal
import subprocess

from drive_psycopg2 import state_of_refusal
from suite import ENDLESS, Client, require, run

MARK = "=== end of the answer ==="
NULL = "<null>"


class Failed(Exception):
    pass


class Psql(Client):
    name = "psql"
    # Ctrl-C ends what it reads from a pipe.
    survives_cancel = False

    def __init__(self, settings):
        super().__init__(settings)
        if settings.psql_libraries:
            os.environ["LD_LIBRARY_PATH"] = settings.psql_libraries
        os.environ.update(PGPASSWORD=settings.password, PGCONNECT_TIMEOUT="30", PGSSLMODE="disable", PSQLRC="/dev/null")

    def versions(self):
        told = subprocess.run([self.settings.psql, "--version"], capture_output=True, text=True, check=True).stdout
        # Debian's updates change the number behind the point.
        return {"psql": re.search(r"(\d+)\.", told).group(1)}

    def command_line(self, user=None):
        settings = self.settings
        return [
            settings.psql, "-X", "-q", "-h", settings.host, "-p", str(settings.port), "-U", user or settings.user,
            "-d", settings.database, "-v", "VERBOSITY=verbose", "--csv", "-P", f"null={NULL}",
        ]

    def connect(self, user=None, password=None, ca=None):
        environment = dict(os.environ)
        if password:
            environment["PGPASSWORD"] = password
        if ca:
            environment.update(PGSSLMODE="verify-full", PGSSLROOTCERT=ca)
        process = subprocess.Popen(
            self.command_line(user), env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, encoding="utf-8",
        )
        try:
            self.say(process, "")
        except Failed:
            process.kill()
            process.wait()
            raise
        return process

    def close(self, process):
        try:
            process.stdin.close()
        except BrokenPipeError:
            pass
        # One that was left in the middle of a result does not read its input.
        try:
            process.wait(0.5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def say(self, process, text, lines_max=None):
        """Sends a line or more, and gives what is shown until all of it is done, or the first lines of that."""
        try:
            process.stdin.write(f"{text}\n\\echo '{MARK}'\n")
            process.stdin.flush()
        except BrokenPipeError:
            pass
        lines = []
        for line in process.stdout:
            if line == f"{MARK}\n":
                shown = "".join(lines)
                if re.match(r"(ERROR|FATAL):  ", shown) or re.search(r"^ERROR:  [0-9A-Z]{5}: ", shown, re.M):
                    raise Failed(shown[shown.index("ERROR:  "):] if "ERROR:  " in shown else shown)
                return shown
            lines.append(line)
            if lines_max is not None and len(lines) >= lines_max:
                return "".join(lines)
        raise Failed("".join(lines))

    def query(self, process, sql, *parameters):
        settings = "".join(
            f"\\set p{number} {quoted(value)}\n" for number, value in enumerate(parameters, 1) if value is not None
        )

        def place(match):
            value = parameters[int(match.group(1)) - 1]
            if value is None:
                return "NULL"
            number = isinstance(value, int) and not isinstance(value, bool)
            return f":p{match.group(1)}" if number and value >= 0 else f":'p{match.group(1)}'"

        if parameters:
            sql = re.sub(r"\$(\d+)", place, sql)
        rows = list(csv.reader(io.StringIO(self.say(process, f"{settings}{sql};"))))
        if not rows:
            return [], []
        # An empty text alone in its row is an empty line.
        return rows[0], [tuple(row or [""]) for row in rows[1:]]

    def sqlstate(self, error):
        found = re.search(r"^(?:ERROR|FATAL):  ([0-9A-Z]{5}): ", str(error), re.M)
        return found.group(1) if found else state_of_refusal(str(error))

    def same(self, got, expected):
        if expected is None:
            return got == NULL
        if isinstance(expected, bool):
            return got == ("t" if expected else "f")
        if isinstance(expected, float):
            return float(got) == expected
        if isinstance(expected, bytes):
            return got == "\\x" + expected.hex()
        if isinstance(expected, datetime.datetime):
            return datetime.datetime.fromisoformat(got) == expected
        if isinstance(expected, (list, tuple)):
            return list(got) == list(expected)
        # Lengths and such are the suite's own.
        return got == expected or got == str(expected)

    def value(self, sql, *parameters):
        value = super().value(sql, *parameters)
        return int(value) if re.fullmatch(r"\d{1,18}", value) else value

    def tables(self, process):
        return [row[1] for row in self.query(process, "\\dt")[1]]

    def columns(self, process, table):
        return [(row[0], row[1], row[3] != "not null") for row in self.query(process, f"\\d {table}")[1]]

    def keys(self, process, table):
        shown = self.say(process, "\\dn\n\\dv\n\\di\n\\df\n\\du\n\\l")
        require(self.settings.database in shown, f"\\l does not show the database: {shown[-200:]!r}")
        # \di says that there is none, in a sentence.
        indexes = self.say(process, "\\di")
        return [] if "public," not in indexes else [indexes]

    def stream(self, process, sql, count):
        shown = self.say(process, f"\\set FETCH_COUNT 500\n{sql};", count + 1)
        return [tuple(row) for row in csv.reader(io.StringIO(shown))][1:]

    def copy_out(self, process, sql):
        return self.say(process, f"{sql};")

    def prepared(self, process, sql, parameters):
        self.say(process, f"PREPARE again (bigint) AS {sql};")
        found = [self.query(process, f"EXECUTE again ({parameter})")[1][0][0] for parameter in parameters]
        self.say(process, "DEALLOCATE again;")
        return found

    def statements(self, process, sql):
        """`\\;` keeps them together in one message."""
        self.say(process, "\\set SHOW_ALL_RESULTS off")
        return self.query(process, sql.replace(";", "\\;"))[1]

    def cancel(self, process):
        process.send_signal(signal.SIGINT)

    def hang_command(self):
        return [*self.command_line(), "-c", ENDLESS]


def quoted(value):
    if isinstance(value, bytes):
        value = "\\x" + value.hex()
    elif isinstance(value, list):
        value = "{" + ",".join(value) + "}"
    elif isinstance(value, datetime.datetime):
        value = value.isoformat(" ")
    text = str(value)
    for plain, escaped in (("\\", "\\\\"), ("'", "''"), ("\n", "\\n"), ("\t", "\\t")):
        text = text.replace(plain, escaped)
    return f"'{text}'"


if __name__ == "__main__":
    run(Psql)
