use super::*;
use crate::history::replay::testing::{TestRow, changes, changes_part, view};
use crate::zk::ChangeKind;

const HOUR: i64 = 3_600_000_000;

fn tick(position: i64, time: i64, observed_at: i64) -> Clocked {
    let key = Key { position, unplaced: false, ordinal: 0, seq: position };
    Clocked { key, time, observed_at, clock: Clock::Tick { live: true } }
}

fn unplaced(position: i64, seq: i64, time: i64, clock: Clock) -> Clocked {
    Clocked { key: Key { position, unplaced: true, ordinal: 0, seq }, time, observed_at: time, clock }
}

fn until(rows: &[Clocked], time: i64) -> Option<i64> {
    find_in(rows, time).until.map(|key| key.position)
}

#[test]
fn a_moment_ends_before_the_first_later_tick() {
    let rows = [tick(1, 10, 10), tick(2, 20, 20), tick(3, 20, 20), tick(4, 30, 30)];
    assert_eq!(until(&rows, 9), Some(1));
    assert_eq!(until(&rows, 10), Some(2));
    assert_eq!(until(&rows, 20), Some(4));
    assert_eq!(until(&rows, 30), None);
    assert_eq!(find_in(&rows, 20).tick.map(|key| key.position), Some(3));
}

#[test]
fn a_clock_that_steps_back_neither_hides_nor_hastens() {
    // A new leader's clock is behind: 10:05, then 10:02, 10:03, 10:06.
    let rows = [tick(1, 1_000, 0), tick(2, 1_005, 0), tick(3, 1_002, 0), tick(4, 1_003, 0), tick(5, 1_006, 0)];
    assert_eq!(until(&rows, 1_002), Some(2));
    assert_eq!(until(&rows, 1_004), Some(2));
    assert_eq!(until(&rows, 1_005), Some(5));
    assert_eq!(until(&rows, 1_006), None);
    // The later the moment, the later the place.
    let places: Vec<i64> = (990..1_010).map(|time| until(&rows, time).unwrap_or(i64::MAX)).collect();
    assert!(places.is_sorted());
}

#[test]
fn the_agents_times_are_brought_over_to_the_servers_clock() {
    for skew in [2 * HOUR, -2 * HOUR] {
        // The server's clock, and the agent's that shows `skew` less.
        let agent = |server: i64| server - skew;
        let rows = [
            tick(10, HOUR, agent(HOUR)),
            unplaced(10, 11, agent(HOUR + 10), Clock::Agent),
            unplaced(10, 12, agent(HOUR + 20), Clock::Agent),
            tick(20, HOUR + 30, agent(HOUR + 30)),
        ];
        let seq = |time| find_in(&rows, time).until.map(|key| key.seq);
        assert_eq!(seq(HOUR + 9), Some(11), "{skew}");
        assert_eq!(seq(HOUR + 10), Some(12), "{skew}");
        assert_eq!(seq(HOUR + 19), Some(12), "{skew}");
        assert_eq!(find_in(&rows, HOUR + 20).until, Some(Key::before(20)), "{skew}");
        assert_eq!(find_in(&rows, HOUR + 30).until, None, "{skew}");
        assert_eq!(find_in(&rows, HOUR + 30).agent_ahead, Some(-skew));
    }
}

#[test]
fn ticks_bound_the_agents_times() {
    // Both agent times are nonsense: one far ahead, one far behind.
    let rows = [
        tick(10, 100, 100),
        unplaced(10, 11, 100 + HOUR, Clock::Agent),
        tick(20, 200, 200),
        unplaced(20, 21, 200 - HOUR, Clock::Agent),
        tick(30, 300, 300),
    ];
    assert_eq!(until(&rows, 99), Some(10));
    assert_eq!(until(&rows, 150), Some(10));
    assert_eq!(until(&rows, 200), Some(30), "a tick at 200 says that what was before it is over");
    assert_eq!(until(&rows, 250), Some(30));
}

#[test]
fn a_rescans_own_time_is_no_clock() {
    // Found at 13:00 after a gap that began at 10:00; the ticks inside the gap were read from the Stats.
    let rows = [
        tick(100, 10 * HOUR, 10 * HOUR),
        unplaced(100, 103, 13 * HOUR, Clock::None),
        Clocked { clock: Clock::Tick { live: false }, ..tick(105, 10 * HOUR + 30, 13 * HOUR) },
        Clocked { clock: Clock::Tick { live: false }, ..tick(110, 11 * HOUR, 13 * HOUR) },
    ];
    assert_eq!(until(&rows, 10 * HOUR + 29), Some(105));
    assert_eq!(until(&rows, 10 * HOUR + 30), Some(110));
    assert_eq!(until(&rows, 11 * HOUR), None);
    assert_eq!(find_in(&rows, 12 * HOUR).agent_ahead, Some(0), "only what was heard live compares the clocks");
}

#[test]
fn a_transaction_is_not_cut() {
    let of = |ordinal: i32, clock: Clock, time: i64| Clocked {
        key: Key { position: 20, unplaced: false, ordinal, seq: 20 + i64::from(ordinal) },
        time,
        observed_at: time,
        clock,
    };
    let rows = [
        tick(10, 100, 100),
        of(0, Clock::Agent, 150),
        of(1, Clock::Tick { live: true }, 151),
        of(2, Clock::Agent, 152),
    ];
    for time in 100..151 {
        assert_eq!(find_in(&rows, time).until, Some(Key::before(20)), "{time}");
    }
    assert_eq!(find_in(&rows, 151).until, None);
}

#[test]
fn parts_and_head_answer_as_the_rule_does() {
    let dir = tempfile::tempdir().expect("a folder");
    // A server two hours ahead whose clock steps back twice; every fifth row has no zxid, every seventh is a rescan's.
    let mut rows: Vec<TestRow> = Vec::new();
    let mut position = 1_000;
    for seq in 1..=120_i64 {
        let server = 2 * HOUR + seq * 1_000 - if (40..60).contains(&seq) || seq > 90 { 15_500 } else { 0 };
        let mut row = TestRow::new(
            seq,
            position + 1,
            ChangeKind::DataChanged,
            ["/a", "/b", "/zookeeper/config"][seq as usize % 3],
        );
        (row.time, row.observed_at) = (server, seq * 1_000 + 7);
        if seq % 5 == 0 {
            (row.zxid, row.position, row.server_timed, row.time) = (None, position, false, row.observed_at);
        } else {
            position += 1;
        }
        if seq % 7 == 0 {
            row.source = "rescan";
        }
        rows.push(row);
    }
    let batch = changes(&rows);
    let typed = super::super::replay::rows::ChangeRows::new(&batch, NEEDS, std::path::Path::new("")).expect("rows");
    let heard = Heard::default();
    let clocked: Vec<Clocked> = (0..typed.len()).filter_map(|at| Clocked::of(typed.row(at), &heard)).collect();
    let parts: Vec<_> = rows[..100].chunks(13).map(|rows| changes_part(dir.path(), rows, 4)).collect();
    let view = view(parts, vec![changes(&rows[100..])], Vec::new());
    for time in (2 * HOUR - 20_000..2 * HOUR + 130_000).step_by(500) {
        assert_eq!(find(&view.changes, 0, time, &heard).expect("read"), find_in(&clocked, time), "{time}");
    }
    assert_eq!(find(&view.changes, 3, 0, &heard).expect("read"), Moment { until: None, tick: None, agent_ahead: None });
    assert_eq!(first_agent_ahead(&view.changes, 0, &heard).expect("read"), Some(7 - 2 * HOUR));
}
