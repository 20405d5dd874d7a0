"""Does a little of everything that ends in a transaction log, with what fails in between.

usage: txnlog_mix.py HOSTS ROUNDS
"""

import os
import signal
import subprocess
import sys
import time

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException
from kazoo.security import OPEN_ACL_UNSAFE, make_acl, make_digest_acl

ODD = ["a,b", "100%", "{x}", "ünï路", "new\u2028line", "q'uote"]


def main(hosts, rounds):
    client = connect(hosts)
    client.create("/mix")
    for turn in range(rounds):
        top = f"/mix/{turn} {ODD[turn % len(ODD)]}"
        client.create(top, b"plain")
        client.create(top + "/with stat", bytes([turn % 256, 0xFF, 0x0A, 0x0D, 0]), include_data=True)
        client.create(top + "/held", b"", ephemeral=True)
        client.create(top + "/n-", ODD[turn % len(ODD)].encode(), sequence=True)
        client.create(top + "/secret", b"s", acl=[make_digest_acl("bob,%", "password", all=True), *OPEN_ACL_UNSAFE])
        client.set(top, b"one\ntwo")
        client.set_acls(top, [make_acl("ip", "127.0.0.1", read=True), *OPEN_ACL_UNSAFE])
        fails(client.create, top)
        fails(client.create, "/none/below")
        fails(client.delete, "/none")
        fails(client.delete, top)
        fails(client.set, top, b"", version=77)
        fails(client.set_acls, "/none", OPEN_ACL_UNSAFE)

        multi = client.transaction()
        multi.check(top, 1)
        multi.create(top + "/m", b"\xc3\x28 multi")
        multi.set_data(top + "/m", b"set")
        multi.create(top + "/m/e", b"", ephemeral=True)
        multi.delete(top + "/with stat")
        assert not any(isinstance(result, Exception) for result in multi.commit())

        failing = client.transaction()
        failing.create(top + "/never", b"never")
        failing.check(top, 99)
        failing.create(top + "/never either", b"never")
        assert any(isinstance(result, Exception) for result in failing.commit())

        only_check = client.transaction()
        only_check.check(top, 1)
        only_check.commit()

        client.delete(top + "/held")
        if turn % 7 == 0:
            # A session that holds something closes.
            client.stop()
            client.close()
            client = connect(hosts)
    expire(hosts, client)
    client.stop()
    client.close()


def connect(hosts):
    client = KazooClient(hosts=hosts, timeout=20)
    client.start(timeout=30)
    return client


def fails(operation, *args, **kwargs):
    try:
        operation(*args, **kwargs)
    except KazooException:
        return
    raise AssertionError(f"{operation} {args} did not fail")


def expire(hosts, client):
    """A session whose client is gone."""
    holder = subprocess.Popen([sys.executable, __file__, hosts, "hold"], stdout=subprocess.PIPE)
    holder.stdout.readline()
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    deadline = time.monotonic() + 60
    while client.exists("/mix/expires"):
        assert time.monotonic() < deadline, "the session did not expire"
        time.sleep(0.1)


def hold(hosts):
    client = KazooClient(hosts=hosts, timeout=1)
    client.start(timeout=30)
    client.create("/mix/expires", b"", ephemeral=True)
    print("held", flush=True)
    time.sleep(600)


if __name__ == "__main__":
    if sys.argv[2] == "hold":
        hold(sys.argv[1])
    else:
        main(sys.argv[1], int(sys.argv[2]))
