"""Is the agent itself well? What it hears, what it writes, what is asked of it."""

from board import AGENT, CLUSTER, DATASOURCE, EVIDENCE, GAPS, dashboard, fixed, graph, now, prom, quantile, stat, timeline

A = 'instance=~"$agent"'
C = f'cluster=~"$cluster", {A}'
# Several agents may record one ensemble: each has a line of its own.
BY = "cluster, instance"
LINE = "{{cluster}} {{instance}}"
# Metrics of the process have the names that any process has: those of agents.
OURS = f"and on (instance, job) zktrail_build_info{{{A}}}"

LOOKING = [
    stat(
        "Recording",
        "Whether changes can be written down now. 'paused': /readyz names the cause. Runbook: Agent blind.",
        [now(f"min by ({BY}) (zktrail_recording{{{C}}})", LINE)],
        steps={None: "red", 1: "green"}, texts={0: ("paused", "red"), 1: ("recording", "green")},
    ),
    stat(
        "Observed",
        "Whether the ensemble is observed now. Runbook: Gap open.",
        [now(f"max by ({BY}) (zktrail_gap_open{{{C}}})", LINE)],
        steps={None: "green", 1: "red"}, texts={0: ("yes", "green"), 1: ("gap open", "red")},
    ),
    stat(
        "Behind",
        "How long ago the ensemble is known to have been observed last. A few seconds are as it should be; in a gap it rises.",
        [now(f"max by ({BY}) (time() - zktrail_observed_timestamp_seconds{{{C}}})", LINE)],
        unit="s", steps={None: "green", 60: "orange", 300: "red"},
    ),
    stat(
        "Paths that cannot be read",
        "Znodes without permission, or too large, and so not covered. The log names them. Give the agent's user READ, or raise "
        "--jute-maxbuffer.",
        [now(f"max by ({BY}) (zktrail_unreadable_paths{{{C}}})", LINE)],
        steps={None: "green", 1: "orange"}, texts={0: ("none", "green")},
    ),
    stat(
        "Not observed in this range",
        "For how long nobody was looking, while the agent was running; the table gaps has all of it.",
        [now(f"sum by ({BY}) (increase(zktrail_gap_seconds_total{{{C}}}[$__range]))", LINE)],
        unit="s", steps={None: "green", 1: "orange"},
    ),
    stat(
        "Missed in this range",
        "Changes proved to have happened that have no row.",
        [now(f"sum by ({BY}) (increase(zktrail_missed_total{{{C}}}[$__range]))", LINE)],
        steps={None: "green", 1: "orange"}, defaults={"decimals": 0},
    ),
    stat(
        "Cut by a full queue in this range",
        "How often a bounded queue was full, so that the source was cut with a gap. Above 0: the agent cannot keep pace; see "
        "Queues and Fsync of the write-ahead log.",
        [now(f"sum by ({BY}) (increase(zktrail_overruns_total{{{C}}}[$__range]))", LINE)],
        steps={None: "green", 1: "red"}, texts={0: ("never", "green")}, defaults={"decimals": 0},
    ),
    stat(
        "Version",
        "What runs, and where.",
        [now(f"max by (version, instance) (zktrail_build_info{{{A}}})", "{{version}} {{instance}}")],
        names=True, color="none",
    ),
]

