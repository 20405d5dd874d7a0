//! JSON in text: its operators and functions. A part of a value is given as it is written, as PostgreSQL's `json` does;
//! a cast to `jsonb` writes it as PostgreSQL would keep it.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use serde_json::{Map, Value as Json};

use super::overload::{Context, Meaning, meaning};
use super::value::{Answer, Value};

pub(super) const MEANINGS: &[Meaning] = &[
    meaning("zktrail_json(text) json", |_, a| checked(a[0].str()?).map(|text| Value::text(text.get()))),
    meaning("zktrail_jsonb(text) jsonb", |_, a| normal(a[0].str()?).map(Value::Text)),
    meaning("zktrail_json_get(text, text) json", |_, a| {
        part(a[0].str()?, &[a[1].str()?.to_owned()], false, Some(Step::Key))
    }),
    meaning("zktrail_json_get(text, bigint) json", |_, a| {
        part(a[0].str()?, &[a[1].int()?.to_string()], false, Some(Step::Index))
    }),
    meaning("zktrail_json_text(text, text) text", |_, a| {
        part(a[0].str()?, &[a[1].str()?.to_owned()], true, Some(Step::Key))
    }),
    meaning("zktrail_json_text(text, bigint) text", |_, a| {
        part(a[0].str()?, &[a[1].int()?.to_string()], true, Some(Step::Index))
    }),
    meaning("zktrail_json_path(text, text[]) json", |_, a| part(a[0].str()?, &path(&a[1])?, false, None)),
    meaning("zktrail_json_path_text(text, text[]) text", |_, a| part(a[0].str()?, &path(&a[1])?, true, None)),
    meaning("json_extract_path(text, variadic text) json", |_, a| along(a, false)),
    meaning("json_extract_path_text(text, variadic text) text", |_, a| along(a, true)),
    meaning("jsonb_extract_path(text, variadic text) jsonb", |context, a| normal_of(along(a, false), context)),
    meaning("jsonb_extract_path_text(text, variadic text) text", |_, a| along_normal(a)),
    meaning("json_typeof(text) text", |_, a| Ok(Value::text(kind(checked(a[0].str()?)?)))),
    meaning("jsonb_typeof(text) text", |_, a| Ok(Value::text(kind(checked(a[0].str()?)?)))),
    meaning("json_array_length(text) int", |_, a| length(a)),
    meaning("jsonb_array_length(text) int", |_, a| length(a)),
    meaning("json_object_keys(text) text[]", |_, a| keys(a[0].str()?)),
    meaning("jsonb_object_keys(text) text[]", |_, a| keys(&normal(a[0].str()?)?)),
    meaning("json_array_elements(text) text[]", |_, a| elements(a[0].str()?, false)),
    meaning("json_array_elements_text(text) text[]", |_, a| elements(a[0].str()?, true)),
    meaning("jsonb_array_elements(text) text[]", |_, a| elements(&normal(a[0].str()?)?, false)),
    meaning("jsonb_array_elements_text(text) text[]", |_, a| elements(&normal(a[0].str()?)?, true)),
    meaning("zktrail_json_contains(text, text) boolean", |_, a| {
        Ok(Value::Bool(contains(&json(a[0].str()?)?, &json(a[1].str()?)?, true)))
    }),
    meaning("zktrail_json_has(text, text) boolean", |_, a| {
        let key = a[1].str()?;
        Ok(Value::Bool(match json(a[0].str()?)? {
            Json::Object(map) => map.contains_key(key),
            Json::Array(values) => values.iter().any(|value| value.as_str() == Some(key)),
            Json::String(text) => text == key,
            _ => false,
        }))
    }),
];

#[derive(Clone, Copy)]
enum Step {
    Key,
    Index,
}

const WRONG: &str = "invalid input syntax for type json";

fn checked(text: &str) -> Result<&RawValue, String> {
    serde_json::from_str(text).map_err(|_| WRONG.to_owned())
}

fn json(text: &str) -> Result<Json, String> {
    serde_json::from_str(text).map_err(|_| WRONG.to_owned())
}

/// The path of `#>`.
fn path(value: &Value) -> Result<Vec<String>, String> {
    value.list()?.iter().map(|step| step.str().map(str::to_owned)).collect()
}

fn along(a: &[Value], as_text: bool) -> Answer {
    let steps: Vec<String> = a.iter().skip(1).map(|step| step.str().map(str::to_owned)).collect::<Result<_, _>>()?;
    part(a[0].str()?, &steps, as_text, None)
}

fn along_normal(a: &[Value]) -> Answer {
    let mut normalized = a.to_vec();
    normalized[0] = Value::Text(normal(a[0].str()?)?);
    along(&normalized, true)
}

fn normal_of(answer: Answer, _: &Context) -> Answer {
    match answer? {
        Value::Text(text) => normal(&text).map(Value::Text),
        other => Ok(other),
    }
}

