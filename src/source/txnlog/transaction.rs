//! Payloads of records into [`Transaction`]s.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::Corruption;
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
    /// The payload is no transaction of a type that is known, or it names what cannot be a path.
    pub fn decode(&mut self, payload: &[u8], acls: &mut AclCache) -> Result<Transaction, Corruption> {
        let entry = Entry::read(payload, &mut self.digests)?;
        transaction(&entry, acls).map_err(|NotAPath(path)| Corruption::Path(path.to_owned()))
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

/// The text that stands where a path must.
struct NotAPath<'a>(&'a str);

fn path(text: &str) -> Result<ZkPath, NotAPath<'_>> {
    if zk::is_well_formed(text) { Ok(text.into()) } else { Err(NotAPath(text)) }
}

/// What a server's log entry means.
fn transaction<'a>(entry: &Entry<'a>, acls: &mut AclCache) -> Result<Transaction, NotAPath<'a>> {
    let action = match &entry.txn {
        Txn::CreateSession { timeout_ms } => Action::SessionOpened { timeout_ms: *timeout_ms },
        Txn::CloseSession { ephemerals } => {
            Action::SessionClosed { ephemerals: ephemerals.map(|paths| paths.iter().map(path).collect()).transpose()? }
        }
        txn if txn.is_failed_multi() => Action::Nothing,
        Txn::Multi(parts) => {
            let operations: Result<Vec<_>, _> =
                parts.iter().filter_map(|part| operation(part, acls).transpose()).collect();
            operations.map(|some| if some.is_empty() { Action::Nothing } else { Action::Operations(some) })?
        }
        txn => operation(txn, acls)?.map_or(Action::Nothing, |operation| Action::Operations(vec![operation])),
    };
    Ok(Transaction {
        zxid: Zxid(entry.header.zxid),
        time: Micros::from_millis(entry.header.time_ms),
        session_id: entry.header.session_id,
        cxid: entry.header.cxid,
        action,
    })
}

/// `None` for what changes nothing.
fn operation<'a>(txn: &Txn<'a>, acls: &mut AclCache) -> Result<Option<Operation>, NotAPath<'a>> {
    Ok(Some(match txn {
        Txn::Create(creation) => created(creation, acls)?,
        Txn::Delete { path: at, container } => Operation::Deleted { path: path(at)?, expired: *container },
        Txn::SetData { path: at, data, version, .. } => {
            Operation::DataSet { path: path(at)?, data: data.map(Bytes::copy_from_slice), version: *version }
        }
        Txn::SetAcl { path: at, acls: acl, version } => {
            Operation::AclSet { path: path(at)?, acl: acls.json(acl), aversion: *version }
        }
        Txn::Check { .. } | Txn::Error { .. } | Txn::Multi(_) => return Ok(None),
        Txn::CreateSession { .. } | Txn::CloseSession { .. } => return Ok(None),
    }))
}

fn created<'a>(creation: &Creation<'a>, acls: &mut AclCache) -> Result<Operation, NotAPath<'a>> {
    let node_type = match creation.kind {
        CreationKind::Create { ephemeral: true } | CreationKind::Create2 { ephemeral: true } => NodeType::Ephemeral,
        CreationKind::Create { .. } | CreationKind::Create2 { .. } => NodeType::Persistent,
        CreationKind::Container => NodeType::Container,
        CreationKind::Ttl { .. } => NodeType::Ttl,
    };
    Ok(Operation::Created {
        path: path(creation.path)?,
        data: creation.data.map(Bytes::copy_from_slice),
        acl: acls.json(&creation.acls),
        node_type,
        parent_cversion: creation.parent_cversion,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::jute::txn::{Paths, TxnHeader};
    use crate::source::jute::{self, Reader};

    fn decode(txn: Txn<'_>) -> Result<Action, Corruption> {
        let header = TxnHeader { session_id: 9, cxid: 1, zxid: 3, time_ms: 5 };
        let payload = Entry { header, txn, digest: None }.to_bytes();
        let transaction = Decoder::default().decode(&payload, &mut AclCache::default())?;
        assert_eq!((transaction.zxid, transaction.time, transaction.session_id), (Zxid(3), Micros(5_000), 9));
        Ok(transaction.action)
    }

    fn set<'a>(path: &'a str, reconfig: bool) -> Txn<'a> {
        Txn::SetData { path, data: Some(b"x"), version: 4, reconfig }
    }

    fn is_set(path: &str) -> Operation {
        Operation::DataSet { path: path.into(), data: Some("x".into()), version: 4 }
    }

    #[test]
    fn what_failed_changed_nothing() {
        let failed = Txn::Multi(vec![set("/a", false), Txn::Error { code: -2 }]);
        assert_eq!(decode(failed), Ok(Action::Nothing));
        assert_eq!(decode(Txn::Error { code: -101 }), Ok(Action::Nothing));
        let check = Txn::Check { path: "/a", version: 1 };
        assert_eq!(decode(check.clone()), Ok(Action::Nothing));
        assert_eq!(decode(Txn::Multi(vec![check.clone()])), Ok(Action::Nothing));
        let both = decode(Txn::Multi(vec![check, set("/a", false), set("/", false)]));
        assert_eq!(both, Ok(Action::Operations(vec![is_set("/a"), is_set("/")])));
    }

    #[test]
    fn the_ensembles_own_doings_are_told() {
        let expired = Action::Operations(vec![Operation::Deleted { path: "/c".into(), expired: true }]);
        assert_eq!(decode(Txn::Delete { path: "/c", container: true }), Ok(expired));
        let config = "/zookeeper/config";
        assert_eq!(decode(set(config, true)), Ok(Action::Operations(vec![is_set(config)])));
        let paths = Paths::encode(&["/e".to_owned()]);
        let held = Txn::CloseSession { ephemerals: Paths::read(&mut Reader::new(&paths)).ok() };
        assert_eq!(decode(held), Ok(Action::SessionClosed { ephemerals: Some(vec!["/e".into()]) }));
        let unknown = Txn::CloseSession { ephemerals: None };
        assert_eq!(decode(unknown), Ok(Action::SessionClosed { ephemerals: None }));
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in ["", "a", "/a/", "//"] {
            assert_eq!(decode(set(text, false)), Err(Corruption::Path(text.to_owned())));
            let paths = Paths::encode(&[text.to_owned()]);
            let held = Txn::CloseSession { ephemerals: Paths::read(&mut Reader::new(&paths)).ok() };
            assert_eq!(decode(held), Err(Corruption::Path(text.to_owned())));
        }
    }

    #[test]
    fn an_acl_is_made_once_and_its_hashes_are_masked() {
        let bytes = Acls::encode(&[jute::Acl { perms: 31, id: jute::Id::new("digest", "bob:secret") }]);
        let other = Acls::encode(&[jute::Acl { perms: 1, id: jute::Id::new("world", "anyone") }]);
        let read = |bytes| Acls::read(&mut Reader::new(bytes)).unwrap();
        let mut cache = AclCache::default();
        let first = cache.json(&read(&bytes));
        assert_eq!(&*first, r#"[{"perms":"cdrwa","scheme":"digest","id":"bob:***"}]"#);
        assert_eq!(&*cache.json(&read(&other)), r#"[{"perms":"r","scheme":"world","id":"anyone"}]"#);
        assert!(Arc::ptr_eq(&first, &cache.json(&read(&bytes))));
    }
}