FOLLOWING = [
    timeline(
        "Session",
        "The state of the session with the ensemble. Anything but connected for longer than an election is a gap.",
        [prom(f"max by ({BY}, state) (zktrail_session_state{{{C}}}) == 1", LINE + " {{state}}")],
        {1: ("now", "blue")},
    ),
    timeline(
        "What the servers can do",
        "What was probed at the start. Without event_zxids (before 3.9) some rows stay without a zxid.",
        [prom(f"max by ({BY}, ability) (zktrail_source_mode{{{C}}})", LINE + " {{ability}}")],
        {0: ("no", "orange"), 1: ("yes", "green")},
    ),
    graph(
        "Lag",
        "From the commit by the server's clock to the record by the agent's, of the last change. A constant offset is clocks "
        "that differ. Runbook: Capture lag.",
        [prom(f"max by ({BY}) (zktrail_capture_lag_seconds{{{C}}})", LINE)],
        unit="s", defaults={"min": None},
    ),
    graph(
        "From hearing to recorded",
        "By the agent's clock alone; 0 where nothing changed. It is the fsync of the write-ahead log, and waiting for it.",
        [
            prom(quantile(0.5, "zktrail_record_seconds", BY, C), LINE + " median"),
            prom(quantile(0.99, "zktrail_record_seconds", BY, C), LINE + " 99 of 100"),
        ],
        unit="s",
    ),
    graph(
        "Zxids not recorded yet",
        "How far the record is behind the ensemble, in transactions. Sessions that open and close have no row, so it is seldom "
        "0; it should not grow. A rise by billions is a new term.",
        [prom(
            f"max by ({BY}) (clamp_min(zktrail_server_last_zxid{{{C}}} - zktrail_recorded_last_zxid{{{C}}}, 0))",
            LINE,
        )],
    ),
    graph(
        "Notifications by kind",
        "What the servers tell of.",
        [prom(f"sum by (kind) (rate(zktrail_notifications_total{{{C}}}[$__rate_interval]))", "{{kind}}")], unit="cps",
    ),
    graph(
        "Changes by evidence",
        "How the recorded changes are known. exact: the value was seen at a known zxid. coalesced: certain, the value was "
        "overtaken. inferred: certain, only bounded in time.",
        [prom(f"sum by (evidence) (rate(zktrail_changes_total{{{C}}}[$__rate_interval]))", "{{evidence}}")],
        unit="cps", colors=EVIDENCE,
    ),
    graph(
        "Queues",
        "How full the bounded queues are. At 100 % the source is cut, with a gap.",
        [prom(
            f"max by ({BY}, queue) (zktrail_queue_depth{{{C}}} / zktrail_queue_capacity{{{C}}})", LINE + " {{queue}}",
        )],
        unit="percentunit", limits={0.8: "orange", 1: "red"},
    ),
    graph(
        "Gaps by reason",
        "Gaps that began while the agent was running. disconnected and session_expired: the network, or an election; see "
        "Session. When they were: What changed, Gaps.",
        [prom(f"sum by (reason) (increase(zktrail_gaps_total{{{C}}}[$__rate_interval]))", "{{reason}}")],
        bars=True, defaults={"decimals": 0},
    ),
    graph(
        "Rescans",
        "Full reads of the tree, by what made them necessary.",
        [prom(f"sum by (reason) (increase(zktrail_rescans_total{{{C}}}[$__rate_interval]))", "{{reason}}")],
        bars=True, defaults={"decimals": 0},
    ),
    graph(
        "How long a rescan takes",
        "On average since the agent's start: the least that a gap lasts after a reconnect.",
        [prom(
            f"sum by ({BY}) (zktrail_rescan_seconds_sum{{{C}}})"
            f" / clamp_min(sum by ({BY}) (zktrail_rescan_seconds_count{{{C}}}), 1)", LINE,
        )],
        unit="s",
    ),
    graph(
        "Reads",
        "Requests to the ensemble, by kind and outcome; a multi-read counts once. refused: no permission.",
        [prom(f"sum by (kind, outcome) (rate(zktrail_reads_total{{{C}}}[$__rate_interval]))", "{{kind}} {{outcome}}")],
        unit="reqps",
    ),
    graph(
        "Waiting for the read budget",
        "The share of the time that scans wait so as not to burden the ensemble. 100 % all the time: the tree is read as fast as "
        "it may be (--znodes-per-second, --bytes-per-second).",
        [prom(f"sum by ({BY}) (rate(zktrail_read_budget_wait_seconds_total{{{C}}}[$__rate_interval]))", LINE)],
        unit="percentunit",
    ),
    graph(
        "Transaction log followed",
        "How far behind the ensemble the followed transaction log was worked in (--source txnlog=…); 0 where none is followed.",
        [prom(
            f"max by ({BY}) ((zktrail_txnlog_complete_timestamp_seconds{{{C}}} > bool 0)"
            f" * (time() - zktrail_txnlog_complete_timestamp_seconds{{{C}}}))", LINE,
        )],
        unit="s",
    ),
]

