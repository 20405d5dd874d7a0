//! Derives changes from observations: pure, synchronous, and the one place that knows what ZooKeeper's Stat proves.
//!
//! [`Tree`] holds the metadata of every znode of the scope (never a value), takes [`Observation`]s in the order of the
//! stream and emits [`Effect`]s. What holds:
//!
//! - **An event is a row.** Each becomes exactly one [`Change`], in the order of the events. The one exception is an
//!   event of which its zxid, or its own read's version, proves that it is on record already.
//! - **Structure changes at the event, the Stat at its read.** Until then the event is *pending*; the row is settled by
//!   any answer about its path, at the latest by its own, or when the connection ends.
//! - **Versions are counted.** Where an answer shows more sets than events came, the surplus is `missed`: it happened
//!   while nobody was listening. Where it shows fewer, the rest is still to come.
//! - **A disconnect may lower evidence or open a gap, never invent a change.** After it every znode is *unverified*
//!   until a Stat of the new connection confirms its life; meanwhile nothing is concluded from what was known before.
//! - **A position never lies after its change.** A row without a zxid stands after what is known to precede it.
//!
//! No clocks, no I/O, no await, no Arrow.

mod acls;
mod event;
mod gap;
pub mod ledger;
mod lengths;
mod line;
#[cfg(test)]
pub(crate) mod model;
mod nodes;
mod order;
mod scan;
mod settle;
#[cfg(test)]
mod tests;
mod totals;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use self::acls::Acls;
use self::gap::Gap;
use self::line::Line;
use self::nodes::{Id, Nodes, bit};
use self::order::Walk;
pub use self::totals::SubtreeTotals;
use crate::zk::{
    Change, ChangeKind, Evidence, Micros, NodeType, Observation, ScanReason, Source, Stat, TimeSource, ZkPath, Zxid,
};

/// What follows from an observation, in the order of recording.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// A row to record.
    Change(Change),
    /// The source should read the ACL of this path: its aversion moved.
    ReadAcl(ZkPath),
    /// The source should read this path (getData, with no event's id): the stream contradicted itself, or an ACL says
    /// that it may have become readable, or unreadable.
    Reread(ZkPath),
    /// An answer's value that no row carries: every znode of a bootstrap, later those whose last value was never
    /// recorded. It stands in order with the rows.
    Value { path: ZkPath, stat: Stat, data: Bytes },
    /// The coverage of this path ends: it cannot be read.
    Unreadable(ZkPath),
    /// The coverage of this path resumes: it can be read again, or is gone.
    Readable(ZkPath),
    /// Every row of a change up to this zxid has been emitted, but of ACLs.
    Synced(Zxid),
    /// All rows of a scan have been emitted. `missed_at_least` changes were proved lost, without rows of their own;
    /// `needs_snapshot`: the rows alone no longer lead to the tree.
    ScanFinished { reason: ScanReason, missed_at_least: i64, needs_snapshot: bool, greatest_zxid: Zxid },
}

/// A znode as the tree knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Znode {
    pub path: ZkPath,
    /// Fields that [`Znode::known`] does not confirm are lower bounds, or zero. `aversion` is the recorded one.
    pub stat: Stat,
    pub known: Known,
    /// JSON; `None` where it was not read in this life, or a Stat has shown that it moved since.
    pub acl: Option<Arc<str>>,
    pub node_type: Option<NodeType>,
    /// Whether the znode's current value was recorded.
    pub value_recorded: bool,
}

/// Which fields of a [`Znode`]'s Stat are known. A time is known with its zxid, where a Stat showed it; else it is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    pub czxid: bool,
    /// With it mtime and data_length.
    pub mzxid: bool,
    pub pzxid: bool,
    pub version: bool,
    pub cversion: bool,
}

impl Known {
    /// Everything: what an answer's Stat tells.
    pub const ALL: Self = Self { czxid: true, mzxid: true, pzxid: true, version: true, cversion: true };
}

/// The znodes of one ensemble's scope, and what is pending of them.
#[derive(Debug)]
pub struct Tree {
    incarnation: i32,
    nodes: Nodes,
    acls: Acls,
    line: Line,
    gap: Gap,
    /// The greatest zxid of any event or answer.
    high: Zxid,
    /// Parents, with the place of their last child event where that is a deletion that waits for their pzxid.
    deletions: HashMap<Id, u64>,
}

impl Tree {
    /// An empty tree. `scope` is the path that bounds it (`/` for the whole ensemble).
    pub fn new(scope: ZkPath, incarnation: i32) -> Self {
        Self {
            incarnation,
            nodes: Nodes::new(scope),
            acls: Acls::default(),
            line: Line::default(),
            gap: Gap::default(),
            high: Zxid::default(),
            deletions: HashMap::new(),
        }
    }

    /// Puts back a znode from the history, before anything is applied. Paths outside the scope are ignored.
    pub fn restore(&mut self, znode: Znode) {
        let Some(id) = self.nodes.find_or_make(&znode.path) else { return };
        self.nodes.begin(id, self.gap.epoch());
        self.nodes.set_stat(id, znode.stat);
        let acl = znode.acl.as_ref().map_or(0, |acl| self.acls.intern(acl));
        let node = self.nodes.get_mut(id);
        let known = znode.known;
        for (known, bit) in [
            (known.czxid, bit::CZXID),
            (known.mzxid, bit::MZXID),
            (known.pzxid, bit::PZXID),
            (known.version, bit::VERSION),
            (known.cversion, bit::CVERSION),
            (znode.value_recorded, bit::VALUE),
            (!(znode.value_recorded && znode.acl.is_some()), bit::TOLD),
        ] {
            if known {
                node.set(bit);
            }
        }
        node.acl = acl;
        node.node_type = znode.node_type;
        self.times_shown(id);
        self.high = self.high.max(znode.stat.newest_zxid());
    }

