//! Where observations come from.
//!
//! A source turns what an ensemble shows into one ordered, bounded stream of [`crate::zk::Observation`]s.
//! It concludes nothing: that is `tree`'s work.

pub mod jute;
pub mod txnlog;
pub mod watch;
