//! One session, message by message.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arrow::datatypes::SchemaRef;
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::sql::parser::Statement;
use pgwire::api::Type;
use pgwire::api::results::{CopyCsvOptions, CopyEncoder, CopyTextOptions, DataRowEncoder, FieldInfo};
use pgwire::messages::PgWireBackendMessage as Out;
use pgwire::messages::copy::{CopyDone, CopyOutResponse};
use pgwire::messages::data::{FieldDescription, NoData, ParameterDescription, RowDescription};
use pgwire::messages::extendedquery::{BindComplete, CloseComplete, ParseComplete, PortalSuspended};
use pgwire::messages::response::{CommandComplete, EmptyQueryResponse, ReadyForQuery};
use pgwire::messages::startup::{BackendKeyData, ParameterStatus, SecretKey};
use tokio::sync::watch;

use super::backends::{Backend, Entered};
use super::command::{self, Command, Copy, Count, Piece};
use super::error::PgError;
use super::message::{self, Bind, Format, Message, Target};
use super::rows::{self, Rows};
use super::settings::{Changed, Settings};
use super::startup::Opened;
use super::transaction::Transaction;
use super::wire::{MESSAGE_BYTES_MAX, ReadError, Reader, WRITE_BYTES, Writer};
use super::{DATABASE, Door, parameters, question};
use crate::query::{PgActivity, PgFacts, PgSetting, Session};
use crate::serve::Caller;
use crate::serve::access_log::Outcome;

/// Prepared statements of one session.
pub(super) const STATEMENTS_MAX: usize = 4_096;

/// Portals and cursors of one session.
pub(super) const PORTALS_MAX: usize = 256;

/// The text of one message: a longer one is a mistake, and its words would take many times as much.
pub(super) const SQL_BYTES_MAX: usize = 1 << 20;

/// How much longer than its queries may take a session waits for a client that does not read.
const READING_TIME_EXTRA: Duration = Duration::from_secs(10);

/// Why a message was not carried out.
enum Stop {
    /// The client is told, and the session goes on.
    Error(PgError),
    /// Nobody is there any more.
    Gone(io::Error),
}

impl From<PgError> for Stop {
    fn from(error: PgError) -> Self {
        Self::Error(error)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Gone(error)
    }
}

impl From<crate::query::QueryError> for Stop {
    fn from(error: crate::query::QueryError) -> Self {
        if super::is_servers(error.kind()) {
            tracing::error!(%error, "a query over PostgreSQL failed");
        }
        Self::Error(error.into())
    }
}

type Done<T> = Result<T, Stop>;

/// Runs a session to its end.
pub(super) async fn run(opened: Opened, door: Arc<Door>, mut stopped: watch::Receiver<bool>) -> io::Result<()> {
    let Opened { reader, mut writer, client, user, access, parameters } = opened;
    let mut settings = Settings::new(&user);
    for (name, value) in &parameters {
        if let Err(error) = settings.set(name, Some(value)) {
            // As PostgreSQL: what a connection cannot have, it does not come to be.
            return super::startup::refuse::<()>(&mut writer, &error).await.map(|_| ());
        }
    }
    settings.begin();
    let entered = door.backends.enter(&user, client).map_err(io::Error::other)?;
    let settings = Arc::new(Mutex::new(settings));
    let facts = facts(&door, &entered.backend, &settings);
    let query = match door.engine.postgres_session(access, facts).await {
        Ok(query) => query,
        Err(error) => {
            tracing::error!(%error, "cannot begin a PostgreSQL session");
            return super::startup::refuse::<()>(&mut writer, &error.into()).await.map(|_| ());
        }
    };
    let mut connection = Connection {
        reader,
        writer,
        door,
        entered,
        query,
        settings,
        transaction: Transaction::None,
        at_begin: None,
        local: BTreeMap::new(),
        savepoints: Vec::new(),
        statements: BTreeMap::new(),
        portals: BTreeMap::new(),
    };
    connection.greet()?;
    loop {
        if !connection.reader.has_more() {
            connection.writer.flush().await?;
        }
        let next = tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => None,
            next = connection.reader.message(MESSAGE_BYTES_MAX) => Some(next),
        };
        let Some(next) = next else {
            let error = PgError::new("57P01", "terminating connection due to administrator command");
            return super::startup::refuse::<()>(&mut connection.writer, &error).await.map(|_| ());
        };
        let (kind, body) = match next {
            Ok(Some(next)) => next,
            Ok(None) => return Ok(()),
            Err(ReadError::Io(error)) => return Err(error),
            Err(error @ ReadError::TooLarge { .. }) => {
                let error = PgError::new("54000", error.to_string());
                return super::startup::refuse::<()>(&mut connection.writer, &error).await.map(|_| ());
            }
        };
        let message = match message::message(kind, body) {
            Ok(Message::Terminate) => return Ok(()),
            Ok(message) => message,
            Err(error) => {
                // What follows cannot be trusted to be where it seems to be.
                let error = PgError::new("08P01", error.to_string());
                return super::startup::refuse::<()>(&mut connection.writer, &error).await.map(|_| ());
            }
        };
        match connection.heed(message, message::is_extended(kind)).await {
            Ok(()) => {}
            Err(error) => return Err(error),
        }
    }
}

