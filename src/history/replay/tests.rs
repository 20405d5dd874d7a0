use std::path::Path;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use proptest::prelude::*;

use super::model::{Model, PATHS, rows_of};
use super::testing::{TestRow, changes, changes_part, view};
use super::*;
use crate::history::schema;
use crate::zk::ChangeKind;

fn all(view: &View, at: At, filter: PathFilter, batch_rows: usize) -> RecordBatch {
    let columns: Vec<usize> = (0..schema::ZNODES.fields().len()).collect();
    let replay = replay(view, at, ReplayOptions { columns, filter, batch_rows }).expect("located");
    let schema = replay.schema();
    let batches: Vec<RecordBatch> = replay.collect::<Result<_, _>>().expect("replayed");
    assert!(batches.iter().all(|batch| batch.num_rows() > 0 && batch.num_rows() <= batch_rows));
    arrow::compute::concat_batches(&schema, &batches).expect("one batch")
}

/// All columns but `uncertain`.
fn certain(batch: &RecordBatch) -> RecordBatch {
    batch.project(&(0..16).collect::<Vec<_>>()).expect("there are as many")
}

/// The model without what a replay rightly does not know: cversion and pzxid of a znode whose life began at an unknown
/// place, where it is not told whether what happened to its children happened before that.
fn as_far_as_known(model: &RecordBatch, replayed: &RecordBatch) -> RecordBatch {
    let place = |name: &str| model.schema().index_of(name).expect("a column");
    let (czxid, cversion) = (place("czxid"), place("cversion"));
    if model.num_rows() != replayed.num_rows() {
        return model.clone();
    }
    let open: arrow::array::BooleanArray = (0..model.num_rows())
        .map(|at| Some(model.column(czxid).is_null(at) && replayed.column(cversion).is_null(at)))
        .collect();
    let mut columns = model.columns().to_vec();
    for place in [cversion, place("pzxid")] {
        columns[place] = arrow::compute::nullif(&columns[place], &open).expect("of one length");
    }
    RecordBatch::try_new(model.schema(), columns).expect("the same columns")
}

