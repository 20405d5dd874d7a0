use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream};

use super::moment::{self, Moment};
use super::scope::{self, Place, Places};
use super::znodes::hinted;
use super::{FORM_HEX, FORM_KEY, cluster_field, constant_text, user_error, withheld};
use crate::history::replay::{At, Diff, PathFilter, Side, tree_diff};
use crate::history::view::View;
use crate::query::access::Values;

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let hash = |name: &str| {
        let form = std::collections::HashMap::from([(FORM_KEY.to_owned(), FORM_HEX.to_owned())]);
        Field::new(name, DataType::Int64, true).with_metadata(form)
    };
    Arc::new(Schema::new(vec![
        cluster_field(),
        Field::new("path", DataType::Utf8, false),
        Field::new("change", DataType::Utf8, false),
        Field::new("version_a", DataType::Int32, true),
        Field::new("version_b", DataType::Int32, true),
        Field::new("aversion_a", DataType::Int32, true),
        Field::new("aversion_b", DataType::Int32, true),
        Field::new("czxid_a", DataType::Int64, true),
        Field::new("czxid_b", DataType::Int64, true),
        Field::new("mzxid_a", DataType::Int64, true),
        Field::new("mzxid_b", DataType::Int64, true),
        Field::new("data_length_a", DataType::Int32, true),
        Field::new("data_length_b", DataType::Int32, true),
        hash("data_hash_a"),
        hash("data_hash_b"),
        Field::new("uncertain", DataType::Boolean, false),
    ]))
});

/// `tree_diff(a, b [, cluster])`: the paths that differ between two moments, each named as for `znodes_at`.
///
/// `change` is `created`, `deleted` or `changed`; the columns that end in `_a` and `_b` are null where the path does not
/// exist at that moment, or the value is unknown.
pub(super) struct TreeDiff {
    views: Arc<[View]>,
    values: Values,
}

impl TreeDiff {
    pub(super) fn new(views: Arc<[View]>, values: Values) -> Self {
        Self { views, values }
    }
}

impl std::fmt::Debug for TreeDiff {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TreeDiff").finish_non_exhaustive()
    }
}

impl TableFunctionImpl for TreeDiff {
    fn call_with_args(&self, args: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        const USAGE: &str = "tree_diff(a, b [, cluster]): a and b are timestamps, dates or zxids";
        let [a, b, rest @ ..] = args.exprs() else {
            return Err(user_error(format!("{USAGE}; {} arguments were given", args.exprs().len())));
        };
        if rest.len() > 1 {
            return Err(user_error(format!("{USAGE}; {} arguments were given", args.exprs().len())));
        }
        let views = moment::chosen(&self.views, rest.first(), USAGE)?;
        let a = moment::places(&views, &Moment::parse(a, USAGE)?, None)?;
        let b = moment::places(&views, &Moment::parse(b, USAGE)?, None)?;
        let pairs = a.into_iter().zip(b).map(|((view, a), (_, b))| (view, a, b)).collect();
        let table = DiffTable { pairs, hint: moment::hint(&views, "tree_diff(a, b, '<cluster>')") };
        Ok(withheld::as_shown(self.values, Arc::new(table)))
    }
}

struct DiffTable {
    pairs: Vec<(View, At, At)>,
    /// Added to the error of one cluster.
    hint: Option<Arc<str>>,
}

