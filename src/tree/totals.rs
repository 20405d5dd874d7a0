//! What is counted of the tree while it changes, so that nobody has to walk it: each step costs O(1), or the logarithm of
//! the number of different lengths.

use std::collections::HashMap;
use std::sync::Arc;

use super::Tree;
use super::lengths::Lengths;
use super::nodes::{Id, ROOT};
use crate::zk::{Micros, Stat, Subtrees};

/// jute writes a list as its number of entries and each name with its length, four bytes each.
const JUTE_LENGTH_BYTES: u32 = 4;

/// What the tree holds beneath one listed prefix, less what a longer one of them holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubtreeTotals {
    pub znodes: u64,
    /// Of the known values.
    pub bytes: u64,
    pub ephemerals: u64,
    /// The greatest ctime or mtime that any Stat has shown, also of znodes that are gone; 0 where none has.
    pub newest: Micros,
}

/// The totals of all znodes that exist. Nodes know their place among the subtrees, and places come from nowhere else.
#[derive(Debug, Default)]
pub(super) struct Totals {
    subtrees: Vec<SubtreeTotals>,
    /// Places whose totals moved since they were taken, each once.
    moved: Vec<u16>,
    is_moved: Vec<bool>,
    data_lengths: Lengths,
    /// By parent the bytes of the existing children's names, as jute writes them.
    children_bytes: Lengths,
    /// Sessions that hold ephemerals, and how many.
    owners: HashMap<i64, u32>,
}

impl Totals {
    fn at(&mut self, place: u16) -> &mut SubtreeTotals {
        let at = usize::from(place);
        if !self.is_moved[at] {
            self.is_moved[at] = true;
            self.moved.push(place);
        }
        &mut self.subtrees[at]
    }

    pub(super) fn begins(&mut self, place: u16) {
        self.at(place).znodes += 1;
    }

    pub(super) fn ends(&mut self, place: u16) {
        self.at(place).znodes -= 1;
    }

    /// A znode's Stat becomes another. Most of the time nothing that is counted moves.
    pub(super) fn stat(&mut self, place: u16, old: &Stat, new: &Stat) {
        let (was, is) = (length(old), length(new));
        if was != is {
            let totals = self.at(place);
            totals.bytes = totals.bytes + u64::from(is) - u64::from(was);
            self.data_lengths.replace(was, is);
        }
        if old.ephemeral_owner == new.ephemeral_owner {
            return;
        }
        if old.ephemeral_owner != 0 {
            self.at(place).ephemerals -= 1;
            if let Some(count) = self.owners.get_mut(&old.ephemeral_owner) {
                *count -= 1;
                if *count == 0 {
                    self.owners.remove(&old.ephemeral_owner);
                }
            }
        }
        if new.ephemeral_owner != 0 {
            self.at(place).ephemerals += 1;
            *self.owners.entry(new.ephemeral_owner).or_default() += 1;
        }
    }

    /// A list of children becomes longer or shorter by a name; returns its bytes.
    pub(super) fn listed(&mut self, bytes: u32, name_bytes: usize, is_listed: bool) -> u32 {
        let entry = JUTE_LENGTH_BYTES.wrapping_add(name_bytes as u32);
        let becomes = if is_listed { bytes.wrapping_add(entry) } else { bytes.wrapping_sub(entry) };
        self.children_bytes.replace(bytes, becomes);
        becomes
    }

    /// Adds what a node holds.
    pub(super) fn add(&mut self, place: u16, exists: bool, stat: &Stat) {
        let totals = self.at(place);
        totals.znodes += u64::from(exists);
        totals.bytes += u64::from(length(stat));
        totals.ephemerals += u64::from(stat.ephemeral_owner != 0);
    }

    /// Begins to count anew, beneath other prefixes.
    pub(super) fn list_subtrees(&mut self, subtrees: usize) {
        self.subtrees = vec![SubtreeTotals::default(); subtrees];
        self.is_moved = vec![true; subtrees];
        self.moved = (0..=u16::MAX).take(subtrees).collect();
    }

    fn take_moved(&mut self) -> impl Iterator<Item = (usize, SubtreeTotals)> {
        let Self { subtrees, moved, is_moved, .. } = self;
        moved.drain(..).map(|place| {
            let at = usize::from(place);
            is_moved[at] = false;
            (at, subtrees[at])
        })
    }

    pub(super) fn shown(&mut self, place: u16, time: Micros) {
        if self.subtrees[usize::from(place)].newest < time {
            self.at(place).newest = time;
        }
    }
}

fn length(stat: &Stat) -> u32 {
    u32::try_from(stat.data_length).unwrap_or(0)
}

impl Tree {
    /// Counts beneath these prefixes from now on: all of them have moved then. Goes through the tree once.
    pub fn count_subtrees(&mut self, subtrees: Arc<Subtrees>) {
        let prefixes = subtrees.prefixes().enumerate();
        let mut listed: HashMap<Id, u16> =
            prefixes.filter_map(|(place, prefix)| Some((self.nodes.find(prefix)?, place as u16))).collect();
        let of_scope = subtrees.place(&self.nodes.path(ROOT)) as u16;
        listed.insert(ROOT, of_scope);
        self.nodes.list_subtrees(subtrees);
        let mut below = vec![(ROOT, of_scope)];
        while let Some((id, inherited)) = below.pop() {
            let subtree = listed.get(&id).copied().unwrap_or(inherited);
            below.extend(self.nodes.get(id).children.iter().map(|child| (*child, subtree)));
            self.nodes.count_in(id, subtree);
            self.times_shown(id);
        }
    }

    /// The prefixes that are counted.
    pub fn subtrees(&self) -> &Arc<Subtrees> {
        self.nodes.subtrees()
    }

    /// The places (see [`Subtrees::labels`]) whose totals moved since this was last called, each once.
    pub fn moved_subtrees(&mut self) -> impl Iterator<Item = (usize, SubtreeTotals)> {
        self.nodes.totals.take_moved()
    }

    /// The number of sessions that hold an ephemeral.
    pub fn ephemeral_sessions(&self) -> usize {
        self.nodes.totals.owners.len()
    }

    /// The sessions that hold ephemerals, in no order.
    pub fn ephemeral_owners(&self) -> impl Iterator<Item = i64> {
        self.nodes.totals.owners.keys().copied()
    }

    /// The length of the longest value.
    pub fn largest_data_bytes(&self) -> u64 {
        u64::from(self.nodes.totals.data_lengths.greatest())
    }

    /// The length of the longest answer to a getChildren, as jute writes it; 0 for an empty tree.
    pub fn largest_children_bytes(&self) -> u64 {
        let names = u64::from(self.nodes.totals.children_bytes.greatest());
        if self.is_empty() { 0 } else { names + u64::from(JUTE_LENGTH_BYTES) }
    }

    /// Notes the times of a node's Stat: of `/zookeeper/config` every server tells its own, which say nothing.
    pub(super) fn times_shown(&mut self, id: Id) {
        if !self.is_config(id) {
            let node = self.nodes.get(id);
            let (subtree, newest) = (node.subtree, node.stat.ctime.max(node.stat.mtime));
            self.nodes.totals.shown(subtree, newest);
        }
    }
}
