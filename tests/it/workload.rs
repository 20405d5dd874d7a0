//! A writer that records what it did, so that a history can be held against it.
//!
//! Every worker has a session and a subtree of its own. A session's requests are executed in the order in which they
//! were sent, so the worker knows what each one will do before it is answered, may keep many in flight, and the
//! order of what happened to a path is the order of its records. What is done depends on the seed alone.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::task::JoinHandle;
use zookeeper_client::{Acls, Client, CreateMode};

pub use self::plan::Random;
use self::plan::{Planner, Request};
use self::session::{Executor, connect};

mod plan;
mod session;

/// What happened to a znode: the `kind` column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Created,
    DataChanged,
    AclChanged,
    Deleted,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::DataChanged => "data_changed",
            Self::AclChanged => "acl_changed",
            Self::Deleted => "deleted",
        }
    }
}

/// One change that certainly happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    pub path: String,
    pub kind: Kind,
    /// After the change; `None` for a deletion.
    pub version: Option<i32>,
    /// After the change; told by an ACL change.
    pub aversion: Option<i32>,
    /// `None` only for an ACL change, which leaves none in any Stat.
    pub zxid: Option<i64>,
    pub czxid: i64,
    /// What was created or set.
    pub value: Option<Vec<u8>>,
    pub ephemeral_owner: i64,
}

/// A znode as it must be in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Znode {
    pub value: Vec<u8>,
    pub version: i32,
    pub aversion: i32,
    pub czxid: i64,
    pub ephemeral_owner: i64,
}

/// What was done. The operations of one path are in the order in which they happened.
#[derive(Clone, Debug, Default)]
pub struct Recorded {
    pub operations: Vec<Operation>,
    pub tree: BTreeMap<String, Znode>,
}

impl Recorded {
    pub fn by_path(&self) -> BTreeMap<&str, Vec<&Operation>> {
        let mut paths: BTreeMap<&str, Vec<&Operation>> = BTreeMap::new();
        for operation in &self.operations {
            paths.entry(&operation.path).or_default().push(operation);
        }
        paths
    }

    /// Adds what happened later, or elsewhere in the tree.
    pub fn extend(&mut self, later: Self) {
        for operation in later.operations {
            self.push(operation);
        }
    }

    /// Adds one change and what it leaves behind.
    pub fn push(&mut self, operation: Operation) {
        match operation.kind {
            Kind::Created => {
                let value = operation.value.clone().unwrap_or_default();
                let znode = Znode {
                    value,
                    version: 0,
                    aversion: 0,
                    czxid: operation.czxid,
                    ephemeral_owner: operation.ephemeral_owner,
                };
                self.tree.insert(operation.path.clone(), znode);
            }
            Kind::DataChanged => {
                if let Some(znode) = self.tree.get_mut(&operation.path) {
                    znode.value = operation.value.clone().unwrap_or_default();
                    znode.version = operation.version.unwrap_or(znode.version);
                }
            }
            Kind::AclChanged => {
                if let Some(znode) = self.tree.get_mut(&operation.path) {
                    znode.aversion = operation.aversion.unwrap_or(znode.aversion);
                }
            }
            Kind::Deleted => {
                self.tree.remove(&operation.path);
            }
        }
        self.operations.push(operation);
    }

    /// Changes that a watch hears of: all but those of ACLs.
    pub fn heard(&self) -> usize {
        self.operations.iter().filter(|operation| operation.kind != Kind::AclChanged).count()
    }
}

/// A mixed workload.
#[derive(Clone, Debug)]
pub struct Workload {
    pub connect: String,
    pub seed: u64,
    /// Of all workers together; slightly exceeded, because a multi counts as often as it changes something.
    pub operations: usize,
    pub workers: usize,
    /// Requests that a worker keeps in flight.
    pub window: usize,
    /// Of all workers together; `None` for as fast as the ensemble bears.
    pub operations_per_second: Option<f64>,
    /// The subtree that it makes and stays in; its parent must exist.
    pub root: String,
    /// Ends the workload early where it is set.
    pub stop: Arc<AtomicBool>,
    /// How many operations of all workers are done.
    pub done: Arc<AtomicUsize>,
}

