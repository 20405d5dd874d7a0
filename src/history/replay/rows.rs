use std::path::Path;

use arrow::array::{
    Array, ArrayRef, BinaryArray, Int32Array, Int64Array, PrimitiveArray, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::ArrowPrimitiveType;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;

use crate::history::error::HistoryError;
use crate::zk::ChangeKind;

/// A place in one incarnation's order of changes: (position, zxid unknown last, ordinal, seq).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub position: i64,
    pub unplaced: bool,
    pub ordinal: i32,
    pub seq: i64,
}

impl Key {
    /// Before everything of the transaction at this position.
    pub fn before(position: i64) -> Self {
        Self { position, unplaced: false, ordinal: i32::MIN, seq: i64::MIN }
    }

    /// After the transaction at this position, before the rows whose zxid is unknown and that are known to follow it.
    pub fn after(position: i64) -> Self {
        Self { position, unplaced: true, ordinal: i32::MIN, seq: i64::MIN }
    }
}

/// Which columns of `changes` a reader needs beyond those of identity and order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Needs {
    pub(crate) time: bool,
    /// czxid, version, aversion, node type, owner, length, hash, missed, evidence.
    pub(crate) stat: bool,
    pub(crate) acl: bool,
    pub(crate) data: bool,
}

const ALWAYS: [&str; 8] = ["incarnation", "seq", "zxid", "position", "ordinal", "kind", "path", "source"];
const TIME: [&str; 3] = ["time", "time_source", "observed_at"];
const STAT: [&str; 9] =
    ["czxid", "version", "aversion", "node_type", "ephemeral_owner", "data_length", "data_hash", "missed", "evidence"];

impl Needs {
    pub(crate) fn names(self) -> Vec<&'static str> {
        let mut names = ALWAYS.to_vec();
        if self.time {
            names.extend(TIME);
        }
        if self.stat {
            names.extend(STAT);
        }
        if self.acl {
            names.push("acl");
        }
        if self.data {
            names.push("data");
        }
        names
    }
}

/// One batch of `changes`, its columns by type. Cheap to clone; the values stay where they are.
#[derive(Clone, Debug)]
pub(crate) struct ChangeRows {
    pub(crate) incarnation: Int32Array,
    pub(crate) seq: Int64Array,
    zxid: Int64Array,
    pub(crate) position: Int64Array,
    ordinal: Int32Array,
    kind: StringArray,
    path: StringArray,
    source: StringArray,
    time: Option<TimeRows>,
    stat: Option<StatRows>,
    acl: Option<StringArray>,
    data: Option<BinaryArray>,
}

#[derive(Clone, Debug)]
struct TimeRows {
    time: TimestampMicrosecondArray,
    time_source: StringArray,
    observed_at: TimestampMicrosecondArray,
}

#[derive(Clone, Debug)]
struct StatRows {
    czxid: Int64Array,
    version: Int32Array,
    aversion: Int32Array,
    node_type: StringArray,
    ephemeral_owner: Int64Array,
    data_length: Int32Array,
    data_hash: Int64Array,
    missed: Int64Array,
    evidence: StringArray,
}

impl ChangeRows {
    /// `place` names the file (or the head) in errors.
    pub(crate) fn new(batch: &RecordBatch, needs: Needs, place: &Path) -> Result<Self, HistoryError> {
        let time = if needs.time {
            Some(TimeRows {
                time: column(batch, "time", place)?,
                time_source: column(batch, "time_source", place)?,
                observed_at: column(batch, "observed_at", place)?,
            })
        } else {
            None
        };
        let stat = if needs.stat {
            Some(StatRows {
                czxid: column(batch, "czxid", place)?,
                version: column(batch, "version", place)?,
                aversion: column(batch, "aversion", place)?,
                node_type: column(batch, "node_type", place)?,
                ephemeral_owner: column(batch, "ephemeral_owner", place)?,
                data_length: column(batch, "data_length", place)?,
                data_hash: column(batch, "data_hash", place)?,
                missed: column(batch, "missed", place)?,
                evidence: column(batch, "evidence", place)?,
            })
        } else {
            None
        };
        Ok(Self {
            incarnation: column(batch, "incarnation", place)?,
            seq: column(batch, "seq", place)?,
            zxid: column(batch, "zxid", place)?,
            position: column(batch, "position", place)?,
            ordinal: column(batch, "ordinal", place)?,
            kind: column(batch, "kind", place)?,
            path: column(batch, "path", place)?,
            source: column(batch, "source", place)?,
            time,
            stat,
            acl: needs.acl.then(|| column(batch, "acl", place)).transpose()?,
            data: needs.data.then(|| column(batch, "data", place)).transpose()?,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.seq.len()
    }

    pub(crate) fn row(&self, at: usize) -> Row<'_> {
        Row { rows: self, at }
    }
}

/// One row of a [`ChangeRows`]. Columns that were not asked for read as null.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row<'a> {
    rows: &'a ChangeRows,
    at: usize,
}

impl<'a> Row<'a> {
    pub(crate) fn incarnation(self) -> i32 {
        self.rows.incarnation.value(self.at)
    }

