//! One value of SQL, as the functions see it; to and from Arrow.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Float32Builder,
    Float64Builder, Int16Builder, Int32Builder, Int64Builder, IntervalMonthDayNanoBuilder, ListArray, NullArray,
    StringBuilder, Time64MicrosecondBuilder, TimestampMicrosecondBuilder,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{
    DataType, Date32Type, Date64Type, Decimal128Type, DurationMicrosecondType, DurationMillisecondType,
    DurationNanosecondType, DurationSecondType, Field, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, IntervalDayTimeType, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit,
    IntervalYearMonthType, Time32MillisecondType, Time32SecondType, Time64MicrosecondType, Time64NanosecondType,
    TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use bigdecimal::num_bigint::BigInt;
use bigdecimal::{BigDecimal, RoundingMode, ToPrimitive};

use super::time::interval::Span;

/// What a function answers to one row: a value, or what PostgreSQL would say.
pub(super) type Answer = Result<Value, String>;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Numeric(BigDecimal),
    Text(String),
    Bytes(Vec<u8>),
    /// Days since 1970-01-01.
    Date(i32),
    /// Microseconds since midnight.
    Time(i64),
    /// Microseconds since 1970-01-01 00:00 of some wall clock.
    Timestamp(i64),
    /// Microseconds since 1970-01-01 00:00 UTC.
    Timestamptz(i64),
    Interval(Span),
    List(Vec<Value>),
}

/// A type, as PostgreSQL names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// Of a bare NULL or a parameter that nothing tells the type of.
    Unknown,
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Numeric,
    Text,
    Bytea,
    Date,
    Time,
    Timestamp,
    Timestamptz,
    Interval,
    List(Box<Kind>),
    /// In a signature: whatever comes. Of a value: nothing that PostgreSQL has.
    Any,
}

/// The zone that every instant is kept in; what is shown depends on the session.
pub(super) const UTC: &str = "UTC";
/// Digits that a decimal of Arrow has at most.
pub(super) const NUMERIC_DIGITS_MAX: u8 = 38;

impl Kind {
    pub(super) fn parse(name: &str) -> Option<Self> {
        if let Some(element) = name.strip_suffix("[]") {
            return Some(Self::List(Box::new(Self::parse(element)?)));
        }
        Some(match name {
            "boolean" => Self::Bool,
            "smallint" => Self::Int2,
            "int" => Self::Int4,
            "bigint" => Self::Int8,
            "real" => Self::Float4,
            "float8" => Self::Float8,
            "numeric" => Self::Numeric,
            "text" | "json" | "jsonb" => Self::Text,
            "bytea" => Self::Bytea,
            "date" => Self::Date,
            "time" => Self::Time,
            "timestamp" => Self::Timestamp,
            "timestamptz" => Self::Timestamptz,
            "interval" => Self::Interval,
            "any" => Self::Any,
            _ => return None,
        })
    }

    pub(super) fn of(data_type: &DataType) -> Self {
        match data_type {
            DataType::Null => Self::Unknown,
            DataType::Boolean => Self::Bool,
            DataType::Int8 | DataType::Int16 | DataType::UInt8 => Self::Int2,
            DataType::Int32 | DataType::UInt16 => Self::Int4,
            DataType::Int64 | DataType::UInt32 | DataType::UInt64 => Self::Int8,
            DataType::Float16 | DataType::Float32 => Self::Float4,
            DataType::Float64 => Self::Float8,
            DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..) | DataType::Decimal256(..) => {
                Self::Numeric
            }
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Self::Text,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
                Self::Bytea
            }
            DataType::Date32 | DataType::Date64 => Self::Date,
            DataType::Time32(_) | DataType::Time64(_) => Self::Time,
            DataType::Timestamp(_, None) => Self::Timestamp,
            DataType::Timestamp(_, Some(_)) => Self::Timestamptz,
            DataType::Interval(_) | DataType::Duration(_) => Self::Interval,
            DataType::Dictionary(_, value) => Self::of(value),
            DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) => {
                Self::List(Box::new(Self::of(field.data_type())))
            }
            _ => Self::Any,
        }
    }

    /// The Arrow type of a result of this kind; `scale` is that of a numeric.
    pub(super) fn arrow(&self, scale: i8) -> DataType {
        match self {
            Self::Unknown | Self::Any => DataType::Utf8,
            Self::Bool => DataType::Boolean,
            Self::Int2 => DataType::Int16,
            Self::Int4 => DataType::Int32,
            Self::Int8 => DataType::Int64,
            Self::Float4 => DataType::Float32,
            Self::Float8 => DataType::Float64,
            Self::Numeric => DataType::Decimal128(NUMERIC_DIGITS_MAX, scale),
            Self::Text => DataType::Utf8,
            Self::Bytea => DataType::Binary,
            Self::Date => DataType::Date32,
            Self::Time => DataType::Time64(TimeUnit::Microsecond),
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::Timestamptz => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
            Self::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
            Self::List(element) => DataType::List(Arc::new(Field::new_list_field(element.arrow(scale), true))),
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown",
            Self::Bool => "boolean",
            Self::Int2 => "smallint",
            Self::Int4 => "integer",
            Self::Int8 => "bigint",
            Self::Float4 => "real",
            Self::Float8 => "double precision",
            Self::Numeric => "numeric",
            Self::Text => "text",
            Self::Bytea => "bytea",
            Self::Date => "date",
            Self::Time => "time",
            Self::Timestamp => "timestamp",
            Self::Timestamptz => "timestamptz",
            Self::Interval => "interval",
            Self::List(element) => return write!(f, "{element}[]"),
            Self::Any => "any",
        })
    }
}

