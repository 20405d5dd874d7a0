/// The statements of a text, separated by semicolons that are not inside a quote or a comment. Empty ones are left out.
pub(super) fn split(text: &str) -> Vec<&str> {
    let mut statements = Vec::new();
    let mut begin = 0;
    for end in ends(text) {
        statements.push(text.get(begin..end).unwrap_or_default());
        begin = end + 1;
    }
    statements.push(text.get(begin..).unwrap_or_default());
    statements.into_iter().map(str::trim).filter(|statement| !is_blank(statement)).collect()
}

/// Whether a text ends after a semicolon, so that a conversation can go on to ask.
pub(super) fn is_complete(text: &str) -> bool {
    ends(text).last().is_some_and(|end| text.get(end + 1..).is_none_or(is_blank))
}

/// Where the separating semicolons are.
fn ends(text: &str) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match character {
            ';' => ends.push(at),
            // A doubled quote ends one quote and begins the next: it comes to the same.
            '\'' | '"' => {
                characters.by_ref().find(|(_, other)| *other == character);
            }
            '-' if characters.peek().is_some_and(|(_, next)| *next == '-') => {
                characters.by_ref().find(|(_, other)| *other == '\n');
            }
            '/' if characters.peek().is_some_and(|(_, next)| *next == '*') => {
                characters.next();
                let mut last = ' ';
                characters.by_ref().find(|(_, other)| std::mem::replace(&mut last, *other) == '*' && *other == '/');
            }
            _ => {}
        }
    }
    ends
}

/// Whether there is nothing but space and comments.
fn is_blank(text: &str) -> bool {
    let mut rest = text.trim_start();
    loop {
        rest = if let Some(comment) = rest.strip_prefix("--") {
            comment.split_once('\n').map_or("", |(_, rest)| rest)
        } else if let Some(comment) = rest.strip_prefix("/*") {
            comment.split_once("*/").map_or("", |(_, rest)| rest)
        } else {
            return rest.is_empty();
        }
        .trim_start();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_at_semicolons_that_separate() {
        assert_eq!(split("SELECT 1; SELECT 2 ;\n"), ["SELECT 1", "SELECT 2"]);
        assert_eq!(
            split("SELECT ';', \";\" -- no; no\n, 'it''s; fine' /* ; * / ; */ FROM t"),
            ["SELECT ';', \";\" -- no; no\n, 'it''s; fine' /* ; * / ; */ FROM t"]
        );
        assert_eq!(split(" ;; -- only a comment\n; /* and */ "), Vec::<&str>::new());
        assert_eq!(split("-- what it asks\nSELECT 1;"), ["-- what it asks\nSELECT 1"]);
    }

    #[test]
    fn knows_a_complete_statement() {
        for complete in ["SELECT 1;", "SELECT 1; -- done", "SELECT ';';\n  "] {
            assert!(is_complete(complete), "{complete}");
        }
        for open in ["SELECT 1", "SELECT ';", "SELECT 1 -- ;", "SELECT 1; SELECT", "/* ; */", ""] {
            assert!(!is_complete(open), "{open}");
        }
    }
}
