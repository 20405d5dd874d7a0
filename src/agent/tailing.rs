//! The log of a running server beside the watches: seconds after a change was heard, its row says all that the log says.
//!
//! ```text
//! serving servers: "applied up to C" ──→ the watch's server: sync to C ──→ all that it told before is with the recorder
//!        └→ the log, read up to C: proved only ──→ the recorder: rows so far into parts, completed there by the import
//! ```
//!
//! So the log never runs ahead of the watches: what they tell late finds its row made already, never a second one. And
//! nothing is taken back: what is not known to be committed is not read.

use std::path::PathBuf;
use std::sync::mpsc as sync;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};

use super::import::{Barrier, Live, LogImport, Step, take_in};
use super::pipeline::{FromLog, Synced};
use crate::history::days::{Retired, join_small_parts, parts_of};
use crate::history::disk::Disk;
use crate::history::import::{ImportError, ImportSettings, Paused};
use crate::history::layout::{Day, Table};
use crate::history::{History, HistoryError, Layout, State};
use crate::lens::ValuePolicy;
use crate::metrics::ClusterMetrics;
use crate::source::watch::Command;
use crate::source::watch::credentials::Credentials;
use crate::source::watch::srvr;
use crate::zk::{ChangeKind, Micros, ZkPath, Zxid};

/// How often the log is looked at.
const EVERY: Duration = Duration::from_secs(5);
/// That a stretch is whole is said so often, and as soon as the watches had a gap: each time is a row of coverage.
const COVERED_EVERY: Duration = Duration::from_secs(60);
/// How long a server may take to say how far it is.
const ASK_MAX: Duration = Duration::from_secs(3);
/// How long the watches may take to come up to there; then the servers are asked anew.
const SYNC_MAX: Duration = Duration::from_secs(30);
const SYNC_AGAIN: Duration = Duration::from_secs(2);
/// What is worked in at once: recording waits meanwhile.
const CHANGES_MAX: usize = 20_000;
/// Steps that wait.
const STEPS_MAX: usize = 4;
/// While a day is being compacted or a snapshot written, the folder is not ours.
const BUSY_WAIT: Duration = Duration::from_millis(500);

/// What following one server's log works with.
pub(super) struct Tailing {
    pub(super) cluster: String,
    pub(super) folders: Vec<PathBuf>,
    pub(super) servers: Vec<String>,
    pub(super) credentials: Credentials,
    pub(super) settings: ImportSettings,
    pub(super) policy: Arc<ValuePolicy>,
    pub(super) layout: Layout,
    pub(super) state: Arc<State>,
    pub(super) upkeep: Arc<Mutex<()>>,
    pub(super) metrics: ClusterMetrics,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) synced: mpsc::Receiver<Synced>,
    pub(super) work: mpsc::Sender<FromLog>,
    /// Up to here logs were worked in already.
    pub(super) reached: Option<Zxid>,
    pub(super) stop: watch::Receiver<bool>,
}

/// Why following ended: nothing is left of the pipeline, or the log cannot be of this ensemble.
enum End {
    Gone,
    Foreign(ImportError),
}

/// What became of a piece of work.
enum Done {
    Worked,
    /// Somebody else works on the folder: the steps are given back.
    Busy(Vec<Step>),
    Foreign(ImportError),
}

impl Tailing {
    /// Runs until it is stopped, the pipeline is gone, or the log turns out to be another ensemble's.
    pub(super) async fn run(mut self) {
        let (mut stop, mut stop_within) = (self.stop.clone(), self.stop.clone());
        let (barriers, asked) = sync::channel();
        let (found, steps) = mpsc::channel(STEPS_MAX);
        let live = Live {
            folders: self.folders.clone(),
            policy: self.policy.clone(),
            import: LogImport { settings: self.settings.clone(), skip_corrupt: false },
            reached: self.reached,
        };
        let reading = std::thread::Builder::new().name("txnlog".to_owned());
        let reading = reading.spawn(move || live.run(&asked, Box::new(move |step| found.blocking_send(step).is_ok())));
        if let Err(error) = reading {
            tracing::error!(cluster = self.cluster, %error, "the transaction log cannot be followed");
            return;
        }
        tracing::info!(cluster = self.cluster, folders = ?self.folders, "follows the transaction log");
        let mut at =
            At { steps, barriers, import: Arc::default(), uncovered: None, covered: Instant::now(), scans: None };
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut trouble: Option<String> = None;
        loop {
            let ended = tokio::select! {
                biased;
                () = told(&mut stop) => {
                    let _ = self.cover(&mut at).await;
                    return;
                }
                _ = tick.tick() => tokio::select! {
                    ended = self.step(&mut at, &mut trouble) => ended,
                    () = told(&mut stop_within) => continue,
                },
            };
            match ended {
                Ok(()) => {}
                Err(End::Gone) => return,
                Err(End::Foreign(error)) => {
                    let (cluster, folders) = (&self.cluster, &self.folders);
                    tracing::error!(cluster, ?folders, %error, "the transaction log is not followed any more");
                    return;
                }
            }
        }
    }

