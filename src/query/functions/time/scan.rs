//! `to_timestamp` and `to_date` with a format: reading by PostgreSQL's patterns, as its from_char functions do.

use chrono::{Days, NaiveDate, Weekday};

use super::format::{Piece, ROMAN_MONTHS, pieces};
use super::parse::MONTHS;
use super::zone::Zone;
use super::{HOUR, MINUTE, SECOND};

#[derive(Default)]
struct Read {
    hour: Option<i64>,
    twelve_hours: bool,
    afternoon: Option<bool>,
    minute: Option<i64>,
    second: Option<i64>,
    seconds_of_day: Option<i64>,
    millis: Option<i64>,
    micros: Option<i64>,
    year: Option<i64>,
    year_digits: usize,
    century: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    week: Option<i64>,
    week_of_month: Option<i64>,
    iso_year: Option<i64>,
    iso_week: Option<i64>,
    iso_day: Option<i64>,
    iso_day_of_year: Option<i64>,
    julian: Option<i64>,
    zone_hours: Option<(i64, i64)>,
    zone_minutes: Option<i64>,
}

/// A date and microseconds of its day, in a zone where the text says one.
pub(in crate::query::functions) struct Scanned {
    pub(in crate::query::functions) date: NaiveDate,
    pub(in crate::query::functions) micros: i64,
    pub(in crate::query::functions) zone: Option<Zone>,
}

struct Cursor<'a> {
    rest: &'a str,
    exact: bool,
}

impl<'a> Cursor<'a> {
    fn skip_space(&mut self) -> i64 {
        let trimmed = self.rest.trim_start_matches(|c: char| c.is_ascii_whitespace());
        let skipped = self.rest.len() - trimmed.len();
        self.rest = trimmed;
        i64::try_from(skipped).unwrap_or(0)
    }

    fn skip_character(&mut self) {
        let mut characters = self.rest.chars();
        characters.next();
        self.rest = characters.as_str();
    }

    /// A whole number: as many digits as there are, or exactly `width` where the next field begins with a digit too.
    fn number(&mut self, name: &str, width: usize, free: bool) -> Result<(i64, usize), String> {
        self.skip_space();
        let copy = self.rest.char_indices().nth(width).map_or(self.rest, |(end, _)| &self.rest[..end]);
        let source = if free { self.rest } else { copy };
        if !free && copy.len() < width {
            return Err(format!("source string too short for \"{name}\" formatting field"));
        }
        let signed = source.strip_prefix(['-', '+']).unwrap_or(source);
        let digits = signed.bytes().take_while(u8::is_ascii_digit).count();
        let used = if digits == 0 { 0 } else { source.len() - signed.len() + digits };
        if used == 0 || (!free && used < width) {
            return Err(format!("invalid value \"{copy}\" for \"{name}\""));
        }
        let (number, rest) = self.rest.split_at(used);
        self.rest = rest;
        let value = number.parse::<i64>().ok().filter(|value| i32::try_from(*value).is_ok());
        let value = value.ok_or_else(|| format!("value for \"{name}\" in source string is out of range"))?;
        Ok((value, used))
    }

    /// The first of `words` that the text begins with, in any case.
    fn word(&mut self, name: &str, words: &[&str]) -> Result<usize, String> {
        let found = words
            .iter()
            .position(|word| self.rest.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word)));
        let Some(at) = found else {
            let shown: String = self.rest.chars().take_while(|c| !c.is_whitespace()).collect();
            return Err(format!("invalid value \"{shown}\" for \"{name}\""));
        };
        let length = words.get(at).map_or(0, |word| word.len());
        self.rest = self.rest.get(length..).unwrap_or_default();
        Ok(at)
    }
}

const SHORT_MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const LONG_DAYS: [&str; 7] = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];
const SHORT_DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

fn put<T: PartialEq + Copy>(slot: &mut Option<T>, value: T, name: &str) -> Result<(), String> {
    if slot.is_some_and(|before| before != value) {
        return Err(format!("conflicting values for \"{name}\" field in formatting string"));
    }
    *slot = Some(value);
    Ok(())
}

