//! What can be broken, at the very moment at which a test or a story wants it.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::server::Shared;

/// No packet is the last.
const NEVER: i64 = i64::MAX;

/// What is broken now.
pub(super) struct Broken {
    refuses: AtomicBool,
    delay_us: AtomicU64,
    /// How many more packets are sent before every connection is cut.
    packets_left: AtomicI64,
    stopped: Mutex<Vec<usize>>,
}

impl Default for Broken {
    fn default() -> Self {
        Self {
            refuses: AtomicBool::new(false),
            delay_us: AtomicU64::new(0),
            packets_left: AtomicI64::new(NEVER),
            stopped: Mutex::new(Vec::new()),
        }
    }
}

impl Broken {
    pub fn refuses(&self) -> bool {
        self.refuses.load(Ordering::Relaxed)
    }

    pub fn delay(&self) -> Option<Duration> {
        Some(self.delay_us.load(Ordering::Relaxed)).filter(|us| *us > 0).map(Duration::from_micros)
    }

    /// Asked once before every packet; true for the first that is not sent any more.
    pub fn cuts_now(&self) -> bool {
        if self.packets_left.load(Ordering::Relaxed) == NEVER {
            return false;
        }
        let count = |left: i64| match left {
            NEVER => None,
            left => Some(if left <= 0 { NEVER } else { left - 1 }),
        };
        self.packets_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, count).is_ok_and(|left| left <= 0)
    }

    pub fn runs(&self, server: usize, runs: bool) {
        let mut stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        stopped.retain(|other| *other != server);
        if !runs {
            stopped.push(server);
        }
    }

    /// How many servers run.
    pub fn running(&self, servers: usize) -> usize {
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        (0..servers).filter(|server| !stopped.contains(server)).count()
    }

    /// What a server says of itself: the first of several that runs leads.
    pub fn mode(&self, server: usize, servers: usize) -> &'static str {
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        match (0..servers).find(|other| !stopped.contains(other)) {
            _ if servers <= 1 => "standalone",
            Some(leader) if leader == server => "leader",
            _ => "follower",
        }
    }
}

/// Breaks an [`super::Ensemble`], and mends it. Everything takes effect before the call returns.
#[derive(Clone)]
pub struct Faults {
    shared: Arc<Shared>,
}

impl Faults {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.shared.connections()
    }

    /// The open sessions, connected or not, oldest first.
    pub fn sessions(&self) -> Vec<i64> {
        self.shared.machine(|machine| machine.sessions().ids().collect())
    }

    /// Closes every connection. What was queued for it is lost; clients may come back at once.
    pub fn cut_connections(&self) {
        self.shared.cut_all();
    }

    /// Closes every connection, and each new one as soon as it is made, until [`Faults::heal`].
    pub fn refuse_connections(&self) {
        self.shared.broken.refuses.store(true, Ordering::Relaxed);
        self.shared.cut_all();
    }

    /// Once this many more packets have been sent, to whomever, every connection is cut before the next one is.
    pub fn cut_after_packets(&self, packets: u32) {
        self.shared.broken.packets_left.store(i64::from(packets), Ordering::Relaxed);
    }

    /// Holds every packet to a client back for this long, in order.
    pub fn delay_packets(&self, delay: Duration) {
        let delay_us = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        self.shared.broken.delay_us.store(delay_us, Ordering::Relaxed);
    }

    /// Takes every fault back.
    pub fn heal(&self) {
        self.shared.broken.refuses.store(false, Ordering::Relaxed);
        self.shared.broken.delay_us.store(0, Ordering::Relaxed);
        self.shared.broken.packets_left.store(NEVER, Ordering::Relaxed);
    }

    /// Ends a session as if its client had been silent for too long. Whether there was one.
    pub fn expire_session(&self, session: i64) -> bool {
        self.shared.run(|machine, now, out| machine.expire(session, now, out))
    }
}
