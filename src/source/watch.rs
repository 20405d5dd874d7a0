//! The watch source: an ordinary client that watches the whole tree and reads what changed.
//!
//! On every connection the same order holds: `sync`, a persistent recursive watch, then a scan of the scope by multi-reads
//! while events queue, then one read for every event. The server replays nothing after a disconnect
//! (ZOOKEEPER-4698), so each reconnect, each new session and each start with a history scans again; `tree` compares.
//!
//! Invariants:
//! - The stream is in the order of the server's packets (see [`order`]).
//! - Nothing is ever written to the ensemble: getData, getChildren, exists, getACL, sync, addWatch are all that is sent.
//! - Every queue has a bound; at the bound the source is cut with a gap and scans again.

mod budget;
mod convert;
pub mod credentials;
mod drive;
mod knock;
mod order;
pub mod probe;
mod request;
pub mod srvr;
mod vet;
mod walk;
mod whoami;
pub mod words;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use zookeeper_client as zkc;
pub use zookeeper_client::SessionState;

pub use budget::ReadBudget;
pub use vet::Identity;

use crate::zk::{EventKind, Observation, ScanReason, SessionId, ZkPath, Zxid};
use credentials::Credentials;
use drive::{Driver, SessionEnd};
use vet::Verdict;
use walk::Suspects;

/// KiB of values between a source and its receiver, at most: the permits of [`Ports::room`].
pub const ROOM_KIB_MAX: u32 = 64 * 1024;

/// A session that is so long in coming is looked into: the client crate goes on trying and never says why.
const EXPLAIN_AFTER: Duration = Duration::from_secs(3);
const AGAIN_MAX: Duration = Duration::from_secs(10);
/// The longest wait for another try where a server does not let us in: until then nothing will have changed, and each
/// try is a line in its log. New credentials end it.
const REFUSED_AGAIN_MAX: Duration = Duration::from_secs(60);

/// How to reach and read one ensemble.
#[derive(Clone)]
pub struct WatchConfig {
    /// The operator's name, for messages.
    pub ensemble: String,
    /// `host:port` each.
    pub servers: Vec<String>,
    /// The path that is watched with everything below it; a chroot is only a scope: paths stay absolute.
    pub scope: ZkPath,
    pub session_timeout: Duration,
    /// Schemes and credentials of addauth, in order.
    pub auth: Vec<(String, Vec<u8>)>,
    /// TLS and SASL.
    pub credentials: Credentials,
    pub budget: ReadBudget,
    /// The bound of the ordered queue between the client crate and us.
    pub queue_items_max: usize,
}

/// What `tree` asks of the source, beside what it does by itself.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    ReadAcl(ZkPath),
    Reread(ZkPath),
    /// Bring the server up to this committed transaction at least, and say in the stream that all of it has come
    /// ([`Observation::Synced`]). Passed over while the tree is not complete.
    Sync(Zxid),
}

/// What an operator may want to know of the source; not part of the history.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    Connecting,
    ConnectFailed {
        cause: String,
        again_in: Duration,
    },
    /// Servers that cannot be used though others can: why, each; nothing where all are well again.
    Unusable(Vec<String>),
    Session(SessionState),
    /// The servers do not care who we are, though we say it.
    Nobody(String),
    /// A lost connection has not come back for a while: why.
    StillLost(String),
    /// A session of our own has begun.
    SessionOpened {
        session: SessionId,
        timeout: Duration,
    },
    /// The server took the persistent recursive watch.
    Armed,
    /// Whether this server tells zxids in its events (3.9 and later do).
    EventZxids(bool),
    /// Whether notifications name the znode itself, as they should, or the watched path.
    NodePaths(bool),
    /// Whether the server has multi-reads; without them scans read one by one.
    MultiRead(bool),
    /// A session could not be armed: it begins anew.
    Refused {
        action: &'static str,
        cause: String,
    },
    /// An event named something that is no path: ignored.
    BadPath(String),
    Notification(EventKind),
    /// A read was answered; a multi-read counts once.
    Read(ReadKind, ReadResult),
    /// A scan waits for its budget.
    BudgetWait(Duration),
    ScanStarted(ScanReason),
    /// Told about twice a second while a scan goes on.
    ScanProgress {
        znodes: usize,
        waiting: usize,
    },
    ScanFinished,
    Overrun,
    Queue {
        events: usize,
        reads: usize,
    },
}

