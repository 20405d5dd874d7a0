//! How moments are named: now, times, zxids, and those that no history knows.

use super::fixture::{rows, snapshot, view};
use super::*;

/// The statements of the README's first block of SQL.
fn readme() -> Vec<String> {
    let readme = include_str!("../../../../README.md");
    let block = readme.split("```sql\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let without_comments: Vec<&str> = block.lines().filter(|line| !line.starts_with("--")).collect();
    let statements = without_comments.join("\n");
    statements.split(';').map(str::trim).filter(|statement| !statement.is_empty()).map(str::to_owned).collect()
}

/// Data observed since midnight, up to now.
fn open_coverage() -> RecordBatch {
    use arrow::array::{ArrayRef, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray};
    let number = |value: i64| -> ArrayRef { Arc::new(Int64Array::from(vec![value])) };
    let text = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text])) };
    let time =
        |micros: i64| -> ArrayRef { Arc::new(TimestampMicrosecondArray::from(vec![micros]).with_timezone("UTC")) };
    let columns = vec![
        number(-1),
        Arc::new(Int32Array::from(vec![1])),
        text("watch"),
        text("/"),
        text("data"),
        time(fixture::MIDNIGHT),
        time(crate::zk::Micros::now().0),
        number(0),
        number(12_000),
        Arc::new(StringArray::new_null(1)),
        number(0),
    ];
    RecordBatch::try_new(crate::history::schema::COVERAGE.clone(), columns).unwrap()
}

#[tokio::test]
async fn what_is_advertised_runs() {
    let dir = tempfile::tempdir().unwrap();
    let mut tree = view("prod", Vec::new(), &rows(0, 12_000, 500));
    tree.snapshots = vec![snapshot(dir.path(), "prod", 20)].into();
    tree.open_coverage = open_coverage();
    let engine = engine(vec![tree], Limits::default());
    let from_readme = readme();
    assert!(from_readme.len() >= 4, "{from_readme:?}");
    let further = [
        "SELECT time, kind, path, version, evidence FROM changes ORDER BY time DESC LIMIT 20",
        "SELECT count(*) FROM changes",
        "SELECT * FROM znodes_at('2026-11-20T00:30:00Z')",
        "SELECT * FROM tree_diff('2026-11-20', now())",
        "SELECT * FROM tree_diff(now() - INTERVAL '10 minutes', now())",
        "SELECT * FROM znodes_at(now() - INTERVAL '10 seconds')",
        "SELECT * FROM znodes_at(current_timestamp)",
        "SELECT * FROM znodes_at(TIMESTAMP '2026-11-20T01:00:00Z' + INTERVAL '1 minute')",
        "SELECT now(), current_date, current_timestamp",
        "SELECT count(*) FROM changes WHERE date = current_date AND time <= now()",
        "SELECT * FROM sessions WHERE last_seen > now() - INTERVAL '1 hour'",
        "EXPLAIN SELECT * FROM changes WHERE time > now()",
    ];
    for sql in from_readme.iter().map(String::as_str).chain(further) {
        let answer = batches(&engine, sql).await;
        assert!(answer.is_ok(), "{sql}: {}", answer.err().unwrap());
    }
}

#[tokio::test]
async fn a_zxid_may_be_bare_hex() {
    let dir = tempfile::tempdir().unwrap();
    let mut tree = view("prod", Vec::new(), &rows(1, 200, 10));
    tree.snapshots = vec![snapshot(dir.path(), "prod", 20)].into();
    let engine = engine(vec![tree], Limits::default());
    for moment in ["0x2a, 'prod'", "'0x2a'", "42", "X'2a'", "40 + 2"] {
        let sql = format!("SELECT version FROM znodes_at({moment}) WHERE path = '/app/0003'");
        assert_eq!(csv(&engine, &sql).await, "version\n33\n", "{moment}");
    }
    let sql = "SELECT path, version_a, version_b FROM tree_diff(0x5f, 0x61, 'prod')";
    assert_eq!(csv(&engine, sql).await, "path,version_a,version_b\n/app/0006,86,96\n/app/0007,87,97\n");
}

#[tokio::test]
async fn what_is_beyond_the_last_on_record_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut tree = view("prod", Vec::new(), &rows(1, 100, 10));
    tree.snapshots = vec![snapshot(dir.path(), "prod", 20)].into();
    let engine = engine(vec![tree], Limits::default());
    assert_eq!(csv(&engine, "SELECT count(*) AS n FROM znodes_at('0x63')").await, "n\n20\n");
    for (sql, words) in [
        ("SELECT * FROM znodes_at('0x64')", &["0x64 is after everything on record", "zxid 0x63"][..]),
        ("SELECT * FROM tree_diff(5, 1000)", &["0x3e8 is after", "zxid 0x63"]),
        ("SELECT * FROM znodes_at('2200-01-01')", &["2200-01-01", "after everything on record", "2026-11-20T00:01:39"]),
        ("SELECT * FROM tree_diff('2026-11-20', now() + INTERVAL '1 hour')", &["after everything on record"]),
    ] {
        let error = refused(&engine, sql).await;
        for word in words {
            assert!(error.contains(word), "{sql}: {error}");
        }
    }
}

#[tokio::test]
async fn a_cluster_without_a_snapshot_takes_nothing_from_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let mut whole = view("prod", Vec::new(), &rows(1, 100, 10));
    whole.snapshots = vec![snapshot(dir.path(), "prod", 20)].into();
    let views = vec![whole, view("test", Vec::new(), &rows(1, 10, 3))];
    let several = engine(views.clone(), Limits::default());
    for sql in [
        "SELECT DISTINCT cluster FROM znodes",
        "SELECT DISTINCT cluster FROM znodes_at('2026-11-20T00:00:42Z')",
        "SELECT DISTINCT cluster FROM tree_diff('2026-11-20T00:00:42Z', '2026-11-20T00:01:00Z')",
        "SELECT DISTINCT cluster FROM tree_diff('2026-11-20T00:00:42Z', '2026-11-20T00:01:00Z', 'prod')",
    ] {
        assert_eq!(csv(&several, sql).await, "cluster\nprod\n", "{sql}");
    }
    for sql in [
        "SELECT * FROM znodes_at('2026-11-20T00:00:42Z', 'test')",
        "SELECT * FROM tree_diff('2026-11-20', now(), 'test')",
        "SELECT * FROM znodes_at(5, 'test')",
    ] {
        let error = refused(&several, sql).await;
        assert!(error.contains("test has no snapshot yet"), "{sql}: {error}");
    }
    let none: Vec<View> = views.into_iter().map(|view| View { snapshots: Arc::from(Vec::new()), ..view }).collect();
    let none = engine(none, Limits::default());
    let error = refused(&none, "SELECT * FROM tree_diff('2026-11-20', now())").await;
    assert!(error.contains("no snapshot yet") && error.contains("tree_diff(a, b, '<cluster>')"), "{error}");
    // One cluster's history begins later than the moment: the error is its own, and says how to leave it out.
    let mut early = view("prod", Vec::new(), &rows(1, 100, 10));
    early.snapshots = vec![snapshot(dir.path(), "prod", 20)].into();
    let two = engine(vec![View { cluster: "other".into(), ..early.clone() }, early], Limits::default());
    let error = refused(&two, "SELECT * FROM znodes_at('2020-01-01')").await;
    assert!(error.contains("before the oldest snapshot") && error.contains("the clusters are other, prod"), "{error}");
}
