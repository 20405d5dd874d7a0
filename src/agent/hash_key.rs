//! The folder's key for the hashes of masked and withheld values.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};

use crate::history::{HistoryError, Layout};
use crate::lens::HashKey;

/// Reads the folder's key; makes folder and key at the first start.
///
/// The key never leaves the folder: two folders hash the same secret differently.
pub fn load_or_create(layout: &Layout) -> Result<HashKey, HistoryError> {
    let path = layout.hash_key();
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(layout.dir()).map_err(|source| HistoryError::io("create", layout.dir(), source))?;
    if let Some(key) = read(&path).map_err(|source| HistoryError::io("read", &path, source))? {
        return Ok(key);
    }
    let mut bytes = [0u8; HashKey::LEN];
    getrandom::fill(&mut bytes).map_err(|error| HistoryError::io("make a key for", &path, error.into()))?;
    // Written whole under another name first: a torn key would change every hash.
    let temporary = path.with_extension("new");
    let write = || {
        let mut file =
            std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        match std::fs::hard_link(&temporary, &path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        std::fs::remove_file(&temporary)?;
        std::fs::File::open(layout.dir())?.sync_all()
    };
    write().map_err(|source| HistoryError::io("write", &path, source))?;
    let key = read(&path).map_err(|source| HistoryError::io("read", &path, source))?;
    key.ok_or_else(|| HistoryError::Unknown(format!("{} vanished while it was made", path.display())))
}

fn read(path: &std::path::Path) -> std::io::Result<Option<HashKey>> {
    let mut bytes = [0u8; HashKey::LEN];
    match std::fs::File::open(path) {
        Ok(mut file) => {
            file.read_exact(&mut bytes)?;
            Ok(Some(HashKey::new(bytes)))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
