//! Many clients ask while much is recorded: `tests/run prepare && cargo bench --bench load`.
//!
//! 50 connections to the PostgreSQL door ask mixed questions, one after the other, while another client sets 5,000
//! znodes a second on a real ZooKeeper; for 10 minutes, or as many seconds as `ZKTRAIL_BENCH_SECONDS` says. Prints what
//! was asked and answered, how far the record was behind the commits, and what memory the agent held. Server, writer,
//! clients and agent share the machine's cores.

#![allow(dead_code, reason = "the harness of the tests holds more than is needed here")]

#[path = "../tests/it/agent.rs"]
mod agent;
mod measure;
#[path = "../tests/it/prerequisites.rs"]
mod prerequisites;
#[path = "../tests/it/servers.rs"]
mod servers;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tokio_postgres::NoTls;
use zookeeper_client::{Acls, Client, CreateMode};

use crate::agent::{Agent, Settings};
use crate::measure::{Latencies, resident_bytes};
use crate::servers::{Ensemble, Shape, Version};

const CONNECTIONS: usize = 50;
const SETS_PER_SECOND: usize = 5_000;
const ZNODES: usize = 1_000;
const SETS_IN_FLIGHT: usize = 512;
const TICK: Duration = Duration::from_millis(10);
const QUERY_MEMORY: &str = "512MiB";

/// What dashboards, people and tools ask.
const QUESTIONS: [(&str, &str); 10] = [
    (
        "changes a minute by kind",
        "SELECT date_trunc('minute', time) AS minute, kind, count(*) FROM changes
        WHERE time > now() - INTERVAL '5 minutes' GROUP BY 1, 2 ORDER BY 1",
    ),
    ("the last hundred", "SELECT time, kind, path, version FROM changes ORDER BY seq DESC LIMIT 100"),
    (
        "one path's history",
        "SELECT time, zxid, version, data FROM changes WHERE path = '/load/0042' ORDER BY position DESC LIMIT 1000",
    ),
    (
        "hottest paths",
        "SELECT path, count(*) AS n FROM changes WHERE time > now() - INTERVAL '1 minute' GROUP BY path ORDER BY n DESC LIMIT 20",
    ),
    ("the tree under a prefix", "SELECT path, version, data_length FROM znodes WHERE path LIKE '/load/00%'"),
    ("a moment ago", "SELECT count(*) FROM znodes_at(now() - INTERVAL '30 seconds') WHERE path LIKE '/load/%'"),
    ("gaps", "SELECT cluster, path, from_time, to_time, reason FROM gaps ORDER BY from_time"),
    (
        "what a tool asks first",
        "SELECT table_name, column_name, data_type FROM information_schema.columns
        WHERE table_schema = 'public' ORDER BY table_name, ordinal_position",
    ),
    ("everything counted", "SELECT kind, evidence, count(*), max(zxid) FROM changes GROUP BY kind, evidence"),
    (
        "who wrote most, all of it",
        "SELECT path, count(*), max(version) - min(version) FROM changes GROUP BY path ORDER BY 2 DESC LIMIT 5",
    ),
];

fn main() -> Result<()> {
    if let Some(missing) = Ensemble::missing(Version::V3_9) {
        println!("SKIPPED: {missing}");
        return Ok(());
    }
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(run())
}

