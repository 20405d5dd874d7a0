//! Who belongs to an ensemble, by the value of `/zookeeper/config` (3.5 and later). Pure.
//!
//! ```text
//! server.1=zk1:2888:3888:participant;0.0.0.0:2181
//! server.2=[2001:db8::2]:2888:3888|10.0.0.2:2888:3888:observer;2181
//! version=100000000
//! ```

/// Where an ensemble keeps it.
pub const CONFIG_PATH: &str = "/zookeeper/config";

/// Lines that are looked at.
const LINES_MAX: usize = 10_000;
/// Members that are known, those with the lowest ids: more are not asked.
const MEMBERS_MAX: usize = crate::metrics::servers::SERVERS_MAX;
const HOST_BYTES_MAX: usize = 255;

/// The servers of one configuration, by their ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members(pub Vec<Member>);

/// One server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub id: i64,
    /// Of its first address; IPv6 in brackets.
    pub host: String,
    pub votes: bool,
    /// `host:port` for clients that do not use TLS, where it is told; a wildcard's host is the server's own.
    pub client: Option<String>,
}

impl Members {
    /// Reads a value; lines that are not understood are passed over. Without any server it says nothing, as that of a
    /// standalone server.
    pub fn read(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?;
        let mut members: Vec<Member> = Vec::new();
        let mut weightless = Vec::new();
        for line in text.lines().take(LINES_MAX) {
            let Some((key, value)) = line.split_once('=') else { continue };
            let (key, value) = (key.trim(), value.trim());
            if let Some(id) = key.strip_prefix("server.").and_then(|id| id.parse().ok()) {
                members.extend(member(id, value));
            } else if let Some(id) = key.strip_prefix("weight.").and_then(|id| id.parse::<i64>().ok())
                && value == "0"
            {
                weightless.push(id);
            }
        }
        for member in &mut members {
            member.votes &= !weightless.contains(&member.id);
        }
        members.sort_by_key(|member| member.id);
        members.dedup_by_key(|member| member.id);
        members.truncate(MEMBERS_MAX);
        (!members.is_empty()).then_some(Self(members))
    }
}

fn member(id: i64, text: &str) -> Option<Member> {
    let (server, client) = match text.split_once(';') {
        Some((server, client)) => (server, client.split(';').next()),
        None => (text, None),
    };
    // The role stands behind the last address.
    let (host, _) = split_host(server.split('|').next()?)?;
    let (_, behind) = split_host(server.rsplit('|').next()?)?;
    let is_observer = behind.split(':').any(|word| word.eq_ignore_ascii_case("observer"));
    let client = client.and_then(|client| client_address(client.trim(), &host));
    Some(Member { id, host, votes: !is_observer, client })
}

/// `host:rest`, the host in brackets where it is an IPv6 address.
fn split_host(address: &str) -> Option<(String, &str)> {
    let address = address.trim();
    let (host, rest) = match address.strip_prefix('[') {
        Some(bracketed) => {
            let (host, rest) = bracketed.split_once(']')?;
            (format!("[{host}]"), rest.strip_prefix(':').unwrap_or(rest))
        }
        None => {
            let (host, rest) = address.split_once(':')?;
            (host.to_owned(), rest)
        }
    };
    is_host(host.trim_start_matches('[').trim_end_matches(']')).then_some((host, rest))
}

/// Whether it is a name or an address and nothing else: it goes into addresses and URLs.
fn is_host(bare: &str) -> bool {
    let is_name = |letter: u8| letter.is_ascii_alphanumeric() || matches!(letter, b'.' | b'-' | b'_');
    bare.parse::<std::net::IpAddr>().is_ok() || (1..=HOST_BYTES_MAX).contains(&bare.len()) && bare.bytes().all(is_name)
}

/// Whether it stands for every address of a machine, and so for none that another one could ask.
pub(super) fn is_wildcard(bare: &str) -> bool {
    bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_unspecified())
}

fn client_address(text: &str, server_host: &str) -> Option<String> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, port),
        None => ("", text),
    };
    let port: u16 = port.parse().ok().filter(|port| *port != 0)?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let is_servers_own = bare.is_empty() || is_wildcard(bare);
    if !is_servers_own && !is_host(bare) {
        return None;
    }
    match (is_servers_own, bare.contains(':')) {
        (true, _) => Some(format!("{server_host}:{port}")),
        (false, true) => Some(format!("[{bare}]:{port}")),
        (false, false) => Some(format!("{bare}:{port}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(i64, String, bool, Option<String>)> {
        let members = Members::read(text.as_bytes()).unwrap_or_default().0;
        members.into_iter().map(|member| (member.id, member.host, member.votes, member.client)).collect()
    }

    #[test]
    fn servers_of_a_configuration() {
        let text = "server.2=zk2:2888:3888:observer;2181\nserver.1=zk1:2888:3888:participant;0.0.0.0:2181\n\
                    server.3=[2001:db8::3]:2888:3888;[::]:2182\nserver.4=zk4:2888:3888\n\
                    server.5=a5:2888:3888|b5:2889:3889:observer;10.0.0.5:2181;2281\n\
                    server.6=zk6:2888:3888:participant;[2001:db8::6]:2181\nversion=100000000\n";
        let expected = [
            (1, "zk1", true, Some("zk1:2181")),
            (2, "zk2", false, Some("zk2:2181")),
            (3, "[2001:db8::3]", true, Some("[2001:db8::3]:2182")),
            (4, "zk4", true, None),
            (5, "a5", false, Some("10.0.0.5:2181")),
            (6, "zk6", true, Some("[2001:db8::6]:2181")),
        ];
        let owned = |(id, host, votes, client): (i64, &str, bool, Option<&str>)| {
            (id, host.to_owned(), votes, client.map(str::to_owned))
        };
        assert_eq!(read(text), expected.map(owned).to_vec());
    }

    #[test]
    fn without_weight_nobody_votes() {
        let text = "server.1=a:1:2;3\nserver.2=b:1:2;3\ngroup.1=1:2\nweight.1=1\nweight.2=0\n";
        let votes: Vec<bool> = read(text).into_iter().map(|(_, _, votes, _)| votes).collect();
        assert_eq!(votes, [true, false]);
    }

    #[test]
    fn what_is_none_says_nothing() {
        for text in ["", "version=0", "server.x=a:1:2", "server.1=", "server.1=;2181", "server.1=[]:1:2", "\0\u{fffd}"]
        {
            assert_eq!(Members::read(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Members::read(&[0xff, 0xfe]), None);
        assert_eq!(Members::read(b"server.1=10.0.0.1/latest?:2888:3888;2181"), None, "a host is no path");
        assert_eq!(read("server.1=a:1:2;x/y?:2181\n"), [(1, "a".to_owned(), true, None)]);
        let many: String = (0..2 * MEMBERS_MAX).map(|id| format!("server.{id}=zk{id}:1:2;3\n")).collect();
        assert_eq!(read(&many).len(), MEMBERS_MAX);
        assert_eq!(read("server.1=a:1:2;99999\n"), [(1, "a".to_owned(), true, None)]);
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(text in "(server\\.|weight\\.)?[0-9a-z\\[\\]:;|=.\\-é\n]{0,100}") {
            let _ = Members::read(text.as_bytes());
        }
    }
}
