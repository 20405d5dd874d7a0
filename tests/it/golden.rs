//! Histories as older versions wrote them must stay readable: `tests/golden/v<format>/`, taken from a killed agent, so
//! that parts of every table and a write-ahead log are among them.

use std::path::Path;

use anyhow::Result;
use zktrail::history::layout::Table;
use zktrail::history::replay::{At, PathFilter, ReplayOptions, replay};
use zktrail::history::{History, Layout, Settings, View, open_read_only, schema, verify};

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
