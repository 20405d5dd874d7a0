//! What a server told, put into one form.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::key::{self, Key, Of};
use super::labels::Labels;
use super::{SERIES_MAX, known};

/// Longer names are no server's.
const NAME_BYTES_MAX: usize = 200;
const LABEL_BYTES_MAX: usize = 200;
/// Texts such as a version.
const TEXT_BYTES_MAX: usize = 100;
/// Samples of one answer that are looked at.
const SAMPLES_MAX: usize = 20_000;

/// A family's type in the text format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Untyped,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Untyped => "untyped",
        }
    }
}

/// One number of a server.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// `zk_…`
    pub name: String,
    pub help: Cow<'static, str>,
    pub kind: Kind,
    /// Beside those that say which server it is of.
    pub labels: Labels,
    pub value: f64,
}

/// What one server told of itself at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    /// Its numbers alone: `3.9.3`.
    pub version: Option<String>,
    /// As it says: `leader`, `follower`, `observer`, `standalone`, `read-only` …
    pub state: Option<String>,
    /// What the peer does, and in which phase: `following`, `broadcast`. Told by 3.6 and later.
    pub peer: Option<(String, String)>,
    /// By name and labels, each once; at most [`SERIES_MAX`].
    pub series: Vec<Series>,
    /// Series beyond the bound, and such as have no usable name.
    pub dropped: usize,
}

impl Told {
    /// Adds what another answer of the same server tells and this one does not.
    pub fn complete(&mut self, other: Self) {
        self.version = self.version.take().or(other.version);
        self.state = self.state.take().or(other.state);
        self.peer = self.peer.take().or(other.peer);
        let mut series = std::mem::take(&mut self.series);
        let names: BTreeSet<String> = series.iter().map(|series| series.name.clone()).collect();
        series.extend(other.series.into_iter().filter(|series| !names.contains(&series.name)));
        self.dropped += other.dropped;
        self.keep(series);
    }

    /// Keeps so many as may be: those without labels first.
    fn keep(&mut self, mut series: Vec<Series>) {
        series.sort_by(|a, b| (&a.name, &a.labels).cmp(&(&b.name, &b.labels)));
        // What is told twice is told once: nothing is lost by it.
        series.dedup_by(|a, b| a.name == b.name && a.labels == b.labels);
        let unique = series.len();
        if unique > SERIES_MAX {
            // Then whole namespaces and learners, rather than a part of what each tells.
            series.sort_by(|a, b| (&a.labels, &a.name).cmp(&(&b.labels, &b.name)));
            series.truncate(SERIES_MAX);
            series.sort_by(|a, b| (&a.name, &a.labels).cmp(&(&b.name, &b.labels)));
        }
        self.dropped += unique - series.len();
        self.series = series;
    }
}

/// Collects the samples of one answer.
#[derive(Debug, Default)]
pub(super) struct Collector {
    told: Told,
    samples: Vec<Sample>,
    /// Keys that have quantiles, of which some may be no number.
    summaries: BTreeSet<String>,
}

#[derive(Debug)]
struct Sample {
    key: String,
    labels: Labels,
    value: f64,
}

/// What is written by hand: no key of a server may pose as it.
const OWN: &[&str] = &["up", "ruok", "read_only", "server_leader", "server_state", "peer_state", "version"];

fn is_own(name: &str) -> bool {
    OWN.contains(&name)
}

impl Collector {
    /// Takes one sample in. `key` is as the server has it, with or without `zk_`; what is no number is passed over, but
    /// for the few texts that mean something.
    pub fn push(&mut self, key: &str, labels: Labels, value: &str) {
        let key = key.trim();
        let key = key.strip_prefix("zk_").unwrap_or(key);
        let value = value.trim();
        match key {
            "version" => self.told.version = numbers(value),
            "server_state" => self.told.state = text(value),
            "peer_state" => {
                let (state, phase) = value.split_once(" - ").unwrap_or((value, ""));
                self.told.peer = text(state).map(|state| (state, text(phase).unwrap_or_default()));
            }
            key if is_own(key) => {}
            _ => {
                let value = match value {
                    "true" => 1.0,
                    "false" => 0.0,
                    number => number.parse().unwrap_or(f64::NAN),
                };
                let has_quantile = labels.iter().any(|(name, _)| name == QUANTILE);
                if has_quantile && key.len() <= NAME_BYTES_MAX && self.summaries.len() < SAMPLES_MAX {
                    self.summaries.insert(key.to_owned());
                }
                if !value.is_finite() {
                    return;
                }
                let fits = |(name, value): &(String, String)| {
                    name.len() <= NAME_BYTES_MAX && value.len() <= LABEL_BYTES_MAX && is_label(name)
                };
                let is_name = key.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
                let usable = is_name && key.len() <= NAME_BYTES_MAX + LABEL_BYTES_MAX && labels.iter().all(fits);
                if !usable || self.samples.len() >= SAMPLES_MAX {
                    self.told.dropped += 1;
                    return;
                }
                self.samples.push(Sample { key: key.to_owned(), labels, value });
            }
        }
    }

