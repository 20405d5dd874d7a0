use super::*;

const OPEN: &str = r#"[{"perms":"cdrwa","scheme":"world","id":"anyone"}]"#;
const READ: &str = r#"[{"perms":"r","scheme":"world","id":"anyone"}]"#;
const ALICE: i64 = 0xa;
const BOB: i64 = 0xb;

fn at(zxid: i64, session_id: i64, action: Action) -> Transaction {
    Transaction { zxid: Zxid(zxid), time: Micros(zxid * 1_000), session_id, cxid: 7, action }
}

fn created(path: &str, node_type: NodeType, parent_cversion: i32) -> Operation {
    Operation::Created {
        path: path.into(),
        data: Some(Bytes::from_static(b"abc")),
        acl: OPEN.into(),
        node_type,
        parent_cversion,
    }
}

fn set(path: &str, version: i32) -> Operation {
    Operation::DataSet { path: path.into(), data: Some(Bytes::from_static(b"longer")), version }
}

fn deleted(path: &str) -> Operation {
    Operation::Deleted { path: path.into(), expired: false }
}

fn znode(path: &str, czxid: i64, creations: i32) -> PersistedZnode {
    PersistedZnode {
        path: path.into(),
        data: None,
        acl: Some(OPEN.into()),
        czxid: Zxid(czxid),
        mzxid: Zxid(czxid),
        pzxid: Zxid(czxid),
        ctime: Micros(czxid * 1_000),
        mtime: Micros(czxid * 1_000),
        version: 0,
        creations,
        aversion: 0,
        ephemeral_owner: 0,
        node_type: NodeType::Persistent,
    }
}

/// A ledger that begins with the root alone.
fn fresh() -> Ledger {
    let mut ledger = Ledger::new(1, Source::Txnlog);
    ledger.restore(znode("/", 0, 0));
    ledger.restored();
    ledger
}

fn apply(ledger: &mut Ledger, transaction: Transaction) -> Vec<Change> {
    let mut out = Vec::new();
    ledger.apply(transaction, Micros(99), &mut out);
    out
}

fn entry(ledger: &Ledger, path: &str) -> Option<Entry> {
    ledger.iter().find(|entry| &*entry.path == path)
}

#[test]
fn a_life_is_complete() {
    let mut ledger = fresh();
    let ops = |ops| Action::Operations(ops);
    let row = apply(&mut ledger, at(5, ALICE, ops(vec![created("/a", NodeType::Persistent, 1)]))).remove(0);
    assert_eq!((row.zxid, row.czxid, row.version, row.aversion), (Some(Zxid(5)), Some(Zxid(5)), Some(0), Some(0)));
    assert_eq!((row.session_id, row.cxid, row.time), (Some(ALICE), Some(7), Micros(5_000)));
    assert_eq!((row.acl.as_deref(), row.data_length), (Some(OPEN), Some(3)));
    assert_eq!((row.evidence, row.source, row.missed), (Evidence::Exact, Source::Txnlog, 0));

    let row = apply(&mut ledger, at(6, BOB, ops(vec![set("/a", 1)]))).remove(0);
    assert_eq!((row.kind, row.czxid, row.version), (ChangeKind::DataChanged, Some(Zxid(5)), Some(1)));
    let acl = Operation::AclSet { path: "/a".into(), acl: READ.into(), aversion: 1 };
    let row = apply(&mut ledger, at(7, BOB, ops(vec![acl]))).remove(0);
    assert_eq!((row.kind, row.aversion, row.acl.as_deref()), (ChangeKind::AclChanged, Some(1), Some(READ)));
    assert_eq!((row.version, row.czxid), (Some(1), Some(Zxid(5))));

    let a = entry(&ledger, "/a").expect("it exists");
    assert_eq!((a.stat.mzxid, a.stat.version, a.stat.aversion, a.stat.data_length), (Zxid(6), 1, 1, 6));
    assert_eq!(a.acl.as_deref(), Some(READ));

    let row = apply(&mut ledger, at(8, ALICE, ops(vec![deleted("/a")]))).remove(0);
    assert_eq!((row.czxid, row.version, row.cause), (Some(Zxid(5)), None, Some(DeleteCause::Explicit)));
    assert_eq!(entry(&ledger, "/a"), None);
    let root = entry(&ledger, "/").expect("it exists");
    assert_eq!((root.stat.cversion, root.stat.num_children, root.stat.pzxid), (2, 0, Zxid(8)));
}

#[test]
fn a_multi_is_rows_in_its_order() {
    let mut ledger = fresh();
    let operations = vec![
        created("/m", NodeType::Persistent, 1),
        set("/m", 1),
        deleted("/m"),
        created("/m", NodeType::Persistent, 2),
    ];
    let rows = apply(&mut ledger, at(5, ALICE, Action::Operations(operations)));
    let told: Vec<_> = rows.iter().map(|row| (row.ordinal, row.kind.as_str(), row.czxid)).collect();
    let life = Some(Zxid(5));
    assert_eq!(told, [(0, "created", life), (1, "data_changed", life), (2, "deleted", life), (3, "created", life)]);
    let root = entry(&ledger, "/").expect("it exists");
    assert_eq!((root.stat.cversion, root.stat.num_children), (3, 1));
}

