//! The files of TLS: one configuration for our own connections, the same for the client crate's.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use chrono::{DateTime, Utc};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::client::{Resumption, WebPkiServerVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};
use x509_certificate::X509Certificate;
use zookeeper_client as zkc;

use super::names::AnyName;
use super::secret_file::{read_public, read_secret};
use super::{CredentialsError, TlsConfig, TlsIdentity};

/// Settles which cryptography rustls uses where nobody says it: the client crate does not, and among two that are
/// compiled in rustls would refuse to choose, by a panic. To be called before the first connection; again does no harm.
pub fn settle_provider() {
    // Somebody was quicker: then it is settled, too.
    let _ = ring::default_provider().install_default();
}

/// Judged files. Cheap to clone; the clones see a reload.
#[derive(Clone)]
pub struct Tls {
    files: Arc<TlsConfig>,
    /// What the client crate looks at before each connection.
    certs: zkc::TlsDynamicCerts,
    loaded: Arc<RwLock<Arc<Loaded>>>,
}

struct Loaded {
    config: Arc<ClientConfig>,
    identity: Option<Identity>,
}

/// What our certificate says.
#[derive(Clone, Debug)]
struct Identity {
    subject: String,
    not_after: DateTime<Utc>,
}

impl Tls {
    pub(super) fn load(files: &TlsConfig, now: DateTime<Utc>) -> Result<Self, CredentialsError> {
        settle_provider();
        let (loaded, certs) = load(files, now)?;
        Ok(Self {
            files: Arc::new(files.clone()),
            certs: zkc::TlsDynamicCerts::new(certs),
            loaded: Arc::new(RwLock::new(Arc::new(loaded))),
        })
    }

    pub(super) fn reload(&self, now: DateTime<Utc>) -> Result<(), CredentialsError> {
        let (loaded, certs) = load(&self.files, now)?;
        *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(loaded);
        self.certs.update(certs);
        Ok(())
    }

    fn now(&self) -> Arc<Loaded> {
        self.loaded.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// For our own connections. They resume no TLS session: a resumed one would not show the server's certificate.
    pub(in super::super) fn config(&self) -> Arc<ClientConfig> {
        self.now().config.clone()
    }

    /// For the client crate's connections; it sees a reload by itself.
    pub(super) fn options(&self) -> zkc::TlsOptions {
        let options = zkc::TlsOptions::new().with_certs(self.certs.clone());
        if self.files.check_names {
            return options;
        }
        #[allow(unsafe_code, reason = "marked so because it gives up a check: only where the operator says so")]
        unsafe {
            options.with_no_hostname_verification()
        }
    }

    pub(in super::super) fn ca(&self) -> &Path {
        &self.files.ca
    }

    pub(in super::super) fn checks_names(&self) -> bool {
        self.files.check_names
    }

    /// The file of our certificate.
    pub(in super::super) fn certificate(&self) -> Option<&Path> {
        self.files.identity.as_ref().map(|identity| identity.certificate.as_path())
    }

    /// Whom our certificate names.
    pub(in super::super) fn subject(&self) -> Option<String> {
        self.now().identity.as_ref().map(|identity| identity.subject.clone())
    }

    pub(in super::super) fn not_after(&self) -> Option<DateTime<Utc>> {
        self.now().identity.as_ref().map(|identity| identity.not_after)
    }
}

/// Whom a server's certificate has to name: the host of `host:port`.
///
/// # Errors
/// [`CredentialsError::ServerName`] where no certificate can name it.
pub(in super::super) fn server_name(server: &str) -> Result<ServerName<'static>, CredentialsError> {
    let host = server.rsplit_once(':').map_or(server, |(host, _)| host);
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    ServerName::try_from(host.to_owned())
        .map_err(|_| CredentialsError::ServerName { server: server.to_owned(), host: host.to_owned() })
}

