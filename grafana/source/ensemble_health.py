"""Is the ensemble well? What its servers say of themselves, and what the agent sees of them."""

from board import (
    CLUSTER, DATASOURCE, GAPS, SERVER, dashboard, event, graph, now, prom, rows, stat, table, timeline,
)

C = 'cluster=~"$cluster"'
S = 'cluster=~"$cluster", zk_host=~"$server"'
# The upper half of a zxid is the leader's term, the lower half counts the transactions in it.
TERM = 4294967296

STATES = {
    0: ("no answer", "red"), 1: ("answers, no role", "orange"), 2: ("observer", "purple"), 3: ("follower", "blue"),
    4: ("leader", "green"), 5: ("standalone", "green"),
}


def per_server(metric):
    """A server has one line, however many agents ask it."""
    return f"max by (cluster, zk_host) ({metric}{{{S}}})"


def rated(metric):
    return f"max by (cluster, zk_host) (rate({metric}{{{S}}}[$__rate_interval]))"


def during(metric):
    """The average of what was measured lately; 0 where there was nothing to measure."""
    return f"({rated(f'zk_sum_{metric}')} / {rated(f'zk_cnt_{metric}')} >= 0) or 0 * {per_server(f'zk_avg_{metric}')}"


def in_state(name, number):
    return f'{number} * max by (cluster, zk_host) (zk_server_state{{{S}, state="{name}"}})'


