use super::lives;
use super::report::{Findings, HoleKind, Place, Progress, in_gap};
use crate::history::error::HistoryError;
use crate::history::gaps::{Gap, Interval, UNOBSERVED, is_within};
use crate::history::replay::PathFilter;
use crate::history::replay::fold::Znode;
use crate::history::replay::folder::{Folder, Plan};
use crate::history::replay::locate::{is_outdone, serves};
use crate::history::replay::ranges::PathRanges;
use crate::history::replay::rows::Needs;
use crate::history::replay::run::Select;
use crate::history::replay::snapshot::{Snapshot, SnapshotRun};
use crate::history::view::View;

/// Replays from each snapshot to the next one of its incarnation, and compares.
pub(super) fn check(
    view: &View,
    gaps: &[Gap],
    intervals: &[Interval],
    findings: &mut Findings,
    progress: &mut impl FnMut(Progress),
) -> Result<(), HistoryError> {
    let mut snapshots = Vec::with_capacity(view.snapshots.len());
    for part in view.snapshots.iter() {
        snapshots.push(Snapshot::of(part)?);
        findings.checked().snapshots += 1;
        let rows = part.metadata()?.metadata().file_metadata().num_rows();
        findings.checked().znodes += u64::try_from(rows).unwrap_or(0);
    }
    snapshots.sort_by_key(|snapshot| (snapshot.incarnation, snapshot.position, snapshot.placed, snapshot.seq));
    for incarnation in lives::incarnations(view)? {
        if !snapshots.iter().any(|snapshot| snapshot.incarnation == incarnation) {
            findings.unproved(format!("incarnation {incarnation} has no snapshot to replay from"));
        }
    }
    let total = snapshots.len().saturating_sub(1) as u64;
    snapshots.retain(|snapshot| {
        if snapshot.unsettled > 0 {
            findings.unproved(format!(
                "the snapshot at seq {}: {} changes were still being read when it was taken",
                snapshot.seq, snapshot.unsettled
            ));
        }
        snapshot.unsettled == 0
    });
    snapshots.retain(|snapshot| serves(snapshot, intervals));
    let placed: Vec<(i32, i64)> =
        snapshots.iter().filter(|own| own.placed).map(|own| (own.incarnation, own.position)).collect();
    let before = snapshots.len();
    snapshots.retain(|snapshot| snapshot.placed || !is_outdone(snapshot, &placed, intervals));
    if snapshots.len() < before {
        findings.unproved(format!(
            "{} snapshots that watches took where a log tells more: replays start from the log's own",
            before - snapshots.len()
        ));
    }
    for (done, pair) in snapshots.windows(2).enumerate() {
        if let [from, to] = pair
            && from.incarnation == to.incarnation
        {
            compare(view, gaps, (from, to), !placed.is_empty(), findings)?;
            findings.checked().pairs += 1;
        }
        progress(Progress { step: "snapshots", done: done as u64 + 1, total });
    }
    Ok(())
}

const NEEDS: Needs = Needs { time: false, stat: true, acl: false, data: false };

fn compare(
    view: &View,
    gaps: &[Gap],
    (from, to): (&Snapshot, &Snapshot),
    logged: bool,
    findings: &mut Findings,
) -> Result<(), HistoryError> {
    let mut folder = Folder::open(Plan {
        table: &view.changes,
        base: Some(from),
        select: Select::all(from.incarnation).after(from).held_by(to),
        filter: &PathFilter::All,
        needs: NEEDS,
        children: true,
    })?;
    let mut next = SnapshotRun::open(&to.part, NEEDS, PathRanges::all())?;
    next.advance()?;
    let pair = Pair { from, to, gaps, logged };
    let mut stated = Znode::default();
    let mut more = advance(&mut folder)?;
    loop {
        let replayed = more.then_some(folder.path.as_str());
        let order = match (replayed, next.path()) {
            (None, None) => return Ok(()),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(replayed), Some(stated)) => replayed.cmp(stated),
        };
        if order.is_lt() {
            pair.existence(&folder.path, "the changes lead to it, the snapshot does not have it", findings);
        } else if order.is_gt() {
            let path = next.path().unwrap_or_default().to_owned();
            pair.existence(&path, "the snapshot has it, the changes do not lead to it", findings);
        } else {
            next.fill(&mut stated);
            pair.state(&folder.path, &folder.znode, &stated, folder.delta(&folder.path), findings);
        }
        if order.is_le() {
            more = advance(&mut folder)?;
        }
        if order.is_ge() {
            next.advance()?;
        }
    }
}

/// To the next path that exists.
fn advance(folder: &mut Folder) -> Result<bool, HistoryError> {
    while folder.next(|_, _| ())? {
        if folder.znode.alive {
            return Ok(true);
        }
    }
    Ok(false)
}

struct Pair<'a> {
    from: &'a Snapshot,
    to: &'a Snapshot,
    gaps: &'a [Gap],
    /// Whether logs were imported.
    logged: bool,
}

