use std::path::PathBuf;
use std::time::Duration;

use super::ensemble::{Auth, Budget, EnsembleConfig, EnsembleSpec, Scoped, SourceSpec};
use super::{
    AccessConfig, AgentFlags, Config, ConfigError, Environment, FlushConfig, HumanDuration, ListenAddr, LogConfig,
    LogFormat, LogLevel, OnOff, QueryLimits, RetentionConfig, Secret, ServerUrls, TlsFiles, credentials, file,
    server_url,
};
use crate::{lens, zk};

const SESSION_TIMEOUT: Duration = Duration::from_secs(30);
const ACL_SWEEP: Duration = Duration::from_secs(15 * 60);
const SESSION_SAMPLE: Duration = Duration::from_secs(60);
/// The servers' own default.
const JUTE_MAXBUFFER: u64 = 0xf_ffff;
const SERVER_SAMPLE: Duration = Duration::from_secs(10);
const FLUSH_AGE: Duration = Duration::from_secs(5 * 60);
const FLUSH_BYTES: u64 = 64 << 20;
const RETENTION_AGE: Duration = Duration::from_secs(90 * 86_400);
const RETENTION_BYTES: u64 = 50_000_000_000;
const FREE_SPACE_FLOOR: f64 = 0.05;
const POSTGRES_CONNECTIONS: u64 = 100;
/// Above this, a process runs out of files.
const POSTGRES_CONNECTIONS_MAX: usize = 10_000;
/// More queries at once than any machine bears.
const QUERIES_MAX: usize = 1_000;
const SUBTREES_MAX: u64 = 100;

/// Puts the levels over each other, the first winning, and checks the result.
pub(super) fn resolve(mut levels: [AgentFlags; 3], environment: &Environment) -> Result<Config, ConfigError> {
    spread_tables(&mut levels);
    let ensembles = ensembles(&levels, environment)?;
    let first = |get: &dyn Fn(&AgentFlags) -> Option<Duration>| levels.iter().find_map(get);
    let flush = FlushConfig {
        age_max: within("flush_age", first(&|l| l.flush_age.map(|v| v.0)).unwrap_or(FLUSH_AGE), 1, 86_400, "1s to 1d")?,
        bytes_max: levels.iter().find_map(|l| l.flush_bytes).map_or(FLUSH_BYTES, |v| v.0),
    };
    if !(1 << 20..=4 << 30).contains(&flush.bytes_max) {
        let value = super::ByteSize(flush.bytes_max).to_string();
        return Err(ConfigError::OutOfBounds { key: "flush_bytes", value, bounds: "1MiB to 4GiB" });
    }
    let retention = RetentionConfig {
        age_max: match levels.iter().find_map(|l| l.retention_age) {
            Some(age) => age.on().map(|age| age.0),
            None => Some(RETENTION_AGE),
        },
        bytes_max: match levels.iter().find_map(|l| l.retention_bytes) {
            Some(bytes) => bytes.on().map(|bytes| bytes.0),
            None => Some(RETENTION_BYTES),
        },
        free_space_floor: levels.iter().find_map(|l| l.free_space_floor).map_or(FREE_SPACE_FLOOR, |v| v.fraction()),
    };
    let defaults = QueryLimits::default();
    let query = QueryLimits {
        memory_bytes_max: levels.iter().find_map(|l| l.query_memory).map_or(defaults.memory_bytes_max, |v| v.0),
        time_max: first(&|l| l.query_time.map(|v| v.0)).unwrap_or(defaults.time_max),
        rows_max: levels.iter().find_map(|l| l.query_rows).map_or(defaults.rows_max, |v| v.0),
        spill_bytes_max: levels.iter().find_map(|l| l.query_spill).map_or(defaults.spill_bytes_max, |v| v.0),
        concurrent_max: levels
            .iter()
            .find_map(|l| l.query_concurrent)
            .map_or(defaults.concurrent_max, |v| usize::try_from(v.0).unwrap_or(usize::MAX)),
    };
    if query.concurrent_max > QUERIES_MAX {
        let value = query.concurrent_max.to_string();
        return Err(ConfigError::OutOfBounds { key: "query_concurrent", value, bounds: "1 to 1000" });
    }
    let subtrees_max = subtrees_max(&levels)?;
    let subtrees = listed("subtree", &levels, |level| &level.subtree, subtrees_max, "9 series")?;
    let config_subtrees = listed("config_subtree", &levels, |level| &level.config_subtree, subtrees_max, "one series")?;
    let values: Vec<_> = levels.iter().flat_map(|l| &l.values).map(|rule| rule.0.clone()).collect();
    for rule in &values {
        lens::PathGlob::new(&rule.path)?;
    }
    Ok(Config {
        data_dir: levels.iter().find_map(|l| l.data_dir.clone()).unwrap_or_else(|| PathBuf::from(Config::DATA_DIR)),
        ensembles,
        server_discovery: levels.iter().find_map(|l| l.server_discovery).is_none_or(|v| v == OnOff::On),
        http: levels.iter().find_map(|l| l.http).unwrap_or(ListenAddr::HTTP),
        postgres: levels.iter().find_map(|l| l.postgres).unwrap_or(ListenAddr::POSTGRES),
        postgres_connections: postgres_connections(&levels)?,
        http_hosts: levels.iter().map(|l| &l.http_host).find(|hosts| !hosts.is_empty()).cloned().unwrap_or_default(),
        access: access(&levels)?,
        log: LogConfig {
            level: levels.iter().find_map(|l| l.log_level).unwrap_or(LogLevel::Info),
            format: levels.iter().find_map(|l| l.log_format).unwrap_or(LogFormat::Human),
        },
        flush,
        retention,
        query,
        values,
        subtrees,
        subtrees_max,
        config_subtrees,
    })
}

