//! Builds the parts, starts the tasks, shuts them down in order.
//!
//! ```text
//! supervisor (one an ensemble):  source ──batches──> pipeline (tree) ──entries──> recorder (history)
//!                                   └── notices ──> log, metrics, condition
//! upkeep (one an ensemble), servers (one an ensemble), HTTP (one): engine over every ensemble's State
//! ```
//!
//! Ensembles share the process, the runtime's threads and the HTTP door, and nothing else: none can stall or fail
//! another. On SIGTERM or Ctrl-C the sources stop first and wait for the answers to their last events, the recorders
//! flush, then the door closes. A second signal ends the process at once.

pub mod control;
mod entrance;
mod flaps;
pub mod hash_key;
pub mod import;
pub mod import_audit;
mod notices;
mod observing;
mod pipeline;
mod recorded;
mod restore;
mod sampling;
mod servers;
#[cfg(test)]
mod simulation;
mod sources;
mod states;
mod status;
pub mod store;
mod supervisor;
mod sweep;
mod tailing;
pub mod tree_metrics;
mod upkeep;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use tokio::sync::{mpsc, oneshot, watch};

use self::control::OpenDoor;
use self::entrance::Entrance;
use self::states::States;
use self::status::{Condition, Status};
use self::supervisor::{Request, Supervisor};
use crate::config::{Config, EnsembleConfig};
use crate::history::disk::Disk;
use crate::history::retention::RetentionSettings;
use crate::history::{Layout, Settings};
use crate::lens::ValuePolicy;
use crate::metrics::{Metrics, Prefixes, QueryOutcome, Subtrees};
use crate::query::{Engine, ErrorKind, Limits, Observer, QueryEvent};
use crate::serve::http::{self, AppState, Credentials, DoorListener, Hosts, Readiness, SnapshotRefused};
use crate::serve::pg::{self, ConnectionEvent, PgState};

pub use self::sampling::Target;
pub use self::servers::WHITELIST;
pub use self::servers::{Survey, survey};
use self::sources::watch_config_with;
pub use self::sources::{credentials, watch_config};

/// Requests to a pipeline that may wait.
const REQUESTS_MAX: usize = 16;
const DISK_EVERY: Duration = Duration::from_secs(10);

/// Runs the agent until SIGTERM or Ctrl-C. True where every ensemble was stopped in order.
///
/// # Errors
/// Where it cannot even begin: the folder cannot be made, the value policy is wrong, the door is taken.
pub async fn run(config: Config) -> anyhow::Result<bool> {
    let signalled = signalled()?;
    run_until(config, signalled, |_| ()).await
}

/// Where the doors are that are open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doors {
    pub http: Option<std::net::SocketAddr>,
    pub postgres: Option<std::net::SocketAddr>,
}

