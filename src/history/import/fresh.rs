//! New rows become parts: sorted, encoded, fsynced under a dot-name on any thread, then put in place in their order.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::disk::Disk;
use super::super::error::HistoryError;
use super::super::layout::{Day, Layout, SeqRange, Table};
use super::super::open::History;
use super::super::part::Part;
use super::super::parts::PartWriter;
use super::super::rows::ChangeRows;
use super::Cluster;
use super::chunk::{Chunk, by_day, sort_by_path};
use crate::zk::Change;

/// Rows of a batch on its way to the file.
const BATCH_ROWS: usize = 8_192;

/// A chunk of rows of which none is on record.
pub(super) struct Job {
    disk: Disk,
    layout: Layout,
    cluster: Cluster,
    chunk: Chunk,
    first_seq: i64,
}

impl Job {
    pub(super) fn new(history: &History, chunk: Chunk, first_seq: i64) -> Self {
        let (disk, layout, cluster) = (history.disk.clone(), history.layout.clone(), history.cluster.clone());
        Self { disk, layout, cluster, chunk, first_seq }
    }

    /// The seq after those of the chunk.
    pub(super) fn next_seq(&self) -> i64 {
        self.first_seq + self.chunk.changes.len() as i64
    }

    /// Writes a file a day; durable, not yet in place.
    pub(super) fn run(self) -> Result<Vec<Encoded>, HistoryError> {
        let folder = self.layout.cluster(Table::Changes, &self.cluster);
        self.disk.create_dir(&folder)?;
        let mut encoded = Vec::new();
        let mut next = self.first_seq;
        for (day, rows) in by_day(&self.chunk.changes, |_| true) {
            let range = SeqRange { first: next, last: next + rows.len() as i64 - 1 };
            next = range.last + 1;
            let temporary = folder.join(format!(".{}.new", range.file_name(Table::Changes)));
            let bytes = write_rows(&self.disk, &temporary, &self.cluster, &self.chunk.changes, rows, range.first)?;
            encoded.push(Encoded { day, range, temporary, bytes });
        }
        Ok(encoded)
    }
}

/// Writes some changes as a part: `rows` in the order of the stream get the seqs from `first_seq` on.
pub(super) fn write_rows(
    disk: &Disk,
    path: &Path,
    cluster: &str,
    changes: &[Change],
    mut rows: Vec<u32>,
    first_seq: i64,
) -> Result<u64, HistoryError> {
    let seqs = seqs_of(changes.len(), &rows, first_seq);
    let paths = sort_by_path(changes, &mut rows);
    let mut writer = PartWriter::create(disk, path, Table::Changes, cluster, paths)?;
    let arrow = |source| HistoryError::Arrow { path: path.to_owned(), source };
    let mut batch = ChangeRows::default();
    for piece in rows.chunks(BATCH_ROWS) {
        for row in piece {
            let at = *row as usize;
            batch.push_to(Day(0), seqs[at], &changes[at]).map_err(arrow)?;
        }
        for batch in batch.take().map_err(arrow)? {
            writer.write(&batch.batch)?;
        }
    }
    writer.finish()
}

/// The seq of each change that is among the rows.
fn seqs_of(changes: usize, rows: &[u32], first_seq: i64) -> Vec<i64> {
    let mut seqs = vec![0; changes];
    for (at, row) in rows.iter().enumerate() {
        seqs[*row as usize] = first_seq + at as i64;
    }
    seqs
}

/// A part that is whole and durable under a dot-name.
pub(super) struct Encoded {
    pub(super) day: Day,
    pub(super) range: SeqRange,
    pub(super) temporary: PathBuf,
    pub(super) bytes: u64,
}

impl Encoded {
    /// Puts it into its day and into the View, in one step.
    pub(super) fn place(self, history: &History) -> Result<Arc<Part>, HistoryError> {
        let (disk, layout, cluster) = (&history.disk, &history.layout, &history.cluster);
        let folder = layout.cluster(Table::Changes, cluster);
        let day_folder = layout.day(Table::Changes, cluster, self.day);
        let path = day_folder.join(self.range.file_name(Table::Changes));
        history.state.add_part(|| {
            disk.create_dir(&day_folder)?;
            disk.rename(&self.temporary, &path)?;
            disk.sync_dir(&day_folder)?;
            disk.sync_dir(&folder)?;
            Ok(Arc::new(Part::new(Table::Changes, cluster.clone(), self.day, self.range, path.clone(), self.bytes)))
        })
    }
}
