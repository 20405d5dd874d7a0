//! Application knowledge: which values may be recorded, and what in them must not.
//!
//! Pure: never awaits, never touches Arrow, reads no clock and no file.
//!
//! Every value passes a [`ValuePolicy`] before it reaches the WAL. The policy decides by path whether the value is
//! recorded in full, as a hash only, or not at all; what is recorded is masked first (see [`mask`]).
//!
//! What masking cannot see: values that are compressed, encrypted or encoded as UTF-16 or base64 are opaque and pass
//! as they are, Java-serialised ones too except where a credential stands in them as plain text; and a secret in a
//! *path* (applications that keep URLs as names) is not masked at all. Give such paths the policy `hash` or `none`.

mod glob;
mod hash;
mod mask;
mod policy;
mod shipped;

pub use glob::{GlobError, PathGlob};
pub use hash::HashKey;
pub use mask::{mask, mask_named};
pub use policy::{PolicyError, PolicyRule, Recorded, VALUE_BYTES_MAX, ValuePolicy, Values, Withheld};
