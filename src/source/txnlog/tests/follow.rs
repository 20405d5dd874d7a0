use std::fs;
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;

use super::build::*;
use crate::source::txnlog::{Followed, Follower, TxnlogError};
use crate::zk::Zxid;

/// What it gives up to there, and why there is no more.
fn given(follower: &mut Follower, to: Zxid) -> (Vec<Zxid>, Followed) {
    let mut zxids = Vec::new();
    loop {
        match follower.next(to).unwrap() {
            Followed::Transaction(transaction) => zxids.push(transaction.zxid),
            other => return (zxids, other),
        }
    }
}

fn said(follower: &mut Follower, committed: Zxid) -> (Vec<Zxid>, Followed) {
    follower.is_committed(committed);
    given(follower, committed)
}

#[test]
fn gives_what_is_committed_across_segments() {
    let folder = tempfile::tempdir().unwrap();
    let mut follower = Follower::new(folder.path(), Zxid(0));
    assert_eq!(said(&mut follower, zxid(1, 5)), (vec![], Followed::NotYet), "there is no file yet");
    write_log(folder.path(), epoch(1, 1..=10));
    assert_eq!(said(&mut follower, zxid(1, 6)), (epoch(1, 1..=6), Followed::NotYet));
    assert_eq!(given(&mut follower, zxid(1, 10)), (vec![], Followed::NotYet), "nobody said that 7 is committed");
    // The server rolls over, and goes on.
    write_log(folder.path(), epoch(1, 11..=12));
    assert_eq!(said(&mut follower, zxid(1, 12)), (epoch(1, 7..=12), Followed::NotYet));
    write_log(folder.path(), epoch(1, 11..=15));
    follower.is_committed(zxid(1, 15));
    assert_eq!(given(&mut follower, zxid(1, 20)), (epoch(1, 13..=15), Followed::NotYet), "not all is written");
    write_log(folder.path(), epoch(2, 1..=3));
    assert_eq!(said(&mut follower, zxid(2, 2)), (epoch(2, 1..=2), Followed::NotYet));
    assert_eq!(follower.last(), zxid(2, 2));
}

#[test]
fn an_end_that_is_truncated_was_never_given() {
    let folder = tempfile::tempdir().unwrap();
    // 6 to 9 are proposals of a leader that fell.
    write_log(folder.path(), epoch(1, 1..=9));
    let mut follower = Follower::new(folder.path(), Zxid(0));
    assert_eq!(said(&mut follower, zxid(1, 4)), (epoch(1, 1..=4), Followed::NotYet));
    // The next leader has 5 and no more; the followed server is not back yet.
    assert_eq!(said(&mut follower, zxid(2, 7)), (vec![], Followed::NotYet));
    // It is brought in step: truncated, and written over.
    write_log(folder.path(), [epoch(1, 1..=5), epoch(2, 1..=9)].concat());
    assert_eq!(given(&mut follower, zxid(2, 7)), ([epoch(1, 5..=5), epoch(2, 1..=7)].concat(), Followed::NotYet));
}

#[test]
fn an_end_below_a_snapshot_is_not_given() {
    let folder = tempfile::tempdir().unwrap();
    write_log(folder.path(), epoch(1, 1..=9));
    let mut follower = Follower::new(folder.path(), Zxid(0));
    assert_eq!(said(&mut follower, zxid(1, 4)).0, epoch(1, 1..=4));
    // It was given a snapshot at (2, 100): what lies before that may never have been committed.
    write_log(folder.path(), epoch(2, 101..=103));
    let broken = Followed::Broken { after: zxid(1, 4), next: zxid(2, 101) };
    assert_eq!(said(&mut follower, zxid(2, 103)), (vec![], broken));
    let mut anew = Follower::new(folder.path(), zxid(2, 100));
    assert_eq!(said(&mut anew, zxid(2, 103)), (epoch(2, 101..=103), Followed::NotYet));
}

#[test]
fn what_the_ensemble_did_meanwhile_is_a_break() {
    let folder = tempfile::tempdir().unwrap();
    // 101 was never committed; the second epoch was passed over by a snapshot, and the third begins where the log goes on.
    write_log(folder.path(), epoch(1, 1..=101));
    let mut follower = Follower::new(folder.path(), Zxid(0));
    assert_eq!(said(&mut follower, zxid(1, 100)).0, epoch(1, 1..=100));
    follower.is_committed(zxid(2, 7));
    write_log(folder.path(), epoch(3, 1..=3));
    let broken = Followed::Broken { after: zxid(1, 100), next: zxid(3, 1) };
    assert_eq!(said(&mut follower, zxid(3, 3)), (vec![], broken));
}

#[test]
fn removed_files_are_a_break() {
    let folder = tempfile::tempdir().unwrap();
    write_log(folder.path(), epoch(1, 1..=4));
    let mut follower = Follower::new(folder.path(), Zxid(0));
    assert_eq!(said(&mut follower, zxid(1, 4)).0, epoch(1, 1..=4));
    write_log(folder.path(), epoch(1, 8..=9));
    let broken = Followed::Broken { after: zxid(1, 4), next: zxid(1, 8) };
    assert_eq!(said(&mut follower, zxid(1, 9)), (vec![], broken));
}

