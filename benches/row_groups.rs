//! Measures what the size of a row group costs and gives: `cargo bench --bench row_groups`.
//!
//! One million changes of 20,000 paths in one part, as a compacted day has them, written with row groups of several
//! sizes; then asked by the engine for one path's history, a prefix and a count over everything.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use arrow::array::{
    ArrayRef, BinaryArray, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray, new_null_array,
};
use futures::TryStreamExt;
use parquet::arrow::ArrowWriter;
use zktrail::history::layout::Table;
use zktrail::history::parts::{ROW_GROUP_ROWS_MAX, writer_properties};
use zktrail::history::{Layout, open_read_only, schema};
use zktrail::query::{Engine, Limits};

const ROWS: usize = 1_000_000;
const PATHS: usize = 20_000;
const SIZES: [usize; 4] = [32_768, 131_072, 524_288, 1_048_576];
const RUNS: usize = 9;

const QUERIES: [(&str, &str); 3] = [
    (
        "one path",
        "SELECT * FROM changes WHERE path = '/brokers/topics/topic-00123/partitions/3/state' ORDER BY position",
    ),
    ("a prefix", "SELECT path, count(*) FROM changes WHERE path LIKE '/brokers/topics/topic-0012%' GROUP BY path"),
    ("everything", "SELECT kind, count(*), max(version) FROM changes GROUP BY kind"),
];

fn main() -> Result<()> {
    let batch = changes()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    println!("{ROWS} changes of {PATHS} paths; the default is {ROW_GROUP_ROWS_MAX} rows a group; medians of {RUNS}");
    for size in SIZES {
        let folder = tempfile::tempdir()?;
        let layout = Layout::new(folder.path());
        let day = zktrail::history::layout::Day::parse("2026-01-01").unwrap_or(zktrail::history::layout::Day(0));
        let place = layout.day(Table::Changes, "bench", day);
        std::fs::create_dir_all(&place)?;
        let path = place.join(format!("1-{ROWS}.parquet"));
        let properties = writer_properties(Table::Changes, "bench", PATHS)
            .into_builder()
            .set_max_row_group_row_count(Some(size))
            .build();
        let began = Instant::now();
        let mut writer =
            ArrowWriter::try_new(std::fs::File::create(&path)?, schema::CHANGES.clone(), Some(properties))?;
        writer.write(&batch)?;
        writer.close()?;
        let wrote = began.elapsed();
        let bytes = std::fs::metadata(&path)?.len();
        print!("{size:>9} rows: {:.1} MB, written in {wrote:.2?}", bytes as f64 / 1e6);
        let view = open_read_only(&layout, "bench")?;
        let engine =
            Engine::new(Arc::new(move || Ok(vec![view.clone()])), Limits::default(), &folder.path().join(".spill"))?;
        for (name, query) in QUERIES {
            let took = runtime.block_on(median(&engine, query))?;
            print!("; {name} {:.1} ms", took.as_secs_f64() * 1e3);
        }
        println!();
    }
    Ok(())
}

async fn median(engine: &Engine, query: &str) -> Result<Duration> {
    let mut took = Vec::new();
    for _ in 0..RUNS {
        let began = Instant::now();
        let batches: Vec<RecordBatch> = engine.query(query).await?.try_collect().await?;
        assert!(batches.iter().map(RecordBatch::num_rows).sum::<usize>() > 0, "{query}");
        took.push(began.elapsed());
    }
    took.sort_unstable();
    Ok(took[RUNS / 2])
}

/// Sets of a Kafka-like tree, in a part's order: by path, then by position.
fn changes() -> Result<RecordBatch> {
    let sets = ROWS / PATHS;
    let row = |at: usize| (at / sets, at % sets);
    let path = |of: usize| format!("/brokers/topics/topic-{:05}/partitions/{}/state", of / 8, of % 8);
    let position = |at: usize| {
        let (of, set) = row(at);
        (set * PATHS + of) as i64 + 1
    };
    let value = |at: usize| {
        let (of, set) = row(at);
        format!(
            r#"{{"controller_epoch":{},"leader":{},"version":1,"leader_epoch":{set},"isr":[1,2,3]}}"#,
            of % 7,
            set % 5
        )
    };
    let time = |at: usize| 1_767_225_600_000_000 + position(at) * 1_000;
    let utc = |times: Vec<i64>| TimestampMicrosecondArray::from(times).with_timezone("UTC");
    let all = || 0..ROWS;
    let text = |constant: &str| -> ArrayRef { Arc::new(StringArray::from(vec![constant; ROWS])) };
    let columns: Vec<ArrayRef> = schema::CHANGES
        .fields()
        .iter()
        .map(|field| -> ArrayRef {
            match field.name().as_str() {
                "incarnation" => Arc::new(Int32Array::from(vec![1; ROWS])),
                "seq" | "zxid" | "position" => Arc::new(Int64Array::from_iter_values(all().map(position))),
                "time" => Arc::new(utc(all().map(time).collect())),
                "observed_at" => Arc::new(utc(all().map(|at| time(at) + 1_234).collect())),
                "time_source" => text("server"),
                "kind" => text("data_changed"),
                "evidence" => text("exact"),
                "source" => text("watch"),
                "path" => Arc::new(StringArray::from_iter_values(all().map(|at| path(row(at).0)))),
                "czxid" => Arc::new(Int64Array::from_iter_values(all().map(|at| row(at).0 as i64))),
                "version" => Arc::new(Int32Array::from_iter_values(all().map(|at| row(at).1 as i32))),
                "ordinal" => Arc::new(Int32Array::from(vec![0; ROWS])),
                "ephemeral_owner" | "missed" => Arc::new(Int64Array::from(vec![0; ROWS])),
                "data" => Arc::new(BinaryArray::from_iter_values(all().map(value))),
                "data_length" => Arc::new(Int32Array::from_iter_values(all().map(|at| value(at).len() as i32))),
                "data_hash" => {
                    let hash = |at: usize| (at as i64).wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as i64);
                    Arc::new(Int64Array::from_iter_values(all().map(hash)))
                }
                _ => new_null_array(field.data_type(), ROWS),
            }
        })
        .collect();
    Ok(RecordBatch::try_new(schema::CHANGES.clone(), columns)?)
}
