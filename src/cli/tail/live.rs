//! Changes from now on, as lines, for whoever shows them beside something else.

use super::line::Lines;
use crate::cli::sql::door::Door;
use crate::query::feed::{Cursor, Event, Filter, ReadError, Reader};

/// A reader and the lines that it gives.
pub(in crate::cli) struct Live<'a> {
    reader: Reader<'a>,
    lines: Lines,
}

impl<'a> Live<'a> {
    /// Begins with what is recorded after this call.
    pub(in crate::cli) fn from_now(door: &'a Door, filter: &'a Filter, coloured: bool) -> anyhow::Result<Self> {
        let since = Reader::now(door)?;
        let cursor = Cursor { since, places: Default::default() };
        Ok(Self { reader: Reader::new(door, filter, &[], cursor), lines: Lines::new(coloured) })
    }

    /// What was recorded since the last call, bounded; nothing while the agent is busy or away.
    pub(in crate::cli) fn lines(&mut self) -> anyhow::Result<String> {
        match self.reader.round() {
            Ok(round) => Ok(self.print(&round.events)),
            Err(ReadError::Away(_)) => {
                self.reader.was_away();
                Ok(String::new())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn print(&mut self, events: &[Event]) -> String {
        self.lines.expect(events);
        events.iter().map(|event| self.lines.line(event)).collect()
    }
}
