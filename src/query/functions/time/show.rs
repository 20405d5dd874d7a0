//! Times as text, as PostgreSQL shows them under its own settings (DateStyle ISO, IntervalStyle postgres).

use std::fmt::Write;

use super::interval::Span;
use super::zone::Zone;
use super::{HOUR, MINUTE, SECOND};
use chrono::{Datelike, NaiveDate};

pub(in crate::query::functions) fn date(days: i32) -> Result<String, String> {
    Ok(show_date(super::date_of_days(days)?))
}

fn show_date(date: NaiveDate) -> String {
    format!("{:04}-{:02}-{:02}", date.year(), date.month(), date.day())
}

pub(in crate::query::functions) fn time(micros: i64) -> String {
    let mut text = String::new();
    write_clock(micros, &mut text);
    text
}

pub(in crate::query::functions) fn timestamp(micros: i64) -> Result<String, String> {
    let civil = super::civil(micros)?;
    let mut text = show_date(civil.date());
    text.push(' ');
    write_clock(super::micros_of_day(civil.time()), &mut text);
    Ok(text)
}

pub(in crate::query::functions) fn timestamptz(micros: i64, zone: &Zone) -> Result<String, String> {
    let mut text = timestamp(zone.local(micros)?)?;
    text.push_str(&offset(zone.offset(micros)?));
    Ok(text)
}

/// `+02`, `+05:30`.
pub(in crate::query::functions) fn offset(seconds: i32) -> String {
    let sign = if seconds < 0 { '-' } else { '+' };
    let seconds = seconds.unsigned_abs();
    let mut text = format!("{sign}{:02}", seconds / 3_600);
    if !seconds.is_multiple_of(3_600) {
        let _ = write!(text, ":{:02}", seconds / 60 % 60);
    }
    if !seconds.is_multiple_of(60) {
        let _ = write!(text, ":{:02}", seconds % 60);
    }
    text
}

fn write_clock(micros: i64, text: &mut String) {
    let _ = write!(text, "{:02}:{:02}:{:02}", micros / HOUR, micros / MINUTE % 60, micros / SECOND % 60);
    write_fraction(micros % SECOND, text);
}

fn write_fraction(micros: i64, text: &mut String) {
    if micros != 0 {
        let digits = format!("{micros:06}");
        let _ = write!(text, ".{}", digits.trim_end_matches('0'));
    }
}

/// `1 year 2 mons 3 days 04:05:06.789`; a part has a sign of its own where it or one before it is negative.
pub(in crate::query::functions) fn interval(span: Span) -> String {
    let mut text = String::new();
    let mut negative_before = false;
    let mut part = |value: i32, one: &str, more: &str| {
        if value == 0 {
            return;
        }
        if !text.is_empty() {
            text.push(' ');
        }
        if negative_before && value > 0 {
            text.push('+');
        }
        let _ = write!(text, "{value} {}", if value == 1 { one } else { more });
        negative_before = value < 0;
    };
    part(span.months / 12, "year", "years");
    part(span.months % 12, "mon", "mons");
    part(span.days, "day", "days");
    if span.micros != 0 || text.is_empty() {
        if !text.is_empty() {
            text.push(' ');
        }
        if span.micros < 0 {
            text.push('-');
        } else if negative_before {
            text.push('+');
        }
        let micros = span.micros.unsigned_abs();
        let (hour, minute, second) = (HOUR.unsigned_abs(), MINUTE.unsigned_abs(), SECOND.unsigned_abs());
        let _ = write!(text, "{:02}:{:02}:{:02}", micros / hour, micros / minute % 60, micros / second % 60);
        write_fraction(i64::try_from(micros % second).unwrap_or(0), &mut text);
    }
    text
}
