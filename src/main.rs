//! Parses the arguments, calls the subcommand, sets the exit code.

mod allocator;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    allocator::tame();
    zktrail::cli::run(zktrail::cli::Cli::parse())
}
