use std::path::Path;
use std::sync::Arc;

use super::part_reader::PartReader;
use super::ranges::PathRanges;
use super::rows::{ChangeRows, Key, Needs, Row};
use super::snapshot::Snapshot;
use crate::history::error::HistoryError;
use crate::history::part::Part;
use crate::history::view::{HeadBatch, TableView};
use crate::zk::ChangeKind;

/// Which rows of `changes` a reader wants.
#[derive(Clone, Debug)]
pub(crate) struct Select {
    pub(crate) incarnation: i32,
    /// Only rows recorded after this seq.
    pub(crate) seq_after: i64,
    /// Only rows up to this seq.
    pub(crate) seq_to: i64,
    /// Only rows before this place in the order.
    pub(crate) until: Option<Key>,
    /// Not what a rescan found from then on (µs, the agent's clock) without knowing when it happened.
    pub(crate) found_before: i64,
    /// A row of a lossless source at or below this zxid was imported later: what the fold starts from holds it.
    pub(crate) contained: i64,
    /// What the fold starts from holds the transactions up to this position, whatever was recorded when.
    pub(crate) placed_after: Option<i64>,
    /// Beyond `seq_to` also rows that were imported later, up to this zxid.
    pub(crate) imported_to: i64,
    /// The snapshot held what its rows led to: what was heard live and is below its zxid, but recorded behind it, came
    /// of another agent's history.
    pub(crate) settled: bool,
    pub(crate) paths: PathRanges,
    /// Only creations and deletions.
    pub(crate) structure_only: bool,
}

impl Select {
    /// Every row of an incarnation.
    pub(crate) fn all(incarnation: i32) -> Self {
        Self {
            incarnation,
            seq_after: i64::MIN,
            seq_to: i64::MAX,
            until: None,
            found_before: i64::MAX,
            contained: i64::MIN,
            placed_after: None,
            imported_to: i64::MIN,
            settled: false,
            paths: PathRanges::all(),
            structure_only: false,
        }
    }

    /// Only what a snapshot does not hold yet.
    pub(crate) fn after(self, snapshot: &Snapshot) -> Self {
        match snapshot.placed {
            true => Self { placed_after: Some(snapshot.position), ..self },
            false => {
                Self { seq_after: snapshot.seq, contained: snapshot.position, settled: snapshot.unsettled == 0, ..self }
            }
        }
    }

    /// Only what a snapshot holds.
    pub(crate) fn held_by(self, snapshot: &Snapshot) -> Self {
        match snapshot.placed {
            true => Self { until: Some(Key::after(snapshot.position)), ..self },
            false => {
                Self { seq_to: snapshot.seq, imported_to: snapshot.position, settled: snapshot.unsettled == 0, ..self }
            }
        }
    }

    /// Whether a row was added long after the fact, and its zxid is at most this.
    fn is_imported_to(&self, row: Row<'_>, position: i64) -> bool {
        // Of the transaction at the position itself the rest may have been heard after the snapshot.
        let merged = |zxid| self.settled && zxid < position && row.source() == "watch";
        row.zxid().is_some_and(|zxid| zxid <= position && (row.is_lossless() || merged(zxid)))
    }

    fn is_after_base(&self, row: Row<'_>) -> bool {
        match (self.placed_after, row.zxid()) {
            (Some(base), Some(zxid)) => zxid > base,
            // What an import could not place lies behind all that it has.
            (Some(base), None) => row.position() >= base,
            (None, _) => row.seq() > self.seq_after && !self.is_imported_to(row, self.contained),
        }
    }

    fn wants(&self, row: Row<'_>) -> bool {
        row.incarnation() == self.incarnation
            && self.is_after_base(row)
            && (row.seq() <= self.seq_to || self.is_imported_to(row, self.imported_to))
            && self.until.is_none_or(|until| row.key() < until)
            && !(self.found_before < i64::MAX && row.is_loose() && row.observed_at() >= Some(self.found_before))
            && self.paths.contains(row.path().as_bytes())
            && (!self.structure_only || matches!(row.kind(), Some(ChangeKind::Created | ChangeKind::Deleted)))
    }

    fn may_hold(&self, part: &Part) -> bool {
        part.range.last > self.seq_after && (part.range.first <= self.seq_to || self.imported_to > i64::MIN)
    }
}

/// Wanted rows in the order (path, position): one part, or the whole head.
pub(crate) struct Run {
    source: Source,
    select: Arc<Select>,
    rows: Option<Arc<ChangeRows>>,
    at: usize,
}

enum Source {
    Part { reader: PartReader, needs: Needs },
    Head { batches: Vec<Arc<ChangeRows>>, order: std::vec::IntoIter<(u32, u32)>, batch: u32 },
}

