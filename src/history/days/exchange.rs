use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::super::disk::Disk;
use super::super::error::HistoryError;
use super::super::layout::{Day, Layout, SeqRange, Table};
use super::super::part::Part;
use super::super::state::{ReplaceError, State};
use super::retired::Retired;

/// Builds a day anew and puts it in the place of the old one, in one step for every reader.
///
/// `expected` is what the day was built from: its parts in a View taken before. `build` writes the new parts into the
/// folder that it is given, each under its final name and fsynced, and gives their ranges; none at all removes the day.
///
/// When this returns, the new day is durable. It fails with [`ReplaceError::Changed`] where parts came or went meanwhile,
/// and with [`HistoryError::NoExchange`] where the file system cannot do it; then everything is as before. After any
/// other error the old or the new day stands whole, on disk and in the State.
/// The old files go when the last holder of their parts does: `retired`, or a reader, or the caller's own View.
pub fn exchange(
    disk: &Disk,
    layout: &Layout,
    state: &State,
    (table, day): (Table, Day),
    expected: &[Arc<Part>],
    retired: &mut Retired,
    build: impl FnOnce(&Path) -> Result<Vec<SeqRange>, HistoryError>,
) -> Result<(), ReplaceError> {
    let Some(cluster) = expected.first().map(|part| part.cluster.clone()) else {
        return Err(ReplaceError::Changed { table, day });
    };
    let parent = layout.cluster(table, &cluster);
    let folder = WorkFolder::create(disk, &layout.work(&cluster), table, day, "new")?;
    let ranges = build(&folder.path)?;
    if ranges.is_empty() {
        drop(folder);
        return drop_day(disk, layout, state, (table, day), expected, retired);
    }
    let in_place = layout.day(table, &cluster, day);
    let new = new_parts(disk, &folder.path, &in_place, (table, day), expected, &ranges)?;
    disk.sync_dir(&folder.path)?;

    let swap = || {
        check_only_ours(&in_place, table, expected)?;
        exchange_names(&folder.path, &in_place)?;
        Ok(Some(folder.path.clone()))
    };
    state.replace_day(table, day, expected, swap, new)?;
    folder.keep();
    settle(disk, [&parent, &layout.work(&cluster)], expected, retired)
}

/// Removes a whole day: renames its folder out of sight, and lets it go with its last reader.
/// Fails as [`exchange`] does.
pub fn drop_day(
    disk: &Disk,
    layout: &Layout,
    state: &State,
    (table, day): (Table, Day),
    expected: &[Arc<Part>],
    retired: &mut Retired,
) -> Result<(), ReplaceError> {
    let Some(cluster) = expected.first().map(|part| part.cluster.clone()) else {
        return Err(ReplaceError::Changed { table, day });
    };
    let parent = layout.cluster(table, &cluster);
    let in_place = layout.day(table, &cluster, day);
    // An empty folder may be renamed over: the old day takes its place under the dot-name.
    let folder = WorkFolder::create(disk, &layout.work(&cluster), table, day, "drop")?;
    let swap = || {
        check_only_ours(&in_place, table, expected)?;
        disk.rename(&in_place, &folder.path)?;
        Ok(Some(folder.path.clone()))
    };
    state.replace_day(table, day, expected, swap, Vec::new())?;
    folder.keep();
    settle(disk, [&parent, &layout.work(&cluster)], expected, retired)
}

/// Makes the step durable before the old files may go.
fn settle(disk: &Disk, parents: [&Path; 2], old: &[Arc<Part>], retired: &mut Retired) -> Result<(), ReplaceError> {
    if let Err(error) = parents.iter().try_for_each(|parent| disk.sync_dir(parent)) {
        // Whether the step would survive a power loss is not known, so the old day's files must: they are kept
        // until the next start finds out which of the two stands.
        std::mem::forget(old.to_vec());
        return Err(error.into());
    }
    retired.push(old);
    Ok(())
}

/// A folder beside all tables (see [`Layout::work`]). Removed when dropped, unless it is kept.
struct WorkFolder {
    path: PathBuf,
    disk: Disk,
    remove: bool,
}

