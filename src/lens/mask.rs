//! Masks what looks like a secret inside a value: `***` takes its place, everything else stays byte for byte.
//!
//! - **JSON** (also several documents in a row): values under names of secrets, at any depth; the `value` beside a
//!   `name` or `key` that names a secret; and whatever the other rules find inside a string.
//! - **Text**: `key = value` and `key: value` lines with what continues them, nested YAML blocks, the same pairs inside
//!   a line (`?password=…&`, `;Password=…;`, `-Dpassword=…`), XML elements, PEM private keys.
//! - **URIs**: the password of `scheme://user:password@host`.
//! - **Binary** values: the text rules on runs of UTF-8 without control characters. There the mask is as long as the secret, so
//!   that lengths inside the encoding stay right.
//!
//! In doubt it masks. Empty values, `true`, `false` and `null` are no secrets, nor are numbers under the name of a
//! token (`max_tokens`). Masking twice changes nothing more. Time is linear in the length; a masked value is at most
//! three times as long as the original.

mod json;
mod names;
mod spans;
mod text;
mod uri;

use names::Kind;
use spans::{Shape, Spans};

/// How often JSON inside a string inside JSON is followed.
const NESTED_STRINGS_MAX: usize = 4;

/// How often a masked value is looked at again.
const PASSES_MAX: usize = 8;

/// Shorter texts inside a binary value are taken for chance: `pw=` stands in every few thousand random bytes.
const BINARY_TEXT_BYTES_MIN: usize = 12;

const STARS: &[u8] = b"***";

/// Masks a value whose znode's name tells nothing. `None`: there is nothing to mask.
pub fn mask(data: &[u8]) -> Option<Vec<u8>> {
    settle(data, |data| mask_nested(data, NESTED_STRINGS_MAX))
}

/// Masks a value under a znode of this name: whole where the name is that of a secret. `None`: nothing to mask.
pub fn mask_named(name: &str, data: &[u8]) -> Option<Vec<u8>> {
    let Some(kind) = names::kind(name.as_bytes()).filter(|kind| *kind != Kind::Auth) else { return mask(data) };
    settle(data, |data| {
        if let Some(spans) = json::scan(data, Some(kind), NESTED_STRINGS_MAX) {
            return spans.apply(data);
        }
        (!spans::is_no_secret(data.trim_ascii(), kind)).then(|| STARS.to_vec())
    })
}

/// Masks until there is nothing more to mask. One pass is enough but for texts in which a mask changes where the next
/// value ends; what has not settled after a few passes is masked as a whole.
fn settle(data: &[u8], pass: impl Fn(&[u8]) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
    let mut masked = pass(data)?;
    for _ in 0..PASSES_MAX {
        match pass(&masked) {
            Some(more) => masked = more,
            None => return Some(masked),
        }
    }
    Some(STARS.to_vec())
}

fn mask_nested(data: &[u8], nested_strings_max: usize) -> Option<Vec<u8>> {
    if let Some(spans) = json::scan(data, None, nested_strings_max) {
        return spans.apply(data);
    }
    let is_control = |byte: &u8| matches!(byte, 0..=8 | 0x0b | 0x0e..=0x1f);
    let shape = if data.iter().any(is_control) { Shape::SameLength } else { Shape::ThreeStars };
    let mut spans = Spans::new(shape);
    let mut start = 0;
    for run in data.split(|byte| is_control(byte)) {
        if shape == Shape::ThreeStars {
            text::scan(data, start, start + run.len(), &mut spans);
        } else {
            scan_texts(data, start, run, &mut spans);
        }
        start += run.len() + 1;
    }
    spans.apply(data)
}

/// Scans the texts inside a stretch of a binary value: what is UTF-8 and long enough to be no accident.
fn scan_texts(data: &[u8], start: usize, run: &[u8], spans: &mut Spans) {
    let mut at = start;
    for chunk in run.utf8_chunks() {
        let end = at + chunk.valid().len();
        if end - at >= BINARY_TEXT_BYTES_MIN {
            text::scan(data, at, end, spans);
        }
        at = end + chunk.invalid().len();
    }
}

#[cfg(test)]
mod tests;
