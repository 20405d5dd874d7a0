//! Which rows were heard as they happened, also when a log has completed them since.

use super::super::error::HistoryError;
use super::super::gaps::{Interval, intervals};
use super::super::view::View;

/// A connection's next word may take so long, and a row is read after its event.
const LATE_MAX_MICROS: i64 = 60_000_000;

/// The stretches in which a watch listened, of one incarnation.
///
/// A row that a log completed says `txnlog`, but keeps when it was heard of. It was heard live if a watch listened to its
/// zxid at that time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard {
    /// (from_zxid, to_zxid, from_time, to_time), by from_zxid.
    watched: Vec<(i64, i64, i64, i64)>,
}

impl Heard {
    pub(crate) fn of(view: &View, incarnation: i32) -> Result<Self, HistoryError> {
        Ok(Self::in_intervals(&intervals(view)?, incarnation))
    }

    pub(crate) fn in_intervals(intervals: &[Interval], incarnation: i32) -> Self {
        let own = |interval: &&Interval| {
            interval.incarnation == incarnation && interval.is_data() && interval.source == "watch"
        };
        let of = |interval: &Interval| (interval.from_zxid, interval.to_zxid, interval.from_time, interval.to_time);
        let mut watched: Vec<_> = intervals.iter().filter(own).map(of).collect();
        watched.sort_unstable();
        // One that goes on where the one before was rolled is one stretch with it: a list of a few.
        watched.dedup_by(|next, before| {
            let goes_on = next.0 <= before.1 && next.2 <= before.3;
            if goes_on {
                before.1 = before.1.max(next.1);
                before.3 = before.3.max(next.3);
            }
            goes_on
        });
        Self { watched }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.watched.is_empty()
    }

    /// Whether a watch heard this zxid at that time (µs, the agent's clock).
    pub(crate) fn is_live(&self, zxid: i64, observed_at: i64) -> bool {
        let until = self.watched.partition_point(|(from, ..)| *from < zxid);
        // The last transaction of an interval is in it as soon as an answer proved that all of it had come.
        self.watched.get(..until).unwrap_or_default().iter().rev().take(2).any(|(_, to, from_time, to_time)| {
            let times = from_time.saturating_sub(LATE_MAX_MICROS)..=to_time.saturating_add(LATE_MAX_MICROS);
            zxid <= to.saturating_add(1) && times.contains(&observed_at)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn live_is_what_a_watch_listened_to_at_the_time() {
        let interval = |(from_zxid, to_zxid): (i64, i64), (from, to): (i64, i64), source: &str| Interval {
            incarnation: 1,
            source: source.to_owned(),
            path: "/".to_owned(),
            aspect: "data".to_owned(),
            from_time: from * 1_000_000_000,
            to_time: to * 1_000_000_000,
            from_zxid,
            to_zxid,
            ended: None,
            missed_at_least: 0,
            seq: 1,
            open: false,
        };
        let all = [
            interval((10, 20), (1, 2), "watch"),
            interval((20, 30), (2, 3), "watch"),
            interval((50, 60), (9, 10), "watch"),
            interval((0, 100), (0, 20), "txnlog"),
        ];
        let heard = Heard::in_intervals(&all, 1);
        assert_eq!(heard.watched.len(), 2);
        let at = |zxid, seconds: i64| heard.is_live(zxid, seconds * 1_000_000);
        assert!(at(15, 1_500) && at(25, 2_500) && at(55, 9_500));
        assert!(!at(15, 9_500), "imported later");
        assert!(!at(40, 3_500) && !at(10, 1_000), "in a gap, or before the first look");
        assert!(Heard::in_intervals(&all, 2).is_empty());
    }
}