impl WorkFolder {
    fn create(disk: &Disk, parent: &Path, table: Table, day: Day, purpose: &str) -> Result<Self, HistoryError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        loop {
            let n = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = parent.join(format!("{}.date={day}.{purpose}-{}-{n}", table.as_str(), std::process::id()));
            if !path.exists() {
                disk.create_dir(&path)?;
                return Ok(Self { path, disk: disk.clone(), remove: true });
            }
        }
    }

    fn keep(mut self) {
        self.remove = false;
    }
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        if self.remove
            && let Err(error) = self.disk.remove_dir_all(&self.path)
        {
            tracing::warn!(folder = %self.path.display(), %error, "an unfinished day's folder stays until the next start");
        }
    }
}

/// The new parts under the names that they will have, once it is sure that the folder holds exactly these.
///
/// A new file with the seqs of an old one gets another name: whoever opens a path twice must find one file under it, or none.
fn new_parts(
    disk: &Disk,
    folder: &Path,
    in_place: &Path,
    (table, day): (Table, Day),
    expected: &[Arc<Part>],
    ranges: &[SeqRange],
) -> Result<Vec<Arc<Part>>, HistoryError> {
    let found = names(folder)?;
    let mut found_ranges: Vec<_> = found.iter().map(|name| SeqRange::parse(table, name)).collect();
    let mut wanted: Vec<_> = ranges.iter().copied().map(Some).collect();
    found_ranges.sort_unstable();
    wanted.sort_unstable();
    if found_ranges != wanted {
        let folder = folder.display();
        return Err(HistoryError::Unknown(format!("{folder} was to hold {ranges:?} and holds {found:?}")));
    }
    let mut parts = Vec::with_capacity(found.len());
    for mut name in found {
        let Some(range) = SeqRange::parse(table, &name) else { continue };
        let mut path = folder.join(&name);
        let size =
            |path: &Path| std::fs::metadata(path).map_err(|source| HistoryError::io("read the size of", path, source));
        let new = size(&path)?;
        let old = expected.iter().find(|part| part.range == range).map(|part| part.path());
        if let Some(old) = old
            && size(&old)?.ino() != new.ino()
        {
            let old = old.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            name = range.file_name_of(table, SeqRange::generation(&old) + 1);
            let renamed = folder.join(&name);
            disk.rename(&path, &renamed)?;
            path = renamed;
        }
        let Some(cluster) = expected.first().map(|part| part.cluster.clone()) else { continue };
        parts.push(Arc::new(Part::new(table, cluster, day, range, in_place.join(&name), size(&path)?.len())));
    }
    Ok(parts)
}

/// Refuses a day that holds anything but the parts that are known: it would be removed with the old day.
fn check_only_ours(folder: &Path, table: Table, parts: &[Arc<Part>]) -> Result<(), HistoryError> {
    for name in names(folder)? {
        let ours = SeqRange::parse(table, &name).is_some_and(|range| parts.iter().any(|part| part.range == range));
        if !ours {
            return Err(HistoryError::Unknown(format!(
                "{} is no part that this history knows, so its day cannot be rewritten: move the file away",
                folder.join(name).display()
            )));
        }
    }
    Ok(())
}

fn exchange_names(new: &Path, in_place: &Path) -> Result<(), HistoryError> {
    use rustix::io::Errno;
    renameat_with(CWD, new, CWD, in_place, RenameFlags::EXCHANGE).map_err(|errno| match errno {
        Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP => {
            HistoryError::NoExchange { path: in_place.to_owned(), source: errno.into() }
        }
        _ => HistoryError::io("exchange the folder", in_place, errno.into()),
    })
}

/// All entries of a folder, with those that start with a dot; none where the folder does not exist.
pub(crate) fn names(dir: &Path) -> Result<Vec<String>, HistoryError> {
    let error = |source| HistoryError::io("list the folder", dir, source);
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(error(source)),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry.map_err(error)?.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    Ok(names)
}
