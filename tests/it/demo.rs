//! The demo as a person runs it: it tells its story, its own reports find it, and nothing is left behind.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::agent::BINARY;

const TOLD_WITHIN: Duration = Duration::from_secs(180);
const ENDS_WITHIN: Duration = Duration::from_secs(30);

/// A running demo, its data centre hurried. Dropping it kills it.
struct Demo {
    process: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Demo {
    fn start() -> Result<Self> {
        let mut command = Command::new(BINARY);
        command.args(["demo", "--pace", "4"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut process = command.spawn()?;
        let stdout = process.stdout.take().context("no standard output")?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(std::result::Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { process, lines, seen: Vec::new() })
    }

    /// The first line from here on that has this in it.
    fn line_with(&mut self, text: &str) -> Result<String> {
        let deadline = Instant::now() + TOLD_WITHIN;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if line.contains(text) {
                        return Ok(line);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    bail!("no {text:?} within {TOLD_WITHIN:?}:\n{}", self.seen.join("\n"))
                }
                Err(RecvTimeoutError::Disconnected) => bail!("it ended:\n{}", self.seen.join("\n")),
            }
        }
    }

    /// Ctrl-C; gives the exit code.
    fn interrupt(mut self) -> Result<Option<i32>> {
        kill_process(Pid::from_child(&self.process), Signal::INT)?;
        let deadline = Instant::now() + ENDS_WITHIN;
        while Instant::now() < deadline {
            if let Some(status) = self.process.try_wait()? {
                return Ok(status.code());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("it goes on {ENDS_WITHIN:?} after Ctrl-C");
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn report(name: &str, agent: &str) -> Result<Vec<Value>> {
    let output = Command::new(BINARY).args(["report", name, "--agent", agent, "--format", "json"]).output()?;
    ensure!(output.status.success(), "report {name}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn has(row: &Value, column: &str, text: &str) -> bool {
    row.get(column).and_then(Value::as_str).is_some_and(|value| value.contains(text))
}

/// The address of the PostgreSQL door in the line that tells how to enter it.
fn postgres(line: &str) -> Result<(String, u16)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let behind = |flag: &str| words.iter().skip_while(|word| **word != flag).nth(1).copied();
    let (host, port) = behind("-h").zip(behind("-p")).with_context(|| format!("no address in {line:?}"))?;
    Ok((host.to_owned(), port.parse()?))
}

async fn paths_over(host: &str, port: u16) -> Result<i64> {
    let dsn = format!("host={host} port={port} user=demo dbname=zktrail");
    let (client, connection) = tokio_postgres::connect(&dsn, tokio_postgres::NoTls).await?;
    let connection = tokio::spawn(connection);
    let row = client.query_one("SELECT count(DISTINCT path) FROM changes", &[]).await?;
    let paths = row.try_get(0)?;
    drop(client);
    connection.await??;
    Ok(paths)
}

#[tokio::test]
async fn two_at_once_have_doors_of_their_own() -> Result<()> {
    let (mut one, mut other) = (Demo::start()?, Demo::start()?);
    let (here, there) = (postgres(&one.line_with("psql -h")?)?, postgres(&other.line_with("psql -h")?)?);
    ensure!(here.1 != there.1, "both say {here:?}");
    for (demo, (host, port)) in [(&mut one, &here), (&mut other, &there)] {
        demo.line_with("created ")?;
        ensure!(paths_over(host, *port).await? > 0, "nothing is recorded at {host}:{port}");
    }
    ensure!(one.interrupt()? == Some(0) && other.interrupt()? == Some(0), "Ctrl-C must end them with 0");
    Ok(())
}

#[test]
fn its_story_is_found_by_its_own_reports() -> Result<()> {
    let mut demo = Demo::start()?;
    let line = demo.line_with("/metrics")?;
    let agent = line.split_whitespace().last().and_then(|url| url.strip_suffix("/metrics"));
    let agent = agent.with_context(|| format!("no address in {line:?}"))?.to_owned();
    let line = demo.line_with("Parquet, by day")?;
    let folder = line.split_whitespace().nth(1).with_context(|| format!("no folder in {line:?}"))?.to_owned();
    ensure!(std::path::Path::new(&folder).is_dir(), "{folder} is not there");

    demo.line_with("created       /brokers/ids/3")?;
    demo.line_with("1 of 3")?;
    demo.line_with("of checkout set pool_size to 2.")?;
    demo.line_with("2 of 3")?;
    demo.line_with("/brokers/ids/3")?;
    demo.line_with("3 of 3")?;
    demo.line_with("\"pool_size\":40")?;

    let deploys = report("config-changes", &agent)?;
    let bad = deploys.iter().find(|row| has(row, "path", "/config/checkout") && has(row, "after", "\"pool_size\":2,"));
    let bad = bad.with_context(|| format!("no bad deploy among {deploys:#?}"))?;
    ensure!(has(bad, "before", "\"pool_size\":40,"), "its value before is not told: {bad:#}");
    ensure!(!bad.to_string().contains("not-for-your-eyes"), "a password is shown: {bad:#}");
    let flapping = report("flapping", &agent)?;
    ensure!(flapping.iter().any(|row| has(row, "path", "/brokers/ids/3")), "no broker among {flapping:#?}");

    ensure!(demo.interrupt()? == Some(0), "Ctrl-C must end it with 0");
    ensure!(!std::path::Path::new(&folder).exists(), "{folder} was left behind");
    Ok(())
}
