//! A live server's log, transaction by transaction, as far as it is known to be committed.
//!
//! What a server logs is a proposal at first. A leader change may take the end of the log back: the server truncates it,
//! or is given a snapshot over it and leaves it lying there. So a record is given only once it is *proved*:
//!
//! - a serving server has said that it has applied it, or a later one of the same epoch: within an epoch the log of
//!   whoever follows its leader is a prefix of what was committed;
//! - or the first transaction of a later epoch follows in the same log: this server was brought in step before that.
//!
//! What is neither is not read past: each time the file is read anew from there on, so that what was truncated and
//! written over is seen as it is now.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::find::{self, Kind};
use super::place::Packing;
use super::segment::{Segment, Step};
use super::transaction::{AclCache, Decoder};
use super::{Place, SegmentFile, TxnlogError};
use crate::zk::{Transaction, Zxid};

/// Epochs of which it is remembered how far they were committed.
const EPOCHS_MAX: usize = 1_024;

/// What a live log holds next.
#[derive(Clone, Debug, PartialEq)]
pub enum Followed {
    Transaction(Transaction),
    /// Nothing more that is written and proved: ask again later.
    NotYet,
    /// The log goes on at `next`, and what is between was never in it: the server was given a snapshot, or files were
    /// removed. The end of the log before it may never have been committed.
    Broken {
        after: Zxid,
        next: Zxid,
    },
}

/// Reads the `version-2` of one running server.
pub struct Follower {
    folder: PathBuf,
    /// The last that was given, or is not wanted.
    last: Zxid,
    at: Option<At>,
    /// By epoch, how far it is committed.
    committed: BTreeMap<i32, Zxid>,
    /// Everything in the log up to this one is committed: a later epoch follows it.
    followed_by_epoch: Zxid,
    acls: AclCache,
}

/// Whether a record is known to be committed.
enum Proof {
    Given,
    NotYet,
    /// The log goes on with another transaction than the next one.
    Never {
        next: Zxid,
    },
}

/// A place in a segment.
struct At {
    file: SegmentFile,
    segment: Segment<Box<dyn Read + Send>>,
    decoder: Decoder,
    /// Behind the last record that was given.
    offset: u64,
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower").field("folder", &self.folder).field("last", &self.last).finish_non_exhaustive()
    }
}

impl Follower {
    /// Will give what comes after this zxid.
    pub fn new(folder: &Path, after: Zxid) -> Self {
        Self {
            folder: folder.to_owned(),
            last: after,
            at: None,
            committed: BTreeMap::new(),
            followed_by_epoch: Zxid::default(),
            acls: AclCache::default(),
        }
    }

    /// The last that was given.
    pub fn last(&self) -> Zxid {
        self.last
    }

    /// A serving server has applied this transaction.
    pub fn is_committed(&mut self, zxid: Zxid) {
        let known = self.committed.entry(zxid.epoch()).or_default();
        *known = zxid.max(*known);
        while self.committed.len() > EPOCHS_MAX {
            self.committed.pop_first();
        }
    }

    /// The next transaction up to this zxid.
    ///
    /// # Errors
    /// What cannot be read; [`TxnlogError::Corrupt`] where what should be a record is none: nothing is gone over.
    pub fn next(&mut self, to: Zxid) -> Result<Followed, TxnlogError> {
        loop {
            let Some(zxid) = self.advance()? else { return Ok(Followed::NotYet) };
            if zxid <= self.last {
                // Before what is wanted, or a repeat of what the server had logged already.
                self.pass();
                continue;
            }
            if zxid > to {
                self.reread()?;
                return Ok(Followed::NotYet);
            }
            if !self.follows(zxid) {
                return Ok(Followed::Broken { after: self.last, next: zxid });
            }
            return match self.proof(zxid)? {
                Proof::Given => self.give().map(Followed::Transaction),
                Proof::NotYet => {
                    self.reread()?;
                    Ok(Followed::NotYet)
                }
                Proof::Never { next } => Ok(Followed::Broken { after: self.last, next }),
            };
        }
    }

    /// Whether nothing can be between the last transaction and this one.
    fn follows(&self, zxid: Zxid) -> bool {
        self.is_next(self.last, zxid)
    }

    /// Whether one transaction is the next one of an ensemble's history after another, as far as the ensemble has told.
    fn is_next(&self, last: Zxid, next: Zxid) -> bool {
        let begins_epoch = next.epoch() > last.epoch() && next.counter() <= 1;
        next.0 == last.0 + 1 || (begins_epoch && !self.has_between(last, next))
    }

    /// Whether something that was committed lies between them.
    fn has_between(&self, last: Zxid, next: Zxid) -> bool {
        self.committed.values().any(|known| *known > last && *known < next && known.counter() > 0)
    }

    fn proof(&mut self, zxid: Zxid) -> Result<Proof, TxnlogError> {
        let said = self.committed.get(&zxid.epoch()).is_some_and(|known| zxid <= *known);
        if said || zxid <= self.followed_by_epoch {
            return Ok(Proof::Given);
        }
        if self.committed.last_key_value().is_none_or(|(epoch, _)| *epoch <= zxid.epoch()) {
            // Of the epoch that goes on: the ensemble will say.
            return Ok(Proof::NotYet);
        }
        self.look_ahead(zxid)
    }

