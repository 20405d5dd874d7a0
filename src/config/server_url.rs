//! URLs of the servers' own HTTP doors, from what the operator writes: a list, in which `{host}` stands for each server's.

/// How the servers' metrics are got over HTTP: URLs in the order in which they were written, with `{host}` in them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerUrls(Vec<String>);

impl ServerUrls {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The URL of one server (`host:port`). `listed` are the servers that the operator lists, to which the URLs belong one
    /// by one where they are as many; else a URL is the server's whose host it names.
    /// `all` are these and those that were found: of several on one host it cannot be known whose a URL is.
    pub fn of(&self, server: &str, listed: &[String], all: &[String]) -> Option<String> {
        let host = host(server);
        let is_alone = all.iter().filter(|other| self::host(other) == host).count() <= 1;
        let is_template = |url: &&String| url.contains(HOST);
        if let Some(template) = self.0.iter().find(is_template) {
            return is_alone.then(|| template.replace(HOST, host));
        }
        if self.0.len() == listed.len()
            && let Some(at) = listed.iter().position(|listed| listed == server)
        {
            return self.0.get(at).cloned();
        }
        if !is_alone {
            return None;
        }
        let is_of = |url: &&String| url::Url::parse(url).is_ok_and(|url| url.host_str() == Some(host));
        let mut own = self.0.iter().filter(is_of);
        match (own.next(), own.next()) {
            (Some(url), None) => Some(url.clone()),
            _ => None,
        }
    }
}

/// The AdminServers' commands `connections`, one a URL.
pub(super) fn expand(text: &str, servers: &[String]) -> Result<Vec<String>, String> {
    let mut urls = Vec::new();
    for command in commands(text, "connections")?.0 {
        if !command.contains(HOST) {
            push(&mut urls, command);
            continue;
        }
        for server in servers {
            push(&mut urls, command.replace(HOST, host(server)));
        }
    }
    Ok(urls)
}

/// The AdminServers' command of this name.
pub(super) fn commands(text: &str, name: &str) -> Result<ServerUrls, String> {
    read(text, |path| {
        let root = match path {
            "" => "/commands",
            path => path,
        };
        let root = root.strip_suffix("/connections").or_else(|| root.strip_suffix("/monitor")).unwrap_or(root);
        format!("{root}/{name}")
    })
}

/// The expositions of the servers' Prometheus providers.
pub(super) fn expositions(text: &str) -> Result<ServerUrls, String> {
    read(text, |path| if path.is_empty() { "/metrics".to_owned() } else { path.to_owned() })
}

const HOST: &str = "{host}";
/// Stands for it while a URL is read.
const SOME_HOST: &str = "zktrail-host";

fn host(server: &str) -> &str {
    server.rsplit_once(':').map_or(server, |(host, _)| host)
}

/// Several servers of one host have one URL only where they have one AdminServer.
fn push(urls: &mut Vec<String>, url: String) {
    if !urls.contains(&url) {
        urls.push(url);
    }
}

fn read(text: &str, path: impl Fn(&str) -> String) -> Result<ServerUrls, String> {
    let mut urls = Vec::new();
    for one in text.split(',').map(str::trim).filter(|one| !one.is_empty()) {
        let url = url::Url::parse(&one.replace(HOST, SOME_HOST)).map_err(|error| format!("it is no URL: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err("it begins with neither http:// nor https://".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
            return Err("it may hold scheme, host, port and path only".to_owned());
        }
        let path = path(url.path().trim_end_matches('/'));
        push(&mut urls, format!("{}{path}", url.origin().ascii_serialization()).replace(SOME_HOST, HOST));
    }
    if urls.is_empty() { Err("it is empty".to_owned()) } else { Ok(ServerUrls(urls)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_the_command() {
        let servers = ["zk1:2181".to_owned(), "[::1]:2182".to_owned()];
        let expand = |text: &str| expand(text, &servers);
        let ok = |urls: &[&str]| Ok(urls.iter().map(|url| (*url).to_owned()).collect::<Vec<_>>());
        let each = ["http://zk1:8080/commands/connections", "http://[::1]:8080/commands/connections"];
        assert_eq!(expand("http://{host}:8080"), ok(&each));
        assert_eq!(expand("http://zk1:8080/, http://[::1]:8080/commands/connections"), ok(&each));
        assert_eq!(expand("https://a/zk/admin/,https://a/zk/admin"), ok(&["https://a/zk/admin/connections"]));
        for bad in ["", ",", "zk1:8080", "ftp://a", "http://", "http://bob:secret@a", "http://a?x=1"] {
            assert!(expand(bad).is_err(), "{bad}");
        }
        assert!(!expand("http://bob:secret@a").unwrap_err().contains("secret"));
    }

    #[test]
    fn each_server_has_its_url() {
        let listed = ["zk1:2181".to_owned(), "zk2:2181".to_owned()];
        let of = |urls: &ServerUrls, server: &str| urls.of(server, &listed, &listed);
        let template = commands("http://{host}:8080", "monitor").unwrap();
        assert_eq!(of(&template, "zk3:2181").as_deref(), Some("http://zk3:8080/commands/monitor"));
        assert_eq!(of(&template, "[::1]:2181").as_deref(), Some("http://[::1]:8080/commands/monitor"));
        let pairs = expositions("http://a:7000,http://b:7000/zk/metrics").unwrap();
        assert_eq!(of(&pairs, "zk1:2181").as_deref(), Some("http://a:7000/metrics"));
        assert_eq!(of(&pairs, "zk2:2181").as_deref(), Some("http://b:7000/zk/metrics"));
        assert_eq!(of(&pairs, "zk3:2181"), None);
        let one = commands("http://zk2:8080/commands/connections", "monitor").unwrap();
        assert_eq!(of(&one, "zk2:2181").as_deref(), Some("http://zk2:8080/commands/monitor"));
        assert_eq!(of(&one, "zk1:2181"), None);
        let same = ["zk1:2181".to_owned(), "zk1:2182".to_owned(), "zk1:2183".to_owned()];
        assert_eq!(commands("http://zk1:8080", "monitor").unwrap().of("zk1:2182", &same, &same), None);
        assert_eq!(template.of("zk1:2182", &same, &same), None, "one AdminServer is not three servers'");
    }
}
