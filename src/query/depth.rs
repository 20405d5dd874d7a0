//! Bounds how deep an expression can become, before it is parsed.
//!
//! A parser makes of `1 + 1 + 1 …` a tree as deep as there are signs, and whoever walks such a tree, to plan it or just
//! to drop it, needs a stack as deep; a stack that ends takes the whole process with it. What is nested (parentheses,
//! CASE in CASE, NOT NOT) the parser bounds by itself.

use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use super::error::QueryError;

/// Signs and words between values, one behind the other and in what encloses them; far beyond what people write. A list
/// (`IN (…)`, `VALUES`) is not deep, however long it is.
pub const DEPTH_MAX: usize = 400;

/// Refuses a statement that would become too deep.
pub fn check_depth(sql: &str) -> Result<(), QueryError> {
    // What cannot be taken apart has no tree either: the parser says why.
    let Ok(tokens) = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize() else { return Ok(()) };
    match depth(&tokens) {
        depth if depth > DEPTH_MAX => Err(QueryError::Sql(format!(
            "the statement is too deep: of + - || AND OR UNION JOIN and their like at most {DEPTH_MAX} may stand one \
             behind the other. IN (…) takes the place of many OR, concat(…) of many ||"
        ))),
        _ => Ok(()),
    }
}

/// What one pair of brackets encloses.
#[derive(Clone, Copy, Default)]
struct Level {
    /// Between two commas or clauses.
    signs: usize,
    /// JOIN, UNION and their like, which a clause does not end.
    relations: usize,
    greatest: usize,
}

fn depth(tokens: &[Token]) -> usize {
    let mut open = vec![Level::default()];
    // Of all levels that are open but the innermost.
    let (mut around, mut greatest) = (0_usize, 0_usize);
    for token in tokens {
        match token {
            Token::LParen | Token::LBracket | Token::LBrace => {
                let level = open.last().copied().unwrap_or_default();
                around = around.saturating_add(level.signs + level.relations + 1);
                open.push(Level::default());
            }
            Token::RParen | Token::RBracket | Token::RBrace if open.len() > 1 => {
                open.pop();
                let level = open.last().copied().unwrap_or_default();
                around = around.saturating_sub(level.signs + level.relations + 1);
                // `f(…)(…)` and `x[1][1]` are deep without a sign.
                if let Some(level) = open.last_mut() {
                    level.signs += 1;
                }
            }
            Token::Whitespace(_) | Token::Number(..) | Token::SingleQuotedString(_) => {}
            Token::Comma | Token::SemiColon => {
                if let Some(level) = open.last_mut() {
                    level.signs = 0;
                }
            }
            Token::Word(word) if word.quote_style.is_none() => {
                let Some(level) = open.last_mut() else { continue };
                match word.value.to_ascii_uppercase().as_str() {
                    "SELECT" | "FROM" | "WHERE" | "HAVING" | "LIMIT" | "BY" | "WHEN" | "THEN" | "ELSE" | "ON" => {
                        level.signs = 0;
                    }
                    "JOIN" | "UNION" | "INTERSECT" | "EXCEPT" | "LATERAL" | "EXPLAIN" => level.relations += 1,
                    "AND" | "OR" | "NOT" | "IS" | "LIKE" | "ILIKE" | "SIMILAR" | "BETWEEN" | "IN" | "COLLATE"
                    | "AT" | "XOR" | "DIV" | "MOD" | "OVERLAPS" | "CASE" | "INTERVAL" | "ESCAPE" | "OPERATOR"
                    | "ANY" | "ALL" => {
                        level.signs += 1;
                    }
                    _ => {}
                }
            }
            Token::Word(_) | Token::Period => {}
            // Every other sign binds values to each other.
            _ => {
                if let Some(level) = open.last_mut() {
                    level.signs += 1;
                }
            }
        }
        if let Some(level) = open.last_mut() {
            level.greatest = level.greatest.max(level.signs + level.relations);
            greatest = greatest.max(around.saturating_add(level.greatest));
        }
    }
    greatest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_flat_and_what_would_break_a_stack_is_refused() {
        let many = |piece: &str| piece.repeat(5_000);
        for flat in [
            "SELECT path, count(*) FROM changes WHERE seq > 5 AND kind IN ('a', 'b') GROUP BY path".to_owned(),
            format!("SELECT * FROM changes WHERE path IN ('/a'{})", many(", '/b'")),
            format!("SELECT a.x + 1{}", many(", a.x + 1")),
            format!("VALUES (1){}", many(", (-1)")),
            format!("SELECT CASE {} END", many("WHEN x = 1 THEN -1 ")),
            format!("SELECT '{}'", many(" + 1")),
            "SELECT 'open".to_owned(),
        ] {
            assert!(check_depth(&flat).is_ok(), "{}", flat.chars().take(60).collect::<String>());
        }
        for deep in [
            " + 1",
            " OR x = 1",
            "::text",
            " || 'x'",
            " IS NULL",
            " UNION ALL SELECT 1",
            "[1]",
            "(1)",
            " AT TIME ZONE 'UTC'",
        ] {
            assert!(check_depth(&format!("SELECT 1{}", many(deep))).is_err(), "{deep}");
        }
        for deep in ["NOT ", "- ", "(1 + ", "(", "SELECT * FROM a JOIN "] {
            assert!(check_depth(&many(deep)).is_err(), "{deep}");
        }
    }
}
