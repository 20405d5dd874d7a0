//! Who is connected: each server tells its own clients, by the four-letter word `cons` on its client port or by its
//! AdminServer's `/commands/connections`.
//!
//! Both only look: nothing is reset, nothing is written. A list is that server's alone and of one moment; a session whose
//! client is between two connections is on none.

mod admin;
mod ask;
mod cons;
mod host;

pub use ask::{AskError, admin_server, cons};
pub use host::plain_host;

/// A client's connection, as its server lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    pub session_id: i64,
    /// `host:port`, IPv6 in brackets.
    pub address: String,
    pub timeout_ms: Option<i32>,
}

/// What one server tells of its connections at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    pub sessions: Vec<Connection>,
    /// Connections without a session: not yet opened, or who asked.
    pub without_session: usize,
    /// Lines or entries that are not understood.
    pub unreadable: usize,
    /// Whether the list came to its end.
    pub whole: bool,
}

/// Sessions of one answer beyond which it is cut: a server holds far fewer.
const SESSIONS_MAX: usize = 1_000_000;
