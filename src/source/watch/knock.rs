//! A connection to one server, as sessions have it, and what is wrong where there is none.
//!
//! The client crate hides why a connection fails, so we look ourselves: before a session where TLS is wanted, one
//! connection a server and try; where it is not, only once a session is slow to come. What one says who has been
//! reached is told by `srvr`, the word that servers answer by default: with TLS 1.3 a server judges our certificate
//! only after our side of the handshake is done, and the first read tells.

mod cause;

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{self, ClientConfig, ProtocolVersion, RootCertStore};
use x509_certificate::X509Certificate;

pub(super) use self::cause::{Cause, Kind};
use super::WatchConfig;
use super::credentials::{Tls, server_name};

/// How long a server may take to accept a connection and to answer before another one is hoped for.
const REACH_TIMEOUT: Duration = Duration::from_secs(3);
/// `mntr` of a server with thousands of top-level znodes is longer than most.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// A connection, secured or not.
pub(super) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// Connects, with TLS where it is wanted. No bound of time.
pub(super) async fn dial(server: &str, tls: Option<&Tls>) -> Result<Box<dyn Wire>, Cause> {
    match tls {
        None => Ok(Box::new(TcpStream::connect(server).await.map_err(Cause::unreachable)?)),
        Some(tls) => Ok(Box::new(dial_tls(server, tls).await?)),
    }
}

async fn dial_tls(server: &str, tls: &Tls) -> Result<TlsStream<TcpStream>, Cause> {
    let stream = TcpStream::connect(server).await.map_err(Cause::unreachable)?;
    let name = server_name(server).map_err(|error| Cause::refused(error.to_string()))?;
    match TlsConnector::from(tls.config()).connect(name, stream).await {
        Ok(stream) => Ok(stream),
        Err(error) => {
            let cause = cause::of_handshake(&error, tls);
            if cause.kind == Kind::NotTls && speaks_plainly(server).await {
                return Err(Cause::refused(
                    "it speaks plain text on this port: name its secureClientPort, or switch zk_tls off".to_owned(),
                ));
            }
            Err(cause)
        }
    }
}

/// Asks a server one four-letter word; gives its answer, which is not empty.
pub(super) async fn ask(server: &str, tls: Option<&Tls>, word: &str) -> Result<String, Cause> {
    ask_over(&mut *dial(server, tls).await?, tls, word).await
}

/// How a connection to a server is secured, for people: the version of TLS, whom the certificate names, until when.
///
/// # Errors
/// Why there is none, or that the server hangs up on us afterwards.
pub(super) async fn look(server: &str, tls: &Tls) -> Result<String, Cause> {
    let looked = async {
        let mut stream = dial_tls(server, tls).await?;
        let session = stream.get_ref().1;
        let version = match session.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
            Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
            _ => "TLS",
        };
        let certificate = session.peer_certificates().and_then(<[_]>::first);
        let certificate = certificate.and_then(|certificate| X509Certificate::from_der(certificate).ok());
        let certificate = match certificate {
            Some(certificate) => {
                let subject = certificate.subject_name().user_friendly_str().unwrap_or_default();
                let subject: String = subject.chars().filter(|letter| !letter.is_control()).collect();
                format!(", the server is {subject} until {}", certificate.validity_not_after().format("%F"))
            }
            None => String::new(),
        };
        match ask_over(&mut stream, Some(tls), "srvr").await {
            Err(cause) if cause.kind == Kind::Refused => Err(cause),
            _ => Ok(format!("{version}{certificate}")),
        }
    };
    let late = || Cause::unreachable(io::Error::new(io::ErrorKind::TimedOut, "no answer in time"));
    tokio::time::timeout(REACH_TIMEOUT, looked).await.unwrap_or_else(|_| Err(late()))
}

