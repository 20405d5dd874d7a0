//! Debian's Prometheus on loopback, its promtool, and the files of grafana/ that both read.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::servers::free_port;

const WITHIN: Duration = Duration::from_secs(60);
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// A file of grafana/.
pub fn grafana(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("grafana").join(name)
}

/// Runs promtool; its output where it is not content.
pub fn promtool(program: &Path, arguments: &[&str], input: Option<&str>) -> Result<()> {
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
pub struct Prometheus {
    process: Child,
    url: String,
    client: ureq::Agent,
    folder: tempfile::TempDir,
}

impl Prometheus {
    /// Starts it with rule files, each a name and a text, and returns once it has scraped the agent.
    pub async fn start(program: &Path, target: &str, rules: &[(&str, String)]) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("zktrail-prometheus-").tempdir()?;
        for (name, text) in rules {
            fs::write(folder.path().join(name), text)?;
        }
        let names: Vec<&str> = rules.iter().map(|(name, _)| *name).collect();
        let config = format!(
            "global:\n  scrape_interval: 500ms\n  evaluation_interval: 500ms\nrule_files: {names:?}\n\
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

    /// What it printed.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Where it answers.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What its HTTP API answers.
    pub fn api(&self, path: &str, query: Option<&str>) -> Result<Value> {
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
    pub fn numbers(&self, query: &str) -> Result<usize> {
        let data = self.api("query", Some(query))?;
        let series = data["result"].as_array().context("a vector")?;
        let number = |sample: &&Value| {
            let value = sample["value"][1].as_str().and_then(|value| value.parse::<f64>().ok());
            value.is_some_and(f64::is_finite)
        };
        Ok(series.iter().filter(number).count())
    }

    /// Waits until a query gives a number.
    pub async fn wait_for(&self, query: &str) -> Result<()> {
        self.until(query, || Ok(self.numbers(query)? > 0)).await
    }

    /// The values that a label has in what a query gives.
    pub fn labels(&self, query: &str, label: &str) -> Result<BTreeSet<String>> {
        let data = self.api("query", Some(query))?;
        let series = data["result"].as_array().context("a vector")?;
        Ok(series.iter().filter_map(|sample| sample["metric"][label].as_str()).map(str::to_owned).collect())
    }

    /// Asks again and again.
    pub async fn until(&self, what: &str, is: impl Fn() -> Result<bool>) -> Result<()> {
        let deadline = Instant::now() + WITHIN;
        loop {
            match is() {
                Ok(true) => return Ok(()),
                answer if Instant::now() > deadline => bail!("{what}: {answer:?} after {WITHIN:?}"),
                _ => tokio::time::sleep(LOOK_AGAIN_AFTER).await,
            }
        }
    }

    /// Whether an alert fires now.
    pub fn firing(&self, alert: &str) -> Result<bool> {
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
