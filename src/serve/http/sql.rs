use std::io::Read;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::rejection::BytesRejection;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;

use super::{AppState, query_string, refuse};
use crate::query::encode::{ArrowEncoder, CsvEncoder, JsonEncoder, ParquetEncoder};
use crate::query::parameters::PARAMETERS_MAX;
use crate::query::{ErrorKind, Parameters, QueryError, QueryStream};
use crate::serve::Caller;
use crate::serve::access_log::{Line, Outcome};

/// Bytes of an answer that are made before its status goes out: up to here an error still gets a status of its own.
/// After that there is only one honest way to say that an answer is not whole: to break the connection off.
const HELD_BYTES_MAX: usize = 1 << 20;

/// The form that `zktrail sql` asks for: an Arrow stream in [`Frame`]s, whose last one says how it ended.
pub const FRAMED_ARROW: &str = "application/vnd.zktrail.arrow-frames";
const ARROW: &str = "application/vnd.apache.arrow.stream";
const JSON: &str = "application/json";
const CSV: &str = "text/csv";
const PARQUET: &str = "application/vnd.apache.parquet";

/// A query with its parameters, as `application/json`.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    sql: String,
    #[serde(default)]
    params: Parameters,
}

impl Asked {
    /// Under any other type than JSON the body is the SQL itself.
    fn read(headers: &HeaderMap, body: &[u8]) -> Result<Self, String> {
        let media = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if media.split(';').next().is_some_and(|media| media.trim().eq_ignore_ascii_case(JSON)) {
            let asked: Self = serde_json::from_slice(body).map_err(|error| {
                format!(
                    "the body should be {{\"sql\": \"…\", \"params\": {{\"name\": value}}}}, each value a string, number, \
                     boolean or null: {error}"
                )
            })?;
            if asked.params.len() > PARAMETERS_MAX {
                return Err(format!("there are {} parameters, of at most {PARAMETERS_MAX}", asked.params.len()));
            }
            return Ok(asked);
        }
        let sql = std::str::from_utf8(body).map_err(|_| "the query is not UTF-8".to_owned())?;
        Ok(Self { sql: sql.to_owned(), params: Parameters::new() })
    }
}

/// `POST /sql`: the body is the query, or as JSON the query and its parameters; `?format=` or Accept picks the form.
pub(super) async fn answer(
    State(state): State<AppState>,
    Extension(caller): Extension<Caller>,
    RawQuery(in_url): RawQuery,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let mut format = None;
    let pairs = match query_string::pairs(in_url.as_deref().unwrap_or_default()) {
        Ok(pairs) => pairs,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, &error),
    };
    for (name, value) in pairs {
        if name != "format" {
            let text = format!("the URL takes format=json, csv, arrow or parquet, and no {name:?}");
            return refuse(StatusCode::BAD_REQUEST, &text);
        }
        format = Some(value);
    }
    let body = match body {
        Ok(body) => body,
        Err(rejection) => return refuse(rejection.status(), &format!("the query: {}", rejection.body_text())),
    };
    let asked = match Asked::read(&headers, &body) {
        Ok(asked) => asked,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, &error),
    };
    if asked.sql.trim().is_empty() {
        return refuse(StatusCode::BAD_REQUEST, "the body is empty: it should be a query, as in SHOW TABLES");
    }
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("*/*");
    let form = match &format {
        Some(name) => match Form::named(name) {
            Some(form) => form,
            None => {
                let text = format!("there is no format {name:?}: there are json, csv, arrow and parquet");
                return refuse(StatusCode::BAD_REQUEST, &text);
            }
        },
        None => match Form::accepted(accept) {
            Some(form) => form,
            None => {
                let text = format!("cannot answer as {accept:?}; there are {JSON}, {CSV}, {ARROW} and {PARQUET}");
                return refuse(StatusCode::NOT_ACCEPTABLE, &text);
            }
        },
    };
    match begin(&state, &caller, asked, form).await {
        Ok((held, answer)) => {
            // What is held goes first, then the rest as it comes.
            let rest = futures::stream::unfold(answer, |answer| async move {
                let mut answer = answer?;
                match answer.next().await {
                    Ok(Some(bytes)) => Some((Ok(bytes), Some(answer))),
                    Ok(None) => None,
                    Err(error) => Some((Err(std::io::Error::other(error)), None)),
                }
            });
            let stream = futures::stream::once(async move { Ok(Bytes::from(held)) }).chain(rest);
            ([(header::CONTENT_TYPE, form.content_type())], Body::from_stream(stream)).into_response()
        }
        Err(error) => refuse(status(&error), &error.to_string()),
    }
}

