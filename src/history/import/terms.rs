//! What an import is told, and what it tells.

use super::super::error::HistoryError;
use super::super::state::ReplaceError;
use crate::zk::{ChangeKind, Source, ZkPath, Zxid};

/// How an import works.
#[derive(Clone, Debug)]
pub struct ImportSettings {
    /// What the stream's zxids belong to.
    pub incarnation: i32,
    /// [`Source::Txnlog`] or [`Source::Observer`]: what the rows of coverage say.
    pub source: Source,
    /// What the stream has every change of: `/`, or the one path to which it was narrowed.
    pub scope: ZkPath,
    /// Memory, about.
    pub bytes_max: usize,
    /// Chunks that are encoded on threads of their own at a time; 0: none, everything happens in the calls.
    pub threads_max: usize,
    /// Below this share of free space nothing is written.
    pub free_space_floor_percent: u8,
    /// Rows of coverage are left to whoever lends the folder out: [`Importer::take_coverage`](super::Importer::take_coverage).
    pub leaves_coverage: bool,
}

impl Default for ImportSettings {
    fn default() -> Self {
        Self {
            incarnation: 1,
            source: Source::Txnlog,
            scope: "/".into(),
            bytes_max: 256 << 20,
            threads_max: 2,
            free_space_floor_percent: 5,
            leaves_coverage: false,
        }
    }
}

/// What an import did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImportSummary {
    /// Changes that nothing was on record of.
    pub new: u64,
    /// Rows that were on record and know more now.
    pub completed: u64,
    /// Rows without a place, or only inferred, that no change of the stream accounts for: they went.
    pub replaced: u64,
    /// Changes that were on record as they are.
    pub unchanged: u64,
    /// Rows that could not be told and stay as they are.
    pub unplaced: u64,
    pub sightings: u64,
    pub coverage: u64,
    pub snapshots: u64,
    /// Parts of new changes.
    pub parts: u64,
    /// Days that were exchanged.
    pub days: u64,
}

/// Why an import stopped. What [`Importer::covered`] has returned for stands.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error(
        "{path} at zxid {zxid}: {what}. The log is of another ensemble, or of one that was rebuilt: \
         import it as another cluster, or with --incarnation"
    )]
    Contradiction { path: String, zxid: Zxid, what: String },

    #[error("a {} of {path} at zxid {zxid} was given after zxid {after}: the stream must be in the order of zxids", kind.as_str())]
    OutOfOrder { path: String, kind: ChangeKind, zxid: Zxid, after: Zxid },

    #[error("a {} of {path} was given without {what}", kind.as_str())]
    Incomplete { path: String, kind: ChangeKind, what: &'static str },

    #[error("the tree at zxid {at} could not be read: {source}")]
    Tree { at: Zxid, source: Box<dyn std::error::Error + Send + Sync> },

    #[error(transparent)]
    History(#[from] HistoryError),
}

impl From<ReplaceError> for ImportError {
    fn from(error: ReplaceError) -> Self {
        match error {
            ReplaceError::History(error) => Self::History(error),
            // Only whoever holds the folder's lock changes days.
            changed @ ReplaceError::Changed { .. } => Self::History(HistoryError::Unknown(changed.to_string())),
        }
    }
}
