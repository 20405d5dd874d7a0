use super::{DAY, HOUR, MINUTE, SECOND};

/// A PostgreSQL interval: three parts that are never folded into each other unasked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(in crate::query::functions) struct Span {
    pub(in crate::query::functions) months: i32,
    pub(in crate::query::functions) days: i32,
    pub(in crate::query::functions) micros: i64,
}

const RANGE: &str = "interval out of range";

impl Span {
    /// Elapsed time as PostgreSQL gives the difference of two timestamps: whole days of 24 hours, and the rest.
    pub(in crate::query::functions) fn of_elapsed(micros: i64) -> Self {
        Self { months: 0, days: i32::try_from(micros / DAY).unwrap_or(i32::MAX), micros: micros % DAY }
    }

    pub(in crate::query::functions) fn add(self, other: Self) -> Result<Self, String> {
        Ok(Self {
            months: self.months.checked_add(other.months).ok_or(RANGE)?,
            days: self.days.checked_add(other.days).ok_or(RANGE)?,
            micros: self.micros.checked_add(other.micros).ok_or(RANGE)?,
        })
    }

    pub(in crate::query::functions) fn negate(self) -> Result<Self, String> {
        Ok(Self {
            months: self.months.checked_neg().ok_or(RANGE)?,
            days: self.days.checked_neg().ok_or(RANGE)?,
            micros: self.micros.checked_neg().ok_or(RANGE)?,
        })
    }

    /// As PostgreSQL's interval_mul and interval_div: what of the months and days is not whole cascades down.
    pub(in crate::query::functions) fn scale(self, factor: f64) -> Result<Self, String> {
        let whole = |value: f64| {
            let fits = value.is_finite() && value.abs() < f64::from(i32::MAX);
            fits.then_some(value.trunc() as i32).ok_or_else(|| RANGE.to_owned())
        };
        let settle = |value: f64| (value * SECOND as f64).round_ties_even() / SECOND as f64;
        let (months, days) = (f64::from(self.months) * factor, f64::from(self.days) * factor);
        let mut result = Self { months: whole(months)?, days: whole(days)?, micros: 0 };
        let mut month_days = settle((months - f64::from(result.months)) * 30.0);
        let mut seconds = settle((days - f64::from(result.days) + month_days - month_days.trunc()) * 86_400.0);
        if seconds.abs() >= 86_400.0 {
            let carried = (seconds / 86_400.0).trunc();
            month_days += carried;
            seconds -= carried * 86_400.0;
        }
        result.days = result.days.checked_add(whole(month_days)?).ok_or(RANGE)?;
        let micros = (self.micros as f64 * factor + seconds * SECOND as f64).round_ties_even();
        if !micros.is_finite() || micros.abs() >= i64::MAX as f64 {
            return Err(RANGE.to_owned());
        }
        result.micros = micros as i64;
        Ok(result)
    }

    /// Its length where a month has 30 days and a day 24 hours: how intervals compare.
    pub(in crate::query::functions) fn length(self) -> i128 {
        (i128::from(self.months) * 30 + i128::from(self.days)) * i128::from(DAY) + i128::from(self.micros)
    }

    pub(in crate::query::functions) fn justify_hours(self) -> Result<Self, String> {
        let mut days = i64::from(self.days) + self.micros / DAY;
        let mut micros = self.micros % DAY;
        if days > 0 && micros < 0 {
            (days, micros) = (days - 1, micros + DAY);
        } else if days < 0 && micros > 0 {
            (days, micros) = (days + 1, micros - DAY);
        }
        Ok(Self { months: self.months, days: i32::try_from(days).map_err(|_| RANGE)?, micros })
    }

    pub(in crate::query::functions) fn justify_days(self) -> Result<Self, String> {
        let mut months = self.months.checked_add(self.days / 30).ok_or(RANGE)?;
        let mut days = self.days % 30;
        if months > 0 && days < 0 {
            (months, days) = (months - 1, days + 30);
        } else if months < 0 && days > 0 {
            (months, days) = (months + 1, days - 30);
        }
        Ok(Self { months, days, micros: self.micros })
    }

