//! Passwords in URIs: `scheme://user:password@host`.

use super::spans::{Spans, part};

/// Names of users this long are tokens.
const USER_BYTES_MAX: usize = 20;

/// Looks at the URI whose `://` is at `at`. Returns from where on the text is of interest, and the place before which
/// nothing may be looked at again.
///
/// People do not escape: a password may hold `/`, `?` and `#`. So where no `@` stands before the first of these, and
/// what stands there is no list of hosts and ports, the last `@` of the whole word counts.
pub(super) fn scan(data: &[u8], at: usize, end: usize, spans: &mut Spans) -> (usize, usize) {
    let start = at + 3;
    let scheme = part(data, 0, at);
    let is_http = scheme.ends_with(b"http") || scheme.ends_with(b"https");
    let word = part(data, start, end);
    let authority_len = word.iter().position(|byte| is_end(*byte) || matches!(byte, b'/' | b'?' | b'#'));
    let authority = word.get(..authority_len.unwrap_or(word.len())).unwrap_or_default();
    let Some((user_len, _)) = authority.iter().enumerate().find(|(_, byte)| **byte == b':') else {
        return match authority.iter().rposition(|byte| *byte == b'@') {
            Some(len) if len >= USER_BYTES_MAX && is_http => {
                spans.secret(data, start, start + len);
                (start + len, start + len)
            }
            _ => (start, start),
        };
    };
    let sign = match authority.iter().rposition(|byte| *byte == b'@') {
        Some(sign) => Some(sign),
        None if are_hosts(authority) => None,
        None => {
            // Up to the next URI only, so that the time stays linear.
            let mut len =
                word.iter().enumerate().map(|(at, byte)| is_end(*byte) || word.get(at..).is_some_and(is_next));
            let len = len.position(|is_end| is_end).unwrap_or(word.len());
            word.get(..len).unwrap_or_default().iter().rposition(|byte| *byte == b'@')
        }
    };
    match sign {
        Some(sign) if sign > user_len => {
            spans.secret(data, start + user_len + 1, start + sign);
            (start + sign, start + sign)
        }
        _ => (start, start),
    }
}

/// Looks at Oracle's own way, `jdbc:oracle:thin:user/password@host`; the slash is at `at`.
pub(super) fn scan_oracle(data: &[u8], at: usize, end: usize, spans: &mut Spans) -> Option<usize> {
    const LOOK_BACK_BYTES_MAX: usize = 128;
    const LOOK_AHEAD_BYTES_MAX: usize = 256;
    let before = part(data, at.saturating_sub(LOOK_BACK_BYTES_MAX), at);
    let colon = before.iter().rposition(|byte| *byte == b':' || is_end(*byte) || *byte == b'/')?;
    let scheme = before.get(..colon)?;
    if !scheme.ends_with(b"oracle:thin") && !scheme.ends_with(b"oracle:oci") {
        return None;
    }
    let word = part(data, at + 1, end.min(at + 1 + LOOK_AHEAD_BYTES_MAX));
    let len = word.iter().position(|byte| is_end(*byte)).unwrap_or(word.len());
    let sign = word.get(..len)?.iter().rposition(|byte| *byte == b'@')?;
    spans.secret(data, at + 1, at + 1 + sign);
    Some(at + 1 + sign)
}

fn is_next(rest: &[u8]) -> bool {
    rest.starts_with(b"://")
}

fn is_end(byte: u8) -> bool {
    byte <= b' ' || matches!(byte, b'"' | b'\'' | b'`' | b'<' | b'>')
}

/// Whether it is `host:port,host:port`, an IPv6 address, or one of these unfinished.
fn are_hosts(authority: &[u8]) -> bool {
    authority.split(|byte| *byte == b',').all(|host| {
        if host.first() == Some(&b'[') {
            return true;
        }
        match host.iter().position(|byte| *byte == b':') {
            Some(colon) => host.get(colon + 1..).unwrap_or_default().iter().all(u8::is_ascii_digit),
            None => true,
        }
    })
}
