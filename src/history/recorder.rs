//! The recorder: the one thread that writes a cluster's history.
//!
//! It takes what is queued, up to a bound, as one group: one WAL frame, one fsync, then one new View. A change is
//! visible once it is durable, never before. When the head is old or large enough it begins a new WAL segment and a
//! flush moves the rows before it into parts, on a thread of its own, while recording goes on.
//!
//! It stops at the first failed write or fsync and says [`RecorderEvent::Failed`]; what was queued is refused. Whoever
//! wants to go on opens the folder again ([`super::open::History::open`]), which recovers from disk.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::coverage::CoverageEntry;
use super::error::HistoryError;
use super::layout::Table;
use super::open::History;
use super::rows::{CoverageRow, Sighting};
use super::view::View;
use crate::zk::{Change, Micros, Zxid};

mod flush;
mod group;
mod thread;

#[cfg(test)]
pub(super) mod tests;

/// How a recorder behaves. The bounds hold for one cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The head goes into parts when its oldest row is so old.
    pub flush_after: Duration,
    /// … or when its WAL segment has so many bytes.
    pub flush_bytes_max: usize,
    /// Recording waits for the flush that is under way when head and flushed rows together have so many bytes.
    pub head_bytes_max: usize,
    /// One WAL frame takes so many rows, or bytes of values and paths, at most (and one row more).
    pub group_rows_max: usize,
    pub group_bytes_max: usize,
    /// Entries, and their bytes, that wait for the recorder before [`RecorderHandle::send`] waits too.
    pub queue_entries_max: usize,
    pub queue_bytes_max: usize,
    /// Below this share of free space nothing is written.
    pub free_space_floor_percent: u8,
    /// How far the open intervals have been heard is written at least so often: what a crash can cost of coverage.
    pub mark_every: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            flush_after: Duration::from_secs(300),
            flush_bytes_max: 64 * 1024 * 1024,
            head_bytes_max: 256 * 1024 * 1024,
            group_rows_max: 8_192,
            group_bytes_max: 4 * 1024 * 1024,
            queue_entries_max: 1_024,
            queue_bytes_max: 32 * 1024 * 1024,
            free_space_floor_percent: 5,
            mark_every: Duration::from_secs(1),
        }
    }
}

/// What the recorder takes, in the order in which it is recorded.
pub enum Entry {
    Changes(Vec<Change>),
    Sightings(Vec<Sighting>),
    Coverage(CoverageEntry),
    Snapshot(SnapshotRequest),
    /// Answered when everything before it is in parts.
    Flush(oneshot::Sender<()>),
    /// Works on the folder as its only writer when everything before it is in parts; nothing is recorded meanwhile.
    Parts(PartsWork),
    /// Closes the open intervals as `stopped`, flushes, answers, and ends the recorder.
    Stop(oneshot::Sender<()>),
}

/// What is done with the parts of the folder. Gives rows of coverage to record behind it; a failure stops the recorder, as
/// a failed write of its own would.
pub type PartsWork = Box<dyn FnOnce(&mut History) -> Result<Vec<CoverageRow>, HistoryError> + Send>;

/// Asks for a snapshot of the tree as it is at this place of the queue.
pub struct SnapshotRequest {
    pub incarnation: i32,
    /// The greatest zxid of the tree; at the first start nothing is recorded yet that would tell.
    pub position: Zxid,
    /// Called on a thread of its own when everything before the request is durable and in the View.
    pub then: Box<dyn FnOnce(SnapshotAt) + Send>,
}

/// The place of a snapshot in the history.
#[derive(Clone, Debug)]
pub struct SnapshotAt {
    /// The last change recorded before it; 0 where there is none.
    pub seq: i64,
    pub incarnation: i32,
    /// The greatest position on record, or the tree's where that is greater.
    pub position: Zxid,
    pub taken_at: Micros,
    /// Holds every change up to `seq`, and none after it.
    pub view: View,
}