impl Value {
    pub(super) fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    pub(super) fn str(&self) -> Result<&str, String> {
        match self {
            Self::Text(text) => Ok(text),
            other => Err(other.unexpected("text")),
        }
    }

    pub(super) fn int(&self) -> Result<i64, String> {
        match self {
            Self::Int(int) => Ok(*int),
            other => Err(other.unexpected("a whole number")),
        }
    }

    pub(super) fn float(&self) -> Result<f64, String> {
        match self {
            Self::Float(float) => Ok(*float),
            other => Err(other.unexpected("a double precision number")),
        }
    }

    pub(super) fn bool(&self) -> Result<bool, String> {
        match self {
            Self::Bool(bool) => Ok(*bool),
            other => Err(other.unexpected("a boolean")),
        }
    }

    pub(super) fn numeric(&self) -> Result<&BigDecimal, String> {
        match self {
            Self::Numeric(numeric) => Ok(numeric),
            other => Err(other.unexpected("a numeric")),
        }
    }

    pub(super) fn bytes(&self) -> Result<&[u8], String> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            other => Err(other.unexpected("bytea")),
        }
    }

    pub(super) fn interval(&self) -> Result<Span, String> {
        match self {
            Self::Interval(span) => Ok(*span),
            other => Err(other.unexpected("an interval")),
        }
    }

    pub(super) fn date(&self) -> Result<i32, String> {
        match self {
            Self::Date(days) => Ok(*days),
            other => Err(other.unexpected("a date")),
        }
    }

    /// The microseconds of a time, a timestamp or a timestamptz.
    pub(super) fn micros(&self) -> Result<i64, String> {
        match self {
            Self::Time(micros) | Self::Timestamp(micros) | Self::Timestamptz(micros) => Ok(*micros),
            other => Err(other.unexpected("a time")),
        }
    }

    pub(super) fn list(&self) -> Result<&[Value], String> {
        match self {
            Self::List(values) => Ok(values),
            other => Err(other.unexpected("an array")),
        }
    }

    fn unexpected(&self, wanted: &str) -> String {
        format!("{wanted} was expected where {self:?} came")
    }
}

fn micros(value: i64, unit: TimeUnit) -> Result<i64, String> {
    match unit {
        TimeUnit::Second => value.checked_mul(1_000_000),
        TimeUnit::Millisecond => value.checked_mul(1_000),
        TimeUnit::Microsecond => Some(value),
        TimeUnit::Nanosecond => Some(value.div_euclid(1_000)),
    }
    .ok_or_else(|| "timestamp out of range".to_owned())
}

