use std::sync::Arc;
use std::time::Duration;

use arrow::error::ArrowError;
use datafusion::common::SchemaError;
use datafusion::common::utils::datafusion_strsim::levenshtein;
use datafusion::error::DataFusionError;

use crate::history::error::HistoryError;

/// Why a query has no answer, or only the beginning of one.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The query itself is at fault: a word misspelt, an unknown column, a statement that would write.
    #[error("{0}")]
    Sql(String),

    /// As [`QueryError::Sql`], where it is known what kind of fault it is.
    #[error("{text}")]
    Named { fault: Fault, text: String },

    #[error("query stopped after {} s (limit time_max): narrow it by time, path or cluster", limit.as_secs_f64())]
    Time { limit: Duration },

    #[error(
        "query stopped at {rows} rows (limit rows_max): aggregate, add LIMIT, or narrow it by time, path or cluster"
    )]
    Rows { rows: u64 },

    #[error(
        "query stopped: all queries together may hold {mib} MiB (limits memory_bytes_max, spill_bytes_max). \
         Select fewer columns, or narrow it by time, path or cluster. ({detail})"
    )]
    Memory { mib: usize, detail: String },

    #[error(
        "query stopped after {} s (limit time of the user {user} in the users file): narrow it by time, path or cluster",
        limit.as_secs_f64()
    )]
    UserTime { user: Arc<str>, limit: Duration },

    #[error(
        "query stopped at {rows} rows (limit rows of the user {user} in the users file): aggregate, add LIMIT, or narrow \
         it by time, path or cluster"
    )]
    UserRows { user: Arc<str>, rows: u64 },

    #[error(
        "query stopped: the queries of the user {user} together may hold {mib} MiB (limit memory in the users file). \
         Select fewer columns, or narrow it by time, path or cluster"
    )]
    UserMemory { user: Arc<str>, mib: usize },

    #[error(
        "{running} queries of the user {user} are running already (limit concurrent in the users file): try again in \
         a moment"
    )]
    UserBusy { user: Arc<str>, running: usize },

    #[error("{running} queries are running already (limit concurrent_max): try again in a moment")]
    Busy { running: usize },

    #[error(transparent)]
    History(#[from] HistoryError),

    #[error("internal error, please report it: {0}")]
    Internal(String),
}

/// What is wrong with a query that is itself at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Syntax,
    UnknownTable,
    UnknownColumn,
    AmbiguousColumn,
    UnknownFunction,
    /// An expression whose types do not fit each other.
    Type,
    /// A column that is neither grouped by nor aggregated.
    Grouping,
    /// A text that cannot be read as what it should be.
    Value,
    DivisionByZero,
    OutOfRange,
    /// A statement that would write.
    ReadOnly,
    /// A statement that is too deep to be walked.
    TooComplex,
    /// Proper SQL that is not answered here.
    Unsupported,
    Other,
}

/// Who can do something about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Whoever wrote the query.
    User,
    /// Whoever wrote the query, or who set the limits.
    Limit,
    /// Nobody; it passes.
    Busy,
    /// Whoever runs the agent.
    Server,
}

