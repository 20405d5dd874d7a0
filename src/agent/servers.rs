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
use crate::config::EnsembleConfig;
use crate::metrics::servers::{SERVERS_MAX, UNKNOWN, Voters};
use crate::metrics::{ClusterMetrics, Metrics};
use crate::source::watch::credentials::Credentials;
use crate::source::watch::srvr::has_leader;
pub use crate::source::watch::words::WHITELIST;
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
        let mut resolved = places::Resolved::new();
        // The configuration whose addresses nobody answers at.
        let mut beyond_reach: Option<Arc<Members>> = None;
        let mut stop = self.stop.clone();
        loop {
            let members = tokio::select! {
                () = super::sources::is_stopped(&mut stop) => return,
                // A sender that is gone is an ensemble whose supervisor has ended: nothing changes any more.
                Ok(()) = self.members.changed() => self.members.borrow_and_update().clone(),
                _ = resolve.tick() => self.members.borrow_and_update().clone(),
                _ = look.tick() => {
                    shared.look();
                    if !shared.is_beyond_reach() {
                        continue;
                    }
                    tracing::warn!(
                        cluster = shared.cluster,
                        "nobody answers at the addresses of {CONFIG_PATH}, but servers that are listed serve: only these \
                         are asked (--server-discovery off says so from the start)"
                    );
                    beyond_reach.clone_from(&self.members.borrow());
                    None
                }
                Some(_) = tasks.join_next() => {
                    // None ends by itself; should one, it begins anew.
                    running.retain(|_, task: &mut AbortHandle| !task.is_finished());
                    self.members.borrow_and_update().clone()
                }
            };
            let members = members.filter(|members| self.discovery && beyond_reach.as_ref() != Some(members));
            let places = tokio::select! {
                places = places::find(
                    &self.ensemble.servers,
                    members.as_deref(),
                    self.credentials.uses_tls(),
                    &mut resolved,
                ) => places,
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
        let names: Vec<String> = places.iter().map(|place| place.name.clone()).collect();
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
                monitor: self.ensemble.monitor_urls.of(&place.name, &self.ensemble.servers, &names),
                metrics: self.ensemble.metrics_urls.of(&place.name, &self.ensemble.servers, &names),
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
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            _ = due.tick() => {
                let round = ask::round(&server, &mut standing).await;
                standing.tell(&shared.cluster, &server.address, &round);
                shared.heard(&server.address, round);
            }
            // While our own session does not tell whether anybody serves, old news would not do.
            _ = look.tick(), if every > LOOK_EVERY => {
                if !shared.of_cluster.is_connected() {
                    shared.serves(&server.address, ask::state(&server).await);
                }
            }
        }
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
#[derive(Default)]
struct Seen {
    is_listed: bool,
    votes: bool,
    /// It said so when it last said anything: then it has no vote, whatever is known of the configuration.
    observes: bool,
    was_asked: bool,
    was_up: bool,
    /// As it said when it was last asked.
    state: Option<String>,
}

impl Seen {
    fn says(&mut self, state: Option<String>) {
        if let Some(state) = state.as_deref().filter(|state| *state != UNKNOWN) {
            self.observes = state == "observer";
        }
        self.state = state;
    }
}

impl Shared {
    fn know(&self, places: &[Place]) {
        let mut seen = self.seen();
        seen.retain(|name, _| places.iter().any(|place| place.name == *name));
        for place in places {
            let one = seen.entry(place.name.clone()).or_default();
            one.votes = place.votes;
            one.is_listed = place.is_listed;
        }
        self.metrics.servers().retain(&self.cluster, |host| seen.contains_key(host));
        self.summarise(&seen);
    }

    /// Takes in what a server said, unless it was taken off the list meanwhile.
    fn heard(&self, server: &str, round: Round) {
        let mut seen = self.seen();
        let Some(one) = seen.get_mut(server) else { return };
        one.was_asked = true;
        one.was_up |= round.sample.up;
        one.says(round.sample.told.state.clone());
        self.metrics.servers().heard(&self.cluster, server, round.sample);
        if let Some(Zxid(zxid)) = round.zxid {
            let last = &self.of_cluster.server_last_zxid;
            last.set(last.get().max(zxid));
        }
        self.summarise(&seen);
    }

    /// Takes in a state that was asked for alone.
    fn serves(&self, server: &str, state: Option<String>) {
        let mut seen = self.seen();
        let Some(one) = seen.get_mut(server) else { return };
        one.says(state);
        self.summarise(&seen);
    }

    /// Whether the ensemble knows itself by addresses that lead nowhere from here, while listed servers that are none of
    /// these serve.
    fn is_beyond_reach(&self) -> bool {
        let seen = self.seen();
        let (listed, found): (Vec<&Seen>, Vec<&Seen>) = seen.values().partition(|one| one.is_listed);
        !found.is_empty()
            && found.iter().all(|one| one.was_asked && !one.was_up)
            && listed.iter().any(|one| !one.votes && !one.observes && one.state.as_deref().is_some_and(has_leader))
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
        let voters = || seen.values().filter(|one| one.votes && !one.observes);
        let is_known = voters().all(|one| one.was_asked && one.state.as_deref() != Some(UNKNOWN));
        let voters = is_known.then(|| Voters { all: voters().count(), serving: voters().filter(serves).count() });
        self.metrics.servers().voters(&self.cluster, voters);
    }

    fn seen(&self) -> MutexGuard<'_, BTreeMap<String, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
