//! One snapshot, znode by znode.
//!
//! ```text
//! "ZKSN" · i32 2 · i64 dbid
//! i32 n · n × ( i64 session · i32 timeout )
//! i32 m · m × ( i64 key · vector of ACL )
//! ( path · data · i64 ACL key · Stat as persisted )*      the root's path is empty
//! "/"                                                    as a string: the end
//! seal · ( digest · seal )? · ( zxid · seal )?           i64 adler32 of all before it · "/"
//! ```
//!
//! The digest (i64 zxid, i32 version, i64 digest) is there from 3.6 on where the server keeps one, the zxid from 3.9 on.
//!
//! Snapshots are fuzzy: the server goes on while it writes one. The file's name tells the zxid up to which everything is
//! in it; some of what came later may be, too.

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;

use super::TxnlogError;
use super::adler::Adler32;
use super::checked::CheckedReader;
use super::transaction::AclCache;
use crate::source::jute::txn::{Acls, FileHeader, LOG_FORMAT_VERSION, SNAPSHOT_MAGIC, StatPersisted};
use crate::source::jute::{Reader, Record as _};
use crate::zk::{Acl, Micros, NodeType, PersistedZnode, SessionId, ZkPath, Zxid, acls_to_json, is_well_formed};

/// Of a value; `jute.maxbuffer` bounds it, 1 MiB unless somebody raised it.
pub const VALUE_BYTES_MAX: usize = 64 << 20;
const PATH_BYTES_MAX: usize = 1 << 20;
const ACL_BYTES_MAX: usize = 1 << 20;
/// Sessions and ACLs are held in memory.
const SESSIONS_MAX: usize = 4_000_000;
const ACLS_MAX: usize = 1_000_000;
const ACL_TEXT_BYTES_MAX: usize = 256 << 20;
/// What may follow the znodes.
const TRAILER_BYTES_MAX: usize = 4_096;
/// A checksum and the string `/`.
const SEAL_BYTES: usize = 13;
const DIGEST_BYTES: usize = 20;
const ZXID_BYTES: usize = 8;
/// Everybody may do everything: not in the table.
const OPEN_ACL_KEY: i64 = -1;

/// Reads a snapshot from its beginning; the znodes one by one, parents before their children, with a buffer that does not
/// depend on its length.
///
/// That it is whole is known at its end: the last item is an error where it is not.
#[derive(Debug)]
pub struct Snapshot<R> {
    file: String,
    from: CheckedReader<R>,
    sessions: Vec<(SessionId, i32)>,
    acls: HashMap<i64, Arc<str>>,
    open_acl: Arc<str>,
    done: bool,
    zxid: Option<Zxid>,
}

impl<R: Read> Snapshot<R> {
    /// Reads all that comes before the znodes. `file` is its name in errors.
    ///
    /// # Errors
    /// [`TxnlogError::NotASnapshot`], also of one that is torn; [`TxnlogError::Io`].
    pub fn open(file: &str, from: R) -> Result<Self, TxnlogError> {
        let mut snapshot = Self {
            file: file.to_owned(),
            from: CheckedReader::new(from),
            sessions: Vec::new(),
            acls: HashMap::new(),
            open_acl: acls_to_json(&[Acl::new(31, "world", "anyone")]).into(),
            done: false,
            zxid: None,
        };
        snapshot.header().map_err(|error| snapshot.error(error))?;
        Ok(snapshot)
    }

    pub fn file(&self) -> &str {
        &self.file
    }

    /// The sessions that were open, with their timeouts in milliseconds.
    pub fn sessions(&self) -> &[(SessionId, i32)] {
        &self.sessions
    }

    /// Known at the end, from 3.9 on: nothing later is in the snapshot.
    pub fn last_zxid(&self) -> Option<Zxid> {
        self.zxid
    }

    /// How many bytes, unpacked, were read so far.
    pub fn offset(&self) -> u64 {
        self.from.offset()
    }

    /// How many bytes of memory the buffer takes.
    pub fn capacity(&self) -> usize {
        self.from.capacity()
    }

    fn error(&self, error: io::Error) -> TxnlogError {
        let because = match error.kind() {
            io::ErrorKind::UnexpectedEof => format!("it ends at byte {}, unfinished", self.from.offset()),
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::Other => {
                format!("at byte {}: {error}", self.from.offset())
            }
            _ => return TxnlogError::Io { file: self.file.clone(), error },
        };
        TxnlogError::NotASnapshot { file: self.file.clone(), because }
    }

    fn header(&mut self) -> io::Result<()> {
        let header = self.from.take(16, |bytes| FileHeader::from_bytes(bytes).ok())?;
        match header {
            Some(FileHeader { magic: SNAPSHOT_MAGIC, version: LOG_FORMAT_VERSION, .. }) => {}
            Some(FileHeader { magic: SNAPSHOT_MAGIC, version, .. }) => {
                return Err(invalid(format!("its format version is {version}, not {LOG_FORMAT_VERSION}")));
            }
            _ => return Err(invalid("it does not begin with ZKSN")),
        }
        for _ in 0..bounded(self.from.int()?, SESSIONS_MAX, "sessions")? {
            let session = (SessionId(self.from.long()?), self.from.int()?);
            self.sessions.push(session);
        }
        let mut cache = AclCache::default();
        let mut text_bytes = 0;
        for _ in 0..bounded(self.from.int()?, ACLS_MAX, "ACLs")? {
            let key = self.from.long()?;
            let json = self.acl(&mut cache)?;
            text_bytes += json.len();
            if text_bytes > ACL_TEXT_BYTES_MAX {
                return Err(invalid("its ACLs are too long to be held in memory"));
            }
            self.acls.insert(key, json);
        }
        Ok(())
    }

