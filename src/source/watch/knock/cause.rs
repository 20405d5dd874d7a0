//! What a failed connection means, in words that say what to do.

use std::io;

use chrono::{DateTime, Utc};
use rustls_pki_types::{ServerName, UnixTime};
use tokio_rustls::rustls::{AlertDescription, CertificateError, Error as TlsError};

use crate::source::watch::credentials::Tls;

/// Of a certificate's names, so many are shown, and so much of each.
const NAMES_MAX: usize = 10;
const NAME_LETTERS_MAX: usize = 100;

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Cause {
    pub(in super::super) kind: Kind,
    pub(in super::super) text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Kind {
    /// No connection at all.
    Unreachable,
    /// One of both sides said no.
    Refused,
    /// Whatever answers does not speak TLS.
    NotTls,
    /// It closed the connection without a word.
    Silent,
}

impl Cause {
    pub(super) fn unreachable(error: io::Error) -> Self {
        Self { kind: Kind::Unreachable, text: error.to_string() }
    }

    pub(super) fn refused(text: String) -> Self {
        Self { kind: Kind::Refused, text }
    }
}

/// What TLS has to say of an error, if it is one of TLS.
pub(super) fn tls_error(error: &io::Error) -> Option<&TlsError> {
    error.get_ref()?.downcast_ref()
}

/// Of an error before the handshake was done.
pub(super) fn of_handshake(error: &io::Error, tls: &Tls) -> Cause {
    match tls_error(error) {
        Some(TlsError::InvalidCertificate(error)) => Cause::refused(of_certificate(error, tls)),
        Some(TlsError::InvalidMessage(_)) => not_tls("it answers the TLS handshake with something else"),
        Some(error) => of_tls(error, tls),
        None if is_end(error) => not_tls("it closed the connection in the TLS handshake"),
        None => Cause::unreachable(io::Error::new(error.kind(), error.to_string())),
    }
}

/// Of an error after the handshake was done on our side, before anything was answered.
pub(super) fn of_answer(error: &io::Error, tls: Option<&Tls>) -> Cause {
    match (tls_error(error), tls) {
        (Some(error), Some(tls)) => of_tls(error, tls),
        _ if is_end(error) => no_answer(tls),
        _ => Cause { kind: Kind::Silent, text: error.to_string() },
    }
}

/// Of a connection that ended without an answer.
pub(super) fn no_answer(tls: Option<&Tls>) -> Cause {
    let text = match tls {
        Some(tls) if tls.certificate().is_none() => {
            "it closed the connection after the TLS handshake: does it want a client certificate (zk_cert and zk_key)?"
        }
        Some(_) => "it closed the connection after the TLS handshake, without an answer",
        None => "it closed the connection without an answer",
    };
    Cause { kind: Kind::Silent, text: text.to_owned() }
}

fn not_tls(what: &str) -> Cause {
    let text = format!("{what}: is this its secureClientPort?");
    Cause { kind: Kind::NotTls, text }
}

fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe)
}

fn of_tls(error: &TlsError, tls: &Tls) -> Cause {
    match error {
        TlsError::AlertReceived(alert) => Cause::refused(of_alert(*alert, tls)),
        TlsError::PeerIncompatible(_) => Cause::refused(format!("no TLS version or cipher is common to both: {error}")),
        error => Cause::refused(format!("TLS failed: {error}")),
    }
}

