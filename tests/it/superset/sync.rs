use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use zookeeper_client::{Acls, Client, CreateMode};

use super::{Superset, zktrail};
use crate::agent::BINARY;
use crate::prerequisites::skip;
use crate::servers::{Ensemble, Shape, Version, free_port};
use crate::workload;

const WITHIN: Duration = Duration::from_secs(60);
const PASSWORD: &str = "hünter2/geheim@%";
const ENCODED: &str = "h%C3%BCnter2%2Fgeheim%40%25";

/// One way to call `zktrail superset sync`.
struct Sync {
    arguments: Vec<String>,
    password: String,
}

impl Sync {
    fn new(ensemble: &Ensemble, superset: &Superset) -> Self {
        let spec = format!("prod={}", ensemble.connect_string());
        let arguments = ["sync", "--ensemble", &spec, "--path", "/sources"]
            .into_iter()
            .chain(["--superset", &superset.url, "--user", "admin", "--format", "json"])
            .map(str::to_owned);
        Self { arguments: arguments.collect(), password: "admin".to_owned() }
    }

    fn with(&self, more: &[&str]) -> Self {
        let arguments = self.arguments.iter().cloned().chain(more.iter().map(|&argument| argument.to_owned()));
        Self { arguments: arguments.collect(), password: self.password.clone() }
    }

    /// Exit code, `action connection: outcome` of every row, and all that was printed.
    async fn run(&self) -> Result<(i32, Vec<String>, String)> {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        let output = zktrail(&arguments, &[("ZKTRAIL_SUPERSET_PASSWORD", &self.password)]).await?;
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        let all = format!("{out}\n{}", String::from_utf8_lossy(&output.stderr));
        for secret in [PASSWORD, ENCODED, "geheim", "bob:pw"] {
            ensure!(!all.contains(secret), "a secret is shown: {all}");
        }
        let rows: Vec<Value> = if out.trim().is_empty() { Vec::new() } else { serde_json::from_str(&out)? };
        let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let told =
            |row: &Value| format!("{} {}: {}", text(row, "action"), text(row, "connection"), text(row, "outcome"));
        Ok((output.status.code().context("an exit code")?, rows.iter().map(told).collect(), all))
    }
}

/// The connections by name: `sqlalchemy_uri` and `extra`.
async fn connections(superset: &Superset) -> Result<BTreeMap<String, (i64, String, Value)>> {
    let listed = superset.api(&["get", "/api/v1/database/?q=(page_size:100)"], &[]).await?;
    let mut found = BTreeMap::new();
    for row in listed["result"].as_array().context("connections")? {
        let id = row["id"].as_i64().context("an id")?;
        let shown = superset.api(&["get", &format!("/api/v1/database/{id}/connection")], &[]).await?;
        let uri = shown["result"]["sqlalchemy_uri"].as_str().unwrap_or_default().to_owned();
        let extra = serde_json::from_str(row["extra"].as_str().unwrap_or("{}"))?;
        found.insert(row["database_name"].as_str().unwrap_or_default().to_owned(), (id, uri, extra));
    }
    Ok(found)
}

