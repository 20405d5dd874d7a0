//! What the agent tells Prometheus: every metric's name, help and labels are in [`names`], and nowhere else.
//!
//! One registry per [`Metrics`], none that is global. Labels are `cluster` and small closed sets; never a path, a
//! session or a zxid, except the operator-listed prefixes, whose number is capped (see [`Subtrees`]), and what servers
//! tell of themselves: their addresses (`zk_host=`) and the names of znodes below the root (`namespace=`).

mod cluster;
mod history;
mod names;
pub mod servers;
mod tree;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::{
    GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder, core::Collector,
};

pub use cluster::{
    Ability, ClusterMetrics, ClusterSeries, QueueMetrics, ReadKind, ReadResult, SampleOutcome, SessionState,
};
pub use history::{HistoryMetrics, TableMetrics};
pub use names::{ALL, Def};
pub use tree::{Prefixes, SubtreeMetrics, TreeMetrics};

pub use crate::zk::{OTHER, Subtrees};

/// The content type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How a query ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryOutcome {
    Ok,
    /// The SQL is wrong, or not allowed.
    Refused,
    /// A limit of time, memory, rows or disk was reached.
    Limited,
    /// The client went away.
    Cancelled,
    /// Anything else.
    Failed,
}

impl QueryOutcome {
    pub const ALL: &[Self] = &[Self::Ok, Self::Refused, Self::Limited, Self::Cancelled, Self::Failed];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Limited => "limited",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }
}

/// The agent's metrics. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    families: cluster::Families,
    clusters: Mutex<BTreeMap<String, ClusterMetrics>>,
    prefixes: Prefixes,
    servers: servers::Servers,
    queries: IntCounterVec,
    queries_running: IntGauge,
    door_queries: IntCounterVec,
    login_failures: IntCounterVec,
    access_log_lost: IntCounter,
    reloads: IntCounterVec,
    certificate_expiry: IntGauge,
    client_certificate_expiry: IntGaugeVec,
    query_seconds: Histogram,
    postgres_connections: IntGauge,
    postgres_refused: IntCounter,
    disk_free_bytes: IntGauge,
    disk_floor_bytes: IntGauge,
}

