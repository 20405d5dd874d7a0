//! ZooKeeper's audit log (3.6 and later, `audit.enable=true`): a line for every write that was asked of a server, with
//! the session, the user and the address that asked.
//!
//! ```text
//! line    <whatever the logging pattern puts in front, a time in it> field (TAB field)*
//! field   key=value; keys session, user, ip, operation, znode, znode_type, acl, result; one that is null is left out
//! ```
//! The servers log through log4j (3.6, 3.7) or logback (3.8 and later) under the operator's own pattern: what is relied on
//! is a date and a time somewhere in front, and the fields behind. Lines of other loggers in the same file are passed over.

mod file;
mod line;
mod zone;

pub use file::{AuditFile, Read, is_audit_log};
pub use line::{LineError, parse};
pub use zone::{LogZone, ZoneError};
