//! The extended protocol: parse, bind, describe, execute.

use std::sync::Arc;
use std::time::Instant;

use arrow::datatypes::SchemaRef;
use pgwire::api::Type;
use pgwire::api::results::FieldInfo;
use pgwire::messages::PgWireBackendMessage as Out;
use pgwire::messages::data::{FieldDescription, NoData, ParameterDescription, RowDescription};
use pgwire::messages::extendedquery::{BindComplete, CloseComplete, ParseComplete, PortalSuspended};
use pgwire::messages::response::EmptyQueryResponse;

use super::super::command::{self, Command, Copy, Piece};
use super::super::error::PgError;
use super::super::message::{Bind, Format, Message, Target};
use super::super::transaction::Transaction;
use super::super::{parameters, question, rows};
use super::{
    Connection, Done, PORTALS_MAX, Portal, Prepared, Question, STATEMENTS_MAX, attended, check_length, lock, no_cursor,
};

impl Connection {
    pub(super) async fn extended(&mut self, message: Message) -> Done<()> {
        match message {
            Message::Parse { name, sql, types } => {
                let begun = Instant::now();
                self.entered.backend.begin(&sql);
                let done = self.parse(name, &sql, &types).await;
                if done.is_err() {
                    // What is parsed has its line when it runs.
                    self.log(&sql, &done, 0, begun);
                }
                done
            }
            Message::Bind(bind) => self.bind(bind),
            Message::Describe(target) => self.describe_target(&target),
            Message::Execute { portal, rows_max } => {
                let Some(mut taken) = self.portals.remove(&portal) else {
                    return Err(PgError::new("34000", format!("portal \"{portal}\" does not exist")).into());
                };
                let text = taken.prepared.piece.as_ref().map(|piece| piece.text.clone()).unwrap_or_default();
                let begun = Instant::now();
                self.entered.backend.begin(&text);
                let mut sent = 0;
                let done = self.execute(&mut taken, rows_max, &mut sent).await;
                self.log(&text, &done, sent, begun);
                // DISCARD ALL and the end of a transaction have closed it.
                let closed = matches!(
                    taken.prepared.command,
                    Command::Discard("DISCARD ALL") | Command::Commit | Command::Rollback | Command::CloseCursor(None)
                );
                if !closed {
                    self.portals.insert(portal, taken);
                }
                done
            }
            Message::Close(target) => {
                match target {
                    Target::Statement(name) => {
                        self.statements.remove(&name);
                    }
                    Target::Portal(name) => {
                        self.portals.remove(&name);
                    }
                }
                Ok(self.put(Out::CloseComplete(CloseComplete::new()))?)
            }
            Message::FunctionCall => Err(PgError::unsupported("the function call protocol").into()),
            _ => Err(PgError::new("08P01", "this message is not expected now").into()),
        }
    }

    pub(super) async fn parse(&mut self, name: String, sql: &str, types: &[u32]) -> Done<()> {
        if !name.is_empty() {
            if self.statements.contains_key(&name) {
                return Err(PgError::new("42P05", format!("prepared statement \"{name}\" already exists")).into());
            }
            if self.statements.len() >= STATEMENTS_MAX {
                let error = PgError::new("53400", format!("this session has {STATEMENTS_MAX} prepared statements"));
                return Err(error.hint("DEALLOCATE those that are not needed.").into());
            }
        }
        check_length(sql)?;
        let mut pieces = command::pieces(sql)?;
        if pieces.len() > 1 {
            return Err(PgError::new("42601", "cannot insert multiple commands into a prepared statement").into());
        }
        let prepared = self.prepare(pieces.pop(), types).await?;
        self.statements.insert(name, Arc::new(prepared));
        Ok(self.put(Out::ParseComplete(ParseComplete::new()))?)
    }

    /// Parses and plans a statement, for its types alone.
    pub(super) async fn prepare(&mut self, piece: Option<Piece>, types: &[u32]) -> Done<Prepared> {
        let command = piece.as_ref().map_or(Ok(Command::Question), Piece::command)?;
        let ends = matches!(command, Command::Commit | Command::Rollback | Command::RollbackTo(_));
        if self.transaction == Transaction::Failed && !ends && piece.is_some() {
            return Err(PgError::failed_transaction().into());
        }
        let asked = match (&piece, &command) {
            (Some(piece), Command::Question) => Some(piece.clone()),
            (Some(piece), Command::Declare { query, .. } | Command::Copy(Copy { query, .. })) => {
                let mut inner = command::pieces(query)?;
                let inner = inner.pop().filter(|_| inner.is_empty());
                let mut inner = inner.ok_or_else(|| PgError::new("42601", "this is not one query"))?;
                if inner.command()? != Command::Question {
                    return Err(PgError::new("42601", "this is no query").into());
                }
                // For the place of an error only: the query stands at the end of its statement, or near it.
                inner.begins += piece.begins;
                Some(inner)
            }
            _ => None,
        };
        let question = match asked {
            Some(asked) => Some(self.question(&asked, types).await?),
            None => None,
        };
        Ok(Prepared { piece, command, question })
    }

