//! The answer of an AdminServer to `/commands/monitor`: the keys of `mntr` without `zk_`, as one JSON object.

use serde_json::{Map, Value};

use super::labels;
use super::told::{Collector, Told};

/// What came is no answer of an AdminServer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotMonitor {
    #[error("it is no JSON object: is this the URL of an AdminServer's commands?")]
    Json,
    #[error("it says: {0}")]
    Said(String),
}

/// What an AdminServer says in an error, at most.
const SAID_BYTES_MAX: usize = 300;

/// Reads an answer.
///
/// # Errors
/// It is no JSON object, or it holds an error and nothing else.
pub fn monitor(body: &[u8]) -> Result<Told, NotMonitor> {
    let fields: Map<String, Value> = serde_json::from_slice(body).map_err(|_| NotMonitor::Json)?;
    let said = fields.get("error").and_then(Value::as_str).filter(|error| !error.is_empty());
    if let Some(said) = said.filter(|_| !fields.contains_key("version")) {
        let said = said.chars().filter(|letter| !letter.is_control()).take(SAID_BYTES_MAX).collect();
        return Err(NotMonitor::Said(said));
    }
    let mut collector = Collector::default();
    for (key, value) in &fields {
        if matches!(key.as_str(), "command" | "error") {
            continue;
        }
        let Some((name, labels)) = labels::series(key) else { continue };
        match value {
            Value::String(text) => collector.push(name, labels, text),
            Value::Number(_) | Value::Bool(_) => collector.push(name, labels, &value.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => {}
        }
    }
    Ok(collector.end())
}
