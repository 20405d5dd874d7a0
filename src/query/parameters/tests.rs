use datafusion::sql::parser::DFParser;

use super::*;

const NOW: Micros = Micros(1_795_177_800_000_000);

fn bound(sql: &str, given: &[(&str, Value)]) -> Result<String, String> {
    let given = given.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let mut statement = DFParser::parse_sql(sql).unwrap().pop_front().unwrap();
    bind(&mut statement, sql, &given, NOW).map_err(|error| error.to_string())?;
    Ok(statement.to_string())
}

const DECLARED: &str = "-- What happened?
--
-- $since  from  2h        from here on
-- $until  to    now       up to here
-- $path   path  required  the znode
-- $limit  int   5
-- $only   bool  false     nothing else
-- $mark   text  ''        a mark
-- $9 is what it costs; that is no declaration
SELECT $since, $since_zxid, $until, $until_zxid, $path, $only, $mark LIMIT $limit";

#[test]
fn declarations_are_read_from_the_head() {
    let declared = declarations(DECLARED);
    let names: Vec<&str> = declared.iter().map(|declared| declared.name.as_str()).collect();
    assert_eq!(names, ["since", "until", "path", "limit", "only", "mark"]);
    assert_eq!(declared[0].meaning, "from here on");
    assert_eq!((declared[2].default.as_deref(), declared[3].default.as_deref()), (None, Some("5")));
    assert_eq!((declared[3].meaning.as_str(), declared[5].default.as_deref()), ("", Some("")));
    assert!(declarations("SELECT 1\n-- $since from 2h late").is_empty());
}

#[test]
fn defaults_and_values_become_literals() {
    let time = |time: &str| format!("arrow_cast('{time}', 'Timestamp(Microsecond, Some(\"UTC\"))')");
    assert_eq!(
        bound(DECLARED, &[("path", "/a/".into())]).unwrap(),
        format!(
            "SELECT {}, 0, {}, 9223372036854775807, '/a', false, '' LIMIT 5",
            time("2026-11-20T10:30:00.000000Z"),
            time("2026-11-20T12:30:00.000000Z"),
        )
    );
    let given = [
        ("path", "/".into()),
        ("since", "0x2a".into()),
        ("until", "0x2b".into()),
        ("limit", Value::Integer(7)),
        ("only", Value::Bool(true)),
        ("mark", "it's; -- DROP".into()),
    ];
    assert_eq!(
        bound(DECLARED, &given).unwrap(),
        format!(
            "SELECT {}, 42, {}, 43, '/', true, 'it''s; -- DROP' LIMIT 7",
            time("1970-01-01T00:00:00.000000Z"),
            time("2262-01-01T00:00:00.000000Z"),
        )
    );
}

#[test]
fn what_is_not_declared_comes_as_it_is() {
    let given = [("a", Value::Integer(-5)), ("b", Value::Number(1.5)), ("c", Value::Null), ("d", "x".into())];
    assert_eq!(bound("SELECT $a, $b, $c FROM f($d)", &given).unwrap(), "SELECT -5, 1.5, NULL FROM f('x')");
    assert_eq!(bound("EXPLAIN SELECT $d", &given[3..]).unwrap(), "EXPLAIN SELECT 'x'");
    assert_eq!(bound("SELECT $1", &[("1", Value::Bool(true))]).unwrap(), "SELECT true");
}

#[test]
fn errors_name_the_parameter() {
    for (sql, given, words) in [
        (DECLARED, &[][..], &["path is required: the znode"][..]),
        (DECLARED, &[("path", "a".into())], &["path: 'a' is no path"]),
        (DECLARED, &[("path", "/".into()), ("since", "soon".into())], &["since: 'soon' is no moment"]),
        (DECLARED, &[("path", "/".into()), ("limit", "-1".into())], &["limit: '-1' is no whole number"]),
        (DECLARED, &[("path", "/".into()), ("only", "yes".into())], &["only: 'yes' is neither true nor false"]),
        (DECLARED, &[("path", "/".into()), ("since", Value::Null)], &["since: null is no value", "leave it out"]),
        (DECLARED, &[("path", "/".into()), ("since_zxid", Value::Integer(5))], &["since_zxid follows from another"]),
        (DECLARED, &[("path", "/".into()), ("sinc", "2h".into())], &["no parameter sinc", "mean since?"]),
        (DECLARED, &[("path", "/".into()), ("colour", "2h".into())], &["no parameter colour", "has limit, mark"]),
        ("SELECT 1", &[("a", Value::Null)], &["no parameter a: this statement has none"]),
        ("SELECT $user", &[("usr", Value::Null)], &["$user has no value (there is one for usr)"]),
        ("SELECT ?", &[], &["write $name"]),
        ("SELECT $n", &[("n", Value::Number(f64::NAN))], &["n is no finite number"]),
    ] {
        let error = bound(sql, given).unwrap_err();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }
}

#[test]
fn json_tells_the_types() {
    let read: Parameters = serde_json::from_str(r#"{"a": "x", "b": 7, "c": 1.5, "d": true, "e": null}"#).unwrap();
    let values: Vec<&Value> = read.values().collect();
    let expected = [&"x".into(), &Value::Integer(7), &Value::Number(1.5), &Value::Bool(true), &Value::Null];
    assert_eq!(values, expected);
    assert!(serde_json::from_str::<Parameters>(r#"{"a": [1]}"#).is_err());
}
