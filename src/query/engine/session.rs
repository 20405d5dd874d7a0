use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, Field, SchemaRef};
use datafusion::catalog::SchemaProvider;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::config::ConfigOptions;
use datafusion::error::DataFusionError;
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};
use datafusion::sql::parser::Statement;

use super::{Ask, Engine, Inner, QueryStream, Question, logical, refuse_writing, with_unique_names, with_views};
use crate::query::access::Access;
use crate::query::error::QueryError;
use crate::query::parameters::Parameters;
use crate::query::stop::Stop;

/// One client's stay: who it is, and what it has set. Holds no View between its queries.
pub struct Session {
    pub(super) engine: Engine,
    pub(super) access: Access,
    pub(super) state: SessionState,
    pub(super) time_max: Option<Duration>,
    /// Schemas beside the tables' own, where a door has some.
    pub(super) schemas: Schemas,
}

/// Schemas by their names.
pub(super) type Schemas = Arc<[(&'static str, Arc<dyn SchemaProvider>)]>;

/// What a statement will take and give, known without running it.
#[derive(Clone, Debug)]
pub struct Described {
    /// The columns; their names are unique.
    pub schema: SchemaRef,
    /// The placeholders `$1`, `$2` … in order; `None` where nothing tells the type.
    pub parameters: Vec<Option<DataType>>,
}

impl Session {
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Bounds the time of each of this session's queries, beside the engine's and the user's own bound.
    pub fn set_time_max(&mut self, time_max: Option<Duration>) {
        self.time_max = time_max;
    }

    /// The longest that a query of this session may take.
    pub fn time_max(&self) -> Duration {
        let bounds = [self.time_max, self.access.limits.time_max];
        bounds.into_iter().flatten().fold(self.engine.limits().time_max, Duration::min)
    }

    /// What DataFusion is told of this session, its time zone among it. Nothing here reaches another session.
    pub fn options_mut(&mut self) -> &mut ConfigOptions {
        self.state.config_mut().options_mut()
    }

    /// Starts one read-only statement with `$name` parameters; see [`Engine::query_with`].
    pub async fn query(&self, sql: &str, parameters: Parameters) -> Result<QueryStream, QueryError> {
        self.start(Question::Text { sql: sql.to_owned(), parameters }).await
    }

    /// Starts one read-only statement that is parsed already, its placeholders `$1` … filled with `values`.
    pub async fn run(&self, statement: Statement, values: ParamValues) -> Result<QueryStream, QueryError> {
        self.start(Question::Statement { statement: Box::new(statement), values }).await
    }

    /// Plans a statement without running it. `declared` are the types that a client gives its parameters, in order.
    ///
    /// On the engine's own threads: their stacks bear the deepest statement that is let through.
    pub async fn describe(&self, statement: Statement, declared: &[Option<DataType>]) -> Result<Described, QueryError> {
        refuse_writing(&statement)?;
        let inner = self.engine.inner.clone();
        let Some(runtime) = &self.engine.inner.runtime.0 else {
            return Err(QueryError::Internal("the engine is shutting down".to_owned()));
        };
        let (state, access, schemas) = (self.state.clone(), self.access.clone(), self.schemas.clone());
        let described = runtime.spawn(described(inner, state, access, schemas, statement, declared.to_vec()));
        described.await.map_err(|error| QueryError::Internal(format!("cannot plan the statement: {error}")))?
    }

    async fn start(&self, question: Question) -> Result<QueryStream, QueryError> {
        self.engine.start(self.ask(question)).await
    }

    pub(super) fn ask(&self, question: Question) -> Ask {
        Ask {
            access: self.access.clone(),
            state: self.state.clone(),
            schemas: self.schemas.clone(),
            time_max: self.time_max(),
            question,
            stop: Stop::default(),
        }
    }
}

/// The types of placeholders that the planner leaves open, though their place tells: what an element is sought in, and
/// how many rows.
fn told_by_place(plan: &LogicalPlan) -> Result<HashMap<usize, DataType>, DataFusionError> {
    let number = |expr: &Expr| match expr {
        Expr::Placeholder(placeholder) => placeholder.id.trim_start_matches('$').parse::<usize>().ok(),
        _ => None,
    };
    let mut told = HashMap::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Limit(limit) = node {
            let rows = [&limit.skip, &limit.fetch].into_iter().flatten().filter_map(|expr| number(expr));
            told.extend(rows.map(|number| (number, DataType::Int64)));
        }
        let inputs = node.inputs();
        let schema = match inputs.as_slice() {
            [only] => Some(only.schema().as_ref().clone()),
            [left, right] => left.schema().join(right.schema()).ok(),
            _ => None,
        };
        let schema = schema.unwrap_or_else(|| node.schema().as_ref().clone());
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Expr::Cast(cast) = expr
                    && let Some(number) = number(&cast.expr)
                {
                    told.insert(number, cast.field.data_type().clone());
                }
                if let Expr::ScalarFunction(function) = expr
                    && let Some((haystack, needle)) = match (function.name(), function.args.as_slice()) {
                        ("array_has" | "array_position", [haystack, needle, ..]) => Some((haystack, needle)),
                        // What ANY and ALL become.
                        ("zktrail_quantified", [_, _, needle, haystack]) => Some((haystack, needle)),
                        _ => None,
                    }
                    && let Some(number) = number(haystack)
                    && let Ok(element) = needle.get_type(&schema)
                    && !element.is_null()
                {
                    told.insert(number, DataType::List(Arc::new(Field::new_list_field(element, true))));
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(told)
}

async fn described(
    inner: Arc<Inner>,
    state: SessionState,
    access: Access,
    schemas: Schemas,
    statement: Statement,
    declared: Vec<Option<DataType>>,
) -> Result<Described, QueryError> {
    let clean = |error| QueryError::from_datafusion(error, inner.limits.memory_bytes_max);
    let state = with_views(&inner, &state, &access, &schemas).await?;
    let mut plan = logical(&state, statement).await.map_err(clean)?;
    let mut numbered: Vec<(usize, Option<DataType>)> = Vec::new();
    for (name, kind) in plan.get_parameter_types().map_err(clean)? {
        let number = name.trim_start_matches('$').parse().ok().filter(|number| *number > 0);
        let number: usize =
            number.ok_or_else(|| QueryError::Sql(format!("{name} is no placeholder: they are $1, $2 …")))?;
        numbered.push((number, kind));
    }
    let count = numbered.iter().map(|(number, _)| *number).max().unwrap_or(0);
    if count > PLACEHOLDERS_MAX {
        return Err(QueryError::Sql(format!("${count} is too many parameters: the most is ${PLACEHOLDERS_MAX}")));
    }
    let told = told_by_place(&plan).map_err(clean)?;
    let mut parameters = vec![None; count];
    for (number, kind) in numbered {
        if let Some(slot) = parameters.get_mut(number - 1) {
            *slot = match told.get(&number) {
                Some(list @ DataType::List(_)) => Some(list.clone()),
                told => kind.or_else(|| told.cloned()),
            };
        }
    }
    if declared.iter().any(Option::is_some) {
        // What a client declares may change what comes out.
        let types = parameters.iter().enumerate().map(|(at, inferred)| {
            let declared = declared.get(at).and_then(Option::as_ref);
            declared.or(inferred.as_ref()).unwrap_or(&DataType::Utf8)
        });
        let nulls = types.map(ScalarValue::try_from).collect::<Result<Vec<_>, _>>().map_err(clean)?;
        plan = plan.replace_params_with_values(&ParamValues::from(nulls)).map_err(clean)?;
    }
    let schema = with_unique_names(&std::sync::Arc::new(plan.schema().as_arrow().clone()));
    Ok(Described { schema, parameters })
}

/// The protocol counts parameters in 16 bits.
const PLACEHOLDERS_MAX: usize = 65_535;
