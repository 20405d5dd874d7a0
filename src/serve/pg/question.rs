//! From a statement's text to what the engine runs: parsed as PostgreSQL parses it, and put into the words that the
//! engine knows where the two differ. Pure.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::OnceLock;

use datafusion::common::ScalarValue;
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast::{
    AccessExpr, Array, ArrayElemTypeDef, CastKind, DataType as SqlType, Expr, FunctionArg, FunctionArgExpr,
    FunctionArguments, GroupByExpr, Ident, LimitClause, ObjectNamePart, Query, SelectItem, SetExpr, Statement as Ast,
    TableFactor, TimezoneInfo, Value, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion_pg_catalog::sql::PostgresCompatibilityParser;
use datafusion_pg_catalog::sql::rules::{SqlStatementRewriteRule, StripCallableQualifier};
use pgwire::api::Type;

use super::command::{Piece, Place};
use super::error::PgError;
use crate::query::STACK_BYTES;
use crate::query::call;

/// Parses one statement.
///
/// Only what looks around in the catalog is rewritten freely: people's own queries mean what they say, or are refused.
pub(super) fn parse(piece: &Piece) -> Result<Statement, PgError> {
    // What is let through may still be deeper than the stack of a thread that serves.
    stacker::maybe_grow(STACK_BYTES, STACK_BYTES, || parse_bounded(piece))
}

fn parse_bounded(piece: &Piece) -> Result<Statement, PgError> {
    static LOOKING_AROUND: OnceLock<PostgresCompatibilityParser> = OnceLock::new();
    let wrong = |message: &str| {
        let mut error = PgError::new("42601", message.trim_start_matches("sql parser error: "));
        error.position = place(message).and_then(|place| place.chars(&piece.text)).map(|at| at + piece.begins);
        error
    };
    let mut statement = if piece.looks_around() && piece.tag() == "SELECT" {
        let parser = LOOKING_AROUND.get_or_init(PostgresCompatibilityParser::new);
        let mut statements =
            parser.parse(&functions_by_name(&piece.text)).map_err(|error| wrong(&error.to_string()))?;
        match (statements.pop(), statements.is_empty()) {
            (Some(statement), true) => Statement::Statement(Box::new(statement)),
            _ => return Err(PgError::new("42601", "this is not one statement")),
        }
    } else {
        let mut parser = DFParserBuilder::new(piece.text.as_str())
            .with_dialect(&PostgreSqlDialect {})
            .build()
            .map_err(|error| PgError::from(crate::query::parse_error(error)))?;
        let mut statements = parser.parse_statements().map_err(|error| {
            let error = crate::query::parse_error(error);
            wrong(&error.to_string())
        })?;
        match (statements.pop_front(), statements.is_empty()) {
            (Some(statement), true) => statement,
            _ => return Err(PgError::new("42601", "this is not one statement")),
        }
    };
    if let Some(ast) = inner(&mut statement) {
        let rules: [&dyn SqlStatementRewriteRule; 1] = [&StripCallableQualifier];
        for rule in rules {
            let taken = std::mem::replace(
                ast,
                Ast::Discard { object_type: datafusion::sql::sqlparser::ast::DiscardObject::ALL },
            );
            *ast = rule.rewrite(taken);
        }
        let _ = VisitMut::visit(ast, &mut Words { looks_around: piece.looks_around() });
        tell_apart(ast);
    }
    Ok(statement)
}

/// Puts what PostgreSQL says and the engine does not into the engine's words, without a change of meaning.
struct Words {
    looks_around: bool,
}

impl VisitorMut for Words {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        // pg_catalog is always in the search path.
        if let TableFactor::Table { name, args: None, .. } = factor
            && let [part] = name.0.as_slice()
            && part.as_ident().is_some_and(|name| name.value.starts_with("pg_"))
        {
            name.0.insert(0, ObjectNamePart::Identifier(Ident::new("pg_catalog")));
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            // The engine knows the backslash alone.
            Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. } => {
                if let Some(Value::SingleQuotedString(escape)) = escape_char.as_ref().map(|escape| &escape.value)
                    && escape != "\\"
                {
                    let escape = text(escape);
                    let taken = std::mem::replace(pattern.as_mut(), escape.clone());
                    **pattern = call("like_escape", vec![taken, escape]);
                    *escape_char = None;
                }
            }
            // Functions that are called without parentheses.
            Expr::Identifier(name)
                if name.quote_style.is_none() && name.value.eq_ignore_ascii_case("current_schema") =>
            {
                *expr = call("current_schema", Vec::new());
            }
            Expr::Function(function) if function.args == FunctionArguments::None => {
                let name = function.name.to_string().to_ascii_lowercase();
                if ["current_user", "session_user", "user", "current_role", "current_catalog"].contains(&name.as_str())
                {
                    *expr = call(&name, Vec::new());
                }
            }
            // An array that is written as a text.
            Expr::AnyOp { right, .. } | Expr::AllOp { right, .. } => {
                if let Expr::Value(value) = right.as_ref()
                    && let Value::SingleQuotedString(elements) = &value.value
                    && let Some(elements) = super::parameters::array_elements(elements)
                {
                    let elements =
                        elements.into_iter().map(|element| element.map_or_else(null, |element| text(&element)));
                    **right = Expr::Array(Array { elem: elements.collect(), named: true });
                }
            }
            Expr::Function(function) if function.name.to_string().eq_ignore_ascii_case("generate_subscripts") => {
                if let FunctionArguments::List(list) = &function.args
                    && let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(of))) = list.args.first()
                {
                    *expr = call("unnest", vec![call("array_subscripts", vec![of.clone()])]);
                }
            }
            // What is left of Grafana's walk along the search path, which leads to one schema.
            Expr::InList { list, .. } if self.looks_around => {
                if let [Expr::Value(value)] = list.as_mut_slice()
                    && value.value == Value::SingleQuotedString(String::new())
                {
                    value.value = Value::SingleQuotedString("public".to_owned());
                }
            }
            // `(row).column`
            Expr::CompoundFieldAccess { root, access_chain }
                if !matches!(root.as_ref(), Expr::Identifier(_) | Expr::CompoundIdentifier(_)) =>
            {
                for access in access_chain {
                    if let AccessExpr::Dot(Expr::Identifier(name)) = access {
                        *access = AccessExpr::Dot(text(&name.value));
                    }
                }
            }
            Expr::Subquery(query) if self.looks_around => {
                if asks_for_nothing(query) {
                    *expr = null();
                } else {
                    at_most_one(query);
                }
            }
            // A flag of the catalog beside a text that stands for one.
            Expr::BinaryOp { left, right, .. } if self.looks_around => {
                let is_flag = |expr: &Expr| {
                    let name = plain_name(expr).unwrap_or_default();
                    ["indis", "relhas", "relis", "attis", "datis", "rolcan"].iter().any(|begin| name.starts_with(begin))
                };
                let flag = |expr: &Expr| match expr {
                    Expr::Value(value) => match &value.value {
                        Value::SingleQuotedString(text) if text == "t" || text == "true" => Some(true),
                        Value::SingleQuotedString(text) if text == "f" || text == "false" => Some(false),
                        _ => None,
                    },
                    _ => None,
                };
                if is_flag(left)
                    && let Some(value) = flag(right)
                {
                    **right = Expr::Value(Value::Boolean(value).into());
                }
            }
            // Rows of the catalog, gathered: there are none, of whatever clients gather so.
            Expr::Function(function)
                if self.looks_around
                    && matches!(function.args, FunctionArguments::Subquery(_))
                    && function.name.to_string().eq_ignore_ascii_case("array") =>
            {
                let data_type = SqlType::Array(ArrayElemTypeDef::SquareBracket(Box::new(SqlType::Text), None));
                *expr =
                    Expr::Cast { kind: CastKind::Cast, expr: Box::new(null()), data_type, array: false, format: None };
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// Tables of the catalog that are empty here.
const EMPTY: [&str; 9] = [
    "pg_attrdef",
    "pg_sequence",
    "pg_inherits",
    "pg_constraint",
    "pg_index",
    "pg_policy",
    "pg_trigger",
    "pg_enum",
    "pg_partitioned_table",
];

/// Whether a scalar subquery reads an empty table, and so is null. (Those that count are left alone.)
fn asks_for_nothing(query: &Query) -> bool {
    let SetExpr::Select(select) = query.body.as_ref() else { return false };
    let is_empty = |factor: &TableFactor| match factor {
        TableFactor::Table { name, .. } => {
            name.0.last().and_then(|part| part.as_ident()).is_some_and(|name| EMPTY.contains(&name.value.as_str()))
        }
        _ => false,
    };
    let counts = select.projection.iter().any(|item| item.to_string().to_ascii_lowercase().contains("count("));
    !counts && select.from.iter().any(|from| is_empty(&from.relation))
}

/// The engine wants to be sure that a subquery gives one row: the catalog's give one at most, of which the greatest
/// is the only one.
fn at_most_one(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    let is_grouped = !matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty());
    if is_grouped || select.distinct.is_some() || select.from.is_empty() {
        return;
    }
    let [item] = select.projection.as_mut_slice() else { return };
    let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else { return };
    let gathers = |expr: &Expr| match expr {
        Expr::Function(function) => {
            let name = function.name.to_string().to_ascii_lowercase();
            let name = name.rsplit('.').next().unwrap_or_default();
            ["max", "min", "count", "sum", "bool_or", "bool_and", "every", "string_agg", "array_agg"].contains(&name)
        }
        _ => false,
    };
    if gathers(expr) {
        return;
    }
    let inner = std::mem::replace(expr, null());
    *expr = call("max", vec![inner]);
    query.order_by = None;
    query.limit_clause = None;
}

