//! A folder, a disk with faults, and a recorder on it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tokio::sync::oneshot;

use crate::history::disk::Disk;
use crate::history::layout::Table;
use crate::history::recorder::{Entry, RecorderEvent, RecorderGone, RecorderHandle, Settings};
use crate::history::{Aspect, CoverageEntry, History, HistoryError, Layout, Sighting, SightingEvent, State, View};
use crate::zk::{Change, ChangeKind, Ended, Evidence, Micros, Source, TimeSource, Zxid};

/// 2026-11-20 12:00 UTC.
pub const NOON: i64 = 1_795_176_000_000_000;
pub const CLUSTER: &str = "prod";

pub fn change(n: i64) -> Change {
    Change {
        incarnation: 1,
        time: Micros(NOON + n),
        time_source: TimeSource::Server,
        observed_at: Micros(NOON + n),
        zxid: Some(Zxid(n)),
        position: Zxid(n),
        ordinal: 0,
        kind: ChangeKind::Created,
        path: path_of(n).into(),
        czxid: Some(Zxid(n)),
        version: Some(0),
        aversion: Some(0),
        node_type: None,
        ephemeral_owner: 0,
        data: Some(bytes::Bytes::from(format!("value {n}"))),
        data_length: Some(7),
        data_hash: Some(n),
        acl: None,
        evidence: Evidence::Exact,
        missed: 0,
        source: Source::Watch,
        cause: None,
        session_id: None,
        cxid: None,
    }
}

pub fn path_of(n: i64) -> String {
    format!("/test/{}/{n}", n % 7)
}

pub fn changes(seqs: std::ops::RangeInclusive<i64>) -> Entry {
    Entry::Changes(seqs.map(change).collect())
}

pub fn sighting(n: i64) -> Sighting {
    Sighting {
        incarnation: 1,
        session_id: n,
        event: SightingEvent::Opened,
        time: Micros(NOON + n),
        zxid: None,
        timeout_ms: Some(4_000),
        address: None,
        source: Source::Watch.into(),
    }
}

pub fn open_coverage(at: i64) -> Entry {
    Entry::Coverage(CoverageEntry::Open {
        source: Source::Watch,
        path: "/".into(),
        aspect: Aspect::Data,
        incarnation: 1,
        from_time: Micros(NOON + at),
        from_zxid: Zxid(at),
        missed_at_least: 0,
    })
}

pub fn progress(at: i64) -> Entry {
    let (time, zxid) = (Micros(NOON + at), Zxid(at));
    Entry::Coverage(CoverageEntry::Progress { source: Source::Watch, aspect: Aspect::Data, time, zxid })
}

pub fn close_coverage(ended: Ended) -> Entry {
    let (source, aspect) = (Source::Watch, Aspect::Data);
    Entry::Coverage(CoverageEntry::Close { source, path: None, aspect, to_time: None, to_zxid: None, ended })
}

/// A folder of its own, and how it is opened.
pub struct Rig {
    pub layout: Layout,
    pub settings: Settings,
    _dir: tempfile::TempDir,
}

impl Rig {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path().join("history"));
        // The machine that runs the tests may be nearly full.
        let settings =
            Settings { free_space_floor_percent: 0, mark_every: Duration::from_secs(3_600), ..Settings::default() };
        Self { layout, settings, _dir: dir }
    }

    /// A copy of the folder as it is on disk now.
    pub fn copy(&self) -> Self {
        let other = Self { settings: self.settings, ..Self::new() };
        copy_dir(self.layout.dir(), other.layout.dir());
        other
    }

    pub fn open(&self) -> Result<History, HistoryError> {
        History::open(&self.layout, CLUSTER, self.settings)
    }

    pub fn open_on(&self, disk: &Disk) -> Result<History, HistoryError> {
        History::open_on(disk.clone(), &self.layout, CLUSTER, self.settings, None)
    }

    pub fn view(&self) -> Result<View, HistoryError> {
        crate::history::open_read_only(&self.layout, CLUSTER)
    }

    pub fn start(&self) -> Running {
        Running::new(self.open().unwrap())
    }

    /// The WAL's segments, oldest first.
    pub fn segments(&self) -> Vec<std::path::PathBuf> {
        let segments = crate::history::wal::segment::list(&self.layout.wal(CLUSTER)).unwrap();
        segments.into_iter().map(|segment| segment.path).collect()
    }
}

fn copy_dir(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), &to).unwrap();
        }
    }
}