/// Turns what an `[[ensemble]]` table says of itself into values scoped to its name, before those for all.
fn spread_tables(levels: &mut [AgentFlags; 3]) {
    fn put<T: Clone>(list: &mut Vec<Scoped<T>>, name: &str, value: &Option<T>) {
        if let Some(value) = value {
            list.push(Scoped { name: Some(name.to_owned()), value: value.clone() });
        }
    }
    for level in levels {
        for spec in &level.ensemble {
            let (name, own) = (spec.name.as_str(), &spec.own);
            put(&mut level.session_timeout, name, &own.session_timeout);
            put(&mut level.auth_file, name, &own.auth_file.as_ref().map(|path| path.to_string_lossy().into_owned()));
            put(&mut level.auth_env, name, &own.auth_env);
            put(&mut level.zk_tls, name, &own.zk_tls);
            put(&mut level.zk_ca, name, &own.zk_ca);
            put(&mut level.zk_cert, name, &own.zk_cert);
            put(&mut level.zk_key, name, &own.zk_key);
            put(&mut level.zk_hostname_check, name, &own.zk_hostname_check);
            put(&mut level.sasl, name, &own.sasl);
            put(&mut level.sasl_user, name, &own.sasl_user);
            put(&mut level.sasl_password_file, name, &own.sasl_password_file);
            put(&mut level.sasl_password_env, name, &own.sasl_password_env);
            put(&mut level.sasl_service, name, &own.sasl_service);
            put(&mut level.znodes_per_second, name, &own.znodes_per_second);
            put(&mut level.bytes_per_second, name, &own.bytes_per_second);
            put(&mut level.multi_reads, name, &own.multi_reads);
            put(&mut level.acl_sweep, name, &own.acl_sweep);
            put(&mut level.session_sample, name, &own.session_sample);
            put(&mut level.admin_url, name, &own.admin_url);
            put(&mut level.jute_maxbuffer, name, &own.jute_maxbuffer);
            put(&mut level.server_sample, name, &own.server_sample);
            put(&mut level.metrics_url, name, &own.metrics_url);
            if let Some(source) = &own.source {
                level.source.push(SourceSpec { ensemble: Some(spec.name.clone()), ..source.clone() });
            }
            if own.new_incarnation {
                level.new_incarnation.push(spec.name.clone());
            }
        }
    }
}

/// The value for an ensemble: level by level the one for its name, then the one for all; the last of equals.
pub(super) fn pick<T: Clone>(
    levels: &[AgentFlags; 3],
    name: &str,
    list: impl Fn(&AgentFlags) -> &Vec<Scoped<T>>,
) -> Option<T> {
    levels.iter().find_map(|level| pick_in(list(level), name))
}

fn pick_in<T: Clone>(list: &[Scoped<T>], name: &str) -> Option<T> {
    exactly(list, Some(name)).or_else(|| exactly(list, None))
}

