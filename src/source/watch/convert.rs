//! From the client crate's types to ours.

use zookeeper_client as zkc;

use crate::zk::{Acl, EventKind, Micros, Stat, Zxid};

pub(super) fn stat(from: &zkc::Stat) -> Stat {
    Stat {
        czxid: Zxid(from.czxid),
        mzxid: Zxid(from.mzxid),
        pzxid: Zxid(from.pzxid),
        ctime: Micros::from_millis(from.ctime),
        mtime: Micros::from_millis(from.mtime),
        version: from.version,
        cversion: from.cversion,
        aversion: from.aversion,
        ephemeral_owner: from.ephemeral_owner,
        data_length: from.data_length,
        num_children: from.num_children,
    }
}

/// `None` for what a recursive watch never sends.
pub(super) fn event_kind(from: zkc::EventType) -> Option<EventKind> {
    match from {
        zkc::EventType::NodeCreated => Some(EventKind::Created),
        zkc::EventType::NodeDataChanged => Some(EventKind::DataChanged),
        zkc::EventType::NodeDeleted => Some(EventKind::Deleted),
        zkc::EventType::NodeChildrenChanged | zkc::EventType::Session => None,
    }
}

pub(super) fn acls(from: &[zkc::Acl]) -> Vec<Acl> {
    use zkc::Permission;
    let bits = [
        (Permission::READ, 1),
        (Permission::WRITE, 2),
        (Permission::CREATE, 4),
        (Permission::DELETE, 8),
        (Permission::ADMIN, 16),
    ];
    let perms = |of: Permission| bits.iter().filter(|(bit, _)| of.has(*bit)).map(|(_, mask)| mask).sum();
    from.iter().map(|acl| Acl::new(perms(acl.permission()), acl.scheme(), acl.id())).collect()
}
