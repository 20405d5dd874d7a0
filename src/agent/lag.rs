//! What the servers say of themselves: how far the record is behind them, and whether they serve at all. Asked by
//! `srvr`, which they allow by default.

use std::time::Duration;

use tokio::sync::watch;

use crate::metrics::ClusterMetrics;
use crate::source::watch::credentials::Credentials;
use crate::source::watch::srvr;

const EVERY: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(3);

/// Asks for the last zxid and the mode of the first server that serves, until it is stopped.
pub async fn measure(
    servers: Vec<String>,
    credentials: Credentials,
    metrics: ClusterMetrics,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let mut serves = false;
        for server in &servers {
            if let Ok(srvr::Srvr { zxid: Some(zxid), mode, .. }) = srvr::ask(server, &credentials, TIMEOUT).await {
                metrics.server_last_zxid.set(metrics.server_last_zxid.get().max(zxid.0));
                serves = mode.as_deref().is_some_and(has_leader);
                if serves {
                    break;
                }
            }
        }
        // Where srvr is not allowed the session tells: a server without a leader keeps none.
        metrics.leader_seen.set(i64::from(serves || metrics.is_connected()));
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

/// A server that looks for a leader answers `srvr` with no mode at all; a read-only one has none either.
pub(super) fn has_leader(mode: &str) -> bool {
    matches!(mode, "leader" | "follower" | "observer" | "standalone")
}

#[cfg(test)]
mod tests {
    use super::has_leader;

    #[test]
    fn who_serves_has_a_leader() {
        for mode in ["leader", "follower", "observer", "standalone"] {
            assert!(has_leader(mode), "{mode}");
        }
        for mode in ["read-only", ""] {
            assert!(!has_leader(mode), "{mode}");
        }
    }
}
