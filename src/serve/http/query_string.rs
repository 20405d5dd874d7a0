use percent_encoding::percent_decode_str;

/// The names and values behind the `?` of a URL, in their order. An error names what is no text.
pub(super) fn pairs(query: &str) -> Result<Vec<(String, String)>, String> {
    let decode = |text: &str| {
        let spaced = text.replace('+', " ");
        let decoded = percent_decode_str(&spaced).decode_utf8().map(std::borrow::Cow::into_owned);
        decoded.map_err(|_| format!("{text:?} in the URL is not UTF-8"))
    };
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Ok((decode(name)?, decode(value)?))
    };
    query.split('&').filter(|pair| !pair.is_empty()).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_browsers_write() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(pairs("").unwrap(), []);
        assert_eq!(
            pairs("path=%2Fa+b%2F**&path=/c&&kind").unwrap(),
            [pair("path", "/a b/**"), pair("path", "/c"), pair("kind", "")]
        );
        assert!(pairs("a=%ff").unwrap_err().contains("UTF-8"));
    }
}
