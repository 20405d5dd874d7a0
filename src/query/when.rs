//! Moments as people name them. Pure: the present is passed in.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime};

use crate::zk::Micros;

/// One end of a window: by the clock, or by the order of transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    Time(Micros),
    Zxid(i64),
}

/// In the form that [`parse`] reads back, whatever the present is then.
impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Time(time) => time.fmt(f),
            Self::Zxid(zxid) => write!(f, "{zxid:#x}"),
        }
    }
}

/// Why a text names no moment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WhenError {
    #[error(
        "'{0}' is no moment. Write an age (90m, 2h, 3d, 1h30m), a date (2026-11-20), a time in UTC (2026-11-20T03:12, \
         03:12) or with an offset (2026-11-20T03:12+01:00), a zxid (0x1000002a3), or now"
    )]
    Unknown(String),

    #[error("'{0}' is a number alone: a zxid is written as ZooKeeper shows it, {1}; an age has a unit, as in {0}m")]
    Bare(String, String),

    #[error("'{0}' is further away than a calendar reaches")]
    Beyond(String),
}

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const DAY: i64 = 24 * 60 * MINUTE;

/// The years that a moment may lie in: every timestamp that SQL computes with holds them, also in nanoseconds.
pub(super) const TIME_MIN: Micros = Micros(0);
pub(super) const TIME_MAX: Micros = Micros(9_214_646_400_000_000);

/// Reads a moment: `now`, an age, a date, a time, or a zxid.
///
/// - An age (`2h`, `90m`, `3d`, `1h30m`; units s, m, h, d, w) is counted back from `now`.
/// - A date is its midnight. Date, time and bare clock time are UTC unless they end in `Z` or an offset.
/// - A bare clock time (`03:12`) is the last one that is not in the future: today's, or yesterday's.
/// - `0x…` is a zxid. A number alone is refused: it would be anybody's guess.
pub fn parse(text: &str, now: Micros) -> Result<Bound, WhenError> {
    let trimmed = text.trim();
    let unknown = || WhenError::Unknown(trimmed.to_owned());
    let time = |micros: Option<i64>| match micros.map(Micros) {
        Some(time) if (TIME_MIN..=TIME_MAX).contains(&time) => Ok(Bound::Time(time)),
        _ => Err(WhenError::Beyond(trimmed.to_owned())),
    };
    if trimmed.eq_ignore_ascii_case("now") {
        return Ok(Bound::Time(now));
    }
    if let Some(digits) = trimmed.strip_prefix("0x").or_else(|| trimmed.strip_prefix("0X")) {
        let is_hex = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        return match i64::from_str_radix(digits, 16) {
            Ok(zxid) if is_hex => Ok(Bound::Zxid(zxid)),
            _ => Err(unknown()),
        };
    }
    if !trimmed.is_empty() && trimmed.bytes().all(|byte| byte.is_ascii_digit()) {
        let hex = trimmed.parse::<u64>().map_or_else(|_| "0x1000002a3".to_owned(), |number| format!("{number:#x}"));
        return Err(WhenError::Bare(trimmed.to_owned(), hex));
    }
    if let Some(age) = age(trimmed) {
        return time(age.and_then(|age| now.0.checked_sub(age)));
    }
    if let Ok(date) = NaiveDate::parse_from_str(trimmed, "%Y-%m-%d") {
        return time(Some(date.and_time(NaiveTime::MIN).and_utc().timestamp_micros()));
    }
    let (clock, offset) = without_offset(trimmed).ok_or_else(unknown)?;
    if let Some(clock) = clock_time(clock) {
        let of_day = |day: i64| day.checked_mul(DAY)?.checked_add(clock)?.checked_sub(offset);
        // The offset may move it over midnight: of the days around, the last that is not in the future.
        let today = i64::from(now.day());
        let last =
            [today + 1, today, today - 1, today - 2].into_iter().filter_map(of_day).find(|micros| *micros <= now.0);
        return time(last);
    }
    let (date, clock) = clock.split_once(['T', 't', ' ']).ok_or_else(unknown)?;
    let date = NaiveDate::parse_from_str(date, "%Y-%m-%d").map_err(|_| unknown())?;
    let clock = clock_time(clock.trim_start()).ok_or_else(unknown)?;
    let midnight: NaiveDateTime = date.and_time(NaiveTime::MIN);
    time(midnight.and_utc().timestamp_micros().checked_add(clock).and_then(|micros| micros.checked_sub(offset)))
}

