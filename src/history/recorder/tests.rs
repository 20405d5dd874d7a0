use std::time::Duration;

use super::*;
use crate::history::disk::{Disk, Space};
use crate::history::layout::Table;
use crate::zk::Ended;

mod crash;
pub(in crate::history) mod rig;

use rig::*;

#[test]
fn what_is_recorded_is_visible_then_in_parts_then_there_after_a_restart() {
    let rig = Rig::new();
    let running = rig.start();
    running.send(open_coverage(0)).unwrap();
    running.send(changes(1..=1_000)).unwrap();
    running.send(Entry::Sightings(vec![sighting(1), sighting(2)])).unwrap();
    running.send(progress(1_000)).unwrap();
    assert!(running.settle());
    let view = running.state.view();
    assert_eq!(check_changes(&view), 1_000);
    assert!(view.changes.parts.is_empty());
    assert_eq!(view.open_coverage.num_rows(), 1);
    assert_eq!(check_changes(&rig.view().unwrap()), 1_000);

    assert!(running.flush());
    let view = running.state.view();
    assert_eq!((check_changes(&view), view.changes.parts.len(), view.changes.head.len()), (1_000, 1, 0));
    assert_eq!(rows(&view, Table::Sessions, "session_id").len(), 2);
    assert_eq!(ended(&view), ["rolled"]);
    assert_eq!(rig.segments().len(), 1);

    running.send(progress(1_001)).unwrap();
    running.send(changes(1_001..=1_005)).unwrap();
    assert!(running.stop());
    let history = rig.open().unwrap();
    let recorded = history.recorded();
    assert_eq!(
        (recorded.next_seq, recorded.last_incarnation, recorded.greatest_position),
        (1_006, Some(1), Zxid(1_005))
    );
    assert!(recorded.interrupted.is_empty());
    let view = history.state().view();
    assert_eq!(check_changes(&view), 1_005);
    assert_eq!(ended(&view), ["rolled", "stopped"]);
    assert_eq!(view.open_coverage.num_rows(), 0);
}

#[test]
fn a_second_writer_is_refused_and_told_who_has_the_lock() {
    let rig = Rig::new();
    let history = rig.open().unwrap();
    let error = rig.open().unwrap_err();
    assert!(matches!(&error, HistoryError::Locked { pid, .. } if *pid == std::process::id().to_string()), "{error}");
    drop(history);
    rig.open().unwrap();
}

