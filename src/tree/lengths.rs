use std::collections::BTreeMap;

/// A multiset of lengths that knows its greatest, also after removals.
///
/// One entry a *distinct* length: different lengths have to add up, so a tree with n bytes of values has at most √(2n) of
/// them (10 GB: 141,421), and no bound of its own is needed. Zeros are not kept.
#[derive(Debug, Default)]
pub(super) struct Lengths(BTreeMap<u32, u32>);

impl Lengths {
    /// One length becomes another; 0 is none.
    pub(super) fn replace(&mut self, old: u32, new: u32) {
        if old == new {
            return;
        }
        if old != 0
            && let Some(count) = self.0.get_mut(&old)
        {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&old);
            }
        }
        if new != 0 {
            *self.0.entry(new).or_default() += 1;
        }
    }

    /// 0 where there is none.
    pub(super) fn greatest(&self) -> u32 {
        self.0.last_key_value().map_or(0, |(length, _)| *length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_falls_with_the_last_of_its_length() {
        let mut lengths = Lengths::default();
        for length in [5, 9, 9, 0] {
            lengths.replace(0, length);
        }
        assert_eq!(lengths.greatest(), 9);
        lengths.replace(9, 3);
        assert_eq!(lengths.greatest(), 9);
        lengths.replace(9, 0);
        assert_eq!(lengths.greatest(), 5);
        lengths.replace(5, u32::MAX);
        assert_eq!(lengths.greatest(), u32::MAX);
        lengths.replace(u32::MAX, 0);
        lengths.replace(3, 0);
        assert_eq!((lengths.greatest(), lengths.0.len()), (0, 0));
    }
}
