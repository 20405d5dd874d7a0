//! Operators that DataFusion has not, or has with another meaning: arithmetic with times, division of numerics, JSON,
//! regular expressions.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr, RawFieldAccessExpr};
use datafusion::logical_expr::{BinaryExpr, Cast, Expr, ExprSchemable, GetFieldAccess, Operator, ScalarUDF, lit};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::numbers;
use super::overload::{Context, Meaning, meaning, scaled};
use super::regex;
use super::time::fields;
use super::time::interval::Span;
use super::value::{Answer, Kind, Value};

pub(super) const MEANINGS: &[Meaning] = &[
    meaning("zktrail_add(date, int) date", |_, a| days(a[0].date()?, a[1].int()?)),
    meaning("zktrail_add(int, date) date", |_, a| days(a[1].date()?, a[0].int()?)),
    meaning("zktrail_add(date, interval) timestamp", |_, a| later(a[0].date()?, a[1].interval()?)),
    meaning("zktrail_add(interval, date) timestamp", |_, a| later(a[1].date()?, a[0].interval()?)),
    meaning("zktrail_add(date, time) timestamp", |_, a| {
        Ok(Value::Timestamp(super::time::at(super::time::date_of_days(a[0].date()?)?, a[1].micros()?)?))
    }),
    meaning("zktrail_add(interval, interval) interval", |_, a| {
        Ok(Value::Interval(a[0].interval()?.add(a[1].interval()?)?))
    }),
    meaning("zktrail_add(timestamp, interval) timestamp", |_, a| {
        Ok(Value::Timestamp(fields::add(a[0].micros()?, a[1].interval()?)?))
    }),
    meaning("zktrail_add(interval, timestamp) timestamp", |_, a| {
        Ok(Value::Timestamp(fields::add(a[1].micros()?, a[0].interval()?)?))
    }),
    meaning("zktrail_add(timestamptz, interval) timestamptz", |context, a| {
        Ok(Value::Timestamptz(fields::add_in(a[0].micros()?, a[1].interval()?, &context.zone)?))
    }),
    meaning("zktrail_add(interval, timestamptz) timestamptz", |context, a| {
        Ok(Value::Timestamptz(fields::add_in(a[1].micros()?, a[0].interval()?, &context.zone)?))
    }),
    meaning("zktrail_add(time, interval) time", |_, a| {
        Ok(Value::Time((a[0].micros()? + a[1].interval()?.micros % super::time::DAY).rem_euclid(super::time::DAY)))
    }),
    meaning("zktrail_subtract(date, date) int", |_, a| {
        Ok(Value::Int(i64::from(a[0].date()?) - i64::from(a[1].date()?)))
    }),
    meaning("zktrail_subtract(date, int) date", |_, a| days(a[0].date()?, -a[1].int()?)),
    meaning("zktrail_subtract(date, interval) timestamp", |_, a| later(a[0].date()?, a[1].interval()?.negate()?)),
    meaning("zktrail_subtract(interval, interval) interval", |_, a| {
        Ok(Value::Interval(a[0].interval()?.add(a[1].interval()?.negate()?)?))
    }),
    meaning("zktrail_subtract(timestamptz, timestamptz) interval", elapsed),
    meaning("zktrail_subtract(timestamp, timestamp) interval", elapsed),
    meaning("zktrail_subtract(timestamp, interval) timestamp", |_, a| {
        Ok(Value::Timestamp(fields::add(a[0].micros()?, a[1].interval()?.negate()?)?))
    }),
    meaning("zktrail_subtract(timestamptz, interval) timestamptz", |context, a| {
        Ok(Value::Timestamptz(fields::add_in(a[0].micros()?, a[1].interval()?.negate()?, &context.zone)?))
    }),
    meaning("zktrail_subtract(time, time) interval", |_, a| {
        Ok(Value::Interval(Span { micros: a[0].micros()? - a[1].micros()?, ..Span::default() }))
    }),
    meaning("zktrail_subtract(time, interval) time", |_, a| {
        Ok(Value::Time((a[0].micros()? - a[1].interval()?.micros % super::time::DAY).rem_euclid(super::time::DAY)))
    }),
    meaning("zktrail_multiply(interval, float8) interval", |_, a| {
        Ok(Value::Interval(a[0].interval()?.scale(a[1].float()?)?))
    }),
    meaning("zktrail_multiply(float8, interval) interval", |_, a| {
        Ok(Value::Interval(a[1].interval()?.scale(a[0].float()?)?))
    }),
    meaning("zktrail_divide(interval, float8) interval", |_, a| match a[1].float()? {
        0.0 => Err("division by zero".to_owned()),
        by => Ok(Value::Interval(a[0].interval()?.scale(1.0 / by)?)),
    }),
    scaled(
        "zktrail_divide(numeric, numeric) numeric",
        |_, a| Ok(Value::Numeric(numbers::quotient(a[0].numeric()?, a[1].numeric()?)?)),
        numbers::quotient_scale,
    ),
    meaning("zktrail_equal(interval, interval) boolean", |_, a| compare(a, std::cmp::Ordering::is_eq)),
    meaning("zktrail_unequal(interval, interval) boolean", |_, a| compare(a, std::cmp::Ordering::is_ne)),
    meaning("zktrail_less(interval, interval) boolean", |_, a| compare(a, std::cmp::Ordering::is_lt)),
    meaning("zktrail_at_most(interval, interval) boolean", |_, a| compare(a, std::cmp::Ordering::is_le)),
    meaning("zktrail_greater(interval, interval) boolean", |_, a| compare(a, std::cmp::Ordering::is_gt)),
    meaning("zktrail_at_least(interval, interval) boolean", |_, a| compare(a, std::cmp::Ordering::is_ge)),
    meaning("zktrail_matches(text, text) boolean", |context, a| matches(context, a, "", true)),
    meaning("zktrail_matches_not(text, text) boolean", |context, a| matches(context, a, "", false)),
    meaning("zktrail_imatches(text, text) boolean", |context, a| matches(context, a, "i", true)),
    meaning("zktrail_imatches_not(text, text) boolean", |context, a| matches(context, a, "i", false)),
];

