use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq;

use super::listener::{DOOR_HEADER, Peer};
use super::{AppState, refuse};
use crate::query::Access;
use crate::serve::access_log::LoginFailure;
use crate::serve::users::{LoginError, Users};
use crate::serve::{Caller, Door};

/// What opens the door.
#[derive(Clone, Default)]
pub struct Credentials {
    pub users: Users,
    /// The history's owner shows it, from this machine, and may do everything. Empty: nobody can.
    pub token: Arc<str>,
    /// The file that holds the token; named to those on this machine who come without credentials.
    pub door_file: Option<PathBuf>,
    /// Whether nothing but the token opens: the door of local commands beside one that speaks TLS.
    pub token_only: bool,
}

impl Credentials {
    fn required(&self) -> bool {
        self.token_only || self.users.credentials_required()
    }

    fn is_token(&self, given: &str) -> bool {
        !self.token.is_empty() && self.token.as_bytes().ct_eq(given.as_bytes()).into()
    }
}

/// Which Host headers are ours, and what may be asked at all.
#[derive(Clone, Debug)]
pub struct Hosts {
    bound: SocketAddr,
    names: Arc<[String]>,
}

/// What may be asked without credentials, also off loopback.
const OPEN: [&str; 3] = ["/metrics", "/healthz", "/readyz"];

impl Hosts {
    /// `bound` is the address listened on; `names` are further names of this machine that the operator lists.
    pub fn new(bound: SocketAddr, names: impl IntoIterator<Item = String>) -> Self {
        Self { bound, names: names.into_iter().map(|name| name.to_ascii_lowercase()).collect() }
    }

    /// The address listened on.
    pub(super) fn bound(&self) -> SocketAddr {
        self.bound
    }

    fn knows(&self, host: &str) -> bool {
        let name = without_port(host).trim_end_matches('.').to_ascii_lowercase();
        if name == "localhost" || self.names.contains(&name) {
            return true;
        }
        match name.parse::<IpAddr>() {
            Ok(address) => address.is_loopback() || address == self.bound.ip(),
            Err(_) => false,
        }
    }

    fn is_loopback(&self) -> bool {
        self.bound.ip().to_canonical().is_loopback()
    }

    /// `Err` says why a request is not answered, whoever sent it.
    ///
    /// Off loopback any Host will do: an agent cannot know all names under which a network reaches it, and there it is
    /// credentials that open, which a browser does not send along to a page of another name.
    fn judge(&self, host: Option<&str>) -> Result<(), (StatusCode, String)> {
        if !self.is_loopback() {
            return Ok(());
        }
        match host {
            Some(host) if self.knows(host) => Ok(()),
            Some(host) => Err((
                StatusCode::MISDIRECTED_REQUEST,
                format!("the Host header {host:?} is no name of this agent; ask http://{}", self.bound),
            )),
            None => Err((StatusCode::BAD_REQUEST, "the request has no Host header".to_owned())),
        }
    }
}

/// `[::1]:9847`, `localhost:9847` and `127.0.0.1` without their ports and brackets.
fn without_port(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or(rest, |(address, _)| address),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    }
}

/// Whether someone at this address is on the machine that is bound to `bound`.
pub(super) fn is_this_machine(peer: SocketAddr, bound: SocketAddr) -> bool {
    peer.ip().to_canonical().is_loopback() || peer.ip().to_canonical() == bound.ip().to_canonical()
}

/// What a request shows of who sent it.
#[derive(PartialEq, Eq)]
enum Shown {
    Nothing,
    Token(String),
    Password { name: String, password: String },
    Nonsense,
}

impl Shown {
    fn read(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let (value, more) = (values.next(), values.next());
        let Some(value) = value else { return Self::Nothing };
        let Some((scheme, rest)) = value.to_str().ok().and_then(|text| text.split_once(' ')).filter(|_| more.is_none())
        else {
            return Self::Nonsense;
        };
        if scheme.eq_ignore_ascii_case("bearer") {
            return Self::Token(rest.trim().to_owned());
        }
        let pair = || {
            let decoded = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
            let (name, password) = decoded.split_once(':')?;
            Some(Self::Password { name: name.to_owned(), password: password.to_owned() })
        };
        match scheme.eq_ignore_ascii_case("basic") {
            true => pair().unwrap_or(Self::Nonsense),
            false => Self::Nonsense,
        }
    }
}

/// Settles who may ask what, before any handler runs. Handlers find the [`Caller`] among the request's extensions.
pub(super) async fn check(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    let host = match request.headers().get(header::HOST) {
        Some(value) => value.to_str().ok(),
        // HTTP/2 and absolute request lines carry it in the URI.
        None => request.uri().authority().map(|authority| authority.as_str()),
    };
    if let Err((status, error)) = state.hosts.judge(host) {
        return refuse(status, &error);
    }
    if OPEN.contains(&request.uri().path()) && !state.credentials.token_only {
        return next.run(request).await;
    }
    // Without an address nobody is on this machine.
    let peer = request.extensions().get::<ConnectInfo<Peer>>().map(|ConnectInfo(Peer(address))| *address);
    if is_cross_site(request.headers()) || is_cross_site_form(&request) {
        return refuse(StatusCode::FORBIDDEN, "a page of another site may not ask this agent");
    }
    match enter(&state, peer, Shown::read(request.headers()), request.uri().path()).await {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(response) => *response,
    }
}

/// A form of another site's page is a navigation too, but one that sends something.
fn is_cross_site_form(request: &Request) -> bool {
    request.headers().get("sec-fetch-site").is_some_and(|site| site == "cross-site" || site == "same-site")
        && request.method() != axum::http::Method::GET
}

