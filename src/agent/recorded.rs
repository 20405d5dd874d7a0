//! Counts what the recorder tells.

use crate::history::layout::Table;
use crate::history::snapshots::taken_at;
use crate::history::{RecorderEvent, View};
use crate::metrics::ClusterMetrics;
use crate::zk::Micros;

/// Called on the recorder's threads: atomic steps only.
pub fn count(metrics: &ClusterMetrics, event: &RecorderEvent) {
    match event {
        RecorderEvent::Recorded { oldest_heard_at, last_zxid, last_time, .. } => {
            metrics.wal_frames.inc();
            let now = Micros::now();
            if let Some(heard_at) = oldest_heard_at {
                metrics.record_seconds.observe(seconds(now, *heard_at).max(0.0));
            }
            if let Some(zxid) = last_zxid {
                metrics.recorded_last_zxid.set(metrics.recorded_last_zxid.get().max(zxid.0));
                metrics.server_last_zxid.set(metrics.server_last_zxid.get().max(zxid.0));
            }
            if let Some(time) = last_time {
                metrics.capture_lag_seconds.set(seconds(now, *time));
            }
        }
        RecorderEvent::Fsynced(took) => metrics.wal_fsync_seconds.observe(took.as_secs_f64()),
        RecorderEvent::WalBytes(bytes) => metrics.wal_bytes.set(i64::try_from(*bytes).unwrap_or(i64::MAX)),
        RecorderEvent::Flushed { table, took, .. } => {
            if *table == Table::Changes {
                metrics.flushes.inc();
            }
            metrics.flush_seconds.observe(took.as_secs_f64());
        }
        RecorderEvent::Failed(_) => {}
    }
}

/// What a history holds now: parts, rows that are in none yet, the newest snapshot.
pub fn count_held(metrics: &ClusterMetrics, view: &View) {
    for table in Table::ALL {
        let parts = view.parts(table);
        let series = metrics.history.table(table.as_str());
        series.parts.set(i64::try_from(parts.len()).unwrap_or(i64::MAX));
        series.bytes.set(i64::try_from(parts.iter().map(|part| part.bytes).sum::<u64>()).unwrap_or(i64::MAX));
        let rows: usize = view.head(table).iter().map(|head| head.batch.num_rows()).sum();
        series.head_rows.set(i64::try_from(rows).unwrap_or(i64::MAX));
    }
    let taken_at = view.snapshots.last().map_or(Ok(None), |newest| taken_at(newest));
    match taken_at {
        Ok(at) => metrics.history.snapshot.set(at.map_or(0, |at| at.0.div_euclid(1_000_000))),
        // Retention may have removed it this moment: the next look finds another.
        Err(error) => tracing::debug!(%error, "when the newest snapshot was taken is not known"),
    }
}

fn seconds(now: Micros, then: Micros) -> f64 {
    (now.0 - then.0) as f64 / 1e6
}
