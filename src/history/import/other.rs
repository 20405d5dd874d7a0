//! Another agent's history of the same cluster is merged into this one: what both recorded is there once, and each closes
//! the other's gaps.
//!
//! It goes position by position through the other's rows, a bounded stretch at a time. A row of the other is the same as one
//! here by (zxid, path, kind, n); where one of both has no zxid, by path, kind, life and version, and by its place: not
//! before its position, not after the next zxid that its agent heard live behind it. What is left is new here: it gets the
//! next seqs and keeps its day, so that merging again finds it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use super::super::days::{int64_range, read, read_projected};
use super::super::error::HistoryError;
use super::super::layout::Day;
use super::super::open::History;
use super::super::replay::rows::column;
use super::super::view::View;
use super::days::{DayPlan, Fix};
use super::pairs::{Pairs, Theirs, pair};
use super::recorded::{self, Recorded, Wanted};
use super::{CARRIED_ROWS_MAX, Heard, ImportError, ImportSettings, ImportSummary, Importer, cover, decode};
use crate::zk::{Change, ChangeKind, Zxid};

/// Positions that are held to cut the other history into stretches.
const SAMPLE_MAX: u64 = 1 << 20;

impl History {
    /// Merges what another folder holds of this cluster. `settings.incarnation` is not looked at: each of the other's
    /// incarnations meets the one of the same number here. Values stay as each folder's policy left them.
    ///
    /// # Errors
    /// [`ImportError::Contradiction`] where both cannot be of one ensemble, as a rule before anything is written.
    pub fn merge(&mut self, other: &View, settings: ImportSettings) -> Result<ImportSummary, ImportError> {
        let mut importer = self.import(settings)?;
        for incarnation in incarnations(other)? {
            importer.so_far.settings.incarnation = incarnation;
            importer.so_far.heard = Heard::of(&importer.history.state.view(), incarnation)?;
            (importer.so_far.begin, importer.so_far.reached) = (None, None);
            let heard = Heard::of(other, incarnation)?;
            let mut low = i64::MIN;
            let mut theirs = Vec::new();
            for to in stretches(other, incarnation, importer.chunk_bytes_max)? {
                theirs = importer.merge_stretch(other, &heard, (low, to), theirs)?;
                low = to;
            }
            importer.so_far.carried.clear();
        }
        importer.so_far.summary.coverage += cover::add_coverage_of(importer.history, other)?;
        let sightings = cover::sightings_of(other)?;
        importer.so_far.summary.sightings += cover::add_sightings(importer.history, sightings)?;
        importer.copy_trees(other)?;
        importer.finish()
    }
}

/// The incarnations of another history's changes.
fn incarnations(other: &View) -> Result<BTreeSet<i32>, HistoryError> {
    let mut found = BTreeSet::new();
    for part in other.changes.parts.iter() {
        if let Some((min, max)) = int64_range(part, "incarnation")? {
            found.extend((min..=max).filter_map(|number| i32::try_from(number).ok()));
        }
    }
    for head in other.changes.head.iter() {
        let numbers = column::<arrow::array::Int32Array>(&head.batch, "incarnation", Path::new("the head of changes"))?;
        found.extend(numbers.values());
    }
    Ok(found)
}

/// Positions that cut an incarnation's rows into pieces of about so many bytes; the last is beyond all of them.
fn stretches(other: &View, incarnation: i32, bytes_max: usize) -> Result<Vec<i64>, HistoryError> {
    let mut rows = 0;
    let mut bytes = 0;
    for part in other.changes.parts.iter() {
        let metadata = part.metadata()?;
        for group in metadata.metadata().row_groups() {
            rows += group.num_rows().max(0) as u64;
            bytes += group.total_byte_size().max(0) as u64;
        }
    }
    let every = (rows / SAMPLE_MAX).max(1) as usize;
    let row_bytes = size_of::<Change>() as u64 + bytes / rows.max(1);
    let piece = (bytes_max as u64 / row_bytes.max(1) / every as u64).max(1) as usize;
    let mut sample: Vec<i64> = Vec::new();
    let mut take = |batch: &arrow::record_batch::RecordBatch, place: &Path| -> Result<(), HistoryError> {
        let numbers = column::<arrow::array::Int32Array>(batch, "incarnation", place)?;
        let positions = column::<arrow::array::Int64Array>(batch, "position", place)?;
        let own = (0..batch.num_rows()).filter(|at| numbers.value(*at) == incarnation);
        sample.extend(own.step_by(every).map(|at| positions.value(at)));
        Ok(())
    };
    for part in other.changes.parts.iter() {
        for batch in read_projected(part, &["incarnation", "position"])? {
            take(&batch?, &part.path())?;
        }
    }
    for head in other.changes.head.iter() {
        take(&head.batch, Path::new("the head of changes"))?;
    }
    sample.sort_unstable();
    let mut cuts: Vec<i64> = sample.chunks(piece).filter_map(|piece| piece.last().copied()).collect();
    cuts.pop();
    cuts.dedup();
    cuts.push(i64::MAX);
    Ok(cuts)
}

/// (seq, zxid) of rows that were heard live, by seq.
type Live = Vec<(i64, i64)>;

