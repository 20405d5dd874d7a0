use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use serde_json::Value;
use zookeeper_client::{Acls, CreateMode};

use super::{Superset, artifact, ensure_drawn, zktrail};
use crate::agent::{Agent, Settings};
use crate::check;
use crate::prerequisites::{faketime, history_folder, skip};
use crate::servers::{Ensemble, Shape, Version};
use crate::workload::{self, Kind, Operation, Recorded, Workload};

const HOUR_SECONDS: i64 = 3_600;
/// How far back the first half of the story lies: there are hours of which nothing is shown in between.
const BACK_SECONDS: i64 = 3 * HOUR_SECONDS;
const WITHIN: Duration = Duration::from_secs(60);

/// What was done in one part of the story, and between which times by its clock.
struct Half {
    recorded: Recorded,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
}

/// Everything that a dashboard has to tell.
struct Story {
    halves: [Half; 2],
    /// Values of the setting that nobody saw before the agent found the last of them.
    unseen_sets: i64,
    /// Znodes in the end, by another client.
    znodes: usize,
    /// Gaps that are over, as the agent's other door tells: one between the halves, and those that the machine made.
    gaps: i64,
}

const SETTING: &str = "/app/config/limits";
/// A member whose every life is seen.
const MEMBER: &str = "/members/one";
const ROOTS: [&str; 2] = ["/early", "/late"];

impl Story {
    fn operations(&self) -> impl Iterator<Item = &Operation> {
        self.halves.iter().flat_map(|half| &half.recorded.operations).filter(|one| one.kind != Kind::AclChanged)
    }
}

/// Waits until the setting's value of this version is on record: one that is overtaken at once is not.
async fn is_read(agent: &Agent, version: i32) -> Result<()> {
    let read =
        format!("SELECT 1 AS read FROM changes WHERE path = '{SETTING}' AND version = {version} AND data IS NOT NULL");
    agent.sql_until(WITHIN, &read, |rows| !rows.is_empty()).await.map(|_| ())
}

/// One member of a service that comes and goes, and the setting that is changed.
async fn by_hand(agent: &Agent, connect: &str, half: usize) -> Result<Recorded> {
    let mut recorded = Recorded::default();
    let client = workload::session(connect).await?;
    if half == 0 {
        for path in ["/app", "/app/config", "/members"] {
            recorded.push(workload::create(&client, path, b"").await?);
        }
        recorded.push(workload::create(&client, SETTING, b"v0").await?);
        is_read(agent, 0).await?;
    }
    for version in 1..4 {
        let set = workload::set(&client, SETTING, format!("half {half}, v{version}").as_bytes()).await?;
        is_read(agent, set.version.context("a version")?).await?;
        recorded.push(set);
    }
    for _ in 0..3 + half {
        let member = workload::session(connect).await?;
        let options = CreateMode::Ephemeral.with_acls(Acls::anyone_all());
        let (stat, _) = member.create(MEMBER, b"", &options).await?;
        recorded.push(Operation {
            path: MEMBER.to_owned(),
            kind: Kind::Created,
            version: Some(0),
            aversion: None,
            zxid: Some(stat.czxid),
            czxid: stat.czxid,
            value: Some(Vec::new()),
            ephemeral_owner: stat.ephemeral_owner,
        });
        // Only one that was read is known to be an ephemeral.
        let owner = stat.ephemeral_owner;
        let read = format!(
            "SELECT 1 AS read FROM changes WHERE path = '{MEMBER}' AND kind = 'created' AND ephemeral_owner = {owner}"
        );
        agent.sql_until(WITHIN, &read, |rows| !rows.is_empty()).await?;
        recorded.push(workload::delete(&client, MEMBER).await?);
    }
    Ok(recorded)
}

/// One half: the agent is ready; when this returns, all of it is on record.
async fn half(agent: &Agent, connect: &str, at: usize, clock_offset_seconds: i64) -> Result<Half> {
    let clock = || Utc::now() + TimeDelta::seconds(clock_offset_seconds);
    let from = clock();
    let mut recorded = Recorded::default();
    let mut workload = Workload::new(connect, 41 + at as u64, 600);
    workload.root = ROOTS[at].to_owned();
    recorded.extend(workload.run().await?);
    recorded.extend(by_hand(agent, connect, at).await?);
    let client = workload::session(connect).await?;
    let done = format!("/done{at}");
    recorded.push(workload::create(&client, &done, b"").await?);
    agent.sees(&done).await?;
    Ok(Half { recorded, from, to: clock() })
}

fn settings(connect: &str, folder: &std::path::Path) -> Settings {
    Settings::new(connect, folder).with("--flush-age", "1s").with("--acl-sweep", "off")
}

