use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::text::{self, TextOrTable};
use super::{ByteSize, Count, EnsembleSasl, EnsembleTls, HumanDuration, OrOff, SaslMechanism, Secret, ServerUrls};
use crate::zk;

/// One ensemble, ready to be connected to.
#[derive(Clone, Debug)]
pub struct EnsembleConfig {
    /// The `cluster` of every row: `[a-z][a-z0-9_-]*`.
    pub name: String,
    /// `host:port` each, IPv6 in brackets.
    pub servers: Vec<String>,
    /// The subtree that is watched, an absolute path on the server; `/` for all.
    pub scope: String,
    pub session_timeout: Duration,
    /// Sent in this order when a session begins.
    pub auth: Vec<Auth>,
    /// `None`: connections are in clear text.
    pub tls: Option<EnsembleTls>,
    pub sasl: Option<EnsembleSasl>,
    /// The operator knows that this ensemble was rebuilt or restored.
    pub new_incarnation: bool,
    pub budget: Budget,
    /// How often all ACLs are read; `None`: only at bootstrap.
    pub acl_sweep: Option<Duration>,
    /// How often the servers are asked who is connected; `None`: never.
    pub session_sample: Option<Duration>,
    /// The AdminServers' connections commands; empty: the servers are asked by four-letter word.
    pub admin_urls: Vec<String>,
    /// How often the servers are asked how they are; `None`: never.
    pub server_sample: Option<Duration>,
    /// The AdminServers' monitor commands.
    pub monitor_urls: ServerUrls,
    /// The servers' own Prometheus providers.
    pub metrics_urls: ServerUrls,
    /// The `version-2` of one of the servers, whose log is followed beside the watches; two where it keeps its log
    /// (`dataLogDir`) apart from its snapshots; empty: none.
    pub txnlog: Vec<PathBuf>,
    /// The servers' `jute.maxbuffer`: bytes.
    pub jute_maxbuffer: u64,
}

impl EnsembleConfig {
    /// The servers as one comma list, without the scope.
    pub fn connect_string(&self) -> String {
        self.servers.join(",")
    }
}

/// What scans may ask of the ensemble. `None`: without this bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    pub znodes_per_second: Option<u64>,
    pub bytes_per_second: Option<u64>,
    pub multi_reads_in_flight: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { znodes_per_second: Some(20_000), bytes_per_second: Some(20_000_000), multi_reads_in_flight: 4 }
    }
}

/// One `addauth`: a scheme and what proves who we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    pub scheme: String,
    pub credential: Secret,
}

/// An ensemble as it is written: `[name=]host[:port],…[/chroot]`, or a table of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct EnsembleSpec {
    pub name: String,
    pub servers: Vec<String>,
    pub scope: String,
    /// What a table of the file says about this ensemble alone.
    pub own: EnsembleTable,
}

/// One `[[ensemble]]` of the file.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnsembleTable {
    /// `[name=]host:port,…[/chroot]`, as the flag takes it; or without a name, which `name` then gives.
    #[serde(default)]
    pub servers: String,
    pub name: Option<String>,
    #[serde(default, deserialize_with = "text::one")]
    pub session_timeout: Option<HumanDuration>,
    pub auth_file: Option<PathBuf>,
    pub auth_env: Option<String>,
    pub zk_tls: Option<bool>,
    pub zk_ca: Option<String>,
    pub zk_cert: Option<String>,
    pub zk_key: Option<String>,
    pub zk_hostname_check: Option<bool>,
    #[serde(default, deserialize_with = "text::one")]
    pub sasl: Option<SaslMechanism>,
    pub sasl_user: Option<String>,
    pub sasl_password_file: Option<String>,
    pub sasl_password_env: Option<String>,
    pub sasl_service: Option<String>,
    #[serde(default)]
    pub new_incarnation: bool,
    #[serde(default, deserialize_with = "text::one")]
    pub znodes_per_second: Option<OrOff<Count>>,
    #[serde(default, deserialize_with = "text::one")]
    pub bytes_per_second: Option<OrOff<ByteSize>>,
    #[serde(default, deserialize_with = "text::one")]
    pub multi_reads: Option<Count>,
    #[serde(default, deserialize_with = "text::one")]
    pub acl_sweep: Option<OrOff<HumanDuration>>,
    #[serde(default, deserialize_with = "text::one")]
    pub session_sample: Option<OrOff<HumanDuration>>,
    pub admin_url: Option<String>,
    #[serde(default, deserialize_with = "text::one")]
    pub jute_maxbuffer: Option<ByteSize>,
    #[serde(default, deserialize_with = "text::one")]
    pub server_sample: Option<OrOff<HumanDuration>>,
    pub metrics_url: Option<String>,
    #[serde(default, deserialize_with = "text::one")]
    pub source: Option<SourceSpec>,
}

