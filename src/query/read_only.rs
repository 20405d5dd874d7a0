//! Tells by its words that a statement would write, so that whoever sends it hears that and nothing else.

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{SetExpr, Statement as Ast};

use super::error::{Fault, QueryError};

/// What can be asked instead.
pub(super) const WHAT_THERE_IS: &str = "The history is read-only: SELECT, SHOW, DESCRIBE, EXPLAIN";

/// The first words of statements that do something else than read.
const WRITING: [&str; 30] = [
    "ALTER",
    "ANALYZE",
    "ATTACH",
    "BEGIN",
    "CALL",
    "COMMIT",
    "COPY",
    "CREATE",
    "DEALLOCATE",
    "DELETE",
    "DETACH",
    "DROP",
    "EXECUTE",
    "GRANT",
    "INSERT",
    "INSTALL",
    "LOAD",
    "LOCK",
    "MERGE",
    "PREPARE",
    "REPLACE",
    "RESET",
    "REVOKE",
    "ROLLBACK",
    "SET",
    "START",
    "TRUNCATE",
    "UPDATE",
    "UPSERT",
    "VACUUM",
];

/// The refusal of a statement that begins with `word`.
pub fn error(word: &str) -> QueryError {
    let word = word.to_ascii_uppercase();
    QueryError::Named { fault: Fault::ReadOnly, text: format!("{word} is refused. {WHAT_THERE_IS}") }
}

/// The word by which a statement is refused; `None` where it only reads.
pub(super) fn refused_statement(statement: &Statement) -> Option<String> {
    match statement {
        Statement::Statement(statement) => refused_ast(statement),
        Statement::Explain(explain) => refused_statement(&explain.statement),
        Statement::CreateExternalTable(_) => Some("CREATE".to_owned()),
        Statement::CopyTo(_) => Some("COPY".to_owned()),
        Statement::Reset(_) => Some("RESET".to_owned()),
    }
}

fn refused_ast(statement: &Ast) -> Option<String> {
    match statement {
        Ast::Query(query) => refused_set(&query.body).map(str::to_owned),
        Ast::Explain { statement, .. } => refused_ast(statement),
        // Whether it is one that writes the word tells: what else there is, the planner judges.
        other => refused_word(&other.to_string()),
    }
}

fn refused_set(body: &SetExpr) -> Option<&'static str> {
    match body {
        SetExpr::Insert(_) => Some("INSERT"),
        SetExpr::Update(_) => Some("UPDATE"),
        SetExpr::Delete(_) => Some("DELETE"),
        SetExpr::Merge(_) => Some("MERGE"),
        SetExpr::Query(query) => refused_set(&query.body),
        SetExpr::SetOperation { left, right, .. } => refused_set(left).or_else(|| refused_set(right)),
        SetExpr::Select(_) | SetExpr::Values(_) | SetExpr::Table(_) => None,
    }
}

/// The rest of a text behind the space and the comments that it begins with.
pub fn behind_comments(sql: &str) -> &str {
    let mut rest = sql.trim_start();
    loop {
        rest = if let Some(comment) = rest.strip_prefix("--") {
            comment.split_once('\n').map_or("", |(_, rest)| rest)
        } else if let Some(comment) = rest.strip_prefix("/*") {
            comment.split_once("*/").map_or("", |(_, rest)| rest)
        } else {
            return rest;
        }
        .trim_start();
    }
}

/// The first word of a text where it is one of a statement that writes; for what does not even parse.
pub(super) fn refused_word(sql: &str) -> Option<String> {
    let rest = behind_comments(sql);
    let word = rest.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default().to_ascii_uppercase();
    WRITING.contains(&word.as_str()).then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_what_writes_by_its_first_word() {
        for (sql, word) in [
            ("insert into changes", Some("INSERT")),
            ("-- a note\n/* and\none */ COPY x", Some("COPY")),
            ("SELECT 1", None),
            ("SHOW TABLES", None),
            ("SETTING", None),
            ("-- DROP", None),
            ("", None),
        ] {
            assert_eq!(refused_word(sql).as_deref(), word, "{sql}");
        }
    }
}
