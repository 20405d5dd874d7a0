//! From type to type, and every type as text, as PostgreSQL does it.

use std::fmt::Write;

use arrow::datatypes::DataType;
use bigdecimal::{BigDecimal, FromPrimitive, RoundingMode, ToPrimitive};

use super::overload::Context;
use super::time::{self, interval, parse, show};
use super::value::{Answer, Kind, Value};

/// Brings an argument to the kind that a signature wants.
pub(super) fn implicit(context: &Context, value: Value, given: &Kind, wanted: &Kind) -> Answer {
    match (given, wanted) {
        (_, Kind::Any) => Ok(value),
        (given, wanted) if given == wanted => Ok(value),
        (Kind::List(given), Kind::List(wanted)) => match value {
            Value::List(values) => values
                .into_iter()
                .map(|value| implicit(context, value, given, wanted))
                .collect::<Result<_, _>>()
                .map(Value::List),
            other => Ok(other),
        },
        _ => cast(context, value, given, wanted, None),
    }
}

/// What `CAST` gives. `scale` is that of a numeric that is wanted, where it has one.
pub(super) fn cast(context: &Context, value: Value, given: &Kind, wanted: &Kind, scale: Option<i8>) -> Answer {
    let (zone, now) = (&context.zone, context.now);
    let refuse = || Err(format!("cannot cast type {given} to {wanted}"));
    Ok(match (value, wanted) {
        (Value::Null, _) => Value::Null,
        (Value::Text(text), Kind::Text) => Value::Text(text),
        (value, Kind::Text) => Value::Text(text(context, &value, given)?),
        (Value::Text(text), wanted) => read(context, &text, wanted)?,
        (Value::Bool(value), Kind::Bool) => Value::Bool(value),
        (Value::Bool(value), Kind::Int4) => Value::Int(value.into()),
        (Value::Int(value), Kind::Bool) if matches!(given, Kind::Int4 | Kind::Int8) => Value::Bool(value != 0),
        (Value::Int(value), Kind::Int2 | Kind::Int4 | Kind::Int8) => Value::Int(in_range(value, wanted)?),
        (Value::Int(value), Kind::Float4 | Kind::Float8) => Value::Float(value as f64),
        (Value::Int(value), Kind::Numeric) => Value::Numeric(value.into()),
        (Value::Float(value), Kind::Int2 | Kind::Int4 | Kind::Int8) => {
            let rounded = value.round_ties_even();
            if !rounded.is_finite() || rounded < -9_223_372_036_854_775_808.0 || rounded >= 9_223_372_036_854_775_808.0
            {
                return Err(format!("{wanted} out of range"));
            }
            Value::Int(in_range(rounded as i64, wanted)?)
        }
        (Value::Float(value), Kind::Float8) => Value::Float(value),
        (Value::Float(value), Kind::Float4) => {
            if value.is_finite() && !(value as f32).is_finite() {
                return Err("value out of range: overflow".to_owned());
            }
            Value::Float(f64::from(value as f32))
        }
        (Value::Float(value), Kind::Numeric) => Value::Numeric(numeric_of_float(value, *given == Kind::Float4)?),
        (Value::Numeric(value), Kind::Int2 | Kind::Int4 | Kind::Int8) => {
            let rounded = value.with_scale_round(0, RoundingMode::HalfUp).to_i64();
            Value::Int(in_range(rounded.ok_or_else(|| format!("{wanted} out of range"))?, wanted)?)
        }
        (Value::Numeric(value), Kind::Float4 | Kind::Float8) => Value::Float(float_of(&value)?),
        (Value::Numeric(value), Kind::Numeric) => Value::Numeric(match scale {
            Some(scale) => value.with_scale_round(scale.into(), RoundingMode::HalfUp),
            None => value,
        }),
        (Value::Bytes(bytes), Kind::Bytea) => Value::Bytes(bytes),
        (Value::Date(days), Kind::Date) => Value::Date(days),
        (Value::Date(days), Kind::Timestamp) => Value::Timestamp(time::at(time::date_of_days(days)?, 0)?),
        (Value::Date(days), Kind::Timestamptz) => {
            Value::Timestamptz(zone.instant(time::at(time::date_of_days(days)?, 0)?)?)
        }
        (Value::Timestamp(micros), Kind::Timestamp) => Value::Timestamp(micros),
        (Value::Timestamp(micros), Kind::Timestamptz) => Value::Timestamptz(zone.instant(micros)?),
        (Value::Timestamp(micros), Kind::Date) => Value::Date(time::days_of(time::civil(micros)?.date())),
        (Value::Timestamp(micros), Kind::Time) => Value::Time(micros.rem_euclid(time::DAY)),
        (Value::Timestamptz(micros), Kind::Timestamptz) => Value::Timestamptz(micros),
        (Value::Timestamptz(micros), Kind::Timestamp) => Value::Timestamp(zone.local(micros)?),
        (Value::Timestamptz(micros), Kind::Date) => {
            Value::Date(time::days_of(time::civil(zone.local(micros)?)?.date()))
        }
        (Value::Timestamptz(micros), Kind::Time) => Value::Time(zone.local(micros)?.rem_euclid(time::DAY)),
        (Value::Time(micros), Kind::Time) => Value::Time(micros),
        (Value::Time(micros), Kind::Interval) => Value::Interval(interval::Span { micros, ..Default::default() }),
        (Value::Interval(span), Kind::Interval) => Value::Interval(span),
        (Value::Interval(span), Kind::Time) => Value::Time(span.micros.rem_euclid(time::DAY)),
        (Value::List(values), Kind::List(wanted)) => {
            let Kind::List(given) = given else { return refuse() };
            let cast = |value| cast(context, value, given, wanted, scale);
            Value::List(values.into_iter().map(cast).collect::<Result<_, _>>()?)
        }
        _ => {
            let _ = now;
            return refuse();
        }
    })
}

