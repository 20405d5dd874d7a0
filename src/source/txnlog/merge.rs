//! Several servers' logs as one stream.

use std::collections::VecDeque;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::committed::{Testimony, uncommitted};
use super::cursor::{Cursor, Moved};
use super::segment::{Ending, Segment, Skipped, Step};
use super::transaction::{AclCache, Decoder};
use super::{Corruption, SegmentFile, Server, TxnlogError};
use crate::zk::{Transaction, Zxid};

/// Corrupt places that may explain a hole are remembered up to so many.
const TROUBLES_MAX: usize = 1_000;

/// How to read.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadOptions {
    /// Go over corrupt places and leave a [`Hole`], where no other server's log has what was there.
    pub skip_corrupt: bool,
}

/// What the logs hold next.
#[derive(Clone, Debug, PartialEq)]
pub enum LogItem {
    /// `bytes`: of its record.
    Transaction {
        transaction: Transaction,
        bytes: u64,
    },
    Hole(Hole),
    Uncommitted(Uncommitted),
    /// A record was begun at this byte and never finished: the end of this file.
    Torn {
        file: Arc<str>,
        offset: u64,
    },
}

/// Transactions that are missing, or may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hole {
    /// The first that is missing.
    pub from: Zxid,
    /// The last that can be missing; `None` at the end of all logs, where nobody knows how much there was.
    pub to: Option<Zxid>,
    pub cause: HoleCause,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HoleCause {
    /// A file is missing, or was never given to us.
    NoFile,
    Corrupt {
        file: Arc<str>,
        offset: u64,
        cause: Corruption,
    },
}

impl fmt::Display for HoleCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFile => f.write_str("no log has them"),
            Self::Corrupt { file, offset, cause } => write!(f, "{file}, byte {offset}: {cause}"),
        }
    }
}

/// Records of one server's log that were left out because they never were committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uncommitted {
    pub file: Arc<str>,
    pub from: Zxid,
    pub to: Zxid,
    pub records: u64,
}

/// The transactions of all servers in the order of their zxids, each once. An error ends it.
pub struct Transactions {
    options: ReadOptions,
    /// Not yet open, by their first zxid.
    pending: VecDeque<SegmentFile>,
    open: Vec<Cursor>,
    acls: AclCache,
    dropped: Vec<RangeInclusive<Zxid>>,
    /// Of snapshots: so far the history certainly went.
    reached: Vec<Zxid>,
    /// The first that is wanted.
    from: Zxid,
    /// The last that was given or whose absence was told; the one before the first at the beginning.
    last: Zxid,
    /// To be given before anything else.
    queue: VecDeque<LogItem>,
    uncommitted: Option<Uncommitted>,
    troubles: VecDeque<Trouble>,
    dbid: Option<(Arc<str>, i64)>,
    bytes_total: u64,
    bytes_done: u64,
    done: bool,
}

/// A corrupt place.
struct Trouble {
    file: Arc<str>,
    /// The record before it in its file.
    after: Zxid,
    /// The record behind it in its file; `None` while none has come.
    before: Option<Zxid>,
    cause: HoleCause,
}

impl Transactions {
    pub(super) fn new(servers: &[Server], from: Zxid, options: ReadOptions) -> Result<Self, TxnlogError> {
        let logs = servers.iter().filter(|server| !server.segments.is_empty()).count();
        let dropped = if logs > 1 {
            uncommitted(&servers.iter().map(testimony).collect::<Result<Vec<_>, _>>()?)
        } else {
            Vec::new()
        };
        let mut pending: Vec<SegmentFile> = servers.iter().flat_map(|server| server.from(from)).cloned().collect();
        pending.sort_by_key(|segment| segment.first);
        Ok(Self {
            options,
            bytes_total: pending.iter().map(|segment| segment.place.bytes).sum(),
            bytes_done: 0,
            pending: pending.into(),
            open: Vec::new(),
            acls: AclCache::default(),
            dropped,
            reached: servers.iter().flat_map(|server| &server.snapshots).map(|snapshot| snapshot.zxid).collect(),
            from,
            last: Zxid((from.0 - 1).max(0)),
            queue: VecDeque::new(),
            uncommitted: None,
            troubles: VecDeque::new(),
            dbid: None,
            done: false,
        })
    }

    /// How much of the files, on disk, was read, and how much there is.
    pub fn progress(&self) -> (u64, u64) {
        let open: u64 = self.open.iter().map(Cursor::bytes_done).sum();
        (self.bytes_done + open, self.bytes_total)
    }