/// What was asked of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadKind {
    GetData,
    GetChildren,
    Exists,
    GetAcl,
    MultiRead,
    Sync,
}

/// How a read ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadResult {
    Ok,
    NoNode,
    NoAuth,
    Failed,
}

/// Why the source cannot go on by itself: the operator has to do something.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error(
        "{ensemble}: the server has no persistent recursive watches (addWatch). zktrail needs ZooKeeper 3.6 or newer: \
         upgrade the servers"
    )]
    NoAddWatch { ensemble: String },
    #[error("{ensemble}: authentication failed: {cause}")]
    AuthFailed { ensemble: String, cause: String },
    #[error("{ensemble}: the server refuses to watch {scope}: give the agent's user read permission there")]
    ScopeRefused { ensemble: String, scope: String },
    #[error(
        "{ensemble}: every server is behind what was recorded (at zxid {seen}, recorded {recorded}): ensemble rebuilt, \
         or the wrong host. Use another cluster name, or --new-incarnation if it was restored on purpose"
    )]
    Behind { ensemble: String, seen: Zxid, recorded: Zxid },
    #[error(
        "{ensemble}: {path} was created at zxid {found}, on record it is {recorded}: ensemble rebuilt, or the wrong host. \
         Use another cluster name, or --new-incarnation if it was restored on purpose"
    )]
    Rebuilt { ensemble: String, path: String, recorded: Zxid, found: Zxid },
}

/// The receiving ends that a running source talks to.
pub struct Ports {
    /// Observations in order, in batches; bounded by its capacity and by `room`.
    pub observations: mpsc::Sender<Batch>,
    /// KiB of values that may be on their way between source and receiver.
    pub room: Arc<Semaphore>,
    pub commands: mpsc::Receiver<Command>,
    /// Set to true to stop: the answers to the last events are waited for, then `Disconnected` ends the stream.
    pub stop: watch::Receiver<bool>,
    pub notify: Arc<dyn Fn(Notice) + Send + Sync>,
    /// What the history knows of the ensemble, asked before each new session is trusted.
    pub identity: Arc<dyn Fn() -> Identity + Send + Sync>,
}

/// Observations in order. Their share of the room between source and receiver is given back when it is dropped.
pub struct Batch {
    pub observations: Vec<Observation>,
    _room: Option<OwnedSemaphorePermit>,
}

