//! Who may enter: the users file, and what each listed user may see.

use std::sync::Arc;

use crate::query::Access;

/// What proves that someone knows a password, without being it (RFC 5802).
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    pub iterations: u32,
    pub salt: Vec<u8>,
    pub stored_key: [u8; 32],
    pub server_key: [u8; 32],
}

/// The listed users. Cheap to clone; the clones see a reload.
#[derive(Clone, Default)]
pub struct Users {
    listed: Arc<std::collections::BTreeMap<String, (Verifier, Access)>>,
}

impl Users {
    /// Nobody is listed: any name enters without a password.
    pub fn nobody_listed() -> Self {
        Self::default()
    }

    /// Whether a name without its password stays outside.
    pub fn credentials_required(&self) -> bool {
        !self.listed.is_empty()
    }

    /// The verifier of a listed user.
    pub fn verifier(&self, name: &str) -> Option<Verifier> {
        self.listed.get(name).map(|(verifier, _)| verifier.clone())
    }

    /// What a user who has proved to be `name` may do; without listed users, what anybody may.
    pub fn access(&self, name: &str) -> Option<Access> {
        if !self.credentials_required() {
            return Some(Access { user: Some(name.into()), ..Access::full() });
        }
        self.listed.get(name).map(|(_, access)| access.clone())
    }
}
