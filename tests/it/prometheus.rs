//! Debian's Prometheus scrapes a real agent: what dashboards and alerts ask for is there, and an alert fires.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::agent::{Agent, Settings};
use crate::prerequisites::{history_folder, prometheus, skip};
use crate::proxy::Proxy;
use crate::servers::{Ensemble, Shape, Version, free_port};
use crate::workload::Workload;

const WITHIN: Duration = Duration::from_secs(60);
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(200);

fn grafana(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("grafana").join(name)
}

/// Runs promtool; its output where it is not content.
fn promtool(program: &Path, arguments: &[&str], input: Option<&str>) -> Result<()> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn()?;
    if let (Some(mut stdin), Some(input)) = (process.stdin.take(), input) {
        stdin.write_all(input.as_bytes())?;
    }
    let output = process.wait_with_output()?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "promtool {arguments:?}: {}\n{out}\n{err}", output.status);
    Ok(())
}

/// A Prometheus on loopback. Dropping it kills it.
struct Prometheus {
    process: Child,
    url: String,
    client: ureq::Agent,
    folder: tempfile::TempDir,
}

impl Prometheus {
    async fn start(program: &Path, target: &str, rules: &str) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("zktrail-prometheus-").tempdir()?;
        fs::write(folder.path().join("alerts.yml"), rules)?;
        let config = format!(
            "global:\n  scrape_interval: 500ms\n  evaluation_interval: 500ms\nrule_files: [alerts.yml]\n\
             scrape_configs:\n  - job_name: zktrail\n    static_configs:\n      - targets: ['{target}']\n"
        );
        fs::write(folder.path().join("prometheus.yml"), config)?;
        let port = free_port()?;
        let log = fs::File::create(folder.path().join("log"))?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(program);
        command.arg(format!("--config.file={}", folder.path().join("prometheus.yml").display()));
        command.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
        command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let process = command.spawn().context("starting Prometheus")?;
        let config = ureq::Agent::config_builder().http_status_as_error(false).proxy(None);
        let client = config.timeout_global(Some(Duration::from_secs(30))).build().into();
        let prometheus = Self { process, url: format!("http://127.0.0.1:{port}"), client, folder };
        prometheus.wait_for("up == 1").await.with_context(|| prometheus.log())?;
        Ok(prometheus)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn api(&self, path: &str, query: Option<&str>) -> Result<Value> {
        let mut request = self.client.get(format!("{}/api/v1/{path}", self.url));
        if let Some(query) = query {
            request = request.query("query", query);
        }
        let text = request.call()?.body_mut().read_to_string()?;
        let answer: Value = serde_json::from_str(&text).with_context(|| format!("{path}: {text:.200}"))?;
        ensure!(answer["status"] == "success", "{path} {query:?}: {answer}");
        Ok(answer["data"].clone())
    }

    /// How many series a query gives that are numbers.
    fn numbers(&self, query: &str) -> Result<usize> {
        let data = self.api("query", Some(query))?;
        let series = data["result"].as_array().context("a vector")?;
        let number = |sample: &&Value| {
            let value = sample["value"][1].as_str().and_then(|value| value.parse::<f64>().ok());
            value.is_some_and(f64::is_finite)
        };
        Ok(series.iter().filter(number).count())
    }

    async fn wait_for(&self, query: &str) -> Result<()> {
        self.until(query, || Ok(self.numbers(query)? > 0)).await
    }

    async fn until(&self, what: &str, is: impl Fn() -> Result<bool>) -> Result<()> {
        let deadline = Instant::now() + WITHIN;
        loop {
            match is() {
                Ok(true) => return Ok(()),
                answer if Instant::now() > deadline => bail!("{what}: {answer:?} after {WITHIN:?}"),
                _ => tokio::time::sleep(LOOK_AGAIN_AFTER).await,
            }
        }
    }

    fn firing(&self, alert: &str) -> Result<bool> {
        let data = self.api("alerts", None)?;
        let alerts = data["alerts"].as_array().context("alerts")?;
        Ok(alerts.iter().any(|one| one["labels"]["alertname"] == alert && one["state"] == "firing"))
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Every query of the dashboard, with the title of its panel, as Grafana would send it.
fn queries(dashboard: &Value) -> Result<Vec<(String, String)>> {
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().context("panels")? {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().context("a target has a query")?;
            let query = query.replace("$cluster", ".*").replace("$__rate_interval", "10s").replace("$__range", "30s");
            ensure!(!query.contains('$'), "a variable that this test does not know: {query}");
            queries.push((panel["title"].as_str().unwrap_or_default().to_owned(), query));
        }
    }
    Ok(queries)
}

/// The metrics that a text speaks of, by family.
fn metrics(text: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
    let names = text.split(|c: char| !is_name(c)).filter(|word| word.starts_with("zktrail_"));
    let family = |name: &str| {
        ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name).to_owned()
    };
    names.map(family).collect()
}

