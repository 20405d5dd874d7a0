//! The connection: events at their commits, answers in the order of the reads and at random later moments.

use std::collections::VecDeque;

use super::server::Server;
use crate::zk::{
    Acl, AclOutcome, ChangeKind, ChildrenOutcome, Ended, Event, EventKind, Micros, Observation, ReadOutcome,
    ScanReason, StatOutcome, ZkPath, parent,
};

/// Who takes the stream.
pub(crate) trait Listener {
    /// Takes an observation; gives the reads that it wishes for.
    fn hear(&mut self, observation: Observation) -> Vec<Wish>;
}

#[derive(Debug)]
pub(crate) enum Wish {
    Acl(ZkPath),
    Again(ZkPath),
}

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
pub(crate) struct Connection<L> {
    pub listener: L,
    /// For each `ScanFinished`, in order: the number of facts until then.
    pub scans: Vec<usize>,
    zxids: bool,
    connected: bool,
    founded: bool,
    scanning: usize,
    told: usize,
    requests: VecDeque<Request>,
    next_event: u64,
    restarted: bool,
}

impl<L: Listener> Connection<L> {
    pub(crate) fn new(zxids: bool, listener: L) -> Self {
        Self {
            listener,
            scans: Vec::new(),
            zxids,
            connected: false,
            founded: false,
            scanning: 0,
            told: 0,
            requests: VecDeque::new(),
            next_event: 1,
            restarted: false,
        }
    }

    pub(crate) fn connect(&mut self, server: &mut Server, reason: ScanReason) {
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

    pub(crate) fn disconnect(&mut self) {
        if !self.connected {
            return;
        }
        self.connected = false;
        self.scanning = 0;
        self.requests.clear();
        self.feed(Observation::Disconnected { last_heard: Micros(1), ended: Ended::Disconnected });
    }

    /// Ends the agent, with a finished scan behind it; false where there is none. The listener is to be made anew.
    pub(crate) fn restart(&mut self) -> bool {
        if !self.is_listening() {
            return false;
        }
        self.disconnect();
        self.restarted = true;
        true
    }

    /// Whether the first scan, or the last, is done and everything since was sent.
    pub(crate) fn is_listening(&self) -> bool {
        self.connected && self.scanning == 0 && self.founded
    }

    /// Sends the events of what was committed.
    pub(crate) fn deliver(&mut self, server: &mut Server) {
        let mut events = Vec::new();
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
            events.push(Observation::Event(event));
        }
        self.told = server.log.len();
        for event in events {
            self.feed(event);
        }
    }

    pub(crate) fn sweep(&mut self, server: &Server) {
        if self.connected {
            self.requests.extend(server.nodes.keys().map(|path| Request::Acl((*path).into())));
        }
    }

    pub(crate) fn answer(&mut self, server: &Server, count: usize) {
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

    fn scanned(&mut self) {
        self.scanning -= 1;
        if self.scanning == 0 {
            self.scans.push(self.told);
            self.founded = true;
            self.feed(Observation::ScanFinished { heard_at: Micros(1) });
        }
    }

    fn feed(&mut self, observation: Observation) {
        for wish in self.listener.hear(observation) {
            self.requests.push_back(match wish {
                Wish::Acl(path) => Request::Acl(path),
                Wish::Again(path) => Request::Again(path),
            });
        }
    }
}
