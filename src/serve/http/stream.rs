//! `GET /changes/stream`: changes as server-sent events, as they are recorded, resumable.
//!
//! - Every event has the cursor behind it as its `id`: whoever comes back with it (`Last-Event-ID`, or `?cursor=`) gets
//!   each change after it, once.
//! - A reader that does not keep up is not waited for longer than [`PATIENCE`]: what waits for it is [`EVENTS_WAITING_MAX`]
//!   events, then an error event that names the cursor to go on from, and the end.
//! - At most [`STREAMS_MAX`] streams are open. When the agent stops they end in order, between two events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::timeout;

use super::{AppState, query_string, refuse};
use crate::query::encode::JsonEncoder;
use crate::query::feed::{Ask, Cursor, Event, Filter, Kind, ReadError, Reader, Row, Since};
use crate::query::{ErrorKind, Parameters, QueryError, Session};
use crate::serve::Caller;
use crate::serve::access_log::{Line, Outcome};
use crate::zk::ChangeKind;

/// Open streams. Each has a thread that asks every second at the least.
const STREAMS_MAX: usize = 16;
/// Events that wait for a slow reader.
const EVENTS_WAITING_MAX: usize = 32;
/// How long a reader that takes nothing is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// Silence that long is broken by a comment, so that whatever lies between does not take the stream for dead.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(15);
/// Between two questions where there was something new, and where there has been nothing for a while.
const IDLE_MIN: Duration = Duration::from_millis(200);
const IDLE_MAX: Duration = Duration::from_secs(1);
/// A question that fails so often in a row fails for good.
const FAILURES_MAX: u32 = 3;
/// Globs, kinds or clusters of one stream.
const FILTERS_MAX: usize = 64;

/// The streams of one door.
#[derive(Clone)]
pub(super) struct Streams {
    permits: Arc<Semaphore>,
    patience: Duration,
    stopped: Arc<watch::Sender<bool>>,
}

impl Default for Streams {
    fn default() -> Self {
        Self {
            permits: Arc::new(Semaphore::new(STREAMS_MAX)),
            patience: PATIENCE,
            stopped: Arc::new(watch::Sender::new(false)),
        }
    }
}

impl Streams {
    /// Ends every stream, and lets none begin.
    pub(super) fn stop(&self) {
        self.stopped.send_replace(true);
    }
}

/// What a request asks for.
#[derive(Debug, Default)]
struct Asked {
    filter: Filter,
    clusters: Vec<String>,
    values: bool,
    since: Option<Since>,
    cursor: Option<Cursor>,
}

impl Asked {
    fn read(query: &str, headers: &HeaderMap) -> Result<Self, String> {
        let mut asked = Self { values: true, ..Self::default() };
        for (name, value) in query_string::pairs(query)? {
            match name.as_str() {
                "path" => asked.filter.add_glob(&value)?,
                "kind" => {
                    for kind in value.split(',') {
                        asked.filter.kinds.push(kind_named(kind)?);
                    }
                }
                "cluster" => asked.clusters.extend(value.split(',').map(str::to_owned)),
                "values" => {
                    asked.values = match value.as_str() {
                        "true" => true,
                        "false" => false,
                        other => return Err(format!("values={other}: it is true or false")),
                    }
                }
                "since" => {
                    let since: Since = value.parse().map_err(|error| format!("since: {error}; or oldest"))?;
                    asked.since = Some(since).filter(|since| *since != Since::Cursor);
                }
                "cursor" => asked.cursor = Some(value.parse().map_err(|error| format!("cursor {error}"))?),
                other => {
                    return Err(format!(
                        "there is no parameter {other:?}: there are path, kind, cluster, values, since and cursor"
                    ));
                }
            }
        }
        if asked.filter.globs.len().max(asked.filter.kinds.len()).max(asked.clusters.len()) > FILTERS_MAX {
            return Err(format!("more than {FILTERS_MAX} paths, kinds or clusters"));
        }
        // What a client sends by itself when it comes back says more than the URL with which it began.
        if let Some(id) = headers.get("last-event-id").and_then(|id| id.to_str().ok()).filter(|id| !id.is_empty()) {
            asked.cursor = Some(id.parse().map_err(|error| format!("Last-Event-ID {error}"))?);
        }
        Ok(asked)
    }
}

fn kind_named(name: &str) -> Result<ChangeKind, String> {
    let kind = ChangeKind::ALL.iter().find(|kind| kind.as_str() == name).copied();
    kind.ok_or_else(|| {
        let kinds: Vec<&str> = ChangeKind::ALL.iter().map(|kind| kind.as_str()).collect();
        format!("there is no kind {name:?}: there are {}", kinds.join(", "))
    })
}

