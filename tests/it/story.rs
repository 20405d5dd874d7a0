//! A small history with fixed times, made by the recorder itself: ephemerals that flap, a bad deploy, deletions, a gap.
//! The same rows in three states: in the head only (the write-ahead log), in parts only, and in both.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use bytes::Bytes;
use tokio::sync::oneshot;
use zktrail::history::coverage::Aspect;
use zktrail::history::disk::Disk;
use zktrail::history::snapshots::{SPILL_BYTES_MAX, SnapshotRow, ValueSpill, write_snapshot};
use zktrail::history::{
    CoverageEntry, Entry, History, Layout, RecorderHandle, Settings, Sighting, SightingEvent, SightingSource,
    SnapshotRequest, State,
};
use zktrail::query::{Engine, Limits};
use zktrail::serve::http::{AppState, Hosts, SnapshotRefused, bind, router, serve};
use zktrail::zk::{
    AuditEntry, Change, ChangeKind, DeleteCause, Ended, Evidence, Micros, NodeType, Source, TimeSource, Zxid, parent,
};

pub const CLUSTER: &str = "prod";

/// 2026-11-20T00:00:00Z, and the zxid before the first.
const MIDNIGHT: i64 = 1_795_132_800_000_000;
const EPOCH: i64 = 0x1_0000_0000;

/// Where the rows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    Head,
    Parts,
    Both,
}

impl Kept {
    pub const ALL: [Self; 3] = [Self::Head, Self::Parts, Self::Both];
}

/// The recorded story, as long as this lives.
pub struct Story {
    pub layout: Layout,
    state: Arc<State>,
    recorder: Option<(RecorderHandle, JoinHandle<()>)>,
    _folder: tempfile::TempDir,
}

impl Story {
    pub async fn record(kept: Kept) -> Result<Self> {
        let folder = crate::prerequisites::history_folder()?;
        let layout = Layout::new(folder.path());
        let settings = Settings { free_space_floor_percent: 0, ..Settings::default() };
        let history = History::open(&layout, CLUSTER, settings)?;
        history.add_audit(&audit())?;
        let state = history.state();
        let (recorder, thread) = history.record(|_| ());
        let story = Self { layout, state, recorder: Some((recorder, thread)), _folder: folder };
        let mut tree = Tree::default();
        story.before_noon(&mut tree).await?;
        if kept != Kept::Head {
            story.flush().await?;
        }
        story.after_the_deploy(&mut tree).await?;
        if kept == Kept::Parts {
            story.flush().await?;
        }
        let view = story.state.view();
        let found = (!view.changes.head.is_empty(), !view.changes.parts.is_empty());
        let expected = (kept != Kept::Parts, kept != Kept::Head);
        anyhow::ensure!(found == expected, "{kept:?}: rows in the head, in parts: {found:?}");
        Ok(story)
    }

    pub fn engine(&self) -> Result<Engine> {
        self.engine_with(Limits { rows_max: 10_000, ..Limits::default() })
    }

    pub fn engine_with(&self, limits: Limits) -> Result<Engine> {
        let state = self.state.clone();
        Ok(Engine::new(Arc::new(move || Ok(vec![state.view()])), limits, &std::env::temp_dir())?)
    }

    /// Serves the story over HTTP, as an agent does, until the test's runtime ends. Gives the URL.
    pub async fn serve(&self) -> Result<String> {
        let listener = bind("127.0.0.1:0".parse()?).await?;
        let address = listener.local_addr()?;
        let state = AppState {
            engine: self.engine()?,
            metrics: Arc::new(String::new),
            health: Arc::new(|| Ok(())),
            ready: Arc::new(Vec::new),
            snapshot: Arc::new(|_| Box::pin(async { Err(SnapshotRefused::Unauthorised) })),
            hosts: Hosts::new(address, []),
            credentials: Default::default(),
            access_log: Default::default(),
            version: "0",
        };
        tokio::spawn(serve(listener, router(state), std::future::pending()));
        Ok(format!("http://{address}"))
    }

    fn recorder(&self) -> &RecorderHandle {
        &self.recorder.as_ref().expect("a recorder until the story is dropped").0
    }

    async fn send(&self, entry: Entry) -> Result<()> {
        Ok(self.recorder().send(entry).await?)
    }

    async fn changes(&self, changes: Vec<Change>) -> Result<()> {
        self.send(Entry::Changes(changes)).await
    }

    async fn flush(&self) -> Result<()> {
        let (done, flushed) = oneshot::channel();
        self.send(Entry::Flush(done)).await?;
        Ok(flushed.await?)
    }

