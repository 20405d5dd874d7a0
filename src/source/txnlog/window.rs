use std::io::{self, Read};

/// What is asked of the system at a time, at least.
pub const READ_BYTES: usize = 256 << 10;

/// The part of a stream that is in memory.
///
/// It grows as bytes really come, never because bytes claim a length: its size is at most a small multiple of the
/// largest [`Window::fill`] that the stream could satisfy.
#[derive(Debug)]
pub struct Window<R> {
    from: R,
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    ended: bool,
}

impl<R: Read> Window<R> {
    pub fn new(from: R) -> Self {
        Self { from, bytes: Vec::new(), start: 0, end: 0, ended: false }
    }

    /// What is there and not yet consumed.
    #[inline]
    pub fn visible(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// Makes at least so many bytes visible; fewer only where the stream ends. Gives all that are.
    #[inline]
    pub fn fill(&mut self, wanted: usize) -> io::Result<&[u8]> {
        if self.end - self.start < wanted && !self.ended {
            self.read(wanted)?;
        }
        Ok(self.visible())
    }

    /// Lets go of the first bytes; of all that are visible where there are not so many.
    #[inline]
    pub fn consume(&mut self, count: usize) {
        self.start = self.start.saturating_add(count).min(self.end);
    }

    /// How many bytes of memory this takes.
    pub fn capacity(&self) -> usize {
        self.bytes.len()
    }

    #[cold]
    fn read(&mut self, wanted: usize) -> io::Result<()> {
        while self.end - self.start < wanted && !self.ended {
            let held = self.end - self.start;
            // At least half is free then: what is moved is paid for by what is read.
            if held > self.bytes.len() / 2 || self.bytes.is_empty() {
                let length = (self.bytes.len() * 2).max(READ_BYTES);
                let mut larger = vec![0; length];
                larger[..held].copy_from_slice(self.visible());
                self.bytes = larger;
            } else {
                self.bytes.copy_within(self.start..self.end, 0);
            }
            (self.start, self.end) = (0, held);
            self.read_once()?;
        }
        Ok(())
    }

    fn read_once(&mut self) -> io::Result<()> {
        loop {
            match self.from.read(&mut self.bytes[self.end..]) {
                Ok(0) => self.ended = true,
                Ok(count) => self.end += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_a_stream_piece_by_piece() {
        let bytes: Vec<u8> = (0..2_000_000_u32).map(|at| (at % 251) as u8).collect();
        let mut window = Window::new(bytes.as_slice());
        let mut at = 0;
        for step in (0..).map(|turn: usize| turn * 7_919 % 100_000 + 1) {
            let visible = window.fill(step).unwrap();
            let due = step.min(bytes.len() - at);
            assert!(visible.len() >= due);
            assert_eq!(visible[..due], bytes[at..at + due]);
            window.consume(due);
            at += due;
            if due < step {
                break;
            }
        }
        assert_eq!(at, bytes.len());
        assert!(window.capacity() <= 2 * READ_BYTES, "{}", window.capacity());
    }

    #[test]
    fn a_claimed_length_takes_no_memory() {
        let mut window = Window::new(&b"short"[..]);
        assert_eq!(window.fill(1 << 40).unwrap(), b"short");
        assert_eq!(window.capacity(), READ_BYTES);
    }
}
