use std::process::ExitCode;

use clap::Args;

use crate::config::{AgentFlags, Config, Environment};

/// Watches ensembles until SIGTERM or Ctrl-C, then drains, flushes and exits 0.
#[derive(Debug, Args)]
pub struct AgentArgs {
    #[command(flatten)]
    flags: AgentFlags,
    /// Print a commented configuration file with every setting, and exit
    #[arg(long)]
    example_config: bool,
}

pub(super) fn run(args: AgentArgs) -> anyhow::Result<ExitCode> {
    if args.example_config {
        print!("{}", Config::example());
        return Ok(ExitCode::SUCCESS);
    }
    let config = Config::load(None, args.flags, &Environment::of_process())?;
    super::log::start(config.log);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        // The doors take statements apart.
        .thread_stack_size(crate::query::STACK_BYTES)
        .build()?;
    let stopped_in_order = runtime.block_on(crate::agent::run(config))?;
    Ok(if stopped_in_order { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
