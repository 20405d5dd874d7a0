//! What a statement asks for, told by its words. Pure.
//!
//! What is about the session (SET, BEGIN, FETCH …) is read here; whatever asks for rows goes to [`super::question`].

use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use super::error::PgError;

/// One statement of a text that may hold several.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) text: String,
    /// Where it begins, in characters of the whole text.
    pub(super) begins: usize,
    tokens: Vec<Token>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// Asks for rows; which, the piece's text says.
    Question,
    Set {
        name: String,
        value: Option<String>,
        local: bool,
    },
    /// A form of SET that changes nothing here.
    SetNothing,
    Show(String),
    ShowAll,
    Reset(Option<String>),
    Begin,
    Commit,
    Rollback,
    Savepoint(String),
    Release(String),
    RollbackTo(String),
    /// `begins` of the query within the text of the statement.
    Declare {
        name: String,
        hold: bool,
        query: String,
    },
    Fetch {
        cursor: String,
        count: Count,
        moves: bool,
    },
    CloseCursor(Option<String>),
    Discard(&'static str),
    Deallocate(Option<String>),
    Copy(Copy),
}

/// How far a cursor goes forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Count {
    Rows(u64),
    All,
}

/// COPY … TO STDOUT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Copy {
    pub(super) query: String,
    pub(super) csv: bool,
    pub(super) header: bool,
    pub(super) delimiter: String,
    pub(super) null: String,
    pub(super) quote: String,
    pub(super) escape: String,
    pub(super) force_quote_all: bool,
}

/// Cuts a text into its statements; empty ones are left out.
pub(super) fn pieces(sql: &str) -> Result<Vec<Piece>, PgError> {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize_with_location().map_err(|error| {
        let at = Place { line: error.location.line, column: error.location.column };
        let mut wrong = PgError::new("42601", format!("syntax error: {}", error.message));
        wrong.position = at.chars(sql);
        wrong
    })?;
    let words: Vec<Token> = tokens.iter().map(|token| token.token.clone()).collect();
    crate::query::check_depth(&words)?;
    let mut offsets = Offsets::new(sql);
    let mut pieces = Vec::new();
    let mut begin = (0, 0);
    let mut own: Vec<Token> = Vec::new();
    for TokenWithSpan { token, span } in tokens {
        match token {
            Token::SemiColon => {
                let end = offsets.of(Place { line: span.start.line, column: span.start.column });
                pieces.extend(piece(sql, begin, end.0, std::mem::take(&mut own)));
                begin = (end.0 + 1, end.1 + 1);
            }
            Token::Whitespace(_) | Token::EOF => {}
            other => own.push(other),
        }
    }
    pieces.extend(piece(sql, begin, sql.len(), own));
    Ok(pieces)
}

fn piece(sql: &str, (begin, begins): (usize, usize), end: usize, tokens: Vec<Token>) -> Option<Piece> {
    if tokens.is_empty() {
        return None;
    }
    let text = sql.get(begin..end)?;
    let trimmed = text.trim_start();
    let begins = begins + text.chars().count() - trimmed.chars().count();
    Some(Piece { text: trimmed.trim_end().to_owned(), begins, tokens })
}

/// A place as the tokenizer tells it, both from 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) line: u64,
    pub(super) column: u64,
}

impl Place {
    /// In characters from 1, as a client is told.
    pub(super) fn chars(self, sql: &str) -> Option<usize> {
        (self.line > 0).then(|| Offsets::new(sql).of(self).1 + 1)
    }
}

/// Finds bytes and characters of places that come in order.
struct Offsets<'a> {
    chars: std::str::Chars<'a>,
    line: u64,
    column: u64,
    bytes_passed: usize,
    chars_passed: usize,
}

impl<'a> Offsets<'a> {
    fn new(sql: &'a str) -> Self {
        Self { chars: sql.chars(), line: 1, column: 1, bytes_passed: 0, chars_passed: 0 }
    }

    fn of(&mut self, place: Place) -> (usize, usize) {
        while (self.line, self.column) < (place.line, place.column) {
            let Some(c) = self.chars.next() else { break };
            self.bytes_passed += c.len_utf8();
            self.chars_passed += 1;
            if c == '\n' {
                (self.line, self.column) = (self.line + 1, 1);
            } else {
                self.column += 1;
            }
        }
        (self.bytes_passed, self.chars_passed)
    }
}

