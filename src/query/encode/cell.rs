use std::borrow::Cow;
use std::fmt::Write;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Date64Type, Field, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::query::tables::{FORM_HEX, FORM_KEY, HEX_COLUMNS};

/// One value, as its encoder has to tell it apart.
#[derive(Debug, PartialEq)]
pub(super) enum Cell<'a> {
    Null,
    Bool(bool),
    /// Digits that stand for themselves in every form.
    Number(Cow<'a, str>),
    Text(Cow<'a, str>),
    Bytes(&'a [u8]),
    List(Vec<Cell<'a>>),
    Object(Vec<(&'a str, Cell<'a>)>),
}

/// A column of a batch, with how its numbers are shown.
pub(super) struct Column<'a> {
    array: Cow<'a, ArrayRef>,
    hex: bool,
}

impl<'a> Column<'a> {
    pub(super) fn new(field: &Field, array: &'a ArrayRef) -> Self {
        // Aliases keep the mark, joins and coalesce may lose it: then the name tells.
        let marked = field.metadata().get(FORM_KEY).is_some_and(|form| form == FORM_HEX);
        let hex = marked || HEX_COLUMNS.contains(&field.name().as_str());
        let array = match array.data_type() {
            DataType::Dictionary(_, value) => match arrow::compute::cast(array, value) {
                Ok(plain) => Cow::Owned(plain),
                Err(_) => Cow::Borrowed(array),
            },
            _ => Cow::Borrowed(array),
        };
        Self { array, hex }
    }

    pub(super) fn cell(&self, row: usize) -> Cell<'_> {
        cell(self.array.as_ref(), row, self.hex)
    }
}

fn cell(array: &ArrayRef, row: usize, hex: bool) -> Cell<'_> {
    if array.is_null(row) {
        return Cell::Null;
    }
    let number = |number: i64| match hex {
        true => Cell::Text(Cow::Owned(format!("{number:#x}"))),
        false => Cell::Number(Cow::Owned(number.to_string())),
    };
    match array.data_type() {
        DataType::Null => Cell::Null,
        DataType::Boolean => Cell::Bool(array.as_boolean().value(row)),
        DataType::Int8 => number(array.as_primitive::<Int8Type>().value(row).into()),
        DataType::Int16 => number(array.as_primitive::<Int16Type>().value(row).into()),
        DataType::Int32 => number(array.as_primitive::<Int32Type>().value(row).into()),
        DataType::Int64 => number(array.as_primitive::<Int64Type>().value(row)),
        DataType::UInt8 => number(array.as_primitive::<UInt8Type>().value(row).into()),
        DataType::UInt16 => number(array.as_primitive::<UInt16Type>().value(row).into()),
        DataType::UInt32 => number(array.as_primitive::<UInt32Type>().value(row).into()),
        DataType::UInt64 => Cell::Number(Cow::Owned(array.as_primitive::<UInt64Type>().value(row).to_string())),
        DataType::Float16 => float(array.as_primitive::<Float16Type>().value(row).into()),
        DataType::Float32 => match array.as_primitive::<Float32Type>().value(row) {
            finite if finite.is_finite() => Cell::Number(Cow::Owned(finite.to_string())),
            _ => Cell::Null,
        },
        DataType::Float64 => float(array.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8 => Cell::Text(Cow::Borrowed(array.as_string::<i32>().value(row))),
        DataType::LargeUtf8 => Cell::Text(Cow::Borrowed(array.as_string::<i64>().value(row))),
        DataType::Utf8View => Cell::Text(Cow::Borrowed(array.as_string_view().value(row))),
        DataType::Binary => Cell::Bytes(array.as_binary::<i32>().value(row)),
        DataType::LargeBinary => Cell::Bytes(array.as_binary::<i64>().value(row)),
        DataType::BinaryView => Cell::Bytes(array.as_binary_view().value(row)),
        DataType::FixedSizeBinary(_) => Cell::Bytes(array.as_fixed_size_binary().value(row)),
        DataType::Timestamp(unit, _) => Cell::Text(Cow::Owned(timestamp(array, row, *unit))),
        DataType::Date32 => date(array.as_primitive::<Date32Type>().value(row).into()),
        DataType::Date64 => date(array.as_primitive::<Date64Type>().value(row).div_euclid(86_400_000)),
        DataType::List(_) => list(array.as_list::<i32>().value(row)),
        DataType::LargeList(_) => list(array.as_list::<i64>().value(row)),
        DataType::FixedSizeList(_, _) => list(array.as_fixed_size_list().value(row)),
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns();
            let cells =
                fields.iter().zip(columns).map(|(field, column)| (field.name().as_str(), cell(column, row, false)));
            Cell::Object(cells.collect())
        }
        DataType::Decimal32(_, _)
        | DataType::Decimal64(_, _)
        | DataType::Decimal128(_, _)
        | DataType::Decimal256(_, _) => match display(array, row) {
            Some(digits) => Cell::Number(Cow::Owned(digits)),
            None => Cell::Null,
        },
        DataType::Interval(_) | DataType::Duration(_) => crate::query::functions::interval_text(array.as_ref(), row)
            .map_or(Cell::Null, |text| Cell::Text(Cow::Owned(text))),
        // Maps and whatever else a query may come up with.
        _ => display(array, row).map_or(Cell::Null, |text| Cell::Text(Cow::Owned(text))),
    }
}

