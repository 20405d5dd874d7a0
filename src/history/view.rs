use std::sync::Arc;

use arrow::record_batch::RecordBatch;

use super::layout::{Day, Table};
use super::part::Part;

/// One cluster's history at one instant: what a query holds. Immutable; cheap to clone.
///
/// Every recorded row is in exactly one place of it: in a part, or in the head (recorded in the WAL, not yet in a part).
#[derive(Clone, Debug)]
pub struct View {
    pub cluster: Arc<str>,
    pub changes: TableView,
    pub coverage: TableView,
    pub sessions: TableView,
    /// Imported straight into parts, so there is no head.
    pub audit: Arc<[Arc<Part>]>,
    /// Complete snapshots, oldest first (by seq).
    pub snapshots: Arc<[Arc<Part>]>,
    /// The intervals that are being observed right now, in the schema of `coverage` (`seq` -1, `ended` null);
    /// empty where nobody observes. Offline it is what the WAL's last mark says.
    pub open_coverage: RecordBatch,
}

/// One table's parts and head.
#[derive(Clone, Debug, Default)]
pub struct TableView {
    /// In the order of their first seq.
    pub parts: Arc<[Arc<Part>]>,
    /// In the order of recording; rows of one batch share a day.
    pub head: Arc<[HeadBatch]>,
}

/// Recorded rows that are not yet in a part.
#[derive(Clone, Debug)]
pub struct HeadBatch {
    pub day: Day,
    /// In the file schema of the table, in the order of recording.
    pub batch: RecordBatch,
}

impl View {
    /// The parts of a table.
    pub fn parts(&self, table: Table) -> &[Arc<Part>] {
        match table {
            Table::Changes => &self.changes.parts,
            Table::Coverage => &self.coverage.parts,
            Table::Sessions => &self.sessions.parts,
            Table::Audit => &self.audit,
            Table::Snapshots => &self.snapshots,
        }
    }

    /// The recorded rows of a table that are not yet in a part. Snapshots and audit have none.
    pub fn head(&self, table: Table) -> &[HeadBatch] {
        match table {
            Table::Changes => &self.changes.head,
            Table::Coverage => &self.coverage.head,
            Table::Sessions => &self.sessions.head,
            Table::Audit | Table::Snapshots => &[],
        }
    }
}