impl Piece {
    /// Whether it speaks of the catalog of a PostgreSQL server, as clients do when they look around.
    pub(super) fn looks_around(&self) -> bool {
        self.tokens.iter().any(|token| match token {
            Token::Word(word) => {
                let lower = word.value.to_ascii_lowercase();
                lower.starts_with("pg_")
                    || lower == "information_schema"
                    || lower.starts_with("reg") && lower != "regexp"
            }
            _ => false,
        })
    }

    /// How the answer's tag begins: `SELECT`, `EXPLAIN`, `SHOW`.
    pub(super) fn tag(&self) -> &'static str {
        match self.word(0).as_deref() {
            Some("explain") => "EXPLAIN",
            Some("show" | "describe" | "desc") => "SHOW",
            _ => "SELECT",
        }
    }

    fn word(&self, at: usize) -> Option<String> {
        match self.tokens.get(at) {
            Some(Token::Word(word)) if word.quote_style.is_none() => Some(word.value.to_ascii_lowercase()),
            _ => None,
        }
    }

    /// What it asks for, or why it is refused.
    pub(super) fn command(&self) -> Result<Command, PgError> {
        let mut words = Words { tokens: &self.tokens, at: 0 };
        let Some(first) = words.keyword() else {
            return Ok(Command::Question);
        };
        let command = match first.as_str() {
            "select" | "with" | "values" | "table" | "explain" | "describe" | "desc" => return Ok(Command::Question),
            "set" => set(&mut words)?,
            "show" => match show(&mut words)? {
                Some(command) => command,
                None => return Ok(Command::Question),
            },
            "reset" => reset(&mut words)?,
            "begin" => {
                words.skip_any(&["work", "transaction"]);
                transaction_modes(&mut words)?;
                Command::Begin
            }
            "start" => {
                words.expect("transaction")?;
                transaction_modes(&mut words)?;
                Command::Begin
            }
            "commit" | "end" => {
                if words.skip("prepared") {
                    return Err(PgError::unsupported("COMMIT PREPARED"));
                }
                words.skip_any(&["work", "transaction"]);
                no_chain(&mut words)?;
                Command::Commit
            }
            "rollback" | "abort" => {
                if words.skip("prepared") {
                    return Err(PgError::unsupported("ROLLBACK PREPARED"));
                }
                words.skip_any(&["work", "transaction"]);
                if words.skip("to") {
                    words.skip("savepoint");
                    Command::RollbackTo(words.name()?)
                } else {
                    no_chain(&mut words)?;
                    Command::Rollback
                }
            }
            "savepoint" => Command::Savepoint(words.name()?),
            "release" => {
                words.skip("savepoint");
                Command::Release(words.name()?)
            }
            "declare" => return declare(&mut words, &self.text),
            "fetch" => fetch(&mut words, false)?,
            "move" => fetch(&mut words, true)?,
            "close" => {
                if words.skip("all") {
                    Command::CloseCursor(None)
                } else {
                    Command::CloseCursor(Some(words.name()?))
                }
            }
            "discard" => Command::Discard(match words.keyword().as_deref() {
                Some("all") => "DISCARD ALL",
                Some("plans") => "DISCARD PLANS",
                Some("sequences") => "DISCARD SEQUENCES",
                Some("temp" | "temporary") => "DISCARD TEMP",
                _ => return Err(words.wrong()),
            }),
            "deallocate" => {
                words.skip("prepare");
                if words.skip("all") { Command::Deallocate(None) } else { Command::Deallocate(Some(words.name()?)) }
            }
            "copy" => return copy(&mut words, &self.text),
            "insert" | "update" | "delete" | "merge" | "create" | "alter" | "drop" | "truncate" | "grant"
            | "revoke" | "comment" | "refresh" | "import" | "reassign" | "security" => {
                return Err(PgError::from(crate::query::refuse_writing_word(&first)));
            }
            "prepare" => {
                return Err(
                    PgError::unsupported("PREPARE as a statement").hint("Clients prepare statements by the protocol.")
                );
            }
            "execute" => {
                return Err(
                    PgError::unsupported("EXECUTE as a statement").hint("Clients prepare statements by the protocol.")
                );
            }
            "listen" | "notify" | "unlisten" | "lock" | "vacuum" | "analyze" | "cluster" | "reindex" | "checkpoint"
            | "load" | "call" | "do" => {
                return Err(PgError::unsupported(first.to_ascii_uppercase()));
            }
            _ => return Ok(Command::Question),
        };
        words.end()?;
        Ok(command)
    }
}