/// Reads a text by a format. Fields that come to nothing are as in PostgreSQL: the year 1, its first month and day, midnight.
pub(in crate::query::functions) fn scan(text: &str, format: &str) -> Result<Scanned, String> {
    let pieces = pieces(format);
    let mut cursor = Cursor { rest: text, exact: false };
    let mut read = Read::default();
    let mut skipped = 0_i64;
    for (at, piece) in pieces.iter().enumerate() {
        if cursor.rest.is_empty() {
            break;
        }
        let is_field = matches!(piece, Piece::Field { name, .. } if !name.eq_ignore_ascii_case("FX"));
        if !cursor.exact && (is_field || at == 0) {
            skipped += cursor.skip_space();
        }
        match piece {
            Piece::Separator(_) => {
                if cursor.exact {
                    cursor.skip_character();
                    continue;
                }
                skipped -= 1;
                let separates =
                    |c: char| c.is_ascii_whitespace() || (c.is_ascii_graphic() && !c.is_ascii_alphanumeric());
                if cursor.rest.starts_with(separates) {
                    cursor.skip_character();
                    skipped += 1;
                }
            }
            Piece::Text(_) => {
                if !cursor.exact && skipped > 0 {
                    skipped -= 1;
                } else {
                    cursor.skip_character();
                }
            }
            Piece::Field { name, fill, ordinal, .. } => {
                let next_separates = ordinal.is_some()
                    || match pieces.get(at + 1) {
                        None => true,
                        Some(Piece::Field { digits, .. }) => !digits,
                        Some(Piece::Text(character) | Piece::Separator(character)) => !character.is_ascii_digit(),
                    };
                field(name, *fill || next_separates, ordinal.is_some(), &mut cursor, &mut read)?;
                if !cursor.exact {
                    skipped = cursor.skip_space();
                }
            }
        }
    }
    read.settle(text)
}

fn field(name: &str, free: bool, ordinal: bool, cursor: &mut Cursor<'_>, read: &mut Read) -> Result<(), String> {
    let upper = name.to_ascii_uppercase();
    let name = upper.as_str();
    match name {
        "FX" => {
            cursor.exact = true;
            return Ok(());
        }
        "AM" | "PM" => put(&mut read.afternoon, cursor.word(name, &["am", "pm"])? == 1, name)?,
        "A.M." | "P.M." => put(&mut read.afternoon, cursor.word(name, &["a.m.", "p.m."])? == 1, name)?,
        "AD" | "BC" => {
            if cursor.word(name, &["ad", "bc"])? == 1 {
                return Err("years before 1 are not kept".to_owned());
            }
        }
        "A.D." | "B.C." => {
            if cursor.word(name, &["a.d.", "b.c."])? == 1 {
                return Err("years before 1 are not kept".to_owned());
            }
        }
        "MONTH" => {
            // In full or, as PostgreSQL does not take it, not at all.
            let month = cursor.word(name, &MONTHS)? + 1;
            put(&mut read.month, i64::try_from(month).unwrap_or(0), name)?;
        }
        "MON" => {
            let month = cursor.word(name, &SHORT_MONTHS)? + 1;
            put(&mut read.month, i64::try_from(month).unwrap_or(0), name)?;
        }
        "RM" => {
            // From the last: XII begins with X.
            let mut numerals: Vec<(usize, &str)> = ROMAN_MONTHS.iter().copied().enumerate().collect();
            numerals.sort_by_key(|(_, numeral)| std::cmp::Reverse(numeral.len()));
            let words: Vec<&str> = numerals.iter().map(|(_, numeral)| *numeral).collect();
            let found = cursor.word(name, &words)?;
            let month = numerals.get(found).map_or(0, |(month, _)| month + 1);
            put(&mut read.month, i64::try_from(month).unwrap_or(0), name)?;
        }
        // Read and of no consequence, as in PostgreSQL.
        "DAY" => {
            cursor.word(name, &LONG_DAYS)?;
        }
        "DY" => {
            cursor.word(name, &SHORT_DAYS)?;
        }
        "TZH" => {
            let sign = match cursor.rest.chars().next() {
                Some('-') => -1,
                _ => 1,
            };
            if cursor.rest.starts_with(['+', '-', ' ']) {
                cursor.skip_character();
            }
            let (hours, _) = cursor.number(name, 2, free)?;
            read.zone_hours = Some((sign, hours));
        }
        "TZM" => read.zone_minutes = Some(cursor.number(name, 2, free)?.0),
        "TZ" | "OF" => return Err(format!("formatting field \"{name}\" is only supported in to_char")),
        "Y,YYY" => {
            let end = cursor.rest.find(|c: char| !(c.is_ascii_digit() || c == ',')).unwrap_or(cursor.rest.len());
            let (number, rest) = cursor.rest.split_at(end);
            let year = number.replace(',', "").parse().ok().filter(|_| number.contains(','));
            put(&mut read.year, year.ok_or_else(|| format!("invalid input string for \"{name}\""))?, name)?;
            read.year_digits = 4;
            cursor.rest = rest;
        }
        name => {
            let width = match name {
                "HH" | "HH12" | "HH24" | "MI" | "SS" | "MM" | "DD" | "WW" | "IW" | "CC" | "YY" | "IY" | "FF2" => 2,
                "MS" | "DDD" | "IDDD" | "YYY" | "IYY" | "FF3" => 3,
                "YYYY" | "IYYY" | "FF4" => 4,
                "FF5" => 5,
                "US" | "FF6" => 6,
                "SSSS" | "SSSSS" => 5,
                "J" => 1,
                "D" | "ID" | "W" | "Q" | "Y" | "I" | "FF1" => 1,
                other => return Err(format!("the pattern {other} is not known")),
            };
            let (value, used) = cursor.number(name, width, free)?;
            number(name, value, used, read)?;
        }
    }
    if ordinal {
        cursor.skip_character();
        cursor.skip_character();
    }
    Ok(())
}

