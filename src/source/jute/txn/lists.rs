use std::borrow::Cow;
use std::fmt;

use crate::source::jute::{Acl, JuteError, Reader, Record, Writer};

/// A znode's ACL as it lies in the bytes: checked once, taken apart only where somebody looks.
///
/// Two that are equal byte for byte are one ACL, which makes the bytes a key for what was made of them.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Acls<'a>(&'a [u8]);

impl<'a> Acls<'a> {
    /// # Errors
    /// Says where the bytes stop being a list of ACL entries. Texts that are not UTF-8 are no error: Java writes
    /// characters beyond the basic plane in a way of its own.
    pub fn read(from: &mut Reader<'a>) -> Result<Self, JuteError> {
        let before = from.rest();
        // Permissions, scheme, id.
        for _ in 0..from.count(12)? {
            from.int()?;
            from.buffer()?;
            from.buffer()?;
        }
        Ok(Self(consumed(before, from)))
    }

    pub fn write(&self, to: &mut Writer) {
        to.raw(self.0);
    }

    /// The list as [`Acls::read`] reads it.
    pub fn encode(acls: &[Acl]) -> Vec<u8> {
        acls.to_vec().to_bytes()
    }

    pub fn as_bytes(&self) -> &'a [u8] {
        self.0
    }

    /// Permissions (a union of [`crate::source::jute::perms`]), scheme and id of every entry. The id of the digest scheme
    /// holds a hash that nobody may see.
    pub fn iter(&self) -> impl Iterator<Item = (i32, Cow<'a, str>, Cow<'a, str>)> {
        let mut from = Reader::new(self.0);
        let count = from.count(12).unwrap_or(0);
        (0..count).map_while(move |_| {
            let perms = from.int().ok()?;
            let scheme = String::from_utf8_lossy(from.buffer().ok()?.unwrap_or_default());
            let id = String::from_utf8_lossy(from.buffer().ok()?.unwrap_or_default());
            Some((perms, scheme, id))
        })
    }
}

/// Shows no more than that there is one.
impl fmt::Debug for Acls<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an ACL of {} bytes", self.0.len())
    }
}

/// A list of paths as it lies in the bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Paths<'a>(&'a [u8]);

impl<'a> Paths<'a> {
    /// # Errors
    /// Says where the bytes stop being a list of strings.
    pub fn read(from: &mut Reader<'a>) -> Result<Self, JuteError> {
        let before = from.rest();
        for _ in 0..from.count(4)? {
            from.string()?;
        }
        Ok(Self(consumed(before, from)))
    }

    pub fn write(&self, to: &mut Writer) {
        to.raw(self.0);
    }

    /// The list as [`Paths::read`] reads it.
    pub fn encode(paths: &[String]) -> Vec<u8> {
        paths.to_vec().to_bytes()
    }

    pub fn iter(&self) -> impl Iterator<Item = &'a str> {
        let mut from = Reader::new(self.0);
        let count = from.count(4).unwrap_or(0);
        (0..count).map_while(move |_| from.string().ok())
    }
}

impl fmt::Debug for Paths<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

fn consumed<'a>(before: &'a [u8], from: &Reader<'a>) -> &'a [u8] {
    before.get(..before.len().saturating_sub(from.left())).unwrap_or_default()
}
