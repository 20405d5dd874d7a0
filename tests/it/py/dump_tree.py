"""Prints the tree of an ensemble, one JSON line a znode, read with kazoo.

usage: dump_tree.py HOSTS
"""

import base64
import json
import sys

from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError

BATCH = 256


def main(hosts):
    client = KazooClient(hosts=hosts, timeout=20)
    client.start(timeout=30)
    client.sync("/")
    level = ["/"]
    while level:
        below = []
        for start in range(0, len(level), BATCH):
            batch = level[start : start + BATCH]
            asked = [
                (path, client.get_async(path), client.get_children_async(path), client.get_acls_async(path))
                for path in batch
            ]
            for path, value, children, acls in asked:
                try:
                    data, stat = value.get()
                    names = children.get()
                    acl, _ = acls.get()
                except NoNodeError:
                    continue
                print(json.dumps({**row(path, data, stat), "acl": [entry(one) for one in acl]}))
                below.extend(path.rstrip("/") + "/" + name for name in names)
        level = below
    client.stop()
    client.close()


def row(path, data, stat):
    return {
        "path": path,
        "data": None if data is None else base64.b64encode(data).decode(),
        "czxid": stat.czxid,
        "mzxid": stat.mzxid,
        "pzxid": stat.pzxid,
        "ctime": stat.ctime,
        "mtime": stat.mtime,
        "version": stat.version,
        "cversion": stat.cversion,
        "aversion": stat.aversion,
        "ephemeral_owner": stat.ephemeralOwner,
        "data_length": stat.dataLength,
        "num_children": stat.numChildren,
    }


PERMS = (("c", 4), ("d", 8), ("r", 1), ("w", 2), ("a", 16))


def entry(acl):
    """As the column acl has it: a digest without its hash."""
    scheme, name = acl.id.scheme, acl.id.id
    if scheme == "digest":
        name = name.partition(":")[0] + ":***"
    return {"perms": "".join(letter for letter, bit in PERMS if acl.perms & bit), "scheme": scheme, "id": name}


if __name__ == "__main__":
    main(sys.argv[1])
