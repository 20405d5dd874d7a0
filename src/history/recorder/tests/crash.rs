//! Cut logs, flipped bytes, failed fsyncs, full disks, and a kill at every step: each followed by a reopen.

use super::*;
use crate::history::disk::faults::Plan;

/// Records small groups, with a flush in the middle where asked for, until it is done or the recorder fails.
/// Returns the failure and the last seq told as recorded.
fn work(history: History, flush: bool) -> (Option<HistoryError>, i64) {
    let running = Running::new(history);
    let steps = || -> Option<()> {
        running.send(open_coverage(0)).ok()?;
        for n in 0..3 {
            running.send(changes(n * 5 + 1..=(n + 1) * 5)).ok()?;
            running.send(Entry::Sightings(vec![sighting(n)])).ok()?;
            running.send(progress((n + 1) * 5)).ok()?;
            running.settle().then_some(())?;
        }
        if flush {
            running.flush().then_some(())?;
        }
        running.send(changes(16..=20)).ok()?;
        running.send(progress(20)).ok()?;
        running.settle().then_some(())
    };
    // How far it came does not matter: what was told as recorded does.
    let _ = steps();
    running.end()
}

/// What holds after whatever happened: every recorded row once, nothing else twice, and one more opening changes nothing.
fn check_after(rig: &Rig, recorded: i64, what: &str) {
    let offline = check_changes(&rig.view().unwrap_or_else(|error| panic!("{what}: {error}")));
    assert!(offline >= recorded, "{what}: {offline} rows offline, {recorded} were recorded");
    let history = rig.open().unwrap_or_else(|error| panic!("{what}: {error}"));
    let view = history.state().view();
    let rows = check_changes(&view);
    assert_eq!(rows, offline, "{what}");
    assert_eq!(history.recorded().next_seq, rows + 1, "{what}");
    let (coverage, sightings) = (ended(&view), rig::rows(&view, Table::Sessions, "session_id"));
    assert!(sightings.keys().copied().eq(1..=sightings.len() as i64), "{what}");
    // At most: rolled at the flush, then stopped or interrupted.
    assert!(coverage.len() <= 3, "{what}: {coverage:?}");
    if rows > 0 {
        assert!(!coverage.is_empty(), "{what}: rows without coverage");
    }
    drop(view);
    drop(history);
    let again = rig.open().unwrap();
    assert_eq!(check_changes(&again.state().view()), rows, "{what}, opened again");
    assert_eq!(ended(&again.state().view()), coverage, "{what}, opened again");
    // And it can go on.
    let running = Running::new(again);
    running.send(changes(rows + 1..=rows + 3)).unwrap();
    assert!(running.stop(), "{what}");
    assert_eq!(check_changes(&rig.view().unwrap()), rows + 3, "{what}, gone on");
}

/// A folder whose WAL holds everything and which was left as by kill -9; frames' ends by the rows before them.
fn killed() -> Rig {
    let rig = Rig::new();
    let disk = Disk::new();
    let running = Running::new(rig.open_on(&disk).unwrap());
    for n in 1..=4 {
        running.send(changes(n..=n)).unwrap();
        assert!(running.settle());
    }
    disk.faults.die();
    running.end();
    rig
}

/// The same with an interval left open.
fn killed_observing() -> Rig {
    let rig = Rig::new();
    let disk = Disk::new();
    let running = Running::new(rig.open_on(&disk).unwrap());
    running.send(open_coverage(0)).unwrap();
    running.send(changes(1..=4)).unwrap();
    running.send(progress(4)).unwrap();
    assert!(running.settle());
    disk.faults.die();
    running.end();
    rig
}

/// Where each frame of a segment begins, and the end.
fn frames(bytes: &[u8]) -> Vec<usize> {
    let mut offsets = vec![crate::history::wal::segment::HEADER_BYTES];
    while let Ok(payload) = crate::history::wal::entry::payload(bytes, offsets[offsets.len() - 1]) {
        offsets.push(offsets[offsets.len() - 1] + 8 + payload.len());
    }
    offsets
}

