//! How Superset reaches a history: the URI of its database connection, and where the datasets' rows come from.

use url::Url;

/// What stands for a password that the import is to ask for: Superset's own mark.
pub(super) const ASKED_PASSWORD: &str = "XXXXXXXXXX";

/// The driver that Superset brings or is told to install for this dialect.
const LIVE_SCHEME: &str = "postgresql+psycopg2";

/// A way from Superset to a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// A running agent's PostgreSQL door, by its SQLAlchemy URI.
    Live { uri: String },
    /// The Parquet folder, through DuckDB in Superset's own process.
    Files { folder: String },
}

/// Why a text names no agent.
#[derive(Debug, thiserror::Error)]
pub(super) enum RouteError {
    #[error("--uri: this is no URI: {0}. Write postgresql://USER@HOST:5847/zktrail")]
    NoUri(url::ParseError),
    #[error("--uri: {0:?} is not the PostgreSQL door. Write postgresql://USER@HOST:5847/zktrail")]
    Scheme(String),
    #[error("--uri: it names no host. Write postgresql://USER@HOST:5847/zktrail")]
    NoHost,
    #[error(
        "--uri holds a password, and a command line is no secret: leave it out, and say --ask-password or --password-file"
    )]
    PasswordInUri,
    #[error("--uri names no user, so that a password belongs to nobody. Write postgresql://USER@HOST:5847/zktrail")]
    NoUser,
    #[error("the password cannot be put into a URI")]
    Password,
    #[error("{what} holds a control character")]
    Control { what: &'static str },
}

impl Route {
    /// The door's URI as SQLAlchemy takes it, with a password where there is one.
    pub(super) fn live(uri: &str, password: Option<&str>) -> Result<Self, RouteError> {
        refuse_control("--uri", uri)?;
        let (scheme, rest) = uri.split_once("://").ok_or(RouteError::NoUri(url::ParseError::RelativeUrlWithoutBase))?;
        if !matches!(scheme, "postgresql" | "postgres" | LIVE_SCHEME) {
            return Err(RouteError::Scheme(scheme.to_owned()));
        }
        let mut url = Url::parse(&format!("{LIVE_SCHEME}://{rest}")).map_err(RouteError::NoUri)?;
        if url.host_str().is_none_or(str::is_empty) {
            return Err(RouteError::NoHost);
        }
        if url.password().is_some() || url.query_pairs().any(|(key, _)| key == "password") {
            return Err(RouteError::PasswordInUri);
        }
        if let Some(password) = password {
            if url.username().is_empty() {
                return Err(RouteError::NoUser);
            }
            url.set_password(Some(password)).map_err(|()| RouteError::Password)?;
        }
        Ok(Self::Live { uri: url.into() })
    }

    /// A history's folder, by the path that it has where Superset runs.
    pub(super) fn files(folder: &str) -> Result<Self, RouteError> {
        refuse_control("--data-dir", folder)?;
        Ok(Self::Files { folder: folder.trim_end_matches('/').to_owned() })
    }

    pub(super) fn uri(&self) -> &str {
        match self {
            Self::Live { uri } => uri,
            Self::Files { .. } => "duckdb:///:memory:",
        }
    }

    /// A text that differs by route, and never changes: UUIDs are made from it.
    pub(super) fn key(&self) -> &'static str {
        match self {
            Self::Live { .. } => "live",
            Self::Files { .. } => "files",
        }
    }
}

fn refuse_control(what: &'static str, text: &str) -> Result<(), RouteError> {
    if text.chars().any(char::is_control) { Err(RouteError::Control { what }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(uri: &str, password: Option<&str>) -> Result<String, String> {
        Route::live(uri, password).map(|route| route.uri().to_owned()).map_err(|error| error.to_string())
    }

    #[test]
    fn uris_of_the_door() {
        assert_eq!(live("postgresql://h:5847/zktrail", None), Ok("postgresql+psycopg2://h:5847/zktrail".into()));
        assert_eq!(
            live("postgres://me@[::1]:1/zktrail?sslmode=require", Some("p@:/?ü")),
            Ok("postgresql+psycopg2://me:p%40%3A%2F%3F%C3%BC@[::1]:1/zktrail?sslmode=require".into())
        );
        for (uri, word) in [
            ("mysql://h/x", "mysql"),
            ("h:5847", "no URI"),
            ("postgresql:///zktrail", "no host"),
            ("postgresql://me:secret@h/zktrail", "no secret"),
            ("postgresql://me@h/zktrail?password=secret", "no secret"),
            ("postgresql://me@h/zk\ntrail", "control"),
        ] {
            let error = live(uri, None).expect_err(uri);
            assert!(error.contains(word) && !error.contains(":secret"), "{uri}: {error}");
        }
        assert!(live("postgresql://h/zktrail", Some("x")).expect_err("no user").contains("no user"));
    }
}
