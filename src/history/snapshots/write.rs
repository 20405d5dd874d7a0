use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, Int32Builder, Int64Builder, StringArray, StringBuilder,
    TimestampMicrosecondBuilder,
};
use arrow::datatypes::{Int32Type, Int64Type};
use arrow::record_batch::RecordBatch;

use super::super::days::{PartWriter, Retired, exchange, keep_part, parts_of, read_projected};
use super::super::disk::Disk;
use super::super::error::HistoryError;
use super::super::layout::{Day, Layout, SeqRange, Table};
use super::super::part::Part;
use super::super::recorder::SnapshotAt;
use super::super::schema;
use super::super::state::{ReplaceError, State};
use super::cursor::{Cursor, column};
use super::join::{Found, Join};
use super::spill::{SPILL_BYTES_MAX, Value, ValueSpill};
use super::{incarnation_of, is_placed, last_placed, latest_before, unsettled_of};
use crate::zk::{ChangeKind, Evidence, Micros, NodeType, ZkPath, Zxid};

pub(in crate::history) const INCARNATION_KEY: &str = "zktrail.incarnation";
pub(in crate::history) const PLACED_KEY: &str = "zktrail.placed";
/// By whom: a log, or a watch whose rows up to it are those of the transactions up to it.
pub(in crate::history) const PLACED_BY_LOG: &str = "log";
pub(in crate::history) const PLACED_BY_WATCH: &str = "watch";
pub(super) const UNSETTLED_KEY: &str = "zktrail.unsettled";

/// Rows and value bytes of a batch on its way to the file.
const BATCH_ROWS_MAX: usize = 8192;
const BATCH_BYTES_MAX: usize = 4 << 20;

/// A znode of the live tree, without its value.
#[derive(Clone, Debug, PartialEq)]
pub struct SnapshotRow {
    pub path: ZkPath,
    pub czxid: Option<Zxid>,
    pub mzxid: Option<Zxid>,
    pub pzxid: Option<Zxid>,
    pub ctime: Option<Micros>,
    pub mtime: Option<Micros>,
    pub version: Option<i32>,
    pub cversion: Option<i32>,
    pub aversion: Option<i32>,
    pub ephemeral_owner: i64,
    pub node_type: Option<NodeType>,
    pub num_children: i32,
    /// JSON, see [`crate::zk::acls_to_json`].
    pub acl: Option<Arc<str>>,
    /// As the Stat tells it. `None` where it is not known, or where the value policy withholds lengths.
    pub data_length: Option<i32>,
}

