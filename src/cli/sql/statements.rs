/// The statements of a text, separated by semicolons that are not inside a quote or a comment. Empty ones are left out.
pub(super) fn split(text: &str) -> Vec<&str> {
    let mut statements = Vec::new();
    let mut begin = 0;
    for end in ends(text).0 {
        statements.push(text.get(begin..end).unwrap_or_default());
        begin = end + 1;
    }
    statements.push(text.get(begin..).unwrap_or_default());
    statements.into_iter().map(str::trim).filter(|statement| !is_blank(statement)).collect()
}

/// The statements that end with their semicolon, and what follows the last of them.
pub(super) fn split_open(text: &str) -> (Vec<&str>, &str) {
    match ends(text).0.last() {
        Some(last) => (split(text.get(..*last).unwrap_or_default()), text.get(last + 1..).unwrap_or_default()),
        None => (Vec::new(), text),
    }
}

/// What a text ends inside of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inside {
    Quote(char),
    Comment,
}

/// Whether a text ends inside a quote or a comment that goes on in the next line.
pub(super) fn inside(text: &str) -> Option<Inside> {
    ends(text).1
}

/// Where the separating semicolons are, and what the text ends inside of.
fn ends(text: &str) -> (Vec<usize>, Option<Inside>) {
    let mut ends = Vec::new();
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match character {
            ';' => ends.push(at),
            // A doubled quote ends one quote and begins the next: it comes to the same.
            '\'' | '"' => match characters.by_ref().find(|(_, other)| *other == character) {
                Some(_) => {}
                None => return (ends, Some(Inside::Quote(character))),
            },
            '-' if characters.peek().is_some_and(|(_, next)| *next == '-') => {
                characters.by_ref().find(|(_, other)| *other == '\n');
            }
            '/' if characters.peek().is_some_and(|(_, next)| *next == '*') => {
                characters.next();
                let mut last = ' ';
                let mut ends_comment = |other| std::mem::replace(&mut last, other) == '*' && other == '/';
                if !characters.by_ref().any(|(_, other)| ends_comment(other)) {
                    return (ends, Some(Inside::Comment));
                }
            }
            _ => {}
        }
    }
    (ends, None)
}

/// Whether there is nothing but space and comments.
pub(super) fn is_blank(text: &str) -> bool {
    crate::query::behind_comments(text).is_empty()
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
    fn knows_what_is_still_open() {
        assert_eq!(split_open("SELECT 1; SELECT 2;\n"), (vec!["SELECT 1", "SELECT 2"], "\n"));
        assert_eq!(split_open("SELECT 1; SELECT"), (vec!["SELECT 1"], " SELECT"));
        assert_eq!(split_open("SELECT ';"), (vec![], "SELECT ';"));
        assert_eq!(split_open("SELECT 1 -- ;\n"), (vec![], "SELECT 1 -- ;\n"));
        assert_eq!(split_open("SELECT 1; -- done"), (vec!["SELECT 1"], " -- done"));
        assert_eq!(inside("SELECT 'a;\n"), Some(Inside::Quote('\'')));
        assert_eq!(inside("SELECT \"a"), Some(Inside::Quote('"')));
        assert_eq!(inside("SELECT /* it's"), Some(Inside::Comment));
        for closed in ["SELECT 'it''s'", "SELECT 1 -- it's", "/* ' */", ""] {
            assert_eq!(inside(closed), None, "{closed}");
        }
    }
}
