use datafusion::logical_expr::Like;
use datafusion::logical_expr::expr::InList;

use super::*;

fn like(pattern: &str) -> Expr {
    Expr::Like(Like::new(false, Box::new(col("path")), Box::new(lit(pattern)), None, false))
}

#[test]
fn filters_on_paths_are_understood() {
    let exact = |paths: &[&str]| PathFilter::Exact(paths.iter().map(|path| (*path).to_owned()).collect());
    let starts = |prefix: &str| PathFilter::Prefix(prefix.to_owned());
    let in_list = Expr::InList(InList::new(Box::new(col("path")), vec![lit("/a"), lit("/b")], false));
    let not_in = Expr::InList(InList::new(Box::new(col("path")), vec![lit("/a")], true));
    let cases = [
        (vec![], PathFilter::All),
        (vec![col("path").eq(lit("/a"))], exact(&["/a"])),
        (vec![lit("/a").eq(col("path"))], exact(&["/a"])),
        (vec![col("path").eq(lit("/a")).or(col("path").eq(lit("/b")))], exact(&["/a", "/b"])),
        (vec![col("path").eq(lit("/a")).or(col("version").eq(lit(1)))], PathFilter::All),
        (vec![in_list.clone()], exact(&["/a", "/b"])),
        (vec![not_in], PathFilter::All),
        (vec![like("/a/%")], starts("/a/")),
        (vec![like("/a\\_b/%")], starts("/a_b/")),
        (vec![like("/a_b/%")], starts("/a")),
        (vec![like("%x")], PathFilter::All),
        (vec![like("/a/%"), col("version").gt(lit(1)).and(like("/a/b%"))], starts("/a/b")),
        (vec![in_list, like("/b%")], exact(&["/b"])),
        (vec![col("path").eq(lit("/a")), col("path").eq(lit("/b"))], exact(&[])),
    ];
    for (filters, expected) in cases {
        assert_eq!(paths(&filters), expected, "{filters:?}");
    }
}

#[test]
fn the_next_prefix_is_greater_than_all_that_begin_so() {
    assert_eq!(next_prefix("/a").as_deref(), Some("/b"));
    assert_eq!(next_prefix("/a\u{10ffff}").as_deref(), Some("/b"));
    assert_eq!(next_prefix("/\u{d7ff}").as_deref(), Some("/\u{e000}"));
    assert_eq!(next_prefix("\u{10ffff}"), None);
    assert_eq!(next_prefix(""), None);
}