#[test]
fn what_failed_is_no_row() {
    let mut ledger = fresh();
    assert_eq!(apply(&mut ledger, at(5, ALICE, Action::Nothing)), []);
    assert_eq!(apply(&mut ledger, at(6, ALICE, Action::SessionOpened { timeout_ms: 4_000 })), []);
    assert_eq!(ledger.len(), 1);
}

#[test]
fn a_closed_session_takes_its_ephemerals() {
    for logged in [Some(vec!["/e2".into(), "/e1".into()]), None] {
        let mut ledger = fresh();
        let held = vec![created("/e1", NodeType::Ephemeral, 1), created("/e2", NodeType::Ephemeral, 2)];
        apply(&mut ledger, at(5, ALICE, Action::Operations(held)));
        apply(&mut ledger, at(6, BOB, Action::Operations(vec![created("/e3", NodeType::Ephemeral, 3)])));
        let named = logged.is_some();
        let rows = apply(&mut ledger, at(7, ALICE, Action::SessionClosed { ephemerals: logged }));
        let paths: Vec<&str> = rows.iter().map(|row| &*row.path).collect();
        assert_eq!(paths, if named { ["/e2", "/e1"] } else { ["/e1", "/e2"] });
        for row in &rows {
            assert_eq!((row.cause, row.ephemeral_owner), (Some(DeleteCause::SessionClosed), ALICE));
            assert_eq!(row.czxid, Some(Zxid(5)));
        }
        assert_eq!(ledger.len(), 2);
    }
}

#[test]
fn what_expires_says_so() {
    let mut ledger = fresh();
    apply(&mut ledger, at(5, ALICE, Action::Operations(vec![created("/c", NodeType::Container, 1)])));
    let gone = Operation::Deleted { path: "/c".into(), expired: true };
    let row = apply(&mut ledger, at(6, 0, Action::Operations(vec![gone]))).remove(0);
    assert_eq!((row.cause, row.node_type), (Some(DeleteCause::Expired), Some(NodeType::Container)));
    assert_eq!((row.session_id, row.ephemeral_owner), (Some(0), 0));
}

#[test]
fn a_fuzzy_snapshot_is_replayed_over() {
    // The snapshot's zxid is 4, but it was still being written at 8: it shows some of 5 to 8 and not others.
    let mut ledger = Ledger::new(1, Source::Txnlog);
    let mut root = znode("/", 0, 2);
    root.pzxid = Zxid(6);
    ledger.restore(root);
    ledger.restore(PersistedZnode { version: 3, mzxid: Zxid(8), ..znode("/kept", 2, 0) });
    ledger.restore(znode("/born", 6, 0));
    ledger.restored();

    let ops = |op| Action::Operations(vec![op]);
    // Its life ended before the snapshot got there: which life it was is not known any more.
    let row = apply(&mut ledger, at(5, ALICE, ops(deleted("/gone")))).remove(0);
    assert_eq!((row.czxid, row.kind), (None, ChangeKind::Deleted));
    let row = apply(&mut ledger, at(6, ALICE, ops(created("/born", NodeType::Persistent, 3)))).remove(0);
    assert_eq!(row.czxid, Some(Zxid(6)));
    let rows =
        [apply(&mut ledger, at(7, ALICE, ops(set("/kept", 2)))), apply(&mut ledger, at(8, BOB, ops(set("/kept", 3))))];
    assert_eq!(rows.concat().iter().map(|row| row.version).collect::<Vec<_>>(), [Some(2), Some(3)]);

    let root = entry(&ledger, "/").expect("it exists").stat;
    assert_eq!((root.num_children, root.cversion, root.pzxid), (2, 4, Zxid(6)));
    let kept = entry(&ledger, "/kept").expect("it exists").stat;
    assert_eq!((kept.version, kept.mzxid), (3, Zxid(8)));
}

#[test]
fn an_earlier_life_is_not_the_one_that_is_held() {
    let mut ledger = Ledger::new(1, Source::Txnlog);
    ledger.restore(znode("/", 0, 5));
    ledger.restore(znode("/a", 9, 0));
    ledger.restored();
    for op in [set("/a", 4), deleted("/a")] {
        let row = apply(&mut ledger, at(7, ALICE, Action::Operations(vec![op]))).remove(0);
        assert_eq!(row.czxid, None);
    }
    assert_eq!(entry(&ledger, "/a").expect("it exists").stat.czxid, Zxid(9));
}

#[test]
fn nothing_is_known_behind_a_hole() {
    let mut ledger = fresh();
    apply(&mut ledger, at(5, ALICE, Action::Operations(vec![created("/a", NodeType::Persistent, 1)])));
    ledger.lose();
    let row = apply(&mut ledger, at(9, ALICE, Action::Operations(vec![set("/a", 3)]))).remove(0);
    assert_eq!((row.czxid, row.version, row.node_type), (None, Some(3), None));
    assert!(ledger.is_empty());
}
