//! Rows on their way to the client: of portals, cursors and COPY.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use datafusion::common::{ParamValues, ScalarValue};
use pgwire::api::results::{CopyCsvOptions, CopyEncoder, CopyTextOptions, DataRowEncoder, FieldInfo};
use pgwire::messages::PgWireBackendMessage as Out;
use pgwire::messages::copy::{CopyDone, CopyOutResponse};

use super::super::command::{Command, Copy, Count};
use super::super::error::PgError;
use super::super::message::Format;
use super::super::question;
use super::super::rows::Rows;
use super::super::settings::{Settings, Shown};
use super::super::wire::WRITE_BYTES;
use super::{Connection, Done, Portal, Prepared, READING_TIME_EXTRA, Stop, attended, lock, no_cursor};

impl Connection {
    pub(super) async fn begin_rows(&mut self, prepared: &Prepared, values: Vec<ScalarValue>) -> Done<Rows> {
        let Some(question) = &prepared.question else {
            return Ok(self.shown(&prepared.command)?);
        };
        let statement = question::with_arguments(&question.statement, &values);
        let values = ParamValues::from(values);
        let Self { reader, entered, query, .. } = self;
        let run = async { Ok(query.run(statement, values).await?) };
        let stream = attended(reader, &entered.backend, run).await?;
        Ok(Rows::stream(question.schema.clone(), stream))
    }

    /// Sends rows until there is none left (true) or `limit` is reached.
    pub(super) async fn send(
        &mut self,
        rows: &mut Rows,
        fields: &Arc<Vec<FieldInfo>>,
        limit: Option<u64>,
        sent: &mut u64,
    ) -> Done<bool> {
        let mut encoder = DataRowEncoder::new(fields.clone());
        let until = limit.map(|limit| *sent + limit);
        let before = lock(&self.settings).clone();
        loop {
            if until.is_some_and(|until| *sent >= until) {
                return Ok(false);
            }
            if !self.row_at_hand(rows).await? {
                // set_config() may have been called.
                self.settle(&before)?;
                return Ok(true);
            }
            match rows.encode(&mut encoder, fields)? {
                Some(row) => self.put(Out::DataRow(row))?,
                None => continue,
            }
            *sent += 1;
            if self.writer.waiting_bytes() >= WRITE_BYTES {
                self.flush_attended().await?;
            }
        }
    }

    /// Waits for the next row; false where there is none. What is ready goes out before anything is waited for.
    pub(super) async fn row_at_hand(&mut self, rows: &mut Rows) -> Done<bool> {
        if rows.at_hand() {
            return Ok(true);
        }
        if self.writer.waiting_bytes() > 0 {
            self.flush_attended().await?;
        }
        let Self { reader, entered, .. } = self;
        attended(reader, &entered.backend, async { Ok(rows.ready().await?) }).await
    }

    pub(super) async fn flush_attended(&mut self) -> Done<()> {
        let Self { reader, entered, writer, query, .. } = self;
        let time_max = query.time_max() + READING_TIME_EXTRA;
        let flush = async {
            match tokio::time::timeout(time_max, writer.flush()).await {
                Ok(flushed) => Ok(flushed?),
                Err(_) => Err(Stop::Gone(io::ErrorKind::TimedOut.into())),
            }
        };
        attended(reader, &entered.backend, flush).await
    }

    /// SHOW's answer.
    pub(super) fn shown(&self, command: &Command) -> Result<Rows, PgError> {
        let settings = lock(&self.settings);
        match command {
            Command::Show(name) => Rows::text(Settings::proper_name(name)?, vec![settings.get(name)?]),
            _ => {
                let all = settings.all();
                let column = |of: fn(&Shown) -> String| -> arrow::array::ArrayRef {
                    Arc::new(all.iter().map(|shown| Some(of(shown))).collect::<arrow::array::StringArray>())
                };
                let batch = arrow::array::RecordBatch::try_from_iter([
                    ("name", column(|shown| shown.name.to_owned())),
                    ("setting", column(|shown| shown.value.clone())),
                    ("description", column(|shown| shown.about.to_owned())),
                ]);
                Ok(Rows::made(batch.map_err(|error| PgError::new("XX000", error.to_string()))?))
            }
        }
    }

    pub(super) async fn fetch(
        &mut self,
        name: &str,
        count: Count,
        moves: bool,
        describes: bool,
        formats: Option<&[Format]>,
        sent: &mut u64,
    ) -> Done<()> {
        let Some(mut cursor) = self.portals.remove(name) else {
            return Err(no_cursor(name).into());
        };
        let done = self.fetch_from(&mut cursor, count, moves, describes, formats, sent).await;
        if done.is_ok() {
            self.portals.insert(name.to_owned(), cursor);
        }
        done
    }

