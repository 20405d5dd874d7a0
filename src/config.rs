//! Plain values from a file, the environment and flags; validated once, before anything starts.
//!
//! A flag `--flush-age` is the key `flush_age` of the file and the variable `ZKTRAIL_FLUSH_AGE`: one struct,
//! [`AgentFlags`], is all three, so no twin can be missing. Flags win over the environment, that over the file, that
//! over the defaults. Secrets come from files or the environment, never from argv, and are never shown.

mod credential_flags;
mod credentials;
mod ensemble;
mod environment;
mod error;
mod file;
mod flags;
mod listen;
mod resolve;
mod rule;
mod secret;
mod server_url;
mod text;
mod units;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use credential_flags::CredentialFlags;
pub use credentials::{EnsembleSasl, EnsembleTls, SaslMechanism, SaslPassword};
pub use ensemble::{Auth, Budget, EnsembleConfig, EnsembleSpec, EnsembleTable, Scoped, SourceSpec};
pub use environment::Environment;
pub use error::ConfigError;
pub use flags::AgentFlags;
pub use listen::ListenAddr;
pub use rule::RuleSpec;
pub use secret::Secret;
pub use server_url::ServerUrls;
pub use units::{ByteSize, Count, HumanDuration, OrOff, Percent, UnitError};

use crate::lens::PolicyRule;

/// Everything that the agent is told.
#[derive(Clone, Debug)]
pub struct Config {
    pub data_dir: PathBuf,
    /// At least one, names unique.
    pub ensembles: Vec<EnsembleConfig>,
    /// Whether servers that are not listed are found in `/zookeeper/config` and asked how they are.
    pub server_discovery: bool,
    pub http: ListenAddr,
    pub postgres: ListenAddr,
    /// Sessions of the PostgreSQL door that may be open at once.
    pub postgres_connections: usize,
    /// Further names of this machine in Host headers.
    pub http_hosts: Vec<String>,
    pub access: AccessConfig,
    pub log: LogConfig,
    pub flush: FlushConfig,
    pub retention: RetentionConfig,
    pub query: QueryLimits,
    /// The operator's value policy, in order; the shipped list comes after it.
    pub values: Vec<PolicyRule>,
    /// Path prefixes with metrics of their own, at most [`Config::subtrees_max`].
    pub subtrees: Vec<String>,
    pub subtrees_max: usize,
    /// Path prefixes that hold configuration, whose changes are counted; as many at most.
    pub config_subtrees: Vec<String>,
}

/// Who may ask, and over what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessConfig {
    /// `None`: [`AccessConfig::USERS_FILE`] in the data folder, if there is one.
    pub users_file: Option<PathBuf>,
    pub tls: Option<TlsFiles>,
    /// Whether clear text is refused: everywhere, nowhere, or where nothing is said off loopback.
    pub tls_required: Option<bool>,
    /// `None`: the agent's log.
    pub log: Option<PathBuf>,
}

impl AccessConfig {
    /// Where the users are listed when nothing says so.
    pub const USERS_FILE: &str = "users.toml";
}

/// A certificate and its private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogConfig {
    pub level: LogLevel,
    pub format: LogFormat,
}

/// When the head becomes a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlushConfig {
    pub age_max: Duration,
    pub bytes_max: u64,
}

/// What is kept. `None`: without this bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetentionConfig {
    pub age_max: Option<Duration>,
    pub bytes_max: Option<u64>,
    /// Share of the disk, 0.0 to 1.0; with less free than this, recording stops with a gap.
    pub free_space_floor: f64,
}

/// Bounds of one query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryLimits {
    pub memory_bytes_max: u64,
    pub time_max: Duration,
    pub rows_max: u64,
    pub spill_bytes_max: u64,
    /// Queries that run at once.
    pub concurrent_max: usize,
}

impl Default for QueryLimits {
    fn default() -> Self {
        Self {
            memory_bytes_max: 1 << 30,
            time_max: Duration::from_secs(60),
            rows_max: 1_000_000,
            spill_bytes_max: 4 << 30,
            concurrent_max: 8,
        }
    }
}

text::choices! {
    /// How much is logged.
    LogLevel { Error => "error", Warn => "warn", Info => "info", Debug => "debug", Trace => "trace" }
}

text::choices! {
    /// Whether something is done.
    OnOff { On => "on", Off => "off" }
}

text::choices! {
    /// For whom is logged.
    LogFormat { Human => "human", Json => "json" }
}

impl Config {
    /// An ensemble's name where none is given.
    pub const DEFAULT_ENSEMBLE: &str = ensemble::DEFAULT_NAME;
    /// Where the history is when nothing says so.
    pub const DATA_DIR: &str = "./history";

    /// Reads the file (here given, or named by `--config` or `ZKTRAIL_CONFIG`), puts the environment and the flags over
    /// it, and checks everything. Relative paths are relative to the working folder.
    pub fn load(file: Option<&Path>, flags: AgentFlags, environment: &Environment) -> Result<Self, ConfigError> {
        let file = file.map(Path::to_path_buf).or_else(|| flags.config.clone());
        let file = file.or_else(|| environment.get("ZKTRAIL_CONFIG").map(PathBuf::from));
        let from_file = match &file {
            Some(path) => file::read(path)?,
            None => AgentFlags::default(),
        };
        let from_environment = environment::read(environment)?;
        resolve::resolve([flags, from_environment, from_file], environment)
    }

    /// Where the users are listed, for commands that need nothing else of the configuration: as the agent is told, else
    /// [`AccessConfig::USERS_FILE`] in the data folder.
    pub fn users_file(
        file: Option<&Path>,
        data_dir: Option<&Path>,
        environment: &Environment,
    ) -> Result<PathBuf, ConfigError> {
        let file = file.map(Path::to_path_buf).or_else(|| environment.get("ZKTRAIL_CONFIG").map(PathBuf::from));
        let from_file = file.as_deref().map(file::read).transpose()?.unwrap_or_default();
        let from_environment = environment::read(environment)?;
        // A folder that is named here has its own list, whatever the configuration says of another one.
        let listed = from_environment.users_file.or(from_file.users_file).filter(|_| data_dir.is_none());
        let data_dir = data_dir.map(Path::to_path_buf).or(from_environment.data_dir).or(from_file.data_dir);
        let in_folder = || data_dir.unwrap_or_else(|| PathBuf::from(Self::DATA_DIR)).join(AccessConfig::USERS_FILE);
        Ok(listed.unwrap_or_else(in_folder))
    }

    /// The value policy's rules, for commands that need nothing else of the configuration: as the agent is told, `flags` first.
    pub fn values(
        file: Option<&Path>,
        flags: &[RuleSpec],
        environment: &Environment,
    ) -> Result<Vec<PolicyRule>, ConfigError> {
        let file = file.map(Path::to_path_buf).or_else(|| environment.get("ZKTRAIL_CONFIG").map(PathBuf::from));
        let from_file = file.as_deref().map(file::read).transpose()?.unwrap_or_default();
        let from_environment = environment::read(environment)?;
        let rules = flags.iter().chain(&from_environment.values).chain(&from_file.values);
        Ok(rules.map(|rule| rule.0.clone()).collect())
    }

    /// Whether a text can name an ensemble: `[a-z][a-z0-9_-]*`.
    pub fn is_ensemble_name(name: &str) -> bool {
        ensemble::is_name(name)
    }

    /// A file with every key, its default and what it means. It loads as it is.
    pub fn example() -> &'static str {
        include_str!("config/example.toml")
    }
}

#[cfg(test)]
mod tests;