/// Writes a snapshot and puts it into the State: whole and durable when this returns, or not there at all.
///
/// `rows` is the live tree at that place, strictly ascending by path, bytewise. Values are joined to it as the
/// [module](super) tells; memory is bounded by the spill's bound and a row group.
/// Where the same incarnation has a snapshot of this seq on this day already, this one takes its place, by an exchange of
/// the day: since then ACLs were read, or a gap was found that left no row. An unsettled one takes no settled one's place.
/// Where another incarnation has one, or an import placed one, as of an ensemble that was rebuilt before it changed again, the new one goes to the
/// next day that is free: a snapshot's name is its seq.
///
/// `unsettled` events were waiting for their answer: the tree was ahead of the rows by that much, so arithmetic between
/// this snapshot and another proves nothing.
#[allow(clippy::too_many_arguments, reason = "the folder, the place in it, and the tree; called in one place")]
pub fn write_snapshot(
    disk: &Disk,
    layout: &Layout,
    state: &State,
    at: &SnapshotAt,
    rows: impl Iterator<Item = SnapshotRow>,
    spill: Option<ValueSpill>,
    unsettled: usize,
) -> Result<Arc<Part>, HistoryError> {
    let view = &at.view;
    let range = SeqRange { first: at.seq, last: at.seq };
    let mut day = Day(at.taken_at.day());
    let mut replaces = false;
    let there = state.view().snapshots;
    while let Some(there) = there.iter().find(|part| part.day == day && part.range == range) {
        if incarnation_of(there)? == Some(at.incarnation) && !is_placed(there)? {
            if unsettled > 0 && unsettled_of(there)? == 0 {
                // It holds what the rows lead to, and none has come since.
                return Ok(there.clone());
            }
            replaces = true;
            break;
        }
        day = Day(day.0 + 1);
    }

    let folder = layout.cluster(Table::Snapshots, &view.cluster);
    disk.create_dir(&folder)?;
    let mut join = Join::new(cursors(disk, layout, at, spill)?);
    let marks = [
        (INCARNATION_KEY, at.incarnation.to_string()),
        ("zktrail.position", at.position.0.to_string()),
        ("zktrail.taken_at", at.taken_at.to_string()),
        (UNSETTLED_KEY, unsettled.to_string()),
    ];
    let mut writer = PartWriter::create(disk, &folder, Table::Snapshots, &view.cluster, &marks)?;
    let mut batch = Rows::new(at);
    let mut last: Option<ZkPath> = None;
    for row in rows {
        if last.as_ref().is_some_and(|last| last.as_bytes() >= row.path.as_bytes()) {
            return Err(HistoryError::Unknown(format!(
                "a snapshot at seq {} was given {:?} out of order: it was not written",
                at.seq, row.path
            )));
        }
        batch.push(&row, join.find(&row)?);
        if batch.is_full() {
            writer.write(&batch.finish()?)?;
        }
        last = Some(row.path);
    }
    writer.write(&batch.finish()?)?;
    let (dot_path, written) = writer.finish_under_dot_name(Some(range))?;
    tracing::debug!(seq = at.seq, znodes = written.rows, bytes = written.bytes, "a snapshot's file is written");
    if replaces {
        return replace(disk, layout, state, (day, range), &dot_path);
    }
    let day_folder = layout.day(Table::Snapshots, &view.cluster, day);
    let part = state.add_part(|| {
        disk.create_dir(&day_folder)?;
        let path: PathBuf = day_folder.join(range.file_name(Table::Snapshots));
        disk.rename(&dot_path, &path)?;
        disk.sync_dir(&day_folder)?;
        Ok(Arc::new(Part::new(Table::Snapshots, view.cluster.clone(), day, range, path, written.bytes)))
    })?;
    Ok(part)
}

/// Puts the finished file in the place of the day's snapshot of the same seq.
fn replace(
    disk: &Disk,
    layout: &Layout,
    state: &State,
    (day, range): (Day, SeqRange),
    dot_path: &Path,
) -> Result<Arc<Part>, HistoryError> {
    let parts = parts_of(&state.view(), Table::Snapshots, day);
    let exchanged = exchange(disk, layout, state, (Table::Snapshots, day), &parts, &mut Retired::default(), |folder| {
        let mut ranges = vec![range];
        for part in parts.iter().filter(|part| part.range != range) {
            ranges.push(keep_part(disk, part, folder)?);
        }
        disk.rename(dot_path, &folder.join(range.file_name(Table::Snapshots)))?;
        Ok(ranges)
    });
    match exchanged {
        Ok(()) => {}
        Err(ReplaceError::History(error)) => return Err(error),
        // Only this writes snapshots, one at a time.
        Err(changed @ ReplaceError::Changed { .. }) => return Err(HistoryError::Unknown(changed.to_string())),
    }
    let view = state.view();
    let new = view.snapshots.iter().find(|part| part.day == day && part.range == range);
    new.cloned().ok_or_else(|| HistoryError::Unknown(format!("the snapshot at seq {} vanished", range.last)))
}

/// Everything that may tell values, sorted by path.
fn cursors(
    disk: &Disk,
    layout: &Layout,
    at: &SnapshotAt,
    spill: Option<ValueSpill>,
) -> Result<Vec<Cursor>, HistoryError> {
    let mut spill = spill.unwrap_or_else(|| ValueSpill::new(disk, layout, &at.view.cluster, SPILL_BYTES_MAX));
    let before = latest_before(&at.view, at.incarnation, at.seq)?;
    let after = before.as_ref().map(|part| part.range.last);
    push_changes(&mut spill, at, after)?;
    let mut cursors = spill.into_cursors()?;
    for part in before.into_iter().chain(last_placed(&at.view, at.incarnation)?) {
        let columns = ["path", "czxid", "version", "mzxid", "data", "data_length", "data_hash", "seq"];
        cursors.push(Cursor::new(Box::new(read_projected(&part, &columns)?))?);
    }
    Ok(cursors)
}

