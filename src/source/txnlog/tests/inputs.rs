use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::build::*;
use crate::source::txnlog::{
    Corruption, FIRST, Hole, HoleCause, Inputs, LogItem, ReadOptions, Start, TxnlogError, Uncommitted,
};
use crate::zk::Zxid;

const STRICT: ReadOptions = ReadOptions { skip_corrupt: false };
const SKIPPING: ReadOptions = ReadOptions { skip_corrupt: true };

fn find(paths: &[&Path]) -> Inputs {
    Inputs::find(&paths.iter().map(|path| PathBuf::from(*path)).collect::<Vec<_>>()).unwrap()
}

fn all(inputs: &Inputs) -> (Vec<Zxid>, Vec<LogItem>) {
    read(inputs.transactions(FIRST, STRICT).unwrap())
}

fn hole(from: Zxid, to: Zxid) -> LogItem {
    LogItem::Hole(Hole { from, to: Some(to), cause: HoleCause::NoFile })
}

/// Two segments and a snapshot among what else lies in a server's folders.
fn server(data_dir: &Path) {
    let folder = data_dir.join("version-2");
    write_log(&folder, epoch(1, 1..=10));
    write_log(&folder, epoch(1, 11..=20));
    for (name, bytes) in [
        ("snapshot.100000009", snapshot(&[("", None, 0)], Trailer::Digest)),
        ("snapshot.10000000a.tmp", b"half".to_vec()),
        ("acceptedEpoch", b"1".to_vec()),
        ("currentEpoch", b"1".to_vec()),
        (".DS_Store", b"x".to_vec()),
        ("._log.100000001", b"x".to_vec()),
    ] {
        fs::write(folder.join(name), bytes).unwrap();
    }
    fs::write(data_dir.join("myid"), "1").unwrap();
}

#[test]
fn a_server_is_found_from_wherever_it_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("server1");
    server(&data_dir);
    let version = data_dir.join("version-2");
    let (one, two) = (version.join("log.100000001"), version.join("log.10000000b"));
    for paths in [
        vec![data_dir.as_path()],
        vec![&version],
        vec![&one, &two],
        vec![folder.path()],
        vec![&data_dir, &version, &one],
    ] {
        let inputs = find(&paths);
        assert_eq!(inputs.servers().len(), 1, "{paths:?}");
        assert_eq!(inputs.servers()[0].segments.len(), 2);
        assert_eq!(inputs.servers()[0].last().unwrap(), Some(zxid(1, 20)));
        assert_eq!(all(&inputs), (epoch(1, 1..=20), vec![]), "{paths:?}");
    }
    let Start::FirstTransaction = find(&[&data_dir]).beginning().unwrap().start else { panic!("it has all") };
    let mut transactions = find(&[&data_dir]).transactions(FIRST, STRICT).unwrap();
    transactions.by_ref().for_each(drop);
    let (done, total) = transactions.progress();
    assert_eq!((done, total), (total, fs::metadata(one).unwrap().len() + fs::metadata(two).unwrap().len()));
}

#[test]
fn what_is_not_there_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let error = Inputs::find(&[folder.path().to_owned()]).unwrap_err();
    assert!(matches!(error, TxnlogError::NothingFound { .. }), "{error}");
    let error = Inputs::find(&[folder.path().join("gone")]).unwrap_err();
    assert!(matches!(error, TxnlogError::Io { .. }), "{error}");
    let text = folder.path().join("notes.txt");
    fs::write(&text, "notes").unwrap();
    let error = Inputs::find(&[text]).unwrap_err();
    assert!(matches!(error, TxnlogError::NotOurs { .. }), "{error}");
    // A log of another name.
    let renamed = folder.path().join("saved");
    fs::write(&renamed, log(epoch(1, 5..=6))).unwrap();
    let inputs = find(&[&renamed]);
    assert_eq!(inputs.servers()[0].segments[0].first, zxid(1, 5));
}

fn tar(folder: &Path, to: &Path, gzip: bool) {
    let file = File::create(to).unwrap();
    if gzip {
        let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(file, flate2::Compression::fast()));
        tar.append_dir_all("backup", folder).unwrap();
        tar.into_inner().unwrap().finish().unwrap();
    } else {
        let mut tar = tar::Builder::new(file);
        tar.append_dir_all("backup", folder).unwrap();
        tar.finish().unwrap();
    }
}

#[test]
fn a_tar_is_read_as_its_folders_are() {
    let folder = tempfile::tempdir().unwrap();
    let servers = folder.path().join("servers");
    server(&servers.join("one"));
    server(&servers.join("two"));
    let due = all(&find(&[&servers]));
    for (name, gzip) in [("backup.tar", false), ("backup.tar.gz", true), ("backup.tgz", true)] {
        let path = folder.path().join(name);
        tar(&servers, &path, gzip);
        let inputs = find(&[&path]);
        let folders: Vec<&str> = inputs.servers().iter().map(|server| server.folder.as_str()).collect();
        let name = path.display();
        assert_eq!(folders, [format!("{name}:backup/one/version-2"), format!("{name}:backup/two/version-2")]);
        assert_eq!(all(&inputs), due);
        assert_eq!(inputs.snapshots().len(), 2);
        inputs.snapshots()[0].verify().unwrap();
    }
}

