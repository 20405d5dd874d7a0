//! The log of a running server beside the watches: complete rows within seconds, nothing taken back.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::agent::{self, Agent, Settings};
use crate::check::{self, CHANGES_IN_ORDER, Expectations};
use crate::import::{import, is_all, is_complete, sql};
use crate::main_job::wait_tree_equals;
use crate::prerequisites::{history_folder, skip};
use crate::servers::{Ensemble, Shape, Version};
use crate::workload::{self, Workload};

const LEADER_KILLS: usize = 5;
/// What a row says that the log has told of.
const TOLD: &str = "SELECT zxid, ordinal, path, kind, czxid, version, session_id, cxid, time FROM changes \
    WHERE source = 'txnlog' ORDER BY zxid, ordinal";
/// All that the log proves of a change.
const PROVED: &str = "SELECT zxid, ordinal, path, kind, czxid, version, aversion, node_type, ephemeral_owner, acl, \
    encode(data, 'hex') AS data, data_length, session_id, cxid, cause, time, time_source, evidence, missed, source \
    FROM changes ORDER BY zxid, ordinal";
/// As long as watches alone have told of a row.
const NOT_YET: &str = "SELECT seq, path, kind, zxid, position, version, aversion, source, evidence, missed FROM changes \
    WHERE source <> 'txnlog' LIMIT 5";

fn settings(ensemble: &Ensemble, node: usize, folder: &Path) -> Settings {
    let source = format!("txnlog={}", ensemble.data_dir(node).display());
    Settings::new(ensemble.connect_string(), folder).with("--session-timeout", "5s").with("--source", &source)
}

/// Everything on record is as the log has it, up to a znode made just now.
async fn is_worked_in(agent: &Agent, ensemble: &Ensemble, path: &str) -> Result<()> {
    workload::create(&workload::session(&ensemble.connect_string()).await?, path, b"").await?;
    agent.sees(path).await?;
    let within = Duration::from_secs(60);
    agent.sql_until(within, NOT_YET, <[Value]>::is_empty).await?;
    Ok(())
}

/// Looks again and again at what the log has told, until it is told to stop: nothing of it may change.
async fn nothing_is_taken_back(agent: Arc<Agent>, stop: Arc<AtomicBool>) -> Result<usize> {
    let mut seen: BTreeMap<(i64, i64), Value> = BTreeMap::new();
    let mut looks = 0;
    loop {
        let last = stop.load(Ordering::SeqCst);
        let rows = agent.sql(TOLD).await?;
        let mut now = BTreeMap::new();
        for row in rows {
            let place =
                row["zxid"].as_i64().zip(row["ordinal"].as_i64()).with_context(|| format!("no place: {row}"))?;
            ensure!(now.insert(place, row.clone()).is_none(), "twice: {row}");
        }
        for (place, row) in &seen {
            ensure!(now.get(place) == Some(row), "look {looks}: {row} has become {:?}", now.get(place));
        }
        looks += 1;
        seen = now;
        if last {
            return Ok(seen.len());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

async fn follows_through_leader_kills(version: Version) -> Result<()> {
    if let Some(missing) = Ensemble::missing(version) {
        skip("follows_through_leader_kills", &missing);
        return Ok(());
    }
    let mut ensemble = Ensemble::start(version, Shape::ThreeNodes).await?;
    let connect = ensemble.connect_string();
    let folder = history_folder()?;
    let folder = folder.path();
    // The leader's own: its log is the one whose end is taken back.
    let followed = ensemble.leader().await?;
    let agent = Arc::new(Agent::start(settings(&ensemble, followed, folder)).await?);
    let stop = Arc::new(AtomicBool::new(false));
    let looking = tokio::spawn(nothing_is_taken_back(agent.clone(), stop.clone()));

    let running = Workload::new(&connect, 23, 0).careful(200.0).start();
    running.advance(300).await;
    for _ in 0..LEADER_KILLS {
        let leader = ensemble.leader().await?;
        ensemble.kill_node(leader)?;
        running.advance(200).await;
        ensemble.restart_node(leader).await?;
        running.advance(200).await;
    }
    let recorded = running.stop().await?;
    is_worked_in(&agent, &ensemble, "/done").await?;
    stop.store(true, Ordering::SeqCst);
    let told = looking.await??;
    ensure!(told >= recorded.operations.len(), "{told} rows for {} operations", recorded.operations.len());
    wait_tree_equals(&agent, &connect).await?;
    let mut agent = Arc::into_inner(agent).context("nobody looks any more")?;

    // From a restart on it goes on where it was.
    ensure!(agent.terminate().await? == 0, "SIGTERM must end the agent with 0");
    agent::verify(folder).await?;
    let before = sql(folder, "SELECT count(*) AS n FROM coverage WHERE source = 'txnlog'").await?;
    ensure!(before[0]["n"].as_i64() > Some(0), "what the log told is not said to be covered");
    agent.start_again().await?;
    let later = Workload { root: "/later".to_owned(), ..Workload::new(&connect, 24, 0) }.careful(200.0).start();
    later.advance(300).await;
    let later = later.stop().await?;
    is_worked_in(&agent, &ensemble, "/done-again").await?;
    ensure!(agent.metric_sum("zktrail_txnlog_complete_timestamp_seconds").await? > 0.0);
    wait_tree_equals(&agent, &connect).await?;
    ensure!(agent.terminate().await? == 0, "SIGTERM must end the agent with 0");
    agent::verify(folder).await?;

    let rows = check::rows(&sql(folder, CHANGES_IN_ORDER).await?)?;
    for (recorded, root) in [(&recorded, "/work"), (&later, "/later")] {
        let findings = check::compare(recorded, &rows, Expectations { root, zxids: true, gaps: None })?;
        ensure!(findings.absent == 0 && findings.matched == recorded.heard(), "{root}: {findings:?}");
        is_all(recorded, root, &rows)?;
    }
    is_complete(folder).await?;
    println!("{told} rows told, coverage: {before:?}");

    // What all servers' logs say together.
    for node in 0..ensemble.len() {
        ensemble.kill_node(node)?;
    }
    let alone = history_folder()?;
    import(&ensemble.data_dirs(), alone.path()).await?;
    let (truth, followed) = (sql(alone.path(), PROVED).await?, sql(folder, PROVED).await?);
    for (truth, followed) in truth.iter().zip(&followed) {
        ensure!(truth == followed, "the logs say {truth}\nthe record says {followed}");
    }
    ensure!(truth.len() == followed.len(), "{} changes in the logs, {} on record", truth.len(), followed.len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn follows_through_leader_kills_3_9() -> Result<()> {
    follows_through_leader_kills(Version::V3_9).await
}

/// Before 3.9 no notification tells its zxid.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn follows_through_leader_kills_3_6() -> Result<()> {
    follows_through_leader_kills(Version::V3_6).await
}
