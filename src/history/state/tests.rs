use super::*;
use crate::history::recorder::tests::rig::{Rig, changes, check_changes};

#[test]
fn a_day_that_changed_meanwhile_is_not_replaced() {
    let rig = Rig::new();
    let running = rig.start();
    running.send(changes(1..=3)).unwrap();
    assert!(running.flush());
    let state = running.state.clone();
    let before = state.view();
    let day = before.changes.parts[0].day;
    running.send(changes(4..=6)).unwrap();
    assert!(running.flush());
    let swap = || -> Result<Option<PathBuf>, HistoryError> { panic!("must not swap") };
    let error = state.replace_day(Table::Changes, day, &before.changes.parts, swap, Vec::new()).unwrap_err();
    assert!(matches!(error, ReplaceError::Changed { .. }), "{error}");
    assert_eq!(check_changes(&state.view()), 6);

    // A swap that fails, or does nothing, leaves everything as it was.
    let now = state.view().changes.parts;
    state.replace_day(Table::Changes, day, &now, || Ok(None), Vec::new()).unwrap();
    let failing = || Err(HistoryError::Unknown("no".to_owned()));
    assert!(state.replace_day(Table::Changes, day, &now, failing, Vec::new()).is_err());
    assert_eq!(check_changes(&state.view()), 6);
    assert!(running.stop());
}

#[test]
fn dropped_parts_can_be_read_by_who_holds_them() {
    let rig = Rig::new();
    let running = rig.start();
    running.send(changes(1..=3)).unwrap();
    assert!(running.flush());
    let state = running.state.clone();
    let held = state.view();
    let folder = rig.layout.day(Table::Changes, "prod", held.changes.parts[0].day);
    let retired = folder.with_file_name(".date=gone");
    let remove = || {
        std::fs::rename(&folder, &retired).map_err(|source| HistoryError::io("rename", &folder, source))?;
        Ok(Some(retired.clone()))
    };
    state.drop_parts(&held.changes.parts, remove).unwrap();
    assert_eq!(check_changes(&state.view()), 0);
    assert_eq!(check_changes(&held), 3);
    drop(held);
    assert!(!retired.exists());
    assert!(running.stop());
}
