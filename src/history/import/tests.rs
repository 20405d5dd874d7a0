use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::*;
use crate::history::disk::Disk;
use crate::history::gaps::gaps;
use crate::history::layout::{Day, Table};
use crate::history::recorder::tests::rig::{CLUSTER, NOON, Rig};
use crate::history::replay::{At, PathFilter, ReplayOptions, replay};
use crate::history::rows::SightingEvent;
use crate::history::snapshots::SnapshotRow;
use crate::history::verify::verify;
use crate::history::view::View;
use crate::history::{Aspect, CoverageEntry, Entry};
use crate::zk::{ChangeKind, DeleteCause, Ended, Evidence, NodeType, Source, TimeSource};

mod crash;
mod other;
mod record;

const SECOND: i64 = 1_000_000;
const HOUR: i64 = 3_600 * SECOND;

/// When a transaction was committed, by the server.
pub(super) fn time_of(zxid: i64) -> Micros {
    Micros(NOON + zxid * SECOND)
}

/// A complete change, as a log proves it.
pub(super) fn truth(zxid: i64, ordinal: i32, kind: ChangeKind, path: &str) -> Change {
    let sets = matches!(kind, ChangeKind::Created | ChangeKind::DataChanged);
    let data = sets.then(|| Bytes::from(format!("{path} at {zxid}.{ordinal}")));
    Change {
        incarnation: 1,
        time: time_of(zxid),
        time_source: TimeSource::Server,
        observed_at: Micros(NOON + 1_000 * HOUR),
        zxid: Some(Zxid(zxid)),
        position: Zxid(zxid),
        ordinal,
        kind,
        path: path.into(),
        czxid: Some(Zxid(zxid)),
        version: Some(0),
        aversion: Some(0),
        node_type: Some(NodeType::Persistent),
        ephemeral_owner: 0,
        data_length: data.as_ref().map(|data| data.len() as i32),
        data_hash: data.as_ref().map(|data| i64::from(crc32fast::hash(data))),
        data,
        acl: matches!(kind, ChangeKind::Created | ChangeKind::AclChanged).then(|| "[]".into()),
        evidence: Evidence::Exact,
        missed: 0,
        source: Source::Txnlog,
        cause: (kind == ChangeKind::Deleted).then_some(DeleteCause::Explicit),
        session_id: Some(7),
        cxid: Some(zxid as i32),
    }
}

/// As a watch hears it right away; the agent's clock is two hours ahead.
pub(super) fn watched(change: &Change) -> Change {
    let seen = matches!(change.kind, ChangeKind::Created | ChangeKind::DataChanged);
    Change {
        observed_at: Micros(change.time.0 + 2 * HOUR),
        time: if seen { change.time } else { Micros(change.time.0 + 2 * HOUR) },
        time_source: if seen { TimeSource::Server } else { TimeSource::Agent },
        node_type: None,
        acl: None,
        source: Source::Watch,
        cause: None,
        session_id: None,
        cxid: None,
        ..change.clone()
    }
}

/// As a server before 3.9 lets a watch hear it, when its value was overtaken or it was a deletion.
pub(super) fn unplaced(change: &Change, position: i64) -> Change {
    Change {
        zxid: None,
        position: Zxid(position),
        time: Micros(change.time.0 + 2 * HOUR),
        time_source: TimeSource::Agent,
        data: None,
        data_length: None,
        data_hash: None,
        evidence: if change.kind == ChangeKind::Deleted { Evidence::Inferred } else { Evidence::Coalesced },
        ..watched(change)
    }
}

pub(super) fn settings() -> ImportSettings {
    ImportSettings { bytes_max: 1 << 15, threads_max: 0, free_space_floor_percent: 0, ..ImportSettings::default() }
}

/// Every row of changes with its day, by seq.
pub(super) fn rows(view: &View) -> BTreeMap<i64, (Day, Change)> {
    let mut rows = BTreeMap::new();
    for part in view.changes.parts.iter() {
        for batch in crate::history::days::read(part).unwrap() {
            for (seq, change) in decode::changes(&batch.unwrap(), &part.path()).unwrap() {
                assert!(rows.insert(seq, (part.day, change)).is_none(), "seq {seq} is there twice");
            }
        }
    }
    rows
}

/// What happened by the rows, in the order of changes.
pub(super) fn told(view: &View) -> Vec<Change> {
    let mut told: Vec<(i64, Change)> = rows(view).into_iter().map(|(seq, (_, change))| (seq, change)).collect();
    told.sort_by_key(|(seq, change)| (change.position, change.zxid.is_none(), change.ordinal, *seq));
    told.into_iter().map(|(_, change)| change).collect()
}

/// What the log knows of a change, apart from when it was heard of.
pub(super) fn known(change: &Change) -> Change {
    Change { observed_at: Micros(0), ..change.clone() }
}

pub(super) fn assert_clean(view: &View) {
    let report = verify(view, |_| ()).unwrap();
    assert!(report.is_clean(), "{:#?}", report.holes);
}

pub(super) fn import_on(
    mut history: History,
    settings: ImportSettings,
    changes: &[Change],
    (from, to): (i64, i64),
) -> Result<ImportSummary, ImportError> {
    let mut importer = history.import(settings)?;
    for change in changes.iter().filter(|change| (from + 1..=to).contains(&change.position.0)) {
        importer.change(change.clone())?;
    }
    importer.covered((Zxid(from), time_of(from)), (Zxid(to), time_of(to)))?;
    importer.finish()
}

