//! The PostgreSQL door: whoever speaks PostgreSQL's protocol asks the history here.
//!
//! ```text
//! startup ── who it is, over TLS or not            scram, message, wire
//! connection ── one task, one session a client     settings, transaction, backends
//!    a text ──> command ── about the session itself
//!                  └────> question ──> Session ──> rows ── encoded as they come
//! ```
//!
//! Invariants
//! - Nothing is written: what would is refused by name ([`crate::query`] decides, in one place), and a transaction is
//!   a form without a content. Each query sees the history as it is when it begins.
//! - A prepared statement keeps its text and its types, never a plan: a plan would hold a View of the history.
//! - What a session sets stays in it. It holds no more than [`wire::MESSAGE_BYTES_MAX`] of a message,
//!   [`connection::STATEMENTS_MAX`] statements and [`connection::PORTALS_MAX`] portals.
//! - A query ends with its client: a cancel request, a timeout or a lost connection drops its stream, and that stops it.
//! - Rows are sent as they come; a portal that is fetched in parts holds the running query, not its answer.
//! - No byte that a client sends can panic: messages are taken apart with every length checked.
//! - At most so many connections are open as the operator allows; one more is told so (53300) and closed.

mod backends;
mod command;
mod connection;
mod error;
mod message;
mod parameters;
mod question;
mod rows;
mod scram;
mod settings;
mod startup;
mod transaction;
mod wire;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use self::backends::Backends;
use self::error::PgError;
use crate::query::{Engine, ErrorKind};
use crate::serve::access_log::AccessLog;
use crate::serve::tls::Tls;
use crate::serve::users::Users;

/// The one database, as clients name it.
pub const DATABASE: &str = "zktrail";

/// The PostgreSQL whose protocol and catalog are spoken.
const SERVER_VERSION: &str = "16.4";

/// How long a new connection may take to say who it is.
const STARTUP_TIME_MAX: Duration = Duration::from_secs(10);

/// Connections that may be busy saying who they are, beside those that have said it: tools open whole pools at once.
const STARTING_MAX: usize = 256;

/// How long the sessions may take to say goodbye at the end.
const GOODBYE_TIME_MAX: Duration = Duration::from_secs(2);

/// What the door tells of its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionEvent {
    Opened,
    Closed,
    Refused,
}

/// What the door opens to.
#[derive(Clone)]
pub struct PgState {
    pub engine: Engine,
    pub users: Users,
    pub tls: Option<Tls>,
    /// Whether plain text is refused.
    pub tls_required: bool,
    pub connections_max: usize,
    pub access_log: AccessLog,
    pub connections: Arc<dyn Fn(ConnectionEvent) + Send + Sync>,
    /// zktrail's own version.
    pub version: &'static str,
}

/// What every connection shares.
struct Door {
    engine: Engine,
    users: Users,
    tls: Option<Tls>,
    tls_required: bool,
    connections_max: usize,
    access_log: AccessLog,
    connections: Arc<dyn Fn(ConnectionEvent) + Send + Sync>,
    version: String,
    address: SocketAddr,
    backends: Backends,
    started: crate::zk::Micros,
}

/// Binds the door. The error names the address and what to do.
pub async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let hint = match error.kind() {
            std::io::ErrorKind::AddrInUse => "; another agent may be running: --postgres takes another address, or off",
            _ => "",
        };
        std::io::Error::new(error.kind(), format!("cannot listen on {address} for PostgreSQL: {error}{hint}"))
    })
}

/// Serves until `shutdown`; then every session is told and closed.
pub async fn serve(
    listener: TcpListener,
    state: PgState,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let door = Arc::new(Door {
        version: format!("PostgreSQL {SERVER_VERSION} (zktrail {})", state.version),
        engine: state.engine,
        users: state.users,
        tls: state.tls,
        tls_required: state.tls_required,
        connections_max: state.connections_max,
        access_log: state.access_log,
        connections: state.connections,
        address: listener.local_addr()?,
        backends: Backends::default(),
        started: crate::zk::Micros::now(),
    });
    let sessions = Arc::new(Semaphore::new(state.connections_max));
    let starting = Arc::new(Semaphore::new(STARTING_MAX));
    let (stop, stopped) = watch::channel(false);
    let mut open = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => accepted,
            Some(ended) = open.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a PostgreSQL session ended unexpectedly");
                }
                continue;
            }
        };
        let (socket, client) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of files, most likely: it passes when somebody leaves.
                tracing::warn!(%error, "cannot accept a PostgreSQL connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(starting) = starting.clone().try_acquire_owned() else {
            (door.connections)(ConnectionEvent::Refused);
            refuse_at_once(&socket);
            continue;
        };
        let (door, sessions, stopped) = (door.clone(), sessions.clone(), stopped.clone());
        open.spawn(async move {
            if let Err(error) = attend(socket, client, door, starting, sessions, stopped).await {
                tracing::debug!(%client, %error, "a PostgreSQL connection was lost");
            }
        });
    }
    let _ = stop.send(true);
    let _ = timeout(GOODBYE_TIME_MAX, async { while open.join_next().await.is_some() {} }).await;
    Ok(())
}

/// Tells a client that there is no room even to ask who it is, as far as its socket takes it without waiting.
fn refuse_at_once(socket: &TcpStream) {
    let hint = format!("At most {STARTING_MAX} may begin at once: try again.");
    let error = PgError::new("53300", "sorry, too many clients already").hint(hint);
    let mut bytes = bytes::BytesMut::new();
    if error.to_message("FATAL").encode(&mut bytes).is_ok() {
        // Whoever does not read it sees a closed connection, which is as true.
        let _ = socket.try_write(&bytes);
    }
}

/// One connection, from its first byte to its last.
async fn attend(
    socket: TcpStream,
    client: SocketAddr,
    door: Arc<Door>,
    starting: tokio::sync::OwnedSemaphorePermit,
    sessions: Arc<Semaphore>,
    mut stopped: watch::Receiver<bool>,
) -> std::io::Result<()> {
    socket.set_nodelay(true)?;
    let opened = tokio::select! {
        _ = stopped.wait_for(|stopped| *stopped) => return Ok(()),
        opened = timeout(STARTUP_TIME_MAX, startup::open(socket, client, &door)) => opened,
    };
    drop(starting);
    let Ok(opened) = opened else {
        tracing::debug!(%client, "a PostgreSQL connection did not say in time who it is");
        return Ok(());
    };
    let Some(mut opened) = opened? else { return Ok(()) };
    let Ok(_place) = sessions.try_acquire() else {
        (door.connections)(ConnectionEvent::Refused);
        let hint = format!("At most {} are open at once (postgres_connections).", door.connections_max);
        let error = PgError::new("53300", "sorry, too many clients already").hint(hint);
        startup::refuse::<()>(&mut opened.writer, &error).await?;
        return Ok(());
    };
    (door.connections)(ConnectionEvent::Opened);
    let closed = door.connections.clone();
    let result = connection::run(opened, door, stopped).await;
    closed(ConnectionEvent::Closed);
    result
}

/// A statement that is at fault is no trouble of the server's.
fn is_servers(kind: ErrorKind) -> bool {
    kind == ErrorKind::Server
}
