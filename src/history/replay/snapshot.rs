use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, BinaryArray, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::record_batch::RecordBatch;

use super::fold::Znode;
use super::part_reader::{PartReader, part_numbers};
use super::ranges::PathRanges;
use super::rows::{Needs, column, text, value};
use crate::history::error::HistoryError;
use crate::history::part::Part;
use crate::history::snapshots::{is_placed, needs_log, unsettled_of};
use crate::zk::Micros;

/// One snapshot and what is the same in all its rows.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub part: Arc<Part>,
    pub incarnation: i32,
    pub seq: i64,
    /// The greatest zxid on record when it was taken.
    pub position: i64,
    /// By the agent's clock.
    pub taken_at: Micros,
    /// So many rows that the tree held already were recorded after it.
    pub unsettled: usize,
    /// It holds the transactions up to its position, not the rows up to its seq. Its time is the server's.
    pub placed: bool,
    /// … and serves only where a log covers it.
    pub needs_log: bool,
}

impl Snapshot {
    /// From the file's statistics, else from its first row.
    pub fn of(part: &Arc<Part>) -> Result<Self, HistoryError> {
        let unsettled = unsettled_of(part)?;
        let (placed, needs_log) = (is_placed(part)?, needs_log(part)?);
        let bound = |name| part_numbers(part, name).map(|bounds| bounds.map(|(min, _)| min));
        let stats = (bound("incarnation")?, bound("seq")?, bound("position")?, bound("taken_at")?);
        if let (Some(incarnation), Some(seq), Some(position), Some(taken_at)) = stats {
            let incarnation = i32::try_from(incarnation).unwrap_or(i32::MAX);
            let taken_at = Micros(taken_at);
            return Ok(Self { part: part.clone(), incarnation, seq, position, taken_at, unsettled, placed, needs_log });
        }
        let names = ["incarnation", "seq", "position", "taken_at"];
        let mut reader = PartReader::open(part, &names, 1, &PathRanges::all(), |_| true)?;
        let Some(batch) = reader.next()? else {
            let path = part.path().display().to_string();
            return Err(HistoryError::Unknown(format!(
                "{path}: the snapshot has no rows. Move it away to go on without it"
            )));
        };
        let place = reader.place();
        Ok(Self {
            part: part.clone(),
            incarnation: column::<Int32Array>(&batch, "incarnation", place)?.value(0),
            seq: column::<Int64Array>(&batch, "seq", place)?.value(0),
            position: column::<Int64Array>(&batch, "position", place)?.value(0),
            taken_at: Micros(column::<TimestampMicrosecondArray>(&batch, "taken_at", place)?.value(0)),
            unsettled,
            placed,
            needs_log,
        })
    }
}

/// The rows of one snapshot in the order of their paths.
pub(crate) struct SnapshotRun {
    reader: PartReader,
    needs: Needs,
    paths: PathRanges,
    rows: Option<SnapshotRows>,
    at: usize,
}

impl SnapshotRun {
    /// Stands before the first row: call [`SnapshotRun::advance`].
    pub(crate) fn open(part: &Part, needs: Needs, paths: PathRanges) -> Result<Self, HistoryError> {
        let mut names = vec!["path"];
        if needs.stat {
            names.extend(STAT);
        }
        if needs.acl {
            names.push("acl");
        }
        if needs.data {
            names.push("data");
        }
        let reader = PartReader::open(part, &names, BATCH_ROWS, &paths, |_| true)?;
        Ok(Self { reader, needs, paths, rows: None, at: 0 })
    }

    pub(crate) fn path(&self) -> Option<&str> {
        self.rows.as_ref().filter(|rows| self.at < rows.path.len()).map(|rows| rows.path.value(self.at))
    }

