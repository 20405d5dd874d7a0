//! Superset's REST API, as far as database connections need it. Calls block; each is bounded by [`TIME_MAX`].

use std::time::Duration;

use serde_json::{Map, Value, json};
use ureq::http::Response;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};

use super::definition::{Definition, MARK};
use super::plan::{Existing, Mark};
use super::uri::Uri;
use crate::config::Secret;

/// Superset tries a connection before it stores it, which takes as long as the database lets it wait.
const TIME_MAX: Duration = Duration::from_secs(120);
const ANSWER_BYTES_MAX: u64 = 64 << 20;
/// Of a message of Superset's.
const MESSAGE_LETTERS_MAX: usize = 300;
const CONNECTIONS_PER_PAGE: usize = 100;
const CONNECTIONS_MAX: usize = 10_000;

/// Why Superset did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    #[error("Superset at {url} cannot be reached: {cause}. Is the address right, and does it run?")]
    Unreachable { url: String, cause: String },
    #[error("Superset at {url} refuses the login of {user}: check the user, the password and --provider")]
    Login { url: String, user: String },
    #[error("Superset lets {user} not do this ({what}): the user needs the permission `can write on Database`")]
    Forbidden { user: String, what: String },
    #[error("Superset wants another CSRF token than it gave ({what}): does a proxy drop its cookies?")]
    Csrf { what: String },
    #[error("{what} answers {status}, and not as Superset does: is {url} the address of Superset's own root?")]
    NotSuperset { url: String, what: String, status: u16 },
    #[error("Superset: {message} ({what}: {status})")]
    Refused { what: String, status: u16, message: String },
    #[error("Superset holds more than {CONNECTIONS_MAX} connections")]
    TooMany,
    #[error("the file of certificates holds none")]
    NoCertificate,
}

/// How to log in.
pub(super) struct Login {
    pub(super) url: String,
    pub(super) user: String,
    pub(super) password: Secret,
    /// `db` or `ldap`.
    pub(super) provider: String,
    /// Certificates to trust instead of the usual ones, as PEM.
    pub(super) authorities: Option<Vec<u8>>,
}

/// A session with Superset.
pub(super) struct Api {
    http: Agent,
    login: Login,
    tokens: Option<Tokens>,
}

struct Tokens {
    access: String,
    csrf: String,
    cookies: String,
}

type Answer = (u16, Value);

impl Api {
    pub(super) fn new(login: Login) -> Result<Self, ApiError> {
        let mut config =
            Agent::config_builder().http_status_as_error(false).max_redirects(0).timeout_global(Some(TIME_MAX));
        if let Some(pem) = &login.authorities {
            let certificates: Vec<Certificate<'static>> = parse_pem(pem)
                .filter_map(|item| match item {
                    Ok(PemItem::Certificate(certificate)) => Some(certificate),
                    _ => None,
                })
                .collect();
            if certificates.is_empty() {
                return Err(ApiError::NoCertificate);
            }
            config = config.tls_config(TlsConfig::builder().root_certs(RootCerts::from(certificates)).build());
        }
        Ok(Self { http: config.build().into(), login, tokens: None })
    }

    /// Every connection; those with a mark with their URI and settings.
    pub(super) fn connections(&mut self) -> Result<Vec<Existing>, ApiError> {
        let mut found: Vec<Existing> = Vec::new();
        for page in 0.. {
            let path = format!(
                "/api/v1/database/?q=(order_column:database_name,order_direction:asc,page:{page},page_size:{CONNECTIONS_PER_PAGE})"
            );
            let answer = self.ask("GET", &path, None)?;
            let rows = answer["result"].as_array().cloned().unwrap_or_default();
            let count = rows.len();
            for row in rows {
                found.push(Existing {
                    id: row["id"].as_i64().unwrap_or_default(),
                    name: row["database_name"].as_str().unwrap_or_default().to_owned(),
                    extra: extra(&row["extra"]),
                    uri: None,
                    settings: Map::new(),
                });
            }
            if count < CONNECTIONS_PER_PAGE {
                break;
            }
            if found.len() >= CONNECTIONS_MAX {
                return Err(ApiError::TooMany);
            }
        }
        // Changes between two pages may show one twice.
        found.sort_by_key(|one| one.id);
        found.dedup_by_key(|one| one.id);
        for one in found.iter_mut().filter(|one| Mark::of(&one.extra).is_some()) {
            let answer = self.ask("GET", &format!("/api/v1/database/{}/connection", one.id), None)?;
            if let Some(shown) = answer["result"].as_object() {
                one.uri = shown.get("sqlalchemy_uri").and_then(Value::as_str).and_then(|uri| Uri::parse(uri).ok());
                one.settings = shown.clone();
            }
        }
        Ok(found)
    }

