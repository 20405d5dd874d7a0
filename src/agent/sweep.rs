//! The periodic reading of every ACL: setACL gives no notification, so somebody has to look.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use crate::zk::ZkPath;

/// ACLs asked for a second by later sweeps: a background task.
const LATER_PER_SECOND: f64 = 500.0;

/// Which ACLs to ask for when. Pure: the caller tells the time and sends.
#[derive(Debug)]
pub struct Sweep {
    every: Duration,
    first_per_second: f64,
    due: Option<Instant>,
    /// Paths of the running sweep that are still to be asked for.
    left: VecDeque<ZkPath>,
    running: Option<Running>,
    finished: u64,
}

#[derive(Debug)]
struct Running {
    /// Asked for and not yet answered.
    outstanding: HashSet<ZkPath>,
    sent_at: Instant,
}

impl Sweep {
    /// `first_per_second`: the first sweep of a source is part of its bootstrap and may use its budget.
    pub fn new(every: Duration, first_per_second: f64) -> Self {
        Self { every, first_per_second, due: None, left: VecDeque::new(), running: None, finished: 0 }
    }

    /// A scan is done: the next sweep is due now.
    pub fn scanned(&mut self, now: Instant) {
        self.due = Some(now);
    }

    /// The connection is gone and with it the answers.
    pub fn disconnected(&mut self) {
        self.left.clear();
        self.running = None;
        self.due = None;
    }

    pub fn is_due(&self, now: Instant) -> bool {
        self.running.is_none() && self.due.is_some_and(|due| due <= now)
    }

    /// Begins a sweep over these paths.
    pub fn start(&mut self, paths: impl Iterator<Item = ZkPath>, now: Instant) {
        self.left.extend(paths);
        self.due = None;
        self.running = Some(Running { outstanding: HashSet::new(), sent_at: now });
    }

    /// How many ACLs may be asked for now.
    pub fn allowance(&mut self, now: Instant) -> usize {
        let per_second = if self.finished == 0 { self.first_per_second } else { LATER_PER_SECOND };
        let Some(running) = &mut self.running else { return 0 };
        if per_second.is_infinite() {
            return self.left.len();
        }
        let allowed = (now.saturating_duration_since(running.sent_at).as_secs_f64() * per_second) as usize;
        if allowed > 0 {
            running.sent_at = now;
        }
        // Not more than a quarter of a second's worth at once.
        allowed.min((per_second / 4.0).ceil() as usize).min(self.left.len())
    }

    /// The next path, counted as asked.
    pub fn pop(&mut self) -> Option<ZkPath> {
        let path = self.left.pop_front()?;
        if let Some(running) = &mut self.running {
            running.outstanding.insert(path.clone());
        }
        Some(path)
    }

    /// Puts a path back that could not be sent.
    pub fn unpop(&mut self, path: ZkPath) {
        if let Some(running) = &mut self.running {
            running.outstanding.remove(&path);
        }
        self.left.push_front(path);
    }

    /// An ACL was answered. Tells, if the sweep is done with it, whether it was the first.
    pub fn answered(&mut self, path: &str, now: Instant) -> Option<bool> {
        // Others ask for ACLs too: their answers are not the sweep's.
        if !self.running.as_mut()?.outstanding.remove(path) {
            return None;
        }
        self.finish(now)
    }

    /// Ends a sweep that has nothing left to wait for (also one over no paths at all).
    pub fn finish(&mut self, now: Instant) -> Option<bool> {
        let running = self.running.as_ref()?;
        if !self.left.is_empty() || !running.outstanding.is_empty() {
            return None;
        }
        self.running = None;
        // Off is for ever, which no clock can add.
        self.due = now.checked_add(self.every);
        self.finished += 1;
        Some(self.finished == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_for_all_at_its_rate_and_comes_again() {
        let mut now = Instant::now();
        let mut sweep = Sweep::new(Duration::from_secs(900), 1_000.0);
        assert!(!sweep.is_due(now));
        sweep.scanned(now);
        assert!(sweep.is_due(now));
        let paths = (0..2_500).map(|n| ZkPath::from(format!("/{n}")));
        sweep.start(paths, now);
        let (begun, mut done, mut asked) = (now, None, 0);
        while done.is_none() {
            now += Duration::from_millis(50);
            for _ in 0..sweep.allowance(now) {
                let path = sweep.pop().expect("a path");
                asked += 1;
                assert_eq!(sweep.answered("/asked by others", now), None);
                done = sweep.answered(&path, now).or(done);
            }
        }
        assert_eq!((asked, done), (2_500, Some(true)));
        assert!(now - begun >= Duration::from_secs(2), "{:?}", now - begun);
        assert!(!sweep.is_due(now + Duration::from_secs(899)));
        assert!(sweep.is_due(now + Duration::from_secs(900)));
    }

    #[test]
    fn off_is_once() {
        let now = Instant::now();
        let mut sweep = Sweep::new(Duration::MAX, 1_000.0);
        sweep.scanned(now);
        sweep.start(std::iter::empty(), now);
        assert_eq!(sweep.finish(now), Some(true));
        assert!(!sweep.is_due(now + Duration::from_secs(1 << 30)));
    }

    #[test]
    fn a_disconnect_forgets_it() {
        let now = Instant::now();
        let mut sweep = Sweep::new(Duration::from_secs(900), 1_000.0);
        sweep.scanned(now);
        sweep.start(std::iter::once(ZkPath::from("/a")), now);
        sweep.disconnected();
        assert_eq!(sweep.answered("/a", now), None);
        assert!(!sweep.is_due(now));
    }
}
