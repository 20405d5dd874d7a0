//! Connections of the HTTP door, in plain text or over TLS.
//!
//! Handshakes are made beside the accepting, each with a deadline, a bounded number at once: a client that is slow, or
//! that never says a word, holds up nobody else. Over TLS a client that speaks plain HTTP hears so and is sent away.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use super::guard::is_this_machine;
use crate::serve::tls::Tls;

/// Connections that are open at once; whoever comes then waits to be accepted.
const CONNECTIONS_MAX: usize = 1_024;
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
const HANDSHAKES_MAX: usize = 64;
/// How long someone who is sent away has to read why.
const FAREWELL_MAX: Duration = Duration::from_secs(2);
/// What is read of a plain request before its sender is sent away.
const FAREWELL_BYTES_MAX: u64 = 64 << 10;
/// After an accept that failed for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The header that tells a command on this machine where the agent's token is.
pub const DOOR_HEADER: &str = "zktrail-door";

/// From where a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

impl Connected<IncomingStream<'_, DoorListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, DoorListener>) -> Self {
        Self(*stream.remote_addr())
    }
}

/// Accepts the door's connections.
pub struct DoorListener {
    address: SocketAddr,
    ready: mpsc::Receiver<(Connection, SocketAddr)>,
    task: tokio::task::AbortHandle,
}

impl DoorListener {
    /// Begins to accept. `door_file` is told to those on this machine who come with plain text to a TLS door.
    pub fn new(listener: TcpListener, tls: Option<Tls>, door_file: Option<PathBuf>) -> std::io::Result<Self> {
        let address = listener.local_addr()?;
        let (sender, ready) = mpsc::channel(HANDSHAKES_MAX);
        let door_file = door_file.map(|path| path.display().to_string().into());
        let task = tokio::spawn(accept(listener, Welcome { tls, door_file, bound: address }, sender)).abort_handle();
        Ok(Self { address, ready, task })
    }
}

impl Drop for DoorListener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Listener for DoorListener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        match self.ready.recv().await {
            Some(accepted) => accepted,
            // The accepting has ended with the runtime.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        Ok(self.address)
    }
}

#[derive(Clone)]
struct Welcome {
    tls: Option<Tls>,
    door_file: Option<Arc<str>>,
    bound: SocketAddr,
}

async fn accept(listener: TcpListener, welcome: Welcome, sender: mpsc::Sender<(Connection, SocketAddr)>) {
    let (connections, handshakes) =
        (Arc::new(Semaphore::new(CONNECTIONS_MAX)), Arc::new(Semaphore::new(HANDSHAKES_MAX)));
    loop {
        let (Ok(connection), Ok(handshake)) =
            (connections.clone().acquire_owned().await, handshakes.clone().acquire_owned().await)
        else {
            return;
        };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection over HTTP");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (welcome, sender) = (welcome.clone(), sender.clone());
        tokio::spawn(async move {
            if let Some(stream) = welcome.receive(stream, peer).await {
                let _ = sender.send((Connection { stream, _permit: connection }, peer)).await;
            }
            drop(handshake);
        });
    }
}

impl Welcome {
    async fn receive(&self, stream: TcpStream, peer: SocketAddr) -> Option<Stream> {
        let _ = stream.set_nodelay(true);
        let Some(tls) = &self.tls else { return Some(Stream::Plain(stream)) };
        let mut first = [0; 1];
        match timeout(HANDSHAKE_MAX, stream.peek(&mut first)).await {
            Ok(Ok(1..)) => {}
            _ => return None,
        }
        // A TLS record of a handshake begins with 22, a request of HTTP with the letter of a method.
        if first[0].is_ascii_uppercase() {
            let _ = timeout(FAREWELL_MAX, self.send_away(stream, peer)).await;
            return None;
        }
        match timeout(HANDSHAKE_MAX, tls.acceptor().accept(stream)).await {
            Ok(Ok(stream)) => Some(Stream::Tls(Box::new(stream))),
            Ok(Err(error)) => {
                tracing::debug!(%peer, %error, "a TLS handshake over HTTP failed");
                None
            }
            Err(_) => None,
        }
    }

    async fn send_away(&self, mut stream: TcpStream, peer: SocketAddr) -> std::io::Result<()> {
        let hint = match &self.door_file {
            Some(file) if is_this_machine(peer, self.bound) => format!("{DOOR_HEADER}: {file}\r\n"),
            _ => String::new(),
        };
        let body = "{\"error\":\"this door speaks TLS: ask https://\"}\n";
        let answer = format!(
            "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\n{hint}\r\n{body}",
            body.len()
        );
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        // What is left unread would tear the answer down on its way.
        let mut rest = stream.take(FAREWELL_BYTES_MAX);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await?;
        Ok(())
    }
}

/// A connection of the door. Its place among the open ones goes with it.
pub struct Connection {
    stream: Stream,
    _permit: OwnedSemaphorePermit,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