    pub(super) async fn question(&mut self, piece: &Piece, types: &[u32]) -> Done<Question> {
        let statement = question::parse(piece)?;
        let time_zone = lock(&self.settings).time_zone();
        let declared: Vec<Option<Type>> =
            types.iter().map(|oid| Type::from_oid(*oid).filter(|of| *of != Type::UNKNOWN)).collect();
        let mut hints = Vec::with_capacity(declared.len());
        for (at, of) in declared.iter().enumerate() {
            hints.push(match of {
                None => None,
                Some(of) => Some(
                    parameters::data_type(of, &time_zone)
                        .ok_or_else(|| PgError::unsupported(format!("parameter ${} of type {}", at + 1, of.name())))?,
                ),
            });
        }
        let Self { reader, entered, query, .. } = self;
        let backend = &entered.backend;
        // Parameters of table functions are not the planner's.
        let arguments = question::for_describing(&statement);
        let mut shaped = question::Shaped { types: &declared, typed: false, apart: false };
        let mut described = shaped.attempt(&arguments.statement);
        let plain = attended(reader, backend, async { Ok(query.describe(described.clone(), &hints).await) }).await?;
        let plain = match plain {
            // Two columns of one name: PostgreSQL does not mind.
            Err(error) if error.to_string().contains("require unique expression names") => {
                shaped.apart = true;
                described = shaped.attempt(&arguments.statement);
                attended(reader, backend, async { Ok(query.describe(described.clone(), &hints).await) }).await?
            }
            plain => plain,
        };
        let is_typed = |described: &crate::query::Described| {
            described.parameters.iter().zip(&hints).all(|(known, hint)| hint.is_none() || known.is_some())
        };
        let described = match plain {
            Ok(plain) if is_typed(&plain) => plain,
            plain if hints.iter().any(Option::is_some) => {
                // What the client says of its parameters helps where the statement itself does not tell.
                let typed = question::Shaped { typed: true, ..shaped }.attempt(&arguments.statement);
                match attended(reader, backend, async { Ok(query.describe(typed, &hints).await) }).await? {
                    Ok(described) => {
                        shaped.typed = true;
                        described
                    }
                    Err(_) => plain?,
                }
            }
            plain => plain?,
        };
        // With parameters of table functions it is filled in anew each time that it runs.
        let statement = shaped.attempt(&statement);
        let count = arguments.count.max(described.parameters.len());
        let mut known = Vec::with_capacity(count);
        for at in 0..count {
            let inferred = described.parameters.get(at).and_then(Option::as_ref);
            let of = match (declared.get(at).cloned().flatten(), inferred) {
                (Some(of), _) => of,
                (None, None) if arguments.types.contains_key(&(at + 1)) => {
                    arguments.types.get(&(at + 1)).cloned().unwrap_or(Type::TEXT)
                }
                (None, Some(inferred)) => arrow_pg::datatypes::into_pg_type(inferred).unwrap_or(Type::TEXT),
                (None, None) => Type::TEXT,
            };
            known.push(if of == Type::UNKNOWN { Type::TEXT } else { of });
        }
        let names = question::column_names(&statement, described.schema.fields().len());
        let schema = rows::shown(&described.schema, &names, &time_zone);
        Ok(Question { statement, parameters: known, schema })
    }

    pub(super) fn bind(&mut self, bind: Bind) -> Done<()> {
        let Bind { portal, statement, formats, values, result_formats } = bind;
        let Some(prepared) = self.statements.get(&statement).cloned() else {
            return Err(PgError::new("26000", format!("prepared statement \"{statement}\" does not exist")).into());
        };
        let ends = matches!(prepared.command, Command::Commit | Command::Rollback | Command::RollbackTo(_));
        if self.transaction == Transaction::Failed && !ends && prepared.piece.is_some() {
            return Err(PgError::failed_transaction().into());
        }
        let expected = prepared.question.as_ref().map_or(&[][..], |question| &question.parameters);
        if values.len() != expected.len() {
            let text = format!(
                "bind message supplies {} parameters, but prepared statement \"{statement}\" requires {}",
                values.len(),
                expected.len()
            );
            return Err(PgError::new("08P01", text).into());
        }
        if formats.len() > 1 && formats.len() != values.len() {
            return Err(PgError::new("08P01", "there are not as many formats as parameters").into());
        }
        let time_zone = lock(&self.settings).time_zone();
        let mut read = Vec::with_capacity(values.len());
        for (at, (value, of)) in values.iter().zip(expected).enumerate() {
            let format = match formats.as_slice() {
                [] => Format::Text,
                [one] => *one,
                several => several.get(at).copied().unwrap_or(Format::Text),
            };
            read.push(parameters::read(at + 1, value.as_deref(), format, of, &time_zone)?);
        }
        if !portal.is_empty() {
            if self.portals.contains_key(&portal) {
                return Err(PgError::new("42P03", format!("cursor \"{portal}\" already exists")).into());
            }
            self.check_portals()?;
        }
        let bound = Portal {
            prepared,
            values: read,
            formats: result_formats,
            rows: None,
            ended: false,
            hold: false,
            cursor: false,
        };
        self.portals.insert(portal, bound);
        Ok(self.put(Out::BindComplete(BindComplete::new()))?)
    }