/// How an operator's function is written.
pub(super) fn written(name: &str) -> Option<&'static str> {
    Some(match name {
        "zktrail_add" => "+",
        "zktrail_subtract" => "-",
        "zktrail_multiply" => "*",
        "zktrail_divide" => "/",
        "zktrail_equal" => "=",
        "zktrail_unequal" => "<>",
        "zktrail_less" => "<",
        "zktrail_at_most" => "<=",
        "zktrail_greater" => ">",
        "zktrail_at_least" => ">=",
        "zktrail_matches" => "~",
        "zktrail_matches_not" => "!~",
        "zktrail_imatches" => "~*",
        "zktrail_imatches_not" => "!~*",
        "zktrail_json_get" => "->",
        "zktrail_json_text" => "->>",
        "zktrail_json_path" => "#>",
        "zktrail_json_path_text" => "#>>",
        "zktrail_json_contains" => "@>",
        "zktrail_json_has" => "?",
        _ => return None,
    })
}

fn days(date: i32, by: i64) -> Answer {
    let moved = i64::from(date).checked_add(by).and_then(|days| i32::try_from(days).ok());
    let moved = moved.ok_or_else(|| "date out of range".to_owned())?;
    super::time::date_of_days(moved).map(|_| Value::Date(moved))
}

fn later(date: i32, span: Span) -> Answer {
    let midnight = super::time::at(super::time::date_of_days(date)?, 0)?;
    Ok(Value::Timestamp(fields::add(midnight, span)?))
}

fn elapsed(_: &Context, a: &[Value]) -> Answer {
    let micros = a[0].micros()?.checked_sub(a[1].micros()?).ok_or("interval out of range")?;
    Ok(Value::Interval(Span::of_elapsed(micros)))
}

