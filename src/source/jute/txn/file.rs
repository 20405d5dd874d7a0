use crate::source::jute::record::record;

/// `ZKLG`: a file of transactions.
pub const LOG_MAGIC: i32 = i32::from_be_bytes(*b"ZKLG");

/// `ZKSN`: a file of znodes.
pub const SNAPSHOT_MAGIC: i32 = i32::from_be_bytes(*b"ZKSN");

/// The only one that servers have written since 3.0, of logs as of snapshots.
pub const LOG_FORMAT_VERSION: i32 = 2;

record! {
    /// The first 16 bytes of a log segment or a snapshot.
    #[derive(Copy)]
    FileHeader {
        /// [`LOG_MAGIC`] or [`SNAPSHOT_MAGIC`].
        magic: i32,
        version: i32,
        /// 0 in logs and -1 in snapshots of every known server.
        dbid: i64,
    }

    /// A znode's Stat as snapshots have it; times are milliseconds since 1970.
    #[derive(Copy, Default)]
    StatPersisted {
        czxid: i64,
        mzxid: i64,
        ctime: i64,
        mtime: i64,
        version: i32,
        /// Raw: the number of creations of children.
        cversion: i32,
        aversion: i32,
        /// The session, or what stands for containers and TTL znodes.
        ephemeral_owner: i64,
        pzxid: i64,
    }
}
