use std::path::Path;

use super::*;
use crate::history::days::testing::{Fixture, TODAY, TestChange, changes_batch};
use crate::history::snapshots::{SPILL_BYTES_MAX, SnapshotRow, ValueSpill, write_snapshot};
use crate::zk::Zxid;

const YESTERDAY: Day = Day(TODAY.0 - 1);

/// No compression makes these bytes disappear: they repeat nothing.
fn secret() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..64)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect()
}

fn files_with(dir: &Path, needle: &[u8]) -> usize {
    let mut found = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found += files_with(&path, needle);
        } else {
            let bytes = std::fs::read(&path).unwrap();
            found += usize::from(bytes.windows(needle.len()).any(|window| window == needle));
        }
    }
    found
}

/// The secret in two days of changes (one part of which has it not) and, from a scan, in a snapshot.
fn with_secrets() -> Fixture {
    let fixture = Fixture::new();
    let with_secret = |seq, path: &str| TestChange { data: Some(secret()), ..TestChange::new(seq, path) };
    fixture.add_changes(YESTERDAY, vec![with_secret(0, "/config/a"), TestChange::new(1, "/other")]);
    fixture.add_changes(YESTERDAY, vec![TestChange::new(2, "/other")]);
    fixture.add_changes(TODAY, vec![with_secret(3, "/config/b"), TestChange::new(4, "/other")]);
    let at = fixture.snapshot_at(4, TODAY);
    let mut spill = ValueSpill::new(&fixture.disk, &fixture.layout, "prod", SPILL_BYTES_MAX);
    spill.push("/config/c", Zxid(1), 7, Zxid(1), Some(&secret()), Some(64), Some(9)).unwrap();
    let row = SnapshotRow {
        path: "/config/c".into(),
        czxid: Some(Zxid(1)),
        mzxid: Some(Zxid(1)),
        pzxid: None,
        ctime: None,
        mtime: None,
        version: Some(7),
        cversion: None,
        aversion: None,
        ephemeral_owner: 0,
        node_type: None,
        num_children: 0,
        acl: None,
        data_length: Some(64),
    };
    let (disk, layout, state) = (&fixture.disk, &fixture.layout, &fixture.state);
    write_snapshot(disk, layout, state, &at, std::iter::once(row), Some(spill), 0).unwrap();
    fixture
}

fn run(fixture: &Fixture) -> Result<Redacted, HistoryError> {
    redact(&fixture.disk, &fixture.layout, &fixture.state, |path| path.starts_with("/config/"), |_| {})
}

#[test]
fn leaves_no_byte_of_a_value_in_any_file() {
    let fixture = with_secrets();
    // The marker is visible to this search while it is there: in the first bytes at least.
    assert_eq!(files_with(fixture.dir.path(), &secret()[..16]), 3);
    let mut expected = fixture.changes();
    for row in expected.values_mut().flatten().filter(|row| row.path.starts_with("/config/")) {
        row.data = None;
    }

    let redacted = run(&fixture).unwrap();
    assert_eq!(redacted, Redacted { rows: 3, parts: 2, snapshots: 1, folders_in_use: 0 });
    assert_eq!(files_with(fixture.dir.path(), &secret()[..16]), 0);
    for start in 1..48 {
        assert_eq!(files_with(fixture.dir.path(), &secret()[start..start + 16]), 0);
    }
    assert_eq!(fixture.changes(), expected);
    for part in fixture.state.view().changes.parts.iter() {
        for batch in read_projected(part, &["path", "data", "data_length", "data_hash"]).unwrap() {
            assert_eq!(values_of(&batch.unwrap(), &|path: &str| path.starts_with("/config/")).unwrap().true_count(), 0);
        }
    }
    assert_eq!(run(&fixture).unwrap(), Redacted::default(), "again does nothing");
    let fixture = fixture.reopened();
    assert_eq!(fixture.changes(), expected);
}

#[test]
fn says_where_a_reader_still_holds_old_files() {
    let fixture = with_secrets();
    let view = fixture.state.view();
    assert_eq!(run(&fixture).unwrap().folders_in_use, 3);
    drop(view);
    assert_eq!(files_with(fixture.dir.path(), &secret()[..16]), 0);
}

#[test]
fn wants_a_flush_first() {
    let fixture = with_secrets();
    fixture.set_head(Table::Changes, TODAY, changes_batch(&[TestChange::new(5, "/other")]));
    run(&fixture).unwrap();
    fixture.set_head(Table::Changes, TODAY, changes_batch(&[TestChange::new(5, "/config/d")]));
    assert!(run(&fixture).unwrap_err().to_string().contains("flush first"));
}

#[test]
fn a_kill_at_any_step_leaves_every_row_and_can_be_done_again() {
    let rows = |fixture: &Fixture| fixture.changes().into_values().flatten().map(|row| row.seq).collect::<Vec<_>>();
    for step in 1.. {
        let mut fixture = with_secrets();
        fixture.disk = Disk::new();
        fixture.disk.faults.plan(|plan| plan.die_at_step = Some(step));
        let result = run(&fixture);
        let steps = fixture.disk.faults.plan(|plan| plan.steps.len());
        let fixture = fixture.reopened();
        assert_eq!(rows(&fixture), [0, 1, 2, 3, 4]);
        run(&fixture).unwrap();
        assert_eq!(rows(&fixture), [0, 1, 2, 3, 4]);
        assert_eq!(files_with(fixture.dir.path(), &secret()[..16]), 0);
        if steps < step {
            result.unwrap();
            break;
        }
    }
}
