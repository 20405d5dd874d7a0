//! Who hears of what, when, and how often.

use super::*;
use EventType::*;

fn kinds(events: &[(EventType, String, i64)]) -> Vec<(EventType, &str)> {
    events.iter().map(|(kind, path, _)| (*kind, path.as_str())).collect()
}

#[test]
fn one_shot_watches_speak_once() {
    let mut rig = Rig::new();
    let (watcher, _) = rig.client();
    let (writer, _) = rig.client();
    rig.send(watcher, &exists("/a", true));
    rig.send(watcher, &children("/", true));
    rig.take(watcher);
    rig.create(writer, "/a", 0);
    rig.ask(writer, &set("/a", -1)).1.unwrap();
    rig.create(writer, "/b", 0);
    assert_eq!(kinds(&rig.events(watcher)), [(NodeCreated, "/a"), (NodeChildrenChanged, "/")]);

    rig.send(watcher, &data("/a", true));
    rig.send(watcher, &children("/a", true));
    rig.take(watcher);
    rig.ask(writer, &delete("/a")).1.unwrap();
    assert_eq!(kinds(&rig.events(watcher)), [(NodeDeleted, "/a")], "two watches, one change, one event");
    rig.create(writer, "/a", 0);
    assert_eq!(rig.events(watcher), []);
    rig.send(watcher, &data("/none", true));
    rig.create(writer, "/none", 0);
    assert_eq!(rig.events(watcher), [], "getData leaves no watch where there is nothing");
    assert_eq!(rig.machine.watches_len(), 0);
}

#[test]
fn persistent_watches_stay() {
    let mut rig = Rig::new();
    let (watcher, _) = rig.client();
    let (writer, _) = rig.client();
    rig.create(writer, "/a", 0);
    rig.ask(watcher, &watch("/a", WatchMode::Persistent)).1.unwrap();
    for _ in 0..2 {
        rig.ask(writer, &set("/a", -1)).1.unwrap();
        rig.create(writer, "/a/b", 0);
        rig.ask(writer, &set("/a/b", -1)).1.unwrap();
        rig.ask(writer, &delete("/a/b")).1.unwrap();
        assert_eq!(
            kinds(&rig.events(watcher)),
            [(NodeDataChanged, "/a"), (NodeChildrenChanged, "/a"), (NodeChildrenChanged, "/a")]
        );
    }
    rig.ask(writer, &delete("/a")).1.unwrap();
    rig.create(writer, "/a", 0);
    assert_eq!(kinds(&rig.events(watcher)), [(NodeDeleted, "/a"), (NodeCreated, "/a")]);
}

#[test]
fn recursive_watches_see_all_below_with_its_zxid() {
    let mut rig = Rig::new();
    let (watcher, _) = rig.client();
    let (writer, _) = rig.client();
    rig.ask(watcher, &watch("/", WatchMode::PersistentRecursive)).1.unwrap();
    rig.ask(watcher, &watch("/a", WatchMode::PersistentRecursive)).1.unwrap();
    rig.send(watcher, &exists("/a", true));
    rig.take(watcher);
    rig.create(writer, "/a", 0);
    let (zxid, _) = rig.ask(writer, &set("/a", -1));
    rig.create(writer, "/a/b", 0);
    rig.multi(writer, vec![delete("/a/b"), delete("/a"), create("/a", 0)]);
    let last = rig.machine.zxid();
    let events = rig.events(watcher);
    assert_eq!(
        kinds(&events),
        [
            (NodeCreated, "/a"),
            (NodeDataChanged, "/a"),
            (NodeCreated, "/a/b"),
            (NodeDeleted, "/a/b"),
            (NodeDeleted, "/a"),
            (NodeCreated, "/a")
        ]
    );
    assert_eq!(events[1].2, zxid);
    assert!(events[3..].iter().all(|event| event.2 == last));
}

#[test]
fn older_servers_tell_no_zxid() {
    let mut rig = Rig::with(&Options { zxids_in_notifications: false, ..Options::default() });
    let (watcher, _) = rig.client();
    rig.ask(watcher, &watch("/", WatchMode::PersistentRecursive)).1.unwrap();
    rig.create(watcher, "/a", 0);
    assert_eq!(rig.events(watcher), [(NodeCreated, "/a".to_owned(), -1)]);
}

