//! The whole tree at a seq: what every replay starts from.
//!
//! ```text
//! the live tree (metadata, by path) ─┐
//! values that a scan read ───────────┤ ValueSpill: sorted by path,
//! values of changes since then ──────┘ bounded memory, runs on disk   ├─> merge-join by path ─> <seq>.parquet
//! the snapshot before (values, by path) ──────────────────────────────┘
//! ```
//!
//! A znode of the live tree has no value of its own. A value belongs to it if it is of the same life and version
//! (czxid, version; and mzxid where the version is always -1, as of `/zookeeper/config`). Where several tell the same
//! version's value, a scan's wins, being the newest word of the value policy, then the one that tells most, then the one
//! recorded last. Where none does, the value is unknown: null, with the length that the Stat tells.

mod cursor;
mod join;
mod spill;
mod write;

#[cfg(test)]
mod tests;

pub(super) use join::Found;
pub use spill::{SPILL_BYTES_MAX, ValueSpill};
pub(super) use write::{INCARNATION_KEY, PLACED_BY_LOG, PLACED_BY_WATCH, PLACED_KEY, Rows};
pub use write::{SnapshotRow, write_snapshot};

use std::sync::Arc;

use super::days::int64_range;
use super::error::HistoryError;
use super::part::Part;
use super::view::View;
use crate::zk::Micros;

/// The newest snapshot of an incarnation that was taken at or before a seq. Not one that an import placed.
pub fn latest_before(view: &View, incarnation: i32, seq: i64) -> Result<Option<Arc<Part>>, HistoryError> {
    for part in view.snapshots.iter().rev().filter(|part| part.range.last <= seq) {
        if incarnation_of(part)? == Some(incarnation) && !is_placed(part)? {
            return Ok(Some(part.clone()));
        }
    }
    Ok(None)
}

/// Events that were waiting for their answer when a snapshot was taken: the tree was ahead of the rows by so many.
pub fn unsettled_of(part: &Part) -> Result<usize, HistoryError> {
    let metadata = part.metadata()?;
    let entries = metadata.metadata().file_metadata().key_value_metadata();
    let entry = entries.and_then(|entries| entries.iter().find(|entry| entry.key == write::UNSETTLED_KEY));
    Ok(entry.and_then(|entry| entry.value.as_ref()?.parse().ok()).unwrap_or(0))
}

/// Whether an import placed it: it holds every transaction up to its position and none after it, whatever was recorded
/// when. Any other holds the rows up to its seq.
pub fn is_placed(part: &Part) -> Result<bool, HistoryError> {
    let metadata = part.metadata()?;
    let entries = metadata.metadata().file_metadata().key_value_metadata();
    Ok(entries.is_some_and(|entries| entries.iter().any(|entry| entry.key == write::PLACED_KEY)))
}

/// Whether it is placed by a log, and so serves only once coverage says that the log's changes around it are all there.
pub fn needs_log(part: &Part) -> Result<bool, HistoryError> {
    let metadata = part.metadata()?;
    let entries = metadata.metadata().file_metadata().key_value_metadata();
    let is_log = |value: &str| value == write::PLACED_BY_LOG;
    Ok(entries.is_some_and(|entries| {
        entries.iter().any(|entry| entry.key == write::PLACED_KEY && entry.value.as_deref().is_some_and(is_log))
    }))
}

/// The placed snapshot of an incarnation with the greatest position.
fn last_placed(view: &View, incarnation: i32) -> Result<Option<Arc<Part>>, HistoryError> {
    let mut last: Option<(i64, Arc<Part>)> = None;
    for part in view.snapshots.iter() {
        if !is_placed(part)? || incarnation_of(part)? != Some(incarnation) {
            continue;
        }
        let position = int64_range(part, "position")?.map_or(i64::MIN, |(position, _)| position);
        if last.as_ref().is_none_or(|(before, _)| *before < position) {
            last = Some((position, part.clone()));
        }
    }
    Ok(last.map(|(_, part)| part))
}

/// When a snapshot was taken, from its footer; `None` where it is empty.
pub fn taken_at(part: &Part) -> Result<Option<Micros>, HistoryError> {
    Ok(int64_range(part, "taken_at")?.map(|(taken_at, _)| Micros(taken_at)))
}

/// The incarnation that a snapshot is of, from its footer.
pub fn incarnation_of(part: &Part) -> Result<Option<i32>, HistoryError> {
    let metadata = part.metadata()?;
    let entries = metadata.metadata().file_metadata().key_value_metadata();
    let entry = entries.and_then(|entries| entries.iter().find(|entry| entry.key == write::INCARNATION_KEY));
    if let Some(incarnation) = entry.and_then(|entry| entry.value.as_ref()?.parse().ok()) {
        return Ok(Some(incarnation));
    }
    Ok(int64_range(part, "incarnation")?.and_then(|(incarnation, _)| i32::try_from(incarnation).ok()))
}
