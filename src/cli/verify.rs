use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};

use crate::config::Config;
use crate::history::verify::{Hole, Progress, Report, verify};
use crate::history::{Layout, open_read_only};

/// Proves what arithmetic can: no version without its row, no seq missing or double, snapshots that follow from each
/// other. Prints one row a hole, says what it cannot prove, and exits 1 if there is any hole.
///
/// It reads the folder; the agent may go on recording.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The history's folder
    #[arg(long, value_name = "DIR", env = "ZKTRAIL_DATA_DIR", default_value = Config::DATA_DIR)]
    data_dir: PathBuf,
    /// Only this cluster; otherwise every cluster of the folder
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// How the holes are printed
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
    Csv,
}

const COLUMNS: [&str; 7] = ["cluster", "kind", "path", "seq", "zxid", "time", "detail"];
const PROGRESS_AFTER: Duration = Duration::from_secs(1);

pub(super) fn run(args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    let layout = Layout::new(&args.data_dir);
    let mut clusters = layout.clusters().with_context(|| format!("cannot read {}", args.data_dir.display()))?;
    if let Some(only) = &args.cluster {
        clusters.retain(|cluster| cluster == only);
    }
    if clusters.is_empty() {
        bail!("{} holds no history of {}", args.data_dir.display(), args.cluster.as_deref().unwrap_or("any cluster"));
    }
    let mut holes = Vec::new();
    let mut reports = Vec::new();
    for cluster in &clusters {
        let view = open_read_only(&layout, cluster)?;
        let mut shown = Shown::new();
        let report = verify(&view, |progress| shown.show(cluster, progress))?;
        shown.clear();
        holes.extend(report.holes.iter().cloned());
        reports.push((cluster.clone(), report));
    }
    print_holes(&holes, args.format);
    for (cluster, report) in &reports {
        summarise(cluster, report);
    }
    let clean = reports.iter().all(|(_, report)| report.is_clean());
    Ok(if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The verdict and its limits, for people: on stderr, so that the rows can be piped.
fn summarise(cluster: &str, report: &Report) {
    let checked = &report.checked;
    eprintln!(
        "{cluster}: {} changes, {} versions, {} snapshots ({} pairs compared), {} znodes, {} parts checked",
        checked.changes, checked.versions, checked.snapshots, checked.pairs, checked.znodes, checked.parts
    );
    for unproved in &report.unproved {
        eprintln!("{cluster}: not proved: {unproved}");
    }
    let holes = report.holes.len() as u64 + report.holes_left_out;
    match holes {
        0 if report.is_empty => eprintln!("{cluster}: nothing to check"),
        0 => eprintln!("{cluster}: clean: no hole that is not on record"),
        _ if report.holes_left_out > 0 => {
            eprintln!("{cluster}: {holes} holes, {} of them not listed", report.holes_left_out)
        }
        _ => eprintln!("{cluster}: {holes} holes"),
    }
}

fn cells(hole: &Hole) -> [String; 7] {
    let number = |number: Option<i64>| number.map(|number| number.to_string()).unwrap_or_default();
    [
        hole.cluster.clone(),
        hole.kind.as_str().to_owned(),
        hole.path.clone().unwrap_or_default(),
        number(hole.seq),
        number(hole.zxid),
        hole.time.map(|time| time.to_string()).unwrap_or_default(),
        hole.detail.clone(),
    ]
}

fn print_holes(holes: &[Hole], format: Format) {
    match format {
        Format::Json => {
            let rows: Vec<_> = holes
                .iter()
                .map(|hole| {
                    serde_json::json!({
                        "cluster": hole.cluster, "kind": hole.kind.as_str(), "path": hole.path, "seq": hole.seq,
                        "zxid": hole.zxid, "time": hole.time.map(|time| time.to_string()), "detail": hole.detail,
                    })
                })
                .collect();
            println!("{}", serde_json::Value::Array(rows));
        }
        Format::Csv => {
            println!("{}", COLUMNS.join(","));
            for hole in holes {
                let quoted = cells(hole).map(|cell| match cell.contains([',', '"', '\n', '\r']) {
                    true => format!("\"{}\"", cell.replace('"', "\"\"")),
                    false => cell,
                });
                println!("{}", quoted.join(","));
            }
        }
        Format::Table if holes.is_empty() => {}
        Format::Table => {
            let rows: Vec<[String; 7]> = holes.iter().map(cells).collect();
            let widths: Vec<usize> = (0..COLUMNS.len())
                .map(|at| rows.iter().map(|row| row[at].chars().count()).chain([COLUMNS[at].len()]).max().unwrap_or(0))
                .collect();
            let line = |row: &[String]| {
                let cells: Vec<String> =
                    row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
                println!("{}", cells.join("  ").trim_end());
            };
            line(&COLUMNS.map(str::to_owned));
            rows.iter().for_each(|row| line(row));
        }
    }
}

/// One line on a terminal, rewritten in place, once it has taken a while.
struct Shown {
    began: Instant,
    terminal: bool,
    shown: bool,
}

impl Shown {
    fn new() -> Self {
        Self { began: Instant::now(), terminal: std::io::stderr().is_terminal(), shown: false }
    }

    fn show(&mut self, cluster: &str, progress: Progress) {
        if self.terminal && self.began.elapsed() > PROGRESS_AFTER {
            self.shown = true;
            eprint!("\r\x1b[K{cluster}: {} {} of {}", progress.step, progress.done, progress.total);
        }
    }

    fn clear(&self) {
        if self.shown {
            eprint!("\r\x1b[K");
        }
    }
}
