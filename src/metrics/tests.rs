use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::zk::{ChangeKind, Ended, EventKind, Evidence, Micros, ScanReason};

fn metrics() -> Metrics {
    let listed = |prefixes: &[&str]| {
        let prefixes: Vec<String> = prefixes.iter().map(|prefix| (*prefix).to_owned()).collect();
        Arc::new(Subtrees::new(&prefixes, 10))
    };
    let prefixes = Prefixes { subtrees: listed(&["/brokers", "/a \"b\"\\c"]), config: listed(&["/config"]) };
    Metrics::new(prefixes).expect("names are unique")
}

#[test]
fn names_keep_the_conventions() {
    let mut names = BTreeSet::new();
    for def in ALL {
        let name = def.name;
        assert!(names.insert(name), "{name} twice");
        assert!(name.starts_with("zktrail_"), "{name}");
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
        for wrong in ["milli", "micro", "_ms", "_kb", "_mb", "minutes", "percent", "_count", "_sum", "_bucket"] {
            assert!(!name.contains(wrong), "{name} has no base unit");
        }
        for unit in ["bytes", "seconds"] {
            let ends = ["", "_total", "_per_second"].map(|end| format!("_{unit}{end}"));
            let has = name.contains(unit);
            assert!(!has || ends.iter().any(|end| name.ends_with(end)), "{name}: the unit comes last");
        }
        assert!(def.help.len() > 15 && def.help.ends_with('.'), "{name}: {}", def.help);
        for label in def.labels {
            let known = [
                "cluster", "state", "ability", "kind", "evidence", "reason", "outcome", "queue", "table", "prefix",
                "version", "door", "what", "zk_host", "word",
            ];
            assert!(known.contains(label), "{name} has the label {label}");
        }
        // Paths are labels only where the operator lists them, and always of one ensemble.
        let is_listed = name.starts_with("zktrail_subtree_") || name == "zktrail_config_changes_total";
        assert_eq!(def.labels.contains(&"prefix"), is_listed, "{name}");
        assert!(!is_listed || def.labels.starts_with(&["cluster", "prefix"]), "{name}");
        if name.contains("timestamp") || name.contains("expiry") {
            assert!(name.ends_with("_timestamp_seconds"), "{name}");
        }
        assert!(def.buckets.is_sorted() && (def.buckets.is_empty() || name.ends_with("_seconds")), "{name}");
    }
}

