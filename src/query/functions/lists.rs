//! Arrays of one dimension, and lists in text.

use super::cast;
use super::overload::{Context, Meaning, meaning};
use super::value::{Answer, Kind, Value};

/// No function makes a longer array of nothing.
pub(super) const LIST_VALUES_MAX: usize = 1_000_000;

pub(super) const MEANINGS: &[Meaning] = &[
    meaning("array_length(any[], int) int", |_, a| Ok(dimension(a, |count| count))),
    meaning("array_upper(any[], int) int", |_, a| Ok(dimension(a, |count| count))),
    meaning("array_lower(any[], int) int", |_, a| Ok(dimension(a, |_| 1))),
    meaning("cardinality(any[]) int", |_, a| Ok(Value::Int(flat(a[0].list()?)))),
    meaning("array_ndims(any[]) int", |_, a| match a[0].list()? {
        [] => Ok(Value::Null),
        _ => Ok(Value::Int(depth(&a[0]))),
    }),
    meaning("array_dims(any[]) text", |_, a| match a[0].list()? {
        [] => Ok(Value::Null),
        values if depth(&a[0]) == 1 => Ok(Value::Text(format!("[1:{}]", values.len()))),
        _ => Err("arrays of arrays are not supported".to_owned()),
    }),
    meaning("?array_position(any[], any) int", |_, a| {
        let Value::List(values) = &a[0] else { return Ok(Value::Null) };
        Ok(values.iter().position(|value| equal(value, &a[1])).map_or(Value::Null, count_from_one))
    }),
    meaning("?array_positions(any[], any) int[]", |_, a| {
        let Value::List(values) = &a[0] else { return Ok(Value::Null) };
        let found = values.iter().enumerate().filter(|(_, value)| equal(value, &a[1]));
        Ok(Value::List(found.map(|(at, _)| count_from_one(at)).collect()))
    }),
    meaning("?array_remove(any[], any) any", |_, a| {
        let Value::List(values) = &a[0] else { return Ok(Value::Null) };
        Ok(Value::List(values.iter().filter(|value| !equal(value, &a[1])).cloned().collect()))
    }),
    meaning("?array_replace(any[], any, any) any", |_, a| {
        let Value::List(values) = &a[0] else { return Ok(Value::Null) };
        let replace = |value: &Value| if equal(value, &a[1]) { like(&a[2], values) } else { value.clone() };
        Ok(Value::List(values.iter().map(replace).collect()))
    }),
    meaning("?array_append(any[], any) any", |_, a| {
        let mut values = match &a[0] {
            Value::List(values) => values.clone(),
            _ => Vec::new(),
        };
        values.push(like(&a[1], &values));
        Ok(Value::List(values))
    }),
    meaning("zktrail_element(any[], bigint) element", |_, a| {
        let at = usize::try_from(a[1].int()?).ok().and_then(|at| at.checked_sub(1));
        Ok(at.and_then(|at| a[0].list().ok()?.get(at).cloned()).unwrap_or(Value::Null))
    }),
    meaning("zktrail_slice(any[], bigint, bigint) any", |_, a| {
        let (values, from, to) = (a[0].list()?, a[1].int()?.max(1), a[2].int()?);
        let skip = usize::try_from(from - 1).unwrap_or(usize::MAX);
        let take = usize::try_from(to.saturating_sub(from).saturating_add(1)).unwrap_or(0);
        Ok(Value::List(values.iter().skip(skip).take(take).cloned().collect()))
    }),
    meaning("?zktrail_quantified(text, text, any, any[]) boolean", quantified),
    meaning("trim_array(any[], int) any", |_, a| {
        let (values, count) = (a[0].list()?, a[1].int()?);
        let keep = usize::try_from(count).ok().and_then(|count| values.len().checked_sub(count));
        let keep = keep.ok_or_else(|| format!("number of elements to trim must be between 0 and {}", values.len()))?;
        Ok(Value::List(values.iter().take(keep).cloned().collect()))
    }),
    meaning("array_to_string(text[], text) text", |context, a| joined(context, a, None)),
    meaning("array_to_string(any[], text) text", |context, a| joined(context, a, None)),
    meaning("?array_to_string(any[], text, text) text", |context, a| {
        if a[0].is_null() || a[1].is_null() {
            return Ok(Value::Null);
        }
        joined(context, a, a[2].str().ok())
    }),
    meaning("?string_to_array(text, text) text[]", |_, a| split(a, None)),
    meaning("?string_to_array(text, text, text) text[]", |_, a| split(a, a[2].str().ok())),
];

