"""Freezes a small history, as this version writes it, for tests/it/golden.rs: each release adds one and keeps the others.

usage: freeze.py ZKTRAIL CACHE FOLDER

FOLDER, for example tests/golden/0.1.0, gets the history of two days: parts of every table, the first day completed from
the server's log and compacted, a gap, and a write-ahead log of an agent that was killed. Beside it FOLDER.json holds what
this version answers to golden.rs's questions.
"""

import glob
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../play"))
from play import end, free_port, is_ready, serves, start, start_server, wait  # noqa: E402

from kazoo.client import KazooClient  # noqa: E402
from kazoo.security import make_acl  # noqa: E402

# The folder's own secrets, and what belongs to a process.
LEFT_OUT = shutil.ignore_patterns(".*", "lock")


def main(zktrail, cache, folder):
    scratch = tempfile.mkdtemp(prefix="zktrail-freeze-")
    history = os.path.join(scratch, "history")
    processes = []
    # Who is connected becomes part of the history.
    os.environ["JAVA_TOOL_OPTIONS"] = "-Dzookeeper.4lw.commands.whitelist=srvr,cons"
    try:
        port = free_port()
        processes.append(start_server(cache, scratch, port))
        wait("ZooKeeper", lambda: serves(port), processes)
        zk = KazooClient(f"127.0.0.1:{port}")
        zk.start()
        first(zk)

        def agent(*clock):
            http = f"127.0.0.1:{free_port()}"
            log = os.path.join(scratch, "agent.log")
            command = ["env", *clock, zktrail, "agent", "--ensemble", f"prod=127.0.0.1:{port}", "--data-dir", history]
            command += ["--http", http, "--postgres", "off", "--session-sample", "5s", "--acl-sweep", "10s"]
            with open(log, "w") as file:
                processes.append(start(command, file))
            wait("the agent", lambda: is_ready(http), [processes[-1]], log)
            return processes.pop(), http, log

        library = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")[0]
        yesterday = [f"LD_PRELOAD={library}", "FAKETIME=-1d"]
        for flushed in range(2):
            process, _, _ = agent(*yesterday)
            changes(zk, flushed)
            time.sleep(13)
            end([process])
        unseen(zk)
        audit = os.path.join(scratch, "audit.log")
        with open(audit, "w") as file:
            moment = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
            file.write(
                f"{moment},120 INFO audit.Slf4jAuditLogger: session=0x{zk.client_id[0]:x}\tuser=127.0.0.1\t"
                "ip=127.0.0.1\toperation=setData\tznode=/config/app\tresult=success\n"
            )
        for path in (os.path.join(scratch, "data"), audit):
            subprocess.run([zktrail, "import", "--cluster", "prod", "--data-dir", history, path], check=True)
        process, http, log = agent()
        changes(zk, 2)
        while "was compacted" not in open(log).read():
            time.sleep(1)
        subprocess.run([zktrail, "snapshot", "--data-dir", history], check=True)
        changes(zk, 3)
        time.sleep(3)
        process.kill()
        process.wait()
        zk.stop()
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(history, folder, ignore=LEFT_OUT)
    finally:
        end(processes)
        shutil.rmtree(scratch, ignore_errors=True)
    questions = open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "questions.sql")).read().split(";")
    answers = []
    with tempfile.TemporaryDirectory() as copy:
        # Asked of a copy: nothing may be left behind in what is kept.
        shutil.copytree(folder, copy, dirs_exist_ok=True)

        def ask(question):
            return json.loads(subprocess.check_output([zktrail, "sql", "--data-dir", copy, "--format", "json", question]))

        moment = ask("SELECT min(zxid) AS zxid FROM changes WHERE path = '/unseen'")[0]["zxid"]
        for question in filter(None, map(str.strip, questions)):
            question = question.replace("{unseen}", str(moment))
            answers.append({"question": question, "rows": ask(question)})
    with open(f"{folder}.json", "w") as file:
        json.dump(answers, file, indent=1)
        file.write("\n")


def first(zk):
    for path, value in (("/config/app", b"timeout=30\n"), ("/config/db", b'{"url":"jdbc:db1","password":"hush"}')):
        zk.create(path, value, makepath=True)
    zk.create("/empty", b"")
    zk.create("/binary", bytes(range(256)))
    zk.create("/locks", b"")


def changes(zk, number):
    """Every kind of change and of znode."""
    zk.set("/config/app", b"timeout=%d\n" % (40 + number))
    zk.create("/locks/lock-", b"", ephemeral=True, sequence=True)
    gone = zk.create("/locks/gone-", b"x", ephemeral=True, sequence=True)
    zk.delete(gone)
    zk.create(f"/tree-{number}", b"")
    transaction = zk.transaction()
    transaction.create(f"/tree-{number}/a", b"1")
    transaction.set_data(f"/tree-{number}/a", b"2")
    transaction.create(f"/tree-{number}/b", b"")
    transaction.delete(f"/tree-{number}/b")
    transaction.commit()
    zk.set_acls(f"/tree-{number}/a", [make_acl("world", "anyone", read=True)])
    zk.sync("/")


def unseen(zk):
    """While nobody records."""
    zk.set("/config/db", b'{"url":"jdbc:db2","password":"hush"}')
    zk.create("/unseen", b"u")


if __name__ == "__main__":
    main(*sys.argv[1:])
