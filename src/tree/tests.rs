//! The rules of derivation, one by one. What they add up to is the model's business.

use super::*;
use crate::zk::{Acl, AclOutcome, ChildrenOutcome, Ended, Event, EventKind, ReadOutcome, StatOutcome};

const ZXID: i64 = 100;

struct Run {
    tree: Tree,
    next_event: u64,
}

impl Run {
    /// A tree with a history: `/` and `/a`, created at 10, set last at 20 (version 3); connected and scanned.
    fn new() -> Self {
        let mut tree = Tree::new("/".into(), 1);
        for znode in [znode("/", root()), znode("/a", a())] {
            tree.restore(znode);
        }
        tree.restored(Zxid(50));
        let mut run = Self { tree, next_event: 1 };
        run.scan(&[("/", root()), ("/a", a())]);
        run
    }

    fn feed(&mut self, observation: Observation) -> Vec<Effect> {
        let mut out = Vec::new();
        self.tree.apply(observation, &mut out);
        out
    }

    fn event(&mut self, kind: EventKind, path: &str, zxid: Option<i64>) -> Vec<Effect> {
        let id = self.next_event;
        self.next_event += 1;
        let read_follows = kind != EventKind::Deleted || zxid.is_none();
        let zxid = zxid.map(Zxid);
        self.feed(Observation::Event(Event { id, kind, path: path.into(), zxid, heard_at: Micros(7), read_follows }))
    }

    fn read(&mut self, path: &str, event: Option<u64>, outcome: ReadOutcome) -> Vec<Effect> {
        self.feed(Observation::Read { path: path.into(), event, heard_at: Micros(8), outcome })
    }

    fn parent(&mut self, path: &str, event: u64, stat: Stat) -> Vec<Effect> {
        let outcome = StatOutcome::Found(stat);
        self.feed(Observation::Exists { path: path.into(), event: Some(event), heard_at: Micros(8), outcome })
    }

    fn list(&mut self, path: &str, names: &[&str]) -> Vec<Effect> {
        let outcome = ChildrenOutcome::Found(names.iter().map(|name| (*name).into()).collect());
        self.feed(Observation::Children { path: path.into(), heard_at: Micros(8), outcome })
    }

    fn acl(&mut self, path: &str, stat: Stat) -> Vec<Effect> {
        let outcome = AclOutcome::Found { acls: vec![Acl::new(31, "world", "anyone")], stat };
        self.feed(Observation::Acl { path: path.into(), heard_at: Micros(8), outcome })
    }

    fn disconnect(&mut self) -> Vec<Effect> {
        self.feed(Observation::Disconnected { last_heard: Micros(9), ended: Ended::Disconnected })
    }

    fn scan_starts(&mut self, reason: ScanReason) {
        assert_eq!(self.feed(Observation::ScanStarted { reason, heard_at: Micros(9) }), []);
    }

    fn scan_finishes(&mut self) -> Vec<Effect> {
        self.feed(Observation::ScanFinished { heard_at: Micros(9) })
    }

    /// A whole scan that finds these znodes.
    fn scan(&mut self, znodes: &[(&str, Stat)]) -> Vec<Effect> {
        self.scan_starts(ScanReason::Reconnect);
        let mut out = Vec::new();
        for (path, stat) in znodes {
            out.extend(self.read(path, None, found(*stat)));
            let below = |(child, _): &&(&str, Stat)| *child != "/" && crate::zk::parent(child) == Some(path);
            let names: Vec<&str> = znodes.iter().filter(below).map(|(child, _)| crate::zk::name(child)).collect();
            out.extend(self.list(path, &names));
        }
        out.extend(self.scan_finishes());
        out
    }
}

fn root() -> Stat {
    Stat { cversion: 4, pzxid: Zxid(30), num_children: 1, ..Stat::default() }
}

