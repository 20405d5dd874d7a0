use super::*;
use crate::history::days::testing::{CLUSTER, Fixture, TODAY, TestChange, changes_batch, noon};
use crate::history::snapshots::write_snapshot;

fn part(table: Table, day: i32, first: i64, last: i64, bytes: u64) -> PartHolding {
    PartHolding { table, day: Day(TODAY.0 + day), range: SeqRange { first, last }, bytes }
}

fn snapshot(day: i32, seq: i64) -> SnapshotHolding {
    SnapshotHolding { day: Day(TODAY.0 + day), seq, incarnation: 1, position: seq, is_cut: true, bytes: 10 }
}

fn settings(days_max: u32, bytes_max: u64) -> RetentionSettings {
    RetentionSettings { days_max, bytes_max, snapshots_whole_days: 100 }
}

fn day(day: i32) -> Day {
    Day(TODAY.0 + day)
}

/// Ten days of 100 changes each, a snapshot in the middle of each.
fn ten_days() -> Holdings {
    let mut holdings = Holdings::default();
    for n in 0..10 {
        let seq = i64::from(n) * 100;
        holdings.parts.push(part(Table::Changes, n - 9, seq, seq + 99, 1_000));
        holdings.parts.push(part(Table::Coverage, n - 9, i64::from(n), i64::from(n), 1));
        holdings.snapshots.push(snapshot(n - 9, seq + 49));
    }
    holdings
}

#[test]
fn by_age_the_cut_is_the_snapshot_that_the_oldest_kept_day_needs() {
    // Kept are the days from -3 on, first seq 600: the newest snapshot before it is 549, in day -4.
    let plan = plan(&ten_days(), noon(TODAY), settings(3, u64::MAX));
    let mut expected = Vec::new();
    for n in -9..-4 {
        expected.push(Removal::Day { table: Table::Changes, day: day(n), bytes: 1_000 });
    }
    expected.push(Removal::Changes { day: day(-4), up_to_seq: 549, bytes: 500 });
    for n in -9..-4 {
        expected.push(Removal::Day { table: Table::Coverage, day: day(n), bytes: 1 });
    }
    for n in -9..-4 {
        expected.push(Removal::Snapshots { day: day(n), seqs: vec![i64::from(n + 9) * 100 + 49], bytes: 10 });
    }
    assert_eq!(plan, expected);
}

#[test]
fn keeps_everything_within_bounds() {
    assert_eq!(plan(&ten_days(), noon(TODAY), settings(90, u64::MAX)), []);
    assert_eq!(plan(&Holdings::default(), noon(TODAY), settings(0, 0)), []);
}

#[test]
fn by_size_the_cut_moves_on_but_never_beyond_the_newest_snapshot() {
    let kept = |bytes_max| {
        let removals = plan(&ten_days(), noon(TODAY), settings(90, bytes_max));
        let freed: u64 = removals
            .iter()
            .map(|removal| match removal {
                Removal::Day { bytes, .. } | Removal::Changes { bytes, .. } | Removal::Snapshots { bytes, .. } => bytes,
            })
            .sum();
        10_110 - freed
    };
    assert_eq!(kept(10_110), 10_110);
    // 50 rows of a day, five whole days, with coverage, and six snapshots.
    assert_eq!(kept(5_600), 500 + 5_000 + 6 + 60);
    assert_eq!(kept(0), 500 + 1 + 10);
}

#[test]
fn without_a_snapshot_nothing_is_cut() {
    let holdings = Holdings { snapshots: Vec::new(), ..ten_days() };
    assert_eq!(plan(&holdings, noon(TODAY), settings(1, 0)), []);
}

#[test]
fn a_history_that_stood_still_keeps_its_newest_snapshot() {
    let holdings = Holdings {
        parts: vec![part(Table::Changes, -50, 1, 10, 100)],
        snapshots: vec![snapshot(-51, 0), snapshot(-50, 10)],
    };
    assert_eq!(
        plan(&holdings, noon(TODAY), settings(30, u64::MAX)),
        [
            Removal::Day { table: Table::Changes, day: day(-50), bytes: 100 },
            Removal::Snapshots { day: day(-51), seqs: vec![0], bytes: 10 },
        ]
    );
}

