//! Values by path, sorted on disk: a server's snapshot has them in no order, and they may be more than memory holds.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};

use bytes::Bytes;

use crate::zk::ZkPath;

/// Of a path or a value that is read back: longer ones were never written.
const LENGTH_MAX: u32 = 1 << 30;
const BUFFER_BYTES: usize = 64 << 10;

/// Takes values in any order.
#[derive(Debug)]
pub(super) struct Values {
    bytes_max: usize,
    held: Vec<(ZkPath, Bytes)>,
    held_bytes: usize,
    runs: Vec<File>,
}

impl Values {
    /// Holds about so many bytes in memory.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, held: Vec::new(), held_bytes: 0, runs: Vec::new() }
    }

    /// Each path once.
    pub(super) fn push(&mut self, path: ZkPath, value: Bytes) -> io::Result<()> {
        self.held_bytes += size_of::<(ZkPath, Bytes)>() + path.len() + value.len();
        // A copy of its own, so that a short value does not hold the buffer that it was read into.
        self.held.push((path, Bytes::copy_from_slice(&value)));
        if self.held_bytes >= self.bytes_max {
            self.spill()?;
        }
        Ok(())
    }

    fn spill(&mut self) -> io::Result<()> {
        self.sort();
        let mut run = BufWriter::with_capacity(BUFFER_BYTES, tempfile::tempfile()?);
        for (path, value) in self.held.drain(..) {
            for bytes in [path.as_bytes(), &value] {
                let length = u32::try_from(bytes.len()).ok().filter(|length| *length <= LENGTH_MAX);
                let length = length.ok_or_else(|| io::Error::other("a value of more than 1 GiB"))?;
                run.write_all(&length.to_be_bytes())?;
                run.write_all(bytes)?;
            }
        }
        self.held_bytes = 0;
        let mut run = run.into_inner().map_err(io::IntoInnerError::into_error)?;
        run.rewind()?;
        self.runs.push(run);
        Ok(())
    }

    fn sort(&mut self) {
        self.held.sort_unstable_by(|(a, _), (b, _)| a.as_bytes().cmp(b.as_bytes()));
    }

    /// All of them, by path, bytewise.
    pub(super) fn sorted(mut self) -> io::Result<Sorted> {
        self.sort();
        let mut runs: Vec<Run> =
            self.runs.into_iter().map(|file| Run::File(BufReader::with_capacity(BUFFER_BYTES, file))).collect();
        runs.push(Run::Memory(self.held.into_iter()));
        let mut heads = BinaryHeap::with_capacity(runs.len());
        for (at, run) in runs.iter_mut().enumerate() {
            heads.extend(run.next()?.map(|(path, value)| Reverse((path, at, value))));
        }
        Ok(Sorted { runs, heads })
    }
}

#[derive(Debug)]
enum Run {
    File(BufReader<File>),
    Memory(std::vec::IntoIter<(ZkPath, Bytes)>),
}

impl Run {
    fn next(&mut self) -> io::Result<Option<(ZkPath, Bytes)>> {
        match self {
            Self::Memory(values) => Ok(values.next()),
            Self::File(file) => {
                let Some(path) = block(file)? else { return Ok(None) };
                let path = String::from_utf8(path).map_err(io::Error::other)?;
                let value = block(file)?.ok_or(io::ErrorKind::UnexpectedEof)?;
                Ok(Some((path.into(), value.into())))
            }
        }
    }
}

/// A length and its bytes; `None` at the end of the file.
fn block(file: &mut BufReader<File>) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match file.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let mut bytes = vec![0; u32::from_be_bytes(length).min(LENGTH_MAX) as usize];
    file.read_exact(&mut bytes)?;
    Ok(Some(bytes))
}

/// The values in the order of their paths.
#[derive(Debug)]
pub(super) struct Sorted {
    runs: Vec<Run>,
    heads: BinaryHeap<Reverse<(ZkPath, usize, Bytes)>>,
}

impl Sorted {
    /// The value of this path, passing over those before it. Paths must be asked for in their order.
    pub(super) fn value(&mut self, path: &str) -> io::Result<Option<Bytes>> {
        while let Some(Reverse((head, ..))) = self.heads.peek()
            && head.as_bytes() <= path.as_bytes()
        {
            let Some(Reverse((head, at, value))) = self.heads.pop() else { break };
            if let Some(run) = self.runs.get_mut(at) {
                self.heads.extend(run.next()?.map(|(path, value)| Reverse((path, at, value))));
            }
            if *head == *path {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorts_more_than_it_holds() {
        for bytes_max in [1, 4_000, usize::MAX] {
            let mut values = Values::new(bytes_max);
            // 7 and 1000 share no factor: every number below 1000 once.
            for at in (0..1_000).map(|at| at * 7 % 1_000) {
                values.push(format!("/{at:03}").into(), Bytes::from(format!("value {at}"))).expect("a disk");
            }
            let mut sorted = values.sorted().expect("a disk");
            for at in (0..1_000).filter(|at| at % 3 != 1) {
                let value = sorted.value(&format!("/{at:03}")).expect("a disk");
                assert_eq!(value, Some(Bytes::from(format!("value {at}"))), "with {bytes_max} bytes");
            }
            assert_eq!(sorted.value("/none").expect("a disk"), None);
        }
    }
}
