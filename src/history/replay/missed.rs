//! The paths that may have been otherwise at a moment than the rows say, because nobody was looking.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::PathFilter;
use super::locate::{Asked, Located};
use super::part_reader::{PartReader, RowGroup};
use super::ranges::PathRanges;
use super::rows::{ChangeRows, Key, Needs, Row};
use super::scan::parts_by_position;
use crate::history::error::HistoryError;
use crate::history::gaps::{Gap, Interval, gaps_of, is_within, scope_of};
use crate::history::view::View;
use crate::zk::ChangeKind;

/// The paths of which the next row after the moment proves that changes went unseen, and that may have happened before
/// the moment.
///
/// A row of a rescan tells what was found after a gap: inside that gap the path may already have been so, or anything
/// in between. A row with `missed` changes tells of such before it: at every moment since the gap before it began. At a
/// gap's first zxid itself everything is known: that far it was heard. A path without a later row did not change.
///
/// Reads only the row groups that may hold such rows from the moment to the next gap, and of those paths once more all
/// rows up to theirs.
pub(super) fn paths(
    view: &View,
    located: &Located,
    intervals: &[Interval],
    filter: &PathFilter,
) -> Result<HashSet<Box<str>>, HistoryError> {
    let Some(until) = located.until else { return Ok(HashSet::new()) };
    let mut gaps = gaps_of(intervals);
    gaps.retain(|gap| gap.incarnation == located.incarnation);
    let around = Around { located, gaps: &gaps };
    let bounds = (until.position, around.next_gap(intervals));
    let wanted = Wanted { incarnation: located.incarnation, until, bounds };

    let inside = gaps.iter().any(|gap| around.is_inside(gap));
    let may_tell = |group: &RowGroup<'_>| {
        let rescan = || group.bytes("source").is_none_or(|(min, max)| (min..=max).contains(&b"rescan".as_slice()));
        group.numbers("missed").is_none_or(|(_, max)| max > 0) || (inside && rescan())
    };
    // Each path's first row after the moment that tells of something unseen, and whether it may have been before.
    let mut told: HashMap<Box<str>, (Key, bool)> = HashMap::new();
    let needs = Needs { time: true, stat: true, ..Needs::default() };
    wanted.scan(view, needs, &PathRanges::of(filter), may_tell, |row| {
        let Some(before) = around.tells(row) else { return };
        match told.get_mut(row.path()) {
            Some(first) if first.0 <= row.key() => {}
            Some(first) => *first = (row.key(), before),
            None => {
                told.insert(row.path().into(), (row.key(), before));
            }
        }
    })?;
    told.retain(|_, (_, before)| *before);
    let Some(last) = told.values().map(|(key, _)| key.position).max() else { return Ok(HashSet::new()) };

    // A row before that one says itself what the path was until then.
    let again = Wanted { bounds: (until.position, last), ..wanted };
    let ranges = if told.len() <= RANGES_MAX {
        PathRanges::of(&PathFilter::Exact(told.keys().map(|path| path.to_string()).collect()))
    } else {
        PathRanges::of(filter)
    };
    let mut settled: HashSet<Box<str>> = HashSet::new();
    again.scan(
        view,
        Needs::default(),
        &ranges,
        |_| true,
        |row| {
            if told.get(row.path()).is_some_and(|(key, _)| row.key() < *key) {
                settled.insert(row.path().into());
            }
        },
    )?;
    Ok(told.into_keys().filter(|path| !settled.contains(path)).collect())
}

/// Beyond so many paths pruning by each costs more than reading.
const RANGES_MAX: usize = 4_096;
const BATCH_ROWS: usize = 8_192;

/// The moment among the gaps of its incarnation.
struct Around<'a> {
    located: &'a Located,
    gaps: &'a [Gap],
}

