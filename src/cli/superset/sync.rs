//! `zktrail superset sync`: database connections of Superset that follow znodes.
//!
//! The znodes are read live: a history has passwords masked, and is no place for them. What is to be done is shown first
//! and done with `--apply` alone. A connection that this made bears a mark (`zktrail` in its `extra`: ensemble, path and
//! mzxid of its znode); no other is ever changed or deleted. A password is compared with nothing: when the znode is set
//! anew the connection is written anew.

mod api;
mod definition;
mod engine;
mod plan;
mod show;
mod source;
mod uri;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::api::{Api, Login};
use self::plan::{Action, Scope, Step, plan};
use self::source::Source;
use crate::config::{
    AgentFlags, Config, CredentialFlags, EnsembleConfig, EnsembleSpec, Environment, HumanDuration, Scoped, Secret,
};

/// Keep Superset's database connections as znodes define them
///
/// Each znode beneath --path that has a value is one connection. The value is a SQLAlchemy URI, or a JSON object:
///   {"name": "orders", "engine": "postgresql", "host": "10.0.0.1", "port": 5432, "user": "reader",
///    "password": "…", "database": "orders", "sslmode": "require"}
///
/// Without --apply it only shows what it would do. Connections that it did not make are never touched.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
#[command(after_help = "\
Examples:
  export ZKTRAIL_SUPERSET_USER=admin ZKTRAIL_SUPERSET_PASSWORD=…
  zktrail superset sync --ensemble prod=10.0.0.1:2181 --path /datasources --superset https://superset.example
  zktrail superset sync --ensemble prod=10.0.0.1:2181 --path /datasources --superset https://superset.example \\
      --auth-file zookeeper-credentials --apply --watch

Fields of a JSON object (other names in brackets):
  name              the connection's name; else the znode's path beneath --path
  uri               a whole SQLAlchemy URI, instead of the following
  engine [type, driver, dialect]   postgresql, mysql, clickhouse, trino, hive, …, or a SQLAlchemy dialect+driver
  host, port, user [username], password, database [db, dbname]
  query [options, parameters]      an object: the URI's query; every other field with a plain value goes there, too
  extra             an object: Superset's `extra` (engine_params, metadata_params, …)
  expose_in_sqllab, allow_run_async, allow_dml, allow_ctas, allow_cvas, cache_timeout, impersonate_user, server_cert, …
                    Superset's settings of the same names

Superset tries a connection before it stores it: what cannot be reached from there fails, and is tried again next time.
A connection that datasets use is not deleted by Superset: delete those first.

Exit codes: 0 everything is as the znodes say, or would be; 1 something was refused or failed.")]
pub struct SyncArgs {
    /// The ensemble: [NAME=]HOST[:PORT],HOST[:PORT]. NAME is part of the mark of its connections
    #[arg(long, value_name = "SPEC", env = "ZKTRAIL_ENSEMBLE")]
    ensemble: EnsembleSpec,

    /// The znode beneath which the connections are
    #[arg(long, value_name = "PATH")]
    path: String,

    /// File with credentials for the ensemble, one a line: SCHEME:CREDENTIAL, for example digest:bob:password
    #[arg(long, value_name = "FILE")]
    auth_file: Option<PathBuf>,

    /// Environment variable that holds them, instead of a file
    #[arg(long, value_name = "VARIABLE", conflicts_with = "auth_file")]
    auth_env: Option<String>,

    /// Superset's address
    #[arg(long, value_name = "URL", env = "ZKTRAIL_SUPERSET_URL")]
    superset: String,

    /// Superset's user. The password comes from the variable ZKTRAIL_SUPERSET_PASSWORD, or --password-file
    #[arg(long, value_name = "NAME", env = "ZKTRAIL_SUPERSET_USER")]
    user: String,

    /// File whose first line is the password of Superset's user
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,

    /// Where Superset looks the user up
    #[arg(long, value_name = "NAME", default_value = "db")]
    provider: String,