#[test]
fn a_replay_begins_at_the_oldest_snapshot_that_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    write_log(folder.path(), epoch(1, 11..=20));
    let whole = snapshot(&[("", None, 0)], Trailer::DigestAndZxid);
    let write = |counter: i64, bytes: &[u8]| {
        fs::write(folder.path().join(format!("snapshot.{:x}", zxid(1, counter).0)), bytes).unwrap();
    };
    let beginning = || find(&[folder.path()]).beginning().unwrap();
    assert!(matches!(beginning().start, Start::Nowhere));
    // Before the log: one transaction is missing between.
    write(9, &whole);
    write(12, &whole[..100]);
    write(15, &whole);
    let found = beginning();
    let Start::Snapshot(file) = found.start else { panic!("{:?}", found.start) };
    assert_eq!(file.zxid, zxid(1, 15));
    assert_eq!(found.refused.len(), 1);
    let refusal = found.refused[0].to_string();
    assert!(refusal.contains("snapshot.10000000c is not a whole snapshot: it ends at byte"), "{refusal}");
    write(10, &whole);
    let Start::Snapshot(file) = beginning().start else { panic!("a snapshot") };
    assert_eq!(file.zxid, zxid(1, 10));
    let inputs = find(&[folder.path()]);
    assert_eq!(read(inputs.transactions(zxid(1, 16), STRICT).unwrap()), (epoch(1, 16..=20), vec![]));
}

#[test]
fn missing_files_are_holes() {
    let folder = tempfile::tempdir().unwrap();
    write_log(folder.path(), epoch(1, 1..=10));
    write_log(folder.path(), epoch(1, 21..=30));
    write_log(folder.path(), epoch(2, 1..=5));
    write_log(folder.path(), epoch(4, 3..=5));
    let inputs = find(&[folder.path()]);
    let items: Vec<LogItem> = inputs.transactions(FIRST, STRICT).unwrap().map(Result::unwrap).collect();
    assert_eq!(items[10], hole(zxid(1, 11), zxid(1, 20)));
    let (zxids, holes) = all(&inputs);
    assert_eq!(zxids, [epoch(1, 1..=10), epoch(1, 21..=30), epoch(2, 1..=5), epoch(4, 3..=5)].concat());
    assert_eq!(holes, [hole(zxid(1, 11), zxid(1, 20)), hole(zxid(2, 6), zxid(4, 2))]);
    // A snapshot knows of more than the logs do.
    fs::write(folder.path().join("snapshot.10000002f"), b"").unwrap();
    let (_, holes) = all(&find(&[folder.path()]));
    assert_eq!(holes[1], hole(zxid(1, 31), zxid(2, 0)));
    // From the middle, and from before the beginning.
    assert_eq!(read(inputs.transactions(zxid(1, 25), STRICT).unwrap()).0[0], zxid(1, 25));
    let (_, holes) = read(inputs.transactions(zxid(1, 15), STRICT).unwrap());
    assert_eq!(holes[0], hole(zxid(1, 15), zxid(1, 20)));
}

#[test]
fn logs_of_several_servers_are_one() {
    let folder = tempfile::tempdir().unwrap();
    write_log(&folder.path().join("a"), epoch(1, 1..=10));
    write_log(&folder.path().join("a"), epoch(1, 11..=17));
    write_log(&folder.path().join("b"), epoch(1, 4..=14));
    write_log(&folder.path().join("c"), epoch(1, 16..=30));
    // A copy of a's first, made while it was written.
    fs::create_dir(folder.path().join("copy")).unwrap();
    fs::write(folder.path().join("copy/log.100000001"), &log(epoch(1, 1..=7))[..300]).unwrap();
    let (zxids, notes) = all(&find(&[folder.path()]));
    assert_eq!(zxids, epoch(1, 1..=30));
    let [LogItem::Torn { file, .. }] = notes.as_slice() else { panic!("{notes:?}") };
    assert!(file.ends_with("copy/log.100000001"));
}

