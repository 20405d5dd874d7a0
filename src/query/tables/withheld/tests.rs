//! What a user without the right to values can find out of them: nothing. Two histories that differ in nothing but the
//! values are asked the same, and must answer the same.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{BinaryArray, Int32Array, Int64Array, StringArray};
use futures::StreamExt;

use super::*;
use crate::history::layout::{Day, SeqRange};
use crate::history::view::{HeadBatch, View};
use crate::query::engine::tests::fixture::{self, DAY};
use crate::query::{Access, Engine, Limits, Parameters};

/// Who asked, and from where, is no value: an operator who may not see what a znode holds may see who wrote it. So the
/// addresses of sessions, the users of audit logs and the operations are open; the ACLs in the same lines are not.
const OPEN: &[&str] = &[
    "address",
    "address_at",
    "address_source",
    "aversion",
    "aversion_a",
    "aversion_b",
    "aspect",
    "cause",
    "change",
    "closed_at",
    "cluster",
    "ctime",
    "cversion",
    "cxid",
    "czxid",
    "czxid_a",
    "czxid_b",
    "date",
    "ended",
    "ephemeral_owner",
    "ephemerals",
    "evidence",
    "from_time",
    "from_zxid",
    "hosts",
    "incarnation",
    "kind",
    "last_seen",
    "missed",
    "missed_at_least",
    "mtime",
    "mzxid",
    "mzxid_a",
    "mzxid_b",
    "node_type",
    "num_children",
    "observed_at",
    "opened_at",
    "operation",
    "ordinal",
    "path",
    "position",
    "pzxid",
    "reason",
    "result",
    "seq",
    "session_id",
    "source",
    "taken_at",
    "time",
    "time_source",
    "timeout",
    "to_time",
    "to_zxid",
    "uncertain",
    "user_name",
    "version",
    "version_a",
    "version_b",
    "zxid",
];

/// The tables, and the functions with arguments that the history has.
const TABLES: &[&str] = &[
    "changes",
    "znodes",
    "snapshots",
    "coverage",
    "gaps",
    "sessions",
    "audit",
    "znodes_at(1500)",
    "tree_diff(10, 1500)",
];

/// The same changes with other values: each withheld column is made from `salt`.
fn with_values(batch: &RecordBatch, salt: i64) -> RecordBatch {
    let rows = batch.num_rows();
    let numbers = || (0..rows as i64).map(|row| (row * 7_919 + salt * 104_729) % 1_000_003);
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns()).map(|(field, column)| -> ArrayRef {
        match field.name().as_str() {
            "data" => Arc::new(BinaryArray::from_iter_values(numbers().map(|n| format!("secret-{salt}-{n}")))),
            "acl" => Arc::new(StringArray::from_iter_values(numbers().map(|n| format!("[\"digest:{salt}:{n}\"]")))),
            "data_length" => Arc::new(Int32Array::from_iter_values(numbers().map(|n| n as i32))),
            "data_hash" => Arc::new(Int64Array::from_iter_values(numbers().map(|n| n * 31))),
            _ => column.clone(),
        }
    });
    RecordBatch::try_new(batch.schema(), columns.collect()).unwrap()
}

/// Three parts, a head and a snapshot, whose values are made from `salt`.
fn history(dir: &Path, salt: i64) -> View {
    let all = fixture::rows(1, 3_000, 70);
    let part = |from: usize, to: usize| {
        let rows = &all[from..to];
        let range = SeqRange { first: rows[0].seq, last: rows[rows.len() - 1].seq };
        let batch = with_values(&fixture::changes(&fixture::sorted(rows)), salt + from as i64);
        fixture::write(dir, "a", DAY, range, &batch, 300, 100)
    };
    let head = &all[2_000..];
    let mut view = fixture::view("a", vec![part(0, 700), part(700, 1_400), part(1_400, 2_000)], &[]);
    let head =
        head.chunks(300).map(|rows| HeadBatch { day: Day(DAY), batch: with_values(&fixture::changes(rows), salt) });
    view.changes.head = head.collect::<Vec<_>>().into();
    view.snapshots = Arc::from(vec![fixture::snapshot(dir, "a", 70)]);
    view
}

