//! The values that come with a Bind, from the wire into the engine's own. Pure.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, TimeUnit};
use bytes::Buf;
use datafusion::common::ScalarValue;
use pgwire::api::Type;

use super::error::PgError;
use super::message::Format;

/// Microseconds and days from 1970 to 2000, where PostgreSQL begins to count.
const EPOCH_MICROS: i64 = 946_684_800_000_000;
const EPOCH_DAYS: i32 = 10_957;

/// What a declared type is here; `None` where it says nothing (0, unknown) or is not taken.
pub(super) fn data_type(of: &Type, time_zone: &str) -> Option<DataType> {
    let list = |element: DataType| Some(DataType::List(Arc::new(Field::new_list_field(element, true))));
    let zoned = || DataType::Timestamp(TimeUnit::Microsecond, Some(time_zone.into()));
    Some(match *of {
        Type::BOOL => DataType::Boolean,
        Type::INT2 => DataType::Int16,
        Type::INT4 => DataType::Int32,
        Type::INT8 => DataType::Int64,
        Type::OID | Type::REGCLASS | Type::REGTYPE | Type::REGPROC | Type::REGNAMESPACE => DataType::Int32,
        Type::FLOAT4 => DataType::Float32,
        Type::FLOAT8 => DataType::Float64,
        Type::NUMERIC => DataType::Decimal128(38, 10),
        Type::TEXT
        | Type::VARCHAR
        | Type::BPCHAR
        | Type::NAME
        | Type::CHAR
        | Type::UUID
        | Type::JSON
        | Type::JSONB
        | Type::XML
        | Type::INET => DataType::Utf8,
        Type::BYTEA => DataType::Binary,
        Type::DATE => DataType::Date32,
        Type::TIME => DataType::Time64(TimeUnit::Microsecond),
        Type::TIMESTAMP => DataType::Timestamp(TimeUnit::Microsecond, None),
        Type::TIMESTAMPTZ => zoned(),
        Type::INTERVAL => DataType::Interval(arrow::datatypes::IntervalUnit::MonthDayNano),
        Type::BOOL_ARRAY => return list(DataType::Boolean),
        Type::INT2_ARRAY => return list(DataType::Int16),
        Type::INT4_ARRAY | Type::OID_ARRAY => return list(DataType::Int32),
        Type::INT8_ARRAY => return list(DataType::Int64),
        Type::FLOAT4_ARRAY => return list(DataType::Float32),
        Type::FLOAT8_ARRAY => return list(DataType::Float64),
        Type::TEXT_ARRAY | Type::VARCHAR_ARRAY | Type::NAME_ARRAY => return list(DataType::Utf8),
        Type::TIMESTAMPTZ_ARRAY => return list(zoned()),
        _ => return None,
    })
}

/// Reads one value. `number` is the parameter's, from 1, for the error.
pub(super) fn read(
    number: usize,
    value: Option<&[u8]>,
    format: Format,
    of: &Type,
    time_zone: &str,
) -> Result<ScalarValue, PgError> {
    let target = data_type(of, time_zone)
        .ok_or_else(|| PgError::unsupported(format!("parameter ${number} of type {}", of.name())))?;
    let null = || ScalarValue::try_from(&target).map_err(|error| PgError::new("XX000", error.to_string()));
    let Some(bytes) = value else { return null() };
    match format {
        Format::Text => {
            let text = std::str::from_utf8(bytes)
                .map_err(|_| PgError::new("22021", format!("parameter ${number} is not UTF-8")))?;
            if text.contains('\0') {
                return Err(PgError::new("22021", "invalid byte sequence for encoding \"UTF8\": 0x00"));
            }
            read_text(text, of, &target)
        }
        Format::Binary => read_binary(bytes, of, &target)
            .ok_or_else(|| PgError::new("22P03", format!("incorrect binary data format in bind parameter {number}")))?,
    }
}

