//! One session, message by message: its state, and the loop that hears its client.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arrow::datatypes::SchemaRef;
use datafusion::common::ScalarValue;
use datafusion::sql::parser::Statement;
use pgwire::api::Type;
use pgwire::messages::PgWireBackendMessage as Out;
use pgwire::messages::response::{CommandComplete, ReadyForQuery};
use pgwire::messages::startup::{BackendKeyData, ParameterStatus, SecretKey};
use tokio::sync::watch;

use super::backends::{Backend, Entered};
use super::command::{Command, Piece};
use super::error::PgError;
use super::message::{self, Format, Message};
use super::rows::Rows;
use super::settings::{Changed, Settings};
use super::startup::Opened;
use super::transaction::Transaction;
use super::wire::{MESSAGE_BYTES_MAX, ReadError, Reader, Writer};
use super::{DATABASE, Door};
use crate::query::{PgActivity, PgFacts, PgSetting, Session};
use crate::serve::Caller;
use crate::serve::access_log::Outcome;

mod answer;
mod extended;
mod perform;
mod simple;

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
}

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
