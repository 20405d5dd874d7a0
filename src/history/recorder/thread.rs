//! The recorder's loop: wait, gather a group, commit, publish, flush.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arrow::error::ArrowError;
use tokio::sync::{mpsc, oneshot};

use super::flush::{Flushing, Job, outcome};
use super::group::Group;
use super::{Entry, PartsWork, Queued, RecorderEvent, SnapshotAt, SnapshotRequest};
use crate::history::coverage::{CoverageEntry, OpenCoverage};
use crate::history::error::HistoryError;
use crate::history::head;
use crate::history::open::History;
use crate::history::view::View;
use crate::history::wal::Seqs;
use crate::history::wal::entry::{Kind, Section};
use crate::history::wal::writer::let_go;
use crate::zk::{Ended, Micros, Zxid};

type Events = Arc<dyn Fn(RecorderEvent) + Send + Sync>;

/// With more open intervals than this a progress alone is written every `mark_every`, not with every group.
const EAGER_MARK_INTERVALS_MAX: usize = 16;
/// Free space is looked at no more often than this.
const FLOOR_CHECK_EVERY: Duration = Duration::from_secs(1);
/// A wait without any deadline.
const IDLE: Duration = Duration::from_secs(3_600);

/// Records until it is told to stop, everybody has gone, or something fails.
pub(super) fn run(history: History, mut queue: mpsc::Receiver<Queued>, events: Events) {
    let mut recorder = Recorder::new(history, events.clone());
    let result = recorder.run(&mut queue);
    // What is queued is refused before anybody hears why.
    drop(queue);
    // A flush or a snapshot under way is not cut off, so that nothing works on the folder once the lock is gone.
    if let Some(flushing) = recorder.flushing.take() {
        flushing.join();
    }
    for snapshot in recorder.snapshots.drain(..) {
        // It has told whoever asked for it how it ended.
        let _ = snapshot.join();
    }
    drop(recorder);
    if let Err(error) = result {
        events(RecorderEvent::Failed(error));
    }
}

struct Recorder {
    history: History,
    events: Events,
    next: Seqs,
    /// The greatest (incarnation, position) on record.
    place: Option<(i32, Zxid)>,
    coverage: OpenCoverage,
    group: Group,
    /// The first seqs of the active segment: rows before them are being flushed.
    boundary: Seqs,
    /// When the active segment got its first frame of rows or progress.
    active_since: Option<Instant>,
    flushing: Option<Flushing>,
    /// The threads that write what was asked for.
    snapshots: Vec<JoinHandle<()>>,
    /// Open intervals changed, or were heard further, since the last mark.
    mark_pending: Mark,
    marked_at: Instant,
    floor_checked_at: Option<Instant>,
    /// When the open intervals were rolled last.
    rolled_at: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Mark {
    None,
    Progress,
    Changed,
}

/// What the loop woke up for.
enum Woken {
    Entry(Queued),
    Flushed(Result<(), HistoryError>),
    Tick,
    Closed,
}

impl Recorder {
    fn new(history: History, events: Events) -> Self {
        let recorded = history.recorded();
        let place = recorded.last_incarnation.map(|incarnation| (incarnation, recorded.greatest_position));
        let head_is_empty = head::TABLES.iter().all(|table| history.state.view().head(*table).is_empty());
        let group = Group { coverage: history.unwritten.clone(), ..Group::default() };
        // Rows of a crash that found no room are numbered already: they are the last of coverage.
        let next = Seqs { coverage: history.next.coverage - group.coverage.len() as i64, ..history.next };
        Self {
            next,
            place,
            coverage: OpenCoverage::default(),
            group,
            boundary: Seqs::default(),
            active_since: (!head_is_empty).then(Instant::now),
            flushing: None,
            snapshots: Vec::new(),
            mark_pending: if head_is_empty { Mark::None } else { Mark::Changed },
            marked_at: Instant::now(),
            floor_checked_at: None,
            rolled_at: Instant::now(),
            history,
            events,
        }
    }

    fn run(&mut self, queue: &mut mpsc::Receiver<Queued>) -> Result<(), HistoryError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime =
            runtime.map_err(|source| HistoryError::io("start the recorder of", self.history.layout.dir(), source))?;
        self.write_recovered()?;
        loop {
            let stop = match runtime.block_on(self.wait(queue)) {
                Woken::Entry(first) => self.gather(first, queue)?,
                Woken::Flushed(result) => {
                    self.flush_ended(result)?;
                    None
                }
                Woken::Tick => None,
                Woken::Closed => Some(None),
            };
            if let Some(answer) = stop {
                return self.stop(answer);
            }
            self.commit_if_due()?;
            self.flush_if_due()?;
        }
    }

