//! Transaction logs and snapshots of real servers: what we read of them is what the server's own tool reads, and leads to
//! the tree that clients see.
//!
//! `ZKTRAIL_LOG_RECORDS` makes the log longer; `ZKTRAIL_LOG_KEEP` names a folder for the server's dataDir.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use zktrail::source::txnlog::{FIRST, Inputs, LogItem, ReadOptions};
use zktrail::zk::{Action, Operation, Transaction, Zxid};
use zookeeper_client::{Acls, CreateMode};

use self::tree::Live;
use crate::prerequisites;
use crate::servers::{Ensemble, Settings, Shape, Version};
use crate::workload::{self, Workload};

mod java;
mod servers;
mod toolkit;
mod tree;

const RECORDS: usize = 3_000;
const GONE_WITHIN: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_what_the_toolkit_prints_3_6() -> Result<()> {
    run("txnlog::the_log_is_what_the_toolkit_prints_3_6", Version::V3_6, "gz").await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_what_the_toolkit_prints_3_8() -> Result<()> {
    run("txnlog::the_log_is_what_the_toolkit_prints_3_8", Version::V3_8, "snappy").await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_what_the_toolkit_prints_3_9() -> Result<()> {
    run("txnlog::the_log_is_what_the_toolkit_prints_3_9", Version::V3_9, "").await
}

async fn run(test: &str, version: Version, packing: &str) -> Result<()> {
    if let Some(missing) = Ensemble::missing(version) {
        prerequisites::skip(test, &missing);
        return Ok(());
    }
    let Some(python) = prerequisites::python() else {
        prerequisites::skip(test, "the Python clients are not in the cache: run tests/run prepare");
        return Ok(());
    };
    let asked = std::env::var("ZKTRAIL_LOG_RECORDS").ok().map(|records| records.parse::<usize>()).transpose()?;
    let mut settings = Settings::new(version, Shape::Standalone);
    // Small: segments roll over and snapshots are written while the workload runs. A long log is to be in one piece.
    settings.extra.push(format!("snapCount={}", if asked.is_some() { 100_000_000 } else { RECORDS / 3 }));
    settings.extra.push(format!("snapshot.compression.method={packing}"));
    let mut ensemble = Ensemble::start_with(settings).await?;
    let records = asked.unwrap_or(RECORDS);
    Workload::new(ensemble.connect_string(), 7, records).run().await?;
    script(&python, "txnlog_mix.py", &[&ensemble.connect_string(), &(20 + records / 2_000).to_string()])?;
    expire(&mut ensemble).await?;

    let live = script(&python, "dump_tree.py", &[&ensemble.connect_string()])?;
    let live: Live = live.lines().map(tree::znode).collect::<Result<_>>()?;
    ensemble.kill_node(0)?;
    let data_dir = ensemble.data_dir(0);
    if let Some(keep) = std::env::var_os("ZKTRAIL_LOG_KEEP") {
        let status = Command::new("cp").args(["-r", "--sparse=always"]).arg(&data_dir).arg(keep).status()?;
        ensure!(status.success(), "the dataDir could not be kept");
    }

    let inputs = Inputs::find(std::slice::from_ref(&data_dir))?;
    compare_with_toolkit(version, &inputs)?;
    every_type_is_there(&inputs)?;
    ensure!(inputs.snapshots().len() > 2, "there are {} snapshots", inputs.snapshots().len());
    // From every snapshot the log leads to the tree that clients saw.
    for snapshot in inputs.snapshots() {
        ensure!(snapshot.zxid == Zxid(0) || snapshot.place.name.ends_with(packing), "{}", snapshot.place.name);
        let tree = tree::replay(&inputs, snapshot)?;
        tree::compare(&live, &tree).with_context(|| format!("from {}", snapshot.place.name))?;
    }
    Ok(())
}

/// Lets the server remove an emptied container, those that the workload left, and a TTL znode.
async fn expire(ensemble: &mut Ensemble) -> Result<()> {
    ensemble.set_container_check(Duration::from_millis(200));
    ensemble.restart_node(0).await?;
    let client = workload::session(&ensemble.connect_string()).await?;
    let anyone = Acls::anyone_all();
    client.create("/emptied", b"", &CreateMode::Container.with_acls(anyone)).await?;
    client.create("/emptied/child", b"", &CreateMode::Persistent.with_acls(anyone)).await?;
    client.delete("/emptied/child", None).await?;
    let ttl = CreateMode::Persistent.with_acls(anyone).with_ttl(Duration::from_millis(100));
    client.create("/outlived", b"x", &ttl).await?;
    let deadline = Instant::now() + GONE_WITHIN;
    for path in ["/emptied", "/outlived"] {
        while client.check_stat(path).await?.is_some() {
            ensure!(Instant::now() < deadline, "{path} is still there after {GONE_WITHIN:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    // What the workload left is removed, too, until nothing changes any more.
    ensemble.set_container_check(Duration::from_secs(24 * 3_600));
    ensemble.restart_node(0).await
}

fn script(python: &Path, name: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(python).arg(prerequisites::script(name)).args(arguments).output()?;
    ensure!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

fn compare_with_toolkit(version: Version, inputs: &Inputs) -> Result<()> {
    let (mut records, mut took) = (0, Duration::ZERO);
    for segment in inputs.servers().iter().flat_map(|server| &server.segments) {
        let (compared, toolkit) = toolkit::compare(version, Path::new(&*segment.place.name))?;
        records += compared;
        took += toolkit;
    }
    println!("{}: {records} records as the toolkit prints them; it took {took:?}", version.as_str());
    let started = Instant::now();
    let transactions = transactions(inputs, FIRST)?;
    println!("read in {:?} by this build", started.elapsed());
    ensure!(transactions.len() == records, "{} transactions of {records} records", transactions.len());
    Ok(())
}

fn transactions(inputs: &Inputs, from: Zxid) -> Result<Vec<Transaction>> {
    let items = inputs.transactions(from, ReadOptions::default())?;
    items
        .map(|item| match item? {
            LogItem::Transaction { transaction, .. } => Ok(transaction),
            other => anyhow::bail!("the log has {other:?}"),
        })
        .collect()
}

fn every_type_is_there(inputs: &Inputs) -> Result<()> {
    let mut kinds = BTreeSet::new();
    for transaction in transactions(inputs, FIRST)? {
        match &transaction.action {
            Action::SessionOpened { .. } => drop(kinds.insert("session opened".to_owned())),
            Action::SessionClosed { ephemerals } => {
                let held = ephemerals.as_ref().map(|paths| !paths.is_empty());
                kinds.insert(format!("session closed {held:?}"));
            }
            Action::Nothing => drop(kinds.insert("nothing".to_owned())),
            Action::Operations(operations) => {
                if operations.len() > 1 {
                    kinds.insert("several".to_owned());
                }
                for operation in operations {
                    kinds.insert(match operation {
                        Operation::Created { node_type, .. } => format!("created {}", node_type.as_str()),
                        Operation::Deleted { expired, .. } => format!("deleted, expired {expired}"),
                        Operation::DataSet { .. } => "set".to_owned(),
                        Operation::AclSet { .. } => "acl".to_owned(),
                    });
                }
            }
        }
    }
    let due = [
        "acl",
        "created container",
        "created ephemeral",
        "created persistent",
        "created ttl",
        "deleted, expired false",
        "deleted, expired true",
        "nothing",
        "session closed Some(false)",
        "session closed Some(true)",
        "session opened",
        "set",
        "several",
    ];
    let missing: Vec<_> = due.iter().filter(|kind| !kinds.contains(**kind)).collect();
    ensure!(missing.is_empty(), "{missing:?} are not in the log: {kinds:?}");
    Ok(())
}
