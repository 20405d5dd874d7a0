use std::path::PathBuf;

use super::verifier::PasswordError;

/// What is wrong with the users file, where, and what to do. Never holds a verifier.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    #[error("cannot read the users file {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error(
        "the users file {} is open to others than its owner and its readers' group (mode {mode:03o}): chmod 600 {}",
        path.display(), path.display()
    )]
    Mode { path: PathBuf, mode: u32 },
    #[error("{} line {line}: {reason}", path.display())]
    Syntax { path: PathBuf, line: usize, reason: String },
    #[error("{}: user {name:?}: {reason}", path.display())]
    User { path: PathBuf, name: String, reason: String },
    #[error("{} lists users, where nobody was listed before; start the agent anew", path.display())]
    MayNotBegin { path: PathBuf },
    #[error("cannot write the users file {}: {source}", path.display())]
    Write { path: PathBuf, source: std::io::Error },
    #[error("{} lists the user {name:?} already: zktrail user password {name}", path.display())]
    Listed { path: PathBuf, name: String },
    #[error("{} does not list the user {name:?}: zktrail user list", path.display())]
    NotListed { path: PathBuf, name: String },
    #[error(transparent)]
    Password(#[from] PasswordError),
}
