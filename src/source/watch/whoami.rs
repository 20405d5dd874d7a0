//! Whom a server takes us for: asked over a session of our own, which ends at once. Nothing is read or written.
//!
//! From 3.7 on `whoAmI` tells. A user of SASL is not named there, because this session does not authenticate; but whether
//! the server asks for proof at all is found out: one without SASL takes every user for granted, and makes it nobody.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::WatchConfig;
use super::knock::{Wire, dial};
use crate::source::jute::{
    Buffer, ClientInfo, ConnectRequest, ConnectResponse, ErrorCode, Op, Record, ReplyHeader, RequestHeader, Secret,
};

const TIME_MAX: Duration = Duration::from_secs(3);
const FRAME_BYTES_MAX: usize = 1 << 20;
const SESSION_TIMEOUT_MS: i32 = 4_000;
const XID: i32 = 1;

/// What a server says of us.
enum WhoAmI {
    /// `scheme:id` each, addresses left out.
    Known(Vec<String>),
    /// It is older than 3.7, or will not say.
    Untold,
    /// Whether it asks a SASL user for proof.
    Sasl { asks: bool },
}

/// What is to be found out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum About {
    Certificate,
    Sasl,
}

/// Whether servers ask a SASL user for proof; told by the first that answers.
pub(super) async fn asks_for_proof(config: &WatchConfig) -> Option<bool> {
    match ask(config, About::Sasl).await? {
        WhoAmI::Sasl { asks } => Some(asks),
        _ => None,
    }
}

/// Whom a server takes us for by our certificate: `scheme:id` each; `None` where it does not tell.
pub(super) async fn identities(config: &WatchConfig) -> Option<Vec<String>> {
    match ask(config, About::Certificate).await? {
        WhoAmI::Known(identities) => Some(identities),
        _ => None,
    }
}

async fn ask(config: &WatchConfig, about: About) -> Option<WhoAmI> {
    for server in &config.servers {
        if let Ok(Some(told)) = tokio::time::timeout(TIME_MAX, ask_one(server, config, about)).await {
            return Some(told);
        }
    }
    None
}

async fn ask_one(server: &str, config: &WatchConfig, about: About) -> Option<WhoAmI> {
    let mut wire = dial(server, config.credentials.tls()).await.ok()?;
    let connect = ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: 0,
        timeout_ms: SESSION_TIMEOUT_MS,
        session_id: 0,
        password: Secret(vec![0; 16]),
        read_only: Some(false),
    };
    send(&mut *wire, &connect.to_bytes()).await?;
    ConnectResponse::from_bytes(&receive(&mut *wire).await?).ok().filter(|response| response.session_id != 0)?;
    let told = match about {
        About::Sasl => {
            let nothing: Buffer = Some(Vec::new());
            let answer = request(&mut *wire, Op::Sasl, &nothing.to_bytes()).await?;
            let challenge = answer.and_then(|body| Buffer::from_bytes(&body).ok().flatten());
            WhoAmI::Sasl { asks: challenge.is_some_and(|challenge| !challenge.is_empty()) }
        }
        // A server that does not know the request, or lets nobody ask without SASL, cuts the connection.
        About::Certificate => match request(&mut *wire, Op::WhoAmI, &[]).await {
            Some(Some(body)) => known(&body),
            Some(None) | None => return Some(WhoAmI::Untold),
        },
    };
    let _ = request(&mut *wire, Op::CloseSession, &[]).await;
    Some(told)
}

fn known(body: &[u8]) -> WhoAmI {
    let Ok(infos) = Vec::<ClientInfo>::from_bytes(body) else { return WhoAmI::Untold };
    let infos = infos.into_iter().filter(|info| info.scheme != "ip");
    WhoAmI::Known(infos.map(|info| format!("{}:{}", info.scheme, info.user)).collect())
}

/// `Some(None)` where the server refuses.
async fn request(wire: &mut dyn Wire, op: Op, body: &[u8]) -> Option<Option<Vec<u8>>> {
    let mut bytes = RequestHeader { xid: XID, op: op.code() }.to_bytes();
    bytes.extend_from_slice(body);
    send(wire, &bytes).await?;
    let answer = receive(wire).await?;
    let header = ReplyHeader::from_bytes(&answer).ok()?;
    let body = answer.get(ReplyHeader::BYTES_MIN..).unwrap_or_default();
    Some((header.error == ErrorCode::Ok.code()).then(|| body.to_vec()))
}

async fn send(wire: &mut dyn Wire, packet: &[u8]) -> Option<()> {
    let length = i32::try_from(packet.len()).ok()?;
    wire.write_all(&length.to_be_bytes()).await.ok()?;
    wire.write_all(packet).await.ok()?;
    wire.flush().await.ok()
}

async fn receive(wire: &mut dyn Wire) -> Option<Vec<u8>> {
    let length = usize::try_from(wire.read_i32().await.ok()?).ok().filter(|length| *length <= FRAME_BYTES_MAX)?;
    let mut packet = vec![0; length];
    wire.read_exact(&mut packet).await.ok()?;
    Some(packet)
}
