//! What has been proved, and who failed to.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::Semaphore;

use super::verifier::{ITERATIONS, Verifier};

const PROVED_MAX: NonZeroUsize = NonZeroUsize::new(1_024).expect("not zero");
/// How long a name and a password that were right need not be hashed again.
const PROVED_FOR: Duration = Duration::from_secs(300);
/// Hashes under way at once; whoever comes then waits.
const HASHES_MAX: usize = 2;

/// Longer names are nobody's.
const NAME_CHARS_MAX: usize = 63;
const ADDRESSES_MAX: NonZeroUsize = NonZeroUsize::new(4_096).expect("not zero");
/// Failures that one name may have on the account of one address before it is refused there.
const FAILURES_MAX: u32 = 10;
/// The same for an address, whatever the names: several clients may share it.
const ADDRESS_FAILURES_MAX: u32 = 100;
/// One failure is forgiven in this time.
const FORGIVEN_EVERY: Duration = Duration::from_secs(6);

/// An address, or a name from there, has failed to log in too often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many failed logins from this address: try again in {} s", retry_after.as_secs().max(1))]
pub struct TooManyFailures {
    pub retry_after: Duration,
}

/// Why a name and a password do not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    #[error("the name or the password is wrong")]
    Wrong,
    #[error(transparent)]
    TooMany(#[from] TooManyFailures),
}

pub(super) struct Proofs {
    /// Of this process alone, so that what is kept is of no use to anybody else.
    key: hmac::Key,
    proved: Mutex<LruCache<[u8; 32], Instant>>,
    /// Of an address, and of each name from there.
    failures: Mutex<LruCache<(IpAddr, Option<String>), Failures>>,
    hashes: Semaphore,
}

#[derive(Clone, Copy)]
struct Failures {
    count: u32,
    since: Instant,
}

impl Failures {
    /// Without those that time has forgiven.
    fn at(self, now: Instant) -> Self {
        let passed = now.saturating_duration_since(self.since);
        let forgiven = u32::try_from(passed.as_nanos() / FORGIVEN_EVERY.as_nanos()).unwrap_or(u32::MAX);
        match self.count.checked_sub(forgiven) {
            Some(count) if count > 0 => Self { count, since: self.since + FORGIVEN_EVERY * forgiven },
            _ => Self { count: 0, since: now },
        }
    }
}

impl Default for Proofs {
    fn default() -> Self {
        let mut secret = [0; 32];
        // Without random numbers nothing else here works either; then what is kept is merely not keyed.
        let _ = SystemRandom::new().fill(&mut secret);
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, &secret),
            proved: Mutex::new(LruCache::new(PROVED_MAX)),
            failures: Mutex::new(LruCache::new(ADDRESSES_MAX)),
            hashes: Semaphore::new(HASHES_MAX),
        }
    }
}

impl Proofs {
    /// A changed password has another verifier, and so nothing that was proved with the old one.
    fn fingerprint(&self, name: &str, password: &str, verifier: &Verifier) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [name.as_bytes(), password.as_bytes(), verifier.stored_key.as_slice()] {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part);
        }
        let tag = context.sign();
        let mut out = [0; 32];
        out.iter_mut().zip(tag.as_ref()).for_each(|(out, byte)| *out = *byte);
        out
    }

    fn is_known(&self, name: &str, password: &str, verifier: &Verifier, now: Instant) -> bool {
        let fingerprint = self.fingerprint(name, password, verifier);
        let proved = lock(&self.proved).get(&fingerprint).copied();
        proved.is_some_and(|proved| now.saturating_duration_since(proved) < PROVED_FOR)
    }

    /// Whether the password fits. What does not is put on the address's account.
    pub(super) async fn judge(
        &self,
        name: &str,
        password: &str,
        verifier: Verifier,
        address: IpAddr,
    ) -> Result<bool, TooManyFailures> {
        // What is proved is let in from anywhere: an attacker at the same address must not lock others out.
        if self.is_known(name, password, &verifier, Instant::now()) {
            return Ok(true);
        }
        self.may_try(address, name, Instant::now())?;
        let Ok(_permit) = self.hashes.acquire().await else { return Ok(false) };
        // Others from there may have failed while this one waited for its turn.
        self.may_try(address, name, Instant::now())?;
        let fingerprint = self.fingerprint(name, password, &verifier);
        let password = password.to_owned();
        let fits = tokio::task::spawn_blocking(move || verifier.fits(&password)).await.unwrap_or(false);
        match fits {
            true => drop(lock(&self.proved).put(fingerprint, Instant::now())),
            false => self.failed(address, name, Instant::now()),
        }
        Ok(fits)
    }

    pub(super) fn decoy(&self, name: &str) -> Verifier {
        let bytes = |what: &[u8]| {
            let mut context = hmac::Context::with_key(&self.key);
            context.update(what);
            context.update(name.as_bytes());
            let mut out = [0; 32];
            out.iter_mut().zip(context.sign().as_ref()).for_each(|(out, byte)| *out = *byte);
            out
        };
        let salt = bytes(b"salt").iter().copied().take(16).collect();
        Verifier { iterations: ITERATIONS, salt, stored_key: bytes(b"stored"), server_key: bytes(b"server") }
    }

    pub(super) fn may_try(&self, address: IpAddr, name: &str, now: Instant) -> Result<(), TooManyFailures> {
        let mut all = lock(&self.failures);
        for (key, max) in accounts(address, name) {
            let failures = all.get(&key).map(|failures| failures.at(now));
            if let Some(failures) = failures.filter(|failures| failures.count >= max) {
                let retry_after = (failures.since + FORGIVEN_EVERY).saturating_duration_since(now);
                return Err(TooManyFailures { retry_after: retry_after.max(Duration::from_secs(1)) });
            }
        }
        Ok(())
    }

    pub(super) fn failed(&self, address: IpAddr, name: &str, now: Instant) {
        let mut all = lock(&self.failures);
        for (key, max) in accounts(address, name) {
            let before = all.get(&key).map_or(Failures { count: 0, since: now }, |failures| failures.at(now));
            all.put(key, Failures { count: before.count.saturating_add(1).min(max), ..before });
        }
    }
}

