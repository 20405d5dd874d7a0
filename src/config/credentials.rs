//! TLS and SASL of an ensemble: which files and names belong together. The files are read by whoever connects.

use std::path::PathBuf;

use super::resolve::{exactly, pick};
use super::{AgentFlags, ConfigError, Environment, Scoped, Secret, TlsFiles, text};

/// How connections to an ensemble are secured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnsembleTls {
    pub ca: PathBuf,
    /// What is shown to servers that want a certificate.
    pub identity: Option<TlsFiles>,
    /// Whether a server's certificate has to name the host that was asked for.
    pub check_names: bool,
}

/// Who we are to an ensemble by SASL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnsembleSasl {
    DigestMd5 {
        user: String,
        password: SaslPassword,
    },
    /// The servers' principal is `service/host`; without a host, the one in the list of servers.
    Gssapi {
        service: String,
        host: Option<String>,
    },
}

/// Where the password of SASL is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SaslPassword {
    /// In the first line of this file.
    File(PathBuf),
    /// It was in this variable.
    Variable { name: String, text: Secret },
}

text::choices! {
    /// A mechanism of SASL, or none.
    SaslMechanism { DigestMd5 => "digest-md5", Gssapi => "gssapi", Off => "off" }
}

/// The name of the service in the principals of ZooKeeper's servers.
const SASL_SERVICE: &str = "zookeeper";

/// TLS is on where an authority is given, unless `zk_tls` says otherwise.
pub(super) fn tls(name: &str, levels: &[AgentFlags; 3]) -> Result<Option<EnsembleTls>, ConfigError> {
    let ensemble = || name.to_owned();
    let path = |list: fn(&AgentFlags) -> &Vec<Scoped<String>>| pick(levels, name, list).map(PathBuf::from);
    let (ca, certificate, key) = (path(|l| &l.zk_ca), path(|l| &l.zk_cert), path(|l| &l.zk_key));
    let check_names = pick(levels, name, |l| &l.zk_hostname_check);
    match (pick(levels, name, |l| &l.zk_tls), &ca) {
        (Some(false), _) => return Ok(None),
        (None, None) if certificate.is_none() && key.is_none() && check_names.is_none() => return Ok(None),
        _ => {}
    }
    let Some(ca) = ca else { return Err(ConfigError::NoAuthority { ensemble: ensemble() }) };
    let identity = match (certificate, key) {
        (None, None) => None,
        (Some(certificate), Some(key)) => Some(TlsFiles { certificate, key }),
        (certificate, _) => {
            let (given, missing) = if certificate.is_some() { ("zk_cert", "zk_key") } else { ("zk_key", "zk_cert") };
            return Err(ConfigError::HalfIdentity { ensemble: ensemble(), given, missing });
        }
    };
    Ok(Some(EnsembleTls { ca, identity, check_names: check_names.unwrap_or(true) }))
}

/// DIGEST-MD5 where a user is given, unless `sasl` says otherwise.
pub(super) fn sasl(
    name: &str,
    levels: &[AgentFlags; 3],
    environment: &Environment,
) -> Result<Option<EnsembleSasl>, ConfigError> {
    let ensemble = || name.to_owned();
    let user = pick(levels, name, |l| &l.sasl_user);
    let mechanism = pick(levels, name, |l| &l.sasl);
    let service = pick(levels, name, |l| &l.sasl_service);
    let half = |given, missing| Err(ConfigError::HalfSasl { ensemble: ensemble(), given, missing });
    let password = match mechanism {
        Some(SaslMechanism::Off) => return Ok(None),
        Some(SaslMechanism::Gssapi) => {
            let principal = service.unwrap_or_else(|| SASL_SERVICE.to_owned());
            let (service, host) = match principal.split_once('/') {
                Some((service, host)) => (service.to_owned(), Some(host.to_owned())),
                None => (principal, None),
            };
            if service.is_empty() || host.as_deref() == Some("") {
                return Err(ConfigError::SaslService { ensemble: ensemble() });
            }
            return Ok(Some(EnsembleSasl::Gssapi { service, host }));
        }
        Some(SaslMechanism::DigestMd5) | None => password(name, levels, environment)?,
    };
    match (user, password) {
        (Some(user), Some(password)) => Ok(Some(EnsembleSasl::DigestMd5 { user, password })),
        (None, None) if mechanism.is_none() && service.is_none() => Ok(None),
        (None, None) if mechanism.is_none() => half("sasl_service", "sasl = \"gssapi\""),
        (Some(_), None) => half("sasl_user", "its password (sasl_password_file or sasl_password_env)"),
        (None, Some(_)) => half("a SASL password", "sasl_user"),
        (None, None) => half("sasl = \"digest-md5\"", "sasl_user and its password"),
    }
}

/// From the highest level that names a file or a variable for this ensemble.
fn password(
    name: &str,
    levels: &[AgentFlags; 3],
    environment: &Environment,
) -> Result<Option<SaslPassword>, ConfigError> {
    let ensemble = || name.to_owned();
    let mut sources = levels.iter().flat_map(|level| {
        [Some(name), None]
            .map(|name| (exactly(&level.sasl_password_file, name), exactly(&level.sasl_password_env, name)))
    });
    match sources.find(|(file, variable)| file.is_some() || variable.is_some()) {
        None => Ok(None),
        Some((Some(_), Some(_))) => Err(ConfigError::TwoPasswords { ensemble: ensemble() }),
        Some((Some(file), None)) => Ok(Some(SaslPassword::File(file.into()))),
        Some((None, variable)) => {
            let variable = variable.unwrap_or_default();
            match environment.get(&variable) {
                Some(text) => Ok(Some(SaslPassword::Variable { name: variable, text: Secret::new(text.to_owned()) })),
                None => Err(ConfigError::NoPasswordVariable { ensemble: ensemble(), variable }),
            }
        }
    }
}