pub(super) fn import(rig: &Rig, changes: &[Change], range: (i64, i64)) -> ImportSummary {
    import_on(rig.open().unwrap(), settings(), changes, range).unwrap()
}

/// The names and sizes of all files of all tables.
fn files(rig: &Rig) -> BTreeSet<(String, u64)> {
    fn walk(dir: &std::path::Path, files: &mut BTreeSet<(String, u64)>) {
        for entry in std::fs::read_dir(dir).into_iter().flatten() {
            let entry = entry.unwrap();
            if entry.path().is_dir() {
                walk(&entry.path(), files);
            } else {
                files.insert((entry.path().display().to_string(), entry.metadata().unwrap().len()));
            }
        }
    }
    let mut all = BTreeSet::new();
    Table::ALL.iter().for_each(|table| walk(&rig.layout.table(*table), &mut all));
    all
}

/// Creations, sets and deletions of a few paths, `n` transactions; the clock steps back around midnight.
fn stream(n: i64) -> Vec<Change> {
    let mut versions: BTreeMap<String, (i64, i32)> = BTreeMap::new();
    let mut changes = Vec::new();
    for zxid in 1..=n {
        let path = format!("/p{}", zxid % 5);
        let kind = match versions.get(&path) {
            None => ChangeKind::Created,
            Some((_, version)) if *version >= 3 => ChangeKind::Deleted,
            Some(_) => ChangeKind::DataChanged,
        };
        let mut change = truth(zxid, 0, kind, &path);
        change.time = Micros(NOON + 12 * HOUR + (zxid - n / 2) * SECOND + if zxid % 7 == 0 { -30 * SECOND } else { 0 });
        match kind {
            ChangeKind::Created => {
                versions.insert(path, (zxid, 0));
            }
            ChangeKind::Deleted => {
                let (czxid, version) = versions.remove(&path).unwrap();
                (change.czxid, change.version) = (Some(Zxid(czxid)), Some(version));
            }
            _ => {
                let (czxid, version) = versions.get_mut(&path).unwrap();
                *version += 1;
                (change.czxid, change.version) = (Some(Zxid(*czxid)), Some(*version));
            }
        }
        changes.push(change);
    }
    changes
}

#[test]
fn a_fresh_import_goes_to_the_days_of_its_commits() {
    for threads_max in [0, 1, 3] {
        let rig = Rig::new();
        let changes = stream(300);
        let settings = ImportSettings { threads_max, ..settings() };
        let summary = import_on(rig.open().unwrap(), settings, &changes, (0, 300)).unwrap();
        assert_eq!((summary.new, summary.days, summary.coverage), (300, 0, 2));
        assert!(summary.parts > 3, "{summary:?}");
        let view = rig.view().unwrap();
        assert_eq!(told(&view), changes);
        let rows = rows(&view);
        assert!(rows.keys().copied().eq(1..=300));
        assert!(rows.values().all(|(day, change)| day.0 == change.time.day()));
        assert!(rows.values().map(|(day, _)| day).collect::<BTreeSet<_>>().len() == 2);
        assert_clean(&view);

        // Once more, in other pieces: nothing changes.
        let before = files(&rig);
        let again = ImportSettings { bytes_max: 1 << 20, ..super::tests::settings() };
        let summary = import_on(rig.open().unwrap(), again, &changes, (0, 300)).unwrap();
        assert_eq!(summary, ImportSummary { unchanged: 300, ..ImportSummary::default() });
        assert_eq!(files(&rig), before);
    }
}

#[test]
fn a_transaction_is_never_cut_and_the_order_is_checked() {
    let rig = Rig::new();
    let mut history = rig.open().unwrap();
    let mut importer = history.import(settings()).unwrap();
    for ordinal in 0..100 {
        importer.change(truth(5, ordinal, ChangeKind::Created, &format!("/n{ordinal}"))).unwrap();
    }
    assert_eq!(importer.summary().parts, 0);
    let late = importer.change(truth(4, 0, ChangeKind::Created, "/late"));
    assert!(matches!(late, Err(ImportError::OutOfOrder { .. })), "{late:?}");
    let nowhere = Change { zxid: None, ..truth(6, 0, ChangeKind::Created, "/x") };
    assert!(matches!(importer.change(nowhere), Err(ImportError::Incomplete { .. })));
    importer.covered((Zxid(4), time_of(4)), (Zxid(6), time_of(6))).unwrap();
    let late = importer.change(truth(6, 0, ChangeKind::Created, "/late"));
    assert!(matches!(late, Err(ImportError::OutOfOrder { .. })), "{late:?}");
    assert_eq!(importer.finish().unwrap().parts, 1);
}

#[test]
fn sightings_are_recorded_once() {
    let rig = Rig::new();
    let sighting = |zxid: i64, event| Sighting {
        incarnation: 1,
        session_id: 7,
        event,
        time: time_of(zxid),
        zxid: Some(Zxid(zxid)),
        timeout_ms: None,
        address: None,
        source: Source::Txnlog.into(),
    };
    for round in 0..2 {
        let mut history = rig.open().unwrap();
        let mut importer = history.import(settings()).unwrap();
        for zxid in [1, 2, 13 * 3_600] {
            importer.sighting(sighting(zxid, SightingEvent::Opened)).unwrap();
            importer.sighting(sighting(zxid, SightingEvent::Closed)).unwrap();
        }
        assert_eq!(importer.finish().unwrap().sightings, if round == 0 { 6 } else { 0 });
    }
    assert_eq!(rig.view().unwrap().sessions.parts.len(), 2);
}
