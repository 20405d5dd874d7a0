use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, BinaryBuilder, Int32Builder, Int64Builder, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use arrow::record_batch::RecordBatch;

use super::super::disk::Disk;
use super::super::error::HistoryError;
use super::super::layout::{Layout, Table};
use super::cursor::{Batches, Cursor};
use crate::zk::Zxid;

/// Memory for values that wait for their snapshot.
pub const SPILL_BYTES_MAX: usize = 64 << 20;

/// Bytes and rows of a batch in a run: what reading a run back holds in memory.
const RUN_BATCH_BYTES_MAX: usize = 1 << 20;
const RUN_BATCH_ROWS_MAX: usize = 4096;

/// The `seq` of a value that no row carries: later than any.
pub(super) const SCANNED_SEQ: i64 = i64::MAX;

pub(super) static VALUES: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("path", DataType::Utf8, false),
        Field::new("czxid", DataType::Int64, true),
        Field::new("version", DataType::Int32, true),
        Field::new("mzxid", DataType::Int64, true),
        Field::new("data", DataType::Binary, true),
        Field::new("data_length", DataType::Int32, true),
        Field::new("data_hash", DataType::Int64, true),
        Field::new("seq", DataType::Int64, false),
        Field::new("ordinal", DataType::Int32, false),
    ]))
});

/// Values that wait for their snapshot, pushed in any order: sorted by path in bounded memory, in runs on disk.
///
/// A run is a file in the cluster's snapshots folder which loses its name the moment it is made: it is gone when the
/// process is, however it ends. Values must have passed the value policy.
#[derive(Debug)]
pub struct ValueSpill {
    disk: Disk,
    dir: PathBuf,
    bytes_max: usize,
    /// The bytes of all paths and values that are in memory.
    arena: Vec<u8>,
    entries: Vec<Entry>,
    runs: Vec<File>,
}

#[derive(Clone, Debug)]
struct Entry {
    path: Range<usize>,
    data: Option<Range<usize>>,
    czxid: i64,
    version: i32,
    mzxid: Option<i64>,
    data_length: Option<i32>,
    data_hash: Option<i64>,
    seq: i64,
    ordinal: i32,
}

impl Entry {
    /// Which of one path's values is of the later state. Versions wrap, and begin anew where one transaction ends a life and
    /// begins another, which have the same czxid.
    fn is_newer_than(&self, other: &Self) -> bool {
        let version = self.version.wrapping_sub(other.version).cmp(&0);
        let in_life = match (self.mzxid, other.mzxid) {
            (Some(own), Some(others)) => (own, self.ordinal).cmp(&(others, other.ordinal)),
            (own, others) => version.then(own.cmp(&others)),
        };
        let place = self.czxid.cmp(&other.czxid).then(in_life);
        let told = |entry: &Self| (entry.data.is_some(), entry.data_hash.is_some(), entry.data_length.is_some());
        place.then(told(self).cmp(&told(other))).then(self.seq.cmp(&other.seq)).is_gt()
    }
}

/// One value and what it is the value of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Value<'a> {
    pub path: &'a str,
    pub czxid: Option<Zxid>,
    pub version: Option<i32>,
    pub mzxid: Option<Zxid>,
    pub data: Option<&'a [u8]>,
    pub data_length: Option<i32>,
    pub data_hash: Option<i64>,
    pub seq: i64,
    /// Which of its transaction's changes of the path; the last, where it is what was read afterwards.
    pub ordinal: i32,
}

impl ValueSpill {
    /// `bytes_max` bounds the memory, about: see [`SPILL_BYTES_MAX`]. Nothing is made on disk before it is reached.
    pub fn new(disk: &Disk, layout: &Layout, cluster: &str, bytes_max: usize) -> Self {
        Self {
            disk: disk.clone(),
            dir: layout.cluster(Table::Snapshots, cluster),
            bytes_max,
            arena: Vec::new(),
            entries: Vec::new(),
            runs: Vec::new(),
        }
    }

