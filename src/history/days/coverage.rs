//! Joins coverage intervals that were closed only to be continued.

use std::collections::HashMap;

use arrow::array::{Array, AsArray, Int64Array, StringArray, TimestampMicrosecondArray, UInt64Array};
use arrow::compute::{concat_batches, sort_to_indices, take, take_record_batch};
use arrow::datatypes::TimestampMicrosecondType;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;

use super::merge::{int32, int64};
use crate::history::error::HistoryError;
use crate::history::schema;
use crate::zk::Ended;

/// Joins each interval that ended as `rolled` with the one that continues it at that very moment and zxid.
///
/// The joined row begins as the first and is otherwise the last of them, with the last one's seq: seqs stay unique, the
/// highest stays, and what is covered stays the same. Rows come out in the order of their seq. The row of the lowest seq
/// is joined with none: the day's one part, named by its seqs, then has a name that no part before it had.
pub(super) fn join_rolled(batches: &[RecordBatch]) -> Result<RecordBatch, HistoryError> {
    join(batches)
        .map_err(|source| HistoryError::Unknown(format!("cannot join the coverage intervals of a day: {source}")))?
}

fn join(batches: &[RecordBatch]) -> Result<Result<RecordBatch, HistoryError>, ArrowError> {
    let all = concat_batches(&schema::COVERAGE, batches)?;
    let by_seq = match all.column_by_name("seq") {
        Some(seq) => sort_to_indices(seq, None, None)?,
        None => return Err(ArrowError::SchemaError("no column seq".to_owned())),
    };
    let all = take_record_batch(&all, &by_seq)?;
    let rows = match Rows::new(&all) {
        Ok(rows) => rows,
        Err(error) => return Ok(Err(error)),
    };

    // (first, last) row of each joined interval, in the order of the last.
    let mut joined: Vec<Option<(usize, usize)>> = Vec::with_capacity(all.num_rows());
    let mut latest: HashMap<(i32, &str, &str, &str), usize> = HashMap::new();
    for row in 0..all.num_rows() {
        let key = rows.scope(row);
        let continued = latest.get(&key).copied();
        let before = continued
            .and_then(|at| joined.get_mut(at))
            .filter(|before| before.is_some_and(|(_, last)| last > 0 && rows.continues(last, row)));
        let first = before.and_then(Option::take).map_or(row, |(first, _)| first);
        latest.insert(key, joined.len());
        joined.push(Some((first, row)));
    }
    let joined: Vec<(usize, usize)> = joined.into_iter().flatten().collect();
    let first = UInt64Array::from_iter_values(joined.iter().map(|(first, _)| *first as u64));
    let last = UInt64Array::from_iter_values(joined.iter().map(|(_, last)| *last as u64));
    let mut columns = Vec::with_capacity(all.num_columns());
    for (field, column) in all.schema().fields().iter().zip(all.columns()) {
        let begins = matches!(field.name().as_str(), "from_time" | "from_zxid" | "missed_at_least");
        columns.push(take(column, if begins { &first } else { &last }, None)?);
    }
    Ok(Ok(RecordBatch::try_new(all.schema(), columns)?))
}

struct Rows {
    incarnation: arrow::array::Int32Array,
    source: StringArray,
    path: StringArray,
    aspect: StringArray,
    from_time: TimestampMicrosecondArray,
    to_time: TimestampMicrosecondArray,
    from_zxid: Int64Array,
    to_zxid: Int64Array,
    ended: StringArray,
    missed_at_least: Int64Array,
}

impl Rows {
    fn new(batch: &RecordBatch) -> Result<Self, HistoryError> {
        let missing = |name: &str| HistoryError::Unknown(format!("a coverage part has no proper column {name}"));
        let text = |name: &str| {
            batch.column_by_name(name).and_then(|c| c.as_string_opt::<i32>().cloned()).ok_or_else(|| missing(name))
        };
        let time = |name: &str| {
            let column = batch.column_by_name(name);
            column.and_then(|c| c.as_primitive_opt::<TimestampMicrosecondType>().cloned()).ok_or_else(|| missing(name))
        };
        Ok(Self {
            incarnation: int32(batch, "incarnation")?,
            source: text("source")?,
            path: text("path")?,
            aspect: text("aspect")?,
            from_time: time("from_time")?,
            to_time: time("to_time")?,
            from_zxid: int64(batch, "from_zxid")?,
            to_zxid: int64(batch, "to_zxid")?,
            ended: text("ended")?,
            missed_at_least: int64(batch, "missed_at_least")?,
        })
    }

    fn scope(&self, row: usize) -> (i32, &str, &str, &str) {
        (self.incarnation.value(row), self.source.value(row), self.path.value(row), self.aspect.value(row))
    }

    /// Whether nothing at all lies between two intervals of one scope.
    fn continues(&self, before: usize, row: usize) -> bool {
        self.ended.is_valid(before)
            && self.ended.value(before) == Ended::Rolled.as_str()
            && self.to_time.value(before) == self.from_time.value(row)
            && self.to_zxid.value(before) == self.from_zxid.value(row)
            && self.missed_at_least.value(row) == 0
    }
}
