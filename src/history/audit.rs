//! Lines of audit logs go straight into parts: an import is repeated rather than recovered, so it needs no WAL.
//!
//! A line has no number of its own. What is on record is compared as a multiset: where the lines given hold n equal ones
//! and m of them are on record, n − m are added. So the same lines again add nothing, and a file that has grown adds what
//! is new. Equal lines of one millisecond that a rotation has cut apart must come in one call, or they count as the same.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch, StringArray};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};

use super::days::{int64_range, read_projected};
use super::error::HistoryError;
use super::layout::{Day, SeqRange, Table};
use super::open::{FIRST_SEQ, History};
use super::part::Part;
use super::parts::PartWriter;
use super::rows::audit_batch;
use super::view::View;
use crate::zk::{AuditEntry, Micros};

#[cfg(test)]
mod tests;

/// What became of the lines given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuditAdded {
    pub added: usize,
    /// On record before.
    pub known: usize,
}

/// A line, borrowed from wherever it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Line<'a> {
    time: i64,
    session_id: Option<i64>,
    user: Option<&'a str>,
    address: Option<&'a str>,
    operation: &'a str,
    path: Option<&'a str>,
    node_type: Option<&'a str>,
    acl: Option<&'a str>,
    result: &'a str,
}

impl<'a> Line<'a> {
    fn of(entry: &'a AuditEntry) -> Self {
        Self {
            time: entry.time.0,
            session_id: entry.session_id,
            user: entry.user.as_deref(),
            address: entry.address.as_deref(),
            operation: &entry.operation,
            path: entry.path.as_deref(),
            node_type: entry.node_type.as_deref(),
            acl: entry.acl.as_deref(),
            result: &entry.result,
        }
    }
}

impl History {
    /// Adds the lines of audit logs that are not on record yet, durably, each to the day of its time. Blocks.
    ///
    /// Memory is that of `entries` and a batch of what is on record. Lines of one moment belong into one call.
    ///
    /// # Errors
    /// Parts that were written before it stay: the same call again adds the rest.
    pub fn add_audit(&self, entries: &[AuditEntry]) -> Result<AuditAdded, HistoryError> {
        let view = self.state.view();
        let new = not_on_record(&view, entries)?;
        let counted = AuditAdded { added: new.len(), known: entries.len() - new.len() };
        if new.is_empty() {
            return Ok(counted);
        }
        self.disk.check_floor(self.layout.dir(), self.settings.free_space_floor_percent)?;
        let mut next = view.audit.iter().map(|part| part.range.last + 1).max().unwrap_or(FIRST_SEQ);
        drop(view);
        let mut days: Vec<&AuditEntry> = new;
        days.sort_by_key(|entry| entry.time.day());
        for rows in days.chunk_by(|a, b| a.time.day() == b.time.day()) {
            let Some(day) = rows.first().map(|first| Day(first.time.day())) else { continue };
            let range = SeqRange { first: next, last: next + rows.len() as i64 - 1 };
            self.add_audit_part(day, range, rows)?;
            next = range.last + 1;
        }
        Ok(counted)
    }

    fn add_audit_part(&self, day: Day, range: SeqRange, rows: &[&AuditEntry]) -> Result<(), HistoryError> {
        let (table, name) = (Table::Audit, range.file_name(Table::Audit));
        let folder = self.layout.cluster(table, &self.cluster);
        let temporary = folder.join(format!(".{name}.new"));
        let batch =
            audit_batch(rows, range.first).map_err(|source| HistoryError::Arrow { path: temporary.clone(), source })?;
        self.disk.create_dir(&folder)?;
        let mut writer = PartWriter::create(&self.disk, &temporary, table, &self.cluster, 0)?;
        writer.write(&batch)?;
        let bytes = writer.finish()?;
        let day_folder = self.layout.day(table, &self.cluster, day);
        let path = day_folder.join(&name);
        self.state.add_part(|| {
            self.disk.create_dir(&day_folder)?;
            self.disk.rename(&temporary, &path)?;
            self.disk.sync_dir(&day_folder)?;
            self.disk.sync_dir(&folder)?;
            Ok(Arc::new(Part::new(table, self.cluster.clone(), day, range, path.clone(), bytes)))
        })?;
        Ok(())
    }
}

/// The entries beyond those that are on record, in their order.
fn not_on_record<'a>(view: &View, entries: &'a [AuditEntry]) -> Result<Vec<&'a AuditEntry>, HistoryError> {
    let times = || entries.iter().map(|entry| entry.time);
    let (Some(from), Some(to)) = (times().min(), times().max()) else { return Ok(Vec::new()) };
    let mut places: HashMap<Line<'_>, usize> = HashMap::with_capacity(entries.len());
    for entry in entries {
        let next = places.len();
        places.entry(Line::of(entry)).or_insert(next);
    }
    let mut on_record = vec![0_usize; places.len()];
    for part in view.audit.iter().filter(|part| (from.day()..=to.day()).contains(&part.day.0)) {
        if int64_range(part, "time")?.is_some_and(|(low, high)| high < from.0 || low > to.0) {
            continue;
        }
        for batch in read_projected(part, &COLUMNS)? {
            count(&batch?, part, (from, to), &places, &mut on_record)?;
        }
    }
    let mut new = Vec::new();
    for entry in entries {
        match places.get(&Line::of(entry)).and_then(|place| on_record.get_mut(*place)) {
            Some(left) if *left > 0 => *left -= 1,
            _ => new.push(entry),
        }
    }
    Ok(new)
}

const COLUMNS: [&str; 9] =
    ["time", "session_id", "user_name", "address", "operation", "path", "node_type", "acl", "result"];

fn count(
    batch: &RecordBatch,
    part: &Part,
    (from, to): (Micros, Micros),
    places: &HashMap<Line<'_>, usize>,
    on_record: &mut [usize],
) -> Result<(), HistoryError> {
    let missing = |name: &str| HistoryError::Unknown(format!("{} lacks the column {name}", part.path().display()));
    let text = |name: &'static str| -> Result<&StringArray, HistoryError> {
        batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>()).ok_or_else(|| missing(name))
    };
    let time = batch.column_by_name("time").and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
    let time = time.ok_or_else(|| missing("time"))?;
    let session_id = batch.column_by_name("session_id").and_then(|column| column.as_primitive_opt::<Int64Type>());
    let mut session_id = session_id.ok_or_else(|| missing("session_id"))?.iter();
    let (mut user, mut address) = (text("user_name")?.iter(), text("address")?.iter());
    let (mut operation, mut path) = (text("operation")?.iter(), text("path")?.iter());
    let (mut node_type, mut acl, mut result) = (text("node_type")?.iter(), text("acl")?.iter(), text("result")?.iter());
    for time in time.values() {
        let line = Line {
            time: *time,
            session_id: session_id.next().flatten(),
            user: user.next().flatten(),
            address: address.next().flatten(),
            operation: operation.next().flatten().unwrap_or_default(),
            path: path.next().flatten(),
            node_type: node_type.next().flatten(),
            acl: acl.next().flatten(),
            result: result.next().flatten().unwrap_or_default(),
        };
        if (from.0..=to.0).contains(time)
            && let Some(count) = places.get(&line).and_then(|place| on_record.get_mut(*place))
        {
            *count += 1;
        }
    }
    Ok(())
}
