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
mod drive;
mod order;
pub mod probe;
mod request;
pub mod srvr;
mod vet;
mod walk;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use zookeeper_client as zkc;
pub use zookeeper_client::SessionState;

pub use budget::ReadBudget;
pub use vet::Identity;

use crate::zk::{EventKind, Observation, ScanReason, SessionId, ZkPath, Zxid};
use drive::{Driver, SessionEnd};
use vet::Verdict;
use walk::Suspects;

/// KiB of values between a source and its receiver, at most: the permits of [`Ports::room`].
pub const ROOM_KIB_MAX: u32 = 64 * 1024;

/// How long a server may take to accept a connection before another one is hoped for.
const REACH_TIMEOUT: Duration = Duration::from_secs(3);

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
    pub budget: ReadBudget,
    /// The bound of the ordered queue between the client crate and us.
    pub queue_items_max: usize,
}

/// What `tree` asks of the source, beside what it does by itself.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    ReadAcl(ZkPath),
    Reread(ZkPath),
}

/// What an operator may want to know of the source; not part of the history.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    Connecting,
    ConnectFailed {
        cause: String,
        again_in: Duration,
    },
    Session(SessionState),
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
    #[error("{ensemble}: authentication failed: check the scheme and the credential of this ensemble's auth")]
    AuthFailed { ensemble: String },
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
/// A lost session is replaced by a new one, for ever, with a growing, jittered delay of at most ten seconds.
pub async fn run(config: WatchConfig, first: ScanReason, mut ports: Ports) -> Result<(), SourceError> {
    let mut suspects = Suspects::default();
    let mut next_event = 0;
    let mut reason = first;
    let mut failures = 0u32;
    loop {
        if *ports.stop.borrow() {
            return Ok(());
        }
        (ports.notify)(Notice::Connecting);
        let identity = (ports.identity)();
        let vetted = tokio::select! {
            vetted = connect_vetted(&config, &identity) => vetted,
            _ = ports.stop.wait_for(|stop| *stop) => return Ok(()),
        };
        let client = match vetted {
            Ok(client) => client,
            Err(NotNow::Never(error)) => return Err(error),
            Err(NotNow::Later(cause)) => {
                failures += 1;
                wait_again(&mut ports, failures, cause).await;
                continue;
            }
        };
        failures = 0;
        let (session, timeout) = (SessionId(client.session_id().0), client.session_timeout());
        (ports.notify)(Notice::SessionOpened { session, timeout });
        let notify = ports.notify.clone();
        let mut driver = Driver::new(
            &config,
            client,
            reason,
            (&ports.observations, &ports.room),
            &*notify,
            &mut suspects,
            &mut next_event,
        );
        let end = driver.run(&mut ports.commands, &mut ports.stop).await?;
        reason = driver.reason_after();
        drop(driver);
        match end {
            SessionEnd::Stopped => return Ok(()),
            SessionEnd::Lost => wait_again(&mut ports, 1, "the session ended".to_owned()).await,
        }
    }
}

/// Waits before the next try, shorter if the agent stops.
async fn wait_again(ports: &mut Ports, failures: u32, cause: String) {
    let again_in = jitter(Duration::from_millis(200).saturating_mul(1 << failures.min(6)).min(Duration::from_secs(10)));
    (ports.notify)(Notice::ConnectFailed { cause, again_in });
    tokio::select! {
        () = tokio::time::sleep(again_in) => {}
        _ = ports.stop.wait_for(|stop| *stop) => {}
    }
}

/// Why there is no session that can be trusted.
enum NotNow {
    /// It may be otherwise in a moment.
    Later(String),
    Never(SourceError),
}

/// Opens a session with a server that is not behind what was recorded.
async fn connect_vetted(config: &WatchConfig, identity: &Identity) -> Result<zkc::Client, NotNow> {
    let ensemble = || config.ensemble.clone();
    // The client crate would try for a whole session timeout and then say no more than that.
    reachable(&config.servers).await.map_err(NotNow::Later)?;
    let later = |error: zkc::Error| NotNow::Later(error.to_string());
    let client = connect(config, &config.servers).await.map_err(|error| match error {
        zkc::Error::AuthFailed => NotNow::Never(SourceError::AuthFailed { ensemble: ensemble() }),
        error => later(error),
    })?;
    match vet::vet(&client, &config.scope, identity).await.map_err(later)? {
        Verdict::Same => Ok(client),
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

/// Whether at least one server takes connections; else why each of them does not.
async fn reachable(servers: &[String]) -> Result<(), String> {
    let tries = servers.iter().map(|server| async move {
        let connecting = tokio::net::TcpStream::connect(server.as_str());
        match tokio::time::timeout(REACH_TIMEOUT, connecting).await {
            Ok(Ok(_stream)) => Ok(()),
            Ok(Err(error)) => Err(format!("{server}: {error}")),
            Err(_) => Err(format!("{server}: no answer within {} s", REACH_TIMEOUT.as_secs())),
        }
    });
    let tries = futures::future::join_all(tries).await;
    if tries.iter().any(Result::is_ok) {
        return Ok(());
    }
    Err(tries.into_iter().filter_map(Result::err).collect::<Vec<_>>().join(", "))
}

/// Whether every server is behind what was recorded. One that cannot be asked may not be.
async fn all_behind(config: &WatchConfig, identity: &Identity) -> bool {
    for server in &config.servers {
        let Ok(client) = connect(config, std::slice::from_ref(server)).await else { return false };
        if !matches!(vet::vet(&client, &config.scope, identity).await, Ok(Verdict::Behind { .. })) {
            return false;
        }
    }
    true
}

/// Opens a session. Fails after about the session timeout where no server answers.
pub async fn connect(config: &WatchConfig, servers: &[String]) -> Result<zkc::Client, zkc::Error> {
    let mut connector = zkc::Client::connector().with_session_timeout(config.session_timeout);
    for (scheme, credential) in &config.auth {
        connector = connector.with_auth(scheme, credential);
    }
    connector.connect(&servers.join(",")).await
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
