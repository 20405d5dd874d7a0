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

use super::import::{Barrier, Live, LogImport, Step, Steps, take_in};
use super::pipeline::{FromLog, Synced};
use super::sources::is_stopped;
use crate::history::days::{Retired, join_small_parts};
use crate::history::disk::Disk;
use crate::history::import::{ImportError, ImportSettings, Paused};
use crate::history::layout::{Day, Table};
use crate::history::rows::CoverageRow;
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
const BYTES_MAX: usize = 16 << 20;
/// Steps that wait.
const STEPS_MAX: usize = 4;
/// While a day is being compacted or a snapshot written, the folder is not ours.
const BUSY_WAIT: Duration = Duration::from_millis(500);
/// … and when the agent stops it is not waited for that long: what was not said to be whole is read again.
const BUSY_AT_STOP_MAX: usize = 6;
/// After a failure the next try waits, longer each time.
const AGAIN_MAX: Duration = Duration::from_secs(300);

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
    /// What was worked in and is not said to be whole yet.
    pub(super) uncovered: Option<Stretch>,
    pub(super) stop: watch::Receiver<bool>,
}

/// From one transaction to another, with the leader's clock.
pub(super) type Stretch = ((Zxid, Micros), (Zxid, Micros));

/// Why following ended.
enum End {
    /// Nothing is left of the pipeline.
    Gone,
    /// The log cannot be of this ensemble.
    Foreign(ImportError),
    /// It begins anew, with what is on record.
    Again(String),
}

/// What became of a piece of work.
enum Done {
    Worked,
    /// Somebody else works on the folder: the steps are given back.
    Busy(Vec<Step>),
    Foreign(ImportError),
    Failed(String),
}

impl Tailing {
    /// Runs until it is stopped, the pipeline is gone, or the log turns out to be another ensemble's.
    pub(super) async fn run(mut self) {
        tracing::info!(cluster = self.cluster, folders = ?self.folders, "follows the transaction log");
        let mut stop = self.stop.clone();
        let mut told = Told::default();
        loop {
            match self.follow(&mut told).await {
                Ok(()) | Err(End::Gone) => return,
                Err(End::Foreign(error)) => {
                    let (cluster, folders) = (&self.cluster, &self.folders);
                    tracing::error!(cluster, ?folders, %error, "the transaction log is not followed any more");
                    return;
                }
                Err(End::Again(cause)) => told.trouble(&self.cluster, cause),
            }
            tokio::select! {
                () = tokio::time::sleep(told.again_in()) => {}
                () = is_stopped(&mut stop) => return,
            }
        }
    }

