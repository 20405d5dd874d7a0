//! Tries, without writing, whether an ensemble can be watched: what `zktrail check` shows.

use zookeeper_client as zkc;

use super::{WatchConfig, connect, reachable};

/// One thing that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probed {
    pub what: &'static str,
    /// What was seen, or what is wrong and what to do.
    pub result: Result<String, String>,
}

/// Connects as the agent would and tries each ability. Stops at the first thing without which the rest cannot be tried.
pub async fn probe(config: &WatchConfig) -> Vec<Probed> {
    let mut probed = Vec::new();
    let mut tell = |what, result: Result<String, String>| {
        let ok = result.is_ok();
        probed.push(Probed { what, result });
        ok
    };
    if let Err(causes) = reachable(&config.servers).await {
        tell(
            "session",
            Err(format!("no server takes connections ({causes}): is the address right, is a firewall between?")),
        );
        return probed;
    }
    let client = match connect(config, &config.servers).await {
        Ok(client) => client,
        Err(zkc::Error::AuthFailed) => {
            tell("authentication", Err("refused: check the scheme and the credential".to_owned()));
            return probed;
        }
        Err(error) => {
            let what = format!(
                "{error} within {:?}: is the address right, is a quorum up, does a firewall stand between?",
                config.session_timeout
            );
            tell("session", Err(what));
            return probed;
        }
    };
    tell("session", Ok(format!("{:#x}, timeout {:?}", client.session_id().0, client.session_timeout())));
    if !config.auth.is_empty() {
        let schemes: Vec<&str> = config.auth.iter().map(|(scheme, _)| scheme.as_str()).collect();
        // The server answers an authentication only by closing the session; the next answer shows that it did not.
        let result = match client.check_stat(&config.scope).await {
            Err(zkc::Error::AuthFailed) => Err("refused: check the scheme and the credential".to_owned()),
            // A digest is never refused: a wrong password only opens nothing.
            _ => Ok(format!("sent ({}); whether it opens anything only reads can tell", schemes.join(", "))),
        };
        if !tell("authentication", result) {
            return probed;
        }
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
