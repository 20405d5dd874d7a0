//! Tries, without writing, whether an ensemble can be watched: what `zktrail check` shows.

use zookeeper_client as zkc;

use super::knock::{self, Kind};
use super::{ConnectError, WatchConfig, connect, refused, whoami};

/// One thing that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probed {
    pub what: String,
    /// What was seen, or what is wrong and what to do.
    pub result: Result<String, String>,
}

/// Connects as the agent would and tries each ability. Stops at the first thing without which the rest cannot be tried.
pub async fn probe(config: &WatchConfig) -> Vec<Probed> {
    let mut probed = Vec::new();
    let mut tell = |what: &str, result: Result<String, String>| {
        let ok = result.is_ok();
        probed.push(Probed { what: what.to_owned(), result });
        ok
    };
    match config.credentials.tls() {
        Some(tls) => {
            for server in &config.servers {
                match knock::look(server, tls).await {
                    Ok(seen) => tell(&format!("{server} TLS"), Ok(seen)),
                    // One that is down for a while is nothing that is wrong.
                    Err(cause) if cause.kind == Kind::Unreachable => false,
                    Err(cause) => tell(&format!("{server} TLS"), Err(cause.text)),
                };
            }
        }
        None => {
            tell("TLS", Ok("not asked for: whoever is on the way reads along".to_owned()));
        }
    }
    if let Err(causes) = knock::reachable(config).await {
        let advice = match config.credentials.tls() {
            Some(_) => format!("no server can be used ({causes})"),
            None => format!("no server takes connections ({causes}): is the address right, is a firewall between?"),
        };
        tell("session", Err(advice));
        return probed;
    }
    let client = match connect(config).await {
        Ok(client) => client,
        Err(ConnectError::Refused(cause)) => {
            tell("authentication", Err(format!("refused: {cause}")));
            return probed;
        }
        Err(error) => {
            tell("session", Err(error.to_string()));
            return probed;
        }
    };
    tell("session", Ok(format!("{:#x}, timeout {:?}", client.session_id().0, client.session_timeout())));
    if !tell("authentication", authentication(config, &client).await) {
        return probed;
    }
    let scope = match client.check_stat(&config.scope).await {
        Ok(Some(stat)) => Ok(format!("{} exists, {} children", config.scope, stat.num_children)),
        Ok(None) => Err(format!("{} does not exist: check the chroot after the host list", config.scope)),
        Err(error) => Err(format!("{}: {error}", config.scope)),
    };
    tell("scope", scope);
    let watch = match client.watch(&config.scope, zkc::AddWatchMode::PersistentRecursive).await {
        Ok(_watcher) => Ok("the server takes them".to_owned()),
        Err(zkc::Error::Unimplemented | zkc::Error::UnexpectedErrorCode(_)) => {
            Err("the server has no addWatch: ZooKeeper 3.6 or newer is needed".to_owned())
        }
        Err(error) => Err(error.to_string()),
    };
    tell("persistent recursive watches", watch);
    let mut reader = client.new_multi_reader();
    let multi = match reader.add_get_data(&config.scope) {
        Ok(()) => reader.commit().await.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let multi = match multi {
        Ok(results) => match results.first() {
            Some(zkc::MultiReadResult::Error { err: zkc::Error::NoAuth }) => {
                Err(format!("{} may not be read: give the agent's user READ permission there", config.scope))
            }
            _ => Ok("the server has it: trees are read quickly".to_owned()),
        },
        Err(error) => Err(format!("{error}: trees are read one znode at a time, slowly")),
    };
    tell("multi-read", multi);
    probed
}

/// Who we are to the servers, as far as they tell.
async fn authentication(config: &WatchConfig, client: &zkc::Client) -> Result<String, String> {
    // The server answers an authentication only by closing the session; the next answer shows that it did not.
    if let Err(zkc::Error::AuthFailed) = client.check_stat(&config.scope).await {
        return Err(format!("refused: {}", refused(config)));
    }
    let mut known = Vec::new();
    if let Some(sasl) = config.credentials.sasl() {
        if sasl.is_challenged() && whoami::asks_for_proof(config).await == Some(false) {
            return Err(sasl.is_nobody());
        }
        known.push(sasl.who());
    }
    let subject = config.credentials.tls().and_then(|tls| tls.subject());
    if let Some(subject) = subject {
        match whoami::identities(config).await {
            Some(identities) if !identities.is_empty() => known.extend(identities),
            _ => known.push(format!("the certificate of {subject} is shown; what it opens only reads can tell")),
        }
    }
    if !config.auth.is_empty() {
        let schemes: Vec<&str> = config.auth.iter().map(|(scheme, _)| scheme.as_str()).collect();
        // A digest is never refused: a wrong password only opens nothing.
        known.push(format!("sent ({}); whether it opens anything only reads can tell", schemes.join(", ")));
    }
    if known.is_empty() {
        return Ok("none: nobody in particular".to_owned());
    }
    Ok(known.join("; "))
}
