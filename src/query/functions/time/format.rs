//! `to_char` of times: the patterns of PostgreSQL's formatting functions.

use std::fmt::Write;

use chrono::{Datelike, NaiveDateTime};

use super::interval::Span;
use super::{HOUR, MINUTE, SECOND};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
pub(super) const ROMAN_MONTHS: [&str; 12] = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"];

/// One piece of a format.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Piece {
    Field { name: &'static str, fill: bool, ordinal: Option<bool>, digits: bool },
    Text(char),
    Separator(char),
}

/// The patterns, longest first where one begins another, and whether it is made of digits.
const FIELDS: [(&str, bool); 100] = [
    ("A.D.", false),
    ("A.M.", false),
    ("AD", false),
    ("AM", false),
    ("B.C.", false),
    ("BC", false),
    ("CC", true),
    ("DAY", false),
    ("DDD", true),
    ("DD", true),
    ("DY", false),
    ("Day", false),
    ("Dy", false),
    ("D", true),
    ("FF1", true),
    ("FF2", true),
    ("FF3", true),
    ("FF4", true),
    ("FF5", true),
    ("FF6", true),
    ("FX", false),
    ("HH24", true),
    ("HH12", true),
    ("HH", true),
    ("IDDD", true),
    ("ID", true),
    ("IW", true),
    ("IYYY", true),
    ("IYY", true),
    ("IY", true),
    ("I", true),
    ("J", true),
    ("MI", true),
    ("MM", true),
    ("MONTH", false),
    ("MON", false),
    ("MS", true),
    ("Month", false),
    ("Mon", false),
    ("OF", false),
    ("P.M.", false),
    ("PM", false),
    ("Q", true),
    ("RM", false),
    ("SSSSS", true),
    ("SSSS", true),
    ("SS", true),
    ("TZH", false),
    ("TZM", true),
    ("TZ", false),
    ("US", true),
    ("WW", true),
    ("W", true),
    ("Y,YYY", true),
    ("YYYY", true),
    ("YYY", true),
    ("YY", true),
    ("Y", true),
    ("a.d.", false),
    ("a.m.", false),
    ("ad", false),
    ("am", false),
    ("b.c.", false),
    ("bc", false),
    ("cc", true),
    ("day", false),
    ("ddd", true),
    ("dd", true),
    ("dy", false),
    ("d", true),
    ("ff1", true),
    ("ff2", true),
    ("ff3", true),
    ("ff4", true),
    ("ff5", true),
    ("ff6", true),
    ("fx", false),
    ("hh24", true),
    ("hh12", true),
    ("hh", true),
    ("iddd", true),
    ("id", true),
    ("iw", true),
    ("iyyy", true),
    ("iyy", true),
    ("iy", true),
    ("i", true),
    ("j", true),
    ("mi", true),
    ("mm", true),
    ("month", false),
    ("mon", false),
    ("ms", true),
    ("p.m.", false),
    ("pm", false),
    ("q", true),
    ("rm", false),
    ("sssss", true),
    ("ssss", true),
    ("ss", true),
];
const MORE_FIELDS: [(&str, bool); 11] = [
    ("tzh", false),
    ("tzm", true),
    ("tz", false),
    ("us", true),
    ("ww", true),
    ("w", true),
    ("y,yyy", true),
    ("yyyy", true),
    ("yyy", true),
    ("yy", true),
    ("y", true),
];

