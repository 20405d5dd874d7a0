//! The certificate of the doors.
//!
//! A certificate is judged before anything is served with it: both files can be read, the key is the certificate's,
//! and today lies within its validity. One that is bad ends the agent's start; at a reload the old one stays. A door
//! that has a certificate never falls back to plain text by itself.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use chrono::{DateTime, TimeDelta, Utc};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{self, ServerConfig};
use x509_certificate::X509Certificate;

/// How long before its end a certificate is worth a warning.
pub const WARN_BEFORE: TimeDelta = TimeDelta::days(30);

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{}: {source:?}: it should be PEM", path.display())]
    Pem { path: PathBuf, source: pem::Error },
    #[error("{} holds no certificate: it should be PEM, the server's own certificate first", path.display())]
    NoCertificate { path: PathBuf },
    #[error("{} holds no private key (PKCS#8, PKCS#1 or SEC1 in PEM, not encrypted)", path.display())]
    NoKey { path: PathBuf },
    #[error("{} holds something that is no X.509 certificate: {reason}", path.display())]
    Certificate { path: PathBuf, reason: String },
    #[error("the certificate {} expired on {}: give a newer one", path.display(), not_after.format("%F %T UTC"))]
    Expired { path: PathBuf, not_after: DateTime<Utc> },
    #[error(
        "the certificate {} is valid only from {}: is the clock right?",
        path.display(), not_before.format("%F %T UTC")
    )]
    NotYetValid { path: PathBuf, not_before: DateTime<Utc> },
    #[error("the key {} is not that of the certificate {}", key.display(), certificate.display())]
    Mismatch { certificate: PathBuf, key: PathBuf },
    #[error("the certificate {} and the key {}: {source}", certificate.display(), key.display())]
    Pair { certificate: PathBuf, key: PathBuf, source: rustls::Error },
}

/// A certificate with its key, ready to serve. Cheap to clone; the clones see a reload.
#[derive(Clone)]
pub struct Tls {
    files: Arc<Files>,
    loaded: Arc<RwLock<Arc<Loaded>>>,
}

struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

/// One certificate with its key, which stays what it is.
struct Loaded {
    config: Arc<ServerConfig>,
    certificate: CertificateDer<'static>,
    not_after: DateTime<Utc>,
}

impl Tls {
    /// Reads both files and judges them.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let files = Files { certificate: certificate.to_owned(), key: key.to_owned() };
        let loaded = files.load(Utc::now())?;
        Ok(Self { files: Arc::new(files), loaded: Arc::new(RwLock::new(Arc::new(loaded))) })
    }

    /// Reads both files again, for the connections from now on. On an error everything stays as it was.
    pub fn reload(&self) -> Result<(), TlsError> {
        let loaded = self.files.load(Utc::now())?;
        *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(loaded);
        Ok(())
    }

    fn now(&self) -> Arc<Loaded> {
        self.loaded.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Accepts connections with the certificate as it is now.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.now().config.clone())
    }

    /// As [`Tls::acceptor`], with the certificate that it shows and the one application protocol (ALPN) that it speaks.
    pub fn acceptor_for(&self, protocol: &[u8]) -> (TlsAcceptor, CertificateDer<'static>) {
        let now = self.now();
        let mut config = now.config.as_ref().clone();
        config.alpn_protocols = vec![protocol.to_vec()];
        (TlsAcceptor::from(Arc::new(config)), now.certificate.clone())
    }

    /// The server's own certificate, which SCRAM binds a channel to (RFC 5929, `tls-server-end-point`).
    pub fn certificate(&self) -> CertificateDer<'static> {
        self.now().certificate.clone()
    }

    /// The file of the certificate.
    pub fn path(&self) -> &Path {
        &self.files.certificate
    }

    /// The end of the certificate's validity.
    pub fn not_after(&self) -> DateTime<Utc> {
        self.now().not_after
    }

    /// A warning where the certificate ends soon, or has ended.
    pub fn warning(&self, now: DateTime<Utc>) -> Option<String> {
        let not_after = self.not_after();
        let left = not_after - now;
        let (path, end) = (self.path().display(), not_after.format("%F %T UTC"));
        match left {
            _ if left <= TimeDelta::zero() => Some(format!(
                "the certificate {path} expired on {end}: clients refuse it; put a newer one there and send SIGHUP"
            )),
            _ if left < WARN_BEFORE => Some(format!(
                "the certificate {path} expires in {} days, on {end}: put a newer one there and send SIGHUP",
                left.num_days()
            )),
            _ => None,
        }
    }
}

impl Files {
    fn load(&self, now: DateTime<Utc>) -> Result<Loaded, TlsError> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&self.certificate)
            .and_then(Iterator::collect)
            .map_err(|error| pem_error(&self.certificate, error))?;
        let no_certificate = || TlsError::NoCertificate { path: self.certificate.clone() };
        let certificate = chain.first().cloned().ok_or_else(no_certificate)?;
        let not_after = self.judge(&certificate, now)?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| match error {
            pem::Error::NoItemsFound => TlsError::NoKey { path: self.key.clone() },
            other => pem_error(&self.key, other),
        })?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key));
        let (certificate_path, key_path) = (self.certificate.clone(), self.key.clone());
        let config = config.map_err(|source| match source {
            rustls::Error::InconsistentKeys(_) => TlsError::Mismatch { certificate: certificate_path, key: key_path },
            source => TlsError::Pair { certificate: certificate_path, key: key_path, source },
        })?;
        Ok(Loaded { config: Arc::new(config), certificate, not_after })
    }

    /// Gives the end of the certificate's validity, if `now` lies within it.
    fn judge(&self, certificate: &CertificateDer<'_>, now: DateTime<Utc>) -> Result<DateTime<Utc>, TlsError> {
        let path = || self.certificate.clone();
        let parsed = X509Certificate::from_der(certificate)
            .map_err(|error| TlsError::Certificate { path: path(), reason: error.to_string() })?;
        let validity = &parsed.as_ref().tbs_certificate.validity;
        let (not_before, not_after) =
            (DateTime::from(validity.not_before.clone()), DateTime::from(validity.not_after.clone()));
        if now < not_before {
            return Err(TlsError::NotYetValid { path: path(), not_before });
        }
        if now > not_after {
            return Err(TlsError::Expired { path: path(), not_after });
        }
        Ok(not_after)
    }
}

fn pem_error(path: &Path, error: pem::Error) -> TlsError {
    let path = path.to_owned();
    match error {
        pem::Error::Io(source) => TlsError::Read { path, source },
        source => TlsError::Pem { path, source },
    }
}

#[cfg(test)]
mod tests;
