//! Completes a row on record by its twin: pure, field by field.

use crate::zk::{Change, ChangeKind, Evidence, Source, TimeSource};

/// Makes `row` say what it and its twin know together.
///
/// What is not null beats null, then a log is better than a watch and a watch better than a rescan; evidence rises. The row
/// keeps its seq and its day (whoever calls does), and when it was heard of. The value is the log's, which the policy has
/// passed too: that of an inferred row may be a later one. Where the policy of the recording withheld it, it stays withheld. What
/// one of both did not miss was not missed: a log misses nothing.
pub(super) fn complete(row: &mut Change, by: &Change) {
    let better = rank(by.source) > rank(row.source);
    if better && has_value(row) {
        correct_value(row, by);
    } else if !has_value(row) && has_value(by) {
        row.data = by.data.clone();
        row.data_length = by.data_length;
        row.data_hash = by.data_hash;
    }
    let both_timed = row.time_source == TimeSource::Server || by.time_source == TimeSource::Agent;
    if by.time_source == TimeSource::Server && (better || !both_timed) {
        (row.time, row.time_source) = (by.time, by.time_source);
    }
    if by.zxid.is_some() && (better || row.zxid.is_none()) {
        (row.zxid, row.position, row.ordinal) = (by.zxid, by.position, by.ordinal);
    }
    row.czxid = pick(better, row.czxid, by.czxid);
    row.version = pick(better, row.version, by.version);
    row.aversion = pick(better, row.aversion, by.aversion);
    row.node_type = pick(better, row.node_type, by.node_type);
    if better || row.ephemeral_owner == 0 {
        row.ephemeral_owner = by.ephemeral_owner;
    }
    row.acl = pick(better, row.acl.take(), by.acl.clone());
    row.evidence = row.evidence.min(by.evidence);
    row.missed = row.missed.min(by.missed);
    row.cause = pick(better, row.cause, by.cause);
    row.session_id = pick(better, row.session_id, by.session_id);
    row.cxid = pick(better, row.cxid, by.cxid);
    if better {
        row.source = by.source;
    }
}

/// How much a source's word counts.
pub(super) fn rank(source: Source) -> u8 {
    match source {
        Source::Rescan => 0,
        Source::Watch => 1,
        Source::Txnlog | Source::Observer => 2,
    }
}

fn pick<T>(better: bool, own: Option<T>, by: Option<T>) -> Option<T> {
    if better { by.or(own) } else { own.or(by) }
}

/// Puts the change's own value in the place of one that was seen.
fn correct_value(row: &mut Change, by: &Change) {
    let exact = row.evidence == Evidence::Exact;
    let withheld = row.data.is_none();
    if exact && (withheld || by.data.is_none()) {
        return;
    }
    row.data_length = by.data_length.filter(|_| !withheld || row.data_length.is_some());
    // Of a withheld value it may not be the plain one, and there is no other.
    row.data_hash = by.data_hash.filter(|_| !withheld);
    row.data = by.data.clone().filter(|_| !withheld);
}

/// Whether the value was seen, so that the policy had its say.
fn has_value(row: &Change) -> bool {
    let sets = matches!(row.kind, ChangeKind::Created | ChangeKind::DataChanged);
    let told = row.data.is_some() || row.data_length.is_some() || row.data_hash.is_some();
    // A set that a rescan found at a known zxid was read there.
    let read = row.source == Source::Rescan && row.kind == ChangeKind::DataChanged && row.zxid.is_some();
    sets && (told || read || row.evidence == Evidence::Exact)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::tests::truth;
    use super::*;
    use crate::zk::{Micros, TimeSource, Zxid};

    fn heard(evidence: Evidence, source: Source) -> Change {
        let mut row = truth(7, 0, ChangeKind::DataChanged, "/a");
        row.observed_at = Micros(99);
        (row.time, row.time_source) = (Micros(98), TimeSource::Agent);
        (row.czxid, row.version, row.aversion) = (None, None, None);
        (row.data, row.data_length, row.data_hash) = (None, None, None);
        (row.session_id, row.cxid) = (None, None);
        (row.evidence, row.source, row.missed) = (evidence, source, 3);
        row
    }

    #[test]
    fn an_overtaken_value_is_taken_over() {
        let by = truth(7, 2, ChangeKind::DataChanged, "/a");
        let mut row = Change { zxid: None, position: Zxid(5), ..heard(Evidence::Coalesced, Source::Watch) };
        complete(&mut row, &by);
        assert_eq!(row, Change { observed_at: Micros(99), ..by });
    }

    #[test]
    fn what_the_policy_withheld_stays_withheld() {
        let by = truth(7, 0, ChangeKind::DataChanged, "/a");
        let mut exact = heard(Evidence::Exact, Source::Watch);
        complete(&mut exact, &by);
        assert_eq!((exact.data, exact.data_length, exact.data_hash), (None, None, None));
        let mut found = heard(Evidence::Inferred, Source::Rescan);
        complete(&mut found, &by);
        assert_eq!((found.data, found.evidence, found.source), (None, Evidence::Exact, Source::Txnlog));
        let mut hashed = heard(Evidence::Inferred, Source::Watch);
        (hashed.data_length, hashed.data_hash) = (Some(1), Some(1));
        complete(&mut hashed, &by);
        assert_eq!((hashed.data, hashed.data_length, hashed.data_hash), (None, by.data_length, None));
    }

    #[test]
    fn a_later_value_is_not_that_of_the_change() {
        let by = truth(7, 0, ChangeKind::DataChanged, "/a");
        let mut row = heard(Evidence::Inferred, Source::Rescan);
        (row.data, row.data_length, row.data_hash) = (Some(Bytes::from_static(b"later")), Some(5), Some(1));
        complete(&mut row, &by);
        assert_eq!((row.data, row.data_length, row.data_hash), (by.data, by.data_length, by.data_hash));
    }
}