WRITING = [
    graph(
        "Fsync of the write-ahead log",
        "How long the disk takes; 0 where nothing was written. Every change waits for it.",
        [
            prom(quantile(0.5, "zktrail_wal_fsync_seconds", BY, C), LINE + " median"),
            prom(quantile(0.99, "zktrail_wal_fsync_seconds", BY, C), LINE + " 99 of 100"),
        ],
        unit="s",
    ),
    graph(
        "Write-ahead log",
        "Bytes on disk. It falls with every flush; where it only rises flushes fail: see the log.",
        [prom(f"max by ({BY}) (zktrail_wal_bytes{{{C}}})", LINE)], unit="bytes",
    ),
    graph(
        "Group commits",
        "Frames written to the write-ahead log a second; each is one fsync.",
        [prom(f"sum by ({BY}) (rate(zktrail_wal_frames_total{{{C}}}[$__rate_interval]))", LINE)], unit="wps",
    ),
    graph(
        "Flushes",
        "How many, and how long one takes: 99 of 100; 0 where there was none.",
        [
            prom(f"sum by ({BY}) (increase(zktrail_flushes_total{{{C}}}[$__rate_interval]))", LINE + " flushes"),
            prom(quantile(0.99, "zktrail_flush_seconds", BY, C), LINE + " 99 of 100"),
        ],
        overrides=[{
            "matcher": {"id": "byRegexp", "options": "/99 of 100/"},
            "properties": [{"id": "unit", "value": "s"}, {"id": "custom.axisPlacement", "value": "right"}],
        }],
    ),
    graph(
        "Rows in memory",
        "Rows that are recorded and not in Parquet yet, by table. They fall to 0 with every flush (--flush-age).",
        [prom(f"sum by (table) (zktrail_head_rows{{{C}}})", "{{table}}")],
    ),
    graph(
        "Parts",
        "Parquet parts on disk by table. Days that are over are joined: hundreds that stay mean that this fails.",
        [prom(f"sum by (table) (zktrail_parts{{{C}}})", "{{table}}")],
    ),
    graph(
        "Bytes of parts",
        "What the history takes, by table. What takes the room: Runbook, Disk floor.",
        [prom(f"sum by (table) (zktrail_part_bytes{{{C}}})", "{{table}}")], unit="bytes",
    ),
    graph(
        "Disk",
        "Free bytes of the history's disk, and the floor at which recording stops so as not to fill it. Runbook: Disk floor.",
        [
            prom(f"zktrail_disk_free_bytes{{{A}}}", "{{instance}} free"),
            prom(f"zktrail_disk_floor_bytes{{{A}}}", "{{instance}} floor"),
        ],
        unit="bytes",
        overrides=[{
            "matcher": {"id": "byRegexp", "options": "/floor$/"},
            "properties": [{"id": "color", "value": fixed("red")}, {"id": "custom.fillOpacity", "value": 0}],
        }],
    ),
    graph(
        "Age of the newest snapshot",
        "One is written every day; questions about a moment begin at the one before it. Much older than a day: see the log.",
        [prom(
            f"max by ({BY}) (time() - (zktrail_snapshot_timestamp_seconds{{{C}}} > 0))", LINE,
        )],
        unit="s", defaults={"noValue": "There is no snapshot yet"},
    ),
    graph(
        "Upkeep that failed",
        "Joining of a day's parts, and retention. They are tried again; where it goes on the log says why.",
        [prom(f"sum by (what) (increase(zktrail_upkeep_failures_total{{{C}}}[$__rate_interval]))", "{{what}}")],
        defaults={"decimals": 0}, width=6,
    ),
    graph(
        "Removed by retention",
        "Bytes a second that --retention-age and --retention-bytes removed, about.",
        [prom(f"sum by ({BY}) (rate(zktrail_retention_removed_bytes_total{{{C}}}[$__rate_interval]))", LINE)],
        unit="Bps", width=6,
    ),
    graph(
        "The tree in memory",
        "Znodes that the agent holds; its memory grows with them. Values are not held.",
        [prom(f"max by ({BY}) (zktrail_znodes{{{C}}})", LINE)], width=6,
    ),
    graph(
        "Values in the tree",
        "Bytes of all values as they are now: what a snapshot writes at most.",
        [prom(f"max by ({BY}) (zktrail_data_bytes{{{C}}})", LINE)], unit="bytes", width=6,
    ),
]

