//! How the servers are: asks each server of one ensemble from time to time, for the `zk_` metrics.
//!
//! Each server has a task of its own, so that one that is slow delays no other, and its next round begins when the one
//! before is over. Servers that are not listed are found in `/zookeeper/config` ([`members`], [`places`]). What is asked
//! only looks: no statistic is ever reset. From the same answers come `leader_seen`, `server_last_zxid` and how many
//! voters serve.

mod ask;
mod members;
mod places;
mod standing;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use self::ask::{Round, Server};
pub use self::ask::{Survey, survey};
pub use self::members::{CONFIG_PATH, Members};
use self::places::Place;
use self::standing::Standing;
pub use self::standing::WHITELIST;
use crate::config::EnsembleConfig;
use crate::metrics::servers::{SERVERS_MAX, Voters};
use crate::metrics::{ClusterMetrics, Metrics};
use crate::source::watch::credentials::Credentials;
use crate::source::watch::srvr::has_leader;
use crate::zk::Zxid;

/// Names are resolved anew this often: a server may move.
const RESOLVE_EVERY: Duration = Duration::from_secs(300);
/// How often the ensemble's own metrics are set where no server is asked: the session alone tells then.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// What the sampling of one ensemble works with.
pub struct Sampling {
    pub ensemble: EnsembleConfig,
    pub credentials: Credentials,
    /// Whether servers that are not listed are asked, too.
    pub discovery: bool,
    /// What `/zookeeper/config` says, as far as it is known.
    pub members: watch::Receiver<Option<Arc<Members>>>,
    pub metrics: Metrics,
    pub stop: watch::Receiver<bool>,
}

impl Sampling {
    /// Runs until it is stopped.
    pub async fn run(mut self) {
        let cluster = self.ensemble.name.clone();
        let shared = Arc::new(Shared {
            metrics: self.metrics.clone(),
            of_cluster: self.metrics.cluster(&cluster),
            cluster,
            seen: Mutex::default(),
        });
        let (mut tasks, mut running) = (JoinSet::new(), HashMap::new());
        let mut resolve = tokio::time::interval(RESOLVE_EVERY);
        let mut look = tokio::time::interval(LOOK_EVERY);
        let mut stop = self.stop.clone();
        loop {
            let members = tokio::select! {
                () = super::sources::is_stopped(&mut stop) => return,
                // A sender that is gone is an ensemble whose supervisor has ended: nothing changes any more.
                Ok(()) = self.members.changed() => self.members.borrow_and_update().clone(),
                _ = resolve.tick() => self.members.borrow_and_update().clone(),
                _ = look.tick() => {
                    shared.look();
                    continue;
                }
                Some(_) = tasks.join_next() => {
                    // None ends by itself; should one, it begins anew when names are resolved again.
                    running.retain(|_, task: &mut AbortHandle| !task.is_finished());
                    continue;
                }
            };
            let members = members.filter(|_| self.discovery);
            let places = tokio::select! {
                places = places::find(&self.ensemble.servers, members.as_deref(), self.credentials.uses_tls()) => places,
                () = super::sources::is_stopped(&mut stop) => return,
            };
            self.settle(&shared, places, &mut tasks, &mut running);
        }
    }

    /// Starts and ends tasks, so that these places are asked and no others.
    fn settle(
        &self,
        shared: &Arc<Shared>,
        mut places: Vec<Place>,
        tasks: &mut JoinSet<()>,
        running: &mut HashMap<String, AbortHandle>,
    ) {
        if places.len() > SERVERS_MAX {
            let (cluster, beyond) = (&shared.cluster, places.len() - SERVERS_MAX);
            tracing::warn!(cluster, beyond, "more servers are found than are asked how they are");
            places.truncate(SERVERS_MAX);
        }
        running.retain(|name, task| {
            let stays = places.iter().any(|place| place.name == *name);
            if !stays {
                task.abort();
                tracing::info!(cluster = shared.cluster, server = name, "is no server of the ensemble any more");
            }
            stays
        });
        shared.know(&places);
        let Some(every) = self.ensemble.server_sample else { return };
        for place in places {
            if running.contains_key(&place.name) {
                continue;
            }
            if !place.is_listed {
                tracing::info!(
                    cluster = shared.cluster,
                    server = place.name,
                    "found in {CONFIG_PATH}: it is asked, too"
                );
            }
            let server = Server {
                monitor: self.ensemble.monitor_urls.of(&place.name, &self.ensemble.servers),
                metrics: self.ensemble.metrics_urls.of(&place.name, &self.ensemble.servers),
                address: place.name.clone(),
                credentials: self.credentials.clone(),
            };
            let task = tasks.spawn(sample(server, every, shared.clone()));
            running.insert(place.name, task);
        }
    }
}

/// Asks one server again and again.
async fn sample(server: Server, every: Duration, shared: Arc<Shared>) {
    let mut standing = Standing::default();
    let mut due = tokio::time::interval(every);
    due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        due.tick().await;
        let round = ask::round(&server, &mut standing).await;
        standing.tell(&shared.cluster, &server.address, &round);
        shared.heard(&server.address, round);
    }
}

/// What the tasks of one ensemble share.
struct Shared {
    cluster: String,
    metrics: Metrics,
    of_cluster: ClusterMetrics,
    /// By name: who is asked, and nobody else.
    seen: Mutex<BTreeMap<String, Seen>>,
}

/// What is known of one server.
struct Seen {
    votes: bool,
    was_asked: bool,
    /// As it said when it was last asked.
    state: Option<String>,
}

impl Shared {
    fn know(&self, places: &[Place]) {
        let mut seen = self.seen();
        seen.retain(|name, _| places.iter().any(|place| place.name == *name));
        for place in places {
            let one =
                seen.entry(place.name.clone()).or_insert(Seen { votes: place.votes, was_asked: false, state: None });
            one.votes = place.votes;
        }
        self.metrics.servers().retain(&self.cluster, |host| seen.contains_key(host));
        self.summarise(&seen);
    }

    /// Takes in what a server said, unless it was taken off the list meanwhile.
    fn heard(&self, server: &str, round: Round) {
        let mut seen = self.seen();
        let Some(one) = seen.get_mut(server) else { return };
        one.was_asked = true;
        one.state = round.sample.told.state.clone();
        self.metrics.servers().heard(&self.cluster, server, round.sample);
        if let Some(Zxid(zxid)) = round.zxid {
            let last = &self.of_cluster.server_last_zxid;
            last.set(last.get().max(zxid));
        }
        self.summarise(&seen);
    }

    /// The session may have come or gone.
    fn look(&self) {
        self.summarise(&self.seen());
    }

    fn summarise(&self, seen: &BTreeMap<String, Seen>) {
        let leads = |one: &Seen| one.state.as_deref().is_some_and(has_leader);
        let serves = |one: &&Seen| leads(one) && one.state.as_deref() != Some("observer");
        // Where no word is allowed the session tells: a server without a leader keeps none.
        let is_connected = self.of_cluster.is_connected();
        self.of_cluster.leader_seen.set(i64::from(seen.values().any(leads) || is_connected));
        let voters = || seen.values().filter(|one| one.votes);
        let is_known = voters().all(|one| one.was_asked);
        let voters = is_known.then(|| Voters { all: voters().count(), serving: voters().filter(serves).count() });
        self.metrics.servers().voters(&self.cluster, voters);
    }

    fn seen(&self) -> MutexGuard<'_, BTreeMap<String, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
