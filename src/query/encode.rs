//! Rows as text and bytes: the one place that says how a value looks, for the HTTP door and the command line alike.
//!
//! | value | JSON | CSV | table |
//! | --- | --- | --- | --- |
//! | zxids, versions, counts | number | number | number |
//! | session ids, owners, hashes | `"0x…"` | `0x…` | `0x…` |
//! | times | RFC 3339, UTC, `Z` | the same | the same |
//! | intervals | `"1 day 02:00:00"` | the same | the same |
//! | binary | base64 | base64 | its text if printable, else `0x…` |
//! | null, NaN, infinite | `null` | empty | empty |
//! | empty text | `""` | `""` | empty |
//!
//! Every encoder takes batch after batch and appends to a buffer of the caller's, so that an answer is never held whole.

mod cell;
mod csv;
mod expanded;
mod json;
mod parquet;
mod table;
mod width;

pub use csv::CsvEncoder;
pub use expanded::ExpandedEncoder;
pub use json::JsonEncoder;
pub use parquet::ParquetEncoder;
pub use table::TableEncoder;

use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use arrow::record_batch::RecordBatch;

/// Rows as an Arrow IPC stream.
pub struct ArrowEncoder {
    writer: StreamWriter<Vec<u8>>,
}

impl ArrowEncoder {
    pub fn new(schema: &SchemaRef) -> Result<Self, ArrowError> {
        Ok(Self { writer: StreamWriter::try_new(Vec::new(), schema)? })
    }

    /// Appends a batch; the stream's schema comes before the first.
    pub fn batch(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        self.writer.write(batch)?;
        out.append(self.writer.get_mut());
        Ok(())
    }

    /// Appends the end of the stream.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        self.writer.finish()?;
        out.append(self.writer.get_mut());
        Ok(())
    }
}

#[cfg(test)]
mod tests;
