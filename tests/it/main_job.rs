//! The main job: whatever is done to an ensemble is on record exactly once, and the tree by SQL is the tree.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::agent::{self, Agent, Settings};
use crate::check::{self, CHANGES_IN_ORDER, Expectations, ZNODES};
use crate::prerequisites::{history_folder, sized, skip};
use crate::servers::{Ensemble, Shape, Version};
use crate::workload::{self, Workload};

const LEVELS_OUT_WITHIN: Duration = Duration::from_secs(30);

/// Waits until the tree by SQL is the tree that another client reads.
pub async fn wait_tree_equals(agent: &Agent, connect_string: &str) -> Result<usize> {
    let dump = check::dump_tree(connect_string)?;
    let deadline = Instant::now() + LEVELS_OUT_WITHIN;
    loop {
        match check::tree_equals(&dump, &agent.sql(ZNODES).await?) {
            Ok(znodes) => return Ok(znodes),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}

async fn every_operation_is_a_row(version: Version, shape: Shape) -> Result<()> {
    if let Some(missing) = Ensemble::missing(version) {
        skip("every_operation_is_a_row", &missing);
        return Ok(());
    }
    let operations = sized(3_000, 100_000);
    let ensemble = Ensemble::start(version, shape).await?;
    let connect = ensemble.connect_string();
    let folder = history_folder()?;
    // ACL changes come by sweeps alone; the workload makes some.
    let settings = Settings::new(&connect, folder.path()).with("--acl-sweep", "10s");
    let mut agent = Agent::start(settings).await?;

    let recorded = Workload::new(&connect, 7, operations).run().await?;
    let client = workload::session(&connect).await?;
    workload::create(&client, "/done", b"").await?;
    agent.sees("/done").await?;

    let rows = check::rows(&agent.sql(CHANGES_IN_ORDER).await?)?;
    let expected = Expectations { root: "/work", zxids: version.tells_zxids(), gaps: None };
    let findings = check::compare(&recorded, &rows, expected)?;
    ensure!(findings.matched == recorded.heard() && findings.absent == 0, "{findings:?}");
    println!("{} {shape:?}: {findings:?}", version.as_str());
    wait_tree_equals(&agent, &connect).await?;
    let heard = agent.metric_sum("zktrail_notifications_total").await?;
    ensure!(heard >= recorded.heard() as f64, "zktrail_notifications_total is {heard} after {findings:?}");

    ensure!(agent.terminate().await? == 0, "SIGTERM must end the agent with 0");
    agent::verify(folder.path()).await?;
    // What is on disk is what was answered.
    let output =
        agent::zktrail("sql", &["--format", "json", "SELECT count(*) AS n FROM changes"], folder.path()).await?;
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    ensure!(answer[0]["n"].as_u64() >= Some(rows.len() as u64), "offline: {answer}, live: {} rows", rows.len());
    Ok(())
}

macro_rules! on_every_server {
    ($($name:ident => $version:ident, $shape:ident;)+) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() -> Result<()> {
            every_operation_is_a_row(Version::$version, Shape::$shape).await
        }
    )+};
}
on_every_server! {
    every_operation_is_a_row_3_6_standalone => V3_6, Standalone;
    every_operation_is_a_row_3_6_three_nodes => V3_6, ThreeNodes;
    every_operation_is_a_row_3_8_standalone => V3_8, Standalone;
    every_operation_is_a_row_3_8_three_nodes => V3_8, ThreeNodes;
    every_operation_is_a_row_3_9_standalone => V3_9, Standalone;
    every_operation_is_a_row_3_9_three_nodes => V3_9, ThreeNodes;
    every_operation_is_a_row_embedded => Embedded, Standalone;
    every_operation_is_a_row_embedded_without_zxids => EmbeddedWithoutZxids, Standalone;
}

/// One path created and deleted as fast as it goes, where no notification carries a zxid.
async fn every_life_is_two_rows(version: Version) -> Result<()> {
    const LIVES: usize = 1_000;
    if let Some(missing) = Ensemble::missing(version) {
        skip("every_life_is_two_rows", &missing);
        return Ok(());
    }
    let ensemble = Ensemble::start(version, Shape::Standalone).await?;
    let connect = ensemble.connect_string();
    let folder = history_folder()?;
    let mut agent = Agent::start(Settings::new(&connect, folder.path())).await?;
    let client = workload::session(&connect).await?;
    workload::create(&client, "/churn", b"").await?;

    let recorded = workload::churn(&connect, "/churn/one", LIVES).await?;
    workload::create(&client, "/done", b"").await?;
    agent.sees("/done").await?;

    let rows = check::rows(&agent.sql(CHANGES_IN_ORDER).await?)?;
    let expected = Expectations { root: "/churn/one", zxids: version.tells_zxids(), gaps: None };
    let findings = check::compare(&recorded, &rows, expected)?;
    ensure!(findings.matched == 2 * LIVES, "{findings:?}");
    ensure!(agent.terminate().await? == 0, "SIGTERM must end the agent with 0");
    agent::verify(folder.path()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_life_is_two_rows_3_6() -> Result<()> {
    every_life_is_two_rows(Version::V3_6).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_life_is_two_rows_3_8() -> Result<()> {
    every_life_is_two_rows(Version::V3_8).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_life_is_two_rows_embedded() -> Result<()> {
    every_life_is_two_rows(Version::EmbeddedWithoutZxids).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expired_znodes_are_rows_3_9() -> Result<()> {
    expired_znodes_are_rows(Version::V3_9).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expired_znodes_are_rows_embedded() -> Result<()> {
    expired_znodes_are_rows(Version::Embedded).await
}

/// What the servers delete by themselves is on record like everything else.
async fn expired_znodes_are_rows(version: Version) -> Result<()> {
    use zookeeper_client::{Acls, CreateMode};

    if let Some(missing) = Ensemble::missing(version) {
        skip("expired_znodes_are_rows", &missing);
        return Ok(());
    }
    let mut settings = crate::servers::Settings::new(version, Shape::Standalone);
    settings.container_check = Duration::from_millis(500);
    let ensemble = Ensemble::start_with(settings).await?;
    let connect = ensemble.connect_string();
    let folder = history_folder()?;
    let agent = Agent::start(Settings::new(&connect, folder.path())).await?;
    let client = workload::session(&connect).await?;

    let ttl = CreateMode::Persistent.with_acls(Acls::anyone_all()).with_ttl(Duration::from_millis(500));
    client.create("/short", b"", &ttl).await?;
    client.create("/box", b"", &CreateMode::Container.with_acls(Acls::anyone_all())).await?;
    workload::create(&client, "/box/last", b"").await?;
    workload::delete(&client, "/box/last").await?;

    for path in ["/short", "/box"] {
        let query = format!("SELECT kind FROM changes WHERE path = '{path}' ORDER BY position, ordinal, seq");
        let rows = agent.sql_until(Duration::from_secs(60), &query, |rows| rows.len() >= 2).await?;
        let kinds: Vec<_> = rows.iter().filter_map(|row| row["kind"].as_str()).collect();
        ensure!(kinds == ["created", "deleted"], "{path}: {kinds:?}");
    }
    Ok(())
}
