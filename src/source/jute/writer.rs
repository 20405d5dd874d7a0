/// Writes jute's primitive types one after another.
///
/// Lengths are written as ints: a value of 2 GiB or more is cut there, which nobody who bounds packets ever sees.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub fn int(&mut self, value: i32) {
        self.raw(&value.to_be_bytes());
    }

    pub fn long(&mut self, value: i64) {
        self.raw(&value.to_be_bytes());
    }

    pub fn boolean(&mut self, value: bool) {
        self.raw(&[u8::from(value)]);
    }

    /// A buffer; `None` is null.
    pub fn buffer(&mut self, value: Option<&[u8]>) {
        match value {
            None => self.int(-1),
            Some(bytes) => {
                let length = self.count(bytes.len());
                self.raw(&bytes[..length]);
            }
        }
    }

    pub fn string(&mut self, value: &str) {
        self.buffer(Some(value.as_bytes()));
    }

    /// A vector's count; gives how many elements are to follow.
    pub fn count(&mut self, count: usize) -> usize {
        let count = i32::try_from(count).unwrap_or(i32::MAX);
        self.int(count);
        count as usize
    }
}
