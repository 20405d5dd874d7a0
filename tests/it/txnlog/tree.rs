//! The tree that a snapshot and the log behind it lead to. Only what a test needs: the product's own is elsewhere.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use zktrail::source::txnlog::{Inputs, SnapshotFile};
use zktrail::zk::{Action, Operation, PersistedZnode, Zxid};

use super::transactions;

/// What clients see of a znode.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Znode {
    pub data: Vec<u8>,
    pub czxid: i64,
    pub mzxid: i64,
    pub version: i32,
    pub aversion: i32,
    pub ephemeral_owner: i64,
}

pub(super) type Live = BTreeMap<String, Znode>;

pub(super) fn znode(line: &str) -> Result<(String, Znode)> {
    let row: serde_json::Value = serde_json::from_str(line)?;
    let int = |name: &str| row[name].as_i64().with_context(|| format!("{name} of {row}"));
    let znode = Znode {
        data: base64::engine::general_purpose::STANDARD.decode(row["data"].as_str().unwrap_or_default())?,
        czxid: int("czxid")?,
        mzxid: int("mzxid")?,
        version: int("version")? as i32,
        aversion: int("aversion")? as i32,
        ephemeral_owner: int("ephemeral_owner")?,
    };
    Ok((row["path"].as_str().context("a path")?.to_owned(), znode))
}

/// A snapshot and the log behind it. What is in the snapshot already happens a second time: it does nothing then.
pub(super) fn replay(inputs: &Inputs, snapshot: &SnapshotFile) -> Result<Live> {
    let mut tree: Live = BTreeMap::new();
    for znode in snapshot.open()? {
        let PersistedZnode { path, data, czxid, mzxid, version, aversion, ephemeral_owner, .. } = znode?;
        let data = data.unwrap_or_default().to_vec();
        let znode = Znode { data, czxid: czxid.0, mzxid: mzxid.0, version, aversion, ephemeral_owner };
        tree.insert(path.to_string(), znode);
    }
    let mut held: HashMap<i64, Vec<String>> = HashMap::new();
    for (path, znode) in tree.iter().filter(|(_, znode)| znode.ephemeral_owner != 0) {
        held.entry(znode.ephemeral_owner).or_default().push(path.clone());
    }
    for transaction in transactions(inputs, Zxid(snapshot.zxid.0 + 1))? {
        let (zxid, session) = (transaction.zxid.0, transaction.session_id);
        match transaction.action {
            Action::Nothing | Action::SessionOpened { .. } => {}
            Action::SessionClosed { .. } => {
                for path in held.remove(&session).unwrap_or_default() {
                    if tree.get(&path).is_some_and(|znode| znode.ephemeral_owner == session) {
                        tree.remove(&path);
                    }
                }
            }
            Action::Operations(operations) => {
                for operation in operations {
                    match operation {
                        Operation::Created { path, data, node_type, .. } => {
                            let owner = if node_type.as_str() == "ephemeral" { session } else { 0 };
                            if owner != 0 {
                                held.entry(owner).or_default().push(path.to_string());
                            }
                            let data = data.unwrap_or_default().to_vec();
                            tree.entry(path.to_string()).or_insert(Znode {
                                data,
                                czxid: zxid,
                                mzxid: zxid,
                                version: 0,
                                aversion: 0,
                                ephemeral_owner: owner,
                            });
                        }
                        Operation::Deleted { path, .. } => drop(tree.remove(&*path)),
                        Operation::DataSet { path, data, version } => {
                            if let Some(znode) = tree.get_mut(&*path) {
                                (znode.data, znode.version) = (data.unwrap_or_default().to_vec(), version);
                                znode.mzxid = zxid;
                            }
                        }
                        Operation::AclSet { path, aversion, .. } => {
                            if let Some(znode) = tree.get_mut(&*path) {
                                znode.aversion = aversion;
                            }
                        }
                    }
                }
            }
        }
    }
    Ok(tree)
}

pub(super) fn compare(live: &Live, tree: &Live) -> Result<()> {
    // The server's own znodes are its own matter.
    let ours = |path: &&String| *path != "/" && !path.starts_with("/zookeeper");
    let paths: BTreeSet<&String> = live.keys().chain(tree.keys()).filter(ours).collect();
    for path in &paths {
        ensure!(live.get(*path) == tree.get(*path), "{path}: live {:?}, read {:?}", live.get(*path), tree.get(*path));
    }
    ensure!(paths.len() > 50, "{} znodes are hardly a tree", paths.len());
    Ok(())
}
