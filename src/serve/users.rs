//! Who may enter: the users file, and what each listed user may see.
//!
//! ```text
//! users.toml ── file ──> Listed ──┐ reload
//!                                 └─> Users ── verifier ──> SCRAM (PostgreSQL)
//!                                           └─ prove ─────> HTTP Basic
//! ```
//! Invariants
//! - A password is nowhere: the file holds what proves that someone knows it (RFC 5802), the memory no more than that.
//! - A users file that cannot be read, or that says something unknown, lets nobody in; at a reload the old one stays.
//! - An unknown name costs as much time as a wrong password.

pub mod edit;
mod error;
mod file;
mod proof;
mod verifier;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

pub use self::error::UsersError;
use self::file::Listed;
pub use self::file::{Role, User, UserName};
use self::proof::Proofs;
pub use self::proof::{LoginError, TooManyFailures};
pub use self::verifier::{ITERATIONS, PasswordError, Verifier};
use crate::query::{Access, Values};

/// The listed users. Cheap to clone; the clones see a reload.
#[derive(Clone)]
pub struct Users {
    inner: Arc<Inner>,
}

struct Inner {
    source: Option<Source>,
    /// `None`: nobody is listed, and nobody needs to be.
    listed: RwLock<Option<Arc<Listed>>>,
    proofs: Proofs,
}

/// Where the users are listed.
#[derive(Clone, Debug)]
struct Source {
    path: PathBuf,
    /// Whether it may be missing: then nobody is listed.
    optional: bool,
}

impl Source {
    fn read(&self) -> Result<Option<Arc<Listed>>, UsersError> {
        match file::read(&self.path) {
            Err(UsersError::Read { source, .. }) if self.optional && source.kind() == std::io::ErrorKind::NotFound => {
                Ok(None)
            }
            read => read.map(|listed| Some(Arc::new(listed))),
        }
    }
}

impl Default for Users {
    fn default() -> Self {
        Self::nobody_listed()
    }
}

impl Users {
    /// Nobody is listed: any name enters without a password.
    pub fn nobody_listed() -> Self {
        Self::with(None, None)
    }

    /// The users of this file, which must be there.
    pub fn of_file(path: &Path) -> Result<Self, UsersError> {
        Self::of(Source { path: path.to_owned(), optional: false })
    }

    /// The users of this file, or nobody as long as there is none.
    pub fn of_file_if_any(path: &Path) -> Result<Self, UsersError> {
        Self::of(Source { path: path.to_owned(), optional: true })
    }

    fn of(source: Source) -> Result<Self, UsersError> {
        let listed = source.read()?;
        Ok(Self::with(Some(source), listed))
    }

    fn with(source: Option<Source>, listed: Option<Arc<Listed>>) -> Self {
        Self { inner: Arc::new(Inner { source, listed: RwLock::new(listed), proofs: Proofs::default() }) }
    }

    /// Reads the file again. On an error everything stays as it was; a file that is gone is one too, because it would
    /// open the doors. `may_begin`: whether users may be listed from now on where nobody was.
    pub fn reload(&self, may_begin: bool) -> Result<(), UsersError> {
        let Some(source) = &self.inner.source else { return Ok(()) };
        let required = self.credentials_required();
        let listed = Source { optional: source.optional && !required, ..source.clone() }.read()?;
        if listed.is_some() && !required && !may_begin {
            return Err(UsersError::MayNotBegin { path: source.path.clone() });
        }
        *self.inner.listed.write().unwrap_or_else(PoisonError::into_inner) = listed;
        Ok(())
    }

    fn listed(&self) -> Option<Arc<Listed>> {
        self.inner.listed.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a name without its password stays outside. An empty users file keeps everybody out.
    pub fn credentials_required(&self) -> bool {
        self.listed().is_some()
    }

    /// The verifier of a listed user.
    pub fn verifier(&self, name: &str) -> Option<Verifier> {
        self.listed()?.users.get(name).map(|user| user.verifier.clone())
    }

    /// A verifier that no password fits, always the same for a name: what an unknown name is asked, so that the answer
    /// does not tell that it is unknown.
    pub fn decoy(&self, name: &str) -> Verifier {
        self.inner.proofs.decoy(name)
    }

    /// What a user who has proved to be `name` may do; without listed users, what anybody may.
    pub fn access(&self, name: &str) -> Option<Access> {
        match self.listed() {
            None => Some(Access { user: Some(name.into()), ..Access::full() }),
            Some(listed) => listed.users.get(name).map(|user| user.access(name)),
        }
    }

    /// Judges a name and a password that came in clear text from `address`, and gives what the user may do. Hashes for
    /// tens of milliseconds beside the async threads, unless the same was proved a moment ago.
    pub async fn prove(&self, name: &str, password: &str, address: IpAddr) -> Result<Access, LoginError> {
        let known = self.verifier(name);
        let is_known = known.is_some();
        let verifier = known.unwrap_or_else(|| self.decoy(name));
        let proved = self.inner.proofs.judge(name, password, verifier, address).await?;
        // What counts is what the file says now.
        (is_known && proved).then(|| self.access(name)).flatten().ok_or(LoginError::Wrong)
    }

    /// Whether a password for this name may be tried from this address now. For doors that see no password;
    /// [`Users::prove`] asks by itself.
    pub fn may_try(&self, address: IpAddr, name: &str) -> Result<(), TooManyFailures> {
        self.inner.proofs.may_try(address, name, Instant::now())
    }

    /// Counts a failed login.
    pub fn failed(&self, address: IpAddr, name: &str) {
        self.inner.proofs.failed(address, name, Instant::now());
    }

    /// The listed users by name; empty where nobody needs to be listed.
    pub fn all(&self) -> BTreeMap<String, User> {
        self.listed().map(|listed| listed.users.clone()).unwrap_or_default()
    }
}

impl User {
    fn access(&self, name: &str) -> Access {
        let values = match self.role {
            Role::Read => Values::Withheld,
            Role::ReadValues => Values::Shown,
        };
        Access { user: Some(name.into()), values, limits: self.limits }
    }
}

#[cfg(test)]
mod tests;