/// What is wrong with the server's certificate.
fn of_certificate(error: &CertificateError, tls: &Tls) -> String {
    let ca = tls.ca().display();
    match error {
        CertificateError::UnknownIssuer => {
            format!("no authority in {ca} (zk_ca) has signed its certificate: give the one that did")
        }
        CertificateError::ExpiredContext { not_after, .. } => format!(
            "its certificate expired on {}: the server needs a newer one, or this machine's clock is wrong",
            time(*not_after)
        ),
        CertificateError::Expired => "its certificate has expired: the server needs a newer one".to_owned(),
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("its certificate is valid only from {}: is this machine's clock right?", time(*not_before))
        }
        CertificateError::NotValidYet => "its certificate is not valid yet: is this machine's clock right?".to_owned(),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names = match presented.as_slice() {
                [] => "no host at all (it has no subject alternative names)".to_owned(),
                presented => presented.iter().take(NAMES_MAX).map(|name| shown(name)).collect::<Vec<_>>().join(", "),
            };
            format!(
                "its certificate names {names}, not {}: name the server as its certificate does, or switch \
                 zk_hostname_check off",
                host(expected)
            )
        }
        CertificateError::NotValidForName => {
            "its certificate does not name this host: name the server as its certificate does, or switch \
             zk_hostname_check off"
                .to_owned()
        }
        CertificateError::Revoked => format!("its certificate is revoked by a list in {ca} (zk_ca)"),
        CertificateError::UnknownRevocationStatus => {
            format!(
                "the revocation lists in {ca} (zk_ca) do not cover its certificate: add its authority's, or remove all"
            )
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "its certificate is not one for servers (extended key usage serverAuth)".to_owned()
        }
        error => format!("its certificate is not acceptable: {error}"),
    }
}

/// Why the server will not have us.
fn of_alert(alert: AlertDescription, tls: &Tls) -> String {
    use AlertDescription as Alert;
    let said = format!("TLS alert {}", name(alert));
    let own = tls.certificate().map(|path| path.display().to_string());
    match (alert, own) {
        (Alert::CertificateRequired, _) | (Alert::BadCertificate | Alert::HandshakeFailure, None) => {
            format!("it wants a client certificate ({said}): give zk_cert and zk_key")
        }
        (Alert::ProtocolVersion | Alert::InsufficientSecurity, _) => {
            format!("no TLS version or cipher is common to both ({said})")
        }
        (
            Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied,
            Some(own),
        ) => match tls.not_after() {
            Some(end) if end <= Utc::now() => {
                format!("it refuses our certificate {own}, which expired on {} ({said})", end.format("%F %T UTC"))
            }
            _ => format!(
                "it refuses our certificate {own} ({said}): is it signed by an authority of the server's truststore, and \
                 valid by the server's clock?"
            ),
        },
        _ => format!("it refuses the connection ({said})"),
    }
}

/// As RFC 8446 writes it: `certificate_required`.
fn name(alert: AlertDescription) -> String {
    let mut name = String::new();
    let camel = format!("{alert:?}").replace("CA", "Ca");
    for (at, letter) in camel.chars().enumerate() {
        if letter.is_ascii_uppercase() && at > 0 {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}

/// `DnsName("zk1")`, as the library writes what a certificate presents, as `zk1`. Whoever made it chose the letters.
fn shown(presented: &str) -> String {
    let inner = presented.split_once('(').and_then(|(_, rest)| rest.rsplit_once(')')).map(|(name, _)| name);
    let name = inner.unwrap_or(presented).trim_matches('"');
    name.chars().filter(|letter| !letter.is_control()).take(NAME_LETTERS_MAX).collect()
}

fn host(name: &ServerName<'_>) -> String {
    name.to_str().into_owned()
}

fn time(at: UnixTime) -> String {
    let seconds = i64::try_from(at.as_secs()).ok();
    match seconds.and_then(|seconds| DateTime::from_timestamp(seconds, 0)) {
        Some(at) => at.format("%F %T UTC").to_string(),
        None => "a day out of reach".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_fit_to_be_shown() {
        assert_eq!(shown("DnsName(\"zk1.example\")"), "zk1.example");
        assert_eq!(shown("IpAddress(10.0.0.1)"), "10.0.0.1");
        assert_eq!(shown("DnsName(\"\u{1b}[2Ja\")"), "[2Ja");
        assert_eq!(shown("DirectoryName"), "DirectoryName");
        assert_eq!(shown(&"x".repeat(1_000)).len(), NAME_LETTERS_MAX);
        assert_eq!(name(AlertDescription::CertificateRequired), "certificate_required");
        assert_eq!(name(AlertDescription::UnknownCA), "unknown_ca");
    }
}
