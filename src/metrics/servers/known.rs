//! What the keys mean that servers are known to have, and their types. What is not known is exported all the same.
//!
//! Most keys are counters, but their names lack `_total`, or end in `_count`; some are reset when a server restarts or
//! changes its role, others by `srst`. For Prometheus they are `untyped`; `rate()` does not mind.

use std::borrow::Cow;

use super::key::Key;
use super::told::Kind;

pub(super) const UP: (&str, &str) = (
    "zk_up",
    "1 if the server answered when it was last asked, whatever it said; else 0, and it has no other zk_ series.",
);
pub(super) const RUOK: (&str, &str) =
    ("zk_ruok", "1 if the server says imok; only where its 4lw.commands.whitelist has ruok.");
pub(super) const READ_ONLY: (&str, &str) =
    ("zk_read_only", "1 if the server is read-only, without a quorum; only where its 4lw.commands.whitelist has isro.");
pub(super) const SERVER_LEADER: (&str, &str) =
    ("zk_server_leader", "1 if the server says that it leads or stands alone, 0 if it has another state.");
pub(super) const SERVER_STATE: (&str, &str) =
    ("zk_server_state", "Always 1; the label is what the server says it is: leader, follower, observer, standalone.");
pub(super) const PEER_STATE: (&str, &str) = (
    "zk_peer_state",
    "Always 1; the labels are what the server does in its quorum, and in which phase it is (3.6 and later).",
);
pub(super) const VERSION: (&str, &str) = ("zk_version", "Always 1; the label is the version that the server runs.");

