//! Parameters of a statement: `$name` in the SQL, a value from outside, put in as a literal of the parsed statement. No
//! text of a value is ever read as SQL.
//!
//! A statement may begin with comments that declare its parameters, one a line:
//!
//! ```sql
//! -- $since  from  24h  changes from here on
//! -- $path   path  required  the znode
//! ```
//! that is name, type, default (or `required`), and what it means. Types:
//!
//! | type | takes | in the SQL |
//! | --- | --- | --- |
//! | `from`, `to` | a moment, see [`when`] | `$name` a timestamp, and `$name_zxid` a zxid: the one that was not named holds nothing back |
//! | `int` | a whole number of 0 or more | a number |
//! | `bool` | `true`, `false` | a boolean |
//! | `text` | anything; `''` is the empty default | a text |
//! | `path` | a znode's path | a text, without a slash at its end |
//!
//! A parameter that is not declared takes text, number, boolean or null as it comes, and has no default.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use datafusion::common::utils::datafusion_strsim::levenshtein;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{Expr, UnaryOperator, Value as Literal, visit_expressions_mut};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::error::QueryError;
use super::when::{self, Bound};
use crate::zk::{self, Micros};

/// Values by the names of the parameters, without their `$`.
pub type Parameters = BTreeMap<String, Value>;

/// A statement has so many parameters at most.
pub const PARAMETERS_MAX: usize = 64;

/// What a parameter is given. In JSON: a string, a number, a boolean, or null.
#[derive(Clone, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(untagged)]
pub enum Value {
    Null,
    Bool(bool),
    Integer(i64),
    Number(f64),
    Text(String),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => value.fmt(f),
            Self::Integer(value) => value.fmt(f),
            Self::Number(value) => value.fmt(f),
            Self::Text(value) => value.fmt(f),
        }
    }
}

/// What a declared parameter takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    From,
    To,
    Int,
    Bool,
    Text,
    Path,
}

impl Type {
    const ALL: [(&'static str, Self); 6] = [
        ("from", Self::From),
        ("to", Self::To),
        ("int", Self::Int),
        ("bool", Self::Bool),
        ("text", Self::Text),
        ("path", Self::Path),
    ];

    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, known)| *known == self).map_or("", |(name, _)| name)
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().find(|(name, _)| *name == text).map(|(_, known)| *known)
    }
}

/// A parameter as the comments before a statement declare it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declaration {
    /// Without its `$`.
    pub name: String,
    pub takes: Type,
    /// `None` where a value is required.
    pub default: Option<String>,
    pub meaning: String,
}

/// The parameters that the comments at the head of a statement declare. Lines that declare none are left alone.
pub fn declarations(sql: &str) -> Vec<Declaration> {
    sql.lines()
        .map(str::trim)
        .take_while(|line| line.is_empty() || line.starts_with("--"))
        .filter_map(|line| declaration(line.trim_start_matches('-').trim()))
        .take(PARAMETERS_MAX)
        .collect()
}

fn declaration(line: &str) -> Option<Declaration> {
    let (name, rest) = line.strip_prefix('$')?.split_once(char::is_whitespace)?;
    let (takes, rest) = rest.trim_start().split_once(char::is_whitespace)?;
    let (default, meaning) = rest.trim_start().split_once(char::is_whitespace).unwrap_or((rest.trim_start(), ""));
    let default = match default {
        "required" => None,
        "''" => Some(String::new()),
        other => Some(other.to_owned()),
    };
    Some(Declaration { name: name.to_owned(), takes: Type::parse(takes)?, default, meaning: meaning.trim().to_owned() })
}

/// Puts values in the place of a statement's parameters: those that are given, else the declared defaults.
///
/// Every error is the caller's to mend, and names the parameter.
pub(super) fn bind(statement: &mut Statement, sql: &str, given: &Parameters, now: Micros) -> Result<(), QueryError> {
    let declared = declarations(sql);
    let mut literals = BTreeMap::new();
    for declaration in &declared {
        let value = given.get(&declaration.name).cloned();
        let value = value.or_else(|| declaration.default.clone().map(Value::Text)).ok_or_else(|| {
            QueryError::Sql(format!("the parameter {} is required: {}", declaration.name, declaration.meaning))
        })?;
        literals.extend(declared_literals(declaration, &value, now)?);
    }
    for (name, value) in given {
        if !declared.iter().any(|declaration| declaration.name == *name) {
            if literals.contains_key(name) {
                return Err(QueryError::Sql(format!("the parameter {name} follows from another: give that one")));
            }
            literals.insert(name.clone(), literal(name, value)?);
        }
    }
    let mut used = Vec::new();
    visit(statement, &mut |name| {
        used.push(name.to_owned());
        literals.get(name).cloned().ok_or_else(|| no_value(name, given))
    })?;
    let is_known = |name: &str| used.iter().any(|used| used == name) || declared.iter().any(|known| known.name == name);
    match given.keys().find(|name| !is_known(name)) {
        None => Ok(()),
        Some(name) => {
            Err(unknown(name, declared.iter().map(|known| known.name.as_str()).chain(used.iter().map(String::as_str))))
        }
    }
}