fn a() -> Stat {
    let (ctime, mtime) = (Micros(1_000), Micros(2_000));
    Stat {
        czxid: Zxid(10),
        mzxid: Zxid(20),
        pzxid: Zxid(10),
        ctime,
        mtime,
        version: 3,
        data_length: 5,
        ..Stat::default()
    }
}

fn new(czxid: i64) -> Stat {
    let (czxid, time) = (Zxid(czxid), Micros(czxid * 10));
    Stat { czxid, mzxid: czxid, pzxid: czxid, ctime: time, mtime: time, data_length: 5, ..Stat::default() }
}

fn set(stat: Stat, version: i32, mzxid: i64) -> Stat {
    Stat { version, mzxid: Zxid(mzxid), mtime: Micros(mzxid * 10), ..stat }
}

fn znode(path: &str, stat: Stat) -> Znode {
    let acl = Some("[]".into());
    Znode { path: path.into(), stat, known: Known::ALL, acl, node_type: None, value_recorded: true }
}

fn found(stat: Stat) -> ReadOutcome {
    ReadOutcome::Found { stat, data: Bytes::from_static(b"value") }
}

/// The rows, as a person would tell them.
fn told(effects: &[Effect]) -> Vec<String> {
    let row = |effect: &Effect| match effect {
        Effect::Change(row) => {
            let zxid = row.zxid.map_or("?".to_owned(), |zxid| zxid.0.to_string());
            let version = row.version.map_or(String::new(), |version| format!(" v{version}"));
            let missed = if row.missed > 0 { format!(" missed {}", row.missed) } else { String::new() };
            let value = if row.data.is_some() { " +value" } else { "" };
            let (kind, path, evidence) = (row.kind.as_str(), &row.path, row.evidence.as_str());
            Some(format!("{kind} {path}{version} {zxid}@{} {evidence}{value}{missed}", row.position.0))
        }
        _ => None,
    };
    effects.iter().filter_map(row).collect()
}

fn finished(effects: &[Effect]) -> Option<(i64, bool)> {
    effects.iter().find_map(|effect| match effect {
        Effect::ScanFinished { missed_at_least, needs_snapshot, .. } => Some((*missed_at_least, *needs_snapshot)),
        _ => None,
    })
}

#[test]
fn a_set_waits_for_its_value() {
    let mut run = Run::new();
    assert_eq!(run.event(EventKind::DataChanged, "/a", None), []);
    assert_eq!(run.tree.pending(), 1);
    let out = run.read("/a", Some(1), found(set(a(), 4, ZXID)));
    assert_eq!(told(&out), ["data_changed /a v4 100@100 exact +value"]);
    let Some(Effect::Change(row)) = out.first() else { panic!("no row") };
    assert_eq!((row.time, row.time_source, row.observed_at), (Micros(1_000), TimeSource::Server, Micros(7)));
    assert_eq!((row.czxid, row.ordinal, row.source), (Some(Zxid(10)), 0, Source::Watch));
    assert_eq!(run.tree.pending(), 0);
}

#[test]
fn one_answer_settles_all_sets_before_it() {
    let mut run = Run::new();
    run.event(EventKind::DataChanged, "/a", None);
    run.event(EventKind::DataChanged, "/a", None);
    let out = run.read("/a", Some(1), found(set(a(), 5, ZXID)));
    assert_eq!(told(&out), ["data_changed /a v4 ?@50 coalesced", "data_changed /a v5 100@100 exact +value"]);
    assert_eq!(run.read("/a", Some(2), found(set(a(), 5, ZXID))), []);
}

#[test]
fn an_events_zxid_names_the_overtaken_set() {
    let mut run = Run::new();
    run.event(EventKind::DataChanged, "/a", Some(90));
    run.event(EventKind::DataChanged, "/a", Some(95));
    let out = run.read("/a", Some(1), found(set(a(), 5, 95)));
    assert_eq!(told(&out), ["data_changed /a v4 90@90 coalesced", "data_changed /a v5 95@95 exact +value"]);
}

