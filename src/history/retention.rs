//! How long history is kept: a cut at a snapshot.
//!
//! Everything recorded up to a snapshot's seq goes, the snapshot stays. So every change that is kept can be replayed
//! from a snapshot that is kept, and the seqs of what is kept have no hole. A day whose changes all lie before the cut
//! is dropped whole; the day that the cut runs through is exchanged for its rest.
//!
//! - By age the cut is the newest snapshot before the first change of the last `days_max` days: at least these days can
//!   be replayed from their first change on.
//! - By size it moves on, snapshot by snapshot, until what is kept fits `bytes_max`; it never goes beyond the newest
//!   snapshot. A history without a snapshot is not cut, nor is it at a snapshot that an import added earlier changes to
//!   since: the next one after the import does.
//! - Of snapshots after the cut all of the last `snapshots_whole_days` are kept, before that the first of each day (and
//!   incarnation); the one at the cut and the newest always stay.
//! - `coverage`, `sessions` and `audit` go by whole days, those older than both the cut's day and every change that is
//!   kept.

mod apply;
mod imports;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};

use super::days::int64_range;
use super::error::HistoryError;
use super::layout::{Day, SeqRange, Table};
use super::snapshots::incarnation_of;
use super::view::View;
use crate::zk::Micros;

pub use apply::{Removed, apply};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetentionSettings {
    pub days_max: u32,
    pub bytes_max: u64,
    /// For so many days every snapshot is kept, then one a day.
    pub snapshots_whole_days: u32,
}

impl Default for RetentionSettings {
    fn default() -> Self {
        Self { days_max: 90, bytes_max: 50_000_000_000, snapshots_whole_days: 7 }
    }
}

/// What a cluster's history holds on disk: all that [`plan`] decides by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Of every table but snapshots, in any order.
    pub parts: Vec<PartHolding>,
    /// Oldest first, by seq.
    pub snapshots: Vec<SnapshotHolding>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartHolding {
    pub table: Table,
    pub day: Day,
    pub range: SeqRange,
    pub bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotHolding {
    pub day: Day,
    pub seq: i64,
    pub incarnation: i32,
    pub position: i64,
    /// Whether history may be cut at it: what it holds is what was recorded up to its seq. Not where an import added
    /// rows later that belong before it.
    pub is_cut: bool,
    pub bytes: u64,
}

/// One thing to remove; `bytes` is what that frees, about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// A whole day of a table.
    Day { table: Table, day: Day, bytes: u64 },
    /// The changes of a day up to and with a seq.
    Changes { day: Day, up_to_seq: i64, bytes: u64 },
    /// Some snapshots of a day.
    Snapshots { day: Day, seqs: Vec<i64>, bytes: u64 },
}

/// Reads what [`plan`] needs: the names and sizes of the parts, and the footers of the snapshots.
pub fn survey(view: &View) -> Result<Holdings, HistoryError> {
    let mut holdings = Holdings::default();
    for table in [Table::Changes, Table::Coverage, Table::Sessions, Table::Audit] {
        holdings.parts.extend(view.parts(table).iter().map(|part| PartHolding {
            table,
            day: part.day,
            range: part.range,
            bytes: part.bytes,
        }));
    }
    let imports = imports::Imports::of(view)?;
    for part in view.snapshots.iter() {
        let (seq, incarnation) = (part.range.last, incarnation_of(part)?.unwrap_or(0));
        let position = int64_range(part, "position")?.map_or(i64::MIN, |(position, _)| position);
        holdings.snapshots.push(SnapshotHolding {
            day: part.day,
            seq,
            incarnation,
            position,
            is_cut: imports.agree(view, part, (incarnation, position))?,
            bytes: part.bytes,
        });
    }
    Ok(holdings)
}

/// Decides what goes, in the order in which it goes: changes oldest first, then what belonged to them.
pub fn plan(holdings: &Holdings, now: Micros, settings: RetentionSettings) -> Vec<Removal> {
    let snapshots = &holdings.snapshots;
    let first_day_kept = Day(now.day().saturating_sub_unsigned(settings.days_max));
    let thin_before = Day(now.day().saturating_sub_unsigned(settings.snapshots_whole_days));
    let first_seq_kept = holdings
        .parts
        .iter()
        .filter(|part| part.table == Table::Changes && part.day >= first_day_kept)
        .map(|part| part.range.first)
        .min()
        .unwrap_or(i64::MAX);
    let by_age = snapshots.iter().rposition(|snapshot| snapshot.is_cut && snapshot.seq < first_seq_kept);

    let mut keep = Keep::new(holdings, by_age, thin_before);
    while keep.bytes > settings.bytes_max {
        let after = keep.cut.map_or(0, |cut| cut + 1);
        let Some(next) = (after..snapshots.len()).find(|at| snapshots.get(*at).is_some_and(|at| at.is_cut)) else {
            break;
        };
        keep = Keep::new(holdings, Some(next), thin_before);
    }
    keep.removals(holdings)
}