    /// Looks for the first transaction of a later epoch behind this one.
    fn look_ahead(&mut self, zxid: Zxid) -> Result<Proof, TxnlogError> {
        let Some(at) = &self.at else { return Ok(Proof::NotYet) };
        let mut last = zxid;
        let mut files = vec![at.file.clone()];
        files.extend(self.segments()?.into_iter().filter(|file| file.first > at.file.first));
        let mut offset = at.offset;
        for file in files {
            let mut segment = open(&file)?;
            if offset > 0 {
                segment.reread(from(&file, offset)?, offset);
            }
            offset = 0;
            while segment.advance()? == Step::Record {
                let Some(next) = segment.record().map(|record| record.zxid).filter(|next| *next > last) else {
                    continue;
                };
                if !self.is_next(last, next) {
                    return Ok(Proof::Never { next });
                }
                if next.epoch() > zxid.epoch() {
                    self.followed_by_epoch = last;
                    return Ok(Proof::Given);
                }
                last = next;
            }
        }
        Ok(Proof::NotYet)
    }

    /// Goes to the next record; none where none is written yet.
    fn advance(&mut self) -> Result<Option<Zxid>, TxnlogError> {
        loop {
            if self.at.is_none() && !self.begin()? {
                return Ok(None);
            }
            let Some(at) = &mut self.at else { return Ok(None) };
            let step = match at.segment.advance() {
                // The server may have written between two of our reads, so that we saw what came later and not what came
                // before.
                Err(TxnlogError::Corrupt { .. }) => {
                    at.segment.reread(from(&at.file, at.offset)?, at.offset);
                    at.segment.advance()?
                }
                step => step?,
            };
            if step == Step::Record {
                return Ok(at.segment.record().map(|record| record.zxid));
            }
            // A server begins a segment when it is done with the one before: what is listed now is looked at after one
            // more look at this end.
            let first = at.file.first;
            let next = self.segments()?.into_iter().find(|file| file.first > first);
            self.reread()?;
            let Some(at) = &mut self.at else { return Ok(None) };
            if at.segment.advance()? == Step::Record {
                return Ok(at.segment.record().map(|record| record.zxid));
            }
            let next = next.map(At::begin).transpose()?;
            match next.filter(At::has_header) {
                Some(next) => self.at = Some(next),
                None => {
                    self.reread()?;
                    return Ok(None);
                }
            }
        }
    }

    /// Opens the segment that has what is wanted first; false where there is none.
    fn begin(&mut self) -> Result<bool, TxnlogError> {
        let segments = self.segments()?;
        let behind = segments.partition_point(|file| file.first.0 <= self.last.0 + 1);
        let Some(file) = segments.get(behind.saturating_sub(1)) else { return Ok(false) };
        self.at = Some(At::begin(file.clone())?).filter(At::has_header);
        Ok(self.at.is_some())
    }

    /// The log segments that are there now, by their first zxids.
    fn segments(&self) -> Result<Vec<SegmentFile>, TxnlogError> {
        let name = self.folder.to_string_lossy();
        let io = TxnlogError::io(&name);
        let mut segments = Vec::new();
        for entry in std::fs::read_dir(&self.folder).map_err(&io)? {
            let path = entry.map_err(&io)?.path();
            let kind = path.file_name().and_then(|name| name.to_str()).and_then(find::kind);
            let place = Place::file(&path, 0);
            if let Some(Kind::Log(first)) = kind
                && place.packing == Packing::Plain
            {
                segments.push(SegmentFile { place, first });
            }
        }
        segments.sort_by_key(|segment| segment.first);
        Ok(segments)
    }

    /// What was read ahead may be written over: forgets it.
    fn reread(&mut self) -> Result<(), TxnlogError> {
        if let Some(at) = &mut self.at {
            at.segment.reread(from(&at.file, at.offset)?, at.offset);
        }
        Ok(())
    }

    /// Goes behind the record.
    fn pass(&mut self) {
        if let Some(at) = &mut self.at {
            at.offset = at.segment.offset() + at.segment.record_bytes();
        }
    }

    fn give(&mut self) -> Result<Transaction, TxnlogError> {
        let Some(at) = &mut self.at else {
            return Err(TxnlogError::NotOurs { file: self.folder.to_string_lossy().into_owned() });
        };
        let (offset, payload) = match at.segment.record() {
            Some(record) => (record.offset, record.payload),
            None => (at.offset, &[][..]),
        };
        let transaction = at.decoder.decode(payload, &mut self.acls).map_err(|cause| TxnlogError::Corrupt {
            file: at.file.place.name.to_string(),
            offset,
            cause,
        })?;
        self.last = transaction.zxid;
        self.pass();
        Ok(transaction)
    }
}

impl At {
    fn begin(file: SegmentFile) -> Result<Self, TxnlogError> {
        let segment = open(&file)?;
        let offset = segment.offset();
        Ok(Self { file, segment, decoder: Decoder::default(), offset })
    }

    /// The server has just begun with a file that has none.
    fn has_header(&self) -> bool {
        self.segment.dbid().is_some()
    }
}

fn open(file: &SegmentFile) -> Result<Segment<Box<dyn Read + Send>>, TxnlogError> {
    file.open(false)
}

/// The file's bytes from this one on, as they are now.
fn from(file: &SegmentFile, offset: u64) -> Result<Box<dyn Read + Send>, TxnlogError> {
    let name: &Arc<str> = &file.place.name;
    Ok(Box::new(file.place.plain_from(offset).map_err(TxnlogError::io(name))?))
}
