use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};

use super::testing::{CLUSTER, Fixture, TODAY, TestChange, changes_of, noon};
use super::*;
use crate::history::disk::Disk;
use crate::history::error::HistoryError;
use crate::history::layout::SeqRange;

const YESTERDAY: Day = Day(TODAY.0 - 1);
const SMALL: CompactionLimits = CompactionLimits { part_rows_max: 100, part_bytes_max: 1 << 30 };

/// Three parts of 100 rows, paths and positions mixed, one row far from its place.
fn three_parts(fixture: &Fixture) {
    for part in 0..3 {
        let rows = (0..100).map(|n| {
            let seq = part * 100 + n;
            let mut row = TestChange::new(seq, format!("/p{}", (seq * 7) % 13));
            if seq == 250 {
                row.position = 1_003;
            }
            row
        });
        fixture.add_changes(YESTERDAY, rows.collect());
    }
}

#[test]
fn compaction_keeps_every_row_and_its_day() {
    let fixture = Fixture::new();
    three_parts(&fixture);
    fixture.add_changes(TODAY, vec![TestChange::new(300, "/a")]);
    fixture.add_changes(TODAY, vec![TestChange::new(301, "/a")]);
    let before = fixture.changes();
    let limits = CompactionLimits { part_rows_max: 130, ..SMALL };

    let (done, failed) = compact_closed_days(&fixture.disk, &fixture.layout, &fixture.state, noon(TODAY), limits);
    assert!(failed.is_empty(), "{failed:?}");
    let expected = Compacted { table: Table::Changes, day: YESTERDAY, parts_before: 3, parts_after: 3, rows: 300 };
    assert_eq!(done, [expected]);
    assert_eq!(fixture.changes(), before);
    // Cut by position: no two parts overlap.
    let view = fixture.state.view();
    let mut ranges: Vec<(i64, i64)> = parts_of(&view, Table::Changes, YESTERDAY)
        .iter()
        .map(|part| int64_range(part, "position").unwrap().unwrap())
        .collect();
    ranges.sort_unstable();
    assert!(ranges.windows(2).all(|pair| pair[0].1 < pair[1].0), "{ranges:?}");
    drop(view);

    let (done, _) = compact_closed_days(&fixture.disk, &fixture.layout, &fixture.state, noon(TODAY), limits);
    assert_eq!(done, [], "a compact day is left alone");
    assert!(!fixture.files().iter().any(|name| name.contains("/.")), "{:?}", fixture.files());
    let fixture = fixture.reopened();
    assert_eq!(fixture.changes(), before);
}

#[test]
fn small_parts_of_a_day_that_goes_on_are_joined() {
    let fixture = Fixture::new();
    let rows = |from: i64, count: i64| (from..from + count).map(|seq| TestChange::new(seq, format!("/p{}", seq % 7)));
    // One that is not small, between the others.
    fixture.add_changes(TODAY, rows(0, 10).collect());
    fixture.add_changes(TODAY, rows(10, 50_001).collect());
    (0..65).for_each(|part| drop(fixture.add_changes(TODAY, rows(50_011 + part * 3, 3).collect())));
    let before = fixture.changes();
    let join = |table| {
        let (disk, layout, state) = (&fixture.disk, &fixture.layout, &fixture.state);
        join_small_parts(disk, layout, state, (table, TODAY), &mut Retired::with_grace(Duration::ZERO)).unwrap()
    };
    assert!(join(Table::Changes));
    assert_eq!(fixture.parts(Table::Changes), 2);
    assert_eq!(fixture.changes(), before);
    assert!(!join(Table::Changes) && !join(Table::Coverage), "there is nothing to join");
    // The day's own compaction still has its work to do.
    let now = noon(Day(TODAY.0 + 1));
    let limits = CompactionLimits::default();
    let (done, failed) = compact_closed_days(&fixture.disk, &fixture.layout, &fixture.state, now, limits);
    assert!(failed.is_empty() && done.len() == 1, "{done:?} {failed:?}");
    assert_eq!(fixture.reopened().changes(), before);
}

