//! `zktrail superset`: a dashboard over the history for Apache Superset, and its database connections kept in ZooKeeper.

mod bundle;
mod export;
mod route;
mod sync;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};

/// For Apache Superset: a dashboard to import, and database connections that follow znodes.
#[derive(Debug, Args)]
pub struct SupersetArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Export(export::ExportArgs),
    Sync(Box<sync::SyncArgs>),
}

pub(super) fn run(args: SupersetArgs) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Export(args) => export::run(&args),
        Command::Sync(args) => sync::run(*args),
    }
}

/// Longer is no password.
const SECRET_BYTES_MAX: usize = 4_096;

/// The first line of a file that holds a secret.
fn secret_file(path: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() || line.len() > SECRET_BYTES_MAX {
        bail!("{} holds no password in its first line", path.display());
    }
    Ok(line.to_owned())
}
