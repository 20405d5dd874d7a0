//! No statement makes much of little.

use super::*;

/// `SELECT t || t` around itself, so often.
fn doubled(times: usize, with: &str) -> String {
    let inner = (0..times)
        .fold("SELECT repeat('x', 10000) AS t".to_owned(), |inner, _| format!("SELECT {with} AS t FROM ({inner})"));
    format!("SELECT length(t) FROM ({inner})")
}

#[tokio::test(flavor = "multi_thread")]
async fn much_of_little_is_refused() {
    let engine = engine(vec![view("a", Vec::new(), &rows(0, 10, 3))], Limits::default());
    let hostile = [
        "SELECT length(repeat('x', 2000000000))".to_owned(),
        "SELECT length(repeat(path, 100000000)) FROM changes".to_owned(),
        "SELECT length(lpad('x', 2000000000))".to_owned(),
        "SELECT length(rpad(path, 1000000000, 'ab')) FROM changes".to_owned(),
        "SELECT length(replace(repeat('a', 100000), 'a', repeat('b', 100000)))".to_owned(),
        "SELECT length(regexp_replace(repeat('a', 100000), 'a', repeat('b', 100000), 'g'))".to_owned(),
        "SELECT array_length(array_repeat(1, 2000000000), 1)".to_owned(),
        "SELECT array_length(range(1, 1000000000000), 1)".to_owned(),
        "SELECT array_length(array_resize([1], 2000000000, 1), 1)".to_owned(),
        doubled(18, "t || t"),
        doubled(18, "concat(t, t)"),
        doubled(18, "concat_ws(',', t, t)"),
        doubled(18, "replace(t, 'x', 'xx')"),
    ];
    for sql in hostile {
        let told = match batches(&engine, &sql).await {
            Err(error) => error.to_string(),
            Ok((_, batches)) => panic!("{sql} answered {batches:?}"),
        };
        assert!(told.contains("MiB of one batch of rows"), "{sql}: {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_bounded_means_what_it_did() {
    let engine = engine(vec![view("a", Vec::new(), &rows(0, 3, 3))], Limits::default());
    for (sql, answer) in [
        ("SELECT repeat('ab', 3) AS a, lpad('x', 3, 'yz') AS b, rpad('x', 3) AS c", "a,b,c\nababab,yzx,x  \n"),
        ("SELECT path || '!' || version AS a FROM changes ORDER BY path LIMIT 2", "a\n/app/0000!0\n/app/0001!1\n"),
        ("SELECT 'a' || NULL AS a, 'a' || 1 AS b, concat('a', NULL, 1) AS c", "a,b,c\n,a1,a1\n"),
        (
            "SELECT [1] || [2, 3] AS a, array_repeat('x', 2) AS b, range(1, 4) AS c",
            "a,b,c\n\"[1,2,3]\",\"[\"\"x\"\",\"\"x\"\"]\",\"[1,2,3]\"\n",
        ),
        ("SELECT replace('abc', 'b', 'xyz') AS a, regexp_replace('abcb', 'b', 'x', 'g') AS b", "a,b\naxyzc,axcx\n"),
    ] {
        assert_eq!(csv(&engine, sql).await, answer, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_projections_on_each_other_are_all_carried_out() {
    let engine = engine(vec![view("a", Vec::new(), &rows(0, 3, 3))], Limits::default());
    for (with, levels, answer) in [("t || t", 5, 32), ("concat(t, t)", 4, 16), ("t || t", 1, 2), ("t || t", 2, 4)] {
        let inner =
            (0..levels).fold("SELECT 'x' AS t".to_owned(), |inner, _| format!("SELECT {with} AS t FROM ({inner})"));
        let answered = csv(&engine, &format!("SELECT length(t) AS n FROM ({inner})")).await;
        assert_eq!(answered, format!("n\n{answer}\n"), "{with} {levels} times");
    }
    let numbers =
        "SELECT x + x AS x, y FROM (SELECT x + x AS x, y FROM (SELECT x + x AS x, y FROM (SELECT 1 AS x, 2 AS y)))";
    assert_eq!(csv(&engine, numbers).await, "x,y\n8,2\n");
    let versions = "SELECT v + 1 AS v FROM (SELECT v + 1 AS v FROM (SELECT version AS v FROM changes)) ORDER BY v";
    assert_eq!(csv(&engine, versions).await, "v\n2\n3\n4\n");
}