    /// A row of a znode that was put back stands at this position, after the zxid of [`Tree::restored`]: the znode's end, if
    /// it has come unseen, came later still.
    pub fn reach(&mut self, path: &str, position: Zxid) {
        if let Some(id) = self.nodes.find(path) {
            self.gap.reach(id, position);
        }
        self.high = self.high.max(position);
    }

    /// Ends the restoring; up to `complete_zxid` nothing was missed. What happened since then is a gap.
    pub fn restored(&mut self, complete_zxid: Zxid) {
        self.high = self.high.max(complete_zxid);
        self.gap.opens_after_restore(complete_zxid);
    }

    /// Takes the next observation and appends what follows from it.
    ///
    /// Never panics, whatever the stream holds; paths outside the scope are ignored.
    pub fn apply(&mut self, observation: Observation, out: &mut Vec<Effect>) {
        let from = out.len();
        match observation {
            Observation::Event(event) => self.event(event, out),
            Observation::Read { path, event, heard_at, outcome } => self.read(&path, event, heard_at, outcome, out),
            Observation::Exists { path, event, outcome, .. } => self.exists(&path, event, outcome),
            Observation::Children { path, heard_at, outcome } => self.listing(&path, heard_at, outcome, out),
            Observation::Acl { path, heard_at, outcome } => self.acl(&path, heard_at, outcome, out),
            Observation::ScanStarted { reason, .. } => self.scan_started(reason),
            Observation::ScanFinished { .. } => self.scan_finished(out),
            Observation::Synced { zxid, .. } => self.line.push_effect(Effect::Synced(zxid)),
            Observation::Disconnected { .. } => self.disconnected(),
        }
        self.line.drain(out);
        for effect in out.iter_mut().skip(from) {
            // Rows that went before it may have waited for an answer that shows how far the gap reached.
            if let Effect::ScanFinished { greatest_zxid, .. } = effect {
                *greatest_zxid = self.high;
            }
        }
    }

    /// The number of znodes.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of znodes known to be ephemeral.
    pub fn ephemerals(&self) -> usize {
        self.nodes.ephemerals()
    }

    /// The bytes of all known values.
    pub fn data_bytes(&self) -> u64 {
        self.nodes.data_bytes()
    }

    /// The greatest zxid that any event or answer proved to be committed.
    pub fn greatest_zxid(&self) -> Zxid {
        self.high
    }

    /// The number of rows, and what stands in order with them, that wait for answers: 0 where everything that the tree
    /// holds has been emitted.
    pub fn pending(&self) -> usize {
        self.line.len()
    }

    pub fn get(&self, path: &str) -> Option<Znode> {
        let id = self.nodes.find(path)?;
        self.nodes.get(id).exists().then(|| self.znode(id))
    }

    /// All znodes, in the order of their paths' bytes. Holds only the way to the current one.
    pub fn iter(&self) -> impl Iterator<Item = Znode> {
        Walk::new(&self.nodes).map(|id| self.znode(id))
    }

    /// The `n` znodes with the smallest czxid above 0: who they are tells one ensemble from another.
    pub fn oldest(&self, n: usize) -> Vec<(ZkPath, Stat)> {
        let mut oldest = std::collections::BinaryHeap::new();
        for id in self.nodes.ids() {
            let node = self.nodes.get(id);
            if node.has(bit::EXISTS | bit::CZXID) && node.stat.czxid > Zxid(0) {
                oldest.push((node.stat.czxid, id));
                if oldest.len() > n {
                    oldest.pop();
                }
            }
        }
        let sorted = oldest.into_sorted_vec();
        sorted.into_iter().map(|(_, id)| (self.nodes.path(id), self.nodes.get(id).stat)).collect()
    }

    /// The names of a znode's children, sorted.
    pub fn children(&self, path: &str) -> impl Iterator<Item = &str> {
        let children = self.nodes.find(path).map_or(&[][..], |id| &self.nodes.get(id).children);
        children.iter().map(|id| self.nodes.get(*id)).filter(|node| node.exists()).map(|node| &*node.name)
    }

    fn znode(&self, id: Id) -> Znode {
        let node = self.nodes.get(id);
        Znode {
            path: self.nodes.path(id),
            stat: node.stat,
            known: Known {
                czxid: node.has(bit::CZXID),
                mzxid: node.has(bit::MZXID),
                pzxid: node.has(bit::PZXID),
                version: node.has(bit::VERSION),
                cversion: node.has(bit::CVERSION),
            },
            acl: if node.has(bit::ACL_ASKED) { None } else { self.acls.get(node.acl) },
            node_type: node.node_type,
            value_recorded: node.has(bit::VALUE),
        }
    }

    /// Whether a Stat or a creation of this connection confirmed the node's life.
    fn verified(&self, id: Id) -> bool {
        let node = self.nodes.get(id);
        node.exists() && node.epoch == self.gap.epoch()
    }

    /// A row of which nothing but the fact is known.
    fn row(&self, kind: ChangeKind, path: ZkPath, observed_at: Micros) -> Change {
        Change {
            incarnation: self.incarnation,
            time: observed_at,
            time_source: TimeSource::Agent,
            observed_at,
            zxid: None,
            position: Zxid::default(),
            ordinal: 0,
            kind,
            path,
            czxid: None,
            version: None,
            aversion: None,
            node_type: None,
            ephemeral_owner: 0,
            data: None,
            data_length: None,
            data_hash: None,
            acl: None,
            evidence: Evidence::Coalesced,
            missed: 0,
            source: Source::Watch,
            cause: None,
            session_id: None,
            cxid: None,
        }
    }
}