fn status(error: &QueryError) -> StatusCode {
    match (error.kind(), error) {
        (ErrorKind::User, _) => StatusCode::BAD_REQUEST,
        (ErrorKind::Limit, QueryError::Time { .. } | QueryError::UserTime { .. }) => StatusCode::REQUEST_TIMEOUT,
        (ErrorKind::Limit, _) => StatusCode::UNPROCESSABLE_ENTITY,
        (ErrorKind::Busy, _) => StatusCode::SERVICE_UNAVAILABLE,
        (ErrorKind::Server, _) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Starts the query and encodes its beginning; the rest, if there is any, comes from the answer.
async fn begin(
    state: &AppState,
    caller: &Caller,
    asked: Asked,
    form: Form,
) -> Result<(Vec<u8>, Option<Answer>), QueryError> {
    let line = state.access_log.query(caller, &asked.sql);
    let session = state.engine.session(caller.access.clone());
    let stream = match session.query(&asked.sql, asked.params).await {
        Ok(stream) => stream,
        Err(error) => {
            line.end(Outcome::Failed(error.kind()));
            return Err(error);
        }
    };
    let mut answer = Answer::new(stream, form, line)?;
    let mut held = Vec::new();
    while let Some(bytes) = answer.next().await? {
        held.extend_from_slice(&bytes);
        if held.len() >= HELD_BYTES_MAX {
            return Ok((held, Some(answer)));
        }
    }
    Ok((held, None))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Csv,
    Arrow,
    Parquet,
    FramedArrow,
}

impl Form {
    const ALL: [Self; 5] = [Self::Json, Self::Csv, Self::Arrow, Self::Parquet, Self::FramedArrow];

    fn content_type(self) -> &'static str {
        match self {
            Self::Json => JSON,
            Self::Csv => "text/csv; charset=utf-8",
            Self::Arrow => ARROW,
            Self::Parquet => PARQUET,
            Self::FramedArrow => FRAMED_ARROW,
        }
    }

    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "json" => Self::Json,
            "csv" => Self::Csv,
            "arrow" => Self::Arrow,
            "parquet" => Self::Parquet,
            _ => return None,
        })
    }

    /// The form that an Accept header prefers; `None` where it takes none of ours.
    fn accepted(accept: &str) -> Option<Self> {
        let mut best: Option<(f32, Self)> = None;
        for item in accept.split(',') {
            let mut parts = item.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default().to_ascii_lowercase();
            let quality =
                parts.find_map(|part| part.strip_prefix("q=")).and_then(|q| q.parse().ok()).unwrap_or(1.0_f32);
            let form = match media.as_str() {
                "*/*" | "application/*" | "" => Some(Self::Json),
                "text/*" => Some(Self::Csv),
                _ => Self::ALL.into_iter().find(|form| form.content_type().split(';').next() == Some(media.as_str())),
            };
            if let Some(form) = form
                && quality > 0.0
                && best.is_none_or(|(best, _)| quality > best)
            {
                best = Some((quality, form));
            }
        }
        best.map(|(_, form)| form)
    }
}

enum Encoder {
    Json(JsonEncoder),
    Csv(CsvEncoder),
    Arrow(ArrowEncoder),
    Parquet(Box<ParquetEncoder>),
    FramedArrow(ArrowEncoder),
}

