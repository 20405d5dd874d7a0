//! One ensemble's pipeline: observations in, recorded rows out. Decides nothing about changes (that is `tree`) and
//! nothing about durability (that is the recorder); it keeps their order.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::observing::Observing;
use super::status::{Condition, Status};
use super::sweep::Sweep;
use super::tree_metrics::TreeCounts;
use crate::history::disk::Disk;
use crate::history::snapshots::{SPILL_BYTES_MAX, SnapshotRow, ValueSpill, write_snapshot};
use crate::history::{
    CoverageEntry, Entry, Layout, PartsWork, RecorderGone, RecorderHandle, Sighting, SightingEvent, SnapshotAt,
    SnapshotRequest, State,
};
use crate::lens::{ValuePolicy, Values};
use crate::metrics::{ClusterMetrics, QueueMetrics};
use crate::source::watch::{Command, Identity};
use crate::tree::{Effect, Tree, Znode};
use crate::zk::{Change, ChangeKind, Ended, Micros, Observation, ScanReason, Source, ZkPath, Zxid};

/// Wishes of `tree` that wait until the source takes them; beyond that the next sweep has to see to it.
const COMMANDS_WAITING_MAX: usize = 100_000;
/// How long a snapshot waits for a moment without pending events before it is taken anyway, and says so.
const SNAPSHOT_WAIT_MAX: Duration = Duration::from_secs(10);
/// A first connection that takes longer leaves a gap at the history's beginning.
const NEVER_OBSERVED_AFTER: Duration = Duration::from_secs(2);
/// Znodes by which an ensemble is recognised.
const OLDEST: usize = 16;

/// What a pipeline needs of its surroundings; made by the supervisor.
pub struct Parts {
    pub cluster: String,
    pub scope: ZkPath,
    pub incarnation: i32,
    pub layout: Layout,
    pub state: Arc<State>,
    pub recorder: RecorderHandle,
    pub policy: Arc<ValuePolicy>,
    pub metrics: ClusterMetrics,
    pub status: Status,
    pub commands: mpsc::Sender<Command>,
    pub identity: Arc<Mutex<Identity>>,
    /// Held by whatever rewrites recorded days or writes snapshots: one at a time.
    pub upkeep: Arc<Mutex<()>>,
    /// The bound of the source's ordered queue, and so of the events that wait for their answer.
    pub queue_items_max: usize,
    pub acl_every: Duration,
    pub acl_first_per_second: f64,
    /// Hears of each [`Command::Sync`] that was followed: everything up to there is with the recorder.
    pub synced: mpsc::Sender<Synced>,
}

/// All changes up to a transaction have been given to the recorder, as far as watches tell of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Synced {
    pub zxid: Zxid,
    /// How many scans there were until then: between two of them is a gap.
    pub scans: u64,
}

/// What another source has found, for a recorder at work.
pub struct FromLog {
    /// ACLs that no sweep need find: path, czxid, aversion, ACL.
    pub acls: Vec<(ZkPath, Zxid, i32, Arc<str>)>,
    pub work: PartsWork,
}

/// The tree of one ensemble and everything that hangs on its stream.
pub struct Pipeline {
    parts: Parts,
    tree: Tree,
    counts: TreeCounts,
    observing: Observing,
    sweep: Sweep,
    spill: Option<ValueSpill>,
    waiting: VecDeque<Command>,
    effects: Vec<Effect>,
    changes: Vec<Change>,
    sightings: Vec<Sighting>,
    coverage: Vec<CoverageEntry>,
    last_heard: Micros,
    scan_started: Option<Instant>,
    scope_missing: bool,
    /// When the history began, while nothing was ever observed for it.
    never_observed: Option<(Instant, Micros)>,
    /// Rows whose recording began before this pipeline: the start's snapshot is due even if nothing changed.
    snapshot_due: bool,
    /// Since when a snapshot waits for a moment without pending events.
    snapshot_wanted: Option<Instant>,
    /// One was taken already without such a moment; the next waits for as long as it takes.
    snapshot_forced: bool,
    /// Who asked for the next snapshot.
    snapshot_asked: Vec<SnapshotDone>,
    snapshot_day: i32,
    /// Why a snapshot could not be written, told by the thread that tried.
    snapshot_failure: Arc<Mutex<Option<String>>>,
    blind_since: Option<Instant>,
    scans: u64,
    pending_queue: QueueMetrics,
    recorder_queue: QueueMetrics,
}

