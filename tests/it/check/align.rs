//! Which row tells of which operation of one path, where some operations have no row.
//!
//! A row may say so little (before 3.9 no notification carries a zxid, and what was overtaken has no Stat) that it could
//! tell of several lives of its path. Taking the first that fits would blame a loss inside a gap on a later operation, so
//! the pairing with the fewest complaints is sought.

use super::Row;
use crate::workload::{Kind, Operation};

const CELLS_MAX: usize = 100_000_000;

/// For each row the operation that it tells of, in rising order; `None` where there is none.
///
/// `may_be_absent` says of each operation whether it may lack a row. Time and memory: operations × rows, behind the first
/// operations that have to have their row and have it; beyond [`CELLS_MAX`] what is left is taken one by one.
pub(super) fn align(operations: &[&Operation], rows: &[&Row], may_be_absent: &[bool]) -> Vec<Option<usize>> {
    // Whoever must have a row gets the first that fits: giving it to a later one cannot be better.
    let plain = operations
        .iter()
        .zip(rows)
        .zip(may_be_absent)
        .take_while(|((operation, row), absent)| !**absent && pair_cost(operation, row) == Some(0))
        .count();
    let mut paired: Vec<Option<usize>> = (0..plain).map(Some).collect();
    let (operations, rows) = (&operations[plain..], &rows[plain..]);
    if operations.len().saturating_mul(rows.len()) > CELLS_MAX {
        paired.extend((0..rows.len()).map(|at| (at < operations.len()).then_some(at + plain)));
        return paired;
    }
    let table = Table::new(operations, rows, &may_be_absent[plain..]);
    paired.extend(table.pairs().into_iter().map(|operation| operation.map(|at| at + plain)));
    paired
}

/// The complaints that pairing them costs; `None` where the row contradicts the operation.
fn pair_cost(operation: &Operation, row: &Row) -> Option<u32> {
    row.tells_of(operation).then(|| u32::from(!row.has_value_of(operation)))
}

struct Table<'a> {
    operations: &'a [&'a Operation],
    rows: &'a [&'a Row],
    may_be_absent: &'a [bool],
    /// The fewest complaints that the operations from `i` and the rows from `j` on cost, at `i * (rows + 1) + j`.
    costs: Vec<u32>,
}

/// What is done with the first operation and the first row that are left.
enum Step {
    /// This many operations before the paired one are told of by the row's `missed`.
    Pair(usize),
    SkipOperation,
    SkipRow,
}

impl<'a> Table<'a> {
    fn new(operations: &'a [&'a Operation], rows: &'a [&'a Row], may_be_absent: &'a [bool]) -> Self {
        let costs = vec![0; (operations.len() + 1) * (rows.len() + 1)];
        let mut table = Self { operations, rows, may_be_absent, costs };
        for i in (0..=operations.len()).rev() {
            for j in (0..=rows.len()).rev() {
                if let Some((cost, _)) = table.best(i, j) {
                    table.costs[i * (rows.len() + 1) + j] = cost;
                }
            }
        }
        table
    }

    fn cost(&self, i: usize, j: usize) -> u32 {
        self.costs[i * (self.rows.len() + 1) + j]
    }

    fn best(&self, i: usize, j: usize) -> Option<(u32, Step)> {
        let mut best: Option<(u32, Step)> = None;
        let mut offer = |cost: u32, step: Step| {
            if best.as_ref().is_none_or(|(least, _)| cost < *least) {
                best = Some((cost, step));
            }
        };
        if i < self.operations.len() && j < self.rows.len() {
            for proved in 0..=self.proved(i, j) {
                if let Some(cost) = pair_cost(self.operations[i + proved], self.rows[j]) {
                    offer(cost + self.cost(i + proved + 1, j + 1), Step::Pair(proved));
                }
            }
        }
        if i < self.operations.len() {
            offer(u32::from(!self.may_be_absent[i]) + self.cost(i + 1, j), Step::SkipOperation);
        }
        if j < self.rows.len() {
            offer(1 + self.cost(i, j + 1), Step::SkipRow);
        }
        best
    }

    /// How many operations from `i` on the row may count as `missed` before its own.
    fn proved(&self, i: usize, j: usize) -> usize {
        let row = self.rows[j];
        let most = usize::try_from(row.missed).unwrap_or(0).min(self.operations.len() - i - 1);
        self.operations[i..].iter().take(most).take_while(|operation| is_missed_before(operation, row)).count()
    }

    fn pairs(&self) -> Vec<Option<usize>> {
        let mut pairs = Vec::with_capacity(self.rows.len());
        let (mut i, mut j) = (0, 0);
        while let Some((_, step)) = self.best(i, j) {
            match step {
                Step::Pair(proved) => {
                    pairs.push(Some(i + proved));
                    (i, j) = (i + proved + 1, j + 1);
                }
                Step::SkipOperation => i += 1,
                Step::SkipRow => {
                    pairs.push(None);
                    j += 1;
                }
            }
        }
        pairs
    }
}

/// Whether the row's `missed` may count the operation: a set of the same life.
pub(super) fn is_missed_before(operation: &Operation, row: &Row) -> bool {
    row.kind == Kind::DataChanged && operation.kind == Kind::DataChanged && row.czxid == Some(operation.czxid)
}
