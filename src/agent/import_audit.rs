//! Audit logs into a history: read line by line, compared with what is on record, added where they are new.
//!
//! Files are read one after the other, the one that begins earliest first, in chunks of bounded size. A chunk never ends
//! within a moment of the log, also where a rotation has: equal lines of one moment are counted, not joined.

use std::path::{Path, PathBuf};

use crate::history::{History, HistoryError};
use crate::source::audit::{AuditFile, LineError, Read};
use crate::zk::{AuditEntry, Micros};

pub use crate::source::audit::{LogZone, ZoneError, is_audit_log};

/// Lines of a chunk, and their bytes, about.
const CHUNK_LINES_MAX: usize = 100_000;
const CHUNK_BYTES_MAX: usize = 64 << 20;
/// What of a chunk waits for the rest of its moment is no more than this; a log has no such moment.
const MOMENT_LINES_MAX: usize = 100_000;
/// The progress is told this often.
const TELL_EVERY_LINES: u64 = 20_000;

/// What an import has done so far, or at its end.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AuditImported {
    pub files: usize,
    /// Lines read, of whatever kind.
    pub lines: u64,
    /// Lines of the audit log that were new.
    pub added: u64,
    /// Lines of the audit log that were on record.
    pub known: u64,
    /// Lines of other loggers.
    pub other: u64,
    /// Lines of the audit log that cannot be used, and the first of them.
    pub unusable: u64,
    pub first_unusable: Option<Unusable>,
    /// The first and the last moment of the lines, new or not.
    pub from: Option<Micros>,
    pub to: Option<Micros>,
}

/// A line that cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{}:{line}: {cause}", path.display())]
pub struct Unusable {
    pub path: PathBuf,
    pub line: u64,
    pub cause: LineError,
}

#[derive(Debug, thiserror::Error)]
pub enum AuditImportError {
    #[error("cannot read {}: {source}. What came before it is imported; the same import again goes on", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    History(#[from] HistoryError),
}

/// Adds the lines of these audit logs (plain or gzip) that are not on record yet. Blocks; `progress` hears how far it is.
///
/// `zone` is that in which the logs' times are written where they do not say it. Memory does not depend on the files.
///
/// # Errors
/// A file cannot be read, or the history not be written. The same import again goes on where it ended.
pub fn import_audit(
    history: &History,
    files: &[PathBuf],
    zone: LogZone,
    mut progress: impl FnMut(&AuditImported),
) -> Result<AuditImported, AuditImportError> {
    let mut import = Import { history, done: AuditImported::default(), chunk: Vec::new(), chunk_bytes: 0 };
    for path in in_order(files, zone)? {
        let failed = |source| AuditImportError::Read { path: path.clone(), source };
        let mut file = AuditFile::open(&path, zone).map_err(failed)?;
        loop {
            let read = match file.read() {
                Ok(Some(read)) => read,
                Ok(None) => break,
                Err(source) => {
                    // What was read of it is as good as any.
                    import.store_all()?;
                    return Err(failed(source));
                }
            };
            import.take(&path, read)?;
            if import.done.lines.is_multiple_of(TELL_EVERY_LINES) {
                progress(&import.done);
            }
        }
        import.done.files += 1;
    }
    import.store_all()?;
    progress(&import.done);
    Ok(import.done)
}

/// The files by the moment of their first line; those without one last. A file that is named twice is read once.
fn in_order(files: &[PathBuf], zone: LogZone) -> Result<Vec<PathBuf>, AuditImportError> {
    let mut dated = Vec::with_capacity(files.len());
    for path in files {
        let failed = |source| AuditImportError::Read { path: path.clone(), source };
        dated.push((first_moment(path, zone).map_err(failed)?.unwrap_or(Micros(i64::MAX)), path.clone()));
    }
    dated.sort();
    dated.dedup();
    Ok(dated.into_iter().map(|(_, path)| path).collect())
}

fn first_moment(path: &Path, zone: LogZone) -> std::io::Result<Option<Micros>> {
    let mut file = AuditFile::open(path, zone)?;
    loop {
        match file.read()? {
            Some(Read::Entry(entry)) => return Ok(Some(entry.time)),
            Some(_) => {}
            None => return Ok(None),
        }
    }
}

struct Import<'a> {
    history: &'a History,
    done: AuditImported,
    chunk: Vec<AuditEntry>,
    chunk_bytes: usize,
}

impl Import<'_> {
    fn take(&mut self, path: &Path, read: Read) -> Result<(), AuditImportError> {
        self.done.lines += 1;
        match read {
            Read::Other => self.done.other += 1,
            Read::Unusable { line, cause } => {
                self.done.unusable += 1;
                self.done.first_unusable.get_or_insert_with(|| Unusable { path: path.to_owned(), line, cause });
            }
            Read::Entry(entry) => {
                self.done.from = Some(self.done.from.map_or(entry.time, |from| from.min(entry.time)));
                self.done.to = Some(self.done.to.map_or(entry.time, |to| to.max(entry.time)));
                // The moment that has just begun is not in a chunk that ends before it.
                let full = self.chunk.len() >= CHUNK_LINES_MAX || self.chunk_bytes >= CHUNK_BYTES_MAX;
                if full && (self.begins_a_moment(&entry) || self.chunk.len() >= CHUNK_LINES_MAX + MOMENT_LINES_MAX) {
                    self.store_all()?;
                }
                self.chunk_bytes += bytes(&entry);
                self.chunk.push(entry);
            }
        }
        Ok(())
    }

    fn begins_a_moment(&self, entry: &AuditEntry) -> bool {
        self.chunk.last().is_none_or(|last| last.time != entry.time)
    }

    fn store_all(&mut self) -> Result<(), AuditImportError> {
        let stored = self.history.add_audit(&self.chunk)?;
        self.done.added += stored.added as u64;
        self.done.known += stored.known as u64;
        self.chunk.clear();
        self.chunk_bytes = 0;
        Ok(())
    }
}

/// What an entry costs in memory, about.
fn bytes(entry: &AuditEntry) -> usize {
    let texts = [&entry.user, &entry.address, &entry.node_type, &entry.acl];
    let texts: usize = texts.into_iter().flatten().map(String::len).sum();
    let path = entry.path.as_ref().map_or(0, |path| path.len());
    size_of::<AuditEntry>() + texts + path + entry.operation.len() + entry.result.len()
}

#[cfg(test)]
mod tests;
