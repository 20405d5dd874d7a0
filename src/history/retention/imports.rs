//! Whether a cut by seq is a cut of history, where imports added rows long after the fact.

use std::sync::Arc;

use crate::history::error::HistoryError;
use crate::history::gaps::intervals;
use crate::history::part::Part;
use crate::history::replay::part_reader::part_numbers;
use crate::history::replay::rows::Needs;
use crate::history::replay::scan::scan_part;
use crate::history::snapshots::is_placed;
use crate::history::view::View;

/// What imports did to a history.
pub(super) struct Imports {
    /// Some log was imported: without any, seqs and zxids rise together.
    any: bool,
}

impl Imports {
    pub(super) fn of(view: &View) -> Result<Self, HistoryError> {
        Ok(Self { any: intervals(view)?.iter().any(|interval| interval.is_lossless()) })
    }

    /// Whether no row up to the snapshot's seq is of a later transaction, and none after it was imported into what it
    /// holds. `place` is its incarnation and position.
    pub(super) fn agree(&self, view: &View, snapshot: &Arc<Part>, place: (i32, i64)) -> Result<bool, HistoryError> {
        let placed = is_placed(snapshot)?;
        if !self.any && !placed {
            return Ok(true);
        }
        let (incarnation, position) = place;
        let seq = snapshot.range.last;
        for part in view.changes.parts.iter() {
            let Some((min, max)) = part_numbers(part, "position")? else { return Ok(false) };
            let may_be_later = placed && part.range.first <= seq && max > position;
            let may_be_earlier = part.range.last > seq && min <= position;
            if !may_be_later && !may_be_earlier {
                continue;
            }
            let mut agrees = true;
            scan_part(
                part,
                Needs::default(),
                |_| true,
                |row| {
                    let own = row.incarnation() == incarnation;
                    let later = placed && row.seq() <= seq && row.position() > position;
                    let earlier = row.seq() > seq && row.position() <= position && row.is_lossless();
                    agrees &= !(own && (later || earlier));
                },
            )?;
            if !agrees {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
