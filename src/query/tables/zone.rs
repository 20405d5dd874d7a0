//! Tables whose times are in a session's own zone: days begin there, and texts without an offset are read so.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::catalog::{TableFunction, TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::ScalarValue;
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::error::Result;
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, cast, col};

/// The zone that a session has set; `None` where it is UTC, as the tables have it.
pub(super) fn of(state: &SessionState) -> Option<Arc<str>> {
    let zone = state.config_options().execution.time_zone.as_deref()?;
    (!matches!(zone, "" | "UTC" | "+00:00" | "+00" | "Z")).then(|| Arc::from(zone))
}

/// The same rows, their moments in `zone`. Nothing is moved: only the zone that they are told in is another.
pub(super) fn shown_in(
    zone: Option<&str>,
    name: &str,
    table: Arc<dyn TableProvider>,
) -> Result<Arc<dyn TableProvider>> {
    let Some(zone) = zone else { return Ok(table) };
    let schema = table.schema();
    let columns: Vec<Expr> = schema
        .fields()
        .iter()
        .map(|field| {
            let column = col(datafusion::common::Column::from_name(field.name()));
            match field.data_type() {
                DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => {
                    let told = DataType::Timestamp(TimeUnit::Microsecond, Some(zone.into()));
                    cast(column, told).alias(field.name())
                }
                _ => column,
            }
        })
        .collect();
    let plan = LogicalPlanBuilder::scan(name, provider_as_source(table), None)?.project(columns)?.build()?;
    Ok(Arc::new(ViewTable::new(plan, None)))
}

/// As [`shown_in`], of what a table function gives; and moments among its arguments are read in the zone.
pub(super) fn function_shown_in(zone: Option<Arc<str>>, function: TableFunction) -> TableFunction {
    let Some(zone) = zone else { return function };
    let name = function.name().to_owned();
    TableFunction::new(name.clone(), Arc::new(Zoned { zone, name, function }))
}

#[derive(Debug)]
struct Zoned {
    zone: Arc<str>,
    name: String,
    function: TableFunction,
}

impl TableFunctionImpl for Zoned {
    fn call_with_args(&self, args: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        let exprs: Vec<Expr> = args.exprs().iter().map(|expr| self.read(expr)).collect();
        let args = TableFunctionArgs::new(&exprs, args.session());
        shown_in(Some(&self.zone), &self.name, self.function.function().call_with_args(args)?)
    }
}

impl Zoned {
    /// A text that is a moment without an offset becomes that moment in the zone.
    fn read(&self, expr: &Expr) -> Expr {
        let told = DataType::Timestamp(TimeUnit::Microsecond, Some(self.zone.as_ref().into()));
        if let Expr::Literal(ScalarValue::Utf8(Some(text)), metadata) = expr
            && text.contains(':')
            && let Ok(moment) = ScalarValue::Utf8(Some(text.clone())).cast_to(&told)
        {
            return Expr::Literal(moment, metadata.clone());
        }
        expr.clone()
    }
}
