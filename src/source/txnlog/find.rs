//! Which of what lies at a path are log segments and snapshots, and of which server.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::archive;
use super::place::{Packing, Place};
use super::segment::{Segment, Step};
use super::{SegmentFile, Server, SnapshotFile, TxnlogError};
use crate::source::jute::txn::LOG_MAGIC;
use crate::zk::Zxid;

/// How deep folders are looked through below a path that was named.
const DEPTH_MAX: usize = 8;

/// What a file's name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Its first transaction.
    Log(Zxid),
    /// Everything up to this one is in it.
    Snapshot(Zxid),
}

/// `log.<zxid in hex>` and `snapshot.<zxid in hex>`, packed or not. Anything else, a snapshot being written
/// (`snapshot.5.tmp`) as well as `acceptedEpoch`, is none of ours.
pub(super) fn kind(name: &str) -> Option<Kind> {
    let (_, stem) = Packing::of(name);
    let (prefix, digits) = stem.split_once('.')?;
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let zxid = Zxid(i64::from_str_radix(digits, 16).ok()?);
    match prefix {
        "log" => Some(Kind::Log(zxid)),
        "snapshot" => Some(Kind::Snapshot(zxid)),
        _ => None,
    }
}

/// Servers by the folder that their files are in.
#[derive(Debug, Default)]
pub(super) struct Found {
    servers: BTreeMap<String, Server>,
    /// The same file may be reached twice.
    seen: HashSet<PathBuf>,
}

impl Found {
    /// Takes in what a person named.
    pub(super) fn add(&mut self, path: &Path) -> Result<(), TxnlogError> {
        let metadata = fs::metadata(path).map_err(TxnlogError::io(&path.to_string_lossy()))?;
        if metadata.is_dir() { self.folder(path, 0) } else { self.named(path, metadata.len()) }
    }

    pub(super) fn servers(self) -> Vec<Server> {
        let mut servers: Vec<Server> = self.servers.into_values().collect();
        for server in &mut servers {
            server.segments.sort_by_key(|segment| segment.first);
            server.snapshots.sort_by_key(|snapshot| snapshot.zxid);
        }
        servers
    }

    pub(super) fn file(&mut self, folder: &str, kind: Kind, place: Place) {
        let server = self
            .servers
            .entry(folder.to_owned())
            .or_insert_with(|| Server { folder: folder.to_owned(), ..Server::default() });
        match kind {
            Kind::Log(first) => server.segments.push(SegmentFile { place, first }),
            Kind::Snapshot(zxid) => server.snapshots.push(SnapshotFile { place, zxid }),
        }
    }

    fn folder(&mut self, path: &Path, depth: usize) -> Result<(), TxnlogError> {
        let name = path.to_string_lossy();
        let io = TxnlogError::io(&name);
        if !self.seen.insert(fs::canonicalize(path).map_err(&io)?) {
            return Ok(());
        }
        let mut entries = Vec::new();
        for entry in fs::read_dir(path).map_err(&io)? {
            entries.push(entry.map_err(&io)?.path());
        }
        entries.sort();
        for entry in entries {
            let Some(name) = entry.file_name().and_then(|name| name.to_str()) else { continue };
            // Purged while we look, or a link that leads nowhere.
            let Ok(metadata) = fs::metadata(&entry) else { continue };
            if metadata.is_dir() {
                // Of the file system, and closed to most.
                if depth < DEPTH_MAX && name != "lost+found" {
                    self.folder(&entry, depth + 1)?;
                }
            } else if let Some(kind) = kind(name) {
                self.on_disk(&entry, kind, metadata.len())?;
            }
        }
        Ok(())
    }

    fn on_disk(&mut self, path: &Path, kind: Kind, bytes: u64) -> Result<(), TxnlogError> {
        let canonical = fs::canonicalize(path).map_err(TxnlogError::io(&path.to_string_lossy()))?;
        if self.seen.insert(canonical) {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            self.file(&folder.to_string_lossy(), kind, Place::file(path, bytes));
        }
        Ok(())
    }

    /// A file that was named itself: also a tar, and a log of another name.
    fn named(&mut self, path: &Path, bytes: u64) -> Result<(), TxnlogError> {
        let name = path.to_string_lossy();
        if let Some(kind) = path.file_name().and_then(|name| kind(name.to_str()?)) {
            return self.on_disk(path, kind, bytes);
        }
        let mut magic = Vec::new();
        let io = TxnlogError::io(&name);
        File::open(path).map_err(&io)?.take(4).read_to_end(&mut magic).map_err(&io)?;
        if magic == LOG_MAGIC.to_be_bytes() {
            let place = Place { packing: Packing::Plain, ..Place::file(path, bytes) };
            let mut segment = Segment::open(&name, place.open().map_err(&io)?, true)?;
            while let Step::Skipped(_) = segment.advance()? {}
            // A log without a record has nothing to say.
            return match segment.record() {
                Some(record) => self.on_disk(path, Kind::Log(record.zxid), bytes),
                None => Ok(()),
            };
        }
        if archive::is_tar(path)? {
            return archive::add(path, self);
        }
        Err(TxnlogError::NotOurs { file: name.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell() {
        assert_eq!(kind("log.1"), Some(Kind::Log(Zxid(1))));
        assert_eq!(kind("log.1a0000000b"), Some(Kind::Log(Zxid(0x1a_0000_000b))));
        assert_eq!(kind("log.5.gz"), Some(Kind::Log(Zxid(5))));
        assert_eq!(kind("snapshot.0"), Some(Kind::Snapshot(Zxid(0))));
        assert_eq!(kind("snapshot.ff.snappy"), Some(Kind::Snapshot(Zxid(0xff))));
        for other in [
            "acceptedEpoch",
            "currentEpoch",
            ".DS_Store",
            "._log.1",
            "snapshot.5.tmp",
            "log.1.fixed",
            "log.",
            "log.x",
            "log.-1",
            "log.+1",
            "snapshot.tmp",
            "myid",
            "updatingEpoch",
            "zookeeper.log",
            "log.1.gz.part",
            "log.ffffffffffffffff",
        ] {
            assert_eq!(kind(other), None, "{other}");
        }
    }
}
