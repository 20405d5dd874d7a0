//! Frames: one group commit each. Encoding and decoding only; see the byte diagram in [`super`].

use std::collections::HashMap;

use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions, write_message};
use arrow::ipc::{MetadataVersion, reader::read_record_batch, root_as_message};
use arrow::record_batch::RecordBatch;

use crate::history::layout::Table;

/// Longer frames are never written, so a length above is no length.
pub const FRAME_BYTES_MAX: usize = 1024 * 1024 * 1024;
/// Length and CRC, before the payload.
pub const FRAME_HEADER_BYTES: usize = 8;
const PAYLOAD_HEADER_BYTES: usize = 16;
const SECTION_HEADER_BYTES: usize = 16;
const FRAME_VERSION: u8 = 1;
const ALIGNMENT: usize = 8;

/// What the rows of a section are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Rows(Table),
    /// The open intervals, in the schema of `coverage`.
    Mark,
}

impl Kind {
    fn code(self) -> u8 {
        match self {
            Self::Rows(Table::Changes) => 1,
            Self::Rows(Table::Coverage) => 2,
            Self::Rows(Table::Sessions) => 3,
            Self::Mark => 4,
            // Written as parts, never through the WAL.
            Self::Rows(Table::Audit | Table::Snapshots) => 0,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Rows(Table::Changes)),
            2 => Some(Self::Rows(Table::Coverage)),
            3 => Some(Self::Rows(Table::Sessions)),
            4 => Some(Self::Mark),
            _ => None,
        }
    }

    fn schema(self) -> SchemaRef {
        match self {
            Self::Rows(table) => table.schema(),
            Self::Mark => Table::Coverage.schema(),
        }
    }
}

/// One batch of a frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    pub kind: Kind,
    /// The seq of the first row; of a mark the next seq of coverage.
    pub first_seq: i64,
    pub batch: RecordBatch,
}

/// A decoded frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    pub number: u64,
    pub sections: Vec<Section>,
}

/// Encodes frames; keeps its buffers.
#[derive(Default)]
pub struct Encoder {
    context: IpcWriteContext,
}

impl Encoder {
    /// Appends one frame to `out`.
    pub fn encode(&mut self, number: u64, sections: &[Section], out: &mut Vec<u8>) -> Result<(), ArrowError> {
        let start = out.len();
        let count = u8::try_from(sections.len())
            .map_err(|_| ArrowError::InvalidArgumentError("a frame has at most 255 sections".to_owned()))?;
        out.extend_from_slice(&[0; FRAME_HEADER_BYTES]);
        out.extend_from_slice(&[FRAME_VERSION, count, 0, 0, 0, 0, 0, 0]);
        out.extend_from_slice(&number.to_le_bytes());
        for section in sections {
            self.section(section, out)?;
        }
        let payload = out.len() - start - FRAME_HEADER_BYTES;
        let length = u32::try_from(payload).ok().filter(|_| payload <= FRAME_BYTES_MAX);
        let length = length.ok_or_else(|| too_long(payload))?.to_le_bytes();
        let crc = checksum(length, &out[start + FRAME_HEADER_BYTES..]);
        out[start..start + 4].copy_from_slice(&length);
        out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
        Ok(())
    }

    fn section(&mut self, section: &Section, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        let options = IpcWriteOptions::try_new(ALIGNMENT, false, MetadataVersion::V5)?;
        let mut dictionaries = DictionaryTracker::new(true);
        let generator = IpcDataGenerator::default();
        let (_, encoded) = generator.encode(&section.batch, &mut dictionaries, &options, &mut self.context)?;
        let start = out.len();
        out.extend_from_slice(&[section.kind.code(), 0, 0, 0, 0, 0, 0, 0]);
        out.extend_from_slice(&section.first_seq.to_le_bytes());
        write_message(&mut *out, encoded, &options)?;
        let length = out.len() - start - SECTION_HEADER_BYTES;
        let length = u32::try_from(length).map_err(|_| too_long(length))?;
        out[start + 4..start + 8].copy_from_slice(&length.to_le_bytes());
        Ok(())
    }
}

fn too_long(bytes: usize) -> ArrowError {
    ArrowError::InvalidArgumentError(format!("a WAL frame of {bytes} bytes is too long"))
}

fn checksum(length: [u8; 4], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length);
    hasher.update(payload);
    hasher.finalize()
}

