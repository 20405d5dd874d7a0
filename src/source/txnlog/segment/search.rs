//! The next valid record behind a place that is none.

use std::io::Read;

use super::{END_MARKER, HEAD_BYTES, RECORD_BYTES_MIN, Segment, Trouble, head, plausible, zxid_of};
use crate::source::jute::{Op, Reader};
use crate::source::txnlog::TxnlogError;
use crate::source::txnlog::adler::Adler32;
use crate::source::txnlog::window::READ_BYTES;

const CHECKSUM_BYTES: usize = 8;

pub(super) enum Behind {
    Record,
    /// Zeros, or the end of the file.
    Nothing,
    /// No record, but not zeros either.
    Something,
}

impl<R: Read> Segment<R> {
    /// Goes on to the next valid record, or to the end of the file.
    pub(super) fn search(&mut self, trouble: &Trouble) -> Result<Behind, TxnlogError> {
        let visible = self.window.visible();
        let length = head(visible).and_then(|(_, length)| plausible(length));
        // By its length first, so that nothing inside of it is taken for a record.
        if let Some(payload) = length
            && !trouble.unwritten
        {
            let whole = HEAD_BYTES + payload + 1;
            if self.record_at(whole)? {
                self.skip(whole);
                return Ok(Behind::Record);
            }
        }
        // A record that was begun may have been written in parts; behind it are zeros alone.
        let begun = match (trouble.padding, head(self.window.visible())) {
            (true, _) => 0,
            (false, None) => self.window.visible().len(),
            (false, Some(_)) => HEAD_BYTES + length.map_or(0, |payload| payload + 1),
        };
        let behind = self.offset + begun as u64;
        let mut something = false;
        self.skip(1.min(self.window.visible().len()));
        loop {
            let offset = self.offset;
            let visible = self.fill(READ_BYTES)?;
            if visible.len() < RECORD_BYTES_MIN {
                let rest = visible.len();
                something |= (offset..).zip(visible).any(|(at, byte)| at >= behind && *byte != 0);
                self.skip(rest);
                return Ok(if something { Behind::Something } else { Behind::Nothing });
            }
            let zeros = leading_zeros(visible);
            if zeros >= CHECKSUM_BYTES {
                // A checksum is 4 zeros and at least one more byte of 4.
                self.skip(zeros + 1 - CHECKSUM_BYTES);
                continue;
            }
            if zeros >= CHECKSUM_BYTES / 2 && self.record_at(0)? {
                return Ok(Behind::Record);
            }
            something |= zeros == 0 && offset >= behind;
            self.skip(1);
        }
    }

    /// Whether a valid record is so many bytes ahead.
    fn record_at(&mut self, ahead: usize) -> Result<bool, TxnlogError> {
        let visible = self.fill(ahead + RECORD_BYTES_MIN)?;
        let Some((written, length)) = visible.get(ahead..).and_then(head) else { return Ok(false) };
        let Some(payload) = plausible(length) else { return Ok(false) };
        let is_known =
            visible.get(ahead + HEAD_BYTES..).is_some_and(|bytes| zxid_of(bytes) > 0 && op_of(bytes).is_some());
        if !is_known || payload > self.search_bytes_left {
            return Ok(false);
        }
        let whole = ahead + HEAD_BYTES + payload + 1;
        let visible = self.fill(whole)?;
        let Some((marker, bytes)) = visible.get(ahead + HEAD_BYTES..whole).and_then(<[u8]>::split_last) else {
            return Ok(false);
        };
        if *marker != END_MARKER {
            return Ok(false);
        }
        let valid = i64::from(Adler32::of(bytes)) == written;
        self.search_bytes_left -= payload;
        Ok(valid)
    }
}

/// There are 64 MiB of them behind most logs: block by block, a comparison of memory each.
fn leading_zeros(bytes: &[u8]) -> usize {
    const BLOCK: [u8; 1_024] = [0; 1_024];
    let blocks = bytes.chunks_exact(BLOCK.len()).take_while(|block| **block == BLOCK).count() * BLOCK.len();
    blocks + bytes[blocks..].iter().take_while(|byte| **byte == 0).count()
}

/// Of a payload.
fn op_of(payload: &[u8]) -> Option<Op> {
    payload.get(28..).and_then(|bytes| Reader::new(bytes).int().ok()).and_then(Op::from_code)
}
