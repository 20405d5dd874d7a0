//! Histories for tests: rows, Parquet parts in a temporary folder, Views.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;

use super::fold::Znode;
use crate::history::gaps::Interval;
use crate::history::layout::{Day, SeqRange, Table};
use crate::history::part::Part;
use crate::history::schema;
use crate::history::view::{HeadBatch, TableView, View};
use crate::zk::ChangeKind;

#[derive(Clone, Debug)]
pub(crate) struct TestRow {
    pub(crate) incarnation: i32,
    pub(crate) seq: i64,
    pub(crate) time: i64,
    pub(crate) server_timed: bool,
    pub(crate) observed_at: i64,
    pub(crate) zxid: Option<i64>,
    pub(crate) position: i64,
    pub(crate) ordinal: i32,
    pub(crate) kind: ChangeKind,
    pub(crate) path: String,
    pub(crate) czxid: Option<i64>,
    pub(crate) version: Option<i32>,
    pub(crate) aversion: Option<i32>,
    pub(crate) owner: i64,
    pub(crate) data: Option<Vec<u8>>,
    pub(crate) missed: i64,
    pub(crate) source: &'static str,
}

impl TestRow {
    /// An exact row at a known zxid, heard a second after its commit.
    pub(crate) fn new(seq: i64, zxid: i64, kind: ChangeKind, path: &str) -> Self {
        Self {
            incarnation: 0,
            seq,
            time: zxid * 1_000_000,
            server_timed: true,
            observed_at: (zxid + 1) * 1_000_000,
            zxid: Some(zxid),
            position: zxid,
            ordinal: 0,
            kind,
            path: path.to_owned(),
            czxid: None,
            version: None,
            aversion: None,
            owner: 0,
            data: None,
            missed: 0,
            source: "watch",
        }
    }

    pub(crate) fn key(&self) -> super::Key {
        super::Key { position: self.position, unplaced: self.zxid.is_none(), ordinal: self.ordinal, seq: self.seq }
    }

    pub(crate) fn hash(&self) -> Option<i64> {
        self.data.as_ref().map(|data| hash(data))
    }
}

pub(crate) fn hash(data: &[u8]) -> i64 {
    data.iter().fold(7, |hash: i64, byte| hash.wrapping_mul(31).wrapping_add(i64::from(*byte)))
}

fn int64(values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(values.collect::<Int64Array>())
}

fn int32(values: impl Iterator<Item = Option<i32>>) -> ArrayRef {
    Arc::new(values.collect::<Int32Array>())
}

fn times(values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(values.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
}

fn texts<'a>(values: impl Iterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(values.collect::<StringArray>())
}

pub(crate) fn changes(rows: &[TestRow]) -> RecordBatch {
    let all = || rows.iter();
    let columns = vec![
        int32(all().map(|row| Some(row.incarnation))),
        int64(all().map(|row| Some(row.seq))),
        times(all().map(|row| Some(row.time))),
        texts(all().map(|row| Some(if row.server_timed { "server" } else { "agent" }))),
        times(all().map(|row| Some(row.observed_at))),
        int64(all().map(|row| row.zxid)),
        int64(all().map(|row| Some(row.position))),
        int32(all().map(|row| Some(row.ordinal))),
        texts(all().map(|row| Some(row.kind.as_str()))),
        texts(all().map(|row| Some(row.path.as_str()))),
        int64(all().map(|row| row.czxid)),
        int32(all().map(|row| row.version)),
        int32(all().map(|row| row.aversion)),
        texts(all().map(|row| (row.owner != 0).then_some("ephemeral"))),
        int64(all().map(|row| Some(row.owner))),
        Arc::new(all().map(|row| row.data.as_deref()).collect::<BinaryArray>()),
        int32(all().map(|row| row.data.as_ref().map(|data| data.len() as i32))),
        int64(all().map(TestRow::hash)),
        texts(all().map(|row| row.aversion.map(|_| "[]"))),
        texts(all().map(|row| Some(if row.source == "rescan" { "inferred" } else { "exact" }))),
        int64(all().map(|row| Some(row.missed))),
        texts(all().map(|row| Some(row.source))),
        texts(all().map(|_| None)),
        int64(all().map(|_| None)),
        int32(all().map(|_| None)),
    ];
    RecordBatch::try_new(schema::CHANGES.clone(), columns).expect("rows fit the schema")
}