#[test]
fn everything_renders_and_parses() {
    let metrics = metrics();
    let prod = metrics.cluster("prod");
    assert!(!prod.is_connected());
    prod.session_state(SessionState::Connected);
    assert!(prod.is_connected());
    prod.leader_seen.set(1);
    prod.ability(Ability::EventZxids, true);
    prod.notifications(EventKind::Deleted).inc();
    prod.changes(ChangeKind::Deleted, Evidence::Inferred).inc_by(3);
    prod.rescans(ScanReason::NewSession).inc();
    prod.reads(ReadKind::MultiRead, ReadResult::Ok).inc();
    prod.read_budget(Some(20_000), None);
    let subtree = |path| prod.tree.subtree_at(prod.tree.subtrees().place(path)).expect("a place");
    subtree("/brokers/ids/1").znodes.add(5);
    subtree("/elsewhere").changes(ChangeKind::AclChanged).inc();
    subtree("/elsewhere").changed_at(Micros(1_500_000));
    subtree("/elsewhere").changed_at(Micros(1_000_000));
    prod.tree.config_changes("/config/a").expect("listed").inc();
    assert!(prod.tree.config_changes("/configuration").is_none());
    prod.observed_until(Micros(3_000_000));
    prod.observed_until(Micros(2_000_000));
    prod.queue("stream", 100).depth.set(7);
    prod.history.table("changes").bytes.set(10);
    prod.history.gap_begins(Ended::SessionExpired);
    prod.history.gap_begins(Ended::Unreadable);
    prod.wal_fsync_seconds.observe(0.002);
    prod.gap_seconds.inc_by(1.5);
    let sample = servers::Sample {
        up: true,
        told: servers::mntr("zk_server_state\tleader\nzk_avg_latency\t0.5\n"),
        asked: [(servers::Word::Mntr, servers::Asked { ok: true, took: std::time::Duration::from_millis(2) })].into(),
        ..servers::Sample::default()
    };
    metrics.servers().heard("prod", "zk1:2181", sample);
    metrics.servers().voters("prod", Some(servers::Voters { all: 3, serving: 2 }));
    metrics.disk(10, 5);
    metrics.door("http", &["ok"], &["wrong"]);
    metrics.reloaded("users", true);
    for outcome in [QueryOutcome::Limited, QueryOutcome::Cancelled] {
        metrics.query_started();
        metrics.query_ended(outcome, std::time::Duration::from_millis(5));
    }
    metrics.query_started();

    let text = metrics.render();
    let (types, samples) = parse(&text);
    let sample = |name: &str| *samples.get(name).unwrap_or_else(|| panic!("{name} is not in\n{text}"));
    assert_eq!(sample(r#"zktrail_session_state{cluster="prod",state="connected"}"#), 1.0);
    assert_eq!(sample(r#"zktrail_session_state{cluster="prod",state="expired"}"#), 0.0);
    assert_eq!(sample(r#"zktrail_leader_seen{cluster="prod"}"#), 1.0);
    assert_eq!(sample(r#"zktrail_source_mode{ability="event_zxids",cluster="prod"}"#), 1.0);
    assert_eq!(sample(r#"zktrail_notifications_total{cluster="prod",kind="deleted"}"#), 1.0);
    assert_eq!(sample(r#"zktrail_changes_total{cluster="prod",evidence="inferred",kind="deleted"}"#), 3.0);
    assert_eq!(sample(r#"zktrail_rescans_total{cluster="prod",reason="new_session"}"#), 1.0);
    assert_eq!(sample(r#"zktrail_reads_total{cluster="prod",kind="multi_read",outcome="ok"}"#), 1.0);
    assert_eq!(sample(r#"zktrail_read_budget_bytes_per_second{cluster="prod"}"#), 0.0);
    assert_eq!(sample(r#"zktrail_subtree_znodes{cluster="prod",prefix="/brokers"}"#), 5.0);
    assert_eq!(sample(r#"zktrail_subtree_changes_total{cluster="prod",kind="acl_changed",prefix="other"}"#), 1.0);
    assert_eq!(sample(r#"zktrail_subtree_changes_total{cluster="prod",kind="created",prefix="other"}"#), 0.0);
    assert_eq!(sample(r#"zktrail_subtree_last_change_timestamp_seconds{cluster="prod",prefix="other"}"#), 1.5);
    assert_eq!(sample(r#"zktrail_config_changes_total{cluster="prod",prefix="/config"}"#), 1.0);
    assert_eq!(sample(r#"zktrail_observed_timestamp_seconds{cluster="prod"}"#), 3.0);
    assert_eq!(sample(r#"zktrail_gaps_total{cluster="prod",reason="session_expired"}"#), 1.0);
    assert_eq!(sample(r#"zktrail_queue_capacity{cluster="prod",queue="stream"}"#), 100.0);
    assert_eq!(sample(r#"zktrail_queries_total{outcome="limited"}"#), 1.0);
    assert_eq!(sample(r#"zktrail_queries_total{outcome="cancelled"}"#), 1.0);
    assert_eq!(sample("zktrail_queries_running"), 1.0);
    assert_eq!(sample("zktrail_query_seconds_count"), 2.0);
    assert_eq!(sample("zktrail_disk_free_bytes"), 10.0);

    // Every metric is there once a cluster is, under its own help and type; and nothing else but the process's.
    for def in ALL {
        let kind = types.get(def.name).unwrap_or_else(|| panic!("{} is not rendered", def.name));
        assert_eq!(kind == "counter", def.name.ends_with("_total"), "{} is a {kind}", def.name);
        assert_eq!(kind == "histogram", !def.buckets.is_empty(), "{} is a {kind}", def.name);
    }
    assert_eq!(sample(r#"zk_avg_latency{cluster="prod",zk_host="zk1:2181"}"#), 0.5);
    assert_eq!(sample(r#"zktrail_ensemble_voters_serving{cluster="prod"}"#), 2.0);
    let mut unknown = types.keys().filter(|name| !name.starts_with("zk_"));
    let unknown = unknown.find(|name| !name.starts_with("process_") && !ALL.iter().any(|def| def.name == *name));
    assert_eq!(unknown, None);
}

#[test]
fn clusters_are_made_once() {
    let metrics = metrics();
    metrics.cluster("a").missed.inc();
    metrics.clone().cluster("a").missed.inc();
    metrics.cluster("b").missed.inc();
    assert_eq!((metrics.cluster("a").missed.get(), metrics.cluster("b").missed.get()), (2, 1));
}

/// Parses the text format strictly enough to notice a broken line: types by family, values by series.
fn parse(text: &str) -> (BTreeMap<String, String>, BTreeMap<String, f64>) {
    let (mut types, mut samples, mut helped) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            helped.insert(rest.split_once(' ').expect("a help").0.to_owned());
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            assert!(helped.contains(name), "{name} has no help");
            assert!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} has two types");
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line:?}"));
            let family = series.split('{').next().expect("a name");
            let base =
                ["_bucket", "_sum", "_count"].iter().find_map(|suffix| family.strip_suffix(suffix)).unwrap_or(family);
            assert!(types.contains_key(family) || types.contains_key(base), "{line:?} has no type");
            let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line:?}"));
            assert!(samples.insert(series.to_owned(), value).is_none(), "{series} twice");
        }
    }
    (types, samples)
}
