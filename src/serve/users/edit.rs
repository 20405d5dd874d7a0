//! Changes the users file in place: comments and order stay, and a reader sees the old file or the new one.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::Path;

use toml_edit::{DocumentMut, Item, Table, value};

use super::error::UsersError;
use super::file::{self, Role, User, UserName};
use super::verifier::Verifier;
use std::collections::BTreeMap;

const HEAD: &str = "# Who may ask this history. zktrail user add, password and remove write it; the agent reads it at its start and\n\
     # on SIGHUP. role: read (metadata alone) or read-values. Bounds of a user's queries, each optional:\n\
     # memory = \"256MiB\", time = \"30s\", rows = 100_000, concurrent = 2\n";

/// The users of the file; nobody where there is none.
pub fn list(path: &Path) -> Result<BTreeMap<String, User>, UsersError> {
    match file::read(path) {
        Ok(listed) => Ok(listed.users),
        Err(UsersError::Read { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(error),
    }
}

/// Whether the file lists this user; it must be sound.
pub fn is_listed(path: &Path, name: &UserName) -> Result<bool, UsersError> {
    Ok(list(path)?.contains_key(name.as_str()))
}

/// Lists a user, in a file that is made if there is none. `limits` are keys and values as the file has them.
pub fn add(
    path: &Path,
    name: &UserName,
    role: Role,
    verifier: &Verifier,
    limits: &[(&str, String)],
) -> Result<(), UsersError> {
    let mut document = open(path)?;
    // Comments alone are what comes behind the last table: they stay before the first.
    let head = document.trailing().as_str().unwrap_or_default().to_owned();
    let is_first = users(&mut document).is_empty();
    if is_first {
        document.set_trailing("");
    }
    let users = users(&mut document);
    if users.contains_key(name.as_str()) {
        return Err(UsersError::Listed { path: path.to_owned(), name: name.as_str().to_owned() });
    }
    let mut user = Table::new();
    user.insert("role", value(role.as_str()));
    user.insert("scram", value(verifier.to_string()));
    for (key, text) in limits {
        user.insert(key, value(text));
    }
    if is_first {
        user.decor_mut().set_prefix(format!("{head}\n"));
    }
    users.insert(name.as_str(), Item::Table(user));
    write(path, &document)
}

/// Gives a listed user another password.
pub fn set_verifier(path: &Path, name: &UserName, verifier: &Verifier) -> Result<(), UsersError> {
    let mut document = open(path)?;
    match users(&mut document).get_mut(name.as_str()).and_then(Item::as_table_like_mut) {
        Some(user) => user.insert("scram", value(verifier.to_string())),
        None => return Err(UsersError::NotListed { path: path.to_owned(), name: name.as_str().to_owned() }),
    };
    write(path, &document)
}

/// Takes a user off the list.
pub fn remove(path: &Path, name: &UserName) -> Result<(), UsersError> {
    let mut document = open(path)?;
    if users(&mut document).remove(name.as_str()).is_none() {
        return Err(UsersError::NotListed { path: path.to_owned(), name: name.as_str().to_owned() });
    }
    write(path, &document)
}

/// The file as people wrote it; it is judged as a reader would, before anything is changed.
fn open(path: &Path) -> Result<DocumentMut, UsersError> {
    list(path)?;
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => HEAD.to_owned(),
        Err(source) => return Err(UsersError::Read { path: path.to_owned(), source }),
    };
    text.parse().map_err(|error: toml_edit::TomlError| UsersError::Syntax {
        path: path.to_owned(),
        line: 1,
        reason: error.message().to_owned(),
    })
}

/// The table `[users]`, without a header of its own.
fn users(document: &mut DocumentMut) -> &mut dyn toml_edit::TableLike {
    let implicit = || {
        let mut table = Table::new();
        table.set_implicit(true);
        Item::Table(table)
    };
    let root = document.as_table_mut();
    if !root.get("users").is_some_and(Item::is_table_like) {
        root.insert("users", implicit());
    }
    match root.get_mut("users").and_then(Item::as_table_like_mut) {
        Some(users) => users,
        // It was made so just above.
        None => unreachable!("users is a table"),
    }
}

fn write(path: &Path, document: &DocumentMut) -> Result<(), UsersError> {
    let failed = |source| UsersError::Write { path: path.to_owned(), source };
    // What this wrote must be what a reader understands.
    file::parse(path, &document.to_string())?;
    // A link stays one: what it leads to is replaced.
    let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let name = target.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let temporary = target.with_file_name(format!(".{name}.{}.new", std::process::id()));
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        own_as_before(&file, &target)?;
        file.write_all(document.to_string().as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&temporary, &target)?;
        match target.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            Some(parent) => std::fs::File::open(parent)?.sync_all(),
            None => Ok(()),
        }
    })();
    written.map_err(|error| {
        let _ = std::fs::remove_file(&temporary);
        failed(error)
    })
}

/// Gives the file to whoever owns the one that it replaces, or the folder: an agent that runs as another user than
/// whoever edits must still be able to read it.
fn own_as_before(file: &std::fs::File, target: &Path) -> std::io::Result<()> {
    let folder = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let owner = std::fs::metadata(target).or_else(|_| std::fs::metadata(folder))?;
    let own = file.metadata()?;
    // Only root can; for anybody else the file is theirs.
    if own.uid() == 0 && (owner.uid(), owner.gid()) != (own.uid(), own.gid()) {
        fchown(file, Some(owner.uid()), Some(owner.gid()))?;
    }
    Ok(())
}
