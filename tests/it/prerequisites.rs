//! What a test needs from outside, and what happens where it is missing.

use std::io::Write as _;
use std::path::PathBuf;

/// The folder that `tests/run` fills: jars and Python clients.
pub fn cache() -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os("ZKTRAIL_TEST_CACHE") {
        return Some(PathBuf::from(folder));
    }
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))?;
    Some(base.join("zktrail-tests"))
}

/// Whether the long forms were asked for (`tests/run all`).
pub fn long() -> bool {
    std::env::var_os("ZKTRAIL_LONG").is_some_and(|value| value == "1")
}

/// The long or the short form's number.
pub fn sized(short: usize, long_form: usize) -> usize {
    if long() { long_form } else { short }
}

/// Says on the real standard error that a test is left out; under `CI=true` that is a failure.
pub fn skip(test: &str, because: &str) {
    // Not eprintln!: the test harness would swallow it.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {test} because {because}");
    let ci = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(!ci, "{test} must not be skipped where CI=true: {because}");
}

/// A folder for a history, gone after the test; with `ZKTRAIL_KEEP=1` it stays, and is named on standard error.
pub fn history_folder() -> std::io::Result<tempfile::TempDir> {
    let keep = std::env::var_os("ZKTRAIL_KEEP").is_some_and(|value| value == "1");
    let folder = tempfile::Builder::new().prefix("zktrail-history-").disable_cleanup(keep).tempdir()?;
    if keep {
        let _ = writeln!(std::io::stderr(), "kept: {}", folder.path().display());
    }
    Ok(folder)
}

/// The interpreter with the independent clients.
pub fn python() -> Option<PathBuf> {
    cache().map(|cache| cache.join("python/bin/python")).filter(|python| python.exists())
}

/// A script beside these tests.
pub fn script(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/py").join(name)
}

/// The library that shifts a process's clock.
pub fn faketime() -> Option<PathBuf> {
    std::fs::read_dir("/usr/lib")
        .ok()?
        .flatten()
        .map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"))
        .find(|library| library.exists())
}

/// Prometheus or its promtool: what is installed, else what `tests/run` has fetched.
pub fn prometheus(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::split_paths(&path).map(|folder| folder.join(program));
    let fetched = cache().map(|cache| cache.join("prometheus/usr/bin").join(program));
    installed.chain(fetched).find(|program| program.is_file())
}

/// The jars that a ZooKeeper server's AdminServer needs beside its own.
pub fn admin_jars() -> Option<PathBuf> {
    let folder = cache()?.join("zookeeper-admin");
    folder.join("stamp").is_file().then_some(folder)
}

/// The interpreter of a folder of the cache that `tests/run` makes whole, or not at all.
fn environment(name: &str) -> Option<PathBuf> {
    let folder = cache()?.join(name);
    folder.join("stamp").is_file().then(|| folder.join("bin/python"))
}

/// The interpreter that has Superset.
pub fn superset() -> Option<PathBuf> {
    environment("superset")
}

/// The interpreter that has Airflow.
pub fn airflow() -> Option<PathBuf> {
    environment("airflow")
}

/// A linter or validator of what people install.
pub fn packaging_tool(name: &str) -> Option<PathBuf> {
    environment("packaging").map(|python| python.with_file_name(name)).filter(|tool| tool.is_file())
}

/// The browser, and the folder of Node.js packages that drive it.
pub fn browser() -> Option<(PathBuf, PathBuf)> {
    let chromium = PathBuf::from("/usr/bin/chromium");
    let modules = cache()?.join("browser/node_modules");
    (chromium.is_file() && modules.join("playwright-core").is_dir()).then_some((chromium, modules))
}

/// A program of PostgreSQL: what is installed, else what `tests/run` has fetched.
pub fn postgresql(program: &str) -> Option<PathBuf> {
    let fetched = cache().map(|cache| cache.join("postgresql/usr/lib/postgresql"));
    // Debian keeps a folder a version.
    let versions = [Some(PathBuf::from("/usr/lib/postgresql")), fetched].into_iter().flatten();
    let versions = versions.filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten();
    versions.map(|version| version.path().join("bin").join(program)).find(|program| program.is_file())
}

/// The libraries of this program of PostgreSQL, where they are not the system's.
pub fn postgresql_libraries(program: &std::path::Path) -> Option<PathBuf> {
    // …/usr/lib/postgresql/15/bin/psql
    let folder = program.ancestors().nth(4)?;
    let folders = std::fs::read_dir(folder).ok()?.flatten().filter(|_| !folder.starts_with("/usr"));
    folders.map(|entry| entry.path()).find(|folder| folder.join("libpq.so.5").exists())
}
