//! The znodes that define connections, read live from the ensemble. Nothing is written there.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail};
use zookeeper_client as zkc;

use super::definition::Definition;
use super::plan::Wanted;
use crate::agent::watch_config;
use crate::config::EnsembleConfig;
use crate::source::watch::connect;

/// More are no list of data sources: the path is wrong.
const ZNODES_MAX: usize = 2_000;
/// Changes that come together are followed together.
const SETTLE: Duration = Duration::from_millis(300);

/// What stands beneath a path.
pub(super) struct Found {
    pub(super) wanted: Vec<Wanted>,
    /// Paths that could not be read, and why.
    pub(super) unseen: Vec<(String, String)>,
}

/// A session with the ensemble.
pub(super) struct Source {
    client: zkc::Client,
    root: String,
}

impl Source {
    pub(super) async fn open(ensemble: &EnsembleConfig, root: &str) -> anyhow::Result<Self> {
        let config = watch_config(ensemble)?;
        let no_session = || format!("{}: no session with {}", ensemble.name, ensemble.connect_string());
        let client = connect(&config).await.with_context(no_session)?;
        Ok(Self { client, root: root.to_owned() })
    }

    /// Tells of everything that changes beneath the path from now on.
    pub(super) async fn watch(&self) -> anyhow::Result<zkc::PersistentWatcher> {
        let watch = self.client.watch(&self.root, zkc::AddWatchMode::PersistentRecursive).await;
        watch.with_context(|| format!("cannot watch {}", self.root))
    }

    /// Reads every znode beneath the path. One without a value is a folder, no connection.
    pub(super) async fn read(&self) -> anyhow::Result<Found> {
        self.client.sync(&self.root).await.with_context(|| format!("cannot sync {}", self.root))?;
        let mut found = Found { wanted: Vec::new(), unseen: Vec::new() };
        let mut values: BTreeMap<String, (Vec<u8>, i64)> = BTreeMap::new();
        let mut folders = vec![self.root.clone()];
        let mut znodes = 0;
        while let Some(folder) = folders.pop() {
            let mut children = match self.client.get_children(&folder).await {
                Ok((children, _)) => children,
                Err(zkc::Error::NoNode) if folder == self.root => {
                    bail!("{folder} does not exist: --path names the znode beneath which the connections are")
                }
                // Gone since its parent was read.
                Err(zkc::Error::NoNode) => continue,
                Err(zkc::Error::NoAuth) if folder == self.root => {
                    bail!("the children of {folder} may not be read: --auth-file gives a credential")
                }
                Err(zkc::Error::NoAuth) => {
                    found.unseen.push((folder, "its children may not be read".to_owned()));
                    continue;
                }
                Err(error) => return Err(error).with_context(|| format!("cannot read the children of {folder}")),
            };
            children.sort();
            znodes += children.len();
            if znodes > ZNODES_MAX {
                bail!("more than {ZNODES_MAX} znodes are beneath {}: is --path right?", self.root);
            }
            for child in children {
                let path = if folder == "/" { format!("/{child}") } else { format!("{folder}/{child}") };
                match self.client.get_data(&path).await {
                    Ok((data, stat)) => {
                        if !data.is_empty() {
                            values.insert(path.clone(), (data, stat.mzxid));
                        }
                        if stat.num_children > 0 {
                            folders.push(path);
                        }
                    }
                    Err(zkc::Error::NoNode) => {}
                    Err(zkc::Error::NoAuth) => found.unseen.push((path, "it may not be read".to_owned())),
                    Err(error) => return Err(error).with_context(|| format!("cannot read {path}")),
                }
            }
        }
        found.unseen.sort();
        for (path, (data, mzxid)) in values {
            let fallback = path.strip_prefix(&self.root).unwrap_or(&path).trim_start_matches('/');
            let definition = Definition::parse(&data, fallback).map_err(|error| error.to_string());
            found.wanted.push(Wanted { path, mzxid, definition });
        }
        Ok(found)
    }
}

/// Returns when something changed beneath the path (true), or the session is lost (false).
pub(super) async fn changed(watcher: &mut zkc::PersistentWatcher) -> bool {
    let lives =
        |event: &zkc::WatchedEvent| event.event_type != zkc::EventType::Session || !event.session_state.is_terminated();
    let first = watcher.changed().await;
    if !lives(&first) {
        return false;
    }
    loop {
        match tokio::time::timeout(SETTLE, watcher.changed()).await {
            Ok(event) if !lives(&event) => return false,
            Ok(_) => {}
            Err(_) => return true,
        }
    }
}