    /// PEM file of the authorities that Superset's certificate is to be signed by
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,

    /// Do it: without this, only show it
    #[arg(long)]
    apply: bool,

    /// Go on when znodes change, until Ctrl-C
    #[arg(long)]
    watch: bool,

    /// With --watch: look anew this often, even where nothing changed
    #[arg(long, value_name = "DURATION", default_value = "5m", requires = "watch")]
    every: HumanDuration,

    /// The form of the answer
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,

    // The last one: its heading would be that of what follows.
    #[command(flatten)]
    credentials: CredentialFlags,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Aligned, for people
    Table,
    /// One array of objects; with --watch one a line, each time that something is to tell
    Json,
    /// With a header
    Csv,
}

/// What became of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    /// Only shown.
    Planned,
    Done,
    Failed(String),
}

/// Until the next try after the ensemble or Superset failed, with `--watch`.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

pub(super) fn run(args: SyncArgs) -> anyhow::Result<ExitCode> {
    let ensemble = args.ensemble()?;
    if let Err(error) = crate::zk::validate(&args.path) {
        bail!("--path {:?} is no path: {error}", args.path);
    }
    let scope = Scope { ensemble: ensemble.name.clone(), root: args.path.clone() };
    let mut api = Api::new(args.login()?)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    if args.watch {
        return follow(&args, &ensemble, &scope, &mut api, &runtime);
    }
    let source = runtime.block_on(Source::open(&ensemble, &args.path))?;
    let (rows, failed) = round(&args, &source, &scope, &mut api, &runtime)?;
    show::print(&show::text(&rows, args.format))?;
    eprintln!("zktrail: {}", show::summary(&rows, args.apply));
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

type Rows = Vec<(Step, Outcome)>;

/// Looks once, and does what is to do. Tells whether anything was refused or failed.
fn round(
    args: &SyncArgs,
    source: &Source,
    scope: &Scope,
    api: &mut Api,
    runtime: &Runtime,
) -> anyhow::Result<(Rows, bool)> {
    let found = runtime.block_on(source.read())?;
    let existing = api.connections()?;
    let mut failed = false;
    let mut rows = Vec::new();
    for step in plan(scope, &found.wanted, &found.unseen, &existing) {
        let outcome = match &step.action {
            Action::Refuse => {
                failed = true;
                Outcome::Planned
            }
            Action::Keep => Outcome::Planned,
            _ if !args.apply => Outcome::Planned,
            action => {
                let done = match action {
                    Action::Create(definition) => api.create(definition, &step.mark),
                    Action::Update { id, definition } => api.update(*id, definition, &step.mark),
                    Action::Delete { id } => api.delete(*id),
                    Action::Keep | Action::Refuse => Ok(()),
                };
                match done {
                    Ok(()) => Outcome::Done,
                    // Whoever is not reached now is not reached for the rest either.
                    Err(error @ api::ApiError::Unreachable { .. }) => return Err(error.into()),
                    Err(error) => {
                        failed = true;
                        Outcome::Failed(error.to_string())
                    }
                }
            }
        };
        rows.push((step, outcome));
    }
    Ok((rows, failed))
}

/// Rounds until a signal: at once, whenever a znode changes, and from time to time.
fn follow(
    args: &SyncArgs,
    ensemble: &EnsembleConfig,
    scope: &Scope,
    api: &mut Api,
    runtime: &Runtime,
) -> anyhow::Result<ExitCode> {
    let _guard = runtime.enter();
    let mut stop = Stop { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? };
    let mut told = String::new();
    loop {
        let opened = runtime.block_on(async {
            tokio::select! {
                opened = async {
                    let source = Source::open(ensemble, &args.path).await?;
                    let watcher = source.watch().await?;
                    anyhow::Ok((source, watcher))
                } => Some(opened),
                () = stop.asked() => None,
            }
        });
        let (source, mut watcher) = match opened {
            None => return Ok(ExitCode::SUCCESS),
            Some(Ok(opened)) => opened,
            Some(Err(error)) => {
                eprintln!("zktrail: {error:#}; trying again");
                if runtime.block_on(stop.within(AGAIN_AFTER)) {
                    return Ok(ExitCode::SUCCESS);
                }
                continue;
            }
        };
        loop {
            let wait = match round(args, &source, scope, api, runtime) {
                Ok((rows, failed)) => {
                    let news: Rows = rows.into_iter().filter(|(step, _)| step.action != Action::Keep).collect();
                    let text = show::text(&news, args.format);
                    // What is refused stays so until somebody mends it: once is enough.
                    if text != told {
                        if !news.is_empty() {
                            show::print(&text)?;
                        }
                        eprintln!("zktrail: {}", show::summary(&news, args.apply));
                        told = text;
                    }
                    if failed { args.every.0.min(AGAIN_AFTER * 12) } else { args.every.0 }
                }
                Err(error) => {
                    eprintln!("zktrail: {error:#}; trying again");
                    told.clear();
                    AGAIN_AFTER
                }
            };
            let lives = runtime.block_on(async {
                tokio::select! {
                    lives = source::changed(&mut watcher) => Some(lives),
                    () = tokio::time::sleep(wait) => Some(true),
                    () = stop.asked() => None,
                }
            });
            match lives {
                None => return Ok(ExitCode::SUCCESS),
                Some(true) => {}
                Some(false) => break,
            }
        }
    }
}

/// SIGINT and SIGTERM.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Whether it was asked for before so long has passed.
    async fn within(&mut self, time: Duration) -> bool {
        tokio::time::timeout(time, self.asked()).await.is_ok()
    }
}