#[test]
fn fewer_sets_than_events_leave_the_last_to_come() {
    let mut run = Run::new();
    run.event(EventKind::DataChanged, "/a", None);
    run.event(EventKind::DataChanged, "/a", None);
    let out = run.read("/a", Some(1), found(set(a(), 4, 90)));
    assert_eq!(told(&out), ["data_changed /a v4 90@90 exact +value"]);
    let out = run.read("/a", Some(2), found(set(a(), 5, 95)));
    assert_eq!(told(&out), ["data_changed /a v5 95@95 exact +value"]);
}

#[test]
fn more_sets_than_events_were_missed() {
    let mut run = Run::new();
    run.event(EventKind::DataChanged, "/a", None);
    let out = run.read("/a", Some(1), found(set(a(), 7, ZXID)));
    assert_eq!(told(&out), ["data_changed /a v7 100@100 exact +value missed 3"]);
}

#[test]
fn versions_wrap() {
    let mut run = Run::new();
    run.read("/a", None, found(set(a(), i32::MAX, 60)));
    run.event(EventKind::DataChanged, "/a", None);
    let out = run.read("/a", Some(1), found(set(a(), i32::MIN, 70)));
    assert_eq!(told(&out), [format!("data_changed /a v{} 70@70 exact +value", i32::MIN)]);
}

#[test]
fn a_repeat_of_what_is_on_record_is_no_row() {
    let mut run = Run::new();
    assert_eq!(run.event(EventKind::DataChanged, "/a", Some(20)), []);
    assert_eq!(run.event(EventKind::Created, "/a", Some(10)), []);
    assert_eq!(run.event(EventKind::Deleted, "/a", Some(9)), []);
    // Without a zxid its own read proves it.
    run.event(EventKind::DataChanged, "/a", None);
    assert_eq!(run.read("/a", Some(4), found(a())), []);
    assert_eq!(run.tree.pending(), 0);
}

#[test]
fn a_creation_gets_its_value_or_at_least_its_place() {
    let mut run = Run::new();
    run.event(EventKind::Created, "/b", None);
    let out = run.read("/b", Some(1), found(new(ZXID)));
    assert_eq!(told(&out), ["created /b v0 100@100 exact +value"]);

    run.event(EventKind::Created, "/c", None);
    run.event(EventKind::DataChanged, "/c", None);
    let out = run.read("/c", Some(2), found(set(new(110), 1, 111)));
    assert_eq!(told(&out), ["created /c v0 110@110 coalesced", "data_changed /c v1 111@111 exact +value"]);
}

#[test]
fn a_deletion_is_placed_by_its_parent() {
    let mut run = Run::new();
    assert_eq!(run.event(EventKind::Deleted, "/a", None), []);
    assert!(run.tree.get("/a").is_none());
    let out = run.parent("/", 1, Stat { cversion: 5, pzxid: Zxid(ZXID), num_children: 0, ..root() });
    assert_eq!(told(&out), ["deleted /a 100@100 exact"]);
    assert_eq!(told(&run.event(EventKind::Deleted, "/never", Some(120))), ["deleted /never 120@120 exact"]);
}

#[test]
fn a_deletion_that_is_not_its_parents_last_is_only_bounded() {
    let mut run = Run::new();
    run.event(EventKind::Deleted, "/a", None);
    run.event(EventKind::Created, "/b", None);
    run.parent("/", 1, Stat { cversion: 6, pzxid: Zxid(ZXID), ..root() });
    let out = run.read("/b", Some(2), found(new(ZXID)));
    assert_eq!(told(&out), ["deleted /a ?@50 inferred", "created /b v0 100@100 exact +value"]);
}

#[test]
fn a_child_that_may_not_be_seen_makes_no_false_zxid() {
    let mut run = Run::new();
    run.event(EventKind::Deleted, "/a", None);
    let out = run.parent("/", 1, Stat { cversion: 6, pzxid: Zxid(ZXID), ..root() });
    assert_eq!(told(&out), ["deleted /a ?@50 inferred"]);
}