fn read_text(text: &str, of: &Type, target: &DataType) -> Result<ScalarValue, PgError> {
    let wrong = || PgError::new("22P02", format!("invalid input syntax for type {}: \"{text}\"", of.name()));
    match target {
        DataType::Utf8 => Ok(ScalarValue::Utf8(Some(text.to_owned()))),
        DataType::Binary => bytea(text).map(|bytes| ScalarValue::Binary(Some(bytes))).ok_or_else(wrong),
        DataType::Boolean => match text.trim().to_ascii_lowercase().as_str() {
            "t" | "true" | "y" | "yes" | "on" | "1" => Ok(ScalarValue::Boolean(Some(true))),
            "f" | "false" | "n" | "no" | "off" | "0" => Ok(ScalarValue::Boolean(Some(false))),
            _ => Err(wrong()),
        },
        DataType::Decimal128(..) => decimal(text.trim()).ok_or_else(wrong),
        DataType::Interval(_) => interval(text).ok_or_else(wrong),
        DataType::List(element) => {
            let elements = array_elements(text).ok_or_else(wrong)?;
            let values = StringArray::from(elements);
            let values = cast(&values, element.data_type()).ok_or_else(wrong)?;
            Ok(list_of(values))
        }
        other => {
            let one = StringArray::from(vec![text.trim()]);
            cast(&one, other).and_then(|one| ScalarValue::try_from_array(&one, 0).ok()).ok_or_else(wrong)
        }
    }
}

fn cast(array: &dyn Array, to: &DataType) -> Option<ArrayRef> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(array, to, &options).ok()
}

fn list_of(values: ArrayRef) -> ScalarValue {
    let list = datafusion::common::utils::SingleRowListArrayBuilder::new(values).with_nullable(true).build_list_array();
    ScalarValue::List(Arc::new(list))
}

/// `\x…`, or the escapes of old.
fn bytea(text: &str) -> Option<Vec<u8>> {
    if let Some(hex) = text.strip_prefix("\\x") {
        let digits: Vec<u8> = hex.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect::<Option<_>>()?;
        let (pairs, rest) = digits.as_chunks::<2>();
        return rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        match rest.next()? {
            b'\\' => bytes.push(b'\\'),
            first => {
                let mut octal = 0_u32;
                for digit in [first, rest.next()?, rest.next()?] {
                    octal = octal * 8 + char::from(digit).to_digit(8)?;
                }
                bytes.push(u8::try_from(octal).ok()?);
            }
        }
    }
    Some(bytes)
}

/// `1 year 2 mons -3 days 04:05:06.7`, as PostgreSQL writes intervals.
fn interval(text: &str) -> Option<ScalarValue> {
    let (mut months, mut days, mut nanos) = (0_i32, 0_i32, 0_i64);
    let mut words = text.split_whitespace();
    let mut seen = false;
    while let Some(word) = words.next() {
        seen = true;
        if let Some((hours, rest)) = word.split_once(':') {
            let negative = hours.starts_with('-');
            let hours: i64 = hours.trim_start_matches(['-', '+']).parse().ok()?;
            let (minutes, seconds) = rest.split_once(':').unwrap_or((rest, "0"));
            let (minutes, seconds): (i64, f64) = (minutes.parse().ok()?, seconds.parse().ok()?);
            let whole = hours.checked_mul(3_600)?.checked_add(minutes.checked_mul(60)?)?.checked_mul(1_000_000_000)?;
            let total = whole.checked_add((seconds * 1e6).round() as i64 * 1_000)?;
            nanos = nanos.checked_add(if negative { -total } else { total })?;
            continue;
        }
        let digits = word.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(word.len());
        let (number, unit) = word.split_at_checked(digits)?;
        let unit = if unit.is_empty() { words.next()? } else { unit };
        let unit = unit.to_ascii_lowercase();
        let unit = unit.strip_suffix('s').unwrap_or(&unit);
        let seconds = match unit {
            "year" | "yr" | "y" => {
                months = months.checked_add(number.parse::<i32>().ok()?.checked_mul(12)?)?;
                continue;
            }
            "mon" | "month" => {
                months = months.checked_add(number.parse().ok()?)?;
                continue;
            }
            "week" | "w" => {
                days = days.checked_add(number.parse::<i32>().ok()?.checked_mul(7)?)?;
                continue;
            }
            "day" | "d" => {
                days = days.checked_add(number.parse().ok()?)?;
                continue;
            }
            "hour" | "hr" | "h" => 3_600.0,
            "minute" | "min" | "m" => 60.0,
            "second" | "sec" | "" => 1.0,
            "millisecond" | "msec" => 0.001,
            _ => return None,
        };
        let value: f64 = number.parse().ok()?;
        nanos = nanos.checked_add((value * seconds * 1e6).round() as i64 * 1_000)?;
    }
    seen.then(|| ScalarValue::new_interval_mdn(months, days, nanos))
}

