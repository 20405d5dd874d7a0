//! SQLAlchemy's database URIs, read and written as SQLAlchemy does: the user's name, the password and the query are
//! percent-encoded, host and database stand as they are.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// What may stand in a user's name, a password or a query as it is.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A database URI in its parts, decoded. Its `Debug` shows neither the password nor the query's values.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Uri {
    /// `dialect` or `dialect+driver`.
    pub(super) scheme: String,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    /// Without the brackets of an IPv6 address.
    pub(super) host: String,
    pub(super) port: Option<u16>,
    pub(super) database: String,
    /// In the order of the keys.
    pub(super) query: Vec<(String, String)>,
}

/// Why a text is no database URI. Says nothing of what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum UriError {
    #[error("it begins with no dialect://")]
    Scheme,
    #[error("its port is no number from 1 to 65535")]
    Port,
    #[error("it holds a space or a control character")]
    Character,
}

impl Uri {
    pub(super) fn parse(text: &str) -> Result<Self, UriError> {
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(UriError::Character);
        }
        let (scheme, rest) = text.split_once("://").ok_or(UriError::Scheme)?;
        if !is_scheme(scheme) {
            return Err(UriError::Scheme);
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        // A password may hold a slash as it is, a host may not.
        let (credentials, rest) = match rest.rsplit_once('@') {
            Some((credentials, rest)) => (Some(credentials), rest),
            None => (None, rest),
        };
        let (user, password) = match credentials.map(|credentials| credentials.split_once(':').ok_or(credentials)) {
            Some(Ok((user, password))) => (Some(decoded(user)), Some(decoded(password))),
            Some(Err(user)) => (Some(decoded(user)), None),
            None => (None, None),
        };
        let (address, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = match address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, port)) => (host, port.strip_prefix(':').unwrap_or(port)),
            None => address.split_once(':').unwrap_or((address, "")),
        };
        let port = match port {
            "" => None,
            port => Some(port.parse().ok().filter(|port| *port > 0).ok_or(UriError::Port)?),
        };
        let pair = |pair: &str| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(&key.replace('+', " ")), decoded(&value.replace('+', " ")))
        };
        let mut query: Vec<_> = query.split('&').filter(|pair| !pair.is_empty()).map(pair).collect();
        query.sort();
        Ok(Self {
            scheme: scheme.to_owned(),
            user,
            password,
            host: host.to_owned(),
            port,
            database: database.to_owned(),
            query,
        })
    }

    /// The whole text, secrets and all.
    pub(super) fn expose(&self) -> String {
        let encoded = |text: &str| utf8_percent_encode(text, ENCODED).to_string();
        let mut text = format!("{}://", self.scheme);
        if self.user.is_some() || self.password.is_some() {
            text.push_str(&encoded(self.user.as_deref().unwrap_or_default()));
            if let Some(password) = &self.password {
                text.push(':');
                text.push_str(&encoded(password));
            }
            text.push('@');
        }
        text.push_str(&self.address());
        if !self.database.is_empty() {
            text.push('/');
            text.push_str(&self.database);
        }
        for (at, (key, value)) in self.query.iter().enumerate() {
            text.push(if at == 0 { '?' } else { '&' });
            text.push_str(&format!("{}={}", encoded(key), encoded(value)));
        }
        text
    }

    /// What people may see: neither the password nor the query's values.
    pub(super) fn shown(&self) -> String {
        let user = self.user.as_deref().filter(|user| !user.is_empty()).map(|user| format!("{user}@"));
        let keys: Vec<&str> = self.query.iter().map(|(key, _)| key.as_str()).collect();
        let query = if keys.is_empty() { String::new() } else { format!(" ({})", keys.join(", ")) };
        let database = if self.database.is_empty() { String::new() } else { format!("/{}", self.database) };
        format!("{}://{}{}{database}{query}", self.scheme, user.unwrap_or_default(), self.address())
    }

    /// Whether both are the same but for the password.
    pub(super) fn same_but_password(&self, other: &Self) -> bool {
        let user = |uri: &Self| uri.user.clone().filter(|user| !user.is_empty());
        let bare = |uri: &Self| Self { user: user(uri), password: None, ..uri.clone() };
        bare(self) == bare(other)
    }

    /// Texts that must not be seen in a message of somebody else: as they are, and as the URI has them.
    pub(super) fn secrets(&self) -> Vec<String> {
        let values = self.query.iter().map(|(_, value)| value).filter(|value| value.len() >= SECRET_LETTERS_MIN);
        let mut secrets: Vec<String> =
            self.password.iter().chain(values).filter(|text| !text.is_empty()).cloned().collect();
        let encoded: Vec<String> = secrets.iter().map(|text| utf8_percent_encode(text, ENCODED).to_string()).collect();
        secrets.extend(encoded);
        secrets
    }

    fn address(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match self.port {
            Some(port) => format!("{host}:{port}"),
            None => host,
        }
    }
}

/// Shorter values beside a password (`require`, `utf8`) say nothing that must be hidden.
pub(super) const SECRET_LETTERS_MIN: usize = 9;

impl std::fmt::Debug for Uri {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown())
    }
}

/// Whether a text may stand before `://`.
pub(super) fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'+' | b'-' | b'.'))
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_parts() {
        for text in [
            "postgresql+psycopg2://me:p%40%3A%2F%25w@[::1]:5432/orders?connect_timeout=3&sslmode=require",
            "duckdb:///:memory:",
            "sqlite:////srv/x.db",
            "hive://h:10000/default",
            "trino://user@h:8080/hive/sales",
            "bigquery://project",
            "mysql://:secret@h",
        ] {
            let uri = Uri::parse(text).expect(text);
            let shown = format!("{uri:?}");
            assert!(!shown.contains("secret") && !shown.contains("p@"), "{shown}");
            if !text.contains(":///") {
                assert_eq!(uri.expose(), text);
            }
            assert_eq!(Uri::parse(&uri.expose()), Ok(uri));
        }
        let uri = Uri::parse("postgresql://a:b/c@h:1/d?token=0123456789&sslmode=require").expect("a URI");
        assert_eq!(uri.password.as_deref(), Some("b/c"));
        assert_eq!(uri.shown(), "postgresql://a@h:1/d (sslmode, token)");
        assert_eq!(uri.secrets(), ["b/c", "0123456789", "b%2Fc", "0123456789"]);
        let masked = Uri::parse("postgresql://a:XXXXXXXXXX@h:1/d?sslmode=require&token=0123456789").expect("a URI");
        assert!(uri.same_but_password(&masked));
    }

    #[test]
    fn refusals() {
        for (text, error) in [
            ("h:1/x", UriError::Scheme),
            ("://h", UriError::Scheme),
            ("1a://h", UriError::Scheme),
            ("a b://h", UriError::Character),
            ("mysql://h:0/x", UriError::Port),
            ("mysql://h:70000/x", UriError::Port),
            ("mysql://h:x/x", UriError::Port),
        ] {
            assert_eq!(Uri::parse(text), Err(error), "{text}");
        }
    }
}
