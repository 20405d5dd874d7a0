use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::SortOptions;
use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream};

use super::scope::{self, Place, Places};
use super::{cluster_field, constant_text, user_error, with_forms};
use crate::history::replay::{At, PathFilter, ReplayError, ReplayOptions, replay};
use crate::history::schema;
use crate::history::view::View;

/// The tree of every cluster, each at its own moment: a replay, streamed.
///
/// Only the columns asked for are read, and only the paths that the filters leave; a LIMIT stops the replay.
pub(super) struct ZnodesTable {
    trees: Vec<(View, At)>,
    schema: SchemaRef,
    /// Added to the error of one cluster.
    hint: Option<Arc<str>>,
}

impl std::fmt::Debug for ZnodesTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ZnodesTable").field("trees", &self.trees.len()).finish_non_exhaustive()
    }
}

/// Rows that a replay yields at once; also how soon it notices that nobody reads any more.
const BATCH_ROWS: usize = 8_192;

/// Batches that may wait between a replay and its reader.
const BATCHES_WAITING_MAX: usize = 2;

impl ZnodesTable {
    /// `with_uncertain`: whether there is a column that tells which rows' place straddles the moment.
    pub(super) fn new(trees: Vec<(View, At)>, with_uncertain: bool) -> Self {
        Self { trees, schema: znodes_schema(with_uncertain), hint: None }
    }

    /// Adds `hint` to what is told where one cluster of several has no such moment.
    pub(super) fn with_hint(self, hint: Option<Arc<str>>) -> Self {
        Self { hint, ..self }
    }
}

pub(super) fn znodes_schema(with_uncertain: bool) -> SchemaRef {
    let znodes = with_forms(&schema::ZNODES);
    let own = znodes.fields().iter().filter(|field| with_uncertain || field.name() != "uncertain").cloned();
    Arc::new(Schema::new(std::iter::once(Arc::new(cluster_field())).chain(own).collect::<Vec<_>>()))
}

#[async_trait]
impl TableProvider for ZnodesTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let predicate = scope::predicate(state, filters, &self.schema)?;
        let places: Vec<Place> =
            self.trees.iter().map(|(view, _)| Place { cluster: view.cluster.clone(), day: None, seqs: None }).collect();
        let keep = scope::prune(predicate.as_ref(), &self.schema, &Places(&places));
        let schema = match projection {
            Some(projection) => Arc::new(self.schema.project(projection)?),
            None => self.schema.clone(),
        };
        let paths = scope::paths(filters);
        // A cluster whose tree has never been read to the end has no znodes to show. Alone it is an error that says so;
        // beside others it must not take theirs away.
        let kept = || self.trees.iter().zip(&keep).filter(|(_, keep)| **keep).map(|((view, _), _)| view);
        let any_complete = kept().any(|view| !view.snapshots.is_empty());
        let partitions: Vec<Arc<dyn PartitionStream>> = self
            .trees
            .iter()
            .zip(&keep)
            .filter(|((view, _), keep)| **keep && (!any_complete || !view.snapshots.is_empty()))
            .map(|((view, at), _)| -> Arc<dyn PartitionStream> {
                Arc::new(Tree {
                    view: view.clone(),
                    at: *at,
                    paths: paths.clone(),
                    limit,
                    schema: schema.clone(),
                    hint: self.hint.clone(),
                })
            })
            .collect();
        if partitions.is_empty() {
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let order = by_path(&schema);
        let exec = StreamingTableExec::try_new(schema, partitions, None, order, false, limit)?;
        Ok(Arc::new(exec))
    }
}

/// A replay comes sorted by path.
fn by_path(schema: &SchemaRef) -> Option<LexOrdering> {
    let column = Column::new_with_schema("path", schema).ok()?;
    let ascending = SortOptions { descending: false, nulls_first: false };
    LexOrdering::new([PhysicalSortExpr::new(Arc::new(column), ascending)])
}

/// One cluster's tree.
struct Tree {
    view: View,
    at: At,
    paths: PathFilter,
    limit: Option<usize>,
    schema: SchemaRef,
    hint: Option<Arc<str>>,
}

impl std::fmt::Debug for Tree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tree").field("cluster", &self.view.cluster).finish_non_exhaustive()
    }
}

impl PartitionStream for Tree {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut builder = RecordBatchReceiverStream::builder(self.schema.clone(), BATCHES_WAITING_MAX);
        let sender = builder.tx();
        let (view, at, paths, schema) = (self.view.clone(), self.at, self.paths.clone(), self.schema.clone());
        let hint = self.hint.clone();
        let mut left = self.limit.unwrap_or(usize::MAX);
        builder.spawn_blocking(move || {
            let options =
                ReplayOptions { columns: wanted(&schema), filter: paths, batch_rows: BATCH_ROWS.min(left.max(1)) };
            for batch in replay(&view, at, options).map_err(|error| hinted(error, hint.as_deref()))? {
                let batch = batch.map_err(|error| DataFusionError::External(Box::new(error)))?;
                let batch = batch.slice(0, batch.num_rows().min(left));
                left -= batch.num_rows();
                let row_batch = row_batch(&view.cluster, &batch, &schema)?;
                // A closed channel: nobody wants the rest.
                if sender.blocking_send(Ok(row_batch)).is_err() || left == 0 {
                    break;
                }
            }
            Ok(())
        });
        builder.build()
    }
}

/// The columns of a replay that `schema` needs; at least one, so that the rows can be counted.
fn wanted(schema: &SchemaRef) -> Vec<usize> {
    let znodes = schema::ZNODES.fields();
    let wanted: Vec<usize> = (0..znodes.len())
        .filter(|index| znodes.get(*index).is_some_and(|field| schema.column_with_name(field.name()).is_some()))
        .collect();
    if wanted.is_empty() { vec![0] } else { wanted }
}

fn row_batch(cluster: &str, batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns: Result<Vec<ArrayRef>> = schema
        .fields()
        .iter()
        .map(|field| match field.name().as_str() {
            "cluster" => Ok(constant_text(cluster, batch.num_rows())),
            name => batch
                .column_by_name(name)
                .cloned()
                .ok_or_else(|| DataFusionError::Internal(format!("a replay lacks the column {name}"))),
        })
        .collect();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns?, &options)?)
}

/// As [`replay_error`], with what to do where the error is that of one cluster of several.
pub(super) fn hinted(error: ReplayError, hint: Option<&str>) -> DataFusionError {
    match (error, hint) {
        (error @ ReplayError::History(_), _) | (error, None) => replay_error(error),
        (other, Some(hint)) => user_error(format!("{other}{hint}")),
    }
}

/// A moment that the history does not reach is the query's fault; a file that cannot be read is not.
pub(super) fn replay_error(error: ReplayError) -> DataFusionError {
    match error {
        ReplayError::History(error) => DataFusionError::External(Box::new(error)),
        other => user_error(other.to_string()),
    }
}
