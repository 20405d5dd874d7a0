use std::str::FromStr;

use crate::query::when::{Bound, WhenError, parse};
use crate::zk::Micros;

/// Where a tail begins that has no cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Since {
    /// With what is recorded from now on.
    Now,
    /// With the oldest change that there is.
    Oldest,
    /// Only where a cursor says: without one it is an error.
    Cursor,
    /// A moment as `--since` names it everywhere.
    Moment(String),
}

/// A beginning in the terms of the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// What was observed from then on (µs since 1970).
    Observed(i64),
    /// What stands at this zxid or after it.
    Zxid(i64),
}

impl FromStr for Since {
    type Err = WhenError;

    fn from_str(text: &str) -> Result<Self, WhenError> {
        match text {
            "now" => Ok(Self::Now),
            "oldest" => Ok(Self::Oldest),
            "cursor" => Ok(Self::Cursor),
            // The present is asked for when it is needed; a wrong text is wrong at any time.
            _ => parse(text, Micros::now()).map(|_| Self::Moment(text.to_owned())),
        }
    }
}

impl Since {
    /// What it means where it is `now` (µs since 1970).
    pub fn resolve(&self, now: i64) -> Result<Beginning, WhenError> {
        Ok(match self {
            Self::Now | Self::Cursor => Beginning::Observed(now),
            Self::Oldest => Beginning::Observed(0),
            Self::Moment(text) => match parse(text, Micros(now))? {
                Bound::Time(time) => Beginning::Observed(time.0.max(0)),
                Bound::Zxid(zxid) => Beginning::Zxid(zxid),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_ages_times_and_zxids() {
        let now = 2 * 86_400_000_000;
        let of = |text: &str| text.parse::<Since>().and_then(|since| since.resolve(now));
        assert_eq!(of("now"), Ok(Beginning::Observed(now)));
        assert_eq!(of("oldest"), Ok(Beginning::Observed(0)));
        assert_eq!(of("10m"), Ok(Beginning::Observed(now - 600_000_000)));
        assert_eq!(of("1970-01-02"), Ok(Beginning::Observed(86_400_000_000)));
        assert_eq!(of("0x10"), Ok(Beginning::Zxid(16)));
        for wrong in ["", "10", "yesterday", "2026-13-01", "-5m"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }
}