/// Gives every column of the answer that has no name one that no other has.
fn all_apart(statement: &Statement) -> Statement {
    let mut statement = statement.clone();
    if let Some(Ast::Query(query)) = inner(&mut statement)
        && let SetExpr::Select(select) = query.body.as_mut()
    {
        for (at, item) in select.projection.iter_mut().enumerate() {
            if let SelectItem::UnnamedExpr(expr) = item {
                let alias = Ident::with_quote('"', format!("{SAME_AGAIN}{at}"));
                let expr = std::mem::replace(expr, null());
                *item = SelectItem::ExprWithAlias { expr, alias };
            }
        }
    }
    statement
}

fn text(value: &str) -> Expr {
    Expr::Value(Value::SingleQuotedString(value.to_owned()).into())
}

fn null() -> Expr {
    Expr::Value(Value::Null.into())
}

/// PostgreSQL lets two columns of an answer have one name; the engine does not. The later gets another one here; how
/// the columns are called in the end, [`column_names`] says.
fn tell_apart(ast: &mut Ast) {
    let Ast::Query(query) = ast else { return };
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    let mut taken = BTreeSet::new();
    for (at, item) in select.projection.iter_mut().enumerate() {
        match item {
            SelectItem::UnnamedExpr(expr) => {
                let name = match &*expr {
                    Expr::Cast { .. } => column_name(expr).unwrap_or_else(|| expr.to_string()),
                    Expr::CompoundIdentifier(names) => names.last().map(|name| name.value.clone()).unwrap_or_default(),
                    other => other.to_string(),
                };
                if !taken.insert(name) {
                    let alias = Ident::with_quote('"', format!("{SAME_AGAIN}{at}"));
                    let expr = std::mem::replace(expr, null());
                    *item = SelectItem::ExprWithAlias { expr, alias };
                }
            }
            SelectItem::ExprWithAlias { expr, alias } if !taken.insert(alias.value.clone()) => {
                let alias = Ident::with_quote('"', format!("{SAME_AGAIN}{at}:{}", alias.value));
                let expr = std::mem::replace(expr, null());
                *item = SelectItem::ExprWithAlias { expr, alias };
            }
            _ => {}
        }
    }
}

