//! Keeps one ensemble's pipeline running: opens the history, restores the tree, starts source and recorder, and begins
//! anew after whatever can heal by itself. A pipeline that cannot says so and leaves the others alone.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc, watch};

use super::notices::Notices;
use super::pipeline::{Parts, Pipeline, SnapshotDone};
use super::recorded;
use super::restore::restore;
use super::sampling::{OWN_SESSIONS_MAX, OwnSession, Sampling, Target};
use super::servers::{CONFIG_PATH, Members};
use super::states::States;
use super::status::{Condition, Status};
use super::tailing::Tailing;
use crate::config::EnsembleConfig;
use crate::history::disk::Disk;
use crate::history::gaps::{covered_up_to, logged_up_to, observed_until, unreadable_paths};
use crate::history::import::ImportSettings;
use crate::history::replay::reach;
use crate::history::snapshots::latest_before;
use crate::history::{Entry, History, HistoryError, Layout, RecorderEvent, Settings};
use crate::lens::ValuePolicy;
use crate::metrics::ClusterMetrics;
use crate::source::watch::credentials::Credentials;
use crate::source::watch::{self as source, Identity, Notice, Ports, SourceError};
use crate::tree::Tree;
use crate::zk::{Ended, Micros, Observation, ReadOutcome, ScanReason, ZkPath, Zxid};

/// Batches of observations between source and pipeline.
const OBSERVATION_BATCHES_MAX: usize = 64;
const COMMANDS_MAX: usize = 1024;
/// Answers of a pipeline that wait for whoever follows a log.
const SYNCED_MAX: usize = 16;
/// Memory for a live log's changes on their way.
const TAILING_BYTES_MAX: usize = 64 << 20;
/// The bound of the ordered queue of a source.
pub(super) const QUEUE_ITEMS_MAX: usize = 262_144;
/// How often the pipeline looks at the clock.
const TICK: Duration = Duration::from_millis(50);
/// What the history holds is counted anew this often.
const COUNT_EVERY: Duration = Duration::from_secs(10);
/// How long to wait before a history that could not be written is opened again.
const REOPEN_AFTER: Duration = Duration::from_secs(2);
/// A pipeline that ran so long before it broke is not one that breaks again and again.
const STABLE_AFTER: Duration = Duration::from_secs(60);

/// A request to a running pipeline.
pub enum Request {
    Snapshot(SnapshotDone),
}

/// Everything that one ensemble's pipeline is made from.
pub struct Supervisor {
    pub ensemble: EnsembleConfig,
    pub credentials: Credentials,
    pub layout: Layout,
    pub settings: Settings,
    pub policy: Arc<ValuePolicy>,
    pub metrics: ClusterMetrics,
    pub status: Status,
    pub states: States,
    pub upkeep: Arc<Mutex<()>>,
    pub requests: mpsc::Receiver<Request>,
    /// Hears what `/zookeeper/config` says, as often as it is read.
    pub members: watch::Sender<Option<Arc<Members>>>,
    pub stop: watch::Receiver<bool>,
    /// Why recording ended the last time, if by a failure of our own: what the open intervals are closed with.
    pub after: Option<Ended>,
    /// The incarnation that this process records in, once it is chosen.
    pub incarnation: Option<i32>,
}

/// Why a pipeline ended without being asked to.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    History(#[from] HistoryError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("{0}")]
    Task(String),
}

