//! A change as one line for people. What comes from an ensemble is anybody's: nothing of it reaches a terminal as it is.

use std::fmt::Write as _;

use base64::Engine as _;

use crate::query::feed::event::{integer, micros, text};
use crate::query::feed::{Event, Kind, Row};

const VALUE_CHARS_MAX: usize = 80;
const PATH_CHARS_PADDED_MAX: usize = 56;
const KIND_CHARS: usize = "data_changed".len();

const DIM: &str = "\x1b[2m";
const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const CYAN: &str = "\x1b[36m";
const WARNING: &str = "\x1b[1;31m";
const PLAIN: &str = "\x1b[0m";

/// Keeps columns aligned as lines come.
pub(super) struct Lines {
    colour: bool,
    path_chars: usize,
    cluster_chars: usize,
    /// The clusters are shown once there is more than one.
    clusters: Vec<String>,
}

impl Lines {
    pub(super) fn new(colour: bool) -> Self {
        Self { colour, path_chars: 24, cluster_chars: 0, clusters: Vec::new() }
    }

    /// These will come: columns are made wide enough at once, and lines that go out together are aligned.
    pub(super) fn expect(&mut self, events: &[Event]) {
        for event in events {
            if !self.clusters.contains(&event.cluster) {
                self.cluster_chars = self.cluster_chars.max(event.cluster.chars().count());
                self.clusters.push(event.cluster.clone());
            }
            let path = visible(text(&event.row, "path")).chars().count();
            if path <= PATH_CHARS_PADDED_MAX {
                self.path_chars = self.path_chars.max(path);
            }
        }
    }

    /// The line, with its end.
    pub(super) fn line(&self, event: &Event) -> String {
        let row = &event.row;
        let (time, kind, colour, rest) = match event.kind {
            Kind::Change => (text(row, "time"), text(row, "kind"), kind_colour(text(row, "kind")), self.change(row)),
            Kind::GapOpened => (text(row, "from_time"), "GAP", WARNING, opened(row)),
            Kind::GapClosed => (text(row, "to_time"), "GAP ENDS", WARNING, closed(row)),
            Kind::Pruned => ("", "PRUNED", WARNING, pruned(row)),
        };
        let mut line = format!("{}  ", self.paint(DIM, &format!("{:24}", visible(&milliseconds(time)))));
        if self.clusters.len() > 1 {
            let _ = write!(line, "{:width$}  ", event.cluster, width = self.cluster_chars);
        }
        line.push_str(&self.paint(colour, &format!("{:KIND_CHARS$}", visible(kind))));
        let path = visible(text(row, "path"));
        let _ = write!(line, "  {path:width$}  {rest}", width = self.path_chars);
        let mut line = line.trim_end().to_owned();
        line.push('\n');
        line
    }

    fn change(&self, row: &Row) -> String {
        let version = match (text(row, "kind"), integer(row, "version"), integer(row, "aversion")) {
            ("acl_changed", _, Some(aversion)) => format!("acl v{aversion}"),
            (_, Some(version), _) => format!("v{version}"),
            _ => String::new(),
        };
        let evidence = text(row, "evidence");
        let colour = if evidence == "exact" { DIM } else { YELLOW };
        let mut rest = format!("{version:6}  {}", self.paint(colour, &format!("{:9}", visible(evidence))));
        let notes = notes(row);
        if !notes.is_empty() {
            let _ = write!(rest, "  {}", self.paint(CYAN, &visible(&notes.join(", "))));
        }
        let value = value(row);
        if !value.is_empty() {
            let _ = write!(rest, "  {value}");
        }
        rest
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.colour && !text.is_empty() { format!("{colour}{text}{PLAIN}") } else { text.to_owned() }
    }
}

fn kind_colour(kind: &str) -> &'static str {
    match kind {
        "created" => GREEN,
        "deleted" => RED,
        _ => YELLOW,
    }
}

