//! What is to be replaced in a value.

use super::names::Kind;

/// How a secret is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// By `***`.
    ThreeStars,
    /// By as many stars as it has bytes.
    SameLength,
}

#[derive(Debug)]
enum With {
    Stars,
    /// A bare JSON scalar becomes a string.
    QuotedStars,
    /// The inside of a string that was masked by itself.
    Text(Vec<u8>),
}

#[derive(Debug)]
struct Span {
    start: usize,
    end: usize,
    with: With,
}

/// The places to replace, in any order, also overlapping.
#[derive(Debug)]
pub(super) struct Spans {
    shape: Shape,
    spans: Vec<Span>,
}

impl Spans {
    pub(super) fn new(shape: Shape) -> Self {
        Self { shape, spans: Vec::new() }
    }

    /// Marks a secret. Nothing, and stars alone, are none.
    pub(super) fn secret(&mut self, data: &[u8], start: usize, end: usize) {
        if !is_masked(part(data, start, end)) {
            self.spans.push(Span { start, end, with: With::Stars });
        }
    }

    /// Marks a bare JSON scalar.
    pub(super) fn scalar(&mut self, start: usize, end: usize) {
        self.spans.push(Span { start, end, with: With::QuotedStars });
    }

    /// Marks the inside of a string for which there is a masked text.
    pub(super) fn text(&mut self, start: usize, end: usize, text: Vec<u8>) {
        self.spans.push(Span { start, end, with: With::Text(text) });
    }

    /// Replaces. `None`: there was nothing to replace.
    pub(super) fn apply(mut self, data: &[u8]) -> Option<Vec<u8>> {
        if self.spans.is_empty() {
            return None;
        }
        self.spans.sort_by_key(|span| (span.start, std::cmp::Reverse(span.end)));
        let mut out = Vec::with_capacity(data.len() + 8);
        let mut done = 0;
        let mut spans = self.spans.into_iter().peekable();
        while let Some(mut span) = spans.next() {
            while let Some(next) = spans.next_if(|next| next.start < span.end) {
                span.end = span.end.max(next.end);
                // A secret as a whole hides more than a text with a secret in it.
                if matches!(span.with, With::Text(_)) || span.end > next.end {
                    span.with = match (span.with, next.with) {
                        (With::Text(_), other) => other,
                        (own, _) => own,
                    };
                }
            }
            out.extend_from_slice(part(data, done, span.start));
            match (span.with, self.shape) {
                (With::Text(text), _) => out.extend_from_slice(&text),
                (With::QuotedStars, _) => out.extend_from_slice(b"\"***\""),
                (With::Stars, Shape::ThreeStars) => out.extend_from_slice(b"***"),
                (With::Stars, Shape::SameLength) => out.resize(out.len() + span.end.saturating_sub(span.start), b'*'),
            }
            done = span.end;
        }
        out.extend_from_slice(part(data, done, data.len()));
        Some(out)
    }
}

/// A part of the value; nothing where the bounds are off.
pub(super) fn part(data: &[u8], start: usize, end: usize) -> &[u8] {
    data.get(start..end).unwrap_or_default()
}

/// Whether nothing is left to hide.
pub(super) fn is_masked(value: &[u8]) -> bool {
    value.iter().all(|byte| *byte == b'*')
}

/// Whether a text under the name of a secret is none: nothing, already masked, a constant, or a number where the name
/// is that of a token.
pub(super) fn is_no_secret(value: &[u8], kind: Kind) -> bool {
    let constant = ["true", "false", "null", "~"].iter().any(|known| value.eq_ignore_ascii_case(known.as_bytes()));
    constant || is_masked(value) || (kind == Kind::Token && is_number(value))
}

/// Whether it is a short decimal number.
fn is_number(value: &[u8]) -> bool {
    value.len() <= 12 && value.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+'))
}
