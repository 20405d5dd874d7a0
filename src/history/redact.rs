//! Takes values out of recorded history for good.
//!
//! Every value of a matching path (data, data_length, data_hash; in changes and in snapshots) becomes null; that
//! the change happened stays on record, and so does the ACL. Each day with such a value is exchanged for one without;
//! other days, and other parts of such a day, are not touched. Doing it again does nothing.
//!
//! What was recorded after it began is not redacted: change the value policy first. Old files go from the disk when
//! their last reader lets go; what the disk itself keeps of removed files, its snapshots and its backups are beyond
//! this.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, StringArray};
use arrow::compute::nullif;
use arrow::record_batch::RecordBatch;

use super::days::{ReplaceError, Retired, exchange, keep_part, parts_of, read_projected, rewrite_part};
use super::disk::Disk;
use super::error::HistoryError;
use super::layout::{Day, Layout, Table};
use super::part::Part;
use super::state::State;

/// How often a day is built again because a flush came between.
const ATTEMPTS_MAX: usize = 10;

const VALUE_COLUMNS: [&str; 3] = ["data", "data_length", "data_hash"];

/// What was redacted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Redacted {
    /// Values, in changes and in snapshots.
    pub rows: u64,
    /// Parts of changes that were rewritten.
    pub parts: usize,
    /// Snapshots that were rewritten.
    pub snapshots: usize,
    /// Old folders that a running query still reads: their files are removed when it ends.
    pub folders_in_use: usize,
}

/// Reports after each day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RedactProgress {
    pub table: Table,
    pub day: Day,
    pub days_done: usize,
    pub days_total: usize,
}

/// Redacts the values of every path that `matches`.
///
/// All of them must be in parts: fails where a value to redact is still in the WAL, so flush first.
/// Where it fails midway, some days are redacted and the others whole: do it again.
/// No snapshot may be written meanwhile: it would carry values over.
pub fn redact(
    disk: &Disk,
    layout: &Layout,
    state: &State,
    matches: impl Fn(&str) -> bool,
    mut progress: impl FnMut(RedactProgress),
) -> Result<Redacted, HistoryError> {
    let view = state.view();
    for head in view.head(Table::Changes) {
        if values_of(&head.batch, &matches)?.true_count() > 0 {
            return Err(HistoryError::Unknown(format!(
                "cluster {} has values to redact in its WAL, not yet in Parquet: flush first, then redact again",
                view.cluster
            )));
        }
    }
    let mut days: Vec<(Table, Day)> = Vec::new();
    for table in [Table::Changes, Table::Snapshots] {
        days.extend(view.parts(table).iter().map(|part| (table, part.day)));
    }
    days.sort_unstable();
    days.dedup();
    let cluster = view.cluster.clone();
    drop(view);

    let mut redacted = Redacted::default();
    let mut retired = Retired::default();
    for (done, (table, day)) in days.iter().copied().enumerate() {
        let (rows, parts) = redact_day(disk, layout, state, (table, day), &matches, &mut retired)?;
        redacted.rows += rows;
        match table {
            Table::Snapshots => redacted.snapshots += parts,
            _ => redacted.parts += parts,
        }
        if parts > 0 {
            tracing::info!(table = table.as_str(), %day, rows, parts, "redacted a day");
        }
        progress(RedactProgress { table, day, days_done: done + 1, days_total: days.len() });
    }
    drop(retired);
    redacted.folders_in_use = folders_in_use(layout, &cluster)?;
    Ok(redacted)
}

fn redact_day(
    disk: &Disk,
    layout: &Layout,
    state: &State,
    (table, day): (Table, Day),
    matches: &impl Fn(&str) -> bool,
    retired: &mut Retired,
) -> Result<(u64, usize), HistoryError> {
    for _ in 0..ATTEMPTS_MAX {
        let parts = parts_of(&state.view(), table, day);
        let counts = parts.iter().map(|part| count(part, matches)).collect::<Result<Vec<u64>, _>>()?;
        let rows: u64 = counts.iter().sum();
        if rows == 0 {
            return Ok((0, 0));
        }
        let result = exchange(disk, layout, state, (table, day), &parts, retired, |folder| {
            let mut ranges = Vec::with_capacity(parts.len());
            for (part, count) in parts.iter().zip(&counts) {
                if *count == 0 {
                    ranges.push(keep_part(disk, part, folder)?);
                } else {
                    ranges.extend(rewrite_part(disk, part, folder, |batch| without_values(batch, matches))?);
                }
            }
            Ok(ranges)
        });
        match result {
            Ok(()) => return Ok((rows, counts.iter().filter(|count| **count > 0).count())),
            Err(ReplaceError::Changed { .. }) => {}
            Err(ReplaceError::History(error)) => return Err(error),
        }
    }
    Err(HistoryError::Unknown(format!(
        "day {day} of {} changed {ATTEMPTS_MAX} times while it was being redacted: redact again",
        table.as_str()
    )))
}

/// How many values of a part are to be redacted. Values are looked at only where a path matches.
fn count(part: &Part, matches: &impl Fn(&str) -> bool) -> Result<u64, HistoryError> {
    let mut any = false;
    for batch in read_projected(part, &["path"])? {
        any = any || matching(&batch?, matches)?.true_count() > 0;
    }
    let mut values = 0;
    if any {
        for batch in read_projected(part, &["path", "data", "data_length", "data_hash"])? {
            values += values_of(&batch?, matches)?.true_count() as u64;
        }
    }
    Ok(values)
}

/// The rows whose path matches.
fn matching(batch: &RecordBatch, matches: &impl Fn(&str) -> bool) -> Result<BooleanArray, HistoryError> {
    let paths: Option<&StringArray> = batch.column_by_name("path").and_then(|column| column.as_string_opt());
    let paths = paths.ok_or_else(|| HistoryError::Unknown("a part has no column path".to_owned()))?;
    let mut last: Option<(&str, bool)> = None;
    let rows = (0..paths.len()).map(|row| {
        let path = paths.value(row);
        let matched = match last {
            Some((before, matched)) if before == path => matched,
            _ => matches(path),
        };
        last = Some((path, matched));
        Some(matched)
    });
    Ok(rows.collect())
}

/// The rows whose path matches and that tell anything of a value.
fn values_of(batch: &RecordBatch, matches: &impl Fn(&str) -> bool) -> Result<BooleanArray, HistoryError> {
    let rows = matching(batch, matches)?;
    let columns: Vec<&ArrayRef> = VALUE_COLUMNS.iter().filter_map(|name| batch.column_by_name(name)).collect();
    let values = rows.values().iter().enumerate();
    Ok(values.map(|(row, matched)| Some(matched && columns.iter().any(|column| column.is_valid(row)))).collect())
}

fn without_values(batch: RecordBatch, matches: &impl Fn(&str) -> bool) -> Result<RecordBatch, HistoryError> {
    let arrow = |source| HistoryError::Unknown(format!("cannot take values out of a part: {source}"));
    let rows = matching(&batch, matches)?;
    let mut columns = batch.columns().to_vec();
    for (field, column) in batch.schema().fields().iter().zip(&mut columns) {
        if VALUE_COLUMNS.contains(&field.name().as_str()) {
            *column = nullif(column, &rows).map_err(arrow)?;
        }
    }
    RecordBatch::try_new(batch.schema(), columns).map_err(arrow)
}

/// Exchanged folders that are still there.
fn folders_in_use(layout: &Layout, cluster: &Arc<str>) -> Result<usize, HistoryError> {
    Ok(super::days::names(&layout.work(cluster))?.len())
}
