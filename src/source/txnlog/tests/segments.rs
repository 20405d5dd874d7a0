use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::build::*;
use crate::source::txnlog::{Corruption, Ending, Segment, Skipped, Step, TxnlogError};
use crate::zk::Zxid;

/// All records' zxids, what was skipped, and how it ended.
fn read(bytes: &[u8], skip_corrupt: bool) -> Result<(Vec<Zxid>, Vec<Skipped>, Ending), TxnlogError> {
    let mut segment = Segment::open("log.1", bytes, skip_corrupt)?;
    let (mut zxids, mut skipped) = (Vec::new(), Vec::new());
    loop {
        match segment.advance()? {
            Step::Record => zxids.push(segment.record().unwrap().zxid),
            Step::Skipped(place) => skipped.push(place),
            Step::End(ending) => return Ok((zxids, skipped, ending)),
        }
    }
}

/// Where each record begins, and the end.
fn starts(count: i64) -> Vec<usize> {
    (0..=count).map(|count| log(epoch(1, 1..=count)).len()).collect()
}

fn padded(count: i64) -> Vec<u8> {
    let mut bytes = log(epoch(1, 1..=count));
    bytes.resize(bytes.len() + PADDING_BYTES, 0);
    bytes
}

#[test]
fn a_segment_ends_with_its_file_or_in_zeros() {
    for bytes in [log(epoch(1, 1..=9)), padded(9)] {
        assert_eq!(read(&bytes, false).unwrap(), (epoch(1, 1..=9), vec![], Ending::Whole));
    }
    assert_eq!(read(&header(0), false).unwrap(), (vec![], vec![], Ending::Whole));
    // Created, but its header was not written.
    assert_eq!(read(b"", false).unwrap(), (vec![], vec![], Ending::Torn { offset: 0 }));
}

#[test]
fn what_is_no_log_is_refused() {
    let mut bytes = log(epoch(1, 1..=1));
    bytes[7] = 3;
    for bytes in [bytes, b"ZKSN\0\0\0\x02\0\0\0\0\0\0\0\0".to_vec(), vec![b'x'; 99]] {
        let error = read(&bytes, true).unwrap_err();
        assert!(matches!(error, TxnlogError::NotALog { .. }), "{error}");
        assert!(error.to_string().starts_with("log.1 is no transaction log: "), "{error}");
    }
}

#[test]
fn a_record_that_is_not_whole_is_not_yet_there() {
    let whole = log(epoch(1, 1..=9));
    let last = starts(9)[8];
    for length in last + 1..whole.len() {
        let torn = whole[..length].to_vec();
        let mut padded = torn.clone();
        padded.resize(length + PADDING_BYTES, 0);
        let ending = Ending::Torn { offset: last as u64 };
        assert_eq!(
            read(&torn, false).unwrap(),
            (epoch(1, 1..=8), vec![], if length <= last + 4 { Ending::Whole } else { ending }),
            "{length}"
        );
        // The checksum's first half is zeros.
        let ending = if length <= last + 4 { Ending::Whole } else { ending };
        assert_eq!(read(&padded, false).unwrap(), (epoch(1, 1..=8), vec![], ending), "{length}, padded");
    }
}

#[test]
fn a_damaged_record_is_named_or_skipped() {
    let starts = starts(9);
    for (at, byte) in [(0, 1), (5, 0xee), (9, 0x01), (9, 0xff), (11, 0xff), (11, 2), (20, 0xff), (60, 0xff)] {
        for bytes in [log(epoch(1, 1..=9)), padded(9)] {
            let mut bytes = bytes;
            bytes[starts[4] + at] ^= byte;
            match read(&bytes, false).unwrap_err() {
                TxnlogError::Corrupt { file, offset, .. } => assert_eq!((&*file, offset), ("log.1", starts[4] as u64)),
                error => panic!("{error}"),
            }
            let (zxids, skipped, ending) = read(&bytes, true).unwrap();
            assert_eq!(zxids, [epoch(1, 1..=4), epoch(1, 6..=9)].concat(), "{at}");
            assert_eq!((skipped.len(), skipped[0].offset), (1, starts[4] as u64));
            assert_eq!(skipped[0].bytes, (starts[5] - starts[4]) as u64);
            assert_eq!(ending, Ending::Whole);
        }
    }
    let mut bytes = padded(9);
    let marker = starts[5] - 1;
    bytes[marker] = b'x';
    let error = read(&bytes, false).unwrap_err();
    assert!(matches!(error, TxnlogError::Corrupt { cause: Corruption::Marker, .. }), "{error}");
}

#[test]
fn zeros_in_the_middle_are_no_end() {
    let starts = starts(9);
    let mut bytes = padded(9);
    bytes[starts[3]..starts[6]].fill(0);
    let error = read(&bytes, false).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("log.1, byte {}: something follows behind what should be the end", starts[3])
    );
    let (zxids, skipped, _) = read(&bytes, true).unwrap();
    assert_eq!(zxids, [epoch(1, 1..=3), epoch(1, 7..=9)].concat());
    assert_eq!(skipped[0].bytes, (starts[6] - starts[3]) as u64);
}

#[test]
fn a_damaged_last_record_is_corrupt() {
    let starts = starts(9);
    for bytes in [log(epoch(1, 1..=9)), padded(9)] {
        let mut bytes = bytes;
        bytes[starts[8] + 40] ^= 1;
        assert!(matches!(read(&bytes, false), Err(TxnlogError::Corrupt { .. })));
        let (zxids, skipped, ending) = read(&bytes, true).unwrap();
        assert_eq!((zxids, skipped.len(), ending), (epoch(1, 1..=8), 1, Ending::Whole));
    }
}

#[test]
fn a_log_within_a_value_is_a_value() {
    let inner = log(epoch(3, 1..=3));
    let mut bytes = header(0);
    let text = "x".repeat(inner.len());
    let mut outer = payload(zxid(1, 1), &text);
    let at = outer.windows(text.len()).position(|window| window == text.as_bytes()).unwrap();
    outer[at..at + inner.len()].copy_from_slice(&inner);
    bytes.extend(record(&outer));
    bytes.extend(record(&payload(zxid(1, 2), "next")));
    assert_eq!(read(&bytes, false).unwrap().0, epoch(1, 1..=2));
    // Corrupt, its length still leads to the next.
    bytes[30] ^= 1;
    assert_eq!(read(&bytes, true).unwrap().0, epoch(1, 2..=2));
}

proptest! {
    #[test]
    fn damage_costs_what_it_hit(edits in vec((any::<Index>(), 1..=255_u8), 1..5), padded_with in 0..2_usize) {
        let starts = starts(20);
        let mut bytes = log(epoch(1, 1..=20));
        bytes.resize(bytes.len() + padded_with * 1_000, 0);
        let mut hit = Vec::new();
        for (at, bits) in &edits {
            // Behind the header, within the records.
            let at = starts[0] + at.index(starts[20] - starts[0]);
            bytes[at] ^= bits;
            hit.push(starts.partition_point(|start| *start <= at) as i64);
        }
        let (zxids, skipped, ending) = read(&bytes, true).unwrap();
        let untouched: Vec<Zxid> = (1..=20).filter(|counter| !hit.contains(counter)).map(|counter| zxid(1, counter)).collect();
        // The same bits twice change nothing.
        prop_assert!(untouched.iter().all(|zxid| zxids.contains(zxid)), "{zxids:?}");
        prop_assert!(zxids.is_sorted());
        let told = !skipped.is_empty() || matches!(ending, Ending::Torn { .. });
        prop_assert!(zxids.len() == 20 || told);
    }
}
