use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::part_reader::part_numbers;
use super::rows::{Key, Needs, Row};
use super::scan::{parts_by_position, scan_head, scan_part};
use super::snapshot::Snapshot;
use super::{At, PathFilter, ReplayError, missed};
use crate::history::error::HistoryError;
use crate::history::gaps::{Interval, gaps_of, intervals, scope_of};
use crate::history::import::Heard;
use crate::history::timeline;
use crate::history::view::View;
use crate::zk::{Micros, Zxid};

/// Where a moment lies: what a replay starts from, and how far it goes.
#[derive(Clone, Debug)]
pub struct Located {
    pub snapshot: Snapshot,
    pub incarnation: i32,
    /// The greatest position at or before the moment.
    pub position: i64,
    /// The first place after the moment; `None` for everything on record.
    pub until: Option<Key>,
    /// When the next gap begins (µs, the agent's clock): what was found after it had not happened yet.
    pub(super) found_before: i64,
    pub(super) asked: Asked,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Asked {
    Now,
    Position,
    /// The moment, and what the agent's clock shows more than the server's.
    Time {
        time: i64,
        agent_ahead: i64,
    },
}

/// Finds the newest snapshot that holds nothing later than the moment, and the place of the moment itself.
///
/// # Errors
/// [`ReplayError::Empty`] without any snapshot; [`ReplayError::BeforeOldest`] names the oldest,
/// [`ReplayError::AfterLast`] the last place on record.
pub fn locate(view: &View, at: &At) -> Result<Located, ReplayError> {
    match *at {
        At::Now => {
            let snapshot = newest(view)?.ok_or_else(|| ReplayError::Empty { cluster: view.cluster.to_string() })?;
            let (incarnation, position) = (snapshot.incarnation, snapshot.position);
            Ok(Located { snapshot, incarnation, position, until: None, found_before: i64::MAX, asked: Asked::Now })
        }
        At::Position { incarnation, position } => at_position(view, incarnation, position),
        At::Time(time) => at_time(view, time),
    }
}

fn at_position(view: &View, incarnation: i32, position: i64) -> Result<Located, ReplayError> {
    let all = snapshots(view)?;
    if all.is_empty() {
        return Err(ReplayError::Empty { cluster: view.cluster.to_string() });
    }
    let mut own = all.iter().filter(|snapshot| snapshot.incarnation == incarnation).peekable();
    let Some(oldest) = own.peek().copied() else {
        let mut known: Vec<i32> = all.iter().map(|snapshot| snapshot.incarnation).collect();
        known.dedup();
        return Err(ReplayError::NoIncarnation { cluster: view.cluster.to_string(), incarnation, known });
    };
    if position < oldest.position {
        return Err(before_oldest(view, format!("zxid {}", Zxid(position)), oldest));
    }
    refuse_later_position(view, &all, incarnation, position)?;
    let until = Key::after(position);
    let snapshot = newest_before(view, own.rev(), until)?.unwrap_or_else(|| oldest.clone());
    let asked = Asked::Position;
    Ok(Located { snapshot, incarnation, position, until: Some(until), found_before: i64::MAX, asked })
}

fn at_time(view: &View, time: Micros) -> Result<Located, ReplayError> {
    let all = snapshots(view)?;
    let intervals = intervals(view)?;
    let mut incarnations: Vec<i32> = all.iter().map(|snapshot| snapshot.incarnation).collect();
    incarnations.sort_unstable();
    incarnations.dedup();
    for incarnation in incarnations.into_iter().rev() {
        let own = || all.iter().filter(|snapshot| snapshot.incarnation == incarnation);
        let Some(oldest) = own().next() else { continue };
        let heard = Heard::in_intervals(&intervals, incarnation);
        let moment = timeline::find(&view.changes, incarnation, time.0, &heard)?;
        let agent_ahead = match moment.agent_ahead {
            Some(ahead) => ahead,
            None => timeline::first_agent_ahead(&view.changes, incarnation, &heard)?.unwrap_or(0),
        };
        let snapshot = match moment.until {
            None => own().next_back().cloned(),
            Some(until) => newest_before(view, own().rev(), until)?,
        };
        let Some(snapshot) = snapshot else { continue };
        // Only a tick, or the agent's own word brought over, says that the moment is not before the oldest snapshot.
        let proved = moment.tick.is_some_and(|tick| tick.position >= snapshot.position)
            || !Arc::ptr_eq(&snapshot.part, &oldest.part)
            || taken_at(oldest, agent_ahead).saturating_sub(agent_ahead) <= time.0;
        if !proved {
            continue;
        }
        if moment.until.is_none() {
            refuse_later_time(view, &all, &intervals, time, agent_ahead)?;
        }
        let last = last_before(view, incarnation, moment.until)?;
        let position = last.map_or(snapshot.position, |last| last.position.max(snapshot.position));
        let asked = Asked::Time { time: time.0, agent_ahead };
        let found_before = next_gap(&intervals, incarnation, time.0.saturating_add(agent_ahead));
        return Ok(Located { snapshot, incarnation, position, until: moment.until, found_before, asked });
    }
    match all.first() {
        Some(oldest) => Err(before_oldest(view, time.to_string(), oldest)),
        None => Err(ReplayError::Empty { cluster: view.cluster.to_string() }),
    }
}

/// When a snapshot was taken, by the agent's clock.
fn taken_at(snapshot: &Snapshot, agent_ahead: i64) -> i64 {
    if snapshot.placed { snapshot.taken_at.0.saturating_add(agent_ahead) } else { snapshot.taken_at.0 }
}

/// When the first gap of everything that is watched begins after a time (µs, the agent's clock).
fn next_gap(intervals: &[Interval], incarnation: i32, after: i64) -> i64 {
    let Some(scope) = scope_of(intervals) else { return i64::MAX };
    let gaps = gaps_of(intervals);
    let own = gaps.iter().filter(|gap| gap.incarnation == incarnation && gap.path == scope);
    own.map(|gap| gap.from_time.0).filter(|from| *from > after).min().unwrap_or(i64::MAX)
}

/// Refuses a position that nothing on record of its incarnation reaches.
fn refuse_later_position(view: &View, all: &[Snapshot], incarnation: i32, position: i64) -> Result<(), ReplayError> {
    let of_snapshots = all.iter().filter(|snapshot| snapshot.incarnation == incarnation).map(|own| own.position);
    let greatest = of_snapshots.max().unwrap_or(i64::MIN);
    if position <= greatest {
        return Ok(());
    }
    let intervals = intervals(view)?;
    let of_coverage = intervals.iter().filter(|interval| interval.incarnation == incarnation).map(|own| own.to_zxid);
    let greatest = greatest.max(of_coverage.max().unwrap_or(i64::MIN));
    if position <= greatest {
        return Ok(());
    }
    let last = last_before(view, incarnation, None)?;
    let greatest = greatest.max(last.map_or(i64::MIN, |last| last.position));
    if position <= greatest {
        return Ok(());
    }
    let asked = format!("zxid {}", Zxid(position));
    let last = format!("zxid {}", Zxid(greatest));
    Err(ReplayError::AfterLast { cluster: view.cluster.to_string(), asked, last })
}

/// How far beyond the last word of a recording a moment may lie: clocks are only brought over, not exact.
const AFTER_LAST_MAX_MICROS: i64 = 5_000_000;
/// As above while recording goes on: on a quiet connection the next word may take this long.
const AFTER_OPEN_MAX_MICROS: i64 = 60_000_000;

/// Refuses a moment after everything on record. `agent_ahead` brings it over to the agent's clock, by which all that is
/// looked at here is timed.
fn refuse_later_time(
    view: &View,
    all: &[Snapshot],
    intervals: &[Interval],
    time: Micros,
    agent_ahead: i64,
) -> Result<(), ReplayError> {
    let asked = time.0.saturating_add(agent_ahead);
    let mut last = all.iter().map(|snapshot| taken_at(snapshot, agent_ahead)).max().unwrap_or(i64::MIN);
    let mut grace = AFTER_LAST_MAX_MICROS;
    for interval in intervals {
        last = last.max(interval.to_time);
        if interval.open {
            grace = AFTER_OPEN_MAX_MICROS;
        }
    }
    let is_later = |last: i64| asked > last.saturating_add(grace);
    if is_later(last) {
        for part in view.changes.parts.iter() {
            // Without statistics nothing is proved.
            last = last.max(part_numbers(part, "observed_at")?.map_or(i64::MAX, |(_, max)| max));
        }
        scan_head(&view.changes, PLACES, |row| last = last.max(row.observed_at().unwrap_or(i64::MIN)))?;
    }
    if !is_later(last) {
        return Ok(());
    }
    let last = Micros(last.saturating_sub(agent_ahead)).to_string();
    Err(ReplayError::AfterLast { cluster: view.cluster.to_string(), asked: time.to_string(), last })
}

/// The snapshot with the greatest position of the last incarnation.
fn newest(view: &View) -> Result<Option<Snapshot>, HistoryError> {
    Ok(snapshots(view)?.pop())
}

/// Those that a replay may start from, by incarnation and position.
///
/// One whose tree was ahead of the rows (it was taken under such load that no moment came without an event that waits for
/// its answer) counts children twice, so it serves only until there is another. And one of a watch does not serve where a
/// log tells everything from a placed snapshot on: the watch may have seen a part of a transaction, an old ACL, or
/// rows whose place only the log knows.
fn snapshots(view: &View) -> Result<Vec<Snapshot>, HistoryError> {
    let mut snapshots = view.snapshots.iter().map(Snapshot::of).collect::<Result<Vec<_>, _>>()?;
    snapshots.sort_by_key(|snapshot| (snapshot.incarnation, snapshot.position, snapshot.placed, snapshot.seq));
    let intervals = match snapshots.iter().any(|snapshot| snapshot.placed) {
        true => intervals(view)?,
        false => Vec::new(),
    };
    snapshots.retain(|snapshot| serves(snapshot, &intervals));
    let mut settled = HashSet::new();
    snapshots.retain(|snapshot| {
        let is_settled = snapshot.unsettled == 0;
        let serves = is_settled || !settled.contains(&snapshot.incarnation);
        if is_settled {
            settled.insert(snapshot.incarnation);
        }
        serves
    });
    if snapshots.iter().any(|snapshot| snapshot.placed) {
        let placed: Vec<(i32, i64)> =
            snapshots.iter().filter(|own| own.placed).map(|own| (own.incarnation, own.position)).collect();
        snapshots.retain(|snapshot| snapshot.placed || !is_outdone(snapshot, &placed, &intervals));
    }
    Ok(snapshots)
}

/// Whether a replay may start from it: one that an import placed and did not live to cover does not yet.
pub(crate) fn serves(snapshot: &Snapshot, intervals: &[Interval]) -> bool {
    let holds = |own: &Interval| {
        own.is_lossless()
            && own.is_data()
            && own.incarnation == snapshot.incarnation
            && (own.from_zxid..=own.to_zxid).contains(&snapshot.position)
    };
    !snapshot.needs_log || intervals.iter().any(holds)
}

/// Whether a log tells everything from a placed snapshot up to this one.
pub(crate) fn is_outdone(snapshot: &Snapshot, placed: &[(i32, i64)], intervals: &[Interval]) -> bool {
    let own = placed
        .iter()
        .filter(|(incarnation, position)| *incarnation == snapshot.incarnation && *position <= snapshot.position);
    let Some(from) = own.map(|(_, position)| *position).max() else { return false };
    told_up_to(intervals, snapshot.incarnation, from) >= snapshot.position
}

/// How far logs tell everything of the whole scope that happened after a position.
pub(crate) fn told_up_to(intervals: &[Interval], incarnation: i32, from: i64) -> i64 {
    let scope = scope_of(intervals);
    let mut told: Vec<(i64, i64)> = intervals
        .iter()
        .filter(|own| own.is_lossless() && own.is_data() && own.incarnation == incarnation)
        .filter(|own| scope == Some(own.path.as_str()))
        .map(|own| (own.from_zxid, own.to_zxid))
        .collect();
    told.sort_unstable();
    told.into_iter().fold(from, |reach, (begin, end)| if begin <= reach { reach.max(end) } else { reach })
}

fn before_oldest(view: &View, asked: String, oldest: &Snapshot) -> ReplayError {
    ReplayError::BeforeOldest {
        cluster: view.cluster.to_string(),
        asked,
        oldest_zxid: Zxid(oldest.position),
        oldest_time: oldest.taken_at,
    }
}

/// The first of these snapshots (given newest first) that holds no row at or after `until`.
fn newest_before<'a>(
    view: &View,
    snapshots: impl Iterator<Item = &'a Snapshot>,
    until: Key,
) -> Result<Option<Snapshot>, HistoryError> {
    for snapshot in snapshots {
        let fits = snapshot.position < until.position
            || (snapshot.position == until.position && until.unplaced && {
                // Rows whose zxid is unknown may already be in it, though they follow its position.
                let mut later = false;
                each_near(view, snapshot.incarnation, (until.position, until.position), |row| {
                    later |= row.key() >= until && row.seq() <= snapshot.seq;
                })?;
                !later
            });
        if fits {
            return Ok(Some(snapshot.clone()));
        }
    }
    Ok(None)
}

