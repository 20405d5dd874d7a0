use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::history::gaps::Interval;
use crate::history::layout::{SeqRange, Table};
use crate::history::part::Part;
use crate::history::replay::model::{Model, rows_of};
use crate::history::replay::testing::{TestRow, changes, changes_part, part, view, with_coverage};
use crate::zk::ChangeKind;

fn run(view: &View) -> Report {
    verify(view, |_| ()).expect("verified")
}

fn kinds(report: &Report) -> Vec<HoleKind> {
    let mut kinds: Vec<HoleKind> = report.holes.iter().map(|hole| hole.kind).collect();
    kinds.sort();
    kinds.dedup();
    kinds
}

/// /app with children that are created, changed, and some deleted: 5 rows each, all at known zxids.
fn history() -> Vec<TestRow> {
    let mut rows = Vec::new();
    let mut push = |kind, path: &str, czxid: Option<i64>, version: i32| {
        let seq = rows.len() as i64 + 1;
        let zxid = 100 + seq;
        let czxid = czxid.unwrap_or(zxid);
        let data = Some(format!("{path} {version}").into_bytes());
        rows.push(TestRow { czxid: Some(czxid), version: Some(version), data, ..TestRow::new(seq, zxid, kind, path) });
        czxid
    };
    push(ChangeKind::Created, "/app", None, 0);
    for child in 0..20 {
        let path = format!("/app/{child:02}");
        let czxid = Some(push(ChangeKind::Created, &path, None, 0));
        for version in 1..4 {
            push(ChangeKind::DataChanged, &path, czxid, version);
        }
        if child % 3 == 0 {
            push(ChangeKind::Deleted, &path, czxid, 3);
        }
    }
    rows.iter_mut()
        .filter(|row| row.kind == ChangeKind::Deleted)
        .for_each(|row| (row.version, row.data) = (None, None));
    rows
}

fn snapshots(dir: &Path, rows: &[TestRow]) -> Vec<Arc<Part>> {
    [0, rows.len() / 3, rows.len() * 2 / 3, rows.len()]
        .into_iter()
        .map(|taken| {
            let position = rows[..taken].iter().map(|row| row.position).max().unwrap_or(100);
            Model::of(&rows[..taken]).snapshot(dir, (0, taken as i64, position, position * 1_000_000), 5)
        })
        .collect()
}

#[test]
fn a_whole_history_is_clean() {
    let dir = tempfile::tempdir().expect("a folder");
    let rows = history();
    let (older, newer) = rows.split_at(60);
    let parts = older.chunks(17).map(|rows| changes_part(dir.path(), rows, 5)).collect();
    let report = run(&view(parts, vec![changes(newer)], snapshots(dir.path(), &rows)));
    assert_eq!(report.holes, [], "{:?}", report.unproved);
    assert_eq!(report.checked.changes, rows.len() as u64);
    assert_eq!((report.checked.snapshots, report.checked.pairs, report.checked.versions), (4, 3, 60));
    assert!(report.is_clean() && report.checked.znodes > 0);
}

/// Deleting any one row from a part is noticed, and the hole names its seq; a value's row also its path and versions.
#[test]
fn each_missing_row_is_named() {
    let dir = tempfile::tempdir().expect("a folder");
    let rows = history();
    let snapshots = snapshots(dir.path(), &rows);
    for lost in 1..rows.len() - 1 {
        let mut kept = rows.clone();
        let gone = kept.remove(lost);
        let report = run(&view(vec![changes_part(dir.path(), &kept, 16)], Vec::new(), snapshots.clone()));
        let seq = report.holes.iter().find(|hole| hole.kind == HoleKind::Seq).expect("a hole");
        assert_eq!(seq.seq, Some(gone.seq));
        assert!(seq.detail.contains(&format!("seq {} is missing", gone.seq)), "{}", seq.detail);
        match gone.kind {
            ChangeKind::DataChanged if gone.version != Some(3) => {
                let version = report.holes.iter().find(|hole| hole.kind == HoleKind::Version).expect("a hole");
                assert_eq!(version.path.as_deref(), Some(gone.path.as_str()));
                let expected = gone.version.expect("it has one");
                assert!(version.detail.contains(&format!("versions {expected} to {expected} are missing")));
            }
            ChangeKind::Created | ChangeKind::Deleted => {
                // A child that came and went between two snapshots leaves no trace but its parent's cversion.
                let deleted = |row: &TestRow| row.kind == ChangeKind::Deleted && row.path == gone.path;
                if gone.kind == ChangeKind::Deleted || !rows.iter().any(deleted) {
                    assert!(kinds(&report).contains(&HoleKind::Snapshot), "{gone:?}: {:?}", report.holes);
                }
                assert!(
                    report
                        .holes
                        .iter()
                        .any(|hole| hole.kind == HoleKind::Children && hole.path.as_deref() == Some("/app"))
                );
            }
            _ => {}
        }
    }
}