/// Begins a stream.
pub(super) async fn stream(
    State(state): State<AppState>,
    Extension(caller): Extension<Caller>,
    Extension(streams): Extension<Streams>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let query = query.unwrap_or_default();
    let asked = match Asked::read(&query, &headers) {
        Ok(asked) => asked,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, &error),
    };
    let Ok(permit) = streams.permits.clone().try_acquire_owned() else {
        let text = format!("{STREAMS_MAX} streams are open already: try again in a moment");
        return refuse(StatusCode::SERVICE_UNAVAILABLE, &text);
    };
    let line = state.access_log.query(&caller, &format!("GET /changes/stream?{query}"));
    let history = History { session: state.engine.session(caller.access.clone()), handle: Handle::current() };
    // Where it begins is settled before the status goes out, so that what is wrong has one of its own.
    let begun =
        tokio::task::spawn_blocking(move || begin(&history, &asked).map(|cursor| (history, asked, cursor))).await;
    let (history, asked, cursor) = match begun {
        Ok(Ok(begun)) => begun,
        Ok(Err(error)) => {
            let status = match error {
                ReadError::Away(_) => StatusCode::SERVICE_UNAVAILABLE,
                _ => StatusCode::BAD_REQUEST,
            };
            line.end(Outcome::Failed(ErrorKind::User));
            return refuse(status, &error.to_string());
        }
        Err(error) => return refuse(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    };
    let (sender, receiver) = mpsc::channel(EVENTS_WAITING_MAX);
    // A place of its own for the last word, so that it is said however much waits before it.
    let (last_sender, last) = tokio::sync::oneshot::channel();
    let writer = Writer {
        sender,
        cursor,
        values: asked.values,
        patience: streams.patience,
        stopped: streams.stopped.subscribe(),
        handle: Handle::current(),
        spoke_at: Instant::now(),
        line,
        _permit: permit,
    };
    tokio::task::spawn_blocking(move || {
        if let Some(last) = writer.run(&history, &asked) {
            let _ = last_sender.send(last);
        }
    });
    let events = futures::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|event| (event, receiver))
    });
    let last = futures::stream::once(last).filter_map(|last| async move { last.ok() });
    let body = events.chain(last).map(|text: String| Ok::<_, Infallible>(Bytes::from(text)));
    let head = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (head, Body::from_stream(body)).into_response()
}

fn begin(history: &History, asked: &Asked) -> Result<Cursor, ReadError> {
    if let Some(cursor) = &asked.cursor {
        return Ok(cursor.clone());
    }
    let since = asked.since.clone().unwrap_or(Since::Now);
    let beginning = since.resolve(Reader::now(history)?).map_err(|error| ReadError::Failed(error.to_string()))?;
    Ok(Cursor { since: Reader::beginning(history, beginning, &asked.clusters)?, places: Default::default() })
}

/// The history, as its reader's user may see it, asked from a thread that may wait.
struct History {
    session: Session,
    handle: Handle,
}

impl Ask for History {
    fn ask(&self, sql: &str) -> Result<Vec<Row>, ReadError> {
        let told = |error: QueryError| match error.kind() {
            ErrorKind::Busy => ReadError::Away(error.to_string()),
            _ => ReadError::Failed(error.to_string()),
        };
        let failed = |error: &dyn std::fmt::Display| ReadError::Failed(error.to_string());
        self.handle.block_on(async {
            let mut stream = self.session.query(sql, Parameters::new()).await.map_err(told)?;
            let mut encoder = JsonEncoder::new(&stream.schema());
            let mut text = Vec::new();
            while let Some(batch) = stream.next().await {
                encoder.batch(&batch.map_err(told)?, &mut text);
            }
            encoder.finish(&mut text);
            serde_json::from_slice(&text).map_err(|error| failed(&error))
        })
    }

    fn describe(&self) -> String {
        "this agent".to_owned()
    }
}

/// Why a stream is over.
enum End {
    /// The reader went away.
    Gone,
    Stopped,
    Slow,
    Failed(ReadError),
}

/// Writes one stream.
struct Writer {
    sender: mpsc::Sender<String>,
    /// Behind the last event that the reader's queue has taken.
    cursor: Cursor,
    values: bool,
    patience: Duration,
    stopped: watch::Receiver<bool>,
    handle: Handle,
    spoke_at: Instant,
    line: Line,
    _permit: OwnedSemaphorePermit,
}

