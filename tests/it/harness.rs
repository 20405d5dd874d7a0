//! The tests' own footing: servers of every version start, and the writer's record is what really happened.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use tokio::task::JoinHandle;
use zookeeper_client::{AddWatchMode, EventType};

use crate::check::{self, Expectations, Row};
use crate::prerequisites::{faketime, sized, skip};
use crate::proxy::Proxy;
use crate::servers::{self, Ensemble, Shape, Version};
use crate::workload::{self, Kind, Workload};

async fn record_is_true(version: Version, shape: Shape) -> Result<()> {
    if let Some(missing) = Ensemble::missing(version) {
        skip("harness", &missing);
        return Ok(());
    }
    let ensemble = Ensemble::start(version, shape).await?;
    let connect = ensemble.connect_string();
    let heard = listen(&ensemble.address(0).to_string()).await?;
    let operations = sized(3_000, 100_000);
    let recorded = Workload::new(&connect, 1, operations).run().await?;
    ensure!(recorded.operations.len() >= operations, "{} operations", recorded.operations.len());
    workload::create(&workload::session(&connect).await?, END, b"").await?;
    let expected = Expectations { root: "/work", zxids: version.tells_zxids(), gaps: None };
    let findings = check::compare(&recorded, &heard.await??, expected)?;
    ensure!(findings.matched == recorded.heard(), "{findings:?}");
    let znodes = check::model_equals(&check::dump_tree(&connect)?, &recorded, "/work")?;
    ensure!(znodes > 100, "only {znodes} znodes are left");
    Ok(())
}

/// The change that ends [`listen`].
const END: &str = "/end";

/// What the bare notifications of one server tell, as rows, up to the creation of [`END`].
async fn listen(server: &str) -> Result<JoinHandle<Result<Vec<Row>>>> {
    let client = workload::session(server).await?;
    let mut watcher = client.watch("/", AddWatchMode::PersistentRecursive).await?;
    Ok(tokio::spawn(async move {
        let _client = client;
        let mut rows: Vec<Row> = Vec::new();
        loop {
            let event = watcher.changed().await;
            let kind = match event.event_type {
                EventType::NodeCreated => Kind::Created,
                EventType::NodeDataChanged => Kind::DataChanged,
                EventType::NodeDeleted => Kind::Deleted,
                other => bail!("{other} of {:?}, session {}", event.path, event.session_state),
            };
            if event.path == END {
                return Ok(rows);
            }
            let zxid = (event.zxid >= 0).then_some(event.zxid);
            rows.push(Row {
                seq: rows.len() as i64,
                kind,
                path: event.path,
                version: None,
                aversion: None,
                zxid,
                position: zxid.unwrap_or_default(),
                czxid: None,
                data: None,
                data_length: None,
                evidence: "coalesced".to_owned(),
                missed: 0,
                source: "watch".to_owned(),
            });
        }
    }))
}

macro_rules! on_every_server {
    ($($name:ident => $version:ident, $shape:ident;)+) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() -> Result<()> {
            record_is_true(Version::$version, Shape::$shape).await
        }
    )+};
}
on_every_server! {
    record_is_true_3_6_standalone => V3_6, Standalone;
    record_is_true_3_6_three_nodes => V3_6, ThreeNodes;
    record_is_true_3_8_standalone => V3_8, Standalone;
    record_is_true_3_8_three_nodes => V3_8, ThreeNodes;
    record_is_true_3_9_standalone => V3_9, Standalone;
    record_is_true_3_9_three_nodes => V3_9, ThreeNodes;
    record_is_true_embedded => Embedded, ThreeNodes;
    record_is_true_embedded_without_zxids => EmbeddedWithoutZxids, Standalone;
}

/// The careful writer's record stays true while its servers are killed one after another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn record_is_true_while_servers_die() -> Result<()> {
    if let Some(missing) = Ensemble::missing(Version::V3_9) {
        skip("record_is_true_while_servers_die", &missing);
        return Ok(());
    }
    let mut ensemble = Ensemble::start(Version::V3_9, Shape::ThreeNodes).await?;
    let connect = ensemble.connect_string();
    let running = Workload::new(&connect, 2, 0).careful(400.0).start();
    for node in [0, 1, 2] {
        running.advance(150).await;
        ensemble.kill_node(node)?;
        ensemble.restart_node(node).await?;
    }
    running.advance(150).await;
    let recorded = running.stop().await?;
    check::model_equals(&check::dump_tree(&connect)?, &recorded, "/work")?;
    Ok(())
}

/// Several lives of one path, and the record knows the zxid of each end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn churn_records_every_life() -> Result<()> {
    if let Some(missing) = Ensemble::missing(Version::V3_8) {
        skip("churn_records_every_life", &missing);
        return Ok(());
    }
    let ensemble = Ensemble::start(Version::V3_8, Shape::Standalone).await?;
    let connect = ensemble.connect_string();
    let client = workload::session(&connect).await?;
    workload::create(&client, "/churn", b"").await?;
    let recorded = workload::churn(&connect, "/churn/one", 200).await?;
    ensure!(recorded.operations.len() == 400 && recorded.tree.is_empty());
    let zxids: Vec<_> = recorded.operations.iter().filter_map(|operation| operation.zxid).collect();
    ensure!(zxids.len() == 400 && zxids.is_sorted_by(|a, b| a < b), "zxids must rise: {zxids:x?}");
    Ok(())
}

/// A cut holds everything back; after it connections carry on, or are made anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proxy_cuts_and_heals() -> Result<()> {
    if let Some(missing) = Ensemble::missing(Version::V3_9) {
        skip("proxy_cuts_and_heals", &missing);
        return Ok(());
    }
    let ensemble = Ensemble::start(Version::V3_9, Shape::Standalone).await?;
    let proxy = Proxy::start(ensemble.address(0)).await?;
    let client = workload::session(&proxy.address().to_string()).await?;
    ensure!(proxy.connections() == 1);
    workload::create(&client, "/through", b"").await?;

    proxy.cut();
    let blocked = tokio::time::timeout(Duration::from_millis(300), client.get_data("/through")).await;
    ensure!(blocked.is_err(), "nothing passes a cut: {blocked:?}");
    proxy.heal();
    client.get_data("/through").await?;

    proxy.drop_connections();
    while client.get_data("/through").await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    ensure!(proxy.connections() == 1);
    Ok(())
}

/// Servers whose clock is off serve like any other, and their times tell.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_clock_is_off() -> Result<()> {
    const AHEAD_SECONDS: i64 = 7_200;
    if let Some(missing) = Ensemble::missing(Version::V3_9) {
        skip("servers_clock_is_off", &missing);
        return Ok(());
    }
    if faketime().is_none() {
        skip("servers_clock_is_off", "libfaketime is not installed (Debian: faketime)");
        return Ok(());
    }
    let mut settings = servers::Settings::new(Version::V3_9, Shape::Standalone);
    settings.clock_offset_seconds = AHEAD_SECONDS;
    let ensemble = Ensemble::start_with(settings).await?;
    let client = workload::session(&ensemble.connect_string()).await?;
    workload::create(&client, "/clock", b"").await?;
    let (_, stat) = client.get_data("/clock").await?;
    let ahead = stat.ctime / 1_000 - chrono::Utc::now().timestamp();
    ensure!((ahead - AHEAD_SECONDS).abs() <= 30, "the server's clock is {ahead} s ahead");
    Ok(())
}
