//! Text and bytes.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::Digest;

use super::cast;
use super::overload::{Context, Meaning, meaning};
use super::regex;
use super::value::{Answer, Kind, Value};

/// What `repeat`, `lpad`, `rpad` and `replace` make at most of one text.
const TEXT_BYTES_MAX: usize = 64 << 20;

pub(super) const MEANINGS: &[Meaning] = &[
    meaning("length(text) int", |_, a| count(a[0].str()?.chars().count())),
    meaning("length(bytea) int", |_, a| count(a[0].bytes()?.len())),
    meaning("char_length(text) int", |_, a| count(a[0].str()?.chars().count())),
    meaning("character_length(text) int", |_, a| count(a[0].str()?.chars().count())),
    meaning("octet_length(text) int", |_, a| count(a[0].str()?.len())),
    meaning("octet_length(bytea) int", |_, a| count(a[0].bytes()?.len())),
    meaning("bit_length(text) int", |_, a| count(a[0].str()?.len() * 8)),
    meaning("bit_length(bytea) int", |_, a| count(a[0].bytes()?.len() * 8)),
    meaning("lower(text) text", |_, a| Ok(Value::Text(a[0].str()?.to_lowercase()))),
    meaning("upper(text) text", |_, a| Ok(Value::Text(a[0].str()?.to_uppercase()))),
    meaning("initcap(text) text", |_, a| {
        let mut within = false;
        let mut text = String::new();
        for character in a[0].str()?.chars() {
            match within {
                true => text.extend(character.to_lowercase()),
                false => text.extend(character.to_uppercase()),
            }
            within = character.is_alphanumeric();
        }
        Ok(Value::Text(text))
    }),
    meaning("substring(text, int) text", |_, a| slice_text(a)),
    meaning("substring(text, int, int) text", |_, a| slice_text(a)),
    meaning("substring(bytea, int) bytea", |_, a| slice_bytes(a)),
    meaning("substring(bytea, int, int) bytea", |_, a| slice_bytes(a)),
    meaning("substring(text, text) text", substring_matching),
    meaning("substr(text, int) text", |_, a| slice_text(a)),
    meaning("substr(text, int, int) text", |_, a| slice_text(a)),
    meaning("substr(bytea, int) bytea", |_, a| slice_bytes(a)),
    meaning("substr(bytea, int, int) bytea", |_, a| slice_bytes(a)),
    meaning("left(text, int) text", |_, a| {
        let (text, count) = (a[0].str()?, a[1].int()?);
        Ok(Value::Text(text.chars().take(kept(text, count)).collect()))
    }),
    meaning("right(text, int) text", |_, a| {
        let (text, count) = (a[0].str()?, a[1].int()?);
        let all = text.chars().count();
        Ok(Value::Text(text.chars().skip(all - kept(text, count)).collect()))
    }),
    meaning("strpos(text, text) int", |_, a| position(a[0].str()?, a[1].str()?)),
    meaning("position(text, text) int", |_, a| position(a[1].str()?, a[0].str()?)),
    meaning("starts_with(text, text) boolean", |_, a| Ok(Value::Bool(a[0].str()?.starts_with(a[1].str()?)))),
    meaning("lpad(text, int) text", |_, a| padded(a, true)),
    meaning("lpad(text, int, text) text", |_, a| padded(a, true)),
    meaning("rpad(text, int) text", |_, a| padded(a, false)),
    meaning("rpad(text, int, text) text", |_, a| padded(a, false)),
    meaning("btrim(text) text", |_, a| trimmed(a, true, true)),
    meaning("btrim(text, text) text", |_, a| trimmed(a, true, true)),
    meaning("trim(text) text", |_, a| trimmed(a, true, true)),
    meaning("trim(text, text) text", |_, a| trimmed(a, true, true)),
    meaning("ltrim(text) text", |_, a| trimmed(a, true, false)),
    meaning("ltrim(text, text) text", |_, a| trimmed(a, true, false)),
    meaning("rtrim(text) text", |_, a| trimmed(a, false, true)),
    meaning("rtrim(text, text) text", |_, a| trimmed(a, false, true)),
    meaning("repeat(text, int) text", |_, a| {
        let (text, times) = (a[0].str()?, usize::try_from(a[1].int()?).unwrap_or(0));
        if text.len().saturating_mul(times) > TEXT_BYTES_MAX {
            return Err("requested length too large".to_owned());
        }
        Ok(Value::Text(text.repeat(times)))
    }),
    meaning("replace(text, text, text) text", |_, a| {
        let (text, from, to) = (a[0].str()?, a[1].str()?, a[2].str()?);
        if from.is_empty() {
            return Ok(Value::text(text));
        }
        // Where it might become too much, it is counted before it is made.
        let grown =
            |matches: usize| text.len().saturating_add(matches.saturating_mul(to.len().saturating_sub(from.len())));
        if grown(text.len() / from.len()) > TEXT_BYTES_MAX && grown(text.matches(from).count()) > TEXT_BYTES_MAX {
            return Err(format!(
                "it would make more than {} MiB of one text, of the {} MiB of one batch of rows",
                TEXT_BYTES_MAX >> 20,
                crate::query::amplify::RESULT_BYTES_MAX >> 20
            ));
        }
        Ok(Value::Text(text.replace(from, to)))
    }),
    meaning("reverse(text) text", |_, a| Ok(Value::Text(a[0].str()?.chars().rev().collect()))),
    meaning("translate(text, text, text) text", |_, a| {
        let (from, to): (Vec<char>, Vec<char>) = (a[1].str()?.chars().collect(), a[2].str()?.chars().collect());
        let translated =
            a[0].str()?.chars().filter_map(|character| match from.iter().position(|from| *from == character) {
                Some(at) => to.get(at).copied(),
                None => Some(character),
            });
        Ok(Value::Text(translated.collect()))
    }),
    meaning("split_part(text, text, int) text", |_, a| {
        let (text, separator, field) = (a[0].str()?, a[1].str()?, a[2].int()?);
        if field == 0 {
            return Err("field position must not be zero".to_owned());
        }
        let parts: Vec<&str> = match (text, separator) {
            ("", _) => Vec::new(),
            (text, "") => vec![text],
            (text, separator) => text.split(separator).collect(),
        };
        let at = usize::try_from(field.unsigned_abs()).unwrap_or(usize::MAX);
        let part = if field > 0 { parts.get(at - 1) } else { parts.len().checked_sub(at).and_then(|at| parts.get(at)) };
        Ok(Value::text(part.copied().unwrap_or_default()))
    }),
    meaning("overlay(text, text, int) text", |_, a| overlaid(a)),
    meaning("overlay(text, text, int, int) text", |_, a| overlaid(a)),
    meaning("ascii(text) int", |_, a| Ok(Value::Int(a[0].str()?.chars().next().map_or(0, |c| u32::from(c).into())))),
    meaning("chr(int) text", |_, a| match a[0].int()? {
        0 => Err("null character not permitted".to_owned()),
        code => u32::try_from(code)
            .ok()
            .and_then(char::from_u32)
            .map(Value::text)
            .ok_or_else(|| format!("requested character too large for encoding: {code}")),
    }),
    meaning("?concat(variadic any) text", |context, a| {
        let mut text = String::new();
        for value in a {
            text.push_str(&shown(context, value)?);
        }
        Ok(Value::Text(text))
    }),
    meaning("?concat_ws(text, variadic any) text", |context, a| {
        let Value::Text(separator) = &a[0] else { return Ok(Value::Null) };
        let parts = a.iter().skip(1).filter(|value| !value.is_null()).map(|value| shown(context, value));
        Ok(Value::Text(parts.collect::<Result<Vec<_>, _>>()?.join(separator)))
    }),
    meaning("?format(text) text", format),
    meaning("?format(text, variadic any) text", format),
    meaning("quote_ident(text) text", |_, a| Ok(Value::Text(quote_ident(a[0].str()?)))),
    meaning("quote_literal(text) text", |_, a| Ok(Value::Text(quote_literal(a[0].str()?)))),
    meaning("quote_literal(any) text", |context, a| Ok(Value::Text(quote_literal(&shown_as_text(context, &a[0])?)))),
    meaning("?quote_nullable(any) text", |context, a| match &a[0] {
        Value::Null => Ok(Value::text("NULL")),
        value => Ok(Value::Text(quote_literal(&shown_as_text(context, value)?))),
    }),
    meaning("md5(text) text", |_, a| Ok(Value::Text(md5(a[0].str()?.as_bytes())))),
    meaning("md5(bytea) text", |_, a| Ok(Value::Text(md5(a[0].bytes()?)))),
    meaning("sha224(bytea) bytea", |_, a| Ok(Value::Bytes(sha2::Sha224::digest(a[0].bytes()?).to_vec()))),
    meaning("sha256(bytea) bytea", |_, a| Ok(Value::Bytes(sha2::Sha256::digest(a[0].bytes()?).to_vec()))),
    meaning("sha384(bytea) bytea", |_, a| Ok(Value::Bytes(sha2::Sha384::digest(a[0].bytes()?).to_vec()))),
    meaning("sha512(bytea) bytea", |_, a| Ok(Value::Bytes(sha2::Sha512::digest(a[0].bytes()?).to_vec()))),
    meaning("encode(bytea, text) text", |_, a| encode(a[0].bytes()?, a[1].str()?)),
    meaning("decode(text, text) bytea", |_, a| decode(a[0].str()?, a[1].str()?)),
    // zktrail's own, told from PostgreSQL's by the type of its second argument.
    meaning("decode(text, bytea) json", |_, a| {
        let json = std::str::from_utf8(a[1].bytes()?)
            .ok()
            .filter(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok());
        Ok(json.map_or(Value::Null, Value::text))
    }),
    meaning("convert_from(bytea, text) text", |_, a| {
        utf8_named(a[1].str()?)?;
        let text = String::from_utf8(a[0].bytes()?.to_vec());
        text.map(Value::Text).map_err(|_| "invalid byte sequence for encoding \"UTF8\"".to_owned())
    }),
    meaning("convert_to(text, text) bytea", |_, a| {
        utf8_named(a[1].str()?)?;
        Ok(Value::Bytes(a[0].str()?.as_bytes().to_vec()))
    }),
    meaning("get_byte(bytea, int) int", |_, a| {
        let (bytes, at) = (a[0].bytes()?, a[1].int()?);
        let byte = usize::try_from(at).ok().and_then(|at| bytes.get(at));
        byte.map(|byte| Value::Int((*byte).into())).ok_or_else(|| {
            format!("index {at} out of valid range, 0..{}", i64::try_from(bytes.len()).unwrap_or(i64::MAX) - 1)
        })
    }),
    meaning("regexp_like(text, text) boolean", regexp_like),
    meaning("regexp_like(text, text, text) boolean", regexp_like),
    meaning("zktrail_similar(text, text) boolean", |context, a| similar(context, a, Some('\\'))),
    meaning("zktrail_similar(text, text, text) boolean", |context, a| {
        let mut characters = a[2].str()?.chars();
        match (characters.next(), characters.next()) {
            (escape, None) => similar(context, a, escape),
            _ => Err("invalid escape string".to_owned()),
        }
    }),
    meaning("regexp_count(text, text) int", regexp_count),
    meaning("regexp_count(text, text, int) int", regexp_count),
    meaning("regexp_count(text, text, int, text) int", regexp_count),
    meaning("regexp_match(text, text) text[]", regexp_match),
    meaning("regexp_match(text, text, text) text[]", regexp_match),
    meaning("regexp_substr(text, text) text", |context, a| {
        let text = a[0].str()?;
        let found = context.pattern(a[1].str()?, "")?.find(text, 0)?;
        Ok(found.map_or(Value::Null, |found| part(text, found.first().copied().flatten())))
    }),
    meaning("regexp_instr(text, text) int", |context, a| {
        let text = a[0].str()?;
        let found = context.pattern(a[1].str()?, "")?.find(text, 0)?;
        let start = found.and_then(|found| found.first().copied().flatten()).map(|(start, _)| start);
        Ok(Value::Int(start.map_or(0, |start| characters_before(text, start) + 1)))
    }),
    meaning("regexp_split_to_array(text, text) text[]", regexp_split),
    meaning("regexp_split_to_array(text, text, text) text[]", regexp_split),
    meaning("regexp_replace(text, text, text) text", |context, a| regexp_replace(context, a, 1, None, "")),
    meaning("regexp_replace(text, text, text, text) text", |context, a| {
        let flags = a[3].str()?;
        if flags.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(format!("invalid regular expression option: \"{flags}\""));
        }
        regexp_replace(context, a, 1, None, flags)
    }),
    meaning("regexp_replace(text, text, text, int) text", |context, a| {
        regexp_replace(context, a, a[3].int()?, Some(1), "")
    }),
    meaning("regexp_replace(text, text, text, int, int) text", |context, a| {
        regexp_replace(context, a, a[3].int()?, Some(a[4].int()?), "")
    }),
    meaning("regexp_replace(text, text, text, int, int, text) text", |context, a| {
        regexp_replace(context, a, a[3].int()?, Some(a[4].int()?), a[5].str()?)
    }),
];