    /// Goes to the next wanted row; `false` at the end.
    pub(crate) fn advance(&mut self) -> Result<bool, HistoryError> {
        self.at += 1;
        loop {
            if let Some(rows) = &self.rows {
                while self.at < rows.path.len() {
                    let path = rows.path.value(self.at).as_bytes();
                    if self.paths.contains(path) {
                        return Ok(true);
                    }
                    if self.paths.ended_before(path) {
                        self.rows = None;
                        return Ok(false);
                    }
                    self.at += 1;
                }
            }
            let Some(batch) = self.reader.next()? else {
                self.rows = None;
                return Ok(false);
            };
            self.rows = Some(SnapshotRows::new(&batch, self.needs, self.reader.place())?);
            self.at = 0;
        }
    }

    /// Writes the row's state into `znode`.
    pub(crate) fn fill(&self, znode: &mut Znode) {
        if let Some(rows) = &self.rows {
            rows.fill(self.at, znode);
        }
    }
}

const BATCH_ROWS: usize = 4_096;
const STAT: [&str; 13] = [
    "czxid",
    "mzxid",
    "pzxid",
    "ctime",
    "mtime",
    "version",
    "cversion",
    "aversion",
    "ephemeral_owner",
    "node_type",
    "num_children",
    "data_length",
    "data_hash",
];

struct SnapshotRows {
    path: StringArray,
    stat: Option<Stat>,
    acl: Option<StringArray>,
    data: Option<BinaryArray>,
}

struct Stat {
    czxid: Int64Array,
    mzxid: Int64Array,
    pzxid: Int64Array,
    ctime: TimestampMicrosecondArray,
    mtime: TimestampMicrosecondArray,
    version: Int32Array,
    cversion: Int32Array,
    aversion: Int32Array,
    ephemeral_owner: Int64Array,
    node_type: StringArray,
    num_children: Int32Array,
    data_length: Int32Array,
    data_hash: Int64Array,
}

impl SnapshotRows {
    fn new(batch: &RecordBatch, needs: Needs, place: &Path) -> Result<Self, HistoryError> {
        let stat = if needs.stat {
            Some(Stat {
                czxid: column(batch, "czxid", place)?,
                mzxid: column(batch, "mzxid", place)?,
                pzxid: column(batch, "pzxid", place)?,
                ctime: column(batch, "ctime", place)?,
                mtime: column(batch, "mtime", place)?,
                version: column(batch, "version", place)?,
                cversion: column(batch, "cversion", place)?,
                aversion: column(batch, "aversion", place)?,
                ephemeral_owner: column(batch, "ephemeral_owner", place)?,
                node_type: column(batch, "node_type", place)?,
                num_children: column(batch, "num_children", place)?,
                data_length: column(batch, "data_length", place)?,
                data_hash: column(batch, "data_hash", place)?,
            })
        } else {
            None
        };
        Ok(Self {
            path: column(batch, "path", place)?,
            stat,
            acl: needs.acl.then(|| column(batch, "acl", place)).transpose()?,
            data: needs.data.then(|| column(batch, "data", place)).transpose()?,
        })
    }

    fn fill(&self, at: usize, znode: &mut Znode) {
        znode.alive = true;
        znode.held = None;
        if let Some(stat) = &self.stat {
            znode.czxid = value(&stat.czxid, at);
            znode.mzxid = value(&stat.mzxid, at);
            znode.pzxid = value(&stat.pzxid, at);
            znode.ctime = value(&stat.ctime, at);
            znode.mtime = value(&stat.mtime, at);
            znode.version = value(&stat.version, at);
            znode.cversion = value(&stat.cversion, at);
            znode.loose_acl = false;
            znode.aversion = value(&stat.aversion, at);
            znode.ephemeral_owner = stat.ephemeral_owner.value(at);
            znode.node_type.set(text(&stat.node_type, at));
            znode.num_children = stat.num_children.value(at);
            znode.data_length = value(&stat.data_length, at);
            znode.data_hash = value(&stat.data_hash, at);
            znode.held = znode.mzxid.map(|mzxid| (mzxid, znode.version));
        }
        znode.acl.set(self.acl.as_ref().and_then(|acl| text(acl, at)));
        znode.data.set(self.data.as_ref().and_then(|data| data.is_valid(at).then(|| data.value(at))));
    }
}
