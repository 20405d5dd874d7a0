//! What clients may send, and what they must never bring about.

use super::*;

#[test]
fn what_is_no_request_is_refused() {
    let mut rig = Rig::new();
    let (client, _) = rig.client();
    // An operation that nobody knows, and a body that is none.
    let header = |op| RequestHeader { xid: 9, op }.to_bytes();
    rig.raw(client, &header(4_711));
    rig.raw(client, &header(Op::GetData.code()));
    let errors: Vec<i32> = rig
        .take(client)
        .into_iter()
        .map(|sent| match sent {
            Sent::Reply(header, _) => header.error,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(errors, [ErrorCode::Unimplemented.code(), ErrorCode::MarshallingError.code()]);
    // Not even a header.
    rig.raw(client, b"abc");
    assert_eq!(rig.take(client), [Sent::Closed]);
}

#[test]
fn a_ping_is_answered_with_its_xid() {
    let mut rig = Rig::new();
    let (client, _) = rig.client();
    rig.raw(client, &RequestHeader { xid: xid::PING, op: Op::Ping.code() }.to_bytes());
    let zxid = rig.machine.zxid();
    let expected = ReplyHeader { xid: xid::PING, zxid, error: 0 };
    assert_eq!(rig.take(client), [Sent::Reply(expected, Vec::new())]);
}

#[test]
fn small_questions() {
    let mut rig = Rig::new();
    let (client, _) = rig.client();
    rig.create(client, "/a", 0);
    rig.create(client, "/a/e", 1);
    rig.create(client, "/e", 1);
    let path = |path: &str| PathRequest { path: path.into() };
    let mut ask = |request| rig.ask(client, &request).1.unwrap();
    let ephemerals = Vec::<String>::from_bytes(&ask(Request::GetEphemerals(path("/a")))).unwrap();
    assert_eq!(ephemerals, ["/a/e"]);
    assert_eq!(i32::from_bytes(&ask(Request::GetAllChildrenNumber(path("/")))), Ok(6));
    assert_eq!(i32::from_bytes(&ask(Request::GetAllChildrenNumber(path("/a")))), Ok(1));
    assert_eq!(String::from_bytes(&ask(Request::Sync(path("/a")))), Ok("/a".to_owned()));
    let who = Vec::<ClientInfo>::from_bytes(&ask(Request::WhoAmI)).unwrap();
    assert_eq!((who[0].scheme.as_str(), who[0].user.as_str()), ("ip", "127.0.0.1"));
}

fn step() -> impl Strategy<Value = Request> {
    let path = || prop_oneof!["/[ab]", "/[ab]/[ab]", "/[ab]/[ab]/[ab]"];
    let simple = prop_oneof![
        (path(), 0..5i32).prop_map(|(path, flags)| create(&path, flags)),
        path().prop_map(|path| delete(&path)),
        path().prop_map(|path| set(&path, -1)),
    ];
    prop_oneof![
        3 => simple.clone(),
        1 => vec(simple, 0..6).prop_map(|parts| Request::Multi(MultiRequest { parts })),
    ]
}

/// Everything that clients can see.
fn dump(rig: &mut Rig, client: ConnectionId) -> Vec<(String, Stat)> {
    let mut found = Vec::new();
    let mut open = vec!["/".to_owned()];
    while let Some(path) = open.pop() {
        found.push((path.clone(), rig.stat(client, &path).unwrap()));
        let body = rig.ask(client, &children(&path, false)).1.unwrap();
        let prefix = path.trim_end_matches('/');
        open.extend(Vec::<String>::from_bytes(&body).unwrap().iter().map(|name| format!("{prefix}/{name}")));
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

proptest! {
    /// What a recursive watch tells leads from the tree before to the tree after; what fails changes nothing.
    #[test]
    fn events_explain_the_tree(steps in vec(step(), 0..40)) {
        let mut rig = Rig::new();
        let (watcher, _) = rig.client();
        let (writer, _) = rig.client();
        rig.ask(watcher, &watch("/", WatchMode::PersistentRecursive)).1.unwrap();
        let mut known: std::collections::BTreeSet<String> =
            dump(&mut rig, watcher).into_iter().map(|(path, _)| path).collect();
        for request in &steps {
            let before = dump(&mut rig, writer);
            let (zxid, answer) = rig.ask(writer, request);
            let failed = match &answer {
                Err(_) => true,
                Ok(body) if matches!(request, Request::Multi(_)) => {
                    let results = MultiResponse::from_bytes(body).unwrap().results;
                    results.iter().any(|result| matches!(result, MultiResult::Failed(_)))
                }
                Ok(_) => false,
            };
            let events = rig.events(watcher);
            if failed {
                prop_assert_eq!(&dump(&mut rig, writer), &before);
                prop_assert!(events.is_empty());
            }
            for (kind, path, at) in events {
                prop_assert_eq!(at, zxid);
                match kind {
                    EventType::NodeCreated => prop_assert!(known.insert(path)),
                    EventType::NodeDeleted => prop_assert!(known.remove(&path)),
                    _ => prop_assert!(known.contains(&path)),
                }
            }
            let after = dump(&mut rig, writer);
            prop_assert!(after.iter().map(|(path, _)| path).eq(known.iter()));
            for (path, stat) in after {
                prop_assert!(stat.czxid <= stat.mzxid && stat.czxid <= stat.pzxid && stat.pzxid <= zxid, "{}", path);
            }
        }
        // The ephemerals, all at once.
        let ephemerals = rig.machine.tree().ephemerals_len();
        rig.send(writer, &Request::CloseSession);
        let events = rig.events(watcher);
        prop_assert_eq!(events.len(), ephemerals);
        let zxid = rig.machine.zxid();
        prop_assert!(events.iter().all(|event| event.0 == EventType::NodeDeleted && event.2 == zxid));
    }

    /// No packet does harm to anybody but who sent it.
    #[test]
    fn no_packet_does_harm(packets in vec(vec(any::<u8>(), 0..60), 0..20), op in proptest::sample::select(Op::ALL)) {
        let mut rig = Rig::new();
        let (good, _) = rig.client();
        let (bad, _) = rig.client();
        for packet in packets {
            rig.raw(bad, &packet);
            let mut with_header = RequestHeader { xid: 1, op: op.code() }.to_bytes();
            with_header.extend_from_slice(&packet);
            rig.raw(bad, &with_header);
        }
        prop_assert!(rig.stat(good, "/").is_some());
    }
}
