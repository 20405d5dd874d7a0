//! docs/reading-parquet.md: every example is run, while an agent runs on the folder, and says what SQL says.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::agent::{Agent, Settings};
use crate::prerequisites::{cache, faketime, history_folder, script, skip};
use crate::servers::{Ensemble, Shape, Version};
use crate::workload::{Workload, create, session, set};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reading-parquet.md");
const DAY_SECONDS: i64 = 86_400;
const FLUSHED_WITHIN: Duration = Duration::from_secs(60);

/// The page's sections, and the environment that each runs in.
const READERS: [(&str, &str); 4] =
    [("DuckDB", "python"), ("Polars", "python"), ("pandas", "clients"), ("Spark", "spark")];

fn python(environment: &str) -> Option<PathBuf> {
    cache().map(|cache| cache.join(environment).join("bin/python")).filter(|python| python.exists())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_on_reading_the_folder_is_true() -> Result<()> {
    const TEST: &str = "the_page_on_reading_the_folder_is_true";
    if faketime().is_none() {
        skip(TEST, "libfaketime is not installed (Debian: faketime)");
        return Ok(());
    }
    for (reader, environment) in READERS {
        if python(environment).is_none() {
            skip(TEST, &format!("{reader} is not in the cache: run tests/run prepare"));
            return Ok(());
        }
    }
    let ensemble = Ensemble::start(Version::Embedded, Shape::Standalone).await?;
    let connect = ensemble.connect_string();
    let folder = history_folder()?;
    let history = folder.path().join("history");
    let client = session(&connect).await?;
    create(&client, "/before", b"was there before anybody looked").await?;

    // Yesterday, as far as the agent knows.
    let settings = Settings::new(&connect, &history).with("--flush-age", "1s");
    let yesterday = Settings { clock_offset_seconds: -DAY_SECONDS, ..settings.clone() };
    let mut agent = Agent::start(yesterday).await?;
    Workload::new(&connect, 11, 1_500).run().await?;
    create(&client, "/config", b"").await?;
    create(&client, "/config/app", "größe=1".as_bytes()).await?;
    agent.sees("/config/app").await?;
    ensure!(agent.terminate().await? == 0, "SIGTERM must end the agent with 0");

    // While nobody looks.
    set(&client, "/config/app", "größe=2".as_bytes()).await?;
    Workload { root: "/unseen".to_owned(), ..Workload::new(&connect, 12, 300) }.run().await?;

    let agent = Agent::start(settings).await?;
    Workload { root: "/later".to_owned(), ..Workload::new(&connect, 13, 1_500) }.run().await?;
    create(&client, "/last", b"").await?;
    agent.sees("/last").await?;
    wait_flushed(&agent, &history).await?;

    let day = agent.sql("SELECT CAST(max(date) AS VARCHAR) AS day, count(DISTINCT date) AS days FROM changes").await?;
    ensure!(day[0]["days"] == 2, "two days are expected: {day:?}");
    let day = day[0]["day"].as_str().context("a day is text")?;
    let expected = expected(&agent, day).await?;
    for (reader, environment) in READERS {
        let python = python(environment).context("it was there before")?;
        let mut answers = answers(python, reader, day, folder.path()).await?;
        sort(&mut answers["tree"]);
        sort(&mut answers["text"]);
        for (name, expected) in &expected {
            let found = &answers[name];
            ensure!(found == expected, "{reader}, {name}: {}", difference(found, expected));
        }
    }
    Ok(())
}

/// Waits until all that is recorded is in Parquet too.
async fn wait_flushed(agent: &Agent, history: &Path) -> Result<()> {
    let deadline = Instant::now() + FLUSHED_WITHIN;
    loop {
        let recorded = agent.sql_integer("SELECT max(seq) FROM changes").await?;
        let mut flushed = 0;
        for day in std::fs::read_dir(history.join("changes/cluster=test"))?.flatten() {
            for part in std::fs::read_dir(day.path()).into_iter().flatten().flatten() {
                let name = part.file_name();
                let last = name.to_str().and_then(|name| name.split(['-', '.']).nth(1)).map(str::parse::<i64>);
                flushed = flushed.max(last.and_then(Result::ok).unwrap_or_default());
            }
        }
        if flushed == recorded {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{flushed} of {recorded} changes are in Parquet after {FLUSHED_WITHIN:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The same questions in SQL.
async fn expected(agent: &Agent, day: &str) -> Result<Vec<(&'static str, Value)>> {
    let queries = [
        (
            "kinds",
            format!("SELECT kind, count(*) AS n FROM changes WHERE date = DATE '{day}' GROUP BY kind ORDER BY kind"),
        ),
        (
            "latest",
            "SELECT seq, kind, path FROM changes ORDER BY incarnation DESC, position DESC, zxid DESC NULLS FIRST, \
             ordinal DESC, seq DESC LIMIT 10"
                .to_owned(),
        ),
        ("tree", "SELECT cluster, path, version, encode(data, 'hex') AS data FROM znodes".to_owned()),
        (
            "holes",
            "SELECT from_time, to_time, reason FROM gaps WHERE path = '/' AND to_time IS NOT NULL ORDER BY from_time"
                .to_owned(),
        ),
        (
            "text",
            "SELECT path, data_text(data) AS value FROM changes WHERE path = '/config/app' AND data IS NOT NULL"
                .to_owned(),
        ),
    ];
    let mut expected = Vec::new();
    for (name, query) in queries {
        let rows = agent.sql(&query).await?;
        ensure!(!rows.is_empty(), "{name} answers nothing: the comparison would prove nothing");
        let row = |row: Value| row.as_object().map(|row| row.values().cloned().collect::<Value>());
        let mut rows: Value = rows.into_iter().filter_map(row).collect();
        if matches!(name, "tree" | "text") {
            sort(&mut rows);
        }
        expected.push((name, rows));
    }
    Ok(expected)
}

async fn answers(python: PathBuf, reader: &'static str, day: &str, folder: &Path) -> Result<Value> {
    let mut command = Command::new(python);
    command.arg(script("reading.py")).args([PAGE, reader, day]).current_dir(folder);
    command.stdin(Stdio::null()).env("TZ", "UTC");
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{reader} ends with {}\n{out}\n{err}", output.status);
    serde_json::from_str(&out).with_context(|| format!("{reader} says {out:.200}"))
}

fn sort(rows: &mut Value) {
    if let Some(rows) = rows.as_array_mut() {
        rows.sort_by_key(Value::to_string);
    }
}

/// The first rows that only one of them has.
fn difference(found: &Value, expected: &Value) -> String {
    let rows = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let (found, expected) = (rows(found), rows(expected));
    let only = |a: &[Value], b: &[Value]| a.iter().filter(|row| !b.contains(row)).take(3).cloned().collect::<Vec<_>>();
    let (too_many, missing) = (only(&found, &expected), only(&expected, &found));
    json!({"rows": found.len(), "expected": expected.len(), "only found": too_many, "only expected": missing})
        .to_string()
}
