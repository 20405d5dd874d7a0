use std::ops::Range;
use std::path::PathBuf;

use arrow::record_batch::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowSelection,
};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::statistics::Statistics;

use super::ranges::PathRanges;
use crate::history::error::HistoryError;
use crate::history::layout::Table;
use crate::history::part::Part;

/// Reads chosen columns of a part, in its order, skipping the row groups and pages that hold none of the paths.
///
/// Memory: one decompressed page (and dictionary) a column, and one batch.
pub(crate) struct PartReader {
    reader: Option<ParquetRecordBatchReader>,
    place: PathBuf,
}

impl PartReader {
    /// `keep` decides on a row group by its statistics: it may only refuse one that holds nothing wanted.
    pub(crate) fn open(
        part: &Part,
        names: &[&str],
        batch_rows: usize,
        paths: &PathRanges,
        keep: impl Fn(&RowGroup<'_>) -> bool,
    ) -> Result<Self, HistoryError> {
        let metadata = part.metadata()?;
        let path_column = column_index(&metadata, "path");
        let mut groups = Vec::new();
        let mut selected: Vec<Range<usize>> = Vec::new();
        let mut rows = 0;
        for (at, group) in metadata.metadata().row_groups().iter().enumerate() {
            let group_rows = usize::try_from(group.num_rows()).unwrap_or(0);
            let view = RowGroup { metadata: &metadata, group };
            let wanted =
                keep(&view) && (paths.is_all() || view.bytes("path").is_none_or(|(min, max)| paths.overlaps(min, max)));
            if !wanted {
                continue;
            }
            groups.push(at);
            match path_column.filter(|_| !paths.is_all()) {
                Some(column) => page_ranges(metadata.metadata(), at, column, group_rows, paths, rows, &mut selected),
                None => push_range(&mut selected, rows..rows + group_rows),
            }
            rows += group_rows;
        }
        let place = part.path();
        if selected.is_empty() {
            return Ok(Self { reader: None, place });
        }
        let broken = |source| HistoryError::Parquet { path: part.path(), source };
        let schema = metadata.parquet_schema();
        let mask = ProjectionMask::columns(schema, names.iter().copied());
        let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(part.open()?, metadata.clone())
            .with_projection(mask)
            .with_row_groups(groups)
            .with_batch_size(batch_rows.max(1));
        if selected.iter().map(Range::len).sum::<usize>() < rows {
            builder = builder.with_row_selection(RowSelection::from_consecutive_ranges(selected.into_iter(), rows));
        }
        Ok(Self { reader: Some(builder.build().map_err(broken)?), place })
    }

    /// Where the file was when it was opened.
    pub(crate) fn place(&self) -> &std::path::Path {
        &self.place
    }

    pub(crate) fn next(&mut self) -> Result<Option<RecordBatch>, HistoryError> {
        let Some(reader) = &mut self.reader else { return Ok(None) };
        loop {
            match reader.next() {
                None => {
                    self.reader = None;
                    return Ok(None);
                }
                Some(Ok(batch)) if batch.num_rows() == 0 => {}
                Some(Ok(batch)) => return Ok(Some(batch)),
                Some(Err(source)) => {
                    self.reader = None;
                    return Err(HistoryError::Arrow { path: self.place.clone(), source });
                }
            }
        }
    }
}

/// A row group's statistics by column name; `None` where the file has none.
pub(crate) struct RowGroup<'a> {
    metadata: &'a ArrowReaderMetadata,
    group: &'a RowGroupMetaData,
}

impl<'a> RowGroup<'a> {
    /// The bounds of an integer or time column.
    pub(crate) fn numbers(&self, name: &str) -> Option<(i64, i64)> {
        match self.statistics(name)? {
            Statistics::Int32(stats) => Some((i64::from(*stats.min_opt()?), i64::from(*stats.max_opt()?))),
            Statistics::Int64(stats) => Some((*stats.min_opt()?, *stats.max_opt()?)),
            _ => None,
        }
    }

    /// The bounds of a text column; the lower may be cut short, the upper cut and raised.
    pub(crate) fn bytes(&self, name: &str) -> Option<(&'a [u8], &'a [u8])> {
        let stats = self.statistics(name)?;
        Some((stats.min_bytes_opt()?, stats.max_bytes_opt()?))
    }

    fn statistics(&self, name: &str) -> Option<&'a Statistics> {
        self.group.column(column_index(self.metadata, name)?).statistics()
    }
}

/// The bounds of an integer or time column over a whole part; `None` where not every row group has them.
pub(crate) fn part_numbers(part: &Part, name: &str) -> Result<Option<(i64, i64)>, HistoryError> {
    let metadata = part.metadata()?;
    if part.table == Table::Changes && metadata.metadata().num_row_groups() == 0 {
        // It only names seqs that an import replaced: it overlaps with nothing.
        return Ok(Some((i64::MAX, i64::MIN)));
    }
    let mut bounds: Option<(i64, i64)> = None;
    for group in metadata.metadata().row_groups() {
        let Some((min, max)) = (RowGroup { metadata: &metadata, group }).numbers(name) else { return Ok(None) };
        bounds = Some(bounds.map_or((min, max), |(low, high)| (low.min(min), high.max(max))));
    }
    Ok(bounds)
}

fn column_index(metadata: &ArrowReaderMetadata, name: &str) -> Option<usize> {
    metadata.parquet_schema().columns().iter().position(|column| column.path().string() == name)
}

fn push_range(selected: &mut Vec<Range<usize>>, range: Range<usize>) {
    match selected.last_mut() {
        Some(last) if last.end == range.start => last.end = range.end,
        _ if range.is_empty() => {}
        _ => selected.push(range),
    }
}

/// Adds the rows of the pages that may hold one of the paths; all rows where the page index is missing or odd.
fn page_ranges(
    metadata: &ParquetMetaData,
    group: usize,
    column: usize,
    group_rows: usize,
    paths: &PathRanges,
    first_row: usize,
    selected: &mut Vec<Range<usize>>,
) {
    let bounds = metadata.column_index().and_then(|index| index.get(group)?.get(column));
    let pages = metadata.offset_index().and_then(|index| index.get(group)?.get(column));
    let (Some(ColumnIndexMetaData::BYTE_ARRAY(bounds)), Some(pages)) = (bounds, pages) else {
        return push_range(selected, first_row..first_row + group_rows);
    };
    let locations = pages.page_locations();
    if locations.len() != bounds.num_pages() as usize {
        return push_range(selected, first_row..first_row + group_rows);
    }
    for (at, location) in locations.iter().enumerate() {
        let start = usize::try_from(location.first_row_index).unwrap_or(0);
        let end = locations
            .get(at + 1)
            .map_or(group_rows, |next| usize::try_from(next.first_row_index).unwrap_or(group_rows));
        let wanted = match (bounds.min_value(at), bounds.max_value(at)) {
            (Some(min), Some(max)) => paths.overlaps(min, max),
            _ => true,
        };
        if wanted && start < end {
            push_range(selected, first_row + start..first_row + end);
        }
    }
}
