//! What is remembered of the times in which nobody listened: epochs of the stream, and the arithmetic of a scan.

use std::collections::{HashMap, VecDeque};

use super::nodes::Id;
use crate::zk::{ScanReason, Zxid};

/// Older epochs share the bound of the oldest that was kept, or none: only a node that no scan could read stays so long.
const EPOCHS_MAX: usize = 4096;

/// Child changes of a parent that its cversion proves and no event told.
#[derive(Debug, Default)]
pub(super) struct Unexplained {
    pub changes: i64,
    /// The parent's pzxid, where there was exactly one and its zxid is therefore this.
    pub only: Option<Zxid>,
    /// The epoch of the Stat before: the change came after it.
    pub since: u32,
}

/// Events of an unverified node since it was last verified: of its known life, or of a later one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Unverified {
    pub children: i32,
    /// Sets whose rows went out without a version.
    pub sets: i32,
    /// The epoch of the last of these sets.
    pub epoch: u32,
    /// … and its zxid, where the event told it.
    pub told: Option<Zxid>,
}

/// An epoch is a time of unbroken listening. It ends with the connection; the next one begins at once, all nodes
/// unverified.
#[derive(Debug, Default)]
pub(super) struct Gap {
    epoch: u32,
    /// The greatest zxid heard when an epoch ended; the last is of the one before the present one.
    ends: VecDeque<Zxid>,
    /// Whether the present epoch has not seen its scan begin.
    before_scan: bool,
    scanned: bool,
    scan: Option<ScanReason>,
    /// Whether there is a first look, or a history, to compare with.
    founded: bool,
    pub(super) missed: i64,
    pub(super) needs_snapshot: bool,
    pub(super) unreadable: bool,
    pub(super) unexplained: HashMap<Id, Unexplained>,
    pub(super) unverified: HashMap<Id, Unverified>,
    acl_floors: HashMap<Id, Zxid>,
    /// Of a restored node the greatest position of its rows, where that lies after the end of what was complete.
    reached: HashMap<Id, Zxid>,
}

impl Gap {
    pub(super) fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The number of epochs that ended since one.
    pub(super) fn age(&self, epoch: u32) -> u32 {
        self.epoch.wrapping_sub(epoch)
    }

    pub(super) fn opens_after_restore(&mut self, high: Zxid) {
        self.founded = true;
        self.scanned = true;
        self.opens(high);
    }

    /// Ends the epoch.
    pub(super) fn opens(&mut self, high: Zxid) {
        self.epoch = self.epoch.wrapping_add(1);
        self.ends.push_back(high);
        if self.ends.len() > EPOCHS_MAX {
            self.ends.pop_front();
        }
        self.before_scan = true;
        self.scan = None;
    }

    pub(super) fn scan_starts(&mut self, reason: ScanReason, high: Zxid) {
        // A scan without a disconnect verifies anew, too. Only the very first one finds nothing to doubt.
        if self.scanned && !self.before_scan {
            self.opens(high);
        }
        self.scanned = true;
        self.before_scan = false;
        self.scan = Some(reason);
    }

    pub(super) fn scan(&self) -> Option<ScanReason> {
        self.scan
    }

    /// Whether no scan is under way, nor due.
    pub(super) fn listening(&self) -> bool {
        self.scanned && !self.before_scan && self.scan.is_none()
    }

    /// Whether a znode that the tree does not hold is only being met, not new.
    pub(super) fn founding(&self) -> bool {
        !self.founded
    }

    /// Ends the scan; returns its reason, what it proved lost, and whether a snapshot is needed.
    pub(super) fn scan_finishes(&mut self) -> Option<(ScanReason, i64, bool)> {
        let reason = self.scan.take()?;
        let unexplained: i64 = self.unexplained.drain().map(|(_, unexplained)| unexplained.changes.max(0)).sum();
        let missed = std::mem::take(&mut self.missed).saturating_add(unexplained);
        let needs_snapshot = std::mem::take(&mut self.needs_snapshot) || unexplained > 0 || !self.founded;
        self.founded = true;
        self.unreadable = false;
        Some((reason, missed, needs_snapshot))
    }

    /// A zxid that is known to precede the unseen end of a node that was verified last in `epoch`.
    pub(super) fn end_of(&self, epoch: u32) -> Option<Zxid> {
        // One of this epoch lived when the last one ended.
        let age = (self.age(epoch) as usize).max(1);
        self.ends.len().checked_sub(age).and_then(|at| self.ends.get(at)).copied()
    }

    /// Remembers the greatest zxid of the last Stat that showed the recorded ACL.
    pub(super) fn keep_acl_floor(&mut self, id: Id, zxid: Zxid) {
        self.acl_floors.entry(id).or_insert(zxid);
    }

    pub(super) fn take_acl_floor(&mut self, id: Id) -> Option<Zxid> {
        self.acl_floors.remove(&id)
    }

    /// Notes that rows of a restored node reach so far.
    pub(super) fn reach(&mut self, id: Id, position: Zxid) {
        self.reached.insert(id, position);
    }

    pub(super) fn reached(&self, id: Id) -> Zxid {
        self.reached.get(&id).copied().unwrap_or_default()
    }

    /// Forgets a node that was verified, or whose life ended; returns its unverified events.
    pub(super) fn verified(&mut self, id: Id) -> Unverified {
        self.reached.remove(&id);
        self.unverified.remove(&id).unwrap_or_default()
    }

    pub(super) fn forget(&mut self, id: Id) {
        self.unexplained.remove(&id);
        self.unverified.remove(&id);
        self.reached.remove(&id);
        self.acl_floors.remove(&id);
    }
}
