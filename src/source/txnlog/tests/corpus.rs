//! The corpus of the fuzz targets, replayed; and mangled files.

use std::fs;
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::build::*;
use crate::source::jute::txn::{Digests, Entry};
use crate::source::txnlog::{AclCache, Decoder, Ending, Segment, Snapshot, Step, TxnlogError, exercise};

/// Names tell: what is not called torn or corrupt is as a server of that version wrote it.
fn named_corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let inputs: Vec<_> = files
        .map(|file| file.unwrap())
        .map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap()))
        .collect();
    assert!(inputs.len() >= 5, "{} has a corpus", folder.display());
    inputs
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    named_corpus(target).into_iter().map(|(_, bytes)| bytes).collect()
}

#[test]
fn what_servers_wrote_is_read() {
    let of_servers = |target| named_corpus(target).into_iter().filter(|(name, _)| name.starts_with("3."));
    for (name, bytes) in of_servers("txn") {
        let entry = Entry::read(&bytes, &mut Digests::Unknown).unwrap_or_else(|error| panic!("{name}: {error}"));
        let has_digest = !name.starts_with("3.5") && !name.ends_with("error");
        assert_eq!(entry.digest.is_some(), has_digest, "{name}");
        assert_eq!(entry.to_bytes(), bytes, "{name}");
        assert_eq!(entry.txn.is_failed_multi(), name.ends_with("multi-failed"), "{name}");
    }
    for (name, bytes) in of_servers("segment") {
        let (mut records, mut decoder, mut acls) = (0, Decoder::default(), AclCache::default());
        let mut segment = Segment::open(&name, bytes.as_slice(), false).unwrap();
        let ending = loop {
            match segment.advance() {
                Ok(Step::Record) => records += 1,
                Ok(Step::End(ending)) => break Ok(ending),
                Ok(Step::Skipped(place)) => panic!("{name}: {place:?}"),
                Err(error) => break Err(error),
            }
            let decoded = segment.record().map(|record| decoder.decode(record.payload, &mut acls));
            assert!(matches!(decoded, Some(Ok(_))), "{name}: {decoded:?}");
        };
        match name.split_once('-').map_or("", |(_, kind)| kind) {
            "corrupt" => assert!(matches!(ending, Err(TxnlogError::Corrupt { .. })), "{name}: {ending:?}"),
            "torn" => assert!(matches!(ending, Ok(Ending::Torn { .. })), "{name}: {ending:?}"),
            _ => assert!(matches!(ending, Ok(Ending::Whole)) && records >= 3, "{name}: {ending:?}"),
        }
    }
    for (name, bytes) in of_servers("snapshot") {
        let znodes: Result<Vec<_>, _> = Snapshot::open(&name, bytes.as_slice()).unwrap().collect();
        assert_eq!(znodes.is_ok(), !name.ends_with("torn"), "{name}: {:?}", znodes.err());
    }
}

#[test]
fn the_corpus_does_no_harm() {
    corpus("txn").iter().for_each(|bytes| exercise::txn(bytes));
    corpus("segment").iter().for_each(|bytes| exercise::segment(bytes));
    corpus("snapshot").iter().for_each(|bytes| exercise::snapshot(bytes));
}

/// An edit: where, what, and how many bytes long.
type Edit = (Index, u8, u8);

fn mangle(bytes: &mut Vec<u8>, edits: &[Edit], length: Index) {
    for (at, value, count) in edits {
        if bytes.is_empty() {
            return;
        }
        let at = at.index(bytes.len());
        let end = (at + usize::from(*count % 12)).min(bytes.len());
        match count % 3 {
            0 => bytes[at..end].fill(*value),
            1 => drop(bytes.splice(at..at, std::iter::repeat_n(*value, end - at))),
            _ => drop(bytes.drain(at..end)),
        }
    }
    bytes.truncate(length.index(bytes.len() * 2 + 1));
}

proptest! {
    #[test]
    fn mangled_files_do_no_harm(edits in vec(any::<Edit>(), 0..6), length: Index, which: Index) {
        for (target, exercise) in [
            ("txn", exercise::txn as fn(&[u8])), ("segment", exercise::segment), ("snapshot", exercise::snapshot),
        ] {
            let inputs = corpus(target);
            let mut bytes = inputs[which.index(inputs.len())].clone();
            mangle(&mut bytes, &edits, length);
            exercise(&bytes);
        }
        let mut bytes = log(epoch(1, 1..=20));
        bytes.resize(bytes.len() + 300, 0);
        mangle(&mut bytes, &edits, length);
        exercise::segment(&bytes);
        let mut bytes = snapshot(&[("", None, 0), ("/a", Some(b"value"), 5)], Trailer::DigestAndZxid);
        mangle(&mut bytes, &edits, length);
        exercise::snapshot(&bytes);
    }

    #[test]
    fn any_bytes_do_no_harm(bytes in vec(any::<u8>(), 0..400)) {
        exercise::txn(&bytes);
        exercise::segment(&[header(0), bytes.clone()].concat());
        exercise::snapshot(&[b"ZKSN\0\0\0\x02\0\0\0\0\0\0\0\0".to_vec(), bytes].concat());
    }
}
