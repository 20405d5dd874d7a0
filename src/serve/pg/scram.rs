//! SCRAM-SHA-256 as the server speaks it (RFC 5802, 7677), from stored verifiers. Pure but for the nonce it is given.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::{digest, hmac};

use crate::serve::users::Verifier;

pub(super) const PLAIN: &str = "SCRAM-SHA-256";
pub(super) const PLUS: &str = "SCRAM-SHA-256-PLUS";

/// Why an exchange ended without a proof. None of them tells whether there is such a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ScramError {
    #[error("malformed SCRAM message")]
    Malformed,
    #[error("SCRAM channel binding check failed")]
    Binding,
    #[error("the proof is wrong")]
    Proof,
}

/// An exchange that waits for the client's proof.
pub(super) struct Exchange {
    verifier: Verifier,
    nonce: String,
    /// What the client's `c=` has to be.
    binding: Vec<u8>,
    first_bare: String,
    server_first: String,
}

impl Exchange {
    /// Takes the client's first message; `plus` is whether it chose the mechanism with channel binding, `end_point`
    /// the certificate's hash where there is a channel to bind to.
    pub(super) fn begin(
        first: &[u8],
        plus: bool,
        end_point: Option<&[u8]>,
        verifier: Verifier,
        server_nonce: &str,
    ) -> Result<Self, ScramError> {
        let first = std::str::from_utf8(first).map_err(|_| ScramError::Malformed)?;
        let mut parts = first.splitn(3, ',');
        let (flag, authzid, bare) = (parts.next(), parts.next(), parts.next());
        let (Some(flag), Some(authzid), Some(bare)) = (flag, authzid, bare) else { return Err(ScramError::Malformed) };
        let mut binding = format!("{flag},{authzid},").into_bytes();
        match (flag, plus, end_point) {
            ("p=tls-server-end-point", true, Some(end_point)) => binding.extend_from_slice(end_point),
            ("n", false, _) => {}
            // It could bind a channel and thinks that we cannot: somebody in between took the offer away.
            ("y", false, None) => {}
            _ => return Err(ScramError::Binding),
        }
        if !authzid.is_empty() {
            return Err(ScramError::Malformed);
        }
        // `n=` the user (the startup message has named it), `r=` the nonce.
        let mut attributes = bare.split(',');
        let user = attributes.next().is_some_and(|user| user.starts_with("n="));
        let nonce = attributes.next().and_then(|nonce| nonce.strip_prefix("r=")).filter(|nonce| !nonce.is_empty());
        let (true, Some(nonce)) = (user, nonce) else { return Err(ScramError::Malformed) };
        let nonce = format!("{nonce}{server_nonce}");
        let salt = BASE64_STANDARD.encode(&verifier.salt);
        let server_first = format!("r={nonce},s={salt},i={}", verifier.iterations);
        Ok(Self { verifier, nonce, binding, first_bare: bare.to_owned(), server_first })
    }

    pub(super) fn server_first(&self) -> &str {
        &self.server_first
    }

    /// Takes the client's proof; gives what proves to it that the server knows the user too.
    pub(super) fn finish(&self, last: &[u8]) -> Result<String, ScramError> {
        let last = std::str::from_utf8(last).map_err(|_| ScramError::Malformed)?;
        let (without_proof, proof) = last.rsplit_once(",p=").ok_or(ScramError::Malformed)?;
        let proof = BASE64_STANDARD.decode(proof).map_err(|_| ScramError::Malformed)?;
        let mut attributes = without_proof.split(',');
        let binding = attributes.next().and_then(|binding| binding.strip_prefix("c=")).ok_or(ScramError::Malformed)?;
        let nonce = attributes.next().and_then(|nonce| nonce.strip_prefix("r=")).ok_or(ScramError::Malformed)?;
        if BASE64_STANDARD.decode(binding).ok().as_deref() != Some(&self.binding) {
            return Err(ScramError::Binding);
        }
        if nonce != self.nonce {
            return Err(ScramError::Malformed);
        }
        let message = format!("{},{},{without_proof}", self.first_bare, self.server_first);
        let signature = sign(&self.verifier.stored_key, message.as_bytes());
        if proof.len() != signature.as_ref().len() {
            return Err(ScramError::Malformed);
        }
        let key: Vec<u8> = proof.iter().zip(signature.as_ref()).map(|(proof, signature)| proof ^ signature).collect();
        let stored = digest::digest(&digest::SHA256, &key);
        if !equal(stored.as_ref(), &self.verifier.stored_key) {
            return Err(ScramError::Proof);
        }
        let server = sign(&self.verifier.server_key, message.as_bytes());
        Ok(format!("v={}", BASE64_STANDARD.encode(server)))
    }
}

