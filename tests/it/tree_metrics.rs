//! What `/metrics` tells of the tree is what a real server holds, while it changes and after a restart.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use zookeeper_client::{Acls, Client, CreateMode};

use crate::agent::{Agent, Settings};
use crate::prerequisites::{history_folder, skip};
use crate::proxy::Proxy;
use crate::servers::{self, Ensemble, Shape, Version, four_letter_word};
use crate::workload::{create, delete, session, set};

const SHOWN_WITHIN: Duration = Duration::from_secs(60);
/// The agent asks for a heartbeat every second: what does not move for so long stands still.
const STANDS_FOR: Duration = Duration::from_secs(3);
/// Listed in this order; longer ones take what they hold from shorter ones.
const LISTED: [&str; 3] = ["/svc", "/svc/live", "/nowhere"];

/// Series as they are rendered, labels in their order, and values.
type Samples = BTreeMap<String, f64>;

async fn samples(agent: &Agent) -> Result<Samples> {
    let (status, body) = agent.get("/metrics").await?;
    ensure!(status == 200, "GET /metrics answers {status}: {body}");
    let lines = body.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
    lines.map(|(series, value)| Ok((series.to_owned(), value.parse()?))).collect()
}

fn of(name: &str) -> String {
    format!("zktrail_{name}{{cluster=\"test\"}}")
}

fn beneath(name: &str, prefix: &str) -> String {
    format!("zktrail_{name}{{cluster=\"test\",prefix=\"{prefix}\"}}")
}

fn changes(kind: &str, prefix: &str) -> String {
    format!("zktrail_subtree_changes_total{{cluster=\"test\",kind=\"{kind}\",prefix=\"{prefix}\"}}")
}