struct Connection {
    reader: Reader,
    writer: Writer,
    door: Arc<Door>,
    entered: Entered,
    query: Session,
    settings: Arc<Mutex<Settings>>,
    transaction: Transaction,
    /// What ROLLBACK goes back to.
    at_begin: Option<Settings>,
    /// What SET LOCAL has changed, as it was before.
    local: BTreeMap<String, String>,
    savepoints: Vec<(String, Settings)>,
    statements: BTreeMap<String, Arc<Prepared>>,
    portals: BTreeMap<String, Portal>,
}

/// A statement that is parsed and known by its types; it holds no plan and no View.
struct Prepared {
    /// `None` for an empty statement.
    piece: Option<Piece>,
    command: Command,
    question: Option<Question>,
}

struct Question {
    statement: Statement,
    /// What each parameter is read as.
    parameters: Vec<Type>,
    /// The columns, as [`rows::shown`] makes them.
    schema: SchemaRef,
}

/// A statement with its values, and its rows once it runs. A cursor is one too.
struct Portal {
    prepared: Arc<Prepared>,
    values: Vec<ScalarValue>,
    formats: Vec<Format>,
    rows: Option<Rows>,
    ended: bool,
    /// Made by DECLARE: it ends with its transaction, unless WITH HOLD.
    hold: bool,
    cursor: bool,
}

fn lock(settings: &Mutex<Settings>) -> MutexGuard<'_, Settings> {
    settings.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What SQL can ask about this session and the others.
fn facts(door: &Arc<Door>, backend: &Arc<Backend>, settings: &Arc<Mutex<Settings>>) -> PgFacts {
    let (of_get, of_set, of_all) = (settings.clone(), settings.clone(), settings.clone());
    let everybody = !door.users.credentials_required();
    let may = {
        let user = backend.user.clone();
        move |other: &Backend| everybody || other.user == user
    };
    let (listed, of_cancel) = (door.backends.clone(), door.backends.clone());
    let may_cancel = may.clone();
    PgFacts {
        pid: backend.pid,
        user: backend.user.clone(),
        database: DATABASE,
        version: door.version.clone(),
        server: door.address,
        client: backend.client,
        started: door.started,
        setting: Arc::new(move |name| lock(&of_get).get(name).ok()),
        set: Arc::new(move |name, value| lock(&of_set).set(name, Some(value)).map_err(|error| error.to_string())),
        settings: Arc::new(move || {
            let all = lock(&of_all).all();
            all.into_iter()
                .map(|shown| PgSetting {
                    name: shown.name,
                    value: shown.value,
                    about: shown.about,
                    default: shown.default,
                    kind: shown.kind,
                    can_set: shown.can_set,
                })
                .collect()
        }),
        activity: Arc::new(move || {
            let backends = listed.all();
            backends
                .iter()
                .filter(|backend| may(backend))
                .map(|backend| {
                    let doing = backend.doing();
                    PgActivity {
                        pid: backend.pid,
                        user: backend.user.clone(),
                        application: doing.application,
                        client: backend.client,
                        started: backend.started,
                        query_started: doing.query_started,
                        state_changed: doing.state_changed,
                        state: doing.state,
                        query: doing.query,
                    }
                })
                .collect()
        }),
        cancel: Arc::new(move |pid| match of_cancel.get(pid) {
            Some(backend) if may_cancel(&backend) => {
                backend.cancel();
                true
            }
            _ => false,
        }),
    }
}