fn count(count: usize) -> Answer {
    i64::try_from(count).map(Value::Int).map_err(|_| "integer out of range".to_owned())
}

/// How many characters `left` and `right` keep: of a negative count, all but so many.
fn kept(text: &str, count: i64) -> usize {
    let all = text.chars().count();
    match usize::try_from(count) {
        Ok(count) => count.min(all),
        Err(_) => all.saturating_sub(usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX)),
    }
}

/// Where a slice from `start` (from 1, may lie before the text) of `length` begins and how long it is.
fn slice(start: i64, length: Option<i64>) -> Result<(usize, usize), String> {
    let end = match length {
        Some(length) if length < 0 => return Err("negative substring length not allowed".to_owned()),
        Some(length) => start.saturating_add(length),
        None => i64::MAX,
    };
    let from = start.max(1);
    let count = usize::try_from(end.saturating_sub(from)).unwrap_or(0);
    Ok((usize::try_from(from - 1).unwrap_or(0), count))
}

fn slice_text(a: &[Value]) -> Answer {
    let (skip, count) = slice(a[1].int()?, a.get(2).map(Value::int).transpose()?)?;
    Ok(Value::Text(a[0].str()?.chars().skip(skip).take(count).collect()))
}

fn slice_bytes(a: &[Value]) -> Answer {
    let (skip, count) = slice(a[1].int()?, a.get(2).map(Value::int).transpose()?)?;
    Ok(Value::Bytes(a[0].bytes()?.iter().skip(skip).take(count).copied().collect()))
}

