use std::io::Read;
use std::sync::Arc;

use super::place::{Packing, Place};
use super::segment::{Ending, RawRecord, Segment, Skipped, Step};
use super::transaction::Decoder;
use super::{SegmentFile, TxnlogError};
use crate::zk::Zxid;

/// One open log segment, standing at a record.
pub(super) struct Cursor {
    pub place: Place,
    segment: Segment<Box<dyn Read + Send>>,
    pub decoder: Decoder,
    skip_corrupt: bool,
    /// By the file's name.
    first: Zxid,
    /// The record that it stands at.
    pub zxid: Zxid,
    /// Its record was taken.
    pub spent: bool,
}

/// What a cursor came to.
pub(super) enum Moved {
    Record,
    /// Corrupt, behind the record that it stood at; it stands there still, spent.
    Skipped(Skipped),
    End(Ending),
}

impl Cursor {
    pub(super) fn open(file: &SegmentFile, skip_corrupt: bool) -> Result<Self, TxnlogError> {
        let place = file.place.clone();
        let from = place.open().map_err(TxnlogError::io(&place.name))?;
        // A place that looks corrupt is looked at twice, where that is easily done: see `Cursor::advance`.
        let skip_at_once = skip_corrupt && place.packing != Packing::Plain;
        let segment = Segment::open(&place.name, from, skip_at_once)?;
        Ok(Self {
            place,
            segment,
            decoder: Decoder::default(),
            skip_corrupt,
            first: file.first,
            zxid: Zxid(0),
            spent: true,
        })
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.place.name
    }

    /// What certainly comes before whatever follows the record that it stands at.
    pub(super) fn passed(&self) -> Zxid {
        self.zxid.max(Zxid(self.first.0 - 1))
    }

    pub(super) fn dbid(&self) -> Option<i64> {
        self.segment.dbid()
    }

    /// How much of the file is behind us, on disk.
    pub(super) fn bytes_done(&self) -> u64 {
        self.segment.offset().min(self.place.bytes)
    }

    #[inline]
    pub(super) fn record(&self) -> Option<RawRecord<'_>> {
        self.segment.record()
    }

    /// The record with what decodes it.
    pub(super) fn decodable(&mut self) -> Option<(RawRecord<'_>, &mut Decoder)> {
        Some((self.segment.record()?, &mut self.decoder))
    }

    /// Goes to the next record. One that the server had logged before (it repeats some when it is brought in step) is
    /// left out.
    pub(super) fn advance(&mut self) -> Result<Moved, TxnlogError> {
        loop {
            let step = match self.segment.advance() {
                Err(TxnlogError::Corrupt { offset, .. }) if self.place.packing == Packing::Plain => {
                    self.look_again(offset)?
                }
                step => step?,
            };
            match step {
                Step::Skipped(skipped) => return Ok(Moved::Skipped(skipped)),
                Step::End(ending) => return Ok(Moved::End(ending)),
                Step::Record => {}
            }
            if let Some(record) = self.segment.record()
                && record.zxid > self.zxid
            {
                self.zxid = record.zxid;
                self.spent = false;
                return Ok(Moved::Record);
            }
        }
    }

    /// Treats the record as corrupt.
    pub(super) fn refuse(&mut self, cause: super::Corruption) -> Result<Moved, TxnlogError> {
        self.spent = true;
        self.segment.skip_corrupt(self.skip_corrupt);
        let step = self.segment.refuse(cause);
        self.segment.skip_corrupt(self.skip_corrupt && self.place.packing != Packing::Plain);
        match step? {
            Step::Skipped(skipped) => Ok(Moved::Skipped(skipped)),
            Step::End(ending) => Ok(Moved::End(ending)),
            Step::Record => Ok(Moved::Record),
        }
    }

    /// A server may have written between two of our reads, so that we saw what came later and not what came before.
    fn look_again(&mut self, offset: u64) -> Result<Step, TxnlogError> {
        let io = TxnlogError::io(&self.place.name);
        self.segment.reread(Box::new(self.place.plain_from(offset).map_err(&io)?), offset);
        match self.segment.advance() {
            Err(TxnlogError::Corrupt { offset, .. }) if self.skip_corrupt => {
                self.segment.reread(Box::new(self.place.plain_from(offset).map_err(&io)?), offset);
                self.segment.skip_corrupt(true);
                let step = self.segment.advance();
                self.segment.skip_corrupt(false);
                step
            }
            step => step,
        }
    }
}