impl Workload {
    /// Four workers at full speed under `/work`.
    pub fn new(connect: impl Into<String>, seed: u64, operations: usize) -> Self {
        Self {
            connect: connect.into(),
            seed,
            operations,
            workers: 4,
            window: 64,
            operations_per_second: None,
            root: "/work".to_owned(),
            stop: Arc::default(),
            done: Arc::default(),
        }
    }

    /// One request at a time a worker, at a bounded rate: what lost connections leave open is settled by reading.
    #[must_use]
    pub fn careful(mut self, operations_per_second: f64) -> Self {
        self.window = 1;
        self.operations_per_second = Some(operations_per_second);
        self
    }

    /// Runs it in the background until [`Running::stop`].
    pub fn start(mut self) -> Running {
        self.operations = usize::MAX;
        let (stop, done) = (Arc::clone(&self.stop), Arc::clone(&self.done));
        Running { stop, done, writer: tokio::spawn(self.run()) }
    }

    /// Does it all and gives the record. An error if anything answered otherwise than it must.
    pub async fn run(self) -> Result<Recorded> {
        let mut recorded = Recorded::default();
        let mut executor = Executor::new(connect(&self.connect).await?, &self.connect);
        executor.one(&Request::create(&self.root, b""), &mut recorded).await?;
        drop(executor);

        let workers: Vec<_> = (0..self.workers).map(|worker| tokio::spawn(work(self.clone(), worker))).collect();
        for worker in workers {
            recorded.extend(worker.await??);
        }
        Ok(recorded)
    }
}

/// A workload in the background.
pub struct Running {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    writer: JoinHandle<Result<Recorded>>,
}

