use bytes::Bytes;
use globset::{GlobSet, GlobSetBuilder};

use super::glob::{GlobError, compile};
use super::hash::{HashKey, plain};
use super::mask::mask_named;
use super::shipped;
use crate::zk;

/// How much of a value is recorded where no rule says otherwise.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;

/// What is recorded of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// The value, masked unless `mask` is off, cut after `bytes_max`.
    Full { bytes_max: usize, mask: bool },
    /// Its length and keyed hash.
    Hash,
    /// Nothing: data, length and hash are null.
    None,
}

impl Default for Values {
    fn default() -> Self {
        Self::Full { bytes_max: VALUE_BYTES_MAX, mask: true }
    }
}

/// One rule of the operator: the paths and what is recorded of their values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyRule {
    /// See [`super::PathGlob`].
    pub path: String,
    pub values: Values,
}

/// Why a policy was refused.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PolicyError {
    #[error(transparent)]
    Glob(#[from] GlobError),
    #[error("the value policy's path globs are too large together: {0}")]
    TooLarge(String),
}

/// What was kept from the record, if anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withheld {
    No,
    /// Cut at the rule's bound; length and hash are of the whole value.
    Cut,
    /// Masked, perhaps cut too; the length is of the original value, the hash of it is keyed.
    Masked,
    /// Only the length and the keyed hash are there.
    Hash,
    /// Nothing is there.
    None,
}

/// What the history may hold of a value: the columns `data`, `data_length` and `data_hash`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    pub data: Option<Bytes>,
    pub data_length: Option<i32>,
    pub data_hash: Option<i64>,
    pub withheld: Withheld,
}

/// Decides by path what is recorded of a value: the operator's rules in their order, then the shipped list of known
/// secrets, then [`Values::default`]. The first match wins.
#[derive(Clone, Debug)]
pub struct ValuePolicy {
    globs: GlobSet,
    values: Vec<Values>,
    key: HashKey,
}

impl ValuePolicy {
    /// Compiles the rules and the shipped list.
    pub fn new(rules: &[PolicyRule], key: HashKey) -> Result<Self, PolicyError> {
        let own = rules.iter().map(|rule| (rule.path.as_str(), rule.values));
        let mut globs = GlobSetBuilder::new();
        let mut values = Vec::new();
        for (path, value) in own.chain(shipped::RULES.iter().copied()) {
            globs.add(compile(path)?);
            values.push(value);
        }
        let globs = globs.build().map_err(|error| PolicyError::TooLarge(error.to_string()))?;
        Ok(Self { globs, values, key })
    }

    /// What the rules say of a path.
    pub fn values(&self, path: &str) -> Values {
        let first = self.globs.matches(path).into_iter().min();
        first.and_then(|rule| self.values.get(rule).copied()).unwrap_or_default()
    }

    /// Applies the policy to a whole value, as the server gave it. Linear in its length.
    ///
    /// A value under a znode whose own name is that of a secret (`/config/app/db.password`) is masked as a whole.
    pub fn apply(&self, path: &str, data: Bytes) -> Recorded {
        let data_length = Some(i32::try_from(data.len()).unwrap_or(i32::MAX));
        match self.values(path) {
            Values::None => Recorded { data: None, data_length: None, data_hash: None, withheld: Withheld::None },
            Values::Hash => {
                let data_hash = Some(self.key.hash(&data));
                Recorded { data: None, data_length, data_hash, withheld: Withheld::Hash }
            }
            Values::Full { bytes_max, mask } => {
                let masked = if mask { mask_named(zk::name(path), &data) } else { None };
                let (shown, data_hash, withheld) = match masked {
                    Some(masked) => (Bytes::from(masked), self.key.hash(&data), Withheld::Masked),
                    None => {
                        let withheld = if data.len() > bytes_max { Withheld::Cut } else { Withheld::No };
                        let hash = plain(&data);
                        (data, hash, withheld)
                    }
                };
                let shown = cut(shown, bytes_max);
                Recorded { data: Some(shown), data_length, data_hash: Some(data_hash), withheld }
            }
        }
    }
}

/// Cuts at the bound, or up to 3 bytes before it so that no UTF-8 character is torn. Copies what is kept, so that a
/// short piece does not hold a large buffer.
fn cut(data: Bytes, bytes_max: usize) -> Bytes {
    if data.len() <= bytes_max {
        return data;
    }
    let is_start = |at: &usize| data.get(*at).is_none_or(|byte| byte & 0xc0 != 0x80);
    let end = (bytes_max.saturating_sub(3)..=bytes_max).rev().find(is_start).unwrap_or(bytes_max);
    Bytes::copy_from_slice(data.get(..end).unwrap_or(&data))
}

#[cfg(test)]
mod tests;