#[test]
fn what_never_was_committed_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    // The leader that fell; it came back, and was given a snapshot.
    write_log(&path("a"), epoch(1, 1..=13));
    write_log(&path("a"), epoch(2, 4..=9));
    write_log(&path("b"), [epoch(1, 1..=10), epoch(2, 1..=9)].concat());
    write_log(&path("c"), [epoch(1, 1..=9), epoch(2, 1..=9)].concat());
    let (zxids, notes) = all(&find(&[folder.path()]));
    assert_eq!(zxids, [epoch(1, 1..=10), epoch(2, 1..=9)].concat());
    let file: Arc<str> = path("a/log.100000001").to_string_lossy().into();
    let due = Uncommitted { file, from: zxid(1, 11), to: zxid(1, 13), records: 3 };
    assert_eq!(notes, [LogItem::Uncommitted(due)]);
}

#[test]
fn logs_of_different_ensembles_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    write_log(&folder.path().join("a"), epoch(1, 1..=10));
    let other = folder.path().join("b");
    fs::create_dir(&other).unwrap();
    let mut bytes = log(epoch(1, 1..=4));
    bytes.extend(record(&payload(zxid(1, 5), "another value")));
    fs::write(other.join("log.100000001"), bytes).unwrap();
    let inputs = find(&[folder.path()]);
    let error = inputs.transactions(FIRST, SKIPPING).unwrap().find_map(Result::err).unwrap();
    assert!(matches!(error, TxnlogError::DifferentHistories { zxid: at, .. } if at == zxid(1, 5)), "{error}");

    let mut bytes = header(7);
    bytes.extend(record(&payload(zxid(1, 11), "value")));
    fs::write(other.join("log.100000001"), bytes).unwrap();
    fs::rename(other.join("log.100000001"), other.join("log.10000000b")).unwrap();
    let error = inputs_error(folder.path());
    assert!(matches!(error, TxnlogError::DifferentDatabases { id: 0, other_id: 7, .. }), "{error}");
}

fn inputs_error(folder: &Path) -> TxnlogError {
    find(&[folder]).transactions(FIRST, SKIPPING).unwrap().find_map(Result::err).unwrap()
}

#[test]
fn a_corrupt_record_is_an_error_or_a_hole() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = log(epoch(1, 1..=10));
    let at = log(epoch(1, 1..=4)).len();
    bytes[at + 40] ^= 1;
    let path = folder.path().join("log.100000001");
    fs::write(&path, bytes).unwrap();
    let inputs = find(&[folder.path()]);
    let (zxids, error) = {
        let mut items = inputs.transactions(FIRST, STRICT).unwrap();
        let zxids = items.by_ref().map_while(Result::ok).count();
        (zxids, items.next())
    };
    assert_eq!(zxids, 4);
    assert!(error.is_none(), "an error is the last item");
    let error = inputs.transactions(FIRST, STRICT).unwrap().find_map(Result::err).unwrap();
    assert!(error.to_string().starts_with(&format!("{}, byte {at}: ", path.display())), "{error}");

    let (zxids, notes) = read(inputs.transactions(FIRST, SKIPPING).unwrap());
    assert_eq!(zxids, [epoch(1, 1..=4), epoch(1, 6..=10)].concat());
    let [LogItem::Hole(Hole { from, to, cause: HoleCause::Corrupt { offset, .. } })] = notes.as_slice() else {
        panic!("{notes:?}")
    };
    assert_eq!((*from, *to, *offset), (zxid(1, 5), Some(zxid(1, 5)), at as u64));
    // Another server's log has it.
    write_log(&folder.path().join("b"), epoch(1, 1..=10));
    assert_eq!(read(find(&[folder.path()]).transactions(FIRST, SKIPPING).unwrap()), (epoch(1, 1..=10), vec![]));
}

#[test]
fn a_hole_is_explained_by_what_was_corrupt_there() {
    let folder = tempfile::tempdir().unwrap();
    // The first record of a segment, of which another server has the next ones.
    write_log(&folder.path().join("a"), epoch(1, 1..=10));
    let mut bytes = log(epoch(1, 11..=20));
    let [second, third] = [1, 2].map(|count| log(epoch(1, 11..=10 + count)).len());
    bytes[40] ^= 1;
    bytes[second + 40] ^= 1;
    bytes[third + 40] ^= 1;
    fs::write(folder.path().join("a/log.10000000b"), bytes).unwrap();
    write_log(&folder.path().join("b"), epoch(1, 12..=12));
    let (zxids, notes) = read(find(&[folder.path()]).transactions(FIRST, SKIPPING).unwrap());
    assert_eq!(zxids, [epoch(1, 1..=10), epoch(1, 12..=12), epoch(1, 14..=20)].concat());
    let [LogItem::Hole(one), LogItem::Hole(other)] = notes.as_slice() else { panic!("{notes:?}") };
    assert_eq!((one.from, one.to), (zxid(1, 11), Some(zxid(1, 11))));
    assert_eq!((other.from, other.to), (zxid(1, 13), Some(zxid(1, 13))));
    for hole in [one, other] {
        assert!(hole.cause.to_string().contains("a/log.10000000b, byte "), "{}", hole.cause);
    }
}

