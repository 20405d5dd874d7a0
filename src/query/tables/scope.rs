//! What the filters of a query leave of the history: which clusters, days and parts, and which paths.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Date32Array, Int64Array, StringArray};
use arrow::datatypes::SchemaRef;
use datafusion::catalog::Session;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, col, lit};
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use datafusion::physical_plan::PhysicalExpr;

use crate::history::layout::{Day, SeqRange};
use crate::history::replay::PathFilter;

/// Where rows are, as far as it is known without opening a file.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub cluster: Arc<str>,
    pub day: Option<Day>,
    pub seqs: Option<SeqRange>,
}

/// The filters of a scan as one expression over `schema`; `None` where there are none.
pub(super) fn predicate(
    state: &dyn Session,
    filters: &[Expr],
    schema: &SchemaRef,
) -> Result<Option<Arc<dyn PhysicalExpr>>> {
    let Some(filter) = conjunction(filters.iter().cloned()) else { return Ok(None) };
    let schema = DFSchema::try_from(schema.as_ref().clone())?;
    state.create_physical_expr(filter, &schema).map(Some)
}

/// Tells which containers may hold a row that passes; all of them where the predicate cannot be judged.
pub(super) fn prune(
    predicate: Option<&Arc<dyn PhysicalExpr>>,
    schema: &SchemaRef,
    containers: &dyn PruningStatistics,
) -> Vec<bool> {
    let all = || vec![true; containers.num_containers()];
    let Some(predicate) = predicate else { return all() };
    if containers.num_containers() == 0 {
        return Vec::new();
    }
    let pruning = PruningPredicateBuilder::new().with_file_schema(schema.clone()).try_build(predicate.clone());
    // Pruning saves work, it never decides: whatever it cannot judge stays.
    pruning.and_then(|pruning| pruning.prune(containers)).unwrap_or_else(|_| all())
}

/// Judges places by cluster, day and seq.
pub(super) struct Places<'a>(pub &'a [Place]);

impl Places<'_> {
    fn seqs(&self, end: impl Fn(SeqRange) -> i64) -> ArrayRef {
        Arc::new(self.0.iter().map(|place| place.seqs.map(&end)).collect::<Int64Array>())
    }

    fn bound(&self, column: &Column, end: impl Fn(SeqRange) -> i64) -> Option<ArrayRef> {
        match column.name.as_str() {
            "cluster" => {
                Some(Arc::new(StringArray::from_iter_values(self.0.iter().map(|place| place.cluster.as_ref()))))
            }
            "date" => Some(Arc::new(self.0.iter().map(|place| place.day.map(|day| day.0)).collect::<Date32Array>())),
            "seq" => Some(self.seqs(end)),
            _ => None,
        }
    }
}

impl PruningStatistics for Places<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bound(column, |range| range.first)
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bound(column, |range| range.last)
    }

    fn num_containers(&self) -> usize {
        self.0.len()
    }

    fn null_counts(&self, _column: &Column) -> Option<ArrayRef> {
        None
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        None
    }

    fn contained(&self, _column: &Column, _values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}

/// The paths that may pass all the filters: a superset, the filters themselves still decide.
pub(super) fn paths(filters: &[Expr]) -> PathFilter {
    filters.iter().flat_map(split).filter_map(path_filter).fold(PathFilter::All, narrower)
}

fn split(filter: &Expr) -> Vec<&Expr> {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            let mut both = split(left);
            both.extend(split(right));
            both
        }
        other => vec![other],
    }
}

/// Of two filters that both hold, the one that leaves less.
fn narrower(a: PathFilter, b: PathFilter) -> PathFilter {
    match (a, b) {
        (PathFilter::All, other) | (other, PathFilter::All) => other,
        (PathFilter::Exact(a), PathFilter::Exact(b)) => {
            PathFilter::Exact(a.into_iter().filter(|path| b.contains(path)).collect())
        }
        (PathFilter::Exact(a), PathFilter::Prefix(b)) | (PathFilter::Prefix(b), PathFilter::Exact(a)) => {
            PathFilter::Exact(a.into_iter().filter(|path| path.starts_with(&b)).collect())
        }
        (PathFilter::Prefix(a), PathFilter::Prefix(b)) => PathFilter::Prefix(if a.len() >= b.len() { a } else { b }),
    }
}

