//! Dates and times as text, as PostgreSQL reads them under its own settings (DateStyle ISO, MDY).

use chrono::{Days, NaiveDate};

use super::zone::{Zone, iso_offset};
use super::{DAY, HOUR, MINUTE, SECOND};

pub(super) const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
const WEEKDAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// What a text says: a date, microseconds since midnight, a zone.
#[derive(Default)]
struct Said {
    date: Option<NaiveDate>,
    clock: Option<i64>,
    zone: Option<Zone>,
    /// One of the words that name an instant.
    instant: Option<i64>,
}

/// A timestamp without time zone. A zone in the text is read and ignored, as PostgreSQL does.
pub(in crate::query::functions) fn timestamp(text: &str, zone: &Zone, now: i64) -> Result<i64, String> {
    let wrong = || format!("invalid input syntax for type timestamp: \"{text}\"");
    let said = say(text, zone, now)?.ok_or_else(wrong)?;
    match (said.instant, said.date) {
        (Some(instant), _) if text.trim().eq_ignore_ascii_case("epoch") => Ok(instant),
        (Some(instant), _) => zone.local(instant),
        (None, Some(date)) => super::at(date, said.clock.unwrap_or(0)),
        (None, None) => Err(wrong()),
    }
}

/// An instant. Without a zone in the text it is the session's.
pub(in crate::query::functions) fn timestamptz(text: &str, zone: &Zone, now: i64) -> Result<i64, String> {
    let wrong = || format!("invalid input syntax for type timestamp with time zone: \"{text}\"");
    let said = say(text, zone, now)?.ok_or_else(wrong)?;
    match (said.instant, said.date) {
        (Some(instant), _) => Ok(instant),
        (None, Some(date)) => said.zone.as_ref().unwrap_or(zone).instant(super::at(date, said.clock.unwrap_or(0))?),
        (None, None) => Err(wrong()),
    }
}

/// A date; a time behind it is read and ignored.
pub(in crate::query::functions) fn date(text: &str, zone: &Zone, now: i64) -> Result<i32, String> {
    let wrong = || format!("invalid input syntax for type date: \"{text}\"");
    let said = say(text, zone, now)?.ok_or_else(wrong)?;
    match (said.instant, said.date) {
        (Some(_), _) if text.trim().eq_ignore_ascii_case("epoch") => Ok(0),
        (Some(instant), _) => Ok(super::days_of(super::civil(zone.local(instant)?)?.date())),
        (None, Some(date)) => Ok(super::days_of(date)),
        (None, None) => Err(wrong()),
    }
}

/// Microseconds since midnight.
pub(in crate::query::functions) fn time(text: &str, zone: &Zone, now: i64) -> Result<i64, String> {
    let wrong = || format!("invalid input syntax for type time: \"{text}\"");
    let said = say(text, zone, now)?.ok_or_else(wrong)?;
    said.clock.filter(|_| said.instant.is_none()).ok_or_else(wrong)
}

/// `Ok(None)`: it is nothing that is known. An error: it is, but names no such moment.
fn say(text: &str, zone: &Zone, now: i64) -> Result<Option<Said>, String> {
    let range = || format!("date/time field value out of range: \"{text}\"");
    let lower = text.trim().to_lowercase();
    let today = || Ok::<_, String>(super::civil(zone.local(now)?)?.date());
    let midnight_of = |date: NaiveDate| zone.instant(super::at(date, 0)?);
    let special = match lower.as_str() {
        "" => return Ok(None),
        "now" => Some(now),
        "epoch" => Some(0),
        "today" => Some(midnight_of(today()?)?),
        "tomorrow" => Some(midnight_of(today()?.checked_add_days(Days::new(1)).ok_or_else(range)?)?),
        "yesterday" => Some(midnight_of(today()?.checked_sub_days(Days::new(1)).ok_or_else(range)?)?),
        "infinity" | "-infinity" => return Err(format!("\"{text}\" is not kept: no time here is infinite")),
        _ => None,
    };
    if special.is_some() {
        return Ok(Some(Said { instant: special, ..Said::default() }));
    }
    let mut said = Said::default();
    let mut words: Vec<String> = Vec::new();
    for word in lower.replace(',', " ").split_whitespace() {
        // ISO 8601 joins date and time with a T.
        match word.split_once('t') {
            Some((date, clock))
                if date.ends_with(|c: char| c.is_ascii_digit()) && clock.starts_with(|c: char| c.is_ascii_digit()) =>
            {
                words.extend([date.to_owned(), clock.to_owned()]);
            }
            _ => words.push(word.to_owned()),
        }
    }
    let mut loose: Vec<String> = Vec::new();
    for word in words {
        if word.contains(':') && word.starts_with(|c: char| c.is_ascii_digit()) {
            if said.clock.is_some() {
                return Ok(None);
            }
            let Some((clock, rest)) = clock(&word) else { return Ok(None) };
            said.clock = Some(clock.ok_or_else(range)?);
            match rest {
                "" => {}
                "am" | "pm" => half_day(&mut said, rest).ok_or_else(range)?,
                zone => said.zone = Some(zone_of(zone)?),
            }
        } else if matches!(word.as_str(), "am" | "pm") {
            if said.clock.is_none() {
                return Ok(None);
            }
            half_day(&mut said, &word).ok_or_else(range)?;
        } else if word == "bc" {
            return Err(format!("\"{text}\" is not kept: no time here is before the year 1"));
        } else if word == "ad" {
        } else if let Some(parts) = numeric_date(&word) {
            if said.date.is_some() {
                return Ok(None);
            }
            let (year, month, day) = parts;
            said.date = Some(super::ymd(year, month, day).ok_or_else(range)?);
        } else if WEEKDAYS.iter().any(|day| *day == word || day.get(..3) == Some(word.as_str())) {
        } else if word.starts_with(['+', '-']) && said.clock.is_some() || word.contains('/') {
            said.zone = Some(zone_of(&word)?);
        } else if word.bytes().all(|byte| byte.is_ascii_digit()) || month_of(&word).is_some() {
            loose.push(word);
        } else if word.contains('-') {
            loose.extend(word.split('-').map(str::to_owned));
        } else if word.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            match Zone::named(&word) {
                Ok(zone) => said.zone = Some(zone),
                Err(_) => return Ok(None),
            }
        } else {
            return Ok(None);
        }
    }
    if !loose.is_empty() {
        if said.date.is_some() {
            return Ok(None);
        }
        let Some((year, month, day)) = worded_date(&loose) else { return Ok(None) };
        said.date = Some(super::ymd(year, month, day).ok_or_else(range)?);
    }
    Ok((said.date.is_some() || said.clock.is_some()).then_some(said))
}

