use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock, RwLock};

use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::file::metadata::{FileMetaData, PageIndexPolicy};

use super::error::HistoryError;
use super::layout::{Day, SeqRange, Table};
use super::schema;

/// One immutable Parquet file of a table, for as long as anybody asks it.
///
/// When its day is exchanged the file moves, with its whole folder, to a name with a leading dot: [`Part::moved`] tells
/// the part, so that whoever holds it goes on reading. The folder goes when the last part of it is dropped.
#[derive(Debug)]
pub struct Part {
    pub table: Table,
    pub cluster: Arc<str>,
    pub day: Day,
    pub range: SeqRange,
    pub bytes: u64,
    location: RwLock<Location>,
    metadata: OnceLock<ArrowReaderMetadata>,
}

#[derive(Debug)]
struct Location {
    path: PathBuf,
    retired: Option<Arc<RetiredDay>>,
}

impl Part {
    /// Names a part that is on disk; nothing is read yet.
    pub fn new(table: Table, cluster: Arc<str>, day: Day, range: SeqRange, path: PathBuf, bytes: u64) -> Self {
        let location = RwLock::new(Location { path, retired: None });
        Self { table, cluster, day, range, bytes, location, metadata: OnceLock::new() }
    }

    /// Where the file is now. It may move the next moment: to read it, use [`Part::open`].
    pub fn path(&self) -> PathBuf {
        self.location.read().unwrap_or_else(|poisoned| poisoned.into_inner()).path.clone()
    }

    /// Opens the file, also while its day is being exchanged.
    pub fn open(&self) -> Result<File, HistoryError> {
        // The lock is held while opening, so that an exchange cannot move the folder in between.
        let location = self.location.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        File::open(&location.path).map_err(|source| HistoryError::io("open", &location.path, source))
    }

    /// The footer with its page index, read once and kept. An error where a newer zktrail wrote the part.
    pub fn metadata(&self) -> Result<ArrowReaderMetadata, HistoryError> {
        if let Some(metadata) = self.metadata.get() {
            return Ok(metadata.clone());
        }
        let file = self.open()?;
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
        let metadata = ArrowReaderMetadata::load(&file, options)
            .map_err(|source| HistoryError::Parquet { path: self.path(), source })?;
        self.check_format(metadata.metadata().file_metadata())?;
        Ok(self.metadata.get_or_init(|| metadata).clone())
    }

    /// Refuses what a newer zktrail wrote, whatever it may mean there.
    pub(super) fn check_format(&self, file: &FileMetaData) -> Result<(), HistoryError> {
        let pairs = file.key_value_metadata().map(Vec::as_slice).unwrap_or_default();
        let found = pairs.iter().find(|pair| pair.key == schema::FORMAT_VERSION_KEY);
        match found.and_then(|pair| pair.value.as_deref()) {
            Some(found) if found.parse::<u32>().map_or(true, |version| version > schema::FORMAT_VERSION) => {
                Err(HistoryError::NewerFormat {
                    path: self.path(),
                    found: found.to_owned(),
                    supported: schema::FORMAT_VERSION,
                })
            }
            _ => Ok(()),
        }
    }

    /// Holds off every open of these parts while `exchange` moves their folder, then points them to where it went.
    /// `exchange` gives the path that the old folder has now; `None` leaves everything as it was.
    pub fn moved<E>(parts: &[Arc<Part>], exchange: impl FnOnce() -> Result<Option<PathBuf>, E>) -> Result<(), E> {
        let mut locations: Vec<_> =
            parts.iter().map(|part| part.location.write().unwrap_or_else(|poisoned| poisoned.into_inner())).collect();
        let Some(folder) = exchange()? else { return Ok(()) };
        let retired = Arc::new(RetiredDay { folder: folder.clone() });
        for location in &mut locations {
            if let Some(name) = location.path.file_name().map(|name| folder.join(name)) {
                location.path = name;
                location.retired = Some(retired.clone());
            }
        }
        Ok(())
    }
}

/// A day's folder that has been exchanged; removed from disk when nobody reads it any more.
/// If the process ends before, the next start removes it: its name has a leading dot.
#[derive(Debug)]
struct RetiredDay {
    folder: PathBuf,
}

impl Drop for RetiredDay {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            tracing::warn!(folder = %self.folder.display(), %error, "a retired day's folder stays until the next start");
        }
    }
}
