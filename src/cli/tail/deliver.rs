//! Hands events on, and moves the cursor behind what was handed on.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;

use super::cursor_file;
use super::handler::Handler;
use super::line::{Lines, visible};
use crate::query::feed::event::text;
use crate::query::feed::{Cursor, Event, Kind};

/// Where changes go.
pub(super) enum Sink {
    Text,
    Json,
    Handler(Handler),
}

/// What was handed on so far.
pub(super) struct Delivery {
    sink: Sink,
    lines: Lines,
    cursor: Cursor,
    file: Option<PathBuf>,
    /// The cursor that the file holds.
    stored: Option<Cursor>,
    handled: u64,
    failed: u64,
}

impl Delivery {
    pub(super) fn new(sink: Sink, lines: Lines, cursor: Cursor, file: Option<PathBuf>) -> Self {
        Self { sink, lines, cursor, file, stored: None, handled: 0, failed: 0 }
    }

    /// Hands on what one round found. `read` is where the reader stands behind it: also behind what no filter let pass.
    pub(super) fn round(
        &mut self,
        events: &[Event],
        read: &Cursor,
        stop: impl Fn() -> bool + Sync,
    ) -> anyhow::Result<()> {
        self.lines.expect(events);
        let all = match &self.sink {
            Sink::Handler(handler) => {
                let handler = handler.clone();
                self.handle(&handler, events, stop)?
            }
            Sink::Text | Sink::Json => {
                self.print(events)?;
                true
            }
        };
        if all {
            self.cursor = read.clone();
            self.store()?;
        }
        Ok(())
    }

    /// Says on stderr how many handlers failed, if any; tells whether any did.
    pub(super) fn tell_failures(&self) -> bool {
        if self.failed > 0 {
            eprintln!("zktrail: {} of {} commands failed", self.failed, self.handled);
        }
        self.failed > 0
    }

    fn print(&mut self, events: &[Event]) -> anyhow::Result<()> {
        let mut out = String::new();
        for event in events {
            self.cursor.advance(event);
            match self.sink {
                Sink::Json => {
                    out.push_str(&event.json(&self.cursor.to_string()));
                    out.push('\n');
                }
                _ => out.push_str(&self.lines.line(event)),
            }
        }
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(out.as_bytes())?;
        stdout.flush()?;
        Ok(())
    }

    /// Tells whether every one was handled; where not, the cursor stands before the first that was not.
    fn handle(&mut self, handler: &Handler, events: &[Event], stop: impl Fn() -> bool + Sync) -> anyhow::Result<bool> {
        let mut ahead = self.cursor.clone();
        let mut inputs = Vec::new();
        let mut changes = Vec::new();
        for (at, event) in events.iter().enumerate() {
            ahead.advance(event);
            if event.kind == Kind::Change {
                inputs.push(event.json(&ahead.to_string()));
                changes.push(at);
            } else {
                eprint!("{}", self.lines.line(event));
            }
        }
        let (mut behind, mut stored) = (0, Ok(()));
        handler.run_all(&inputs, &stop, |at, result, prefix| {
            self.handled += 1;
            if let Err(error) = result {
                self.failed += 1;
                let event = changes.get(at).and_then(|at| events.get(*at));
                let (kind, path) = event.map_or(("", ""), |event| (text(&event.row, "kind"), text(&event.row, "path")));
                eprintln!("zktrail: the command for {kind} {} {error}", visible(path));
            }
            let ended = prefix.checked_sub(1).and_then(|last| changes.get(last)).map_or(0, |last| last + 1);
            for event in events.get(behind..ended).unwrap_or_default() {
                self.cursor.advance(event);
            }
            if ended > behind {
                behind = ended;
                if stored.is_ok() {
                    stored = self.store();
                }
            }
        });
        stored?;
        Ok(changes.last().is_none_or(|last| behind > *last))
    }

    fn store(&mut self) -> anyhow::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        if self.stored.as_ref() != Some(&self.cursor) {
            cursor_file::store(file, &self.cursor)
                .with_context(|| format!("cannot write the cursor {}", file.display()))?;
            self.stored = Some(self.cursor.clone());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::query::feed::{Place, Row};

    fn change(seq: i64) -> Event {
        let mut row = Row::new();
        row.insert("path".into(), format!("/{seq}").into());
        row.insert("kind".into(), "created".into());
        let place = Place { seq, observed_at: seq, gaps_to: 0 };
        Event { kind: Kind::Change, cluster: "test".into(), row, place, at: String::new() }
    }

    fn delivery(command: &str, concurrency: usize, file: PathBuf) -> Delivery {
        let handler = Handler { command: command.into(), concurrency, timeout: Duration::from_secs(20) };
        Delivery::new(Sink::Handler(handler), Lines::new(false), Cursor::default(), Some(file))
    }

    fn at(seq: i64) -> Cursor {
        let place = Place { seq, observed_at: seq, gaps_to: 0 };
        Cursor { since: 0, places: [("test".to_owned(), place)].into() }
    }

    #[test]
    fn the_cursor_moves_only_past_what_was_handled() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("cursor");
        let events: Vec<Event> = (1..=5).map(change).collect();
        // It stops itself when the third begins: two, or with the third three, have ended.
        let flag = folder.path().join("stop");
        let command = format!("grep -q '\"/3\"' && touch '{}'; true", flag.display());
        let mut delivery = delivery(&command, 1, file.clone());
        delivery.round(&events, &at(9), || flag.exists()).expect("delivered");
        assert_eq!(cursor_file::load(&file).expect("read"), Some(at(3)));
        assert!(!delivery.tell_failures());
    }

    #[test]
    fn a_failed_handler_has_ended_too() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("cursor");
        let events: Vec<Event> = (1..=5).map(change).collect();
        let mut delivery = delivery("exit 1", 3, file.clone());
        delivery.round(&events, &at(9), || false).expect("delivered");
        assert_eq!(cursor_file::load(&file).expect("read"), Some(at(9)), "behind what no filter let pass, too");
        assert!(delivery.tell_failures());
        assert_eq!((delivery.handled, delivery.failed), (5, 5));
    }
}
