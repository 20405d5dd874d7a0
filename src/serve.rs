//! The doors: they translate between a protocol and the query engine, and hold no logic of their own.

pub mod http;
pub mod pg;
pub mod tls;
pub mod users;