fn compare(a: &[Value], holds: fn(std::cmp::Ordering) -> bool) -> Answer {
    Ok(Value::Bool(holds(a[0].interval()?.length().cmp(&a[1].interval()?.length()))))
}

fn matches(context: &Context, a: &[Value], flags: &str, wanted: bool) -> Answer {
    Ok(Value::Bool(context.pattern(a[1].str()?, flags)?.is_match(a[0].str()?) == wanted))
}

/// Plans the operators by the types on their sides.
#[derive(Debug)]
pub(super) struct Operators {
    functions: Vec<Arc<ScalarUDF>>,
}

impl Operators {
    pub(super) fn new(functions: &[Arc<ScalarUDF>]) -> Self {
        Self { functions: functions.to_vec() }
    }

    fn call(&self, name: &str, arguments: Vec<Expr>) -> Result<Expr> {
        let function = self.functions.iter().find(|function| function.name() == name);
        let function = function.ok_or_else(|| DataFusionError::Internal(format!("there is no {name}")))?;
        Ok(Expr::ScalarFunction(ScalarFunction::new_udf(function.clone(), arguments)))
    }

    fn plan(&self, raw: &RawBinaryExpr, schema: &DFSchema) -> Result<Option<Expr>> {
        use BinaryOperator as Op;
        let (left, right) = (&raw.left, &raw.right);
        let kind = |side: &Expr| side.get_type(schema).map_or(Kind::Unknown, |data_type| Kind::of(&data_type));
        let both = || vec![left.clone(), right.clone()];
        let call = |name: &str| self.call(name, both()).map(Some);
        let name = match &raw.op {
            Op::Plus => "zktrail_add",
            Op::Minus => "zktrail_subtract",
            Op::Multiply => "zktrail_multiply",
            Op::Divide => "zktrail_divide",
            Op::Eq => "zktrail_equal",
            Op::NotEq => "zktrail_unequal",
            Op::Lt => "zktrail_less",
            Op::LtEq => "zktrail_at_most",
            Op::Gt => "zktrail_greater",
            Op::GtEq => "zktrail_at_least",
            Op::PGExp => {
                return match (kind(left), kind(right)) {
                    (Kind::Text, _) | (_, Kind::Text) => {
                        Err(DataFusionError::Plan("there is no operator text ^ text".to_owned()))
                    }
                    _ => self.call("power", both()).map(Some),
                };
            }
            Op::PGRegexMatch | Op::PGRegexNotMatch | Op::PGRegexIMatch | Op::PGRegexNotIMatch => {
                return self.regular(&raw.op, left, right).map(Some);
            }
            Op::Arrow | Op::LongArrow | Op::HashArrow | Op::HashLongArrow => {
                let path = matches!(raw.op, Op::HashArrow | Op::HashLongArrow);
                let name = match raw.op {
                    Op::Arrow => "zktrail_json_get",
                    Op::LongArrow => "zktrail_json_text",
                    Op::HashArrow => "zktrail_json_path",
                    _ => "zktrail_json_path_text",
                };
                // Of other values DataFusion's arrow is a field of a struct or a map.
                return match (kind(left), path) {
                    (Kind::Text | Kind::Unknown, _) => call(name),
                    (_, true) => call(name),
                    _ => Ok(None),
                };
            }
            Op::AtArrow if kind(left) == Kind::Text => return call("zktrail_json_contains"),
            Op::ArrowAt if kind(left) == Kind::Text => {
                return self.call("zktrail_json_contains", vec![right.clone(), left.clone()]).map(Some);
            }
            Op::Question if kind(left) == Kind::Text => return call("zktrail_json_has"),
            Op::QuestionAnd | Op::QuestionPipe | Op::HashMinus | Op::AtQuestion | Op::AtAt => {
                return Err(DataFusionError::Plan(format!("the operator {} is not supported", raw.op)));
            }
            Op::PGStartsWith => return self.call("starts_with", both()).map(Some),
            Op::PGBitwiseShiftLeft | Op::PGBitwiseShiftRight => {
                return self.shift(&raw.op, left, right, schema);
            }
            // A bare NULL is an array there, of nothing.
            Op::StringConcat if matches!(kind(left), Kind::List(_)) && is_null(right) => return Ok(Some(left.clone())),
            Op::StringConcat if matches!(kind(right), Kind::List(_)) && is_null(left) => {
                return Ok(Some(right.clone()));
            }
            Op::StringConcat if is_json(left, schema) || is_json(right, schema) => {
                return Err(DataFusionError::Plan("the operator jsonb || jsonb is not supported".to_owned()));
            }
            _ => return Ok(None),
        };
        let (left_kind, right_kind) = (kind(left), kind(right));
        let is_comparison = name.starts_with("zktrail_equal")
            || matches!(
                name,
                "zktrail_unequal" | "zktrail_less" | "zktrail_at_most" | "zktrail_greater" | "zktrail_at_least"
            );
        if is_comparison {
            if left_kind == Kind::Interval || right_kind == Kind::Interval {
                return call(name);
            }
            return Ok(quoted_as_other_side(raw, &left_kind, &right_kind, schema));
        }
        let temporal = |kind: &Kind| {
            matches!(kind, Kind::Date | Kind::Time | Kind::Timestamp | Kind::Timestamptz | Kind::Interval)
        };
        if temporal(&left_kind) || temporal(&right_kind) {
            return call(name);
        }
        let whole = |kind: &Kind| matches!(kind, Kind::Int2 | Kind::Int4 | Kind::Int8);
        let exact = |kind: &Kind| whole(kind) || *kind == Kind::Numeric;
        if name == "zktrail_divide"
            && exact(&left_kind)
            && exact(&right_kind)
            && !(whole(&left_kind) && whole(&right_kind))
        {
            return call(name);
        }
        Ok(None)
    }

