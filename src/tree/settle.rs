//! Answers to getData: what they prove about the events before them.

use bytes::Bytes;

use super::event::Unseen;
use super::gap::Unverified;
use super::nodes::{Id, Pending, bit};
use super::{Effect, Tree};
use crate::zk::{Change, ChangeKind, Evidence, Micros, NodeType, ReadOutcome, Source, Stat, TimeSource, Zxid};

/// A znode's state as one answer shows it.
pub(super) struct Shown {
    pub stat: Stat,
    pub data: Bytes,
    pub heard_at: Micros,
    /// Of an event's own read; else of a scan, or asked for again.
    pub of_event: bool,
}

/// What was known of a znode before the events that wait for an answer.
struct Before {
    /// `None` where it was never known.
    version: Option<i32>,
    /// What went out unverified.
    seen: Unverified,
}

/// What an answer says of the life that the tree holds at its path.
enum Life {
    Same,
    /// The known life ended unseen; another one is there.
    Another,
    /// The answer is older than what is known.
    Older,
}

impl Tree {
    pub(super) fn read(
        &mut self,
        path: &str,
        event: Option<u64>,
        heard_at: Micros,
        outcome: ReadOutcome,
        out: &mut Vec<Effect>,
    ) {
        if !self.nodes.holds(path) {
            return;
        }
        // The row of the event, where only this answer can settle it.
        let own = event.and_then(|event| self.line.answered(event));
        match outcome {
            ReadOutcome::Found { stat, data } => {
                self.high = self.high.max(stat.newest_zxid());
                self.found(path, event, Shown { stat, data, heard_at, of_event: event.is_some() }, out);
            }
            ReadOutcome::NoNode if event.is_some() => {
                if let Some(id) = self.nodes.find(path).filter(|id| self.nodes.get(*id).exists()) {
                    self.ask_again(id, out);
                }
            }
            ReadOutcome::NoNode => self.gone(path, heard_at, out),
            ReadOutcome::NoAuth | ReadOutcome::Failed => self.unreadable(path, out),
        }
        let Some(place) = own.filter(|place| self.line.waits(*place)) else { return };
        if let Some(id) = self.nodes.find(path) {
            self.close(id, Some(place));
            self.nodes.prune(id, |id| self.gap.forget(id));
        }
    }

    fn found(&mut self, path: &str, event: Option<u64>, shown: Shown, out: &mut Vec<Effect>) {
        let id = match self.nodes.find(path) {
            // An event's answer shows a znode that the events before it say is gone.
            None if event.is_some() => {
                out.push(Effect::Reread(path.into()));
                return;
            }
            held => match held.or_else(|| self.nodes.find_or_make(path)) {
                Some(id) => id,
                None => return,
            },
        };
        if self.nodes.get(id).has(bit::UNREADABLE) {
            self.nodes.get_mut(id).clear(bit::UNREADABLE);
            out.push(Effect::Readable(path.into()));
        }
        let pending = self.nodes.get_mut(id).pending.take().map_or_else(Pending::default, |pending| *pending);
        if !self.nodes.get(id).exists() {
            self.appears(id, path, pending, shown, out);
            return;
        }
        match self.life(id, &pending, &shown.stat) {
            Life::Same => {
                let base = match pending.created {
                    Some(_) => Some(0),
                    None => self.nodes.get(id).has(bit::VERSION).then(|| self.nodes.get(id).stat.version),
                };
                let seen = self.gap.unverified.get(&id).copied().unwrap_or_default();
                self.settle(id, path, pending, Before { version: base, seen }, shown, out);
                if let Some(place) = event.and_then(|event| self.line.answered(event)) {
                    self.drop_repeats(id, place);
                }
            }
            Life::Another => {
                self.nodes.get_mut(id).pending = Some(Box::new(pending));
                if self.nodes.get(id).pending.as_ref().is_some_and(|pending| pending.created.is_some()) {
                    self.close(id, None);
                }
                let seen = self.gap.unverified.get(&id).copied().unwrap_or_default();
                self.ends_unseen(id, shown.stat.czxid, shown.heard_at, out);
                let pending = self.nodes.get_mut(id).pending.take().map_or_else(Pending::default, |pending| *pending);
                *self.gap.unverified.entry(id).or_default() = seen;
                self.appears(id, path, pending, shown, out);
            }
            Life::Older => {
                let recorded = pending.created.is_none();
                self.nodes.get_mut(id).pending = (!pending.is_empty()).then(|| Box::new(pending));
                match event.and_then(|event| self.line.answered(event)) {
                    // An answer older than what is on record is of an event that is older still.
                    Some(place) if recorded => self.drop_repeats(id, place),
                    _ => self.ask_again(id, out),
                }
            }
        }
    }