fn zone_of(text: &str) -> Result<Zone, String> {
    match iso_offset(text) {
        Some(offset) => Ok(Zone::Fixed(offset)),
        None if text.starts_with(['+', '-']) => Err(format!("time zone displacement out of range: \"{text}\"")),
        None => Zone::named(text),
    }
}

fn half_day(said: &mut Said, half: &str) -> Option<()> {
    let clock = said.clock?;
    if clock >= 13 * HOUR {
        return None;
    }
    let hour_is_twelve = clock >= 12 * HOUR;
    said.clock = Some(match (half, hour_is_twelve) {
        ("am", true) => clock - 12 * HOUR,
        ("pm", false) => clock + 12 * HOUR,
        _ => clock,
    });
    Some(())
}

pub(super) fn month_of(word: &str) -> Option<i64> {
    let at = MONTHS.iter().position(|month| {
        *month == word || month.get(..3) == Some(word) || (word == "sept" && *month == "september")
    })?;
    i64::try_from(at + 1).ok()
}

/// `2026-11-20`, `2026/11/20`, `11/20/2026`, `20261120`.
fn numeric_date(word: &str) -> Option<(i64, i64, i64)> {
    let number = |text: &str| text.parse::<i64>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    if word.len() == 8 && word.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some((number(&word[..4])?, number(&word[4..6])?, number(&word[6..])?));
    }
    let separator = word.chars().find(|c| matches!(c, '-' | '/' | '.'))?;
    let parts: Vec<&str> = word.split(separator).collect();
    let [first, second, third] = parts.as_slice() else { return None };
    if first.len() >= 3 {
        return Some((number(first)?, number(second)?, number(third)?));
    }
    if third.len() >= 3 || separator == '/' {
        return Some((short_year(third)?, number(first)?, number(second)?));
    }
    None
}

fn short_year(text: &str) -> Option<i64> {
    let year: i64 = text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    Some(match (text.len(), year) {
        (..=2, 0..=69) => year + 2_000,
        (..=2, _) => year + 1_900,
        _ => year,
    })
}

/// `20 nov 2026`, `nov 20 2026`, `2026 nov 20`.
fn worded_date(words: &[String]) -> Option<(i64, i64, i64)> {
    let [first, second, third] = words else { return None };
    let number = |text: &str| text.parse::<i64>().ok();
    match (month_of(first), month_of(second), first.len()) {
        (Some(month), _, _) => Some((short_year(third)?, month, number(second)?)),
        (None, Some(month), 3..) => Some((number(first)?, month, number(third)?)),
        (None, Some(month), _) => Some((short_year(third)?, month, number(first)?)),
        _ => None,
    }
}

/// Microseconds since midnight, and what follows. The inner `None`: no clock shows that.
fn clock(word: &str) -> Option<(Option<i64>, &str)> {
    let end = word.find(|c: char| !(c.is_ascii_digit() || matches!(c, ':' | '.'))).unwrap_or(word.len());
    let (clock, rest) = word.split_at(end);
    let parts: Vec<&str> = clock.split(':').collect();
    let whole = |text: &str| text.parse::<i64>().ok().filter(|_| !text.is_empty() && text.len() <= 4);
    let (hours, minutes, seconds) = match parts.as_slice() {
        [hours, minutes] => (whole(hours)?, whole(minutes)?, 0),
        [hours, minutes, seconds] => (whole(hours)?, whole(minutes)?, micros_of_seconds(seconds)?),
        _ => return None,
    };
    let valid = minutes < 60 && seconds <= MINUTE && hours <= 24;
    let total = hours * HOUR + minutes * MINUTE + seconds;
    Some((Some(total).filter(|total| valid && *total <= DAY), rest))
}

/// `05.123456`; digits behind the sixth are rounded.
pub(super) fn micros_of_seconds(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok().filter(|_| whole.len() <= 2)?;
    if fraction.is_empty() {
        return Some(seconds * SECOND);
    }
    let fraction: f64 = format!("0.{fraction}").parse().ok()?;
    Some(seconds * SECOND + (fraction * SECOND as f64).round_ties_even() as i64)
}
