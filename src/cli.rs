//! The command line: one file a subcommand. The only place that prints.

mod agent;
mod check;
mod colour;
mod completions;
mod control;
mod demo;
mod health;
mod import;
mod log;
mod redact;
mod report;
mod snapshot;
pub mod sql;
mod superset;
mod tail;
mod user;
mod verify;
pub mod when;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The flight recorder of an Apache ZooKeeper ensemble: records every change, answers SQL over the history.
#[derive(Debug, Parser)]
#[command(name = "zktrail", version, max_term_width = 110, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = "\
Begin with:
  zktrail demo                                                  see it work, on a made-up ensemble
  zktrail check --ensemble prod=10.0.0.1:2181,10.0.0.2:2181     will it work?
  zktrail agent --ensemble prod=10.0.0.1:2181,10.0.0.2:2181     record
  zktrail sql \"SELECT time, kind, path, version, evidence FROM changes ORDER BY time DESC LIMIT 20\"

Exit codes: 0 done, 1 it failed or found something, 2 the command line is wrong.")]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// See it work: an agent on an ensemble that this process plays itself
    Demo(demo::DemoArgs),
    /// Watch ensembles, record every change, serve SQL and metrics
    Agent(agent::AgentArgs),
    /// Ask the history in SQL: one statement, a file, or interactively
    Sql(sql::SqlArgs),
    /// Answer a question that operators ask, by its name: flapping, config-changes, gaps, …
    Report(report::ReportArgs),
    /// Try an agent's configuration: connectivity, authentication, server abilities, disk
    Check(check::CheckArgs),
    /// Put the servers' own transaction logs into a history
    Import(import::ImportArgs),
    /// Prove by arithmetic that a history has no hole; name each one that it has
    Verify(verify::VerifyArgs),
    /// Ask the running agent whether all is well, for health checks
    Health(health::HealthArgs),
    /// Let the running agent write a snapshot of the whole tree now
    Snapshot(snapshot::SnapshotArgs),
    /// Remove the values of matching paths from everything recorded
    Redact(redact::RedactArgs),
    /// Show changes live, as they are recorded, or run a command for each
    Tail(tail::TailArgs),
    /// For Apache Superset: a dashboard to import, and database connections that follow znodes
    Superset(superset::SupersetArgs),
    /// List who may ask: names, passwords, roles and limits
    User(user::UserArgs),
    /// Print the completions of a shell
    Completions(completions::CompletionsArgs),
}

/// Runs a subcommand to its exit code. Errors go to stderr, one line, with what to do.
pub fn run(cli: Cli) -> ExitCode {
    // Before anybody speaks TLS.
    crate::source::watch::credentials::settle_provider();
    let result = match cli.command {
        Command::Demo(args) => demo::run(args),
        Command::Agent(args) => agent::run(args),
        Command::Sql(args) => sql::run(args),
        Command::Report(args) => report::run(args),
        Command::Check(args) => check::run(args),
        Command::Import(args) => import::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Health(args) => health::run(&args),
        Command::Snapshot(args) => snapshot::run(&args),
        Command::Redact(args) => redact::run(&args),
        Command::Tail(args) => tail::run(args),
        Command::Superset(args) => superset::run(args),
        Command::User(args) => user::run(args),
        Command::Completions(args) => completions::run(&args),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("zktrail: {error:#}");
            ExitCode::FAILURE
        }
    }
}