    fn life(&self, id: Id, pending: &Pending, stat: &Stat) -> Life {
        let node = self.nodes.get(id);
        if let Some(known) = node.czxid() {
            return match stat.czxid.cmp(&known) {
                std::cmp::Ordering::Less => Life::Older,
                std::cmp::Ordering::Greater => Life::Another,
                std::cmp::Ordering::Equal => {
                    let back = pending.created.is_none()
                        && node.has(bit::VERSION)
                        && stat.version.wrapping_sub(node.stat.version) < 0;
                    if back { Life::Older } else { Life::Same }
                }
            };
        }
        if let Some(created) = pending.created {
            return if stat.czxid < self.line.floor(created) { Life::Older } else { Life::Same };
        }
        // A life of which only events were heard: fewer sets than were counted are another life's.
        let moved = i64::from(stat.version.wrapping_sub(node.stat.version));
        match node.has(bit::VERSION) {
            true if self.verified(id) && moved < 0 => Life::Older,
            true if !self.verified(id) && moved < pending.sets.len() as i64 => Life::Another,
            _ => Life::Same,
        }
    }

    /// The known life of a node ended unseen, but not that of what events of this connection told of below it.
    fn ends_unseen(&mut self, id: Id, begun: Zxid, heard_at: Micros, out: &mut Vec<Effect>) {
        // Those created since the life was verified last may be of a later one.
        let which = Unseen { age_min: self.gap.age(self.nodes.get(id).epoch), before: Some(begun) };
        for child in self.nodes.get(id).children.clone() {
            self.remove_unseen(child, which, None, heard_at, out);
        }
        self.push_unseen_end(id, None, None, heard_at);
        self.end_life(id);
    }

    /// A znode shows itself that the tree does not hold: new since the gap, or at the first look only met.
    fn appears(&mut self, id: Id, path: &str, pending: Pending, shown: Shown, out: &mut Vec<Effect>) {
        let seen = *self.gap.unverified.entry(id).or_default();
        // Its parent counts it before it is met; where the parent is not verified yet, it counts now.
        let founding = self.gap.founding();
        let aversion = if founding { shown.stat.aversion } else { 0 };
        let mut stat = Stat { cversion: seen.children, aversion, czxid: shown.stat.czxid, ..Stat::default() };
        if !founding {
            self.child_inferred(id, 1);
            let mut row = self.row(ChangeKind::Created, path.into(), shown.heard_at);
            row.zxid = Some(shown.stat.czxid);
            row.position = shown.stat.czxid;
            row.czxid = Some(shown.stat.czxid);
            row.version = Some(0);
            row.aversion = Some(0);
            row.time = shown.stat.ctime;
            row.time_source = TimeSource::Server;
            row.evidence = Evidence::Inferred;
            row.source = Source::Rescan;
            owned(&mut row, &shown.stat);
            let carries = shown.stat.version == 0 && pending.sets.is_empty();
            if carries {
                value(&mut row, &shown.data);
            }
            self.line.push_change(row);
            // Sets whose rows went out already may have been this life's; those that wait surely are.
            let waiting = i32::try_from(pending.sets.len()).unwrap_or(i32::MAX);
            let sets = if seen.told.is_some_and(|told| told <= shown.stat.czxid) { 0 } else { seen.sets };
            stat.version = sets.min(shown.stat.version.saturating_sub(waiting)).max(0);
            self.nodes.begin(id, self.gap.epoch().wrapping_sub(1));
            self.nodes.set_stat(id, stat);
            let node = self.nodes.get_mut(id);
            node.set(bit::VERSION | bit::CVERSION);
            if carries {
                node.set(bit::VALUE);
            }
        } else {
            self.nodes.begin(id, self.gap.epoch().wrapping_sub(1));
            self.nodes.set_stat(id, stat);
        }
        let base = (!founding).then_some(stat.version);
        self.settle(id, path, pending, Before { version: base, seen }, shown, out);
    }

