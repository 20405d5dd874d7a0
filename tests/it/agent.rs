//! Runs the built `zktrail` and talks to it as its users do: command line, HTTP, SQL.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::prerequisites;
use crate::servers::free_port;

pub const BINARY: &str = env!("CARGO_BIN_EXE_zktrail");
const READY_WITHIN: Duration = Duration::from_secs(60);
const ENDS_WITHIN: Duration = Duration::from_secs(60);
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(50);
const LOG_LINES_SHOWN: usize = 80;

/// How an agent is to run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name and connect string of each.
    pub ensembles: Vec<(String, String)>,
    pub data_dir: PathBuf,
    /// More arguments of `zktrail agent`.
    pub extra: Vec<String>,
    /// How far its wall clock is off, in seconds.
    pub clock_offset_seconds: i64,
}

impl Settings {
    /// One ensemble, named `test`.
    pub fn new(connect_string: impl Into<String>, data_dir: impl Into<PathBuf>) -> Self {
        Self {
            ensembles: vec![("test".to_owned(), connect_string.into())],
            data_dir: data_dir.into(),
            extra: Vec::new(),
            clock_offset_seconds: 0,
        }
    }

    /// One more flag of `zktrail agent`.
    #[must_use]
    pub fn with(mut self, flag: &str, value: &str) -> Self {
        self.extra.extend([flag.to_owned(), value.to_owned()]);
        self
    }
}

/// A running (or killed) agent. Dropping it kills it; its log is shown where the test failed.
pub struct Agent {
    settings: Settings,
    http: SocketAddr,
    postgres: SocketAddr,
    process: Option<Child>,
    log: PathBuf,
    client: ureq::Agent,
}

impl Agent {
    /// Starts it and returns once `/readyz` says so.
    pub async fn start(settings: Settings) -> Result<Self> {
        let mut agent = Self::spawn(settings)?;
        agent.wait_ready().await?;
        Ok(agent)
    }