#[test]
fn several_lives_in_one_transaction_are_all_told() {
    let mut run = Run::new();
    run.event(EventKind::DataChanged, "/a", None);
    run.event(EventKind::Created, "/b", None);
    run.event(EventKind::Deleted, "/b", None);
    run.event(EventKind::Created, "/b", None);
    let mut out = run.read("/a", Some(1), found(set(a(), 4, ZXID)));
    out.extend(run.read("/b", Some(2), found(new(ZXID))));
    out.extend(run.parent("/", 3, Stat { cversion: 7, pzxid: Zxid(ZXID), ..root() }));
    out.extend(run.read("/b", Some(4), found(new(ZXID))));
    let expected = [
        "data_changed /a v4 100@100 exact +value",
        "created /b v0 100@100 coalesced",
        "deleted /b 100@100 exact",
        "created /b v0 100@100 exact +value",
    ];
    assert_eq!(told(&out), expected);
    let ordinals: Vec<i32> = out
        .iter()
        .filter_map(|effect| match effect {
            Effect::Change(row) => Some(row.ordinal),
            _ => None,
        })
        .collect();
    assert_eq!(ordinals, [0, 1, 2, 3]);
}

#[test]
fn a_refused_read_is_a_row_without_a_value() {
    let mut run = Run::new();
    run.event(EventKind::DataChanged, "/a", None);
    let out = run.read("/a", Some(1), ReadOutcome::NoAuth);
    assert_eq!(told(&out), ["data_changed /a v4 ?@50 coalesced"]);
    assert!(out.contains(&Effect::Unreadable("/a".into())));
    let out = run.read("/a", None, found(set(a(), 4, ZXID)));
    assert!(out.contains(&Effect::Readable("/a".into())));
    assert!(matches!(out.last(), Some(Effect::Value { .. })), "{out:?}");
    assert!(told(&out).is_empty(), "{out:?}");
}

#[test]
fn a_disconnect_lets_everything_go_as_it_is_known() {
    let mut run = Run::new();
    run.event(EventKind::Created, "/b", None);
    run.event(EventKind::DataChanged, "/b", None);
    run.event(EventKind::Deleted, "/a", None);
    let expected = ["created /b v0 ?@50 coalesced", "data_changed /b v1 ?@50 coalesced", "deleted /a ?@50 inferred"];
    assert_eq!(told(&run.disconnect()), expected);
    assert_eq!(run.tree.pending(), 0);
}

#[test]
fn a_scan_without_differences_tells_nothing() {
    let mut run = Run::new();
    run.disconnect();
    let out = run.scan(&[("/", root()), ("/a", a())]);
    assert!(told(&out).is_empty(), "{out:?}");
    assert_eq!(finished(&out), Some((0, false)));
}

#[test]
fn a_scan_finds_what_a_gap_took() {
    let mut run = Run::new();
    run.disconnect();
    // Set three times, and beside it one znode was created, set twice; another came and went.
    let root = Stat { cversion: 7, pzxid: Zxid(90), num_children: 2, ..root() };
    let out = run.scan(&[("/", root), ("/a", set(a(), 6, 80)), ("/b", set(new(70), 2, 75))]);
    let expected = [
        "data_changed /a v6 80@80 inferred +value missed 2",
        "created /b v0 70@70 inferred",
        "data_changed /b v2 75@75 inferred +value missed 1",
    ];
    assert_eq!(told(&out), expected);
    assert_eq!(finished(&out), Some((2 + 1 + 2, true)));
}

#[test]
fn another_life_is_a_deletion_and_a_creation() {
    let mut run = Run::new();
    run.disconnect();
    let out = run.scan(&[("/", Stat { cversion: 6, pzxid: Zxid(80), ..root() }), ("/a", new(80))]);
    assert_eq!(told(&out), ["deleted /a ?@50 inferred", "created /a v0 80@80 inferred +value"]);
    assert_eq!(finished(&out), Some((0, false)));
}

