//! Opening a cluster's folder: for writing, with recovery, or read-only beside a running writer.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;

use super::coverage::rows_of_mark;
use super::disk::Disk;
use super::error::HistoryError;
use super::head;
use super::layout::{Day, Layout, Table};
use super::lock::Lock;
use super::part::Part;
use super::parts::{Flusher, list_parts};
use super::recorder::Settings;
use super::rows::{CoverageRow, coverage_batch, coverage_rows};
use super::state::State;
use super::view::{HeadBatch, TableView, View};
use super::wal::Seqs;
use super::wal::entry::{Kind, Section};
use super::wal::recovery::{Log, open_segments, read_log};
use super::wal::segment::Segment;
use super::wal::writer::{WalWriter, let_go};
use crate::zk::{Ended, Zxid};

mod clean;
mod recorded;
#[cfg(test)]
pub(crate) use clean::remove_leftovers;
pub use recorded::Recorded;

/// The first seq of every table. A snapshot taken before anything was recorded is at seq 0.
pub const FIRST_SEQ: i64 = 1;

/// A reader gives up after so many attempts to see the folder between two changes of it.
const ATTEMPTS_MAX: usize = 1_000;
const CORRUPT_ATTEMPTS_MAX: usize = 2;

/// One cluster's folder, open for writing: it holds the lock until it, or the recorder made of it, is gone.
pub struct History {
    pub(super) layout: Layout,
    pub(super) cluster: Arc<str>,
    pub(super) settings: Settings,
    pub(super) disk: Disk,
    pub(super) _lock: Lock,
    pub(super) state: Arc<State>,
    pub(super) wal: WalWriter,
    pub(super) next: Seqs,
    /// Rows of intervals that a crash left open, where there was no room to write them; shown, not yet durable.
    pub(super) unwritten: Vec<CoverageRow>,
    recorded: Recorded,
}

impl std::fmt::Debug for History {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("History").field("cluster", &self.cluster).field("next", &self.next).finish_non_exhaustive()
    }
}

impl History {
    /// Opens a cluster's folder, makes it where it is missing, and recovers what an earlier writer left: the whole WAL
    /// goes into parts, or, where the disk has no room for that, stays as the head. Blocks while it reads and writes.
    ///
    /// Leftovers (names with a leading dot) are removed, so nothing may work on the folder meanwhile. A query that still
    /// holds a View from before this process reopened the folder may find an exchanged day's files gone.
    pub fn open(layout: &Layout, cluster: &str, settings: Settings) -> Result<Self, HistoryError> {
        Self::open_on(Disk::new(), layout, cluster, settings, None)
    }

    /// As [`History::open`], for the process whose own recorder has just failed: it knows how the intervals ended that
    /// were open then, and their rows say so (`ended`), where after a crash nobody knows.
    pub fn open_after(layout: &Layout, cluster: &str, settings: Settings, ended: Ended) -> Result<Self, HistoryError> {
        Self::open_on(Disk::new(), layout, cluster, settings, Some(ended))
    }

    /// As [`History::open`], on a disk of the caller's.
    pub(crate) fn open_on(
        disk: Disk,
        layout: &Layout,
        cluster: &str,
        settings: Settings,
        ended: Option<Ended>,
    ) -> Result<Self, HistoryError> {
        let cluster: Arc<str> = cluster.into();
        let wal_dir = layout.wal(&cluster);
        disk.create_dir(&wal_dir)?;
        let lock = Lock::take(layout, &cluster)?;
        let parts = Parts::list(layout, &cluster)?;
        parts.check_formats()?;
        // An upgrade may have rewritten old days alone. A writer reads all of these anyway, but only once it has begun.
        recorded::check_each_format(parts.of(Table::Changes))?;
        let segments = open_segments(&wal_dir)?;
        let segments = segments
            .ok_or_else(|| HistoryError::Unknown(format!("{} changes while it is locked", wal_dir.display())))?;
        let log = read_log(segments)?;
        // Not before: what a newer zktrail has left is not ours to remove.
        clean::remove_leftovers(&disk, layout, &cluster)?;
        let Recovered { view, next, mut unwritten } = recover(parts, &cluster, &log, &wal_dir)?;
        unwritten.iter_mut().for_each(|row| row.ended = ended);
        let interrupted = unwritten.clone();
        let (view, next) = with_coverage(view, next, &unwritten, &wal_dir)?;
        let state = Arc::new(State::new(view));
        let (wal, unwritten) = settle(&disk, layout, &cluster, &settings, &state, log, next, unwritten)?;
        let recorded = Recorded::read(&state.view(), next.changes, interrupted)?;
        Ok(Self { layout: layout.clone(), cluster, settings, disk, _lock: lock, state, wal, next, unwritten, recorded })
    }