#[test]
fn what_is_marked_as_missed_or_lies_in_a_gap_is_no_hole() {
    let dir = tempfile::tempdir().expect("a folder");
    let changed = |seq, zxid, version| TestRow {
        czxid: Some(50),
        version: Some(version),
        ..TestRow::new(seq, zxid, ChangeKind::DataChanged, "/a")
    };
    let marked = vec![changed(1, 110, 3), TestRow { missed: 4, ..changed(2, 120, 8) }];
    assert!(run(&view(vec![changes_part(dir.path(), &marked, 8)], Vec::new(), Vec::new())).is_clean());
    let too_many = vec![changed(1, 110, 3), TestRow { missed: 5, ..changed(2, 120, 8) }];
    assert_eq!(kinds(&run(&view(Vec::new(), vec![changes(&too_many)], Vec::new()))), [HoleKind::Version]);

    let bare = vec![changed(1, 110, 3), changed(2, 120, 8)];
    let without = view(Vec::new(), vec![changes(&bare)], Vec::new());
    assert_eq!(kinds(&run(&without)), [HoleKind::Version]);
    let interval = |seq, from, to| Interval {
        incarnation: 0,
        source: "watch".into(),
        path: "/".into(),
        aspect: "data".into(),
        from_time: from,
        to_time: to,
        from_zxid: from,
        to_zxid: to,
        ended: Some("disconnected".into()),
        missed_at_least: 0,
        seq,
        open: false,
    };
    let report = run(&with_coverage(without.clone(), &[interval(1, 100, 112), interval(2, 115, 130)], &[]));
    assert!(report.is_clean(), "{:?}", report.holes);
    assert!(report.unproved.iter().any(|text| text.contains("gap")), "{:?}", report.unproved);
    let report = run(&with_coverage(without, &[interval(1, 90, 95), interval(2, 96, 130)], &[]));
    assert_eq!(kinds(&report), [HoleKind::Version], "a gap elsewhere explains nothing");
}

#[test]
fn doubled_rows_and_lives_are_named() {
    let dir = tempfile::tempdir().expect("a folder");
    let rows = history();
    let mut doubled = rows.clone();
    doubled.push(TestRow { seq: rows.len() as i64 + 1, source: "txnlog", ordinal: 3, ..rows[3].clone() });
    let report = run(&view(vec![changes_part(dir.path(), &doubled, 9)], Vec::new(), Vec::new()));
    assert_eq!(kinds(&report), [HoleKind::Double], "{:?}", report.holes);
    assert_eq!(report.holes[0].path.as_deref(), Some(rows[3].path.as_str()));

    let twice = view(vec![changes_part(dir.path(), &rows, 9)], vec![changes(&rows[5..6])], Vec::new());
    assert_eq!(kinds(&run(&twice)), [HoleKind::Seq, HoleKind::Double]);

    // A multi that sets a path twice, deletes it, creates it anew, sets that to a version which the first life had too,
    // and deletes it: all at one zxid, no hole.
    let at = |ordinal: i32, kind, version| TestRow {
        ordinal,
        czxid: Some(if ordinal < 3 { 50 } else { 200 }),
        version,
        ..TestRow::new(1 + i64::from(ordinal), 200, kind, "/m")
    };
    let multi = [
        at(0, ChangeKind::DataChanged, Some(1)),
        at(1, ChangeKind::DataChanged, Some(2)),
        at(2, ChangeKind::Deleted, None),
        at(3, ChangeKind::Created, Some(0)),
        at(4, ChangeKind::DataChanged, Some(1)),
        at(5, ChangeKind::Deleted, None),
    ];
    assert_eq!(run(&view(Vec::new(), vec![changes(&multi)], Vec::new())).holes, []);
    let other = [at(0, ChangeKind::Created, Some(0)), TestRow { seq: 2, ..at(3, ChangeKind::Deleted, None) }];
    assert_eq!(kinds(&run(&view(Vec::new(), vec![changes(&other)], Vec::new()))), [HoleKind::Life]);
}

