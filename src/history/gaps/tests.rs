use super::*;
use crate::history::layout::{SeqRange, Table};
use crate::history::replay::testing;

fn interval(seq: i64, (from, to): (i64, i64), ended: Option<&str>) -> Interval {
    Interval {
        incarnation: 0,
        source: "watch".into(),
        path: "/".into(),
        aspect: "data".into(),
        from_time: from,
        to_time: to,
        from_zxid: from,
        to_zxid: to,
        ended: ended.map(str::to_owned),
        missed_at_least: 0,
        seq,
        open: false,
    }
}

fn open(from: i64) -> Interval {
    Interval { open: true, ..interval(-1, (from, from + 1), None) }
}

/// (path, from, to, reason, missed) of each gap.
fn told(intervals: &[Interval]) -> Vec<(String, i64, Option<i64>, String, i64)> {
    gaps_of(intervals)
        .into_iter()
        .map(|gap| (gap.path, gap.from_zxid, gap.to_zxid, gap.reason, gap.missed_at_least))
        .collect()
}

fn gap(path: &str, from: i64, to: Option<i64>, reason: &str, missed: i64) -> (String, i64, Option<i64>, String, i64) {
    (path.to_owned(), from, to, reason.to_owned(), missed)
}

#[test]
fn between_two_intervals_is_a_gap_unless_rolled() {
    let missed = Interval { missed_at_least: 7, ..interval(3, (40, 50), Some("stopped")) };
    let rows = [
        interval(1, (10, 20), Some("rolled")),
        interval(2, (20, 30), Some("disconnected")),
        missed,
        interval(4, (60, 70), None),
        interval(5, (80, 90), Some("rolled")),
        open(100),
    ];
    assert_eq!(
        told(&rows),
        [
            gap("/", 30, Some(40), "disconnected", 7),
            gap("/", 50, Some(60), "stopped", 0),
            gap("/", 70, Some(80), "crashed", 0),
            gap("/", 90, Some(100), "crashed", 0),
        ]
    );
}

#[test]
fn what_is_open_now_leaves_no_gap_at_the_end() {
    assert_eq!(told(&[interval(1, (10, 20), Some("rolled")), open(20)]), []);
    assert_eq!(told(&[open(20)]), []);
    assert_eq!(told(&[interval(1, (10, 20), Some("stopped"))]), [gap("/", 20, None, "stopped", 0)]);
    assert_eq!(told(&[interval(1, (10, 20), Some("rolled"))]), [gap("/", 20, None, "crashed", 0)]);
    assert_eq!(told(&[]), []);
}

#[test]
fn the_acl_aspect_is_no_coverage_of_data() {
    let acl = Interval { aspect: "acl".into(), ..interval(2, (20, 90), Some("stopped")) };
    assert_eq!(told(&[interval(1, (10, 20), Some("disconnected")), acl]), [gap("/", 20, None, "disconnected", 0)]);
}

#[test]
fn a_lossless_source_fills_a_gap() {
    let log = |from, to| Interval { source: "txnlog".into(), ..interval(9, (from, to), Some("rolled")) };
    let rows = |log: Interval| [interval(1, (10, 20), Some("disconnected")), open(40), log];
    assert_eq!(told(&rows(log(5, 60))), []);
    assert_eq!(told(&rows(log(20, 40))), []);
    assert_eq!(
        told(&rows(log(25, 30))),
        [gap("/", 20, Some(25), "disconnected", 0), gap("/", 30, Some(40), "disconnected", 0)]
    );
    assert_eq!(told(&rows(log(5, 30))), [gap("/", 30, Some(40), "disconnected", 0)]);
    let elsewhere = Interval { path: "/app".into(), ..log(5, 60) };
    assert_eq!(told(&rows(elsewhere)), [gap("/", 20, Some(40), "disconnected", 0)]);
}

#[test]
fn a_log_that_reaches_further_back_begins_the_history() {
    let log = |seq, (from, to): (i64, i64)| Interval {
        source: "txnlog".to_owned(),
        ..interval(seq, (from, to), Some("stopped"))
    };
    let watch = [interval(1, (50, 60), Some("disconnected")), open(80)];
    let with = |logs: &[Interval]| {
        let mut all = watch.to_vec();
        all.extend_from_slice(logs);
        told(&all)
    };
    let lost = gap("/", 60, Some(80), "disconnected", 0);
    assert_eq!(with(&[log(2, (10, 30))]), [gap("/", 30, Some(50), "unobserved", 0), lost.clone()]);
    assert_eq!(with(&[log(2, (30, 50)), log(3, (10, 30))]), [lost]);
    assert_eq!(with(&[log(2, (10, 65))]), [gap("/", 65, Some(80), "disconnected", 0)]);
    // Logs alone, imported backwards.
    let alone = [log(1, (40, 50)), log(2, (10, 30)), log(3, (30, 35))];
    assert_eq!(told(&alone), [gap("/", 35, Some(40), "stopped", 0), gap("/", 50, None, "stopped", 0)]);
}

#[test]
fn two_agents_are_one_stretch() {
    let own = [interval(1, (10, 20), Some("disconnected")), interval(2, (40, 50), Some("stopped"))];
    let other = [interval(3, (15, 30), Some("rolled")), interval(4, (30, 45), Some("stopped"))];
    let all: Vec<Interval> = own.into_iter().chain(other).collect();
    assert_eq!(told(&all), [gap("/", 50, None, "stopped", 0)]);
}

#[test]
fn an_unreadable_path_is_a_gap_of_its_own() {
    let own = |seq, from, to, ended| Interval { path: "/secret".into(), ..interval(seq, (from, to), ended) };
    // Unreadable at 15, found so again at 35 after a reconnect, readable from 50 on.
    let rows = [
        own(1, 15, 15, Some("unreadable")),
        interval(2, (10, 20), Some("disconnected")),
        own(3, 35, 35, Some("unreadable")),
        Interval { path: "/secret".into(), ..open(50) },
        open(30),
    ];
    assert_eq!(told(&rows), [gap("/", 20, Some(30), "disconnected", 0), gap("/secret", 15, Some(50), "unreadable", 0)]);
}

#[test]
fn another_incarnation_is_another_tree() {
    let anew = Interval { incarnation: 1, from_zxid: 3, to_zxid: 9, ..interval(2, (40, 50), Some("stopped")) };
    assert_eq!(
        told(&[interval(1, (10, 20), Some("rolled")), anew]),
        [gap("/", 20, Some(3), "crashed", 0), gap("/", 9, None, "stopped", 0)]
    );
}

#[test]
fn parts_head_and_open_intervals_are_one() {
    let dir = tempfile::tempdir().expect("a folder");
    let older = [interval(1, (10, 20), Some("rolled")), interval(2, (20, 30), Some("session_expired"))];
    let part =
        testing::part(dir.path(), Table::Coverage, SeqRange { first: 1, last: 2 }, &testing::coverage(&older), 1);
    let newer = [interval(3, (40, 50), Some("rolled"))];
    let mut view = testing::with_coverage(testing::view(Vec::new(), Vec::new(), Vec::new()), &newer, &[open(50)]);
    view.coverage.parts = vec![part].into();
    let gaps = gaps(&view).expect("read");
    assert_eq!(gaps.len(), 1);
    assert_eq!((gaps[0].from_time, gaps[0].to_time), (Micros(30), Some(Micros(40))));
    assert_eq!(gaps[0].reason, "session_expired");
}
