use super::record::record;

record! {
    /// A znode's Stat as clients see it on the wire; times are milliseconds since 1970.
    #[derive(Copy, Default)]
    Stat {
        czxid: i64,
        mzxid: i64,
        ctime: i64,
        mtime: i64,
        version: i32,
        cversion: i32,
        aversion: i32,
        ephemeral_owner: i64,
        data_length: i32,
        num_children: i32,
        pzxid: i64,
    }
}
