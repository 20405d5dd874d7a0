use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::response::{ErrorResponse, NoticeResponse};

use crate::query::{ErrorKind, Fault, QueryError};

/// What a client is told: a SQLSTATE and words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(super) struct PgError {
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) hint: Option<String>,
    /// In characters of the statement, from 1.
    pub(super) position: Option<usize>,
}

/// The protocol's own bound is 30,000; nobody reads more than this.
const MESSAGE_CHARS_MAX: usize = 4_000;

impl PgError {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None, position: None }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(super) fn unsupported(what: impl std::fmt::Display) -> Self {
        Self::new("0A000", format!("{what} is not supported here"))
    }

    pub(super) fn invalid_value(name: &str, value: &str) -> Self {
        Self::new("22023", format!("invalid value for parameter \"{name}\": \"{value}\""))
    }

    pub(super) fn cancelled() -> Self {
        Self::new("57014", "canceling statement due to user request")
    }

    pub(super) fn failed_transaction() -> Self {
        Self::new("25P02", "current transaction is aborted, commands ignored until end of transaction block")
    }

    /// Who can do something about it, by the class of its SQLSTATE.
    pub(super) fn kind(&self) -> ErrorKind {
        match (self.code, self.code.get(..2).unwrap_or_default()) {
            ("57014", _) | (_, "54") => ErrorKind::Limit,
            (_, "53") => ErrorKind::Busy,
            (_, "58" | "XX") => ErrorKind::Server,
            _ => ErrorKind::User,
        }
    }

    pub(super) fn to_message(&self, severity: &str) -> PgWireBackendMessage {
        PgWireBackendMessage::ErrorResponse(ErrorResponse::new(self.fields(severity)))
    }

    pub(super) fn to_notice(&self) -> PgWireBackendMessage {
        PgWireBackendMessage::NoticeResponse(NoticeResponse::new(self.fields("WARNING")))
    }

    fn fields(&self, severity: &str) -> Vec<(u8, String)> {
        // A zero byte would end the text early, and the whole message would be misread.
        let clean = |text: &str| -> String { text.chars().filter(|c| *c != '\0').take(MESSAGE_CHARS_MAX).collect() };
        let mut fields = vec![
            (b'S', severity.to_owned()),
            (b'V', severity.to_owned()),
            (b'C', self.code.to_owned()),
            (b'M', clean(&self.message)),
        ];
        fields.extend(self.hint.as_deref().map(|hint| (b'H', clean(hint))));
        fields.extend(self.position.map(|position| (b'P', position.to_string())));
        fields
    }
}

impl From<QueryError> for PgError {
    fn from(error: QueryError) -> Self {
        let code = match &error {
            QueryError::Time { .. } | QueryError::UserTime { .. } => {
                return Self::new("57014", "canceling statement due to statement timeout").hint(error.to_string());
            }
            QueryError::Rows { .. } | QueryError::UserRows { .. } => "54000",
            QueryError::Memory { .. } | QueryError::UserMemory { .. } => "53200",
            QueryError::Busy { .. } | QueryError::UserBusy { .. } => "53400",
            QueryError::History(_) => "58000",
            QueryError::Internal(_) => "XX000",
            QueryError::Sql(_) | QueryError::Named { .. } => code(error.fault()),
        };
        Self::new(code, error.to_string())
    }
}

/// The SQLSTATE of each fault of a query.
fn code(fault: Fault) -> &'static str {
    match fault {
        Fault::Syntax => "42601",
        Fault::UnknownTable => "42P01",
        Fault::UnknownColumn => "42703",
        Fault::AmbiguousColumn => "42702",
        Fault::UnknownFunction => "42883",
        Fault::Type => "42804",
        Fault::Grouping => "42803",
        Fault::Value => "22P02",
        Fault::DivisionByZero => "22012",
        Fault::OutOfRange => "22003",
        Fault::ReadOnly => "25006",
        Fault::TooComplex => "54001",
        Fault::Unsupported => "0A000",
        // What cannot be told apart: a rule of SQL that the statement breaks.
        Fault::Other => "42000",
    }
}
