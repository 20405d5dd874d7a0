//! The log of a running server on its way into a history that is being recorded: the same reading, a barrier at a time.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use super::read::{Reading, Stop};
use super::{LogImport, LogImportError, Out, Step, Steps};
use crate::lens::ValuePolicy;
use crate::source::txnlog::{FIRST, Followed, Follower, Inputs, SnapshotFile, Start, TxnlogError};
use crate::zk::Zxid;

/// How far a live log may be read: nothing up to there will be recorded by watches any more.
#[derive(Clone, Debug)]
pub(in crate::agent) struct Barrier {
    pub to: Zxid,
    /// What serving servers have said that they have applied.
    pub committed: Vec<Zxid>,
}

/// Follows one server's log.
pub(in crate::agent) struct Live {
    /// The server's `version-2`, or what holds it; two where log and snapshots lie apart.
    pub folders: Vec<PathBuf>,
    pub policy: Arc<ValuePolicy>,
    pub import: LogImport,
    /// Up to here the history has everything already.
    pub reached: Option<Zxid>,
}

impl Live {
    fn show_folders(&self) -> String {
        self.folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", ")
    }

    /// Answers each barrier with what the log has up to it, then [`Step::Reached`] or [`Step::Failed`]; until nobody asks or
    /// takes any more. Blocks.
    pub(in crate::agent) fn run(mut self, barriers: &Receiver<Barrier>, steps: &Steps) {
        let mut committed: Vec<Zxid> = Vec::new();
        let mut broken = None;
        while let Ok(barrier) = barriers.recv() {
            let mut life = Life { live: &mut self, committed: &mut committed, broken: &mut broken };
            match life.run(barrier, barriers, Out::new(steps.clone())) {
                Ok(()) | Err(Stop::Gone) => return,
                Err(Stop::Failed(error)) => {
                    if !steps(Step::Failed(error)) {
                        return;
                    }
                }
            }
        }
    }
}

/// From a snapshot on, as long as nothing is missing.
struct Life<'a> {
    live: &'a mut Live,
    committed: &'a mut Vec<Zxid>,
    /// Behind this transaction the log broke off.
    broken: &'a mut Option<Zxid>,
}

impl Life<'_> {
    fn run(&mut self, first: Barrier, barriers: &Receiver<Barrier>, out: Out) -> Result<(), Stop> {
        let inputs = Inputs::find(&self.live.folders)?;
        let mut logs = inputs.servers().iter().filter(|server| !server.segments.is_empty());
        let folder = match (logs.next(), logs.next()) {
            (Some(server), None) => PathBuf::from(&server.folder),
            (None, _) => return Err(TxnlogError::NothingFound { searched: self.live.show_folders() }.into()),
            (Some(_), Some(_)) => return Err(LogImportError::Several { folder: self.live.show_folders() }.into()),
        };
        let (policy, import) = (self.live.policy.clone(), self.live.import.clone());
        let mut reading = Reading::new(&inputs, &policy, &import, out);
        let start = self.start(&inputs)?;
        let mut known = None;
        let after = match start {
            Begin::Known(snapshot, reached) => {
                reading.know(&snapshot)?;
                reading.begin = Some((reached, None));
                known = Some(reached);
                snapshot.zxid
            }
            Begin::Snapshot(snapshot) => {
                reading.found(&snapshot)?;
                snapshot.zxid
            }
            Begin::FirstTransaction => {
                known = self.live.reached;
                reading.begin = Some((known.unwrap_or(Zxid(FIRST.0 - 1)), None));
                Zxid(FIRST.0 - 1)
            }
        };
        let mut follower = Follower::new(&folder, after);
        for zxid in self.committed.iter() {
            follower.is_committed(*zxid);
        }
        let mut barrier = first;
        loop {
            for zxid in &barrier.committed {
                follower.is_committed(*zxid);
                self.remember(*zxid);
            }
            reading.heard_now();
            if let Err(stop) = self.read_to(barrier.to, &mut follower, &mut reading, known) {
                // What was known up to here stays; nothing is known of znodes behind it.
                self.live.reached = self.live.reached.max(reading.taken());
                reading.lose()?;
                return Err(stop);
            }
            reading.whole_if_passed()?;
            reading.cover()?;
            *self.broken = None;
            let reached = follower.last().max(known.unwrap_or_default());
            self.live.reached = Some(reached);
            reading.out.put(Step::Reached(reached))?;
            match barriers.recv() {
                Ok(next) => barrier = next,
                Err(_) => return Ok(()),
            }
        }
    }

    fn read_to(
        &mut self,
        to: Zxid,
        follower: &mut Follower,
        reading: &mut Reading<'_>,
        known: Option<Zxid>,
    ) -> Result<(), Stop> {
        loop {
            match follower.next(to)? {
                Followed::Transaction(transaction) if known.is_some_and(|known| transaction.zxid <= known) => {
                    reading.pass(transaction);
                }
                Followed::Transaction(transaction) => reading.take(transaction)?,
                Followed::NotYet => return Ok(()),
                Followed::Broken { after, next } => {
                    *self.broken = Some(after);
                    let folder = self.live.show_folders();
                    return Err(LogImportError::Broken { folder, after, next }.into());
                }
            }
        }
    }

    fn remember(&mut self, zxid: Zxid) {
        match self.committed.iter_mut().find(|known| known.epoch() == zxid.epoch()) {
            Some(known) => *known = zxid.max(*known),
            None => self.committed.push(zxid),
        }
    }

    /// Where to begin: behind a break with the next snapshot, else with what the history has already, else with the oldest.
    fn start(&self, inputs: &Inputs) -> Result<Begin, Stop> {
        let folder = || self.live.show_folders();
        let snapshots = inputs.snapshots();
        let whole = |snapshot: &&&SnapshotFile| snapshot.verify().is_ok();
        if let Some(after) = *self.broken {
            let next = snapshots.iter().filter(|snapshot| snapshot.zxid > after).find(whole);
            return match next {
                Some(snapshot) => Ok(Begin::Snapshot((*snapshot).clone())),
                None => Err(LogImportError::NoStart { folder: folder() }.into()),
            };
        }
        if let Some(reached) = self.live.reached {
            let before = snapshots.iter().rev().filter(|snapshot| snapshot.zxid <= reached).find(whole);
            if let Some(snapshot) = before {
                return Ok(Begin::Known((*snapshot).clone(), reached));
            }
        }
        match inputs.beginning()?.start {
            Start::Snapshot(snapshot) => Ok(Begin::Snapshot(snapshot)),
            Start::FirstTransaction => Ok(Begin::FirstTransaction),
            Start::Nowhere => Err(LogImportError::NoStart { folder: folder() }.into()),
        }
    }
}

enum Begin {
    /// Only to know the znodes: up to the zxid everything is on record.
    Known(SnapshotFile, Zxid),
    Snapshot(SnapshotFile),
    FirstTransaction,
}