    pub(in crate::query::functions) fn justify(self) -> Result<Self, String> {
        let folded = self.justify_hours()?.justify_days()?;
        let (mut months, mut days, mut micros) = (i64::from(folded.months), i64::from(folded.days), folded.micros);
        if months > 0 && (days < 0 || (days == 0 && micros < 0)) {
            (months, days) = (months - 1, days + 30);
        } else if months < 0 && (days > 0 || (days == 0 && micros > 0)) {
            (months, days) = (months + 1, days - 30);
        }
        if days > 0 && micros < 0 {
            (days, micros) = (days - 1, micros + DAY);
        } else if days < 0 && micros > 0 {
            (days, micros) = (days + 1, micros - DAY);
        }
        let narrow = |value: i64| i32::try_from(value).map_err(|_| RANGE.to_owned());
        Ok(Self { months: narrow(months)?, days: narrow(days)?, micros })
    }
}

/// Reads `1 year 2 mons -3 days 04:05:06.7`, `1-2 3 4:05:06`, `P1Y2M3DT4H5M6S`, `90 minutes ago`.
pub(in crate::query::functions) fn parse(text: &str) -> Result<Span, String> {
    let wrong = || format!("invalid input syntax for type interval: \"{text}\"");
    let trimmed = text.trim().to_lowercase();
    if let Some(iso) = trimmed.strip_prefix('p') {
        return parse_iso(iso).ok_or_else(wrong);
    }
    let mut total = Exact::default();
    let mut words = split(&trimmed).into_iter().peekable();
    let mut any = false;
    let mut ago = false;
    while let Some(word) = words.next() {
        if word == "@" {
            continue;
        }
        if word == "ago" && any && words.peek().is_none() {
            ago = true;
            continue;
        }
        any = true;
        if word.contains(':') {
            total.micros += clock(&word).ok_or_else(wrong)?;
            continue;
        }
        if let Some((years, months)) = year_month(&word) {
            total.months += years * 12.0 + months;
            continue;
        }
        let number: f64 = word.parse().ok().filter(|_| is_number(&word)).ok_or_else(wrong)?;
        let unit = match words.peek().map(String::as_str) {
            // A bare number before a clock is days, at the end seconds.
            Some(next) if next.contains(':') => "day".to_owned(),
            None => "second".to_owned(),
            Some(_) => words.next().unwrap_or_default(),
        };
        total.add(number, &unit).ok_or_else(wrong)?;
    }
    if !any {
        return Err(wrong());
    }
    let span = total.span().ok_or(RANGE)?;
    if ago { span.negate() } else { Ok(span) }
}

#[derive(Default)]
struct Exact {
    months: f64,
    days: f64,
    micros: f64,
}

impl Exact {
    /// A fraction of a unit goes to the next smaller ones: of a year to months, of a month to days of 30, of a day to time.
    fn add(&mut self, number: f64, unit: &str) -> Option<()> {
        let (whole, fraction) = (number.trunc(), number.fract());
        match unit {
            "microsecond" | "microseconds" | "us" | "usec" | "usecs" | "useconds" | "usecond" => self.micros += number,
            "millisecond" | "milliseconds" | "ms" | "msec" | "msecs" | "mseconds" | "msecond" => {
                self.micros += number * 1_000.0;
            }
            "second" | "seconds" | "sec" | "secs" | "s" => self.micros += number * SECOND as f64,
            "minute" | "minutes" | "min" | "mins" | "m" => self.micros += number * MINUTE as f64,
            "hour" | "hours" | "hr" | "hrs" | "h" => self.micros += number * HOUR as f64,
            "day" | "days" | "d" => self.whole_days(whole, fraction),
            "week" | "weeks" | "w" => {
                let days = fraction * 7.0;
                self.whole_days(whole * 7.0 + days.trunc(), days.fract());
            }
            "month" | "months" | "mon" | "mons" => {
                self.months += whole;
                let days = fraction * 30.0;
                self.whole_days(days.trunc(), days.fract());
            }
            "year" | "years" | "yr" | "yrs" | "y" => self.months += whole * 12.0 + (fraction * 12.0).round_ties_even(),
            "decade" | "decades" | "dec" | "decs" => {
                self.months += whole * 120.0 + (fraction * 120.0).round_ties_even();
            }
            "century" | "centuries" | "cent" | "c" => {
                self.months += whole * 1_200.0 + (fraction * 1_200.0).round_ties_even();
            }
            "millennium" | "millennia" | "mil" | "mils" => {
                self.months += whole * 12_000.0 + (fraction * 12_000.0).round_ties_even();
            }
            _ => return None,
        }
        Some(())
    }

