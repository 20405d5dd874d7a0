use std::sync::Arc;

use crate::history::gaps::{Gap, is_within};
use crate::zk::Micros;

/// Holes that a report holds at most; more are only counted.
const HOLES_MAX: usize = 10_000;

/// What was proved, what was disproved, and what cannot be proved.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// One for each contradiction; empty for a clean history.
    pub holes: Vec<Hole>,
    /// Holes beyond those that the report holds.
    pub holes_left_out: u64,
    /// In words, what arithmetic says nothing about here.
    pub unproved: Vec<String>,
    pub checked: Checked,
    /// Whether there was nothing to check: no change, no snapshot, no coverage. Then no hole says nothing either.
    pub is_empty: bool,
}

impl Report {
    pub fn is_clean(&self) -> bool {
        self.holes.is_empty() && self.holes_left_out == 0
    }
}

/// How much was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    pub parts: u64,
    pub changes: u64,
    /// Steps from one version to the next within a life.
    pub versions: u64,
    /// Snapshots that were read to their end.
    pub snapshots: u64,
    /// Znodes of those snapshots.
    pub znodes: u64,
    /// Pairs of snapshots of which a replay from the one was compared with the other.
    pub pairs: u64,
}

/// Something that is missing, doubled or contradicts the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hole {
    pub cluster: String,
    pub kind: HoleKind,
    pub path: Option<String>,
    pub detail: String,
    pub seq: Option<i64>,
    pub zxid: Option<i64>,
    pub time: Option<Micros>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HoleKind {
    /// A file that cannot be read.
    Part,
    /// A file whose name states other seqs than it holds.
    Name,
    /// A file whose rows are not in their order.
    Order,
    /// Seqs that no row has, or more than one.
    Seq,
    /// The same operation twice.
    Double,
    /// Versions that do not follow each other.
    Version,
    /// A creation or deletion that must have been.
    Life,
    /// A replay that does not give the next snapshot.
    Snapshot,
    /// Children's rows that do not explain their parent.
    Children,
}

impl HoleKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Part => "part",
            Self::Name => "name",
            Self::Order => "order",
            Self::Seq => "seq",
            Self::Double => "double",
            Self::Version => "version",
            Self::Life => "life",
            Self::Snapshot => "snapshot",
            Self::Children => "children",
        }
    }
}

/// How far a check has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// `parts`, `seqs`, `lives` or `snapshots`.
    pub step: &'static str,
    pub done: u64,
    /// 0 where it is not known.
    pub total: u64,
}

/// Collects a report.
pub(super) struct Findings {
    cluster: Arc<str>,
    report: Report,
    pub(super) unplaced: u64,
    pub(super) coalesced: u64,
    pub(super) unversioned: u64,
    pub(super) missed: i64,
    pub(super) excused: u64,
    pub(super) acls_ahead: u64,
    pub(super) acls_behind: u64,
    pub(super) watched: bool,
    /// Whether any interval was observed.
    pub(super) covered: bool,
    gaps: usize,
    gaps_missed: i64,
}

/// Where a hole is, as far as it is known.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place<'a> {
    pub(super) path: Option<&'a str>,
    pub(super) seq: Option<i64>,
    pub(super) zxid: Option<i64>,
    pub(super) time: Option<i64>,
}

impl Findings {
    pub(super) fn new(cluster: Arc<str>) -> Self {
        Self {
            cluster,
            report: Report::default(),
            unplaced: 0,
            coalesced: 0,
            unversioned: 0,
            missed: 0,
            excused: 0,
            acls_ahead: 0,
            acls_behind: 0,
            watched: false,
            covered: false,
            gaps: 0,
            gaps_missed: 0,
        }
    }

    pub(super) fn checked(&mut self) -> &mut Checked {
        &mut self.report.checked
    }

    pub(super) fn hole(&mut self, kind: HoleKind, place: Place<'_>, detail: String) {
        if self.report.holes.len() >= HOLES_MAX {
            self.report.holes_left_out += 1;
            return;
        }
        self.report.holes.push(Hole {
            cluster: self.cluster.to_string(),
            kind,
            path: place.path.map(str::to_owned),
            detail,
            seq: place.seq,
            zxid: place.zxid,
            time: place.time.map(Micros),
        });
    }

    pub(super) fn unproved(&mut self, what: String) {
        self.report.unproved.push(what);
    }

    pub(super) fn note_gaps(&mut self, gaps: &[Gap]) {
        self.gaps = gaps.len();
        self.gaps_missed = gaps.iter().map(|gap| gap.missed_at_least).fold(0, i64::saturating_add);
    }

    pub(super) fn finish(mut self) -> Report {
        let mut unproved = std::mem::take(&mut self.report.unproved);
        let Checked { changes, snapshots, .. } = self.report.checked;
        self.report.is_empty = changes == 0 && snapshots == 0 && !self.covered && self.report.holes.is_empty();
        if self.report.is_empty {
            unproved.push("nothing is recorded of this cluster: no tree was ever read to the end".to_owned());
        }
        let mut say = |count: u64, text: &str| {
            if count > 0 {
                unproved.push(format!("{count} {text}"));
            }
        };
        say(self.coalesced, "changes whose value was overtaken before it could be read");
        say(self.unplaced, "changes whose zxid the server did not tell: their place is only bounded");
        say(self.unversioned, "changes without a version: what lies around them is not counted");
        say(self.missed.max(0) as u64, "changes that version arithmetic proves were missed, without rows of their own");
        say(self.excused, "contradictions that a gap explains");
        say(self.acls_ahead, "znodes whose ACL had changed at a snapshot, without a row before it");
        say(
            self.acls_behind,
            "znodes whose ACL had changed at a snapshot of a watch that had not looked yet, as a log tells",
        );
        if self.gaps > 0 {
            let (gaps, missed) = (self.gaps, self.gaps_missed);
            unproved.push(format!(
                "what happened inside {gaps} gaps ({missed} changes at least): \
                 what was created and deleted within one leaves no more than its parent's cversion"
            ));
        }
        if self.watched {
            unproved.push("ACL changes: watches do not tell of them, sweeps see only the last".to_owned());
        }
        self.report.unproved = unproved;
        self.report
    }
}

/// Whether a gap lets changes of a path between two positions go unseen.
pub(super) fn in_gap<'a>(
    gaps: impl IntoIterator<Item = &'a Gap>,
    incarnation: i32,
    path: &str,
    (from, to): (i64, i64),
) -> bool {
    gaps.into_iter().any(|gap| {
        gap.incarnation == incarnation
            && gap.from_zxid <= to
            && gap.to_zxid.is_none_or(|end| from <= end)
            && is_within(path, &gap.path)
    })
}
