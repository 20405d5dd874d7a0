//! Which of the sessions that the servers list are news. Pure: told the time.
//!
//! A row is due for a session that is new, whose address or timeout has changed, that was last recorded an hour ago, or
//! that is gone: then the row says when it was last there. So a quiet ensemble costs a row a session and hour.

use std::collections::HashMap;
use std::sync::Arc;

use crate::history::{Sighting, SightingEvent, SightingSource};
use crate::source::connections::{Connection, Connections};
use crate::zk::Micros;

/// A session that stays is recorded this often, so that its `last_seen` is not older.
const RECORD_EVERY_MICROS: i64 = 3_600_000_000;
/// A session is gone when so many whole rounds did not list it: a client may be between two servers, and behind one name
/// each round may ask another server.
const ROUNDS_ABSENT_MAX: u32 = 5;
/// Sessions that are followed.
const SESSIONS_MAX: usize = 200_000;

/// What one server told.
#[derive(Debug)]
pub(super) struct Heard {
    pub source: SightingSource,
    pub connections: Connections,
}

/// What came of a round.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Round {
    pub sightings: Vec<Sighting>,
    /// Somebody told something.
    pub any: bool,
    /// Sessions that were listed.
    pub connected: usize,
    /// Sessions beyond those that are followed.
    pub beyond: usize,
}

#[derive(Debug)]
struct Session {
    address: Arc<str>,
    timeout_ms: Option<i32>,
    source: SightingSource,
    seen_at: Micros,
    recorded_at: Micros,
    rounds_absent: u32,
}

/// The sessions of one ensemble as they are on record.
#[derive(Debug)]
pub(super) struct Known {
    incarnation: i32,
    sessions_max: usize,
    sessions: HashMap<i64, Session>,
}

impl Known {
    pub(super) fn new(incarnation: i32) -> Self {
        Self { incarnation, sessions_max: SESSIONS_MAX, sessions: HashMap::new() }
    }

    /// Takes in the answers of one moment; `whole` where no server is missing among them.
    pub(super) fn round(&mut self, at: Micros, heard: Vec<Heard>, whole: bool) -> Round {
        let mut round = Round { any: !heard.is_empty(), ..Round::default() };
        for Heard { source, connections } in heard {
            for connection in connections.sessions {
                round.connected += 1;
                self.listed(at, source, connection, &mut round);
            }
        }
        if whole {
            self.absent(at, &mut round);
        }
        round
    }

    /// When each session was last there, where that is not on record: nobody will be asked any more.
    pub(super) fn last_seen(&mut self) -> Vec<Sighting> {
        let incarnation = self.incarnation;
        let later = self.sessions.iter().filter(|(_, session)| session.seen_at > session.recorded_at);
        let sightings = later.map(|(session_id, session)| sighting(incarnation, *session_id, session)).collect();
        self.sessions.values_mut().for_each(|session| session.recorded_at = session.seen_at);
        sightings
    }

    fn listed(&mut self, at: Micros, source: SightingSource, connection: Connection, round: &mut Round) {
        let Connection { session_id, address, timeout_ms } = connection;
        if self.sessions.len() >= self.sessions_max && !self.sessions.contains_key(&session_id) {
            round.beyond += 1;
            return;
        }
        let session = self.sessions.entry(session_id).or_insert_with(|| Session {
            address: "".into(),
            timeout_ms: None,
            source,
            seen_at: at,
            recorded_at: Micros(i64::MIN),
            rounds_absent: 0,
        });
        let due = at.0.saturating_sub(session.recorded_at.0) >= RECORD_EVERY_MICROS;
        let moved = *session.address != *address || session.timeout_ms != timeout_ms;
        session.seen_at = at;
        session.source = source;
        session.rounds_absent = 0;
        if moved {
            session.address = address.into();
            session.timeout_ms = timeout_ms;
        }
        if moved || due {
            session.recorded_at = at;
            round.sightings.push(sighting(self.incarnation, session_id, session));
        }
    }

    fn absent(&mut self, at: Micros, round: &mut Round) {
        let incarnation = self.incarnation;
        self.sessions.retain(|session_id, session| {
            if session.seen_at == at {
                return true;
            }
            session.rounds_absent += 1;
            if session.rounds_absent < ROUNDS_ABSENT_MAX {
                return true;
            }
            if session.seen_at > session.recorded_at {
                round.sightings.push(sighting(incarnation, *session_id, session));
            }
            false
        });
    }
}

