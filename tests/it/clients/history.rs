//! The history that the clients ask: a workload, znodes with awkward values, and a session that stays.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Map, Value, json};
use tokio::net::TcpStream;
use zktrail::serve::users::{Role, Verifier, edit};
use zookeeper_client::{Acls, Client, CreateMode};

use super::certificates::Certificates;
use crate::agent::{Agent, Settings};
use crate::prerequisites::history_folder;
use crate::servers::{Ensemble, Shape, Version};
use crate::workload::{Workload, create, session};

const OPERATIONS: usize = 20_000;
const RECORDED_WITHIN: Duration = Duration::from_secs(120);
const OPEN_WITHIN: Duration = Duration::from_secs(60);
/// The change that ends it.
const END: &str = "/clients/end";

/// A recorded history that nothing changes any more, and an agent that serves it.
pub struct History {
    /// On loopback, open to anybody.
    pub agent: Agent,
    /// What the programs hold the answers against, told by the HTTP door.
    pub facts: Value,
    connect: String,
    folder: tempfile::TempDir,
    _session: Client,
    _ensemble: Ensemble,
}

impl History {
    pub async fn record() -> Result<Self> {
        let ensemble = Ensemble::start(Version::Embedded, Shape::Standalone).await?;
        let connect = ensemble.connect_string();
        let folder = history_folder()?;
        let mut agent = Agent::start(Settings::new(&connect, folder.path())).await?;
        Workload::new(&connect, 5, OPERATIONS).run().await?;
        let session = awkward_znodes(&connect).await?;
        let query = format!("SELECT seq FROM changes WHERE path = '{END}'");
        agent.sql_until(RECORDED_WITHIN, &query, |rows| !rows.is_empty()).await?;
        // A start reads every ACL, and what the workload changed of them becomes rows: the next start finds nothing new.
        ensure!(agent.terminate().await? == 0, "SIGTERM must end the agent with 0");
        agent.start_again().await?;
        let facts = facts(&agent).await?;
        Ok(Self { agent, facts, connect, folder, _session: session, _ensemble: ensemble })
    }

    /// Lets another agent serve it, to this user alone, over TLS where the client wants it.
    pub async fn guard(&mut self, user: &str, password: &str, tls: &Certificates, connections: usize) -> Result<()> {
        ensure!(self.agent.terminate().await? == 0, "SIGTERM must end the agent with 0");
        add_user(self.folder.path(), user, password)?;
        let settings = Settings::new(&self.connect, self.folder.path())
            .with("--postgres-connections", &connections.to_string())
            .with("--tls-cert", &tls.certificate.to_string_lossy())
            .with("--tls-key", &tls.key.to_string_lossy());
        self.agent = Agent::spawn(settings)?;
        // The HTTP door speaks TLS alone now: the other one tells when it is open.
        let deadline = Instant::now() + OPEN_WITHIN;
        while TcpStream::connect(self.agent.postgres()).await.is_err() {
            ensure!(Instant::now() < deadline, "the door is not open after {OPEN_WITHIN:?}\n{}", self.agent.logs());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }
}

fn add_user(history: &Path, user: &str, password: &str) -> Result<()> {
    let user = user.parse().map_err(anyhow::Error::msg)?;
    let verifier = Verifier::of_new(password)?;
    Ok(edit::add(&history.join("users.toml"), &user, Role::ReadValues, &verifier, &[])?)
}

/// Ephemerals last as long as the session that this gives.
async fn awkward_znodes(connect: &str) -> Result<Client> {
    let client = session(connect).await?;
    let bytes: Vec<u8> = (0..=255).collect();
    let large = b"zktrail ".repeat(8_000);
    let values: [(&str, &[u8]); 7] = [
        ("/clients", b""),
        ("/clients/bytes", &bytes),
        ("/clients/empty", b""),
        ("/clients/large", &large),
        ("/clients/text", b"plain text"),
        ("/clients/ünïcode", b""),
        ("/clients/ünïcode/日本語 é", "値".as_bytes()),
    ];
    for (path, value) in values {
        create(&client, path, value).await?;
    }
    let ephemeral = CreateMode::Ephemeral.with_acls(Acls::anyone_all());
    client.create("/clients/ephemeral", b"here", &ephemeral).await?;
    create(&client, END, b"").await?;
    Ok(client)
}

async fn facts(agent: &Agent) -> Result<Value> {
    let row = |sql: &str| {
        let sql = sql.to_owned();
        async move { agent.sql(&sql).await?.into_iter().next().with_context(|| format!("{sql} answers no row")) }
    };
    let changes = agent.sql_integer("SELECT count(*) FROM changes").await?;
    let middle =
        row(&format!("SELECT time, position FROM changes ORDER BY seq LIMIT 1 OFFSET {}", changes / 2)).await?;
    let time = middle["time"].as_str().context("time is text")?.to_owned();
    let position = middle["position"].as_i64().context("position is a number")?;
    let last = agent.sql_integer("SELECT max(position) FROM changes").await?;
    let mut by_kind = Map::new();
    for row in agent.sql("SELECT kind, count(*) AS n FROM changes GROUP BY kind ORDER BY kind").await? {
        by_kind.insert(row["kind"].as_str().context("kind is text")?.to_owned(), row["n"].clone());
    }
    let column = |rows: Vec<Value>, name: &str| -> Vec<Value> { rows.iter().map(|row| row[name].clone()).collect() };
    let firsts = agent.sql("SELECT seq, time FROM changes ORDER BY seq LIMIT 10").await?;
    let owners = "SELECT owner FROM (SELECT DISTINCT ephemeral_owner, CAST(ephemeral_owner AS VARCHAR) AS owner \
                  FROM znodes WHERE ephemeral_owner <> 0) ORDER BY ephemeral_owner";
    let owners = column(agent.sql(owners).await?, "owner");
    ensure!(!owners.is_empty(), "no ephemeral is left");
    let count = |sql: String| async move { agent.sql_integer(&sql).await };
    Ok(json!({
        "changes": changes,
        "by_kind": by_kind,
        "first_seqs": column(firsts.clone(), "seq"),
        "first_times": column(firsts, "time")[..3],
        "owners": owners,
        "middle_time": time,
        "middle_position": position,
        "last_position": last,
        "after_middle": count(format!(
            "SELECT count(*) FROM changes WHERE time >= '{time}' AND path LIKE '/work/%' AND version >= 0 AND seq > 0"
        )).await?,
        "znodes_at_position": count(format!("SELECT count(*) FROM znodes_at({position})")).await?,
        "znodes_at_time": count(format!("SELECT count(*) FROM znodes_at('{time}')")).await?,
        "tree_diff": count(format!("SELECT count(*) FROM tree_diff({position}, {last})")).await?,
    }))
}
