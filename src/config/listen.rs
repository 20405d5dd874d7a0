use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;

/// Where a door is, or that it is shut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenAddr {
    Off,
    At(SocketAddr),
}

/// A text that is neither an address with a port nor `off`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no address to listen at: write ip:port, for example 127.0.0.1:9847 or [::1]:9847, or off")]
pub struct ListenError(String);

impl ListenAddr {
    /// The HTTP door where nothing else is said.
    pub const HTTP: Self = Self::At(SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9847));

    /// The PostgreSQL door where nothing else is said.
    pub const POSTGRES: Self = Self::At(SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 5847));

    /// The address, unless the door is shut.
    pub fn address(self) -> Option<SocketAddr> {
        match self {
            Self::Off => None,
            Self::At(address) => Some(address),
        }
    }

    /// Whether only this machine can reach it; a shut door nobody can reach.
    ///
    /// Off loopback, without credentials, only `/metrics`, `/healthz` and `/readyz` answer.
    pub fn is_loopback(self) -> bool {
        match self {
            Self::Off => true,
            Self::At(address) => address.ip().to_canonical().is_loopback(),
        }
    }
}

impl FromStr for ListenAddr {
    type Err = ListenError;

    fn from_str(text: &str) -> Result<Self, ListenError> {
        if text == "off" {
            return Ok(Self::Off);
        }
        let numeric = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
        let address = numeric.as_deref().unwrap_or(text).parse();
        address.map(Self::At).map_err(|_| ListenError(text.to_owned()))
    }
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::At(address) => address.fmt(f),
        }
    }
}
