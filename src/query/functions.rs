//! What SQL's functions and operators mean: as in PostgreSQL, or refused by name. What PostgreSQL has not is ours alone.
//!
//! - `zookeeper`: of paths and values.
//! - `text`, `regex`, `numbers`, `time`, `lists`, `json`: PostgreSQL's, a line each meaning of a name.
//! - `overload`: finds the meaning by the types; `value` is what it works on; `cast` brings one type to another.
//! - `operators`, `types`, `coercion`, `rewrite`: where the planner has to be told.
//! - `refused`: what DataFusion has under a name of PostgreSQL's with another meaning.
//!
//! `docs/functions.md` shows each with what PostgreSQL answers; it is made by the test that asks both.

mod aggregates;
mod cast;
mod coercion;
mod json;
mod lists;
mod numbers;
mod operators;
mod overload;
mod refused;
mod regex;
mod rewrite;
mod text;
mod time;
mod types;
mod value;
mod zookeeper;

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::optimizer::Analyzer;

pub(crate) use rewrite::call;
pub(super) use rewrite::rewrite;
pub(super) use zookeeper::NAMES;

/// An interval as PostgreSQL shows it.
pub(super) fn interval_text(array: &dyn arrow::array::Array, row: usize) -> Option<String> {
    match value::read(array, row) {
        Ok(value::Value::Interval(span)) => Some(time::show::interval(span)),
        _ => None,
    }
}

/// Puts every function, operator and type into a session that has DataFusion's own already.
pub(super) fn install(mut builder: SessionStateBuilder) -> SessionStateBuilder {
    let functions = overload::functions(&[
        time::functions::MEANINGS,
        numbers::MEANINGS,
        text::MEANINGS,
        lists::MEANINGS,
        json::MEANINGS,
        operators::MEANINGS,
    ]);
    let by_name = |name: &str| functions.iter().find(|function| function.name() == name).cloned();
    let mut analyzer = Analyzer::new();
    if let (Some(json), Some(jsonb)) = (by_name("zktrail_json"), by_name("zktrail_jsonb")) {
        analyzer.rules.push(Arc::new(coercion::Meaning::new(json, jsonb)));
    }
    let planner = Arc::new(operators::Operators::new(&functions));
    builder.expr_planners().get_or_insert_default().insert(0, planner);
    let ours: Vec<_> = refused::all().into_iter().chain(functions).chain(zookeeper::all()).collect();
    let names: BTreeSet<String> = ours.iter().map(|function| function.name().to_owned()).collect();
    let scalar = builder.scalar_functions().get_or_insert_default();
    // A state that is copied registers each function anew, under all of its names: one that shares a name would come back.
    scalar.retain(|function| {
        !names.contains(function.name()) && !function.aliases().iter().any(|alias| names.contains(alias))
    });
    scalar.extend(ours);
    let aggregates = builder.aggregate_functions().get_or_insert_default();
    aggregates.retain(|function| !matches!(function.name(), "sum" | "avg"));
    aggregates.extend([aggregates::sum(), aggregates::avg()]);
    builder.with_type_planner(Arc::new(types::Types)).with_analyzer_rules(analyzer.rules)
}