    /// One step; `None` where it led to nothing that anybody wants.
    fn step(&mut self) -> Result<Option<LogItem>, TxnlogError> {
        self.advance_spent()?;
        let Some(zxid) = self.lowest()? else {
            self.done = true;
            self.end();
            return Ok(None);
        };
        let mut at_zxid = self.open.iter().enumerate().filter(|(_, cursor)| cursor.zxid == zxid);
        let Some((first, _)) = at_zxid.next() else { return Ok(None) };
        let others: Vec<usize> = at_zxid.map(|(other, _)| other).collect();
        for other in &others {
            self.compare(zxid, first, *other)?;
        }
        if zxid < self.from || zxid <= self.last {
            self.spend(zxid);
            return Ok(None);
        }
        if self.dropped.iter().any(|range| range.contains(&zxid)) {
            self.drop_uncommitted(zxid);
            self.spend(zxid);
            return Ok(None);
        }
        let Some((record, decoder)) = self.open.get_mut(first).and_then(Cursor::decodable) else { return Ok(None) };
        let bytes = record.payload.len() as u64;
        match decoder.decode(record.payload, &mut self.acls) {
            Ok(transaction) => {
                self.spend(zxid);
                self.notice_hole(zxid);
                self.last = zxid;
                Ok(Some(LogItem::Transaction { transaction, bytes }))
            }
            Err(error) => {
                for at in std::iter::once(first).chain(others).rev() {
                    let moved = self.open[at].refuse(error.clone())?;
                    self.moved(at, moved);
                }
                Ok(None)
            }
        }
    }

    fn spend(&mut self, zxid: Zxid) {
        self.open.iter_mut().filter(|cursor| cursor.zxid == zxid).for_each(|cursor| cursor.spent = true);
    }

    fn advance_spent(&mut self) -> Result<(), TxnlogError> {
        let mut at = 0;
        while at < self.open.len() {
            while self.open.get(at).is_some_and(|cursor| cursor.spent) {
                let moved = self.open[at].advance()?;
                if !self.moved(at, moved) {
                    break;
                }
            }
            // Where it ended, another one stands in its place.
            if self.open.get(at).is_none_or(|cursor| !cursor.spent) {
                at += 1;
            }
        }
        Ok(())
    }

    /// Takes in what a cursor came to; whether it is still there.
    fn moved(&mut self, at: usize, moved: Moved) -> bool {
        match moved {
            Moved::Record => {
                let cursor = &self.open[at];
                let unended = self.troubles.iter_mut().filter(|trouble| trouble.before.is_none());
                for trouble in unended.filter(|trouble| trouble.file == *cursor.name()) {
                    trouble.before = Some(cursor.zxid);
                }
                true
            }
            Moved::Skipped(Skipped { offset, cause, .. }) => {
                let cursor = &self.open[at];
                let cause = HoleCause::Corrupt { file: Arc::clone(cursor.name()), offset, cause };
                if self.troubles.len() == TROUBLES_MAX {
                    self.troubles.pop_front();
                }
                let file = Arc::clone(cursor.name());
                self.troubles.push_back(Trouble { file, after: cursor.passed(), before: None, cause });
                true
            }
            Moved::End(ending) => {
                let cursor = self.open.swap_remove(at);
                self.bytes_done += cursor.place.bytes;
                if let Ending::Torn { offset } = ending {
                    self.queue.push_back(LogItem::Torn { file: Arc::clone(cursor.name()), offset });
                }
                false
            }
        }
    }

    /// The least zxid that any log stands at, once every file is open that may have it.
    fn lowest(&mut self) -> Result<Option<Zxid>, TxnlogError> {
        loop {
            let lowest = self.open.iter().map(|cursor| cursor.zxid).min();
            match self.pending.front() {
                Some(next) if lowest.is_none_or(|zxid| next.first <= zxid) => {}
                _ => return Ok(lowest),
            }
            if let Some(file) = self.pending.pop_front() {
                self.open_file(&file)?;
            }
        }
    }

    fn open_file(&mut self, file: &SegmentFile) -> Result<(), TxnlogError> {
        let cursor = Cursor::open(file, self.options.skip_corrupt)?;
        match (&self.dbid, cursor.dbid()) {
            (Some((one, id)), Some(other_id)) if *id != other_id => {
                let (one, other) = (one.to_string(), cursor.name().to_string());
                return Err(TxnlogError::DifferentDatabases { one, id: *id, other, other_id });
            }
            (None, Some(id)) => self.dbid = Some((Arc::clone(cursor.name()), id)),
            _ => {}
        }
        self.open.push(cursor);
        let at = self.open.len() - 1;
        while self.open.get(at).is_some_and(|cursor| cursor.spent) {
            let moved = self.open[at].advance()?;
            self.moved(at, moved);
        }
        match self.open.get(at) {
            Some(cursor) if cursor.zxid < file.first => {
                let because = format!("its first record has zxid {}, before the one in its name", cursor.zxid);
                Err(TxnlogError::NotALog { file: cursor.name().to_string(), because })
            }
            _ => Ok(()),
        }
    }