impl Pipeline {
    /// `tree` is restored from the history, or empty.
    ///
    /// `unreadable` are the paths whose coverage ended before because they could not be read; `first` where nothing was
    /// ever observed for this history.
    pub fn new(parts: Parts, tree: Tree, recorded: Zxid, unreadable: Vec<ZkPath>, first: bool) -> Self {
        let observing = Observing::new(parts.scope.clone(), parts.incarnation, recorded, unreadable);
        let sweep = Sweep::new(parts.acl_every, parts.acl_first_per_second);
        let pending_queue = parts.metrics.queue("tree_pending", parts.queue_items_max);
        let recorder_queue = parts.metrics.queue("recorder", parts.recorder.queue_capacity());
        parts.metrics.gap_open.set(1);
        let counts = TreeCounts::new(parts.metrics.clone());
        let mut pipeline = Self {
            parts,
            tree,
            counts,
            observing,
            sweep,
            spill: None,
            waiting: VecDeque::new(),
            effects: Vec::new(),
            changes: Vec::new(),
            sightings: Vec::new(),
            coverage: Vec::new(),
            last_heard: Micros::default(),
            scan_started: None,
            scope_missing: false,
            never_observed: first.then(|| (Instant::now(), Micros::now())),
            snapshot_due: true,
            snapshot_wanted: None,
            snapshot_forced: false,
            snapshot_asked: Vec::new(),
            snapshot_day: 0,
            snapshot_failure: Arc::default(),
            blind_since: Some(Instant::now()),
            scans: 0,
            pending_queue,
            recorder_queue,
        };
        pipeline.counts.follow(&mut pipeline.tree);
        pipeline.show_tree();
        pipeline.remember_identity();
        pipeline
    }

    /// Takes one batch of the stream to the recorder.
    pub async fn take(&mut self, batch: Vec<Observation>) -> Result<(), RecorderGone> {
        for observation in batch {
            self.observe(observation).await?;
            self.snapshot_if_wanted().await?;
        }
        if let Some(progress) = self.progress() {
            if let CoverageEntry::Progress { time, .. } = &progress {
                self.parts.metrics.observed_until(*time);
            }
            self.coverage.push(progress);
        }
        self.record().await?;
        self.wish();
        self.show_tree();
        self.parts.metrics.unreadable_paths.set(gauge(self.observing.unreadable()));
        self.pending_queue.depth.set(gauge(self.tree.pending()));
        self.recorder_queue.depth.set(gauge(self.parts.recorder.queue_len()));
        if self.scope_missing && !self.tree.is_empty() {
            self.show_live();
        }
        Ok(())
    }

    /// What is due by the clock: the ACL sweep, the daily snapshot, wishes that waited.
    pub async fn tick(&mut self) -> Result<(), RecorderGone> {
        let now = Instant::now();
        self.count_gap();
        if self.never_observed.is_some_and(|(since, _)| since.elapsed() >= NEVER_OBSERVED_AFTER) {
            // Nobody was looking from the history's first moment on: that is on record too.
            if let Some((_, began)) = self.never_observed.take() {
                self.observing.never_observed(began, &mut self.coverage);
                self.record().await?;
            }
        }
        if self.observing.is_open() && self.sweep.is_due(now) {
            self.sweep.start(self.tree.iter().map(|znode| znode.path), now);
            self.observing.sweep_started(Micros::now());
        }
        for _ in 0..self.sweep.allowance(now) {
            let Some(path) = self.sweep.pop() else { break };
            if let Err(full) = self.parts.commands.try_send(Command::ReadAcl(path)) {
                if let mpsc::error::TrySendError::Full(Command::ReadAcl(path)) = full {
                    self.sweep.unpop(path);
                }
                break;
            }
        }
        if let Some(first) = self.sweep.finish(now) {
            self.swept(first).await?;
        }
        self.wish();
        if self.observing.is_open() && self.snapshot_day != 0 && Micros::now().day() > self.snapshot_day {
            self.want_snapshot();
        }
        if self.snapshot_due && self.observing.is_open() && !self.tree.is_empty() {
            self.want_snapshot();
        }
        self.snapshot_if_wanted().await
    }