/// The same rows as head only, parts only, and mixed; parts with few rows a group.
fn views(dir: &Path, rows: &[TestRow], snapshots: &[Arc<crate::history::part::Part>]) -> Vec<View> {
    let head = |rows: &[TestRow]| rows.chunks(3).map(changes).collect::<Vec<_>>();
    let parts = |name: &str, rows: &[TestRow], chunk: usize| {
        let dir = dir.join(name);
        std::fs::create_dir_all(&dir).expect("a folder");
        rows.chunks(chunk).map(|rows| changes_part(&dir, rows, 4)).collect::<Vec<_>>()
    };
    let (older, newer) = rows.split_at(rows.len() / 2);
    vec![
        view(Vec::new(), head(rows), snapshots.to_vec()),
        view(parts("parts", rows, 7), Vec::new(), snapshots.to_vec()),
        view(parts("one", rows, rows.len().max(1)), Vec::new(), snapshots.to_vec()),
        view(parts("mixed", older, 5), head(newer), snapshots.to_vec()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// Replay from any snapshot, over head and parts alike, gives what applying the rows one by one gives.
    #[test]
    fn replays_as_the_naive_model(
        ops in prop::collection::vec((any::<u8>(), any::<u8>(), any::<u8>()), 0..80),
        cut in 0.0..1.0f64,
        moment in 0.0..1.0f64,
        prefix in 0..PATHS.len(),
    ) {
        let dir = tempfile::tempdir().expect("a folder");
        let rows = rows_of(&ops);
        let taken = (rows.len() as f64 * cut) as usize;
        let position_of = |rows: &[TestRow]| rows.iter().map(|row| row.position).max().unwrap_or(100);
        let first = Model::root().snapshot(dir.path(), (0, 0, 100, 0), 3);
        let at = (0, taken as i64, position_of(&rows[..taken]), 1);
        let mut snapshots = vec![first];
        if taken > 0 {
            snapshots.push(Model::of(&rows[..taken]).snapshot(dir.path(), at, 3));
        }

        let asked = 100 + ((position_of(&rows) - 99) as f64 * moment) as i64;
        let until = Key::after(asked);
        let then: Vec<TestRow> = rows.iter().filter(|row| row.key() < until).cloned().collect();
        let (now, then) = (Model::of(&rows).batch(), Model::of(&then).batch());
        let at = At::Position { incarnation: 0, position: asked };
        for view in views(dir.path(), &rows, &snapshots) {
            let replayed = all(&view, At::Now, PathFilter::All, 5);
            let now = as_far_as_known(&now, &replayed);
            prop_assert_eq!(&replayed, &now);
            let replayed = all(&view, at, PathFilter::All, 1_000);
            prop_assert_eq!(&certain(&replayed), &certain(&as_far_as_known(&then, &replayed)));

            // Pruning never changes a result.
            let wanted = PATHS[prefix];
            for filter in [PathFilter::Exact(vec![wanted.into(), "/".into()]), PathFilter::Prefix(wanted.into())] {
                let keep = |path: &str| match &filter {
                    PathFilter::Exact(paths) => paths.iter().any(|exact| exact == path),
                    PathFilter::Prefix(prefix) => path.starts_with(prefix),
                    PathFilter::All => true,
                };
                let paths = now.column(0).as_any().downcast_ref::<arrow::array::StringArray>().expect("text");
                let mask: arrow::array::BooleanArray = paths.iter().map(|path| path.map(keep)).collect();
                let expected = arrow::compute::filter_record_batch(&now, &mask).expect("filtered");
                prop_assert_eq!(&all(&view, At::Now, filter.clone(), 3), &expected);
            }
        }
    }
}

/// What a rescan finds that compares the tree before a gap with the one after it.
fn rescanned(before: &Model, after: &Model, (from, to): (i64, i64), first_seq: i64) -> Vec<TestRow> {
    let mut found = Vec::new();
    let mut push = |row: TestRow| {
        let seq = first_seq + found.len() as i64;
        found.push(TestRow { seq, source: "rescan", observed_at: to * 1_000_000, ..row });
    };
    let unplaced = |kind, path: &str, czxid| TestRow {
        zxid: None,
        czxid,
        server_timed: false,
        time: to * 1_000_000,
        ..TestRow::new(0, from, kind, path)
    };
    let paths: std::collections::BTreeSet<&String> = before.0.keys().chain(after.0.keys()).collect();
    for path in paths {
        let (old, new) = (before.0.get(path), after.0.get(path));
        let same_life = matches!((old, new), (Some(old), Some(new)) if old.czxid == new.czxid);
        if let Some(old) = old.filter(|_| !same_life) {
            push(unplaced(ChangeKind::Deleted, path, old.czxid));
        }
        let Some(new) = new else { continue };
        if !same_life {
            push(created(0, new.czxid.expect("known"), path));
        }
        let (version, aversion) =
            old.filter(|_| same_life).map_or((Some(0), Some(0)), |old| (old.version, old.aversion));
        let sets = new.version.expect("known") - version.expect("known");
        if sets > 0 {
            let (zxid, czxid) = (new.mzxid.expect("known"), new.czxid.expect("known"));
            let row = changed(0, zxid, path, czxid, new.version.expect("known"));
            push(TestRow { missed: i64::from(sets) - 1, ..row });
        }
        if new.aversion != aversion {
            let row = unplaced(ChangeKind::AclChanged, path, new.czxid);
            push(TestRow { aversion: new.aversion, position: from.max(new.czxid.expect("known")), ..row });
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever a gap hides: at every zxid what is not marked as uncertain is what really was.
    #[test]
    fn what_is_certain_is_true(
        ops in prop::collection::vec((any::<u8>(), any::<u8>(), any::<u8>()), 2..40),
        gap in (0.0..1.0f64, 0.0..1.0f64),
    ) {
        let dir = tempfile::tempdir().expect("a folder");
        // Every change alone in its transaction, at a known zxid.
        let ops: Vec<_> = ops.into_iter().map(|(op, path, flags)| (op, path, flags & !(1 | 24))).collect();
        let real = rows_of(&ops);
        let cut = |share: f64| (real.len() as f64 * share) as usize;
        let (from, to) = (cut(gap.0.min(gap.1)), cut(gap.0.max(gap.1)));
        let end = |rows: &[TestRow]| rows.last().map_or(100, |row| row.position);
        let (last_heard, read_at, last) = (end(&real[..from]), end(&real[..to]), end(&real));
        let models = (Model::of(&real[..from]), Model::of(&real[..to]));
        let mut rows = real[..from].to_vec();
        rows.extend(rescanned(&models.0, &models.1, (last_heard, read_at), from as i64 + 1));
        let heard_again = rows.len() as i64 + 1;
        rows.extend(real[to..].iter().enumerate().map(|(at, row)| TestRow { seq: heard_again + at as i64, ..row.clone() }));

        let first = Model::root().snapshot(dir.path(), (0, 0, 100, 0), 3);
        let intervals = [interval(1, (100, last_heard), None), interval(2, (read_at, last), None)];
        for view in views(dir.path(), &rows, &[first]).into_iter().step_by(2) {
            let view = testing::with_coverage(view, &intervals, &[]);
            for position in 100..=last {
                let at = At::Position { incarnation: 0, position };
                let then: Vec<TestRow> = real.iter().filter(|row| row.position <= position).cloned().collect();
                let truth = Model::of(&then);
                let uncertain =
                    locate::uncertain(&view, &locate(&view, &at).expect("located"), &PathFilter::All).expect("read");
                let columns = ["path", "czxid", "version", "aversion"];
                let columns = columns.map(|name| schema::ZNODES.index_of(name).expect("a column")).to_vec();
                let options = ReplayOptions { columns, filter: PathFilter::All, batch_rows: 100 };
                let mut shown = std::collections::BTreeMap::new();
                for batch in replay(&view, at, options).expect("located") {
                    let batch = batch.expect("read");
                    let place = Path::new("");
                    let paths = rows::column::<arrow::array::StringArray>(&batch, "path", place).expect("path");
                    let czxid = rows::column::<arrow::array::Int64Array>(&batch, "czxid", place).expect("czxid");
                    let int32 = |name| rows::column::<arrow::array::Int32Array>(&batch, name, place).expect("a column");
                    let (version, aversion) = (int32("version"), int32("aversion"));
                    for at in 0..batch.num_rows() {
                        let znode = (rows::value(&czxid, at), rows::value(&version, at), rows::value(&aversion, at));
                        shown.insert(paths.value(at).to_owned(), znode);
                    }
                }
                for path in PATHS.into_iter().filter(|path| !uncertain.contains(*path)) {
                    let was = truth.0.get(path).map(|znode| (znode.czxid, znode.version, znode.aversion));
                    // What came and went within the gap left nothing to mark.
                    let unseen = !models.0.0.contains_key(path) && !models.1.0.contains_key(path);
                    if !(unseen && last_heard < position && position < read_at) {
                        prop_assert_eq!(shown.get(path).copied(), was, "{} at {}", path, position);
                    }
                }
                if position <= last_heard || position >= read_at {
                    prop_assert!(uncertain.is_empty(), "{:?} at {}", uncertain, position);
                }
            }
        }
    }
}

fn znodes(view: &View, at: At) -> Vec<(String, Option<i32>, bool)> {
    let batch = all(view, at, PathFilter::All, 100);
    let paths = rows::column::<arrow::array::StringArray>(&batch, "path", Path::new("")).expect("path");
    let versions = rows::column::<arrow::array::Int32Array>(&batch, "version", Path::new("")).expect("version");
    let uncertain = rows::column::<arrow::array::BooleanArray>(&batch, "uncertain", Path::new("")).expect("uncertain");
    (0..batch.num_rows())
        .map(|at| (paths.value(at).to_owned(), rows::value(&versions, at), uncertain.value(at)))
        .collect()
}

fn created(seq: i64, zxid: i64, path: &str) -> TestRow {
    TestRow { czxid: Some(zxid), version: Some(0), ..TestRow::new(seq, zxid, ChangeKind::Created, path) }
}

fn changed(seq: i64, zxid: i64, path: &str, czxid: i64, version: i32) -> TestRow {
    TestRow { czxid: Some(czxid), version: Some(version), ..TestRow::new(seq, zxid, ChangeKind::DataChanged, path) }
}

#[test]
fn before_the_oldest_snapshot_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let first = Model::root().snapshot(dir.path(), (0, 0, 100, 1_000_000), 3);
    let view = view(Vec::new(), vec![changes(&[created(1, 110, "/a")])], vec![first]);
    let error = locate(&view, &At::Position { incarnation: 0, position: 99 }).expect_err("too early");
    assert!(error.to_string().contains("before the oldest snapshot"), "{error}");
    assert!(error.to_string().contains("0x64"), "{error}");
    // The row says that the agent's clock is 1 s ahead: 0 on the server's is 1 s on the agent's.
    assert!(locate(&view, &At::Time(Micros(0))).is_ok());
    let error = locate(&view, &At::Time(Micros(-1))).expect_err("too early");
    assert!(matches!(error, ReplayError::BeforeOldest { .. }), "{error}");
    let error = locate(&view, &At::Position { incarnation: 7, position: 200 }).expect_err("unknown");
    assert!(matches!(error, ReplayError::NoIncarnation { incarnation: 7, .. }), "{error}");
    let empty = testing::view(Vec::new(), Vec::new(), Vec::new());
    assert!(matches!(locate(&empty, &At::Now), Err(ReplayError::Empty { .. })));
}

#[test]
fn a_row_without_a_zxid_follows_its_position() {
    let dir = tempfile::tempdir().expect("a folder");
    let first = Model::root().snapshot(dir.path(), (0, 0, 100, 0), 3);
    let gone = TestRow {
        zxid: None,
        czxid: Some(110),
        server_timed: false,
        ..TestRow::new(2, 110, ChangeKind::Deleted, "/a")
    };
    let rows = [created(1, 110, "/a"), gone, created(3, 120, "/b")];
    for view in views(dir.path(), &rows, &[first]) {
        let at = |position| At::Position { incarnation: 0, position };
        let paths = |at| znodes(&view, at).into_iter().map(|(path, _, _)| path).collect::<Vec<_>>();
        assert_eq!(paths(at(110)), ["/", "/a"]);
        // Between 110 and 120 its place is not known: it is gone, but not surely.
        assert_eq!(paths(at(115)), ["/"]);
        let located = locate(&view, &at(115)).expect("located");
        assert!(locate::uncertain(&view, &located, &PathFilter::All).expect("read").contains("/a"));
        assert_eq!(paths(at(120)), ["/", "/b"]);
        let located = locate(&view, &at(120)).expect("located");
        assert!(locate::uncertain(&view, &located, &PathFilter::All).expect("read").is_empty());
    }
}

#[test]
fn a_gaps_rows_are_uncertain_until_coverage_begins_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let first = Model::root().snapshot(dir.path(), (0, 0, 100, 0), 3);
    let gone = TestRow {
        zxid: None,
        czxid: Some(110),
        server_timed: false,
        source: "rescan",
        observed_at: 160_000_000,
        ..TestRow::new(4, 120, ChangeKind::Deleted, "/a")
    };
    let found = TestRow { source: "rescan", observed_at: 160_000_000, ..created(3, 130, "/c") };
    let rows = [created(1, 110, "/a"), created(2, 120, "/b"), found, gone, created(5, 170, "/d")];
    let intervals = [interval(1, (0, 120), Some("disconnected")), interval(2, (150, 170), Some("stopped"))];
    let view = testing::with_coverage(views(dir.path(), &rows, &[first])[1].clone(), &intervals, &[]);
    let uncertain = |at| {
        let mut paths: Vec<Box<str>> =
            locate::uncertain(&view, &locate(&view, &at).expect("located"), &PathFilter::All)
                .expect("read")
                .into_iter()
                .collect();
        paths.sort();
        paths
    };
    let at = |position| At::Position { incarnation: 0, position };
    assert!(uncertain(at(120)).is_empty());
    assert_eq!(uncertain(at(130)), ["/a".into()]);
    assert_eq!(uncertain(at(149)), ["/a".into()]);
    assert!(uncertain(at(150)).is_empty());
    assert_eq!(znodes(&view, at(130)).iter().map(|(path, _, _)| path.as_str()).collect::<Vec<_>>(), ["/", "/b", "/c"]);
    // By time: the rescan at 160 s of the agent's clock is at 159 s of the server's.
    assert_eq!(uncertain(At::Time(Micros(140_000_000))), ["/a".into()]);
    assert!(uncertain(At::Time(Micros(159_000_000))).is_empty());
}

/// A crash: heard up to zxid 188, read again by 261. /app was at version 110 at 187 and is found at 165, set at 260.
fn crashed(dir: &Path) -> Vec<View> {
    let first = Model::root().snapshot(dir, (0, 0, 100, 0), 3);
    let found = |row: TestRow| TestRow { source: "rescan", observed_at: 260_500_000, ..row };
    let gone = TestRow { zxid: None, czxid: Some(103), ..TestRow::new(11, 188, ChangeKind::Deleted, "/gone") };
    let rows = [
        created(1, 101, "/app"),
        created(2, 102, "/late"),
        created(3, 103, "/gone"),
        created(4, 104, "/same"),
        created(5, 105, "/then"),
        created(6, 106, "/watched"),
        changed(7, 187, "/app", 101, 110),
        changed(8, 188, "/same", 104, 1),
        found(TestRow { missed: 54, ..changed(9, 260, "/app", 101, 165) }),
        found(created(10, 230, "/new")),
        found(TestRow { server_timed: false, time: 260_500_000, ..gone }),
        // Heard after the gap: of one of them sets are missing before it.
        changed(12, 268, "/then", 105, 1),
        TestRow { missed: 2, ..changed(13, 280, "/then", 105, 4) },
        changed(14, 290, "/watched", 106, 1),
        // Found after another gap.
        TestRow { source: "rescan", observed_at: 390_000_000, missed: 1, ..changed(15, 380, "/late", 102, 2) },
        changed(16, 410, "/watched", 106, 2),
    ];
    let intervals =
        [interval(1, (100, 188), None), interval(2, (261, 350), Some("stopped")), interval(3, (391, 411), None)];
    views(dir, &rows, &[first]).into_iter().map(|view| testing::with_coverage(view, &intervals, &[])).collect()
}

#[test]
fn what_a_gap_hides_is_uncertain_inside_it() {
    let dir = tempfile::tempdir().expect("a folder");
    for view in crashed(dir.path()) {
        let uncertain = |at| {
            let znodes = znodes(&view, at).into_iter().filter(|(_, _, uncertain)| *uncertain);
            znodes.map(|(path, version, _)| (path, version.unwrap_or(-1))).collect::<Vec<_>>()
        };
        let at = |position| At::Position { incarnation: 0, position };
        let app = |version| ("/app".to_owned(), version);
        assert_eq!(uncertain(at(187)), [], "heard");
        assert_eq!(uncertain(at(188)), [], "so far it was heard");
        assert_eq!(uncertain(at(189)), [app(110)]);
        assert_eq!(uncertain(at(203)), [app(110)]);
        assert_eq!(uncertain(at(259)), [app(110)]);
        assert_eq!(uncertain(at(260)), [], "this is what was found");
        // Outside of gaps what is marked as missed is uncertain until its row; a row before it settles what was.
        assert_eq!(uncertain(at(265)), []);
        assert_eq!(uncertain(at(270)), [("/then".to_owned(), 1)]);
        assert_eq!(uncertain(at(280)), []);
        assert_eq!(uncertain(at(350)), []);
        assert_eq!(uncertain(at(360)), [("/late".to_owned(), 0)]);
        assert_eq!(uncertain(at(400)), []);
        // The agent's clock is a second ahead.
        assert_eq!(uncertain(At::Time(Micros(150_000_000))), []);
        assert_eq!(uncertain(At::Time(Micros(203_000_000))), [app(110)]);
        assert_eq!(uncertain(At::Time(Micros(262_000_000))), []);
        assert_eq!(uncertain(At::Time(Micros(370_000_000))), [("/late".to_owned(), 0)]);

        // Only the paths asked for are looked at.
        let one = all(&view, at(203), PathFilter::Exact(vec!["/app".into()]), 10);
        let flags = rows::column::<arrow::array::BooleanArray>(&one, "uncertain", Path::new("")).expect("uncertain");
        assert!(one.num_rows() == 1 && flags.value(0));

        let told = |a, b| -> Vec<(String, &'static str, bool)> {
            let diffs = tree_diff(&view, at(a), at(b), &PathFilter::All).expect("located");
            diffs.map(|diff| diff.map(|diff| (diff.path, diff.kind.as_str(), diff.uncertain)).expect("read")).collect()
        };
        assert_eq!(
            told(203, 264),
            [("/app".into(), "changed", true), ("/new".into(), "created", true)],
            "the deletion of /gone has no zxid: it follows the last heard"
        );
        assert_eq!(
            told(188, 264),
            [("/app".into(), "changed", false), ("/gone".into(), "deleted", false), ("/new".into(), "created", false)]
        );
        assert_eq!(told(188, 203), [("/gone".into(), "deleted", true)]);
    }
}

#[test]
fn beyond_the_last_record_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().expect("a folder");
    for view in crashed(dir.path()) {
        let at = |position| locate(&view, &At::Position { incarnation: 0, position });
        assert!(at(411).is_ok(), "coverage reaches it");
        let error = at(412).expect_err("too late");
        assert!(matches!(error, ReplayError::AfterLast { .. }));
        assert!(error.to_string().contains("zxid 0x19c") && error.to_string().contains("zxid 0x19b"), "{error}");
        // The last interval ended at 411 s of the agent's clock, 410 s of the server's.
        assert!(locate(&view, &At::Time(Micros(414_000_000))).is_ok());
        let error = locate(&view, &At::Time(Micros(416_000_000))).expect_err("too late");
        assert!(error.to_string().contains("1970-01-01T00:06:50"), "{error}");
        assert!(locate(&view, &At::Now).is_ok());

        // While recording goes on, the next word may take a while.
        let open = testing::with_coverage(
            view.clone(),
            &[],
            &[crate::history::gaps::Interval { open: true, ..interval(-1, (391, 411), None) }],
        );
        assert!(locate(&open, &At::Time(Micros(440_000_000))).is_ok());
        assert!(locate(&open, &At::Time(Micros(500_000_000))).is_err());

        let bare = testing::with_coverage(view, &[], &[]);
        assert!(locate(&bare, &At::Position { incarnation: 0, position: 410 }).is_ok());
        assert!(locate(&bare, &At::Position { incarnation: 0, position: 411 }).is_err());
        assert!(locate(&bare, &At::Time(Micros(410_000_000))).is_ok());
        assert!(locate(&bare, &At::Time(Micros(420_000_000))).is_err());
    }
}

fn interval(seq: i64, (from, to): (i64, i64), ended: Option<&str>) -> crate::history::gaps::Interval {
    crate::history::gaps::Interval {
        incarnation: 0,
        source: "watch".into(),
        path: "/".into(),
        aspect: "data".into(),
        from_time: from * 1_000_000,
        to_time: to * 1_000_000,
        from_zxid: from,
        to_zxid: to,
        ended: ended.map(str::to_owned),
        missed_at_least: 0,
        seq,
        open: false,
    }
}

#[test]
fn an_import_never_takes_a_znode_back() {
    let dir = tempfile::tempdir().expect("a folder");
    let rows = [created(1, 110, "/a"), changed(2, 120, "/a", 110, 1)];
    let taken = Model::of(&rows).snapshot(dir.path(), (0, 2, 120, 0), 3);
    let import = |row: TestRow| TestRow { source: "txnlog", ..row };
    let late = [
        import(created(3, 90, "/gone")),
        import(changed(4, 115, "/a", 110, 9)),
        changed(5, 118, "/a", 110, 8),
        TestRow { czxid: Some(70), ..TestRow::new(6, 119, ChangeKind::Deleted, "/a") },
    ];
    let view = view(Vec::new(), vec![changes(&rows), changes(&late)], vec![taken]);
    let found: Vec<_> = znodes(&view, At::Now).into_iter().map(|(path, version, _)| (path, version)).collect();
    assert_eq!(found, [("/".to_owned(), Some(0)), ("/a".to_owned(), Some(1))]);
}

#[test]
fn incarnations_never_mix() {
    let dir = tempfile::tempdir().expect("a folder");
    let old = Model::root().snapshot(dir.path(), (0, 0, 100, 0), 3);
    let new = Model::root().snapshot(dir.path(), (1, 2, 5, 500_000_000), 3);
    let anew = |row: TestRow| TestRow { incarnation: 1, time: 600_000_000, observed_at: 600_000_000, ..row };
    let rows = [created(1, 110, "/a"), created(2, 120, "/b"), anew(created(3, 6, "/a")), anew(created(4, 7, "/c"))];
    for view in views(dir.path(), &rows, &[old, new]) {
        let paths = |at| znodes(&view, at).into_iter().map(|(path, _, _)| path).collect::<Vec<_>>();
        assert_eq!(paths(At::Now), ["/", "/a", "/c"]);
        assert_eq!(paths(At::Position { incarnation: 0, position: 120 }), ["/", "/a", "/b"]);
        assert_eq!(paths(At::Position { incarnation: 1, position: 6 }), ["/", "/a"]);
        assert_eq!(paths(At::Time(Micros(115_000_000))), ["/", "/a"]);
        assert_eq!(paths(At::Time(Micros(400_000_000))), ["/", "/a", "/b"]);
        assert_eq!(paths(At::Time(Micros(550_000_000))), ["/"]);
        assert_eq!(paths(At::Time(Micros(600_000_000))), ["/", "/a", "/c"]);
    }
}

#[test]
fn trees_differ_by_path() {
    let dir = tempfile::tempdir().expect("a folder");
    let first = Model::root().snapshot(dir.path(), (0, 0, 100, 0), 3);
    let rows = [
        created(1, 110, "/a"),
        created(2, 120, "/b"),
        created(3, 130, "/same"),
        changed(4, 140, "/a", 110, 1),
        TestRow { czxid: Some(120), ..TestRow::new(5, 150, ChangeKind::Deleted, "/b") },
        created(6, 160, "/c"),
    ];
    let view = view(Vec::new(), vec![changes(&rows)], vec![first]);
    let a = At::Position { incarnation: 0, position: 130 };
    let diffs: Vec<Diff> =
        tree_diff(&view, a, At::Now, &PathFilter::All).expect("located").collect::<Result<_, _>>().expect("read");
    let told: Vec<_> = diffs.iter().map(|diff| (diff.path.as_str(), diff.kind.as_str())).collect();
    assert_eq!(told, [("/a", "changed"), ("/b", "deleted"), ("/c", "created")]);
    assert_eq!(diffs[0].a.as_ref().map(|side| side.version), Some(Some(0)));
    assert_eq!(diffs[0].b.as_ref().map(|side| side.version), Some(Some(1)));
}

#[test]
fn only_children_of_the_present_life_count() {
    let dir = tempfile::tempdir().expect("a folder");
    let first = Model::root().snapshot(dir.path(), (0, 0, 100, 0), 3);
    let gone = |seq, zxid, path: &str, czxid| TestRow {
        czxid: Some(czxid),
        ..TestRow::new(seq, zxid, ChangeKind::Deleted, path)
    };
    // A path that sorts between the parent and its children must not end the parent's life.
    let rows = [
        created(1, 110, "/a"),
        created(2, 111, "/a/x"),
        created(3, 112, "/a-b"),
        gone(4, 113, "/a/x", 111),
        gone(5, 114, "/a", 110),
        created(6, 115, "/a"),
        created(7, 116, "/a/x"),
        created(8, 117, "/a/y"),
    ];
    let expected = Model::of(&rows);
    assert_eq!(expected.0["/a"].cversion, Some(2));
    for view in views(dir.path(), &rows, &[first]) {
        assert_eq!(all(&view, At::Now, PathFilter::All, 100), expected.batch());
        let parent = PathFilter::Exact(vec!["/a".into()]);
        assert_eq!(all(&view, At::Now, parent, 100).num_rows(), 1);
    }
}
