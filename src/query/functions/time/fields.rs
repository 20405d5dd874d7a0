//! Parts of times, and times cut to a unit.

use bigdecimal::BigDecimal;
use bigdecimal::num_bigint::BigInt;
use chrono::{Datelike, Days, Months, NaiveDate};

use super::interval::Span;
use super::zone::Zone;
use super::{DAY, HOUR, MINUTE, SECOND};
use crate::query::functions::value::Value;

/// The spellings of a unit come to one.
pub(super) fn unit(name: &str) -> String {
    let lower = name.trim().to_lowercase();
    match lower.as_str() {
        "years" | "yr" | "yrs" | "y" => "year",
        "months" | "mon" | "mons" => "month",
        "days" | "d" => "day",
        "hours" | "h" | "hr" | "hrs" => "hour",
        "minutes" | "m" | "min" | "mins" => "minute",
        "seconds" | "s" | "sec" | "secs" => "second",
        "milliseconds" | "msec" | "msecs" | "ms" | "millisecond" => "milliseconds",
        "microseconds" | "usec" | "usecs" | "us" | "microsecond" => "microseconds",
        "weeks" | "w" => "week",
        "qtr" => "quarter",
        "decades" | "dec" | "decs" => "decade",
        "centuries" | "c" | "cent" => "century",
        "millennia" | "mil" | "mils" => "millennium",
        _ => return lower,
    }
    .to_owned()
}

/// Digits behind the point that PostgreSQL gives a field of [`extract`].
pub(in crate::query::functions) fn scale(field: &str) -> i8 {
    match unit(field).as_str() {
        "second" | "epoch" => 6,
        "milliseconds" => 3,
        "julian" => 20,
        _ => 0,
    }
}

fn whole(value: impl Into<i64>) -> BigDecimal {
    BigDecimal::from(value.into())
}

fn thousandths(value: i64, scale: i64) -> BigDecimal {
    BigDecimal::new(BigInt::from(value), scale)
}

/// A field of a value, exactly.
pub(in crate::query::functions) fn extract(field: &str, value: &Value, zone: &Zone) -> Result<BigDecimal, String> {
    let name = unit(field);
    match value {
        Value::Date(days) => {
            let date = super::date_of_days(*days)?;
            match name.as_str() {
                "epoch" => Ok(whole(i64::from(*days) * 86_400)),
                "julian" => Ok(whole(julian(date))),
                name if is_clock(name) || is_zone(name) => Err(unsupported(field, "date")),
                name => of_date(name, date).ok_or_else(|| unrecognized(field, "date")),
            }
        }
        Value::Time(micros) => match name.as_str() {
            "epoch" => Ok(thousandths(*micros, 6)),
            name => of_clock(name, *micros).ok_or_else(|| unsupported(field, "time without time zone")),
        },
        Value::Timestamp(micros) => {
            if is_zone(&name) {
                return Err(unsupported(field, "timestamp without time zone"));
            }
            of_civil(&name, *micros, *micros).map_err(|()| unrecognized(field, "timestamp without time zone"))?
        }
        Value::Timestamptz(micros) => {
            let offset = i64::from(zone.offset(*micros)?);
            match name.as_str() {
                "timezone" => Ok(whole(offset)),
                "timezone_hour" => Ok(whole(offset / 3_600)),
                "timezone_minute" => Ok(whole(offset / 60 % 60)),
                name => of_civil(name, zone.local(*micros)?, *micros)
                    .map_err(|()| unrecognized(field, "timestamp with time zone"))?,
            }
        }
        Value::Interval(span) => of_interval(&name, *span).ok_or_else(|| unsupported(field, "interval")),
        _ => Err("extract takes a date, a time or an interval".to_owned()),
    }
}

fn unsupported(field: &str, kind: &str) -> String {
    format!("unit \"{}\" not supported for type {kind}", field.to_lowercase())
}

fn unrecognized(field: &str, kind: &str) -> String {
    format!("unit \"{}\" not recognized for type {kind}", field.to_lowercase())
}

fn is_zone(name: &str) -> bool {
    name.starts_with("timezone")
}

fn is_clock(name: &str) -> bool {
    matches!(name, "hour" | "minute" | "second" | "milliseconds" | "microseconds")
}

/// The outer error: no such field. The inner: no such date.
fn of_civil(name: &str, local: i64, instant: i64) -> Result<Result<BigDecimal, String>, ()> {
    let civil = match super::civil(local) {
        Ok(civil) => civil,
        Err(error) => return Ok(Err(error)),
    };
    let clock = super::micros_of_day(civil.time());
    Ok(Ok(match name {
        "epoch" => thousandths(instant, 6),
        "julian" => {
            let fraction = BigDecimal::from(clock) / BigDecimal::from(DAY);
            whole(julian(civil.date())) + fraction
        }
        name => of_clock(name, clock).or_else(|| of_date(name, civil.date())).ok_or(())?,
    }))
}