/// A number with as many places as it is written with.
fn decimal(text: &str) -> Option<ScalarValue> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, places) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let negative = whole.starts_with('-');
    let digits: String = whole.trim_start_matches(['-', '+']).chars().chain(places.chars()).collect();
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let mut scale = i32::try_from(places.len()).ok()?.checked_sub(exponent)?;
    let mut value: i128 = digits.parse().ok()?;
    while scale < 0 {
        value = value.checked_mul(10)?;
        scale += 1;
    }
    let scale = i8::try_from(scale).ok().filter(|scale| *scale <= 38)?;
    let value = if negative { -value } else { value };
    (value.unsigned_abs() < 10_u128.pow(38)).then_some(ScalarValue::Decimal128(Some(value), 38, scale))
}

/// `{a,"b c",NULL}`, of one dimension.
pub(super) fn array_elements(text: &str) -> Option<Vec<Option<String>>> {
    let inner = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    let mut elements = Vec::new();
    let mut chars = inner.chars().peekable();
    if inner.trim().is_empty() {
        return Some(elements);
    }
    loop {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        let mut element = String::new();
        let quoted = chars.next_if_eq(&'"').is_some();
        loop {
            match chars.next() {
                Some('"') if quoted => break,
                Some('\\') => element.push(chars.next()?),
                Some('{' | '}') if !quoted => return None,
                Some(c) if !quoted && c == ',' => {
                    elements.push(unquoted(&element));
                    element = String::from("\0");
                    break;
                }
                Some(c) => element.push(c),
                None if quoted => return None,
                None => {
                    elements.push(unquoted(&element));
                    return Some(elements);
                }
            }
        }
        if element == "\0" && !quoted {
            continue;
        }
        elements.push(Some(element));
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        match chars.next() {
            None => return Some(elements),
            Some(',') => {}
            Some(_) => return None,
        }
    }
}

fn unquoted(element: &str) -> Option<String> {
    let element = element.trim_end();
    (!element.eq_ignore_ascii_case("null")).then(|| element.to_owned())
}