/// Two halves with a gap of hours between, in which the setting was changed three times.
async fn play(ensemble: &mut Ensemble, folder: &std::path::Path) -> Result<(Agent, Story)> {
    let connect = ensemble.connect_string();
    let mut early = settings(&connect, folder);
    early.clock_offset_seconds = -BACK_SECONDS;
    let mut agent = Agent::start(early).await?;
    let first = half(&agent, &connect, 0, -BACK_SECONDS).await?;
    ensure!(agent.terminate().await? == 0, "SIGTERM must end the agent with 0");

    ensemble.set_clock_offset(0);
    ensemble.restart_node(0).await?;
    let from = Utc::now();
    let client = workload::session(&connect).await?;
    let unseen_sets = 3;
    let mut found = None;
    for version in 0..unseen_sets {
        found = Some(workload::set(&client, SETTING, format!("unseen {version}").as_bytes()).await?);
    }
    let agent = Agent::start(settings(&connect, folder)).await?;
    let mut second = half(&agent, &connect, 1, 0).await?;
    second.from = from;
    // The scan finds the last of them, and knows how many there were.
    second.recorded.operations.insert(0, found.context("a set")?);
    let znodes = check::dump_tree(&connect)?.len();
    let gaps = agent.sql_integer("SELECT count(*) FROM gaps WHERE to_time IS NOT NULL").await?;
    ensure!(gaps >= 1, "no gap between the halves");
    Ok((agent, Story { halves: [first, second], unseen_sets, znodes, gaps }))
}

type Charts = BTreeMap<String, Vec<Value>>;

fn rows<'a>(charts: &'a Charts, name: &str) -> Result<&'a [Value]> {
    charts.get(name).map(Vec::as_slice).with_context(|| format!("no chart {name:?} in {:?}", charts.keys()))
}

/// The only number of a chart that shows one.
fn number(charts: &Charts, name: &str, column: &str) -> Result<i64> {
    let rows = rows(charts, name)?;
    ensure!(rows.len() == 1, "{name:?} has {} rows", rows.len());
    integer(&rows[0], column).with_context(|| format!("{name:?}: {}", rows[0]))
}

/// 0 where a series has nothing at a time.
fn integer(row: &Value, column: &str) -> Result<i64> {
    let value = &row[column];
    let number = value.as_f64().or_else(|| value.as_str().and_then(|text| text.parse().ok()));
    match number {
        Some(number) => Ok(number.round() as i64),
        None if value.is_null() => Ok(0),
        None => anyhow::bail!("{column} is {value}"),
    }
}

/// The sum of a column over the rows whose hour lies in one half.
fn in_half(rows: &[Value], half: &Half, column: &str) -> Result<i64> {
    let hour = TimeDelta::hours(1);
    let (from, to) = (half.from.duration_trunc(hour)?, half.to.duration_trunc(hour)?);
    let mut sum = 0;
    for row in rows {
        let time = DateTime::from_timestamp_millis(integer(row, "time")?).context("a time")?;
        ensure!(time == time.duration_trunc(hour)?, "{time} is no full hour");
        if (from..=to).contains(&time) {
            sum += integer(row, column)?;
        }
    }
    Ok(sum)
}

/// A container and a znode with a TTL have an owner, too: a negative one. A standalone's sessions are positive.
fn is_ephemeral(one: &Operation) -> bool {
    one.ephemeral_owner > 0
}

fn first_name(path: &str) -> String {
    format!("/{}", path.split('/').nth(1).unwrap_or_default())
}

