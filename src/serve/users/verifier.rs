use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, hmac, pbkdf2};
use subtle::ConstantTimeEq;

/// Rounds of the hash over a new password, four times those of PostgreSQL: a client computes them at every connection,
/// some in an interpreted language.
pub const ITERATIONS: u32 = 16_384;

/// PostgreSQL's, and the least that RFC 7677 allows.
const ITERATIONS_MIN: u32 = 4_096;
/// What a login may cost us and the client.
const ITERATIONS_MAX: u32 = 1_000_000;
const SALT_BYTES: usize = 16;
const SALT_BYTES_MAX: usize = 64;
const PASSWORD_CHARS_MIN: usize = 8;
/// A longer one is a file that went to the wrong place.
const PASSWORD_BYTES_MAX: usize = 1_024;

/// Why a password is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    #[error("the password has fewer than {PASSWORD_CHARS_MIN} characters")]
    Short,
    #[error("the password is longer than {PASSWORD_BYTES_MAX} bytes")]
    Long,
    #[error("the password has control characters, or others that RFC 4013 forbids: not every client could send it")]
    Characters,
    #[error("the system gives no random numbers")]
    Random,
}

/// What proves that someone knows a password, without being it (RFC 5802).
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    pub iterations: u32,
    pub salt: Vec<u8>,
    pub stored_key: [u8; 32],
    pub server_key: [u8; 32],
}

impl Verifier {
    /// Of a new password, with a fresh salt.
    pub fn of_new(password: &str) -> Result<Self, PasswordError> {
        if password.chars().count() < PASSWORD_CHARS_MIN {
            return Err(PasswordError::Short);
        }
        if password.len() > PASSWORD_BYTES_MAX {
            return Err(PasswordError::Long);
        }
        stringprep::saslprep(password).map_err(|_| PasswordError::Characters)?;
        let mut salt = vec![0; SALT_BYTES];
        SystemRandom::new().fill(&mut salt).map_err(|_| PasswordError::Random)?;
        Ok(Self::derive(password, salt, ITERATIONS))
    }

    pub(super) fn derive(password: &str, salt: Vec<u8>, iterations: u32) -> Self {
        let salted = salted(password, &salt, iterations);
        let client_key = sign(&salted, b"Client Key");
        Self { iterations, salt, stored_key: hash(&client_key), server_key: sign(&salted, b"Server Key") }
    }

    /// Whether this is the password. Takes as long as its iterations do, whatever the answer.
    pub fn fits(&self, password: &str) -> bool {
        // A password that nobody could have set is not worth its hash, and a long one must not cost more than others.
        if password.len() > PASSWORD_BYTES_MAX {
            return false;
        }
        let client_key = sign(&salted(password, &self.salt, self.iterations), b"Client Key");
        hash(&client_key).ct_eq(&self.stored_key).into()
    }
}

/// Normalised as PostgreSQL does it: what cannot be is taken as it is.
fn salted(password: &str, salt: &[u8], iterations: u32) -> [u8; 32] {
    let normal = stringprep::saslprep(password).unwrap_or(Cow::Borrowed(password));
    let mut out = [0; 32];
    let iterations = NonZeroU32::new(iterations).unwrap_or(NonZeroU32::MIN);
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, salt, normal.as_bytes(), &mut out);
    out
}

fn sign(key: &[u8], message: &[u8]) -> [u8; 32] {
    bytes32(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message).as_ref())
}

fn hash(message: &[u8]) -> [u8; 32] {
    bytes32(digest::digest(&digest::SHA256, message).as_ref())
}

/// SHA-256 has 32 bytes.
fn bytes32(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.iter_mut().zip(bytes).for_each(|(out, byte)| *out = *byte);
    out
}

/// PostgreSQL's form: `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`. For the users file alone.
impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { iterations, salt, stored_key, server_key } = self;
        let encoded = |bytes: &[u8]| STANDARD.encode(bytes);
        write!(f, "SCRAM-SHA-256${iterations}:{}${}:{}", encoded(salt), encoded(stored_key), encoded(server_key))
    }
}

/// Never shown: whoever has it can try passwords at leisure.
impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

impl FromStr for Verifier {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        const FORM: &str = "scram should be SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>, \
             as zktrail user add writes it";
        let parse = || {
            let (salted, keys) = text.strip_prefix("SCRAM-SHA-256$")?.split_once('$')?;
            let ((iterations, salt), (stored, server)) = (salted.split_once(':')?, keys.split_once(':')?);
            let key = |text: &str| STANDARD.decode(text).ok()?.try_into().ok();
            let salt = STANDARD.decode(salt).ok().filter(|salt| (1..=SALT_BYTES_MAX).contains(&salt.len()))?;
            Some(Self {
                iterations: iterations.parse().ok()?,
                salt,
                stored_key: key(stored)?,
                server_key: key(server)?,
            })
        };
        let verifier = parse().ok_or(FORM)?;
        if !(ITERATIONS_MIN..=ITERATIONS_MAX).contains(&verifier.iterations) {
            return Err("scram has fewer than 4096 iterations, or more than 1000000");
        }
        Ok(verifier)
    }
}