    async fn open_coverage(&self, at: &str, zxid: i64, missed_at_least: i64) -> Result<()> {
        self.send(Entry::Coverage(CoverageEntry::Open {
            source: Source::Watch,
            path: "/".into(),
            aspect: Aspect::Data,
            incarnation: 1,
            from_time: clock(at),
            from_zxid: Zxid(EPOCH + zxid),
            missed_at_least,
        }))
        .await
    }

    async fn progress(&self, at: &str, zxid: i64) -> Result<()> {
        let (time, zxid) = (clock(at), Zxid(EPOCH + zxid));
        self.send(Entry::Coverage(CoverageEntry::Progress { source: Source::Watch, aspect: Aspect::Data, time, zxid }))
            .await
    }

    async fn snapshot(&self, tree: &Tree, at: &str) -> Result<()> {
        let layout = self.layout.clone();
        let (rows, values) = (tree.rows(), tree.nodes.clone());
        let state = self.state.clone();
        let taken_at = clock(at);
        let (done, written) = oneshot::channel();
        let then = move |mut at: zktrail::history::SnapshotAt| {
            at.taken_at = taken_at;
            let write = || -> Result<()> {
                let mut spill = ValueSpill::new(&Disk::new(), &layout, CLUSTER, SPILL_BYTES_MAX);
                for (path, node) in &values {
                    let data = node.data.as_deref();
                    let (czxid, mzxid) = (Zxid(node.czxid), Zxid(node.mzxid));
                    spill.push(path, czxid, node.version, mzxid, data, node.length, node.hash())?;
                }
                write_snapshot(&Disk::new(), &layout, &state, &at, rows.into_iter(), Some(spill), 0)?;
                Ok(())
            };
            let _ = done.send(write());
        };
        let request = SnapshotRequest { incarnation: 1, position: Zxid(tree.zxid), then: Box::new(then) };
        self.send(Entry::Snapshot(request)).await?;
        written.await?
    }

    /// Recording begins at 02:00; a broker flaps; a configuration is edited with care.
    async fn before_noon(&self, tree: &mut Tree) -> Result<()> {
        tree.zxid = EPOCH + 100;
        for (path, value, owner) in [
            ("/", None, 0),
            ("/app", None, 0),
            ("/app/old", Some("keep me"), 0),
            ("/brokers", None, 0),
            ("/brokers/ids", None, 0),
            ("/brokers/ids/1", Some("one"), S1),
            ("/brokers/ids/2", Some("two"), S2),
            ("/config", None, 0),
            ("/config/app", Some("timeout=30\n"), 0),
            ("/config/db", Some("url=jdbc:db1\npassword=***\n"), 0),
            ("/locks", None, 0),
        ] {
            tree.put(path, value, owner);
        }
        // A value too large to be recorded whole.
        tree.put("/app/blob", None, 0);
        if let Some(blob) = tree.nodes.get_mut("/app/blob") {
            blob.length = Some(900_000);
        }
        tree.zxid = EPOCH + 200;
        self.open_coverage("02:00:00", 200, 0).await?;
        self.send(Entry::Sightings(vec![
            sighting(S1, SightingEvent::Opened, "01:30:00"),
            sighting(S2, SightingEvent::Seen, "02:00:00"),
        ]))
        .await?;
        self.snapshot(tree, "02:00:00").await?;

        let mut rows = vec![tree.set("02:05:00", "/config/app", Some("timeout=30\npool=10\n"))];
        for (session, came, went) in
            [(0x31, "02:10:00", "02:11:00"), (0x32, "02:12:00", "02:14:00"), (0x33, "02:15:00", "02:15:30")]
        {
            rows.push(tree.create(came, "/brokers/ids/3", Some("three"), session));
            rows.push(tree.delete(went, "/brokers/ids/3", Some(DeleteCause::Expired)));
        }
        rows.push(tree.create("02:16:00", "/brokers/ids/3", Some("three"), 0x34));
        for (number, came, went) in [(1, "02:20:00", "02:20:02"), (2, "02:20:02", "02:20:05")] {
            rows.push(tree.create(came, &format!("/locks/l-000000000{number}"), None, S1));
            rows.push(tree.delete(went, &format!("/locks/l-000000000{number}"), None));
        }
        self.changes(rows).await?;
        self.progress("02:30:00", tree.zxid - EPOCH).await
    }