impl Supervisor {
    /// Runs until it is stopped, or until only the operator can help. True where it was stopped in order.
    pub async fn run(mut self) -> bool {
        let cluster = self.ensemble.name.clone();
        let mut tries = 0u32;
        // Without a pipeline nobody else counts the gap.
        let mut unwatched = Some(Instant::now());
        loop {
            let began = Instant::now();
            let broken = match self.once(&mut unwatched).await {
                Ok(()) => {
                    self.status.set(&cluster, Condition::Stopped);
                    return true;
                }
                Err(broken) => broken,
            };
            self.metrics.recording.set(0);
            unwatched.get_or_insert_with(Instant::now);
            self.after = match &broken {
                Broken::History(error) if error.is_disk_full() => Some(Ended::DiskFull),
                Broken::History(_) => Some(Ended::WriteFailed),
                _ => None,
            };
            if self.metrics.gap_open.get() == 0 {
                self.metrics.history.gap_begins(self.after.unwrap_or(Ended::WriteFailed));
            }
            self.metrics.gap_open.set(1);
            if let (Some(ended), Some(state)) = (self.after, self.states.get(&cluster))
                && let Err(error) = state.end_open_coverage(ended)
            {
                tracing::error!(cluster, %error, "the gap that begins is not shown until recording goes on");
            }
            tries = if began.elapsed() > STABLE_AFTER { 0 } else { tries.saturating_add(1) };
            let cause = broken.to_string();
            if let Broken::Source(_) | Broken::History(HistoryError::Locked { .. } | HistoryError::NewerFormat { .. }) =
                broken
            {
                tracing::error!(cluster, cause, "stopped");
                self.status.set(&cluster, Condition::Failed(cause));
                return false;
            }
            if self.status.set(&cluster, Condition::Paused(cause.clone())) {
                tracing::error!(cluster, cause, "recording is paused; trying again");
            }
            loop {
                self.count_gap(&mut unwatched);
                tokio::select! {
                    () = tokio::time::sleep(REOPEN_AFTER.saturating_mul(1 << tries.min(5))) => {}
                    Some(Request::Snapshot(done)) = self.requests.recv() => {
                        done(Err(format!("{cluster} is not being recorded: {cause}")));
                        continue;
                    }
                    () = told(&mut self.stop) => {
                        self.status.set(&cluster, Condition::Stopped);
                        return true;
                    }
                }
                if self.after != Some(Ended::DiskFull) || self.has_room() {
                    break;
                }
            }
        }
    }

    /// Adds what has passed of a gap without a pipeline.
    fn count_gap(&self, unwatched: &mut Option<Instant>) {
        if let Some(since) = unwatched {
            self.metrics.gap_seconds.inc_by(since.elapsed().as_secs_f64());
            *since = Instant::now();
        }
    }

    fn hear_of_members(&self, observations: &[Observation]) {
        for observation in observations {
            if let Observation::Read { path, outcome: ReadOutcome::Found { data, .. }, .. } = observation
                && **path == *CONFIG_PATH
            {
                let members = Members::read(data).map(Arc::new);
                self.members.send_if_modified(|known| {
                    let is_news = *known != members;
                    *known = members;
                    is_news
                });
            }
        }
    }

    /// Whether recording may go on: with some room above the floor, or it would stop again at once.
    fn has_room(&self) -> bool {
        let percent = self.settings.free_space_floor_percent.saturating_add(1).min(99);
        Disk::new().check_floor(self.layout.dir(), percent).is_ok()
    }

