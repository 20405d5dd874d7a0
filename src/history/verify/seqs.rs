use std::path::Path;

use arrow::array::Int64Array;

use super::report::{Findings, HoleKind, Place, Progress};
use crate::history::error::HistoryError;
use crate::history::import::replaced_seqs;
use crate::history::replay::part_reader::PartReader;
use crate::history::replay::ranges::PathRanges;
use crate::history::replay::rows::column;
use crate::history::view::View;

/// Seqs that are looked at in one go: a bit each.
const WINDOW_SEQS: i64 = 1 << 26;

/// Checks that each seq from the first kept to the last is there exactly once, but for those that an import replaced.
pub(super) fn check(
    view: &View,
    findings: &mut Findings,
    progress: &mut impl FnMut(Progress),
) -> Result<(), HistoryError> {
    let mut bounds: Option<(i64, i64)> = None;
    let mut widen = |first: i64, last: i64| {
        bounds = Some(bounds.map_or((first, last), |(low, high)| (low.min(first), high.max(last))));
    };
    for part in view.changes.parts.iter() {
        widen(part.range.first, part.range.last);
    }
    for head in view.changes.head.iter() {
        let seq = column::<Int64Array>(&head.batch, "seq", Path::new("the head of changes"))?;
        for seq in seq.values() {
            widen(*seq, *seq);
        }
    }
    let Some((first, last)) = bounds else { return Ok(()) };
    let total = last.saturating_sub(first) as u64 + 1;
    let mut low = first;
    loop {
        let high = last.min(low.saturating_add(WINDOW_SEQS - 1));
        check_window(view, low, high, findings)?;
        progress(Progress { step: "seqs", done: high.saturating_sub(first) as u64 + 1, total });
        if high == last {
            return Ok(());
        }
        low = high + 1;
    }
}

fn check_window(view: &View, low: i64, high: i64, findings: &mut Findings) -> Result<(), HistoryError> {
    let count = (high - low) as usize + 1;
    let mut seen = vec![0_u64; count.div_ceil(64)];
    let mut add = |seq: i64, findings: &mut Findings| {
        if !(low..=high).contains(&seq) {
            return;
        }
        let at = (seq - low) as usize;
        let (word, bit) = (at / 64, 1 << (at % 64));
        if seen[word] & bit != 0 {
            let place = Place { seq: Some(seq), ..Place::default() };
            findings.hole(HoleKind::Seq, place, format!("seq {seq} is there more than once"));
        }
        seen[word] |= bit;
    };
    for part in view.changes.parts.iter().filter(|part| part.range.last >= low && part.range.first <= high) {
        let keep = |(min, max): (i64, i64)| max >= low && min <= high;
        let mut reader = PartReader::open(part, &["seq"], 65_536, &PathRanges::all(), |group| {
            group.numbers("seq").is_none_or(keep)
        })?;
        while let Some(batch) = reader.next()? {
            let seq = column::<Int64Array>(&batch, "seq", reader.place())?;
            seq.values().iter().for_each(|seq| add(*seq, findings));
        }
    }
    for head in view.changes.head.iter() {
        let seq = column::<Int64Array>(&head.batch, "seq", Path::new("the head of changes"))?;
        seq.values().iter().for_each(|seq| add(*seq, findings));
    }
    for part in view.changes.parts.iter() {
        for (first, last) in replaced_seqs(part)? {
            for at in (first.max(low)..=last.min(high)).map(|seq| (seq - low) as usize) {
                seen[at / 64] |= 1 << (at % 64);
            }
        }
    }
    let mut missing: Option<i64> = None;
    for at in 0..=count {
        let is_missing = at < count && seen[at / 64] & (1 << (at % 64)) == 0;
        match (missing, is_missing) {
            (None, true) => missing = Some(low + at as i64),
            (Some(from), false) => {
                report_missing(view, from, low + at as i64 - 1, findings);
                missing = None;
            }
            _ => {}
        }
    }
    Ok(())
}

fn report_missing(view: &View, from: i64, to: i64, findings: &mut Findings) {
    let holder = view.changes.parts.iter().find(|part| part.range.first <= from && to <= part.range.last);
    let place = Place { seq: Some(from), ..Place::default() };
    let which = if from == to { format!("seq {from} is") } else { format!("seqs {from} to {to} are") };
    let detail = match holder {
        Some(part) => format!("{which} missing, by its name in {}", part.path().display()),
        None => format!("{which} missing"),
    };
    findings.hole(HoleKind::Seq, place, detail);
}
