//! Is this still the ensemble that the history is of? Asked before anything is compared.

use zookeeper_client as zkc;

use super::convert;
use crate::zk::{self, Stat, ZkPath, Zxid};

/// What the history knows of the ensemble, to recognise it.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// The greatest zxid on record; 0 where there is no history.
    pub greatest_zxid: Zxid,
    /// A znode whose Stat showed that zxid, if one is known.
    pub newest: Option<ZkPath>,
    /// The oldest znodes: what they were when they were created never changes.
    pub oldest: Vec<(ZkPath, Stat)>,
}

#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    Same,
    /// This server is behind what was recorded, even after a sync.
    Behind {
        seen: Zxid,
        recorded: Zxid,
    },
    /// A znode of this path was created at another moment than on record: another ensemble's tree.
    Rebuilt {
        path: String,
        recorded: Zxid,
        found: Zxid,
    },
}

/// Syncs, then compares a handful of Stats. Reads only.
pub(super) async fn vet(client: &zkc::Client, scope: &str, identity: &Identity) -> Result<Verdict, zkc::Error> {
    if identity.greatest_zxid == Zxid(0) {
        return Ok(Verdict::Same);
    }
    client.sync(scope).await?;
    for (path, recorded) in &identity.oldest {
        if let Witness::Found(found) = ask(client, path).await?
            && let verdict @ Verdict::Rebuilt { .. } = same_life(path, recorded, &found, identity.greatest_zxid)
        {
            return Ok(verdict);
        }
    }
    // The znode that showed the greatest zxid shows it still, or a later one. Where it is gone, its deletion shows in
    // its parent's pzxid, or in that one's parent's if the parent is gone too.
    let mut at = identity.newest.as_deref();
    while let Some(path) = at {
        match ask(client, path).await? {
            Witness::Found(found) if found.newest_zxid() >= identity.greatest_zxid => return Ok(Verdict::Same),
            Witness::Found(found) => {
                return Ok(Verdict::Behind { seen: found.newest_zxid(), recorded: identity.greatest_zxid });
            }
            // It is there and may not be seen: no witness against the server.
            Witness::Refused => return Ok(Verdict::Same),
            Witness::Gone => at = zk::parent(path), // also above a chroot
        }
    }
    Ok(Verdict::Same)
}

enum Witness {
    Found(Stat),
    Gone,
    /// Newer servers want READ permission for exists too.
    Refused,
}

async fn ask(client: &zkc::Client, path: &str) -> Result<Witness, zkc::Error> {
    match client.check_stat(path).await {
        Ok(Some(stat)) => Ok(Witness::Found(convert::stat(&stat))),
        Ok(None) => Ok(Witness::Gone),
        Err(zkc::Error::NoAuth) => Ok(Witness::Refused),
        Err(error) => Err(error),
    }
}

/// A znode that was deleted and created again is younger than everything on record; any other czxid is foreign.
fn same_life(path: &str, recorded: &Stat, found: &Stat, greatest: Zxid) -> Verdict {
    let reborn = found.czxid > greatest;
    // Where only an event told of the creation its time is not on record.
    let same_time = recorded.ctime.0 == 0 || found.ctime == recorded.ctime;
    let same = found.czxid == recorded.czxid && same_time;
    if same || reborn {
        return Verdict::Same;
    }
    Verdict::Rebuilt { path: path.to_owned(), recorded: recorded.czxid, found: found.czxid }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zk::Micros;

    #[test]
    fn tells_another_ensembles_tree_from_a_rebirth() {
        let recorded = Stat { czxid: Zxid(5), ctime: Micros(1_000), ..Stat::default() };
        let verdict = |czxid: i64, ctime: i64| {
            same_life("/a", &recorded, &Stat { czxid: Zxid(czxid), ctime: Micros(ctime), ..Stat::default() }, Zxid(100))
        };
        assert_eq!(verdict(5, 1_000), Verdict::Same);
        assert_eq!(verdict(101, 9_000), Verdict::Same, "deleted and created again");
        assert!(matches!(verdict(5, 2_000), Verdict::Rebuilt { .. }));
        let untimed = Stat { ctime: Micros(0), ..recorded };
        let found = Stat { ctime: Micros(7_000), ..recorded };
        assert_eq!(same_life("/a", &untimed, &found, Zxid(100)), Verdict::Same, "the time was never on record");
        assert!(matches!(verdict(7, 1_000), Verdict::Rebuilt { .. }));
    }
}
