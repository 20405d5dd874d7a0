use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn path() -> impl Strategy<Value = String> {
    "(/[a-zü0-9]{0,6}){0,4}"
}

fn buffer() -> impl Strategy<Value = Buffer> {
    proptest::option::of(vec(any::<u8>(), 0..64))
}

fn acls() -> impl Strategy<Value = Vec<Acl>> {
    vec((any::<i32>(), "[a-z]{0,6}", "[a-z:]{0,8}").prop_map(|(perms, s, i)| Acl { perms, id: Id::new(&s, &i) }), 0..4)
}

fn stat() -> impl Strategy<Value = Stat> {
    (any::<[i64; 6]>(), any::<[i32; 5]>()).prop_map(|(longs, ints)| Stat {
        czxid: longs[0],
        mzxid: longs[1],
        ctime: longs[2],
        mtime: longs[3],
        version: ints[0],
        cversion: ints[1],
        aversion: ints[2],
        ephemeral_owner: longs[4],
        data_length: ints[3],
        num_children: ints[4],
        pzxid: longs[5],
    })
}

fn creation() -> impl Strategy<Value = Request> {
    let op = prop_oneof![Just(Op::Create), Just(Op::Create2), Just(Op::CreateContainer)];
    (op, path(), buffer(), acls(), any::<i32>())
        .prop_map(|(op, path, data, acl, flags)| Request::Create(op, CreateRequest { path, data, acl, flags }))
}

/// What may be in a multi.
fn part() -> impl Strategy<Value = Request> {
    let read = (path(), any::<bool>()).prop_map(|(path, watch)| ReadRequest { path, watch }).boxed();
    prop_oneof![
        creation(),
        (path(), buffer(), acls(), any::<i32>(), any::<i64>()).prop_map(|(path, data, acl, flags, ttl_ms)| {
            Request::CreateTtl(CreateTtlRequest { path, data, acl, flags, ttl_ms })
        }),
        (path(), any::<i32>()).prop_map(|(path, version)| Request::Delete(DeleteRequest { path, version })),
        (path(), any::<i32>()).prop_map(|(path, version)| Request::Check(CheckVersionRequest { path, version })),
        (path(), buffer(), any::<i32>()).prop_map(|(path, data, version)| Request::SetData(SetDataRequest {
            path,
            data,
            version
        })),
        read.clone().prop_map(Request::GetData),
        read.prop_map(Request::GetChildren),
    ]
}

fn request() -> impl Strategy<Value = Request> {
    let read = (path(), any::<bool>()).prop_map(|(path, watch)| ReadRequest { path, watch }).boxed();
    let path_only = path().prop_map(|path| PathRequest { path }).boxed();
    let paths = || vec(path(), 0..4);
    let watches = (path(), any::<i32>()).prop_map(|(path, kind)| RemoveWatchesRequest { path, kind }).boxed();
    prop_oneof![
        part(),
        read.clone().prop_map(Request::Exists),
        read.prop_map(Request::GetChildren2),
        path_only.clone().prop_map(Request::GetAcl),
        path_only.clone().prop_map(Request::Sync),
        path_only.clone().prop_map(Request::GetEphemerals),
        path_only.prop_map(Request::GetAllChildrenNumber),
        (path(), acls(), any::<i32>()).prop_map(|(path, acl, version)| Request::SetAcl(SetAclRequest {
            path,
            acl,
            version
        })),
        vec(part(), 0..6).prop_map(|parts| Request::Multi(MultiRequest { parts })),
        vec(part(), 0..6).prop_map(|parts| Request::MultiRead(MultiRequest { parts })),
        ("[a-z]{0,6}", vec(any::<u8>(), 0..16))
            .prop_map(|(scheme, auth)| { Request::Auth(AuthPacket { kind: 0, scheme, auth: Secret(auth) }) }),
        (any::<i64>(), paths(), paths(), paths()).prop_map(|(relative_zxid, data, exist, child)| {
            Request::SetWatches(SetWatchesRequest { relative_zxid, data, exist, child })
        }),
        (any::<i64>(), paths(), paths(), paths(), paths(), paths()).prop_map(
            |(relative_zxid, data, exist, child, persistent, persistent_recursive)| {
                Request::SetWatches2(SetWatches2Request {
                    relative_zxid,
                    data,
                    exist,
                    child,
                    persistent,
                    persistent_recursive,
                })
            }
        ),
        (path(), any::<i32>()).prop_map(|(path, mode)| Request::AddWatch(AddWatchRequest { path, mode })),
        watches.clone().prop_map(Request::RemoveWatches),
        watches.prop_map(Request::CheckWatches),
        Just(Request::Ping),
        Just(Request::WhoAmI),
        Just(Request::CloseSession),
        Just(Request::Other(Op::Sasl)),
    ]
}

fn result() -> impl Strategy<Value = MultiResult> {
    let op = prop_oneof![Just(Op::Create2), Just(Op::CreateContainer), Just(Op::CreateTtl)];
    prop_oneof![
        path().prop_map(MultiResult::Created),
        (op, path(), stat()).prop_map(|(op, path, stat)| MultiResult::CreatedWithStat(op, path, stat)),
        Just(MultiResult::Deleted),
        Just(MultiResult::Checked),
        stat().prop_map(MultiResult::Set),
        (buffer(), stat()).prop_map(|(data, stat)| MultiResult::Data(data, stat)),
        vec(path(), 0..4).prop_map(MultiResult::Children),
        any::<i32>().prop_map(MultiResult::Failed),
    ]
}

