use serde_json::{Map, Value};

use super::cursor::Place;

/// A row of an answer, as JSON shows it.
pub type Row = Map<String, Value>;

/// What stands in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A row of `changes`.
    Change,
    /// From here on nobody was looking.
    GapOpened,
    /// Somebody is looking again.
    GapClosed,
    /// Changes after the cursor that retention has removed.
    Pruned,
}

/// One line of the stream, and where its cluster's reader stands after it.
#[derive(Clone, Debug)]
pub struct Event {
    pub kind: Kind,
    pub cluster: String,
    pub row: Row,
    pub place: Place,
    /// By what it is put in order with the other clusters' (RFC 3339, UTC, microseconds: sorts as text).
    pub at: String,
}

impl Event {
    /// The row as one JSON object without its end of line, the cursor last.
    pub fn json(&self, cursor: &str) -> String {
        let mut row = self.row.clone();
        row.insert("cursor".to_owned(), Value::String(cursor.to_owned()));
        Value::Object(row).to_string()
    }
}

pub fn text<'a>(row: &'a Row, column: &str) -> &'a str {
    row.get(column).and_then(Value::as_str).unwrap_or_default()
}

pub fn integer(row: &Row, column: &str) -> Option<i64> {
    row.get(column).and_then(Value::as_i64)
}

/// Microseconds since 1970 of a time as answers write it.
pub fn micros(time: &str) -> Option<i64> {
    chrono::DateTime::parse_from_rfc3339(time).ok().map(|time| time.timestamp_micros())
}

/// A time as answers write it.
pub fn rfc3339(micros: i64) -> String {
    chrono::DateTime::from_timestamp_micros(micros)
        .unwrap_or_default()
        .to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_go_there_and_back() {
        let time = "2026-11-20T03:12:00.000123Z";
        assert_eq!(micros(time).map(rfc3339).as_deref(), Some(time));
        assert_eq!(micros("2026-11-20"), None);
    }
}
