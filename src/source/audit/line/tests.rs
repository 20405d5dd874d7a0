use super::*;

fn parsed(line: &str) -> AuditEntry {
    parse(line, LogZone::default()).expect("an audit line").expect("a good one")
}

#[test]
fn lines_of_servers() {
    let entry = parsed(
        "2026-11-20 03:10:00,123 INFO audit.Slf4jAuditLogger: session=0x1000161d8e10000\tuser=127.0.0.1\tip=127.0.0.1\t\
         operation=create\tznode=/a=b\tznode_type=persistent\tresult=success",
    );
    let expected = AuditEntry {
        time: Micros(1_795_144_200_123_000),
        session_id: Some(0x0100_0161_d8e1_0000),
        user: Some("127.0.0.1".to_owned()),
        address: Some("127.0.0.1".to_owned()),
        operation: "create".to_owned(),
        path: Some("/a=b".into()),
        node_type: Some("persistent".to_owned()),
        acl: None,
        result: "success".to_owned(),
    };
    assert_eq!(entry, expected);
    let acl = parsed(
        "2026-11-20 19:51:29,277 INFO o.a.z.a.Slf4jAuditLogger: session=0x10002509f570001\tuser=bob,127.0.0.1\t\
         ip=127.0.0.1\toperation=setAcl\tznode=/app/bb\tacl=digest:bob:fyVmFCwVbTJYrznoSu1koqYEYF0=:cdrwa\tresult=success",
    );
    assert_eq!((acl.acl.as_deref(), acl.user.as_deref()), (Some("digest:bob:***:cdrwa"), Some("bob,127.0.0.1")));
    let closed = parsed(
        "2026-11-20T19:51:29.849+0000 [SyncThread:0] INFO org.apache.zookeeper.audit.Log4jAuditLogger - \
         session=0x10002509dcf0000\tuser=root\toperation=ephemeralZNodeDeletionOnSessionCloseOrExpire\t\
         znode=/app/eph\tresult=success",
    );
    assert_eq!((closed.session_id, closed.address), (Some(0x0100_0250_9dcf_0000), None));
    let started =
        parsed("2026-11-20 03:10:00,123 INFO Log4jAuditLogger: user=root\toperation=serverStart\tresult=success");
    assert_eq!((started.session_id, started.path, started.address), (None, None, None));
    assert_eq!((started.user.as_deref(), started.operation.as_str()), (Some("root"), "serverStart"));
}

#[test]
fn acls_are_kept_and_their_hashes_masked() {
    let line = |acl: &str| {
        format!(
            "2026-11-20T03:10:00.5Z x session=0xff00000000000001\tuser=bob,x509:CN=a b\tip=0:0:0:0:0:0:0:1\t\
             operation=setAcl\tznode=/a\tacl={acl}\tresult=failure"
        )
    };
    let entry = parsed(&line("digest:bob:Zm9v+/=:cdrwa,world:anyone:r,digest:eve:eA==:r"));
    assert_eq!(entry.acl.as_deref(), Some("digest:bob:***:cdrwa,world:anyone:r,digest:eve:***:r"));
    assert_eq!(entry.session_id, Some(0xff00_0000_0000_0001_u64 as i64));
    assert_eq!((entry.address.as_deref(), entry.result.as_str()), (Some("::1"), "failure"));
    assert_eq!(entry.user.as_deref(), Some("bob,x509:CN=a b"));
    for (given, shown) in [
        ("digest:", "digest:"),
        ("digest:bob", "digest:bob"),
        ("digest:bob:secret", "digest:bob:***"),
        ("auth::r", "auth::r"),
    ] {
        assert_eq!(parsed(&line(given)).acl.as_deref(), Some(shown));
    }
}

#[test]
fn times_as_patterns_write_them() {
    let micros = |front: &str| parsed(&format!("{front} user=a\toperation=create\tresult=success")).time.to_string();
    for (front, expected) in [
        ("2026-11-20 03:10:00,123 INFO x:", "2026-11-20T03:10:00.123000Z"),
        ("[myid:1] - INFO  [main:X@1] 2026-11-20 03:10:00 -", "2026-11-20T03:10:00.000000Z"),
        ("2026-11-20T03:10:00.123456789+02:00 [main]", "2026-11-20T01:10:00.123456Z"),
        ("2026-11-20 03:10:00:123 +0200 [main]", "2026-11-20T01:10:00.123000Z"),
        ("[2026-11-20 03:10:00.1-0530]", "2026-11-20T08:40:00.100000Z"),
        ("2026-11-20T03:10:00Z", "2026-11-20T03:10:00.000000Z"),
        ("2026-11-20 03:10:00,123 - x", "2026-11-20T03:10:00.123000Z"),
    ] {
        assert_eq!(micros(front), expected, "{front}");
    }
    let local = parse(
        "2026-07-01 12:00:00,000 x: user=a\toperation=create\tresult=success",
        "Europe/Berlin".parse().expect("a zone"),
    );
    assert_eq!(local.expect("a line").expect("a good one").time.to_string(), "2026-07-01T10:00:00.000000Z");
}

#[test]
fn other_lines_are_passed_over_and_broken_ones_named() {
    let zone = LogZone::default();
    for other in [
        "",
        "2026-11-20 03:10:00,123 INFO Server: user=root logged in",
        "2026-11-20 03:10:00,123 INFO Established session 0x1 with negotiated timeout",
        "session=0x1",
        "\tat org.apache.zookeeper.Server.run(Server.java:1)",
    ] {
        assert_eq!(parse(other, zone), None, "{other}");
    }
    for (broken, why) in [
        ("x session=0x1\toperation=create\tresult=success", LineError::NoTime),
        ("2026-13-20 03:10:00,123 x operation=create\tresult=success", LineError::NoTime),
        ("2026-11-20 03:10:00,123 x session=0x1\tresult=success", LineError::NoOperation),
        ("2026-11-20 03:10:00,123 x session=0x1\toperation=create\tznode=/a", LineError::NoResult),
        ("2026-11-20 03:10:00,123 x session=0x1\toperation=create\tresult=succ", LineError::NoResult),
        ("2026-11-20 03:10:00,123 x session=1\toperation=create\tresult=success", LineError::BadSession),
    ] {
        assert_eq!(parse(broken, zone), Some(Err(why)), "{broken}");
    }
    let odd = parsed("2026-11-20 03:10:00,123 x operation=create\tznode=no path\tnovel=1\tword\tresult=success");
    assert_eq!((odd.path, odd.operation.as_str()), (None, "create"));
}

proptest::proptest! {
    /// Whatever a file holds, it is read or passed over.
    #[test]
    fn nothing_panics(line in ".*", front in "[0-9 :,.TZ+-]{0,40}", fields in "[a-z_=0x\t/:,é]{0,80}") {
        let zone = "Europe/Berlin".parse().expect("a zone");
        let _ = parse(&line, zone);
        let _ = parse(&format!("{front}{fields}"), zone);
        let _ = parse(&format!("2026-11-20 03:10:00{front} operation={fields}\tresult=success"), zone);
    }
}
