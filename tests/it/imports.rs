//! The modules are the stages of the data, and imports run one way. Read from the source, so that an arrow that runs
//! back fails here and not in a review.

use std::path::{Path, PathBuf};

/// Which modules a module may import with `use crate::` (or name by path). Tests of a module may do as they please.
const ALLOWED: &[(&str, &[&str])] = &[
    ("zk", &[]),
    ("source", &["zk"]),
    ("tree", &["zk"]),
    ("lens", &["zk"]),
    ("history", &["zk"]),
    ("metrics", &["zk"]),
    ("query", &["zk", "history", "lens"]),
    ("serve", &["zk", "history", "query", "config"]),
    ("config", &["zk", "lens"]),
    ("agent", &["zk", "source", "tree", "lens", "history", "metrics", "query", "serve", "config"]),
    ("demo", &["zk", "source", "tree", "lens", "history", "metrics", "query", "serve", "config", "agent"]),
    ("cli", &["zk", "source", "lens", "history", "query", "serve", "config", "agent", "demo"]),
];

/// Words that must not appear in a module's code.
const FORBIDDEN: &[(&str, &[&str])] = &[
    ("zk", &["datafusion", "arrow::", "tokio", ".await", "async fn"]),
    ("tree", &["datafusion", "arrow::", "tokio", ".await", "async fn", "std::fs", "Micros::now", "Instant::now"]),
    ("lens", &["datafusion", "arrow::", "tokio", ".await", "async fn", "std::fs"]),
    ("source", &["datafusion", "arrow::", "parquet::"]),
    ("source/jute", &["tokio", ".await", "crate::zk"]),
    // The embedded ensemble's state machine: told the time, no sockets.
    ("demo/ensemble/machine", &["tokio", ".await", "Instant::now", "Micros::now"]),
    ("demo/ensemble/tree", &["tokio", ".await", "Instant::now", "Micros::now"]),
    ("demo/ensemble/change", &["tokio", ".await", "Instant::now", "Micros::now"]),
    ("demo/ensemble/read", &["tokio", ".await", "Instant::now", "Micros::now"]),
    ("demo/ensemble/sessions", &["tokio", ".await", "Instant::now", "Micros::now"]),
    ("demo/ensemble/watches", &["tokio", ".await", "Instant::now", "Micros::now"]),
    ("history", &["datafusion"]),
    ("metrics", &["datafusion", "arrow::"]),
    ("config", &["datafusion", "arrow::"]),
    ("agent", &["datafusion"]),
];

#[test]
fn imports_run_one_way() {
    let mut wrong = Vec::new();
    let modules: Vec<&str> = ALLOWED.iter().map(|(module, _)| *module).collect();
    for (module, allowed) in ALLOWED {
        for file in files(module) {
            for (number, line) in code(&file) {
                for other in modules.iter().filter(|other| *other != module && !allowed.contains(other)) {
                    if line.contains(&format!("crate::{other}::")) || line.contains(&format!("crate::{other};")) {
                        wrong.push(format!("{}:{number}: {module} must not import {other}", file.display()));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that run back:\n{}", wrong.join("\n"));
}

#[test]
fn stages_keep_to_their_means() {
    let mut wrong = Vec::new();
    for (module, words) in FORBIDDEN {
        for file in files(module) {
            for (number, line) in code(&file) {
                for word in words.iter().filter(|word| line.contains(**word)) {
                    wrong.push(format!("{}:{number}: {module} has no business with {word:?}", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_module_has_its_rule() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs");
    let text = std::fs::read_to_string(root).expect("src/lib.rs");
    for module in text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')) {
        assert!(ALLOWED.iter().any(|(known, _)| *known == module), "say what `{module}` may import");
        assert!(!files(module).is_empty(), "{module} has files");
    }
}

/// The module's own file and everything below its folder, without its tests.
fn files(module: &str) -> Vec<PathBuf> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = vec![src.join(format!("{module}.rs"))];
    let mut folders = vec![src.join(module)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for path in entries.map(|entry| entry.expect("an entry").path()) {
            let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            let of_tests = matches!(stem, "tests" | "model" | "testing" | "faults");
            match (path.is_dir(), of_tests) {
                (_, true) => {}
                (true, false) => folders.push(path),
                (false, false) => found.push(path),
            }
        }
    }
    found.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    found
}

/// Numbered lines of code: no comments, nothing after `#[cfg(test)]` on a `mod tests {`.
fn code(file: &Path) -> Vec<(usize, String)> {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut lines = Vec::new();
    for (at, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("mod tests {") {
            break;
        }
        if !line.trim_start().starts_with("//") {
            lines.push((at + 1, line.to_owned()));
        }
    }
    lines
}
