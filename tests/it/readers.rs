//! Other programs read the folder while it is written: DuckDB, Polars and pyarrow, and SQL through the agent.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::agent::{self, Agent, Settings};
use crate::prerequisites::{history_folder, python, script, sized, skip};
use crate::servers::{Ensemble, Shape, Version};
use crate::workload::Workload;

const READERS: [&str; 3] = ["duckdb", "polars", "pyarrow"];
const QUERIES_EVERY: Duration = Duration::from_millis(20);
/// While each round lasts the workload goes on, and so each question has more to read.
const QUERIES_A_ROUND: usize = 60;

pub struct Reader {
    name: &'static str,
    /// It reads until its standard input ends.
    process: Option<Child>,
}

impl Reader {
    pub fn start(name: &'static str, python: &std::path::Path, folder: &std::path::Path) -> Result<Self> {
        let mut command = Command::new(python);
        command.arg(script("readers.py")).arg(name).arg(folder);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        Ok(Self { name, process: Some(command.spawn()?) })
    }

    /// Ends it and gives what it saw.
    pub fn finish(mut self) -> Result<Value> {
        let mut process = self.process.take().context("the reader runs")?;
        drop(process.stdin.take());
        let output = process.wait_with_output()?;
        let summary = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "{}: {}", self.name, output.status);
        serde_json::from_str(&summary).with_context(|| format!("{} says {summary:?}", self.name))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_see_every_change_once() -> Result<()> {
    if let Some(missing) = Ensemble::missing(Version::V3_9) {
        skip("readers_see_every_change_once", &missing);
        return Ok(());
    }
    let Some(python) = python() else {
        skip("readers_see_every_change_once", "Python is not in the cache: run tests/run prepare");
        return Ok(());
    };
    let ensemble = Ensemble::start(Version::V3_9, Shape::Standalone).await?;
    let connect = ensemble.connect_string();
    let folder = history_folder()?;
    let settings = Settings::new(&connect, folder.path()).with("--flush-age", "1s");
    let mut agent = Agent::start(settings).await?;
    let mut readers = Vec::new();
    for name in READERS {
        readers.push(Reader::start(name, &python, folder.path())?);
    }

    let running = Workload::new(&connect, 3, 0).careful(300.0).start();
    for round in 0..sized(2, 5) {
        // Parts are added …
        let mut tick = tokio::time::interval(QUERIES_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut highest = 0;
        for _ in 0..QUERIES_A_ROUND {
            tick.tick().await;
            let rows = agent.sql("SELECT count(*) AS n, count(DISTINCT seq) AS seqs FROM changes").await?;
            let (count, seqs) = (rows[0]["n"].as_i64(), rows[0]["seqs"].as_i64());
            ensure!(count == seqs, "{count:?} rows, {seqs:?} seqs");
            ensure!(count >= Some(highest), "the agent answers {count:?} rows after {highest}");
            highest = count.unwrap_or_default();
        }
        // … and days are exchanged.
        ensure!(agent.terminate().await? == 0, "SIGTERM must end the agent with 0");
        let glob = format!("/work/w{}/**", round % 4);
        let output = agent::zktrail("redact", &["--yes", &glob], folder.path()).await?;
        ensure!(output.status.success(), "redact: {}", String::from_utf8_lossy(&output.stderr));
        agent.start_again().await?;
    }
    running.stop().await?;
    for reader in readers {
        let name = reader.name;
        let summary = reader.finish()?;
        println!("{name}: {summary}");
        ensure!(summary["wrong"] == serde_json::json!([]), "{name} saw {}", summary["wrong"]);
        ensure!(summary["queries"].as_u64() > Some(10), "{name} answered too little: {summary}");
        ensure!(summary["rows"].as_u64() > Some(100), "{name} read too little: {summary}");
        // A file that was just exchanged away, now and then; half of all queries would be another matter.
        let (missing, queries) = (summary["no_such_file"].as_u64(), summary["queries"].as_u64());
        ensure!(missing.zip(queries).is_some_and(|(missing, queries)| missing * 10 <= queries), "{name}: {summary}");
    }
    Ok(())
}
