//! Creations, deletions, values, multis, and the Stats that they lead to.

use super::*;

#[test]
fn stats_are_what_servers_show() {
    let mut rig = Rig::new();
    let (client, _) = rig.client();
    let root = rig.stat(client, "/").unwrap();
    assert_eq!((root.czxid, root.cversion, root.num_children), (0, -1, 1));

    let made = rig.create(client, "/a", 0).stat;
    assert_eq!((made.version, made.cversion, made.aversion, made.data_length), (0, 0, 0, 1));
    assert_eq!((made.czxid, made.mzxid, made.pzxid), (2, 2, 2), "the first transaction made the session");
    let root = rig.stat(client, "/").unwrap();
    assert_eq!((root.pzxid, root.cversion, root.num_children), (2, 0, 2));

    for child in ["1", "2", "3", "4", "5"] {
        rig.create(client, &format!("/a/{child}"), 0);
    }
    let last = rig.ask(client, &delete("/a/1")).0;
    let last = rig.ask(client, &delete("/a/2")).0.max(last);
    let stat = rig.stat(client, "/a").unwrap();
    assert_eq!((stat.cversion, stat.num_children, stat.pzxid), (7, 3, last), "5 creates, 2 deletes: 7");
    assert_eq!(stat.mzxid, 2);

    rig.pass(Duration::from_millis(50));
    let (zxid, body) = rig.ask(client, &set("/a", 0));
    let stat = Stat::from_bytes(&body.unwrap()).unwrap();
    assert_eq!((stat.version, stat.mzxid, stat.czxid, stat.data_length), (1, zxid, 2, 4));
    assert_eq!(stat.mtime - stat.ctime, 50);

    let acl = Request::SetAcl(SetAclRequest { path: "/a".into(), acl: open_acl(), version: 0 });
    let stat = Stat::from_bytes(&rig.ask(client, &acl).1.unwrap()).unwrap();
    assert_eq!((stat.aversion, stat.mzxid), (1, zxid), "an ACL change leaves no zxid");
    assert_eq!(rig.error(client, &acl), ErrorCode::BadVersion);
}

#[test]
fn sequences_count_creations() {
    let mut rig = Rig::new();
    let (client, response) = rig.client();
    rig.create(client, "/q", 0);
    assert_eq!(rig.create(client, "/q/n-", 2).path, "/q/n-0000000000");
    rig.create(client, "/q/other", 0);
    rig.ask(client, &delete("/q/other")).1.unwrap();
    assert_eq!(rig.create(client, "/q/n-", 2).path, "/q/n-0000000002", "deletions do not count");
    let ephemeral = rig.create(client, "/q/", 3);
    assert_eq!(ephemeral.path, "/q/0000000003");
    assert_eq!(ephemeral.stat.ephemeral_owner, response.session_id);
    assert_eq!(rig.create(client, "/n", 2).path, "/n0000000001", "/zookeeper was not created by anybody");
}

#[test]
fn refusals_in_the_servers_order() {
    use ErrorCode::*;
    let mut rig = Rig::new();
    let (client, _) = rig.client();
    rig.create(client, "/a", 0);
    rig.create(client, "/a/b", 0);
    rig.create(client, "/e", 1);
    for (request, expected) in [
        (create("/a", 0), NodeExists),
        (create("/", 0), NodeExists),
        (create("/none/b", 0), NoNode),
        (create("/none//b", 0), NoNode),
        (create("/a//c", 0), NoNode),
        (create("/a/", 0), BadArguments),
        (create("/a/..", 0), BadArguments),
        (create("/a/\u{1}", 0), BadArguments),
        (create("a", 0), BadArguments),
        (create("/x", 9), BadArguments),
        (create("/e/x", 0), NoChildrenForEphemerals),
        (create_with("/x", 0, vec![]), InvalidAcl),
        (create_with("/none/x", 0, vec![]), InvalidAcl),
        (create_with("/x", 0, vec![Acl { perms: 31, id: Id::new("auth", "") }]), InvalidAcl),
        (create_with("/x", 0, vec![Acl { perms: 31, id: Id::new("magic", "x") }]), InvalidAcl),
        (delete("/none"), NoNode),
        (delete("/none/x"), NoNode),
        (delete("/a"), NotEmpty),
        (delete("/"), BadArguments),
        (delete("/zookeeper"), BadArguments),
        (delete("nothing"), BadArguments),
        (Request::Delete(DeleteRequest { path: "/a".into(), version: 7 }), BadVersion),
        (set("/none", -1), NoNode),
        (set("/a", 7), BadVersion),
        (set("/a/", -1), BadArguments),
        (set("/zookeeper/config", -1), NoAuth),
        (exists("/none", false), NoNode),
        (data("/none", false), NoNode),
        (children("/none", false), NoNode),
        (Request::Other(Op::Sasl), Unimplemented),
    ] {
        assert_eq!(rig.error(client, &request), expected, "{request:?}");
    }
}

