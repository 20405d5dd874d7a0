//! What a person sees of the demo: where things answer, every change as it is recorded, and the story.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use arrow::array::{Array as _, AsArray as _};
use tokio::sync::watch;

use crate::cli::colour;
use crate::cli::sql::door::Door;
use crate::cli::tail::Live;
use crate::demo::story::{CHAPTERS, Chapter};
use crate::query::encode::TableEncoder;
use crate::query::feed::Filter;

const LOOKS_EVERY: Duration = Duration::from_millis(200);
const ASKS_EVERY: Duration = Duration::from_secs(1);
/// So long the lines rest after a chapter, for it to be read.
const READS: Duration = Duration::from_secs(12);

fn bold(text: &str) -> String {
    if colour::on_stdout() { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
}

/// Where things answer.
pub(super) fn welcome(
    url: &str,
    postgres: SocketAddr,
    watched: &str,
    folder: &Path,
    played: bool,
) -> std::io::Result<()> {
    let what = if played {
        "an in-memory server of this process with a made-up data centre; all else is real"
    } else {
        "your ensemble; it is only read"
    };
    let folder = folder.display();
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "\n{title}\n\n  \
           ensemble  {watched}   {what}\n  \
           SQL       zktrail sql --agent {url} \"SELECT time, kind, path FROM changes ORDER BY time DESC LIMIT 5\"\n  \
           psql      psql -h {host} -p {port} -U demo {database}\n  \
           metrics   {url}/metrics\n  \
           history   {folder}   Parquet, by day\n\n\
         Ctrl-C ends it.\n",
        title = bold("zktrail demo"),
        host = postgres.ip(),
        port = postgres.port(),
        database = crate::serve::pg::DATABASE,
    )?;
    out.flush()
}

pub(super) fn goodbye(folder: &Path, removed: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    match removed {
        true => writeln!(out, "\nStopping; the history is removed (--keep keeps it)."),
        false => writeln!(
            out,
            "\nStopping. The history stays: zktrail sql --data-dir {folder} \"SELECT count(*) FROM changes\"",
            folder = folder.display()
        ),
    }?;
    out.flush()
}

/// What is shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    pub story: bool,
    pub tail: bool,
    /// How fast the data centre lives, and who reads.
    pub pace: f64,
}

/// Shows changes and tells the story until it is stopped.
pub(super) fn run(url: &str, view: View, stopped: &watch::Receiver<bool>) -> anyhow::Result<()> {
    let View { story, tail, pace } = view;
    let door = Door::find(None, Some(url))?;
    let filter = Filter::default();
    let mut live = Live::from_now(&door, &filter, colour::on_stdout())?;
    let mut chapters = CHAPTERS.iter().enumerate().filter(|_| story).peekable();
    let mut asked = Instant::now();
    let mut rests_until = Instant::now();
    while !*stopped.borrow() {
        if Instant::now() >= rests_until {
            if tail {
                let lines = live.lines()?;
                let mut out = std::io::stdout().lock();
                out.write_all(lines.as_bytes())?;
                out.flush()?;
            }
            if asked.elapsed() >= ASKS_EVERY
                && let Some((number, chapter)) = chapters.peek().copied()
            {
                asked = Instant::now();
                // Where the agent is busy it is asked again.
                if is_ready(&door, chapter).unwrap_or(false) {
                    tell(&door, url, number + 1, chapter)?;
                    chapters.next();
                    rests_until = Instant::now() + READS.div_f64(pace);
                }
            }
        }
        std::thread::sleep(LOOKS_EVERY);
    }
    Ok(())
}

fn is_ready(door: &Door, chapter: &Chapter) -> anyhow::Result<bool> {
    let mut rows = door.ask(chapter.ready)?;
    let Some(batch) = rows.next().transpose()? else { return Ok(false) };
    let answer = batch.columns().first().and_then(|column| column.as_boolean_opt());
    Ok(answer.is_some_and(|answer| !answer.is_empty() && answer.is_valid(0) && answer.value(0)))
}

/// The first column of an answer, as text.
fn texts(door: &Door, sql: &str) -> anyhow::Result<Vec<String>> {
    let mut texts = Vec::new();
    for batch in door.ask(sql)? {
        let batch = batch?;
        let Some(column) = batch.columns().first() else { continue };
        let column = arrow::compute::cast(column, &arrow::datatypes::DataType::Utf8)?;
        texts.extend(column.as_string::<i32>().iter().flatten().map(str::to_owned));
    }
    Ok(texts)
}

fn tell(door: &Door, url: &str, number: usize, chapter: &Chapter) -> anyhow::Result<()> {
    let moments = chapter.moment.map_or_else(|| Ok(Vec::new()), |sql| texts(door, sql))?;
    let sql = chapter.sql_at(moments.first().map(String::as_str));
    let rows = door.ask(&sql)?;
    let mut table = TableEncoder::new(&rows.schema());
    let mut answer = Vec::new();
    for batch in rows {
        table.batch(&batch?, &mut answer);
    }
    table.finish(&mut answer);
    let sentences = chapter.conclusion.map_or_else(|| Ok(Vec::new()), |sql| texts(door, sql))?;
    let mut out = std::io::stdout().lock();
    let rule = "─".repeat(100);
    writeln!(out, "\n{rule}\n{}\n", bold(&format!("{number} of {}  {}", CHAPTERS.len(), chapter.question)))?;
    for line in sql.lines() {
        writeln!(out, "    {line}")?;
    }
    writeln!(out, "\n{}", String::from_utf8_lossy(&answer))?;
    for sentence in sentences {
        writeln!(out, "{sentence}")?;
    }
    writeln!(out, "{}", chapter.note)?;
    writeln!(out, "As a report: zktrail report {} --agent {url}\n{rule}\n", chapter.report)?;
    out.flush()?;
    Ok(())
}
