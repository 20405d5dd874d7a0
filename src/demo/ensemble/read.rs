//! Requests that change nothing but watches.

use crate::source::jute::{
    Acl, ErrorCode, EventType, GetAclResponse, GetChildren2Response, GetDataResponse, Id, MultiRequest, MultiResponse,
    MultiResult, ReadRequest, Request, SetWatches2Request, Stat, perms,
};

use super::access;
use super::effect::ConnectionId;
use super::tree::{Tree, Znode};
use super::watches::{Mode, Table, Watches};

/// One multi-read answers with so many bytes of values and names, and one value more.
const MULTI_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The tree as somebody sees it.
pub(super) struct Reading<'a> {
    pub tree: &'a Tree,
    pub watches: &'a mut Watches,
    pub identities: &'a [Id],
    pub connection: ConnectionId,
}

impl Reading<'_> {
    /// A watch is left also where there is nothing yet.
    pub fn exists(&mut self, request: &ReadRequest) -> Result<Stat, ErrorCode> {
        if request.path.contains('\0') {
            return Err(ErrorCode::BadArguments);
        }
        if request.watch {
            self.watches.once(Table::Data, &request.path, self.connection);
        }
        self.tree.get(&request.path).map(Znode::stat).ok_or(ErrorCode::NoNode)
    }

    pub fn data(&mut self, request: &ReadRequest) -> Result<GetDataResponse, ErrorCode> {
        let znode = readable(self.tree, &request.path, self.identities)?;
        if request.watch {
            self.watches.once(Table::Data, &request.path, self.connection);
        }
        Ok(GetDataResponse { data: znode.data.clone(), stat: znode.stat() })
    }

    pub fn children(&mut self, request: &ReadRequest) -> Result<GetChildren2Response, ErrorCode> {
        let znode = readable(self.tree, &request.path, self.identities)?;
        if request.watch {
            self.watches.once(Table::Children, &request.path, self.connection);
        }
        Ok(GetChildren2Response { children: znode.children.iter().cloned().collect(), stat: znode.stat() })
    }

    pub fn acl(&self, path: &str) -> Result<GetAclResponse, ErrorCode> {
        let znode = self.tree.get(path).ok_or(ErrorCode::NoNode)?;
        permit(&znode.acl, perms::READ | perms::ADMIN, self.identities)?;
        Ok(GetAclResponse { acl: access::shown(&znode.acl, self.identities), stat: znode.stat() })
    }

    pub fn children_number(&self, path: &str) -> Result<i32, ErrorCode> {
        readable(self.tree, path, self.identities)?;
        Ok(i32::try_from(self.tree.descendants(path)).unwrap_or(i32::MAX))
    }

    /// Each part by itself: one that fails stops none. What would make the answer longer than [`MULTI_BYTES_MAX`] fails.
    pub fn multi(&mut self, request: &MultiRequest) -> MultiResponse {
        let mut left = MULTI_BYTES_MAX;
        let part = |part: &Request| match part {
            _ if left == 0 => Err(ErrorCode::SystemError),
            Request::GetData(request) => self.data(request).map(|found| {
                left = left.saturating_sub(found.data.as_ref().map_or(0, Vec::len));
                MultiResult::Data(found.data, found.stat)
            }),
            Request::GetChildren(request) => self.children(request).map(|found| {
                left = left.saturating_sub(found.children.iter().map(String::len).sum());
                MultiResult::Children(found.children)
            }),
            _ => Err(ErrorCode::Unimplemented),
        };
        let results = request.parts.iter().map(part);
        MultiResponse {
            results: results.map(|result| result.unwrap_or_else(|error| MultiResult::Failed(error.code()))).collect(),
        }
    }

    /// Leaves the watches of a client that is back; gives what those that are spent have to tell.
    pub fn watch_again(&mut self, request: &SetWatches2Request) -> Vec<(EventType, String)> {
        let mut tell = Vec::new();
        for path in &request.data {
            match self.tree.get(path) {
                None => tell.push((EventType::NodeDeleted, path.clone())),
                Some(znode) if znode.mzxid > request.relative_zxid => {
                    tell.push((EventType::NodeDataChanged, path.clone()));
                }
                Some(_) => self.watches.once(Table::Data, path, self.connection),
            }
        }
        for path in &request.exist {
            match self.tree.get(path) {
                Some(_) => tell.push((EventType::NodeCreated, path.clone())),
                None => self.watches.once(Table::Data, path, self.connection),
            }
        }
        for path in &request.child {
            match self.tree.get(path) {
                None => tell.push((EventType::NodeDeleted, path.clone())),
                Some(znode) if znode.pzxid > request.relative_zxid => {
                    tell.push((EventType::NodeChildrenChanged, path.clone()));
                }
                Some(_) => self.watches.once(Table::Children, path, self.connection),
            }
        }
        for path in &request.persistent {
            self.watches.add(path, self.connection, Mode::Persistent);
        }
        for path in &request.persistent_recursive {
            self.watches.add(path, self.connection, Mode::Recursive);
        }
        tell
    }
}

fn readable<'t>(tree: &'t Tree, path: &str, identities: &[Id]) -> Result<&'t Znode, ErrorCode> {
    let znode = tree.get(path).ok_or(ErrorCode::NoNode)?;
    permit(&znode.acl, perms::READ, identities)?;
    Ok(znode)
}

fn permit(acl: &[Acl], perms: i32, identities: &[Id]) -> Result<(), ErrorCode> {
    if access::allows(acl, perms, identities) { Ok(()) } else { Err(ErrorCode::NoAuth) }
}