fn engine(view: &View) -> Engine {
    let views = vec![view.clone()];
    Engine::new(Arc::new(move || Ok(views.clone())), Limits::default(), &std::env::temp_dir()).unwrap()
}

async fn ask(engine: &Engine, values: Values, sql: &str) -> String {
    let mut session = engine.session(Access { values, ..Access::full() });
    // One thread, so that the metrics of a plan do not depend on which of them came first.
    session.options_mut().execution.target_partitions = 1;
    let mut stream = match session.query(sql, Parameters::new()).await {
        Ok(stream) => stream,
        Err(error) => return format!("error: {error}"),
    };
    let mut encoder = crate::query::encode::CsvEncoder::new(&stream.schema());
    let mut out = Vec::new();
    while let Some(batch) = stream.next().await {
        match batch {
            Ok(batch) => encoder.batch(&batch, &mut out),
            Err(error) => return format!("error: {error}"),
        }
    }
    encoder.finish(&mut out);
    String::from_utf8(out).unwrap()
}

/// Every way to a value that SQL offers.
fn routes() -> Vec<String> {
    let mut routes: Vec<String> = Vec::new();
    for table in TABLES.iter().filter(|table| !["coverage", "gaps", "sessions", "audit"].contains(table)) {
        let columns: &[&str] = match table.starts_with("tree_diff") {
            true => &COLUMNS[4..],
            false => &COLUMNS[..4],
        };
        // Every row has one place: else which ties come first is anybody's guess.
        let order = if *table == "changes" { "path, seq" } else { "path" };
        routes.push(format!("SELECT * FROM {table} ORDER BY {order} LIMIT 50"));
        for (turn, column) in columns.iter().enumerate() {
            let text = format!("arrow_cast({column}, 'Utf8')");
            let all = [
                format!("SELECT {column} FROM {table} ORDER BY path, {column} LIMIT 20"),
                format!("SELECT count(*) FROM {table} WHERE {column} IS NOT NULL"),
                format!("SELECT count({column}), count(DISTINCT {column}), min({column}), max({column}) FROM {table}"),
                format!("SELECT {column}, count(*) FROM {table} GROUP BY {column} ORDER BY 2 DESC LIMIT 5"),
                format!("SELECT path FROM {table} ORDER BY {column} DESC NULLS LAST, path LIMIT 5"),
                format!("SELECT path FROM {table} ORDER BY {column}, path LIMIT 5"),
                format!("SELECT count(*) FROM {table} WHERE {column} > (SELECT min({column}) FROM {table})"),
                format!("SELECT count(*) FROM {table} a JOIN {table} b ON a.{column} = b.{column}"),
                format!("SELECT count(*) FROM {table} WHERE {column} IN (SELECT {column} FROM {table})"),
                format!(
                    "SELECT count(*) FROM {table} WHERE EXISTS (SELECT 1 FROM {table} t WHERE t.{column} = {column})"
                ),
                format!("SELECT path, lag({column}) OVER (ORDER BY path) FROM {table} ORDER BY path LIMIT 5"),
                format!("SELECT first_value(path ORDER BY {column}) FROM {table}"),
                format!(
                    "SELECT CASE WHEN {column} IS NULL THEN 'none' ELSE 'some' END AS it, count(*) FROM {table} GROUP BY 1"
                ),
                format!("SELECT count(*) FROM {table} WHERE {text} LIKE '%1%'"),
                format!("SELECT count(*) FROM {table} WHERE {text} > '5' OR path = '/nothing'"),
                format!("SELECT count(*) FROM {table} WHERE coalesce({text}, 'x') = 'x'"),
                format!("SELECT max({text}) || 'x' FROM {table}"),
                format!("SELECT CAST({text} AS INT) / 0 FROM {table}"),
                format!("SELECT to_timestamp({text}) FROM {table} LIMIT 3"),
                format!("SELECT sum(CAST({text} AS BIGINT)) FROM {table}"),
                format!(
                    "SELECT md5({text}), sha256({text}), length({text}), octet_length({text}) FROM {table} LIMIT 3"
                ),
                format!("SELECT approx_distinct({column}) FROM {table}"),
                format!(
                    "WITH t AS (SELECT path, {column} AS x FROM {table}) SELECT count(x) FROM t WHERE x IS NOT NULL"
                ),
                format!(
                    "SELECT * FROM (SELECT {column} AS x FROM {table} UNION ALL SELECT {column} FROM {table}) WHERE x IS NOT NULL"
                ),
                format!("EXPLAIN ANALYZE SELECT count(*) FROM {table} WHERE {column} IS NOT NULL"),
                format!("EXPLAIN ANALYZE SELECT path FROM {table} ORDER BY {column} LIMIT 3"),
                format!("EXPLAIN ANALYZE VERBOSE SELECT * FROM {table} WHERE {text} >= '5' AND version > 3"),
                format!("EXPLAIN VERBOSE SELECT min({column}) FROM {table} WHERE {column} IS NOT NULL"),
            ];
            // Each of them on `changes`; on the others in turn, one of four a column.
            let is_its = |at: usize| *table == "changes" || at % 4 == turn;
            routes.extend(all.into_iter().enumerate().filter(|(at, _)| is_its(*at)).map(|(_, route)| route));
        }
    }
    routes.extend(
        [
            "SELECT data_text(data), decode(path, data), hex(data_hash) FROM changes ORDER BY seq LIMIT 5",
            "SELECT count(*) FROM changes WHERE decode(path, data) IS NULL",
            "SELECT count(*) FROM changes WHERE data = X'7365637265742d312d30'",
            "SELECT count(*) FROM changes WHERE data_length BETWEEN 1 AND 500000",
            "SELECT count(*) FROM changes c JOIN znodes z ON c.data_hash = z.data_hash",
            "SELECT encode(data, 'hex'), encode(data, 'base64') FROM changes ORDER BY seq LIMIT 5",
            "SELECT array_agg(data) FROM (SELECT data FROM changes ORDER BY seq LIMIT 3)",
            "SELECT named_struct('a', data, 'b', acl) FROM changes ORDER BY seq LIMIT 2",
            "SELECT unnest(make_array(data_length, 1)) FROM changes ORDER BY seq LIMIT 4",
            "SELECT path FROM changes WHERE seq > 100 ORDER BY data_length, seq LIMIT 5",
            "SELECT DISTINCT ON (data_hash) path FROM changes ORDER BY data_hash, seq",
            "SELECT grouping(acl), acl, count(*) FROM changes GROUP BY ROLLUP (acl)",
            "SELECT corr(data_length, version), regr_slope(data_length, version) FROM changes",
            "SELECT count(*) FILTER (WHERE data_length > 10) FROM changes",
            "SELECT arrow_typeof(data), arrow_typeof(acl) FROM changes LIMIT 1",
            "DESCRIBE changes",
            "SELECT table_name, column_name, data_type FROM information_schema.columns ORDER BY 1, 2",
        ]
        .map(str::to_owned),
    );
    routes
}