/// How the names begin that [`tell_apart`] gives.
const SAME_AGAIN: &str = "zktrail same again ";

/// `'array_in'::regproc` as the plain name: that is how the catalog here holds functions.
fn functions_by_name(sql: &str) -> Cow<'_, str> {
    const CAST: &str = "'::regproc";
    const QUALIFIED: &str = "'pg_catalog.";
    if !sql.contains(CAST) {
        return Cow::Borrowed(sql);
    }
    let mut named = String::with_capacity(sql.len());
    let mut rest = sql;
    while let Some((before, after)) = rest.split_once(CAST) {
        match before.rfind('\'').and_then(|quote| before.split_at_checked(quote)) {
            Some((before, name)) => {
                named.push_str(before);
                named.push('\'');
                named.push_str(name.strip_prefix(QUALIFIED).or_else(|| name.strip_prefix('\'')).unwrap_or(name));
            }
            None => named.push_str(before),
        }
        named.push('\'');
        rest = after;
    }
    named.push_str(rest);
    Cow::Owned(named)
}

/// The parser says where only in words: `… at Line: 1, Column: 8`.
fn place(message: &str) -> Option<Place> {
    let (_, at) = message.rsplit_once("at Line: ")?;
    let (line, column) = at.split_once(", Column: ")?;
    let column = column.split(|c: char| !c.is_ascii_digit()).next()?;
    Some(Place { line: line.parse().ok()?, column: column.parse().ok()? })
}

