//! The write-ahead log: what makes a change recorded.
//!
//! ```text
//! <dir>/wal/cluster=prod/<number of its first frame>.wal
//!
//! segment   header frame*
//!
//! header    0   8  magic "zktrwal\n"
//!           8   4  u32 format version (1)
//!          12   4  u32 CRC-32 of the 32 bytes that follow
//!          16   8  u64 number of the first frame, as in the file's name
//!          24  24  i64 × 3: the next seq of changes, coverage and sessions when the segment was begun
//!
//! frame     0   4  u32 length of the payload
//!           4   4  u32 CRC-32 of the length's four bytes and the payload
//!           8   n  payload
//!
//! payload   0   1  u8 frame version (1)
//!           1   1  u8 number of sections
//!           2   6  zero
//!           8   8  u64 number of the frame: rises by one, through all segments
//!          16      sections
//!
//! section   0   1  u8 kind: 1 changes, 2 coverage, 3 sessions, 4 mark (the intervals that are open)
//!           1   3  zero
//!           4   4  u32 length of the message
//!           8   8  i64 seq of the first row; of a mark: the next seq of coverage
//!          16   n  one Arrow IPC record batch message (encapsulated), in the file schema of the table
//! ```
//! All numbers are little-endian.
//!
//! Invariants:
//! - One frame is one group commit: one write, one fdatasync. It is in the log as a whole or not at all.
//! - Frames are only appended, by one writer. A segment is created with its first frame under a dot-name, fsynced and
//!   renamed, so that a segment that can be seen is complete up to the frame that is being written.
//! - Bytes after the last valid frame of the last segment are a torn write: not yet written. Anything else that does not
//!   check out is corruption, and is told, never skipped.
//! - A segment is removed when every part that holds its rows is durable, the oldest first. Rows at or below the highest
//!   seq in the parts of their table are skipped when the log is read.
//! - The last mark tells how far the open intervals were heard. It says the same in coverage parts once a row numbered
//!   at or after its `seq` is there: then an earlier recovery has turned it into rows already.
//!
//! After kill -9 nothing that was reported as recorded is missing; after a power loss neither, as far as the disk honours
//! fdatasync. After a failed fsync the kernel may show bytes that are not on the disk: recovery writes them anew.

pub(crate) mod entry;
pub(crate) mod reader;
pub(crate) mod recovery;
pub(crate) mod segment;
pub(crate) mod writer;

use super::layout::Table;

/// The next `seq` of each table, or the highest one: one number a table that the WAL carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seqs {
    pub changes: i64,
    pub coverage: i64,
    pub sessions: i64,
}

impl Seqs {
    /// The number of a table; 0 for those that are not in the WAL.
    pub fn of(self, table: Table) -> i64 {
        match table {
            Table::Changes => self.changes,
            Table::Coverage => self.coverage,
            Table::Sessions => self.sessions,
            Table::Audit | Table::Snapshots => 0,
        }
    }

    pub fn set(&mut self, table: Table, seq: i64) {
        match table {
            Table::Changes => self.changes = seq,
            Table::Coverage => self.coverage = seq,
            Table::Sessions => self.sessions = seq,
            Table::Audit | Table::Snapshots => {}
        }
    }

    pub fn max(self, other: Self) -> Self {
        Self {
            changes: self.changes.max(other.changes),
            coverage: self.coverage.max(other.coverage),
            sessions: self.sessions.max(other.sessions),
        }
    }

    pub fn plus(self, n: i64) -> Self {
        Self { changes: self.changes + n, coverage: self.coverage + n, sessions: self.sessions + n }
    }
}
