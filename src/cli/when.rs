//! What `--since` and `--until` take: the same as the parameters of a report.

pub use crate::query::when::{Bound, WhenError, parse};

/// What a flag's help says of it.
pub const HELP: &str = "an age (90m, 2h, 3d), a date (2026-11-20), a time (2026-11-20T03:12, or 03:12 for the last one), \
    a zxid (0x1000002a3), or now; times are UTC unless they end in an offset (+01:00)";