struct Words<'a> {
    tokens: &'a [Token],
    at: usize,
}

impl Words<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn keyword(&mut self) -> Option<String> {
        match self.peek() {
            Some(Token::Word(word)) if word.quote_style.is_none() => {
                let word = word.value.to_ascii_lowercase();
                self.at += 1;
                Some(word)
            }
            _ => None,
        }
    }

    fn skip(&mut self, keyword: &str) -> bool {
        let is_it = matches!(self.peek(), Some(Token::Word(word))
            if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(keyword));
        self.at += usize::from(is_it);
        is_it
    }

    fn skip_any(&mut self, keywords: &[&str]) -> bool {
        keywords.iter().any(|keyword| self.skip(keyword))
    }

    fn skip_token(&mut self, token: &Token) -> bool {
        let is_it = self.peek() == Some(token);
        self.at += usize::from(is_it);
        is_it
    }

    fn expect(&mut self, keyword: &str) -> Result<(), PgError> {
        if self.skip(keyword) { Ok(()) } else { Err(self.wrong()) }
    }

    /// An identifier: folded to lower case unless quoted.
    fn name(&mut self) -> Result<String, PgError> {
        match self.peek() {
            Some(Token::Word(word)) => {
                let name = match word.quote_style {
                    Some(_) => word.value.clone(),
                    None => word.value.to_ascii_lowercase(),
                };
                self.at += 1;
                Ok(name)
            }
            _ => Err(self.wrong()),
        }
    }

    fn text(&mut self) -> Result<String, PgError> {
        match self.peek() {
            Some(
                Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) | Token::UnicodeStringLiteral(text),
            ) => {
                let text = text.clone();
                self.at += 1;
                Ok(text)
            }
            Some(Token::DollarQuotedString(text)) => {
                let text = text.value.clone();
                self.at += 1;
                Ok(text)
            }
            _ => Err(self.wrong()),
        }
    }

    /// A text, a word or a number, as SET takes them.
    fn value(&mut self) -> Result<String, PgError> {
        if let Ok(text) = self.text() {
            return Ok(text);
        }
        let sign = match self.peek() {
            Some(Token::Minus) => "-",
            Some(Token::Plus) => "+",
            _ => "",
        };
        self.at += usize::from(!sign.is_empty());
        match self.peek() {
            Some(Token::Number(number, _)) => {
                let number = format!("{sign}{number}");
                self.at += 1;
                Ok(number)
            }
            Some(Token::Word(word)) if sign.is_empty() => {
                let value = word.value.clone();
                self.at += 1;
                Ok(value)
            }
            _ => Err(self.wrong()),
        }
    }

    fn wrong(&self) -> PgError {
        match self.peek() {
            Some(token) => PgError::new("42601", format!("syntax error at or near \"{token}\"")),
            None => PgError::new("42601", "syntax error at end of input"),
        }
    }

    fn end(&self) -> Result<(), PgError> {
        if self.peek().is_none() { Ok(()) } else { Err(self.wrong()) }
    }

    fn skip_all(&mut self) {
        self.at = self.tokens.len();
    }
}

fn no_chain(words: &mut Words<'_>) -> Result<(), PgError> {
    if words.skip("and") {
        let no = words.skip("no");
        words.expect("chain")?;
        if !no {
            return Err(PgError::unsupported("AND CHAIN"));
        }
    }
    Ok(())
}

/// ISOLATION LEVEL …, READ ONLY, READ WRITE, [NOT] DEFERRABLE: all the same to whoever only reads.
fn transaction_modes(words: &mut Words<'_>) -> Result<(), PgError> {
    loop {
        if words.skip("isolation") {
            words.expect("level")?;
            match words.keyword().as_deref() {
                Some("serializable") => {}
                Some("repeatable") => words.expect("read")?,
                Some("read") if words.skip_any(&["committed", "uncommitted"]) => {}
                _ => return Err(words.wrong()),
            }
        } else if words.skip("read") {
            if !words.skip_any(&["only", "write"]) {
                return Err(words.wrong());
            }
        } else if words.skip("not") {
            words.expect("deferrable")?;
        } else if !words.skip("deferrable") {
            return Ok(());
        }
        words.skip_token(&Token::Comma);
    }
}

