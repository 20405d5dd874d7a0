use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Take};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::read::MultiGzDecoder;

use super::snappy::SnappyReader;

/// How the bytes of a file are packed: by the end of its name, as the server does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    Plain,
    Gzip,
    Snappy,
}

impl Packing {
    /// The packing, and the name without its ending.
    pub fn of(name: &str) -> (Self, &str) {
        match name.rsplit_once('.') {
            Some((stem, "gz")) => (Self::Gzip, stem),
            Some((stem, "snappy")) => (Self::Snappy, stem),
            _ => (Self::Plain, name),
        }
    }
}

/// Where the bytes of a log segment or snapshot are: a file, or a stretch of a tar.
#[derive(Clone, Debug)]
pub struct Place {
    /// For people: a path, or `archive.tar:path`.
    pub name: Arc<str>,
    pub path: PathBuf,
    /// First byte and length within the file; `None` for all of it.
    pub within: Option<(u64, u64)>,
    /// On disk.
    pub bytes: u64,
    pub packing: Packing,
    /// Keeps what was unpacked from an archive.
    pub unpacked: Option<Arc<tempfile::TempDir>>,
}

impl Place {
    pub fn file(path: &Path, bytes: u64) -> Self {
        let name = path.to_string_lossy();
        Self {
            packing: Packing::of(&name).0,
            name: name.into(),
            path: path.to_owned(),
            within: None,
            bytes,
            unpacked: None,
        }
    }

    /// The bytes as they were written, unpacked.
    pub fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        let plain = self.plain()?;
        Ok(match self.packing {
            Packing::Plain => Box::new(plain),
            Packing::Gzip => Box::new(MultiGzDecoder::new(io::BufReader::new(plain))),
            Packing::Snappy => Box::new(SnappyReader::new(plain)?),
        })
    }

    /// The bytes on disk.
    pub fn plain(&self) -> io::Result<Take<File>> {
        self.plain_from(0)
    }

    /// The bytes on disk from this one on.
    pub fn plain_from(&self, offset: u64) -> io::Result<Take<File>> {
        let mut file = File::open(&self.path)?;
        let (start, length) = self.within.unwrap_or((0, u64::MAX));
        file.seek(SeekFrom::Start(start.saturating_add(offset)))?;
        Ok(file.take(length.saturating_sub(offset)))
    }
}