    /// From opening the history to its orderly end. From the pipeline's begin on, that counts the gaps.
    async fn once(&mut self, unwatched: &mut Option<Instant>) -> Result<(), Broken> {
        let cluster = self.ensemble.name.clone();
        let scope = ZkPath::from(self.ensemble.scope.as_str());
        if !matches!(self.status.get(&cluster), Some(Condition::Paused(_))) {
            self.status.set(&cluster, Condition::Opening);
        }
        let (layout, settings, after) = (self.layout.clone(), self.settings, self.after);
        let (name, states, upkeep) = (cluster.clone(), self.states.clone(), self.upkeep.clone());
        let wanted = self.incarnation.map_or(Incarnation::Last, Incarnation::Exactly);
        let wanted =
            if self.ensemble.new_incarnation && self.incarnation.is_none() { Incarnation::New } else { wanted };
        let opened = blocking(move || {
            // Whoever still works on the folder through the State before this one is waited for.
            let _alone = upkeep.lock().unwrap_or_else(PoisonError::into_inner);
            let history = match after {
                Some(ended) => History::open_after(&layout, &name, settings, ended)?,
                None => History::open(&layout, &name, settings)?,
            };
            states.set(&name, history.state());
            begin(history, &scope, wanted)
        });
        let opened = opened.await?;
        let Opened { history, tree, incarnation, greatest, first, unreadable } = opened;
        let first_ever = covered_up_to(&history.state().view(), incarnation)?.is_none();
        if let Some(until) = observed_until(&history.state().view(), incarnation)? {
            self.metrics.observed_until(until.min(Micros::now()));
        }
        self.incarnation = Some(incarnation);
        let state = history.state();
        log_opened(&cluster, incarnation, greatest, first);

        let failure: Arc<Mutex<Option<HistoryError>>> = Arc::default();
        let (recorder, recorder_thread) = {
            let (metrics, failure) = (self.metrics.clone(), failure.clone());
            history.record(move |event| match event {
                RecorderEvent::Failed(error) => {
                    *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                }
                event => recorded::count(&metrics, &event),
            })
        };
        self.metrics.recording.set(1);

        let identity: Arc<Mutex<Identity>> = Arc::default();
        let (observations_in, mut observations) = mpsc::channel(OBSERVATION_BATCHES_MAX);
        let (commands, commands_out) = mpsc::channel(COMMANDS_MAX);
        let (stop_source, source_stop) = watch::channel(false);
        let watch_config = super::watch_config_with(&self.ensemble, self.credentials.clone());
        let budget = watch_config.budget;
        let (synced_in, synced) = mpsc::channel(SYNCED_MAX);
        let (from_log_in, mut from_log) = mpsc::channel(1);
        let tailing = match self.ensemble.txnlog.as_slice() {
            [] => None,
            folders => {
                let (view, scope) = (state.view(), watch_config.scope.clone());
                let reached = blocking(move || logged_up_to(&view, incarnation, &scope)).await?;
                Some(Tailing {
                    cluster: cluster.clone(),
                    folders: folders.to_vec(),
                    servers: self.ensemble.servers.clone(),
                    credentials: self.credentials.clone(),
                    settings: ImportSettings {
                        incarnation,
                        scope: watch_config.scope.clone(),
                        free_space_floor_percent: self.settings.free_space_floor_percent,
                        // The recorder waits meanwhile: nothing is left to other threads.
                        threads_max: 0,
                        bytes_max: TAILING_BYTES_MAX,
                        leaves_coverage: true,
                        ..ImportSettings::default()
                    },
                    policy: self.policy.clone(),
                    layout: self.layout.clone(),
                    state: state.clone(),
                    upkeep: self.upkeep.clone(),
                    metrics: self.metrics.clone(),
                    commands: commands.clone(),
                    synced,
                    work: from_log_in,
                    reached,
                    uncovered: None,
                    stop: self.stop.clone(),
                })
            }
        };
        self.count_gap(unwatched);
        *unwatched = None;
        let mut pipeline = Pipeline::new(
            Parts {
                cluster: cluster.clone(),
                scope: watch_config.scope.clone(),
                incarnation,
                layout: self.layout.clone(),
                state: state.clone(),
                recorder: recorder.clone(),
                policy: self.policy.clone(),
                metrics: self.metrics.clone(),
                status: self.status.clone(),
                commands,
                identity: identity.clone(),
                upkeep: self.upkeep.clone(),
                queue_items_max: QUEUE_ITEMS_MAX,
                acl_every: self.ensemble.acl_sweep.unwrap_or(Duration::MAX),
                acl_first_per_second: budget.znodes_per_second,
                synced: synced_in,
            },
            tree,
            greatest,
            unreadable,
            first_ever,
        );
        let (own_sessions, own) = mpsc::channel(OWN_SESSIONS_MAX);
        let sampling = Sampling {
            cluster: cluster.clone(),
            incarnation,
            targets: Target::of(&self.ensemble),
            every: self.ensemble.session_sample,
            recorder: recorder.clone(),
            metrics: self.metrics.clone(),
            own,
            stop: self.stop.clone(),
        };
        let sampling = tokio::spawn(sampling.run());
        let mut tailing = tailing.map(|tailing| tokio::spawn(tailing.run()));
        let notices = Notices::new(cluster.clone(), self.metrics.clone(), self.status.clone(), QUEUE_ITEMS_MAX);
        let ports = Ports {
            observations: observations_in,
            room: Arc::new(Semaphore::new(source::ROOM_KIB_MAX as usize)),
            commands: commands_out,
            stop: source_stop,
            notify: Arc::new(move |notice| {
                if let Notice::SessionOpened { session, timeout } = notice {
                    // Where nobody takes them in time, one is not recorded as opened.
                    let _ = own_sessions.try_send(OwnSession { session, timeout, opened_at: Micros::now() });
                }
                notices.hear(notice);
            }),
            identity: Arc::new(move || identity.lock().unwrap_or_else(PoisonError::into_inner).clone()),
        };
        let source = tokio::spawn(source::run(watch_config, first, ports));

        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut count = tokio::time::interval(COUNT_EVERY);
        let mut stopping = false;
        let mut failed_snapshot = None;
        let gone = loop {
            let step = tokio::select! {
                batch = observations.recv() => match batch {
                    Some(batch) => {
                        self.hear_of_members(&batch.observations);
                        pipeline.take(batch.observations).await
                    }
                    None => break false,
                },
                _ = tick.tick() => {
                    if let Some(cause) = pipeline.snapshot_failure() {
                        // Without it the values that only a scan has read are on record nowhere: read them again.
                        failed_snapshot = Some(cause);
                        break true;
                    }
                    pipeline.tick().await
                }
                _ = count.tick() => {
                    recorded::count_held(&self.metrics, &state.view());
                    Ok(())
                }
                Some(Request::Snapshot(done)) = self.requests.recv() => pipeline.ask_snapshot(done).await,
                Some(found) = from_log.recv() => pipeline.work_in(found).await,
                () = told(&mut self.stop), if !stopping => {
                    stopping = true;
                    let _ = stop_source.send(true);
                    Ok(())
                }
            };
            if step.is_err() {
                break true;
            }
        };
        if gone {
            // Nothing can be recorded, so nothing is watched.
            cancelled(sampling).await;
            if let Some(tailing) = tailing.take() {
                cancelled(tailing).await;
            }
            let _ = stop_source.send(true);
            let _ = pipeline.end(Ended::WriteFailed).await;
            source.abort();
            let _ = source.await;
            drop(pipeline);
            drop(recorder);
            join(recorder_thread).await?;
            let failure = failure.lock().unwrap_or_else(PoisonError::into_inner).take();
            return Err(match (failure, failed_snapshot) {
                (Some(error), _) => error.into(),
                (None, Some(cause)) => Broken::Task(format!("the snapshot could not be written: {cause}")),
                (None, None) => Broken::Task("the recorder has stopped".to_owned()),
            });
        }
        let ended = source.await;
        if let Some(mut tailing) = tailing.take() {
            // It has its last word, too: how far the log was worked in.
            let mut ended = false;
            while *self.stop.borrow() && !ended {
                tokio::select! {
                    _ = &mut tailing => ended = true,
                    Some(found) = from_log.recv() => ended = pipeline.work_in(found).await.is_err(),
                }
            }
            if !tailing.is_finished() {
                cancelled(tailing).await;
            }
        }
        if *self.stop.borrow() {
            // It has its last words, which need the recorder alone.
            let _ = sampling.await;
        } else {
            cancelled(sampling).await;
        }
        let why = match &ended {
            Ok(Ok(())) => Ended::Stopped,
            Ok(Err(SourceError::AuthFailed { .. })) => Ended::AuthFailed,
            _ => Ended::Disconnected,
        };
        let stopped = async {
            // A source that died without a last word leaves events that wait for their answer: they are rows all the same.
            pipeline.disconnected(why).await?;
            let (done, finished) = tokio::sync::oneshot::channel();
            recorder.send(Entry::Stop(done)).await?;
            // No answer: the last flush failed.
            finished.await.map_err(|_| crate::history::RecorderGone)
        };
        let stopped = stopped.await;
        drop(pipeline);
        drop(recorder);
        join(recorder_thread).await?;
        if stopped.is_err()
            && let Some(error) = failure.lock().unwrap_or_else(PoisonError::into_inner).take()
        {
            return Err(error.into());
        }
        match ended {
            Ok(result) => Ok(result?),
            Err(error) => Err(Broken::Task(format!("the source ended: {error}"))),
        }
    }
}

