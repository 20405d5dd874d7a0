use super::rows::Row;
use crate::zk::ChangeKind;

/// A znode's state while the changes of its path are folded into it. Its buffers are used again for the next path.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Znode {
    /// Whether the path exists.
    pub(crate) alive: bool,
    pub(crate) czxid: Option<i64>,
    pub(crate) mzxid: Option<i64>,
    pub(crate) pzxid: Option<i64>,
    pub(crate) ctime: Option<i64>,
    pub(crate) mtime: Option<i64>,
    pub(crate) version: Option<i32>,
    pub(crate) cversion: Option<i32>,
    pub(crate) aversion: Option<i32>,
    /// A sweep told of the ACL: it is no older than the row's position, but may be newer.
    pub(crate) loose_acl: bool,
    pub(crate) ephemeral_owner: i64,
    pub(crate) node_type: Text,
    pub(crate) num_children: i32,
    pub(crate) acl: Text,
    pub(crate) data: Value,
    pub(crate) data_length: Option<i32>,
    pub(crate) data_hash: Option<i64>,
    /// The last set that the snapshot holds: (mzxid, version). Rows at or before it say nothing new.
    pub(crate) held: Option<(i64, Option<i32>)>,
    /// A set was heard of after a gap, of which not even the version is known: a creation that a rescan found may stand
    /// behind it though it came before.
    pub(crate) loose_set: bool,
}

/// A text that may be unknown, in a buffer that is kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Text {
    known: bool,
    text: String,
}

impl Text {
    pub(crate) fn get(&self) -> Option<&str> {
        self.known.then_some(self.text.as_str())
    }

    pub(crate) fn set(&mut self, text: Option<&str>) {
        self.text.clear();
        self.known = text.is_some();
        self.text.push_str(text.unwrap_or_default());
    }
}

/// A value that may be unknown, in a buffer that is kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Value {
    known: bool,
    bytes: Vec<u8>,
}

impl Value {
    pub(crate) fn get(&self) -> Option<&[u8]> {
        self.known.then_some(self.bytes.as_slice())
    }

    pub(crate) fn set(&mut self, bytes: Option<&[u8]>) {
        self.bytes.clear();
        self.known = bytes.is_some();
        self.bytes.extend_from_slice(bytes.unwrap_or_default());
    }
}

/// What the creations and deletions of a znode's children did to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ChildDelta {
    pub(crate) events: i32,
    /// There are others of which it is not known whether they belong to this life.
    pub(crate) uncounted: bool,
    pub(crate) children: i32,
    /// The zxid of the last of them.
    pub(crate) pzxid: Option<i64>,
}

impl Znode {
    /// No znode at this path, of which nothing is known.
    pub(crate) fn clear(&mut self) {
        self.end();
        self.loose_set = false;
    }

    fn end(&mut self) {
        self.alive = false;
        self.held = None;
    }

    /// The life that a creation begins.
    fn begin(&mut self, row: Row<'_>) {
        self.alive = true;
        self.held = None;
        self.czxid = row.czxid().or(row.zxid());
        self.mzxid = row.zxid().or(row.czxid());
        self.pzxid = self.czxid;
        self.ctime = row.server_time();
        self.mtime = row.server_time();
        self.version = Some(0);
        self.cversion = Some(0);
        self.aversion = Some(0);
        self.loose_acl = false;
        self.num_children = 0;
        self.ephemeral_owner = row.ephemeral_owner();
        self.node_type.set(row.node_type());
        self.acl.set(row.acl());
        self.set_value(row);
    }

    fn set_value(&mut self, row: Row<'_>) {
        self.data.set(row.data());
        self.data_length = row.data_length();
        self.data_hash = row.data_hash();
    }

    /// A znode of which only its existence is known: a change of it is on record, but no creation.
    fn exists(&mut self, row: Row<'_>) {
        self.begin(row);
        self.czxid = row.czxid();
        self.mzxid = None;
        self.pzxid = None;
        self.ctime = None;
        self.mtime = None;
        self.version = None;
        self.cversion = None;
        self.aversion = None;
        self.loose_acl = false;
    }

    /// Folds in the next change of this path.
    pub(crate) fn apply(&mut self, row: Row<'_>) {
        // A later import may bring rows of lives that were over before this one began.
        if let (true, Some(life), Some(of)) = (self.alive, self.czxid, row.czxid())
            && of < life
        {
            return;
        }
        match row.kind() {
            Some(ChangeKind::Created) => {
                // The snapshot has it already: it was taken before this row was complete.
                let czxid = row.czxid().or(row.zxid());
                let again = self.held.is_some() && self.czxid.is_some() && (czxid.is_none() || czxid == self.czxid);
                if self.alive && again {
                    return;
                }
                self.begin(row);
                if row.source() != "rescan" {
                    self.loose_set = false;
                } else if self.loose_set {
                    self.version = None;
                    self.mzxid = None;
                    self.mtime = None;
                    self.data.set(None);
                    self.data_length = None;
                    self.data_hash = None;
                }
            }
            Some(ChangeKind::DataChanged) => {
                if !self.alive {
                    self.exists(row);
                }
                if self.holds(row) {
                    return;
                }
                self.describe(row);
                self.loose_set = row.version().is_none() && row.zxid().is_none();
                self.mzxid = row.zxid();
                self.mtime = row.server_time();
                self.version = row.version();
                self.set_value(row);
            }
            Some(ChangeKind::AclChanged) => {
                if !self.alive {
                    self.exists(row);
                }
                self.describe(row);
                self.aversion = row.aversion();
                self.loose_acl = row.zxid().is_none();
                self.acl.set(row.acl());
            }
            Some(ChangeKind::Deleted) => {
                self.end();
                self.loose_set &= row.source() == "rescan";
            }
            None => {}
        }
    }

    /// Takes over what a later row knows of the whole life.
    fn describe(&mut self, row: Row<'_>) {
        if self.czxid.is_none() {
            self.czxid = row.czxid();
        }
        if row.node_type().is_some() && self.node_type.get().is_none() {
            self.node_type.set(row.node_type());
        }
        if row.ephemeral_owner() != 0 {
            self.ephemeral_owner = row.ephemeral_owner();
        }
    }

    /// Whether the snapshot that the fold began with has this set already (it was imported later).
    fn holds(&self, row: Row<'_>) -> bool {
        match (self.held, row.zxid()) {
            (Some((mzxid, version)), Some(zxid)) => {
                zxid < mzxid
                    || (zxid == mzxid
                        && matches!((version, row.version()), (Some(held), Some(new)) if new.wrapping_sub(held) <= 0))
            }
            _ => false,
        }
    }

    pub(crate) fn add_children(&mut self, delta: ChildDelta) {
        self.num_children = self.num_children.saturating_add(delta.children).max(0);
        if delta.uncounted {
            self.cversion = None;
            self.pzxid = None;
            return;
        }
        if delta.events == 0 {
            return;
        }
        self.cversion = self.cversion.map(|cversion| cversion.wrapping_add(delta.events));
        self.pzxid = delta.pzxid;
    }
}
