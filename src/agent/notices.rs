//! Turns what the source says of itself into log lines, metrics and the pipeline's condition.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::status::{Condition, Status};
use crate::metrics::{
    Ability, ClusterMetrics, QueueMetrics, ReadKind as ReadMetric, ReadResult as ReadResultMetric,
    SessionState as SessionMetric,
};
use crate::source::watch::{Notice, ReadKind, ReadResult, SessionState};

/// A failing connection is logged at once, then at most this often.
const CONNECT_LOG_EVERY: Duration = Duration::from_secs(30);
const PROGRESS_LOG_EVERY: Duration = Duration::from_secs(5);

/// Hears one source's notices. Called from the source's task: never waits.
pub struct Notices {
    cluster: String,
    metrics: ClusterMetrics,
    events: QueueMetrics,
    reads: QueueMetrics,
    status: Status,
    logged: Mutex<Logged>,
}

#[derive(Default)]
struct Logged {
    unusable: Vec<String>,
    failure: Option<(Instant, String)>,
    progress: Option<Instant>,
}

impl Notices {
    /// `queue_items_max` is the bound of the source's ordered queue.
    pub fn new(cluster: String, metrics: ClusterMetrics, status: Status, queue_items_max: usize) -> Self {
        let (events, reads) = (metrics.queue("events", queue_items_max), metrics.queue("reads", queue_items_max));
        Self { cluster, metrics, events, reads, status, logged: Mutex::default() }
    }

    pub fn hear(&self, notice: Notice) {
        let cluster = self.cluster.as_str();
        match notice {
            Notice::Notification(kind) => self.metrics.notifications(kind).inc(),
            Notice::Read(kind, result) => self.metrics.reads(read_kind(kind), read_result(result)).inc(),
            Notice::BudgetWait(wait) => self.metrics.read_budget_wait_seconds.inc_by(wait.as_secs_f64()),
            Notice::Queue { events, reads } => {
                self.events.depth.set(i64::try_from(events).unwrap_or(i64::MAX));
                self.reads.depth.set(i64::try_from(reads).unwrap_or(i64::MAX));
            }
            Notice::Connecting => {
                self.metrics.session_state(SessionMetric::Connecting);
                // A gap that is open stays the news until the tree is complete again.
                if self.status.get(cluster) != Some(Condition::Disconnected) {
                    self.status.set(cluster, Condition::Connecting);
                }
            }
            Notice::Unusable(causes) => {
                let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
                if !causes.is_empty() && logged.unusable != causes {
                    tracing::warn!(cluster, causes = causes.join(", "), "some servers cannot be used");
                }
                logged.unusable = causes;
            }
            Notice::Nobody(cause) => tracing::warn!(cluster, "{cause}"),
            Notice::StillLost(cause) => tracing::warn!(cluster, cause, "the connection does not come back"),
            Notice::ConnectFailed { cause, again_in } => self.connect_failed(cause, again_in),
            Notice::Session(state) => {
                self.metrics.session_state(session_metric(state));
                if state == SessionState::SyncConnected {
                    self.logged.lock().unwrap_or_else(PoisonError::into_inner).failure = None;
                    tracing::info!(cluster, "connected");
                } else {
                    tracing::warn!(cluster, %state, "session");
                }
            }
            // Recorded, not logged.
            Notice::SessionOpened { .. } => {}
            Notice::Armed => {
                self.metrics.ability(Ability::PersistentRecursive, true);
                tracing::info!(cluster, "persistent recursive watch armed");
            }
            Notice::EventZxids(yes) => {
                self.metrics.ability(Ability::EventZxids, yes);
                let mode = if yes { "placed by their own zxid" } else { "placed by reads and version arithmetic" };
                tracing::info!(cluster, event_zxids = yes, "notifications are {mode}");
            }
            Notice::NodePaths(yes) => {
                self.metrics.ability(Ability::NodePaths, yes);
                if !yes {
                    tracing::error!(
                        cluster,
                        "the server names the watched path in its notifications instead of the znode's own: changes \
                         below it are found by rescans only, with their gaps. Upgrade the server"
                    );
                }
            }
            Notice::MultiRead(yes) => {
                self.metrics.ability(Ability::MultiRead, yes);
                if !yes {
                    tracing::warn!(cluster, "the server has no multi-read: the tree is read one znode at a time");
                }
            }
            Notice::Refused { action, cause } => {
                tracing::warn!(cluster, action, cause, "the session could not be armed; it begins anew");
            }
            Notice::BadPath(path) => tracing::warn!(cluster, path, "a notification names no path: ignored"),
            Notice::ScanStarted(reason) => tracing::info!(cluster, reason = reason.as_str(), "reading the tree"),
            Notice::ScanProgress { znodes, waiting } => {
                let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
                if logged.progress.is_none_or(|at| at.elapsed() >= PROGRESS_LOG_EVERY) {
                    logged.progress = Some(Instant::now());
                    tracing::info!(cluster, znodes, waiting, "reading the tree");
                }
            }
            Notice::ScanFinished => {}
            Notice::Overrun => {
                self.metrics.overruns.inc();
                tracing::error!(cluster, "notifications came faster than they could be taken: a gap, then a rescan");
            }
        }
    }

    fn connect_failed(&self, cause: String, again_in: Duration) {
        self.metrics.session_state(SessionMetric::Disconnected);
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let news =
            logged.failure.as_ref().is_none_or(|(at, before)| *before != cause || at.elapsed() >= CONNECT_LOG_EVERY);
        if news {
            tracing::warn!(cluster = self.cluster, cause, ?again_in, "no connection");
            logged.failure = Some((Instant::now(), cause));
        }
    }
}

fn session_metric(state: SessionState) -> SessionMetric {
    match state {
        SessionState::SyncConnected | SessionState::ConnectedReadOnly => SessionMetric::Connected,
        SessionState::Disconnected => SessionMetric::Disconnected,
        SessionState::Expired => SessionMetric::Expired,
        SessionState::AuthFailed => SessionMetric::AuthFailed,
        SessionState::Closed => SessionMetric::Closed,
    }
}

fn read_kind(kind: ReadKind) -> ReadMetric {
    match kind {
        ReadKind::GetData => ReadMetric::GetData,
        ReadKind::GetChildren => ReadMetric::GetChildren,
        ReadKind::Exists => ReadMetric::Exists,
        ReadKind::GetAcl => ReadMetric::GetAcl,
        ReadKind::MultiRead => ReadMetric::MultiRead,
        ReadKind::Sync => ReadMetric::Sync,
    }
}

fn read_result(result: ReadResult) -> ReadResultMetric {
    match result {
        ReadResult::Ok => ReadResultMetric::Ok,
        ReadResult::NoNode => ReadResultMetric::NoNode,
        ReadResult::NoAuth => ReadResultMetric::NoAuth,
        ReadResult::Failed => ReadResultMetric::Failed,
    }
}
