//! What a client is known not to get, each with its reason. The table shows these; nothing else may fail.

/// Client, feature, reason.
pub const ALLOWED: &[(&str, &str, &str)] = &[];

/// The same against a real PostgreSQL, which shows where the client itself, and not the server, is the limit.
pub const ALLOWED_ON_POSTGRESQL: &[(&str, &str, &str)] = &[];