    /// With a constant pattern DataFusion's own operator, which runs over whole columns, gets it translated.
    fn regular(&self, op: &BinaryOperator, left: &Expr, right: &Expr) -> Result<Expr> {
        let insensitive = matches!(op, BinaryOperator::PGRegexIMatch | BinaryOperator::PGRegexNotIMatch);
        let (name, operator) = match op {
            BinaryOperator::PGRegexMatch => ("zktrail_matches", Operator::RegexMatch),
            BinaryOperator::PGRegexIMatch => ("zktrail_imatches", Operator::RegexIMatch),
            BinaryOperator::PGRegexNotMatch => ("zktrail_matches_not", Operator::RegexNotMatch),
            _ => ("zktrail_imatches_not", Operator::RegexNotIMatch),
        };
        if let Expr::Literal(ScalarValue::Utf8(Some(pattern)), _) = right {
            let mut flag = insensitive;
            let translated = regex::translate(pattern, &mut flag).map_err(DataFusionError::Plan)?;
            if flag == insensitive {
                let pattern = lit(format!("(?s){}", translated.pattern));
                return Ok(Expr::BinaryExpr(BinaryExpr::new(Box::new(left.clone()), operator, Box::new(pattern))));
            }
        }
        self.call(name, vec![left.clone(), right.clone()])
    }

    /// A literal is an integer of 32 bits in PostgreSQL, and is shifted as one.
    fn shift(&self, op: &BinaryOperator, left: &Expr, right: &Expr, schema: &DFSchema) -> Result<Option<Expr>> {
        let is_literal =
            matches!(left, Expr::Literal(ScalarValue::Int64(Some(value)), _) if i32::try_from(*value).is_ok());
        let by_constant = matches!(right, Expr::Literal(ScalarValue::Int64(Some(0..=31)), _));
        if !by_constant {
            return Err(DataFusionError::Plan(format!("{op} by other than a constant of 0 to 31 is not supported")));
        }
        if !is_literal {
            let _ = schema;
            return Ok(None);
        }
        let operator = match op {
            BinaryOperator::PGBitwiseShiftLeft => Operator::BitwiseShiftLeft,
            _ => Operator::BitwiseShiftRight,
        };
        let narrow = |side: &Expr| Box::new(Expr::Cast(Cast::new(Box::new(side.clone()), DataType::Int32)));
        Ok(Some(Expr::BinaryExpr(BinaryExpr::new(narrow(left), operator, narrow(right)))))
    }
}