impl Encoder {
    fn new(form: Form, schema: &SchemaRef) -> Result<Self, QueryError> {
        let arrow = || ArrowEncoder::new(schema).map_err(|error| QueryError::Internal(error.to_string()));
        Ok(match form {
            Form::Json => Self::Json(JsonEncoder::new(schema)),
            Form::Csv => Self::Csv(CsvEncoder::new(schema)),
            Form::Arrow => Self::Arrow(arrow()?),
            Form::FramedArrow => Self::FramedArrow(arrow()?),
            Form::Parquet => Self::Parquet(Box::new(ParquetEncoder::new(schema).map_err(|error| {
                QueryError::Sql(format!(
                    "this answer is nothing that Parquet can hold: {error}. Cast it, as in CAST(… AS text)"
                ))
            })?)),
        })
    }

    /// The bytes of a batch; without one those of the end, after which there is no encoder any more.
    fn encode(mut self, batch: Option<&RecordBatch>) -> Result<(Option<Self>, Vec<u8>), QueryError> {
        let failed = |error: &dyn std::fmt::Display| QueryError::Internal(error.to_string());
        let mut out = Vec::new();
        match (&mut self, batch) {
            (Self::Json(json), Some(batch)) => json.batch(batch, &mut out),
            (Self::Json(json), None) => json.finish(&mut out),
            (Self::Csv(csv), Some(batch)) => csv.batch(batch, &mut out),
            (Self::Csv(csv), None) => csv.finish(&mut out),
            (Self::Arrow(arrow), Some(batch)) => arrow.batch(batch, &mut out).map_err(|error| failed(&error))?,
            (Self::Arrow(arrow), None) => arrow.finish(&mut out).map_err(|error| failed(&error))?,
            (Self::Parquet(parquet), Some(batch)) => parquet.batch(batch, &mut out).map_err(|error| failed(&error))?,
            (Self::Parquet(_), None) => {}
            (Self::FramedArrow(arrow), Some(batch)) => {
                let mut rows = Vec::new();
                arrow.batch(batch, &mut rows).map_err(|error| failed(&error))?;
                Frame::Rows(rows).write(&mut out);
            }
            (Self::FramedArrow(arrow), None) => {
                let mut rows = Vec::new();
                arrow.finish(&mut rows).map_err(|error| failed(&error))?;
                Frame::Rows(rows).write(&mut out);
                Frame::End.write(&mut out);
            }
        }
        match (self, batch) {
            (Self::Parquet(parquet), None) => {
                parquet.finish(&mut out).map_err(|error| failed(&error))?;
                Ok((None, out))
            }
            (_, None) => Ok((None, out)),
            (encoder, Some(_)) => Ok((Some(encoder), out)),
        }
    }
}

/// The encoded rows of one query, piece by piece.
struct Answer {
    stream: QueryStream,
    encoder: Option<Encoder>,
    /// What the access log will say; taken when the answer has ended.
    line: Option<Line>,
}

impl Answer {
    fn new(stream: QueryStream, form: Form, line: Line) -> Result<Self, QueryError> {
        let encoder = Encoder::new(form, &stream.schema())?;
        Ok(Self { stream, encoder: Some(encoder), line: Some(line) })
    }

    fn end(&mut self, outcome: Outcome) {
        if let Some(line) = self.line.take() {
            line.end(outcome);
        }
    }

