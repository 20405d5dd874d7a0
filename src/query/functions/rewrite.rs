//! PostgreSQL's syntax that DataFusion reads otherwise, or not: said in words that it reads rightly, before planning.

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CastKind, DataType, ExactNumberInfo, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentList, FunctionArguments, Ident, Interval, ObjectName, Query, Select, SelectItem, SetExpr,
    Statement as Ast, TableAlias, TableAliasColumnDef, TableFactor, TableWithJoins, UnaryOperator, Value, VisitMut,
    VisitorMut,
};

use crate::query::error::QueryError;

/// Functions that give a row for each value; what they are called with gives an array here.
const SETS: [&str; 10] = [
    "generate_series",
    "json_array_elements",
    "json_array_elements_text",
    "jsonb_array_elements",
    "jsonb_array_elements_text",
    "json_object_keys",
    "jsonb_object_keys",
    "regexp_split_to_table",
    "string_to_table",
    "regexp_matches",
];

/// PostgreSQL's names of aggregates that DataFusion has under another.
const RENAMED: [(&str, &str); 4] = [
    ("every", "bool_and"),
    ("variance", "var_samp"),
    ("regexp_split_to_table", "regexp_split_to_array"),
    ("string_to_table", "string_to_array"),
];

/// Rewrites a statement in place.
pub(crate) fn rewrite(statement: &mut Statement) -> Result<(), QueryError> {
    match statement {
        Statement::Statement(statement) => rewrite_ast(statement),
        Statement::Explain(explain) => rewrite(&mut explain.statement),
        _ => Ok(()),
    }
}