pub(super) fn exactly<T: Clone>(list: &[Scoped<T>], name: Option<&str>) -> Option<T> {
    list.iter().rev().find(|scoped| scoped.name.as_deref() == name).map(|scoped| scoped.value.clone())
}

fn ensembles(levels: &[AgentFlags; 3], environment: &Environment) -> Result<Vec<EnsembleConfig>, ConfigError> {
    let specs = levels.iter().map(|level| &level.ensemble).find(|specs| !specs.is_empty());
    let specs: &[EnsembleSpec] = specs.map_or(&[], Vec::as_slice);
    if specs.is_empty() {
        return Err(ConfigError::NoEnsemble);
    }
    for (at, spec) in specs.iter().enumerate() {
        if specs.iter().take(at).any(|other| other.name == spec.name) {
            return Err(ConfigError::EnsembleTwice(spec.name.clone()));
        }
    }
    check_names(levels, specs)?;
    specs.iter().map(|spec| ensemble(spec, levels, environment)).collect()
}

fn ensemble(
    spec: &EnsembleSpec,
    levels: &[AgentFlags; 3],
    environment: &Environment,
) -> Result<EnsembleConfig, ConfigError> {
    let name = spec.name.as_str();
    let defaults = Budget::default();
    let timeout = pick(levels, name, |l| &l.session_timeout).map_or(SESSION_TIMEOUT, |v| v.0);
    let multi_reads = pick(levels, name, |l| &l.multi_reads).map(|v| usize::try_from(v.0).unwrap_or(usize::MAX));
    let multi_reads_in_flight = multi_reads.unwrap_or(defaults.multi_reads_in_flight);
    if multi_reads_in_flight > 64 {
        let value = multi_reads_in_flight.to_string();
        return Err(ConfigError::OutOfBounds { key: "multi_reads", value, bounds: "1 to 64" });
    }
    let acl_sweep = match pick(levels, name, |l| &l.acl_sweep) {
        Some(sweep) => {
            sweep.on().map(|v| within("acl_sweep", v.0, 10, 30 * 86_400, "10s to 30d, or off")).transpose()?
        }
        None => Some(ACL_SWEEP),
    };
    let session_sample = match pick(levels, name, |l| &l.session_sample) {
        Some(every) => every.on().map(|v| within("session_sample", v.0, 5, 86_400, "5s to 1d, or off")).transpose()?,
        None => Some(SESSION_SAMPLE),
    };
    let bad_admin_url = |reason| ConfigError::AdminUrl { ensemble: name.to_owned(), reason };
    let (admin_urls, monitor_urls) = match pick(levels, name, |l| &l.admin_url) {
        Some(text) => (
            server_url::expand(&text, &spec.servers).map_err(bad_admin_url)?,
            server_url::commands(&text, "monitor").map_err(bad_admin_url)?,
        ),
        None => (Vec::new(), ServerUrls::default()),
    };
    let server_sample = match pick(levels, name, |l| &l.server_sample) {
        Some(every) => every.on().map(|v| within("server_sample", v.0, 1, 86_400, "1s to 1d, or off")).transpose()?,
        None => Some(SERVER_SAMPLE),
    };
    let metrics_urls = match pick(levels, name, |l| &l.metrics_url) {
        Some(text) => server_url::expositions(&text)
            .map_err(|reason| ConfigError::MetricsUrl { ensemble: name.to_owned(), reason })?,
        None => ServerUrls::default(),
    };
    let source = |level: &AgentFlags, of: Option<&str>| {
        level.source.iter().rev().find(|source| source.ensemble.as_deref() == of).map(|source| source.txnlog.clone())
    };
    let txnlog = levels.iter().find_map(|level| source(level, Some(name)).or_else(|| source(level, None)));
    let jute_maxbuffer = pick(levels, name, |l| &l.jute_maxbuffer).map_or(JUTE_MAXBUFFER, |v| v.0);
    if !(1024..=i32::MAX as u64).contains(&jute_maxbuffer) {
        let value = super::ByteSize(jute_maxbuffer).to_string();
        return Err(ConfigError::OutOfBounds { key: "jute_maxbuffer", value, bounds: "1KiB to 2147483647" });
    }
    Ok(EnsembleConfig {
        name: name.to_owned(),
        servers: spec.servers.clone(),
        scope: spec.scope.clone(),
        session_timeout: within("session_timeout", timeout, 1, 3_600, "1s to 1h")?,
        auth: auth(name, levels, environment)?,
        tls: credentials::tls(name, levels)?,
        sasl: credentials::sasl(name, levels, environment)?,
        new_incarnation: levels.iter().any(|level| level.new_incarnation.iter().any(|own| own == name)),
        budget: Budget {
            znodes_per_second: match pick(levels, name, |l| &l.znodes_per_second) {
                Some(bound) => bound.on().map(|v| v.0),
                None => defaults.znodes_per_second,
            },
            bytes_per_second: match pick(levels, name, |l| &l.bytes_per_second) {
                Some(bound) => bound.on().map(|v| v.0.max(1)),
                None => defaults.bytes_per_second,
            },
            multi_reads_in_flight,
        },
        acl_sweep,
        session_sample,
        admin_urls,
        server_sample,
        monitor_urls,
        metrics_urls,
        txnlog: txnlog.unwrap_or_default(),
        jute_maxbuffer,
    })
}

