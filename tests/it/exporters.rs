//! docs/exporters.md holds other exporters' metrics beside ours: each name of it is told by an agent on a real ensemble,
//! and each key of a real server's mntr has its place in it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::agent::{Agent, Settings};
use crate::prerequisites::{history_folder, skip};
use crate::servers::{self, Ensemble, Shape, Version};

const PAGE: &str = "docs/exporters.md";
const TOLD_WITHIN: Duration = Duration::from_secs(60);
/// Only older servers have it.
const OLDER: [&str; 1] = ["zk_followers"];
/// What carlpett/zookeeper_exporter tells, all of it.
const CARLPETT: [&str; 18] = [
    "zk_up",
    "zk_avg_latency",
    "zk_max_latency",
    "zk_min_latency",
    "zk_packets_received",
    "zk_packets_sent",
    "zk_num_alive_connections",
    "zk_outstanding_requests",
    "zk_server_state",
    "zk_znode_count",
    "zk_watch_count",
    "zk_ephemerals_count",
    "zk_approximate_data_size",
    "zk_open_file_descriptor_count",
    "zk_max_file_descriptor_count",
    "zk_followers",
    "zk_synced_followers",
    "zk_pending_syncs",
];
/// What dabealu/zookeeper-exporter makes itself, beside the keys of mntr that it hands on.
const DABEALU: [&str; 5] = ["zk_up", "zk_ruok", "zk_server_leader", "zk_peer_state", "zk_version"];
const STATISTICS: [&str; 9] = ["avg", "min", "max", "cnt", "sum", "p50", "p95", "p99", "p999"];

/// The page, taken apart.
struct Page {
    /// Names of the table: dabealu's, carlpett's, ours.
    rows: Vec<[Option<String>; 3]>,
    lists: BTreeMap<&'static str, BTreeSet<String>>,
}

/// What stands between the first two backticks.
fn quoted(text: &str) -> Option<String> {
    text.split('`').nth(1).map(str::to_owned)
}

impl Page {
    fn read() -> Result<Self> {
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE))?;
        let mut rows = Vec::new();
        for line in text.lines().filter(|line| line.starts_with("| ") && line.contains("`zk_")) {
            let cells: Vec<Option<String>> = line.split('|').skip(1).map(quoted).collect();
            let name = |at: usize| cells.get(at).cloned().flatten().filter(|name| is_metric(name));
            rows.push([name(0), name(1), name(3)]);
        }
        let mut lists = BTreeMap::new();
        for name in ["same", "statistics", "percentiles", "milliseconds", "labelled"] {
            let (_, behind) = text.split_once(&format!("<!-- {name} -->\n")).with_context(|| name.to_owned())?;
            let block = behind.split("\n\n").next().unwrap_or_default();
            let names: BTreeSet<String> = block.split('`').skip(1).step_by(2).map(str::to_owned).collect();
            ensure!(!names.is_empty(), "{name} lists nothing");
            lists.insert(name, names);
        }
        Ok(Self { rows, lists })
    }

    fn lists(&self, list: &str, name: &str) -> bool {
        self.lists.get(list).is_some_and(|names| names.contains(name))
    }

    /// Our name of a key of mntr, by what the page says.
    fn ours(&self, key: &str) -> Option<String> {
        if self.rows.iter().any(|row| row[2].as_deref() == Some(key)) || self.lists("same", key) {
            return Some(key.to_owned());
        }
        let rest = key.strip_prefix("zk_")?;
        let labelled = self.lists.get("labelled")?.iter().find(|name| rest.ends_with(name.as_str()));
        let (statistic, stem) = match rest.split_once('_') {
            Some((statistic, stem)) if STATISTICS.contains(&statistic) => (Some(statistic), stem),
            _ => (None, rest),
        };
        let stem = labelled.map_or(stem, String::as_str);
        let listed = labelled.is_some()
            || ["statistics", "percentiles", "milliseconds"].iter().any(|list| self.lists(list, stem));
        let plain = match (stem.strip_suffix("_ms"), statistic) {
            (Some(plain), Some("cnt")) => plain.to_owned(),
            (Some(plain), _) => format!("{plain}_seconds"),
            (None, _) => stem.to_owned(),
        };
        listed.then(|| statistic.map_or_else(|| format!("zk_{plain}"), |statistic| format!("zk_{statistic}_{plain}")))
    }
}

fn is_metric(name: &str) -> bool {
    name.starts_with("zk_") && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

async fn mntr(address: std::net::SocketAddr) -> Result<Vec<String>> {
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    stream.write_all(b"mntr").await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    Ok(text.lines().filter_map(|line| line.split_once('\t')).map(|(key, _)| key.to_owned()).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_metric_of_the_others_is_told() -> Result<()> {
    if let Some(missing) = Ensemble::missing(Version::V3_9) {
        skip("every_metric_of_the_others_is_told", &missing);
        return Ok(());
    }
    let page = Page::read()?;
    for name in CARLPETT {
        ensure!(page.rows.iter().any(|row| row[1].as_deref() == Some(name)), "{name} of carlpett's is not in {PAGE}");
    }
    for name in DABEALU {
        ensure!(page.rows.iter().any(|row| row[0].as_deref() == Some(name)), "{name} of dabealu's is not in {PAGE}");
    }

    let mut settings = servers::Settings::new(Version::V3_9, Shape::ThreeNodes);
    settings.four_letter_words = "srvr,mntr,ruok,isro".to_owned();
    let ensemble = Ensemble::start_with(settings).await?;
    let folder = history_folder()?;
    let settings = Settings::new(ensemble.connect_string(), folder.path()).with("--server-sample", "5s");
    let mut agent = Agent::start(settings).await?;
    crate::workload::create(&crate::workload::session(&ensemble.connect_string()).await?, "/brokers", b"").await?;

    let mut keys = BTreeSet::new();
    for node in 0..ensemble.len() {
        keys.extend(mntr(ensemble.address(node)).await?);
    }
    ensure!(keys.len() > 400, "{} keys", keys.len());
    let mut wanted = BTreeSet::new();
    for key in keys {
        wanted.insert(page.ours(&key).with_context(|| format!("{key} has no place in {PAGE}"))?);
    }
    let known = page.rows.iter().filter_map(|row| row[2].clone());
    wanted.extend(known.filter(|name| !OLDER.contains(&name.as_str())));

    // Until every server has been asked after all of these were there.
    let deadline = Instant::now() + TOLD_WITHIN;
    loop {
        let (status, text) = agent.get("/metrics").await?;
        ensure!(status == 200, "{status}");
        let told: BTreeSet<&str> = text.lines().filter_map(|line| line.split(['{', ' ']).next()).collect();
        let missing: Vec<&String> = wanted.iter().filter(|name| !told.contains(name.as_str())).collect();
        if missing.is_empty() {
            println!("{} names told", wanted.len());
            break;
        }
        ensure!(Instant::now() < deadline, "not told: {missing:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    ensure!(agent.terminate().await? == 0, "SIGTERM must end the agent with 0");
    Ok(())
}
