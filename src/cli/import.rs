use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, bail};
use clap::Args;

use crate::agent::hash_key;
use crate::agent::import::{Imported, LogImport, Progress, import_logs};
use crate::config::{ByteSize, Config, Environment, RuleSpec};
use crate::history::import::ImportSettings;
use crate::history::{History, HistoryError, Layout, Settings};
use crate::lens::ValuePolicy;
use crate::source::txnlog::Inputs;

/// Puts what ZooKeeper servers wrote into the history: their transaction logs and snapshots.
///
/// The log has every change, its author's session, and the values and ACLs that watches missed: rows that were recorded
/// already are completed, gaps close. Give the `dataDir` of one server, or better of all, their `version-2`, copies of
/// them, or a tar. Importing the same again changes nothing; an import that was interrupted goes on when it is run again.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  zktrail import --cluster prod /var/lib/zookeeper
  zktrail import --cluster prod server1.tar.gz server2.tar.gz server3.tar.gz
  zktrail report gaps                                  what nobody saw, and is still open")]
pub struct ImportArgs {
    /// Folders, files or archives with `log.*` and `snapshot.*`
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// The ensemble's name in the history [default: the only one of the folder, else `default`]
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// The history's folder
    #[arg(long, value_name = "DIR", env = "ZKTRAIL_DATA_DIR", default_value = Config::DATA_DIR)]
    data_dir: PathBuf,
    /// The incarnation that the logs are of [default: the last one on record]
    #[arg(long, value_name = "N")]
    incarnation: Option<i32>,
    /// Go over corrupt records and leave a gap, where no other server's log has what was there
    #[arg(long)]
    skip_corrupt: bool,
    /// What is recorded of values: GLOB=full, unmasked, hash or none. Repeat; the first match wins
    #[arg(long, value_name = "GLOB=RECORD")]
    values: Vec<RuleSpec>,
    /// The agent's configuration file, for its value policy
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Memory for changes on their way, besides that for the tree itself
    #[arg(long, value_name = "SIZE", default_value = "256MiB")]
    memory: ByteSize,
}

pub(super) fn run(args: &ImportArgs) -> anyhow::Result<ExitCode> {
    let layout = Layout::new(&args.data_dir);
    let cluster = cluster(args, &layout)?;
    let rules = Config::values(args.config.as_deref(), &args.values, &Environment::of_process())?;
    let inputs = Inputs::find(&args.paths)?;
    show_inputs(&inputs);

    let key = hash_key::load_or_create(&layout)?;
    let policy = Arc::new(ValuePolicy::new(&rules, key).context("the value policy")?);
    let history = match History::open(&layout, &cluster, Settings::default()) {
        Err(error @ HistoryError::Locked { .. }) => {
            return Err(anyhow::Error::new(error).context("stop the agent first: an import works on the folder alone"));
        }
        opened => opened?,
    };
    let incarnation = args.incarnation.or(history.recorded().last_incarnation).unwrap_or(1);
    let bytes_max = usize::try_from(args.memory.0).unwrap_or(usize::MAX);
    let settings = ImportSettings { incarnation, bytes_max, ..ImportSettings::default() };
    let import = LogImport { settings, skip_corrupt: args.skip_corrupt };
    let mut shown = Shown::new();
    let imported = import_logs(history, &inputs, &policy, &import, |progress| shown.show(&cluster, progress));
    shown.clear();
    show_imported(&cluster, &imported?, shown.began);
    Ok(ExitCode::SUCCESS)
}

fn cluster(args: &ImportArgs, layout: &Layout) -> anyhow::Result<String> {
    if let Some(cluster) = &args.cluster {
        if !Config::is_ensemble_name(cluster) {
            bail!("{cluster:?} is no ensemble name: a small letter, then small letters, digits, '_' or '-'");
        }
        return Ok(cluster.clone());
    }
    let clusters = if args.data_dir.exists() { layout.clusters()? } else { Vec::new() };
    match clusters.as_slice() {
        [] => Ok(Config::DEFAULT_ENSEMBLE.to_owned()),
        [only] => Ok(only.clone()),
        several => bail!("{} holds {}: say which, with --cluster", args.data_dir.display(), several.join(", ")),
    }
}

fn show_inputs(inputs: &Inputs) {
    for server in inputs.servers() {
        eprintln!(
            "{}: {} log segments, {} snapshots, {}",
            server.folder,
            server.segments.len(),
            server.snapshots.len(),
            size(server.bytes())
        );
    }
}

fn show_imported(cluster: &str, imported: &Imported, began: Instant) {
    let Imported { transactions, changes, from, to, recorded } = imported;
    let seconds = began.elapsed().as_secs_f64();
    match (from, to) {
        (Some((from, from_time)), Some((to, to_time))) => println!(
            "{cluster}: {transactions} transactions, {changes} changes, zxid {from} to {to}, {from_time} to {to_time}, \
             in {seconds:.1} s"
        ),
        _ => println!("{cluster}: the logs hold no transaction"),
    }
    println!(
        "{cluster}: {} new rows, {} completed, {} replaced, {} known already",
        recorded.new, recorded.completed, recorded.replaced, recorded.unchanged
    );
    if recorded.unplaced > 0 {
        println!("{cluster}: {} rows stay without a place: the logs do not reach far enough", recorded.unplaced);
    }
}

/// What is told while it goes on: one line that changes on a terminal, and lines that stay.
struct Shown {
    is_terminal: bool,
    is_open: bool,
    began: Instant,
}

impl Shown {
    fn new() -> Self {
        Self { is_terminal: std::io::stderr().is_terminal(), is_open: false, began: Instant::now() }
    }

    fn show(&mut self, cluster: &str, progress: Progress) {
        match progress {
            Progress::Read { bytes, bytes_total, zxid, time } => {
                if self.is_terminal {
                    let percent = 100 * bytes / bytes_total.max(1);
                    eprint!("\r\x1b[K{percent} % of {}, zxid {zxid}, {time}", size(bytes_total));
                    let _ = std::io::stderr().flush();
                    self.is_open = true;
                }
            }
            Progress::RefusedSnapshot(why) => self.line(&format!("not used: {why}")),
            Progress::NoSnapshot { first } => self.line(&format!(
                "{cluster}: the logs begin at zxid {first}, and there is no snapshot before it: which life of its path a \
                 change is of is known only for znodes created since; give the snapshots too, if there are any"
            )),
            Progress::Hole(hole) => {
                let to = hole.to.map_or_else(|| "?".to_owned(), |to| to.to_string());
                self.line(&format!("{cluster}: transactions {} to {to} are missing ({}): a gap", hole.from, hole.cause));
            }
            Progress::Uncommitted(left_out) => self.line(&format!(
                "{}: {} records, zxid {} to {}, never were committed: left out",
                left_out.file, left_out.records, left_out.from, left_out.to
            )),
            Progress::Torn { file, offset } => self.line(&format!(
                "{file}: ends in the middle of a record, at byte {offset}: what comes later can be imported later"
            )),
        }
    }

    fn line(&mut self, text: &str) {
        self.clear();
        eprintln!("{text}");
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.is_open) {
            eprint!("\r\x1b[K");
            let _ = std::io::stderr().flush();
        }
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        ..1_024 => format!("{bytes} bytes"),
        ..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1_024.0),
        ..1_073_741_824 => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
        _ => format!("{:.1} GiB", bytes as f64 / 1_073_741_824.0),
    }
}
