//! The current [`View`] of a cluster and the one place where it is replaced.
//!
//! Whoever changes the set of parts on disk does so inside [`State::add_part`], [`State::replace_day`] or
//! [`State::drop_parts`]: the step on disk and the new View happen under one lock, so that a flush that puts a part into
//! a day and an exchange of that day can never miss each other. Readers never wait for that lock.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::error::ArrowError;

use super::error::HistoryError;
use super::layout::{Day, Table};
use super::part::Part;
use super::view::{HeadBatch, View};
use crate::zk::{Ended, Micros};

#[cfg(test)]
mod tests;

/// One cluster's history as it is now. Shared by the recorder, the maintenance and every query.
#[derive(Debug)]
pub struct State {
    view: RwLock<View>,
    /// Held while a new View is made, together with the step on disk that it shows.
    publishing: Mutex<()>,
}

/// Why a day was not replaced.
#[derive(Debug, thiserror::Error)]
pub enum ReplaceError {
    /// Parts came or went since the new day was begun: build it again from what is there now.
    #[error("day {day} of {} changed while it was being rewritten", table.as_str())]
    Changed { table: Table, day: Day },

    #[error(transparent)]
    History(#[from] HistoryError),
}

impl State {
    pub fn new(view: View) -> Self {
        Self { view: RwLock::new(view), publishing: Mutex::new(()) }
    }

