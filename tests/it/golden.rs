//! Histories as older versions wrote them must stay readable, and newer ones are refused by name.
//!
//! `tests/golden/v1/` is of the first days; `tests/golden/0.1.0/` was frozen by `tests/golden/freeze.py`, as every release
//! is: parts of every table, a compacted day, an import, and the write-ahead log of an agent that was killed. Beside it
//! is what the release itself answered.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use zktrail::history::layout::Table;
use zktrail::history::replay::{At, PathFilter, ReplayOptions, replay};
use zktrail::history::{History, Layout, Settings, View, open_read_only, schema, verify};

use crate::agent;

const CLUSTER: &str = "prod";

#[test]
fn format_1_is_readable() -> Result<()> {
    let folder = crate::prerequisites::history_folder()?;
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1"), folder.path())?;
    let layout = Layout::new(folder.path());

    let view = open_read_only(&layout, CLUSTER)?;
    assert!(!view.changes.head.is_empty(), "rows of the write-ahead log");
    assert_eq!(seqs(&view)?, [1, 2, 3, 4, 5, 6]);
    assert_eq!(paths(&view)?, ["/", "/acl", "/acl/x", "/acl/y", "/zookeeper", "/zookeeper/config", "/zookeeper/quota"]);
    let report = verify::verify(&view, |_| ())?;
    assert!(report.is_clean(), "{:?}", report.holes);

    // A writer takes it over and loses nothing.
    let history = History::open(&layout, CLUSTER, Settings::default())?;
    let view = history.state().view();
    assert_eq!(seqs(&view)?, [1, 2, 3, 4, 5, 6]);
    assert_eq!(history.recorded().next_seq, 7);
    Ok(())
}

/// Every release whose folder is kept.
const RELEASES: [&str; 1] = ["0.1.0"];

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

#[tokio::test]
async fn what_a_release_recorded_is_answered_as_it_answered() -> Result<()> {
    for release in RELEASES {
        let folder = crate::prerequisites::history_folder()?;
        copy(&golden(release), folder.path())?;
        let answers: Vec<Value> = serde_json::from_slice(&std::fs::read(golden(&format!("{release}.json")))?)?;
        ensure!(answers.len() > 5, "{release}");
        agree(&answers, folder.path()).await.with_context(|| format!("{release}, beside no writer"))?;
        agent::verify(folder.path()).await?;

        // A writer takes it over: its log goes into parts. What it does to days comes later and changes no answer.
        let layout = Layout::new(folder.path());
        ensure!(
            !open_read_only(&layout, CLUSTER)?.changes.head.is_empty(),
            "{release} has rows in its write-ahead log"
        );
        drop(History::open(&layout, CLUSTER, Settings::default())?);
        ensure!(open_read_only(&layout, CLUSTER)?.changes.head.is_empty(), "they are in parts now");
        agree(&answers, folder.path()).await.with_context(|| format!("{release}, taken over"))?;
        agent::verify(folder.path()).await?;
    }
    Ok(())
}

async fn agree(answers: &[Value], folder: &Path) -> Result<()> {
    for answer in answers {
        let question = answer["question"].as_str().context("a question")?;
        let output = agent::zktrail("sql", &["--format", "json", question], folder).await?;
        ensure!(output.status.success(), "{question}: {}", String::from_utf8_lossy(&output.stderr));
        let rows: Value = serde_json::from_slice(&output.stdout)?;
        let (rows, expected) = (rows.as_array().context("rows")?, answer["rows"].as_array().context("rows")?);
        for (row, expected) in rows.iter().zip(expected) {
            ensure!(row == expected, "{question}:\n{row}\ninstead of\n{expected}");
        }
        ensure!(rows.len() == expected.len(), "{question}: {} rows, {} then", rows.len(), expected.len());
    }
    Ok(())
}

