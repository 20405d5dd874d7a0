//! What the fuzz targets of `fuzz/` do with bytes, and the tests with the corpus of those: read all there is, and hold the
//! bounds. None of it panics, hangs or takes memory that the bytes do not account for.

use super::window::READ_BYTES;
use super::{AclCache, Decoder, Segment, Snapshot, Step};
use crate::source::jute::txn::{Digests, Entry};

/// Bytes as the payload of one transaction.
pub fn txn(bytes: &[u8]) {
    for mut digests in [Digests::Unknown, Digests::Absent, Digests::Present] {
        let Ok(entry) = Entry::read(bytes, &mut digests) else { continue };
        let written = entry.to_bytes();
        // What follows a digest is lost, and a null string is written as an empty one; what is read is the same.
        assert_eq!(Entry::read(&written, &mut digests).as_ref(), Ok(&entry));
    }
    let _ = Decoder::default().decode(bytes, &mut AclCache::default());
}

/// Bytes as a log segment.
pub fn segment(bytes: &[u8]) {
    for skip_corrupt in [false, true] {
        let Ok(mut segment) = Segment::open("fuzz", bytes, skip_corrupt) else { continue };
        let mut decoder = Decoder::default();
        let mut acls = AclCache::default();
        // A record or a corrupt place is at least a byte each.
        for _ in 0..=bytes.len() {
            match segment.advance() {
                Ok(Step::Record) => {
                    let record = segment.record().map(|record| decoder.decode(record.payload, &mut acls));
                    if let Some(Err(error)) = record {
                        let _ = segment.refuse(error);
                    }
                }
                Ok(Step::Skipped(_)) => assert!(skip_corrupt),
                Ok(Step::End(_)) => break,
                Err(_) => assert!(!skip_corrupt),
            }
        }
        assert!(matches!(segment.advance(), Ok(Step::End(_))), "it ends");
        assert!(segment.capacity() <= 4 * bytes.len() + 2 * READ_BYTES);
    }
}

/// Bytes as a snapshot.
pub fn snapshot(bytes: &[u8]) {
    let Ok(mut snapshot) = Snapshot::open("fuzz", bytes) else { return };
    assert!(snapshot.sessions().len() * 12 <= bytes.len());
    // A znode is at least its Stat, and an error is the last item.
    let znodes = snapshot.by_ref().count();
    assert!(znodes <= bytes.len() / 60 + 1);
    assert!(snapshot.capacity() <= 4 * bytes.len() + 2 * READ_BYTES);
}
