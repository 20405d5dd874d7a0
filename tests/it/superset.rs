//! A real Superset: both bundles imported, every chart's data held against the workload's own record, the dashboards
//! opened in a browser; and database connections that follow znodes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::agent::BINARY;
use crate::prerequisites::{browser, script, superset};
use crate::servers::free_port;

mod dashboard;
mod sync;

const READY_WITHIN: Duration = Duration::from_secs(120);
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// A Superset on loopback, with metadata of its own. Dropping it kills it.
pub struct Superset {
    process: Child,
    url: String,
    python: PathBuf,
    folder: tempfile::TempDir,
}

impl Superset {
    /// Why it cannot run here, if it cannot.
    pub fn missing() -> Option<&'static str> {
        superset().is_none().then_some("Superset is not in the cache: run tests/run prepare")
    }

    pub async fn start() -> Result<Self> {
        let python = superset().context("Superset is not in the cache")?;
        let prepared = python.parent().and_then(Path::parent).context("a folder")?.join("home/superset.db");
        let folder = tempfile::Builder::new().prefix("zktrail-superset-").tempdir()?;
        fs::copy(&prepared, folder.path().join("superset.db")).context("copying the prepared metadata")?;
        let port = free_port()?;
        let log = File::create(folder.path().join("log"))?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(&python).args(["-m", "flask", "run", "--host", "127.0.0.1"]);
        command.args(["--port", &port.to_string(), "--with-threads"]);
        command.env("FLASK_APP", "superset.app:create_app()");
        command.env("SUPERSET_HOME", folder.path());
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        command.env("SUPERSET_CONFIG_PATH", root.join("tests/superset/superset_config.py"));
        command.current_dir(folder.path()).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let process = command.spawn().context("starting Superset")?;
        let mut superset = Self { process, url: format!("http://127.0.0.1:{port}"), python, folder };
        superset.wait_ready().await?;
        Ok(superset)
    }

    async fn wait_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        let health = format!("{}/health", self.url);
        loop {
            let asked = health.clone();
            let answer =
                tokio::task::spawn_blocking(move || ureq::get(&asked).call().map(|answer| answer.status())).await?;
            if answer.is_ok_and(|status| status == 200) {
                return Ok(());
            }
            if let Some(status) = self.process.try_wait()? {
                bail!("Superset ended with {status}\n{}", self.log());
            }
            ensure!(Instant::now() < deadline, "Superset is not ready within {READY_WITHIN:?}\n{}", self.log());
            tokio::time::sleep(ASK_AGAIN_AFTER).await;
        }
    }

    fn log(&self) -> String {
        let text = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        format!("--- Superset\n{}", lines[lines.len().saturating_sub(60)..].join("\n"))
    }

    /// Runs superset_api.py; its answer.
    pub async fn api(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Result<Value> {
        let mut command = Command::new(&self.python);
        command.arg(script("superset_api.py")).arg(&self.url).args(arguments);
        command.envs(variables.iter().copied());
        let output = tokio::task::spawn_blocking(move || command.output()).await??;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "superset_api.py {arguments:?}: {error}\n{}", self.log());
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// The data of every chart of a dashboard by the chart's name, and the dashboard's id.
    pub async fn charts(&self, title: &str) -> Result<(i64, BTreeMap<String, Vec<Value>>)> {
        let answer = self.api(&["charts", title], &[]).await?;
        let id = answer["id"].as_i64().context("an id")?;
        let mut charts = BTreeMap::new();
        for (name, chart) in answer["charts"].as_object().context("charts")? {
            ensure!(chart["error"].is_null(), "the chart {name:?}: {}\n{}", chart["error"], chart["sql"]);
            charts.insert(name.clone(), chart["rows"].as_array().context("rows")?.clone());
        }
        Ok((id, charts))
    }

    /// Opens a dashboard in a browser, keeps what it looks like as a picture, and gives what each chart shows.
    async fn look(&self, id: i64, picture: &Path) -> Result<Option<Value>> {
        let Some((chromium, modules)) = browser() else { return Ok(None) };
        let mut command = Command::new("node");
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/js/dashboard.cjs"));
        command.arg(&self.url).arg(id.to_string()).arg(picture);
        command.env("CHROMIUM", chromium).env("NODE_PATH", modules);
        let output = tokio::task::spawn_blocking(move || command.output()).await??;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "dashboard.cjs: {error}\n{}", self.log());
        Ok(Some(serde_json::from_slice(&output.stdout)?))
    }
}

impl Drop for Superset {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs `zktrail superset …` and waits for its end.
async fn zktrail(arguments: &[&str], variables: &[(&str, &str)]) -> Result<std::process::Output> {
    let mut command = Command::new(BINARY);
    command.arg("superset").args(arguments).envs(variables.iter().copied()).stdin(Stdio::null());
    Ok(tokio::task::spawn_blocking(move || command.output()).await??)
}

/// A file that stays after the test, for whoever looks.
fn artifact(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// What every chart of the dashboard is called.
const CHARTS: [&str; 12] = [
    "Changes",
    "Changes an hour, by kind",
    "Configuration changes",
    "Ephemerals that came and went an hour",
    "Flapping members",
    "Gaps",
    "Hottest paths",
    "Missed changes",
    "Nobody was looking",
    "Paths that changed",
    "Size of the tree",
    "Where it grew: created less deleted, an hour",
];

/// Every chart is drawn, with data and without an error, and the first shows so many changes.
fn ensure_drawn(seen: &Value, changes: i64) -> Result<()> {
    let charts = seen["charts"].as_array().context("charts")?;
    let titles: BTreeSet<&str> = charts.iter().filter_map(|chart| chart["title"].as_str()).collect();
    ensure!(titles == BTreeSet::from(CHARTS), "the page shows {titles:?}");
    for chart in charts {
        let text = chart["text"].as_str().unwrap_or_default();
        let fine = chart["error"].is_null()
            && chart["drawn"] == true
            && !text.contains("No results")
            && !text.contains("rror");
        ensure!(fine, "the page shows {chart}");
    }
    let shown = charts.iter().find(|chart| chart["title"] == "Changes").and_then(|chart| chart["text"].as_str());
    let digits: String = shown.unwrap_or_default().lines().last().unwrap_or_default().replace(',', "");
    ensure!(digits == changes.to_string(), "the page shows {shown:?}, there were {changes} changes");
    for request in seen["requests"].as_array().context("requests")? {
        ensure!(request["status"] == 200 && request["error"].is_null(), "the page was answered {request}");
    }
    ensure!(seen["page_errors"] == serde_json::json!([]), "{}", seen["page_errors"]);
    Ok(())
}
