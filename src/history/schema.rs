//! The Arrow schemas of everything on disk: what a part of each table holds, column by column.
//!
//! `cluster` and `date` are Hive partitions: they are in the folder's name, never in the file.
//! A change here is a change of the format: raise [`FORMAT_VERSION`] and keep reading the older one.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

/// Written to every Parquet file's key-value metadata under [`FORMAT_VERSION_KEY`].
pub const FORMAT_VERSION: u32 = 1;
pub const FORMAT_VERSION_KEY: &str = "zktrail.format_version";

/// The type of every time column: microseconds, UTC.
pub fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC")))
}

fn required(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, false)
}

fn optional(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, true)
}

/// One row a change. Inside a part the order is (path, position, ordinal, seq).
pub static CHANGES: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        required("incarnation", DataType::Int32),
        required("seq", DataType::Int64),
        required("time", timestamp()),
        required("time_source", DataType::Utf8),
        required("observed_at", timestamp()),
        optional("zxid", DataType::Int64),
        required("position", DataType::Int64),
        required("ordinal", DataType::Int32),
        required("kind", DataType::Utf8),
        required("path", DataType::Utf8),
        optional("czxid", DataType::Int64),
        optional("version", DataType::Int32),
        optional("aversion", DataType::Int32),
        optional("node_type", DataType::Utf8),
        required("ephemeral_owner", DataType::Int64),
        optional("data", DataType::Binary),
        optional("data_length", DataType::Int32),
        optional("data_hash", DataType::Int64),
        optional("acl", DataType::Utf8),
        required("evidence", DataType::Utf8),
        required("missed", DataType::Int64),
        required("source", DataType::Utf8),
        optional("cause", DataType::Utf8),
        optional("session_id", DataType::Int64),
        optional("cxid", DataType::Int32),
    ]))
});

/// The columns of a znode's state: of a snapshot's rows, of `znodes` and of `znodes_at`.
/// A Stat field is null where it is not known (before server 3.9 an overtaken value hides its mzxid).
fn znode_fields() -> Vec<Field> {
    vec![
        required("path", DataType::Utf8),
        optional("czxid", DataType::Int64),
        optional("mzxid", DataType::Int64),
        optional("pzxid", DataType::Int64),
        optional("ctime", timestamp()),
        optional("mtime", timestamp()),
        optional("version", DataType::Int32),
        optional("cversion", DataType::Int32),
        optional("aversion", DataType::Int32),
        required("ephemeral_owner", DataType::Int64),
        optional("node_type", DataType::Utf8),
        required("num_children", DataType::Int32),
        optional("acl", DataType::Utf8),
        optional("data", DataType::Binary),
        optional("data_length", DataType::Int32),
        optional("data_hash", DataType::Int64),
    ]
}

/// The whole tree at a seq. Sorted by path, bytewise. `incarnation`, `seq` and `taken_at` are the same in every row;
/// `position` is the greatest zxid on record when it was taken.
pub static SNAPSHOTS: LazyLock<SchemaRef> = LazyLock::new(|| {
    let mut fields = vec![
        required("incarnation", DataType::Int32),
        required("seq", DataType::Int64),
        required("position", DataType::Int64),
        required("taken_at", timestamp()),
    ];
    fields.extend(znode_fields());
    Arc::new(Schema::new(fields))
});

/// What a replay yields: a znode's state, and whether its place straddles the moment asked for.
pub static ZNODES: LazyLock<SchemaRef> = LazyLock::new(|| {
    let mut fields = znode_fields();
    fields.push(required("uncertain", DataType::Boolean));
    Arc::new(Schema::new(fields))
});

/// What was observed: closed intervals. `ended` is null where the agent crashed, or while the interval is still open.
/// `seq` numbers the rows of this table.
pub static COVERAGE: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        required("seq", DataType::Int64),
        required("incarnation", DataType::Int32),
        required("source", DataType::Utf8),
        required("path", DataType::Utf8),
        required("aspect", DataType::Utf8),
        required("from_time", timestamp()),
        required("to_time", timestamp()),
        required("from_zxid", DataType::Int64),
        required("to_zxid", DataType::Int64),
        optional("ended", DataType::Utf8),
        required("missed_at_least", DataType::Int64),
    ]))
});

/// What was heard of sessions: one row a sighting; `event` is `opened`, `seen` or `closed`.
/// `seq` numbers the rows of this table.
pub static SESSIONS: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        required("seq", DataType::Int64),
        required("incarnation", DataType::Int32),
        required("session_id", DataType::Int64),
        required("event", DataType::Utf8),
        required("time", timestamp()),
        optional("zxid", DataType::Int64),
        optional("timeout_ms", DataType::Int32),
        optional("address", DataType::Utf8),
        required("source", DataType::Utf8),
    ]))
});

/// What the servers' audit logs say: one row a line, as it was logged; imported, never observed. `time` is the logging
/// server's clock; `seq` numbers the rows of this table in the order of import. A column is null where the line lacks it.
pub static AUDIT: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        required("seq", DataType::Int64),
        required("time", timestamp()),
        optional("session_id", DataType::Int64),
        optional("user_name", DataType::Utf8),
        optional("address", DataType::Utf8),
        required("operation", DataType::Utf8),
        optional("path", DataType::Utf8),
        optional("node_type", DataType::Utf8),
        optional("acl", DataType::Utf8),
        required("result", DataType::Utf8),
    ]))
});