/// Keys by their whole name.
const PLAIN: &[(&str, Kind, &str)] = &[
    ("approximate_data_size", Kind::Gauge, "Bytes of all paths and values, as the server reckons."),
    ("auth_failed_count", Kind::Untyped, "Clients whose authentication failed, since the server started."),
    ("avg_latency", Kind::Gauge, "Mean time of a request in milliseconds, since the server started or was told srst."),
    ("bytes_received_count", Kind::Untyped, "Bytes received from clients, since the server started."),
    ("commit_count", Kind::Untyped, "Commits by the leader, since it leads."),
    ("connection_drop_count", Kind::Untyped, "Connections that ended, since the server started."),
    ("connection_drop_probability", Kind::Gauge, "Share of new connections that the throttle turns away, 0 to 1."),
    (
        "connection_rejected",
        Kind::Untyped,
        "Connections turned away because there were too many, since the server started.",
    ),
    ("connection_request_count", Kind::Untyped, "Connections that clients asked for, since the server started."),
    (
        "connection_revalidate_count",
        Kind::Untyped,
        "Sessions that came over from another server, since the server started.",
    ),
    (
        "dead_watchers_cleared",
        Kind::Untyped,
        "Watches of closed connections that were cleared, since the server started.",
    ),
    ("dead_watchers_queued", Kind::Untyped, "Watches of closed connections to be cleared, since the server started."),
    ("diff_count", Kind::Untyped, "Learners that the leader brought up by a diff, since it leads."),
    (
        "digest_mismatches_count",
        Kind::Untyped,
        "Digests of the tree that did not agree, since the server started: data differs between servers.",
    ),
    ("ensemble_auth_fail", Kind::Untyped, "Clients of a wrong ensemble, since the server started."),
    ("ephemerals_count", Kind::Untyped, "Ephemeral znodes."),
    ("followers", Kind::Gauge, "Followers of the leader; only told by the leader."),
    (
        "fsync_threshold_exceed_count",
        Kind::Untyped,
        "Fsyncs of the transaction log that took longer than fsync.warningthresholdms (1 s), since the server started.",
    ),
    ("global_sessions", Kind::Gauge, "Sessions that the whole ensemble knows."),
    ("insecure_admin_count", Kind::Untyped, "Requests to the AdminServer in clear text, since the server started."),
    ("is_leader", Kind::Gauge, "1 if the server leads."),
    ("is_follower", Kind::Gauge, "1 if the server follows."),
    ("is_observer", Kind::Gauge, "1 if the server observes."),
    ("is_standalone", Kind::Gauge, "1 if the server stands alone."),
    ("key_arena_size", Kind::Gauge, "Bytes of the memory that holds ClickHouse Keeper's paths."),
    ("large_requests_rejected", Kind::Untyped, "Requests that were too large together, since the server started."),
    ("last_client_response_size", Kind::Gauge, "Bytes of the last answer to a client; -1 before there was one."),
    ("last_proposal_size", Kind::Gauge, "Bytes of the leader's last proposal; -1 before there was one."),
    ("latest_snapshot_size", Kind::Gauge, "Bytes of ClickHouse Keeper's latest snapshot."),
    ("leader_uptime", Kind::Gauge, "Milliseconds since the leader leads; only told by the leader."),
    ("learners", Kind::Gauge, "Followers and observers of the leader; only told by the leader."),
    ("local_sessions", Kind::Gauge, "Sessions that this server alone knows."),
    ("looking_count", Kind::Untyped, "How often the server looked for a leader, since it started."),
    ("max_client_response_size", Kind::Gauge, "Bytes of the largest answer to a client; -1 before there was one."),
    ("max_file_descriptor_count", Kind::Untyped, "File descriptors that the server may have open."),
    (
        "max_latency",
        Kind::Gauge,
        "Longest time of a request in milliseconds, since the server started or was told srst.",
    ),
    ("max_proposal_size", Kind::Gauge, "Bytes of the leader's largest proposal; -1 before there was one."),
    ("min_client_response_size", Kind::Gauge, "Bytes of the smallest answer to a client; -1 before there was one."),
    (
        "min_latency",
        Kind::Gauge,
        "Shortest time of a request in milliseconds, since the server started or was told srst.",
    ),
    ("min_proposal_size", Kind::Gauge, "Bytes of the leader's smallest proposal; -1 before there was one."),
    ("non_mtls_local_conn_count", Kind::Untyped, "Connections from this machine without a client certificate."),
    ("non_mtls_remote_conn_count", Kind::Untyped, "Connections from other machines without a client certificate."),
    ("num_alive_connections", Kind::Gauge, "Connections of clients."),
    ("observers", Kind::Gauge, "Observers of the leader; only told by the leader."),
    ("open_file_descriptor_count", Kind::Untyped, "File descriptors that the server has open."),
    ("outstanding_changes_queued", Kind::Untyped, "Changes that began to be worked on, since the server started."),
    ("outstanding_changes_removed", Kind::Untyped, "Changes whose work is done, since the server started."),
    ("outstanding_requests", Kind::Gauge, "Requests that wait in the server."),
    ("outstanding_tls_handshake", Kind::Gauge, "TLS handshakes that are not done."),
    ("packets_received", Kind::Untyped, "Packets received from clients, since the server started or was told srst."),
    ("packets_sent", Kind::Untyped, "Packets sent to clients, since the server started or was told srst."),
    ("pending_syncs", Kind::Gauge, "Syncs that the leader still has to answer; only told by the leader."),
    (
        "prep_processor_request_queued",
        Kind::Untyped,
        "Requests handed to the first step of their work, since the server started.",
    ),
    ("proposal_count", Kind::Untyped, "Proposals by the leader, since it leads."),
    (
        "quit_leading_due_to_disloyal_voter",
        Kind::Untyped,
        "How often leading ended for want of loyal voters, since the server started.",
    ),
    ("quorum_size", Kind::Gauge, "Voting members of the ensemble."),
    ("request_commit_queued", Kind::Untyped, "Commits handed to the last step but one, since the server started."),
    ("request_throttle_wait_count", Kind::Untyped, "Requests that the throttle held back, since the server started."),
    ("response_packet_cache_hits", Kind::Untyped, "Answers to getData found in the cache, since the server started."),
    (
        "response_packet_cache_misses",
        Kind::Untyped,
        "Answers to getData not found in the cache, since the server started.",
    ),
    (
        "response_packet_get_children_cache_hits",
        Kind::Untyped,
        "Answers to getChildren found in the cache, since the server started.",
    ),
    (
        "response_packet_get_children_cache_misses",
        Kind::Untyped,
        "Answers to getChildren not found in the cache, since the server started.",
    ),
    ("revalidate_count", Kind::Untyped, "Sessions that this server asked the leader about, since it started."),
    (
        "sessionless_connections_expired",
        Kind::Untyped,
        "Connections closed before they had a session, since the server started.",
    ),
    ("snap_count", Kind::Untyped, "Learners that the leader brought up by a snapshot, since it leads."),
    ("stale_replies", Kind::Untyped, "Answers whose connection was gone, since the server started."),
    ("stale_requests", Kind::Untyped, "Requests that were too old to be worked on, since the server started."),
    ("stale_requests_dropped", Kind::Untyped, "Requests dropped because they were too old, since the server started."),
    ("stale_sessions_expired", Kind::Untyped, "Sessions that ended by their timeout, since the server started."),
    (
        "sync_processor_request_queued",
        Kind::Untyped,
        "Requests handed to the transaction log, since the server started.",
    ),
    ("synced_followers", Kind::Gauge, "Followers that are level with the leader; only told by the leader."),
    ("synced_non_voting_followers", Kind::Gauge, "Level followers without a vote; only told by the leader."),
    ("synced_observers", Kind::Gauge, "Observers that are level with the leader."),
    ("throttled_ops", Kind::Untyped, "Requests that were refused by the throttle, since the server started."),
    (
        "tls_handshake_exceeded",
        Kind::Untyped,
        "Connections turned away because too many TLS handshakes were open, since the server started.",
    ),
    ("unrecoverable_error_count", Kind::Untyped, "Errors from which the server could not recover, since it started."),
    ("unsuccessful_handshake", Kind::Untyped, "TLS handshakes that failed, since the server started."),
    ("uptime", Kind::Gauge, "Milliseconds since the server serves in its role."),
    ("watch_bytes", Kind::Untyped, "Bytes of watch notifications sent, since the server started."),
    ("watch_count", Kind::Untyped, "Watches that clients have set with this server; a recursive one counts once."),
    ("znode_count", Kind::Untyped, "Znodes, those under /zookeeper included."),
];

