use std::path::{Path, PathBuf};

/// What can go wrong with a history's folder. Each message names the file and what to do.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    #[error("cannot {action} {path}: {source}")]
    Io { action: &'static str, path: PathBuf, source: std::io::Error },

    #[error("{path} is not a readable Parquet file: {source}. Move it away to go on without its rows")]
    Parquet { path: PathBuf, source: parquet::errors::ParquetError },

    #[error("{path}: {source}")]
    Arrow { path: PathBuf, source: arrow::error::ArrowError },

    #[error(
        "{path}: corrupt WAL frame at byte {offset}: {cause}. It is not at the end of the log, so it is no torn write; \
             move the file away to go on without its rows, or restore it"
    )]
    CorruptWal { path: PathBuf, offset: u64, cause: String },

    #[error("{path} is being written by another zktrail (process {pid}): one writer a cluster folder")]
    Locked { path: PathBuf, pid: String },

    #[error(
        "the writer of cluster {cluster} has stopped after a failed {action}: {cause}. \
             It recovers from what is on disk, it does not retry blindly"
    )]
    Poisoned { cluster: String, action: &'static str, cause: String },

    #[error(
        "{path}: only {free_bytes} bytes of {total_bytes} are free, below the floor; recording stops until there is room"
    )]
    DiskFloor { path: PathBuf, free_bytes: u64, total_bytes: u64 },

    #[error(
        "{path} was written by a newer zktrail (format {found}, this one reads up to {supported}): go on with the newer \
             zktrail, or put back a copy of the folder from before the upgrade"
    )]
    NewerFormat { path: PathBuf, found: String, supported: u32 },

    #[error(
        "the file system of {path} cannot exchange two folders in one step (renameat2 RENAME_EXCHANGE): {source}. \
             Put the history on ext4, xfs, btrfs or tmpfs"
    )]
    NoExchange { path: PathBuf, source: std::io::Error },

    #[error("{0}")]
    Unknown(String),
}

impl HistoryError {
    pub fn io(action: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }

    /// Whether there was no room: recording pauses, nothing is broken.
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::DiskFloor { .. } => true,
            Self::Io { source, .. } => {
                matches!(source.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
            }
            _ => false,
        }
    }
}