fn julian(date: NaiveDate) -> i64 {
    i64::from(super::days_of(date)) + 2_440_588
}

fn of_clock(name: &str, micros: i64) -> Option<BigDecimal> {
    Some(match name {
        "hour" => whole(micros / HOUR),
        "minute" => whole(micros / MINUTE % 60),
        "second" => thousandths(micros % MINUTE, 6),
        "milliseconds" => thousandths(micros % MINUTE, 3),
        "microseconds" => whole(micros % MINUTE),
        _ => return None,
    })
}

fn of_date(name: &str, date: NaiveDate) -> Option<BigDecimal> {
    let year = i64::from(date.year());
    Some(match name {
        "millennium" => whole((year + 999) / 1_000),
        "century" => whole((year + 99) / 100),
        "decade" => whole(year.div_euclid(10)),
        "year" => whole(year),
        "isoyear" => whole(date.iso_week().year()),
        "quarter" => whole(date.month0() / 3 + 1),
        "month" => whole(date.month()),
        "week" => whole(date.iso_week().week()),
        "day" => whole(date.day()),
        "dow" => whole(date.weekday().num_days_from_sunday()),
        "isodow" => whole(date.weekday().number_from_monday()),
        "doy" => whole(date.ordinal()),
        _ => return None,
    })
}

fn of_interval(name: &str, span: Span) -> Option<BigDecimal> {
    let years = i64::from(span.months / 12);
    Some(match name {
        "millennium" => whole(years / 1_000),
        "century" => whole(years / 100),
        "decade" => whole(years / 10),
        "year" => whole(years),
        "quarter" => whole(i64::from(span.months % 12 / 3 + 1)),
        "month" => whole(i64::from(span.months % 12)),
        "day" => whole(span.days),
        "hour" => whole(span.micros / HOUR),
        "minute" => whole(span.micros / MINUTE % 60),
        "second" => thousandths(span.micros % MINUTE, 6),
        "milliseconds" => thousandths(span.micros % MINUTE, 3),
        "microseconds" => whole(span.micros % MINUTE),
        // A year has 365.25 days here, a month 30.
        "epoch" => {
            let seconds =
                years * 31_557_600 + i64::from(span.months % 12) * 30 * 86_400 + i64::from(span.days) * 86_400;
            whole(seconds) + thousandths(span.micros, 6)
        }
        _ => return None,
    })
}

/// Cuts a wall clock's time to a unit.
pub(in crate::query::functions) fn truncate(field: &str, local: i64, kind: &str) -> Result<i64, String> {
    let civil = super::civil(local)?;
    let date = civil.date();
    let start = match unit(field).as_str() {
        "microseconds" => return Ok(local),
        "milliseconds" => return Ok(local - local.rem_euclid(1_000)),
        "second" => return Ok(local - local.rem_euclid(SECOND)),
        "minute" => return Ok(local - local.rem_euclid(MINUTE)),
        "hour" => return Ok(local - local.rem_euclid(HOUR)),
        "day" => Some(date),
        "week" => date.checked_sub_days(Days::new(u64::from(date.weekday().num_days_from_monday()))),
        "month" => date.with_day(1),
        "quarter" => date.with_day(1).and_then(|date| date.checked_sub_months(Months::new(date.month0() % 3))),
        "year" => NaiveDate::from_ymd_opt(date.year(), 1, 1),
        "decade" => NaiveDate::from_ymd_opt(date.year() / 10 * 10, 1, 1).filter(|_| date.year() >= 10),
        "century" => NaiveDate::from_ymd_opt((date.year() - 1) / 100 * 100 + 1, 1, 1),
        "millennium" => NaiveDate::from_ymd_opt((date.year() - 1) / 1_000 * 1_000 + 1, 1, 1),
        "epoch" | "dow" | "doy" | "isodow" | "isoyear" | "julian" | "timezone" | "timezone_hour"
        | "timezone_minute" => return Err(unsupported(field, kind)),
        _ => return Err(unrecognized(field, kind)),
    };
    let start = start.filter(|date| date.year() >= 1);
    start.map(|date| super::micros(super::midnight(date))).ok_or_else(|| "timestamp out of range".to_owned())
}

/// Cuts an instant to a unit of a zone's wall clock.
pub(in crate::query::functions) fn truncate_in(field: &str, instant: i64, zone: &Zone) -> Result<i64, String> {
    let kind = "timestamp with time zone";
    match unit(field).as_str() {
        // Below a day the offset stays: an hour that comes twice is two hours.
        "microseconds" | "milliseconds" | "second" | "minute" | "hour" => {
            let offset = i64::from(zone.offset(instant)?) * SECOND;
            let local = instant.checked_add(offset).ok_or("timestamp out of range")?;
            Ok(truncate(field, local, kind)? - offset)
        }
        _ => zone.instant(truncate(field, zone.local(instant)?, kind)?),
    }
}

