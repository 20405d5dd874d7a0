//! The servers' own files on their way into a history.
//!
//! ```text
//! Inputs (segments, snapshots) → Ledger → value policy → Importer
//!        one thread: read                 the other: record
//! ```
//!
//! A history can be replayed from a moment on whose whole tree is known. Snapshots of servers are fuzzy, so the first tree
//! is *founded*: the snapshot's znodes, and over them what the log says up to a zxid behind which nothing in the
//! snapshot can lie ([`founding`]). After a hole in the logs nothing is known of any znode, until the next snapshot founds anew.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use crate::history::import::{ImportError, ImportSettings, ImportSummary, Importer};
use crate::history::{History, HistoryError, Sighting};
use crate::lens::ValuePolicy;
use crate::source::txnlog::{Hole, Inputs, TxnlogError, Uncommitted};
use crate::zk::{Change, Micros, Zxid};

mod founding;
mod live;
mod read;
mod values;

use founding::TreeRows;
pub(super) use live::{Barrier, Live};

/// Batches that wait for the recording thread.
const BATCHES_WAITING_MAX: usize = 4;
/// Progress is told so often.
const TELL_EVERY: Duration = Duration::from_millis(500);

/// How logs are imported.
#[derive(Clone, Debug)]
pub struct LogImport {
    pub settings: ImportSettings,
    /// Go over corrupt places and leave a gap.
    pub skip_corrupt: bool,
}

/// How far an import is, and what it met.
#[derive(Clone, Debug)]
pub enum Progress {
    /// Of the files, in bytes on disk; `zxid` was reached, whose time on the leader's clock is `time`.
    Read { bytes: u64, bytes_total: u64, zxid: Zxid, time: Micros },
    /// A snapshot that is not whole, and was not used.
    RefusedSnapshot(String),
    /// The logs begin in the middle, and there is no snapshot to begin from.
    NoSnapshot { first: Zxid },
    /// Transactions are missing: a gap.
    Hole(Hole),
    /// Records that were left out, because they never were committed.
    Uncommitted(Uncommitted),
    /// The end of a file is a record that was not finished.
    Torn { file: String, offset: u64 },
}

/// What was imported.
#[derive(Clone, Copy, Debug)]
pub struct Imported {
    /// Of the log.
    pub transactions: u64,
    pub changes: u64,
    /// The stretch of the log, with the leader's clock; `None` where it holds no transaction.
    pub from: Option<(Zxid, Micros)>,
    pub to: Option<(Zxid, Micros)>,
    /// What became of it.
    pub recorded: ImportSummary,
}

/// Why an import ended early. What was durable by then stays, and the same import goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum LogImportError {
    #[error(transparent)]
    Read(#[from] TxnlogError),
    #[error(transparent)]
    Record(#[from] ImportError),
    #[error(transparent)]
    History(#[from] HistoryError),
    #[error("the values of a snapshot cannot be sorted on disk: {0}")]
    Spill(#[source] std::io::Error),
    #[error(
        "the log in {folder} goes on at zxid {next} and has nothing between it and {after}: files were removed, or the \
         server was given a snapshot; it is followed again from the server's next snapshot on"
    )]
    Broken { folder: String, after: Zxid, next: Zxid },
    #[error("{folder} holds the logs of several servers: name the version-2 of one")]
    Several { folder: String },
    #[error("{folder} has no snapshot from which its log can be followed: it is tried again")]
    NoStart { folder: String },
    #[error("the thread that reads the logs ended unexpectedly: please report this")]
    Panicked,
}

/// What the reading thread finds, in order.
pub(super) enum Step {
    Changes(Vec<Change>),
    Sightings(Vec<Sighting>),
    /// Everything after the first, up to and with the second, was given.
    Covered {
        from: (Zxid, Micros),
        to: (Zxid, Micros),
    },
    Tree {
        at: Zxid,
        time: Micros,
        rows: TreeRows,
    },
    /// What comes next does not go on where the stream was.
    Lost,
    Tell(Progress),
    /// Of a live log: this is all up to the barrier that was asked for, or all that there is of it.
    Reached(Zxid),
    /// Of a live log: it cannot be read as it is now. It is begun anew at the next barrier.
    Failed(LogImportError),
}

/// Gives a step to an import; what only concerns people is passed over.
pub(super) fn take_in(importer: &mut Importer<'_>, step: Step) -> Result<(), ImportError> {
    match step {
        Step::Changes(changes) => changes.into_iter().try_for_each(|change| importer.change(change)),
        Step::Sightings(seen) => seen.into_iter().try_for_each(|sighting| importer.sighting(sighting)),
        Step::Covered { from, to } => importer.covered(from, to),
        Step::Tree { at, time, rows } => importer.snapshot(at, time, rows),
        Step::Reached(zxid) => importer.reached(zxid),
        Step::Lost => importer.lose(),
        Step::Tell(_) | Step::Failed(_) => Ok(()),
    }
}

/// The recording side is gone: nothing more is wanted.
pub(super) struct Gone;

/// Where the reading thread puts what it found; false where nobody takes it.
pub(super) type Steps = Arc<dyn Fn(Step) -> bool + Send + Sync>;

struct Out {
    steps: Steps,
    told: Instant,
}

impl Out {
    fn new(steps: Steps) -> Self {
        Self { steps, told: Instant::now() }
    }

    fn put(&self, step: Step) -> Result<(), Gone> {
        if (self.steps)(step) { Ok(()) } else { Err(Gone) }
    }

    fn tell(&self, progress: Progress) -> Result<(), Gone> {
        self.put(Step::Tell(progress))
    }

    /// Whether it is time to tell how far it is.
    fn is_due(&mut self) -> bool {
        let due = self.told.elapsed() >= TELL_EVERY;
        if due {
            self.told = Instant::now();
        }
        due
    }
}

/// Imports logs and snapshots into an open folder.
///
/// # Errors
/// What cannot be read or written; what contradicts the record ([`ImportError::Contradiction`]).
pub fn import_logs(
    history: &mut History,
    inputs: &Inputs,
    policy: &Arc<ValuePolicy>,
    import: &LogImport,
    mut progress: impl FnMut(Progress),
) -> Result<Imported, LogImportError> {
    let mut importer = history.import(import.settings.clone())?;
    let (steps, found) = sync_channel(BATCHES_WAITING_MAX);
    let out = Out::new(Arc::new(move |step| steps.send(step).is_ok()));
    let (read, recorded) = std::thread::scope(|scope| {
        let reading = scope.spawn(move || read::run(inputs, policy, import, out));
        let record = || -> Result<(), LogImportError> {
            for step in found {
                match step {
                    Step::Tell(what) => progress(what),
                    step => take_in(&mut importer, step)?,
                }
            }
            Ok(())
        };
        // Its end of the channel is dropped with it, so that the reading thread ends too.
        let recorded = record();
        (reading.join(), recorded)
    });
    recorded?;
    let read = read.map_err(|_| LogImportError::Panicked)??;
    let recorded = importer.finish()?;
    Ok(Imported { transactions: read.transactions, changes: read.changes, from: read.from, to: read.to, recorded })
}
