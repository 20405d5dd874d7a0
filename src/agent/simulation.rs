//! A simulated ensemble, recorded for real: whatever connections do, the history on disk verifies clean, leads to the
//! ensemble's tree, and shows every moment that it says was observed as it was.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::{Int32Type, Int64Type};
use proptest::prelude::*;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};

use super::pipeline::{Parts, Pipeline};
use super::status::Status;
use super::supervisor::{Incarnation, Opened, begin};
use crate::history::gaps::gaps;
use crate::history::replay::{At, PathFilter, ReplayOptions, replay};
use crate::history::verify::verify;
use crate::history::{Entry, History, Layout, RecorderHandle, Settings, View, open_read_only, schema};
use crate::lens::{HashKey, ValuePolicy};
use crate::metrics::{Metrics, Prefixes};
use crate::source::watch::Command;
use crate::tree::model::connection::{Connection, Listener, Wish};
use crate::tree::model::server::Server;
use crate::tree::model::{Operation, Step, operation, step};
use crate::zk::{Ended, Observation, ScanReason, ZkPath};

mod import;

const CLUSTER: &str = "simulated";

/// A pipeline and its recorder, over a folder.
struct Agent {
    runtime: Runtime,
    layout: Layout,
    running: Option<Running>,
}

struct Running {
    pipeline: Pipeline,
    recorder: RecorderHandle,
    thread: JoinHandle<()>,
    commands: mpsc::Receiver<Command>,
}

impl Agent {
    fn new(dir: &std::path::Path) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let mut agent = Self { runtime, layout: Layout::new(dir), running: None };
        agent.start();
        agent
    }

    fn start(&mut self) {
        let settings = Settings { free_space_floor_percent: 0, flush_bytes_max: 4_096, ..Settings::default() };
        let history = History::open(&self.layout, CLUSTER, settings).expect("opened");
        let state = history.state();
        let scope = ZkPath::from("/");
        let Opened { history, tree, incarnation, greatest, unreadable, .. } =
            begin(history, &scope, Incarnation::Last).expect("restored");
        let (recorder, thread) = history.record(|_| ());
        let metrics = Metrics::new(Prefixes::default()).expect("metrics").cluster(CLUSTER);
        let (commands_in, commands) = mpsc::channel(1_000);
        let parts = Parts {
            cluster: CLUSTER.to_owned(),
            scope,
            incarnation,
            layout: self.layout.clone(),
            state,
            recorder: recorder.clone(),
            policy: Arc::new(ValuePolicy::new(&[], HashKey::new([7; HashKey::LEN])).expect("a policy")),
            metrics,
            status: Status::default(),
            commands: commands_in,
            identity: Arc::default(),
            upkeep: Arc::default(),
            queue_items_max: 1_000,
            acl_every: Duration::MAX,
            acl_first_per_second: 1e9,
            synced: mpsc::channel(1).0,
        };
        let pipeline = Pipeline::new(parts, tree, greatest, unreadable, false);
        self.running = Some(Running { pipeline, recorder, thread, commands });
    }

    fn running(&mut self) -> (&Runtime, &mut Running) {
        (&self.runtime, self.running.as_mut().expect("it runs"))
    }

    /// Taken as soon as no row waits for its answer; refused where the tree is not complete.
    fn snapshot(&mut self) {
        let (runtime, running) = self.running();
        runtime.block_on(running.pipeline.ask_snapshot(Box::new(|_| ()))).expect("asked");
    }

    fn flush(&mut self) {
        let (runtime, running) = self.running();
        let (done, flushed) = oneshot::channel();
        runtime.block_on(running.recorder.send(Entry::Flush(done))).expect("asked");
        runtime.block_on(flushed).expect("flushed");
    }

    fn stop(&mut self) {
        let Some(Running { mut pipeline, recorder, thread, commands: _commands }) = self.running.take() else { return };
        self.runtime.block_on(pipeline.disconnected(Ended::Stopped)).expect("ended");
        let (done, stopped) = oneshot::channel();
        self.runtime.block_on(recorder.send(Entry::Stop(done))).expect("asked");
        self.runtime.block_on(stopped).expect("stopped");
        drop((pipeline, recorder));
        thread.join().expect("no panic");
    }
}

