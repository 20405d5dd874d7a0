use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use super::super::recorded::count_held;
use super::*;
use crate::history::snapshots::{SnapshotRow, write_snapshot};
use crate::history::{Entry, History, RecorderEvent, RecorderHandle, Settings, SnapshotRequest};
use crate::metrics::{Metrics, Prefixes};
use crate::zk::{Change, ChangeKind, Evidence, Source, TimeSource, Zxid};

const DAY: i64 = 86_400_000_000;

/// A history that is being recorded, and its series.
struct Rig {
    runtime: Runtime,
    layout: Layout,
    state: Arc<State>,
    recorder: RecorderHandle,
    recorded: Receiver<()>,
    metrics: ClusterMetrics,
    next_zxid: i64,
}

impl Rig {
    fn new(dir: &std::path::Path) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let layout = Layout::new(dir);
        let settings = Settings { free_space_floor_percent: 0, ..Settings::default() };
        let history = History::open(&layout, "c", settings).expect("opened");
        let state = history.state();
        let (tell, recorded) = channel();
        let (recorder, _) = history.record(move |event| {
            if matches!(event, RecorderEvent::Recorded { changes: 1.., .. }) {
                let _ = tell.send(());
            }
        });
        let metrics = Metrics::new(Prefixes::default()).expect("metrics").cluster("c");
        Self { runtime, layout, state, recorder, recorded, metrics, next_zxid: 1 }
    }

    fn send(&self, entry: Entry) {
        self.runtime.block_on(self.recorder.send(entry)).expect("it records");
    }

    /// One znode created, durably.
    fn create(&mut self) {
        let zxid = Zxid(self.next_zxid);
        self.next_zxid += 1;
        self.send(Entry::Changes(vec![change(zxid)]));
        self.recorded.recv_timeout(Duration::from_secs(60)).expect("it is recorded");
    }

    fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        self.send(Entry::Flush(done));
        self.runtime.block_on(flushed).expect("flushed");
    }

    fn snapshot(&self) {
        let (layout, state) = (self.layout.clone(), self.state.clone());
        let (tell, written) = channel();
        let then = Box::new(move |at: crate::history::SnapshotAt| {
            let rows = [row("/")].into_iter();
            let written = write_snapshot(&Disk::new(), &layout, &state, &at, rows, None, 0);
            tell.send(written.map(|_| ()).map_err(|error| error.to_string())).expect("somebody listens");
        });
        self.send(Entry::Snapshot(SnapshotRequest { incarnation: 1, position: Zxid(self.next_zxid), then }));
        written.recv_timeout(Duration::from_secs(60)).expect("it ends").expect("written");
    }

    /// Rows in memory, parts, and when the newest snapshot was taken.
    fn held(&self) -> (i64, i64, i64) {
        count_held(&self.metrics, &self.state.view());
        let changes = self.metrics.history.table("changes");
        (changes.head_rows.get(), changes.parts.get(), self.metrics.history.snapshot.get())
    }

    fn once(&self, bytes_max: u64, now: Micros) -> Result<(), HistoryError> {
        let retention = RetentionSettings { bytes_max, ..RetentionSettings::default() };
        once(&self.layout, &self.state, retention, &self.metrics, now)
    }
}

fn change(zxid: Zxid) -> Change {
    let now = Micros::now();
    Change {
        incarnation: 1,
        time: now,
        time_source: TimeSource::Server,
        observed_at: now,
        zxid: Some(zxid),
        position: zxid,
        ordinal: 0,
        kind: ChangeKind::Created,
        path: format!("/{zxid}").as_str().into(),
        czxid: Some(zxid),
        version: Some(0),
        aversion: Some(0),
        node_type: None,
        ephemeral_owner: 0,
        data: None,
        data_length: None,
        data_hash: None,
        acl: None,
        evidence: Evidence::Exact,
        missed: 0,
        source: Source::Watch,
        cause: None,
        session_id: None,
        cxid: None,
    }
}

fn row(path: &str) -> SnapshotRow {
    SnapshotRow {
        path: path.into(),
        czxid: Some(Zxid(0)),
        mzxid: Some(Zxid(0)),
        pzxid: None,
        ctime: None,
        mtime: None,
        version: Some(0),
        cversion: None,
        aversion: Some(0),
        ephemeral_owner: 0,
        node_type: None,
        num_children: 0,
        acl: None,
        data_length: Some(0),
    }
}

#[test]
fn what_is_held_and_what_retention_removes_is_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut rig = Rig::new(folder.path());
    let began = Micros::now().0 / 1_000_000;
    rig.create();
    rig.create();
    assert_eq!(rig.held(), (2, 0, 0));
    rig.flush();
    assert_eq!(rig.held(), (0, 1, 0));
    rig.snapshot();
    let (_, _, taken_at) = rig.held();
    assert!((began..=Micros::now().0 / 1_000_000).contains(&taken_at), "{taken_at}");

    rig.once(u64::MAX, Micros::now()).expect("nothing fails");
    assert_eq!(rig.metrics.history.retention_removed_bytes.get(), 0);
    let bytes = rig.metrics.history.table("changes").bytes.get();
    rig.once(0, Micros::now()).expect("nothing fails");
    assert_eq!(rig.held().1, 0, "all of it is before the snapshot");
    assert_eq!(rig.metrics.history.retention_removed_bytes.get(), bytes as u64);
    assert_eq!(rig.metrics.history.compaction_failures.get(), 0);
}

#[test]
fn a_day_that_cannot_be_compacted_is_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut rig = Rig::new(folder.path());
    for _ in 0..2 {
        rig.create();
        rig.flush();
    }
    let part = rig.state.view().changes.parts[0].path();
    std::fs::write(part, b"no Parquet").expect("overwritten");
    let _ = rig.once(u64::MAX, Micros(Micros::now().0 + 3 * DAY));
    assert_eq!(rig.metrics.history.compaction_failures.get(), 1);
}

#[test]
fn a_run_of_retention_that_fails_is_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut rig = Rig::new(folder.path());
    rig.create();
    rig.flush();
    rig.snapshot();
    // As the next start finds it: its footer is not known yet.
    let part = rig.state.view().snapshots[0].path();
    std::fs::write(part, b"no Parquet").expect("overwritten");
    rig.once(0, Micros::now()).expect_err("the snapshot cannot be read");
    assert_eq!(rig.metrics.history.retention_failures.get(), 1);
    assert_eq!(rig.metrics.history.retention_removed_bytes.get(), 0);
}
