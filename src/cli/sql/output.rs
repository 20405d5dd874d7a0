use std::ffi::OsString;
use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use super::Format;
use super::door::Door;
use super::interrupt::Cancelled;
use super::progress::Progress;
use crate::query::Parameters;
use crate::query::encode::{CsvEncoder, ExpandedEncoder, JsonEncoder, ParquetEncoder, TableEncoder};

/// Where answers go.
pub(in crate::cli) enum Target {
    Stdout,
    File(OutputFile),
}

/// A file that appears under its name when it is whole; until then what was there before stays.
pub(in crate::cli) struct OutputFile {
    path: PathBuf,
    file: File,
    /// What is written to; `None` where it is the path itself, as for a pipe or a device.
    temporary: Option<PathBuf>,
}

impl OutputFile {
    /// Made at once, so that a folder that does not exist is known before the query runs.
    fn create(path: PathBuf) -> anyhow::Result<Self> {
        let refused = || format!("cannot write {}", path.display());
        let before = std::fs::metadata(&path).ok();
        if before.as_ref().is_some_and(|before| before.is_dir()) {
            anyhow::bail!("{}: it is a folder", refused());
        }
        if before.as_ref().is_some_and(|before| !before.is_file()) {
            let file = File::options().write(true).open(&path).with_context(refused)?;
            return Ok(Self { path, file, temporary: None });
        }
        // A link stays one: what it leads to is replaced.
        let path = if before.is_some() { path.canonicalize().with_context(refused)? } else { path };
        let refused = || format!("cannot write {}", path.display());
        let Some(name) = path.file_name() else { anyhow::bail!("{}: it names no file", refused()) };
        let mut temporary_name = OsString::from(".");
        temporary_name.push(name);
        temporary_name.push(format!(".{}.tmp", std::process::id()));
        let temporary = path.with_file_name(temporary_name);
        let file = File::create(&temporary).with_context(refused)?;
        let output = Self { path: path.clone(), file, temporary: Some(temporary) };
        if let Some(before) = before
            && let Err(error) = output.file.set_permissions(before.permissions())
        {
            output.discard();
            return Err(error).with_context(refused);
        }
        Ok(output)
    }

    fn close(self) -> std::io::Result<()> {
        let Some(temporary) = &self.temporary else { return Ok(()) };
        let renamed = self.file.sync_all().and_then(|()| std::fs::rename(temporary, &self.path));
        if renamed.is_err() {
            self.discard();
        }
        renamed
    }

    fn discard(self) {
        if let Some(temporary) = self.temporary {
            drop(self.file);
            // The error that brought us here is the one to tell.
            let _ = std::fs::remove_file(temporary);
        }
    }
}

impl Target {
    pub(super) fn file(path: PathBuf) -> anyhow::Result<Self> {
        OutputFile::create(path).map(Self::File)
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Stdout => std::io::stdout().write_all(bytes),
            Self::File(output) => output.file.write_all(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Stdout => std::io::stdout().flush(),
            Self::File(output) => output.file.flush(),
        }
    }
}

/// What an answer was.
pub(in crate::cli) struct Answered {
    pub rows: u64,
    pub took: Duration,
}

/// Writes answers in one form to one place.
pub(in crate::cli) struct Output {
    target: Target,
    format: Format,
    expanded: bool,
}

impl Output {
    pub(in crate::cli) fn new(target: Target, format: Format) -> Self {
        Self { target, format, expanded: false }
    }

    /// Writes tables a column a line.
    pub(super) fn expanded(self, expanded: bool) -> Self {
        Self { expanded, ..self }
    }

    /// Asks one statement and writes its rows as they come. Where it was interrupted the error is [`Cancelled`].
    pub(super) fn answer(&mut self, door: &Door, sql: &str) -> anyhow::Result<Answered> {
        self.answer_with(door, sql, &Parameters::new())
    }

    /// As [`Output::answer`], with values for the statement's parameters.
    pub(in crate::cli) fn answer_with(
        &mut self,
        door: &Door,
        sql: &str,
        parameters: &Parameters,
    ) -> anyhow::Result<Answered> {
        match self.try_answer(door, sql, parameters) {
            Err(_) if door.interrupt().is_pressed() => Err(Cancelled.into()),
            other => other,
        }
    }