#[test]
fn a_late_part_makes_a_compact_day_be_compacted_again() {
    let fixture = Fixture::new();
    three_parts(&fixture);
    let whole = CompactionLimits::default();
    let day = (Table::Changes, YESTERDAY);
    assert!(
        compact_day(&fixture.disk, &fixture.layout, &fixture.state, day, whole, &mut Retired::default())
            .unwrap()
            .is_some()
    );
    assert_eq!(fixture.parts(Table::Changes), 1);
    fixture.add_changes(YESTERDAY, vec![TestChange::new(300, "/late")]);
    let before = fixture.changes();
    assert!(
        compact_day(&fixture.disk, &fixture.layout, &fixture.state, day, whole, &mut Retired::default())
            .unwrap()
            .is_some()
    );
    assert_eq!((fixture.parts(Table::Changes), fixture.changes()), (1, before));
}

#[test]
fn a_day_with_head_rows_is_not_closed() {
    let fixture = Fixture::new();
    three_parts(&fixture);
    assert_eq!(closed_days(&fixture.state.view(), noon(TODAY)), [(Table::Changes, YESTERDAY)]);
    assert_eq!(closed_days(&fixture.state.view(), noon(YESTERDAY)), []);
    let head = testing::changes_batch(&[TestChange::new(300, "/a")]);
    fixture.set_head(Table::Changes, YESTERDAY, head);
    assert_eq!(closed_days(&fixture.state.view(), noon(TODAY)), []);
}

#[test]
fn hundreds_of_parts_merge_in_levels() {
    let fixture = Fixture::new();
    for seq in 0..600 {
        fixture.add_changes(YESTERDAY, vec![TestChange::new(seq, format!("/p{}", seq % 17))]);
    }
    let before = fixture.changes();
    let day = (Table::Changes, YESTERDAY);
    let done = compact_day(
        &fixture.disk,
        &fixture.layout,
        &fixture.state,
        day,
        CompactionLimits::default(),
        &mut Retired::default(),
    )
    .unwrap();
    assert_eq!(done.map(|done| (done.parts_before, done.parts_after, done.rows)), Some((600, 1, 600)));
    assert_eq!(fixture.changes(), before);
}

/// Kills the process at every step that an operation takes on the disk; after each, the reopened history holds `allowed`.
fn kill_at_every_step(
    prepare: impl Fn(&Fixture),
    operate: impl Fn(&Fixture) -> Result<(), ReplaceError>,
    allowed: &[BTreeMap<Day, Vec<TestChange>>],
) {
    let mut seen = vec![false; allowed.len()];
    for step in 1.. {
        let mut fixture = Fixture::new();
        prepare(&fixture);
        fixture.disk = Disk::new();
        fixture.disk.faults.plan(|plan| plan.die_at_step = Some(step));
        let result = operate(&fixture);
        let steps = fixture.disk.faults.plan(|plan| plan.steps.len());
        let fixture = fixture.reopened();
        let found = fixture.changes();
        let which = allowed.iter().position(|allowed| *allowed == found);
        let which = which.unwrap_or_else(|| panic!("after step {step}: {:?}", fixture.files()));
        seen[which] = true;
        assert!(!fixture.files().iter().any(|name| name.contains("/.")), "{:?}", fixture.files());
        // And the operation can be done again.
        operate(&fixture).unwrap();
        assert_eq!(Some(&fixture.changes()), allowed.last());
        if steps < step {
            result.unwrap();
            break;
        }
        assert!(result.is_err(), "died at step {step}");
    }
    assert!(seen.iter().all(|seen| *seen), "{seen:?}");
}

#[test]
fn a_kill_at_any_step_of_an_exchange_leaves_a_whole_day() {
    let before = {
        let fixture = Fixture::new();
        three_parts(&fixture);
        fixture.changes()
    };
    kill_at_every_step(
        three_parts,
        |fixture| {
            compact_day(
                &fixture.disk,
                &fixture.layout,
                &fixture.state,
                (Table::Changes, YESTERDAY),
                SMALL,
                &mut Retired::default(),
            )
            .map(drop)
        },
        &[before],
    );
}

#[test]
fn a_kill_at_any_step_of_a_drop_leaves_the_day_or_nothing() {
    let before = {
        let fixture = Fixture::new();
        three_parts(&fixture);
        fixture.changes()
    };
    kill_at_every_step(
        three_parts,
        |fixture| {
            let parts = parts_of(&fixture.state.view(), Table::Changes, YESTERDAY);
            if parts.is_empty() {
                return Ok(());
            }
            drop_day(
                &fixture.disk,
                &fixture.layout,
                &fixture.state,
                (Table::Changes, YESTERDAY),
                &parts,
                &mut Retired::default(),
            )
        },
        &[before, BTreeMap::new()],
    );
}

