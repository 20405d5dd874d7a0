//! What one user's queries may take together, beneath the engine's own bounds and on all doors alike.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation};
use tokio::sync::Semaphore;

use crate::query::access::Access;

/// By user and bound.
type Places = HashMap<(Arc<str>, usize), Weak<Semaphore>>;

/// The shares of the users who ask now.
#[derive(Debug, Default)]
pub(super) struct Shares {
    places: Mutex<Places>,
    memory: Mutex<HashMap<Arc<str>, Weak<AtomicUsize>>>,
}

impl Shares {
    /// The places of this user's queries; `None` where nothing bounds them. A changed bound has places of its own.
    pub(super) fn places(&self, access: &Access) -> Option<(Arc<Semaphore>, usize)> {
        let (user, max) = access.user.clone().zip(access.limits.concurrent_max)?;
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.retain(|_, places| places.strong_count() > 0);
        let key = (user, max);
        if let Some(known) = places.get(&key).and_then(Weak::upgrade) {
            return Some((known, max));
        }
        let made = Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS)));
        places.insert(key, Arc::downgrade(&made));
        Some((made, max))
    }

    /// The engine's pool as this user's queries see it; `None` where they have no bound of their own.
    pub(super) fn pool(&self, access: &Access, inner: &Arc<dyn MemoryPool>) -> Option<Arc<dyn MemoryPool>> {
        let (user, max) = access.user.clone().zip(access.limits.memory_bytes_max)?;
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.retain(|_, used| used.strong_count() > 0);
        let known = memory.get(&user).and_then(Weak::upgrade);
        let used = known.unwrap_or_else(|| {
            let made = Arc::new(AtomicUsize::new(0));
            memory.insert(user, Arc::downgrade(&made));
            made
        });
        Some(Arc::new(UserPool { inner: inner.clone(), used, max }))
    }
}

/// Begins the error of a user whose memory is used up.
pub(in crate::query) const USER_MEMORY: &str = "the user's own bound is reached: ";

/// A bound of one user over the engine's pool. Operators spill when they reach either.
struct UserPool {
    inner: Arc<dyn MemoryPool>,
    /// Of all this user's queries.
    used: Arc<AtomicUsize>,
    max: usize,
}

impl fmt::Debug for UserPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for UserPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "user({} of {} bytes)", self.used.load(Ordering::Relaxed), self.max)
    }
}

impl MemoryPool for UserPool {
    fn name(&self) -> &'static str {
        "user"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.inner.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.inner.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.used.fetch_add(additional, Ordering::Relaxed);
        self.inner.grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.used.fetch_sub(shrink, Ordering::Relaxed);
        self.inner.shrink(reservation, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let fits = |used: usize| used.checked_add(additional).filter(|sum| *sum <= self.max);
        if self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_err() {
            return Err(DataFusionError::ResourcesExhausted(format!(
                "{USER_MEMORY}{} wants {additional} bytes more",
                reservation.consumer().name()
            )));
        }
        self.inner.try_grow(reservation, additional).inspect_err(|_| {
            self.used.fetch_sub(additional, Ordering::Relaxed);
        })
    }

    fn reserved(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.max)
    }
}
