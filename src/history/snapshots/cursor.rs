use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Int32Array, Int64Array, StringArray};
use arrow::datatypes::{Int32Type, Int64Type};
use arrow::record_batch::RecordBatch;

use super::super::error::HistoryError;
use super::spill::Value;
use crate::zk::Zxid;

/// A sorted run of values: batches with (at least) the columns of a value.
pub(super) type Batches = Box<dyn Iterator<Item = Result<RecordBatch, HistoryError>> + Send>;

/// Walks values sorted by path, holding one batch.
pub(super) struct Cursor {
    batches: Batches,
    batch: Option<Columns>,
    row: usize,
}

impl Cursor {
    pub(super) fn new(batches: Batches) -> Result<Self, HistoryError> {
        let mut cursor = Self { batches, batch: None, row: 0 };
        cursor.load()?;
        Ok(cursor)
    }

    /// The value that it stands at; `None` at the end.
    pub(super) fn value(&self) -> Option<Value<'_>> {
        self.batch.as_ref().map(|batch| batch.value(self.row))
    }

    pub(super) fn advance(&mut self) -> Result<(), HistoryError> {
        self.row += 1;
        if self.batch.as_ref().is_some_and(|batch| self.row >= batch.path.len()) {
            self.load()?;
        }
        Ok(())
    }

    /// Goes to the next batch that has a row.
    fn load(&mut self) -> Result<(), HistoryError> {
        self.row = 0;
        self.batch = None;
        for batch in &mut self.batches {
            let batch = batch?;
            if batch.num_rows() > 0 {
                self.batch = Some(Columns::new(&batch)?);
                break;
            }
        }
        Ok(())
    }
}

struct Columns {
    path: StringArray,
    czxid: Int64Array,
    version: Int32Array,
    mzxid: Int64Array,
    data: BinaryArray,
    data_length: Int32Array,
    data_hash: Int64Array,
    seq: Int64Array,
    /// A snapshot has none: it shows what the last left.
    ordinal: Option<Int32Array>,
}

impl Columns {
    fn new(batch: &RecordBatch) -> Result<Self, HistoryError> {
        let int64 = |name| column(batch, name, |column| column.as_primitive_opt::<Int64Type>().cloned());
        let int32 = |name| column(batch, name, |column| column.as_primitive_opt::<Int32Type>().cloned());
        Ok(Self {
            path: column(batch, "path", |column| column.as_string_opt::<i32>().cloned())?,
            czxid: int64("czxid")?,
            version: int32("version")?,
            mzxid: int64("mzxid")?,
            data: column(batch, "data", |column| column.as_binary_opt::<i32>().cloned())?,
            data_length: int32("data_length")?,
            data_hash: int64("data_hash")?,
            seq: int64("seq")?,
            ordinal: batch.column_by_name("ordinal").and_then(|column| column.as_primitive_opt::<Int32Type>().cloned()),
        })
    }

    fn value(&self, row: usize) -> Value<'_> {
        let int64 = |column: &Int64Array| column.is_valid(row).then(|| column.value(row));
        let int32 = |column: &Int32Array| column.is_valid(row).then(|| column.value(row));
        Value {
            path: self.path.value(row),
            czxid: int64(&self.czxid).map(Zxid),
            version: int32(&self.version),
            mzxid: int64(&self.mzxid).map(Zxid),
            data: self.data.is_valid(row).then(|| self.data.value(row)),
            data_length: int32(&self.data_length),
            data_hash: int64(&self.data_hash),
            seq: self.seq.value(row),
            ordinal: self.ordinal.as_ref().map_or(i32::MAX, |ordinal| ordinal.value(row)),
        }
    }
}

pub(super) fn column<A>(
    batch: &RecordBatch,
    name: &str,
    get: impl Fn(&ArrayRef) -> Option<A>,
) -> Result<A, HistoryError> {
    batch
        .column_by_name(name)
        .and_then(get)
        .ok_or_else(|| HistoryError::Unknown(format!("a part has no column {name} of the type that it should have")))
}