/// Takes a format apart as PostgreSQL's parse_format does.
pub(super) fn pieces(format: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = format;
    while !rest.is_empty() {
        let mut fill = false;
        let mut behind = rest;
        loop {
            if let Some(after) = strip_ignoring_case(behind, "FM") {
                (fill, behind) = (true, after);
            } else if let Some(after) = behind.strip_prefix("TM") {
                // Translated names are never filled up.
                (fill, behind) = (true, after);
            } else {
                break;
            }
        }
        let field = FIELDS.iter().chain(&MORE_FIELDS).find(|(name, _)| behind.starts_with(name));
        if let Some((name, digits)) = field {
            rest = behind.get(name.len()..).unwrap_or_default();
            let mut ordinal = None;
            if let Some(after) = rest.strip_prefix("TH") {
                (ordinal, rest) = (Some(true), after);
            } else if let Some(after) = rest.strip_prefix("th") {
                (ordinal, rest) = (Some(false), after);
            }
            if let Some(after) = rest.strip_prefix("SP") {
                rest = after;
            }
            pieces.push(Piece::Field { name, fill, ordinal, digits: *digits });
            continue;
        }
        rest = behind;
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut characters = quoted.char_indices();
            rest = "";
            while let Some((at, character)) = characters.next() {
                match character {
                    '"' => {
                        rest = quoted.get(at + 1..).unwrap_or_default();
                        break;
                    }
                    '\\' => {
                        if let Some((_, escaped)) = characters.next() {
                            pieces.push(Piece::Text(escaped));
                        }
                    }
                    character => pieces.push(Piece::Text(character)),
                }
            }
            continue;
        }
        let mut characters = rest.chars();
        match characters.next() {
            // Outside of quotes a backslash only quotes a quote.
            Some('\\') if characters.as_str().starts_with('"') => {
                pieces.push(Piece::Text('"'));
                characters.next();
            }
            Some(c) if c.is_ascii() && !c.is_ascii_alphanumeric() && (c as u32) > 0x1f && c != '\x7f' => {
                pieces.push(Piece::Separator(c));
            }
            Some(character) => pieces.push(Piece::Text(character)),
            None => {}
        }
        rest = characters.as_str();
    }
    pieces
}

fn strip_ignoring_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then(|| text.get(prefix.len()..)).flatten()
}

/// What a field of the clock shows of so many microseconds, and how wide.
fn clock_field(name: &str, clock: i64) -> Option<(i64, usize)> {
    let (hour, micros) = (clock / HOUR, clock % SECOND);
    Some(match name {
        "HH" | "HH12" => (if hour % 12 == 0 { 12 } else { hour % 12 }, 2),
        "HH24" => (hour, 2),
        "MI" => (clock / MINUTE % 60, 2),
        "SS" => (clock / SECOND % 60, 2),
        "MS" => (micros / 1_000, 3),
        "US" | "FF6" => (micros, 6),
        "FF1" => (micros / 100_000, 1),
        "FF2" => (micros / 10_000, 2),
        "FF3" => (micros / 1_000, 3),
        "FF4" => (micros / 100, 4),
        "FF5" => (micros / 10, 5),
        _ => return None,
    })
}

/// What `to_char` shows of.
pub(in crate::query::functions) struct Moment {
    pub(in crate::query::functions) civil: NaiveDateTime,
    /// Its zone's abbreviation and seconds east, where it has one.
    pub(in crate::query::functions) zone: Option<(String, i32)>,
}

