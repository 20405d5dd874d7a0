//! An in-memory ensemble that speaks ZooKeeper's client protocol over TCP on loopback.
//!
//! [`machine`] is a pure state machine: packets and the time go in, packets to connections come out. Around it
//! [`server`] accepts connections; [`faults`] breaks them.
//!
//! What holds:
//! - One order of commits: the machine handles one packet at a time, and what it puts out is queued for every
//!   connection before the next. So a connection gets its notifications before any answer that shows their effect.
//! - Every transaction has a zxid of its own, also one that failed, as at real servers.
//! - Every bound has a name in [`Options`]: connections, bytes of a packet, bytes and packets queued for a client that
//!   does not read (it is cut).
//!
//! The tree itself and its watches grow with what clients put there: it is for programs that one starts oneself.
//!
//! What it does not do: replication (its several servers are doors to one tree), a log (nothing survives it), SASL, TLS,
//! reconfiguration, quotas, read-only mode. ACLs are enforced for `world`, `digest` and whole addresses of `ip`.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub use self::faults::Faults;
use self::server::{Server, Shared};

mod access;
mod change;
mod connection;
mod create;
mod digest;
mod effect;
mod faults;
mod machine;
mod multi;
mod read;
mod server;
mod sessions;
#[cfg(test)]
mod tests;
mod tree;
mod watches;
mod words;

/// How an ensemble behaves. The defaults suit most.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many addresses it has. Each is a door to the same tree and can be closed by itself.
    pub servers: usize,
    /// Whether notifications carry their transaction's zxid, as from 3.9 on. Without, it calls itself 3.8.
    pub zxids_in_notifications: bool,
    /// What a session's timeout is brought within.
    pub session_timeout_min: Duration,
    pub session_timeout_max: Duration,
    /// How often sessions are looked at for expiry.
    pub tick: Duration,
    /// How often emptied containers and outlived TTL znodes are looked for.
    pub container_check: Duration,
    /// A connection beyond these is closed at once.
    pub connections_max: usize,
    /// A longer request ends its connection (`jute.maxbuffer`).
    pub packet_bytes_max: usize,
    /// A client for whom more is queued is cut.
    pub outgoing_bytes_max: usize,
    pub outgoing_packets_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            servers: 1,
            zxids_in_notifications: true,
            session_timeout_min: Duration::from_millis(500),
            session_timeout_max: Duration::from_secs(60),
            tick: Duration::from_millis(100),
            container_check: Duration::from_secs(60),
            connections_max: 1_000,
            packet_bytes_max: 1024 * 1024,
            outgoing_bytes_max: 64 * 1024 * 1024,
            outgoing_packets_max: 100_000,
        }
    }
}

/// A running ensemble. Dropping it ends its tasks and closes its connections.
pub struct Ensemble {
    shared: Arc<Shared>,
    servers: Vec<Server>,
    clock: tokio::task::JoinHandle<()>,
}

impl Ensemble {
    /// Binds free ports on loopback and serves. Needs a tokio runtime.
    ///
    /// # Errors
    /// Where no port could be bound, or no random bytes were to be had for the sessions' passwords.
    pub async fn start(options: Options) -> io::Result<Self> {
        let shared = Arc::new(Shared::new(options)?);
        let mut servers = Vec::new();
        for index in 0..shared.options.servers.max(1) {
            servers.push(Server::start(&shared, index, SocketAddr::from(([127, 0, 0, 1], 0))).await?);
        }
        let clock = tokio::spawn(server::tick(Arc::clone(&shared)));
        Ok(Self { shared, servers, clock })
    }

    /// The first server's.
    pub fn address(&self) -> SocketAddr {
        self.addresses().next().unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// Every server's, whether it runs or not.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.servers.iter().map(Server::address)
    }

    /// `127.0.0.1:…,127.0.0.1:…`
    pub fn connect_string(&self) -> String {
        self.addresses().map(|address| address.to_string()).collect::<Vec<_>>().join(",")
    }

    /// What can be done to it. A handle: it may be cloned and kept.
    pub fn faults(&self) -> Faults {
        Faults::new(Arc::clone(&self.shared))
    }

    /// The last transaction's.
    pub fn zxid(&self) -> i64 {
        self.shared.machine(|machine| machine.zxid())
    }

    /// Closes one server's port and connections; its sessions live on in the others. Nothing where there is none such.
    pub fn stop_server(&mut self, index: usize) {
        if let Some(server) = self.servers.get_mut(index) {
            server.stop();
            self.shared.broken.runs(index, false);
            self.shared.cut_server(index);
        }
    }

    /// Serves again on a stopped server's port.
    ///
    /// # Errors
    /// Where there is no such server, or somebody else has taken its port.
    pub async fn start_server(&mut self, index: usize) -> io::Result<()> {
        let server = self.servers.get_mut(index).ok_or_else(|| io::Error::other(format!("no server {index}")))?;
        if !server.runs() {
            server.ended().await;
            *server = Server::start(&self.shared, index, server.address()).await?;
        }
        Ok(())
    }

    /// Closes every port and connection and waits until its tasks have ended.
    pub async fn shutdown(mut self) {
        self.clock.abort();
        for server in &mut self.servers {
            server.stop();
            server.ended().await;
        }
    }
}

impl Drop for Ensemble {
    fn drop(&mut self) {
        self.clock.abort();
        self.servers.iter_mut().for_each(Server::stop);
    }
}