fn inner(statement: &mut Statement) -> Option<&mut Ast> {
    match statement {
        Statement::Statement(ast) => Some(ast),
        Statement::Explain(explain) => inner(&mut explain.statement),
        _ => None,
    }
}

/// Writes the types that a client has declared into the statement, for where nothing else tells them.
fn with_types(statement: &Statement, types: &[Option<Type>]) -> Statement {
    let mut statement = statement.clone();
    if let Some(ast) = inner(&mut statement) {
        let _ = VisitMut::visit(ast, &mut Typed { types, limits: Vec::new() });
    }
    statement
}

struct Typed<'a> {
    types: &'a [Option<Type>],
    /// LIMIT and OFFSET take a number or a parameter, no expression.
    limits: Vec<Option<LimitClause>>,
}

impl VisitorMut for Typed<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.limits.push(query.limit_clause.take());
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        query.limit_clause = self.limits.pop().flatten();
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Some(data_type) = self.data_type(expr) {
            let inner = std::mem::replace(
                expr,
                Expr::Wildcard(datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken::empty()),
            );
            *expr = Expr::Cast { kind: CastKind::Cast, expr: Box::new(inner), data_type, array: false, format: None };
        }
        ControlFlow::Continue(())
    }
}

impl Typed<'_> {
    fn data_type(&self, expr: &Expr) -> Option<SqlType> {
        sql_type(self.types.get(placeholder(expr)? - 1)?.as_ref()?)
    }
}

