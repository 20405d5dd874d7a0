//! Which row on record is which change of the log: pure, a path at a time.

use super::ImportError;
use super::recorded::Recorded;
use crate::zk::{Change, ChangeKind, TimeSource, Zxid};

/// Its version, mtime and czxid are every server's own.
const CONFIG: &str = "/zookeeper/config";

/// What becomes of a row on record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is this change (an index into the path's), and says all of it.
    Same(usize),
    /// It is this change, which knows more.
    Completed(usize),
    /// No change of the log is it: it goes.
    Replaced,
    /// It can only be of the transaction that the log begins behind.
    AtBegin,
    /// A later transaction may be it.
    Carried,
    /// It may lie outside of what the log has.
    Kept,
}

/// How far the log goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reach {
    /// It has everything after this …
    pub(super) begin: i64,
    /// What lies before this is on record already.
    pub(super) low: i64,
    /// … up to this, where the present chunk ends.
    pub(super) to: i64,
}

/// Decides on the rows of one path. `truth` are the chunk's changes of it, in their order.
///
/// # Errors
/// [`ImportError::Contradiction`] where an exact row cannot be of the same ensemble.
pub(super) fn fates(truth: &[&Change], rows: &[Recorded], reach: Reach) -> Result<Vec<Fate>, ImportError> {
    let mut path = Path { truth, taken: vec![false; truth.len()], fates: vec![None; rows.len()] };
    path.placed(rows)?;
    // Those that tell their version first: each is one change and no other. What a rescan found is rather of the gap than of
    // the transaction before it, of which something was heard live.
    path.unplaced(rows, End::First, |row| is_told(row) && (row.live || !row.may_be_at));
    path.unplaced_behind(rows, End::First, is_told);
    // What was heard live is whole up to its bound, and so is the log, but either may lack what came before: a gap, or the
    // time before the log begins.
    let ends = |row: &Recorded| row.live && row.bound.is_some_and(|bound| bound <= reach.to);
    path.unplaced(rows, End::Last, ends);
    path.unplaced(rows, End::First, |row| !may_be_before(row, reach));
    path.unplaced_behind(rows, End::Last, |_| true);
    path.unplaced(rows, End::Last, |_| true);
    let fate = |(row, fate): (&Recorded, Option<Fate>)| match fate {
        Some(fate) => Ok(fate),
        None => unmatched(row, reach),
    };
    rows.iter().zip(path.fates).map(fate).collect()
}

struct Path<'a> {
    truth: &'a [&'a Change],
    taken: Vec<bool>,
    fates: Vec<Option<Fate>>,
}