/// The metrics of a plan without those that tell how long something took, and without the order of its partitions.
fn without_times(sql: &str, answer: &str) -> String {
    if !sql.starts_with("EXPLAIN") {
        return answer.to_owned();
    }
    let kept = |piece: &&str| {
        let value = piece.rsplit('=').next().unwrap_or_default().trim_end_matches([']', '"', '\r', ' ', ')']);
        let is_time = ["ns", "µs", "ms", "s"].iter().any(|unit| {
            value.strip_suffix(unit).is_some_and(|number| !number.is_empty() && number.parse::<f64>().is_ok())
        });
        !is_time && !piece.contains("time") && !piece.contains("elapsed")
    };
    let mut pieces: Vec<&str> =
        answer.split([',', '\n']).map(|piece| piece.trim_matches([' ', ']'])).filter(kept).collect();
    pieces.sort_unstable();
    pieces.join("\n")
}

#[tokio::test]
async fn two_histories_of_other_values_answer_alike() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (one, two) = (engine(&history(one.path(), 1)), engine(&history(two.path(), 2)));
    let (mut told_apart, mut answered) = (0, 0);
    for sql in routes() {
        // What differs by how the tasks happened to run differs by chance; what differs by a value differs each time.
        let mut tries = 0;
        let first = loop {
            let [first, second] = [ask(&one, Values::Withheld, &sql).await, ask(&two, Values::Withheld, &sql).await];
            let (told, other) = (without_times(&sql, &first), without_times(&sql, &second));
            if told == other {
                break first;
            }
            tries += 1;
            assert!(tries < 5, "{sql}\n{told}\n{other}");
        };
        assert!(!first.contains("secret-") && !first.contains("digest:"), "{sql}\n{first}");
        answered += usize::from(!first.starts_with("error: "));
        // The routes are ways to a value for whoever may see it, or they would prove nothing.
        let shown = [ask(&one, Values::Shown, &sql).await, ask(&two, Values::Shown, &sql).await];
        told_apart += usize::from(without_times(&sql, &shown[0]) != without_times(&sql, &shown[1]));
    }
    let all = routes().len();
    assert!(answered * 10 > all * 7, "only {answered} of {all} routes were answered");
    assert!(told_apart * 3 > all, "only {told_apart} of {all} routes lead to a value");
}

