//! One log segment, record by record.
//!
//! ```text
//! "ZKLG" · i32 2 · i64 dbid          16 bytes
//! ( i64 adler32(payload) · i32 length · payload · 0x42 )*
//! zeros                              what the server allocated beforehand
//! ```
//!
//! What is not a record is one of three things, told apart by what comes behind it:
//! - nothing but zeros or the end of the file behind a record that was begun: *not yet*, the server died or still writes;
//! - zeros alone: the end;
//! - anything else: *corrupt*.

use std::io::Read;

use self::search::Behind;
use super::adler::Adler32;
use super::window::Window;
use super::{Corruption, TxnlogError};
use crate::source::jute::Reader;
use crate::source::jute::Record as _;
use crate::source::jute::txn::{FileHeader, LOG_FORMAT_VERSION, LOG_MAGIC};
use crate::zk::Zxid;

mod search;

/// No server writes larger records: they are bounded by `jute.maxbuffer`, 1 MiB unless somebody raised it.
pub const RECORD_BYTES_MAX: usize = 64 << 20;

const FILE_HEADER_BYTES: usize = 16;
/// Checksum and length.
const HEAD_BYTES: usize = 12;
/// Session, cxid, zxid, time and type.
const PAYLOAD_BYTES_MIN: usize = 32;
const END_MARKER: u8 = 0x42;
const RECORD_BYTES_MIN: usize = HEAD_BYTES + PAYLOAD_BYTES_MIN + 1;
/// So much may be checksummed in vain while looking for the record behind a corrupt one; then the rest is given up.
const SEARCH_BYTES_MAX: usize = 1 << 30;

/// What comes next in a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// See [`Segment::record`].
    Record,
    /// Only where corrupt places are to be skipped.
    Skipped(Skipped),
    End(Ending),
}

/// A corrupt place that was gone over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    pub offset: u64,
    pub bytes: u64,
    pub cause: Corruption,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All records are whole.
    Whole,
    /// At this byte a record was begun that is not whole yet, or never will be.
    Torn { offset: u64 },
}

/// A record that is whole and as it was written.
#[derive(Clone, Copy, Debug)]
pub struct RawRecord<'a> {
    pub offset: u64,
    pub zxid: Zxid,
    pub payload: &'a [u8],
}

/// Reads a log segment from its beginning, with a buffer that does not depend on its length.
#[derive(Debug)]
pub struct Segment<R> {
    file: String,
    window: Window<R>,
    header: Option<FileHeader>,
    skip_corrupt: bool,
    /// Where the window begins.
    offset: u64,
    /// Bytes of the current record, 0 where there is none.
    current: usize,
    zxid: Zxid,
    search_bytes_left: usize,
    end: Option<Ending>,
}

impl<R: Read> Segment<R> {
    /// `file` is its name in errors. A file that ends within its header is an empty, torn one.
    ///
    /// # Errors
    /// [`TxnlogError::NotALog`] for anything else, [`TxnlogError::Io`].
    pub fn open(file: &str, from: R, skip_corrupt: bool) -> Result<Self, TxnlogError> {
        let mut segment = Self {
            file: file.to_owned(),
            window: Window::new(from),
            header: None,
            skip_corrupt,
            offset: 0,
            current: 0,
            zxid: Zxid(0),
            search_bytes_left: SEARCH_BYTES_MAX,
            end: None,
        };
        let visible = segment.window.fill(FILE_HEADER_BYTES).map_err(TxnlogError::io(file))?;
        let not_a_log = |because: String| TxnlogError::NotALog { file: file.to_owned(), because };
        match FileHeader::from_bytes(visible) {
            Err(_) => segment.end = Some(Ending::Torn { offset: 0 }),
            Ok(header) if header.magic != LOG_MAGIC => {
                return Err(not_a_log(format!("it begins with {:08x}, not with ZKLG", header.magic)));
            }
            Ok(header) if header.version != LOG_FORMAT_VERSION => {
                return Err(not_a_log(format!("its format version is {}, not {LOG_FORMAT_VERSION}", header.version)));
            }
            Ok(header) => {
                segment.header = Some(header);
                segment.skip(FILE_HEADER_BYTES);
            }
        }
        Ok(segment)
    }

    pub fn file(&self) -> &str {
        &self.file
    }

    /// `None` where the file ends before it says.
    pub fn dbid(&self) -> Option<i64> {
        self.header.map(|header| header.dbid)
    }

    /// Whether corrupt places are gone over from now on.
    pub fn skip_corrupt(&mut self, skip_corrupt: bool) {
        self.skip_corrupt = skip_corrupt;
    }

    /// Goes on with a reader that begins at this byte of the same file.
    pub fn reread(&mut self, from: R, offset: u64) {
        self.window = Window::new(from);
        self.offset = offset;
        self.current = 0;
        self.end = None;
    }

    /// How much of the file is behind us.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes of the record that [`Segment::advance`] has come to; 0 where there is none.
    pub fn record_bytes(&self) -> u64 {
        self.current as u64
    }

    /// How many bytes of memory this takes.
    pub fn capacity(&self) -> usize {
        self.window.capacity()
    }

