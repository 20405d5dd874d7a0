//! Derives changes from transactions: what a log proves needs no watching, no arithmetic and no doubt.
//!
//! [`Ledger`] holds the metadata of every znode (never a value), takes [`Transaction`]s in the order of their zxids and
//! emits a complete [`Change`] for each operation: who asked, in which life of the path, with which version and ACL. What holds:
//!
//! - **An operation is a row**, of evidence `exact`, at its zxid and its place in the transaction.
//! - **A snapshot of a server is fuzzy**: it may show effects of transactions after its own zxid. Applying those again
//!   changes no znode that shows them already, and their rows are emitted all the same.
//! - **What is not known is null.** The life (`czxid`), type and owner of a znode that the snapshot did not show any more, or
//!   that no snapshot showed, are not made up.
//!
//! No clocks, no I/O, no await, no Arrow.

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;

use crate::zk::{
    self, Action, Change, ChangeKind, DeleteCause, Evidence, Micros, NodeType, Operation, PersistedZnode, Source, Stat,
    TimeSource, Transaction, ZkPath, Zxid,
};

/// The znodes of a whole ensemble as its transactions made them.
#[derive(Debug)]
pub struct Ledger {
    incarnation: i32,
    source: Source,
    znodes: HashMap<ZkPath, Znode>,
    /// What each session holds, by path: servers before 3.7 do not log what a closed session held.
    ephemerals: HashMap<i64, BTreeSet<ZkPath>>,
}

#[derive(Clone, Debug)]
struct Znode {
    czxid: Zxid,
    mzxid: Zxid,
    pzxid: Zxid,
    ctime: Micros,
    mtime: Micros,
    version: i32,
    /// Children ever created: the raw cversion.
    creations: i32,
    aversion: i32,
    ephemeral_owner: i64,
    node_type: NodeType,
    data_length: i32,
    num_children: i32,
    acl: Option<Arc<str>>,
}

/// A znode of a [`Ledger`], as clients see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub path: ZkPath,
    pub stat: Stat,
    pub node_type: NodeType,
    /// JSON; `None` where the snapshot did not tell.
    pub acl: Option<Arc<str>>,
}

impl Ledger {
    /// An empty one; `source` is what its rows say.
    pub fn new(incarnation: i32, source: Source) -> Self {
        Self { incarnation, source, znodes: HashMap::new(), ephemerals: HashMap::new() }
    }

    /// Puts a znode of a server's snapshot in, before any transaction. Parents and children may come in any order.
    pub fn restore(&mut self, znode: PersistedZnode) {
        let held = Znode {
            czxid: znode.czxid,
            mzxid: znode.mzxid,
            pzxid: znode.pzxid,
            ctime: znode.ctime,
            mtime: znode.mtime,
            version: znode.version,
            creations: znode.creations,
            aversion: znode.aversion,
            ephemeral_owner: znode.ephemeral_owner,
            node_type: znode.node_type,
            data_length: length(znode.data.as_ref()),
            num_children: 0,
            acl: znode.acl,
        };
        if held.node_type == NodeType::Ephemeral {
            self.ephemerals.entry(held.ephemeral_owner).or_default().insert(znode.path.clone());
        }
        self.znodes.insert(znode.path, held);
    }

    /// Counts children; to be called once after the last [`Ledger::restore`].
    pub fn restored(&mut self) {
        let mut children: HashMap<ZkPath, i32> = HashMap::new();
        for path in self.znodes.keys() {
            if let Some((parent, _)) = zk::parent(path).and_then(|parent| self.znodes.get_key_value(parent)) {
                *children.entry(parent.clone()).or_default() += 1;
            }
        }
        for (path, znode) in &mut self.znodes {
            znode.num_children = children.get(path).copied().unwrap_or(0);
        }
    }

    /// Forgets every znode: transactions are missing, so nothing is known of any life.
    pub fn lose(&mut self) {
        self.znodes.clear();
        self.ephemerals.clear();
    }

    /// When a path's present life began; `None` where it does not exist.
    pub fn czxid(&self, path: &str) -> Option<Zxid> {
        self.znodes.get(path).map(|znode| znode.czxid)
    }

    pub fn len(&self) -> usize {
        self.znodes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.znodes.is_empty()
    }

