//! The doors: they translate between a protocol and the query engine, and hold no logic of their own.
//!
//! Who enters is settled in one way for all doors: [`users`] says who is listed, [`Caller`] who it is that asks, and
//! [`access_log`] writes down what was asked.

pub mod access_log;
mod caller;
pub mod doors;
pub mod http;
pub mod pg;
pub mod tls;
pub mod users;

pub use caller::{Caller, Door};

/// The stack that each thread of a runtime needs which serves the doors: a statement of [`crate::query::DEPTH_MAX`] is
/// copied and dropped there. Of it only what is used takes memory.
pub const STACK_BYTES: usize = 32 << 20;
