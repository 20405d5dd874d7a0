//! A chunk meets what is on record.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::super::part::Part;
use super::super::replay::locate::greatest;
use super::super::replay::rows::Key;
use super::chunk::{Chunk, by_day, sort_by_path};
use super::days::{DayPlan, Fix};
use super::recorded::{self, Recorded, Wanted};
use super::twins::{Fate, Reach, behind, fates, heard_behind};
use super::{CARRIED_ROWS_MAX, HistoryError, ImportError, Importer};
use crate::zk::Change;

/// The parts that may hold what a stretch of the stream is already, and which of their rows.
pub(super) struct Stretch {
    pub(super) parts: Vec<Arc<Part>>,
    low: i64,
    to: i64,
    unplaced_after: Option<i64>,
    late_after: Option<i64>,
}

impl Stretch {
    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }
}

impl Importer<'_> {
    /// Finds what may be on record of the zxids after `low`, up to `to`.
    pub(super) fn window(&self, low: i64, to: i64) -> Result<Stretch, HistoryError> {
        let view = self.history.state.view();
        let incarnation = self.so_far.settings.incarnation;
        let mut unplaced_after = self.so_far.unseen_after;
        if self.so_far.reached.is_none() {
            // What was recorded before the last row that was heard live before the stream happened before it, too.
            let heard = &self.so_far.heard;
            let live = |row: super::super::replay::rows::Row<'_>| match row.zxid() {
                Some(zxid) if row.is_lossless() => row.observed_at().is_some_and(|at| heard.is_live(zxid, at)),
                Some(_) => row.source() == "watch",
                None => false,
            };
            let before = greatest(&view, incarnation, Some(Key::after(low)), live)?;
            unplaced_after = Some(before.map_or(i64::MIN, |key| key.seq));
        }
        let parts = recorded::window(&view, (low, to), unplaced_after, incarnation)?;
        Ok(Stretch { parts, low, to, unplaced_after, late_after: self.so_far.unseen_after })
    }

    /// Finds the twins of a chunk and writes what is new or knows more.
    pub(super) fn merge(&mut self, chunk: Chunk, stretch: &Stretch) -> Result<(), ImportError> {
        let scope = self.so_far.settings.scope.clone();
        let wanted = Wanted {
            incarnation: self.so_far.settings.incarnation,
            scope: &scope,
            low: stretch.low,
            to: stretch.to,
            unplaced_after: stretch.unplaced_after,
            late: self.so_far.begin.zip(stretch.late_after),
        };
        let mut window = recorded::read(&stretch.parts, wanted, &self.so_far.heard)?;
        let mut rows = std::mem::take(&mut self.so_far.carried);
        rows.append(&mut window.rows);
        rows.iter_mut().for_each(|row| window.bound(row));
        drop(window);

        let begin = self.so_far.begin.unwrap_or(stretch.low);
        let reach = Reach { begin, low: stretch.low, to: stretch.to };
        let changes = chunk.changes;
        let met = meet(&changes, rows, reach)?;
        self.learn_clocks(&changes, &met);
        self.carry(met.carried);
        self.so_far.summary.unchanged += met.same;
        self.so_far.summary.completed += met.completed;
        self.so_far.summary.replaced += met.replaced;

        let new = by_day(&changes, |at| !met.known.get(at).copied().unwrap_or_default());
        let mut plans: BTreeMap<_, DayPlan> = BTreeMap::new();
        for (day, fixes) in met.fixes {
            plans.entry(day).or_default().fixes = fixes;
        }
        for (day, rows) in new {
            plans.entry(day).or_default().new = rows;
        }
        for (day, plan) in plans {
            self.so_far.summary.new += plan.new.len() as u64;
            self.write_day(day, &plan, &changes)?;
        }
        Ok(())
    }

    /// Rows that wait for later transactions, not more than the bound.
    fn carry(&mut self, mut carried: Vec<Recorded>) {
        if carried.len() > CARRIED_ROWS_MAX {
            carried.sort_by_key(|row| row.position);
            let left = carried.len() - CARRIED_ROWS_MAX;
            tracing::warn!(rows = left, "rows without a zxid stay as they are: too many wait for their transaction");
            self.so_far.summary.unplaced += left as u64;
            carried.drain(..left);
        }
        self.so_far.carried = carried;
    }

    /// What the agent's clock shows more than the server's.
    fn learn_clocks(&mut self, changes: &[Change], met: &Met) {
        if let Some((row, twin)) = &met.last_live
            && let Some(change) = changes.get(*twin)
        {
            self.so_far.ahead = Some(row.observed_at.saturating_sub(change.time.0));
        }
    }

    /// What has not met its transaction lies behind the changes of its path that it surely came after: its position says so
    /// from now on. At the end it lies behind everything that the stream has, too, or before its begin.
    pub(super) fn raise_carried(&mut self, at_end: bool) -> Result<(), ImportError> {
        let (Some(begin), Some(to)) = (self.so_far.begin, self.so_far.reached) else { return Ok(()) };
        let mut plans: BTreeMap<_, DayPlan> = BTreeMap::new();
        for row in &mut self.so_far.carried {
            // The stream has all changes from its begin on, and this is none of them. (One at the begin itself may be of that
            // transaction, which nobody can tell; it is surely none of those behind it.)
            if at_end && row.position >= begin && row.position < to {
                row.position = to;
            }
            if row.position > row.written_position {
                plans.entry(row.day).or_default().fixes.insert(row.seq, Fix::Raised(row.position));
                row.written_position = row.position;
                row.raised = true;
            }
        }
        for (day, plan) in plans {
            self.write_day(day, &plan, &[])?;
        }
        Ok(())
    }

    /// Gives up what never met its transaction.
    pub(super) fn end_carried(&mut self) -> Result<(), ImportError> {
        self.raise_carried(true)?;
        let carried = std::mem::take(&mut self.so_far.carried);
        self.so_far.summary.unplaced += carried.iter().filter(|row| !row.raised).count() as u64;
        Ok(())
    }
}