impl Writer {
    /// Runs to the end; gives the last word, where there is one to say.
    fn run(mut self, history: &History, asked: &Asked) -> Option<String> {
        let mut reader = Reader::new(history, &asked.filter, &asked.clusters, self.cursor.clone());
        let end = self.follow(&mut reader);
        let (outcome, last) = match end {
            End::Gone => (Outcome::Cancelled, None),
            End::Stopped => (Outcome::Ok, Some(": the agent stops\n\n".to_owned())),
            End::Slow => {
                let text = format!(
                    "nothing was taken for {} s: go on from the cursor, with fewer changes or by reading faster",
                    self.patience.as_secs()
                );
                (Outcome::Failed(ErrorKind::Limit), Some(self.error(&text)))
            }
            End::Failed(error) => (Outcome::Failed(ErrorKind::Server), Some(self.error(&error.to_string()))),
        };
        self.line.end(outcome);
        last
    }

    fn follow(&mut self, reader: &mut Reader<'_>) -> End {
        let mut idle = IDLE_MIN;
        let mut failures = 0;
        // So that a reader knows at once that it is through.
        if let Err(end) = self.send("retry: 2000\n\n".to_owned()) {
            return end;
        }
        loop {
            let more = match reader.round() {
                Ok(round) => {
                    failures = 0;
                    idle = if round.events.is_empty() { (idle * 2).min(IDLE_MAX) } else { IDLE_MIN };
                    for event in &round.events {
                        if let Err(end) = self.event(event) {
                            return end;
                        }
                    }
                    self.cursor = reader.cursor.clone();
                    round.more
                }
                Err(ReadError::Away(_)) => {
                    idle = IDLE_MAX;
                    false
                }
                Err(ReadError::Failed(_)) if failures < FAILURES_MAX => {
                    failures += 1;
                    idle = IDLE_MAX;
                    false
                }
                Err(error) => return End::Failed(error),
            };
            if self.spoke_at.elapsed() >= HEARTBEAT_EVERY {
                // The id moves a reader past what no filter let pass.
                let beat = format!(": {}\nid: {}\n\n", crate::zk::Micros::now(), self.cursor);
                if let Err(end) = self.send(beat) {
                    return end;
                }
            }
            if let Some(end) = self.pause(if more { Duration::ZERO } else { idle }) {
                return end;
            }
        }
    }

    fn event(&mut self, event: &Event) -> Result<(), End> {
        let mut ahead = self.cursor.clone();
        ahead.advance(event);
        let cursor = ahead.to_string();
        let name = match event.kind {
            Kind::Change => "change",
            Kind::GapOpened | Kind::GapClosed => "gap",
            Kind::Pruned => "pruned",
        };
        let json = match self.values {
            true => event.json(&cursor),
            false => {
                let mut without = event.clone();
                without.row.shift_remove("data");
                without.json(&cursor)
            }
        };
        self.send(format!("event: {name}\nid: {cursor}\ndata: {json}\n\n"))?;
        if event.kind == Kind::Change {
            self.line.rows(1);
        }
        self.cursor = ahead;
        Ok(())
    }

    fn error(&self, text: &str) -> String {
        let json = serde_json::json!({ "error": text, "cursor": self.cursor.to_string() });
        format!("event: error\nid: {}\ndata: {json}\n\n", self.cursor)
    }

    fn send(&mut self, text: String) -> Result<(), End> {
        if *self.stopped.borrow() {
            return Err(End::Stopped);
        }
        let (sender, stopped) = (self.sender.clone(), &mut self.stopped);
        let sent = self.handle.block_on(async {
            tokio::select! {
                sent = timeout(self.patience, sender.send(text)) => match sent {
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(_)) => Err(End::Gone),
                    Err(_) => Err(End::Slow),
                },
                _ = stopped.wait_for(|stopped| *stopped) => Err(End::Stopped),
            }
        });
        if sent.is_ok() {
            self.spoke_at = Instant::now();
        }
        sent
    }

    /// Waits for the next question, or for whatever ends the stream before.
    fn pause(&mut self, time: Duration) -> Option<End> {
        let (sender, stopped) = (&self.sender, &mut self.stopped);
        self.handle.block_on(async {
            tokio::select! {
                biased;
                () = sender.closed() => Some(End::Gone),
                _ = stopped.wait_for(|stopped| *stopped) => Some(End::Stopped),
                () = tokio::time::sleep(time) => None,
            }
        })
    }
}

#[cfg(test)]
mod tests;