/// Who, and what makes this row less plain than others.
fn notes(row: &Row) -> Vec<String> {
    let mut notes = Vec::new();
    let owner = text(row, "ephemeral_owner");
    if !matches!(owner, "" | "0x0") {
        notes.push(format!("ephemeral of {owner}"));
    }
    if !text(row, "session_id").is_empty() {
        notes.push(format!("by {}", text(row, "session_id")));
    }
    if !matches!(text(row, "cause"), "" | "explicit") {
        notes.push(text(row, "cause").to_owned());
    }
    if !matches!(text(row, "source"), "" | "watch") {
        notes.push(format!("by {}", text(row, "source")));
    }
    if let Some(missed @ 1..) = integer(row, "missed") {
        notes.push(format!("{missed} missed before it"));
    }
    notes
}

/// The value after the change, short and printable.
fn value(row: &Row) -> String {
    if matches!(text(row, "kind"), "deleted") {
        return String::new();
    }
    if text(row, "kind") == "acl_changed" {
        return short(&visible(text(row, "acl")));
    }
    let length = integer(row, "data_length");
    let Some(encoded) = row.get("data").and_then(serde_json::Value::as_str) else {
        return match length {
            Some(length) => format!("({length} bytes, withheld or not captured)"),
            None => String::new(),
        };
    };
    let Ok(bytes) = base64::engine::general_purpose::STANDARD.decode(encoded) else { return String::new() };
    match std::str::from_utf8(&bytes) {
        Ok(text) if !text.contains('\0') => short(&visible(text)),
        _ => {
            let mut hex = "0x".to_owned();
            for byte in bytes.iter().take(VALUE_CHARS_MAX / 4) {
                let _ = write!(hex, "{byte:02x}");
            }
            format!("{hex}{} ({} bytes)", if bytes.len() > VALUE_CHARS_MAX / 4 { "…" } else { "" }, bytes.len())
        }
    }
}

fn opened(row: &Row) -> String {
    format!("{}: what changes from here on may go unseen", visible(text(row, "reason")))
}

fn closed(row: &Row) -> String {
    let took = micros(text(row, "to_time")).zip(micros(text(row, "from_time")));
    let took = took.map_or_else(String::new, |(to, from)| {
        let tenths = to.saturating_sub(from).max(0) / 100_000;
        format!("after {}.{} s ", tenths / 10, tenths % 10)
    });
    let missed = match integer(row, "missed_at_least") {
        Some(missed @ 1..) => format!("; at least {missed} changes were missed"),
        _ => String::new(),
    };
    format!("{took}({}){missed}", visible(text(row, "reason")))
}

fn pruned(row: &Row) -> String {
    let (from, to) = (integer(row, "from_seq").unwrap_or_default(), integer(row, "to_seq").unwrap_or_default());
    format!("changes {from} to {to} after the cursor were removed by retention: they are not shown")
}

/// `2026-11-20T03:12:00.123456Z` to the millisecond.
fn milliseconds(time: &str) -> String {
    match time.split_once('.') {
        Some((seconds, fraction)) => format!("{seconds}.{:.3}Z", fraction.trim_end_matches('Z')),
        None => time.to_owned(),
    }
}

