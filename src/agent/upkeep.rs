//! The slow work on recorded days: compaction of closed ones, and retention. One thing at a time for each cluster.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::states::States;
use super::status::Status;
use crate::history::days::{CompactionLimits, compact_closed_days};
use crate::history::disk::Disk;
use crate::history::retention::{self, Removed, RetentionSettings};
use crate::history::{HistoryError, Layout, State};
use crate::metrics::ClusterMetrics;
use crate::zk::Micros;

const EVERY: Duration = Duration::from_secs(60);

/// One cluster's days, and what looking after them needs.
pub struct Upkeep {
    pub cluster: String,
    pub layout: Layout,
    pub states: States,
    pub status: Status,
    pub retention: RetentionSettings,
    /// Held by whatever rewrites recorded days.
    pub alone: Arc<Mutex<()>>,
    pub metrics: ClusterMetrics,
}

/// Looks after one cluster's days until it is stopped.
pub async fn look_after(upkeep: Upkeep, mut stop: watch::Receiver<bool>) {
    let Upkeep { cluster, layout, states, status, retention, alone: upkeep, metrics } = upkeep;
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        let (layout, upkeep) = (layout.clone(), upkeep.clone());
        let (states, status, name, counts) = (states.clone(), status.clone(), cluster.clone(), metrics.clone());
        let done = tokio::task::spawn_blocking(move || {
            let _alone = upkeep.lock().unwrap_or_else(PoisonError::into_inner);
            // Asked once nobody can open the folder anew: only while it is being recorded is its lock ours.
            let recording = status.get(&name).is_some_and(|condition| condition.is_recording());
            match states.get(&name).filter(|_| recording) {
                Some(state) => once(&layout, &state, retention, &counts, Micros::now()),
                None => Ok(()),
            }
        });
        match done.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(cluster, %error, "the history's upkeep failed; it is tried again"),
            Err(error) => tracing::error!(cluster, %error, "the history's upkeep ended unexpectedly"),
        }
    }
}

fn once(
    layout: &Layout,
    state: &State,
    retention: RetentionSettings,
    metrics: &ClusterMetrics,
    now: Micros,
) -> Result<(), HistoryError> {
    let disk = Disk::new();
    // Compaction says itself in the log what it did and what failed.
    let (compacted, failed) = compact_closed_days(&disk, layout, state, now, CompactionLimits::default());
    metrics.history.compaction_failures.inc_by(failed.len() as u64);
    for day in compacted {
        tracing::info!(
            table = day.table.as_str(),
            day = %day.day,
            parts_before = day.parts_before,
            parts_after = day.parts_after,
            rows = day.rows,
            "a closed day was compacted"
        );
    }
    let removed = retain(&disk, layout, state, retention, now);
    match &removed {
        Ok(removed) => metrics.history.retention_removed_bytes.inc_by(removed.bytes),
        Err(_) => metrics.history.retention_failures.inc(),
    }
    removed.map(|_| ())
}

fn retain(
    disk: &Disk,
    layout: &Layout,
    state: &State,
    settings: RetentionSettings,
    now: Micros,
) -> Result<Removed, HistoryError> {
    let plan = retention::plan(&retention::survey(&state.view())?, now, settings);
    retention::apply(disk, layout, state, &plan)
}

#[cfg(test)]
mod tests;
