//! An import over what watches recorded.

use super::*;

/// Records rows of a watch that listened from `from` to `to`, as one run of an agent.
pub(super) fn record(rig: &Rig, rows: &[Change], (from, to): (i64, i64)) {
    let running = rig.start();
    let ahead = |zxid: i64| Micros(time_of(zxid).0 + 2 * HOUR);
    let (source, aspect) = (Source::Watch, Aspect::Data);
    let open = CoverageEntry::Open {
        source,
        path: "/".into(),
        aspect,
        incarnation: 1,
        from_time: ahead(from),
        from_zxid: Zxid(from),
        missed_at_least: 0,
    };
    running.send(Entry::Coverage(open)).unwrap();
    running.send(Entry::Changes(rows.to_vec())).unwrap();
    let close = CoverageEntry::Close {
        source,
        path: None,
        aspect,
        to_time: Some(ahead(to)),
        to_zxid: Some(Zxid(to)),
        ended: Ended::Disconnected,
    };
    running.send(Entry::Coverage(close)).unwrap();
    assert!(running.stop());
}

/// /a lives twice, /b once; the watch of an older server misses values and deletions' places, and a stretch of time.
pub(super) fn story() -> Vec<Change> {
    use ChangeKind::{AclChanged, Created, DataChanged, Deleted};
    let life = |change: Change, czxid: i64, version: i32| Change {
        czxid: Some(Zxid(czxid)),
        version: Some(version),
        ..change
    };
    vec![
        life(truth(10, 0, Created, "/a"), 10, 0),
        life(truth(11, 0, Created, "/b"), 11, 0),
        life(truth(12, 0, DataChanged, "/a"), 10, 1),
        life(truth(13, 0, DataChanged, "/a"), 10, 2),
        Change { aversion: Some(1), ..life(truth(14, 0, AclChanged, "/b"), 11, 0) },
        life(truth(15, 0, Deleted, "/a"), 10, 2),
        life(truth(16, 0, Created, "/c"), 16, 0),
        // From here on nobody listens …
        life(truth(20, 0, Created, "/a"), 20, 0),
        life(truth(21, 0, DataChanged, "/b"), 11, 1),
        life(truth(22, 0, DataChanged, "/b"), 11, 2),
        life(truth(23, 0, Created, "/d"), 23, 0),
        life(truth(24, 0, Deleted, "/d"), 23, 0),
        life(truth(25, 0, Deleted, "/c"), 16, 0),
        // … to here.
        life(truth(30, 0, DataChanged, "/b"), 11, 3),
    ]
}

/// What the two runs of an agent recorded of it.
pub(super) fn record_story(rig: &Rig) {
    let story = story();
    let at = |zxid: i64| story.iter().find(|change| change.position.0 == zxid).unwrap();
    let first = [
        watched(at(10)),
        watched(at(11)),
        unplaced(at(12), 11),
        watched(at(13)),
        unplaced(&Change { czxid: None, version: None, ..at(15).clone() }, 13),
        watched(at(16)),
    ];
    record(rig, &first, (9, 16));
    let found = |change: &Change| Change {
        source: Source::Rescan,
        evidence: Evidence::Inferred,
        observed_at: Micros(time_of(28).0 + 2 * HOUR),
        ..change.clone()
    };
    let second = [
        found(&Change { data: None, data_length: None, data_hash: None, ..watched(at(20)) }),
        Change { missed: 1, ..found(&watched(at(22))) },
        found(&unplaced(at(25), 16)),
        watched(at(30)),
    ];
    record(rig, &second, (28, 30));
}

#[test]
fn twins_are_completed_and_the_rest_is_new() {
    let rig = Rig::new();
    record_story(&rig);
    let before = rows(&rig.view().unwrap());
    assert_eq!(gaps(&rig.view().unwrap()).unwrap().len(), 2);
    let summary = import(&rig, &story(), (9, 30));
    let expected = ImportSummary { new: 4, completed: 10, coverage: 2, parts: 1, days: 1, ..ImportSummary::default() };
    assert_eq!(summary, expected);

    let view = rig.view().unwrap();
    let known_all = |changes: &[Change]| changes.iter().map(known).collect::<Vec<_>>();
    assert_eq!(known_all(&told(&view)), known_all(&story()));
    let after = rows(&view);
    for (seq, (day, change)) in &before {
        let (day_after, after) = &after[seq];
        assert_eq!((day, change.observed_at), (day_after, after.observed_at), "seq {seq}");
    }
    assert!(after.keys().copied().eq(1..=14));
    assert_clean(&view);
    // Nobody has listened since; before, everything is told.
    let left: Vec<_> = gaps(&view).unwrap().into_iter().map(|gap| (gap.from_zxid, gap.to_zxid)).collect();
    assert_eq!(left, [(30, None)]);

    let before = files(&rig);
    let again = import(&rig, &story(), (9, 30));
    assert_eq!(again, ImportSummary { unchanged: 14, ..ImportSummary::default() });
    assert_eq!(files(&rig), before);
}