    fn try_answer(&mut self, door: &Door, sql: &str, parameters: &Parameters) -> anyhow::Result<Answered> {
        let started = Instant::now();
        let progress = Progress::start();
        // Rows on the same terminal would run into it.
        let shares_terminal = matches!(self.target, Target::Stdout) && std::io::stdout().is_terminal();
        let mut rows = door.ask_with(sql, parameters)?;
        let mut encoder = Encoder::new(self.format, self.expanded, &rows.schema())?;
        let mut count = 0;
        let mut out = Vec::new();
        for batch in &mut rows {
            let batch = batch?;
            count += batch.num_rows() as u64;
            progress.rows(count);
            encoder.batch(&batch, &mut out)?;
            if !out.is_empty() {
                if shares_terminal {
                    progress.stop();
                }
                self.target.write(&out)?;
                out.clear();
            }
        }
        progress.stop();
        encoder.finish(&mut out)?;
        self.target.write(&out)?;
        self.target.flush()?;
        Ok(Answered { rows: count, took: started.elapsed() })
    }

    /// Ends a file: it is whole, on disk, and has its name.
    pub(in crate::cli) fn close(self) -> anyhow::Result<()> {
        if let Target::File(output) = self.target {
            let path = output.path.clone();
            output.close().with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }

    /// Removes what was written of a file whose answer is not whole.
    pub(super) fn discard(self) {
        if let Target::File(output) = self.target {
            output.discard();
        }
    }
}

/// Prints what is whole already. A reader that has had enough is no error.
pub(in crate::cli) fn print(bytes: &[u8]) -> anyhow::Result<std::process::ExitCode> {
    let mut stdout = std::io::stdout();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error).context("cannot write to stdout"),
        _ => Ok(std::process::ExitCode::SUCCESS),
    }
}

pub(in crate::cli) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

enum Encoder {
    Table(TableEncoder),
    Expanded(ExpandedEncoder),
    Json(JsonEncoder),
    Csv(CsvEncoder),
    Parquet(Option<Box<ParquetEncoder>>),
}

impl Encoder {
    fn new(format: Format, expanded: bool, schema: &SchemaRef) -> anyhow::Result<Self> {
        Ok(match format {
            Format::Table if expanded => Self::Expanded(ExpandedEncoder::new(schema)),
            Format::Table => Self::Table(TableEncoder::new(schema)),
            Format::Json => Self::Json(JsonEncoder::new(schema)),
            Format::Csv => Self::Csv(CsvEncoder::new(schema)),
            Format::Parquet => Self::Parquet(Some(Box::new(ParquetEncoder::new(schema)?))),
        })
    }

    fn batch(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> anyhow::Result<()> {
        match self {
            Self::Table(table) => table.batch(batch, out),
            Self::Expanded(expanded) => expanded.batch(batch, out),
            Self::Json(json) => json.batch(batch, out),
            Self::Csv(csv) => csv.batch(batch, out),
            Self::Parquet(writer) => {
                if let Some(writer) = writer {
                    writer.batch(batch, out)?;
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> anyhow::Result<()> {
        match self {
            Self::Table(table) => table.finish(out),
            Self::Expanded(expanded) => expanded.finish(out),
            Self::Json(json) => json.finish(out),
            Self::Csv(csv) => csv.finish(out),
            Self::Parquet(writer) => {
                if let Some(writer) = writer.take() {
                    writer.finish(out)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &std::path::Path) -> Vec<String> {
        let entries = std::fs::read_dir(dir).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_is_replaced_only_by_a_whole_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.csv");
        std::fs::write(&path, "before").unwrap();
        let mut output = Output::new(Target::file(path.clone()).unwrap(), Format::Csv);
        output.target.write(b"half an ans").unwrap();
        output.discard();
        assert_eq!(std::fs::read(&path).unwrap(), b"before");
        let mut output = Output::new(Target::file(path.clone()).unwrap(), Format::Csv);
        output.target.write(b"whole").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"before");
        output.close().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"whole");
        assert_eq!(names(dir.path()), ["out.csv"]);
    }

    #[test]
    fn links_stay_and_devices_are_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        std::fs::write(&real, "before").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let mut output = Output::new(Target::file(link.clone()).unwrap(), Format::Csv);
        output.target.write(b"whole").unwrap();
        output.close().unwrap();
        assert!(link.is_symlink() && std::fs::read(&real).unwrap() == b"whole");
        let device = Output::new(Target::file("/dev/null".into()).unwrap(), Format::Csv);
        device.close().unwrap();
        assert!(!std::fs::metadata("/dev/null").unwrap().is_file());
        assert!(Target::file(dir.path().join("nowhere/out")).is_err());
        assert!(Target::file(dir.path().to_owned()).is_err());
    }
}
