//! What snappy-java's `SnappyOutputStream` writes: a header of 16 bytes, then chunks of an i32 length and raw snappy.
//! (The framing format of snappy itself is another one.)

use std::io::{self, Read};

use super::window::Window;

const MAGIC: &[u8; 8] = b"\x82SNAPPY\0";
const HEADER_BYTES: usize = 16;
const VERSION_MIN: u32 = 1;
/// The library's chunks are of 32 KiB; nobody can tell the server to make them larger.
const CHUNK_BYTES_MAX: usize = 16 << 20;
/// Snappy's densest element makes 64 bytes of 3.
const EXPANSION_MAX: usize = 24;

/// Unpacks such a stream.
#[derive(Debug)]
pub struct SnappyReader<R> {
    window: Window<R>,
    chunk: Vec<u8>,
    at: usize,
}

impl<R: Read> SnappyReader<R> {
    pub fn new(from: R) -> io::Result<Self> {
        let mut window = Window::new(from);
        let header = window.fill(HEADER_BYTES)?;
        let version =
            header.get(12..HEADER_BYTES).and_then(|bytes| bytes.first_chunk()).map(|bytes| u32::from_be_bytes(*bytes));
        match version {
            None => {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ends within the header of snappy-java"));
            }
            Some(_) if !header.starts_with(MAGIC) => {
                return Err(invalid("it does not begin as snappy-java's streams do"));
            }
            Some(version) if version < VERSION_MIN => {
                return Err(invalid("its version of snappy-java's format is unknown"));
            }
            Some(_) => {}
        }
        window.consume(HEADER_BYTES);
        Ok(Self { window, chunk: Vec::new(), at: 0 })
    }

    /// Unpacks the next chunk; `false` at the end.
    fn next_chunk(&mut self) -> io::Result<bool> {
        let torn = || io::Error::new(io::ErrorKind::UnexpectedEof, "it ends within a chunk of snappy");
        let head = self.window.fill(4)?;
        if head.is_empty() {
            return Ok(false);
        }
        let length = u32::from_be_bytes(*head.first_chunk().ok_or_else(torn)?) as usize;
        if length > CHUNK_BYTES_MAX {
            return Err(invalid("a chunk of snappy is too long"));
        }
        let packed = self.window.fill(4 + length)?.get(4..4 + length).ok_or_else(torn)?;
        let unpacked = snap::raw::decompress_len(packed).map_err(io::Error::other)?;
        if unpacked > packed.len().saturating_mul(EXPANSION_MAX) {
            return Err(invalid("a chunk of snappy claims to be longer than it can be"));
        }
        self.chunk.resize(unpacked, 0);
        let unpacked = snap::raw::Decoder::new().decompress(packed, &mut self.chunk).map_err(io::Error::other)?;
        self.chunk.truncate(unpacked);
        self.at = 0;
        self.window.consume(4 + length);
        Ok(true)
    }
}

impl<R: Read> Read for SnappyReader<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.at == self.chunk.len() {
            if !self.next_chunk()? {
                return Ok(0);
            }
        }
        let count = (self.chunk.len() - self.at).min(into.len());
        into[..count].copy_from_slice(&self.chunk[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

fn invalid(because: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, because)
}