    fn whole_days(&mut self, days: f64, fraction: f64) {
        self.days += days;
        self.micros += fraction * DAY as f64;
    }

    fn span(&self) -> Option<Span> {
        let narrow = |value: f64| (value.abs() <= f64::from(i32::MAX)).then_some(value as i32);
        let micros = self.micros.round_ties_even();
        (micros.abs() < 9.0e18).then_some(())?;
        Some(Span { months: narrow(self.months)?, days: narrow(self.days)?, micros: micros as i64 })
    }
}

fn is_number(word: &str) -> bool {
    let digits = word.trim_start_matches(['+', '-']);
    word.len() - digits.len() <= 1
        && digits.bytes().any(|byte| byte.is_ascii_digit())
        && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

/// Words, with a unit that follows its number at once split off it.
fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for word in text.split_whitespace() {
        let end = word.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(0);
        let (number, unit) = word.split_at(end);
        if end > 0 && is_number(number) {
            words.extend([number.to_owned(), unit.to_owned()]);
        } else {
            words.push(word.to_owned());
        }
    }
    words
}

/// `[-]H:MM[:SS[.ffffff]]`, and `M:SS.f` where only the seconds have a fraction.
fn clock(word: &str) -> Option<f64> {
    let (sign, digits) = match word.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, word.strip_prefix('+').unwrap_or(word)),
    };
    let parts: Vec<&str> = digits.split(':').collect();
    let whole = |text: &str| text.parse::<u32>().ok().map(f64::from);
    let seconds = |text: &str| text.parse::<f64>().ok().filter(|_| is_number(text));
    let (hours, minutes, seconds) = match parts.as_slice() {
        [minutes, rest] if rest.contains('.') => (0.0, whole(minutes)?, seconds(rest)?),
        [hours, minutes] => (whole(hours)?, whole(minutes)?, 0.0),
        [hours, minutes, rest] => (whole(hours)?, whole(minutes)?, seconds(rest)?),
        _ => return None,
    };
    if minutes >= 60.0 || seconds >= 61.0 {
        return None;
    }
    Some(sign * (hours * HOUR as f64 + minutes * MINUTE as f64 + (seconds * SECOND as f64).round_ties_even()))
}

/// `1-2`: years and months.
fn year_month(word: &str) -> Option<(f64, f64)> {
    let (sign, digits) = match word.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, word.strip_prefix('+').unwrap_or(word)),
    };
    let (years, months) = digits.split_once('-')?;
    let (years, months): (u16, u16) = (years.parse().ok()?, months.parse().ok()?);
    (months < 12).then(|| (sign * f64::from(years), sign * f64::from(months)))
}

/// Behind the `P` of ISO 8601, designators in order.
fn parse_iso(text: &str) -> Option<Span> {
    let (date, time) = text.split_once('t').map_or((text, None), |(date, time)| (date, Some(time)));
    let mut total = Exact::default();
    let mut take = |mut part: &str, units: &[(char, &str)]| {
        while !part.is_empty() {
            let end = part.find(|c: char| c.is_ascii_alphabetic())?;
            let (number, rest) = part.split_at(end);
            let number: f64 = number.parse().ok().filter(|_| is_number(number))?;
            let designator = rest.chars().next()?;
            let (_, unit) = units.iter().find(|(known, _)| *known == designator)?;
            total.add(number, unit)?;
            part = rest.get(1..)?;
        }
        Some(())
    };
    if text.is_empty() || time == Some("") {
        return None;
    }
    take(date, &[('y', "year"), ('m', "month"), ('w', "week"), ('d', "day")])?;
    take(time.unwrap_or_default(), &[('h', "hour"), ('m', "minute"), ('s', "second")])?;
    total.span()
}
