//! What is on record already: where a pipeline goes on.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Int32Type, Int64Type};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};
use parquet::file::statistics::Statistics;

use super::NO_POSITION;
use crate::history::error::HistoryError;
use crate::history::part::Part;
use crate::history::rows::CoverageRow;
use crate::history::view::View;
use crate::zk::Zxid;

/// Where a history stands when it is opened.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The seq that the next change will have. 1 where nothing was ever recorded.
    pub next_seq: i64,
    /// The greatest incarnation of any change or snapshot; `None` where there is neither.
    pub last_incarnation: Option<i32>,
    /// The greatest position of any change or snapshot of that incarnation; 0 where there is none.
    pub greatest_position: Zxid,
    /// The newest complete snapshot.
    pub snapshot: Option<Arc<Part>>,
    /// The intervals that were open when the last writer ended without a word, now closed rows with `ended` null.
    pub interrupted: Vec<CoverageRow>,
}

impl Recorded {
    /// Reads the footers of all parts of changes and the newest snapshot, and the head.
    pub(super) fn read(view: &View, next_seq: i64, interrupted: Vec<CoverageRow>) -> Result<Self, HistoryError> {
        let snapshot = view.snapshots.last().cloned();
        let mut places = Places::default();
        for part in view.changes.parts.iter().chain(&snapshot) {
            places.part(part)?;
        }
        for batch in view.changes.head.iter() {
            places.columns(batch.batch.column_by_name("incarnation"), batch.batch.column_by_name("position"));
        }
        let (last_incarnation, greatest_position) = match places.0 {
            Some((incarnation, position)) => (Some(incarnation), Zxid(position)),
            None => (None, NO_POSITION),
        };
        Ok(Self { next_seq, last_incarnation, greatest_position, snapshot, interrupted })
    }
}

/// The greatest (incarnation, position) so far.
#[derive(Default)]
struct Places(Option<(i32, i64)>);

impl Places {
    fn add(&mut self, incarnation: i32, position: i64) {
        self.0 = self.0.max(Some((incarnation, position)));
    }

    fn part(&mut self, part: &Part) -> Result<(), HistoryError> {
        let metadata = footer(part)?;
        let mut mixed = false;
        for group in metadata.row_groups() {
            match (int32(group, "incarnation"), int64_max(group, "position")) {
                (Some((low, high)), Some(position)) if low == high => self.add(high, position),
                _ => mixed = true,
            }
        }
        if mixed { self.rows(part) } else { Ok(()) }
    }

    /// For a part of two incarnations statistics do not say which one has the greatest position.
    fn rows(&mut self, part: &Part) -> Result<(), HistoryError> {
        let parquet = |source| HistoryError::Parquet { path: part.path(), source };
        let builder = ParquetRecordBatchReaderBuilder::try_new(part.open()?).map_err(parquet)?;
        let mask = ProjectionMask::columns(builder.parquet_schema(), ["incarnation", "position"]);
        for batch in builder.with_projection(mask).build().map_err(parquet)? {
            let batch = batch.map_err(|source| HistoryError::Arrow { path: part.path(), source })?;
            self.columns(batch.column_by_name("incarnation"), batch.column_by_name("position"));
        }
        Ok(())
    }

    fn columns(&mut self, incarnation: Option<&Arc<dyn Array>>, position: Option<&Arc<dyn Array>>) {
        let incarnation = incarnation.and_then(|column| column.as_primitive_opt::<Int32Type>());
        let position = position.and_then(|column| column.as_primitive_opt::<Int64Type>());
        if let (Some(incarnation), Some(position)) = (incarnation, position) {
            for (incarnation, position) in incarnation.values().iter().zip(position.values()) {
                self.add(*incarnation, *position);
            }
        }
    }
}

fn statistics<'a>(group: &'a RowGroupMetaData, name: &str) -> Option<&'a Statistics> {
    group.columns().iter().find(|column| column.column_descr().name() == name)?.statistics()
}

fn int32(group: &RowGroupMetaData, name: &str) -> Option<(i32, i32)> {
    match statistics(group, name)? {
        Statistics::Int32(values) => Some((*values.min_opt()?, *values.max_opt()?)),
        _ => None,
    }
}

fn int64_max(group: &RowGroupMetaData, name: &str) -> Option<i64> {
    match statistics(group, name)? {
        Statistics::Int64(values) => values.max_opt().copied(),
        _ => None,
    }
}

/// The footer without the page index, which only queries need.
fn footer(part: &Part) -> Result<ParquetMetaData, HistoryError> {
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&part.open()?);
    let metadata = metadata.map_err(|source| HistoryError::Parquet { path: part.path(), source })?;
    part.check_format(metadata.file_metadata())?;
    Ok(metadata)
}

/// Refuses a table whose newest part a newer zktrail wrote. Of all others each one is asked when it is read.
pub(super) fn check_format(parts: &[Arc<Part>]) -> Result<(), HistoryError> {
    parts.last().map_or(Ok(()), |part| footer(part).map(drop))
}

/// Refuses a table of which a newer zktrail wrote any part. Reads every footer.
pub(super) fn check_each_format(parts: &[Arc<Part>]) -> Result<(), HistoryError> {
    parts.iter().try_for_each(|part| footer(part).map(drop))
}
