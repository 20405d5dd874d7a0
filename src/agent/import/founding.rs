//! From a server's fuzzy snapshot to the whole tree at one zxid.
//!
//! A server goes on while it writes a snapshot: some of what comes after the snapshot's zxid is in it, and some is not. The log
//! says all of it, so the tree after any transaction behind that time is the snapshot with the log replayed over it.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::LogImportError;
use super::values::{Sorted, Values};
use crate::history::gaps::is_within;
use crate::history::import::ZnodeRow;
use crate::history::snapshots::SnapshotRow;
use crate::lens::ValuePolicy;
use crate::source::txnlog::{Inputs, LogItem, ReadOptions, SnapshotFile};
use crate::tree::ledger::{Entry, Ledger};
use crate::zk::{Action, Micros, Operation, SessionId, Transaction, ZkPath, Zxid};

/// Values of the snapshot that are held in memory.
const VALUES_BYTES_MAX: usize = 64 << 20;
/// Values of the log that are held until the tree is founded: beyond that it is founded where it stands.
const OVERLAY_BYTES_MAX: usize = 128 << 20;

/// Transactions behind the snapshot's zxid in which it is looked for how far the snapshot went, where it does not tell.
const FUZZY_TRANSACTIONS_MAX: usize = 200_000;

/// A tree under way.
pub(super) struct Founding {
    values: Values,
    /// What the log has set since, by path.
    overlay: HashMap<ZkPath, Bytes>,
    overlay_bytes: usize,
    /// Nothing behind this transaction is in the snapshot.
    until: Zxid,
}

/// A snapshot that was read.
pub(super) struct Begun {
    pub(super) founding: Founding,
    /// The sessions that were open, with their timeouts in milliseconds.
    pub(super) sessions: Vec<(SessionId, i32)>,
    /// The last moment that any znode tells of, by the leaders' clocks.
    pub(super) time: Micros,
}

impl Founding {
    /// Reads a whole snapshot into the ledger.
    pub(super) fn begin(
        snapshot: &SnapshotFile,
        inputs: &Inputs,
        options: ReadOptions,
        ledger: &mut Ledger,
    ) -> Result<Begun, LogImportError> {
        ledger.lose();
        let mut file = snapshot.open()?;
        let sessions = file.sessions().to_vec();
        let mut values = Values::new(VALUES_BYTES_MAX);
        let mut until = snapshot.zxid;
        let mut time = Micros::default();
        for znode in &mut file {
            let znode = znode?;
            until = until.max(znode.czxid).max(znode.mzxid).max(znode.pzxid);
            time = time.max(znode.ctime).max(znode.mtime);
            if let Some(data) = znode.data.as_ref().filter(|data| !data.is_empty()) {
                values.push(znode.path.clone(), data.clone()).map_err(LogImportError::Spill)?;
            }
            ledger.restore(znode);
        }
        ledger.restored();
        until = match file.last_zxid() {
            Some(last) => until.max(last),
            None => until.max(last_contradiction(snapshot.zxid, inputs, options, ledger)?),
        };
        let founding = Self { values, overlay: HashMap::new(), overlay_bytes: 0, until };
        Ok(Begun { founding, sessions, time })
    }

    /// Whether the tree is whole before this transaction.
    pub(super) fn is_whole_before(&self, next: &Transaction) -> bool {
        next.zxid > self.until || self.overlay_bytes >= OVERLAY_BYTES_MAX
    }

    /// Whether nothing behind this transaction is in the snapshot.
    pub(super) fn ends_by(&self, zxid: Zxid) -> bool {
        zxid >= self.until
    }

    /// Takes a transaction that lies in the time of the snapshot.
    pub(super) fn take(&mut self, transaction: &Transaction) {
        let Action::Operations(operations) = &transaction.action else { return };
        for operation in operations {
            let (path, data) = match operation {
                Operation::Created { path, data, .. } | Operation::DataSet { path, data, .. } => (path, data),
                Operation::Deleted { .. } | Operation::AclSet { .. } => continue,
            };
            let data = data.clone().unwrap_or_default();
            self.overlay_bytes += path.len() + data.len() + size_of::<(ZkPath, Bytes)>();
            self.overlay.insert(path.clone(), data);
        }
    }

