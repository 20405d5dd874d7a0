//! What servers tell of themselves: real ones, as Prometheus gets it from an agent.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tokio::net::TcpListener;
use zookeeper_client::EnsembleUpdate;

use crate::agent::{Agent, Settings, zktrail};
use crate::prerequisites::{admin_jars, history_folder, prometheus, skip};
use crate::prometheus_server::promtool;
use crate::servers::{self, Ensemble, Shape, Version, free_port};
use crate::workload;

const WITHIN: Duration = Duration::from_secs(60);
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// One scrape.
struct Page(String);

impl Page {
    async fn get(agent: &Agent) -> Result<Self> {
        let (status, body) = agent.get("/metrics").await?;
        ensure!(status == 200, "GET /metrics answers {status}");
        Ok(Self(body))
    }

    /// Every series of one server: name, labels behind `zk_host`, value.
    fn of<'a>(&'a self, host: &str) -> impl Iterator<Item = (&'a str, &'a str, f64)> {
        let host = format!(",zk_host=\"{host}\"");
        self.0.lines().filter_map(move |line| {
            let (name, rest) = line.split_once('{')?;
            let (_, rest) = rest.split_once(host.as_str())?;
            let (labels, value) = rest.rsplit_once("} ")?;
            Some((name, labels.trim_start_matches(','), value.parse().ok()?))
        })
    }

    /// The value of one series; `labels` as they stand there.
    fn value(&self, host: &str, name: &str, labels: &str) -> Option<f64> {
        self.of(host).find(|(other, own, _)| *other == name && *own == labels).map(|(_, _, value)| value)
    }

    /// Names of the `zk_` families of one server.
    fn families(&self, host: &str) -> BTreeSet<&str> {
        self.of(host).map(|(name, ..)| name).filter(|name| name.starts_with("zk_")).collect()
    }

    fn asked(&self, host: &str, word: &str) -> Option<f64> {
        self.value(host, "zktrail_server_sample_success", &format!("word=\"{word}\""))
    }

    fn of_ensemble(&self, name: &str) -> Option<f64> {
        self.0.lines().find_map(|line| line.strip_prefix(&format!("{name}{{cluster=\"test\"}} "))?.parse().ok())
    }
}

/// Scrapes until it is so.
async fn until(agent: &Agent, what: &str, mut is: impl FnMut(&Page) -> bool) -> Result<Page> {
    let deadline = Instant::now() + WITHIN;
    loop {
        let page = Page::get(agent).await?;
        if is(&page) {
            return Ok(page);
        }
        if Instant::now() > deadline {
            let of_servers = page.0.lines().filter(|line| line.contains("zktrail_server") || line.contains("zk_up"));
            anyhow::bail!("{what}: not within {WITHIN:?}\n{}", of_servers.collect::<Vec<_>>().join("\n"));
        }
        tokio::time::sleep(LOOK_AGAIN_AFTER).await;
    }
}

fn settings(connect_string: &str, folder: &std::path::Path) -> Settings {
    Settings::new(connect_string, folder).with("--server-sample", "1s")
}

/// What a server that allows nothing but `srvr` has.
const BY_SRVR: &[&str] = &[
    "zk_avg_latency",
    "zk_max_latency",
    "zk_min_latency",
    "zk_num_alive_connections",
    "zk_outstanding_requests",
    "zk_packets_received",
    "zk_packets_sent",
    "zk_server_leader",
    "zk_server_state",
    "zk_up",
    "zk_version",
    "zk_znode_count",
];

