//! One transaction: changes that happen together or not at all.
//!
//! Checks are made in the order in which servers make them, because the first that fails is the answer.

use crate::source::jute::{Acl, ErrorCode, EventType, Id, Stat, perms};
use crate::zk;

use super::access;
use super::create::Creation;
use super::tree::{Acls, Bond, Deleted, ParentBefore, Tree, Znode, split};

/// A change that watches may see.
pub(super) struct Happening {
    pub kind: EventType,
    pub path: String,
    /// Who may read it may hear of it.
    pub acl: Acls,
    /// The same of the parent, where its children changed.
    pub parent_acl: Option<Acls>,
}

enum Undo {
    Create(String, ParentBefore),
    Delete(String, Deleted),
    Set { path: String, data: Option<Vec<u8>>, version: i32, mzxid: i64, mtime_ms: i64 },
}

pub(super) struct Transaction<'a> {
    tree: &'a mut Tree,
    zxid: i64,
    time_ms: i64,
    identities: &'a [Id],
    undo: Vec<Undo>,
    happenings: Vec<Happening>,
}

impl<'a> Transaction<'a> {
    pub fn new(tree: &'a mut Tree, zxid: i64, time_ms: i64, identities: &'a [Id]) -> Self {
        Self { tree, zxid, time_ms, identities, undo: Vec::new(), happenings: Vec::new() }
    }

    /// What happened, in order.
    pub fn finish(self) -> Vec<Happening> {
        self.happenings
    }

    /// Takes everything back.
    pub fn roll_back(self) {
        for undo in self.undo.into_iter().rev() {
            match undo {
                Undo::Create(path, before) => self.tree.uncreate(&path, &before),
                Undo::Delete(path, deleted) => self.tree.undelete(&path, deleted),
                Undo::Set { path, data, version, mzxid, mtime_ms } => {
                    if let Some(znode) = self.tree.get_mut(&path) {
                        (znode.data, znode.version) = (data, version);
                        (znode.mzxid, znode.mtime_ms) = (mzxid, mtime_ms);
                    }
                }
            }
        }
    }

    /// The path as it was created, and the Stat.
    pub fn create(&mut self, creation: &Creation<'_>) -> Result<(String, Stat), ErrorCode> {
        let acl = access::fix(creation.acl, self.identities)?;
        let (parent_path, _) = split(creation.path).ok_or(ErrorCode::BadArguments)?;
        let parent = self.tree.get(parent_path).ok_or(ErrorCode::NoNode)?;
        self.permit(&parent.acl, perms::CREATE)?;
        let path = match creation.sequential {
            true => format!("{}{:010}", creation.path, parent.creates),
            false => creation.path.to_owned(),
        };
        valid(&path)?;
        if self.tree.get(&path).is_some() {
            return Err(ErrorCode::NodeExists);
        }
        if matches!(parent.bond, Bond::Session(_)) {
            return Err(ErrorCode::NoChildrenForEphemerals);
        }
        let parent_acl = parent.acl.clone();
        let znode = Znode {
            data: creation.data.map(<[u8]>::to_vec),
            acl: acl.clone(),
            bond: creation.bond,
            czxid: self.zxid,
            mzxid: self.zxid,
            pzxid: self.zxid,
            ctime_ms: self.time_ms,
            mtime_ms: self.time_ms,
            version: 0,
            aversion: 0,
            creates: 0,
            children: Default::default(),
        };
        let stat = znode.stat();
        let before = self.tree.insert(&path, znode).ok_or(ErrorCode::NoNode)?;
        self.undo.push(Undo::Create(path.clone(), before));
        let parent_acl = Some(parent_acl);
        self.happenings.push(Happening { kind: EventType::NodeCreated, path: path.clone(), acl, parent_acl });
        Ok((path, stat))
    }

    pub fn delete(&mut self, path: &str, version: i32) -> Result<(), ErrorCode> {
        let (parent_path, _) = split(path).ok_or(ErrorCode::BadArguments)?;
        if path.contains('\0') || Tree::is_special(path) {
            return Err(ErrorCode::BadArguments);
        }
        let parent = self.tree.get(parent_path).ok_or(ErrorCode::NoNode)?;
        self.permit(&parent.acl, perms::DELETE)?;
        let znode = self.tree.get(path).ok_or(ErrorCode::NoNode)?;
        expect(version, znode.version)?;
        if !znode.children.is_empty() {
            return Err(ErrorCode::NotEmpty);
        }
        self.remove(path);
        Ok(())
    }

    /// Deletes what the server itself wants gone. Nothing where it is gone already.
    pub fn remove(&mut self, path: &str) {
        let parent_acl = split(path).and_then(|(parent, _)| self.tree.get(parent)).map(|parent| parent.acl.clone());
        let Some(deleted) = self.tree.remove(path, self.zxid) else { return };
        let acl = deleted.znode.acl.clone();
        self.happenings.push(Happening { kind: EventType::NodeDeleted, path: path.to_owned(), acl, parent_acl });
        self.undo.push(Undo::Delete(path.to_owned(), deleted));
    }

    pub fn set(&mut self, path: &str, data: Option<&[u8]>, version: i32) -> Result<Stat, ErrorCode> {
        valid(path)?;
        let znode = self.tree.get(path).ok_or(ErrorCode::NoNode)?;
        self.permit(&znode.acl, perms::WRITE)?;
        expect(version, znode.version)?;
        let znode = self.tree.get_mut(path).ok_or(ErrorCode::NoNode)?;
        self.undo.push(Undo::Set {
            path: path.to_owned(),
            data: std::mem::replace(&mut znode.data, data.map(<[u8]>::to_vec)),
            version: znode.version,
            mzxid: znode.mzxid,
            mtime_ms: znode.mtime_ms,
        });
        znode.version = znode.version.wrapping_add(1);
        znode.mzxid = self.zxid;
        znode.mtime_ms = self.time_ms;
        let (acl, stat) = (znode.acl.clone(), znode.stat());
        let (kind, path) = (EventType::NodeDataChanged, path.to_owned());
        self.happenings.push(Happening { kind, path, acl, parent_acl: None });
        Ok(stat)
    }

    /// Never part of a multi, and no watch sees it.
    pub fn set_acl(&mut self, path: &str, acl: &[Acl], version: i32) -> Result<Stat, ErrorCode> {
        valid(path)?;
        let acl = access::fix(acl, self.identities)?;
        let znode = self.tree.get(path).ok_or(ErrorCode::NoNode)?;
        self.permit(&znode.acl, perms::ADMIN)?;
        expect(version, znode.aversion)?;
        let znode = self.tree.get_mut(path).ok_or(ErrorCode::NoNode)?;
        znode.acl = acl;
        znode.aversion = znode.aversion.wrapping_add(1);
        Ok(znode.stat())
    }

    pub fn check(&self, path: &str, version: i32) -> Result<(), ErrorCode> {
        valid(path)?;
        let znode = self.tree.get(path).ok_or(ErrorCode::NoNode)?;
        self.permit(&znode.acl, perms::READ)?;
        expect(version, znode.version)
    }

    fn permit(&self, acl: &[Acl], perms: i32) -> Result<(), ErrorCode> {
        if access::allows(acl, perms, self.identities) { Ok(()) } else { Err(ErrorCode::NoAuth) }
    }
}

fn valid(path: &str) -> Result<(), ErrorCode> {
    zk::validate(path).map_err(|_| ErrorCode::BadArguments)
}

fn expect(asked: i32, version: i32) -> Result<(), ErrorCode> {
    if asked == -1 || asked == version { Ok(()) } else { Err(ErrorCode::BadVersion) }
}
