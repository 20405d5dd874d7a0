//! `zktrail tail`: changes as they are recorded, as lines or to a command each.

mod ask;
mod cursor_file;
mod deliver;
mod handler;
mod line;
mod live;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use clap::{Args, ValueEnum};
use rustix::process::{Signal, getpid, kill_process};
use tokio::signal::unix::{SignalKind, signal};

use self::deliver::{Delivery, Sink};
use self::handler::Handler;
use self::line::Lines;
pub(super) use self::live::Live;
use super::sql::door::{Door, DoorArgs};
use super::sql::interrupt::Interrupt;
use crate::config::HumanDuration;
use crate::lens::PathGlob;
use crate::query::feed::{Cursor, Filter, ReadError, Reader, Since};
use crate::zk::ChangeKind;

/// Shows changes live, as they are recorded, in the order of recording; gaps, in which nobody was looking, are lines of
/// their own. Where the agent goes away tail says so, waits, and goes on where it was when the agent is back.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  zktrail tail                                       everything, from now on
  zktrail tail '/brokers/**' --kind created,deleted   who comes and goes
  zktrail tail --since 10m --format json | jq .path   with the last ten minutes before
  zktrail tail '/config/**' --cursor-file c --exec 'jq -r .path >> changed.txt'

A path glob is matched against the whole path: * and ? stay within one name, ** spans any number of names, {a,b} is
either. /config is the one znode, /config/** what is beneath it. Quote globs, or the shell expands them.

--format json writes one object a line: every column of the table changes and `cursor`, from which --cursor goes on
behind that line. Gaps have the kind gap_opened and gap_closed; what retention has removed after a cursor is `pruned`.

--exec runs the command by sh -c once a change, with that JSON on its standard input. The cursor file moves only past
changes whose command has ended, well or not: after a crash a change may come again, but none is left out
(at least once). A command that fails or takes longer than --exec-timeout is told on stderr and counted. Gaps are told
on stderr.

Exit codes: 0 ended by Ctrl-C, SIGTERM or --no-follow; 1 it failed, or a command of --exec did; 2 the command line is
wrong.")]
pub struct TailArgs {
    /// Only changes of these paths (globs); all without any
    #[arg(value_name = "PATH-GLOB")]
    globs: Vec<String>,

    /// Only changes of these kinds: created, data_changed, acl_changed, deleted
    #[arg(long, value_name = "KIND", value_delimiter = ',', value_parser = parse_kind)]
    kind: Vec<ChangeKind>,

    /// Only these clusters
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    cluster: Vec<String>,

    /// Where to begin without a cursor: now, oldest, an age such as 10m, a date or a time (UTC unless it has an offset), a
    /// zxid such as 0x1000002a3; `cursor` begins only where a cursor says [default: now]
    #[arg(long, value_name = "WHEN", value_parser = parse_since, conflicts_with = "cursor")]
    since: Option<Since>,

    /// Go on behind the line that had this cursor
    #[arg(long, value_name = "OPAQUE")]
    cursor: Option<String>,

    /// Keep the cursor in a file, and go on from it; --since says where to begin as long as there is none
    #[arg(long, value_name = "FILE", conflicts_with = "cursor")]
    cursor_file: Option<PathBuf>,

    /// The form of the lines
    #[arg(long, value_enum, default_value_t = Format::Text, conflicts_with = "exec")]
    format: Format,

    /// Colour the lines; by itself only on a terminal, and never where NO_COLOR is set
    #[arg(long, value_enum, default_value_t = Colour::Auto)]
    color: Colour,

    /// End when everything that is recorded has been shown
    #[arg(long)]
    no_follow: bool,

    /// Run a command for each change, instead of showing it
    #[arg(long, value_name = "CMD")]
    exec: Option<String>,

    /// How many commands may run at a time; above 1 they run in no order
    #[arg(long, value_name = "N", default_value_t = 1, requires = "exec",
          value_parser = clap::value_parser!(u16).range(1..=256))]
    exec_concurrency: u16,

    /// A command that runs longer is killed with all that it started
    #[arg(long, value_name = "DURATION", default_value = "30s", requires = "exec", value_parser = parse_timeout)]
    exec_timeout: Duration,

    #[command(flatten)]
    door: DoorArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Aligned, for people
    Text,
    /// One object a line
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Colour {
    Auto,
    Always,
    Never,
}

/// How long to wait before asking again where nothing was new, and where the agent is away.
const IDLE: Duration = Duration::from_millis(200);
/// Every question opens the folder and reads its WAL.
const IDLE_FOLDER: Duration = Duration::from_secs(1);
const AWAY: Duration = Duration::from_millis(500);
/// A question that fails so often in a row fails for good.
const FAILURES_MAX: u32 = 3;
/// An agent that does not answer within this time is away. A query may take 60 s by default.
const PATIENCE: Duration = Duration::from_secs(75);
const SLICE: Duration = Duration::from_millis(20);

fn parse_kind(text: &str) -> Result<ChangeKind, String> {
    let kind = ChangeKind::ALL.iter().find(|kind| kind.as_str() == text).copied();
    kind.ok_or_else(|| {
        let kinds: Vec<&str> = ChangeKind::ALL.iter().map(|kind| kind.as_str()).collect();
        format!("there are {}", kinds.join(", "))
    })
}

fn parse_since(text: &str) -> Result<Since, String> {
    text.parse().map_err(|error: super::when::WhenError| format!("{error}; or oldest, or cursor"))
}

fn parse_timeout(text: &str) -> Result<Duration, String> {
    match text.parse::<HumanDuration>() {
        Ok(HumanDuration(timeout)) if !timeout.is_zero() => Ok(timeout),
        Ok(_) => Err("a command needs some time".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Runs to the exit code: 0 ended in order, 1 it failed or a handler did, 2 the command line is wrong.
pub(super) fn run(args: TailArgs) -> anyhow::Result<ExitCode> {
    let globs: Result<Vec<PathGlob>, _> = args.globs.iter().map(|glob| PathGlob::new(glob)).collect();
    let globs = match globs {
        Ok(globs) => globs,
        Err(error) => return Ok(wrong(&error)),
    };
    let given = match args.cursor.as_deref().map(str::parse::<Cursor>).transpose() {
        Ok(given) => given,
        Err(error) => return Ok(wrong(&anyhow!("--cursor {error}"))),
    };
    let kept = args.cursor_file.as_deref().map(cursor_file::load).transpose()?.flatten();
    let start = given.or(kept);
    if start.is_none() && args.since == Some(Since::Cursor) {
        return Ok(wrong(&anyhow!("--since cursor: there is no cursor yet; begin with --since now, or oldest")));
    }
    let filter = Filter { globs, kinds: args.kind };
    let door = args.door.find()?.with_patience(PATIENCE);
    door.interrupt().listen().context("cannot listen for Ctrl-C")?;
    end_on_sigterm(door.interrupt().clone()).context("cannot listen for SIGTERM")?;
    let start = match start {
        Some(cursor) => cursor,
        None => {
            let beginning = args.since.unwrap_or(Since::Now).resolve(Reader::now(&door)?)?;
            Cursor { since: Reader::beginning(&door, beginning, &args.cluster)?, places: Default::default() }
        }
    };
    let sink = match args.exec {
        Some(command) => {
            let concurrency = usize::from(args.exec_concurrency);
            Sink::Handler(Handler { command, concurrency, timeout: args.exec_timeout })
        }
        None if args.format == Format::Json => Sink::Json,
        None => Sink::Text,
    };
    let mut delivery = Delivery::new(sink, Lines::new(is_coloured(args.color)), start.clone(), args.cursor_file);
    let mut reader = Reader::new(&door, &filter, &args.cluster, start);
    let followed = follow(&door, &mut reader, &mut delivery, args.no_follow);
    let failed = delivery.tell_failures();
    match followed {
        // Whoever read us has had enough, as in `| head`.
        Err(error) if is_broken_pipe(&error) => {}
        other => other?,
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn follow(door: &Door, reader: &mut Reader<'_>, delivery: &mut Delivery, no_follow: bool) -> anyhow::Result<()> {
    let interrupt = door.interrupt();
    let mut away: Option<Instant> = None;
    let mut unknown = true;
    let mut failures = 0;
    loop {
        let round = match reader.round() {
            _ if interrupt.is_pressed() => return Ok(()),
            Ok(round) => round,
            Err(ReadError::Away(error)) if !no_follow => {
                if away.is_none() {
                    away = Some(Instant::now());
                    eprintln!(
                        "zktrail: {} is away ({error:#}); going on from the cursor when it is back",
                        door.describe()
                    );
                }
                reader.was_away();
                wait(interrupt, AWAY);
                continue;
            }
            Err(ReadError::Failed(_)) if failures < FAILURES_MAX => {
                failures += 1;
                wait(interrupt, AWAY);
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        failures = 0;
        if let Some(since) = away.take() {
            eprintln!("zktrail: {} is back after {:.1} s", door.describe(), since.elapsed().as_secs_f64());
        }
        if std::mem::take(&mut unknown) {
            for name in reader.unknown() {
                eprintln!("zktrail: {} holds no cluster {name:?} yet; waiting for it", door.describe());
            }
        }
        delivery.round(&round.events, &reader.cursor, || interrupt.is_pressed())?;
        if interrupt.is_pressed() || (no_follow && !round.more) {
            return Ok(());
        }
        if !round.more {
            wait(interrupt, if door.is_agent() { IDLE } else { IDLE_FOLDER });
        }
    }
}

/// Waits, but not longer than until Ctrl-C.
fn wait(interrupt: &Interrupt, time: Duration) {
    let until = Instant::now() + time;
    while !interrupt.is_pressed() && Instant::now() < until {
        std::thread::sleep(SLICE);
    }
}

/// SIGTERM ends as Ctrl-C does: what was begun is ended and the cursor written. The second ends at once.
fn end_on_sigterm(interrupt: Interrupt) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut signals = {
        let _guard = runtime.enter();
        signal(SignalKind::terminate())?
    };
    std::thread::Builder::new().name("zktrail-sigterm".to_owned()).spawn(move || {
        runtime.block_on(async {
            while signals.recv().await.is_some() {
                if interrupt.press() {
                    // Whatever does not come back cannot be waited for.
                    let _ = kill_process(getpid(), Signal::KILL);
                }
            }
        });
    })?;
    Ok(())
}

fn is_coloured(colour: Colour) -> bool {
    match colour {
        Colour::Always => true,
        Colour::Never => false,
        Colour::Auto => super::colour::on_stdout(),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

fn wrong(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("zktrail: {error}");
    ExitCode::from(2)
}