SERVES = [
    stat(
        "Leader",
        "Who says that it leads, or stands alone. 'none' for longer than an election takes (seconds) is an outage: the "
        "ensemble serves nothing. Two of one cluster: one of them has not heard yet.",
        [now(f"max by (cluster, zk_host) (zk_server_leader{{{C}}}) == 1", "{{cluster}} {{zk_host}}")],
        names=True, defaults={"noValue": "none"},
    ),
    stat(
        "As the agent sees it",
        "Whether anybody serves, as seen from the agent: its session stands, or a server says that it has a leader. 'nobody "
        "serves' is no quorum, or an agent that is cut off from all of it. Runbook: No leader seen.",
        [now(f"min by (cluster) (zktrail_leader_seen{{{C}}})", "{{cluster}}")],
        steps={None: "red", 1: "green"}, texts={0: ("nobody serves", "red"), 1: ("serves", "green")},
    ),
    stat(
        "Voters that serve, of all",
        "Servers with a vote that say they lead or follow, and how many have a vote: by /zookeeper/config, else as many as "
        "are listed.",
        [
            now(f"max by (cluster) (zktrail_ensemble_voters_serving{{{C}}})", "{{cluster}} serve"),
            now(f"max by (cluster) (zktrail_ensemble_voters{{{C}}})", "{{cluster}} voters"),
        ],
        color="none",
    ),
    stat(
        "Voters that may still fail",
        "How many voters can go before there is no majority. 0: the next one that fails takes the ensemble down (a standalone "
        "server always shows 0). Below 0: there is no quorum now. Runbook: Quorum at risk.",
        [now(
            f"max by (cluster) (zktrail_ensemble_voters_serving{{{C}}}"
            f" - floor(zktrail_ensemble_voters{{{C}}} / 2) - 1)", "{{cluster}}",
        )],
        steps={None: "red", 0: "orange", 1: "green"},
    ),
    stat(
        "Servers without an answer",
        "Servers that answered none of the questions that the agent asks every few seconds. Each of them is in the table below.",
        [now(f"sum by (cluster) (1 - max by (cluster, zk_host) (zk_up{{{C}}}))", "{{cluster}}")],
        steps={None: "green", 1: "red"}, texts={0: ("none", "green")},
    ),
    stat(
        "Elections in this range",
        "By how much the leader's term (the upper half of the zxid) has risen. A rolling restart makes one or two; several "
        "without one mean servers that lose each other, long pauses or slow disks. An election shows with the first "
        "transaction after it.",
        [now(
            f"max by (cluster) (floor(max_over_time(zktrail_server_last_zxid{{{C}}}[$__range]) / {TERM})"
            f" - floor(min_over_time((zktrail_server_last_zxid{{{C}}} > 0)[$__range:]) / {TERM}))", "{{cluster}}",
        )],
        steps={None: "green", 1: "orange"}, texts={0: ("none", "green")},
    ),
    stat(
        "Zxids used in this term",
        "How much of the lower half of the zxid is used. At 100 % the leader steps down so that a new term begins: an election "
        "at a moment that nobody chose. Restart the leader at a quiet hour before that.",
        [now(f"max by (cluster) (zktrail_server_last_zxid{{{C}}} % {TERM}) / {TERM}", "{{cluster}}")],
        unit="percentunit", steps={None: "green", 0.8: "orange", 0.95: "red"},
    ),
    stat(
        "Alerts that fire",
        "Alerts of grafana/alerts.yml that fire now, for all ensembles. Their runbook is linked in each of them.",
        [now('count(ALERTS{alertname=~"(Zktrail|Zookeeper).*", alertstate="firing"}) or vector(0)', "firing")],
        steps={None: "green", 1: "red"}, texts={0: ("none", "green")},
    ),
    table(
        "Servers",
        "Every server as it answered last. A server that does not answer has its name and 'no answer' alone. Uptime, watches "
        "and file descriptors need mntr.",
        [
            rows(per_server("zk_up")),
            rows(f"max by (cluster, zk_host, state) (zk_server_state{{{S}}})"),
            rows(f"max by (cluster, zk_host, version) (zk_version{{{S}}})"),
            rows(f"{per_server('zk_uptime')} / 1000"),
            rows(per_server("zk_num_alive_connections")),
            rows(per_server("zk_outstanding_requests")),
            rows(per_server("zk_avg_latency")),
            rows(per_server("zk_max_latency")),
            rows(per_server("zk_znode_count")),
            rows(per_server("zk_watch_count")),
            rows(f"{per_server('zk_open_file_descriptor_count')} / {per_server('zk_max_file_descriptor_count')}"),
        ],
        {
            "cluster": {"width": 120},
            "zk_host": {"width": 210, "title": "Server"},
            "Value #A": {
                "width": 100, "title": "Answers",
                "mappings": [{"type": "value", "options": {
                    "0": {"text": "no answer", "color": "red", "index": 0}, "1": {"text": "yes", "color": "green", "index": 1},
                }}],
                "cell": {"type": "color-text"},
            },
            "state": {
                "width": 110, "title": "State", "cell": {"type": "color-text"},
                "mappings": [{"type": "value", "options": {
                    text: {"text": text, "color": color, "index": at} for at, (text, color) in list(STATES.items())[2:]
                }}],
            },
            "version": {"width": 90, "title": "Version"},
            "Value #D": {"width": 120, "title": "Up for", "unit": "dtdurations"},
            "Value #E": {"title": "Connections", "unit": "short"},
            "Value #F": {"title": "Outstanding", "unit": "short"},
            "Value #G": {"title": "Latency, average", "unit": "ms"},
            "Value #H": {"title": "Latency, most", "unit": "ms"},
            "Value #I": {"title": "Znodes", "unit": "short"},
            "Value #J": {"title": "Watches", "unit": "short"},
            "Value #K": {"title": "File descriptors", "unit": "percentunit"},
        },
        transformations=[
            {"id": "merge", "options": {}},
            {"id": "organize", "options": {
                "excludeByName": {"Time": True, "Value #B": True, "Value #C": True}, "indexByName": {}, "renameByName": {},
            }},
        ],
    ),
    timeline(
        "What each server was",
        "The role of each server over time: one leader, and followers that stay what they are. A row that turns red was down, or "
        "cut off from the agent; colours that change places were an election.",
        [prom(
            " or ".join(in_state(name, number) for number, (name, _) in STATES.items() if number > 1)
            + f" or {per_server('zk_up')}", "{{cluster}} {{zk_host}}",
        )],
        STATES, width=24,
    ),
]

