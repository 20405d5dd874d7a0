//! The slow work on recorded days: compaction of closed ones, and retention. One thing at a time for each cluster.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::states::States;
use super::status::Status;
use crate::history::days::{CompactionLimits, compact_closed_days};
use crate::history::disk::Disk;
use crate::history::retention::{self, RetentionSettings};
use crate::history::{HistoryError, Layout, State};
use crate::zk::Micros;

const EVERY: Duration = Duration::from_secs(60);

/// Looks after one cluster's days until it is stopped.
pub async fn look_after(
    cluster: String,
    layout: Layout,
    states: States,
    status: Status,
    retention: RetentionSettings,
    upkeep: Arc<Mutex<()>>,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        let (layout, upkeep) = (layout.clone(), upkeep.clone());
        let (states, status, name) = (states.clone(), status.clone(), cluster.clone());
        let done = tokio::task::spawn_blocking(move || {
            let _alone = upkeep.lock().unwrap_or_else(PoisonError::into_inner);
            // Asked once nobody can open the folder anew: only while it is being recorded is its lock ours.
            let recording = status.get(&name).is_some_and(|condition| condition.is_recording());
            match states.get(&name).filter(|_| recording) {
                Some(state) => once(&layout, &state, retention, Micros::now()),
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

fn once(layout: &Layout, state: &State, retention: RetentionSettings, now: Micros) -> Result<(), HistoryError> {
    let disk = Disk::new();
    // Compaction says itself in the log what it did and what failed.
    let (compacted, _failed) = compact_closed_days(&disk, layout, state, now, CompactionLimits::default());
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
    let plan = retention::plan(&retention::survey(&state.view())?, now, retention);
    retention::apply(&disk, layout, state, &plan)?;
    Ok(())
}
