//! Writing a part: sort, encode as Parquet, make durable, put in place.
//!
//! A part is written under a name with a leading dot in the *cluster's* folder, fsynced, then renamed into its day.
//! It is not written inside the day's folder: an exchange of that day would carry the unfinished file away.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{AsArray, PrimitiveArray, RecordBatch, StringArray};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::{ArrowPrimitiveType, Int32Type, Int64Type};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::disk::{Disk, DiskFile};
use super::error::HistoryError;
use super::head;
use super::layout::{Day, Layout, SeqRange, Table};
use super::part::Part;
use super::schema;
use super::state::State;
use super::view::{HeadBatch, View};

#[cfg(test)]
mod tests;

/// Rows of a row group.
pub const ROW_GROUP_ROWS_MAX: usize = 131_072;
/// Bounds of a data page: small enough for the page index to skip most of a row group.
pub const PAGE_ROWS_MAX: usize = 4_096;
pub const PAGE_BYTES_MAX: usize = 1024 * 1024;
const ZSTD_LEVEL: i32 = 3;
/// Rows sorted into one batch while a part is written.
const BATCH_ROWS: usize = 8_192;

/// Columns that are written as differences instead of with a dictionary.
const DIFFERENCES: &[(&str, Encoding)] = &[
    ("path", Encoding::DELTA_BYTE_ARRAY),
    ("seq", Encoding::DELTA_BINARY_PACKED),
    ("position", Encoding::DELTA_BINARY_PACKED),
    ("zxid", Encoding::DELTA_BINARY_PACKED),
    ("czxid", Encoding::DELTA_BINARY_PACKED),
    ("mzxid", Encoding::DELTA_BINARY_PACKED),
    ("pzxid", Encoding::DELTA_BINARY_PACKED),
    ("time", Encoding::DELTA_BINARY_PACKED),
    ("observed_at", Encoding::DELTA_BINARY_PACKED),
    ("ctime", Encoding::DELTA_BINARY_PACKED),
    ("mtime", Encoding::DELTA_BINARY_PACKED),
];

/// How every Parquet file of a table is written. `paths_max` bounds the distinct paths of a row group: it sizes the bloom
/// filter.
pub fn writer_properties(table: Table, cluster: &str, paths_max: usize) -> WriterProperties {
    let schema = table.schema();
    let sorted: &[&str] = match table {
        Table::Changes => &["path", "position", "ordinal", "seq"],
        Table::Snapshots => &["path"],
        Table::Coverage | Table::Sessions | Table::Audit => &["seq"],
    };
    let sorted = sorted.iter().filter_map(|name| schema.index_of(name).ok()).map(|index| SortingColumn {
        column_idx: index as i32,
        descending: false,
        nulls_first: false,
    });
    let metadata = |key: &str, value: String| KeyValue::new(key.to_owned(), value);
    let mut properties = WriterProperties::builder()
        .set_created_by(format!("zktrail version {}", env!("CARGO_PKG_VERSION")))
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL).unwrap_or_default()))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS_MAX))
        .set_data_page_row_count_limit(PAGE_ROWS_MAX)
        .set_data_page_size_limit(PAGE_BYTES_MAX)
        .set_sorting_columns(Some(sorted.collect()))
        .set_key_value_metadata(Some(vec![
            metadata(schema::FORMAT_VERSION_KEY, schema::FORMAT_VERSION.to_string()),
            metadata("zktrail.cluster", cluster.to_owned()),
            metadata("zktrail.table", table.as_str().to_owned()),
        ]));
    if matches!(table, Table::Changes | Table::Snapshots) {
        let path = ColumnPath::from("path");
        let data = ColumnPath::from("data");
        properties = properties
            .set_column_bloom_filter_enabled(path.clone(), true)
            .set_column_bloom_filter_fpp(path.clone(), 0.01)
            .set_column_bloom_filter_max_ndv(path, paths_max.clamp(1, ROW_GROUP_ROWS_MAX) as u64)
            // Smallest and greatest value prune nothing, and would keep values outside of the column's pages.
            .set_column_statistics_enabled(data, EnabledStatistics::None);
        // Numbers that hardly repeat, and paths in their order, pack better as differences; and a reader of many parts
        // at once then holds no dictionary of them.
        for (name, encoding) in DIFFERENCES {
            if schema.index_of(name).is_ok() {
                let column = ColumnPath::from(*name);
                properties = properties
                    .set_column_dictionary_enabled(column.clone(), false)
                    .set_column_encoding(column, *encoding);
            }
        }
    }
    properties.build()
}