fn sql_type(of: &Type) -> Option<SqlType> {
    let array = |element: SqlType| Some(SqlType::Array(ArrayElemTypeDef::SquareBracket(Box::new(element), None)));
    Some(match *of {
        Type::BOOL => SqlType::Boolean,
        Type::INT2 => SqlType::SmallInt(None),
        Type::INT4 => SqlType::Integer(None),
        Type::INT8 => SqlType::BigInt(None),
        Type::FLOAT4 => SqlType::Real,
        Type::FLOAT8 => SqlType::DoublePrecision,
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME => SqlType::Text,
        Type::BYTEA => SqlType::Bytea,
        Type::DATE => SqlType::Date,
        Type::TIMESTAMP => SqlType::Timestamp(None, TimezoneInfo::None),
        Type::TIMESTAMPTZ => SqlType::Timestamp(None, TimezoneInfo::WithTimeZone),
        Type::TEXT_ARRAY | Type::VARCHAR_ARRAY => return array(SqlType::Text),
        Type::INT2_ARRAY => return array(SqlType::SmallInt(None)),
        Type::INT4_ARRAY => return array(SqlType::Integer(None)),
        Type::INT8_ARRAY => return array(SqlType::BigInt(None)),
        Type::FLOAT8_ARRAY => return array(SqlType::DoublePrecision),
        _ => return None,
    })
}

/// How a statement has to be put so that it can be planned.
#[derive(Clone, Copy)]
pub(super) struct Shaped<'a> {
    pub(super) types: &'a [Option<Type>],
    pub(super) typed: bool,
    pub(super) apart: bool,
}

impl Shaped<'_> {
    pub(super) fn attempt(&self, statement: &Statement) -> Statement {
        let typed = if self.typed { with_types(statement, self.types) } else { statement.clone() };
        if self.apart { all_apart(&typed) } else { typed }
    }
}

/// A statement without the parameters of its table functions, and what there is to say of them.
pub(super) struct ForDescribing {
    pub(super) statement: Statement,
    /// Parameters of the whole statement.
    pub(super) count: usize,
    /// The types of those that are cast to one.
    pub(super) types: BTreeMap<usize, Type>,
}

/// Puts something in place of the parameters of table functions, so that the statement can be planned without values.
pub(super) fn for_describing(statement: &Statement) -> ForDescribing {
    let mut statement = statement.clone();
    let mut arguments = Arguments { values: None, count: 0, types: BTreeMap::new() };
    if let Some(ast) = inner(&mut statement) {
        let _ = VisitMut::visit(ast, &mut arguments);
    }
    ForDescribing { statement, count: arguments.count, types: arguments.types }
}

/// The statement with its values for the parameters of table functions: these are called as it is planned.
pub(super) fn with_arguments(statement: &Statement, values: &[ScalarValue]) -> Statement {
    let mut statement = statement.clone();
    if let Some(ast) = inner(&mut statement) {
        let _ = VisitMut::visit(ast, &mut Arguments { values: Some(values), count: 0, types: BTreeMap::new() });
    }
    statement
}

struct Arguments<'a> {
    values: Option<&'a [ScalarValue]>,
    count: usize,
    types: BTreeMap<usize, Type>,
}

impl VisitorMut for Arguments<'_> {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, args: Some(arguments), .. } = factor {
            let mut filled = Filled { values: self.values, count: &mut self.count, types: &mut self.types, found: 0 };
            // Moments come first; what comes after them need not be there.
            let moments = if name.to_string().eq_ignore_ascii_case("tree_diff") { 2 } else { 1 };
            let mut kept = arguments.args.len();
            for (at, argument) in arguments.args.iter_mut().enumerate() {
                filled.found = 0;
                let _ = VisitMut::visit(argument, &mut filled);
                if filled.found > 0 && self.values.is_none() && at >= moments {
                    kept = kept.min(at);
                }
            }
            arguments.args.truncate(kept);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        self.count = self.count.max(placeholder(expr).unwrap_or(0));
        ControlFlow::Continue(())
    }
}

struct Filled<'a> {
    values: Option<&'a [ScalarValue]>,
    count: &'a mut usize,
    types: &'a mut BTreeMap<usize, Type>,
    found: usize,
}

