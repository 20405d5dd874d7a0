use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Tells on stderr, where that is a terminal, that a query which takes longer than a second is still at work.
pub(super) struct Progress {
    rows: Arc<AtomicU64>,
    teller: Mutex<Option<(Sender<()>, JoinHandle<()>)>>,
}

const QUIET_FOR: Duration = Duration::from_secs(1);
const EVERY: Duration = Duration::from_millis(500);

impl Progress {
    pub(super) fn start() -> Self {
        let rows = Arc::new(AtomicU64::new(0));
        let teller = std::io::stderr().is_terminal().then(|| {
            let (stop, stopped) = mpsc::channel::<()>();
            let rows = rows.clone();
            let thread = std::thread::spawn(move || {
                let started = Instant::now();
                let mut wait = QUIET_FOR;
                let mut told = false;
                while stopped.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
                    wait = EVERY;
                    told = true;
                    let (seconds, rows) = (started.elapsed().as_secs(), rows.load(Ordering::Relaxed));
                    eprint!("\r\x1b[K{seconds} s, {rows} rows so far");
                    let _ = std::io::stderr().flush();
                }
                if told {
                    eprint!("\r\x1b[K");
                    let _ = std::io::stderr().flush();
                }
            });
            (stop, thread)
        });
        Self { rows, teller: Mutex::new(teller) }
    }

    /// How many rows have come.
    pub(super) fn rows(&self, rows: u64) {
        self.rows.store(rows, Ordering::Relaxed);
    }

    /// Clears the line; nothing is told any more.
    pub(super) fn stop(&self) {
        let teller = self.teller.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((stop, thread)) = teller {
            drop(stop);
            let _ = thread.join();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.stop();
    }
}
