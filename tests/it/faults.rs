//! Killed agents, killed servers, a cut network: nothing recorded is lost, nothing doubled, and every change that has
//! no row lies inside a gap that the history tells of.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::agent::{self, Agent, Settings};
use crate::check::{self, CHANGES_IN_ORDER, Expectations, GAPS};
use crate::main_job::wait_tree_equals;
use crate::prerequisites::{history_folder, long, skip};
use crate::proxy::Proxy;
use crate::servers::{Ensemble, Shape, Version};
use crate::workload::{self, Random, Running, Workload};

const OPERATIONS_PER_SECOND: f64 = 200.0;

#[derive(Clone, Copy, Debug)]
enum Fault {
    AgentKilled,
    /// The one that the agent is connected to.
    ServerKilled,
    NetworkCut,
    LeaderKilled,
    /// Every connection is closed, and so is every new one; before and after that the network is slow.
    ConnectionsRefused,
}

/// An ensemble whose agent goes through a proxy for each of its servers, while the writer goes straight to them.
pub struct Scene {
    pub ensemble: Ensemble,
    pub proxies: Vec<Proxy>,
    pub agent: Agent,
    pub running: Running,
    /// What was on record before the agent was killed, by seq.
    kept: BTreeMap<i64, (String, String)>,
    outage: Duration,
}

impl Scene {
    pub async fn start(version: Version, folder: &std::path::Path) -> Result<Self> {
        Self::start_on(Ensemble::start(version, Shape::ThreeNodes).await?, folder, 0, &[]).await
    }

    /// `offset_seconds`: how far the agent's clock is off; `flags`: more of the agent's.
    pub async fn start_on(
        ensemble: Ensemble,
        folder: &std::path::Path,
        offset_seconds: i64,
        flags: &[(&str, &str)],
    ) -> Result<Self> {
        let mut proxies = Vec::new();
        for node in 0..ensemble.len() {
            proxies.push(Proxy::start(ensemble.address(node)).await?);
        }
        let connect: Vec<String> = proxies.iter().map(|proxy| proxy.address().to_string()).collect();
        // Short enough that it notices every fault, long enough that not every one costs it the session.
        let mut settings = Settings::new(connect.join(","), folder).with("--session-timeout", "5s");
        settings.clock_offset_seconds = offset_seconds;
        for (flag, value) in flags {
            settings = settings.with(flag, value);
        }
        let agent = Agent::start(settings).await?;
        let running = Workload::new(ensemble.connect_string(), 11, 0).careful(OPERATIONS_PER_SECOND).start();
        let scene = Self { ensemble, proxies, agent, running, kept: BTreeMap::new(), outage: Duration::ZERO };
        scene.running.advance(100).await;
        Ok(scene)
    }

    /// One fault after another, each mended, and nothing recorded lost.
    pub async fn suffer_all(&mut self) -> Result<()> {
        let mut random = Random::seeded(17);
        for (round, fault) in faults().into_iter().enumerate() {
            // Between about one and a half and six seconds.
            let operations = 300 + 300 * (round % 4);
            self.suffer(fault, operations).await.with_context(|| format!("round {round}, {fault:?}"))?;
            self.nothing_lost().await.with_context(|| format!("round {round}, {fault:?}"))?;
            // Half a second to two: the next fault comes at any moment of a recording, its flushes and its snapshots.
            self.running.advance(100 + random.below(300)).await;
        }
        Ok(())
    }

    /// Brings one fault about for as long as this many operations take, and mends it.
    async fn suffer(&mut self, fault: Fault, operations: usize) -> Result<()> {
        let began = Instant::now();
        match fault {
            Fault::AgentKilled => {
                self.keep().await?;
                self.agent.kill9()?;
                self.running.advance(operations).await;
                // Until it is asked to live again; how long it takes to come back is its own affair, within the bound.
                self.outage += began.elapsed();
                self.agent.start_again().await?;
            }
            Fault::ServerKilled | Fault::LeaderKilled => {
                let connected = self.proxies.iter().position(|proxy| proxy.connections() > 0);
                let node = match fault {
                    Fault::LeaderKilled => self.ensemble.leader().await?,
                    _ => connected.context("the agent is connected to no server")?,
                };
                self.ensemble.kill_node(node)?;
                self.running.advance(operations).await;
                self.ensemble.restart_node(node).await?;
                self.outage += began.elapsed();
            }
            Fault::NetworkCut => {
                for proxy in &self.proxies {
                    proxy.cut();
                }
                self.running.advance(operations).await;
                for proxy in &self.proxies {
                    proxy.heal();
                }
                self.outage += began.elapsed();
            }
            Fault::ConnectionsRefused => {
                for proxy in &self.proxies {
                    proxy.delay(Duration::from_millis(30));
                }
                self.running.advance(100).await;
                let refused = Instant::now();
                for proxy in &self.proxies {
                    proxy.refuse();
                }
                self.running.advance(operations).await;
                for proxy in &self.proxies {
                    proxy.heal();
                }
                self.outage += refused.elapsed();
                self.running.advance(100).await;
                for proxy in &self.proxies {
                    proxy.delay(Duration::ZERO);
                }
            }
        }
        self.watches_again(&format!("/back-{}", self.outage.as_micros())).await
    }