pub(in crate::query::functions) fn moment(moment: &Moment, format: &str) -> Result<String, String> {
    let mut out = String::new();
    let civil = moment.civil;
    let (date, clock) = (civil.date(), super::micros_of_day(civil.time()));
    let year = i64::from(date.year());
    let hour = clock / HOUR;
    for piece in pieces(format) {
        let (name, fill, ordinal) = match piece {
            Piece::Text(character) | Piece::Separator(character) => {
                out.push(character);
                continue;
            }
            Piece::Field { name, fill, ordinal, .. } => (name, fill, ordinal),
        };
        let number = |value: i64, width: usize| Shown::Number(value, width);
        let upper = name.to_ascii_uppercase();
        let month = MONTHS.get(date.month0() as usize).copied().unwrap_or_default();
        let day = DAYS.get(date.weekday().num_days_from_sunday() as usize).copied().unwrap_or_default();
        let iso = date.iso_week();
        let shown = match clock_field(&upper, clock) {
            Some((value, width)) => number(value, width),
            None => match upper.as_str() {
                "SSSS" | "SSSSS" => Shown::Number(clock / SECOND, 0),
                "AM" | "PM" => Shown::Text(half(hour, "AM", "PM", name)),
                "A.M." | "P.M." => Shown::Text(half(hour, "A.M.", "P.M.", name)),
                "BC" | "AD" => Shown::Text(cased("AD", name)),
                "B.C." | "A.D." => Shown::Text(cased("A.D.", name)),
                "MONTH" => Shown::Padded(cased(month, name), 9),
                "MON" => Shown::Text(cased(month.get(..3).unwrap_or_default(), name)),
                "MM" => number(date.month().into(), 2),
                "DAY" => Shown::Padded(cased(day, name), 9),
                "DY" => Shown::Text(cased(day.get(..3).unwrap_or_default(), name)),
                "DDD" => number(date.ordinal().into(), 3),
                "IDDD" => number(i64::from(iso.week() - 1) * 7 + i64::from(date.weekday().number_from_monday()), 3),
                "DD" => number(date.day().into(), 2),
                "D" => Shown::Number(i64::from(date.weekday().number_from_sunday()), 0),
                "ID" => Shown::Number(i64::from(date.weekday().number_from_monday()), 0),
                "W" => Shown::Number(i64::from((date.day() - 1) / 7 + 1), 0),
                "WW" => number(i64::from((date.ordinal() - 1) / 7 + 1), 2),
                "IW" => number(iso.week().into(), 2),
                "CC" => number((year - 1) / 100 + 1, 2),
                "J" => Shown::Number(i64::from(super::days_of(date)) + 2_440_588, 0),
                "Q" => Shown::Number(i64::from(date.month0() / 3 + 1), 0),
                "Y,YYY" => Shown::Text(format!("{},{:03}", year / 1_000, year % 1_000)),
                "YYYY" => number(year, 4),
                "YYY" => number(year % 1_000, 3),
                "YY" => number(year % 100, 2),
                "Y" => number(year % 10, 1),
                "IYYY" => number(iso.year().into(), 4),
                "IYY" => number(i64::from(iso.year() % 1_000), 3),
                "IY" => number(i64::from(iso.year() % 100), 2),
                "I" => number(i64::from(iso.year() % 10), 1),
                "RM" => Shown::Padded(
                    cased_as(ROMAN_MONTHS.get(date.month0() as usize).copied().unwrap_or_default(), name),
                    4,
                ),
                "FX" => continue,
                "TZ" => match &moment.zone {
                    Some((abbreviation, _)) if name == "tz" => Shown::Text(abbreviation.to_lowercase()),
                    Some((abbreviation, _)) => Shown::Text(abbreviation.clone()),
                    None => continue,
                },
                "TZH" => {
                    let seconds = moment.zone.as_ref().map_or(0, |(_, seconds)| *seconds);
                    let sign = if seconds < 0 { '-' } else { '+' };
                    Shown::Text(format!("{sign}{:02}", seconds.abs() / 3_600))
                }
                "TZM" => number(i64::from(moment.zone.as_ref().map_or(0, |(_, seconds)| *seconds).abs() / 60 % 60), 2),
                "OF" => {
                    let seconds = moment.zone.as_ref().map_or(0, |(_, seconds)| *seconds);
                    let sign = if seconds < 0 { '-' } else { '+' };
                    let minutes = match seconds.abs() / 60 % 60 {
                        0 => String::new(),
                        minutes => format!(":{minutes:02}"),
                    };
                    Shown::Text(format!("{sign}{:02}{minutes}", seconds.abs() / 3_600))
                }
                other => return Err(format!("the pattern {other} is not known")),
            },
        };
        shown.write(fill, ordinal, &mut out);
    }
    Ok(out)
}

