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
/// `base` has the znodes that are there to begin with, by path. A child counts by whether it is there at the end and was
/// there in the beginning, as the fold of its own rows has it: rows of a gap have bounds for places, so the order between
/// a parent's and a child's rows is not to be relied on.
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
        let Some((first, at)) = group.first() else {
            deltas.end_path(&path);
            return Ok(deltas.finish());
        };
        let of = first.row(*at).path();
        if of != path {
            deltas.end_path(&path);
            path.clear();
            path.push_str(of);
            deltas.base_alive = match &mut base {
                Some(base) => {
                    while base.path().is_some_and(|before| before < path.as_str()) {
                        base.advance()?;
                    }
                    Some(base.path() == Some(path.as_str()))
                }
                None => None,
            };
            deltas.begin_path(of);
        }
        for (rows, at) in &group {
            deltas.add(rows.row(*at));
        }
    }
}

/// How the present life of a possible parent began.
#[derive(Clone, Copy)]
struct Begun {
    at: Key,
    /// By a rescan, which found it later: rows of children that were heard meanwhile may stand before it.
    found: bool,
}

/// The children's rows of one parent so far.
#[derive(Default)]
struct Gathered {
    delta: ChildDelta,
    last: Option<Key>,
    /// The last one was found by a rescan.
    found: bool,
    /// It is not known when one of them happened: perhaps after all those that a rescan found.
    loose: bool,
}

#[derive(Default)]
pub(crate) struct Deltas {
    gathered: HashMap<Box<str>, Gathered>,
    stack: Vec<(Box<str>, Begun)>,
    /// Whether the path at hand exists in the base; `None` where nothing is known to begin with.
    base_alive: Option<bool>,
    /// … and after the rows so far.
    alive: Option<bool>,
    /// Its parent's Stat in the base counts the path at hand, though the base does not have it.
    counted_before: bool,
    base_position: Option<i64>,
}

impl Deltas {
    fn begin_path(&mut self, path: &str) {
        while self.stack.last().is_some_and(|(open, _)| !path.starts_with(open.as_ref())) {
            self.stack.pop();
        }
        self.alive = self.base_alive;
        self.counted_before = false;
    }

    /// Counts the path at hand for its parent.
    fn end_path(&mut self, path: &str) {
        let Some(parent) = parent(path) else { return };
        let Some(alive) = self.alive else { return };
        // A parent that began anew counts whoever is there; one that went on, whoever came or went.
        let before = self.base_alive.unwrap_or(!alive) || self.counted_before;
        let children = i32::from(alive) - if self.begun(parent).is_some() { 0 } else { i32::from(before) };
        if children != 0 {
            let delta = &mut self.gathered.entry(parent.into()).or_default().delta;
            delta.children = delta.children.saturating_add(children);
        }
    }

    /// When the present life of a possible parent of the path at hand began, if that is among the rows.
    fn begun(&self, parent: &str) -> Option<Begun> {
        self.stack.iter().rev().find(|(open, _)| **open == *parent).map(|(_, begun)| *begun)
    }

    fn add(&mut self, row: Row<'_>) {
        let path = row.path();
        let created = match row.kind() {
            Some(ChangeKind::Created) => true,
            Some(ChangeKind::Deleted) => false,
            _ => return,
        };
        let before = self.alive.replace(created);
        let repeats = before == Some(created);
        // One that the base has already began before it.
        if created && !repeats {
            let new = Begun { at: row.key(), found: row.source() == "rescan" };
            match self.stack.last_mut() {
                Some((open, begun)) if **open == *path && begun.at < new.at => *begun = new,
                Some((open, _)) if **open == *path => {}
                _ => self.stack.push((path.into(), new)),
            }
        }
        let Some(parent) = parent(path) else { return };
        let begun = self.begun(parent);
        if let Some(begun) = begun.filter(|begun| row.key() < begun.at) {
            if begun.found && row.zxid().is_none() {
                self.gathered.entry(parent.into()).or_default().delta.uncounted = true;
            }
            return;
        }
        if created && before == Some(false) && begun.is_none() && self.is_counted(row) {
            self.counted_before = true;
            return;
        }
        // The base was taken while this waited for its answer: its parent counts it, and it stands as it stood after it.
        let contained = self.base_position.is_some_and(|base| row.position() <= base);
        if repeats && begun.is_none() && contained {
            return;
        }
        let entry = match self.gathered.get_mut(parent) {
            Some(entry) => entry,
            None => self.gathered.entry(parent.into()).or_default(),
        };
        let found = row.source() == "rescan";
        entry.delta.events = entry.delta.events.wrapping_add(1);
        entry.loose |= row.zxid().is_none();
        if entry.last.is_none_or(|last| last < row.key()) {
            entry.last = Some(row.key());
            entry.found = found;
            entry.delta.pzxid = row.zxid();
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

    fn finish(self) -> ChildDeltas {
        let known = |of: Gathered| match of.found && of.loose {
            true => ChildDelta { pzxid: None, ..of.delta },
            false => of.delta,
        };
        self.gathered.into_iter().map(|(path, of)| (path, known(of))).collect()
    }
}
