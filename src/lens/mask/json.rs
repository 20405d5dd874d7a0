//! JSON, masked in place: a tokenizer with a stack of its own, so that depth costs heap and never the call stack.

use super::names::{self, Kind};
use super::spans::{Shape, Spans, is_no_secret, part};
use super::{mask_nested, text};

/// Deeper documents are read as plain text.
const DEPTH_MAX: usize = 512;

struct Frame {
    is_object: bool,
    /// What the names above make of everything here.
    inherited: Option<Kind>,
    /// What the name of the member at hand says.
    member: Option<Kind>,
    role: Role,
    /// `{"name": "password", "value": …}`: what the `name` says, and where the scalar `value` stands.
    named: Option<Kind>,
    value: Option<(usize, usize, bool)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Name,
    Value,
    Other,
}

/// Finds the secrets of a JSON document or of several in a row. `None`: it is not JSON.
///
/// `root` is what the znode's name says. Somewhat more lenient than the standard (control characters in strings, the
/// shape of numbers): what looks like JSON is better read as JSON.
pub(super) fn scan(data: &[u8], root: Option<Kind>, nested_strings_max: usize) -> Option<Spans> {
    let first = data.iter().find(|byte| !byte.is_ascii_whitespace())?;
    if !matches!(first, b'{' | b'[' | b'"') {
        return None;
    }
    let mut spans = Spans::new(Shape::ThreeStars);
    let mut frames: Vec<Frame> = Vec::new();
    let mut at = 0;
    // Whether a value must come (after a comma), may come, or must not come before a comma or an end.
    let mut expect = Expect::Value;
    loop {
        while data.get(at).is_some_and(u8::is_ascii_whitespace) {
            at += 1;
        }
        let Some(&byte) = data.get(at) else {
            return (frames.is_empty() && expect != Expect::Value).then_some(spans);
        };
        if frames.is_empty() && expect == Expect::End {
            expect = Expect::Value;
        }
        match (byte, expect) {
            (b'}' | b']', Expect::End | Expect::FirstOrEnd) => {
                let frame = frames.pop()?;
                if frame.is_object != (byte == b'}') {
                    return None;
                }
                if let (Some(kind), Some((start, end, is_string))) = (frame.named, frame.value) {
                    leaf(data, start, end, is_string, kind, &mut spans);
                }
                at += 1;
                expect = Expect::End;
            }
            (b',', Expect::End) => {
                frames.last()?;
                at += 1;
                expect = Expect::Value;
            }
            (_, Expect::End) => return None,
            _ => {
                if frames.last().is_some_and(|frame| frame.is_object) {
                    let end = string_end(data, at)?;
                    let (member, role) = member(part(data, at + 1, end));
                    at = end + 1;
                    while data.get(at).is_some_and(u8::is_ascii_whitespace) {
                        at += 1;
                    }
                    if data.get(at) != Some(&b':') {
                        return None;
                    }
                    at += 1;
                    while data.get(at).is_some_and(u8::is_ascii_whitespace) {
                        at += 1;
                    }
                    let frame = frames.last_mut()?;
                    (frame.member, frame.role) = (member, role);
                }
                let (inherited, member) = match frames.last() {
                    Some(frame) => (frame.inherited, frame.member),
                    None => (root, None),
                };
                let named = frames.last().filter(|frame| frame.role == Role::Value).and_then(|frame| frame.named);
                let kind = stronger(stronger(inherited, member), named);
                match data.get(at)? {
                    open @ (b'{' | b'[') => {
                        if frames.len() >= DEPTH_MAX {
                            return None;
                        }
                        let inherited = kind.filter(|kind| *kind != Kind::Auth);
                        frames.push(Frame {
                            is_object: *open == b'{',
                            inherited,
                            member: None,
                            role: Role::Other,
                            named: None,
                            value: None,
                        });
                        at += 1;
                        expect = Expect::FirstOrEnd;
                    }
                    b'"' => {
                        let end = string_end(data, at)?;
                        let inside = part(data, at + 1, end);
                        if let Some(frame) = frames.last_mut() {
                            match frame.role {
                                Role::Name => frame.named = decoded(inside, names::kind),
                                Role::Value => frame.value = Some((at + 1, end, true)),
                                Role::Other => {}
                            }
                        }
                        match kind {
                            Some(kind) => leaf(data, at + 1, end, true, kind, &mut spans),
                            None => inside_string(inside, at + 1, end, nested_strings_max, &mut spans),
                        }
                        at = end + 1;
                        expect = Expect::End;
                    }
                    _ => {
                        let end = scalar_end(data, at)?;
                        if let Some(frame) = frames.last_mut().filter(|frame| frame.role == Role::Value) {
                            frame.value = Some((at, end, false));
                        }
                        if let Some(kind) = kind {
                            leaf(data, at, end, false, kind, &mut spans);
                        }
                        at = end;
                        expect = Expect::End;
                    }
                }
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Expect {
    Value,
    FirstOrEnd,
    End,
}

/// `Secret` beneath `Token` and the other way round: the one that masks more.
fn stronger(a: Option<Kind>, b: Option<Kind>) -> Option<Kind> {
    let rank = |kind: &Kind| match kind {
        Kind::Secret => 2,
        Kind::Token => 1,
        Kind::Auth => 0,
    };
    a.into_iter().chain(b).max_by_key(rank)
}

fn member(raw: &[u8]) -> (Option<Kind>, Role) {
    decoded(raw, |name| {
        let is = |known: &[&str]| known.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()));
        let role = if is(&["name", "key", "property"]) {
            Role::Name
        } else if is(&["value"]) {
            Role::Value
        } else {
            Role::Other
        };
        (names::kind(name), role)
    })
}

/// Calls with the string's text, decoded only where it has escapes.
fn decoded<T>(raw: &[u8], with: impl FnOnce(&[u8]) -> T) -> T {
    match raw.contains(&b'\\').then(|| decode(raw)).flatten() {
        Some(text) => with(text.as_bytes()),
        None => with(raw),
    }
}

fn decode(raw: &[u8]) -> Option<String> {
    let mut quoted = Vec::with_capacity(raw.len() + 2);
    quoted.push(b'"');
    quoted.extend_from_slice(raw);
    quoted.push(b'"');
    serde_json::from_slice(&quoted).ok()
}

fn leaf(data: &[u8], start: usize, end: usize, is_string: bool, kind: Kind, spans: &mut Spans) {
    let value = part(data, start, end);
    if is_no_secret(value, kind) {
        return;
    }
    match is_string {
        true => spans.secret(data, start, end),
        false if kind == Kind::Secret => spans.scalar(start, end),
        // Under a token's name only text is secret.
        false => {}
    }
}

/// A string is a document of its own: properties, a URI, JSON again.
fn inside_string(raw: &[u8], start: usize, end: usize, nested_strings_max: usize, spans: &mut Spans) {
    if !raw.iter().any(|byte| matches!(byte, b'=' | b':' | b' ' | b'\\' | b'>' | b'-')) {
        return;
    }
    let text = raw.contains(&b'\\').then(|| decode(raw)).flatten();
    let text = text.as_ref().map_or(raw, |text| text.as_bytes());
    let masked = match nested_strings_max.checked_sub(1) {
        Some(left) => mask_nested(text, left),
        None => {
            let mut inner = Spans::new(Shape::ThreeStars);
            text::scan(text, 0, text.len(), &mut inner);
            inner.apply(text)
        }
    };
    let Some(masked) = masked else { return };
    // What could not be decoded was masked as it stands, so it goes back as it stands.
    let was_decoded = !std::ptr::eq(text, raw) || !raw.contains(&b'\\');
    let encoded =
        std::str::from_utf8(&masked).ok().filter(|_| was_decoded).and_then(|text| serde_json::to_string(text).ok());
    match encoded.as_deref().and_then(|text| text.strip_prefix('"')?.strip_suffix('"')) {
        Some(text) => spans.text(start, end, text.as_bytes().to_vec()),
        None => spans.text(start, end, masked),
    }
}

/// The place of the closing quote of the string that opens at `at`.
fn string_end(data: &[u8], at: usize) -> Option<usize> {
    if data.get(at) != Some(&b'"') {
        return None;
    }
    let mut at = at + 1;
    loop {
        match data.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            b'\t' | b'\n' | b'\r' | 0x20.. => at += 1,
            _ => return None,
        }
    }
}

fn scalar_end(data: &[u8], at: usize) -> Option<usize> {
    let rest = data.get(at..)?;
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.');
    let len = rest.iter().take_while(|byte| is_part(byte)).count();
    let scalar = rest.get(..len)?;
    let number = scalar.first().is_some_and(|byte| byte.is_ascii_digit() || *byte == b'-');
    (number || [&b"true"[..], b"false", b"null"].contains(&scalar)).then_some(at + len)
}
