//! Mathematics. What is not finite or not defined is an error, as in PostgreSQL, not a NaN.

pub(super) mod format;

use arrow::datatypes::DataType;
use bigdecimal::num_traits::{Signed, Zero};
use bigdecimal::{BigDecimal, RoundingMode};
use datafusion::common::ScalarValue;

use super::cast::numeric_of;
use super::lists::LIST_VALUES_MAX;
use super::overload::{Context, Meaning, meaning, scale_of, scaled};
use super::value::{Answer, NUMERIC_DIGITS_MAX, Value};

pub(super) const MEANINGS: &[Meaning] = &[
    meaning("round(float8) float8", |_, a| Ok(Value::Float(a[0].float()?.round_ties_even()))),
    scaled("round(numeric) numeric", |_, a| Ok(rounded(a[0].numeric()?, 0)), whole),
    scaled("round(numeric, int) numeric", |_, a| Ok(rounded(a[0].numeric()?, places(&a[1])?)), asked),
    // PostgreSQL has none, and says so; there is only one thing that it can mean.
    meaning("round(float8, int) float8", |_, a| {
        let value = a[0].float()?;
        if !value.is_finite() {
            return Ok(Value::Float(value));
        }
        let Value::Numeric(rounded) = rounded(&super::cast::numeric_of_float(value, false)?, places(&a[1])?) else {
            return Ok(Value::Null);
        };
        super::cast::float_of(&rounded).map(Value::Float)
    }),
    meaning("trunc(float8) float8", |_, a| Ok(Value::Float(a[0].float()?.trunc()))),
    scaled("trunc(numeric) numeric", |_, a| Ok(cut(a[0].numeric()?, 0, RoundingMode::Down)), whole),
    scaled("trunc(numeric, int) numeric", |_, a| Ok(cut(a[0].numeric()?, places(&a[1])?, RoundingMode::Down)), asked),
    meaning("ceil(float8) float8", |_, a| Ok(Value::Float(a[0].float()?.ceil()))),
    scaled("ceil(numeric) numeric", |_, a| Ok(cut(a[0].numeric()?, 0, RoundingMode::Ceiling)), whole),
    meaning("ceiling(float8) float8", |_, a| Ok(Value::Float(a[0].float()?.ceil()))),
    scaled("ceiling(numeric) numeric", |_, a| Ok(cut(a[0].numeric()?, 0, RoundingMode::Ceiling)), whole),
    meaning("floor(float8) float8", |_, a| Ok(Value::Float(a[0].float()?.floor()))),
    scaled("floor(numeric) numeric", |_, a| Ok(cut(a[0].numeric()?, 0, RoundingMode::Floor)), whole),
    meaning("abs(int) int", |_, a| absolute(a, i32::MAX.into(), "integer out of range")),
    meaning("abs(bigint) bigint", |_, a| absolute(a, i64::MAX, "bigint out of range")),
    meaning("abs(float8) float8", |_, a| Ok(Value::Float(a[0].float()?.abs()))),
    meaning("abs(numeric) numeric", |_, a| Ok(Value::Numeric(a[0].numeric()?.abs()))),
    meaning("sign(float8) float8", |_, a| {
        let value = a[0].float()?;
        Ok(Value::Float(if value == 0.0 || value.is_nan() { value.abs() } else { value.signum() }))
    }),
    scaled("sign(numeric) numeric", |_, a| Ok(Value::Numeric(a[0].numeric()?.signum())), whole),
    scaled(
        "div(numeric, numeric) numeric",
        |_, a| {
            let (quotient, _) = divided(a[0].numeric()?, a[1].numeric()?)?;
            Ok(Value::Numeric(quotient))
        },
        whole,
    ),
    meaning("mod(int, int) int", |_, a| remainder(a)),
    meaning("mod(bigint, bigint) bigint", |_, a| remainder(a)),
    scaled(
        "mod(numeric, numeric) numeric",
        |_, a| {
            let (_, rest) = divided(a[0].numeric()?, a[1].numeric()?)?;
            Ok(Value::Numeric(rest))
        },
        widest,
    ),
    meaning("gcd(int, int) int", |_, a| Ok(Value::Int(gcd(a[0].int()?, a[1].int()?)?))),
    meaning("gcd(bigint, bigint) bigint", |_, a| Ok(Value::Int(gcd(a[0].int()?, a[1].int()?)?))),
    meaning("lcm(int, int) int", |_, a| lcm(a)),
    meaning("lcm(bigint, bigint) bigint", |_, a| lcm(a)),
    scaled(
        "factorial(bigint) numeric",
        |_, a| {
            let value = a[0].int()?;
            if value < 0 {
                return Err("factorial of a negative number is undefined".to_owned());
            }
            // 34! does not fit in 38 digits; what does not is refused where it is kept.
            let product =
                (1..=value.min(40)).fold(BigDecimal::from(1), |product, factor| product * BigDecimal::from(factor));
            Ok(Value::Numeric(product))
        },
        whole,
    ),
    meaning("power(float8, float8) float8", power),
    meaning("pow(float8, float8) float8", power),
    meaning("sqrt(float8) float8", |_, a| match a[0].float()? {
        value if value < 0.0 => Err("cannot take square root of a negative number".to_owned()),
        value => Ok(Value::Float(value.sqrt())),
    }),
    meaning("cbrt(float8) float8", |_, a| Ok(Value::Float(a[0].float()?.cbrt()))),
    meaning("exp(float8) float8", |_, a| bounded(a[0].float()?, a[0].float()?.exp())),
    meaning("ln(float8) float8", |_, a| logarithm(a[0].float()?, f64::ln)),
    meaning("log(float8) float8", |_, a| logarithm(a[0].float()?, f64::log10)),
    meaning("log10(float8) float8", |_, a| logarithm(a[0].float()?, f64::log10)),
    meaning("log(float8, float8) float8", |_, a| {
        let (base, value) = (a[0].float()?, a[1].float()?);
        let (Value::Float(base), Value::Float(value)) = (logarithm(base, f64::ln)?, logarithm(value, f64::ln)?) else {
            return Ok(Value::Null);
        };
        if base == 0.0 {
            return Err("division by zero".to_owned());
        }
        Ok(Value::Float(value / base))
    }),
    meaning("sin(float8) float8", |_, a| finite(a, f64::sin)),
    meaning("cos(float8) float8", |_, a| finite(a, f64::cos)),
    meaning("tan(float8) float8", |_, a| finite(a, f64::tan)),
    meaning("cot(float8) float8", |_, a| finite(a, |value| 1.0 / value.tan())),
    meaning("asin(float8) float8", |_, a| within(a, f64::asin)),
    meaning("acos(float8) float8", |_, a| within(a, f64::acos)),
    meaning("atan(float8) float8", |_, a| Ok(Value::Float(a[0].float()?.atan()))),
    meaning("atan2(float8, float8) float8", |_, a| Ok(Value::Float(a[0].float()?.atan2(a[1].float()?)))),
    meaning("sinh(float8) float8", |_, a| Ok(Value::Float(a[0].float()?.sinh()))),
    meaning("cosh(float8) float8", |_, a| Ok(Value::Float(a[0].float()?.cosh()))),
    meaning("tanh(float8) float8", |_, a| Ok(Value::Float(a[0].float()?.tanh()))),
    meaning("asinh(float8) float8", |_, a| Ok(Value::Float(a[0].float()?.asinh()))),
    meaning("acosh(float8) float8", |_, a| match a[0].float()? {
        value if value < 1.0 => Err("input is out of range".to_owned()),
        value => Ok(Value::Float(value.acosh())),
    }),
    meaning("atanh(float8) float8", |_, a| within(a, f64::atanh)),
    meaning("degrees(float8) float8", |_, a| Ok(Value::Float(a[0].float()? / (std::f64::consts::PI / 180.0)))),
    meaning("radians(float8) float8", |_, a| Ok(Value::Float(a[0].float()? * (std::f64::consts::PI / 180.0)))),
    meaning("pi() float8", |_, _| Ok(Value::Float(std::f64::consts::PI))),
    meaning("!random() float8", |_, _| Ok(Value::Float(fastrand::f64()))),
    meaning("width_bucket(float8, float8, float8, int) int", |_, a| {
        let (value, low, high, count) = (a[0].float()?, a[1].float()?, a[2].float()?, a[3].int()?);
        if count <= 0 {
            return Err("count must be greater than zero".to_owned());
        }
        if value.is_nan() || low.is_nan() || high.is_nan() {
            return Err("operand, lower bound, and upper bound cannot be NaN".to_owned());
        }
        if low == high || low.is_infinite() || high.is_infinite() {
            return Err("lower bound cannot equal upper bound".to_owned());
        }
        let (from, to, at) = if low < high { (low, high, value) } else { (-low, -high, -value) };
        Ok(Value::Int(match at {
            at if at < from => 0,
            at if at >= to => count + 1,
            at => ((at - from) / (to - from) * count as f64) as i64 + 1,
        }))
    }),
    meaning("generate_series(int, int) int[]", |_, a| series(a[0].int()?, a[1].int()?, 1)),
    meaning("generate_series(bigint, bigint) bigint[]", |_, a| series(a[0].int()?, a[1].int()?, 1)),
    meaning("generate_series(int, int, int) int[]", |_, a| series(a[0].int()?, a[1].int()?, a[2].int()?)),
    meaning("generate_series(bigint, bigint, bigint) bigint[]", |_, a| series(a[0].int()?, a[1].int()?, a[2].int()?)),
    scaled(
        "generate_series(numeric, numeric, numeric) numeric[]",
        |_, a| {
            let (mut at, to, step) = (a[0].numeric()?.clone(), a[1].numeric()?, a[2].numeric()?);
            if step.is_zero() {
                return Err("step size cannot equal zero".to_owned());
            }
            let mut values = Vec::new();
            while if step.is_positive() { at <= *to } else { at >= *to } {
                if values.len() >= LIST_VALUES_MAX {
                    return Err(format!("more than {LIST_VALUES_MAX} values"));
                }
                values.push(Value::Numeric(at.clone()));
                at += step;
            }
            Ok(Value::List(values))
        },
        widest,
    ),
    meaning("to_hex(int) text", |_, a| Ok(Value::Text(format!("{:x}", a[0].int()? as i32)))),
    meaning("to_hex(bigint) text", |_, a| Ok(Value::Text(format!("{:x}", a[0].int()?)))),
    meaning("to_char(bigint, text) text", |_, a| {
        format::to_char(&BigDecimal::from(a[0].int()?), a[1].str()?).map(Value::Text)
    }),
    meaning("to_char(float8, text) text", |_, a| {
        format::to_char(&numeric_of(a[0].float()?)?, a[1].str()?).map(Value::Text)
    }),
    meaning("to_char(numeric, text) text", |_, a| format::to_char(a[0].numeric()?, a[1].str()?).map(Value::Text)),
    scaled(
        "to_number(text, text) numeric",
        |_, a| format::to_number(a[0].str()?, a[1].str()?).map(Value::Numeric),
        to_number_scale,
    ),
];

