//! How deep the tree of a statement would be, told before there is one.
//!
//! The parser bounds how deep parentheses and subqueries nest, but not the chains that it builds in loops: `1+1+1+…`,
//! `UNION`s, joins. A tree of them is as deep as the chain is long, and whoever walks it, if only to drop it, needs
//! that much stack. So chains are bounded here, before anything is parsed.

use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use super::error::{Fault, QueryError};

/// Operators, set operations and joins that may stand one within the other.
pub const DEPTH_MAX: usize = 500;

/// What every thread needs that handles statements: several times what a statement of [`DEPTH_MAX`] takes of it.
pub const STACK_BYTES: usize = 64 << 20;

/// Refuses a text whose tree would be too deep.
pub(super) fn check(sql: &str) -> Result<(), QueryError> {
    match Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize() {
        Ok(tokens) => check_tokens(&tokens),
        // The parser says what is wrong with it.
        Err(_) => Ok(()),
    }
}

/// As [`check`], of a text that is cut into words already.
pub fn check_tokens(tokens: &[Token]) -> Result<(), QueryError> {
    if deepest(tokens) <= DEPTH_MAX {
        return Ok(());
    }
    let text = format!(
        "the statement is too complex: more than {DEPTH_MAX} operators, set operations or joins in one chain. \
         Write x IN (…) for many alternatives, or cut it in parts"
    );
    Err(QueryError::Named { fault: Fault::TooComplex, text })
}

/// One pair of parentheses, or one CASE … END.
#[derive(Default)]
struct Level {
    is_case: bool,
    /// Operators since the last comma.
    chain: usize,
    /// Set operations and joins, which no comma ends.
    kept: usize,
    in_from: bool,
}

fn deepest(tokens: &[Token]) -> usize {
    let mut levels = vec![Level::default()];
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut previous = None;
    for token in tokens {
        let Some(level) = levels.last_mut() else { break };
        match token {
            Token::Whitespace(_) => continue,
            Token::LParen => levels.push(Level::default()),
            Token::RParen => {
                while levels.len() > 1
                    && let Some(left) = levels.pop()
                {
                    depth -= left.chain + left.kept;
                    if !left.is_case {
                        break;
                    }
                }
            }
            Token::SemiColon => {
                levels = vec![Level::default()];
                depth = 0;
            }
            Token::Comma if level.in_from => {
                level.kept += 1;
                depth += 1;
            }
            Token::Comma => {
                depth -= level.chain;
                level.chain = 0;
            }
            Token::Word(word) if word.quote_style.is_none() && previous != Some(&Token::Period) => {
                match word.value.to_ascii_uppercase().as_str() {
                    "CASE" => {
                        levels.push(Level { is_case: true, chain: 1, ..Level::default() });
                        depth += 1;
                    }
                    "END" if level.is_case => {
                        depth -= level.chain + level.kept;
                        levels.pop();
                    }
                    // Behind an operator it is a name.
                    "WHEN" | "THEN" | "ELSE" if level.is_case && previous.is_some_and(ends_operand) => {
                        depth -= level.chain - 1;
                        level.chain = 1;
                    }
                    "FROM" => level.in_from = true,
                    "SELECT" => level.in_from = false,
                    "UNION" | "INTERSECT" | "EXCEPT" | "MINUS" | "JOIN" | "APPLY" => {
                        level.kept += 1;
                        depth += 1;
                    }
                    "AND" | "OR" | "NOT" | "XOR" | "DIV" | "LIKE" | "ILIKE" | "RLIKE" | "REGEXP" | "SIMILAR" | "IS"
                    | "ISNULL" | "NOTNULL" | "BETWEEN" | "IN" | "COLLATE" | "AT" | "OVERLAPS" | "MEMBER" | "ANY"
                    | "ALL" | "OPERATOR" | "MATCH" => {
                        level.chain += 1;
                        depth += 1;
                    }
                    _ => {}
                }
            }
            Token::Word(_)
            | Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::EscapedStringLiteral(_)
            | Token::DollarQuotedString(_)
            | Token::Placeholder(_)
            | Token::Period
            | Token::EOF => {}
            // Everything else is an operator, or begins one.
            _ => {
                level.chain += 1;
                depth += 1;
            }
        }
        previous = Some(token);
        deepest = deepest.max(depth);
    }
    deepest
}

/// Whether an expression can end with this.
fn ends_operand(token: &Token) -> bool {
    matches!(
        token,
        Token::Word(_)
            | Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::EscapedStringLiteral(_)
            | Token::DollarQuotedString(_)
            | Token::Placeholder(_)
            | Token::RParen
            | Token::RBracket
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_are_bounded_and_lists_are_not() {
        let long = 5 * DEPTH_MAX;
        for (sql, is_refused) in [
            (format!("SELECT 1{}", "+1".repeat(long)), true),
            (format!("SELECT 1{}", "::int".repeat(long)), true),
            (format!("SELECT 1{}", " + a.select".repeat(long)), true),
            (format!("SELECT 1{}", " + limit".repeat(long)), true),
            (format!("SELECT a{}", "[1]".repeat(long)), true),
            (format!("SELECT 1{}", " UNION SELECT 1".repeat(long)), true),
            (format!("SELECT 1 FROM a{}", ", a".repeat(long)), true),
            (format!("SELECT 1 FROM a{}", " JOIN a USING (x)".repeat(long)), true),
            (format!("SELECT (1{0} + (1{0}))", "+1".repeat(DEPTH_MAX / 2)), true),
            (format!("SELECT 1 WHERE path = 'a'{}", " OR path = 'a'".repeat(long)), true),
            (format!("SELECT 1{}", ", 1 + 1".repeat(long)), false),
            (format!("SELECT 1 WHERE 1 IN (1{})", ", -1".repeat(long)), false),
            (format!("SELECT * FROM (VALUES (1){}) t", ", (1)".repeat(long)), false),
            (format!("SELECT 1{}", "; SELECT 1 + 1".repeat(long)), false),
            (format!("SELECT '{}'", "+1".repeat(long)), false),
            (format!("SELECT CASE{} END", " WHEN x = 1 THEN 2 + 3".repeat(long)), false),
            (format!("SELECT CASE WHEN true THEN 1{} END", " + else".repeat(long)), true),
            (format!("SELECT 1{}", " + CASE WHEN true THEN 1".repeat(long)), true),
        ] {
            assert_eq!(check(&sql).is_err(), is_refused, "{sql:.60}");
        }
    }

    /// The deepest statement that is let through is parsed, copied, written and dropped on such a stack.
    #[test]
    fn the_stack_bears_the_deepest_statement() {
        let walk = || {
            for chain in ["+1", " AND true", "::int", " UNION SELECT 1"] {
                let sql = format!("SELECT 1{}", chain.repeat(DEPTH_MAX));
                assert!(check(&sql).is_ok(), "{chain}");
                let parsed = datafusion::sql::parser::DFParserBuilder::new(sql.as_str())
                    .with_dialect(&PostgreSqlDialect {})
                    .build()
                    .and_then(|mut parser| parser.parse_statements())
                    .expect("it parses");
                let written: usize = parsed.iter().map(|statement| statement.to_string().len()).sum();
                assert!(written > DEPTH_MAX && parsed.clone().len() == 1);
            }
        };
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES / 2).spawn(walk).expect("a thread");
        thread.join().expect("the stack suffices");
    }
}
