//! Appending to the log.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::Seqs;
use super::entry::{Encoder, Section};
use super::reader::SegmentEnd;
use super::segment::{Header, Segment};
use crate::history::disk::{Disk, DiskFile};
use crate::history::error::HistoryError;

/// The one writer of a cluster's log. After any failure it refuses everything: recover from disk.
pub struct WalWriter {
    disk: Disk,
    cluster: String,
    dir: PathBuf,
    file: DiskFile,
    active: Segment,
    /// Segments before the active one, oldest first, whose rows are not yet in parts.
    older: Vec<Segment>,
    bytes: u64,
    next_number: u64,
    encoder: Encoder,
    buffer: Vec<u8>,
    poisoned: Option<(&'static str, String)>,
}

/// A buffer that grew beyond this for one large commit is given back.
const BUFFER_BYTES_KEPT: usize = 8 * 1024 * 1024;

impl WalWriter {
    /// Begins a fresh segment: `sections` is its first frame. It is durable, name and all, when this returns.
    pub fn create(
        disk: &Disk,
        cluster: &str,
        dir: &Path,
        first: u64,
        next: Seqs,
        sections: &[Section],
    ) -> Result<Self, HistoryError> {
        let mut encoder = Encoder::default();
        let (file, bytes) = begin(disk, dir, &mut encoder, Header { first, next }, sections)?;
        Ok(Self {
            disk: disk.clone(),
            cluster: cluster.to_owned(),
            dir: dir.to_owned(),
            file,
            active: Segment::new(dir, first),
            older: Vec::new(),
            bytes,
            next_number: first + 1,
            encoder,
            buffer: Vec::new(),
            poisoned: None,
        })
    }

    /// Goes on with the last of `segments`, which must end after its valid frames.
    pub fn resume(
        disk: &Disk,
        cluster: &str,
        dir: &Path,
        mut segments: Vec<Segment>,
        end: SegmentEnd,
    ) -> Result<Self, HistoryError> {
        let active =
            segments.pop().ok_or_else(|| HistoryError::Unknown("there is no WAL segment to go on with".to_owned()))?;
        let file = disk.append_to(&active.path)?;
        Ok(Self {
            disk: disk.clone(),
            cluster: cluster.to_owned(),
            dir: dir.to_owned(),
            file,
            active,
            older: segments,
            bytes: end.valid_bytes,
            next_number: end.next_number,
            encoder: Encoder::default(),
            buffer: Vec::new(),
            poisoned: None,
        })
    }

    /// Commits one frame: when this returns it is durable. Returns how long the fsync took.
    pub fn append(&mut self, sections: &[Section]) -> Result<Duration, HistoryError> {
        self.refuse_if_poisoned()?;
        self.buffer.clear();
        let encoded = self.encoder.encode(self.next_number, sections, &mut self.buffer);
        encoded.map_err(|source| HistoryError::Arrow { path: self.active.path.clone(), source })?;
        let written = self.file.append(&self.buffer);
        self.poison("write", written)?;
        let started = Instant::now();
        let synced = self.file.sync();
        self.poison("fsync", synced)?;
        self.next_number += 1;
        self.bytes += self.buffer.len() as u64;
        self.buffer.shrink_to(BUFFER_BYTES_KEPT);
        Ok(started.elapsed())
    }

    /// Begins the next segment with `sections` as its first frame. The segments before it stay until
    /// [`let_go`] removes what [`WalWriter::take_older`] names.
    pub fn rotate(&mut self, next: Seqs, sections: &[Section]) -> Result<(), HistoryError> {
        self.refuse_if_poisoned()?;
        let header = Header { first: self.next_number, next };
        let begun = begin(&self.disk, &self.dir, &mut self.encoder, header, sections);
        let (file, bytes) = self.poison("rotation", begun)?;
        let full = std::mem::replace(&mut self.active, Segment::new(&self.dir, self.next_number));
        self.older.push(full);
        self.file = file;
        self.bytes = bytes;
        self.next_number += 1;
        Ok(())
    }

    /// The segments before the active one: whoever takes them removes them.
    pub fn take_older(&mut self) -> Vec<Segment> {
        std::mem::take(&mut self.older)
    }

    /// Bytes of the active segment.
    pub fn active_bytes(&self) -> u64 {
        self.bytes
    }

    fn refuse_if_poisoned(&self) -> Result<(), HistoryError> {
        match &self.poisoned {
            Some((action, cause)) => {
                Err(HistoryError::Poisoned { cluster: self.cluster.clone(), action, cause: cause.clone() })
            }
            None => Ok(()),
        }
    }

    fn poison<T>(&mut self, action: &'static str, result: Result<T, HistoryError>) -> Result<T, HistoryError> {
        if let Err(error) = &result {
            self.poisoned = Some((action, error.to_string()));
        }
        result
    }
}

fn begin(
    disk: &Disk,
    dir: &Path,
    encoder: &mut Encoder,
    header: Header,
    sections: &[Section],
) -> Result<(DiskFile, u64), HistoryError> {
    let unfinished = Segment::unfinished(dir, header.first);
    let segment = Segment::new(dir, header.first);
    let mut bytes = header.encode().to_vec();
    let encoded = encoder.encode(header.first, sections, &mut bytes);
    encoded.map_err(|source| HistoryError::Arrow { path: segment.path.clone(), source })?;
    let mut file = disk.create(&unfinished)?;
    file.append(&bytes)?;
    file.sync()?;
    disk.rename(&unfinished, &segment.path)?;
    disk.sync_dir(dir)?;
    // Opened anew under the name that errors should tell.
    Ok((disk.append_to(&segment.path)?, bytes.len() as u64))
}

/// Removes segments whose rows are all in durable parts, the oldest first.
pub fn let_go(disk: &Disk, dir: &Path, segments: &[Segment]) -> Result<(), HistoryError> {
    for segment in segments {
        disk.remove_file(&segment.path)?;
        // One by one: a log with a hole in its middle would be taken for damage.
        disk.sync_dir(dir)?;
    }
    Ok(())
}
