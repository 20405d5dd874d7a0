"""What runs in the small data centre. Each application is a function of a connect string, a source of chance and an
event that ends it; it holds sessions of its own and leaves in order."""

import json

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException, NoNodeError, NodeExistsError

BROKERS = 5
WORKERS = 3
TOPICS = ("orders", "payments", "shipments", "clicks")


def brokers(hosts, chance, stop):
    """Brokers register themselves, drop out and come back; whoever is first becomes the controller."""
    sessions = {}
    epoch = 0
    try:
        while not stop.wait(chance.uniform(0.5, 2.0)):
            broker = chance.randrange(BROKERS)
            if broker in sessions:
                # Leaving is rarer than coming, so that most of them are there most of the time.
                if chance.random() < 0.4:
                    close(sessions.pop(broker))
            else:
                sessions[broker] = connect(hosts)
                register(sessions[broker], broker, chance)
            for candidate, session in sessions.items():
                try:
                    value = json.dumps({"version": 2, "brokerid": candidate}).encode()
                    session.create("/controller", value, ephemeral=True)
                    epoch += 1
                    put(session, "/controller_epoch", str(epoch).encode())
                    break
                except NodeExistsError:
                    break
    finally:
        for session in sessions.values():
            close(session)


def register(session, broker, chance):
    session.ensure_path("/brokers/ids")
    endpoint = {"host": f"broker-{broker}.example", "port": 9092, "rack": chance.choice("abc"), "version": 5}
    try:
        session.create(f"/brokers/ids/{broker}", json.dumps(endpoint).encode(), ephemeral=True)
    except NodeExistsError:
        pass


def config_editor(hosts, chance, stop):
    """Somebody edits topics' settings, creates topics and deletes them; now and then nothing really changes."""
    session = connect(hosts)
    settings = {}
    while not stop.wait(chance.uniform(0.3, 1.5)):
        topic = chance.choice(TOPICS)
        path = f"/config/topics/{topic}"
        act = chance.random()
        if act < 0.08 and topic in settings:
            del settings[topic]
            try:
                session.delete(path)
            except NoNodeError:
                pass
            continue
        current = settings.setdefault(topic, {"retention.ms": 604800000, "segment.bytes": 1 << 30})
        if act < 0.8:
            current[chance.choice(["retention.ms", "segment.bytes"])] = chance.randrange(1, 100) * 1_000_000
        put(session, path, json.dumps({"version": 1, "config": current}).encode())
    close(session)


def lock_users(hosts, chance, stop):
    """Workers wait for one lock, hold it for a moment, and move on."""
    sessions = [connect(hosts) for _ in range(WORKERS)]
    waiting = {}
    for session in sessions:
        session.ensure_path("/locks/report")
    while not stop.wait(chance.uniform(0.1, 0.6)):
        worker = chance.randrange(WORKERS)
        session = sessions[worker]
        if worker not in waiting:
            name = f"worker-{worker}".encode()
            waiting[worker] = session.create("/locks/report/lock-", name, ephemeral=True, sequence=True)
        elif waiting[worker].rsplit("/", 1)[1] == min(session.get_children("/locks/report")):
            session.delete(waiting.pop(worker))
    for session in sessions:
        close(session)


def queue(hosts, chance, stop):
    """A queue of sequential znodes, filled and emptied in transactions."""
    session = connect(hosts)
    session.ensure_path("/queue")
    while not stop.wait(chance.uniform(0.2, 1.0)):
        if chance.random() < 0.5:
            batch = session.transaction()
            for _ in range(chance.randrange(1, 4)):
                batch.create("/queue/item-", str(chance.randrange(1_000)).encode(), sequence=True)
            batch.commit()
        else:
            for name in sorted(session.get_children("/queue"))[:2]:
                session.delete(f"/queue/{name}")
    close(session)


def put(session, path, value):
    try:
        session.set(path, value)
    except NoNodeError:
        session.create(path, value, makepath=True)


def connect(hosts):
    session = KazooClient(hosts=hosts, timeout=5)
    session.start(timeout=30)
    return session


def close(session):
    try:
        session.stop()
        session.close()
    except KazooException:
        pass


APPLICATIONS = (brokers, config_editor, lock_users, queue)
