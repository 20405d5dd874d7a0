//! Deploys: settings that change, nearly always for the better.

use tokio::sync::watch;
use zookeeper_client::{Client, Error};

use super::World;
use super::actor::{Actor, lives, make, set};

/// The first bad release comes so soon, the next one so long after it was rolled back.
const BAD_AFTER_SECONDS: f64 = 14.0;
const BAD_AGAIN_SECONDS: f64 = 90.0;
const BAD_LASTS_SECONDS: f64 = 40.0;
const HARMLESS_EVERY_SECONDS: f64 = 5.0;

/// A release of `checkout`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    pub number: u32,
    /// Its connection pool is far too small.
    pub bad: bool,
}

impl Release {
    pub(super) fn first() -> Self {
        Self { number: 1, bad: false }
    }

    /// As it stands in `/config/checkout`.
    pub fn version(&self) -> String {
        format!("2.14.{}", self.number)
    }

    fn settings(&self) -> String {
        let pool_size = if self.bad { 2 } else { 40 };
        format!(
            "{{\"release\":\"{}\",\"pool_size\":{pool_size},\"timeout_ms\":1500,\"db_password\":\"not-for-your-eyes\"}}",
            self.version()
        )
    }
}

const CHECKOUT: &str = "/config/checkout";

fn search(revision: u32) -> String {
    format!("{{\"cache_mb\":{},\"synonyms\":\"v{revision}\"}}", 256 + 64 * (revision % 5))
}

fn billing(revision: u32) -> String {
    format!("retries={}\ncurrency=EUR\nrevision={revision}\n", 2 + revision % 4)
}

pub(super) async fn furnish(client: &Client) -> Result<(), Error> {
    make(client, "/config", "").await?;
    make(client, CHECKOUT, &Release::first().settings()).await?;
    make(client, "/config/search", &search(0)).await?;
    make(client, "/config/billing", &billing(0)).await
}

pub(super) async fn run(world: World, live: watch::Sender<Release>) {
    lives(world, Deploys { live, revision: 0, passed: 0.0, next_change: BAD_AFTER_SECONDS }).await;
}

struct Deploys {
    live: watch::Sender<Release>,
    revision: u32,
    /// Seconds since the beginning, and when checkout is deployed again.
    passed: f64,
    next_change: f64,
}

impl Actor for Deploys {
    async fn live(&mut self, world: &World, client: Client) -> Result<(), Error> {
        loop {
            world.pace.wait(HARMLESS_EVERY_SECONDS).await;
            self.passed += HARMLESS_EVERY_SECONDS;
            if self.passed >= self.next_change {
                self.checkout(&client).await?;
                continue;
            }
            self.revision += 1;
            match self.revision % 2 {
                0 => set(&client, "/config/search", &search(self.revision)).await?,
                _ => set(&client, "/config/billing", &billing(self.revision)).await?,
            }
        }
    }
}

impl Deploys {
    /// A bad release follows a good one, and is rolled back.
    async fn checkout(&mut self, client: &Client) -> Result<(), Error> {
        let Release { number, bad } = self.live.borrow().clone();
        let release = Release { number: number + 1, bad: !bad };
        set(client, CHECKOUT, &release.settings()).await?;
        self.next_change = self.passed + if release.bad { BAD_LASTS_SECONDS } else { BAD_AGAIN_SECONDS };
        self.live.send_replace(release);
        Ok(())
    }
}
