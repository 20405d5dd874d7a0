"""What every program of the client suite shares: the settings, the outcome of a check, and what a client must be able to do.

A program drives one client against one server and prints a JSON object a line:
{"client", "feature", "outcome": "yes" | "no" | "n/a", "detail"}, after a first line {"client", "versions"}.

usage: drive_CLIENT.py SETTINGS [FEATURE …]
       drive_CLIENT.py SETTINGS --hang      runs the endless query until it is killed
"""

import json
import os
import subprocess
import sys
import threading
import time
import traceback

# Far longer than any test waits: every change beside every other, three times.
ENDLESS = "SELECT sum((a.seq % 7) * (b.seq % 11) * (c.seq % 13)) FROM changes a CROSS JOIN changes b CROSS JOIN changes c"
# More rows than any limit lets through; the first come at once.
LONG_RESULT = "SELECT a.seq, b.path FROM changes a CROSS JOIN changes b"
# What a stopped query may take before it counts as running on. The engine's own limit (60 s) is no excuse.
STOPS_WITHIN_SECONDS = 20
STARTS_WITHIN_SECONDS = 30
# In hundredths of a second of processor time: what shows that the query runs, and what an idle server uses in a window.
BUSY_TICKS = 10
IDLE_TICKS = 2
WINDOW_SECONDS = 0.5


class NotApplicable(Exception):
    """The client has no such thing."""


class Wrong(Exception):
    """The server answered, but not what it must."""


def require(condition, text):
    if not condition:
        raise Wrong(text)


def equal(got, expected, what="answer"):
    if got != expected:
        raise Wrong(f"{what}: {shorten(got)} instead of {shorten(expected)}")


def shorten(value, length=160):
    text = repr(value)
    return text if len(text) <= length else text[: length - 1] + "…"


class Settings:
    """Where the server is and what it holds."""

    def __init__(self, path):
        with open(path, encoding="utf-8") as file:
            values = json.load(file)
        self.path = path
        self.is_postgresql = values["server"] == "postgresql"
        self.host = values["host"]
        self.port = values["port"]
        self.user = values["user"]
        self.password = values["password"]
        self.database = values["database"]
        # The certificate authority of the server's certificate, and another one.
        self.ca = values["ca"]
        self.other_ca = values["other_ca"]
        self.pid = values["pid"]
        self.connections_max = values["connections_max"]
        self.psql = values["psql"]
        # Where they are not the system's.
        self.psql_libraries = values["psql_libraries"]
        # Table name -> [[column, type, nullable], …].
        self.tables = values["tables"]
        # Figures told by the server's other door.
        self.facts = values["facts"]


