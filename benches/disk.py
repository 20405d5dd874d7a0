"""Measures what a history takes on disk, and what its agent costs the server: the figures of docs/operating.md.

usage: disk.py ZKTRAIL CACHE [values|rates|idle|tree …]

ZKTRAIL is the optimised program, CACHE the folder that tests/run fills (its Python runs this). Everything it starts it
ends, and removes. `ZKTRAIL_BENCH_ZNODES` lists the sizes of the trees.
"""

import contextlib
import glob
import os
import random
import re
import shutil
import socket
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../tests/play"))
from play import end, free_port, is_ready, serves, start, start_server, wait  # noqa: E402

from kazoo.client import KazooClient  # noqa: E402

CHANGES = 60_000
PER_SECOND = 1_500
FLUSH_SECONDS = 10
PATHS = 1_000
SETTINGS = (
    '{"release":"2.14.%d","pool_size":%d,"timeout_ms":1500,"endpoints":["10.0.3.7:8443","10.0.3.9:8443"],'
    '"owner":"checkout","canary":false,"weights":{"blue":50,"green":50}}'
)


def repetitive(size, number, _random):
    """Settings as applications keep them: much of it the same in every value."""
    text = SETTINGS % (number % 100, number % 64)
    return (text * (size // len(text) + 1))[:size].encode()


def opaque(size, _number, source):
    """What compression cannot make smaller."""
    return source.randbytes(size)


VALUES = {
    "no value": lambda number, source: b"",
    "100 B, settings": lambda number, source: repetitive(100, number, source),
    "100 B, random": lambda number, source: opaque(100, number, source),
    "1 KiB, settings": lambda number, source: repetitive(1024, number, source),
    "1 KiB, random": lambda number, source: opaque(1024, number, source),
}


class Bench:
    def __init__(self, zktrail, cache):
        self.zktrail, self.cache = zktrail, cache
        self.scratch = tempfile.mkdtemp(prefix="zktrail-disk-")
        self.port = free_port()
        self.processes = []
        # A tree of a million znodes needs more than what the play's server has.
        os.environ["_JAVA_OPTIONS"] = "-Xmx3g"

    def __enter__(self):
        self.processes.append(start_server(self.cache, self.scratch, self.port))
        wait("ZooKeeper", lambda: serves(self.port), self.processes)
        return self

    def __exit__(self, *_):
        end(self.processes)
        shutil.rmtree(self.scratch, ignore_errors=True)

    def client(self):
        client = KazooClient(f"127.0.0.1:{self.port}", timeout=30)
        client.start()
        return contextlib.closing(Stopped(client))

    @contextlib.contextmanager
    def agent(self, folder, *flags, clock=None, chroot=""):
        """A running agent; ends it in order."""
        http = f"127.0.0.1:{free_port()}"
        log = os.path.join(self.scratch, f"agent-{http.split(':')[1]}.log")
        command = [self.zktrail, "agent", "--ensemble", f"prod=127.0.0.1:{self.port}{chroot}", "--data-dir", folder]
        command += ["--http", http, "--postgres", "off", *flags]
        if clock:
            library = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")[0]
            command = ["env", f"LD_PRELOAD={library}", f"FAKETIME={clock}", *command]
        with open(log, "w") as file:
            process = start(command, file)
        self.processes.append(process)
        wait("the agent", lambda: is_ready(http), [process], log)
        try:
            yield process, log
        finally:
            end([process])
            self.processes.remove(process)

    def received(self):
        """Packets that the server has received so far."""
        return int(re.search(rb"Received: (\d+)", self.ask(b"srvr")).group(1))

    def ask(self, word):
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(word)
            return b"".join(iter(lambda: connection.recv(65_536), b""))


class Stopped:
    def __init__(self, client):
        self.client = client

    def close(self):
        self.client.stop()
        self.client.close()


def size(folder, table):
    files = glob.glob(f"{folder}/{table}/**/*", recursive=True)
    return sum(os.path.getsize(file) for file in files if os.path.isfile(file) and not file.endswith("/lock"))


def parts(folder, table):
    return sorted(glob.glob(f"{folder}/{table}/**/*.parquet", recursive=True))


def paced(count, per_second, do):
    """Calls at a steady rate, without waiting for the answers of more than a few hundred."""
    began, waiting = time.monotonic(), []
    for number in range(count):
        waiting.append(do(number))
        if len(waiting) > 400:
            waiting.pop(0).get()
        ahead = began + number / per_second - time.monotonic()
        if ahead > 0.002:
            time.sleep(ahead)
    for left in waiting:
        left.get()


def make_paths(zk, root):
    zk.ensure_path(root)
    names = [f"{root}/service-{number:04}" for number in range(PATHS)]
    for name in names:
        zk.create_async(name, b"")
    zk.sync(root)
    return names


def values(bench):
    """Bytes a change in parts, as they are flushed and after the day is compacted."""
    folders = {}
    with bench.client() as stopped:
        zk = stopped.client
        for index, (name, value) in enumerate(VALUES.items()):
            root, folder = f"/values{index}", os.path.join(bench.scratch, f"values{index}")
            names, source = make_paths(zk, root), random.Random(index)
            with bench.agent(folder, "--flush-age", f"{FLUSH_SECONDS}s", chroot=root):
                paced(CHANGES, PER_SECOND, lambda n: zk.set_async(names[source.randrange(PATHS)], value(n, source)))
            folders[f"set, {name}"] = folder
        root, folder = "/comings", os.path.join(bench.scratch, "comings")
        zk.ensure_path(root)

        def come_or_go(number):
            path = f"{root}/worker-{number // 2 % PATHS:04}"
            return zk.delete_async(path) if number % 2 else zk.create_async(path, b"", ephemeral=True)

        with bench.agent(folder, "--flush-age", f"{FLUSH_SECONDS}s", chroot=root):
            paced(CHANGES, PER_SECOND, come_or_go)
        folders["ephemeral comes or goes"] = folder
    print(f"{CHANGES} changes of {PATHS} paths, {PER_SECOND * FLUSH_SECONDS} rows a part")
    before = {name: measure(folder) for name, folder in folders.items()}
    for name, folder in folders.items():
        # Two days later the day is closed.
        with bench.agent(folder, clock="+2d", chroot="/" + os.path.basename(folder)) as (_, log):
            wait_for_line(log, "a closed day was compacted", "changes")
    for name, folder in folders.items():
        (rows, count, whole), (_, after_count, after) = before[name], measure(folder)
        print(f"{name:24} {rows} rows: {whole / rows:7.1f} B in {count} parts, {after / rows:7.1f} B compacted into {after_count}")


def measure(folder):
    first, rows = parts(folder, "changes"), 0
    for file in first:
        low, high = re.match(r"(\d+)-(\d+)", os.path.basename(file)).groups()
        rows += int(high) - int(low) + 1
    return rows, len(first), sum(os.path.getsize(file) for file in first)


def wait_for_line(log, *words):
    deadline = time.monotonic() + 150
    while time.monotonic() < deadline:
        with open(log, errors="replace") as file:
            if any(all(word in line for word in words) for line in file):
                return
        time.sleep(0.5)
    sys.exit(f"disk: no line with {words} in {log}")


def rates(bench):
    """Bytes a change in the write-ahead log, and how they depend on the rate: rows of one moment share a frame."""
    with bench.client() as stopped:
        zk = stopped.client
        for name in ("no value", "100 B, settings", "1 KiB, random"):
            value, source = VALUES[name], random.Random(1)
            folder = os.path.join(bench.scratch, f"rates-{len(name)}")
            root = f"/rates{len(name)}"
            names = make_paths(zk, root)
            with bench.agent(folder, "--flush-age", "1h", chroot=root):
                time.sleep(3)
                begin, before = time.monotonic(), size(folder, "wal")
                time.sleep(20)
                idle = (size(folder, "wal") - before) / (time.monotonic() - begin)
                for rate in (1, 10, 100, 1_000):
                    count = max(rate * 15, 15)
                    begin, before = time.monotonic(), size(folder, "wal")
                    paced(count, rate, lambda n: zk.set_async(names[source.randrange(PATHS)], value(n, source)))
                    time.sleep(1)
                    grown = size(folder, "wal") - before - idle * (time.monotonic() - begin)
                    print(f"WAL, {name}, {rate}/s: {grown / count:.0f} B a change (idle: {idle:.0f} B/s)", flush=True)


def idle(bench):
    """What is written while nothing changes, and what an agent sends meanwhile."""
    folder = os.path.join(bench.scratch, "idle")
    with bench.agent(folder, "--flush-age", "10s"):
        time.sleep(15)
        begin = {table: (len(parts(folder, table)), size(folder, table)) for table in ("coverage", "sessions", "changes")}
        began, packets = time.monotonic(), bench.received()
        time.sleep(120)
        took, packets = time.monotonic() - began, bench.received() - packets
        for table, (count, bytes_) in begin.items():
            count, bytes_ = len(parts(folder, table)) - count, size(folder, table) - bytes_
            print(f"idle, {table}: {count} parts of {bytes_ / max(count, 1):.0f} B")
        print(f"idle: {packets / took:.2f} packets a second")


def tree(bench):
    """Size of a snapshot, memory of the agent, and what a start sends to the server."""
    sizes = [int(number) for number in os.environ.get("ZKTRAIL_BENCH_ZNODES", "10000 200000").split()]
    with bench.client() as stopped:
        zk, made = stopped.client, 0
        zk.ensure_path("/tree")
        for count in sizes:
            while made < count:
                transaction = zk.transaction()
                if made % 1_000 == 0:
                    transaction.create(f"/tree/{made // 1_000:04}", b"")
                for number in range(made, min(made + 500, count)):
                    value = repetitive(100, number, None)
                    transaction.create(f"/tree/{number // 1_000:04}/znode-{number:07}", value)
                transaction.commit()
                made = min(made + 500, count)
            folder = os.path.join(bench.scratch, f"tree{count}")
            packets, began = bench.received(), time.monotonic()
            with bench.agent(folder) as (process, log):
                took, packets = time.monotonic() - began, bench.received() - packets
                wait_for_line(log, "snapshot written")
                # Every ACL is read too, as fast as the budget allows.
                time.sleep(count / 15_000 + 10)
                with open(f"/proc/{process.pid}/status") as status:
                    memory = dict(line.split(":", 1) for line in status)
                resident, peak = (int(memory[key].split()[0]) * 1024 for key in ("VmRSS", "VmHWM"))
                snapshot = os.path.getsize(parts(folder, "snapshots")[-1])
                print(
                    f"{count} znodes: ready after {took:.1f} s and {packets} packets, {resident / 1e6:.0f} MB resident, "
                    f"{peak / 1e6:.0f} MB at most, a snapshot of {snapshot / 1e6:.1f} MB ({snapshot / count:.1f} B a znode)",
                    flush=True,
                )
                packets, began = bench.received(), time.monotonic()
            print(f"  stopped after {time.monotonic() - began:.1f} s")


def main(zktrail, cache, *chosen):
    with Bench(zktrail, cache) as bench:
        for what in (values, rates, idle, tree):
            if not chosen or what.__name__ in chosen:
                what(bench)


if __name__ == "__main__":
    main(*sys.argv[1:])