/// What stays with the cut at one snapshot.
struct Keep {
    cut: Option<usize>,
    cut_seq: Option<i64>,
    /// Of snapshots, by their place in the list.
    snapshots: HashSet<usize>,
    /// Coverage, sessions and audit stay from this day on.
    first_day: Day,
    bytes: u64,
}

impl Keep {
    fn new(holdings: &Holdings, cut: Option<usize>, thin_before: Day) -> Self {
        let newest = holdings.snapshots.len().checked_sub(1);
        let mut seen = HashSet::new();
        let mut snapshots = HashSet::new();
        let at_cut = cut.and_then(|cut| holdings.snapshots.get(cut));
        // One that an import placed before the cut leads nowhere any more.
        let is_before = |snapshot: &SnapshotHolding| {
            let place = |snapshot: &SnapshotHolding| (snapshot.incarnation, snapshot.position);
            at_cut.is_some_and(|at_cut| place(snapshot) < place(at_cut))
        };
        for (at, snapshot) in holdings.snapshots.iter().enumerate().skip(cut.unwrap_or(0)) {
            if is_before(snapshot) {
                continue;
            }
            let first_of_day = seen.insert((snapshot.day, snapshot.incarnation));
            if first_of_day || snapshot.day >= thin_before || Some(at) == cut || Some(at) == newest {
                snapshots.insert(at);
            }
        }
        let cut_seq = at_cut.map(|snapshot| snapshot.seq);
        let changes = holdings.parts.iter().filter(|part| part.table == Table::Changes);
        let days_kept = changes.filter(|part| cut_seq.is_none_or(|cut| part.range.last > cut)).map(|part| part.day);
        let first_day = match at_cut {
            Some(snapshot) => days_kept.chain([snapshot.day]).min().unwrap_or(snapshot.day),
            None => Day(i32::MIN),
        };
        let mut keep = Self { cut, cut_seq, snapshots, first_day, bytes: 0 };
        let parts: u64 = holdings.parts.iter().map(|part| part.bytes - keep.freed(part)).sum();
        let kept = holdings.snapshots.iter().enumerate().filter(|(at, _)| keep.snapshots.contains(at));
        keep.bytes = parts + kept.map(|(_, snapshot)| snapshot.bytes).sum::<u64>();
        keep
    }

    /// The bytes of a part that go, by the share of its seqs where the cut runs through it.
    fn freed(&self, part: &PartHolding) -> u64 {
        let Some(cut) = self.cut_seq else { return 0 };
        if part.table != Table::Changes {
            return if part.day < self.first_day { part.bytes } else { 0 };
        }
        let SeqRange { first, last } = part.range;
        let all = u128::from(last.abs_diff(first)) + 1;
        let gone = if cut < first { 0 } else { u128::from(cut.min(last).abs_diff(first)) + 1 };
        u64::try_from(u128::from(part.bytes) * gone / all).unwrap_or(part.bytes)
    }

    fn removals(&self, holdings: &Holdings) -> Vec<Removal> {
        let mut days: BTreeMap<(Table, Day), Vec<&PartHolding>> = BTreeMap::new();
        for part in &holdings.parts {
            days.entry((part.table, part.day)).or_default().push(part);
        }
        let mut changes: Vec<(i64, Removal)> = Vec::new();
        let mut others = Vec::new();
        for ((table, day), parts) in days {
            let bytes = parts.iter().map(|part| self.freed(part)).sum();
            let last = parts.iter().map(|part| part.range.last).max().unwrap_or(i64::MIN);
            let first = parts.iter().map(|part| part.range.first).min().unwrap_or(i64::MAX);
            match (table, self.cut_seq) {
                (_, None) => {}
                (Table::Changes, Some(cut)) if last <= cut => changes.push((last, Removal::Day { table, day, bytes })),
                (Table::Changes, Some(cut)) if first <= cut => {
                    changes.push((cut, Removal::Changes { day, up_to_seq: cut, bytes }));
                }
                (Table::Changes, Some(_)) => {}
                (_, Some(_)) if day < self.first_day => others.push(Removal::Day { table, day, bytes }),
                (_, Some(_)) => {}
            }
        }
        changes.sort_by_key(|(last, _)| *last);

        let mut gone: BTreeMap<Day, (Vec<i64>, u64)> = BTreeMap::new();
        for (at, snapshot) in holdings.snapshots.iter().enumerate() {
            if !self.snapshots.contains(&at) {
                let (seqs, bytes) = gone.entry(snapshot.day).or_default();
                seqs.push(snapshot.seq);
                *bytes += snapshot.bytes;
            }
        }
        others.extend(gone.into_iter().map(|(day, (seqs, bytes))| Removal::Snapshots { day, seqs, bytes }));
        changes.into_iter().map(|(_, removal)| removal).chain(others).collect()
    }
}
