"""A small data centre to look at: a real ZooKeeper, applications that use it, and the agent that records it all.

usage: play.py ZKTRAIL CACHE

ZKTRAIL is the built program, CACHE the folder that tests/run fills. Runs until Ctrl-C, then ends everything it
started, by process id, and removes its servers' data. The history is kept and its place printed.
"""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

from applications import APPLICATIONS

READY_WITHIN_SECONDS = 60
HTTP = "127.0.0.1:9847"


def main(zktrail, cache):
    # A terminal's Ctrl-C and a plain kill end it alike, also where a shell started it in the background.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    scratch = tempfile.mkdtemp(prefix="zktrail-play-servers-")
    history = tempfile.mkdtemp(prefix="zktrail-play-history-")
    processes = []
    stop = threading.Event()
    threads = []
    try:
        port = free_port()
        processes.append(start_server(cache, scratch, port))
        wait("ZooKeeper", lambda: serves(port), processes)
        http = HTTP if port_is_free(HTTP) else f"127.0.0.1:{free_port()}"
        agent_log = os.path.join(scratch, "agent.log")
        processes.append(start_agent(zktrail, port, history, http, agent_log))
        wait("the agent", lambda: is_ready(http), processes, agent_log)
        for number, application in enumerate(APPLICATIONS):
            arguments = (f"127.0.0.1:{port}", random.Random(number), stop)
            threads.append(threading.Thread(target=application, args=arguments, daemon=True))
            threads[-1].start()
        print(advice(zktrail, port, history, http), flush=True)
        while all(process.poll() is None for process in processes):
            time.sleep(0.2)
        print("play: a process ended by itself, so the rest ends too", file=sys.stderr)
        show_tail(agent_log)
        return 1
    except KeyboardInterrupt:
        return 0
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        stop.set()
        for thread in threads:
            thread.join(timeout=5)
        end(processes)
        shutil.rmtree(scratch, ignore_errors=True)
        print(f"\nplay: everything has ended; the history stays in {history}", flush=True)


def start_server(cache, scratch, port):
    config = os.path.join(scratch, "zoo.cfg")
    with open(config, "w") as file:
        file.write(
            f"tickTime=1000\ndataDir={scratch}/data\nclientPortAddress=127.0.0.1\nclientPort={port}\n"
            "admin.enableServer=false\nminSessionTimeout=1000\n"
        )
    command = [
        "java",
        "-Xmx256m",
        "-XX:+UseSerialGC",
        "-Dzookeeper.extendedTypesEnabled=true",
        "-Dzookeeper.preAllocSize=4096",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "-cp",
        os.path.join(cache, "zookeeper/3.9/*"),
        "org.apache.zookeeper.server.quorum.QuorumPeerMain",
        config,
    ]
    with open(os.path.join(scratch, "server.log"), "w") as log:
        return start(command, log)


def start_agent(zktrail, port, history, http, path):
    command = [zktrail, "agent", "--ensemble", f"play=127.0.0.1:{port}", "--data-dir", history, "--http", http, "--postgres", "off"]
    with open(path, "w") as log:
        return start(command, log)


def start(command, log):
    # In a group of its own: Ctrl-C reaches us alone, and we end the others in order.
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)


def end(processes):
    # The agent first, while its server is still there: last started, first ended.
    for process in reversed(processes):
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait(what, ready, processes, log=None):
    deadline = time.monotonic() + READY_WITHIN_SECONDS
    while not ready():
        ended = [process for process in processes if process.poll() is not None]
        if ended or time.monotonic() > deadline:
            show_tail(log)
            sys.exit(f"play: {what} did not start within {READY_WITHIN_SECONDS} s, or ended")
        time.sleep(0.1)


def show_tail(path):
    if path and os.path.exists(path):
        with open(path, errors="replace") as file:
            sys.stderr.writelines(file.readlines()[-30:])


def serves(port):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"srvr")
            return b"Mode:" in b"".join(iter(lambda: connection.recv(4096), b""))
    except OSError:
        return False


def is_ready(http):
    try:
        with urllib.request.urlopen(f"http://{http}/readyz", timeout=1) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def port_is_free(address):
    host, port = address.split(":")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
            return True
        except OSError:
            return False


def advice(zktrail, port, history, http):
    # On its usual door the agent is found without being named.
    sql = "zktrail sql" if http == HTTP else f"zktrail sql --data-dir {history}"
    return f"""
A ZooKeeper runs on 127.0.0.1:{port}. Brokers join and drop out of it, elect a controller, wait for locks, and
somebody edits their configuration. The agent writes all of it to {history}.

Ask, in another terminal:

  alias zktrail={zktrail}
  {sql} "SELECT time, kind, path, version, evidence FROM changes ORDER BY time DESC LIMIT 20"
  {sql} "SELECT path, count(*) AS changes FROM changes GROUP BY path ORDER BY changes DESC LIMIT 10"
  {sql} "SELECT time, kind, data_text(data) AS controller FROM changes WHERE path = '/controller' ORDER BY time"
  {sql} "SELECT path, data_text(data) AS value FROM znodes WHERE prefix(path, 1) = '/config'"
  {sql} "SELECT from_time, to_time, reason FROM gaps"

Or over HTTP:

  curl -s http://{http}/metrics | grep ^zktrail_
  curl -s http://{http}/sql -H 'Content-Type: text/plain' -d 'SELECT kind, count(*) FROM changes GROUP BY kind'

Or with anything that reads Parquet, five minutes from now:

  {history}/changes/**/*.parquet

Ctrl-C ends it."""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