/// Opens a run for each part that may hold wanted rows, and one for the head; runs without any row are left out.
///
/// `batch_rows` is what all runs together decode at a time.
pub(crate) fn open_runs(
    table: &TableView,
    select: &Arc<Select>,
    needs: Needs,
    batch_rows: usize,
) -> Result<Vec<Run>, HistoryError> {
    let needs = Needs { time: needs.time || select.found_before < i64::MAX, ..needs };
    let parts: Vec<&Arc<Part>> = table.parts.iter().filter(|part| select.may_hold(part)).collect();
    let batch_rows = (batch_rows / parts.len().max(1)).clamp(BATCH_ROWS_MIN, BATCH_ROWS_MAX);
    let mut runs = Vec::with_capacity(parts.len() + 1);
    for part in parts {
        runs.extend(Run::of_part(part, select.clone(), needs, batch_rows)?);
    }
    runs.extend(Run::of_head(&table.head, select.clone(), needs)?);
    Ok(runs)
}

const BATCH_ROWS_MIN: usize = 256;
const BATCH_ROWS_MAX: usize = 8_192;

impl Run {
    fn of_part(
        part: &Part,
        select: Arc<Select>,
        needs: Needs,
        batch_rows: usize,
    ) -> Result<Option<Self>, HistoryError> {
        let outside =
            |bounds: Option<(i64, i64)>, low: i64, high: i64| bounds.is_some_and(|(min, max)| max < low || min > high);
        let incarnation = i64::from(select.incarnation);
        let position_max = select.until.map_or(i64::MAX, |until| until.position);
        let position_min = select.placed_after.unwrap_or(i64::MIN);
        let seq_max = if select.imported_to > i64::MIN { i64::MAX } else { select.seq_to };
        let reader = PartReader::open(part, &needs.names(), batch_rows, &select.paths, |group| {
            !(outside(group.numbers("incarnation"), incarnation, incarnation)
                || outside(group.numbers("seq"), select.seq_after.saturating_add(1), seq_max)
                || outside(group.numbers("position"), position_min, position_max))
        })?;
        let mut run = Self { source: Source::Part { reader, needs }, select, rows: None, at: 0 };
        Ok(run.advance()?.then_some(run))
    }

    fn of_head(head: &[HeadBatch], select: Arc<Select>, needs: Needs) -> Result<Option<Self>, HistoryError> {
        let place = Path::new("the head of changes");
        let mut batches = Vec::with_capacity(head.len());
        let mut order: Vec<(u32, u32)> = Vec::new();
        for batch in head {
            let rows = ChangeRows::new(&batch.batch, needs, place)?;
            let wanted = (0..rows.len()).filter(|at| select.wants(rows.row(*at)));
            let at = batches.len() as u32;
            let before = order.len();
            order.extend(wanted.map(|row| (at, row as u32)));
            if order.len() > before {
                batches.push(Arc::new(rows));
            }
        }
        let row = |(batch, row): &(u32, u32)| batches[*batch as usize].row(*row as usize);
        order.sort_unstable_by(|a, b| {
            let (a, b) = (row(a), row(b));
            a.path().cmp(b.path()).then_with(|| a.key().cmp(&b.key()))
        });
        let source = Source::Head { batches, order: order.into_iter(), batch: 0 };
        let mut run = Self { source, select, rows: None, at: 0 };
        Ok(run.advance()?.then_some(run))
    }

    /// The row that the run stands at. After [`Run::advance`] said `false` it must not be asked.
    pub(crate) fn row(&self) -> Row<'_> {
        match (&self.source, &self.rows) {
            (Source::Head { batches, batch, .. }, _) => batches[*batch as usize].row(self.at),
            (Source::Part { .. }, Some(rows)) => rows.row(self.at),
            (Source::Part { .. }, None) => unreachable!("a run is asked for a row only while it has one"),
        }
    }

    /// The batch and the place in it that the run stands at, to keep the row while the run goes on.
    pub(crate) fn keep(&self) -> (Arc<ChangeRows>, usize) {
        match (&self.source, &self.rows) {
            (Source::Head { batches, batch, .. }, _) => (batches[*batch as usize].clone(), self.at),
            (Source::Part { .. }, Some(rows)) => (rows.clone(), self.at),
            (Source::Part { .. }, None) => unreachable!("a run is asked for a row only while it has one"),
        }
    }

    /// Goes to the next wanted row; `false` at the end.
    pub(crate) fn advance(&mut self) -> Result<bool, HistoryError> {
        match &mut self.source {
            Source::Head { order, batch, .. } => match order.next() {
                Some((next, row)) => {
                    *batch = next;
                    self.at = row as usize;
                    Ok(true)
                }
                None => Ok(false),
            },
            Source::Part { reader, needs } => loop {
                if let Some(rows) = &self.rows {
                    let from = self.at + 1;
                    if let Some(at) = (from..rows.len()).find(|at| self.select.wants(rows.row(*at))) {
                        self.at = at;
                        return Ok(true);
                    }
                }
                let Some(batch) = reader.next()? else { return Ok(false) };
                let rows = ChangeRows::new(&batch, *needs, reader.place())?;
                let found = (0..rows.len()).find(|at| self.select.wants(rows.row(*at)));
                // So that the loop looks no further in this batch.
                self.at = found.unwrap_or(rows.len());
                self.rows = Some(Arc::new(rows));
                if found.is_some() {
                    return Ok(true);
                }
            },
        }
    }
}
