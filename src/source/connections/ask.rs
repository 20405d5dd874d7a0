//! Asking one server, within a time and a bound.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::cons::Answer;
use super::{Connections, admin};
use crate::source::http::{self, HttpError};

/// About 200,000 connections of one server.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// Why a server's connections are not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    #[error("cons is not in the server's 4lw.commands.whitelist")]
    NotAllowed,
    #[error("no answer within {0} ms")]
    TooLate(u128),
    #[error("it closed the connection without an answer: a port that speaks TLS does so")]
    Closed,
    #[error("{url} answers {status}: is the AdminServer there, and is its admin.commandURL another one?")]
    Status { url: String, status: u16 },
    #[error("it says: {0}")]
    Said(String),
    #[error("{0}")]
    Failed(String),
}

impl AskError {
    /// What the operator can do, where it is a setting of the server.
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::NotAllowed => Some(
                "add cons to 4lw.commands.whitelist in its zoo.cfg (4lw.commands.whitelist=srvr,mntr,ruok,isro,cons) and \
                 restart it, or name its AdminServer by --admin-url",
            ),
            Self::Closed => Some("name its AdminServer by --admin-url"),
            _ => None,
        }
    }
}

/// Asks a server (`host:port`) by the four-letter word `cons`.
///
/// # Errors
/// Not reachable, not in time, not on the server's whitelist, or it has no list to give.
pub async fn cons(server: &str, timeout: Duration) -> Result<Connections, AskError> {
    let asked = async {
        let mut stream = TcpStream::connect(server).await?;
        stream.write_all(b"cons").await?;
        let mut reader = BufReader::new(stream.take(ANSWER_BYTES_MAX));
        let (mut answer, mut line, mut any) = (Answer::default(), Vec::new(), false);
        loop {
            line.clear();
            if reader.read_until(b'\n', &mut line).await? == 0 {
                return Ok::<_, std::io::Error>(any.then_some(answer));
            }
            any = true;
            answer.line(&String::from_utf8_lossy(&line));
        }
    };
    match tokio::time::timeout(timeout, asked).await {
        Err(_) => Err(AskError::TooLate(timeout.as_millis())),
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionReset => Err(AskError::Closed),
        Ok(Err(error)) => Err(AskError::Failed(error.to_string())),
        Ok(Ok(None)) => Err(AskError::Closed),
        Ok(Ok(Some(answer))) => answer.end().map_err(|said| match said {
            said if said.contains("not in the whitelist") => AskError::NotAllowed,
            // An alert of TLS, as a rule: nobody prints such words.
            said if said.contains(|c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER) => AskError::Closed,
            said => AskError::Said(said),
        }),
    }
}

/// Asks an AdminServer; `url` is that of the command, as `http://10.0.0.1:8080/commands/connections`.
///
/// # Errors
/// Not reachable, not in time, another answer than a list.
pub async fn admin_server(url: &str, timeout: Duration) -> Result<Connections, AskError> {
    let body = http::get(url, timeout, ANSWER_BYTES_MAX).await.map_err(|error| match error {
        HttpError::TooLate(after_ms) => AskError::TooLate(after_ms),
        HttpError::Status { url, status } => AskError::Status { url, status },
        HttpError::Failed(cause) => AskError::Failed(cause),
    })?;
    admin::parse(&body).map_err(AskError::Said)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::source::watch::words::WHITELIST;

    /// A server that answers every connection so, once it has read something; without an answer it goes on waiting.
    async fn server(answer: Option<&'static str>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let mut open = Vec::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.read(&mut [0; 512]).await.unwrap();
                if let Some(answer) = answer {
                    stream.write_all(answer.as_bytes()).await.unwrap();
                } else {
                    open.push(stream);
                }
            }
        });
        address
    }

    const SOON: Duration = Duration::from_millis(200);
    const LATER: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn every_answer_is_told_apart() {
        let refused = server(Some("cons is not executed because it is not in the whitelist.\n")).await;
        let error = cons(&refused, LATER).await.unwrap_err();
        assert!(error == AskError::NotAllowed && error.remedy().is_some_and(|line| line.contains(WHITELIST)));
        let list = server(Some(" /127.0.0.1:1[1](queued=0,sid=0x7,to=4000)\n /127.0.0.1:2[0](queued=0)\n\n")).await;
        let read = cons(&list, LATER).await.unwrap();
        assert_eq!((read.sessions.len(), read.without_session, read.whole), (1, 1, true));
        assert_eq!(cons(&server(Some("")).await, LATER).await, Err(AskError::Closed));
        let tls = server(Some("\u{15}\u{3}\u{3}\0\u{2}\u{2}\u{46}")).await;
        assert_eq!(cons(&tls, LATER).await, Err(AskError::Closed));
        assert_eq!(cons(&server(None).await, SOON).await, Err(AskError::TooLate(200)));
        let silent = server(Some("This ZooKeeper instance is not currently serving requests\n")).await;
        assert!(matches!(cons(&silent, LATER).await, Err(AskError::Said(_))));
        let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        assert!(matches!(cons(&nobody.to_string(), LATER).await, Err(AskError::Failed(_))));
    }

    #[tokio::test]
    async fn an_admin_server_is_asked_by_http() {
        let url = |address: String| format!("http://{address}/commands/connections");
        let body = r#"{"connections":[{"remote_socket_address":"127.0.0.1:1","session_id":7}],"error":null}"#;
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
        let list = admin_server(&url(server(Some(&*answer.leak())).await), LATER).await.unwrap();
        assert_eq!((list.sessions.len(), list.whole), (1, true));
        let missing =
            url(server(Some("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")).await);
        assert_eq!(admin_server(&missing, LATER).await, Err(AskError::Status { url: missing.clone(), status: 404 }));
        assert_eq!(admin_server(&url(server(None).await), SOON).await, Err(AskError::TooLate(200)));
        assert!(matches!(admin_server("http://127.0.0.1:1/", LATER).await, Err(AskError::Failed(_))));
    }
}
