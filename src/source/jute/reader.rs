/// Why bytes are no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JuteError {
    #[error("the record ends at byte {at}, where {wanted} more bytes are due and {left} are left")]
    Short { at: usize, wanted: usize, left: usize },
    #[error("a string at byte {at} is not UTF-8")]
    NotUtf8 { at: usize },
    #[error("a boolean at byte {at} is {value}")]
    NotBoolean { at: usize, value: u8 },
    #[error("operation {0} is unknown")]
    UnknownOp(i32),
    #[error("operation {0} cannot be part of a multi")]
    NotInMulti(i32),
}

/// Reads jute's primitive types from a slice, in order.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bytes are still to be read.
    #[inline]
    pub fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// What is still to be read; nothing is consumed.
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// # Errors
    /// [`JuteError::Short`] where fewer bytes are left. Nothing is consumed then.
    #[inline]
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], JuteError> {
        match self.at.checked_add(count).and_then(|end| self.bytes.get(self.at..end)) {
            Some(taken) => {
                self.at += count;
                Ok(taken)
            }
            None => Err(self.short(count)),
        }
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], JuteError> {
        match self.rest().first_chunk::<N>() {
            Some(taken) => {
                self.at += N;
                Ok(*taken)
            }
            None => Err(self.short(N)),
        }
    }

    #[cold]
    fn short(&self, wanted: usize) -> JuteError {
        JuteError::Short { at: self.at, wanted, left: self.left() }
    }

    #[inline]
    pub fn int(&mut self) -> Result<i32, JuteError> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    #[inline]
    pub fn long(&mut self) -> Result<i64, JuteError> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    pub fn boolean(&mut self) -> Result<bool, JuteError> {
        let at = self.at;
        match self.array()? {
            [0] => Ok(false),
            [1] => Ok(true),
            [value] => Err(JuteError::NotBoolean { at, value }),
        }
    }

    /// A buffer; `None` for null.
    #[inline]
    pub fn buffer(&mut self) -> Result<Option<&'a [u8]>, JuteError> {
        match usize::try_from(self.int()?) {
            Ok(length) => self.take(length).map(Some),
            Err(_) => Ok(None),
        }
    }

    /// A string; null is empty.
    #[inline]
    pub fn string(&mut self) -> Result<&'a str, JuteError> {
        let at = self.at;
        let bytes = self.buffer()?.unwrap_or_default();
        std::str::from_utf8(bytes).map_err(|_| JuteError::NotUtf8 { at })
    }

    /// A vector's count, held against what is left: each element is at least this many bytes. Null is empty.
    pub fn count(&mut self, element_bytes_min: usize) -> Result<usize, JuteError> {
        let Ok(count) = usize::try_from(self.int()?) else { return Ok(0) };
        let wanted = count.saturating_mul(element_bytes_min.max(1));
        if wanted > self.left() {
            return Err(self.short(wanted));
        }
        Ok(count)
    }
}
