//! Sessions: who they are, and when they are over.

use std::collections::BTreeMap;
use std::time::Duration;

use super::effect::{ConnectionId, Now};

pub(super) struct Session {
    pub timeout: Duration,
    /// When it is over unless something is heard of it.
    deadline: Duration,
    /// Absent while its client is disconnected.
    pub connection: Option<ConnectionId>,
}

#[derive(Default)]
pub(super) struct Sessions {
    open: BTreeMap<i64, Session>,
    /// Of the last one made.
    last_id: i64,
}

impl Sessions {
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Oldest first.
    pub fn ids(&self) -> impl Iterator<Item = i64> {
        self.open.keys().copied()
    }

    pub fn timeout(&self, id: i64) -> Option<Duration> {
        self.open.get(&id).map(|session| session.timeout)
    }

    pub fn get_mut(&mut self, id: i64) -> Option<&mut Session> {
        self.open.get_mut(&id)
    }

    /// A new session's id: the time in its middle, the server's id (1) in its highest byte, as real ones.
    pub fn open(&mut self, connection: ConnectionId, timeout: Duration, now: Now) -> i64 {
        let by_time = (((now.wall_ms << 24) as u64) >> 8) as i64 | (1 << 56);
        let id = by_time.max(self.last_id + 1);
        self.last_id = id;
        let deadline = now.running + timeout;
        self.open.insert(id, Session { timeout, deadline, connection: Some(connection) });
        id
    }

    /// Something was heard of it.
    pub fn touch(&mut self, id: i64, now: Now) {
        if let Some(session) = self.open.get_mut(&id) {
            session.deadline = now.running + session.timeout;
        }
    }

    pub fn close(&mut self, id: i64) {
        self.open.remove(&id);
    }

    /// Those of which nothing was heard for too long, longest first.
    pub fn overdue(&self, now: Now) -> Vec<i64> {
        let mut overdue: Vec<(Duration, i64)> = self
            .open
            .iter()
            .filter(|(_, session)| session.deadline <= now.running)
            .map(|(id, session)| (session.deadline, *id))
            .collect();
        overdue.sort_unstable();
        overdue.into_iter().map(|(_, id)| id).collect()
    }
}
