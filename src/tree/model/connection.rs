//! The connection: events at their commits, answers in the order of the reads and at random later moments.

use std::collections::VecDeque;
use std::sync::Arc;

use super::server::Server;
use crate::tree::{Effect, Tree};
use crate::zk::{
    Acl, AclOutcome, Change, ChangeKind, ChildrenOutcome, Ended, Event, EventKind, Micros, Observation, ReadOutcome,
    ScanReason, Stat, StatOutcome, ZkPath, Zxid, parent,
};

#[derive(Debug)]
enum Request {
    Event(u64, ZkPath),
    Parent(u64, ZkPath),
    Scan(ZkPath),
    List(ZkPath),
    Again(ZkPath),
    Acl(ZkPath),
}

#[derive(Debug)]
pub(super) struct Connection {
    pub tree: Tree,
    pub effects: Vec<Effect>,
    /// For each `ScanFinished`, in order: the number of facts, and the greatest zxid before its gap.
    pub scans: Vec<(usize, Zxid)>,
    /// Everything that the tree was given, for the report of a failure.
    pub fed: Vec<Observation>,
    zxids: bool,
    connected: bool,
    founded: bool,
    scanning: usize,
    before_gap: Zxid,
    told: usize,
    requests: VecDeque<Request>,
    next_event: u64,
    restarted: bool,
}

impl Connection {
    pub(super) fn new(zxids: bool) -> Self {
        Self {
            tree: Tree::new("/".into(), 1),
            effects: Vec::new(),
            scans: Vec::new(),
            fed: Vec::new(),
            zxids,
            connected: false,
            founded: false,
            scanning: 0,
            before_gap: Zxid(0),
            told: 0,
            requests: VecDeque::new(),
            next_event: 1,
            restarted: false,
        }
    }

    pub(super) fn connect(&mut self, server: &mut Server, reason: ScanReason) {
        if self.connected {
            return;
        }
        self.told = server.log.len();
        self.connected = true;
        let reason = if self.restarted { ScanReason::Start } else { reason };
        let reason = if self.founded { reason } else { ScanReason::Bootstrap };
        self.restarted = false;
        self.feed(Observation::ScanStarted { reason, heard_at: Micros(1) });
        self.scanning = 1;
        self.requests.push_back(Request::Scan("/".into()));
    }

    pub(super) fn disconnect(&mut self) {
        if !self.connected {
            return;
        }
        self.connected = false;
        if self.scanning == 0 {
            self.before_gap = self.tree.greatest_zxid();
        }
        self.scanning = 0;
        self.requests.clear();
        self.feed(Observation::Disconnected { last_heard: Micros(1), ended: Ended::Disconnected });
    }

    /// Ends the agent and starts it from its own tree; only with a finished scan behind it.
    pub(super) fn restart(&mut self) {
        if !self.connected || self.scanning > 0 || !self.founded {
            return;
        }
        self.disconnect();
        let mut tree = Tree::new("/".into(), 1);
        for znode in self.tree.iter() {
            tree.restore(znode);
        }
        tree.restored(self.tree.greatest_zxid());
        self.tree = tree;
        self.restarted = true;
    }

    /// Sends the events of what was committed.
    pub(super) fn deliver(&mut self, server: &mut Server) {
        for fact in &mut server.log[self.told..] {
            if !self.connected || fact.kind == ChangeKind::AclChanged {
                continue;
            }
            fact.delivered = true;
            let path: ZkPath = fact.path.into();
            let zxid = self.zxids.then_some(fact.zxid);
            let id = self.next_event;
            self.next_event += 1;
            let (kind, request) = match fact.kind {
                ChangeKind::Created => (EventKind::Created, Some(Request::Event(id, path.clone()))),
                ChangeKind::Deleted if self.zxids => (EventKind::Deleted, None),
                ChangeKind::Deleted => {
                    (EventKind::Deleted, parent(&path).map(|parent| Request::Parent(id, parent.into())))
                }
                _ => (EventKind::DataChanged, Some(Request::Event(id, path.clone()))),
            };
            let read_follows = request.is_some();
            self.requests.extend(request);
            let event = Event { id, kind, path, zxid, heard_at: Micros(fact.time.0 + 1), read_follows };
            let observation = Observation::Event(event);
            self.fed.push(observation.clone());
            self.tree.apply(observation, &mut self.effects);
        }
        self.told = server.log.len();
    }

    pub(super) fn sweep(&mut self, server: &Server) {
        if self.connected {
            self.requests.extend(server.nodes.keys().map(|path| Request::Acl((*path).into())));
        }
    }

