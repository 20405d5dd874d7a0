//! Writes what an import makes of a day: its new rows as a part, its completed rows by an exchange of the whole day.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;

use super::super::days::{
    Merge, Order, PartWriter, Run, exchange, keep_part, kept_marks, parts_of, read, read_projected,
};
use super::super::disk::Disk;
use super::super::error::HistoryError;
use super::super::layout::{Day, SeqRange, Table};
use super::super::part::Part;
use super::super::rows::ChangeRows;
use super::super::state::ReplaceError;
use super::complete::complete;
use super::fresh::{Encoded, write_rows};
use super::{ImportError, Importer, REPLACED_KEY, decode};
use crate::zk::{Change, Zxid};

const BATCH_ROWS: usize = 8_192;

/// What is to be done with a row on record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fix {
    /// It is this change, an index into the chunk.
    Completed(usize),
    Replaced,
    /// It is of this transaction, of which nothing more is known.
    Placed(i64),
    /// It lies after this position.
    Raised(i64),
}

/// What is to be done with a day.
#[derive(Debug, Default)]
pub(super) struct DayPlan {
    /// By seq.
    pub(super) fixes: HashMap<i64, Fix>,
    /// Indices into the chunk, in the order of the stream.
    pub(super) new: Vec<u32>,
}

impl Importer<'_> {
    /// Carries a plan out, in one step; the new rows get the next seqs.
    pub(super) fn write_day(&mut self, day: Day, plan: &DayPlan, changes: &[Change]) -> Result<(), ImportError> {
        let first = self.history.next.changes;
        let rows = plan.new.len() as i64;
        let range = (rows > 0).then_some(SeqRange { first, last: first + rows - 1 });
        let (disk, cluster) = (&self.history.disk, self.history.cluster.clone());
        if plan.fixes.is_empty() {
            let Some(range) = range else { return Ok(()) };
            let folder = self.history.layout.cluster(Table::Changes, &cluster);
            disk.create_dir(&folder)?;
            let temporary = folder.join(format!(".{}.new", range.file_name(Table::Changes)));
            let bytes = write_rows(disk, &temporary, &cluster, changes, plan.new.clone(), first)?;
            Encoded { day, range, temporary, bytes }.place(self.history)?;
        } else {
            self.exchange_day(day, plan, changes, range)?;
            self.so_far.summary.days += 1;
        }
        self.so_far.summary.parts += u64::from(range.is_some());
        self.history.next.changes = first + rows;
        Ok(())
    }

    fn exchange_day(
        &mut self,
        day: Day,
        plan: &DayPlan,
        changes: &[Change],
        new: Option<SeqRange>,
    ) -> Result<(), ReplaceError> {
        let history = &self.history;
        let (disk, layout, state) = (&history.disk, &history.layout, &history.state);
        let parts = parts_of(&state.view(), Table::Changes, day);
        let mut fixed = BTreeSet::new();
        exchange(disk, layout, state, (Table::Changes, day), &parts, &mut self.so_far.retired, |folder| {
            let mut ranges = Vec::with_capacity(parts.len() + 1);
            for part in &parts {
                let seqs = affected(part, plan)?;
                if seqs.is_empty() {
                    ranges.push(keep_part(disk, part, folder)?);
                } else {
                    fixed.extend(seqs);
                    ranges.push(Touched::read(part, plan, changes)?.write(disk, part, plan, folder)?);
                }
            }
            if let Some(range) = new {
                let path = folder.join(format!(".{}.new", range.file_name(Table::Changes)));
                write_rows(disk, &path, &history.cluster, changes, plan.new.clone(), range.first)?;
                disk.rename(&path, &folder.join(range.file_name(Table::Changes)))?;
                ranges.push(range);
            }
            Ok(ranges)
        })?;
        if fixed.len() != plan.fixes.len() {
            let (found, wanted) = (fixed.len(), plan.fixes.len());
            return Err(ReplaceError::History(HistoryError::Unknown(format!(
                "day {day} of changes was to have {wanted} rows completed and {found} were found"
            ))));
        }
        Ok(())
    }
}

/// The rows of a part that a plan names. Reads no more than the seqs.
fn affected(part: &Part, plan: &DayPlan) -> Result<Vec<i64>, HistoryError> {
    let mut found = Vec::new();
    let range = part.range.first..=part.range.last;
    if plan.fixes.keys().any(|seq| range.contains(seq)) {
        for batch in read_projected(part, &["seq"])? {
            found.extend(seqs_of(&batch?)?.iter().filter(|seq| plan.fixes.contains_key(seq)));
        }
    }
    Ok(found)
}

fn seqs_of(batch: &RecordBatch) -> Result<&[i64], HistoryError> {
    let seqs = batch.column_by_name("seq").and_then(|column| column.as_primitive_opt::<Int64Type>());
    seqs.map(|seqs| &seqs.values()[..])
        .ok_or_else(|| HistoryError::Unknown("a part of changes has no column seq".to_owned()))
}

/// The rows of a part that a plan changes.
#[derive(Default)]
struct Touched {
    /// As they are to be, sorted.
    rows: Vec<RecordBatch>,
    replaced: Vec<i64>,
}