const PLACES: Needs = Needs { time: true, stat: false, acl: false, data: false };

/// Gives every row of an incarnation whose position lies in these bounds (and some others of the same row groups).
fn each_near(
    view: &View,
    incarnation: i32,
    (low, high): (i64, i64),
    mut visit: impl FnMut(Row<'_>),
) -> Result<(), HistoryError> {
    let mut own = |row: Row<'_>| {
        if row.incarnation() == incarnation && (low..=high).contains(&row.position()) {
            visit(row);
        }
    };
    scan_head(&view.changes, PLACES, &mut own)?;
    for (part, (min, max)) in parts_by_position(&view.changes)? {
        if max >= low && min <= high {
            let keep = |(min, max): (i64, i64)| max >= low && min <= high;
            scan_part(&part, PLACES, |group| group.numbers("position").is_none_or(keep), &mut own)?;
        }
    }
    Ok(())
}

/// The paths of an incarnation that have rows at positions after this one, each with its greatest.
pub fn reach(view: &View, incarnation: i32, after: i64) -> Result<HashMap<Box<str>, i64>, HistoryError> {
    let mut reached: HashMap<Box<str>, i64> = HashMap::new();
    each_near(view, incarnation, (after.saturating_add(1), i64::MAX), |row| match reached.get_mut(row.path()) {
        Some(position) => *position = row.position().max(*position),
        None => {
            reached.insert(row.path().into(), row.position());
        }
    })?;
    Ok(reached)
}

