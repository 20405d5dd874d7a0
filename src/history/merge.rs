//! The k-way merge of sorted runs of changes: one row at a time, in the order (path, position).
//!
//! Nothing is held but the current batch of each run. Rows of one path at one position come from the runs in any
//! order: whoever needs theirs sorts that handful, as [`Merge::next_group`] does.

use std::sync::Arc;

use super::error::HistoryError;
use super::replay::rows::{ChangeRows, Row};
use super::replay::run::Run;

/// Merges runs that are each sorted by (path, position).
pub(crate) struct Merge {
    runs: Vec<Run>,
    /// A binary heap of indices into `runs`, the least at the top.
    heap: Vec<usize>,
}

impl Merge {
    /// Every run must stand at a row.
    pub(crate) fn new(runs: Vec<Run>) -> Self {
        let heap = (0..runs.len()).collect();
        let mut merge = Self { runs, heap };
        for at in (0..merge.heap.len() / 2).rev() {
            merge.sift_down(at);
        }
        merge
    }

    /// The least row of all.
    pub(crate) fn peek(&self) -> Option<Row<'_>> {
        self.heap.first().map(|run| self.runs[*run].row())
    }

    /// Goes past the least row.
    pub(crate) fn advance(&mut self) -> Result<(), HistoryError> {
        let Some(top) = self.heap.first().copied() else { return Ok(()) };
        if !self.runs[top].advance()? {
            self.heap.swap_remove(0);
        }
        self.sift_down(0);
        Ok(())
    }

    /// Takes all rows of the least path and position, sorted by their place in the order.
    /// A group is one transaction's changes of a path and what followed it unplaced: a handful, but for a gap's.
    pub(crate) fn next_group(&mut self, group: &mut Vec<(Arc<ChangeRows>, usize)>) -> Result<(), HistoryError> {
        group.clear();
        while let Some(top) = self.heap.first().copied() {
            if let Some((first, at)) = group.first() {
                let (first, row) = (first.row(*at), self.runs[top].row());
                if first.position() != row.position() || first.path() != row.path() {
                    break;
                }
            }
            group.push(self.runs[top].keep());
            self.advance()?;
        }
        if group.len() > 1 {
            group.sort_by_key(|(rows, at)| rows.row(*at).key());
        }
        Ok(())
    }

    fn sift_down(&mut self, mut at: usize) {
        loop {
            let mut least = at;
            for child in [2 * at + 1, 2 * at + 2] {
                if child < self.heap.len() && self.less(self.heap[child], self.heap[least]) {
                    least = child;
                }
            }
            if least == at {
                return;
            }
            self.heap.swap(at, least);
            at = least;
        }
    }

    fn less(&self, a: usize, b: usize) -> bool {
        let (a, b) = (self.runs[a].row(), self.runs[b].row());
        a.path().cmp(b.path()).then_with(|| a.position().cmp(&b.position())).is_lt()
    }
}