/// A value for an ensemble that is not there is a slip of the pen. Tables of ensembles that flags have replaced are not.
fn check_names(levels: &[AgentFlags; 3], specs: &[EnsembleSpec]) -> Result<(), ConfigError> {
    fn names<T>(list: &[Scoped<T>]) -> Vec<&str> {
        list.iter().filter_map(|scoped| scoped.name.as_deref()).collect()
    }
    for level in levels {
        let all: [(&'static str, Vec<&str>); 24] = [
            ("session_timeout", names(&level.session_timeout)),
            ("auth_file", names(&level.auth_file)),
            ("auth_env", names(&level.auth_env)),
            ("zk_tls", names(&level.zk_tls)),
            ("zk_ca", names(&level.zk_ca)),
            ("zk_cert", names(&level.zk_cert)),
            ("zk_key", names(&level.zk_key)),
            ("zk_hostname_check", names(&level.zk_hostname_check)),
            ("sasl", names(&level.sasl)),
            ("sasl_user", names(&level.sasl_user)),
            ("sasl_password_file", names(&level.sasl_password_file)),
            ("sasl_password_env", names(&level.sasl_password_env)),
            ("sasl_service", names(&level.sasl_service)),
            ("new_incarnation", level.new_incarnation.iter().map(String::as_str).collect()),
            ("znodes_per_second", names(&level.znodes_per_second)),
            ("bytes_per_second", names(&level.bytes_per_second)),
            ("multi_reads", names(&level.multi_reads)),
            ("acl_sweep", names(&level.acl_sweep)),
            ("session_sample", names(&level.session_sample)),
            ("admin_url", names(&level.admin_url)),
            ("jute_maxbuffer", names(&level.jute_maxbuffer)),
            ("server_sample", names(&level.server_sample)),
            ("metrics_url", names(&level.metrics_url)),
            ("source", level.source.iter().filter_map(|source| source.ensemble.as_deref()).collect()),
        ];
        for (key, names) in all {
            let is_known = |name: &str| specs.iter().chain(&level.ensemble).any(|spec| spec.name == name);
            if let Some(name) = names.into_iter().find(|name| !is_known(name)) {
                let known = specs.iter().map(|spec| spec.name.as_str()).collect::<Vec<_>>().join(", ");
                return Err(ConfigError::UnknownEnsemble { key, name: name.to_owned(), known });
            }
        }
    }
    Ok(())
}

/// Credentials from the highest level that names a file or a variable for this ensemble.
fn auth(name: &str, levels: &[AgentFlags; 3], environment: &Environment) -> Result<Vec<Auth>, ConfigError> {
    let ensemble = || name.to_owned();
    let sources = levels.iter().flat_map(|level| {
        [Some(name), None].map(|name| (exactly(&level.auth_file, name), exactly(&level.auth_env, name)))
    });
    for (file, variable) in sources {
        let (text, origin) = match (file, variable) {
            (None, None) => continue,
            (Some(_), Some(_)) => return Err(ConfigError::TwoAuths { ensemble: ensemble() }),
            (Some(path), None) => {
                let path = PathBuf::from(path);
                let failed = |source| ConfigError::ReadAuth { ensemble: ensemble(), path: path.clone(), source };
                (file::read_text(&path).map_err(failed)?, path.display().to_string())
            }
            (None, Some(variable)) => match environment.get(&variable) {
                Some(text) => (text.to_owned(), variable),
                None => return Err(ConfigError::NoAuthVariable { ensemble: ensemble(), variable }),
            },
        };
        let mut auths = Vec::new();
        for (at, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let is_scheme =
                |scheme: &str| !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric());
            match line.trim_end_matches('\r').split_once(':') {
                Some((scheme, credential)) if is_scheme(scheme) && !credential.is_empty() => {
                    auths.push(Auth { scheme: scheme.to_owned(), credential: Secret::new(credential.to_owned()) });
                }
                _ => return Err(ConfigError::BadAuth { ensemble: ensemble(), origin, line: at + 1 }),
            }
        }
        if auths.is_empty() {
            return Err(ConfigError::BadAuth { ensemble: ensemble(), origin, line: 1 });
        }
        return Ok(auths);
    }
    Ok(Vec::new())
}

