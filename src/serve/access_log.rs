//! Who asked what: a line a query and a line a failed login, to a file of its own or to the agent's log.
//!
//! A line has the statement, bounded and with what looks like a credential masked, and no row of the answer; values
//! of parameters are not in it. Of a statement that does something else than read only the first word is kept.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::caller::{Caller, Door};
use crate::query::{ErrorKind, statement_to_show};
use crate::zk::Micros;

/// How a query that was let in ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Ok,
    /// Whoever asked went away.
    Cancelled,
    Failed(ErrorKind),
}

impl Outcome {
    pub const ALL: [Self; 6] = [
        Self::Ok,
        Self::Cancelled,
        Self::Failed(ErrorKind::User),
        Self::Failed(ErrorKind::Limit),
        Self::Failed(ErrorKind::Busy),
        Self::Failed(ErrorKind::Server),
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Cancelled => "cancelled",
            Self::Failed(ErrorKind::User) => "refused",
            Self::Failed(ErrorKind::Limit) => "limited",
            Self::Failed(ErrorKind::Busy) => "busy",
            Self::Failed(ErrorKind::Server) => "failed",
        }
    }
}

/// Why someone was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginFailure {
    /// The name or the password is wrong; which of them is told to nobody.
    Wrong,
    TooMany,
    /// A password in clear text where TLS is required.
    ClearText,
}

impl LoginFailure {
    pub const ALL: [Self; 3] = [Self::Wrong, Self::TooMany, Self::ClearText];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Wrong => "wrong",
            Self::TooMany => "too_many",
            Self::ClearText => "clear_text",
        }
    }
}

/// What whoever counts is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Query {
        door: Door,
        outcome: Outcome,
    },
    LoginFailed {
        door: Door,
        failure: LoginFailure,
    },
    /// A line could not be written.
    Lost,
}

pub type Observer = Arc<dyn Fn(Event) + Send + Sync>;

/// Cheap to clone; the clones write to the same place.
#[derive(Clone, Default)]
pub struct AccessLog {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    file: Option<LogFile>,
    observer: OnceLock<Observer>,
}

struct LogFile {
    path: PathBuf,
    open: Mutex<File>,
}

impl AccessLog {
    /// Into the agent's own log, under the target `access`.
    pub fn to_log() -> Self {
        Self::default()
    }

    /// Appends lines of JSON to a file that only its owner can read.
    pub fn to_file(path: &Path) -> std::io::Result<Self> {
        let file = LogFile { path: path.to_owned(), open: Mutex::new(open(path)?) };
        Ok(Self { inner: Arc::new(Inner { file: Some(file), observer: OnceLock::new() }) })
    }

    /// Opens the file anew: the old one may have been moved away. On an error the old one goes on.
    pub fn reopen(&self) -> std::io::Result<()> {
        if let Some(file) = &self.inner.file {
            let anew = open(&file.path)?;
            *file.open.lock().unwrap_or_else(PoisonError::into_inner) = anew;
        }
        Ok(())
    }

    /// Tells `observer` of everything from now on. The first observer stays.
    pub fn observe(&self, observer: Observer) {
        let _ = self.inner.observer.set(observer);
    }

    /// Begins the line of a query. It is written when the line is ended or dropped.
    pub fn query(&self, caller: &Caller, statement: &str) -> Line {
        Line {
            log: self.clone(),
            caller: caller.clone(),
            statement: statement_to_show(statement),
            begun: Instant::now(),
            rows: 0,
            outcome: Outcome::Cancelled,
        }
    }

    /// Writes the line of a query that has ended.
    pub fn ended(&self, caller: &Caller, statement: &str, begun: Instant, rows: u64, outcome: Outcome) {
        let mut line = self.query(caller, statement);
        (line.begun, line.rows) = (begun, rows);
        line.end(outcome);
    }

    /// `name` is as it came, from someone who has not proved to be anybody.
    pub fn login_failed(&self, door: Door, address: IpAddr, name: &str, failure: LoginFailure) {
        let name: String = name.chars().filter(|c| !c.is_control()).take(NAME_CHARS_MAX).collect();
        self.tell(Event::LoginFailed { door, failure });
        let (door, reason) = (door.as_str(), failure.as_str());
        if self.inner.file.is_some() {
            self.write(&serde_json::json!({
                "time": Micros::now().to_string(), "event": "login_failed", "door": door,
                "address": address.to_string(), "user": name, "reason": reason,
            }));
        } else {
            tracing::warn!(target: "access", door, %address, user = name, reason, "login failed");
        }
    }

    fn tell(&self, event: Event) {
        if let Some(observer) = self.inner.observer.get() {
            observer(event);
        }
    }

    fn write(&self, line: &serde_json::Value) {
        let Some(file) = &self.inner.file else { return };
        let text = format!("{line}\n");
        let written = file.open.lock().unwrap_or_else(PoisonError::into_inner).write_all(text.as_bytes());
        if let Err(error) = written {
            self.tell(Event::Lost);
            tracing::error!(path = %file.path.display(), %error, "a line of the access log is lost");
        }
    }
}

/// Longer names are nobody's.
const NAME_CHARS_MAX: usize = 63;

fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// The line of a query that is being answered. Dropped without an end it says that whoever asked went away.
pub struct Line {
    log: AccessLog,
    caller: Caller,
    statement: String,
    begun: Instant,
    rows: u64,
    outcome: Outcome,
}

impl Line {
    /// Counts rows that went out.
    pub fn rows(&mut self, rows: usize) {
        self.rows = self.rows.saturating_add(rows as u64);
    }

    pub fn end(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let Self { log, caller, statement, rows, outcome, .. } = self;
        let took = self.begun.elapsed();
        log.tell(Event::Query { door: caller.door, outcome: *outcome });
        let (door, user, role) = (caller.door.as_str(), caller.name(), caller.role());
        let (address, outcome, took_ms) = (caller.address, outcome.as_str(), millis(took));
        if log.inner.file.is_some() {
            log.write(&serde_json::json!({
                "time": Micros::now().to_string(), "event": "query", "door": door, "address": address.to_string(),
                "user": user, "role": role, "statement": statement, "outcome": outcome, "rows": rows,
                "took_ms": took_ms,
            }));
        } else if caller.access.user.is_some() {
            tracing::info!(target: "access", door, %address, user, role, statement, outcome, rows, took_ms, "query");
        } else {
            // Where nobody has to say who they are, the lines would tell nothing about anybody.
            tracing::debug!(target: "access", door, %address, user, role, statement, outcome, rows, took_ms, "query");
        }
    }
}

fn millis(took: Duration) -> f64 {
    (took.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests;
