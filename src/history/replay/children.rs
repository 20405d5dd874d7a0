use std::collections::HashMap;

use super::fold::ChildDelta;
use super::rows::{Key, Row};
use super::snapshot::SnapshotRun;
use crate::history::error::HistoryError;
use crate::history::merge::Merge;
use crate::zk::{ChangeKind, parent};

/// What happened to the children of each znode: a parent's row comes long before theirs in the order of paths, so this
/// is gathered first. Memory: an entry a znode whose children changed.
pub(crate) type ChildDeltas = HashMap<Box<str>, ChildDelta>;

/// Gathers creations and deletions, given in the order of paths, by parent.
///
/// Only those count that belong to the parent's present life. A path begins the life of a parent of later paths only
/// while those still begin with it: so a stack is enough to know when each possible parent was created last.
///
/// `base` has the znodes that are there to begin with, by path. A deletion takes a child away only from a parent that
/// counted it: one of which a gap took the creation was never counted; nor is one counted twice that the base has.
/// `base_position` is how far the base reaches: a parent of it counts every child that was created until then, also one
/// that could not be read at the time and is not in the base itself.
pub(crate) fn gather(
    mut merge: Merge,
    mut base: Option<SnapshotRun>,
    base_position: Option<i64>,
) -> Result<ChildDeltas, HistoryError> {
    let mut deltas = Deltas { base_position, ..Deltas::default() };
    let mut group = Vec::new();
    let mut path = String::new();
    loop {
        merge.next_group(&mut group)?;
        let Some((first, at)) = group.first() else { return Ok(deltas.finish()) };
        let of = first.row(*at).path();
        if of != path {
            path.clear();
            path.push_str(of);
            deltas.alive = match &mut base {
                Some(base) => {
                    while base.path().is_some_and(|before| before < path.as_str()) {
                        base.advance()?;
                    }
                    Some(base.path() == Some(path.as_str()))
                }
                None => None,
            };
        }
        for (rows, at) in &group {
            deltas.add(rows.row(*at));
        }
    }
}

#[derive(Default)]
pub(crate) struct Deltas {
    gathered: HashMap<Box<str>, (ChildDelta, Option<Key>)>,
    stack: Vec<(Box<str>, Key)>,
    /// Whether the path at hand exists; `None` where nothing is known to begin with.
    alive: Option<bool>,
    base_position: Option<i64>,
}

impl Deltas {
    pub(crate) fn add(&mut self, row: Row<'_>) {
        let path = row.path();
        while self.stack.last().is_some_and(|(open, _)| !path.starts_with(open.as_ref())) {
            self.stack.pop();
        }
        let created = match row.kind() {
            Some(ChangeKind::Created) => true,
            Some(ChangeKind::Deleted) => false,
            _ => return,
        };
        let before = self.alive.replace(created);
        let one = match (before, created) {
            (Some(false) | None, true) => 1,
            (Some(true) | None, false) => -1,
            (Some(true), true) | (Some(false), false) => 0,
        };
        if created {
            match self.stack.last_mut() {
                Some((open, begun)) if **open == *path => *begun = row.key().max(*begun),
                _ => self.stack.push((path.into(), row.key())),
            }
        }
        let Some(parent) = parent(path) else { return };
        let begun = self.stack.iter().rev().find(|(open, _)| **open == *parent).map(|(_, begun)| *begun);
        if begun.is_some_and(|begun| row.key() < begun) {
            return;
        }
        if created && before == Some(false) && begun.is_none() && self.is_counted(row) {
            return;
        }
        // The base was taken while this waited for its answer: its parent counts it, and it stands as it stood after it.
        if one == 0 && begun.is_none() && self.base_position.is_some_and(|base| row.position() <= base) {
            return;
        }
        let entry = match self.gathered.get_mut(parent) {
            Some(entry) => entry,
            None => self.gathered.entry(parent.into()).or_default(),
        };
        let (delta, last) = entry;
        delta.events = delta.events.wrapping_add(1);
        delta.children = delta.children.saturating_add(one);
        if last.is_none_or(|last| last < row.key()) {
            *last = Some(row.key());
            delta.pzxid = row.zxid();
        }
    }

    /// Whether the parent's Stat in the base counts this creation, though the base does not have the child: a rescan found
    /// it later. One that was heard at the base's last zxid itself is the rest of a transaction that the base cuts.
    fn is_counted(&self, row: Row<'_>) -> bool {
        match (self.base_position, row.zxid()) {
            (Some(base), Some(zxid)) => zxid < base || (zxid == base && row.source() == "rescan"),
            _ => false,
        }
    }

    pub(crate) fn finish(self) -> ChildDeltas {
        self.gathered.into_iter().map(|(path, (delta, _))| (path, delta)).collect()
    }
}
