//! From a new connection to a session: encryption, who it is, which database.

use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use bytes::Bytes;
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::response::{GssEncResponse, SslResponse};
use pgwire::messages::startup::{Authentication, NegotiateProtocolVersion};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::Door;
use super::error::PgError;
use super::message::{self, Message, Opening};
use super::scram::{self, Exchange, ScramError};
use super::wire::{Io, OPENING_BYTES_MAX, Reader, Writer, split, unsplit};
use crate::query::Access;
use crate::serve::access_log::LoginFailure;

/// A connection that may ask questions now.
pub(super) struct Opened {
    pub(super) reader: Reader,
    pub(super) writer: Writer,
    pub(super) client: SocketAddr,
    pub(super) user: String,
    pub(super) access: Access,
    /// What the startup message asks for beside user and database.
    pub(super) parameters: Vec<(String, String)>,
}

/// Opens a connection; `None` where it wanted something else, or was refused and told so.
pub(super) async fn open(socket: TcpStream, client: SocketAddr, door: &Arc<Door>) -> std::io::Result<Option<Opened>> {
    let (mut reader, mut writer) = split(Box::new(socket));
    let mut encrypted = false;
    let (minor, parameters) = loop {
        let body = match reader.opening().await {
            Ok(Some(body)) => body,
            Ok(None) => return Ok(None),
            Err(_) => return refuse(&mut writer, &PgError::new("08P01", "invalid length of startup packet")).await,
        };
        match message::opening(body) {
            Ok(Opening::Tls) => match &door.tls {
                Some(tls) if !encrypted => {
                    writer.put(&PgWireBackendMessage::SslResponse(SslResponse::Accept))?;
                    writer.flush().await?;
                    // Whatever came before the handshake was not encrypted, and is not listened to.
                    let Some(plain) = unsplit(reader, writer) else { return Ok(None) };
                    let stream: TlsStream<Box<dyn Io>> = tls.acceptor().accept(plain).await?;
                    (reader, writer) = split(Box::new(stream));
                    encrypted = true;
                }
                _ => {
                    writer.put(&PgWireBackendMessage::SslResponse(SslResponse::Refuse))?;
                    writer.flush().await?;
                }
            },
            Ok(Opening::Gss) => {
                writer.put(&PgWireBackendMessage::GssEncResponse(GssEncResponse::Refuse))?;
                writer.flush().await?;
            }
            Ok(Opening::Cancel { pid, secret }) => {
                door.backends.cancel_by_secret(pid, &secret);
                return Ok(None);
            }
            Ok(Opening::Startup { minor, parameters }) => break (minor, parameters),
            Err(error) => return refuse(&mut writer, &PgError::new("08P01", error.to_string())).await,
        }
    };
    if door.tls_required && !encrypted {
        let name = parameters.iter().find(|(name, _)| name == "user").map_or("", |(_, user)| user);
        door.access_log.login_failed(crate::serve::Door::Postgres, client.ip(), name, LoginFailure::ClearText);
        let error = PgError::new("28000", "this agent takes encrypted connections only")
            .hint("Add sslmode=require to the connection string.");
        return refuse(&mut writer, &error).await;
    }
    let is_extension = |name: &str| name.starts_with("_pq_.");
    let unsupported: Vec<String> =
        parameters.iter().filter(|(name, _)| is_extension(name)).map(|(name, _)| name.clone()).collect();
    if minor > 0 || !unsupported.is_empty() {
        let newest = NegotiateProtocolVersion::new(3 << 16, unsupported);
        writer.put(&PgWireBackendMessage::NegotiateProtocolVersion(newest))?;
    }
    let mut asked = Asked::default();
    for (name, value) in parameters.into_iter().filter(|(name, _)| !is_extension(name)) {
        match name.as_str() {
            "user" => asked.user = value,
            "database" => asked.database = Some(value),
            "options" => asked.parameters.extend(options(&value)),
            "replication" => {
                if !matches!(value.as_str(), "false" | "off" | "no" | "0") {
                    return refuse(&mut writer, &PgError::unsupported("replication")).await;
                }
            }
            _ => asked.parameters.push((name, value)),
        }
    }
    if asked.user.is_empty() {
        return refuse(&mut writer, &PgError::new("28000", "no user name is given in the startup packet")).await;
    }
    match authenticate(&mut reader, &mut writer, door, client, &asked.user, encrypted).await? {
        Ok(access) => {
            if let Err(error) = asked.check_database() {
                return refuse(&mut writer, &error).await;
            }
            let Asked { user, parameters, .. } = asked;
            Ok(Some(Opened { reader, writer, client, user, access, parameters }))
        }
        Err(error) => refuse(&mut writer, &error).await,
    }
}

#[derive(Default)]
struct Asked {
    user: String,
    database: Option<String>,
    parameters: Vec<(String, String)>,
}

impl Asked {
    fn check_database(&self) -> Result<(), PgError> {
        match self.database.as_deref() {
            // Without a name, clients ask for the database that is named as the user.
            None | Some(super::DATABASE | "postgres" | "") => Ok(()),
            Some(name) if name == self.user => Ok(()),
            Some(name) => Err(PgError::new("3D000", format!("database \"{name}\" does not exist"))
                .hint(format!("There is one database: {}.", super::DATABASE))),
        }
    }
}

pub(super) async fn refuse<T>(writer: &mut Writer, error: &PgError) -> std::io::Result<Option<T>> {
    writer.put(&error.to_message("FATAL"))?;
    writer.close().await;
    Ok(None)
}

