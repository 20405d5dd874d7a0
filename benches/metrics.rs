//! What `/metrics` costs beside a large tree: `cargo bench --bench metrics`.
//!
//! Two clusters of 1,000,000 znodes each (100,000 parents with nine children) and 100 listed prefixes; or as many znodes
//! as `ZKTRAIL_BENCH_ZNODES` says. Prints what it took to read the trees in, what one change takes to be counted and shown,
//! and what rendering takes and gives.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use zktrail::agent::tree_metrics::TreeCounts;
use zktrail::metrics::{Metrics, Prefixes, Subtrees};
use zktrail::tree::{Effect, Tree};
use zktrail::zk::{Event, EventKind, Micros, Observation, ReadOutcome, ScanReason, Stat, Zxid};

const CLUSTERS: [&str; 2] = ["prod", "staging"];
const CHILDREN: usize = 9;
const PREFIXES: usize = 100;
const CHANGES: usize = 200_000;
const RENDERINGS: usize = 200;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let znodes: usize = std::env::var("ZKTRAIL_BENCH_ZNODES").ok().and_then(|n| n.parse().ok()).unwrap_or(1_000_000);
    let parents = znodes / (CHILDREN + 1);
    let listed: Vec<String> = (0..PREFIXES).map(|n| format!("/services/s{n:06}")).collect();
    let config = vec!["/services/s000000".to_owned(), "/config".to_owned()];
    let prefixes = Prefixes {
        subtrees: Arc::new(Subtrees::new(&listed, PREFIXES)),
        config: Arc::new(Subtrees::new(&config, PREFIXES)),
    };
    let metrics = Metrics::new(prefixes)?;
    let mut clusters = Vec::new();
    for name in CLUSTERS {
        let mut counts = TreeCounts::new(metrics.cluster(name));
        let mut tree = Tree::new("/".into(), 1);
        counts.follow(&mut tree);
        let memory = resident_bytes();
        let began = Instant::now();
        read_in(&mut tree, parents);
        let took = began.elapsed();
        counts.show(&mut tree, Micros::now());
        println!(
            "{name}: {} znodes read in in {took:.1?}, {:.0} bytes of memory a znode",
            tree.len(),
            resident_bytes().saturating_sub(memory) as f64 / tree.len().max(1) as f64
        );
        clusters.push((tree, counts));
    }

    let Some((tree, counts)) = clusters.first_mut() else { return Ok(()) };
    let began = Instant::now();
    let mut effects = Vec::new();
    for n in 0..CHANGES as u64 {
        let (kind, zxid) = (EventKind::Deleted, Some(Zxid(1_000 + n as i64)));
        let path =
            format!("/services/s{:06}/i{}", n as usize / CHILDREN % parents.max(1), n as usize % CHILDREN).into();
        let event = Event { id: n + 1, kind, path, zxid, heard_at: Micros(2_000_000), read_follows: false };
        tree.apply(Observation::Event(event), &mut effects);
        for effect in effects.drain(..) {
            if let Effect::Change(change) = effect {
                counts.change(&change);
            }
        }
        counts.show(tree, Micros(2_000_000));
    }
    println!("a change derived, counted and shown: {:.2?}", began.elapsed() / CHANGES as u32);

    let mut times: Vec<Duration> = Vec::new();
    for _ in 0..RENDERINGS {
        let began = Instant::now();
        black_box(metrics.render());
        times.push(began.elapsed());
    }
    times.sort_unstable();
    let text = metrics.render();
    let series = text.lines().filter(|line| !line.starts_with('#')).count();
    println!(
        "/metrics: {series} series, {} bytes; rendered in {:.2?} (median of {RENDERINGS}; least {:.2?}, most {:.2?})",
        text.len(),
        times[times.len() / 2],
        times[0],
        times[times.len() - 1]
    );
    Ok(())
}

fn read_in(tree: &mut Tree, parents: usize) {
    let mut effects = Vec::new();
    let heard_at = Micros(1_000_000);
    let mut feed = |observation| {
        tree.apply(observation, &mut effects);
        effects.clear();
    };
    let read = |path: &str, stat| Observation::Read {
        path: path.into(),
        event: None,
        heard_at,
        outcome: ReadOutcome::Found { stat, data: Bytes::new() },
    };
    let stat =
        |n: usize| Stat { czxid: Zxid(9), mtime: Micros(n as i64), data_length: (n % 1_000) as i32, ..Stat::default() };
    feed(Observation::ScanStarted { reason: ScanReason::Bootstrap, heard_at });
    feed(read("/", Stat { num_children: 1, ..stat(0) }));
    feed(read("/services", Stat { num_children: parents as i32, ..stat(0) }));
    for parent in 0..parents {
        let path = format!("/services/s{parent:06}");
        feed(read(&path, Stat { num_children: CHILDREN as i32, ..stat(parent) }));
        for child in 0..CHILDREN {
            let owner = if child == 0 { parent as i64 } else { 0 };
            feed(read(&format!("{path}/i{child}"), Stat { ephemeral_owner: owner, ..stat(parent + child) }));
        }
    }
    feed(Observation::ScanFinished { heard_at });
}

/// Of this process, as Linux tells it; 0 elsewhere.
fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    pages.and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok()).unwrap_or(0) * 4096
}
