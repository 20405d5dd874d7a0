use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;
use std::sync::Arc;

use arrow::array::Int32Array;

use super::report::{Findings, HoleKind, Place, Progress, in_gap};
use crate::history::error::HistoryError;
use crate::history::gaps::{Gap, Interval, scope_of};
use crate::history::merge::Merge;
use crate::history::replay::part_reader::part_numbers;
use crate::history::replay::rows::{Needs, Row, column};
use crate::history::replay::run::{Select, open_runs};
use crate::history::view::View;
use crate::zk::ChangeKind;

const BATCH_ROWS_TOTAL: usize = 65_536;
const PROGRESS_EVERY_ROWS: u64 = 1 << 18;

/// Follows every path through all its changes: versions, lives, operations on record twice.
///
/// `unseen` are the gaps, and the positions before which nothing was complete yet, by incarnation.
pub(super) fn check(
    view: &View,
    unseen: &Unseen<'_>,
    findings: &mut Findings,
    progress: &mut impl FnMut(Progress),
) -> Result<(), HistoryError> {
    let needs = Needs { time: true, stat: true, ..Needs::default() };
    let mut done = 0;
    for incarnation in incarnations(view)? {
        let select = Arc::new(Select::all(incarnation));
        let mut merge = Merge::new(open_runs(&view.changes, &select, needs, BATCH_ROWS_TOTAL)?);
        let mut path = String::new();
        let mut life = Life::unknown(i64::MIN);
        let mut group = Vec::new();
        loop {
            merge.next_group(&mut group)?;
            let Some((first, at)) = group.first() else { break };
            if first.row(*at).path() != path {
                path.clear();
                path.push_str(first.row(*at).path());
                life = Life::unknown(i64::MIN);
            }
            let mut twins = Twins::default();
            for (rows, at) in &group {
                let row = rows.row(*at);
                count(row, findings);
                if group.len() > 1 && twins.holds(row) {
                    let kind = row.kind().map_or("change", ChangeKind::as_str);
                    findings.hole(HoleKind::Double, place(row), format!("this {kind} is on record twice"));
                } else {
                    life.step(row, unseen, findings);
                }
                done += 1;
                if done % PROGRESS_EVERY_ROWS == 0 {
                    progress(Progress { step: "lives", done, total: 0 });
                }
            }
        }
    }
    progress(Progress { step: "lives", done, total: done });
    Ok(())
}

/// The incarnations that changes are on record of.
pub(super) fn incarnations(view: &View) -> Result<BTreeSet<i32>, HistoryError> {
    let mut found = BTreeSet::new();
    for part in view.changes.parts.iter() {
        match part_numbers(part, "incarnation")? {
            Some((min, max)) => found.extend((min..=max).filter_map(|number| i32::try_from(number).ok())),
            None => crate::history::replay::scan::scan_part(
                part,
                Needs::default(),
                |_| true,
                |row| {
                    found.insert(row.incarnation());
                },
            )?,
        }
    }
    for head in view.changes.head.iter() {
        let incarnation = column::<Int32Array>(&head.batch, "incarnation", Path::new("the head of changes"))?;
        found.extend(incarnation.values().iter().copied());
    }
    Ok(found)
}

fn place(row: Row<'_>) -> Place<'_> {
    Place { path: Some(row.path()), seq: Some(row.seq()), zxid: row.zxid(), time: row.time() }
}

fn count(row: Row<'_>, findings: &mut Findings) {
    findings.checked().changes += 1;
    findings.unplaced += u64::from(row.zxid().is_none());
    findings.coalesced += u64::from(row.is_coalesced() && row.kind() != Some(ChangeKind::Deleted));
    findings.missed = findings.missed.saturating_add(row.missed());
    findings.watched |= row.source() == "watch";
}

/// Operations of one path in one transaction.
#[derive(Default)]
struct Twins {
    ordinals: HashSet<(ChangeKind, i64, i32)>,
    versions: HashSet<(ChangeKind, i64, i32)>,
    last_life: Option<(ChangeKind, i64)>,
}

impl Twins {
    /// Whether the same operation was seen before. Two operations of one kind differ in their ordinal and in what
    /// they lead to: a version, or for creations and deletions each other.
    fn holds(&mut self, row: Row<'_>) -> bool {
        let (Some(zxid), Some(kind)) = (row.zxid(), row.kind()) else { return false };
        if !self.ordinals.insert((kind, zxid, row.ordinal())) {
            return true;
        }
        match kind {
            ChangeKind::Created | ChangeKind::Deleted => {
                // A life that begins or ends inside the transaction counts its versions anew.
                self.versions.clear();
                self.last_life.replace((kind, zxid)) == Some((kind, zxid))
            }
            ChangeKind::DataChanged if row.path() == CONFIG => false,
            ChangeKind::DataChanged => {
                row.version().is_some_and(|version| !self.versions.insert((kind, zxid, version)))
            }
            ChangeKind::AclChanged => {
                row.aversion().is_some_and(|aversion| !self.versions.insert((kind, zxid, aversion)))
            }
        }
    }
}

/// Where changes may have gone unseen.
pub(super) struct Unseen<'a> {
    gaps: &'a [Gap],
    /// The first zxid from which on an incarnation was observed. A first look that was cut short left rows before it.
    began: BTreeMap<i32, i64>,
}

