//! PostgreSQL's advanced regular expressions, as far as they can be kept: translated to the syntax of the `regex` crate,
//! matched leftmost and longest as POSIX wants. What cannot be kept (back references, lookaround, a mix of greedy and
//! non-greedy quantifiers) is refused.

use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::meta::Regex;
use regex_automata::util::captures::Captures;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input, MatchKind};

use std::sync::Mutex;

/// A compiled automaton has so many bytes at most.
const PATTERN_BYTES_MAX: usize = 4 << 20;

pub(super) struct Pattern {
    /// Finds where a match begins.
    first: Regex,
    /// The same pattern over the whole of a match: tells its groups.
    whole: Regex,
    /// Tells where the longest match ends.
    ends: DFA,
    cache: Mutex<Cache>,
    /// All quantifiers are non-greedy: the match is the shortest.
    shortest: bool,
    pub(super) global: bool,
    pub(super) groups: usize,
}

/// A match: the bytes of the whole, then of each group.
pub(super) type Match = Vec<Option<(usize, usize)>>;

impl Pattern {
    /// `flags` as the regexp functions take them: `i` `c` `g`, and `s`, `t`, `e` that change nothing here.
    pub(super) fn new(text: &str, flags: &str) -> Result<Self, String> {
        let mut insensitive = false;
        let mut global = false;
        for flag in flags.chars() {
            match flag {
                'i' => insensitive = true,
                'c' => insensitive = false,
                'g' => global = true,
                's' | 't' | 'e' => {}
                'n' | 'm' | 'p' | 'w' | 'x' | 'q' | 'b' => {
                    return Err(format!("the regular expression option \"{flag}\" is not supported"));
                }
                other => return Err(format!("invalid regular expression option: \"{other}\"")),
            }
        }
        let translated = translate(text, &mut insensitive)?;
        let wrong = |error: &dyn std::fmt::Display| {
            let told = error.to_string();
            let last = told.lines().last().unwrap_or_default().trim().to_owned();
            format!("invalid regular expression \"{text}\": {last}")
        };
        let plain = syntax::Config::new().dot_matches_new_line(true).case_insensitive(insensitive);
        let limit = Regex::config().nfa_size_limit(Some(PATTERN_BYTES_MAX));
        let build = |pattern: &str| {
            Regex::builder().configure(limit.clone()).syntax(plain).build(pattern).map_err(|error| {
                match error.syntax_error() {
                    Some(syntax) => wrong(syntax),
                    None => wrong(&error),
                }
            })
        };
        let first = build(&translated.pattern)?;
        let whole = build(&format!("^(?:{})$", translated.pattern))?;
        let config =
            DFA::config().match_kind(MatchKind::All).unicode_word_boundary(true).skip_cache_capacity_check(true);
        let ends =
            DFA::builder().configure(config).syntax(plain).build(&translated.pattern).map_err(|error| wrong(&error))?;
        let cache = Mutex::new(ends.create_cache());
        let groups = first.captures_len().saturating_sub(1);
        Ok(Self { first, whole, ends, cache, shortest: translated.shortest, global, groups })
    }

    pub(super) fn is_match(&self, text: &str) -> bool {
        self.first.is_match(text)
    }

    /// The first match at or behind `from`.
    pub(super) fn find(&self, text: &str, from: usize) -> Result<Option<Match>, String> {
        let mut captures: Captures = self.first.create_captures();
        self.first.search_captures(&Input::new(text).range(from..), &mut captures);
        let Some(found) = captures.get_match() else { return Ok(None) };
        let start = found.start();
        let input = Input::new(text).range(start..).anchored(Anchored::Yes).earliest(self.shortest);
        let end = {
            let mut cache = self.cache.lock().map_err(|_| "a regular expression's cache is poisoned".to_owned())?;
            self.ends.try_search_fwd(&mut cache, &input).map(|end| end.map(|end| end.offset()))
        };
        let end = match end {
            Ok(Some(end)) => end,
            Ok(None) => found.end(),
            // The automaton cannot tell (a word boundary beside a letter beyond ASCII).
            Err(_) => return Err("a word boundary beside letters beyond ASCII is not supported".to_owned()),
        };
        if end == found.end() {
            return Ok(Some(
                (0..=self.groups).map(|group| captures.get_group(group).map(|span| (span.start, span.end))).collect(),
            ));
        }
        // Another than the first alternative is longer: the groups are those of that one.
        let part = text.get(start..end).unwrap_or_default();
        let mut captures = self.whole.create_captures();
        self.whole.search_captures(&Input::new(part), &mut captures);
        if !captures.is_match() {
            return Err("this regular expression's longest match cannot be told".to_owned());
        }
        let group = |group| captures.get_group(group).map(|span| (span.start + start, span.end + start));
        Ok(Some((0..=self.groups).map(group).collect()))
    }