/// Gives every parameter of a statement to `replace` and puts what it gives in its place.
fn visit(
    statement: &mut Statement,
    replace: &mut impl FnMut(&str) -> Result<Expr, QueryError>,
) -> Result<(), QueryError> {
    let ast = match statement {
        Statement::Statement(ast) => ast,
        Statement::Explain(explain) => return visit(&mut explain.statement, replace),
        Statement::CreateExternalTable(_) | Statement::CopyTo(_) | Statement::Reset(_) => return Ok(()),
    };
    let visited = visit_expressions_mut(ast, |expr| {
        let name = match expr {
            Expr::Value(value) => match &value.value {
                Literal::Placeholder(name) => name.trim_start_matches(['$', ':', '@', '?']).to_owned(),
                _ => return ControlFlow::Continue(()),
            },
            _ => return ControlFlow::Continue(()),
        };
        match replace(&name) {
            Ok(literal) => {
                *expr = literal;
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error),
        }
    });
    match visited {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

fn no_value(name: &str, given: &Parameters) -> QueryError {
    if name.is_empty() {
        return QueryError::Sql("a parameter needs a name: write $name instead of ?".to_owned());
    }
    let near = given.keys().find(|given| levenshtein(given, name) <= 2);
    let hint = near.map_or_else(String::new, |near| format!(" (there is one for {near})"));
    QueryError::Sql(format!(
        "the parameter ${name} has no value{hint}: give it beside the SQL (POST /sql takes {{\"sql\": …, \"params\": \
         {{\"{name}\": …}}}}), or declare it with a default in the comments at the head: -- ${name} text '' meaning"
    ))
}

fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> QueryError {
    let mut known: Vec<&str> = known.collect();
    known.sort_unstable();
    known.dedup();
    let near = known.iter().min_by_key(|known| levenshtein(known, name)).filter(|known| levenshtein(known, name) <= 2);
    QueryError::Sql(match (near, known.is_empty()) {
        (_, true) => format!("there is no parameter {name}: this statement has none"),
        (Some(near), _) => format!("there is no parameter {name}: did you mean {near}?"),
        (None, _) => format!("there is no parameter {name}: this statement has {}", known.join(", ")),
    })
}

fn declared_literals(declaration: &Declaration, value: &Value, now: Micros) -> Result<Vec<(String, Expr)>, QueryError> {
    let name = &declaration.name;
    let refused = |what: &str| QueryError::Sql(format!("the parameter {name}: {what}"));
    if *value == Value::Null {
        return Err(refused("null is no value for it; leave it out for its default"));
    }
    let one = |expr| Ok(vec![(name.clone(), expr)]);
    let written = value.to_string();
    match declaration.takes {
        Type::From | Type::To => {
            let is_from = declaration.takes == Type::From;
            let bound = when::parse(&written, now).map_err(|error| refused(&error.to_string()))?;
            let (time, zxid) = match bound {
                Bound::Time(time) => (time, if is_from { 0 } else { i64::MAX }),
                Bound::Zxid(zxid) => (if is_from { when::TIME_MIN } else { when::TIME_MAX }, zxid),
            };
            Ok(vec![(name.clone(), timestamp(time)?), (format!("{name}_zxid"), integer(zxid))])
        }
        Type::Int => match written.parse::<i64>() {
            Ok(number) if number >= 0 => one(integer(number)),
            _ => Err(refused(&format!("'{written}' is no whole number of 0 or more"))),
        },
        Type::Bool => match written.as_str() {
            "true" => one(Expr::Value(Literal::Boolean(true).into())),
            "false" => one(Expr::Value(Literal::Boolean(false).into())),
            _ => Err(refused(&format!("'{written}' is neither true nor false"))),
        },
        Type::Text => one(text(&written)),
        Type::Path => {
            let path = if written.len() > 1 { written.strip_suffix('/').unwrap_or(&written) } else { &written };
            match zk::is_well_formed(path) {
                true => one(text(path)),
                false => Err(refused(&format!("'{written}' is no path of a znode, as in /brokers/ids"))),
            }
        }
    }
}

fn literal(name: &str, value: &Value) -> Result<Expr, QueryError> {
    Ok(match value {
        Value::Null => Expr::Value(Literal::Null.into()),
        Value::Bool(value) => Expr::Value(Literal::Boolean(*value).into()),
        Value::Integer(value) => integer(*value),
        Value::Number(value) if value.is_finite() => signed(*value < 0.0, value.abs().to_string()),
        Value::Number(_) => return Err(QueryError::Sql(format!("the parameter {name} is no finite number"))),
        Value::Text(value) => text(value),
    })
}

fn text(text: &str) -> Expr {
    Expr::Value(Literal::SingleQuotedString(text.to_owned()).into())
}

fn integer(number: i64) -> Expr {
    signed(number < 0, number.unsigned_abs().to_string())
}

fn signed(is_negative: bool, digits: String) -> Expr {
    let number = Expr::Value(Literal::Number(digits, false).into());
    match is_negative {
        true => Expr::UnaryOp { op: UnaryOperator::Minus, expr: Box::new(number) },
        false => number,
    }
}

/// Of the same type as the time columns, so that statistics can judge it as it is.
fn timestamp(time: Micros) -> Result<Expr, QueryError> {
    let sql = format!("arrow_cast('{time}', 'Timestamp(Microsecond, Some(\"UTC\"))')");
    let parsed = Parser::new(&GenericDialect {}).try_with_sql(&sql).and_then(|mut parser| parser.parse_expr());
    parsed.map_err(|error| QueryError::Internal(format!("{sql}: {error}")))
}

#[cfg(test)]
mod tests;