impl VisitorMut for Filled<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Cast { expr, data_type, .. } = expr
            && let Some(number) = placeholder(expr)
        {
            let of = match data_type {
                SqlType::Timestamp(_, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz) => Some(Type::TIMESTAMPTZ),
                SqlType::Timestamp(..) => Some(Type::TIMESTAMP),
                SqlType::Date => Some(Type::DATE),
                SqlType::BigInt(_) | SqlType::Int8(_) => Some(Type::INT8),
                SqlType::Int(_) | SqlType::Integer(_) | SqlType::Int4(_) => Some(Type::INT4),
                _ => None,
            };
            self.types.extend(of.map(|of| (number, of)));
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Some(number) = placeholder(expr) {
            *self.count = (*self.count).max(number);
            self.found += 1;
            let value = self.values.and_then(|values| values.get(number - 1));
            *expr = value.map_or_else(|| call("now", Vec::new()), literal);
        }
        ControlFlow::Continue(())
    }
}

/// The number of a parameter, from 1.
fn placeholder(expr: &Expr) -> Option<usize> {
    let Expr::Value(value) = expr else { return None };
    let Value::Placeholder(name) = &value.value else { return None };
    name.strip_prefix('$')?.parse().ok().filter(|number| *number > 0)
}

/// A value as it would be written.
fn literal(value: &ScalarValue) -> Expr {
    if value.is_null() {
        return null();
    }
    if value.data_type().is_numeric() {
        return Expr::Value(Value::Number(value.to_string(), false).into());
    }
    match value.cast_to(&arrow::datatypes::DataType::Utf8) {
        Ok(ScalarValue::Utf8(Some(written))) => text(&written),
        _ => null(),
    }
}

/// How PostgreSQL names the columns of an answer that have no name of their own; `None` where the engine's name stands.
pub(super) fn column_names(statement: &Statement, columns: usize) -> Vec<Option<String>> {
    let unnamed = vec![None; columns];
    let Statement::Statement(ast) = statement else { return unnamed };
    let Ast::Query(query) = ast.as_ref() else { return unnamed };
    let mut body = query.body.as_ref();
    loop {
        match body {
            SetExpr::Query(query) => body = query.body.as_ref(),
            SetExpr::SetOperation { left, .. } => body = left.as_ref(),
            SetExpr::Values(_) => return (1..=columns).map(|n| Some(format!("column{n}"))).collect(),
            _ => break,
        }
    }
    let SetExpr::Select(select) = body else { return unnamed };
    let is_wild = |item: &SelectItem| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
    let wild = select.projection.iter().filter(|item| is_wild(item)).count();
    let single = select.projection.len() - wild;
    if wild > 1 || single > columns || wild == 0 && single != columns {
        return unnamed;
    }
    let mut names = Vec::with_capacity(columns);
    for item in &select.projection {
        match item {
            SelectItem::UnnamedExpr(expr) => names.push(column_name(expr)),
            SelectItem::ExprWithAlias { expr, alias } if alias.value.starts_with(SAME_AGAIN) => {
                let own = alias.value.split_once(':').map(|(_, own)| own.to_owned());
                names.push(own.or_else(|| column_name(expr)).or_else(|| plain_name(expr)));
            }
            item if is_wild(item) => names.extend(std::iter::repeat_n(None, columns - single)),
            _ => names.push(None),
        }
    }
    if names.len() == columns { names } else { unnamed }
}

fn column_name(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => None,
        Expr::Function(function) => {
            let name = function.name.0.last()?.as_ident()?;
            Some(if name.quote_style.is_some() { name.value.clone() } else { name.value.to_lowercase() })
        }
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => column_name(inner),
        Expr::Cast { expr: inner, data_type, .. } => match column_name(inner) {
            None => plain_name(inner),
            Some(name) if name == UNNAMED => Some(type_name(data_type)),
            named => named,
        },
        Expr::Extract { .. } => Some("extract".to_owned()),
        Expr::Case { .. } => Some("case".to_owned()),
        Expr::Exists { .. } => Some("exists".to_owned()),
        Expr::Substring { .. } => Some("substring".to_owned()),
        Expr::Position { .. } => Some("position".to_owned()),
        Expr::Trim { .. } => Some("btrim".to_owned()),
        Expr::Array(_) => Some("array".to_owned()),
        Expr::AtTimeZone { .. } => Some("timezone".to_owned()),
        Expr::Subquery(_) => None,
        _ => Some(UNNAMED.to_owned()),
    }
}