fn characters_before(text: &str, at: usize) -> i64 {
    let before = text.get(..at).map_or(0, |before| before.chars().count());
    i64::try_from(before).unwrap_or(i64::MAX)
}

fn position(text: &str, part: &str) -> Answer {
    Ok(Value::Int(text.find(part).map_or(0, |at| characters_before(text, at) + 1)))
}

fn padded(a: &[Value], before: bool) -> Answer {
    let text = a[0].str()?;
    let width = usize::try_from(a[1].int()?).unwrap_or(0);
    let fill = a.get(2).map_or(Ok(" "), Value::str)?;
    if width.saturating_mul(4) > TEXT_BYTES_MAX {
        return Err("requested length too large".to_owned());
    }
    let length = text.chars().count();
    if length >= width {
        return Ok(Value::Text(text.chars().take(width).collect()));
    }
    let padding: String = fill.chars().cycle().take(if fill.is_empty() { 0 } else { width - length }).collect();
    Ok(Value::Text(if before { padding + text } else { text.to_owned() + &padding }))
}

fn trimmed(a: &[Value], start: bool, end: bool) -> Answer {
    let of = a.get(1).map_or(Ok(" "), Value::str)?;
    let mut text = a[0].str()?;
    if start {
        text = text.trim_start_matches(|character| of.contains(character));
    }
    if end {
        text = text.trim_end_matches(|character| of.contains(character));
    }
    Ok(Value::text(text))
}

