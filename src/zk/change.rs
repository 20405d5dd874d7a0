use bytes::Bytes;

use super::{Micros, ZkPath, Zxid};

/// One change of one znode: a row of the `changes` table before it has its `seq`.
///
/// Field by field the columns of the table; `cluster`, `date` and `seq` are added where it is recorded, and
/// `data`, `data_length` and `data_hash` pass the value policy on the way.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub incarnation: i32,
    pub time: Micros,
    pub time_source: TimeSource,
    pub observed_at: Micros,
    pub zxid: Option<Zxid>,
    /// The zxid, or while it is unknown the greatest zxid known to precede this change.
    pub position: Zxid,
    pub ordinal: i32,
    pub kind: ChangeKind,
    pub path: ZkPath,
    pub czxid: Option<Zxid>,
    pub version: Option<i32>,
    pub aversion: Option<i32>,
    pub node_type: Option<NodeType>,
    pub ephemeral_owner: i64,
    /// The whole value; the policy cuts, masks or withholds it.
    pub data: Option<Bytes>,
    pub data_length: Option<i32>,
    /// Set by the policy, never by `tree`.
    pub data_hash: Option<i64>,
    /// JSON, see [`super::acls_to_json`].
    pub acl: Option<std::sync::Arc<str>>,
    pub evidence: Evidence,
    pub missed: i64,
    pub source: Source,
    pub cause: Option<DeleteCause>,
    pub session_id: Option<i64>,
    pub cxid: Option<i32>,
}

macro_rules! names {
    ($(#[$meta:meta])* $type:ident { $($variant:ident => $name:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $type { $($variant),+ }

        impl $type {
            /// Every value, in the order of declaration.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The text in the table's column.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// The value that a column's text names.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($name => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

names! {
    /// What happened to the znode.
    ChangeKind { Created => "created", DataChanged => "data_changed", AclChanged => "acl_changed", Deleted => "deleted" }
}
names! {
    /// How a row is known. Ordered: later is weaker.
    Evidence {
        Exact => "exact",
        Coalesced => "coalesced",
        Inferred => "inferred",
    }
}
names! {
    /// Where a row comes from.
    Source { Watch => "watch", Rescan => "rescan", Txnlog => "txnlog", Observer => "observer" }
}
names! {
    /// Whose clock `time` is.
    TimeSource { Server => "server", Agent => "agent" }
}
names! {
    /// A client cannot tell persistent, container and TTL znodes apart: those stay unknown with the watch source.
    NodeType { Persistent => "persistent", Ephemeral => "ephemeral", Container => "container", Ttl => "ttl" }
}
names! {
    /// Why a znode was deleted: somebody asked for it, its session ended (with `cxid` 0 the ensemble ended it, because it was
    /// not heard of any more), or the ensemble removed an empty container or a TTL znode.
    DeleteCause { Explicit => "explicit", SessionClosed => "session_closed", Expired => "expired" }
}
