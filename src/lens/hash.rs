use std::fmt;

/// A folder's own secret of 32 bytes, which keys the hashes of values that are not recorded in full.
///
/// Without it, a hash of a short secret could be reversed by trying. Equal values of one folder have equal hashes;
/// hashes of two folders cannot be compared. Never shown.
#[derive(Clone)]
pub struct HashKey([u8; 32]);

impl HashKey {
    pub const LEN: usize = 32;

    /// Takes the bytes that are kept with the folder.
    pub fn new(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The first 8 bytes, big endian, of the keyed BLAKE3 hash.
    pub fn hash(&self, data: &[u8]) -> i64 {
        first_eight(&blake3::keyed_hash(&self.0, data))
    }
}

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey(***)")
    }
}

/// The first 8 bytes, big endian, of the plain BLAKE3 hash: in hex it is the start of what `b3sum` prints.
pub(super) fn plain(data: &[u8]) -> i64 {
    first_eight(&blake3::hash(data))
}

fn first_eight(hash: &blake3::Hash) -> i64 {
    let [a, b, c, d, e, f, g, h, ..] = *hash.as_bytes();
    i64::from_be_bytes([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_hash_is_the_published_one() {
        // The test vector of BLAKE3 for no input.
        assert_eq!(format!("{:016x}", plain(b"")), "af1349b9f5f9a1a6");
    }

    #[test]
    fn keyed_hashes_differ_by_key() {
        let (one, two) = (HashKey::new([1; 32]), HashKey::new([2; 32]));
        assert_eq!(one.hash(b"x"), one.hash(b"x"));
        assert_ne!(one.hash(b"x"), two.hash(b"x"));
        assert_ne!(one.hash(b"x"), plain(b"x"));
        assert_eq!(format!("{one:?}"), "HashKey(***)");
    }
}
