//! The servers' own logs go into a history: an empty one, and one that watches have recorded with holes in it.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::agent;
use crate::check::{self, CHANGES_IN_ORDER, Expectations, ZNODES};
use crate::faults::Scene;
use crate::prerequisites::{history_folder, sized, skip};
use crate::servers::{Ensemble, Shape, Version};
use crate::workload::{self, Recorded, Workload};

/// Rows of an offline query.
async fn sql(folder: &Path, query: &'static str) -> Result<Vec<Value>> {
    let output = agent::zktrail("sql", &["--format", "json", query], folder).await?;
    ensure!(output.status.success(), "{query}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).with_context(|| query.to_owned())
}

/// `zktrail import` of whole data folders; gives what it said.
async fn import(folders: &[std::path::PathBuf], history: &Path) -> Result<String> {
    let mut arguments = vec!["--cluster", "test"];
    arguments.extend(folders.iter().filter_map(|folder| folder.to_str()));
    let output = agent::zktrail("import", &arguments, history).await?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "zktrail import ends with {}\n{out}\n{err}", output.status);
    println!("{err}{out}");
    Ok(out.into_owned())
}

/// As many rows as operations, ACL changes too, which no watch tells of.
fn is_all(recorded: &Recorded, rows: &[check::Row]) -> Result<()> {
    let of_work = rows.iter().filter(|row| row.path == "/work" || row.path.starts_with("/work/")).count();
    ensure!(of_work == recorded.operations.len(), "{} operations, {of_work} rows", recorded.operations.len());
    Ok(())
}

/// What every row says that the log proves.
async fn is_complete(folder: &Path) -> Result<()> {
    let doubtful = sql(
        folder,
        "SELECT path, kind, zxid, evidence, missed, source FROM changes WHERE evidence <> 'exact' OR missed <> 0 \
         OR zxid IS NULL OR session_id IS NULL OR cxid IS NULL OR source <> 'txnlog' OR czxid IS NULL \
         OR node_type IS NULL OR (kind = 'created' AND acl IS NULL) OR (kind = 'deleted' AND cause IS NULL) LIMIT 20",
    )
    .await?;
    ensure!(doubtful.is_empty(), "rows that the log does not complete: {doubtful:#?}");
    let doubled = sql(
        folder,
        "SELECT zxid, ordinal, count(*) AS n, min(path) AS path FROM changes GROUP BY zxid, ordinal HAVING count(*) > 1 \
         LIMIT 20",
    )
    .await?;
    ensure!(doubled.is_empty(), "doubled: {doubled:#?}");
    let gaps = sql(folder, "SELECT * FROM gaps WHERE to_time IS NOT NULL AND from_zxid IS NOT NULL").await?;
    ensure!(gaps.is_empty(), "gaps stay: {gaps:#?}");
    Ok(())
}

async fn a_log_alone_is_a_history(version: Version, shape: Shape) -> Result<()> {
    if let Some(missing) = Ensemble::missing(version) {
        skip("a_log_alone_is_a_history", &missing);
        return Ok(());
    }
    let mut ensemble = Ensemble::start(version, shape).await?;
    let connect = ensemble.connect_string();
    let recorded = Workload::new(&connect, 7, sized(3_000, 100_000)).run().await?;
    workload::create(&workload::session(&connect).await?, "/done", b"").await?;
    let dump = check::dump_tree(&connect)?;
    for node in 0..ensemble.len() {
        ensemble.kill_node(node)?;
    }
    let folder = history_folder()?;
    let folder = folder.path();
    import(&ensemble.data_dirs(), folder).await?;

    let rows = check::rows(&sql(folder, CHANGES_IN_ORDER).await?)?;
    let findings = check::compare(&recorded, &rows, Expectations { root: "/work", zxids: true, gaps: None })?;
    ensure!(findings.matched == recorded.heard() && findings.absent == 0, "{findings:?}");
    is_all(&recorded, &rows)?;
    let znodes = check::tree_equals(&dump, &sql(folder, ZNODES).await?)?;
    println!("{} {shape:?}: {findings:?}, {znodes} znodes", version.as_str());
    is_complete(folder).await?;
    agent::verify(folder).await?;

    // Once more: nothing new.
    let before = sql(folder, "SELECT count(*) AS n, max(seq) AS last FROM changes").await?;
    import(&ensemble.data_dirs(), folder).await?;
    let after = sql(folder, "SELECT count(*) AS n, max(seq) AS last FROM changes").await?;
    ensure!(before == after, "the same import again: {before:?}, then {after:?}");
    agent::verify(folder).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_alone_is_a_history_3_6() -> Result<()> {
    a_log_alone_is_a_history(Version::V3_6, Shape::Standalone).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_alone_is_a_history_3_8() -> Result<()> {
    a_log_alone_is_a_history(Version::V3_8, Shape::ThreeNodes).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_alone_is_a_history_3_9() -> Result<()> {
    a_log_alone_is_a_history(Version::V3_9, Shape::ThreeNodes).await
}

/// After everything that can befall an agent, the servers' logs close every gap.
async fn logs_close_every_gap(version: Version) -> Result<()> {
    if let Some(missing) = Ensemble::missing(version) {
        skip("logs_close_every_gap", &missing);
        return Ok(());
    }
    let folder = history_folder()?;
    let mut scene = Scene::start(version, folder.path()).await?;
    scene.suffer_all().await?;
    let Scene { mut ensemble, proxies: _proxies, mut agent, running, .. } = scene;
    let recorded = running.stop().await?;
    let connect = ensemble.connect_string();
    workload::create(&workload::session(&connect).await?, "/done", b"").await?;
    agent.sees("/done").await?;
    ensure!(agent.terminate().await? == 0, "SIGTERM must end the agent with 0");
    let dump = check::dump_tree(&connect)?;
    for node in 0..ensemble.len() {
        ensemble.kill_node(node)?;
    }
    let folder = folder.path();
    let days = sql(folder, "SELECT seq, CAST(date AS VARCHAR) AS day FROM changes WHERE zxid IS NOT NULL").await?;
    import(&ensemble.data_dirs(), folder).await?;

    let rows = check::rows(&sql(folder, CHANGES_IN_ORDER).await?)?;
    let findings = check::compare(&recorded, &rows, Expectations { root: "/work", zxids: true, gaps: None })?;
    ensure!(findings.absent == 0 && findings.matched == recorded.heard(), "{findings:?}");
    is_all(&recorded, &rows)?;
    check::tree_equals(&dump, &sql(folder, ZNODES).await?)?;
    is_complete(folder).await?;
    agent::verify(folder).await?;
    let after = sql(folder, "SELECT seq, CAST(date AS VARCHAR) AS day FROM changes").await?;
    let after: std::collections::HashMap<_, _> =
        after.iter().map(|row| (row["seq"].as_i64(), row["day"].clone())).collect();
    for row in &days {
        ensure!(after.get(&row["seq"].as_i64()) == Some(&row["day"]), "{row} has left its day");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_close_every_gap_3_9() -> Result<()> {
    logs_close_every_gap(Version::V3_9).await
}

/// The same where no notification carries a zxid, so that many rows have no place of their own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_close_every_gap_3_6() -> Result<()> {
    logs_close_every_gap(Version::V3_6).await
}