    /// The tree within a scope as the ledger has it now.
    pub(super) fn tree(
        self,
        ledger: &Ledger,
        policy: &Arc<ValuePolicy>,
        scope: &str,
    ) -> Result<TreeRows, LogImportError> {
        let mut entries: Vec<Entry> = ledger.iter().filter(|entry| is_within(&entry.path, scope)).collect();
        entries.sort_unstable_by(|a, b| a.path.as_bytes().cmp(b.path.as_bytes()));
        Ok(TreeRows {
            entries: entries.into_iter(),
            values: self.values.sorted().map_err(LogImportError::Spill)?,
            overlay: self.overlay,
            policy: policy.clone(),
        })
    }
}

/// The rows of a whole tree, by path.
pub(in crate::agent) struct TreeRows {
    entries: std::vec::IntoIter<Entry>,
    values: Sorted,
    overlay: HashMap<ZkPath, Bytes>,
    policy: Arc<ValuePolicy>,
}

impl TreeRows {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.len() == 0
    }
}

impl Iterator for TreeRows {
    type Item = std::io::Result<ZnodeRow>;

    fn next(&mut self) -> Option<Self::Item> {
        let Entry { path, stat, node_type, acl } = self.entries.next()?;
        let value = match self.overlay.remove(&path) {
            Some(value) => Ok(Some(value)),
            None => self.values.value(&path),
        };
        Some(value.map(|value| {
            // Null and empty are one to clients.
            let recorded = self.policy.apply(&path, value.unwrap_or_default());
            let znode = SnapshotRow {
                path,
                czxid: Some(stat.czxid),
                mzxid: Some(stat.mzxid),
                pzxid: Some(stat.pzxid),
                ctime: Some(stat.ctime),
                mtime: Some(stat.mtime),
                version: Some(stat.version),
                cversion: Some(stat.cversion),
                aversion: Some(stat.aversion),
                ephemeral_owner: stat.ephemeral_owner,
                node_type: Some(node_type),
                num_children: stat.num_children,
                acl,
                data_length: recorded.data_length,
            };
            ZnodeRow { znode, data: recorded.data, data_hash: recorded.data_hash }
        }))
    }
}

/// The last transaction that the snapshot contradicts, by what exists: a deletion leaves no zxid in a snapshot that would
/// tell how far it went, but the log then changes or deletes what is not there any more.
fn last_contradiction(
    zxid: Zxid,
    inputs: &Inputs,
    options: ReadOptions,
    ledger: &Ledger,
) -> Result<Zxid, LogImportError> {
    let mut last = zxid;
    let mut seen = Seen { ledger, exists: HashMap::new() };
    for item in inputs.transactions(Zxid(zxid.0 + 1), options)?.take(FUZZY_TRANSACTIONS_MAX) {
        let LogItem::Transaction { transaction: Transaction { zxid, action, .. }, .. } = item? else { continue };
        let contradicts = match action {
            Action::Operations(operations) => operations.into_iter().fold(false, |any, operation| {
                let contradicts = match operation {
                    Operation::Created { path, .. } => seen.becomes(path, true),
                    Operation::Deleted { path, .. } => seen.becomes(path, false),
                    Operation::DataSet { path, .. } | Operation::AclSet { path, .. } => !seen.exists(&path),
                };
                any || contradicts
            }),
            Action::SessionClosed { ephemerals } => {
                // Each of them is taken in, also behind the first that contradicts.
                let gone: Vec<bool> =
                    ephemerals.unwrap_or_default().into_iter().map(|path| seen.becomes(path, false)).collect();
                gone.contains(&true)
            }
            Action::SessionOpened { .. } | Action::Nothing => false,
        };
        if contradicts {
            last = zxid;
        }
    }
    Ok(last)
}

/// What exists: the snapshot, and what the log has made and deleted since.
struct Seen<'a> {
    ledger: &'a Ledger,
    exists: HashMap<ZkPath, bool>,
}

impl Seen<'_> {
    fn exists(&self, path: &str) -> bool {
        self.exists.get(path).copied().unwrap_or_else(|| self.ledger.czxid(path).is_some())
    }

    /// Takes a creation or deletion in; whether it cannot have happened to what exists.
    fn becomes(&mut self, path: ZkPath, exists: bool) -> bool {
        let contradicts = self.exists(&path) == exists;
        self.exists.insert(path, exists);
        contradicts
    }
}