/// Three servers that tell in three ways: by `mntr`, by `srvr` alone, by AdminServer or provider.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_server_tells_by_what_it_allows() -> Result<()> {
    const NAME: &str = "each_server_tells_by_what_it_allows";
    if let Some(missing) = Ensemble::missing(Version::V3_9) {
        skip(NAME, &missing);
        return Ok(());
    }
    let Some(jars) = admin_jars() else {
        skip(NAME, "what an AdminServer needs is not in the cache: run tests/run prepare");
        return Ok(());
    };
    let (admin, provider) = (free_port()?, free_port()?);
    let closed = [free_port()?, free_port()?];
    let mut servers = servers::Settings::new(Version::V3_9, Shape::ThreeNodes);
    servers.jars_beside = Some(jars);
    servers.extra_of = [
        (0, "4lw.commands.whitelist=*".to_owned()),
        (2, "admin.enableServer=true".to_owned()),
        (2, "admin.serverAddress=127.0.0.1".to_owned()),
        (2, format!("admin.serverPort={admin}")),
        (2, "metricsProvider.className=org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider".to_owned()),
        (2, "metricsProvider.httpHost=127.0.0.1".to_owned()),
        (2, format!("metricsProvider.httpPort={provider}")),
    ]
    .into();
    let ensemble = Ensemble::start_with(servers).await?;
    let client = workload::session(&ensemble.connect_string()).await?;
    for path in ["/my_ns", "/my_ns/a", "/other"] {
        workload::create(&client, path, b"some bytes").await?;
    }
    let [all, srvr, doors] = [0, 1, 2].map(|index| ensemble.address(index).to_string());
    let urls =
        |port: u16| format!("http://127.0.0.1:{},http://127.0.0.1:{},http://127.0.0.1:{port}", closed[0], closed[1]);

    let folder = history_folder()?;
    let agent = settings(&ensemble.connect_string(), folder.path()).with("--metrics-url", &urls(provider));
    let agent = Agent::start(agent).await?;
    let whole = |page: &Page| [&all, &srvr, &doors].into_iter().all(|host| page.value(host, "zk_up", "") == Some(1.0));
    let page = until(&agent, "all are up", whole).await?;

    // By mntr, with everything that the whitelist allows.
    for (name, labels, expected) in [
        ("zk_ruok", "", 1.0),
        ("zk_read_only", "", 0.0),
        ("zk_version", "version=\"3.9.3\"", 1.0),
        ("zktrail_server_series_dropped", "", 0.0),
    ] {
        ensure!(page.value(&all, name, labels) == Some(expected), "{name}: {:?}", page.value(&all, name, labels));
    }
    ensure!(page.value(&all, "zk_watch_count", "").is_some_and(|count| count >= 0.0));
    ensure!(
        page.of(&all)
            .any(|(name, labels, _)| { name == "zk_cnt_write_per_namespace" && labels == "namespace=\"my_ns\"" })
    );
    ensure!(page.of(&all).any(|(name, ..)| name == "zk_p99_write_commitproc_time_seconds"));
    // The provider that it does not have was asked first, to no avail.
    ensure!((page.asked(&all, "metrics"), page.asked(&all, "mntr")) == (Some(0.0), Some(1.0)));
    // By srvr alone.
    ensure!(page.families(&srvr) == BY_SRVR.iter().copied().collect(), "{:?}", page.families(&srvr));
    ensure!((page.asked(&srvr, "mntr"), page.asked(&srvr, "srvr")) == (Some(0.0), Some(1.0)));
    // By its provider, with state and version by srvr.
    ensure!(page.asked(&doors, "metrics") == Some(1.0) && page.asked(&doors, "srvr") == Some(1.0));
    ensure!(page.asked(&doors, "mntr").is_none(), "its provider tells more");
    for name in ["zk_jvm_memory_bytes_used", "zk_cnt_fsynctime", "zk_avg_fsynctime", "zk_server_state", "zk_version"] {
        ensure!(page.families(&doors).contains(name), "{name} of {:?}", page.families(&doors));
    }
    // Of the three one leads.
    let leads = |host: &String| page.value(host, "zk_server_leader", "") == Some(1.0);
    ensure!([&all, &srvr, &doors].into_iter().filter(|host| leads(host)).count() == 1);
    for (name, expected) in
        [("zktrail_ensemble_voters", 3.0), ("zktrail_ensemble_voters_serving", 3.0), ("zktrail_leader_seen", 1.0)]
    {
        ensure!(page.of_ensemble(name) == Some(expected), "{name}: {:?}", page.of_ensemble(name));
    }
    ensure!(page.of_ensemble("zktrail_server_last_zxid").is_some_and(|zxid| zxid > 4e9));
    if let Some(tool) = prometheus("promtool") {
        promtool(&tool, &["check", "metrics"], Some(&page.0))?;
    }
    // A refusal is told once, with what would help; not in every round.
    until(&agent, "further rounds", {
        let mut packets = BTreeSet::new();
        move |page| {
            packets.extend(page.value(&srvr, "zk_packets_received", "").map(f64::to_bits));
            packets.len() > 3
        }
    })
    .await?;
    let log = agent.logs();
    let told = log.lines().filter(|line| line.contains("does not answer") && line.contains("4lw.commands.whitelist="));
    ensure!(told.count() == 2, "{log}");
    drop(agent);

    let folder = history_folder()?;
    let agent = settings(&ensemble.connect_string(), folder.path()).with("--admin-url", &urls(admin));
    let agent = Agent::start(agent).await?;
    let page = until(&agent, "the AdminServer is asked", |page| page.asked(&doors, "monitor") == Some(1.0)).await?;
    for name in ["zk_watch_count", "zk_peer_state", "zk_cnt_write_commitproc_time", "zk_server_leader"] {
        ensure!(page.families(&doors).contains(name), "{name} of {:?}", page.families(&doors));
    }
    if let Some(tool) = prometheus("promtool") {
        promtool(&tool, &["check", "metrics"], Some(&page.0))?;
    }
    Ok(())
}

