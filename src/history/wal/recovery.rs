//! Reading the whole log: what it holds beyond the parts. Changes nothing on disk.

use std::fs::File;
use std::io;
use std::path::Path;

use arrow::record_batch::RecordBatch;

use super::Seqs;
use super::entry::Kind;
use super::reader::{SegmentEnd, corrupt, read_segment};
use super::segment::{self, Segment};
use crate::history::error::HistoryError;
use crate::history::head;
use crate::history::layout::Table;

/// One batch of the log.
#[derive(Clone, Debug)]
pub struct Logged {
    pub table: Table,
    pub batch: RecordBatch,
}

/// What the log holds.
#[derive(Debug, Default)]
pub struct Log {
    /// Every segment, oldest first.
    pub segments: Vec<Segment>,
    /// Every row, in the order of recording, also those that parts hold already.
    pub rows: Vec<Logged>,
    /// The last mark: the intervals that were open, and the next seq of coverage at the end of the log.
    pub mark: Option<RecordBatch>,
    /// The next seqs after the last row.
    pub next: Seqs,
    /// How the last segment ends; `None` where there is no segment.
    pub end: Option<SegmentEnd>,
}

/// Opens every segment of a folder, oldest first. `Ok(None)` where one vanished in between (a writer let go of it).
pub fn open_segments(dir: &Path) -> Result<Option<Vec<(Segment, File)>>, HistoryError> {
    let segments = segment::list(dir).map_err(|source| HistoryError::io("list", dir, source))?;
    let mut open = Vec::with_capacity(segments.len());
    for segment in segments {
        match File::open(&segment.path) {
            Ok(file) => open.push((segment, file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(HistoryError::io("open", &segment.path, source)),
        }
    }
    Ok(Some(open))
}

/// Reads open segments. Checks that frames and seqs follow each other without a hole.
pub fn read_log(segments: Vec<(Segment, File)>) -> Result<Log, HistoryError> {
    let mut log = Log::default();
    let count = segments.len();
    for (index, (segment, mut file)) in segments.into_iter().enumerate() {
        let expected = log.end.map(|end| end.next_number);
        if let Some(expected) = expected
            && expected != segment.first
        {
            return Err(corrupt(
                &segment.path,
                0,
                format!("the frames from {expected} on are missing before this segment"),
            ));
        }
        let header = peek_header(&mut file, &segment)?;
        log.next = log.next.max(header);
        let end = read_segment(&mut file, &segment, index + 1 == count, |offset, frame| {
            for section in frame.sections {
                let table = match section.kind {
                    Kind::Mark => {
                        log.mark = Some(section.batch);
                        continue;
                    }
                    Kind::Rows(table) => table,
                };
                let Some(seqs) = head::seqs(&section.batch) else { continue };
                let expected = log.next.of(table);
                // Coverage may jump: rows made of a mark are in parts without having been in the log.
                let follows = seqs.first == expected || (table == Table::Coverage && seqs.first > expected);
                if seqs.first != section.first_seq || !follows {
                    let cause = format!("its {} rows begin at seq {}, expected {expected}", table.as_str(), seqs.first);
                    return Err(corrupt(&segment.path, offset as usize, cause));
                }
                log.next.set(table, seqs.last + 1);
                log.rows.push(Logged { table, batch: section.batch });
            }
            Ok(())
        })?;
        log.end = Some(end);
        log.segments.push(segment);
    }
    Ok(log)
}

/// The next seqs that the segment's header states. The file is at its start again afterwards.
fn peek_header(file: &mut File, segment: &Segment) -> Result<Seqs, HistoryError> {
    use std::os::unix::fs::FileExt;
    let mut bytes = [0; segment::HEADER_BYTES];
    match file.read_exact_at(&mut bytes, 0) {
        // read_segment tells what is wrong with it.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Seqs::default()),
        Err(source) => Err(HistoryError::io("read", &segment.path, source)),
        Ok(()) => Ok(segment::Header::decode(&bytes).map(|header| header.next).unwrap_or_default()),
    }
}