    /// Every znode, in no order.
    pub fn iter(&self) -> impl Iterator<Item = Entry> + '_ {
        self.znodes.iter().map(|(path, znode)| Entry {
            path: path.clone(),
            stat: znode.stat(),
            node_type: znode.node_type,
            acl: znode.acl.clone(),
        })
    }

    /// Takes the next transaction; `out` gets a row an operation. `heard_at` is when its record was read.
    pub fn apply(&mut self, transaction: Transaction, heard_at: Micros, out: &mut Vec<Change>) {
        let Transaction { zxid, time, session_id, cxid, action } = transaction;
        let mut at = Place { zxid, time, session_id, cxid, heard_at, ordinal: 0 };
        match action {
            Action::SessionOpened { .. } | Action::Nothing => {}
            Action::SessionClosed { ephemerals } => {
                let mut held = self.ephemerals.remove(&session_id).unwrap_or_default();
                for path in ephemerals.unwrap_or_default() {
                    held.remove(&path);
                    self.delete(&mut at, path, DeleteCause::SessionClosed, out);
                }
                for path in held {
                    self.delete(&mut at, path, DeleteCause::SessionClosed, out);
                }
            }
            Action::Operations(operations) => {
                for operation in operations {
                    match operation {
                        Operation::Created { path, data, acl, node_type, parent_cversion } => {
                            let created = Created { data, acl, node_type, parent_cversion };
                            self.create(&mut at, path, created, out);
                        }
                        Operation::Deleted { path, expired } => {
                            let cause = if expired { DeleteCause::Expired } else { DeleteCause::Explicit };
                            self.delete(&mut at, path, cause, out);
                        }
                        Operation::DataSet { path, data, version } => self.set_data(&mut at, path, data, version, out),
                        Operation::AclSet { path, acl, aversion } => self.set_acl(&mut at, path, acl, aversion, out),
                    }
                }
            }
        }
    }

    fn create(&mut self, at: &mut Place, path: ZkPath, created: Created, out: &mut Vec<Change>) {
        let Created { data, acl, node_type, parent_cversion } = created;
        let ephemeral_owner = if node_type == NodeType::Ephemeral { at.session_id } else { 0 };
        let is_new = !self.znodes.contains_key(&path);
        // One of this transaction or of a later life is in the snapshot already.
        if self.znodes.get(&path).is_none_or(|held| held.czxid < at.zxid) {
            let znode = Znode {
                czxid: at.zxid,
                mzxid: at.zxid,
                pzxid: at.zxid,
                ctime: at.time,
                mtime: at.time,
                version: 0,
                creations: 0,
                aversion: 0,
                ephemeral_owner,
                node_type,
                data_length: length(data.as_ref()),
                num_children: 0,
                acl: Some(acl.clone()),
            };
            if node_type == NodeType::Ephemeral {
                self.ephemerals.entry(at.session_id).or_default().insert(path.clone());
            }
            self.znodes.insert(path.clone(), znode);
        }
        if let Some(parent) = zk::parent(&path).and_then(|parent| self.znodes.get_mut(parent)) {
            parent.num_children += i32::from(is_new);
            if parent_cversion < 0 {
                parent.creations = parent.creations.wrapping_add(i32::from(is_new));
            } else if parent_cversion.wrapping_sub(parent.creations) > 0 {
                parent.creations = parent_cversion;
            }
            parent.pzxid = parent.pzxid.max(at.zxid);
        }
        let mut row = self.row(at, ChangeKind::Created, path);
        row.czxid = Some(at.zxid);
        row.version = Some(0);
        row.aversion = Some(0);
        row.node_type = Some(node_type);
        row.ephemeral_owner = ephemeral_owner;
        row.acl = Some(acl);
        set_value(&mut row, data);
        out.push(row);
    }

    fn delete(&mut self, at: &mut Place, path: ZkPath, cause: DeleteCause, out: &mut Vec<Change>) {
        // A later life is none of this transaction's.
        let held = match self.znodes.get(&path) {
            Some(held) if held.czxid <= at.zxid => self.znodes.remove(&path),
            _ => None,
        };
        if let Some(held) = &held {
            if held.node_type == NodeType::Ephemeral
                && let Some(paths) = self.ephemerals.get_mut(&held.ephemeral_owner)
            {
                paths.remove(&path);
                if paths.is_empty() {
                    self.ephemerals.remove(&held.ephemeral_owner);
                }
            }
            if let Some(parent) = zk::parent(&path).and_then(|parent| self.znodes.get_mut(parent)) {
                parent.num_children -= 1;
            }
        }
        if let Some(parent) = zk::parent(&path).and_then(|parent| self.znodes.get_mut(parent)) {
            parent.pzxid = parent.pzxid.max(at.zxid);
        }
        let mut row = self.row(at, ChangeKind::Deleted, path);
        match held {
            Some(held) => held.tell(&mut row),
            None if cause == DeleteCause::SessionClosed => {
                row.node_type = Some(NodeType::Ephemeral);
                row.ephemeral_owner = at.session_id;
            }
            None => {}
        }
        row.cause = Some(cause);
        out.push(row);
    }

    fn set_data(&mut self, at: &mut Place, path: ZkPath, data: Option<Bytes>, version: i32, out: &mut Vec<Change>) {
        let mut row = self.row(at, ChangeKind::DataChanged, path.clone());
        if let Some(held) = self.znodes.get_mut(&path).filter(|held| held.czxid <= at.zxid) {
            held.tell(&mut row);
            if held.mzxid <= at.zxid {
                held.mzxid = at.zxid;
                held.mtime = at.time;
                held.version = version;
                held.data_length = length(data.as_ref());
            }
        }
        row.version = Some(version);
        set_value(&mut row, data);
        out.push(row);
    }

    fn set_acl(&mut self, at: &mut Place, path: ZkPath, acl: Arc<str>, aversion: i32, out: &mut Vec<Change>) {
        let mut row = self.row(at, ChangeKind::AclChanged, path.clone());
        if let Some(held) = self.znodes.get_mut(&path).filter(|held| held.czxid <= at.zxid) {
            held.tell(&mut row);
            if held.mzxid <= at.zxid {
                row.version = Some(held.version);
            }
            if aversion.wrapping_sub(held.aversion) >= 0 {
                held.aversion = aversion;
                held.acl = Some(acl.clone());
            }
        }
        row.aversion = Some(aversion);
        row.acl = Some(acl);
        out.push(row);
    }

    fn row(&self, at: &mut Place, kind: ChangeKind, path: ZkPath) -> Change {
        let ordinal = at.ordinal;
        at.ordinal = at.ordinal.saturating_add(1);
        Change {
            incarnation: self.incarnation,
            time: at.time,
            time_source: TimeSource::Server,
            observed_at: at.heard_at,
            zxid: Some(at.zxid),
            position: at.zxid,
            ordinal,
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
            evidence: Evidence::Exact,
            missed: 0,
            source: self.source,
            cause: None,
            session_id: Some(at.session_id),
            cxid: Some(at.cxid),
        }
    }
}