/// On whose account a failure is put, and how many each may have. A client that goes on with a wrong password shuts
/// itself out, and not its neighbours.
fn accounts(address: IpAddr, name: &str) -> [((IpAddr, Option<String>), u32); 2] {
    let (network, name) = (network(address), name.chars().take(NAME_CHARS_MAX).collect());
    [((network, Some(name)), FAILURES_MAX), ((network, None), ADDRESS_FAILURES_MAX)]
}

/// Whoever has one address of IPv6 has as many as it likes of its /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            IpAddr::V6(Ipv6Addr::from(u128::from(address) & (u128::MAX << 64)))
        }
        other => other,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_fails_often_waits_and_is_forgiven() {
        let proofs = Proofs::default();
        let [bad, good] = ["10.0.0.1", "10.0.0.2"].map(|text| text.parse::<IpAddr>().unwrap());
        let now = Instant::now();
        for _ in 0..FAILURES_MAX {
            assert!(proofs.may_try(bad, "bob", now).is_ok());
            proofs.failed(bad, "bob", now);
        }
        let wait = proofs.may_try(bad, "bob", now).unwrap_err().retry_after;
        assert!(proofs.may_try(good, "bob", now).is_ok() && proofs.may_try(bad, "eve", now).is_ok());
        let later = now + wait;
        assert!(proofs.may_try(bad, "bob", later).is_ok());
        proofs.failed(bad, "bob", later);
        assert!(proofs.may_try(bad, "bob", later).is_err());
        assert!(proofs.may_try(bad, "bob", later + FORGIVEN_EVERY * FAILURES_MAX).is_ok());
        (0..ADDRESS_FAILURES_MAX).for_each(|n| proofs.failed(bad, &format!("user{n}"), now));
        assert!(proofs.may_try(bad, "yet another", now).is_err());
        let neighbours = ["2001:db8::1", "2001:db8::ffff"].map(|text| network(text.parse().unwrap()));
        assert_eq!(neighbours[0], neighbours[1]);
    }

    #[tokio::test]
    async fn what_was_proved_holds_for_a_while_and_for_that_password_only() {
        let proofs = Proofs::default();
        let verifier = Verifier::derive("open sesame", vec![1; 16], 4_096);
        let from = "10.0.0.1".parse().unwrap();
        let is_known = |name: &str, verifier: &Verifier, after: Duration| {
            proofs.is_known(name, "open sesame", verifier, Instant::now() + after)
        };
        assert_eq!(proofs.judge("bob", "close sesame", verifier.clone(), from).await, Ok(false));
        assert!(!is_known("bob", &verifier, Duration::ZERO));
        assert_eq!(proofs.judge("bob", "open sesame", verifier.clone(), from).await, Ok(true));
        assert!(is_known("bob", &verifier, Duration::ZERO));
        assert!(!is_known("eve", &verifier, Duration::ZERO));
        assert!(!is_known("bob", &Verifier::derive("open sesame", vec![2; 16], 4_096), Duration::ZERO));
        assert!(!is_known("bob", &verifier, PROVED_FOR));
        // Whoever is known enters, also from where too many fail.
        (0..FAILURES_MAX).for_each(|_| proofs.failed(from, "bob", Instant::now()));
        assert_eq!(proofs.judge("bob", "open sesame", verifier.clone(), from).await, Ok(true));
        assert!(proofs.judge("bob", "close sesame", verifier.clone(), from).await.is_err());
    }
}
