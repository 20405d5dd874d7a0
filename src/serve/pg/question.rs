//! From a statement's text to what the engine runs: parsed as PostgreSQL parses it, and put into the words that the
//! engine knows where the two differ. Pure.

use std::ops::ControlFlow;
use std::sync::OnceLock;

use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, CastKind, DataType as SqlType, Expr, LimitClause, Query, SelectItem, SetExpr, Statement as Ast,
    TimezoneInfo, Value, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion_pg_catalog::sql::PostgresCompatibilityParser;
use datafusion_pg_catalog::sql::rules::{
    CurrentUserVariableToSessionUserFunctionCall, RewriteArrayAnyAllOperation, SqlStatementRewriteRule,
    StripCallableQualifier,
};
use pgwire::api::Type;

use super::command::{Piece, Place};
use super::error::PgError;

/// Parses one statement.
///
/// Only what looks around in the catalog is rewritten freely: people's own queries mean what they say, or are refused.
pub(super) fn parse(piece: &Piece) -> Result<Statement, PgError> {
    crate::query::check_depth(&piece.text)?;
    // What is let through may still be deeper than the stack of a thread that serves.
    stacker::maybe_grow(STACK_BYTES, STACK_BYTES, || parse_bounded(piece))
}

const STACK_BYTES: usize = 32 << 20;

fn parse_bounded(piece: &Piece) -> Result<Statement, PgError> {
    static LOOKING_AROUND: OnceLock<PostgresCompatibilityParser> = OnceLock::new();
    let wrong = |message: &str| {
        let mut error = PgError::new("42601", message.trim_start_matches("sql parser error: "));
        error.position = place(message).and_then(|place| place.chars(&piece.text)).map(|at| at + piece.begins);
        error
    };
    let mut statement = if piece.looks_around() && piece.tag() == "SELECT" {
        let parser = LOOKING_AROUND.get_or_init(PostgresCompatibilityParser::new);
        let mut statements = parser.parse(&piece.text).map_err(|error| wrong(&error.to_string()))?;
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
        let rules: [&dyn SqlStatementRewriteRule; 3] =
            [&RewriteArrayAnyAllOperation, &StripCallableQualifier, &CurrentUserVariableToSessionUserFunctionCall];
        for rule in rules {
            let taken = std::mem::replace(
                ast,
                Ast::Discard { object_type: datafusion::sql::sqlparser::ast::DiscardObject::ALL },
            );
            *ast = rule.rewrite(taken);
        }
    }
    Ok(statement)
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
pub(super) fn with_types(statement: &Statement, types: &[Option<Type>]) -> Statement {
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
        let Expr::Value(value) = expr else { return None };
        let Value::Placeholder(name) = &value.value else { return None };
        let number: usize = name.strip_prefix('$')?.parse().ok()?;
        sql_type(self.types.get(number.checked_sub(1)?)?.as_ref()?)
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
            None => match inner.as_ref() {
                Expr::Identifier(name) => Some(name.value.clone()),
                Expr::CompoundIdentifier(names) => names.last().map(|name| name.value.clone()),
                _ => None,
            },
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