impl Listener for Agent {
    fn hear(&mut self, observation: Observation) -> Vec<Wish> {
        let (runtime, running) = self.running();
        runtime.block_on(running.pipeline.take(vec![observation])).expect("taken");
        std::iter::from_fn(|| running.commands.try_recv().ok())
            .filter_map(|command| match command {
                Command::ReadAcl(path) => Some(Wish::Acl(path)),
                Command::Reread(path) => Some(Wish::Again(path)),
                Command::Sync(_) => None,
            })
            .collect()
    }
}

/// A znode as far as its history must tell it: czxid, version, number of children.
type Known = (i64, i32, i32);
type Trees = BTreeMap<i64, BTreeMap<String, Known>>;

fn tree_of(server: &Server) -> BTreeMap<String, Known> {
    let known = |stat: &crate::zk::Stat| (stat.czxid.0, stat.version, stat.num_children);
    server.nodes.iter().map(|(path, node)| ((*path).to_owned(), known(&node.stat))).collect()
}

/// The tree of a moment by the history, and which of its paths it calls uncertain.
fn replayed(view: &View, at: At) -> Result<(BTreeMap<String, Known>, Vec<String>), String> {
    let named = |name: &str| schema::ZNODES.index_of(name).expect("a column");
    let columns = ["path", "czxid", "version", "num_children", "uncertain"].map(named).to_vec();
    let options = ReplayOptions { columns, filter: PathFilter::All, batch_rows: 100 };
    let (mut tree, mut uncertain) = (BTreeMap::new(), Vec::new());
    for batch in replay(view, at, options).map_err(|error| error.to_string())? {
        let batch = batch.map_err(|error| error.to_string())?;
        for row in 0..batch.num_rows() {
            let path = batch.column(0).as_string::<i32>().value(row).to_owned();
            let czxid = batch.column(1).as_primitive::<Int64Type>().value(row);
            let version = batch.column(2).as_primitive::<Int32Type>().value(row);
            let children = batch.column(3).as_primitive::<Int32Type>().value(row);
            if batch.column(4).as_boolean().value(row) {
                uncertain.push(path.clone());
            }
            tree.insert(path, (czxid, version, children));
        }
    }
    Ok((tree, uncertain))
}

/// What a run left: a folder, and what truly happened.
struct Ran {
    _dir: tempfile::TempDir,
    layout: Layout,
    server: Server,
    /// The tree after each transaction.
    trees: Trees,
    /// The znodes after each transaction, and before the first.
    nodes: BTreeMap<i64, import::Nodes>,
}

/// Plays the steps against an agent, to its end.
fn play(before: &[Vec<Operation>], steps: &[(Step, u8)], zxids: bool) -> Ran {
    let dir = tempfile::tempdir().expect("a folder");
    let mut server = Server::new();
    for operations in before {
        server.commit(operations);
    }
    let begin = server.zxid();
    server.forget_history();
    let mut nodes = BTreeMap::from([(begin.0, server.nodes.clone())]);
    let mut connection = Connection::new(zxids, Agent::new(dir.path()));
    connection.connect(&mut server, ScanReason::Bootstrap);
    let mut trees = Trees::new();
    for (step, upkeep) in steps {
        match step {
            Step::Commit(operations) => {
                server.commit(operations);
                connection.deliver(&mut server);
                if let Some(last) = server.log.last() {
                    trees.insert(last.zxid.0, tree_of(&server));
                    nodes.insert(last.zxid.0, server.nodes.clone());
                }
            }
            Step::Answer(count) => connection.answer(&server, *count),
            Step::Disconnect => connection.disconnect(),
            Step::Restart => {
                if connection.restart() {
                    connection.listener.stop();
                    connection.listener.start();
                }
            }
            Step::Reconnect => connection.connect(&mut server, ScanReason::Reconnect),
            Step::SweepAcls => connection.sweep(&server),
        }
        match upkeep {
            0..8 => connection.listener.snapshot(),
            8..12 => connection.listener.flush(),
            _ => {}
        }
    }
    connection.connect(&mut server, ScanReason::Reconnect);
    connection.answer(&server, usize::MAX);
    connection.listener.snapshot();
    connection.listener.stop();
    let layout = connection.listener.layout.clone();
    Ran { _dir: dir, layout, server, trees, nodes }
}