fn number(name: &str, value: i64, used: usize, read: &mut Read) -> Result<(), String> {
    match name {
        "HH" | "HH12" => {
            read.twelve_hours = true;
            put(&mut read.hour, value, name)
        }
        "HH24" => put(&mut read.hour, value, name),
        "MI" => put(&mut read.minute, value, name),
        "SS" => put(&mut read.second, value, name),
        "SSSS" | "SSSSS" => put(&mut read.seconds_of_day, value, name),
        "MS" => {
            let scale = match used {
                1 => 100,
                2 => 10,
                _ => 1,
            };
            put(&mut read.millis, value * scale, name)
        }
        "US" | "FF1" | "FF2" | "FF3" | "FF4" | "FF5" | "FF6" => {
            let digits = u32::try_from(used).unwrap_or(6).min(6);
            put(&mut read.micros, value * 10_i64.pow(6 - digits), name)
        }
        "MM" => put(&mut read.month, value, name),
        "DD" => put(&mut read.day, value, name),
        "DDD" => put(&mut read.day_of_year, value, name),
        "IDDD" => put(&mut read.iso_day_of_year, value, name),
        "WW" => put(&mut read.week, value, name),
        "W" => put(&mut read.week_of_month, value, name),
        "IW" => put(&mut read.iso_week, value, name),
        "ID" => put(&mut read.iso_day, value, name),
        // Of a date neither says anything that PostgreSQL would use.
        "D" | "Q" => Ok(()),
        "CC" => put(&mut read.century, value, name),
        "J" => put(&mut read.julian, value, name),
        "YYYY" | "YYY" | "YY" | "Y" => {
            read.year_digits = name.len();
            let year = if name == "YYYY" { value } else { completed(value, used) };
            put(&mut read.year, year, name)
        }
        "IYYY" => put(&mut read.iso_year, value, name),
        "IYY" | "IY" | "I" => put(&mut read.iso_year, completed(value, used), name),
        other => Err(format!("the pattern {other} is not known")),
    }
}

/// A year of fewer than four digits: the one nearest to 2020.
fn completed(year: i64, digits: usize) -> i64 {
    match year {
        _ if digits >= 4 => year,
        0..=69 => year + 2_000,
        70..=99 => year + 1_900,
        100..=519 => year + 2_000,
        520..=999 => year + 1_000,
        other => other,
    }
}

