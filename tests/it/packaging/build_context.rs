//! What `.dockerignore` lets into the build is what the build needs.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::{read, root, run};

/// The paths that are let in: the file excludes everything, then names them.
fn let_in() -> Result<Vec<PathBuf>> {
    let text = read(".dockerignore")?;
    let mut patterns = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    ensure!(patterns.next() == Some("*"), "everything is excluded first");
    let paths = patterns.map(|line| Ok(PathBuf::from(line.strip_prefix('!').with_context(|| line.to_owned())?)));
    paths.collect()
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    if from.is_dir() {
        for entry in fs::read_dir(from)?.flatten() {
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
    } else {
        fs::create_dir_all(to.parent().context("a parent")?)?;
        fs::copy(from, to).with_context(|| from.display().to_string())?;
    }
    Ok(())
}

/// Every file that is compiled into the program (`include_str!` and the like), tests left out; a folder, where a macro
/// puts the rest of the name together.
fn included(folder: &Path, found: &mut BTreeSet<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)?.flatten() {
        let path = entry.path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "tests") {
            included(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path)?;
            for (at, _) in text.match_indices("include_str!(").chain(text.match_indices("include_bytes!(")) {
                let mut quoted = text[at..].split('"');
                let (before, literal) = (quoted.next(), quoted.next().context("an included file's name")?);
                let is_whole = before.is_some_and(|before| !before.contains("concat!"));
                let literal = if is_whole { Path::new(literal) } else { Path::new(literal.trim_end_matches('/')) };
                found.insert(plain(&path.parent().context("a folder")?.join(literal)));
            }
        }
    }
    Ok(())
}

/// The path without `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(plain.pop()),
            component => plain.push(component),
        }
    }
    plain
}

#[test]
fn the_build_gets_what_it_needs() -> Result<()> {
    let paths = let_in()?;
    let folder = tempfile::tempdir()?;
    for path in &paths {
        copy(&root().join(path), &folder.path().join(path))?;
    }
    let mut metadata = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    metadata.args(["metadata", "--offline", "--locked", "--no-deps", "--format-version", "1"]);
    // Cargo reads the manifest and looks for every target's file.
    run(metadata.current_dir(folder.path()))?;

    let mut files = BTreeSet::new();
    included(&root().join("src"), &mut files)?;
    ensure!(files.len() > 3, "{files:?}");
    for file in files {
        let inside = file.strip_prefix(root()).with_context(|| format!("{} is outside", file.display()))?;
        ensure!(folder.path().join(inside).exists(), "{} is not let into the build", inside.display());
    }
    ensure!(!folder.path().join("tests/golden").exists() && !folder.path().join(".git").exists());
    Ok(())
}