impl Path<'_> {
    /// Twins by (zxid, kind, n). Where fewer are on record than happened, what they tell says which they are.
    fn placed(&mut self, rows: &[Recorded]) -> Result<(), ImportError> {
        let mut order: Vec<usize> = (0..rows.len()).filter(|at| rows[*at].zxid.is_some()).collect();
        let place = |at: &usize| (rows[*at].zxid, rows[*at].kind, rows[*at].ordinal, rows[*at].seq);
        order.sort_by_key(place);
        for group in order.chunk_by(|a, b| (rows[*a].zxid, rows[*a].kind) == (rows[*b].zxid, rows[*b].kind)) {
            let Some(first) = group.first().map(|at| &rows[*at]) else { continue };
            let twins: Vec<usize> = (0..self.truth.len())
                .filter(|at| {
                    self.truth[*at].zxid.map(|zxid| zxid.0) == first.zxid && self.truth[*at].kind == first.kind
                })
                .collect();
            if let ([row], [twin]) = (group, twins.as_slice()) {
                contradicts(&rows[*row], self.truth[*twin])?;
            }
            // What is read of several shows the last.
            for row in group.iter().rev() {
                let told = |at: &&usize| !self.taken[**at] && tells(&rows[*row], self.truth[**at]);
                let next = twins.iter().rev().find(told).or_else(|| twins.iter().rev().find(|at| !self.taken[**at]));
                if let Some(twin) = next.copied() {
                    self.take(*row, twin, &rows[*row]);
                }
            }
        }
        Ok(())
    }

    /// As [`Path::unplaced`], but none is of the transaction at its position.
    fn unplaced_behind(&mut self, rows: &[Recorded], end: End, wanted: impl Fn(&Recorded) -> bool) {
        self.find_unplaced(rows, end, false, wanted);
    }

    /// Rows without a zxid, in their order (or from its end): each is the first (or last) change that it may be.
    fn unplaced(&mut self, rows: &[Recorded], end: End, wanted: impl Fn(&Recorded) -> bool) {
        self.find_unplaced(rows, end, true, wanted);
    }

    fn find_unplaced(&mut self, rows: &[Recorded], end: End, at: bool, wanted: impl Fn(&Recorded) -> bool) {
        let at_position = at;
        let open = |at: &usize| rows[*at].zxid.is_none() && self.fates[*at].is_none() && wanted(&rows[*at]);
        let mut order: Vec<usize> = (0..rows.len()).filter(open).collect();
        order.sort_by_key(|at| (rows[*at].position, rows[*at].seq));
        if end == End::Last {
            order.reverse();
        }
        for at in order {
            let row = &rows[at];
            let (low, high) = self.between(rows, row);
            let may_be = |twin: &usize| {
                let change = self.truth[*twin];
                let zxid = change.zxid.unwrap_or_default().0;
                !self.taken[*twin]
                    && change.kind == row.kind
                    && (zxid > row.position || (zxid == row.position && row.may_be_at && at_position))
                    && row.bound.is_none_or(|bound| zxid <= bound)
                    && tells(row, change)
            };
            let twin = match end {
                End::First => (low..high).find(may_be),
                End::Last => (low..high).rev().find(may_be),
            };
            if let Some(twin) = twin {
                self.take(at, twin, row);
            }
        }
    }

    /// The changes that a row may be by the order in which they were heard: behind those of the rows that were heard live
    /// before it, before those of the rows after it.
    fn between(&self, rows: &[Recorded], row: &Recorded) -> (usize, usize) {
        let (mut low, mut high) = (0, self.truth.len());
        if !row.live {
            return (low, high);
        }
        for (other, fate) in rows.iter().zip(&self.fates).filter(|(other, _)| other.live) {
            match fate {
                Some(Fate::Same(twin) | Fate::Completed(twin)) if other.seq < row.seq => low = low.max(twin + 1),
                Some(Fate::Same(twin) | Fate::Completed(twin)) => high = high.min(*twin),
                _ => {}
            }
        }
        (low, high.max(low))
    }

    fn take(&mut self, row: usize, twin: usize, recorded: &Recorded) {
        self.taken[twin] = true;
        self.fates[row] = Some(if recorded.lossless { Fate::Same(twin) } else { Fate::Completed(twin) });
    }
}

/// Which end of what a row may be is taken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    First,
    Last,
}

/// Whether a row may be of the time before the log begins, and is not of the time after its present end.
fn may_be_before(row: &Recorded, reach: Reach) -> bool {
    let ends = row.bound.is_some_and(|bound| bound <= reach.to);
    row.position < reach.begin || (row.position == reach.begin && ends)
}

/// Whether a row says which of its path's changes it is.
fn is_told(row: &Recorded) -> bool {
    match row.kind {
        ChangeKind::DataChanged => row.czxid.is_some() && row.version.is_some(),
        ChangeKind::AclChanged => row.aversion.is_some(),
        ChangeKind::Created | ChangeKind::Deleted => row.czxid.is_some(),
    }
}

/// Whether nothing that a row tells speaks against it being this change.
fn tells(row: &Recorded, change: &Change) -> bool {
    fn agree<T: PartialEq>(a: Option<T>, b: Option<T>) -> bool {
        a.is_none() || b.is_none() || a == b
    }
    if &*row.path == CONFIG {
        return true;
    }
    let life = agree(row.czxid, change.czxid.map(|czxid| czxid.0));
    life && match row.kind {
        ChangeKind::DataChanged => agree(row.version, change.version),
        ChangeKind::AclChanged => agree(row.aversion, change.aversion),
        ChangeKind::Created | ChangeKind::Deleted => true,
    }
}

