//! The latest samples in Prometheus' text format: each family once, with its help and type, then every server's series.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use super::told::Kind;
use super::{Sample, UNKNOWN, Voters, known};
use crate::metrics::{Def, names};

/// Cluster, server, its latest sample.
pub(super) type Named = (Arc<str>, Arc<str>, Arc<Sample>);

/// Appends everything; samples are in the order of clusters and servers.
pub(super) fn render(voters: &[(Arc<str>, Voters)], samples: &[Named], text: &mut String) {
    let mut page = Page { text };
    page.voters(&names::ENSEMBLE_VOTERS, voters, |voters| voters.all);
    page.voters(&names::ENSEMBLE_VOTERS_SERVING, voters, |voters| voters.serving);
    own(&mut page, samples);
    let mut families: BTreeMap<&str, Vec<(&Named, usize)>> = BTreeMap::new();
    for named in samples.iter().filter(|named| named.2.up) {
        for (at, series) in named.2.told.series.iter().enumerate() {
            families.entry(&series.name).or_default().push((named, at));
        }
    }
    for (name, members) in families {
        for (at, (named, series)) in members.iter().enumerate() {
            let Some(series) = named.2.told.series.get(*series) else { continue };
            if at == 0 {
                page.family(name, &series.help, series.kind);
            }
            page.series(name, named, &series.labels, series.value);
        }
    }
}

/// The families that are not a key of the server's own.
fn own(page: &mut Page<'_>, samples: &[Named]) {
    let number = |is: bool| f64::from(u8::from(is));
    page.simple(&known::UP, samples, |sample| Some((Vec::new(), number(sample.up))));
    page.simple(&known::RUOK, samples, |sample| Some((Vec::new(), number(sample.ruok.filter(|_| sample.up)?))));
    page.simple(&known::READ_ONLY, samples, |sample| {
        Some((Vec::new(), number(sample.read_only.filter(|_| sample.up)?)))
    });
    let state = |sample: &Sample| sample.told.state.clone().filter(|_| sample.up);
    page.simple(&known::SERVER_LEADER, samples, |sample| {
        let state = state(sample).filter(|state| state != UNKNOWN)?;
        Some((Vec::new(), number(matches!(state.as_str(), "leader" | "standalone"))))
    });
    page.simple(&known::SERVER_STATE, samples, |sample| Some((vec![("state".to_owned(), state(sample)?)], 1.0)));
    page.simple(&known::PEER_STATE, samples, |sample| {
        let (state, phase) = sample.told.peer.clone().filter(|_| sample.up)?;
        Some((vec![("state".to_owned(), state), ("phase".to_owned(), phase)], 1.0))
    });
    page.simple(&known::VERSION, samples, |sample| {
        let version = sample.told.version.clone().filter(|_| sample.up)?;
        Some((vec![("version".to_owned(), version)], 1.0))
    });
    let dropped = (names::SERVER_SERIES_DROPPED.name, names::SERVER_SERIES_DROPPED.help);
    page.simple(&dropped, samples, |sample| Some((Vec::new(), sample.told.dropped as f64)));
    let asked = [(names::SERVER_SAMPLE_SUCCESS, Kind::Gauge), (names::SERVER_SAMPLE_DURATION, Kind::Gauge)];
    for (at, (def, kind)) in asked.iter().enumerate() {
        if samples.iter().any(|(.., sample)| !sample.asked.is_empty()) {
            page.family(def.name, def.help, *kind);
        }
        for named in samples {
            for (word, asked) in &named.2.asked {
                let labels = [("word".to_owned(), word.as_str().to_owned())];
                let value = if at == 0 { number(asked.ok) } else { asked.took.as_secs_f64() };
                page.series(def.name, named, &labels, value);
            }
        }
    }
}

struct Page<'a> {
    text: &'a mut String,
}

impl Page<'_> {
    fn family(&mut self, name: &str, help: &str, kind: Kind) {
        let help = help.replace('\\', r"\\").replace('\n', r"\n");
        // Writing to a String does not fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {}", kind.as_str());
    }

    fn voters(&mut self, def: &Def, all: &[(Arc<str>, Voters)], number: impl Fn(&Voters) -> usize) {
        if !all.is_empty() {
            self.family(def.name, def.help, Kind::Gauge);
        }
        for (cluster, voters) in all {
            let _ = write!(self.text, "{}{{cluster=\"", def.name);
            self.value(cluster);
            let _ = writeln!(self.text, "\"}} {}", number(voters));
        }
    }

    fn series(&mut self, name: &str, (cluster, host, _): &Named, labels: &[(String, String)], value: f64) {
        let _ = write!(self.text, "{name}{{cluster=\"");
        self.value(cluster);
        self.text.push_str("\",zk_host=\"");
        self.value(host);
        for (label, value) in labels {
            let _ = write!(self.text, "\",{label}=\"");
            self.value(value);
        }
        let _ = writeln!(self.text, "\"}} {value}");
    }

    fn value(&mut self, text: &str) {
        for letter in text.chars() {
            match letter {
                '\\' => self.text.push_str(r"\\"),
                '"' => self.text.push_str("\\\""),
                '\n' => self.text.push_str(r"\n"),
                other => self.text.push(other),
            }
        }
    }

    /// A gauge of which each server has one series, or none.
    fn simple(
        &mut self,
        (name, help): &(&str, &str),
        samples: &[Named],
        series: impl Fn(&Sample) -> Option<(Vec<(String, String)>, f64)>,
    ) {
        let mut is_first = true;
        for named in samples {
            let Some((labels, value)) = series(&named.2) else { continue };
            if std::mem::take(&mut is_first) {
                self.family(name, help, Kind::Gauge);
            }
            self.series(name, named, &labels, value);
        }
    }
}