/// Raises the format that this file says it has by one.
fn raise_format(file: &Path) -> Result<()> {
    let mut bytes = std::fs::read(file)?;
    if file.extension().is_some_and(|extension| extension == "wal") {
        let version = bytes.get_mut(8).context("a segment's header")?;
        *version += 1;
    } else {
        // In the footer, the key and then its value: a field of one byte.
        let key = schema::FORMAT_VERSION_KEY.as_bytes();
        let at = bytes.windows(key.len()).rposition(|window| window == key).context("the format in the footer")?;
        let value = bytes.get_mut(at + key.len() + 2).context("its value")?;
        ensure!(*value == b'0' + schema::FORMAT_VERSION as u8, "the format in the footer of {}", file.display());
        *value += 1;
    }
    Ok(std::fs::write(file, bytes)?)
}

fn files(folder: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files(&path, found)?;
        } else {
            found.insert(path.clone(), std::fs::read(&path)?);
        }
    }
    Ok(())
}

/// As after a downgrade: any file of a newer format ends a start, a question and a proof, by name, and nothing is touched.
#[tokio::test]
async fn what_a_newer_version_wrote_is_refused_by_name() -> Result<()> {
    let mut kinds = BTreeMap::new();
    files(&golden(RELEASES[0]), &mut kinds)?;
    for (file, _) in kinds {
        let inside = file.strip_prefix(golden(RELEASES[0]))?;
        let (table, name) = (inside.iter().next().context("a table")?, inside.display().to_string());
        // Read when they are asked for, and not before: old coverage, sessions, snapshots and audit.
        let changes_or_log = table == "changes" || table == "wal";
        let folder = crate::prerequisites::history_folder()?;
        copy(&golden(RELEASES[0]), folder.path())?;
        raise_format(&folder.path().join(inside)).with_context(|| name.clone())?;
        let leftover = folder.path().join("wal/cluster=prod/.99.wal.new");
        std::fs::write(&leftover, "of the newer one")?;
        let mut before = BTreeMap::new();
        files(folder.path(), &mut before)?;

        let verified = agent::zktrail("verify", &[], folder.path()).await?;
        is_refused(&verified, &name)?;
        let layout = Layout::new(folder.path());
        match History::open(&layout, CLUSTER, Settings::default()) {
            Err(error) => {
                ensure!(error.to_string().contains(&name), "{name}: {error}");
                let mut after = BTreeMap::new();
                files(folder.path(), &mut after)?;
                after.remove(&layout.lock(CLUSTER));
                before.remove(&layout.lock(CLUSTER));
                ensure!(before == after, "{name}: the folder was touched");
            }
            Ok(_) => ensure!(!changes_or_log, "{name} was opened for writing"),
        }
        if changes_or_log {
            let asked = agent::zktrail("sql", &["SELECT * FROM changes"], folder.path()).await?;
            is_refused(&asked, &name)?;
            ensure!(asked.status.code() == Some(1), "{asked:?}");
        }
    }
    Ok(())
}

fn is_refused(output: &std::process::Output, name: &str) -> Result<()> {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    for words in [name, "was written by a newer zktrail (format 2, this one reads up to 1)"] {
        ensure!(text.contains(words), "{name}: {text}");
    }
    ensure!(output.status.code() == Some(1), "{name}: {output:?}");
    Ok(())
}

fn seqs(view: &View) -> Result<Vec<i64>> {
    use arrow::array::AsArray;
    let mut seqs = Vec::new();
    for part in view.parts(Table::Changes) {
        let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(part.open()?)?.build()?;
        for batch in reader {
            let batch = batch?;
            let column = batch.column_by_name("seq").expect("a part has seqs");
            seqs.extend(column.as_primitive::<arrow::datatypes::Int64Type>().values());
        }
    }
    for head in view.head(Table::Changes) {
        let column = head.batch.column_by_name("seq").expect("the head has seqs");
        seqs.extend(column.as_primitive::<arrow::datatypes::Int64Type>().values());
    }
    seqs.sort_unstable();
    Ok(seqs)
}

fn paths(view: &View) -> Result<Vec<String>> {
    use arrow::array::AsArray;
    let columns = vec![schema::ZNODES.index_of("path")?];
    let mut paths = Vec::new();
    for batch in replay(view, At::Now, ReplayOptions { columns, filter: PathFilter::All, batch_rows: 64 })? {
        let batch = batch?;
        paths.extend(batch.column(0).as_string::<i32>().iter().flatten().map(str::to_owned));
    }
    Ok(paths)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}
