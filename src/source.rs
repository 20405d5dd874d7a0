//! Where observations come from.
//!
//! A source turns what an ensemble shows into one ordered, bounded stream of [`crate::zk::Observation`]s.
//! It concludes nothing: that is `tree`'s work. Beside the stream stands what tells of those who ask: the servers' lists
//! of connections, and their audit logs.

pub mod audit;
pub mod connections;
pub mod http;
pub mod jute;
pub mod txnlog;
pub mod watch;