impl std::fmt::Debug for DiffTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DiffTable").field("clusters", &self.pairs.len()).finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for DiffTable {
    fn schema(&self) -> SchemaRef {
        SCHEMA.clone()
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
        let paths = scope::paths(filters);
        let pair = |(view, a, b): &(View, At, At)| -> Arc<dyn PartitionStream> {
            Arc::new(Pair { view: view.clone(), a: *a, b: *b, paths: paths.clone(), hint: self.hint.clone() })
        };
        let predicate = scope::predicate(state, filters, &SCHEMA)?;
        let place = |view: &View| Place { cluster: view.cluster.clone(), day: None, seqs: None };
        let places: Vec<Place> = self.pairs.iter().map(|(view, _, _)| place(view)).collect();
        let keep = scope::prune(predicate.as_ref(), &SCHEMA, &Places(&places));
        let pairs: Vec<_> = self.pairs.iter().zip(keep).filter(|(_, keep)| *keep).map(|(one, _)| pair(one)).collect();
        if pairs.is_empty() {
            let schema =
                projection.map_or_else(|| Ok(SCHEMA.clone()), |columns| SCHEMA.project(columns).map(Arc::new))?;
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        Ok(Arc::new(StreamingTableExec::try_new(SCHEMA.clone(), pairs, projection, None, false, limit)?))
    }
}

/// One cluster's two trees.
struct Pair {
    view: View,
    a: At,
    b: At,
    paths: PathFilter,
    hint: Option<Arc<str>>,
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pair").field("cluster", &self.view.cluster).finish_non_exhaustive()
    }
}

const BATCH_ROWS: usize = 8_192;

/// Batches that may wait between a comparison and its reader.
const BATCHES_WAITING_MAX: usize = 2;

impl PartitionStream for Pair {
    fn schema(&self) -> &SchemaRef {
        &SCHEMA
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut builder = RecordBatchReceiverStream::builder(SCHEMA.clone(), BATCHES_WAITING_MAX);
        let sender = builder.tx();
        let (view, a, b, paths) = (self.view.clone(), self.a, self.b, self.paths.clone());
        let hint = self.hint.clone();
        builder.spawn_blocking(move || {
            let mut diffs = tree_diff(&view, a, b, &paths).map_err(|error| hinted(error, hint.as_deref()))?;
            loop {
                let some: std::result::Result<Vec<Diff>, _> = diffs.by_ref().take(BATCH_ROWS).collect();
                let some = some.map_err(|error| DataFusionError::External(Box::new(error)))?;
                // A closed channel: nobody wants the rest.
                if some.is_empty() || sender.blocking_send(rows(&view.cluster, &some)).is_err() {
                    return Ok(());
                }
            }
        });
        builder.build()
    }
}

fn rows(cluster: &str, diffs: &[Diff]) -> Result<RecordBatch> {
    type Of<T> = fn(&Side) -> Option<T>;
    let small = |side: fn(&Diff) -> Option<&Side>, of: Of<i32>| -> ArrayRef {
        Arc::new(diffs.iter().map(|diff| side(diff).and_then(of)).collect::<Int32Array>())
    };
    let big = |side: fn(&Diff) -> Option<&Side>, of: Of<i64>| -> ArrayRef {
        Arc::new(diffs.iter().map(|diff| side(diff).and_then(of)).collect::<Int64Array>())
    };
    let a: fn(&Diff) -> Option<&Side> = |diff| diff.a.as_ref();
    let b: fn(&Diff) -> Option<&Side> = |diff| diff.b.as_ref();
    Ok(RecordBatch::try_new(
        SCHEMA.clone(),
        vec![
            constant_text(cluster, diffs.len()),
            Arc::new(StringArray::from_iter_values(diffs.iter().map(|diff| diff.path.as_str()))),
            Arc::new(StringArray::from_iter_values(diffs.iter().map(|diff| diff.kind.as_str()))),
            small(a, |side| side.version),
            small(b, |side| side.version),
            small(a, |side| side.aversion),
            small(b, |side| side.aversion),
            big(a, |side| side.czxid),
            big(b, |side| side.czxid),
            big(a, |side| side.mzxid),
            big(b, |side| side.mzxid),
            small(a, |side| side.data_length),
            small(b, |side| side.data_length),
            big(a, |side| side.data_hash),
            big(b, |side| side.data_hash),
            Arc::new(diffs.iter().map(|diff| Some(diff.uncertain)).collect::<BooleanArray>()),
        ],
    )?)
}