/// What lies at the end of a path; null where nothing does.
fn part(text: &str, steps: &[String], as_text: bool, only: Option<Step>) -> Answer {
    let mut at: Box<RawValue> = checked(text)?.to_owned();
    for step in steps {
        let next = match (kind(&at), only) {
            ("object", Some(Step::Key) | None) => {
                fields(&at)?.into_iter().rev().find(|(key, _)| key == step).map(|(_, value)| value)
            }
            ("array", Some(Step::Index) | None) => {
                let values = values(&at)?;
                let index: Option<i64> = step.trim().parse().ok();
                index.and_then(|index| {
                    let index = if index < 0 { index + i64::try_from(values.len()).ok()? } else { index };
                    values.into_iter().nth(usize::try_from(index).ok()?)
                })
            }
            _ => None,
        };
        match next {
            Some(next) => at = next,
            None => return Ok(Value::Null),
        }
    }
    if as_text {
        return Ok(plain(&at));
    }
    Ok(Value::text(at.get()))
}

/// As `->>` gives it: a string without its quotes, null as NULL.
fn plain(raw: &RawValue) -> Value {
    match serde_json::from_str::<Json>(raw.get()) {
        Ok(Json::Null) => Value::Null,
        Ok(Json::String(text)) => Value::Text(text),
        _ => Value::text(raw.get()),
    }
}

/// The members of an object in their order, as they are written, also those that come twice.
fn fields(raw: &RawValue) -> Result<Vec<(String, Box<RawValue>)>, String> {
    struct Members;
    impl<'de> serde::de::Visitor<'de> for Members {
        type Value = Vec<(String, Box<RawValue>)>;

        fn expecting(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
            formatter.write_str("an object")
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some(member) = map.next_entry()? {
                members.push(member);
            }
            Ok(members)
        }
    }
    let mut reader = serde_json::Deserializer::from_str(raw.get());
    serde::de::Deserializer::deserialize_map(&mut reader, Members).map_err(|_| WRONG.to_owned())
}

fn values(raw: &RawValue) -> Result<Vec<Box<RawValue>>, String> {
    serde_json::from_str(raw.get()).map_err(|_| WRONG.to_owned())
}

fn kind(raw: &RawValue) -> &'static str {
    match raw.get().trim_start().as_bytes().first() {
        Some(b'{') => "object",
        Some(b'[') => "array",
        Some(b'"') => "string",
        Some(b't' | b'f') => "boolean",
        Some(b'n') => "null",
        _ => "number",
    }
}

fn length(a: &[Value]) -> Answer {
    let raw = checked(a[0].str()?)?;
    match kind(raw) {
        "array" => Ok(Value::Int(i64::try_from(values(raw)?.len()).unwrap_or(i64::MAX))),
        "object" => Err("cannot get array length of a non-array".to_owned()),
        _ => Err("cannot get array length of a scalar".to_owned()),
    }
}

fn keys(text: &str) -> Answer {
    let raw = checked(text)?;
    match kind(raw) {
        "object" => Ok(Value::List(fields(raw)?.into_iter().map(|(key, _)| Value::Text(key)).collect())),
        other => Err(format!("cannot take the keys of a {other}")),
    }
}

fn elements(text: &str, as_text: bool) -> Answer {
    let raw = checked(text)?;
    if kind(raw) != "array" {
        return Err(format!("cannot take the elements of a {}", kind(raw)));
    }
    let element = |raw: &RawValue| if as_text { plain(raw) } else { Value::text(raw.get()) };
    Ok(Value::List(values(raw)?.iter().map(|raw| element(raw)).collect()))
}

/// As `jsonb` shows it: keys by length and then bytes, the last of equal keys, a blank behind colons and commas.
fn normal(text: &str) -> Result<String, String> {
    let mut out = String::new();
    write_normal(checked(text)?, &mut out)?;
    Ok(out)
}

fn write_normal(raw: &RawValue, out: &mut String) -> Result<(), String> {
    match kind(raw) {
        "object" => {
            let members: BTreeMap<(usize, String), Box<RawValue>> =
                fields(raw)?.into_iter().map(|(key, value)| ((key.len(), key), value)).collect();
            out.push('{');
            for (index, ((_, key), value)) in members.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                out.push_str(&Json::String(key.clone()).to_string());
                out.push_str(": ");
                write_normal(value, out)?;
            }
            out.push('}');
        }
        "array" => {
            out.push('[');
            for (index, value) in values(raw)?.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                write_normal(value, out)?;
            }
            out.push(']');
        }
        "string" => out.push_str(&json(raw.get())?.to_string()),
        "number" => {
            let number: bigdecimal::BigDecimal = raw.get().trim().parse().map_err(|_| WRONG.to_owned())?;
            if number.fractional_digit_count().unsigned_abs() > 10_000 {
                return Err("a number with that exponent is not supported in jsonb".to_owned());
            }
            out.push_str(&number.to_plain_string());
        }
        _ => out.push_str(raw.get().trim()),
    }
    Ok(())
}

/// `@>`: what is right is somewhere in what is left; order and repetition in arrays do not matter.
fn contains(left: &Json, right: &Json, top: bool) -> bool {
    let in_object = |left: &Map<String, Json>, right: &Map<String, Json>| {
        right.iter().all(|(key, value)| left.get(key).is_some_and(|left| contains(left, value, false)))
    };
    match (left, right) {
        (Json::Object(left), Json::Object(right)) => in_object(left, right),
        (Json::Array(left), Json::Array(right)) => {
            right.iter().all(|right| left.iter().any(|left| contains(left, right, false)))
        }
        // At the top an array also contains a bare value.
        (Json::Array(left), right) if top && !right.is_object() => left.contains(right),
        (Json::Number(left), Json::Number(right)) => left == right || left.as_f64() == right.as_f64(),
        (left, right) => left == right,
    }
}
