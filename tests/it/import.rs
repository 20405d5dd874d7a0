//! The servers' own logs go into a history: an empty one, and one that watches have recorded with holes in it.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use chrono::{Timelike as _, Utc};
use serde_json::Value;

use crate::agent;
use crate::check::{self, CHANGES_IN_ORDER, Expectations, ZNODES};
use crate::faults::Scene;
use crate::prerequisites::{faketime, history_folder, python, sized, skip};
use crate::readers::Reader;
use crate::servers::{Ensemble, Shape, Version};
use crate::workload::{self, Recorded, Workload};

/// Rows of an offline query.
pub async fn sql(folder: &Path, query: &'static str) -> Result<Vec<Value>> {
    let output = agent::zktrail("sql", &["--format", "json", query], folder).await?;
    ensure!(output.status.success(), "{query}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).with_context(|| query.to_owned())
}

/// `zktrail import` of whole data folders; gives what it said.
pub async fn import(folders: &[std::path::PathBuf], history: &Path) -> Result<String> {
    let mut arguments = vec!["--cluster", "test"];
    arguments.extend(folders.iter().filter_map(|folder| folder.to_str()));
    let output = agent::zktrail("import", &arguments, history).await?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "zktrail import ends with {}\n{out}\n{err}", output.status);
    println!("{err}{out}");
    Ok(out.into_owned())
}

/// As many rows as operations, ACL changes too, which no watch tells of.
pub fn is_all(recorded: &Recorded, root: &str, rows: &[check::Row]) -> Result<()> {
    let below = format!("{root}/");
    let of_work = rows.iter().filter(|row| row.path == root || row.path.starts_with(&below)).count();
    ensure!(of_work == recorded.operations.len(), "{} operations, {of_work} rows", recorded.operations.len());
    Ok(())
}

/// What every row says that the log proves.
pub async fn is_complete(folder: &Path) -> Result<()> {
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
    is_all(&recorded, "/work", &rows)?;
    let znodes = sql(folder, ZNODES).await?;
    check::has_every_acl(&dump, &znodes)?;
    let znodes = check::tree_equals(&dump, &znodes)?;
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
    let scene = Scene::start(version, folder.path()).await?;
    closes_every_gap(scene, folder.path()).await
}

async fn closes_every_gap(mut scene: Scene, folder: &Path) -> Result<()> {
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
    let days = sql(folder, "SELECT seq, CAST(date AS VARCHAR) AS day FROM changes").await?;
    import(&ensemble.data_dirs(), folder).await?;

    let rows = check::rows(&sql(folder, CHANGES_IN_ORDER).await?)?;
    let findings = check::compare(&recorded, &rows, Expectations { root: "/work", zxids: true, gaps: None })?;
    ensure!(findings.absent == 0 && findings.matched == recorded.heard(), "{findings:?}");
    is_all(&recorded, "/work", &rows)?;
    let znodes = sql(folder, ZNODES).await?;
    check::has_every_acl(&dump, &znodes)?;
    check::tree_equals(&dump, &znodes)?;
    is_complete(folder).await?;
    agent::verify(folder).await?;
    let after = sql(folder, "SELECT seq, CAST(date AS VARCHAR) AS day FROM changes").await?;
    let after: std::collections::HashMap<_, _> =
        after.iter().map(|row| (row["seq"].as_i64(), row["day"].clone())).collect();
    for row in &days {
        // One that never was may go; none may move.
        let day = after.get(&row["seq"].as_i64());
        ensure!(day.is_none_or(|day| *day == row["day"]), "{row} has left its day for {day:?}");
    }
    Ok(())
}

/// Servers whose clock is hours from the agent's, around the agent's midnight, and a reader that globs the folder throughout.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_doubled_where_clocks_differ() -> Result<()> {
    const MIDNIGHT_IN_SECONDS: i64 = 15;
    const DIFFERENCE_SECONDS_MIN: i64 = 2 * 3_600;
    const DAY_SECONDS: i64 = 86_400;
    if let Some(missing) = Ensemble::missing(Version::V3_9) {
        skip("nothing_is_doubled_where_clocks_differ", &missing);
        return Ok(());
    }
    if faketime().is_none() {
        skip("nothing_is_doubled_where_clocks_differ", "libfaketime is not installed (Debian: faketime)");
        return Ok(());
    }
    let Some(python) = python() else {
        skip("nothing_is_doubled_where_clocks_differ", "Python is not in the cache: run tests/run prepare");
        return Ok(());
    };
    for agent_is_ahead in [true, false] {
        // So that the agent's midnight is near; servers under a false clock would be slow to elect a leader.
        let second_of_day = i64::from(Utc::now().num_seconds_from_midnight());
        let mut offset = -MIDNIGHT_IN_SECONDS - second_of_day;
        while (agent_is_ahead && offset < DIFFERENCE_SECONDS_MIN)
            || (!agent_is_ahead && offset > -DIFFERENCE_SECONDS_MIN)
        {
            offset += if agent_is_ahead { DAY_SECONDS } else { -DAY_SECONDS };
        }
        let ensemble = Ensemble::start(Version::V3_9, Shape::ThreeNodes).await?;
        let folder = history_folder()?;
        let scene = Scene::start_on(ensemble, folder.path(), offset, &[("--flush-age", "1s")]).await?;
        let reader = Reader::start("doubled", &python, folder.path())?;
        closes_every_gap(scene, folder.path()).await?;
        let summary = reader.finish()?;
        ensure!(summary["wrong"] == serde_json::json!([]), "the reader saw {}", summary["wrong"]);
        ensure!(summary["queries"].as_u64() > Some(20), "the reader read too little: {}", summary["queries"]);
        ensure!(summary["rows"].as_u64() > Some(1_000), "the reader saw too little: {}", summary["rows"]);
        let days = sql(folder.path(), "SELECT count(DISTINCT date) AS n FROM changes").await?;
        ensure!(days[0]["n"].as_u64() >= Some(2), "all on one day: {days:?}");
        // A multi may do the same to one path several times: as often as in the end, and never more often before.
        let query = "SELECT zxid, path, kind, count(*) AS n FROM changes GROUP BY zxid, path, kind HAVING count(*) > 1";
        let truth = sql(folder.path(), query).await?;
        let doubled = summary["doubled"].as_array().context("doubled")?;
        for seen in doubled {
            let same = |row: &&Value| row["zxid"] == seen[0] && row["path"] == seen[1] && row["kind"] == seen[2];
            let n = truth.iter().find(same).and_then(|row| row["n"].as_u64()).unwrap_or(1);
            ensure!(seen[3].as_u64() <= Some(n), "a reader saw {seen}, where there are {n}");
        }
        println!(
            "the agent's clock off by {offset} s: {} queries of up to {} rows, doubled 0",
            summary["queries"], summary["rows"]
        );
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
