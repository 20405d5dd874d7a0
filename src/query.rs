//! Answers SQL over any number of clusters' histories: DataFusion over Views.
//!
//! ```text
//! SQL ── Engine ── Tables (one View a cluster, taken once a query)
//!                    changes, coverage, snapshots   parts as Parquet + the head in memory
//!                    znodes, znodes_at, tree_diff   a replay, streamed
//!                    gaps, sessions                 derived
//! ```
//! What it is not: it never writes. There is no DDL, no DML, no COPY, no SET, and no way for SQL to name a file: the
//! only object store is an empty one, and the parts are opened by [`crate::history::part::Part`], not by path.
//!
//! Every query holds one View of each cluster for all its tables, so that they agree with each other; it runs on the
//! engine's own threads, so that a heavy one does not delay what is being recorded; it is bounded by [`Limits`]; and once
//! nobody waits for it, or its time is over, it ends inside whatever operator it is in (`stop.rs`).

mod access;
mod amplify;
mod depth;
pub mod encode;
mod engine;
mod error;
pub mod feed;
mod functions;
pub mod library;
pub mod parameters;
mod read_only;
mod repeated;
mod shown;
mod stop;
pub(crate) mod tables;
pub mod when;

pub use access::{Access, AccessLimits, Values};
pub use depth::{STACK_BYTES, check_tokens as check_depth};
pub use engine::{Activity, Described, Engine, Limits, Observer, QueryEvent, QueryStream, Session, Sources};
pub use error::{ErrorKind, Fault, QueryError};
pub(crate) use functions::call;
pub use parameters::Parameters;
pub use read_only::{behind_comments, error as refuse_writing_word};
pub use shown::statement_to_show;
pub use tables::{FUNCTIONS as TABLE_FUNCTIONS, NAMES as TABLES, PgActivity, PgFacts, PgSetting};

/// Words for an error of the parser, as for every other.
pub fn parse_error(error: datafusion::error::DataFusionError) -> QueryError {
    QueryError::from_datafusion(error, 0)
}

#[cfg(test)]
pub(crate) use engine::tests::fixture;
