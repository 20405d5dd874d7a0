use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arrow::datatypes::{Field, SchemaRef};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};
use datafusion::error::{DataFusionError, Result};
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::file::metadata::ParquetMetaData;

use crate::history::part::Part;

/// A part's footer, summed up for the planner.
#[derive(Clone, Debug)]
pub(crate) struct Summary {
    /// What is exactly so: it may answer `count(*)`, `min` and `max` without reading a row.
    pub exact: Arc<Statistics>,
    /// The same, where a cut text counts as a bound: good for pruning, not for answers.
    pub bounds: Arc<Statistics>,
    /// The file's own columns, parsed once.
    pub arrow_schema: SchemaRef,
}

/// The summaries of the parts that queries have met, for as long as the parts live.
#[derive(Debug, Default)]
pub(crate) struct PartStatistics {
    summaries: Mutex<HashMap<usize, (Weak<Part>, Summary)>>,
}

/// Entries above which those of parts that are gone are thrown out.
const SWEEP_AT: usize = 1_024;

impl PartStatistics {
    /// Reads the part's footer, if nobody has yet.
    pub(crate) fn of(&self, part: &Arc<Part>, schema: &SchemaRef) -> Result<Summary> {
        let key = Arc::as_ptr(part) as usize;
        if let Some((known, summary)) = self.lock().get(&key)
            && known.upgrade().is_some_and(|known| Arc::ptr_eq(&known, part))
        {
            return Ok(summary.clone());
        }
        let metadata = part.metadata().map_err(|error| DataFusionError::External(Box::new(error)))?;
        let summary = summarise(metadata.metadata(), metadata.schema().clone(), schema)?;
        let mut summaries = self.lock();
        if summaries.len() >= SWEEP_AT {
            summaries.retain(|_, (part, _)| part.strong_count() > 0);
        }
        summaries.insert(key, (Arc::downgrade(part), summary.clone()));
        Ok(summary)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<usize, (Weak<Part>, Summary)>> {
        self.summaries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn summarise(metadata: &ParquetMetaData, arrow_schema: SchemaRef, schema: &SchemaRef) -> Result<Summary> {
    let rows = usize::try_from(metadata.file_metadata().num_rows()).unwrap_or(0);
    let mut exact = Statistics::new_unknown(schema);
    exact.num_rows = Precision::Exact(rows);
    let mut bounds = exact.clone();
    for (index, field) in schema.fields().iter().enumerate() {
        let Some((exact_column, bounds_column)) = column(metadata, schema, field)? else { continue };
        if let Some(slot) = exact.column_statistics.get_mut(index) {
            *slot = exact_column;
        }
        if let Some(slot) = bounds.column_statistics.get_mut(index) {
            *slot = bounds_column;
        }
    }
    Ok(Summary { exact: Arc::new(exact), bounds: Arc::new(bounds), arrow_schema })
}

/// `None` where the file says nothing of this column.
fn column(
    metadata: &ParquetMetaData,
    schema: &SchemaRef,
    field: &Field,
) -> Result<Option<(ColumnStatistics, ColumnStatistics)>> {
    let groups = metadata.row_groups();
    let descriptor = metadata.file_metadata().schema_descr();
    let converter = StatisticsConverter::try_new(field.name(), schema, descriptor)?;
    let Some(parquet_column) = converter.parquet_column_index() else { return Ok(None) };
    let mins = converter.row_group_mins(groups)?;
    let maxes = converter.row_group_maxes(groups)?;
    let mut least: Option<ScalarValue> = None;
    let mut greatest: Option<ScalarValue> = None;
    let mut nulls = Some(0_u64);
    // Known for every row group that has a value at all; exact where no row group's text was cut.
    let (mut known, mut whole) = (true, true);
    for (index, group) in groups.iter().enumerate() {
        let statistics = group.columns().get(parquet_column).and_then(|column| column.statistics());
        let group_nulls = statistics.and_then(|statistics| statistics.null_count_opt());
        nulls = nulls.zip(group_nulls).map(|(sum, more)| sum + more);
        let rows = u64::try_from(group.num_rows()).unwrap_or(0);
        if group_nulls == Some(rows) {
            continue;
        }
        let (min, max) = (ScalarValue::try_from_array(&mins, index)?, ScalarValue::try_from_array(&maxes, index)?);
        if min.is_null() || max.is_null() {
            known = false;
            continue;
        }
        whole &= statistics.is_some_and(|statistics| statistics.min_is_exact() && statistics.max_is_exact());
        if least.as_ref().is_none_or(|least| min.partial_cmp(least).is_some_and(std::cmp::Ordering::is_lt)) {
            least = Some(min);
        }
        if greatest.as_ref().is_none_or(|greatest| max.partial_cmp(greatest).is_some_and(std::cmp::Ordering::is_gt)) {
            greatest = Some(max);
        }
    }
    let mut exact = ColumnStatistics::new_unknown();
    if let Some(nulls) = nulls {
        exact.null_count = Precision::Exact(usize::try_from(nulls).unwrap_or(usize::MAX));
    }
    let mut bounds = exact.clone();
    if known && let (Some(least), Some(greatest)) = (least, greatest) {
        let exactly = |value: ScalarValue| if whole { Precision::Exact(value) } else { Precision::Inexact(value) };
        exact.min_value = exactly(least.clone());
        exact.max_value = exactly(greatest.clone());
        bounds.min_value = Precision::Exact(least);
        bounds.max_value = Precision::Exact(greatest);
    }
    Ok(Some((exact, bounds)))
}
