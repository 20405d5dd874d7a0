"""What changed, and was anybody looking? Rates from Prometheus, the changes themselves from the history."""

from board import (
    CLUSTER, DATASOURCE, KINDS, PREFIX, chosen_of, dashboard, data_source, event_of_history, fixed, graph, now, override,
    prom, sql, stat, table, typed, values_of,
)

C = 'cluster=~"$cluster"'
P = 'cluster=~"$cluster", prefix=~"$prefix"'

# The same dashboard for another path, with everything else as it is.
HERE = (
    "/d/zktrail-what-changed?${datasource:queryparam}&${postgres:queryparam}&${cluster:queryparam}&${prefix:queryparam}"
    "&${config:queryparam}&${kind:queryparam}&${__url_time_range}"
)
LIFE = {"title": "The life of this path", "url": HERE + "&${under:queryparam}&var-path=${__value.raw:percentencode}"}
BENEATH = {"title": "Only what is beneath it", "url": HERE + "&${path:queryparam}&var-under=${__value.raw:percentencode}"}
OF_PREFIX = {
    "title": "Only what is beneath this prefix",
    "url": HERE + "&${path:queryparam}&var-under=${__field.labels.prefix:percentencode}",
}

PATH = {"width": 340, "links": [LIFE, BENEATH], "inspect": True}
TIME = {"width": 200, "unit": "time:YYYY-MM-DD HH:mm:ss.SSS"}
VALUE = {"inspect": True}
KIND = {
    "width": 120,
    "cell": {"type": "color-text"},
    "mappings": [{"type": "value", "options": {
        kind: {"text": kind, "color": color, "index": at}
        for at, (kind, color) in enumerate({**KINDS, "gap": "orange", "snapshot": "text", "none": "text"}.items())
    }}],
}
ID = {"width": 150}
SHORT = {"width": 80}

LOOKING = [
    stat(
        "Recording",
        "Whether changes can be written down now. 'paused' is a full disk, a failed write, or an ensemble that is not the "
        "recorded one: /readyz names the cause. Runbook: Agent blind.",
        [now(f"min by (cluster) (zktrail_recording{{{C}}})", "{{cluster}}")],
        steps={None: "red", 1: "green"}, texts={0: ("paused", "red"), 1: ("recording", "green")},
    ),
    stat(
        "Observed",
        "Whether the ensemble is observed now. While a gap is open, what changes is found only by the rescan that ends it, if "
        "at all. Runbook: Gap open.",
        [now(f"max by (cluster) (zktrail_gap_open{{{C}}})", "{{cluster}}")],
        steps={None: "green", 1: "red"}, texts={0: ("yes", "green"), 1: ("gap open", "red")},
    ),
    stat(
        "Not observed in this range",
        "For how long nobody was looking, while the agent was running (the table gaps has all of it); of several agents, the "
        "one that looked least. Above 0 every figure on this page is a lower bound; Gaps, below, says when.",
        [now(f"max by (cluster) (increase(zktrail_gap_seconds_total{{{C}}}[$__range]))", "{{cluster}}")],
        unit="s", steps={None: "green", 1: "orange"},
    ),
    stat(
        "Missed in this range",
        "Changes that version arithmetic proves to have happened and that have no row: overtaken before they could be read, or "
        "lost in a gap.",
        [now(f"max by (cluster) (increase(zktrail_missed_total{{{C}}}[$__range]))", "{{cluster}}")],
        steps={None: "green", 1: "orange"}, defaults={"decimals": 0},
    ),
]

