//! The reading thread: files in, complete changes out.

use std::sync::Arc;

use super::founding::{Begun, Founding};
use super::{Gone, LogImport, LogImportError, Out, Progress, Step};
use crate::history::gaps::is_within;
use crate::history::{Sighting, SightingEvent};
use crate::lens::ValuePolicy;
use crate::source::txnlog::{FIRST, Inputs, LogItem, ReadOptions, SnapshotFile, Start};
use crate::tree::ledger::Ledger;
use crate::zk::{Action, Change, Micros, Transaction, Zxid};

/// Changes that go to the recording thread at once, and bytes of their values.
const BATCH_CHANGES_MAX: usize = 4_096;
const BATCH_BYTES_MAX: usize = 4 << 20;
/// So often the record is told that everything so far was given: what a killed import need not do again.
const COVERED_EVERY: u64 = 1_000_000;

/// What the logs were.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Read {
    pub(super) transactions: u64,
    pub(super) changes: u64,
    pub(super) from: Option<(Zxid, Micros)>,
    pub(super) to: Option<(Zxid, Micros)>,
}

/// Reads everything. Where the recording side is gone it ends early, and its error is the one that counts.
pub(super) fn run(
    inputs: &Inputs,
    policy: &Arc<ValuePolicy>,
    import: &LogImport,
    out: Out,
) -> Result<Read, LogImportError> {
    let mut reading = Reading::new(inputs, policy, import, out);
    match reading.run() {
        Ok(()) | Err(Stop::Gone) => Ok(reading.read),
        Err(Stop::Failed(error)) => Err(error),
    }
}

pub(super) enum Stop {
    Gone,
    Failed(LogImportError),
}

impl From<Gone> for Stop {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl<E: Into<LogImportError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// What was read so far, on its way to changes.
pub(super) struct Reading<'a> {
    inputs: &'a Inputs,
    options: ReadOptions,
    ledger: Ledger,
    policy: &'a Arc<ValuePolicy>,
    import: &'a LogImport,
    pub(super) out: Out,
    heard_at: Micros,
    changes: Vec<Change>,
    bytes: usize,
    /// While the whole tree is not known yet at a zxid.
    founding: Option<Founding>,
    /// Snapshots that may found anew behind a hole, latest first.
    later: Vec<SnapshotFile>,
    /// Nothing is known of znodes that are older than the hole before them, or than the logs.
    lost: bool,
    /// From here on everything was given; `None` at the beginning and behind a hole.
    pub(super) begin: Option<(Zxid, Option<Micros>)>,
    /// The last transaction.
    last: Option<(Zxid, Micros)>,
    covered_at: u64,
    read: Read,
}

impl<'a> Reading<'a> {
    pub(super) fn new(inputs: &'a Inputs, policy: &'a Arc<ValuePolicy>, import: &'a LogImport, out: Out) -> Self {
        Self {
            inputs,
            options: ReadOptions { skip_corrupt: import.skip_corrupt },
            ledger: Ledger::new(import.settings.incarnation, import.settings.source),
            policy,
            import,
            out,
            heard_at: Micros::now(),
            changes: Vec::new(),
            bytes: 0,
            founding: None,
            later: Vec::new(),
            lost: false,
            begin: None,
            last: None,
            covered_at: 0,
            read: Read::default(),
        }
    }