/// `to_char` of an interval. What needs a date in the calendar is refused, as PostgreSQL does.
pub(in crate::query::functions) fn interval(span: Span, format: &str) -> Result<String, String> {
    let mut out = String::new();
    let (years, months, days) = (i64::from(span.months / 12), i64::from(span.months % 12), i64::from(span.days));
    let hour = span.micros / HOUR;
    for piece in pieces(format) {
        let (name, fill, ordinal) = match piece {
            Piece::Text(character) | Piece::Separator(character) => {
                out.push(character);
                continue;
            }
            Piece::Field { name, fill, ordinal, .. } => (name, fill, ordinal),
        };
        let number = |value: i64, width: usize| Shown::Number(value, width);
        let upper = name.to_ascii_uppercase();
        let shown = match clock_field(&upper, span.micros) {
            Some((value, width)) => number(value, width),
            None => match upper.as_str() {
                "SSSS" | "SSSSS" => Shown::Number(span.micros / SECOND, 0),
                "AM" | "PM" if hour >= 0 => Shown::Text(half(hour % 24, "AM", "PM", name)),
                "A.M." | "P.M." if hour >= 0 => Shown::Text(half(hour % 24, "A.M.", "P.M.", name)),
                // Here a sign takes a place.
                "MM" if fill => Shown::Number(months, 0),
                "DD" if fill => Shown::Number(days, 0),
                "MM" => Shown::Text(format!("{months:02}")),
                "DD" => Shown::Text(format!("{days:02}")),
                "YYYY" => number(years, 4),
                "YYY" => number(years % 1_000, 3),
                "YY" => number(years % 100, 2),
                "Y" => number(years % 10, 1),
                "FX" => continue,
                other => return Err(format!("the pattern {other} means nothing of an interval")),
            },
        };
        shown.write(fill, ordinal, &mut out);
    }
    Ok(out)
}

enum Shown {
    /// With zeros up to a width that does not count the sign.
    Number(i64, usize),
    Text(String),
    /// With blanks up to a width.
    Padded(String, usize),
}

impl Shown {
    fn write(self, fill: bool, ordinal: Option<bool>, out: &mut String) {
        match self {
            Self::Number(value, width) => {
                let width = if fill { 0 } else { width };
                let _ = match value < 0 {
                    true => write!(out, "-{:0width$}", value.unsigned_abs()),
                    false => write!(out, "{value:0width$}"),
                };
                if let Some(upper) = ordinal {
                    out.push_str(ordinal_of(value, upper));
                }
            }
            Self::Text(text) => {
                out.push_str(&text);
                // PostgreSQL hangs it on what has digits, also where they are not a number alone.
                if let Some(upper) = ordinal
                    && let Some(digits) =
                        text.rsplit(|c: char| !c.is_ascii_digit()).next().filter(|digits| !digits.is_empty())
                {
                    out.push_str(ordinal_of(digits.parse().unwrap_or(0), upper));
                }
            }
            Self::Padded(text, width) => match fill {
                true => out.push_str(&text),
                false => {
                    let _ = write!(out, "{text:<width$}");
                }
            },
        }
    }
}

/// `st`, `nd`, `rd`, `th`.
pub(in crate::query::functions) fn ordinal_of(value: i64, upper: bool) -> &'static str {
    let (last, teen) = (value.unsigned_abs() % 10, value.unsigned_abs() / 10 % 10 == 1);
    match (last, teen, upper) {
        (1, false, true) => "ST",
        (2, false, true) => "ND",
        (3, false, true) => "RD",
        (_, _, true) => "TH",
        (1, false, false) => "st",
        (2, false, false) => "nd",
        (3, false, false) => "rd",
        (_, _, false) => "th",
    }
}

fn half(hour: i64, before: &str, after: &str, like: &str) -> String {
    let text = if hour >= 12 { after } else { before };
    cased_as(text, like)
}

/// In the case of the pattern: `MONTH`, `Month` or `month`.
fn cased(text: &str, like: &str) -> String {
    let mut characters = like.chars();
    let first_upper = characters.next().is_some_and(char::is_uppercase);
    let second_upper = characters.find(|c| c.is_alphabetic()).is_some_and(char::is_uppercase);
    match (first_upper, second_upper) {
        (true, true) => text.to_uppercase(),
        (true, false) => text.to_owned(),
        _ => text.to_lowercase(),
    }
}

fn cased_as(text: &str, like: &str) -> String {
    match like.starts_with(|c: char| c.is_ascii_uppercase()) {
        true => text.to_uppercase(),
        false => text.to_lowercase(),
    }
}