fn rewrite_ast(statement: &mut Ast) -> Result<(), QueryError> {
    match statement.visit(&mut Rewriter) {
        ControlFlow::Break(refused) => Err(QueryError::Sql(refused)),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Rewriter;

impl VisitorMut for Rewriter {
    type Break = String;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<String> {
        select_lists(&mut query.body)
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<String> {
        table(factor);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<String> {
        expression(expr)
    }
}

fn select_lists(body: &mut SetExpr) -> ControlFlow<String> {
    match body {
        SetExpr::Select(select) => select_list(select),
        SetExpr::SetOperation { left, right, .. } => {
            select_lists(left)?;
            select_lists(right)
        }
        _ => ControlFlow::Continue(()),
    }
}

/// A function that gives rows, at the top of a select list, is unnested there.
fn select_list(select: &mut Select) -> ControlFlow<String> {
    for item in &mut select.projection {
        let (expr, named) = match item {
            SelectItem::UnnamedExpr(expr) => (expr, false),
            SelectItem::ExprWithAlias { expr, .. } => (expr, true),
            _ => continue,
        };
        let Some(name) = set_name(expr) else { continue };
        if let Expr::Function(function) = &mut *expr {
            array_form(function);
        }
        let unnested = call("unnest", vec![std::mem::replace(expr, Expr::Value(Value::Null.into()))]);
        *item = match (named, std::mem::replace(item, SelectItem::Wildcard(Default::default()))) {
            (true, SelectItem::ExprWithAlias { alias, .. }) => SelectItem::ExprWithAlias { expr: unnested, alias },
            _ => SelectItem::ExprWithAlias { expr: unnested, alias: Ident::new(name) },
        };
    }
    ControlFlow::Continue(())
}

fn set_name(expr: &Expr) -> Option<String> {
    let Expr::Function(function) = expr else { return None };
    let name = plain_name(&function.name)?;
    SETS.contains(&name.as_str()).then_some(name)
}

fn plain_name(name: &ObjectName) -> Option<String> {
    let last = match name.0.as_slice() {
        [one] => one,
        [schema, one] if schema.to_string().eq_ignore_ascii_case("pg_catalog") => one,
        _ => return None,
    };
    last.as_ident()
        .map(|ident| if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() })
}

/// `regexp_split_to_table` by the name of the function that gives an array.
fn array_form(function: &mut Function) {
    let renamed = plain_name(&function.name).and_then(|name| RENAMED.iter().find(|(known, _)| *known == name));
    if let Some((_, other)) = renamed {
        function.name = ObjectName::from(vec![Ident::new(*other)]);
    }
}

/// `FROM generate_series(1, 3) AS n` as `FROM (SELECT unnest(…) AS n) AS n`.
fn table(factor: &mut TableFactor) {
    // The one column of `unnest(…) AS x` is x.
    if let TableFactor::UNNEST { alias: Some(alias), array_exprs, .. } = factor
        && array_exprs.len() == 1
        && alias.columns.is_empty()
    {
        alias.columns.push(TableAliasColumnDef { name: alias.name.clone(), data_type: None });
        return;
    }
    let (name, arguments, alias, lateral) = match factor {
        TableFactor::Table { name, args: Some(arguments), alias, with_ordinality: false, .. } => {
            (name.clone(), arguments.args.clone(), alias.clone(), false)
        }
        TableFactor::Function { name, args, alias, lateral, .. } => {
            (name.clone(), args.clone(), alias.clone(), *lateral)
        }
        _ => return,
    };
    let Some(plain) = plain_name(&name).filter(|plain| SETS.contains(&plain.as_str())) else { return };
    // Its own, from before.
    if alias.as_ref().is_some_and(|alias| alias.name.value == NUMBERS) {
        return;
    }
    let column = match &alias {
        Some(alias) => alias.columns.first().map_or_else(|| alias.name.clone(), |column| column.name.clone()),
        None if plain.starts_with("json") && plain.contains("elements") => Ident::new("value"),
        None => Ident::new(plain.clone()),
    };
    let mut values = Vec::new();
    for argument in &arguments {
        match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => values.push(expr.clone()),
            _ => return,
        }
    }
    let Some(mut query) = template() else { return };
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    if plain == "generate_series" && values.iter().all(is_whole_number) {
        // DataFusion's own table of whole numbers is made as it is read, however long.
        select.from = vec![TableWithJoins { relation: factor.clone(), joins: Vec::new() }];
        if let Some(TableFactor::Table { alias, .. } | TableFactor::Function { alias, .. }) =
            select.from.first_mut().map(|from| &mut from.relation)
        {
            *alias = Some(TableAlias { explicit: true, name: Ident::new(NUMBERS), columns: Vec::new(), at: None });
        }
        let value = Expr::Identifier(Ident::new("value"));
        select.projection = vec![SelectItem::ExprWithAlias { expr: value, alias: column }];
    } else {
        let mut set = call(&plain, values);
        if let Expr::Function(function) = &mut set {
            array_form(function);
        }
        let unnested = call("unnest", vec![set]);
        select.projection = vec![SelectItem::ExprWithAlias { expr: unnested, alias: column }];
    }
    let name = alias.map_or_else(|| Ident::new(plain), |alias| alias.name);
    let alias = Some(TableAlias { explicit: true, name, columns: Vec::new(), at: None });
    *factor = TableFactor::Derived { lateral, subquery: Box::new(query), alias, sample: None };
}

/// The name of DataFusion's table within the query that is put in its place.
const NUMBERS: &str = "zktrail_numbers";

fn is_whole_number(expr: &Expr) -> bool {
    match expr {
        Expr::Value(value) => {
            matches!(&value.value, Value::Number(digits, _) if digits.bytes().all(|byte| byte.is_ascii_digit()))
        }
        Expr::UnaryOp { op: UnaryOperator::Minus | UnaryOperator::Plus, expr } => is_whole_number(expr),
        _ => false,
    }
}

/// `SELECT 1`, to be filled.
fn template() -> Option<Query> {
    let dialect = datafusion::sql::sqlparser::dialect::PostgreSqlDialect {};
    let statements = datafusion::sql::sqlparser::parser::Parser::parse_sql(&dialect, "SELECT 1").ok()?;
    match statements.into_iter().next()? {
        Ast::Query(query) => Some(*query),
        _ => None,
    }
}

/// A call of a function by its plain name.
pub(crate) fn call(name: &str, arguments: Vec<Expr>) -> Expr {
    let arguments = arguments.into_iter().map(|expr| FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)));
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: arguments.collect(),
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

fn expression(expr: &mut Expr) -> ControlFlow<String> {
    match expr {
        Expr::Value(value) => {
            if let Value::Number(text, _) = &value.value
                && is_beyond_decimal(text)
            {
                *expr = cast(text.clone(), DataType::Double(ExactNumberInfo::None));
            }
        }
        Expr::AtTimeZone { timestamp, time_zone } => {
            *expr = call("timezone", vec![(**time_zone).clone(), (**timestamp).clone()]);
        }
        Expr::SimilarTo { negated, expr: text, pattern, escape_char } => {
            let mut arguments = vec![(**text).clone(), (**pattern).clone()];
            if let Some(escape) = escape_char {
                arguments.push(Expr::Value(escape.clone()));
            }
            let similar = call("zktrail_similar", arguments);
            *expr = match negated {
                true => Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(Expr::Nested(Box::new(similar))) },
                false => similar,
            };
        }
        // A minus binds closer than a power.
        Expr::UnaryOp { op: UnaryOperator::Minus, expr: inner } => {
            if let Expr::BinaryOp { left, op: BinaryOperator::PGExp, right } = inner.as_ref() {
                let base = Expr::UnaryOp { op: UnaryOperator::Minus, expr: left.clone() };
                *expr = Expr::BinaryOp { left: Box::new(base), op: BinaryOperator::PGExp, right: right.clone() };
            }
        }
        Expr::AnyOp { left, compare_op, right, .. } if !matches!(right.as_ref(), Expr::Subquery(_)) => {
            *expr = match (&compare_op, right.as_ref()) {
                (BinaryOperator::Eq, Expr::Array(array)) => {
                    Expr::InList { expr: left.clone(), list: array.elem.clone(), negated: false }
                }
                _ => quantified(compare_op, "any", left, right)?,
            };
        }
        Expr::AllOp { left, compare_op, right } if !matches!(right.as_ref(), Expr::Subquery(_)) => {
            *expr = match (&compare_op, right.as_ref()) {
                (BinaryOperator::NotEq, Expr::Array(array)) => {
                    Expr::InList { expr: left.clone(), list: array.elem.clone(), negated: true }
                }
                _ => quantified(compare_op, "all", left, right)?,
            };
        }
        Expr::Interval(interval) => {
            if let Some(cast) = interval_cast(interval) {
                *expr = cast;
            }
        }
        Expr::Function(function) => {
            let name = plain_name(&function.name);
            if name.as_deref().is_some_and(|name| matches!(name, "every" | "variance")) {
                array_form(function);
            }
            if name.as_deref().is_some_and(|name| matches!(name, "mode" | "percentile_disc"))
                && !function.within_group.is_empty()
            {
                return ControlFlow::Break(format!("{} WITHIN GROUP is not supported", name.unwrap_or_default()));
            }
        }
        _ => {}
    }
    ControlFlow::Continue(())
}

