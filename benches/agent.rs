//! Measures an agent on a real ZooKeeper: `tests/run prepare && cargo bench --bench agent`.
//!
//! Prints: bootstrap of a large tree with the default budgets and without, what the writes of another client take
//! meanwhile, memory a znode, the changes a second that are recorded, and how long after its commit a change is visible
//! in SQL. Figures depend on the machine, whose cores ZooKeeper, writer and agent share: only ratios carry over.
//! `ZKTRAIL_BENCH_ZNODES` sets the tree's size.

#![allow(dead_code, reason = "the harness of the tests holds more than is needed here")]

#[path = "../tests/it/agent.rs"]
mod agent;
mod measure;
#[path = "../tests/it/prerequisites.rs"]
mod prerequisites;
#[path = "../tests/it/servers.rs"]
mod servers;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::Result;
use zookeeper_client::{Acls, Client, CreateMode};

use crate::agent::{Agent, Settings};
use crate::measure::{Latencies, resident_bytes};
use crate::servers::{Ensemble, Shape, Version};

const IN_FLIGHT: usize = 256;
const ZNODES_PER_PARENT: usize = 1_000;
const WRITES_PER_SECOND: f64 = 200.0;
const FLOOD_SECONDS: u64 = 10;
const FLOOD_ZNODES: usize = 1_000;
const VISIBLE_SAMPLES: usize = 200;

fn main() -> Result<()> {
    if let Some(missing) = Ensemble::missing(Version::V3_9) {
        println!("SKIPPED: {missing}");
        return Ok(());
    }
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(run())
}

async fn run() -> Result<()> {
    let znodes: usize = std::env::var("ZKTRAIL_BENCH_ZNODES").ok().and_then(|n| n.parse().ok()).unwrap_or(200_000);
    let ensemble = Ensemble::start(Version::V3_9, Shape::Standalone).await?;
    let connect = ensemble.connect_string();
    let began = Instant::now();
    fill(&connect, znodes).await?;
    println!("{znodes} znodes of 100 B created in {:.1?}", began.elapsed());

    let (alone, _) = writes_until(&connect, tokio::time::sleep(Duration::from_secs(5))).await?;
    println!("another client's writes, no agent: {alone}");

    for (name, flags) in [
        ("default budgets", &[][..]),
        ("no budgets", &[("--znodes-per-second", "off"), ("--bytes-per-second", "off"), ("--multi-reads", "8")][..]),
    ] {
        let folder = tempfile::tempdir()?;
        let mut settings = Settings::new(&connect, folder.path());
        for (flag, value) in flags {
            settings = settings.with(flag, value);
        }
        let began = Instant::now();
        let mut agent = Agent::spawn(settings)?;
        let (writes, ready) = writes_until(&connect, async {
            agent.wait_ready().await?;
            Ok::<_, anyhow::Error>(began.elapsed())
        })
        .await?;
        let took = ready?;
        println!(
            "bootstrap, {name}: {took:.1?} to ready ({:.0} znodes/s), another client's writes meanwhile: {writes}",
            znodes as f64 / took.as_secs_f64()
        );
        // The first snapshot and the first ACL sweep are part of what a start costs.
        let settled = Instant::now();
        agent
            .sql_until(Duration::from_secs(300), "SELECT from_time FROM coverage WHERE aspect = 'acl'", |rows| {
                !rows.is_empty()
            })
            .await?;
        println!("  every ACL read {:.1?} later", settled.elapsed());
        let resident = resident_bytes(&agent)?;
        println!("  resident {:.0} MB, {:.0} B a znode", resident as f64 / 1e6, resident as f64 / znodes as f64);
        if name == "no budgets" {
            flood(&agent, &connect).await?;
            visible(&agent, &connect).await?;
        }
        agent.terminate().await?;
    }
    Ok(())
}

