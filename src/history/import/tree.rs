//! The whole tree at a zxid, as the log proves it.

use std::cmp::Ordering;
use std::path::Path;
use std::sync::Arc;

use arrow::array::Int64Array;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;

use super::super::days::{PartWriter, kept_marks, read};
use super::super::error::HistoryError;
use super::super::layout::{Day, SeqRange, Table};
use super::super::open::History;
use super::super::part::Part;
use super::super::recorder::SnapshotAt;
use super::super::replay::fold::Znode;
use super::super::replay::ranges::PathRanges;
use super::super::replay::rows::{Needs, Row};
use super::super::replay::scan::{parts_by_position, scan_head, scan_part};
use super::super::replay::snapshot::{Snapshot, SnapshotRun};
use super::super::snapshots::{Found, INCARNATION_KEY, PLACED_BY_LOG, PLACED_BY_WATCH, PLACED_KEY, Rows, SnapshotRow};
use super::super::view::View;
use super::{ImportError, Importer};
use crate::zk::{Micros, ZkPath, Zxid};

/// A znode with its value, which has passed the policy.
#[derive(Clone, Debug, PartialEq)]
pub struct ZnodeRow {
    /// `data_length` is what the policy leaves of it.
    pub znode: SnapshotRow,
    pub data: Option<Bytes>,
    pub data_hash: Option<i64>,
}

impl Importer<'_> {
    /// Writes the tree after the transaction `at` as a placed snapshot, unless there is one.
    pub(super) fn write_tree<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
        &mut self,
        at: Zxid,
        time: Micros,
        rows: impl Iterator<Item = Result<ZnodeRow, E>>,
    ) -> Result<(), ImportError> {
        let view = self.history.state.view();
        let snapshots = view.snapshots.iter().map(Snapshot::of).collect::<Result<Vec<_>, _>>()?;
        let own = |snapshot: &&Snapshot| snapshot.incarnation == self.so_far.settings.incarnation;
        if snapshots.iter().filter(own).any(|snapshot| snapshot.placed && snapshot.position == at.0) {
            return Ok(());
        }
        // Nothing else tells so early that the log is of another ensemble.
        let beside = match self.so_far.reached {
            None => snapshots.iter().filter(own).min_by_key(|snapshot| snapshot.position.abs_diff(at.0)),
            Some(_) => None,
        };
        let mut compared = beside.map(|beside| Compared::open(beside, at.0)).transpose()?;

        let history = &self.history;
        let (disk, layout, cluster) = (&history.disk, &history.layout, &history.cluster);
        let seq = history.next.changes - 1;
        let (day, range) = free_name(&view, Day(time.day()), seq);
        let at_place = SnapshotAt {
            seq,
            incarnation: self.so_far.settings.incarnation,
            position: at,
            taken_at: time,
            view: view.clone(),
        };
        let folder = layout.cluster(Table::Snapshots, cluster);
        disk.create_dir(&folder)?;
        let marks = [
            (INCARNATION_KEY, self.so_far.settings.incarnation.to_string()),
            ("zktrail.position", at.0.to_string()),
            ("zktrail.taken_at", time.to_string()),
            (PLACED_KEY, PLACED_BY_LOG.to_owned()),
        ];
        let mut writer = PartWriter::create(disk, &folder, Table::Snapshots, cluster, &marks)?;
        let mut batch = Rows::new(&at_place);
        let mut last: Option<ZkPath> = None;
        for row in rows {
            let ZnodeRow { znode, data, data_hash } =
                row.map_err(|source| ImportError::Tree { at, source: source.into() })?;
            if last.as_ref().is_some_and(|last| last.as_bytes() >= znode.path.as_bytes()) {
                let source = format!("{:?} is out of order", znode.path).into();
                return Err(ImportError::Tree { at, source });
            }
            if let Some(compared) = &mut compared {
                compared.with(&znode)?;
            }
            let data_length = znode.data_length;
            batch.push(&znode, Some(Found { data: data.map(Vec::from), data_length, data_hash }));
            if batch.is_full() {
                writer.write(&batch.finish()?)?;
            }
            last = Some(znode.path);
        }
        if last.is_none() {
            return Err(ImportError::Tree { at, source: "it has no znode, not even the root".into() });
        }
        writer.write(&batch.finish()?)?;
        let (dot_path, written) = writer.finish_under_dot_name(Some(range))?;
        place(history, day, range, &dot_path, written.bytes)?;
        self.so_far.summary.snapshots += 1;
        Ok(())
    }
}

