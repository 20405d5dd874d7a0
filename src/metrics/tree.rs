use std::sync::Arc;

use prometheus::{Gauge, GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};

use super::{Subtrees, gauges, int_counters, int_gauges, names};
use crate::zk::{ChangeKind, Micros};

/// The families of what an ensemble holds.
pub(super) struct Families {
    znodes: IntGaugeVec,
    ephemerals: IntGaugeVec,
    ephemeral_sessions: IntGaugeVec,
    data_bytes: IntGaugeVec,
    largest_znode_bytes: IntGaugeVec,
    largest_children_bytes: IntGaugeVec,
    jute_maxbuffer_bytes: IntGaugeVec,
    subtree_znodes: IntGaugeVec,
    subtree_bytes: IntGaugeVec,
    subtree_ephemerals: IntGaugeVec,
    subtree_changes: IntCounterVec,
    subtree_last_change: GaugeVec,
    subtree_flaps: IntCounterVec,
    config_changes: IntCounterVec,
}

impl Families {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            znodes: int_gauges(registry, &names::ZNODES)?,
            ephemerals: int_gauges(registry, &names::EPHEMERALS)?,
            ephemeral_sessions: int_gauges(registry, &names::EPHEMERAL_SESSIONS)?,
            data_bytes: int_gauges(registry, &names::DATA_BYTES)?,
            largest_znode_bytes: int_gauges(registry, &names::LARGEST_ZNODE_BYTES)?,
            largest_children_bytes: int_gauges(registry, &names::LARGEST_CHILDREN_BYTES)?,
            jute_maxbuffer_bytes: int_gauges(registry, &names::JUTE_MAXBUFFER_BYTES)?,
            subtree_znodes: int_gauges(registry, &names::SUBTREE_ZNODES)?,
            subtree_bytes: int_gauges(registry, &names::SUBTREE_BYTES)?,
            subtree_ephemerals: int_gauges(registry, &names::SUBTREE_EPHEMERALS)?,
            subtree_changes: int_counters(registry, &names::SUBTREE_CHANGES)?,
            subtree_last_change: gauges(registry, &names::SUBTREE_LAST_CHANGE)?,
            subtree_flaps: int_counters(registry, &names::SUBTREE_FLAPS)?,
            config_changes: int_counters(registry, &names::CONFIG_CHANGES)?,
        })
    }
}

/// The prefixes that the operator has listed: those that are counted, and those that are configuration.
#[derive(Clone, Debug, Default)]
pub struct Prefixes {
    pub subtrees: Arc<Subtrees>,
    pub config: Arc<Subtrees>,
}

/// One ensemble's series of what it holds.
#[derive(Debug)]
pub struct TreeMetrics {
    prefixes: Prefixes,
    pub znodes: IntGauge,
    pub ephemerals: IntGauge,
    pub ephemeral_sessions: IntGauge,
    pub data_bytes: IntGauge,
    pub largest_znode_bytes: IntGauge,
    pub largest_children_bytes: IntGauge,
    pub jute_maxbuffer_bytes: IntGauge,
    subtrees: Vec<SubtreeMetrics>,
    config_changes: Vec<IntCounter>,
}

/// The series of one listed prefix, or of all other paths.
#[derive(Debug)]
pub struct SubtreeMetrics {
    pub znodes: IntGauge,
    pub bytes: IntGauge,
    pub ephemerals: IntGauge,
    pub flaps: IntCounter,
    changes: Vec<IntCounter>,
    last_change: Gauge,
}

impl TreeMetrics {
    pub(super) fn new(families: &Families, cluster: &str, prefixes: Prefixes) -> Self {
        let one = [cluster];
        let subtree = |prefix| {
            let labels = [cluster, prefix];
            SubtreeMetrics {
                znodes: families.subtree_znodes.with_label_values(&labels),
                bytes: families.subtree_bytes.with_label_values(&labels),
                ephemerals: families.subtree_ephemerals.with_label_values(&labels),
                flaps: families.subtree_flaps.with_label_values(&labels),
                changes: ChangeKind::ALL
                    .iter()
                    .map(|kind| families.subtree_changes.with_label_values(&[cluster, prefix, kind.as_str()]))
                    .collect(),
                last_change: families.subtree_last_change.with_label_values(&labels),
            }
        };
        let config = |prefix| families.config_changes.with_label_values(&[cluster, prefix]);
        Self {
            znodes: families.znodes.with_label_values(&one),
            ephemerals: families.ephemerals.with_label_values(&one),
            ephemeral_sessions: families.ephemeral_sessions.with_label_values(&one),
            data_bytes: families.data_bytes.with_label_values(&one),
            largest_znode_bytes: families.largest_znode_bytes.with_label_values(&one),
            largest_children_bytes: families.largest_children_bytes.with_label_values(&one),
            jute_maxbuffer_bytes: families.jute_maxbuffer_bytes.with_label_values(&one),
            subtrees: prefixes.subtrees.labels().map(subtree).collect(),
            config_changes: prefixes.config.prefixes().map(config).collect(),
            prefixes,
        }
    }

    /// The prefixes that are counted.
    pub fn subtrees(&self) -> &Arc<Subtrees> {
        &self.prefixes.subtrees
    }

    /// The series at a place among [`Subtrees::labels`].
    pub fn subtree_at(&self, place: usize) -> Option<&SubtreeMetrics> {
        self.subtrees.get(place)
    }

    /// The changes of the longest configuration prefix that holds this path, where one does.
    pub fn config_changes(&self, path: &str) -> Option<&IntCounter> {
        self.config_changes.get(self.prefixes.config.place(path))
    }
}

impl SubtreeMetrics {
    pub fn changes(&self, kind: ChangeKind) -> &IntCounter {
        &self.changes[kind as usize]
    }

    /// Something is known to have been committed then. The last such time never goes back.
    pub fn changed_at(&self, time: Micros) {
        self.last_change.set(self.last_change.get().max(time.0 as f64 / 1e6));
    }
}
