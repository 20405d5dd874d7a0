use super::read_only;
use crate::lens;

/// Longer statements are cut.
const STATEMENT_CHARS_MAX: usize = 2_000;

/// A statement as a log may hold it: bounded, with what looks like a credential masked. Of one that does something
/// else than read only the first word, because it may be `ALTER USER … PASSWORD …`.
pub fn statement_to_show(sql: &str) -> String {
    if let Some(word) = read_only::refused_word(sql) {
        return format!("{word} …");
    }
    let end = sql.char_indices().nth(STATEMENT_CHARS_MAX).map_or(sql.len(), |(at, _)| at);
    let (kept, cut) = (sql.get(..end).unwrap_or_default(), end < sql.len());
    let masked = lens::mask(kept.as_bytes());
    let text = masked.as_deref().map_or(kept.into(), String::from_utf8_lossy);
    format!("{}{}", text.trim(), if cut { " …" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_what_was_asked_and_no_credential() {
        assert_eq!(statement_to_show(" SELECT 1\n"), "SELECT 1");
        assert_eq!(statement_to_show("-- why\nalter user bob password 'hunter2'"), "ALTER …");
        let masked = statement_to_show("SELECT * FROM changes WHERE data_text(data) LIKE '%password=hunter2%'");
        assert!(masked.starts_with("SELECT * FROM changes") && !masked.contains("hunter2"), "{masked}");
        let long = statement_to_show(&format!("SELECT '{}'", "ä".repeat(5_000)));
        assert!(long.ends_with("ä …") && long.chars().count() == STATEMENT_CHARS_MAX + 2, "{}", long.len());
    }
}
