//! From a moment to a place in the order of changes.
//!
//! The order of changes is that of their commits; clocks only label it. A moment is read on the ensemble's clock, as
//! `time` shows it in rows whose `time_source` is `server`. The agent's clock may be hours off, so a time of the
//! agent's is never compared with one of the server's: it is first brought over, by the difference that the nearest
//! server-timed row heard live before it shows (`observed_at - time`; 0 where there is none).
//!
//! The rule: *the moment t is the place just before the ensemble's clock first passed t*.
//!
//! - A **tick** is a row with a known zxid and the server's time. (Not `/zookeeper/config`, whose mtime differs from
//!   server to server.) In the order of changes the clock of a row is the greatest tick up to it: where a new leader's
//!   clock stands back, it has not moved until it passes what the old one showed. So the first tick later than t, `j`,
//!   ends the state at t, and a clock that steps back can neither hide changes nor bring them early.
//! - Between the last tick before `j` and `j` there may be rows that have only the agent's time. Those that came
//!   without a zxid, or were overtaken, belong to t while their time, brought over, is not later than t. A tick bounds
//!   them on both sides: whatever the agent's clock says, they come after the tick before and before the tick after.
//! - A row of a rescan that has only the agent's time tells when it was found, not when it was committed. It has no
//!   clock of its own: it goes with the row before it.
//! - A transaction is never cut: the place is before the whole of it.

use super::error::HistoryError;
use super::import::Heard;
use super::replay::part_reader::RowGroup;
use super::replay::rows::{Key, Needs, Row};
use super::replay::scan::{parts_by_position, scan_head, scan_part};
use super::view::TableView;

#[cfg(test)]
mod tests;

/// Where a moment lies in one incarnation's order of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// The first place after it; `None` where nothing on record is later.
    pub(crate) until: Option<Key>,
    /// The last tick before it.
    pub(crate) tick: Option<Key>,
    /// What the agent's clock shows more than the server's, in microseconds, about then; `None` where nothing tells.
    pub(crate) agent_ahead: Option<i64>,
}

/// What a row says of clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clocked {
    pub(crate) key: Key,
    pub(crate) time: i64,
    pub(crate) observed_at: i64,
    pub(crate) clock: Clock,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clock {
    /// The server's time at a known zxid; `live` when it was heard as it happened.
    Tick { live: bool },
    /// The agent's time of a row that was heard live.
    Agent,
    /// Nothing that tells when it was committed.
    None,
}

impl Clocked {
    fn of(row: Row<'_>, heard: &Heard) -> Option<Self> {
        let rescan = row.source() == "rescan";
        let clock = if row.is_server_timed() {
            match row.zxid() {
                Some(zxid) if row.path() != "/zookeeper/config" => {
                    let completed = || row.observed_at().is_some_and(|at| heard.is_live(zxid, at));
                    Clock::Tick { live: row.source() == "watch" || (row.is_lossless() && completed()) }
                }
                _ => Clock::None,
            }
        } else if rescan {
            Clock::None
        } else {
            Clock::Agent
        };
        Some(Self { key: row.key(), time: row.time()?, observed_at: row.observed_at()?, clock })
    }
}

/// Where the transaction of a row begins; an unplaced row stands alone.
fn begin(key: Key) -> Key {
    if key.unplaced { key } else { Key::before(key.position) }
}

/// First pass: the first tick later than t.
struct TickAfter {
    time: i64,
    found: Option<Key>,
}

impl TickAfter {
    fn add(&mut self, row: Clocked) {
        if matches!(row.clock, Clock::Tick { .. }) && row.time > self.time {
            let key = begin(row.key);
            self.found = Some(self.found.map_or(key, |found| found.min(key)));
        }
    }
}

/// Second pass: the last tick before that, and the last one that shows the difference between the clocks.
struct TickBefore {
    until: Option<Key>,
    tick: Option<Key>,
    live: Option<(Key, i64)>,
}