    /// A snapshot is to be written as soon as no row waits for its answer.
    fn want_snapshot(&mut self) {
        self.snapshot_wanted.get_or_insert_with(Instant::now);
    }

    /// Asks for a snapshot as soon as no row waits for its answer, or a little later anyway. `done` hears of its end: the
    /// seq, or why there is none.
    pub async fn ask_snapshot(&mut self, done: SnapshotDone) -> Result<(), RecorderGone> {
        self.snapshot_asked.push(done);
        if !self.observing.is_open() {
            self.refuse_snapshot(&format!(
                "the tree of {} is not complete: the agent is not watching it now",
                self.parts.cluster
            ));
            return Ok(());
        }
        self.want_snapshot();
        self.snapshot_if_wanted().await
    }

    /// Lets the recorder work in what a log says, behind everything that was found before.
    pub async fn work_in(&mut self, from_log: FromLog) -> Result<(), RecorderGone> {
        let FromLog { acls, work } = from_log;
        self.record().await?;
        for (path, czxid, aversion, acl) in acls {
            if self.tree.knows_acl(&path, czxid, aversion, &acl) {
                // As after a sweep: it may be readable now, or not any more.
                self.want(Command::Reread(path));
            }
        }
        self.parts.recorder.send(Entry::Parts(work)).await
    }

    fn refuse_snapshot(&mut self, cause: &str) {
        for done in self.snapshot_asked.drain(..) {
            done(Err(cause.to_owned()));
        }
    }

    /// At a moment when no row waits for its answer the tree is exactly what the rows lead to.
    async fn snapshot_if_wanted(&mut self) -> Result<(), RecorderGone> {
        let Some(since) = self.snapshot_wanted else { return Ok(()) };
        let overdue = !self.snapshot_forced && since.elapsed() >= SNAPSHOT_WAIT_MAX;
        if !(overdue || self.tree.pending() == 0) || !self.observing.is_open() {
            return Ok(());
        }
        self.record().await?;
        self.snapshot().await
    }

    /// Writes a snapshot of the tree as it is now, after everything that was sent to the recorder before.
    async fn snapshot(&mut self) -> Result<(), RecorderGone> {
        self.snapshot_due = false;
        // One that is ahead of the rows is no place to replay from: a settled one is still wanted.
        self.snapshot_forced = self.tree.pending() > 0;
        if !self.snapshot_forced {
            self.snapshot_wanted = None;
        }
        if self.tree.is_empty() {
            self.snapshot_due = true;
            let (scope, cluster) = (&self.parts.scope, &self.parts.cluster);
            self.refuse_snapshot(&format!("{scope} does not exist on {cluster}: there is nothing to snapshot"));
            return Ok(());
        }
        let asked = std::mem::take(&mut self.snapshot_asked);
        let unsettled = self.tree.pending();
        self.snapshot_day = Micros::now().day();
        let policy = &self.parts.policy;
        let rows: Vec<SnapshotRow> = self.tree.iter().map(|znode| snapshot_row(znode, policy)).collect();
        let spill = self.spill.take();
        let (layout, state, cluster) =
            (self.parts.layout.clone(), self.parts.state.clone(), self.parts.cluster.clone());
        let (upkeep, failure) = (self.parts.upkeep.clone(), self.snapshot_failure.clone());
        let write = move |at: SnapshotAt| {
            let began = Instant::now();
            let znodes = rows.len();
            let result = {
                // Not beside a compaction, a retention or a redaction.
                let _alone = upkeep.lock().unwrap_or_else(PoisonError::into_inner);
                write_snapshot(&Disk::new(), &layout, &state, &at, rows.into_iter(), spill, unsettled)
            };
            match &result {
                Ok(_) => tracing::info!(cluster, seq = at.seq, znodes, took = ?began.elapsed(), "snapshot written"),
                Err(error) => {
                    tracing::error!(cluster, %error, "the snapshot could not be written");
                    *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
                }
            }
            let result = result.map(|_| at.seq).map_err(|error| error.to_string());
            for done in asked {
                done(result.clone());
            }
        };
        let request = SnapshotRequest {
            incarnation: self.parts.incarnation,
            position: self.tree.greatest_zxid(),
            then: Box::new(write),
        };
        self.parts.recorder.send(Entry::Snapshot(request)).await
    }