/// Whether two secrets are equal, in a time that does not tell where they differ.
pub(super) fn equal(one: &[u8], other: &[u8]) -> bool {
    let differing = one.iter().zip(other).fold(0, |differing, (one, other)| differing | (one ^ other));
    one.len() == other.len() && std::hint::black_box(differing) == 0
}

fn sign(key: &[u8], message: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message)
}

/// What a channel is bound to (RFC 5929, `tls-server-end-point`): the certificate's hash by its own signature's hash
/// function, SHA-256 where that is weaker. `None` where the signature has none.
pub(super) fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    // Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm SEQUENCE { OID, … }, signature }
    let (_, certificate_body, _) = element(certificate)?;
    let (_, _, after) = element(certificate_body)?;
    let (_, algorithm, _) = element(after)?;
    let (tag, oid, _) = element(algorithm)?;
    if tag != 6 {
        return None;
    }
    // 1.2.840.113549.1.1 (RSA) and 1.2.840.10045.4.3 (ECDSA).
    const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
    const ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03];
    let by = match (oid.strip_prefix(RSA), oid.strip_prefix(ECDSA)) {
        (Some([4 | 5 | 11]), _) | (_, Some([2])) => &digest::SHA256,
        (Some([12]), _) | (_, Some([3])) => &digest::SHA384,
        (Some([13]), _) | (_, Some([4])) => &digest::SHA512,
        _ => return None,
    };
    Some(digest::digest(by, certificate).as_ref().to_vec())
}

/// The tag and the body of a DER element, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        short if *short < 0x80 => (usize::from(*short), rest),
        long => {
            let (bytes, rest) =
                rest.split_at_checked(usize::from(long & 0x7f)).filter(|(bytes, _)| bytes.len() <= 4)?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
    };
    let (body, rest) = rest.split_at_checked(length)?;
    Some((*tag, body, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677: user "user", password "pencil".
    fn verifier() -> Verifier {
        let salt = BASE64_STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let mut salted = [0; 32];
        let rounds = std::num::NonZeroU32::new(4096).unwrap();
        ring::pbkdf2::derive(ring::pbkdf2::PBKDF2_HMAC_SHA256, rounds, &salt, b"pencil", &mut salted);
        let client_key = sign(&salted, b"Client Key");
        let (mut stored_key, mut server_key) = ([0; 32], [0; 32]);
        stored_key.copy_from_slice(digest::digest(&digest::SHA256, client_key.as_ref()).as_ref());
        server_key.copy_from_slice(sign(&salted, b"Server Key").as_ref());
        Verifier { iterations: 4096, salt, stored_key, server_key }
    }

    const FIRST: &[u8] = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";

    #[test]
    fn the_example_of_rfc_7677() {
        let exchange = Exchange::begin(FIRST, false, None, verifier(), NONCE).unwrap();
        assert_eq!(
            exchange.server_first(),
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
        );
        let last = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        assert_eq!(exchange.finish(last).as_deref(), Ok("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
        let wrong = last.map(|byte| if byte == b'Z' { b'Y' } else { byte });
        assert_eq!(exchange.finish(&wrong), Err(ScramError::Proof));
    }

    #[test]
    fn what_is_not_an_exchange_is_refused() {
        let begin = |first: &[u8], plus, end_point: Option<&[u8]>| {
            Exchange::begin(first, plus, end_point, verifier(), NONCE).map(|_| ()).unwrap_err()
        };
        assert_eq!(begin(b"y,,n=u,r=x", false, Some(b"hash")), ScramError::Binding, "a downgrade");
        assert_eq!(begin(b"p=tls-unique,,n=u,r=x", true, Some(b"hash")), ScramError::Binding);
        assert_eq!(begin(b"n,,n=u,r=x", true, Some(b"hash")), ScramError::Binding);
        assert_eq!(begin(b"n,a=other,n=u,r=x", false, None), ScramError::Malformed);
        assert_eq!(begin(b"n,,n=u,r=", false, None), ScramError::Malformed);
        assert_eq!(begin(b"\xff", false, None), ScramError::Malformed);
        let exchange = Exchange::begin(FIRST, false, None, verifier(), NONCE).unwrap();
        for last in ["", "c=biws,r=x,p=AA==", "c=eSws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=AA=="] {
            assert!(exchange.finish(last.as_bytes()).is_err(), "{last}");
        }
    }
}
