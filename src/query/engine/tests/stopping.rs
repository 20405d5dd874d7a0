//! A query that nobody waits for any more ends, whatever it is in the midst of.

use std::time::{Duration, Instant};

use super::*;

/// Statements that take minutes, or for ever, each inside another operator.
const LONG: [(&str, &str); 13] = [
    ("a cross join", "SELECT count(*) FROM generate_series(1, 300000) a, generate_series(1, 300000) b"),
    (
        "a nested loop whose filter lets nothing through",
        "SELECT count(*) FROM generate_series(1, 300000) a(x) JOIN generate_series(1, 300000) b(y) ON x * 2 < y - 700000",
    ),
    (
        "a nested loop with regular expressions",
        "SELECT count(*) FROM generate_series(1, 300000) a(x) JOIN generate_series(1, 300000) b(y)
         ON (x::text || y::text) ~ '^(9+)+0(1|11)+$'",
    ),
    (
        "a left join by inequality",
        "SELECT count(*) FROM generate_series(1, 300000) a(x) LEFT JOIN generate_series(1, 300000) b(y) ON x < y - 600000",
    ),
    (
        "a recursion without an end",
        "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n % 1000 + 1 FROM r) SELECT count(*) FROM r",
    ),
    ("a long series", "SELECT sum(a % 7) FROM generate_series(1, 1000000000000) a"),
    (
        "a window over the whole",
        "SELECT max(m) FROM (SELECT sum(generate_series) OVER (ORDER BY generate_series % 1000) AS m FROM generate_series(1, 90000000))",
    ),
    ("a sort", "SELECT generate_series FROM generate_series(1, 30000000) ORDER BY sha256(generate_series::text)"),
    ("many groups", "SELECT generate_series % 5000000, count(*) FROM generate_series(1, 90000000) GROUP BY 1 ORDER BY 2 LIMIT 1"),
    ("a long text", "SELECT max(length(repeat('ab', 10000) || generate_series::text)) FROM generate_series(1, 10000000)"),
    (
        "a pattern over long texts",
        "SELECT count(*) FROM (SELECT repeat('ab', 10000) || generate_series::text AS t FROM generate_series(1, 2000000))
         WHERE t ~ '(a|b|ab)*c'",
    ),
    ("a distinct count", "SELECT count(DISTINCT sha256(generate_series::text)) FROM generate_series(1, 90000000)"),
    (
        "a correlated subquery",
        "SELECT count(*) FROM generate_series(1, 300000) a(x) WHERE EXISTS (SELECT 1 FROM generate_series(1, 300000) b(y) WHERE b.y > a.x * 3 + 600000)",
    ),
];

/// Far above what the last batch takes in an unoptimised build on a busy machine, far below what the statements take.
const GONE_WITHIN_MAX: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_query_ends_inside_any_operator() {
    for (what, sql) in LONG {
        let engine = engine(vec![view("a", Vec::new(), &rows(0, 10, 3))], Limits::default());
        let answer = tokio::time::timeout(Duration::from_millis(300), batches(&engine, sql)).await;
        assert!(
            answer.is_err(),
            "{what} answered: {:?}",
            answer.map(|answer| answer.map(|(_, batches)| batches.len()))
        );
        let (dropped, tasks) = (Instant::now(), engine.inner.runtime.0.as_ref().unwrap().metrics());
        while tasks.num_alive_tasks() > 0 {
            assert!(dropped.elapsed() < GONE_WITHIN_MAX, "{what} still runs");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
