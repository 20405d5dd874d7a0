use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;

use crate::config::Config;

/// Writes a snapshot of the whole tree of every ensemble that the agent watches, and waits until it is durable.
#[derive(Debug, Args)]
pub struct SnapshotArgs {
    /// The history's folder; its agent must be running
    #[arg(long, value_name = "DIR", env = "ZKTRAIL_DATA_DIR", default_value = Config::DATA_DIR)]
    data_dir: PathBuf,
}

pub(super) fn run(args: &SnapshotArgs) -> anyhow::Result<ExitCode> {
    let Some(door) = super::control::door(&args.data_dir)? else {
        bail!("no agent is recording into {}: a snapshot needs the live tree", args.data_dir.display());
    };
    let answer = super::control::post(&door, "/snapshot")?;
    println!("{}", answer.trim_end());
    Ok(ExitCode::SUCCESS)
}