/// Waits for `work`, unless it is cancelled or its client goes away.
async fn attended<T>(reader: &mut Reader, backend: &Backend, work: impl Future<Output = Done<T>>) -> Done<T> {
    tokio::select! {
        biased;
        () = backend.cancelled() => Err(PgError::cancelled().into()),
        done = work => done,
        () = reader.gone() => Err(Stop::Gone(io::ErrorKind::ConnectionAborted.into())),
    }
}

impl Connection {
    fn backend(&self) -> &Backend {
        &self.entered.backend
    }

    fn put(&mut self, message: Out) -> io::Result<()> {
        self.writer.put(&message)
    }

    fn greet(&mut self) -> io::Result<()> {
        self.apply_settings();
        let reported = lock(&self.settings).reported();
        self.tell(reported)?;
        let (pid, secret) = (self.backend().pid, SecretKey::I32(self.backend().secret));
        self.put(Out::BackendKeyData(BackendKeyData::new(pid, secret)))?;
        self.entered.backend.end("idle");
        self.ready()
    }

    fn tell(&mut self, changed: Vec<Changed>) -> io::Result<()> {
        for Changed { name, value } in changed {
            self.put(Out::ParameterStatus(ParameterStatus::new(name.to_owned(), value)))?;
        }
        Ok(())
    }

    fn ready(&mut self) -> io::Result<()> {
        self.put(Out::ReadyForQuery(ReadyForQuery::new(self.transaction.status())))
    }

    /// Makes the session's settings felt.
    fn apply_settings(&mut self) {
        let settings = lock(&self.settings).clone();
        self.query.set_time_max(settings.statement_timeout());
        self.query.options_mut().execution.time_zone = Some(settings.time_zone());
        self.entered.backend.set_application(&settings.application_name());
    }

    /// Carries out a message. An error is told to the client; `Err` is the end of the connection.
    async fn heed(&mut self, message: Message, extended: bool) -> io::Result<()> {
        match message {
            Message::Query(sql) => {
                let stop = self.simple(&sql).await;
                self.entered.backend.end(self.waiting());
                match stop {
                    Ok(()) => {}
                    Err(Stop::Gone(error)) => return Err(error),
                    Err(Stop::Error(error)) => self.fail(&error)?,
                }
                self.end_of_statement();
                self.ready()
            }
            Message::Sync => {
                self.end_of_statement();
                self.ready()?;
                self.writer.flush().await
            }
            Message::Flush => self.writer.flush().await,
            // Left over from a COPY that was never begun.
            Message::Copy => Ok(()),
            message => {
                let stop = self.extended(message).await;
                self.entered.backend.end(self.waiting());
                match stop {
                    Ok(()) => Ok(()),
                    Err(Stop::Gone(error)) => Err(error),
                    Err(Stop::Error(error)) => {
                        self.fail(&error)?;
                        if extended { self.skip_to_sync().await } else { self.ready() }
                    }
                }
            }
        }
    }