fn overlaid(a: &[Value]) -> Answer {
    let (text, by, start) = (a[0].str()?, a[1].str()?, a[2].int()?);
    let length = match a.get(3) {
        Some(length) => length.int()?,
        None => i64::try_from(by.chars().count()).unwrap_or(i64::MAX),
    };
    if start <= 0 {
        return Err("negative substring length not allowed".to_owned());
    }
    let before = usize::try_from(start - 1).unwrap_or(usize::MAX);
    let behind = usize::try_from((start - 1).saturating_add(length)).unwrap_or(0);
    let mut result: String = text.chars().take(before).collect();
    result.push_str(by);
    result.extend(text.chars().skip(behind));
    Ok(Value::Text(result))
}

/// As `concat` shows a value: a boolean as one letter.
fn shown(context: &Context, value: &Value) -> Result<String, String> {
    match value {
        Value::Bool(value) => Ok(if *value { "t" } else { "f" }.to_owned()),
        value => cast::text(context, value, &Kind::Any),
    }
}

fn shown_as_text(context: &Context, value: &Value) -> Result<String, String> {
    cast::text(context, value, &Kind::Any)
}

/// `%s`, `%I`, `%L`, `%%`, each with `n$` and a width.
fn format(context: &Context, a: &[Value]) -> Answer {
    let Value::Text(format) = &a[0] else { return Ok(Value::Null) };
    let mut out = String::new();
    let mut next = 1;
    let mut rest = format.as_str();
    while let Some(at) = rest.find('%') {
        out.push_str(rest.get(..at).unwrap_or_default());
        rest = rest.get(at + 1..).unwrap_or_default();
        if let Some(after) = rest.strip_prefix('%') {
            out.push('%');
            rest = after;
            continue;
        }
        let number = |text: &str| {
            let digits = text.bytes().take_while(u8::is_ascii_digit).count();
            (text.get(..digits).and_then(|digits| digits.parse::<usize>().ok()), digits)
        };
        let (position, digits) = number(rest);
        if let (Some(position), Some('$')) = (position, rest.get(digits..).and_then(|rest| rest.chars().next())) {
            if position == 0 {
                return Err("format specifies argument 0, but arguments are numbered from 1".to_owned());
            }
            next = position;
            rest = rest.get(digits + 1..).unwrap_or_default();
        }
        let mut left = false;
        while let Some(after) = rest.strip_prefix('-') {
            (left, rest) = (true, after);
        }
        let mut width = 0_usize;
        if let Some(after) = rest.strip_prefix('*') {
            if after.starts_with(|c: char| c.is_ascii_digit()) {
                return Err("a width by the number of an argument is not supported".to_owned());
            }
            let given = a.get(next).ok_or("too few arguments for format()")?;
            let given = if given.is_null() { 0 } else { given.int()? };
            left |= given < 0;
            width = usize::try_from(given.unsigned_abs()).unwrap_or(usize::MAX);
            (next, rest) = (next + 1, after);
        } else if let (Some(given), digits) = number(rest) {
            (width, rest) = (given, rest.get(digits..).unwrap_or_default());
        }
        if width > TEXT_BYTES_MAX {
            return Err("requested length too large".to_owned());
        }
        let conversion = rest.chars().next().ok_or("unterminated format() type specifier")?;
        rest = rest.get(conversion.len_utf8()..).unwrap_or_default();
        let argument = || a.get(next).ok_or_else(|| "too few arguments for format()".to_owned());
        let text = match conversion {
            's' => shown(context, argument()?)?,
            'I' => match argument()? {
                Value::Null => return Err("null values cannot be formatted as an SQL identifier".to_owned()),
                value => quote_ident(&shown(context, value)?),
            },
            'L' => match argument()? {
                Value::Null => "NULL".to_owned(),
                value => quote_literal(&shown(context, value)?),
            },
            other => return Err(format!("unrecognized format() type specifier \"{other}\"")),
        };
        next += 1;
        let _ = match left {
            true => write!(out, "{text:<width$}"),
            false => write!(out, "{text:>width$}"),
        };
    }
    out.push_str(rest);
    Ok(Value::Text(out))
}