    /// Takes a value that a scan read and no row carries. All of `data`, `data_length` and `data_hash` are `None` where
    /// the policy withholds everything. May write a run.
    #[allow(clippy::too_many_arguments)]
    pub fn push(
        &mut self,
        path: &str,
        czxid: Zxid,
        version: i32,
        mzxid: Zxid,
        data: Option<&[u8]>,
        data_length: Option<i32>,
        data_hash: Option<i64>,
    ) -> Result<(), HistoryError> {
        let mzxid = Some(mzxid);
        let (czxid, version) = (Some(czxid), Some(version));
        self.push_value(Value {
            path,
            czxid,
            version,
            mzxid,
            data,
            data_length,
            data_hash,
            seq: SCANNED_SEQ,
            ordinal: i32::MAX,
        })
    }

    /// A value that does not know its life or version belongs to nothing.
    pub(super) fn push_value(&mut self, value: Value<'_>) -> Result<(), HistoryError> {
        let (Some(czxid), Some(version)) = (value.czxid, value.version) else { return Ok(()) };
        let path = self.keep(value.path.as_bytes());
        let data = value.data.map(|data| self.keep(data));
        self.entries.push(Entry {
            path,
            data,
            czxid: czxid.0,
            version,
            mzxid: value.mzxid.map(|mzxid| mzxid.0),
            data_length: value.data_length,
            data_hash: value.data_hash,
            seq: value.seq,
            ordinal: value.ordinal,
        });
        if self.bytes() >= self.bytes_max {
            self.overflow()?;
        }
        Ok(())
    }

    /// How many runs are on disk.
    pub fn runs(&self) -> usize {
        self.runs.len()
    }

    fn bytes(&self) -> usize {
        self.arena.len() + self.entries.len() * size_of::<Entry>()
    }

    fn keep(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.arena.len();
        self.arena.extend_from_slice(bytes);
        start..self.arena.len()
    }

    fn path(&self, entry: &Entry) -> &[u8] {
        self.arena.get(entry.path.clone()).unwrap_or_default()
    }

    /// Makes room: forgets values that later changes overtook; where that is not enough, writes a run.
    fn overflow(&mut self) -> Result<(), HistoryError> {
        self.sort();
        if self.bytes() < self.bytes_max / 2 {
            return Ok(());
        }
        let run = self.write_run()?;
        self.runs.push(run);
        self.arena.clear();
        self.entries.clear();
        Ok(())
    }

    /// Sorts by path. Of a path's values that changes carry only the newest stays; of what scans read, everything.
    fn sort(&mut self) {
        let mut entries = std::mem::take(&mut self.entries);
        let total = entries.len();
        entries.sort_by(|a, b| self.path(a).cmp(self.path(b)));
        let mut kept: Vec<Entry> = Vec::with_capacity(entries.len());
        // Where the newest of the changes is, for the path under way.
        let mut newest: Option<usize> = None;
        for entry in entries {
            if kept.last().is_none_or(|last| self.path(last) != self.path(&entry)) {
                newest = None;
            }
            if entry.seq == SCANNED_SEQ {
                kept.push(entry);
                continue;
            }
            match newest.and_then(|at| kept.get_mut(at)) {
                Some(other) if entry.is_newer_than(other) => *other = entry,
                Some(_) => {}
                None => {
                    newest = Some(kept.len());
                    kept.push(entry);
                }
            }
        }
        if kept.len() == total {
            self.entries = kept;
            return;
        }
        let mut arena = Vec::with_capacity(self.arena.len());
        let mut keep = |range: &Range<usize>| {
            let start = arena.len();
            arena.extend_from_slice(self.arena.get(range.clone()).unwrap_or_default());
            start..arena.len()
        };
        for entry in &mut kept {
            entry.path = keep(&entry.path);
            entry.data = entry.data.as_ref().map(&mut keep);
        }
        self.arena = arena;
        self.entries = kept;
    }

