//! Which rows of two recordings are the same: pure.

use std::collections::BTreeMap;

use super::super::layout::Day;
use super::ImportError;
use super::complete::rank;
use super::recorded::Recorded;
use crate::zk::{Change, ChangeKind, Evidence, Source, TimeSource, Zxid};

/// Its version, mtime and czxid are every server's own.
const CONFIG: &str = "/zookeeper/config";

/// A row of the other history.
#[derive(Clone, Debug)]
pub(super) struct Theirs {
    pub(super) day: Day,
    pub(super) seq: i64,
    pub(super) change: Change,
    /// As of [`Recorded`].
    pub(super) bound: Option<i64>,
}

/// What a stretch of both comes to, as indices.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    /// (mine, theirs): mine knows more by it.
    pub(super) fixes: Vec<(usize, usize)>,
    /// Theirs that are not here.
    pub(super) new: Vec<usize>,
    /// Theirs and mine that may be the same as one in a later stretch.
    pub(super) carried: Vec<usize>,
    pub(super) my_carried: Vec<usize>,
    pub(super) same: u64,
}

/// Pairs the rows of a stretch that ends at `to`; `theirs` are in the order of changes.
pub(super) fn pair(mine: &[Recorded], theirs: &[Theirs], to: i64) -> Result<Pairs, ImportError> {
    let mut paths: BTreeMap<&str, (Vec<usize>, Vec<usize>)> = BTreeMap::new();
    for (at, row) in mine.iter().enumerate() {
        paths.entry(&row.path).or_default().0.push(at);
    }
    for (at, row) in theirs.iter().enumerate() {
        paths.entry(&row.change.path).or_default().1.push(at);
    }
    let mut pairs = Pairs::default();
    for (mut own, other) in paths.into_values() {
        own.sort_by_key(|at| (mine[*at].position, mine[*at].zxid.is_none(), mine[*at].ordinal, mine[*at].seq));
        let mut path = Path { mine, theirs, of: vec![None; own.len()], taken: vec![false; other.len()], own, other };
        path.pair()?;
        path.tell(to, &mut pairs);
    }
    Ok(pairs)
}

struct Path<'a> {
    mine: &'a [Recorded],
    theirs: &'a [Theirs],
    own: Vec<usize>,
    other: Vec<usize>,
    /// For each of `own` the place in `other` of its twin.
    of: Vec<Option<usize>>,
    taken: Vec<bool>,
}

impl Path<'_> {
    fn pair(&mut self) -> Result<(), ImportError> {
        // By zxid, kind and n; then by what they tell, then whatever nothing speaks against. A rescan saw what its
        // transaction left behind: the last of several lives in it.
        self.each_last(|row, other| row.zxid.is_some() && row.zxid == zxid(other) && details_agree(row, other));
        self.each(|row, other| row.zxid.is_some() && row.zxid == zxid(other) && details_agree(row, other));
        self.each(|row, other| row.zxid.is_some() && row.zxid == zxid(other));
        self.each(is_that_acl);
        self.each(|row, other| loose(row, other) && is_told(row, other) && details_agree(row, other));
        self.each(|row, other| loose(row, other) && details_agree(row, other));
        for (own, other) in self.of.iter().enumerate() {
            if let Some(other) = other {
                contradicts(&self.mine[self.own[own]], &self.theirs[self.other[*other]].change)?;
            }
        }
        Ok(())
    }

    /// Pairs what is free and fits, in the order of both.
    fn each(&mut self, fits: impl Fn(&Recorded, &Theirs) -> bool) {
        for own in 0..self.own.len() {
            if self.of[own].is_some() {
                continue;
            }
            let row = &self.mine[self.own[own]];
            let free = (0..self.other.len()).filter(|at| !self.taken[*at]);
            let twin = free.into_iter().find(|at| {
                let other = &self.theirs[self.other[*at]];
                other.change.kind == row.kind && fits(row, other)
            });
            if let Some(twin) = twin {
                self.of[own] = Some(twin);
                self.taken[twin] = true;
            }
        }
    }

    /// Pairs what a rescan found with the last that fits.
    fn each_last(&mut self, fits: impl Fn(&Recorded, &Theirs) -> bool) {
        let is_other = self.other.iter().any(|at| self.theirs[*at].change.source == Source::Rescan);
        for own in (0..self.own.len()).rev() {
            let row = &self.mine[self.own[own]];
            if !is_other && !row.rescan {
                continue;
            }
            let mut free = (0..self.other.len()).rev().filter(|at| !self.taken[*at]);
            let twin = free.find(|at| {
                let other = &self.theirs[self.other[*at]];
                let is_left_behind = row.rescan || other.change.source == Source::Rescan;
                is_left_behind && other.change.kind == row.kind && fits(row, other)
            });
            if let Some(twin) = twin {
                self.of[own] = Some(twin);
                self.taken[twin] = true;
            }
        }
    }

    fn tell(self, to: i64, pairs: &mut Pairs) {
        for (own, twin) in self.own.iter().zip(&self.of) {
            let row = &self.mine[*own];
            match twin {
                Some(twin) => {
                    let other = self.other[*twin];
                    if gains(row, &self.theirs[other].change) {
                        pairs.fixes.push((*own, other));
                    } else {
                        pairs.same += 1;
                    }
                }
                None if row.zxid.is_none() && row.bound.is_none_or(|bound| bound > to) => pairs.my_carried.push(*own),
                None => {}
            }
        }
        for (other, _) in self.other.iter().zip(&self.taken).filter(|(_, taken)| !**taken) {
            let row = &self.theirs[*other];
            let waits = row.change.zxid.is_none() && row.bound.is_none_or(|bound| bound > to);
            if waits && to < i64::MAX { pairs.carried.push(*other) } else { pairs.new.push(*other) }
        }
    }
}