fn set(words: &mut Words<'_>) -> Result<Command, PgError> {
    let local = words.skip("local");
    let session = !local && words.skip("session");
    if session && words.skip("characteristics") {
        words.expect("as")?;
        words.expect("transaction")?;
        transaction_modes(words)?;
        return Ok(Command::SetNothing);
    }
    if session && words.skip("authorization") {
        return if words.skip("default") {
            Ok(Command::SetNothing)
        } else {
            Err(PgError::unsupported("SET SESSION AUTHORIZATION"))
        };
    }
    if words.skip("transaction") {
        if words.skip("snapshot") {
            return Err(PgError::unsupported("SET TRANSACTION SNAPSHOT"));
        }
        transaction_modes(words)?;
        return Ok(Command::SetNothing);
    }
    if words.skip("constraints") {
        words.skip_all();
        return Ok(Command::SetNothing);
    }
    if words.skip("role") {
        return if words.skip("none") { Ok(Command::SetNothing) } else { Err(PgError::unsupported("SET ROLE")) };
    }
    if words.skip("names") {
        let value = words.value()?;
        return Ok(Command::Set { name: "client_encoding".to_owned(), value: Some(value), local });
    }
    if words.skip("time") {
        words.expect("zone")?;
        if words.skip_any(&["local", "default"]) {
            return Ok(Command::Set { name: "TimeZone".to_owned(), value: None, local });
        }
        let interval = words.skip("interval");
        let mut value = words.value()?;
        if interval {
            // INTERVAL '+02:00' HOUR TO MINUTE
            words.skip_all();
            if !value.starts_with(['+', '-']) {
                value.insert(0, '+');
            }
        }
        return Ok(Command::Set { name: "TimeZone".to_owned(), value: Some(value), local });
    }
    let name = parameter_name(words)?;
    if !words.skip("to") && !words.skip_token(&Token::Eq) {
        return Err(words.wrong());
    }
    if words.skip("default") {
        return Ok(Command::Set { name, value: None, local });
    }
    let mut values = vec![words.value()?];
    while words.skip_token(&Token::Comma) {
        values.push(words.value()?);
    }
    Ok(Command::Set { name, value: Some(values.join(", ")), local })
}

fn parameter_name(words: &mut Words<'_>) -> Result<String, PgError> {
    let mut name = words.name()?;
    while words.skip_token(&Token::Period) {
        name = format!("{name}.{}", words.name()?);
    }
    Ok(name)
}

/// `None` where it is no parameter that is asked for.
fn show(words: &mut Words<'_>) -> Result<Option<Command>, PgError> {
    if words.skip("all") {
        return Ok(Some(Command::ShowAll));
    }
    if words.skip("time") {
        words.expect("zone")?;
        return Ok(Some(Command::Show("TimeZone".to_owned())));
    }
    if words.skip("transaction") {
        words.expect("isolation")?;
        words.expect("level")?;
        return Ok(Some(Command::Show("transaction_isolation".to_owned())));
    }
    if words.skip("session") {
        words.expect("authorization")?;
        return Ok(Some(Command::Show("session_authorization".to_owned())));
    }
    if words.skip_any(&["tables", "columns", "functions", "create"]) {
        return Ok(None);
    }
    Ok(Some(Command::Show(parameter_name(words)?)))
}

fn reset(words: &mut Words<'_>) -> Result<Command, PgError> {
    if words.skip("all") {
        return Ok(Command::Reset(None));
    }
    if words.skip("role") {
        return Ok(Command::SetNothing);
    }
    if words.skip("session") {
        words.expect("authorization")?;
        return Ok(Command::SetNothing);
    }
    if words.skip("time") {
        words.expect("zone")?;
        return Ok(Command::Reset(Some("TimeZone".to_owned())));
    }
    Ok(Command::Reset(Some(parameter_name(words)?)))
}

