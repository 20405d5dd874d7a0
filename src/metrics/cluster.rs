use std::ops::Deref;
use std::sync::Arc;

use prometheus::{
    Counter, CounterVec, Gauge, GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Registry,
};

use super::history::{self, HistoryMetrics};
use super::tree::{self, Prefixes, TreeMetrics};
use super::{counters, gauges, histograms, int_counters, int_gauges, names};
use crate::zk::{ChangeKind, EventKind, Evidence, Micros, ScanReason};

macro_rules! labels {
    ($(#[$meta:meta])* $type:ident { $($variant:ident => $name:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $type { $($variant),+ }

        impl $type {
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The label's value.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }
    };
}

labels! {
    /// What the session with an ensemble is doing.
    SessionState {
        Connecting => "connecting",
        Connected => "connected",
        Disconnected => "disconnected",
        Expired => "expired",
        AuthFailed => "auth_failed",
        Closed => "closed",
    }
}

labels! {
    /// What a server was found to be able to do.
    Ability {
        EventZxids => "event_zxids",
        PersistentRecursive => "persistent_recursive",
        NodePaths => "node_paths",
        MultiRead => "multi_read",
    }
}

labels! {
    /// What was asked of a server.
    ReadKind {
        GetData => "get_data",
        GetChildren => "get_children",
        Exists => "exists",
        GetAcl => "get_acl",
        MultiRead => "multi_read",
        Sync => "sync",
    }
}

labels! {
    /// How a read ended.
    ReadResult { Ok => "ok", NoNode => "no_node", NoAuth => "no_auth", Failed => "failed" }
}

labels! {
    /// How it ended that a server was asked who is connected.
    SampleOutcome { Ok => "ok", Refused => "refused", Failed => "failed" }
}

const EVENT_KINDS: [EventKind; 3] = [EventKind::Created, EventKind::DataChanged, EventKind::Deleted];

const SCAN_REASONS: [ScanReason; 5] =
    [ScanReason::Bootstrap, ScanReason::Start, ScanReason::Reconnect, ScanReason::NewSession, ScanReason::Overrun];

/// The families whose series belong to a cluster.
pub(super) struct Families {
    session_state: IntGaugeVec,
    source_mode: IntGaugeVec,
    leader_seen: IntGaugeVec,
    recording: IntGaugeVec,
    notifications: IntCounterVec,
    changes: IntCounterVec,
    missed: IntCounterVec,
    unreadable_paths: IntGaugeVec,
    server_last_zxid: IntGaugeVec,
    recorded_last_zxid: IntGaugeVec,
    capture_lag_seconds: GaugeVec,
    record_seconds: HistogramVec,
    observed: GaugeVec,
    gap_open: IntGaugeVec,
    gap_seconds: CounterVec,
    rescans: IntCounterVec,
    rescan_seconds: HistogramVec,
    overruns: IntCounterVec,
    tree: tree::Families,
    history: history::Families,
    reads: IntCounterVec,
    read_budget_znodes: IntGaugeVec,
    read_budget_bytes: IntGaugeVec,
    read_budget_wait_seconds: CounterVec,
    connection_samples: IntCounterVec,
    sessions_connected: IntGaugeVec,
    txnlog_complete: IntGaugeVec,
    queue_depth: IntGaugeVec,
    queue_capacity: IntGaugeVec,
    wal_bytes: IntGaugeVec,
    wal_frames: IntCounterVec,
    wal_fsync_seconds: HistogramVec,
    flushes: IntCounterVec,
    flush_seconds: HistogramVec,
}

impl Families {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            session_state: int_gauges(registry, &names::SESSION_STATE)?,
            source_mode: int_gauges(registry, &names::SOURCE_MODE)?,
            leader_seen: int_gauges(registry, &names::LEADER_SEEN)?,
            recording: int_gauges(registry, &names::RECORDING)?,
            notifications: int_counters(registry, &names::NOTIFICATIONS)?,
            changes: int_counters(registry, &names::CHANGES)?,
            missed: int_counters(registry, &names::MISSED)?,
            unreadable_paths: int_gauges(registry, &names::UNREADABLE_PATHS)?,
            server_last_zxid: int_gauges(registry, &names::SERVER_LAST_ZXID)?,
            recorded_last_zxid: int_gauges(registry, &names::RECORDED_LAST_ZXID)?,
            capture_lag_seconds: gauges(registry, &names::CAPTURE_LAG_SECONDS)?,
            record_seconds: histograms(registry, &names::RECORD_SECONDS)?,
            observed: gauges(registry, &names::OBSERVED)?,
            gap_open: int_gauges(registry, &names::GAP_OPEN)?,
            gap_seconds: counters(registry, &names::GAP_SECONDS)?,
            rescans: int_counters(registry, &names::RESCANS)?,
            rescan_seconds: histograms(registry, &names::RESCAN_SECONDS)?,
            overruns: int_counters(registry, &names::OVERRUNS)?,
            tree: tree::Families::new(registry)?,
            history: history::Families::new(registry)?,
            reads: int_counters(registry, &names::READS)?,
            read_budget_znodes: int_gauges(registry, &names::READ_BUDGET_ZNODES)?,
            read_budget_bytes: int_gauges(registry, &names::READ_BUDGET_BYTES)?,
            read_budget_wait_seconds: counters(registry, &names::READ_BUDGET_WAIT_SECONDS)?,
            connection_samples: int_counters(registry, &names::CONNECTION_SAMPLES)?,
            sessions_connected: int_gauges(registry, &names::SESSIONS_CONNECTED)?,
            txnlog_complete: int_gauges(registry, &names::TXNLOG_COMPLETE)?,
            queue_depth: int_gauges(registry, &names::QUEUE_DEPTH)?,
            queue_capacity: int_gauges(registry, &names::QUEUE_CAPACITY)?,
            wal_bytes: int_gauges(registry, &names::WAL_BYTES)?,
            wal_frames: int_counters(registry, &names::WAL_FRAMES)?,
            wal_fsync_seconds: histograms(registry, &names::WAL_FSYNC_SECONDS)?,
            flushes: int_counters(registry, &names::FLUSHES)?,
            flush_seconds: histograms(registry, &names::FLUSH_SECONDS)?,
        })
    }
}