    /// What a session is called in pg_stat_activity that waits for its client.
    fn waiting(&self) -> &'static str {
        match self.transaction {
            Transaction::None => "idle",
            Transaction::Open => "idle in transaction",
            Transaction::Failed => "idle in transaction (aborted)",
        }
    }

    fn fail(&mut self, error: &PgError) -> io::Result<()> {
        self.put(error.to_message("ERROR"))?;
        self.transaction.failed();
        Ok(())
    }

    /// Outside a transaction, portals end with the statement.
    fn end_of_statement(&mut self) {
        if !self.transaction.is_open() {
            self.portals.retain(|_, portal| portal.hold);
        }
    }

    /// After an error in the extended protocol all is passed over until the next Sync.
    async fn skip_to_sync(&mut self) -> io::Result<()> {
        self.writer.flush().await?;
        loop {
            match self.reader.message(MESSAGE_BYTES_MAX).await {
                Ok(Some((b'S', _))) => {
                    self.end_of_statement();
                    self.ready()?;
                    return self.writer.flush().await;
                }
                Ok(Some((b'X', _)) | None) => return Err(io::ErrorKind::ConnectionAborted.into()),
                Ok(Some(_)) => {}
                Err(ReadError::Io(error)) => return Err(error),
                Err(error) => return Err(io::Error::other(error)),
            }
        }
    }

    // The simple protocol.

    async fn simple(&mut self, sql: &str) -> Done<()> {
        let pieces = match check_length(sql).and_then(|()| command::pieces(sql)) {
            Ok(pieces) => pieces,
            Err(error) => {
                let refused = Err(error.into());
                self.log(sql, &refused, 0, Instant::now());
                return refused;
            }
        };
        if pieces.is_empty() {
            self.put(Out::EmptyQueryResponse(EmptyQueryResponse::new()))?;
        }
        for piece in pieces {
            let begun = Instant::now();
            self.entered.backend.begin(&piece.text);
            let mut rows = 0;
            let done = self.simple_piece(&piece, &mut rows).await;
            self.log(&piece.text, &done, rows, begun);
            done?;
        }
        Ok(())
    }

    async fn simple_piece(&mut self, piece: &Piece, sent: &mut u64) -> Done<()> {
        let prepared = self.prepare(Some(piece.clone()), &[]).await?;
        if prepared.question.as_ref().is_some_and(|question| !question.parameters.is_empty()) {
            return Err(PgError::new("42P02", "there is no parameter $1")
                .hint("A simple query has no parameters.")
                .into());
        }
        match &prepared.command {
            Command::Copy(copy) => self.copy(copy, &prepared, sent).await,
            Command::Fetch { cursor, count, moves } => {
                let (cursor, count, moves) = (cursor.clone(), *count, *moves);
                self.fetch(&cursor, count, moves, true, None, sent).await.map(|_| ())
            }
            Command::Question | Command::Show(_) | Command::ShowAll => {
                let mut rows = self.begin_rows(&prepared, Vec::new()).await?;
                let fields = self.fields(rows.schema(), &[])?;
                self.describe(&fields)?;
                self.send(&mut rows, &fields, None, sent).await?;
                let tag = format!("{} {sent}", piece.tag());
                self.complete(if piece.tag() == "SELECT" { &tag } else { piece.tag() })
            }
            _ => {
                let tag = self.perform(&prepared).await?;
                self.complete(tag)
            }
        }
    }

    fn complete(&mut self, tag: &str) -> Done<()> {
        Ok(self.put(Out::CommandComplete(CommandComplete::new(tag.to_owned())))?)
    }

    fn log(&self, sql: &str, done: &Done<()>, rows: u64, begun: Instant) {
        let outcome = match done {
            Ok(()) => Outcome::Ok,
            Err(Stop::Error(error)) => Outcome::Failed(error.kind()),
            Err(Stop::Gone(_)) => Outcome::Cancelled,
        };
        self.door.access_log.ended(&self.caller(), sql, begun, rows, outcome);
    }

    fn caller(&self) -> Caller {
        let address = self.backend().client.ip();
        Caller { door: crate::serve::Door::Postgres, address, access: self.query.access().clone(), is_owner: false }
    }

    // The extended protocol.

    async fn extended(&mut self, message: Message) -> Done<()> {
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

    async fn parse(&mut self, name: String, sql: &str, types: &[u32]) -> Done<()> {
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
    async fn prepare(&mut self, piece: Option<Piece>, types: &[u32]) -> Done<Prepared> {
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

    async fn question(&mut self, piece: &Piece, types: &[u32]) -> Done<Question> {
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

    fn bind(&mut self, bind: Bind) -> Done<()> {
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

    fn check_portals(&self) -> Result<(), PgError> {
        match self.portals.len() >= PORTALS_MAX {
            true => Err(PgError::new("53400", format!("this session has {PORTALS_MAX} portals and cursors"))),
            false => Ok(()),
        }
    }

    /// The columns that a statement will give; `None` where it gives no rows.
    fn columns(&self, prepared: &Prepared) -> Result<Option<SchemaRef>, PgError> {
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

    fn describe_target(&mut self, target: &Target) -> Done<()> {
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

    fn fields(&self, schema: &SchemaRef, formats: &[Format]) -> Result<Arc<Vec<FieldInfo>>, PgError> {
        let options = Arc::new(lock(&self.settings).format_options());
        rows::fields(schema, formats, &options)
    }

    fn describe(&mut self, fields: &[FieldInfo]) -> Done<()> {
        let fields = fields.iter().map(FieldDescription::from).collect();
        Ok(self.put(Out::RowDescription(RowDescription::new(fields)))?)
    }

    async fn execute(&mut self, portal: &mut Portal, rows_max: u32, sent: &mut u64) -> Done<()> {
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

    // Rows.

    async fn begin_rows(&mut self, prepared: &Prepared, values: Vec<ScalarValue>) -> Done<Rows> {
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
    async fn send(
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
    async fn row_at_hand(&mut self, rows: &mut Rows) -> Done<bool> {
        if rows.at_hand() {
            return Ok(true);
        }
        if self.writer.waiting_bytes() > 0 {
            self.flush_attended().await?;
        }
        let Self { reader, entered, .. } = self;
        attended(reader, &entered.backend, async { Ok(rows.ready().await?) }).await
    }

    async fn flush_attended(&mut self) -> Done<()> {
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
    fn shown(&self, command: &Command) -> Result<Rows, PgError> {
        let settings = lock(&self.settings);
        match command {
            Command::Show(name) => Rows::text(Settings::proper_name(name)?, vec![settings.get(name)?]),
            _ => {
                let all = settings.all();
                let column = |of: fn(&super::settings::Shown) -> String| -> arrow::array::ArrayRef {
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

    async fn fetch(
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

    async fn fetch_from(
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

    async fn pass(&mut self, rows: &mut Rows, limit: Option<u64>, passed: &mut u64) -> Done<bool> {
        while limit.is_none_or(|limit| *passed < limit) {
            if !self.row_at_hand(rows).await? {
                return Ok(true);
            }
            rows.skip();
            *passed += 1;
        }
        Ok(false)
    }

    async fn copy(&mut self, copy: &Copy, prepared: &Prepared, sent: &mut u64) -> Done<()> {
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

    // What is about the session itself.

    /// Carries out a command that gives no rows; gives its tag.
    async fn perform(&mut self, prepared: &Prepared) -> Done<&'static str> {
        let before = lock(&self.settings).clone();
        let tag = match &prepared.command {
            Command::Set { name, value, local } => {
                if *local {
                    if !self.transaction.is_open() {
                        self.warn("25P01", "SET LOCAL can only be used in transaction blocks")?;
                        Settings::proper_name(name)?;
                        return Ok("SET");
                    }
                    let proper = Settings::proper_name(name)?;
                    let was = before.get(name)?;
                    lock(&self.settings).set(name, value.as_deref())?;
                    self.local.entry(proper.to_owned()).or_insert(was);
                } else {
                    lock(&self.settings).set(name, value.as_deref())?;
                }
                "SET"
            }
            Command::SetNothing => "SET",
            Command::Reset(Some(name)) => {
                lock(&self.settings).set(name, None)?;
                "RESET"
            }
            Command::Reset(None) => {
                lock(&self.settings).reset_all();
                "RESET"
            }
            Command::Begin => {
                if self.transaction.is_open() {
                    self.warn("25001", "there is already a transaction in progress")?;
                } else {
                    self.transaction = Transaction::Open;
                    self.at_begin = Some(before.clone());
                }
                "BEGIN"
            }
            Command::Commit => {
                let failed = self.transaction == Transaction::Failed;
                if !self.transaction.is_open() {
                    self.warn("25P01", "there is no transaction in progress")?;
                }
                self.end_transaction(!failed);
                if failed { "ROLLBACK" } else { "COMMIT" }
            }
            Command::Rollback => {
                if !self.transaction.is_open() {
                    self.warn("25P01", "there is no transaction in progress")?;
                }
                self.end_transaction(false);
                "ROLLBACK"
            }
            Command::Savepoint(name) => {
                self.in_transaction("SAVEPOINT")?;
                if self.savepoints.len() >= SAVEPOINTS_MAX {
                    return Err(PgError::new(
                        "53400",
                        format!("a transaction has at most {SAVEPOINTS_MAX} savepoints"),
                    )
                    .into());
                }
                self.savepoints.push((name.clone(), before.clone()));
                "SAVEPOINT"
            }
            Command::Release(name) => {
                self.in_transaction("RELEASE SAVEPOINT")?;
                let at = self.savepoint(name)?;
                self.savepoints.truncate(at);
                "RELEASE"
            }
            Command::RollbackTo(name) => {
                self.in_transaction("ROLLBACK TO SAVEPOINT")?;
                let at = self.savepoint(name)?;
                if let Some((_, settings)) = self.savepoints.get(at) {
                    *lock(&self.settings) = settings.clone();
                }
                self.savepoints.truncate(at + 1);
                self.transaction = Transaction::Open;
                "ROLLBACK"
            }
            Command::Declare { name, hold, .. } => {
                if !self.transaction.is_open() && !hold {
                    return Err(PgError::new("25P01", "DECLARE CURSOR can only be used in transaction blocks").into());
                }
                if self.portals.contains_key(name) {
                    return Err(PgError::new("42P03", format!("cursor \"{name}\" already exists")).into());
                }
                self.check_portals()?;
                let Some(question) = &prepared.question else {
                    return Err(PgError::new("42601", "DECLARE needs a query").into());
                };
                if !question.parameters.is_empty() {
                    return Err(PgError::unsupported("DECLARE with parameters")
                        .hint("Portals of the protocol take parameters and are fetched in parts as well.")
                        .into());
                }
                let declared = Prepared {
                    piece: prepared.piece.clone(),
                    command: Command::Question,
                    question: Some(Question {
                        statement: question.statement.clone(),
                        parameters: Vec::new(),
                        schema: question.schema.clone(),
                    }),
                };
                let cursor = Portal {
                    prepared: Arc::new(declared),
                    values: Vec::new(),
                    formats: Vec::new(),
                    rows: None,
                    ended: false,
                    hold: *hold,
                    cursor: true,
                };
                self.portals.insert(name.clone(), cursor);
                "DECLARE CURSOR"
            }
            Command::CloseCursor(Some(name)) => {
                self.portals.remove(name).ok_or_else(|| no_cursor(name))?;
                "CLOSE CURSOR"
            }
            Command::CloseCursor(None) => {
                self.portals.retain(|_, portal| !portal.cursor);
                "CLOSE CURSOR ALL"
            }
            Command::Deallocate(Some(name)) => {
                let missing = || PgError::new("26000", format!("prepared statement \"{name}\" does not exist"));
                self.statements.remove(name).ok_or_else(missing)?;
                "DEALLOCATE"
            }
            Command::Deallocate(None) => {
                self.statements.clear();
                "DEALLOCATE ALL"
            }
            Command::Discard(tag) => {
                if *tag == "DISCARD ALL" {
                    if self.transaction.is_open() {
                        return Err(PgError::new("25001", "DISCARD ALL cannot run inside a transaction block").into());
                    }
                    self.portals.clear();
                    self.statements.clear();
                    lock(&self.settings).reset_all();
                }
                tag
            }
            Command::Question | Command::Show(_) | Command::ShowAll | Command::Fetch { .. } | Command::Copy(_) => {
                return Err(PgError::new("XX000", "this statement gives rows").into());
            }
        };
        self.settle(&before)?;
        Ok(tag)
    }

    /// Tells the client of settings that have changed, and makes them felt.
    fn settle(&mut self, before: &Settings) -> io::Result<()> {
        let changed = lock(&self.settings).changed_since(before);
        self.apply_settings();
        self.tell(changed)
    }

    fn warn(&mut self, code: &'static str, text: &str) -> io::Result<()> {
        let notice = PgError::new(code, text).to_notice();
        self.put(notice)
    }

    fn in_transaction(&self, what: &str) -> Result<(), PgError> {
        match self.transaction.is_open() {
            true => Ok(()),
            false => Err(PgError::new("25P01", format!("{what} can only be used in transaction blocks"))),
        }
    }

    fn savepoint(&self, name: &str) -> Result<usize, PgError> {
        self.savepoints
            .iter()
            .rposition(|(other, _)| other == name)
            .ok_or_else(|| PgError::new("3B001", format!("savepoint \"{name}\" does not exist")))
    }

    fn end_transaction(&mut self, keeps: bool) {
        let at_begin = self.at_begin.take();
        let local = std::mem::take(&mut self.local);
        let mut settings = lock(&self.settings);
        match at_begin {
            Some(at_begin) if !keeps => *settings = at_begin,
            _ => {
                for (name, value) in local {
                    let _ = settings.set(&name, Some(&value));
                }
            }
        }
        drop(settings);
        self.savepoints.clear();
        self.transaction = Transaction::None;
        self.portals.retain(|_, portal| portal.hold);
    }
}

/// Savepoints of one transaction.
const SAVEPOINTS_MAX: usize = 1_024;

fn check_length(sql: &str) -> Result<(), PgError> {
    match sql.len() {
        ..=SQL_BYTES_MAX => Ok(()),
        bytes => Err(PgError::new("54000", format!("the statement has {bytes} bytes, of at most {SQL_BYTES_MAX}"))
            .hint("Parameters may be longer.")),
    }
}

fn no_cursor(name: &str) -> PgError {
    PgError::new("34000", format!("cursor \"{name}\" does not exist"))
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