class Client:
    """One client. What it cannot do stays NotApplicable."""

    name = None
    # Whether its connection goes on after a cancelled query.
    survives_cancel = True
    # Whether a parameter of a table function must be text: to a client that asks the server for its type it is.
    table_function_text = False
    # How it writes the types of columns, where it does not say what PostgreSQL says.
    types = {}

    def __init__(self, settings):
        self.settings = settings

    def versions(self):
        """Package -> version."""
        raise NotImplementedError

    # Connections: in autocommit mode, and closed by the runner if a check leaves them open.

    def connect(self, user=None, password=None, ca=None):
        """Opens a connection; with `ca` over TLS, with the server's name and certificate verified."""
        raise NotImplementedError

    def close(self, connection):
        connection.close()

    def query(self, connection, sql, *parameters):
        """Column names and rows. Parameters stand as $1, $2 … and are used once each, in that order."""
        raise NotImplementedError

    def command(self, connection, sql):
        """Runs what answers no rows."""
        self.query(connection, sql)

    def sqlstate(self, error):
        raise NotImplementedError

    # The shortest way to one answer.

    def rows(self, sql, *parameters):
        with self.opened() as connection:
            return self.query(connection, sql, *parameters)[1]

    def value(self, sql, *parameters):
        rows = self.rows(sql, *parameters)
        require(len(rows) == 1 and len(rows[0]) == 1, f"one value expected, not {shorten(rows)}")
        return rows[0][0]

    def opened(self, **how):
        return Opened(self, how)

    def same(self, got, expected):
        """Whether a value that the client gives is this one."""
        return got == expected and isinstance(got, bool) == isinstance(expected, bool)

    def expect(self, got, expected, what="answer"):
        require(self.same(got, expected), f"{what}: {shorten(got)} instead of {shorten(expected)}")

    def expect_rows(self, got, expected, what="rows"):
        same = len(got) == len(expected) and all(
            len(a) == len(b) and all(map(self.same, a, b)) for a, b in zip(got, expected)
        )
        require(same, f"{what}: {shorten(got)} instead of {shorten(expected)}")

    # What the client may have beside.

    def tables(self, connection):
        """The names of the schema's tables, as the client itself finds them."""
        raise NotApplicable("has no introspection of its own")

    def columns(self, connection, table):
        """[(name, type as PostgreSQL writes it, nullable or None where the client does not tell)]."""
        raise NotApplicable("has no introspection of its own")

    def keys(self, connection, table):
        """Primary key, indexes and foreign keys, which must be none."""
        raise NotApplicable("does not ask for keys")

    def stream(self, connection, sql, count):
        """The first rows of a result that is not read to its end."""
        raise NotApplicable("reads results whole")

    def copy_out(self, connection, sql):
        """What COPY (…) TO STDOUT (FORMAT csv, HEADER) gives."""
        raise NotApplicable("has no COPY")

    def prepared(self, connection, sql, parameters):
        """One prepared statement, executed for each parameter; gives the only value of each answer."""
        raise NotApplicable("prepares nothing on the server")

    def batch(self, connection, sql, parameters):
        """Executions sent without waiting for each other's answers; the only value of each."""
        raise NotApplicable("sends one query at a time")

    def statements(self, connection, sql):
        """Several statements in one string; the rows of the last."""
        raise NotApplicable("sends one statement at a time")

    def cancel(self, connection):
        """Cancels what runs on the connection; called from another thread."""
        raise NotApplicable("cannot cancel")

    # Transactions: as the client's users write them.

    def begin(self, connection):
        self.command(connection, "BEGIN")

    def commit(self, connection):
        self.command(connection, "COMMIT")

    def rollback(self, connection):
        self.command(connection, "ROLLBACK")

    def savepoint(self, connection):
        """Begins a savepoint; gives a function that goes back to it."""
        self.command(connection, "SAVEPOINT zk")

        def back():
            self.command(connection, "ROLLBACK TO SAVEPOINT zk")
            self.command(connection, "RELEASE SAVEPOINT zk")

        return back

    def hang(self):
        """Runs the endless query."""
        self.value(ENDLESS)

    def hang_command(self):
        """The process that runs `hang` and can be killed."""
        return [sys.executable, sys.argv[0], self.settings.path, "--hang"]


class Opened:
    """A connection for the length of a `with`."""

    def __init__(self, client, how):
        self.client, self.how = client, how

    def __enter__(self):
        self.connection = self.client.connect(**self.how)
        return self.connection

    def __exit__(self, kind, error, trace):
        try:
            self.client.close(self.connection)
        except Exception:
            # What the check itself met says more.
            if kind is None:
                raise


def refused(client, states, run):
    """Runs what the server must refuse with one of these states."""
    states = (states,) if isinstance(states, str) else states
    try:
        run()
    except Exception as error:
        if isinstance(error, (Wrong, NotApplicable)):
            raise
        state = client.sqlstate(error)
        require(state in states, f"SQLSTATE {state} instead of {' or '.join(states)}: {first_line(error)}")
        require(str(error).strip(), "an error without a text")
        return error
    raise Wrong(f"accepted, where {' or '.join(states)} is due")


def first_line(error):
    text = str(error).strip().splitlines()
    return (text[0] if text else "")[:240]


# The server's processor time.


def processes(pid):
    """A process and its children: PostgreSQL has a process a connection."""
    found = [pid]
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", encoding="ascii", errors="replace") as file:
                    parent = int(file.read().rpartition(")")[2].split()[1])
            except (OSError, IndexError, ValueError):
                continue
            if parent == pid:
                found.append(int(entry))
    return found