    /// The history at this instant. Cheap; never waits for I/O.
    pub fn view(&self) -> View {
        self.view.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the View by what `f` makes of it.
    pub(crate) fn publish(&self, f: impl FnOnce(&View) -> View) {
        let result: Result<(), std::convert::Infallible> = self.step(|view| Ok(f(view)));
        match result {
            Ok(()) => {}
        }
    }

    /// Puts a part into its place on disk (`place`: rename, fsync) and into the View, as one step.
    pub fn add_part(&self, place: impl FnOnce() -> Result<Arc<Part>, HistoryError>) -> Result<Arc<Part>, HistoryError> {
        self.add_part_and(place, |_| {})
    }

    /// As [`State::add_part`]; `also` changes the rest of the View in the same step.
    pub(crate) fn add_part_and(
        &self,
        place: impl FnOnce() -> Result<Arc<Part>, HistoryError>,
        also: impl FnOnce(&mut View),
    ) -> Result<Arc<Part>, HistoryError> {
        let mut placed = None;
        self.step(|view| {
            let part = place()?;
            placed = Some(part.clone());
            let mut view = with_parts(view, part.table, |parts| parts.push(part));
            also(&mut view);
            Ok::<_, HistoryError>(view)
        })?;
        placed.ok_or_else(|| HistoryError::Unknown("a part was placed but is not known".to_owned()))
    }

    /// Replaces a day of a table as a whole.
    ///
    /// `expected` is the day's parts as the caller read them; where the day has others by now, nothing happens and
    /// [`ReplaceError::Changed`] says so. `swap` exchanges the folders and gives the path where the old one is now, or
    /// `None` where it did nothing (see [`Part::moved`]); then the View shows `new` in place of `expected`.
    pub fn replace_day(
        &self,
        table: Table,
        day: Day,
        expected: &[Arc<Part>],
        swap: impl FnOnce() -> Result<Option<PathBuf>, HistoryError>,
        new: Vec<Arc<Part>>,
    ) -> Result<(), ReplaceError> {
        self.step(|view| {
            let now: Vec<&Arc<Part>> = view.parts(table).iter().filter(|part| part.day == day).collect();
            let same = now.len() == expected.len()
                && now.iter().all(|part| expected.iter().any(|expected| Arc::ptr_eq(part, expected)));
            if !same {
                return Err(ReplaceError::Changed { table, day });
            }
            let swapped = moved(expected, swap)?;
            if !swapped {
                return Ok(view.clone());
            }
            Ok(with_parts(view, table, |parts| {
                parts.retain(|part| part.day != day);
                parts.extend(new);
            }))
        })
    }

    /// Takes parts out of the View and off the disk. `remove` renames their folder out of sight and gives its new path
    /// (readers go on there until they drop the parts), or removes the files and gives `None`.
    pub fn drop_parts(
        &self,
        drop: &[Arc<Part>],
        remove: impl FnOnce() -> Result<Option<PathBuf>, HistoryError>,
    ) -> Result<(), HistoryError> {
        self.step(|view| {
            moved(drop, remove)?;
            let mut view = view.clone();
            for table in Table::ALL {
                if drop.iter().any(|part| part.table == table) {
                    view = with_parts(&view, table, |parts| {
                        parts.retain(|part| !drop.iter().any(|drop| Arc::ptr_eq(part, drop)));
                    });
                }
            }
            Ok(view)
        })
    }

    /// Shows the open intervals as ended, because the recorder that would say so has failed. Only readers of this State
    /// see it; what the folder keeps is decided when it is opened again ([`super::open::History::open_after`]).
    pub fn end_open_coverage(&self, ended: Ended) -> Result<(), HistoryError> {
        let view = self.view();
        let at = |source| HistoryError::Arrow { path: "coverage".into(), source };
        let ended = ended_rows(&view, ended).map_err(at)?;
        self.publish(|view| {
            let mut view = view.clone();
            let day = Day(Micros::now().day());
            let mut head = view.coverage.head.to_vec();
            if ended.num_rows() > 0 {
                head.push(HeadBatch { day, batch: ended });
            }
            view.coverage.head = head.into();
            view.open_coverage = view.open_coverage.slice(0, 0);
            view
        });
        Ok(())
    }

    fn step<E>(&self, f: impl FnOnce(&View) -> Result<View, E>) -> Result<(), E> {
        let publishing = self.publishing.lock().unwrap_or_else(PoisonError::into_inner);
        let next = f(&self.view())?;
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut *view, next);
        // The last holder of a retired day removes its folder: not while others wait for a lock.
        drop(view);
        drop(publishing);
        drop(old);
        Ok(())
    }
}

/// The open intervals with an end.
fn ended_rows(view: &View, ended: Ended) -> Result<RecordBatch, ArrowError> {
    let open = numbered_coverage(view)?;
    let column = open.schema().index_of("ended")?;
    let mut columns = open.columns().to_vec();
    if let Some(of) = columns.get_mut(column) {
        *of = Arc::new(StringArray::from(vec![ended.as_str(); open.num_rows()]));
    }
    RecordBatch::try_new(open.schema(), columns)
}

/// The open intervals as rows that follow on all others.
pub(super) fn numbered_coverage(view: &View) -> Result<RecordBatch, ArrowError> {
    let open = &view.open_coverage;
    let in_parts = view.coverage.parts.iter().map(|part| part.range.last).max().unwrap_or(0);
    let in_head: usize = view.coverage.head.iter().map(|head| head.batch.num_rows()).sum();
    let first = in_parts + i64::try_from(in_head).unwrap_or(i64::MAX / 2) + 1;
    let column = open.schema().index_of("seq")?;
    let mut columns = open.columns().to_vec();
    if let Some(of) = columns.get_mut(column) {
        *of = Arc::new(Int64Array::from_iter_values((first..).take(open.num_rows())));
    }
    RecordBatch::try_new(open.schema(), columns)
}

fn moved(
    parts: &[Arc<Part>],
    exchange: impl FnOnce() -> Result<Option<PathBuf>, HistoryError>,
) -> Result<bool, HistoryError> {
    let mut moved = false;
    Part::moved(parts, || {
        let folder = exchange()?;
        moved = folder.is_some();
        Ok::<_, HistoryError>(folder)
    })?;
    Ok(moved)
}

/// The same View with other parts of one table, put in the order of their first seq.
fn with_parts(view: &View, table: Table, change: impl FnOnce(&mut Vec<Arc<Part>>)) -> View {
    let mut parts = view.parts(table).to_vec();
    change(&mut parts);
    parts.sort_by_key(|part| part.range);
    let mut view = view.clone();
    let parts: Arc<[Arc<Part>]> = parts.into();
    match table {
        Table::Changes => view.changes.parts = parts,
        Table::Coverage => view.coverage.parts = parts,
        Table::Sessions => view.sessions.parts = parts,
        Table::Audit => view.audit = parts,
        Table::Snapshots => view.snapshots = parts,
    }
    view
}