/// A snapshot's rows; `znodes` sorted by path.
pub(crate) fn snapshot(
    (incarnation, seq, position, taken_at): (i32, i64, i64, i64),
    znodes: &[(String, Znode)],
) -> RecordBatch {
    let all = || znodes.iter().map(|(_, znode)| znode);
    let columns = vec![
        int32(all().map(|_| Some(incarnation))),
        int64(all().map(|_| Some(seq))),
        int64(all().map(|_| Some(position))),
        times(all().map(|_| Some(taken_at))),
        texts(znodes.iter().map(|(path, _)| Some(path.as_str()))),
        int64(all().map(|znode| znode.czxid)),
        int64(all().map(|znode| znode.mzxid)),
        int64(all().map(|znode| znode.pzxid)),
        times(all().map(|znode| znode.ctime)),
        times(all().map(|znode| znode.mtime)),
        int32(all().map(|znode| znode.version)),
        int32(all().map(|znode| znode.cversion)),
        int32(all().map(|znode| znode.aversion)),
        int64(all().map(|znode| Some(znode.ephemeral_owner))),
        texts(all().map(|znode| znode.node_type.get())),
        int32(all().map(|znode| Some(znode.num_children))),
        texts(all().map(|znode| znode.acl.get())),
        Arc::new(all().map(|znode| znode.data.get()).collect::<BinaryArray>()),
        int32(all().map(|znode| znode.data_length)),
        int64(all().map(|znode| znode.data_hash)),
    ];
    RecordBatch::try_new(schema::SNAPSHOTS.clone(), columns).expect("znodes fit the schema")
}

pub(crate) fn coverage(intervals: &[Interval]) -> RecordBatch {
    let all = || intervals.iter();
    let columns = vec![
        int64(all().map(|interval| Some(interval.seq))),
        int32(all().map(|interval| Some(interval.incarnation))),
        texts(all().map(|interval| Some(interval.source.as_str()))),
        texts(all().map(|interval| Some(interval.path.as_str()))),
        texts(all().map(|interval| Some(interval.aspect.as_str()))),
        times(all().map(|interval| Some(interval.from_time))),
        times(all().map(|interval| Some(interval.to_time))),
        int64(all().map(|interval| Some(interval.from_zxid))),
        int64(all().map(|interval| Some(interval.to_zxid))),
        texts(all().map(|interval| interval.ended.as_deref())),
        int64(all().map(|interval| Some(interval.missed_at_least))),
    ];
    RecordBatch::try_new(schema::COVERAGE.clone(), columns).expect("intervals fit the schema")
}

/// Writes a part with small row groups and pages, so that pruning has something to prune.
pub(crate) fn part(dir: &Path, table: Table, range: SeqRange, batch: &RecordBatch, group_rows: usize) -> Arc<Part> {
    let path = dir.join(format!("{}-{}", table.as_str(), range.file_name(table)));
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(group_rows))
        .set_data_page_row_count_limit(group_rows.div_ceil(4).max(1))
        .set_write_batch_size(group_rows.div_ceil(4).max(1))
        .build();
    let file = File::create(&path).expect("a temporary file");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).expect("a writer");
    writer.write(batch).expect("written");
    writer.close().expect("closed");
    let bytes = std::fs::metadata(&path).expect("there").len();
    Arc::new(Part::new(table, Arc::from("test"), Day(0), range, path, bytes))
}

/// A part of these rows (any order, at least one), sorted as parts are.
pub(crate) fn changes_part(dir: &Path, rows: &[TestRow], group_rows: usize) -> Arc<Part> {
    let mut sorted = rows.to_vec();
    sorted.sort_by(|a, b| {
        (&a.path, a.incarnation, a.position, a.ordinal, a.seq).cmp(&(
            &b.path,
            b.incarnation,
            b.position,
            b.ordinal,
            b.seq,
        ))
    });
    let seqs = || rows.iter().map(|row| row.seq);
    let range = SeqRange { first: seqs().min().expect("a row"), last: seqs().max().expect("a row") };
    part(dir, Table::Changes, range, &changes(&sorted), group_rows)
}

pub(crate) fn view(parts: Vec<Arc<Part>>, head: Vec<RecordBatch>, snapshots: Vec<Arc<Part>>) -> View {
    let head: Vec<HeadBatch> = head.into_iter().map(|batch| HeadBatch { day: Day(0), batch }).collect();
    View {
        cluster: Arc::from("test"),
        changes: TableView { parts: parts.into(), head: head.into() },
        coverage: TableView::default(),
        sessions: TableView::default(),
        audit: Arc::from(Vec::new()),
        snapshots: snapshots.into(),
        open_coverage: coverage(&[]),
    }
}

pub(crate) fn with_coverage(mut view: View, closed: &[Interval], open: &[Interval]) -> View {
    let head = vec![HeadBatch { day: Day(0), batch: coverage(closed) }];
    view.coverage = TableView { parts: Vec::new().into(), head: head.into() };
    view.open_coverage = coverage(open);
    view
}
