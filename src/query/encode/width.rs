//! How many columns of a terminal a text takes.

/// Characters that take two columns: East Asian wide and full-width ones, and emoji (Unicode, EastAsianWidth.txt; whole
/// blocks, so that unassigned ones count like their neighbours).
const WIDE: [(u32, u32); 30] = [
    (0x1100, 0x115f),
    (0x231a, 0x231b),
    (0x2329, 0x232a),
    (0x23e9, 0x23ec),
    (0x23f0, 0x23f0),
    (0x23f3, 0x23f3),
    (0x25fd, 0x25fe),
    (0x2614, 0x2615),
    (0x2648, 0x2653),
    (0x267f, 0x267f),
    (0x2693, 0x2693),
    (0x26a1, 0x26a1),
    (0x26aa, 0x26ab),
    (0x26bd, 0x26be),
    (0x26c4, 0x26c5),
    (0x26ce, 0x26ce),
    (0x26d4, 0x26d4),
    (0x26ea, 0x26ea),
    (0x2705, 0x2705),
    (0x270a, 0x270b),
    (0x2728, 0x2728),
    (0x274c, 0x274e),
    (0x2753, 0x2757),
    (0x2795, 0x2797),
    (0x2b1b, 0x2b55),
    (0x2e80, 0x303e),
    (0x3041, 0xa4cf),
    (0xa960, 0xa97f),
    (0xac00, 0xd7a3),
    (0xf900, 0xfaff),
];

/// As [`WIDE`], above the first.
const WIDE_HIGH: [(u32, u32); 12] = [
    (0xfe10, 0xfe19),
    (0xfe30, 0xfe6f),
    (0xff00, 0xff60),
    (0xffe0, 0xffe6),
    (0x16fe0, 0x18cff),
    (0x1b000, 0x1b2ff),
    (0x1f004, 0x1f004),
    (0x1f0cf, 0x1f0cf),
    (0x1f18e, 0x1f19a),
    (0x1f200, 0x1f64f),
    (0x1f680, 0x1faff),
    (0x20000, 0x3fffd),
];

/// Characters that are drawn over the one before, or not at all.
const ZERO: [(u32, u32); 10] = [
    (0x0300, 0x036f),
    (0x0483, 0x0489),
    (0x0591, 0x05bd),
    (0x064b, 0x065f),
    (0x1ab0, 0x1aff),
    (0x1dc0, 0x1dff),
    (0x200b, 0x200f),
    (0x20d0, 0x20ff),
    (0xfe00, 0xfe0f),
    (0xfe20, 0xfe2f),
];

pub(super) fn of(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.chars().map(of_char).sum() }
}

fn of_char(character: char) -> usize {
    let code = u32::from(character);
    let is_in = |ranges: &[(u32, u32)]| ranges.iter().any(|(first, last)| (*first..=*last).contains(&code));
    match code {
        0..0x300 => 1,
        // Skin tones join the emoji before them.
        0x1f3fb..=0x1f3ff => 0,
        _ if is_in(&ZERO) => 0,
        _ if is_in(&WIDE) || is_in(&WIDE_HIGH) => 2,
        _ => 1,
    }
}

/// Where a text has to be cut to take no more than `columns`; `None` where it fits.
pub(super) fn cut_at(text: &str, columns: usize) -> Option<usize> {
    let mut taken = 0;
    text.char_indices().find_map(|(at, character)| {
        taken += of_char(character);
        (taken > columns).then_some(at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_columns_not_characters() {
        for (text, columns) in
            [("", 0), ("abc", 3), ("äöü", 3), ("配置", 4), ("🔥x", 3), ("e\u{301}", 1), ("한글", 4), ("…→", 2)]
        {
            assert_eq!(of(text), columns, "{text}");
        }
        assert_eq!(cut_at("配置", 4), None);
        assert_eq!(cut_at("配置x", 4), Some(6));
        assert_eq!(cut_at("配置", 3), Some(3));
    }
}
