//! How far the record is behind the servers: asked of them by `srvr`, which they allow by default.

use std::time::Duration;

use tokio::sync::watch;

use crate::metrics::ClusterMetrics;
use crate::source::watch::srvr;

const EVERY: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(3);

/// Asks the first server that answers for its last zxid, until it is stopped.
pub async fn measure(servers: Vec<String>, metrics: ClusterMetrics, mut stop: watch::Receiver<bool>) {
    loop {
        for server in &servers {
            if let Ok(srvr::Srvr { zxid: Some(zxid), .. }) = srvr::ask(server, TIMEOUT).await {
                metrics.server_last_zxid.set(metrics.server_last_zxid.get().max(zxid.0));
                break;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}