impl Pair<'_> {
    fn hole(&self, kind: HoleKind, path: &str, detail: String, findings: &mut Findings) {
        let (from, to) = (self.from.seq, self.to.seq);
        let place =
            Place { path: Some(path), seq: Some(to), zxid: Some(self.to.position), time: Some(self.to.taken_at.0) };
        findings.hole(kind, place, format!("from the snapshot at seq {from} to the one at seq {to}: {detail}"));
    }

    /// Whether nobody could know the path's state when the second snapshot was taken: it was taken inside a gap, or the
    /// path itself could not be read meanwhile. A gap that was over by then is not enough: the rescan after it gave rows.
    fn is_excused(&self, path: &str) -> bool {
        let (from, to) = (self.from.position, self.to.position);
        // A rescan compares with what the watch knew before the gap, not with what a log tells of its beginning.
        if self.from.placed && in_gap(self.gaps, self.to.incarnation, path, (from, to)) {
            return true;
        }
        self.gaps.iter().any(|gap| {
            gap.incarnation == self.to.incarnation
                && is_within(path, &gap.path)
                && gap.from_zxid < to
                && gap.to_zxid.is_none_or(|end| match (gap.reason.as_str(), self.to.placed) {
                    ("unreadable" | UNOBSERVED, _) => end >= from,
                    // No rescan told what the gap did: the log begins at its end.
                    (_, true) => end >= to,
                    (_, false) => end > to,
                })
        })
    }

    fn existence(&self, path: &str, detail: &str, findings: &mut Findings) {
        if self.is_excused(path) {
            findings.excused += 1;
        } else {
            self.hole(HoleKind::Snapshot, path, detail.to_owned(), findings);
        }
    }

    fn state(
        &self,
        path: &str,
        replayed: &Znode,
        stated: &Znode,
        delta: Option<crate::history::replay::fold::ChildDelta>,
        findings: &mut Findings,
    ) {
        let mut differing = Vec::new();
        let mut check = |name: &str, replayed: Option<i64>, stated: Option<i64>| {
            if let (Some(replayed), Some(stated)) = (replayed, stated)
                && replayed != stated
            {
                differing.push(format!("{name} is {replayed} by the changes and {stated} in the snapshot"));
            }
        };
        check("czxid", replayed.czxid, stated.czxid);
        check("version", replayed.version.map(i64::from), stated.version.map(i64::from));
        check("mzxid", replayed.mzxid, stated.mzxid);
        check("num_children", Some(replayed.num_children.into()), Some(stated.num_children.into()));
        if replayed.version == stated.version && replayed.mzxid == stated.mzxid {
            check("data_hash", replayed.data_hash, stated.data_hash);
        }
        if let (Some(by_rows), Some(stated)) = (replayed.aversion, stated.aversion) {
            match stated.wrapping_sub(by_rows) {
                0 => {}
                1.. => findings.acls_ahead += 1,
                // A log told of it, and the watch had not looked yet.
                _ if self.logged && !self.to.placed => findings.acls_behind += 1,
                // A log's tree between the moment behind which the sweep's row stands and the change itself.
                _ if replayed.loose_acl && self.to.placed => findings.acls_behind += 1,
                _ => differing.push(format!("aversion is {by_rows} by the changes and {stated} in the snapshot")),
            }
        }
        if !differing.is_empty() {
            if self.is_excused(path) {
                findings.excused += 1;
            } else {
                self.hole(HoleKind::Snapshot, path, differing.join("; "), findings);
            }
        }
        self.children(path, replayed, stated, delta, findings);
    }

    /// Whether a gap between the snapshots took changes, or is still open: those of children may be among them.
    fn may_have_lost(&self, path: &str) -> bool {
        let between = (self.from.position, self.to.position);
        let takes = |gap: &&Gap| gap.missed_at_least > 0 || gap.to_zxid.is_none();
        in_gap(self.gaps.iter().filter(takes), self.to.incarnation, path, between)
    }

    fn children(
        &self,
        path: &str,
        replayed: &Znode,
        stated: &Znode,
        delta: Option<crate::history::replay::fold::ChildDelta>,
        findings: &mut Findings,
    ) {
        let mut detail = Vec::new();
        if let (Some(by_rows), Some(in_snapshot)) = (replayed.cversion, stated.cversion)
            && by_rows != in_snapshot
        {
            let rows = delta.map_or(0, |delta| delta.events);
            detail.push(format!(
                "cversion is {in_snapshot} in the snapshot; {rows} creations and deletions of children lead to {by_rows}"
            ));
        }
        if let (Some(by_rows), Some(in_snapshot)) = (replayed.pzxid, stated.pzxid)
            && by_rows != in_snapshot
        {
            detail.push(format!("pzxid is {by_rows:#x} by the changes and {in_snapshot:#x} in the snapshot"));
        }
        if detail.is_empty() {
            return;
        }
        if self.is_excused(path) || self.may_have_lost(path) {
            findings.excused += 1;
        } else {
            self.hole(HoleKind::Children, path, detail.join("; "), findings);
        }
    }
}
