use std::path::Path;
use std::sync::Arc;

use super::part_reader::{PartReader, RowGroup, part_numbers};
use super::ranges::PathRanges;
use super::rows::{ChangeRows, Needs, Row};
use crate::history::error::HistoryError;
use crate::history::part::Part;
use crate::history::view::TableView;

const BATCH_ROWS: usize = 8_192;

/// Gives every row of one part of changes, in its order, but those of the row groups that `keep` refuses.
pub(crate) fn scan_part(
    part: &Part,
    needs: Needs,
    keep: impl Fn(&RowGroup<'_>) -> bool,
    mut visit: impl FnMut(Row<'_>),
) -> Result<(), HistoryError> {
    let mut reader = PartReader::open(part, &needs.names(), BATCH_ROWS, &PathRanges::all(), keep)?;
    while let Some(batch) = reader.next()? {
        let rows = ChangeRows::new(&batch, needs, reader.place())?;
        (0..rows.len()).for_each(|at| visit(rows.row(at)));
    }
    Ok(())
}

/// Gives every row of the head, in the order of recording.
pub(crate) fn scan_head(table: &TableView, needs: Needs, mut visit: impl FnMut(Row<'_>)) -> Result<(), HistoryError> {
    for head in table.head.iter() {
        let rows = ChangeRows::new(&head.batch, needs, Path::new("the head of changes"))?;
        (0..rows.len()).for_each(|at| visit(rows.row(at)));
    }
    Ok(())
}

/// A part and the bounds of its positions.
pub(crate) type Bounded = (Arc<Part>, (i64, i64));

/// The parts of changes with the bounds of their positions, by the least position.
pub(crate) fn parts_by_position(table: &TableView) -> Result<Vec<Bounded>, HistoryError> {
    let mut parts = Vec::with_capacity(table.parts.len());
    for part in table.parts.iter() {
        let bounds = part_numbers(part, "position")?.unwrap_or((i64::MIN, i64::MAX));
        parts.push((part.clone(), bounds));
    }
    parts.sort_by_key(|(_, bounds)| *bounds);
    Ok(parts)
}
