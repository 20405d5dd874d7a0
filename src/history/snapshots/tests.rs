use arrow::array::{Array, AsArray};
use arrow::datatypes::{Int32Type, Int64Type};

use super::write::SnapshotRow;
use super::*;
use crate::history::days::read_projected;
use crate::history::days::testing::{CLUSTER, Fixture, TODAY, TestChange, changes_batch, noon};
use crate::history::layout::{Day, Table};
use crate::history::recorder::SnapshotAt;
use crate::zk::{NodeType, Zxid};

fn znode(path: &str, czxid: i64, version: i32, mzxid: i64) -> SnapshotRow {
    SnapshotRow {
        path: path.into(),
        czxid: Some(Zxid(czxid)),
        mzxid: Some(Zxid(mzxid)),
        pzxid: Some(Zxid(czxid)),
        ctime: Some(noon(TODAY)),
        mtime: None,
        version: Some(version),
        cversion: Some(0),
        aversion: Some(0),
        ephemeral_owner: 7,
        node_type: Some(NodeType::Ephemeral),
        num_children: 0,
        acl: Some("[]".into()),
        data_length: Some(99),
    }
}

fn write(fixture: &Fixture, seq: i64, rows: Vec<SnapshotRow>, spill: Option<ValueSpill>) -> Arc<Part> {
    let (disk, layout, state) = (&fixture.disk, &fixture.layout, &fixture.state);
    write_snapshot(disk, layout, state, &fixture.snapshot_at(seq, TODAY), rows.into_iter(), spill, 0).unwrap()
}

fn spill(fixture: &Fixture, bytes_max: usize) -> ValueSpill {
    ValueSpill::new(&fixture.disk, &fixture.layout, CLUSTER, bytes_max)
}

/// (path, version, data, data_length) of each row.
type Row = (String, i32, Option<String>, Option<i32>);

fn rows(part: &Part) -> Vec<Row> {
    let mut rows = Vec::new();
    for batch in read_projected(part, &["path", "version", "data", "data_length", "seq"]).unwrap() {
        let batch = batch.unwrap();
        let column = |name: &str| batch.column_by_name(name).unwrap().clone();
        let (paths, data, lengths) = (column("path"), column("data"), column("data_length"));
        for row in 0..batch.num_rows() {
            assert_eq!(column("seq").as_primitive::<Int64Type>().value(row), part.range.last);
            let text = |row| String::from_utf8_lossy(data.as_binary::<i32>().value(row)).into_owned();
            rows.push((
                paths.as_string::<i32>().value(row).to_owned(),
                column("version").as_primitive::<Int32Type>().value(row),
                data.is_valid(row).then(|| text(row)),
                lengths.is_valid(row).then(|| lengths.as_primitive::<Int32Type>().value(row)),
            ));
        }
    }
    rows
}

fn row(path: &str, version: i32, data: Option<&str>, length: Option<i32>) -> Row {
    (path.to_owned(), version, data.map(str::to_owned), length)
}

fn change(seq: i64, path: &str, czxid: i64, version: i32, data: Option<&str>) -> TestChange {
    TestChange {
        czxid: Some(czxid),
        version: Some(version),
        data: data.map(|data| data.as_bytes().to_vec()),
        ..TestChange::new(seq, path)
    }
}