/// A quoted literal beside another type is read as that type; DataFusion would compare some of them as texts.
fn quoted_as_other_side(raw: &RawBinaryExpr, left: &Kind, right: &Kind, schema: &DFSchema) -> Option<Expr> {
    let operator = match raw.op {
        BinaryOperator::Eq => Operator::Eq,
        BinaryOperator::NotEq => Operator::NotEq,
        BinaryOperator::Lt => Operator::Lt,
        BinaryOperator::LtEq => Operator::LtEq,
        BinaryOperator::Gt => Operator::Gt,
        BinaryOperator::GtEq => Operator::GtEq,
        _ => return None,
    };
    let is_quoted = |side: &Expr| matches!(side, Expr::Literal(ScalarValue::Utf8(Some(_)), _));
    let is_plain = |kind: &Kind| !matches!(kind, Kind::Text | Kind::Unknown | Kind::Any | Kind::List(_));
    let wanted = |side: &Expr| {
        let data_type = side.get_type(schema).ok()?;
        Some(match Kind::of(&data_type) {
            // A literal has what digits it has.
            Kind::Numeric => DataType::Decimal128(38, 16),
            _ => data_type,
        })
    };
    let cast = |side: &Expr, to: DataType| Box::new(Expr::Cast(Cast::new(Box::new(side.clone()), to)));
    if is_quoted(&raw.left) && is_plain(right) {
        let to = wanted(&raw.right)?;
        return Some(Expr::BinaryExpr(BinaryExpr::new(cast(&raw.left, to), operator, Box::new(raw.right.clone()))));
    }
    if is_quoted(&raw.right) && is_plain(left) {
        let to = wanted(&raw.left)?;
        return Some(Expr::BinaryExpr(BinaryExpr::new(Box::new(raw.left.clone()), operator, cast(&raw.right, to))));
    }
    None
}

fn is_null(side: &Expr) -> bool {
    matches!(side, Expr::Literal(value, _) if value.data_type().is_null())
}

fn is_json(side: &Expr, schema: &DFSchema) -> bool {
    side.to_field(schema).is_ok_and(|(_, field)| field.metadata().contains_key(super::types::JSON_KEY))
}

impl ExprPlanner for Operators {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        Ok(match self.plan(&expr, schema)? {
            Some(planned) => PlannerResult::Planned(planned),
            None => PlannerResult::Original(expr),
        })
    }

    /// Counted from 1; there is nothing before, and nothing from the end.
    fn plan_field_access(
        &self,
        raw: RawFieldAccessExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawFieldAccessExpr>> {
        let is_list = matches!(raw.expr.get_type(schema).map(|data_type| Kind::of(&data_type)), Ok(Kind::List(_)));
        match raw.field_access {
            GetFieldAccess::ListIndex { key } if is_list => {
                self.call("zktrail_element", vec![raw.expr, *key]).map(PlannerResult::Planned)
            }
            GetFieldAccess::ListRange { start, stop, .. } if is_list => {
                self.call("zktrail_slice", vec![raw.expr, *start, *stop]).map(PlannerResult::Planned)
            }
            field_access => Ok(PlannerResult::Original(RawFieldAccessExpr { field_access, expr: raw.expr })),
        }
    }

    fn plan_extract(&self, arguments: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        self.call("extract", arguments).map(PlannerResult::Planned)
    }

    fn plan_substring(&self, arguments: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        self.call("substring", arguments).map(PlannerResult::Planned)
    }

    fn plan_overlay(&self, arguments: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        self.call("overlay", arguments).map(PlannerResult::Planned)
    }

    fn plan_position(&self, arguments: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        self.call("strpos", arguments).map(PlannerResult::Planned)
    }
}
