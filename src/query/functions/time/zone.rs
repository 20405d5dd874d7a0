use chrono::offset::LocalResult;
use chrono::{DateTime, Duration, FixedOffset, NaiveDateTime, Offset, TimeZone};
use chrono_tz::{OffsetName, TZ_VARIANTS, Tz};

/// A time zone: by its name, or so many seconds east of UTC.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::query::functions) enum Zone {
    Named(Tz),
    Fixed(FixedOffset),
    /// An abbreviation that says its offset, whatever the season.
    Abbreviated(&'static str, FixedOffset),
}

/// Abbreviations of PostgreSQL's default set, with hours east. Where its meaning and
/// that of a zone's name differ (CET), PostgreSQL takes the abbreviation.
const ABBREVIATIONS: [(&str, i32); 22] = [
    ("UTC", 0),
    ("GMT", 0),
    ("UT", 0),
    ("Z", 0),
    ("ZULU", 0),
    ("EST", -5),
    ("EDT", -4),
    ("CST", -6),
    ("CDT", -5),
    ("MST", -7),
    ("MDT", -6),
    ("PST", -8),
    ("PDT", -7),
    ("WET", 0),
    ("WEST", 1),
    ("BST", 1),
    ("CET", 1),
    ("CEST", 2),
    ("EET", 2),
    ("EEST", 3),
    ("MSK", 3),
    ("JST", 9),
];

impl Zone {
    /// As a session's setting names it: a name, or an offset in hours east.
    pub(in crate::query::functions) fn of_session(name: &str) -> Result<Self, String> {
        if let Some(offset) = iso_offset(name) {
            return Ok(Self::Fixed(offset));
        }
        Self::named(name)
    }

    /// As SQL names it. An offset in digits is refused: PostgreSQL reads its sign the other way round.
    pub(in crate::query::functions) fn named(name: &str) -> Result<Self, String> {
        let upper = name.to_ascii_uppercase();
        if let Some((name, hours)) = ABBREVIATIONS.iter().find(|(known, _)| *known == upper) {
            let offset = FixedOffset::east_opt(hours * 3_600).ok_or("time zone displacement out of range")?;
            return Ok(Self::Abbreviated(name, offset));
        }
        // A short name that is not listed may be an abbreviation of another meaning.
        let is_long = name.contains('/') || name.len() > 4;
        let by_name = TZ_VARIANTS.iter().copied().find(|zone| is_long && zone.name().eq_ignore_ascii_case(name));
        by_name.map(Self::Named).ok_or_else(|| {
            format!("time zone \"{name}\" is not recognized: name it like Europe/Berlin, or by a common abbreviation")
        })
    }

    /// Seconds east at an instant.
    pub(in crate::query::functions) fn offset(&self, instant: i64) -> Result<i32, String> {
        Ok(match self {
            Self::Named(zone) => {
                let instant = DateTime::from_timestamp_micros(instant).ok_or("timestamp out of range")?;
                zone.offset_from_utc_datetime(&instant.naive_utc()).fix().local_minus_utc()
            }
            Self::Fixed(offset) | Self::Abbreviated(_, offset) => offset.local_minus_utc(),
        })
    }

    /// What a wall clock in this zone shows at an instant.
    pub(in crate::query::functions) fn local(&self, instant: i64) -> Result<i64, String> {
        instant
            .checked_add(i64::from(self.offset(instant)?) * super::SECOND)
            .ok_or_else(|| "timestamp out of range".to_owned())
    }

    /// The instant at which a wall clock in this zone shows `local`. Of an hour that comes twice it is the second, as
    /// standard time; an hour that is left out is read as if it had been standard time.
    pub(in crate::query::functions) fn instant(&self, local: i64) -> Result<i64, String> {
        let seconds = match self {
            Self::Fixed(offset) | Self::Abbreviated(_, offset) => offset.local_minus_utc(),
            Self::Named(zone) => {
                let civil = DateTime::from_timestamp_micros(local).ok_or("timestamp out of range")?.naive_utc();
                match zone.offset_from_local_datetime(&civil) {
                    LocalResult::Single(offset) => offset.fix().local_minus_utc(),
                    LocalResult::Ambiguous(first, second) => {
                        first.fix().local_minus_utc().min(second.fix().local_minus_utc())
                    }
                    LocalResult::None => before_gap(zone, civil)?,
                }
            }
        };
        local.checked_sub(i64::from(seconds) * super::SECOND).ok_or_else(|| "timestamp out of range".to_owned())
    }

    /// The abbreviation at an instant, in capitals; empty where the zone is nothing but an offset.
    pub(in crate::query::functions) fn abbreviation(&self, instant: i64) -> Result<String, String> {
        Ok(match self {
            Self::Named(zone) => {
                let instant = DateTime::from_timestamp_micros(instant).ok_or("timestamp out of range")?;
                zone.offset_from_utc_datetime(&instant.naive_utc()).abbreviation().unwrap_or_default().to_owned()
            }
            Self::Abbreviated(name, _) => (*name).to_owned(),
            Self::Fixed(offset) => super::show::offset(offset.local_minus_utc()),
        })
    }
}

/// The offset that held before the clocks were put forward.
fn before_gap(zone: &Tz, civil: NaiveDateTime) -> Result<i32, String> {
    let earlier = civil.checked_sub_signed(Duration::hours(24)).ok_or("timestamp out of range")?;
    Ok(zone.offset_from_utc_datetime(&earlier).fix().local_minus_utc())
}

/// `+02`, `+0200`, `+02:00`, `-3`: hours and minutes east.
pub(in crate::query::functions) fn iso_offset(text: &str) -> Option<FixedOffset> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => return None,
    };
    let parts: Vec<&str> = digits.split(':').collect();
    if parts.iter().any(|part| part.is_empty() || part.len() > 4 || !part.bytes().all(|byte| byte.is_ascii_digit())) {
        return None;
    }
    let number = |text: &str| text.parse::<i32>().ok();
    let (hours, minutes, seconds) = match parts.as_slice() {
        [one] if one.len() <= 2 => (number(one)?, 0, 0),
        [one] if one.len() == 4 => (number(&one[..2])?, number(&one[2..])?, 0),
        [one] if one.len() == 3 => (number(&one[..1])?, number(&one[1..])?, 0),
        [hours, minutes] => (number(hours)?, number(minutes)?, 0),
        [hours, minutes, seconds] => (number(hours)?, number(minutes)?, number(seconds)?),
        _ => return None,
    };
    if hours > 15 || minutes > 59 || seconds > 59 {
        return None;
    }
    FixedOffset::east_opt(sign * (hours * 3_600 + minutes * 60 + seconds))
}