RATES = [
    graph(
        "Changes by kind",
        "Changes recorded a second, by the time at which they were recorded: a rescan after a gap is a peak.",
        [prom(
            f"sum by (kind) (max by (cluster, kind, evidence) (rate(zktrail_changes_total{{{C}}}[$__rate_interval])))",
            "{{kind}}",
        )],
        unit="cps", colors=KINDS,
    ),
    graph(
        "Changes by prefix",
        "Changes recorded a second beneath the prefixes that the agent was told to count (--subtree); all else is other. Click "
        "a line to see what is beneath it.",
        [prom(
            "topk(10, sum by (prefix) (max by (cluster, prefix, kind)"
            f" (rate(zktrail_subtree_changes_total{{{P}}}[$__rate_interval]))))", "{{prefix}}",
        )],
        unit="cps", defaults={"links": [OF_PREFIX]},
    ),
    graph(
        "Since the last change",
        "How long nothing has changed beneath each prefix. One that is written all the time and stands still now has lost its "
        "writer.",
        [prom(
            f"min by (prefix) (time() - (zktrail_subtree_last_change_timestamp_seconds{{{P}}} > 0))", "{{prefix}}",
        )],
        unit="s", defaults={"noValue": "Nothing is known to have changed yet"},
    ),
    graph(
        "Configuration changes",
        "Changes beneath the prefixes that the agent was told to be configuration (--config-subtree), ephemerals left out. Each "
        "one is in the table Configuration, with the value before.",
        [prom(
            f"sum by (prefix) (max by (cluster, prefix) (increase(zktrail_config_changes_total{{{C}}}[$__rate_interval])))"
            ' or on () (label_replace(vector(0), "prefix", "no prefix is listed: --config-subtree", "", "")'
            f" and on () count(zktrail_recording{{{C}}}) unless on () count(zktrail_config_changes_total{{{C}}}))", "{{prefix}}",
        )],
        bars=True, defaults={"decimals": 0},
    ),
    graph(
        "Flaps",
        "Ephemerals that came back at a path which had lost one within ten minutes: a client that reconnects with a new "
        "session, or a process that dies again and again. Who: the table Flapping.",
        [prom(
            f"sum by (prefix) (max by (cluster, prefix) (increase(zktrail_subtree_flaps_total{{{P}}}[$__rate_interval])))",
            "{{prefix}}",
        )],
        bars=True, defaults={"decimals": 0},
    ),
    graph(
        "Ephemerals by prefix",
        "Who is alive: members, brokers, locks. A step down that stays is a member that is gone.",
        [prom(f"sum by (prefix) (max by (cluster, prefix) (zktrail_subtree_ephemerals{{{P}}}))", "{{prefix}}")],
    ),
    graph(
        "Znodes by prefix",
        "Where the tree grows. A rise that never ends is a leak: sequential znodes that nobody deletes.",
        [prom(f"sum by (prefix) (max by (cluster, prefix) (zktrail_subtree_znodes{{{P}}}))", "{{prefix}}")], width=12,
    ),
    graph(
        "Bytes by prefix",
        "Bytes of the values beneath each prefix.",
        [prom(f"sum by (prefix) (max by (cluster, prefix) (zktrail_subtree_bytes{{{P}}}))", "{{prefix}}")], unit="bytes",
        width=12,
    ),
]

