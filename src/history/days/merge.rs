//! Merges sorted runs into one, holding a batch of each: an LSM tree's merge over record batches.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int32Array, Int64Array, StringArray};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::{Int32Type, Int64Type};
use arrow::record_batch::RecordBatch;

use super::super::error::HistoryError;

/// Bytes that an output batch takes, about.
const OUTPUT_BYTES_MAX: usize = 4 << 20;
const OUTPUT_ROWS_MAX: usize = 8192;

/// A sorted run: batches of one schema.
pub(in crate::history) type Run = Box<dyn Iterator<Item = Result<RecordBatch, HistoryError>> + Send>;

/// The order of the runs and of what comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::history) enum Order {
    /// Of a part of changes: (path, position, ordinal, seq).
    Changes,
    /// Of a part of coverage, sessions or audit.
    Seq,
}

/// The columns that rows are compared by.
#[expect(clippy::large_enum_variant, reason = "one a batch, behind an Arc")]
#[derive(Debug)]
enum Keys {
    Changes { path: StringArray, position: Int64Array, ordinal: Int32Array, seq: Int64Array },
    Seq(Int64Array),
}

impl Keys {
    fn new(order: Order, batch: &RecordBatch) -> Result<Self, HistoryError> {
        Ok(match order {
            Order::Seq => Self::Seq(int64(batch, "seq")?),
            Order::Changes => Self::Changes {
                path: column(batch, "path", |column| column.as_string_opt::<i32>().cloned())?,
                position: int64(batch, "position")?,
                ordinal: int32(batch, "ordinal")?,
                seq: int64(batch, "seq")?,
            },
        })
    }

    fn compare(&self, row: usize, other: &Self, other_row: usize) -> Ordering {
        match (self, other) {
            (
                Self::Changes { path, position, ordinal, seq },
                Self::Changes { path: path_b, position: position_b, ordinal: ordinal_b, seq: seq_b },
            ) => path
                .value(row)
                .as_bytes()
                .cmp(path_b.value(other_row).as_bytes())
                .then_with(|| position.value(row).cmp(&position_b.value(other_row)))
                .then_with(|| ordinal.value(row).cmp(&ordinal_b.value(other_row)))
                .then_with(|| seq.value(row).cmp(&seq_b.value(other_row))),
            (Self::Seq(seq), Self::Seq(seq_b)) => seq.value(row).cmp(&seq_b.value(other_row)),
            // One merge has one order.
            _ => Ordering::Equal,
        }
    }
}

/// Merges runs; what comes out is sorted where the runs are.
pub(in crate::history) struct Merge {
    order: Order,
    runs: Vec<Run>,
    heap: BinaryHeap<Head>,
    started: bool,
    /// The batches that the rows under way are in.
    window: Vec<RecordBatch>,
    failed: bool,
}

/// The next row of a run.
struct Head {
    keys: Arc<Keys>,
    row: usize,
    rows: usize,
    run: usize,
    /// Where its batch is in the window.
    window: usize,
    batch: RecordBatch,
    row_bytes: usize,
}

impl Ord for Head {
    /// Reversed: the heap gives the greatest.
    fn cmp(&self, other: &Self) -> Ordering {
        other.keys.compare(other.row, &self.keys, self.row).then_with(|| other.run.cmp(&self.run))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Head {}

impl Merge {
    pub(in crate::history) fn new(order: Order, runs: Vec<Run>) -> Self {
        Self { order, runs, heap: BinaryHeap::new(), started: false, window: Vec::new(), failed: false }
    }

    fn load(&mut self, run: usize) -> Result<Option<Head>, HistoryError> {
        let Some(batches) = self.runs.get_mut(run) else { return Ok(None) };
        for batch in batches {
            let batch = batch?;
            if batch.num_rows() > 0 {
                let keys = Arc::new(Keys::new(self.order, &batch)?);
                let window = self.window.len();
                self.window.push(batch.clone());
                let rows = batch.num_rows();
                let row_bytes = batch.get_array_memory_size() / rows;
                return Ok(Some(Head { keys, row: 0, rows, run, window, batch, row_bytes }));
            }
        }
        Ok(None)
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>, HistoryError> {
        if !self.started {
            self.started = true;
            for run in 0..self.runs.len() {
                if let Some(head) = self.load(run)? {
                    self.heap.push(head);
                }
            }
        }
        // The window starts with the batches that the heads are in.
        self.window.clear();
        let mut heads = std::mem::take(&mut self.heap).into_vec();
        for head in &mut heads {
            head.window = self.window.len();
            self.window.push(head.batch.clone());
        }
        self.heap = heads.into();

        let mut rows: Vec<(usize, usize)> = Vec::with_capacity(OUTPUT_ROWS_MAX);
        let mut bytes = 0;
        while rows.len() < OUTPUT_ROWS_MAX && bytes < OUTPUT_BYTES_MAX {
            let Some(mut head) = self.heap.peek_mut() else { break };
            rows.push((head.window, head.row));
            bytes += head.row_bytes;
            if head.row + 1 < head.rows {
                head.row += 1;
            } else {
                let done = PeekMut::pop(head).run;
                if let Some(head) = self.load(done)? {
                    self.heap.push(head);
                }
            }
        }
        if rows.is_empty() {
            return Ok(None);
        }
        let window: Vec<&RecordBatch> = self.window.iter().collect();
        let batch = interleave_record_batch(&window, &rows).map_err(|source| {
            HistoryError::Unknown(format!("cannot put {} merged rows together: {source}", rows.len()))
        })?;
        Ok(Some(batch))
    }
}

impl Iterator for Merge {
    type Item = Result<RecordBatch, HistoryError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.next_batch().transpose();
        self.failed = matches!(next, Some(Err(_)));
        next
    }
}

fn column<A>(batch: &RecordBatch, name: &str, get: impl Fn(&ArrayRef) -> Option<A>) -> Result<A, HistoryError> {
    batch
        .column_by_name(name)
        .and_then(get)
        .ok_or_else(|| HistoryError::Unknown(format!("a part has no column {name} of the type that it should have")))
}

pub(super) fn int64(batch: &RecordBatch, name: &str) -> Result<Int64Array, HistoryError> {
    column(batch, name, |column| column.as_primitive_opt::<Int64Type>().cloned())
}

pub(super) fn int32(batch: &RecordBatch, name: &str) -> Result<Int32Array, HistoryError> {
    column(batch, name, |column| column.as_primitive_opt::<Int32Type>().cloned())
}
