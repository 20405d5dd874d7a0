//! Every metric: its name, what it tells an operator, its labels.

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Def {
    pub name: &'static str,
    pub help: &'static str,
    pub labels: &'static [&'static str],
    /// Upper bounds of a histogram's buckets; empty for all others.
    pub buckets: &'static [f64],
}

macro_rules! metrics {
    ($($constant:ident $name:literal [$($label:literal),*] $(buckets $buckets:ident)? $help:literal)+) => {
        $(pub(super) const $constant: Def = Def {
            name: concat!("zktrail_", $name),
            help: $help,
            labels: &[$($label),*],
            buckets: metrics!(@buckets $($buckets)?),
        };)+

        /// All metrics of the agent, but those of the process, which the client library names.
        pub const ALL: &[Def] = &[$($constant),+];
    };
    (@buckets) => { &[] };
    (@buckets $buckets:ident) => { $buckets };
}

const FAST: &[f64] = &[0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0];
const MEDIUM: &[f64] = &[0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0];
const SLOW: &[f64] = &[0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0];

metrics! {
    BUILD_INFO "build_info" ["version"]
        "Always 1; the label tells the version that runs."

    SESSION_STATE "session_state" ["cluster", "state"]
        "1 for the state that the session with the ensemble is in, 0 for the others."
    SOURCE_MODE "source_mode" ["cluster", "ability"]
        "1 where the connected server has this ability, as probed at the start; without event_zxids some rows stay without a zxid."
    LEADER_SEEN "leader_seen" ["cluster"]
        "1 while the session is connected, or a server says that it serves; 0 where none does: no quorum, or out of reach."
    RECORDING "recording" ["cluster"]
        "1 while the history is open for writing, also during a gap; 0 while recording is paused: a full disk, a failed write, a mistaken host."
    NOTIFICATIONS "notifications_total" ["cluster", "kind"]
        "Watch notifications that the server sent."
    CHANGES "changes_total" ["cluster", "kind", "evidence"]
        "Changes recorded, by what happened and by how it is known."
    MISSED "missed_total" ["cluster"]
        "Changes that version arithmetic proves to have happened but that have no row of their own."
    UNREADABLE_PATHS "unreadable_paths" ["cluster"]
        "Znodes that cannot be read (no permission, or too large) and so are not covered."

    SERVER_SAMPLE_SUCCESS "server_sample_success" ["cluster", "zk_host", "word"]
        "1 where the server answered when it was last asked this way, 0 where it did not or refused: four-letter words, monitor (AdminServer) or metrics (its own Prometheus provider)."
    SERVER_SAMPLE_DURATION "server_sample_duration_seconds" ["cluster", "zk_host", "word"]
        "How long the server took to answer when it was last asked this way, or to be given up."
    SERVER_SERIES_DROPPED "server_series_dropped" ["cluster", "zk_host"]
        "Series of the server's last sample that are not exported: beyond the bound, or without a usable name."
    ENSEMBLE_VOTERS "ensemble_voters" ["cluster"]
        "Voting members by /zookeeper/config, or the listed servers where it is not known."
    ENSEMBLE_VOTERS_SERVING "ensemble_voters_serving" ["cluster"]
        "Of the voting members, those that say that they lead, follow or stand alone."

    SERVER_LAST_ZXID "server_last_zxid" ["cluster"]
        "The greatest zxid heard of from the ensemble."
    RECORDED_LAST_ZXID "recorded_last_zxid" ["cluster"]
        "The greatest zxid that is durably recorded."
    CAPTURE_LAG_SECONDS "capture_lag_seconds" ["cluster"]
        "From the commit by the server's clock to the durable record by the agent's, of the last recorded change; clock differences are in it."
    RECORD_SECONDS "record_seconds" ["cluster"] buckets FAST
        "From hearing of a change to its durable record, by the agent's clock."

    OBSERVED "observed_timestamp_seconds" ["cluster"]
        "Until when the ensemble is known to have been observed; stands still in a gap, 0 where it never was."
    GAP_OPEN "gap_open" ["cluster"]
        "1 while the ensemble is not observed."
    GAPS "gaps_total" ["cluster", "reason"]
        "Gaps in what was observed that began while the agent was running, by why."
    GAP_SECONDS "gap_seconds_total" ["cluster"]
        "Seconds during which the ensemble was not observed, while the agent was running; the table gaps has all of it."
    RESCANS "rescans_total" ["cluster", "reason"]
        "Full reads of the tree, by what made them necessary."
    RESCAN_SECONDS "rescan_seconds" ["cluster"] buckets SLOW
        "How long full reads of the tree took."
    OVERRUNS "overruns_total" ["cluster"]
        "How often a bounded queue was full, so that the source was cut with a gap."

    ZNODES "znodes" ["cluster"]
        "Znodes in the tree as it is known."
    EPHEMERALS "ephemerals" ["cluster"]
        "Ephemeral znodes in the tree as it is known."
    DATA_BYTES "data_bytes" ["cluster"]
        "Bytes of all values in the tree as it is known."
    EPHEMERAL_SESSIONS "ephemeral_sessions" ["cluster"]
        "Sessions that hold an ephemeral znode of the tree as it is known."
    LARGEST_ZNODE_BYTES "largest_znode_bytes" ["cluster"]
        "Length of the longest value in the tree as it is known."
    LARGEST_CHILDREN_BYTES "largest_children_bytes" ["cluster"]
        "Length of the longest answer to getChildren that the tree would give now: 4 bytes, and 4 and its name for each child."
    JUTE_MAXBUFFER_BYTES "jute_maxbuffer_bytes" ["cluster"]
        "The jute.maxbuffer of the ensemble, as the agent was told (jute_maxbuffer): longer requests and answers fail."

    SUBTREE_ZNODES "subtree_znodes" ["cluster", "prefix"]
        "Znodes beneath a listed prefix, itself included, less what a longer listed one holds; the rest is under `other`."
    SUBTREE_BYTES "subtree_bytes" ["cluster", "prefix"]
        "Bytes of the values beneath a listed prefix, itself included."
    SUBTREE_EPHEMERALS "subtree_ephemerals" ["cluster", "prefix"]
        "Ephemeral znodes beneath a listed prefix."
    SUBTREE_CHANGES "subtree_changes_total" ["cluster", "prefix", "kind"]
        "Changes recorded beneath a listed prefix, itself included, by what happened."
    SUBTREE_LAST_CHANGE "subtree_last_change_timestamp_seconds" ["cluster", "prefix"]
        "The latest time at which anything beneath a listed prefix is known to have been committed; 0 where nothing is known."
    SUBTREE_FLAPS "subtree_flaps_total" ["cluster", "prefix"]
        "Ephemerals created beneath a listed prefix where one of the same path was deleted within the last 10 minutes."
    CONFIG_CHANGES "config_changes_total" ["cluster", "prefix"]
        "Changes recorded beneath a prefix listed as configuration (config_subtree); what is known to be ephemeral is left out."

    READS "reads_total" ["cluster", "kind", "outcome"]
        "Read requests to the ensemble, by kind and by how they ended. A multi-read counts once."
    READ_BUDGET_ZNODES "read_budget_znodes_per_second" ["cluster"]
        "The most znodes a second that scans may read; 0 is no bound."
    READ_BUDGET_BYTES "read_budget_bytes_per_second" ["cluster"]
        "The most bytes a second that scans may read; 0 is no bound."
    READ_BUDGET_WAIT_SECONDS "read_budget_wait_seconds_total" ["cluster"]
        "Seconds that scans waited for their budget."

    CONNECTION_SAMPLES "connection_samples_total" ["cluster", "outcome"]
        "Servers asked who is connected, by how that ended: refused where cons is not on the server's whitelist."
    SESSIONS_CONNECTED "sessions_connected" ["cluster"]
        "Sessions that the servers listed when they were last asked; those whose server did not answer are not in it."

    TXNLOG_COMPLETE "txnlog_complete_timestamp_seconds" ["cluster"]
        "When the followed transaction log was last worked in as far as the ensemble had committed by then; 0 where none is followed."

    QUEUE_DEPTH "queue_depth" ["cluster", "queue"]
        "Entries waiting in a bounded queue."
    QUEUE_CAPACITY "queue_capacity" ["cluster", "queue"]
        "The bound of a queue; reaching it cuts the source with a gap."

    WAL_BYTES "wal_bytes" ["cluster"]
        "Bytes of write-ahead log on disk."
    WAL_FRAMES "wal_frames_total" ["cluster"]
        "Frames written to the write-ahead log; each is one group commit."
    WAL_FSYNC_SECONDS "wal_fsync_seconds" ["cluster"] buckets FAST
        "How long fsyncs of the write-ahead log took."
    FLUSHES "flushes_total" ["cluster"]
        "Flushes of recorded changes to Parquet parts."
    FLUSH_SECONDS "flush_seconds" ["cluster"] buckets MEDIUM
        "How long flushes took."
    HEAD_ROWS "head_rows" ["cluster", "table"]
        "Rows that are recorded and not yet in Parquet parts; they are held in memory."
    PARTS "parts" ["cluster", "table"]
        "Parquet parts on disk."
    PART_BYTES "part_bytes" ["cluster", "table"]
        "Bytes of Parquet parts on disk."
    SNAPSHOT "snapshot_timestamp_seconds" ["cluster"]
        "When the newest snapshot on disk was taken; 0 where there is none."
    RETENTION_REMOVED_BYTES "retention_removed_bytes_total" ["cluster"]
        "Bytes of recorded history that retention removed, about."
    UPKEEP_FAILURES "upkeep_failures_total" ["cluster", "what"]
        "Compactions of a day, or runs of retention, that failed; they are tried again."

    DISK_FREE_BYTES "disk_free_bytes" []
        "Free bytes on the disk that holds the history."
    DISK_FLOOR_BYTES "disk_floor_bytes" []
        "Free bytes below which recording stops."
    QUERIES "queries_total" ["outcome"]
        "Queries, by how they ended."
    QUERY_SECONDS "query_seconds" [] buckets MEDIUM
        "How long queries took, also refused ones."
    DOOR_QUERIES "door_queries_total" ["door", "outcome"]
        "Queries that came through a door, by how they ended."
    LOGIN_FAILURES "login_failures_total" ["door", "reason"]
        "Logins that failed: wrong for a wrong name or password, too_many where the address had failed too often."
    ACCESS_LOG_LOST "access_log_lost_total" []
        "Lines of the access log that could not be written."
    RELOADS "reloads_total" ["what", "outcome"]
        "What SIGHUP made the agent read again; where that failed the old stays."
    CERTIFICATE_EXPIRY "certificate_expiry_timestamp_seconds" []
        "When the doors' certificate expires; 0 where there is none."
    CLIENT_CERTIFICATE_EXPIRY "client_certificate_expiry_timestamp_seconds" ["cluster"]
        "When the certificate expires that the agent shows to an ensemble; 0 where it shows none."
    QUERIES_RUNNING "queries_running" []
        "Queries that run now."
    POSTGRES_CONNECTIONS "postgres_connections" []
        "Sessions of the PostgreSQL door that are open."
    POSTGRES_REFUSED "postgres_refused_total" []
        "Connections to the PostgreSQL door that were refused because too many were open."
}