    pub(super) fn create(&mut self, definition: &Definition, mark: &Mark) -> Result<(), ApiError> {
        self.send("POST", "/api/v1/database/", definition, mark)
    }

    pub(super) fn update(&mut self, id: i64, definition: &Definition, mark: &Mark) -> Result<(), ApiError> {
        self.send("PUT", &format!("/api/v1/database/{id}"), definition, mark)
    }

    pub(super) fn delete(&mut self, id: i64) -> Result<(), ApiError> {
        self.ask("DELETE", &format!("/api/v1/database/{id}"), None).map(|_| ())
    }

    /// Writes a whole connection. What Superset answers is told without the connection's secrets.
    fn send(&mut self, method: &'static str, path: &str, definition: &Definition, mark: &Mark) -> Result<(), ApiError> {
        let mut extra = definition.extra.clone();
        extra.insert(MARK.to_owned(), mark.to_json());
        let mut body = definition.settings.clone();
        body.insert("database_name".to_owned(), definition.name.clone().into());
        body.insert("sqlalchemy_uri".to_owned(), definition.uri.expose().into());
        body.insert("extra".to_owned(), Value::Object(extra).to_string().into());
        body.insert("configuration_method".to_owned(), "sqlalchemy_form".into());
        // The form in Superset then says that it is kept from elsewhere.
        body.insert("is_managed_externally".to_owned(), true.into());
        match self.ask(method, path, Some(&Value::Object(body))) {
            Ok(_) => Ok(()),
            Err(ApiError::Refused { what, status, message }) => {
                Err(ApiError::Refused { what, status, message: shortened(&scrubbed(&message, &definition.secrets())) })
            }
            Err(error) => Err(error),
        }
    }

    /// Asks as one who is logged in; logs in anew where the session has ended.
    fn ask(&mut self, method: &'static str, path: &str, body: Option<&Value>) -> Result<Value, ApiError> {
        let what = format!("{method} {}", path.split('?').next().unwrap_or(path));
        let mut is_fresh = false;
        loop {
            let tokens = match self.tokens.take() {
                Some(tokens) => tokens,
                None => {
                    is_fresh = true;
                    self.log_in()?
                }
            };
            let (status, answer) = self.call(method, path, body, Some(&tokens))?;
            if status == 401 && !is_fresh {
                continue;
            }
            self.tokens = Some(tokens);
            return match status {
                200..=299 => Ok(answer),
                401 | 403 => Err(ApiError::Forbidden { user: self.login.user.clone(), what }),
                400 if message(&answer).contains("CSRF") => Err(ApiError::Csrf { what }),
                _ if !answer.is_object() => Err(ApiError::NotSuperset { url: self.login.url.clone(), what, status }),
                _ => Err(ApiError::Refused { what, status, message: message(&answer) }),
            };
        }
    }

    fn log_in(&self) -> Result<Tokens, ApiError> {
        let not_superset =
            |what: &str, status| ApiError::NotSuperset { url: self.login.url.clone(), what: what.to_owned(), status };
        let body = json!({
            "username": self.login.user,
            "password": self.login.password.expose(),
            "provider": self.login.provider,
            "refresh": false,
        });
        let what = "POST /api/v1/security/login";
        let access = match self.call("POST", "/api/v1/security/login", Some(&body), None)? {
            (401, _) => {
                return Err(ApiError::Login { url: self.login.url.clone(), user: self.login.user.clone() });
            }
            (200, answer) => {
                answer["access_token"].as_str().map(str::to_owned).ok_or_else(|| not_superset(what, 200))?
            }
            (status, answer) if answer.is_object() => {
                return Err(ApiError::Refused { what: what.to_owned(), status, message: shortened(&message(&answer)) });
            }
            (status, _) => return Err(not_superset(what, status)),
        };
        let mut tokens = Tokens { access, csrf: String::new(), cookies: String::new() };
        let what = "GET /api/v1/security/csrf_token/";
        let mut response = self.request("GET", "/api/v1/security/csrf_token/", None, Some(&tokens))?;
        tokens.cookies = cookies(&response);
        let (status, answer) = self.answer(&mut response)?;
        tokens.csrf = answer["result"].as_str().map(str::to_owned).ok_or_else(|| not_superset(what, status))?;
        Ok(tokens)
    }

