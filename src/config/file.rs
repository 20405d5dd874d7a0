use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::{AgentFlags, ConfigError};

/// No config or auth file is larger.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Reads and parses the file. Errors name the key and the line; they never quote a value, which may be a secret that
/// was put in the wrong place.
pub(super) fn read(path: &Path) -> Result<AgentFlags, ConfigError> {
    let text = read_text(path).map_err(|source| ConfigError::ReadFile { path: path.to_owned(), source })?;
    toml::from_str(&text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        let before = text.get(..start).unwrap_or("");
        let line = before.matches('\n').count();
        let key = text.lines().nth(line).unwrap_or("").split(['=', '#']).next().unwrap_or("").trim();
        let reason = error.message().to_owned();
        ConfigError::File { path: path.to_owned(), line: line + 1, key: key.to_owned(), reason }
    })
}

/// Reads a whole text file of bounded size.
pub(super) fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 1 MiB"));
    }
    Ok(text)
}
