use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const MNTR_3_9: &str = include_str!("testdata/3.9-leader.mntr");
const MNTR_3_6: &str = include_str!("testdata/3.6-leader.mntr");
const MONITOR_3_9: &[u8] = include_bytes!("testdata/3.9-follower.monitor.json");
const PROVIDER_3_9: &str = include_str!("testdata/3.9-leader.prom");

fn sample(told: Told) -> Sample {
    Sample { up: true, told, ..Sample::default() }
}

fn render(samples: Vec<(&str, Sample)>) -> String {
    let servers = Servers::default();
    for (host, sample) in samples {
        servers.heard("prod", host, sample);
    }
    let mut text = String::new();
    servers.render(&mut text);
    text
}

fn value(told: &Told, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let is_same = |series: &&Series| {
        series.name == name
            && series.labels.iter().map(|(label, value)| (label.as_str(), value.as_str())).eq(labels.iter().copied())
    };
    told.series.iter().find(is_same).map(|series| series.value)
}

fn names(told: &Told) -> BTreeSet<&str> {
    told.series.iter().map(|series| series.name.as_str()).collect()
}

#[test]
fn mntr_of_a_leader() {
    let told = mntr(MNTR_3_9);
    assert_eq!((told.version.as_deref(), told.state.as_deref()), (Some("3.9.3"), Some("leader")));
    assert_eq!(told.peer, Some(("leading".to_owned(), "broadcast".to_owned())));
    let value = |name: &str, labels: &[(&str, &str)]| value(&told, name, labels);
    assert_eq!(value("zk_znode_count", &[]), Some(33.0));
    assert_eq!(value("zk_synced_followers", &[]), Some(2.0));
    assert_eq!(value("zk_avg_fsynctime", &[]), Some(0.0));
    assert_eq!(value("zk_avg_write_commitproc_time_seconds", &[]), Some(0.000_795_9));
    assert_eq!(value("zk_cnt_write_commitproc_time", &[]), Some(49.0));
    assert_eq!(value("zk_max_write_per_namespace", &[("namespace", "my_ns")]), Some(109.0));
    assert_eq!(value("zk_max_write_per_namespace", &[("namespace", "app-config")]), Some(114.0));
    assert_eq!(value("zk_max_write_per_namespace", &[("namespace", "a.b")]), Some(107.0));
    assert_eq!(value("zk_quota_bytes_limit_per_namespace", &[("namespace", "my_ns")]), Some(100_000.0));
    assert_eq!(value("zk_p99_learner_handler_qp_time_seconds", &[("learner", "2")]), Some(0.014));
    assert_eq!(told.dropped, 0);
    // Each line is one series, but for the three texts.
    assert_eq!(told.series.len(), MNTR_3_9.lines().count() - 3);
}

#[test]
fn monitor_tells_what_mntr_does() {
    let told = monitor(MONITOR_3_9).unwrap();
    assert_eq!((told.version.as_deref(), told.state.as_deref()), (Some("3.9.3"), Some("follower")));
    assert_eq!(told.peer, Some(("following".to_owned(), "broadcast".to_owned())));
    let leader = mntr(MNTR_3_9);
    let unknown: Vec<&str> = names(&told).difference(&names(&leader)).copied().collect();
    assert_eq!(unknown, Vec::<&str>::new(), "a follower has no key of its own");
    assert_eq!(value(&told, "zk_quota_count_limit_per_namespace", &[("namespace", "my_ns")]), Some(100.0));

    assert_eq!(monitor(b"<html>"), Err(NotMonitor::Json));
    assert_eq!(monitor(b"[1]"), Err(NotMonitor::Json));
    let silent = br#"{"command":"monitor","error":"This ZooKeeper instance is not currently serving requests"}"#;
    assert!(matches!(monitor(silent), Err(NotMonitor::Said(said)) if said.contains("not currently")));
}

#[test]
fn a_provider_has_the_names_of_mntr() {
    let told = provider(PROVIDER_3_9);
    let leader = mntr(MNTR_3_9);
    let known = names(&leader);
    let unknown: Vec<&str> = names(&told).into_iter().filter(|name| !known.contains(name)).collect();
    let is_expected = |name: &&&str| {
        name.starts_with("zk_jvm_")
            || name.starts_with("zk_process_")
            || name.contains("_p90_")
            || name.contains("_p50_")
    };
    assert_eq!(unknown.iter().filter(|name| !is_expected(name)).collect::<Vec<_>>(), Vec::<&&str>::new());
    assert_eq!(value(&told, "zk_cnt_quorum_ack_latency", &[]), Some(49.0));
    assert_eq!(value(&told, "zk_p99_quorum_ack_latency", &[]), Some(3.0));
    assert_eq!(value(&told, "zk_avg_quorum_ack_latency", &[]), Some(40.0 / 49.0));
    assert_eq!(value(&told, "zk_p50_learner_handler_qp_time_seconds", &[("learner", "1")]), Some(0.021));
    assert_eq!(value(&told, "zk_quota_count_limit_per_namespace", &[("namespace", "my_ns")]), Some(100.0));
    assert_eq!(value(&told, "zk_p50_jvm_pause_time_seconds", &[]), None, "NaN is no number");
    assert_eq!(value(&told, "zk_avg_jvm_pause_time_seconds", &[]), Some(0.0));
    assert_eq!((told.version, told.state, told.dropped), (None, None, 0));
}

