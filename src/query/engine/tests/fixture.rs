//! Histories made for a test: rows in parts, in the head, or in both.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use crate::history::layout::{Day, Layout, SeqRange, Table};
use crate::history::part::Part;
use crate::history::schema;
use crate::history::view::{HeadBatch, TableView, View};

/// 2026-11-20, in days and in microseconds.
pub(crate) const DAY: i32 = 20_777;
pub(crate) const MIDNIGHT: i64 = DAY as i64 * 86_400_000_000;

/// A change of `/app/<seq mod paths>`, `seq` seconds after midnight.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub seq: i64,
    pub path: i64,
}

impl Row {
    fn path(self) -> String {
        format!("/app/{:04}", self.path)
    }
}

/// Rows `from..to` over as many paths, in the order of recording.
pub(crate) fn rows(from: i64, to: i64, paths: i64) -> Vec<Row> {
    (from..to).map(|seq| Row { seq, path: seq % paths }).collect()
}

pub(crate) fn changes(rows: &[Row]) -> RecordBatch {
    let numbers = |of: &dyn Fn(&Row) -> i64| -> ArrayRef { Arc::new(rows.iter().map(of).collect::<Int64Array>()) };
    let small = |of: &dyn Fn(&Row) -> i32| -> ArrayRef { Arc::new(rows.iter().map(of).collect::<Int32Array>()) };
    let texts =
        |of: &dyn Fn(&Row) -> String| -> ArrayRef { Arc::new(StringArray::from_iter_values(rows.iter().map(of))) };
    let no_text = || -> ArrayRef { Arc::new(StringArray::new_null(rows.len())) };
    let time: ArrayRef = Arc::new(
        TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| MIDNIGHT + row.seq * 1_000_000))
            .with_timezone("UTC"),
    );
    let data = rows.iter().map(|row| format!("{{\"value\":{}}}", row.seq)).collect::<Vec<_>>();
    let data: ArrayRef = Arc::new(BinaryArray::from_iter_values(data.iter().map(|text| text.as_bytes())));
    RecordBatch::try_new(
        schema::CHANGES.clone(),
        vec![
            small(&|_| 1),
            numbers(&|row| row.seq),
            time.clone(),
            texts(&|_| "server".to_owned()),
            time,
            numbers(&|row| row.seq),
            numbers(&|row| row.seq),
            small(&|_| 0),
            texts(&|_| "data_changed".to_owned()),
            texts(&|row| row.path()),
            numbers(&|_| 1),
            small(&|row| i32::try_from(row.seq).unwrap()),
            small(&|_| 0),
            no_text(),
            numbers(&|_| 0x1_0000_0000_0001),
            data,
            small(&|_| 10),
            numbers(&|row| i64::MAX - row.seq),
            no_text(),
            texts(&|_| "exact".to_owned()),
            numbers(&|_| 0),
            texts(&|_| "watch".to_owned()),
            no_text(),
            numbers(&|_| 1 << 60),
            small(&|_| 0),
        ],
    )
    .unwrap()
}

pub(crate) fn sorted(rows: &[Row]) -> Vec<Row> {
    let mut rows = rows.to_vec();
    rows.sort_by_key(|row| (row.path(), row.seq));
    rows
}

/// Writes rows as a part: row groups of 1,000 rows, pages of 100.
pub(crate) fn part(dir: &Path, cluster: &str, day: i32, rows: &[Row]) -> Arc<Part> {
    write(
        dir,
        cluster,
        day,
        SeqRange { first: rows[0].seq, last: rows[rows.len() - 1].seq },
        &changes(&sorted(rows)),
        1_000,
        100,
    )
}

pub(crate) fn write(
    dir: &Path,
    cluster: &str,
    day: i32,
    range: SeqRange,
    batch: &RecordBatch,
    group_rows: usize,
    page_rows: usize,
) -> Arc<Part> {
    write_table(Table::Changes, dir, cluster, day, range, batch, group_rows, page_rows)
}

#[allow(clippy::too_many_arguments)]
fn write_table(
    table: Table,
    dir: &Path,
    cluster: &str,
    day: i32,
    range: SeqRange,
    batch: &RecordBatch,
    group_rows: usize,
    page_rows: usize,
) -> Arc<Part> {
    let folder = Layout::new(dir).day(table, cluster, Day(day));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join(range.file_name(table));
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(group_rows))
        .set_data_page_row_count_limit(page_rows)
        .set_write_batch_size(page_rows)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_compression(parquet::basic::Compression::ZSTD(parquet::basic::ZstdLevel::try_new(3).unwrap()))
        .set_column_bloom_filter_enabled(ColumnPath::from("path"), true)
        .build();
    let file = std::fs::File::create(&path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    let bytes = std::fs::metadata(&path).unwrap().len();
    Arc::new(Part::new(table, cluster.into(), Day(day), range, path, bytes))
}

