use std::io::{self, Read};

use super::adler::Adler32;
use super::window::Window;

/// Reads jute's primitive types from a stream, and keeps the checksum of all that was read.
#[derive(Debug)]
pub struct CheckedReader<R> {
    window: Window<R>,
    sum: Adler32,
    offset: u64,
}

impl<R: Read> CheckedReader<R> {
    pub fn new(from: R) -> Self {
        Self { window: Window::new(from), sum: Adler32::default(), offset: 0 }
    }

    /// How much is behind us.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The checksum of all that was read.
    pub fn sum(&self) -> Adler32 {
        self.sum
    }

    /// How many bytes of memory this takes.
    pub fn capacity(&self) -> usize {
        self.window.capacity()
    }

    /// The next so many bytes, handed to `read` before they go.
    pub fn take<T>(&mut self, count: usize, read: impl FnOnce(&[u8]) -> T) -> io::Result<T> {
        let visible = self.window.fill(count)?;
        let bytes = visible.get(..count).ok_or(io::ErrorKind::UnexpectedEof)?;
        self.sum.update(bytes);
        let value = read(bytes);
        self.window.consume(count);
        self.offset += count as u64;
        Ok(value)
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        self.take(N, |bytes| bytes.first_chunk().copied())?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    pub fn int(&mut self) -> io::Result<i32> {
        self.array().map(i32::from_be_bytes)
    }

    pub fn long(&mut self) -> io::Result<i64> {
        self.array().map(i64::from_be_bytes)
    }

    /// A buffer of at most so many bytes; `None` for null.
    pub fn buffer<T>(&mut self, bytes_max: usize, read: impl FnOnce(&[u8]) -> T) -> io::Result<Option<T>> {
        match usize::try_from(self.int()?) {
            Err(_) => Ok(None),
            Ok(length) if length > bytes_max => {
                Err(io::Error::new(io::ErrorKind::InvalidData, format!("{length} bytes cannot be")))
            }
            Ok(length) => self.take(length, read).map(Some),
        }
    }

    /// All that is left, where it is at most so much.
    pub fn rest(&mut self, bytes_max: usize) -> io::Result<Vec<u8>> {
        let visible = self.window.fill(bytes_max.saturating_add(1))?;
        if visible.len() > bytes_max {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "more follows than can be"));
        }
        Ok(visible.to_vec())
    }
}
