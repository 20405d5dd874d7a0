//! What proves to an ensemble who we are, and to us that it is that ensemble: TLS and SASL.
//!
//! Every file is read and judged before it is used: at the start, where one that is bad is an error, and at a reload,
//! where the old ones stay. A reload holds for the connections from then on. The one that stands is left alone: TLS
//! asks for certificates at its beginning only, and a reconnect would be a gap for nothing.

mod error;
mod names;
mod sasl;
mod secret_file;
mod tls;

use std::path::PathBuf;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::watch;
use zookeeper_client as zkc;

pub use self::error::CredentialsError;
use self::sasl::Sasl;
pub use self::sasl::{Password, SaslConfig};
pub use self::tls::settle_provider;
pub(super) use self::tls::{Tls, server_name};

/// How long before its end a client certificate is worth a warning.
const WARN_BEFORE: TimeDelta = TimeDelta::days(30);

/// What the operator gives for one ensemble.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CredentialsConfig {
    pub tls: Option<TlsConfig>,
    pub sasl: Option<SaslConfig>,
}

/// How connections are secured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// PEM: who may sign the servers' certificates; revocation lists in it count.
    pub ca: PathBuf,
    /// Our certificate and its private key, where servers want one.
    pub identity: Option<TlsIdentity>,
    /// Whether a server's certificate has to name the host that was asked for.
    pub check_names: bool,
}

/// A certificate and its private key, PEM both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsIdentity {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// The credentials of one ensemble, judged. Cheap to clone; the clones see a reload. The default has none.
#[derive(Clone)]
pub struct Credentials {
    tls: Option<Tls>,
    sasl: Option<Sasl>,
    /// Rises with every reload that changed something.
    reloads: watch::Sender<u64>,
}

impl Default for Credentials {
    fn default() -> Self {
        Self { tls: None, sasl: None, reloads: watch::Sender::new(0) }
    }
}

impl Credentials {
    /// Reads and judges everything, for these servers (`host:port` each).
    ///
    /// # Errors
    /// Names the file or the server, and says what to do.
    pub fn load(config: &CredentialsConfig, servers: &[String]) -> Result<Self, CredentialsError> {
        let tls = config.tls.as_ref().map(|tls| Tls::load(tls, Utc::now())).transpose()?;
        if tls.is_some() {
            for server in servers {
                server_name(server)?;
            }
        }
        let sasl = config.sasl.as_ref().map(Sasl::load).transpose()?;
        Ok(Self { tls, sasl, reloads: watch::Sender::new(0) })
    }

    /// Reads everything again, for the connections from now on. On an error all of it stays as it was.
    ///
    /// # Errors
    /// As [`Credentials::load`].
    pub fn reload(&self) -> Result<(), CredentialsError> {
        let sasl = self.sasl.as_ref().map(Sasl::read).transpose()?;
        if let Some(tls) = &self.tls {
            tls.reload(Utc::now())?;
        }
        if let (Some(sasl), Some(password)) = (&self.sasl, sasl) {
            sasl.put(password);
        }
        self.reloads.send_modify(|reloads| *reloads += 1);
        Ok(())
    }

    /// Returns when they have been read again. What happens between two calls is seen with a receiver of the first.
    pub(super) fn reloads(&self) -> watch::Receiver<u64> {
        self.reloads.subscribe()
    }

    /// Whether there is nothing to prove and nothing to read again.
    pub fn is_empty(&self) -> bool {
        self.tls.is_none() && self.sasl.is_none()
    }

    /// The end of our own certificate's validity.
    pub fn not_after(&self) -> Option<DateTime<Utc>> {
        self.tls.as_ref()?.not_after()
    }

    /// What an operator should know, a line each: a certificate that ends soon, a check that was switched off.
    pub fn warnings(&self, now: DateTime<Utc>) -> Vec<String> {
        let Some(tls) = &self.tls else { return Vec::new() };
        let mut warnings = Vec::new();
        if !tls.checks_names() {
            warnings.push(
                "zk_hostname_check is off: whoever has any certificate of that authority can pose as a server"
                    .to_owned(),
            );
        }
        if let (Some(path), Some(not_after)) = (tls.certificate(), tls.not_after()) {
            let (path, end, left) = (path.display(), not_after.format("%F %T UTC"), not_after - now);
            if left <= TimeDelta::zero() {
                warnings.push(format!(
                    "the client certificate {path} expired on {end}: servers refuse it at the next connection; put a \
                     newer one there and send SIGHUP"
                ));
            } else if left < WARN_BEFORE {
                warnings.push(format!(
                    "the client certificate {path} expires in {} days, on {end}: put a newer one there and send SIGHUP",
                    left.num_days()
                ));
            }
        }
        warnings
    }

    /// Whether connections are made over TLS.
    pub fn uses_tls(&self) -> bool {
        self.tls().is_some()
    }

    pub(super) fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    pub(super) fn sasl(&self) -> Option<&Sasl> {
        self.sasl.as_ref()
    }

    /// Opens a session through the client crate, with TLS and SASL where they are wanted.
    pub(super) async fn connect(
        &self,
        mut connector: zkc::Connector,
        servers: &str,
    ) -> Result<zkc::Client, zkc::Error> {
        if let Some(sasl) = &self.sasl {
            connector = connector.with_sasl(sasl.options());
        }
        match &self.tls {
            Some(tls) => connector.with_tls(tls.options()).secure_connect(servers).await,
            None => connector.connect(servers).await,
        }
    }
}

#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;