    /// Starts it without waiting for anything.
    pub fn spawn(settings: Settings) -> Result<Self> {
        let http = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let log = std::env::temp_dir().join(format!("zktrail-agent-{}-{}.log", std::process::id(), http.port()));
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(90)))
            .build();
        let postgres = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let mut agent = Self { settings, http, postgres, process: None, log, client: config.into() };
        agent.launch()?;
        Ok(agent)
    }

    /// Starts it again, on the same folder and port, and returns once it is ready.
    pub async fn start_again(&mut self) -> Result<()> {
        self.launch()?;
        self.wait_ready().await
    }

    pub async fn wait_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            let answer = match self.get("/readyz").await {
                Ok((200, _)) => return Ok(()),
                Ok((status, body)) => format!("{status} {body}"),
                Err(error) => format!("{error:#}"),
            };
            if let Some(process) = &mut self.process
                && let Some(status) = process.try_wait()?
            {
                bail!("the agent ended with {status}\n{}", self.logs());
            }
            ensure!(Instant::now() < deadline, "the agent is not ready within {READY_WITHIN:?}: {answer}");
            tokio::time::sleep(ASK_AGAIN_AFTER).await;
        }
    }

    /// Where it answers HTTP, also after a restart.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Where it speaks PostgreSQL's protocol, also after a restart.
    #[allow(dead_code, reason = "the bench does not ask")]
    pub fn postgres(&self) -> SocketAddr {
        self.postgres
    }

    /// The agent's process, if it runs.
    #[allow(dead_code, reason = "the bench asks")]
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// SIGKILL, and waits until the process is gone.
    pub fn kill9(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.kill()?;
            process.wait()?;
        }
        Ok(())
    }

    /// SIGTERM; gives the exit code.
    pub async fn terminate(&mut self) -> Result<i32> {
        let mut process = self.process.take().context("the agent does not run")?;
        rustix::process::kill_process(rustix::process::Pid::from_child(&process), rustix::process::Signal::TERM)?;
        let deadline = Instant::now() + ENDS_WITHIN;
        loop {
            if let Some(status) = process.try_wait()? {
                return status.code().with_context(|| format!("the agent ended with {status}"));
            }
            if Instant::now() > deadline {
                process.kill()?;
                process.wait()?;
                bail!("the agent did not end within {ENDS_WITHIN:?} of SIGTERM");
            }
            tokio::time::sleep(ASK_AGAIN_AFTER).await;
        }
    }

    /// The rows that a query answers.
    pub async fn sql(&self, query: &str) -> Result<Vec<Value>> {
        let (client, url, query) = (self.client.clone(), format!("http://{}/sql", self.http), query.to_owned());
        let (status, body) = tokio::task::spawn_blocking(move || {
            let request = client.post(&url).header("Accept", "application/json").header("Content-Type", "text/plain");
            answer(request.send(&query))
        })
        .await??;
        ensure!(status == 200, "POST /sql answers {status}: {body}");
        serde_json::from_str(&body).with_context(|| format!("POST /sql answers no JSON array: {body:.200}"))
    }

    /// The only value of a query's only row.
    pub async fn sql_integer(&self, query: &str) -> Result<i64> {
        let rows = self.sql(query).await?;
        let value = rows.first().and_then(Value::as_object).and_then(|row| row.values().next());
        value.and_then(Value::as_i64).with_context(|| format!("{query} answers {rows:?}"))
    }

    /// Asks again and again until the query answers rows that suffice; gives them.
    pub async fn sql_until(
        &self,
        within: Duration,
        query: &str,
        suffice: impl Fn(&[Value]) -> bool,
    ) -> Result<Vec<Value>> {
        let deadline = Instant::now() + within;
        loop {
            // Right after a start the door may still be closed.
            let rows = self.sql(query).await;
            match rows {
                Ok(rows) if suffice(&rows) => return Ok(rows),
                rows if Instant::now() > deadline => bail!("{query} still answers {rows:?} after {within:?}"),
                _ => tokio::time::sleep(ASK_AGAIN_AFTER).await,
            }
        }
    }

    /// Waits until this path's creation is on record; gives its row's source.
    pub async fn sees(&self, path: &str) -> Result<String> {
        let query = format!("SELECT source FROM changes WHERE kind = 'created' AND path = '{path}'");
        let rows = self.sql_until(Duration::from_secs(120), &query, |rows| !rows.is_empty()).await?;
        Ok(rows[0]["source"].as_str().unwrap_or_default().to_owned())
    }

    /// Status and body.
    pub async fn get(&self, path: &str) -> Result<(u16, String)> {
        let (client, url) = (self.client.clone(), format!("http://{}{path}", self.http));
        tokio::task::spawn_blocking(move || answer(client.get(&url).call())).await?
    }

    /// The sum of a metric over all its labels. An error where there is none.
    pub async fn metric_sum(&self, name: &str) -> Result<f64> {
        let (status, body) = self.get("/metrics").await?;
        ensure!(status == 200, "GET /metrics answers {status}: {body}");
        let samples = body.lines().filter_map(|line| line.strip_prefix(name));
        let values = samples.filter(|rest| rest.starts_with(['{', ' '])).filter_map(|rest| rest.rsplit(' ').next());
        let values: Vec<f64> = values.map(str::parse).collect::<Result<_, _>>()?;
        ensure!(!values.is_empty(), "no metric {name}");
        Ok(values.iter().sum())
    }

    /// The last lines of its log.
    pub fn logs(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        format!("--- agent {}\n{}", self.http, lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n"))
    }

    fn launch(&mut self) -> Result<()> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        // The agent dies with the tests even where nothing can be dropped any more; setpriv replaces itself with it.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", BINARY, "agent"]);
        for (name, connect_string) in &self.settings.ensembles {
            command.arg("--ensemble").arg(format!("{name}={connect_string}"));
        }
        command.arg("--data-dir").arg(&self.settings.data_dir);
        command.arg("--http").arg(self.http.to_string());
        command.arg("--postgres").arg(self.postgres.to_string());
        command.args(&self.settings.extra);
        let offset = self.settings.clock_offset_seconds;
        if offset != 0 {
            let library = prerequisites::faketime().context("libfaketime is not installed (Debian: faketime)")?;
            command.env("LD_PRELOAD", library);
            command.env("FAKETIME", format!("{offset:+}"));
            command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.process = Some(command.spawn().with_context(|| format!("starting {BINARY}"))?);
        Ok(())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.kill9();
        println!("{}", self.logs());
        let _ = fs::remove_file(&self.log);
    }
}

/// Runs `zktrail` with a folder and waits for its end.
pub async fn zktrail(command: &'static str, arguments: &[&str], data_dir: &Path) -> Result<Output> {
    let mut process = Command::new(BINARY);
    process.arg(command).args(arguments).arg("--data-dir").arg(data_dir).stdin(Stdio::null());
    tokio::task::spawn_blocking(move || process.output()).await?.with_context(|| format!("zktrail {command}"))
}

/// Runs `zktrail verify`, which must find nothing wrong.
pub async fn verify(data_dir: &Path) -> Result<()> {
    let output = zktrail("verify", &[], data_dir).await?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.code() == Some(0), "zktrail verify ends with {}\n{out}\n{err}", output.status);
    Ok(())
}

fn answer(response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<(u16, String)> {
    let mut response = response?;
    let status = response.status().as_u16();
    let body = response.body_mut().with_config().limit(1 << 30).read_to_string()?;
    Ok((status, body))
}