/// What the recorder tells as it goes; called on its threads, so it must be quick.
#[derive(Debug)]
pub enum RecorderEvent {
    /// A group is durable and visible.
    Recorded {
        changes: usize,
        sightings: usize,
        coverage: usize,
        /// When the oldest change of the group was heard: now minus this is the lag.
        oldest_heard_at: Option<Micros>,
        /// The last known zxid of the group, and its time.
        last_zxid: Option<Zxid>,
        last_time: Option<Micros>,
        next_seq: i64,
    },
    Fsynced(Duration),
    /// Bytes of the WAL that parts do not hold yet.
    WalBytes(u64),
    Flushed {
        table: Table,
        rows: usize,
        bytes: u64,
        took: Duration,
    },
    /// The recorder has stopped.
    Failed(HistoryError),
}

/// The recorder has ended: nothing more is recorded through this handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the recorder has stopped")]
pub struct RecorderGone;

/// Where a pipeline sends what it found. Cheap to clone; when the last one is dropped the recorder stops in order.
#[derive(Clone, Debug)]
pub struct RecorderHandle {
    queue: mpsc::Sender<Queued>,
    room: Arc<Semaphore>,
    room_max: u32,
}

/// An entry and its share of the queue's bytes, given back once it is recorded.
pub(crate) struct Queued {
    entry: Entry,
    room: OwnedSemaphorePermit,
}

/// The queue's bytes are counted in units of this.
const ROOM_UNIT_BYTES: usize = 1024;

impl RecorderHandle {
    /// Queues an entry; waits while the queue is full. That it returns does not mean that it is recorded:
    /// [`RecorderEvent::Recorded`] does. Cancelling the call before it returns queues nothing.
    pub async fn send(&self, entry: Entry) -> Result<(), RecorderGone> {
        let units = u32::try_from(entry.size_bytes().div_ceil(ROOM_UNIT_BYTES)).unwrap_or(u32::MAX);
        // An entry larger than the queue goes when the queue is empty.
        let units = units.clamp(1, self.room_max);
        let room = self.room.clone().acquire_many_owned(units).await.map_err(|_| RecorderGone)?;
        self.queue.send(Queued { entry, room }).await.map_err(|_| RecorderGone)
    }

    /// Entries that wait.
    pub fn queue_len(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }

    /// Entries that may wait.
    pub fn queue_capacity(&self) -> usize {
        self.queue.max_capacity()
    }

    /// Bytes that wait or are being recorded, in steps of 1 KiB.
    pub fn queue_bytes(&self) -> usize {
        (self.room_max as usize).saturating_sub(self.room.available_permits()) * ROOM_UNIT_BYTES
    }
}

impl Entry {
    fn size_bytes(&self) -> usize {
        match self {
            Self::Changes(changes) => changes.iter().map(change_bytes).sum(),
            Self::Sightings(sightings) => sightings.len() * size_of::<Sighting>(),
            Self::Coverage(_) | Self::Snapshot(_) | Self::Flush(_) | Self::Parts(_) | Self::Stop(_) => 0,
        }
    }
}

/// What a change costs in memory, about.
fn change_bytes(change: &Change) -> usize {
    let data = change.data.as_ref().map_or(0, bytes::Bytes::len);
    let acl = change.acl.as_ref().map_or(0, |acl| acl.len());
    size_of::<Change>() + change.path.len() + data + acl
}

impl History {
    /// Starts recording on a thread of its own. `events` is called on that thread and on those of flushes.
    /// The folder's lock is held until the thread has ended.
    pub fn record(self, events: impl Fn(RecorderEvent) + Send + Sync + 'static) -> (RecorderHandle, JoinHandle<()>) {
        let (sender, queue) = mpsc::channel(self.settings.queue_entries_max.max(1));
        let units = (self.settings.queue_bytes_max / ROOM_UNIT_BYTES).clamp(1, Semaphore::MAX_PERMITS);
        let room_max = u32::try_from(units).unwrap_or(u32::MAX);
        let room = Arc::new(Semaphore::new(room_max as usize));
        let handle = RecorderHandle { queue: sender, room: room.clone(), room_max };
        let events = Arc::new(events);
        let thread = std::thread::spawn(move || {
            let _room = CloseOnDrop(room);
            thread::run(self, queue, events);
        });
        (handle, thread)
    }
}

/// However the recorder ends, whoever waits for room learns that there will be none.
struct CloseOnDrop(Arc<Semaphore>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}
