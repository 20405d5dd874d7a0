//! Who is connected: for cancelling, for pg_stat_activity, and for the bound on their number.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::zk::Micros;

/// The open sessions. Cheap to clone; the clones are one.
#[derive(Clone, Default)]
pub(super) struct Backends {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    last_pid: i32,
    open: BTreeMap<i32, Arc<Backend>>,
}

/// One session, as others see it.
pub(super) struct Backend {
    pub(super) pid: i32,
    pub(super) secret: i32,
    pub(super) user: String,
    pub(super) client: SocketAddr,
    pub(super) started: Micros,
    cancel: watch::Sender<bool>,
    /// Whether there is a statement to cancel.
    active: AtomicBool,
    doing: Mutex<Doing>,
}

/// What a session is doing.
#[derive(Clone, Debug, Default)]
pub(super) struct Doing {
    pub(super) application: String,
    pub(super) state: &'static str,
    pub(super) query: String,
    pub(super) query_started: Option<Micros>,
    pub(super) state_changed: Option<Micros>,
}

/// Characters of a query that pg_stat_activity shows.
const QUERY_CHARS_MAX: usize = 1_024;

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Backends {
    /// A new session. It is forgotten when the guard is dropped.
    pub(super) fn enter(&self, user: &str, client: SocketAddr) -> Result<Entered, getrandom::Error> {
        let mut secret = [0; 4];
        getrandom::fill(&mut secret)?;
        let mut inner = locked(&self.inner);
        loop {
            inner.last_pid = inner.last_pid.checked_add(1).unwrap_or(1);
            if !inner.open.contains_key(&inner.last_pid) {
                break;
            }
        }
        let backend = Arc::new(Backend {
            pid: inner.last_pid,
            secret: i32::from_be_bytes(secret),
            user: user.to_owned(),
            client,
            started: Micros::now(),
            cancel: watch::Sender::new(false),
            active: AtomicBool::new(false),
            doing: Mutex::default(),
        });
        inner.open.insert(backend.pid, backend.clone());
        Ok(Entered { backends: self.clone(), backend })
    }

    /// Cancels what a session is doing, if whoever asks knows its secret.
    pub(super) fn cancel_by_secret(&self, pid: i32, secret: &[u8]) {
        let backend = locked(&self.inner).open.get(&pid).cloned();
        if let Some(backend) = backend
            && super::scram::equal(&backend.secret.to_be_bytes(), secret)
        {
            backend.cancel();
        }
    }

    pub(super) fn get(&self, pid: i32) -> Option<Arc<Backend>> {
        locked(&self.inner).open.get(&pid).cloned()
    }

    pub(super) fn all(&self) -> Vec<Arc<Backend>> {
        locked(&self.inner).open.values().cloned().collect()
    }
}

impl Backend {
    /// Cancels the statement that runs, if one does.
    pub(super) fn cancel(&self) {
        if self.active.load(Ordering::SeqCst) {
            self.cancel.send_replace(true);
        }
    }

    /// A statement begins: what was cancelled before is over.
    pub(super) fn begin(&self, query: &str) {
        self.cancel.send_replace(false);
        self.active.store(true, Ordering::SeqCst);
        let mut doing = locked(&self.doing);
        let now = Micros::now();
        doing.state = "active";
        doing.query = query.chars().take(QUERY_CHARS_MAX).collect();
        (doing.query_started, doing.state_changed) = (Some(now), Some(now));
    }

    /// The statement has ended; `state` is what a session is called that waits.
    pub(super) fn end(&self, state: &'static str) {
        self.active.store(false, Ordering::SeqCst);
        let mut doing = locked(&self.doing);
        if doing.state != state {
            doing.state = state;
            doing.state_changed = Some(Micros::now());
        }
    }

    /// Completes when the statement that runs is cancelled.
    pub(super) async fn cancelled(&self) {
        let mut cancel = self.cancel.subscribe();
        if cancel.wait_for(|cancelled| *cancelled).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    pub(super) fn set_application(&self, name: &str) {
        name.clone_into(&mut locked(&self.doing).application);
    }

    pub(super) fn doing(&self) -> Doing {
        locked(&self.doing).clone()
    }
}

/// A session's place among the others.
pub(super) struct Entered {
    backends: Backends,
    pub(super) backend: Arc<Backend>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        locked(&self.backends.inner).open.remove(&self.backend.pid);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn only_a_running_statement_is_cancelled_and_only_by_its_secret() {
        let backends = Backends::default();
        let entered = backends.enter("ada", ([127, 0, 0, 1], 1).into()).unwrap();
        let backend = entered.backend.clone();
        let secret = backend.secret.to_be_bytes();
        backends.cancel_by_secret(backend.pid, &secret);
        backend.begin("SELECT 1");
        assert_eq!(backend.cancelled().now_or_never(), None, "what came before the statement is not for it");
        backends.cancel_by_secret(backend.pid, &(backend.secret ^ 1).to_be_bytes());
        backends.cancel_by_secret(backend.pid, b"");
        assert_eq!(backend.cancelled().now_or_never(), None);
        backends.cancel_by_secret(backend.pid, &secret);
        assert_eq!(backend.cancelled().now_or_never(), Some(()));
        drop(entered);
        assert!(backends.all().is_empty());
    }
}