/// Reads every file once, so that both configurations are of the same bytes.
fn load(files: &TlsConfig, now: DateTime<Utc>) -> Result<(Loaded, zkc::TlsCerts), CredentialsError> {
    let provider = Arc::new(ring::default_provider());
    let ca = read_public("zk_ca", &files.ca)?;
    let verifier = verifier(&files.ca, &ca, &provider)?;
    let certs = zkc::TlsCerts::builder().with_ca(zkc::TlsCa::from_pem(&String::from_utf8_lossy(&ca))?);
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder
        .map_err(|error| CredentialsError::Authority { path: files.ca.clone(), reason: error.to_string() })?
        .dangerous();
    let builder = if files.check_names {
        builder.with_custom_certificate_verifier(verifier)
    } else {
        builder.with_custom_certificate_verifier(Arc::new(AnyName(verifier)))
    };
    let (mut config, certs, identity) = match &files.identity {
        None => (builder.with_no_client_auth(), certs, None),
        Some(paths) => {
            let chain_pem = read_public("zk_cert", &paths.certificate)?;
            let key_pem = read_secret("zk_key", &paths.key)?;
            let (chain, identity) = chain(&paths.certificate, &chain_pem, now)?;
            let key = key(&paths.key, &key_pem)?;
            let config = builder.with_client_auth_cert(chain, key).map_err(|source| pair_error(paths, source))?;
            let (chain_pem, key_pem) = (String::from_utf8_lossy(&chain_pem), String::from_utf8_lossy(&key_pem));
            (config, certs.with_identity(zkc::TlsIdentity::from_pem(&chain_pem, &key_pem)?), Some(identity))
        }
    };
    config.resumption = Resumption::disabled();
    Ok((Loaded { config: Arc::new(config), identity }, certs.build()?))
}

/// Checks chain, validity and name by the authorities of this file, and its revocation lists if it has any.
fn verifier(
    path: &Path,
    bytes: &[u8],
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, CredentialsError> {
    let wrong = |reason: String| CredentialsError::Authority { path: path.to_owned(), reason };
    let (mut roots, mut unusable) = (RootCertStore::empty(), None);
    for certificate in CertificateDer::pem_slice_iter(bytes) {
        let certificate = certificate.map_err(|error| pem_error("zk_ca", path, error))?;
        // Among all the world's authorities a few may be too old to be understood.
        unusable = roots.add(certificate).err().or(unusable);
    }
    match unusable {
        Some(error) if roots.is_empty() => return Err(wrong(format!("no authority in it can be used: {error}"))),
        _ if roots.is_empty() => return Err(CredentialsError::NoCertificate { key: "zk_ca", path: path.to_owned() }),
        _ => {}
    }
    let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(bytes).collect();
    let lists = lists.map_err(|error| pem_error("zk_ca", path, error))?;
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .with_crls(lists)
        .build()
        .map_err(|error| wrong(error.to_string()))
}

/// Our certificate and those that lead to an authority; the first is judged.
fn chain(
    path: &Path,
    bytes: &[u8],
    now: DateTime<Utc>,
) -> Result<(Vec<CertificateDer<'static>>, Identity), CredentialsError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    let chain = chain.map_err(|error| pem_error("zk_cert", path, error))?;
    let path = || path.to_owned();
    let first = chain.first().ok_or_else(|| CredentialsError::NoCertificate { key: "zk_cert", path: path() })?;
    let first = X509Certificate::from_der(first)
        .map_err(|error| CredentialsError::Certificate { path: path(), reason: error.to_string() })?;
    let (not_before, not_after) = (first.validity_not_before(), first.validity_not_after());
    if now < not_before {
        return Err(CredentialsError::NotYetValid { path: path(), not_before });
    }
    if now > not_after {
        return Err(CredentialsError::Expired { path: path(), not_after });
    }
    let subject = first.subject_name().user_friendly_str().unwrap_or_else(|_| "a name that is no text".to_owned());
    Ok((chain, Identity { subject, not_after }))
}

fn key(path: &Path, bytes: &[u8]) -> Result<PrivateKeyDer<'static>, CredentialsError> {
    PrivateKeyDer::from_pem_slice(bytes).map_err(|error| match error {
        pem::Error::NoItemsFound => CredentialsError::NoKey { path: path.to_owned() },
        error => pem_error("zk_key", path, error),
    })
}

fn pem_error(key: &'static str, path: &Path, error: pem::Error) -> CredentialsError {
    let path = path.to_owned();
    let reason = match error {
        pem::Error::Io(source) => return CredentialsError::Read { key, path, source },
        pem::Error::MissingSectionEnd { .. } => "a section has no end",
        pem::Error::IllegalSectionStart { .. } => "a section begins with no -----BEGIN …-----",
        pem::Error::SectionTooLarge => "a section is too large",
        _ => "a section holds something that is no base64",
    };
    CredentialsError::Pem { key, path, reason }
}

fn pair_error(paths: &TlsIdentity, source: rustls::Error) -> CredentialsError {
    let (certificate, key) = (paths.certificate.clone(), paths.key.clone());
    match source {
        rustls::Error::InconsistentKeys(_) => CredentialsError::Mismatch { certificate, key },
        source => CredentialsError::Pair { certificate, key, source },
    }
}
