//! The head of a table: recorded rows that are not yet in a part, as the View holds them.
//!
//! Group commits at a low rate give batches of a row or two. They are merged as they come, the smaller into the larger,
//! so that a head of n rows has about log n batches and each row is copied about log n times.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::compute::concat_batches;
use arrow::datatypes::Int64Type;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;

use super::layout::{SeqRange, Table};
use super::view::HeadBatch;

#[cfg(test)]
mod tests;

/// Batches of so many rows or bytes are not merged any further.
const MERGED_ROWS_MAX: usize = 65_536;
const MERGED_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The seqs of a batch, whose rows are in their order; `None` for an empty one.
pub(crate) fn seqs(batch: &RecordBatch) -> Option<SeqRange> {
    let seqs = batch.column_by_name("seq")?.as_primitive_opt::<Int64Type>()?.values();
    Some(SeqRange { first: *seqs.first()?, last: *seqs.last()? })
}

/// The head with new batches after it. Batches with a row before `boundary` are being flushed and are left alone.
pub(crate) fn append(
    head: &[HeadBatch],
    new: impl IntoIterator<Item = HeadBatch>,
    boundary: i64,
) -> Result<Arc<[HeadBatch]>, ArrowError> {
    let mut head = head.to_vec();
    for batch in new {
        head.push(batch);
        while let [.., a, b] = head.as_slice()
            && mergeable(a, b, boundary)
        {
            let merged = concat_batches(&a.batch.schema(), [&a.batch, &b.batch])?;
            let day = a.day;
            head.truncate(head.len() - 2);
            head.push(HeadBatch { day, batch: merged });
        }
    }
    Ok(head.into())
}

fn mergeable(a: &HeadBatch, b: &HeadBatch, boundary: i64) -> bool {
    let (a_rows, b_rows) = (a.batch.num_rows(), b.batch.num_rows());
    a.day == b.day
        && a_rows < 2 * b_rows
        && a_rows + b_rows <= MERGED_ROWS_MAX
        && seqs(&a.batch).is_some_and(|seqs| seqs.first >= boundary)
        && a.batch.get_array_memory_size() + b.batch.get_array_memory_size() <= MERGED_BYTES_MAX
}

/// The head without the rows up to and with `last`, whose part is in place.
pub(crate) fn without(head: &[HeadBatch], last: i64) -> Arc<[HeadBatch]> {
    head.iter().filter(|batch| seqs(&batch.batch).is_some_and(|seqs| seqs.last > last)).cloned().collect()
}

/// The batches up to and with `last`, cut into runs of one day each: what becomes one part each.
pub(crate) fn runs(head: &[HeadBatch], last: i64) -> Vec<Vec<HeadBatch>> {
    let flushed: Vec<HeadBatch> =
        head.iter().filter(|batch| seqs(&batch.batch).is_some_and(|seqs| seqs.last <= last)).cloned().collect();
    flushed.chunk_by(|a, b| a.day == b.day).map(<[HeadBatch]>::to_vec).collect()
}

/// The tables that have a head, in the order in which they are flushed.
pub(crate) const TABLES: [Table; 3] = [Table::Changes, Table::Coverage, Table::Sessions];