/// Keys that are one statistic of many: what it is of. Times are in milliseconds unless the name says seconds.
const STEMS: &[(&str, &str)] = &[
    ("ack_latency", "Time from a proposal to a learner's acknowledgement, in milliseconds"),
    ("commit_process_time", "Time that the leader or learner took to hand a commit on, in milliseconds"),
    ("commit_propagation_latency", "Time from a commit to its arrival at a learner, in milliseconds"),
    ("dbinittime", "Time to load the database at the start, in milliseconds"),
    ("election_time", "Time to elect a leader, in milliseconds"),
    ("follower_sync_time", "Time to bring a follower level with the leader, in milliseconds"),
    ("fsynctime", "Time of an fsync of the transaction log, in milliseconds"),
    ("inflight_diff_count", "Learners that were brought up by a diff at once"),
    ("inflight_snap_count", "Learners that were brought up by a snapshot at once"),
    ("jvm_pause_time", "Pauses of the Java machine beyond a threshold"),
    ("leader_unavailable_time", "Time without a leader, in milliseconds"),
    ("learner_handler_qp_size", "Packets that waited for a learner"),
    ("learner_handler_qp_time", "Time that packets waited for a learner"),
    ("node_changed_watch_count", "Watches that a change of a value set off"),
    ("node_children_watch_count", "Watches that a change of children set off"),
    ("node_created_watch_count", "Watches that a creation set off"),
    ("node_deleted_watch_count", "Watches that a deletion set off"),
    ("observer_sync_time", "Time to bring an observer level with the leader, in milliseconds"),
    ("pending_session_queue_size", "Sessions with requests that waited"),
    ("prep_process_time", "Time of the first step of a request, in milliseconds"),
    ("prep_processor_queue_size", "Requests that waited for their first step"),
    ("prep_processor_queue_time", "Time that requests waited for their first step"),
    ("propagation_latency", "Time from a proposal to its application here, in milliseconds"),
    ("proposal_ack_creation_latency", "Time from a proposal to the acknowledgement of it here, in milliseconds"),
    ("proposal_latency", "Time from a proposal to its arrival at a learner, in milliseconds"),
    ("quorum_ack_latency", "Time from a proposal to its acknowledgement by a quorum, in milliseconds"),
    ("read_per_namespace", "Bytes read by requests beneath a top-level znode, a request at a time"),
    ("readlatency", "Time of a read, in milliseconds"),
    ("request_throttle_queue_time", "Time that requests waited for the throttle"),
    ("snapshottime", "Time to write a snapshot, in milliseconds"),
    ("startup_snap_load_time", "Time to load a snapshot at the start, in milliseconds"),
    ("startup_txns_load_time", "Time to load transactions at the start, in milliseconds"),
    ("startup_txns_loaded", "Transactions loaded at the start"),
    ("sync_process_time", "Time of a flush of the transaction log, in milliseconds"),
    ("sync_processor_batch_size", "Requests that went into one flush of the transaction log"),
    ("sync_processor_queue_and_flush_time", "Time that requests waited for the transaction log and its flush"),
    ("sync_processor_queue_flush_time", "Time of a flush with what waited for it"),
    ("sync_processor_queue_size", "Requests that waited for the transaction log"),
    ("sync_processor_queue_time", "Time that requests waited for the transaction log"),
    ("unavailable_time", "Time during which the server did not serve, in milliseconds"),
    ("updatelatency", "Time of a write, in milliseconds"),
    ("write_per_namespace", "Bytes written by requests beneath a top-level znode, a request at a time"),
];

