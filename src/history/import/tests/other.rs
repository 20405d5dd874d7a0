//! Another agent's folder is merged.

use super::record::{record, record_story, story};
use super::*;

/// What a second agent saw, of a newer server: everything from 16 on, but no ACLs.
fn other_agent() -> Rig {
    let rig = Rig::new();
    let heard: Vec<Change> = story()
        .iter()
        .filter(|change| change.position.0 >= 16 && change.kind != ChangeKind::AclChanged)
        .map(watched)
        .collect();
    record(&rig, &heard, (15, 30));
    rig
}

fn merge(rig: &Rig, other: &Rig) -> Result<ImportSummary, ImportError> {
    rig.open().unwrap().merge(&other.view().unwrap(), settings())
}

#[test]
fn what_both_saw_is_there_once_and_each_closes_the_others_gaps() {
    let (rig, other) = (Rig::new(), other_agent());
    record_story(&rig);
    let before = rows(&rig.view().unwrap());
    let summary = merge(&rig, &other).unwrap();
    assert_eq!((summary.new, summary.coverage), (3, 1), "{summary:?}");

    let view = rig.view().unwrap();
    assert_clean(&view);
    let after = rows(&view);
    assert!(after.keys().copied().eq(1..=before.len() as i64 + 3));
    let placed = |change: &Change| (change.zxid.map(|zxid| zxid.0), change.kind, change.path.to_string());
    let expected: Vec<_> = story().iter().filter(|change| change.position.0 >= 16).map(placed).collect();
    let told: Vec<_> = told(&view).iter().filter(|change| change.position.0 >= 16).map(placed).collect();
    assert_eq!(told, expected);
    for (seq, (day, change)) in &before {
        let (day_after, after) = &after[seq];
        assert_eq!((day, change.observed_at), (day_after, after.observed_at), "seq {seq}");
    }
    // Version 2 of /b was said to have missed one: the other has it.
    assert!(after.values().all(|(_, change)| change.missed == 0));
    let left: Vec<_> = gaps(&view).unwrap().into_iter().map(|gap| (gap.from_zxid, gap.to_zxid)).collect();
    assert_eq!(left, [(30, None)]);

    let before = files(&rig);
    let again = merge(&rig, &other).unwrap();
    assert_eq!((again.new, again.completed, again.coverage, again.snapshots), (0, 0, 0, 0), "{again:?}");
    assert_eq!(files(&rig), before);

    // And the log over both.
    import(&rig, &story(), (9, 30));
    let view = rig.view().unwrap();
    let known_all = |changes: &[Change]| changes.iter().map(known).collect::<Vec<_>>();
    assert_eq!(known_all(&super::told(&view)), known_all(&story()));
    assert_clean(&view);
}

#[test]
fn an_empty_folder_becomes_the_other() {
    let (rig, other) = (Rig::new(), Rig::new());
    record_story(&other);
    merge(&rig, &other).unwrap();
    let (mine, theirs) = (rig.view().unwrap(), other.view().unwrap());
    assert_eq!(told(&mine), told(&theirs));
    assert_eq!(gaps(&mine).unwrap(), gaps(&theirs).unwrap());
    assert_clean(&mine);
    let before = files(&rig);
    merge(&rig, &other).unwrap();
    assert_eq!(files(&rig), before);
}

#[test]
fn a_log_imported_there_completes_what_is_here() {
    let (rig, other) = (Rig::new(), Rig::new());
    record_story(&rig);
    import(&other, &story(), (9, 30));
    merge(&rig, &other).unwrap();
    let view = rig.view().unwrap();
    assert_eq!(told(&view).iter().map(known).collect::<Vec<_>>(), story().iter().map(known).collect::<Vec<_>>());
    assert_clean(&view);
}

#[test]
fn another_ensemble_is_refused() {
    let (rig, other) = (Rig::new(), Rig::new());
    record_story(&rig);
    let mut elsewhere = watched(&story()[3]);
    elsewhere.version = Some(9);
    record(&other, &[elsewhere], (9, 13));
    let before = files(&rig);
    assert!(matches!(merge(&rig, &other), Err(ImportError::Contradiction { .. })));
    assert_eq!(files(&rig), before);
}