REQUESTS = [
    graph(
        "Requests that wait",
        "Outstanding requests of each server. It should be near 0; where it stays up the server cannot keep pace: slow fsync, "
        "long garbage collections, or more than it can do.",
        [prom(per_server("zk_outstanding_requests"), "{{zk_host}}")], limits={10: "orange"},
    ),
    graph(
        "Latency, as asked now",
        "How long requests took lately, on average; 0 where nothing was asked. Writes wait for a majority's disks, reads for "
        "this server alone: where only writes are slow look at fsync.",
        [prom(during("updatelatency"), "{{zk_host}} writes"), prom(during("readlatency"), "{{zk_host}} reads")],
        unit="ms", needs="mntr",
    ),
    graph(
        "Latency since the start",
        "Average and maximum since the server was started (or its statistics were reset), as every server tells them. The "
        "maximum never falls: watch when it rises.",
        [
            prom(per_server("zk_avg_latency"), "{{zk_host}} average"),
            prom(per_server("zk_max_latency"), "{{zk_host}} most"),
        ],
        unit="ms",
    ),
    graph(
        "99th percentile since the start",
        "What 99 of 100 requests took at most since the server was started. A restart begins it anew.",
        [
            prom(per_server("zk_p99_updatelatency"), "{{zk_host}} writes"),
            prom(per_server("zk_p99_readlatency"), "{{zk_host}} reads"),
        ],
        unit="ms", needs="mntr",
    ),
    graph(
        "Packets received",
        "What clients send a second. Observers and followers answer reads themselves: the load should be spread.",
        [prom(rated("zk_packets_received"), "{{zk_host}}")], unit="pps",
    ),
    graph(
        "Packets sent",
        "Answers and watch notifications a second. Much more than is received: many watches fire.",
        [prom(rated("zk_packets_sent"), "{{zk_host}}")], unit="pps",
    ),
    graph(
        "Connections",
        "Open connections of each server. All on one server: the clients' list has only that one, or the others are out of "
        "their reach.",
        [prom(per_server("zk_num_alive_connections"), "{{zk_host}}")],
    ),
    graph(
        "Throttled, dropped, refused",
        "What the servers turned away a second, all servers together; everything at 0 is as it should be. Refused connections: "
        "maxClientCnxns. Requests too large: see the panel on jute.maxbuffer.",
        [
            prom(f"sum({rated('zk_connection_rejected')})", "connections refused"),
            prom(f"sum({rated('zk_connection_drop_count')})", "connections dropped"),
            prom(f"sum({rated('zk_request_throttle_wait_count')})", "requests held back"),
            prom(f"sum({rated('zk_stale_requests_dropped')})", "stale requests dropped"),
            prom(f"sum({rated('zk_large_requests_rejected')})", "requests too large"),
        ],
        unit="ops", needs="mntr",
    ),
    graph(
        "Sessions",
        "Global sessions as each server counts them (by mntr): all should say the same. The other line is the sessions that hold "
        "an ephemeral, by the agent's own count.",
        [
            prom(per_server("zk_global_sessions"), "{{zk_host}}"),
            prom(f"max by (cluster) (zktrail_ephemeral_sessions{{{C}}})", "{{cluster}}: hold an ephemeral"),
        ],
    ),
]