/// DECLARE name [BINARY] [ASENSITIVE | INSENSITIVE] [[NO] SCROLL] CURSOR [WITH HOLD | WITHOUT HOLD] FOR query
fn declare(words: &mut Words<'_>, text: &str) -> Result<Command, PgError> {
    let name = words.name()?;
    loop {
        if words.skip("binary") {
            return Err(PgError::unsupported("a BINARY cursor").hint("The protocol's own portals give binary rows."));
        }
        let no = words.skip("no");
        if words.skip("scroll") {
            if !no {
                return Err(PgError::unsupported("a SCROLL cursor").hint("Cursors go forward only."));
            }
        } else if no || !words.skip_any(&["asensitive", "insensitive"]) {
            break;
        }
    }
    words.expect("cursor")?;
    let mut hold = false;
    if words.skip("with") {
        words.expect("hold")?;
        hold = true;
    } else if words.skip("without") {
        words.expect("hold")?;
    }
    words.expect("for")?;
    let query = rest(words, text)?;
    Ok(Command::Declare { name, hold, query })
}

/// The text from the next token on.
fn rest(words: &Words<'_>, text: &str) -> Result<String, PgError> {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, text).tokenize_with_location().map_err(|_| words.wrong())?;
    let is_word = |token: &&TokenWithSpan| !matches!(token.token, Token::Whitespace(_) | Token::EOF);
    let next = tokens.iter().filter(is_word).nth(words.at).ok_or_else(|| words.wrong())?;
    let (bytes, _) = Offsets::new(text).of(Place { line: next.span.start.line, column: next.span.start.column });
    Ok(text.get(bytes..).unwrap_or_default().to_owned())
}

fn fetch(words: &mut Words<'_>, moves: bool) -> Result<Command, PgError> {
    let backward = || PgError::new("55000", "cursor can only scan forward");
    let number = |words: &mut Words<'_>| match words.peek() {
        Some(Token::Number(number, _)) => {
            let number = number.parse().ok();
            words.at += 1;
            number
        }
        _ => None,
    };
    let mut count = Count::Rows(1);
    if words.skip_any(&["backward", "prior", "first", "last", "absolute", "relative"])
        || words.skip_token(&Token::Minus)
    {
        return Err(backward());
    } else if words.skip("next") {
    } else if words.skip("all") {
        count = Count::All;
    } else if words.skip("forward") {
        count = match words.skip("all") {
            true => Count::All,
            false => Count::Rows(number(words).unwrap_or(1)),
        };
    } else if let Some(rows) = number(words) {
        count = Count::Rows(rows);
    }
    words.skip_any(&["from", "in"]);
    Ok(Command::Fetch { cursor: words.name()?, count, moves })
}

