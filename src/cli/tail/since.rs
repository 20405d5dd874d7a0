use std::str::FromStr;
use std::time::Duration;

use crate::config::HumanDuration;

/// Where a tail begins that has no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Since {
    /// With what is recorded from now on.
    Now,
    /// With the oldest change that there is.
    Oldest,
    /// Only where a cursor says: without one it is an error.
    Cursor,
    Ago(Duration),
    /// Microseconds since 1970.
    Time(i64),
}

impl FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "now" => return Ok(Self::Now),
            "oldest" => return Ok(Self::Oldest),
            "cursor" => return Ok(Self::Cursor),
            _ => {}
        }
        if let Ok(HumanDuration(ago)) = text.parse() {
            return Ok(Self::Ago(ago));
        }
        if let Ok(time) = chrono::DateTime::parse_from_rfc3339(text) {
            return Ok(Self::Time(time.timestamp_micros()));
        }
        let midnight = format!("{text}T00:00:00Z");
        chrono::DateTime::parse_from_rfc3339(&midnight).map(|time| Self::Time(time.timestamp_micros())).map_err(|_| {
            format!(
                "{text:?} is no beginning: write now, oldest, cursor, a duration such as 10m, a date, or a time such as \
                 2026-11-20T03:12:00Z"
            )
        })
    }
}

impl Since {
    /// The time (µs since 1970) that it means, where it is `now`.
    pub(super) fn resolve(self, now: i64) -> i64 {
        match self {
            Self::Now | Self::Cursor => now,
            Self::Oldest => 0,
            Self::Ago(ago) => now.saturating_sub(i64::try_from(ago.as_micros()).unwrap_or(i64::MAX)).max(0),
            Self::Time(time) => time.max(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_durations_and_times() {
        assert_eq!("now".parse(), Ok(Since::Now));
        assert_eq!("oldest".parse(), Ok(Since::Oldest));
        assert_eq!("10m".parse(), Ok(Since::Ago(Duration::from_secs(600))));
        assert_eq!("1970-01-02".parse(), Ok(Since::Time(86_400_000_000)));
        assert_eq!("1970-01-01T01:00:01+01:00".parse(), Ok(Since::Time(1_000_000)));
        for wrong in ["", "10", "yesterday", "2026-13-01", "-5m"] {
            assert!(wrong.parse::<Since>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn they_are_resolved_once() {
        assert_eq!(Since::Now.resolve(5), 5);
        assert_eq!(Since::Oldest.resolve(5), 0);
        assert_eq!(Since::Ago(Duration::from_micros(2)).resolve(5), 3);
        assert_eq!(Since::Ago(Duration::from_secs(9)).resolve(5), 0, "before 1970 there is nothing");
    }
}