/// The payload of the frame that begins at `offset`, or why there is none.
pub fn payload(bytes: &[u8], offset: usize) -> Result<&[u8], &'static str> {
    let header =
        bytes.get(offset..).and_then(|rest| rest.get(..FRAME_HEADER_BYTES)).ok_or("its header is cut short")?;
    let (length_bytes, crc) = (array(header, 0), u32::from_le_bytes(array(header, 4)));
    let length = u32::from_le_bytes(length_bytes) as usize;
    if !(PAYLOAD_HEADER_BYTES..=FRAME_BYTES_MAX).contains(&length) {
        return Err("its length is impossible");
    }
    let start = offset + FRAME_HEADER_BYTES;
    let payload = bytes.get(start..).and_then(|rest| rest.get(..length)).ok_or("it is cut short")?;
    if checksum(length_bytes, payload) != crc { Err("its checksum does not match") } else { Ok(payload) }
}

/// The number that a payload states. Its checksum must have matched for this to mean anything.
pub fn number(payload: &[u8]) -> Option<u64> {
    payload.get(8..PAYLOAD_HEADER_BYTES).map(|bytes| u64::from_le_bytes(array(bytes, 0)))
}

/// Whether a frame numbered in `numbers` could begin here: the cheap test before the checksum.
pub fn could_begin(bytes: &[u8], offset: usize, numbers: std::ops::Range<u64>) -> bool {
    let Some(header) = bytes.get(offset..).and_then(|rest| rest.get(..FRAME_HEADER_BYTES + PAYLOAD_HEADER_BYTES))
    else {
        return false;
    };
    header[FRAME_HEADER_BYTES] == FRAME_VERSION
        && number(&header[FRAME_HEADER_BYTES..]).is_some_and(|n| numbers.contains(&n))
}

/// Decodes a payload whose checksum matched. `payload` is a slice of a buffer that the batches go on sharing.
pub fn decode(payload: &Buffer) -> Result<Frame, String> {
    let bytes = payload.as_slice();
    let [version, count, ..] = *bytes else { return Err("its payload is empty".to_owned()) };
    if version != FRAME_VERSION {
        return Err(format!("its version is {version}, this zktrail reads version {FRAME_VERSION}"));
    }
    let number = number(bytes).ok_or("its payload is cut short")?;
    let mut sections = Vec::with_capacity(usize::from(count));
    let mut offset = PAYLOAD_HEADER_BYTES;
    for _ in 0..count {
        let header =
            bytes.get(offset..).and_then(|rest| rest.get(..SECTION_HEADER_BYTES)).ok_or("a section is cut short")?;
        let kind =
            Kind::from_code(header[0]).ok_or_else(|| format!("a section is of the unknown kind {}", header[0]))?;
        let length = u32::from_le_bytes(array(header, 4)) as usize;
        let first_seq = i64::from_le_bytes(array(header, 8));
        offset += SECTION_HEADER_BYTES;
        if bytes.len().saturating_sub(offset) < length {
            return Err("a section is longer than its frame".to_owned());
        }
        let batch = message(&payload.slice_with_length(offset, length), kind.schema())?;
        sections.push(Section { kind, first_seq, batch });
        offset += length;
    }
    Ok(Frame { number, sections })
}

/// One encapsulated record batch message: a continuation marker, the metadata's length, the metadata, the body.
fn message(buffer: &Buffer, schema: SchemaRef) -> Result<RecordBatch, String> {
    let bytes = buffer.as_slice();
    let header = bytes.get(..8).ok_or("a message is cut short")?;
    if header[..4] != [0xff; 4] {
        return Err("a message does not begin as one".to_owned());
    }
    let length = u32::from_le_bytes(array(header, 4)) as usize;
    let metadata = bytes.get(8..).and_then(|rest| rest.get(..length)).ok_or("a message's metadata is cut short")?;
    let message = root_as_message(metadata).map_err(|error| error.to_string())?;
    let batch = message.header_as_record_batch().ok_or("a message is no record batch")?;
    let body = buffer.slice(8 + length);
    read_record_batch(&body, batch, schema, &HashMap::new(), None, &message.version())
        .map_err(|error| error.to_string())
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    if let Some(bytes) = bytes.get(at..at + N) {
        array.copy_from_slice(bytes);
    }
    array
}
