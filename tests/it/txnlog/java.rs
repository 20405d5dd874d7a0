/// Bytes as a text as Java makes one: what is not UTF-8 becomes replacement characters, other ones than Rust's (a byte
/// that could begin a longer sequence takes the next one with it where that fits by itself).
pub(super) fn text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    let mut rest = bytes;
    while !rest.is_empty() {
        let valid = match std::str::from_utf8(rest) {
            Ok(valid) => valid,
            Err(error) => std::str::from_utf8(&rest[..error.valid_up_to()]).unwrap_or_default(),
        };
        text.push_str(valid);
        rest = &rest[valid.len()..];
        if !rest.is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
            rest = &rest[malformed(rest)..];
        }
    }
    text
}

/// How many bytes one replacement character stands for.
fn malformed(bytes: &[u8]) -> usize {
    let second = bytes.get(1).copied();
    let continues = |at: usize| bytes.get(at).is_some_and(|byte| byte & 0xc0 == 0x80);
    match bytes[0] {
        // Too long for what they say.
        0xe0 if second.is_some_and(|byte| byte & 0xe0 == 0x80) => 1,
        0xe0..=0xef if second.is_none() => 1,
        0xe0..=0xef if !continues(1) => 1,
        // A surrogate by itself.
        0xe0..=0xef if continues(2) => 3,
        0xe0..=0xef => 2,
        0xf0 if second.is_some_and(|byte| !(0x90..=0xbf).contains(&byte)) => 1,
        0xf4 if second.is_some_and(|byte| byte & 0xf0 != 0x80) => 1,
        0xf0..=0xf4 if second.is_none() || !continues(1) => 1,
        0xf0..=0xf4 if !continues(2) => 2,
        0xf0..=0xf4 => 3,
        _ => 1,
    }
}