/// Makes a tree of this size, 100 B each.
async fn fill(connect: &str, znodes: usize) -> Result<()> {
    let client = Client::connect(connect).await?;
    let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
    let value = [b'x'; 100];
    let mut waiting = VecDeque::new();
    client.create("/bench", b"", &options).await?;
    for znode in 0..znodes {
        let parent = format!("/bench/{:05}", znode / ZNODES_PER_PARENT);
        if znode % ZNODES_PER_PARENT == 0 {
            client.create(&parent, &value, &options).await?;
        }
        let (client, path, options) = (client.clone(), format!("{parent}/znode-{znode:07}"), options.clone());
        waiting.push_back(tokio::spawn(async move { client.create(&path, &value, &options).await.map(drop) }));
        if waiting.len() >= IN_FLIGHT
            && let Some(first) = waiting.pop_front()
        {
            first.await??;
        }
    }
    for left in waiting {
        left.await??;
    }
    Ok(())
}

/// Sets one znode at a low rate until `end`, and tells what that took.
async fn writes_until<T>(connect: &str, end: impl Future<Output = T>) -> Result<(Latencies, T)> {
    let client = Client::connect(connect).await?;
    let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
    let _ = client.create("/writer", b"", &options).await;
    let mut took = Vec::new();
    let mut tick = tokio::time::interval(Duration::from_secs_f64(1.0 / WRITES_PER_SECOND));
    let mut end = std::pin::pin!(end);
    let ended = loop {
        tokio::select! {
            ended = &mut end => break ended,
            _ = tick.tick() => {
                let began = Instant::now();
                client.set_data("/writer", b"written by somebody else", None).await?;
                took.push(began.elapsed());
            }
        }
    };
    Ok((Latencies::of(took), ended))
}

/// Sets many znodes as fast as one client can, and tells how the record keeps up.
async fn flood(agent: &Agent, connect: &str) -> Result<()> {
    let client = Client::connect(connect).await?;
    let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
    client.create("/flood", b"", &options).await?;
    for znode in 0..FLOOD_ZNODES {
        client.create(&format!("/flood/{znode}"), b"", &options).await?;
    }
    let before = agent.sql_integer("SELECT count(*) AS n FROM changes").await?;
    let began = Instant::now();
    let mut waiting = VecDeque::new();
    let mut written = 0usize;
    while began.elapsed() < Duration::from_secs(FLOOD_SECONDS) {
        let (client, path) = (client.clone(), format!("/flood/{}", written % FLOOD_ZNODES));
        let value = format!("{written:0100}");
        waiting.push_back(tokio::spawn(async move { client.set_data(&path, value.as_bytes(), None).await.map(drop) }));
        written += 1;
        if waiting.len() >= IN_FLIGHT
            && let Some(first) = waiting.pop_front()
        {
            first.await??;
        }
    }
    for left in waiting {
        left.await??;
    }
    let wrote = began.elapsed();
    let all = before + i64::try_from(written)?;
    agent
        .sql_until(Duration::from_secs(120), "SELECT count(*) AS n FROM changes", |rows| {
            rows.first().and_then(|row| row["n"].as_i64()).is_some_and(|n| n >= all)
        })
        .await?;
    let behind = began.elapsed() - wrote;
    let exact = agent
        .sql_integer(
            "SELECT count(*) AS n FROM changes WHERE evidence = 'exact' AND path LIKE '/flood/%' AND version > 0",
        )
        .await?;
    println!(
        "flood: {written} sets of {FLOOD_ZNODES} znodes in {wrote:.1?} ({:.0}/s), all recorded {behind:.2?} later, {:.1} % \
         with their value",
        written as f64 / wrote.as_secs_f64(),
        exact as f64 / written as f64 * 100.0
    );
    Ok(())
}

/// Sets a znode now and then and asks by SQL until the change is there.
async fn visible(agent: &Agent, connect: &str) -> Result<()> {
    let client = Client::connect(connect).await?;
    let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
    client.create("/visible", b"", &options).await?;
    let mut took = Vec::new();
    let mut asked = Vec::new();
    for _ in 0..VISIBLE_SAMPLES {
        let stat = client.set_data("/visible", b"x", None).await?;
        let committed = Instant::now();
        let query = format!("SELECT count(*) AS n FROM changes WHERE path = '/visible' AND zxid = {}", stat.mzxid);
        loop {
            let began = Instant::now();
            let seen = agent.sql_integer(&query).await?;
            asked.push(began.elapsed());
            if seen > 0 {
                break;
            }
        }
        took.push(committed.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("commit to visible in SQL: {} (a query alone: {})", Latencies::of(took), Latencies::of(asked));
    Ok(())
}