/// The microseconds of `1h30m`; the inner `None` where they are too many, the outer where it is no age.
fn age(text: &str) -> Option<Option<i64>> {
    let mut total = Some(0_i64);
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|digits| *digits > 0)?;
        let (number, behind) = rest.split_at_checked(digits)?;
        let unit = match behind.chars().next()? {
            's' => SECOND,
            'm' => MINUTE,
            'h' => 60 * MINUTE,
            'd' => DAY,
            'w' => 7 * DAY,
            _ => return None,
        };
        let part = number.parse::<i64>().ok().and_then(|number| number.checked_mul(unit));
        total = total.zip(part).and_then(|(total, part)| total.checked_add(part));
        rest = behind.get(1..)?;
    }
    (!text.is_empty()).then_some(total)
}

/// A time without its `Z` or offset, and the offset in microseconds.
fn without_offset(text: &str) -> Option<(&str, i64)> {
    if let Some(rest) = text.strip_suffix(['Z', 'z']) {
        return Some((rest.trim_end(), 0));
    }
    // A date has dashes too: an offset comes behind the clock's colon.
    let Some(at) = text.find(':').and_then(|colon| Some(colon + text.get(colon..)?.find(['+', '-'])?)) else {
        return Some((text, 0));
    };
    let (clock, offset) = text.split_at_checked(at)?;
    let sign = if offset.starts_with('-') { -1 } else { 1 };
    let digits = offset.get(1..)?;
    let (hours, minutes) = match digits.split_once(':') {
        Some((hours, minutes)) => (hours, minutes),
        None if digits.len() == 4 => digits.split_at_checked(2)?,
        None => (digits, "00"),
    };
    let (hours, minutes) = (two_digits(hours, 15)?, two_digits(minutes, 60)?);
    Some((clock.trim_end(), sign * (hours * 60 + minutes) * MINUTE))
}

/// Microseconds since midnight of `03:12`, `03:12:30` and `03:12:30.25`.
fn clock_time(text: &str) -> Option<i64> {
    let (hours, rest) = text.split_once(':')?;
    let (minutes, seconds) = rest.split_once(':').unwrap_or((rest, "00"));
    let (seconds, fraction) = seconds.split_once('.').unwrap_or((seconds, "0"));
    if fraction.is_empty() || fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let micros = format!("{fraction:0<6}").get(..6)?.parse::<i64>().ok()?;
    let (hours, minutes, seconds) = (two_digits(hours, 24)?, two_digits(minutes, 60)?, two_digits(seconds, 60)?);
    Some((hours * 60 + minutes) * MINUTE + seconds * SECOND + micros)
}

fn two_digits(text: &str, below: i64) -> Option<i64> {
    let is_number = (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| is_number && *number < below)
}

/// A length of time as people read it: `3d 4h`, `1m 31s`, `0.4s`.
pub fn length(micros: i64) -> String {
    let seconds = micros / SECOND;
    if seconds < 10 {
        return format!("{}.{}s", seconds, micros % SECOND / 100_000);
    }
    let parts = [(seconds / 86_400, "d"), (seconds / 3_600 % 24, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    // The two greatest are enough.
    let shown = parts.iter().skip_while(|(number, _)| *number == 0).take(2).filter(|(number, _)| *number > 0);
    shown.map(|(number, unit)| format!("{number}{unit}")).collect::<Vec<_>>().join(" ")
}

/// The moment's date and time to the second, in UTC, for people.
pub fn readable(time: Micros) -> String {
    match DateTime::from_timestamp_micros(time.0) {
        Some(time) => time.format("%Y-%m-%d %H:%M:%S").to_string(),
        None => time.to_string(),
    }
}

#[cfg(test)]
mod tests;