    /// Why the last snapshot could not be written, if so.
    pub fn snapshot_failure(&self) -> Option<String> {
        self.snapshot_failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Takes the end of a stream that did not tell of it itself.
    pub async fn disconnected(&mut self, ended: Ended) -> Result<(), RecorderGone> {
        if self.observing.is_open() || self.tree.pending() > 0 {
            let last_heard = self.last_heard;
            self.observe(Observation::Disconnected { last_heard, ended }).await?;
        }
        self.end(ended).await
    }

    /// Records that observing stopped where it was last heard.
    pub async fn end(&mut self, ended: Ended) -> Result<(), RecorderGone> {
        self.observing.ended(self.last_heard, ended, &mut self.coverage);
        self.record().await
    }

    async fn observe(&mut self, observation: Observation) -> Result<(), RecorderGone> {
        let mut answered_acl = None;
        let mut ended = None;
        let mut at = None;
        let is_event = matches!(observation, Observation::Event(_));
        match &observation {
            Observation::Event(event) => at = Some(event.heard_at),
            // Of a server that was asked: it proves no more than an answer.
            Observation::Synced { heard_at, .. } => at = Some(*heard_at),
            Observation::Read { heard_at, .. }
            | Observation::Exists { heard_at, .. }
            | Observation::Children { heard_at, .. }
            | Observation::ScanFinished { heard_at } => at = Some(*heard_at),
            Observation::Acl { path, heard_at, .. } => {
                at = Some(*heard_at);
                answered_acl = Some(path.clone());
            }
            Observation::ScanStarted { reason, .. } => {
                if *reason == ScanReason::Bootstrap {
                    // A first look that was cut short leaves nothing to compare with: begin anew.
                    self.tree = Tree::new(self.parts.scope.clone(), self.parts.incarnation);
                    self.counts.follow(&mut self.tree);
                    self.spill = None;
                }
                self.observing.scan_started();
                self.scan_started = Some(Instant::now());
                self.parts.status.set(&self.parts.cluster, Condition::Scanning);
            }
            Observation::Disconnected { last_heard, ended: why } => ended = Some((*last_heard, *why)),
        }
        if let Some(at) = at {
            self.last_heard = self.last_heard.max(at);
        }
        let mut effects = std::mem::take(&mut self.effects);
        self.tree.apply(observation, &mut effects);
        for effect in effects.drain(..) {
            self.follow(effect).await?;
        }
        self.effects = effects;
        if let Some((last_heard, why)) = ended {
            if self.observing.is_open() {
                self.counts.gap_begins(last_heard);
                self.parts.metrics.observed_until(last_heard);
                self.parts.metrics.history.gap_begins(why);
            }
            // Rows first: what was heard before the end belongs before it.
            self.record().await?;
            self.observing.ended(last_heard, why, &mut self.coverage);
            self.sweep.disconnected();
            self.waiting.clear();
            self.snapshot_due |= self.snapshot_wanted.take().is_some();
            self.snapshot_forced = false;
            self.refuse_snapshot(&format!("the connection to {} was lost: ask again", self.parts.cluster));
            self.remember_identity();
            self.set_live(false);
            if why != Ended::Stopped {
                self.parts.status.set(&self.parts.cluster, Condition::Disconnected);
                tracing::warn!(cluster = self.parts.cluster, reason = why.as_str(), %last_heard, "a gap begins");
            }
        }
        if at.is_some() && !is_event && self.tree.pending() == 0 {
            self.observing.settled();
        }
        if let Some(path) = answered_acl
            && let Some(first) = self.sweep.answered(&path, Instant::now())
        {
            self.swept(first).await?;
        }
        Ok(())
    }

    async fn follow(&mut self, effect: Effect) -> Result<(), RecorderGone> {
        match effect {
            Effect::Change(change) => self.change(change),
            Effect::ReadAcl(path) => self.want(Command::ReadAcl(path)),
            Effect::Reread(path) => self.want(Command::Reread(path)),
            Effect::Value { path, stat, data } => self.spill(path, &stat, data),
            Effect::Unreadable(path) => {
                tracing::warn!(cluster = self.parts.cluster, %path, "cannot be read: not covered");
                self.observing.unreadable_path(path, self.last_heard, &mut self.coverage);
            }
            Effect::Readable(path) => self.observing.readable_path(path, self.last_heard, &mut self.coverage),
            Effect::Synced(zxid) => {
                self.record().await?;
                // Where nobody takes it, nobody waits for it any more.
                let _ = self.parts.synced.try_send(Synced { zxid, scans: self.scans });
            }
            Effect::ScanFinished { reason, missed_at_least, needs_snapshot, greatest_zxid } => {
                self.scans += 1;
                self.never_observed = None;
                self.record().await?;
                self.observing.scanned(self.last_heard, greatest_zxid, missed_at_least, &mut self.coverage);
                self.sighted_owners(self.last_heard);
                self.sweep.scanned(Instant::now());
                let took = self.scan_started.take().map(|started| started.elapsed()).unwrap_or_default();
                self.parts.metrics.rescans(reason).inc();
                self.parts.metrics.rescan_seconds.observe(took.as_secs_f64());
                self.parts.metrics.missed.inc_by(u64::try_from(missed_at_least).unwrap_or(0));
                self.set_live(true);
                self.show_live();
                tracing::info!(
                    cluster = self.parts.cluster,
                    reason = reason.as_str(),
                    znodes = self.tree.len(),
                    missed_at_least,
                    ?took,
                    zxid = %greatest_zxid,
                    "the tree is complete: recording"
                );
                if needs_snapshot || self.snapshot_due {
                    self.want_snapshot();
                }
            }
        }
        Ok(())
    }

    fn change(&mut self, mut change: Change) {
        if let Some(data) = change.data.take() {
            let recorded = self.parts.policy.apply(&change.path, data);
            change.data = recorded.data;
            change.data_length = recorded.data_length;
            change.data_hash = recorded.data_hash;
        }
        self.observing.row(change.zxid);
        let metrics = &self.parts.metrics;
        metrics.changes(change.kind, change.evidence).inc();
        metrics.missed.inc_by(u64::try_from(change.missed).unwrap_or(0));
        self.counts.change(&change);
        if change.kind == ChangeKind::Created && change.ephemeral_owner != 0 {
            self.sightings.push(sighting(&change, change.ephemeral_owner));
        }
        self.changes.push(change);
    }

    fn spill(&mut self, path: ZkPath, stat: &crate::zk::Stat, data: bytes::Bytes) {
        let recorded = self.parts.policy.apply(&path, data);
        let (layout, cluster) = (&self.parts.layout, &self.parts.cluster);
        let spill = self.spill.get_or_insert_with(|| ValueSpill::new(&Disk::new(), layout, cluster, SPILL_BYTES_MAX));
        let pushed = spill.push(
            &path,
            stat.czxid,
            stat.version,
            stat.mzxid,
            recorded.data.as_deref(),
            recorded.data_length,
            recorded.data_hash,
        );
        if let Err(error) = pushed {
            tracing::error!(cluster, %path, %error, "the next snapshot will lack this value");
        }
    }

    /// Sessions that hold ephemerals when a scan is done are alive.
    fn sighted_owners(&mut self, at: Micros) {
        let mut owners: Vec<i64> = self.tree.ephemeral_owners().collect();
        owners.sort_unstable();
        self.sightings.extend(owners.into_iter().map(|session_id| Sighting {
            incarnation: self.parts.incarnation,
            session_id,
            event: SightingEvent::Seen,
            time: at,
            zxid: None,
            timeout_ms: None,
            address: None,
            source: Source::Rescan.into(),
        }));
    }

    async fn swept(&mut self, first: bool) -> Result<(), RecorderGone> {
        self.coverage.extend(self.observing.swept(Micros::now()));
        self.record().await?;
        tracing::debug!(cluster = self.parts.cluster, "every ACL was read");
        if first {
            // The snapshot of the start was written before the ACLs were known.
            self.want_snapshot();
        }
        Ok(())
    }

    fn want(&mut self, command: Command) {
        if self.waiting.len() < COMMANDS_WAITING_MAX {
            self.waiting.push_back(command);
        }
    }

    fn wish(&mut self) {
        while let Some(command) = self.waiting.pop_front() {
            if let Err(mpsc::error::TrySendError::Full(command)) = self.parts.commands.try_send(command) {
                self.waiting.push_front(command);
                break;
            }
        }
    }

    /// How far everything has been heard *and* has its row on the way.
    fn progress(&self) -> Option<CoverageEntry> {
        let pending = self.tree.pending() > 0;
        let time = match self.changes.last() {
            Some(last) if pending => last.observed_at,
            None if pending => return None,
            _ => self.last_heard,
        };
        self.observing.progress(time)
    }

    async fn record(&mut self) -> Result<(), RecorderGone> {
        let recorder = &self.parts.recorder;
        if !self.changes.is_empty() {
            recorder.send(Entry::Changes(std::mem::take(&mut self.changes))).await?;
        }
        if !self.sightings.is_empty() {
            recorder.send(Entry::Sightings(std::mem::take(&mut self.sightings))).await?;
        }
        for entry in self.coverage.drain(..) {
            recorder.send(Entry::Coverage(entry)).await?;
        }
        Ok(())
    }

    fn remember_identity(&mut self) {
        let newest = self.tree.iter().max_by_key(|znode| znode.stat.newest_zxid());
        let identity = Identity {
            greatest_zxid: newest.as_ref().map(|znode| znode.stat.newest_zxid()).unwrap_or_default(),
            newest: newest.map(|znode| znode.path),
            oldest: self.tree.oldest(OLDEST),
        };
        *self.parts.identity.lock().unwrap_or_else(PoisonError::into_inner) = identity;
    }

    fn show_tree(&mut self) {
        self.counts.show(&mut self.tree, Micros::now());
    }

    fn show_live(&mut self) {
        self.scope_missing = self.tree.is_empty();
        let condition = match self.scope_missing {
            true => Condition::NoScope(self.parts.scope.to_string()),
            false => Condition::Live,
        };
        if self.scope_missing && self.parts.status.set(&self.parts.cluster, condition.clone()) {
            tracing::warn!(cluster = self.parts.cluster, "{condition}");
        }
        self.parts.status.set(&self.parts.cluster, condition);
    }

    fn set_live(&mut self, live: bool) {
        self.parts.metrics.gap_open.set(i64::from(!live));
        self.count_gap();
        self.blind_since = (!live).then(Instant::now);
    }

    /// Adds what has passed of an open gap to its counter.
    fn count_gap(&mut self) {
        if let Some(since) = &mut self.blind_since {
            self.parts.metrics.gap_seconds.inc_by(since.elapsed().as_secs_f64());
            *since = Instant::now();
        }
    }
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Hears how a snapshot ended: its seq, or why there is none.
pub type SnapshotDone = Box<dyn FnOnce(Result<i64, String>) + Send>;

fn sighting(change: &Change, session_id: i64) -> Sighting {
    Sighting {
        incarnation: change.incarnation,
        session_id,
        event: SightingEvent::Seen,
        time: change.time,
        zxid: change.zxid,
        timeout_ms: None,
        address: None,
        source: change.source.into(),
    }
}

fn snapshot_row(znode: Znode, policy: &ValuePolicy) -> SnapshotRow {
    let (stat, known) = (znode.stat, znode.known);
    // Where the policy records nothing, the length is nothing too.
    let tells_length = known.mzxid && policy.values(&znode.path) != Values::None;
    SnapshotRow {
        path: znode.path,
        czxid: known.czxid.then_some(stat.czxid),
        mzxid: known.mzxid.then_some(stat.mzxid),
        pzxid: known.pzxid.then_some(stat.pzxid),
        ctime: (known.czxid && stat.ctime.0 != 0).then_some(stat.ctime),
        mtime: (known.mzxid && stat.mtime.0 != 0).then_some(stat.mtime),
        version: known.version.then_some(stat.version),
        cversion: known.cversion.then_some(stat.cversion),
        aversion: Some(stat.aversion),
        ephemeral_owner: stat.ephemeral_owner,
        node_type: znode.node_type,
        num_children: stat.num_children,
        acl: znode.acl,
        data_length: tells_length.then_some(stat.data_length),
    }
}