/// As [`run`], until `end` completes. `ready` hears where the doors are, as soon as they are open.
pub async fn run_until(
    config: Config,
    end: impl Future<Output = ()>,
    ready: impl FnOnce(Doors),
) -> anyhow::Result<bool> {
    let layout = Layout::new(&config.data_dir);
    let key = hash_key::load_or_create(&layout)?;
    let policy = Arc::new(ValuePolicy::new(&config.values, key).context("the value policy")?);
    let prefixes = Prefixes {
        subtrees: Arc::new(Subtrees::new(&config.subtrees, config.subtrees_max)),
        config: Arc::new(Subtrees::new(&config.config_subtrees, config.subtrees_max)),
    };
    let metrics = Metrics::new(prefixes).context("the metrics")?;
    let (status, states) = (Status::default(), States::default());
    let (stop, stopped) = watch::channel(false);
    let entrance = Entrance::open(&config, &metrics)?;
    let proofs: Vec<_> = config.ensembles.iter().map(credentials).collect::<anyhow::Result<_>>()?;

    let engine = engine(&config, &states)?;
    engine.observe(count_queries(metrics.clone()));
    let listener = match config.http.address() {
        Some(address) => Some(http::bind(address).await?),
        None => None,
    };
    let bound = listener.as_ref().map(tokio::net::TcpListener::local_addr).transpose()?;
    let postgres = match config.postgres.address() {
        Some(address) => Some(pg::bind(address).await?),
        None => None,
    };
    let postgres_bound = postgres.as_ref().map(tokio::net::TcpListener::local_addr).transpose()?;
    // Beside a door that speaks TLS, commands on this machine have one of their own, which the token alone opens.
    let own_listener = match (bound, &entrance.tls) {
        (Some(_), Some(_)) => Some(http::bind((std::net::Ipv4Addr::LOCALHOST, 0).into()).await?),
        _ => None,
    };
    let own_bound = own_listener.as_ref().map(tokio::net::TcpListener::local_addr).transpose()?;
    let door = match own_bound.or(bound) {
        Some(address) => Some(OpenDoor::open(layout.dir(), address).context("the agent's token")?),
        None => None,
    };

    let mut requests = Vec::new();
    let mut supervisors = tokio::task::JoinSet::new();
    let mut helpers = tokio::task::JoinSet::new();
    for (ensemble, credentials) in config.ensembles.iter().zip(&proofs) {
        let (sender, receiver) = mpsc::channel(REQUESTS_MAX);
        requests.push((ensemble.name.clone(), sender));
        let cluster_metrics = metrics.cluster(&ensemble.name);
        cluster_metrics.read_budget(ensemble.budget.znodes_per_second, ensemble.budget.bytes_per_second);
        cluster_metrics.tree.jute_maxbuffer_bytes.set(i64::try_from(ensemble.jute_maxbuffer).unwrap_or(i64::MAX));
        let upkeep: Arc<Mutex<()>> = Arc::default();
        let (members, members_known) = watch::channel(None);
        let servers = servers::Sampling {
            ensemble: ensemble.clone(),
            credentials: credentials.clone(),
            discovery: config.server_discovery,
            members: members_known,
            metrics: metrics.clone(),
            stop: stopped.clone(),
        };
        helpers.spawn(servers.run());
        let days = upkeep::Upkeep {
            cluster: ensemble.name.clone(),
            layout: layout.clone(),
            states: states.clone(),
            status: status.clone(),
            retention: retention(&config),
            alone: upkeep.clone(),
            metrics: cluster_metrics.clone(),
        };
        helpers.spawn(upkeep::look_after(days, stopped.clone()));
        let supervisor = Supervisor {
            ensemble: ensemble.clone(),
            credentials: credentials.clone(),
            layout: layout.clone(),
            settings: settings(&config),
            policy: policy.clone(),
            metrics: cluster_metrics,
            status: status.clone(),
            states: states.clone(),
            upkeep,
            requests: receiver,
            members,
            stop: stopped.clone(),
            after: None,
            incarnation: None,
        };
        // Before the doors open: an ensemble that nobody has begun with is not ready.
        status.set(&ensemble.name, Condition::Opening);
        let (name, status) = (ensemble.name.clone(), status.clone());
        supervisors.spawn(async move {
            match tokio::spawn(supervisor.run()).await {
                Ok(in_order) => in_order,
                Err(error) => {
                    status.set(&name, Condition::Failed(format!("ended unexpectedly: {error}")));
                    tracing::error!(cluster = name, %error, "the ensemble's pipeline ended unexpectedly");
                    false
                }
            }
        });
    }
    helpers.spawn(entrance.clone().look_after(metrics.clone(), stopped.clone()));
    let named = config.ensembles.iter().map(|ensemble| ensemble.name.clone()).zip(proofs).collect();
    helpers.spawn(sources::look_after(named, metrics.clone(), stopped.clone()));
    helpers.spawn(measure_disk(layout.clone(), config.retention.free_space_floor, metrics.clone(), stopped.clone()));

    let (close, closed) = watch::channel(false);
    let credentials = Credentials {
        users: entrance.users.clone(),
        token: door.as_ref().map(|open| open.door.token.as_str().into()).unwrap_or_default(),
        door_file: door.as_ref().and_then(|open| std::path::absolute(open.path()).ok()),
        token_only: false,
    };
    let mut served = tokio::task::JoinSet::new();
    if let Some((listener, address)) = postgres.zip(postgres_bound) {
        let state = pg_state(engine.clone(), &metrics, config.postgres_connections, &entrance, address);
        let database = pg::DATABASE;
        tracing::info!(
            %address, tls = entrance.tls.is_some(), "PostgreSQL: psql -h {} -p {} {database}", address.ip(), address.port()
        );
        served.spawn(pg::serve(listener, state, is_closed(closed.clone())));
    }
    let app = app_state(engine, &metrics, &status, requests, credentials, &entrance);
    if let Some((listener, address)) = listener.zip(bound) {
        let app = AppState { hosts: Hosts::new(address, config.http_hosts.clone()), ..app.clone() };
        let listener = DoorListener::new(listener, entrance.tls.clone(), app.credentials.door_file.clone())?;
        tracing::info!(%address, tls = entrance.tls.is_some(), "HTTP: /metrics, /healthz, /readyz, POST /sql");
        served.spawn(http::serve_door(listener, http::router(app), is_closed(closed.clone())));
    }
    if let Some((listener, address)) = own_listener.zip(own_bound) {
        let credentials = Credentials { token_only: true, ..app.credentials.clone() };
        let app = AppState { hosts: Hosts::new(address, []), credentials, ..app };
        served.spawn(http::serve(listener, http::router(app), is_closed(closed)));
    }
    for EnsembleConfig { name, servers, scope, tls, .. } in &config.ensembles {
        let (servers, tls) = (servers.join(","), tls.is_some());
        tracing::info!(cluster = name, servers, scope, tls, "recording into {}", layout.dir().display());
    }

    ready(Doors { http: bound, postgres: postgres_bound });
    wait_for_end(&mut supervisors, &status, end).await?;
    tracing::info!("stopping: draining, flushing");
    let _ = stop.send(true);
    let mut in_order = status.all().iter().all(|(_, condition)| !matches!(condition, Condition::Failed(_)));
    while let Some(ended) = supervisors.join_next().await {
        in_order &= ended.unwrap_or(false);
    }
    let _ = close.send(true);
    // A query that is still being answered must not keep the process.
    let _ = tokio::time::timeout(Duration::from_secs(2), async { while served.join_next().await.is_some() {} }).await;
    helpers.shutdown().await;
    drop(door);
    tracing::info!("stopped");
    Ok(in_order)
}

