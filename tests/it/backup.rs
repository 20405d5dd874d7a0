//! A copy of a folder that is being written, taken in the order that docs/operating.md gives, is a whole history.

use std::env::{join_paths, split_paths, var_os};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::agent::{self, Agent, BINARY, Settings};
use crate::import::sql;
use crate::prerequisites::{history_folder, sized, skip};
use crate::servers::{Ensemble, Shape, Version};
use crate::workload::Workload;

const OPERATIONS_PER_SECOND: f64 = 400.0;
const COPY_WITHIN: Duration = Duration::from_secs(60);
const PAGE: &str = "docs/operating.md";

/// The shell commands of the page between `<!-- name -->` and the end of the code block that follows.
fn commands(name: &str) -> Result<String> {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE))?;
    let marked = page.split_once(&format!("<!-- {name} -->\n```sh\n")).with_context(|| format!("{name} in {PAGE}"))?;
    Ok(marked.1.split_once("\n```").context("the block's end")?.0.to_owned())
}

/// Copies as the page says: again from the beginning where a file went meanwhile.
fn back_up(script: &str, from: &Path, to: &Path) -> Result<usize> {
    let deadline = Instant::now() + COPY_WITHIN;
    let ours = Path::new(BINARY).parent().map(PathBuf::from);
    let path = join_paths(ours.into_iter().chain(split_paths(&var_os("PATH").unwrap_or_default())))?;
    for attempt in 1.. {
        let mut shell = Command::new("sh");
        shell.args(["-c", script]).env("HISTORY", from).env("COPY", to).env("PATH", &path).current_dir("/");
        let output = shell.output()?;
        if output.status.success() {
            return Ok(attempt);
        }
        ensure!(Instant::now() < deadline, "no copy succeeds: {}", String::from_utf8_lossy(&output.stderr));
    }
    unreachable!("an endless loop")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_of_a_live_folder_is_whole() -> Result<()> {
    if let Some(missing) = Ensemble::missing(Version::V3_9) {
        skip("a_copy_of_a_live_folder_is_whole", &missing);
        return Ok(());
    }
    let script = commands("backup")?;
    let ensemble = Ensemble::start(Version::V3_9, Shape::Standalone).await?;
    let folder = history_folder()?;
    // Flushes and lets go of the log all the time.
    let settings = Settings::new(ensemble.connect_string(), folder.path()).with("--flush-age", "1s");
    let mut agent = Agent::start(settings).await?;
    let running = Workload::new(ensemble.connect_string(), 31, 0).careful(OPERATIONS_PER_SECOND).start();
    running.advance(400).await;
    let mut attempts = 0;
    for round in 0..sized(8, 60) {
        let known = agent.sql_integer("SELECT max(seq) FROM changes").await?;
        let copy = history_folder()?;
        attempts += back_up(&script, folder.path(), copy.path())?;
        let rows = sql(copy.path(), "SELECT count(*) AS n, min(seq) AS first, max(seq) AS last FROM changes").await?;
        let [n, first, last] = ["n", "first", "last"].map(|key| rows[0][key].as_i64().unwrap_or(-1));
        ensure!(last >= known, "round {round}: seq {known} was on record before the copy, which ends at {last}");
        ensure!(n == last - first + 1, "round {round}: {n} rows from {first} to {last}");
        agent::verify(copy.path()).await?;
        running.advance(200).await;
    }
    println!("{attempts} attempts");

    // A new machine goes on with the last copy, and tells that nobody looked in between.
    let copy = history_folder()?;
    back_up(&script, folder.path(), copy.path())?;
    agent.kill9()?;
    running.advance(200).await;
    let mut moved = Agent::start(Settings::new(ensemble.connect_string(), copy.path())).await?;
    running.advance(100).await;
    running.stop().await?;
    crate::workload::create(&crate::workload::session(&ensemble.connect_string()).await?, "/done", b"").await?;
    moved.sees("/done").await?;
    let gaps =
        moved.sql("SELECT * FROM gaps WHERE path = '/' AND from_zxid IS NOT NULL AND to_time IS NOT NULL").await?;
    ensure!(gaps.len() == 1, "{gaps:#?}");
    ensure!(moved.terminate().await? == 0, "SIGTERM must end the agent with 0");
    agent::verify(copy.path()).await
}