    /// Waits until a change is on record that was made after the fault was mended.
    async fn watches_again(&self, path: &str) -> Result<()> {
        let client = workload::session(&self.ensemble.connect_string()).await?;
        while let Err(error) = workload::create(&client, path, b"").await {
            println!("{error:#}");
            tokio::time::sleep(Duration::from_millis(100)).await;
            if client.check_stat(path).await.is_ok_and(|stat| stat.is_some()) {
                break;
            }
        }
        self.agent.sees(path).await?;
        Ok(())
    }

    /// Remembers what the agent says is on record.
    async fn keep(&mut self) -> Result<()> {
        self.kept = by_seq(&self.agent.sql("SELECT seq, path, kind FROM changes").await?)?;
        Ok(())
    }

    /// Everything that was on record before the last kill still is.
    async fn nothing_lost(&self) -> Result<()> {
        let now = by_seq(&self.agent.sql("SELECT seq, path, kind FROM changes").await?)?;
        for (seq, row) in &self.kept {
            ensure!(now.get(seq) == Some(row), "seq {seq} was {row:?} before the kill and is {:?} now", now.get(seq));
        }
        Ok(())
    }
}

fn by_seq(rows: &[Value]) -> Result<BTreeMap<i64, (String, String)>> {
    let text = |row: &Value, column: &str| Some(row.get(column)?.as_str()?.to_owned());
    let parse = |row: &Value| Some((row.get("seq")?.as_i64()?, (text(row, "path")?, text(row, "kind")?)));
    rows.iter().map(|row| parse(row).with_context(|| format!("no seq, path and kind in {row}"))).collect()
}

/// The sum of the gaps in all that the agent watches; what lies before its first look is none of its own.
fn gap_time(gaps: &[check::Gap]) -> Duration {
    let spans = gaps.iter().filter(|gap| gap.path == "/").filter_map(|gap| Some(gap.to_time? - gap.from_time?));
    spans.map(|span| span.to_std().unwrap_or_default()).sum()
}

/// Each once; in the long form the agent is killed twenty times, and in between everything else happens five times.
fn faults() -> Vec<Fault> {
    let others = [Fault::ServerKilled, Fault::NetworkCut, Fault::LeaderKilled, Fault::ConnectionsRefused];
    if !long() {
        return [Fault::AgentKilled].into_iter().chain(others).collect();
    }
    others.into_iter().cycle().take(20).flat_map(|other| [Fault::AgentKilled, other]).collect()
}

async fn every_loss_is_in_a_gap(version: Version) -> Result<()> {
    if let Some(missing) = Ensemble::missing(version) {
        skip("every_loss_is_in_a_gap", &missing);
        return Ok(());
    }
    let folder = history_folder()?;
    let mut scene = Scene::start(version, folder.path()).await?;
    scene.suffer_all().await?;
    let Scene { ensemble, proxies: _proxies, mut agent, running, outage, .. } = scene;
    let recorded = running.stop().await?;
    let connect = ensemble.connect_string();
    workload::create(&workload::session(&connect).await?, "/done", b"").await?;
    agent.sees("/done").await?;

    let rows = check::rows(&agent.sql(CHANGES_IN_ORDER).await?)?;
    let gaps = check::gaps(&agent.sql(GAPS).await?)?;
    let expected = Expectations { root: "/work", zxids: version.tells_zxids(), gaps: Some(&gaps) };
    let findings = check::compare(&recorded, &rows, expected).with_context(|| format!("{gaps:#?}"))?;
    let lost = gap_time(&gaps);
    println!("{} gaps, {lost:?} of {outage:?} outage, {findings:?}", gaps.len());
    ensure!(findings.matched > 200, "hardly anything was watched: {findings:?}");
    ensure!(gaps.iter().filter(|gap| gap.from_time.is_some()).all(|gap| gap.reason.is_some()), "{gaps:#?}");
    ensure!(lost <= outage * 3, "gaps of {lost:?} for outages of {outage:?}: {gaps:#?}");
    wait_tree_equals(&agent, &connect).await?;

    ensure!(agent.terminate().await? == 0, "SIGTERM must end the agent with 0");
    agent::verify(folder.path()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_loss_is_in_a_gap_3_9() -> Result<()> {
    every_loss_is_in_a_gap(Version::V3_9).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_loss_is_in_a_gap_3_8() -> Result<()> {
    every_loss_is_in_a_gap(Version::V3_8).await
}

/// The same where no notification carries a zxid.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_loss_is_in_a_gap_3_6() -> Result<()> {
    every_loss_is_in_a_gap(Version::V3_6).await
}

/// The same against the embedded ensemble: what holds there holds here, and the other way round.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_loss_is_in_a_gap_embedded() -> Result<()> {
    every_loss_is_in_a_gap(Version::Embedded).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_loss_is_in_a_gap_embedded_without_zxids() -> Result<()> {
    every_loss_is_in_a_gap(Version::EmbeddedWithoutZxids).await
}
