use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::zk::ZkPath;

/// The most operations of one multi-read.
const OPERATIONS_MAX: usize = 100;
/// The bytes that one multi-read's answer should have: below the 1 MB that servers and clients allow by default.
const ANSWER_BYTES_EXPECTED: usize = 512 * 1024;
/// Scans that must have died before the paths on their way are suspected: a server that is killed suspects nobody.
const DEAD_SCANS_MIN: u32 = 2;
/// Connections that a path may cost when it is read alone before it is given up.
const STRIKES_MAX: u8 = 4;
/// How long a path is given up.
const GIVEN_UP_FOR: Duration = Duration::from_secs(15 * 60);

/// One read of a scan.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Operation {
    Data(ZkPath),
    Children(ZkPath),
}

impl Operation {
    pub(super) fn path(&self) -> &ZkPath {
        match self {
            Self::Data(path) | Self::Children(path) => path,
        }
    }
}

/// What to ask next.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    Ask(Vec<Operation>),
    /// Nothing before an answer comes.
    Wait,
    /// This path killed the connection each time that it was read alone: give it up.
    GiveUp(ZkPath),
    Done,
}

/// Walks a tree from its scope down: the state of one scan. Pure.
///
/// Data is read before further directories are listed, which keeps the frontier near the size of one directory.
#[derive(Debug, Default)]
pub(super) struct Walk {
    data: Vec<ZkPath>,
    children: Vec<ZkPath>,
    in_flight: usize,
    alone: bool,
    data_bytes_mean: f64,
}

/// Paths that were on their way when scans died, over all scans of a source: one of them may be too large to be read.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    dead_scans: u32,
    paths: HashMap<ZkPath, Suspect>,
}

#[derive(Debug, Default)]
struct Suspect {
    /// Connections that died while this path was read alone.
    strikes: u8,
    given_up_at: Option<Instant>,
}

impl Suspects {
    /// A connection died during a scan with these requests on their way. The scope itself is never suspected.
    pub(super) fn scan_died(&mut self, scope: &str, requests: &[Vec<Operation>], now: Instant) {
        self.dead_scans = self.dead_scans.saturating_add(1);
        if self.dead_scans < DEAD_SCANS_MIN {
            return;
        }
        let alone = requests.len() == 1 && requests[0].len() == 1;
        for operation in requests.iter().flatten().filter(|operation| &**operation.path() != scope) {
            let suspect = self.paths.entry(operation.path().clone()).or_default();
            if alone {
                suspect.strikes = suspect.strikes.saturating_add(1);
                if suspect.strikes >= STRIKES_MAX {
                    suspect.given_up_at = Some(now);
                }
            }
        }
    }

    /// A scan is done: whoever is not given up by now is innocent.
    pub(super) fn scan_finished(&mut self) {
        self.dead_scans = 0;
        self.paths.retain(|_, suspect| suspect.given_up_at.is_some());
    }

    /// An answer came, whatever it said: innocent.
    pub(super) fn clear(&mut self, path: &str) {
        self.paths.remove(path);
    }

    fn is_suspect(&self, path: &str) -> bool {
        self.paths.contains_key(path)
    }

    /// Whether the path is given up for now.
    pub(super) fn is_given_up(&self, path: &str, now: Instant) -> bool {
        let since = self.paths.get(path).and_then(|suspect| suspect.given_up_at);
        since.is_some_and(|since| now.saturating_duration_since(since) < GIVEN_UP_FOR)
    }
}

impl Walk {
    pub(super) fn new(scope: ZkPath) -> Self {
        Self { data: vec![scope], ..Self::default() }
    }

    /// The next request, if one may go.
    pub(super) fn next(&mut self, suspects: &Suspects, requests_in_flight_max: usize, now: Instant) -> Next {
        if self.data.is_empty() && self.children.is_empty() {
            return if self.in_flight == 0 { Next::Done } else { Next::Wait };
        }
        if self.in_flight >= requests_in_flight_max || self.alone {
            return Next::Wait;
        }
        let operations_max = if self.data_bytes_mean > 1.0 {
            ((ANSWER_BYTES_EXPECTED as f64 / self.data_bytes_mean) as usize).clamp(1, OPERATIONS_MAX)
        } else {
            OPERATIONS_MAX
        };
        let mut operations = Vec::new();
        while operations.len() < operations_max {
            let (pile, make): (_, fn(ZkPath) -> Operation) = if self.data.is_empty() {
                (&mut self.children, Operation::Children)
            } else {
                (&mut self.data, Operation::Data)
            };
            let Some(path) = pile.last() else { break };
            if suspects.is_given_up(path, now) {
                if operations.is_empty() {
                    return pile.pop().map_or(Next::Wait, Next::GiveUp);
                }
                break;
            }
            if suspects.is_suspect(path) {
                // Alone: nothing else on its way, so that a dead connection names its cause.
                if operations.is_empty() && self.in_flight == 0 {
                    operations.extend(pile.pop().map(make));
                    self.alone = true;
                }
                break;
            }
            operations.extend(pile.pop().map(make));
        }
        if operations.is_empty() {
            return Next::Wait;
        }
        self.in_flight += 1;
        Next::Ask(operations)
    }

