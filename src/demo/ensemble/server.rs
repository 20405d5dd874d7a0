//! The sockets' side: one machine behind a lock, a queue a connection, a listener a server.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use tokio::task::{JoinHandle, JoinSet};

use super::Options;
use super::connection::{self, Outgoing};
use super::effect::{ConnectionId, Effect, Now};
use super::faults::Broken;
use super::machine::Machine;
use crate::zk::Micros;

/// The way to one connection's writer.
pub(super) struct Outlet {
    server: usize,
    queue: mpsc::Sender<Outgoing>,
    load: Arc<Load>,
    /// Ends the connection at once.
    cut: Arc<Notify>,
}

/// What is queued for one connection.
#[derive(Default)]
pub(super) struct Load {
    pub bytes: AtomicUsize,
    /// Told when the writer has taken something.
    pub taken: Notify,
}

struct Core {
    machine: Machine,
    outlets: HashMap<ConnectionId, Outlet>,
    connections_made: u64,
}

/// What every task of an ensemble shares.
pub(super) struct Shared {
    pub options: Options,
    pub broken: Broken,
    started: Instant,
    core: Mutex<Core>,
}

/// A connection's ends that are its task's own.
pub(super) struct Inlet {
    pub id: ConnectionId,
    pub queue: mpsc::Receiver<Outgoing>,
    pub load: Arc<Load>,
    pub cut: Arc<Notify>,
}

impl Shared {
    pub fn new(options: Options) -> io::Result<Self> {
        let mut secret = [0; 16];
        getrandom::fill(&mut secret).map_err(io::Error::other)?;
        let machine = Machine::new(&options, secret);
        let core = Core { machine, outlets: HashMap::new(), connections_made: 0 };
        Ok(Self { options, broken: Broken::default(), started: Instant::now(), core: Mutex::new(core) })
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn uptime(&self) -> std::time::Duration {
        self.started.elapsed()
    }

    /// Asks the machine.
    pub fn machine<T>(&self, ask: impl FnOnce(&Machine) -> T) -> T {
        ask(&self.core().machine)
    }

    /// Lets the machine work, and queues what it puts out before anybody else's turn.
    pub fn run<T>(&self, work: impl FnOnce(&mut Machine, Now, &mut Vec<Effect>) -> T) -> T {
        let mut effects = Vec::new();
        let mut core = self.core();
        let now = Now { wall_ms: Micros::now().0 / 1_000, running: self.started.elapsed() };
        let done = work(&mut core.machine, now, &mut effects);
        for effect in effects {
            core.deliver(effect, &self.options);
        }
        done
    }

    /// Makes room for a connection; `None` where there are enough.
    pub fn open(&self, server: usize, peer: SocketAddr) -> Option<Inlet> {
        let mut core = self.core();
        if core.outlets.len() >= self.options.connections_max {
            return None;
        }
        core.connections_made += 1;
        let id = ConnectionId(core.connections_made);
        let (sender, queue) = mpsc::channel(self.options.outgoing_packets_max.max(1));
        let (load, cut) = (Arc::new(Load::default()), Arc::new(Notify::new()));
        let outlet = Outlet { server, queue: sender, load: Arc::clone(&load), cut: Arc::clone(&cut) };
        core.outlets.insert(id, outlet);
        core.machine.open(id, server, peer);
        Some(Inlet { id, queue, load, cut })
    }

    /// A connection's task has ended.
    pub fn closed(&self, id: ConnectionId) {
        let mut core = self.core();
        core.outlets.remove(&id);
        core.machine.closed(id);
    }

    pub fn connections(&self) -> usize {
        self.core().outlets.len()
    }

    pub fn cut_all(&self) {
        self.core().cut(|_| true);
    }

    pub fn cut_server(&self, server: usize) {
        self.core().cut(|outlet| outlet.server == server);
    }
}

impl Core {
    fn deliver(&mut self, effect: Effect, options: &Options) {
        let (id, outgoing) = match effect {
            Effect::Send(id, packet) => (id, Outgoing::Packet(packet, Instant::now())),
            Effect::Close(id) => (id, Outgoing::Close),
        };
        let Some(outlet) = self.outlets.get(&id) else { return };
        let bytes = outgoing.bytes();
        let queued = outlet.load.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if queued > options.outgoing_bytes_max || outlet.queue.try_send(outgoing).is_err() {
            // It does not read what it is sent.
            outlet.cut.notify_one();
            self.outlets.remove(&id);
            self.machine.closed(id);
        }
    }

    fn cut(&mut self, which: impl Fn(&Outlet) -> bool) {
        let ids: Vec<ConnectionId> =
            self.outlets.iter().filter(|(_, outlet)| which(outlet)).map(|(id, _)| *id).collect();
        for id in ids {
            if let Some(outlet) = self.outlets.remove(&id) {
                outlet.cut.notify_one();
            }
            // From now on nothing is sent to it, and nothing that it sent is heeded.
            self.machine.closed(id);
        }
    }
}

/// One address.
pub(super) struct Server {
    address: SocketAddr,
    task: JoinHandle<()>,
    runs: bool,
}

impl Server {
    pub async fn start(shared: &Arc<Shared>, index: usize, address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        shared.broken.runs(index, true);
        let task = tokio::spawn(accept(listener, Arc::clone(shared), index));
        Ok(Self { address, task, runs: true })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn runs(&self) -> bool {
        self.runs
    }

    /// Closes the port, and the connections that its task holds.
    pub fn stop(&mut self) {
        self.runs = false;
        self.task.abort();
    }

    /// Waits until a stopped server's port is closed.
    pub async fn ended(&mut self) {
        if !self.task.is_finished() {
            // Aborted: how it ended tells nothing.
            let _ = (&mut self.task).await;
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, index: usize) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, peer)) = accepted else {
                    // Out of descriptors, as a rule: some must be closed first.
                    tokio::time::sleep(shared.options.tick).await;
                    continue;
                };
                if shared.broken.refuses() {
                    continue;
                }
                connections.spawn(connection::serve(Arc::clone(&shared), index, stream, peer));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Lets time pass.
pub(super) async fn tick(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(shared.options.tick.max(std::time::Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut cleaned = Instant::now();
    loop {
        ticks.tick().await;
        let clean = cleaned.elapsed() >= shared.options.container_check;
        if clean {
            cleaned = Instant::now();
        }
        shared.run(|machine, now, out| {
            machine.tick(now, out);
            if clean {
                machine.clean(now, out);
            }
        });
    }
}
