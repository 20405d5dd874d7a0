//! The ensemble as a state machine: a packet and the time in, packets out. It knows no sockets and no clock.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use sha1::{Digest as _, Sha1};

use crate::source::jute::{
    ClientInfo, ConnectRequest, ConnectResponse, Create2Response, CreateResponse, ErrorCode, EventType, Id, JuteError,
    Op, Reader, Record, ReplyHeader, Request, RequestHeader, Secret, SetWatches2Request, WatchMode, WatcherEvent,
    WatcherType, Writer, perms, xid,
};

use super::change::{Happening, Transaction};
use super::create::Creation;
use super::effect::{ConnectionId, Effect, Now};
use super::read::Reading;
use super::sessions::Sessions;
use super::tree::{Acls, Tree, split};
use super::watches::{Mode, Table, Watches};
use super::{Options, access, digest, multi};

/// The state that a notification tells: connected.
const SYNC_CONNECTED: i32 = 3;
/// As whom one connection may authenticate; every request is judged by each.
const IDENTITIES_MAX: usize = 64;
/// What older servers put in the place of a notification's zxid.
const NO_ZXID: i64 = -1;

/// One connection.
struct Peer {
    server: usize,
    address: SocketAddr,
    /// Absent until its first packet.
    session: Option<i64>,
    /// Its address, and what it proved since.
    identities: Vec<Id>,
}

/// Counted since the start.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub received: u64,
    pub sent: u64,
}

pub(super) struct Machine {
    zxids_in_notifications: bool,
    timeouts: (Duration, Duration),
    /// What sessions' passwords are made of.
    secret: [u8; 16],
    tree: Tree,
    sessions: Sessions,
    watches: Watches,
    peers: HashMap<ConnectionId, Peer>,
    zxid: i64,
    counts: Counts,
}

/// An answer's body, or its error.
type Answer = Result<Vec<u8>, ErrorCode>;

impl Machine {
    pub fn new(options: &Options, secret: [u8; 16]) -> Self {
        Self {
            zxids_in_notifications: options.zxids_in_notifications,
            timeouts: (options.session_timeout_min, options.session_timeout_max.max(options.session_timeout_min)),
            secret,
            tree: Tree::new(),
            sessions: Sessions::default(),
            watches: Watches::default(),
            peers: HashMap::new(),
            zxid: 0,
            counts: Counts::default(),
        }
    }

    pub fn zxid(&self) -> i64 {
        self.zxid
    }

    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    pub fn connections_len(&self) -> usize {
        self.peers.len()
    }

    /// The clients of one server: their addresses, and their sessions with their timeouts.
    pub fn clients(&self, server: usize) -> impl Iterator<Item = (SocketAddr, Option<(i64, Duration)>)> {
        self.peers.values().filter(move |peer| peer.server == server).map(|peer| {
            let session = peer.session.and_then(|id| Some((id, self.sessions.timeout(id)?)));
            (peer.address, session)
        })
    }

    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    pub fn watches_len(&self) -> usize {
        self.watches.len()
    }

    /// A client has connected to a server, by its index.
    pub fn open(&mut self, connection: ConnectionId, server: usize, address: SocketAddr) {
        let identities = vec![Id::new("ip", &address.ip().to_string())];
        self.peers.insert(connection, Peer { server, address, session: None, identities });
    }

    /// A connection is gone, from whichever side. Its session is not.
    pub fn closed(&mut self, connection: ConnectionId) {
        self.watches.forget(connection);
        let session = self.peers.remove(&connection).and_then(|peer| peer.session);
        if let Some(session) = session.and_then(|session| self.sessions.get_mut(session))
            && session.connection == Some(connection)
        {
            session.connection = None;
        }
    }

    /// A packet has come, without its length. What is no request ends its connection.
    pub fn packet(&mut self, from: ConnectionId, packet: &[u8], now: Now, out: &mut Vec<Effect>) {
        self.counts.received += 1;
        let before = out.len();
        // A connection that is being closed is not listened to.
        let Some(peer) = self.peers.get(&from) else { return };
        let done = match peer.session {
            None => ConnectRequest::from_bytes(packet).map(|request| self.connect(from, &request, now, out)),
            Some(session) => self.request(from, session, packet, now, out),
        };
        if done.is_err() {
            self.close(from, out);
        }
        self.counts.sent += (out.len() - before) as u64;
    }

    /// Time has passed: sessions of which nothing was heard are over.
    pub fn tick(&mut self, now: Now, out: &mut Vec<Effect>) {
        for session in self.sessions.overdue(now) {
            self.expire(session, now, out);
        }
    }

