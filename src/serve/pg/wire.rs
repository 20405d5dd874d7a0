//! The socket: whole messages in, encoded messages out, both bounded.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use pgwire::messages::PgWireBackendMessage;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};

/// A plain or an encrypted connection.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// The largest message that a session takes. A statement with its parameters is text; a larger one is a mistake.
pub(super) const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// The largest message before somebody has proved who they are.
pub(super) const OPENING_BYTES_MAX: usize = 10_000;

/// What is read ahead while a query runs, to notice a client that goes away.
const READ_AHEAD_BYTES_MAX: usize = 64 << 10;

/// Encoded answers are handed to the socket in pieces of about this size.
pub(super) const WRITE_BYTES: usize = 32 << 10;

/// Why there is no further message.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("a message of {bytes} bytes is larger than the {max} that are taken")]
    TooLarge { bytes: usize, max: usize },
}

/// The reading half. Every method may be dropped half way: what was read stays.
pub(super) struct Reader {
    io: ReadHalf<Box<dyn Io>>,
    buffer: BytesMut,
}

impl Reader {
    /// The next message's type and body; `None` where the client has closed the connection.
    pub(super) async fn message(&mut self, bytes_max: usize) -> Result<Option<(u8, Bytes)>, ReadError> {
        loop {
            if let Some(header) = self.buffer.get(..5) {
                let kind = header.first().copied().unwrap_or_default();
                let length = header.get(1..).map_or(0, |mut length| length.try_get_u32().unwrap_or_default());
                if let Some(body) = self.body(1, length, bytes_max)? {
                    return Ok(Some((kind, body)));
                }
            }
            if !self.fill().await? {
                return Ok(None);
            }
        }
    }

    /// The next message of those that have no type.
    pub(super) async fn opening(&mut self) -> Result<Option<Bytes>, ReadError> {
        loop {
            if let Some(mut header) = self.buffer.get(..4) {
                let length = header.try_get_u32().unwrap_or_default();
                if let Some(body) = self.body(0, length, OPENING_BYTES_MAX)? {
                    return Ok(Some(body));
                }
            }
            if !self.fill().await? {
                return Ok(None);
            }
        }
    }

    /// Takes a message off the buffer once it is whole.
    fn body(&mut self, kind_bytes: usize, length: u32, bytes_max: usize) -> Result<Option<Bytes>, ReadError> {
        let bytes = usize::try_from(length).unwrap_or(usize::MAX);
        if !(4..=bytes_max).contains(&bytes) {
            return Err(ReadError::TooLarge { bytes, max: bytes_max });
        }
        if self.buffer.len() < kind_bytes + bytes {
            return Ok(None);
        }
        self.buffer.advance(kind_bytes + 4);
        Ok(Some(self.buffer.split_to(bytes - 4).freeze()))
    }

    async fn fill(&mut self) -> io::Result<bool> {
        Ok(self.io.read_buf(&mut self.buffer).await? > 0)
    }

    /// Completes when the client has gone. What it sends meanwhile is kept for later, up to a bound.
    pub(super) async fn gone(&mut self) {
        while self.buffer.len() < READ_AHEAD_BYTES_MAX {
            match self.fill().await {
                Ok(true) => {}
                Ok(false) | Err(_) => return,
            }
        }
        std::future::pending().await
    }

    pub(super) fn has_more(&self) -> bool {
        !self.buffer.is_empty()
    }
}

/// The writing half.
pub(super) struct Writer {
    io: WriteHalf<Box<dyn Io>>,
    buffer: BytesMut,
}

impl Writer {
    /// Encodes a message; it is sent with the next flush.
    pub(super) fn put(&mut self, message: &PgWireBackendMessage) -> io::Result<()> {
        message.encode(&mut self.buffer).map_err(io::Error::other)
    }

    pub(super) fn waiting_bytes(&self) -> usize {
        self.buffer.len()
    }

    pub(super) async fn flush(&mut self) -> io::Result<()> {
        self.io.write_all_buf(&mut self.buffer).await?;
        self.io.flush().await
    }

    /// Says goodbye properly (close_notify over TLS).
    pub(super) async fn close(&mut self) {
        let _ = self.flush().await;
        let _ = self.io.shutdown().await;
    }
}

pub(super) fn split(io: Box<dyn Io>) -> (Reader, Writer) {
    let (read, write) = tokio::io::split(io);
    (Reader { io: read, buffer: BytesMut::new() }, Writer { io: write, buffer: BytesMut::new() })
}

/// The connection again, as long as nothing was read ahead: what came in the clear must not pass for encrypted.
pub(super) fn unsplit(reader: Reader, writer: Writer) -> Option<Box<dyn Io>> {
    (!reader.has_more()).then(|| reader.io.unsplit(writer.io))
}
