use std::collections::HashMap;

use crate::zk::ZkPath;

/// The most operations of one multi-read.
const OPERATIONS_MAX: usize = 100;
/// The bytes that one multi-read's answer should have: below the 1 MB that servers and clients allow by default.
const ANSWER_BYTES_EXPECTED: usize = 512 * 1024;
/// Connections that a path may have cost before it counts as unreadable.
const SUSPICIONS_MAX: u8 = 2;

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

/// Paths that were on their way when connections died, over all scans of a source.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    strikes: HashMap<ZkPath, u8>,
}

impl Suspects {
    /// A connection died with these operations on their way. Only a path that was alone can be blamed for good.
    pub(super) fn strike(&mut self, requests: &[Vec<Operation>]) {
        let alone = requests.len() == 1 && requests[0].len() == 1;
        for operation in requests.iter().flatten() {
            let strikes = self.strikes.entry(operation.path().clone()).or_insert(0);
            *strikes = if alone { strikes.saturating_add(1).max(2) } else { (*strikes).max(1) };
        }
    }

    /// An answer came: innocent.
    pub(super) fn clear(&mut self, path: &str) {
        self.strikes.remove(path);
    }

    fn is_suspect(&self, path: &str) -> bool {
        self.strikes.contains_key(path)
    }

    /// Whether the path is given up until the agent starts again.
    pub(super) fn is_unreadable(&self, path: &str) -> bool {
        self.strikes.get(path).is_some_and(|strikes| *strikes > SUSPICIONS_MAX)
    }
}

impl Walk {
    pub(super) fn new(scope: ZkPath) -> Self {
        Self { data: vec![scope], ..Self::default() }
    }

    /// The next request, if one may go.
    pub(super) fn next(&mut self, suspects: &Suspects, requests_in_flight_max: usize) -> Next {
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
            if suspects.is_unreadable(path) {
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
            match walk.next(&suspects, 4) {
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
        let ask = |suspects: &Suspects| {
            let mut walk = Walk::new(path("/big"));
            walk.next(suspects, 4)
        };
        let request = vec![Operation::Data(path("/big")), Operation::Data(path("/small"))];
        suspects.strike(&[request]);
        let mut alone = 0;
        while let Next::Ask(operations) = ask(&suspects) {
            assert_eq!(operations, [Operation::Data(path("/big"))]);
            suspects.strike(&[operations]);
            alone += 1;
            assert!(alone < 5, "a reconnect loop");
        }
        assert_eq!(alone, 2);
        assert_eq!(ask(&suspects), Next::GiveUp(path("/big")));
        suspects.clear("/small");
        assert!(!suspects.is_suspect("/small"));
    }

    #[test]
    fn large_values_make_small_requests() {
        let mut walk = Walk::new(path("/"));
        for _ in 0..200 {
            walk.found(&path("/x"), 256 * 1024, false);
        }
        let names: Vec<Box<str>> = (0..50).map(|n| format!("{n}").into()).collect();
        walk.listed(&path("/"), &names);
        match walk.next(&Suspects::default(), 4) {
            Next::Ask(operations) => assert!(operations.len() <= 2, "{}", operations.len()),
            other => panic!("{other:?}"),
        }
    }
}