fn sighting(incarnation: i32, session_id: i64, session: &Session) -> Sighting {
    Sighting {
        incarnation,
        session_id,
        event: SightingEvent::Seen,
        time: session.seen_at,
        zxid: None,
        timeout_ms: session.timeout_ms,
        address: Some(session.address.clone()),
        source: session.source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000_000;

    fn listed(sessions: &[(i64, &str)]) -> Vec<Heard> {
        let sessions = sessions.iter().map(|(session_id, address)| Connection {
            session_id: *session_id,
            address: (*address).to_owned(),
            timeout_ms: Some(4_000),
        });
        let connections = Connections { sessions: sessions.collect(), whole: true, ..Connections::default() };
        vec![Heard { source: SightingSource::Cons, connections }]
    }

    /// What is recorded of a round: the session, its address, and when it was there, in minutes.
    fn recorded(known: &mut Known, minute: i64, sessions: &[(i64, &str)], whole: bool) -> Vec<(i64, String, i64)> {
        let round = known.round(Micros(minute * MINUTE), listed(sessions), whole);
        assert_eq!(round.connected, sessions.len());
        let row = |row: &Sighting| {
            (row.session_id, row.address.as_deref().unwrap_or_default().to_owned(), row.time.0 / MINUTE)
        };
        let mut rows: Vec<_> = round.sightings.iter().map(row).collect();
        rows.sort();
        rows
    }

    #[test]
    fn only_news_are_recorded() {
        let mut known = Known::new(1);
        let both = [(7, "a:1"), (8, "b:1")];
        assert_eq!(recorded(&mut known, 1, &both, true), [(7, "a:1".into(), 1), (8, "b:1".into(), 1)]);
        assert_eq!(recorded(&mut known, 2, &both, true), []);
        assert_eq!(recorded(&mut known, 3, &[(7, "a:2"), (8, "b:1")], true), [(7, "a:2".into(), 3)]);
        // Once an hour, each by its own.
        assert_eq!(recorded(&mut known, 61, &[(7, "a:2"), (8, "b:1")], true), [(8, "b:1".into(), 61)]);
        assert_eq!(recorded(&mut known, 63, &[(7, "a:2"), (8, "b:1")], true), [(7, "a:2".into(), 63)]);
    }

    #[test]
    fn what_is_gone_was_last_there_then() {
        let mut known = Known::new(1);
        recorded(&mut known, 1, &[(7, "a:1")], true);
        recorded(&mut known, 2, &[(7, "a:1")], true);
        for minute in 3..7 {
            assert_eq!(recorded(&mut known, minute, &[], true), []);
        }
        assert_eq!(recorded(&mut known, 7, &[], true), [(7, "a:1".into(), 2)]);
        assert_eq!(recorded(&mut known, 8, &[], true), []);
        // It is news when it comes again.
        assert_eq!(recorded(&mut known, 9, &[(7, "a:1")], true), [(7, "a:1".into(), 9)]);
        // On record as it was last there: nothing more to say.
        for minute in 10..20 {
            assert_eq!(recorded(&mut known, minute, &[], true), []);
        }
    }

    #[test]
    fn the_last_words_say_who_was_there() {
        let mut known = Known::new(1);
        recorded(&mut known, 1, &[(7, "a:1")], true);
        recorded(&mut known, 2, &[(7, "a:1"), (8, "b:1")], true);
        let last: Vec<_> = known.last_seen().iter().map(|row| (row.session_id, row.time.0 / MINUTE)).collect();
        assert_eq!(last, [(7, 2)], "the other is on record as it was last there");
        assert_eq!(known.last_seen(), []);
    }

    #[test]
    fn a_server_that_does_not_tell_takes_nobody_away() {
        let mut known = Known::new(1);
        recorded(&mut known, 1, &[(7, "a:1")], true);
        for minute in 2..30 {
            assert_eq!(recorded(&mut known, minute, &[], false), []);
        }
        assert_eq!(recorded(&mut known, 30, &[(7, "a:1")], true), []);
    }

    #[test]
    fn sessions_beyond_the_bound_are_counted() {
        let mut known = Known { sessions_max: 1, ..Known::new(1) };
        let round = known.round(Micros(1), listed(&[(7, "a:1"), (8, "b:1"), (7, "a:1")]), true);
        assert_eq!((round.sightings.len(), round.beyond, round.connected), (1, 1, 3));
    }
}