    /// The current View and its replacement; shared with queries and maintenance.
    pub fn state(&self) -> Arc<State> {
        self.state.clone()
    }

    /// Numbers behind everything that is in place, after work on the parts that failed half way.
    pub(crate) fn renumber(&mut self) {
        let view = self.state.view();
        for table in head::TABLES {
            let highest = view.parts(table).iter().map(|part| part.range.last).max().unwrap_or(0);
            self.next.set(table, self.next.of(table).max(highest + 1));
        }
    }

    /// What is on record, as the pipeline needs it to go on.
    pub fn recorded(&self) -> &Recorded {
        &self.recorded
    }
}

/// Opens a cluster's folder for queries only: takes no lock and writes nothing, also while a writer works on it.
///
/// The View is what was on record at one instant. It is not kept up to date; when a day is exchanged by another process,
/// opening one of the day's parts may fail with "no such file".
pub fn open_read_only(layout: &Layout, cluster: &str) -> Result<View, HistoryError> {
    let cluster: Arc<str> = cluster.into();
    let wal_dir = layout.wal(&cluster);
    let mut corrupt = 0;
    for _ in 0..ATTEMPTS_MAX {
        // The WAL first: what a flush moves to parts meanwhile is then seen twice and skipped once, never missed.
        let Some(segments) = open_segments(&wal_dir)? else { continue };
        let log = match read_log(segments) {
            Ok(log) => log,
            // A writer may begin and let go of segments while they are listed: corrupt is what stays so.
            Err(HistoryError::CorruptWal { .. }) if corrupt < CORRUPT_ATTEMPTS_MAX => {
                corrupt += 1;
                continue;
            }
            Err(error) => return Err(error),
        };
        let Some(parts) = Parts::list_settled(layout, &cluster)? else { continue };
        match parts.check_formats() {
            Ok(()) => {}
            Err(HistoryError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        }
        let Recovered { view, .. } = recover(parts, &cluster, &log, &wal_dir)?;
        return if is_observed(layout, &cluster, &view) { Ok(view) } else { not_observed(view, &wal_dir) };
    }
    Err(HistoryError::Unknown(format!("{} changed each time it was read: try again", wal_dir.display())))
}

/// A mark so young was written by somebody, also where the lock's holder is out of sight (another container).
const MARK_AGE_MAX_MICROS: u64 = 5_000_000;

/// Whether somebody observes what the last mark says is being observed.
fn is_observed(layout: &Layout, cluster: &str, view: &View) -> bool {
    let marked = view.open_coverage.column_by_name("to_time").and_then(|column| {
        arrow::compute::max(column.as_primitive_opt::<arrow::datatypes::TimestampMicrosecondType>()?)
    });
    let now = crate::zk::Micros::now().0;
    let young = marked.is_some_and(|marked| now.abs_diff(marked) <= MARK_AGE_MAX_MICROS);
    young || super::lock::is_held(layout, cluster)
}

/// The same View where nobody observes: the intervals of the last mark ended there, without a last word.
fn not_observed(mut view: View, wal_dir: &Path) -> Result<View, HistoryError> {
    if view.open_coverage.num_rows() > 0 {
        let day = day_of(Table::Coverage, &view.open_coverage, wal_dir)?;
        let batch = super::state::numbered_coverage(&view)
            .map_err(|source| HistoryError::Arrow { path: wal_dir.to_owned(), source })?;
        let mut head = view.coverage.head.to_vec();
        head.push(HeadBatch { day, batch });
        view.coverage.head = head.into();
        view.open_coverage = view.open_coverage.slice(0, 0);
    }
    Ok(view)
}

/// The parts of every table, in the order of [`Table::ALL`].
struct Parts([Vec<Arc<Part>>; Table::ALL.len()]);

impl Parts {
    fn list(layout: &Layout, cluster: &Arc<str>) -> Result<Self, HistoryError> {
        let [changes, coverage, sessions, audit, snapshots] = Table::ALL;
        Ok(Self([
            list_parts(layout, changes, cluster)?,
            list_parts(layout, coverage, cluster)?,
            list_parts(layout, sessions, cluster)?,
            list_parts(layout, audit, cluster)?,
            list_parts(layout, snapshots, cluster)?,
        ]))
    }

    /// The parts as they were at one instant: listed twice with the same result. Folders are listed one after the other,
    /// so a single listing may show a later part and miss an earlier one.
    fn list_settled(layout: &Layout, cluster: &Arc<str>) -> Result<Option<Self>, HistoryError> {
        let first = Self::list(layout, cluster)?;
        let second = Self::list(layout, cluster)?;
        let same = first.0.iter().zip(&second.0).all(|(a, b)| {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a.day, a.range, a.bytes) == (b.day, b.range, b.bytes))
        });
        Ok(same.then_some(second))
    }

    fn check_formats(&self) -> Result<(), HistoryError> {
        self.0.iter().try_for_each(|parts| recorded::check_format(parts))
    }

    fn of(&self, table: Table) -> &[Arc<Part>] {
        Table::ALL.iter().zip(&self.0).find(|(of, _)| **of == table).map_or(&[], |(_, parts)| parts)
    }

    /// The highest seq that a part of each table holds; 0 where there is none.
    fn highest(&self) -> Seqs {
        let mut highest = Seqs::default();
        for table in head::TABLES {
            highest.set(table, self.of(table).iter().map(|part| part.range.last).max().unwrap_or(0));
        }
        highest
    }
}

