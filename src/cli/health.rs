use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::Args;

use crate::config::Config;

/// Asks the running agent whether anything needs the operator. Exits 0 where nothing does, 1 with the reason otherwise.
///
/// For health checks where there is no HTTP client, such as a container's. It is what GET /healthz answers, or with
/// --ready what GET /readyz does; over TLS and with listed users too, because it comes from the folder's owner.
#[derive(Debug, Args)]
pub struct HealthArgs {
    /// The history's folder, whose agent is asked
    #[arg(long, value_name = "DIR", env = "ZKTRAIL_DATA_DIR", default_value = Config::DATA_DIR)]
    data_dir: PathBuf,
    /// Ask whether every ensemble is being recorded this moment (as GET /readyz)
    #[arg(long)]
    ready: bool,
}

/// Less than what health checks usually wait.
const WITHIN: Duration = Duration::from_secs(5);

pub(super) fn run(args: &HealthArgs) -> anyhow::Result<ExitCode> {
    let Some(door) = super::control::door(&args.data_dir)? else {
        bail!("no agent with an HTTP door is recording into {}", args.data_dir.display());
    };
    let path = if args.ready { "/readyz" } else { "/healthz" };
    let (is_well, answer) = super::control::get(&door, path, WITHIN)?;
    println!("{}", answer.trim_end());
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
