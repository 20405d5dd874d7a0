//! Logs of several servers that are one history, whatever became of their leaders.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use zktrail::source::txnlog::{FIRST, Inputs, LogItem, ReadOptions, Start, Step};
use zktrail::zk::{Action, Operation, Transaction};
use zookeeper_client::{Acls, CreateMode};

use super::{script, toolkit, tree};
use crate::prerequisites;
use crate::servers::{Ensemble, Settings, Shape, Version};
use crate::workload::{self, Kind, Recorded, Workload};

const CONFIG: &str = "/zookeeper/config";
const LOGGED_WITHIN: Duration = Duration::from_secs(20);

/// Three servers, of which the leader falls again and again while four sessions write: their logs are one history, and it
/// is what the writers know that they did.
#[tokio::test(flavor = "multi_thread")]
async fn logs_of_three_servers_are_what_was_done_while_leaders_fell() -> Result<()> {
    let version = Version::V3_9;
    let test = "txnlog::logs_of_three_servers_are_what_was_done_while_leaders_fell";
    if let Some(missing) = Ensemble::missing(version) {
        prerequisites::skip(test, &missing);
        return Ok(());
    }
    let Some(python) = prerequisites::python() else {
        prerequisites::skip(test, "the Python clients are not in the cache: run tests/run prepare");
        return Ok(());
    };
    let mut settings = Settings::new(version, Shape::ThreeNodes);
    for line in ["snapCount=500", "reconfigEnabled=true", "skipACL=yes"] {
        settings.extra.push(line.to_owned());
    }
    let mut ensemble = Ensemble::start_with(settings).await?;
    let running = Workload::new(ensemble.connect_string(), 3, 0).careful(500.0).start();
    for _ in 0..prerequisites::sized(2, 5) {
        running.advance(400).await;
        let leader = ensemble.leader().await?;
        ensemble.kill_node(leader)?;
        // More than a leader keeps in memory: who comes back is given a snapshot, over whatever its log ends with.
        running.advance(700).await;
        ensemble.restart_node(leader).await?;
    }
    script(&python, "reconfig.py", &[&ensemble.connect_string()])?;
    running.advance(300).await;
    let recorded = running.stop().await?;
    for node in 0..ensemble.len() {
        ensemble.kill_node(node)?;
    }

    let folders: Vec<_> = (0..ensemble.len()).map(|node| ensemble.data_dir(node)).collect();
    let inputs = Inputs::find(&folders)?;
    ensure!(inputs.servers().len() == 3);
    for segment in inputs.servers().iter().flat_map(|server| &server.segments) {
        toolkit::compare(version, Path::new(&*segment.place.name))?;
    }
    let mut operations = Vec::new();
    let mut reconfigured = false;
    for item in inputs.transactions(FIRST, ReadOptions::default())? {
        match item? {
            LogItem::Transaction { transaction, .. } => {
                done(&transaction, &mut operations);
                reconfigured |= matches!(&transaction.action, Action::Operations(parts)
                    if parts.iter().any(|part| matches!(part, Operation::DataSet { path, .. } if &**path == CONFIG)));
            }
            LogItem::Hole(hole) => anyhow::bail!("{hole:?}"),
            note @ (LogItem::Uncommitted(_) | LogItem::Torn { .. }) => println!("{note:?}"),
        }
    }
    ensure!(reconfigured, "no reconfiguration is in the log");
    compare_with_record(operations, &recorded)?;
    let Start::Snapshot(snapshot) = inputs.beginning()?.start else { anyhow::bail!("there is no snapshot") };
    let tree = tree::replay(&inputs, &snapshot)?;
    for (path, znode) in &recorded.tree {
        let read = tree.get(path).with_context(|| format!("{path} is missing"))?;
        ensure!((&read.data, read.version, read.czxid) == (&znode.value, znode.version, znode.czxid), "{path}");
    }
    Ok(())
}

/// What a transaction did below the workload's root, but for ACLs, whose zxids no client is told, and what closed sessions
/// held.
fn done(transaction: &Transaction, operations: &mut Vec<(String, Kind, i64)>) {
    let zxid = transaction.zxid.0;
    let mut push = |path: &str, kind| {
        if path.starts_with("/work") {
            operations.push((path.to_owned(), kind, zxid));
        }
    };
    match &transaction.action {
        Action::SessionClosed { ephemerals } => {
            ephemerals.iter().flatten().for_each(|path| push(path, Kind::Deleted));
        }
        Action::Operations(parts) => {
            for part in parts {
                match part {
                    Operation::Created { path, .. } => push(path, Kind::Created),
                    Operation::Deleted { path, .. } => push(path, Kind::Deleted),
                    Operation::DataSet { path, .. } => push(path, Kind::DataChanged),
                    Operation::AclSet { .. } => {}
                }
            }
        }
        Action::SessionOpened { .. } | Action::Nothing => {}
    }
}