impl<'a> Unseen<'a> {
    pub(super) fn new(gaps: &'a [Gap], intervals: &[Interval]) -> Self {
        let mut began = BTreeMap::new();
        // Not those of single paths, which could not be read even before.
        let scope = scope_of(intervals);
        for interval in intervals.iter().filter(|own| own.is_data() && Some(own.path.as_str()) == scope) {
            let first = began.entry(interval.incarnation).or_insert(interval.from_zxid);
            *first = interval.from_zxid.min(*first);
        }
        Self { gaps, began }
    }

    fn explains(&self, incarnation: i32, path: &str, between: (i64, i64)) -> bool {
        in_gap(self.gaps, incarnation, path, between)
            || self.began.get(&incarnation).is_some_and(|began| between.0 < *began)
    }
}

/// Its version is always -1.
const CONFIG: &str = "/zookeeper/config";

/// What is known of a path after the changes so far.
struct Life {
    exists: Option<bool>,
    czxid: Option<i64>,
    version: Option<i32>,
    aversion: Option<i32>,
    position: i64,
}

impl Life {
    fn unknown(position: i64) -> Self {
        Self { exists: None, czxid: None, version: None, aversion: None, position }
    }

    fn step(&mut self, row: Row<'_>, unseen: &Unseen<'_>, findings: &mut Findings) {
        let between = (self.position, row.position());
        let hole = |kind: HoleKind, detail: String, findings: &mut Findings| {
            if unseen.explains(row.incarnation(), row.path(), between) {
                findings.excused += 1;
            } else {
                findings.hole(kind, place(row), detail);
            }
        };
        self.position = row.position();
        match row.kind() {
            Some(ChangeKind::Created) => {
                if self.exists == Some(true) {
                    hole(HoleKind::Life, "it is created while it exists: a deletion is missing".into(), findings);
                }
                *self = Self {
                    exists: Some(true),
                    czxid: row.czxid().or(row.zxid()),
                    version: Some(0),
                    aversion: None,
                    position: row.position(),
                };
            }
            Some(ChangeKind::Deleted) => {
                if self.exists == Some(false) {
                    hole(
                        HoleKind::Life,
                        "it is deleted while it does not exist: a creation is missing".into(),
                        findings,
                    );
                } else if self.is_other_life(row) {
                    hole(HoleKind::Life, self.other_life(row), findings);
                }
                *self = Self { exists: Some(false), ..Self::unknown(row.position()) };
            }
            Some(ChangeKind::DataChanged) => {
                if self.exists == Some(false) {
                    hole(HoleKind::Life, "it changes while it does not exist: a creation is missing".into(), findings);
                    self.version = None;
                } else if self.is_other_life(row) {
                    hole(HoleKind::Life, self.other_life(row), findings);
                    self.version = None;
                }
                self.exists = Some(true);
                self.czxid = row.czxid().or(self.czxid);
                if row.path() != CONFIG {
                    self.step_version(row, hole, findings);
                }
            }
            Some(ChangeKind::AclChanged) => {
                if let (Some(before), Some(after)) = (self.aversion, row.aversion())
                    && after.wrapping_sub(before) <= 0
                    // A sweep may find what a log has told already.
                    && !(after == before && row.zxid().is_none())
                {
                    hole(HoleKind::Version, format!("aversion {after} follows {before}"), findings);
                }
                self.aversion = row.aversion().or(self.aversion);
            }
            None => {
                findings.unproved(format!(
                    "{}: seq {} is of a kind that this zktrail does not know",
                    row.path(),
                    row.seq()
                ));
            }
        }
    }

    fn step_version(
        &mut self,
        row: Row<'_>,
        mut hole: impl FnMut(HoleKind, String, &mut Findings),
        findings: &mut Findings,
    ) {
        if row.version().is_none() {
            findings.unversioned += 1;
        }
        if let (Some(before), Some(after)) = (self.version, row.version()) {
            findings.checked().versions += 1;
            let step = i64::from(after.wrapping_sub(before));
            let missing = step.saturating_sub(1).saturating_sub(row.missed());
            if step < 1 {
                hole(HoleKind::Version, format!("version {after} follows {before}"), findings);
            } else if missing > 0 {
                let (from, to) = (before.wrapping_add(1), after.wrapping_sub(1));
                let missed = row.missed();
                let detail = format!("versions {from} to {to} are missing, {missed} of them marked as missed");
                hole(HoleKind::Version, detail, findings);
            } else if missing < 0 {
                let missed = row.missed();
                let detail = format!("version {after} follows {before}, though {missed} changes are marked as missed");
                hole(HoleKind::Version, detail, findings);
            }
        }
        self.version = row.version();
    }

    fn is_other_life(&self, row: Row<'_>) -> bool {
        matches!((self.czxid, row.czxid()), (Some(own), Some(other)) if own != other)
    }

    fn other_life(&self, row: Row<'_>) -> String {
        let (own, other) = (self.czxid.unwrap_or_default(), row.czxid().unwrap_or_default());
        format!(
            "it is of the life that began at {other:#x}, in that of {own:#x}: a deletion and a creation are missing"
        )
    }
}
