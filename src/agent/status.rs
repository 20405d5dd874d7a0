//! What each ensemble's pipeline is doing, for `/readyz`, the log and the metrics.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// One pipeline's condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Opening the history: recovering what a crash left.
    Opening,
    Connecting,
    /// Reading the whole tree.
    Scanning,
    /// Watching: every change is recorded.
    Live,
    /// Watching, but the scope does not exist.
    NoScope(String),
    /// Not connected: a gap is open.
    Disconnected,
    /// Nothing is recorded until something changes; the pipeline tries again by itself.
    Paused(String),
    /// Stopped for good: the operator has to do something.
    Failed(String),
    Stopped,
}

impl Condition {
    pub fn is_ready(&self) -> bool {
        *self == Self::Live
    }

    /// Whether the pipeline has its history open, connected or not.
    pub fn is_recording(&self) -> bool {
        matches!(self, Self::Connecting | Self::Scanning | Self::Live | Self::NoScope(_) | Self::Disconnected)
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opening => f.write_str("opening the history"),
            Self::Connecting => f.write_str("connecting"),
            Self::Scanning => f.write_str("reading the tree"),
            Self::Live => f.write_str("recording"),
            Self::NoScope(scope) => write!(f, "{scope} does not exist: check the chroot, or wait until it is created"),
            Self::Disconnected => f.write_str("disconnected"),
            Self::Paused(cause) => write!(f, "recording paused: {cause}"),
            Self::Failed(cause) => write!(f, "failed: {cause}"),
            Self::Stopped => f.write_str("stopped"),
        }
    }
}

/// Every pipeline's condition. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Status {
    conditions: Arc<Mutex<BTreeMap<String, Condition>>>,
}

impl Status {
    /// Sets a condition; tells whether it is another than before.
    pub fn set(&self, cluster: &str, condition: Condition) -> bool {
        let mut conditions = self.conditions.lock().unwrap_or_else(PoisonError::into_inner);
        let before = conditions.insert(cluster.to_owned(), condition.clone());
        before != Some(condition)
    }

    pub fn get(&self, cluster: &str) -> Option<Condition> {
        self.conditions.lock().unwrap_or_else(PoisonError::into_inner).get(cluster).cloned()
    }

    /// All of them, by cluster.
    pub fn all(&self) -> Vec<(String, Condition)> {
        let conditions = self.conditions.lock().unwrap_or_else(PoisonError::into_inner);
        conditions.iter().map(|(cluster, condition)| (cluster.clone(), condition.clone())).collect()
    }
}
