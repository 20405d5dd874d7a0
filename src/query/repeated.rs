//! Keeps apart two projections, one on the other, that say the same of different things.
//!
//! DataFusion's optimizer takes a projection for superfluous that equals the one below it. That holds for columns; of
//! `SELECT x + x AS x FROM (SELECT x + x AS x FROM …)` it drops one of two additions. A mark on the upper one's names
//! makes the two differ.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::metadata::FieldMetadata;
use datafusion::common::tree_node::Transformed;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::{Expr, LogicalPlan, Projection};
use datafusion::optimizer::AnalyzerRule;

pub(super) fn kept_apart(builder: SessionStateBuilder) -> SessionStateBuilder {
    builder.with_analyzer_rule(Arc::new(KeepApart))
}

#[derive(Debug)]
struct KeepApart;

/// The mark; it says nothing to anybody else.
const MARK: &str = "zktrail.repeated";

impl AnalyzerRule for KeepApart {
    fn name(&self) -> &str {
        "keep_repeated_projections_apart"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        // From below: of three equal ones the middle one is marked, and so differs from both.
        plan.transform_up_with_subqueries(marked).map(|plan| plan.data)
    }
}

fn marked(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Projection(upper) = &plan else { return Ok(Transformed::no(plan)) };
    let LogicalPlan::Projection(lower) = upper.input.as_ref() else { return Ok(Transformed::no(plan)) };
    if upper.expr != lower.expr || !upper.expr.iter().any(renames) {
        return Ok(Transformed::no(plan));
    }
    let expr = upper.expr.iter().cloned().map(mark).collect();
    Ok(Transformed::yes(LogicalPlan::Projection(Projection::try_new(expr, upper.input.clone())?)))
}

/// Whether a name of the output may be one of the input with another meaning.
fn renames(expr: &Expr) -> bool {
    matches!(expr, Expr::Alias(_))
}

fn mark(expr: Expr) -> Expr {
    match expr {
        Expr::Alias(alias) => {
            let mut metadata = alias.metadata.as_ref().map_or_else(BTreeMap::new, |metadata| metadata.inner().clone());
            metadata.insert(MARK.to_owned(), String::new());
            Expr::Alias(alias.with_metadata(Some(FieldMetadata::new(metadata))))
        }
        other => other,
    }
}
