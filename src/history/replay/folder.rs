use std::sync::Arc;

use super::PathFilter;
use super::children::{self, ChildDeltas};
use super::fold::Znode;
use super::ranges::PathRanges;
use super::rows::{Needs, Row};
use super::run::{Select, open_runs};
use super::snapshot::{Snapshot, SnapshotRun};
use crate::history::error::HistoryError;
use crate::history::merge::Merge;
use crate::history::view::TableView;

/// What the runs of one replay decode at a time, all together.
const BATCH_ROWS_TOTAL: usize = 65_536;

/// Folds changes over a snapshot, a path at a time, in the order of paths.
pub(crate) struct Folder {
    base: Option<SnapshotRun>,
    changes: Merge,
    deltas: ChildDeltas,
    group: Vec<(Arc<super::rows::ChangeRows>, usize)>,
    pub(crate) path: String,
    pub(crate) znode: Znode,
}

/// What a folder reads.
pub(crate) struct Plan<'a> {
    pub(crate) table: &'a TableView,
    /// `None`: nothing is known to begin with.
    pub(crate) base: Option<&'a Snapshot>,
    pub(crate) select: Select,
    pub(crate) filter: &'a PathFilter,
    pub(crate) needs: Needs,
    /// Whether the fields that come from the children's rows are wanted.
    pub(crate) children: bool,
}

impl Folder {
    pub(crate) fn open(plan: Plan<'_>) -> Result<Self, HistoryError> {
        let deltas = if plan.children {
            let paths = PathRanges::with_children(plan.filter);
            let base = match plan.base {
                Some(snapshot) => {
                    let mut run = SnapshotRun::open(&snapshot.part, Needs::default(), paths.clone())?;
                    run.advance()?;
                    Some(run)
                }
                None => None,
            };
            let select = Arc::new(Select { paths, structure_only: true, ..plan.select.clone() });
            let rows = open_runs(plan.table, &select, Needs::default(), BATCH_ROWS_TOTAL)?;
            children::gather(Merge::new(rows), base, plan.base.map(|snapshot| snapshot.position))?
        } else {
            ChildDeltas::default()
        };
        let paths = PathRanges::of(plan.filter);
        let base = match plan.base {
            Some(snapshot) => {
                let mut run = SnapshotRun::open(&snapshot.part, plan.needs, paths.clone())?;
                run.advance()?;
                Some(run)
            }
            None => None,
        };
        let select = Arc::new(Select { paths, ..plan.select });
        let changes = Merge::new(open_runs(plan.table, &select, plan.needs, BATCH_ROWS_TOTAL)?);
        Ok(Self { base, changes, deltas, group: Vec::new(), path: String::new(), znode: Znode::default() })
    }

    /// Goes to the next path that the snapshot or a change names and folds it; `false` at the end.
    ///
    /// `path` and `znode` hold the result; whether the path exists is `znode.alive`. `visit` sees each row with the state
    /// that it is folded into.
    pub(crate) fn next(&mut self, mut visit: impl FnMut(&Znode, Row<'_>)) -> Result<bool, HistoryError> {
        let from_base = self.base.as_ref().and_then(SnapshotRun::path);
        let from_changes = self.changes.peek().map(Row::path);
        let path = match (from_base, from_changes) {
            (None, None) => return Ok(false),
            (Some(a), Some(b)) => a.min(b),
            (Some(path), None) | (None, Some(path)) => path,
        };
        self.path.clear();
        self.path.push_str(path);
        self.znode.clear();
        if let Some(base) = &mut self.base
            && base.path() == Some(self.path.as_str())
        {
            base.fill(&mut self.znode);
            base.advance()?;
        }
        while self.changes.peek().is_some_and(|row| row.path() == self.path) {
            self.changes.next_group(&mut self.group)?;
            for (rows, at) in &self.group {
                let row = rows.row(*at);
                visit(&self.znode, row);
                self.znode.apply(row);
            }
        }
        if !self.deltas.is_empty()
            && let Some(delta) = self.deltas.get(self.path.as_str())
            && self.znode.alive
        {
            self.znode.add_children(*delta);
        }
        Ok(true)
    }

    /// Children's rows gathered for a path.
    pub(crate) fn delta(&self, path: &str) -> Option<super::fold::ChildDelta> {
        self.deltas.get(path).copied()
    }
}
