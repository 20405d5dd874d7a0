//! Lines and pairs: properties, INI, YAML, connection strings, command lines, XML, PEM.
//!
//! One pass from left to right. What a rule has consumed is not looked at again, and looking back stops there, so the
//! time is linear whatever the text.

use super::names::{self, Kind};
use super::spans::{Spans, is_no_secret, part};
use super::uri;

/// Scans `data[start..end]`.
pub(super) fn scan(data: &[u8], start: usize, end: usize, spans: &mut Spans) {
    let mut scanner = Scanner { data, end, floor: start, done: start, block: None, spans };
    let mut at = start;
    while at < end {
        let line_end = scanner.line_end(at);
        if line_end > scanner.done {
            let from = at.max(scanner.done);
            scanner.floor = scanner.floor.max(from);
            let from = if from == at { scanner.line(at, line_end) } else { from };
            scanner.pairs(from, line_end);
        }
        at = line_end + 1;
    }
}

/// What may stand before the name on a line: signs of comments (a password in a comment is a password), of lists, and
/// commands of shells.
const MARKERS: &[&[u8]] = &[b"#", b";", b"!", b"//", b"--", b"- ", b"* ", b"export ", b"set ", b"SET "];

struct Scanner<'d, 's> {
    data: &'d [u8],
    end: usize,
    /// Looking back stops here.
    floor: usize,
    /// Everything before is consumed, also on later lines.
    done: usize,
    /// Lines that are indented deeper than this belong to a secret.
    block: Option<Block>,
    spans: &'s mut Spans,
}

#[derive(Clone, Copy)]
struct Block {
    indent: usize,
    kind: Kind,
    /// Whether the lines are one text, rather than names and values.
    is_text: bool,
}

/// How a value's end is found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Context {
    /// Between `?`, `&` of a query.
    Query,
    /// Between `;` of a connection string: may hold spaces.
    Semicolons,
    Other,
}