    /// Reads and works in what is committed by now.
    async fn step(&mut self, at: &mut At, told: &mut Option<String>) -> Result<(), End> {
        let now = Micros::now();
        let committed = self.ask().await;
        let Some(to) = committed.iter().copied().max() else { return Ok(()) };
        if self.reached.is_some_and(|reached| to <= reached) {
            self.metrics.txnlog_complete.set(now.0 / 1_000_000);
            return self.cover_if_due(at, false).await;
        }
        let Some(synced) = self.sync(to).await? else { return Ok(()) };
        at.barriers.send(Barrier { to, committed }).map_err(|_| End::Gone)?;
        let mut held = Vec::new();
        let mut covered = Vec::new();
        let mut changes = 0;
        loop {
            let step = at.steps.recv().await.ok_or(End::Gone)?;
            match step {
                Step::Reached(zxid) => {
                    if let Some(was) = told.take() {
                        tracing::info!(cluster = self.cluster, was, "the transaction log is followed again");
                    }
                    held.push(Step::Reached(zxid));
                    self.work_in(at, std::mem::take(&mut held)).await?;
                    self.reached = Some(zxid);
                    if zxid >= to {
                        self.metrics.txnlog_complete.set(now.0 / 1_000_000);
                    }
                    break;
                }
                Step::Failed(error) => {
                    self.work_in(at, std::mem::take(&mut held)).await?;
                    let error = error.to_string();
                    if told.as_ref() != Some(&error) {
                        tracing::warn!(cluster = self.cluster, error, "the transaction log cannot be read on now");
                        *told = Some(error);
                    }
                    break;
                }
                Step::Tell(_) => {}
                // Only once it is worked in.
                Step::Covered { from, to } => covered.push((from, to)),
                step => {
                    changes += if let Step::Changes(some) = &step { some.len() } else { 0 };
                    held.push(step);
                    if changes >= CHANGES_MAX {
                        changes = 0;
                        self.work_in(at, std::mem::take(&mut held)).await?;
                    }
                }
            }
        }
        for (from, to) in covered {
            if at.uncovered.as_ref().is_some_and(|(_, end)| end.0 < from.0) {
                self.cover(at).await?;
            }
            let begin = at.uncovered.take().map_or(from, |(begin, _)| begin);
            at.uncovered = Some((begin, to));
        }
        let gap_closed = at.scans.replace(synced.scans).is_none_or(|before| before != synced.scans);
        self.cover_if_due(at, gap_closed).await
    }

    /// Waits until everything up to there that watches tell of is with the recorder; none where that takes too long.
    async fn sync(&mut self, to: Zxid) -> Result<Option<Synced>, End> {
        while self.synced.try_recv().is_ok() {}
        let until = tokio::time::Instant::now() + SYNC_MAX;
        loop {
            // While the tree is being read it is passed over: asked again.
            self.commands.send(Command::Sync(to)).await.map_err(|_| End::Gone)?;
            let again = (tokio::time::Instant::now() + SYNC_AGAIN).min(until);
            while let Ok(synced) = tokio::time::timeout_at(again, self.synced.recv()).await {
                let synced = synced.ok_or(End::Gone)?;
                if synced.zxid >= to {
                    return Ok(Some(synced));
                }
            }
            if again >= until {
                return Ok(None);
            }
        }
    }

    /// What the servers that serve have applied.
    async fn ask(&self) -> Vec<Zxid> {
        let asked = self.servers.iter().map(|server| srvr::ask(server, &self.credentials, ASK_MAX));
        let answers = futures::future::join_all(asked).await;
        // One that does not serve shows what lies in its log, committed or not; it says no mode.
        let serves = |answer: srvr::Srvr| answer.mode.is_some().then_some(answer.zxid).flatten();
        answers.into_iter().flatten().filter_map(serves).collect()
    }

    async fn cover_if_due(&mut self, at: &mut At, now: bool) -> Result<(), End> {
        if now || at.covered.elapsed() >= COVERED_EVERY { self.cover(at).await } else { Ok(()) }
    }

