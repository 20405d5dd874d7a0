//! Scans: what the whole scope's state tells about the time in which nobody listened.

use super::event::Unseen;
use super::nodes::{Id, bit};
use super::{Effect, Tree};
use crate::zk::{ChildrenOutcome, Micros, ScanReason};

impl Tree {
    pub(super) fn scan_started(&mut self, reason: ScanReason) {
        self.gap.scan_starts(reason, self.high);
        self.line.scan_starts();
    }

    /// Compares a listing with the children that the tree holds at this place.
    ///
    /// Children that are listed but not held are met by their own reads.
    pub(super) fn listing(&mut self, path: &str, heard_at: Micros, outcome: ChildrenOutcome, out: &mut Vec<Effect>) {
        let mut names = match outcome {
            ChildrenOutcome::Found(names) => names,
            ChildrenOutcome::NoNode => return self.gone(path, heard_at, out),
            ChildrenOutcome::NoAuth | ChildrenOutcome::Failed => return self.unreadable(path, out),
        };
        let Some(id) = self.nodes.find(path) else { return };
        names.sort_unstable();
        let is_listed = |child: &Id| names.binary_search_by(|name| (**name).cmp(&self.nodes.get(*child).name)).is_ok();
        let absent: Vec<Id> = self.nodes.get(id).children.iter().filter(|child| !is_listed(child)).copied().collect();
        self.children_ended(id, absent, heard_at, out);
    }

    /// An answer shows that these children of a znode are no more.
    pub(super) fn children_ended(&mut self, id: Id, absent: Vec<Id>, heard_at: Micros, out: &mut Vec<Effect>) {
        let ended = absent.iter().filter(|child| self.nodes.get(**child).exists()).count();
        // The parent's cversion moved by one, this is the one, so its zxid is the parent's pzxid.
        let unexplained = self.gap.unexplained.get(&id).filter(|it| it.changes == 1 && ended == 1);
        let only = unexplained.and_then(|it| Some((it.only?, self.gap.age(it.since))));
        for child in absent {
            if self.verified(child) {
                self.ask_again(child, out);
            } else {
                // One that was last seen before the parent's earlier Stat may have ended before it.
                let age = self.gap.age(self.nodes.get(child).epoch);
                let zxid = only.filter(|(_, since)| age <= *since).map(|(zxid, _)| zxid);
                self.remove_unseen(child, Unseen::UNVERIFIED, zxid, heard_at, out);
            }
        }
    }

    /// A scan, or a read asked for again, finds no znode at a path.
    pub(super) fn gone(&mut self, path: &str, heard_at: Micros, out: &mut Vec<Effect>) {
        let Some(id) = self.nodes.find(path) else { return };
        let node = self.nodes.get(id);
        if self.verified(id) && !node.has(bit::REREAD_ASKED) {
            self.ask_again(id, out);
        } else if node.exists() || node.pending.is_none() {
            self.remove_unseen(id, Unseen::ALL, None, heard_at, out);
        }
    }

    /// A path cannot be read: its coverage ends, what is known of it stays.
    pub(super) fn unreadable(&mut self, path: &str, out: &mut Vec<Effect>) {
        let Some(id) = self.nodes.find_or_make(path) else { return };
        self.gap.unreadable = true;
        if !self.nodes.get(id).has(bit::UNREADABLE) {
            self.nodes.get_mut(id).set(bit::UNREADABLE);
            out.push(Effect::Unreadable(path.into()));
        }
    }

    pub(super) fn scan_finished(&mut self, out: &mut Vec<Effect>) {
        if self.gap.scan().is_none() {
            return;
        }
        if self.gap.unreadable {
            // What lies below an unreadable znode was not reached.
            let missed: Vec<Id> =
                self.nodes.ids().filter(|id| self.nodes.get(*id).exists() && !self.verified(*id)).collect();
            for id in missed {
                if !self.nodes.get(id).has(bit::UNREADABLE) {
                    self.nodes.get_mut(id).set(bit::UNREADABLE);
                    out.push(Effect::Unreadable(self.nodes.path(id)));
                }
            }
        }
        // Steps that were heard of and not met are no more.
        for id in self.gap.unverified.keys().copied().collect::<Vec<_>>() {
            if !self.nodes.get(id).exists() {
                self.nodes.get_mut(id).clear(bit::HEARD_OF);
                self.nodes.prune(id, |id| self.gap.forget(id));
            }
        }
        if let Some((reason, missed_at_least, needs_snapshot)) = self.gap.scan_finishes() {
            let greatest_zxid = self.high;
            self.line.push_effect(Effect::ScanFinished { reason, missed_at_least, needs_snapshot, greatest_zxid });
        }
    }

    /// Ends the epoch: everything pending goes out with what is known.
    pub(super) fn disconnected(&mut self) {
        let waiting: Vec<Id> = self.nodes.ids().filter(|id| self.nodes.get(*id).pending.is_some()).collect();
        for id in waiting {
            self.close(id, None);
            self.nodes.prune(id, |id| self.gap.forget(id));
        }
        self.deletions.clear();
        self.line.no_more_answers();
        self.gap.opens(self.high);
    }
}
