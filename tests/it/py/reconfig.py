"""Has an ensemble reconfigure itself: a member takes the place that it has.

usage: reconfig.py HOSTS
"""

import sys

from kazoo.client import KazooClient


def main(hosts):
    client = KazooClient(hosts=hosts, timeout=20)
    client.start(timeout=30)
    before, _ = client.get("/zookeeper/config")
    member = before.decode().splitlines()[0]
    client.reconfig(joining=member, leaving=None, new_members=None)
    after, _ = client.get("/zookeeper/config")
    assert after != before, after
    client.stop()
    client.close()


if __name__ == "__main__":
    main(sys.argv[1])