    /// All matches, one behind the other.
    pub(super) fn all(&self, text: &str, from: usize) -> Result<Vec<Match>, String> {
        let mut matches = Vec::new();
        let mut at = from;
        let mut last_end = None;
        while at <= text.len() {
            let Some(found) = self.find(text, at)? else { break };
            let Some((start, end)) = found.first().copied().flatten() else { break };
            let next = text.get(end..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8);
            if start == end && last_end == Some(end) {
                // An empty match at once behind another is none.
                at = end + next;
                continue;
            }
            at = if start == end { end + next } else { end };
            last_end = Some(end);
            matches.push(found);
        }
        Ok(matches)
    }
}

pub(super) struct Translated {
    pub(super) pattern: String,
    shortest: bool,
}

/// A pattern in the syntax of the `regex` crate.
pub(super) fn translate(text: &str, insensitive: &mut bool) -> Result<Translated, String> {
    let wrong = |what: &str| format!("invalid regular expression \"{text}\": {what}");
    let refused = |what: &str| format!("the regular expression \"{text}\" is not supported: {what}");
    if let Some(literal) = text.strip_prefix("***=") {
        return Ok(Translated { pattern: regex_escape(literal), shortest: false });
    }
    let mut rest = text.strip_prefix("***:").unwrap_or(text);
    if let Some((letters, behind)) = rest.strip_prefix("(?").and_then(|options| options.split_once(')'))
        && !letters.is_empty()
        && letters.bytes().all(|byte| byte.is_ascii_lowercase())
    {
        for letter in letters.chars() {
            match letter {
                'i' => *insensitive = true,
                'c' => *insensitive = false,
                's' | 't' | 'e' => {}
                _ => return Err(refused(&format!("its option {letter}"))),
            }
        }
        rest = behind;
    }
    let mut pattern = String::new();
    let (mut greedy, mut lazy, mut alternation) = (false, false, false);
    let mut characters = rest.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' => escape(&mut characters, &mut pattern, false).map_err(|what| match what.strip_prefix('!') {
                Some(what) => refused(what),
                None => wrong(&what),
            })?,
            '[' => bracket(&mut characters, &mut pattern).map_err(|what| wrong(&what))?,
            '(' => {
                pattern.push('(');
                if characters.peek() == Some(&'?') {
                    characters.next();
                    match characters.next() {
                        Some(':') => pattern.push_str("?:"),
                        Some('=' | '!' | '<') => return Err(refused("lookaround")),
                        _ => return Err(wrong("quantifier operand invalid")),
                    }
                }
            }
            '|' => {
                alternation = true;
                pattern.push('|');
            }
            '*' | '+' | '?' => {
                pattern.push(character);
                quantified(&mut characters, &mut pattern, &mut greedy, &mut lazy)
                    .map_err(|()| wrong("quantifier operand invalid"))?;
            }
            '{' if characters.peek().is_some_and(char::is_ascii_digit) => {
                let mut bounds = String::new();
                loop {
                    match characters.next() {
                        Some('}') => break,
                        Some(part) if part.is_ascii_digit() || part == ',' => bounds.push(part),
                        _ => return Err(wrong("invalid repetition count(s)")),
                    }
                }
                let most = bounds.split(',').filter_map(|bound| bound.parse::<u32>().ok()).max().unwrap_or(0);
                if most > 255 {
                    return Err(wrong("invalid repetition count(s)"));
                }
                let fixed = !bounds.contains(',');
                pattern.push('{');
                pattern.push_str(&bounds);
                pattern.push('}');
                if fixed {
                    if characters.peek() == Some(&'?') {
                        characters.next();
                    }
                } else {
                    quantified(&mut characters, &mut pattern, &mut greedy, &mut lazy)
                        .map_err(|()| wrong("quantifier operand invalid"))?;
                }
            }
            '{' | '}' | ']' => {
                pattern.push('\\');
                pattern.push(character);
            }
            other => pattern.push(other),
        }
    }
    if lazy && (greedy || alternation) {
        return Err(refused("greedy and non-greedy parts in one"));
    }
    Ok(Translated { pattern, shortest: lazy })
}

type Characters<'a> = std::iter::Peekable<std::str::Chars<'a>>;

fn quantified(
    characters: &mut Characters<'_>,
    pattern: &mut String,
    greedy: &mut bool,
    lazy: &mut bool,
) -> Result<(), ()> {
    if characters.peek() == Some(&'?') {
        characters.next();
        pattern.push('?');
        *lazy = true;
    } else {
        *greedy = true;
    }
    // A quantifier of a quantifier.
    if matches!(characters.peek(), Some('*' | '+' | '?')) { Err(()) } else { Ok(()) }
}

