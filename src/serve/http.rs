//! The HTTP door: `/` an index, `/metrics`, `/healthz`, `/readyz`, `POST /sql`, `GET /changes/stream`, `POST /snapshot`.
//!
//! Invariants
//! - Who may ask what is decided in one place, [`guard`], before any handler runs.
//! - Bound to loopback, only requests whose Host names this machine are answered: a web page that points its own name
//!   at 127.0.0.1 gets nothing. There is no CORS.
//! - Bound to anything else, without credentials only `/metrics`, `/healthz` and `/readyz` answer, under any Host.
//! - Where users are listed, all else wants a user's name and password, or, from this machine, the token of the
//!   history's owner. A handler asks on behalf of the [`Caller`](crate::serve::Caller) that the guard has let in.
//! - Bodies are bounded by [`BODY_BYTES_MAX`]; answers are streamed, bounded by the engine's limits.

mod guard;
mod listener;
mod pages;
mod query_string;
mod sql;
mod stream;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures::future::BoxFuture;
use tokio::net::TcpListener;

pub use self::guard::{Credentials, Hosts};
pub use self::listener::{DOOR_HEADER, DoorListener, Peer};
pub use self::sql::{FRAMED_ARROW, Frame, FrameReader};
use crate::query::Engine;
use crate::serve::access_log::AccessLog;

/// A query is text; a longer one is a mistake.
pub const BODY_BYTES_MAX: usize = 1 << 20;

/// Whether a cluster is being recorded, and if not, why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    pub cluster: String,
    pub ready: bool,
    /// For people: what is under way, or what is wrong.
    pub reason: String,
}

/// Why no snapshot was taken.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotRefused {
    #[error("a snapshot needs the token from the history's folder: Authorization: Bearer <token>")]
    Unauthorised,
    #[error("{0}")]
    Failed(String),
}

/// Takes the bearer token that came, if any; checks it and takes a snapshot of every cluster. Gives what to tell.
pub type TakeSnapshot =
    Arc<dyn Fn(Option<String>) -> BoxFuture<'static, Result<String, SnapshotRefused>> + Send + Sync>;

/// What the door opens to. Cheap to clone.
#[derive(Clone)]
pub struct AppState {
    pub engine: Engine,
    /// The whole text of `/metrics`, in the Prometheus text format.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// `Err` with a reason where the process should be restarted.
    pub health: Arc<dyn Fn() -> Result<(), String> + Send + Sync>,
    pub ready: Arc<dyn Fn() -> Vec<Readiness> + Send + Sync>,
    pub snapshot: TakeSnapshot,
    pub hosts: Hosts,
    pub credentials: Credentials,
    pub access_log: AccessLog,
    /// Shown on the index.
    pub version: &'static str,
}

/// Every route, behind the guard.
pub fn router(state: AppState) -> Router {
    Router::new()
        .route("/", get(pages::index))
        .route("/metrics", get(pages::metrics))
        .route("/healthz", get(pages::healthz))
        .route("/readyz", get(pages::readyz))
        .route("/sql", post(sql::answer).get(pages::use_post))
        .route("/changes/stream", get(stream::stream))
        .route("/snapshot", post(pages::snapshot))
        .fallback(pages::not_found)
        // Whoever a request comes from is settled here, before any handler.
        .layer(axum::middleware::from_fn_with_state(state.clone(), guard::check))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(state)
}

/// Serves plain text until `shutdown`, then lets what is being answered finish.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    serve_door(DoorListener::new(listener, None, None)?, router, shutdown).await
}

/// As [`serve`], over TLS where the listener has a certificate.
pub async fn serve_door(
    listener: DoorListener,
    router: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let streams = stream::Streams::default();
    let router = router.layer(axum::Extension(streams.clone()));
    let shutdown = async move {
        shutdown.await;
        // They would not end by themselves.
        streams.stop();
    };
    let service = router.into_make_service_with_connect_info::<Peer>();
    axum::serve(listener, service).with_graceful_shutdown(shutdown).await
}

/// Binds the door. The error names the address and what to do.
pub async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let hint = match error.kind() {
            std::io::ErrorKind::AddrInUse => "; another agent may be running: --http takes another address, or off",
            _ => "",
        };
        std::io::Error::new(error.kind(), format!("cannot listen on {address} for HTTP: {error}{hint}"))
    })
}

/// An error as JSON: `{"error": "…"}`.
fn refuse(status: StatusCode, error: &str) -> Response {
    let body = format!("{}\n", serde_json::json!({ "error": error }));
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

#[cfg(test)]
mod credentials_tests;
#[cfg(test)]
mod tests;