/// A recorder at work.
pub struct Running {
    pub handle: RecorderHandle,
    pub state: Arc<State>,
    events: Arc<Mutex<Vec<RecorderEvent>>>,
    thread: JoinHandle<()>,
}

impl Running {
    pub fn new(history: History) -> Self {
        let state = history.state();
        let events = Arc::new(Mutex::new(Vec::new()));
        let sink = events.clone();
        let (handle, thread) = history.record(move |event| sink.lock().unwrap().push(event));
        Self { handle, state, events, thread }
    }

    pub fn send(&self, entry: Entry) -> Result<(), RecorderGone> {
        futures::executor::block_on(self.handle.send(entry))
    }

    /// Sends and waits until it is in parts. `false` where the recorder failed before.
    pub fn flush(&self) -> bool {
        let (sender, answer) = oneshot::channel();
        self.send(Entry::Flush(sender)).is_ok() && answer.blocking_recv().is_ok()
    }

    /// Waits until everything sent before is durable and visible, without a flush. `false` where it failed.
    pub fn settle(&self) -> bool {
        let (sender, answer) = std::sync::mpsc::channel();
        let then = Box::new(move |at| sender.send(at).unwrap_or_default());
        let request = crate::history::SnapshotRequest { incarnation: 1, position: Zxid(0), then };
        self.send(Entry::Snapshot(request)).is_ok() && answer.recv().is_ok()
    }

    pub fn stop(self) -> bool {
        let (sender, answer) = oneshot::channel();
        let stopped = self.send(Entry::Stop(sender)).is_ok() && answer.blocking_recv().is_ok();
        self.thread.join().unwrap();
        stopped
    }

    /// Waits for the thread of a recorder that died. Returns its failure and the last seq that it told as recorded.
    pub fn end(self) -> (Option<HistoryError>, i64) {
        drop(self.handle);
        self.thread.join().unwrap();
        let events = std::mem::take(&mut *self.events.lock().unwrap());
        let mut failure = None;
        let mut last = 0;
        for event in events {
            match event {
                RecorderEvent::Failed(error) => failure = Some(error),
                RecorderEvent::Recorded { next_seq, .. } => last = next_seq - 1,
                _ => {}
            }
        }
        (failure, last)
    }

    pub fn events(&self) -> std::sync::MutexGuard<'_, Vec<RecorderEvent>> {
        self.events.lock().unwrap()
    }
}

/// Every batch of a table that a View holds: parts, then head.
pub fn batches(view: &View, table: Table) -> Vec<RecordBatch> {
    let mut batches = Vec::new();
    for part in view.parts(table) {
        let reader = ParquetRecordBatchReaderBuilder::try_new(part.open().unwrap()).unwrap().build().unwrap();
        batches.extend(reader.map(|batch| batch.unwrap()));
    }
    batches.extend(view.head(table).iter().map(|head| head.batch.clone()));
    batches
}

/// The paths of a table's rows by seq. Fails where a seq is there twice.
pub fn rows(view: &View, table: Table, column: &str) -> BTreeMap<i64, String> {
    let mut rows = BTreeMap::new();
    for batch in batches(view, table) {
        let seqs = batch.column_by_name("seq").unwrap().as_primitive::<Int64Type>();
        let texts = batch.column_by_name(column).unwrap();
        let texts = arrow::compute::cast(texts, &arrow::datatypes::DataType::Utf8).unwrap();
        let texts = texts.as_string::<i32>().clone();
        for (row, seq) in seqs.values().iter().enumerate() {
            let text = if arrow::array::Array::is_null(&texts, row) { "" } else { texts.value(row) };
            let before = rows.insert(*seq, text.to_owned());
            assert!(before.is_none(), "seq {seq} of {} twice", table.as_str());
        }
    }
    rows
}

/// Checks that a View holds the changes 1..=n, each once and as they were sent, and returns n.
pub fn check_changes(view: &View) -> i64 {
    let rows = rows(view, Table::Changes, "path");
    for (expected, (seq, path)) in (1..).zip(&rows) {
        assert_eq!(*seq, expected, "the seqs have a hole");
        assert_eq!(*path, path_of(*seq), "seq {seq}");
    }
    rows.len() as i64
}

/// The `ended` of each coverage row, by seq.
pub fn ended(view: &View) -> Vec<String> {
    rows(view, Table::Coverage, "ended").into_values().collect()
}
