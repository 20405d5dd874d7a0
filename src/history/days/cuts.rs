//! Where a day of changes is cut into parts.

/// A place in the order of changes: (incarnation, position).
pub(super) type Place = (i32, i64);

/// Places that cut rows into pieces of about equal size: piece i holds what is from cut i - 1 on and below cut i.
///
/// `sample` is every n-th row's place, in any order. Rows of one place are never parted, so a piece may be greater
/// where very many share one; there are never more than `pieces` pieces.
pub(super) fn cuts(mut sample: Vec<Place>, pieces: usize) -> Vec<Place> {
    sample.sort_unstable();
    let mut cuts: Vec<Place> = Vec::new();
    let Some(smallest) = sample.first().copied() else { return cuts };
    for piece in 1..pieces {
        let Some(place) = sample.get(sample.len() * piece / pieces).copied() else { continue };
        if place > smallest && cuts.last().is_none_or(|last| place > *last) {
            cuts.push(place);
        }
    }
    cuts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_evenly_and_never_within_a_place() {
        let even: Vec<Place> = (0..1000).rev().map(|position| (1, position)).collect();
        assert_eq!(cuts(even, 4), [(1, 250), (1, 500), (1, 750)]);
        assert_eq!(cuts(vec![(1, 7); 1000], 4), []);
        assert_eq!(cuts(Vec::new(), 4), []);
        assert_eq!(cuts(vec![(1, 1), (2, 0)], 2), [(2, 0)]);
        let hot: Vec<Place> = (0..1000).map(|n| (1, if n < 600 { 5 } else { n })).collect();
        assert_eq!(cuts(hot, 4), [(1, 750)]);
    }
}