/// The value in a row of an array. Types that PostgreSQL has nothing like are an error.
pub(super) fn read(array: &dyn Array, row: usize) -> Answer {
    // A dictionary is null where what its key points at is.
    if let DataType::Dictionary(_, value) = array.data_type() {
        let one = array.slice(row, 1);
        let plain = arrow::compute::cast(&one, value).map_err(|error| error.to_string())?;
        return read(plain.as_ref(), 0);
    }
    if array.is_null(row) {
        return Ok(Value::Null);
    }
    Ok(match array.data_type() {
        DataType::Null => Value::Null,
        DataType::Boolean => Value::Bool(array.as_boolean().value(row)),
        DataType::Int8 => Value::Int(array.as_primitive::<Int8Type>().value(row).into()),
        DataType::Int16 => Value::Int(array.as_primitive::<Int16Type>().value(row).into()),
        DataType::Int32 => Value::Int(array.as_primitive::<Int32Type>().value(row).into()),
        DataType::Int64 => Value::Int(array.as_primitive::<Int64Type>().value(row)),
        DataType::UInt8 => Value::Int(array.as_primitive::<UInt8Type>().value(row).into()),
        DataType::UInt16 => Value::Int(array.as_primitive::<UInt16Type>().value(row).into()),
        DataType::UInt32 => Value::Int(array.as_primitive::<UInt32Type>().value(row).into()),
        DataType::UInt64 => {
            let value = array.as_primitive::<UInt64Type>().value(row);
            Value::Int(i64::try_from(value).map_err(|_| "bigint out of range".to_owned())?)
        }
        DataType::Float16 => Value::Float(array.as_primitive::<Float16Type>().value(row).into()),
        DataType::Float32 => Value::Float(array.as_primitive::<Float32Type>().value(row).into()),
        DataType::Float64 => Value::Float(array.as_primitive::<Float64Type>().value(row)),
        DataType::Decimal128(_, scale) => {
            let digits = BigInt::from(array.as_primitive::<Decimal128Type>().value(row));
            Value::Numeric(BigDecimal::new(digits, i64::from(*scale)))
        }
        DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal256(..) => {
            let text = arrow::util::display::array_value_to_string(array, row).map_err(|error| error.to_string())?;
            Value::Numeric(text.parse().map_err(|_| format!("{text} is no numeric"))?)
        }
        DataType::Utf8 => Value::text(array.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => Value::text(array.as_string::<i64>().value(row)),
        DataType::Utf8View => Value::text(array.as_string_view().value(row)),
        DataType::Binary => Value::Bytes(array.as_binary::<i32>().value(row).to_vec()),
        DataType::LargeBinary => Value::Bytes(array.as_binary::<i64>().value(row).to_vec()),
        DataType::BinaryView => Value::Bytes(array.as_binary_view().value(row).to_vec()),
        DataType::FixedSizeBinary(_) => Value::Bytes(array.as_fixed_size_binary().value(row).to_vec()),
        DataType::Date32 => Value::Date(array.as_primitive::<Date32Type>().value(row)),
        DataType::Date64 => {
            let days = array.as_primitive::<Date64Type>().value(row).div_euclid(86_400_000);
            Value::Date(i32::try_from(days).map_err(|_| "date out of range".to_owned())?)
        }
        DataType::Time32(TimeUnit::Second) => {
            Value::Time(i64::from(array.as_primitive::<Time32SecondType>().value(row)) * 1_000_000)
        }
        DataType::Time32(_) => Value::Time(i64::from(array.as_primitive::<Time32MillisecondType>().value(row)) * 1_000),
        DataType::Time64(TimeUnit::Microsecond) => {
            Value::Time(array.as_primitive::<Time64MicrosecondType>().value(row))
        }
        DataType::Time64(_) => Value::Time(array.as_primitive::<Time64NanosecondType>().value(row) / 1_000),
        DataType::Timestamp(unit, zone) => {
            let value = match unit {
                TimeUnit::Second => array.as_primitive::<TimestampSecondType>().value(row),
                TimeUnit::Millisecond => array.as_primitive::<TimestampMillisecondType>().value(row),
                TimeUnit::Microsecond => array.as_primitive::<TimestampMicrosecondType>().value(row),
                TimeUnit::Nanosecond => array.as_primitive::<TimestampNanosecondType>().value(row),
            };
            let micros = micros(value, *unit)?;
            if zone.is_some() { Value::Timestamptz(micros) } else { Value::Timestamp(micros) }
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let span = array.as_primitive::<IntervalMonthDayNanoType>().value(row);
            Value::Interval(Span { months: span.months, days: span.days, micros: span.nanoseconds / 1_000 })
        }
        DataType::Interval(IntervalUnit::DayTime) => {
            let span = array.as_primitive::<IntervalDayTimeType>().value(row);
            Value::Interval(Span { months: 0, days: span.days, micros: i64::from(span.milliseconds) * 1_000 })
        }
        DataType::Interval(IntervalUnit::YearMonth) => {
            let months = array.as_primitive::<IntervalYearMonthType>().value(row);
            Value::Interval(Span { months, days: 0, micros: 0 })
        }
        DataType::Duration(unit) => {
            let value = match unit {
                TimeUnit::Second => array.as_primitive::<DurationSecondType>().value(row),
                TimeUnit::Millisecond => array.as_primitive::<DurationMillisecondType>().value(row),
                TimeUnit::Microsecond => array.as_primitive::<DurationMicrosecondType>().value(row),
                TimeUnit::Nanosecond => array.as_primitive::<DurationNanosecondType>().value(row),
            };
            Value::Interval(Span::of_elapsed(micros(value, *unit)?))
        }
        DataType::List(_) => read_list(&array.as_list::<i32>().value(row))?,
        DataType::LargeList(_) => read_list(&array.as_list::<i64>().value(row))?,
        DataType::FixedSizeList(..) => read_list(&array.as_fixed_size_list().value(row))?,
        other => return Err(format!("there is no type like {other} in PostgreSQL")),
    })
}

fn read_list(values: &ArrayRef) -> Answer {
    (0..values.len()).map(|row| read(values.as_ref(), row)).collect::<Result<_, _>>().map(Value::List)
}

/// An array of `data_type`, one of those that [`Kind::arrow`] gives. A value that does not fit is an error.
pub(super) fn build(data_type: &DataType, values: Vec<Value>) -> Result<ArrayRef, String> {
    macro_rules! each {
        ($builder:expr, $value:ident => $of:expr) => {{
            let mut builder = $builder;
            for $value in values {
                if $value.is_null() {
                    builder.append_null();
                } else {
                    builder.append_value($of);
                }
            }
            Ok(Arc::new(builder.finish()))
        }};
    }
    let count = values.len();
    match data_type {
        DataType::Null => Ok(Arc::new(NullArray::new(count))),
        DataType::Boolean => each!(BooleanBuilder::with_capacity(count), value => value.bool()?),
        DataType::Int16 => each!(Int16Builder::with_capacity(count), value => {
            i16::try_from(value.int()?).map_err(|_| "smallint out of range".to_owned())?
        }),
        DataType::Int32 => each!(Int32Builder::with_capacity(count), value => {
            i32::try_from(value.int()?).map_err(|_| "integer out of range".to_owned())?
        }),
        DataType::Int64 => each!(Int64Builder::with_capacity(count), value => value.int()?),
        DataType::Float32 => each!(Float32Builder::with_capacity(count), value => value.float()? as f32),
        DataType::Float64 => each!(Float64Builder::with_capacity(count), value => value.float()?),
        DataType::Decimal128(precision, scale) => {
            let mut builder = Decimal128Builder::with_capacity(count).with_data_type(data_type.clone());
            for value in values {
                if value.is_null() {
                    builder.append_null();
                } else {
                    builder.append_value(decimal(value.numeric()?, *precision, *scale)?);
                }
            }
            Ok(Arc::new(builder.finish()))
        }
        DataType::Utf8 => each!(StringBuilder::new(), value => value.str()?),
        DataType::Binary => each!(BinaryBuilder::new(), value => value.bytes()?),
        DataType::Date32 => each!(Date32Builder::with_capacity(count), value => value.date()?),
        DataType::Time64(TimeUnit::Microsecond) => {
            each!(Time64MicrosecondBuilder::with_capacity(count), value => value.micros()?)
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let builder = TimestampMicrosecondBuilder::with_capacity(count).with_timezone_opt(zone.clone());
            each!(builder, value => value.micros()?)
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            each!(IntervalMonthDayNanoBuilder::with_capacity(count), value => {
                let span = value.interval()?;
                let nanos = span.micros.checked_mul(1_000).ok_or("interval out of range")?;
                IntervalMonthDayNano::new(span.months, span.days, nanos)
            })
        }
        DataType::List(field) => {
            let mut offsets = vec![0_i32];
            let mut valid = Vec::with_capacity(count);
            let mut all = Vec::new();
            for value in values {
                valid.push(!value.is_null());
                if let Value::List(elements) = value {
                    all.extend(elements);
                }
                offsets.push(i32::try_from(all.len()).map_err(|_| "array size exceeds the maximum".to_owned())?);
            }
            let elements = build(field.data_type(), all)?;
            let list = ListArray::try_new(
                field.clone(),
                OffsetBuffer::new(offsets.into()),
                elements,
                Some(NullBuffer::from(valid)),
            );
            Ok(Arc::new(list.map_err(|error| error.to_string())?))
        }
        other => Err(format!("no function answers with {other}")),
    }
}

/// The digits of a numeric at a scale, rounded half away from zero.
fn decimal(value: &BigDecimal, precision: u8, scale: i8) -> Result<i128, String> {
    let (digits, _) = value.with_scale_round(i64::from(scale), RoundingMode::HalfUp).into_bigint_and_exponent();
    digits
        .to_i128()
        .filter(|digits| digits.unsigned_abs() < 10_u128.pow(u32::from(precision.min(NUMERIC_DIGITS_MAX))))
        .ok_or_else(|| format!("numeric field overflow: {precision} digits are kept, {scale} of them behind the point"))
}