    async fn wait(&mut self, queue: &mut mpsc::Receiver<Queued>) -> Woken {
        let now = Instant::now();
        let settings = &self.history.settings;
        let mark = (self.mark_pending > Mark::None).then(|| self.marked_at + settings.mark_every);
        let flush = self.active_since.filter(|_| self.flushing.is_none()).map(|since| since + settings.flush_after);
        let deadline = mark.into_iter().chain(flush).min();
        let sleep = deadline.map_or(IDLE, |deadline| deadline.saturating_duration_since(now));
        let flushed = async {
            match &mut self.flushing {
                Some(flushing) => (&mut flushing.done).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            answer = flushed => Woken::Flushed(outcome(answer)),
            queued = queue.recv() => queued.map_or(Woken::Closed, Woken::Entry),
            () = tokio::time::sleep(sleep) => Woken::Tick,
        }
    }

    /// Takes in `first` and what is queued after it; commits whenever a group is full.
    /// Returns the answer that a Stop waits for.
    fn gather(
        &mut self,
        first: Queued,
        queue: &mut mpsc::Receiver<Queued>,
    ) -> Result<Option<Option<oneshot::Sender<()>>>, HistoryError> {
        let mut queued = Some(first);
        let mut taken = 0;
        while let Some(Queued { entry, room }) = queued {
            self.group.room.push(room);
            match entry {
                Entry::Changes(changes) => {
                    for change in changes {
                        let seq = self.next.changes + self.group.changes.rows() as i64;
                        let pushed = self.group.push(seq, &change);
                        pushed.map_err(|source| self.arrow(source))?;
                        if self.group_is_full() {
                            self.commit()?;
                            self.flush_if_due()?;
                        }
                    }
                }
                Entry::Sightings(sightings) => self.group.sightings.extend(sightings),
                Entry::Coverage(entry) => self.cover(entry),
                Entry::Snapshot(request) => {
                    self.commit()?;
                    self.snapshot(request);
                }
                Entry::Flush(answer) => {
                    self.flush_now()?;
                    // Nobody may be waiting any more.
                    let _ = answer.send(());
                }
                Entry::Parts(work) => self.work_on_parts(work)?,
                Entry::Stop(answer) => return Ok(Some(Some(answer))),
            }
            taken += 1;
            if self.group_is_full() || taken >= self.history.settings.group_rows_max {
                self.commit()?;
                self.flush_if_due()?;
                taken = 0;
            }
            queued = queue.try_recv().ok();
        }
        Ok(None)
    }

    fn group_is_full(&self) -> bool {
        let settings = &self.history.settings;
        self.group.rows() >= settings.group_rows_max || self.group.bytes >= settings.group_bytes_max
    }

    fn cover(&mut self, entry: CoverageEntry) {
        let kind = if matches!(entry, CoverageEntry::Progress { .. }) { Mark::Progress } else { Mark::Changed };
        self.mark_pending = self.mark_pending.max(kind);
        self.coverage.apply(entry, &mut self.group.coverage);
    }

    fn mark_is_due(&self) -> bool {
        self.mark_pending > Mark::None && self.marked_at.elapsed() >= self.history.settings.mark_every
    }

    /// Commits what was gathered. A progress alone waits for its time.
    fn commit_if_due(&mut self) -> Result<(), HistoryError> {
        if self.group.has_rows() || self.mark_pending == Mark::Changed || self.mark_is_due() {
            return self.commit();
        }
        self.group.room.clear();
        Ok(())
    }

    /// Makes the group durable, then visible, then tells. A group without rows writes what mark there is to write.
    fn commit(&mut self) -> Result<(), HistoryError> {
        let few = self.coverage.len() <= EAGER_MARK_INTERVALS_MAX;
        let with_mark = match self.mark_pending {
            Mark::None => false,
            Mark::Progress => few || self.mark_is_due(),
            Mark::Changed => true,
        };
        if !self.group.has_rows() && !with_mark {
            self.group.room.clear();
            return Ok(());
        }
        self.check_floor()?;
        let mut group = std::mem::take(&mut self.group);
        let batches = group.batches(self.next).map_err(|source| self.arrow(source))?;
        let mut sections = batches.sections();
        let mark = if with_mark { Some(self.mark(batches.next)?) } else { None };
        sections.extend(mark.clone());
        let fsync = self.history.wal.append(&sections)?;
        drop(sections);

        let mut publish = Ok(());
        self.history.state.publish(|view| match shown(view, &batches, mark, self.boundary) {
            Ok(view) => view,
            Err(error) => {
                publish = Err(error);
                view.clone()
            }
        });
        publish.map_err(|source| self.arrow(source))?;

        let changes = batches.next.changes - self.next.changes;
        self.next = batches.next;
        self.place = self.place.max(group.place);
        self.active_since.get_or_insert_with(Instant::now);
        if with_mark {
            self.mark_pending = Mark::None;
            self.marked_at = Instant::now();
        }
        (self.events)(RecorderEvent::Fsynced(fsync));
        self.tell_wal_bytes();
        (self.events)(RecorderEvent::Recorded {
            changes: usize::try_from(changes).unwrap_or(0),
            sightings: group.sightings.len(),
            coverage: group.coverage.len(),
            oldest_heard_at: group.oldest_heard_at,
            last_zxid: group.last_zxid,
            last_time: group.last_time,
            next_seq: self.next.changes,
        });
        // The builders are kept: they have the size that the next group will need.
        self.group.changes = std::mem::take(&mut group.changes);
        self.hold_head_bound()
    }

    fn mark(&self, next: Seqs) -> Result<Section, HistoryError> {
        let batch = self.coverage.batch().map_err(|source| self.arrow(source))?;
        Ok(Section { kind: Kind::Mark, first_seq: next.coverage, batch })
    }

    fn check_floor(&mut self) -> Result<(), HistoryError> {
        if self.floor_checked_at.is_some_and(|at| at.elapsed() < FLOOR_CHECK_EVERY) {
            return Ok(());
        }
        self.floor_checked_at = Some(Instant::now());
        let floor = self.history.settings.free_space_floor_percent;
        self.history.disk.check_floor(self.history.layout.dir(), floor)
    }

    fn tell_wal_bytes(&self) {
        let flushing = self.flushing.as_ref().map_or(0, |flushing| flushing.bytes);
        (self.events)(RecorderEvent::WalBytes(self.history.wal.active_bytes() + flushing));
    }

    /// Coverage that a crash left and that found no room when the folder was opened. The View shows these rows already.
    fn write_recovered(&mut self) -> Result<(), HistoryError> {
        if self.group.coverage.is_empty() {
            return Ok(());
        }
        self.check_floor()?;
        let mut group = std::mem::take(&mut self.group);
        let batches = group.batches(self.next).map_err(|source| self.arrow(source))?;
        let mut sections = batches.sections();
        sections.push(self.mark(batches.next)?);
        self.history.wal.append(&sections)?;
        self.next = batches.next;
        self.history.unwritten.clear();
        Ok(())
    }

    fn snapshot(&mut self, request: SnapshotRequest) {
        let SnapshotRequest { incarnation, position, then } = request;
        let on_record = self.place.filter(|(on_record, _)| *on_record == incarnation).map(|(_, position)| position);
        let at = SnapshotAt {
            seq: self.next.changes - 1,
            incarnation,
            position: on_record.map_or(position, |on_record| on_record.max(position)),
            taken_at: Micros::now(),
            view: self.history.state.view(),
        };
        self.snapshots.retain(|snapshot| !snapshot.is_finished());
        self.snapshots.push(std::thread::spawn(move || then(at)));
    }

    /// Learns of a flush that has ended, and begins the next where it is due.
    fn flush_if_due(&mut self) -> Result<(), HistoryError> {
        if let Some(result) = self.flushing.as_mut().and_then(Flushing::try_wait) {
            self.flush_ended(result)?;
        }
        let settings = &self.history.settings;
        let old = self.active_since.is_some_and(|since| since.elapsed() >= settings.flush_after);
        let large = self.history.wal.active_bytes() >= settings.flush_bytes_max as u64;
        if self.flushing.is_none() && self.active_since.is_some() && (old || large) {
            self.start_flush()?;
        }
        Ok(())
    }

    /// Rolls the open intervals and begins a flush.
    fn start_flush(&mut self) -> Result<(), HistoryError> {
        self.rolled_at = Instant::now();
        let rolled = self.coverage.roll();
        if !rolled.is_empty() {
            self.group.coverage.extend(rolled);
            self.mark_pending = Mark::Changed;
        }
        self.move_to_parts()
    }

    /// Begins a new segment, and lets a thread move the rows before it into parts.
    fn move_to_parts(&mut self) -> Result<(), HistoryError> {
        self.commit()?;
        if self.flushing.is_some() {
            return Ok(());
        }
        self.check_floor()?;
        let bytes = self.history.wal.active_bytes();
        let mark = self.mark(self.next)?;
        self.history.wal.rotate(self.next, &[mark])?;
        self.boundary = self.next;
        self.active_since = None;
        let job = Job {
            disk: self.history.disk.clone(),
            layout: self.history.layout.clone(),
            cluster: self.history.cluster.clone(),
            state: self.history.state.clone(),
            last: self.next.plus(-1),
            segments: self.history.wal.take_older(),
            events: self.events.clone(),
        };
        self.flushing = Some(Flushing::start(job, bytes));
        Ok(())
    }

    /// Lends the folder out while it holds no head and no WAL rows.
    fn work_on_parts(&mut self, work: PartsWork) -> Result<(), HistoryError> {
        self.commit()?;
        self.wait_for_flush()?;
        let view = self.history.state.view();
        if head::TABLES.iter().any(|table| !view.head(*table).is_empty()) {
            // This may come every few seconds: intervals are rolled no more often than by flushes of their own.
            match self.rolled_at.elapsed() >= self.history.settings.flush_after {
                true => self.start_flush()?,
                false => self.move_to_parts()?,
            }
            self.wait_for_flush()?;
        }
        self.history.next = self.next;
        let coverage = work(&mut self.history)?;
        if self.history.next != self.next {
            self.next = self.history.next;
            // The seqs of a log have no hole: what comes next begins a segment.
            let mark = self.mark(self.next)?;
            self.history.wal.rotate(self.next, &[mark])?;
            self.boundary = self.next;
            let older = self.history.wal.take_older();
            let_go(&self.history.disk, &self.history.layout.wal(&self.history.cluster), &older)?;
        }
        self.group.coverage.extend(coverage);
        self.commit()
    }

    /// Everything before this goes into parts before it returns.
    fn flush_now(&mut self) -> Result<(), HistoryError> {
        self.commit()?;
        self.wait_for_flush()?;
        if self.active_since.is_some() {
            self.start_flush()?;
            self.wait_for_flush()?;
        }
        Ok(())
    }

    fn wait_for_flush(&mut self) -> Result<(), HistoryError> {
        let Some(flushing) = self.flushing.take() else { return Ok(()) };
        let result = flushing.wait();
        self.flush_ended(result)
    }

    fn flush_ended(&mut self, result: Result<(), HistoryError>) -> Result<(), HistoryError> {
        if let Some(flushing) = self.flushing.take() {
            flushing.join();
        }
        self.tell_wal_bytes();
        result
    }

    /// Waits for the flush under way where the head would grow beyond its bound.
    fn hold_head_bound(&mut self) -> Result<(), HistoryError> {
        let flushing = self.flushing.as_ref().map_or(0, |flushing| flushing.bytes);
        if flushing + self.history.wal.active_bytes() >= self.history.settings.head_bytes_max as u64 {
            self.wait_for_flush()?;
        }
        Ok(())
    }

    fn stop(&mut self, answer: Option<oneshot::Sender<()>>) -> Result<(), HistoryError> {
        let closed = self.coverage.close_all(Ended::Stopped);
        if !closed.is_empty() {
            self.group.coverage.extend(closed);
            self.mark_pending = Mark::Changed;
        }
        self.flush_now()?;
        if let Some(answer) = answer {
            // Nobody may be waiting any more.
            let _ = answer.send(());
        }
        Ok(())
    }

    fn arrow(&self, source: ArrowError) -> HistoryError {
        HistoryError::Arrow { path: self.history.layout.wal(&self.history.cluster), source }
    }
}

/// The View with a committed group in its head.
fn shown(
    view: &View,
    batches: &super::group::Batches,
    mark: Option<Section>,
    boundary: Seqs,
) -> Result<View, ArrowError> {
    let mut view = view.clone();
    let append = |head: &[_], new: &[_], boundary| head::append(head, new.iter().cloned(), boundary);
    if !batches.changes.is_empty() {
        view.changes.head = append(&view.changes.head, &batches.changes, boundary.changes)?;
    }
    if !batches.coverage.is_empty() {
        view.coverage.head = append(&view.coverage.head, &batches.coverage, boundary.coverage)?;
    }
    if !batches.sightings.is_empty() {
        view.sessions.head = append(&view.sessions.head, &batches.sightings, boundary.sessions)?;
    }
    if let Some(mark) = mark {
        view.open_coverage = mark.batch;
    }
    Ok(view)
}