/// Parts and log put together.
struct Recovered {
    view: View,
    next: Seqs,
    /// What the last mark says was being observed, unless it is in parts already.
    unwritten: Vec<CoverageRow>,
}

fn recover(parts: Parts, cluster: &Arc<str>, log: &Log, wal_dir: &Path) -> Result<Recovered, HistoryError> {
    let arrow = |source| HistoryError::Arrow { path: wal_dir.to_owned(), source };
    let highest = parts.highest();
    let snapshot = parts.of(Table::Snapshots).iter().map(|part| part.range.last).max().unwrap_or(0);
    // What a snapshot's name, or the begin of a segment, tells of seqs stays true when retention has dropped the rows.
    let first = Seqs::default().plus(FIRST_SEQ);
    let mut next = first.max(highest.plus(1)).max(log.next);
    next.changes = next.changes.max(snapshot + 1);

    let mut rows: [Vec<HeadBatch>; 3] = Default::default();
    for logged in &log.rows {
        let (Some(seqs), Some(rows)) = (
            head::seqs(&logged.batch),
            head::TABLES.iter().position(|table| *table == logged.table).and_then(|index| rows.get_mut(index)),
        ) else {
            continue;
        };
        let durable = highest.of(logged.table);
        if seqs.last <= durable {
            continue;
        }
        let skip = usize::try_from(durable + 1 - seqs.first).unwrap_or(0);
        let batch = logged.batch.slice(skip, logged.batch.num_rows() - skip);
        let day = day_of(logged.table, &batch, wal_dir)?;
        rows.push(HeadBatch { day, batch });
    }
    let [changes, coverage, sessions] = rows;
    let merged = |rows: Vec<HeadBatch>| head::append(&[], rows, 0).map_err(arrow);
    let (changes, coverage, sessions) = (merged(changes)?, merged(coverage)?, merged(sessions)?);

    // Rows numbered after the log's own exist only where an earlier recovery made them of the mark.
    let turned = highest.coverage >= log.next.coverage && !log.segments.is_empty();
    let mark = log.mark.as_ref().filter(|_| !turned);
    let unwritten = mark.map(rows_of_mark).transpose().map_err(arrow)?.unwrap_or_default();
    let open_coverage = match mark {
        Some(mark) => mark.clone(),
        None => no_coverage().map_err(arrow)?,
    };
    let [changes_parts, coverage_parts, sessions_parts, audit, snapshots] = parts.0;
    let view = View {
        cluster: cluster.clone(),
        changes: TableView { parts: changes_parts.into(), head: changes },
        coverage: TableView { parts: coverage_parts.into(), head: coverage },
        sessions: TableView { parts: sessions_parts.into(), head: sessions },
        audit: audit.into(),
        snapshots: snapshots.into(),
        open_coverage,
    };
    Ok(Recovered { view, next, unwritten })
}

fn no_coverage() -> Result<RecordBatch, arrow::error::ArrowError> {
    coverage_batch(&[], std::iter::empty())
}

/// The View with the open intervals as rows of coverage that ended nobody knows how.
fn with_coverage(
    mut view: View,
    mut next: Seqs,
    rows: &[CoverageRow],
    wal_dir: &Path,
) -> Result<(View, Seqs), HistoryError> {
    let arrow = |source| HistoryError::Arrow { path: wal_dir.to_owned(), source };
    let batches = coverage_rows(rows, next.coverage).map_err(arrow)?;
    next.coverage += rows.len() as i64;
    view.coverage.head = head::append(&view.coverage.head, batches, 0).map_err(arrow)?;
    view.open_coverage = no_coverage().map_err(arrow)?;
    Ok((view, next))
}