impl Read {
    fn settle(self, text: &str) -> Result<Scanned, String> {
        let range = || format!("date/time field value out of range: \"{text}\"");
        let has_iso = self.iso_year.is_some()
            || self.iso_week.is_some()
            || self.iso_day.is_some()
            || self.iso_day_of_year.is_some();
        let has_plain = self.year.is_some()
            || self.month.is_some()
            || self.day.is_some()
            || self.day_of_year.is_some()
            || self.week.is_some()
            || self.week_of_month.is_some()
            || self.century.is_some();
        if has_iso && has_plain {
            return Err("invalid combination of date conventions".to_owned());
        }
        let mut hour = self.hour.unwrap_or(0);
        let (mut minute, mut second) = (self.minute.unwrap_or(0), self.second.unwrap_or(0));
        if let Some(seconds) = self.seconds_of_day {
            (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
            if !(0..=86_400).contains(&seconds) {
                return Err(range());
            }
        }
        if self.twelve_hours {
            if !(1..=12).contains(&hour) {
                return Err(format!("hour \"{hour}\" is invalid for the 12-hour clock"));
            }
            if self.afternoon == Some(true) && hour < 12 {
                hour += 12;
            } else if self.afternoon == Some(false) && hour == 12 {
                hour = 0;
            }
        }
        let fraction = self.millis.unwrap_or(0) * 1_000 + self.micros.unwrap_or(0);
        if !((0..24).contains(&hour) || hour == 24 && minute == 0 && second == 0 && fraction == 0)
            || !(0..60).contains(&minute)
            || !(0..60).contains(&second)
            || !(0..SECOND).contains(&fraction)
        {
            return Err(range());
        }
        let micros = hour * HOUR + minute * MINUTE + second * SECOND + fraction;
        let zone = match self.zone_hours {
            Some((sign, hours)) => {
                let minutes = self.zone_minutes.unwrap_or(0);
                if hours > 15 || !(0..60).contains(&minutes) {
                    return Err(range());
                }
                let seconds = i32::try_from(sign * (hours * 3_600 + minutes * 60)).map_err(|_| range())?;
                Some(Zone::Fixed(chrono::FixedOffset::east_opt(seconds).ok_or_else(range)?))
            }
            None => None,
        };
        let date = if has_iso { self.iso_date() } else { self.plain_date() }.ok_or_else(range)?;
        Ok(Scanned { date, micros, zone })
    }

    fn plain_date(&self) -> Option<NaiveDate> {
        if let Some(julian) = self.julian {
            let date = NaiveDate::from_epoch_days(i32::try_from(julian - 2_440_588).ok()?)?;
            return super::ymd(
                chrono::Datelike::year(&date).into(),
                chrono::Datelike::month(&date).into(),
                chrono::Datelike::day(&date).into(),
            );
        }
        let year = match (self.year, self.century) {
            (Some(year), Some(century)) if self.year_digits <= 2 => {
                (century - 1) * 100 + year % 100 + if year % 100 == 0 { 100 } else { 0 }
            }
            (Some(year), _) => year,
            (None, Some(century)) => (century - 1) * 100 + 1,
            // There is no year 0; PostgreSQL says 1 BC, which is not kept.
            (None, None) => return None,
        };
        if let Some(week) = self.week {
            let start = super::ymd(year, 1, 1)?;
            return (1..=53)
                .contains(&week)
                .then(|| start.checked_add_days(Days::new(u64::try_from((week - 1) * 7).ok()?)))
                .flatten();
        }
        if let Some(day) = self.day_of_year.filter(|_| self.month.is_none()) {
            return NaiveDate::from_yo_opt(i32::try_from(year).ok()?, u32::try_from(day).ok()?).filter(|_| year >= 1);
        }
        let day = match (self.day, self.week_of_month) {
            (Some(day), _) => day,
            (None, Some(week)) => (week - 1) * 7 + 1,
            (None, None) => 1,
        };
        super::ymd(year, self.month.unwrap_or(1), day)
    }

    fn iso_date(&self) -> Option<NaiveDate> {
        let year = i32::try_from(self.iso_year?).ok().filter(|year| *year >= 1)?;
        if let Some(day) = self.iso_day_of_year {
            let start = NaiveDate::from_isoywd_opt(year, 1, Weekday::Mon)?;
            return (1..=371)
                .contains(&day)
                .then(|| start.checked_add_days(Days::new(u64::try_from(day - 1).ok()?)))
                .flatten();
        }
        let week = u32::try_from(self.iso_week.unwrap_or(1)).ok()?;
        let start = NaiveDate::from_isoywd_opt(year, week, Weekday::Mon)?;
        let day = self.iso_day.unwrap_or(1);
        (1..=7).contains(&day).then(|| start.checked_add_days(Days::new(u64::try_from(day - 1).ok()?))).flatten()
    }
}
