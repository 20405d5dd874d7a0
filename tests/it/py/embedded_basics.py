"""Does with kazoo what clients do, and prints what came of it: the same whichever server it is done on.

usage: embedded_basics.py HOSTS
"""

import sys
import threading

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException
from kazoo.security import make_digest_acl, make_acl

SECONDS = 20


def attempt(name, call):
    """Prints what a call answers, or how it is refused."""
    try:
        answer = call()
    except KazooException as error:
        answer = type(error).__name__
    print(name, shown(answer), flush=True)
    return answer


def shown(answer):
    if hasattr(answer, "czxid"):
        return stat_of(answer)
    if isinstance(answer, tuple):
        return tuple(shown(part) for part in answer)
    if isinstance(answer, list):
        return sorted((shown(part) for part in answer), key=str)
    if isinstance(answer, KazooException):
        return type(answer).__name__
    return answer


def stat_of(stat):
    """What of a Stat does not depend on the moment, the session, or what else the server has done."""
    return {
        "version": stat.version,
        "cversion": stat.cversion,
        "aversion": stat.aversion,
        "length": stat.dataLength,
        "children": stat.numChildren,
        "owned": stat.ephemeralOwner != 0,
        "set_since": stat.mzxid > stat.czxid,
        "below_since": stat.pzxid > stat.czxid,
    }


class Heard:
    """Collects events until as many came as were awaited."""

    def __init__(self):
        self.events, self.changed = [], threading.Condition()

    def __call__(self, event):
        with self.changed:
            self.events.append((event.type, event.path))
            self.changed.notify_all()

    def take(self, name, count):
        with self.changed:
            if not self.changed.wait_for(lambda: len(self.events) >= count, SECONDS):
                sys.exit(f"{name}: only {self.events}")
            print(name, self.events, flush=True)
            self.events.clear()


def main(hosts):
    client = KazooClient(hosts=hosts, timeout=10)
    client.start(timeout=SECONDS)
    other = KazooClient(hosts=hosts, timeout=10)
    other.start(timeout=SECONDS)
    basics(client)
    refusals(client)
    transactions(client)
    watches(client, other)
    acls(client, other)
    sessions(client, other)
    client.stop()
    client.close()
    other.stop()
    other.close()


def basics(client):
    for path in ["/", "/zookeeper", "/zookeeper/quota"]:
        attempt(path, lambda: client.get_children(path, include_data=True))
    config = client.exists("/zookeeper/config")
    print("config", config is not None, config.version, flush=True)
    attempt("create", lambda: client.create("/t", b"one", include_data=True))
    attempt("again", lambda: client.create("/t"))
    attempt("get", lambda: client.get("/t"))
    attempt("set", lambda: client.set("/t", b"three"))
    attempt("set at", lambda: client.set("/t", b"", version=1))
    attempt("set at wrong", lambda: client.set("/t", b"", version=1))
    attempt("get empty", lambda: client.get("/t"))
    for number in range(3):
        attempt("sequence", lambda: client.create("/t/s-", sequence=True))
    attempt("unnamed sequence", lambda: client.create("/t/", sequence=True))
    attempt("ephemeral", lambda: client.create("/t/e", b"x", ephemeral=True, include_data=True))
    attempt("ephemeral sequence", lambda: client.create("/t/e-", ephemeral=True, sequence=True))
    attempt("delete", lambda: client.delete("/t/s-0000000001"))
    attempt("sequence after", lambda: client.create("/t/s-", sequence=True))
    attempt("children", lambda: client.get_children("/t", include_data=True))
    attempt("exists", lambda: client.exists("/t"))
    attempt("exists not", lambda: client.exists("/t/none"))
    attempt("sync", lambda: client.sync("/t"))
    attempt("deep", lambda: client.create("/t/a/b/c", makepath=True))
    attempt("recursively", lambda: client.delete("/t/a", recursive=True))
    attempt("parent", lambda: client.exists("/t"))
    attempt("null", lambda: client.create("/t/null", None))
    attempt("null get", lambda: client.get("/t/null"))
    attempt("unicode", lambda: client.create("/t/ü…", b"\x00\xff"))
    attempt("unicode get", lambda: client.get("/t/ü…"))