#[test]
fn a_log_cut_at_any_byte_of_its_last_frames_holds_what_precedes_the_cut() {
    let rig = killed();
    let segment = rig.segments().pop().unwrap();
    let bytes = std::fs::read(&segment).unwrap();
    let frames = frames(&bytes);
    assert_eq!(frames.len(), 6, "a mark and four rows");
    assert_eq!(frames[5], bytes.len());
    for cut in frames[3]..bytes.len() {
        std::fs::write(&segment, &bytes[..cut]).unwrap();
        let expected = if cut < frames[4] { 2 } else { 3 };
        assert_eq!(check_changes(&rig.view().unwrap()), expected, "cut at {cut}");
        // Opening for writing rewrites the folder: on a copy, and not at each byte.
        if cut % 97 == 0 || frames.contains(&cut) || frames.contains(&(cut + 1)) {
            let copy = rig.copy();
            let running = copy.start();
            assert_eq!(check_changes(&running.state.view()), expected, "cut at {cut}");
            running.send(changes(expected + 1..=expected + 2)).unwrap();
            assert!(running.stop());
            assert_eq!(check_changes(&copy.view().unwrap()), expected + 2, "cut at {cut}");
        }
    }
}

#[test]
fn a_flipped_byte_before_the_last_frame_is_told_and_nothing_is_touched() {
    let rig = killed();
    let segment = rig.segments().pop().unwrap();
    let bytes = std::fs::read(&segment).unwrap();
    let frames = frames(&bytes);
    for at in (0..frames[4]).filter(|at| *at < 70 || at % 5 == 0 || frames.iter().any(|frame| at.abs_diff(*frame) < 24))
    {
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x41;
        std::fs::write(&segment, &flipped).unwrap();
        for error in [rig.view().unwrap_err(), rig.open().unwrap_err()] {
            let told = matches!(&error, HistoryError::CorruptWal { path, .. } if *path == segment)
                || matches!(&error, HistoryError::NewerFormat { .. } if (8..12).contains(&at));
            assert!(told, "byte {at}: {error}");
        }
        assert_eq!(std::fs::read(&segment).unwrap(), flipped);
    }
    // In the last frame it cannot be told from a torn write.
    for at in frames[4]..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x41;
        std::fs::write(&segment, &flipped).unwrap();
        assert_eq!(check_changes(&rig.view().unwrap()), 3, "byte {at}");
    }
}

#[test]
fn a_torn_end_of_an_older_segment_is_corruption() {
    let rig = killed();
    let segment = rig.segments().pop().unwrap();
    let bytes = std::fs::read(&segment).unwrap();
    let first: u64 = segment.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    let header = crate::history::wal::segment::Header { first: first + 5, next: Default::default() };
    let next = segment.with_file_name(format!("{}.wal", first + 5));
    std::fs::write(&next, header.encode()).unwrap();
    assert_eq!(check_changes(&rig.view().unwrap()), 4);
    std::fs::write(&segment, &bytes[..bytes.len() - 1]).unwrap();
    assert!(matches!(rig.view().unwrap_err(), HistoryError::CorruptWal { path, .. } if path == segment));
    std::fs::remove_file(&segment).unwrap();
    assert_eq!(check_changes(&rig.view().unwrap()), 0);
}