    /// The deploy at 03:00, a gap while it is mended, and what was tidied up afterwards.
    async fn after_the_deploy(&self, tree: &mut Tree) -> Result<()> {
        let rows = vec![
            tree.set("03:00:00", "/config/app", Some("timeout=0\npool=10\n")).by(S1, 7),
            // Withheld: neither value nor hash.
            tree.set("03:00:01", "/config/db", None),
            tree.delete("03:01:00", "/brokers/ids/2", Some(DeleteCause::Expired)),
        ];
        self.changes(rows).await?;
        self.progress("03:05:00", tree.zxid - EPOCH).await?;
        self.send(Entry::Coverage(CoverageEntry::Close {
            source: Source::Watch,
            path: None,
            aspect: Aspect::Data,
            to_time: None,
            to_zxid: None,
            ended: Ended::Disconnected,
        }))
        .await?;

        let before = tree.zxid;
        tree.zxid += 7;
        let mut mended = tree.set("03:06:30", "/config/app", Some("timeout=30\npool=12\n"));
        mended.zxid = None;
        mended.position = Zxid(before);
        mended.version = mended.version.map(|version| version + 2);
        mended.missed = 2;
        mended.evidence = Evidence::Inferred;
        mended.source = Source::Rescan;
        mended.time_source = TimeSource::Agent;
        tree.nodes.get_mut("/config/app").context("the node")?.version += 2;
        self.changes(vec![mended]).await?;
        self.open_coverage("03:06:30", tree.zxid - EPOCH, 2).await?;

        let mut rows = vec![
            tree.delete("03:10:00", "/app/old", Some(DeleteCause::Explicit)).by(0x51, 3),
            tree.create("03:15:00", "/app/tmp", Some("brief"), 0),
            tree.delete("03:15:01", "/app/tmp", None),
            tree.create("03:16:00", "/app/again", Some("first"), 0),
            tree.delete("03:16:01", "/app/again", None),
            tree.create("03:16:02", "/app/again", Some("second"), 0),
        ];
        let mut overtaken = tree.set("03:17:00", "/app/again", None);
        overtaken.evidence = Evidence::Coalesced;
        rows.push(overtaken);
        rows.push(tree.set("03:17:00", "/app/again", Some("third")));
        let mut acl = tree.row("03:20:00", ChangeKind::AclChanged, "/config/app");
        acl.acl = Some(r#"[{"perms":["read"],"scheme":"world","id":"anyone"}]"#.into());
        acl.data = None;
        rows.push(acl);
        // Not text.
        let mut binary = tree.set("04:00:00", "/app/again", None);
        binary.data = Some(Bytes::from_static(&[0xff, 0x00, 0xfe]));
        binary.data_length = Some(3);
        rows.push(binary);
        self.changes(rows).await?;
        self.send(Entry::Sightings(vec![sighting(S2, SightingEvent::Closed, "03:01:00")])).await?;
        self.progress("04:30:00", tree.zxid - EPOCH).await?;
        // Everything sent is visible when the recorder has come this far.
        self.snapshot_barrier(tree).await
    }

    async fn snapshot_barrier(&self, tree: &Tree) -> Result<()> {
        let (done, passed) = oneshot::channel();
        let then = move |_| {
            let _ = done.send(());
        };
        let request = SnapshotRequest { incarnation: 1, position: Zxid(tree.zxid), then: Box::new(then) };
        self.send(Entry::Snapshot(request)).await?;
        Ok(passed.await?)
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        if let Some((recorder, thread)) = self.recorder.take() {
            drop(recorder);
            let _ = thread.join();
        }
    }
}

const S1: i64 = 0x1000_0000_0001;
const S2: i64 = 0x1000_0000_0002;

/// `hh:mm:ss` of the story's day.
fn clock(at: &str) -> Micros {
    let seconds = at.split(':').fold(0, |total, part| total * 60 + part.parse::<i64>().expect("a number"));
    Micros(MIDNIGHT + seconds * 1_000_000)
}

fn sighting(session_id: i64, event: SightingEvent, at: &str) -> Sighting {
    Sighting {
        incarnation: 1,
        session_id,
        event,
        time: clock(at),
        zxid: None,
        timeout_ms: Some(30_000),
        address: (session_id == S1).then(|| "10.0.0.1:40001".into()),
        source: if session_id == S1 { SightingSource::Cons } else { Source::Watch.into() },
    }
}

/// What the servers' audit logs say of it. Their clock is half a second late.
fn audit() -> Vec<AuditEntry> {
    let line = |at: &str, session_id: i64, user: &str, operation: &str, path: &str| AuditEntry {
        time: Micros(clock(at).0 + 500_000),
        session_id: Some(session_id),
        user: Some(user.to_owned()),
        address: Some(format!("10.0.0.{}", session_id & 0xf)),
        operation: operation.to_owned(),
        path: Some(path.into()),
        node_type: None,
        acl: None,
        result: "success".to_owned(),
    };
    let refused = |line: AuditEntry| AuditEntry { result: "failure".to_owned(), ..line };
    vec![
        refused(line("03:00:00", 0x53, "eve", "setData", "/config/app")),
        line("03:00:00", S1, "deployer", "setData", "/config/app"),
        // Nobody knows who asked for this one but the log: paired by path.
        line("03:15:00", 0x52, "ann", "create", "/app/tmp"),
        line("03:15:01", 0x52, "ann", "delete", "/app/tmp"),
        // One deletion is on record at that time, and two are logged.
        line("03:16:01", 0x52, "ann", "delete", "/app/again"),
        line("03:16:02", 0x53, "eve", "delete", "/app/again"),
        // Its changes were made in the gap and are not on record.
        line("03:05:30", 0x53, "eve", "setData", "/config/app"),
    ]
}

/// Names who asked for a change.
trait By {
    fn by(self, session_id: i64, cxid: i32) -> Self;
}

impl By for Change {
    fn by(self, session_id: i64, cxid: i32) -> Self {
        Self { session_id: Some(session_id), cxid: Some(cxid), source: Source::Txnlog, ..self }
    }
}

#[derive(Clone, Debug)]
struct Node {
    czxid: i64,
    mzxid: i64,
    version: i32,
    owner: i64,
    data: Option<Bytes>,
    length: Option<i32>,
}

impl Node {
    fn hash(&self) -> Option<i64> {
        self.data
            .as_ref()
            .map(|data| data.iter().fold(7_i64, |hash, byte| hash.wrapping_mul(31).wrapping_add((*byte).into())))
    }
}

/// What the ensemble holds, so that every row is what a server would have caused.
#[derive(Default)]
struct Tree {
    nodes: BTreeMap<String, Node>,
    zxid: i64,
}

impl Tree {
    fn put(&mut self, path: &str, value: Option<&str>, owner: i64) {
        let data = value.map(|value| Bytes::from(value.to_owned()));
        let length = Some(data.as_ref().map_or(0, Bytes::len) as i32);
        let data = data.or(Some(Bytes::new())).filter(|_| path != "/app/blob");
        self.zxid += 1;
        let node = Node { czxid: self.zxid, mzxid: self.zxid, version: 0, owner, data, length };
        self.nodes.insert(path.to_owned(), node);
    }

