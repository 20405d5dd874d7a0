//! SASL: a user and a password (DIGEST-MD5), or a Kerberos ticket (GSSAPI).

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use zookeeper_client as zkc;

use super::{CredentialsError, secret_file};

/// How we say who we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SaslConfig {
    DigestMd5 {
        user: String,
        password: Password,
    },
    /// The servers' principal is `service/host`; without a host, the one of the list of servers.
    Gssapi {
        service: String,
        host: Option<String>,
    },
}

/// Where a password is from.
#[derive(Clone, PartialEq, Eq)]
pub enum Password {
    /// The first line of a file, which a reload reads again.
    File(PathBuf),
    /// From an environment variable of this name.
    Given { origin: String, text: String },
}

/// Never shows the password.
impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Given { origin, .. } => f.debug_struct("Given").field("origin", origin).finish_non_exhaustive(),
        }
    }
}

/// A judged [`SaslConfig`]. Cheap to clone; the clones see a new password.
#[derive(Clone)]
pub struct Sasl {
    config: Arc<SaslConfig>,
    /// Empty where none is needed.
    password: Arc<RwLock<Arc<str>>>,
}

impl Sasl {
    pub(super) fn load(config: &SaslConfig) -> Result<Self, CredentialsError> {
        let password = read(config)?;
        Ok(Self { config: Arc::new(config.clone()), password: Arc::new(RwLock::new(password)) })
    }

    /// Reads and judges the password again; nothing is changed.
    pub(super) fn read(&self) -> Result<Arc<str>, CredentialsError> {
        read(&self.config)
    }

    pub(super) fn put(&self, password: Arc<str>) {
        *self.password.write().unwrap_or_else(PoisonError::into_inner) = password;
    }

    /// For the client crate, as it is now.
    pub(super) fn options(&self) -> zkc::SaslOptions {
        match &*self.config {
            SaslConfig::DigestMd5 { user, .. } => {
                let password = self.password.read().unwrap_or_else(PoisonError::into_inner).clone();
                zkc::SaslOptions::digest_md5(user.clone(), password.to_string()).into()
            }
            #[cfg(feature = "gssapi")]
            SaslConfig::Gssapi { service, host } => {
                let options = zkc::SaslOptions::gssapi().with_username(service.clone());
                match host {
                    Some(host) => options.with_hostname(host.clone()).into(),
                    None => options.into(),
                }
            }
            // Refused when it was loaded: there is nothing to send.
            #[cfg(not(feature = "gssapi"))]
            SaslConfig::Gssapi { .. } => zkc::SaslOptions::digest_md5("", "").into(),
        }
    }

    /// Whom we say that we are, for people.
    pub(in super::super) fn who(&self) -> String {
        match &*self.config {
            SaslConfig::DigestMd5 { user, .. } => format!("the user {user} (SASL DIGEST-MD5)"),
            SaslConfig::Gssapi { .. } => "the principal of the Kerberos ticket (SASL GSSAPI)".to_owned(),
        }
    }

    /// Whether a server that knows SASL answers an empty token with a challenge: so it begins with DIGEST-MD5 alone.
    pub(in super::super) fn is_challenged(&self) -> bool {
        matches!(&*self.config, SaslConfig::DigestMd5 { .. })
    }

    /// What to look at where a session does not come although servers answer: the client crate keeps it for itself.
    pub(in super::super) fn suspicion(&self) -> String {
        match &*self.config {
            SaslConfig::DigestMd5 { .. } => String::new(),
            SaslConfig::Gssapi { service, host } => {
                let host = host.as_deref().unwrap_or("HOST");
                format!(" Or is there no Kerberos ticket (klist), or no principal {service}/{host} (sasl_service)?")
            }
        }
    }

    /// What it means where a server asks for no proof.
    pub(in super::super) fn is_nobody(&self) -> String {
        format!(
            "the server asks {} for no proof, so it takes us for nobody: it has no SASL (a Server section in its JAAS \
             file, and authProvider in its configuration)",
            self.who()
        )
    }

    /// What to do where a server refuses us.
    pub(in super::super) fn refused(&self) -> String {
        match &*self.config {
            SaslConfig::DigestMd5 { user, password } => {
                let origin = match password {
                    Password::File(path) => path.display().to_string(),
                    Password::Given { origin, .. } => origin.clone(),
                };
                format!(
                    "the server refuses the SASL user {user:?} (DIGEST-MD5): check sasl_user and the password in {origin} \
                     against the server's JAAS file"
                )
            }
            SaslConfig::Gssapi { service, .. } => format!(
                "the server refuses the Kerberos ticket (SASL GSSAPI): is there one (klist), and is {service}/HOST the \
                 servers' principal (sasl_service)?"
            ),
        }
    }
}

fn read(config: &SaslConfig) -> Result<Arc<str>, CredentialsError> {
    match config {
        SaslConfig::DigestMd5 { user, password } => {
            judge_user(user)?;
            match password {
                Password::File(path) => read_password(path),
                Password::Given { origin, text } => judge_password(origin, text),
            }
        }
        SaslConfig::Gssapi { .. } if cfg!(feature = "gssapi") => Ok("".into()),
        SaslConfig::Gssapi { .. } => Err(CredentialsError::NoGssapi),
    }
}

/// The user stands between quotes in what is sent, and servers hash Latin letters otherwise than the client crate does.
fn judge_user(user: &str) -> Result<(), CredentialsError> {
    let reason = match user {
        "" => "it is empty",
        user if !user.bytes().all(|byte| (b' '..=b'~').contains(&byte)) => {
            "DIGEST-MD5 is only certain with ASCII: choose a user without other characters"
        }
        user if user.contains(['"', '\\']) => "it may hold neither a quotation mark nor a backslash",
        _ => return Ok(()),
    };
    Err(CredentialsError::User { user: user.to_owned(), reason })
}

fn read_password(path: &Path) -> Result<Arc<str>, CredentialsError> {
    let bytes = secret_file::read_secret("sasl_password_file", path)?;
    let text = String::from_utf8_lossy(&bytes);
    judge_password(&path.display().to_string(), text.lines().next().unwrap_or_default())
}

fn judge_password(origin: &str, text: &str) -> Result<Arc<str>, CredentialsError> {
    let reason = match text {
        "" => "it is empty: the password belongs into the first line",
        text if !text.is_ascii() => "DIGEST-MD5 is only certain with ASCII: choose a password without other characters",
        _ => return Ok(text.into()),
    };
    Err(CredentialsError::Password { origin: origin.to_owned(), reason })
}