fn path_filter(filter: &Expr) -> Option<PathFilter> {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
            let (subject, text) = match (text(left), text(right)) {
                (None, Some(text)) => (left, text),
                (Some(text), None) => (right, text),
                _ => return None,
            };
            if is_path(subject) {
                return Some(PathFilter::Exact(vec![text.to_owned()]));
            }
            let (name, arguments) = call(subject)?;
            match name {
                "prefix" if is_path(arguments.first()?) => Some(PathFilter::Prefix(text.to_owned())),
                "parent" if is_path(arguments.first()?) => {
                    Some(PathFilter::Prefix(if text == "/" { "/".to_owned() } else { format!("{text}/") }))
                }
                _ => None,
            }
        }
        // `a = x OR a = y` is how short IN lists arrive.
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            match (path_filter(left)?, path_filter(right)?) {
                (PathFilter::Exact(mut a), PathFilter::Exact(b)) => {
                    a.extend(b);
                    Some(PathFilter::Exact(a))
                }
                _ => None,
            }
        }
        Expr::InList(list) if !list.negated && is_path(&list.expr) => {
            let paths: Option<Vec<String>> = list.list.iter().map(|item| text(item).map(str::to_owned)).collect();
            paths.map(PathFilter::Exact)
        }
        Expr::Like(like) if !like.negated && !like.case_insensitive && is_path(&like.expr) => {
            let prefix = like_prefix(text(&like.pattern)?, like.escape_char.unwrap_or('\\'));
            (!prefix.is_empty()).then_some(PathFilter::Prefix(prefix))
        }
        Expr::ScalarFunction(function) if function.name() == "starts_with" => {
            let [subject, start] = function.args.as_slice() else { return None };
            is_path(subject).then(|| text(start).map(|start| PathFilter::Prefix(start.to_owned())))?
        }
        _ => None,
    }
}

/// The text before the first wildcard of a LIKE pattern.
fn like_prefix(pattern: &str, escape: char) -> String {
    let mut prefix = String::new();
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        match character {
            '%' | '_' => break,
            _ if character == escape => match characters.next() {
                Some(escaped) => prefix.push(escaped),
                None => break,
            },
            _ => prefix.push(character),
        }
    }
    prefix
}

fn is_path(expr: &Expr) -> bool {
    matches!(expr, Expr::Column(column) if column.name == "path")
}

fn call(expr: &Expr) -> Option<(&str, &[Expr])> {
    match expr {
        Expr::ScalarFunction(function) => Some((function.name(), function.args.as_slice())),
        _ => None,
    }
}

fn text(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(value, _) => value.try_as_str().flatten(),
        _ => None,
    }
}

/// Filters on functions of the path, as comparisons of the path itself, which statistics and page indexes can judge.
/// Empty where the filters compare the path already.
pub(super) fn implied(filters: &[Expr]) -> Vec<Expr> {
    let by_function = |filter: &&Expr| match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => call(left).or(call(right)).is_some(),
        Expr::ScalarFunction(_) => true,
        _ => false,
    };
    let functions = filters.iter().flat_map(split).filter(by_function).filter_map(path_filter);
    let PathFilter::Prefix(prefix) = functions.fold(PathFilter::All, narrower) else { return Vec::new() };
    let mut implied = vec![col("path").gt_eq(lit(prefix.clone()))];
    implied.extend(next_prefix(&prefix).map(|next| col("path").lt(lit(next))));
    implied
}

/// The least text that is greater than every text with this prefix; `None` where there is none.
fn next_prefix(prefix: &str) -> Option<String> {
    let mut characters: Vec<char> = prefix.chars().collect();
    while let Some(last) = characters.pop() {
        let next = match last {
            // The next scalar value after the last one before the surrogates.
            '\u{d7ff}' => Some('\u{e000}'),
            other => char::from_u32(other as u32 + 1),
        };
        if let Some(next) = next {
            characters.push(next);
            return Some(characters.into_iter().collect());
        }
    }
    None
}

#[cfg(test)]
mod tests;