#[test]
fn failures_spend_a_zxid_too() {
    let mut rig = Rig::new();
    let (client, _) = rig.client();
    let (first, _) = rig.ask(client, &create("/a", 0));
    let (second, failed) = rig.ask(client, &create("/a", 0));
    assert!(failed.is_err());
    let (read, _) = rig.ask(client, &exists("/a", false));
    assert_eq!((second, read), (first + 1, first + 1));
}

#[test]
fn multis_are_one_transaction() {
    let mut rig = Rig::new();
    let (client, _) = rig.client();
    rig.create(client, "/m", 0);
    let plain = CreateRequest { path: "/m/c".into(), data: None, acl: open_acl(), flags: 0 };
    let results = rig.multi(
        client,
        vec![
            create("/m/a", 0),
            set("/m/a", 0),
            Request::Create(Op::Create, plain),
            create("/m/s-", 2),
            delete("/m/a"),
            create("/m/a", 0),
            Request::Check(CheckVersionRequest { path: "/m".into(), version: 0 }),
        ],
    );
    let zxid = rig.machine.zxid();
    let [
        MultiResult::CreatedWithStat(Op::Create2, _, first),
        MultiResult::Set(set),
        MultiResult::Created(plain),
        MultiResult::CreatedWithStat(_, sequential, _),
        MultiResult::Deleted,
        MultiResult::CreatedWithStat(_, _, second),
        MultiResult::Checked,
    ] = results.as_slice()
    else {
        panic!("{results:?}");
    };
    assert_eq!((first.czxid, set.mzxid, set.version, second.czxid), (zxid, zxid, 1, zxid));
    assert_eq!((plain.as_str(), sequential.as_str()), ("/m/c", "/m/s-0000000002"));
    let stat = rig.stat(client, "/m").unwrap();
    assert_eq!((stat.cversion, stat.num_children, stat.pzxid), (5, 3, zxid));
    assert_eq!(rig.multi(client, vec![]), []);
}

