//! A small Kafka as it keeps itself in ZooKeeper: brokers, a controller, partitions with their ISR.

use std::collections::BTreeMap;

use zookeeper_client::{Client, Error};

use super::World;
use super::actor::{appear, connect, make, set};

const BROKERS: u32 = 4;
/// The one whose disk is slow.
const FLAPPING: u32 = 3;
const TOPICS: [(&str, u32); 3] = [("orders", 3), ("payments", 2), ("clicks", 4)];
const REPLICAS: u32 = 3;

const FLAPS_EVERY_SECONDS: f64 = 6.0;
const FLAPPED_SECONDS: f64 = 1.5;
/// The controller's broker is restarted once in so many flaps of the other.
const CONTROLLER_EVERY_FLAPS: u32 = 4;

pub(super) async fn furnish(client: &Client) -> Result<(), Error> {
    for path in ["/brokers", "/brokers/ids", "/brokers/topics"] {
        make(client, path, "").await?;
    }
    make(client, "/controller_epoch", "0").await?;
    for (topic, partitions) in TOPICS {
        make(client, &format!("/brokers/topics/{topic}"), "{\"version\":2}").await?;
        make(client, &format!("/brokers/topics/{topic}/partitions"), "").await?;
        for partition in 0..partitions {
            let path = format!("/brokers/topics/{topic}/partitions/{partition}");
            make(client, &path, "").await?;
            make(client, &format!("{path}/state"), "").await?;
        }
    }
    Ok(())
}

pub(super) async fn run(world: World) {
    loop {
        if let Err(error) = Cluster::default().live(&world).await {
            tracing::debug!(%error, "the brokers begin anew");
        }
        world.pace.wait(1.0).await;
    }
}

/// The brokers that are up, each with its session, and what the controller remembers.
#[derive(Default)]
struct Cluster {
    brokers: BTreeMap<u32, Client>,
    controller: Option<u32>,
    controller_epoch: u32,
    /// The leader of each partition, and how often it changed.
    leaders: BTreeMap<(&'static str, u32), (u32, u32)>,
}

impl Cluster {
    async fn live(mut self, world: &World) -> Result<(), Error> {
        for id in 0..BROKERS {
            self.join(world, id).await?;
            world.pace.wait(0.2).await;
        }
        for flaps in 1u32.. {
            world.pace.wait(FLAPS_EVERY_SECONDS * (0.7 + 0.6 * fastrand::f64())).await;
            let restarted = self.controller.filter(|_| flaps.is_multiple_of(CONTROLLER_EVERY_FLAPS));
            let id = restarted.unwrap_or(FLAPPING);
            self.leave(world, id).await?;
            world.pace.wait(FLAPPED_SECONDS).await;
            self.join(world, id).await?;
        }
        Ok(())
    }

    async fn join(&mut self, world: &World, id: u32) -> Result<(), Error> {
        let client = connect(&world.connect).await?;
        let value = format!(
            "{{\"version\":5,\"host\":\"broker-{id}.example\",\"port\":9092,\"rack\":\"r{}\",\"endpoints\":[\"PLAINTEXT://broker-{id}.example:9092\"]}}",
            id % 2
        );
        appear(world, &client, &format!("/brokers/ids/{id}"), &value).await?;
        self.brokers.insert(id, client);
        self.elect(world).await?;
        world.pace.wait(0.3).await;
        self.place().await
    }

    /// Its session ends, and with it whatever it held.
    async fn leave(&mut self, world: &World, id: u32) -> Result<(), Error> {
        drop(self.brokers.remove(&id));
        if self.controller == Some(id) {
            self.controller = None;
        }
        world.pace.wait(0.1).await;
        self.elect(world).await?;
        self.place().await
    }

    /// The broker with the lowest number wins the race to create `/controller`.
    async fn elect(&mut self, world: &World) -> Result<(), Error> {
        if self.controller.is_some() {
            return Ok(());
        }
        let Some((id, client)) = self.brokers.iter().next() else { return Ok(()) };
        appear(world, client, "/controller", &format!("{{\"version\":2,\"brokerid\":{id}}}")).await?;
        self.controller = Some(*id);
        let (before, _) = client.get_data("/controller_epoch").await?;
        let before: u32 = String::from_utf8_lossy(&before).parse().unwrap_or(self.controller_epoch);
        self.controller_epoch = before + 1;
        set(client, "/controller_epoch", &self.controller_epoch.to_string()).await
    }

    /// The controller writes leader and ISR of each partition where they changed.
    async fn place(&mut self) -> Result<(), Error> {
        let Some(client) = self.controller.and_then(|id| self.brokers.get(&id)) else { return Ok(()) };
        for (topic, partitions) in TOPICS {
            for partition in 0..partitions {
                let isr: Vec<u32> = (0..REPLICAS)
                    .map(|replica| (partition + replica) % BROKERS)
                    .filter(|id| self.brokers.contains_key(id))
                    .collect();
                let Some(preferred) = isr.first().copied() else { continue };
                let (leader, epoch) = self.leaders.entry((topic, partition)).or_insert((preferred, 0));
                if !isr.contains(leader) {
                    (*leader, *epoch) = (preferred, *epoch + 1);
                }
                let value = format!(
                    "{{\"controller_epoch\":{},\"leader\":{leader},\"version\":1,\"leader_epoch\":{epoch},\"isr\":{isr:?}}}",
                    self.controller_epoch
                );
                let path = format!("/brokers/topics/{topic}/partitions/{partition}/state");
                let (before, _) = client.get_data(&path).await?;
                if before != value.as_bytes() {
                    set(client, &path, &value).await?;
                }
            }
        }
        Ok(())
    }
}
