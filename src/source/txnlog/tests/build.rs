//! Files as servers write them.

use std::fs;
use std::path::Path;

use crate::source::jute::txn::{
    Acls, Creation, CreationKind, Entry, FileHeader, LOG_MAGIC, StatPersisted, Txn, TxnHeader,
};
use crate::source::jute::txn::{SNAPSHOT_MAGIC, TxnDigest};
use crate::source::jute::{Acl, Id, Reader, Record as _, Writer};
use crate::source::txnlog::adler::Adler32;
use crate::source::txnlog::{LogItem, Transactions};
use crate::zk::Zxid;

pub const PADDING_BYTES: usize = 4 << 10;

pub fn zxid(epoch: i64, counter: i64) -> Zxid {
    Zxid(epoch << 32 | counter)
}

pub fn open_acl() -> Vec<u8> {
    Acls::encode(&[Acl { perms: 31, id: Id::new("world", "anyone") }])
}

/// A transaction that says which one it is.
pub fn payload(zxid: Zxid, value: &str) -> Vec<u8> {
    let acl = open_acl();
    let path = format!("/z{:x}", zxid.0);
    let creation = Creation {
        kind: CreationKind::Create2 { ephemeral: false },
        path: &path,
        data: Some(value.as_bytes()),
        acls: Acls::read(&mut Reader::new(&acl)).unwrap(),
        parent_cversion: 1,
    };
    let header = TxnHeader { session_id: 0x77, cxid: 5, zxid: zxid.0, time_ms: 1_700_000_000_000 };
    Entry { header, txn: Txn::Create(creation), digest: Some(TxnDigest { version: 2, tree: zxid.0 }) }.to_bytes()
}

pub fn record(payload: &[u8]) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.long(i64::from(Adler32::of(payload)));
    writer.buffer(Some(payload));
    writer.raw(&[0x42]);
    writer.into_bytes()
}

pub fn header(dbid: i64) -> Vec<u8> {
    FileHeader { magic: LOG_MAGIC, version: 2, dbid }.to_bytes()
}

/// A log segment without what a server allocates beforehand.
pub fn log(zxids: impl IntoIterator<Item = Zxid>) -> Vec<u8> {
    zxids.into_iter().fold(header(0), |mut bytes, zxid| {
        bytes.extend(record(&payload(zxid, "value")));
        bytes
    })
}

/// Zxids of one epoch.
pub fn epoch(epoch: i64, counters: std::ops::RangeInclusive<i64>) -> Vec<Zxid> {
    counters.map(|counter| zxid(epoch, counter)).collect()
}

/// Writes a padded segment into a folder that it makes.
pub fn write_log(folder: &Path, zxids: Vec<Zxid>) {
    let name = format!("log.{:x}", zxids[0].0);
    let mut bytes = log(zxids);
    bytes.resize(bytes.len() + PADDING_BYTES, 0);
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join(name), bytes).unwrap();
}

/// Which forms of trailer a snapshot has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trailer {
    /// 3.5, or without digests.
    Seal,
    /// 3.6 to 3.8.
    Digest,
    /// 3.9.
    DigestAndZxid,
    /// 3.9 without digests.
    Zxid,
    /// One that nobody knows yet.
    Unknown,
}

pub fn snapshot(znodes: &[(&str, Option<&[u8]>, i64)], trailer: Trailer) -> Vec<u8> {
    let mut writer = Writer::new();
    FileHeader { magic: SNAPSHOT_MAGIC, version: 2, dbid: -1 }.write(&mut writer);
    writer.int(2);
    for session in [0x10_i64, 0x11] {
        writer.long(session);
        writer.int(30_000);
    }
    writer.int(1);
    writer.long(7);
    writer.raw(&Acls::encode(&[Acl { perms: 1, id: Id::new("digest", "bob:hash") }]));
    for (path, data, owner) in znodes {
        writer.string(path);
        writer.buffer(*data);
        writer.long(if path.len() % 2 == 0 { -1 } else { 7 });
        StatPersisted { czxid: 1, ephemeral_owner: *owner, ..StatPersisted::default() }.write(&mut writer);
    }
    writer.string("/");
    let mut bytes = seal(writer.into_bytes());
    let digest = |bytes: Vec<u8>| seal([bytes, vec![0; 20]].concat());
    let last = |bytes: Vec<u8>| seal([bytes, 0x99_i64.to_be_bytes().to_vec()].concat());
    match trailer {
        Trailer::Seal => {}
        Trailer::Digest => bytes = digest(bytes),
        Trailer::Zxid => bytes = last(bytes),
        Trailer::DigestAndZxid => bytes = last(digest(bytes)),
        Trailer::Unknown => bytes = seal([last(digest(bytes)), vec![1, 2, 3]].concat()),
    }
    bytes
}

fn seal(mut bytes: Vec<u8>) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.long(i64::from(Adler32::of(&bytes)));
    writer.string("/");
    bytes.extend(writer.into_bytes());
    bytes
}

/// The transactions' zxids, and everything else.
pub fn read(transactions: Transactions) -> (Vec<Zxid>, Vec<LogItem>) {
    let mut zxids = Vec::new();
    let mut others = Vec::new();
    for item in transactions {
        match item.unwrap() {
            LogItem::Transaction { transaction, .. } => zxids.push(transaction.zxid),
            other => others.push(other),
        }
    }
    (zxids, others)
}