fn whole(_: &[DataType], _: &[Option<ScalarValue>]) -> i8 {
    0
}

/// As many places as the second argument asks for.
fn asked(types: &[DataType], constants: &[Option<ScalarValue>]) -> i8 {
    let places = constants.get(1).and_then(Option::as_ref).and_then(|places| match places {
        ScalarValue::Int64(places) => *places,
        ScalarValue::Int32(places) => places.map(i64::from),
        _ => None,
    });
    let kept = places.map_or_else(|| scale_of(types.first()), |places| i8::try_from(places.clamp(0, 20)).unwrap_or(0));
    kept.clamp(0, 20)
}

pub(super) fn widest(types: &[DataType], _: &[Option<ScalarValue>]) -> i8 {
    types.iter().map(|data_type| scale_of(Some(data_type))).max().unwrap_or(0)
}

fn to_number_scale(_: &[DataType], constants: &[Option<ScalarValue>]) -> i8 {
    let format = constants.get(1).and_then(Option::as_ref).and_then(|format| format.try_as_str().flatten());
    format.map_or(16, |format| {
        let behind = format.to_ascii_uppercase().replace('D', ".");
        let digits = behind.split_once('.').map_or(0, |(_, behind)| behind.matches(['9', '0']).count());
        i8::try_from(digits.min(usize::from(NUMERIC_DIGITS_MAX / 2))).unwrap_or(0)
    })
}