    fn run(&mut self) -> Result<(), Stop> {
        let inputs = self.inputs;
        let beginning = inputs.beginning()?;
        for refused in beginning.refused {
            self.out.tell(Progress::RefusedSnapshot(refused.to_string()))?;
        }
        let from = match &beginning.start {
            Start::Snapshot(snapshot) => {
                self.found(snapshot)?;
                Zxid(snapshot.zxid.0 + 1)
            }
            Start::FirstTransaction | Start::Nowhere => FIRST,
        };
        if matches!(beginning.start, Start::FirstTransaction) {
            self.begin = Some((Zxid(FIRST.0 - 1), None));
        }
        self.later = inputs.snapshots().into_iter().filter(|snapshot| snapshot.zxid >= from).cloned().collect();
        self.later.reverse();
        self.lost = matches!(beginning.start, Start::Nowhere);

        let mut items = inputs.transactions(from, self.options)?;
        while let Some(item) = items.next() {
            match item? {
                LogItem::Transaction { transaction, .. } => {
                    if self.lost && self.read.transactions == 0 {
                        self.out.tell(Progress::NoSnapshot { first: transaction.zxid })?;
                    }
                    let (zxid, time) = (transaction.zxid, transaction.time);
                    self.take(transaction)?;
                    if self.out.is_due() {
                        let (bytes, bytes_total) = items.progress();
                        self.out.tell(Progress::Read { bytes, bytes_total, zxid, time })?;
                    }
                }
                LogItem::Hole(hole) => {
                    self.lose()?;
                    self.out.tell(Progress::Hole(hole))?;
                }
                LogItem::Uncommitted(left_out) => self.out.tell(Progress::Uncommitted(left_out))?,
                LogItem::Torn { file, offset } => {
                    self.out.tell(Progress::Torn { file: file.to_string(), offset })?;
                }
            }
        }
        self.whole()?;
        self.cover()?;
        Ok(())
    }

    /// Takes what is on record already: only to know the znodes.
    pub(super) fn pass(&mut self, transaction: Transaction) {
        let before = self.changes.len();
        self.ledger.apply(transaction, self.heard_at, &mut self.changes);
        self.changes.truncate(before);
    }

    /// Begins with a snapshot whose tree is on record already, or an older one.
    pub(super) fn know(&mut self, snapshot: &SnapshotFile) -> Result<(), Stop> {
        Founding::begin(snapshot, self.inputs, self.options, &mut self.ledger)?;
        Ok(())
    }

    /// What is taken from now on was heard of now.
    pub(super) fn heard_now(&mut self) {
        self.heard_at = Micros::now();
    }

    /// The last transaction that was taken, but for what was only passed.
    pub(super) fn taken(&self) -> Option<Zxid> {
        self.read.to.map(|(zxid, _)| zxid)
    }

    /// Begins a tree from a snapshot.
    pub(super) fn found(&mut self, snapshot: &SnapshotFile) -> Result<(), Stop> {
        let Begun { founding, sessions, time } =
            Founding::begin(snapshot, self.inputs, self.options, &mut self.ledger)?;
        self.founding = Some(founding);
        self.lost = false;
        self.begin.get_or_insert((snapshot.zxid, None));
        self.last.get_or_insert((snapshot.zxid, time));
        let seen = sessions.into_iter().map(|(session, timeout_ms)| Sighting {
            timeout_ms: Some(timeout_ms),
            ..self.sighting(session.0, SightingEvent::Seen, snapshot.zxid, time)
        });
        self.out.put(Step::Sightings(seen.collect()))?;
        Ok(())
    }

