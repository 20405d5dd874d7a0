//! What a znode's value says of a database connection. Errors name fields, never what is in them.

use serde_json::{Map, Value};

use super::engine;
use super::uri::{SECRET_LETTERS_MIN, Uri, UriError, is_scheme};
use crate::cli::superset::route::ASKED_PASSWORD;

/// The key of our mark in a connection's `extra`.
pub(super) const MARK: &str = "zktrail";

/// A connection as it is to be.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Definition {
    pub(super) name: String,
    pub(super) uri: Uri,
    /// Superset's `extra`, without our mark.
    pub(super) extra: Map<String, Value>,
    /// Superset's own settings of a connection, by their names there.
    pub(super) settings: Map<String, Value>,
}

/// Why a value is no connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum DefinitionError {
    #[error("it is no UTF-8 text")]
    NoText,
    #[error("neither JSON nor a database URI: {what} at line {line}, column {column}")]
    NoJson { what: &'static str, line: usize, column: usize },
    #[error("it is JSON, but neither an object nor a text")]
    NoObject,
    #[error("its URI is none: {0}")]
    Uri(#[from] UriError),
    #[error("the field {0:?} is missing")]
    Missing(&'static str),
    #[error("the field {field:?} must be {must}")]
    Field { field: String, must: &'static str },
    #[error("the fields {0:?} and {1:?} mean the same: one is enough")]
    Twice(String, String),
    #[error("beside a URI the field {0:?} says nothing: put it into the URI")]
    BesideUri(String),
    #[error(
        "the engine is not known: it may be one of {}, or a SQLAlchemy dialect+driver; or give the whole \"uri\"",
        engine::names()
    )]
    Engine,
    #[error("the password is the text that Superset shows instead of one")]
    MaskedPassword,
    #[error("the field {0:?} holds a list or an object: what is for Superset belongs into \"extra\"")]
    Nested(String),
}

/// Each with its other names.
const NAME: &[&str] = &["name", "database_name", "title"];
const URI: &[&str] = &["uri", "sqlalchemy_uri", "url"];
const ENGINE: &[&str] = &["engine", "type", "driver", "dialect"];
const HOST: &[&str] = &["host", "hostname", "server"];
const PORT: &[&str] = &["port"];
const USER: &[&str] = &["user", "username"];
const PASSWORD: &[&str] = &["password", "passwd"];
const DATABASE: &[&str] = &["database", "db", "dbname"];
const QUERY: &[&str] = &["query", "options", "parameters"];
const EXTRA: &[&str] = &["extra"];

/// What Superset's API takes beside name, URI and `extra`, and of which kind it is.
const SETTINGS: &[(&str, Kind)] = &[
    ("allow_ctas", Kind::Bool),
    ("allow_cvas", Kind::Bool),
    ("allow_dml", Kind::Bool),
    ("allow_file_upload", Kind::Bool),
    ("allow_run_async", Kind::Bool),
    ("cache_timeout", Kind::Number),
    ("expose_in_sqllab", Kind::Bool),
    ("force_ctas_schema", Kind::Text),
    ("impersonate_user", Kind::Bool),
    ("server_cert", Kind::Text),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bool,
    Number,
    Text,
}

impl Definition {
    /// Reads a value: a JSON object, or a database URI, as it is or as a JSON text. `fallback` is the connection's name
    /// where the value says none.
    pub(super) fn parse(data: &[u8], fallback: &str) -> Result<Self, DefinitionError> {
        let text = std::str::from_utf8(data).map_err(|_| DefinitionError::NoText)?.trim();
        let of_uri = |text: &str| {
            let uri = Uri::parse(text)?;
            Self { name: fallback.to_owned(), uri, extra: Map::new(), settings: Map::new() }.checked()
        };
        if !text.starts_with(['{', '"', '[']) && text.contains("://") {
            return of_uri(text);
        }
        match serde_json::from_str(text) {
            Ok(Value::Object(fields)) => Fields(fields).definition(fallback)?.checked(),
            Ok(Value::String(text)) => of_uri(text.trim()),
            Ok(_) => Err(DefinitionError::NoObject),
            Err(error) => {
                let what = match error.classify() {
                    serde_json::error::Category::Eof => "it ends too early",
                    _ => "it goes wrong",
                };
                Err(DefinitionError::NoJson { what, line: error.line(), column: error.column() })
            }
        }
    }

    /// Texts that must not be seen in a message of somebody else: the URI's, and whatever is in `extra`.
    pub(super) fn secrets(&self) -> Vec<String> {
        fn texts(value: &Value, out: &mut Vec<String>) {
            match value {
                Value::String(text) if text.len() >= SECRET_LETTERS_MIN => out.push(text.clone()),
                Value::Array(values) => values.iter().for_each(|value| texts(value, out)),
                Value::Object(fields) => fields.values().for_each(|value| texts(value, out)),
                _ => {}
            }
        }
        let mut secrets = self.uri.secrets();
        self.extra.values().for_each(|value| texts(value, &mut secrets));
        // A secret within another must not break the longer one up.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets
    }

    fn checked(self) -> Result<Self, DefinitionError> {
        if self.uri.password.as_deref() == Some(ASKED_PASSWORD) {
            return Err(DefinitionError::MaskedPassword);
        }
        if self.extra.contains_key(MARK) {
            let field = format!("extra.{MARK}");
            return Err(DefinitionError::Field { field, must: "left out: it is where this program keeps its mark" });
        }
        if self.name.trim().is_empty() || self.name.chars().any(char::is_control) || self.name.len() > NAME_BYTES_MAX {
            return Err(DefinitionError::Field { field: "name".into(), must: "a text of 1 to 250 bytes" });
        }
        Ok(self)
    }
}

/// The column in Superset's metadata takes no more.
const NAME_BYTES_MAX: usize = 250;

/// An object's fields, taken out one after another.
struct Fields(Map<String, Value>);

impl Fields {
    fn definition(mut self, fallback: &str) -> Result<Definition, DefinitionError> {
        let name = self.text(NAME)?.unwrap_or_else(|| fallback.to_owned());
        let extra = self.object(EXTRA)?;
        let settings = self.settings()?;
        let uri = match self.text(URI)? {
            Some(text) => {
                if let Some(field) = self.0.keys().next() {
                    return Err(DefinitionError::BesideUri(field.clone()));
                }
                Uri::parse(&text)?
            }
            None => self.uri()?,
        };
        Ok(Definition { name, uri, extra, settings })
    }

    /// A URI of the parts; what is left over goes into its query.
    fn uri(mut self) -> Result<Uri, DefinitionError> {
        let named = self.text(ENGINE)?.ok_or(DefinitionError::Missing("engine"))?;
        let (scheme, default_port) = match engine::find(&named) {
            Some(engine) => (engine.scheme.to_owned(), engine.port),
            None if named.contains('+') && is_scheme(&named) => (named, None),
            None => return Err(DefinitionError::Engine),
        };
        let is_server = !matches!(scheme.as_str(), "duckdb" | "sqlite");
        let mut host = self.text(HOST)?.unwrap_or_default();
        if host.is_empty() && is_server {
            return Err(DefinitionError::Missing("host"));
        }
        if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            host = address.to_owned();
        }
        let is_host = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        if !host.chars().all(is_host) {
            return Err(DefinitionError::Field { field: "host".into(), must: "a host's name or address alone" });
        }
        let port = self.port()?.or(default_port);
        let user = self.text(USER)?;
        let password = self.text(PASSWORD)?;
        let database = self.text(DATABASE)?.unwrap_or_default();
        if database.chars().any(|c| c.is_control() || c.is_whitespace() || matches!(c, '?' | '@')) {
            let must = "a name without spaces, '?' and '@'";
            return Err(DefinitionError::Field { field: "database".into(), must });
        }
        let mut query = Vec::new();
        for (key, value) in self.object(QUERY)?.into_iter().chain(self.0) {
            query.push((key.clone(), scalar(&value).ok_or(DefinitionError::Nested(key))?));
        }
        query.sort();
        Ok(Uri { scheme, user, password, host, port, database, query })
    }

    /// The value of a field under any of its names; null counts as not there.
    fn take(&mut self, names: &[&str]) -> Result<Option<(String, Value)>, DefinitionError> {
        let mut found: Option<(String, Value)> = None;
        for name in names {
            match (self.0.shift_remove(*name), &found) {
                (None | Some(Value::Null), _) => {}
                (Some(_), Some((other, _))) => return Err(DefinitionError::Twice(other.clone(), (*name).to_owned())),
                (Some(value), None) => found = Some(((*name).to_owned(), value)),
            }
        }
        Ok(found)
    }

    fn text(&mut self, names: &[&str]) -> Result<Option<String>, DefinitionError> {
        match self.take(names)? {
            None => Ok(None),
            Some((_, Value::String(text))) => Ok(Some(text)),
            Some((field, _)) => Err(DefinitionError::Field { field, must: "a text" }),
        }
    }

    fn object(&mut self, names: &[&str]) -> Result<Map<String, Value>, DefinitionError> {
        match self.take(names)? {
            None => Ok(Map::new()),
            Some((_, Value::Object(object))) => Ok(object),
            Some((field, _)) => Err(DefinitionError::Field { field, must: "an object" }),
        }
    }

    /// A number, or a text that holds one.
    fn port(&mut self) -> Result<Option<u16>, DefinitionError> {
        let Some((field, value)) = self.take(PORT)? else { return Ok(None) };
        let port = scalar(&value).and_then(|text| text.parse().ok()).filter(|port| *port > 0);
        port.map(Some).ok_or(DefinitionError::Field { field, must: "a number from 1 to 65535" })
    }

    fn settings(&mut self) -> Result<Map<String, Value>, DefinitionError> {
        let mut settings = Map::new();
        for (name, kind) in SETTINGS {
            let Some((field, value)) = self.take(&[name])? else { continue };
            let (fits, must) = match kind {
                Kind::Bool => (value.is_boolean(), "true or false"),
                Kind::Number => (value.is_i64(), "a whole number"),
                Kind::Text => (value.is_string(), "a text"),
            };
            if !fits {
                return Err(DefinitionError::Field { field, must });
            }
            settings.insert(field, value);
        }
        Ok(settings)
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(is) => Some(is.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(value: &str) -> String {
        Definition::parse(value.as_bytes(), "fallback").expect(value).uri.expose()
    }

    fn error(value: &str) -> String {
        Definition::parse(value.as_bytes(), "fallback").expect_err(value).to_string()
    }

    #[test]
    fn objects_become_uris() {
        assert_eq!(
            uri(
                r#"{"name":"o","engine":"postgres","host":"db","user":"a@b","password":"p:/@%ü","database":"orders","sslmode":"require"}"#
            ),
            "postgresql+psycopg2://a%40b:p%3A%2F%40%25%C3%BC@db:5432/orders?sslmode=require"
        );
        assert_eq!(uri(r#"{"type":"ClickHouse","hostname":"::1","port":"9000"}"#), "clickhousedb://[::1]:9000");
        assert_eq!(
            uri(r#"{"driver":"mysql+pymysql","host":"h","db":"x","query":{"charset":"utf8mb4","n":3}}"#),
            "mysql+pymysql://h/x?charset=utf8mb4&n=3"
        );
        assert_eq!(
            uri(r#"{"engine":"trino","host":"h","username":"u","dbname":"hive/sales"}"#),
            "trino://u@h:8080/hive/sales"
        );
        assert_eq!(uri("  hive://h:10000/default\n"), "hive://h:10000/default");
        assert_eq!(uri(r#""hive://h:10000/default""#), "hive://h:10000/default");
        let definition = Definition::parse(
            br#"{"name":"n","uri":"mysql://h/x","extra":{"engine_params":{}},"expose_in_sqllab":false,"cache_timeout":60}"#,
            "fallback",
        )
        .expect("a definition");
        assert_eq!((definition.name.as_str(), definition.extra.len(), definition.settings.len()), ("n", 1, 2));
        assert_eq!(Definition::parse(b"mysql://h/x", "a/b").expect("a URI").name, "a/b");
    }

    #[test]
    fn errors_name_fields_and_never_values() {
        for (value, words) in [
            (r#"{"host": "hunter2", "#, "it ends too early at line 1"),
            ("hunter2", "neither JSON"),
            ("[1]", "neither an object"),
            ("\u{fffd}", "neither JSON"),
            (r#"{"engine":"hunter2","host":"h"}"#, "may be one of postgresql, mysql"),
            (r#"{"host":"h"}"#, "\"engine\" is missing"),
            (r#"{"engine":"mysql"}"#, "\"host\" is missing"),
            (r#"{"engine":"mysql","host":"h","port":"hunter2"}"#, "\"port\" must be"),
            (r#"{"engine":"mysql","host":"h/hunter2"}"#, "\"host\" must be"),
            (r#"{"engine":"mysql","host":"h","password":17}"#, "\"password\" must be a text"),
            (r#"{"engine":"mysql","host":"h","user":"hunter2","username":"b"}"#, "\"user\" and \"username\""),
            (r#"{"engine":"mysql","host":"h","tags":["hunter2"]}"#, "\"tags\" holds a list"),
            (r#"{"uri":"mysql://h/x","password":"hunter2"}"#, "beside a URI the field \"password\""),
            (r#"{"uri":"hunter2"}"#, "begins with no dialect"),
            (r#"{"engine":"mysql","host":"h","password":"XXXXXXXXXX"}"#, "shows instead"),
            (r#"{"uri":"mysql://h","extra":{"zktrail":{}}}"#, "extra.zktrail"),
            (r#"{"uri":"mysql://h","name":" "}"#, "\"name\" must be"),
            (r#"{"uri":"mysql://h","expose_in_sqllab":"hunter2"}"#, "true or false"),
        ] {
            let error = error(value);
            assert!(error.contains(words) && !error.contains("hunter2"), "{value}: {error}");
        }
        assert_eq!(Definition::parse(b"\xff", "x"), Err(DefinitionError::NoText));
    }
}