impl Importer<'_> {
    /// Takes over the snapshots of another history that hold the transactions up to their position, no more and no less: those
    /// placed, and those of watches that reach further back than any here.
    pub(super) fn copy_trees(&mut self, other: &View) -> Result<(), ImportError> {
        let mine = self.history.state.view();
        let mut own = mine.snapshots.iter().map(Snapshot::of).collect::<Result<Vec<_>, _>>()?;
        let mut theirs = other.snapshots.iter().map(Snapshot::of).collect::<Result<Vec<_>, _>>()?;
        theirs.sort_by_key(|snapshot| (snapshot.incarnation, snapshot.position));
        for snapshot in theirs {
            let place = (snapshot.incarnation, snapshot.position);
            let is_known = own.iter().any(|own| own.placed && (own.incarnation, own.position) == place);
            let of_incarnation = || own.iter().filter(|own| !own.placed && own.incarnation == snapshot.incarnation);
            let reaches_back = of_incarnation().all(|own| snapshot.position < own.position);
            let wanted = snapshot.placed || (reaches_back && snapshot.unsettled == 0 && is_exact_at(other, &snapshot)?);
            if is_known || !wanted {
                continue;
            }
            let part = self.copy_tree(&snapshot)?;
            own.push(Snapshot::of(&part)?);
        }
        Ok(())
    }

    fn copy_tree(&mut self, snapshot: &Snapshot) -> Result<Arc<Part>, HistoryError> {
        let history = &self.history;
        let (disk, layout, cluster) = (&history.disk, &history.layout, &history.cluster);
        let seq = history.next.changes - 1;
        let (day, range) = free_name(&history.state.view(), snapshot.part.day, seq);
        let folder = layout.cluster(Table::Snapshots, cluster);
        disk.create_dir(&folder)?;
        let mut marks = kept_marks(&snapshot.part)?;
        if !marks.iter().any(|(key, _)| *key == PLACED_KEY) {
            marks.push((PLACED_KEY, PLACED_BY_WATCH.to_owned()));
        }
        let mut writer = PartWriter::create(disk, &folder, Table::Snapshots, cluster, &marks)?;
        for batch in read(&snapshot.part)? {
            let batch = batch?;
            let arrow = |source| HistoryError::Arrow { path: snapshot.part.path(), source };
            let column = batch.schema().index_of("seq").map_err(arrow)?;
            let mut columns = batch.columns().to_vec();
            if let Some(seqs) = columns.get_mut(column) {
                *seqs = Arc::new(Int64Array::from(vec![seq; batch.num_rows()]));
            }
            writer.write(&RecordBatch::try_new(batch.schema(), columns).map_err(arrow)?)?;
        }
        let (dot_path, written) = writer.finish_under_dot_name(Some(range))?;
        let part = place(history, day, range, &dot_path, written.bytes)?;
        self.so_far.summary.snapshots += 1;
        Ok(part)
    }
}

/// The first day from this one on that has no snapshot of this seq: a snapshot's name is its seq, and many may be
/// placed while nothing new comes.
fn free_name(view: &View, mut day: Day, seq: i64) -> (Day, SeqRange) {
    let range = SeqRange { first: seq, last: seq };
    while view.snapshots.iter().any(|part| part.day == day && part.range == range) {
        day = Day(day.0 + 1);
    }
    (day, range)
}

