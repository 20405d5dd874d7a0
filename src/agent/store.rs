//! What the history's folder can bear, tried before anything depends on it.

use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// What a folder was seen to do.
#[derive(Debug)]
pub struct Tried {
    pub free_bytes: u64,
    pub total_bytes: u64,
    /// Whether two folders can be exchanged in one step, or why not.
    pub exchange: Result<(), String>,
}

/// Makes the folder if needed, writes into it, and removes what it wrote.
pub fn try_folder(dir: &Path) -> Result<Tried, String> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(dir).map_err(|error| format!("cannot be made: {error}"))?;
    let trial = dir.join(format!(".check-{}", std::process::id()));
    let tried = try_in(dir, &trial);
    let removed = std::fs::remove_dir_all(&trial);
    let tried = tried?;
    removed.map_err(|error| format!("cannot remove {}: {error}", trial.display()))?;
    Ok(tried)
}

fn try_in(dir: &Path, trial: &Path) -> Result<Tried, String> {
    let (a, b) = (trial.join("a"), trial.join("b"));
    for folder in [&a, &b] {
        std::fs::create_dir_all(folder).map_err(|error| format!("cannot be written: {error}"))?;
    }
    let write = || {
        let mut file = std::fs::File::create(a.join("file"))?;
        file.write_all(b"zktrail")?;
        file.sync_all()
    };
    write().map_err(|error: std::io::Error| format!("cannot be written: {error}"))?;
    let exchange =
        rustix::fs::renameat_with(rustix::fs::CWD, &a, rustix::fs::CWD, &b, rustix::fs::RenameFlags::EXCHANGE).map_err(
            |error| {
                format!(
                    "folders cannot be exchanged in one step ({error}): put the history on ext4, xfs, btrfs or tmpfs"
                )
            },
        );
    let space = rustix::fs::statvfs(dir).map_err(|error| format!("free space is unknown: {error}"))?;
    let free_bytes = space.f_bavail.saturating_mul(space.f_frsize);
    let total_bytes = space.f_blocks.saturating_mul(space.f_frsize);
    Ok(Tried { free_bytes, total_bytes, exchange })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_nothing_behind() {
        let dir = tempfile::tempdir().expect("a folder");
        let tried = try_folder(dir.path()).expect("a writable folder");
        assert!(tried.total_bytes >= tried.free_bytes);
        assert_eq!(std::fs::read_dir(dir.path()).expect("readable").count(), 0);
    }
}
