//! Servers whose clock is two hours off, around midnight: order, time travel and days stay right.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, Timelike as _, Utc};

use crate::agent::{self, Agent, Settings};
use crate::check::{self, CHANGES_IN_ORDER, Expectations};
use crate::prerequisites::{faketime, history_folder, skip};
use crate::servers::{self, Ensemble, Shape, Version};
use crate::workload::{self, Workload};

const DAY_SECONDS: i64 = 86_400;
const SERVER_AHEAD_SECONDS: i64 = 2 * 3_600;
/// The workload begins this long before the agent's midnight, and ends that long after.
const BEFORE_MIDNIGHT_SECONDS: i64 = 20;
const AFTER_MIDNIGHT_SECONDS: i64 = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_two_hours_ahead() -> Result<()> {
    around_midnight(SERVER_AHEAD_SECONDS).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_two_hours_behind() -> Result<()> {
    around_midnight(-SERVER_AHEAD_SECONDS).await
}

async fn around_midnight(server_ahead_seconds: i64) -> Result<()> {
    if let Some(missing) = Ensemble::missing(Version::V3_9) {
        skip("around_midnight", &missing);
        return Ok(());
    }
    if faketime().is_none() {
        skip("around_midnight", "libfaketime is not installed (Debian: faketime)");
        return Ok(());
    }
    let second_of_day = i64::from(Utc::now().num_seconds_from_midnight());
    let offset = DAY_SECONDS - BEFORE_MIDNIGHT_SECONDS - second_of_day;
    let agents_now = || Utc::now() + chrono::Duration::seconds(offset);
    let midnight = (agents_now() + chrono::Duration::seconds(3_600)).date_naive().and_time(chrono::NaiveTime::MIN);

    let mut settings = servers::Settings::new(Version::V3_9, Shape::Standalone);
    settings.clock_offset_seconds = offset + server_ahead_seconds;
    let ensemble = Ensemble::start_with(settings).await?;
    let connect = ensemble.connect_string();
    let folder = history_folder()?;
    let mut settings = Settings::new(&connect, folder.path()).with("--flush-age", "1s");
    settings.clock_offset_seconds = offset;
    let mut agent = Agent::start(settings).await?;

    let running = Workload::new(&connect, 5, 0).careful(100.0).start();
    while agents_now().naive_utc() < midnight + chrono::Duration::seconds(AFTER_MIDNIGHT_SECONDS) {
        running.advance(20).await;
    }
    let recorded = running.stop().await?;
    time_travel(&agent, &connect).await?;

    let rows = check::rows(&agent.sql(CHANGES_IN_ORDER).await?)?;
    check::compare(&recorded, &rows, Expectations { root: "/work", zxids: true, gaps: None })?;
    // An ACL change has no zxid: its place is only bounded.
    let heard: Vec<_> = rows.iter().filter(|row| row.source == "watch").collect();
    ensure!(heard.is_sorted_by(|a, b| a.seq < b.seq), "the order of commits is the order of recording here");

    // The server's clock tells when, the agent's on which day.
    let strange = agent
        .sql_integer(&format!(
            "SELECT count(*) AS n FROM changes WHERE time_source = 'server' AND source = 'watch' AND \
             abs(date_part('epoch', time) - date_part('epoch', observed_at) - {server_ahead_seconds}) > 60"
        ))
        .await?;
    ensure!(strange == 0, "{strange} rows' times are not the server's");
    let misplaced = agent
        .sql_integer(
            "SELECT count(*) AS n FROM changes WHERE CAST(date AS VARCHAR) <> to_char(observed_at, 'YYYY-MM-DD')",
        )
        .await?;
    ensure!(misplaced == 0, "{misplaced} rows are not in the folder of the day on which they were observed");
    let days = agent.sql_integer("SELECT count(DISTINCT date) AS n FROM changes").await?;
    ensure!(days == 2, "changes before and after midnight are in {days} days");

    ensure!(agent.terminate().await? == 0, "SIGTERM must end the agent with 0");
    agent::verify(folder.path()).await
}

/// `znodes_at` gives each value of a path at the zxid, and at the moment, at which it was there.
async fn time_travel(agent: &Agent, connect_string: &str) -> Result<()> {
    let client = workload::session(connect_string).await?;
    let mut states = vec![workload::create(&client, "/travel", b"0").await?];
    agent.sees("/travel").await?;
    for version in 1..=4 {
        states.push(workload::set(&client, "/travel", version.to_string().as_bytes()).await?);
        let query = format!("SELECT seq FROM changes WHERE path = '/travel' AND version = {version}");
        agent.sql_until(Duration::from_secs(30), &query, |rows| rows.len() == 1).await?;
    }
    let query = "SELECT time FROM changes WHERE path = '/travel' ORDER BY position, ordinal, seq";
    let times = agent.sql(query).await?;
    let times: Vec<DateTime<Utc>> = times
        .iter()
        .map(|row| Ok(DateTime::parse_from_rfc3339(row["time"].as_str().context("time")?)?.to_utc()))
        .collect::<Result<_>>()?;
    ensure!(times.is_sorted(), "one server's clock goes forward: {times:?}");
    for (version, state) in states.iter().enumerate() {
        let zxid = state.zxid.context("a zxid")?;
        let told = agent.sql_integer(&format!("SELECT version FROM znodes_at({zxid}) WHERE path = '/travel'")).await?;
        ensure!(usize::try_from(told) == Ok(version), "at zxid {zxid:#x} version {told}, not {version}");
        // The moment of the change itself, as the history tells it, shows the change.
        let time = times[version].format("%Y-%m-%dT%H:%M:%S%.6fZ");
        let query = format!("SELECT version FROM znodes_at(TIMESTAMP '{time}') WHERE path = '/travel'");
        let told = agent.sql_integer(&query).await?;
        ensure!(usize::try_from(told) == Ok(version), "at {time} version {told}, not {version}");
    }
    let before = states[0].zxid.context("a zxid")? - 1;
    let rows = agent.sql(&format!("SELECT path FROM znodes_at({before}) WHERE path = '/travel'")).await?;
    ensure!(rows.is_empty(), "before its creation: {rows:?}");
    Ok(())
}