async fn ask_over(mut stream: &mut dyn Wire, tls: Option<&Tls>, word: &str) -> Result<String, Cause> {
    let mut answer = Vec::new();
    let asked = async {
        stream.write_all(word.as_bytes()).await?;
        stream.flush().await?;
        (&mut stream).take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await
    };
    match asked.await {
        // Whoever has answered may go without a farewell.
        Err(error) if answer.is_empty() => Err(cause::of_answer(&error, tls)),
        _ if answer.is_empty() => Err(cause::no_answer(tls)),
        _ => Ok(String::from_utf8_lossy(&answer).into_owned()),
    }
}

/// Whether at least one server can be reached as a session would; else why each of them cannot.
///
/// Gives the causes of those that cannot be where TLS says why: they would be missed in silence.
pub(super) async fn reachable(config: &WatchConfig) -> Result<Vec<String>, String> {
    let tls = config.credentials.tls();
    let tries = config.servers.iter().map(|server| async move {
        let reached = async {
            match tls {
                None => dial(server, None).await.map(drop),
                Some(tls) => ask(server, Some(tls), "srvr").await.map(drop),
            }
        };
        match tokio::time::timeout(REACH_TIMEOUT, reached).await {
            Ok(reached) => reached.map_err(|cause| (cause.kind, format!("{server}: {}", cause.text))),
            Err(_) => Err((Kind::Unreachable, format!("{server}: no answer within {} s", REACH_TIMEOUT.as_secs()))),
        }
    });
    let tries = futures::future::join_all(tries).await;
    // One that only does not answer a word may let a session in.
    let is_hopeless = |tried: &Result<(), (Kind, String)>| matches!(tried, Err((kind, _)) if *kind != Kind::Silent);
    if tries.iter().all(is_hopeless) {
        return Err(tries.into_iter().filter_map(Result::err).map(|(_, text)| text).collect::<Vec<_>>().join(", "));
    }
    let refused = tries.into_iter().filter_map(Result::err).filter(|(kind, _)| *kind == Kind::Refused);
    Ok(refused.map(|(_, text)| text).collect())
}

/// Why a session does not come although servers can be reached, if it can be found out.
pub(super) async fn explain(config: &WatchConfig) -> Option<String> {
    let tls = config.credentials.tls();
    let tries = config.servers.iter().map(|server| async move {
        let asked = tokio::time::timeout(REACH_TIMEOUT, ask(server, tls, "srvr")).await;
        let text = match asked {
            Ok(Ok(text)) if text.contains("not currently serving requests") => {
                "it serves nobody at the moment: is a quorum up?".to_owned()
            }
            Ok(Ok(_)) => return None,
            Err(_) | Ok(Err(_)) if tls.is_none() && speaks_tls(server).await => {
                "it speaks TLS on this port: say zk_ca, or name its clientPort".to_owned()
            }
            Err(_) => return None,
            Ok(Err(cause)) => cause.text,
        };
        Some(format!("{server}: {text}"))
    });
    let tries: Option<Vec<String>> = futures::future::join_all(tries).await.into_iter().collect();
    // One that is well explains nothing.
    tries.map(|causes| causes.join(", "))
}

/// Whether a server answers without TLS. Sends no more than a word.
async fn speaks_plainly(server: &str) -> bool {
    let asked = async { ask_over(&mut TcpStream::connect(server).await.ok()?, None, "srvr").await.ok() };
    let answer = tokio::time::timeout(REACH_TIMEOUT / 2, asked).await;
    matches!(answer, Ok(Some(text)) if text.is_ascii())
}

/// Whether a server takes part in a TLS handshake. Trusts nobody and sends nothing.
async fn speaks_tls(server: &str) -> bool {
    let handshake = async {
        let name = server_name(server).map_err(io::Error::other)?;
        let config = ClientConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let stream = TcpStream::connect(server).await?;
        TlsConnector::from(std::sync::Arc::new(config)).connect(name, stream).await.map(drop)
    };
    match tokio::time::timeout(REACH_TIMEOUT, handshake).await {
        Ok(Err(error)) => matches!(
            cause::tls_error(&error),
            Some(
                rustls::Error::InvalidCertificate(_)
                    | rustls::Error::AlertReceived(_)
                    | rustls::Error::PeerIncompatible(_)
            )
        ),
        Ok(Ok(())) => true,
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests;
