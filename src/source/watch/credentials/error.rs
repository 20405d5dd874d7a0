use std::path::PathBuf;

use chrono::{DateTime, Utc};
use tokio_rustls::rustls;

/// Why credentials cannot be used: what is wrong, with which file, and what to do. Never holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    #[error("cannot read {key} {}: {source}", path.display())]
    Read { key: &'static str, path: PathBuf, source: std::io::Error },
    #[error("{key} {} is no sound PEM: {reason}", path.display())]
    Pem { key: &'static str, path: PathBuf, reason: &'static str },
    #[error(
        "{key} {} holds no certificate: it should be PEM (a Java keystore becomes PEM with keytool -exportcert -rfc, or \
         openssl pkcs12)",
        path.display()
    )]
    NoCertificate { key: &'static str, path: PathBuf },
    #[error("zk_ca {}: {reason}", path.display())]
    Authority { path: PathBuf, reason: String },
    #[error("zk_cert {} holds something that is no X.509 certificate: {reason}", path.display())]
    Certificate { path: PathBuf, reason: String },
    #[error("zk_key {} holds no private key (PKCS#8, PKCS#1 or SEC1 in PEM, not encrypted)", path.display())]
    NoKey { path: PathBuf },
    #[error(
        "{key} {} may be read by everybody (mode {mode:03o}): chmod o-rwx, so that only the agent's user and group may",
        path.display()
    )]
    Mode { key: &'static str, path: PathBuf, mode: u32 },
    #[error(
        "the client certificate zk_cert {} expired on {}: give a newer one",
        path.display(), not_after.format("%F %T UTC")
    )]
    Expired { path: PathBuf, not_after: DateTime<Utc> },
    #[error(
        "the client certificate zk_cert {} is valid only from {}: is the clock right?",
        path.display(), not_before.format("%F %T UTC")
    )]
    NotYetValid { path: PathBuf, not_before: DateTime<Utc> },
    #[error("zk_key {} is not the key of the certificate zk_cert {}", key.display(), certificate.display())]
    Mismatch { certificate: PathBuf, key: PathBuf },
    #[error("zk_cert {} with zk_key {}: {source}", certificate.display(), key.display())]
    Pair { certificate: PathBuf, key: PathBuf, source: rustls::Error },
    #[error(
        "TLS to {server:?} is not possible: {host:?} is neither a host name nor an address that a certificate may name"
    )]
    ServerName { server: String, host: String },
    #[error("sasl_user {user:?}: {reason}")]
    User { user: String, reason: &'static str },
    #[error("sasl_password of {origin}: {reason}")]
    Password { origin: String, reason: &'static str },
    #[error(
        "sasl = \"gssapi\" needs a zktrail that is built with Kerberos: install libkrb5-dev and libclang-dev, then cargo \
         install --locked --path . --features gssapi"
    )]
    NoGssapi,
    /// What we found good the client crate finds bad.
    #[error("the ZooKeeper client cannot use these certificates: {0}")]
    Client(#[from] zookeeper_client::Error),
}