    pub(super) fn take(&mut self, transaction: Transaction) -> Result<(), Stop> {
        let (zxid, time) = (transaction.zxid, transaction.time);
        if self.begin.is_none() {
            self.begin = Some((Zxid(zxid.0 - 1), Some(time)));
        }
        if let Some((_, unknown @ Micros(0))) = &mut self.last {
            // Nothing in the snapshot has a time: it is of the moment before the first transaction.
            *unknown = Micros(time.0 - 1);
        }
        if self.founding.as_ref().is_some_and(|founding| founding.is_whole_before(&transaction)) {
            self.whole()?;
        }
        if let Some((_, begin @ None)) = &mut self.begin {
            *begin = Some(time);
        }
        if let Some(founding) = &mut self.founding {
            founding.take(&transaction);
        }
        let sighted = match &transaction.action {
            Action::SessionOpened { timeout_ms } => Some(Sighting {
                timeout_ms: Some(*timeout_ms),
                ..self.sighting(transaction.session_id, SightingEvent::Opened, zxid, time)
            }),
            Action::SessionClosed { .. } => {
                Some(self.sighting(transaction.session_id, SightingEvent::Closed, zxid, time))
            }
            Action::Operations(_) | Action::Nothing => None,
        };
        if let Some(sighted) = sighted {
            self.out.put(Step::Sightings(vec![sighted]))?;
        }
        let before = self.changes.len();
        self.ledger.apply(transaction, self.heard_at, &mut self.changes);
        let scope = &self.import.settings.scope;
        if &**scope != "/" {
            let mut at = 0;
            self.changes.retain(|change| {
                at += 1;
                at <= before || is_within(&change.path, scope)
            });
        }
        for change in self.changes.iter_mut().skip(before) {
            if let Some(data) = change.data.take() {
                let recorded = self.policy.apply(&change.path, data);
                self.bytes += recorded.data.as_ref().map_or(0, bytes::Bytes::len);
                change.data = recorded.data;
                change.data_length = recorded.data_length;
                change.data_hash = recorded.data_hash;
            }
        }
        self.read.changes += (self.changes.len() - before) as u64;
        self.read.transactions += 1;
        self.read.from.get_or_insert((zxid, time));
        self.read.to = Some((zxid, time));
        self.last = Some((zxid, time));
        if self.changes.len() >= BATCH_CHANGES_MAX || self.bytes >= BATCH_BYTES_MAX {
            self.flush()?;
        }
        if self.read.transactions - self.covered_at >= COVERED_EVERY {
            self.cover()?;
        }
        if self.lost {
            while let Some(snapshot) = self.later.pop_if(|snapshot| snapshot.zxid <= zxid) {
                if snapshot.zxid == zxid && snapshot.verify().is_ok() {
                    self.found(&snapshot)?;
                }
            }
        }
        Ok(())
    }

    /// Transactions are missing here.
    pub(super) fn lose(&mut self) -> Result<(), Stop> {
        self.whole_if_passed()?;
        // A tree that the log has not passed yet is no moment's.
        self.founding = None;
        self.cover()?;
        self.ledger.lose();
        self.lost = true;
        self.begin = None;
        self.out.put(Step::Lost)?;
        Ok(())
    }

    /// Ends the founding where the log has passed it, though nothing follows yet.
    pub(super) fn whole_if_passed(&mut self) -> Result<(), Stop> {
        let passed = |(zxid, _): (Zxid, Micros)| self.founding.as_ref().is_some_and(|founding| founding.ends_by(zxid));
        if self.read.transactions > 0 && self.last.is_some_and(passed) { self.whole() } else { Ok(()) }
    }

    /// The tree is whole after the last transaction.
    fn whole(&mut self) -> Result<(), Stop> {
        let (Some(founding), Some((at, time))) = (self.founding.take(), self.last) else { return Ok(()) };
        let rows = founding.tree(&self.ledger, self.policy, &self.import.settings.scope)?;
        self.flush()?;
        // Nothing of the scope existed then.
        if !rows.is_empty() {
            self.out.put(Step::Tree { at, time, rows })?;
        }
        Ok(())
    }

    pub(super) fn flush(&mut self) -> Result<(), Stop> {
        self.bytes = 0;
        if !self.changes.is_empty() {
            let next = Vec::with_capacity(self.changes.capacity());
            self.out.put(Step::Changes(std::mem::replace(&mut self.changes, next)))?;
        }
        Ok(())
    }

    /// Says that everything up to the last transaction was given.
    pub(super) fn cover(&mut self) -> Result<(), Stop> {
        self.flush()?;
        self.covered_at = self.read.transactions;
        if let (Some((from, Some(from_time))), Some(to)) = (self.begin, self.last)
            && to.0 > from
        {
            self.out.put(Step::Covered { from: (from, from_time), to })?;
            self.begin = Some((to.0, Some(to.1)));
        }
        Ok(())
    }

    fn sighting(&self, session_id: i64, event: SightingEvent, zxid: Zxid, time: Micros) -> Sighting {
        Sighting {
            incarnation: self.import.settings.incarnation,
            session_id,
            event,
            time,
            zxid: Some(zxid),
            timeout_ms: None,
            address: None,
            source: self.import.settings.source.into(),
        }
    }
}