/// Runs the work with each plan that `plan` makes of 1, 2, 3, … until one does no harm.
fn at_every_place(flush: bool, while_opening: bool, plan: impl Fn(&mut Plan, usize)) -> usize {
    for n in 1..500 {
        let rig = Rig::new();
        if while_opening {
            let disk = Disk::new();
            let history = rig.open_on(&disk).unwrap();
            let running = Running::new(history);
            running.send(open_coverage(0)).unwrap();
            running.send(changes(1..=15)).unwrap();
            running.send(Entry::Sightings(vec![sighting(0)])).unwrap();
            running.send(progress(15)).unwrap();
            assert!(running.settle());
            disk.faults.die();
            running.end();
        }
        let disk = Disk::new();
        let opened = if while_opening {
            disk.faults.plan(|faults| plan(faults, n));
            rig.open_on(&disk)
        } else {
            let opened = rig.open_on(&disk);
            disk.faults.reset();
            disk.faults.plan(|faults| plan(faults, n));
            opened
        };
        let (failure, recorded) = match opened {
            Ok(history) if while_opening => {
                drop(history);
                (None, 15)
            }
            Ok(history) => work(history, flush),
            Err(error) => (Some(error), 15),
        };
        check_after(&rig, recorded, &format!("place {n} ({failure:?})"));
        if failure.is_none() {
            return n;
        }
    }
    panic!("every plan did harm")
}

#[test]
fn killed_at_every_step_of_recording_and_flushing() {
    let steps = at_every_place(true, false, |plan, n| plan.die_at_step = Some(n));
    assert!(steps > 30, "{steps} steps");
}

#[test]
fn killed_at_every_step_of_recovery() {
    let steps = at_every_place(false, true, |plan, n| plan.die_at_step = Some(n));
    assert!(steps > 15, "{steps} steps");
}

#[test]
fn every_fsync_fails_once() {
    let syncs = at_every_place(true, false, |plan, n| plan.fail_sync = Some(n));
    assert!(syncs > 10, "{syncs} fsyncs");
    at_every_place(false, true, |plan, n| plan.fail_sync = Some(n));
}

#[test]
fn the_disk_is_full_after_any_byte() {
    let unit = 499;
    at_every_place(true, false, |plan, n| plan.bytes_left = Some((n - 1) * unit));
}

#[test]
fn with_a_full_disk_the_recovered_log_stays_and_is_shown() {
    for left in (0..12_000).step_by(499) {
        let rig = killed_observing();
        let disk = Disk::new();
        disk.faults.plan(|plan| plan.bytes_left = Some(left));
        match rig.open_on(&disk) {
            Ok(history) => {
                assert_eq!(check_changes(&history.state().view()), 4);
                assert_eq!(ended(&history.state().view()), [""]);
                let running = Running::new(history);
                let _ = running.send(changes(5..=9));
                let _ = running.settle();
                let (failure, recorded) = running.end();
                assert!(failure.is_none_or(|error| error.is_disk_full()));
                assert!(check_changes(&rig.view().unwrap()) >= recorded.max(4), "{left} bytes left");
            }
            Err(error) => assert!(error.is_disk_full(), "{left} bytes left: {error}"),
        }
        // With room again everything is there, and goes on.
        let running = rig.start();
        let rows = check_changes(&running.state.view());
        assert!(rows >= 4);
        assert_eq!(ended(&running.state.view()), [""], "{left} bytes left");
        running.send(changes(rows + 1..=rows + 3)).unwrap();
        assert!(running.stop());
        assert_eq!(check_changes(&rig.view().unwrap()), rows + 3);
    }
}

#[test]
fn what_is_queued_behind_a_failure_is_refused() {
    let rig = Rig::new();
    let disk = Disk::new();
    let running = Running::new(rig.open_on(&disk).unwrap());
    disk.faults.die();
    let mut refused = false;
    for n in 1..=100_000 {
        refused = running.send(changes(n..=n)).is_err();
        if refused {
            break;
        }
    }
    assert!(refused);
    let (failure, recorded) = running.end();
    assert!(failure.is_some());
    assert_eq!(recorded, 0);
    assert_eq!(check_changes(&rig.view().unwrap()), 0);
}

#[test]
fn a_process_that_knows_why_its_recorder_failed_says_so() {
    let rig = killed_observing();
    let history = History::open_after(&rig.layout, CLUSTER, rig.settings, Ended::DiskFull).unwrap();
    assert_eq!(ended(&history.state().view()), ["disk_full"]);
}