    /// Deletes emptied containers and outlived TTL znodes, each in a transaction of its own.
    pub fn clean(&mut self, now: Now, out: &mut Vec<Effect>) {
        for path in self.tree.outlived(now.wall_ms) {
            self.by_server(now, out, |transaction| transaction.remove(&path));
        }
    }

    /// Ends a session as if nothing had been heard of it for too long. Whether there was one.
    pub fn expire(&mut self, session: i64, now: Now, out: &mut Vec<Effect>) -> bool {
        let Some(connection) = self.sessions.get_mut(session).map(|session| session.connection) else { return false };
        self.end_session(session, now, out);
        if let Some(connection) = connection {
            self.close(connection, out);
        }
        true
    }

    fn connect(&mut self, from: ConnectionId, request: &ConnectRequest, now: Now, out: &mut Vec<Effect>) {
        // It has seen what is not yet known here: real servers hang up, so that it tries another one.
        if request.last_zxid_seen > self.zxid {
            return self.close(from, out);
        }
        let asked = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
        let timeout = asked.clamp(self.timeouts.0, self.timeouts.1);
        let id = match request.session_id {
            0 => {
                self.zxid += 1;
                Some(self.sessions.open(from, timeout, now))
            }
            id if self.reattach(id, &request.password, from, timeout, now, out) => Some(id),
            _ => None,
        };
        let response = ConnectResponse {
            protocol_version: 0,
            timeout_ms: id.map_or(0, |_| i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX)),
            session_id: id.unwrap_or(0),
            password: Secret(id.map_or([0; 16], |id| self.password(id)).to_vec()),
            read_only: request.read_only.map(|_| false),
        };
        out.push(Effect::Send(from, response.to_bytes()));
        match (id, self.peers.get_mut(&from)) {
            (Some(id), Some(peer)) => peer.session = Some(id),
            _ => self.close(from, out),
        }
    }

    /// Gives a session to another connection, if it is alive and the password its own.
    fn reattach(
        &mut self,
        id: i64,
        password: &Secret,
        to: ConnectionId,
        timeout: Duration,
        now: Now,
        out: &mut Vec<Effect>,
    ) -> bool {
        if password.0 != self.password(id) {
            return false;
        }
        let Some(session) = self.sessions.get_mut(id) else { return false };
        session.timeout = timeout;
        let old = session.connection.replace(to);
        self.sessions.touch(id, now);
        if let Some(old) = old {
            self.close(old, out);
        }
        true
    }

    fn request(
        &mut self,
        from: ConnectionId,
        session: i64,
        packet: &[u8],
        now: Now,
        out: &mut Vec<Effect>,
    ) -> Result<(), JuteError> {
        self.sessions.touch(session, now);
        let mut reader = Reader::new(packet);
        let header = RequestHeader::read(&mut reader)?;
        let answer = match Op::from_code(header.op) {
            None => Err(ErrorCode::Unimplemented),
            Some(op) => match Request::read(op, &mut reader) {
                Ok(Request::Auth(auth)) => {
                    let answer = self.authenticate(from, &auth.scheme, &auth.auth.0);
                    let failed = answer.is_err();
                    reply(from, header.xid, 0, answer, out);
                    if failed {
                        self.close(from, out);
                    }
                    return Ok(());
                }
                Ok(request) => self.answer(from, session, &request, now, out),
                Err(_) => Err(ErrorCode::MarshallingError),
            },
        };
        reply(from, header.xid, self.zxid, answer, out);
        if header.op == Op::CloseSession.code() {
            self.close(from, out);
        }
        Ok(())
    }

    fn answer(
        &mut self,
        from: ConnectionId,
        session: i64,
        request: &Request,
        now: Now,
        out: &mut Vec<Effect>,
    ) -> Answer {
        let identities = self.peers.get(&from).map(|peer| peer.identities.clone()).unwrap_or_default();
        let mut reading =
            Reading { tree: &self.tree, watches: &mut self.watches, identities: &identities, connection: from };
        match request {
            Request::Exists(request) => reading.exists(request).map(bytes),
            Request::GetData(request) => reading.data(request).map(bytes),
            Request::GetChildren(request) => reading.children(request).map(|found| bytes(found.children)),
            Request::GetChildren2(request) => reading.children(request).map(bytes),
            Request::GetAcl(request) => reading.acl(&request.path).map(bytes),
            Request::GetAllChildrenNumber(request) => reading.children_number(&request.path).map(bytes),
            Request::MultiRead(request) => Ok(bytes(reading.multi(request))),
            Request::Sync(request) => Ok(bytes(request.path.clone())),
            Request::Ping => Ok(Vec::new()),
            Request::GetEphemerals(request) => {
                let below = self.tree.ephemerals(session).filter(|path| path.starts_with(&request.path));
                Ok(bytes(below.map(str::to_owned).collect::<Vec<_>>()))
            }
            Request::WhoAmI => {
                let info = |id: &Id| ClientInfo {
                    scheme: id.scheme.clone(),
                    user: id.id.split(':').next().unwrap_or_default().to_owned(),
                };
                Ok(bytes(identities.iter().map(info).collect::<Vec<_>>()))
            }

            Request::SetWatches(request) => {
                let request = request.clone();
                let request = SetWatches2Request {
                    relative_zxid: request.relative_zxid,
                    data: request.data,
                    exist: request.exist,
                    child: request.child,
                    persistent: Vec::new(),
                    persistent_recursive: Vec::new(),
                };
                tell(from, reading.watch_again(&request), out);
                Ok(Vec::new())
            }
            Request::SetWatches2(request) => {
                tell(from, reading.watch_again(request), out);
                Ok(Vec::new())
            }
            Request::AddWatch(request) => {
                let mode = match WatchMode::from_code(request.mode).ok_or(ErrorCode::MarshallingError)? {
                    WatchMode::Persistent => Mode::Persistent,
                    WatchMode::PersistentRecursive => Mode::Recursive,
                };
                self.watches.add(&request.path, from, mode);
                Ok(bytes(ErrorCode::Ok.code()))
            }
            Request::CheckWatches(request) => {
                let kind = WatcherType::from_code(request.kind).ok_or(ErrorCode::MarshallingError)?;
                let there = self.watches.contains(&request.path, from, kind);
                if there { Ok(Vec::new()) } else { Err(ErrorCode::NoWatcher) }
            }
            Request::RemoveWatches(request) => {
                let kind = WatcherType::from_code(request.kind).ok_or(ErrorCode::MarshallingError)?;
                let there = self.watches.remove(&request.path, from, kind);
                if there { Ok(Vec::new()) } else { Err(ErrorCode::NoWatcher) }
            }

            Request::Create(op, request) => {
                let created = self.write(now, &identities, out, |transaction| {
                    transaction.create(&Creation::plain(*op, request, session)?)
                });
                created.map(|(path, stat)| match op {
                    Op::Create => bytes(CreateResponse { path }),
                    _ => bytes(Create2Response { path, stat }),
                })
            }
            Request::CreateTtl(request) => {
                let created =
                    self.write(now, &identities, out, |transaction| transaction.create(&Creation::with_ttl(request)?));
                created.map(|(path, stat)| bytes(Create2Response { path, stat }))
            }
            Request::Delete(request) => {
                let delete = |transaction: &mut Transaction<'_>| transaction.delete(&request.path, request.version);
                self.write(now, &identities, out, delete).map(bytes)
            }
            Request::SetData(request) => {
                let data = request.data.as_deref();
                let set = |transaction: &mut Transaction<'_>| transaction.set(&request.path, data, request.version);
                self.write(now, &identities, out, set).map(bytes)
            }
            Request::SetAcl(request) => {
                let set = |transaction: &mut Transaction<'_>| {
                    transaction.set_acl(&request.path, &request.acl, request.version)
                };
                self.write(now, &identities, out, set).map(bytes)
            }
            Request::Check(request) => {
                let check = |transaction: &mut Transaction<'_>| transaction.check(&request.path, request.version);
                self.write(now, &identities, out, check).map(bytes)
            }
            Request::Multi(request) => {
                let run = |transaction: &mut Transaction<'_>| multi::run(transaction, request, session);
                Ok(self.write(now, &identities, out, run).map_or_else(bytes, bytes))
            }
            Request::CloseSession => {
                self.end_session(session, now, out);
                Ok(Vec::new())
            }
            Request::Auth(_) | Request::Other(_) => Err(ErrorCode::Unimplemented),
        }
    }

    /// One transaction on behalf of a client. Where it fails nothing has changed, but a zxid is spent.
    fn write<T, E>(
        &mut self,
        now: Now,
        identities: &[Id],
        out: &mut Vec<Effect>,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.zxid += 1;
        let mut transaction = Transaction::new(&mut self.tree, self.zxid, now.wall_ms, identities);
        match work(&mut transaction) {
            Ok(done) => {
                let happenings = transaction.finish();
                self.notify(&happenings, out);
                Ok(done)
            }
            Err(error) => {
                transaction.roll_back();
                Err(error)
            }
        }
    }

    /// One transaction of the ensemble's own.
    fn by_server(&mut self, now: Now, out: &mut Vec<Effect>, work: impl FnOnce(&mut Transaction<'_>)) {
        let Ok(()) = self.write(now, &[], out, |transaction| {
            work(transaction);
            Ok::<(), std::convert::Infallible>(())
        });
    }

    /// Its ephemerals go in one transaction, by path.
    fn end_session(&mut self, session: i64, now: Now, out: &mut Vec<Effect>) {
        let paths: Vec<String> = self.tree.ephemerals(session).map(str::to_owned).collect();
        self.by_server(now, out, |transaction| paths.iter().for_each(|path| transaction.remove(path)));
        self.sessions.close(session);
    }

    fn authenticate(&mut self, from: ConnectionId, scheme: &str, auth: &[u8]) -> Answer {
        let Some(peer) = self.peers.get_mut(&from) else { return Err(ErrorCode::AuthFailed) };
        match scheme {
            // It is who its address says, whatever it says itself.
            "ip" => Ok(Vec::new()),
            "digest" => {
                let id = Id::new("digest", &digest::identity(&String::from_utf8_lossy(auth)));
                if peer.identities.contains(&id) {
                    return Ok(Vec::new());
                }
                if peer.identities.len() >= IDENTITIES_MAX {
                    return Err(ErrorCode::AuthFailed);
                }
                peer.identities.push(id);
                Ok(Vec::new())
            }
            _ => Err(ErrorCode::AuthFailed),
        }
    }

    fn notify(&mut self, happenings: &[Happening], out: &mut Vec<Effect>) {
        for happening in happenings {
            let seen = self.watches.trigger(Table::Data, &happening.path);
            self.send_event(seen.iter(), happening.kind, &happening.path, &happening.acl, out);
            if happening.kind == EventType::NodeDeleted {
                let more = self.watches.trigger(Table::Children, &happening.path);
                self.send_event(more.difference(&seen), happening.kind, &happening.path, &happening.acl, out);
            }
            if let Some(acl) = &happening.parent_acl
                && let Some((parent, _)) = split(&happening.path)
            {
                let seen = self.watches.trigger(Table::Children, parent);
                self.send_event(seen.iter(), EventType::NodeChildrenChanged, parent, acl, out);
            }
        }
    }

    /// Nobody hears of what he may not read, as from 3.8.4 and 3.9.2 on.
    fn send_event<'i>(
        &self,
        to: impl Iterator<Item = &'i ConnectionId>,
        kind: EventType,
        path: &str,
        acl: &Acls,
        out: &mut Vec<Effect>,
    ) {
        let zxid = if self.zxids_in_notifications { self.zxid } else { NO_ZXID };
        for connection in to {
            let identities = self.peers.get(connection).map(|peer| peer.identities.as_slice()).unwrap_or_default();
            if access::allows(acl, perms::READ, identities) {
                out.push(event(*connection, kind, path, zxid));
            }
        }
    }

    fn close(&mut self, connection: ConnectionId, out: &mut Vec<Effect>) {
        self.closed(connection);
        out.push(Effect::Close(connection));
    }

    fn password(&self, session: i64) -> [u8; 16] {
        let hash = Sha1::new().chain_update(self.secret).chain_update(session.to_be_bytes()).finalize();
        let mut password = [0; 16];
        password.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
        password
    }
}