    /// A request goes as so many requests instead; each of them will be answered.
    pub(super) fn split(&mut self, requests: usize) {
        self.in_flight = (self.in_flight + requests).saturating_sub(1);
        self.alone = false;
    }

    /// A request was answered, however.
    pub(super) fn answered(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.alone = false;
    }

    /// A znode was read.
    pub(super) fn found(&mut self, path: &ZkPath, data_bytes: usize, has_children: bool) {
        self.data_bytes_mean += (data_bytes as f64 - self.data_bytes_mean) * 0.05;
        if has_children {
            self.children.push(path.clone());
        }
    }

    /// A directory was listed.
    pub(super) fn listed(&mut self, parent: &ZkPath, names: &[Box<str>]) {
        let root = if &**parent == "/" { "" } else { parent };
        self.data.extend(names.iter().map(|name| ZkPath::from(format!("{root}/{name}"))));
    }

    /// Requests that are still to come, at least.
    pub(super) fn waiting(&self) -> usize {
        self.data.len() + self.children.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> ZkPath {
        ZkPath::from(text)
    }

    #[test]
    fn reads_all_znodes_of_a_tree_once() {
        let mut walk = Walk::new(path("/"));
        let suspects = Suspects::default();
        let mut read = Vec::new();
        loop {
            match walk.next(&suspects, 4, Instant::now()) {
                Next::Ask(operations) => {
                    for operation in operations {
                        match operation {
                            Operation::Data(path) => {
                                let has_children = path.matches('/').count() < 3 || &*path == "/";
                                read.push(path.clone());
                                walk.found(&path, 10, has_children);
                            }
                            Operation::Children(path) => {
                                walk.listed(&path, &["a".into(), "b".into()]);
                            }
                        }
                    }
                    walk.answered();
                }
                Next::Done => break,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(read.len(), 1 + 2 + 4 + 8);
    }

    #[test]
    fn a_path_that_kills_connections_is_tried_alone_then_given_up() {
        let mut suspects = Suspects::default();
        let now = Instant::now();
        let ask = |suspects: &Suspects, now| {
            let mut walk = Walk::new(path("/big"));
            walk.next(suspects, 4, now)
        };
        let both = [vec![Operation::Data(path("/big")), Operation::Data(path("/small"))]];
        suspects.scan_died("/", &both, now);
        assert!(!suspects.is_suspect("/big"), "one killed server suspects nobody");
        suspects.scan_died("/", &both, now);
        let mut alone = 0;
        while let Next::Ask(operations) = ask(&suspects, now) {
            assert_eq!(operations, [Operation::Data(path("/big"))]);
            suspects.scan_died("/", &[operations], now);
            alone += 1;
            assert!(alone < 10, "a reconnect loop");
        }
        assert_eq!(alone, STRIKES_MAX);
        assert_eq!(ask(&suspects, now), Next::GiveUp(path("/big")));
        suspects.scan_finished();
        assert!(!suspects.is_suspect("/small"));
        assert!(matches!(ask(&suspects, now + GIVEN_UP_FOR), Next::Ask(_)), "it is tried again later");
    }

    #[test]
    fn the_scope_is_never_given_up() {
        let mut suspects = Suspects::default();
        let now = Instant::now();
        for _ in 0..20 {
            suspects.scan_died("/", &[vec![Operation::Data(path("/"))]], now);
        }
        assert!(!suspects.is_given_up("/", now));
        assert!(matches!(Walk::new(path("/")).next(&suspects, 4, now), Next::Ask(_)));
    }

    #[test]
    fn a_request_that_was_split_is_waited_for() {
        let mut walk = Walk::new(path("/"));
        let suspects = Suspects::default();
        let now = Instant::now();
        assert!(matches!(walk.next(&suspects, 4, now), Next::Ask(_)));
        walk.listed(&path("/"), &["a".into(), "b".into()]);
        walk.answered();
        assert!(matches!(walk.next(&suspects, 4, now), Next::Ask(two) if two.len() == 2));
        walk.split(2);
        walk.answered();
        assert_eq!(walk.next(&suspects, 4, now), Next::Wait, "one of the two is still on its way");
        walk.answered();
        assert_eq!(walk.next(&suspects, 4, now), Next::Done);
    }

    #[test]
    fn large_values_make_small_requests() {
        let mut walk = Walk::new(path("/"));
        for _ in 0..200 {
            walk.found(&path("/x"), 256 * 1024, false);
        }
        let names: Vec<Box<str>> = (0..50).map(|n| format!("{n}").into()).collect();
        walk.listed(&path("/"), &names);
        match walk.next(&Suspects::default(), 4, Instant::now()) {
            Next::Ask(operations) => assert!(operations.len() <= 2, "{}", operations.len()),
            other => panic!("{other:?}"),
        }
    }
}