fn run(before: &[Vec<Operation>], steps: &[(Step, u8)], zxids: bool) -> Result<(), TestCaseError> {
    let ran = play(before, steps, zxids);
    let view = open_read_only(&ran.layout, CLUSTER).expect("readable");
    check(&view, &ran.server, &ran.trees, zxids)
        .map_err(|error| TestCaseError::fail(format!("{error}\n{}", tell(&view))))
}

fn check(view: &View, server: &Server, trees: &Trees, zxids: bool) -> Result<(), TestCaseError> {
    let report = verify(view, |_| ()).expect("verified");
    prop_assert!(report.is_clean(), "{:#?}", report.holes);
    let (now, _) = replayed(view, At::Now).map_err(TestCaseError::fail)?;
    prop_assert_eq!(now, tree_of(server));
    if !zxids {
        return Ok(());
    }
    let gaps = gaps(view).expect("readable");
    let inside = |zxid: i64| gaps.iter().any(|gap| gap.from_zxid < zxid && gap.to_zxid.is_none_or(|end| zxid < end));
    for (zxid, tree) in trees.iter().filter(|(zxid, _)| !inside(**zxid)) {
        // Before the first look there is nothing to show.
        let Ok((then, uncertain)) = replayed(view, At::Position { incarnation: 1, position: *zxid }) else { continue };
        let certain = |tree: &BTreeMap<String, Known>| -> BTreeMap<String, Known> {
            tree.iter()
                .filter(|(path, _)| !uncertain.contains(path))
                .map(|(path, known)| (path.clone(), *known))
                .collect()
        };
        prop_assert_eq!(certain(&then), certain(tree), "at {:#x}, uncertain {:?}", zxid, uncertain);
    }
    Ok(())
}

/// The history, to be read by people.
fn tell(view: &View) -> String {
    let mut told = String::new();
    let mut print = |batch: &arrow::record_batch::RecordBatch, names: &[&str]| {
        let columns: Vec<usize> = names.iter().map(|name| batch.schema().index_of(name).expect("a column")).collect();
        let batch = batch.project(&columns).expect("columns");
        let table = arrow::util::pretty::pretty_format_batches(&[batch]).expect("printable");
        told.push_str(&format!("{table}\n"));
    };
    let changes =
        ["seq", "kind", "path", "zxid", "position", "ordinal", "czxid", "version", "evidence", "missed", "source"];
    let snapshot = ["seq", "position", "path", "czxid", "mzxid", "version", "cversion", "num_children"];
    let coverage = ["path", "aspect", "from_zxid", "to_zxid", "ended", "missed_at_least"];
    for (parts, names) in
        [(&view.changes.parts, &changes[..]), (&view.snapshots, &snapshot[..]), (&view.coverage.parts, &coverage[..])]
    {
        for part in parts.iter() {
            let file = std::fs::File::open(part.path()).expect("a part");
            let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).expect("a part");
            for batch in reader.build().expect("a part") {
                print(&batch.expect("a batch"), names);
            }
        }
    }
    told
}

proptest! {
    // PROPTEST_CASES asks for more.
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases.max(300),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_history_on_disk_is_true(
        before in prop::collection::vec(prop::collection::vec(operation(), 1..3), 0..12),
        steps in prop::collection::vec((step(), 0u8..40), 0..60),
        zxids in any::<bool>(),
    ) {
        run(&before, &steps, zxids)?;
    }
}