fn bytes(record: impl Record) -> Vec<u8> {
    record.to_bytes()
}

/// Without a body where it is an error, as servers do.
fn reply(to: ConnectionId, xid: i32, zxid: i64, answer: Answer, out: &mut Vec<Effect>) {
    let (error, body) = match answer {
        Ok(body) => (ErrorCode::Ok, body),
        Err(error) => (error, Vec::new()),
    };
    let mut writer = Writer::new();
    ReplyHeader { xid, zxid, error: error.code() }.write(&mut writer);
    writer.raw(&body);
    out.push(Effect::Send(to, writer.into_bytes()));
}

fn event(to: ConnectionId, kind: EventType, path: &str, zxid: i64) -> Effect {
    let mut writer = Writer::new();
    ReplyHeader { xid: xid::NOTIFICATION, zxid, error: 0 }.write(&mut writer);
    WatcherEvent { kind: kind.code(), state: SYNC_CONNECTED, path: path.to_owned() }.write(&mut writer);
    Effect::Send(to, writer.into_bytes())
}

/// What a client missed belongs to no transaction in particular.
fn tell(to: ConnectionId, events: Vec<(EventType, String)>, out: &mut Vec<Effect>) {
    out.extend(events.into_iter().map(|(kind, path)| event(to, kind, &path, NO_ZXID)));
}
