//! What the servers tell of themselves, kept and rendered: pure, told by whoever asks them.
//!
//! Four ways lead to one model ([`Told`]): the answer to `mntr` ([`mntr`]), the pairs of `srvr` ([`pairs`]), an AdminServer's
//! `/commands/monitor` ([`monitor`]) and the exposition of a server's own Prometheus provider ([`provider`]). Each key
//! becomes `zk_<key>`, whatever way it came: what a namespace or a learner has in its key becomes a label, milliseconds
//! become seconds where the key names them, a `_total` of newer servers is taken off.
//!
//! It is rendered here and not by the client library, which cannot write the type `untyped`: a server does not say which
//! of its keys are counters, and names like `zk_znode_count` may have no other type.
//!
//! Only the latest sample of each server is kept. A server that does not answer has `zk_up 0` and nothing else; one that
//! is not known any more has nothing. Bounds: [`SERIES_MAX`], [`SERVERS_MAX`], and what the parsers say.

mod key;
mod known;
mod labels;
mod mntr;
mod monitor;
mod provider;
mod render;
mod told;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use self::mntr::{mntr, pairs};
pub use self::monitor::{NotMonitor, monitor};
pub use self::provider::provider;
pub use self::told::{Kind, Series, Told};

/// Series of one server, beside those of its state. Keys without a label come first, then
/// namespaces and learners, each whole; what is beyond is counted.
pub const SERIES_MAX: usize = 1_000;
/// Servers of one ensemble; more are neither asked nor shown.
pub const SERVERS_MAX: usize = 64;
/// An answer of a server is read no further.
pub const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// The state of a server that answers but refuses every word that would tell its state.
pub const UNKNOWN: &str = "unknown";

/// How a server was asked: the label `word`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Word {
    Mntr,
    Srvr,
    Ruok,
    Isro,
    /// An AdminServer's `/commands/monitor`.
    Monitor,
    /// The server's own Prometheus provider.
    Metrics,
}

impl Word {
    pub const ALL: &[Self] = &[Self::Mntr, Self::Srvr, Self::Ruok, Self::Isro, Self::Monitor, Self::Metrics];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mntr => "mntr",
            Self::Srvr => "srvr",
            Self::Ruok => "ruok",
            Self::Isro => "isro",
            Self::Monitor => "monitor",
            Self::Metrics => "metrics",
        }
    }
}

/// What came of asking a server one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    pub ok: bool,
    pub took: Duration,
}

/// What came of asking one server.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// It answered at all.
    pub up: bool,
    /// `None` where the word is not allowed.
    pub ruok: Option<bool>,
    /// `None` where `isro` is not allowed, or it does not serve.
    pub read_only: Option<bool>,
    pub told: Told,
    pub asked: BTreeMap<Word, Asked>,
}

/// The latest samples of every ensemble's servers.
#[derive(Debug, Default)]
pub struct Servers(Mutex<BTreeMap<Arc<str>, Ensemble>>);

/// What is known of one ensemble.
#[derive(Debug, Default)]
struct Ensemble {
    voters: Option<Voters>,
    /// By `zk_host`.
    samples: BTreeMap<Arc<str>, Arc<Sample>>,
}

/// The voting members of an ensemble.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Voters {
    pub all: usize,
    /// Who says that it leads, follows or stands alone.
    pub serving: usize,
}

impl Servers {
    /// Replaces what is known of one server. Beyond [`SERVERS_MAX`] nothing is kept.
    pub fn heard(&self, cluster: &str, host: &str, sample: Sample) {
        let mut all = self.all();
        let samples = &mut of(&mut all, cluster).samples;
        if samples.len() < SERVERS_MAX || samples.contains_key(host) {
            samples.insert(host.into(), Arc::new(sample));
        }
    }

    /// Who votes in an ensemble; `None` as long as not everybody was asked and has told.
    pub fn voters(&self, cluster: &str, voters: Option<Voters>) {
        of(&mut self.all(), cluster).voters = voters;
    }

    /// Forgets every server of an ensemble that is not among these.
    pub fn retain(&self, cluster: &str, is_known: impl Fn(&str) -> bool) {
        if let Some(ensemble) = self.all().get_mut(cluster) {
            ensemble.samples.retain(|host, _| is_known(host));
        }
    }

    /// Appends everything in Prometheus' text format 0.0.4.
    pub fn render(&self, text: &mut String) {
        let (mut voters, mut samples) = (Vec::new(), Vec::new());
        for (cluster, ensemble) in self.all().iter() {
            voters.extend(ensemble.voters.map(|voters| (cluster.clone(), voters)));
            let each = ensemble.samples.iter().map(|(host, sample)| (cluster.clone(), host.clone(), sample.clone()));
            samples.extend(each);
        }
        render::render(&voters, &samples, text);
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Ensemble>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn of<'a>(all: &'a mut BTreeMap<Arc<str>, Ensemble>, cluster: &str) -> &'a mut Ensemble {
    all.entry(cluster.into()).or_default()
}

#[cfg(test)]
mod tests;