impl QueryError {
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Sql(_) | Self::Named { .. } => ErrorKind::User,
            Self::Time { .. } | Self::Rows { .. } | Self::Memory { .. } => ErrorKind::Limit,
            Self::UserTime { .. } | Self::UserRows { .. } | Self::UserMemory { .. } => ErrorKind::Limit,
            Self::Busy { .. } | Self::UserBusy { .. } => ErrorKind::Busy,
            Self::History(_) | Self::Internal(_) => ErrorKind::Server,
        }
    }

    /// What is wrong with the query; `Other` where the query is not at fault, or nothing tells.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Named { fault, .. } => *fault,
            _ => Fault::Other,
        }
    }

    /// Finds the cause under whatever DataFusion wrapped around it, and words it without DataFusion's own noise.
    pub(crate) fn from_datafusion(error: DataFusionError, memory_bytes_max: usize) -> Self {
        match error {
            DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => {
                Self::from_datafusion(*inner, memory_bytes_max)
            }
            DataFusionError::Collection(errors) => match errors.into_iter().next() {
                Some(first) => Self::from_datafusion(first, memory_bytes_max),
                None => Self::Internal("an empty collection of errors".to_owned()),
            },
            DataFusionError::External(inner) => match inner.downcast::<Self>() {
                Ok(own) => *own,
                Err(other) => match other.downcast::<HistoryError>() {
                    Ok(history) => Self::History(*history),
                    Err(other) => Self::from_nested(other, memory_bytes_max),
                },
            },
            // An error that several consumers share cannot be moved out of its Arc: its words have to do.
            DataFusionError::Shared(shared) => match std::sync::Arc::try_unwrap(shared) {
                Ok(inner) => Self::from_datafusion(inner, memory_bytes_max),
                Err(shared) => Self::from_borrowed(&shared, memory_bytes_max),
            },
            DataFusionError::ArrowError(arrow, _) => match *arrow {
                ArrowError::ExternalError(inner) => Self::from_nested(inner, memory_bytes_max),
                other => Self::from_arrow(&other, memory_bytes_max),
            },
            other => Self::from_borrowed(&other, memory_bytes_max),
        }
    }

    fn from_nested(inner: Box<dyn std::error::Error + Send + Sync>, memory_bytes_max: usize) -> Self {
        match inner.downcast::<DataFusionError>() {
            Ok(inner) => Self::from_datafusion(*inner, memory_bytes_max),
            Err(other) => Self::Internal(other.to_string()),
        }
    }

    fn named(fault: Fault, text: String) -> Self {
        Self::Named { fault, text }
    }

    fn from_arrow(error: &ArrowError, memory_bytes_max: usize) -> Self {
        let fault = match error {
            ArrowError::IoError(text, _) => return Self::from_io(text, memory_bytes_max),
            ArrowError::DivideByZero => Fault::DivisionByZero,
            ArrowError::ArithmeticOverflow(_) => Fault::OutOfRange,
            ArrowError::CastError(_) | ArrowError::ParseError(_) => Fault::Value,
            _ => Fault::Other,
        };
        Self::named(fault, error.to_string())
    }

    /// What a query put aside on disk is bounded, too; DataFusion says so by an I/O error that has no kind of its own.
    fn from_io(text: &str, memory_bytes_max: usize) -> Self {
        if text.contains("datafusion.runtime.max_temp_directory_size") {
            let detail = "what it put aside on disk reached spill_bytes_max".to_owned();
            return Self::Memory { mib: memory_bytes_max >> 20, detail };
        }
        Self::Internal(text.to_owned())
    }

    fn from_borrowed(error: &DataFusionError, memory_bytes_max: usize) -> Self {
        match error.find_root() {
            DataFusionError::ResourcesExhausted(detail) => {
                Self::Memory { mib: memory_bytes_max >> 20, detail: first_line(detail) }
            }
            DataFusionError::External(inner) => match inner.downcast_ref::<Self>() {
                Some(Self::Sql(text)) => Self::Sql(text.clone()),
                Some(Self::Named { fault, text }) => Self::Named { fault: *fault, text: text.clone() },
                _ => Self::Internal(inner.to_string()),
            },
            DataFusionError::NotImplemented(text) => {
                Self::named(Fault::Unsupported, clean(&format!("not supported: {text}")))
            }
            DataFusionError::SQL(parser, _) => {
                Self::named(Fault::Syntax, clean(parser.to_string().trim_start_matches("sql parser error: ")))
            }
            DataFusionError::Plan(text) | DataFusionError::Execution(text) | DataFusionError::Configuration(text) => {
                Self::named(fault_of(text), clean(text))
            }
            DataFusionError::SchemaError(schema, _) => {
                let fault = match schema.as_ref() {
                    SchemaError::FieldNotFound { .. } => Fault::UnknownColumn,
                    SchemaError::AmbiguousReference { .. } => Fault::AmbiguousColumn,
                    _ => Fault::Other,
                };
                Self::named(fault, clean(&schema.to_string()))
            }
            DataFusionError::ArrowError(arrow, _) => Self::from_arrow(arrow, memory_bytes_max),
            DataFusionError::IoError(io) => Self::from_io(&io.to_string(), memory_bytes_max),
            DataFusionError::ParquetError(parquet) => Self::Internal(parquet.to_string()),
            other => Self::Internal(clean(&other.strip_backtrace())),
        }
    }
}

