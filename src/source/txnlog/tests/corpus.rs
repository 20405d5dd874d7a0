//! The corpus of the fuzz targets, replayed; and mangled files.

use std::fs;
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::build::*;
use crate::source::txnlog::exercise;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let inputs: Vec<Vec<u8>> = files.map(|file| fs::read(file.unwrap().path()).unwrap()).collect();
    assert!(inputs.len() >= 3, "{} has a corpus", folder.display());
    inputs
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
