//! Events: what exists changes at once, the row waits for its answer.

use super::nodes::{Id, Pending, bit};
use super::{Effect, Tree};
use crate::zk::{ChangeKind, Event, EventKind, Evidence, Micros, Source, StatOutcome, Zxid};

impl Tree {
    pub(super) fn event(&mut self, event: Event, out: &mut Vec<Effect>) {
        if !self.nodes.holds(&event.path) {
            return;
        }
        let floor = self.high;
        let place = match event.kind {
            EventKind::Created => self.created(&event, floor, out),
            EventKind::DataChanged => self.data_changed(&event, floor),
            EventKind::Deleted => self.deleted(&event, floor, out),
        };
        self.high = self.high.max(event.zxid.unwrap_or_default());
        // Without a read to come there is nothing to wait for.
        if let Some((id, place)) = place
            && !event.read_follows
        {
            self.close(id, Some(place));
        }
    }

    fn created(&mut self, event: &Event, floor: Zxid, out: &mut Vec<Effect>) -> Option<(Id, u64)> {
        let id = self.nodes.find_or_make(&event.path)?;
        let node = self.nodes.get(id);
        if node.exists() {
            if self.repeats(event.zxid, node.czxid()) {
                return None;
            }
            self.remove_unseen(id, Unseen::ALL, None, event.heard_at, out);
        }
        // The removal may have taken the node with it, and it may have been a step that waited.
        let id = self.nodes.find_or_make(&event.path)?;
        self.close(id, None);
        self.gap.forget(id);
        self.nodes.begin(id, self.gap.epoch());
        let mut row = self.row(ChangeKind::Created, event.path.clone(), event.heard_at);
        row.zxid = event.zxid;
        row.czxid = event.zxid;
        row.version = Some(0);
        row.aversion = Some(0);
        let place = self.line.push_event(event.id, row, floor, event.read_follows);
        let mut stat = self.nodes.get(id).stat;
        let mut known = bit::CVERSION;
        if let Some(zxid) = event.zxid {
            (stat.czxid, stat.mzxid, stat.pzxid) = (zxid, zxid, zxid);
            known |= bit::CZXID | bit::MZXID | bit::PZXID;
        }
        self.nodes.set_stat(id, stat);
        let node = self.nodes.get_mut(id);
        node.set(known);
        node.pending.get_or_insert_default().created = Some(place);
        self.child_event(id, event.zxid, 1);
        Some((id, place))
    }

    fn data_changed(&mut self, event: &Event, floor: Zxid) -> Option<(Id, u64)> {
        let id = self.nodes.find_or_make(&event.path)?;
        let node = self.nodes.get(id);
        if node.has(bit::EXISTS | bit::MZXID)
            && node.pending.is_none()
            && self.repeats(event.zxid, Some(node.stat.mzxid))
        {
            return None;
        }
        let mut row = self.row(ChangeKind::DataChanged, event.path.clone(), event.heard_at);
        row.zxid = event.zxid;
        let place = self.line.push_event(event.id, row, floor, event.read_follows);
        self.nodes.get_mut(id).pending.get_or_insert_default().sets.push(place);
        Some((id, place))
    }