/// The greatest place on record before `until`.
fn last_before(view: &View, incarnation: i32, until: Option<Key>) -> Result<Option<Key>, HistoryError> {
    greatest(view, incarnation, until, |_| true)
}

/// The greatest place before `until` among the rows that `wanted` takes. Reads backwards, and no further than needed.
pub(crate) fn greatest(
    view: &View,
    incarnation: i32,
    until: Option<Key>,
    wanted: impl Fn(Row<'_>) -> bool,
) -> Result<Option<Key>, HistoryError> {
    let mut last: Option<Key> = None;
    let mut add = |row: Row<'_>| {
        let key = row.key();
        if row.incarnation() == incarnation
            && until.is_none_or(|until| key < until)
            && last.is_none_or(|last| last < key)
            && wanted(row)
        {
            last = Some(key);
        }
        last
    };
    let mut found = None;
    scan_head(&view.changes, PLACES, |row| found = add(row))?;
    let mut parts = parts_by_position(&view.changes)?;
    parts.sort_by_key(|(_, (_, max))| std::cmp::Reverse(*max));
    for (part, (min, max)) in parts {
        if until.is_some_and(|until| min > until.position) || found.is_some_and(|found| max < found.position) {
            continue;
        }
        scan_part(&part, PLACES, |_| true, |row| found = add(row))?;
    }
    Ok(found)
}

