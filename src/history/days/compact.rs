use std::path::Path;
use std::sync::Arc;

use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;
use arrow::record_batch::RecordBatch;

use super::super::disk::Disk;
use super::super::error::HistoryError;
use super::super::import::{REPLACED_KEY, replaced_seqs, show_seqs};
use super::super::layout::{Day, Layout, SeqRange, Table};
use super::super::part::Part;
use super::super::state::{ReplaceError, State};
use super::super::view::View;
use super::coverage::join_rolled;
use super::cuts::{Place, cuts};
use super::exchange::exchange;
use super::file::{PartWriter, int64_range, read, read_bounded, read_projected};
use super::merge::{Merge, Order, Run, int32, int64};
use super::parts_of;
use super::retired::Retired;
use super::rewrite::keep_part;
use crate::zk::Micros;

/// In a part's metadata: it came out of a compaction, so that a day of such parts is not compacted again.
pub(super) const COMPACTED_KEY: &str = "zktrail.compacted";

/// Runs that are merged at once: each costs an open file and a few pages of memory.
const RUNS_MAX: usize = 128;
/// Bytes that the batches of all runs of a merge take together, about; pages and dictionaries come on top.
const RUNS_BATCH_BYTES_MAX: usize = 48 << 20;
/// Places held to find the cuts of a day.
const SAMPLE_PLACES_MAX: u64 = 1 << 20;
/// A coverage day is joined in memory; one with more rows stays as it is.
const COVERAGE_ROWS_MAX: u64 = 4_000_000;

/// How great the parts of a compacted day become, about. Memory does not depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactionLimits {
    pub part_rows_max: u64,
    /// On disk.
    pub part_bytes_max: u64,
}

impl Default for CompactionLimits {
    fn default() -> Self {
        Self { part_rows_max: 1_000_000, part_bytes_max: 256 << 20 }
    }
}

/// What one compaction did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compacted {
    pub table: Table,
    pub day: Day,
    pub parts_before: usize,
    pub parts_after: usize,
    pub rows: u64,
}

/// The days that are over and have more than one part: before `now`'s UTC day and without a row in the head.
/// Whether such a day is compact already only its parts' footers tell: [`compact_day`] looks.
pub fn closed_days(view: &View, now: Micros) -> Vec<(Table, Day)> {
    let mut days = Vec::new();
    for table in [Table::Changes, Table::Coverage, Table::Sessions, Table::Audit] {
        let mut of_table: Vec<Day> = view.parts(table).iter().map(|part| part.day).collect();
        of_table.sort_unstable();
        let several = of_table.chunk_by(|a, b| a == b).filter(|parts| parts.len() > 1);
        for day in several.filter_map(|parts| parts.first().copied()) {
            let in_head = view.head(table).iter().any(|head| head.day == day);
            if day.0 < now.day() && !in_head {
                days.push((table, day));
            }
        }
    }
    days
}

/// Compacts every closed day that is not compact. A day that fails is logged, given back with its error, and does not
/// keep the others from it; one that changed meanwhile waits for the next run.
pub fn compact_closed_days(
    disk: &Disk,
    layout: &Layout,
    state: &State,
    now: Micros,
    limits: CompactionLimits,
) -> (Vec<Compacted>, Vec<(Table, Day, HistoryError)>) {
    let mut done = Vec::new();
    let mut failed = Vec::new();
    let mut retired = Retired::default();
    for (table, day) in closed_days(&state.view(), now) {
        match compact_day(disk, layout, state, (table, day), limits, &mut retired) {
            Ok(compacted) => done.extend(compacted),
            Err(ReplaceError::Changed { .. }) => {
                tracing::debug!(table = table.as_str(), %day, "a day changed while it was being compacted");
            }
            Err(ReplaceError::History(error)) => {
                tracing::warn!(table = table.as_str(), %day, %error, "a day could not be compacted");
                failed.push((table, day, error));
            }
        }
    }
    (done, failed)
}

