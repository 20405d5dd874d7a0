//! Who is let in: the users, the certificate and the access log, read at the start and again on SIGHUP.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::watch;

use crate::config::{AccessConfig, Config};
use crate::metrics::Metrics;
use crate::serve::Door;
use crate::serve::access_log::{AccessLog, Event, LoginFailure, Outcome};
use crate::serve::doors::{Doors, TlsRequired};
use crate::serve::tls::Tls;
use crate::serve::users::{Users, UsersError};

/// How often the certificate's end is looked at.
const CERTIFICATE_EVERY: Duration = Duration::from_secs(86_400);

/// Cheap to clone; the clones see a reload.
#[derive(Clone)]
pub(super) struct Entrance {
    pub users: Users,
    pub tls: Option<Tls>,
    pub log: AccessLog,
    pub doors: Doors,
}

impl Entrance {
    /// Reads everything and judges the doors.
    ///
    /// # Errors
    /// A file is bad, or a door would be open to those whom it should keep out.
    pub(super) fn open(config: &Config, metrics: &Metrics) -> anyhow::Result<Self> {
        let AccessConfig { users_file, tls, tls_required, log } = &config.access;
        let users = match users_file {
            Some(path) => Users::of_file(path)?,
            None => Users::of_file_if_any(&config.data_dir.join(AccessConfig::USERS_FILE))?,
        };
        let tls = tls.as_ref().map(|files| Tls::load(&files.certificate, &files.key)).transpose()?;
        let tls_required = match tls_required {
            None => TlsRequired::OffLoopback,
            Some(true) => TlsRequired::Everywhere,
            Some(false) => TlsRequired::Nowhere,
        };
        let doors = Doors {
            http: config.http.address(),
            postgres: config.postgres.address(),
            users_listed: users.credentials_required(),
            certificate: tls.is_some(),
            tls_required,
        };
        doors.judge()?;
        let log = match log {
            Some(path) => {
                AccessLog::to_file(path).with_context(|| format!("cannot open the access log {}", path.display()))?
            }
            None => AccessLog::to_log(),
        };
        log.observe(count(metrics));
        let entrance = Self { users, tls, log, doors };
        entrance.look_at_certificate(metrics);
        if entrance.users.credentials_required() {
            tracing::info!(users = entrance.users.all().len(), "every door wants a name and a password");
        }
        Ok(entrance)
    }

    fn look_at_certificate(&self, metrics: &Metrics) {
        let Some(tls) = &self.tls else { return };
        metrics.certificate_expiry(tls.not_after().timestamp());
        if let Some(warning) = tls.warning(chrono::Utc::now()) {
            tracing::warn!("{warning}");
        }
    }

    /// Reads again what there is to read; where that fails the old stays as it was.
    fn reload(&self, metrics: &Metrics) {
        let tell = |what: &'static str, outcome: Result<(), String>| {
            metrics.reloaded(what, outcome.is_ok());
            match outcome {
                Ok(()) => tracing::info!("read again: {what}"),
                Err(error) => tracing::error!("{what} stay as they were: {error}"),
            }
        };
        // Users that are listed from now on may not make a door take passwords in clear text.
        let listed = Doors { users_listed: true, ..self.doors }.judge();
        let users = self.users.reload(listed.is_ok()).map_err(|error| match (&error, listed) {
            (UsersError::MayNotBegin { .. }, Err(reason)) => format!("{error}: {reason}"),
            _ => error.to_string(),
        });
        tell("users", users);
        if let Some(tls) = &self.tls {
            tell("certificates", tls.reload().map_err(|error| error.to_string()));
            self.look_at_certificate(metrics);
        }
        tell("access logs", self.log.reopen().map_err(|error| error.to_string()));
    }

    /// Reloads on SIGHUP and watches the certificate's end, until it is stopped.
    pub(super) async fn look_after(self, metrics: Metrics, mut stop: watch::Receiver<bool>) {
        use tokio::signal::unix::{SignalKind, signal};
        let mut hangup = match signal(SignalKind::hangup()) {
            Ok(hangup) => hangup,
            Err(error) => {
                tracing::error!(%error, "SIGHUP cannot be heard: users and certificate are not read again");
                return;
            }
        };
        let mut daily = tokio::time::interval(CERTIFICATE_EVERY);
        daily.tick().await;
        loop {
            tokio::select! {
                _ = hangup.recv() => {
                    // Files are read here; the doors' tasks go on beside it.
                    let (entrance, metrics) = (self.clone(), metrics.clone());
                    let _ = tokio::task::spawn_blocking(move || entrance.reload(&metrics)).await;
                }
                _ = daily.tick() => self.look_at_certificate(&metrics),
                () = super::sources::is_stopped(&mut stop) => return,
            }
        }
    }
}

/// Shows what the access log is told.
fn count(metrics: &Metrics) -> crate::serve::access_log::Observer {
    for door in Door::ALL {
        metrics.door(door.as_str(), &Outcome::ALL.map(Outcome::as_str), &LoginFailure::ALL.map(LoginFailure::as_str));
    }
    let metrics = metrics.clone();
    Arc::new(move |event| match event {
        Event::Query { door, outcome } => metrics.door_query(door.as_str(), outcome.as_str()),
        Event::LoginFailed { door, failure } => metrics.login_failed(door.as_str(), failure.as_str()),
        Event::Lost => metrics.access_log_lost(),
    })
}