async fn run() -> Result<()> {
    let seconds = std::env::var("ZKTRAIL_BENCH_SECONDS").ok().and_then(|n| n.parse().ok()).unwrap_or(600);
    let ensemble = Ensemble::start(Version::V3_9, Shape::Standalone).await?;
    let connect = ensemble.connect_string();
    let folder = tempfile::tempdir()?;
    let settings = Settings::new(&connect, folder.path()).with("--query-memory", QUERY_MEMORY);
    let mut agent = Agent::start(settings).await?;
    let port = agent.postgres().port();
    // One question looks half a minute back: there must have been something by then.
    let begun = Duration::from_secs(60);
    let half_a_minute_ago = "SELECT count(*) AS n FROM znodes_at(now() - INTERVAL '30 seconds')";
    agent.sql_until(begun, "SELECT count(*) AS n FROM znodes", |rows| !rows.is_empty()).await?;
    let asked = Instant::now();
    while let Err(error) = agent.sql(half_a_minute_ago).await {
        anyhow::ensure!(asked.elapsed() < begun, "{error:#}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let end = Instant::now() + Duration::from_secs(seconds);

    let writer = tokio::spawn(write(connect, end));
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..CONNECTIONS {
        clients.spawn(ask(port, number, end));
    }
    let mut lags = Vec::new();
    let mut resident_max = 0;
    while Instant::now() < end {
        lags.push(Duration::from_secs_f64(agent.metric_sum("zktrail_capture_lag_seconds").await?.max(0.0)));
        resident_max = resident_max.max(resident_bytes(&agent)?);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (written, behind_pace) = writer.await??;
    let mut all = Answers::default();
    while let Some(answers) = clients.join_next().await {
        all.add(answers??);
    }

    println!("{written} sets in {seconds} s ({:.0}/s; {behind_pace} ticks late)", written as f64 / seconds as f64);
    println!("from commit to durable record, sampled: {}", Latencies::of(lags));
    println!("resident at most {:.0} MB, query memory {QUERY_MEMORY}", resident_max as f64 / 1e6);
    println!("{CONNECTIONS} connections:");
    for (question, (_, took)) in QUESTIONS.iter().zip(all.took.iter().enumerate()) {
        println!("  {:<28} {}", question.0, Latencies::of(took.clone()));
    }
    match all.errors.is_empty() {
        true => println!("no errors"),
        false => all.errors.iter().for_each(|(error, count)| println!("  {count} x {error}")),
    }
    let recorded = agent
        .sql_until(
            Duration::from_secs(60),
            "SELECT count(*) + sum(missed) AS n FROM changes WHERE path LIKE '/load/%' AND kind = 'data_changed'",
            |rows| rows.first().and_then(|row| row["n"].as_i64()).is_some_and(|n| n >= written as i64),
        )
        .await?;
    println!(
        "recorded, with those proved missed: {}",
        recorded.first().map_or(0, |row| row["n"].as_i64().unwrap_or(0))
    );
    agent.terminate().await?;
    Ok(())
}

/// Sets znodes at a steady pace; gives how many, and how often it came too late to keep it.
async fn write(connect: String, end: Instant) -> Result<(usize, usize)> {
    let client = Client::connect(&connect).await?;
    let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
    client.create("/load", b"", &options).await?;
    for znode in 0..ZNODES {
        client.create(&format!("/load/{znode:04}"), b"", &options).await?;
    }
    let mut waiting = VecDeque::new();
    let (mut written, mut late) = (0usize, 0usize);
    let mut tick = tokio::time::interval(TICK);
    while Instant::now() < end {
        let due = tick.tick().await;
        late += usize::from(due.elapsed() > TICK);
        for _ in 0..SETS_PER_SECOND / 100 {
            let (client, path) = (client.clone(), format!("/load/{:04}", written % ZNODES));
            let value = format!("{{\"written\": {written}, \"by\": \"the load\"}}");
            waiting
                .push_back(tokio::spawn(async move { client.set_data(&path, value.as_bytes(), None).await.map(drop) }));
            written += 1;
            if waiting.len() >= SETS_IN_FLIGHT
                && let Some(first) = waiting.pop_front()
            {
                first.await??;
            }
        }
    }
    for left in waiting {
        left.await??;
    }
    Ok((written, late))
}

#[derive(Default)]
struct Answers {
    /// By question.
    took: Vec<Vec<Duration>>,
    errors: BTreeMap<String, usize>,
}

impl Answers {
    fn add(&mut self, other: Self) {
        self.took.resize(QUESTIONS.len(), Vec::new());
        for (all, more) in self.took.iter_mut().zip(other.took) {
            all.extend(more);
        }
        for (error, count) in other.errors {
            *self.errors.entry(error).or_default() += count;
        }
    }
}

/// One connection that asks one question after the other, each connection in an order of its own.
async fn ask(port: u16, number: usize, end: Instant) -> Result<Answers> {
    let dsn = format!("host=127.0.0.1 port={port} user=load dbname=zktrail");
    let (client, connection) = tokio_postgres::connect(&dsn, NoTls).await.context("the PostgreSQL door")?;
    let connection = tokio::spawn(connection);
    let mut answers = Answers { took: vec![Vec::new(); QUESTIONS.len()], ..Answers::default() };
    let mut next = number;
    while Instant::now() < end {
        let place = next % QUESTIONS.len();
        next += 1 + number % 3;
        let began = Instant::now();
        // The simple protocol for every other connection, so that both are under load.
        let outcome = match number % 2 {
            0 => client.query(QUESTIONS[place].1, &[]).await.map(drop),
            _ => client.simple_query(QUESTIONS[place].1).await.map(drop),
        };
        match outcome {
            Ok(()) => answers.took[place].push(began.elapsed()),
            Err(error) => {
                let text =
                    error.as_db_error().map_or(error.to_string(), |e| format!("{}: {}", e.code().code(), e.message()));
                *answers.errors.entry(format!("{text} [{}]", QUESTIONS[place].0)).or_default() += 1;
            }
        }
    }
    drop(client);
    connection.await??;
    Ok(answers)
}