/// Writes one Parquet file of a table; it is durable, under its name, after [`PartWriter::finish`] and an fsync of its
/// folder.
pub struct PartWriter {
    writer: ArrowWriter<DiskFile>,
    path: PathBuf,
}

impl PartWriter {
    pub fn create(
        disk: &Disk,
        path: &Path,
        table: Table,
        cluster: &str,
        paths_max: usize,
    ) -> Result<Self, HistoryError> {
        let file = disk.create(path)?;
        let properties = writer_properties(table, cluster, paths_max);
        let writer = ArrowWriter::try_new(file, table.schema(), Some(properties));
        let writer = writer.map_err(|source| parquet_error(path, source))?;
        Ok(Self { writer, path: path.to_owned() })
    }

    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), HistoryError> {
        self.writer.write(batch).map_err(|source| parquet_error(&self.path, source))
    }

    /// Writes the footer and fsyncs the file. Returns its length in bytes.
    pub fn finish(mut self) -> Result<u64, HistoryError> {
        // Not into_inner, which turns an I/O error into text.
        self.writer.finish().map_err(|source| parquet_error(&self.path, source))?;
        let file = self.writer.inner();
        file.sync()?;
        file.len_bytes()
    }
}

/// An I/O error inside stays one, so that a full disk is told from a broken file.
fn parquet_error(path: &Path, source: ParquetError) -> HistoryError {
    match source {
        ParquetError::External(inner) => match inner.downcast::<std::io::Error>() {
            Ok(source) => HistoryError::io("write to", path, *source),
            Err(inner) => HistoryError::Parquet { path: path.to_owned(), source: ParquetError::External(inner) },
        },
        source => HistoryError::Parquet { path: path.to_owned(), source },
    }
}

/// Where a flush writes to.
pub(crate) struct Flusher<'a> {
    pub disk: &'a Disk,
    pub layout: &'a Layout,
    pub state: &'a State,
    pub cluster: &'a Arc<str>,
}

impl Flusher<'_> {
    /// Moves the head of a table, up to and with the row `last`, into parts, in the order of `seq`.
    /// Each part takes the place of its rows in the View in one step. Returns the new parts with their rows.
    pub fn flush(&self, table: Table, last: i64) -> Result<Vec<(Arc<Part>, usize)>, HistoryError> {
        let mut parts = Vec::new();
        for run in head::runs(self.state.view().head(table), last) {
            let rows = run.iter().map(|batch| batch.batch.num_rows()).sum();
            parts.push((self.write_run(table, &run)?, rows));
        }
        Ok(parts)
    }

    fn write_run(&self, table: Table, run: &[HeadBatch]) -> Result<Arc<Part>, HistoryError> {
        let (Some(day), Some(first), Some(last)) = (
            run.first().map(|batch| batch.day),
            run.first().and_then(|batch| head::seqs(&batch.batch)),
            run.last().and_then(|batch| head::seqs(&batch.batch)),
        ) else {
            return Err(HistoryError::Unknown("a part without rows was to be written".to_owned()));
        };
        let range = SeqRange { first: first.first, last: last.last };
        let name = range.file_name(table);
        let folder = self.layout.cluster(table, self.cluster);
        self.disk.create_dir(&folder)?;
        let temporary = folder.join(format!(".{name}.new"));
        let bytes = self.write_file(&temporary, table, run)?;
        let day_folder = self.layout.day(table, self.cluster, day);
        let path = day_folder.join(&name);
        self.state.add_part_and(
            || {
                self.disk.create_dir(&day_folder)?;
                self.disk.rename(&temporary, &path)?;
                self.disk.sync_dir(&day_folder)?;
                self.disk.sync_dir(&folder)?;
                Ok(Arc::new(Part::new(table, self.cluster.clone(), day, range, path.clone(), bytes)))
            },
            |view| flushed(view, table, range.last),
        )
    }

    fn write_file(&self, path: &Path, table: Table, run: &[HeadBatch]) -> Result<u64, HistoryError> {
        let batches: Vec<&RecordBatch> = run.iter().map(|batch| &batch.batch).collect();
        let arrow = |source| HistoryError::Arrow { path: path.to_owned(), source };
        if table != Table::Changes {
            let mut writer = PartWriter::create(self.disk, path, table, self.cluster, 0)?;
            for batch in batches {
                writer.write(batch)?;
            }
            return writer.finish();
        }
        let (order, paths) = sorted(&batches)?;
        let mut writer = PartWriter::create(self.disk, path, table, self.cluster, paths)?;
        for rows in order.chunks(BATCH_ROWS) {
            writer.write(&interleave_record_batch(&batches, rows).map_err(arrow)?)?;
        }
        writer.finish()
    }
}

