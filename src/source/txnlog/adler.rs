//! The checksum of logs and snapshots (RFC 1950), which Java has in its library.

const MODULUS: u32 = 65_521;
/// So many bytes can be added before a sum of 32 bits must be reduced.
const BYTES_MAX: usize = 5_536;
const LANES: usize = 16;

/// A running Adler-32.
#[derive(Clone, Copy, Debug)]
pub struct Adler32 {
    sum: u32,
    sums: u32,
}

impl Default for Adler32 {
    fn default() -> Self {
        Self { sum: 1, sums: 0 }
    }
}

impl Adler32 {
    pub fn of(bytes: &[u8]) -> u32 {
        let mut adler = Self::default();
        adler.update(bytes);
        adler.value()
    }

    pub fn update(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(BYTES_MAX) {
            let (lanes, rest) = part.as_chunks::<LANES>();
            for lane in lanes {
                // As if byte by byte, in a form that becomes vector instructions.
                let mut plain = 0_u32;
                let mut weighted = 0_u32;
                for (at, byte) in lane.iter().enumerate() {
                    plain += u32::from(*byte);
                    weighted += (LANES - at) as u32 * u32::from(*byte);
                }
                self.sums += LANES as u32 * self.sum + weighted;
                self.sum += plain;
            }
            for byte in rest {
                self.sum += u32::from(*byte);
                self.sums += self.sum;
            }
            self.sum %= MODULUS;
            self.sums %= MODULUS;
        }
    }

    pub fn value(&self) -> u32 {
        (self.sums << 16) | self.sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_checksum_of_rfc_1950() {
        assert_eq!(Adler32::of(b""), 1);
        assert_eq!(Adler32::of(b"Wikipedia"), 0x11e6_0398);
        let worst = vec![0xff; 100_000];
        let (mut sum, mut sums) = (1_u64, 0_u64);
        for byte in &worst {
            sum = (sum + u64::from(*byte)) % 65_521;
            sums = (sums + sum) % 65_521;
        }
        assert_eq!(u64::from(Adler32::of(&worst)), sums << 16 | sum);
        let mut parts = Adler32::default();
        worst.chunks(777).for_each(|part| parts.update(part));
        assert_eq!(parts.value(), Adler32::of(&worst));
    }
}
