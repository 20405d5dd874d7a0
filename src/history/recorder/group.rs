//! One group: what becomes one WAL frame.

use arrow::error::ArrowError;
use tokio::sync::OwnedSemaphorePermit;

use crate::history::layout::Table;
use crate::history::rows::{ChangeRows, CoverageRow, Sighting, coverage_rows, sighting_rows};
use crate::history::view::HeadBatch;
use crate::history::wal::Seqs;
use crate::history::wal::entry::{Kind, Section};
use crate::zk::{Change, Micros, Zxid};

/// Rows that wait for the next commit, numbered already where they are changes.
#[derive(Default)]
pub(super) struct Group {
    pub changes: ChangeRows,
    pub sightings: Vec<Sighting>,
    pub coverage: Vec<CoverageRow>,
    pub bytes: usize,
    pub oldest_heard_at: Option<Micros>,
    pub last_zxid: Option<Zxid>,
    pub last_time: Option<Micros>,
    /// The greatest (incarnation, position).
    pub place: Option<(i32, Zxid)>,
    /// Room in the queue that the group's entries still take.
    pub room: Vec<OwnedSemaphorePermit>,
}

/// A group as batches, ready to be written and then shown.
pub(super) struct Batches {
    pub changes: Vec<HeadBatch>,
    pub coverage: Vec<HeadBatch>,
    pub sightings: Vec<HeadBatch>,
    /// The seqs after them.
    pub next: Seqs,
}

impl Group {
    pub(super) fn push(&mut self, seq: i64, change: &Change) -> Result<(), ArrowError> {
        self.changes.push(seq, change)?;
        self.bytes += super::change_bytes(change);
        self.oldest_heard_at = Some(self.oldest_heard_at.map_or(change.observed_at, |at| at.min(change.observed_at)));
        if change.zxid.is_some() {
            self.last_zxid = change.zxid;
            self.last_time = Some(change.time);
        }
        self.place = self.place.max(Some((change.incarnation, change.position)));
        Ok(())
    }

    pub(super) fn has_rows(&self) -> bool {
        self.rows() > 0
    }

    pub(super) fn rows(&self) -> usize {
        self.changes.rows() + self.sightings.len() + self.coverage.len()
    }

    /// The rows as batches; `next` are the seqs before them.
    pub(super) fn batches(&mut self, next: Seqs) -> Result<Batches, ArrowError> {
        let rows = self.changes.rows() as i64;
        let batches = Batches {
            changes: self.changes.take()?,
            coverage: coverage_rows(&self.coverage, next.coverage)?,
            sightings: sighting_rows(&self.sightings, next.sessions)?,
            next: Seqs {
                changes: next.changes + rows,
                coverage: next.coverage + self.coverage.len() as i64,
                sessions: next.sessions + self.sightings.len() as i64,
            },
        };
        Ok(batches)
    }
}

impl Batches {
    /// As the sections of a frame, without a mark.
    pub(super) fn sections(&self) -> Vec<Section> {
        let tables =
            [(Table::Changes, &self.changes), (Table::Coverage, &self.coverage), (Table::Sessions, &self.sightings)];
        let sections = tables.into_iter().flat_map(|(table, batches)| {
            batches.iter().map(move |batch| Section {
                kind: Kind::Rows(table),
                first_seq: crate::history::head::seqs(&batch.batch).map_or(0, |seqs| seqs.first),
                batch: batch.batch.clone(),
            })
        });
        sections.collect()
    }
}
