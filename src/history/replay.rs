//! Reading the tree back: as it is now, or as it was at a moment.
//!
//! A replay starts from the newest snapshot that holds nothing later than the moment, and folds in the changes that were
//! recorded after it, path by path in their order, up to the moment. Everything streams in the order of paths (bytewise):
//! the snapshot and each part are sorted that way, the head is sorted here, and a k-way merge joins them.
//!
//! Memory: for each part that is read a decompressed page and a small batch of the columns asked for; an entry for each
//! znode whose children changed since the snapshot; the batch that is being built.
//!
//! The moment of a zxid is after the whole of its transaction and before what is only known to follow it: a row without
//! a zxid says that it came after its `position`.

use std::collections::HashSet;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use super::error::HistoryError;
use super::view::View;
use crate::zk::{Micros, Zxid};
use folder::{Folder, Plan};
use output::Output;
use run::Select;

pub(crate) mod children;
pub(crate) mod diff;
pub(crate) mod fold;
pub(crate) mod folder;
pub(crate) mod locate;
mod missed;
pub(crate) mod output;
pub(crate) mod part_reader;
pub(crate) mod ranges;
pub(crate) mod rows;
pub(crate) mod run;
pub(crate) mod scan;
pub(crate) mod snapshot;

#[cfg(test)]
pub(crate) mod model;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use diff::{Diff, DiffKind, Side, TreeDiff, tree_diff};
pub use locate::{Located, locate, reach};
pub use rows::Key;
pub use snapshot::Snapshot;

/// The moment that a replay shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// After everything on record.
    Now,
    /// After the transaction with this zxid.
    Position { incarnation: i32, position: i64 },
    /// Just before the ensemble's clock passed this moment, see [`super::timeline`].
    Time(Micros),
}

/// Which paths are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathFilter {
    All,
    Exact(Vec<String>),
    /// Those that begin with this string: `/a` also lets `/ab` through.
    Prefix(String),
}

#[derive(Clone, Debug)]
pub struct ReplayOptions {
    /// Indices into [`super::schema::ZNODES`], in the order wanted. Nothing is read for columns that are not wanted.
    pub columns: Vec<usize>,
    pub filter: PathFilter,
    /// Rows of a batch at most.
    pub batch_rows: usize,
}

/// Why a moment cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error(
        "cluster {cluster}: {asked} is before the oldest snapshot, which is of {oldest_time} at zxid {oldest_zxid}: \
         ask for a later moment"
    )]
    BeforeOldest { cluster: String, asked: String, oldest_time: Micros, oldest_zxid: Zxid },

    #[error(
        "cluster {cluster}: {asked} is after everything on record, the last of which is at {last}: ask for an earlier \
         moment, or for the table znodes, which shows the last state"
    )]
    AfterLast { cluster: String, asked: String, last: String },

    #[error("cluster {cluster} has no snapshot yet: its tree has not been read to the end for the first time")]
    Empty { cluster: String },

    #[error("cluster {cluster} has no incarnation {incarnation}: there are {known:?}")]
    NoIncarnation { cluster: String, incarnation: i32, known: Vec<i32> },

    #[error("column {index} of znodes was asked for, there are {}", super::schema::ZNODES.fields().len())]
    NoColumn { index: usize },

    #[error(transparent)]
    History(#[from] HistoryError),
}

/// Begins a replay. Locating the moment and the changes of children are read here, the rest while iterating.
///
/// # Errors
/// As [`locate`], and where a column's index is out of bounds.
pub fn replay(view: &View, at: At, options: ReplayOptions) -> Result<Replay, ReplayError> {
    let output = Output::new(&options.columns)
        .ok_or_else(|| ReplayError::NoColumn { index: options.columns.iter().copied().max().unwrap_or_default() })?;
    let located = locate(view, &at)?;
    let uncertain = locate::uncertain(view, &located, &options.filter)?;
    let (needs, children) = output.needs();
    let folder = Folder::open(Plan {
        table: &view.changes,
        base: Some(&located.snapshot),
        select: select(&located),
        filter: &options.filter,
        needs,
        children,
    })?;
    Ok(Replay { folder, output, uncertain, batch_rows: options.batch_rows.max(1), done: false })
}

/// The changes that lead from a located snapshot to the moment.
fn select(located: &Located) -> Select {
    let all = Select::all(located.incarnation).after(&located.snapshot);
    Select { until: located.until, found_before: located.found_before, ..all }
}

/// The znodes at a moment, sorted by path. After an error it is at its end.
pub struct Replay {
    folder: Folder,
    output: Output,
    uncertain: HashSet<Box<str>>,
    batch_rows: usize,
    done: bool,
}

impl Replay {
    /// The columns asked for.
    pub fn schema(&self) -> SchemaRef {
        self.output.schema().clone()
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>, HistoryError> {
        while self.output.rows() < self.batch_rows {
            if !self.folder.next(|_, _| ())? {
                self.done = true;
                break;
            }
            if self.folder.znode.alive {
                let uncertain = !self.uncertain.is_empty() && self.uncertain.contains(self.folder.path.as_str());
                self.output.push(&self.folder.path, &self.folder.znode, uncertain);
            }
        }
        if self.output.rows() == 0 { Ok(None) } else { self.output.finish().map(Some) }
    }
}

impl Iterator for Replay {
    type Item = Result<RecordBatch, HistoryError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let next = self.next_batch();
        self.done |= next.is_err();
        next.transpose()
    }
}
