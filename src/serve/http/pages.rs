use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

use super::{AppState, SnapshotRefused, refuse};

const PLAIN: &str = "text/plain; charset=utf-8";

/// `/`: what there is to ask.
pub(super) async fn index(State(state): State<AppState>) -> Response {
    let text = format!(
        "zktrail {}\n\n\
         GET  /metrics   Prometheus metrics\n\
         GET  /healthz   whether the agent works\n\
         GET  /readyz    whether every cluster is being recorded\n\
         POST /sql       the body is the SQL, or as application/json {{\"sql\": …, \"params\": {{name: value}}}};\n\
         \x20               ?format=json, csv, arrow or parquet, or Accept: application/json, text/csv,\n\
         \x20               application/vnd.apache.arrow.stream or application/vnd.apache.parquet\n\
         GET  /changes/stream  changes as they are recorded, as server-sent events; ?path=GLOB&kind=…&cluster=…\n\
         \x20               &values=false&since=2h or now or a zxid; &cursor= or Last-Event-ID goes on behind an event\n\
         POST /snapshot  take a snapshot now; needs the token from the history's folder\n\n\
         curl -s --data-binary 'SHOW TABLES' http://{}/sql\n",
        state.version,
        state.hosts.bound()
    );
    plain(StatusCode::OK, text)
}

pub(super) async fn metrics(State(state): State<AppState>) -> Response {
    let text = (state.metrics)();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

pub(super) async fn healthz(State(state): State<AppState>) -> Response {
    match (state.health)() {
        Ok(()) => plain(StatusCode::OK, "ok\n".to_owned()),
        Err(reason) => plain(StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

/// A line a cluster: `prod ready: …` or `prod not ready: …`.
pub(super) async fn readyz(State(state): State<AppState>) -> Response {
    let clusters = (state.ready)();
    let status = match clusters.iter().all(|cluster| cluster.ready) {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    let line = |cluster: &super::Readiness| {
        let word = if cluster.ready { "ready" } else { "not ready" };
        match cluster.reason.is_empty() {
            true => format!("{} {word}\n", cluster.cluster),
            false => format!("{} {word}: {}\n", cluster.cluster, cluster.reason),
        }
    };
    plain(status, clusters.iter().map(line).collect())
}

pub(super) async fn snapshot(State(state): State<AppState>, headers: HeaderMap) -> Response {
    let token = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
        .map(|token| token.trim().to_owned());
    match (state.snapshot)(token).await {
        Ok(told) => plain(StatusCode::OK, format!("{told}\n")),
        Err(error @ SnapshotRefused::Unauthorised) => refuse(StatusCode::UNAUTHORIZED, &error.to_string()),
        Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

pub(super) async fn use_post() -> Response {
    let text = "send the SQL as the body of a POST: curl --data-binary 'SHOW TABLES' http://…/sql";
    let mut response = refuse(StatusCode::METHOD_NOT_ALLOWED, text);
    response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("POST"));
    response
}

pub(super) async fn not_found(uri: Uri) -> Response {
    refuse(StatusCode::NOT_FOUND, &format!("there is nothing at {}; / lists what there is", uri.path()))
}

fn plain(status: StatusCode, text: String) -> Response {
    (status, [(header::CONTENT_TYPE, PLAIN)], text).into_response()
}