    /// The record that [`Segment::advance`] has come to.
    #[inline]
    pub fn record(&self) -> Option<RawRecord<'_>> {
        let payload = self.window.visible().get(HEAD_BYTES..self.current.checked_sub(1)?)?;
        Some(RawRecord { offset: self.offset, zxid: self.zxid, payload })
    }

    /// Goes to the next record.
    ///
    /// # Errors
    /// [`TxnlogError::Corrupt`] where corrupt places are not to be skipped: the segment stays there. [`TxnlogError::Io`].
    pub fn advance(&mut self) -> Result<Step, TxnlogError> {
        self.skip(self.current);
        self.current = 0;
        if let Some(end) = self.end {
            return Ok(Step::End(end));
        }
        match self.look()? {
            Look::Record => Ok(Step::Record),
            Look::End => {
                self.end = Some(Ending::Whole);
                Ok(Step::End(Ending::Whole))
            }
            Look::Trouble(trouble) => self.trouble(trouble),
        }
    }

    /// Treats the current record as corrupt: for who cannot make sense of what it holds.
    ///
    /// # Errors
    /// As [`Segment::advance`].
    pub fn refuse(&mut self, cause: Corruption) -> Result<Step, TxnlogError> {
        let (offset, bytes) = (self.offset, self.current as u64);
        if !self.skip_corrupt {
            return Err(self.corrupt(offset, cause));
        }
        self.skip(self.current);
        self.current = 0;
        Ok(Step::Skipped(Skipped { offset, bytes, cause }))
    }

    fn corrupt(&self, offset: u64, cause: Corruption) -> TxnlogError {
        TxnlogError::Corrupt { file: self.file.clone(), offset, cause }
    }

    fn skip(&mut self, bytes: usize) {
        self.window.consume(bytes);
        self.offset += bytes as u64;
    }

    fn fill(&mut self, bytes: usize) -> Result<&[u8], TxnlogError> {
        self.window.fill(bytes).map_err(TxnlogError::io(&self.file))
    }

    fn look(&mut self) -> Result<Look, TxnlogError> {
        let visible = self.fill(RECORD_BYTES_MIN)?;
        let Some((written, length)) = head(visible) else {
            let zeros = visible.iter().all(|byte| *byte == 0);
            return Ok(if zeros { Look::End } else { Look::Trouble(Trouble::torn(Corruption::Length(0))) });
        };
        if length == 0 {
            let padding = visible.iter().take(HEAD_BYTES).all(|byte| *byte == 0);
            let cause = if padding { Corruption::BehindTheEnd } else { Corruption::Length(0) };
            return Ok(Look::Trouble(Trouble { cause, unwritten: true, padding }));
        }
        let Some(payload) = plausible(length) else {
            return Ok(Look::Trouble(Trouble::corrupt(Corruption::Length(length))));
        };
        let whole = HEAD_BYTES + payload + 1;
        let visible = self.fill(whole)?;
        let (Some(bytes), Some(marker)) = (visible.get(HEAD_BYTES..whole - 1), visible.get(whole - 1)) else {
            return Ok(Look::Trouble(Trouble::torn(Corruption::Length(length))));
        };
        let computed = Adler32::of(bytes);
        if *marker == END_MARKER && i64::from(computed) == written {
            let zxid = zxid_of(bytes);
            if zxid < 0 {
                return Ok(Look::Trouble(Trouble::corrupt(Corruption::Zxid(zxid))));
            }
            self.current = whole;
            self.zxid = Zxid(zxid);
            return Ok(Look::Record);
        }
        let cause = if *marker == END_MARKER || *marker == 0 {
            Corruption::Checksum { written, computed }
        } else {
            Corruption::Marker
        };
        Ok(Look::Trouble(Trouble { cause, unwritten: *marker == 0, padding: false }))
    }

    /// Finds out what it is by what comes behind it.
    fn trouble(&mut self, trouble: Trouble) -> Result<Step, TxnlogError> {
        let offset = self.offset;
        let behind = self.search(&trouble)?;
        let bytes = self.offset - offset;
        match behind {
            Behind::Record => {}
            Behind::Nothing if trouble.padding => {
                self.end = Some(Ending::Whole);
                return Ok(Step::End(Ending::Whole));
            }
            Behind::Nothing if trouble.unwritten => {
                let end = Ending::Torn { offset };
                self.end = Some(end);
                return Ok(Step::End(end));
            }
            Behind::Nothing | Behind::Something => self.end = Some(Ending::Whole),
        }
        if !self.skip_corrupt {
            // Nothing is read on: this is the end of it.
            self.end = Some(Ending::Whole);
            return Err(self.corrupt(offset, trouble.cause));
        }
        Ok(Step::Skipped(Skipped { offset, bytes, cause: trouble.cause }))
    }
}

enum Look {
    Record,
    End,
    Trouble(Trouble),
}

struct Trouble {
    cause: Corruption,
    /// It may be a record that is not written out.
    unwritten: bool,
    /// It may be what was allocated beforehand.
    padding: bool,
}

impl Trouble {
    fn corrupt(cause: Corruption) -> Self {
        Self { cause, unwritten: false, padding: false }
    }

    fn torn(cause: Corruption) -> Self {
        Self { cause, unwritten: true, padding: false }
    }
}

/// Checksum and length.
#[inline]
fn head(bytes: &[u8]) -> Option<(i64, i32)> {
    let mut from = Reader::new(bytes);
    Some((from.long().ok()?, from.int().ok()?))
}

#[inline]
fn plausible(length: i32) -> Option<usize> {
    usize::try_from(length).ok().filter(|length| (PAYLOAD_BYTES_MIN..=RECORD_BYTES_MAX).contains(length))
}

/// Of a payload.
#[inline]
fn zxid_of(payload: &[u8]) -> i64 {
    payload.get(12..).and_then(|bytes| Reader::new(bytes).long().ok()).unwrap_or(-1)
}
