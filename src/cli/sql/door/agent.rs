//! A running agent, and what opens its door: nothing, a user's password, or the token in the history's folder.

use std::io::IsTerminal;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ureq::http::StatusCode;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use crate::agent::control::read_door;
use crate::config::Secret;
use crate::serve::http::DOOR_HEADER;

/// Whom a person names to the agent, and whom they trust to be it.
#[derive(Debug, Default, clap::Args)]
pub(in crate::cli) struct AgentLogin {
    /// The user's name, where the agent wants one; the password is in the environment's ZKTRAIL_PASSWORD, or asked for
    #[arg(long, value_name = "NAME", env = "ZKTRAIL_USER", conflicts_with = "data_dir")]
    user: Option<String>,

    /// The certificate (PEM) that signs the agent's own, where it is not one that everybody trusts
    #[arg(long, value_name = "FILE", env = "ZKTRAIL_CA", conflicts_with = "data_dir")]
    ca: Option<PathBuf>,
}

/// Where an agent answers, and how.
#[derive(Clone)]
pub(super) struct Agent {
    pub(super) url: String,
    authorization: Option<Secret>,
    roots: Option<RootCerts>,
    /// The file that the token was read from: a new agent of the same folder has another token.
    door_file: Option<PathBuf>,
}

/// Why there is no agent to ask.
pub(super) enum NotFound {
    /// Nobody answers.
    Silent(ureq::Error),
    /// Somebody does, but not to us.
    Shut(anyhow::Error),
}

impl Agent {
    /// Knocks at `url`. Where the agent wants to know who it is, and nobody is named, the token in the history's folder
    /// is shown, if this user may read it: the agent tells commands on its own machine where it is.
    pub(super) fn find(url: String, login: &AgentLogin) -> Result<Self, NotFound> {
        let roots = login.ca.as_deref().map(roots).transpose().map_err(NotFound::Shut)?;
        let mut agent = Self { url, authorization: None, roots, door_file: None };
        if let Some(user) = &login.user {
            agent.authorization = Some(basic(user, &agent.url).map_err(NotFound::Shut)?);
        }
        let response = match agent.knock() {
            Err(error) if is_of_certificate(&error) => {
                return Err(NotFound::Shut(anyhow!(
                    "the certificate of {} is not trusted ({error}): --ca FILE names the one that signed it",
                    agent.url
                )));
            }
            knocked => knocked.map_err(NotFound::Silent)?,
        };
        let (status, url) = (response.status(), agent.url.as_str());
        let file = response.headers().get(DOOR_HEADER).and_then(|file| file.to_str().ok()).map(PathBuf::from);
        match (status, login.user.as_deref()) {
            (StatusCode::UNAUTHORIZED | StatusCode::TOO_MANY_REQUESTS, Some(user)) => {
                let reason = super::reason(response.into_body()).unwrap_or_else(|| status.to_string());
                Err(NotFound::Shut(anyhow!("the agent at {url} does not let the user {user} in: {reason}")))
            }
            // It wants a name, or TLS; both are spared with the folder's token.
            (StatusCode::UNAUTHORIZED | StatusCode::BAD_REQUEST, None) => {
                if let Some(owned) = file.and_then(|file| agent.with_token(file)) {
                    return Ok(owned);
                }
                let what = match status {
                    StatusCode::UNAUTHORIZED => "wants a name and a password: --user NAME",
                    _ => "speaks TLS: --agent https://…, and --user NAME where it wants one",
                };
                Err(NotFound::Shut(anyhow!("the agent at {url} {what}")))
            }
            // It listens to the network and has no users: the folder's token alone opens it.
            (StatusCode::FORBIDDEN, None) => Ok(file.and_then(|file| agent.with_token(file)).unwrap_or(agent)),
            (StatusCode::BAD_REQUEST, Some(_)) => {
                Err(NotFound::Shut(anyhow!("the agent at {url} speaks TLS: --agent https://…")))
            }
            _ => Ok(agent),
        }
    }