def cpu_ticks(pid):
    ticks = {}
    for process in processes(pid):
        try:
            with open(f"/proc/{process}/stat", encoding="ascii", errors="replace") as file:
                fields = file.read().rpartition(")")[2].split()
            ticks[process] = int(fields[11]) + int(fields[12])
        except (OSError, IndexError, ValueError):
            continue
    return ticks


def used_ticks(before, after):
    """Each process counts only while it lives."""
    return sum(ticks - before.get(process, ticks) for process, ticks in after.items())


def wait_busy(pid):
    """Waits until the server has worked for a while. On a loaded machine that takes longer."""
    deadline = time.monotonic() + STARTS_WITHIN_SECONDS
    before = cpu_ticks(pid)
    while True:
        now = cpu_ticks(pid)
        if used_ticks(before, now) >= BUSY_TICKS:
            return
        # One that came meanwhile counts from here on.
        for process, ticks in now.items():
            before.setdefault(process, ticks)
        require(time.monotonic() < deadline, "the endless query does not begin")
        time.sleep(0.05)


def wait_idle(pid):
    """Waits until the server's processors rest; gives the seconds that took."""
    started = time.monotonic()
    while True:
        at, before = time.monotonic() - started, cpu_ticks(pid)
        time.sleep(WINDOW_SECONDS)
        if used_ticks(before, cpu_ticks(pid)) <= IDLE_TICKS:
            return at
        require(at < STOPS_WITHIN_SECONDS, f"the query still runs {at:.0f} s later")


def resident_bytes(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def in_background(run):
    """Runs it in a thread; gives a function that waits for the end and gives its error, or None."""
    ended = {}

    def body():
        try:
            run()
            ended["error"] = None
        except Exception as error:
            ended["error"] = error

    thread = threading.Thread(target=body, daemon=True)
    thread.start()

    def wait():
        thread.join(STOPS_WITHIN_SECONDS + 10)
        require(not thread.is_alive(), "the client still waits for an answer")
        return ended["error"]

    return wait


# The run.

CHECKS = {}


def check(feature):
    def register(function):
        assert feature not in CHECKS, feature
        CHECKS[feature] = function
        return function

    return register


def ended(process):
    process.kill()
    process.wait()


def run(make_client, checks=None):
    """The main function of every program."""
    # Registers the checks.
    if checks is None:
        import checks_connect  # noqa: F401
        import checks_control  # noqa: F401
        import checks_introspection  # noqa: F401
        import checks_parameters  # noqa: F401
        import checks_queries  # noqa: F401
        import checks_transactions  # noqa: F401
        import checks_values  # noqa: F401

        checks = CHECKS
    client = make_client(Settings(sys.argv[1]))
    if sys.argv[2:] == ["--hang"]:
        print("running", flush=True)
        client.hang()
        return
    emit({"client": client.name, "versions": client.versions()})
    chosen = sys.argv[2:] or list(checks)
    for feature in chosen:
        started = time.monotonic()
        outcome, detail = outcome_of(checks[feature], client)
        seconds = round(time.monotonic() - started, 2)
        emit({"client": client.name, "feature": feature, "outcome": outcome, "detail": detail, "seconds": seconds})


def outcome_of(function, client):
    try:
        detail = function(client)
        return "yes", detail
    except NotApplicable as reason:
        return "n/a", str(reason)
    except Wrong as wrong:
        return "no", str(wrong)
    except Exception as error:
        if os.environ.get("ZKTRAIL_CLIENTS_TRACE"):
            traceback.print_exc()
        return "no", f"{type(error).__name__}: {first_line(error)}"


def emit(line):
    print(json.dumps(line, ensure_ascii=False), flush=True)


def version_of(*packages):
    from importlib.metadata import version

    return {package: version(package) for package in packages}


def kill_when_busy(client):
    """Starts the client's own process on the endless query, and kills it as soon as the server works."""
    process = subprocess.Popen(client.hang_command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_busy(client.settings.pid)
        require(process.poll() is None, "the client ended by itself")
    finally:
        ended(process)
