use std::collections::HashMap;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::common::ParamValues;
use datafusion::datasource::object_store::ObjectStoreUrl;
use datafusion::error::DataFusionError;
use datafusion::execution::context::{SQLOptions, SessionConfig, SessionState};
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::LogicalPlan;
use datafusion::object_store::memory::InMemory;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::sql::parser::Statement;
use futures::{FutureExt, Stream, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, Sleep, timeout_at};

use super::access::Access;
use super::amplify;
use super::depth;
use super::error::{Fault, QueryError};
use super::functions;
use super::parameters::{self, Parameters};
use super::read_only;
use super::repeated;
use super::stop::{self, Stop};
use super::tables::{self, PartStatistics, PgFacts, Postgres, Tables};
use crate::history::error::HistoryError;
use crate::history::view::View;
use crate::zk::Micros;

/// Gives the current View of every cluster. Called once a query, off the async threads.
pub type Sources = Arc<dyn Fn() -> Result<Vec<View>, HistoryError> + Send + Sync>;

/// What bounds every query.
#[derive(Clone, Debug)]
pub struct Limits {
    /// What the running queries may hold together. Operators spill before they fail.
    pub memory_bytes_max: usize,
    /// From the moment that a query starts to the last row that is taken from it.
    pub time_max: Duration,
    /// Rows of one answer.
    pub rows_max: u64,
    /// Temporary files of all running queries.
    pub spill_bytes_max: u64,
    /// Queries that run at once.
    pub concurrent_max: usize,
    /// How long a query may wait for its turn before it is refused as busy.
    pub queue_wait_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes_max: 1 << 30,
            time_max: Duration::from_secs(60),
            rows_max: 1_000_000,
            spill_bytes_max: 4 << 30,
            concurrent_max: 8,
            queue_wait_max: Duration::from_secs(5),
        }
    }
}

/// What an engine has been doing since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    pub running: u64,
    pub finished_total: u64,
    /// Ended with an error, limits included; also those whose reader went away.
    pub failed_total: u64,
    pub limited_total: u64,
    pub busy_total: u64,
    pub rows_total: u64,
    pub micros_total: u64,
}

/// What an engine tells whoever observes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryEvent {
    Started,
    /// `outcome` is `None` where its reader went away.
    Ended {
        took: Duration,
        outcome: Option<Result<(), super::ErrorKind>>,
    },
}

/// Called on the engine's threads as queries begin and end: it must be quick.
pub type Observer = Arc<dyn Fn(QueryEvent) + Send + Sync>;

#[derive(Debug, Default)]
struct Counters {
    running: AtomicU64,
    finished: AtomicU64,
    failed: AtomicU64,
    limited: AtomicU64,
    busy: AtomicU64,
    rows: AtomicU64,
    micros: AtomicU64,
}

/// Answers SQL. Cheap to clone; the clones share limits, threads and memory.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    sources: Sources,
    limits: Limits,
    /// Functions, options and the runtime environment; a query adds its own catalog to a copy.
    base: SessionState,
    statistics: Arc<PartStatistics>,
    permits: Arc<Semaphore>,
    shares: Shares,
    counters: Counters,
    runtime: Threads,
    observer: std::sync::OnceLock<Observer>,
    /// Made for the first session that asks.
    postgres: tokio::sync::OnceCell<Postgres>,
}

impl Inner {
    fn tell(&self, event: QueryEvent) {
        if let Some(observer) = self.observer.get() {
            observer(event);
        }
    }
}

/// The engine's own threads. They end in the background: a blocking read that is under way is not waited for.
struct Threads(Option<tokio::runtime::Runtime>);

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// How long the end of a query that reached its deadline waits for its reader.
const LAST_WORD_WAIT_MAX: Duration = Duration::from_secs(1);

/// How far the query threads stand back: a tenth of the processor where both want all of it.
const QUERY_NICENESS: i32 = 10;

/// Batches that may wait between a query and its reader.
const BATCHES_WAITING_MAX: usize = 2;