/// What a chunk and the rows on record make of each other.
#[derive(Default)]
struct Met {
    /// Of each change whether it is on record.
    known: Vec<bool>,
    /// By day and seq what is to be done.
    fixes: BTreeMap<super::super::layout::Day, HashMap<i64, Fix>>,
    carried: Vec<Recorded>,
    last_live: Option<(Recorded, usize)>,
    same: u64,
    completed: u64,
    replaced: u64,
}

fn meet(changes: &[Change], mut rows: Vec<Recorded>, reach: Reach) -> Result<Met, ImportError> {
    let mut order: Vec<u32> = (0..changes.len() as u32).collect();
    sort_by_path(changes, &mut order);
    rows.sort_by(|a, b| a.path.as_bytes().cmp(b.path.as_bytes()));
    let mut met = Met { known: vec![false; changes.len()], ..Met::default() };
    let mut at = 0;
    for rows in rows.chunk_by(|a, b| a.path == b.path) {
        let Some(path) = rows.first().map(|row| &row.path) else { continue };
        let path_of = |at: usize| order.get(at).map(|row| changes[*row as usize].path.as_bytes());
        while path_of(at).is_some_and(|other| other < path.as_bytes()) {
            at += 1;
        }
        let begin = at;
        while path_of(at) == Some(path.as_bytes()) {
            at += 1;
        }
        let own = &order[begin..at];
        let truth: Vec<&Change> = own.iter().map(|row| &changes[*row as usize]).collect();
        let fates = fates(&truth, rows, reach)?;
        for (row, fate) in rows.iter().zip(&fates) {
            met.add(row, *fate, own, reach);
            let heard_behind = heard_behind(row, rows.iter().zip(&fates), &truth);
            match (fate, met.carried.last_mut()) {
                (Fate::Carried, Some(last)) => {
                    last.position = last.position.max(behind(row, &truth)).max(heard_behind);
                }
                (Fate::Kept, _) if row.zxid.is_none() && heard_behind > row.position => {
                    met.fixes.entry(row.day).or_default().insert(row.seq, Fix::Raised(heard_behind));
                }
                _ => {}
            }
        }
    }
    let days: BTreeSet<_> = met.fixes.keys().collect();
    if met.replaced > 0 {
        tracing::info!(rows = met.replaced, ?days, "an import replaces rows that the log has no change for");
    }
    Ok(met)
}

impl Met {
    /// `own` are the path's changes: indices into the chunk's.
    fn add(&mut self, row: &Recorded, fate: Fate, own: &[u32], reach: Reach) {
        let mut fix = |fix: Fix| {
            self.fixes.entry(row.day).or_default().insert(row.seq, fix);
        };
        match fate {
            Fate::Same(twin) | Fate::Completed(twin) => {
                let Some(change) = own.get(twin).map(|change| *change as usize) else { return };
                if fate == Fate::Completed(twin) {
                    fix(Fix::Completed(change));
                    self.completed += 1;
                } else {
                    self.same += 1;
                }
                if let Some(known) = self.known.get_mut(change) {
                    *known = true;
                }
                let later = |(last, _): &(Recorded, usize)| last.zxid < row.zxid;
                if row.live && row.zxid.is_some() && self.last_live.as_ref().is_none_or(later) {
                    self.last_live = Some((row.clone(), change));
                }
            }
            Fate::Replaced => {
                fix(Fix::Replaced);
                self.replaced += 1;
            }
            Fate::AtBegin => {
                fix(Fix::Placed(reach.begin));
                self.completed += 1;
            }
            Fate::Carried => self.carried.push(row.clone()),
            Fate::Kept => {}
        }
    }
}
