//! Writing and reading one part, a batch at a time.

use std::path::{Path, PathBuf};

use arrow::array::{Array, Int64Array};
use arrow::record_batch::RecordBatch;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReaderBuilder};
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::file::metadata::KeyValue;
use parquet::file::statistics::Statistics;

use super::super::disk::{Disk, DiskFile};
use super::super::error::HistoryError;
use super::super::layout::{SeqRange, Table};
use super::super::part::Part;
use super::super::parts::{ROW_GROUP_ROWS_MAX, writer_properties};

/// Encoded bytes of the row group under way, which are held in memory.
const ROW_GROUP_BYTES_MAX: usize = 64 << 20;
/// Bytes that the batches of one reader may take, by the average row of its part.
const READ_BATCH_BYTES_MAX: usize = 1 << 20;
const READ_BATCH_ROWS: std::ops::RangeInclusive<usize> = 16..=8192;

/// Writes a part into a folder, batch by batch in the table's order, under a dot-name until it is whole and durable.
pub struct PartWriter {
    disk: Disk,
    folder: PathBuf,
    dot_path: PathBuf,
    table: Table,
    seq: usize,
    writer: ArrowWriter<DiskFile>,
    range: Option<SeqRange>,
    rows: u64,
    /// Whether what is under the dot-name is wanted.
    whole: bool,
}

/// A part that is whole and fsynced under its name; the folder is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrittenPart {
    pub range: SeqRange,
    pub rows: u64,
    pub bytes: u64,
}

impl PartWriter {
    /// `more` goes into the file's key-value metadata.
    pub fn create(
        disk: &Disk,
        folder: &Path,
        table: Table,
        cluster: &str,
        more: &[(&str, String)],
    ) -> Result<Self, HistoryError> {
        let dot_path = folder.join(format!(".{}.writing", std::process::id()));
        let file = disk.create(&dot_path)?;
        let schema = table.schema();
        let seq = schema.index_of("seq").map_err(|source| HistoryError::Arrow { path: dot_path.clone(), source })?;
        let properties = writer_properties(table, cluster, ROW_GROUP_ROWS_MAX);
        let mut writer =
            ArrowWriter::try_new(file, schema, Some(properties)).map_err(|source| write_error(&dot_path, source))?;
        for (key, value) in more {
            writer.append_key_value_metadata(KeyValue::new((*key).to_owned(), value.clone()));
        }
        Ok(Self {
            disk: disk.clone(),
            folder: folder.to_owned(),
            dot_path,
            table,
            seq,
            writer,
            range: None,
            rows: 0,
            whole: false,
        })
    }

    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), HistoryError> {
        if let Some(seqs) = batch.columns().get(self.seq).and_then(|seqs| seqs.as_any().downcast_ref::<Int64Array>())
            && let (Some(first), Some(last)) = (arrow::compute::min(seqs), arrow::compute::max(seqs))
        {
            let range = self.range.get_or_insert(SeqRange { first, last });
            range.first = range.first.min(first);
            range.last = range.last.max(last);
        }
        self.rows += batch.num_rows() as u64;
        self.writer.write(batch).map_err(|source| write_error(&self.dot_path, source))?;
        if self.writer.in_progress_size() >= ROW_GROUP_BYTES_MAX {
            self.writer.flush().map_err(|source| write_error(&self.dot_path, source))?;
        }
        Ok(())
    }

    /// Completes the file, fsyncs it and gives it the name of the seqs in it; `range` is for a part that may be empty.
    /// The caller fsyncs the folder.
    pub fn finish(mut self, range: Option<SeqRange>) -> Result<WrittenPart, HistoryError> {
        let written = self.complete(range)?;
        self.disk.rename(&self.dot_path, &self.folder.join(written.range.file_name(self.table)))?;
        Ok(written)
    }

    /// As [`PartWriter::finish`], but leaves the file under its dot-name, which it gives.
    pub fn finish_under_dot_name(mut self, range: Option<SeqRange>) -> Result<(PathBuf, WrittenPart), HistoryError> {
        let written = self.complete(range)?;
        Ok((self.dot_path.clone(), written))
    }

    fn complete(&mut self, range: Option<SeqRange>) -> Result<WrittenPart, HistoryError> {
        let Some(range) = range.or(self.range) else {
            return Err(HistoryError::Unknown(format!("{} has no row, so it has no name", self.dot_path.display())));
        };
        self.writer.finish().map_err(|source| write_error(&self.dot_path, source))?;
        let file = self.writer.inner();
        file.sync()?;
        self.whole = true;
        Ok(WrittenPart { range, rows: self.rows, bytes: file.len_bytes()? })
    }
}