/// The day to which recorded rows go: that on which they were observed. A batch never spans two.
fn day_of(table: Table, batch: &RecordBatch, wal_dir: &Path) -> Result<Day, HistoryError> {
    let name = match table {
        Table::Changes => "observed_at",
        Table::Coverage => "to_time",
        Table::Sessions | Table::Audit | Table::Snapshots => "time",
    };
    let times = batch.column_by_name(name).and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
    let first = times.and_then(|times| times.values().first());
    let first = first.ok_or_else(|| HistoryError::Unknown(format!("{}: rows without {name}", wal_dir.display())))?;
    Ok(Day(crate::zk::Micros(*first).day()))
}

/// Makes what was recovered durable beyond doubt and gives the log to write to: either everything goes into parts and a
/// fresh segment begins, or, where there is no room, the old segments are made durable as they are and go on.
#[allow(clippy::too_many_arguments)]
fn settle(
    disk: &Disk,
    layout: &Layout,
    cluster: &Arc<str>,
    settings: &Settings,
    state: &State,
    log: Log,
    next: Seqs,
    unwritten: Vec<CoverageRow>,
) -> Result<(WalWriter, Vec<CoverageRow>), HistoryError> {
    let wal_dir = layout.wal(cluster);
    let flushed = disk.check_floor(layout.dir(), settings.free_space_floor_percent).and_then(|()| {
        let flusher = Flusher { disk, layout, state, cluster };
        for table in head::TABLES {
            flusher.flush(table, next.of(table) - 1)?;
        }
        let first = log.end.map_or(0, |end| end.next_number);
        let wal = WalWriter::create(disk, cluster, &wal_dir, first, next, &[empty_mark(next, &wal_dir)?])?;
        let_go(disk, &wal_dir, &log.segments)?;
        Ok(wal)
    });
    let error = match flushed {
        Ok(wal) => return Ok((wal, Vec::new())),
        Err(error) => error,
    };
    let (true, Some(end), Some(last)) = (error.is_disk_full(), log.end, log.segments.last()) else {
        return Err(error);
    };
    tracing::warn!(%cluster, %error, "no room to write the recovered log into parts: it stays as it is");
    if log.segments.iter().any(|segment| !segment.path.exists()) {
        return Err(error);
    }
    // A fresh segment may have been begun before the disk filled up; it holds no row, and would hide the end of the last.
    disk.remove_file(&Segment::new(&wal_dir, end.next_number).path)?;
    rewrite(disk, &last.path, end.valid_bytes, end.torn_bytes)?;
    disk.sync_dir(&wal_dir)?;
    // Coverage that parts hold by now needs no second writing.
    let durable = state.view().coverage.parts.iter().map(|part| part.range.last).max().unwrap_or(0);
    let first_unwritten = next.coverage - unwritten.len() as i64;
    let written = usize::try_from(durable + 1 - first_unwritten).unwrap_or(0).min(unwritten.len());
    let unwritten = unwritten.get(written..).unwrap_or_default().to_vec();
    Ok((WalWriter::resume(disk, cluster, &wal_dir, log.segments, end)?, unwritten))
}

/// A mark without any interval: nobody observes.
fn empty_mark(next: Seqs, wal_dir: &Path) -> Result<Section, HistoryError> {
    let batch = no_coverage().map_err(|source| HistoryError::Arrow { path: wal_dir.to_owned(), source })?;
    Ok(Section { kind: Kind::Mark, first_seq: next.coverage, batch })
}

/// Cuts a segment after its valid frames and writes them in place again, so that they are on the disk even if the last
/// fsync before had failed: the kernel keeps such pages but takes them for clean. Needs no free space.
fn rewrite(disk: &Disk, path: &Path, valid_bytes: u64, torn_bytes: u64) -> Result<(), HistoryError> {
    let bytes = std::fs::read(path).map_err(|source| HistoryError::io("read", path, source))?;
    let file = disk.write_to(path)?;
    if torn_bytes > 0 {
        file.truncate(valid_bytes)?;
    }
    let valid = usize::try_from(valid_bytes).ok().and_then(|valid| bytes.get(..valid));
    let valid =
        valid.ok_or_else(|| HistoryError::Unknown(format!("{} became shorter while it is locked", path.display())))?;
    file.write_at(valid, 0)?;
    file.sync()
}

/// The greatest zxid of nothing.
const NO_POSITION: Zxid = Zxid(0);