/// Reads a text as a value of a kind, by the syntax that PostgreSQL has for its literals.
fn read(context: &Context, text: &str, wanted: &Kind) -> Answer {
    let (zone, now) = (&context.zone, context.now);
    let wrong = || format!("invalid input syntax for type {wanted}: \"{text}\"");
    let trimmed = text.trim_matches(|c: char| c.is_ascii_whitespace());
    Ok(match wanted {
        Kind::Bool => Value::Bool(bool(trimmed).ok_or_else(wrong)?),
        Kind::Int2 | Kind::Int4 | Kind::Int8 => {
            let digits = trimmed.strip_prefix(['-', '+']).unwrap_or(trimmed);
            if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(wrong());
            }
            let value =
                trimmed.parse::<i64>().map_err(|_| format!("value \"{text}\" is out of range for type {wanted}"))?;
            Value::Int(
                in_range(value, wanted).map_err(|_| format!("value \"{text}\" is out of range for type {wanted}"))?,
            )
        }
        Kind::Float4 | Kind::Float8 => Value::Float(float(trimmed, text, wanted)?),
        Kind::Numeric => {
            let has_digit = trimmed.bytes().any(|byte| byte.is_ascii_digit());
            let plain =
                trimmed.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+' | b'e' | b'E'));
            if matches!(trimmed.to_ascii_lowercase().as_str(), "nan" | "infinity" | "-infinity" | "inf" | "-inf") {
                return Err(format!("a numeric \"{trimmed}\" is not kept"));
            }
            if !has_digit || !plain {
                return Err(wrong());
            }
            let value: BigDecimal = trimmed.parse().map_err(|_| wrong())?;
            if value.fractional_digit_count().unsigned_abs() > 1_000 {
                return Err("value overflows numeric format".to_owned());
            }
            Value::Numeric(value)
        }
        Kind::Text => Value::text(text),
        Kind::Bytea => Value::Bytes(bytea(text)?),
        Kind::Date => Value::Date(parse::date(text, zone, now)?),
        Kind::Time => Value::Time(parse::time(text, zone, now)?),
        Kind::Timestamp => Value::Timestamp(parse::timestamp(text, zone, now)?),
        Kind::Timestamptz => Value::Timestamptz(parse::timestamptz(text, zone, now)?),
        Kind::Interval => Value::Interval(interval::parse(text)?),
        Kind::List(element) => {
            let parts = super::lists::parse(text).ok_or_else(|| format!("malformed array literal: \"{text}\""))?;
            let values =
                parts.into_iter().map(|part| part.map_or(Ok(Value::Null), |part| read(context, &part, element)));
            Value::List(values.collect::<Result<_, _>>()?)
        }
        Kind::Unknown | Kind::Any => return Err(format!("cannot cast type text to {wanted}")),
    })
}

fn in_range(value: i64, wanted: &Kind) -> Result<i64, String> {
    let fits = match wanted {
        Kind::Int2 => i16::try_from(value).is_ok(),
        Kind::Int4 => i32::try_from(value).is_ok(),
        _ => true,
    };
    fits.then_some(value).ok_or_else(|| format!("{wanted} out of range"))
}

fn bool(text: &str) -> Option<bool> {
    let lower = text.to_ascii_lowercase();
    let begins = |word: &str, at_least: usize| lower.len() >= at_least && word.starts_with(&lower);
    match lower.as_str() {
        "1" => Some(true),
        "0" => Some(false),
        _ if begins("true", 1) || begins("yes", 1) || lower == "on" => Some(true),
        _ if begins("false", 1) || begins("no", 1) || begins("off", 2) => Some(false),
        _ => None,
    }
}

fn float(trimmed: &str, text: &str, wanted: &Kind) -> Result<f64, String> {
    let wrong = || format!("invalid input syntax for type {wanted}: \"{text}\"");
    let value: f64 = match trimmed.to_ascii_lowercase().as_str() {
        "nan" => f64::NAN,
        "infinity" | "inf" | "+infinity" | "+inf" => f64::INFINITY,
        "-infinity" | "-inf" => f64::NEG_INFINITY,
        _ if trimmed.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+' | b'e' | b'E')) => {
            let value: f64 = trimmed.parse().map_err(|_| wrong())?;
            if value.is_infinite() {
                return Err(format!("\"{text}\" is out of range for type {wanted}"));
            }
            value
        }
        _ => return Err(wrong()),
    };
    if *wanted == Kind::Float4 {
        let narrow = value as f32;
        if value.is_finite() && !narrow.is_finite() {
            return Err(format!("\"{text}\" is out of range for type {wanted}"));
        }
        return Ok(narrow.into());
    }
    Ok(value)
}

