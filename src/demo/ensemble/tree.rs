//! The znodes and the arithmetic of their Stats.

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use crate::source::jute::{ANYONE_ALL, Acl, Id, PERMS_ALL, Stat, perms};

/// What a znode's life hangs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bond {
    None,
    Session(i64),
    Container,
    TtlMs(i64),
}

pub(super) type Acls = Arc<[Acl]>;

#[derive(Clone, Debug)]
pub(super) struct Znode {
    pub data: Option<Vec<u8>>,
    pub acl: Acls,
    pub bond: Bond,
    pub czxid: i64,
    pub mzxid: i64,
    pub pzxid: i64,
    pub ctime_ms: i64,
    pub mtime_ms: i64,
    pub version: i32,
    pub aversion: i32,
    /// What servers keep as cversion: how often a child was created. It names sequential children.
    pub creates: i32,
    /// Names, without the path.
    pub children: BTreeSet<String>,
}

impl Znode {
    /// As a client sees it.
    pub fn stat(&self) -> Stat {
        let num_children = to_int(self.children.len());
        Stat {
            czxid: self.czxid,
            mzxid: self.mzxid,
            ctime: self.ctime_ms,
            mtime: self.mtime_ms,
            version: self.version,
            cversion: self.creates.wrapping_mul(2).wrapping_sub(num_children),
            aversion: self.aversion,
            ephemeral_owner: match self.bond {
                Bond::Session(session) => session,
                Bond::None | Bond::Container | Bond::TtlMs(_) => 0,
            },
            data_length: to_int(self.data.as_ref().map_or(0, Vec::len)),
            num_children,
            pzxid: self.pzxid,
        }
    }
}

