//! When nobody was looking: the complement of `coverage`, best source wins.
//!
//! For each scope (a path that intervals name) the intervals of the source that looked live, in the order of recording,
//! leave gaps between them. An interval that was only `rolled` and goes on where it ended leaves none. Where a source that
//! misses nothing (txnlog, observer) covers the zxids of a gap, that part of the gap is filled; where one reaches further
//! back than the live source, history begins there. Zxids decide, times only label: what is left of a gap never
//! claims more time to be covered than its own.
//!
//! A path below another scope has intervals of its own only where it could not be read: an interval that `ended`
//! `unreadable` begins a gap of that path alone, and the path's next interval ends it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use arrow::array::{Array, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::record_batch::RecordBatch;

use super::error::HistoryError;
use super::layout::Table;
use super::replay::part_reader::PartReader;
use super::replay::ranges::PathRanges;
use super::replay::rows::column;
use super::view::View;
use crate::zk::{Ended, Micros, Zxid};

#[cfg(test)]
mod tests;

/// A time in which changes beneath a path may have gone unseen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    pub incarnation: i32,
    pub path: String,
    pub from_time: Micros,
    /// `None` while it lasts.
    pub to_time: Option<Micros>,
    pub from_zxid: i64,
    pub to_zxid: Option<i64>,
    /// How the interval before it ended; `crashed` where it did not live to say, [`UNOBSERVED`] where there was none.
    pub reason: String,
    /// Changes that are proved to have been lost in it.
    pub missed_at_least: i64,
}

/// Between what a log tells and the first look of the live source: no scan compared with what was before.
pub(crate) const UNOBSERVED: &str = "unobserved";

/// One row of `coverage`, or an interval that is open now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interval {
    pub(crate) incarnation: i32,
    pub(crate) source: String,
    pub(crate) path: String,
    pub(crate) aspect: String,
    pub(crate) from_time: i64,
    pub(crate) to_time: i64,
    pub(crate) from_zxid: i64,
    pub(crate) to_zxid: i64,
    pub(crate) ended: Option<String>,
    pub(crate) missed_at_least: i64,
    pub(crate) seq: i64,
    pub(crate) open: bool,
}

impl Interval {
    pub(crate) fn is_data(&self) -> bool {
        self.aspect == "data"
    }

    /// Whether its source misses nothing.
    pub(crate) fn is_lossless(&self) -> bool {
        matches!(self.source.as_str(), "txnlog" | "observer")
    }

    fn is_unreadable(&self) -> bool {
        self.ended.as_deref() == Some("unreadable")
    }
}

/// The gaps in what was observed of znodes and their values (aspect `data`), by path and time.
pub fn gaps(view: &View) -> Result<Vec<Gap>, HistoryError> {
    Ok(gaps_of(&intervals(view)?))
}

/// The greatest zxid up to which an incarnation's znodes were observed; `None` where nothing was.
pub fn covered_up_to(view: &View, incarnation: i32) -> Result<Option<Zxid>, HistoryError> {
    let intervals = intervals(view)?;
    let of_it = intervals.iter().filter(|interval| interval.is_data() && interval.incarnation == incarnation);
    Ok(of_it.map(|interval| Zxid(interval.to_zxid)).max())
}

/// Until when an incarnation's znodes were observed; `None` where nothing was.
pub fn observed_until(view: &View, incarnation: i32) -> Result<Option<Micros>, HistoryError> {
    let intervals = intervals(view)?;
    let of_it = intervals.iter().filter(|interval| interval.is_data() && interval.incarnation == incarnation);
    Ok(of_it.map(|interval| Micros(interval.to_time)).max())
}

/// The greatest zxid up to which logs were worked in, of all znodes of a scope; `None` where none was.
pub fn logged_up_to(view: &View, incarnation: i32, scope: &str) -> Result<Option<Zxid>, HistoryError> {
    let intervals = intervals(view)?;
    let of_it = intervals.iter().filter(|interval| {
        interval.is_data()
            && interval.is_lossless()
            && interval.incarnation == incarnation
            && is_within(scope, &interval.path)
    });
    Ok(of_it.map(|interval| Zxid(interval.to_zxid)).max())
}

