//! Sessions begin, move and end.

use super::*;

#[test]
fn timeouts_are_agreed_on() {
    let options = Options {
        session_timeout_min: Duration::from_secs(1),
        session_timeout_max: Duration::from_secs(20),
        ..Options::default()
    };
    let mut rig = Rig::with(&options);
    for (asked, agreed) in [(10, 1_000), (5_000, 5_000), (i32::MAX, 20_000), (-1, 1_000)] {
        let (_, sent) = rig.connect_with(&ConnectRequest { timeout_ms: asked, ..new_session() });
        let [Sent::Connected(response)] = sent.as_slice() else { panic!("{sent:?}") };
        assert_eq!((response.timeout_ms, response.read_only), (agreed, Some(false)));
        assert!(response.session_id > 0);
    }
    let (_, sent) = rig.connect_with(&ConnectRequest { read_only: None, ..new_session() });
    let [Sent::Connected(response)] = sent.as_slice() else { panic!("{sent:?}") };
    assert_eq!(response.read_only, None, "an old client is answered in its own words");
}

#[test]
fn silence_ends_a_session_and_takes_its_ephemerals_in_one_transaction() {
    let mut rig = Rig::new();
    let (holder, _) = rig.client();
    let (watcher, _) = rig.client();
    rig.create(holder, "/b", 1);
    rig.create(holder, "/a", 1);
    rig.create(watcher, "/mine", 1);
    rig.ask(watcher, &watch("/", WatchMode::PersistentRecursive)).1.unwrap();
    rig.pass(Duration::from_secs(6));
    rig.ask(watcher, &Request::Ping).1.unwrap();
    rig.pass(Duration::from_secs(5));
    let zxid = rig.machine.zxid();
    assert_eq!(
        rig.events(watcher),
        [(EventType::NodeDeleted, "/a".to_owned(), zxid), (EventType::NodeDeleted, "/b".to_owned(), zxid)]
    );
    assert_eq!(rig.take(holder), [Sent::Closed]);
    assert!(rig.stat(watcher, "/mine").is_some());
    rig.raw(holder, b"too late");
    assert_eq!(rig.take(holder), []);
}

#[test]
fn a_session_moves_to_a_new_connection() {
    let mut rig = Rig::new();
    let (old, response) = rig.client();
    rig.create(old, "/e", 1);
    rig.ask(old, &watch("/", WatchMode::PersistentRecursive)).1.unwrap();
    let (new, sent) = rig.connect_with(&again(&response));
    assert_eq!(sent, [Sent::Connected(response.clone())]);
    assert_eq!(rig.take(old), [Sent::Closed]);
    rig.create(new, "/f", 0);
    assert_eq!(rig.take(old), [], "its watches were the old connection's");
    assert_eq!(rig.events(new), []);
    rig.machine.closed(old);

    // Disconnected, it lives as long as its timeout.
    rig.machine.closed(new);
    rig.pass(Duration::from_secs(9));
    let (newer, sent) = rig.connect_with(&again(&response));
    assert_eq!(sent, [Sent::Connected(response.clone())]);
    assert!(rig.stat(newer, "/e").is_some());
    rig.machine.closed(newer);
    rig.pass(Duration::from_secs(10));
    let (_, sent) = rig.connect_with(&again(&response));
    let [Sent::Connected(refused), Sent::Closed] = sent.as_slice() else { panic!("{sent:?}") };
    assert_eq!((refused.session_id, refused.timeout_ms), (0, 0));
    assert_eq!(refused.password, Secret(vec![0; 16]));
}

#[test]
fn a_session_is_its_owners() {
    let mut rig = Rig::new();
    let (owner, response) = rig.client();
    let mut thief = again(&response);
    thief.password.0[3] ^= 1;
    let (_, sent) = rig.connect_with(&thief);
    assert!(matches!(sent.as_slice(), [Sent::Connected(refused), Sent::Closed] if refused.session_id == 0));
    assert!(rig.stat(owner, "/").is_some(), "the owner is left alone");
}

#[test]
fn who_has_seen_the_future_is_hung_up_on() {
    let mut rig = Rig::new();
    let (_, sent) = rig.connect_with(&ConnectRequest { last_zxid_seen: 1, ..new_session() });
    assert_eq!(sent, [Sent::Closed]);
}

#[test]
fn closing_is_answered() {
    let mut rig = Rig::new();
    let (client, response) = rig.client();
    rig.create(client, "/e", 1);
    rig.send(client, &Request::CloseSession);
    let sent = rig.take(client);
    let [Sent::Reply(header, body), Sent::Closed] = sent.as_slice() else { panic!("{sent:?}") };
    assert_eq!((header.error, header.zxid, body.len()), (0, rig.machine.zxid(), 0));
    let (other, _) = rig.client();
    assert!(rig.stat(other, "/e").is_none());
    let (_, sent) = rig.connect_with(&again(&response));
    assert!(matches!(sent.as_slice(), [Sent::Connected(refused), Sent::Closed] if refused.session_id == 0));
}

#[test]
fn expiry_on_demand() {
    let mut rig = Rig::new();
    let (client, response) = rig.client();
    rig.create(client, "/e", 1);
    assert!(rig.expire(response.session_id));
    assert_eq!(rig.take(client), [Sent::Closed]);
    assert!(!rig.expire(response.session_id));
    assert_eq!(rig.machine.sessions().len(), 0);
    assert_eq!(rig.machine.tree().ephemerals_len(), 0);
}