    /// One reading thread, from what is on record on. `Ok` where it was stopped.
    async fn follow(&mut self, told: &mut Told) -> Result<(), End> {
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
        reading
            .spawn(move || live.run(&asked, &(Arc::new(move |step| found.blocking_send(step).is_ok()) as Steps)))
            .map_err(|error| End::Again(format!("its thread does not start: {error}")))?;
        let mut at = At { steps, barriers, import: Arc::default(), covered: Instant::now(), scans: None };
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = is_stopped(&mut stop) => return self.cover(&mut at).await,
                _ = tick.tick() => tokio::select! {
                    stepped = self.step(&mut at, told) => stepped?,
                    () = is_stopped(&mut stop_within) => {}
                },
            }
        }
    }

    /// Reads and works in what is committed by now.
    async fn step(&mut self, at: &mut At, told: &mut Told) -> Result<(), End> {
        if told.waits() {
            return Ok(());
        }
        let now = Micros::now();
        let committed = self.ask(told).await;
        let Some(to) = committed.iter().copied().max() else { return Ok(()) };
        if self.reached.is_some_and(|reached| to <= reached) {
            self.metrics.txnlog_complete.set(now.0 / 1_000_000);
            return self.cover_if_due(at, false).await;
        }
        let Some(synced) = self.sync(to).await? else { return Ok(()) };
        at.barriers.send(Barrier { to, committed }).map_err(|_| died())?;
        let mut held = Held::default();
        let mut covered = Vec::new();
        loop {
            match at.steps.recv().await.ok_or_else(died)? {
                Step::Reached(zxid) => {
                    held.steps.push(Step::Reached(zxid));
                    self.work_in(at, held.take()).await?;
                    self.reached = Some(zxid);
                    told.well(&self.cluster);
                    if zxid >= to {
                        self.metrics.txnlog_complete.set(now.0 / 1_000_000);
                    }
                    break;
                }
                Step::Failed(error) => {
                    // What comes next need not go on here.
                    held.steps.push(Step::Lost);
                    self.work_in(at, held.take()).await?;
                    told.trouble(&self.cluster, error.to_string());
                    break;
                }
                Step::Tell(_) => {}
                // Only once it is worked in.
                Step::Covered { from, to } => covered.push((from, to)),
                step => {
                    held.push(step);
                    if held.changes >= CHANGES_MAX || held.bytes >= BYTES_MAX {
                        self.work_in(at, held.take()).await?;
                    }
                }
            }
        }
        for (from, to) in covered {
            if self.uncovered.as_ref().is_some_and(|(_, end)| end.0 < from.0) {
                self.cover(at).await?;
            }
            let begin = self.uncovered.take().map_or(from, |(begin, _)| begin);
            self.uncovered = Some((begin, to));
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
    async fn ask(&self, told: &mut Told) -> Vec<Zxid> {
        let asked = self.servers.iter().map(|server| srvr::ask(server, &self.credentials, ASK_MAX));
        let answers = futures::future::join_all(asked).await;
        if answers.iter().all(Result::is_err) {
            let causes = self.servers.iter().zip(&answers);
            let causes =
                causes.filter_map(|(server, answer)| Some(format!("{server}: srvr: {}", answer.as_ref().err()?)));
            let causes = causes.collect::<Vec<_>>().join("; ");
            told.silent(&self.cluster, &causes);
        }
        // One without a leader shows what lies in its log, committed or not.
        let serves = |answer: srvr::Srvr| answer.zxid.filter(|_| answer.serves());
        answers.into_iter().flatten().filter_map(serves).collect()
    }

    async fn cover_if_due(&mut self, at: &mut At, now: bool) -> Result<(), End> {
        if now || at.covered.elapsed() >= COVERED_EVERY { self.cover(at).await } else { Ok(()) }
    }

    /// Says on record how far the log was worked in without a hole.
    async fn cover(&mut self, at: &mut At) -> Result<(), End> {
        at.covered = Instant::now();
        if let Some((from, to)) = self.uncovered {
            self.work_in(at, vec![Step::Covered { from, to }]).await?;
            self.uncovered = None;
        }
        Ok(())
    }

    /// Lets the recorder do it, and waits until it is durable.
    async fn work_in(&mut self, at: &At, mut steps: Vec<Step>) -> Result<(), End> {
        if steps.is_empty() {
            return Ok(());
        }
        let mut acls = acls(&steps);
        let mut busy = 0;
        loop {
            let (done, answer) = oneshot::channel();
            let on = OnParts {
                cluster: self.cluster.clone(),
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
                Done::Failed(cause) => return Err(End::Again(cause)),
                Done::Busy(given_back) => steps = given_back,
            }
            busy += 1;
            if *self.stop.borrow() && busy >= BUSY_AT_STOP_MAX {
                // Nothing was worked in, so nothing may be said of it.
                return Err(End::Gone);
            }
            tokio::time::sleep(BUSY_WAIT).await;
        }
    }
}

fn died() -> End {
    End::Again("the thread that reads it ended unexpectedly: please report this".to_owned())
}

/// What went wrong last, told once, and when it is tried again.
#[derive(Default)]
struct Told {
    trouble: Option<String>,
    failures: u32,
    again_at: Option<Instant>,
    silent: bool,
}

impl Told {
    fn trouble(&mut self, cluster: &str, cause: String) {
        if self.trouble.as_ref() != Some(&cause) {
            tracing::warn!(cluster, cause, "the transaction log cannot be followed on now; it is tried again");
            self.trouble = Some(cause);
        }
        self.failures = self.failures.saturating_add(1);
        self.again_at = Some(Instant::now() + self.again_in());
    }

    fn silent(&mut self, cluster: &str, causes: &str) {
        if !std::mem::replace(&mut self.silent, true) {
            tracing::warn!(cluster, causes, "no server tells how far it has committed: the transaction log waits");
        }
    }

    fn well(&mut self, cluster: &str) {
        if self.trouble.take().is_some() {
            tracing::info!(cluster, "the transaction log is followed again");
        }
        *self = Self::default();
    }

    fn again_in(&self) -> Duration {
        EVERY.saturating_mul(1 << self.failures.saturating_sub(1).min(6)).min(AGAIN_MAX)
    }

    fn waits(&self) -> bool {
        self.again_at.is_some_and(|at| Instant::now() < at)
    }
}

/// Steps that are to be worked in together.
#[derive(Default)]
struct Held {
    steps: Vec<Step>,
    changes: usize,
    bytes: usize,
}

impl Held {
    fn push(&mut self, step: Step) {
        match &step {
            Step::Changes(changes) => {
                self.changes += changes.len();
                self.bytes +=
                    changes.iter().map(|change| change.data.as_ref().map_or(0, bytes::Bytes::len)).sum::<usize>();
            }
            Step::Sightings(seen) => self.changes += seen.len(),
            _ => {}
        }
        self.steps.push(step);
    }

    fn take(&mut self) -> Vec<Step> {
        std::mem::take(self).steps
    }
}

/// Between two steps.
struct At {
    steps: mpsc::Receiver<Step>,
    barriers: sync::Sender<Barrier>,
    import: Arc<Mutex<Kept>>,
    covered: Instant,
    scans: Option<u64>,
}

/// What the recorder's thread keeps between two pieces of work.
#[derive(Default)]
struct Kept {
    import: Option<Paused>,
    retired: Retired,
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
    cluster: String,
    settings: ImportSettings,
    layout: Layout,
    state: Arc<State>,
    upkeep: Arc<Mutex<()>>,
    import: Arc<Mutex<Kept>>,
}

impl OnParts {
    fn work(
        self,
        history: &mut History,
        steps: Vec<Step>,
        done: oneshot::Sender<Done>,
    ) -> Result<Vec<CoverageRow>, HistoryError> {
        // Whoever rewrites days or writes a snapshot may take long: recording does not wait for it.
        let _alone = match self.upkeep.try_lock() {
            Ok(alone) => alone,
            Err(std::sync::TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(std::sync::TryLockError::WouldBlock) => {
                let _ = done.send(Done::Busy(steps));
                return Ok(Vec::new());
            }
        };
        let mut kept = self.import.lock().unwrap_or_else(PoisonError::into_inner);
        let so_far = kept.import.take();
        let worked = self.import(history, so_far, steps);
        let (coverage, answer) = match worked {
            Ok((so_far, coverage)) => {
                kept.import = Some(so_far);
                self.join_small_parts(&mut kept.retired);
                (coverage, Done::Worked)
            }
            Err(ImportError::History(error)) if error.is_disk_full() => return Err(error),
            // Recording goes on; what is in place has its numbers.
            Err(error) => {
                history.renumber();
                let foreign = matches!(error, ImportError::Contradiction { .. } | ImportError::Incomplete { .. });
                (Vec::new(), if foreign { Done::Foreign(error) } else { Done::Failed(error.to_string()) })
            }
        };
        // Nobody may be waiting any more.
        let _ = done.send(answer);
        Ok(coverage)
    }

    fn import(
        &self,
        history: &mut History,
        so_far: Option<Paused>,
        steps: Vec<Step>,
    ) -> Result<(Paused, Vec<CoverageRow>), ImportError> {
        let mut importer = match so_far {
            Some(so_far) => history.resume_import(so_far)?,
            None => history.import(self.settings.clone())?,
        };
        for step in steps {
            take_in(&mut importer, step)?;
        }
        let coverage = importer.take_coverage();
        Ok((importer.pause()?, coverage))
    }

    fn join_small_parts(&self, retired: &mut Retired) {
        let (disk, today) = (Disk::new(), Day(Micros::now().day()));
        for table in [Table::Changes, Table::Coverage, Table::Sessions] {
            if let Err(error) = join_small_parts(&disk, &self.layout, &self.state, (table, today), retired) {
                let (cluster, table) = (&self.cluster, table.as_str());
                tracing::warn!(cluster, table, %error, "the day's small parts could not be joined");
            }
        }
    }
}