    pub(super) fn answer(&mut self, server: &Server, count: usize) {
        for _ in 0..count {
            let Some(request) = self.requests.pop_front() else { return };
            self.answer_one(server, request);
        }
    }

    fn answer_one(&mut self, server: &Server, request: Request) {
        let heard_at = Micros(server.log.last().map_or(2, |fact| fact.time.0 + 2));
        let held = |path: &ZkPath| server.nodes.get(&**path);
        let found = |path: &ZkPath| match held(path) {
            Some(node) => ReadOutcome::Found { stat: node.stat, data: node.data.clone() },
            None => ReadOutcome::NoNode,
        };
        match request {
            Request::Event(id, path) => {
                let outcome = found(&path);
                self.feed(Observation::Read { path, event: Some(id), heard_at, outcome });
            }
            Request::Again(path) => {
                let outcome = found(&path);
                self.feed(Observation::Read { path, event: None, heard_at, outcome });
            }
            Request::Parent(id, path) => {
                let outcome = held(&path).map_or(StatOutcome::NoNode, |node| StatOutcome::Found(node.stat));
                self.feed(Observation::Exists { path, event: Some(id), heard_at, outcome });
            }
            Request::Scan(path) => {
                if held(&path).is_some_and(|node| node.stat.num_children > 0) {
                    self.requests.push_back(Request::List(path.clone()));
                    self.scanning += 1;
                }
                let outcome = found(&path);
                self.feed(Observation::Read { path, event: None, heard_at, outcome });
                self.scanned();
            }
            Request::List(path) => {
                let outcome = match held(&path) {
                    Some(_) => {
                        let below = |child: &&&str| **child != "/" && parent(child) == Some(&*path);
                        let children: Vec<&str> = server.nodes.keys().filter(below).copied().collect();
                        self.scanning += children.len();
                        self.requests.extend(children.iter().map(|child| Request::Scan((*child).into())));
                        ChildrenOutcome::Found(
                            children.iter().rev().map(|child| crate::zk::name(child).into()).collect(),
                        )
                    }
                    None => ChildrenOutcome::NoNode,
                };
                self.feed(Observation::Children { path, heard_at, outcome });
                self.scanned();
            }
            Request::Acl(path) => {
                let outcome = match held(&path) {
                    Some(node) => {
                        let id = format!("acl {}", node.stat.aversion);
                        AclOutcome::Found { acls: vec![Acl::new(31, "world", &id)], stat: node.stat }
                    }
                    None => AclOutcome::NoNode,
                };
                self.feed(Observation::Acl { path, heard_at, outcome });
            }
        }
    }

    /// The run, to be read by people.
    pub(super) fn tell(&self) -> String {
        let fed = self.fed.iter().map(|observation| match observation {
            Observation::Event(event) => format!("{:?} {} {:?}", event.kind, event.path, event.zxid),
            Observation::Read { path, event, outcome: ReadOutcome::Found { stat, .. }, .. } => {
                let Stat { czxid, mzxid, version, cversion, .. } = stat;
                format!("read {path} {event:?} {czxid} {mzxid} version {version} cversion {cversion}")
            }
            other => format!("{other:?}"),
        });
        let effects = self.effects.iter().map(|effect| match effect {
            Effect::Change(row) => {
                let Change { kind, path, zxid, position, czxid, version, missed, source, .. } = row;
                format!("{kind:?} {path} {zxid:?} at {position} of {czxid:?}, {version:?}, missed {missed}, {source:?}")
            }
            Effect::Value { path, stat, .. } => format!("value {path} {} version {}", stat.mzxid, stat.version),
            other => format!("{other:?}"),
        });
        fed.chain(["gives".to_owned()]).chain(effects).collect::<Vec<_>>().join("\n")
    }

    fn scanned(&mut self) {
        self.scanning -= 1;
        if self.scanning == 0 {
            self.scans.push((self.told, self.before_gap));
            self.founded = true;
            self.feed(Observation::ScanFinished { heard_at: Micros(1) });
        }
    }

    fn feed(&mut self, observation: Observation) {
        let from = self.effects.len();
        self.fed.push(observation.clone());
        self.tree.apply(observation, &mut self.effects);
        for effect in &self.effects[from..] {
            match effect {
                Effect::ReadAcl(path) => self.requests.push_back(Request::Acl(Arc::clone(path))),
                Effect::Reread(path) => self.requests.push_back(Request::Again(Arc::clone(path))),
                _ => {}
            }
        }
    }
}
