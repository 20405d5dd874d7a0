//! A series as text: `name{label="value",…}`, with or without a comma behind the last label. Servers write it in the
//! exposition of their provider, and in front of the values of `mntr` where the provider is switched on.

/// Names and values.
pub(super) type Labels = Vec<(String, String)>;

/// More labels has no series.
const LABELS_MAX: usize = 10;

/// Splits a series into its name and labels; `None` where the text is none.
pub(super) fn series(text: &str) -> Option<(&str, Labels)> {
    let Some((name, rest)) = text.split_once('{') else { return Some((text.trim(), Vec::new())) };
    let (labels, rest) = braced(rest)?;
    rest.trim().is_empty().then_some((name.trim(), labels))
}

/// A line of an exposition: the series, and what stands behind it.
pub(super) fn line(text: &str) -> Option<(&str, Labels, &str)> {
    match text.find(['{', ' ', '\t']) {
        Some(at) if text.as_bytes().get(at) == Some(&b'{') => {
            let (labels, rest) = braced(text.get(at + 1..)?)?;
            Some((text.get(..at)?, labels, rest.trim()))
        }
        Some(at) => Some((text.get(..at)?, Vec::new(), text.get(at..)?.trim())),
        None => None,
    }
}

/// Reads labels up to the closing brace; gives what is behind it.
fn braced(text: &str) -> Option<(Labels, &str)> {
    let mut labels = Vec::new();
    let mut rest = text.trim_start();
    loop {
        if let Some(behind) = rest.strip_prefix('}') {
            return Some((labels, behind));
        }
        let (name, behind) = rest.split_once('=')?;
        let (value, behind) = quoted(behind.trim_start().strip_prefix('"')?)?;
        if labels.len() == LABELS_MAX {
            return None;
        }
        labels.push((name.trim().to_owned(), value));
        rest = behind.trim_start();
        rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
    }
}

/// Reads a text up to its closing quote.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => match letters.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(labels: &[(&str, &str)]) -> Vec<(String, String)> {
        labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn series_with_and_without_labels() {
        assert_eq!(series("zk_a"), Some(("zk_a", Vec::new())));
        assert_eq!(series(r#"a{key="1",quantile="0.5",}"#), Some(("a", pairs(&[("key", "1"), ("quantile", "0.5")]))));
        assert_eq!(series(r#"a{k="x\"}\\\n"}"#), Some(("a", pairs(&[("k", "x\"}\\\n")]))));
        assert_eq!(series("a{}"), Some(("a", Vec::new())));
        for bad in ["a{", "a{k", "a{k=", "a{k=\"", "a{k=\"v\"", "a{k=\"v\"} b", "a{k=v}"] {
            assert_eq!(series(bad), None, "{bad}");
        }
    }

    #[test]
    fn lines_of_an_exposition() {
        assert_eq!(line("a 1.0"), Some(("a", Vec::new(), "1.0")));
        assert_eq!(line(r#"a{pool="Eden Space",} 2 17"#), Some(("a", pairs(&[("pool", "Eden Space")]), "2 17")));
        assert_eq!(line("a"), None);
    }
}