/// Why a text names no ensemble.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnsembleError {
    #[error("{0:?} is no ensemble name: a small letter, then small letters, digits, '_' or '-'")]
    Name(String),
    #[error(
        "no server is given: write [name=]host:port,host:port[/chroot], for example prod=10.0.0.1:2181,10.0.0.2:2181"
    )]
    NoServer,
    #[error("{0:?} is no server: write host or host:port, an IPv6 address in brackets, for example [::1]:2181")]
    Server(String),
    #[error("the server {0:?} is given twice")]
    ServerTwice(String),
    #[error("the chroot is not usable: {0}")]
    Chroot(#[from] zk::PathError),
    #[error("the table names the ensemble {table:?}, its servers name it {servers:?}: say it once")]
    TwoNames { table: String, servers: String },
}

/// The name where none is given.
pub(super) const DEFAULT_NAME: &str = "default";

const PORT: u16 = 2181;

impl FromStr for EnsembleSpec {
    type Err = EnsembleError;

    fn from_str(text: &str) -> Result<Self, EnsembleError> {
        let (name, rest) = split_name(text.trim());
        let name = name.unwrap_or(DEFAULT_NAME);
        if !is_name(name) {
            return Err(EnsembleError::Name(name.to_owned()));
        }
        let (servers, scope) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        zk::validate(scope)?;
        let mut list: Vec<String> = Vec::new();
        for server in servers.split(',').map(str::trim).filter(|server| !server.is_empty()) {
            let server = parse_server(server).ok_or_else(|| EnsembleError::Server(server.to_owned()))?;
            if list.contains(&server) {
                return Err(EnsembleError::ServerTwice(server));
            }
            list.push(server);
        }
        if list.is_empty() {
            return Err(EnsembleError::NoServer);
        }
        Ok(Self { name: name.to_owned(), servers: list, scope: scope.to_owned(), own: EnsembleTable::default() })
    }
}

impl TryFrom<EnsembleTable> for EnsembleSpec {
    type Error = EnsembleError;

    fn try_from(table: EnsembleTable) -> Result<Self, EnsembleError> {
        let named = split_name(table.servers.trim()).0.map(str::to_owned);
        let mut spec: Self = table.servers.parse()?;
        match (&table.name, named) {
            (Some(table), Some(servers)) if *table != servers => {
                return Err(EnsembleError::TwoNames { table: table.clone(), servers });
            }
            (Some(name), _) if !is_name(name) => return Err(EnsembleError::Name(name.clone())),
            (Some(name), _) => spec.name.clone_from(name),
            (None, _) => {}
        }
        Ok(Self { own: table, ..spec })
    }
}

impl<'de> Deserialize<'de> for EnsembleSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "a text [name=]host:port,…[/chroot] or a table with name and servers";
        deserializer.deserialize_any(TextOrTable::<Self, EnsembleTable>::new(expected))
    }
}

/// A value for all ensembles, or for one: `[NAME=]VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scoped<T> {
    pub name: Option<String>,
    pub value: T,
}

impl<T: FromStr<Err: fmt::Display>> FromStr for Scoped<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) if is_name(name) => (Some(name.to_owned()), value),
            _ => (None, text),
        };
        let value = value.parse().map_err(|error: T::Err| error.to_string())?;
        Ok(Self { name, value })
    }
}

/// A source beside the watches, as `[ensemble=]txnlog=FOLDER[,FOLDER]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceSpec {
    /// `None`: every ensemble.
    pub ensemble: Option<String>,
    /// A server's `version-2`, or its `dataLogDir` and its `dataDir`.
    pub txnlog: Vec<PathBuf>,
}