ASKING = [
    graph(
        "Queries by outcome",
        "limited: a query reached its bound of time, memory, rows or disk. refused: it is wrong, or not allowed.",
        [prom(f"sum by (outcome) (rate(zktrail_queries_total{{{A}}}[$__rate_interval]))", "{{outcome}}")], unit="reqps",
        colors={"ok": "green", "refused": "yellow", "limited": "orange", "failed": "red", "cancelled": "blue"},
    ),
    graph(
        "How long queries take",
        "0 where nobody asked.",
        [
            prom(quantile(0.5, "zktrail_query_seconds", "instance", A), "{{instance}} median"),
            prom(quantile(0.99, "zktrail_query_seconds", "instance", A), "{{instance}} 99 of 100"),
        ],
        unit="s",
    ),
    graph(
        "Queries by door",
        "Who asks how: http, postgres.",
        [prom(f"sum by (door, outcome) (rate(zktrail_door_queries_total{{{A}}}[$__rate_interval]))", "{{door}} {{outcome}}")],
        unit="reqps",
    ),
    graph(
        "Sessions and queries now",
        "Open sessions of the PostgreSQL door, and queries that run. Each query may take up to its share of memory.",
        [
            prom(f"zktrail_postgres_connections{{{A}}}", "{{instance}} PostgreSQL sessions"),
            prom(f"zktrail_queries_running{{{A}}}", "{{instance}} queries"),
        ],
    ),
    graph(
        "Turned away",
        "Logins that failed, connections to the PostgreSQL door that were one too many, and lines of the access log that were "
        "lost. Everything at 0 is as it should be; many wrong logins are someone who guesses.",
        [
            prom(
                f"sum by (door, reason) (increase(zktrail_login_failures_total{{{A}}}[$__rate_interval]))",
                "{{door}} login: {{reason}}",
            ),
            prom(f"sum(increase(zktrail_postgres_refused_total{{{A}}}[$__rate_interval]))", "PostgreSQL sessions refused"),
            prom(f"sum(increase(zktrail_access_log_lost_total{{{A}}}[$__rate_interval]))", "access log lines lost"),
        ],
        defaults={"decimals": 0},
    ),
    graph(
        "Certificates",
        "How long the certificates of the doors, and those shown to the ensembles, are still valid; 0 where there is none. Put "
        "new files there and send SIGHUP.",
        [
            prom(
                f"(zktrail_certificate_expiry_timestamp_seconds{{{A}}} > bool 0)"
                f" * (zktrail_certificate_expiry_timestamp_seconds{{{A}}} - time())", "{{instance}} doors",
            ),
            prom(
                f"(zktrail_client_certificate_expiry_timestamp_seconds{{{C}}} > bool 0)"
                f" * (zktrail_client_certificate_expiry_timestamp_seconds{{{C}}} - time())", LINE,
            ),
        ],
        unit="s", defaults={"min": None},
    ),
]

SAMPLING = [
    timeline(
        "What each server answers",
        "By question: mntr, srvr, ruok, isro, monitor (AdminServer), metrics (provider). 'no' all the time: the server does not "
        "allow it (4lw.commands.whitelist); zktrail check says what to do. 'no' now and then: it was too slow.",
        [prom(f"max by ({BY}, zk_host, word) (zktrail_server_sample_success{{{C}}})", LINE + " {{zk_host}} {{word}}")],
        {0: ("no", "orange"), 1: ("yes", "green")}, height=9,
    ),
    graph(
        "How long a server takes to answer",
        "A server that is slow here is slow for its clients: it answers when it comes to it.",
        [prom(f"max by ({BY}, zk_host) (zktrail_server_sample_duration_seconds{{{C}}})", LINE + " {{zk_host}}")],
        unit="s", width=12, height=9,
    ),
    graph(
        "Series left out",
        "Series of the last sample that were one too many for its bound. Above 0: a server tells of very many namespaces or "
        "learners.",
        [prom(f"max by ({BY}, zk_host) (zktrail_server_series_dropped{{{C}}})", LINE + " {{zk_host}}")],
    ),
    graph(
        "Who is connected: how the servers answer",
        "Servers asked for their connections, by outcome. refused: cons is not on the whitelist, so the addresses of sessions "
        "stay unknown.",
        [prom(f"sum by (outcome) (rate(zktrail_connection_samples_total{{{C}}}[$__rate_interval]))", "{{outcome}}")],
        unit="reqps",
    ),
    graph(
        "Sessions that the servers listed",
        "When they were asked last for their connections. 0 where none of them answers that.",
        [prom(f"max by ({BY}) (zktrail_sessions_connected{{{C}}})", LINE)],
    ),
]

PROCESS = [
    graph(
        "Processor",
        "Cores that the agent uses.",
        [prom(f"rate(process_cpu_seconds_total[$__rate_interval]) {OURS}", "{{instance}}")],
    ),
    graph(
        "Memory",
        "Resident bytes. The tree, batches that are not flushed yet, and queries while they run.",
        [prom(f"process_resident_memory_bytes {OURS}", "{{instance}}")], unit="bytes",
    ),
    graph(
        "File descriptors",
        "Open, of what is allowed.",
        [prom(f"(process_open_fds / process_max_fds) {OURS}", "{{instance}}")], unit="percentunit",
        limits={0.8: "orange", 1: "red"},
    ),
]


def build():
    return dashboard(
        "agent", "agent",
        "Whether the agent that records a ZooKeeper ensemble is well: what it hears, writes and answers.",
        [DATASOURCE, CLUSTER, AGENT],
        [
            ("Is anybody looking?", LOOKING),
            ("Following the ensemble", FOLLOWING),
            ("Writing it down", WRITING),
            ("Answering questions", ASKING),
            ("Asking the servers", SAMPLING),
            ("The process", PROCESS),
        ],
        [GAPS],
    )
