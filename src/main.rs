//! Parses the arguments, calls the subcommand, sets the exit code.

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    zktrail::cli::run(zktrail::cli::Cli::parse())
}
