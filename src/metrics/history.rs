use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};

use super::{int_counters, int_gauges, names};
use crate::zk::Ended;

/// Why a gap may begin while the agent lives.
const GAP_REASONS: [Ended; 7] = [
    Ended::Stopped,
    Ended::Disconnected,
    Ended::SessionExpired,
    Ended::AuthFailed,
    Ended::Overrun,
    Ended::DiskFull,
    Ended::WriteFailed,
];

/// The families of what is kept of an ensemble, and of what it lacks.
pub(super) struct Families {
    gaps: IntCounterVec,
    head_rows: IntGaugeVec,
    parts: IntGaugeVec,
    part_bytes: IntGaugeVec,
    snapshot: IntGaugeVec,
    retention_removed_bytes: IntCounterVec,
    upkeep_failures: IntCounterVec,
}

impl Families {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            gaps: int_counters(registry, &names::GAPS)?,
            head_rows: int_gauges(registry, &names::HEAD_ROWS)?,
            parts: int_gauges(registry, &names::PARTS)?,
            part_bytes: int_gauges(registry, &names::PART_BYTES)?,
            snapshot: int_gauges(registry, &names::SNAPSHOT)?,
            retention_removed_bytes: int_counters(registry, &names::RETENTION_REMOVED_BYTES)?,
            upkeep_failures: int_counters(registry, &names::UPKEEP_FAILURES)?,
        })
    }
}

/// One ensemble's series of what is kept.
#[derive(Debug)]
pub struct HistoryMetrics {
    cluster: String,
    gaps: Vec<IntCounter>,
    head_rows: IntGaugeVec,
    parts: IntGaugeVec,
    part_bytes: IntGaugeVec,
    /// Seconds since 1970.
    pub snapshot: IntGauge,
    pub retention_removed_bytes: IntCounter,
    pub compaction_failures: IntCounter,
    pub retention_failures: IntCounter,
}

/// The series of one table.
#[derive(Clone, Debug)]
pub struct TableMetrics {
    pub head_rows: IntGauge,
    pub parts: IntGauge,
    pub bytes: IntGauge,
}

impl HistoryMetrics {
    pub(super) fn new(families: &Families, cluster: &str) -> Self {
        let failures = |what| families.upkeep_failures.with_label_values(&[cluster, what]);
        let gaps = |reason: &Ended| families.gaps.with_label_values(&[cluster, reason.as_str()]);
        Self {
            cluster: cluster.to_owned(),
            gaps: GAP_REASONS.iter().map(gaps).collect(),
            head_rows: families.head_rows.clone(),
            parts: families.parts.clone(),
            part_bytes: families.part_bytes.clone(),
            snapshot: families.snapshot.with_label_values(&[cluster]),
            retention_removed_bytes: families.retention_removed_bytes.with_label_values(&[cluster]),
            compaction_failures: failures("compaction"),
            retention_failures: failures("retention"),
        }
    }

    /// A gap begins.
    pub fn gap_begins(&self, why: Ended) {
        let place = GAP_REASONS.iter().position(|reason| *reason == why);
        if let Some(gaps) = place.and_then(|place| self.gaps.get(place)) {
            gaps.inc();
        }
    }

    /// The series of one table.
    pub fn table(&self, table: &'static str) -> TableMetrics {
        let labels = [self.cluster.as_str(), table];
        TableMetrics {
            head_rows: self.head_rows.with_label_values(&labels),
            parts: self.parts.with_label_values(&labels),
            bytes: self.part_bytes.with_label_values(&labels),
        }
    }
}
