//! Which doors may be opened, where, and what is asked of those who come: decided once, before anything is served.

use std::net::SocketAddr;

/// Whether clear text is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsRequired {
    /// On loopback it is, elsewhere it is not.
    #[default]
    OffLoopback,
    /// Nowhere.
    Everywhere,
    /// Everywhere: something in front of the agent speaks TLS, or the network is trusted.
    Nowhere,
}

impl TlsRequired {
    /// Whether a client of a door at this address must speak TLS.
    pub fn at(self, address: SocketAddr) -> bool {
        match self {
            Self::OffLoopback => !is_loopback(address),
            Self::Everywhere => true,
            Self::Nowhere => false,
        }
    }
}

/// What the doors are to be.
#[derive(Clone, Copy, Debug, Default)]
pub struct Doors {
    pub http: Option<SocketAddr>,
    pub postgres: Option<SocketAddr>,
    pub users_listed: bool,
    pub certificate: bool,
    pub tls_required: TlsRequired,
}

/// Why the doors stay shut.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DoorsError {
    #[error(
        "PostgreSQL at {0} would be open to the network without a password: list users (zktrail user add NAME), \
         or listen on loopback (--postgres 127.0.0.1:5847)"
    )]
    PostgresWithoutUsers(SocketAddr),
    #[error(
        "{door} at {address} would take passwords in clear text: give a certificate (--tls-cert, --tls-key), or, where \
         something in front of the agent speaks TLS, --tls-required=false"
    )]
    ClearText { door: &'static str, address: SocketAddr },
    #[error("TLS is required, but there is no certificate: give --tls-cert and --tls-key")]
    NoCertificate,
}

impl Doors {
    /// Off loopback PostgreSQL needs users; HTTP without any answers `/metrics`, `/healthz` and `/readyz` alone.
    /// Passwords travel off loopback over TLS, unless the operator says otherwise.
    pub fn judge(&self) -> Result<(), DoorsError> {
        if self.tls_required == TlsRequired::Everywhere && !self.certificate {
            return Err(DoorsError::NoCertificate);
        }
        if let Some(address) = self.postgres.filter(|address| !is_loopback(*address) && !self.users_listed) {
            return Err(DoorsError::PostgresWithoutUsers(address));
        }
        for (door, address) in [("HTTP", self.http), ("PostgreSQL", self.postgres)] {
            let Some(address) = address else { continue };
            if self.users_listed && !self.certificate && self.tls_required.at(address) {
                return Err(DoorsError::ClearText { door, address });
            }
        }
        Ok(())
    }
}

fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doors(http: &str, postgres: &str, users_listed: bool, certificate: bool, tls_required: TlsRequired) -> Doors {
        let address = |text: &str| text.parse().ok();
        Doors { http: address(http), postgres: address(postgres), users_listed, certificate, tls_required }
    }

    #[test]
    fn what_would_be_open_to_the_network_stays_shut() {
        use TlsRequired::{Everywhere, Nowhere, OffLoopback};
        let (here, there) = ("127.0.0.1:1", "10.0.0.1:1");
        for (http, postgres, users, certificate, required, refused) in [
            (here, here, false, false, OffLoopback, None),
            (here, here, true, false, OffLoopback, None),
            (there, "off", false, false, OffLoopback, None),
            (there, "off", true, false, OffLoopback, Some("HTTP at 10.0.0.1:1 would take passwords in clear text")),
            (there, "off", true, false, Nowhere, None),
            (there, there, true, true, OffLoopback, None),
            (here, there, false, true, OffLoopback, Some("without a password")),
            (here, there, false, true, Nowhere, Some("without a password")),
            (here, there, true, false, OffLoopback, Some("PostgreSQL at 10.0.0.1:1 would take passwords")),
            (here, here, false, false, Everywhere, Some("no certificate")),
            (here, here, true, true, Everywhere, None),
        ] {
            let judged = doors(http, postgres, users, certificate, required).judge();
            match (judged, refused) {
                (Ok(()), None) => {}
                (Err(error), Some(words)) => assert!(error.to_string().contains(words), "{error}"),
                (judged, refused) => panic!("{http} {postgres} {users} {certificate}: {judged:?}, not {refused:?}"),
            }
        }
    }
}