/// Compacts one day: changes into parts of the given size, cut by position and sorted inside; coverage, its rolled
/// intervals joined, sessions and audit into one part each. Gives `None` where the day is compact.
pub fn compact_day(
    disk: &Disk,
    layout: &Layout,
    state: &State,
    (table, day): (Table, Day),
    limits: CompactionLimits,
    retired: &mut Retired,
) -> Result<Option<Compacted>, ReplaceError> {
    let parts = parts_of(&state.view(), table, day);
    if parts.len() < 2 || is_compact(&parts)? {
        return Ok(None);
    }
    let rows = rows_of(&parts)?;
    if rows == 0 {
        // Only the names of seqs that an import replaced.
        return Ok(None);
    }
    if table == Table::Coverage && rows > COVERAGE_ROWS_MAX {
        tracing::warn!(%day, rows, rows_max = COVERAGE_ROWS_MAX, "a day of coverage is too great to be joined");
        return Ok(None);
    }
    let mut parts_after = 0;
    exchange(disk, layout, state, (table, day), &parts, retired, |folder| {
        let built = match table {
            Table::Changes => build_changes(disk, folder, &parts, limits)?,
            Table::Coverage => vec![build_coverage(disk, folder, &parts)?],
            Table::Sessions | Table::Audit => {
                let (range, rows_written) = merge_into(disk, folder, &parts, Order::Seq, None, &[])?;
                check_rows(folder, rows, rows_written)?;
                range.into_iter().collect()
            }
            Table::Snapshots => return Err(HistoryError::Unknown("snapshots are not compacted".to_owned())),
        };
        parts_after = built.len();
        Ok(built)
    })?;
    let compacted = Compacted { table, day, parts_before: parts.len(), parts_after, rows };
    tracing::info!(table = table.as_str(), %day, parts_before = parts.len(), parts_after, rows, "compacted a day");
    Ok(Some(compacted))
}

/// More parts of one day than this are worth joining, while the day goes on.
const SMALL_PARTS_MAX: usize = 64;
/// A part with more rows is left to the day's compaction.
const SMALL_ROWS_MAX: u64 = 50_000;

/// Joins the small parts of a day that is not over, where there are many: what is recorded every few seconds makes
/// thousands a day. The work does not grow with the day. Gives whether there were any.
pub fn join_small_parts(
    disk: &Disk,
    layout: &Layout,
    state: &State,
    (table, day): (Table, Day),
    retired: &mut Retired,
) -> Result<bool, ReplaceError> {
    let parts = parts_of(&state.view(), table, day);
    if parts.len() <= SMALL_PARTS_MAX {
        return Ok(false);
    }
    let mut small = Vec::new();
    for part in &parts {
        let rows = rows_of(std::slice::from_ref(part))?;
        if rows <= SMALL_ROWS_MAX {
            small.push(part.clone());
        }
    }
    let rows = rows_of(&small)?;
    let order = match table {
        Table::Changes => Order::Changes,
        Table::Coverage | Table::Sessions | Table::Audit => Order::Seq,
        Table::Snapshots => return Ok(false),
    };
    if small.len() <= SMALL_PARTS_MAX || rows == 0 || (table == Table::Coverage && rows > SMALL_ROWS_MAX) {
        return Ok(false);
    }
    // As many as can be open at once; the rest next time.
    small.truncate(RUNS_MAX);
    let rows = rows_of(&small)?;
    let mut replaced = Vec::new();
    if table == Table::Changes {
        for part in &small {
            replaced.extend(replaced_seqs(part)?);
        }
    }
    exchange(disk, layout, state, (table, day), &parts, retired, |folder| {
        let mut ranges = Vec::new();
        for part in parts.iter().filter(|part| !small.iter().any(|other| Arc::ptr_eq(part, other))) {
            ranges.push(keep_part(disk, part, folder)?);
        }
        if table == Table::Coverage {
            ranges.push(build_coverage(disk, folder, &small)?);
        } else {
            let (range, written) = merge_marked(disk, folder, &small, (order, None), Vec::new(), &replaced)?;
            check_rows(folder, rows, written)?;
            ranges.extend(range);
        }
        Ok(ranges)
    })?;
    Ok(true)
}

