use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{Signal, getpid, kill_process};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Ctrl-C: it cancels the statement that runs, and not the process. Cheap to clone.
#[derive(Clone)]
pub(in crate::cli) struct Interrupt {
    inner: Arc<Inner>,
}

struct Inner {
    pressed: watch::Sender<bool>,
    /// What waits for the agent's answer.
    http: Mutex<Option<ureq::Agent>>,
}

/// Why a statement has no answer, where Ctrl-C was pressed.
#[derive(Debug, thiserror::Error)]
#[error("cancelled")]
pub(in crate::cli) struct Cancelled;

/// As a shell tells of a process that SIGINT ended.
pub(in crate::cli) const EXIT_CODE: u8 = 130;

impl Interrupt {
    pub(in crate::cli) fn new() -> Self {
        Self { inner: Arc::new(Inner { pressed: watch::Sender::new(false), http: Mutex::new(None) }) }
    }

    /// Takes Ctrl-C from now on, until the process ends. Where one is not heeded the second ends the process.
    pub(in crate::cli) fn listen(&self) -> std::io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut signals = {
            let _guard = runtime.enter();
            signal(SignalKind::interrupt())?
        };
        let interrupt = self.clone();
        std::thread::Builder::new().name("zktrail-ctrl-c".to_owned()).spawn(move || {
            runtime.block_on(async {
                while signals.recv().await.is_some() {
                    if interrupt.press() {
                        // Whatever does not come back cannot be waited for: SIGTERM was left to its default.
                        let _ = kill_process(getpid(), Signal::TERM);
                    }
                }
            });
        })?;
        Ok(())
    }

    /// Cancels what runs; tells whether that had been asked for before.
    pub(in crate::cli) fn press(&self) -> bool {
        let again = self.inner.pressed.send_replace(true);
        if let Some(http) = self.http().take() {
            http.shutdown();
        }
        again
    }

    /// What comes next runs.
    pub(in crate::cli) fn reset(&self) {
        self.inner.pressed.send_replace(false);
        self.http().take();
    }

    pub(in crate::cli) fn is_pressed(&self) -> bool {
        *self.inner.pressed.borrow()
    }

    /// Returns when it is pressed, at once where it is.
    pub(in crate::cli) async fn pressed(&self) {
        // The sender lives as long as we do.
        let _ = self.inner.pressed.subscribe().wait_for(|pressed| *pressed).await;
    }

    /// Breaks the connections of `http` off when it is pressed. An agent ends a query whose reader goes away.
    pub(in crate::cli) fn breaks(&self, http: &ureq::Agent) {
        *self.http() = Some(http.clone());
        if self.is_pressed()
            && let Some(http) = self.http().take()
        {
            http.shutdown();
        }
    }

    fn http(&self) -> std::sync::MutexGuard<'_, Option<ureq::Agent>> {
        self.inner.http.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
