//! Days as a whole: the one way in which recorded parts are ever replaced or removed.
//!
//! A part is immutable. What must change (compaction, redaction, retention) changes a whole day of one table:
//!
//! ```text
//! changes/cluster=prod/date=2026-11-20/               the day, as every reader sees it
//! .work/cluster=prod/changes.date=2026-11-20.new-<pid>-<n>/  the same day, built anew (no reader looks here)
//!    1 build it, fsync its files and the folder
//!    2 under the State's lock: nothing came or went? exchange both names in one system call, publish the new parts
//!    3 fsync both parents
//!    4 the old folder, now under work, goes when the last reader that holds a part of it lets go,
//!      and no sooner than a listing that was under way may take
//! ```
//!
//! - A process that dies before 2 leaves the old day, after 2 the new one, and a dot-folder either way: the
//!   next start removes it, as everything with a leading dot. There is no third state.
//! - A row never changes its day.
//! - Parts that stay as they are get a second name (hard link) in the new folder: nothing is copied.
//! - A day that holds a file which is not ours is refused: exchanging it would remove that file.
//! - One maintenance task at a time: compaction, redaction, retention and snapshots of one cluster must not run beside
//!   each other. (A flush may: it makes an exchange of the same day give [`ReplaceError::Changed`].) In particular
//!   a snapshot begun before a redaction would carry redacted values over.

mod compact;
mod coverage;
mod cuts;
mod exchange;
mod file;
mod merge;
mod retired;
mod rewrite;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use super::state::ReplaceError;
pub use compact::{Compacted, CompactionLimits, closed_days, compact_closed_days, compact_day, join_small_parts};
pub(super) use exchange::names;
pub use exchange::{drop_day, exchange};
pub use file::{PartWriter, WrittenPart};
pub(crate) use file::{int64_range, read, read_projected};
pub(super) use merge::{Merge, Order, Run};
pub use retired::Retired;
pub(crate) use rewrite::{keep_part, kept_marks, rewrite_part};

use std::sync::Arc;

use super::layout::{Day, Table};
use super::part::Part;
use super::view::View;

/// The parts of one day, in the order of their first seq.
pub fn parts_of(view: &View, table: Table, day: Day) -> Vec<Arc<Part>> {
    view.parts(table).iter().filter(|part| part.day == day).cloned().collect()
}
