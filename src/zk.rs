//! The vocabulary of ZooKeeper that every other module shares.
//!
//! Pure: plain values, no I/O, no clocks, no Arrow. What the server *sends* is an [`Observation`],
//! what we *conclude* from it is a [`Change`]; they are different types on purpose.

mod acl;
mod audit;
mod change;
mod observation;
mod path;
mod session;
mod stat;
mod subtrees;
mod time;
mod transaction;
mod zxid;

pub use acl::{Acl, acls_to_json};
pub use audit::AuditEntry;
pub use change::{Change, ChangeKind, DeleteCause, Evidence, NodeType, Source, TimeSource};
pub use observation::{
    AclOutcome, ChildrenOutcome, Ended, Event, EventKind, Observation, ReadOutcome, ScanReason, StatOutcome,
};
pub use path::{PathError, ZkPath, depth, is_well_formed, name, parent, prefix, validate};
pub use session::SessionId;
pub use stat::Stat;
pub use subtrees::{OTHER, Subtrees};
pub use time::Micros;
pub use transaction::{Action, Operation, PersistedZnode, Transaction};
pub use zxid::Zxid;