fn plain_name(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Identifier(name) => Some(name.value.clone()),
        Expr::CompoundIdentifier(names) => names.last().map(|name| name.value.clone()),
        _ => None,
    }
}

const UNNAMED: &str = "?column?";

fn type_name(data_type: &SqlType) -> String {
    match data_type {
        SqlType::Int(_) | SqlType::Integer(_) | SqlType::Int4(_) => "int4".to_owned(),
        SqlType::BigInt(_) | SqlType::Int8(_) => "int8".to_owned(),
        SqlType::SmallInt(_) | SqlType::Int2(_) => "int2".to_owned(),
        SqlType::Timestamp(_, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz) => "timestamptz".to_owned(),
        SqlType::Timestamp(..) => "timestamp".to_owned(),
        SqlType::Boolean | SqlType::Bool => "bool".to_owned(),
        SqlType::Varchar(_) | SqlType::CharacterVarying(_) => "varchar".to_owned(),
        SqlType::DoublePrecision | SqlType::Double(_) => "float8".to_owned(),
        SqlType::Real => "float4".to_owned(),
        other => other.to_string().to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::command::pieces;
    use super::*;

    fn parsed(sql: &str) -> Statement {
        parse(&pieces(sql).unwrap().pop().unwrap()).unwrap()
    }

    fn names(sql: &str, columns: usize) -> Vec<String> {
        let names = column_names(&parsed(sql), columns);
        names.into_iter().map(|name| name.unwrap_or_else(|| "-".to_owned())).collect()
    }

    #[test]
    fn columns_are_named_as_postgresql_names_them() {
        assert_eq!(
            names("SELECT path, count(*), max(seq) AS m, 1, 'x'::text, time::date FROM changes", 6),
            ["-", "count", "-", "?column?", "text", "time"]
        );
        assert_eq!(names("SELECT *, upper(path) FROM changes", 4), ["-", "-", "-", "upper"]);
        assert_eq!(names("VALUES (1, 2)", 2), ["column1", "column2"]);
        assert_eq!(names("SELECT 1 UNION SELECT 2", 1), ["?column?"]);
        assert_eq!(
            names("SELECT 1, 1, time, time::text, a.x AS y, b.x AS y", 6),
            ["?column?", "?column?", "-", "time", "-", "y"]
        );
    }

    #[test]
    fn words_of_postgresql_become_the_engines() {
        let shown = |sql: &str| parsed(sql).to_string();
        assert_eq!(shown("SELECT x LIKE 'a/_%' ESCAPE '/'"), "SELECT x LIKE like_escape('a/_%', '/')");
        assert_eq!(shown("SELECT x = ANY('{a,b}')"), "SELECT x = ANY(ARRAY['a', 'b'])");
        assert_eq!(shown("SELECT pg_catalog.upper(x)"), "SELECT upper(x)");
        assert_eq!(
            shown("SELECT (SELECT adbin FROM pg_catalog.pg_attrdef d WHERE d.adrelid = a.oid) FROM pg_class a"),
            "SELECT NULL FROM pg_catalog.pg_class a"
        );
        assert_eq!(
            functions_by_name("typinput = 'pg_catalog.array_in'::regproc OR 'x'::regproc"),
            "typinput = 'array_in' OR 'x'"
        );
    }

    #[test]
    fn declared_types_are_written_down_but_not_where_a_number_has_to_be() {
        let typed = with_types(&parsed("SELECT $1 FROM changes LIMIT $2"), &[Some(Type::INT4), Some(Type::INT8)]);
        assert_eq!(typed.to_string(), "SELECT CAST($1 AS INTEGER) FROM changes LIMIT $2");
    }
}