#[test]
fn events_come_before_the_answer_that_shows_them() {
    let mut rig = Rig::new();
    let (client, _) = rig.client();
    rig.ask(client, &watch("/", WatchMode::PersistentRecursive)).1.unwrap();
    let xid = rig.send(client, &create("/a", 0));
    let sent = rig.take(client);
    let [Sent::Event(NodeCreated, path, zxid), Sent::Reply(header, _)] = sent.as_slice() else { panic!("{sent:?}") };
    assert_eq!((path.as_str(), *zxid, header.xid), ("/a", header.zxid, xid));
}

#[test]
fn watches_are_removed() {
    let mut rig = Rig::new();
    let (client, _) = rig.client();
    let remove = |path: &str, kind: i32| Request::RemoveWatches(RemoveWatchesRequest { path: path.into(), kind });
    let check = |path: &str, kind: i32| Request::CheckWatches(RemoveWatchesRequest { path: path.into(), kind });
    rig.create(client, "/a", 0);
    assert_eq!(rig.error(client, &remove("/a", 3)), ErrorCode::NoWatcher);
    rig.send(client, &data("/a", true));
    assert_eq!(rig.error(client, &check("/a", 2)), ErrorCode::Ok);
    assert_eq!(rig.error(client, &check("/a", 1)), ErrorCode::NoWatcher);
    assert_eq!(rig.error(client, &remove("/a", 1)), ErrorCode::NoWatcher);
    assert_eq!(rig.error(client, &remove("/a", 2)), ErrorCode::Ok);
    rig.ask(client, &watch("/", WatchMode::PersistentRecursive)).1.unwrap();
    assert_eq!(rig.error(client, &remove("/", 3)), ErrorCode::Ok);
    rig.take(client);
    rig.ask(client, &set("/a", -1)).1.unwrap();
    assert_eq!(rig.events(client), []);
    assert_eq!(rig.error(client, &remove("/a", 9)), ErrorCode::MarshallingError);
    assert_eq!(rig.machine.watches_len(), 0);
}

#[test]
fn watches_are_set_again_with_what_was_missed() {
    let mut rig = Rig::new();
    let (client, response) = rig.client();
    for path in ["/changed", "/deleted", "/same", "/parent", "/quiet"] {
        rig.create(client, path, 0);
    }
    let seen = rig.machine.zxid();
    rig.machine.closed(client);
    let (writer, _) = rig.client();
    rig.ask(writer, &set("/changed", -1)).1.unwrap();
    rig.ask(writer, &delete("/deleted")).1.unwrap();
    rig.create(writer, "/parent/child", 0);
    rig.create(writer, "/awaited", 0);

    let (client, _) = rig.connect_with(&ConnectRequest { last_zxid_seen: seen, ..again(&response) });
    let paths = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>();
    let request = SetWatches2Request {
        relative_zxid: seen,
        data: paths(&["/changed", "/deleted", "/same"]),
        exist: paths(&["/awaited", "/not-yet"]),
        child: paths(&["/parent", "/quiet"]),
        persistent: paths(&["/same"]),
        persistent_recursive: paths(&["/parent"]),
    };
    rig.send(client, &Request::SetWatches2(request));
    let events = rig.events(client);
    assert_eq!(
        kinds(&events),
        [
            (NodeDataChanged, "/changed"),
            (NodeDeleted, "/deleted"),
            (NodeCreated, "/awaited"),
            (NodeChildrenChanged, "/parent")
        ]
    );
    for _ in 0..2 {
        rig.ask(writer, &set("/same", -1)).1.unwrap();
        rig.ask(writer, &set("/parent/child", -1)).1.unwrap();
    }
    rig.create(writer, "/not-yet", 0);
    rig.create(writer, "/quiet/x", 0);
    assert_eq!(
        kinds(&rig.events(client)),
        [
            (NodeDataChanged, "/same"),
            (NodeDataChanged, "/parent/child"),
            (NodeDataChanged, "/same"),
            (NodeDataChanged, "/parent/child"),
            (NodeCreated, "/not-yet"),
            (NodeChildrenChanged, "/quiet")
        ]
    );
}