/// `x < ALL (array)` as a call.
fn quantified(op: &BinaryOperator, how: &str, left: &Expr, right: &Expr) -> ControlFlow<String, Expr> {
    let compares = [
        BinaryOperator::Eq,
        BinaryOperator::NotEq,
        BinaryOperator::Lt,
        BinaryOperator::LtEq,
        BinaryOperator::Gt,
        BinaryOperator::GtEq,
    ];
    if !compares.contains(op) {
        return ControlFlow::Break(format!("{op} {} over an array is not supported", how.to_uppercase()));
    }
    let text = |text: String| Expr::Value(Value::SingleQuotedString(text).into());
    let arguments = vec![text(op.to_string()), text(how.to_owned()), left.clone(), right.clone()];
    ControlFlow::Continue(call("zktrail_quantified", arguments))
}

/// A literal interval by PostgreSQL's syntax; `INTERVAL '1' DAY` too.
fn interval_cast(interval: &Interval) -> Option<Expr> {
    if interval.leading_precision.is_some()
        || interval.last_field.is_some()
        || interval.fractional_seconds_precision.is_some()
    {
        return None;
    }
    let Expr::Value(value) = interval.value.as_ref() else { return None };
    let text = match &value.value {
        Value::SingleQuotedString(text) | Value::Number(text, _) => text.clone(),
        _ => return None,
    };
    let text = match &interval.leading_field {
        Some(field) => format!("{text} {field}"),
        None => text,
    };
    Some(cast(text, DataType::Interval { fields: None, precision: None }))
}

/// A text read as a type.
fn cast(text: String, data_type: DataType) -> Expr {
    Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(Expr::Value(Value::SingleQuotedString(text).into())),
        data_type,
        array: false,
        format: None,
    }
}

/// Whether a number is too great, too small or too long for the decimals that there are; a double bears it.
fn is_beyond_decimal(text: &str) -> bool {
    let (digits, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let after_point = digits.split_once('.').map_or(0, |(_, after)| after.len() as i64);
    let count = digits.bytes().filter(u8::is_ascii_digit).count() as i64;
    let Ok(exponent) = exponent.parse::<i64>() else { return true };
    let scale = after_point.saturating_sub(exponent);
    count > DECIMAL_DIGITS_MAX || !(-DECIMAL_DIGITS_MAX..=DECIMAL_DIGITS_MAX).contains(&scale)
}

/// Of a 256-bit decimal.
const DECIMAL_DIGITS_MAX: i64 = 76;