/// Watches until it is stopped (`Ok`) or cannot go on without the operator (`Err`).
///
/// A lost session is replaced by a new one, for ever, with a growing, jittered delay of at most ten seconds. A server that
/// refuses our credentials ends it, unless they were good before: then they are being changed on one of both sides.
pub async fn run(config: WatchConfig, first: ScanReason, mut ports: Ports) -> Result<(), SourceError> {
    let mut suspects = Suspects::default();
    let mut next_event = 0;
    let mut reason = first;
    let mut failures = 0u32;
    let mut let_in = false;
    loop {
        if *ports.stop.borrow() {
            return Ok(());
        }
        (ports.notify)(Notice::Connecting);
        let identity = (ports.identity)();
        let reloads = config.credentials.reloads();
        let vetted = tokio::select! {
            vetted = connect_vetted(&config, &identity, &*ports.notify) => vetted,
            _ = ports.stop.wait_for(|stop| *stop) => return Ok(()),
        };
        let client = match vetted {
            Ok(client) => client,
            Err(NotNow::Refused(cause)) if let_in => {
                failures += 1;
                wait_again(&mut ports, failures, REFUSED_AGAIN_MAX, cause, reloads).await;
                continue;
            }
            Err(NotNow::Refused(cause)) => {
                return Err(SourceError::AuthFailed { ensemble: config.ensemble, cause });
            }
            Err(NotNow::Never(error)) => return Err(error),
            Err(NotNow::Later(cause)) => {
                failures += 1;
                wait_again(&mut ports, failures, AGAIN_MAX, cause, reloads).await;
                continue;
            }
        };
        let (session, timeout) = (SessionId(client.session_id().0), client.session_timeout());
        (ports.notify)(Notice::SessionOpened { session, timeout });
        (failures, let_in) = (0, true);
        let (connected, connection) = watch::channel(true);
        let notify = |notice: Notice| {
            if let Notice::Session(state) = &notice {
                connected.send_replace(*state == SessionState::SyncConnected);
            }
            (ports.notify)(notice);
        };
        let mut driver = Driver::new(
            &config,
            client,
            reason,
            (&ports.observations, &ports.room),
            &notify,
            &mut suspects,
            &mut next_event,
        );
        let end = tokio::select! {
            end = driver.run(&mut ports.commands, &mut ports.stop) => end?,
            never = explain_losses(&config, connection, &*ports.notify) => match never {},
        };
        reason = driver.reason_after();
        drop(driver);
        let cause = match end {
            SessionEnd::Stopped => return Ok(()),
            SessionEnd::Lost => "the session ended".to_owned(),
            SessionEnd::Refused => refused(&config),
        };
        wait_again(&mut ports, 1, AGAIN_MAX, cause, reloads).await;
    }
}

/// Says why a connection that was lost does not come back, once a loss: the client crate tries for long and never does.
async fn explain_losses(
    config: &WatchConfig,
    mut connection: watch::Receiver<bool>,
    notify: &(dyn Fn(Notice) + Send + Sync),
) -> Infallible {
    loop {
        if connection.wait_for(|connected| !*connected).await.is_err() {
            return std::future::pending().await;
        }
        let back = connection.wait_for(|connected| *connected);
        if tokio::time::timeout(EXPLAIN_AFTER, back).await.is_ok() {
            continue;
        }
        let cause = match knock::reachable(config).await {
            Ok(_) => knock::explain(config).await,
            Err(causes) => Some(causes),
        };
        if let Some(cause) = cause.filter(|_| !*connection.borrow()) {
            notify(Notice::StillLost(cause));
        }
        let _ = connection.wait_for(|connected| *connected).await;
    }
}

/// Waits before the next try; no longer if the agent stops, or there are new credentials.
async fn wait_again(
    ports: &mut Ports,
    failures: u32,
    longest: Duration,
    cause: String,
    mut reloads: watch::Receiver<u64>,
) {
    let again_in = jitter(Duration::from_millis(200).saturating_mul(1 << failures.min(9)).min(longest));
    (ports.notify)(Notice::ConnectFailed { cause, again_in });
    tokio::select! {
        () = tokio::time::sleep(again_in) => {}
        Ok(()) = reloads.changed() => {}
        _ = ports.stop.wait_for(|stop| *stop) => {}
    }
}

/// Why there is no session that can be trusted.
enum NotNow {
    /// It may be otherwise in a moment.
    Later(String),
    /// The server does not take us for whom we say that we are.
    Refused(String),
    Never(SourceError),
}