/// Ends a task at its next wait, and waits for that: it lets go of the recorder.
async fn cancelled(task: tokio::task::JoinHandle<()>) {
    task.abort();
    let _ = task.await;
}

/// Returns when the agent is told to stop, or has gone.
async fn told(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

pub(super) struct Opened {
    pub(super) history: History,
    pub(super) tree: Tree,
    pub(super) incarnation: i32,
    pub(super) greatest: Zxid,
    pub(super) first: ScanReason,
    /// Paths whose coverage ended because they could not be read.
    pub(super) unreadable: Vec<ZkPath>,
}

/// In which incarnation recording goes on.
#[derive(Clone, Copy)]
pub(super) enum Incarnation {
    Last,
    /// The one after the last: zxids start over.
    New,
    /// The one that this process has chosen before.
    Exactly(i32),
}

/// Decides where recording goes on, and restores the tree if there is one.
pub(super) fn begin(history: History, scope: &ZkPath, wanted: Incarnation) -> Result<Opened, HistoryError> {
    let recorded = history.recorded();
    let incarnation = match (wanted, recorded.last_incarnation) {
        (Incarnation::Exactly(incarnation), _) => incarnation,
        (Incarnation::New, Some(before)) => before.saturating_add(1),
        (Incarnation::Last, Some(before)) => before,
        (_, None) => 1,
    };
    let view = history.state().view();
    let unreadable = unreadable_paths(&view, incarnation)?.into_iter().map(ZkPath::from).collect();
    if latest_before(&view, incarnation, i64::MAX)?.is_none() {
        // Nothing to compare with: a first look, or one that was cut short.
        let (tree, greatest) = (Tree::new(scope.clone(), incarnation), Zxid::default());
        return Ok(Opened { history, tree, incarnation, greatest, first: ScanReason::Bootstrap, unreadable });
    }
    // What a scan that was cut short recorded lies after the gap: the gap begins where coverage ended.
    let covered = covered_up_to(&view, incarnation)?;
    let greatest = covered.unwrap_or(recorded.greatest_position);
    let mut tree = Tree::new(scope.clone(), incarnation);
    restore(&view, &mut tree)?;
    for (path, position) in reach(&view, incarnation, greatest.0)? {
        tree.reach(&path, Zxid(position));
    }
    tree.restored(greatest);
    Ok(Opened { history, tree, incarnation, greatest, first: ScanReason::Start, unreadable })
}

fn log_opened(cluster: &str, incarnation: i32, greatest: Zxid, first: ScanReason) {
    if first == ScanReason::Bootstrap {
        tracing::info!(cluster, incarnation, "a new history begins");
    } else {
        tracing::info!(cluster, incarnation, zxid = %greatest, "the history goes on");
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, HistoryError> + Send + 'static,
) -> Result<T, Broken> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => Ok(result?),
        Err(error) => Err(Broken::Task(error.to_string())),
    }
}

async fn join(thread: std::thread::JoinHandle<()>) -> Result<(), Broken> {
    let joined = tokio::task::spawn_blocking(move || thread.join()).await;
    match joined {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(Broken::Task("the recorder's thread panicked".to_owned())),
    }
}