/// COPY { table [(columns)] | (query) } TO STDOUT [[WITH] (options) | options of old]
fn copy(words: &mut Words<'_>, text: &str) -> Result<Command, PgError> {
    let refused =
        |what: &str| PgError::new("0A000", format!("{what} is refused")).hint("COPY (query) TO STDOUT is answered.");
    let query = if words.peek() == Some(&Token::LParen) {
        let whole = rest(words, text)?;
        let mut depth = 0_usize;
        while let Some(token) = words.peek() {
            match token {
                Token::LParen => depth += 1,
                Token::RParen => depth = depth.saturating_sub(1),
                _ => {}
            }
            words.at += 1;
            if depth == 0 {
                break;
            }
        }
        let after = if words.peek().is_some() { rest(words, text)?.len() } else { 0 };
        let query = whole.get(..whole.len().saturating_sub(after)).unwrap_or_default().trim();
        query.strip_prefix('(').and_then(|query| query.strip_suffix(')')).unwrap_or(query).to_owned()
    } else {
        let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        let mut table = quoted(&words.name()?);
        while words.skip_token(&Token::Period) {
            table = format!("{table}.{}", quoted(&words.name()?));
        }
        let mut columns = "*".to_owned();
        if words.skip_token(&Token::LParen) {
            let mut names = vec![quoted(&words.name()?)];
            while words.skip_token(&Token::Comma) {
                names.push(quoted(&words.name()?));
            }
            if !words.skip_token(&Token::RParen) {
                return Err(words.wrong());
            }
            columns = names.join(", ");
        }
        format!("SELECT {columns} FROM {table}")
    };
    if words.skip("from") {
        return Err(PgError::from(crate::query::refuse_writing_word("copy from")));
    }
    words.expect("to")?;
    if !words.skip("stdout") {
        return Err(refused(if words.skip("program") { "COPY TO PROGRAM" } else { "COPY to a file" }));
    }
    words.skip("with");
    let mut copy = Copy {
        query,
        csv: false,
        header: false,
        delimiter: String::new(),
        null: String::new(),
        quote: "\"".to_owned(),
        escape: String::new(),
        force_quote_all: false,
    };
    let mut null = None;
    let listed = words.skip_token(&Token::LParen);
    loop {
        if listed && words.skip_token(&Token::RParen) {
            break;
        }
        let Some(option) = words.keyword() else { break };
        match option.as_str() {
            "format" => match words.value()?.to_ascii_lowercase().as_str() {
                "csv" => copy.csv = true,
                "text" => copy.csv = false,
                other => return Err(PgError::unsupported(format!("COPY in format {other}"))),
            },
            "csv" if !listed => copy.csv = true,
            "header" => {
                copy.header = !listed
                    || !matches!(words.peek(), Some(Token::Word(_) | Token::Number(..) | Token::SingleQuotedString(_)))
                    || matches!(words.value()?.to_ascii_lowercase().as_str(), "true" | "on" | "1");
            }
            "delimiter" | "delimiters" => {
                words.skip("as");
                copy.delimiter = words.text()?;
            }
            "null" => {
                words.skip("as");
                null = Some(words.text()?);
            }
            "quote" => {
                words.skip("as");
                copy.quote = words.text()?;
            }
            "escape" => {
                words.skip("as");
                copy.escape = words.text()?;
            }
            "encoding" => {
                let encoding = words.text()?;
                if !encoding.replace('-', "").eq_ignore_ascii_case("utf8") {
                    return Err(PgError::unsupported(format!("encoding {encoding:?}")));
                }
            }
            "force" | "force_quote" => {
                if option == "force" {
                    words.expect("quote")?;
                }
                if !words.skip_token(&Token::Mul) {
                    return Err(PgError::unsupported("FORCE QUOTE of single columns"));
                }
                copy.force_quote_all = true;
            }
            other => return Err(PgError::unsupported(format!("the COPY option {other}"))),
        }
        if listed {
            words.skip_token(&Token::Comma);
        }
    }
    words.end()?;
    let or = |given: String, otherwise: &str| if given.is_empty() { otherwise.to_owned() } else { given };
    copy.delimiter = or(copy.delimiter, if copy.csv { "," } else { "\t" });
    copy.escape = or(copy.escape, &copy.quote);
    copy.null = null.unwrap_or_else(|| if copy.csv { String::new() } else { "\\N".to_owned() });
    for (what, text) in [("delimiter", &copy.delimiter), ("quote", &copy.quote), ("escape", &copy.escape)] {
        if text.len() != 1 {
            return Err(PgError::new("22023", format!("COPY {what} must be a single one-byte character")));
        }
    }
    Ok(Command::Copy(copy))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(sql: &str) -> Result<Command, PgError> {
        let pieces = pieces(sql)?;
        assert_eq!(pieces.len(), 1, "{sql}");
        pieces[0].command()
    }

    #[test]
    fn a_text_is_cut_at_its_semicolons_alone() {
        let sql = "SELECT ';' -- ; no\n; ; /* ; */ SELECT $x$;$x$;\nSHOW ALL";
        let texts: Vec<_> = pieces(sql).unwrap().into_iter().map(|piece| (piece.begins, piece.text)).collect();
        let expected = ["SELECT ';' -- ; no", "/* ; */ SELECT $x$;$x$", "SHOW ALL"];
        assert_eq!(texts.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>(), expected);
        for (begins, text) in texts {
            assert!(sql[begins..].starts_with(&text));
        }
    }

    #[test]
    fn forms_of_set_and_show() {
        let set = |name: &str, value: Option<&str>, local| {
            Ok(Command::Set { name: name.to_owned(), value: value.map(str::to_owned), local })
        };
        assert_eq!(one("SET statement_timeout = 5000"), set("statement_timeout", Some("5000"), false));
        assert_eq!(one("set local TimeZone to 'Europe/Berlin'"), set("timezone", Some("Europe/Berlin"), true));
        assert_eq!(one("SET TIME ZONE 'UTC'"), set("TimeZone", Some("UTC"), false));
        assert_eq!(one("SET SESSION TIME ZONE -3"), set("TimeZone", Some("-3"), false));
        assert_eq!(one("SET TIME ZONE INTERVAL '02:00' HOUR TO MINUTE"), set("TimeZone", Some("+02:00"), false));
        assert_eq!(one("SET search_path TO a, public"), set("search_path", Some("a, public"), false));
        assert_eq!(one("SET datestyle TO DEFAULT"), set("datestyle", None, false));
        assert_eq!(one("SET datafusion.a.b = 1"), set("datafusion.a.b", Some("1"), false));
        assert_eq!(one("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"), Ok(Command::SetNothing));
        assert_eq!(one("SHOW transaction isolation level"), Ok(Command::Show("transaction_isolation".to_owned())));
        assert_eq!(one("SHOW TABLES"), Ok(Command::Question));
        assert_eq!(one("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"), Ok(Command::Begin));
        assert_eq!(one("BEGIN nonsense").unwrap_err().code, "42601");
    }

    #[test]
    fn cursors() {
        let declared = one("DECLARE \"C 1\" NO SCROLL CURSOR WITH HOLD FOR SELECT 'ä' , 1 ").unwrap();
        let query = "SELECT 'ä' , 1".to_owned();
        assert_eq!(declared, Command::Declare { name: "C 1".to_owned(), hold: true, query });
        let fetch = |count, moves| Ok(Command::Fetch { cursor: "c".to_owned(), count, moves });
        assert_eq!(one("FETCH c"), fetch(Count::Rows(1), false));
        assert_eq!(one("FETCH FORWARD 100 FROM c"), fetch(Count::Rows(100), false));
        assert_eq!(one("FETCH ALL IN C"), fetch(Count::All, false));
        assert_eq!(one("MOVE FORWARD ALL FROM c"), fetch(Count::All, true));
        assert_eq!(one("FETCH BACKWARD 1 FROM c").unwrap_err().code, "55000");
    }

    #[test]
    fn copies() {
        let Ok(Command::Copy(copy)) = one("COPY (SELECT ')' AS a, (1)) TO STDOUT WITH (FORMAT csv, HEADER)") else {
            panic!("no copy")
        };
        assert_eq!((copy.query.as_str(), copy.csv, copy.header), ("SELECT ')' AS a, (1)", true, true));
        let Ok(Command::Copy(copy)) = one("copy public.changes (path, \"time\") to stdout") else { panic!("no copy") };
        assert_eq!(copy.query, "SELECT \"path\", \"time\" FROM \"public\".\"changes\"");
        assert_eq!((copy.delimiter.as_str(), copy.null.as_str()), ("\t", "\\N"));
        let Ok(Command::Copy(copy)) = one("COPY changes TO STDOUT CSV HEADER") else { panic!("no copy") };
        assert!(copy.csv && copy.header);
        for refused in ["COPY changes TO '/etc/passwd'", "COPY changes TO PROGRAM 'sh'"] {
            assert_eq!(one(refused).unwrap_err().code, "0A000", "{refused}");
        }
        assert_eq!(one("COPY changes FROM STDIN").unwrap_err().code, "25006");
    }

    #[test]
    fn refused_by_name() {
        for (sql, code) in [
            ("INSERT INTO changes VALUES (1)", "25006"),
            ("/* x */ DROP TABLE changes", "25006"),
            ("LISTEN x", "0A000"),
            ("VACUUM", "0A000"),
            ("DO $$ begin end $$", "0A000"),
            ("SELECT 'open", "42601"),
        ] {
            assert_eq!(one(sql).unwrap_err().code, code, "{sql}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(sql in "(SET|COPY|FETCH|DECLARE|BEGIN|SHOW|\\(|\\)|;|'|\"|\\$|[a-z]{1,3}|[ ,=0-9äß\n-]){0,20}") {
            for piece in pieces(&sql).unwrap_or_default() {
                let _ = piece.command();
            }
        }
    }
}