#[test]
fn damaged_and_misnamed_parts_are_named() {
    let dir = tempfile::tempdir().expect("a folder");
    let rows = history();
    let whole = || changes_part(dir.path(), &rows, 9);

    let damaged = whole();
    let path = damaged.path();
    let mut bytes = std::fs::read(&path).expect("there");
    let middle = bytes.len() / 3;
    bytes[middle..middle + 64].fill(0xa5);
    std::fs::write(&path, bytes).expect("written");
    let report = run(&view(vec![damaged], Vec::new(), Vec::new()));
    assert!(!report.is_clean());
    assert_eq!(report.holes[0].kind, HoleKind::Part, "{:?}", report.holes);
    assert!(report.holes[0].detail.contains(&path.display().to_string()));

    let right = whole();
    let range = SeqRange { first: 1, last: right.range.last + 5 };
    let misnamed = Part::new(Table::Changes, right.cluster.clone(), right.day, range, right.path(), right.bytes);
    let report = run(&view(vec![Arc::new(misnamed)], Vec::new(), Vec::new()));
    assert_eq!(kinds(&report), [HoleKind::Name, HoleKind::Seq]);

    let range = SeqRange { first: 1, last: rows.len() as i64 };
    let unsorted =
        part(dir.path(), Table::Changes, range, &changes(&rows.iter().rev().cloned().collect::<Vec<_>>()), 9);
    let report = run(&view(vec![unsorted], Vec::new(), Vec::new()));
    assert!(kinds(&report).contains(&HoleKind::Order));
}

#[test]
fn what_is_read_and_what_is_compared_are_counted_apart() {
    let dir = tempfile::tempdir().expect("a folder");
    let report = run(&view(Vec::new(), Vec::new(), vec![Model::root().snapshot(dir.path(), (0, 0, 100, 0), 5)]));
    assert_eq!((report.checked.snapshots, report.checked.znodes, report.checked.pairs), (1, 1, 0));
    assert!(report.is_clean() && !report.is_empty);

    let report = run(&view(Vec::new(), Vec::new(), Vec::new()));
    assert!(report.is_empty);
    assert_eq!(report.unproved, ["nothing is recorded of this cluster: no tree was ever read to the end"]);
}

/// The root counts a child that could not be read when the first snapshot was taken; a rescan finds it later.
#[test]
fn a_child_that_becomes_readable_is_not_counted_twice() {
    let dir = tempfile::tempdir().expect("a folder");
    let found = |seq, zxid, path: &str| TestRow {
        czxid: Some(zxid),
        version: Some(0),
        source: "rescan",
        ..TestRow::new(seq, zxid, ChangeKind::Created, path)
    };
    let rows = [found(1, 50, "/secret"), found(2, 60, "/secret/a"), found(3, 110, "/new")];
    let mut before = Model::root();
    let root = before.0.get_mut("/").expect("the root");
    (root.num_children, root.cversion, root.pzxid) = (1, Some(0), Some(50));
    let first = before.snapshot(dir.path(), (0, 0, 100, 0), 5);
    let mut after = Model::of(&rows);
    let root = after.0.get_mut("/").expect("the root");
    assert_eq!((root.num_children, root.cversion, root.pzxid), (2, Some(1), Some(110)));
    assert_eq!(after.0["/secret"].num_children, 1);
    let second = after.snapshot(dir.path(), (0, 3, 110, 0), 5);
    let report = run(&view(vec![changes_part(dir.path(), &rows, 2)], Vec::new(), vec![first.clone(), second]));
    assert_eq!(report.holes, [], "{:?}", report.unproved);
    assert_eq!(report.checked.pairs, 1);

    // When it goes it is one less.
    let gone = TestRow { czxid: Some(50), ..TestRow::new(4, 120, ChangeKind::Deleted, "/secret") };
    let leaf = TestRow { czxid: Some(60), seq: 5, ordinal: -1, path: "/secret/a".into(), ..gone.clone() };
    for row in [&leaf, &gone] {
        after.apply(row);
    }
    let third = after.snapshot(dir.path(), (0, 5, 120, 0), 5);
    let rows: Vec<TestRow> = rows.into_iter().chain([gone, leaf]).collect();
    let report = run(&view(vec![changes_part(dir.path(), &rows, 2)], Vec::new(), vec![first, third]));
    assert_eq!(report.holes, [], "{:?}", report.unproved);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// What a server and an agent could have given has no hole, however it lies in parts and head.
    #[test]
    fn honest_histories_are_clean(
        ops in prop::collection::vec((any::<u8>(), any::<u8>(), any::<u8>()), 1..60),
        chunk in 1..20_usize,
    ) {
        let dir = tempfile::tempdir().expect("a folder");
        let rows = rows_of(&ops);
        let (older, newer) = rows.split_at(rows.len() * 2 / 3);
        let parts = older.chunks(chunk).map(|rows| changes_part(dir.path(), rows, 4)).collect();
        let mut snapshots = snapshots(dir.path(), &rows);
        snapshots.dedup_by_key(|snapshot| snapshot.range);
        let report = run(&view(parts, vec![changes(newer)], snapshots));
        prop_assert!(report.is_clean(), "{:?}", report.holes);
    }
}