#[test]
fn masters_totals_and_labels_are_the_same_names() {
    let told = mntr(include_str!("testdata/master.mntr"));
    assert_eq!(told.version.as_deref(), Some("3.10.0"));
    let value = |name: &str, labels: &[(&str, &str)]| value(&told, name, labels);
    assert_eq!(value("zk_commit_count", &[]), Some(49.0));
    assert_eq!(value("zk_connection_drop_count", &[]), Some(7.0));
    assert_eq!(value("zk_quota_exceeded_error_per_namespace", &[("namespace", "my_ns")]), Some(2.0));
    assert_eq!(value("zk_avg_fsynctime", &[]), Some(1.5));
    assert_eq!(value("zk_avg_ack_latency", &[("learner", "2")]), Some(2.0));
    assert_eq!(value("zk_p99_ack_latency", &[("learner", "2")]), Some(3.0));
    assert_eq!(value("zk_jvm_memory_used_bytes", &[("area", "heap")]), Some(32_524_064.0));
    assert_eq!(value("zk_jvm_threads_started_total", &[]), Some(41.0));
}

/// Old servers, ClickHouse Keeper, and one that only allows `srvr`, as Prometheus gets them.
#[test]
fn rendered() {
    let srvr = [
        ("version", "3.5.10"),
        ("server_state", "standalone"),
        ("min_latency", "0"),
        ("avg_latency", "0"),
        ("max_latency", "4"),
        ("packets_received", "119"),
        ("znode_count", "33"),
    ];
    let mut full = sample(mntr(include_str!("testdata/3.4.14.mntr")));
    (full.ruok, full.read_only) = (Some(true), Some(false));
    full.asked.insert(Word::Mntr, Asked { ok: true, took: Duration::from_micros(1_500) });
    let mut down = Sample::default();
    down.asked.insert(Word::Srvr, Asked { ok: false, took: Duration::from_secs(3) });
    let hosts = [
        ("[::1]:2181", full),
        ("srvr:2181", sample(pairs(srvr))),
        ("keeper:9181", sample(mntr(include_str!("testdata/keeper-leader.mntr")))),
        ("down:2181", down),
    ];
    insta::assert_snapshot!(render(hosts.to_vec()));
}