#[test]
fn folders_and_files_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let rig = Rig::new();
    let running = rig.start();
    running.send(changes(1..=3)).unwrap();
    assert!(running.stop());
    let mut todo = vec![rig.layout.dir().to_owned()];
    while let Some(path) = todo.pop() {
        let metadata = std::fs::metadata(&path).unwrap();
        let expected = if metadata.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(metadata.permissions().mode() & 0o777, expected, "{}", path.display());
        if metadata.is_dir() {
            todo.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
}

#[test]
fn a_clock_that_steps_back_over_midnight_does_not_reorder() {
    let rig = Rig::new();
    let running = rig.start();
    let midnight = (NOON / 86_400_000_000 + 1) * 86_400_000_000;
    let days = [-2, -1, 1, 2, -1, 3];
    let moved = |n: i64| Change { observed_at: Micros(midnight + days[n as usize - 1]), ..change(n) };
    running.send(Entry::Changes((1..=6).map(moved).collect())).unwrap();
    assert!(running.flush());
    let view = running.state.view();
    assert_eq!(check_changes(&view), 6);
    let ranges: Vec<(i64, i64)> = view.changes.parts.iter().map(|part| (part.range.first, part.range.last)).collect();
    assert_eq!(ranges, [(1, 2), (3, 4), (5, 5), (6, 6)]);
    assert_eq!(view.changes.parts[0].day, view.changes.parts[2].day);
    assert!(running.stop());
}

#[test]
fn flushes_by_bytes_while_it_records() {
    let mut rig = Rig::new();
    rig.settings =
        Settings { flush_bytes_max: 64 * 1024, head_bytes_max: 96 * 1024, group_rows_max: 100, ..rig.settings };
    let running = rig.start();
    for n in 0..200 {
        running.send(changes(n * 50 + 1..=(n + 1) * 50)).unwrap();
    }
    assert!(running.settle());
    let view = running.state.view();
    assert_eq!(check_changes(&view), 10_000);
    assert!(view.changes.parts.len() > 5, "{} parts", view.changes.parts.len());
    assert!(running.stop());
    assert_eq!(check_changes(&rig.view().unwrap()), 10_000);
}

#[test]
fn flushes_by_age_without_being_asked() {
    let mut rig = Rig::new();
    rig.settings.flush_after = Duration::from_millis(20);
    let running = rig.start();
    running.send(changes(1..=10)).unwrap();
    let flushed =
        |event: &RecorderEvent| matches!(event, RecorderEvent::Flushed { table: Table::Changes, rows: 10, .. });
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while !running.events().iter().any(flushed) {
        assert!(std::time::Instant::now() < deadline, "no flush within 30 s");
        std::thread::yield_now();
    }
    assert_eq!(check_changes(&running.state.view()), 10);
    assert!(running.stop());
}

#[test]
fn below_the_floor_nothing_is_written_and_the_history_still_opens() {
    let mut rig = Rig::new();
    let running = rig.start();
    running.send(changes(1..=10)).unwrap();
    assert!(running.stop());

    rig.settings.free_space_floor_percent = 5;
    let disk = Disk::new();
    disk.faults.plan(|plan| plan.space = Some(Space { free_bytes: 4, total_bytes: 100 }));
    let error = rig.open_on(&disk).map(|history| {
        let running = Running::new(history);
        let _ = running.send(changes(11..=12));
        running.end().0
    });
    let error = error.unwrap().unwrap();
    assert!(error.is_disk_full() && matches!(error, HistoryError::DiskFloor { .. }), "{error}");
    assert_eq!(check_changes(&rig.view().unwrap()), 10);

    disk.faults.plan(|plan| plan.space = Some(Space { free_bytes: 6, total_bytes: 100 }));
    let running = Running::new(rig.open_on(&disk).unwrap());
    running.send(changes(11..=12)).unwrap();
    assert!(running.stop());
    assert_eq!(check_changes(&rig.view().unwrap()), 12);
}

#[test]
fn an_interrupted_interval_becomes_one_row_without_an_end() {
    let rig = Rig::new();
    let disk = Disk::new();
    let running = Running::new(rig.open_on(&disk).unwrap());
    running.send(open_coverage(0)).unwrap();
    running.send(changes(1..=5)).unwrap();
    running.send(progress(5)).unwrap();
    assert!(running.settle());
    disk.faults.die();
    running.end();
    // The last mark is of long ago, and nobody holds the lock: offline it is shown as ended there.
    let view = rig.view().unwrap();
    assert_eq!((view.open_coverage.num_rows(), ended(&view)), (0, vec![String::new()]));

    let history = rig.open().unwrap();
    assert_eq!(history.recorded().interrupted.len(), 1);
    assert_eq!(history.recorded().interrupted[0].to_zxid, Zxid(5));
    assert_eq!(ended(&history.state().view()), [""]);
    drop(history);
    let history = rig.open().unwrap();
    assert!(history.recorded().interrupted.is_empty());
    assert_eq!(ended(&history.state().view()), [""]);
}

#[test]
fn an_interval_that_is_closed_says_why() {
    let rig = Rig::new();
    let running = rig.start();
    running.send(open_coverage(0)).unwrap();
    running.send(progress(3)).unwrap();
    running.send(close_coverage(Ended::Disconnected)).unwrap();
    running.send(open_coverage(7)).unwrap();
    assert!(running.stop());
    let view = rig.view().unwrap();
    assert_eq!(ended(&view), ["disconnected", "stopped"]);
    assert_eq!(view.open_coverage.num_rows(), 0);
}

#[test]
fn a_snapshot_sees_exactly_what_was_sent_before_it() {
    let rig = Rig::new();
    let running = rig.start();
    let (sender, answers) = std::sync::mpsc::channel();
    for n in 1..=20 {
        running.send(changes(n..=n)).unwrap();
        let sender = sender.clone();
        let then = Box::new(move |at: SnapshotAt| sender.send(at).unwrap());
        running.send(Entry::Snapshot(SnapshotRequest { incarnation: 1, position: Zxid(0), then })).unwrap();
    }
    let mut seqs: Vec<i64> = (0..20)
        .map(|_| {
            let at = answers.recv().unwrap();
            assert_eq!((check_changes(&at.view), at.position), (at.seq, Zxid(at.seq)));
            at.seq
        })
        .collect();
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=20).collect::<Vec<_>>());
    assert!(running.stop());
}

#[test]
fn readers_in_a_loop_see_every_row_once_while_a_writer_flushes() {
    let mut rig = Rig::new();
    rig.settings = Settings { flush_bytes_max: 24 * 1024, group_rows_max: 20, ..rig.settings };
    let running = rig.start();
    let recorded = std::sync::atomic::AtomicI64::new(0);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        use std::sync::atomic::Ordering::SeqCst;
        let reader = scope.spawn(|| {
            let mut reads = 0;
            let mut before = 0;
            while !done.load(SeqCst) {
                let at_least = recorded.load(SeqCst).max(before);
                before = check_changes(&rig.view().unwrap());
                assert!(before >= at_least, "{before} rows of at least {at_least}");
                reads += 1;
            }
            reads
        });
        for n in 0..400 {
            running.send(changes(n * 10 + 1..=(n + 1) * 10)).unwrap();
            if n % 10 == 9 {
                assert!(running.settle());
                recorded.store((n + 1) * 10, SeqCst);
                assert_eq!(check_changes(&running.state.view()), (n + 1) * 10);
            }
        }
        done.store(true, SeqCst);
        assert!(reader.join().unwrap() > 0);
    });
    assert!(running.state.view().changes.parts.len() > 5);
    assert!(running.stop());
}
