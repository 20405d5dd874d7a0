//! Proves of a history what arithmetic can, and says what it cannot.
//!
//! 1. **Parts**: every Parquet file is readable to its last page, its name states the seqs that it holds, its rows are in
//!    their order.
//! 2. **Seqs**: from the first that is kept to the last, each is there exactly once; or the metadata of a part says that
//!    an import replaced its row.
//! 3. **Lives**: per path the versions rise by one and the `missed`, or a gap explains why not; nothing changes that does
//!    not exist; no operation is on record twice, by (incarnation, zxid, path, kind, n).
//! 4. **Snapshots**: replaying the changes from each snapshot to the next gives the next one; the children's rows explain
//!    their parent's cversion, unless changes were missed in a gap.
//!
//! Everything streams; memory is that of a replay, and a bit for each seq of a window. A file that cannot be read is
//! reported and left out of the rest.

use super::error::HistoryError;
use super::gaps;
use super::view::View;

mod lives;
mod parts;
mod report;
mod seqs;
mod snapshots;

#[cfg(test)]
mod tests;

use report::Findings;
pub use report::{Checked, Hole, HoleKind, Progress, Report};

/// Checks a history. `progress` is told after each file or path range.
///
/// # Errors
/// Only where reading fails in a way that checking cannot go on from; a damaged file is a hole, not an error.
pub fn verify(view: &View, mut progress: impl FnMut(Progress)) -> Result<Report, HistoryError> {
    let mut findings = Findings::new(view.cluster.clone());
    let readable = parts::check(view, &mut findings, &mut progress);
    let intervals = gaps::intervals(&readable)?;
    findings.covered = !intervals.is_empty();
    let gaps = gaps::gaps_of(&intervals);
    findings.note_gaps(&gaps);
    seqs::check(&readable, &mut findings, &mut progress)?;
    lives::check(&readable, &lives::Unseen::new(&gaps, &intervals), &mut findings, &mut progress)?;
    snapshots::check(&readable, &gaps, &intervals, &mut findings, &mut progress)?;
    Ok(findings.finish())
}