fn postgres_connections(levels: &[AgentFlags; 3]) -> Result<usize, ConfigError> {
    let max = levels.iter().find_map(|l| l.postgres_connections).map_or(POSTGRES_CONNECTIONS, |v| v.0);
    match usize::try_from(max) {
        Ok(max) if max <= POSTGRES_CONNECTIONS_MAX => Ok(max),
        _ => {
            let value = max.to_string();
            Err(ConfigError::OutOfBounds { key: "postgres_connections", value, bounds: "1 to 10000" })
        }
    }
}

fn access(levels: &[AgentFlags; 3]) -> Result<AccessConfig, ConfigError> {
    let path = |get: fn(&AgentFlags) -> &Option<PathBuf>| levels.iter().find_map(|level| get(level).clone());
    let tls = match (path(|l| &l.tls_cert), path(|l| &l.tls_key)) {
        (None, None) => None,
        (Some(certificate), Some(key)) => Some(TlsFiles { certificate, key }),
        (Some(_), None) => return Err(ConfigError::HalfTls { given: "tls_cert", missing: "tls_key" }),
        (None, Some(_)) => return Err(ConfigError::HalfTls { given: "tls_key", missing: "tls_cert" }),
    };
    Ok(AccessConfig {
        users_file: path(|l| &l.users_file),
        tls,
        tls_required: levels.iter().find_map(|l| l.tls_required),
        log: path(|l| &l.access_log),
    })
}

fn subtrees_max(levels: &[AgentFlags; 3]) -> Result<usize, ConfigError> {
    let max = levels.iter().find_map(|l| l.subtree_max).map_or(SUBTREES_MAX, |v| v.0);
    match usize::try_from(max) {
        Ok(max) if max <= zk::Subtrees::PREFIXES_MAX => Ok(max),
        _ => Err(ConfigError::OutOfBounds { key: "subtree_max", value: max.to_string(), bounds: "1 to 10000" }),
    }
}

/// The distinct paths that a key lists, in the highest level that lists any.
fn listed(
    key: &'static str,
    levels: &[AgentFlags; 3],
    list: impl Fn(&AgentFlags) -> &Vec<String>,
    max: usize,
    series: &'static str,
) -> Result<Vec<String>, ConfigError> {
    let paths = levels.iter().map(list).find(|paths| !paths.is_empty());
    let mut listed: Vec<String> = Vec::new();
    for path in paths.into_iter().flatten() {
        let wrong = |error: zk::PathError| ConfigError::Subtree { key, path: path.clone(), reason: error.to_string() };
        zk::validate(path).map_err(wrong)?;
        if !listed.contains(path) {
            listed.push(path.clone());
        }
    }
    if listed.len() > max {
        return Err(ConfigError::TooManySubtrees { key, count: listed.len(), max, series });
    }
    Ok(listed)
}

fn within(
    key: &'static str,
    value: Duration,
    seconds_min: u64,
    seconds_max: u64,
    bounds: &'static str,
) -> Result<Duration, ConfigError> {
    if value < Duration::from_secs(seconds_min) || value > Duration::from_secs(seconds_max) {
        return Err(ConfigError::OutOfBounds { key, value: HumanDuration(value).to_string(), bounds });
    }
    Ok(value)
}