    fn write_run(&self) -> Result<File, HistoryError> {
        self.disk.create_dir(&self.dir)?;
        let path = self.dir.join(format!(".values-{}-{}.parquet.run", std::process::id(), self.runs.len()));
        let mut file = self.disk.create(&path)?;
        let run = File::open(&path).map_err(|source| HistoryError::io("open", &path, source))?;
        self.disk.remove_file(&path)?;
        let arrow = |source| match source {
            ArrowError::IoError(_, source) => HistoryError::io("write to", &path, source),
            source => HistoryError::Arrow { path: path.clone(), source },
        };
        let mut writer = StreamWriter::try_new(BufWriter::new(&mut file), &VALUES).map_err(arrow)?;
        let mut at = 0;
        while let Some(batch) = self.batch_at(&mut at).transpose()? {
            writer.write(&batch).map_err(arrow)?;
        }
        writer.finish().map_err(arrow)?;
        let mut buffer = writer.into_inner().map_err(arrow)?;
        buffer.flush().map_err(|source| HistoryError::io("write to", &path, source))?;
        drop(buffer);
        Ok(run)
    }

    /// The next batch of what is in memory, from an entry on, in order; moves `at` behind it.
    fn batch_at(&self, at: &mut usize) -> Option<Result<RecordBatch, HistoryError>> {
        let rest = self.entries.get(*at..)?;
        let mut bytes = 0;
        let fits = rest.iter().take(RUN_BATCH_ROWS_MAX).take_while(|entry| {
            let fits = bytes < RUN_BATCH_BYTES_MAX;
            bytes += entry.path.len() + entry.data.as_ref().map_or(0, Range::len);
            fits
        });
        let batch = rest.get(..fits.count())?;
        *at += batch.len();
        (!batch.is_empty()).then(|| self.batch(batch))
    }

    fn batch(&self, entries: &[Entry]) -> Result<RecordBatch, HistoryError> {
        let mut path = StringBuilder::new();
        let mut czxid = Int64Builder::new();
        let mut version = Int32Builder::new();
        let mut mzxid = Int64Builder::new();
        let mut data = BinaryBuilder::new();
        let mut data_length = Int32Builder::new();
        let mut data_hash = Int64Builder::new();
        let mut seq = Int64Builder::new();
        let mut ordinal = Int32Builder::new();
        for entry in entries {
            // Pushed as str.
            path.append_value(std::str::from_utf8(self.path(entry)).unwrap_or_default());
            czxid.append_value(entry.czxid);
            version.append_value(entry.version);
            mzxid.append_option(entry.mzxid);
            data.append_option(entry.data.clone().and_then(|data| self.arena.get(data)));
            data_length.append_option(entry.data_length);
            data_hash.append_option(entry.data_hash);
            seq.append_value(entry.seq);
            ordinal.append_value(entry.ordinal);
        }
        let columns: Vec<ArrayRef> = vec![
            Arc::new(path.finish()),
            Arc::new(czxid.finish()),
            Arc::new(version.finish()),
            Arc::new(mzxid.finish()),
            Arc::new(data.finish()),
            Arc::new(data_length.finish()),
            Arc::new(data_hash.finish()),
            Arc::new(seq.finish()),
            Arc::new(ordinal.finish()),
        ];
        RecordBatch::try_new(VALUES.clone(), columns)
            .map_err(|source| HistoryError::Arrow { path: self.dir.clone(), source })
    }

    /// Ends the pushing: a cursor over each sorted run, the one in memory last.
    pub(super) fn into_cursors(mut self) -> Result<Vec<Cursor>, HistoryError> {
        self.sort();
        let dir = self.dir.clone();
        let mut cursors = Vec::with_capacity(self.runs.len() + 1);
        for run in std::mem::take(&mut self.runs) {
            cursors.push(Cursor::new(run_batches(run, &dir)?)?);
        }
        // Turned into batches as they are asked for, so that the values are in memory once.
        let batches: Batches = Box::new(IntoBatches { spill: self, at: 0 });
        cursors.push(Cursor::new(batches)?);
        Ok(cursors)
    }
}

fn run_batches(run: File, dir: &Path) -> Result<Batches, HistoryError> {
    let path = dir.join(".values");
    let arrow = move |source| HistoryError::Arrow { path: path.clone(), source };
    let reader = StreamReader::try_new(BufReader::new(run), None).map_err(&arrow)?;
    Ok(Box::new(reader.map(move |batch| batch.map_err(&arrow))))
}

struct IntoBatches {
    spill: ValueSpill,
    at: usize,
}

impl Iterator for IntoBatches {
    type Item = Result<RecordBatch, HistoryError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.spill.batch_at(&mut self.at)
    }
}
