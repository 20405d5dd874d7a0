//! One history of several sources: a stream of complete changes, as a server's own transaction log proves them, goes into
//! a cluster's folder, which may be empty or may hold the same changes as watches saw them.
//!
//! ```text
//! change()  → chunk ──(nothing recorded there)──→ fresh: sort, encode on a thread ──→ add_part     a day's new part
//!                   └─(rows of watches there)───→ recorded → twins → complete ──────→ exchange     the day as a whole
//! covered() → the rest of the chunk, durable → a row of coverage
//! snapshot() → the whole tree at a zxid, `placed`: a replay from it goes by zxids, whatever was recorded when
//! ```
//!
//! What holds:
//! - A chunk is some consecutive transactions, none of them cut. Memory is a few chunks, whatever the stream's length.
//! - A **twin** is the row of the same (incarnation, zxid, path, kind, n). It is completed where it stands: it keeps its
//!   seq, its day and when it was heard of, and its value where the policy had its say; everything else is the log's.
//! - A row **without a zxid** is one of the log's changes of its path and kind, after its position and not after the next
//!   zxid that was heard live behind it: it is completed as a twin. Where the log has no such change it is replaced, that
//!   is: it goes, the part's metadata names its seq ([`REPLACED_KEY`]), and the log says so.
//! - Everything else is new: the next seqs, the day of the commit. New rows are numbered day by day and put in place in
//!   that order, so that whatever moment the process dies in, seqs have no hole.
//! - Each day changes in one step. A killed import leaves days that are done and days that are not; the same import
//!   again finds the done rows as twins that need nothing. Only [`Importer::covered`] says that a stretch is whole.
//! - What contradicts the record is refused before its chunk is written.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;

use super::days::Retired;
use super::error::HistoryError;
use super::open::History;
use super::rows::{CoverageRow, Sighting};
use crate::zk::{Change, Micros, Zxid};

mod chunk;
mod complete;
mod cover;
mod days;
mod decode;
mod fresh;
mod heard;
mod merge;
mod other;
mod pairs;
mod recorded;
mod terms;
mod tree;
mod twins;

#[cfg(test)]
mod tests;

pub(crate) use days::{replaced_seqs, show_seqs};
pub(crate) use heard::Heard;
pub use terms::{ImportError, ImportSettings, ImportSummary};
pub use tree::ZnodeRow;

use chunk::Chunk;
use fresh::Encoded;
use recorded::Recorded;

/// In a part's metadata: the seqs of rows that an import replaced, as `12,40-43`.
pub(crate) const REPLACED_KEY: &str = "zktrail.replaced";

/// A chunk takes this share of the memory bound: one is filled while others are encoded, sorted and compressed.
const CHUNK_SHARE: usize = 8;
const MERGED_SHARE: usize = 4;
/// Unplaced rows that wait for later transactions, at most; an older one beyond that stays as it is.
const CARRIED_ROWS_MAX: usize = 200_000;

impl History {
    /// Begins to import into an open folder. What the WAL had is in parts already; where there was no room for that, it
    /// fails.
    pub fn import(&mut self, settings: ImportSettings) -> Result<Importer<'_>, HistoryError> {
        let heard = Heard::of(&self.state.view(), settings.incarnation)?;
        let begun = Paused {
            settings,
            carried: Vec::new(),
            heard,
            begin: None,
            reached: None,
            unseen_after: None,
            last: None,
            ahead: None,
            ahead_asked: false,
            retired: Retired::default(),
            summary: ImportSummary::default(),
        };
        self.resume_import(begun)
    }

    /// Goes on with an import that was paused. Other rows may have been recorded since, but none that could be of the
    /// stretch that it has worked in.
    pub fn resume_import(&mut self, paused: Paused) -> Result<Importer<'_>, HistoryError> {
        let has_head = super::head::TABLES.iter().any(|table| !self.state.view().head(*table).is_empty());
        if has_head || !self.unwritten.is_empty() {
            let floor = paused.settings.free_space_floor_percent;
            self.disk.check_floor(self.layout.dir(), floor)?;
            let cluster = &self.cluster;
            return Err(HistoryError::Unknown(format!(
                "cluster {cluster} has rows in its WAL that found no room in parts: make room, then import again"
            )));
        }
        Ok(Importer {
            chunk: Chunk::default(),
            chunk_bytes_max: (paused.settings.bytes_max / CHUNK_SHARE).max(1 << 12),
            in_flight: InFlight::default(),
            sightings: Vec::new(),
            coverage: Vec::new(),
            failed: false,
            history: self,
            so_far: paused,
        })
    }
}