impl<'d> Scanner<'d, '_> {
    fn byte(&self, at: usize) -> Option<u8> {
        if at < self.end { self.data.get(at).copied() } else { None }
    }

    fn line_end(&self, at: usize) -> usize {
        let rest = part(self.data, at, self.end);
        at + rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(rest.len())
    }

    fn skip(&self, mut at: usize, end: usize, what: impl Fn(u8) -> bool) -> usize {
        while at < end && self.byte(at).is_some_and(&what) {
            at += 1;
        }
        at
    }

    fn trimmed_end(&self, start: usize, mut end: usize, what: impl Fn(u8) -> bool) -> usize {
        while end > start && self.byte(end - 1).is_some_and(&what) {
            end -= 1;
        }
        end
    }

    fn value(&self, start: usize, end: usize) -> &'d [u8] {
        part(self.data, start, end)
    }

    fn push(&mut self, start: usize, end: usize, kind: Kind) {
        if !is_no_secret(part(self.data, start, end), kind) {
            self.spans.secret(self.data, start, end);
        }
    }

    /// What a whole line says. Returns from where on its pairs are of interest.
    fn line(&mut self, start: usize, end: usize) -> usize {
        let content = self.skip(start, end, is_blank);
        if content == end {
            return end;
        }
        let indent = content - start;
        // YAML's lists may stand as far left as their name.
        let is_item = self.value(content, end).starts_with(b"- ");
        let is_within = |block: &Block| indent > block.indent || (is_item && !block.is_text && indent == block.indent);
        match self.block.filter(is_within) {
            Some(block) if block.is_text => {
                let stop = self.trimmed_end(content, end, is_blank);
                self.push(content, stop, Kind::Secret);
                return end;
            }
            Some(block) => return self.line_in_block(content, end, block.kind),
            None => self.block = None,
        }
        let key = self.skip_markers(content, end);
        let quote = self.byte(key).filter(|byte| matches!(byte, b'"' | b'\''));
        let name = key + usize::from(quote.is_some());
        let name_end = self.skip(name, end, |byte| is_name(byte) || (quote.is_some() && byte == b' '));
        let Some(kind) = names::kind(self.value(name, name_end)) else { return content };
        let closed = if quote.is_some() && self.byte(name_end) == quote { name_end + 1 } else { name_end };
        let separator = self.skip(closed, end, is_blank);
        match self.byte(separator).filter(|_| separator < end) {
            Some(b':') if self.value(separator, end).starts_with(b"://") => content,
            Some(b':' | b'=') => {
                let value = self.skip(separator, end, |byte| matches!(byte, b':' | b'=' | b'>'));
                let value = self.skip(value, end, is_blank);
                self.line_value(indent, value, end, kind, quote.is_some())
            }
            // `password hunter2`
            Some(_) if separator > closed && kind == Kind::Secret => {
                let stop = self.trimmed_end(separator, end, is_blank);
                if matches!(self.value(separator, stop), b"{" | b"[" | b"(") {
                    self.block = Some(Block { indent, kind, is_text: false });
                    return end;
                }
                if !self.value(separator, stop).iter().any(|byte| is_blank(*byte)) {
                    self.push(separator, stop, kind);
                    return end;
                }
                content
            }
            _ => content,
        }
    }

    fn skip_markers(&self, mut at: usize, end: usize) -> usize {
        loop {
            let rest = self.value(at, end);
            let marker = MARKERS.iter().find(|marker| rest.starts_with(marker));
            match marker {
                Some(marker) => at = self.skip(at + marker.len(), end, is_blank),
                None => return at,
            }
        }
    }

    /// The value of a line `name: value`; with it, what continues it on deeper lines.
    fn line_value(&mut self, indent: usize, value: usize, end: usize, kind: Kind, in_quotes: bool) -> usize {
        let stop = self.trimmed_end(value, end, |byte| is_blank(byte) || matches!(byte, b',' | b';'));
        let text = self.value(value, stop);
        let nested = Block { indent, kind, is_text: false };
        if text.is_empty() || matches!(text, b"{" | b"[" | b"(") {
            self.block = (kind != Kind::Auth).then_some(nested);
            return end;
        }
        if is_block_sign(text) {
            self.block = Some(Block { is_text: true, ..nested });
            return end;
        }
        if let Some(next) = self.quoted(value, end, kind, true) {
            return next;
        }
        if in_quotes && !matches!(text.first(), Some(b'{' | b'[')) {
            let stop = self.bare_end(value, end, Context::Other);
            self.push(value, stop, kind);
            self.floor = stop;
            return stop;
        }
        let is_open = matches!(text.first(), Some(b'{' | b'['));
        if is_no_secret(text, kind) {
            return end;
        }
        let mut stop = stop;
        let mut line_end = end;
        // Properties continue a line that ends in an odd number of backslashes.
        while self.value(value, line_end).iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1 {
            let next = self.skip(line_end, self.end, |byte| matches!(byte, b'\n' | b'\r'));
            if next >= self.end || next == line_end {
                break;
            }
            line_end = self.line_end(next);
            stop = self.trimmed_end(value, line_end, is_blank);
        }
        self.push(value, stop, kind);
        self.done = self.done.max(line_end);
        self.block = Some(Block { is_text: !is_open, ..nested });
        end
    }

    /// A line beneath a secret's name: whatever it is called, its value is secret.
    fn line_in_block(&mut self, content: usize, end: usize, kind: Kind) -> usize {
        let mut at = content;
        while self.value(at, end).starts_with(b"- ") {
            at = self.skip(at + 1, end, is_blank);
        }
        let quote = self.byte(at).filter(|byte| matches!(byte, b'"' | b'\''));
        let name = at + usize::from(quote.is_some());
        let name_end = self.skip(name, end, is_name);
        let closed = if quote.is_some() && self.byte(name_end) == quote { name_end + 1 } else { name_end };
        let separator = self.skip(closed, end, is_blank);
        let is_pair = name_end > name
            && separator < end
            && match self.byte(separator) {
                Some(b':') => {
                    separator + 1 == end || self.byte(separator + 1).is_some_and(|byte| !matches!(byte, b'/'))
                }
                Some(b'=') => separator + 1 < end && self.byte(separator + 1) != Some(b'='),
                _ => false,
            };
        let from = if is_pair { self.skip(separator + 1, end, is_blank) } else { at };
        let stop = self.trimmed_end(from, end, |byte| is_blank(byte) || matches!(byte, b',' | b';'));
        let text = self.value(from, stop);
        let is_bracket = text.iter().all(|byte| matches!(byte, b'{' | b'}' | b'[' | b']' | b'(' | b')'));
        if is_bracket || (is_pair && is_block_sign(text)) {
            return end;
        }
        if self.quoted(from, end, kind, true).is_none() {
            self.push(from, stop, kind);
        }
        end
    }

    /// Masks a quoted value that opens at `at`. Returns where the text goes on; `None` where there is no quoted value,
    /// or where `whole` is asked for and more than punctuation follows it.
    fn quoted(&mut self, at: usize, end: usize, kind: Kind, whole: bool) -> Option<usize> {
        let slashes = self.skip(at, end, |byte| byte == b'\\') - at;
        let open = at + slashes;
        let quote = self.byte(open).filter(|byte| open < end && matches!(byte, b'"' | b'\'' | b'`'))?;
        if slashes == 0 && self.value(open, open + 3) == [quote; 3] {
            let start = open + 3;
            let rest = part(self.data, start, self.end);
            let len = rest.windows(3).position(|window| window == [quote; 3]);
            let stop = len.map_or(self.end, |len| start + len);
            self.push(start, stop, kind);
            self.done = self.done.max((stop + 3).min(self.end));
            self.floor = self.floor.max(self.done.min(end));
            return Some(self.done.min(end));
        }
        let start = open + 1;
        let mut run = 0;
        for at in start..end {
            match self.byte(at) {
                Some(b'\\') => run += 1,
                Some(byte) if byte == quote => {
                    let closes = run < slashes || (run - slashes).is_multiple_of(2 * (slashes + 1));
                    if closes {
                        let after = self.skip(at + 1, end, is_blank);
                        let fits = after == end
                            || after > at + 1
                                && self
                                    .byte(after)
                                    .is_some_and(|byte| matches!(byte, b'#' | b'/' | b'-' | b'&' | b'|'))
                            || self.byte(after).is_some_and(is_punctuation)
                            || (after > at + 1 && self.pair_ahead(after, end))
                            || slashes > 0
                            || !whole;
                        if !fits {
                            return None;
                        }
                        self.push(start, at - run.min(slashes), kind);
                        self.floor = self.floor.max(at + 1);
                        return Some(at + 1);
                    }
                    run = 0;
                }
                _ => run = 0,
            }
        }
        // Never closed on this line: the rest of it.
        let stop = self.trimmed_end(start, end, is_blank);
        self.push(start, stop, kind);
        self.floor = self.floor.max(end);
        Some(end)
    }

    /// Finds pairs inside a line.
    fn pairs(&mut self, from: usize, end: usize) {
        let mut at = from;
        while at < end {
            let next = match self.byte(at) {
                Some(b':') if self.value(at, end).starts_with(b"://") => {
                    let (next, floor) = uri::scan(self.data, at, end, self.spans);
                    self.floor = self.floor.max(floor);
                    Some(next)
                }
                Some(b':' | b'=') => self.pair(at, end).or_else(|| self.named(at, end)),
                Some(b'>') => self.element(at, end),
                Some(b'-') => self.pem(at).or_else(|| self.option(at, end)),
                Some(b'\'') => self.sql(at, end),
                Some(b'/') => {
                    let next = uri::scan_oracle(self.data, at, end, self.spans);
                    self.floor = self.floor.max(next.unwrap_or(0));
                    next
                }
                _ => None,
            };
            at = next.unwrap_or(at + 1).max(at + 1).max(self.done.min(end));
        }
    }

    /// A pair whose separator is at `at`. Returns where the text goes on after its value.
    fn pair(&mut self, at: usize, end: usize) -> Option<usize> {
        let back = |mut to: usize, what: &dyn Fn(u8) -> bool| {
            while to > self.floor && self.byte(to - 1).is_some_and(what) {
                to -= 1;
            }
            to
        };
        let close = back(at, &is_blank);
        let quote = close.checked_sub(1).filter(|to| *to >= self.floor).and_then(|to| self.byte(to));
        let quote = quote.filter(|byte| matches!(byte, b'"' | b'\'' | b'`'));
        let name_end = if quote.is_some() { back(close - 1, &|byte| byte == b'\\') } else { close };
        let name = back(name_end, &|byte| is_name(byte) || (quote.is_some() && byte == b' '));
        let kind = names::kind(self.value(name, name_end)).or_else(|| {
            let gap = back(name, &|byte| byte == b' ');
            let first = back(gap, &is_name);
            if gap < name { names::kind_of_two(self.value(first, gap), self.value(name, name_end)) } else { None }
        })?;
        let before = name.checked_sub(1).filter(|to| *to >= self.floor).and_then(|to| self.byte(to));
        // The user of a URI is no name of a value.
        if self.value(name, name_end).starts_with(b"//") {
            return None;
        }
        let context = match before {
            Some(b'?' | b'&') => Context::Query,
            Some(b';') => Context::Semicolons,
            _ => Context::Other,
        };
        let value = self.skip(at, end, |byte| matches!(byte, b':' | b'=' | b'>'));
        let value = self.skip(value, end, is_blank);
        if value >= end {
            return None;
        }
        if let Some(next) = self.quoted(value, end, kind, false) {
            return Some(next);
        }
        let stop = match self.byte(value) {
            Some(open @ (b'{' | b'[')) if kind != Kind::Auth => self.bracket_end(value, end, open),
            Some(b'{' | b'[') => return None,
            _ => self.bare_end(value, end, context),
        };
        self.push(value, stop, kind);
        self.floor = self.floor.max(stop);
        Some(stop)
    }

    /// The value beside a name, `name="password" value="…"`; the first `=` is at `at`.
    fn named(&mut self, at: usize, end: usize) -> Option<usize> {
        let before = self.value(self.floor, at).trim_ascii_end();
        if ![&b"name"[..], b"key", b"property"].iter().any(|name| before.ends_with(name)) {
            return None;
        }
        let open = self.skip(at + 1, end, is_blank);
        let quote = self.byte(open).filter(|byte| open < end && matches!(byte, b'"' | b'\''))?;
        let close = self.skip(open + 1, end, |byte| byte != quote);
        let kind = names::kind(self.value(open + 1, close))?;
        let word = self.skip(close + 1, end, |byte| is_blank(byte) || byte == b',');
        let value = word + b"value".len();
        if !self.value(word, end).starts_with(b"value") || !matches!(self.byte(value), Some(b'=' | b':')) {
            return None;
        }
        self.quoted(self.skip(value + 1, end, is_blank), end, kind, false)
    }

    /// A command's option: `--password hunter2`; its first dash is at `at`.
    fn option(&mut self, at: usize, end: usize) -> Option<usize> {
        let is_first = at == self.floor || self.byte(at - 1).is_some_and(|byte| is_blank(byte) || is_closing(byte));
        if !is_first {
            return None;
        }
        let name = self.skip(at, end.min(at + 2), |byte| byte == b'-');
        let name_end = self.skip(name, end, is_name);
        let value = self.skip(name_end, end, is_blank);
        let kind = names::kind(self.value(name, name_end)).filter(|kind| *kind != Kind::Auth)?;
        if value == name_end || value == end || matches!(self.byte(value), Some(b'-' | b'=' | b':')) {
            return None;
        }
        if let Some(next) = self.quoted(value, end, kind, false) {
            return Some(next);
        }
        let stop = self.bare_end(value, end, Context::Other);
        self.push(value, stop, kind);
        self.floor = self.floor.max(stop);
        Some(stop)
    }

    /// `IDENTIFIED … BY 'hunter2'`; the quote is at `at`.
    fn sql(&mut self, at: usize, end: usize) -> Option<usize> {
        const LOOK_BACK_BYTES_MAX: usize = 64;
        let before = self.value(self.floor.max(at.saturating_sub(LOOK_BACK_BYTES_MAX)), at).trim_ascii_end();
        let by = before.len().checked_sub(3).and_then(|start| before.get(start..))?;
        let word = b"identified";
        let is_identified = by.eq_ignore_ascii_case(b" by")
            && before.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word));
        if is_identified { self.quoted(at, end, Kind::Secret, false) } else { None }
    }

    /// After the bracket that closes the one at `at`, or the end.
    fn bracket_end(&self, at: usize, end: usize, open: u8) -> usize {
        let close = if open == b'{' { b'}' } else { b']' };
        let mut depth = 0usize;
        for at in at..end {
            match self.byte(at) {
                Some(byte) if byte == open => depth += 1,
                Some(byte) if byte == close => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        return at + 1;
                    }
                }
                _ => {}
            }
        }
        end
    }

    /// The end of a value without quotes. Where a separator is followed by another pair it ends there; else the
    /// separator is taken as part of the secret.
    fn bare_end(&self, start: usize, end: usize, context: Context) -> usize {
        let mut at = self.after_scheme(start, end);
        while at < end {
            let Some(byte) = self.byte(at) else { return end };
            let ends = match (context, byte) {
                (_, b'"' | b'\'' | b'`' | b'<') => true,
                (Context::Query, b'&') => true,
                (Context::Semicolons, b';') => true,
                (Context::Semicolons, _) => false,
                (_, b' ' | b'\t') => true,
                (Context::Query, _) => false,
                (Context::Other, b',' | b';' | b'&' | b'}' | b')' | b']') => {
                    let next = self.skip(at + 1, end, is_blank);
                    next > at + 1
                        || next == end
                        || self.pair_ahead(next, end)
                        || self.byte(next).is_some_and(is_closing)
                }
                _ => false,
            };
            if ends {
                return self.trimmed_end(start, at, is_blank);
            }
            at += 1;
        }
        self.trimmed_end(start, end, is_blank)
    }

    /// `Bearer abc`: the word that names the scheme and the blanks after it belong to the secret.
    fn after_scheme(&self, start: usize, end: usize) -> usize {
        let word_end = self.skip(start, end, |byte| byte.is_ascii_alphabetic());
        let word = self.value(start, word_end);
        let schemes = ["basic", "bearer", "digest", "token", "negotiate", "apikey"];
        let next = self.skip(word_end, end, is_blank);
        let is_scheme = schemes.iter().any(|scheme| word.eq_ignore_ascii_case(scheme.as_bytes()));
        if is_scheme && next > word_end { next } else { start }
    }

    /// Whether `name=` or `name:` starts here.
    fn pair_ahead(&self, at: usize, end: usize) -> bool {
        const LOOK_AHEAD_BYTES_MAX: usize = 64;
        let end = end.min(at + LOOK_AHEAD_BYTES_MAX);
        let quote = self.byte(at).filter(|byte| matches!(byte, b'"' | b'\''));
        let name = at + usize::from(quote.is_some());
        let name_end = self.skip(name, end, is_name);
        let close = if quote.is_some() && self.byte(name_end) == quote { name_end + 1 } else { name_end };
        let separator = self.skip(close, end, is_blank);
        name_end > name && separator < end && self.byte(separator).is_some_and(|byte| matches!(byte, b'=' | b':'))
    }

    /// `<password>…</password>`, and `<name>db.password</name> <value>…</value>`; the `>` is at `at`.
    fn element(&mut self, at: usize, end: usize) -> Option<usize> {
        let mut name = at;
        while name > self.floor && self.byte(name - 1).is_some_and(is_name) {
            name -= 1;
        }
        let is_open = name.checked_sub(1).and_then(|to| self.byte(to)) == Some(b'<');
        if !is_open || name == at {
            return None;
        }
        let text_end = |from: usize, end: usize| self.skip(from, end, |byte| byte != b'<');
        let start = at + 1;
        if let Some(kind) = names::kind(self.value(name, at)) {
            // A secret may be on its own line; the next tag ends it.
            let stop = text_end(start, self.end);
            let start = self.skip(start, stop, |byte| byte.is_ascii_whitespace());
            let stop = self.trimmed_end(start, stop, |byte| byte.is_ascii_whitespace());
            self.push(start, stop, kind);
            self.done = self.done.max(stop);
            return Some(stop.min(end));
        }
        if !matches!(self.value(name, at), b"name" | b"key") {
            return None;
        }
        let stop = text_end(start, end);
        let kind = names::kind(self.value(start, stop).trim_ascii())?;
        let closing = self.skip(stop, end, |byte| byte != b'>');
        let tag = self.skip(closing + 1, self.end, |byte| byte.is_ascii_whitespace());
        if !part(self.data, tag, self.end).starts_with(b"<value>") {
            return None;
        }
        let start = tag + b"<value>".len();
        let stop = self.skip(start, self.end, |byte| byte != b'<');
        self.push(start, stop, kind);
        self.done = self.done.max(stop);
        Some(stop.min(end))
    }

    /// The body of a PEM private key whose first line starts at `at`, over as many lines as it has.
    fn pem(&mut self, at: usize) -> Option<usize> {
        const BEGIN: &[u8] = b"-----BEGIN ";
        const HEADER_BYTES_MAX: usize = 64;
        let rest = part(self.data, at, self.end);
        if !rest.starts_with(BEGIN) {
            return None;
        }
        let header = rest.get(..HEADER_BYTES_MAX.min(rest.len()))?;
        let mark = b"PRIVATE KEY-----";
        let key = header.windows(mark.len()).position(|window| window == mark)?;
        let start = at + key + mark.len();
        let body = part(self.data, start, self.end);
        let stop = body.windows(8).position(|window| window == b"-----END").map_or(self.end, |len| start + len);
        let (mut from, mut to) = (start, stop);
        // Line ends at both sides stay, also where they are written as escapes.
        loop {
            let text = part(self.data, from, to);
            match text {
                [first, ..] if first.is_ascii_whitespace() => from += 1,
                [b'\\', b'n' | b'r', ..] => from += 2,
                _ => break,
            }
        }
        loop {
            let text = part(self.data, from, to);
            match text {
                [.., last] if last.is_ascii_whitespace() => to -= 1,
                [.., b'\\', b'n' | b'r'] => to -= 2,
                _ => break,
            }
        }
        self.push(from, to, Kind::Secret);
        self.done = self.done.max(stop);
        Some(stop)
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | 0x0c)
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-' | b'/' | b'$' | b'%' | b'@') || byte >= 0x80
}

fn is_closing(byte: u8) -> bool {
    matches!(byte, b',' | b';' | b'}' | b')' | b']' | b'"' | b'\'')
}

fn is_punctuation(byte: u8) -> bool {
    is_closing(byte) || matches!(byte, b'>' | b'/' | b'?' | b'<' | b'\\')
}

/// YAML's signs for a text on the lines beneath: `|`, `>-`, `|2`, also after a tag or an anchor.
fn is_block_sign(text: &[u8]) -> bool {
    let text = text.split(|byte| *byte == b'#').next().unwrap_or_default().trim_ascii();
    let mut words = text.split(|byte| is_blank(*byte)).filter(|word| !word.is_empty()).rev();
    let is_sign = words.next().is_some_and(|word| {
        word.len() <= 3
            && matches!(word.first(), Some(b'|' | b'>'))
            && word.iter().skip(1).all(|byte| matches!(byte, b'+' | b'-' | b'1'..=b'9'))
    });
    is_sign && words.all(|word| matches!(word.first(), Some(b'!' | b'&')))
}
