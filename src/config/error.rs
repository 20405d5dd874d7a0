use std::path::PathBuf;

/// What is wrong with the configuration, where, and what to do. Never holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read the config file {path}: {source}", path = path.display())]
    ReadFile { path: PathBuf, source: std::io::Error },
    #[error("{path} line {line}, key {key:?}: {reason}", path = path.display())]
    File { path: PathBuf, line: usize, key: String, reason: String },
    #[error("environment variable {name}: {reason}")]
    Variable { name: String, reason: String },
    #[error("no ensemble to watch: give --ensemble prod=10.0.0.1:2181 or an [[ensemble]] in the config file")]
    NoEnsemble,
    #[error("the ensemble name {0:?} is given twice: names tell histories apart, choose another for one of them")]
    EnsembleTwice(String),
    #[error("{key} names the ensemble {name:?}, which is not configured (there are: {known})")]
    UnknownEnsemble { key: &'static str, name: String, known: String },
    #[error("ensemble {ensemble:?}: auth_file and auth_env are both given: choose one")]
    TwoAuths { ensemble: String },
    #[error("ensemble {ensemble:?}: cannot read the auth_file {path}: {source}", path = path.display())]
    ReadAuth { ensemble: String, path: PathBuf, source: std::io::Error },
    #[error("ensemble {ensemble:?}: the environment variable {variable}, named by auth_env, is not set")]
    NoAuthVariable { ensemble: String, variable: String },
    #[error("ensemble {ensemble:?}: line {line} of {origin} is not scheme:credential, for example digest:bob:password")]
    BadAuth { ensemble: String, origin: String, line: usize },
    #[error(
        "ensemble {ensemble:?}: TLS is wanted, but zk_ca is not given: name the PEM file of the authority that signs the \
         servers' certificates"
    )]
    NoAuthority { ensemble: String },
    #[error(
        "ensemble {ensemble:?}: {given} is given without {missing}: a client certificate needs its private key, and a key \
         its certificate"
    )]
    HalfIdentity { ensemble: String, given: &'static str, missing: &'static str },
    #[error("ensemble {ensemble:?}: {given} is given without {missing}")]
    HalfSasl { ensemble: String, given: &'static str, missing: &'static str },
    #[error("ensemble {ensemble:?}: sasl_password_file and sasl_password_env are both given: choose one")]
    TwoPasswords { ensemble: String },
    #[error("ensemble {ensemble:?}: the environment variable {variable}, named by sasl_password_env, is not set")]
    NoPasswordVariable { ensemble: String, variable: String },
    #[error(
        "ensemble {ensemble:?}: sasl_service is no principal: write SERVICE or SERVICE/HOST, for example zookeeper"
    )]
    SaslService { ensemble: String },
    #[error(
        "ensemble {ensemble:?}: metrics_url: {reason}. Write http://HOST:PORT/metrics for each server, or http://{{host}}:7000"
    )]
    MetricsUrl { ensemble: String, reason: String },
    #[error(
        "ensemble {ensemble:?}: admin_url: {reason}. Write http://HOST:PORT for each server, or http://{{host}}:8080"
    )]
    AdminUrl { ensemble: String, reason: String },
    #[error("{key} is {value}, but must be {bounds}")]
    OutOfBounds { key: &'static str, value: String, bounds: &'static str },
    #[error("{given} is given without {missing}: TLS needs a certificate and its private key")]
    HalfTls { given: &'static str, missing: &'static str },
    #[error("{key} {path:?}: {reason}")]
    Subtree { key: &'static str, path: String, reason: String },
    #[error(
        "{count} paths are listed by {key}, but subtree_max is {max}: list fewer, or raise it (each costs {series} a cluster)"
    )]
    TooManySubtrees { key: &'static str, count: usize, max: usize, series: &'static str },
    #[error("values: {0}")]
    Values(#[from] crate::lens::GlobError),
}
