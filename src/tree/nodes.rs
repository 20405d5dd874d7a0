//! The znodes in memory: an arena of nodes that know their parent and their children, sorted by name.
//!
//! A node costs its fixed part (144 bytes), its name's allocation and four bytes in its parent's list.
//! Values are never held. A node that does not [`exists`](Node::exists) is only a step on the way to something heard
//! of (an event below an ancestor not yet read); it is no znode and never leaves this module's callers.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use super::totals::Totals;
use crate::zk::{NodeType, Stat, Subtrees, ZkPath, Zxid};

pub(super) type Id = u32;

/// The root of the scope: always there, though perhaps not known to exist.
pub(super) const ROOT: Id = 0;

const PAGE_NODES: usize = 1024;

/// Larger directories are looked up by hash: a search that misses the cache at every step is slow, and costs nothing
/// to avoid where there are few such directories.
const SEARCHED_CHILDREN_MAX: usize = 32;

/// What is known of a node, as bits.
pub(super) mod bit {
    /// The znode exists, as far as the stream tells.
    pub(in crate::tree) const EXISTS: u16 = 1;
    pub(in crate::tree) const VERSION: u16 = 1 << 1;
    pub(in crate::tree) const CZXID: u16 = 1 << 2;
    pub(in crate::tree) const MZXID: u16 = 1 << 3;
    pub(in crate::tree) const PZXID: u16 = 1 << 4;
    pub(in crate::tree) const CVERSION: u16 = 1 << 5;
    /// The current value was recorded, by a row or by an `Effect::Value`.
    pub(in crate::tree) const VALUE: u16 = 1 << 6;
    pub(in crate::tree) const UNREADABLE: u16 = 1 << 7;
    pub(in crate::tree) const ACL_ASKED: u16 = 1 << 8;
    pub(in crate::tree) const REREAD_ASKED: u16 = 1 << 9;
    /// A step of whose children events told: it stays until the scan has met it, or not.
    pub(in crate::tree) const HEARD_OF: u16 = 1 << 10;
    /// Its mzxid is an event's: no Stat has shown it.
    pub(in crate::tree) const TOLD: u16 = 1 << 11;
    /// Everything that an answer's Stat tells.
    pub(in crate::tree) const STAT: u16 = VERSION | CZXID | MZXID | PZXID | CVERSION;
}

/// The events of a node's current life that wait for an answer: places in the line of rows.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub created: Option<u64>,
    pub sets: Vec<u64>,
}

#[derive(Debug)]
pub(super) struct Node {
    pub name: Box<str>,
    pub children: Vec<Id>,
    pub stat: Stat,
    pub pending: Option<Box<Pending>>,
    pub parent: Id,
    /// A number of the interned ACLs; 0 where unknown.
    pub acl: u32,
    /// The epoch of the stream in which its existence was last confirmed.
    pub epoch: u32,
    /// Of the names of its children that exist, as jute writes them.
    pub children_bytes: u32,
    /// Its place among the listed prefixes.
    pub subtree: u16,
    pub bits: u16,
    pub node_type: Option<NodeType>,
}

/// As the module says: each more is a megabyte for every 131,072 znodes.
const _: () = assert!(size_of::<Node>() == 144);

impl Node {
    fn new(name: &str, parent: Id, subtree: u16) -> Self {
        Self {
            name: name.into(),
            children: Vec::new(),
            stat: Stat::default(),
            pending: None,
            parent,
            acl: 0,
            epoch: 0,
            children_bytes: 0,
            subtree,
            bits: 0,
            node_type: None,
        }
    }

    pub(super) fn has(&self, bits: u16) -> bool {
        self.bits & bits == bits
    }

    pub(super) fn set(&mut self, bits: u16) {
        self.bits |= bits;
    }

    pub(super) fn clear(&mut self, bits: u16) {
        self.bits &= !bits;
    }

    pub(super) fn exists(&self) -> bool {
        self.has(bit::EXISTS)
    }

    /// The greatest zxid of the Stat that was seen last, as far as it is of the node itself.
    pub(super) fn shown_zxid(&self) -> Zxid {
        if self.has(bit::MZXID) && !self.has(bit::TOLD) {
            self.stat.czxid.max(self.stat.mzxid)
        } else {
            self.stat.czxid
        }
    }

    pub(super) fn czxid(&self) -> Option<Zxid> {
        self.has(bit::CZXID).then_some(self.stat.czxid)
    }
}

#[derive(Debug)]
pub(super) struct Nodes {
    scope: ZkPath,
    pages: Vec<Vec<Node>>,
    free: Vec<Id>,
    /// The children of larger directories, by the hash of parent and name.
    index: HashMap<u64, Id>,
    hasher: RandomState,
    len: usize,
    ephemerals: usize,
    data_bytes: u64,
    subtrees: Arc<Subtrees>,
    pub(super) totals: Totals,
}

