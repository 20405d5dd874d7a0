use std::io;

use crate::source::jute::JuteError;
use crate::zk::Zxid;

/// Why a server's files cannot be read, or do not make one history.
#[derive(Debug, thiserror::Error)]
pub enum TxnlogError {
    #[error("{file}: {error}")]
    Io {
        file: String,
        #[source]
        error: io::Error,
    },
    #[error("no log.* and no snapshot.* is in {searched}: name a server's dataDir, its version-2, or a tar of it")]
    NothingFound { searched: String },
    #[error("{file} is neither a transaction log nor a snapshot nor a tar")]
    NotOurs { file: String },
    #[error("{file} is no transaction log: {because}")]
    NotALog { file: String, because: String },
    #[error("{file}, byte {offset}: {cause}")]
    Corrupt { file: String, offset: u64, cause: Corruption },
    #[error("{file} is not a whole snapshot: {because}")]
    NotASnapshot { file: String, because: String },
    #[error("{archive} holds {entry} in a form of sparse file that cannot be read: make the tar without --sparse")]
    SparseEntry { archive: String, entry: String },
    #[error(
        "{one} and {other} have different transactions at zxid {zxid}: these are logs of different ensembles, or of one \
         that was restored from a backup in between; import them one by one"
    )]
    DifferentHistories { zxid: Zxid, one: String, other: String },
    #[error("{one} has database id {id} and {other} has {other_id}: these are logs of different ensembles")]
    DifferentDatabases { one: String, id: i64, other: String, other_id: i64 },
}

impl TxnlogError {
    pub(super) fn io(file: &str) -> impl Fn(io::Error) -> Self {
        move |error| Self::Io { file: file.to_owned(), error }
    }
}

/// What is wrong with a place in a log segment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Corruption {
    #[error("a record of {0} bytes cannot be")]
    Length(i32),
    #[error("the record's checksum is {computed:#010x}, but {written:#x} was written")]
    Checksum { written: i64, computed: u32 },
    #[error("the record does not end where its length says")]
    Marker,
    #[error("something follows behind what should be the end")]
    BehindTheEnd,
    #[error("the record is whole, but no transaction: {0}")]
    Undecodable(#[from] JuteError),
    #[error("the record is whole, but {0:?} is no path")]
    Path(String),
    #[error("the record's zxid is {0}")]
    Zxid(i64),
}
