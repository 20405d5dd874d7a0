/// The URLs of the command that lists connections, from what the operator writes: a list, in which `{host}` stands for
/// each server's own.
pub(super) fn expand(text: &str, servers: &[String]) -> Result<Vec<String>, String> {
    let mut urls = Vec::new();
    for one in text.split(',').map(str::trim).filter(|one| !one.is_empty()) {
        if !one.contains(HOST) {
            push(&mut urls, command(one)?);
            continue;
        }
        for server in servers {
            let host = server.rsplit_once(':').map_or(server.as_str(), |(host, _)| host);
            push(&mut urls, command(&one.replace(HOST, host))?);
        }
    }
    if urls.is_empty() { Err("it is empty".to_owned()) } else { Ok(urls) }
}

const HOST: &str = "{host}";

/// Several servers of one host have one URL only where they have one AdminServer.
fn push(urls: &mut Vec<String>, url: String) {
    if !urls.contains(&url) {
        urls.push(url);
    }
}

fn command(text: &str) -> Result<String, String> {
    let url = url::Url::parse(text).map_err(|error| format!("it is no URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err("it begins with neither http:// nor https://".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err("it may hold scheme, host, port and path only".to_owned());
    }
    let root = match url.path().trim_end_matches('/') {
        "" => "/commands",
        path => path,
    };
    let root = root.strip_suffix("/connections").unwrap_or(root);
    Ok(format!("{}{root}/connections", url.origin().ascii_serialization()))
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
}