#[test]
fn piece_by_piece_in_any_order_it_becomes_the_same() {
    for pieces in [[(9, 14), (14, 22), (22, 30)], [(22, 30), (9, 14), (14, 22)], [(14, 22), (22, 30), (9, 22)]] {
        let rig = Rig::new();
        record_story(&rig);
        for piece in pieces {
            import(&rig, &story(), piece);
            assert_clean(&rig.view().unwrap());
        }
        let view = rig.view().unwrap();
        assert_eq!(told(&view).iter().map(known).collect::<Vec<_>>(), story().iter().map(known).collect::<Vec<_>>());
        let left: Vec<_> = gaps(&view).unwrap().into_iter().map(|gap| (gap.from_zxid, gap.to_zxid)).collect();
        assert_eq!(left, [(30, None)], "{pieces:?}");
    }
}

#[test]
fn a_part_of_a_gap_shrinks_it_and_moves_what_lies_behind() {
    let rig = Rig::new();
    record_story(&rig);
    import(&rig, &story(), (9, 22));
    let view = rig.view().unwrap();
    let left = gaps(&view).unwrap();
    let zxids: Vec<_> = left.iter().map(|gap| (gap.from_zxid, gap.to_zxid)).collect();
    assert_eq!(zxids, [(22, Some(28)), (30, None)]);
    // The log's times are brought over to the agent's clock.
    assert_eq!(
        (left[0].from_time.0, left[0].to_time.map(|to| to.0)),
        (time_of(22).0 + 2 * HOUR, Some(time_of(28).0 + 2 * HOUR))
    );
    // The deletion of /c came after all that the log has.
    let last = told(&view).into_iter().find(|change| change.zxid.is_none()).unwrap();
    assert_eq!((&*last.path, last.position), ("/c", Zxid(22)));
    assert_clean(&view);
}

#[test]
fn a_row_that_never_was_is_replaced_and_a_lost_one_is_noticed() {
    let rig = Rig::new();
    let story = story();
    // A deletion of /b that the log does not have, and one row behind it that tells when it would have been.
    let phantom = unplaced(&truth(12, 0, ChangeKind::Deleted, "/b"), 11);
    let watch = [watched(&story[0]), watched(&story[1]), phantom, watched(&story[3])];
    record(&rig, &watch, (9, 13));
    let summary = import(&rig, &story, (9, 13));
    assert_eq!((summary.replaced, summary.completed, summary.new), (1, 3, 1));
    import(&rig, &story, (13, 16));
    let view = rig.view().unwrap();
    assert_eq!(told(&view).iter().map(known).collect::<Vec<_>>(), story[..7].iter().map(known).collect::<Vec<_>>());
    assert!(!rows(&view).contains_key(&3));
    assert_clean(&view);

    let without = |view: &View| {
        let mut view = view.clone();
        let middle = view.changes.parts.iter().filter(|part| part.range.first != 5);
        view.changes.parts = middle.cloned().collect();
        verify(&view, |_| ()).unwrap()
    };
    assert!(!without(&view).is_clean());
}

#[test]
fn what_contradicts_the_record_is_refused_before_anything_is_written() {
    let rig = Rig::new();
    record_story(&rig);
    let before = files(&rig);
    let refused = |changes: &[Change]| {
        let result = import_on(rig.open().unwrap(), settings(), changes, (9, 30));
        let Err(error) = result else { panic!("{result:?}") };
        assert!(matches!(error, ImportError::Contradiction { .. }), "{error}");
        assert!(error.to_string().contains("--incarnation"), "{error}");
        assert_eq!(files(&rig), before);
    };
    let mut other = story();
    other[3].version = Some(7);
    refused(&other);
    let mut other = story();
    other[1].time = Micros(5);
    refused(&other);
    let mut other = story();
    other.remove(3);
    refused(&other);
}

#[test]
fn a_value_that_was_withheld_stays_withheld() {
    let rig = Rig::new();
    let story = story();
    let hidden = Change { data: None, data_length: None, data_hash: None, ..watched(&story[0]) };
    let hashed = Change { data: None, ..watched(&story[1]) };
    record(&rig, &[hidden, hashed], (9, 11));
    import(&rig, &story, (9, 12));
    let told = told(&rig.view().unwrap());
    assert_eq!((told[0].data.clone(), told[0].data_length, told[0].session_id), (None, None, Some(7)));
    assert_eq!((told[1].data.clone(), told[1].data_hash), (None, story[1].data_hash));
    assert!(told[2].data.is_some());
}

