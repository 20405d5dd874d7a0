//! Reading one segment, frame by frame, and telling a torn end from corruption.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use arrow::buffer::Buffer;

use super::entry::{self, FRAME_HEADER_BYTES, Frame};
use super::segment::{FORMAT_VERSION, HEADER_BYTES, Header, HeaderError, Segment};
use crate::history::error::HistoryError;

/// A frame after a broken place is looked for among so many numbers.
const NUMBERS_AHEAD_MAX: u64 = 1 << 20;

/// What a segment held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentEnd {
    pub header: Header,
    /// The number that the next frame will have.
    pub next_number: u64,
    /// Header and valid frames.
    pub valid_bytes: u64,
    /// What follows them: a torn write.
    pub torn_bytes: u64,
}

/// Reads an open segment and gives each frame to `each`. Only the last segment may end in a torn write.
pub fn read_segment(
    file: &mut File,
    segment: &Segment,
    is_last: bool,
    mut each: impl FnMut(u64, Frame) -> Result<(), HistoryError>,
) -> Result<SegmentEnd, HistoryError> {
    let path = &segment.path;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(|source| HistoryError::io("read", path, source))?;
    let header = Header::decode(&bytes).map_err(|error| header_error(path, error))?;
    if header.first != segment.first {
        return Err(corrupt(path, 0, format!("its header is that of segment {}", header.first)));
    }
    let bytes = Buffer::from_vec(bytes);
    let mut number = header.first;
    let mut offset = HEADER_BYTES;
    while offset < bytes.len() {
        let payload = match entry::payload(&bytes, offset) {
            Ok(payload) => payload,
            // A segment is never seen without its first frame.
            Err(_) if is_last && number > header.first && !valid_frame_follows(&bytes, offset + 1, number) => break,
            Err(cause) => return Err(corrupt(path, offset, cause)),
        };
        let start = offset + FRAME_HEADER_BYTES;
        let frame = entry::decode(&bytes.slice_with_length(start, payload.len()));
        let frame = frame.map_err(|cause| corrupt(path, offset, cause))?;
        if frame.number != number {
            return Err(corrupt(
                path,
                offset,
                format!("it is frame {}, frame {number} is expected here", frame.number),
            ));
        }
        let end = start + payload.len();
        each(offset as u64, frame)?;
        number += 1;
        offset = end;
    }
    let (valid_bytes, torn_bytes) = (offset as u64, (bytes.len() - offset) as u64);
    Ok(SegmentEnd { header, next_number: number, valid_bytes, torn_bytes })
}

/// Whether a whole frame begins anywhere from `from` on: then what precedes it was not torn off at the end.
fn valid_frame_follows(bytes: &[u8], from: usize, number: u64) -> bool {
    let numbers = number..number.saturating_add(NUMBERS_AHEAD_MAX);
    (from..bytes.len())
        .any(|offset| entry::could_begin(bytes, offset, numbers.clone()) && entry::payload(bytes, offset).is_ok())
}

fn header_error(path: &Path, error: HeaderError) -> HistoryError {
    match error {
        HeaderError::Newer(found) => {
            HistoryError::NewerFormat { path: path.to_owned(), found: found.to_string(), supported: FORMAT_VERSION }
        }
        HeaderError::Corrupt(cause) => corrupt(path, 0, cause),
    }
}

pub fn corrupt(path: &Path, offset: usize, cause: impl Into<String>) -> HistoryError {
    HistoryError::CorruptWal { path: path.to_owned(), offset: offset as u64, cause: cause.into() }
}