/// One ensemble's series. Cheap to clone; the fields of [`ClusterSeries`] are its metrics.
#[derive(Clone, Debug)]
pub struct ClusterMetrics(Arc<ClusterSeries>);

impl Deref for ClusterMetrics {
    type Target = ClusterSeries;

    fn deref(&self) -> &ClusterSeries {
        &self.0
    }
}

/// The series themselves, looked up once: counting is one atomic step.
#[derive(Debug)]
pub struct ClusterSeries {
    name: String,
    pub tree: TreeMetrics,
    pub history: HistoryMetrics,
    session_state: Vec<IntGauge>,
    source_mode: Vec<IntGauge>,
    notifications: Vec<IntCounter>,
    changes: Vec<Vec<IntCounter>>,
    rescans: Vec<IntCounter>,
    reads: Vec<Vec<IntCounter>>,
    connection_samples: Vec<IntCounter>,
    queue_depth: IntGaugeVec,
    queue_capacity: IntGaugeVec,
    read_budget_znodes: IntGauge,
    read_budget_bytes: IntGauge,
    pub leader_seen: IntGauge,
    pub recording: IntGauge,
    pub missed: IntCounter,
    pub unreadable_paths: IntGauge,
    pub server_last_zxid: IntGauge,
    pub recorded_last_zxid: IntGauge,
    pub capture_lag_seconds: Gauge,
    pub record_seconds: Histogram,
    observed: Gauge,
    pub gap_open: IntGauge,
    pub gap_seconds: Counter,
    pub rescan_seconds: Histogram,
    pub overruns: IntCounter,
    pub read_budget_wait_seconds: Counter,
    pub sessions_connected: IntGauge,
    pub txnlog_complete: IntGauge,
    pub wal_bytes: IntGauge,
    pub wal_frames: IntCounter,
    pub wal_fsync_seconds: Histogram,
    pub flushes: IntCounter,
    pub flush_seconds: Histogram,
}

/// The series of one bounded queue.
#[derive(Clone, Debug)]
pub struct QueueMetrics {
    pub depth: IntGauge,
    pub capacity: IntGauge,
}

