//! What all actors do alike: connect, write, and begin anew when their session is gone.

use std::time::Duration;

use zookeeper_client::{Acls, Client, CreateMode, Error};

use super::World;

const SESSION_TIMEOUT: Duration = Duration::from_secs(6);
const AGAIN_AFTER_SECONDS: f64 = 0.5;

pub(super) async fn connect(connect: &str) -> Result<Client, Error> {
    Client::connector().with_session_timeout(SESSION_TIMEOUT).connect(connect).await
}

/// One who lives by a session.
pub(super) trait Actor {
    /// One life, until something fails.
    fn live(&mut self, world: &World, client: Client) -> impl Future<Output = Result<(), Error>> + Send;
}

/// Lives one life after the other: a session that is lost is what happens to applications.
pub(super) async fn lives(world: World, mut actor: impl Actor) {
    loop {
        let lived = match connect(&world.connect).await {
            Ok(client) => actor.live(&world, client).await,
            Err(error) => Err(error),
        };
        if let Err(error) = lived {
            tracing::debug!(%error, "an actor begins anew");
        }
        world.pace.wait(AGAIN_AFTER_SECONDS).await;
    }
}

pub(super) async fn make(client: &Client, path: &str, value: &str) -> Result<(), Error> {
    client.create(path, value.as_bytes(), &CreateMode::Persistent.with_acls(Acls::anyone_all())).await?;
    Ok(())
}

/// Creates an ephemeral once nobody else's is there any more.
pub(super) async fn appear(world: &World, client: &Client, path: &str, value: &str) -> Result<(), Error> {
    let options = CreateMode::Ephemeral.with_acls(Acls::anyone_all());
    loop {
        match client.create(path, value.as_bytes(), &options).await {
            Ok(_) => return Ok(()),
            // One's own of a session that has not expired yet.
            Err(Error::NodeExists) => world.pace.wait(AGAIN_AFTER_SECONDS).await,
            Err(error) => return Err(error),
        }
    }
}

pub(super) async fn set(client: &Client, path: &str, value: &str) -> Result<(), Error> {
    client.set_data(path, value.as_bytes(), None).await?;
    Ok(())
}