    fn deleted(&mut self, event: &Event, floor: Zxid, out: &mut Vec<Effect>) -> Option<(Id, u64)> {
        let held = self.nodes.find(&event.path);
        let mut row = self.row(ChangeKind::Deleted, event.path.clone(), event.heard_at);
        row.zxid = event.zxid;
        if let Some(id) = held {
            let node = self.nodes.get(id);
            if let (Some(zxid), Some(czxid)) = (event.zxid, node.czxid())
                && zxid < czxid
            {
                return None;
            }
            // An unverified life may have ended in the gap, and another one end now.
            if self.verified(id) {
                row.czxid = node.czxid();
                row.node_type = node.node_type;
                row.ephemeral_owner = node.stat.ephemeral_owner;
            }
            // A znode with children cannot be deleted: these ended in the gap.
            for child in node.children.clone() {
                self.remove_unseen(child, Unseen::ALL, None, event.heard_at, out);
            }
        }
        // The children's end may have pruned a mere step.
        let held = self.nodes.find(&event.path);
        let parent = held.and_then(|id| self.nodes.parent(id)).or_else(|| {
            // Not held, but its parent may be; or it is new since the gap, and counts this.
            let parent = crate::zk::parent(&event.path)?;
            if self.gap.listening() { self.nodes.find(parent) } else { self.nodes.find_or_make(parent) }
        });
        if let Some(id) = held {
            self.close(id, None);
        }
        let place = self.line.push_event(event.id, row, floor, event.read_follows);
        if let Some(parent) = parent {
            self.child_event_of(parent, event.zxid, -1);
        }
        if let Some(zxid) = event.zxid {
            self.line.settle(place, zxid, |row| row.evidence = Evidence::Exact);
        } else if !event.read_follows {
            self.line.settle(place, floor, |row| row.evidence = Evidence::Inferred);
        } else if let Some(parent) = parent.filter(|parent| self.nodes.get(*parent).exists()) {
            self.deletions.insert(parent, place);
        }
        if let Some(id) = held {
            self.end(id, out);
        }
        None
    }

    /// Whether an event's zxid says that it was recorded already: at `recorded`, or before it.
    fn repeats(&self, zxid: Option<Zxid>, recorded: Option<Zxid>) -> bool {
        matches!((zxid, recorded), (Some(zxid), Some(recorded)) if zxid <= recorded)
    }

    /// Ends a znode's life and removes it, with what waits for it.
    pub(super) fn end(&mut self, id: Id, out: &mut Vec<Effect>) {
        if self.nodes.get(id).has(bit::UNREADABLE) {
            self.nodes.get_mut(id).clear(bit::UNREADABLE);
            out.push(Effect::Readable(self.nodes.path(id)));
        }
        self.end_life(id);
        self.nodes.prune(id, |id| self.gap.forget(id));
    }

    /// Forgets what was known of a node's life.
    pub(super) fn end_life(&mut self, id: Id) {
        if let Some(place) = self.deletions.remove(&id) {
            self.settle_deletion(place, None);
        }
        self.gap.forget(id);
        self.nodes.end(id);
    }

    fn child_event(&mut self, id: Id, zxid: Option<Zxid>, children: i32) {
        if let Some(parent) = self.nodes.parent(id) {
            self.child_event_of(parent, zxid, children);
        }
    }

    /// A child was created or deleted: the parent's cversion, pzxid and number of children move.
    fn child_event_of(&mut self, parent: Id, zxid: Option<Zxid>, children: i32) {
        if let Some(place) = self.deletions.remove(&parent) {
            self.settle_deletion(place, None);
        }
        self.count_child_change(parent, children);
        let node = self.nodes.get_mut(parent);
        match zxid {
            Some(zxid) => node.stat.pzxid = zxid,
            None => node.clear(bit::PZXID),
        }
    }

    /// A row told of a child's creation or deletion that no event did.
    pub(super) fn child_inferred(&mut self, id: Id, children: i32) {
        let Some(parent) = self.nodes.parent(id) else { return };
        if self.verified(parent) {
            // The parent's Stat shows it already.
            if let Some(unexplained) = self.gap.unexplained.get_mut(&parent) {
                unexplained.changes -= 1;
            }
            return;
        }
        self.count_child_change(parent, children);
        self.nodes.get_mut(parent).clear(bit::PZXID);
    }

    fn count_child_change(&mut self, parent: Id, children: i32) {
        if !self.verified(parent) {
            let unverified = self.gap.unverified.entry(parent).or_default();
            unverified.children = unverified.children.wrapping_add(1);
        }
        let node = self.nodes.get_mut(parent);
        if !node.exists() {
            node.set(bit::HEARD_OF);
        }
        node.stat.cversion = node.stat.cversion.wrapping_add(1);
        node.stat.num_children = node.stat.num_children.wrapping_add(children);
    }