impl Engine {
    /// Makes an engine. `spill_dir` holds temporary files while a query needs them; nothing is written before.
    pub fn new(sources: Sources, limits: Limits, spill_dir: &Path) -> Result<Self, QueryError> {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(cores)
            .thread_name("zktrail-query")
            .thread_stack_size(depth::STACK_BYTES)
            .on_thread_start(yield_to_recording)
            .enable_time()
            .build()
            .map_err(|error| QueryError::Internal(format!("cannot start the query threads: {error}")))?;
        let base = base_state(&limits, spill_dir, cores)
            .map_err(|error| QueryError::from_datafusion(error, limits.memory_bytes_max))?;
        let permits = Arc::new(Semaphore::new(limits.concurrent_max));
        let inner = Inner {
            sources,
            limits,
            base,
            statistics: Arc::default(),
            permits,
            shares: Shares::default(),
            counters: Counters::default(),
            runtime: Threads(Some(runtime)),
            observer: std::sync::OnceLock::new(),
            postgres: tokio::sync::OnceCell::new(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Tells `observer` of every query from now on. The first observer stays.
    pub fn observe(&self, observer: Observer) {
        let _ = self.inner.observer.set(observer);
    }

    pub fn limits(&self) -> &Limits {
        &self.inner.limits
    }

    pub fn activity(&self) -> Activity {
        let counters = &self.inner.counters;
        Activity {
            running: counters.running.load(Ordering::Relaxed),
            finished_total: counters.finished.load(Ordering::Relaxed),
            failed_total: counters.failed.load(Ordering::Relaxed),
            limited_total: counters.limited.load(Ordering::Relaxed),
            busy_total: counters.busy.load(Ordering::Relaxed),
            rows_total: counters.rows.load(Ordering::Relaxed),
            micros_total: counters.micros.load(Ordering::Relaxed),
        }
    }

    /// Starts one read-only statement and gives its rows as they come.
    ///
    /// Waits for its turn up to `queue_wait_max`. Dropping the future or the stream stops the query. The deadline holds
    /// also for a reader that stops reading.
    pub async fn query(&self, sql: &str) -> Result<QueryStream, QueryError> {
        self.query_with(sql, Parameters::new()).await
    }

    /// As [`Engine::query`], with values for the statement's [parameters](super::parameters).
    pub async fn query_with(&self, sql: &str, parameters: Parameters) -> Result<QueryStream, QueryError> {
        self.session(Access::full()).query(sql, parameters).await
    }

    /// Begins a session of its own: what is set in it stays in it.
    pub fn session(&self, access: Access) -> Session {
        let schemas = Arc::new([]);
        Session { engine: self.clone(), access, state: self.inner.base.clone(), time_max: None, schemas }
    }

    /// As [`Engine::session`], with the catalog and the functions that PostgreSQL's clients look for.
    pub async fn postgres_session(&self, access: Access, facts: PgFacts) -> Result<Session, QueryError> {
        let inner = &self.inner;
        let clean = |error| QueryError::from_datafusion(error, inner.limits.memory_bytes_max);
        let make = || async {
            let tables = Tables::new(Vec::new(), inner.statistics.clone(), inner.base.clone(), access.values);
            Postgres::new(&inner.base, &tables).await
        };
        let postgres = inner.postgres.get_or_try_init(make).await.map_err(clean)?;
        let (state, schemas) = postgres.session(facts).map_err(clean)?;
        Ok(Session { engine: self.clone(), access, state, time_max: None, schemas })
    }

    async fn start(&self, ask: Ask) -> Result<QueryStream, QueryError> {
        let inner = &self.inner;
        let until = Instant::now() + inner.limits.queue_wait_max;
        let busy = |error: QueryError| {
            inner.counters.busy.fetch_add(1, Ordering::Relaxed);
            inner.tell(QueryEvent::Started);
            let outcome = Some(Err(super::ErrorKind::Busy));
            inner.tell(QueryEvent::Ended { took: inner.limits.queue_wait_max, outcome });
            Err(error)
        };
        // A user's own places first: whoever waits for one of them takes none from others.
        let own = match inner.shares.places(&ask.access) {
            None => None,
            Some((places, running)) => match timeout_at(until, places.acquire_owned()).await {
                Ok(Ok(place)) => Some(place),
                Ok(Err(_)) | Err(_) => {
                    return busy(QueryError::UserBusy { user: ask.access.name(), running });
                }
            },
        };
        let permit = match timeout_at(until, inner.permits.clone().acquire_owned()).await {
            Ok(Ok(permit)) => (permit, own),
            Ok(Err(_)) | Err(_) => return busy(QueryError::Busy { running: inner.limits.concurrent_max }),
        };
        let Some(runtime) = &inner.runtime.0 else {
            return Err(QueryError::Internal("the engine is shutting down".to_owned()));
        };
        let time_max = ask.time_max;
        let deadline = Instant::now() + time_max;
        let (schema_sender, schema) = oneshot::channel();
        let (sender, receiver) = mpsc::channel(BATCHES_WAITING_MAX);
        let time_error = ask.time_error();
        let stop = ask.stop.clone();
        let run = Run { inner: inner.clone(), ask, deadline, permit };
        let task = StopOnDrop(stop, runtime.spawn(run.run(schema_sender, sender)).abort_handle());
        let schema = match timeout_at(deadline, schema).await {
            Err(_) => return Err(time_error.error()),
            Ok(Err(_)) => return Err(QueryError::Internal("the query's task ended without a word".to_owned())),
            Ok(Ok(schema)) => schema?,
        };
        Ok(QueryStream {
            schema,
            receiver,
            deadline: Box::pin(tokio::time::sleep_until(deadline)),
            time_error,
            done: false,
            _task: task,
        })
    }
}

/// Lets every other thread of the process go first: what is being recorded must not wait for a query.
fn yield_to_recording() {
    // Linux counts niceness by thread. Where it cannot be set, queries only compete as equals.
    let link = std::fs::read_link("/proc/thread-self").ok();
    let thread = link.as_deref().and_then(Path::file_name).and_then(|name| name.to_str()?.parse().ok());
    if let Some(thread) = thread.and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::setpriority_process(Some(thread), QUERY_NICENESS);
    }
}

/// One question to the engine, and on whose behalf.
struct Ask {
    access: Access,
    /// The session's own state; the query adds its tables to a copy.
    state: SessionState,
    schemas: session::Schemas,
    time_max: Duration,
    question: Question,
    stop: Stop,
}

/// What is told when the time is over.
#[derive(Clone)]
struct TimeError {
    limit: Duration,
    /// Whose bound it was, where it was a user's own.
    user: Option<Arc<str>>,
}

impl TimeError {
    fn error(&self) -> QueryError {
        let limit = self.limit;
        match self.user.clone() {
            Some(user) => QueryError::UserTime { user, limit },
            None => QueryError::Time { limit },
        }
    }
}

impl Ask {
    fn time_error(&self) -> TimeError {
        let is_own = self.access.limits.time_max == Some(self.time_max);
        TimeError { limit: self.time_max, user: is_own.then(|| self.access.name()) }
    }

    /// The bound that was reached is the user's own where the pool says so.
    fn name_user(&self, error: QueryError) -> QueryError {
        match (error, self.access.limits.memory_bytes_max) {
            (QueryError::Memory { detail, .. }, Some(bytes)) if detail.contains(share::USER_MEMORY) => {
                QueryError::UserMemory { user: self.access.name(), mib: bytes >> 20 }
            }
            (error, _) => error,
        }
    }
}

enum Question {
    /// As people write it, with `$name` parameters.
    Text { sql: String, parameters: Parameters },
    /// As a protocol has parsed it, with `$1` placeholders.
    Statement { statement: Box<Statement>, values: ParamValues },
}

/// The session's state with tables over Views that are taken now.
async fn with_views(
    inner: &Arc<Inner>,
    state: &SessionState,
    access: &Access,
    schemas: &session::Schemas,
) -> Result<SessionState, QueryError> {
    let sources = inner.sources.clone();
    let views = tokio::task::spawn_blocking(move || sources())
        .await
        .map_err(|error| QueryError::Internal(format!("cannot take a view of the history: {error}")))??;
    let tables = Tables::new(views, inner.statistics.clone(), inner.base.clone(), access.values);
    let runtime = state.runtime_env();
    let shared = match inner.shares.pool(access, &runtime.memory_pool) {
        None => None,
        Some(memory_pool) => {
            let runtime = RuntimeEnv { memory_pool, ..runtime.as_ref().clone() };
            Some(SessionStateBuilder::new_from_existing(state.clone()).with_runtime_env(Arc::new(runtime)).build())
        }
    };
    tables::with_tables(shared.as_ref().unwrap_or(state), tables, schemas)
        .map_err(|error| QueryError::from_datafusion(error, inner.limits.memory_bytes_max))
}

/// Plans one read-only statement; refuses every other.
async fn plan(inner: &Arc<Inner>, ask: &Ask) -> Result<(Arc<dyn ExecutionPlan>, SessionState), QueryError> {
    let clean = |error| QueryError::from_datafusion(error, inner.limits.memory_bytes_max);
    let state = with_views(inner, &ask.state, &ask.access, &ask.schemas).await?;
    let logical = match &ask.question {
        Question::Text { sql, parameters } => {
            depth::check(sql)?;
            // Before anything else is complained about: that it may not be done at all.
            let dialect = state.config_options().sql_parser.dialect;
            let mut statement = state.sql_to_statement(sql, &dialect).map_err(|error| {
                read_only::refused_word(sql).map_or_else(|| clean(error), |refused| read_only::error(&refused))
            })?;
            refuse_writing(&statement)?;
            parameters::bind(&mut statement, sql, parameters, Micros::now())?;
            logical(&state, statement).await.map_err(clean)?
        }
        Question::Statement { statement, values } => {
            refuse_writing(statement)?;
            let logical = logical(&state, statement.as_ref().clone()).await.map_err(clean)?;
            logical.replace_params_with_values(values).map_err(clean)?
        }
    };
    // What decides: whatever the words were, a plan that would write does not run.
    let only_reads = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    only_reads.verify_plan(&logical).map_err(|error| match clean(error) {
        QueryError::Sql(text) | QueryError::Named { text, .. } => {
            QueryError::Named { fault: Fault::ReadOnly, text: format!("{text}. {}", read_only::WHAT_THERE_IS) }
        }
        other => other,
    })?;
    let physical = state.create_physical_plan(&logical).await.map_err(clean)?;
    Ok((stop::stoppable(&physical, &ask.stop).map_err(clean)?, state))
}

fn refuse_writing(statement: &Statement) -> Result<(), QueryError> {
    read_only::refused_statement(statement).map_or(Ok(()), |refused| Err(read_only::error(&refused)))
}

async fn logical(state: &SessionState, statement: Statement) -> Result<LogicalPlan, DataFusionError> {
    let mut statement = statement;
    functions::rewrite(&mut statement).map_err(|error| DataFusionError::External(Box::new(error)))?;
    state.statement_to_plan(statement).await
}

/// One query on the engine's threads.
struct Run {
    inner: Arc<Inner>,
    ask: Ask,
    deadline: Instant,
    permit: (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>),
}

enum Message {
    Batch(RecordBatch),
    Failed(QueryError),
    /// Without it the answer is not whole.
    End,
}

type SchemaSender = oneshot::Sender<Result<SchemaRef, QueryError>>;

impl Run {
    async fn run(self, schema_sender: SchemaSender, sender: mpsc::Sender<Message>) {
        let Self { inner, ask, deadline, permit } = self;
        let mut tally = Tally::start(inner.clone());
        let mut schema_sender = Some(schema_sender);
        let work = answer(&inner, &ask, &mut schema_sender, &sender, &mut tally.rows);
        // A panic in a plan must become an error, or the answer would look like one that ended early.
        let outcome = match timeout_at(deadline, std::panic::AssertUnwindSafe(work).catch_unwind()).await {
            Err(_) => {
                ask.stop.now();
                Err(ask.time_error().error())
            }
            Ok(Err(_)) => Err(QueryError::Internal("the query panicked".to_owned())),
            Ok(Ok(outcome)) => outcome.map_err(|error| ask.name_user(error)),
        };
        tally.end(&outcome);
        drop(permit);
        let last = match outcome {
            Ok(()) => Message::End,
            Err(error) => match schema_sender.take() {
                Some(schema_sender) => {
                    let _ = schema_sender.send(Err(error));
                    return;
                }
                None => Message::Failed(error),
            },
        };
        // A reader may be slow to come for the last word, but not for ever: then there is nobody left to tell.
        let until = deadline.max(Instant::now() + LAST_WORD_WAIT_MAX);
        let _ = timeout_at(until, sender.send(last)).await;
    }
}

async fn answer(
    inner: &Arc<Inner>,
    ask: &Ask,
    schema_sender: &mut Option<SchemaSender>,
    sender: &mpsc::Sender<Message>,
    rows: &mut u64,
) -> Result<(), QueryError> {
    let clean = |error| QueryError::from_datafusion(error, inner.limits.memory_bytes_max);
    let (physical, state) = match plan(inner, ask).await {
        // A folder that another process writes may have had a day exchanged since it was listed: look again, once.
        Err(QueryError::History(error)) if is_missing_file(&error) => plan(inner, ask).await?,
        planned => planned?,
    };
    let rows_max = ask.access.limits.rows_max.unwrap_or(u64::MAX).min(inner.limits.rows_max);
    let mut stream = execute_stream(physical, state.task_ctx()).map_err(clean)?;
    let schema = with_unique_names(&stream.schema());
    if let Some(schema_sender) = schema_sender.take() {
        let _ = schema_sender.send(Ok(schema.clone()));
    }
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(clean)?;
        *rows += batch.num_rows() as u64;
        if *rows > rows_max {
            return Err(match ask.access.limits.rows_max {
                Some(own) if own == rows_max => QueryError::UserRows { user: ask.access.name(), rows: rows_max },
                _ => QueryError::Rows { rows: rows_max },
            });
        }
        let batch = RecordBatch::try_new_with_options(
            schema.clone(),
            batch.columns().to_vec(),
            &arrow::record_batch::RecordBatchOptions::new().with_row_count(Some(batch.num_rows())),
        )
        .map_err(|error| QueryError::Internal(error.to_string()))?;
        if batch.num_rows() > 0 && sender.send(Message::Batch(batch)).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

fn is_missing_file(error: &HistoryError) -> bool {
    matches!(error, HistoryError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
}

/// A join may yield two columns of one name, which no JSON object and no Parquet file can hold: the later get a number.
fn with_unique_names(schema: &SchemaRef) -> SchemaRef {
    let mut taken: HashMap<String, usize> = HashMap::new();
    let fields: Vec<Field> = schema
        .fields()
        .iter()
        .map(|field| {
            let mut name = field.name().clone();
            while let Some(seen) = taken.get_mut(&name) {
                *seen += 1;
                name = format!("{}_{}", field.name(), *seen);
            }
            taken.insert(name.clone(), 1);
            // What an operator promises of nulls does not matter to a reader, and not every operator keeps it.
            Field::new(name, field.data_type().clone(), true).with_metadata(field.metadata().clone())
        })
        .collect();
    Arc::new(Schema::new(fields))
}

/// Counts a query also when its task is dropped half way.
struct Tally {
    inner: Arc<Inner>,
    started: Instant,
    rows: u64,
    ended: Option<Result<(), super::ErrorKind>>,
}

impl Tally {
    fn start(inner: Arc<Inner>) -> Self {
        inner.counters.running.fetch_add(1, Ordering::Relaxed);
        inner.tell(QueryEvent::Started);
        Self { inner, started: Instant::now(), rows: 0, ended: None }
    }

    fn end(&mut self, outcome: &Result<(), QueryError>) {
        self.ended = Some(outcome.as_ref().copied().map_err(QueryError::kind));
        let counters = &self.inner.counters;
        match outcome {
            Ok(()) => counters.finished.fetch_add(1, Ordering::Relaxed),
            Err(error) => {
                if error.kind() == super::ErrorKind::Limit {
                    counters.limited.fetch_add(1, Ordering::Relaxed);
                }
                counters.failed.fetch_add(1, Ordering::Relaxed)
            }
        };
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        let counters = &self.inner.counters;
        counters.running.fetch_sub(1, Ordering::Relaxed);
        counters.rows.fetch_add(self.rows, Ordering::Relaxed);
        let micros = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        counters.micros.fetch_add(micros, Ordering::Relaxed);
        if self.ended.is_none() {
            counters.failed.fetch_add(1, Ordering::Relaxed);
        }
        self.inner.tell(QueryEvent::Ended { took: self.started.elapsed(), outcome: self.ended });
    }
}

struct StopOnDrop(Stop, tokio::task::AbortHandle);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.now();
        self.1.abort();
    }
}

/// The rows of one query, as they come. Ends after the first error; dropping it stops the query.
pub struct QueryStream {
    schema: SchemaRef,
    receiver: mpsc::Receiver<Message>,
    deadline: Pin<Box<Sleep>>,
    time_error: TimeError,
    done: bool,
    _task: StopOnDrop,
}

impl QueryStream {
    /// The columns; their names are unique.
    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}

impl Stream for QueryStream {
    type Item = Result<RecordBatch, QueryError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.done {
            return Poll::Ready(None);
        }
        if let Poll::Ready(message) = self.receiver.poll_recv(context) {
            return Poll::Ready(match message {
                Some(Message::Batch(batch)) => Some(Ok(batch)),
                Some(Message::Failed(error)) => {
                    self.done = true;
                    Some(Err(error))
                }
                Some(Message::End) => {
                    self.done = true;
                    None
                }
                None => {
                    self.done = true;
                    Some(Err(match self.deadline.is_elapsed() || self.deadline.deadline() <= Instant::now() {
                        true => self.time_error.error(),
                        false => QueryError::Internal("the query's task ended without a word".to_owned()),
                    }))
                }
            });
        }
        // Beside the task's own deadline: a plan that never yields cannot hold up its reader.
        if self.deadline.as_mut().poll_unpin(context).is_ready() {
            self.done = true;
            return Poll::Ready(Some(Err(self.time_error.error())));
        }
        Poll::Pending
    }
}

fn base_state(limits: &Limits, spill_dir: &Path, cores: usize) -> Result<SessionState, DataFusionError> {
    let mut config = SessionConfig::new()
        .with_target_partitions(cores)
        .with_information_schema(true)
        .with_default_catalog_and_schema(tables::CATALOG, tables::SCHEMA)
        .with_create_default_catalog_and_schema(false);
    let options = config.options_mut();
    options.execution.parquet.pushdown_filters = true;
    options.execution.parquet.reorder_filters = true;
    // Text is Utf8 everywhere here; views would only add casts.
    options.sql_parser.map_string_types_to_utf8view = false;
    // The SQL that people know; the generic dialect takes `SELECT path, cluster` for a comma too many and a keyword.
    options.sql_parser.dialect = datafusion::config::Dialect::PostgreSQL;
    let spill = DiskManagerBuilder::default()
        .with_mode(DiskManagerMode::Directories(vec![spill_dir.to_owned()]))
        .with_max_temp_directory_size(limits.spill_bytes_max);
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(FairSpillPool::new(limits.memory_bytes_max)))
        .with_disk_manager_builder(spill)
        .build_arc()?;
    // No file of this machine is within reach of SQL: parts are opened by their Part, everything else does not exist.
    runtime.deregister_object_store(ObjectStoreUrl::local_filesystem().as_ref())?;
    runtime.register_object_store(tables::store_url()?.as_ref(), Arc::new(InMemory::new()));
    // 1.5 is a numeric.
    options.sql_parser.parse_float_as_decimal = true;
    let builder = SessionStateBuilder::new_with_default_features()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_table_factories(HashMap::new())
        .with_file_formats(Vec::new());
    Ok(repeated::kept_apart(amplify::bound(functions::install(builder))).build())
}

mod session;
pub(super) mod share;

use share::Shares;

pub use session::{Described, Session};

#[cfg(test)]
pub(crate) mod tests;
