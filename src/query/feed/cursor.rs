//! Where a reader of several clusters' changes stands, as text that means nothing to anybody else.
//!
//! base64url of: version (1 byte, 1), the time from which clusters are read that it does not hold (i64 µs), how many it
//! holds (u16), then for each, in the order of their names: length of the name (u8), name, seq (i64), when the row of
//! that seq was observed (i64 µs, 0 unknown), up to when closed gaps were told (i64 µs); CRC-32 of all that (u32).
//! Numbers are big-endian.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::event::{Event, Kind};

const VERSION: u8 = 1;
const CLUSTERS_MAX: usize = 1_024;
const TEXT_BYTES_MAX: usize = 1 << 20;

/// A reader's place in one cluster's history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The last change that is done with; 0 where none is.
    pub seq: i64,
    /// When its row was observed, which tells this history from another; 0 where it is not known.
    pub observed_at: i64,
    /// Gaps that were closed up to here have been told.
    pub gaps_to: i64,
}

/// A reader's place in every cluster's history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// Clusters that are not held yet are read from here on (µs since 1970).
    pub since: i64,
    pub places: BTreeMap<String, Place>,
}

/// Why a text is no cursor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CursorError {
    #[error("is no cursor of zktrail tail: it is damaged or was cut")]
    Damaged,
    #[error("is a cursor of version {0}, and this zktrail knows version {VERSION}: use a newer zktrail")]
    Newer(u8),
}

impl Cursor {
    /// Moves behind an event; it moves in one respect only.
    pub fn advance(&mut self, event: &Event) {
        let place = self.places.entry(event.cluster.clone()).or_default();
        match event.kind {
            Kind::Change | Kind::Pruned => {
                place.seq = event.place.seq;
                place.observed_at = event.place.observed_at;
            }
            Kind::GapOpened | Kind::GapClosed => {}
        }
        place.gaps_to = place.gaps_to.max(event.place.gaps_to);
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = vec![VERSION];
        bytes.extend(self.since.to_be_bytes());
        bytes.extend(u16::try_from(self.places.len()).unwrap_or(u16::MAX).to_be_bytes());
        for (cluster, place) in &self.places {
            bytes.push(u8::try_from(cluster.len()).unwrap_or(u8::MAX));
            bytes.extend(cluster.as_bytes());
            for number in [place.seq, place.observed_at, place.gaps_to] {
                bytes.extend(number.to_be_bytes());
            }
        }
        bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let text = text.trim();
        if text.len() > TEXT_BYTES_MAX {
            return Err(CursorError::Damaged);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| CursorError::Damaged)?;
        match bytes.first() {
            Some(&VERSION) => {}
            Some(version) if *version > VERSION && whole(&bytes).is_some() => {
                return Err(CursorError::Newer(*version));
            }
            _ => return Err(CursorError::Damaged),
        }
        whole(&bytes).and_then(|body| decode(body.get(1..)?)).ok_or(CursorError::Damaged)
    }
}

/// What the checksum proves to be as it was written.
fn whole(bytes: &[u8]) -> Option<&[u8]> {
    let (body, sum) = bytes.split_last_chunk::<4>()?;
    (crc32fast::hash(body) == u32::from_be_bytes(*sum)).then_some(body)
}

fn decode(mut rest: &[u8]) -> Option<Cursor> {
    let since = number(&mut rest)?;
    let (count, after) = rest.split_first_chunk::<2>()?;
    rest = after;
    let count = usize::from(u16::from_be_bytes(*count));
    if count > CLUSTERS_MAX {
        return None;
    }
    let mut places = BTreeMap::new();
    for _ in 0..count {
        let (length, after) = rest.split_first()?;
        let (name, after) = after.split_at_checked(usize::from(*length))?;
        rest = after;
        let name = std::str::from_utf8(name).ok().filter(|name| is_cluster(name))?;
        let place = Place { seq: number(&mut rest)?, observed_at: number(&mut rest)?, gaps_to: number(&mut rest)? };
        if place.seq < 0 || places.insert(name.to_owned(), place).is_some() {
            return None;
        }
    }
    rest.is_empty().then_some(Cursor { since, places })
}

fn number(rest: &mut &[u8]) -> Option<i64> {
    let (number, after) = rest.split_first_chunk::<8>()?;
    *rest = after;
    Some(i64::from_be_bytes(*number))
}

fn is_cluster(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor() -> Cursor {
        let place = Place { seq: 4_711, observed_at: 1_795_179_827_000_123, gaps_to: -5 };
        let places = [("prod".to_owned(), place), ("test_2-b".to_owned(), Place::default())];
        Cursor { since: 1_795_179_827_000_000, places: places.into() }
    }

    #[test]
    fn survives_its_text() {
        for cursor in [cursor(), Cursor::default()] {
            let text = cursor.to_string();
            assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{text}");
            assert_eq!(text.parse(), Ok(cursor.clone()));
            assert_eq!(format!(" {text}\n").parse(), Ok(cursor));
        }
    }

    #[test]
    fn damage_is_found() {
        let text = cursor().to_string();
        for at in 0..text.len() {
            assert_eq!(text[..at].parse::<Cursor>(), Err(CursorError::Damaged), "cut at {at}");
            let other = if text.as_bytes()[at] == b'A' { "B" } else { "A" };
            let changed = format!("{}{other}{}", &text[..at], &text[at + 1..]);
            assert!(changed.parse::<Cursor>().is_err(), "changed at {at}");
        }
        for wrong in ["", "AA", "now", "ä", &"A".repeat(100), &"A".repeat(TEXT_BYTES_MAX + 1)] {
            assert_eq!(wrong.parse::<Cursor>(), Err(CursorError::Damaged), "{wrong:.20}");
        }
    }

    #[test]
    fn a_later_version_is_named() {
        let mut bytes = vec![7, 1, 2, 3];
        bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
        assert_eq!(URL_SAFE_NO_PAD.encode(bytes).parse::<Cursor>(), Err(CursorError::Newer(7)));
    }

    #[test]
    fn what_only_looks_right_is_refused() {
        let encode = |cursor: &Cursor| cursor.to_string().parse::<Cursor>();
        let with = |name: &str, seq: i64| {
            let place = Place { seq, ..Place::default() };
            Cursor { since: 0, places: [(name.to_owned(), place)].into() }
        };
        assert!(encode(&with("a", 0)).is_ok());
        for (name, seq) in [("a", -1), ("A", 1), ("a'b", 1), ("", 1), ("ä", 1)] {
            assert_eq!(encode(&with(name, seq)), Err(CursorError::Damaged), "{name} {seq}");
        }
    }
}