#[test]
fn the_only_deletion_below_a_parent_has_its_pzxid() {
    let mut run = Run::new();
    run.disconnect();
    let out = run.scan(&[("/", Stat { cversion: 5, pzxid: Zxid(80), num_children: 0, ..root() })]);
    assert_eq!(told(&out), ["deleted /a 80@80 inferred"]);
}

#[test]
fn an_event_after_a_gap_counts_what_the_gap_took() {
    let mut run = Run::new();
    run.disconnect();
    run.scan_starts(ScanReason::Reconnect);
    run.event(EventKind::DataChanged, "/a", None);
    let out = run.read("/a", None, found(set(a(), 6, ZXID)));
    assert_eq!(told(&out), ["data_changed /a v6 100@100 exact +value missed 2"]);
    // What is not verified is not claimed of a life that may be another.
    run.disconnect();
    run.scan_starts(ScanReason::Reconnect);
    let out = run.event(EventKind::Deleted, "/a", Some(120));
    assert!(matches!(&out[..], [Effect::Change(row)] if row.czxid.is_none() && row.zxid == Some(Zxid(120))));
}

#[test]
fn a_bootstrap_tells_values_and_no_changes() {
    let mut run = Run { tree: Tree::new("/".into(), 1), next_event: 1 };
    run.scan_starts(ScanReason::Bootstrap);
    let out = run.read("/", None, found(root()));
    assert!(matches!(&out[..], [Effect::Value { .. }]));
    run.event(EventKind::DataChanged, "/a", None);
    let out = run.read("/a", Some(1), found(a()));
    assert_eq!(told(&out), ["data_changed /a v3 20@20 exact +value"]);
    let out = run.read("/a", None, found(a()));
    assert!(matches!(&out[..], [Effect::Value { .. }]));
    assert_eq!(finished(&run.scan_finishes()), Some((0, true)));
}

#[test]
fn an_acl_is_asked_for_when_its_version_moved() {
    let mut run = Run::new();
    let moved = Stat { aversion: 2, ..a() };
    assert_eq!(run.read("/a", None, found(moved)), [Effect::ReadAcl("/a".into())]);
    assert_eq!(run.read("/a", None, found(moved)), []);
    let out = run.acl("/a", moved);
    assert_eq!(told(&out), ["acl_changed /a ?@20 inferred missed 1"]);
    // It may have become unreadable with it: reading tells.
    let [Effect::Reread(path), Effect::Change(row)] = &out[..] else { panic!("{out:?}") };
    assert!(&**path == "/a" && row.aversion == Some(2) && row.acl.is_some());
    assert_eq!(run.acl("/a", moved), []);
    assert!(run.tree.get("/a").is_some_and(|znode| znode.acl.is_some() && znode.stat.aversion == 2));
}

#[test]
fn a_refused_acl_makes_the_tree_look_whether_the_znode_can_be_read() {
    let mut run = Run::new();
    let refused = || Observation::Acl { path: "/a".into(), heard_at: Micros(9), outcome: AclOutcome::NoAuth };
    let mut out = Vec::new();
    run.tree.apply(refused(), &mut out);
    assert_eq!(out, [Effect::Reread("/a".into())]);
    assert_eq!(run.read("/a", None, ReadOutcome::NoAuth), [Effect::Unreadable("/a".into())]);
    out.clear();
    run.tree.apply(refused(), &mut out);
    assert_eq!(out, [], "that is known by now");
    let again = run.acl("/a", a());
    assert_eq!(again, [Effect::Reread("/a".into())]);
    let set = Stat { version: a().version + 2, mzxid: Zxid(60), ..a() };
    let out = run.read("/a", None, found(set));
    assert!(matches!(&out[..], [Effect::Readable(_), Effect::Change(row)] if row.missed == 1), "{out:?}");
}