#[test]
fn days_that_share_seqs_are_cut_without_a_hole() {
    // The clock stepped back over midnight: day -5 has 1-10 and 21-30, day -4 has 11-20.
    let holdings = Holdings {
        parts: vec![
            part(Table::Changes, -5, 1, 10, 100),
            part(Table::Changes, -4, 11, 20, 100),
            part(Table::Changes, -5, 21, 30, 100),
            part(Table::Changes, 0, 31, 40, 100),
        ],
        snapshots: vec![snapshot(-5, 0), snapshot(-4, 20), snapshot(0, 40)],
    };
    assert_eq!(
        plan(&holdings, noon(TODAY), settings(2, u64::MAX)),
        [
            Removal::Changes { day: day(-5), up_to_seq: 20, bytes: 100 },
            Removal::Day { table: Table::Changes, day: day(-4), bytes: 100 },
            Removal::Snapshots { day: day(-5), seqs: vec![0], bytes: 10 },
        ]
    );
}

#[test]
fn thins_old_snapshots_to_the_first_of_each_day_and_incarnation() {
    let mut holdings = Holdings {
        parts: vec![part(Table::Changes, -20, 0, 1_000, 1)],
        snapshots: vec![
            snapshot(-20, 0),
            snapshot(-20, 5),
            snapshot(-20, 6),
            snapshot(-20, 7),
            snapshot(-1, 8),
            snapshot(-1, 9),
            snapshot(0, 10),
        ],
    };
    holdings.snapshots[2].incarnation = 2;
    let settings = RetentionSettings { days_max: 90, bytes_max: u64::MAX, snapshots_whole_days: 7 };
    let expected = [Removal::Snapshots { day: day(-20), seqs: vec![5, 7], bytes: 20 }];
    assert_eq!(plan(&holdings, noon(TODAY), settings), expected);
}

#[test]
fn applies_a_cut_and_keeps_the_rest_replayable() {
    let fixture = Fixture::new();
    let mut seq = 0;
    for n in -5..=0 {
        for _ in 0..2 {
            let rows = (seq..seq + 10).map(|seq| TestChange::new(seq, format!("/p{}", seq % 3)));
            fixture.add_changes(day(n), rows.collect());
            seq += 10;
            let at = fixture.snapshot_at(seq - 5, day(n));
            let (disk, layout, state) = (&fixture.disk, &fixture.layout, &fixture.state);
            write_snapshot(disk, layout, state, &at, std::iter::empty(), None, 0).unwrap();
        }
    }
    let all: Vec<TestChange> = fixture.changes().into_values().flatten().collect();
    let settings = RetentionSettings { days_max: 2, bytes_max: u64::MAX, snapshots_whole_days: 1 };
    let run = || {
        let plan = plan(&survey(&fixture.state.view()).unwrap(), noon(TODAY), settings);
        apply(&fixture.disk, &fixture.layout, &fixture.state, &plan).unwrap()
    };
    assert!(run().removals > 0);
    // Days from -2 on begin with seq 60; the newest snapshot before is 55.
    let kept: Vec<TestChange> = fixture.changes().into_values().flatten().collect();
    assert_eq!(kept, all[56..]);
    let seqs: Vec<i64> = fixture.state.view().snapshots.iter().map(|part| part.range.last).collect();
    assert_eq!(seqs, [55, 65, 85, 95, 105, 115]);
    assert_eq!(run(), Removed::default(), "a second run finds nothing to do");
    assert!(!fixture.files().iter().any(|name| name.contains("/.")), "{:?}", fixture.files());
    let first_day = fixture.layout.days(Table::Changes, CLUSTER).unwrap().first().copied();
    assert_eq!(first_day, Some(day(-3)));
    let fixture = fixture.reopened();
    assert_eq!(fixture.changes().into_values().flatten().collect::<Vec<_>>(), kept);
    // Rows in the head are no part's business.
    fixture.set_head(Table::Changes, TODAY, changes_batch(&[TestChange::new(seq, "/head")]));
    assert_eq!(plan(&survey(&fixture.state.view()).unwrap(), noon(TODAY), settings), []);
}
