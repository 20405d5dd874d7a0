//! The line in which rows wait: they leave in the order of their events, each when it is settled.
//!
//! Events come in the order of commits. So the zxid of a row whose own zxid nobody tells lies between those of its
//! neighbours; where these are equal (one transaction) it is known after all. A row without a zxid therefore stays until
//! its own read was answered and every event that came before that answer is settled or one of them has a zxid: the
//! whole of its transaction has been heard by then, and its position can never sort it behind a later change.

use std::collections::{HashMap, VecDeque};

use super::Effect;
use crate::zk::{Change, ChangeKind, Evidence, Zxid};

#[derive(Debug)]
struct Row {
    change: Change,
    /// The greatest zxid known to precede it, not counting the rows before it.
    floor: Zxid,
    settled: bool,
    /// After its own read's answer: the place behind the last row that may be of the same transaction.
    waits_for: Option<u64>,
}

#[derive(Debug)]
enum Slot {
    /// A row that came of an event.
    Event(Box<Row>),
    /// Anything settled from the start: its position is set.
    Ready(Box<Effect>),
    /// A repeat of what is on record.
    Dropped,
}

#[derive(Debug, Default)]
pub(super) struct Line {
    slots: VecDeque<Slot>,
    /// The place of the first slot.
    first: u64,
    /// Every event's row before this place is settled, without a zxid.
    looked: u64,
    /// (event, place) in rising order of both.
    events: VecDeque<(u64, u64)>,
    /// The greatest zxid of an event's row that left.
    left: Zxid,
    ordinals: Ordinals,
}

impl Line {
    /// The number of rows and effects that have not left.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Adds the row of an event; returns its place.
    pub(super) fn push_event(&mut self, event: u64, change: Change, floor: Zxid, read_follows: bool) -> u64 {
        let place = self.end();
        self.events.push_back((event, place));
        let waits_for = (!read_follows).then_some(place);
        self.slots.push_back(Slot::Event(Box::new(Row { change, floor, settled: false, waits_for })));
        place
    }

    /// Adds a row that no event told, with its position set.
    pub(super) fn push_change(&mut self, change: Change) {
        self.push_effect(Effect::Change(change));
    }

    /// Adds an effect that must not overtake the rows before it.
    pub(super) fn push_effect(&mut self, effect: Effect) {
        self.slots.push_back(Slot::Ready(Box::new(effect)));
    }

    /// Notes that the read of an event was answered; returns its row's place where it is not settled yet.
    pub(super) fn answered(&mut self, event: u64) -> Option<u64> {
        let at = self.events.binary_search_by_key(&event, |(event, _)| *event).ok()?;
        let place = self.events[at].1;
        let end = self.end();
        let row = self.row_mut(place)?;
        row.waits_for = Some(end);
        (!row.settled).then_some(place)
    }

    /// Whether the row at a place is still unsettled.
    pub(super) fn waits(&self, place: u64) -> bool {
        matches!(self.slot(place), Some(Slot::Event(row)) if !row.settled)
    }

    /// The zxid that the event at a place carried, and the floor of its row.
    pub(super) fn zxid(&self, place: u64) -> Option<Zxid> {
        match self.slot(place) {
            Some(Slot::Event(row)) => row.change.zxid,
            _ => None,
        }
    }

    pub(super) fn floor(&self, place: u64) -> Zxid {
        match self.slot(place) {
            Some(Slot::Event(row)) => row.floor,
            _ => Zxid::default(),
        }
    }

    /// Settles a row: `fill` completes it, `floor` is a zxid that is now known to precede it.
    pub(super) fn settle(&mut self, place: u64, floor: Zxid, fill: impl FnOnce(&mut Change)) {
        let Some(row) = self.row_mut(place) else { return };
        if row.settled {
            return;
        }
        row.floor = row.floor.max(floor);
        row.settled = true;
        fill(&mut row.change);
    }

    /// Takes a row out of the line: what its event told is on record already.
    pub(super) fn drop_repeat(&mut self, place: u64) {
        if !self.waits(place) {
            return;
        }
        if let Some(at) = place.checked_sub(self.first)
            && let Some(slot) = self.slots.get_mut(at as usize)
        {
            *slot = Slot::Dropped;
        }
    }

