use std::io::Write as _;

use super::build::*;
use crate::source::txnlog::snappy::SnappyReader;
use crate::source::txnlog::snapshot::owner;
use crate::source::txnlog::{Inputs, Snapshot, TxnlogError};
use crate::zk::{NodeType, PersistedZnode, SessionId, Zxid};

const TRAILERS: [Trailer; 5] =
    [Trailer::Seal, Trailer::Digest, Trailer::DigestAndZxid, Trailer::Zxid, Trailer::Unknown];

fn znodes() -> Vec<(&'static str, Option<&'static [u8]>, i64)> {
    vec![
        ("", Some(b""), 0),
        ("/a", None, 0x55),
        ("/ab", Some(b"value"), i64::MIN),
        ("/a/c", Some(b"x"), 0xff00_0000_0000_1000_u64 as i64),
    ]
}

fn read(bytes: &[u8]) -> Result<Vec<PersistedZnode>, TxnlogError> {
    Snapshot::open("snapshot.0", bytes)?.collect()
}

#[test]
fn a_snapshot_is_read_in_every_form() {
    for trailer in TRAILERS {
        let bytes = snapshot(&znodes(), trailer);
        let mut snapshot = Snapshot::open("snapshot.0", bytes.as_slice()).unwrap();
        assert_eq!(snapshot.sessions(), [(SessionId(0x10), 30_000), (SessionId(0x11), 30_000)]);
        let read: Vec<PersistedZnode> = snapshot.by_ref().map(Result::unwrap).collect();
        let paths: Vec<&str> = read.iter().map(|znode| &*znode.path).collect();
        assert_eq!(paths, ["/", "/a", "/ab", "/a/c"]);
        assert_eq!((&read[0].data, &read[1].data), (&Some("".into()), &None));
        assert_eq!(read[1].acl.as_deref(), Some(r#"[{"perms":"cdrwa","scheme":"world","id":"anyone"}]"#));
        assert_eq!(read[2].acl.as_deref(), Some(r#"[{"perms":"r","scheme":"digest","id":"bob:***"}]"#));
        let owners: Vec<_> = read.iter().map(|znode| (znode.node_type, znode.ephemeral_owner)).collect();
        let kinds = [NodeType::Persistent, NodeType::Ephemeral, NodeType::Container, NodeType::Ttl];
        assert_eq!(owners, [(kinds[0], 0), (kinds[1], 0x55), (kinds[2], 0), (kinds[3], 0)]);
        let tells = matches!(trailer, Trailer::Zxid | Trailer::DigestAndZxid);
        assert_eq!(snapshot.last_zxid(), tells.then_some(Zxid(0x99)));
    }
}

#[test]
fn a_snapshot_that_is_not_whole_is_refused() {
    for trailer in TRAILERS {
        let whole = snapshot(&znodes(), trailer);
        for length in 0..whole.len() {
            let sealed_before = length == snapshot(&znodes(), Trailer::Seal).len()
                || length == snapshot(&znodes(), Trailer::Digest).len()
                || length == snapshot(&znodes(), Trailer::DigestAndZxid).len();
            match read(&whole[..length]) {
                Err(TxnlogError::NotASnapshot { file, .. }) => assert_eq!(file, "snapshot.0"),
                Ok(_) => assert!(sealed_before, "{trailer:?} cut at {length}"),
                Err(error) => panic!("{error}"),
            }
        }
        // Any changed bit behind the sessions' and ACLs' counts is noticed.
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            let dbid = (8..16).contains(&at);
            assert!(read(&bytes).is_err(), "{trailer:?}, byte {at}{}", if dbid { " (dbid)" } else { "" });
        }
    }
}

#[test]
fn an_owner_may_stand_for_a_type() {
    assert_eq!(owner(0), (NodeType::Persistent, 0));
    assert_eq!(owner(0x100_0001_2345_0000), (NodeType::Ephemeral, 0x100_0001_2345_0000));
    assert_eq!(owner(i64::MIN), (NodeType::Container, 0));
    assert_eq!(owner(0xff00_0000_0000_0001_u64 as i64), (NodeType::Ttl, 0));
    assert_eq!(owner(0xff00_00ff_ffff_ffff_u64 as i64), (NodeType::Ttl, 0));
    // A session of server 255.
    let session = 0xff12_3456_7890_0000_u64 as i64;
    assert_eq!(owner(session), (NodeType::Ephemeral, session));
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// As snappy-java does.
fn snappy(bytes: &[u8], chunk_bytes: usize) -> Vec<u8> {
    let mut packed = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
    for chunk in bytes.chunks(chunk_bytes) {
        let chunk = snap::raw::Encoder::new().compress_vec(chunk).unwrap();
        packed.extend((chunk.len() as u32).to_be_bytes());
        packed.extend(chunk);
    }
    packed
}

#[test]
fn packed_snapshots_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = snapshot(&znodes(), Trailer::DigestAndZxid);
    let files =
        [("snapshot.1", bytes.clone()), ("snapshot.2.gz", gzip(&bytes)), ("snapshot.3.snappy", snappy(&bytes, 100))];
    for (name, bytes) in &files {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    let inputs = Inputs::find(&[folder.path().to_owned()]).unwrap();
    let due = read(&bytes).unwrap();
    for (at, file) in inputs.snapshots().into_iter().enumerate() {
        assert_eq!(file.zxid, Zxid(at as i64 + 1));
        let znodes: Vec<_> = file.open().unwrap().map(Result::unwrap).collect();
        assert_eq!(znodes, due, "{}", file.place.name);
    }
    // Cut anywhere, it is none.
    for (name, bytes) in &files {
        // Of a plain one, see above.
        for length in (0..bytes.len()).filter(|_| *name != "snapshot.1") {
            std::fs::write(folder.path().join(name), &bytes[..length]).unwrap();
            let snapshots = inputs.snapshots();
            let file = snapshots.iter().find(|file| file.place.name.ends_with(name)).unwrap();
            if let Err(error) = file.verify() {
                assert!(matches!(error, TxnlogError::NotASnapshot { .. }), "{name} cut at {length}: {error}");
            } else {
                panic!("{name} cut at {length} is taken for whole");
            }
        }
    }
}

#[test]
fn snappy_that_lies_about_its_length_is_refused() {
    use std::io::Read as _;
    let lie = |chunk: &[u8]| {
        let mut bytes = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
        bytes.extend((chunk.len() as u32).to_be_bytes());
        bytes.extend(chunk);
        SnappyReader::new(bytes.as_slice()).unwrap().read_to_end(&mut Vec::new()).unwrap_err().to_string()
    };
    assert!(lie(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0]).contains("longer than it can be"));
    assert!(lie(&[5, 0]).contains("snappy"));
    let mut bytes = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
    bytes.extend([0x7f, 0, 0, 0]);
    let error = SnappyReader::new(bytes.as_slice()).unwrap().read_to_end(&mut Vec::new()).unwrap_err();
    assert!(error.to_string().contains("too long"), "{error}");
    assert!(SnappyReader::new(&b"\xff\x06\0\0sNaPpY........"[..]).is_err());
}