    pub(super) async fn fetch_from(
        &mut self,
        cursor: &mut Portal,
        count: Count,
        moves: bool,
        describes: bool,
        formats: Option<&[Format]>,
        sent: &mut u64,
    ) -> Done<()> {
        let prepared = cursor.prepared.clone();
        let Some(question) = &prepared.question else {
            return Err(PgError::new("XX000", "a cursor without a query").into());
        };
        if !cursor.ended && cursor.rows.is_none() {
            cursor.rows = Some(self.begin_rows(&prepared, cursor.values.clone()).await?);
        }
        let fields = self.fields(&question.schema, formats.unwrap_or(&[]))?;
        if describes && !moves {
            self.describe(&fields)?;
        }
        let limit = match count {
            Count::All => None,
            Count::Rows(rows) => Some(rows),
        };
        if let Some(mut rows) = cursor.rows.take() {
            let ended = match moves {
                false => self.send(&mut rows, &fields, limit, sent).await?,
                true => self.pass(&mut rows, limit, sent).await?,
            };
            if ended {
                cursor.ended = true;
            } else {
                cursor.rows = Some(rows);
            }
        }
        self.complete(&format!("{} {sent}", if moves { "MOVE" } else { "FETCH" }))
    }

    pub(super) async fn pass(&mut self, rows: &mut Rows, limit: Option<u64>, passed: &mut u64) -> Done<bool> {
        while limit.is_none_or(|limit| *passed < limit) {
            if !self.row_at_hand(rows).await? {
                return Ok(true);
            }
            rows.skip();
            *passed += 1;
        }
        Ok(false)
    }

    pub(super) async fn copy(&mut self, copy: &Copy, prepared: &Prepared, sent: &mut u64) -> Done<()> {
        if prepared.question.as_ref().is_some_and(|question| !question.parameters.is_empty()) {
            return Err(PgError::new("42P02", "COPY has no parameters").into());
        }
        let mut rows = self.begin_rows(prepared, Vec::new()).await?;
        let fields = self.fields(rows.schema(), &[])?;
        let columns = i16::try_from(fields.len()).unwrap_or(i16::MAX);
        self.put(Out::CopyOutResponse(CopyOutResponse::new(0, columns, vec![0; fields.len()])))?;
        if copy.header {
            let header = header(copy, &fields);
            self.put(Out::CopyData(pgwire::messages::copy::CopyData::new(header.into())))?;
        }
        let mut encoder = match copy.csv {
            false => CopyEncoder::new_text(
                fields.clone(),
                CopyTextOptions { delimiter: copy.delimiter.as_str().into(), null_string: copy.null.as_str().into() },
            ),
            true => CopyEncoder::new_csv(
                fields.clone(),
                CopyCsvOptions {
                    delimiter: copy.delimiter.as_str().into(),
                    quote: copy.quote.as_str().into(),
                    escape: copy.escape.as_str().into(),
                    null_string: copy.null.as_str().into(),
                    force_quote: if copy.force_quote_all { (0..fields.len()).collect() } else { Vec::new() },
                },
            ),
        };
        loop {
            if !self.row_at_hand(&mut rows).await? {
                break;
            }
            if let Some(data) = rows.encode(&mut encoder, &fields)? {
                self.put(Out::CopyData(data))?;
                *sent += 1;
            }
            if self.writer.waiting_bytes() >= WRITE_BYTES {
                self.flush_attended().await?;
            }
        }
        self.put(Out::CopyDone(CopyDone::new()))?;
        self.complete(&format!("COPY {sent}"))
    }
}

/// The first line of a COPY with its columns' names.
fn header(copy: &Copy, fields: &[FieldInfo]) -> String {
    let special: BTreeSet<char> =
        [copy.delimiter.as_str(), copy.quote.as_str(), "\n", "\r"].iter().flat_map(|text| text.chars()).collect();
    let names: Vec<String> = fields
        .iter()
        .map(|field| {
            let name = field.name();
            match copy.csv && (copy.force_quote_all || name.chars().any(|c| special.contains(&c))) {
                true => format!(
                    "{0}{1}{0}",
                    copy.quote,
                    name.replace(&copy.quote, &format!("{}{}", copy.escape, copy.quote))
                ),
                false => name.to_owned(),
            }
        })
        .collect();
    format!("{}\n", names.join(&copy.delimiter))
}