fn flushed(view: &mut View, table: Table, last: i64) {
    match table {
        Table::Changes => view.changes.head = head::without(&view.changes.head, last),
        Table::Coverage => view.coverage.head = head::without(&view.coverage.head, last),
        Table::Sessions => view.sessions.head = head::without(&view.sessions.head, last),
        Table::Audit | Table::Snapshots => {}
    }
}

/// The rows of `changes` batches as (batch, row) in the order (path, position, ordinal, seq), and how many paths they have.
fn sorted(batches: &[&RecordBatch]) -> Result<(Vec<(usize, usize)>, usize), HistoryError> {
    struct Keys<'a> {
        path: &'a StringArray,
        position: &'a [i64],
        ordinal: &'a [i32],
        seq: &'a [i64],
    }
    let mut keys = Vec::with_capacity(batches.len());
    for batch in batches {
        let path = batch.column_by_name("path").and_then(|column| column.as_string_opt::<i32>());
        keys.push(Keys {
            path: path.ok_or_else(|| missing("path"))?,
            position: values::<Int64Type>(batch, "position")?,
            ordinal: values::<Int32Type>(batch, "ordinal")?,
            seq: values::<Int64Type>(batch, "seq")?,
        });
    }
    let rows = keys.iter().enumerate().flat_map(|(batch, keys)| (0..keys.seq.len()).map(move |row| (batch, row)));
    let mut order: Vec<(usize, usize)> = rows.collect();
    let rest = |(batch, row): (usize, usize)| {
        let keys = &keys[batch];
        (keys.position[row], keys.ordinal[row], keys.seq[row])
    };
    let path = |(batch, row): (usize, usize)| keys[batch].path.value(row).as_bytes();
    order.sort_unstable_by(|&a, &b| path(a).cmp(path(b)).then_with(|| rest(a).cmp(&rest(b))));
    let paths = order.chunk_by(|&a, &b| path(a) == path(b)).count();
    Ok((order, paths))
}

fn values<'a, T: ArrowPrimitiveType>(batch: &'a RecordBatch, name: &str) -> Result<&'a [T::Native], HistoryError> {
    let column: Option<&PrimitiveArray<T>> = batch.column_by_name(name).and_then(|column| column.as_primitive_opt());
    column.map(|column| &column.values()[..]).ok_or_else(|| missing(name))
}

fn missing(column: &str) -> HistoryError {
    HistoryError::Unknown(format!("recorded rows lack the column {column}"))
}

/// Names the parts of a table that are in place, in the order of their first seq. Reads no file.
pub fn list_parts(layout: &Layout, table: Table, cluster: &Arc<str>) -> Result<Vec<Arc<Part>>, HistoryError> {
    let folder = layout.cluster(table, cluster);
    let mut parts = Vec::new();
    for day in layout.days(table, cluster).map_err(|source| HistoryError::io("list", &folder, source))? {
        parts.extend(list_day(layout, table, cluster, day)?);
    }
    parts.sort_by_key(|part| part.range);
    Ok(parts)
}

fn list_day(layout: &Layout, table: Table, cluster: &Arc<str>, day: Day) -> Result<Vec<Arc<Part>>, HistoryError> {
    let folder = layout.day(table, cluster, day);
    let mut parts = Vec::new();
    for name in super::layout::list(&folder).map_err(|source| HistoryError::io("list", &folder, source))? {
        let Some(range) = SeqRange::parse(table, &name) else { continue };
        let path = folder.join(name);
        match std::fs::metadata(&path) {
            Ok(metadata) => {
                parts.push(Arc::new(Part::new(table, cluster.clone(), day, range, path, metadata.len())));
            }
            // Exchanged or dropped between the two calls; who needs a consistent list compares two of them.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => return Err(HistoryError::io("read the length of", &path, source)),
        }
    }
    Ok(parts)
}