async fn is_closed(mut closed: watch::Receiver<bool>) {
    let _ = closed.wait_for(|closed| *closed).await;
}

/// Completes with the first SIGTERM or Ctrl-C; the second one then ends the process at once.
pub fn signalled() -> anyhow::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::warn!("second signal: ending at once; what is recorded is safe");
            #[allow(clippy::disallowed_methods, reason = "the operator insists; nothing recorded can be lost by it")]
            std::process::exit(130);
        });
    })
}

/// Waits for the end, or until no ensemble can go on without the operator.
async fn wait_for_end(
    supervisors: &mut tokio::task::JoinSet<bool>,
    status: &Status,
    end: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let mut end = std::pin::pin!(end);
    loop {
        tokio::select! {
            () = &mut end => return Ok(()),
            ended = supervisors.join_next() => {
                if let Some(Err(error)) = &ended {
                    tracing::error!(%error, "an ensemble's supervisor ended unexpectedly");
                }
                if supervisors.is_empty() {
                    let all = status.all();
                    let failed: Vec<String> = all.iter().map(|(cluster, why)| format!("{cluster}: {why}")).collect();
                    anyhow::bail!("no ensemble can be recorded ({})", failed.join("; "));
                }
            }
        }
    }
}

fn engine(config: &Config, states: &States) -> anyhow::Result<Engine> {
    let states = states.clone();
    let limits = Limits {
        memory_bytes_max: usize::try_from(config.query.memory_bytes_max).unwrap_or(usize::MAX),
        time_max: config.query.time_max,
        rows_max: config.query.rows_max,
        spill_bytes_max: config.query.spill_bytes_max,
        concurrent_max: config.query.concurrent_max,
        ..Limits::default()
    };
    let spill = config.data_dir.join(".spill");
    Ok(Engine::new(Arc::new(move || Ok(states.views())), limits, &spill)?)
}

fn count_queries(metrics: Metrics) -> Observer {
    Arc::new(move |event| match event {
        QueryEvent::Started => metrics.query_started(),
        QueryEvent::Ended { took, outcome } => {
            let outcome = match outcome {
                None => QueryOutcome::Cancelled,
                Some(Ok(())) => QueryOutcome::Ok,
                Some(Err(ErrorKind::User)) => QueryOutcome::Refused,
                Some(Err(ErrorKind::Limit | ErrorKind::Busy)) => QueryOutcome::Limited,
                Some(Err(ErrorKind::Server)) => QueryOutcome::Failed,
            };
            metrics.query_ended(outcome, took);
        }
    })
}