    /// Takes the answer to an exists: of a deleted znode's parent.
    pub(super) fn exists(&mut self, path: &str, event: Option<u64>, outcome: StatOutcome) {
        let place = event.and_then(|event| self.line.answered(event));
        if let StatOutcome::Found(stat) = outcome {
            self.high = self.high.max(stat.newest_zxid());
            if let Some(id) = self.nodes.find(path) {
                self.place_deletion(id, stat.czxid, stat.cversion, stat.pzxid);
            }
        }
        if let Some(place) = place {
            if let Some(parent) = self.nodes.find(path)
                && self.deletions.get(&parent) == Some(&place)
            {
                self.deletions.remove(&parent);
            }
            self.settle_deletion(place, None);
        }
    }

    /// A parent's Stat at its place: its last child event, if that is a deletion without a zxid, has its pzxid.
    ///
    /// Only where the cversion shows no child change but those heard of: children that the session may not read change
    /// without events.
    pub(super) fn place_deletion(&mut self, parent: Id, czxid: Zxid, cversion: i32, pzxid: Zxid) {
        let node = self.nodes.get(parent);
        let same_life = node.czxid().is_none_or(|known| known == czxid);
        if !self.verified(parent) || !same_life || !node.has(bit::CVERSION) || node.stat.cversion != cversion {
            return;
        }
        if let Some(place) = self.deletions.remove(&parent) {
            self.settle_deletion(place, Some(pzxid));
        }
        let node = self.nodes.get_mut(parent);
        node.stat.pzxid = pzxid;
        node.set(bit::PZXID);
    }

    fn settle_deletion(&mut self, place: u64, zxid: Option<Zxid>) {
        self.line.settle(place, Zxid::default(), |row| {
            row.zxid = row.zxid.or(zxid);
            row.evidence = if row.zxid.is_some() { Evidence::Exact } else { Evidence::Inferred };
        });
    }

    /// Settles what is pending of a node, up to a place or all of it, without an answer: certain, the value overtaken.
    pub(super) fn close(&mut self, id: Id, up_to: Option<u64>) {
        let Some(mut pending) = self.nodes.get_mut(id).pending.take() else { return };
        let within = |place: u64| up_to.is_none_or(|last| place <= last);
        let verified = self.verified(id);
        let czxid = self.nodes.get(id).czxid().filter(|_| verified);
        let floor = czxid.unwrap_or_default();
        let (node_type, owner) = {
            let node = self.nodes.get(id);
            if verified { (node.node_type, node.stat.ephemeral_owner) } else { (None, 0) }
        };
        let mut stat = self.nodes.get(id).stat;
        let mut known = self.nodes.get(id).bits;
        let mut last_zxid = None;
        let mut closed = false;
        if let Some(place) = pending.created.filter(|place| within(*place)) {
            pending.created = None;
            last_zxid = self.line.zxid(place);
            self.line.settle(place, floor, |_| {});
            stat.version = 0;
            known |= bit::VERSION;
            closed = true;
        }
        let taken = pending.sets.partition_point(|place| within(*place));
        for place in pending.sets.drain(..taken) {
            last_zxid = self.line.zxid(place);
            // The reconfigurations' version stays -1.
            stat.version = if self.is_config(id) { -1 } else { stat.version.wrapping_add(1) };
            let version = (verified && known & bit::VERSION != 0).then_some(stat.version);
            self.line.settle(place, floor, |row| {
                row.version = version;
                row.czxid = czxid;
                row.node_type = node_type;
                row.ephemeral_owner = owner;
            });
            closed = true;
        }
        if !verified && taken > 0 {
            let epoch = self.gap.epoch();
            let unverified = self.gap.unverified.entry(id).or_default();
            unverified.sets = unverified.sets.saturating_add(taken as i32);
            unverified.epoch = epoch;
            unverified.told = last_zxid;
            if known & bit::EXISTS == 0 {
                known |= bit::HEARD_OF;
            }
        }
        let node = self.nodes.get_mut(id);
        if closed {
            node.stat.version = stat.version;
            node.bits = known & !(bit::VALUE | bit::MZXID);
            if let Some(zxid) = last_zxid {
                node.stat.mzxid = zxid;
                node.set(bit::MZXID | bit::TOLD);
            }
        }
        if !pending.is_empty() {
            node.pending = Some(pending);
        }
    }

