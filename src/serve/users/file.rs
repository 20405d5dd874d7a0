use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::str::FromStr;

use serde::Deserialize;

use super::error::UsersError;
use super::verifier::Verifier;
use crate::config::{ByteSize, Count, HumanDuration};
use crate::query::AccessLimits;

/// A thousand users take 300 KiB.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// The users of one file.
#[derive(Debug, Default)]
pub(super) struct Listed {
    pub users: BTreeMap<String, User>,
}

/// A listed user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub role: Role,
    pub verifier: Verifier,
    pub limits: AccessLimits,
}

/// What a user may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Everything but what znodes hold and who may read them.
    Read,
    ReadValues,
}

impl Role {
    pub const ALL: [Self; 2] = [Self::Read, Self::ReadValues];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::ReadValues => "read-values",
        }
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let role = Self::ALL.into_iter().find(|role| role.as_str() == text);
        role.ok_or_else(|| format!("{text:?} is no role: read (metadata alone) or read-values"))
    }
}

/// The name of a user: letters, digits, `_`, `-`, `.` and `@`, at most 63, so that it fits PostgreSQL, HTTP Basic and a
/// line of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserName(String);

impl UserName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UserName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_fit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '@');
        match !text.is_empty() && text.len() <= 63 && text.chars().all(is_fit) && !text.starts_with('-') {
            true => Ok(Self(text.to_owned())),
            false => Err("a user's name has 1 to 63 of these: letters, digits, _ - . @".to_owned()),
        }
    }
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    users: BTreeMap<String, toml::Table>,
}

/// Permissions that a list of users may not give. The owner's group may read it: that is how secrets are mounted into
/// containers and services.
const MODE_REFUSED: u32 = 0o037;

/// Reads the whole file. A word that is not known is an error: it may have been meant to bound something.
pub(super) fn read(path: &Path) -> Result<Listed, UsersError> {
    let failed = |source| UsersError::Read { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
    if mode & MODE_REFUSED != 0 {
        return Err(UsersError::Mode { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    (&mut file).take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(failed(std::io::Error::other("it is larger than 4 MiB")));
    }
    parse(path, &text)
}

pub(super) fn parse(path: &Path, text: &str) -> Result<Listed, UsersError> {
    let written: Written = toml::from_str(text).map_err(|error| {
        let before = text.get(..error.span().map_or(0, |span| span.start)).unwrap_or_default();
        // Its message alone: the whole would quote the line, and a verifier may be on it.
        let (line, reason) = (before.matches('\n').count() + 1, error.message().to_owned());
        UsersError::Syntax { path: path.to_owned(), line, reason }
    })?;
    let mut users = BTreeMap::new();
    for (name, table) in written.users {
        let wrong = |reason: String| UsersError::User { path: path.to_owned(), name: name.clone(), reason };
        name.parse::<UserName>().map_err(wrong)?;
        let user = user(&table).map_err(wrong)?;
        users.insert(name, user);
    }
    Ok(Listed { users })
}

fn user(table: &toml::Table) -> Result<User, String> {
    const KEYS: [&str; 6] = ["role", "scram", "memory", "time", "rows", "concurrent"];
    if let Some(unknown) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(format!("{unknown:?} is no key; there are {}", KEYS.join(", ")));
    }
    let role = value::<Role>(table, "role")?.ok_or("it has no role: read or read-values")?;
    let verifier = value::<Verifier>(table, "scram")?.ok_or("it has no scram: zktrail user add writes it")?;
    let whole = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    let limits = AccessLimits {
        memory_bytes_max: value::<ByteSize>(table, "memory")?.map(|size| whole(size.0)),
        time_max: value::<HumanDuration>(table, "time")?.map(|time| time.0),
        rows_max: value::<Count>(table, "rows")?.map(|count| count.0),
        concurrent_max: value::<Count>(table, "concurrent")?.map(|count| whole(count.0)),
    };
    if limits.time_max.is_some_and(|time| time.is_zero()) || limits.memory_bytes_max == Some(0) {
        return Err("a limit of 0 lets nothing be asked: remove the user, or leave the limit out".to_owned());
    }
    Ok(User { role, verifier, limits })
}

/// A value that is written as a text or a number.
fn value<T: FromStr<Err: ToString>>(table: &toml::Table, key: &str) -> Result<Option<T>, String> {
    let text = match table.get(key) {
        None => return Ok(None),
        Some(toml::Value::String(text)) => text.clone(),
        Some(toml::Value::Integer(number)) => number.to_string(),
        Some(_) => return Err(format!("{key} should be a text or a number")),
    };
    text.parse().map(Some).map_err(|error: T::Err| format!("{key}: {}", error.to_string()))
}