/// Words that PostgreSQL would not take as a name without quotes.
const RESERVED: [&str; 98] = [
    "all",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "asymmetric",
    "authorization",
    "between",
    "bigint",
    "binary",
    "bit",
    "boolean",
    "both",
    "case",
    "cast",
    "char",
    "character",
    "check",
    "coalesce",
    "collate",
    "column",
    "concurrently",
    "constraint",
    "create",
    "cross",
    "current_date",
    "current_role",
    "current_time",
    "current_timestamp",
    "current_user",
    "dec",
    "decimal",
    "default",
    "deferrable",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "exists",
    "extract",
    "false",
    "fetch",
    "float",
    "for",
    "foreign",
    "freeze",
    "from",
    "full",
    "grant",
    "group",
    "having",
    "ilike",
    "in",
    "initially",
    "inner",
    "int",
    "integer",
    "intersect",
    "interval",
    "into",
    "is",
    "join",
    "lateral",
    "leading",
    "left",
    "like",
    "limit",
    "natural",
    "not",
    "null",
    "numeric",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "outer",
    "primary",
    "references",
    "right",
    "row",
    "select",
    "table",
    "then",
    "time",
    "timestamp",
    "to",
    "true",
    "union",
    "unique",
    "user",
    "using",
    "when",
];