impl TickBefore {
    fn add(&mut self, row: Clocked) {
        let Clock::Tick { live } = row.clock else { return };
        if self.until.is_some_and(|until| row.key >= until) {
            return;
        }
        if self.tick.is_none_or(|tick| tick < row.key) {
            self.tick = Some(row.key);
        }
        if live && self.live.is_none_or(|(key, _)| key < row.key) {
            self.live = Some((row.key, row.observed_at.saturating_sub(row.time)));
        }
    }

    /// Whether rows at positions up to `position_max` cannot change the answer.
    fn is_settled(&self, position_max: i64, may_be_live: bool) -> bool {
        let above = |key: Option<Key>| key.is_some_and(|key| key.position > position_max);
        above(self.tick) && (!may_be_live || above(self.live.map(|(key, _)| key)))
    }
}

/// Third pass: the first row between the two ticks whose time, brought over, is later than t.
struct AgentAfter {
    time: i64,
    tick: Option<Key>,
    until: Option<Key>,
    agent_ahead: i64,
    found: Option<Key>,
}

impl AgentAfter {
    fn add(&mut self, row: Clocked) {
        let between = self.tick.is_none_or(|tick| tick < row.key) && self.until.is_none_or(|until| row.key < until);
        if row.clock == Clock::Agent && between && row.time.saturating_sub(self.agent_ahead) > self.time {
            // A transaction that also has a tick at or before t is not later than t.
            let key = if self.tick.is_some_and(|tick| !row.key.unplaced && tick.position == row.key.position) {
                return;
            } else {
                begin(row.key)
            };
            self.found = Some(self.found.map_or(key, |found| found.min(key)));
        }
    }
}

const NEEDS: Needs = Needs { time: true, stat: false, acl: false, data: false };

/// Finds the moment `time` (microseconds, the server's clock) in one incarnation.
///
/// `heard` tells which rows that a log completed had been heard live.
/// Reads only the parts whose statistics allow an answer, three times at most.
pub(crate) fn find(table: &TableView, incarnation: i32, time: i64, heard: &Heard) -> Result<Moment, HistoryError> {
    let of_incarnation = |row: &Row<'_>| row.incarnation() == incarnation;
    let has_incarnation = |group: &RowGroup<'_>| {
        let wanted = i64::from(incarnation);
        group.numbers("incarnation").is_none_or(|(min, max)| min <= wanted && wanted <= max)
    };
    let parts = parts_by_position(table)?;

    let mut after = TickAfter { time, found: None };
    let later = |group: &RowGroup<'_>| group.numbers("time").is_none_or(|(_, max)| max > time);
    scan_head(table, NEEDS, |row| {
        if let Some(row) = Some(row).filter(of_incarnation).and_then(|row| Clocked::of(row, heard)) {
            after.add(row);
        }
    })?;
    for (part, (position_min, _)) in &parts {
        if after.found.is_some_and(|found| found.position < *position_min) {
            // Bounds are of all incarnations together, so a later part may still begin lower: only this one is skipped.
            continue;
        }
        scan_part(
            part,
            NEEDS,
            |group| has_incarnation(group) && later(group),
            |row| {
                if let Some(row) = Some(row).filter(of_incarnation).and_then(|row| Clocked::of(row, heard)) {
                    after.add(row);
                }
            },
        )?;
    }

    let mut before = TickBefore { until: after.found, tick: None, live: None };
    let position_max = after.found.map_or(i64::MAX, |until| until.position);
    let earlier = |group: &RowGroup<'_>| group.numbers("position").is_none_or(|(min, _)| min <= position_max);
    scan_head(table, NEEDS, |row| {
        if let Some(row) = Some(row).filter(of_incarnation).and_then(|row| Clocked::of(row, heard)) {
            before.add(row);
        }
    })?;
    for (part, (position_min, part_max)) in parts.iter().rev() {
        if *position_min > position_max {
            continue;
        }
        // A part is read whole if any of its row groups may matter; `add` does not mind the others.
        let settled = |group: &RowGroup<'_>, before: &TickBefore| {
            let may_be_live = !heard.is_empty()
                || group.bytes("source").is_none_or(|(min, max)| (min..=max).contains(&b"watch".as_slice()));
            let max = group.numbers("position").map_or(*part_max, |(_, max)| max);
            before.is_settled(max, may_be_live)
        };
        let so_far = TickBefore { ..before };
        let keep = |group: &RowGroup<'_>| has_incarnation(group) && earlier(group) && !settled(group, &so_far);
        scan_part(part, NEEDS, keep, |row| {
            if let Some(row) = Some(row).filter(of_incarnation).and_then(|row| Clocked::of(row, heard)) {
                before.add(row);
            }
        })?;
    }

    let agent_ahead = before.live.map(|(_, ahead)| ahead);
    let mut agent =
        AgentAfter { time, tick: before.tick, until: after.found, agent_ahead: agent_ahead.unwrap_or(0), found: None };
    let position_low = before.tick.map_or(i64::MIN, |tick| tick.position);
    let between = |(min, max): (i64, i64)| max >= position_low && min <= position_max;
    scan_head(table, NEEDS, |row| {
        if let Some(row) = Some(row).filter(of_incarnation).and_then(|row| Clocked::of(row, heard)) {
            agent.add(row);
        }
    })?;
    for (part, bounds) in &parts {
        if between(*bounds) {
            let may_be_agent =
                |group: &RowGroup<'_>| group.bytes("time_source").is_none_or(|(min, _)| min <= b"agent".as_slice());
            let keep = |group: &RowGroup<'_>| {
                has_incarnation(group) && may_be_agent(group) && group.numbers("position").is_none_or(between)
            };
            scan_part(part, NEEDS, keep, |row| {
                if let Some(row) = Some(row).filter(of_incarnation).and_then(|row| Clocked::of(row, heard)) {
                    agent.add(row);
                }
            })?;
        }
    }
    Ok(Moment { until: agent.found.or(after.found), tick: before.tick, agent_ahead })
}

