use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use super::refuse;

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

    /// `Err` says why a request is not answered.
    fn judge(&self, path: &str, host: Option<&str>) -> Result<(), (StatusCode, String)> {
        if !self.bound.ip().is_loopback() {
            return match OPEN.contains(&path) {
                true => Ok(()),
                false => Err((
                    StatusCode::FORBIDDEN,
                    format!(
                        "{path} is answered on loopback only, as long as there are no credentials; \
                         this agent listens on {}",
                        self.bound
                    ),
                )),
            };
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

/// Settles who may ask what, before any handler runs.
pub(super) async fn check(State(hosts): State<Hosts>, request: Request, next: Next) -> Response {
    let host = match request.headers().get(header::HOST) {
        Some(value) => value.to_str().ok(),
        // HTTP/2 and absolute request lines carry it in the URI.
        None => request.uri().authority().map(|authority| authority.as_str()),
    };
    match hosts.judge(request.uri().path(), host) {
        Ok(()) => next.run(request).await,
        Err((status, error)) => refuse(status, &error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_answers_its_own_names_only() {
        let hosts = Hosts::new("127.0.0.1:9847".parse().unwrap(), ["zk-1".to_owned()]);
        for good in ["127.0.0.1:9847", "localhost", "LOCALHOST:1", "[::1]:9847", "zk-1:9847", "127.0.0.1"] {
            assert!(hosts.judge("/sql", Some(good)).is_ok(), "{good}");
        }
        for bad in
            ["evil.example", "evil.example:9847", "10.0.0.1", "localhost.evil.example", "", "127.0.0.1.evil.example"]
        {
            assert!(hosts.judge("/sql", Some(bad)).is_err(), "{bad}");
        }
        assert!(hosts.judge("/metrics", None).is_err());
    }

    #[test]
    fn elsewhere_only_the_open_doors_answer() {
        let hosts = Hosts::new("0.0.0.0:9847".parse().unwrap(), []);
        for open in OPEN {
            assert!(hosts.judge(open, Some("scraped.example:9847")).is_ok(), "{open}");
        }
        for shut in ["/", "/sql", "/snapshot", "/metrics/", "/anything"] {
            assert!(hosts.judge(shut, Some("127.0.0.1:9847")).is_err(), "{shut}");
        }
    }
}