/// What DataFusion only says in words.
fn fault_of(text: &str) -> Fault {
    let text = text.trim_start_matches("Error during planning: ");
    let is_missing = text.ends_with("' not found");
    if is_missing && (text.starts_with("table '") || text.starts_with("view '")) {
        Fault::UnknownTable
    } else if text.starts_with("Invalid function '")
        || is_missing && text.starts_with("table function '")
        || text.contains("failed to match any signature")
        || text.contains("Failed to coerce arguments")
    {
        Fault::UnknownFunction
    } else if text.contains("must appear in the GROUP BY") || text.contains("must be part of GROUP BY") {
        Fault::Grouping
    } else if text.starts_with("Cannot infer common argument type") || text.starts_with("Cannot coerce") {
        Fault::Type
    } else if text.contains("division by zero") {
        Fault::DivisionByZero
    } else if text.contains("out of range") {
        Fault::OutOfRange
    } else if text.contains("there is no function") {
        Fault::UnknownFunction
    } else if ["Error parsing timestamp", "Cannot cast string", "invalid input syntax", "invalid value"]
        .iter()
        .any(|words| text.contains(words))
    {
        Fault::Value
    } else {
        Fault::Other
    }
}

/// The names under which DataFusion knows our tables are of no use to anybody.
fn clean(text: &str) -> String {
    // What a function says of its arguments, without what is said around it.
    let text = text.split_once("user-defined coercion failed with: ").map_or(text, |(_, told)| told);
    let text = text.split_once(". No function matches the given name").map_or(text, |(told, _)| told);
    let text = text.replace("zktrail.public.", "").replace("Error during planning: ", "");
    if text.starts_with("table '") && text.ends_with("' not found") {
        return format!(
            "{text}. The tables are {}; SHOW TABLES lists them, DESCRIBE <table> shows their columns",
            super::tables::NAMES.join(", ")
        );
    }
    if text.starts_with("table function '") && text.ends_with("' not found") {
        return format!("{text}. The table functions are {}", super::tables::FUNCTIONS.join(", "));
    }
    if let Some((name, suggested)) = unknown_function(&text) {
        return suggest_function(name, suggested);
    }
    text
}

/// DataFusion's own words for a function that it does not know: its name, and the nearest of all names.
fn unknown_function(text: &str) -> Option<(&str, &str)> {
    let (name, rest) = text.strip_prefix("Invalid function '")?.split_once("'.")?;
    let (_, suggested) = rest.split_once("Did you mean '")?;
    Some((name, suggested.split_once('\'')?.0))
}

/// Only what is spelt nearly so is suggested; the nearest of hundreds of names may be far off.
fn suggest_function(name: &str, suggested: &str) -> String {
    let lower = name.to_lowercase();
    if super::tables::FUNCTIONS.contains(&lower.as_str()) {
        return format!("{name} is a table function: SELECT * FROM {name}(…)");
    }
    let edits_max = name.chars().count().div_ceil(4);
    let is_near = |other: &str| levenshtein(&lower, other) <= edits_max;
    let own = super::functions::NAMES.into_iter().chain(super::tables::FUNCTIONS);
    let near = own.filter(|own| is_near(own)).min_by_key(|own| levenshtein(&lower, own));
    match near.or_else(|| Some(suggested).filter(|suggested| is_near(suggested))) {
        Some(near) => format!("there is no function '{name}'. Did you mean '{near}'?"),
        None => format!(
            "there is no function '{name}'. Beside those of SQL there are {}",
            super::functions::NAMES.join(", ")
        ),
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}