/// Sets of keys, one a namespace.
const PER_NAMESPACE: &[(&str, &str)] = &[
    ("quota_bytes_limit_per_namespace", "Bytes that the quota of a top-level znode allows; -1 for no bound."),
    ("quota_bytes_usage_per_namespace", "Bytes beneath a top-level znode with a quota."),
    ("quota_count_limit_per_namespace", "Znodes that the quota of a top-level znode allows; -1 for no bound."),
    ("quota_count_usage_per_namespace", "Znodes beneath a top-level znode with a quota."),
    (
        "quota_exceeded_error_per_namespace",
        "Requests refused by the quota of a top-level znode, since the server started.",
    ),
];

/// Help and type of a family.
pub(super) fn describe(key: &Key, name: &str) -> (Cow<'static, str>, Kind) {
    let plain = key.plain();
    if let Some((_, kind, help)) = PLAIN.iter().find(|(known, ..)| *known == plain) {
        return (Cow::Borrowed(help), *kind);
    }
    let kind = kind(key, name);
    if let Some((_, help)) = PER_NAMESPACE.iter().find(|(known, _)| *known == key.stem) {
        return (Cow::Borrowed(help), kind);
    }
    let stem = name.strip_prefix("zk_").unwrap_or(name);
    let stem = key.stat.as_deref().and_then(|stat| stem.strip_prefix(stat)?.strip_prefix('_')).unwrap_or(stem);
    let is_scaled = stem.ends_with("_seconds") && !key.stem.ends_with("_seconds");
    let stem = if is_scaled { stem.strip_suffix("_seconds").unwrap_or(stem) } else { stem };
    let of = STEMS.iter().find(|(known, _)| *known == stem).map(|(_, help)| *help);
    let mut help = match (of, key.stat.as_deref()) {
        (Some(of), Some(stat)) => format!("{of}: {}.", statistic(stat)),
        (None, Some(stat)) => format!("The server's own key zk_{plain}: {}.", statistic(stat)),
        (_, None) => format!("The server's own key zk_{plain}, as it tells it."),
    };
    let unit = if is_scaled && of.is_some() { format!(" The server's key is zk_{plain}.") } else { String::new() };
    help.push_str(&unit);
    // A sentence begins with a capital letter.
    if let Some(first) = help.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    (Cow::Owned(help), kind)
}

fn statistic(stat: &str) -> String {
    match stat {
        "avg" => "mean since the server started or was told srst".to_owned(),
        "min" => "least since the server started or was told srst".to_owned(),
        "max" => "most since the server started or was told srst".to_owned(),
        "cnt" => "number of times since the server started or was told srst".to_owned(),
        "sum" => "sum since the server started or was told srst".to_owned(),
        other => {
            let digits = other.trim_start_matches('p');
            let (whole, rest) = digits.split_at(digits.len().min(2));
            let dot = if rest.is_empty() { "" } else { "." };
            format!("{whole}{dot}{rest} % are at or below it")
        }
    }
}

fn kind(key: &Key, name: &str) -> Kind {
    if name.ends_with("_total") {
        return Kind::Counter;
    }
    let is_reserved = ["_count", "_sum", "_bucket"].iter().any(|end| name.ends_with(end));
    match key.stat.as_deref() {
        Some("avg" | "min" | "max") if !is_reserved => Kind::Gauge,
        Some("cnt" | "sum") | None => Kind::Untyped,
        Some(_) if !is_reserved => Kind::Gauge,
        Some(_) => Kind::Untyped,
    }
}
