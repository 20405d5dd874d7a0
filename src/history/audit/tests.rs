use super::*;
use crate::history::days::{CompactionLimits, compact_closed_days};
use crate::history::disk::Disk;
use crate::history::{Layout, Settings, open_read_only};

const CLUSTER: &str = "prod";
const DAY_MICROS: i64 = 86_400_000_000;

fn entry(time: i64, operation: &str, path: &str) -> AuditEntry {
    AuditEntry {
        time: Micros(time),
        session_id: Some(0x1000_0000_0001),
        user: Some("bob".to_owned()),
        address: Some("10.0.0.1".to_owned()),
        operation: operation.to_owned(),
        path: Some(path.into()),
        node_type: None,
        acl: None,
        result: "success".to_owned(),
    }
}

fn open(layout: &Layout) -> History {
    let settings = Settings { free_space_floor_percent: 0, ..Settings::default() };
    History::open(layout, CLUSTER, settings).unwrap()
}

fn seqs(view: &View) -> Vec<(Day, SeqRange)> {
    view.audit.iter().map(|part| (part.day, part.range)).collect()
}

#[test]
fn lines_are_added_once_and_as_often_as_they_were_logged() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::new(folder.path());
    let history = open(&layout);
    let first = [entry(1_000, "setData", "/a"), entry(1_000, "setData", "/a"), entry(DAY_MICROS + 5, "delete", "/a")];
    assert_eq!(history.add_audit(&first).unwrap(), AuditAdded { added: 3, known: 0 });
    assert_eq!(history.add_audit(&first).unwrap(), AuditAdded { added: 0, known: 3 });
    let grown = [&first[..], &[entry(DAY_MICROS + 5, "delete", "/a"), entry(DAY_MICROS + 6, "create", "/a")]].concat();
    assert_eq!(history.add_audit(&grown).unwrap(), AuditAdded { added: 2, known: 3 });
    assert_eq!(history.add_audit(&[]).unwrap(), AuditAdded::default());

    let expected = vec![
        (Day(0), SeqRange { first: 1, last: 2 }),
        (Day(1), SeqRange { first: 3, last: 3 }),
        (Day(1), SeqRange { first: 4, last: 5 }),
    ];
    assert_eq!(seqs(&history.state().view()), expected);
    drop(history);
    // It is there for whoever opens the folder next, and known then, too.
    assert_eq!(seqs(&open_read_only(&layout, CLUSTER).unwrap()), expected);
    let history = open(&layout);
    assert_eq!(history.add_audit(&grown).unwrap(), AuditAdded { added: 0, known: 5 });
}

#[test]
fn lines_that_differ_in_anything_are_different_lines() {
    let folder = tempfile::tempdir().unwrap();
    let history = open(&Layout::new(folder.path()));
    let one = entry(7, "create", "/a");
    let others = vec![
        AuditEntry { session_id: None, ..one.clone() },
        AuditEntry { user: None, ..one.clone() },
        AuditEntry { address: Some("10.0.0.2".to_owned()), ..one.clone() },
        AuditEntry { path: None, ..one.clone() },
        AuditEntry { node_type: Some("ephemeral".to_owned()), ..one.clone() },
        AuditEntry { acl: Some("world:anyone:cdrwa".to_owned()), ..one.clone() },
        AuditEntry { result: "failure".to_owned(), ..one.clone() },
        AuditEntry { time: Micros(8), ..one.clone() },
    ];
    assert_eq!(history.add_audit(&[one]).unwrap(), AuditAdded { added: 1, known: 0 });
    let added = others.len();
    assert_eq!(history.add_audit(&others).unwrap(), AuditAdded { added, known: 0 });
    assert_eq!(history.add_audit(&others).unwrap(), AuditAdded { added: 0, known: added });
}

#[test]
fn a_closed_day_is_compacted_and_its_lines_stay_known() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::new(folder.path());
    let history = open(&layout);
    let lines: Vec<AuditEntry> = (0..30).map(|n| entry(n * 1_000, "setData", "/a")).collect();
    for lines in lines.chunks(10) {
        history.add_audit(lines).unwrap();
    }
    let (done, failed) = compact_closed_days(
        &Disk::new(),
        &layout,
        &history.state(),
        Micros(3 * DAY_MICROS),
        CompactionLimits::default(),
    );
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!((done.len(), done[0].table, done[0].rows), (1, Table::Audit, 30));
    assert_eq!(seqs(&history.state().view()), [(Day(0), SeqRange { first: 1, last: 30 })]);
    assert_eq!(history.add_audit(&lines).unwrap(), AuditAdded { added: 0, known: 30 });
    let more = entry(31_000, "setData", "/a");
    assert_eq!(history.add_audit(&[more]).unwrap(), AuditAdded { added: 1, known: 0 });
    assert_eq!(seqs(&history.state().view())[1].1, SeqRange { first: 31, last: 31 });
}
