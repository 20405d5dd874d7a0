use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::source::jute::{Acl, Id};

/// Owned parts that a transaction borrows from.
#[derive(Clone, Debug)]
struct Parts {
    path: String,
    data: Option<Vec<u8>>,
    acls: Vec<u8>,
    paths: Vec<u8>,
    ints: [i32; 2],
    long: i64,
    flag: bool,
}

fn parts() -> impl Strategy<Value = Parts> {
    let acl = (any::<i32>(), "[a-z]{0,6}", "[a-zü:]{0,8}").prop_map(|(perms, s, i)| Acl { perms, id: Id::new(&s, &i) });
    (
        "(/[a-zü0-9]{1,6}){1,4}",
        proptest::option::of(vec(any::<u8>(), 0..64)),
        vec(acl, 0..4),
        vec("(/[a-z]{1,9}){1,3}", 0..4),
        any::<([i32; 2], i64, bool)>(),
    )
        .prop_map(|(path, data, acls, paths, (ints, long, flag))| Parts {
            path,
            data,
            acls: Acls::encode(&acls),
            paths: Paths::encode(&paths),
            ints,
            long,
            flag,
        })
}

impl Parts {
    fn acls(&self) -> Acls<'_> {
        Acls::read(&mut Reader::new(&self.acls)).unwrap()
    }

    fn creation(&self, kind: CreationKind) -> Txn<'_> {
        let (data, acls, parent_cversion) = (self.data.as_deref(), self.acls(), self.ints[0]);
        Txn::Create(Creation { kind, path: &self.path, data, acls, parent_cversion })
    }

    fn set_data(&self, reconfig: bool) -> Txn<'_> {
        Txn::SetData { path: &self.path, data: self.data.as_deref(), version: self.ints[0], reconfig }
    }

    /// What may be in a multi.
    fn single(&self, kind: u8) -> Txn<'_> {
        match kind % 8 {
            0 => self.creation(CreationKind::Create { ephemeral: self.flag }),
            1 => self.creation(CreationKind::Create2 { ephemeral: self.flag }),
            2 => self.creation(CreationKind::Container),
            3 => self.creation(CreationKind::Ttl { ttl_ms: self.long }),
            4 => Txn::Delete { path: &self.path, container: self.flag },
            5 => self.set_data(false),
            6 => Txn::Check { path: &self.path, version: self.ints[1] },
            _ => Txn::Error { code: self.ints[1] },
        }
    }

    fn any(&self, kind: u8) -> Txn<'_> {
        match kind % 16 {
            8 => Txn::CreateSession { timeout_ms: self.ints[1] },
            9 => Txn::CloseSession { ephemerals: None },
            10 => Txn::CloseSession { ephemerals: Some(Paths::read(&mut Reader::new(&self.paths)).unwrap()) },
            11 => self.set_data(true),
            12 => Txn::SetAcl { path: &self.path, acls: self.acls(), version: self.ints[0] },
            13 => {
                Txn::Multi((0..self.ints[0] as u8 % 9).map(|turn| self.single(kind.wrapping_add(turn * 3))).collect())
            }
            kind => self.single(kind),
        }
    }
}

fn header() -> impl Strategy<Value = TxnHeader> {
    any::<(i64, i32, i64, i64)>().prop_map(|(session_id, cxid, zxid, time_ms)| TxnHeader {
        session_id,
        cxid,
        zxid,
        time_ms,
    })
}

proptest! {
    #[test]
    fn what_is_read_is_what_was_written(parts in parts(), kind: u8, header in header(), digest: Option<(i32, i64)>) {
        let digest = digest.map(|(version, tree)| TxnDigest { version, tree });
        let entry = Entry { header, txn: parts.any(kind), digest };
        let mut digests = if digest.is_some() { Digests::Present } else { Digests::Absent };
        let bytes = entry.to_bytes();
        prop_assert_eq!(Entry::read(&bytes, &mut digests), Ok(entry));
    }

    #[test]
    fn mangled_bytes_are_read_or_refused(
        parts in parts(),
        kind: u8,
        header in header(),
        edits in vec((any::<proptest::sample::Index>(), any::<u8>()), 0..8),
        length: proptest::sample::Index,
    ) {
        let mut bytes = Entry { header, txn: parts.any(kind), digest: None }.to_bytes();
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(length.index(bytes.len() + 1));
        for mut digests in [Digests::Unknown, Digests::Absent, Digests::Present] {
            if let Ok(Entry { txn: Txn::Multi(parts), .. }) = Entry::read(&bytes, &mut digests) {
                prop_assert!(parts.len() * 8 <= bytes.len());
            }
        }
    }
}

