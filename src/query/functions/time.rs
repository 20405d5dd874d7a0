//! Dates, times and intervals as PostgreSQL means them. Years before 1 and the infinities are refused.

pub(super) mod fields;
pub(super) mod format;
pub(super) mod functions;
pub(super) mod interval;
pub(super) mod parse;
pub(super) mod scan;
pub(super) mod show;
pub(super) mod zone;

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, Timelike};

pub(super) const SECOND: i64 = 1_000_000;
pub(super) const MINUTE: i64 = 60 * SECOND;
pub(super) const HOUR: i64 = 60 * MINUTE;
pub(super) const DAY: i64 = 24 * HOUR;

/// The wall clock's date and time of a timestamp.
pub(super) fn civil(micros: i64) -> Result<NaiveDateTime, String> {
    DateTime::from_timestamp_micros(micros)
        .map(|time| time.naive_utc())
        .filter(|time| time.year() >= 1)
        .ok_or_else(|| "timestamp out of range: years before 1 are not kept".to_owned())
}

pub(super) fn micros(civil: NaiveDateTime) -> i64 {
    civil.and_utc().timestamp_micros()
}

pub(super) fn date_of_days(days: i32) -> Result<NaiveDate, String> {
    NaiveDate::from_epoch_days(days)
        .filter(|date| date.year() >= 1)
        .ok_or_else(|| "date out of range: years before 1 are not kept".to_owned())
}

pub(super) fn days_of(date: NaiveDate) -> i32 {
    date.to_epoch_days()
}

pub(super) fn midnight(date: NaiveDate) -> NaiveDateTime {
    date.and_time(NaiveTime::MIN)
}

/// Microseconds since midnight.
pub(super) fn micros_of_day(time: NaiveTime) -> i64 {
    i64::from(time.num_seconds_from_midnight()) * SECOND + i64::from(time.nanosecond() / 1_000)
}

/// A date and microseconds since its midnight, 24:00 included.
pub(super) fn at(date: NaiveDate, micros_of_day: i64) -> Result<i64, String> {
    micros(midnight(date)).checked_add(micros_of_day).ok_or_else(|| "timestamp out of range".to_owned())
}

pub(super) fn ymd(year: i64, month: i64, day: i64) -> Option<NaiveDate> {
    let date =
        NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, u32::try_from(month).ok()?, u32::try_from(day).ok()?)?;
    Some(date).filter(|date| date.year() >= 1)
}