fn compare_with_record(mut read: Vec<(String, Kind, i64)>, recorded: &Recorded) -> Result<()> {
    let known = recorded.operations.iter().filter(|operation| operation.kind != Kind::AclChanged);
    let mut done: Vec<(String, Kind, i64)> = known
        .map(|operation| {
            let zxid = operation.zxid.with_context(|| format!("{operation:?} has no zxid"))?;
            Ok((operation.path.clone(), operation.kind, zxid))
        })
        .collect::<Result<_>>()?;
    read.sort();
    done.sort();
    println!("{} operations were done, {} read", done.len(), read.len());
    let differ = read.iter().zip(&done).find(|(read, done)| read != done);
    ensure!(differ.is_none(), "read and done differ: {differ:?}");
    ensure!(read.len() == done.len(), "{} were read and {} done", read.len(), done.len());
    Ok(())
}

/// A leader that logged what nobody else heard of, and fell: the others went on without.
#[tokio::test(flavor = "multi_thread")]
async fn a_tail_that_was_never_committed_is_left_out() -> Result<()> {
    let version = Version::V3_9;
    if let Some(missing) = Ensemble::missing(version) {
        prerequisites::skip("txnlog::a_tail_that_was_never_committed_is_left_out", &missing);
        return Ok(());
    }
    let mut settings = Settings::new(version, Shape::ThreeNodes);
    // A leader looks every half tick whether anybody follows it.
    settings.tick = Duration::from_secs(6);
    let mut ensemble = Ensemble::start_with(settings).await?;
    let leader = ensemble.leader().await?;
    let client = workload::session(&ensemble.address(leader).to_string()).await?;
    let persistent = CreateMode::Persistent.with_acls(Acls::anyone_all());
    client.create("/tail", b"", &persistent).await?;
    let followers: Vec<usize> = (0..ensemble.len()).filter(|node| *node != leader).collect();
    for follower in &followers {
        ensemble.kill_node(*follower)?;
    }
    let paths: Vec<String> = (0..20).map(|turn| format!("/tail/{turn}")).collect();
    // Queued when they are called; nobody answers.
    let requests: Vec<_> = paths.iter().map(|path| client.create(path, b"never", &persistent)).collect();
    let (data_dir, deadline) = (ensemble.data_dir(leader), Instant::now() + LOGGED_WITHIN);
    while !is_logged(&data_dir, paths.last().context("a path")?)? {
        ensure!(Instant::now() < deadline, "the leader has not logged it within {LOGGED_WITHIN:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    ensemble.kill_node(leader)?;
    drop(requests);
    drop(client);
    // As a backup of it would be.
    let copy = tempfile::tempdir()?;
    let status = std::process::Command::new("cp").arg("-r").arg(&data_dir).arg(copy.path()).status()?;
    ensure!(status.success());

    ensemble.restart_nodes(&followers).await?;
    let connect = format!("{},{}", ensemble.address(followers[0]), ensemble.address(followers[1]));
    let recorded = Workload::new(connect.clone(), 9, 1_500).run().await?;
    ensemble.restart_node(leader).await?;
    let client = workload::session(&connect).await?;
    let mut is_there = Vec::new();
    for path in &paths {
        is_there.push(client.check_stat(path).await?.is_some());
    }
    ensure!(!is_there.contains(&true), "what nobody heard of was committed: {is_there:?}");
    drop(client);
    for node in 0..ensemble.len() {
        ensemble.kill_node(node)?;
    }

    let mut folders: Vec<_> = (0..ensemble.len()).map(|node| ensemble.data_dir(node)).collect();
    folders.push(copy.path().to_owned());
    let (mut operations, mut left_out) = (Vec::new(), 0);
    for item in Inputs::find(&folders)?.transactions(FIRST, ReadOptions::default())? {
        match item? {
            LogItem::Transaction { transaction, .. } => {
                ensure!(!creates_any(&transaction, &paths), "{transaction:?} never was committed");
                done(&transaction, &mut operations);
            }
            LogItem::Uncommitted(uncommitted) => left_out += uncommitted.records,
            other => anyhow::bail!("{other:?}"),
        }
    }
    ensure!(left_out >= paths.len() as u64, "{left_out} records were left out");
    compare_with_record(operations, &recorded)
}

fn creates_any(transaction: &Transaction, paths: &[String]) -> bool {
    matches!(&transaction.action, Action::Operations(parts) if parts.iter().any(|part| {
        matches!(part, Operation::Created { path, .. } if paths.iter().any(|other| **other == **path))
    }))
}

/// Whether a running server's log has the creation of this path.
fn is_logged(data_dir: &Path, created: &str) -> Result<bool> {
    let inputs = Inputs::find(&[data_dir.to_owned()])?;
    for file in inputs.servers().iter().flat_map(|server| &server.segments) {
        let mut segment = file.open(true)?;
        loop {
            match segment.advance()? {
                Step::End(_) => break,
                Step::Skipped(_) => {}
                Step::Record => {
                    let payload = segment.record().context("a record")?.payload;
                    if payload.windows(created.len()).any(|part| part == created.as_bytes()) {
                        return Ok(true);
                    }
                }
            }
        }
    }
    Ok(false)
}
