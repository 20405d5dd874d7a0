//! Two agents on two hosts record one ensemble; `zktrail import` makes one history of their folders.

use std::path::Path;

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::agent::{self, Agent, Settings};
use crate::check::{self, CHANGES_IN_ORDER, Expectations};
use crate::import::{import, sql};
use crate::prerequisites::{history_folder, skip};
use crate::servers::{Ensemble, Shape, Version};
use crate::workload::{self, Workload};

const OPERATIONS_PER_SECOND: f64 = 300.0;
/// What both must agree on; each folder has seqs of its own.
const WITHOUT_SEQS: &str = "SELECT zxid, ordinal, kind, path, version, aversion, czxid, data, evidence \
    FROM changes WHERE path LIKE '/work%' AND kind <> 'acl_changed' ORDER BY position, ordinal, path, kind";
/// Those in which anything may have happened.
const GAPS_WITHIN: &str = "SELECT * FROM gaps WHERE path = '/' AND from_zxid < to_zxid AND to_time IS NOT NULL";

/// Each is away for a while, killed or stopped; somebody was always looking.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_agents_make_one_history() -> Result<()> {
    if let Some(missing) = Ensemble::missing(Version::V3_9) {
        skip("two_agents_make_one_history", &missing);
        return Ok(());
    }
    let ensemble = Ensemble::start(Version::V3_9, Shape::ThreeNodes).await?;
    let (first, second) = (history_folder()?, history_folder()?);
    let settings = |folder: &Path| {
        Settings::new(ensemble.connect_string(), folder).with("--flush-age", "2s").with("--acl-sweep", "off")
    };
    let mut one = Agent::start(settings(first.path())).await?;
    let mut other = Agent::start(settings(second.path())).await?;
    let running = Workload::new(ensemble.connect_string(), 23, 0).careful(OPERATIONS_PER_SECOND).start();
    running.advance(300).await;
    ensure!(one.terminate().await? == 0, "SIGTERM must end the agent with 0");
    running.advance(600).await;
    one.start_again().await?;
    running.advance(300).await;
    other.kill9()?;
    running.advance(600).await;
    other.start_again().await?;
    running.advance(300).await;
    let recorded = running.stop().await?;
    workload::create(&workload::session(&ensemble.connect_string()).await?, "/done", b"").await?;
    for agent in [&mut one, &mut other] {
        agent.sees("/done").await?;
        ensure!(agent.terminate().await? == 0, "SIGTERM must end the agent with 0");
    }
    for folder in [first.path(), second.path()] {
        ensure!(!sql(folder, GAPS_WITHIN).await?.is_empty(), "each was away for a while");
    }

    // Both ways: the second's copy into the first, and what the first was before into the second.
    let before = history_folder()?;
    copy(first.path(), before.path())?;
    for (folder, from) in [(first.path(), second.path()), (second.path(), before.path())] {
        import(&[from.to_owned()], folder).await?;
        let gaps = sql(folder, GAPS_WITHIN).await?;
        ensure!(gaps.is_empty(), "somebody was always looking: {gaps:#?}");
        let rows = check::rows(&sql(folder, CHANGES_IN_ORDER).await?)?;
        let findings = check::compare(&recorded, &rows, Expectations { root: "/work", zxids: true, gaps: None })?;
        ensure!(findings.matched == recorded.heard() && findings.absent == 0, "{findings:?}");
        agent::verify(folder).await?;
        println!("{findings:?}");
        let count = "SELECT count(*) AS n, max(seq) AS last FROM changes";
        let once = sql(folder, count).await?;
        import(&[from.to_owned()], folder).await?;
        ensure!(sql(folder, count).await? == once, "merging again changes nothing");
    }
    let (one, other) = (changes(first.path()).await?, changes(second.path()).await?);
    for (row, same) in one.iter().zip(&other) {
        ensure!(row == same, "one has {row}, the other {same}");
    }
    ensure!(one.len() == other.len(), "{} rows and {}", one.len(), other.len());
    Ok(())
}

async fn changes(folder: &Path) -> Result<Vec<Value>> {
    sql(folder, WITHOUT_SEQS).await
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let status = std::process::Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status()?;
    ensure!(status.success(), "cp ends with {status}");
    Ok(())
}