/// Whether a log tells everything from the snapshot up to the moment.
fn is_told(located: &Located, intervals: &[Interval]) -> bool {
    let told = || told_up_to(intervals, located.incarnation, located.snapshot.position);
    located.snapshot.placed
        && match located.asked {
            Asked::Now => false,
            Asked::Position => located.position <= told(),
            // What came next says that the moment is not beyond what the log has.
            Asked::Time { .. } => located.until.is_some_and(|until| until.position <= told()),
        }
}

/// The paths whose place straddles the moment: on record is only that a change of theirs happened somewhere around it.
///
/// A row without a zxid lies after its position, and before the next zxid that was heard live after it; for a row that a
/// rescan found also before the zxid at which coverage began again. By time, one that had been heard of by then is
/// certain too. Nor is it certain what a path was in a time of which changes are missing, see [`missed`].
///
/// `filter` only says which paths matter.
pub(crate) fn uncertain(
    view: &View,
    located: &Located,
    filter: &PathFilter,
) -> Result<HashSet<Box<str>>, HistoryError> {
    if matches!(located.asked, Asked::Now) {
        return Ok(HashSet::new());
    }
    let intervals = intervals(view)?;
    if is_told(located, &intervals) {
        return Ok(HashSet::new());
    }
    let mut paths = missed::paths(view, located, &intervals, filter)?;
    let (incarnation, position, until) = (located.incarnation, located.position, located.until);
    let known = greatest(view, incarnation, until, |row| row.zxid().is_some())?.map_or(i64::MIN, |key| key.position);
    let live = greatest(view, incarnation, until, |row| row.zxid().is_some() && row.source() != "rescan")?;
    let began = intervals
        .iter()
        .filter(|interval| interval.is_data() && interval.incarnation == incarnation)
        .map(|interval: &Interval| interval.from_zxid)
        .filter(|from| *from <= position)
        .max()
        .unwrap_or(i64::MIN);
    let settled_rescan = live.map_or(i64::MIN, |key| key.position).max(began);
    let settled_other = known.max(began);
    each_near(view, incarnation, (settled_rescan.min(settled_other), position), |row| {
        if row.zxid().is_some() {
            return;
        }
        let rescan = row.source() == "rescan";
        if row.is_loose() && row.observed_at() >= Some(located.found_before) {
            return;
        }
        if row.position() < if rescan { settled_rescan } else { settled_other } {
            return;
        }
        let straddles = match located.asked {
            Asked::Now => false,
            Asked::Position => {
                row.position() < position || (row.position() == position && row.seq() <= located.snapshot.seq)
            }
            Asked::Time { time, agent_ahead } => {
                let heard = row.observed_at().is_some_and(|heard| heard.saturating_sub(agent_ahead) <= time);
                !(heard && (rescan || until.is_none()))
            }
        };
        if straddles {
            paths.insert(row.path().into());
        }
    })?;
    Ok(paths)
}
