use arrow::array::{AsArray, BooleanArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;

use super::Removal;
use crate::history::days::{ReplaceError, Retired, drop_day, exchange, keep_part, parts_of, rewrite_part};
use crate::history::disk::Disk;
use crate::history::error::HistoryError;
use crate::history::layout::{Day, Layout, Table};
use crate::history::state::State;

/// What [`apply`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    pub removals: usize,
    /// What they freed, about; the space is there once no reader holds those parts.
    pub bytes: u64,
    /// Days that changed meanwhile: left for the next run.
    pub postponed: usize,
}

/// Carries a plan out, in its order, each step by an exchange of a day. Says in the log what it removes.
/// Stops at the first error; the plan of the next run goes on from there.
pub fn apply(disk: &Disk, layout: &Layout, state: &State, plan: &[Removal]) -> Result<Removed, HistoryError> {
    let mut removed = Removed::default();
    let mut retired = Retired::default();
    let retired = &mut retired;
    for removal in plan {
        let (result, bytes) = match removal {
            Removal::Day { table, day, bytes } => {
                tracing::info!(table = table.as_str(), %day, bytes, "retention removes a day");
                (remove_day(disk, layout, state, *table, *day, retired), *bytes)
            }
            Removal::Changes { day, up_to_seq, bytes } => {
                tracing::info!(%day, up_to_seq, bytes, "retention removes the changes of a day that precede a snapshot");
                (remove_changes(disk, layout, state, *day, *up_to_seq, retired), *bytes)
            }
            Removal::Snapshots { day, seqs, bytes } => {
                tracing::info!(%day, ?seqs, bytes, "retention removes snapshots");
                (remove_snapshots(disk, layout, state, *day, seqs, retired), *bytes)
            }
        };
        match result {
            Ok(()) => {
                removed.removals += 1;
                removed.bytes += bytes;
            }
            Err(ReplaceError::Changed { table, day }) => {
                tracing::debug!(table = table.as_str(), %day, "retention leaves a day that changed to its next run");
                removed.postponed += 1;
            }
            Err(ReplaceError::History(error)) => return Err(error),
        }
    }
    Ok(removed)
}

fn remove_day(
    disk: &Disk,
    layout: &Layout,
    state: &State,
    table: Table,
    day: Day,
    retired: &mut Retired,
) -> Result<(), ReplaceError> {
    let parts = parts_of(&state.view(), table, day);
    if parts.is_empty() {
        return Ok(());
    }
    drop_day(disk, layout, state, (table, day), &parts, retired)
}

fn remove_changes(
    disk: &Disk,
    layout: &Layout,
    state: &State,
    day: Day,
    up_to_seq: i64,
    retired: &mut Retired,
) -> Result<(), ReplaceError> {
    let parts = parts_of(&state.view(), Table::Changes, day);
    if parts.iter().all(|part| part.range.first > up_to_seq) {
        return Ok(());
    }
    exchange(disk, layout, state, (Table::Changes, day), &parts, retired, |folder| {
        let mut ranges = Vec::new();
        for part in &parts {
            if part.range.first > up_to_seq {
                ranges.push(keep_part(disk, part, folder)?);
            } else if part.range.last > up_to_seq {
                ranges.extend(rewrite_part(disk, part, folder, |batch| after(&batch, up_to_seq))?);
            }
        }
        Ok(ranges)
    })
}

fn after(batch: &RecordBatch, seq: i64) -> Result<RecordBatch, HistoryError> {
    let seqs = batch.column_by_name("seq").and_then(|column| column.as_primitive_opt::<Int64Type>());
    let Some(seqs) = seqs else {
        return Err(HistoryError::Unknown("a part of changes has no column seq".to_owned()));
    };
    let later: BooleanArray = seqs.values().iter().map(|row| Some(*row > seq)).collect();
    filter_record_batch(batch, &later)
        .map_err(|source| HistoryError::Unknown(format!("cannot filter changes by seq: {source}")))
}

fn remove_snapshots(
    disk: &Disk,
    layout: &Layout,
    state: &State,
    day: Day,
    seqs: &[i64],
    retired: &mut Retired,
) -> Result<(), ReplaceError> {
    let parts = parts_of(&state.view(), Table::Snapshots, day);
    if !parts.iter().any(|part| seqs.contains(&part.range.last)) {
        return Ok(());
    }
    exchange(disk, layout, state, (Table::Snapshots, day), &parts, retired, |folder| {
        let kept = parts.iter().filter(|part| !seqs.contains(&part.range.last));
        kept.map(|part| keep_part(disk, part, folder)).collect()
    })
}