#[test]
fn a_failed_fsync_of_the_parent_keeps_the_old_files_until_the_next_start() {
    let mut fixture = Fixture::new();
    three_parts(&fixture);
    let before = fixture.changes();
    fixture.disk = Disk::new();
    let day = (Table::Changes, YESTERDAY);
    // The syncs of one exchange: folder, file, folder, and last the parents.
    Disk::new().create_dir(&fixture.layout.work(CLUSTER)).unwrap();
    let parts = parts_of(&fixture.state.view(), Table::Changes, YESTERDAY);
    let keep_all = |folder: &std::path::Path| parts.iter().map(|part| keep_part(&Disk::new(), part, folder)).collect();
    fixture.disk.faults.plan(|plan| plan.fail_sync = Some(3));
    let result =
        exchange(&fixture.disk, &fixture.layout, &fixture.state, day, &parts, &mut Retired::default(), keep_all);
    assert!(matches!(result, Err(ReplaceError::History(HistoryError::Io { .. }))), "{result:?}");
    assert_eq!(fixture.changes(), before);
    drop(parts);
    assert_eq!(fixture.files().iter().filter(|name| name.contains(".date=") && name.ends_with(".parquet")).count(), 3);
    let fixture = fixture.reopened();
    assert_eq!(fixture.changes(), before);
}

#[test]
fn refuses_to_remove_what_it_does_not_know() {
    let fixture = Fixture::new();
    three_parts(&fixture);
    let stranger = fixture.layout.day(Table::Changes, CLUSTER, YESTERDAY).join("notes.txt");
    std::fs::write(&stranger, "mine").unwrap();
    let before = fixture.changes();
    let day = (Table::Changes, YESTERDAY);
    let result = compact_day(&fixture.disk, &fixture.layout, &fixture.state, day, SMALL, &mut Retired::default());
    assert!(result.unwrap_err().to_string().contains("notes.txt"));
    assert!(stranger.exists());
    assert_eq!((fixture.parts(Table::Changes), fixture.changes()), (3, before));
    assert!(!fixture.files().iter().any(|name| name.contains("/.")), "{:?}", fixture.files());
}

#[test]
fn a_part_that_came_meanwhile_is_not_lost() {
    let fixture = Fixture::new();
    three_parts(&fixture);
    let parts = parts_of(&fixture.state.view(), Table::Changes, YESTERDAY);
    let day = (Table::Changes, YESTERDAY);
    let result =
        exchange(&fixture.disk, &fixture.layout, &fixture.state, day, &parts, &mut Retired::default(), |folder| {
            fixture.add_changes(YESTERDAY, vec![TestChange::new(300, "/late")]);
            parts.iter().map(|part| keep_part(&fixture.disk, part, folder)).collect()
        });
    assert!(matches!(result, Err(ReplaceError::Changed { .. })), "{result:?}");
    assert_eq!(fixture.changes()[&YESTERDAY].len(), 301);
    assert!(!fixture.files().iter().any(|name| name.contains("/.")), "{:?}", fixture.files());
}

