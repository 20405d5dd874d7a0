//! Watches outlive connections and sessions, and ensembles outlive each other.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::agent::{Agent, Settings};
use crate::prerequisites::{history_folder, skip};
use crate::proxy::Proxy;
use crate::servers::{self, Ensemble, Shape, Version, four_letter_word};
use crate::workload;

/// A session of the embedded ensemble lives for 30 s.
const EXPIRES_WITHIN: Duration = Duration::from_secs(60);

/// Sees to it that the agent is back, then that it hears of what happens from then on.
async fn hears_again(agent: &Agent, client: &zookeeper_client::Client, round: &str) -> Result<()> {
    // Found by the rescan, or heard already.
    workload::create(client, &format!("/back-{round}"), b"").await?;
    agent.sees(&format!("/back-{round}")).await?;
    let path = format!("/heard-{round}");
    workload::create(client, &path, b"").await?;
    let source = agent.sees(&path).await?;
    ensure!(source == "watch", "after {round} a change is known by {source}, not by its notification");
    Ok(())
}

async fn events_arrive_after_reconnects(version: Version) -> Result<()> {
    if let Some(missing) = Ensemble::missing(version) {
        skip("events_arrive_after_reconnects", &missing);
        return Ok(());
    }
    let mut settings = servers::Settings::new(version, Shape::Standalone);
    settings.four_letter_words = "srvr,mntr".to_owned();
    // Whatever the agent asks for, its session lives no longer without it.
    settings.extra.push("maxSessionTimeout=3000".to_owned());
    let ensemble = Ensemble::start_with(settings).await?;
    let proxy = Proxy::start(ensemble.address(0)).await?;
    let folder = history_folder()?;
    let agent = Agent::start(Settings::new(proxy.address().to_string(), folder.path())).await?;
    let client = workload::session(&ensemble.connect_string()).await?;
    hears_again(&agent, &client, "start").await?;

    for round in 1..=3 {
        proxy.drop_connections();
        // Made while nobody listens, or just after: either way it is on record in the end.
        workload::create(&client, &format!("/meanwhile-{round}"), b"").await?;
        hears_again(&agent, &client, &format!("reconnect-{round}")).await?;
        agent.sees(&format!("/meanwhile-{round}")).await?;
    }

    proxy.cut();
    let deadline = Instant::now() + EXPIRES_WITHIN;
    while sessions(&ensemble).await? > 1 {
        ensure!(Instant::now() < deadline, "the agent's session does not expire within {EXPIRES_WITHIN:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    workload::create(&client, "/while-expired", b"").await?;
    proxy.heal();
    hears_again(&agent, &client, "expiry").await?;
    agent.sees("/while-expired").await?;
    let gaps = agent.sql_integer("SELECT count(*) AS n FROM gaps WHERE from_time IS NOT NULL").await?;
    ensure!(gaps >= 1, "an expired session leaves a gap");
    Ok(())
}

/// How many sessions the server holds: the agent's and the writer's, as a rule.
async fn sessions(ensemble: &Ensemble) -> Result<u64> {
    let answer = four_letter_word(ensemble.address(0), "mntr").await?;
    let value = answer.lines().find_map(|line| line.strip_prefix("zk_global_sessions"));
    Ok(value.and_then(|value| value.trim().parse::<f64>().ok()).map_or(u64::MAX, |value| value as u64))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_arrive_after_reconnects_3_6() -> Result<()> {
    events_arrive_after_reconnects(Version::V3_6).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_arrive_after_reconnects_3_9() -> Result<()> {
    events_arrive_after_reconnects(Version::V3_9).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_arrive_after_reconnects_embedded() -> Result<()> {
    events_arrive_after_reconnects(Version::EmbeddedWithoutZxids).await
}

/// An ensemble that nobody can reach stalls no other, from the start on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_ensemble_stalls_no_other() -> Result<()> {
    if let Some(missing) = Ensemble::missing(Version::V3_9) {
        skip("dead_ensemble_stalls_no_other", &missing);
        return Ok(());
    }
    let ensemble = Ensemble::start(Version::V3_9, Shape::Standalone).await?;
    let connect = ensemble.connect_string();
    // One that nobody listens for, and one that is reached and never answers.
    let silent = Proxy::start(ensemble.address(0)).await?;
    silent.cut();
    let folder = history_folder()?;
    let mut settings = Settings::new(&connect, folder.path());
    settings.ensembles.push(("dead".to_owned(), format!("127.0.0.1:{}", servers::free_port()?)));
    settings.ensembles.push(("silent".to_owned(), silent.address().to_string()));
    let mut agent = Agent::spawn(settings)?;

    let client = workload::session(&connect).await?;
    agent
        .sql_until(Duration::from_secs(60), "SELECT path FROM coverage WHERE cluster = 'test'", |rows| !rows.is_empty())
        .await?;
    for change in 0..20 {
        let path = format!("/change-{change}");
        workload::create(&client, &path, b"").await?;
        agent.sees(&path).await?;
    }
    let rows = agent.sql("SELECT DISTINCT cluster FROM changes").await?;
    ensure!(rows.len() == 1 && rows[0]["cluster"] == "test", "{rows:?}");
    let (status, body) = agent.get("/healthz").await?;
    ensure!(status == 200, "/healthz answers {status}: {body}");

    // Nor is it lost for good.
    silent.heal();
    workload::create(&client, "/both", b"").await?;
    let query = "SELECT DISTINCT cluster FROM znodes WHERE path = '/both'";
    agent.sql_until(Duration::from_secs(60), query, |rows| rows.len() == 2).await?;
    ensure!(agent.terminate().await? == 0, "SIGTERM must end the agent with 0");
    Ok(())
}