fn quote_ident(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        && !RESERVED.contains(&name)
        && !matches!(
            name,
            "where"
                | "with"
                | "window"
                | "values"
                | "varchar"
                | "trim"
                | "substring"
                | "position"
                | "overlay"
                | "trailing"
                | "verbose"
                | "variadic"
                | "some"
                | "symmetric"
                | "similar"
                | "smallint"
                | "real"
                | "returning"
                | "session_user"
                | "setof"
                | "tablesample"
                | "treat"
                | "nullif"
                | "none"
                | "national"
                | "nchar"
                | "normalize"
                | "notnull"
                | "isnull"
                | "placing"
                | "precision"
                | "out"
                | "inout"
                | "localtime"
                | "localtimestamp"
                | "greatest"
                | "least"
                | "grouping"
                | "overlaps"
                | "current_catalog"
                | "current_schema"
                | "collation"
                | "xmlattributes"
                | "xmlconcat"
                | "xmlelement"
                | "xmlexists"
                | "xmlforest"
                | "xmlnamespaces"
                | "xmlparse"
                | "xmlpi"
                | "xmlroot"
                | "xmlserialize"
                | "xmltable"
        );
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

fn quote_literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    match quoted.contains('\\') {
        true => format!("E'{}'", quoted.replace('\\', "\\\\")),
        false => format!("'{quoted}'"),
    }
}

fn md5(bytes: &[u8]) -> String {
    use md5::Digest;
    let mut text = String::new();
    for byte in md5::Md5::digest(bytes) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn encode(bytes: &[u8], form: &str) -> Answer {
    Ok(Value::Text(match form.to_ascii_lowercase().as_str() {
        "hex" => bytes.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        }),
        "base64" => {
            // Lines of 76 characters, as MIME has them.
            let whole = STANDARD.encode(bytes);
            let mut text = String::with_capacity(whole.len() + whole.len() / 76);
            for (at, character) in whole.chars().enumerate() {
                if at > 0 && at % 76 == 0 {
                    text.push('\n');
                }
                text.push(character);
            }
            text
        }
        "escape" => bytes.iter().fold(String::new(), |mut text, byte| {
            match byte {
                b'\\' => text.push_str("\\\\"),
                0 | 0x80.. => {
                    let _ = write!(text, "\\{byte:03o}");
                }
                byte => text.push(char::from(*byte)),
            }
            text
        }),
        _ => return Err(format!("unrecognized encoding: \"{form}\"")),
    }))
}

