//! The check itself finds what it is there to find.

use super::*;

fn recorded() -> Recorded {
    let mut recorded = Recorded::default();
    let mut add = |kind, version, zxid, czxid, value: Option<&[u8]>| {
        recorded.push(Operation {
            path: "/work/a".to_owned(),
            kind,
            version,
            aversion: None,
            zxid: Some(zxid),
            czxid,
            value: value.map(<[u8]>::to_vec),
            ephemeral_owner: 0,
        });
    };
    add(Kind::Created, Some(0), 10, 10, Some(b"0"));
    add(Kind::DataChanged, Some(1), 11, 10, Some(b"1"));
    add(Kind::DataChanged, Some(2), 12, 10, Some(b"2"));
    add(Kind::Deleted, None, 13, 10, None);
    add(Kind::Created, Some(0), 14, 14, Some(b"again"));
    recorded
}

fn rows() -> Vec<Row> {
    let operations = recorded().operations;
    let row = |(seq, operation): (usize, Operation)| Row {
        seq: seq as i64,
        kind: operation.kind,
        path: operation.path,
        version: operation.version,
        aversion: None,
        zxid: operation.zxid,
        position: operation.zxid.unwrap(),
        czxid: Some(operation.czxid),
        data_length: operation.value.as_ref().map(|value| value.len() as i32),
        data: operation.value,
        evidence: "exact".to_owned(),
        missed: 0,
        source: "watch".to_owned(),
    };
    operations.into_iter().enumerate().map(row).collect()
}

fn verdict(rows: &[Row], gaps: Option<&[Gap]>) -> Result<Findings> {
    compare(&recorded(), rows, Expectations { root: "/work", zxids: true, gaps })
}

fn gap(from_zxid: i64, to_zxid: i64) -> Gap {
    let (from_zxid, to_zxid) = (Some(from_zxid), Some(to_zxid));
    Gap { path: "/".to_owned(), from_zxid, to_zxid, from_time: None, to_time: None, reason: None }
}

#[test]
fn accepts_the_truth() {
    let findings = verdict(&rows(), None).unwrap();
    assert_eq!(findings, Findings { matched: 5, ..Findings::default() });
}

#[test]
fn finds_each_lost_row() {
    for lost in 0..rows().len() {
        let mut rows = rows();
        rows.remove(lost);
        verdict(&rows, None).unwrap_err();
        verdict(&rows, Some(&[])).unwrap_err();
        let zxid = 10 + lost as i64;
        assert_eq!(verdict(&rows, Some(&[gap(zxid - 1, zxid)])).unwrap().absent, 1, "inside its gap");
        verdict(&rows, Some(&[gap(zxid, 99)])).unwrap_err();
        verdict(&rows, Some(&[gap(0, zxid - 1)])).unwrap_err();
    }
}

#[test]
fn finds_each_doubled_row() {
    for doubled in 0..rows().len() {
        let mut rows = rows();
        let mut twin = rows[doubled].clone();
        twin.seq = 99;
        rows.insert(doubled, twin);
        verdict(&rows, None).unwrap_err();
        verdict(&rows, Some(&[gap(0, 99)])).unwrap_err();
    }
}

#[test]
fn finds_what_is_wrong_within_a_row() {
    let wrong: [fn(&mut Row); 8] = [
        |row| row.version = Some(7),
        |row| row.zxid = Some(99),
        |row| row.czxid = Some(9),
        |row| row.data = Some(b"x".to_vec()),
        |row| row.data = None,
        |row| row.data_length = Some(7),
        |row| row.path = "/work/b".to_owned(),
        |row| row.kind = Kind::Deleted,
    ];
    for change in wrong {
        let mut rows = rows();
        change(&mut rows[2]);
        verdict(&rows, None).unwrap_err();
    }
}

#[test]
fn finds_swapped_rows() {
    let mut rows = rows();
    rows.swap(1, 2);
    verdict(&rows, None).unwrap_err();
}

#[test]
fn accepts_what_arithmetic_proves() {
    let mut rows = rows();
    rows.remove(1);
    rows[1].missed = 1;
    verdict(&rows, None).unwrap_err();
    assert_eq!(verdict(&rows, Some(&[])).unwrap().absent, 1);
}

/// Before 3.9 a row may say nothing but that the path came, or went: then it is of the life outside the gap.
#[test]
fn does_not_blame_a_gaps_loss_on_a_later_life() {
    let mut recorded = recorded();
    let again = |kind, zxid, version, value: Option<&[u8]>| Operation {
        path: "/work/a".to_owned(),
        kind,
        version,
        aversion: None,
        zxid: Some(zxid),
        czxid: 20,
        value: value.map(<[u8]>::to_vec),
        ephemeral_owner: 0,
    };
    recorded.push(again(Kind::Deleted, 20, None, None));
    recorded.push(again(Kind::Created, 20, Some(0), Some(b"2")));
    recorded.operations[5].czxid = 14;
    let bare = |mut row: Row| {
        (row.zxid, row.czxid, row.data, row.data_length) = (None, None, None, None);
        row.evidence = "coalesced".to_owned();
        row
    };
    let rows: Vec<Row> =
        [(3, 20), (4, 21)].into_iter().map(|(at, seq)| Row { seq, position: 19, ..bare(rows()[at].clone()) }).collect();
    let verdict =
        |gaps: &[Gap]| compare(&recorded, &rows, Expectations { root: "/work", zxids: false, gaps: Some(gaps) });
    assert_eq!(verdict(&[gap(0, 14)]).unwrap().absent, 5);
    verdict(&[gap(0, 13)]).unwrap_err();
    verdict(&[gap(14, 99)]).unwrap_err();
}

#[test]
fn leaves_other_subtrees_alone() {
    let mut rows = rows();
    rows.push(Row { seq: 99, path: "/elsewhere".to_owned(), ..rows[0].clone() });
    verdict(&rows, None).unwrap();
}
