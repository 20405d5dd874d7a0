//! The durable record of one ensemble: what is on disk, how it gets there, and how it is read back.
//!
//! ```text
//! record   Entry → recorder → wal (fsync) → state: View { head, parts } → flush → parts (Parquet)
//! keep     days (exchange, compaction), snapshots, retention, redact
//! read     View → merge → replay (znodes at a moment), gaps, timeline, verify
//! ```
//!
//! Invariants:
//! - A row is *recorded* once the WAL frame that holds it is fsynced; only then does a [`View`](view::View) show it.
//! - At any instant a View holds every recorded row in exactly one place: in a part, or in the head.
//! - `seq` has no hole: every number from the first kept row to the last belongs to exactly one row of its table.
//! - Nothing here retries a failed write or fsync. The writer stops; [`open::History::open`] recovers from disk.

pub mod audit;
pub mod coverage;
pub mod days;
pub mod disk;
pub mod error;
pub mod gaps;
mod head;
pub mod import;
pub mod layout;
mod lock;
pub mod merge;
pub mod open;
pub mod part;
pub mod parts;
pub mod recorder;
pub mod redact;
pub mod replay;
pub mod retention;
pub mod rows;
pub mod schema;
pub mod snapshots;
pub mod state;
pub mod timeline;
pub mod verify;
pub mod view;
pub mod wal;

pub use audit::AuditAdded;
pub use coverage::{Aspect, CoverageEntry};
pub use error::HistoryError;
pub use import::{ImportError, ImportSettings, ImportSummary, Importer, ZnodeRow};
pub use layout::Layout;
pub use open::{History, Recorded, open_read_only};
pub use recorder::{
    Entry, PartsWork, RecorderEvent, RecorderGone, RecorderHandle, Settings, SnapshotAt, SnapshotRequest,
};
pub use rows::{Sighting, SightingEvent, SightingSource};
pub use state::State;
pub use view::View;
