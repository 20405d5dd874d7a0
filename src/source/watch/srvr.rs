//! The four-letter word `srvr`: the only one that servers allow by default. It tells version, mode, last zxid, and a few
//! numbers. Here is the one place where it is understood.

use std::time::Duration;

use super::credentials::Credentials;
use super::words::{self, WordError};
use crate::zk::Zxid;

/// What one server says of itself. Every field is absent where it said nothing that we understand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Srvr {
    /// Its numbers alone, as `3.9.3`.
    pub version: Option<String>,
    pub mode: Option<String>,
    pub zxid: Option<Zxid>,
    /// What else it counts, by the keys that `mntr` has for it.
    pub counts: Vec<(&'static str, String)>,
}

impl Srvr {
    /// Whether it has a leader, or needs none.
    pub fn serves(&self) -> bool {
        self.mode.as_deref().is_some_and(has_leader)
    }

    /// All of it by the keys that `mntr` has for it.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let version = self.version.as_deref().map(|version| ("version", version));
        let mode = self.mode.as_deref().map(|mode| ("server_state", mode));
        version.into_iter().chain(mode).chain(self.counts.iter().map(|(key, value)| (*key, value.as_str())))
    }
}

/// A server that looks for a leader answers `srvr` with no mode at all; a read-only one has none either.
pub fn has_leader(mode: &str) -> bool {
    matches!(mode, "leader" | "follower" | "observer" | "standalone")
}

/// Asks one server (`host:port`), over TLS where the credentials say so, within the time given.
///
/// # Errors
/// Says why there is no answer: not reachable, in time, or the word is not on its whitelist.
pub async fn ask(server: &str, credentials: &Credentials, timeout: Duration) -> Result<Srvr, WordError> {
    words::ask(server, credentials, "srvr", timeout).await.map(|text| parse(&text))
}

/// Reads an answer; what is none says nothing.
pub fn parse(text: &str) -> Srvr {
    let mut srvr = Srvr::default();
    for line in text.lines() {
        let Some((key, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        let mut counts = |keys: &[&'static str]| {
            let counts = keys.iter().zip(value.split('/').map(|value| value.trim().to_owned()));
            srvr.counts.extend(counts.map(|(key, value)| (*key, value)));
        };
        match key.trim() {
            // ClickHouse Keeper puts its own name, and a `v` in front of the number.
            "Zookeeper version" | "ClickHouse Keeper version" => {
                let version = value.trim_start_matches('v').split([',', '-', ' ']).next().unwrap_or(value);
                srvr.version = Some(version.to_owned());
            }
            "Mode" => srvr.mode = Some(value.to_owned()),
            "Zxid" => {
                srvr.zxid = i64::from_str_radix(value.trim_start_matches("0x"), 16).ok().and_then(Zxid::from_wire);
            }
            "Latency min/avg/max" => counts(&["min_latency", "avg_latency", "max_latency"]),
            "Received" => counts(&["packets_received"]),
            "Sent" => counts(&["packets_sent"]),
            "Connections" => counts(&["num_alive_connections"]),
            "Outstanding" => counts(&["outstanding_requests"]),
            "Node count" => counts(&["znode_count"]),
            _ => {}
        }
    }
    srvr
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_servers_print() {
        let text = "Zookeeper version: 3.9.3-c26634f34490bb0ea7a09cc51e05ede3b4e320ee, built on 2024-10-17 23:21 UTC\n\
                    Latency min/avg/max: 0/0.0/0\nReceived: 1\nZxid: 0x10000002a\nMode: standalone\nNode count: 5\n";
        let counts = [
            ("min_latency", "0"),
            ("avg_latency", "0.0"),
            ("max_latency", "0"),
            ("packets_received", "1"),
            ("znode_count", "5"),
        ];
        let expected = Srvr {
            version: Some("3.9.3".into()),
            mode: Some("standalone".into()),
            zxid: Some(Zxid(0x1_0000_002a)),
            counts: counts.map(|(key, value)| (key, value.to_owned())).to_vec(),
        };
        assert_eq!(parse(text), expected);
        assert_eq!(expected.pairs().count(), 7);
        assert_eq!(parse("nonsense"), Srvr::default());
        assert_eq!(parse("Zxid: 0xzz").zxid, None);
        let keeper = parse("ClickHouse Keeper version: v23.3.1.2823-testing-46e85357\nMode: follower\nZxid: 12\n");
        assert_eq!((keeper.version.as_deref(), keeper.serves()), (Some("23.3.1.2823"), true));
    }

    #[test]
    fn who_serves_has_a_leader() {
        for mode in ["leader", "follower", "observer", "standalone"] {
            assert!(has_leader(mode), "{mode}");
        }
        for mode in ["read-only", ""] {
            assert!(!has_leader(mode), "{mode}");
        }
    }
}
