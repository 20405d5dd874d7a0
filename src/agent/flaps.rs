use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};

use crate::zk::Micros;

/// An ephemeral that comes back later than this is not flapping.
pub const WINDOW: Micros = Micros(10 * 60 * 1_000_000);
/// Deleted ephemerals that are remembered; beyond that the oldest is forgotten, and its return not counted.
const DELETED_MAX: usize = 65_536;

/// What is known of a znode that was created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    Ephemeral,
    Other,
    /// It was gone before it was read.
    Unknown,
}

/// Tells which ephemerals come back soon after they went: a member that flaps. Names that never repeat, as the sequential
/// ones of locks and queues, never do.
#[derive(Debug, Default)]
pub struct Flaps {
    /// When an ephemeral was last deleted, by the hash of its path.
    deleted: HashMap<u64, Micros>,
    /// The same in the order of hearing. An entry that the map no longer holds with this time is void.
    order: VecDeque<(u64, Micros)>,
    hasher: RandomState,
}

impl Flaps {
    /// A znode was deleted, not before `time`. Where nothing tells that it was ephemeral, that counts for a path alone whose
    /// ephemeral is gone already: a life too short to be read.
    pub fn deleted(&mut self, path: &str, time: Micros, is_ephemeral: bool) {
        let hash = self.hasher.hash_one(path);
        if !is_ephemeral && !self.deleted.contains_key(&hash) {
            return;
        }
        self.deleted.insert(hash, time);
        self.order.push_back((hash, time));
        while let Some((oldest, at)) = self.order.front().copied() {
            let is_void = self.deleted.get(&oldest) != Some(&at);
            let is_over = at.0.saturating_add(WINDOW.0) < time.0;
            if !is_void && !is_over && self.order.len() <= DELETED_MAX {
                break;
            }
            self.order.pop_front();
            if !is_void {
                self.deleted.remove(&oldest);
            }
        }
    }

    /// A znode was created at `time`; true where an ephemeral was deleted at its path within [`WINDOW`] before. One of which
    /// nobody knows what it was is taken for what was there before.
    pub fn created(&mut self, path: &str, time: Micros, life: Life) -> bool {
        let hash = self.hasher.hash_one(path);
        let deleted = match life {
            Life::Unknown => self.deleted.get(&hash).copied(),
            Life::Ephemeral | Life::Other => self.deleted.remove(&hash),
        };
        // Deletions have the agent's time and creations the server's: one a little earlier is no contradiction.
        life != Life::Other && deleted.is_some_and(|deleted| time.0 <= deleted.0.saturating_add(WINDOW.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000_000;

    #[test]
    fn what_comes_back_within_ten_minutes_flaps_once_each_time() {
        let mut flaps = Flaps::default();
        assert!(!flaps.created("/a", Micros(0), Life::Ephemeral), "it was never there");
        flaps.deleted("/a", Micros(MINUTE), true);
        assert!(!flaps.created("/b", Micros(MINUTE), Life::Ephemeral));
        assert!(flaps.created("/a", Micros(11 * MINUTE), Life::Ephemeral));
        assert!(!flaps.created("/a", Micros(11 * MINUTE), Life::Ephemeral), "it was not deleted since");
        flaps.deleted("/a", Micros(12 * MINUTE), true);
        assert!(!flaps.created("/a", Micros(22 * MINUTE + 1), Life::Ephemeral));
        flaps.deleted("/a", Micros(30 * MINUTE), true);
        assert!(flaps.created("/a", Micros(30 * MINUTE - 5), Life::Ephemeral), "the clocks differ");
    }

    #[test]
    fn what_is_remembered_is_bounded_by_number_and_by_time() {
        let mut flaps = Flaps::default();
        for n in 0..=DELETED_MAX as i64 {
            flaps.deleted(&format!("/{n}"), Micros(n), true);
            assert!(flaps.deleted.len() <= DELETED_MAX && flaps.order.len() <= DELETED_MAX);
        }
        assert!(!flaps.created("/0", Micros(MINUTE), Life::Ephemeral), "the oldest was forgotten");
        assert!(flaps.created("/1", Micros(MINUTE), Life::Ephemeral));
        assert!(flaps.created(&format!("/{DELETED_MAX}"), Micros(MINUTE), Life::Ephemeral));
        flaps.deleted("/later", Micros(12 * MINUTE), true);
        assert_eq!((flaps.deleted.len(), flaps.order.len()), (1, 1));
        // One path that flaps without end takes no more than one entry each time, and no more than the bound.
        for n in 0..2 * DELETED_MAX as i64 {
            flaps.deleted("/same", Micros(12 * MINUTE + n), true);
            assert!(flaps.created("/same", Micros(12 * MINUTE + n), Life::Ephemeral));
        }
        assert!(flaps.deleted.len() <= 2 && flaps.order.len() <= DELETED_MAX);
    }

    #[test]
    fn a_path_that_went_twice_counts_from_its_last_end() {
        let mut flaps = Flaps::default();
        flaps.deleted("/a", Micros(0), true);
        flaps.deleted("/a", Micros(9 * MINUTE), true);
        flaps.deleted("/b", Micros(15 * MINUTE), true);
        assert!(flaps.created("/a", Micros(15 * MINUTE), Life::Ephemeral));
        assert!(flaps.created("/b", Micros(15 * MINUTE), Life::Ephemeral));
    }

    #[test]
    fn a_life_too_short_to_be_read_is_what_was_there_before() {
        let mut flaps = Flaps::default();
        assert!(!flaps.created("/a", Micros(0), Life::Unknown));
        flaps.deleted("/a", Micros(0), false);
        assert!(!flaps.created("/a", Micros(0), Life::Ephemeral), "nothing tells that the first was ephemeral");
        flaps.deleted("/a", Micros(0), true);
        for minute in [8, 16] {
            assert!(flaps.created("/a", Micros(minute * MINUTE), Life::Unknown));
            flaps.deleted("/a", Micros(minute * MINUTE), false);
        }
        assert!(!flaps.created("/a", Micros(17 * MINUTE), Life::Other), "now it is a persistent one");
        flaps.deleted("/a", Micros(17 * MINUTE), false);
        assert!(!flaps.created("/a", Micros(17 * MINUTE), Life::Unknown));
        assert!(flaps.deleted.is_empty());
    }
}