/// A server that takes connections and never answers keeps nobody waiting but itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_hangs_delays_no_one() -> Result<()> {
    let ensemble = Ensemble::start(Version::Embedded, Shape::ThreeNodes).await?;
    let hanging = TcpListener::bind("127.0.0.1:0").await?;
    let hangs = hanging.local_addr()?.to_string();
    let _held = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = hanging.accept().await {
            held.push(stream);
        }
    });
    let folder = history_folder()?;
    let agent = Agent::start(settings(&format!("{},{hangs}", ensemble.connect_string()), folder.path())).await?;
    let hosts: Vec<String> = (0..ensemble.len()).map(|index| ensemble.address(index).to_string()).collect();
    // How often each was sampled, by its uptime; and the one that hangs, by how long it was waited for.
    let mut renewed = vec![BTreeSet::new(); hosts.len()];
    let mut given_up = BTreeSet::new();
    let page = until(&agent, "the others are asked more often than the one that hangs", |page| {
        for (host, renewed) in hosts.iter().zip(&mut renewed) {
            renewed.extend(page.value(host, "zk_uptime", "").map(f64::to_bits));
        }
        let waited = page.value(&hangs, "zktrail_server_sample_duration_seconds", "word=\"srvr\"");
        given_up.extend(waited.map(f64::to_bits));
        // One after the other, they would be asked as often as it is.
        given_up.len() >= 2 && renewed.iter().all(|renewed| renewed.len() > 2 * given_up.len())
    })
    .await?;
    ensure!(page.families(&hangs) == ["zk_up"].into(), "{:?}", page.families(&hangs));
    ensure!((page.value(&hangs, "zk_up", ""), page.asked(&hangs, "srvr")) == (Some(0.0), Some(0.0)));
    let waited = page.value(&hangs, "zktrail_server_sample_duration_seconds", "word=\"srvr\"");
    ensure!(waited.is_some_and(|seconds| seconds >= 3.0), "{waited:?}");
    ensure!(agent.logs().matches("does not answer: no answer within 3000 ms").count() == 1, "{}", agent.logs());
    Ok(())
}

