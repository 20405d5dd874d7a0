use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;

use crate::history::gaps::{Gap, gaps};
use crate::history::schema::timestamp;
use crate::history::view::View;

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("cluster", DataType::Utf8, false),
        Field::new("path", DataType::Utf8, false),
        Field::new("from_time", timestamp(), false),
        Field::new("to_time", timestamp(), true),
        Field::new("from_zxid", DataType::Int64, false),
        Field::new("to_zxid", DataType::Int64, true),
        Field::new("reason", DataType::Utf8, false),
        Field::new("missed_at_least", DataType::Int64, false),
        Field::new("incarnation", DataType::Int32, false),
    ]))
});

/// When nobody was looking: the complement of coverage. `to_time` and `to_zxid` are null while a gap is open.
pub(super) struct GapsTable {
    views: Arc<[View]>,
}

impl GapsTable {
    pub(super) fn new(views: Arc<[View]>) -> Self {
        Self { views }
    }
}

impl std::fmt::Debug for GapsTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GapsTable").finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for GapsTable {
    fn schema(&self) -> SchemaRef {
        SCHEMA.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let views = self.views.clone();
        let batches = tokio::task::spawn_blocking(move || views.iter().map(rows).collect::<Result<Vec<_>>>())
            .await
            .map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))??;
        let plan: Arc<dyn ExecutionPlan> =
            MemorySourceConfig::try_new_exec(&[batches], SCHEMA.clone(), projection.cloned())?;
        Ok(plan)
    }
}

fn rows(view: &View) -> Result<RecordBatch> {
    let gaps = gaps(view).map_err(|error| DataFusionError::External(Box::new(error)))?;
    let texts = |of: fn(&Gap) -> &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(gaps.iter().map(of))) };
    let numbers = |of: fn(&Gap) -> Option<i64>| -> ArrayRef { Arc::new(gaps.iter().map(of).collect::<Int64Array>()) };
    let times = |of: fn(&Gap) -> Option<i64>| -> ArrayRef {
        Arc::new(gaps.iter().map(of).collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
    };
    Ok(RecordBatch::try_new(
        SCHEMA.clone(),
        vec![
            super::constant_text(&view.cluster, gaps.len()),
            texts(|gap| &gap.path),
            times(|gap| Some(gap.from_time.0)),
            times(|gap| gap.to_time.map(|time| time.0)),
            numbers(|gap| Some(gap.from_zxid)),
            numbers(|gap| gap.to_zxid),
            texts(|gap| &gap.reason),
            numbers(|gap| Some(gap.missed_at_least)),
            Arc::new(Int32Array::from_iter_values(gaps.iter().map(|gap| gap.incarnation))),
        ],
    )?)
}