fn is_compact(parts: &[Arc<Part>]) -> Result<bool, HistoryError> {
    for part in parts {
        let metadata = part.metadata()?;
        let entries = metadata.metadata().file_metadata().key_value_metadata();
        if !entries.is_some_and(|entries| entries.iter().any(|entry| entry.key == COMPACTED_KEY)) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn rows_of(parts: &[Arc<Part>]) -> Result<u64, HistoryError> {
    parts.iter().map(|part| Ok(part.metadata()?.metadata().file_metadata().num_rows().max(0) as u64)).sum()
}

fn build_changes(
    disk: &Disk,
    folder: &Path,
    parts: &[Arc<Part>],
    limits: CompactionLimits,
) -> Result<Vec<SeqRange>, HistoryError> {
    let rows = rows_of(parts)?;
    let bytes: u64 = parts.iter().map(|part| part.bytes).sum();
    let pieces = rows.div_ceil(limits.part_rows_max.max(1)).max(bytes.div_ceil(limits.part_bytes_max.max(1))).max(1);
    let cuts = match pieces {
        1 => Vec::new(),
        _ => cuts(sample(parts, rows)?, usize::try_from(pieces).unwrap_or(usize::MAX)),
    };

    let mut written = Vec::with_capacity(cuts.len() + 1);
    let mut rows_written = 0;
    // The first piece names the seqs that imports replaced, for all.
    let mut replaced = Vec::new();
    for part in parts {
        replaced.extend(replaced_seqs(part)?);
    }
    for piece in 0..=cuts.len() {
        let from = piece.checked_sub(1).and_then(|before| cuts.get(before)).copied();
        let to = cuts.get(piece).copied();
        let (range, rows) = merge_bounded(disk, folder, parts, Between { from, to }, &replaced)?;
        if let Some(range) = range {
            replaced.clear();
            written.push(range);
        }
        rows_written += rows;
    }
    check_rows(folder, rows, rows_written)?;
    Ok(written)
}

/// What was read must have been written.
fn check_rows(folder: &Path, read: u64, written: u64) -> Result<(), HistoryError> {
    if read == written {
        return Ok(());
    }
    let folder = folder.display();
    Err(HistoryError::Unknown(format!("{folder} was to hold {read} rows and holds {written}: nothing was replaced")))
}

/// Every n-th row's place.
fn sample(parts: &[Arc<Part>], rows: u64) -> Result<Vec<Place>, HistoryError> {
    let every = (rows / SAMPLE_PLACES_MAX).max(1) as usize;
    let mut places = Vec::new();
    let mut at = 0;
    for part in parts {
        for batch in read_projected(part, &["incarnation", "position"])? {
            let batch = batch?;
            let (incarnation, position) = (int32(&batch, "incarnation")?, int64(&batch, "position")?);
            while at < batch.num_rows() {
                places.push((incarnation.value(at), position.value(at)));
                at += every;
            }
            at -= batch.num_rows();
        }
    }
    Ok(places)
}

/// The places of one piece: from one cut on, below the next.
#[derive(Clone, Copy)]
struct Between {
    from: Option<Place>,
    to: Option<Place>,
}

impl Between {
    fn holds(self, place: Place) -> bool {
        self.from.is_none_or(|from| place >= from) && self.to.is_none_or(|to| place < to)
    }

    fn touches(self, part: &Part) -> Result<bool, HistoryError> {
        let (Some(incarnations), Some(positions)) = (int64_range(part, "incarnation")?, int64_range(part, "position")?)
        else {
            return Ok(true);
        };
        let smallest = (incarnations.0, positions.0);
        let greatest = (incarnations.1, positions.1);
        let wide = |(incarnation, position): Place| (i64::from(incarnation), position);
        Ok(self.from.is_none_or(|from| greatest >= wide(from)) && self.to.is_none_or(|to| smallest < wide(to)))
    }

    fn filter(self, batch: RecordBatch) -> Result<RecordBatch, HistoryError> {
        let (incarnation, position) = (int32(&batch, "incarnation")?, int64(&batch, "position")?);
        let inside: BooleanArray =
            (0..batch.num_rows()).map(|row| Some(self.holds((incarnation.value(row), position.value(row))))).collect();
        if inside.true_count() == batch.num_rows() {
            return Ok(batch);
        }
        filter_record_batch(&batch, &inside)
            .map_err(|source| HistoryError::Unknown(format!("cannot filter rows by position: {source}")))
    }
}

/// Writes the rows of one piece, merging as many parts at once as [`RUNS_MAX`] allows, and their results again.
fn merge_bounded(
    disk: &Disk,
    folder: &Path,
    parts: &[Arc<Part>],
    between: Between,
    replaced: &[(i64, i64)],
) -> Result<(Option<SeqRange>, u64), HistoryError> {
    let mut runs = Vec::new();
    for part in parts {
        if between.touches(part)? {
            runs.push(part.clone());
        }
    }
    let mut own: Vec<Arc<Part>> = Vec::new();
    while runs.len() > RUNS_MAX {
        let mut merged = Vec::new();
        for group in runs.chunks(RUNS_MAX) {
            if let Some(run) = merge_to_run(disk, folder, group, between, own.len())? {
                own.push(run.clone());
                merged.push(run);
            }
        }
        runs = merged;
    }
    let result = match runs.as_slice() {
        [] => (None, 0),
        runs => merge_into(disk, folder, runs, Order::Changes, Some(between), replaced)?,
    };
    for run in own {
        disk.remove_file(&run.path())?;
    }
    Ok(result)
}

/// Merges some parts into one file under a dot-name in the folder.
fn merge_to_run(
    disk: &Disk,
    folder: &Path,
    parts: &[Arc<Part>],
    between: Between,
    n: usize,
) -> Result<Option<Arc<Part>>, HistoryError> {
    let Some(part) = parts.first() else { return Ok(None) };
    let mut writer = PartWriter::create(disk, folder, part.table, &part.cluster, &[])?;
    let mut rows = 0;
    for batch in Merge::new(Order::Changes, runs(parts, Some(between))?) {
        let batch = batch?;
        rows += batch.num_rows();
        writer.write(&batch)?;
    }
    let (dot_path, written) = writer.finish_under_dot_name((rows == 0).then_some(part.range))?;
    let path = folder.join(format!(".run-{n}.parquet"));
    disk.rename(&dot_path, &path)?;
    Ok(Some(Arc::new(Part::new(part.table, part.cluster.clone(), part.day, written.range, path, written.bytes))))
}

fn runs(parts: &[Arc<Part>], between: Option<Between>) -> Result<Vec<Run>, HistoryError> {
    let mut runs: Vec<Run> = Vec::with_capacity(parts.len());
    for part in parts {
        let batches = read_bounded(part, RUNS_BATCH_BYTES_MAX / parts.len())?;
        runs.push(match between {
            Some(between) => Box::new(batches.map(move |batch| batch.and_then(|batch| between.filter(batch)))),
            None => Box::new(batches),
        });
    }
    Ok(runs)
}

/// Merges parts into one new part of the folder; gives its range, `None` where there was no row, and its rows.
fn merge_into(
    disk: &Disk,
    folder: &Path,
    parts: &[Arc<Part>],
    order: Order,
    between: Option<Between>,
    replaced: &[(i64, i64)],
) -> Result<(Option<SeqRange>, u64), HistoryError> {
    merge_marked(disk, folder, parts, (order, between), vec![(COMPACTED_KEY, "1".to_owned())], replaced)
}

fn merge_marked(
    disk: &Disk,
    folder: &Path,
    parts: &[Arc<Part>],
    (order, between): (Order, Option<Between>),
    mut marks: Vec<(&'static str, String)>,
    replaced: &[(i64, i64)],
) -> Result<(Option<SeqRange>, u64), HistoryError> {
    let Some(part) = parts.first() else { return Ok((None, 0)) };
    if !replaced.is_empty() {
        marks.push((REPLACED_KEY, show_seqs(replaced.to_vec())));
    }
    let mut rows = 0;
    let mut writer: Option<PartWriter> = None;
    for batch in Merge::new(order, runs(parts, between)?) {
        let batch = batch?;
        rows += batch.num_rows() as u64;
        let open = match &mut writer {
            Some(open) => open,
            None => writer.insert(PartWriter::create(disk, folder, part.table, &part.cluster, &marks)?),
        };
        open.write(&batch)?;
    }
    Ok((writer.map(|writer| writer.finish(None)).transpose()?.map(|written| written.range), rows))
}

fn build_coverage(disk: &Disk, folder: &Path, parts: &[Arc<Part>]) -> Result<SeqRange, HistoryError> {
    let Some(part) = parts.first() else {
        return Err(HistoryError::Unknown("there is nothing to join".to_owned()));
    };
    let mut batches = Vec::new();
    for part in parts {
        for batch in read(part)? {
            batches.push(batch?);
        }
    }
    let marks = [(COMPACTED_KEY, "1".to_owned())];
    let mut writer = PartWriter::create(disk, folder, part.table, &part.cluster, &marks)?;
    writer.write(&join_rolled(&batches)?)?;
    Ok(writer.finish(None)?.range)
}