impl Touched {
    fn read(part: &Part, plan: &DayPlan, changes: &[Change]) -> Result<Self, HistoryError> {
        let place = part.path();
        let mut rows: Vec<(i64, Change)> = Vec::new();
        let mut replaced = Vec::new();
        for batch in read(part)? {
            let batch = filtered(&batch?, |seq| plan.fixes.contains_key(&seq))?;
            if batch.num_rows() == 0 {
                continue;
            }
            for (seq, mut row) in decode::changes(&batch, &place)? {
                match plan.fixes.get(&seq) {
                    Some(Fix::Completed(twin)) => {
                        let Some(by) = changes.get(*twin) else {
                            return Err(HistoryError::Unknown(format!("seq {seq} has a twin that is not there")));
                        };
                        complete(&mut row, by);
                    }
                    Some(Fix::Raised(position)) => row.position = Zxid(*position),
                    Some(Fix::Placed(zxid)) => (row.zxid, row.position) = (Some(Zxid(*zxid)), Zxid(*zxid)),
                    Some(Fix::Replaced) | None => {
                        replaced.push(seq);
                        continue;
                    }
                }
                rows.push((seq, row));
            }
        }
        rows.sort_by(|(seq_a, a), (seq_b, b)| {
            let key = |change: &Change, seq: i64| (change.position, change.ordinal, seq);
            a.path.as_bytes().cmp(b.path.as_bytes()).then_with(|| key(a, *seq_a).cmp(&key(b, *seq_b)))
        });
        let arrow = |source| HistoryError::Arrow { path: place.clone(), source };
        let mut batches = Vec::new();
        let mut builder = ChangeRows::default();
        for piece in rows.chunks(BATCH_ROWS) {
            for (seq, row) in piece {
                builder.push_to(part.day, *seq, row).map_err(arrow)?;
            }
            batches.extend(builder.take().map_err(arrow)?.into_iter().map(|batch| batch.batch));
        }
        Ok(Self { rows: batches, replaced })
    }

    /// Writes the part anew. One that loses all of its rows stays as a file that only names their seqs.
    fn write(self, disk: &Disk, part: &Arc<Part>, plan: &DayPlan, folder: &Path) -> Result<SeqRange, HistoryError> {
        let mut marks = kept_marks(part)?;
        let mut replaced = replaced_seqs(part)?;
        replaced.extend(self.replaced.iter().map(|seq| (*seq, *seq)));
        marks.retain(|(key, _)| *key != REPLACED_KEY);
        if !replaced.is_empty() {
            marks.push((REPLACED_KEY, show_seqs(replaced)));
        }
        let mut writer = PartWriter::create(disk, folder, part.table, &part.cluster, &marks)?;
        let named: HashSet<i64> = plan.fixes.keys().copied().collect();
        let rest = read(part)?.map(move |batch| batch.and_then(|batch| filtered(&batch, |seq| !named.contains(&seq))));
        let runs: Vec<Run> = vec![Box::new(rest), Box::new(self.rows.into_iter().map(Ok))];
        let mut rows = 0;
        for batch in Merge::new(Order::Changes, runs) {
            let batch = batch?;
            rows += batch.num_rows();
            writer.write(&batch)?;
        }
        Ok(writer.finish((rows == 0).then_some(part.range))?.range)
    }
}

/// The rows whose seq is wanted.
fn filtered(batch: &RecordBatch, wanted: impl Fn(i64) -> bool) -> Result<RecordBatch, HistoryError> {
    let rows: BooleanArray = seqs_of(batch)?.iter().map(|seq| Some(wanted(*seq))).collect();
    filter_record_batch(batch, &rows)
        .map_err(|source| HistoryError::Unknown(format!("cannot filter changes by seq: {source}")))
}

/// The seqs of rows that imports replaced, as a part's metadata names them: ranges, both ends inclusive.
pub(crate) fn replaced_seqs(part: &Part) -> Result<Vec<(i64, i64)>, HistoryError> {
    let metadata = part.metadata()?;
    let entries = metadata.metadata().file_metadata().key_value_metadata();
    let entry = entries.and_then(|entries| entries.iter().find(|entry| entry.key == REPLACED_KEY));
    let Some(text) = entry.and_then(|entry| entry.value.as_deref()) else { return Ok(Vec::new()) };
    let range = |text: &str| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        Some((first.parse().ok()?, last.parse().ok()?))
    };
    text.split(',').map(range).collect::<Option<Vec<_>>>().ok_or_else(|| {
        let path = part.path();
        HistoryError::Unknown(format!("{}: {REPLACED_KEY} is {text:?}, which names no seqs", path.display()))
    })
}

/// Ranges of seqs as text, joined and in their order.
pub(crate) fn show_seqs(mut ranges: Vec<(i64, i64)>) -> String {
    ranges.sort_unstable();
    ranges.dedup_by(|next, before| {
        let goes_on = next.0 <= before.1.saturating_add(1);
        if goes_on {
            before.1 = before.1.max(next.1);
        }
        goes_on
    });
    let show = |(first, last): &(i64, i64)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    ranges.iter().map(show).collect::<Vec<_>>().join(",")
}
