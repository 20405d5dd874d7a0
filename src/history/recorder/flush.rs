//! A flush: the rows before a new WAL segment go into parts, then the segments before it go.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::sync::oneshot;

use super::RecorderEvent;
use crate::history::disk::Disk;
use crate::history::error::HistoryError;
use crate::history::head;
use crate::history::layout::Layout;
use crate::history::parts::Flusher;
use crate::history::state::State;
use crate::history::wal::Seqs;
use crate::history::wal::segment::Segment;
use crate::history::wal::writer::let_go;

/// What a flush works on.
pub(super) struct Job {
    pub disk: Disk,
    pub layout: Layout,
    pub cluster: Arc<str>,
    pub state: Arc<State>,
    /// The last seq of each table that it moves.
    pub last: Seqs,
    /// The segments whose rows these are, oldest first.
    pub segments: Vec<Segment>,
    pub events: Arc<dyn Fn(RecorderEvent) + Send + Sync>,
}

/// A flush under way.
pub(super) struct Flushing {
    pub done: oneshot::Receiver<Result<(), HistoryError>>,
    /// Bytes of the segments that it will let go of.
    pub bytes: u64,
    thread: JoinHandle<()>,
}

impl Flushing {
    pub(super) fn start(job: Job, bytes: u64) -> Self {
        let (sender, done) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            // The recorder waits for the answer or is gone.
            let _ = sender.send(job.run());
        });
        Self { done, bytes, thread }
    }

    /// How it ended, if it has.
    pub(super) fn try_wait(&mut self) -> Option<Result<(), HistoryError>> {
        match self.done.try_recv() {
            Ok(result) => Some(result),
            Err(oneshot::error::TryRecvError::Empty) => None,
            Err(oneshot::error::TryRecvError::Closed) => Some(Err(no_answer())),
        }
    }

    /// Blocks until it has ended and tells how.
    pub(super) fn wait(self) -> Result<(), HistoryError> {
        let result = outcome(self.done.blocking_recv());
        // A panic of the thread has dropped its sender, which counts as failed already.
        let _ = self.thread.join();
        result
    }

    /// Waits for its thread where nobody asks any more how it ended, or its answer was received.
    pub(super) fn join(self) {
        // A panic of the thread has dropped its sender, which counts as failed already.
        let _ = self.thread.join();
    }
}

impl Job {
    fn run(&self) -> Result<(), HistoryError> {
        let flusher = Flusher { disk: &self.disk, layout: &self.layout, state: &self.state, cluster: &self.cluster };
        for table in head::TABLES {
            let started = Instant::now();
            let parts = flusher.flush(table, self.last.of(table))?;
            if !parts.is_empty() {
                let rows = parts.iter().map(|(_, rows)| rows).sum();
                let bytes = parts.iter().map(|(part, _)| part.bytes).sum();
                (self.events)(RecorderEvent::Flushed { table, rows, bytes, took: started.elapsed() });
            }
        }
        let_go(&self.disk, &self.layout.wal(&self.cluster), &self.segments)
    }
}

/// What became of a flush whose thread answered, or ended without an answer.
pub(super) fn outcome(answer: Result<Result<(), HistoryError>, oneshot::error::RecvError>) -> Result<(), HistoryError> {
    answer.unwrap_or_else(|_| Err(no_answer()))
}

fn no_answer() -> HistoryError {
    HistoryError::Unknown("the thread that writes parts ended unexpectedly".to_owned())
}