/// Opens a session with a server that is not behind what was recorded.
async fn connect_vetted(
    config: &WatchConfig,
    identity: &Identity,
    notify: &(dyn Fn(Notice) + Send + Sync),
) -> Result<zkc::Client, NotNow> {
    let ensemble = || config.ensemble.clone();
    // The client crate would try for a whole session timeout and then say no more than that.
    let unusable = knock::reachable(config).await.map_err(NotNow::Later)?;
    notify(Notice::Unusable(unusable));
    let later = |error: zkc::Error| NotNow::Later(error.to_string());
    let client = connect(config).await.map_err(|error| match error {
        ConnectError::Refused(cause) => NotNow::Refused(cause),
        error => NotNow::Later(error.to_string()),
    })?;
    match vet::vet(&client, &config.scope, identity).await.map_err(later)? {
        Verdict::Same => {
            if let Some(sasl) = config.credentials.sasl().filter(|sasl| sasl.is_challenged())
                && whoami::asks_for_proof(config).await == Some(false)
            {
                notify(Notice::Nobody(sasl.is_nobody()));
            }
            Ok(client)
        }
        Verdict::Rebuilt { path, recorded, found } => {
            Err(NotNow::Never(SourceError::Rebuilt { ensemble: ensemble(), path, recorded, found }))
        }
        Verdict::Behind { seen, recorded } => {
            drop(client);
            if all_behind(config, identity).await {
                return Err(NotNow::Never(SourceError::Behind { ensemble: ensemble(), seen, recorded }));
            }
            Err(NotNow::Later(format!("the server is behind: at {seen}, recorded {recorded}")))
        }
    }
}

/// What to do where a server does not let us in.
fn refused(config: &WatchConfig) -> String {
    match (config.credentials.sasl(), config.auth.is_empty()) {
        (Some(sasl), _) => sasl.refused(),
        (None, false) => "check the scheme and the credential of this ensemble's auth".to_owned(),
        (None, true) => {
            "the server lets in nobody without credentials: give sasl_user and its password, or what else it wants"
                .to_owned()
        }
    }
}

/// Whether every server is behind what was recorded. One that cannot be asked may not be.
async fn all_behind(config: &WatchConfig, identity: &Identity) -> bool {
    for server in &config.servers {
        let Ok(client) = open(config, server).await else { return false };
        if !matches!(vet::vet(&client, &config.scope, identity).await, Ok(Verdict::Behind { .. })) {
            return false;
        }
    }
    true
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Authentication failed; says what to do.
    #[error("authentication failed: {0}")]
    Refused(String),
    #[error("{0}")]
    Explained(String),
    #[error(
        "{error} within {timeout:?}: is the address right, is a quorum up, does a firewall stand between?{suspicion}"
    )]
    Client { error: zkc::Error, timeout: Duration, suspicion: String },
}

/// Opens a session with any of the servers. Fails after about the session timeout where none lets us in, and says why as
/// soon as that can be found out.
pub async fn connect(config: &WatchConfig) -> Result<zkc::Client, ConnectError> {
    let servers = config.servers.join(",");
    let mut connecting = std::pin::pin!(open(config, &servers));
    let connected = match tokio::time::timeout(EXPLAIN_AFTER, &mut connecting).await {
        Ok(connected) => connected,
        Err(_) => match knock::explain(config).await {
            Some(cause) => return Err(ConnectError::Explained(cause)),
            None => connecting.await,
        },
    };
    connected.map_err(|error| match error {
        zkc::Error::AuthFailed => ConnectError::Refused(refused(config)),
        error => ConnectError::Client {
            error,
            timeout: config.session_timeout,
            suspicion: config.credentials.sasl().map(|sasl| sasl.suspicion()).unwrap_or_default(),
        },
    })
}

/// Opens a session with one of these servers.
async fn open(config: &WatchConfig, servers: &str) -> Result<zkc::Client, zkc::Error> {
    let mut connector = zkc::Client::connector().with_session_timeout(config.session_timeout);
    for (scheme, credential) in &config.auth {
        connector = connector.with_auth(scheme, credential);
    }
    config.credentials.connect(connector, servers).await
}

/// A random part of a duration: between half of it and all of it.
fn jitter(most: Duration) -> Duration {
    let mut random = [0u8; 4];
    // Without randomness everybody waits the full time: correct, only less spread.
    if getrandom::fill(&mut random).is_err() {
        return most;
    }
    let part = f64::from(u32::from_le_bytes(random)) / f64::from(u32::MAX);
    most.mul_f64(0.5 + part / 2.0)
}
