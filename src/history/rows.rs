//! From the values of the vocabulary to rows in the file schemas.
//!
//! Builders are kept and reused, so that a row costs its bytes and little more.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, Int32Builder, Int64Builder, RecordBatch, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::error::ArrowError;

use super::layout::Day;
use super::schema;
use super::view::HeadBatch;
use crate::zk::{AuditEntry, Change, Ended, Micros, Source, ZkPath, Zxid};

use super::coverage::Aspect;

/// Collects changes into batches of one observed day each, in the order of recording.
pub struct ChangeRows {
    day: Option<Day>,
    done: Vec<HeadBatch>,
    rows: usize,
    incarnation: Int32Builder,
    seq: Int64Builder,
    time: TimestampMicrosecondBuilder,
    time_source: StringBuilder,
    observed_at: TimestampMicrosecondBuilder,
    zxid: Int64Builder,
    position: Int64Builder,
    ordinal: Int32Builder,
    kind: StringBuilder,
    path: StringBuilder,
    czxid: Int64Builder,
    version: Int32Builder,
    aversion: Int32Builder,
    node_type: StringBuilder,
    ephemeral_owner: Int64Builder,
    data: BinaryBuilder,
    data_length: Int32Builder,
    data_hash: Int64Builder,
    acl: StringBuilder,
    evidence: StringBuilder,
    missed: Int64Builder,
    source: StringBuilder,
    cause: StringBuilder,
    session_id: Int64Builder,
    cxid: Int32Builder,
}

fn timestamps() -> TimestampMicrosecondBuilder {
    TimestampMicrosecondBuilder::new().with_timezone("UTC")
}

impl Default for ChangeRows {
    fn default() -> Self {
        Self {
            day: None,
            done: Vec::new(),
            rows: 0,
            incarnation: Int32Builder::new(),
            seq: Int64Builder::new(),
            time: timestamps(),
            time_source: StringBuilder::new(),
            observed_at: timestamps(),
            zxid: Int64Builder::new(),
            position: Int64Builder::new(),
            ordinal: Int32Builder::new(),
            kind: StringBuilder::new(),
            path: StringBuilder::new(),
            czxid: Int64Builder::new(),
            version: Int32Builder::new(),
            aversion: Int32Builder::new(),
            node_type: StringBuilder::new(),
            ephemeral_owner: Int64Builder::new(),
            data: BinaryBuilder::new(),
            data_length: Int32Builder::new(),
            data_hash: Int64Builder::new(),
            acl: StringBuilder::new(),
            evidence: StringBuilder::new(),
            missed: Int64Builder::new(),
            source: StringBuilder::new(),
            cause: StringBuilder::new(),
            session_id: Int64Builder::new(),
            cxid: Int32Builder::new(),
        }
    }
}

impl ChangeRows {
    /// Rows pushed since the last [`ChangeRows::take`].
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Adds a row. A row observed on another day than the one before begins a new batch: the order stays that of `seq`.
    pub fn push(&mut self, seq: i64, change: &Change) -> Result<(), ArrowError> {
        self.push_to(Day(change.observed_at.day()), seq, change)
    }

    /// As [`ChangeRows::push`], for a day that the caller chooses.
    pub fn push_to(&mut self, day: Day, seq: i64, change: &Change) -> Result<(), ArrowError> {
        if self.day.is_some_and(|current| current != day) {
            self.cut()?;
        }
        self.day = Some(day);
        self.rows += 1;
        self.incarnation.append_value(change.incarnation);
        self.seq.append_value(seq);
        self.time.append_value(change.time.0);
        self.time_source.append_value(change.time_source.as_str());
        self.observed_at.append_value(change.observed_at.0);
        self.zxid.append_option(change.zxid.map(|zxid| zxid.0));
        self.position.append_value(change.position.0);
        self.ordinal.append_value(change.ordinal);
        self.kind.append_value(change.kind.as_str());
        self.path.append_value(&change.path);
        self.czxid.append_option(change.czxid.map(|zxid| zxid.0));
        self.version.append_option(change.version);
        self.aversion.append_option(change.aversion);
        self.node_type.append_option(change.node_type.map(|node_type| node_type.as_str()));
        self.ephemeral_owner.append_value(change.ephemeral_owner);
        self.data.append_option(change.data.as_ref());
        self.data_length.append_option(change.data_length);
        self.data_hash.append_option(change.data_hash);
        self.acl.append_option(change.acl.as_deref());
        self.evidence.append_value(change.evidence.as_str());
        self.missed.append_value(change.missed);
        self.source.append_value(change.source.as_str());
        self.cause.append_option(change.cause.map(|cause| cause.as_str()));
        self.session_id.append_option(change.session_id);
        self.cxid.append_option(change.cxid);
        Ok(())
    }