/// `None` where the bytes are not such a value; an inner error where they are one that cannot be held.
fn read_binary(mut bytes: &[u8], of: &Type, target: &DataType) -> Option<Result<ScalarValue, PgError>> {
    let out_of_range = || PgError::new("22003", format!("a value of type {} is out of range", of.name()));
    let value = match target {
        DataType::Boolean => ScalarValue::Boolean(Some(bytes.try_get_u8().ok()? != 0)),
        DataType::Int16 => ScalarValue::Int16(Some(bytes.try_get_i16().ok()?)),
        DataType::Int32 => ScalarValue::Int32(Some(bytes.try_get_i32().ok()?)),
        DataType::Int64 => ScalarValue::Int64(Some(bytes.try_get_i64().ok()?)),
        DataType::Float32 => ScalarValue::Float32(Some(bytes.try_get_f32().ok()?)),
        DataType::Float64 => ScalarValue::Float64(Some(bytes.try_get_f64().ok()?)),
        DataType::Binary => {
            let value = bytes.to_vec();
            bytes = &[];
            ScalarValue::Binary(Some(value))
        }
        DataType::Utf8 if *of == Type::UUID => {
            let id = bytes.try_get_u128().ok()?;
            let hex = format!("{id:032x}");
            let parts = [hex.get(..8)?, hex.get(8..12)?, hex.get(12..16)?, hex.get(16..20)?, hex.get(20..)?];
            ScalarValue::Utf8(Some(parts.join("-")))
        }
        DataType::Utf8 => {
            if *of == Type::JSONB && bytes.try_get_u8().ok()? != 1 {
                return None;
            }
            let text = std::str::from_utf8(bytes).ok()?.to_owned();
            bytes = &[];
            ScalarValue::Utf8(Some(text))
        }
        DataType::Date32 => match bytes.try_get_i32().ok()?.checked_add(EPOCH_DAYS) {
            Some(days) => ScalarValue::Date32(Some(days)),
            None => return Some(Err(out_of_range())),
        },
        DataType::Time64(_) => ScalarValue::Time64Microsecond(Some(bytes.try_get_i64().ok()?)),
        DataType::Timestamp(_, zone) => match bytes.try_get_i64().ok()?.checked_add(EPOCH_MICROS) {
            Some(micros) => ScalarValue::TimestampMicrosecond(Some(micros), zone.clone()),
            None => return Some(Err(out_of_range())),
        },
        DataType::Interval(_) => {
            let (micros, days, months) =
                (bytes.try_get_i64().ok()?, bytes.try_get_i32().ok()?, bytes.try_get_i32().ok()?);
            match micros.checked_mul(1_000) {
                Some(nanos) => ScalarValue::new_interval_mdn(months, days, nanos),
                None => return Some(Err(out_of_range())),
            }
        }
        DataType::Decimal128(..) => {
            let text = numeric_text(&mut bytes)?;
            match decimal(&text) {
                Some(value) => value,
                None => return Some(Err(out_of_range())),
            }
        }
        DataType::List(element) => {
            let dimensions = bytes.try_get_i32().ok()?;
            let (_has_nulls, element_oid) = (bytes.try_get_i32().ok()?, bytes.try_get_u32().ok()?);
            let element_type = Type::from_oid(element_oid)?;
            let count = match dimensions {
                0 => 0,
                1 => {
                    let count = bytes.try_get_i32().ok()?;
                    let _lower = bytes.try_get_i32().ok()?;
                    usize::try_from(count).ok()?
                }
                _ => return Some(Err(PgError::unsupported("an array of several dimensions"))),
            };
            if count.saturating_mul(4) > bytes.len() {
                return None;
            }
            let mut values = Vec::with_capacity(count);
            for _ in 0..count {
                let length = bytes.try_get_i32().ok()?;
                values.push(match usize::try_from(length) {
                    Err(_) => ScalarValue::try_from(element.data_type()).ok()?,
                    Ok(length) => {
                        let (value, rest) = bytes.split_at_checked(length)?;
                        bytes = rest;
                        match read_binary(value, &element_type, element.data_type())? {
                            Ok(value) => value,
                            Err(error) => return Some(Err(error)),
                        }
                    }
                });
            }
            ScalarValue::List(ScalarValue::new_list_nullable(&values, element.data_type()))
        }
        _ => return None,
    };
    bytes.is_empty().then_some(Ok(value))
}

