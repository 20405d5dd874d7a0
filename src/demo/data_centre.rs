//! A lively data centre on an ensemble: what it keeps there is made up, that it keeps it there is real.
//!
//! Every actor has a ZooKeeper session of its own, as applications have: brokers that join and flap, a controller that is
//! elected and moves partitions, workers that wait for a lock, instances of a service, and deploys that change settings.
//! One deploy in a while is bad; what follows from it can be found in the history alone.
//!
//! ```text
//! /brokers/ids/<n>                        who is alive          ephemeral
//! /brokers/topics/<t>/partitions/<p>      leader and ISR        written by the controller
//! /controller, /controller_epoch          who leads             ephemeral; counted
//! /config/<service>                       settings              written by deploys
//! /services/<service>/<instance>          who serves            ephemeral
//! /locks/<name>/lock-<n>                  who waits, who holds  ephemeral, sequential
//! ```

mod actor;
mod deploys;
mod instances;
mod kafka;
mod locks;

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

pub use deploys::Release;

/// How fast its time passes: 1.0 for people, more for tests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace(pub f64);

impl Pace {
    /// Waits so many seconds of the data centre's time.
    pub(crate) async fn wait(self, seconds: f64) {
        tokio::time::sleep(Duration::from_secs_f64((seconds / self.0).clamp(0.001, 3_600.0))).await;
    }
}

/// What every actor knows.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub connect: String,
    pub pace: Pace,
    /// The release of `checkout` that is live.
    pub release: watch::Receiver<Release>,
}

/// The running data centre; it ends when dropped, and its sessions with it.
#[derive(Debug)]
pub struct DataCentre {
    actors: JoinSet<()>,
    release: watch::Receiver<Release>,
}

impl DataCentre {
    /// Furnishes the ensemble at this connect string and begins. Nothing may be there of what it keeps.
    ///
    /// # Errors
    /// Where the ensemble does not take what is written.
    pub async fn start(connect: &str, pace: Pace) -> anyhow::Result<Self> {
        let client = actor::connect(connect).await?;
        kafka::furnish(&client).await?;
        locks::furnish(&client).await?;
        deploys::furnish(&client).await?;
        instances::furnish(&client).await?;
        drop(client);

        let (live, release) = watch::channel(Release::first());
        let world = World { connect: connect.to_owned(), pace, release: release.clone() };
        let mut actors = JoinSet::new();
        actors.spawn(kafka::run(world.clone()));
        actors.spawn(deploys::run(world.clone(), live));
        for instance in 1..=instances::COUNT {
            actors.spawn(instances::run(world.clone(), instance));
        }
        for worker in 1..=locks::WORKERS {
            actors.spawn(locks::run(world.clone(), worker));
        }
        Ok(Self { actors, release })
    }

    /// The release of `checkout` that is live now.
    pub fn release(&self) -> Release {
        self.release.borrow().clone()
    }

    /// Ends every actor; their sessions close.
    pub async fn stop(mut self) {
        self.actors.shutdown().await;
    }
}
