//! Four-letter words over a server's client port, plain or TLS as its sessions are: one connection a word. Only words
//! that look are ever asked; none that resets a statistic.

use std::time::Duration;

use super::credentials::Credentials;
use super::knock::{self, Kind};

/// All words that tell something here, as zoo.cfg wants them: `cons` for `sessions`, the others for metrics.
pub const WHITELIST: &str = "4lw.commands.whitelist=srvr,mntr,ruok,isro,cons";

/// Why a word has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WordError {
    #[error("it is not in the server's 4lw.commands.whitelist")]
    NotAllowed,
    #[error("no answer within {0} ms")]
    TooLate(u128),
    /// It took the connection and said nothing.
    #[error("{0}")]
    Silent(String),
    /// There is no connection, or not one that may be used.
    #[error("{0}")]
    Unreachable(String),
}

/// Asks one server (`host:port`) one word, over TLS where the credentials say so, within the time given.
///
/// # Errors
/// Not reachable, not in time, or not on the server's whitelist.
pub async fn ask(server: &str, credentials: &Credentials, word: &str, timeout: Duration) -> Result<String, WordError> {
    match tokio::time::timeout(timeout, knock::ask(server, credentials.tls(), word)).await {
        Err(_) => Err(WordError::TooLate(timeout.as_millis())),
        Ok(Err(cause)) if cause.kind == Kind::Silent => Err(WordError::Silent(cause.text)),
        Ok(Err(cause)) => Err(WordError::Unreachable(cause.text)),
        Ok(Ok(text)) if is_refusal(&text) => Err(WordError::NotAllowed),
        Ok(Ok(text)) => Ok(text),
    }
}

/// ZooKeeper says `mntr is not executed because it is not in the whitelist.`, other servers of its kind much the same.
fn is_refusal(text: &str) -> bool {
    let first = text.lines().next().unwrap_or_default();
    first.contains("not executed") || first.contains("not in the whitelist") || first.contains("not in the white list")
}

/// Whether the server says that it serves nobody at the moment: it looks for a leader, or is about to end.
pub fn is_not_serving(text: &str) -> bool {
    text.contains("not currently serving requests")
}