impl Running {
    /// Waits until this many more operations are done, or an error ended the workload.
    pub async fn advance(&self, operations: usize) {
        let enough = self.done.load(Ordering::Relaxed) + operations;
        while self.done.load(Ordering::Relaxed) < enough && !self.writer.is_finished() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Ends it in order and gives the record.
    pub async fn stop(self) -> Result<Recorded> {
        self.stop.store(true, Ordering::Relaxed);
        self.writer.await?
    }
}

/// A persistent znode made by hand.
pub async fn create(client: &Client, path: &str, value: &[u8]) -> Result<Operation> {
    let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
    let (stat, _) = client.create(path, value, &options).await.with_context(|| format!("creating {path}"))?;
    Ok(Operation {
        path: path.to_owned(),
        kind: Kind::Created,
        version: Some(0),
        aversion: None,
        zxid: Some(stat.czxid),
        czxid: stat.czxid,
        value: Some(value.to_vec()),
        ephemeral_owner: 0,
    })
}

/// A value set by hand.
pub async fn set(client: &Client, path: &str, value: &[u8]) -> Result<Operation> {
    let stat = client.set_data(path, value, None).await.with_context(|| format!("setting {path}"))?;
    Ok(Operation {
        path: path.to_owned(),
        kind: Kind::DataChanged,
        version: Some(stat.version),
        aversion: None,
        zxid: Some(stat.mzxid),
        czxid: stat.czxid,
        value: Some(value.to_vec()),
        ephemeral_owner: stat.ephemeral_owner,
    })
}

/// A znode deleted by hand. Nobody else may change its parent's children at the same time.
pub async fn delete(client: &Client, path: &str) -> Result<Operation> {
    let stat = client.check_stat(path).await?.with_context(|| format!("{path} does not exist"))?;
    let parent = parent(path).to_owned();
    client.delete(path, None).await.with_context(|| format!("deleting {path}"))?;
    let after = client.check_stat(&parent).await?.with_context(|| format!("{parent} does not exist"))?;
    Ok(Operation {
        path: path.to_owned(),
        kind: Kind::Deleted,
        version: None,
        aversion: None,
        zxid: Some(after.pzxid),
        czxid: stat.czxid,
        value: None,
        ephemeral_owner: stat.ephemeral_owner,
    })
}

/// Creates and deletes one path again and again, as fast as it goes. Its parent must exist and be left alone.
pub async fn churn(connect_string: &str, path: &str, lives: usize) -> Result<Recorded> {
    let client = connect(connect_string).await?;
    let mut executor = Executor::new(client, connect_string);
    let mut recorded = Recorded::default();
    let mut left = lives;
    while left > 0 {
        let batch = left.min(32);
        let requests: Vec<Request> = (0..batch)
            .flat_map(|_| [Request::create(path, b"life"), Request::Delete { path: path.to_owned() }])
            .collect();
        executor.pipeline(&requests, &mut recorded).await?;
        left -= batch;
    }
    Ok(recorded)
}

/// A session of the kind that the workload uses.
pub async fn session(connect_string: &str) -> Result<Client> {
    connect(connect_string).await
}

/// The parent's path.
pub fn parent(path: &str) -> &str {
    match path.rfind('/') {
        Some(0) | None => "/",
        Some(at) => &path[..at],
    }
}

async fn work(workload: Workload, worker: usize) -> Result<Recorded> {
    let mut recorded = Recorded::default();
    let base = format!("{}/w{worker}", workload.root);
    let mut executor = Executor::new(connect(&workload.connect).await?, &workload.connect);
    let careful = workload.window == 1;
    let mut planner = Planner::new(workload.seed.wrapping_mul(1_000_003).wrapping_add(worker as u64), &base, careful);

    executor.one(&Request::create(&base, b""), &mut recorded).await?;
    executor.one(&Request::create(&planner.marker(), b""), &mut recorded).await?;
    executor.one(&Request::create(&planner.queue(), b""), &mut recorded).await?;

    let enough = workload.operations.div_ceil(workload.workers);
    let started = Instant::now();
    while recorded.operations.len() < enough && !workload.stop.load(Ordering::Relaxed) {
        let before = recorded.operations.len();
        let mut batch = Vec::new();
        // A request that must be answered before the next can be planned ends its batch.
        while batch.len() < workload.window {
            batch.push(planner.next_request());
            if batch.last().is_some_and(Request::stands_alone) {
                break;
            }
        }
        let alone = batch.pop_if(|request| request.stands_alone());
        if careful {
            for request in &batch {
                executor.one(request, &mut recorded).await?;
            }
        } else {
            executor.pipeline(&batch, &mut recorded).await?;
        }
        if let Some(request) = alone {
            let done = match &request {
                Request::Ephemerals { paths, .. } => executor.ephemerals(paths, &request, &mut recorded).await?,
                Request::Sequential { prefix, value } => executor.sequential(prefix, value, &mut recorded).await?,
                _ => bail!("{request:?} stands alone, but nobody knows how"),
            };
            planner.happened(&request, &done);
        }
        workload.done.fetch_add(recorded.operations.len() - before, Ordering::Relaxed);
        if let Some(rate) = workload.operations_per_second {
            let share = rate / workload.workers as f64;
            let due = started + Duration::from_secs_f64(recorded.operations.len() as f64 / share);
            tokio::time::sleep_until(due.into()).await;
        }
    }
    check_plan(&planner, &recorded)?;
    Ok(recorded)
}

/// The tree that was planned is the tree that the answers led to.
fn check_plan(planner: &Planner, recorded: &Recorded) -> Result<()> {
    let planned: HashMap<&str, i32> = planner.versions().collect();
    for (path, znode) in &recorded.tree {
        if let Some(version) = planned.get(path.as_str()) {
            ensure!(*version == znode.version, "{path}: planned version {version}, answered {}", znode.version);
        }
    }
    ensure!(
        planned.len() == recorded.tree.len(),
        "{} znodes were planned, the answers led to {}",
        planned.len(),
        recorded.tree.len()
    );
    Ok(())
}