fn places(value: &Value) -> Result<i64, String> {
    Ok(value.int()?.clamp(-1_000, 1_000))
}

fn rounded(value: &BigDecimal, places: i64) -> Value {
    cut(value, places, RoundingMode::HalfUp)
}

fn cut(value: &BigDecimal, places: i64, mode: RoundingMode) -> Value {
    Value::Numeric(value.with_scale_round(places, mode))
}

fn absolute(a: &[Value], max: i64, error: &str) -> Answer {
    let value = a[0].int()?.checked_abs().filter(|value| *value <= max);
    value.map(Value::Int).ok_or_else(|| error.to_owned())
}

fn divided(value: &BigDecimal, by: &BigDecimal) -> Result<(BigDecimal, BigDecimal), String> {
    if by.is_zero() {
        return Err("division by zero".to_owned());
    }
    let rest = value % by;
    let quotient = ((value - &rest) / by).with_scale_round(0, RoundingMode::HalfUp);
    Ok((quotient, rest))
}

fn remainder(a: &[Value]) -> Answer {
    match a[1].int()? {
        0 => Err("division by zero".to_owned()),
        // The one quotient that does not fit has no rest.
        -1 => Ok(Value::Int(0)),
        by => Ok(Value::Int(a[0].int()? % by)),
    }
}

