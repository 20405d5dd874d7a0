//! The answer to `cons`, as servers from 3.5 to 3.9 print it, one line a connection:
//!
//! ```text
//!  /10.0.0.1:52744[1](queued=0,recved=4,sent=4,sid=0x100000b6d3e0001,lop=PING,est=1763600000000,to=10000,lcxid=0x1,…)
//!  /10.0.0.1:52746[0](queued=0,recved=1,sent=0)
//! ```
//! The second has no session: it is being opened, or it is the one that asks. A blank line ends the list. Pure.

use super::host::socket_address;
use super::{Connection, Connections, SESSIONS_MAX};

/// Collects an answer, line by line.
#[derive(Debug, Default)]
pub(super) struct Answer {
    connections: Connections,
    /// What stands there instead of a list.
    said: Option<String>,
}

/// What a server prints where it has no list to give, at most.
const SAID_BYTES_MAX: usize = 300;

impl Answer {
    pub(super) fn line(&mut self, line: &str) {
        let line = line.trim();
        if line.is_empty() {
            self.connections.whole = true;
            return;
        }
        match connection(line) {
            Some(Some(connection)) if self.connections.sessions.len() < SESSIONS_MAX => {
                self.connections.sessions.push(connection);
            }
            Some(Some(_)) => self.connections.unreadable += 1,
            Some(None) => self.connections.without_session += 1,
            None => {
                self.connections.unreadable += 1;
                self.said.get_or_insert_with(|| line.chars().take(SAID_BYTES_MAX).collect());
            }
        }
    }

    /// The list, or the words that came in its place.
    pub(super) fn end(self) -> Result<Connections, String> {
        let Connections { ref sessions, without_session, .. } = self.connections;
        match self.said {
            Some(said) if sessions.is_empty() && without_session == 0 => Err(said),
            _ => Ok(self.connections),
        }
    }
}

/// One line: `None` where it is none of a list, `Some(None)` where it has no session.
fn connection(line: &str) -> Option<Option<Connection>> {
    let (place, rest) = line.split_once('(')?;
    let fields = rest.strip_suffix(')')?;
    // The interest in brackets ends the place; an IPv6 address may have brackets of its own.
    let (address, _interest) = place.strip_suffix(']')?.rsplit_once('[')?;
    let address = socket_address(address)?;
    let value = |key: &str| fields.split(',').find_map(|field| field.strip_prefix(key)?.strip_prefix('='));
    let Some(session) = value("sid") else { return Some(None) };
    let session_id = u64::from_str_radix(session.strip_prefix("0x")?, 16).ok()? as i64;
    let timeout_ms = value("to").and_then(|timeout| timeout.parse().ok());
    Some(Some(Connection { session_id, address, timeout_ms }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Connections, String> {
        let mut answer = Answer::default();
        text.lines().for_each(|line| answer.line(line));
        answer.end()
    }

    fn connection(session_id: i64, address: &str, timeout_ms: i32) -> Connection {
        Connection { session_id, address: address.to_owned(), timeout_ms: Some(timeout_ms) }
    }

    #[test]
    fn lists_of_servers() {
        let text = " /127.0.0.1:52744[1](queued=0,recved=4,sent=4,sid=0x100000b6d3e0001,lop=PING,est=1763600000000,\
                    to=10000,lcxid=0x1,lzxid=0xffffffffffffffff,lresp=1,llat=0,minlat=0,avglat=0,maxlat=3)\n \
                    /0:0:0:0:0:0:0:1:9[1](queued=0,recved=1,sent=1,sid=0xff00000000000001,lop=SESS,est=1,to=4000)\n \
                    /[0:0:0:0:0:0:0:1]:9[1](queued=0,recved=1,sent=1,sid=0x2,lop=NA,est=1,to=4000,lcxid=0x0)\n \
                    /127.0.0.1:52746[0](queued=0,recved=1,sent=0)\n\n";
        let sessions = vec![
            connection(0x100_000b_6d3e_0001, "127.0.0.1:52744", 10_000),
            connection(0xff00_0000_0000_0001_u64 as i64, "[::1]:9", 4_000),
            connection(2, "[::1]:9", 4_000),
        ];
        assert_eq!(read(text), Ok(Connections { sessions, without_session: 1, unreadable: 0, whole: true }));
        assert_eq!(read("\n"), Ok(Connections { whole: true, ..Connections::default() }));
        assert_eq!(read(""), Ok(Connections::default()));
    }

    #[test]
    fn what_is_no_list_is_said() {
        let refused = "cons is not executed because it is not in the whitelist.";
        assert_eq!(read(&format!("{refused}\n")), Err(refused.to_owned()));
        let silent = "This ZooKeeper instance is not currently serving requests";
        assert_eq!(read(silent), Err(silent.to_owned()));
    }

    #[test]
    fn odd_lines_cost_themselves_alone() {
        let text = " /127.0.0.1:1[1](queued=0,sid=0x7)\n /127.0.0.1:2[1](queued=0,sid=7)\n /x[1](sid=0x1)\n ((\n\n";
        let read = read(text).unwrap();
        assert_eq!((read.sessions.len(), read.unreadable, read.whole), (1, 3, true));
        assert_eq!(read.sessions[0].timeout_ms, None);
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(text in "[ /0-9a-f:.\\[\\](),=sidtoxé\n]{0,200}") {
            let _ = read(&text);
        }
    }
}
