use super::record::record;

record! {
    /// Whom an ACL entry speaks of, or who a client proved to be.
    #[derive(PartialOrd, Ord, Hash)]
    Id {
        scheme: String,
        id: String,
    }

    /// One entry of a znode's ACL.
    #[derive(Hash)]
    Acl {
        /// A union of [`perms`].
        perms: i32,
        id: Id,
    }
}

impl Id {
    pub fn new(scheme: &str, id: &str) -> Self {
        Self { scheme: scheme.to_owned(), id: id.to_owned() }
    }
}

/// The bits of [`Acl::perms`].
pub mod perms {
    pub const READ: i32 = 1;
    pub const WRITE: i32 = 2;
    pub const CREATE: i32 = 4;
    pub const DELETE: i32 = 8;
    pub const ADMIN: i32 = 16;
}

/// Every permission.
pub const PERMS_ALL: i32 = 31;

/// Scheme and id of the entry that gives a permission to everybody.
pub const ANYONE_ALL: (&str, &str) = ("world", "anyone");