    /// Ends the answer.
    pub fn end(self) -> Told {
        // A provider tells of one thing by quantiles, a count and a sum; mntr gives each of these a key.
        let Self { mut told, samples, summaries } = self;
        let mut totals: BTreeMap<(String, Labels), Total> = BTreeMap::new();
        let mut series = Vec::with_capacity(samples.len());
        for Sample { key, mut labels, value } in samples {
            let quantile = labels.iter().position(|(name, _)| name == QUANTILE);
            let percentile = quantile.and_then(|at| key::percentile(&labels.get(at)?.1).zip(Some(at)));
            let key = if let Some((percentile, at)) = percentile {
                labels.remove(at);
                format!("{percentile}_{key}")
            } else if let Some(base) = key.strip_suffix("_count").filter(|base| summaries.contains(*base)) {
                totals.entry((base.to_owned(), labels.clone())).or_default().count = Some(value);
                format!("cnt_{base}")
            } else if let Some(base) = key.strip_suffix("_sum").filter(|base| summaries.contains(*base)) {
                totals.entry((base.to_owned(), labels.clone())).or_default().sum = Some(value);
                format!("sum_{base}")
            } else {
                key
            };
            match named(&key, labels, value) {
                Some(one) => series.push(one),
                None => told.dropped += 1,
            }
        }
        for ((base, labels), total) in totals {
            if let Total { count: Some(count), sum: Some(sum) } = total {
                let average = if count > 0.0 { sum / count } else { 0.0 };
                series.extend(named(&format!("avg_{base}"), labels, average));
            }
        }
        told.keep(series);
        told
    }
}

/// Of one thing that was observed again and again.
#[derive(Default)]
struct Total {
    count: Option<f64>,
    sum: Option<f64>,
}

const QUANTILE: &str = "quantile";

fn named(key: &str, mut labels: Labels, value: f64) -> Option<Series> {
    let key = Key::read(key, labels.iter().any(|(label, _)| label == "key"));
    let (name, factor) = key.family();
    match &key.of {
        Some(Of::Namespace(namespace)) => labels.push(("namespace".to_owned(), namespace.clone())),
        Some(Of::Learner(learner)) => labels.push(("learner".to_owned(), learner.clone())),
        None => {}
    }
    for (label, value) in &mut labels {
        match label.as_str() {
            // A provider's name for whom one key of a set is of.
            "key" if key.stem.ends_with("_per_namespace") => *label = "namespace".to_owned(),
            "key" if key::is_sid(value) => *label = "learner".to_owned(),
            "cluster" | "zk_host" => *label = format!("exported_{label}"),
            _ => {}
        }
    }
    // An empty label is none, to Prometheus.
    labels.retain(|(_, value)| !value.is_empty());
    labels.sort();
    labels.dedup_by(|a, b| a.0 == b.0);
    // Buckets and odd quantiles are of a type that this is not, and a name made of another key may be one of ours.
    if labels.iter().any(|(label, _)| label == QUANTILE || label == "le")
        || name.strip_prefix("zk_").is_some_and(is_own)
    {
        return None;
    }
    // `0.1224 ms` is no more exact in seconds.
    let value = if factor == 1.0 { value } else { (value * factor * 1e12).round() / 1e12 };
    let (help, kind) = known::describe(&key, &name);
    (name.len() <= NAME_BYTES_MAX && value.is_finite()).then_some(Series { name, help, kind, labels, value })
}

fn is_label(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !name.starts_with("__")
}

/// A text of bounded length, if there is one.
fn text(value: &str) -> Option<String> {
    let value: String = value.trim().chars().filter(|letter| !letter.is_control()).collect();
    (!value.is_empty() && value.len() <= TEXT_BYTES_MAX).then_some(value)
}

/// `3.9.3-c26634f…, built on …` and `v23.3.1.2823-testing-…` to what counts.
fn numbers(version: &str) -> Option<String> {
    let version = version.trim().trim_start_matches('v');
    let end = version.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(version.len());
    text(version.get(..end)?.trim_end_matches('.'))
}
