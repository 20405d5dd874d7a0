"""kazoo's own recipes: lock, election, counter. Ends with an error where one does not keep its promise.

usage: embedded_recipes.py HOSTS
"""

import sys
import threading
import time

from kazoo.client import KazooClient
from kazoo.recipe.counter import Counter
from kazoo.recipe.election import Election
from kazoo.recipe.lock import Lock

SECONDS = 60
CLIENTS = 4


def main(hosts):
    clients = [KazooClient(hosts=hosts, timeout=10) for _ in range(CLIENTS)]
    for client in clients:
        client.start(timeout=20)
    assert clients[0].server_version()[:2] == (3, 9)
    lock(clients)
    counter(clients)
    election(hosts, clients)
    for client in clients:
        client.stop()
        client.close()


def together(work, clients):
    """Runs the work once a client, all at the same time; any failure is ours."""
    failures = []

    def run(client):
        try:
            work(client)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(client,), daemon=True) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
        if thread.is_alive():
            sys.exit("somebody waits for ever")
    if failures:
        raise failures[0]


def lock(clients):
    inside, most, turns = [0], [0], [0]

    def work(client):
        for _ in range(10):
            with Lock(client, "/recipes/lock", "me"):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                time.sleep(0.002)
                turns[0] += 1
                inside[0] -= 1

    together(work, clients)
    assert (most[0], turns[0]) == (1, 10 * len(clients)), (most, turns)
    assert clients[0].get_children("/recipes/lock") == []
    with Lock(clients[0], "/recipes/lock"):
        assert not Lock(clients[1], "/recipes/lock").acquire(blocking=False)
        assert Lock(clients[1], "/recipes/lock").contenders() is not None
    print("lock", turns[0])


def counter(clients):
    def work(client):
        mine = Counter(client, "/recipes/counter")
        for _ in range(25):
            mine += 1

    together(work, clients)
    value = Counter(clients[0], "/recipes/counter").value
    assert value == 25 * len(clients), value
    print("counter", value)


def election(hosts, clients):
    """Each leads once; and when a leader's session ends without a word, the next one leads."""
    led, inside = [], [0]

    def work(client):
        def lead():
            inside[0] += 1
            assert inside[0] == 1
            led.append(client)
            time.sleep(0.01)
            inside[0] -= 1

        Election(client, "/recipes/election", "me").run(lead)

    together(work, clients)
    assert len(led) == len(clients) == len(set(map(id, led))), led

    leader = KazooClient(hosts=hosts, timeout=10)
    leader.start(timeout=20)
    leads, over, next_leads = threading.Event(), threading.Event(), threading.Event()

    def lead():
        leads.set()
        over.wait(SECONDS)

    def run():
        try:
            Election(leader, "/recipes/election").run(lead)
        except BaseException:
            pass  # Its session ends while it leads.

    threading.Thread(target=run, daemon=True).start()
    assert leads.wait(SECONDS)
    thread = threading.Thread(target=lambda: Election(clients[0], "/recipes/election").run(next_leads.set), daemon=True)
    thread.start()
    assert not next_leads.wait(0.3), "two lead"
    leader.stop()
    leader.close()
    assert next_leads.wait(SECONDS), "nobody follows"
    over.set()
    thread.join(SECONDS)
    print("election", len(led))


if __name__ == "__main__":
    main(sys.argv[1])
