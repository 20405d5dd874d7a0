//! Who is connected: asks each server of one ensemble from time to time, and records what is new.
//!
//! The servers are asked side by side, one request each with a timeout of its own, and the next round begins when the one
//! before is over. Nothing on them is changed or reset. A server that refuses is named once in the log, with the setting
//! that would help, and is asked again in the next round.

mod known;

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use self::known::{Heard, Known};
use super::sources::is_stopped;
use crate::config::EnsembleConfig;
use crate::history::{Entry, RecorderHandle, Sighting, SightingEvent, SightingSource};
use crate::metrics::{ClusterMetrics, SampleOutcome};
use crate::source::connections::{self, AskError, Connections};
use crate::zk::{Micros, SessionId, Source};

/// A list of many thousand connections takes a server a moment; the agent waits no longer for it when it stops.
pub const TIMEOUT: Duration = Duration::from_secs(5);
/// Sessions of our own that wait to be recorded.
pub const OWN_SESSIONS_MAX: usize = 64;

/// One place to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A server's client port.
    Cons(String),
    /// The URL of an AdminServer's command.
    AdminServer(String),
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cons(place) | Self::AdminServer(place) => f.write_str(place),
        }
    }
}

impl Target {
    /// Whom to ask about an ensemble: its AdminServers where they are named, else its servers.
    pub fn of(ensemble: &EnsembleConfig) -> Vec<Self> {
        match ensemble.admin_urls.as_slice() {
            [] => ensemble.servers.iter().cloned().map(Self::Cons).collect(),
            urls => urls.iter().cloned().map(Self::AdminServer).collect(),
        }
    }

    /// How it is asked, as `sessions` tells it.
    pub fn source(&self) -> SightingSource {
        match self {
            Self::Cons(_) => SightingSource::Cons,
            Self::AdminServer(_) => SightingSource::AdminServer,
        }
    }

    /// # Errors
    /// As [`connections::cons`] and [`connections::admin_server`].
    pub async fn ask(&self) -> Result<Connections, AskError> {
        match self {
            Self::Cons(server) => connections::cons(server, TIMEOUT).await,
            Self::AdminServer(url) => connections::admin_server(url, TIMEOUT).await,
        }
    }
}

/// A session of the agent's own.
#[derive(Clone, Copy, Debug)]
pub struct OwnSession {
    pub session: SessionId,
    pub timeout: Duration,
    pub opened_at: Micros,
}

/// What the sampling of one ensemble works with.
pub struct Sampling {
    pub cluster: String,
    pub incarnation: i32,
    pub targets: Vec<Target>,
    /// `None`: nobody is asked; our own sessions are recorded all the same.
    pub every: Option<Duration>,
    pub recorder: RecorderHandle,
    pub metrics: ClusterMetrics,
    pub own: mpsc::Receiver<OwnSession>,
    pub stop: watch::Receiver<bool>,
}

impl Sampling {
    /// Runs until it is stopped, or the recorder has gone. Cancelling it loses when the sessions were last seen, at most by
    /// how rarely that is recorded.
    pub async fn run(mut self) {
        let mut known = Known::new(self.incarnation);
        let mut told = Told::default();
        let every = self.every.unwrap_or(Duration::MAX);
        let mut round = tokio::time::interval(every.min(LONGEST));
        round.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut stop = self.stop.clone();
        loop {
            let sightings = tokio::select! {
                biased;
                () = is_stopped(&mut stop) => {
                    // Nobody listens where the recorder has gone already.
                    let _ = self.recorder.send(Entry::Sightings(known.last_seen())).await;
                    return;
                }
                Some(own) = self.own.recv() => vec![self.opened(own)],
                _ = round.tick(), if self.every.is_some() => tokio::select! {
                    sightings = self.round(&mut known, &mut told) => sightings,
                    () = is_stopped(&mut stop) => continue,
                },
                else => return,
            };
            if !sightings.is_empty() && self.recorder.send(Entry::Sightings(sightings)).await.is_err() {
                return;
            }
        }
    }

    fn opened(&self, own: OwnSession) -> Sighting {
        Sighting {
            incarnation: self.incarnation,
            session_id: own.session.0,
            event: SightingEvent::Opened,
            time: own.opened_at,
            zxid: None,
            timeout_ms: i32::try_from(own.timeout.as_millis()).ok(),
            address: None,
            source: Source::Watch.into(),
        }
    }

    async fn round(&self, known: &mut Known, told: &mut Told) -> Vec<Sighting> {
        let asked = self.targets.iter().map(Target::ask);
        let answers = futures::future::join_all(asked).await;
        let mut heard = Vec::with_capacity(answers.len());
        // Only where everybody has told everything does absence mean anything.
        let mut whole = true;
        for (target, answer) in self.targets.iter().zip(answers) {
            let outcome = match &answer {
                Ok(_) => SampleOutcome::Ok,
                Err(AskError::NotAllowed) => SampleOutcome::Refused,
                Err(_) => SampleOutcome::Failed,
            };
            self.metrics.connection_samples(outcome).inc();
            told.hear(&self.cluster, target, answer.as_ref().err());
            match answer {
                Ok(connections) => {
                    whole &= connections.whole && connections.unreadable == 0;
                    heard.push(Heard { source: target.source(), connections });
                }
                Err(_) => whole = false,
            }
        }
        let round = known.round(Micros::now(), heard, whole);
        if round.any {
            self.metrics.sessions_connected.set(i64::try_from(round.connected).unwrap_or(i64::MAX));
        }
        if round.beyond > 0 {
            let (cluster, beyond) = (&self.cluster, round.beyond);
            tracing::warn!(cluster, beyond, "more sessions are connected than are followed: these have no address");
        }
        round.sightings
    }
}

/// Beyond this an interval is none.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

/// What the log was told of each target, so that it is told once.
#[derive(Default)]
struct Told(HashMap<String, Option<AskError>>);

impl Told {
    fn hear(&mut self, cluster: &str, target: &Target, error: Option<&AskError>) {
        let server = target.to_string();
        let before = self.0.insert(server.clone(), error.cloned());
        match (before, error) {
            (Some(before), error) if before.as_ref() == error => {}
            (None, None) => {}
            (_, None) => tracing::info!(cluster, server, "tells who is connected again"),
            (_, Some(error)) => {
                let remedy = error.remedy().map(|remedy| format!(": {remedy}")).unwrap_or_default();
                tracing::warn!(
                    cluster,
                    server,
                    "does not tell who is connected, so its sessions have no address: {error}{remedy}"
                );
            }
        }
    }
}