    fn knock(&self) -> Result<ureq::http::Response<ureq::Body>, ureq::Error> {
        let request = self.http(None).get(format!("{}/", self.url));
        match &self.authorization {
            Some(secret) => request.header("Authorization", secret.expose()).call(),
            None => request.call(),
        }
    }

    /// The token is shown to nobody but the agent that the file names.
    fn with_token(&self, file: PathBuf) -> Option<Self> {
        let door = read_door(file.parent()?).ok()??;
        let authorization = Some(Secret::new(format!("Bearer {}", door.token)));
        let agent = Self { url: format!("http://{}", door.http), authorization, roots: None, door_file: Some(file) };
        let is_open = agent.knock().is_ok_and(|response| response.status().is_success());
        is_open.then_some(agent)
    }

    /// The agent that has the folder now, where it is another one than before.
    pub(super) fn anew(&self) -> Option<Self> {
        let anew = self.with_token(self.door_file.clone()?)?;
        let secret = |agent: &Self| agent.authorization.as_ref().map(|secret| secret.expose().to_owned());
        (secret(&anew) != secret(self)).then_some(anew)
    }

    /// A client of its own; an answer that takes longer than `patience` is given up.
    pub(super) fn http(&self, patience: Option<Duration>) -> ureq::Agent {
        let mut tls = TlsConfig::builder();
        if let Some(roots) = &self.roots {
            tls = tls.root_certs(roots.clone());
        }
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            // The agent is on this machine or on one that was named: never behind somebody's proxy.
            .proxy(None)
            // A name and a password are for this agent and for no other.
            .max_redirects(0)
            .timeout_connect(Some(Duration::from_secs(5)))
            .timeout_global(patience)
            .tls_config(tls.build())
            .build();
        ureq::Agent::new_with_config(config)
    }

    pub(super) fn post(&self, http: &ureq::Agent, path: &str) -> ureq::RequestBuilder<ureq::typestate::WithBody> {
        let request = http.post(format!("{}{path}", self.url));
        match &self.authorization {
            Some(secret) => request.header("Authorization", secret.expose()),
            None => request,
        }
    }
}

fn roots(path: &Path) -> anyhow::Result<RootCerts> {
    let pem = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let certificates: Vec<Certificate<'static>> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        bail!("{} holds no certificate: it should be PEM", path.display());
    }
    Ok(RootCerts::new_with_certs(&certificates))
}

fn is_of_certificate(error: &ureq::Error) -> bool {
    use tokio_rustls::rustls::Error;
    match error {
        ureq::Error::Rustls(_) => true,
        ureq::Error::Io(error) => error.get_ref().is_some_and(|inner| inner.is::<Error>()),
        _ => false,
    }
}

/// The header of HTTP Basic.
fn basic(user: &str, url: &str) -> anyhow::Result<Secret> {
    let password = match std::env::var("ZKTRAIL_PASSWORD") {
        Ok(password) => password,
        Err(_) if std::io::stdin().is_terminal() => {
            rpassword::prompt_password(format!("Password of {user}: ")).context("cannot ask for the password")?
        }
        Err(_) => bail!("the password of {user} is asked on a terminal; elsewhere put it into ZKTRAIL_PASSWORD"),
    };
    if is_clear_text_to_the_network(url) {
        eprintln!("zktrail: the password goes to {url} in clear text: https:// would hide it");
    }
    Ok(Secret::new(format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))))
}

fn is_clear_text_to_the_network(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://") else { return false };
    let host = rest.split('/').next().unwrap_or_default();
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(host, _)| host),
    };
    host != "localhost" && !host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_needs_no_warning() {
        for (url, is_clear) in [
            ("http://127.0.0.1:9847", false),
            ("http://localhost:9847/", false),
            ("http://[::1]:9847", false),
            ("https://zk.example:9847", false),
            ("http://zk.example:9847", true),
            ("http://10.0.0.1", true),
        ] {
            assert_eq!(is_clear_text_to_the_network(url), is_clear, "{url}");
        }
    }
}
