use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use crate::query::feed::Cursor;

/// Reads a cursor's file; `None` where there is none yet.
pub fn load(path: &Path) -> anyhow::Result<Option<Cursor>> {
    match std::fs::read_to_string(path) {
        Ok(text) => match text.parse() {
            Ok(cursor) => Ok(Some(cursor)),
            Err(error) => anyhow::bail!("{} {error}. To begin anew, remove it", path.display()),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(anyhow::Error::new(error).context(format!("cannot read the cursor {}", path.display()))),
    }
}

/// Writes a cursor's file so that whoever reads it, also after a crash, finds the one before or this one, whole.
pub fn store(path: &Path, cursor: &Cursor) -> std::io::Result<()> {
    let name = path.file_name().ok_or_else(|| std::io::Error::other("it names no file"))?;
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(temporary);
    let written = (|| {
        let mut file = File::create(&temporary)?;
        writeln!(file, "{cursor}")?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    })();
    if written.is_err() {
        // The error that brought us here is the one to tell.
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::feed::Place;

    fn cursor() -> Cursor {
        let place = Place { seq: 4_711, observed_at: 1_795_179_827_000_123, gaps_to: -5 };
        Cursor { since: 1_795_179_827_000_000, places: [("prod".to_owned(), place)].into() }
    }

    #[test]
    fn a_file_holds_the_last_one_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("cursor");
        assert_eq!(load(&path).expect("none"), None);
        for cursor in [Cursor::default(), cursor()] {
            store(&path, &cursor).expect("written");
            assert_eq!(load(&path).expect("read"), Some(cursor));
        }
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1);
        std::fs::write(&path, "nonsense").expect("written");
        assert!(load(&path).expect_err("damaged").to_string().contains("remove it"));
        assert!(store(&folder.path().join("nowhere/cursor"), &cursor()).is_err());
    }
}