#[test]
fn failed_multis_change_nothing() {
    let mut rig = Rig::new();
    let (client, _) = rig.client();
    rig.create(client, "/m", 0);
    rig.create(client, "/m/old", 1);
    rig.ask(client, &watch("/", WatchMode::PersistentRecursive)).1.unwrap();
    let before = (rig.stat(client, "/m"), rig.stat(client, "/m/old"));
    let parts = vec![
        set("/m/old", -1),
        delete("/m/old"),
        create("/m/old", 0),
        create("/m/new", 1),
        create("/none/x", 0),
        create("/m/never", 0),
    ];
    let codes: Vec<i32> = rig
        .multi(client, parts)
        .into_iter()
        .map(|result| match result {
            MultiResult::Failed(code) => code,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(codes, [0, 0, 0, 0, -101, -2]);
    assert_eq!((rig.stat(client, "/m"), rig.stat(client, "/m/old")), before);
    assert_eq!(rig.stat(client, "/m/new"), None);
    assert_eq!(rig.events(client), []);
    assert_eq!(rig.machine.tree().ephemerals_len(), 1);
}

#[test]
fn multi_reads_fail_part_by_part() {
    let mut rig = Rig::new();
    let (client, _) = rig.client();
    rig.create(client, "/a", 0);
    let parts = vec![data("/a", false), children("/none", false), children("/", false)];
    let body = rig.ask(client, &Request::MultiRead(MultiRequest { parts })).1.unwrap();
    let results = MultiResponse::from_bytes(&body).unwrap().results;
    let [MultiResult::Data(Some(value), stat), MultiResult::Failed(-101), MultiResult::Children(names)] =
        results.as_slice()
    else {
        panic!("{results:?}");
    };
    assert_eq!((value.as_slice(), stat.czxid), (b"x".as_slice(), 2));
    assert_eq!(names, &["a", "zookeeper"]);
}

#[test]
fn values_may_be_null() {
    let mut rig = Rig::new();
    let (client, _) = rig.client();
    let request = CreateRequest { path: "/null".into(), data: None, acl: open_acl(), flags: 0 };
    rig.ask(client, &Request::Create(Op::Create, request)).1.unwrap();
    let found = GetDataResponse::from_bytes(&rig.ask(client, &data("/null", false)).1.unwrap()).unwrap();
    assert_eq!((found.data, found.stat.data_length), (None, 0));
}

#[test]
fn acls_are_enforced() {
    let mut rig = Rig::new();
    let (bob, _) = rig.client();
    let (eve, _) = rig.client();
    let auth = |credential: &str| {
        Request::Auth(AuthPacket { kind: 0, scheme: "digest".into(), auth: Secret(credential.as_bytes().to_vec()) })
    };
    rig.ask(bob, &auth("bob:secret")).1.unwrap();
    rig.ask(bob, &create_with("/bobs", 0, vec![Acl { perms: PERMS_ALL, id: Id::new("auth", "") }])).1.unwrap();
    let get = Request::GetAcl(PathRequest { path: "/bobs".into() });
    let acl = GetAclResponse::from_bytes(&rig.ask(bob, &get).1.unwrap()).unwrap().acl;
    assert_eq!((acl[0].id.scheme.as_str(), acl.len()), ("digest", 1));
    assert!(acl[0].id.id.starts_with("bob:"));

    rig.ask(eve, &watch("/", WatchMode::PersistentRecursive)).1.unwrap();
    rig.ask(bob, &set("/bobs", -1)).1.unwrap();
    assert_eq!(rig.events(eve), [], "who may not read does not hear");
    for request in [data("/bobs", false), children("/bobs", false), set("/bobs", -1), create("/bobs/x", 0), get.clone()]
    {
        assert_eq!(rig.error(eve, &request), ErrorCode::NoAuth, "{request:?}");
    }
    assert_eq!(rig.error(eve, &exists("/bobs", false)), ErrorCode::Ok);
    assert_eq!(rig.error(eve, &auth("bob:secret")), ErrorCode::Ok);
    assert_eq!(rig.error(eve, &data("/bobs", false)), ErrorCode::Ok);

    // Readable by all, administered by one: the hash is nobody else's affair.
    let reader = Acl { perms: perms::READ, id: Id::new("world", "anyone") };
    let acl = Request::SetAcl(SetAclRequest { path: "/bobs".into(), acl: vec![acl[0].clone(), reader], version: -1 });
    rig.ask(bob, &acl).1.unwrap();
    let (mallory, _) = rig.client();
    let shown = GetAclResponse::from_bytes(&rig.ask(mallory, &get).1.unwrap()).unwrap().acl;
    assert_eq!(shown[0].id.id, "bob:x");

    rig.send(mallory, &Request::Auth(AuthPacket { kind: 0, scheme: "magic".into(), auth: Secret::default() }));
    let sent = rig.take(mallory);
    let [Sent::Reply(header, _), Sent::Closed] = sent.as_slice() else { panic!("{sent:?}") };
    assert_eq!(header.error, ErrorCode::AuthFailed.code());
}

#[test]
fn containers_and_ttls_go_by_themselves() {
    let mut rig = Rig::new();
    let (client, _) = rig.client();
    rig.create(client, "/box", 4);
    let ttl = |ttl_ms| {
        let (path, data, acl) = ("/short".into(), None, open_acl());
        Request::CreateTtl(CreateTtlRequest { path, data, acl, flags: 5, ttl_ms })
    };
    assert_eq!(rig.error(client, &ttl(0)), ErrorCode::BadArguments);
    assert_eq!(rig.error(client, &ttl(1 << 40)), ErrorCode::BadArguments);
    rig.ask(client, &ttl(500)).1.unwrap();
    assert_eq!(rig.stat(client, "/short").unwrap().ephemeral_owner, 0);
    rig.create(client, "/box/last", 0);
    rig.pass(Duration::from_millis(400));
    assert!(rig.stat(client, "/short").is_some() && rig.stat(client, "/box").is_some());
    rig.ask(client, &delete("/box/last")).1.unwrap();
    let before = rig.machine.zxid();
    rig.pass(Duration::from_millis(200));
    assert!(rig.stat(client, "/short").is_none() && rig.stat(client, "/box").is_none());
    assert_eq!(rig.machine.zxid(), before + 2);
}
