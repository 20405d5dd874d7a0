use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::Format;
use super::door::Door;
use super::progress::Progress;
use crate::query::encode::{CsvEncoder, JsonEncoder, TableEncoder};

/// Where answers go.
pub(super) enum Target {
    Stdout,
    File { path: PathBuf, file: File },
}

impl Target {
    /// Made at once, so that a folder that does not exist is known before the query runs.
    pub(super) fn file(path: PathBuf) -> anyhow::Result<Self> {
        let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self::File { path, file })
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Stdout => std::io::stdout().write_all(bytes),
            Self::File { file, .. } => file.write_all(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Stdout => std::io::stdout().flush(),
            Self::File { file, .. } => file.flush(),
        }
    }
}

/// What an answer was.
pub(super) struct Answered {
    pub rows: u64,
    pub took: Duration,
}

/// Writes answers in one form to one place.
pub(super) struct Output {
    target: Target,
    format: Format,
}

impl Output {
    pub(super) fn new(target: Target, format: Format) -> Self {
        Self { target, format }
    }

    /// Asks one statement and writes its rows as they come.
    pub(super) fn answer(&mut self, door: &Door, sql: &str) -> anyhow::Result<Answered> {
        let started = Instant::now();
        let progress = Progress::start();
        // Rows on the same terminal would run into it.
        let shares_terminal = matches!(self.target, Target::Stdout) && std::io::stdout().is_terminal();
        let mut rows = door.ask(sql)?;
        let mut encoder = Encoder::new(self.format, &rows.schema())?;
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

    /// Ends a file; it is whole and on disk.
    pub(super) fn close(self) -> anyhow::Result<()> {
        if let Target::File { path, file } = self.target {
            file.sync_all().with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }

    /// Removes a file whose answer is not whole.
    pub(super) fn discard(self) {
        if let Target::File { path, file } = self.target {
            drop(file);
            // The error that brought us here is the one to tell.
            let _ = std::fs::remove_file(path);
        }
    }
}

pub(super) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

enum Encoder {
    Table(TableEncoder),
    Json(JsonEncoder),
    Csv(CsvEncoder),
    Parquet(Option<Box<ArrowWriter<Vec<u8>>>>),
}

impl Encoder {
    fn new(format: Format, schema: &SchemaRef) -> anyhow::Result<Self> {
        Ok(match format {
            Format::Table => Self::Table(TableEncoder::new(schema)),
            Format::Json => Self::Json(JsonEncoder::new(schema)),
            Format::Csv => Self::Csv(CsvEncoder::new(schema)),
            Format::Parquet => {
                let zstd = Compression::ZSTD(ZstdLevel::try_new(3)?);
                let properties = WriterProperties::builder().set_compression(zstd).build();
                let buffer = Vec::new();
                Self::Parquet(Some(Box::new(ArrowWriter::try_new(buffer, schema.clone(), Some(properties))?)))
            }
        })
    }

    fn batch(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> anyhow::Result<()> {
        match self {
            Self::Table(table) => table.batch(batch, out),
            Self::Json(json) => json.batch(batch, out),
            Self::Csv(csv) => csv.batch(batch, out),
            Self::Parquet(writer) => {
                if let Some(writer) = writer {
                    writer.write(batch)?;
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> anyhow::Result<()> {
        match self {
            Self::Table(table) => table.finish(out),
            Self::Json(json) => json.finish(out),
            Self::Csv(csv) => csv.finish(out),
            // At most rows_max rows, compressed: small enough to be held.
            Self::Parquet(writer) => {
                if let Some(writer) = writer.take() {
                    out.extend_from_slice(&writer.into_inner()?);
                }
            }
        }
        Ok(())
    }
}
