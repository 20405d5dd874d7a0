use std::fmt;

/// A ZooKeeper transaction id: the epoch of the leader in the high 32 bits, a counter in the low 32.
///
/// Ordered as the ensemble committed. Negative values on the wire mean *unknown* and never become a `Zxid`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Zxid(pub i64);

impl Zxid {
    /// What the wire says, where a negative number means that the server does not tell
    /// (watch events before 3.9 carry -1).
    pub fn from_wire(raw: i64) -> Option<Self> {
        (raw >= 0).then_some(Self(raw))
    }

    /// The leader's epoch.
    pub fn epoch(self) -> i32 {
        (self.0 >> 32) as i32
    }

    /// The position within the epoch.
    pub fn counter(self) -> u32 {
        self.0 as u32
    }
}

impl fmt::Display for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Debug for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