fn holds(charts: &Charts, story: &Story) -> Result<()> {
    let count = |half: &Half, kind: Kind| half.recorded.operations.iter().filter(|one| one.kind == kind).count() as i64;
    let all: Vec<&Operation> = story.operations().collect();

    // What the agent happens to read tells of some changes of ACLs, never of more than there were.
    let mut acls = 0;
    for row in rows(charts, "Changes an hour, by kind")? {
        acls += integer(row, "acl_changed")?;
    }
    let acls_done: i64 = story.halves.iter().map(|half| count(half, Kind::AclChanged)).sum();
    let shown = number(charts, "Changes", "changes")?;
    ensure!(shown == all.len() as i64 + acls && acls <= acls_done, "{shown} shown, {} and {acls} done", all.len());
    let paths: BTreeSet<&str> = all.iter().map(|one| one.path.as_str()).collect();
    ensure!(number(charts, "Paths that changed", "paths")? == paths.len() as i64, "{} paths", paths.len());
    ensure!(
        number(charts, "Missed changes", "missed_changes")? == story.unseen_sets - 1,
        "{:?}",
        rows(charts, "Missed changes")?
    );
    ensure!(number(charts, "Gaps", "gaps")? == story.gaps, "{:?}", rows(charts, "Gaps")?);

    let hourly = rows(charts, "Changes an hour, by kind")?;
    let ephemeral = rows(charts, "Ephemerals that came and went an hour")?;
    let grown = rows(charts, "Where it grew: created less deleted, an hour")?;
    for (at, half) in story.halves.iter().enumerate() {
        for kind in [Kind::Created, Kind::DataChanged, Kind::Deleted] {
            let (shown, done) = (in_half(hourly, half, kind.as_str())?, count(half, kind));
            ensure!(shown == done, "half {at}: {shown} {} shown, {done} done: {hourly:?}", kind.as_str());
        }
        for (column, kind) in [("came", Kind::Created), ("went", Kind::Deleted)] {
            let of_kind = || half.recorded.operations.iter().filter(|one| one.kind == kind && is_ephemeral(one));
            let (done, seen) = (of_kind().count(), of_kind().filter(|one| one.path == MEMBER).count());
            let shown = in_half(ephemeral, half, column)?;
            // What was gone before it was read is on record, but that it was an ephemeral is not.
            ensure!(
                (seen as i64..=done as i64).contains(&shown) && seen >= 3,
                "half {at}: {shown} {column}, {seen} to {done} done: {ephemeral:?}"
            );
        }
        let mut growth: BTreeMap<String, i64> = BTreeMap::new();
        for one in &half.recorded.operations {
            let by = match one.kind {
                Kind::Created => 1,
                Kind::Deleted => -1,
                _ => 0,
            };
            *growth.entry(first_name(&one.path)).or_default() += by;
        }
        for (subtree, done) in growth {
            let shown = in_half(grown, half, &subtree)?;
            ensure!(shown == done, "half {at}: {subtree} grew by {done}, shown {shown}: {grown:?}");
        }
    }
    let last = rows(charts, "Size of the tree")?.last().context("a row")?;
    ensure!(integer(last, "test")? == story.znodes as i64, "{} znodes are there: {last}", story.znodes);

    let mut per_path: BTreeMap<&str, i64> = BTreeMap::new();
    for one in &all {
        *per_path.entry(&one.path).or_default() += 1;
    }
    let mut most: Vec<i64> = per_path.values().copied().collect();
    most.sort_by_key(|count| -count);
    let acl_changes = |path: &str| {
        let all = story.halves.iter().flat_map(|half| &half.recorded.operations);
        all.filter(|one| one.kind == Kind::AclChanged && one.path == path).count() as i64
    };
    let hottest = rows(charts, "Hottest paths")?;
    ensure!(hottest.len() == 20, "{hottest:?}");
    for (row, least) in hottest.iter().zip(&most) {
        let path = row["path"].as_str().context("a path")?;
        let shown = integer(row, "changes")?;
        let done = per_path.get(path).copied().unwrap_or_default();
        let fits = (done..=done + acl_changes(path)).contains(&shown);
        ensure!(fits && shown >= *least, "{done} done, {least} of one as hot, shown {row}");
    }

    let mut lives: BTreeMap<&str, (i64, i64, BTreeSet<i64>)> = BTreeMap::new();
    for one in all.iter().filter(|one| is_ephemeral(one)) {
        let life = lives.entry(&one.path).or_default();
        life.2.insert(one.ephemeral_owner);
        match one.kind {
            Kind::Created => life.0 += 1,
            Kind::Deleted => life.1 += 1,
            _ => {}
        }
    }
    let flapping = rows(charts, "Flapping members")?;
    ensure!(flapping.iter().filter(|row| row["path"] == MEMBER).count() == 1, "{flapping:?}");
    for row in flapping {
        let path = row["path"].as_str().context("a path")?;
        let (came, went, sessions) = lives.get(path).with_context(|| format!("{row} was no ephemeral"))?;
        let shown = [integer(row, "came")?, integer(row, "went")?, integer(row, "sessions")?];
        let done = [*came, *went, sessions.len() as i64];
        let fits =
            if path == MEMBER { shown == done } else { shown.iter().zip(done).all(|(shown, done)| *shown <= done) };
        ensure!(fits && shown[1] >= 2, "{row}, done {done:?}");
        let mean = row["mean_life"].as_f64().context("a mean life")?;
        ensure!((0.0..60.0).contains(&mean), "{row}");
    }

    let setting: Vec<&Operation> = all.iter().filter(|one| one.path == SETTING).copied().collect();
    let values: Vec<String> = setting
        .iter()
        .map(|one| String::from_utf8_lossy(one.value.as_deref().unwrap_or_default()).into_owned())
        .collect();
    let mut config: Vec<&Value> =
        rows(charts, "Configuration changes")?.iter().filter(|row| row["path"] == SETTING).collect();
    // The newest comes first.
    config.reverse();
    ensure!(config.len() == values.len(), "{config:?}, done {values:?}");
    for (at, (row, after)) in config.iter().zip(&values).enumerate() {
        let before = at.checked_sub(1).map(|before| values[before].as_str());
        ensure!(row["after"] == **after && row["before"].as_str() == before, "{row}: done {before:?}, {after:?}");
        let missed = after.starts_with("unseen");
        let certainty = row["certainty"].as_str().context("a certainty")?;
        ensure!(certainty.contains("2 missed in between") == missed, "{row}");
    }

    let unseen = rows(charts, "Nobody was looking")?;
    ensure!(unseen.len() as i64 == story.gaps, "{} gaps: {unseen:?}", story.gaps);
    let between: Vec<&Value> = unseen.iter().filter(|row| row["reason"] == "stopped").collect();
    ensure!(between.len() == 1, "{unseen:?}");
    let seconds = integer(between[0], "seconds")?;
    ensure!((BACK_SECONDS - 60..BACK_SECONDS + 300).contains(&seconds), "{unseen:?}");
    ensure!(integer(between[0], "missed_at_least")? >= story.unseen_sets - 1, "{unseen:?}");
    Ok(())
}

