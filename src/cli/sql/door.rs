mod agent;

use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::record_batch::RecordBatch;
use clap::Args;
use futures::StreamExt;

use self::agent::{Agent, AgentLogin, NotFound};
use super::interrupt::{Cancelled, Interrupt};
use crate::history::layout::Layout;
use crate::history::open::open_read_only;
use crate::query::{Engine, Limits, Parameters, QueryStream};
use crate::serve::http::{FRAMED_ARROW, FrameReader};

const AGENT: &str = "http://127.0.0.1:9847";
const FOLDER: &str = "history";

/// The agent answered, but not with rows.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub(in crate::cli) struct Refused {
    pub status: u16,
    reason: String,
}

/// Whom to ask, as every command that asks takes it.
#[derive(Debug, Default, Args)]
pub(in crate::cli) struct DoorArgs {
    /// The history's folder, read without an agent
    #[arg(long, value_name = "DIR", conflicts_with = "agent")]
    data_dir: Option<PathBuf>,

    /// Where the agent answers HTTP; the environment's ZKTRAIL_AGENT says the same [default: http://127.0.0.1:9847]
    #[arg(long, value_name = "URL")]
    agent: Option<String>,

    #[command(flatten)]
    login: AgentLogin,
}

impl DoorArgs {
    pub(in crate::cli) fn find(&self) -> anyhow::Result<Door> {
        Door::find_as(self.data_dir.as_deref(), self.agent.as_deref(), &self.login)
    }
}

/// Who answers, until it is interrupted.
pub(in crate::cli) struct Door {
    answerer: Answerer,
    interrupt: Interrupt,
    patience: Option<Duration>,
}

enum Answerer {
    /// The running agent, over HTTP.
    Agent { agent: Mutex<Agent> },
    /// A folder, read by this process without the writer's lock.
    Folder { dir: PathBuf, engine: Engine, runtime: tokio::runtime::Runtime },
}

impl Door {
    /// As [`Door::find_as`], as nobody in particular.
    pub(in crate::cli) fn find(data_dir: Option<&Path>, agent: Option<&str>) -> anyhow::Result<Self> {
        Self::find_as(data_dir, agent, &AgentLogin::default())
    }

    /// An explicit folder wins, then an explicit agent, then the agent that runs here, then `./history`.
    fn find_as(data_dir: Option<&Path>, agent: Option<&str>, login: &AgentLogin) -> anyhow::Result<Self> {
        if let Some(dir) = data_dir {
            return Self::folder(dir);
        }
        let named =
            agent.map(str::to_owned).or_else(|| std::env::var("ZKTRAIL_AGENT").ok().filter(|url| !url.is_empty()));
        let url = named.clone().unwrap_or_else(|| AGENT.to_owned());
        let url = with_scheme(url.trim_end_matches('/'));
        match Agent::find(url.clone(), login) {
            Ok(agent) => Ok(Self::new(Answerer::Agent { agent: Mutex::new(agent) })),
            Err(NotFound::Shut(error)) => Err(error),
            Err(NotFound::Silent(error)) if named.is_some() => Err(anyhow!(
                "no agent answers at {url}: {error}. Start one (zktrail agent …), or read its folder with --data-dir"
            )),
            Err(NotFound::Silent(_)) if Path::new(FOLDER).is_dir() => Self::folder(Path::new(FOLDER)),
            Err(NotFound::Silent(error)) => bail!(
                "no agent answers at {url} ({error}), and there is no folder ./{FOLDER}. Start an agent (zktrail agent …), \
                 name one with --agent URL, or name a history's folder with --data-dir DIR"
            ),
        }
    }

