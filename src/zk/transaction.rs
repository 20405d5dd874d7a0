use std::sync::Arc;

use bytes::Bytes;

use super::{Micros, NodeType, ZkPath, Zxid};

/// A transaction as the ensemble's own log has it: committed, whole, and in its place.
///
/// Where watches show effects, this is the cause: who asked, and what was done. What a failed request left in the log is
/// no transaction of this type's [`Action::Operations`]: it changed nothing ([`Action::Nothing`]).
#[derive(Clone, Debug, PartialEq)]
pub struct Transaction {
    pub zxid: Zxid,
    /// The leader's clock.
    pub time: Micros,
    /// Who asked; 0 is the ensemble itself (containers and TTL znodes that it removed).
    pub session_id: i64,
    pub cxid: i32,
    pub action: Action,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    SessionOpened {
        timeout_ms: i32,
    },
    /// `ephemerals`: what the session held, named by servers from 3.7 on; before, whoever replays the log knows.
    SessionClosed {
        ephemerals: Option<Vec<ZkPath>>,
    },
    /// One operation, or those of a multi in their order.
    Operations(Vec<Operation>),
    /// A request that failed, a multi of which one operation failed, a check alone: the zxid is used, nothing changed.
    Nothing,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    Created {
        path: ZkPath,
        /// `None` is null, which clients see as an empty value.
        data: Option<Bytes>,
        /// JSON with hashes masked, see [`super::acls_to_json`].
        acl: Arc<str>,
        node_type: NodeType,
        /// The parent's raw cversion (the number of creations) with this one; below 0 from servers that did not log it.
        parent_cversion: i32,
    },
    /// `expired`: the ensemble removed an empty container or a TTL znode.
    Deleted { path: ZkPath, expired: bool },
    /// `version` is the one after the change. A reconfiguration is one of `/zookeeper/config`.
    DataSet { path: ZkPath, data: Option<Bytes>, version: i32 },
    /// `aversion` is the one after the change.
    AclSet { path: ZkPath, acl: Arc<str>, aversion: i32 },
}

/// A znode as a server's snapshot file has it.
#[derive(Clone, Debug, PartialEq)]
pub struct PersistedZnode {
    pub path: ZkPath,
    pub data: Option<Bytes>,
    /// JSON with hashes masked; `None` where the file does not tell.
    pub acl: Option<Arc<str>>,
    pub czxid: Zxid,
    pub mzxid: Zxid,
    pub pzxid: Zxid,
    pub ctime: Micros,
    pub mtime: Micros,
    pub version: i32,
    /// Raw: the number of creations of children, not what clients see.
    pub creations: i32,
    pub aversion: i32,
    /// As clients see it: 0 for containers and TTL znodes.
    pub ephemeral_owner: i64,
    pub node_type: NodeType,
}