impl Metrics {
    /// Registers everything. Fails only where two metrics share a name.
    pub fn new(prefixes: Prefixes) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        #[cfg(target_os = "linux")]
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        let build = int_gauges(&registry, &names::BUILD_INFO)?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let queries = int_counters(&registry, &names::QUERIES)?;
        for outcome in QueryOutcome::ALL {
            // A series that is there from the start can be alerted on at its first step.
            queries.with_label_values(&[outcome.as_str()]);
        }
        let none: &[&str] = &[];
        Ok(Self(Arc::new(Inner {
            families: cluster::Families::new(&registry)?,
            clusters: Mutex::default(),
            prefixes,
            servers: servers::Servers::default(),
            queries,
            queries_running: int_gauges(&registry, &names::QUERIES_RUNNING)?.with_label_values(none),
            door_queries: int_counters(&registry, &names::DOOR_QUERIES)?,
            login_failures: int_counters(&registry, &names::LOGIN_FAILURES)?,
            access_log_lost: int_counters(&registry, &names::ACCESS_LOG_LOST)?.with_label_values(none),
            reloads: int_counters(&registry, &names::RELOADS)?,
            certificate_expiry: int_gauges(&registry, &names::CERTIFICATE_EXPIRY)?.with_label_values(none),
            client_certificate_expiry: int_gauges(&registry, &names::CLIENT_CERTIFICATE_EXPIRY)?,
            query_seconds: histograms(&registry, &names::QUERY_SECONDS)?.with_label_values(none),
            postgres_connections: int_gauges(&registry, &names::POSTGRES_CONNECTIONS)?.with_label_values(none),
            postgres_refused: int_counters(&registry, &names::POSTGRES_REFUSED)?.with_label_values(none),
            disk_free_bytes: int_gauges(&registry, &names::DISK_FREE_BYTES)?.with_label_values(none),
            disk_floor_bytes: int_gauges(&registry, &names::DISK_FLOOR_BYTES)?.with_label_values(none),
            registry,
        })))
    }

    /// The series of one ensemble, made on first use.
    pub fn cluster(&self, name: &str) -> ClusterMetrics {
        let mut clusters = self.0.clusters.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cluster) = clusters.get(name) {
            return cluster.clone();
        }
        self.0.client_certificate_expiry.with_label_values(&[name]);
        let cluster = ClusterMetrics::new(&self.0.families, name, self.0.prefixes.clone());
        clusters.insert(name.to_owned(), cluster.clone());
        cluster
    }

    /// What the ensembles' servers tell of themselves.
    pub fn servers(&self) -> &servers::Servers {
        &self.0.servers
    }

    /// A query begins.
    pub fn query_started(&self) {
        self.0.queries_running.inc();
    }

    /// A query that was started has ended.
    pub fn query_ended(&self, outcome: QueryOutcome, took: std::time::Duration) {
        self.0.queries_running.dec();
        self.0.queries.with_label_values(&[outcome.as_str()]).inc();
        self.0.query_seconds.observe(took.as_secs_f64());
    }

    /// A session of the PostgreSQL door is open.
    pub fn postgres_opened(&self) {
        self.0.postgres_connections.inc();
    }

    /// A session of the PostgreSQL door has ended.
    pub fn postgres_closed(&self) {
        self.0.postgres_connections.dec();
    }

    /// A connection to the PostgreSQL door was one too many.
    pub fn postgres_refused(&self) {
        self.0.postgres_refused.inc();
    }

    /// A query through a door has ended. The labels are of small closed sets.
    pub fn door_query(&self, door: &'static str, outcome: &'static str) {
        self.0.door_queries.with_label_values(&[door, outcome]).inc();
    }

    /// Someone was not let in.
    pub fn login_failed(&self, door: &'static str, reason: &'static str) {
        self.0.login_failures.with_label_values(&[door, reason]).inc();
    }

    /// Makes the series of a door, so that they can be alerted on at their first step.
    pub fn door(&self, door: &'static str, outcomes: &[&'static str], reasons: &[&'static str]) {
        for outcome in outcomes {
            self.0.door_queries.with_label_values(&[door, outcome]);
        }
        for reason in reasons {
            self.0.login_failures.with_label_values(&[door, reason]);
        }
    }

    /// A line of the access log is lost.
    pub fn access_log_lost(&self) {
        self.0.access_log_lost.inc();
    }

    /// The agent was told to read something again.
    pub fn reloaded(&self, what: &'static str, is_ok: bool) {
        self.0.reloads.with_label_values(&[what, if is_ok { "ok" } else { "failed" }]).inc();
    }

    /// When the doors' certificate expires.
    pub fn certificate_expiry(&self, unix_seconds: i64) {
        self.0.certificate_expiry.set(unix_seconds);
    }

    /// When the certificate expires that is shown to an ensemble.
    pub fn client_certificate_expiry(&self, cluster: &str, unix_seconds: i64) {
        self.0.client_certificate_expiry.with_label_values(&[cluster]).set(unix_seconds);
    }

    /// Free bytes of the disk that holds the history, and how many must stay free.
    pub fn disk(&self, free_bytes: u64, floor_bytes: u64) {
        self.0.disk_free_bytes.set(i64::try_from(free_bytes).unwrap_or(i64::MAX));
        self.0.disk_floor_bytes.set(i64::try_from(floor_bytes).unwrap_or(i64::MAX));
    }

    /// Everything in Prometheus' text format 0.0.4 (see [`CONTENT_TYPE`]).
    pub fn render(&self) -> String {
        let families = self.0.registry.gather();
        // Fails only on a family without series, which gathering leaves out.
        let encoded = TextEncoder::new().encode_to_string(&families);
        let mut text = encoded.unwrap_or_else(|error| format!("# not rendered: {error}\n"));
        self.0.servers.render(&mut text);
        text
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

fn registered<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> Result<C, prometheus::Error> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

fn int_counters(registry: &Registry, def: &Def) -> Result<IntCounterVec, prometheus::Error> {
    registered(registry, IntCounterVec::new(Opts::new(def.name, def.help), def.labels)?)
}

fn counters(registry: &Registry, def: &Def) -> Result<prometheus::CounterVec, prometheus::Error> {
    registered(registry, prometheus::CounterVec::new(Opts::new(def.name, def.help), def.labels)?)
}

fn int_gauges(registry: &Registry, def: &Def) -> Result<IntGaugeVec, prometheus::Error> {
    registered(registry, IntGaugeVec::new(Opts::new(def.name, def.help), def.labels)?)
}

fn gauges(registry: &Registry, def: &Def) -> Result<GaugeVec, prometheus::Error> {
    registered(registry, GaugeVec::new(Opts::new(def.name, def.help), def.labels)?)
}

fn histograms(registry: &Registry, def: &Def) -> Result<HistogramVec, prometheus::Error> {
    let options = HistogramOpts::new(def.name, def.help).buckets(def.buckets.to_vec());
    registered(registry, HistogramVec::new(options, def.labels)?)
}

#[cfg(test)]
mod tests;