pub(in crate::query::functions) fn truncate_interval(field: &str, span: Span) -> Result<Span, String> {
    let months = |whole: i32| Span { months: span.months / whole * whole, days: 0, micros: 0 };
    let clock = |unit: i64| Span { micros: span.micros / unit * unit, ..span };
    Ok(match unit(field).as_str() {
        "millennium" => months(12_000),
        "century" => months(1_200),
        "decade" => months(120),
        "year" => months(12),
        "quarter" => months(3),
        "month" => months(1),
        "day" => Span { micros: 0, ..span },
        "hour" => clock(HOUR),
        "minute" => clock(MINUTE),
        "second" => clock(SECOND),
        "milliseconds" => clock(1_000),
        "microseconds" => span,
        "week" => return Err("unit \"week\" not supported for type interval".to_owned()),
        _ => return Err(unrecognized(field, "interval")),
    })
}

/// The start of the stride that a time lies in, counted from an origin.
pub(in crate::query::functions) fn bin(stride: Span, time: i64, origin: i64) -> Result<i64, String> {
    if stride.months != 0 {
        return Err("timestamps cannot be binned into intervals containing months or years".to_owned());
    }
    let width = i64::from(stride.days)
        .checked_mul(DAY)
        .and_then(|days| days.checked_add(stride.micros))
        .ok_or("interval out of range")?;
    if width <= 0 {
        return Err("stride must be greater than zero".to_owned());
    }
    let since = time.checked_sub(origin).ok_or("interval out of range")?;
    Ok(time - since.rem_euclid(width))
}

/// Adds months by the calendar: the last day of a month stays within the shorter one.
pub(in crate::query::functions) fn add_months(date: NaiveDate, months: i32) -> Option<NaiveDate> {
    let by = Months::new(months.unsigned_abs());
    let moved = if months < 0 { date.checked_sub_months(by) } else { date.checked_add_months(by) };
    moved.filter(|date| date.year() >= 1)
}

/// A wall clock's time and an interval: months, then days, then the rest.
pub(in crate::query::functions) fn add(local: i64, span: Span) -> Result<i64, String> {
    let range = || "timestamp out of range".to_owned();
    let civil = super::civil(local)?;
    let date = add_months(civil.date(), span.months).ok_or_else(range)?;
    let days = Days::new(u64::from(span.days.unsigned_abs()));
    let date =
        if span.days < 0 { date.checked_sub_days(days) } else { date.checked_add_days(days) }.ok_or_else(range)?;
    let moved = super::at(date, super::micros_of_day(civil.time()))?.checked_add(span.micros).ok_or_else(range)?;
    super::civil(moved).map(|_| moved)
}

/// An instant and an interval: months and days by the zone's wall clock.
pub(in crate::query::functions) fn add_in(instant: i64, span: Span, zone: &Zone) -> Result<i64, String> {
    let range = || "timestamp out of range".to_owned();
    let mut moved = instant;
    if span.months != 0 || span.days != 0 {
        moved = zone.instant(add(zone.local(instant)?, Span { micros: 0, ..span })?)?;
    }
    let moved = moved.checked_add(span.micros).ok_or_else(range)?;
    super::civil(moved).map(|_| moved)
}

/// Years, months, days and time from one wall clock's time to another, as PostgreSQL's age.
pub(in crate::query::functions) fn age(later: i64, earlier: i64) -> Result<Span, String> {
    let (later_civil, earlier_civil) = (super::civil(later)?, super::civil(earlier)?);
    let negative = later < earlier;
    let (high, low) = if negative { (earlier_civil, later_civil) } else { (later_civil, earlier_civil) };
    let mut micros = super::micros_of_day(high.time()) - super::micros_of_day(low.time());
    let mut days = i64::from(high.day()) - i64::from(low.day());
    let mut months = i64::from(high.month()) - i64::from(low.month());
    let mut years = i64::from(high.year()) - i64::from(low.year());
    if micros < 0 {
        (micros, days) = (micros + DAY, days - 1);
    }
    while days < 0 {
        // The days of the month that the earlier of the two lies in.
        days += i64::from(low.date().num_days_in_month());
        months -= 1;
    }
    while months < 0 {
        (months, years) = (months + 12, years - 1);
    }
    let narrow = |value: i64| i32::try_from(value).map_err(|_| "interval out of range".to_owned());
    let span = Span { months: narrow(years * 12 + months)?, days: narrow(days)?, micros };
    if negative { span.negate() } else { Ok(span) }
}
