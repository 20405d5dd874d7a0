use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::part::Part;

/// How long an exchanged day's old files stay at least. Somebody who opened the folder before the exchange and lists it
/// after must still find all names: a listing that shrinks under him, its rest found under the same names in the new
/// day, would miss rows without an error.
const LISTING_GRACE: Duration = Duration::from_secs(if cfg!(test) { 0 } else { 2 });

/// Bytes of old files that may wait for that. Above it the next exchange waits.
const WAITING_BYTES_MAX: u64 = 1 << 30;

/// The old parts of exchanged days, held until nobody can be listing them any more.
///
/// When dropped it blocks until then, at most two seconds: so hold one for a run of exchanges, not one for each.
#[derive(Debug)]
pub struct Retired {
    grace: Duration,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    until: Instant,
    bytes: u64,
    /// Dropping them lets the old folder go.
    _parts: Vec<Arc<Part>>,
}

impl Default for Retired {
    fn default() -> Self {
        Self { grace: LISTING_GRACE, waiting: VecDeque::new() }
    }
}

impl Retired {
    #[cfg(test)]
    pub(crate) fn with_grace(grace: Duration) -> Self {
        Self { grace, waiting: VecDeque::new() }
    }

    /// Takes the old parts of a day that has just been exchanged. Blocks while too many bytes wait.
    pub(super) fn push(&mut self, parts: &[Arc<Part>]) {
        // What the new day has by a second name takes no room.
        let bytes = parts.iter().filter(|part| !is_linked(part)).map(|part| part.bytes).sum();
        self.waiting.push_back(Waiting { until: Instant::now() + self.grace, bytes, _parts: parts.to_vec() });
        let now = Instant::now();
        while self.waiting.front().is_some_and(|oldest| oldest.until <= now) {
            self.waiting.pop_front();
        }
        while self.waiting.iter().map(|waiting| waiting.bytes).sum::<u64>() > WAITING_BYTES_MAX {
            self.release_oldest();
        }
    }

    fn release_oldest(&mut self) {
        if let Some(oldest) = self.waiting.pop_front() {
            std::thread::sleep(oldest.until.saturating_duration_since(Instant::now()));
        }
    }
}

/// Whether the file has another name.
fn is_linked(part: &Part) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(part.path()).is_ok_and(|metadata| metadata.nlink() > 1)
}

impl Drop for Retired {
    fn drop(&mut self) {
        while !self.waiting.is_empty() {
            self.release_oldest();
        }
    }
}
