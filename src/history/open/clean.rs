//! Leftovers of a writer that ended in the middle of something: days under work, and every name with a leading dot
//! in the cluster's folders.

use std::io;
use std::path::Path;

use crate::history::disk::Disk;
use crate::history::error::HistoryError;
use crate::history::layout::{Layout, Table};

/// Removes every leftover of the cluster: unfinished parts, segments and days, and days that were exchanged.
pub fn remove_leftovers(disk: &Disk, layout: &Layout, cluster: &str) -> Result<(), HistoryError> {
    let work = layout.work(cluster);
    if work.exists() {
        disk.remove_dir_all(&work)?;
    }
    remove_dotted(disk, &layout.wal(cluster))?;
    for table in Table::ALL {
        let folder = layout.cluster(table, cluster);
        remove_dotted(disk, &folder)?;
        for day in layout.days(table, cluster).map_err(|source| HistoryError::io("list", &folder, source))? {
            remove_dotted(disk, &layout.day(table, cluster, day))?;
        }
    }
    Ok(())
}

fn remove_dotted(disk: &Disk, folder: &Path) -> Result<(), HistoryError> {
    let list_error = |source| HistoryError::io("list", folder, source);
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(list_error)?,
    };
    for entry in entries {
        let entry = entry.map_err(list_error)?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if entry.file_type().map_err(list_error)?.is_dir() {
            disk.remove_dir_all(&entry.path())?;
        } else {
            disk.remove_file(&entry.path())?;
        }
    }
    Ok(())
}
