//! The intervals that are being observed right now: pure bookkeeping, no clock and no I/O.
//!
//! An interval is open from its `Open` to its `Close`; `Progress` says how far it has been heard. At a flush every open
//! interval becomes a closed row (`rolled`) and goes on from where that row ends, so that the WAL can let go of it.

use std::collections::BTreeMap;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use arrow::error::ArrowError;

use super::rows::{CoverageRow, OPEN_SEQ, coverage_batch};
use crate::zk::{Ended, Micros, Source, ZkPath, Zxid};

#[cfg(test)]
mod tests;

/// What of a znode is observed: ACLs give no notification, so they are covered on their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Aspect {
    Data,
    Acl,
}

impl Aspect {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Acl => "acl",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Data, Self::Acl].into_iter().find(|aspect| aspect.as_str() == text)
    }
}

/// What a pipeline says about what it observes.
#[derive(Clone, Debug, PartialEq)]
pub enum CoverageEntry {
    /// Observing begins. An interval of the same source, path and aspect that is still open ends as `rolled`.
    Open {
        source: Source,
        path: ZkPath,
        aspect: Aspect,
        incarnation: i32,
        from_time: Micros,
        from_zxid: Zxid,
        missed_at_least: i64,
    },
    /// Every open interval of the source and aspect has been heard up to here.
    Progress { source: Source, aspect: Aspect, time: Micros, zxid: Zxid },
    /// Observing ended; `path` `None` stands for every path of the source and aspect. Without a time or zxid it ended
    /// where the last progress was.
    Close {
        source: Source,
        path: Option<ZkPath>,
        aspect: Aspect,
        to_time: Option<Micros>,
        to_zxid: Option<Zxid>,
        ended: Ended,
    },
}

type Key = (&'static str, Aspect, ZkPath);

/// Every open interval of a cluster.
#[derive(Clone, Debug, Default)]
pub struct OpenCoverage {
    intervals: BTreeMap<Key, CoverageRow>,
}

impl OpenCoverage {
    pub fn len(&self) -> usize {
        self.intervals.len()
    }

    pub fn is_empty(&self) -> bool {
        self.intervals.is_empty()
    }

    /// Takes an entry in; `closed` gets the rows of the intervals that it ended.
    pub fn apply(&mut self, entry: CoverageEntry, closed: &mut Vec<CoverageRow>) {
        match entry {
            CoverageEntry::Open { source, path, aspect, incarnation, from_time, from_zxid, missed_at_least } => {
                let row = CoverageRow {
                    incarnation,
                    source,
                    path: path.clone(),
                    aspect,
                    from_time,
                    to_time: from_time,
                    from_zxid,
                    to_zxid: from_zxid,
                    ended: None,
                    missed_at_least,
                };
                if let Some(mut before) = self.intervals.insert((source.as_str(), aspect, path), row) {
                    before.ended = Some(Ended::Rolled);
                    closed.push(before);
                }
            }
            CoverageEntry::Progress { source, aspect, time, zxid } => {
                for row in self.intervals.values_mut().filter(|row| row.source == source && row.aspect == aspect) {
                    row.to_time = row.to_time.max(time);
                    row.to_zxid = row.to_zxid.max(zxid);
                }
            }
            CoverageEntry::Close { source, path, aspect, to_time, to_zxid, ended } => {
                let ends = |row: &CoverageRow| {
                    row.source == source && row.aspect == aspect && path.as_ref().is_none_or(|path| row.path == *path)
                };
                self.intervals.retain(|_, row| {
                    if !ends(row) {
                        return true;
                    }
                    let mut row = row.clone();
                    row.to_time = to_time.unwrap_or(row.to_time).max(row.from_time);
                    row.to_zxid = to_zxid.unwrap_or(row.to_zxid).max(row.from_zxid);
                    row.ended = Some(ended);
                    closed.push(row);
                    false
                });
            }
        }
    }

    /// Ends every interval where it was last heard.
    pub fn close_all(&mut self, ended: Ended) -> Vec<CoverageRow> {
        let intervals = std::mem::take(&mut self.intervals);
        intervals.into_values().map(|row| CoverageRow { ended: Some(ended), ..row }).collect()
    }

    /// Closes every interval that was heard since it began, as `rolled`, and goes on from where it ended.
    pub fn roll(&mut self) -> Vec<CoverageRow> {
        let mut rolled = Vec::new();
        for row in self.intervals.values_mut() {
            if row.to_time == row.from_time && row.to_zxid == row.from_zxid {
                continue;
            }
            rolled.push(CoverageRow { ended: Some(Ended::Rolled), ..row.clone() });
            row.from_time = row.to_time;
            row.from_zxid = row.to_zxid;
            row.missed_at_least = 0;
        }
        rolled
    }

    /// The open intervals as rows of `coverage` with [`OPEN_SEQ`] and no `ended`: the WAL's mark, and what a View shows.
    pub fn batch(&self) -> Result<RecordBatch, ArrowError> {
        let rows: Vec<CoverageRow> = self.intervals.values().cloned().collect();
        coverage_batch(&rows, std::iter::repeat(OPEN_SEQ))
    }
}

/// The rows of a mark, as [`OpenCoverage::batch`] made it.
pub fn rows_of_mark(batch: &RecordBatch) -> Result<Vec<CoverageRow>, ArrowError> {
    let broken = |what: &str| ArrowError::ParseError(format!("a coverage mark without a valid {what}"));
    let longs = |name: &str| {
        batch.column_by_name(name).and_then(|column| column.as_primitive_opt::<Int64Type>()).ok_or_else(|| broken(name))
    };
    let times = |name: &str| {
        let column = batch.column_by_name(name);
        column.and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>()).ok_or_else(|| broken(name))
    };
    let texts = |name: &str| {
        batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>()).ok_or_else(|| broken(name))
    };
    let incarnation = batch.column_by_name("incarnation").and_then(|column| column.as_primitive_opt::<Int32Type>());
    let incarnation = incarnation.ok_or_else(|| broken("incarnation"))?;
    let (source, path, aspect) = (texts("source")?, texts("path")?, texts("aspect")?);
    let (from_time, to_time) = (times("from_time")?, times("to_time")?);
    let (from_zxid, to_zxid, missed) = (longs("from_zxid")?, longs("to_zxid")?, longs("missed_at_least")?);
    (0..batch.num_rows())
        .map(|row| {
            Ok(CoverageRow {
                incarnation: incarnation.value(row),
                source: Source::parse(source.value(row)).ok_or_else(|| broken("source"))?,
                path: path.value(row).into(),
                aspect: Aspect::parse(aspect.value(row)).ok_or_else(|| broken("aspect"))?,
                from_time: Micros(from_time.value(row)),
                to_time: Micros(to_time.value(row)),
                from_zxid: Zxid(from_zxid.value(row)),
                to_zxid: Zxid(to_zxid.value(row)),
                ended: None,
                missed_at_least: missed.value(row),
            })
        })
        .collect()
}
