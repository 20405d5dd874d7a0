//! The example DAGs in a real Airflow, against a live agent: green where all is well, red where a gap must stop them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};
use zookeeper_client::{Acls, CreateMode};

use crate::agent::{Agent, Settings};
use crate::prerequisites::{airflow, history_folder, skip};
use crate::servers::{Ensemble, Shape, Version};
use crate::workload;

/// An Airflow with metadata of its own, and a connection to one agent.
struct Airflow {
    python: PathBuf,
    folder: tempfile::TempDir,
    connection: String,
}

impl Airflow {
    fn new(agent: &Agent) -> Result<Self> {
        let python = airflow().context("Airflow is not in the cache")?;
        let prepared = python.parent().and_then(Path::parent).context("a folder")?.join("home/airflow.db");
        let folder = tempfile::Builder::new().prefix("zktrail-airflow-").tempdir()?;
        std::fs::copy(prepared, folder.path().join("airflow.db")).context("copying the prepared metadata")?;
        let connection = format!("postgresql://airflow@{}/zktrail", agent.postgres());
        Ok(Self { python, folder, connection })
    }

    /// Runs a DAG to its end: whether it was green, and all that it said.
    async fn test(&self, dag: &str, params: &Value) -> Result<(bool, String)> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut command = Command::new(&self.python);
        command.args(["-m", "airflow", "dags", "test", dag, "--conf", &params.to_string()]);
        command.env("AIRFLOW_HOME", self.folder.path());
        command.env("AIRFLOW__CORE__DAGS_FOLDER", root.join("examples/airflow/dags"));
        command.env("AIRFLOW__CORE__LOAD_EXAMPLES", "false");
        command.env("AIRFLOW__CORE__UNIT_TEST_MODE", "false");
        command.env("AIRFLOW_CONN_ZKTRAIL", &self.connection);
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || command.output()).await??;
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        Ok((output.status.success(), said))
    }

    async fn green(&self, dag: &str, params: &Value) -> Result<String> {
        let (green, said) = self.test(dag, params).await?;
        ensure!(green, "{dag} {params} must be green:\n{said}");
        Ok(said)
    }

    async fn red(&self, dag: &str, params: &Value) -> Result<String> {
        let (green, said) = self.test(dag, params).await?;
        ensure!(!green, "{dag} {params} must be red:\n{said}");
        Ok(said)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn example_dags_are_green_and_a_gap_is_red() -> Result<()> {
    const NAME: &str = "example_dags_are_green_and_a_gap_is_red";
    if let Some(missing) = Ensemble::missing(Version::Embedded) {
        skip(NAME, &missing);
        return Ok(());
    }
    if airflow().is_none() {
        skip(NAME, "Airflow is not in the cache: run tests/run prepare");
        return Ok(());
    }
    let ensemble = Ensemble::start(Version::Embedded, Shape::Standalone).await?;
    let connect = ensemble.connect_string();
    let folder = history_folder()?;
    let mut agent = Agent::start(Settings::new(&connect, folder.path())).await?;
    let begun = Utc::now() + TimeDelta::milliseconds(10);
    let client = workload::session(&connect).await?;
    for path in ["/config", "/brokers", "/brokers/ids"] {
        workload::create(&client, path, b"").await?;
    }
    workload::create(&client, "/config/app", b"timeout=30").await?;
    agent.sees("/config/app").await?;
    let moment = Utc::now();
    for id in 0..3 {
        let options = CreateMode::Ephemeral.with_acls(Acls::anyone_all());
        client.create(&format!("/brokers/ids/{id}"), format!("broker {id}").as_bytes(), &options).await?;
    }
    workload::set(&client, "/config/app", b"timeout=31").await?;
    workload::create(&client, "/done", b"").await?;
    agent.sees("/done").await?;
    let rows = agent.sql_integer("SELECT count(*) FROM changes").await?;

    let airflow = Airflow::new(&agent)?;
    let (since, until) = (begun.to_rfc3339(), Utc::now().to_rfc3339());

    let said = airflow.green("zktrail_wait_for_change", &json!({ "path": "/config", "since": since })).await?;
    ensure!(said.contains("timeout=31"), "{said}");

    let said = airflow.green("zktrail_config_at", &json!({ "path": "/config", "moment": moment.to_rfc3339() })).await?;
    ensure!(said.contains("/config/app (version 0): timeout=30"), "{said}");
    airflow.red("zktrail_config_at", &json!({ "path": "/nowhere", "moment": moment.to_rfc3339() })).await?;

    let said = airflow.green("zktrail_members", &json!({ "path": "/brokers/ids", "least": 3 })).await?;
    ensure!(said.contains("/brokers/ids/2") && said.contains("broker 1"), "{said}");
    airflow.red("zktrail_members", &json!({ "path": "/brokers/ids", "least": 4 })).await?;

    let said = airflow.green("zktrail_report", &json!({ "since": since, "until": until })).await?;
    ensure!(said.contains("/config/app"), "{said}");

    let exports = folder.path().join("exports");
    let day = Utc::now().format("%Y-%m-%d").to_string();
    let said = airflow.green("zktrail_nightly_export", &json!({ "folder": exports, "day": day })).await?;
    ensure!(said.contains(&format!("changes-{day}.parquet: {rows} rows")), "{rows} rows: {said}");
    let files: Vec<_> = std::fs::read_dir(&exports)?.flatten().map(|entry| entry.file_name()).collect();
    ensure!(files.len() == 1, "{files:?}");

    // Nobody is looking while the setting is changed twice: the report of that time is refused, that before it is not.
    ensure!(agent.terminate().await? == 0, "SIGTERM must end the agent with 0");
    for value in ["timeout=0", "timeout=32"] {
        workload::set(&client, "/config/app", value.as_bytes()).await?;
    }
    agent.start_again().await?;
    workload::create(&client, "/later", b"").await?;
    agent.sees("/later").await?;
    let said = airflow.red("zktrail_report", &json!({ "since": since, "until": Utc::now().to_rfc3339() })).await?;
    ensure!(said.contains("no_gap") && said.contains("nothing_missed"), "{said}");
    airflow.green("zktrail_report", &json!({ "since": since, "until": until })).await?;
    Ok(())
}
