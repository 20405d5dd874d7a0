//! Payloads of records into [`Transaction`]s.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::source::jute::JuteError;
use crate::source::jute::txn::{Acls, Creation, CreationKind, Digests, Entry, Txn};
use crate::zk::{self, Action, Micros, NodeType, Operation, Transaction, ZkPath, Zxid};

/// So many different ACLs are remembered; then all are forgotten.
const ACLS_MAX: usize = 10_000;
/// Longer ones are not remembered.
const ACL_BYTES_MAX: usize = 4_096;

/// Makes transactions of payloads. One a log: it learns whether that has digests.
#[derive(Debug, Default)]
pub struct Decoder {
    digests: Digests,
}

impl Decoder {
    /// # Errors
    /// The payload is no transaction of a type that is known.
    pub fn decode(&mut self, payload: &[u8], acls: &mut AclCache) -> Result<Transaction, JuteError> {
        let entry = Entry::read(payload, &mut self.digests)?;
        Ok(transaction(&entry, acls))
    }

    /// Whether two payloads are the same transaction. The digest behind it may be missing in one: each server decides for
    /// itself whether it keeps one.
    pub fn is_same(one: &[u8], other: &[u8]) -> bool {
        if one == other {
            return true;
        }
        let read = |payload| Entry::read(payload, &mut Digests::default()).map(|entry| (entry.header, entry.txn));
        matches!((read(one), read(other)), (Ok(one), Ok(other)) if one == other)
    }
}

/// The JSON of ACLs, by their bytes: most znodes of an ensemble share a few.
#[derive(Debug, Default)]
pub struct AclCache {
    known: HashMap<Box<[u8]>, Arc<str>>,
    last: Option<(Box<[u8]>, Arc<str>)>,
}

impl AclCache {
    /// The `acl` column; digest hashes are masked.
    pub fn json(&mut self, acls: &Acls<'_>) -> Arc<str> {
        let bytes = acls.as_bytes();
        if let Some((last, json)) = &self.last
            && **last == *bytes
        {
            return Arc::clone(json);
        }
        let json = match self.known.get(bytes) {
            Some(json) => Arc::clone(json),
            None => {
                let entries: Vec<_> =
                    acls.iter().map(|(perms, scheme, id)| zk::Acl::new(perms, &scheme, &id)).collect();
                let json: Arc<str> = zk::acls_to_json(&entries).into();
                if bytes.len() > ACL_BYTES_MAX {
                    return json;
                }
                if self.known.len() >= ACLS_MAX {
                    self.known.clear();
                }
                self.known.insert(bytes.into(), Arc::clone(&json));
                json
            }
        };
        self.last = Some((bytes.into(), Arc::clone(&json)));
        json
    }
}

/// What a server's log entry means.
pub fn transaction(entry: &Entry<'_>, acls: &mut AclCache) -> Transaction {
    let action = match &entry.txn {
        Txn::CreateSession { timeout_ms } => Action::SessionOpened { timeout_ms: *timeout_ms },
        Txn::CloseSession { ephemerals } => {
            Action::SessionClosed { ephemerals: ephemerals.map(|paths| paths.iter().map(ZkPath::from).collect()) }
        }
        txn if txn.is_failed_multi() => Action::Nothing,
        Txn::Multi(parts) => {
            let operations: Vec<_> = parts.iter().filter_map(|part| operation(part, acls)).collect();
            if operations.is_empty() { Action::Nothing } else { Action::Operations(operations) }
        }
        txn => match operation(txn, acls) {
            Some(operation) => Action::Operations(vec![operation]),
            None => Action::Nothing,
        },
    };
    Transaction {
        zxid: Zxid(entry.header.zxid),
        time: Micros::from_millis(entry.header.time_ms),
        session_id: entry.header.session_id,
        cxid: entry.header.cxid,
        action,
    }
}

/// `None` for what changes nothing.
fn operation(txn: &Txn<'_>, acls: &mut AclCache) -> Option<Operation> {
    match txn {
        Txn::Create(creation) => Some(created(creation, acls)),
        Txn::Delete { path, container } => Some(Operation::Deleted { path: (*path).into(), expired: *container }),
        Txn::SetData { path, data, version, .. } => {
            Some(Operation::DataSet { path: (*path).into(), data: data.map(Bytes::copy_from_slice), version: *version })
        }
        Txn::SetAcl { path, acls: acl, version } => {
            Some(Operation::AclSet { path: (*path).into(), acl: acls.json(acl), aversion: *version })
        }
        Txn::Check { .. } | Txn::Error { .. } | Txn::Multi(_) => None,
        Txn::CreateSession { .. } | Txn::CloseSession { .. } => None,
    }
}

fn created(creation: &Creation<'_>, acls: &mut AclCache) -> Operation {
    let node_type = match creation.kind {
        CreationKind::Create { ephemeral: true } | CreationKind::Create2 { ephemeral: true } => NodeType::Ephemeral,
        CreationKind::Create { .. } | CreationKind::Create2 { .. } => NodeType::Persistent,
        CreationKind::Container => NodeType::Container,
        CreationKind::Ttl { .. } => NodeType::Ttl,
    };
    Operation::Created {
        path: creation.path.into(),
        data: creation.data.map(Bytes::copy_from_slice),
        acl: acls.json(&creation.acls),
        node_type,
        parent_cversion: creation.parent_cversion,
    }
}