/// `-c name=value` and `--name=value`, a backslash before what would end them.
fn options(text: &str) -> Vec<(String, String)> {
    let mut words = vec![String::new()];
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => words.last_mut().into_iter().for_each(|word| word.extend(chars.next())),
            c if c.is_whitespace() => words.push(String::new()),
            c => words.last_mut().into_iter().for_each(|word| word.push(c)),
        }
    }
    let mut words = words.into_iter().filter(|word| !word.is_empty());
    let mut parameters = Vec::new();
    while let Some(word) = words.next() {
        let setting = match word.strip_prefix("--") {
            Some(setting) => Some(setting.replace('-', "_")),
            None if word == "-c" => words.next(),
            None => word.strip_prefix("-c").map(str::to_owned),
        };
        let split = setting.as_deref().and_then(|setting| setting.split_once('='));
        parameters.extend(split.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
    parameters
}

type Outcome<T> = std::io::Result<Result<T, PgError>>;

async fn authenticate(
    reader: &mut Reader,
    writer: &mut Writer,
    door: &Door,
    client: SocketAddr,
    user: &str,
    encrypted: bool,
) -> Outcome<Access> {
    if !door.users.credentials_required() {
        if !door.address.ip().to_canonical().is_loopback() {
            let error = PgError::new(
                "28000",
                format!(
                    "SQL is answered on loopback only, as long as there are no credentials; this agent listens on {}",
                    door.address
                ),
            );
            return Ok(Err(error));
        }
    } else {
        let address = client.ip();
        let log = |failure| door.access_log.login_failed(crate::serve::Door::Postgres, address, user, failure);
        if let Err(error) = door.users.may_try(address, user) {
            log(LoginFailure::TooMany);
            return Ok(Err(PgError::new("28000", error.to_string())));
        }
        if let Err(error) = prove(reader, writer, door, user, encrypted).await? {
            door.users.failed(address, user);
            log(LoginFailure::Wrong);
            return Ok(Err(error));
        }
    }
    match door.users.access(user) {
        Some(access) => {
            writer.put(&PgWireBackendMessage::Authentication(Authentication::Ok))?;
            Ok(Ok(access))
        }
        None => Ok(Err(wrong_password(user))),
    }
}

fn wrong_password(user: &str) -> PgError {
    PgError::new("28P01", format!("password authentication failed for user \"{user}\""))
}

/// Lets the client prove that it knows the password, without its being sent.
async fn prove(reader: &mut Reader, writer: &mut Writer, door: &Door, user: &str, encrypted: bool) -> Outcome<()> {
    let end_point = door.tls.as_ref().filter(|_| encrypted).and_then(|tls| scram::end_point(&tls.certificate()));
    let mechanisms = end_point.iter().map(|_| scram::PLUS.to_owned()).chain([scram::PLAIN.to_owned()]).collect();
    writer.put(&PgWireBackendMessage::Authentication(Authentication::SASL(mechanisms)))?;
    writer.flush().await?;
    let malformed = || PgError::new("08P01", "malformed SCRAM message");
    let Some(body) = password(reader).await? else { return Ok(Err(malformed())) };
    let Ok((mechanism, first)) = message::sasl_initial(body) else { return Ok(Err(malformed())) };
    let plus = match mechanism.as_str() {
        scram::PLUS if end_point.is_some() => true,
        scram::PLAIN => false,
        _ => return Ok(Err(PgError::new("08P01", "client selected an invalid SASL authentication mechanism"))),
    };
    let listed = door.users.verifier(user);
    let known = listed.is_some();
    let verifier = listed.unwrap_or_else(|| door.users.decoy(user));
    let mut nonce = [0; 18];
    getrandom::fill(&mut nonce).map_err(std::io::Error::other)?;
    let nonce = BASE64_STANDARD_NO_PAD.encode(nonce);
    let failed = |error| match error {
        ScramError::Malformed => malformed(),
        ScramError::Binding => PgError::new("28000", "SCRAM channel binding check failed"),
        ScramError::Proof => wrong_password(user),
    };
    let exchange = match Exchange::begin(&first, plus, end_point.as_deref(), verifier, &nonce) {
        Ok(exchange) => exchange,
        Err(error) => return Ok(Err(failed(error))),
    };
    let server_first = Bytes::copy_from_slice(exchange.server_first().as_bytes());
    writer.put(&PgWireBackendMessage::Authentication(Authentication::SASLContinue(server_first)))?;
    writer.flush().await?;
    let Some(last) = password(reader).await? else { return Ok(Err(malformed())) };
    match exchange.finish(&last) {
        Ok(server) if known => {
            writer.put(&PgWireBackendMessage::Authentication(Authentication::SASLFinal(server.into())))?;
            Ok(Ok(()))
        }
        Ok(_) => Ok(Err(wrong_password(user))),
        Err(error) => Ok(Err(failed(error))),
    }
}

async fn password(reader: &mut Reader) -> std::io::Result<Option<Bytes>> {
    match reader.message(OPENING_BYTES_MAX).await {
        Ok(Some((kind, body))) => Ok(match message::message(kind, body) {
            Ok(Message::Password(body)) => Some(body),
            _ => None,
        }),
        Ok(None) => Err(std::io::ErrorKind::UnexpectedEof.into()),
        Err(super::wire::ReadError::Io(error)) => Err(error),
        Err(super::wire::ReadError::TooLarge { .. }) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_settings() {
        let expected = [("statement_timeout", "5s"), ("search_path", "a b"), ("TimeZone", "UTC")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(options("-c statement_timeout=5s  -csearch_path=a\\ b --TimeZone=UTC -x -c"), expected);
    }
}
