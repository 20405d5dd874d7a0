use super::{Micros, Zxid};

/// A znode's Stat as a *client* sees it.
///
/// `cversion` is therefore `2 × creates − children`, rising by one with every creation and deletion of a child;
/// containers and TTL znodes show `ephemeral_owner` 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Stat {
    pub czxid: Zxid,
    pub mzxid: Zxid,
    pub pzxid: Zxid,
    pub ctime: Micros,
    pub mtime: Micros,
    pub version: i32,
    pub cversion: i32,
    pub aversion: i32,
    pub ephemeral_owner: i64,
    pub data_length: i32,
    pub num_children: i32,
}

impl Stat {
    /// The greatest zxid that this Stat proves to have been committed.
    pub fn newest_zxid(&self) -> Zxid {
        self.czxid.max(self.mzxid).max(self.pzxid)
    }
}