#[test]
fn joins_values_from_scan_snapshot_parts_and_head() {
    let fixture = Fixture::new();
    let mut scanned = spill(&fixture, SPILL_BYTES_MAX);
    for path in ["/scanned", "/old", "/overtaken"] {
        scanned.push(path, Zxid(1), 0, Zxid(1), Some(path.as_bytes()), Some(9), Some(1)).unwrap();
    }
    let first = vec![znode("/old", 1, 0, 1), znode("/overtaken", 1, 0, 1), znode("/scanned", 1, 0, 1)];
    let first = write(&fixture, 0, first, Some(scanned));
    assert_eq!(rows(&first)[2], row("/scanned", 0, Some("/scanned"), Some(9)));

    let mut unknown = change(2, "/overtaken", 1, 1, None);
    unknown.evidence = "coalesced";
    fixture.add_changes(
        TODAY,
        vec![
            change(1, "/changed", 2, 3, Some("three")),
            unknown,
            change(3, "/withheld", 2, 0, None),
            change(4, "/reborn", 2, 0, Some("first life")),
        ],
    );
    let mut config = change(8, "/zookeeper/config", 0, -1, Some("servers"));
    config.position = 77;
    let head = [
        change(5, "/changed", 2, 4, Some("four")),
        change(6, "/reborn", 5, 0, Some("second life")),
        change(7, "/scanned", 1, 1, Some("one")),
        config,
        change(9, "/changed", 2, 5, Some("later than the snapshot")),
        TestChange { incarnation: 2, ..change(8, "/other", 1, 0, Some("another incarnation")) },
    ];
    fixture.set_head(Table::Changes, TODAY, changes_batch(&head));
    let mut config = znode("/zookeeper/config", 0, -1, 77);
    config.num_children = 0;
    let tree = vec![
        znode("/changed", 2, 4, 9),
        znode("/fresh", 8, 0, 8),
        znode("/old", 1, 0, 1),
        znode("/other", 1, 0, 1),
        znode("/overtaken", 1, 1, 3),
        znode("/reborn", 5, 0, 5),
        znode("/scanned", 1, 1, 5),
        znode("/withheld", 2, 0, 5),
        config,
    ];
    let mut scanned = spill(&fixture, SPILL_BYTES_MAX);
    scanned.push("/fresh", Zxid(8), 0, Zxid(8), Some(b"fresh"), Some(5), None).unwrap();
    scanned.push("/absent", Zxid(8), 0, Zxid(8), Some(b"absent"), Some(6), None).unwrap();
    scanned.push("/reborn", Zxid(2), 0, Zxid(2), Some(b"a life ago"), Some(10), None).unwrap();
    let second = write(&fixture, 8, tree, Some(scanned));
    let expected = [
        row("/changed", 4, Some("four"), Some(4)),
        row("/fresh", 0, Some("fresh"), Some(5)),
        row("/old", 0, Some("/old"), Some(9)),
        row("/other", 0, None, Some(99)),
        row("/overtaken", 1, None, Some(99)),
        row("/reborn", 0, Some("second life"), Some(11)),
        row("/scanned", 1, Some("one"), Some(3)),
        row("/withheld", 0, None, None),
        row("/zookeeper/config", -1, Some("servers"), Some(7)),
    ];
    assert_eq!(rows(&second), expected);
    assert_eq!(fixture.state.view().snapshots.last().map(|part| part.range), Some(second.range));
    assert_eq!(incarnation_of(&second).unwrap(), Some(1));
    // The same place again takes the place of the first, with the values that it had.
    let snapshots = fixture.state.view().snapshots.len();
    let again = write(&fixture, 8, vec![znode("/old", 1, 0, 1)], None);
    assert_eq!(rows(&again), [row("/old", 0, Some("/old"), Some(9))]);
    assert_eq!(fixture.state.view().snapshots.len(), snapshots);
    assert!(!Arc::ptr_eq(&again, &second));
    assert_eq!(rows(&second), expected, "whoever holds the first goes on reading it");
}

#[test]
fn config_is_told_apart_by_its_mzxid() {
    let fixture = Fixture::new();
    let mut scanned = spill(&fixture, SPILL_BYTES_MAX);
    scanned.push("/zookeeper/config", Zxid(0), -1, Zxid(5), Some(b"old"), Some(3), None).unwrap();
    let tree = vec![znode("/zookeeper/config", 0, -1, 6)];
    let part = write(&fixture, 1, tree, Some(scanned));
    assert_eq!(rows(&part), [row("/zookeeper/config", -1, None, Some(99))]);
}

#[test]
fn spilled_runs_give_the_same_and_leave_no_file() {
    let fixture = Fixture::new();
    let paths: Vec<String> = (0..2_000).map(|n| format!("/n{n:05}")).collect();
    let mut scanned = spill(&fixture, 20_000);
    // In an order that no run has to itself.
    for n in 0..2_000 {
        let path = &paths[n * 7 % 2_000];
        scanned.push(path, Zxid(1), 0, Zxid(1), Some(path.as_bytes()), Some(7), None).unwrap();
    }
    assert!(scanned.runs() > 5, "{}", scanned.runs());
    assert_eq!(fixture.files().iter().filter(|name| name.contains("/.")).count(), 0, "runs have no name");
    let tree = paths.iter().map(|path| znode(path, 1, 0, 1)).collect();
    let part = write(&fixture, 1, tree, Some(scanned));
    let expected: Vec<Row> = paths.iter().map(|path| row(path, 0, Some(path), Some(7))).collect();
    assert_eq!(rows(&part), expected);
}

