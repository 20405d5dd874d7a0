//! The answer of an AdminServer to `/commands/connections`, from 3.5 to 3.9: JSON. Pure.

use serde::Deserialize;
use serde_json::Value;

use super::host::socket_address;
use super::{Connection, Connections, SESSIONS_MAX};

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    connections: Option<Vec<Entry>>,
    #[serde(default)]
    secure_connections: Option<Vec<Entry>>,
    #[serde(default)]
    error: Option<Value>,
}

/// Only what is needed: the rest differs by version. Ids of 64 bits are numbers there, and must stay exact.
#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    remote_socket_address: Option<Value>,
    #[serde(default)]
    session_id: Option<Value>,
    #[serde(default)]
    session_timeout: Option<Value>,
}

/// Reads an answer, or says why there is no list in it.
pub(super) fn parse(body: &[u8]) -> Result<Connections, String> {
    let answer: Answer =
        serde_json::from_slice(body).map_err(|error| format!("its answer is not understood: {error}"))?;
    if let Some(error) = answer.error.as_ref().filter(|error| !error.is_null()) {
        return Err(error.as_str().map_or_else(|| error.to_string(), str::to_owned));
    }
    let Some(plain) = answer.connections else {
        return Err("its answer has no connections: the URL is none of /commands/connections".to_owned());
    };
    let mut read = Connections { whole: true, ..Connections::default() };
    for entry in plain.into_iter().chain(answer.secure_connections.unwrap_or_default()) {
        match connection(&entry) {
            Some(Some(connection)) if read.sessions.len() < SESSIONS_MAX => read.sessions.push(connection),
            Some(None) => read.without_session += 1,
            _ => read.unreadable += 1,
        }
    }
    Ok(read)
}

fn connection(entry: &Entry) -> Option<Option<Connection>> {
    let session_id = match entry.session_id.as_ref() {
        None | Some(Value::Null) => return Some(None),
        Some(Value::Number(id)) => id.as_i64().or_else(|| id.as_u64().map(|id| id as i64))?,
        Some(Value::String(id)) => u64::from_str_radix(id.strip_prefix("0x")?, 16).ok()? as i64,
        Some(_) => return None,
    };
    // A connection whose session is not open yet has the id 0.
    if session_id == 0 {
        return Some(None);
    }
    let address = socket_address(entry.remote_socket_address.as_ref()?.as_str()?)?;
    let timeout = entry.session_timeout.as_ref().and_then(Value::as_i64);
    let timeout_ms = timeout.and_then(|timeout| i32::try_from(timeout).ok()).filter(|timeout| *timeout > 0);
    Some(Some(Connection { session_id, address, timeout_ms }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_servers() {
        let body = r#"{"connections": [
            {"remote_socket_address": "127.0.0.1:52744", "interest_ops": 1, "outstanding_requests": 0,
             "packets_received": 4, "session_id": 72058145842167809, "last_operation": "PING",
             "established": "2026-11-20T03:10:00.000+00:00", "session_timeout": 10000, "last_cxid": "0x1"},
            {"remote_socket_address": "/0:0:0:0:0:0:0:1:9", "session_id": "0xff00000000000001"},
            {"remote_socket_address": "127.0.0.1:3", "session_id": 0, "session_timeout": 0},
            {"remote_socket_address": "127.0.0.1:3"},
            {"remote_socket_address": 7, "session_id": 9}],
          "secure_connections": [{"remote_socket_address": "10.0.0.1:4", "session_id": -2}],
          "command": "connections", "error": null}"#;
        let sessions = vec![
            Connection {
                session_id: 72_058_145_842_167_809,
                address: "127.0.0.1:52744".into(),
                timeout_ms: Some(10_000),
            },
            Connection { session_id: 0xff00_0000_0000_0001_u64 as i64, address: "[::1]:9".into(), timeout_ms: None },
            Connection { session_id: -2, address: "10.0.0.1:4".into(), timeout_ms: None },
        ];
        let expected = Connections { sessions, without_session: 2, unreadable: 1, whole: true };
        assert_eq!(parse(body.as_bytes()), Ok(expected));
    }

    #[test]
    fn what_is_no_list_is_said() {
        let told = |body: &str| parse(body.as_bytes()).expect_err(body);
        assert_eq!(
            told(r#"{"error": "This ZooKeeper instance is not currently serving requests"}"#),
            "This ZooKeeper instance is not currently serving requests"
        );
        assert!(told(r#"{"command": "ruok", "error": null}"#).contains("none of /commands/connections"));
        assert!(told("<html>").contains("not understood"));
    }
}