/// `\x00ff`, or the older form with octal escapes.
pub(super) fn bytea(text: &str) -> Result<Vec<u8>, String> {
    let wrong = || "invalid input syntax for type bytea".to_owned();
    if let Some(hex) = text.strip_prefix("\\x") {
        let digits: Vec<u8> = hex.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        return super::text::unhex(&digits);
    }
    super::text::unescape(text).ok_or_else(wrong)
}

/// As PostgreSQL does: by the 15 digits (of a real, 6) that a float surely has.
pub(super) fn numeric_of_float(value: f64, real: bool) -> Result<BigDecimal, String> {
    if !value.is_finite() {
        return Err("a numeric that is not finite is not kept".to_owned());
    }
    let text = if real { format!("{value:.5e}") } else { format!("{value:.14e}") };
    let exact: BigDecimal = text.parse().map_err(|_| "value out of range".to_owned())?;
    Ok(exact.normalized())
}

pub(super) fn float_of(value: &BigDecimal) -> Result<f64, String> {
    value.to_f64().filter(|value| value.is_finite()).ok_or_else(|| "value out of range".to_owned())
}

pub(super) fn numeric_of(value: f64) -> Result<BigDecimal, String> {
    BigDecimal::from_f64(value).ok_or_else(|| "a numeric that is not finite is not kept".to_owned())
}

/// A value as PostgreSQL shows it.
pub(super) fn text(context: &Context, value: &Value, kind: &Kind) -> Result<String, String> {
    Ok(match value {
        Value::Null => String::new(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Float(value) if *kind == Kind::Float4 => float4_text(*value as f32),
        Value::Float(value) => float8_text(*value),
        Value::Numeric(value) => value.to_plain_string(),
        Value::Text(text) => text.clone(),
        Value::Bytes(bytes) => bytes_text(bytes),
        Value::Date(days) => show::date(*days)?,
        Value::Time(micros) => show::time(*micros),
        Value::Timestamp(micros) => show::timestamp(*micros)?,
        Value::Timestamptz(micros) => show::timestamptz(*micros, &context.zone)?,
        Value::Interval(span) => show::interval(*span),
        Value::List(values) => {
            let element = match kind {
                Kind::List(element) => element,
                _ => &Kind::Text,
            };
            super::lists::show(values, |value| text(context, value, element))?
        }
    })
}

fn bytes_text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 + bytes.len() * 2);
    text.push_str("\\x");
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The shortest digits that read back as the same number; from 1e15 on, and below 1e-4, with an exponent.
pub(super) fn float8_text(value: f64) -> String {
    float_text(value, &format!("{value:e}"), 15)
}

fn float4_text(value: f32) -> String {
    float_text(value.into(), &format!("{value:e}"), 6)
}

fn float_text(value: f64, scientific: &str, exponent_max: i32) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..exponent_max).contains(&exponent) {
        let (sign, digits) = mantissa.strip_prefix('-').map_or(("", mantissa), |digits| ("-", digits));
        let digits: String = digits.chars().filter(char::is_ascii_digit).collect();
        let point = exponent + 1;
        let plain = if point <= 0 {
            format!("0.{}{digits}", "0".repeat(point.unsigned_abs() as usize))
        } else if point as usize >= digits.len() {
            format!("{digits}{}", "0".repeat(point as usize - digits.len()))
        } else {
            let (whole, fraction) = digits.split_at(point as usize);
            format!("{whole}.{fraction}")
        };
        return format!("{sign}{plain}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs())
}

/// Whether Arrow's own cast means what PostgreSQL's does, so that it may run over whole columns.
pub(super) fn is_native(from: &DataType, to: &DataType) -> bool {
    if let DataType::Dictionary(_, value) = from {
        return is_native(value, to);
    }
    if let DataType::Dictionary(_, value) = to {
        return is_native(from, value);
    }
    if from == to || from.is_null() {
        return true;
    }
    let (given, wanted) = (Kind::of(from), Kind::of(to));
    if given == Kind::Any || wanted == Kind::Any {
        return true;
    }
    let whole = |kind: &Kind| matches!(kind, Kind::Int2 | Kind::Int4 | Kind::Int8);
    let float = |kind: &Kind| matches!(kind, Kind::Float4 | Kind::Float8);
    match (&given, &wanted) {
        // Widths of text, of binary, of lists and of units of time are the engine's own affair.
        (given, wanted) if given == wanted => {
            !matches!(given, Kind::List(_) | Kind::Numeric) || from.is_nested() && to.is_nested()
        }
        (given, wanted) if whole(given) && whole(wanted) => true,
        (given, wanted) if whole(given) && (float(wanted) || *wanted == Kind::Numeric) => true,
        (Kind::Float4, Kind::Float8) => true,
        (Kind::Bool, wanted) if whole(wanted) => true,
        _ => false,
    }
}