    /// Two logs that both have this transaction must agree.
    fn compare(&self, zxid: Zxid, one: usize, other: usize) -> Result<(), TxnlogError> {
        let (Some(one), Some(other)) = (self.open.get(one), self.open.get(other)) else { return Ok(()) };
        match (one.record(), other.record()) {
            (Some(a), Some(b)) if !Decoder::is_same(a.payload, b.payload) => {
                let (one, other) = (one.name().to_string(), other.name().to_string());
                Err(TxnlogError::DifferentHistories { zxid, one, other })
            }
            _ => Ok(()),
        }
    }

    fn drop_uncommitted(&mut self, zxid: Zxid) {
        let Some(cursor) = self.open.iter().find(|cursor| cursor.zxid == zxid) else { return };
        match &mut self.uncommitted {
            Some(uncommitted) if uncommitted.file == *cursor.name() && uncommitted.to.epoch() == zxid.epoch() => {
                uncommitted.to = zxid;
                uncommitted.records += 1;
            }
            _ => {
                let file = Arc::clone(cursor.name());
                let before = self.uncommitted.replace(Uncommitted { file, from: zxid, to: zxid, records: 1 });
                self.queue.extend(before.map(LogItem::Uncommitted));
            }
        }
    }

    /// Before this transaction is given: what is missing between the last one and it.
    fn notice_hole(&mut self, zxid: Zxid) {
        self.queue.extend(self.uncommitted.take().map(LogItem::Uncommitted));
        let same_epoch = self.last.epoch() == zxid.epoch();
        // Counters rise by one within an epoch, and begin with one. How far the epoch before went only a snapshot may tell.
        let certain = if same_epoch {
            zxid.0 > self.last.0 + 1
        } else {
            let went_on = |reached: &Zxid| *reached > self.last && *reached < zxid && reached.counter() > 0;
            zxid.counter() > 1 || self.reached.iter().any(went_on)
        };
        let explains = |trouble: &Trouble| {
            let overlaps = trouble.after < zxid && trouble.before.is_none_or(|before| before > self.last);
            // No log had read on to here, and nobody knows what was lost.
            overlaps && (certain || (!same_epoch && trouble.after >= self.last))
        };
        let cause = self.troubles.iter().find(|trouble| explains(trouble)).map(|trouble| trouble.cause.clone());
        if certain || cause.is_some() {
            let cause = cause.unwrap_or(HoleCause::NoFile);
            let (from, to) = (Zxid(self.last.0 + 1), Some(Zxid(zxid.0 - 1)));
            self.queue.push_back(LogItem::Hole(Hole { from, to, cause }));
        }
        self.troubles.retain(|trouble| trouble.before.is_none_or(|before| before > zxid));
    }

    /// Behind the last record of all.
    fn end(&mut self) {
        self.queue.extend(self.uncommitted.take().map(LogItem::Uncommitted));
        if let Some(trouble) = self.troubles.drain(..).find(|trouble| trouble.after >= self.last) {
            let hole = Hole { from: Zxid(self.last.0 + 1), to: None, cause: trouble.cause };
            self.queue.push_back(LogItem::Hole(hole));
        }
    }
}

impl Iterator for Transactions {
    type Item = Result<LogItem, TxnlogError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(item) = self.queue.pop_front() {
                return Some(Ok(item));
            }
            if self.done {
                return None;
            }
            match self.step() {
                Ok(None) => {}
                Ok(Some(item)) if self.queue.is_empty() => return Some(Ok(item)),
                Ok(Some(item)) => self.queue.push_back(item),
                Err(error) => {
                    self.done = true;
                    return Some(Err(error));
                }
            }
        }
    }
}

/// Reads what a server's logs show of the ends of epochs. A file between two whose names are of one epoch holds no end.
fn testimony(server: &Server) -> Result<Testimony, TxnlogError> {
    let mut testimony =
        Testimony { snapshots: server.snapshots.iter().map(|snapshot| snapshot.zxid).collect(), ..Default::default() };
    for (at, file) in server.segments.iter().enumerate() {
        if server.segments.get(at + 1).is_some_and(|next| next.first.epoch() == file.first.epoch()) {
            testimony.saw(file.first);
            continue;
        }
        let from = file.place.open().map_err(TxnlogError::io(&file.place.name))?;
        let mut segment = Segment::open(&file.place.name, from, true)?;
        loop {
            match segment.advance()? {
                Step::Record => segment.record().into_iter().for_each(|record| testimony.saw(record.zxid)),
                Step::Skipped(_) => {}
                Step::End(_) => break,
            }
        }
    }
    Ok(testimony)
}