impl ClusterMetrics {
    pub(super) fn new(families: &Families, cluster: &str, prefixes: Prefixes) -> Self {
        let one = [cluster];
        let series = ClusterSeries {
            session_state: each(SessionState::ALL, |s| {
                families.session_state.with_label_values(&[cluster, s.as_str()])
            }),
            source_mode: each(Ability::ALL, |a| families.source_mode.with_label_values(&[cluster, a.as_str()])),
            notifications: each(&EVENT_KINDS, |k| families.notifications.with_label_values(&[cluster, event_name(*k)])),
            changes: each(ChangeKind::ALL, |kind| {
                let series = |e: &Evidence| families.changes.with_label_values(&[cluster, kind.as_str(), e.as_str()]);
                each(Evidence::ALL, series)
            }),
            rescans: each(&SCAN_REASONS, |reason| families.rescans.with_label_values(&[cluster, reason.as_str()])),
            reads: each(ReadKind::ALL, |kind| {
                each(ReadResult::ALL, |r| families.reads.with_label_values(&[cluster, kind.as_str(), r.as_str()]))
            }),
            connection_samples: each(SampleOutcome::ALL, |outcome| {
                families.connection_samples.with_label_values(&[cluster, outcome.as_str()])
            }),
            queue_depth: families.queue_depth.clone(),
            queue_capacity: families.queue_capacity.clone(),
            read_budget_znodes: families.read_budget_znodes.with_label_values(&one),
            read_budget_bytes: families.read_budget_bytes.with_label_values(&one),
            leader_seen: families.leader_seen.with_label_values(&one),
            recording: families.recording.with_label_values(&one),
            missed: families.missed.with_label_values(&one),
            unreadable_paths: families.unreadable_paths.with_label_values(&one),
            server_last_zxid: families.server_last_zxid.with_label_values(&one),
            recorded_last_zxid: families.recorded_last_zxid.with_label_values(&one),
            capture_lag_seconds: families.capture_lag_seconds.with_label_values(&one),
            record_seconds: families.record_seconds.with_label_values(&one),
            observed: families.observed.with_label_values(&one),
            gap_open: families.gap_open.with_label_values(&one),
            gap_seconds: families.gap_seconds.with_label_values(&one),
            rescan_seconds: families.rescan_seconds.with_label_values(&one),
            overruns: families.overruns.with_label_values(&one),
            read_budget_wait_seconds: families.read_budget_wait_seconds.with_label_values(&one),
            sessions_connected: families.sessions_connected.with_label_values(&one),
            txnlog_complete: families.txnlog_complete.with_label_values(&one),
            wal_bytes: families.wal_bytes.with_label_values(&one),
            wal_frames: families.wal_frames.with_label_values(&one),
            wal_fsync_seconds: families.wal_fsync_seconds.with_label_values(&one),
            flushes: families.flushes.with_label_values(&one),
            flush_seconds: families.flush_seconds.with_label_values(&one),
            name: cluster.to_owned(),
            tree: TreeMetrics::new(&families.tree, cluster, prefixes),
            history: HistoryMetrics::new(&families.history, cluster),
        };
        Self(Arc::new(series))
    }
}

impl ClusterSeries {
    /// Sets this state's series to 1 and the others to 0.
    pub fn session_state(&self, state: SessionState) {
        for (series, of) in self.session_state.iter().zip(SessionState::ALL) {
            series.set(i64::from(*of == state));
        }
    }

    /// Whether the session is connected now: only a server that follows a leader, or leads, keeps one.
    pub fn is_connected(&self) -> bool {
        self.session_state.get(SessionState::Connected as usize).is_some_and(|series| series.get() == 1)
    }

    /// What the probe found.
    pub fn ability(&self, ability: Ability, has: bool) {
        self.source_mode[ability as usize].set(i64::from(has));
    }

    pub fn notifications(&self, kind: EventKind) -> &IntCounter {
        let place = match kind {
            EventKind::Created => 0,
            EventKind::DataChanged => 1,
            EventKind::Deleted => 2,
        };
        &self.notifications[place]
    }

    pub fn changes(&self, kind: ChangeKind, evidence: Evidence) -> &IntCounter {
        &self.changes[kind as usize][evidence as usize]
    }

    pub fn rescans(&self, reason: ScanReason) -> &IntCounter {
        let place = match reason {
            ScanReason::Bootstrap => 0,
            ScanReason::Start => 1,
            ScanReason::Reconnect => 2,
            ScanReason::NewSession => 3,
            ScanReason::Overrun => 4,
        };
        &self.rescans[place]
    }

    pub fn reads(&self, kind: ReadKind, result: ReadResult) -> &IntCounter {
        &self.reads[kind as usize][result as usize]
    }

    /// Servers asked who is connected.
    pub fn connection_samples(&self, outcome: SampleOutcome) -> &IntCounter {
        &self.connection_samples[outcome as usize]
    }

    /// The scans' budget; `None` is no bound, shown as 0.
    pub fn read_budget(&self, znodes_per_second: Option<u64>, bytes_per_second: Option<u64>) {
        let shown = |bound: Option<u64>| i64::try_from(bound.unwrap_or(0)).unwrap_or(i64::MAX);
        self.read_budget_znodes.set(shown(znodes_per_second));
        self.read_budget_bytes.set(shown(bytes_per_second));
    }

    /// Until when the ensemble is known to have been observed. Never goes back.
    pub fn observed_until(&self, time: Micros) {
        self.observed.set(self.observed.get().max(time.0 as f64 / 1e6));
    }

    /// The series of one bounded queue: take them once, where the queue is made.
    pub fn queue(&self, queue: &'static str, capacity: usize) -> QueueMetrics {
        let labels = [self.name.as_str(), queue];
        let metrics = QueueMetrics {
            depth: self.queue_depth.with_label_values(&labels),
            capacity: self.queue_capacity.with_label_values(&labels),
        };
        metrics.capacity.set(i64::try_from(capacity).unwrap_or(i64::MAX));
        metrics
    }
}

fn each<T, M>(values: &[T], series: impl Fn(&T) -> M) -> Vec<M> {
    values.iter().map(series).collect()
}

fn event_name(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Created => "created",
        EventKind::DataChanged => "data_changed",
        EventKind::Deleted => "deleted",
    }
}