#[test]
fn what_is_half_written_comes_later() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.100000001");
    let (five, six) = (log(epoch(1, 1..=5)).len(), log(epoch(1, 1..=6)));
    let mut follower = Follower::new(folder.path(), Zxid(0));
    follower.is_committed(zxid(1, 6));
    for cut in five..six.len() {
        let mut bytes = six[..cut].to_vec();
        bytes.resize(six.len() + PADDING_BYTES, 0);
        fs::write(&path, bytes).unwrap();
        let (zxids, then) = given(&mut follower, zxid(1, 6));
        assert_eq!((zxids.len(), then), (if cut == five { 5 } else { 0 }, Followed::NotYet), "cut at {cut}");
    }
    fs::write(&path, &six).unwrap();
    assert_eq!(given(&mut follower, zxid(1, 6)).0, epoch(1, 6..=6));
}

#[test]
fn what_is_damaged_is_named_and_not_passed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.100000001");
    let mut bytes = log(epoch(1, 1..=5));
    let at = log(epoch(1, 1..=2)).len() + 20;
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
    let mut follower = Follower::new(folder.path(), Zxid(0));
    follower.is_committed(zxid(1, 5));
    let mut zxids = Vec::new();
    let error = loop {
        match follower.next(zxid(1, 5)) {
            Ok(Followed::Transaction(transaction)) => zxids.push(transaction.zxid),
            Ok(other) => panic!("{other:?}"),
            Err(error) => break error,
        }
    };
    assert_eq!(zxids, epoch(1, 1..=2));
    assert!(matches!(error, TxnlogError::Corrupt { .. }), "{error}");
}

/// What befalls a server that logs for an ensemble, an epoch at a time.
#[derive(Clone, Debug)]
struct Reign {
    /// Committed in it.
    committed: i64,
    /// Proposed to this server and then lost with the leader.
    lost: i64,
    /// It comes back by a snapshot, so that the lost proposals stay in its files; else they are truncated.
    by_snapshot: bool,
    /// The tail looks that often.
    looks: i64,
}

fn reigns() -> impl Strategy<Value = Vec<Reign>> {
    let reign = (1..12_i64, 0..4_i64, prop::bool::weighted(0.2), 0..4_i64);
    let reign = reign.prop_map(|(committed, lost, by_snapshot, looks)| Reign { committed, lost, by_snapshot, looks });
    vec(reign, 1..7)
}

/// The server's files as they are after some transactions.
fn write(folder: &Path, segments: &[Vec<Zxid>]) {
    segments.iter().filter(|zxids| !zxids.is_empty()).for_each(|zxids| write_log(folder, zxids.clone()));
}

proptest! {
    #[test]
    fn nothing_is_given_that_was_not_committed(reigns in reigns()) {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let mut segments: Vec<Vec<Zxid>> = vec![Vec::new()];
        let mut truth: Vec<Zxid> = Vec::new();
        let mut follower = Follower::new(folder, Zxid(0));
        let mut all = Vec::new();
        for (number, reign) in reigns.iter().enumerate() {
            let number = number as i64 + 1;
            // How many it may see of the reign when it looks, with what the leader has proposed beyond that.
            for look in 1..=reign.looks {
                let so_far = reign.committed * look / reign.looks;
                let mut files = segments.clone();
                if let Some(last) = files.last_mut() {
                    last.extend(epoch(number, 1..=(so_far + reign.lost)));
                }
                write(folder, &files);
                if so_far > 0 {
                    all.extend(said(&mut follower, zxid(number, so_far)).0);
                }
            }
            truth.extend(epoch(number, 1..=reign.committed));
            if let Some(last) = segments.last_mut() {
                last.extend(epoch(number, 1..=reign.committed));
                if reign.by_snapshot && reign.lost > 0 {
                    // The lost ones stay, and the log goes on behind the snapshot, in the next reign but not at its begin.
                    last.extend(epoch(number, reign.committed + 1..=reign.committed + reign.lost));
                }
            }
            write(folder, &segments);
            if reign.by_snapshot && reign.lost > 0 {
                break;
            }
        }
        let next = reigns.len() as i64 + 1;
        let broken = reigns.iter().any(|reign| reign.by_snapshot && reign.lost > 0);
        segments.push(epoch(next, if broken { 5..=8 } else { 1..=4 }));
        write(folder, &segments);
        let (rest, then) = said(&mut follower, zxid(next, 3));
        all.extend(rest);
        if broken {
            prop_assert!(matches!(then, Followed::Broken { .. } | Followed::NotYet), "{then:?}");
            prop_assert!(truth.starts_with(&all), "{all:?} of {truth:?}");
        } else {
            truth.extend(epoch(next, 1..=3));
            prop_assert_eq!(all, truth);
        }
    }
}