#[test]
fn a_hot_znode_does_not_fill_the_spill() {
    let fixture = Fixture::new();
    for part in 0..20 {
        let changes = (0..100).map(|n| {
            let seq = part * 100 + n;
            change(seq, &format!("/hot{}", seq % 2), 1, seq as i32, Some(&format!("value {seq}")))
        });
        fixture.add_changes(TODAY, changes.collect());
    }
    let tree = vec![znode("/hot0", 1, 1_998, 1), znode("/hot1", 1, 1_999, 1)];
    let part = write(&fixture, 1_999, tree, Some(spill(&fixture, 5_000)));
    let expected =
        [row("/hot0", 1_998, Some("value 1998"), Some(10)), row("/hot1", 1_999, Some("value 1999"), Some(10))];
    assert_eq!(rows(&part), expected);
}

#[test]
fn refuses_rows_out_of_order_and_leaves_nothing() {
    let fixture = Fixture::new();
    let tree = [znode("/b", 1, 0, 1), znode("/a", 1, 0, 1)].into_iter();
    let (disk, layout, state) = (&fixture.disk, &fixture.layout, &fixture.state);
    let result = write_snapshot(disk, layout, state, &fixture.snapshot_at(1, TODAY), tree, None, 0);
    assert!(result.unwrap_err().to_string().contains("\"/a\""));
    assert!(fixture.state.view().snapshots.is_empty());
    assert!(!fixture.files().iter().any(|name| name.ends_with("parquet")), "{:?}", fixture.files());
}

#[test]
fn a_kill_at_any_step_leaves_a_whole_snapshot_or_none() {
    let mut seen = [false, false];
    for step in 1.. {
        let mut fixture = Fixture::new();
        fixture.disk = crate::history::disk::Disk::new();
        fixture.disk.faults.plan(|plan| plan.die_at_step = Some(step));
        let mut scanned = spill(&fixture, 1_000);
        let pushed = (0..50).try_for_each(|n| {
            scanned.push(&format!("/n{n}"), Zxid(1), 0, Zxid(1), Some(&[b'x'; 100]), Some(100), None)
        });
        let tree = [znode("/n1", 1, 0, 1), znode("/n2", 1, 0, 1)].into_iter();
        let (disk, layout, state) = (&fixture.disk, &fixture.layout, &fixture.state);
        let result = pushed.and_then(|()| {
            write_snapshot(disk, layout, state, &fixture.snapshot_at(1, TODAY), tree, Some(scanned), 0).map(drop)
        });
        let steps = fixture.disk.faults.plan(|plan| plan.steps.len());
        let fixture = fixture.reopened();
        let view = fixture.state.view();
        if let Some(part) = view.snapshots.last() {
            assert_eq!(rows(part).len(), 2);
        }
        seen[usize::from(!view.snapshots.is_empty())] = true;
        assert!(!fixture.files().iter().any(|name| name.contains("/.")), "{:?}", fixture.files());
        if steps < step {
            result.unwrap();
            break;
        }
        assert!(result.is_err());
    }
    assert_eq!(seen, [true, true]);
}

#[test]
fn another_incarnation_at_the_same_seq_is_kept_beside() {
    let fixture = Fixture::new();
    let first = write(&fixture, 5, vec![znode("/a", 1, 0, 1)], None);
    let (disk, layout, state) = (&fixture.disk, &fixture.layout, &fixture.state);
    let at = SnapshotAt { incarnation: 2, ..fixture.snapshot_at(5, TODAY) };
    let rows = [znode("/b", 1, 0, 1)].into_iter();
    let second = write_snapshot(disk, layout, state, &at, rows, None, 0).unwrap();
    assert_eq!((first.day, second.day), (TODAY, Day(TODAY.0 + 1)));
    let fixture = fixture.reopened();
    let view = fixture.state.view();
    let found: Vec<_> = view.snapshots.iter().map(|part| incarnation_of(part).unwrap()).collect();
    assert_eq!(found, [Some(1), Some(2)]);
    assert_eq!(latest_before(&view, 1, 9).unwrap().map(|part| part.day), Some(TODAY));
    assert_eq!(view.snapshots.last().map(|part| part.day), Some(Day(TODAY.0 + 1)));
}
