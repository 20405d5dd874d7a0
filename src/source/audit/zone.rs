use std::str::FromStr;

use chrono::{FixedOffset, MappedLocalTime, NaiveDateTime, TimeZone};

use crate::zk::Micros;

/// The zone in which a log's times are written where they do not say it themselves.
///
/// The hour that a zone has twice when clocks are set back counts as its first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogZone {
    Offset(FixedOffset),
    Named(chrono_tz::Tz),
}

/// A text that names no zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no time zone: write UTC, an offset as +02:00, or a name as Europe/Berlin")]
pub struct ZoneError(String);

impl Default for LogZone {
    fn default() -> Self {
        Self::Named(chrono_tz::UTC)
    }
}

impl FromStr for LogZone {
    type Err = ZoneError;

    fn from_str(text: &str) -> Result<Self, ZoneError> {
        if text.starts_with(['+', '-']) {
            return text.parse().map(Self::Offset).map_err(|_| ZoneError(text.to_owned()));
        }
        let mut zones = chrono_tz::TZ_VARIANTS.iter();
        let named = zones.find(|zone| zone.name().eq_ignore_ascii_case(text));
        named.map(|zone| Self::Named(*zone)).ok_or_else(|| ZoneError(text.to_owned()))
    }
}

impl LogZone {
    /// The moment that clocks of this zone show so; `None` where they never do.
    pub(super) fn moment(self, local: NaiveDateTime) -> Option<Micros> {
        match self {
            Self::Offset(zone) => first(zone.from_local_datetime(&local)),
            Self::Named(zone) => first(zone.from_local_datetime(&local)),
        }
    }
}

fn first<Z: TimeZone>(told: MappedLocalTime<chrono::DateTime<Z>>) -> Option<Micros> {
    told.earliest().map(|time| Micros(time.timestamp_micros()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_by_offset_and_by_name() {
        let local = NaiveDateTime::parse_from_str("2026-10-25 02:30:00", "%Y-%m-%d %H:%M:%S").unwrap();
        let at = |zone: &str| zone.parse::<LogZone>().unwrap().moment(local).unwrap().to_string();
        assert_eq!(at("UTC"), "2026-10-25T02:30:00.000000Z");
        assert_eq!(at("+02:00"), "2026-10-25T00:30:00.000000Z");
        assert_eq!(at("-0530"), "2026-10-25T08:00:00.000000Z");
        // Twice there: the first counts.
        assert_eq!(at("europe/berlin"), "2026-10-25T00:30:00.000000Z");
        let never = NaiveDateTime::parse_from_str("2026-03-29 02:30:00", "%Y-%m-%d %H:%M:%S").unwrap();
        assert_eq!("Europe/Berlin".parse::<LogZone>().unwrap().moment(never), None);
        assert_eq!("CEST5".parse::<LogZone>(), Err(ZoneError("CEST5".to_owned())));
        assert!("+2".parse::<LogZone>().is_err());
    }
}