#[tokio::test]
async fn every_column_is_either_open_or_withheld() {
    let dir = tempfile::tempdir().unwrap();
    let engine = engine(&history(dir.path(), 1));
    for table in TABLES {
        let shown = ask(&engine, Values::Shown, &format!("SELECT * FROM {table} LIMIT 3")).await;
        let withheld = ask(&engine, Values::Withheld, &format!("SELECT * FROM {table} LIMIT 3")).await;
        let columns = |answer: &str| answer.lines().next().unwrap_or_default().to_owned();
        assert_eq!(columns(&shown), columns(&withheld), "{table}");
        for column in columns(&shown).split(',') {
            assert!(is_withheld(column) ^ OPEN.contains(&column), "say whether {table}.{column} tells of values");
        }
    }
}

#[tokio::test]
async fn what_is_open_is_answered_as_ever_and_pruned_as_ever() {
    let dir = tempfile::tempdir().unwrap();
    let engine = engine(&history(dir.path(), 1));
    for sql in [
        "SELECT count(*), min(time), max(path), sum(version) FROM changes",
        "SELECT seq, path, version FROM changes WHERE path = '/app/0007' ORDER BY seq",
        "SELECT path FROM changes WHERE data_length > 5 OR seq < 0 OR path = '/app/0001' ORDER BY seq LIMIT 0",
        "SELECT seq FROM changes ORDER BY time DESC LIMIT 7",
        "SELECT count(*) FROM znodes",
        "SELECT path, change, version_a, version_b FROM tree_diff(10, 1500) ORDER BY path",
    ] {
        let [shown, withheld] = [ask(&engine, Values::Shown, sql).await, ask(&engine, Values::Withheld, sql).await];
        assert_eq!(shown, withheld, "{sql}");
    }
    let limited = ask(&engine, Values::Withheld, "SELECT seq, data, acl FROM changes ORDER BY seq DESC LIMIT 2").await;
    assert_eq!(limited.replace("\r\n", "\n"), "seq,data,acl\n2999,,\n2998,,\n");
    // The threshold of a TopK still reaches the scan below.
    let plan =
        ask(&engine, Values::Withheld, "EXPLAIN SELECT * FROM changes WHERE data IS NULL ORDER BY seq DESC LIMIT 2")
            .await;
    let below = plan.rsplit("WithheldExec: null=[data, data_length, data_hash, acl]").next().unwrap_or_default();
    assert!(below.contains("DynamicFilter") && !below.contains("data@"), "{plan}");
}
