//! The one seam through which the recording half of a history touches the file system.
//!
//! Folders are made 0700 and files 0600. What must survive a power loss is fsynced: file contents by
//! [`DiskFile::sync`], names by [`Disk::sync_dir`]. Tests put faults behind this seam (see `disk/faults.rs`).

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::error::HistoryError;

#[cfg(test)]
pub(crate) mod faults;

/// The file system, with faults where a test asks for them. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    #[cfg(test)]
    pub(crate) faults: faults::Faults,
}

/// What a step does to the disk. Steps of a name are what a test lets fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    CreateDir,
    Create,
    Write(usize),
    Sync,
    SyncDir,
    Rename,
    Truncate,
    Remove,
}

/// Free and total bytes of a file system, for an unprivileged process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    pub free_bytes: u64,
    pub total_bytes: u64,
}

impl Space {
    /// Whether less than `floor_percent` is free.
    pub fn is_below(self, floor_percent: u8) -> bool {
        u128::from(self.free_bytes) * 100 < u128::from(self.total_bytes) * u128::from(floor_percent)
    }
}

impl Disk {
    /// The real file system.
    pub fn new() -> Self {
        Self::default()
    }

    #[cfg(not(test))]
    #[allow(clippy::unused_self, clippy::unnecessary_wraps)]
    fn step(&self, _step: Step) -> io::Result<usize> {
        Ok(usize::MAX)
    }

    /// How many bytes a write may write before it fails; for other steps only the error counts.
    #[cfg(test)]
    fn step(&self, step: Step) -> io::Result<usize> {
        self.faults.step(step)
    }

    /// Makes a folder and every missing one above it, 0700, and makes their names durable.
    pub fn create_dir(&self, dir: &Path) -> Result<(), HistoryError> {
        if dir.is_dir() {
            return Ok(());
        }
        let parent = match dir.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        self.create_dir(parent)?;
        let made = self.step(Step::CreateDir).and_then(|_| std::fs::DirBuilder::new().mode(0o700).create(dir));
        match made {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(HistoryError::io("create the folder", dir, error))
            }
            _ => self.sync_dir(parent),
        }
    }

    /// Makes a new file, 0600; a leftover of the same name is overwritten.
    pub fn create(&self, path: &Path) -> Result<DiskFile, HistoryError> {
        let file = self
            .step(Step::Create)
            .and_then(|_| OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path));
        let file = file.map_err(|source| HistoryError::io("create", path, source))?;
        Ok(DiskFile { file, path: path.to_owned(), disk: self.clone() })
    }

    /// Opens a file of ours to append to it.
    pub fn append_to(&self, path: &Path) -> Result<DiskFile, HistoryError> {
        let file = OpenOptions::new().read(true).append(true).open(path);
        let file = file.map_err(|source| HistoryError::io("open", path, source))?;
        Ok(DiskFile { file, path: path.to_owned(), disk: self.clone() })
    }

    /// Opens a file of ours to write within it.
    pub fn write_to(&self, path: &Path) -> Result<DiskFile, HistoryError> {
        let file = OpenOptions::new().read(true).write(true).open(path);
        let file = file.map_err(|source| HistoryError::io("open", path, source))?;
        Ok(DiskFile { file, path: path.to_owned(), disk: self.clone() })
    }

    /// Renames without making it durable: [`Disk::sync_dir`] does.
    pub fn rename(&self, from: &Path, to: &Path) -> Result<(), HistoryError> {
        self.step(Step::Rename)
            .and_then(|_| std::fs::rename(from, to))
            .map_err(|source| HistoryError::io("rename", from, source))
    }

    /// Removes a file; that it is gone already is no error.
    pub fn remove_file(&self, path: &Path) -> Result<(), HistoryError> {
        match self.step(Step::Remove).and_then(|_| std::fs::remove_file(path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(HistoryError::io("remove", path, error)),
            _ => Ok(()),
        }
    }

    /// Removes a folder with all that is in it; that it is gone already is no error.
    pub fn remove_dir_all(&self, path: &Path) -> Result<(), HistoryError> {
        match self.step(Step::Remove).and_then(|_| std::fs::remove_dir_all(path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(HistoryError::io("remove", path, error)),
            _ => Ok(()),
        }
    }

    /// Makes the names in a folder durable.
    pub fn sync_dir(&self, dir: &Path) -> Result<(), HistoryError> {
        self.step(Step::SyncDir)
            .and_then(|_| File::open(dir)?.sync_all())
            .map_err(|source| HistoryError::io("fsync the folder", dir, source))
    }

    /// How full the file system of `dir` is.
    pub fn space(&self, dir: &Path) -> Result<Space, HistoryError> {
        #[cfg(test)]
        if let Some(space) = self.faults.space() {
            return Ok(space);
        }
        let stat =
            rustix::fs::statvfs(dir).map_err(|error| HistoryError::io("read the free space of", dir, error.into()))?;
        Ok(Space {
            free_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
            total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
        })
    }

    /// Fails with [`HistoryError::DiskFloor`] where less than `floor_percent` of the file system is free.
    pub fn check_floor(&self, dir: &Path, floor_percent: u8) -> Result<(), HistoryError> {
        let space = self.space(dir)?;
        if space.is_below(floor_percent) {
            let Space { free_bytes, total_bytes } = space;
            return Err(HistoryError::DiskFloor { path: dir.to_owned(), free_bytes, total_bytes });
        }
        Ok(())
    }
}

/// An open file behind the seam. Writing goes to the page cache; [`DiskFile::sync`] makes it durable.
#[derive(Debug)]
pub struct DiskFile {
    file: File,
    path: PathBuf,
    disk: Disk,
}

impl DiskFile {
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn append(&mut self, bytes: &[u8]) -> Result<(), HistoryError> {
        self.write_all(bytes).map_err(|source| HistoryError::io("write to", &self.path, source))
    }

    /// Writes at a place within the file.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), HistoryError> {
        self.disk
            .step(Step::Write(bytes.len()))
            .and_then(|_| self.file.write_all_at(bytes, offset))
            .map_err(|source| HistoryError::io("write to", &self.path, source))
    }

    /// Makes the contents durable (fdatasync).
    pub fn sync(&self) -> Result<(), HistoryError> {
        self.disk
            .step(Step::Sync)
            .and_then(|_| self.file.sync_data())
            .map_err(|source| HistoryError::io("fsync", &self.path, source))
    }

    pub fn truncate(&self, bytes: u64) -> Result<(), HistoryError> {
        self.disk
            .step(Step::Truncate)
            .and_then(|_| self.file.set_len(bytes))
            .map_err(|source| HistoryError::io("truncate", &self.path, source))
    }

    pub fn len_bytes(&self) -> Result<u64, HistoryError> {
        let metadata =
            self.file.metadata().map_err(|source| HistoryError::io("read the length of", &self.path, source))?;
        Ok(metadata.len())
    }
}

impl Write for DiskFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let allowed = self.disk.step(Step::Write(bytes.len()))?;
        self.file.write(&bytes[..bytes.len().min(allowed)])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
