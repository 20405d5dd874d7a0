//! A tar of servers' folders.
//!
//! What lies in a plain tar in one piece is read in place. What is packed, or was sparse, is unpacked into a temporary
//! folder first: several servers' logs are read side by side, and a packed stream has only one place at a time.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::sync::Arc;

use flate2::read::MultiGzDecoder;
use tar::EntryType;

use super::TxnlogError;
use super::find::{Found, kind};
use super::place::{Packing, Place};

/// Of the temporary copy; zeros are not written.
const BLOCK_BYTES: usize = 64 << 10;
const TAR_MAGIC_AT: usize = 257;

/// Whether a file is a tar, packed with gzip or not.
pub(super) fn is_tar(path: &Path) -> Result<bool, TxnlogError> {
    let name = path.to_string_lossy();
    let io = TxnlogError::io(&name);
    let mut head = Vec::new();
    match unpacked(path).map_err(&io)?.0.take(512).read_to_end(&mut head) {
        Ok(_) => Ok(head.get(TAR_MAGIC_AT..).is_some_and(|magic| magic.starts_with(b"ustar"))),
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(false),
        Err(error) => Err(io(error)),
    }
}

/// Takes in what the archive holds.
pub(super) fn add(path: &Path, found: &mut Found) -> Result<(), TxnlogError> {
    let archive = path.to_string_lossy();
    let io = TxnlogError::io(&archive);
    let (bytes, packed) = unpacked(path).map_err(&io)?;
    let mut tar = tar::Archive::new(bytes);
    let mut copies: Option<Arc<tempfile::TempDir>> = None;
    for (number, entry) in tar.entries().map_err(&io)?.enumerate() {
        let mut entry = entry.map_err(&io)?;
        let within = entry.path().map_err(&io)?.into_owned();
        let Some(name) = within.file_name().and_then(|name| name.to_str()) else { continue };
        let Some(kind) = kind(name) else { continue };
        let sparse = match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous => false,
            EntryType::GNUSparse => true,
            _ => continue,
        };
        let entry_name = format!("{archive}:{}", within.display());
        if within.iter().any(|part| part.to_string_lossy().starts_with("GNUSparseFile.")) {
            return Err(TxnlogError::SparseEntry { archive: archive.to_string(), entry: within.display().to_string() });
        }
        let folder = within.parent().unwrap_or(Path::new("")).display().to_string();
        let mut place = Place {
            name: entry_name.into(),
            path: path.to_owned(),
            within: Some((entry.raw_file_position(), entry.size())),
            bytes: entry.size(),
            packing: Packing::of(name).0,
            unpacked: None,
        };
        if packed || sparse {
            let copies = match &copies {
                Some(copies) => copies,
                None => copies.insert(Arc::new(tempfile::Builder::new().prefix("zktrail-").tempdir().map_err(&io)?)),
            };
            place.path = copies.path().join(number.to_string());
            place.within = None;
            place.bytes = copy(&mut entry, &place.path).map_err(&io)?;
            place.unpacked = Some(Arc::clone(copies));
        }
        found.file(&format!("{archive}:{folder}"), kind, place);
    }
    Ok(())
}

/// The tar's own bytes, and whether they were packed.
fn unpacked(path: &Path) -> io::Result<(Box<dyn Read>, bool)> {
    let mut file = File::open(path)?;
    let mut magic = [0; 2];
    let gzip = file.read_exact(&mut magic).is_ok() && magic == [0x1f, 0x8b];
    file.seek(SeekFrom::Start(0))?;
    let file = BufReader::new(file);
    Ok(if gzip { (Box::new(MultiGzDecoder::new(file)), true) } else { (Box::new(file), false) })
}

/// Copies an entry, with holes where it has zeros: servers allocate 64 MiB beforehand. Gives its length.
fn copy(from: &mut impl Read, to: &Path) -> io::Result<u64> {
    let mut file = File::create_new(to)?;
    let mut block = vec![0; BLOCK_BYTES];
    let mut length = 0;
    loop {
        let count = match from.read(&mut block) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let bytes = &block[..count];
        if bytes.iter().all(|byte| *byte == 0) {
            file.seek(SeekFrom::Current(count as i64))?;
        } else {
            file.write_all(bytes)?;
        }
        length += count as u64;
    }
    file.set_len(length)?;
    Ok(length)
}
