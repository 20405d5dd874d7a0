use std::sync::Arc;

use arrow::array::{Int32Array, Int64Array, StringArray};
use arrow::record_batch::RecordBatch;

use super::report::{Findings, HoleKind, Place, Progress};
use crate::history::error::HistoryError;
use crate::history::import::replaced_seqs;
use crate::history::layout::Table;
use crate::history::part::Part;
use crate::history::replay::part_reader::PartReader;
use crate::history::replay::ranges::PathRanges;
use crate::history::replay::rows::column;
use crate::history::view::{TableView, View};

const BATCH_ROWS: usize = 4_096;

/// Reads every part to its end. Gives the view without those that cannot be read.
pub(super) fn check(view: &View, findings: &mut Findings, progress: &mut impl FnMut(Progress)) -> View {
    let total = Table::ALL.iter().map(|table| view.parts(*table).len() as u64).sum();
    let mut done = 0;
    let mut readable = |table: Table| -> Arc<[Arc<Part>]> {
        let mut kept = Vec::with_capacity(view.parts(table).len());
        for part in view.parts(table) {
            match check_part(part, findings) {
                Ok(()) => kept.push(part.clone()),
                Err(error) => {
                    let place = Place { seq: Some(part.range.first), ..Place::default() };
                    findings.hole(HoleKind::Part, place, error.to_string());
                }
            }
            findings.checked().parts += 1;
            done += 1;
            progress(Progress { step: "parts", done, total });
        }
        kept.into()
    };
    let changes = TableView { parts: readable(Table::Changes), head: view.changes.head.clone() };
    let coverage = TableView { parts: readable(Table::Coverage), head: view.coverage.head.clone() };
    let sessions = TableView { parts: readable(Table::Sessions), head: view.sessions.head.clone() };
    let (audit, snapshots) = (readable(Table::Audit), readable(Table::Snapshots));
    View { changes, coverage, sessions, audit, snapshots, ..view.clone() }
}

fn check_part(part: &Part, findings: &mut Findings) -> Result<(), HistoryError> {
    let schema = part.table.schema();
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let mut reader = PartReader::open(part, &names, BATCH_ROWS, &PathRanges::all(), |_| true)?;
    let mut seqs: Option<(i64, i64)> = None;
    let mut order = Order::new(part.table);
    while let Some(batch) = reader.next()? {
        let seq = column::<Int64Array>(&batch, "seq", reader.place())?;
        for seq in seq.values() {
            seqs = Some(seqs.map_or((*seq, *seq), |(min, max)| (min.min(*seq), max.max(*seq))));
        }
        order.add(&batch, reader.place())?;
    }
    let file = part.path().display().to_string();
    match seqs {
        Some((first, last)) if (first, last) == (part.range.first, part.range.last) => {}
        Some((first, last)) => {
            let place = Place { seq: Some(first), ..Place::default() };
            let (named_first, named_last) = (part.range.first, part.range.last);
            let detail =
                format!("{file} is named after seqs {named_first} to {named_last}, it holds {first} to {last}");
            findings.hole(HoleKind::Name, place, detail);
        }
        None if !replaced_seqs(part)?.is_empty() => {}
        None => {
            let place = Place { seq: Some(part.range.first), ..Place::default() };
            findings.hole(HoleKind::Name, place, format!("{file} holds no rows"));
        }
    }
    if let Some((path, seq)) = order.broken {
        let place = Place { path: Some(&path), seq: Some(seq), ..Place::default() };
        findings.hole(HoleKind::Order, place, format!("{file}: this row is before one that belongs in front of it"));
    }
    Ok(())
}

/// Follows the order of a part's rows: snapshots by path, each once; changes by path and position.
struct Order {
    table: Table,
    last: Option<(String, i32, i64)>,
    broken: Option<(String, i64)>,
}

impl Order {
    fn new(table: Table) -> Self {
        Self { table, last: None, broken: None }
    }

    fn add(&mut self, batch: &RecordBatch, place: &std::path::Path) -> Result<(), HistoryError> {
        if self.broken.is_some() || !matches!(self.table, Table::Changes | Table::Snapshots) {
            return Ok(());
        }
        let path = column::<StringArray>(batch, "path", place)?;
        let seq = column::<Int64Array>(batch, "seq", place)?;
        let position = column::<Int64Array>(batch, "position", place)?;
        let incarnation = column::<Int32Array>(batch, "incarnation", place)?;
        let mut last = self.last.take();
        for at in 0..batch.num_rows() {
            let own = (path.value(at), incarnation.value(at), position.value(at));
            if let Some((before, incarnation, position)) = &last {
                let same_path_fits = match self.table {
                    Table::Snapshots => false,
                    // Rows of another incarnation have an order of their own.
                    _ => *incarnation != own.1 || *position <= own.2,
                };
                let fits = match before.as_str().cmp(own.0) {
                    std::cmp::Ordering::Less => true,
                    std::cmp::Ordering::Equal => same_path_fits,
                    std::cmp::Ordering::Greater => false,
                };
                if !fits {
                    self.broken = Some((own.0.to_owned(), seq.value(at)));
                    return Ok(());
                }
            }
            match &mut last {
                Some((path, incarnation, position)) => {
                    if path != own.0 {
                        path.clear();
                        path.push_str(own.0);
                    }
                    (*incarnation, *position) = (own.1, own.2);
                }
                None => last = Some((own.0.to_owned(), own.1, own.2)),
            }
        }
        self.last = last;
        Ok(())
    }
}