/// The paths whose own last interval ended because they could not be read.
pub fn unreadable_paths(view: &View, incarnation: i32) -> Result<Vec<String>, HistoryError> {
    let mut last = BTreeMap::new();
    for interval in intervals(view)?.into_iter().filter(|interval| interval.incarnation == incarnation) {
        if interval.is_data() {
            last.insert(interval.path, interval.ended);
        }
    }
    let unreadable = last.into_iter().filter(|(_, ended)| ended.as_deref() == Some(Ended::Unreadable.as_str()));
    Ok(unreadable.map(|(path, _)| path).collect())
}

/// Every interval on record, in the order of recording, those that are open now last.
/// Held in memory: coverage has a few rows a flush.
pub(crate) fn intervals(view: &View) -> Result<Vec<Interval>, HistoryError> {
    let mut intervals = Vec::new();
    for part in view.parts(Table::Coverage) {
        let names: Vec<&str> = COLUMNS.to_vec();
        let mut reader = PartReader::open(part, &names, 8_192, &PathRanges::all(), |_| true)?;
        while let Some(batch) = reader.next()? {
            push_rows(&batch, reader.place(), false, &mut intervals)?;
        }
    }
    for head in view.head(Table::Coverage) {
        push_rows(&head.batch, Path::new("the head of coverage"), false, &mut intervals)?;
    }
    intervals.sort_by_key(|interval| interval.seq);
    if view.open_coverage.num_rows() > 0 {
        push_rows(&view.open_coverage, Path::new("the open coverage"), true, &mut intervals)?;
    }
    Ok(intervals)
}

const COLUMNS: [&str; 11] = [
    "seq",
    "incarnation",
    "source",
    "path",
    "aspect",
    "from_time",
    "to_time",
    "from_zxid",
    "to_zxid",
    "ended",
    "missed_at_least",
];

fn push_rows(batch: &RecordBatch, place: &Path, open: bool, out: &mut Vec<Interval>) -> Result<(), HistoryError> {
    let numbers = |name: &str| column::<Int64Array>(batch, name, place);
    let times = |name: &str| column::<TimestampMicrosecondArray>(batch, name, place);
    let texts = |name: &str| column::<StringArray>(batch, name, place);
    let (seq, from_zxid, to_zxid) = (numbers("seq")?, numbers("from_zxid")?, numbers("to_zxid")?);
    let (from_time, to_time, missed) = (times("from_time")?, times("to_time")?, numbers("missed_at_least")?);
    let (source, path, aspect, ended) = (texts("source")?, texts("path")?, texts("aspect")?, texts("ended")?);
    let incarnation = column::<Int32Array>(batch, "incarnation", place)?;
    out.extend((0..batch.num_rows()).map(|at| Interval {
        incarnation: incarnation.value(at),
        source: source.value(at).to_owned(),
        path: path.value(at).to_owned(),
        aspect: aspect.value(at).to_owned(),
        from_time: from_time.value(at),
        to_time: to_time.value(at),
        from_zxid: from_zxid.value(at),
        to_zxid: to_zxid.value(at),
        ended: ended.is_valid(at).then(|| ended.value(at).to_owned()),
        missed_at_least: missed.value(at),
        seq: seq.value(at),
        open,
    }));
    Ok(())
}

/// The path that bounds everything observed of znodes; `None` where nothing was, or no one path bounds it all.
pub(crate) fn scope_of(intervals: &[Interval]) -> Option<&str> {
    let paths = || intervals.iter().filter(|interval| interval.is_data()).map(|interval| interval.path.as_str());
    let scope = paths().min()?;
    paths().all(|path| is_within(path, scope)).then_some(scope)
}