    /// Takes rows out that the answer to their own read proves to be repeats: it shows none of their sets.
    pub(super) fn drop_repeats(&mut self, id: Id, up_to: u64) {
        let Some(mut pending) = self.nodes.get_mut(id).pending.take() else { return };
        let taken = pending.sets.partition_point(|place| *place <= up_to);
        for place in pending.sets.drain(..taken) {
            self.line.drop_repeat(place);
        }
        if !pending.is_empty() {
            self.nodes.get_mut(id).pending = Some(pending);
        }
    }

    /// Ends a node's unseen life, and those below it: rows for what existed, children before parents.
    ///
    /// What has pending events stays as a step, unless all of it is gone.
    pub(super) fn remove_unseen(
        &mut self,
        id: Id,
        which: Unseen,
        zxid: Option<Zxid>,
        heard_at: Micros,
        out: &mut Vec<Effect>,
    ) {
        // A loop of its own instead of recursion: a tree may be as deep as a path is long.
        let mut way = vec![(id, self.nodes.get(id).children.clone())];
        while let Some((at, children)) = way.last_mut() {
            if let Some(child) = children.pop() {
                way.push((child, self.nodes.get(child).children.clone()));
                continue;
            }
            let at = *at;
            way.pop();
            self.remove_one(at, which, if at == id { zxid } else { None }, heard_at, out);
        }
    }

    fn remove_one(&mut self, id: Id, which: Unseen, zxid: Option<Zxid>, heard_at: Micros, out: &mut Vec<Effect>) {
        let node = self.nodes.get(id);
        let age = self.gap.age(node.epoch);
        if node.exists() && (age < which.age_min || node.czxid() >= which.before && which.before.is_some()) {
            return;
        }
        let force = which.age_min == 0;
        if !node.exists() && which.before.is_some() {
            // A step of which events told since: it may be of the later life.
            self.nodes.prune(id, |id| self.gap.forget(id));
            return;
        }
        if force {
            self.close(id, None);
        }
        // A row told of its sets: it existed, though nothing else is known of it.
        let told_of = self.gap.unverified.get(&id).is_some_and(|unverified| unverified.sets > 0);
        if self.nodes.get(id).exists() || told_of {
            // It may be a later life that ended, and after those sets.
            let later = self.gap.unverified.get(&id).filter(|_| told_of).map(|unverified| unverified.epoch);
            self.push_unseen_end(id, later, zxid, heard_at);
        }
        if force || self.nodes.get(id).pending.is_none() {
            self.end(id, out);
        } else {
            // Its pending events are of a later life, which an answer will tell of.
            self.end_life(id);
        }
    }

    /// The row of a znode's end that no event told, and its parent's part in it.
    ///
    /// It is the life that the tree holds, or with `later` the one that lived in that epoch, whichever it was.
    pub(super) fn push_unseen_end(&mut self, id: Id, later: Option<u32>, zxid: Option<Zxid>, heard_at: Micros) {
        let node = self.nodes.get(id);
        let mut row = self.row(ChangeKind::Deleted, self.nodes.path(id), heard_at);
        let end = self.gap.end_of(later.unwrap_or(node.epoch)).unwrap_or_default();
        row.zxid = zxid;
        row.position = zxid.unwrap_or(end.max(node.shown_zxid()).max(self.gap.reached(id)));
        if later.is_none() {
            row.czxid = node.czxid();
            row.node_type = node.node_type;
            row.ephemeral_owner = node.stat.ephemeral_owner;
        }
        row.evidence = Evidence::Inferred;
        row.source = Source::Rescan;
        self.line.push_change(row);
        self.child_inferred(id, -1);
    }
}

/// Which of the znodes below one that is gone are gone with it.
#[derive(Clone, Copy)]
pub(super) struct Unseen {
    /// The number of epochs since they were verified, at least; 0 means all.
    pub age_min: u32,
    /// Only those created before it, as far as known.
    pub before: Option<Zxid>,
}

impl Unseen {
    pub(super) const ALL: Self = Self { age_min: 0, before: None };
    /// Those that no answer of this connection confirmed.
    pub(super) const UNVERIFIED: Self = Self { age_min: 1, before: None };
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.created.is_none() && self.sets.is_empty()
    }
}
