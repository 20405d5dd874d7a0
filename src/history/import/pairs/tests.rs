use super::super::tests::truth;
use super::*;

fn on_record(change: &Change, seq: i64) -> Recorded {
    Recorded {
        day: Day(20_000),
        seq,
        path: change.path.as_ref().into(),
        zxid: change.zxid.map(|zxid| zxid.0),
        position: change.position.0,
        written_position: change.position.0,
        raised: false,
        ordinal: change.ordinal,
        kind: change.kind,
        czxid: change.czxid.map(|zxid| zxid.0),
        version: change.version,
        aversion: change.aversion,
        lossless: false,
        rescan: change.source == Source::Rescan,
        exact: change.evidence == Evidence::Exact,
        live: change.source == Source::Watch,
        missed: change.missed,
        server_time: None,
        observed_at: change.observed_at.0,
        bound: None,
        may_be_at: false,
    }
}

fn of_other(change: Change, seq: i64) -> Theirs {
    Theirs { day: Day(20_000), seq, change, bound: None }
}

#[test]
fn what_a_rescan_found_is_the_last_life_of_its_transaction() {
    let heard = |ordinal| Change {
        source: Source::Watch,
        evidence: Evidence::Coalesced,
        ..truth(7, ordinal, ChangeKind::Created, "/a")
    };
    let found = Change { source: Source::Rescan, evidence: Evidence::Inferred, ..heard(0) };
    // Created, deleted, created: the other agent came when it was over.
    let mine = [on_record(&heard(0), 1), on_record(&heard(2), 3)];
    let theirs = [of_other(found.clone(), 1)];
    let mut of =
        Path { mine: &mine, theirs: &theirs, own: vec![0, 1], other: vec![0], of: vec![None; 2], taken: vec![false] };
    of.pair().expect("no contradiction");
    assert_eq!(of.of, [None, Some(0)]);

    let mine = [on_record(&found, 1)];
    let theirs = [of_other(heard(0), 1), of_other(heard(2), 3)];
    let pairs = pair(&mine, &theirs, i64::MAX).expect("no contradiction");
    assert_eq!((pairs.fixes, pairs.new), (vec![(0, 1)], vec![0]));
}

#[test]
fn one_acl_change_is_one_wherever_two_sweeps_place_it() {
    let swept = |position: i64, aversion: i32| Change {
        zxid: None,
        position: Zxid(position),
        czxid: Some(Zxid(3)),
        aversion: Some(aversion),
        source: Source::Rescan,
        evidence: Evidence::Inferred,
        ..truth(3, 0, ChangeKind::AclChanged, "/a")
    };
    // Somebody's row that came by a merge seems to bound it before the other's place.
    let mine = [Recorded { bound: Some(5), ..on_record(&swept(3, 1), 1) }];
    let theirs = [of_other(swept(9, 1), 1), of_other(swept(9, 2), 2)];
    let pairs = pair(&mine, &theirs, i64::MAX).expect("no contradiction");
    assert_eq!((pairs.same + pairs.fixes.len() as u64, pairs.new), (1, vec![1]));
}