#[test]
fn a_corrupt_end_is_a_hole_that_nobody_can_measure() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = log(epoch(1, 1..=10));
    let end = bytes.len();
    bytes[end - 9] ^= 1;
    fs::write(folder.path().join("log.100000001"), &bytes).unwrap();
    let (zxids, notes) = read(find(&[folder.path()]).transactions(FIRST, SKIPPING).unwrap());
    assert_eq!(zxids, epoch(1, 1..=9));
    let [LogItem::Hole(Hole { from, to: None, .. })] = notes.as_slice() else { panic!("{notes:?}") };
    assert_eq!(*from, zxid(1, 10));
    // Also where another epoch follows: how much was lost cannot be told.
    write_log(folder.path(), epoch(2, 1..=3));
    let (zxids, notes) = read(find(&[folder.path()]).transactions(FIRST, SKIPPING).unwrap());
    assert_eq!(zxids, [epoch(1, 1..=9), epoch(2, 1..=3)].concat());
    let [LogItem::Hole(Hole { from, to, .. })] = notes.as_slice() else { panic!("{notes:?}") };
    assert_eq!((*from, *to), (zxid(1, 10), Some(zxid(2, 0))));
}

#[test]
fn a_record_that_cannot_be_understood_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = log(epoch(1, 1..=2));
    let at = bytes.len();
    let mut unknown = payload(zxid(1, 3), "value");
    unknown[28..32].copy_from_slice(&999_i32.to_be_bytes());
    bytes.extend(record(&unknown));
    bytes.extend(record(&payload(zxid(1, 4), "value")));
    fs::write(folder.path().join("log.100000001"), &bytes).unwrap();
    let inputs = find(&[folder.path()]);
    match inputs.transactions(FIRST, STRICT).unwrap().find_map(Result::err).unwrap() {
        TxnlogError::Corrupt { offset, cause: Corruption::Undecodable(_), .. } => assert_eq!(offset, at as u64),
        error => panic!("{error}"),
    }
    let (zxids, notes) = read(inputs.transactions(FIRST, SKIPPING).unwrap());
    assert_eq!(zxids, [epoch(1, 1..=2), epoch(1, 4..=4)].concat());
    assert!(matches!(notes.as_slice(), [LogItem::Hole(Hole { cause: HoleCause::Corrupt { .. }, .. })]), "{notes:?}");
}

#[test]
fn a_servers_repetitions_count_once() {
    let folder = tempfile::tempdir().unwrap();
    let zxids = [epoch(1, 1..=6), epoch(1, 4..=9)].concat();
    fs::write(folder.path().join("log.100000001"), log(zxids)).unwrap();
    assert_eq!(all(&find(&[folder.path()])), (epoch(1, 1..=9), vec![]));
}

#[test]
fn what_a_live_server_wrote_meanwhile_is_no_corruption() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.100000001");
    let whole = log(epoch(1, 1..=20));
    // One of our reads came before what another one, further on, came behind.
    let mut seen = whole.clone();
    seen[log(epoch(1, 1..=5)).len()..log(epoch(1, 1..=9)).len()].fill(0);
    for options in [STRICT, SKIPPING] {
        fs::write(&path, &seen).unwrap();
        let mut transactions = find(&[&path]).transactions(FIRST, options).unwrap();
        let Some(Ok(LogItem::Transaction { transaction, .. })) = transactions.next() else { panic!("the first") };
        assert_eq!(transaction.zxid, zxid(1, 1));
        fs::write(&path, &whole).unwrap();
        assert_eq!(read(transactions), (epoch(1, 2..=20), vec![]));
        // Where it stays so, it is one, and the records behind it are found.
        fs::write(&path, &seen).unwrap();
        let transactions = find(&[&path]).transactions(FIRST, SKIPPING).unwrap();
        let (zxids, notes) = read(transactions);
        assert_eq!((zxids, notes.len()), ([epoch(1, 1..=5), epoch(1, 10..=20)].concat(), 1));
    }
}

#[test]
fn a_stream_may_be_read_on_a_thread_of_its_own() {
    fn is_send<T: Send>() {}
    is_send::<crate::source::txnlog::Transactions>();
}

#[test]
fn a_digest_that_one_server_keeps_makes_no_difference() {
    let folder = tempfile::tempdir().unwrap();
    write_log(&folder.path().join("a"), epoch(1, 1..=3));
    let without: Vec<u8> = epoch(1, 1..=3).into_iter().fold(header(0), |mut bytes, zxid| {
        let payload = payload(zxid, "value");
        bytes.extend(record(&payload[..payload.len() - 12]));
        bytes
    });
    fs::create_dir(folder.path().join("b")).unwrap();
    fs::write(folder.path().join("b/log.100000001"), without).unwrap();
    assert_eq!(all(&find(&[folder.path()])), (epoch(1, 1..=3), vec![]));
}
