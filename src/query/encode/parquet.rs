use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

/// Rows as a Parquet file, zstd-compressed. A row group goes out when it has [`ROW_GROUP_BYTES_MAX`], the footer at the
/// end: a file that was broken off has none, and is none to any reader.
pub struct ParquetEncoder {
    writer: ArrowWriter<Vec<u8>>,
}

/// What a row group holds in memory before it is written, encoded and not yet compressed.
const ROW_GROUP_BYTES_MAX: usize = 16 << 20;
const ZSTD_LEVEL: i32 = 3;

impl ParquetEncoder {
    /// Fails where Parquet has nothing like one of the columns' types.
    pub fn new(schema: &SchemaRef) -> Result<Self, ParquetError> {
        // The writer would find out at the first row.
        if let Some(field) = schema.fields().iter().find(|field| matches!(field.data_type(), DataType::Interval(_))) {
            return Err(ParquetError::NYI(format!("an interval, as in the column {:?}", field.name())));
        }
        let zstd = Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?);
        let properties = WriterProperties::builder().set_compression(zstd).build();
        Ok(Self { writer: ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties))? })
    }

    /// Takes a batch, and appends what is ready to go out.
    pub fn batch(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), ParquetError> {
        self.writer.write(batch)?;
        if self.writer.in_progress_size() >= ROW_GROUP_BYTES_MAX {
            self.writer.flush()?;
        }
        // The writer counts its own offsets: what lies in its buffer may be taken at any time.
        out.append(self.writer.inner_mut());
        Ok(())
    }

    /// Appends the last row group and the footer.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<(), ParquetError> {
        self.writer.finish()?;
        out.append(self.writer.inner_mut());
        Ok(())
    }
}