/// The columns of a change that tell a value.
const CHANGE_COLUMNS: [&str; 12] = [
    "incarnation",
    "seq",
    "zxid",
    "ordinal",
    "kind",
    "path",
    "czxid",
    "version",
    "data",
    "data_length",
    "data_hash",
    "evidence",
];

/// Pushes the values of changes after a seq, up to the snapshot's.
fn push_changes(spill: &mut ValueSpill, at: &SnapshotAt, after: Option<i64>) -> Result<(), HistoryError> {
    let view = &at.view;
    let inside = |seq: i64| seq <= at.seq && after.is_none_or(|after| seq > after);
    for part in view.changes.parts.iter() {
        if part.range.first > at.seq || after.is_some_and(|after| part.range.last <= after) {
            continue;
        }
        for batch in read_projected(part, &CHANGE_COLUMNS)? {
            push_batch(spill, &batch?, at.incarnation, inside)?;
        }
    }
    for head in view.changes.head.iter() {
        push_batch(spill, &head.batch, at.incarnation, inside)?;
    }
    Ok(())
}

fn push_batch(
    spill: &mut ValueSpill,
    batch: &RecordBatch,
    incarnation: i32,
    inside: impl Fn(i64) -> bool,
) -> Result<(), HistoryError> {
    let int64 = |name| column(batch, name, |column| column.as_primitive_opt::<Int64Type>().cloned());
    let int32 = |name| column(batch, name, |column| column.as_primitive_opt::<Int32Type>().cloned());
    let text = |name| -> Result<StringArray, HistoryError> {
        column(batch, name, |column| column.as_string_opt::<i32>().cloned())
    };
    let (incarnations, seqs, zxids, czxids) = (int32("incarnation")?, int64("seq")?, int64("zxid")?, int64("czxid")?);
    let (kinds, paths, evidence) = (text("kind")?, text("path")?, text("evidence")?);
    let (versions, lengths, hashes) = (int32("version")?, int32("data_length")?, int64("data_hash")?);
    let ordinals = int32("ordinal")?;
    let values = column(batch, "data", |column| column.as_binary_opt::<i32>().cloned())?;
    for row in 0..batch.num_rows() {
        let sets = [ChangeKind::Created.as_str(), ChangeKind::DataChanged.as_str()].contains(&kinds.value(row));
        let known = czxids.is_valid(row) && versions.is_valid(row);
        if !sets || !known || incarnations.value(row) != incarnation || !inside(seqs.value(row)) {
            continue;
        }
        let data = values.is_valid(row).then(|| values.value(row));
        let data_length = lengths.is_valid(row).then(|| lengths.value(row));
        let data_hash = hashes.is_valid(row).then(|| hashes.value(row));
        let told = data.is_some() || data_length.is_some() || data_hash.is_some();
        // A row that was seen and tells nothing was withheld; one that was overtaken just does not know.
        if !told && evidence.value(row) != Evidence::Exact.as_str() {
            continue;
        }
        spill.push_value(Value {
            path: paths.value(row),
            czxid: Some(Zxid(czxids.value(row))),
            version: Some(versions.value(row)),
            mzxid: zxids.is_valid(row).then(|| Zxid(zxids.value(row))),
            data,
            data_length,
            data_hash,
            seq: seqs.value(row),
            ordinal: ordinals.value(row),
        })?;
    }
    Ok(())
}

/// Builds batches of a snapshot's rows.
pub(in crate::history) struct Rows<'a> {
    at: &'a SnapshotAt,
    rows: usize,
    bytes: usize,
    path: StringBuilder,
    czxid: Int64Builder,
    mzxid: Int64Builder,
    pzxid: Int64Builder,
    ctime: TimestampMicrosecondBuilder,
    mtime: TimestampMicrosecondBuilder,
    version: Int32Builder,
    cversion: Int32Builder,
    aversion: Int32Builder,
    ephemeral_owner: Int64Builder,
    node_type: StringBuilder,
    num_children: Int32Builder,
    acl: StringBuilder,
    data: BinaryBuilder,
    data_length: Int32Builder,
    data_hash: Int64Builder,
}