/// The tree of a moment: path and version.
fn tree(view: &View, at: At) -> Result<Vec<(String, i32)>, String> {
    use arrow::array::AsArray;
    use arrow::datatypes::Int32Type;
    let named = |name: &str| crate::history::schema::ZNODES.index_of(name).unwrap();
    let columns = vec![named("path"), named("version"), named("uncertain")];
    let options = ReplayOptions { columns, filter: PathFilter::All, batch_rows: 10 };
    let mut tree = Vec::new();
    for batch in replay(view, at, options).map_err(|error| error.to_string())? {
        let batch = batch.map_err(|error| error.to_string())?;
        for row in 0..batch.num_rows() {
            assert!(!batch.column(2).as_boolean().value(row), "uncertain");
            let path = batch.column(0).as_string::<i32>().value(row).to_owned();
            tree.push((path, batch.column(1).as_primitive::<Int32Type>().value(row)));
        }
    }
    Ok(tree)
}

fn znode(path: &str, czxid: i64, version: i32) -> Result<ZnodeRow, std::io::Error> {
    let znode = SnapshotRow {
        path: path.into(),
        czxid: Some(Zxid(czxid)),
        mzxid: Some(Zxid(czxid)),
        pzxid: Some(Zxid(czxid)),
        ctime: Some(time_of(czxid)),
        mtime: Some(time_of(czxid)),
        version: Some(version),
        cversion: Some(0),
        aversion: Some(0),
        ephemeral_owner: 0,
        node_type: Some(NodeType::Persistent),
        num_children: 0,
        acl: Some("[]".into()),
        data_length: Some(1),
    };
    Ok(ZnodeRow { znode, data: Some(Bytes::from_static(b"x")), data_hash: Some(1) })
}

fn import_with_trees(rig: &Rig) -> ImportSummary {
    let mut history = rig.open().unwrap();
    let mut importer = history.import(settings()).unwrap();
    importer.snapshot(Zxid(9), time_of(9), [znode("/", 0, 0)].into_iter()).unwrap();
    for change in story() {
        importer.change(change).unwrap();
    }
    importer.covered((Zxid(9), time_of(9)), (Zxid(30), time_of(30))).unwrap();
    let mut root = znode("/", 0, 0).unwrap();
    (root.znode.num_children, root.znode.cversion, root.znode.pzxid) = (2, Some(8), Some(Zxid(25)));
    let mut b = znode("/b", 11, 3).unwrap();
    (b.znode.mzxid, b.znode.aversion, b.data_hash) = (Some(Zxid(30)), Some(1), story()[13].data_hash);
    let mut a = znode("/a", 20, 0).unwrap();
    a.data_hash = story()[7].data_hash;
    let end = [Ok::<_, std::io::Error>(root), Ok(a), Ok(b)];
    importer.snapshot(Zxid(30), time_of(30), end.into_iter()).unwrap();
    importer.finish().unwrap()
}

#[test]
fn every_moment_of_the_stretch_can_be_shown() {
    for recorded in [false, true] {
        let rig = Rig::new();
        if recorded {
            record_story(&rig);
        }
        let summary = import_with_trees(&rig);
        assert_eq!(summary.snapshots, 2);
        let view = rig.view().unwrap();
        assert_clean(&view);
        let expected: [(i64, &[(&str, i32)]); 9] = [
            (9, &[("/", 0)]),
            (10, &[("/", 0), ("/a", 0)]),
            (12, &[("/", 0), ("/a", 1), ("/b", 0)]),
            (14, &[("/", 0), ("/a", 2), ("/b", 0)]),
            (15, &[("/", 0), ("/b", 0)]),
            (20, &[("/", 0), ("/a", 0), ("/b", 0), ("/c", 0)]),
            (23, &[("/", 0), ("/a", 0), ("/b", 2), ("/c", 0), ("/d", 0)]),
            (25, &[("/", 0), ("/a", 0), ("/b", 2)]),
            (30, &[("/", 0), ("/a", 0), ("/b", 3)]),
        ];
        for (zxid, expected) in expected {
            let expected: Vec<(String, i32)> =
                expected.iter().map(|(path, version)| ((*path).to_owned(), *version)).collect();
            let position = At::Position { incarnation: 1, position: zxid };
            assert_eq!(tree(&view, position).as_ref(), Ok(&expected), "zxid {zxid}, recorded {recorded}");
            assert_eq!(tree(&view, At::Time(time_of(zxid))), Ok(expected), "time of {zxid}, recorded {recorded}");
        }
        assert_eq!(tree(&view, At::Now).map(|tree| tree.len()), Ok(3));
        assert!(tree(&view, At::Position { incarnation: 1, position: 8 }).is_err());

        let before = files(&rig);
        let again = import_with_trees(&rig);
        assert_eq!(again, ImportSummary { unchanged: 14, ..ImportSummary::default() });
        assert_eq!(files(&rig), before);
    }
}