/// The rules, with so little patience that a test can wait for them.
fn impatient(rules: &str) -> String {
    let line = |line: &str| match line.split_once("for: ") {
        Some((before, _)) if before.trim().is_empty() => format!("{before}for: 1s"),
        _ => line.to_owned(),
    };
    rules.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dashboard_and_alerts_on_a_live_agent() -> Result<()> {
    const NAME: &str = "dashboard_and_alerts_on_a_live_agent";
    if let Some(missing) = Ensemble::missing(Version::V3_9) {
        skip(NAME, &missing);
        return Ok(());
    }
    let (Some(program), Some(tool)) = (prometheus("prometheus"), prometheus("promtool")) else {
        skip(NAME, "Prometheus and promtool are not there: run tests/run prepare");
        return Ok(());
    };
    let alerts = grafana("alerts.yml");
    promtool(&tool, &["check", "rules", &alerts.display().to_string()], None)?;
    promtool(&tool, &["check", "config", &grafana("prometheus.yml").display().to_string()], None)?;
    promtool(&tool, &["test", "rules", &grafana("alerts_test.yml").display().to_string()], None)?;

    let ensemble = Ensemble::start(Version::V3_9, Shape::Standalone).await?;
    let proxy = Proxy::start(ensemble.address(0)).await?;
    let folder = history_folder()?;
    let settings = Settings::new(proxy.address().to_string(), folder.path())
        .with("--session-timeout", "5s")
        .with("--subtree", "/work")
        .with("--flush-age", "2s");
    let agent = Agent::start(settings).await?;
    let running = Workload::new(ensemble.connect_string(), 5, 0).careful(50.0).start();

    let text = agent.get("/metrics").await?.1;
    promtool(&tool, &["check", "metrics"], Some(&text))?;
    let (rules, board) = (fs::read_to_string(&alerts)?, fs::read_to_string(grafana("what-changed.json"))?);
    let rendered: BTreeSet<String> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).map(str::to_owned).collect();
    let unknown: Vec<String> =
        metrics(&rules).union(&metrics(&board)).filter(|name| !rendered.contains(*name)).cloned().collect();
    ensure!(unknown.is_empty(), "asked for, but not there: {unknown:?}");

    let prometheus = Prometheus::start(&program, &agent.http().to_string(), &impatient(&rules)).await?;
    // Something asks the history, too.
    agent.sql("SELECT count(*) AS n FROM changes").await?;
    let queries = queries(&serde_json::from_str(&board)?)?;
    ensure!(queries.len() > 20, "{} queries", queries.len());
    for (title, query) in &queries {
        if query.contains("query_seconds") {
            agent.sql("SHOW TABLES").await?;
        }
        prometheus.wait_for(query).await.with_context(|| format!("the panel {title:?} is empty"))?;
    }

    let data = prometheus.api("rules", None)?;
    let rules = data["groups"][0]["rules"].as_array().context("rules")?.clone();
    let healthy = rules.iter().filter(|rule| rule["health"] == "ok").count();
    ensure!(rules.len() == 6 && healthy == 6, "{rules:?}");
    for rule in &rules {
        let name = rule["name"].as_str().unwrap_or_default();
        ensure!(!prometheus.firing(name)?, "{name} fires on a system that works");
    }

    running.stop().await?;
    proxy.refuse();
    for alert in ["ZktrailGapOpen", "ZktrailNoLeaderSeen"] {
        prometheus.until(alert, || prometheus.firing(alert)).await?;
    }
    proxy.heal();
    for alert in ["ZktrailGapOpen", "ZktrailNoLeaderSeen"] {
        prometheus.until(&format!("{alert} ends"), || Ok(!prometheus.firing(alert)?)).await?;
    }
    ensure!(prometheus.numbers("increase(zktrail_gap_seconds_total[5m]) > 0")? == 1, "the gap is counted");
    Ok(())
}