/// `x op ANY (array)` and `x op ALL (array)`: unknown where a NULL might decide.
fn quantified(_: &Context, a: &[Value]) -> Answer {
    let (op, all) = (a[0].str()?, a[1].str()? == "all");
    let Value::List(values) = &a[3] else { return Ok(Value::Null) };
    let mut unknown = false;
    for value in values {
        if value.is_null() || a[2].is_null() {
            unknown = true;
            continue;
        }
        let order = compare(&a[2], value)?;
        let holds = match op {
            "=" => order.is_eq(),
            "<>" | "!=" => order.is_ne(),
            "<" => order.is_lt(),
            "<=" => order.is_le(),
            ">" => order.is_gt(),
            _ => order.is_ge(),
        };
        if holds != all {
            return Ok(Value::Bool(holds));
        }
    }
    Ok(if unknown { Value::Null } else { Value::Bool(all) })
}

/// How two values of comparable types stand to each other.
fn compare(left: &Value, right: &Value) -> Result<std::cmp::Ordering, String> {
    let order = match (left, right) {
        (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
        (Value::Int(left), Value::Int(right)) => Some(left.cmp(right)),
        (Value::Float(left), Value::Float(right)) => Some(left.total_cmp(right)),
        (Value::Int(left), Value::Float(right)) => (*left as f64).partial_cmp(right),
        (Value::Float(left), Value::Int(right)) => left.partial_cmp(&(*right as f64)),
        (Value::Numeric(left), Value::Numeric(right)) => Some(left.cmp(right)),
        (Value::Int(left), Value::Numeric(right)) => Some(bigdecimal::BigDecimal::from(*left).cmp(right)),
        (Value::Numeric(left), Value::Int(right)) => Some(left.cmp(&bigdecimal::BigDecimal::from(*right))),
        (Value::Text(left), Value::Text(right)) => Some(left.cmp(right)),
        (Value::Bytes(left), Value::Bytes(right)) => Some(left.cmp(right)),
        (Value::Date(left), Value::Date(right)) => Some(left.cmp(right)),
        (Value::Time(left), Value::Time(right))
        | (Value::Timestamp(left), Value::Timestamp(right))
        | (Value::Timestamptz(left), Value::Timestamptz(right)) => Some(left.cmp(right)),
        (Value::Interval(left), Value::Interval(right)) => Some(left.length().cmp(&right.length())),
        _ => None,
    };
    order
        .ok_or_else(|| "the value and those of the array are of types that do not compare: cast one of them".to_owned())
}

fn dimension(a: &[Value], of: fn(i64) -> i64) -> Value {
    let (Value::List(values), Value::Int(dimension)) = (&a[0], &a[1]) else { return Value::Null };
    match (values.as_slice(), dimension) {
        ([], _) => Value::Null,
        (values, 1) => Value::Int(of(i64::try_from(values.len()).unwrap_or(i64::MAX))),
        ([first @ Value::List(_), ..], deeper) if *deeper > 1 => {
            self::dimension(&[first.clone(), Value::Int(deeper - 1)], of)
        }
        _ => Value::Null,
    }
}

fn flat(values: &[Value]) -> i64 {
    values.iter().map(|value| if let Value::List(values) = value { flat(values) } else { 1 }).sum()
}

fn depth(value: &Value) -> i64 {
    match value {
        Value::List(values) => 1 + values.first().map_or(0, depth),
        _ => 0,
    }
}

fn count_from_one(at: usize) -> Value {
    Value::Int(i64::try_from(at + 1).unwrap_or(i64::MAX))
}

/// Whether two are not distinct, whatever widths their numbers have.
fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Int(left), Value::Float(right)) | (Value::Float(right), Value::Int(left)) => *left as f64 == *right,
        (Value::Int(left), Value::Numeric(right)) | (Value::Numeric(right), Value::Int(left)) => *right == *left,
        (left, right) => left == right,
    }
}