fn place(history: &History, day: Day, range: SeqRange, dot_path: &Path, bytes: u64) -> Result<Arc<Part>, HistoryError> {
    let (disk, layout, cluster) = (&history.disk, &history.layout, &history.cluster);
    let folder = layout.cluster(Table::Snapshots, cluster);
    let day_folder = layout.day(Table::Snapshots, cluster, day);
    history.state.add_part(|| {
        disk.create_dir(&day_folder)?;
        let path = day_folder.join(range.file_name(Table::Snapshots));
        disk.rename(dot_path, &path)?;
        disk.sync_dir(&day_folder)?;
        disk.sync_dir(&folder)?;
        Ok(Arc::new(Part::new(Table::Snapshots, cluster.clone(), day, range, path, bytes)))
    })
}

/// Whether the rows up to a snapshot's seq are those of the transactions up to its position.
fn is_exact_at(view: &View, snapshot: &Snapshot) -> Result<bool, HistoryError> {
    let mut exact = true;
    let mut check = |row: Row<'_>| {
        let by_place = match row.zxid() {
            Some(zxid) => zxid <= snapshot.position,
            None => row.position() < snapshot.position,
        };
        exact &= row.incarnation() != snapshot.incarnation || by_place == (row.seq() <= snapshot.seq);
    };
    scan_head(&view.changes, Needs::default(), &mut check)?;
    for (part, (min, max)) in parts_by_position(&view.changes)? {
        let may_differ = (part.range.first <= snapshot.seq && max >= snapshot.position)
            || (part.range.last > snapshot.seq && min <= snapshot.position);
        if may_differ {
            scan_part(&part, Needs::default(), |_| true, &mut check)?;
        }
    }
    Ok(exact)
}

/// A tree on record beside the one that an import begins with: what was created before both must be the same in both.
struct Compared {
    run: SnapshotRun,
    before: i64,
    znode: Znode,
    more: bool,
}

impl Compared {
    fn open(snapshot: &Snapshot, at: i64) -> Result<Self, HistoryError> {
        let needs = Needs { stat: true, ..Needs::default() };
        let mut run = SnapshotRun::open(&snapshot.part, needs, PathRanges::all())?;
        let more = run.advance()?;
        Ok(Self { run, before: snapshot.position.min(at), znode: Znode::default(), more })
    }

    fn with(&mut self, row: &SnapshotRow) -> Result<(), ImportError> {
        while self.more {
            let order = self.run.path().map(|path| path.as_bytes().cmp(row.path.as_bytes()));
            match order {
                Some(Ordering::Less) => self.more = self.run.advance()?,
                Some(Ordering::Equal) => {
                    self.run.fill(&mut self.znode);
                    return self.check(row);
                }
                Some(Ordering::Greater) | None => return Ok(()),
            }
        }
        Ok(())
    }

    /// A life that both trees' times lie in is one life.
    fn check(&self, row: &SnapshotRow) -> Result<(), ImportError> {
        let (Some(recorded), Some(given)) = (self.znode.czxid, row.czxid) else { return Ok(()) };
        // The root and what a server makes by itself have no transaction.
        if recorded == 0 || given.0 == 0 {
            return Ok(());
        }
        // The older tree has the znode, so each life that began before it goes on into the other, unless it ended.
        let same_time = match (self.znode.ctime, row.ctime) {
            (Some(recorded), Some(given)) => recorded == given.0,
            _ => true,
        };
        let old = recorded.max(given.0) <= self.before;
        if (recorded == given.0 && same_time) || (recorded != given.0 && !old) {
            return Ok(());
        }
        let what = format!(
            "it was created at zxid {} by the record and at {given} by the log{}",
            Zxid(recorded),
            if recorded == given.0 { ", at another time" } else { "" }
        );
        Err(ImportError::Contradiction { path: row.path.to_string(), zxid: given, what })
    }
}
