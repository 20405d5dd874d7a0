//! A TCP proxy on loopback that stands for the network: it can hold every byte, drop connections, be slow.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::servers::free_port;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Network {
    Whole,
    /// Nothing passes and nobody is told, as when a cable is pulled. What was sent arrives after [`Proxy::heal`].
    Cut,
    /// Connections are closed as soon as they are made, as when nobody listens.
    Refusing,
}

#[derive(Clone, Copy, Debug)]
struct State {
    network: Network,
    delay: Duration,
    /// Connections of an older generation are closed.
    generation: u64,
}

/// Dropping it closes its listener and connections.
pub struct Proxy {
    address: SocketAddr,
    state: Arc<watch::Sender<State>>,
    connections: Arc<AtomicUsize>,
    listener: JoinHandle<()>,
}

impl Proxy {
    pub async fn start(target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", free_port()?)).await?;
        let address = listener.local_addr()?;
        let state =
            Arc::new(watch::Sender::new(State { network: Network::Whole, delay: Duration::ZERO, generation: 0 }));
        let connections = Arc::new(AtomicUsize::new(0));
        let accept = accept(listener, target, Arc::clone(&state), Arc::clone(&connections));
        Ok(Self { address, state, connections, listener: tokio::spawn(accept) })
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections are open to the target.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// From now on nothing passes, and nobody is told.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.network = Network::Cut);
    }

    /// Closes every connection, and refuses new ones until [`Proxy::heal`].
    pub fn refuse(&self) {
        self.state.send_modify(|state| {
            state.network = Network::Refusing;
            state.generation += 1;
        });
    }

    /// The network is whole again. Connections that neither side has given up carry on.
    pub fn heal(&self) {
        self.state.send_modify(|state| state.network = Network::Whole);
    }

    /// Closes every connection once; new ones are welcome.
    pub fn drop_connections(&self) {
        self.state.send_modify(|state| state.generation += 1);
    }

    /// Every piece of data is this much later in either direction.
    pub fn delay(&self, delay: Duration) {
        self.state.send_modify(|state| state.delay = delay);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listener.abort();
        self.drop_connections();
    }
}

async fn accept(
    listener: TcpListener,
    target: SocketAddr,
    state: Arc<watch::Sender<State>>,
    connections: Arc<AtomicUsize>,
) {
    while let Ok((client, _)) = listener.accept().await {
        let mut state = state.subscribe();
        let connections = Arc::clone(&connections);
        tokio::spawn(async move {
            let generation = state.borrow().generation;
            // A connection made while the network is cut stays without an answer.
            if wait_whole(&mut state, generation).await.is_none() {
                return;
            }
            let Ok(server) = TcpStream::connect(target).await else { return };
            let _ = (client.set_nodelay(true), server.set_nodelay(true));
            connections.fetch_add(1, Ordering::Relaxed);
            let (client_read, client_write) = client.into_split();
            let (server_read, server_write) = server.into_split();
            // Whichever way ends first ends both.
            tokio::select! {
                () = carry(client_read, server_write, state.clone(), generation) => {}
                () = carry(server_read, client_write, state, generation) => {}
            }
            connections.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut state: watch::Receiver<State>, generation: u64) {
    let mut piece = vec![0; 64 * 1024];
    loop {
        let read = tokio::select! {
            read = from.read(&mut piece) => read,
            _ = state.wait_for(|state| state.generation != generation) => return,
        };
        // An end does not get through a cut either.
        let Some(delay) = wait_whole(&mut state, generation).await else { return };
        let Ok(length @ 1..) = read else { return };
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if to.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
}

/// Waits until bytes may pass and gives the delay; `None` if the connection is to be closed.
async fn wait_whole(state: &mut watch::Receiver<State>, generation: u64) -> Option<Duration> {
    let state = state.wait_for(|state| state.generation != generation || state.network != Network::Cut).await.ok()?;
    (state.generation == generation && state.network == Network::Whole).then_some(state.delay)
}