/// A number as those beside it.
fn like(value: &Value, values: &[Value]) -> Value {
    match (value, values.iter().find(|value| !value.is_null())) {
        (Value::Int(int), Some(Value::Float(_))) => Value::Float(*int as f64),
        (Value::Int(int), Some(Value::Numeric(_))) => Value::Numeric((*int).into()),
        _ => value.clone(),
    }
}

fn joined(context: &Context, a: &[Value], null: Option<&str>) -> Answer {
    let separator = a[1].str()?;
    let mut parts = Vec::new();
    for value in a[0].list()? {
        match (value, null) {
            (Value::Null, None) => {}
            (Value::Null, Some(null)) => parts.push(null.to_owned()),
            (Value::Bool(value), _) => parts.push(if *value { "t" } else { "f" }.to_owned()),
            (Value::List(_), _) => return Err("arrays of arrays are not supported".to_owned()),
            (value, _) => parts.push(cast::text(context, value, &Kind::Any)?),
        }
    }
    Ok(Value::Text(parts.join(separator)))
}

fn split(a: &[Value], null: Option<&str>) -> Answer {
    let Value::Text(text) = &a[0] else { return Ok(Value::Null) };
    let parts: Vec<String> = match &a[1] {
        _ if text.is_empty() => Vec::new(),
        Value::Text(separator) if separator.is_empty() => vec![text.clone()],
        Value::Text(separator) => text.split(separator.as_str()).map(str::to_owned).collect(),
        _ => text.chars().map(String::from).collect(),
    };
    let value = |part: String| if null == Some(part.as_str()) { Value::Null } else { Value::Text(part) };
    Ok(Value::List(parts.into_iter().map(value).collect()))
}

/// `{a,"b c",NULL}`.
pub(super) fn show(values: &[Value], text: impl Fn(&Value) -> Result<String, String>) -> Result<String, String> {
    let mut shown = Vec::with_capacity(values.len());
    for value in values {
        shown.push(match value {
            Value::Null => "NULL".to_owned(),
            Value::Bool(value) => if *value { "t" } else { "f" }.to_owned(),
            Value::List(_) => text(value)?,
            value => quoted(text(value)?),
        });
    }
    Ok(format!("{{{}}}", shown.join(",")))
}

fn quoted(text: String) -> String {
    let plain = !text.is_empty()
        && !text.eq_ignore_ascii_case("null")
        && !text.chars().any(|c| matches!(c, '"' | '\\' | '{' | '}' | ',') || c.is_ascii_whitespace());
    if plain { text } else { format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")) }
}

/// The parts of `{a,"b c",NULL}`; `None` where it is no array of one dimension.
pub(super) fn parse(text: &str) -> Option<Vec<Option<String>>> {
    let inner = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    let mut parts = Vec::new();
    if inner.trim().is_empty() {
        return Some(parts);
    }
    let mut characters = inner.chars().peekable();
    loop {
        while characters.peek().is_some_and(|c| c.is_ascii_whitespace()) {
            characters.next();
        }
        let mut part = String::new();
        let was_quoted = characters.peek() == Some(&'"');
        if was_quoted {
            characters.next();
            loop {
                match characters.next()? {
                    '"' => break,
                    '\\' => part.push(characters.next()?),
                    other => part.push(other),
                }
            }
            while characters.peek().is_some_and(|c| c.is_ascii_whitespace()) {
                characters.next();
            }
        } else {
            while let Some(character) = characters.peek().copied().filter(|c| *c != ',') {
                characters.next();
                match character {
                    '\\' => part.push(characters.next()?),
                    '{' | '}' | '"' => return None,
                    other => part.push(other),
                }
            }
            part = part.trim_end().to_owned();
            if part.is_empty() {
                return None;
            }
        }
        let is_null = !was_quoted && part.eq_ignore_ascii_case("null");
        parts.push((!is_null).then_some(part));
        match characters.next() {
            None => return Some(parts),
            Some(',') => {}
            Some(_) => return None,
        }
    }
}
