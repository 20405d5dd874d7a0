//! Workers that take turns at a lock, by the recipe that everybody uses: ephemeral, sequential, the lowest holds it.

use zookeeper_client::{Acls, Client, CreateMode, Error};

use super::World;
use super::actor::{Actor, lives, make};

pub(super) const WORKERS: u32 = 4;
const LOCK: &str = "/locks/inventory";
const HOLDS_SECONDS: f64 = 0.7;
/// Too few connections: every hold takes longer.
const HOLDS_BADLY_SECONDS: f64 = 3.0;
const RESTS_SECONDS: f64 = 1.5;

pub(super) async fn furnish(client: &Client) -> Result<(), Error> {
    make(client, "/locks", "").await?;
    make(client, LOCK, "").await
}

pub(super) async fn run(world: World, number: u32) {
    lives(world, Worker { number }).await;
}

struct Worker {
    number: u32,
}

impl Actor for Worker {
    async fn live(&mut self, world: &World, client: Client) -> Result<(), Error> {
        let options = CreateMode::EphemeralSequential.with_acls(Acls::anyone_all());
        let owner = format!("worker-{}", self.number);
        loop {
            let (_, sequence) = client.create(&format!("{LOCK}/lock-"), owner.as_bytes(), &options).await?;
            let own = format!("lock-{sequence}");
            while let Some(before) = predecessor(&client, &own).await? {
                let (there, watcher) = client.check_and_watch_stat(&format!("{LOCK}/{before}")).await?;
                if there.is_some() {
                    let _ = watcher.changed().await;
                }
            }
            let bad = world.release.borrow().bad;
            world.pace.wait(if bad { HOLDS_BADLY_SECONDS } else { HOLDS_SECONDS }).await;
            client.delete(&format!("{LOCK}/{own}"), None).await?;
            world.pace.wait(RESTS_SECONDS * fastrand::f64() * 2.0).await;
        }
    }
}

/// Who stands directly before one's own place.
async fn predecessor(client: &Client, own: &str) -> Result<Option<String>, Error> {
    let mut waiting = client.list_children(LOCK).await?;
    waiting.retain(|name| name.as_str() < own);
    Ok(waiting.into_iter().max())
}
