//! The instances of `checkout`: steady, until a bad release is live.

use zookeeper_client::{Client, Error};

use super::World;
use super::actor::{appear, connect, make};

pub(super) const COUNT: u32 = 4;
const UP_SECONDS: f64 = 2.5;
const DOWN_SECONDS: f64 = 0.8;

pub(super) async fn furnish(client: &Client) -> Result<(), Error> {
    make(client, "/services", "").await?;
    make(client, "/services/checkout", "").await
}

/// Serves; with a bad release it runs out of connections, dies and is started again.
pub(super) async fn run(world: World, number: u32) {
    let mut release = world.release.clone();
    loop {
        let version = release.borrow_and_update().clone();
        let served = async {
            let client = connect(&world.connect).await?;
            let path = format!("/services/checkout/checkout-{number}");
            let value = format!("{{\"host\":\"10.2.0.{number}\",\"port\":8080,\"release\":\"{}\"}}", version.version());
            appear(&world, &client, &path, &value).await?;
            // Half of them get the traffic that breaks them.
            if version.bad && number.is_multiple_of(2) {
                world.pace.wait(UP_SECONDS + f64::from(number) / 3.0).await;
            } else {
                // A session that ends is an instance that has to come back.
                tokio::select! {
                    _ = release.changed() => {}
                    state = until_closed(&client) => tracing::debug!(?state, "an instance lost its session"),
                }
                // One after the other.
                world.pace.wait(0.4 * f64::from(number)).await;
            }
            Ok::<(), Error>(())
        };
        if let Err(error) = served.await {
            tracing::debug!(%error, "an instance starts again");
        }
        world.pace.wait(DOWN_SECONDS).await;
    }
}

async fn until_closed(client: &Client) -> zookeeper_client::SessionState {
    let mut states = client.state_watcher();
    loop {
        let state = states.changed().await;
        if state.is_terminated() {
            return state;
        }
    }
}