/// A browser says so of what another site's page sends, also with the password that the user has typed here. Someone
/// who follows a link is welcome.
fn is_cross_site(headers: &HeaderMap) -> bool {
    let is_other = headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site" || site == "same-site");
    is_other && headers.get("sec-fetch-mode").is_none_or(|mode| mode != "navigate")
}

async fn enter(state: &AppState, peer: Option<SocketAddr>, shown: Shown, path: &str) -> Result<Caller, Box<Response>> {
    let (credentials, bound) = (&state.credentials, state.hosts.bound());
    let is_local = peer.is_some_and(|peer| is_this_machine(peer, bound));
    let address = peer.map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.ip().to_canonical());
    let caller = |access, is_owner| Caller { door: Door::Http, address, access, is_owner };
    if let Shown::Token(token) = &shown
        && is_local
        && credentials.is_token(token)
    {
        return Ok(caller(Access::full(), true));
    }
    if !credentials.required() {
        if state.hosts.is_loopback() {
            return Ok(caller(Access::full(), false));
        }
        let error = format!(
            "{path} is answered on loopback only, as long as no users are listed (zktrail user add NAME); this agent \
             listens on {bound}"
        );
        return Err(Box::new(with_door(refuse(StatusCode::FORBIDDEN, &error), credentials, is_local)));
    }
    let denied = |error: &str| Box::new(unauthorised(error, credentials, is_local));
    match shown {
        Shown::Nothing => Err(denied(match credentials.token_only {
            true => "this door is for commands on this machine, with the token from the history's folder",
            false => "this agent wants a name and a password (HTTP Basic)",
        })),
        Shown::Password { name, password } if !credentials.token_only => {
            match credentials.users.prove(&name, &password, address).await {
                Ok(access) => Ok(caller(access, false)),
                Err(LoginError::Wrong) => {
                    state.access_log.login_failed(Door::Http, address, &name, LoginFailure::Wrong);
                    Err(denied("the name or the password is wrong"))
                }
                Err(LoginError::TooMany(error)) => {
                    state.access_log.login_failed(Door::Http, address, &name, LoginFailure::TooMany);
                    let mut response = refuse(StatusCode::TOO_MANY_REQUESTS, &error.to_string());
                    let seconds = error.retry_after.as_secs().max(1);
                    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
                    Err(Box::new(response))
                }
            }
        }
        Shown::Token(_) | Shown::Password { .. } | Shown::Nonsense => {
            state.access_log.login_failed(Door::Http, address, "", LoginFailure::Wrong);
            Err(denied("these credentials do not open: a name and a password (HTTP Basic) do"))
        }
    }
}

fn unauthorised(error: &str, credentials: &Credentials, is_local: bool) -> Response {
    let mut response = refuse(StatusCode::UNAUTHORIZED, error);
    let basic = HeaderValue::from_static("Basic realm=\"zktrail\", charset=\"UTF-8\"");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, basic);
    with_door(response, credentials, is_local)
}

/// Tells commands on this machine where the token is that opens.
fn with_door(mut response: Response, credentials: &Credentials, is_local: bool) -> Response {
    let file = credentials.door_file.as_ref().filter(|_| is_local).and_then(|path| path.to_str());
    if let Some(file) = file.and_then(|file| HeaderValue::from_str(file).ok()) {
        response.headers_mut().insert(DOOR_HEADER, file);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_answers_its_own_names_only() {
        let hosts = Hosts::new("127.0.0.1:9847".parse().unwrap(), ["zk-1".to_owned()]);
        for good in ["127.0.0.1:9847", "localhost", "LOCALHOST:1", "[::1]:9847", "zk-1:9847", "127.0.0.1"] {
            assert!(hosts.judge(Some(good)).is_ok(), "{good}");
        }
        for bad in
            ["evil.example", "evil.example:9847", "10.0.0.1", "localhost.evil.example", "", "127.0.0.1.evil.example"]
        {
            assert!(hosts.judge(Some(bad)).is_err(), "{bad}");
        }
        assert!(hosts.judge(None).is_err());
    }

    #[test]
    fn elsewhere_any_name_will_do() {
        let hosts = Hosts::new("0.0.0.0:9847".parse().unwrap(), []);
        assert!(hosts.judge(Some("scraped.example:9847")).is_ok() && hosts.judge(None).is_ok());
    }

    #[test]
    fn reads_what_is_shown() {
        let shown = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
            Shown::read(&headers)
        };
        let is_bob = |shown| shown == Shown::Password { name: "bob".to_owned(), password: "a:b".to_owned() };
        assert!(is_bob(shown("Basic Ym9iOmE6Yg==")) && is_bob(shown("basic  Ym9iOmE6Yg== ")));
        assert!(shown("Bearer abc") == Shown::Token("abc".to_owned()));
        for nonsense in ["Basic", "Basic %%%", "Basic /w==", "Basic Ym9i", "Digest a", ""] {
            assert!(shown(nonsense) == Shown::Nonsense, "{nonsense}");
        }
        assert!(Shown::read(&HeaderMap::new()) == Shown::Nothing);
        let mut twice = HeaderMap::new();
        twice.append(header::AUTHORIZATION, HeaderValue::from_static("Basic Ym9iOmE6Yg=="));
        twice.append(header::AUTHORIZATION, HeaderValue::from_static("Bearer abc"));
        assert!(Shown::read(&twice) == Shown::Nonsense);
    }
}
