//! Files of bounded size; those that hold secrets may not be everybody's to read.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::CredentialsError;

/// A list of all the world's authorities is a fifth of this.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Reads a file that anybody may read.
pub(super) fn read_public(key: &'static str, path: &Path) -> Result<Vec<u8>, CredentialsError> {
    let failed = |source| CredentialsError::Read { key, path: path.to_owned(), source };
    read(&mut File::open(path).map_err(failed)?).map_err(failed)
}

/// Reads a file that holds a secret. The owner's group may read it too: that is how secrets are mounted into containers.
pub(super) fn read_secret(key: &'static str, path: &Path) -> Result<Vec<u8>, CredentialsError> {
    let failed = |source| CredentialsError::Read { key, path: path.to_owned(), source };
    let mut file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
    if mode & 0o007 != 0 {
        return Err(CredentialsError::Mode { key, path: path.to_owned(), mode });
    }
    read(&mut file).map_err(failed)
}

fn read(file: &mut File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 1 MiB"));
    }
    Ok(bytes)
}