impl Around<'_> {
    /// Whether the gap began before the moment.
    fn is_after_begin(&self, gap: &Gap) -> bool {
        let by_zxid = self.located.position > gap.from_zxid;
        match self.located.asked {
            Asked::Now | Asked::Position => by_zxid,
            Asked::Time { time, agent_ahead } => by_zxid || time.saturating_add(agent_ahead) > gap.from_time.0,
        }
    }

    fn is_inside(&self, gap: &Gap) -> bool {
        let ended = match self.located.asked {
            Asked::Now | Asked::Position => gap.to_zxid.is_some_and(|end| end <= self.located.position),
            Asked::Time { time, agent_ahead } => {
                gap.to_time.is_some_and(|end| end.0 <= time.saturating_add(agent_ahead))
            }
        };
        self.is_after_begin(gap) && !ended
    }

    /// The greatest position whose rows may belong to what began before the moment: where the next gap of everything
    /// begins, nothing that was missed later can have been missed earlier.
    fn next_gap(&self, intervals: &[Interval]) -> i64 {
        let Some(scope) = scope_of(intervals) else { return i64::MAX };
        let later = self.gaps.iter().filter(|gap| gap.path == scope && !self.is_after_begin(gap));
        later.map(|gap| gap.from_zxid).filter(|from| *from >= self.located.position).min().unwrap_or(i64::MAX)
    }

    /// Whether a row after the moment tells that changes went unseen before it, and then whether they may have happened
    /// before the moment.
    fn tells(&self, row: Row<'_>) -> Option<bool> {
        // An ACL that was found changed has its place after the last look that showed the old one.
        let rescan = row.source() == "rescan" && !(row.kind() == Some(ChangeKind::AclChanged) && row.zxid().is_none());
        if !rescan && row.missed() <= 0 {
            return None;
        }
        let heard = row.observed_at().unwrap_or(i64::MAX);
        let began_before_row = |gap: &&Gap| {
            gap.from_time.0 <= heard
                && (gap.from_zxid < row.position() || (row.zxid().is_none() && gap.from_zxid == row.position()))
                && is_within(row.path(), &gap.path)
        };
        let gap = self.gaps.iter().filter(began_before_row).max_by_key(|gap| (gap.from_zxid, gap.from_time));
        Some(match gap {
            Some(gap) if row.missed() > 0 => self.is_after_begin(gap),
            Some(gap) => self.is_inside(gap),
            None => row.missed() > 0,
        })
    }
}

/// The rows after a moment, up to a position.
#[derive(Clone, Copy)]
struct Wanted {
    incarnation: i32,
    until: Key,
    bounds: (i64, i64),
}

impl Wanted {
    fn scan(
        &self,
        view: &View,
        needs: Needs,
        paths: &PathRanges,
        keep: impl Fn(&RowGroup<'_>) -> bool,
        mut visit: impl FnMut(Row<'_>),
    ) -> Result<(), HistoryError> {
        let (low, high) = self.bounds;
        let wants = |row: Row<'_>| {
            row.incarnation() == self.incarnation
                && row.key() >= self.until
                && row.position() <= high
                && paths.contains(row.path().as_bytes())
        };
        let overlaps = |(min, max): (i64, i64)| max >= low && min <= high;
        let own = i64::from(self.incarnation);
        let mut each = |rows: &ChangeRows| {
            (0..rows.len()).map(|at| rows.row(at)).filter(|row| wants(*row)).for_each(&mut visit);
        };
        for head in view.changes.head.iter() {
            each(&ChangeRows::new(&head.batch, needs, Path::new("the head of changes"))?);
        }
        for (part, bounds) in parts_by_position(&view.changes)? {
            if !overlaps(bounds) {
                continue;
            }
            let mut reader = PartReader::open(&part, &needs.names(), BATCH_ROWS, paths, |group| {
                group.numbers("position").is_none_or(overlaps)
                    && group.numbers("incarnation").is_none_or(|(min, max)| min <= own && own <= max)
                    && keep(group)
            })?;
            while let Some(batch) = reader.next()? {
                each(&ChangeRows::new(&batch, needs, reader.place())?);
            }
        }
        Ok(())
    }
}
