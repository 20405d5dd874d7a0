//! One session, from its first watch to its end: arm, sync, scan, then follow; and again after each reconnect.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc, watch};
use zookeeper_client as zkc;
use zookeeper_client::SessionState;

use super::budget::Buckets;
use super::order::{Asked, Item, Reply, Wire};
use super::request::{Answer, Purpose, request};
use super::walk::{Next, Operation, Suspects, Walk};
use super::{Batch, Command, Notice, ROOM_KIB_MAX, ReadResult, SourceError, WatchConfig, convert, jitter};
use crate::zk::{
    self, AclOutcome, ChildrenOutcome, Ended, Event, EventKind, Micros, Observation, ReadOutcome, ScanReason,
    StatOutcome, ZkPath, Zxid,
};

/// Observations sent downstream at once, at most.
const BATCH_MAX: usize = 1024;
/// Reads of events on their way at the same time; more wait for their turn.
const EVENT_READS_IN_FLIGHT_MAX: usize = 4096;
/// Events whose read waits for its turn; beyond that the source is overrun.
const EVENT_READS_WAITING_MAX: usize = 262_144;
/// ACL reads on their way at the same time.
const ACL_READS_IN_FLIGHT_MAX: usize = 64;
/// Without any word from the server for this long, ask for one.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long a stopping source waits for the answers to its last events.
const DRAIN_MAX: Duration = Duration::from_secs(3);

/// How a session ended.
#[derive(Debug, PartialEq)]
pub(super) enum SessionEnd {
    /// The agent stops, or nobody listens any more.
    Stopped,
    /// Expired, or closed by the client crate: the next one is a new session.
    Lost,
    /// At a reconnect the server took our credentials no more.
    Refused,
}

enum Slot {
    Waiting(Purpose, Reply<Answer>),
    Answered(Purpose, Answer),
}

#[derive(Debug, PartialEq)]
enum Phase {
    Disconnected,
    /// `sync` and addWatch are on their way.
    Arming,
    /// After an overrun: the watch is armed still, only `sync` is on its way.
    Syncing,
    /// Everything is ready to scan; waits out a jitter, because everybody reconnects when an ensemble is weakest.
    Backoff {
        until: Instant,
    },
    Scanning,
    Live,
}

pub(super) struct Driver<'a> {
    config: &'a WatchConfig,
    client: Arc<zkc::Client>,
    wire: Wire,
    out: &'a mpsc::Sender<Batch>,
    room: &'a Arc<Semaphore>,
    notify: &'a (dyn Fn(Notice) + Send + Sync),
    suspects: &'a mut Suspects,
    next_event: &'a mut u64,

    slots: HashMap<u64, Slot>,
    next_token: u64,
    batch: Vec<Observation>,
    phase: Phase,
    reason: ScanReason,
    /// Scans of this session so far: the back-off.
    scans: u32,
    scanned_at: Option<Instant>,
    /// Znodes that the current scan has read.
    scanned: usize,
    walk: Walk,
    buckets: Buckets,
    last_heard: Micros,
    heard: Instant,
    heartbeat_in_flight: bool,
    /// When the progress of a scan was told last.
    told: Instant,
    event_reads: usize,
    event_reads_waiting: VecDeque<Purpose>,
    acl_reads: usize,
    event_zxids: Option<bool>,
    node_paths: Option<bool>,
    multi_read: bool,
}

impl<'a> Driver<'a> {
    #[allow(clippy::too_many_arguments, reason = "called once; a builder would hide more than it shows")]
    pub(super) fn new(
        config: &'a WatchConfig,
        client: zkc::Client,
        reason: ScanReason,
        (out, room): (&'a mpsc::Sender<Batch>, &'a Arc<Semaphore>),
        notify: &'a (dyn Fn(Notice) + Send + Sync),
        suspects: &'a mut Suspects,
        next_event: &'a mut u64,
    ) -> Self {
        let now = Instant::now();
        Self {
            config,
            client: Arc::new(client),
            wire: Wire::new(config.queue_items_max),
            out,
            room,
            notify,
            suspects,
            next_event,
            slots: HashMap::new(),
            next_token: 0,
            batch: Vec::new(),
            phase: Phase::Disconnected,
            reason,
            scans: 0,
            scanned_at: None,
            scanned: 0,
            walk: Walk::default(),
            buckets: Buckets::new(config.budget, now),
            last_heard: Micros::now(),
            heard: now,
            heartbeat_in_flight: false,
            told: now,
            event_reads: 0,
            event_reads_waiting: VecDeque::new(),
            acl_reads: 0,
            event_zxids: None,
            node_paths: None,
            multi_read: true,
        }
    }

