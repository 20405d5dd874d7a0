//! `zktrail sql`: one statement, a file of them, or a conversation.

mod complete;
pub(super) mod door;
pub(super) mod interrupt;
pub(super) mod output;
mod progress;
mod shell;
mod statements;

use std::io::{IsTerminal, Read};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, ValueEnum};

use self::door::DoorArgs;
use self::interrupt::Cancelled;
use self::output::{Output, Target};

/// Ask the history in SQL. With --data-dir the folder is read, also while an agent writes to it; otherwise the running
/// agent answers, or where there is none the folder ./history.
#[derive(Debug, Args)]
pub struct SqlArgs {
    #[command(flatten)]
    door: DoorArgs,

    /// The form of the answer
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,

    /// Read the statements from a file, separated by semicolons
    #[arg(long, short = 'f', value_name = "FILE", conflicts_with = "query")]
    file: Option<PathBuf>,

    /// Write the answer to a file; what it held before stays until the answer is whole
    #[arg(long, short, value_name = "OUT")]
    output: Option<PathBuf>,

    /// The statement; without it statements are read from stdin, interactively where that is a terminal
    query: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Aligned, for people
    Table,
    /// One array of objects
    Json,
    /// With a header
    Csv,
    /// A Parquet file
    Parquet,
}

/// Runs to the exit code: 0 answered, 1 it failed, 2 the command line is wrong, 130 Ctrl-C.
pub fn run(args: SqlArgs) -> anyhow::Result<ExitCode> {
    let interactive =
        args.query.is_none() && args.file.is_none() && args.output.is_none() && std::io::stdin().is_terminal();
    if args.format == Format::Parquet && args.output.is_none() && std::io::stdout().is_terminal() {
        eprintln!("zktrail: Parquet is no text for a terminal: give -o FILE, or redirect the output");
        return Ok(ExitCode::from(2));
    }
    let door = args.door.find()?;
    if interactive {
        shell::run(&door, args.format)?;
        return Ok(ExitCode::SUCCESS);
    }
    let text = match (&args.query, &args.file) {
        (Some(query), _) => query.clone(),
        (None, Some(file)) => {
            std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?
        }
        (None, None) => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("cannot read statements from stdin")?;
            text
        }
    };
    let statements = statements::split(&text);
    if statements.is_empty() {
        eprintln!("zktrail: there is no statement to run");
        return Ok(ExitCode::from(2));
    }
    if args.format == Format::Parquet && statements.len() > 1 {
        eprintln!("zktrail: a Parquet file holds one answer: give one statement");
        return Ok(ExitCode::from(2));
    }
    let target = match args.output {
        Some(path) => Target::file(path)?,
        None => Target::Stdout,
    };
    let mut output = Output::new(target, args.format);
    door.interrupt().listen().context("cannot listen for Ctrl-C")?;
    for statement in statements {
        match output.answer(&door, statement) {
            Ok(_) => {}
            // Whoever read us has had enough, as in `| head`.
            Err(error) if output::is_broken_pipe(&error) => break,
            Err(error) => {
                output.discard();
                if error.is::<Cancelled>() {
                    eprintln!("zktrail: cancelled");
                    return Ok(ExitCode::from(interrupt::EXIT_CODE));
                }
                return Err(error);
            }
        }
    }
    output.close()?;
    Ok(ExitCode::SUCCESS)
}