HOLDS = [
    graph(
        "Znodes",
        "Znodes of each server. They should say the same, but for a server that is behind; a steady rise is a leak: see What "
        "changed, Znodes by prefix.",
        [prom(per_server("zk_znode_count"), "{{zk_host}}")], width=6,
    ),
    graph(
        "Data",
        "Bytes of all paths and values, as each server estimates it. All of it is in memory and in every snapshot.",
        [prom(per_server("zk_approximate_data_size"), "{{zk_host}}")], unit="bytes", width=6, needs="mntr",
    ),
    graph(
        "Watches",
        "Watches that are set on each server. They move to the others when it is restarted. Memory for each, and a "
        "notification to each when it fires.",
        [prom(per_server("zk_watch_count"), "{{zk_host}}")], width=6, needs="mntr",
    ),
    graph(
        "Ephemerals",
        "Who is alive: ephemeral znodes, by the agent's own count. A cliff is many sessions that ended at once. Runbook: Mass "
        "loss of ephemerals.",
        [prom(f"max by (cluster) (zktrail_ephemerals{{{C}}})", "{{cluster}}")], width=6,
    ),
    graph(
        "How near to jute.maxbuffer",
        "The largest value, and the longest list of children as it is sent, of what a packet may have "
        "(zktrail agent --jute-maxbuffer; 1 MB is ZooKeeper's). Past 100 % clients cannot read it and lose their connection: "
        "split it up before.",
        [
            prom(
                f"max by (cluster) (zktrail_largest_znode_bytes{{{C}}} / zktrail_jute_maxbuffer_bytes{{{C}}})",
                "{{cluster}} largest value",
            ),
            prom(
                f"max by (cluster) (zktrail_largest_children_bytes{{{C}}} / zktrail_jute_maxbuffer_bytes{{{C}}})",
                "{{cluster}} longest list of children",
            ),
        ],
        unit="percentunit", width=12, limits={0.7: "orange", 1: "red"},
    ),
    graph(
        "File descriptors",
        "Open file descriptors of each server, of what its system allows. At 100 % it accepts nobody. Raise LimitNOFILE.",
        [prom(
            f"{per_server('zk_open_file_descriptor_count')} / {per_server('zk_max_file_descriptor_count')}", "{{zk_host}}",
        )],
        unit="percentunit", width=12, needs="mntr", limits={0.8: "orange", 0.95: "red"},
    ),
]

TOGETHER = [
    graph(
        "Fsync",
        "How long a server waited for its disk when it wrote the transaction log: lately on average, and the most since its "
        "start. Every write waits for it on a majority. Above 20 ms: give the log a disk of its own (dataLogDir).",
        [
            prom(during("fsynctime"), "{{zk_host}} average"),
            prom(per_server("zk_max_fsynctime"), "{{zk_host}} most"),
        ],
        unit="ms", needs="mntr",
    ),
    graph(
        "Followers in step",
        "Followers that the leader counts as in step, and syncs that wait. Fewer than there are followers: one is starting, "
        "behind, or away. A standalone server has none.",
        [
            prom(per_server("zk_synced_followers"), "{{zk_host}} in step"),
            prom(per_server("zk_pending_syncs"), "{{zk_host}} syncs that wait"),
        ],
        needs="mntr from an ensemble's leader",
        defaults={"noValue": "Needs mntr, from the leader of several servers"},
    ),
    graph(
        "Transactions",
        "Changes a second, by how far the zxid has come. It counts what no watch tells of too, such as sessions that open and "
        "close.",
        # A new term is a step of 2^32, which is no rate.
        [prom(f"max by (cluster) (rate(zktrail_server_last_zxid{{{C}}}[$__rate_interval]) < 50000)", "{{cluster}}")],
        unit="ops",
    ),
]


def build():
    return dashboard(
        "ensemble-health", "ensemble health",
        "Whether a ZooKeeper ensemble is well: who leads, who serves, how fast, and what it is running out of.",
        [DATASOURCE, CLUSTER, SERVER],
        [
            ("Does it serve?", SERVES),
            ("Requests", REQUESTS),
            ("What it holds", HOLDS),
            ("How they keep together", TOGETHER),
        ],
        [
            event(
                "A new term began", "purple",
                # For two minutes, so that it is seen in a range of days, too.
                f"max by (cluster) (floor(max_over_time(zktrail_server_last_zxid{{{C}}}[2m]) / {TERM})"
                f" > floor(min_over_time(zktrail_server_last_zxid{{{C}}}[2m]) / {TERM}))"
                f" and max by (cluster) (min_over_time(zktrail_server_last_zxid{{{C}}}[2m])) > 0",
                "{{cluster}}: a leader was elected", "The upper half of the zxid rose: a new term.",
            ),
            GAPS,
        ],
    )
