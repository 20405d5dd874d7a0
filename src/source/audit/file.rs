//! An audit log as a file: plain or gzip, read line by line with a bound.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use super::line::{LineError, parse};
use super::zone::LogZone;
use crate::zk::AuditEntry;

/// Longer lines are none of an audit log: a path and an ACL have at most `jute.maxbuffer` bytes, 1 MB by default.
const LINE_BYTES_MAX: usize = 8 << 20;
/// How much of a file is looked at to tell what it is.
const HEAD_BYTES_MAX: u64 = 256 * 1024;
const BUFFER_BYTES: usize = 64 * 1024;

/// What a line was.
#[derive(Clone, Debug, PartialEq)]
pub enum Read {
    Entry(AuditEntry),
    /// A line of another logger.
    Other,
    /// A line of the audit log that cannot be used.
    Unusable {
        line: u64,
        cause: LineError,
    },
}

/// The lines of one file.
pub struct AuditFile {
    reader: Box<dyn BufRead + Send>,
    zone: LogZone,
    line: u64,
    buffer: Vec<u8>,
}

impl std::fmt::Debug for AuditFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuditFile").field("line", &self.line).finish_non_exhaustive()
    }
}

impl AuditFile {
    /// Opens a file; what begins as gzip is unpacked on the way.
    pub fn open(path: &Path, zone: LogZone) -> io::Result<Self> {
        Ok(Self { reader: unpacked(path)?, zone, line: 0, buffer: Vec::new() })
    }

    /// The next line; `None` at the end. A last line that is cut short is not there yet.
    ///
    /// # Errors
    /// The file cannot be read on. A gzip file that is cut short gives its lines first.
    pub fn read(&mut self) -> io::Result<Option<Read>> {
        let Some((text, whole)) = next_line(&mut self.reader, &mut self.buffer)? else { return Ok(None) };
        self.line += 1;
        let line = self.line;
        Ok(match text.and_then(|text| parse(&text, self.zone)) {
            None => Some(Read::Other),
            Some(Ok(entry)) => Some(Read::Entry(entry)),
            Some(Err(_)) if !whole => None,
            Some(Err(cause)) => Some(Read::Unusable { line, cause }),
        })
    }
}

/// Whether a file is an audit log: one of its first lines is one of it. A file that cannot be unpacked is none.
pub fn is_audit_log(path: &Path) -> io::Result<bool> {
    let mut head = io::Read::take(unpacked(path)?, HEAD_BYTES_MAX);
    let mut buffer = Vec::new();
    loop {
        match next_line(&mut head, &mut buffer) {
            Ok(Some((Some(text), _))) if parse(&text, LogZone::default()).is_some() => return Ok(true),
            Ok(Some(_)) => {}
            Ok(None) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}

fn unpacked(path: &Path) -> io::Result<Box<dyn BufRead + Send>> {
    let mut plain = BufReader::with_capacity(BUFFER_BYTES, File::open(path)?);
    if plain.fill_buf()?.starts_with(&[0x1f, 0x8b]) {
        return Ok(Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(plain))));
    }
    Ok(Box::new(plain))
}

/// A line's text, `None` where it is too long or no text, and whether its end is there. Allocates no more than the bound.
fn next_line(reader: &mut impl BufRead, buffer: &mut Vec<u8>) -> io::Result<Option<(Option<String>, bool)>> {
    buffer.clear();
    let (mut too_long, mut any) = (false, false);
    let whole = loop {
        let available = reader.fill_buf()?;
        if available.is_empty() {
            break false;
        }
        any = true;
        let end = available.iter().position(|byte| *byte == b'\n');
        let taken = available.get(..end.unwrap_or(available.len())).unwrap_or_default();
        if buffer.len() + taken.len() > LINE_BYTES_MAX {
            too_long = true;
        } else {
            buffer.extend_from_slice(taken);
        }
        let used = taken.len() + usize::from(end.is_some());
        reader.consume(used);
        if end.is_some() {
            break true;
        }
    };
    if !any {
        return Ok(None);
    }
    let text =
        (!too_long && !buffer.contains(&0)).then(|| String::from_utf8_lossy(buffer).trim_end_matches('\r').to_owned());
    Ok(Some((text, whole)))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const LINE: &str =
        "2026-11-20 03:10:00,123 INFO x: session=0x1\tuser=a\tip=10.0.0.1\toperation=create\tznode=/a\tresult=success";

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn entries(bytes: &[u8]) -> (usize, Vec<u64>) {
        let file = file(bytes);
        let mut audit = AuditFile::open(file.path(), LogZone::default()).unwrap();
        let (mut entries, mut unusable) = (0, Vec::new());
        while let Some(read) = audit.read().unwrap() {
            match read {
                Read::Entry(_) => entries += 1,
                Read::Unusable { line, .. } => unusable.push(line),
                Read::Other => {}
            }
        }
        (entries, unusable)
    }

    #[test]
    fn plain_and_packed_files_are_read_to_their_last_whole_line() {
        let text = format!("starting\n{LINE}\r\n{LINE}\nx session=0x1\toperation=create\tresult=success\n{LINE}");
        assert_eq!(entries(text.as_bytes()), (3, vec![4]));
        assert_eq!(entries(&gzip(text.as_bytes())), (3, vec![4]));
        // Two members, as `cat a.gz b.gz` makes them.
        assert_eq!(entries(&[gzip(text.as_bytes()), gzip(b"\n"), gzip(text.as_bytes())].concat()).0, 6);
        // A line that is being written is not there yet.
        let torn = format!("{LINE}\n{}", &LINE[..LINE.len() - 3]);
        assert_eq!(entries(torn.as_bytes()), (1, Vec::new()));
        assert_eq!(entries(b""), (0, Vec::new()));
    }

    #[test]
    fn lines_without_an_end_and_bytes_that_are_no_text_cost_no_memory() {
        let mut long = vec![b'x'; LINE_BYTES_MAX + 10];
        long.push(b'\n');
        long.extend_from_slice(LINE.as_bytes());
        assert_eq!(entries(&long), (1, Vec::new()));
        assert_eq!(entries(&[0; 100]), (0, Vec::new()));
        assert_eq!(entries(b"\xff\xfe session=0x1\toperation=\xff\tresult=success\n"), (0, vec![1]));
    }

    #[test]
    fn an_audit_log_is_told_by_its_lines() {
        let is = |bytes: &[u8]| is_audit_log(file(bytes).path()).unwrap();
        assert!(is(LINE.as_bytes()) && is(&gzip(LINE.as_bytes())));
        assert!(is(format!("a\nb\n{LINE}\n").as_bytes()));
        assert!(!is(b"") && !is(b"ZKLG\0\0\0\x02") && !is(&gzip(b"nothing")) && !is(&[0x1f, 0x8b, 0, 1, 2]));
        assert!(!is(&gzip(LINE.as_bytes())[..12]), "cut short before its first line");
        assert!(is_audit_log(Path::new("/nowhere")).is_err());
    }
}
