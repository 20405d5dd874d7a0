//! Commands about the session itself: SET, transactions, savepoints, cursors' beginnings and ends.

use std::io;
use std::sync::Arc;

use super::super::command::Command;
use super::super::error::PgError;
use super::super::settings::Settings;
use super::super::transaction::Transaction;
use super::{Connection, Done, Portal, Prepared, Question, lock, no_cursor};

impl Connection {
    /// Carries out a command that gives no rows; gives its tag.
    pub(super) async fn perform(&mut self, prepared: &Prepared) -> Done<&'static str> {
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
    pub(super) fn settle(&mut self, before: &Settings) -> io::Result<()> {
        let changed = lock(&self.settings).changed_since(before);
        self.apply_settings();
        self.tell(changed)
    }

    pub(super) fn warn(&mut self, code: &'static str, text: &str) -> io::Result<()> {
        let notice = PgError::new(code, text).to_notice();
        self.put(notice)
    }

    pub(super) fn in_transaction(&self, what: &str) -> Result<(), PgError> {
        match self.transaction.is_open() {
            true => Ok(()),
            false => Err(PgError::new("25P01", format!("{what} can only be used in transaction blocks"))),
        }
    }

    pub(super) fn savepoint(&self, name: &str) -> Result<usize, PgError> {
        self.savepoints
            .iter()
            .rposition(|(other, _)| other == name)
            .ok_or_else(|| PgError::new("3B001", format!("savepoint \"{name}\" does not exist")))
    }

    pub(super) fn end_transaction(&mut self, keeps: bool) {
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
