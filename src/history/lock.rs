//! One writer a cluster folder.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

use super::error::HistoryError;
use super::layout::Layout;

/// The writer's lock (flock) on a cluster's folder; the kernel lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Whether a process of this machine holds the writer's lock, as far as the kernel shows it. Takes no lock itself: even
/// a short one could turn a starting agent away.
pub fn is_held(layout: &Layout, cluster: &str) -> bool {
    let Ok(metadata) = std::fs::metadata(layout.lock(cluster)) else { return false };
    // `1: FLOCK  ADVISORY  WRITE 123 fe:00:4711 0 EOF`
    let inode = format!(":{}", metadata.ino());
    let Ok(locks) = std::fs::read_to_string("/proc/locks") else { return true };
    locks.lines().any(|line| line.contains("FLOCK") && line.split_whitespace().any(|word| word.ends_with(&inode)))
}

impl Lock {
    /// Takes the lock or says who has it. The folder must exist.
    pub fn take(layout: &Layout, cluster: &str) -> Result<Self, HistoryError> {
        let path = layout.lock(cluster);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let mut file = file.map_err(|source| HistoryError::io("open the lock", &path, source))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                // Only for the message: the holder may be writing it this moment.
                let _ = (&file).take(20).read_to_string(&mut pid);
                let pid = if pid.trim().is_empty() { "unknown".to_owned() } else { pid.trim().to_owned() };
                return Err(HistoryError::Locked { path: layout.wal(cluster), pid });
            }
            Err(TryLockError::Error(source)) => return Err(HistoryError::io("lock", &path, source)),
        }
        // The number is for people; a full disk must not keep the history from being opened.
        let _ = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
        Ok(Self { _file: file })
    }
}
