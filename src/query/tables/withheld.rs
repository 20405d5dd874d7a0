//! What a user without the right to values gets in their place: nulls, put in beneath every expression.
//!
//! Invariants
//! - The scan below never reads a withheld column: it is not in its projection.
//! - The scan below never hears of a filter that names one: neither when it is planned nor while it runs, so that
//!   nothing that a filter leaves or prunes (parts, row groups, bloom filters, pages, rows) can tell of a value.
//! - Nothing above gets the statistics of one, so that no `min`, `max` or `count` is answered from a file's footer.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{ColumnStatistics, Statistics};
use datafusion::config::ConfigOptions;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{CardinalityEffect, ReplaceChildrenOptions};
use datafusion::physical_plan::filter_pushdown::{
    ChildFilterDescription, ChildPushdownResult, FilterDescription, FilterPushdownPhase, FilterPushdownPropagation,
};
use datafusion::physical_plan::statistics::{ChildStats, StatisticsArgs};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning, PhysicalExpr, PlanProperties,
    SendableRecordBatchStream,
};
use futures::StreamExt;

use crate::query::access::Values;

/// Every column, of whatever table, that tells what a znode holds or who may read it.
pub(super) const COLUMNS: [&str; 8] =
    ["data", "data_length", "data_hash", "acl", "data_length_a", "data_length_b", "data_hash_a", "data_hash_b"];

fn is_withheld(name: &str) -> bool {
    COLUMNS.contains(&name)
}

/// The table as whoever has this right sees it.
pub(super) fn as_shown(values: Values, table: Arc<dyn TableProvider>) -> Arc<dyn TableProvider> {
    match values {
        Values::Shown => table,
        Values::Withheld => Arc::new(WithheldTable { inner: table }),
    }
}

#[derive(Debug)]
struct WithheldTable {
    inner: Arc<dyn TableProvider>,
}

/// Whether a filter may be told to the scan. What is not known to name only open columns may not.
fn is_open(filter: &Expr) -> bool {
    filter.column_refs().iter().all(|column| !is_withheld(&column.name))
}

#[async_trait]
impl TableProvider for WithheldTable {
    fn schema(&self) -> SchemaRef {
        self.inner.schema()
    }

    fn table_type(&self) -> TableType {
        self.inner.table_type()
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        filters
            .iter()
            .map(|filter| match is_open(filter) {
                true => {
                    let inner = self.inner.supports_filters_pushdown(&[filter])?;
                    Ok(inner.into_iter().next().unwrap_or(TableProviderFilterPushDown::Unsupported))
                }
                false => Ok(TableProviderFilterPushDown::Unsupported),
            })
            .collect()
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if let Some(filter) = filters.iter().find(|filter| !is_open(filter)) {
            // It was refused above; to drop it here would answer with rows that do not pass.
            let names = filter.column_refs().iter().map(|column| column.name.clone()).collect::<Vec<_>>().join(", ");
            return Err(DataFusionError::Internal(format!("a filter on withheld columns reached a scan: {names}")));
        }
        let schema = self.inner.schema();
        let wanted: Vec<usize> = match projection {
            Some(projection) => projection.clone(),
            None => (0..schema.fields().len()).collect(),
        };
        let is_read = |index: &usize| !is_withheld(schema.field(*index).name());
        let read: Vec<usize> = wanted.iter().copied().filter(is_read).collect();
        let inner = self.inner.scan(state, Some(&read), filters, limit).await?;
        if read.len() == wanted.len() {
            return Ok(inner);
        }
        let mut next = 0..;
        let columns = wanted.iter().map(|index| is_read(index).then(|| next.next()).flatten()).collect();
        Ok(Arc::new(WithheldExec::new(inner, Arc::new(schema.project(&wanted)?), columns)))
    }
}

/// The rows of a scan, with nulls in the columns that it was not asked for.
#[derive(Debug)]
struct WithheldExec {
    input: Arc<dyn ExecutionPlan>,
    schema: SchemaRef,
    /// For each column the input's column, or `None` where it is withheld.
    columns: Arc<[Option<usize>]>,
    properties: Arc<PlanProperties>,
}