/// Behind a backslash. An error that begins with `!` is of what PostgreSQL has and this has not.
fn escape(characters: &mut Characters<'_>, pattern: &mut String, in_bracket: bool) -> Result<(), String> {
    let Some(character) = characters.next() else { return Err("invalid escape \\ sequence".to_owned()) };
    match character {
        'd' | 'w' | 's' => {
            pattern.push('\\');
            pattern.push(character);
        }
        'D' | 'W' | 'S' if !in_bracket => {
            pattern.push('\\');
            pattern.push(character);
        }
        'a' | 'f' | 'n' | 'r' | 't' | 'v' => {
            pattern.push('\\');
            pattern.push(character);
        }
        'b' => pattern.push_str("\\x08"),
        'e' => pattern.push_str("\\x1B"),
        'B' => pattern.push_str("\\\\"),
        'm' if !in_bracket => pattern.push_str("\\b{start}"),
        'M' if !in_bracket => pattern.push_str("\\b{end}"),
        'y' if !in_bracket => pattern.push_str("\\b"),
        'Y' if !in_bracket => pattern.push_str("\\B"),
        'A' if !in_bracket => pattern.push_str("\\A"),
        'Z' if !in_bracket => pattern.push_str("\\z"),
        'u' | 'U' => {
            let count = if character == 'u' { 4 } else { 8 };
            let digits: String = characters.by_ref().take(count).collect();
            let code = u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32).filter(|_| digits.len() == count);
            code.ok_or_else(|| "invalid escape \\ sequence".to_owned())?;
            pattern.push_str(&format!("\\x{{{digits}}}"));
        }
        'x' => {
            let mut digits = String::new();
            while let Some(digit) = characters.peek().copied().filter(char::is_ascii_hexdigit) {
                digits.push(digit);
                characters.next();
            }
            let code = u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32);
            code.ok_or_else(|| "invalid escape \\ sequence".to_owned())?;
            pattern.push_str(&format!("\\x{{{digits}}}"));
        }
        digit if digit.is_ascii_digit() => return Err("!back references".to_owned()),
        letter if letter.is_ascii_alphabetic() => return Err("invalid escape \\ sequence".to_owned()),
        other => pattern.push_str(&regex_escape(other.encode_utf8(&mut [0; 4]))),
    }
    Ok(())
}

/// Behind an opening bracket.
fn bracket(characters: &mut Characters<'_>, pattern: &mut String) -> Result<(), String> {
    pattern.push('[');
    if characters.peek() == Some(&'^') {
        characters.next();
        pattern.push('^');
    }
    let mut first = true;
    loop {
        let Some(character) = characters.next() else { return Err("brackets [] not balanced".to_owned()) };
        match character {
            ']' if !first => break,
            '[' if characters.peek() == Some(&':') => {
                characters.next();
                let name: String = characters.by_ref().take_while(|c| *c != ':').collect();
                if characters.next() != Some(']') {
                    return Err("invalid character class".to_owned());
                }
                match name.as_str() {
                    "alpha" => pattern.push_str("\\p{Alphabetic}"),
                    "digit" => pattern.push_str("[0-9]"),
                    "alnum" => pattern.push_str("\\p{Alphabetic}0-9"),
                    "upper" => pattern.push_str("\\p{Uppercase}"),
                    "lower" => pattern.push_str("\\p{Lowercase}"),
                    "space" => pattern.push_str("\\s"),
                    "blank" | "cntrl" | "graph" | "print" | "punct" | "xdigit" => {
                        pattern.push_str(&format!("[:{name}:]"));
                    }
                    "word" => pattern.push_str("\\w"),
                    _ => return Err("invalid character class".to_owned()),
                }
            }
            '[' if matches!(characters.peek(), Some('.' | '=')) => return Err("invalid collating element".to_owned()),
            '\\' => escape(characters, pattern, true)?,
            '-' => match (first, characters.peek()) {
                (true, _) | (_, Some(']')) => pattern.push_str("\\-"),
                _ => pattern.push('-'),
            },
            '[' | ']' | '&' | '~' | '^' => {
                pattern.push('\\');
                pattern.push(character);
            }
            other => pattern.push(other),
        }
        first = false;
    }
    pattern.push(']');
    Ok(())
}

fn regex_escape(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        if character.is_ascii_punctuation() {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

/// SQL's SIMILAR TO as an advanced regular expression over the whole text.
pub(super) fn similar(pattern: &str, escape: Option<char>) -> Result<String, String> {
    let mut translated = String::from("^(?:");
    let mut characters = pattern.chars();
    let mut in_bracket = false;
    while let Some(character) = characters.next() {
        if Some(character) == escape {
            let Some(literal) = characters.next() else {
                return Err("invalid escape string at the pattern's end".to_owned());
            };
            if literal == '"' {
                return Err("SQL regular expression separators are not supported".to_owned());
            }
            translated.push_str(&regex_escape(literal.encode_utf8(&mut [0; 4])));
            continue;
        }
        match character {
            '[' => {
                in_bracket = true;
                translated.push('[');
            }
            ']' => {
                in_bracket = false;
                translated.push(']');
            }
            '\\' => translated.push_str("\\\\"),
            other if in_bracket => translated.push(other),
            '%' => translated.push_str(".*"),
            '_' => translated.push('.'),
            '(' => translated.push_str("(?:"),
            '.' | '^' | '$' => {
                translated.push('\\');
                translated.push(character);
            }
            other => translated.push(other),
        }
    }
    translated.push_str(")$");
    Ok(translated)
}
