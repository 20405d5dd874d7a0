//! The machine by itself: packets in, packets out, time as told.

use std::net::Ipv4Addr;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::Options;
use super::effect::{ConnectionId, Effect, Now};
use super::machine::Machine;
use crate::source::jute::*;

mod protocol;
mod sessions;
mod watches;
mod znodes;

/// What a connection was sent.
#[derive(Clone, Debug, PartialEq)]
enum Sent {
    Connected(ConnectResponse),
    Reply(ReplyHeader, Vec<u8>),
    /// Kind, path, zxid.
    Event(EventType, String, i64),
    Closed,
}

/// A machine with clients whose packets are answered at once.
struct Rig {
    machine: Machine,
    now: Now,
    /// What came, by connection, until it is taken.
    sent: Vec<(ConnectionId, Sent)>,
    connections: u64,
    connecting: Vec<ConnectionId>,
    xid: i32,
}

impl Rig {
    fn new() -> Self {
        Self::with(&Options::default())
    }

    fn with(options: &Options) -> Self {
        let now = Now { wall_ms: 1_700_000_000_000, running: Duration::ZERO };
        let machine = Machine::new(options, [7; 16]);
        Self { machine, now, sent: Vec::new(), connections: 0, connecting: Vec::new(), xid: 0 }
    }

    fn pass(&mut self, time: Duration) {
        self.now.running += time;
        self.now.wall_ms += time.as_millis() as i64;
        let mut out = Vec::new();
        self.machine.tick(self.now, &mut out);
        self.machine.clean(self.now, &mut out);
        self.take_in(out);
    }

    fn expire(&mut self, session: i64) -> bool {
        let mut out = Vec::new();
        let there = self.machine.expire(session, self.now, &mut out);
        self.take_in(out);
        there
    }

    fn take_in(&mut self, out: Vec<Effect>) {
        for effect in out {
            match effect {
                Effect::Close(to) => self.sent.push((to, Sent::Closed)),
                Effect::Send(to, packet) if self.connecting.contains(&to) => {
                    self.connecting.retain(|other| *other != to);
                    self.sent.push((to, Sent::Connected(ConnectResponse::from_bytes(&packet).unwrap())));
                }
                Effect::Send(to, packet) => {
                    let mut reader = Reader::new(&packet);
                    let header = ReplyHeader::read(&mut reader).unwrap();
                    let body = reader.take(reader.left()).unwrap();
                    let sent = if header.xid == xid::NOTIFICATION {
                        let event = WatcherEvent::from_bytes(body).unwrap();
                        assert_eq!(event.state, 3);
                        Sent::Event(EventType::from_code(event.kind).unwrap(), event.path, header.zxid)
                    } else {
                        Sent::Reply(header, body.to_vec())
                    };
                    self.sent.push((to, sent));
                }
            }
        }
    }

    /// What this connection was sent since it was last asked.
    fn take(&mut self, of: ConnectionId) -> Vec<Sent> {
        let (taken, left) = std::mem::take(&mut self.sent).into_iter().partition(|(to, _)| *to == of);
        self.sent = left;
        let taken: Vec<(ConnectionId, Sent)> = taken;
        taken.into_iter().map(|(_, sent)| sent).collect()
    }

    fn events(&mut self, of: ConnectionId) -> Vec<(EventType, String, i64)> {
        let event = |sent| match sent {
            Sent::Event(kind, path, zxid) => Some((kind, path, zxid)),
            _ => None,
        };
        self.take(of).into_iter().filter_map(event).collect()
    }

    fn raw(&mut self, from: ConnectionId, packet: &[u8]) {
        let mut out = Vec::new();
        self.machine.packet(from, packet, self.now, &mut out);
        self.take_in(out);
    }

    fn connect_with(&mut self, request: &ConnectRequest) -> (ConnectionId, Vec<Sent>) {
        self.connections += 1;
        let id = ConnectionId(self.connections);
        self.machine.open(id, 0, (Ipv4Addr::LOCALHOST, 40_000).into());
        self.connecting.push(id);
        self.raw(id, &request.to_bytes());
        let sent = self.take(id);
        (id, sent)
    }