fn to_int(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// What a deletion took, to be put back where its transaction fails.
pub(super) struct Deleted {
    pub znode: Znode,
    parent_pzxid: i64,
}

/// What a creation changed of its parent, to be put back where its transaction fails.
pub(super) struct ParentBefore {
    creates: i32,
    pzxid: i64,
}

pub(super) struct Tree {
    znodes: HashMap<String, Znode>,
    /// Session and path of every ephemeral.
    ephemerals: BTreeSet<(i64, String)>,
    /// Containers and TTL znodes.
    mortal: BTreeSet<String>,
}

pub(super) fn anyone(perms: i32) -> Acls {
    let (scheme, id) = ANYONE_ALL;
    Arc::from([Acl { perms, id: Id::new(scheme, id) }])
}

/// The parent's path and the last name. The parent of `/a` is `/`.
pub(super) fn split(path: &str) -> Option<(&str, &str)> {
    let (parent, name) = path.rsplit_once('/')?;
    Some((if parent.is_empty() { "/" } else { parent }, name))
}

impl Tree {
    /// The root and what servers have below `/zookeeper`.
    pub fn new() -> Self {
        let mut tree = Self { znodes: HashMap::new(), ephemerals: BTreeSet::new(), mortal: BTreeSet::new() };
        let fixed: [(&str, &[&str]); 4] = [
            ("/", &["zookeeper"]),
            ("/zookeeper", &["config", "quota"]),
            ("/zookeeper/config", &[]),
            ("/zookeeper/quota", &[]),
        ];
        for (path, children) in fixed {
            let config = path == "/zookeeper/config";
            let znode = Znode {
                data: Some(Vec::new()),
                acl: anyone(if config { perms::READ } else { PERMS_ALL }),
                bond: Bond::None,
                czxid: 0,
                mzxid: 0,
                pzxid: 0,
                ctime_ms: 0,
                mtime_ms: 0,
                version: 0,
                aversion: if config { -1 } else { 0 },
                creates: 0,
                children: children.iter().map(|child| (*child).to_owned()).collect(),
            };
            tree.znodes.insert(path.to_owned(), znode);
        }
        tree
    }

    /// What a server makes by itself is never deleted.
    pub fn is_special(path: &str) -> bool {
        matches!(path, "/" | "/zookeeper" | "/zookeeper/config" | "/zookeeper/quota")
    }

    pub fn get(&self, path: &str) -> Option<&Znode> {
        self.znodes.get(path)
    }

    pub fn get_mut(&mut self, path: &str) -> Option<&mut Znode> {
        self.znodes.get_mut(path)
    }

    pub fn len(&self) -> usize {
        self.znodes.len()
    }

    pub fn data_bytes(&self) -> usize {
        self.znodes.iter().map(|(path, znode)| path.len() + znode.data.as_ref().map_or(0, Vec::len)).sum()
    }

    pub fn ephemerals_len(&self) -> usize {
        self.ephemerals.len()
    }

    /// A session's ephemerals, by path.
    pub fn ephemerals(&self, session: i64) -> impl Iterator<Item = &str> {
        let from = Bound::Included((session, String::new()));
        let owned = self.ephemerals.range((from, Bound::Unbounded)).take_while(move |(owner, _)| *owner == session);
        owned.map(|(_, path)| path.as_str())
    }

    /// Containers that have lost their last child, and TTL znodes without children that nobody set for too long.
    pub fn outlived(&self, now_ms: i64) -> Vec<String> {
        let over = |path: &&String| {
            self.znodes.get(*path).is_some_and(|znode| {
                znode.children.is_empty()
                    && match znode.bond {
                        Bond::Container => znode.creates > 0,
                        Bond::TtlMs(ttl) => now_ms.saturating_sub(znode.mtime_ms) > ttl,
                        Bond::None | Bond::Session(_) => false,
                    }
            })
        };
        self.mortal.iter().filter(over).cloned().collect()
    }

    /// How many znodes are below this one.
    pub fn descendants(&self, path: &str) -> usize {
        let prefix = if path == "/" { "/".to_owned() } else { format!("{path}/") };
        self.znodes.keys().filter(|other| other.len() > prefix.len() && other.starts_with(&prefix)).count()
    }

    /// Adds a znode below its parent. `None`, and nothing is changed, where there is no parent.
    pub fn insert(&mut self, path: &str, znode: Znode) -> Option<ParentBefore> {
        let (parent, name) = split(path)?;
        let parent = self.znodes.get_mut(parent)?;
        let before = ParentBefore { creates: parent.creates, pzxid: parent.pzxid };
        parent.creates = parent.creates.wrapping_add(1);
        parent.pzxid = parent.pzxid.max(znode.czxid);
        parent.children.insert(name.to_owned());
        self.bind(path, znode.bond);
        self.znodes.insert(path.to_owned(), znode);
        Some(before)
    }

    /// Takes a znode away. `None`, and nothing is changed, where there is none.
    pub fn remove(&mut self, path: &str, zxid: i64) -> Option<Deleted> {
        let (parent, name) = split(path)?;
        let znode = self.znodes.remove(path)?;
        self.unbind(path, znode.bond);
        let mut parent_pzxid = 0;
        if let Some(parent) = self.znodes.get_mut(parent) {
            parent_pzxid = parent.pzxid;
            parent.pzxid = parent.pzxid.max(zxid);
            parent.children.remove(name);
        }
        Some(Deleted { znode, parent_pzxid })
    }

    /// As if the znode had never been created.
    pub fn uncreate(&mut self, path: &str, before: &ParentBefore) {
        if let Some(znode) = self.znodes.remove(path) {
            self.unbind(path, znode.bond);
        }
        if let Some((parent, name)) = split(path)
            && let Some(parent) = self.znodes.get_mut(parent)
        {
            parent.children.remove(name);
            parent.creates = before.creates;
            parent.pzxid = before.pzxid;
        }
    }

    /// As if the znode had never been deleted.
    pub fn undelete(&mut self, path: &str, deleted: Deleted) {
        if let Some((parent, name)) = split(path)
            && let Some(parent) = self.znodes.get_mut(parent)
        {
            parent.children.insert(name.to_owned());
            parent.pzxid = deleted.parent_pzxid;
        }
        self.bind(path, deleted.znode.bond);
        self.znodes.insert(path.to_owned(), deleted.znode);
    }

    fn bind(&mut self, path: &str, bond: Bond) {
        match bond {
            Bond::None => {}
            Bond::Session(session) => drop(self.ephemerals.insert((session, path.to_owned()))),
            Bond::Container | Bond::TtlMs(_) => drop(self.mortal.insert(path.to_owned())),
        }
    }

    fn unbind(&mut self, path: &str, bond: Bond) {
        match bond {
            Bond::None => {}
            Bond::Session(session) => drop(self.ephemerals.remove(&(session, path.to_owned()))),
            Bond::Container | Bond::TtlMs(_) => drop(self.mortal.remove(path)),
        }
    }
}
