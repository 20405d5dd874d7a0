//! Transactions as servers 3.5 to 3.9 write them into their logs and send them to their learners.
//!
//! A transaction is its header, its body by the header's type, and from 3.6 on 12 bytes of digest behind it, where the
//! server keeps one and the request did not fail. Reading borrows: paths and values are slices of the bytes that are read.
//!
//! Two places are not told by the bytes alone:
//! - closeSession has no body up to 3.5, and a list of paths from 3.6 on (unless the operator turned that off). What follows its header in exactly 12 bytes is
//!   a digest, or a list of one short path. The other transactions of the same file tell ([`Digests`]).
//! - create before 3.4 had no parentCVersion. A body that ends before it is read as if it were -1, as the server does.

pub use self::body::{Creation, CreationKind, Txn};
pub use self::file::{FileHeader, LOG_FORMAT_VERSION, LOG_MAGIC, SNAPSHOT_MAGIC, StatPersisted};
pub use self::lists::{Acls, Paths};
use super::record::record;
use super::{JuteError, Op, Reader, Record, Writer};

mod body;
mod file;
mod lists;
#[cfg(test)]
mod tests;

record! {
    /// Who asked, and where in the history the transaction stands.
    #[derive(Copy, Default)]
    TxnHeader {
        session_id: i64,
        cxid: i32,
        zxid: i64,
        /// The leader's clock: milliseconds since 1970.
        time_ms: i64,
    }

    /// A hash of the whole tree behind the transaction.
    #[derive(Copy, Default)]
    TxnDigest {
        version: i32,
        tree: i64,
    }
}

/// Whether the transactions of one file carry digests; learnt while reading them in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Digests {
    #[default]
    Unknown,
    Absent,
    Present,
}

/// One record's payload.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry<'a> {
    pub header: TxnHeader,
    pub txn: Txn<'a>,
    pub digest: Option<TxnDigest>,
}

impl<'a> Entry<'a> {
    /// Reads a payload. What follows a digest is ignored, as ZooKeeper does.
    ///
    /// # Errors
    /// Says where the bytes stop being a transaction, or that its type is unknown.
    pub fn read(bytes: &'a [u8], digests: &mut Digests) -> Result<Self, JuteError> {
        let mut from = Reader::new(bytes);
        let header = TxnHeader::read(&mut from)?;
        let op = Op::read(from.int()?)?;
        if op == Op::CloseSession {
            let (ephemerals, digest) = close_session(from, *digests)?;
            return Ok(Self { header, txn: Txn::CloseSession { ephemerals }, digest });
        }
        let txn = Txn::read(op, &mut from)?;
        let digest = digest(&mut from)?;
        // What failed has none in any file.
        let failed = matches!(txn, Txn::Error { .. }) || txn.is_failed_multi();
        *digests = match (*digests, digest) {
            (_, Some(_)) => Digests::Present,
            (Digests::Unknown, None) if !failed => Digests::Absent,
            (known, None) => known,
        };
        Ok(Self { header, txn, digest })
    }

    pub fn write(&self, to: &mut Writer) {
        self.header.write(to);
        to.int(self.txn.op().code());
        self.txn.write(to);
        if let Some(digest) = &self.digest {
            digest.write(to);
        }
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        self.write(&mut writer);
        writer.into_bytes()
    }
}

fn digest(from: &mut Reader<'_>) -> Result<Option<TxnDigest>, JuteError> {
    (from.left() >= TxnDigest::BYTES_MIN).then(|| TxnDigest::read(from)).transpose()
}

/// What follows the header of a closeSession.
fn close_session<'a>(from: Reader<'a>, digests: Digests) -> Result<(Option<Paths<'a>>, Option<TxnDigest>), JuteError> {
    if from.left() == 0 {
        return Ok((None, None));
    }
    let mut as_paths = from.clone();
    let paths = Paths::read(&mut as_paths);
    if from.left() == TxnDigest::BYTES_MIN {
        let digest_alone = match digests {
            Digests::Present => true,
            Digests::Absent => paths.is_err(),
            // A path starts with a slash; a digest that looks like a list of one such path is one in 2^40.
            Digests::Unknown => match &paths {
                Ok(paths) => as_paths.left() > 0 || !paths.iter().all(|path| path.starts_with('/')),
                Err(_) => true,
            },
        };
        if digest_alone {
            return Ok((None, digest(&mut from.clone())?));
        }
    }
    Ok((Some(paths?), digest(&mut as_paths)?))
}