    fn call(
        &self,
        method: &'static str,
        path: &str,
        body: Option<&Value>,
        tokens: Option<&Tokens>,
    ) -> Result<Answer, ApiError> {
        let mut response = self.request(method, path, body, tokens)?;
        self.answer(&mut response)
    }

    fn request(
        &self,
        method: &'static str,
        path: &str,
        body: Option<&Value>,
        tokens: Option<&Tokens>,
    ) -> Result<Response<Body>, ApiError> {
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.login.url));
        request = request.header("Accept", "application/json").header("Referer", &self.login.url);
        if let Some(tokens) = tokens {
            request = request.header("Authorization", format!("Bearer {}", tokens.access));
            if !tokens.csrf.is_empty() {
                request = request.header("X-CSRFToken", &tokens.csrf);
            }
            if !tokens.cookies.is_empty() {
                request = request.header("Cookie", &tokens.cookies);
            }
        }
        let answered = match body {
            Some(body) => {
                let request = request.header("Content-Type", "application/json").body(body.to_string());
                request.map_err(ureq::Error::from).and_then(|request| self.http.run(request))
            }
            None => request.body(()).map_err(ureq::Error::from).and_then(|request| self.http.run(request)),
        };
        answered.map_err(|error| self.unreachable(&error))
    }

    /// Status and JSON; null where the body is none.
    fn answer(&self, response: &mut Response<Body>) -> Result<Answer, ApiError> {
        let status = response.status().as_u16();
        let text = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string();
        let text = text.map_err(|error| self.unreachable(&error))?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
    }

    fn unreachable(&self, error: &ureq::Error) -> ApiError {
        ApiError::Unreachable { url: self.login.url.clone(), cause: error.to_string() }
    }
}

/// The cookies that an answer sets, as a request gives them back.
fn cookies(response: &Response<Body>) -> String {
    let set = response.headers().get_all("set-cookie").iter().filter_map(|value| value.to_str().ok());
    set.filter_map(|cookie| cookie.split(';').next()).map(str::trim).collect::<Vec<_>>().join("; ")
}

/// Superset keeps it as a text.
fn extra(value: &Value) -> Map<String, Value> {
    let object = value.as_str().and_then(|text| serde_json::from_str(text).ok());
    match object {
        Some(Value::Object(object)) => object,
        _ => Map::new(),
    }
}

/// What an answer says, in one of the forms that Superset has for it.
fn message(answer: &Value) -> String {
    let errors = answer["errors"].as_array().into_iter().flatten();
    let mut texts: Vec<String> = errors.filter_map(|error| error["message"].as_str()).map(str::to_owned).collect();
    match &answer["message"] {
        Value::String(text) => texts.push(text.clone()),
        Value::Object(fields) => texts.extend(fields.iter().map(|(field, said)| match said {
            Value::Array(said) => {
                format!("{field}: {}", said.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "))
            }
            said => format!("{field}: {said}"),
        })),
        _ => {}
    }
    if texts.is_empty() { "it gives no reason".to_owned() } else { texts.join("; ") }
}

fn scrubbed(message: &str, secrets: &[String]) -> String {
    secrets.iter().fold(message.to_owned(), |text, secret| text.replace(secret, "***"))
}

/// In one line, without the wrapping of SQLAlchemy.
fn shortened(message: &str) -> String {
    let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = line.replace("(builtins.NoneType) None [SQL: ", "");
    let line = line.split(" (Background on this error").next().unwrap_or(&line);
    match line.char_indices().nth(MESSAGE_LETTERS_MAX) {
        Some((at, _)) => format!("{}…", line.get(..at).unwrap_or(line)),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_every_form_without_secrets() {
        let answer = json!({ "errors": [{ "message": "(builtins.NoneType) None\n[SQL: (psycopg2.OperationalError) password \"p@ss/1\" or p%40ss%2F1 is wrong\n\n(Background on this error at: x)]" }] });
        let uri = Uri::parse("postgresql://u:p%40ss%2F1@h/d").expect("a URI");
        let text = shortened(&scrubbed(&message(&answer), &uri.secrets()));
        assert_eq!(text, "(psycopg2.OperationalError) password \"***\" or *** is wrong");
        assert_eq!(
            message(&json!({ "message": { "database_name": ["taken", "really"] } })),
            "database_name: taken really"
        );
        assert_eq!(message(&json!({ "message": "no" })), "no");
        assert_eq!(message(&Value::Null), "it gives no reason");
        assert_eq!(shortened(&"x".repeat(400)).chars().count(), MESSAGE_LETTERS_MAX + 1);
    }
}
