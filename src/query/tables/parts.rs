use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::pruning::PrunableStatistics;
use datafusion::common::{ScalarValue, Statistics};
use datafusion::config::TableParquetOptions;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};

use super::reader::PartReaders;
use super::scope::{self, Place, Places};
use super::statistics::PartStatistics;
use super::{cluster_field, constant_text, store_url, with_forms};
use crate::history::layout::{Day, Table};
use crate::history::part::Part;
use crate::history::view::View;

/// A recorded table: its parts on disk and its head in memory, of all clusters.
///
/// Columns: cluster, date (where the day is of interest: changes and snapshots), then the file's own. Filters prune
/// parts by cluster, day and seq before a footer is read, then by the footers' statistics; DataFusion goes on with row
/// groups, bloom filters and pages.
pub(super) struct PartsTable {
    table: Table,
    views: Arc<[View]>,
    statistics: Arc<PartStatistics>,
    with_date: bool,
    /// As SQL sees it: cluster, date?, then the file's columns.
    schema: SchemaRef,
    /// As a scan of files has it: the file's columns, then cluster, date?.
    file_schema: TableSchema,
}

impl std::fmt::Debug for PartsTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PartsTable").field("table", &self.table).finish_non_exhaustive()
    }
}

/// Rows of a head above which a scan of it is split, so that more than one thread filters it.
const HEAD_ROWS_A_PARTITION: usize = 65_536;

impl PartsTable {
    pub(super) fn new(table: Table, views: Arc<[View]>, statistics: Arc<PartStatistics>) -> Self {
        let with_date = matches!(table, Table::Changes | Table::Snapshots);
        let file = with_forms(&table.schema());
        let mut partition = vec![Arc::new(cluster_field())];
        if with_date {
            partition.push(Arc::new(Field::new("date", DataType::Date32, false)));
        }
        let fields = partition.iter().chain(file.fields()).cloned().collect::<Vec<_>>();
        let file_schema = TableSchema::builder(file).with_table_partition_cols(partition).build();
        Self { table, views, statistics, with_date, schema: Arc::new(Schema::new(fields)), file_schema }
    }

    /// How many columns come before the file's own.
    fn lead(&self) -> usize {
        if self.with_date { 2 } else { 1 }
    }

    /// The place in a scan of files of a column as SQL counts them.
    fn file_index(&self, index: usize) -> usize {
        let lead = self.lead();
        let file_columns = self.schema.fields().len() - lead;
        if index < lead { file_columns + index } else { index - lead }
    }

    fn place(&self, view: &View, day: Day) -> Place {
        Place { cluster: view.cluster.clone(), day: self.with_date.then_some(day), seqs: None }
    }

    /// The parts that may hold a row that passes, newest first, each with its statistics.
    fn files(
        &self,
        place_predicate: Option<&Arc<dyn PhysicalExpr>>,
        file_predicate: Option<&Arc<dyn PhysicalExpr>>,
    ) -> Result<Vec<PartitionedFile>> {
        let all: Vec<&Arc<Part>> = self.views.iter().flat_map(|view| view.parts(self.table)).collect();
        let places: Vec<Place> = all
            .iter()
            .map(|part| Place {
                cluster: part.cluster.clone(),
                day: self.with_date.then_some(part.day),
                seqs: Some(part.range),
            })
            .collect();
        let keep = scope::prune(place_predicate, &self.schema, &Places(&places));
        let mut files = Vec::new();
        let mut bounds = Vec::new();
        for (part, _) in all.into_iter().zip(keep).filter(|(_, keep)| *keep) {
            let summary = self.statistics.of(part, self.file_schema.file_schema())?;
            let mut values = vec![ScalarValue::Utf8(Some(part.cluster.to_string()))];
            if self.with_date {
                values.push(ScalarValue::Date32(Some(part.day.0)));
            }
            let name =
                format!("{}/{}/{}/{}", self.table.as_str(), part.cluster, part.day, part.range.file_name(self.table));
            let file = PartitionedFile::new(name, part.bytes)
                .with_partition_values(values)
                .with_statistics(summary.exact.clone())
                .with_arrow_schema(summary.arrow_schema.clone())
                .with_extension(part.clone());
            bounds.push(file.clone().with_statistics(summary.bounds.clone()).statistics.unwrap_or_default());
            files.push((part.range.last, file));
        }
        let judged = PrunableStatistics::new(bounds, self.file_schema.table_schema().clone());
        let keep = scope::prune(file_predicate, self.file_schema.table_schema(), &judged);
        let mut kept: Vec<(i64, PartitionedFile)> =
            files.into_iter().zip(keep).filter(|(_, keep)| *keep).map(|(file, _)| file).collect();
        // Most questions are about what was last: a TopK by time then finds its threshold in the first file.
        kept.sort_by_key(|(last_seq, _)| std::cmp::Reverse(*last_seq));
        Ok(kept.into_iter().map(|(_, file)| file).collect())
    }