fn zxid(row: &Theirs) -> Option<i64> {
    row.change.zxid.map(|zxid| zxid.0)
}

/// Whether their places allow that a row without a zxid is the same as another.
fn loose(row: &Recorded, other: &Theirs) -> bool {
    let (position, bound) = (other.change.position.0, other.bound.unwrap_or(i64::MAX));
    let own_bound = row.bound.unwrap_or(i64::MAX);
    match (row.zxid, zxid(other)) {
        (Some(_), Some(_)) => false,
        (Some(own), None) => position <= own && own <= bound,
        (None, Some(other)) => row.position <= other && other <= own_bound,
        (None, None) => row.position <= bound && position <= own_bound,
    }
}

/// Whether both are one ACL change of one life, whatever their places say: a sweep comes at any time after it.
fn is_that_acl(row: &Recorded, other: &Theirs) -> bool {
    let change = &other.change;
    row.kind == ChangeKind::AclChanged
        && (row.zxid.is_none() || change.zxid.is_none())
        && row.czxid.is_some()
        && row.czxid == change.czxid.map(|czxid| czxid.0)
        && row.aversion.is_some()
        && row.aversion == change.aversion
}

/// Whether both say which of the path's changes they are.
fn is_told(row: &Recorded, other: &Theirs) -> bool {
    let change = &other.change;
    match row.kind {
        ChangeKind::DataChanged => {
            row.czxid.is_some() && change.czxid.is_some() && row.version.is_some() && change.version.is_some()
        }
        ChangeKind::AclChanged => row.aversion.is_some() && change.aversion.is_some(),
        ChangeKind::Created | ChangeKind::Deleted => row.czxid.is_some() && change.czxid.is_some(),
    }
}

/// Whether nothing that both tell differs.
fn details_agree(row: &Recorded, other: &Theirs) -> bool {
    fn agree<T: PartialEq>(a: Option<T>, b: Option<T>) -> bool {
        a.is_none() || b.is_none() || a == b
    }
    let change = &other.change;
    let life = agree(row.czxid, change.czxid.map(|czxid| czxid.0));
    &*row.path == CONFIG
        || life
            && match row.kind {
                ChangeKind::DataChanged => agree(row.version, change.version),
                ChangeKind::AclChanged => agree(row.aversion, change.aversion),
                ChangeKind::Created | ChangeKind::Deleted => true,
            }
}

/// Whether a row knows more by its twin.
fn gains(row: &Recorded, by: &Change) -> bool {
    let by_rank = rank(by.source);
    let own_rank = if row.lossless { 2 } else { u8::from(!row.rescan) };
    by_rank > own_rank
        || row.zxid.is_none() && by.zxid.is_some()
        || row.czxid.is_none() && by.czxid.is_some()
        || row.version.is_none() && by.version.is_some()
        || row.server_time.is_none() && by.time_source == TimeSource::Server
        || !row.exact && by.evidence == Evidence::Exact
        || row.missed > by.missed
}

/// Refuses an exact row that is on record here otherwise.
fn contradicts(row: &Recorded, by: &Change) -> Result<(), ImportError> {
    let exact = row.exact && by.evidence == Evidence::Exact && row.zxid.is_some() && by.zxid.is_some();
    if !exact || &*row.path == CONFIG {
        return Ok(());
    }
    let differ = |a: Option<i64>, b: Option<i64>| a.is_some() && b.is_some() && a != b;
    let given_time = (by.time_source == TimeSource::Server).then_some(by.time.0);
    let what = if differ(row.czxid, by.czxid.map(|czxid| czxid.0)) {
        "its life began at another zxid there"
    } else if row.kind == ChangeKind::DataChanged && differ(row.version.map(i64::from), by.version.map(i64::from)) {
        "it has another version there"
    } else if differ(row.server_time, given_time) {
        "it has another time there"
    } else {
        return Ok(());
    };
    let zxid = Zxid(row.zxid.unwrap_or_default());
    Err(ImportError::Contradiction { path: row.path.to_string(), zxid, what: what.to_owned() })
}

#[cfg(test)]
mod tests;