#[test]
fn a_server_that_does_not_answer_has_nothing_else() {
    let mut gone = sample(mntr(MNTR_3_9));
    (gone.up, gone.ruok, gone.read_only) = (false, Some(true), Some(false));
    let text = render(vec![("a:1", gone)]);
    let series: Vec<&str> = text.lines().filter(|line| line.starts_with("zk_")).collect();
    assert_eq!(series, [r#"zk_up{cluster="prod",zk_host="a:1"} 0"#]);
}

#[test]
fn who_is_not_known_is_forgotten() {
    let servers = Servers::default();
    for host in ["a:1", "b:1"] {
        servers.heard("prod", host, sample(Told::default()));
    }
    servers.retain("prod", |host| host == "b:1");
    servers.retain("other", |_| false);
    let mut text = String::new();
    servers.render(&mut text);
    assert!(text.contains("b:1") && !text.contains("a:1"), "{text}");
    for at in 0..2 * SERVERS_MAX {
        servers.heard("prod", &format!("c:{at}"), sample(Told::default()));
    }
    text.clear();
    servers.render(&mut text);
    assert_eq!(text.lines().filter(|line| line.starts_with("zk_up{")).count(), SERVERS_MAX);
}

#[test]
fn what_is_beyond_the_bound_is_counted() {
    let mut text = String::from("zk_znode_count\t5\n");
    for at in 0..3 * SERIES_MAX {
        text.push_str(&format!("zk_avg_ns{at:05}_write_per_namespace\t1\nzk_max_ns{at:05}_write_per_namespace\t2\n"));
    }
    text.push_str("zk_watch_count\t6\n");
    let told = mntr(&text);
    assert_eq!((told.series.len(), told.dropped), (SERIES_MAX, 5 * SERIES_MAX + 2));
    assert_eq!(value(&told, "zk_watch_count", &[]), Some(6.0), "what has no label comes first");
    for name in ["zk_avg_write_per_namespace", "zk_max_write_per_namespace"] {
        assert!(value(&told, name, &[("namespace", "ns00498")]).is_some(), "a namespace is whole: {name}");
    }
    let mut again = mntr(&text);
    again.complete(mntr("zk_novelty\t1\n"));
    assert_eq!(value(&again, "zk_novelty", &[]), Some(1.0));
    assert_eq!((again.series.len(), again.dropped), (SERIES_MAX, 5 * SERIES_MAX + 3));
}

#[test]
fn no_key_poses_as_ours() {
    let told = mntr("zk_up\t0\nzk_ruok\t0\nzk_server_leader\t7\nzk_x{cluster=\"y\",zk_host=\"z\"}\t1\nzk_cut\t1");
    assert_eq!(told.series.len(), 1);
    let labels = [("exported_cluster", "y"), ("exported_zk_host", "z")];
    assert_eq!(value(&told, "zk_x", &labels), Some(1.0));
    let told = mntr(
        "zk_up_total\t0\nzk_Up\t0\nzk_server-leader\t7\nzk_Ruok\t1\nzk_version_total\t3\nzk_y{quantile=\"1.0\"}\t1\n",
    );
    assert_eq!((told.series.len(), told.dropped), (0, 6), "{:?}", told.series);
    let told = mntr("zk_z{a=\"\"}\t1\nzk__quota_count_limit_per_namespace\t2\n");
    assert!(told.series.iter().all(|series| series.labels.is_empty()), "{:?}", told.series);
}

#[test]
fn what_was_told_first_stays() {
    let mut told = provider("znode_count 7\n");
    told.complete(pairs([("znode_count", "8"), ("avg_latency", "1"), ("server_state", "follower")]));
    assert_eq!(value(&told, "zk_znode_count", &[]), Some(7.0));
    assert_eq!(value(&told, "zk_avg_latency", &[]), Some(1.0));
    assert_eq!(told.state.as_deref(), Some("follower"));
}

/// Every family has one help and one type whoever tells it, and its name bears what promtool's linter looks for.
#[test]
fn families_agree() {
    let mut families = BTreeMap::new();
    let all = [mntr(MNTR_3_9), mntr(MNTR_3_6), provider(PROVIDER_3_9), monitor(MONITOR_3_9).unwrap()];
    for series in all.iter().flat_map(|told| &told.series) {
        let first = families.entry(&series.name).or_insert((&series.help, series.kind));
        assert_eq!((first.0, first.1), (&series.help, series.kind), "{}", series.name);
        let is_reserved = ["_count", "_sum"].iter().any(|end| series.name.ends_with(end));
        assert!(!is_reserved || series.kind == Kind::Untyped, "{}", series.name);
        assert!(!series.name.ends_with("_ms"), "{}", series.name);
        assert!(series.help.ends_with('.') && series.help.len() > 10, "{}: {}", series.name, series.help);
    }
    assert!(families.len() > 450, "{}", families.len());
}

fn lines() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        "zk_[a-z0-9_]{0,12}\t-?[0-9.eE]{0,6}",
        "(zk_)?(avg|p99|cnt|sum)_[a-z0-9_]{0,8}(_per_namespace|_ms|_count|_sum|_total)?[ \t][0-9]{0,3}",
        r#"[a-z_]{1,8}\{(key|quantile|cluster|é)="[^\n]{0,6}",?\}[ \t][0-9.]{1,4}"#,
        "[^\n]{0,40}",
    ];
    proptest::collection::vec(line, 0..40).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #[test]
    fn nothing_panics_and_everything_stays_bounded(text in lines(), bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let json = serde_json::to_vec(&serde_json::json!({ text.clone(): text.clone(), "a": 1, "b": [1], "c": f64::MAX }));
        let bytes_as_text = String::from_utf8_lossy(&bytes).into_owned();
        let all = [mntr(&text), provider(&text), mntr(&bytes_as_text), provider(&bytes_as_text)];
        let monitors = [monitor(&bytes), monitor(&json.unwrap_or_default())].into_iter().flatten();
        for told in all.into_iter().chain(monitors) {
            prop_assert!(told.series.len() <= SERIES_MAX);
            let unique: BTreeSet<_> = told.series.iter().map(|series| (&series.name, &series.labels)).collect();
            prop_assert_eq!(unique.len(), told.series.len());
            prop_assert!(told.series.iter().all(|series| series.value.is_finite()));
            // What is rendered is one line a series, whatever is in it.
            let told_lines = told.series.len();
            let text = render(vec![("a:1", sample(told))]);
            prop_assert!(text.lines().filter(|line| !line.starts_with('#')).count() >= told_lines);
            for line in text.lines().filter(|line| !line.starts_with('#')) {
                let value = line.rsplit_once(' ').map(|(_, value)| value.parse::<f64>());
                prop_assert!(matches!(value, Some(Ok(_))), "{:?}", line);
            }
        }
    }
}