HISTORY = [
    stat(
        "On record",
        "Counted in the history by the time of the commit, beneath 'Under' and of the chosen kinds. Missed: proved to have "
        "happened, without a row. Configuration: beneath the prefixes chosen above.",
        [sql("summary")], width=12, height=5, color="none", defaults={"decimals": 0},
        overrides=[override("Missed", {"thresholds": {"mode": "absolute", "steps": [
            {"value": None, "color": "green"}, {"value": 1, "color": "orange"},
        ]}, "color": {"mode": "thresholds"}})],
    ),
    table(
        "Gaps",
        "When nobody was looking, or recording had not begun. What changed then and changed back left no trace; the rest was "
        "found by a rescan and has no exact time.",
        [sql("gaps")],
        {
            "from": {**TIME, "unit": "time:YYYY-MM-DD HH:mm:ss"}, "to": {**TIME, "unit": "time:YYYY-MM-DD HH:mm:ss"},
            "seconds": {"width": 90, "unit": "s", "title": "for"}, "cluster": {"width": 100}, "path": {"width": 90},
            "missed": SHORT,
        },
        width=12, height=5,
    ),
    graph(
        "Changes, by the time of their commit",
        "From the history, so imported logs and what happened before Prometheus was there are in it.",
        [sql("changes_over_time", "time_series")], width=24, height=7, bars=True, colors=KINDS, interval="1s",
        maxDataPoints=200,
    ),
    table(
        "Changes",
        "The newest 500 of the range, beneath 'Under'. Click a path for its life, or for only what is beneath it. Evidence: "
        "exact (the value was seen at a known zxid), coalesced (certain, the value was overtaken), inferred (certain, its place "
        "is bounded). Gaps are rows in orange.",
        [sql("changes")],
        {
            "time": TIME, "cluster": {"width": 100}, "kind": KIND, "path": PATH, "version": SHORT, "value": VALUE,
            "bytes": {"width": 90, "unit": "bytes"}, "evidence": {"width": 100}, "missed": SHORT, "cause": {"width": 130},
            "session": ID, "zxid": ID,
        },
        height=12,
    ),
    table(
        "As it is now",
        "The znode of the chosen path as it is at this moment, whatever the range; without a chosen path, the one that changed "
        "last.",
        [sql("path_now")],
        {
            "path": {"width": 340, "inspect": True}, "cluster": {"width": 100}, "type": {"width": 150}, "version": SHORT,
            "bytes": {"width": 90, "unit": "bytes"}, "children": SHORT, "changed": TIME, "owner": ID, "value": VALUE,
        },
        height=4,
    ),
    table(
        "The life of one path",
        "All that is on record of the chosen path up to the end of the range, the newest first: each value beside the one "
        "before it. Choose one by a click on a path above, or type it into Path; without one it is the path that changed last. "
        "session: who asked for it where that is known, else the ephemeral's owner.",
        [sql("path_life")],
        {
            "time": TIME, "cluster": {"width": 100}, "path": {"width": 240, "inspect": True}, "kind": KIND, "version": SHORT,
            "before": VALUE, "after": VALUE, "evidence": {"width": 100}, "missed": SHORT, "cause": {"width": 130},
            "session": ID, "zxid": ID,
        },
        height=9,
    ),
    table(
        "Configuration",
        "Every change beneath the prefixes of configuration in the range, with the value before. Values are as they were "
        "recorded: masked, cut or withheld. session is known from the servers' transaction logs alone (zktrail import).",
        [sql("config_audit")],
        {
            "time": TIME, "cluster": {"width": 100}, "path": PATH, "kind": KIND, "version": SHORT, "before": VALUE,
            "after": VALUE, "certainty": {"width": 180}, "session": ID, "zxid": ID,
        },
        height=10,
    ),
    table(
        "Hottest paths",
        "The 50 paths that changed most. One that is written again and again is a counter, a heartbeat or a loop: it costs "
        "every server a write to its disk.",
        [sql("hottest_paths")],
        {
            "path": PATH, "cluster": {"width": 100},
            "changes": {"width": 160, "cell": {"type": "gauge", "mode": "basic"}, "color": fixed("blue")},
            "created": SHORT, "data_changed": {"width": 110}, "deleted": SHORT, "missed": SHORT, "last": TIME,
        },
        width=12, height=10,
    ),
    table(
        "Flapping",
        "Ephemerals that went away twice or more in the range, and how long they lived. Sequential names (locks, elections) "
        "are another path each time, and are not in it.",
        [sql("flapping")],
        {
            "path": PATH, "cluster": {"width": 100}, "went": SHORT, "sessions": {"width": 90},
            "shortest": {"width": 100, "unit": "s"}, "typical": {"width": 100, "unit": "s"},
            "last_went": {**TIME, "title": "last went"},
        },
        width=12, height=10,
    ),
]

# Something is always chosen, so that no query is left without a prefix.
CONFIG = values_of(
    "config", "Configuration",
    "Prefixes that the agent was told to be configuration (--config-subtree), or /config where it was told none.",
    'query_result(group by (prefix) (zktrail_config_changes_total{cluster=~"$cluster"})'
    ' or on () label_replace(vector(1), "prefix", "/config", "", ""))',
    kind=3, regex='/prefix="([^"]+)"/',
)


def build():
    return dashboard(
        "what-changed", "what changed",
        "What changed in a ZooKeeper ensemble, and whether anybody was looking.",
        [
            DATASOURCE,
            data_source("postgres", "History", "postgres"),
            CLUSTER,
            PREFIX,
            CONFIG,
            chosen_of("kind", "Kind", "What happened to a znode.", list(KINDS)),
            typed("under", "Under", "Only this path and what is beneath it, in what comes from the history.", "/"),
            typed("path", "Path", "The path whose life is shown; empty: the one that changed last.", ""),
        ],
        [
            ("Is anybody looking?", LOOKING),
            ("What changed, from the history", HISTORY),
            ("How much changes", RATES),
        ],
        [
            event_of_history("Configuration changed", "purple", "annotation_config"),
            event_of_history("Nobody was looking", "orange", "annotation_gaps"),
        ],
    )