fn close_session(body: &[u8], mut digests: Digests) -> (Option<Vec<String>>, Option<TxnDigest>) {
    let mut writer = Writer::new();
    TxnHeader::default().write(&mut writer);
    writer.int(Op::CloseSession.code());
    writer.raw(body);
    let bytes = writer.into_bytes();
    match Entry::read(&bytes, &mut digests).unwrap() {
        Entry { txn: Txn::CloseSession { ephemerals }, digest, .. } => {
            (ephemerals.map(|paths| paths.iter().map(str::to_owned).collect()), digest)
        }
        entry => panic!("{entry:?}"),
    }
}

#[test]
fn twelve_bytes_behind_a_closed_session_are_told_by_the_others() {
    let path = Paths::encode(&["/abc".to_owned()]);
    assert_eq!(path.len(), 12);
    let as_path = (Some(vec!["/abc".to_owned()]), None);
    let as_digest = (None, Some(TxnDigest { version: 1, tree: i64::from_be_bytes(*b"\0\0\0\x04/abc") }));
    assert_eq!(close_session(&path, Digests::Absent), as_path);
    assert_eq!(close_session(&path, Digests::Unknown), as_path);
    assert_eq!(close_session(&path, Digests::Present), as_digest);

    let digest = TxnDigest { version: 2, tree: 0x1234_5678 };
    for digests in [Digests::Absent, Digests::Unknown, Digests::Present] {
        assert_eq!(close_session(&digest.to_bytes(), digests), (None, Some(digest)));
        assert_eq!(close_session(&[], digests), (None, None));
        assert_eq!(close_session(&[0; 4], digests), (Some(vec![]), None));
        let both = [Paths::encode(&["/a".to_owned(), "/b".to_owned()]), digest.to_bytes()].concat();
        assert_eq!(close_session(&both, digests), (Some(vec!["/a".to_owned(), "/b".to_owned()]), Some(digest)));
    }
}

#[test]
fn what_failed_tells_nothing_of_digests() {
    let header = TxnHeader::default();
    let read = |txn: Txn<'_>, digest, before| {
        let mut digests = before;
        Entry::read(&Entry { header, txn, digest }.to_bytes(), &mut digests).unwrap();
        digests
    };
    let error = Txn::Error { code: -101 };
    let (set, digest) = (Txn::CreateSession { timeout_ms: 1 }, Some(TxnDigest::default()));
    assert_eq!(read(error.clone(), None, Digests::Unknown), Digests::Unknown);
    assert_eq!(read(error.clone(), None, Digests::Present), Digests::Present);
    assert_eq!(read(Txn::Multi(vec![error]), None, Digests::Unknown), Digests::Unknown);
    assert_eq!(read(set.clone(), None, Digests::Unknown), Digests::Absent);
    assert_eq!(read(set, digest, Digests::Absent), Digests::Present);
}

#[test]
fn a_creation_without_the_parents_cversion_is_read() {
    let mut writer = Writer::new();
    TxnHeader::default().write(&mut writer);
    writer.int(Op::Create.code());
    writer.string("/old");
    writer.buffer(Some(b"value"));
    writer.raw(&Acls::encode(&[]));
    writer.boolean(true);
    let bytes = writer.into_bytes();
    let entry = Entry::read(&bytes, &mut Digests::default()).unwrap();
    let Txn::Create(creation) = entry.txn else { panic!("{entry:?}") };
    assert_eq!((creation.path, creation.parent_cversion), ("/old", -1));
    assert_eq!(creation.kind, CreationKind::Create { ephemeral: true });
}

#[test]
fn a_multi_within_a_multi_is_refused() {
    let inner = Txn::Multi(Vec::new());
    let bytes = Entry { header: TxnHeader::default(), txn: Txn::Multi(vec![inner]), digest: None }.to_bytes();
    assert_eq!(Entry::read(&bytes, &mut Digests::default()), Err(JuteError::NotInMulti(14)));
}

#[test]
fn texts_of_java_beyond_the_basic_plane_are_no_error_in_an_acl() {
    // A surrogate pair, each half encoded by itself.
    let mut writer = Writer::new();
    writer.int(1);
    writer.int(31);
    writer.string("sasl");
    writer.buffer(Some(b"\xed\xa0\xbd\xed\xb8\x80"));
    let bytes = writer.into_bytes();
    let acls = Acls::read(&mut Reader::new(&bytes)).unwrap();
    let entries: Vec<_> = acls.iter().collect();
    assert_eq!((entries[0].0, &*entries[0].1), (31, "sasl"));
    assert!(entries[0].2.chars().all(|letter| letter == char::REPLACEMENT_CHARACTER));
}

#[test]
fn an_acl_is_not_shown() {
    let acls = Acls::encode(&[Acl { perms: 31, id: Id::new("digest", "bob:secret") }]);
    let shown = format!("{:?}", Acls::read(&mut Reader::new(&acls)).unwrap());
    assert!(!shown.contains("secret"), "{shown}");
}