fn timestamps() -> TimestampMicrosecondBuilder {
    TimestampMicrosecondBuilder::new().with_data_type(schema::timestamp())
}

impl<'a> Rows<'a> {
    pub(in crate::history) fn new(at: &'a SnapshotAt) -> Self {
        Self {
            at,
            rows: 0,
            bytes: 0,
            path: StringBuilder::new(),
            czxid: Int64Builder::new(),
            mzxid: Int64Builder::new(),
            pzxid: Int64Builder::new(),
            ctime: timestamps(),
            mtime: timestamps(),
            version: Int32Builder::new(),
            cversion: Int32Builder::new(),
            aversion: Int32Builder::new(),
            ephemeral_owner: Int64Builder::new(),
            node_type: StringBuilder::new(),
            num_children: Int32Builder::new(),
            acl: StringBuilder::new(),
            data: BinaryBuilder::new(),
            data_length: Int32Builder::new(),
            data_hash: Int64Builder::new(),
        }
    }

    /// Without a value found the length that the Stat tells stays.
    pub(in crate::history) fn push(&mut self, row: &SnapshotRow, value: Option<Found>) {
        let value = value.unwrap_or(Found { data_length: row.data_length, ..Found::default() });
        self.rows += 1;
        self.bytes += row.path.len() + value.data.as_ref().map_or(0, Vec::len);
        self.path.append_value(&row.path);
        self.czxid.append_option(row.czxid.map(|zxid| zxid.0));
        self.mzxid.append_option(row.mzxid.map(|zxid| zxid.0));
        self.pzxid.append_option(row.pzxid.map(|zxid| zxid.0));
        self.ctime.append_option(row.ctime.map(|time| time.0));
        self.mtime.append_option(row.mtime.map(|time| time.0));
        self.version.append_option(row.version);
        self.cversion.append_option(row.cversion);
        self.aversion.append_option(row.aversion);
        self.ephemeral_owner.append_value(row.ephemeral_owner);
        self.node_type.append_option(row.node_type.map(NodeType::as_str));
        self.num_children.append_value(row.num_children);
        self.acl.append_option(row.acl.as_deref());
        self.data.append_option(value.data);
        self.data_length.append_option(value.data_length);
        self.data_hash.append_option(value.data_hash);
    }

    pub(in crate::history) fn is_full(&self) -> bool {
        self.rows >= BATCH_ROWS_MAX || self.bytes >= BATCH_BYTES_MAX
    }

    pub(in crate::history) fn finish(&mut self) -> Result<RecordBatch, HistoryError> {
        let rows = std::mem::take(&mut self.rows);
        self.bytes = 0;
        let mut taken_at = timestamps();
        taken_at.append_value_n(self.at.taken_at.0, rows);
        let mut incarnation = Int32Builder::new();
        incarnation.append_value_n(self.at.incarnation, rows);
        let mut seq = Int64Builder::new();
        seq.append_value_n(self.at.seq, rows);
        let mut position = Int64Builder::new();
        position.append_value_n(self.at.position.0, rows);
        // In the order of the schema.
        let columns: Vec<ArrayRef> = vec![
            Arc::new(incarnation.finish()),
            Arc::new(seq.finish()),
            Arc::new(position.finish()),
            Arc::new(taken_at.finish()),
            Arc::new(self.path.finish()),
            Arc::new(self.czxid.finish()),
            Arc::new(self.mzxid.finish()),
            Arc::new(self.pzxid.finish()),
            Arc::new(self.ctime.finish()),
            Arc::new(self.mtime.finish()),
            Arc::new(self.version.finish()),
            Arc::new(self.cversion.finish()),
            Arc::new(self.aversion.finish()),
            Arc::new(self.ephemeral_owner.finish()),
            Arc::new(self.node_type.finish()),
            Arc::new(self.num_children.finish()),
            Arc::new(self.acl.finish()),
            Arc::new(self.data.finish()),
            Arc::new(self.data_length.finish()),
            Arc::new(self.data_hash.finish()),
        ];
        RecordBatch::try_new(schema::SNAPSHOTS.clone(), columns)
            .map_err(|source| HistoryError::Unknown(format!("cannot put a snapshot's rows together: {source}")))
    }
}
