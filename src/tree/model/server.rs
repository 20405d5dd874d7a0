//! The ensemble: znodes with the arithmetic of a real server's Stat, and the log of what truly happened.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{Operation, PATHS};
use crate::zk::{ChangeKind, Micros, Stat, Zxid, parent};

pub(crate) const CONFIG: &str = "/zookeeper/config";

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub stat: Stat,
    pub data: Bytes,
}

/// One thing that truly happened.
#[derive(Clone, Debug)]
pub(crate) struct Fact {
    pub zxid: Zxid,
    pub kind: ChangeKind,
    pub path: &'static str,
    pub czxid: Zxid,
    /// After it; of an acl_changed the aversion.
    pub version: i32,
    pub data: Bytes,
    pub time: Micros,
    pub owner: i64,
    /// Whether its event reached the client.
    pub delivered: bool,
}

#[derive(Debug)]
pub(crate) struct Server {
    pub nodes: BTreeMap<&'static str, Node>,
    pub log: Vec<Fact>,
    zxid: i64,
}

impl Server {
    pub(crate) fn new() -> Self {
        let mut nodes = BTreeMap::new();
        let stat = Stat { cversion: -1, num_children: 1, ..Stat::default() };
        nodes.insert("/", Node { stat, data: Bytes::new() });
        nodes.insert("/zookeeper", Node { stat: Stat { num_children: 1, ..Stat::default() }, data: Bytes::new() });
        let stat = Stat { version: -1, ..Stat::default() };
        nodes.insert(CONFIG, Node { stat, data: Bytes::from_static(b"config") });
        Self { nodes, log: Vec::new(), zxid: 0x1_0000_0000 }
    }

    pub(crate) fn forget_history(&mut self) {
        self.log.clear();
    }

    /// The last transaction's.
    pub(crate) fn zxid(&self) -> Zxid {
        Zxid(self.zxid)
    }

    /// Applies the operations that can be applied, at one zxid.
    pub(crate) fn commit(&mut self, operations: &[Operation]) {
        self.zxid += 1;
        let before = self.log.len();
        for operation in operations {
            match operation {
                Operation::Create(path, ephemeral) => self.create(PATHS[*path], *ephemeral),
                Operation::Set(path, value) => self.set(PATHS[*path], *value),
                Operation::Delete(path) => self.delete(PATHS[*path]),
                Operation::SetAcl(path) => self.set_acl(PATHS[*path]),
                Operation::Reconfigure => self.reconfigure(),
                Operation::CloseSession => {
                    let mine = |node: &Node| node.stat.ephemeral_owner != 0;
                    let paths: Vec<_> =
                        self.nodes.iter().filter(|(_, node)| mine(node)).map(|(path, _)| *path).collect();
                    for path in paths {
                        self.delete(path);
                    }
                }
            }
        }
        if self.log.len() == before {
            self.zxid -= 1;
        }
    }

    fn now(&self) -> Micros {
        Micros(self.zxid * 1_000)
    }

    fn log(&mut self, kind: ChangeKind, path: &'static str, node: &Node) {
        let version = if kind == ChangeKind::AclChanged { node.stat.aversion } else { node.stat.version };
        self.log.push(Fact {
            zxid: Zxid(self.zxid),
            kind,
            path,
            czxid: node.stat.czxid,
            version,
            data: node.data.clone(),
            time: self.now(),
            owner: node.stat.ephemeral_owner,
            delivered: false,
        });
    }

    fn touch_parent(&mut self, path: &str, children: i32) {
        let zxid = Zxid(self.zxid);
        if let Some(node) = parent(path).and_then(|parent| self.nodes.get_mut(parent)) {
            node.stat.cversion = node.stat.cversion.wrapping_add(1);
            node.stat.num_children += children;
            node.stat.pzxid = zxid;
        }
    }

    fn create(&mut self, path: &'static str, ephemeral: bool) {
        let Some(above) = parent(path).and_then(|parent| self.nodes.get(parent)) else { return };
        if above.stat.ephemeral_owner != 0 || self.nodes.contains_key(path) {
            return;
        }
        let (zxid, now) = (Zxid(self.zxid), self.now());
        let data = Bytes::from(format!("created at {zxid}"));
        let stat = Stat {
            czxid: zxid,
            mzxid: zxid,
            pzxid: zxid,
            ctime: now,
            mtime: now,
            ephemeral_owner: if ephemeral { 7 } else { 0 },
            data_length: data.len() as i32,
            ..Stat::default()
        };
        let node = Node { stat, data };
        self.log(ChangeKind::Created, path, &node);
        self.nodes.insert(path, node);
        self.touch_parent(path, 1);
    }

    fn set(&mut self, path: &'static str, value: u8) {
        let (zxid, now) = (Zxid(self.zxid), self.now());
        let Some(node) = self.nodes.get_mut(path) else { return };
        node.stat.version = node.stat.version.wrapping_add(1);
        node.stat.mzxid = zxid;
        node.stat.mtime = now;
        node.stat.data_length = 1;
        node.data = Bytes::from(vec![value]);
        let node = node.clone();
        self.log(ChangeKind::DataChanged, path, &node);
    }

    fn delete(&mut self, path: &'static str) {
        if self.nodes.get(path).is_none_or(|node| node.stat.num_children != 0) {
            return;
        }
        if let Some(node) = self.nodes.remove(path) {
            self.log(ChangeKind::Deleted, path, &node);
            self.touch_parent(path, -1);
        }
    }

    fn set_acl(&mut self, path: &'static str) {
        let Some(node) = self.nodes.get_mut(path) else { return };
        node.stat.aversion += 1;
        let node = node.clone();
        self.log(ChangeKind::AclChanged, path, &node);
    }

    fn reconfigure(&mut self) {
        let zxid = Zxid(self.zxid);
        let Some(node) = self.nodes.get_mut(CONFIG) else { return };
        if node.stat.mzxid == zxid {
            return;
        }
        node.stat.mzxid = zxid;
        node.data = Bytes::from(format!("config {zxid}"));
        node.stat.data_length = node.data.len() as i32;
        let node = node.clone();
        self.log(ChangeKind::DataChanged, CONFIG, &node);
    }
}
