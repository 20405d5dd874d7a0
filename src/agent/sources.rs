//! From the configuration to what a source is given: how an ensemble is reached, and with which credentials, which SIGHUP
//! reads again.

use std::time::Duration;

use anyhow::Context;
use tokio::sync::watch;

use super::supervisor::QUEUE_ITEMS_MAX;
use crate::config::{EnsembleConfig, EnsembleSasl, EnsembleTls, SaslPassword};
use crate::metrics::Metrics;
use crate::source::watch::credentials::{Credentials, CredentialsConfig, Password, SaslConfig, TlsConfig, TlsIdentity};
use crate::source::watch::{ReadBudget, WatchConfig};
use crate::zk::ZkPath;

/// How often the end of client certificates is looked at.
const CERTIFICATES_EVERY: Duration = Duration::from_secs(86_400);

/// Reads and judges the credentials of an ensemble.
///
/// # Errors
/// Names the ensemble, the file, and what to do.
pub fn credentials(ensemble: &EnsembleConfig) -> anyhow::Result<Credentials> {
    let tls = ensemble.tls.as_ref().map(|EnsembleTls { ca, identity, check_names }| TlsConfig {
        ca: ca.clone(),
        identity: identity
            .as_ref()
            .map(|files| TlsIdentity { certificate: files.certificate.clone(), key: files.key.clone() }),
        check_names: *check_names,
    });
    let sasl = ensemble.sasl.as_ref().map(|sasl| match sasl {
        EnsembleSasl::DigestMd5 { user, password } => SaslConfig::DigestMd5 {
            user: user.clone(),
            password: match password {
                SaslPassword::File(path) => Password::File(path.clone()),
                SaslPassword::Variable { name, text } => {
                    Password::Given { origin: name.clone(), text: text.expose().to_owned() }
                }
            },
        },
        EnsembleSasl::Gssapi { service, host } => SaslConfig::Gssapi { service: service.clone(), host: host.clone() },
    });
    Credentials::load(&CredentialsConfig { tls, sasl }, &ensemble.servers)
        .with_context(|| format!("ensemble {:?}", ensemble.name))
}

/// The source's configuration of an ensemble.
///
/// # Errors
/// As [`credentials`].
pub fn watch_config(ensemble: &EnsembleConfig) -> anyhow::Result<WatchConfig> {
    Ok(watch_config_with(ensemble, credentials(ensemble)?))
}

/// The same with credentials that are there already.
pub(super) fn watch_config_with(ensemble: &EnsembleConfig, credentials: Credentials) -> WatchConfig {
    let per_second = |most: Option<u64>| most.map_or(f64::INFINITY, |most| most as f64);
    WatchConfig {
        ensemble: ensemble.name.clone(),
        servers: ensemble.servers.clone(),
        scope: ZkPath::from(ensemble.scope.as_str()),
        session_timeout: ensemble.session_timeout,
        auth: ensemble
            .auth
            .iter()
            .map(|auth| (auth.scheme.clone(), auth.credential.expose().as_bytes().to_vec()))
            .collect(),
        credentials,
        budget: ReadBudget {
            znodes_per_second: per_second(ensemble.budget.znodes_per_second),
            bytes_per_second: per_second(ensemble.budget.bytes_per_second),
            requests_in_flight_max: ensemble.budget.multi_reads_in_flight,
        },
        queue_items_max: QUEUE_ITEMS_MAX,
    }
}

/// Reads credentials again on SIGHUP and watches the end of certificates, until it is stopped.
pub(super) async fn look_after(all: Vec<(String, Credentials)>, metrics: Metrics, mut stop: watch::Receiver<bool>) {
    use tokio::signal::unix::{SignalKind, signal};
    let all: Vec<_> = all.into_iter().filter(|(_, credentials)| !credentials.is_empty()).collect();
    if all.is_empty() {
        return;
    }
    let mut hangup = match signal(SignalKind::hangup()) {
        Ok(hangup) => hangup,
        Err(error) => {
            tracing::error!(%error, "SIGHUP cannot be heard: the ensembles' credentials are not read again");
            return;
        }
    };
    let mut daily = tokio::time::interval(CERTIFICATES_EVERY);
    loop {
        tokio::select! {
            _ = hangup.recv() => {
                let (all, metrics) = (all.clone(), metrics.clone());
                // Files are read here; the sources go on beside it.
                let _ = tokio::task::spawn_blocking(move || reload(&all, &metrics)).await;
            }
            _ = daily.tick() => look_at_certificates(&all, &metrics),
            () = is_stopped(&mut stop) => return,
        }
    }
}

/// Returns when the agent is told to stop, or has gone.
pub(super) async fn is_stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Reads all of them again; where that fails the old ones stay.
fn reload(all: &[(String, Credentials)], metrics: &Metrics) {
    for (cluster, credentials) in all {
        let outcome = credentials.reload();
        metrics.reloaded("ensemble credentials", outcome.is_ok());
        match outcome {
            Ok(()) => {
                tracing::info!(cluster, "read again: credentials; they hold from the next connection on");
            }
            Err(error) => tracing::error!(cluster, "credentials stay as they were: {error}"),
        }
    }
    look_at_certificates(all, metrics);
}

fn look_at_certificates(all: &[(String, Credentials)], metrics: &Metrics) {
    for (cluster, credentials) in all {
        if let Some(not_after) = credentials.not_after() {
            metrics.client_certificate_expiry(cluster, not_after.timestamp());
        }
        for warning in credentials.warnings(chrono::Utc::now()) {
            tracing::warn!(cluster, "{warning}");
        }
    }
}
