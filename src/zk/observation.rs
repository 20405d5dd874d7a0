use bytes::Bytes;

use super::{Acl, Micros, Stat, ZkPath, Zxid};

/// What a source saw, in the order in which the server sent it.
///
/// The order is the contract: a [`Observation::Read`] placed after an [`Observation::Event`] was answered by the
/// server after it had sent that event, and the server sends an event before any answer that shows its change.
/// So at its place in the stream an answer shows exactly the state that the events before it led to.
#[derive(Clone, Debug, PartialEq)]
pub enum Observation {
    /// A watch notification.
    Event(Event),
    /// The answer to a getData: of an event (`event`), or of a scan.
    Read { path: ZkPath, event: Option<u64>, heard_at: Micros, outcome: ReadOutcome },
    /// The answer to an exists. For a deletion without a zxid it asks for the *parent*, whose pzxid places the deletion.
    Exists { path: ZkPath, event: Option<u64>, heard_at: Micros, outcome: StatOutcome },
    /// The answer to a getChildren of a scan: names, unsorted, without the parent's path.
    Children { path: ZkPath, heard_at: Micros, outcome: ChildrenOutcome },
    /// The answer to a getACL.
    Acl { path: ZkPath, heard_at: Micros, outcome: AclOutcome },
    /// A bootstrap or rescan of the whole scope begins: watches are armed, the server is synced.
    ScanStarted { reason: ScanReason, heard_at: Micros },
    /// Every znode of the scope has been read. From here on the tree is what the ensemble has.
    ScanFinished { heard_at: Micros },
    /// The server has told everything up to this transaction, which was known to be committed when it was asked.
    Synced { zxid: Zxid, heard_at: Micros },
    /// Nothing more comes of this connection. Reads not answered by now never will be.
    /// `last_heard` is when the last byte came, not when its absence was noticed.
    Disconnected { last_heard: Micros, ended: Ended },
}

/// A watch notification for one znode.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Rises by one with every event of a stream; names the event in the answer to its read.
    pub id: u64,
    pub kind: EventKind,
    pub path: ZkPath,
    /// `None` before server 3.9.
    pub zxid: Option<Zxid>,
    pub heard_at: Micros,
    /// Whether the source has sent the one read that goes with this event, whose answer will follow
    /// (always, unless the connection ends first): getData of the path for created and data_changed,
    /// exists of the parent for a deletion without a zxid, nothing for a deletion with one.
    pub read_follows: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    Created,
    DataChanged,
    Deleted,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ReadOutcome {
    Found {
        stat: Stat,
        data: Bytes,
    },
    NoNode,
    /// The session may not read it.
    NoAuth,
    /// Any other refusal; the path is then not covered.
    Failed,
}

#[derive(Clone, Debug, PartialEq)]
pub enum StatOutcome {
    Found(Stat),
    NoNode,
    Failed,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ChildrenOutcome {
    Found(Vec<Box<str>>),
    NoNode,
    NoAuth,
    Failed,
}

#[derive(Clone, Debug, PartialEq)]
pub enum AclOutcome {
    Found {
        acls: Vec<Acl>,
        stat: Stat,
    },
    NoNode,
    /// Since 3.7 reading an ACL needs READ or ADMIN permission.
    NoAuth,
    Failed,
}

/// Why the whole scope is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScanReason {
    /// The first look at this ensemble: there is no history, so there is nothing to compare with.
    Bootstrap,
    /// The agent starts and has a history.
    Start,
    /// The same session on a new connection.
    Reconnect,
    /// A new session after an expiry.
    NewSession,
    /// Our own bounded stream overflowed and was cut.
    Overrun,
}

impl ScanReason {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bootstrap => "bootstrap",
            Self::Start => "start",
            Self::Reconnect => "reconnect",
            Self::NewSession => "new_session",
            Self::Overrun => "overrun",
        }
    }
}

/// Why observing stopped: the `ended` column of `coverage` and the `reason` of `gaps`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ended {
    /// Closed only to be continued at once by the next interval.
    Rolled,
    /// The agent was stopped in order.
    Stopped,
    Disconnected,
    SessionExpired,
    AuthFailed,
    /// The stream's bound was reached.
    Overrun,
    /// Free space fell below the floor, or the disk is full.
    DiskFull,
    /// Writing to the history failed.
    WriteFailed,
    /// The path can no longer be read.
    Unreadable,
}

impl Ended {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rolled => "rolled",
            Self::Stopped => "stopped",
            Self::Disconnected => "disconnected",
            Self::SessionExpired => "session_expired",
            Self::AuthFailed => "auth_failed",
            Self::Overrun => "overrun",
            Self::DiskFull => "disk_full",
            Self::WriteFailed => "write_failed",
            Self::Unreadable => "unreadable",
        }
    }
}