#[test]
fn readers_see_every_row_once_while_days_are_exchanged() {
    let fixture = Fixture::new();
    three_parts(&fixture);
    let expected = fixture.changes();
    let stop = AtomicBool::new(false);
    let day_folder = fixture.layout.day(Table::Changes, CLUSTER, YESTERDAY);
    std::thread::scope(|scope| {
        let by_view = || {
            let mut reads = 0;
            while !stop.load(Ordering::Relaxed) || reads == 0 {
                let view = fixture.state.view();
                assert_eq!(changes_of(&view), expected);
                reads += 1;
            }
            reads
        };
        // What any Parquet reader does: list the folder, then open each file by name.
        let by_glob = || {
            let (mut whole, mut gone) = (0, 0);
            while !stop.load(Ordering::Relaxed) || whole == 0 {
                let listed = crate::history::layout::list(&day_folder).unwrap();
                let opened: Result<Vec<std::fs::File>, _> =
                    listed.iter().map(|name| std::fs::File::open(day_folder.join(name))).collect();
                match opened {
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => gone += 1,
                    Err(error) => panic!("{error}"),
                    Ok(files) => {
                        let mut seqs = Vec::new();
                        for file in files {
                            let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file);
                            for batch in reader.unwrap().build().unwrap() {
                                seqs.extend_from_slice(merge::int64(&batch.unwrap(), "seq").unwrap().values());
                            }
                        }
                        seqs.sort_unstable();
                        assert_eq!(seqs, (0..300).collect::<Vec<i64>>(), "{listed:?}");
                        whole += 1;
                    }
                }
            }
            (whole, gone)
        };
        let viewers = [scope.spawn(by_view), scope.spawn(by_view)];
        let globber = scope.spawn(by_glob);
        let mut retired = Retired::with_grace(std::time::Duration::from_secs(3));
        for _ in 0..60 {
            let parts = parts_of(&fixture.state.view(), Table::Changes, YESTERDAY);
            let day = (Table::Changes, YESTERDAY);
            exchange(&fixture.disk, &fixture.layout, &fixture.state, day, &parts, &mut retired, |folder| {
                parts
                    .iter()
                    .map(|part| Ok(rewrite_part(&fixture.disk, part, folder, Ok)?.unwrap()))
                    .collect::<Result<Vec<SeqRange>, HistoryError>>()
            })
            .unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        for viewer in viewers {
            assert!(viewer.join().unwrap() > 0);
        }
        assert!(globber.join().unwrap().0 > 0);
    });
    assert!(!fixture.files().iter().any(|name| name.contains("/.")), "{:?}", fixture.files());
}

#[test]
fn rolled_coverage_becomes_one_interval_and_covers_the_same() {
    // (seq, path, from, to, ended, missed): times and zxids are the same numbers.
    type Row = (i64, &'static str, i64, i64, Option<&'static str>, i64);
    let batch = |rows: &[Row]| {
        let times = |of: fn(&Row) -> i64| -> ArrayRef {
            Arc::new(TimestampMicrosecondArray::from_iter_values(rows.iter().map(of)).with_timezone("UTC"))
        };
        let longs = |of: fn(&Row) -> i64| -> ArrayRef { Arc::new(Int64Array::from_iter_values(rows.iter().map(of))) };
        let text =
            |text: &'static str| -> ArrayRef { Arc::new(StringArray::from_iter_values(rows.iter().map(|_| text))) };
        let columns: Vec<ArrayRef> = vec![
            longs(|row| row.0),
            Arc::new(Int32Array::from_iter_values(rows.iter().map(|_| 1))),
            text("watch"),
            Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.1))),
            text("data"),
            times(|row| row.2),
            times(|row| row.3),
            longs(|row| row.2),
            longs(|row| row.3),
            Arc::new(rows.iter().map(|row| row.4).collect::<StringArray>()),
            longs(|row| row.5),
        ];
        RecordBatch::try_new(Table::Coverage.schema(), columns).unwrap()
    };
    let fixture = Fixture::new();
    let parts: [&[Row]; 3] = [
        &[(1, "/", 0, 10, Some("rolled"), 5), (2, "/x", 0, 10, Some("unreadable"), 0)],
        &[(3, "/", 10, 20, Some("rolled"), 0), (4, "/x", 10, 20, Some("rolled"), 0)],
        &[(5, "/", 20, 25, None, 0), (6, "/", 25, 30, Some("rolled"), 0), (7, "/", 30, 40, Some("rolled"), 2)],
    ];
    for part in parts {
        fixture.add_part(Table::Coverage, YESTERDAY, &batch(part), None);
    }
    let done = compact_day(
        &fixture.disk,
        &fixture.layout,
        &fixture.state,
        (Table::Coverage, YESTERDAY),
        CompactionLimits::default(),
        &mut Retired::default(),
    );
    assert_eq!(done.unwrap().map(|done| done.parts_after), Some(1));
    let parts = parts_of(&fixture.state.view(), Table::Coverage, YESTERDAY);
    assert_eq!(parts[0].range, SeqRange { first: 1, last: 7 });
    let batches: Vec<RecordBatch> = file::read(&parts[0]).unwrap().map(Result::unwrap).collect();
    let expected = batch(&[
        (1, "/", 0, 10, Some("rolled"), 5),
        (2, "/x", 0, 10, Some("unreadable"), 0),
        (4, "/x", 10, 20, Some("rolled"), 0),
        (5, "/", 10, 25, None, 0),
        (6, "/", 25, 30, Some("rolled"), 0),
        (7, "/", 30, 40, Some("rolled"), 2),
    ]);
    assert_eq!(batches, [expected]);
}