    /// Everything pushed, as batches in the schema of `changes`; starts anew.
    pub fn take(&mut self) -> Result<Vec<HeadBatch>, ArrowError> {
        self.cut()?;
        self.rows = 0;
        Ok(std::mem::take(&mut self.done))
    }

    fn cut(&mut self) -> Result<(), ArrowError> {
        let Some(day) = self.day.take() else { return Ok(()) };
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.incarnation.finish()),
            Arc::new(self.seq.finish()),
            Arc::new(self.time.finish()),
            Arc::new(self.time_source.finish()),
            Arc::new(self.observed_at.finish()),
            Arc::new(self.zxid.finish()),
            Arc::new(self.position.finish()),
            Arc::new(self.ordinal.finish()),
            Arc::new(self.kind.finish()),
            Arc::new(self.path.finish()),
            Arc::new(self.czxid.finish()),
            Arc::new(self.version.finish()),
            Arc::new(self.aversion.finish()),
            Arc::new(self.node_type.finish()),
            Arc::new(self.ephemeral_owner.finish()),
            Arc::new(self.data.finish()),
            Arc::new(self.data_length.finish()),
            Arc::new(self.data_hash.finish()),
            Arc::new(self.acl.finish()),
            Arc::new(self.evidence.finish()),
            Arc::new(self.missed.finish()),
            Arc::new(self.source.finish()),
            Arc::new(self.cause.finish()),
            Arc::new(self.session_id.finish()),
            Arc::new(self.cxid.finish()),
        ];
        let batch = RecordBatch::try_new(schema::CHANGES.clone(), columns)?;
        self.done.push(HeadBatch { day, batch });
        Ok(())
    }
}

/// One row of `coverage` before it has its `seq`.
#[derive(Clone, Debug, PartialEq)]
pub struct CoverageRow {
    pub incarnation: i32,
    pub source: Source,
    pub path: ZkPath,
    pub aspect: Aspect,
    pub from_time: Micros,
    pub to_time: Micros,
    pub from_zxid: Zxid,
    pub to_zxid: Zxid,
    pub ended: Option<Ended>,
    pub missed_at_least: i64,
}

/// The `seq` of intervals that are still open.
pub const OPEN_SEQ: i64 = -1;

/// A batch in the schema of `coverage`; `seqs` gives each row its number.
pub fn coverage_batch(rows: &[CoverageRow], seqs: impl Iterator<Item = i64>) -> Result<RecordBatch, ArrowError> {
    let (mut seq, mut incarnation) = (Int64Builder::new(), Int32Builder::new());
    let (mut source, mut path, mut aspect) = (StringBuilder::new(), StringBuilder::new(), StringBuilder::new());
    let (mut from_time, mut to_time) = (timestamps(), timestamps());
    let (mut from_zxid, mut to_zxid) = (Int64Builder::new(), Int64Builder::new());
    let (mut ended, mut missed) = (StringBuilder::new(), Int64Builder::new());
    for (row, number) in rows.iter().zip(seqs) {
        seq.append_value(number);
        incarnation.append_value(row.incarnation);
        source.append_value(row.source.as_str());
        path.append_value(&row.path);
        aspect.append_value(row.aspect.as_str());
        from_time.append_value(row.from_time.0);
        to_time.append_value(row.to_time.0);
        from_zxid.append_value(row.from_zxid.0);
        to_zxid.append_value(row.to_zxid.0);
        ended.append_option(row.ended.map(Ended::as_str));
        missed.append_value(row.missed_at_least);
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(seq.finish()),
        Arc::new(incarnation.finish()),
        Arc::new(source.finish()),
        Arc::new(path.finish()),
        Arc::new(aspect.finish()),
        Arc::new(from_time.finish()),
        Arc::new(to_time.finish()),
        Arc::new(from_zxid.finish()),
        Arc::new(to_zxid.finish()),
        Arc::new(ended.finish()),
        Arc::new(missed.finish()),
    ];
    RecordBatch::try_new(schema::COVERAGE.clone(), columns)
}

/// Closed intervals as head batches, one a day of `to_time`, numbered from `first_seq`.
pub fn coverage_rows(rows: &[CoverageRow], first_seq: i64) -> Result<Vec<HeadBatch>, ArrowError> {
    by_day(rows, first_seq, |row| row.to_time, coverage_batch)
}

/// What was heard of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SightingEvent {
    Opened,
    Seen,
    Closed,
}

impl SightingEvent {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Seen => "seen",
            Self::Closed => "closed",
        }
    }
}

/// Who told of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SightingSource {
    /// A source of changes: an ephemeral's owner, or a session's opening and closing in the log.
    Changes(Source),
    /// The four-letter word `cons` of the server that holds the connection.
    Cons,
    /// The same server's AdminServer.
    AdminServer,
}