    fn create(&mut self, at: &str, path: &str, value: Option<&str>, owner: i64) -> Change {
        self.put(path, value, owner);
        self.row(at, ChangeKind::Created, path)
    }

    /// `None`: the value is not recorded.
    fn set(&mut self, at: &str, path: &str, value: Option<&str>) -> Change {
        self.zxid += 1;
        let node = self.nodes.get_mut(path).expect("a znode of the story");
        node.mzxid = self.zxid;
        node.version += 1;
        node.data = value.map(|value| Bytes::from(value.to_owned()));
        node.length = node.data.as_ref().map(|data| data.len() as i32);
        self.row(at, ChangeKind::DataChanged, path)
    }

    fn delete(&mut self, at: &str, path: &str, cause: Option<DeleteCause>) -> Change {
        self.zxid += 1;
        let mut row = self.row(at, ChangeKind::Deleted, path);
        self.nodes.remove(path);
        row.cause = cause;
        row.version = None;
        row.aversion = None;
        row.data = None;
        row.data_length = None;
        row.data_hash = None;
        row
    }

    fn row(&self, at: &str, kind: ChangeKind, path: &str) -> Change {
        let node = &self.nodes[path];
        let zxid = Zxid(self.zxid);
        Change {
            incarnation: 1,
            time: clock(at),
            time_source: TimeSource::Server,
            observed_at: clock(at),
            zxid: Some(zxid),
            position: zxid,
            ordinal: 0,
            kind,
            path: path.into(),
            czxid: Some(Zxid(node.czxid)),
            version: Some(node.version),
            aversion: Some(0),
            node_type: (node.owner != 0).then_some(NodeType::Ephemeral),
            ephemeral_owner: node.owner,
            data: node.data.clone(),
            data_length: node.length,
            data_hash: node.hash(),
            acl: None,
            evidence: Evidence::Exact,
            missed: 0,
            source: Source::Watch,
            cause: None,
            session_id: None,
            cxid: None,
        }
    }

    /// Ascending by path, bytewise, as a snapshot wants them.
    fn rows(&self) -> Vec<SnapshotRow> {
        self.nodes
            .iter()
            .map(|(path, node)| SnapshotRow {
                path: path.as_str().into(),
                czxid: Some(Zxid(node.czxid)),
                mzxid: Some(Zxid(node.mzxid)),
                pzxid: Some(Zxid(node.czxid)),
                ctime: Some(clock("01:00:00")),
                mtime: Some(clock("01:00:00")),
                version: Some(node.version),
                cversion: Some(0),
                aversion: Some(0),
                ephemeral_owner: node.owner,
                node_type: (node.owner != 0).then_some(NodeType::Ephemeral),
                num_children: self.nodes.keys().filter(|other| parent(other) == Some(path)).count() as i32,
                acl: None,
                data_length: node.length,
            })
            .collect()
    }
}