    pub(super) fn check_portals(&self) -> Result<(), PgError> {
        match self.portals.len() >= PORTALS_MAX {
            true => Err(PgError::new("53400", format!("this session has {PORTALS_MAX} portals and cursors"))),
            false => Ok(()),
        }
    }

    /// The columns that a statement will give; `None` where it gives no rows.
    pub(super) fn columns(&self, prepared: &Prepared) -> Result<Option<SchemaRef>, PgError> {
        match &prepared.command {
            Command::Question => Ok(prepared.question.as_ref().map(|question| question.schema.clone())),
            Command::Show(_) | Command::ShowAll => Ok(Some(self.shown(&prepared.command)?.schema().clone())),
            Command::Fetch { cursor, moves: false, .. } => {
                let cursor = self.portals.get(cursor).ok_or_else(|| no_cursor(cursor))?;
                Ok(cursor.prepared.question.as_ref().map(|question| question.schema.clone()))
            }
            _ => Ok(None),
        }
    }

    pub(super) fn describe_target(&mut self, target: &Target) -> Done<()> {
        let (prepared, formats) = match target {
            Target::Statement(name) => {
                let prepared = self.statements.get(name).cloned();
                let prepared = prepared
                    .ok_or_else(|| PgError::new("26000", format!("prepared statement \"{name}\" does not exist")))?;
                let types = prepared.question.iter().flat_map(|question| &question.parameters);
                let types = types.map(Type::oid).collect();
                self.put(Out::ParameterDescription(ParameterDescription::new(types)))?;
                (prepared, Vec::new())
            }
            Target::Portal(name) => {
                let portal = self.portals.get(name);
                let portal =
                    portal.ok_or_else(|| PgError::new("34000", format!("portal \"{name}\" does not exist")))?;
                (portal.prepared.clone(), portal.formats.clone())
            }
        };
        match self.columns(&prepared)? {
            Some(schema) => {
                let fields = self.fields(&schema, &formats)?;
                self.describe(&fields)
            }
            None => Ok(self.put(Out::NoData(NoData::new()))?),
        }
    }

    pub(super) fn fields(&self, schema: &SchemaRef, formats: &[Format]) -> Result<Arc<Vec<FieldInfo>>, PgError> {
        let options = Arc::new(lock(&self.settings).format_options());
        rows::fields(schema, formats, &options)
    }

    pub(super) fn describe(&mut self, fields: &[FieldInfo]) -> Done<()> {
        let fields = fields.iter().map(FieldDescription::from).collect();
        Ok(self.put(Out::RowDescription(RowDescription::new(fields)))?)
    }

    pub(super) async fn execute(&mut self, portal: &mut Portal, rows_max: u32, sent: &mut u64) -> Done<()> {
        let prepared = portal.prepared.clone();
        let Some(piece) = &prepared.piece else {
            return Ok(self.put(Out::EmptyQueryResponse(EmptyQueryResponse::new()))?);
        };
        let ends = matches!(prepared.command, Command::Commit | Command::Rollback | Command::RollbackTo(_));
        if self.transaction == Transaction::Failed && !ends {
            return Err(PgError::failed_transaction().into());
        }
        match &prepared.command {
            Command::Copy(copy) => self.copy(copy, &prepared, sent).await,
            Command::Fetch { cursor, count, moves } => {
                let (cursor, count, moves) = (cursor.clone(), *count, *moves);
                self.fetch(&cursor, count, moves, false, Some(&portal.formats.clone()), sent).await.map(|_| ())
            }
            Command::Question | Command::Show(_) | Command::ShowAll => {
                if !portal.ended && portal.rows.is_none() {
                    portal.rows = Some(self.begin_rows(&prepared, portal.values.clone()).await?);
                }
                let limit = (rows_max > 0 && rows_max <= i32::MAX as u32).then_some(u64::from(rows_max));
                if let Some(mut rows) = portal.rows.take() {
                    let fields = self.fields(rows.schema(), &portal.formats)?;
                    let ended = match self.send(&mut rows, &fields, limit, sent).await {
                        Ok(ended) => ended,
                        Err(stop) => {
                            portal.ended = true;
                            return Err(stop);
                        }
                    };
                    if !ended {
                        portal.rows = Some(rows);
                        return Ok(self.put(Out::PortalSuspended(PortalSuspended::new()))?);
                    }
                    portal.ended = true;
                }
                let tag = format!("{} {sent}", piece.tag());
                self.complete(if piece.tag() == "SELECT" { &tag } else { piece.tag() })
            }
            _ => {
                let tag = self.perform(&prepared).await?;
                self.complete(tag)
            }
        }
    }
}