fn gcd(a: i64, b: i64) -> Result<i64, String> {
    let (mut a, mut b) = (a.unsigned_abs(), b.unsigned_abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    i64::try_from(a).map_err(|_| "bigint out of range".to_owned())
}

fn lcm(a: &[Value]) -> Answer {
    let (first, second) = (a[0].int()?, a[1].int()?);
    if first == 0 || second == 0 {
        return Ok(Value::Int(0));
    }
    let product = (first / gcd(first, second)?).checked_mul(second).and_then(i64::checked_abs);
    product.map(Value::Int).ok_or_else(|| "bigint out of range".to_owned())
}

fn bounded(of: f64, value: f64) -> Answer {
    if value.is_infinite() && of.is_finite() {
        return Err("value out of range: overflow".to_owned());
    }
    if value == 0.0 && of.is_finite() && of != 0.0 {
        return Err("value out of range: underflow".to_owned());
    }
    Ok(Value::Float(value))
}

fn power(_: &Context, a: &[Value]) -> Answer {
    let (base, exponent) = (a[0].float()?, a[1].float()?);
    if base == 0.0 && exponent < 0.0 {
        return Err("zero raised to a negative power is undefined".to_owned());
    }
    if base < 0.0 && exponent.is_finite() && exponent.fract() != 0.0 {
        return Err("a negative number raised to a non-integer power yields a complex result".to_owned());
    }
    let value = base.powf(exponent);
    if value.is_infinite() && base.is_finite() && exponent.is_finite() {
        return Err("value out of range: overflow".to_owned());
    }
    if value == 0.0 && base != 0.0 && base.is_finite() && exponent.is_finite() {
        return Err("value out of range: underflow".to_owned());
    }
    Ok(Value::Float(value))
}

fn logarithm(value: f64, of: fn(f64) -> f64) -> Answer {
    match value {
        0.0 => Err("cannot take logarithm of zero".to_owned()),
        value if value < 0.0 => Err("cannot take logarithm of a negative number".to_owned()),
        value => Ok(Value::Float(of(value))),
    }
}

fn finite(a: &[Value], of: fn(f64) -> f64) -> Answer {
    match a[0].float()? {
        value if value.is_infinite() => Err("input is out of range".to_owned()),
        value => Ok(Value::Float(of(value))),
    }
}

fn within(a: &[Value], of: fn(f64) -> f64) -> Answer {
    match a[0].float()? {
        value if value.abs() > 1.0 => Err("input is out of range".to_owned()),
        value => Ok(Value::Float(of(value))),
    }
}

fn series(from: i64, to: i64, step: i64) -> Answer {
    if step == 0 {
        return Err("step size cannot equal zero".to_owned());
    }
    let mut values = Vec::new();
    let mut at = Some(from);
    while let Some(value) = at.filter(|at| if step > 0 { *at <= to } else { *at >= to }) {
        if values.len() >= LIST_VALUES_MAX {
            return Err(format!("more than {LIST_VALUES_MAX} values"));
        }
        values.push(Value::Int(value));
        at = value.checked_add(step);
    }
    Ok(Value::List(values))
}

/// A numeric divided: its result keeps 16 digits behind the point, or more where an operand does.
pub(super) fn quotient(value: &BigDecimal, by: &BigDecimal) -> Result<BigDecimal, String> {
    if by.is_zero() {
        return Err("division by zero".to_owned());
    }
    Ok((value / by).with_scale_round(20, RoundingMode::HalfUp))
}

pub(super) fn quotient_scale(types: &[DataType], constants: &[Option<ScalarValue>]) -> i8 {
    widest(types, constants).clamp(16, 20)
}