/// A View of one cluster with these parts, and these rows in the head in batches of 300.
pub(crate) fn view(cluster: &str, parts: Vec<Arc<Part>>, head: &[Row]) -> View {
    let head: Vec<HeadBatch> = head.chunks(300).map(|rows| HeadBatch { day: Day(DAY), batch: changes(rows) }).collect();
    View {
        cluster: cluster.into(),
        changes: TableView { parts: parts.into(), head: head.into() },
        coverage: TableView::default(),
        sessions: TableView::default(),
        audit: Arc::from(Vec::new()),
        snapshots: Arc::from(Vec::new()),
        open_coverage: RecordBatch::new_empty(schema::COVERAGE.clone()),
    }
}

/// A snapshot of `/app/0000..paths`, taken before seq 0.
pub(crate) fn snapshot(dir: &Path, cluster: &str, paths: i64) -> Arc<Part> {
    let rows = usize::try_from(paths).unwrap();
    let all = 0..paths;
    let number = |value: i64| -> ArrayRef { Arc::new(Int64Array::from_value(value, rows)) };
    let small = |value: i32| -> ArrayRef { Arc::new(Int32Array::from_value(value, rows)) };
    let time =
        || -> ArrayRef { Arc::new(TimestampMicrosecondArray::from_value(MIDNIGHT - 1, rows).with_timezone("UTC")) };
    let batch = RecordBatch::try_new(
        schema::SNAPSHOTS.clone(),
        vec![
            small(1),
            number(-1),
            number(0),
            time(),
            Arc::new(StringArray::from_iter_values(all.map(|path| Row { seq: 0, path }.path()))),
            number(1),
            number(1),
            number(1),
            time(),
            time(),
            small(0),
            small(0),
            small(0),
            number(0x1_0000_0000_0001),
            Arc::new(StringArray::from_iter_values(std::iter::repeat_n("ephemeral", rows))),
            small(0),
            Arc::new(StringArray::new_null(rows)),
            Arc::new(BinaryArray::from_iter_values(std::iter::repeat_n("first", rows))),
            small(5),
            number(7),
        ],
    )
    .unwrap();
    write_table(Table::Snapshots, dir, cluster, DAY, SeqRange { first: 0, last: 0 }, &batch, 1_000, 100)
}

/// An interval of coverage: from and to, in seconds after midnight, and how it ended.
pub(crate) type Interval = (i64, i64, Option<&'static str>);

pub(crate) fn intervals(intervals: &[Interval]) -> RecordBatch {
    let count = intervals.len();
    let constant = |text: &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(vec![text; count])) };
    let number =
        |of: &dyn Fn(&Interval) -> i64| -> ArrayRef { Arc::new(intervals.iter().map(of).collect::<Int64Array>()) };
    let time = |of: &dyn Fn(&Interval) -> i64| -> ArrayRef {
        let times = intervals.iter().map(|interval| MIDNIGHT + of(interval) * 1_000_000);
        Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"))
    };
    RecordBatch::try_new(
        schema::COVERAGE.clone(),
        vec![
            number(&|interval| interval.0),
            Arc::new(Int32Array::from_value(1, count)),
            constant("watch"),
            constant("/"),
            constant("data"),
            time(&|interval| interval.0),
            time(&|interval| interval.1),
            number(&|interval| interval.0),
            number(&|interval| interval.1),
            Arc::new(intervals.iter().map(|interval| interval.2).collect::<StringArray>()),
            number(&|_| 0),
        ],
    )
    .unwrap()
}

/// The view, observed in these intervals; the last is open where it did not end.
pub(crate) fn observed(mut view: View, covered: &[Interval]) -> View {
    let (open, ended): (Vec<Interval>, Vec<Interval>) = covered.iter().partition(|interval| interval.2.is_none());
    let head = vec![HeadBatch { day: Day(DAY), batch: intervals(&ended) }];
    view.coverage = TableView { parts: Arc::from(Vec::new()), head: head.into() };
    view.open_coverage = intervals(&open);
    view
}