impl SightingSource {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Changes(source) => source.as_str(),
            Self::Cons => "cons",
            Self::AdminServer => "admin_server",
        }
    }

    /// The source that a column's text names.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "cons" => Some(Self::Cons),
            "admin_server" => Some(Self::AdminServer),
            text => Source::parse(text).map(Self::Changes),
        }
    }
}

impl From<Source> for SightingSource {
    fn from(source: Source) -> Self {
        Self::Changes(source)
    }
}

/// One row of `sessions` before it has its `seq`.
#[derive(Clone, Debug, PartialEq)]
pub struct Sighting {
    pub incarnation: i32,
    pub session_id: i64,
    pub event: SightingEvent,
    pub time: Micros,
    pub zxid: Option<Zxid>,
    pub timeout_ms: Option<i32>,
    /// The client's, `host:port`, as the server that holds the connection sees it.
    pub address: Option<Arc<str>>,
    pub source: SightingSource,
}

/// Sightings as head batches in the schema of `sessions`, one a day, numbered from `first_seq`.
pub fn sighting_rows(rows: &[Sighting], first_seq: i64) -> Result<Vec<HeadBatch>, ArrowError> {
    by_day(rows, first_seq, |row| row.time, sighting_batch)
}

fn sighting_batch(rows: &[Sighting], seqs: std::ops::Range<i64>) -> Result<RecordBatch, ArrowError> {
    let (mut seq, mut incarnation, mut session_id) = (Int64Builder::new(), Int32Builder::new(), Int64Builder::new());
    let (mut event, mut time, mut zxid) = (StringBuilder::new(), timestamps(), Int64Builder::new());
    let (mut timeout_ms, mut address, mut source) = (Int32Builder::new(), StringBuilder::new(), StringBuilder::new());
    for (row, number) in rows.iter().zip(seqs) {
        seq.append_value(number);
        incarnation.append_value(row.incarnation);
        session_id.append_value(row.session_id);
        event.append_value(row.event.as_str());
        time.append_value(row.time.0);
        zxid.append_option(row.zxid.map(|zxid| zxid.0));
        timeout_ms.append_option(row.timeout_ms);
        address.append_option(row.address.as_deref());
        source.append_value(row.source.as_str());
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(seq.finish()),
        Arc::new(incarnation.finish()),
        Arc::new(session_id.finish()),
        Arc::new(event.finish()),
        Arc::new(time.finish()),
        Arc::new(zxid.finish()),
        Arc::new(timeout_ms.finish()),
        Arc::new(address.finish()),
        Arc::new(source.finish()),
    ];
    RecordBatch::try_new(schema::SESSIONS.clone(), columns)
}

/// Lines of an audit log in the schema of `audit`, numbered from `first_seq`.
pub fn audit_batch(rows: &[&AuditEntry], first_seq: i64) -> Result<RecordBatch, ArrowError> {
    let (mut seq, mut time, mut session_id) = (Int64Builder::new(), timestamps(), Int64Builder::new());
    let (mut user, mut address) = (StringBuilder::new(), StringBuilder::new());
    let (mut operation, mut path) = (StringBuilder::new(), StringBuilder::new());
    let (mut node_type, mut acl, mut result) = (StringBuilder::new(), StringBuilder::new(), StringBuilder::new());
    for (row, number) in rows.iter().zip(first_seq..) {
        seq.append_value(number);
        time.append_value(row.time.0);
        session_id.append_option(row.session_id);
        user.append_option(row.user.as_deref());
        address.append_option(row.address.as_deref());
        operation.append_value(&row.operation);
        path.append_option(row.path.as_deref());
        node_type.append_option(row.node_type.as_deref());
        acl.append_option(row.acl.as_deref());
        result.append_value(&row.result);
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(seq.finish()),
        Arc::new(time.finish()),
        Arc::new(session_id.finish()),
        Arc::new(user.finish()),
        Arc::new(address.finish()),
        Arc::new(operation.finish()),
        Arc::new(path.finish()),
        Arc::new(node_type.finish()),
        Arc::new(acl.finish()),
        Arc::new(result.finish()),
    ];
    RecordBatch::try_new(schema::AUDIT.clone(), columns)
}

/// Cuts rows at every change of day, in their order.
fn by_day<T>(
    rows: &[T],
    first_seq: i64,
    time: impl Fn(&T) -> Micros,
    batch: impl Fn(&[T], std::ops::Range<i64>) -> Result<RecordBatch, ArrowError>,
) -> Result<Vec<HeadBatch>, ArrowError> {
    let mut done = Vec::new();
    let mut seq = first_seq;
    for run in rows.chunk_by(|a, b| time(a).day() == time(b).day()) {
        let Some(first) = run.first() else { continue };
        let next = seq + run.len() as i64;
        done.push(HeadBatch { day: Day(time(first).day()), batch: batch(run, seq..next)? });
        seq = next;
    }
    Ok(done)
}