#[test]
fn reconfigurations_are_told_by_mzxid_alone() {
    let config = Stat { version: -1, mzxid: Zxid(40), mtime: Micros(5), ..Stat::default() };
    let path = "/zookeeper/config";
    let mut run = Run { tree: Tree::new("/".into(), 1), next_event: 1 };
    run.tree.restore(znode(path, config));
    run.tree.restored(Zxid(50));
    run.scan_starts(ScanReason::Start);
    // Another server, another mtime: no change.
    assert_eq!(run.read(path, None, found(Stat { mtime: Micros(6), ..config })), []);
    run.event(EventKind::DataChanged, path, None);
    let out = run.read(path, Some(1), found(Stat { mzxid: Zxid(90), ..config }));
    assert_eq!(told(&out), ["data_changed /zookeeper/config v-1 90@90 exact +value"]);
    let out = run.read(path, None, found(Stat { mzxid: Zxid(95), ..config }));
    assert_eq!(told(&out), ["data_changed /zookeeper/config v-1 95@95 inferred +value"]);
}

#[test]
fn what_contradicts_the_stream_is_asked_again_once() {
    let mut run = Run::new();
    run.event(EventKind::Deleted, "/a", Some(60));
    assert_eq!(run.read("/a", Some(9), found(a())), [Effect::Reread("/a".into())]);
    let mut run = Run::new();
    assert_eq!(run.read("/a", None, ReadOutcome::NoNode), [Effect::Reread("/a".into())]);
    assert_eq!(told(&run.read("/a", None, ReadOutcome::NoNode)), ["deleted /a ?@50 inferred"]);
}

#[test]
fn a_scope_bounds_the_tree() {
    let mut tree = Tree::new("/kafka".into(), 1);
    tree.restore(znode("/kafka", a()));
    tree.restore(znode("/kafka/b", a()));
    tree.restore(znode("/kafkaesque", a()));
    assert_eq!(tree.len(), 2);
    assert_eq!(tree.iter().map(|znode| znode.path.to_string()).collect::<Vec<_>>(), ["/kafka", "/kafka/b"]);
    assert_eq!(tree.children("/kafka").collect::<Vec<_>>(), ["b"]);
    assert_eq!(tree.oldest(1).len(), 1);
}

#[test]
fn walks_in_the_order_of_the_paths_bytes() {
    let mut tree = Tree::new("/".into(), 1);
    let mut paths = [
        "/", "/a", "/a b", "/a b/c", "/a-", "/a-/x", "/a-b", "/a-b/c", "/a/b", "/a/b-c", "/a/b/c", "/a0", "/ü/x", "/ü",
    ];
    for path in paths {
        tree.restore(znode(path, a()));
    }
    paths.sort_unstable();
    assert_eq!(tree.iter().map(|znode| znode.path.to_string()).collect::<Vec<_>>(), paths);
}

#[test]
fn finds_every_child_of_a_growing_and_shrinking_directory() {
    let mut run = Run { tree: Tree::new("/".into(), 1), next_event: 1 };
    let path = |number: i64| format!("/{}", number * 7 % 100);
    for number in 0..100 {
        run.event(EventKind::Created, &path(number), Some(ZXID + number));
        assert_eq!(run.tree.len() as i64, number + 1);
    }
    assert!((0..100).all(|number| run.tree.get(&path(number)).is_some()));
    for number in 0..90 {
        run.event(EventKind::Deleted, &path(number), Some(300 + number));
    }
    for number in 40..90 {
        run.event(EventKind::Created, &path(number), Some(400 + number));
    }
    assert!((0..100).all(|number| run.tree.get(&path(number)).is_some() == (number >= 40)));
    assert_eq!(run.tree.children("/").count(), 60);
    assert!(run.tree.get("/100").is_none());
}