/// The other's rows at positions after `low`, up to `to`, and what was heard live there.
fn read_theirs(
    other: &View,
    incarnation: i32,
    (low, to): (i64, i64),
    heard: &Heard,
) -> Result<(Vec<Theirs>, Live), HistoryError> {
    let (mut rows, mut live) = (Vec::new(), Vec::new());
    let mut add = |day: Day, seq: i64, change: Change| {
        if change.incarnation != incarnation || change.position.0 <= low || change.position.0 > to {
            return;
        }
        let was_live = match change.zxid {
            Some(zxid) if super::complete::rank(change.source) > 1 => heard.is_live(zxid.0, change.observed_at.0),
            Some(_) => change.source == crate::zk::Source::Watch,
            None => false,
        };
        if let (true, Some(zxid)) = (was_live, change.zxid) {
            live.push((seq, zxid.0));
        }
        rows.push(Theirs { day, seq, change, bound: None });
    };
    for part in recorded::window(other, (low, to), None, incarnation)? {
        for batch in read(&part)? {
            for (seq, change) in decode::changes(&batch?, &part.path())? {
                add(part.day, seq, change);
            }
        }
    }
    for head in other.changes.head.iter() {
        for (seq, change) in decode::changes(&head.batch, Path::new("the head of changes"))? {
            add(head.day, seq, change);
        }
    }
    live.sort_unstable();
    Ok((rows, live))
}

impl Importer<'_> {
    /// Merges a stretch of positions. `carried` are the other's rows that may be of a later one; gives those that still are.
    fn merge_stretch(
        &mut self,
        other: &View,
        heard: &Heard,
        (low, to): (i64, i64),
        carried: Vec<Theirs>,
    ) -> Result<Vec<Theirs>, ImportError> {
        let incarnation = self.so_far.settings.incarnation;
        let (found, live) = read_theirs(other, incarnation, (low, to), heard)?;
        let mut theirs = carried;
        theirs.extend(found);
        for row in theirs.iter_mut().filter(|row| row.change.zxid.is_none() && row.bound.is_none()) {
            let next = live.partition_point(|(seq, _)| *seq <= row.seq);
            let later = live.get(next..).unwrap_or_default();
            row.bound = later.iter().find(|(_, zxid)| *zxid >= row.change.position.0).map(|(_, zxid)| *zxid);
        }
        let place = |row: &Theirs| (row.change.position, row.change.zxid.is_none(), row.change.ordinal, row.seq);
        theirs.sort_by_key(place);

        let parts = recorded::window(&self.history.state.view(), (low, to), None, incarnation)?;
        let wanted = Wanted { incarnation, scope: "/", low, to, unplaced_after: None, late: None };
        let mut window = recorded::read(&parts, wanted, &self.so_far.heard)?;
        let mut mine = std::mem::take(&mut self.so_far.carried);
        mine.append(&mut window.rows);
        mine.iter_mut().for_each(|row| window.bound(row));
        drop(window);

        let Pairs { fixes, new, carried, my_carried, same } = pair(&mine, &theirs, to)?;
        self.so_far.summary.unchanged += same;
        self.so_far.summary.completed += fixes.len() as u64;
        self.so_far.carried = my_carried.into_iter().map(|at| mine[at].clone()).collect();
        self.so_far.carried.truncate(CARRIED_ROWS_MAX);
        acls_in_order(&mine, &mut theirs, &new);
        let plans = plans(&mine, &theirs, fixes, new);
        let changes: Vec<Change> = theirs.iter().map(|row| row.change.clone()).collect();
        for (day, plan) in plans {
            self.so_far.summary.new += plan.new.len() as u64;
            self.write_day(day, &plan, &changes)?;
        }
        let kept: BTreeSet<usize> = carried.into_iter().collect();
        let rest = theirs.into_iter().enumerate().filter(|(at, _)| kept.contains(at));
        Ok(rest.map(|(_, row)| row).collect())
    }
}

/// Puts new rows of ACL changes where their aversion says, among those here whose place is no better known: sweeps of two
/// agents each see the last ACL, and each at another time.
fn acls_in_order(mine: &[Recorded], theirs: &mut [Theirs], new: &[usize]) {
    let is_loose_acl = |kind: ChangeKind, zxid: Option<i64>| kind == ChangeKind::AclChanged && zxid.is_none();
    let mut own: HashMap<(&str, Option<i64>), Vec<&Recorded>> = HashMap::new();
    for row in mine.iter().filter(|row| is_loose_acl(row.kind, row.zxid)) {
        own.entry((&row.path, row.czxid)).or_default().push(row);
    }
    for at in new {
        let Some(Theirs { change, .. }) = theirs.get_mut(*at) else { continue };
        if !is_loose_acl(change.kind, change.zxid.map(|zxid| zxid.0)) {
            continue;
        }
        let of_path = own.get(&(&*change.path, change.czxid.map(|zxid| zxid.0)));
        for row in of_path.into_iter().flatten() {
            let (Some(own), Some(other)) = (row.aversion, change.aversion) else { continue };
            let later = other.wrapping_sub(own);
            if later < 0 && row.position <= change.position.0 {
                change.ordinal = change.ordinal.min(row.ordinal.saturating_sub(1));
                change.position = Zxid(row.position);
            } else if later > 0 && row.position > change.position.0 {
                change.position = Zxid(row.position);
            }
        }
    }
}

fn plans(
    mine: &[Recorded],
    theirs: &[Theirs],
    fixes: Vec<(usize, usize)>,
    mut new: Vec<usize>,
) -> BTreeMap<Day, DayPlan> {
    let mut plans: BTreeMap<Day, DayPlan> = BTreeMap::new();
    for (own, by) in fixes {
        let row = &mine[own];
        plans.entry(row.day).or_default().fixes.insert(row.seq, Fix::Completed(by));
    }
    new.sort_unstable();
    for at in new {
        plans.entry(theirs[at].day).or_default().new.push(at as u32);
    }
    plans
}