    /// The next piece; `None` after the last.
    async fn next(&mut self) -> Result<Option<Bytes>, QueryError> {
        let Some(encoder) = self.encoder.take() else { return Ok(None) };
        let batch = match self.stream.next().await.transpose() {
            Ok(Some(batch)) => {
                if let Some(line) = &mut self.line {
                    line.rows(batch.num_rows());
                }
                Some(batch)
            }
            Ok(None) => {
                self.end(Outcome::Ok);
                None
            }
            // This form has room for the reason, so that its reader can be told in words.
            Err(error) if matches!(encoder, Encoder::FramedArrow(_)) => {
                self.end(Outcome::Failed(error.kind()));
                let mut out = Vec::new();
                Frame::Failed(error.to_string()).write(&mut out);
                return Ok(Some(Bytes::from(out)));
            }
            Err(error) => {
                self.end(Outcome::Failed(error.kind()));
                return Err(error);
            }
        };
        // A batch of wide rows takes tens of milliseconds: not on the threads that serve.
        match tokio::task::spawn_blocking(move || encoder.encode(batch.as_ref())).await {
            Ok(encoded) => {
                let (encoder, out) = encoded?;
                self.encoder = encoder;
                Ok(Some(Bytes::from(out)))
            }
            Err(error) => Err(QueryError::Internal(error.to_string())),
        }
    }
}

/// A piece of a [`FRAMED_ARROW`] answer: `u8 kind, u32 length (big endian), payload`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Kind 1: bytes of an Arrow IPC stream.
    Rows(Vec<u8>),
    /// Kind 2: nothing more comes, and this is why.
    Failed(String),
    /// Kind 3: the answer is whole.
    End,
}

/// Far above any batch that the engine makes.
const FRAME_BYTES_MAX: u32 = 1 << 30;

impl Frame {
    fn write(&self, out: &mut Vec<u8>) {
        let (kind, payload): (u8, &[u8]) = match self {
            Self::Rows(rows) => (1, rows),
            Self::Failed(reason) => (2, reason.as_bytes()),
            Self::End => (3, &[]),
        };
        // A batch that passes 4 GiB cannot come out of the engine's memory limit; were it to, the reader sees a cut.
        let Ok(length) = u32::try_from(payload.len()) else { return };
        out.push(kind);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(payload);
    }

    fn read(reader: &mut impl Read) -> std::io::Result<Self> {
        let mut head = [0; 5];
        reader.read_exact(&mut head)?;
        let [kind, length @ ..] = head;
        let length = u32::from_be_bytes(length);
        if length > FRAME_BYTES_MAX {
            return Err(std::io::Error::other(format!("a frame of {length} bytes: this is no zktrail agent")));
        }
        let mut payload = Vec::new();
        reader.take(length.into()).read_to_end(&mut payload)?;
        if payload.len() as u64 != u64::from(length) {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        match kind {
            1 => Ok(Self::Rows(payload)),
            2 => Ok(Self::Failed(String::from_utf8_lossy(&payload).into_owned())),
            3 => Ok(Self::End),
            other => {
                Err(std::io::Error::other(format!("a frame of unknown kind {other}: another version of zktrail?")))
            }
        }
    }
}

/// Reads a [`FRAMED_ARROW`] answer as the Arrow stream within. An answer that is not whole is an error that says why.
pub struct FrameReader<R> {
    inner: R,
    rows: std::io::Cursor<Vec<u8>>,
    ended: bool,
}

impl<R: Read> FrameReader<R> {
    pub fn new(inner: R) -> Self {
        Self { inner, rows: std::io::Cursor::default(), ended: false }
    }

    /// Reads on to the end; for after the last batch, to know that the answer is whole.
    pub fn finish(&mut self) -> std::io::Result<()> {
        std::io::copy(self, &mut std::io::sink()).map(|_| ())
    }
}

impl<R: Read> Read for FrameReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        loop {
            let read = self.rows.read(buffer)?;
            if read > 0 || self.ended || buffer.is_empty() {
                return Ok(read);
            }
            match Frame::read(&mut self.inner) {
                Ok(Frame::Rows(rows)) => self.rows = std::io::Cursor::new(rows),
                Ok(Frame::End) => self.ended = true,
                Ok(Frame::Failed(reason)) => return Err(std::io::Error::other(reason)),
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                    return Err(std::io::Error::other(
                        "the agent broke off its answer: it was stopped, or the network was",
                    ));
                }
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests;