impl Drop for PartWriter {
    fn drop(&mut self) {
        if !self.whole
            && let Err(error) = self.disk.remove_file(&self.dot_path)
        {
            tracing::warn!(file = %self.dot_path.display(), %error, "an unfinished part stays until the next start");
        }
    }
}

/// A failed write inside of the Parquet writer keeps its kind, so that a full disk is told from a broken file.
fn write_error(path: &Path, source: parquet::errors::ParquetError) -> HistoryError {
    use parquet::errors::ParquetError;
    match source {
        ParquetError::External(error) => match error.downcast::<std::io::Error>() {
            Ok(source) => HistoryError::io("write to", path, *source),
            Err(error) => HistoryError::Parquet { path: path.to_owned(), source: ParquetError::External(error) },
        },
        source => HistoryError::Parquet { path: path.to_owned(), source },
    }
}

/// Reads a part in its order, in batches of bounded size.
pub(crate) fn read(
    part: &Part,
) -> Result<impl Iterator<Item = Result<RecordBatch, HistoryError>> + Send + use<>, HistoryError> {
    read_with(part, None, READ_BATCH_BYTES_MAX)
}

/// As [`read`], with batches of at most so many bytes, about: for many readers at once.
pub(super) fn read_bounded(
    part: &Part,
    batch_bytes_max: usize,
) -> Result<impl Iterator<Item = Result<RecordBatch, HistoryError>> + Send + use<>, HistoryError> {
    read_with(part, None, batch_bytes_max.min(READ_BATCH_BYTES_MAX))
}

/// As [`read`], with these columns only, in the order of the file.
pub(crate) fn read_projected(
    part: &Part,
    columns: &[&str],
) -> Result<impl Iterator<Item = Result<RecordBatch, HistoryError>> + Send + use<>, HistoryError> {
    read_with(part, Some(columns), READ_BATCH_BYTES_MAX)
}

fn read_with(
    part: &Part,
    columns: Option<&[&str]>,
    batch_bytes_max: usize,
) -> Result<impl Iterator<Item = Result<RecordBatch, HistoryError>> + Send + use<>, HistoryError> {
    let metadata = part.metadata()?;
    let rows = batch_rows(&metadata, columns, batch_bytes_max);
    let mask = match columns {
        Some(columns) => ProjectionMask::columns(metadata.parquet_schema(), columns.iter().copied()),
        None => ProjectionMask::all(),
    };
    let path = part.path();
    let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(part.open()?, metadata)
        .with_batch_size(rows)
        .with_projection(mask)
        .build()
        .map_err(|source| HistoryError::Parquet { path: path.clone(), source })?;
    Ok(reader.map(move |batch| batch.map_err(|source| HistoryError::Arrow { path: path.clone(), source })))
}

/// As many rows as keep a batch of this part small.
fn batch_rows(metadata: &ArrowReaderMetadata, columns: Option<&[&str]>, batch_bytes_max: usize) -> usize {
    let mut bytes = 0;
    let mut rows = 0;
    for group in metadata.metadata().row_groups() {
        rows += group.num_rows().max(0) as usize;
        for column in group.columns() {
            let path = column.column_path().string();
            if columns.is_none_or(|columns| columns.contains(&path.as_str())) {
                // A dictionary makes the pages small; the value that every row gets is not.
                let decoded = column.unencoded_byte_array_data_bytes().unwrap_or(0) + 8 * group.num_rows();
                bytes += column.uncompressed_size().max(decoded).max(0) as usize;
            }
        }
    }
    let row_bytes = (bytes / rows.max(1)).max(1);
    (batch_bytes_max / row_bytes).clamp(*READ_BATCH_ROWS.start(), *READ_BATCH_ROWS.end())
}

/// The smallest and greatest value of an integer column, from the part's statistics; `None` where they do not tell.
pub(crate) fn int64_range(part: &Part, column: &str) -> Result<Option<(i64, i64)>, HistoryError> {
    let metadata = part.metadata()?;
    let mut range: Option<(i64, i64)> = None;
    for group in metadata.metadata().row_groups() {
        let found = group.columns().iter().find(|chunk| chunk.column_path().string() == column);
        let bounds = match found.and_then(|chunk| chunk.statistics()) {
            Some(Statistics::Int64(values)) => values.min_opt().copied().zip(values.max_opt().copied()),
            Some(Statistics::Int32(values)) => {
                values.min_opt().zip(values.max_opt()).map(|(min, max)| (i64::from(*min), i64::from(*max)))
            }
            _ => None,
        };
        let Some((min, max)) = bounds else { return Ok(None) };
        range = Some(range.map_or((min, max), |(low, high)| (low.min(min), high.max(max))));
    }
    Ok(range)
}