/// Whether `scope` is `path` or above it.
pub(crate) fn is_within(path: &str, scope: &str) -> bool {
    scope == "/" || path.strip_prefix(scope).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The gaps that these intervals (in the order of recording, open ones last) leave.
pub(crate) fn gaps_of(intervals: &[Interval]) -> Vec<Gap> {
    let data: Vec<&Interval> = intervals.iter().filter(|interval| interval.is_data()).collect();
    let scopes: BTreeSet<&str> = data.iter().map(|interval| interval.path.as_str()).collect();
    let mut gaps = Vec::new();
    for scope in scopes {
        let own = |interval: &&&Interval| interval.path == scope;
        let unreadable = data.iter().filter(own).any(|interval| interval.is_unreadable());
        let above = data.iter().any(|interval| interval.path != scope && is_within(scope, &interval.path));
        let mut found = if unreadable && above {
            let own: Vec<&Interval> = data.iter().filter(own).copied().collect();
            unreadable_gaps(&own)
        } else {
            let covering: Vec<&Interval> =
                data.iter().filter(|interval| is_within(scope, &interval.path)).copied().collect();
            scope_gaps(scope, &covering)
        };
        for interval in data.iter().filter(|interval| interval.is_lossless() && is_within(scope, &interval.path)) {
            found = found.into_iter().flat_map(|gap| fill(gap, interval)).collect();
        }
        gaps.extend(found);
    }
    gaps.sort_by(|a, b| {
        (&a.path, a.incarnation, a.from_time, a.from_zxid).cmp(&(&b.path, b.incarnation, b.from_time, b.from_zxid))
    });
    gaps
}

/// Between the intervals of the live source; where there is no watch, the best of the others is the live one.
fn scope_gaps(scope: &str, covering: &[&Interval]) -> Vec<Gap> {
    let source = ["watch", "observer", "txnlog"]
        .into_iter()
        .find(|source| covering.iter().any(|interval| interval.source == *source))
        .map(str::to_owned)
        .or_else(|| covering.first().map(|interval| interval.source.clone()));
    let Some(source) = source else { return Vec::new() };
    let mut covering = covering.to_vec();
    let is_mixed = covering.windows(2).any(|pair| matches!(pair, [before, next] if goes_back(before, next)));
    if is_mixed || !matches!(source.as_str(), "watch" | "rescan") {
        // Logs are imported in any order, and other agents' intervals come after all of this one's.
        covering.sort_by_key(|interval| (interval.incarnation, interval.from_zxid, interval.to_zxid));
    }
    let mut gaps = before_live(scope, &covering, &source);
    let mut last: Option<&Interval> = None;
    // An interval below the one that ended (an unreadable path's own) does not speak for the scope.
    for interval in covering.iter().filter(|interval| interval.source == source && !interval.is_unreadable()) {
        match last {
            Some(before)
                if before.incarnation == interval.incarnation
                    && (is_covered_by(interval, before) || is_beside(interval, before)) =>
            {
                // A wider scope was open meanwhile, or another agent: it lasts as long as the longer of both.
                if interval.to_time > before.to_time || interval.open {
                    last = Some(interval);
                }
                continue;
            }
            Some(before) if !goes_on(before, interval) => gaps.push(between(scope, before, Some(interval))),
            _ => {}
        }
        last = Some(interval);
    }
    if let Some(before) = last
        && !before.open
    {
        gaps.push(between(scope, before, None));
    }
    gaps
}

/// A log may reach further back than the live source: what lies between both is a gap, as far as no log fills it.
fn before_live(scope: &str, covering: &[&Interval], source: &str) -> Vec<Gap> {
    let mut seen = BTreeSet::new();
    let mut gaps = Vec::new();
    for live in covering.iter().filter(|interval| interval.source == source && !interval.is_unreadable()) {
        if !seen.insert(live.incarnation) {
            continue;
        }
        let own = |interval: &&&Interval| interval.is_lossless() && interval.incarnation == live.incarnation;
        let first = covering.iter().filter(own).min_by_key(|interval| interval.from_zxid);
        if let Some(first) = first.filter(|first| first.to_zxid < live.from_zxid) {
            gaps.push(Gap { reason: UNOBSERVED.to_owned(), ..between(scope, first, Some(live)) });
        }
    }
    gaps
}

/// Whether an interval begins while the one before it still lasts.
fn is_covered_by(interval: &Interval, before: &Interval) -> bool {
    interval.path != before.path && interval.from_time <= before.to_time
}

/// Whether an interval was recorded behind one that began after it.
fn goes_back(before: &Interval, next: &Interval) -> bool {
    before.path == next.path
        && before.incarnation == next.incarnation
        && next.from_zxid < before.from_zxid
        && next.from_time < before.from_time
}

/// Whether another agent looked while this one still did: one alone never looks twice at once.
fn is_beside(interval: &Interval, before: &Interval) -> bool {
    interval.from_zxid < before.to_zxid && interval.from_time < before.to_time
}

/// Whether the interval goes on where the one before was rolled.
fn goes_on(before: &Interval, next: &Interval) -> bool {
    before.ended.as_deref() == Some("rolled")
        && before.incarnation == next.incarnation
        && next.from_time <= before.to_time
        && next.from_zxid <= before.to_zxid
}

fn between(scope: &str, before: &Interval, next: Option<&Interval>) -> Gap {
    let reason = match before.ended.as_deref() {
        // It was to go on, and did not live to do so.
        None | Some("rolled") => "crashed",
        Some(reason) => reason,
    };
    Gap {
        incarnation: before.incarnation,
        path: scope.to_owned(),
        from_time: Micros(before.to_time),
        to_time: next.map(|next| Micros(next.from_time.max(before.to_time))),
        from_zxid: before.to_zxid,
        to_zxid: next.map(|next| {
            if next.incarnation == before.incarnation { next.from_zxid.max(before.to_zxid) } else { next.from_zxid }
        }),
        reason: reason.to_owned(),
        missed_at_least: next.map_or(0, |next| next.missed_at_least),
    }
}

/// The gaps of a path that could not be read, while the scope above it went on.
fn unreadable_gaps(own: &[&Interval]) -> Vec<Gap> {
    let mut gaps: Vec<Gap> = Vec::new();
    for (at, interval) in own.iter().enumerate().filter(|(_, interval)| interval.is_unreadable()) {
        let next = own.get(at + 1).copied();
        let gap = between(&interval.path, interval, next);
        match gaps.last_mut() {
            // Found unreadable again: the same gap goes on.
            Some(last) if last.to_time == Some(gap.from_time) => {
                last.to_time = gap.to_time;
                last.to_zxid = gap.to_zxid;
                last.missed_at_least = last.missed_at_least.saturating_add(gap.missed_at_least);
            }
            _ => gaps.push(gap),
        }
    }
    gaps
}

/// What is left of a gap where a source that misses nothing covers some of its zxids.
fn fill(gap: Gap, by: &Interval) -> Vec<Gap> {
    let before_end = gap.to_zxid.is_none_or(|end| by.from_zxid <= end);
    if gap.incarnation != by.incarnation || by.to_zxid < gap.from_zxid || !before_end {
        return vec![gap];
    }
    let mut left = Vec::new();
    let from_time = Micros(by.from_time).max(gap.from_time);
    if by.from_zxid > gap.from_zxid {
        left.push(Gap {
            to_time: Some(gap.to_time.map_or(from_time, |end| from_time.min(end))),
            to_zxid: Some(by.from_zxid),
            ..gap.clone()
        });
    }
    let reaches_end = by.open || gap.to_zxid.is_some_and(|end| by.to_zxid >= end);
    if !reaches_end {
        let from_time = Micros(by.to_time).max(gap.from_time);
        let from_time = gap.to_time.map_or(from_time, |end| from_time.min(end));
        left.push(Gap { from_time, from_zxid: by.to_zxid, ..gap });
    }
    left
}