/// What the agent's clock shows more than the server's at the first live tick of an incarnation.
pub(crate) fn first_agent_ahead(
    table: &TableView,
    incarnation: i32,
    heard: &Heard,
) -> Result<Option<i64>, HistoryError> {
    let mut first: Option<(Key, i64)> = None;
    let add = |first: &mut Option<(Key, i64)>, row: Row<'_>| {
        if row.incarnation() == incarnation
            && let Some(row) = Clocked::of(row, heard)
            && row.clock == (Clock::Tick { live: true })
            && first.is_none_or(|(key, _)| row.key < key)
        {
            *first = Some((row.key, row.observed_at.saturating_sub(row.time)));
        }
    };
    let wanted = i64::from(incarnation);
    let keep =
        |group: &RowGroup<'_>| group.numbers("incarnation").is_none_or(|(min, max)| min <= wanted && wanted <= max);
    for (part, (position_min, _)) in &parts_by_position(table)? {
        if first.is_none_or(|(key, _)| key.position >= *position_min) {
            scan_part(part, NEEDS, keep, |row| add(&mut first, row))?;
        }
    }
    scan_head(table, NEEDS, |row| add(&mut first, row))?;
    Ok(first.map(|(_, ahead)| ahead))
}

/// The rule on rows in memory, in any order: what [`find`] does with parts.
#[cfg(test)]
pub(crate) fn find_in(rows: &[Clocked], time: i64) -> Moment {
    let mut after = TickAfter { time, found: None };
    rows.iter().for_each(|row| after.add(*row));
    let mut before = TickBefore { until: after.found, tick: None, live: None };
    rows.iter().for_each(|row| before.add(*row));
    let agent_ahead = before.live.map(|(_, ahead)| ahead);
    let (tick, until) = (before.tick, after.found);
    let mut agent = AgentAfter { time, tick, until, agent_ahead: agent_ahead.unwrap_or(0), found: None };
    rows.iter().for_each(|row| agent.add(*row));
    Moment { until: agent.found.or(after.found), tick, agent_ahead }
}