/// Servers that nobody lists are found; they are up, down, gone from the configuration, and back in it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_are_found_and_forgotten() -> Result<()> {
    const NAME: &str = "members_are_found_and_forgotten";
    if let Some(missing) = Ensemble::missing(Version::V3_9) {
        skip(NAME, &missing);
        return Ok(());
    }
    let mut servers = servers::Settings::new(Version::V3_9, Shape::ThreeNodes);
    servers.four_letter_words = "*".to_owned();
    servers.extra = vec!["reconfigEnabled=true".to_owned()];
    servers.java = vec!["-Dzookeeper.skipACL=yes".to_owned()];
    let mut ensemble = Ensemble::start_with(servers).await?;
    let leader = ensemble.leader().await?;
    // The agent is told of one server alone: neither the leader nor the one that is killed.
    let others: Vec<usize> = (0..3).filter(|index| *index != leader).collect();
    let (listed, killed) = (others[0], others[1]);
    let host = |index: usize| ensemble.address(index).to_string();
    let (listed_host, leader_host, killed_host) = (host(listed), host(leader), host(killed));
    let folder = history_folder()?;
    let agent = Agent::start(settings(&listed_host, folder.path())).await?;

    let is_up = |page: &Page, host: &str| page.value(host, "zk_up", "") == Some(1.0);
    let page = until(&agent, "all three are found", |page| {
        is_up(page, &listed_host) && is_up(page, &leader_host) && is_up(page, &killed_host)
    })
    .await?;
    ensure!(page.value(&leader_host, "zk_synced_followers", "") == Some(2.0));

    ensemble.kill_node(killed)?;
    let page = until(&agent, "it is down", |page| page.value(&killed_host, "zk_up", "") == Some(0.0)).await?;
    ensure!(page.families(&killed_host) == ["zk_up"].into(), "{:?}", page.families(&killed_host));
    let counts =
        |page: &Page| ["zktrail_ensemble_voters", "zktrail_ensemble_voters_serving"].map(|name| page.of_ensemble(name));
    ensure!(counts(&page) == [Some(3.0), Some(2.0)], "{:?}", counts(&page));
    ensemble.restart_node(killed).await?;
    until(&agent, "it is up again", |page| is_up(page, &killed_host) && counts(page) == [Some(3.0), Some(3.0)]).await?;

    let client = workload::session(&leader_host).await?;
    let (text, _) = client.get_data("/zookeeper/config").await?;
    let (id, text) = ((killed + 1).to_string(), String::from_utf8(text)?);
    let member = text.lines().find(|line| line.starts_with(&format!("server.{id}="))).context("its line")?;
    reconfigure(&client, &[], &[&id]).await?;
    let page = until(&agent, "it is forgotten", |page| page.of(&killed_host).next().is_none()).await?;
    ensure!(counts(&page) == [Some(2.0), Some(2.0)], "{:?}", counts(&page));
    reconfigure(&client, &[member], &[]).await?;
    until(&agent, "it is found again", |page| is_up(page, &killed_host)).await?;

    let log = agent.logs();
    for (words, times) in [("does not answer: ", 1), ("answers again", 1), ("is no server of the ensemble any more", 1)]
    {
        ensure!(log.matches(words).count() == times, "{words:?} {times} times\n{log}");
    }

    // Without discovery the listed one is all.
    drop(agent);
    let folder = history_folder()?;
    let agent = Agent::start(settings(&listed_host, folder.path()).with("--server-discovery", "off")).await?;
    let page = until(&agent, "it is up", |page| is_up(page, &listed_host)).await?;
    let read = "SELECT path FROM znodes WHERE path = '/zookeeper/config'";
    agent.sql_until(WITHIN, read, |rows| !rows.is_empty()).await?;
    ensure!(page.of(&leader_host).next().is_none() && counts(&page) == [Some(1.0), Some(1.0)], "{:?}", counts(&page));

    // Alone it answers, but serves nobody.
    drop(client);
    for gone in [leader, killed] {
        ensemble.kill_node(gone)?;
    }
    let page = until(&agent, "it looks for a leader", |page| {
        page.of_ensemble("zktrail_leader_seen") == Some(0.0)
            && page.of_ensemble("zktrail_ensemble_voters_serving") == Some(0.0)
    })
    .await?;
    ensure!(is_up(&page, &listed_host));
    ensure!(page.families(&listed_host) == ["zk_ruok", "zk_up"].into(), "{:?}", page.families(&listed_host));
    Ok(())
}

async fn reconfigure(client: &zookeeper_client::Client, joining: &[&str], leaving: &[&str]) -> Result<()> {
    let update = EnsembleUpdate::Incremental { joinings: joining.iter().copied(), leavings: leaving.iter().copied() };
    client.update_ensemble(update, None).await.map(drop).map_err(anyhow::Error::from)
}

/// `check` says what a server tells and what it would take to make it tell more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_says_what_would_give_more() -> Result<()> {
    if let Some(missing) = Ensemble::missing(Version::V3_8) {
        skip("check_says_what_would_give_more", &missing);
        return Ok(());
    }
    let ensemble = Ensemble::start(Version::V3_8, Shape::Standalone).await?;
    let folder = history_folder()?;
    let spec = format!("test={}", ensemble.connect_string());
    let flags = ["--ensemble", &spec, "--http", "off", "--postgres", "off", "--session-sample", "off"];
    let check = zktrail("check", &flags, folder.path()).await?;
    let said = String::from_utf8(check.stdout)?;
    ensure!(check.status.success(), "{said}");
    let has = |begin: &str, words: &str| said.lines().any(|line| line.starts_with(begin) && line.contains(words));
    ensure!(has("ok", "tells its metrics by srvr"), "{said}");
    let line =
        "does not allow mntr, ruok, isro (not needed): 4lw.commands.whitelist=srvr,mntr,ruok,isro,cons in its zoo.cfg";
    ensure!(has("note", line), "{said}");
    Ok(())
}
