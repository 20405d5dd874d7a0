//! Parses the arguments, calls the subcommand, sets the exit code.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    zktrail::cli::run(zktrail::cli::Cli::parse())
}