fn decode(text: &str, form: &str) -> Answer {
    Ok(Value::Bytes(match form.to_ascii_lowercase().as_str() {
        "hex" => {
            let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
            unhex(&digits)?
        }
        "base64" => {
            let digits: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
            STANDARD.decode(digits).map_err(|_| "invalid base64 end sequence or symbol".to_owned())?
        }
        "escape" => unescape(text).ok_or_else(|| "invalid input syntax for type bytea".to_owned())?,
        _ => return Err(format!("unrecognized encoding: \"{form}\"")),
    }))
}

pub(super) fn unhex(digits: &[u8]) -> Result<Vec<u8>, String> {
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
            .ok_or_else(|| format!("invalid hexadecimal digit: \"{}\"", char::from(byte)))
    };
    let mut bytes = Vec::with_capacity(digits.len() / 2);
    for pair in digits.chunks(2) {
        match pair {
            [high, low] => bytes.push(digit(*high)? << 4 | digit(*low)?),
            _ => return Err("invalid hexadecimal data: odd number of digits".to_owned()),
        }
    }
    Ok(bytes)
}

/// The older form of bytea: `\\` and three octal digits behind a backslash.
pub(super) fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        if *first != b'\\' {
            bytes.push(*first);
            rest = behind;
            continue;
        }
        match behind {
            [b'\\', behind @ ..] => {
                bytes.push(b'\\');
                rest = behind;
            }
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', behind @ ..] => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = behind;
            }
            _ => return None,
        }
    }
    Some(bytes)
}

fn utf8_named(name: &str) -> Result<(), String> {
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    match plain.eq_ignore_ascii_case("utf8") || plain.eq_ignore_ascii_case("unicode") {
        true => Ok(()),
        false => Err(format!("the encoding \"{name}\" is not supported: there is UTF8")),
    }
}

fn part(text: &str, span: Option<(usize, usize)>) -> Value {
    span.and_then(|(start, end)| text.get(start..end)).map_or(Value::Null, Value::text)
}

/// The first group of a match, or all of it.
fn substring_matching(context: &Context, a: &[Value]) -> Answer {
    let text = a[0].str()?;
    let pattern = context.pattern(a[1].str()?, "")?;
    let Some(found) = pattern.find(text, 0)? else { return Ok(Value::Null) };
    Ok(part(text, found.get(usize::from(pattern.groups > 0)).copied().flatten()))
}

fn regexp_like(context: &Context, a: &[Value]) -> Answer {
    let flags = a.get(2).map_or(Ok(""), Value::str)?;
    refuse_global(flags, "regexp_like")?;
    Ok(Value::Bool(context.pattern(a[1].str()?, flags)?.is_match(a[0].str()?)))
}

fn refuse_global(flags: &str, name: &str) -> Result<(), String> {
    match flags.contains('g') {
        true => Err(format!("{name}() does not support the \"global\" option")),
        false => Ok(()),
    }
}

fn similar(context: &Context, a: &[Value], escape: Option<char>) -> Answer {
    let pattern = regex::similar(a[1].str()?, escape)?;
    Ok(Value::Bool(context.pattern(&pattern, "")?.is_match(a[0].str()?)))
}

/// The byte at which the character number `start`, from 1, begins.
fn byte_of(text: &str, start: i64) -> Result<usize, String> {
    let skip = usize::try_from(start).ok().and_then(|start| start.checked_sub(1));
    let skip = skip.ok_or_else(|| format!("invalid value for parameter \"start\": {start}"))?;
    Ok(text.char_indices().nth(skip).map_or(text.len() + usize::from(skip > text.chars().count()), |(at, _)| at))
}

