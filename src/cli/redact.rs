use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;

use crate::config::Config;
use crate::history::disk::Disk;
use crate::history::redact::redact;
use crate::history::{History, HistoryError, Layout, Settings};
use crate::lens::PathGlob;

/// Rewrites history: the values of every path that matches become null in all changes and snapshots.
///
/// That a change happened stays on record, and so do its version and its ACL. No agent may be recording meanwhile;
/// give the agent a value policy for these paths before it starts again, or it records them anew.
#[derive(Debug, Args)]
pub struct RedactArgs {
    /// Paths: `*` stays within a name, `**` crosses names, as in `**/config/users/**`
    #[arg(value_name = "GLOB", required = true)]
    globs: Vec<String>,
    /// The history's folder
    #[arg(long, value_name = "DIR", env = "ZKTRAIL_DATA_DIR", default_value = Config::DATA_DIR)]
    data_dir: PathBuf,
    /// Only this cluster; otherwise every cluster of the folder
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// Do it: without this, nothing is changed
    #[arg(long)]
    yes: bool,
}

pub(super) fn run(args: &RedactArgs) -> anyhow::Result<ExitCode> {
    let globs = args.globs.iter().map(|glob| PathGlob::new(glob)).collect::<Result<Vec<_>, _>>()?;
    let layout = Layout::new(&args.data_dir);
    let mut clusters = layout.clusters().with_context(|| format!("cannot read {}", args.data_dir.display()))?;
    if let Some(only) = &args.cluster {
        clusters.retain(|cluster| cluster == only);
    }
    if clusters.is_empty() {
        bail!("{} holds no history of {}", args.data_dir.display(), args.cluster.as_deref().unwrap_or("any cluster"));
    }
    if !args.yes {
        bail!("this removes recorded values for good from {}: say --yes to do it", clusters.join(", "));
    }
    // All of them or none: whoever finds one being written has changed nothing.
    let mut histories = Vec::with_capacity(clusters.len());
    for cluster in clusters {
        match History::open(&layout, &cluster, Settings::default()) {
            Err(error @ HistoryError::Locked { .. }) => {
                return Err(anyhow::Error::new(error).context("stop the agent first: history is rewritten alone"));
            }
            opened => histories.push((cluster, opened?)),
        }
    }
    let mut found = false;
    for (cluster, history) in histories {
        let state = history.state();
        let matches = |path: &str| globs.iter().any(|glob| glob.matches(path));
        let done = redact(&Disk::new(), &layout, &state, matches, |progress| {
            eprintln!(
                "{cluster}: {} of {} done ({} of {})",
                progress.table.as_str(),
                progress.day,
                progress.days_done,
                progress.days_total
            );
        })?;
        found |= done.rows > 0;
        println!(
            "{cluster}: {} values redacted, {} parts and {} snapshots rewritten",
            done.rows, done.parts, done.snapshots
        );
    }
    if !found {
        eprintln!("zktrail: nothing that was recorded matches {}", args.globs.join(" "));
    }
    Ok(ExitCode::SUCCESS)
}
