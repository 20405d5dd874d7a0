use rustyline::completion::Completer;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{Context, Helper};

use super::door::Door;

const KEYWORDS: &[&str] = &[
    "ALL",
    "AND",
    "AS",
    "ASC",
    "BETWEEN",
    "BY",
    "CASE",
    "CAST",
    "COUNT",
    "DATE",
    "DESC",
    "DESCRIBE",
    "DISTINCT",
    "ELSE",
    "END",
    "EXISTS",
    "EXPLAIN",
    "EXPLAIN ANALYZE",
    "FILTER",
    "FROM",
    "FULL",
    "GROUP BY",
    "HAVING",
    "ILIKE",
    "IN",
    "INNER",
    "INTERVAL",
    "IS",
    "JOIN",
    "LEFT",
    "LIKE",
    "LIMIT",
    "MAX",
    "MIN",
    "NOT",
    "NULL",
    "NULLS LAST",
    "OFFSET",
    "ON",
    "OR",
    "ORDER BY",
    "OUTER",
    "OVER",
    "PARTITION BY",
    "SELECT",
    "SHOW TABLES",
    "SUM",
    "THEN",
    "TIMESTAMP",
    "UNION",
    "USING",
    "WHEN",
    "WHERE",
    "WITH",
];

const FUNCTIONS: &[&str] = &[
    "data_text(",
    "date_bin(",
    "date_trunc(",
    "decode(",
    "depth(",
    "hex(",
    "name(",
    "now()",
    "parent(",
    "prefix(",
    "starts_with(",
    "tree_diff(",
    "znodes_at(",
];

const COMMANDS: &[&str] = &["\\?", "\\d", "\\dt", "\\q", "\\timing", "\\x"];

/// Completes keywords, functions, tables and columns.
pub(super) struct Line {
    names: Vec<String>,
}

impl Line {
    /// Asks once which tables and columns there are; without an answer there is less to complete.
    pub(super) fn new(door: &Door) -> Self {
        const NAMES: &str = "SELECT DISTINCT table_name AS name FROM information_schema.columns \
             WHERE table_schema = 'public' \
             UNION SELECT DISTINCT column_name FROM information_schema.columns WHERE table_schema = 'public'";
        let mut names = Vec::new();
        for batch in door.ask(NAMES).into_iter().flatten().flatten() {
            if let Some(column) = batch.columns().first()
                && let Some(texts) = arrow::array::AsArray::as_string_opt::<i32>(column)
            {
                names.extend(texts.iter().flatten().map(str::to_owned));
            }
        }
        names.sort();
        Self { names }
    }

    fn candidates(&self, word: &str) -> Vec<String> {
        if word.starts_with('\\') {
            return COMMANDS.iter().filter(|command| command.starts_with(word)).map(|c| (*c).to_owned()).collect();
        }
        let lower = word.to_lowercase();
        let names = self.names.iter().map(String::as_str).chain(FUNCTIONS.iter().copied());
        let mut found: Vec<String> = names.filter(|name| name.starts_with(&lower)).map(str::to_owned).collect();
        let upper = word.to_uppercase();
        let keywords = KEYWORDS.iter().filter(|keyword| keyword.starts_with(&upper));
        // Whoever writes in small letters goes on so.
        let small = word.chars().next().is_some_and(char::is_lowercase);
        found.extend(keywords.map(|keyword| if small { keyword.to_lowercase() } else { (*keyword).to_owned() }));
        found
    }
}

impl Completer for Line {
    type Candidate = String;

    fn complete(&self, line: &str, at: usize, _context: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let before = line.get(..at).unwrap_or(line);
        let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '\\';
        let begin = before
            .rfind(|c| !is_word(c))
            .map_or(0, |last| last + before.get(last..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8));
        let word = before.get(begin..).unwrap_or_default();
        if word.is_empty() {
            return Ok((at, Vec::new()));
        }
        Ok((begin, self.candidates(word)))
    }
}

impl Validator for Line {}

impl Hinter for Line {
    type Hint = String;
}

impl Highlighter for Line {}

impl Helper for Line {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completes_in_the_writers_own_letters() {
        let line = Line { names: vec!["changes".to_owned(), "cluster".to_owned()] };
        assert_eq!(line.candidates("cha"), ["changes"]);
        assert_eq!(line.candidates("sel"), ["select"]);
        assert_eq!(line.candidates("SEL"), ["SELECT"]);
        assert_eq!(line.candidates("\\d"), ["\\d", "\\dt"]);
        assert_eq!(line.candidates("znodes_"), ["znodes_at("]);
    }
}
