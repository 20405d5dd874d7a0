//! Segment files: their names and headers.

use std::io;
use std::path::{Path, PathBuf};

use super::Seqs;
use crate::history::layout;

pub const HEADER_BYTES: usize = 48;
pub const FORMAT_VERSION: u32 = 1;
const MAGIC: &[u8; 8] = b"zktrwal\n";

/// A segment file, named by the number of its first frame.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Segment {
    pub first: u64,
    pub path: PathBuf,
}

impl Segment {
    pub fn new(dir: &Path, first: u64) -> Self {
        Self { first, path: dir.join(format!("{first}.wal")) }
    }

    /// The name under which it is made.
    pub fn unfinished(dir: &Path, first: u64) -> PathBuf {
        dir.join(format!(".{first}.wal.new"))
    }
}

/// The segments of a folder, oldest first; none where it does not exist.
pub fn list(dir: &Path) -> io::Result<Vec<Segment>> {
    let names = layout::list(dir)?;
    let numbers = names.iter().filter_map(|name| name.strip_suffix(".wal")).filter_map(|stem| stem.parse().ok());
    let mut segments: Vec<Segment> = numbers.map(|first| Segment::new(dir, first)).collect();
    segments.sort_unstable();
    Ok(segments)
}

/// What a segment's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub first: u64,
    pub next: Seqs,
}

/// Why a header is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderError {
    Newer(u32),
    Corrupt(&'static str),
}

impl Header {
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.next.changes.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.next.coverage.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.next.sessions.to_le_bytes());
        let crc = crc32fast::hash(&bytes[16..]);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        let header: &[u8; HEADER_BYTES] =
            bytes.first_chunk().ok_or(HeaderError::Corrupt("the segment's header is cut short"))?;
        if &header[..8] != MAGIC {
            return Err(HeaderError::Corrupt("it is no WAL segment"));
        }
        let word = |at: usize| [header[at], header[at + 1], header[at + 2], header[at + 3]];
        let version = u32::from_le_bytes(word(8));
        if version > FORMAT_VERSION {
            return Err(HeaderError::Newer(version));
        }
        if crc32fast::hash(&header[16..]) != u32::from_le_bytes(word(12)) {
            return Err(HeaderError::Corrupt("the checksum of the segment's header does not match"));
        }
        let long = |at: usize| {
            let (low, high) = (u32::from_le_bytes(word(at)), u32::from_le_bytes(word(at + 4)));
            u64::from(low) | u64::from(high) << 32
        };
        let next = Seqs { changes: long(24) as i64, coverage: long(32) as i64, sessions: long(40) as i64 };
        Ok(Self { first: long(16), next })
    }
}
