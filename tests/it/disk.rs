//! A full disk: recording stops with a gap, the agent stays up, and goes on when there is room again.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::agent::{self, Agent, Settings};
use crate::check::{self, CHANGES_IN_ORDER, Expectations, GAPS};
use crate::main_job::wait_tree_equals;
use crate::prerequisites::{history_folder, skip};
use crate::servers::{Ensemble, Shape, Version};
use crate::workload::{self, Recorded};

const SMALL_BYTES: u64 = 48 << 20;
const ROOMY_BYTES: u64 = 512 << 20;
const VALUE_BYTES: usize = 60_000;
const ZNODES: usize = 40;
const FILLS_WITHIN_ROUNDS: usize = 200;

/// A small file system in memory; unmounted when dropped.
pub struct Tmpfs<'a>(&'a Path);

impl<'a> Tmpfs<'a> {
    /// `None` where this process may not mount.
    pub fn mount(folder: &'a Path, bytes: u64) -> Option<Self> {
        let options = format!("size={bytes},mode=0700");
        let status = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(folder).output();
        status.is_ok_and(|output| output.status.success()).then_some(Self(folder))
    }

    fn make_room(&self) -> Result<()> {
        let options = format!("remount,size={ROOMY_BYTES}");
        let output = Command::new("mount").args(["-o", &options]).arg(self.0).output()?;
        ensure!(output.status.success(), "remounting: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }
}

impl Drop for Tmpfs<'_> {
    fn drop(&mut self) {
        // Lazily: whatever is still open must not keep it.
        let _ = Command::new("umount").arg("-l").arg(self.0).output();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_disk_is_a_gap() -> Result<()> {
    if let Some(missing) = Ensemble::missing(Version::V3_9) {
        skip("full_disk_is_a_gap", &missing);
        return Ok(());
    }
    let folder = history_folder()?;
    let Some(disk) = Tmpfs::mount(folder.path(), SMALL_BYTES) else {
        skip("full_disk_is_a_gap", "a tmpfs cannot be mounted here (not root?)");
        return Ok(());
    };
    let ensemble = Ensemble::start(Version::V3_9, Shape::Standalone).await?;
    let connect = ensemble.connect_string();
    let data_dir = folder.path().join("history");
    let mut agent = Agent::start(Settings::new(&connect, &data_dir)).await?;
    let client = workload::session(&connect).await?;

    let mut recorded = Recorded::default();
    recorded.push(workload::create(&client, "/full", b"").await?);
    for znode in 0..ZNODES {
        recorded.push(workload::create(&client, &format!("/full/{znode}"), b"").await?);
    }
    let mut full = false;
    for round in 0..FILLS_WITHIN_ROUNDS {
        for znode in 0..ZNODES {
            let value = incompressible(round * ZNODES + znode);
            recorded.push(workload::set(&client, &format!("/full/{znode}"), &value).await?);
        }
        let rows = agent.sql("SELECT reason FROM gaps WHERE reason = 'disk_full'").await;
        if rows.context("a full disk must not keep the agent from answering")?.len() == 1 {
            full = true;
            break;
        }
    }
    ensure!(
        full,
        "{} MB were written and no gap tells of a full disk",
        (FILLS_WITHIN_ROUNDS * ZNODES * VALUE_BYTES) >> 20
    );
    let (status, body) = agent.get("/healthz").await?;
    ensure!(status == 200, "/healthz answers {status}: {body}");
    let before = agent.sql_integer("SELECT max(seq) AS seq FROM changes").await?;

    disk.make_room()?;
    workload::create(&client, "/room", b"").await?;
    agent.sees("/room").await?;
    workload::create(&client, "/heard", b"").await?;
    ensure!(agent.sees("/heard").await? == "watch", "recording goes on by notifications");
    let after = agent.sql_integer("SELECT max(seq) AS seq FROM changes").await?;
    ensure!(after > before);
    // It waits for so long at least before it tries again, and that is a gap.
    let blind_seconds = agent.metric_sum("zktrail_gap_seconds_total").await?;
    ensure!(blind_seconds >= 2.0, "the counter tells of {blind_seconds} s without anybody looking");
    agent.sql_until(Duration::from_secs(30), GAPS, |rows| rows.iter().all(|gap| !gap["to_time"].is_null())).await?;

    let rows = check::rows(&agent.sql(CHANGES_IN_ORDER).await?)?;
    let gaps = check::gaps(&agent.sql(GAPS).await?)?;
    check::compare(&recorded, &rows, Expectations { root: "/full", zxids: true, gaps: Some(&gaps) })?;
    wait_tree_equals(&agent, &connect).await?;
    ensure!(agent.terminate().await? == 0, "SIGTERM must end the agent with 0");
    agent::verify(&data_dir).await
}

/// Bytes that no compression makes smaller.
fn incompressible(seed: usize) -> Vec<u8> {
    let mut state = seed as u64 + 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..VALUE_BYTES / 8).flat_map(|_| next().to_le_bytes()).collect()
}