async fn until(
    superset: &Superset,
    what: &str,
    is: impl Fn(&BTreeMap<String, (i64, String, Value)>) -> bool,
) -> Result<()> {
    let deadline = Instant::now() + WITHIN;
    loop {
        let found = connections(superset).await?;
        if is(&found) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{what}: {:?}", found.keys());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// A session with a credential, for a znode that nobody else may read.
async fn with_credential(connect: &str) -> Result<Client> {
    let client = workload::session(connect).await?;
    client.auth("digest", b"bob:pw").await?;
    Ok(client)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_follow_znodes() -> Result<()> {
    const NAME: &str = "connections_follow_znodes";
    if let Some(missing) = Ensemble::missing(Version::V3_9) {
        skip(NAME, &missing);
        return Ok(());
    }
    if let Some(missing) = Superset::missing() {
        skip(NAME, missing);
        return Ok(());
    }
    let ensemble = Ensemble::start(Version::V3_9, Shape::Standalone).await?;
    let superset = Superset::start().await?;
    let connect = ensemble.connect_string();
    let client = with_credential(&connect).await?;
    let folder = tempfile::tempdir()?;
    let file = |name: &str| format!("{}/{name}.duckdb", folder.path().display());
    let duckdb = |name: &str, of: &str| json!({ "name": name, "engine": "duckdb", "database": file(of) }).to_string();
    let auth = folder.path().join("auth");
    std::fs::write(&auth, "digest:bob:pw\n")?;
    let auth = auth.to_str().context("a path")?;
    let sync = Sync::new(&ensemble, &superset).with(&["--auth-file", auth]);
    let apply = sync.with(&["--apply"]);

    // The path must exist: a wrong one must not look like "no connections any more".
    let (code, _, all) = sync.run().await?;
    ensure!(code == 1 && all.contains("/sources does not exist"), "{all}");

    let theirs = json!({ "database_name": "theirs", "sqlalchemy_uri": format!("duckdb:///{}", file("theirs")) });
    superset.api(&["post", "/api/v1/database/", &theirs.to_string()], &[]).await?;
    let theirs = connections(&superset).await?["theirs"].clone();

    for path in ["/sources", "/sources/team"] {
        workload::create(&client, path, b"").await?;
    }
    workload::create(&client, "/sources/orders", duckdb("Orders", "orders").as_bytes()).await?;
    workload::create(&client, "/sources/team/b", format!("duckdb:///{}", file("b")).as_bytes()).await?;
    workload::create(&client, "/sources/bad", br#"{"name": "bad", "password": "geheim", "#).await?;
    workload::create(&client, "/sources/taken", duckdb("theirs", "mine").as_bytes()).await?;
    let port = free_port()?;
    let dead = json!({ "name": "dead", "engine": "postgresql", "host": "127.0.0.1", "port": port, "user": "me",
        "password": PASSWORD, "database": "x", "connect_timeout": 3 });
    workload::create(&client, "/sources/dead", dead.to_string().as_bytes()).await?;
    let secret = duckdb("Secret", "secret");
    client.create("/sources/secret", secret.as_bytes(), &CreateMode::Persistent.with_acls(Acls::creator_all())).await?;

    let planned = [
        "refuse : nothing",
        "create dead: planned",
        "create Orders: planned",
        "create Secret: planned",
        "refuse theirs: nothing",
        "create team/b: planned",
    ];
    let (code, told, all) = sync.run().await?;
    ensure!(code == 1 && told == planned && all.contains("say --apply"), "{told:?}\n{all}");
    ensure!(all.contains("it ends too early at line 1") && all.contains("not ours"), "{all}");
    ensure!(connections(&superset).await?.len() == 1, "a dry run made something");

    let (code, told, all) = apply.run().await?;
    let done = [
        "refuse : nothing",
        "create dead: failed",
        "create Orders: done",
        "create Secret: done",
        "refuse theirs: nothing",
        "create team/b: done",
    ];
    ensure!(code == 1 && told == done, "{told:?}\n{all}");
    ensure!(all.contains("Connection refused"), "Superset's reason is told: {all}");
    let found = connections(&superset).await?;
    ensure!(found.keys().collect::<Vec<_>>() == ["Orders", "Secret", "team/b", "theirs"], "{found:?}");
    ensure!(found["Orders"].1 == format!("duckdb:///{}", file("orders")), "{found:?}");
    ensure!(found["Orders"].2["zktrail"]["path"] == "/sources/orders", "{found:?}");
    ensure!(found["theirs"] == theirs, "somebody else's connection was touched: {found:?}");

    // Nothing changed, nothing is done.
    client.delete("/sources/dead", None).await?;
    client.delete("/sources/taken", None).await?;
    workload::set(&client, "/sources/bad", duckdb("mended", "mended").as_bytes()).await?;
    let (code, told, all) = apply.run().await?;
    ensure!(
        code == 0
            && told == ["create mended: done", "keep Orders: nothing", "keep Secret: nothing", "keep team/b: nothing"],
        "{all}"
    );
    let (code, told, all) = apply.run().await?;
    ensure!(code == 0 && told.iter().all(|row| row.starts_with("keep")) && told.len() == 4, "{all}");

    // Without the credential one znode cannot be read: its connection stays.
    let (code, told, all) = Sync::new(&ensemble, &superset).with(&["--apply"]).run().await?;
    ensure!(
        code == 1 && told.contains(&"refuse Secret: nothing".to_owned()) && all.contains("may not be read"),
        "{all}"
    );
    ensure!(connections(&superset).await?.contains_key("Secret"));

    // Changed, renamed, gone; and one that somebody edited in Superset.
    workload::set(&client, "/sources/orders", duckdb("Orders", "elsewhere").as_bytes()).await?;
    client.delete("/sources/team/b", None).await?;
    workload::set(&client, "/sources/bad", duckdb("renamed", "mended").as_bytes()).await?;
    let edited = json!({ "sqlalchemy_uri": "duckdb:///:memory:" }).to_string();
    let id = connections(&superset).await?["Secret"].0;
    superset.api(&["put", &format!("/api/v1/database/{id}"), &edited], &[]).await?;
    let (code, told, all) = apply.run().await?;
    let done = ["delete team/b: done", "update renamed: done", "update Orders: done", "update Secret: done"];
    ensure!(code == 0 && told == done, "{all}");
    let found = connections(&superset).await?;
    ensure!(found.keys().collect::<Vec<_>>() == ["Orders", "Secret", "renamed", "theirs"], "{found:?}");
    ensure!(
        found["Orders"].1.ends_with("elsewhere.duckdb") && found["Secret"].1.ends_with("secret.duckdb"),
        "{found:?}"
    );
    ensure!(found["theirs"] == theirs, "somebody else's connection was touched: {found:?}");

    refusals(&sync, &apply).await?;
    follows(&apply, &superset, &client, &duckdb("live", "live")).await?;
    ensure!(connections(&superset).await?["theirs"] == theirs);
    Ok(())
}

/// What is wrong with Superset is said, and nothing else happens.
async fn refusals(sync: &Sync, apply: &Sync) -> Result<()> {
    let wrong = Sync { arguments: apply.arguments.clone(), password: "wrong".to_owned() };
    let (code, _, all) = wrong.run().await?;
    ensure!(code == 1 && all.contains("refuses the login of admin"), "{all}");
    let none = Sync { arguments: apply.arguments.clone(), password: String::new() };
    let (code, _, all) = none.run().await?;
    ensure!(code == 1 && all.contains("ZKTRAIL_SUPERSET_PASSWORD"), "{all}");
    let mut elsewhere = sync.with(&[]);
    let at = elsewhere.arguments.iter().position(|argument| argument == "--superset").context("--superset")?;
    elsewhere.arguments[at + 1] = format!("http://127.0.0.1:{}", free_port()?);
    let (code, _, all) = elsewhere.run().await?;
    ensure!(code == 1 && all.contains("cannot be reached"), "{all}");
    elsewhere.arguments[at + 1] = "http://admin:secret@h".to_owned();
    let (code, _, all) = elsewhere.run().await?;
    ensure!(code == 1 && all.contains("no secret"), "{all}");
    Ok(())
}

/// With `--watch` it goes on until it is told to stop.
async fn follows(apply: &Sync, superset: &Superset, client: &Client, value: &str) -> Result<()> {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", BINARY, "superset"]).args(&apply.arguments).arg("--watch");
    command.env("ZKTRAIL_SUPERSET_PASSWORD", &apply.password);
    let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let followed = async {
        workload::create(client, "/sources/live", value.as_bytes()).await?;
        until(superset, "the connection of a new znode", |found| found.contains_key("live")).await?;
        client.delete("/sources/live", None).await?;
        until(superset, "gone with its znode", |found| !found.contains_key("live")).await
    };
    let followed = followed.await;
    let status = ended(&mut process).await;
    let output = process.wait_with_output()?;
    let all = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    followed.with_context(|| all.clone())?;
    ensure!(status? == 0, "SIGTERM must end it with 0: {all}");
    ensure!(all.contains("\"create\"") && all.contains("\"delete\""), "{all}");
    Ok(())
}

async fn ended(process: &mut Child) -> Result<i32> {
    rustix::process::kill_process(rustix::process::Pid::from_child(process), rustix::process::Signal::TERM)?;
    let deadline = Instant::now() + WITHIN;
    loop {
        if let Some(status) = process.try_wait()? {
            return status.code().context("an exit code");
        }
        if Instant::now() > deadline {
            process.kill()?;
            bail!("it did not end within {WITHIN:?} of SIGTERM");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
