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