impl SyncArgs {
    /// The ensemble with its credentials, by the rules of the agent.
    fn ensemble(&self) -> anyhow::Result<EnsembleConfig> {
        if self.ensemble.scope != "/" {
            bail!("--ensemble: leave {} out, and say --path with the whole path on the server", self.ensemble.scope);
        }
        let path = match &self.auth_file {
            Some(path) => Some(path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))?.to_owned()),
            None => None,
        };
        let mut flags = AgentFlags {
            ensemble: vec![self.ensemble.clone()],
            auth_file: path.into_iter().map(|value| Scoped { name: None, value }).collect(),
            auth_env: self.auth_env.iter().map(|value| Scoped { name: None, value: value.clone() }).collect(),
            ..AgentFlags::default()
        };
        self.credentials.put(&mut flags);
        let config = Config::load(None, flags, &Environment::of_process())?;
        config.ensembles.into_iter().next().context("--ensemble names none")
    }

    fn login(&self) -> anyhow::Result<Login> {
        let url = self.superset.trim_end_matches('/').to_owned();
        let parsed = url::Url::parse(&url).with_context(|| format!("--superset {url:?} is no URL"))?;
        if !matches!(parsed.scheme(), "http" | "https") || parsed.host_str().is_none() {
            bail!("--superset {url:?} is no URL of a web server: write https://HOST[:PORT]");
        }
        if parsed.password().is_some() {
            bail!("--superset holds a password, and a command line is no secret: leave it out");
        }
        let password = match (&self.password_file, std::env::var("ZKTRAIL_SUPERSET_PASSWORD")) {
            (Some(path), _) => super::secret_file(path)?,
            (None, Ok(password)) if !password.is_empty() => password,
            (None, _) => {
                bail!("the password of {} is missing: set ZKTRAIL_SUPERSET_PASSWORD, or say --password-file", self.user)
            }
        };
        let authorities = match &self.ca_file {
            Some(path) => Some(std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?),
            None => None,
        };
        Ok(Login {
            url,
            user: self.user.clone(),
            password: Secret::new(password),
            provider: self.provider.clone(),
            authorities,
        })
    }
}
