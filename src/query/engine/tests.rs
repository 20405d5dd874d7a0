mod amplification;
pub(crate) mod fixture;
mod moments;
mod stopping;

use std::sync::Arc;
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use datafusion::physical_plan::{ExecutionPlan, collect};
use futures::StreamExt;

use self::fixture::{DAY, part, rows, view};
use super::*;
use crate::query::encode::{CsvEncoder, JsonEncoder};

fn engine(views: Vec<View>, limits: Limits) -> Engine {
    Engine::new(Arc::new(move || Ok(views.clone())), limits, &std::env::temp_dir()).unwrap()
}

async fn batches(engine: &Engine, sql: &str) -> Result<(SchemaRef, Vec<RecordBatch>), QueryError> {
    let mut stream = engine.query(sql).await?;
    let mut batches = Vec::new();
    while let Some(batch) = stream.next().await {
        batches.push(batch?);
    }
    Ok((stream.schema(), batches))
}

async fn csv(engine: &Engine, sql: &str) -> String {
    let (schema, batches) = batches(engine, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let (mut encoder, mut out) = (CsvEncoder::new(&schema), Vec::new());
    batches.iter().for_each(|batch| encoder.batch(batch, &mut out));
    encoder.finish(&mut out);
    String::from_utf8(out).unwrap().replace("\r\n", "\n")
}

async fn json(engine: &Engine, sql: &str) -> String {
    let (schema, batches) = batches(engine, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let (mut encoder, mut out) = (JsonEncoder::new(&schema), Vec::new());
    batches.iter().for_each(|batch| encoder.batch(batch, &mut out));
    encoder.finish(&mut out);
    String::from_utf8(out).unwrap()
}

async fn refused(engine: &Engine, sql: &str) -> String {
    match batches(engine, sql).await {
        Err(QueryError::Sql(text) | QueryError::Named { text, .. }) => text,
        Err(other) => panic!("{sql}: {other:?}"),
        Ok(_) => panic!("{sql}: answered"),
    }
}

#[tokio::test]
async fn head_parts_and_both_answer_alike() {
    let dir = tempfile::tempdir().unwrap();
    let all = rows(0, 3_000, 70);
    let parts = |from: usize, to: usize| {
        all[from..to].chunks(500).map(|rows| part(dir.path(), "a", DAY, rows)).collect::<Vec<_>>()
    };
    let places =
        [view("a", Vec::new(), &all), view("a", parts(0, 3_000), &[]), view("a", parts(0, 2_000), &all[2_000..])];
    let asked = [
        "SELECT * FROM changes ORDER BY seq",
        "SELECT count(*), min(time), max(path), sum(version) FROM changes",
        "SELECT seq, path FROM changes WHERE path = '/app/0007' ORDER BY seq",
        "SELECT count(*) FROM changes WHERE path LIKE '/app/001%' AND seq > 700",
        "SELECT count(*) FROM changes WHERE prefix(path, 2) = '/app/0011'",
        "SELECT seq FROM changes ORDER BY time DESC LIMIT 7",
        "SELECT count(*) FROM changes WHERE cluster = 'b'",
        "SELECT date, count(*) FROM changes WHERE date = DATE '2026-11-20' GROUP BY date",
        "SELECT path, count(*) AS n FROM changes GROUP BY path ORDER BY n DESC, path LIMIT 5",
        "SELECT decode(path, data), data_text(data) FROM changes WHERE seq IN (5, 2999) ORDER BY seq",
    ];
    for sql in asked {
        let mut answers = Vec::new();
        for view in &places {
            answers.push(csv(&engine(vec![view.clone()], Limits::default()), sql).await);
        }
        assert!(answers[0].lines().count() > 1, "{sql}: {}", answers[0]);
        assert_eq!(answers[0], answers[1], "{sql}");
        assert_eq!(answers[0], answers[2], "{sql}");
    }
}

/// What the scans of a plan pruned and read, by the metrics of the plan itself.
#[derive(Debug, Default)]
struct Pruned {
    files_planned: usize,
    groups: (usize, usize),
    bloom: (usize, usize),
    pages: (usize, usize),
    rows_out: usize,
}

fn gather(plan: &Arc<dyn ExecutionPlan>, pruned: &mut Pruned) {
    use datafusion::datasource::physical_plan::FileScanConfig;
    use datafusion::datasource::source::DataSourceExec;
    use datafusion::physical_plan::metrics::MetricValue;
    if let Some(scan) = plan.downcast_ref::<DataSourceExec>()
        && let Some(config) = scan.data_source().downcast_ref::<FileScanConfig>()
    {
        let mut names: Vec<_> =
            config.file_groups.iter().flat_map(|group| group.iter()).map(|f| f.path().to_string()).collect();
        names.dedup();
        pruned.files_planned += names.len();
        for metric in plan.metrics().unwrap().iter() {
            if let MetricValue::PruningMetrics { name, pruning_metrics } = metric.value() {
                let slot = match name.as_ref() {
                    "row_groups_pruned_statistics" => &mut pruned.groups,
                    "row_groups_pruned_bloom_filter" => &mut pruned.bloom,
                    "page_index_pages_pruned" => &mut pruned.pages,
                    _ => continue,
                };
                slot.0 += pruning_metrics.pruned();
                slot.1 += pruning_metrics.matched();
            }
        }
        pruned.rows_out += plan.metrics().unwrap().output_rows().unwrap_or(0);
    }
    plan.children().into_iter().for_each(|child| gather(child, pruned));
}

async fn pruned(engine: &Engine, sql: &str) -> Pruned {
    let (physical, state) = plan(
        &engine.inner,
        &engine.session(Access::full()).ask(Question::Text { sql: sql.to_owned(), parameters: Parameters::new() }),
    )
    .await
    .unwrap();
    collect(physical.clone(), state.task_ctx()).await.unwrap();
    let mut pruned = Pruned::default();
    gather(&physical, &mut pruned);
    pruned
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_prune_parts_row_groups_and_pages() {
    let dir = tempfile::tempdir().unwrap();
    // Three clusters; four days a cluster, each a part of 5,000 rows in 5 row groups of 10 pages.
    let views: Vec<View> = ["a", "b", "c"]
        .iter()
        .map(|cluster| {
            let parts = (0..4).map(|day| {
                let rows = rows(i64::from(day) * 5_000, i64::from(day + 1) * 5_000, 500);
                part(dir.path(), cluster, DAY + day, &rows)
            });
            view(cluster, parts.collect(), &[])
        })
        .collect();
    let engine = engine(views, Limits::default());

    assert_eq!(pruned(&engine, "SELECT data FROM changes").await.files_planned, 12);
    // Parts: by cluster, by day, by time (from the footers), by seq (from the names).
    for (filter, files) in [
        ("cluster = 'b'", 4),
        ("cluster IN ('a', 'c') AND date = '2026-11-21'", 2),
        ("date > DATE '2026-11-22'", 3),
        ("time >= TIMESTAMP '2026-11-20T04:00:00Z' AND cluster = 'a'", 2),
        ("seq BETWEEN 5000 AND 5100", 3),
        ("path = '/elsewhere'", 0),
        ("path LIKE '/elsewhere/%'", 0),
        ("parent(path) = '/elsewhere'", 0),
        ("cluster = 'nowhere'", 0),
    ] {
        let sql = format!("SELECT count(data) FROM changes WHERE {filter}");
        assert_eq!(pruned(&engine, &sql).await.files_planned, files, "{filter}");
    }
    // Row groups and pages: by path equality, IN, LIKE, starts_with and the functions of a path.
    for filter in [
        "path = '/app/0123'",
        "path IN ('/app/0123', '/app/0124')",
        "path LIKE '/app/012%'",
        "starts_with(path, '/app/0123')",
        "prefix(path, 2) = '/app/0123'",
    ] {
        let sql = format!("SELECT count(data), max(version) FROM changes WHERE cluster = 'a' AND {filter}");
        let pruned = pruned(&engine, &sql).await;
        assert_eq!(pruned.files_planned, 4, "{filter}: {pruned:?}");
        assert!(pruned.groups.0 >= 4 * 3 && pruned.groups.1 <= 4 * 2, "{filter}: {pruned:?}");
        assert!(pruned.pages.0 >= 4 * 7, "{filter}: {pruned:?}");
    }
    // The bloom filter: a path that lies between others and does not exist.
    let between = pruned(&engine, "SELECT count(data) FROM changes WHERE path = '/app/0123x'").await;
    assert!(between.bloom.0 >= 12 && between.rows_out == 0, "{between:?}");
    // The last rows: a TopK tells the scan what can no longer be among them.
    let last = pruned(&engine, "SELECT * FROM changes ORDER BY time DESC LIMIT 10").await;
    assert!(last.rows_out < 20_000, "{last:?}");
}

#[tokio::test]
async fn refuses_whatever_would_write_or_name_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret.csv");
    std::fs::write(&secret, "a,b\n1,2\n").unwrap();
    let written = dir.path().join("written.csv");
    let engine = engine(vec![view("a", Vec::new(), &rows(0, 10, 3))], Limits::default());
    let (secret, written_path) = (secret.display(), written.display());
    for sql in [
        format!("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '{secret}'"),
        format!("COPY changes TO '{written_path}'"),
        format!("COPY (SELECT 1) TO '{written_path}' STORED AS CSV"),
        format!("EXPLAIN ANALYZE COPY changes TO '{written_path}'"),
        format!("EXPLAIN COPY changes TO '{written_path}'"),
        "EXPLAIN ANALYZE CREATE TABLE t AS SELECT 1".to_owned(),
        "EXPLAIN ANALYZE INSERT INTO changes SELECT * FROM changes".to_owned(),
        format!("SELECT * FROM '{secret}'"),
        format!("SELECT * FROM \"{secret}\""),
        format!("SELECT * FROM 'file://{secret}'"),
        format!("SELECT * FROM read_csv('{secret}')"),
        format!("SELECT * FROM read_parquet('{secret}')"),
        "CREATE TABLE t AS SELECT 1".to_owned(),
        "CREATE VIEW v AS SELECT 1".to_owned(),
        "CREATE SCHEMA s".to_owned(),
        "CREATE DATABASE d".to_owned(),
        "CREATE FUNCTION f(BIGINT) RETURNS BIGINT RETURN $1 + 1".to_owned(),
        "DROP TABLE changes".to_owned(),
        "INSERT INTO changes SELECT * FROM changes".to_owned(),
        "DELETE FROM changes".to_owned(),
        "UPDATE changes SET path = '/'".to_owned(),
        "TRUNCATE TABLE changes".to_owned(),
        "SET datafusion.execution.batch_size = 1".to_owned(),
        "RESET datafusion.execution.batch_size".to_owned(),
        "PREPARE p AS SELECT 1".to_owned(),
        "BEGIN".to_owned(),
        "SELECT 1; SELECT 2".to_owned(),
        "SELECT 1; DROP TABLE changes".to_owned(),
        "WITH x AS (SELECT 1) INSERT INTO changes SELECT * FROM x".to_owned(),
    ] {
        let error = refused(&engine, &sql).await;
        assert!(!error.contains("a,b"), "{sql}: {error}");
        let reads = ["SELECT", "WITH", "EXPLAIN ANALYZE SELECT"].iter().any(|verb| sql.starts_with(verb));
        assert!(reads || error.contains("The history is read-only"), "{sql}: {error}");
    }
    // Also where something else is wrong with it: that is not what matters.
    for sql in [
        "INSERT INTO changes VALUES (1)",
        "INSERT INTO nowhere SELECT nothing",
        "COPY nowhere TO 'x'",
        "WITH x AS (SELECT 1) INSERT INTO nowhere SELECT * FROM x",
        "-- tidy up\nDELETE FROM",
        "UPDATE nowhere SET",
        "MERGE INTO nowhere",
        "EXPLAIN INSERT INTO nowhere VALUES (1)",
        "VACUUM",
    ] {
        let error = refused(&engine, sql).await;
        assert!(error.contains("is refused. The history is read-only"), "{sql}: {error}");
    }
    assert!(!written.exists());
    // What reads stays possible.
    for sql in [
        "SHOW TABLES",
        "DESCRIBE changes",
        "SHOW COLUMNS FROM changes",
        "EXPLAIN SELECT * FROM changes",
        "EXPLAIN ANALYZE SELECT * FROM changes",
    ] {
        assert!(batches(&engine, sql).await.is_ok(), "{sql}");
    }
}

#[tokio::test]
async fn errors_name_the_thing_and_what_to_do() {
    let engine = engine(vec![view("a", Vec::new(), &rows(0, 10, 3)), view("b", Vec::new(), &[])], Limits::default());
    for (sql, words) in [
        ("SELECT pth FROM changes", &["pth", "Did you mean 'changes.path'"][..]),
        ("SELECT * FROM change", &["table 'change' not found", "The tables are changes, znodes"]),
        ("SELECT * FROM znodes_before(1)", &["znodes_before", "znodes_at, tree_diff"]),
        ("SELEC 1", &["SELEC"]),
        ("SELECT foo(path) FROM changes", &["no function 'foo'", "data_text, decode"]),
        ("SELECT data_txt(data) FROM changes", &["Did you mean 'data_text'"]),
        ("SELECT uper(path) FROM changes", &["Did you mean 'upper'"]),
        ("SELECT znodes_at(1)", &["SELECT * FROM znodes_at"]),
        ("DROP TABLE changes", &["read-only"]),
        ("SELECT * FROM znodes_at(5)", &["a zxid belongs to one ensemble", "a, b"]),
        ("SELECT * FROM znodes_at(5, 'c')", &["no cluster 'c'", "a, b"]),
        ("SELECT * FROM znodes_at('soon')", &["'soon' is neither a time"]),
        ("SELECT * FROM znodes_at()", &["znodes_at(t"]),
        ("SELECT * FROM tree_diff(1)", &["tree_diff(a, b"]),
        ("SELECT * FROM znodes WHERE cluster = 'a'", &["a has no snapshot yet"]),
    ] {
        let error = refused(&engine, sql).await;
        for word in words {
            assert!(error.contains(word), "{sql}: {error}");
        }
        assert!(!error.contains("Error during planning") && !error.contains("zktrail.public"), "{sql}: {error}");
    }
}

#[tokio::test]
async fn limits_stop_a_query_and_say_which() {
    let views = vec![view("a", Vec::new(), &rows(0, 5_000, 3))];
    let small = |change: fn(&mut Limits)| {
        let mut limits = Limits::default();
        change(&mut limits);
        engine(views.clone(), limits)
    };
    let rows = small(|limits| limits.rows_max = 1_000);
    assert!(matches!(batches(&rows, "SELECT * FROM changes").await, Err(QueryError::Rows { rows: 1_000 })));
    assert!(batches(&rows, "SELECT * FROM changes LIMIT 1000").await.is_ok());

    // A join that never ends, and hardly ever yields a row.
    let time = small(|limits| limits.time_max = Duration::from_millis(300));
    let endless = "SELECT count(*) FROM changes a, changes b, changes c WHERE a.seq + b.seq + c.seq = -1";
    assert!(matches!(batches(&time, endless).await, Err(QueryError::Time { .. })));

    let memory = small(|limits| {
        limits.memory_bytes_max = 1 << 20;
        limits.spill_bytes_max = 1 << 20;
    });
    // Which of the two bounds it meets first is up to how its tasks run.
    let hungry = "SELECT array_agg(a.path || b.path) FROM changes a, changes b";
    match batches(&memory, hungry).await {
        Err(QueryError::Memory { mib: 1, .. }) => {}
        other => panic!("{:?}", other.map(|(_, batches)| batches.len())),
    }
    let activity = memory.activity();
    assert_eq!((activity.failed_total, activity.limited_total), (1, 1));
}

#[tokio::test]
async fn room_on_disk_is_a_limit_too() {
    let limits = Limits { memory_bytes_max: 24 << 20, spill_bytes_max: 1 << 16, ..Limits::default() };
    let engine = engine(vec![view("a", Vec::new(), &rows(0, 5_000, 3))], limits);
    let sorted =
        "SELECT a.path || b.path || repeat('x', 100) AS p FROM changes a, changes b WHERE b.seq < 300 ORDER BY p";
    match batches(&engine, sorted).await {
        Err(QueryError::Memory { mib: 24, detail }) => assert!(detail.contains("spill_bytes_max"), "{detail}"),
        other => panic!("{:?}", other.map(|(_, batches)| batches.len())),
    }
}

#[tokio::test]
async fn a_dropped_query_ends_and_makes_room() {
    let mut limits = Limits { concurrent_max: 1, queue_wait_max: Duration::from_millis(50), ..Limits::default() };
    limits.rows_max = u64::MAX;
    let engine = engine(vec![view("a", Vec::new(), &rows(0, 5_000, 3))], limits);
    let many = "SELECT a.seq FROM changes a, changes b, changes c";
    let mut stream = engine.query(many).await.unwrap();
    assert!(stream.next().await.unwrap().is_ok());
    assert!(matches!(engine.query("SELECT 1").await, Err(QueryError::Busy { running: 1 })));
    drop(stream);
    // Its place is free as soon as its task has been dropped.
    let waited = tokio::time::timeout(Duration::from_secs(10), async {
        while engine.activity().running > 0 {
            tokio::task::yield_now().await;
        }
    });
    waited.await.unwrap();
    assert!(engine.query("SELECT 1").await.is_ok());
    assert_eq!(engine.activity().busy_total, 1);
}

#[tokio::test]
async fn identities_stay_hex_under_aliases() {
    let engine = engine(vec![view("a", Vec::new(), &rows(3, 4, 10))], Limits::default());
    let told = json(
        &engine,
        "SELECT session_id AS s, ephemeral_owner, data_hash, hex(zxid) AS z, zxid, time, data FROM changes",
    )
    .await;
    assert_eq!(
        told,
        "[{\"s\":\"0x1000000000000000\",\"ephemeral_owner\":\"0x1000000000001\",\"data_hash\":\"0x7ffffffffffffffc\",\
         \"z\":\"0x3\",\"zxid\":3,\"time\":\"2026-11-20T00:00:03.000000Z\",\"data\":\"eyJ2YWx1ZSI6M30=\"}]\n"
    );
    let both = json(&engine, "SELECT a.seq, b.seq FROM changes a JOIN changes b ON a.seq = b.seq").await;
    assert_eq!(both, "[{\"seq\":3,\"seq_2\":3}]\n");
}

#[tokio::test]
async fn the_tree_comes_from_a_replay() {
    let dir = tempfile::tempdir().unwrap();
    let mut tree = view("a", Vec::new(), &rows(1, 100, 10));
    tree.snapshots = vec![fixture::snapshot(dir.path(), "a", 20)].into();
    let engine = engine(vec![tree], Limits::default());
    assert_eq!(
        csv(&engine, "SELECT count(*), max(version) FROM znodes").await,
        "count(*),max(znodes.version)\n20,99\n"
    );
    assert_eq!(
        csv(&engine, "SELECT cluster, path, version, data_text(data) AS text FROM znodes WHERE path LIKE '/app/0007%'")
            .await,
        "cluster,path,version,text\na,/app/0007,97,\"{\"\"value\"\":97}\"\n"
    );
    assert_eq!(
        csv(&engine, "SELECT path FROM znodes WHERE parent(path) = '/app' ORDER BY path LIMIT 2").await,
        "path\n/app/0000\n/app/0001\n"
    );
    assert_eq!(csv(&engine, "SELECT version FROM znodes_at(42, 'a') WHERE path = '/app/0003'").await, "version\n33\n");
    assert_eq!(
        csv(&engine, "SELECT count(*) AS n FROM znodes_at('2026-11-20T00:00:42Z') WHERE NOT uncertain").await,
        "n\n20\n"
    );
    assert_eq!(
        csv(&engine, "SELECT path, change, version_a, version_b FROM tree_diff(95, '0x61')").await,
        "path,change,version_a,version_b\n/app/0006,changed,86,96\n/app/0007,changed,87,97\n"
    );
    assert_eq!(
        csv(&engine, "SELECT cluster, session_id, ephemerals, opened_at FROM sessions").await,
        "cluster,session_id,ephemerals,opened_at\na,0x1000000000001,20,\n"
    );
    assert_eq!(csv(&engine, "SELECT count(*) AS n FROM snapshots").await, "n\n20\n");
    for table in ["coverage", "gaps"] {
        assert_eq!(csv(&engine, &format!("SELECT count(*) AS n FROM {table}")).await, "n\n0\n", "{table}");
    }
}

#[tokio::test]
async fn a_slow_reader_still_gets_a_whole_answer() {
    let engine = engine(vec![view("a", Vec::new(), &rows(0, 1_200, 3))], Limits::default());
    let mut stream = engine.query("SELECT seq FROM changes").await.unwrap();
    // Longer than the last word of a query that is over waits.
    tokio::time::sleep(LAST_WORD_WAIT_MAX + Duration::from_millis(300)).await;
    let mut rows = 0;
    while let Some(batch) = stream.next().await {
        rows += batch.unwrap().num_rows();
    }
    assert_eq!(rows, 1_200);
}

#[tokio::test]
async fn a_part_that_vanished_is_looked_for_once_more() {
    let dir = tempfile::tempdir().unwrap();
    let rows = rows(0, 100, 3);
    let gone = view("a", vec![part(&dir.path().join("gone"), "a", DAY, &rows)], &[]);
    let there = view("a", vec![part(dir.path(), "a", DAY, &rows)], &[]);
    std::fs::remove_dir_all(dir.path().join("gone")).unwrap();
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let (first, then) = (gone.clone(), there);
    let sources: Sources = Arc::new(move || {
        let again = asked.fetch_add(1, Ordering::Relaxed) > 0;
        Ok(vec![if again { then.clone() } else { first.clone() }])
    });
    let changing = Engine::new(sources, Limits::default(), &std::env::temp_dir()).unwrap();
    assert_eq!(csv(&changing, "SELECT count(*) AS n FROM changes").await, "n\n100\n");
    let missing = engine(vec![gone], Limits::default());
    match batches(&missing, "SELECT count(*) FROM changes").await {
        Err(error @ QueryError::History(_)) => assert!(error.to_string().contains("0-99.parquet"), "{error}"),
        other => panic!("{:?}", other.map(|(_, batches)| batches.len())),
    }
}
