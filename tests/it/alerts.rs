//! The alerts of grafana/, by Debian's Prometheus, on an agent and three real servers to which happens what happens: the
//! right ones fire, and no other. The rules are hurried (see `hurried`), the servers are not.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use tokio::task::JoinHandle;
use zookeeper_client::{Acls, Client, CreateMode};

use self::hurried::{hurried, hurry};
use crate::agent::{Agent, Settings};
use crate::disk::Tmpfs;
use crate::prerequisites::{history_folder, prometheus, skip};
use crate::prometheus_server::{Prometheus, grafana, promtool};
use crate::servers::{self, Ensemble, Shape, Version};
use crate::workload::{self, create, session};

mod hurried;
mod runbook;

const FILES: [&str; 2] = ["rules.yml", "alerts.yml"];
/// Recording rules without a value here: nobody reads, no disk is synced (`forceSync=no`), and no request waits.
const SILENT_HERE: [&str; 3] =
    ["zk_host:zk_readlatency:mean5m", "zk_host:zk_fsynctime:mean5m", "zk_host:zk_outstanding_requests:wait_seconds5m"];
const HOUR: Duration = Duration::from_secs(3_600);
const EPHEMERALS: usize = 10;
const STORM_SESSIONS: usize = 300;
const GROWTH_BYTES: usize = 5 << 20;
const VALUE_BYTES: usize = 64 << 10;
/// A server whose disk fills up; with the smallest id it does not become the leader of a fresh ensemble.
const ON_SMALL_DISK: usize = 0;
const SMALL_DISK_BYTES: u64 = 64 << 20;
const LEFT_ON_DISK_BYTES: u64 = 1 << 20;

fn paths(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| grafana(name).display().to_string()).collect()
}

#[test]
fn alerts_do_what_their_unit_tests_say() -> Result<()> {
    let Some(tool) = prometheus("promtool") else {
        skip("alerts_do_what_their_unit_tests_say", "promtool is not there: run tests/run prepare");
        return Ok(());
    };
    let run = |command: &[&str], files: &[&str]| {
        let files = paths(files);
        let arguments: Vec<&str> = command.iter().copied().chain(files.iter().map(String::as_str)).collect();
        promtool(&tool, &arguments, None)
    };
    run(&["check", "rules"], &FILES)?;
    run(&["check", "config"], &["prometheus.yml"])?;
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operating.md"))?;
    let (_, block) = page.split_once("  <!-- scrape -->\n  ```yaml\n").context("the scrape job of the page")?;
    let job = block.split_once("  ```").context("its end")?.0;
    ensure!(job.contains("job_name: zktrail\n"), "the alerts know the agents by this name: {job}");
    // Debian's promtool does not know Kubernetes: that part is taken out.
    let (before, discovery) = job.split_once("      kubernetes_sd_configs:\n").context("discovery")?;
    let (_, relabel) = discovery.split_once("      relabel_configs:\n").context("relabelling")?;
    let job = format!("{before}      relabel_configs:\n{relabel}");
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("prometheus.yml");
    fs::write(&config, job)?;
    promtool(&tool, &["check", "config", &config.display().to_string()], None)?;
    run(&["test", "rules"], &["alerts_test.yml", "quiet_test.yml"])
}

/// What all scenarios happen to.
struct Scene {
    ensemble: Ensemble,
    agent: Agent,
    prometheus: Prometheus,
}

impl Scene {
    /// Waits until nothing fires and nothing is about to.
    async fn calm(&self) -> Result<()> {
        self.prometheus.wait_for("absent(ALERTS)").await
    }

    /// Waits until so many servers serve, as the alerts hear of it.
    async fn serving(&self, servers: usize) -> Result<()> {
        self.prometheus.wait_for(&format!("zktrail_ensemble_voters_serving == {servers}")).await
    }

    /// Kills a server and starts it again, each for so long that it is seen.
    async fn restart(&mut self, node: usize) -> Result<()> {
        self.ensemble.kill_node(node)?;
        self.serving(2).await?;
        self.ensemble.restart_node(node).await?;
        self.serving(3).await
    }