    pub(crate) fn seq(self) -> i64 {
        self.rows.seq.value(self.at)
    }

    pub(crate) fn zxid(self) -> Option<i64> {
        value(&self.rows.zxid, self.at)
    }

    pub(crate) fn position(self) -> i64 {
        self.rows.position.value(self.at)
    }

    pub(crate) fn ordinal(self) -> i32 {
        self.rows.ordinal.value(self.at)
    }

    pub(crate) fn key(self) -> Key {
        Key {
            position: self.position(),
            unplaced: self.rows.zxid.is_null(self.at),
            ordinal: self.ordinal(),
            seq: self.seq(),
        }
    }

    pub(crate) fn path(self) -> &'a str {
        self.rows.path.value(self.at)
    }

    /// `None` for a kind that a newer zktrail wrote.
    pub(crate) fn kind(self) -> Option<ChangeKind> {
        ChangeKind::parse(self.rows.kind.value(self.at))
    }

    pub(crate) fn source(self) -> &'a str {
        self.rows.source.value(self.at)
    }

    /// Whether a rescan found it, and it is not known when in the gap it happened. (ACLs are found at any time.)
    pub(crate) fn is_loose(self) -> bool {
        self.zxid().is_none() && self.source() == "rescan" && self.kind() != Some(ChangeKind::AclChanged)
    }

    /// Whether it comes from a source that misses nothing, so that it may have been added long after the fact.
    pub(crate) fn is_lossless(self) -> bool {
        matches!(self.source(), "txnlog" | "observer")
    }

    pub(crate) fn time(self) -> Option<i64> {
        self.rows.time.as_ref().map(|time| time.time.value(self.at))
    }

    pub(crate) fn is_server_timed(self) -> bool {
        self.rows.time.as_ref().is_some_and(|time| time.time_source.value(self.at) == "server")
    }

    /// The time by the server's clock, where it is known.
    pub(crate) fn server_time(self) -> Option<i64> {
        if self.is_server_timed() { self.time() } else { None }
    }

    pub(crate) fn observed_at(self) -> Option<i64> {
        self.rows.time.as_ref().map(|time| time.observed_at.value(self.at))
    }

    pub(crate) fn czxid(self) -> Option<i64> {
        self.rows.stat.as_ref().and_then(|stat| value(&stat.czxid, self.at))
    }

    pub(crate) fn version(self) -> Option<i32> {
        self.rows.stat.as_ref().and_then(|stat| value(&stat.version, self.at))
    }

    pub(crate) fn aversion(self) -> Option<i32> {
        self.rows.stat.as_ref().and_then(|stat| value(&stat.aversion, self.at))
    }

    pub(crate) fn node_type(self) -> Option<&'a str> {
        self.rows.stat.as_ref().and_then(|stat| text(&stat.node_type, self.at))
    }

    pub(crate) fn ephemeral_owner(self) -> i64 {
        self.rows.stat.as_ref().map_or(0, |stat| stat.ephemeral_owner.value(self.at))
    }

    pub(crate) fn data_length(self) -> Option<i32> {
        self.rows.stat.as_ref().and_then(|stat| value(&stat.data_length, self.at))
    }

    pub(crate) fn data_hash(self) -> Option<i64> {
        self.rows.stat.as_ref().and_then(|stat| value(&stat.data_hash, self.at))
    }

    pub(crate) fn missed(self) -> i64 {
        self.rows.stat.as_ref().map_or(0, |stat| stat.missed.value(self.at))
    }

    pub(crate) fn is_coalesced(self) -> bool {
        self.rows.stat.as_ref().is_some_and(|stat| stat.evidence.value(self.at) == "coalesced")
    }

    pub(crate) fn is_exact(self) -> bool {
        self.rows.stat.as_ref().is_some_and(|stat| stat.evidence.value(self.at) == "exact")
    }

    pub(crate) fn acl(self) -> Option<&'a str> {
        self.rows.acl.as_ref().and_then(|acl| text(acl, self.at))
    }

    pub(crate) fn data(self) -> Option<&'a [u8]> {
        self.rows.data.as_ref().and_then(|data| data.is_valid(self.at).then(|| data.value(self.at)))
    }
}

/// A column by name and type; an error that names the place where it is missing or of another type.
pub(crate) fn column<A: Array + Clone + 'static>(
    batch: &RecordBatch,
    name: &str,
    place: &Path,
) -> Result<A, HistoryError> {
    let wrong = |what: String| HistoryError::Arrow { path: place.to_owned(), source: ArrowError::SchemaError(what) };
    let array: &ArrayRef = batch.column_by_name(name).ok_or_else(|| wrong(format!("there is no column {name}")))?;
    match array.as_any().downcast_ref::<A>() {
        Some(array) => Ok(array.clone()),
        None => Err(wrong(format!("column {name} has the unexpected type {}", array.data_type()))),
    }
}

pub(crate) fn value<T: ArrowPrimitiveType>(array: &PrimitiveArray<T>, at: usize) -> Option<T::Native> {
    array.is_valid(at).then(|| array.value(at))
}

pub(crate) fn text(array: &StringArray, at: usize) -> Option<&str> {
    array.is_valid(at).then(|| array.value(at))
}
