use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, bail};
use clap::Args;

use crate::agent::hash_key;
use crate::agent::import::{Imported, LogImport, Progress, import_logs};
use crate::agent::import_audit::{LogZone, import_audit, is_audit_log};
use crate::config::{ByteSize, Config, Environment, RuleSpec};
use crate::history::import::{ImportSettings, ImportSummary};
use crate::history::layout::Table;
use crate::history::{History, HistoryError, Layout, Settings, View, open_read_only};
use crate::lens::ValuePolicy;
use crate::source::txnlog::Inputs;

/// Puts what others wrote into the history: servers' transaction logs and snapshots, their audit logs, another agent's folder.
///
/// The transaction log has every change, its author's session, and the values and ACLs that watches missed: rows that were
/// recorded already are completed, gaps close. Give the `dataDir` of one server, or better of all, their `version-2`, copies
/// of them, or a tar. Audit logs (3.6 and later) add users and addresses, and a history's folder what its agent saw of the same
/// ensemble. Which of them a PATH is shows by what is in it. Importing the same again changes nothing; an import that was
/// interrupted goes on when it is run again.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  zktrail import --cluster prod /var/lib/zookeeper
  zktrail import --cluster prod server1.tar.gz server2.tar.gz server3.tar.gz
  zktrail import --cluster prod --zone Europe/Berlin /var/log/zookeeper/zookeeper_audit.log*
  zktrail import --cluster prod /mnt/second-agent/history
  zktrail report gaps                                  what nobody saw, and is still open")]
pub struct ImportArgs {
    /// Folders, files or archives
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
    /// The time zone of audit logs whose lines do not say it: UTC, +02:00, Europe/Berlin
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    zone: LogZone,
    /// Memory for changes on their way, besides that for the tree itself
    #[arg(long, value_name = "SIZE", default_value = "256MiB")]
    memory: ByteSize,
}

pub(super) fn run(args: &ImportArgs) -> anyhow::Result<ExitCode> {
    let layout = Layout::new(&args.data_dir);
    let cluster = cluster(args, &layout)?;
    let rules = Config::values(args.config.as_deref(), &args.values, &Environment::of_process())?;
    let given = Given::sort(&args.paths)?;
    let inputs = if given.logs.is_empty() { None } else { Some(Inputs::find(&given.logs)?) };
    let others = given.histories.iter().map(|folder| other(folder, &cluster)).collect::<anyhow::Result<Vec<_>>>()?;

    let key = hash_key::load_or_create(&layout)?;
    let policy = Arc::new(ValuePolicy::new(&rules, key).context("the value policy")?);
    let target = Target { args, layout: &layout, cluster: &cluster };
    if let Some(inputs) = inputs {
        target.logs(&inputs, &policy)?;
    }
    if !given.audits.is_empty() {
        target.audits(&given.audits)?;
    }
    for (folder, other) in &others {
        target.history(folder, other)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The paths by what they are.
#[derive(Debug, Default)]
struct Given {
    logs: Vec<PathBuf>,
    audits: Vec<PathBuf>,
    histories: Vec<PathBuf>,
}

impl Given {
    fn sort(paths: &[PathBuf]) -> anyhow::Result<Self> {
        let mut given = Self::default();
        for path in paths {
            let is_file = std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.is_file();
            let audit = is_file && is_audit_log(path).with_context(|| format!("cannot read {}", path.display()))?;
            let kind = match is_file {
                true if audit => &mut given.audits,
                false if path.join(Table::Changes.as_str()).is_dir() => &mut given.histories,
                _ => &mut given.logs,
            };
            kind.push(path.clone());
        }
        Ok(given)
    }
}

/// What another folder has of this cluster.
fn other(folder: &Path, cluster: &str) -> anyhow::Result<(PathBuf, View)> {
    let layout = Layout::new(folder);
    let clusters = layout.clusters().with_context(|| format!("cannot read {}", folder.display()))?;
    if !clusters.iter().any(|other| other == cluster) {
        bail!("{} holds {}, but not {cluster}: say which, with --cluster", folder.display(), clusters.join(", "));
    }
    Ok((folder.to_owned(), open_read_only(&layout, cluster)?))
}

/// The history that everything goes into.
struct Target<'a> {
    args: &'a ImportArgs,
    layout: &'a Layout,
    cluster: &'a str,
}

impl Target<'_> {
    fn open(&self) -> anyhow::Result<History> {
        match History::open(self.layout, self.cluster, Settings::default()) {
            Err(error @ HistoryError::Locked { .. }) => {
                Err(anyhow::Error::new(error).context("stop the agent first: an import works on the folder alone"))
            }
            opened => Ok(opened?),
        }
    }

    fn settings(&self, history: &History) -> ImportSettings {
        let incarnation = self.args.incarnation.or(history.recorded().last_incarnation).unwrap_or(1);
        let bytes_max = usize::try_from(self.args.memory.0).unwrap_or(usize::MAX);
        ImportSettings { incarnation, bytes_max, ..ImportSettings::default() }
    }

    fn logs(&self, inputs: &Inputs, policy: &Arc<ValuePolicy>) -> anyhow::Result<()> {
        show_inputs(inputs);
        let mut history = self.open()?;
        let import = LogImport { settings: self.settings(&history), skip_corrupt: self.args.skip_corrupt };
        let mut shown = Shown::new();
        let imported =
            import_logs(&mut history, inputs, policy, &import, |progress| shown.show(self.cluster, progress));
        shown.clear();
        show_imported(self.cluster, &imported?, shown.began);
        Ok(())
    }

    fn audits(&self, files: &[PathBuf]) -> anyhow::Result<()> {
        let history = self.open()?;
        let mut shown = Shown::new();
        let imported = import_audit(&history, files, self.args.zone, |done| {
            shown.changing(&format!("{}: {} lines of audit logs", self.cluster, done.lines));
        });
        shown.clear();
        let imported = imported?;
        println!(
            "{}: {} lines of audit logs, {} new, {} known already",
            self.cluster, imported.lines, imported.added, imported.known
        );
        if let Some(first) = &imported.first_unusable {
            eprintln!("{}: {} lines cannot be used, the first is {first}", self.cluster, imported.unusable);
        }
        Ok(())
    }

    fn history(&self, folder: &Path, other: &View) -> anyhow::Result<()> {
        let mut history = self.open()?;
        let settings = self.settings(&history);
        let recorded = history.merge(other, settings).with_context(|| format!("merging {}", folder.display()))?;
        println!("{}: {} is merged", self.cluster, folder.display());
        show_recorded(self.cluster, &recorded);
        Ok(())
    }
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
    show_recorded(cluster, recorded);
}

fn show_recorded(cluster: &str, recorded: &ImportSummary) {
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
                let percent = 100 * bytes / bytes_total.max(1);
                self.changing(&format!("{percent} % of {}, zxid {zxid}, {time}", size(bytes_total)));
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

    fn changing(&mut self, text: &str) {
        if self.is_terminal {
            eprint!("\r\x1b[K{text}");
            let _ = std::io::stderr().flush();
            self.is_open = true;
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
    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;
    let in_units = |unit: u64, name: &str| format!("{:.1} {name}", bytes as f64 / unit as f64);
    match bytes {
        GIB.. => in_units(GIB, "GiB"),
        MIB.. => in_units(MIB, "MiB"),
        KIB.. => in_units(KIB, "KiB"),
        _ => format!("{bytes} bytes"),
    }
}