fn settings(config: &Config) -> Settings {
    Settings {
        flush_after: config.flush.age_max,
        flush_bytes_max: usize::try_from(config.flush.bytes_max).unwrap_or(usize::MAX),
        free_space_floor_percent: (config.retention.free_space_floor * 100.0).round().clamp(0.0, 100.0) as u8,
        ..Settings::default()
    }
}

fn retention(config: &Config) -> RetentionSettings {
    let days = config.retention.age_max.map_or(u64::from(u32::MAX), |age| age.as_secs().div_ceil(86_400));
    RetentionSettings {
        days_max: u32::try_from(days).unwrap_or(u32::MAX),
        bytes_max: config.retention.bytes_max.unwrap_or(u64::MAX),
        ..RetentionSettings::default()
    }
}

fn pg_state(
    engine: Engine,
    metrics: &Metrics,
    connections_max: usize,
    entrance: &Entrance,
    address: std::net::SocketAddr,
) -> PgState {
    let metrics = metrics.clone();
    PgState {
        engine,
        users: entrance.users.clone(),
        tls: entrance.tls.clone(),
        tls_required: entrance.tls.is_some() && entrance.doors.tls_required.at(address),
        connections_max,
        access_log: entrance.log.clone(),
        connections: Arc::new(move |event| match event {
            ConnectionEvent::Opened => metrics.postgres_opened(),
            ConnectionEvent::Closed => metrics.postgres_closed(),
            ConnectionEvent::Refused => metrics.postgres_refused(),
        }),
        version: env!("CARGO_PKG_VERSION"),
    }
}

fn app_state(
    engine: Engine,
    metrics: &Metrics,
    status: &Status,
    requests: Vec<(String, mpsc::Sender<Request>)>,
    credentials: Credentials,
    entrance: &Entrance,
) -> AppState {
    let (metrics, ready, health) = (metrics.clone(), status.clone(), status.clone());
    let requests = Arc::new(requests);
    let token = credentials.token.clone();
    AppState {
        engine,
        metrics: Arc::new(move || metrics.render()),
        health: Arc::new(move || {
            let failed = health.all().into_iter().filter(|(_, condition)| matches!(condition, Condition::Failed(_)));
            let failed: Vec<String> = failed.map(|(cluster, condition)| format!("{cluster}: {condition}")).collect();
            if failed.is_empty() { Ok(()) } else { Err(failed.join("; ")) }
        }),
        ready: Arc::new(move || {
            let all = ready.all().into_iter();
            all.map(|(cluster, condition)| Readiness {
                cluster,
                ready: condition.is_ready(),
                reason: condition.to_string(),
            })
            .collect()
        }),
        snapshot: Arc::new(move |given| {
            let (requests, right) = (requests.clone(), !token.is_empty() && given.as_deref() == Some(&*token));
            Box::pin(async move {
                if !right {
                    return Err(SnapshotRefused::Unauthorised);
                }
                snapshot_all(&requests).await.map_err(SnapshotRefused::Failed)
            })
        }),
        // Each door has its own.
        hosts: Hosts::new((std::net::Ipv4Addr::LOCALHOST, 0).into(), []),
        credentials,
        access_log: entrance.log.clone(),
        version: env!("CARGO_PKG_VERSION"),
    }
}

/// Snapshots every ensemble, each in its pipeline; gives a line each, or the first failure.
async fn snapshot_all(requests: &[(String, mpsc::Sender<Request>)]) -> Result<String, String> {
    let mut lines = String::new();
    for (cluster, sender) in requests {
        let (done, finished) = oneshot::channel();
        let answer = Box::new(move |result| {
            let _ = done.send(result);
        });
        let gone = || format!("{cluster} is not being recorded");
        sender.send(Request::Snapshot(answer)).await.map_err(|_| gone())?;
        let seq = finished.await.map_err(|_| gone())??;
        lines.push_str(&format!("{cluster}: snapshot at seq {seq}\n"));
    }
    Ok(lines)
}

/// Shows the room on the history's disk, until it is stopped.
async fn measure_disk(layout: Layout, floor: f64, metrics: Metrics, mut stop: watch::Receiver<bool>) {
    loop {
        if let Ok(space) = Disk::new().space(layout.dir()) {
            metrics.disk(space.free_bytes, (space.total_bytes as f64 * floor) as u64);
        }
        tokio::select! {
            () = tokio::time::sleep(DISK_EVERY) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}