    /// Waits until these alerts fire.
    async fn fires(&self, expected: &[&str]) -> Result<()> {
        for alert in expected {
            self.prometheus.until(alert, || self.prometheus.firing(alert)).await?;
        }
        Ok(())
    }

    /// Waits until all is over, and sees to it that these alerts fired and no other, from the first moment on.
    async fn over(&self, what: &str, since: Instant, expected: &[&str]) -> Result<()> {
        self.calm().await.with_context(|| what.to_owned())?;
        self.fired(what, since, expected)
    }

    fn fired(&self, what: &str, since: Instant, expected: &[&str]) -> Result<()> {
        let query =
            format!("count_over_time(ALERTS{{alertstate=\"firing\"}}[{}ms])", since.elapsed().as_millis().max(1));
        let fired = self.prometheus.labels(&query, "alertname")?;
        let expected: BTreeSet<String> = expected.iter().map(|alert| (*alert).to_owned()).collect();
        println!("{what}, {:?}: {fired:?}", since.elapsed());
        ensure!(fired == expected, "{what}: {fired:?} fired, expected {expected:?}");
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_right_alerts_fire_and_no_other() -> Result<()> {
    const NAME: &str = "the_right_alerts_fire_and_no_other";
    if let Some(missing) = Ensemble::missing(Version::V3_9) {
        skip(NAME, &missing);
        return Ok(());
    }
    let (Some(program), Some(tool)) = (prometheus("prometheus"), prometheus("promtool")) else {
        skip(NAME, "Prometheus and promtool are not there: run tests/run prepare");
        return Ok(());
    };
    let small = tempfile::tempdir()?;
    let Some(_disk) = Tmpfs::mount(small.path(), SMALL_DISK_BYTES) else {
        skip(NAME, "a tmpfs cannot be mounted here (not root?)");
        return Ok(());
    };
    let settings = servers::Settings {
        four_letter_words: "srvr,mntr,ruok,isro".to_owned(),
        data_elsewhere: Some((ON_SMALL_DISK, small.path().to_owned())),
        ..servers::Settings::new(Version::V3_9, Shape::ThreeNodes)
    };
    let ensemble = Ensemble::start_with(settings).await?;
    let connect = ensemble.connect_string();
    // Its session outlives every outage here.
    let members = Client::connector().with_session_timeout(Duration::from_secs(60)).connect(&connect).await?;
    for path in ["/app", "/config", "/members"] {
        create(&members, path, b"").await?;
    }
    for member in 0..EPHEMERALS {
        let options = CreateMode::Ephemeral.with_acls(Acls::anyone_all());
        members.create(&format!("/members/{member}"), b"", &options).await?;
    }
    let traffic = Traffic::start(&connect).await?;
    let folder = history_folder()?;
    let settings = Settings::new(&connect, folder.path())
        .with("--server-sample", "1s")
        // Of a machine that runs tests there may be little.
        .with("--free-space-floor", "1%")
        .with("--subtree", "/app")
        .with("--config-subtree", "/config");
    let agent = Agent::start(settings).await?;
    let rules: Vec<(&str, String)> =
        FILES.into_iter().map(|name| Ok((name, hurry(&fs::read_to_string(grafana(name))?)))).collect::<Result<_>>()?;
    let prometheus = Prometheus::start(&program, &agent.http().to_string(), &rules).await?;
    let began = Instant::now();
    let mut scene = Scene { ensemble, agent, prometheus };

    scene.serving(3).await?;
    every_series_is_there(&scene, &tool, &rules).await?;
    runbook::every_question_has_an_answer(&scene.agent).await?;
    scene.over("at first", began, &[]).await?;

    leader_is_killed_and_comes_back(&mut scene).await?;
    rolling_restart(&mut scene).await?;
    agent_is_started_again(&mut scene).await?;
    session_storm(&scene).await?;
    leader_is_killed_and_stays_away(&mut scene).await?;
    follower_has_a_full_disk(&mut scene, small.path()).await?;
    quorum_is_lost(&mut scene).await?;
    a_deployment_is_too_large(&scene, began).await?;
    agent_is_gone(&mut scene).await?;
    traffic.stop().await?;
    drop(members);
    Ok(())
}

async fn leader_is_killed_and_comes_back(scene: &mut Scene) -> Result<()> {
    let since = Instant::now();
    let leader = scene.ensemble.leader().await?;
    scene.restart(leader).await?;
    scene.over("a leader that is killed and comes back", since, &[]).await
}

/// One after the other, as a careful operator does, the leader last.
async fn rolling_restart(scene: &mut Scene) -> Result<()> {
    let since = Instant::now();
    let leader = scene.ensemble.leader().await?;
    for node in (0..scene.ensemble.len()).filter(|node| *node != leader).chain([leader]) {
        scene.restart(node).await?;
    }
    scene.over("a rolling restart", since, &[]).await
}

async fn agent_is_started_again(scene: &mut Scene) -> Result<()> {
    let since = Instant::now();
    ensure!(scene.agent.terminate().await? == 0, "SIGTERM must end the agent with 0");
    scene.prometheus.wait_for("up == 0").await?;
    scene.agent.start_again().await?;
    scene.prometheus.wait_for("up == 1").await?;
    scene.serving(3).await?;
    scene.over("a restart of the agent", since, &[]).await
}

async fn session_storm(scene: &Scene) -> Result<()> {
    let since = Instant::now();
    let connect = scene.ensemble.connect_string();
    let storm = try_join_all((0..STORM_SESSIONS).map(|_| session(&connect))).await?;
    let expected = ["ZookeeperSessionStorm"];
    scene.fires(&expected).await?;
    drop(storm);
    scene.over("a session storm", since, &expected).await
}

async fn leader_is_killed_and_stays_away(scene: &mut Scene) -> Result<()> {
    let since = Instant::now();
    let leader = scene.ensemble.leader().await?;
    scene.ensemble.kill_node(leader)?;
    let expected = ["ZookeeperServerDown", "ZookeeperQuorumAtRisk"];
    scene.fires(&expected).await?;
    scene.ensemble.restart_node(leader).await?;
    scene.over("a leader that stays away", since, &expected).await
}

/// The server's process runs on, joins again and again, and cannot write what it is sent.
async fn follower_has_a_full_disk(scene: &mut Scene, disk: &Path) -> Result<()> {
    if scene.ensemble.leader().await? == ON_SMALL_DISK {
        scene.restart(ON_SMALL_DISK).await?;
        scene.calm().await?;
    }
    let since = Instant::now();
    let filler = fill(disk, LEFT_ON_DISK_BYTES)?;
    let others = (0..scene.ensemble.len()).filter(|node| *node != ON_SMALL_DISK);
    let others: Vec<String> = others.map(|node| scene.ensemble.address(node).to_string()).collect();
    let client = session(&others.join(",")).await?;
    for value in 0..(4 * LEFT_ON_DISK_BYTES).div_ceil(VALUE_BYTES as u64) {
        workload::set(&client, "/app", &vec![value as u8; VALUE_BYTES]).await?;
    }
    let expected = ["ZookeeperServerDown", "ZookeeperQuorumAtRisk"];
    scene.fires(&expected).await?;
    fs::remove_file(filler)?;
    scene.ensemble.restart_node(ON_SMALL_DISK).await?;
    scene.over("a follower on a full disk", since, &expected).await
}

/// Leaves so much of a disk.
fn fill(disk: &Path, left_bytes: u64) -> Result<PathBuf> {
    let path = disk.join("filler");
    let mut file = File::create(&path)?;
    let block = vec![0; VALUE_BYTES];
    let error = loop {
        if let Err(error) = file.write_all(&block) {
            break error;
        }
    };
    ensure!(error.kind() == ErrorKind::StorageFull, "filling {}: {error}", path.display());
    let full = file.metadata()?.len();
    file.set_len(full.saturating_sub(left_bytes))?;
    Ok(path)
}

async fn quorum_is_lost(scene: &mut Scene) -> Result<()> {
    let since = Instant::now();
    for node in [1, 2] {
        scene.ensemble.kill_node(node)?;
    }
    let expected = ["ZktrailNoLeaderSeen", "ZookeeperQuorumAtRisk", "ZookeeperServerDown", "ZktrailGapOpen"];
    scene.fires(&expected).await?;
    scene.ensemble.restart_nodes(&[1, 2]).await?;
    scene.over("a lost quorum", since, &expected).await
}

/// It adds 5 MB to a listed subtree, and changes the configuration.
async fn a_deployment_is_too_large(scene: &Scene, began: Instant) -> Result<()> {
    // There must be something to compare with.
    tokio::time::sleep_until((began + hurried(HOUR)).into()).await;
    scene.prometheus.wait_for(&format!("zktrail_subtree_bytes offset {}ms", hurried(HOUR).as_millis())).await?;
    let client = session(&scene.ensemble.connect_string()).await?;
    let since = Instant::now();
    for znode in 0..GROWTH_BYTES.div_ceil(VALUE_BYTES) {
        create(&client, &format!("/app/{znode}"), &vec![b'x'; VALUE_BYTES]).await?;
    }
    create(&client, "/config/app", b"pool=2").await?;
    let expected = ["ZookeeperConfigChanged", "ZookeeperSubtreeGrows"];
    scene.fires(&expected).await?;
    scene.fired("a subtree that grows by 5 MB", since, &expected)
}

/// The last of all: nothing can be said of the ensemble any more, and nothing is but this.
async fn agent_is_gone(scene: &mut Scene) -> Result<()> {
    scene.agent.kill9()?;
    scene.prometheus.wait_for("up == 0").await?;
    scene.calm().await?;
    let since = Instant::now();
    let expected = ["ZktrailAgentBlind"];
    scene.fires(&expected).await?;
    scene.fired("an agent that is gone", since, &expected)
}

/// Every series that the rules ask for is there, every rule is understood, and promtool finds nothing to say.
async fn every_series_is_there(scene: &Scene, tool: &Path, rules: &[(&str, String)]) -> Result<()> {
    let text = scene.agent.get("/metrics").await?.1;
    promtool(tool, &["check", "metrics"], Some(&text))?;
    let there = scene.prometheus.labels("{job=\"zktrail\"}", "__name__")?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let asked = rules.iter().flat_map(|(_, text)| text.lines().filter(|line| !line.trim_start().starts_with('#')));
    let asked = asked.filter(|line| !line.contains("summary:") && !line.contains("description:"));
    let asked: BTreeSet<&str> = asked
        .flat_map(|line| line.split(|c| !is_name(c)))
        .filter(|word| word.starts_with("zk_") || word.starts_with("zktrail_"))
        // A label's name, and the level of a rule, is none.
        .filter(|word| !word.contains(':') && *word != "zk_host")
        .collect();
    let unknown: Vec<&&str> = asked.iter().filter(|name| !there.contains(**name)).collect();
    ensure!(unknown.is_empty() && asked.len() > 30, "asked for, but not there: {unknown:?}");
    let data = scene.prometheus.api("rules", None)?;
    let groups = data["groups"].as_array().context("groups")?;
    for rule in groups.iter().flat_map(|group| group["rules"].as_array().into_iter().flatten()) {
        ensure!(rule["health"] == "ok", "{rule}");
        let name = rule["name"].as_str().unwrap_or_default();
        if rule["type"] == "recording" && !SILENT_HERE.contains(&name) {
            scene.prometheus.wait_for(name).await?;
        }
    }
    Ok(())
}

/// Somebody writes all the time, and bears every outage.
struct Traffic {
    stop: Arc<AtomicBool>,
    writer: JoinHandle<Result<()>>,
}

impl Traffic {
    const PAUSE: Duration = Duration::from_millis(50);

    async fn start(connect: &str) -> Result<Self> {
        let stop = Arc::<AtomicBool>::default();
        let (connect, stopped) = (connect.to_owned(), Arc::clone(&stop));
        create(&session(&connect).await?, "/traffic", b"").await?;
        let writer = tokio::spawn(async move {
            let mut client = session(&connect).await?;
            while !stopped.load(Ordering::Relaxed) {
                if client.set_data("/traffic", b"again", None).await.is_err() && client.state().is_terminated() {
                    client = session(&connect).await?;
                }
                tokio::time::sleep(Self::PAUSE).await;
            }
            Ok(())
        });
        Ok(Self { stop, writer })
    }

    async fn stop(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.writer.await?
    }
}
