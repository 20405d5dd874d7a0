//! Histories in a temporary folder, for the tests of everything that works on days.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BinaryArray, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Int32Type, Int64Type};

use super::PartWriter;
use crate::history::disk::Disk;
use crate::history::layout::{Day, Layout, SeqRange, Table};
use crate::history::open::remove_leftovers;
use crate::history::part::Part;
use crate::history::parts::list_parts;
use crate::history::recorder::SnapshotAt;
use crate::history::schema;
use crate::history::state::State;
use crate::history::view::{HeadBatch, TableView, View};
use crate::zk::{Micros, Zxid};

pub(crate) const CLUSTER: &str = "prod";
pub(crate) const TODAY: Day = Day(20_000);

/// A moment of a day.
pub(crate) fn noon(day: Day) -> Micros {
    Micros(i64::from(day.0) * 86_400_000_000 + 43_200_000_000)
}

pub(crate) struct Fixture {
    pub dir: tempfile::TempDir,
    pub layout: Layout,
    pub disk: Disk,
    pub state: State,
}

/// A change, as far as these tests care.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TestChange {
    pub seq: i64,
    pub incarnation: i32,
    pub position: i64,
    pub kind: &'static str,
    pub path: String,
    pub czxid: Option<i64>,
    pub version: Option<i32>,
    pub data: Option<Vec<u8>>,
    pub evidence: &'static str,
}

impl TestChange {
    pub(crate) fn new(seq: i64, path: impl Into<String>) -> Self {
        Self {
            seq,
            incarnation: 1,
            position: 1_000 + seq,
            kind: "data_changed",
            path: path.into(),
            czxid: Some(1),
            version: Some(seq as i32),
            data: Some(format!("value {seq}").into_bytes()),
            evidence: "exact",
        }
    }
}

pub(crate) fn changes_batch(rows: &[TestChange]) -> RecordBatch {
    fn times<T>(rows: &[T], of: impl Fn(&T) -> i64) -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from_iter_values(rows.iter().map(of)).with_timezone("UTC"))
    }
    fn longs<T>(rows: &[T], of: impl Fn(&T) -> Option<i64>) -> ArrayRef {
        Arc::new(rows.iter().map(of).collect::<Int64Array>())
    }
    fn ints<T>(rows: &[T], of: impl Fn(&T) -> Option<i32>) -> ArrayRef {
        Arc::new(rows.iter().map(of).collect::<Int32Array>())
    }
    fn texts<'a, T>(rows: &'a [T], of: impl Fn(&'a T) -> Option<&'a str>) -> ArrayRef {
        Arc::new(rows.iter().map(of).collect::<StringArray>())
    }
    let columns: Vec<ArrayRef> = vec![
        ints(rows, |row| Some(row.incarnation)),
        longs(rows, |row| Some(row.seq)),
        times(rows, |row| row.seq),
        texts(rows, |_| Some("server")),
        times(rows, |row| row.seq),
        longs(rows, |row| Some(row.position)),
        longs(rows, |row| Some(row.position)),
        ints(rows, |_| Some(0)),
        texts(rows, |row| Some(row.kind)),
        texts(rows, |row| Some(&row.path)),
        longs(rows, |row| row.czxid),
        ints(rows, |row| row.version),
        ints(rows, |_| Some(0)),
        texts(rows, |_| None),
        longs(rows, |_| Some(0)),
        Arc::new(rows.iter().map(|row| row.data.as_deref()).collect::<BinaryArray>()),
        ints(rows, |row| row.data.as_ref().map(|data| data.len() as i32)),
        longs(rows, |row| row.data.as_ref().map(|data| i64::from(crc32fast::hash(data)))),
        texts(rows, |_| Some("[]")),
        texts(rows, |row| Some(row.evidence)),
        longs(rows, |_| Some(0)),
        texts(rows, |_| Some("watch")),
        texts(rows, |_| None),
        longs(rows, |_| None),
        ints(rows, |_| None),
    ];
    RecordBatch::try_new(schema::CHANGES.clone(), columns).unwrap()
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::in_dir(tempfile::tempdir().unwrap())
    }

    pub(crate) fn in_dir(dir: tempfile::TempDir) -> Self {
        let layout = Layout::new(dir.path());
        let state = State::new(empty_view());
        let fixture = Self { dir, layout, disk: Disk::new(), state };
        fixture.reopened()
    }

    /// As after a start: cleaned, and whatever is on disk. What held parts before leaks: a killed process drops nothing.
    pub(crate) fn reopened(mut self) -> Self {
        std::mem::forget(std::mem::replace(&mut self.state, State::new(empty_view())));
        self.disk = Disk::new();
        self.clean();
        let cluster: Arc<str> = Arc::from(CLUSTER);
        let parts = |table| list_parts(&self.layout, table, &cluster).unwrap().into();
        let table = |table| TableView { parts: parts(table), ..TableView::default() };
        self.state = State::new(View {
            changes: table(Table::Changes),
            coverage: table(Table::Coverage),
            sessions: table(Table::Sessions),
            audit: parts(Table::Audit),
            snapshots: parts(Table::Snapshots),
            ..empty_view()
        });
        self
    }

    /// What every start does first.
    fn clean(&self) {
        remove_leftovers(&Disk::new(), &self.layout, CLUSTER).unwrap();
    }

    /// Adds a part of changes to a day.
    pub(crate) fn add_changes(&self, day: Day, mut rows: Vec<TestChange>) -> Arc<Part> {
        rows.sort_by(|a, b| (&a.path, a.position, a.seq).cmp(&(&b.path, b.position, b.seq)));
        self.add_part(Table::Changes, day, &changes_batch(&rows), None)
    }

    pub(crate) fn add_part(&self, table: Table, day: Day, batch: &RecordBatch, range: Option<SeqRange>) -> Arc<Part> {
        // Not through the fixture's disk: its faults are for what is tested.
        let disk = Disk::new();
        let folder = self.layout.cluster(table, CLUSTER);
        disk.create_dir(&folder).unwrap();
        let mut writer = PartWriter::create(&disk, &folder, table, CLUSTER, &[]).unwrap();
        writer.write(batch).unwrap();
        let (path, written) = writer.finish_under_dot_name(range).unwrap();
        self.state
            .add_part(|| {
                let day_folder = self.layout.day(table, CLUSTER, day);
                disk.create_dir(&day_folder)?;
                let to = day_folder.join(written.range.file_name(table));
                disk.rename(&path, &to)?;
                Ok(Arc::new(Part::new(table, Arc::from(CLUSTER), day, written.range, to, written.bytes)))
            })
            .unwrap()
    }

    pub(crate) fn set_head(&self, table: Table, day: Day, batch: RecordBatch) {
        self.state.publish(|view| {
            let mut view = view.clone();
            let head: Arc<[HeadBatch]> = Arc::from([HeadBatch { day, batch }]);
            match table {
                Table::Changes => view.changes.head = head,
                Table::Coverage => view.coverage.head = head,
                _ => view.sessions.head = head,
            }
            view
        });
    }

    /// Where a snapshot is taken at noon of a day, after a seq.
    pub(crate) fn snapshot_at(&self, seq: i64, day: Day) -> SnapshotAt {
        let position = Zxid(1_000 + seq);
        SnapshotAt { seq, incarnation: 1, position, taken_at: noon(day), view: self.state.view() }
    }

    /// Every row of changes that a View's parts hold, by day.
    pub(crate) fn changes(&self) -> BTreeMap<Day, Vec<TestChange>> {
        changes_of(&self.state.view())
    }

    pub(crate) fn parts(&self, table: Table) -> usize {
        self.state.view().parts(table).len()
    }

    /// The names of all files and folders below the history, relative, sorted.
    pub(crate) fn files(&self) -> Vec<String> {
        fn walk(dir: &std::path::Path, root: &std::path::Path, files: &mut Vec<String>) {
            for entry in std::fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, root, files);
                }
                files.push(path.strip_prefix(root).unwrap().to_string_lossy().into_owned());
            }
        }
        let mut files = Vec::new();
        walk(self.dir.path(), self.dir.path(), &mut files);
        files.sort();
        files
    }
}