/// Where in the log the ledger stands.
struct Place {
    zxid: Zxid,
    time: Micros,
    session_id: i64,
    cxid: i32,
    heard_at: Micros,
    /// Of the transaction's next row.
    ordinal: i32,
}

struct Created {
    data: Option<Bytes>,
    acl: Arc<str>,
    node_type: NodeType,
    parent_cversion: i32,
}

impl Znode {
    /// What a row of this life has from it.
    fn tell(&self, row: &mut Change) {
        row.czxid = Some(self.czxid);
        row.node_type = Some(self.node_type);
        row.ephemeral_owner = self.ephemeral_owner;
        if row.kind == ChangeKind::DataChanged {
            row.aversion = Some(self.aversion);
        }
    }

    fn stat(&self) -> Stat {
        Stat {
            czxid: self.czxid,
            mzxid: self.mzxid,
            pzxid: self.pzxid,
            ctime: self.ctime,
            mtime: self.mtime,
            version: self.version,
            cversion: self.creations.wrapping_mul(2).wrapping_sub(self.num_children),
            aversion: self.aversion,
            ephemeral_owner: self.ephemeral_owner,
            data_length: self.data_length,
            num_children: self.num_children,
        }
    }
}

fn set_value(row: &mut Change, data: Option<Bytes>) {
    // Clients see null as empty.
    row.data_length = Some(length(data.as_ref()));
    row.data = Some(data.unwrap_or_default());
}

fn length(data: Option<&Bytes>) -> i32 {
    data.map_or(0, |data| i32::try_from(data.len()).unwrap_or(i32::MAX))
}