    /// A new session with a timeout of ten seconds.
    fn client(&mut self) -> (ConnectionId, ConnectResponse) {
        let (id, sent) = self.connect_with(&new_session());
        match sent.as_slice() {
            [Sent::Connected(response)] => (id, response.clone()),
            other => panic!("{other:?}"),
        }
    }

    /// Sends a request without taking what comes of it; gives its xid.
    fn send(&mut self, from: ConnectionId, request: &Request) -> i32 {
        self.xid += 1;
        let mut writer = Writer::new();
        RequestHeader { xid: self.xid, op: request.op().code() }.write(&mut writer);
        request.write(&mut writer);
        self.raw(from, &writer.into_bytes());
        self.xid
    }

    /// Sends a request; gives the reply's zxid and its body, or the error. Events stay where they are.
    fn ask(&mut self, from: ConnectionId, request: &Request) -> (i64, Result<Vec<u8>, ErrorCode>) {
        let xid = self.send(from, request);
        let is_reply = |(to, sent): &(ConnectionId, Sent)| {
            *to == from && matches!(sent, Sent::Reply(header, _) if header.xid == xid)
        };
        let at = self.sent.iter().position(is_reply).expect("a reply");
        match self.sent.remove(at) {
            (_, Sent::Reply(header, body)) if header.error == 0 => (header.zxid, Ok(body)),
            (_, Sent::Reply(header, body)) => {
                assert!(body.is_empty(), "an error has no body");
                (header.zxid, Err(ErrorCode::from_code(header.error).unwrap()))
            }
            other => panic!("{other:?}"),
        }
    }

    fn error(&mut self, from: ConnectionId, request: &Request) -> ErrorCode {
        self.ask(from, request).1.err().unwrap_or(ErrorCode::Ok)
    }

    /// Creates by create2; gives path and Stat.
    fn create(&mut self, from: ConnectionId, path: &str, flags: i32) -> Create2Response {
        Create2Response::from_bytes(&self.ask(from, &create(path, flags)).1.unwrap()).unwrap()
    }

    fn stat(&mut self, from: ConnectionId, path: &str) -> Option<Stat> {
        self.ask(from, &exists(path, false)).1.ok().map(|body| Stat::from_bytes(&body).unwrap())
    }

    fn multi(&mut self, from: ConnectionId, parts: Vec<Request>) -> Vec<MultiResult> {
        let body = self.ask(from, &Request::Multi(MultiRequest { parts })).1.unwrap();
        MultiResponse::from_bytes(&body).unwrap().results
    }
}

fn new_session() -> ConnectRequest {
    ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: 0,
        timeout_ms: 10_000,
        session_id: 0,
        password: Secret(vec![0; 16]),
        read_only: Some(false),
    }
}

fn again(response: &ConnectResponse) -> ConnectRequest {
    ConnectRequest { session_id: response.session_id, password: response.password.clone(), ..new_session() }
}

fn open_acl() -> Vec<Acl> {
    vec![Acl { perms: PERMS_ALL, id: Id::new("world", "anyone") }]
}

fn create_with(path: &str, flags: i32, acl: Vec<Acl>) -> Request {
    Request::Create(Op::Create2, CreateRequest { path: path.into(), data: Some(b"x".to_vec()), acl, flags })
}

fn create(path: &str, flags: i32) -> Request {
    create_with(path, flags, open_acl())
}

fn delete(path: &str) -> Request {
    Request::Delete(DeleteRequest { path: path.into(), version: -1 })
}

fn set(path: &str, version: i32) -> Request {
    Request::SetData(SetDataRequest { path: path.into(), data: Some(b"four".to_vec()), version })
}

fn exists(path: &str, watch: bool) -> Request {
    Request::Exists(ReadRequest { path: path.into(), watch })
}

fn children(path: &str, watch: bool) -> Request {
    Request::GetChildren(ReadRequest { path: path.into(), watch })
}

fn data(path: &str, watch: bool) -> Request {
    Request::GetData(ReadRequest { path: path.into(), watch })
}

fn watch(path: &str, mode: WatchMode) -> Request {
    Request::AddWatch(AddWatchRequest { path: path.into(), mode: mode.code() })
}