/// Imports a bundle, waits until its charts show everything, and looks at it in a browser.
async fn dashboard_holds(
    superset: &Superset,
    story: &Story,
    bundle: &str,
    title: &str,
    picture: &str,
    password: &str,
) -> Result<()> {
    superset.api(&["import", bundle], &[("DATABASE_PASSWORD", password)]).await?;
    let deadline = std::time::Instant::now() + WITHIN;
    let id = loop {
        let (id, charts) = superset.charts(title).await?;
        match holds(&charts, story) {
            Ok(()) => break id,
            // The last rows are not in Parquet yet.
            Err(error) if std::time::Instant::now() > deadline => return Err(error.context(title.to_owned())),
            Err(_) => tokio::time::sleep(Duration::from_millis(500)).await,
        }
    };
    // A renewal changes nothing that is shown.
    superset.api(&["renew", bundle], &[("DATABASE_PASSWORD", password)]).await?;
    let (again, charts) = superset.charts(title).await?;
    ensure!(again == id, "renewed, the dashboard is another one");
    holds(&charts, story)?;
    let picture = artifact(picture);
    match superset.look(id, &picture).await? {
        Some(seen) => {
            println!("{title}: {}", picture.display());
            ensure_drawn(&seen, number(&charts, "Changes", "changes")?)
        }
        None => {
            skip(title, "Chromium or playwright-core is not there: run tests/run prepare");
            Ok(())
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dashboards_show_what_was_done() -> Result<()> {
    const NAME: &str = "dashboards_show_what_was_done";
    if let Some(missing) = Ensemble::missing(Version::V3_9) {
        skip(NAME, &missing);
        return Ok(());
    }
    if let Some(missing) = Superset::missing() {
        skip(NAME, missing);
        return Ok(());
    }
    if faketime().is_none() {
        skip(NAME, "libfaketime is not installed (Debian: faketime)");
        return Ok(());
    }
    let mut servers = crate::servers::Settings::new(Version::V3_9, Shape::Standalone);
    servers.clock_offset_seconds = -BACK_SECONDS;
    let mut ensemble = Ensemble::start_with(servers).await?;
    let folder = history_folder()?;
    let (agent, story) = play(&mut ensemble, folder.path()).await?;
    let superset = Superset::start().await?;

    let bundles = tempfile::tempdir()?;
    let path = bundles.path().join("files.zip");
    let (file, data_dir) = (path.to_str().context("a path")?, folder.path().to_str().context("a path")?);
    let export = ["export", "--route", "files", "--data-dir", data_dir, "--output", file];
    let exported = zktrail(&export, &[]).await?;
    ensure!(exported.status.success(), "{}", String::from_utf8_lossy(&exported.stderr));
    let again = zktrail(&export, &[]).await?;
    let error = String::from_utf8_lossy(&again.stderr);
    ensure!(again.status.code() == Some(1) && error.contains("--force"), "written over: {error}");
    dashboard_holds(&superset, &story, file, "ZooKeeper history (files)", "superset-files.png", "").await?;

    let path = bundles.path().join("live.zip");
    let file = path.to_str().context("a path")?;
    let uri = format!("postgresql://superset@{}/zktrail", agent.postgres());
    let exported = zktrail(&["export", "--route", "live", "--uri", &uri, "--output", file], &[]).await?;
    ensure!(exported.status.success(), "{}", String::from_utf8_lossy(&exported.stderr));
    dashboard_holds(&superset, &story, file, "ZooKeeper history", "superset-live.png", "").await
}