    /// Settles what an answer covers of a node's pending events, and takes its Stat.
    ///
    fn settle(&mut self, id: Id, path: &str, pending: Pending, before: Before, shown: Shown, out: &mut Vec<Effect>) {
        let Before { version: base, seen } = before;
        let Pending { created, sets } = pending;
        let Shown { stat, data, heard_at, of_event } = shown;
        let config = self.is_config(id);
        let moved = self.moved(id, base, &stat);
        let with_zxids = !sets.is_empty() && sets.iter().all(|place| self.line.zxid(*place).is_some());
        let covered = if with_zxids {
            sets.partition_point(|place| self.line.zxid(*place).is_some_and(|zxid| zxid <= stat.mzxid))
        } else {
            moved.map_or(sets.len(), |moved| {
                if config && moved > 0 { sets.len() } else { sets.len().min(moved.max(0) as usize) }
            })
        };
        let newest_covered = covered.checked_sub(1).and_then(|last| sets.get(last)).copied();
        // A set that no event told came last (or alone): it has the value, and a row of its own.
        let untold = match newest_covered {
            Some(last) => with_zxids && self.line.zxid(last).is_some_and(|zxid| zxid < stat.mzxid),
            None => moved.is_some_and(|moved| moved > 0) && !self.may_be_told(id, seen, &stat),
        };
        let told = covered as i64 + i64::from(untold);
        let mut missed = if config { 0 } else { moved.map_or(0, |moved| (moved - told).max(0)) };
        self.gap.missed = self.gap.missed.saturating_add(if self.gap.scan().is_some() { missed } else { 0 });

        let mut carried = false;
        if let Some(place) = created {
            let exact = stat.version == 0;
            self.line.settle(place, stat.czxid, |row| {
                row.zxid = Some(stat.czxid);
                row.czxid = Some(stat.czxid);
                row.time = stat.ctime;
                row.time_source = TimeSource::Server;
                owned(row, &stat);
                if exact {
                    row.evidence = Evidence::Exact;
                    value(row, &data);
                }
            });
            self.nodes.get_mut(id).bits &= !bit::VALUE;
            carried |= exact;
        }
        for (at, place) in sets[..covered].iter().enumerate() {
            let newest = at + 1 == covered && !untold;
            let behind = (covered - 1 - at) as i32 + i32::from(untold);
            let before = if at == 0 && !untold { std::mem::take(&mut missed) } else { 0 };
            let known = !(untold && missed > 0);
            self.line.settle(*place, stat.czxid, |row| {
                row.czxid = Some(stat.czxid);
                row.missed = before;
                owned(row, &stat);
                if config {
                    row.version = Some(-1);
                } else if known {
                    row.version = Some(stat.version.wrapping_sub(behind));
                }
                if newest {
                    row.zxid = Some(stat.mzxid);
                    row.evidence = Evidence::Exact;
                    set_time(row, &stat, config);
                    value(row, &data);
                }
            });
            carried |= newest;
        }
        if untold {
            let mut row = self.row(ChangeKind::DataChanged, path.into(), heard_at);
            row.zxid = Some(stat.mzxid);
            row.position = stat.mzxid;
            row.czxid = Some(stat.czxid);
            row.version = Some(stat.version);
            row.evidence = Evidence::Inferred;
            row.source = Source::Rescan;
            row.missed = missed;
            owned(&mut row, &stat);
            set_time(&mut row, &stat, config);
            value(&mut row, &data);
            self.line.push_change(row);
            carried = true;
        }
        let left = sets[covered..].to_vec();
        if carried {
            self.nodes.get_mut(id).set(bit::VALUE);
        } else if base.is_none() || moved.is_some_and(|moved| moved != 0) {
            self.nodes.get_mut(id).clear(bit::VALUE);
        }
        self.nodes.get_mut(id).pending = (!left.is_empty()).then(|| Box::new(Pending { created: None, sets: left }));
        let leaf = stat.num_children == 0;
        self.absorb(id, path, stat, out);
        if leaf {
            self.children_ended(id, self.nodes.get(id).children.clone(), heard_at, out);
        }
        let scanning_first = self.gap.founding() && self.gap.scan().is_some() && !of_event;
        if scanning_first || !self.nodes.get(id).has(bit::VALUE) {
            self.nodes.get_mut(id).set(bit::VALUE);
            self.gap.needs_snapshot = true;
            self.line.push_effect(Effect::Value { path: path.into(), stat, data });
        }
    }