def refusals(client):
    attempt("no parent", lambda: client.create("/none/x"))
    attempt("below ephemeral", lambda: client.create("/t/e/x"))
    attempt("not empty", lambda: client.delete("/t"))
    attempt("delete none", lambda: client.delete("/none"))
    attempt("delete below none", lambda: client.delete("/none/x"))
    attempt("delete at wrong", lambda: client.delete("/t/null", version=3))
    attempt("set none", lambda: client.set("/none", b""))
    attempt("get none", lambda: client.get("/none"))
    attempt("children of none", lambda: client.get_children("/none"))
    attempt("acl of none", lambda: client.get_acls("/none"))
    attempt("set config", lambda: client.set("/zookeeper/config", b""))
    attempt("delete fixed", lambda: client.delete("/zookeeper"))
    attempt("delete root", lambda: client.delete("/"))
    attempt("bad character", lambda: client.create("/t/\x01"))
    attempt("set bad character", lambda: client.set("/t/\x01", b""))
    attempt("bad acl", lambda: client.create("/t/acl", acl=[make_acl("magic", "x", all=True)]))
    attempt("auth acl of nobody", lambda: client.create("/t/acl", acl=[make_acl("auth", "", all=True)]))


def transactions(client):
    transaction = client.transaction()
    transaction.create("/t/m", b"1")
    transaction.set_data("/t/m", b"22")
    transaction.create("/t/m/s-", sequence=True)
    transaction.check("/t/m", 1)
    transaction.create("/t/m/gone")
    transaction.delete("/t/m/gone")
    attempt("multi", lambda: results(transaction))
    attempt("multi get", lambda: client.get("/t/m"))
    before = client.exists("/t/m")
    failing = client.transaction()
    failing.create("/t/m/new")
    failing.set_data("/t/m", b"333")
    failing.check("/t/m", 99)
    failing.delete("/t/m")
    failing.create("/none/x")
    attempt("failed multi", lambda: results(failing))
    print("unchanged", client.exists("/t/m") == before, client.exists("/t/m/new"), flush=True)


def results(transaction):
    return tuple(shown(result) for result in transaction.commit())


def watches(client, other):
    heard = Heard()
    client.exists("/t/w", watch=heard)
    client.get_children("/t", watch=heard)
    other.create("/t/w", b"")
    heard.take("created", 2)
    client.get("/t/w", watch=heard)
    client.get_children("/t/w", watch=heard)
    other.set("/t/w", b"1")
    other.set("/t/w", b"2")
    other.create("/t/w/x")
    heard.take("set, child", 2)
    client.get("/t/w/x", watch=heard)
    client.get_children("/t/w", watch=heard)
    other.delete("/t/w/x")
    heard.take("deleted", 2)
    client.get("/t/w", watch=heard)
    other.set("/t/w", b"3")
    other.set("/t/w", b"4")
    heard.take("once", 1)


def acls(client, other):
    attempt("acl", lambda: client.get_acls("/t")[0][0].id.scheme)
    attempt("auth", lambda: client.add_auth("digest", "bob:secret"))
    acl = make_digest_acl("bob", "secret", all=True)
    attempt("own", lambda: client.create("/t/own", b"mine", acl=[acl]))
    attempt("own by auth", lambda: client.create("/t/auth", b"", acl=[make_acl("auth", "", all=True)]))
    attempt("the same", lambda: client.get_acls("/t/auth")[0] == client.get_acls("/t/own")[0])
    attempt("mine", lambda: client.get("/t/own"))
    for name, call in [
        ("get", lambda: other.get("/t/own")),
        ("set", lambda: other.set("/t/own", b"")),
        ("children", lambda: other.get_children("/t/own")),
        ("create", lambda: other.create("/t/own/x")),
        ("acls", lambda: other.get_acls("/t/own")),
        ("set acls", lambda: other.set_acls("/t/own", [make_acl("world", "anyone", all=True)])),
    ]:
        attempt("not mine: " + name, call)
    attempt("set acls", lambda: client.set_acls("/t/own", [make_acl("world", "anyone", read=True), acl]))
    attempt("set acls at wrong", lambda: client.set_acls("/t/own", [acl], version=0))
    attempt("now read", lambda: other.get("/t/own"))
    attempt("seen acls", lambda: [acl.id.id for acl in other.get_acls("/t/own")[0]])
    attempt("still not set", lambda: other.set("/t/own", b""))
    attempt("bad auth", lambda: other.add_auth("digest", "bob:secret"))
    attempt("now set", lambda: other.set("/t/own", b"ours"))


def sessions(client, other):
    heard = Heard()
    third = KazooClient(hosts=client_hosts(client), timeout=10)
    third.start(timeout=SECONDS)
    third.create("/t/third", ephemeral=True)
    client.exists("/t/third", watch=heard)
    third.stop()
    third.close()
    heard.take("session closed", 1)
    attempt("gone", lambda: client.exists("/t/third"))
    # A session outlives its connection.
    session = client.client_id
    client._connection._socket.shutdown(2)
    attempt("after a cut", lambda: client.retry(client.exists, "/t/e"))
    print("same session", client.client_id == session, flush=True)


def client_hosts(client):
    return ",".join(f"{host}:{port}" for host, port in client.hosts)


if __name__ == "__main__":
    main(sys.argv[1])
