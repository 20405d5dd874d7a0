//! Addresses as Java writes them, made plain.

use std::net::{IpAddr, Ipv6Addr};

/// Longer texts are no address.
const ADDRESS_BYTES_MAX: usize = 300;

/// A host without a port: an IPv6 address in its short form; what is no address stays as it is.
pub fn plain_host(text: &str) -> String {
    let bare = text.trim().trim_start_matches('[').trim_end_matches(']');
    let (ip, scope) = match bare.split_once('%') {
        Some((ip, scope)) => (ip, Some(scope)),
        None => (bare, None),
    };
    match (ip.parse::<IpAddr>(), scope) {
        (Ok(ip), None) => ip.to_string(),
        (Ok(ip), Some(scope)) => format!("{ip}%{scope}"),
        (Err(_), _) => bare.to_owned(),
    }
}

/// `[name]/address:port`, as `InetSocketAddress` shows itself, to `host:port`. Before Java 14 an IPv6 address stands
/// there without brackets. `None` for what is none.
pub(super) fn socket_address(text: &str) -> Option<String> {
    if text.len() > ADDRESS_BYTES_MAX {
        return None;
    }
    // The name stands in front where it was resolved; the address is what was connected from.
    let text = text.rsplit('/').next()?.trim();
    let (host, port) = text.rsplit_once(':')?;
    let port: u16 = port.parse().ok()?;
    let host = plain_host(host);
    if host.is_empty() || host.contains(char::is_whitespace) {
        return None;
    }
    let address = host.split('%').next().unwrap_or(&host);
    if address.parse::<Ipv6Addr>().is_ok() { Some(format!("[{host}]:{port}")) } else { Some(format!("{host}:{port}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_as_java_writes_them() {
        for (text, expected) in [
            ("/127.0.0.1:52744", Some("127.0.0.1:52744")),
            ("127.0.0.1:52744", Some("127.0.0.1:52744")),
            ("app-7.example.org/10.1.2.3:4000", Some("10.1.2.3:4000")),
            ("/0:0:0:0:0:0:0:1:52744", Some("[::1]:52744")),
            ("/[0:0:0:0:0:0:0:1]:52744", Some("[::1]:52744")),
            ("/fe80:0:0:0:1:2:3:4%eth0:9", Some("[fe80::1:2:3:4%eth0]:9")),
            ("/[fe80:0:0:0:1:2:3:4%2]:9", Some("[fe80::1:2:3:4%2]:9")),
            ("app-7.example.org:4000", Some("app-7.example.org:4000")),
            ("/127.0.0.1", None),
            ("/127.0.0.1:70000", None),
            (":80", None),
            ("a b:80", None),
            ("", None),
        ] {
            assert_eq!(socket_address(text).as_deref(), expected, "{text}");
        }
        assert_eq!(socket_address(&format!("{}:1", "a".repeat(400))), None);
        assert_eq!(plain_host("[::1]"), "::1");
    }
}