    /// Whether the set that a Stat shows may be one whose row went out without a version: then it gets no second row.
    fn may_be_told(&self, id: Id, seen: Unverified, stat: &Stat) -> bool {
        let node = self.nodes.get(id);
        let later = seen.told.is_some_and(|told| told < stat.mzxid)
            || node.has(bit::MZXID | bit::TOLD) && stat.mzxid > node.stat.mzxid;
        seen.sets > 0 && !later
    }

    /// The number of sets between `base` and the Stat.
    fn moved(&self, id: Id, base: Option<i32>, stat: &Stat) -> Option<i64> {
        let node = self.nodes.get(id);
        if self.is_config(id) {
            // Its version never moves.
            return node.has(bit::MZXID).then(|| i64::from(stat.mzxid > node.stat.mzxid));
        }
        base.map(|base| i64::from(stat.version.wrapping_sub(base)))
    }

    /// Takes over what a Stat tells, the recorded aversion excepted.
    fn absorb(&mut self, id: Id, path: &str, stat: Stat, out: &mut Vec<Effect>) {
        let first = !self.verified(id);
        let node = self.nodes.get(id);
        let was = node.stat;
        let shown_zxid = node.shown_zxid();
        if first {
            let single = !self.gap.unverified.contains_key(&id) && !self.gap.unexplained.contains_key(&id);
            let known = self.nodes.get(id).has(bit::CVERSION);
            let since = self.nodes.get(id).epoch;
            let seen = self.gap.verified(id);
            let surplus = i64::from(stat.cversion.wrapping_sub(was.cversion));
            // What an interrupted scan left unexplained is no longer the only change.
            if let Some(unexplained) = self.gap.unexplained.get_mut(&id) {
                unexplained.only = None;
            }
            if known && surplus != 0 {
                let unexplained = self.gap.unexplained.entry(id).or_default();
                unexplained.changes += surplus;
                unexplained.since = since;
                unexplained.only = (single && seen.children == 0 && surplus == 1).then_some(stat.pzxid);
            }
            self.nodes.get_mut(id).epoch = self.gap.epoch();
        }
        self.place_deletion(id, stat.czxid, stat.cversion, stat.pzxid);
        let asks = {
            let node = self.nodes.get(id);
            stat.aversion.wrapping_sub(was.aversion) > 0 && !node.has(bit::ACL_ASKED)
        };
        if asks {
            self.gap.keep_acl_floor(id, shown_zxid.max(stat.czxid));
            out.push(Effect::ReadAcl(path.into()));
        }
        self.nodes.set_stat(id, Stat { aversion: was.aversion, ..stat });
        self.times_shown(id);
        let node = self.nodes.get_mut(id);
        node.set(bit::STAT);
        node.clear(bit::REREAD_ASKED | bit::TOLD);
        if asks {
            node.set(bit::ACL_ASKED);
        }
        if stat.ephemeral_owner != 0 {
            node.node_type = Some(NodeType::Ephemeral);
        }
    }

    /// Asks for one more answer about a path; until one agrees with the tree, not again.
    pub(super) fn ask_again(&mut self, id: Id, out: &mut Vec<Effect>) {
        if !self.nodes.get(id).has(bit::REREAD_ASKED) {
            self.nodes.get_mut(id).set(bit::REREAD_ASKED);
            out.push(Effect::Reread(self.nodes.path(id)));
        }
    }

    pub(super) fn is_config(&self, id: Id) -> bool {
        let node = self.nodes.get(id);
        &*node.name == "config" && &*self.nodes.path(id) == "/zookeeper/config"
    }
}

/// The znode's type and owner, as far as a client can tell.
fn owned(row: &mut Change, stat: &Stat) {
    row.ephemeral_owner = stat.ephemeral_owner;
    row.node_type = (stat.ephemeral_owner != 0).then_some(NodeType::Ephemeral);
}

fn value(row: &mut Change, data: &Bytes) {
    row.data_length = i32::try_from(data.len()).ok();
    row.data = Some(data.clone());
}

/// The server's mtime; not for the reconfigurations, where every server has its own.
fn set_time(row: &mut Change, stat: &Stat, config: bool) {
    if !config {
        row.time = stat.mtime;
        row.time_source = TimeSource::Server;
    }
}
