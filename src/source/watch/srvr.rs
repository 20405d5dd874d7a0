//! The four-letter word `srvr`: the only one that servers allow by default. It tells version, mode and last zxid.

use std::time::Duration;

use super::credentials::Credentials;
use super::knock;
use crate::zk::Zxid;

/// What one server says of itself. Every field is absent where it said nothing that we understand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Srvr {
    pub version: Option<String>,
    pub mode: Option<String>,
    pub zxid: Option<Zxid>,
}

/// Asks one server (`host:port`), over TLS where the credentials say so, within the time given.
///
/// # Errors
/// Says why there is no answer: not reachable, in time, or the word is not on its whitelist.
pub async fn ask(server: &str, credentials: &Credentials, timeout: Duration) -> Result<Srvr, String> {
    match tokio::time::timeout(timeout, knock::ask(server, credentials.tls(), "srvr")).await {
        Err(_) => Err(format!("no answer within {} ms", timeout.as_millis())),
        Ok(Err(cause)) => Err(cause.text),
        Ok(Ok(text)) if text.contains("not in the whitelist") => {
            Err("srvr is not in the server's 4lw.commands.whitelist".to_owned())
        }
        Ok(Ok(text)) => Ok(parse(&text)),
    }
}

fn parse(text: &str) -> Srvr {
    let mut srvr = Srvr::default();
    for line in text.lines() {
        let Some((key, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        match key.trim() {
            "Zookeeper version" => {
                let version = value.split([',', '-', ' ']).next().unwrap_or(value);
                srvr.version = Some(version.to_owned());
            }
            "Mode" => srvr.mode = Some(value.to_owned()),
            "Zxid" => {
                srvr.zxid = i64::from_str_radix(value.trim_start_matches("0x"), 16).ok().and_then(Zxid::from_wire);
            }
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
        let expected =
            Srvr { version: Some("3.9.3".into()), mode: Some("standalone".into()), zxid: Some(Zxid(0x1_0000_002a)) };
        assert_eq!(parse(text), expected);
        assert_eq!(parse("nonsense"), Srvr::default());
        assert_eq!(parse("Zxid: 0xzz").zxid, None);
    }
}