fn regexp_count(context: &Context, a: &[Value]) -> Answer {
    let text = a[0].str()?;
    let start = byte_of(text, a.get(2).map_or(Ok(1), Value::int)?)?;
    let flags = a.get(3).map_or(Ok(""), Value::str)?;
    refuse_global(flags, "regexp_count")?;
    let pattern = context.pattern(a[1].str()?, flags)?;
    if start > text.len() {
        return Ok(Value::Int(0));
    }
    count(pattern.all(text, start)?.len())
}

/// The groups of a match, or all of it where there are none.
fn groups(text: &str, pattern: &regex::Pattern, found: &regex::Match) -> Value {
    let shown = if pattern.groups > 0 { found.get(1..) } else { found.get(..1) };
    Value::List(shown.unwrap_or_default().iter().map(|span| part(text, *span)).collect())
}

fn regexp_match(context: &Context, a: &[Value]) -> Answer {
    let (text, flags) = (a[0].str()?, a.get(2).map_or(Ok(""), Value::str)?);
    refuse_global(flags, "regexp_match")?;
    let pattern = context.pattern(a[1].str()?, flags)?;
    Ok(pattern.find(text, 0)?.map_or(Value::Null, |found| groups(text, &pattern, &found)))
}

fn regexp_split(context: &Context, a: &[Value]) -> Answer {
    let (text, flags) = (a[0].str()?, a.get(2).map_or(Ok(""), Value::str)?);
    refuse_global(flags, "regexp_split_to_array")?;
    let pattern = context.pattern(a[1].str()?, flags)?;
    let mut parts = Vec::new();
    let mut from = 0;
    for found in pattern.all(text, 0)? {
        let Some((start, end)) = found.first().copied().flatten() else { continue };
        // What matches nothing at the very beginning or end splits nothing off.
        if start == end && (start == 0 || start >= text.len()) {
            continue;
        }
        parts.push(part(text, Some((from, start))));
        from = end;
    }
    parts.push(part(text, Some((from, text.len()))));
    Ok(Value::List(parts))
}

/// `which`: that match alone; 0 or the flag `g`: all.
fn regexp_replace(context: &Context, a: &[Value], start: i64, which: Option<i64>, flags: &str) -> Answer {
    let (text, by) = (a[0].str()?, a[2].str()?);
    let pattern = context.pattern(a[1].str()?, flags)?;
    let from = byte_of(text, start)?;
    let which = match which {
        Some(which) if which < 0 => return Err(format!("invalid value for parameter \"n\": {which}")),
        Some(which) => which,
        None => i64::from(!pattern.global),
    };
    if from > text.len() {
        return Ok(Value::text(text));
    }
    let mut out = String::new();
    let mut copied = 0;
    for (number, found) in (1..).zip(pattern.all(text, from)?) {
        let Some((start, end)) = found.first().copied().flatten() else { continue };
        if which != 0 && number != which {
            continue;
        }
        out.push_str(text.get(copied..start).unwrap_or_default());
        replacement(by, text, &found, &mut out);
        copied = end;
    }
    out.push_str(text.get(copied..).unwrap_or_default());
    Ok(Value::Text(out))
}

/// `\1` a group, `\&` the match, `\\` a backslash.
fn replacement(by: &str, text: &str, found: &regex::Match, out: &mut String) {
    let mut characters = by.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            out.push(character);
            continue;
        }
        let mut group = |number: usize| {
            if let Some((start, end)) = found.get(number).copied().flatten() {
                out.push_str(text.get(start..end).unwrap_or_default());
            }
        };
        match characters.next() {
            Some('&') => group(0),
            Some(digit @ '1'..='9') => group(digit.to_digit(10).unwrap_or(0) as usize),
            Some('\\') => out.push('\\'),
            Some(other) => {
                out.push('\\');
                out.push(other);
            }
            None => out.push('\\'),
        }
    }
}
