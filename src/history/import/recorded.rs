//! What is on record already of a stretch of zxids: only what decides which row is whose twin.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::error::HistoryError;
use super::super::gaps::is_within;
use super::super::layout::Day;
use super::super::part::Part;
use super::super::replay::part_reader::part_numbers;
use super::super::replay::rows::{Needs, Row};
use super::super::replay::scan::scan_part;
use super::super::view::View;
use super::Heard;
use crate::zk::ChangeKind;

/// A row on record, without its values.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Recorded {
    pub(super) day: Day,
    pub(super) seq: i64,
    pub(super) path: Box<str>,
    pub(super) zxid: Option<i64>,
    pub(super) position: i64,
    /// As it is on record: changes of the log that the row surely comes after have raised the other since.
    pub(super) written_position: i64,
    pub(super) raised: bool,
    pub(super) ordinal: i32,
    pub(super) kind: ChangeKind,
    pub(super) czxid: Option<i64>,
    pub(super) version: Option<i32>,
    pub(super) aversion: Option<i32>,
    /// From a log already: there is nothing to complete.
    pub(super) lossless: bool,
    pub(super) rescan: bool,
    pub(super) exact: bool,
    /// Heard as it happened.
    pub(super) live: bool,
    pub(super) missed: i64,
    pub(super) server_time: Option<i64>,
    pub(super) observed_at: i64,
    /// For a row without a zxid: one that it does not come after, where that is known.
    pub(super) bound: Option<i64>,
    /// … and whether it may be of the transaction at its position itself, of which others were heard before it.
    pub(super) may_be_at: bool,
}

/// Which rows are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) incarnation: i32,
    pub(super) scope: &'a str,
    /// Rows with a zxid after this …
    pub(super) low: i64,
    /// … and up to this.
    pub(super) to: i64,
    /// Rows without one at such positions; for the first stretch all before them, too, that were recorded after this seq.
    pub(super) unplaced_after: Option<i64>,
    /// Rows with one that was worked in already, after this zxid, that were recorded after this seq.
    pub(super) late: Option<(i64, i64)>,
}

impl Wanted<'_> {
    fn holds(&self, row: Row<'_>) -> bool {
        let position = row.position();
        let inside = match row.zxid() {
            Some(zxid) => {
                let late = |(begin, seq): (i64, i64)| begin < zxid && zxid <= self.low && row.seq() > seq;
                (self.low < zxid && zxid <= self.to) || self.late.is_some_and(late)
            }
            None => {
                position <= self.to && (position > self.low || self.unplaced_after.is_some_and(|seq| row.seq() > seq))
            }
        };
        inside && row.incarnation() == self.incarnation
    }
}

/// What was read: rows of the scope, and (seq, zxid) of all rows that were heard live, by seq.
pub(super) struct Window {
    pub(super) rows: Vec<Recorded>,
    live: Vec<(i64, i64)>,
    /// Of each zxid that was heard live, the first seq.
    first: HashMap<i64, i64>,
}

/// The parts that may hold rows at positions after `low`, up to `to`, or before them but after a seq; by their statistics.
pub(super) fn window(
    view: &View,
    (low, to): (i64, i64),
    after_seq: Option<i64>,
    incarnation: i32,
) -> Result<Vec<Arc<Part>>, HistoryError> {
    let own = i64::from(incarnation);
    let mut parts = Vec::new();
    for part in view.changes.parts.iter() {
        let inside =
            |bounds: Option<(i64, i64)>, low: i64, high: i64| bounds.is_none_or(|(min, max)| max >= low && min <= high);
        let positions = part_numbers(part, "position")?;
        let here = inside(positions, low.saturating_add(1), to);
        let before = after_seq.is_some_and(|seq| part.range.last > seq) && inside(positions, i64::MIN, to);
        if (here || before) && inside(part_numbers(part, "incarnation")?, own, own) {
            parts.push(part.clone());
        }
    }
    Ok(parts)
}

const NEEDS: Needs = Needs { time: true, stat: true, acl: false, data: false };

/// Reads the rows of a stretch.
pub(super) fn read(parts: &[Arc<Part>], wanted: Wanted<'_>, heard: &Heard) -> Result<Window, HistoryError> {
    let mut window = Window { rows: Vec::new(), live: Vec::new(), first: HashMap::new() };
    let low = if wanted.unplaced_after.is_some() { i64::MIN } else { wanted.low };
    for part in parts {
        let keep = |(min, max): (i64, i64)| max >= low && min <= wanted.to;
        scan_part(
            part,
            NEEDS,
            |group| group.numbers("position").is_none_or(keep),
            |row| {
                if wanted.holds(row) {
                    window.add(part.day, row, wanted.scope, heard);
                }
            },
        )?;
    }
    window.live.sort_unstable();
    if window.rows.iter().any(|row| row.zxid.is_none()) {
        window.first = window.live.iter().rev().map(|(seq, zxid)| (*zxid, *seq)).collect();
    }
    Ok(window)
}

impl Window {
    fn add(&mut self, day: Day, row: Row<'_>, scope: &str, heard: &Heard) {
        // A row of a kind that a newer zktrail wrote is nobody's twin.
        let Some(kind) = row.kind() else { return };
        let observed_at = row.observed_at().unwrap_or_default();
        let lossless = row.is_lossless();
        let live = match row.zxid() {
            Some(zxid) if lossless => heard.is_live(zxid, observed_at),
            _ => row.source() == "watch",
        };
        if let (true, Some(zxid)) = (live, row.zxid()) {
            self.live.push((row.seq(), zxid));
        }
        if !is_within(row.path(), scope) {
            return;
        }
        self.rows.push(Recorded {
            day,
            seq: row.seq(),
            path: row.path().into(),
            zxid: row.zxid(),
            position: row.position(),
            written_position: row.position(),
            raised: false,
            ordinal: row.ordinal(),
            kind,
            czxid: row.czxid(),
            version: row.version(),
            aversion: row.aversion(),
            lossless,
            rescan: row.source() == "rescan",
            exact: row.is_exact(),
            live,
            missed: row.missed(),
            server_time: row.server_time(),
            observed_at,
            bound: None,
            may_be_at: false,
        });
    }

    /// Gives an unplaced row its bound: the next zxid that was heard live behind it.
    pub(super) fn bound(&self, row: &mut Recorded) {
        row.may_be_at |= self.first.get(&row.position).is_some_and(|seq| *seq < row.seq);
        if row.zxid.is_none() && row.bound.is_none() {
            let next = self.live.partition_point(|(seq, _)| *seq <= row.seq);
            let later = self.live.get(next..).unwrap_or_default();
            row.bound = later.iter().find(|(_, zxid)| *zxid >= row.position).map(|(_, zxid)| *zxid);
        }
    }
}