    fn scan_parts(
        &self,
        files: Vec<PartitionedFile>,
        options: TableParquetOptions,
        partitions: usize,
        projection: Option<&Vec<usize>>,
        predicate: Option<&Arc<dyn PhysicalExpr>>,
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let statistics = sum(&files, self.file_schema.table_schema());
        let groups = partitions.clamp(1, files.len().max(1));
        let mut grouped: Vec<Vec<PartitionedFile>> = vec![Vec::new(); groups];
        for (index, file) in files.into_iter().enumerate() {
            if let Some(group) = grouped.get_mut(index % groups) {
                group.push(file);
            }
        }
        let mut source = ParquetSource::new(self.file_schema.clone())
            .with_table_parquet_options(options)
            .with_parquet_file_reader_factory(Arc::new(PartReaders));
        if let Some(predicate) = predicate {
            source = source.with_predicate(predicate.clone());
        }
        let columns: Vec<usize> = match projection {
            Some(projection) => projection.iter().map(|index| self.file_index(*index)).collect(),
            None => (0..self.schema.fields().len()).map(|index| self.file_index(index)).collect(),
        };
        let config = FileScanConfigBuilder::new(store_url()?, Arc::new(source))
            .with_file_groups(grouped.into_iter().map(FileGroup::new).collect())
            .with_statistics(statistics)
            .with_limit(limit)
            .with_projection_indices(Some(columns))?
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    /// What is recorded but not yet in a part, and the intervals of coverage that are open.
    fn scan_head(
        &self,
        partitions: usize,
        projection: Option<&Vec<usize>>,
        predicate: Option<&Arc<dyn PhysicalExpr>>,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let all = self.head();
        let places: Vec<Place> = all.iter().map(|(place, _)| place.clone()).collect();
        let keep = scope::prune(predicate, &self.schema, &Places(&places));
        let schema = match projection {
            Some(projection) => Arc::new(self.schema.project(projection)?),
            None => self.schema.clone(),
        };
        let mut batches = Vec::new();
        for ((place, batch), _) in all.into_iter().zip(keep).filter(|(_, keep)| *keep) {
            if batch.num_rows() > 0 {
                batches.push(self.row_batch(&place, batch, projection, &schema)?);
            }
        }
        if batches.is_empty() {
            return Ok(None);
        }
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        let groups = partitions.clamp(1, rows.div_ceil(HEAD_ROWS_A_PARTITION).max(1)).min(batches.len());
        let group_size = batches.len().div_ceil(groups).max(1);
        let grouped: Vec<Vec<RecordBatch>> = batches.chunks(group_size).map(<[RecordBatch]>::to_vec).collect();
        let plan: Arc<dyn ExecutionPlan> = MemorySourceConfig::try_new_exec(&grouped, schema, None)?;
        Ok(Some(plan))
    }

    fn head(&self) -> Vec<(Place, &RecordBatch)> {
        let mut all = Vec::new();
        for view in self.views.iter() {
            let head = view.head(self.table).iter();
            all.extend(head.map(|head| (self.place(view, head.day), &head.batch)));
            if self.table == Table::Coverage {
                let place = Place { cluster: view.cluster.clone(), day: None, seqs: None };
                all.push((place, &view.open_coverage));
            }
        }
        all
    }

    /// The asked columns of a head batch, cluster and date added.
    fn row_batch(
        &self,
        place: &Place,
        batch: &RecordBatch,
        projection: Option<&Vec<usize>>,
        schema: &SchemaRef,
    ) -> Result<RecordBatch> {
        let rows = batch.num_rows();
        let column = |index: usize| -> Result<ArrayRef> {
            match index {
                0 => Ok(constant_text(&place.cluster, rows)),
                1 if self.with_date => {
                    let day = place.day.map_or(0, |day| day.0);
                    Ok(Arc::new(Date32Array::from_value(day, rows)))
                }
                _ => batch.columns().get(self.file_index(index)).cloned().ok_or_else(|| {
                    DataFusionError::Internal(format!("a head batch of {} lacks column {index}", self.table.as_str()))
                }),
            }
        };
        let columns: Result<Vec<ArrayRef>> = match projection {
            Some(projection) => projection.iter().map(|index| column(*index)).collect(),
            None => (0..self.schema.fields().len()).map(column).collect(),
        };
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(schema.clone(), columns?, &options)?)
    }
}

/// The statistics of a set of files together.
fn sum(files: &[PartitionedFile], schema: &SchemaRef) -> Statistics {
    let each: Vec<&Statistics> = files.iter().filter_map(|file| file.statistics.as_deref()).collect();
    if each.len() != files.len() {
        return Statistics::new_unknown(schema);
    }
    Statistics::try_merge_iter(each, schema).unwrap_or_else(|_| Statistics::new_unknown(schema))
}

#[async_trait]
impl TableProvider for PartsTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        // Filters prune here and in the scan; what decides stays above.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut filters = filters.to_vec();
        filters.extend(scope::implied(&filters));
        let place_predicate = scope::predicate(state, &filters, &self.schema)?;
        let file_predicate = scope::predicate(state, &filters, self.file_schema.table_schema())?;
        let partitions = state.config().target_partitions();
        let options = state.config_options().execution.parquet.clone();
        let options = TableParquetOptions { global: options, ..TableParquetOptions::default() };
        // Footers are read here, once a part: short, bounded by the number of parts, and on the engine's own threads.
        let files = tokio::task::block_in_place(|| self.files(place_predicate.as_ref(), file_predicate.as_ref()))?;
        let mut plans = Vec::new();
        if let Some(head) = self.scan_head(partitions, projection, place_predicate.as_ref())? {
            plans.push(head);
        }
        if !files.is_empty() {
            plans.push(self.scan_parts(files, options, partitions, projection, file_predicate.as_ref(), limit)?);
        }
        match (plans.len(), plans.pop()) {
            (_, None) => {
                let schema = match projection {
                    Some(projection) => Arc::new(self.schema.project(projection)?),
                    None => self.schema.clone(),
                };
                Ok(Arc::new(EmptyExec::new(schema)))
            }
            (1, Some(only)) => Ok(only),
            (_, Some(last)) => {
                plans.push(last);
                UnionExec::try_new(plans)
            }
        }
    }
}
