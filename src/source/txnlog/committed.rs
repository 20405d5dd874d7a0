//! Which records of several servers' logs never were committed.
//!
//! A log holds proposals before they are committed. When a leader falls, the end of its epoch may have reached few
//! servers; the next leader's log decides what of it was committed. Servers that had more cut it off, but for those that
//! were given a snapshot instead, and those that never came back: their logs still hold what never happened.
//!
//! A server that has the first record of an epoch took part from its beginning, and was brought in step with its leader
//! before: what it has before that record is what the leader had. It may have less, where it was given a snapshot (which
//! then lies beside the log) or had to cut; it cannot have more. So the longest of them tells.

use std::ops::RangeInclusive;

use crate::zk::Zxid;

/// What one server's files show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Testimony {
    /// First and last record of each epoch, ascending.
    pub epochs: Vec<RangeInclusive<Zxid>>,
    pub snapshots: Vec<Zxid>,
}

impl Testimony {
    /// Takes in the next record of the log. One that repeats earlier ones tells nothing.
    pub(super) fn saw(&mut self, zxid: Zxid) {
        match self.epochs.last_mut() {
            Some(range) if *range.end() >= zxid => {}
            Some(range) if range.end().epoch() == zxid.epoch() => *range = *range.start()..=zxid,
            _ => self.epochs.push(zxid..=zxid),
        }
    }

    fn first_of(&self, epoch: i32) -> Option<Zxid> {
        self.epochs.iter().find(|range| range.start().epoch() == epoch).map(|range| *range.start())
    }

    /// The last thing that this server shows before an epoch.
    fn before(&self, epoch: i32) -> Option<Zxid> {
        let logged = self.epochs.iter().map(|range| *range.end()).filter(|zxid| zxid.epoch() < epoch).max();
        let snapshot = self.snapshots.iter().copied().filter(|zxid| zxid.epoch() < epoch).max();
        logged.max(snapshot)
    }

    fn last(&self) -> Option<Zxid> {
        self.epochs.last().map(|range| *range.end())
    }
}

/// The stretches of zxids that no committed transaction is in, ascending. Of the last epoch nothing is said: there is no
/// later leader yet that decided.
pub(super) fn uncommitted(servers: &[Testimony]) -> Vec<RangeInclusive<Zxid>> {
    let mut epochs: Vec<i32> =
        servers.iter().flat_map(|server| &server.epochs).map(|range| range.start().epoch()).collect();
    epochs.sort_unstable();
    epochs.dedup();
    let mut dropped = Vec::new();
    while let Some(epoch) = epochs.pop() {
        let Some(end) = end_before(epoch, servers) else { continue };
        let next = Zxid(i64::from(epoch) << 32);
        if end.0 + 1 < next.0 {
            dropped.push(Zxid(end.0 + 1)..=Zxid(next.0 - 1));
        }
        // An epoch of which nothing was committed decides nothing.
        epochs.retain(|epoch| *epoch <= end.epoch());
    }
    dropped.reverse();
    dropped
}

/// The last committed transaction before an epoch, as far as anybody can tell.
fn end_before(epoch: i32, servers: &[Testimony]) -> Option<Zxid> {
    let there_at_its_beginning =
        servers.iter().filter(|server| server.first_of(epoch).is_some_and(|zxid| zxid.counter() == 1));
    match there_at_its_beginning.filter_map(|server| server.before(epoch)).max() {
        Some(end) => Some(end),
        // Its beginning is lost. Who got furthest is most likely to have been in step.
        None => servers
            .iter()
            .filter(|server| server.first_of(epoch).is_some() && server.before(epoch).is_some())
            .max_by_key(|server| server.last())
            .and_then(|server| server.before(epoch)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zxid(epoch: i64, counter: i64) -> Zxid {
        Zxid(epoch << 32 | counter)
    }

    fn server(epochs: &[(i64, i64, i64)], snapshots: &[Zxid]) -> Testimony {
        let epochs = epochs.iter().map(|(epoch, first, last)| zxid(*epoch, *first)..=zxid(*epoch, *last)).collect();
        Testimony { epochs, snapshots: snapshots.to_vec() }
    }

    fn is_dropped(servers: &[Testimony], zxid: Zxid) -> bool {
        uncommitted(servers).iter().any(|range| range.contains(&zxid))
    }

    #[test]
    fn a_fallen_leaders_tail_is_dropped() {
        let servers = [
            server(&[(1, 1, 105)], &[]),
            server(&[(1, 1, 100), (2, 1, 9)], &[]),
            server(&[(1, 1, 98), (2, 1, 9)], &[]),
        ];
        assert!(!is_dropped(&servers, zxid(1, 100)));
        assert!(is_dropped(&servers, zxid(1, 101)));
        assert!(is_dropped(&servers, zxid(1, 105)));
        assert!(!is_dropped(&servers, zxid(2, 1)));
        assert!(!is_dropped(&servers, zxid(2, 10)));
    }

    #[test]
    fn a_tail_under_a_later_snapshot_is_dropped() {
        // It came back in the middle of the epoch, was given a snapshot, and went on.
        let servers =
            [server(&[(1, 1, 105), (2, 700, 900)], &[zxid(2, 699)]), server(&[(1, 1, 100), (2, 1, 900)], &[])];
        assert!(is_dropped(&servers, zxid(1, 101)));
        assert!(!is_dropped(&servers, zxid(1, 100)));
    }

    #[test]
    fn who_was_given_a_snapshot_decides_nothing() {
        let servers = [server(&[(1, 1, 50), (2, 1, 9)], &[zxid(1, 100)]), server(&[(1, 1, 103)], &[])];
        assert!(!is_dropped(&servers, zxid(1, 100)));
        assert!(is_dropped(&servers, zxid(1, 101)));
    }

    #[test]
    fn an_epoch_that_nobody_followed_is_dropped_whole() {
        let servers = [
            server(&[(1, 1, 100), (2, 1, 3), (3, 40, 50)], &[]),
            server(&[(1, 1, 102), (3, 1, 50)], &[]),
            server(&[(1, 1, 101), (3, 1, 50)], &[]),
        ];
        assert!(!is_dropped(&servers, zxid(1, 102)));
        assert!(is_dropped(&servers, zxid(2, 1)));
        assert!(!is_dropped(&servers, zxid(3, 1)));
    }

    #[test]
    fn one_epoch_or_no_earlier_record_decides_nothing() {
        assert_eq!(uncommitted(&[server(&[(0, 1, 5)], &[]), server(&[(0, 1, 9)], &[])]), []);
        assert_eq!(uncommitted(&[server(&[(3, 1, 5)], &[]), server(&[(2, 7, 9)], &[])]), []);
        assert_eq!(uncommitted(&[]), []);
    }

    #[test]
    fn where_a_beginning_is_lost_the_furthest_tells() {
        let servers = [server(&[(1, 1, 105), (2, 50, 60)], &[]), server(&[(1, 1, 100), (2, 30, 90)], &[])];
        assert!(is_dropped(&servers, zxid(1, 101)));
    }
}