impl FromStr for SourceSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (ensemble, kind) = match text.split_once('=') {
            Some((name, rest)) if name != "txnlog" && is_name(name) => (Some(name.to_owned()), rest),
            _ => (None, text),
        };
        let folders = kind.strip_prefix("txnlog=").unwrap_or_default().split(',').map(str::trim);
        let txnlog: Vec<PathBuf> = folders.filter(|folder| !folder.is_empty()).map(PathBuf::from).collect();
        match txnlog.len() {
            1 | 2 => Ok(Self { ensemble, txnlog }),
            _ => Err(format!(
                "{text:?} is no source: write txnlog=FOLDER, with the version-2 of one of the ensemble's servers, \
                 or txnlog=FOLDER,FOLDER with its dataLogDir and its dataDir"
            )),
        }
    }
}

/// Splits `name=` off. A `=` within the chroot is part of the chroot.
fn split_name(text: &str) -> (Option<&str>, &str) {
    let chroot = text.find('/').unwrap_or(text.len());
    match text.find('=') {
        Some(at) if at < chroot => (text.get(..at), text.get(at + 1..).unwrap_or("")),
        _ => (None, text),
    }
}

pub(super) fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_lowercase())
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-'))
}

/// `host[:port]` or `[ipv6][:port]`, with the port added where it is missing.
fn parse_server(text: &str) -> Option<String> {
    let (host, port) = if text.starts_with('[') {
        let close = text.find(']')?;
        let (host, rest) = text.split_at(close + 1);
        let address: std::net::Ipv6Addr = host.get(1..close)?.parse().ok()?;
        (format!("[{address}]"), if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
    } else {
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        };
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        if host.is_empty() || !host.bytes().all(is_host) {
            return None;
        }
        (host.to_ascii_lowercase(), port)
    };
    let port = match port {
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            port.parse::<u16>().ok().filter(|port| *port > 0)?
        }
        Some(_) => return None,
        None => PORT,
    };
    Some(format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specs() {
        let spec =
            |text: &str| text.parse::<EnsembleSpec>().map(|spec| (spec.name, spec.servers.join(","), spec.scope));
        let ok = |name: &str, servers: &str, scope: &str| Ok((name.to_owned(), servers.to_owned(), scope.to_owned()));
        assert_eq!(spec("prod=10.0.0.1:2181,10.0.0.2"), ok("prod", "10.0.0.1:2181,10.0.0.2:2181", "/"));
        assert_eq!(spec("zk.example"), ok("default", "zk.example:2181", "/"));
        assert_eq!(spec("a-1_b=h:1,i:2/kafka/x=y"), ok("a-1_b", "h:1,i:2", "/kafka/x=y"));
        assert_eq!(spec("h:1/a=b"), ok("default", "h:1", "/a=b"));
        assert_eq!(spec("v6=[::1]:9,[fe80::2]/c"), ok("v6", "[::1]:9,[fe80::2]:2181", "/c"));
        assert_eq!(spec("h:1/"), ok("default", "h:1", "/"));
    }

    #[test]
    fn refusals() {
        let spec = |text: &str| text.parse::<EnsembleSpec>().expect_err(text);
        assert_eq!(spec("Prod=h"), EnsembleError::Name("Prod".into()));
        assert_eq!(spec("=h"), EnsembleError::Name(String::new()));
        assert_eq!(spec("1a=h"), EnsembleError::Name("1a".into()));
        assert_eq!(spec("a="), EnsembleError::NoServer);
        assert_eq!(spec("/x"), EnsembleError::NoServer);
        assert_eq!(spec("h,H:2181"), EnsembleError::ServerTwice("h:2181".into()));
        for bad in ["h:0", "h:x", "h:70000", "::1", "[::1", "[::1]x", "[zz]:1", "u@h", "h h", "h:+1"] {
            assert!(matches!(spec(bad), EnsembleError::Server(_)), "{bad}");
        }
        assert!(matches!(spec("h//a"), EnsembleError::Chroot(_)));
        assert!(matches!(spec("h/a/"), EnsembleError::Chroot(_)));
    }

    #[test]
    fn scoped_values() {
        let scoped =
            |text: &str| text.parse::<Scoped<HumanDuration>>().map(|scoped| (scoped.name, scoped.value.to_string()));
        assert_eq!(scoped("30s"), Ok((None, "30s".into())));
        assert_eq!(scoped("prod=30s"), Ok((Some("prod".into()), "30s".into())));
        assert!(scoped("prod=").is_err());
        let path = "/etc/a=b".parse::<Scoped<String>>();
        assert_eq!(path, Ok(Scoped { name: None, value: "/etc/a=b".into() }));
    }
}
