//! Kills, and readers beside an import.

use std::sync::atomic::{AtomicBool, Ordering};

use super::record::{record_story, story};
use super::*;

/// Rows whatever the seqs of the new ones.
fn content(view: &View, recorded: usize) -> (BTreeMap<i64, (Day, Change)>, BTreeSet<String>) {
    let mut all = rows(view);
    let new = all.split_off(&(recorded as i64 + 1));
    (all, new.values().map(|(day, change)| format!("{day} {:?}", known(change))).collect())
}

#[test]
fn killed_at_any_step_it_goes_on_as_if_never_killed() {
    let prepared = Rig::new();
    record_story(&prepared);
    let recorded = rows(&prepared.view().unwrap()).len();
    let whole = prepared.copy();
    import(&whole, &story(), (9, 30));
    let expected = content(&whole.view().unwrap(), recorded);
    let coverage = whole.view().unwrap().coverage.parts.len();

    for step in 1.. {
        let rig = prepared.copy();
        let disk = Disk::new();
        let history = rig.open_on(&disk).unwrap();
        let steps = disk.faults.plan(|plan| plan.steps.len());
        disk.faults.plan(|plan| plan.die_at_step = Some(steps + step));
        let small = ImportSettings { bytes_max: 1, ..settings() };
        let result = import_on(history, small, &story(), (9, 30));
        let killed = result.is_err();

        let history = rig.open().unwrap_or_else(|error| panic!("step {step}: {error}"));
        let view = history.state().view();
        assert_clean(&view);
        assert!(rows(&view).len() >= recorded, "step {step}");
        drop(view);
        import_on(history, settings(), &story(), (9, 30)).unwrap_or_else(|error| panic!("step {step}: {error}"));
        let view = rig.view().unwrap();
        assert_clean(&view);
        assert_eq!(content(&view, recorded), expected, "step {step}");
        assert_eq!(view.coverage.parts.len(), coverage, "step {step}");
        if !killed {
            assert!(step > 20, "only {step} steps");
            return;
        }
    }
}

#[test]
fn a_reader_sees_each_change_once_at_most() {
    let rig = Rig::new();
    // Watches heard every other change, on the agent's days; the log fills in the rest around midnight.
    let all = stream(400);
    let heard: Vec<Change> = all.iter().filter(|change| change.position.0 % 2 == 0).map(watched).collect();
    super::record::record(&rig, &heard, (0, 400));
    let stop = AtomicBool::new(false);
    let read = || -> Result<Vec<Change>, HistoryError> {
        let mut changes = Vec::new();
        for day in rig.layout.days(Table::Changes, CLUSTER).unwrap() {
            let folder = rig.layout.day(Table::Changes, CLUSTER, day);
            for name in crate::history::layout::list(&folder).unwrap() {
                let path = folder.join(&name);
                let file = std::fs::File::open(&path).map_err(|source| HistoryError::io("open", &path, source))?;
                let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
                for batch in reader.build().unwrap() {
                    changes.extend(decode::changes(&batch.unwrap(), &path).unwrap().into_iter().map(|(_, row)| row));
                }
            }
        }
        Ok(changes)
    };
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut rounds = 0;
            while !stop.load(Ordering::Relaxed) {
                // A name that was listed may be gone when it is opened.
                let Ok(changes) = read() else { continue };
                let mut seen = BTreeSet::new();
                for change in &changes {
                    let id = (change.zxid, change.path.clone(), change.kind, change.ordinal);
                    assert!(seen.insert(id), "{change:?} is there twice");
                }
                assert!(changes.len() >= heard.len());
                rounds += 1;
            }
            rounds
        });
        for _ in 0..2 {
            import(&rig, &all, (0, 400));
        }
        stop.store(true, Ordering::Relaxed);
        assert!(reader.join().unwrap() > 0);
    });
    assert_eq!(read().unwrap().len(), 400);
}
