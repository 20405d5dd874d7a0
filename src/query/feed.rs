//! Changes as they are recorded, in the order of recording, from a cursor on: what `zktrail tail` and the stream over HTTP
//! both read.
//!
//! [`Reader`] asks SQL like everybody else, a bounded piece at a time; [`Cursor`] is where it stands, as text; gaps, in
//! which nobody was looking, are events of their own.

mod cursor;
pub mod event;
mod filter;
mod reader;
mod since;

pub use cursor::{Cursor, CursorError, Place};
pub use event::{Event, Kind, Row};
pub use filter::Filter;
pub use reader::{Reader, Round};
pub use since::{Beginning, Since};

/// Whoever answers a reader's questions.
pub trait Ask {
    /// All rows of a statement, as JSON shows them; whoever asks bounds them.
    fn ask(&self, sql: &str) -> Result<Vec<Row>, ReadError>;

    /// Where the answers come from, for people.
    fn describe(&self) -> String;
}

/// Why a round has no result.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The agent is not there, or has no time: it may be there soon.
    #[error("{0}")]
    Away(String),
    /// Asking again may help: a file that was just exchanged away, for example.
    #[error("{0}")]
    Failed(String),
    /// The cursor is of another history.
    #[error("{0}")]
    OtherHistory(String),
}