fn empty_view() -> View {
    View {
        cluster: Arc::from(CLUSTER),
        changes: TableView::default(),
        coverage: TableView::default(),
        sessions: TableView::default(),
        audit: Arc::from([]),
        snapshots: Arc::from([]),
        open_coverage: RecordBatch::new_empty(schema::COVERAGE.clone()),
    }
}

/// Reads all of a View's changes, by day, each day sorted by seq. Checks each part against its name and its order.
pub(crate) fn changes_of(view: &View) -> BTreeMap<Day, Vec<TestChange>> {
    let mut days: BTreeMap<Day, Vec<TestChange>> = BTreeMap::new();
    for part in view.changes.parts.iter() {
        let mut rows = Vec::new();
        let columns = ["incarnation", "seq", "position", "kind", "path", "czxid", "version", "data", "evidence"];
        for batch in super::read_projected(part, &columns).unwrap() {
            rows.extend(test_changes(&batch.unwrap()));
        }
        assert!(rows.is_sorted_by_key(|row| (row.path.clone(), row.position, row.seq)), "{part:?}");
        assert_eq!(rows.iter().map(|row| row.seq).min(), Some(part.range.first), "{part:?}");
        assert_eq!(rows.iter().map(|row| row.seq).max(), Some(part.range.last), "{part:?}");
        days.entry(part.day).or_default().extend(rows);
    }
    for rows in days.values_mut() {
        rows.sort();
    }
    days
}

fn test_changes(batch: &RecordBatch) -> Vec<TestChange> {
    let column = |name: &str| batch.column_by_name(name).unwrap();
    let long = |name: &str, row: usize| column(name).as_primitive::<Int64Type>().value(row);
    let int = |name: &str, row: usize| column(name).as_primitive::<Int32Type>().value(row);
    let text = |name: &str, row: usize| column(name).as_string::<i32>().value(row).to_owned();
    let valid = |name: &str, row: usize| column(name).is_valid(row);
    let known = |text: String| {
        *["created", "data_changed", "deleted", "exact", "coalesced"].iter().find(|k| **k == text).unwrap()
    };
    (0..batch.num_rows())
        .map(|row| TestChange {
            seq: long("seq", row),
            incarnation: int("incarnation", row),
            position: long("position", row),
            kind: known(text("kind", row)),
            path: text("path", row),
            czxid: valid("czxid", row).then(|| long("czxid", row)),
            version: valid("version", row).then(|| int("version", row)),
            data: valid("data", row).then(|| column("data").as_binary::<i32>().value(row).to_vec()),
            evidence: known(text("evidence", row)),
        })
        .collect()
}