/// PostgreSQL's numeric: groups of four digits, of base 10,000.
fn numeric_text(bytes: &mut &[u8]) -> Option<String> {
    let (groups, weight, sign, scale) = (
        bytes.try_get_u16().ok()?,
        bytes.try_get_i16().ok()?,
        bytes.try_get_u16().ok()?,
        usize::from(bytes.try_get_u16().ok()?),
    );
    if !matches!(sign, 0 | 0x4000) || !(-20..=20).contains(&weight) || scale > 100 || groups > 30 {
        return None;
    }
    let digits: Vec<u16> =
        (0..groups).map(|_| bytes.try_get_u16().ok().filter(|g| *g < 10_000)).collect::<Option<_>>()?;
    let group = |at: i32| usize::try_from(at).ok().and_then(|at| digits.get(at)).copied().unwrap_or(0);
    let weight = i32::from(weight);
    let mut text = if sign == 0 { String::new() } else { "-".to_owned() };
    text.push('0');
    for at in 0..=weight {
        text.push_str(&format!("{:04}", group(at)));
    }
    let mut places = String::new();
    let mut at = weight + 1;
    while places.len() < scale {
        places.push_str(&format!("{:04}", group(at)));
        at += 1;
    }
    places.truncate(scale);
    Some(if places.is_empty() { text } else { format!("{text}.{places}") })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(value: &str, of: &Type) -> Result<String, &'static str> {
        read(1, Some(value.as_bytes()), Format::Text, of, "Europe/Berlin")
            .map(|value| value.to_string())
            .map_err(|error| error.code)
    }

    #[test]
    fn texts_are_read_by_their_type() {
        assert_eq!(text(" 42", &Type::INT4).as_deref(), Ok("42"));
        assert_eq!(text("4.2", &Type::INT4), Err("22P02"));
        assert_eq!(text("99999999999", &Type::INT4), Err("22P02"));
        assert_eq!(text("t", &Type::BOOL).as_deref(), Ok("true"));
        assert_eq!(text("-1.50e1", &Type::NUMERIC).as_deref(), Ok("-15.0"));
        assert_eq!(text("x", &Type::NUMERIC), Err("22P02"));
        let noon = read(1, Some(b"2026-11-20 12:00:00"), Format::Text, &Type::TIMESTAMPTZ, "Europe/Berlin").unwrap();
        let expected = ScalarValue::TimestampMicrosecond(Some(1_795_172_400_000_000), Some("Europe/Berlin".into()));
        assert_eq!(noon, expected, "11:00 UTC");
        assert_eq!(array_elements("{a,\"b,c\",NULL,\"NULL\"}").unwrap().len(), 4);
        let expected = ScalarValue::new_interval_mdn(-11, 3, 14_706_700_000_000);
        assert_eq!(interval("-1 years 1 mon 3 days 04:05:06.7"), Some(expected));
        assert_eq!(interval("1 day 0:00:03"), Some(ScalarValue::new_interval_mdn(0, 1, 3_000_000_000)));
        assert_eq!(interval("soon"), None);
        assert_eq!(array_elements("{}"), Some(vec![]));
        assert_eq!(array_elements("{a"), None);
        assert_eq!(bytea("\\x00ff"), Some(vec![0, 255]));
        assert_eq!(bytea("a\\000\\\\"), Some(vec![b'a', 0, b'\\']));
    }

    #[test]
    fn numerics_come_in_groups() {
        // 12345.678: groups 1, 2345, 6780; weight 1.
        let mut bytes: &[u8] = &[0, 3, 0, 1, 0, 0, 0, 3, 0, 1, 0x09, 0x29, 0x1a, 0x7c];
        assert_eq!(numeric_text(&mut bytes).as_deref(), Some("000012345.678"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, at in 0_usize..12) {
            let types = [Type::BOOL, Type::INT4, Type::INT8, Type::NUMERIC, Type::TEXT, Type::BYTEA, Type::DATE,
                Type::TIMESTAMPTZ, Type::INTERVAL, Type::TEXT_ARRAY, Type::UUID, Type::INT8_ARRAY];
            for format in [Format::Text, Format::Binary] {
                let _ = read(1, Some(&bytes), format, &types[at], "UTC");
            }
        }
    }
}
