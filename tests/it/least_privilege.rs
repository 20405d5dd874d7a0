//! An account that may only read records everything that it may read, and says what it may not.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;
use zookeeper_client::{Acl, Acls, AuthId, Client, CreateMode, Permission};

use crate::agent::{self, Agent, Settings};
use crate::prerequisites::{history_folder, skip};
use crate::servers::{Ensemble, Shape, Version};

const READER: &str = "recorder:secret";

/// As ZooKeeper's `DigestAuthenticationProvider` makes it.
fn reader_id() -> String {
    use base64::Engine as _;
    use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, READER.as_bytes());
    format!("recorder:{}", base64::prelude::BASE64_STANDARD.encode(hash))
}

async fn make(client: &Client, path: &str, value: &[u8], acls: &[Acl]) -> Result<()> {
    client.create(path, value, &CreateMode::Persistent.with_acls(Acls::new(acls))).await?;
    Ok(())
}

async fn an_account_that_may_only_read(version: Version) -> Result<()> {
    if let Some(missing) = Ensemble::missing(version) {
        skip("an_account_that_may_only_read", &missing);
        return Ok(());
    }
    let ensemble = Ensemble::start(version, Shape::Standalone).await?;
    let owner = Client::connector().with_auth("digest", b"owner:hush").connect(&ensemble.connect_string()).await?;
    let own = Acl::new(Permission::ALL, AuthId::new("auth", ""));
    let read = Acl::new(Permission::READ, AuthId::new("digest", &reader_id()));
    make(&owner, "/granted", b"1", &[own.clone(), read.clone()]).await?;
    make(&owner, "/granted/child", b"1", &[own.clone(), read.clone()]).await?;
    make(&owner, "/closed", b"1", std::slice::from_ref(&own)).await?;
    // Readable below a parent that is not: no listing names it.
    make(&owner, "/closed/granted", b"1", &[own.clone(), read.clone()]).await?;

    let folder = history_folder()?;
    let secret = folder.path().join("auth");
    std::fs::write(&secret, format!("digest:{READER}\n"))?;
    std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    let history = folder.path().join("history");
    let settings = Settings::new(ensemble.connect_string(), &history).with("--auth-file", &secret.to_string_lossy());
    let mut agent = Agent::start(settings).await?;
    ensure!(agent.metric_sum("zktrail_unreadable_paths").await? == 1.0, "/closed is counted");

    owner.set_data("/granted/child", b"2", None).await?;
    owner.set_data("/closed", b"2", None).await?;
    owner.set_data("/closed/granted", b"2", None).await?;
    make(&owner, "/granted/private", b"1", &[own]).await?;
    make(&owner, "/granted/last", b"1", &[read]).await?;
    agent.sees("/granted/last").await?;

    let of_both = "path LIKE '/granted%' OR path LIKE '/closed%'";
    let rows = agent.sql(&format!("SELECT path, kind, data_text(data) AS value FROM changes WHERE {of_both}")).await?;
    let has = |path: &str, kind: &str, value: Value| {
        rows.iter().any(|row| row["path"] == path && row["kind"] == kind && row["value"] == value)
    };
    ensure!(has("/granted/child", "data_changed", "2".into()), "{rows:#?}");
    // Its events come, although nothing lists it.
    ensure!(has("/closed/granted", "data_changed", "2".into()), "{rows:#?}");
    let unseen = |row: &Value| row["path"] == "/closed" || row["path"] == "/granted/private";
    ensure!(!rows.iter().any(unseen), "what may not be read gives no row: {rows:#?}");

    let tree = agent.sql(&format!("SELECT path FROM znodes WHERE {of_both} ORDER BY path")).await?;
    let paths: Vec<&str> = tree.iter().filter_map(|row| row["path"].as_str()).collect();
    ensure!(paths == ["/closed/granted", "/granted", "/granted/child", "/granted/last"], "{tree:#?}");
    // READ is enough for ACLs, which are read when the tree is there.
    let with_acl = "SELECT path FROM znodes WHERE path IN ('/granted', '/granted/child') AND acl IS NOT NULL";
    agent.sql_until(Duration::from_secs(60), with_acl, |rows| rows.len() == 2).await?;
    let gaps = agent.sql("SELECT path, to_time FROM gaps WHERE path <> '/'").await?;
    ensure!(gaps.iter().any(|gap| gap["path"] == "/closed" && gap["to_time"].is_null()), "{gaps:#?}");
    ensure!(agent.terminate().await? == 0, "SIGTERM must end the agent with 0");
    agent::verify(&history).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_may_only_read_3_9() -> Result<()> {
    an_account_that_may_only_read(Version::V3_9).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_may_only_read_3_8() -> Result<()> {
    an_account_that_may_only_read(Version::V3_8).await
}
