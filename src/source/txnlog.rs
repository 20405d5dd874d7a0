//! The server's own files: what was committed, and by whom, without a loss.
//!
//! A server keeps its transactions in log segments (`log.<first zxid>`) and now and then writes all its znodes into a
//! snapshot (`snapshot.<zxid>`). [`Inputs`] finds them, and gives where to begin ([`Inputs::beginning`]) and every
//! transaction from there on ([`Inputs::transactions`]), also from the files of several servers at once: each transaction
//! once, in the order of the zxids, without what never was committed.
//!
//! Invariants:
//! - Nothing is held whole: buffers do not depend on the length of a file, and no bytes make one grow beyond a small
//!   multiple of what really is there.
//! - What is missing or unreadable is an item of the stream or an error, never silence. Counters of zxids rise by one
//!   within an epoch, so that a missing file shows. How far an epoch went that a later one follows cannot be seen: a
//!   missing file that ends exactly where an epoch does is not noticed.
//! - The end of the last epoch's log may hold proposals that are not committed. Only the ensemble knows. One server's log
//!   may also hold such an end of an earlier epoch, where the server was given a snapshot over it; only the others' logs
//!   tell then, or the hole that follows it.

use std::io::Read;
use std::path::PathBuf;

pub use self::error::{Corruption, TxnlogError};
pub use self::follow::{Followed, Follower};
pub use self::merge::{Hole, HoleCause, LogItem, ReadOptions, Transactions, Uncommitted};
pub use self::place::{Packing, Place};
pub use self::segment::{Ending, RawRecord, Segment, Skipped, Step};
pub use self::snapshot::Snapshot;
pub use self::transaction::{AclCache, Decoder};
use crate::zk::Zxid;

mod adler;
mod archive;
mod checked;
mod committed;
mod cursor;
mod error;
#[doc(hidden)]
pub mod exercise;
mod find;
mod follow;
mod merge;
mod place;
mod segment;
mod snappy;
mod snapshot;
#[cfg(test)]
mod tests;
mod transaction;
mod window;

/// The first transaction that there can be.
pub const FIRST: Zxid = Zxid(1);

/// A log segment that was found.
#[derive(Clone, Debug)]
pub struct SegmentFile {
    pub place: Place,
    /// By its name: its first transaction.
    pub first: Zxid,
}

/// A snapshot that was found.
#[derive(Clone, Debug)]
pub struct SnapshotFile {
    pub place: Place,
    /// By its name: every transaction up to this one is in it, and maybe some later ones. The log must be replayed from the
    /// next one on.
    pub zxid: Zxid,
}

/// A folder with the files of one server, or a part of them.
#[derive(Clone, Debug, Default)]
pub struct Server {
    /// As it was named; of a tar, `archive.tar:folder`.
    pub folder: String,
    /// By their first zxids.
    pub segments: Vec<SegmentFile>,
    /// By their zxids.
    pub snapshots: Vec<SnapshotFile>,
}

/// What there is to import.
#[derive(Clone, Debug)]
pub struct Inputs {
    servers: Vec<Server>,
}

/// Where a replay can begin.
#[derive(Debug)]
pub struct Beginning {
    pub start: Start,
    /// Snapshots that are not whole, with the reason: others were taken in their place.
    pub refused: Vec<TxnlogError>,
}

#[derive(Clone, Debug)]
pub enum Start {
    /// Read its znodes, then the transactions from [`SnapshotFile::zxid`] + 1 on.
    Snapshot(SnapshotFile),
    /// The logs have everything since the ensemble was empty: read the transactions from [`FIRST`] on.
    FirstTransaction,
    /// The logs begin later, and there is no snapshot.
    Nowhere,
}

impl Inputs {
    /// Finds log segments and snapshots: named themselves, in a server's dataDir or `version-2`, in a folder with several
    /// servers' copies, or in a tar of any of these (`.tar`, `.tar.gz`).
    ///
    /// # Errors
    /// [`TxnlogError::NothingFound`]; what cannot be read.
    pub fn find(paths: &[PathBuf]) -> Result<Self, TxnlogError> {
        let mut found = find::Found::default();
        for path in paths {
            found.add(path)?;
        }
        let servers = found.servers();
        if servers.is_empty() {
            let searched = paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
            return Err(TxnlogError::NothingFound { searched });
        }
        Ok(Self { servers })
    }

    /// By folder.
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// Of all servers, by zxid.
    pub fn snapshots(&self) -> Vec<&SnapshotFile> {
        let mut snapshots: Vec<_> = self.servers.iter().flat_map(|server| &server.snapshots).collect();
        snapshots.sort_by_key(|snapshot| snapshot.zxid);
        snapshots
    }