    fn folder(dir: &Path) -> anyhow::Result<Self> {
        let layout = Layout::new(dir);
        let clusters = layout.clusters().with_context(|| format!("cannot read the folder {}", dir.display()))?;
        if clusters.is_empty() {
            bail!("{} holds no history: there is no cluster in it. Is it the --data-dir of an agent?", dir.display());
        }
        // Read anew for every query: an agent may be writing, and in a conversation the next question is about now.
        let sources = Arc::new(move || {
            let clusters = layout
                .clusters()
                .map_err(|source| crate::history::error::HistoryError::io("list", layout.dir(), source))?;
            clusters.iter().map(|cluster| open_read_only(&layout, cluster)).collect()
        });
        let engine = Engine::new(sources, Limits::default(), &std::env::temp_dir())?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self::new(Answerer::Folder { dir: dir.to_owned(), engine, runtime }))
    }

    #[cfg(test)]
    pub(in crate::cli) fn over(engine: Engine) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self::new(Answerer::Folder { dir: PathBuf::new(), engine, runtime }))
    }

    fn new(answerer: Answerer) -> Self {
        Self { answerer, interrupt: Interrupt::new(), patience: None }
    }

    /// An agent whose whole answer takes longer is given up.
    pub(in crate::cli) fn with_patience(self, patience: Duration) -> Self {
        Self { patience: Some(patience), ..self }
    }

    /// What ends a statement early.
    pub(in crate::cli) fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }

    /// Where the answers come from, for people.
    pub(in crate::cli) fn describe(&self) -> String {
        match &self.answerer {
            Answerer::Agent { agent } => format!("the agent at {}", locked(agent).url),
            Answerer::Folder { dir, .. } => format!("the folder {}", dir.display()),
        }
    }

    /// Whether a running agent answers: it is asked without cost, and it may go away and come back.
    pub(in crate::cli) fn is_agent(&self) -> bool {
        matches!(self.answerer, Answerer::Agent { .. })
    }

    /// Starts a statement. Where the agent said no the error is a [`Refused`].
    pub(in crate::cli) fn ask(&self, sql: &str) -> anyhow::Result<Rows<'_>> {
        self.ask_with(sql, &Parameters::new())
    }

    /// As [`Door::ask`], with values for the statement's parameters.
    pub(in crate::cli) fn ask_with(&self, sql: &str, parameters: &Parameters) -> anyhow::Result<Rows<'_>> {
        match &self.answerer {
            Answerer::Folder { engine, runtime, .. } => {
                let stream = runtime.block_on(async {
                    tokio::select! {
                        stream = engine.query_with(sql, parameters.clone()) => stream.map_err(anyhow::Error::from),
                        () = self.interrupt.pressed() => Err(Cancelled.into()),
                    }
                })?;
                let interrupt = &self.interrupt;
                Ok(Rows { schema: stream.schema(), source: Source::Folder { stream, runtime, interrupt } })
            }
            Answerer::Agent { agent } => {
                let now = locked(agent).clone();
                let asked = self.post(&now, sql, parameters);
                // Where it was started anew, its token is another one, and perhaps its port.
                let is_stale = asked.as_ref().map_or(true, |response| response.status() == 401);
                let (now, asked) = match is_stale.then(|| now.anew()).flatten() {
                    Some(anew) => {
                        *locked(agent) = anew.clone();
                        let asked = self.post(&anew, sql, parameters);
                        (anew, asked)
                    }
                    None => (now, asked),
                };
                let url = &now.url;
                let response = asked.with_context(|| format!("no answer from {url}/sql"))?;
                let status = response.status();
                let body = response.into_body();
                if !status.is_success() {
                    let reason = reason(body).unwrap_or_else(|| format!("{url}/sql answered {status}"));
                    return Err(Refused { status: status.as_u16(), reason }.into());
                }
                let is_ours = body.mime_type() == Some(FRAMED_ARROW);
                if !is_ours {
                    bail!("{url}/sql is no zktrail agent of this version: it did not answer in {FRAMED_ARROW}");
                }
                let reader = BufReader::new(body.into_with_config().limit(u64::MAX).reader());
                let reader = StreamReader::try_new(FrameReader::new(reader), None).map_err(told)?;
                Ok(Rows { schema: reader.schema(), source: Source::Agent(Box::new(reader)) })
            }
        }
    }
}

impl Door {
    fn post(
        &self,
        agent: &Agent,
        sql: &str,
        parameters: &Parameters,
    ) -> Result<ureq::http::Response<ureq::Body>, ureq::Error> {
        // One a statement: an interrupt ends it with all its connections.
        let http = agent.http(self.patience);
        self.interrupt.breaks(&http);
        let request = agent.post(&http, "/sql").header("Accept", FRAMED_ARROW);
        match parameters.is_empty() {
            true => request.header("Content-Type", "text/plain; charset=utf-8").send(sql),
            false => request
                .header("Content-Type", "application/json")
                .send(serde_json::json!({ "sql": sql, "params": parameters }).to_string()),
        }
    }
}

/// The words of an agent that says no; `None` where they are not its own.
fn reason(mut body: ureq::Body) -> Option<String> {
    let body = body.read_to_string().ok()?;
    let error: serde_json::Value = serde_json::from_str(&body).ok()?;
    error.get("error")?.as_str().map(str::to_owned)
}

fn locked(agent: &Mutex<Agent>) -> std::sync::MutexGuard<'_, Agent> {
    agent.lock().unwrap_or_else(PoisonError::into_inner)
}

type AgentReader = StreamReader<FrameReader<BufReader<ureq::BodyReader<'static>>>>;

/// The rows of one statement. An answer that is cut short ends in an error that says why.
pub(in crate::cli) struct Rows<'a> {
    schema: SchemaRef,
    source: Source<'a>,
}

enum Source<'a> {
    Folder { stream: QueryStream, runtime: &'a tokio::runtime::Runtime, interrupt: &'a Interrupt },
    Agent(Box<AgentReader>),
}

impl Rows<'_> {
    pub(in crate::cli) fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}

impl Iterator for Rows<'_> {
    type Item = anyhow::Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.source {
            Source::Folder { stream, runtime, interrupt } => runtime.block_on(async {
                tokio::select! {
                    biased;
                    () = interrupt.pressed() => Some(Err(Cancelled.into())),
                    batch = stream.next() => batch.map(|batch| batch.map_err(anyhow::Error::from)),
                }
            }),
            Source::Agent(reader) => match reader.next() {
                Some(batch) => Some(batch.map_err(told)),
                // The Arrow stream has its own end, but only the last frame says that nothing went wrong.
                None => reader.get_mut().finish().err().map(|error| Err(error.into())),
            },
        }
    }
}

/// An address alone is that of HTTP.
fn with_scheme(url: &str) -> String {
    if url.contains("://") { url.to_owned() } else { format!("http://{url}") }
}

/// The reason itself, without the name of the layer that passed it on.
fn told(error: ArrowError) -> anyhow::Error {
    match error {
        ArrowError::IoError(_, source) => source.into(),
        other => other.into(),
    }
}

#[cfg(test)]
mod tests;