    /// Says on record how far the log was worked in without a hole.
    async fn cover(&mut self, at: &mut At) -> Result<(), End> {
        at.covered = Instant::now();
        match at.uncovered.take() {
            Some((from, to)) => self.work_in(at, vec![Step::Covered { from, to }]).await,
            None => Ok(()),
        }
    }

    /// Lets the recorder do it, and waits until it is durable.
    async fn work_in(&mut self, at: &At, mut steps: Vec<Step>) -> Result<(), End> {
        if steps.is_empty() {
            return Ok(());
        }
        let mut acls = acls(&steps);
        loop {
            let (done, answer) = oneshot::channel();
            let on = OnParts {
                settings: self.settings.clone(),
                layout: self.layout.clone(),
                state: self.state.clone(),
                upkeep: self.upkeep.clone(),
                import: at.import.clone(),
            };
            let work = Box::new(move |history: &mut History| on.work(history, steps, done));
            let from_log = FromLog { acls: std::mem::take(&mut acls), work };
            self.work.send(from_log).await.map_err(|_| End::Gone)?;
            match answer.await.map_err(|_| End::Gone)? {
                Done::Worked => return Ok(()),
                Done::Foreign(error) => return Err(End::Foreign(error)),
                Done::Busy(given_back) => steps = given_back,
            }
            tokio::time::sleep(BUSY_WAIT).await;
        }
    }
}

/// Returns when the agent is told to stop, or has gone.
async fn told(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Between two steps.
struct At {
    steps: mpsc::Receiver<Step>,
    barriers: sync::Sender<Barrier>,
    import: Arc<Mutex<Option<Paused>>>,
    /// What was worked in and is not said to be whole yet.
    uncovered: Option<((Zxid, Micros), (Zxid, Micros))>,
    covered: Instant,
    scans: Option<u64>,
}

/// The changes of ACLs among the steps.
fn acls(steps: &[Step]) -> Vec<(ZkPath, Zxid, i32, Arc<str>)> {
    let mut acls = Vec::new();
    for step in steps {
        let Step::Changes(changes) = step else { continue };
        for change in changes.iter().filter(|change| change.kind == ChangeKind::AclChanged) {
            if let (Some(czxid), Some(aversion), Some(acl)) = (change.czxid, change.aversion, &change.acl) {
                acls.push((change.path.clone(), czxid, aversion, acl.clone()));
            }
        }
    }
    acls
}

/// The work on the recorder's thread.
struct OnParts {
    settings: ImportSettings,
    layout: Layout,
    state: Arc<State>,
    upkeep: Arc<Mutex<()>>,
    import: Arc<Mutex<Option<Paused>>>,
}

impl OnParts {
    fn work(self, history: &mut History, steps: Vec<Step>, done: oneshot::Sender<Done>) -> Result<(), HistoryError> {
        // Whoever rewrites days or writes a snapshot may take long: recording does not wait for it.
        let alone = match self.upkeep.try_lock() {
            Ok(alone) => alone,
            Err(std::sync::TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(std::sync::TryLockError::WouldBlock) => {
                let _ = done.send(Done::Busy(steps));
                return Ok(());
            }
        };
        let mut paused = self.import.lock().unwrap_or_else(PoisonError::into_inner);
        let worked = match paused.take() {
            Some(paused) => history.resume_import(paused)?,
            None => history.import(self.settings.clone())?,
        };
        let mut importer = worked;
        let result = steps.into_iter().try_for_each(|step| take_in(&mut importer, step));
        match result.and_then(|()| importer.pause()) {
            Ok(so_far) => *paused = Some(so_far),
            Err(ImportError::History(error)) => return Err(error),
            Err(foreign) => {
                let _ = done.send(Done::Foreign(foreign));
                return Ok(());
            }
        }
        self.join_small_parts()?;
        drop(alone);
        // Nobody may be waiting any more.
        let _ = done.send(Done::Worked);
        Ok(())
    }

    fn join_small_parts(&self) -> Result<(), HistoryError> {
        let (disk, view) = (Disk::new(), self.state.view());
        let today = Day(Micros::now().day());
        let mut retired = Retired::default();
        for table in [Table::Changes, Table::Coverage, Table::Sessions] {
            if parts_of(&view, table, today).len() > 64
                && let Err(error) = join_small_parts(&disk, &self.layout, &self.state, (table, today), &mut retired)
            {
                return Err(match error {
                    crate::history::days::ReplaceError::History(error) => error,
                    changed => HistoryError::Unknown(changed.to_string()),
                });
            }
        }
        Ok(())
    }
}