fn returns<T: Record + PartialEq + std::fmt::Debug>(record: &T) -> Result<(), TestCaseError> {
    let bytes = record.to_bytes();
    prop_assert!(bytes.len() >= T::BYTES_MIN);
    let mut reader = Reader::new(&bytes);
    prop_assert_eq!(&T::read(&mut reader).unwrap(), record);
    prop_assert_eq!(reader.left(), 0);
    // Nothing shorter is taken for the whole.
    for length in 0..bytes.len() {
        let mut reader = Reader::new(&bytes[..length]);
        prop_assert!(T::read(&mut reader).is_err() || reader.left() == 0);
    }
    Ok(())
}

proptest! {
    #[test]
    fn requests_return(request in request()) {
        let mut writer = Writer::new();
        request.write(&mut writer);
        let bytes = writer.into_bytes();
        let mut reader = Reader::new(&bytes);
        prop_assert_eq!(Request::read(request.op(), &mut reader).unwrap(), request);
        prop_assert_eq!(reader.left(), 0);
    }

    #[test]
    fn answers_return(
        stat in stat(), path in path(), data in buffer(), acl in acls(), children in vec(path(), 0..5),
        results in vec(result(), 0..6), ints in any::<[i32; 3]>(), zxid in any::<i64>(),
    ) {
        returns(&Create2Response { path: path.clone(), stat })?;
        returns(&CreateResponse { path: path.clone() })?;
        returns(&GetDataResponse { data, stat })?;
        returns(&GetAclResponse { acl, stat })?;
        returns(&GetChildren2Response { children, stat })?;
        returns(&MultiResponse { results })?;
        returns(&ReplyHeader { xid: ints[0], zxid, error: ints[1] })?;
        returns(&RequestHeader { xid: ints[0], op: ints[1] })?;
        returns(&WatcherEvent { kind: ints[0], state: ints[1], path })?;
    }

    #[test]
    fn sessions_return(
        ints in any::<[i32; 2]>(), longs in any::<[i64; 2]>(), password in vec(any::<u8>(), 0..20),
        read_only in proptest::option::of(any::<bool>()),
    ) {
        let [protocol_version, timeout_ms] = ints;
        let [last_zxid_seen, session_id] = longs;
        let password = Secret(password);
        let request = ConnectRequest {
            protocol_version, last_zxid_seen, timeout_ms, session_id, password: password.clone(), read_only,
        };
        returns(&request)?;
        returns(&ConnectResponse { protocol_version, timeout_ms, session_id, password, read_only })?;
    }

    /// Whatever the bytes, reading ends, with a record no larger than they allow, or with an error.
    #[test]
    fn no_bytes_do_harm(op in proptest::sample::select(Op::ALL), bytes in vec(any::<u8>(), 0..200)) {
        let _ = Request::read(op, &mut Reader::new(&bytes));
        let _ = ConnectRequest::from_bytes(&bytes);
        let _ = ConnectResponse::from_bytes(&bytes);
        let _ = MultiResponse::from_bytes(&bytes);
        let _ = GetAclResponse::from_bytes(&bytes);
        let _ = WatcherEvent::from_bytes(&bytes);
    }

    /// The same where a good request was damaged in one place.
    #[test]
    fn no_damage_does_harm(request in request(), at in any::<prop::sample::Index>(), value in any::<u8>()) {
        let mut writer = Writer::new();
        request.write(&mut writer);
        let mut bytes = writer.into_bytes();
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let _ = Request::read(request.op(), &mut Reader::new(&bytes));
    }
}

#[test]
fn lengths_are_held_against_what_is_left() {
    // A vector of two thousand million strings in four bytes.
    let bytes = i32::MAX.to_be_bytes();
    let short = JuteError::Short { at: 4, wanted: i32::MAX as usize * 4, left: 0 };
    assert_eq!(Vec::<String>::from_bytes(&bytes), Err(short));
    assert!(matches!(String::from_bytes(&bytes), Err(JuteError::Short { .. })));
    assert!(matches!(Buffer::from_bytes(&bytes), Err(JuteError::Short { .. })));
}

#[test]
fn nulls() {
    let null = (-1i32).to_be_bytes();
    assert_eq!(Buffer::from_bytes(&null), Ok(None));
    assert_eq!(Buffer::None.to_bytes(), null);
    assert_eq!(String::from_bytes(&null), Ok(String::new()));
    assert_eq!(Vec::<Acl>::from_bytes(&null), Ok(Vec::new()));
}

/// As clients know it: 68 bytes, pzxid last.
#[test]
fn a_stat_is_68_bytes() {
    let stat = Stat { czxid: 1, pzxid: 2, num_children: 3, ..Stat::default() };
    let bytes = stat.to_bytes();
    assert_eq!(bytes.len(), 68);
    assert_eq!(bytes[..8], 1i64.to_be_bytes());
    assert_eq!(bytes[56..60], 3i32.to_be_bytes());
    assert_eq!(bytes[60..], 2i64.to_be_bytes());
}

#[test]
fn no_log_shows_a_secret() {
    let packet = AuthPacket { kind: 0, scheme: "digest".into(), auth: Secret(b"bob:hunter2".to_vec()) };
    assert!(!format!("{packet:?}").contains("hunter2"));
}

#[test]
fn codes_return() {
    for op in Op::ALL {
        assert_eq!(Op::from_code(op.code()), Some(*op));
    }
    for error in ErrorCode::ALL {
        assert_eq!(ErrorCode::from_code(error.code()), Some(*error));
    }
    assert_eq!(Op::read(4_711), Err(JuteError::UnknownOp(4_711)));
}
