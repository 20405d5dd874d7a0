use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::metrics::{Metrics, Prefixes, Subtrees};
use crate::tree::Effect;
use crate::zk::{Ended, Event, EventKind, Observation, ReadOutcome, ScanReason, Stat, ZkPath, Zxid};

const MINUTE: i64 = 60_000_000;
const START: i64 = 1_000 * MINUTE;

/// A tree and its series, told by the observations of a pretended 3.9 server.
struct Run {
    metrics: Metrics,
    counts: TreeCounts,
    tree: Tree,
    now: i64,
    next_event: u64,
    next_zxid: i64,
}

impl Run {
    fn new(subtrees: &[&str], config: &[&str], prefixes_max: usize) -> Self {
        let listed = |prefixes: &[&str]| {
            let prefixes: Vec<String> = prefixes.iter().map(|prefix| (*prefix).to_owned()).collect();
            Arc::new(Subtrees::new(&prefixes, prefixes_max))
        };
        let prefixes = Prefixes { subtrees: listed(subtrees), config: listed(config) };
        let metrics = Metrics::new(prefixes).expect("metrics");
        let counts = TreeCounts::new(metrics.cluster("c"));
        let mut tree = Tree::new("/".into(), 1);
        counts.follow(&mut tree);
        let mut run = Self { metrics, counts, tree, now: START, next_event: 1, next_zxid: 100 };
        run.scan_starts(ScanReason::Bootstrap);
        run.read("/", Stat::default(), None);
        run
    }

    fn feed(&mut self, observation: Observation) {
        let mut effects = Vec::new();
        self.tree.apply(observation, &mut effects);
        for effect in effects {
            if let Effect::Change(change) = effect {
                self.counts.change(&change);
            }
        }
    }

    fn show(&mut self) -> BTreeMap<String, f64> {
        self.counts.show(&mut self.tree, Micros(self.now));
        let text = self.metrics.render();
        let samples = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
        samples.map(|(series, value)| (series.to_owned(), value.parse().expect("a number"))).collect()
    }

    fn scan_starts(&mut self, reason: ScanReason) {
        self.feed(Observation::ScanStarted { reason, heard_at: Micros(self.now) });
    }

    fn scan_finishes(&mut self) {
        self.feed(Observation::ScanFinished { heard_at: Micros(self.now) });
    }

    fn disconnect(&mut self) {
        self.counts.gap_begins(Micros(self.now));
        self.feed(Observation::Disconnected { last_heard: Micros(self.now), ended: Ended::Disconnected });
    }

    fn read(&mut self, path: &str, stat: Stat, event: Option<u64>) {
        let outcome = ReadOutcome::Found { stat, data: Bytes::new() };
        self.feed(Observation::Read { path: path.into(), event, heard_at: Micros(self.now), outcome });
    }

    fn event(&mut self, kind: EventKind, path: &str) -> u64 {
        let (id, zxid) = (self.next_event, Some(Zxid(self.next_zxid)));
        self.next_event += 1;
        self.next_zxid += 1;
        let read_follows = kind != EventKind::Deleted;
        let (path, heard_at) = (ZkPath::from(path), Micros(self.now));
        self.feed(Observation::Event(Event { id, kind, path, zxid, heard_at, read_follows }));
        id
    }

    /// Created by the server, heard of and read at once.
    fn create(&mut self, path: &str, data_length: i32, ephemeral_owner: i64) -> Stat {
        let czxid = Zxid(self.next_zxid);
        let event = self.event(EventKind::Created, path);
        let time = Micros(self.now);
        let stat = Stat {
            czxid,
            mzxid: czxid,
            pzxid: czxid,
            ctime: time,
            mtime: time,
            data_length,
            ephemeral_owner,
            ..Stat::default()
        };
        self.read(path, stat, Some(event));
        stat
    }

    fn set(&mut self, path: &str, stat: Stat, data_length: i32) -> Stat {
        let mzxid = Zxid(self.next_zxid);
        let event = self.event(EventKind::DataChanged, path);
        let stat = Stat { mzxid, mtime: Micros(self.now), version: stat.version + 1, data_length, ..stat };
        self.read(path, stat, Some(event));
        stat
    }

    fn delete(&mut self, path: &str) {
        self.event(EventKind::Deleted, path);
    }
}

fn of(shown: &BTreeMap<String, f64>, name: &str, prefix: &str) -> f64 {
    shown[&format!("zktrail_{name}{{cluster=\"c\",prefix=\"{prefix}\"}}")]
}