/// Takes a stream in; see the [module](self).
///
/// Dropping it without [`Importer::finish`] leaves what was put in place so far, which the next import finds.
pub struct Importer<'h> {
    history: &'h mut History,
    chunk: Chunk,
    chunk_bytes_max: usize,
    in_flight: InFlight,
    sightings: Vec<Sighting>,
    coverage: Vec<CoverageRow>,
    failed: bool,
    so_far: Paused,
}

/// An import between two stretches of its stream: what it has to remember of the first.
#[derive(Debug)]
pub struct Paused {
    settings: ImportSettings,
    /// Unplaced rows that no transaction so far accounts for.
    carried: Vec<Recorded>,
    heard: Heard,
    /// The zxid after which the stream has everything.
    begin: Option<i64>,
    /// Up to here the stream was worked in.
    reached: Option<i64>,
    /// Rows after this seq were recorded while it was paused: also those whose position was worked in before.
    unseen_after: Option<i64>,
    /// The place of the last change given.
    last: Option<(i64, i32)>,
    /// What the agent's clock shows more than the server's, by the last row that both know.
    ahead: Option<i64>,
    ahead_asked: bool,
    retired: Retired,
    summary: ImportSummary,
}

impl Importer<'_> {
    /// Takes the next change, in the order (zxid, ordinal). Its values have passed the policy; `observed_at` is when this
    /// machine heard of it: the time of the import, not that of the commit.
    pub fn change(&mut self, change: Change) -> Result<(), ImportError> {
        let place = self.check(&change)?;
        let begins = self.chunk.last_zxid() != Some(place.0);
        if begins && self.chunk.bytes() >= self.chunk_bytes_max {
            let to = self.chunk.last_zxid().unwrap_or(place.0);
            self.guarded(|import| import.work_in(to))?;
        }
        if self.so_far.begin.is_none() {
            self.so_far.begin = Some(place.0.saturating_sub(1));
        }
        self.so_far.last = Some(place);
        self.chunk.push(change);
        Ok(())
    }

    fn check(&self, change: &Change) -> Result<(i64, i32), ImportError> {
        let incomplete = |what| ImportError::Incomplete { path: change.path.to_string(), kind: change.kind, what };
        let Some(zxid) = change.zxid else { return Err(incomplete("its zxid")) };
        if change.incarnation != self.so_far.settings.incarnation {
            return Err(incomplete("the incarnation of the import"));
        }
        let place = (zxid.0, change.ordinal);
        let after = self.so_far.last.map(|last| last.0).max(self.so_far.reached);
        let is_later =
            self.so_far.last.is_none_or(|last| place > last) && self.so_far.reached.is_none_or(|to| zxid.0 > to);
        if let (false, Some(after)) = (is_later, after) {
            let path = change.path.to_string();
            return Err(ImportError::OutOfOrder { path, kind: change.kind, zxid, after: Zxid(after) });
        }
        Ok(place)
    }

    /// Takes what the log tells of a session. One that is on record already is not recorded again.
    pub fn sighting(&mut self, sighting: Sighting) -> Result<(), ImportError> {
        self.sightings.push(sighting);
        if self.sightings.len() >= cover::SIGHTINGS_MAX {
            self.guarded(Self::flush_sightings)?;
        }
        Ok(())
    }

    /// Every change after `from` up to and with `to` has been given: makes all of it durable, then says so in coverage.
    pub fn covered(&mut self, from: (Zxid, Micros), to: (Zxid, Micros)) -> Result<(), ImportError> {
        self.so_far.begin = Some(self.so_far.begin.map_or(from.0.0, |begin| begin.min(from.0.0)));
        self.guarded(|import| {
            import.work_in(to.0.0)?;
            import.settle()?;
            import.flush_sightings()?;
            import.cover(from, to)
        })
    }

    /// The whole tree after the transaction `at`, sorted by path, bytewise; `time` is the server's then.
    ///
    /// Give the one that the stream begins with before its first change. One of the same zxid that is there already is
    /// left as it is, and `rows` are not read.
    pub fn snapshot<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
        &mut self,
        at: Zxid,
        time: Micros,
        rows: impl Iterator<Item = Result<ZnodeRow, E>>,
    ) -> Result<(), ImportError> {
        if self.so_far.begin.is_none() {
            self.so_far.begin = Some(at.0);
        }
        self.guarded(|import| {
            if let Some(last) = import.chunk.last_zxid() {
                import.work_in(last.max(at.0))?;
            }
            import.settle()?;
            import.write_tree(at, time, rows)
        })
    }

    /// Every change up to and with `to` has been given: works all of it in. Unlike [`Importer::covered`] it says so nowhere.
    pub fn reached(&mut self, to: Zxid) -> Result<(), ImportError> {
        self.guarded(|import| {
            import.work_in(to.0)?;
            import.settle()?;
            import.flush_sightings()
        })
    }

    /// Transactions are missing here: what was given so far is worked in, and what comes next is a stretch of its own.
    pub fn lose(&mut self) -> Result<(), ImportError> {
        self.guarded(|import| {
            if let Some(to) = import.chunk.last_zxid() {
                import.work_in(to)?;
            }
            import.settle()?;
            import.end_carried()?;
            (import.so_far.begin, import.so_far.reached, import.so_far.unseen_after) = (None, None, None);
            Ok(())
        })
    }

    /// Makes what was given durable and lets go of the folder, to go on later.
    pub fn pause(mut self) -> Result<Paused, ImportError> {
        self.guarded(|import| {
            if let Some(to) = import.chunk.last_zxid() {
                import.work_in(to)?;
            }
            import.settle()?;
            import.raise_carried(false)?;
            import.flush_sightings()
        })?;
        // What was not looked at since the last pause waits for the next.
        self.so_far.unseen_after.get_or_insert(self.history.next.changes - 1);
        Ok(self.so_far)
    }

    /// Ends the import: what is left of it becomes durable.
    pub fn finish(mut self) -> Result<ImportSummary, ImportError> {
        self.guarded(|import| {
            if let Some(to) = import.chunk.last_zxid() {
                import.work_in(to)?;
            }
            import.settle()?;
            import.flush_sightings()?;
            import.end_carried()
        })?;
        Ok(self.so_far.summary)
    }

    /// After a failure nothing more is done: what was numbered behind it must not be put in place.
    fn guarded<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, ImportError>) -> Result<T, ImportError> {
        if self.failed {
            let cluster = &self.history.cluster;
            return Err(HistoryError::Unknown(format!("the import into {cluster} has failed: begin it anew")).into());
        }
        let result = work(self);
        self.failed = result.is_err();
        result
    }

    /// The rows of coverage that were left to the caller, to be recorded behind everything that was worked in.
    pub fn take_coverage(&mut self) -> Vec<CoverageRow> {
        std::mem::take(&mut self.coverage)
    }

    /// What was done so far.
    pub fn summary(&self) -> ImportSummary {
        self.so_far.summary
    }

    /// What the folder held when the import began, and what it has put there.
    pub fn view(&self) -> super::view::View {
        self.history.state.view()
    }

    /// Works in what was given up to `to`, which is whole.
    fn work_in(&mut self, to: i64) -> Result<(), ImportError> {
        let begin = self.so_far.begin.unwrap_or(to);
        let low = self.so_far.reached.unwrap_or(begin);
        if to <= low && self.chunk.is_empty() {
            return Ok(());
        }
        let floor = self.so_far.settings.free_space_floor_percent;
        self.history.disk.check_floor(self.history.layout.dir(), floor)?;
        let chunk = std::mem::take(&mut self.chunk);
        let window = self.window(low, to)?;
        self.so_far.unseen_after = None;
        if window.is_empty() && self.so_far.carried.is_empty() {
            self.encode(chunk)?;
        } else {
            self.settle()?;
            self.merge(chunk, &window)?;
            // Days are rewritten a chunk at a time, so with nothing beside it a chunk may be greater.
            self.chunk_bytes_max = (self.so_far.settings.bytes_max / MERGED_SHARE).max(1 << 12);
        }
        self.so_far.reached = Some(to.max(low));
        Ok(())
    }

    /// Lets a thread encode rows that are all new.
    fn encode(&mut self, chunk: Chunk) -> Result<(), ImportError> {
        if chunk.is_empty() {
            return Ok(());
        }
        self.so_far.summary.new += chunk.changes.len() as u64;
        let job = fresh::Job::new(self.history, chunk, self.history.next.changes);
        self.history.next.changes = job.next_seq();
        if self.so_far.settings.threads_max == 0 {
            let encoded = job.run()?;
            return self.place(encoded);
        }
        self.in_flight.0.push_back(std::thread::spawn(move || job.run()));
        while self.in_flight.0.len() > self.so_far.settings.threads_max {
            self.place_oldest()?;
        }
        Ok(())
    }

    /// Waits until everything worked in so far is in place.
    fn settle(&mut self) -> Result<(), ImportError> {
        while !self.in_flight.0.is_empty() {
            self.place_oldest()?;
        }
        Ok(())
    }

    fn place_oldest(&mut self) -> Result<(), ImportError> {
        let Some(thread) = self.in_flight.0.pop_front() else { return Ok(()) };
        let encoded = thread
            .join()
            .map_err(|_| HistoryError::Unknown("the thread that encodes a part ended unexpectedly".to_owned()))??;
        self.place(encoded)
    }

    fn place(&mut self, encoded: Vec<Encoded>) -> Result<(), ImportError> {
        for part in encoded {
            part.place(self.history)?;
            self.so_far.summary.parts += 1;
        }
        Ok(())
    }

    fn flush_sightings(&mut self) -> Result<(), ImportError> {
        let sightings = std::mem::take(&mut self.sightings);
        self.so_far.summary.sightings += cover::add_sightings(self.history, sightings)?;
        Ok(())
    }

    fn cover(&mut self, from: (Zxid, Micros), to: (Zxid, Micros)) -> Result<(), ImportError> {
        let view = self.history.state.view();
        if self.so_far.ahead.is_none() && !self.so_far.ahead_asked {
            self.so_far.ahead_asked = true;
            self.so_far.ahead = cover::agent_ahead(&view, self.so_far.settings.incarnation, to.1)?;
        }
        let ahead = self.so_far.ahead.unwrap_or(0);
        let brought_over = |time: Micros| Micros(time.0.saturating_add(ahead));
        let whole = CoverageRow {
            incarnation: self.so_far.settings.incarnation,
            source: self.so_far.settings.source,
            path: self.so_far.settings.scope.clone(),
            aspect: super::coverage::Aspect::Data,
            from_time: brought_over(from.1),
            to_time: brought_over(to.1),
            from_zxid: from.0,
            to_zxid: to.0,
            ended: Some(crate::zk::Ended::Stopped),
            missed_at_least: 0,
        };
        let rows = cover::uncovered_rows(&view, whole)?;
        self.so_far.summary.coverage += rows.len() as u64;
        if self.so_far.settings.leaves_coverage {
            self.coverage.extend(rows);
        } else {
            cover::add_coverage(self.history, rows)?;
        }
        Ok(())
    }
}

/// Chunks on their way to files, oldest first.
#[derive(Default)]
struct InFlight(VecDeque<JoinHandle<Result<Vec<Encoded>, HistoryError>>>);

impl Drop for InFlight {
    fn drop(&mut self) {
        for thread in self.0.drain(..) {
            // Its file has a dot-name that the next start removes.
            let _ = thread.join();
        }
    }
}

impl std::fmt::Debug for Importer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Importer")
            .field("history", &self.history)
            .field("reached", &self.so_far.reached)
            .finish_non_exhaustive()
    }
}

/// Shares what every row of a stream has with it.
type Cluster = Arc<str>;