fn short(text: &str) -> String {
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Nothing that moves the cursor, colours, or turns the direction of what follows.
pub(super) fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // Marks of direction and joiners that are not seen.
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(character));
            }
            character if character.is_control() => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(character));
            }
            character => out.push(character),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::query::feed::Place;

    fn event(kind: Kind, row: serde_json::Value) -> Event {
        let serde_json::Value::Object(row) = row else { panic!("an object") };
        Event { kind, cluster: "prod".to_owned(), row, place: Place::default(), at: String::new() }
    }

    fn change(kind: &str, path: &str, value: &[u8]) -> Event {
        let data = base64::engine::general_purpose::STANDARD.encode(value);
        event(
            Kind::Change,
            json!({
                "time": "2026-11-20T03:12:00.123456Z", "kind": kind, "path": path, "version": 3, "evidence": "exact",
                "ephemeral_owner": "0x0", "missed": 0, "source": "watch", "data": data, "data_length": value.len(),
            }),
        )
    }

    fn line(event: &Event, colour: bool) -> String {
        let mut lines = Lines::new(colour);
        lines.expect(std::slice::from_ref(event));
        lines.line(event)
    }

    #[test]
    fn a_change_is_one_aligned_line() {
        assert_eq!(
            line(&change("data_changed", "/config/a", b"x=1"), false),
            "2026-11-20T03:12:00.123Z  data_changed  /config/a                 v3      exact      x=1\n"
        );
        let mut ephemeral = change("created", "/brokers/ids/1", b"{}");
        ephemeral.row.insert("ephemeral_owner".into(), json!("0x10000001"));
        ephemeral.row.insert("source".into(), json!("rescan"));
        ephemeral.row.insert("missed".into(), json!(2));
        ephemeral.row.insert("evidence".into(), json!("inferred"));
        let line = line(&ephemeral, false);
        assert!(line.contains("inferred   ephemeral of 0x10000001, by rescan, 2 missed before it  {}\n"), "{line}");
    }

    #[test]
    fn hostile_values_stay_on_their_line() {
        let hostile = "\x1b[2J\r\n\u{9b}31m\u{202e}\u{7f}\0";
        for event in [
            change("created", &format!("/a{hostile}"), b"x"),
            change("data_changed", "/a", hostile.as_bytes()),
            change("data_changed", "/a", "\x1b]0;title\x07\u{202e}".as_bytes()),
            event(Kind::GapOpened, json!({"from_time": hostile, "path": hostile, "reason": hostile})),
        ] {
            let line = line(&event, false);
            let inside = line.strip_suffix('\n').expect("a line");
            assert!(!inside.chars().any(|c| c.is_control() || c == '\u{202e}'), "{line:?}");
        }
    }

    #[test]
    fn values_are_short_and_printable() {
        let of = |value: &[u8]| super::value(&change("created", "/a", value).row);
        assert_eq!(of("ä\n\t".as_bytes()), "ä\\n\\t");
        assert_eq!(of(&[0xff, 0]), "0xff00 (2 bytes)");
        assert_eq!(of("é".repeat(100).as_bytes()), format!("{}…", "é".repeat(VALUE_CHARS_MAX)));
        assert_eq!(of(b""), "");
        let mut withheld = change("created", "/a", b"");
        withheld.row.insert("data".into(), json!(null));
        withheld.row.insert("data_length".into(), json!(12));
        assert_eq!(super::value(&withheld.row), "(12 bytes, withheld or not captured)");
    }

    #[test]
    fn colour_only_where_it_was_asked_for() {
        let event = change("deleted", "/a", b"");
        assert!(!line(&event, false).contains('\x1b'));
        assert!(line(&event, true).contains("\x1b[31mdeleted"));
    }

    #[test]
    fn gaps_say_what_they_mean() {
        let row = json!({
            "path": "/", "from_time": "2026-11-20T03:12:00.000000Z", "to_time": "2026-11-20T03:12:10.250000Z",
            "reason": "disconnected", "missed_at_least": 3,
        });
        let opened = line(&event(Kind::GapOpened, row.clone()), false);
        assert!(opened.starts_with("2026-11-20T03:12:00.000Z  GAP ") && opened.contains("may go unseen"), "{opened}");
        let closed = line(&event(Kind::GapClosed, row), false);
        assert!(closed.contains("after 10.2 s (disconnected); at least 3 changes were missed"), "{closed}");
    }

    #[test]
    fn the_cluster_is_named_where_there_are_several() {
        let (one, mut other) = (change("created", "/a", b""), change("created", "/b", b""));
        other.cluster = "staging".to_owned();
        let mut lines = Lines::new(false);
        lines.expect(std::slice::from_ref(&one));
        assert!(!lines.line(&one).contains("prod"));
        lines.expect(&[one.clone(), other.clone()]);
        assert!(lines.line(&one).contains("  prod     created"));
        assert!(lines.line(&other).contains("  staging  created"));
    }
}