fn changes(shown: &BTreeMap<String, f64>, kind: &str, prefix: &str) -> f64 {
    shown[&format!("zktrail_subtree_changes_total{{cluster=\"c\",kind=\"{kind}\",prefix=\"{prefix}\"}}")]
}

fn all(shown: &BTreeMap<String, f64>, name: &str) -> f64 {
    shown[&format!("zktrail_{name}{{cluster=\"c\"}}")]
}

#[test]
fn series_follow_the_tree_and_its_changes() {
    let mut run = Run::new(&["/app", "/app/live"], &["/app"], 10);
    let seeded =
        Stat { ctime: Micros(5_000_000), mtime: Micros(7_000_000), czxid: Zxid(9), data_length: 3, ..Stat::default() };
    run.read("/app", seeded, None);
    run.scan_finishes();
    let shown = run.show();
    assert_eq!(of(&shown, "subtree_last_change_timestamp_seconds", "/app"), 7.0, "of what a scan read");
    assert_eq!(of(&shown, "subtree_last_change_timestamp_seconds", "/app/live"), 0.0, "nothing is known");
    assert_eq!((of(&shown, "subtree_znodes", "/app"), of(&shown, "subtree_znodes", "other")), (1.0, 1.0));
    assert_eq!((all(&shown, "largest_znode_bytes"), all(&shown, "largest_children_bytes")), (3.0, 4.0 + 4.0 + 3.0));

    run.create("/app/live", 0, 0);
    run.now += MINUTE;
    let member = run.create("/app/live/member", 200, 0xabc);
    run.create("/app/live/other", 100, 0xabc);
    let shown = run.show();
    assert_eq!((of(&shown, "subtree_znodes", "/app"), of(&shown, "subtree_znodes", "/app/live")), (1.0, 3.0));
    assert_eq!(of(&shown, "subtree_bytes", "/app/live"), 300.0);
    assert_eq!(of(&shown, "subtree_ephemerals", "/app/live"), 2.0);
    assert_eq!((all(&shown, "ephemerals"), all(&shown, "ephemeral_sessions")), (2.0, 1.0));
    assert_eq!((all(&shown, "largest_znode_bytes"), all(&shown, "largest_children_bytes")), (200.0, 4.0 + 10.0 + 9.0));
    assert_eq!(changes(&shown, "created", "/app/live"), 3.0);
    assert_eq!(of(&shown, "subtree_last_change_timestamp_seconds", "/app/live"), run.now as f64 / 1e6);
    assert_eq!(of(&shown, "config_changes_total", "/app"), 1.0, "ephemerals are no configuration");

    run.set("/app/live/member", member, 20);
    run.delete("/app/live/other");
    let shown = run.show();
    assert_eq!((of(&shown, "subtree_bytes", "/app/live"), all(&shown, "largest_znode_bytes")), (20.0, 20.0), "it fell");
    assert_eq!(all(&shown, "largest_children_bytes"), 4.0 + 10.0);
    assert_eq!((changes(&shown, "data_changed", "/app/live"), changes(&shown, "deleted", "/app/live")), (1.0, 1.0));
    run.delete("/app/live/member");
    let shown = run.show();
    assert_eq!((all(&shown, "ephemeral_sessions"), of(&shown, "subtree_ephemerals", "/app/live")), (0.0, 0.0));
    assert_eq!(all(&shown, "largest_znode_bytes"), 3.0);
}

#[test]
fn a_member_that_comes_back_flaps_and_a_lock_does_not() {
    let mut run = Run::new(&["/live"], &[], 10);
    run.create("/live", 0, 0);
    run.scan_finishes();
    run.create("/live/a", 0, 1);
    for n in 0..3 {
        run.now += MINUTE;
        run.delete("/live/a");
        run.now += MINUTE;
        run.create("/live/a", 0, 2 + n);
        run.create(&format!("/live/lock-{n:010}"), 0, 2);
        run.delete(&format!("/live/lock-{n:010}"));
    }
    assert_eq!(of(&run.show(), "subtree_flaps_total", "/live"), 3.0);
    run.delete("/live/a");
    run.now += 11 * MINUTE;
    run.create("/live/a", 0, 9);
    assert_eq!(of(&run.show(), "subtree_flaps_total", "/live"), 3.0, "that was a restart");
    // Lives that were gone before they were read.
    for _ in 0..2 {
        run.delete("/live/a");
        run.event(EventKind::Created, "/live/a");
    }
    run.delete("/live/a");
    run.create("/live/a", 0, 9);
    assert_eq!(of(&run.show(), "subtree_flaps_total", "/live"), 6.0);
    // A persistent one may come and go.
    run.create("/live/p", 0, 0);
    run.delete("/live/p");
    run.create("/live/p", 0, 0);
    assert_eq!(of(&run.show(), "subtree_flaps_total", "/live"), 6.0);
}