fn display(array: &ArrayRef, row: usize) -> Option<String> {
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(array.as_ref(), &options).ok()?;
    formatter.value(row).try_to_string().ok()
}

fn float(value: f64) -> Cell<'static> {
    match value.is_finite() {
        true => Cell::Number(Cow::Owned(value.to_string())),
        false => Cell::Null,
    }
}

/// A list's values belong to nobody who outlives this call, so they are owned.
fn list(values: ArrayRef) -> Cell<'static> {
    Cell::List((0..values.len()).map(|row| own(cell(&values, row, false))).collect())
}

fn own(cell: Cell<'_>) -> Cell<'static> {
    match cell {
        Cell::Null => Cell::Null,
        Cell::Bool(bool) => Cell::Bool(bool),
        Cell::Number(digits) => Cell::Number(Cow::Owned(digits.into_owned())),
        Cell::Text(text) => Cell::Text(Cow::Owned(text.into_owned())),
        Cell::Bytes(bytes) => Cell::Text(Cow::Owned(base64(bytes))),
        Cell::List(cells) => Cell::List(cells.into_iter().map(own).collect()),
        // A struct inside a list: its names are not ours to keep, so it is told as text.
        Cell::Object(_) => {
            let mut text = String::new();
            super::json::write_cell(&cell, &mut text);
            Cell::Text(Cow::Owned(text))
        }
    }
}

pub(super) fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// Written by hand: a formatter of general patterns takes ten times as long, and nearly every row has a time.
fn timestamp(array: &ArrayRef, row: usize, unit: TimeUnit) -> String {
    let (value, a_second, digits) = match unit {
        TimeUnit::Second => (array.as_primitive::<TimestampSecondType>().value(row), 1, 0),
        TimeUnit::Millisecond => (array.as_primitive::<TimestampMillisecondType>().value(row), 1_000, 3),
        TimeUnit::Microsecond => (array.as_primitive::<TimestampMicrosecondType>().value(row), 1_000_000, 6),
        TimeUnit::Nanosecond => (array.as_primitive::<TimestampNanosecondType>().value(row), 1_000_000_000, 9),
    };
    let (seconds, fraction) = (value.div_euclid(a_second), value.rem_euclid(a_second));
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let mut text = String::with_capacity(30);
    write_date(days, &mut text);
    let _ = write!(text, "T{:02}:{:02}:{:02}", second / 3_600, second / 60 % 60, second % 60);
    if digits > 0 {
        let _ = write!(text, ".{fraction:0digits$}");
    }
    text.push('Z');
    text
}

fn date(days: i64) -> Cell<'static> {
    let mut text = String::with_capacity(10);
    write_date(days, &mut text);
    Cell::Text(Cow::Owned(text))
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar (Howard Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms", civil_from_days).
fn write_date(days: i64, text: &mut String) {
    let shifted = days.saturating_add(719_468);
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let _ = write!(text, "{year:04}-{month:02}-{day:02}");
}
