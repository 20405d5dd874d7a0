//! Answers that hold more than one field, or that are not the field itself: exists, setData and setACL answer a
//! [`Stat`], getChildren a vector of strings, sync a path, addWatch an int.

use super::record::record;
use super::{Acl, Buffer, Stat};

record! {
    /// create.
    CreateResponse {
        path: String,
    }

    /// create2, and the creations that only newer clients know.
    Create2Response {
        path: String,
        stat: Stat,
    }

    GetDataResponse {
        data: Buffer,
        stat: Stat,
    }

    GetAclResponse {
        acl: Vec<Acl>,
        stat: Stat,
    }

    GetChildren2Response {
        children: Vec<String>,
        stat: Stat,
    }

    /// One identity in the answer to whoAmI.
    ClientInfo {
        scheme: String,
        user: String,
    }
}