impl Nodes {
    pub(super) fn new(scope: ZkPath) -> Self {
        let mut nodes = Self {
            scope,
            pages: Vec::new(),
            free: Vec::new(),
            index: HashMap::new(),
            hasher: RandomState::new(),
            len: 0,
            ephemerals: 0,
            data_bytes: 0,
            subtrees: Arc::default(),
            totals: Totals::default(),
        };
        nodes.totals.list_subtrees(1);
        nodes.allocate(Node::new("", ROOT, 0));
        nodes
    }

    /// The number of znodes that exist.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn ephemerals(&self) -> usize {
        self.ephemerals
    }

    pub(super) fn data_bytes(&self) -> u64 {
        self.data_bytes
    }

    pub(super) fn subtrees(&self) -> &Arc<Subtrees> {
        &self.subtrees
    }

    // Ids come only from this arena and are dropped with their node, so the index is always within.
    pub(super) fn get(&self, id: Id) -> &Node {
        &self.pages[id as usize / PAGE_NODES][id as usize % PAGE_NODES]
    }

    pub(super) fn get_mut(&mut self, id: Id) -> &mut Node {
        &mut self.pages[id as usize / PAGE_NODES][id as usize % PAGE_NODES]
    }

    /// Whether the path lies within the scope.
    pub(super) fn holds(&self, path: &str) -> bool {
        self.relative(path).is_some()
    }

    /// The node of a path, also where it is only a step to another.
    pub(super) fn find(&self, path: &str) -> Option<Id> {
        names(self.relative(path)?).try_fold(ROOT, |at, name| self.child(at, name))
    }

    /// The node of a path, made with the steps that lead to it where missing; `None` outside the scope.
    pub(super) fn find_or_make(&mut self, path: &str) -> Option<Id> {
        let mut end = path.len() - self.relative(path)?.len();
        let mut at = ROOT;
        for name in path[end..].split('/') {
            end += name.len();
            if !name.is_empty() {
                at = match self.indexed(at, name) {
                    Some(id) => id,
                    None => match self.position(at, name) {
                        Ok(place) => self.get(at).children[place],
                        Err(place) => {
                            let listed = self.subtrees.listed(&path[..end]);
                            self.add_child(at, place, name, listed)
                        }
                    },
                };
            }
            end += 1;
        }
        Some(at)
    }

    /// The parent within the scope.
    pub(super) fn parent(&self, id: Id) -> Option<Id> {
        (id != ROOT).then(|| self.get(id).parent)
    }

    pub(super) fn path(&self, id: Id) -> ZkPath {
        if id == ROOT {
            return self.scope.clone();
        }
        let mut steps = Vec::new();
        let mut at = id;
        while at != ROOT {
            steps.push(&*self.get(at).name);
            at = self.get(at).parent;
        }
        let scope = if &*self.scope == "/" { "" } else { &*self.scope };
        let mut path = String::with_capacity(scope.len() + steps.iter().map(|name| name.len() + 1).sum::<usize>());
        path.push_str(scope);
        for name in steps.iter().rev() {
            path.push('/');
            path.push_str(name);
        }
        path.into()
    }

    /// Marks a node as a znode that exists, in a new life of which nothing is known yet.
    pub(super) fn begin(&mut self, id: Id, epoch: u32) {
        self.end(id);
        self.len += 1;
        let node = self.get_mut(id);
        node.set(bit::EXISTS);
        node.epoch = epoch;
        let subtree = node.subtree;
        self.totals.begins(subtree);
        self.list(id, true);
    }

    /// Ends a node's life: what was known of it is forgotten, its place, children and pending events stay.
    pub(super) fn end(&mut self, id: Id) {
        if self.get(id).exists() {
            self.len -= 1;
            self.totals.ends(self.get(id).subtree);
            self.list(id, false);
        }
        self.set_stat(id, Stat::default());
        let node = self.get_mut(id);
        node.acl = 0;
        // Not of the life but of what the operator was told about the path.
        node.bits &= bit::UNREADABLE;
        node.node_type = None;
    }

    /// Replaces a node's Stat and keeps the totals.
    pub(super) fn set_stat(&mut self, id: Id, stat: Stat) {
        let node = self.get_mut(id);
        let old = std::mem::replace(&mut node.stat, stat);
        let subtree = node.subtree;
        self.totals.stat(subtree, &old, &stat);
        self.ephemerals =
            self.ephemerals + usize::from(stat.ephemeral_owner != 0) - usize::from(old.ephemeral_owner != 0);
        self.data_bytes = self.data_bytes + stat.data_length.max(0) as u64 - old.data_length.max(0) as u64;
    }

    /// A znode is, or is not any more, in the list of its parent's children.
    fn list(&mut self, id: Id, is_listed: bool) {
        let Some(parent) = self.parent(id) else { return };
        let (bytes, name_bytes) = (self.get(parent).children_bytes, self.get(id).name.len());
        self.get_mut(parent).children_bytes = self.totals.listed(bytes, name_bytes, is_listed);
    }

    /// Counts beneath these prefixes from now on; every node has to be [counted in](Self::count_in) then.
    pub(super) fn list_subtrees(&mut self, subtrees: Arc<Subtrees>) {
        self.totals.list_subtrees(subtrees.other() + 1);
        self.subtrees = subtrees;
    }

    /// Gives a node its place among the prefixes.
    pub(super) fn count_in(&mut self, id: Id, subtree: u16) {
        let node = self.get_mut(id);
        node.subtree = subtree;
        let (exists, stat) = (node.exists(), node.stat);
        self.totals.add(subtree, exists, &stat);
    }

    /// Removes a node that is neither a znode nor a step to one, and then its parents as far as the same holds for them.
    /// `forget` is called with each: its id will be given to others.
    pub(super) fn prune(&mut self, mut id: Id, mut forget: impl FnMut(Id)) {
        while id != ROOT {
            let node = self.get(id);
            let kept = node.exists() || node.pending.is_some() || node.bits & (bit::UNREADABLE | bit::HEARD_OF) != 0;
            if kept || !node.children.is_empty() {
                return;
            }
            let parent = node.parent;
            if let Ok(place) = self.position(parent, &self.get(id).name) {
                self.get_mut(parent).children.remove(place);
            }
            if !self.index.is_empty() {
                let hash = self.hasher.hash_one((parent, &*self.get(id).name));
                if self.index.get(&hash) == Some(&id) {
                    self.index.remove(&hash);
                }
            }
            *self.get_mut(id) = Node::new("", ROOT, 0);
            self.free.push(id);
            forget(id);
            id = parent;
        }
    }

    /// Every node that is in use, in no order.
    pub(super) fn ids(&self) -> impl Iterator<Item = Id> {
        (0..self.pages.iter().map(Vec::len).sum::<usize>() as Id)
            .filter(|id| *id == ROOT || !self.get(*id).name.is_empty())
    }

    fn add_child(&mut self, parent: Id, place: usize, name: &str, listed: Option<usize>) -> Id {
        let subtree = listed.map_or(self.get(parent).subtree, |listed| listed as u16);
        let id = self.allocate(Node::new(name, parent, subtree));
        let children = &mut self.get_mut(parent).children;
        children.insert(place, id);
        if children.len() > SEARCHED_CHILDREN_MAX + 1 {
            self.index.insert(self.hasher.hash_one((parent, name)), id);
        } else if children.len() == SEARCHED_CHILDREN_MAX + 1 {
            for child in children.clone() {
                let hash = self.hasher.hash_one((parent, &*self.get(child).name));
                self.index.insert(hash, child);
            }
        }
        id
    }

    /// A child of a larger directory. What it does not find may still be there: hashes meet.
    fn indexed(&self, parent: Id, name: &str) -> Option<Id> {
        if self.get(parent).children.len() <= SEARCHED_CHILDREN_MAX {
            return None;
        }
        let id = *self.index.get(&self.hasher.hash_one((parent, name)))?;
        let node = self.get(id);
        (node.parent == parent && *node.name == *name).then_some(id)
    }

    fn child(&self, parent: Id, name: &str) -> Option<Id> {
        if let Some(id) = self.indexed(parent, name) {
            return Some(id);
        }
        self.position(parent, name).ok().map(|place| self.get(parent).children[place])
    }

    fn position(&self, parent: Id, name: &str) -> Result<usize, usize> {
        let children = &self.get(parent).children;
        // Sequential names come last: one comparison instead of a search.
        match children.last() {
            Some(last) if *self.get(*last).name < *name => Err(children.len()),
            _ => children.binary_search_by(|id| (*self.get(*id).name).cmp(name)),
        }
    }

    fn allocate(&mut self, node: Node) -> Id {
        if let Some(id) = self.free.pop() {
            *self.get_mut(id) = node;
            return id;
        }
        if self.pages.last().is_none_or(|page| page.len() == PAGE_NODES) {
            self.pages.push(Vec::with_capacity(PAGE_NODES));
        }
        let page = self.pages.len() - 1;
        self.pages[page].push(node);
        (page * PAGE_NODES + self.pages[page].len() - 1) as Id
    }

    /// The path below the scope, without a leading slash; empty for the scope itself.
    fn relative<'p>(&self, path: &'p str) -> Option<&'p str> {
        let below = if &*self.scope == "/" { path } else { path.strip_prefix(&*self.scope)? };
        match below {
            "" => Some(""),
            _ => below.strip_prefix('/'),
        }
    }
}

fn names(relative: &str) -> impl Iterator<Item = &str> {
    relative.split('/').filter(|name| !name.is_empty())
}