    /// Drives the session to its end. The first scan has the reason given; `Ok` tells how it ended.
    pub(super) async fn run(
        &mut self,
        commands: &mut mpsc::Receiver<Command>,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<SessionEnd, SourceError> {
        self.arm();
        let mut tick = tokio::time::interval(HEARTBEAT / 2);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut stopping: Option<Instant> = None;
        loop {
            // In turns of one batch, so that a steady flow keeps nothing else from its turn.
            while self.batch.len() < BATCH_MAX
                && let Some(item) = self.wire.pop()
            {
                match self.on_item(item) {
                    Ok(None) => {}
                    Ok(Some(end)) => {
                        self.flush().await;
                        return Ok(end);
                    }
                    Err(error) => {
                        self.flush().await;
                        return Err(error);
                    }
                }
            }
            while self.acl_reads < ACL_READS_IN_FLIGHT_MAX
                && let Ok(command) = commands.try_recv()
            {
                self.on_command(command);
            }
            self.heartbeat();
            let wait = self.pump();
            if !self.flush().await {
                return Ok(SessionEnd::Stopped);
            }
            if let Some(since) = stopping
                && (self.event_reads + self.event_reads_waiting.len() + self.wire.len() == 0
                    || since.elapsed() > DRAIN_MAX)
            {
                self.disconnected(Ended::Stopped);
                self.flush().await;
                return Ok(SessionEnd::Stopped);
            }
            let wait = if stopping.is_some() { wait.min(Duration::from_millis(20)) } else { wait };
            tokio::select! {
                biased;
                // Events are taken to the end: an answer must not show changes whose events were dropped.
                _ = stop.wait_for(|stop| *stop), if stopping.is_none() => stopping = Some(Instant::now()),
                () = self.wire.ready() => {}
                Some(command) = commands.recv(), if self.acl_reads < ACL_READS_IN_FLIGHT_MAX => self.on_command(command),
                _ = tick.tick() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Why the next session will scan.
    pub(super) fn reason_after(&self) -> ScanReason {
        self.next_reason(ScanReason::NewSession)
    }

    /// Sends what is collected downstream; false where nobody listens.
    async fn flush(&mut self) -> bool {
        if self.batch.is_empty() {
            return true;
        }
        (self.notify)(Notice::Queue {
            events: self.wire.len(),
            reads: self.event_reads + self.event_reads_waiting.len(),
        });
        let observations = std::mem::take(&mut self.batch);
        let kib = observations.iter().map(value_bytes).sum::<usize>().div_ceil(1024);
        // A batch larger than the room goes when the room is empty.
        let kib = u32::try_from(kib).unwrap_or(u32::MAX).min(ROOM_KIB_MAX);
        let room = match kib {
            0 => None,
            _ => match self.room.clone().acquire_many_owned(kib).await {
                Ok(room) => Some(room),
                Err(_) => return false,
            },
        };
        self.out.send(Batch { observations, _room: room }).await.is_ok()
    }

    fn ask(&mut self, purpose: Purpose) {
        let token = self.next_token;
        self.next_token += 1;
        let reply = request(&self.client, &self.config.scope, &purpose);
        let slot = match self.wire.ask(token, reply) {
            Asked::Waiting(reply) => Slot::Waiting(purpose, reply),
            Asked::Answered(answer) => Slot::Answered(purpose, answer),
        };
        self.slots.insert(token, slot);
    }

    /// Arms the watch: on every connection, because the client crate loses persistent watches when it reconnects.
    ///
    /// A `sync` goes before it in the same pipeline: the watch of a server that lags would tell again what is recorded.
    fn arm(&mut self) {
        self.phase = Phase::Arming;
        (self.notify)(Notice::Session(SessionState::SyncConnected));
        self.ask(Purpose::Sync);
        self.ask(Purpose::Watch);
    }

    fn on_item(&mut self, item: Item) -> Result<Option<SessionEnd>, SourceError> {
        match item {
            Item::Event { event, heard_at } => {
                self.hear(heard_at);
                self.on_event(event, heard_at);
            }
            Item::Answer { token, heard_at } => return self.on_answer(token, heard_at),
            Item::Overrun => self.on_overrun(),
            Item::State(state) => {
                if state != SessionState::SyncConnected {
                    (self.notify)(Notice::Session(state));
                }
                match state {
                    SessionState::Disconnected => self.disconnected(Ended::Disconnected),
                    SessionState::SyncConnected => self.arm(),
                    SessionState::ConnectedReadOnly => {}
                    SessionState::AuthFailed => {
                        self.disconnected(Ended::AuthFailed);
                        return Ok(Some(SessionEnd::Refused));
                    }
                    SessionState::Expired | SessionState::Closed => {
                        self.disconnected(Ended::SessionExpired);
                        return Ok(Some(SessionEnd::Lost));
                    }
                }
            }
        }
        Ok(None)
    }

    fn hear(&mut self, heard_at: Micros) {
        self.last_heard = heard_at;
        self.heard = Instant::now();
    }

    fn on_event(&mut self, event: zkc::WatchedEvent, heard_at: Micros) {
        let Some(kind) = convert::event_kind(event.event_type) else { return };
        (self.notify)(Notice::Notification(kind));
        let zxid = Zxid::from_wire(event.zxid);
        if self.event_zxids != Some(zxid.is_some()) {
            self.event_zxids = Some(zxid.is_some());
            (self.notify)(Notice::EventZxids(zxid.is_some()));
        }
        if !zk::is_well_formed(&event.path) {
            (self.notify)(Notice::BadPath(event.path));
            return;
        }
        if &event.path == "/" {
            // The root is never created or deleted: then the server names the watch instead of the znode
            // (seen with ClickHouse Keeper). All that is left is to look at everything again.
            if kind != EventKind::DataChanged && self.node_paths != Some(false) {
                self.node_paths = Some(false);
                (self.notify)(Notice::NodePaths(false));
            }
            if self.node_paths == Some(false) {
                if self.phase == Phase::Live {
                    self.rescan();
                }
                return;
            }
        } else if self.node_paths.is_none() {
            self.node_paths = Some(true);
            (self.notify)(Notice::NodePaths(true));
        }
        let path = ZkPath::from(event.path);
        let id = *self.next_event;
        *self.next_event += 1;
        let read = match kind {
            EventKind::Deleted if zxid.is_some() => None,
            EventKind::Deleted => {
                zk::parent(&path).map(|parent| Purpose::EventParent { path: parent.into(), event: id })
            }
            EventKind::Created | EventKind::DataChanged => Some(Purpose::EventData { path: path.clone(), event: id }),
        };
        let given_up = self.suspects.is_given_up(&path, Instant::now());
        let event = Event { id, kind, path: path.clone(), zxid, heard_at, read_follows: read.is_some() };
        self.batch.push(Observation::Event(event));
        match read {
            Some(Purpose::EventData { event, .. }) if given_up => {
                self.batch.push(Observation::Read { path, event: Some(event), heard_at, outcome: ReadOutcome::Failed });
            }
            Some(purpose) if self.event_reads < EVENT_READS_IN_FLIGHT_MAX && self.event_reads_waiting.is_empty() => {
                self.event_reads += 1;
                self.ask(purpose);
            }
            Some(purpose) => self.event_reads_waiting.push_back(purpose),
            None => {}
        }
        if self.event_reads_waiting.len() > EVENT_READS_WAITING_MAX {
            self.on_overrun();
        }
    }

    /// Our own bound was reached and events were lost: a gap, then a rescan of the same session.
    fn on_overrun(&mut self) {
        (self.notify)(Notice::Overrun);
        self.rescan();
    }

    fn rescan(&mut self) {
        self.disconnected(Ended::Overrun);
        self.reason = self.next_reason(ScanReason::Overrun);
        self.wire.resume();
        self.phase = Phase::Syncing;
        self.ask(Purpose::Sync);
    }

    /// Nothing that was asked before counts any more.
    fn disconnected(&mut self, ended: Ended) {
        let mut scans = Vec::new();
        for (_, slot) in self.slots.drain() {
            let (Slot::Waiting(purpose, _) | Slot::Answered(purpose, _)) = slot;
            match purpose {
                Purpose::Scan(operations) => scans.push(operations),
                Purpose::ScanSingle(operation) => scans.push(vec![operation]),
                _ => {}
            }
        }
        if ended == Ended::Disconnected && self.phase == Phase::Scanning {
            self.suspects.scan_died(&self.config.scope, &scans, Instant::now());
        }
        self.event_reads = 0;
        self.event_reads_waiting.clear();
        self.acl_reads = 0;
        self.heartbeat_in_flight = false;
        self.walk = Walk::default();
        if self.phase != Phase::Disconnected {
            self.batch.push(Observation::Disconnected { last_heard: self.last_heard, ended });
        }
        self.phase = Phase::Disconnected;
        self.reason = self.next_reason(ScanReason::Reconnect);
    }

    /// A first look stays a first look until it is finished.
    fn next_reason(&self, reason: ScanReason) -> ScanReason {
        if self.reason == ScanReason::Bootstrap && self.scanned_at.is_none() { ScanReason::Bootstrap } else { reason }
    }

    fn on_command(&mut self, command: Command) {
        if matches!(self.phase, Phase::Disconnected | Phase::Arming) {
            // The scan that follows the next connection says it all again.
            return;
        }
        match command {
            Command::ReadAcl(path) => {
                self.acl_reads += 1;
                self.ask(Purpose::Acl(path));
            }
            Command::Reread(path) => self.ask(Purpose::Reread(path)),
            Command::Sync(zxid) if self.phase == Phase::Live => self.ask(Purpose::Barrier(zxid)),
            Command::Sync(_) => {}
        }
    }

    fn heartbeat(&mut self) {
        if self.phase == Phase::Scanning && self.told.elapsed() >= HEARTBEAT / 2 {
            self.told = Instant::now();
            (self.notify)(Notice::ScanProgress { znodes: self.scanned, waiting: self.walk.waiting() });
        }
        if self.phase == Phase::Live && !self.heartbeat_in_flight && self.heard.elapsed() >= HEARTBEAT {
            self.heartbeat_in_flight = true;
            self.ask(Purpose::Heartbeat);
        }
    }

    /// Asks whatever may be asked now; tells how long there is nothing more to ask.
    fn pump(&mut self) -> Duration {
        while self.event_reads < EVENT_READS_IN_FLIGHT_MAX
            && let Some(purpose) = self.event_reads_waiting.pop_front()
        {
            self.event_reads += 1;
            self.ask(purpose);
        }
        if let Phase::Backoff { until } = self.phase {
            let left = until.saturating_duration_since(Instant::now());
            if !left.is_zero() {
                return left;
            }
            self.phase = Phase::Scanning;
            self.scans += 1;
            self.scanned = 0;
            self.walk = Walk::new(self.config.scope.clone());
            self.batch.push(Observation::ScanStarted { reason: self.reason, heard_at: Micros::now() });
            (self.notify)(Notice::ScanStarted(self.reason));
        }
        if self.phase != Phase::Scanning {
            return Duration::from_secs(60);
        }
        loop {
            let wait = self.buckets.wait(Instant::now());
            if !wait.is_zero() {
                (self.notify)(Notice::BudgetWait(wait));
                return wait;
            }
            match self.walk.next(self.suspects, self.config.budget.requests_in_flight_max, Instant::now()) {
                Next::Ask(operations) => {
                    self.buckets.take_znodes(operations.len());
                    if self.multi_read {
                        self.ask(Purpose::Scan(operations));
                    } else {
                        self.ask_one_by_one(operations);
                    }
                }
                Next::GiveUp(path) => {
                    let heard_at = Micros::now();
                    self.batch.push(Observation::Read { path, event: None, heard_at, outcome: ReadOutcome::Failed });
                }
                Next::Wait => return Duration::from_secs(60),
                Next::Done => {
                    self.phase = Phase::Live;
                    self.scanned_at = Some(Instant::now());
                    self.scans = 0;
                    self.suspects.scan_finished();
                    self.batch.push(Observation::ScanFinished { heard_at: Micros::now() });
                    if self.multi_read {
                        (self.notify)(Notice::MultiRead(true));
                    }
                    (self.notify)(Notice::ScanFinished);
                    return Duration::from_secs(60);
                }
            }
        }
    }

    fn ask_one_by_one(&mut self, operations: Vec<Operation>) {
        self.walk.split(operations.len());
        for operation in operations {
            self.ask(Purpose::ScanSingle(operation));
        }
    }

    fn on_answer(&mut self, token: u64, heard_at: Micros) -> Result<Option<SessionEnd>, SourceError> {
        let (purpose, answer) = match self.slots.remove(&token) {
            None => return Ok(None), // asked before the last disconnect
            Some(Slot::Answered(purpose, answer)) => (purpose, answer),
            Some(Slot::Waiting(purpose, mut reply)) => {
                match reply.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    Poll::Ready(answer) => (purpose, answer),
                    Poll::Pending => {
                        // Woken for nothing: wait for it again.
                        let slot = match self.wire.ask(token, reply) {
                            Asked::Waiting(reply) => Slot::Waiting(purpose, reply),
                            Asked::Answered(answer) => Slot::Answered(purpose, answer),
                        };
                        self.slots.insert(token, slot);
                        return Ok(None);
                    }
                }
            }
        };
        let error = answer.error();
        if !error.is_some_and(is_connection_loss) {
            self.hear(heard_at);
            if let Some(kind) = answer.kind() {
                (self.notify)(Notice::Read(kind, read_result(error)));
            }
        }
        match (purpose, answer) {
            (Purpose::Watch, Answer::Watch(result)) => return self.on_armed(result),
            (Purpose::Sync, Answer::Unit(result)) => match result {
                Ok(()) if self.phase == Phase::Syncing => self.scan_soon(),
                Ok(()) => {}
                // While a watcher is followed its state events tell what follows; before, the session begins anew.
                Err(error) => return Ok(self.unanswered("sync", &error)),
            },
            (Purpose::Barrier(zxid), Answer::Unit(Ok(()))) => {
                self.batch.push(Observation::Synced { zxid, heard_at });
            }
            (Purpose::EventData { path, event }, Answer::Data(result)) => {
                self.event_reads = self.event_reads.saturating_sub(1);
                let Some(outcome) = self.read_outcome(&path, result) else { return Ok(None) };
                self.batch.push(Observation::Read { path, event: Some(event), heard_at, outcome });
            }
            (Purpose::EventParent { path, event }, Answer::Stat(result)) => {
                self.event_reads = self.event_reads.saturating_sub(1);
                let Some(outcome) = stat_outcome(result) else { return Ok(None) };
                self.batch.push(Observation::Exists { path, event: Some(event), heard_at, outcome });
            }
            (Purpose::Heartbeat, Answer::Stat(result)) => {
                self.heartbeat_in_flight = false;
                let Some(outcome) = stat_outcome(result) else { return Ok(None) };
                let path = self.config.scope.clone();
                self.batch.push(Observation::Exists { path, event: None, heard_at, outcome });
            }
            (Purpose::Reread(path), Answer::Data(result)) => {
                let Some(outcome) = self.read_outcome(&path, result) else { return Ok(None) };
                self.batch.push(Observation::Read { path, event: None, heard_at, outcome });
            }
            (Purpose::Acl(path), Answer::Acl(result)) => {
                self.acl_reads = self.acl_reads.saturating_sub(1);
                let outcome = match result {
                    Ok((acls, stat)) => AclOutcome::Found { acls: convert::acls(&acls), stat: convert::stat(&stat) },
                    Err(zkc::Error::NoNode) => AclOutcome::NoNode,
                    Err(zkc::Error::NoAuth) => AclOutcome::NoAuth,
                    Err(error) if is_connection_loss(&error) => return Ok(None),
                    Err(_) => AclOutcome::Failed,
                };
                self.batch.push(Observation::Acl { path, heard_at, outcome });
            }
            (Purpose::Scan(operations), Answer::Multi(result)) => self.on_scanned(operations, result, heard_at)?,
            (Purpose::ScanSingle(operation), answer) => self.on_scanned_single(operation, answer, heard_at),
            _ => {}
        }
        Ok(None)
    }

    fn on_armed(
        &mut self,
        result: Result<zkc::PersistentWatcher, zkc::Error>,
    ) -> Result<Option<SessionEnd>, SourceError> {
        match result {
            Ok(watcher) => {
                // The first watcher serves the whole session; the ones of later connections only made the server's
                // side anew, and dropping them sends nothing as long as the first one lives.
                if !self.wire.is_following() {
                    self.wire.follow(watcher);
                }
                (self.notify)(Notice::Armed);
                self.scan_soon();
                Ok(None)
            }
            Err(zkc::Error::Unimplemented) => Err(SourceError::NoAddWatch { ensemble: self.config.ensemble.clone() }),
            Err(zkc::Error::NoAuth) => Err(SourceError::ScopeRefused {
                ensemble: self.config.ensemble.clone(),
                scope: self.config.scope.to_string(),
            }),
            Err(error) => Ok(self.unanswered("addWatch", &error)),
        }
    }

    /// Arming did not succeed. Where the connection is gone and a watcher tells of the session's states, they decide;
    /// in every other case the session is given up and a new one begins: nothing else would ask again.
    fn unanswered(&mut self, action: &'static str, error: &zkc::Error) -> Option<SessionEnd> {
        if is_connection_loss(error) && self.wire.is_following() {
            return None;
        }
        (self.notify)(Notice::Refused { action, cause: error.to_string() });
        self.disconnected(Ended::Disconnected);
        Some(SessionEnd::Lost)
    }

    fn scan_soon(&mut self) {
        self.phase = Phase::Backoff { until: Instant::now() + self.scan_delay() };
    }

    fn scan_delay(&self) -> Duration {
        if self.scans == 0 && self.reason == ScanReason::Bootstrap {
            return Duration::ZERO;
        }
        // Back off only while scans follow closely upon each other.
        let close = self.scanned_at.is_some_and(|at| at.elapsed() < Duration::from_secs(60));
        let doublings = if close { self.scans.min(7) } else { 0 };
        jitter(Duration::from_millis(100).saturating_mul(1 << doublings).min(Duration::from_secs(10)))
    }

    fn on_scanned(
        &mut self,
        operations: Vec<Operation>,
        result: Result<Vec<zkc::MultiReadResult>, zkc::Error>,
        heard_at: Micros,
    ) -> Result<(), SourceError> {
        let results = match result {
            Ok(results) if results.len() == operations.len() => results,
            Err(error) if is_connection_loss(&error) => return Ok(()),
            Err(zkc::Error::Unimplemented) => {
                self.multi_read = false;
                (self.notify)(Notice::MultiRead(false));
                self.ask_one_by_one(operations);
                return Ok(());
            }
            Ok(_) | Err(_) if operations.len() > 1 => {
                // One of them spoils the others: ask each alone.
                self.ask_one_by_one(operations);
                return Ok(());
            }
            Ok(_) | Err(_) => {
                self.walk.answered();
                for operation in operations {
                    self.scanned_nothing(operation, &zkc::Error::MarshallingError, heard_at);
                }
                return Ok(());
            }
        };
        self.walk.answered();
        for (operation, result) in operations.into_iter().zip(results) {
            match result {
                zkc::MultiReadResult::Data { data, stat } => self.scanned_data(operation, data, &stat, heard_at),
                zkc::MultiReadResult::Children { children } => self.scanned_children(operation, children, heard_at),
                zkc::MultiReadResult::Error { err } => self.scanned_nothing(operation, &err, heard_at),
                _ => self.scanned_nothing(operation, &zkc::Error::MarshallingError, heard_at),
            }
        }
        Ok(())
    }

    fn on_scanned_single(&mut self, operation: Operation, answer: Answer, heard_at: Micros) {
        self.walk.answered();
        match answer {
            Answer::Data(Ok((data, stat))) => self.scanned_data(operation, data, &stat, heard_at),
            Answer::Children(Ok(children)) => self.scanned_children(operation, children, heard_at),
            Answer::Data(Err(error)) | Answer::Children(Err(error)) if !is_connection_loss(&error) => {
                self.scanned_nothing(operation, &error, heard_at);
            }
            _ => {}
        }
    }

    fn scanned_data(&mut self, operation: Operation, data: Vec<u8>, stat: &zkc::Stat, heard_at: Micros) {
        let path = operation.path().clone();
        self.suspects.clear(&path);
        self.buckets.take_bytes(data.len() + path.len());
        self.scanned += 1;
        self.walk.found(&path, data.len(), stat.num_children > 0);
        let outcome = ReadOutcome::Found { stat: convert::stat(stat), data: data.into() };
        self.batch.push(Observation::Read { path, event: None, heard_at, outcome });
    }

    fn scanned_children(&mut self, operation: Operation, children: Vec<String>, heard_at: Micros) {
        let path = operation.path().clone();
        self.suspects.clear(&path);
        self.buckets.take_bytes(children.iter().map(|name| name.len() + 4).sum());
        let is_name = |name: &str| !name.is_empty() && !name.contains('/') && name != "." && name != "..";
        let names: Vec<Box<str>> =
            children.into_iter().filter(|name| is_name(name)).map(String::into_boxed_str).collect();
        self.walk.listed(&path, &names);
        self.batch.push(Observation::Children { path, heard_at, outcome: ChildrenOutcome::Found(names) });
    }

    fn scanned_nothing(&mut self, operation: Operation, error: &zkc::Error, heard_at: Micros) {
        self.suspects.clear(operation.path());
        let observation = match operation {
            Operation::Data(path) => {
                let outcome = match error {
                    zkc::Error::NoNode => ReadOutcome::NoNode,
                    zkc::Error::NoAuth => ReadOutcome::NoAuth,
                    _ => ReadOutcome::Failed,
                };
                Observation::Read { path, event: None, heard_at, outcome }
            }
            Operation::Children(path) => {
                let outcome = match error {
                    zkc::Error::NoNode => ChildrenOutcome::NoNode,
                    zkc::Error::NoAuth => ChildrenOutcome::NoAuth,
                    _ => ChildrenOutcome::Failed,
                };
                Observation::Children { path, heard_at, outcome }
            }
        };
        self.batch.push(observation);
    }

    /// `None` where the connection went: the disconnect settles it.
    fn read_outcome(&mut self, path: &ZkPath, result: Result<(Vec<u8>, zkc::Stat), zkc::Error>) -> Option<ReadOutcome> {
        let outcome = match result {
            Ok((data, stat)) => ReadOutcome::Found { stat: convert::stat(&stat), data: data.into() },
            Err(zkc::Error::NoNode) => ReadOutcome::NoNode,
            Err(zkc::Error::NoAuth) => ReadOutcome::NoAuth,
            Err(error) if is_connection_loss(&error) => return None,
            Err(_) => ReadOutcome::Failed,
        };
        self.suspects.clear(path);
        Some(outcome)
    }
}

fn value_bytes(observation: &Observation) -> usize {
    match observation {
        Observation::Read { outcome: ReadOutcome::Found { data, .. }, .. } => data.len(),
        _ => 0,
    }
}

fn stat_outcome(result: Result<Option<zkc::Stat>, zkc::Error>) -> Option<StatOutcome> {
    match result {
        Ok(Some(stat)) => Some(StatOutcome::Found(convert::stat(&stat))),
        Ok(None) => Some(StatOutcome::NoNode),
        Err(error) if is_connection_loss(&error) => None,
        Err(_) => Some(StatOutcome::Failed),
    }
}

fn read_result(error: Option<&zkc::Error>) -> ReadResult {
    match error {
        None => ReadResult::Ok,
        Some(zkc::Error::NoNode) => ReadResult::NoNode,
        Some(zkc::Error::NoAuth) => ReadResult::NoAuth,
        Some(_) => ReadResult::Failed,
    }
}

/// Errors that say that no answer will come. The session's state tells the rest.
fn is_connection_loss(error: &zkc::Error) -> bool {
    matches!(
        error,
        zkc::Error::ConnectionLoss
            | zkc::Error::SessionExpired
            | zkc::Error::SessionMoved
            | zkc::Error::AuthFailed
            | zkc::Error::ClientClosed
            | zkc::Error::NoHosts
            | zkc::Error::Timeout
    )
}
