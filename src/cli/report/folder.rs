use std::borrow::Cow;
use std::path::Path;

use anyhow::{Context, bail};

use crate::query::library::Recipe;

/// A folder has so many reports at most, and a file so many bytes: more is no folder of queries.
const FILES_MAX: usize = 1_000;
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Adds the `*.sql` files of an operator's folder. One with a shipped report's name takes its place.
pub(super) fn add(dir: &Path, recipes: &mut Vec<Recipe>) -> anyhow::Result<()> {
    let entries = std::fs::read_dir(dir).with_context(|| format!("cannot read the folder {}", dir.display()))?;
    let mut added = 0;
    for entry in entries {
        let path = entry.with_context(|| format!("cannot read the folder {}", dir.display()))?.path();
        if path.extension().is_none_or(|extension| extension != "sql") {
            continue;
        }
        let Some(name) = path.file_stem().and_then(|name| name.to_str()) else { continue };
        let bytes = std::fs::metadata(&path).with_context(|| format!("cannot read {}", path.display()))?.len();
        added += 1;
        if bytes > FILE_BYTES_MAX || added > FILES_MAX {
            bail!("{}: a report has {FILE_BYTES_MAX} bytes, and a folder {FILES_MAX} of them, at most", path.display());
        }
        let sql = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        recipes.retain(|recipe| recipe.name != name);
        recipes.push(Recipe { name: Cow::Owned(name.to_owned()), sql: Cow::Owned(sql) });
    }
    if added == 0 {
        bail!("{} holds no *.sql file", dir.display());
    }
    recipes.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_files_are_added_and_take_precedence() {
        let dir = tempfile::tempdir().unwrap();
        assert!(add(dir.path(), &mut Vec::new()).unwrap_err().to_string().contains("no *.sql file"));
        std::fs::write(dir.path().join("gaps.sql"), "-- Mine?\nSELECT 1").unwrap();
        std::fs::write(dir.path().join("own.sql"), "SELECT 2").unwrap();
        std::fs::write(dir.path().join("notes.txt"), "no report").unwrap();
        let mut recipes: Vec<Recipe> = crate::query::library::shipped().collect();
        let shipped = recipes.len();
        add(dir.path(), &mut recipes).unwrap();
        assert_eq!(recipes.len(), shipped + 1);
        let question = |name: &str| recipes.iter().find(|recipe| recipe.name == name).unwrap().question().to_owned();
        assert_eq!((question("gaps").as_str(), question("own").as_str()), ("Mine?", "own"));
        assert!(add(&dir.path().join("nowhere"), &mut recipes).is_err());
    }
}