/// Waits until every one of these series has its value.
async fn shows(agent: &Agent, expected: &Samples) -> Result<()> {
    let deadline = Instant::now() + SHOWN_WITHIN;
    loop {
        let shown = samples(agent).await?;
        let wrong = expected.iter().find(|(series, value)| shown.get(*series) != Some(value));
        let Some((series, value)) = wrong else { return Ok(()) };
        if Instant::now() > deadline {
            bail!("{series} is {:?} after {SHOWN_WITHIN:?}, not {value}", shown.get(series));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What the server holds, counted by reading all of it.
async fn counted(client: &Client, ensemble: &Ensemble) -> Result<Samples> {
    let mut samples = Samples::new();
    let (mut znodes, mut ephemerals, mut bytes, mut longest, mut longest_list) = (0, 0, 0, 0, 0);
    let mut owners = BTreeSet::new();
    let mut below = vec!["/".to_owned()];
    for prefix in LISTED.iter().chain(&["other"]) {
        for name in ["subtree_znodes", "subtree_bytes", "subtree_ephemerals"] {
            samples.insert(beneath(name, prefix), 0.0);
        }
    }
    while let Some(path) = below.pop() {
        let (data, stat) = client.get_data(&path).await.with_context(|| format!("reading {path}"))?;
        let (children, _) = client.get_children(&path).await?;
        znodes += 1;
        bytes += data.len();
        longest = longest.max(data.len());
        longest_list = longest_list.max(4 + children.iter().map(|name| 4 + name.len()).sum::<usize>());
        let holds = |prefix: &&&str| path == **prefix || path.starts_with(&format!("{prefix}/"));
        let prefix = LISTED.iter().filter(holds).max_by_key(|prefix| prefix.len()).unwrap_or(&"other");
        *samples.entry(beneath("subtree_znodes", prefix)).or_default() += 1.0;
        *samples.entry(beneath("subtree_bytes", prefix)).or_default() += data.len() as f64;
        if stat.ephemeral_owner != 0 {
            ephemerals += 1;
            owners.insert(stat.ephemeral_owner);
            *samples.entry(beneath("subtree_ephemerals", prefix)).or_default() += 1.0;
        }
        let above = if path == "/" { "" } else { path.as_str() };
        below.extend(children.iter().map(|name| format!("{above}/{name}")));
    }
    let mntr = four_letter_word(ensemble.address(0), "mntr").await?;
    // The server counts its root twice: it keeps it under two names.
    for (key, value) in [("zk_znode_count", znodes + 1), ("zk_ephemerals_count", ephemerals)] {
        let line = format!("{key}\t{value}");
        ensure!(mntr.lines().any(|told| told.trim() == line), "the server does not tell {line:?}:\n{mntr}");
    }
    samples.extend([
        (of("znodes"), f64::from(znodes)),
        (of("ephemerals"), f64::from(ephemerals)),
        (of("ephemeral_sessions"), owners.len() as f64),
        (of("data_bytes"), bytes as f64),
        (of("largest_znode_bytes"), longest as f64),
        (of("largest_children_bytes"), longest_list as f64),
    ]);
    Ok(samples)
}

async fn member(client: &Client, path: &str) -> Result<()> {
    let options = CreateMode::Ephemeral.with_acls(Acls::anyone_all());
    client.create(path, b"here", &options).await.with_context(|| format!("creating {path}"))?;
    Ok(())
}

fn expect(samples: &[(String, f64)]) -> Samples {
    samples.iter().cloned().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_trees_series_are_what_the_server_holds() -> Result<()> {
    const NAME: &str = "the_trees_series_are_what_the_server_holds";
    if let Some(missing) = Ensemble::missing(Version::V3_9) {
        skip(NAME, &missing);
        return Ok(());
    }
    let mut settings = servers::Settings::new(Version::V3_9, Shape::Standalone);
    settings.four_letter_words = "srvr,mntr".to_owned();
    let ensemble = Ensemble::start_with(settings).await?;
    let client = session(&ensemble.connect_string()).await?;
    create(&client, "/svc", b"").await?;
    create(&client, "/svc/live", b"").await?;
    create(&client, "/svc/config", b"a=1").await?;
    set(&client, "/svc/config", b"a=2").await?;
    let seeded = client.check_stat("/svc/config").await?.context("it was created")?.mtime;

    let proxy = Proxy::start(ensemble.address(0)).await?;
    let folder = history_folder()?;
    let settings = LISTED
        .iter()
        .fold(Settings::new(proxy.address().to_string(), folder.path()), |all, path| all.with("--subtree", path))
        .with("--config-subtree", "/svc/config")
        .with("--jute-maxbuffer", "test=4MiB")
        .with("--flush-age", "2s");
    let mut agent = Agent::start(settings).await?;
    shows(&agent, &counted(&client, &ensemble).await?).await?;
    let last_change = |prefix| beneath("subtree_last_change_timestamp_seconds", prefix);
    shows(
        &agent,
        &expect(&[
            (last_change("/svc"), seeded as f64 / 1e3),
            (last_change("/nowhere"), 0.0),
            (beneath("config_changes_total", "/svc/config"), 0.0),
            (changes("created", "/svc"), 0.0),
            (of("jute_maxbuffer_bytes"), 4_194_304.0),
        ]),
    )
    .await?;

    // It grows: members, a large value, a long list, configuration.
    let other = session(&ensemble.connect_string()).await?;
    for name in ["a", "b", "c"] {
        member(&other, &format!("/svc/live/{name}")).await?;
    }
    member(&client, "/svc/live/d").await?;
    create(&client, "/svc/large", &vec![b'x'; 600_000]).await?;
    for n in 0..50 {
        create(&client, &format!("/svc/large/{n:0100}"), b"").await?;
    }
    set(&client, "/svc/config", b"a=3").await?;
    create(&client, "/svc/config/more", b"b=1").await?;
    member(&client, "/svc/config/editor").await?;
    let set_at = client.check_stat("/svc/config/more").await?.context("it was created")?.mtime;
    let held = counted(&client, &ensemble).await?;
    ensure!(
        held[&of("largest_znode_bytes")] == 600_000.0 && held[&of("largest_children_bytes")] == 5_204.0,
        "{held:?}"
    );
    ensure!(held[&of("ephemeral_sessions")] == 2.0, "{held:?}");
    shows(&agent, &held).await?;
    shows(
        &agent,
        &expect(&[
            (beneath("config_changes_total", "/svc/config"), 2.0),
            (changes("created", "/svc/live"), 4.0),
            (changes("created", "/svc"), 53.0),
            (changes("data_changed", "/svc"), 1.0),
            (changes("deleted", "/svc"), 0.0),
        ]),
    )
    .await?;
    ensure!(
        samples(&agent).await?[&last_change("/svc")] >= set_at as f64 / 1e3,
        "the last change is that of the editor"
    );

    // It shrinks, and what was largest is no more.
    drop(other);
    for n in 0..50 {
        delete(&client, &format!("/svc/large/{n:0100}")).await?;
    }
    delete(&client, "/svc/large").await?;
    let gone = Instant::now() + SHOWN_WITHIN;
    while client.check_stat("/svc/live/a").await?.is_some() {
        ensure!(Instant::now() < gone, "the closed session's ephemerals are still there");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let held = counted(&client, &ensemble).await?;
    ensure!(held[&of("largest_znode_bytes")] < 1_000.0 && held[&of("ephemeral_sessions")] == 1.0, "{held:?}");
    shows(&agent, &held).await?;

    // One member comes back, twice; another is new.
    member(&client, "/svc/live/a").await?;
    delete(&client, "/svc/live/a").await?;
    member(&client, "/svc/live/a").await?;
    member(&client, "/svc/live/e").await?;
    shows(&agent, &counted(&client, &ensemble).await?).await?;
    shows(
        &agent,
        &expect(&[
            (beneath("subtree_flaps_total", "/svc/live"), 2.0),
            (beneath("subtree_flaps_total", "/svc"), 0.0),
            (changes("deleted", "/svc/live"), 4.0),
            (changes("deleted", "/svc"), 51.0),
        ]),
    )
    .await?;

    // In a gap the time until which it was observed stands still.
    let observed = of("observed_timestamp_seconds");
    let live = samples(&agent).await?[&observed];
    moves(&agent, &observed, live, SHOWN_WITHIN).await?;
    proxy.refuse();
    shows(&agent, &expect(&[(of("gap_open"), 1.0)])).await?;
    let stands = samples(&agent).await?[&observed];
    ensure!(moves(&agent, &observed, stands, STANDS_FOR).await.is_err(), "{observed} moves in a gap");
    create(&client, "/svc/unseen", b"found by the rescan").await?;
    proxy.heal();
    shows(&agent, &expect(&[(of("gap_open"), 0.0)])).await?;
    moves(&agent, &observed, stands, SHOWN_WITHIN).await?;
    let lost = "zktrail_gaps_total{cluster=\"test\",reason=\"disconnected\"}".to_owned();
    shows(&agent, &expect(&[(lost, 1.0)])).await?;
    shows(&agent, &counted(&client, &ensemble).await?).await?;

    // All of it is known again after a restart, and counters begin anew.
    let before = samples(&agent).await?;
    ensure!(agent.terminate().await? == 0, "the agent ends in order");
    agent.start_again().await?;
    shows(&agent, &counted(&client, &ensemble).await?).await?;
    shows(&agent, &expect(&[(beneath("config_changes_total", "/svc/config"), 0.0)])).await?;
    let after = samples(&agent).await?;
    ensure!(after[&observed] >= before[&observed], "{} after {}", after[&observed], before[&observed]);
    ensure!(after[&last_change("/svc")] >= set_at as f64 / 1e3, "{}", after[&last_change("/svc")]);
    Ok(())
}

/// Waits until a series is greater than it was.
async fn moves(agent: &Agent, series: &str, was: f64, within: Duration) -> Result<()> {
    let deadline = Instant::now() + within;
    while samples(agent).await?[series] <= was {
        ensure!(Instant::now() < deadline, "{series} still is {was} after {within:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