/// The last of these changes that a row surely comes after, by its version or aversion; the least zxid where none is.
pub(super) fn behind(row: &Recorded, truth: &[&Change]) -> i64 {
    let rises = |own: Option<i32>, other: Option<i32>| matches!((own, other), (Some(own), Some(other)) if own.wrapping_sub(other) > 0);
    let before = truth.iter().filter(|change| {
        let same = change.kind == row.kind && row.czxid.is_some() && row.czxid == change.czxid.map(|czxid| czxid.0);
        same && match row.kind {
            ChangeKind::DataChanged => rises(row.version, change.version),
            ChangeKind::AclChanged => rises(row.aversion, change.aversion),
            ChangeKind::Created | ChangeKind::Deleted => false,
        }
    });
    before.filter_map(|change| change.zxid).map(|zxid| zxid.0).max().unwrap_or(i64::MIN)
}

/// The last change of the log that was heard live before a row that was heard live itself; the least zxid where none was.
pub(super) fn heard_behind<'a>(
    row: &Recorded,
    rows: impl Iterator<Item = (&'a Recorded, &'a Fate)>,
    truth: &[&Change],
) -> i64 {
    let twin = |(other, fate): (&Recorded, &Fate)| match fate {
        Fate::Same(twin) | Fate::Completed(twin) if other.live && other.seq < row.seq => truth.get(*twin)?.zxid,
        _ => None,
    };
    let zxid = if row.live { rows.filter_map(twin).max() } else { None };
    zxid.map_or(i64::MIN, |zxid| zxid.0)
}

/// What is left when no change of the log is a row.
fn unmatched(row: &Recorded, reach: Reach) -> Result<Fate, ImportError> {
    if let Some(zxid) = row.zxid {
        if zxid <= reach.low {
            // Watches tell late what the log has told: of a znode that could not be read for a while.
            return Ok(if row.lossless || &*row.path == CONFIG { Fate::Kept } else { Fate::Replaced });
        }
        let excused = !row.exact || row.lossless || &*row.path == CONFIG;
        if excused {
            return Ok(if row.lossless { Fate::Kept } else { Fate::Replaced });
        }
        let what = format!("a {} is on record there that the log does not have", row.kind.as_str());
        return Err(ImportError::Contradiction { path: row.path.to_string(), zxid: Zxid(zxid), what });
    }
    Ok(match row.bound {
        Some(bound) if bound <= reach.to && row.position > reach.begin => Fate::Replaced,
        Some(bound) if bound <= reach.to && row.position == reach.begin => Fate::AtBegin,
        Some(bound) if bound <= reach.to => Fate::Kept,
        _ => Fate::Carried,
    })
}

/// Refuses a change that is on record otherwise.
fn contradicts(row: &Recorded, change: &Change) -> Result<(), ImportError> {
    if !row.exact || &*row.path == CONFIG {
        return Ok(());
    }
    let mut differing = Vec::new();
    let mut check = |name: &str, recorded: Option<i64>, given: Option<i64>| {
        if let (Some(recorded), Some(given)) = (recorded, given)
            && recorded != given
        {
            differing.push(format!("{name} {recorded} is on record, the log says {given}"));
        }
    };
    check("czxid", row.czxid, change.czxid.map(|czxid| czxid.0));
    if row.kind == ChangeKind::DataChanged {
        check("version", row.version.map(i64::from), change.version.map(i64::from));
    }
    if change.time_source == TimeSource::Server {
        check("time (µs)", row.server_time, Some(change.time.0));
    }
    if differing.is_empty() {
        return Ok(());
    }
    let zxid = Zxid(row.zxid.unwrap_or_default());
    Err(ImportError::Contradiction { path: row.path.to_string(), zxid, what: differing.join("; ") })
}