#[test]
fn history_is_cut_only_where_seqs_and_zxids_agree() {
    let cuts = |rig: &Rig| -> Vec<(i64, bool)> {
        let holdings = crate::history::retention::survey(&rig.view().unwrap()).unwrap();
        holdings.snapshots.iter().map(|snapshot| (snapshot.position, snapshot.is_cut)).collect()
    };
    let fresh = Rig::new();
    import_with_trees(&fresh);
    assert_eq!(cuts(&fresh), [(9, true), (30, true)]);
    let recorded = Rig::new();
    record_story(&recorded);
    import_with_trees(&recorded);
    // The rows of watches up to its seq are later than the first tree.
    assert_eq!(cuts(&recorded), [(9, false), (30, true)]);
}

#[test]
fn a_tree_of_another_ensemble_is_refused() {
    let rig = Rig::new();
    import_with_trees(&rig);
    let before = files(&rig);
    let mut history = rig.open().unwrap();
    let mut importer = history.import(settings()).unwrap();
    let other = [znode("/", 0, 0), znode("/a", 19, 0)];
    let error = importer.snapshot(Zxid(29), time_of(29), other.into_iter()).unwrap_err();
    assert!(matches!(error, ImportError::Contradiction { .. }), "{error}");
    drop(importer);
    assert_eq!(files(&rig), before);
}

#[test]
fn what_watches_recorded_in_a_hole_of_the_logs_stays() {
    for pauses in [false, true] {
        let rig = Rig::new();
        let story: Vec<Change> = story().into_iter().filter(|change| change.kind != ChangeKind::AclChanged).collect();
        let heard: Vec<Change> = story.iter().map(watched).collect();
        record(&rig, &heard, (9, 30));
        let mut history = rig.open().unwrap();
        let mut importer = history.import(settings()).unwrap();
        let give = |importer: &mut Importer<'_>, from: i64, to: i64| {
            let inside = story.iter().filter(|change| (from + 1..=to).contains(&change.position.0));
            inside.cloned().for_each(|change| importer.change(change).unwrap());
            importer.covered((Zxid(from), time_of(from)), (Zxid(to), time_of(to))).unwrap();
        };
        give(&mut importer, 9, 13);
        importer.lose().unwrap();
        if pauses {
            let paused = importer.pause().unwrap();
            importer = history.resume_import(paused).unwrap();
        }
        give(&mut importer, 22, 30);
        importer.finish().unwrap();
        drop(history);
        let view = rig.view().unwrap();
        assert_clean(&view);
        let told = told(&view);
        assert_eq!(told.len(), story.len());
        for change in told {
            let in_hole = (14..=22).contains(&change.position.0);
            assert_eq!(change.source, if in_hole { Source::Watch } else { Source::Txnlog }, "{change:?}");
        }
    }
}

#[test]
fn what_watches_tell_late_is_not_doubled() {
    let rig = Rig::new();
    let story = story();
    let (before, after): (Vec<Change>, Vec<Change>) = story.iter().cloned().partition(|change| change.position.0 <= 16);
    let mut history = rig.open().unwrap();
    let mut importer = history.import(settings()).unwrap();
    before.iter().for_each(|change| importer.change(change.clone()).unwrap());
    importer.covered((Zxid(9), time_of(9)), (Zxid(16), time_of(16))).unwrap();
    let paused = importer.pause().unwrap();
    drop(history);
    // /b could not be read when /c was made, and neither could /c: a read that is allowed again shows both.
    let late = Change { source: Source::Rescan, evidence: Evidence::Inferred, ..watched(&before[6]) };
    let heard = after.iter().filter(|change| change.kind != ChangeKind::AclChanged).map(watched);
    record(&rig, &std::iter::once(late).chain(heard).collect::<Vec<_>>(), (16, 30));
    let mut history = rig.open().unwrap();
    let mut importer = history.resume_import(paused).unwrap();
    after.iter().for_each(|change| importer.change(change.clone()).unwrap());
    importer.covered((Zxid(16), time_of(16)), (Zxid(30), time_of(30))).unwrap();
    let summary = importer.finish().unwrap();
    assert_eq!(summary.replaced, 1);
    drop(history);
    let view = rig.view().unwrap();
    assert_clean(&view);
    assert_eq!(told(&view).iter().map(known).collect::<Vec<_>>(), story.iter().map(known).collect::<Vec<_>>());
}