#[test]
fn what_a_gap_hid_flaps_only_where_the_gap_was_short() {
    for (minutes, flaps) in [(5, 1.0), (30, 0.0)] {
        let mut run = Run::new(&["/live"], &[], 10);
        run.create("/live", 0, 0);
        run.scan_finishes();
        let stat = run.create("/live/a", 0, 1);
        run.disconnect();
        run.now += minutes * MINUTE;
        run.scan_starts(ScanReason::Reconnect);
        let root = Stat::default();
        run.read("/", root, None);
        let (czxid, time) = (Zxid(run.next_zxid), Micros(run.now));
        run.next_zxid += 1;
        let later = Stat { czxid, mzxid: czxid, pzxid: czxid, ctime: time, mtime: time, ephemeral_owner: 2, ..stat };
        run.read("/live/a", later, None);
        run.scan_finishes();
        assert_eq!(of(&run.show(), "subtree_flaps_total", "/live"), flaps, "after {minutes} minutes");
    }
}

#[test]
fn times_never_lie_in_the_future_nor_go_back() {
    let mut run = Run::new(&["/a"], &[], 10);
    let later = Micros(START + 100 * MINUTE);
    run.read("/a", Stat { ctime: later, mtime: later, czxid: Zxid(5), ..Stat::default() }, None);
    run.scan_finishes();
    let last = |run: &mut Run| of(&run.show(), "subtree_last_change_timestamp_seconds", "/a");
    assert_eq!(last(&mut run), START as f64 / 1e6);
    run.now += MINUTE;
    run.delete("/a");
    assert_eq!(last(&mut run), run.now as f64 / 1e6);
    assert_eq!(last(&mut run), run.now as f64 / 1e6);
}

#[test]
fn a_million_znodes_and_a_thousand_listed_prefixes_cost_no_more_than_ten_of_each_allow() {
    const PARENTS: usize = 100_000;
    const CHILDREN: usize = 9;
    const PREFIXES_MAX: usize = 100;
    let listed: Vec<String> = (0..1_000).map(|n| format!("/services/s{n:05}")).collect();
    let listed: Vec<&str> = listed.iter().map(String::as_str).collect();
    let measured = |parents: usize| {
        let mut run = Run::new(&listed, &listed, PREFIXES_MAX);
        let stat = Stat { czxid: Zxid(9), data_length: 7, ..Stat::default() };
        run.read("/services", stat, None);
        for parent in 0..parents {
            let path = format!("/services/s{parent:05}");
            run.read(&path, Stat { num_children: CHILDREN as i32, ..stat }, None);
            for child in 0..CHILDREN {
                run.read(&format!("{path}/i{child}"), Stat { ephemeral_owner: parent as i64, ..stat }, None);
            }
        }
        run.scan_finishes();
        for parent in 0..parents {
            run.delete(&format!("/services/s{parent:05}/i0"));
        }
        let shown = run.show();
        (shown, run.metrics.render().len())
    };
    let (few, few_bytes) = measured(1);
    let (many, many_bytes) = measured(PARENTS);
    assert_eq!(all(&many, "znodes"), (2 + PARENTS * CHILDREN) as f64);
    assert_eq!(of(&many, "subtree_znodes", "/services/s00000"), CHILDREN as f64);
    assert_eq!(of(&many, "subtree_znodes", "other"), (2 + (PARENTS - PREFIXES_MAX) * CHILDREN) as f64);
    assert_eq!(changes(&many, "deleted", "other"), (PARENTS - PREFIXES_MAX) as f64);
    let series = |shown: &BTreeMap<String, f64>| shown.keys().cloned().collect::<Vec<_>>();
    assert_eq!(series(&few), series(&many), "the same series");
    // Only the values' digits differ.
    let digits_max = 20 * many.len();
    assert!(many_bytes < few_bytes + digits_max, "{few_bytes} bytes, then {many_bytes}");
    assert!(many.len() < 2_000 && many_bytes < 200_000, "{} series, {many_bytes} bytes", many.len());
}