    /// The earliest place that a replay can begin at. Every snapshot that comes into question is read through, to know
    /// that it is whole.
    ///
    /// # Errors
    /// [`TxnlogError::Io`]. A snapshot that is not whole is none.
    pub fn beginning(&self) -> Result<Beginning, TxnlogError> {
        let mut refused = Vec::new();
        let first = self.servers.iter().flat_map(|server| &server.segments).map(|segment| segment.first).min();
        let from_nothing = first.is_some_and(|zxid| zxid.counter() <= 1 && zxid.epoch() <= 1);
        let snapshots = self.snapshots();
        let (followed, others): (Vec<_>, Vec<_>) =
            snapshots.into_iter().partition(|snapshot| self.has_after(snapshot.zxid));
        let later = |snapshot: &SnapshotFile| first.is_some_and(|first| snapshot.zxid >= first);
        // Where no log goes on from any snapshot, the newest is the best picture.
        for snapshot in followed.into_iter().chain(others.into_iter().rev()) {
            if from_nothing && later(snapshot) {
                break;
            }
            match snapshot.verify() {
                Ok(()) => return Ok(Beginning { start: Start::Snapshot(snapshot.clone()), refused }),
                Err(error @ TxnlogError::NotASnapshot { .. }) => refused.push(error),
                Err(error) => return Err(error),
            }
        }
        let start = if from_nothing { Start::FirstTransaction } else { Start::Nowhere };
        Ok(Beginning { start, refused })
    }

    /// Every transaction from this one on. Where there are several servers, the logs are read for the ends of epochs first.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn transactions(&self, from: Zxid, options: ReadOptions) -> Result<Transactions, TxnlogError> {
        Transactions::new(&self.servers, from, options)
    }

    /// Whether a log goes on behind this zxid, or none claims to.
    fn has_after(&self, zxid: Zxid) -> bool {
        let mut firsts =
            self.servers.iter().flat_map(|server| &server.segments).map(|segment| segment.first).peekable();
        if firsts.peek().is_none() {
            return true;
        }
        firsts.any(|first| first.0 <= zxid.0 + 1 || (first.counter() == 1 && first.epoch() > zxid.epoch()))
    }
}

impl Server {
    /// On disk; servers allocate log segments beforehand.
    pub fn bytes(&self) -> u64 {
        let segments = self.segments.iter().map(|segment| segment.place.bytes);
        segments.chain(self.snapshots.iter().map(|snapshot| snapshot.place.bytes)).sum()
    }

    /// The last transaction that its log has. Reads the last segment that has any.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn last(&self) -> Result<Option<Zxid>, TxnlogError> {
        for file in self.segments.iter().rev() {
            let mut segment = file.open(true)?;
            let mut last = None;
            loop {
                match segment.advance()? {
                    Step::Record => last = segment.record().map(|record| record.zxid).max(last),
                    Step::Skipped(_) => {}
                    Step::End(_) => break,
                }
            }
            if last.is_some() {
                return Ok(last);
            }
        }
        Ok(None)
    }

    /// The segments that may have transactions from this one on.
    fn from(&self, zxid: Zxid) -> &[SegmentFile] {
        let behind = self.segments.partition_point(|segment| segment.first <= zxid);
        self.segments.get(behind.saturating_sub(1)..).unwrap_or_default()
    }
}

impl SegmentFile {
    /// # Errors
    /// As [`Segment::open`].
    pub fn open(&self, skip_corrupt: bool) -> Result<Segment<Box<dyn Read + Send>>, TxnlogError> {
        let from = self.place.open().map_err(TxnlogError::io(&self.place.name))?;
        Segment::open(&self.place.name, from, skip_corrupt)
    }
}

impl SnapshotFile {
    /// # Errors
    /// As [`Snapshot::open`].
    pub fn open(&self) -> Result<Snapshot<Box<dyn Read + Send>>, TxnlogError> {
        let from = self.place.open().map_err(|error| match error.kind() {
            // Its packing's header is not whole.
            std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::InvalidData => {
                TxnlogError::NotASnapshot { file: self.place.name.to_string(), because: error.to_string() }
            }
            _ => TxnlogError::io(&self.place.name)(error),
        })?;
        Snapshot::open(&self.place.name, from)
    }

    /// Reads all of it.
    ///
    /// # Errors
    /// [`TxnlogError::NotASnapshot`] for one that is torn, unfinished or damaged.
    pub fn verify(&self) -> Result<(), TxnlogError> {
        self.open()?.try_for_each(|znode| znode.map(drop))
    }
}
