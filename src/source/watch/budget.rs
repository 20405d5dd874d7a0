use std::time::{Duration, Instant};

/// What a scan may take of the ensemble, per second and at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReadBudget {
    pub znodes_per_second: f64,
    pub bytes_per_second: f64,
    /// Multi-reads on their way at the same time.
    pub requests_in_flight_max: usize,
}

impl Default for ReadBudget {
    fn default() -> Self {
        Self { znodes_per_second: 20_000.0, bytes_per_second: 20e6, requests_in_flight_max: 4 }
    }
}

impl ReadBudget {
    /// For measurements: as fast as the server answers.
    pub fn unlimited() -> Self {
        Self { znodes_per_second: f64::INFINITY, bytes_per_second: f64::INFINITY, requests_in_flight_max: 8 }
    }
}

/// How long a bucket may save up: the longest burst.
const BURST: Duration = Duration::from_millis(100);

/// Two token buckets, one of znodes and one of bytes. Pure: the caller tells the time.
#[derive(Debug)]
pub(super) struct Buckets {
    znodes: Bucket,
    bytes: Bucket,
}

impl Buckets {
    pub(super) fn new(budget: ReadBudget, now: Instant) -> Self {
        Self { znodes: Bucket::new(budget.znodes_per_second, now), bytes: Bucket::new(budget.bytes_per_second, now) }
    }

    /// How long to wait before the next request may go; zero if it may go now.
    pub(super) fn wait(&mut self, now: Instant) -> Duration {
        self.znodes.wait(now).max(self.bytes.wait(now))
    }

    /// Takes znodes when they are asked for. The bucket may go into debt, which the next request waits off.
    pub(super) fn take_znodes(&mut self, znodes: usize) {
        self.znodes.level -= znodes as f64;
    }

    /// Takes bytes when they have come: nobody knows before how many.
    pub(super) fn take_bytes(&mut self, bytes: usize) {
        self.bytes.level -= bytes as f64;
    }
}

#[derive(Debug)]
struct Bucket {
    per_second: f64,
    level: f64,
    filled_at: Instant,
}

impl Bucket {
    fn new(per_second: f64, now: Instant) -> Self {
        Self { per_second, level: per_second * BURST.as_secs_f64(), filled_at: now }
    }

    fn wait(&mut self, now: Instant) -> Duration {
        if self.per_second.is_infinite() {
            return Duration::ZERO;
        }
        let full = self.per_second * BURST.as_secs_f64();
        let gained = now.saturating_duration_since(self.filled_at).as_secs_f64() * self.per_second;
        self.level = (self.level + gained).min(full);
        self.filled_at = now;
        if self.level > 0.0 {
            return Duration::ZERO;
        }
        // A debt of at most a minute: a single huge answer must not stop a scan for ever.
        Duration::from_secs_f64((-self.level / self.per_second).clamp(0.001, 60.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_to_the_rate() {
        let start = Instant::now();
        let budget = ReadBudget { znodes_per_second: 1_000.0, bytes_per_second: 1e9, requests_in_flight_max: 1 };
        let mut buckets = Buckets::new(budget, start);
        let (mut now, mut znodes) = (start, 0);
        while now < start + Duration::from_secs(10) {
            let wait = buckets.wait(now);
            if wait.is_zero() {
                buckets.take_znodes(100);
                znodes += 100;
            }
            now += wait.max(Duration::from_micros(10));
        }
        assert!((9_900..=10_300).contains(&znodes), "{znodes} znodes in 10 s at 1,000/s");
    }

    #[test]
    fn bytes_slow_a_scan_down_too() {
        let now = Instant::now();
        let budget = ReadBudget { znodes_per_second: 1e6, bytes_per_second: 1e6, requests_in_flight_max: 1 };
        let mut buckets = Buckets::new(budget, now);
        assert!(buckets.wait(now).is_zero());
        buckets.take_bytes(1_100_000);
        assert!(buckets.wait(now) >= Duration::from_millis(990));
    }
}