    /// A list of entries, gathered because a stream shows only so much at a time.
    fn acl(&mut self, cache: &mut AclCache) -> io::Result<Arc<str>> {
        let count = self.from.int()?;
        let mut bytes = count.to_be_bytes().to_vec();
        for _ in 0..count {
            bytes.extend(self.from.int()?.to_be_bytes());
            for _ in 0..2 {
                let text = self.from.buffer(ACL_BYTES_MAX, <[u8]>::to_vec)?.unwrap_or_default();
                bytes.extend((text.len() as i32).to_be_bytes());
                bytes.extend(text);
            }
            if bytes.len() > ACL_BYTES_MAX {
                return Err(invalid("an ACL is longer than it can be"));
            }
        }
        let acls = Acls::read(&mut Reader::new(&bytes)).map_err(io::Error::other)?;
        Ok(cache.json(&acls))
    }

    /// `None` behind the last.
    fn znode(&mut self) -> io::Result<Option<PersistedZnode>> {
        let path = self.from.buffer(PATH_BYTES_MAX, |bytes| str::from_utf8(bytes).ok().map(ZkPath::from))?;
        let path = match path {
            Some(Some(path)) if &*path == "/" => {
                self.trailer()?;
                return Ok(None);
            }
            None => ZkPath::from("/"),
            Some(Some(path)) if path.is_empty() => ZkPath::from("/"),
            Some(Some(path)) if is_well_formed(&path) => path,
            Some(Some(path)) => return Err(invalid(format!("{path:?} is no path"))),
            Some(None) => return Err(invalid("a path is not UTF-8")),
        };
        let data = self.from.buffer(VALUE_BYTES_MAX, Bytes::copy_from_slice)?;
        let key = self.from.long()?;
        let stat = self.from.take(StatPersisted::BYTES_MIN, StatPersisted::from_bytes)?.map_err(io::Error::other)?;
        let acl = if key == OPEN_ACL_KEY { Some(&self.open_acl) } else { self.acls.get(&key) };
        let (node_type, ephemeral_owner) = owner(stat.ephemeral_owner);
        Ok(Some(PersistedZnode {
            path,
            data,
            acl: acl.map(Arc::clone),
            czxid: Zxid(stat.czxid),
            mzxid: Zxid(stat.mzxid),
            pzxid: Zxid(stat.pzxid),
            ctime: Micros::from_millis(stat.ctime),
            mtime: Micros::from_millis(stat.mtime),
            version: stat.version,
            creations: stat.cversion,
            aversion: stat.aversion,
            ephemeral_owner,
            node_type,
        }))
    }

    /// Every seal that is there must fit.
    fn trailer(&mut self) -> io::Result<()> {
        let sum = self.from.sum();
        let bytes = self.from.rest(TRAILER_BYTES_MAX)?;
        let digest_and_zxid = [DIGEST_BYTES, ZXID_BYTES].as_slice();
        let parts = match bytes.len().checked_sub(SEAL_BYTES) {
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
            Some(0) => &[],
            Some(rest) if rest == DIGEST_BYTES + SEAL_BYTES => &digest_and_zxid[..1],
            Some(rest) if rest == ZXID_BYTES + SEAL_BYTES => &digest_and_zxid[1..],
            Some(rest) if rest == DIGEST_BYTES + ZXID_BYTES + 2 * SEAL_BYTES => digest_and_zxid,
            // A form that is not known here: the last seal covers all before it.
            Some(rest) => {
                let (before, last) = bytes.split_at(rest);
                return check_seal(sum, before, last);
            }
        };
        let mut at = 0;
        for part in std::iter::once(&0).chain(parts) {
            let body = at + part;
            let seal = bytes.get(body..body + SEAL_BYTES).unwrap_or_default();
            check_seal(sum, &bytes[..body], seal)?;
            if *part == ZXID_BYTES {
                self.zxid = Reader::new(&bytes[at..]).long().ok().and_then(Zxid::from_wire);
            }
            at = body + SEAL_BYTES;
        }
        Ok(())
    }
}

impl<R: Read> Iterator for Snapshot<R> {
    type Item = Result<PersistedZnode, TxnlogError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let znode = self.znode();
        self.done = !matches!(znode, Ok(Some(_)));
        znode.map_err(|error| self.error(error)).transpose()
    }
}

/// `sum` is that of everything before `before`.
fn check_seal(mut sum: Adler32, before: &[u8], seal: &[u8]) -> io::Result<()> {
    sum.update(before);
    let mut from = Reader::new(seal);
    match (from.long(), from.string()) {
        (Ok(written), Ok("/")) if written == i64::from(sum.value()) => Ok(()),
        (Ok(_), Ok("/")) => Err(invalid("the checksum of what it holds is not the one that was written")),
        _ => Err(invalid("it is not sealed")),
    }
}

fn bounded(count: i32, max: usize, what: &str) -> io::Result<usize> {
    match usize::try_from(count) {
        Ok(count) if count <= max => Ok(count),
        _ => Err(invalid(format!("{count} {what} cannot be"))),
    }
}

fn invalid(because: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, because)
}

/// What the server keeps in place of an owner: the high bit alone of a container, 0xff, 0 0 and the time to live of a TTL
/// znode. (A session's id has 0xff in front only where a server's id is 255, which servers with TTL znodes refuse.)
pub fn owner(raw: i64) -> (NodeType, i64) {
    const TTL_BITS: u64 = 0xffff_ff00_0000_0000;
    const TTL: u64 = 0xff00_0000_0000_0000;
    match raw as u64 {
        0 => (NodeType::Persistent, 0),
        0x8000_0000_0000_0000 => (NodeType::Container, 0),
        bits if bits & TTL_BITS == TTL => (NodeType::Ttl, 0),
        _ => (NodeType::Ephemeral, raw),
    }
}