    /// Notes that no read will be answered any more: what is unsettled yet is certain, its place only bounded.
    pub(super) fn no_more_answers(&mut self) {
        for slot in &mut self.slots {
            if let Slot::Event(row) = slot {
                row.waits_for = Some(0);
                if !row.settled {
                    row.settled = true;
                    row.change.evidence = Evidence::Inferred;
                }
            }
        }
    }

    /// From here until the next `ScanFinished` leaves, rows may come in any order of zxids.
    pub(super) fn scan_starts(&mut self) {
        self.ordinals.any_order = true;
    }

    /// Lets every row go that can.
    pub(super) fn drain(&mut self, out: &mut Vec<Effect>) {
        loop {
            let next = self.look();
            let mut moved = false;
            while self.first < self.looked && self.front_may_go(next) {
                self.emit_front(next, out);
                moved = true;
            }
            if self.first == self.looked && next.is_some() {
                self.emit_front(next, out);
                self.looked = self.first;
                moved = true;
            }
            if !moved {
                break;
            }
        }
        while self.events.front().is_some_and(|(_, place)| *place < self.first) {
            self.events.pop_front();
        }
    }

    /// Goes on to the first event's row that is unsettled or has a zxid; returns that zxid.
    fn look(&mut self) -> Option<Zxid> {
        loop {
            match self.slot(self.looked)? {
                Slot::Event(row) if !row.settled => return None,
                Slot::Event(row) if row.change.zxid.is_some() => return row.change.zxid,
                _ => self.looked += 1,
            }
        }
    }

    fn front_may_go(&self, next: Option<Zxid>) -> bool {
        match self.slots.front() {
            Some(Slot::Event(row)) => next.is_some() || row.waits_for.is_some_and(|place| place <= self.looked),
            Some(_) => true,
            None => false,
        }
    }

    fn emit_front(&mut self, next: Option<Zxid>, out: &mut Vec<Effect>) {
        let Some(slot) = self.slots.pop_front() else { return };
        self.first += 1;
        match slot {
            Slot::Event(row) => {
                let Row { mut change, floor, .. } = *row;
                self.place(&mut change, floor.max(self.left), next);
                out.push(Effect::Change(change));
            }
            Slot::Ready(effect) => {
                let mut effect = *effect;
                match &mut effect {
                    Effect::Change(change) => change.ordinal = self.ordinals.next(change.zxid),
                    Effect::ScanFinished { .. } => self.ordinals.any_order = false,
                    _ => {}
                }
                out.push(effect);
            }
            Slot::Dropped => {}
        }
    }

    /// Gives an event's row its position and ordinal. `least` is a zxid that it cannot be before.
    fn place(&mut self, change: &mut Change, least: Zxid, next: Option<Zxid>) {
        if change.zxid.is_none() && next == Some(least) {
            change.zxid = next;
            match change.kind {
                ChangeKind::Deleted => change.evidence = Evidence::Exact,
                ChangeKind::Created => change.czxid = next,
                ChangeKind::DataChanged | ChangeKind::AclChanged => {}
            }
        }
        change.position = change.zxid.unwrap_or(least);
        change.ordinal = self.ordinals.next(change.zxid);
        self.left = self.left.max(change.zxid.unwrap_or_default());
    }

    fn end(&self) -> u64 {
        self.first + self.slots.len() as u64
    }

    fn slot(&self, place: u64) -> Option<&Slot> {
        self.slots.get(place.checked_sub(self.first)? as usize)
    }

    fn row_mut(&mut self, place: u64) -> Option<&mut Row> {
        match self.slots.get_mut(place.checked_sub(self.first)? as usize)? {
            Slot::Event(row) => Some(row),
            _ => None,
        }
    }
}

/// Counts the rows of each zxid. Rows come in rising order of zxids, but in a scan: there all counts are kept.
#[derive(Debug, Default)]
struct Ordinals {
    counts: HashMap<Zxid, i32>,
    newest: Zxid,
    any_order: bool,
}

impl Ordinals {
    fn next(&mut self, zxid: Option<Zxid>) -> i32 {
        let Some(zxid) = zxid else { return 0 };
        if zxid > self.newest {
            self.newest = zxid;
            if !self.any_order {
                // Emptying a map costs its capacity: leave a scan's big one behind.
                self.counts = HashMap::new();
            }
        }
        let count = self.counts.entry(zxid).or_insert(0);
        let ordinal = *count;
        *count = count.saturating_add(1);
        ordinal
    }
}