impl WithheldExec {
    fn new(input: Arc<dyn ExecutionPlan>, schema: SchemaRef, columns: Arc<[Option<usize>]>) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema.clone()),
            Partitioning::UnknownPartitioning(input.output_partitioning().partition_count()),
            input.pipeline_behavior(),
            input.boundedness(),
        );
        Self { input, schema, columns, properties: Arc::new(properties) }
    }
}

impl DisplayAs for WithheldExec {
    fn fmt_as(&self, _form: DisplayFormatType, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let named = self.schema.fields().iter().zip(self.columns.iter()).filter(|(_, column)| column.is_none());
        let names: Vec<&str> = named.map(|(field, _)| field.name().as_str()).collect();
        write!(f, "WithheldExec: null=[{}]", names.join(", "))
    }
}

impl ExecutionPlan for WithheldExec {
    fn name(&self) -> &'static str {
        "WithheldExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut children = children.into_iter();
        match (children.next(), children.next()) {
            (Some(input), None) => Ok(Arc::new(Self::new(input, self.schema.clone(), self.columns.clone()))),
            _ => Err(DataFusionError::Internal("WithheldExec has one child".to_owned())),
        }
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let options = ReplaceChildrenOptions::new(datafusion::physical_plan::ChildrenPropertiesMode::Recompute);
        self.replace_children(children, options)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let (schema, columns) = (self.schema.clone(), self.columns.clone());
        let rows = self.input.execute(partition, context)?.map(move |batch| nulled(&batch?, &schema, &columns));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), rows)))
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        vec![ChildStats::At(partition)]
    }

    /// How many rows there are is no value; of the withheld columns nothing is told.
    fn statistics_from_inputs(&self, inputs: &[Arc<Statistics>], _args: &StatisticsArgs) -> Result<Arc<Statistics>> {
        let mut statistics = Statistics::new_unknown(&self.schema);
        if let Some(input) = inputs.first() {
            statistics.num_rows = input.num_rows;
            statistics.total_byte_size = Precision::Absent;
            let of = |column: &Option<usize>| column.and_then(|index| input.column_statistics.get(index).cloned());
            statistics.column_statistics =
                self.columns.iter().map(|column| of(column).unwrap_or_else(ColumnStatistics::new_unknown)).collect();
        }
        Ok(Arc::new(statistics))
    }

    fn supports_limit_pushdown(&self) -> bool {
        true
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Equal
    }

    /// Filters that come to be while the query runs (of a TopK, of a join) go on down, unless they name what is withheld.
    fn gather_filters_for_pushdown(
        &self,
        _phase: FilterPushdownPhase,
        parent_filters: Vec<Arc<dyn PhysicalExpr>>,
        _config: &ConfigOptions,
    ) -> Result<FilterDescription> {
        let open: HashSet<usize> =
            self.columns.iter().enumerate().filter_map(|(index, column)| column.map(|_| index)).collect();
        let child = ChildFilterDescription::from_child_with_allowed_indices(&parent_filters, open, &self.input)?;
        Ok(FilterDescription::new().with_child(child))
    }

    fn handle_child_pushdown_result(
        &self,
        _phase: FilterPushdownPhase,
        result: ChildPushdownResult,
        _config: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn ExecutionPlan>>> {
        Ok(FilterPushdownPropagation::if_all(result))
    }
}

fn nulled(batch: &RecordBatch, schema: &SchemaRef, columns: &[Option<usize>]) -> Result<RecordBatch> {
    let rows = batch.num_rows();
    let column = |(index, column): (usize, &Option<usize>)| -> Result<ArrayRef> {
        match column {
            None => Ok(new_null_array(schema.field(index).data_type(), rows)),
            Some(index) => batch
                .columns()
                .get(*index)
                .cloned()
                .ok_or_else(|| DataFusionError::Internal(format!("a scan lacks its column {index}"))),
        }
    };
    let columns: Result<Vec<ArrayRef>> = columns.iter().enumerate().map(column).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns?, &options)?)
}

#[cfg(test)]
mod tests;
