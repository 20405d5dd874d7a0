//! Who is connected, and who wrote: asked of real servers, and read out of their audit logs.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use zktrail::agent::import_audit::{AuditImported, LogZone, import_audit, is_audit_log};
use zktrail::history::{Entry, History, Layout, Settings as HistorySettings};
use zktrail::source::jute::{ConnectRequest, ConnectResponse, Record as _, Secret};
use zktrail::zk::{Change, ChangeKind, DeleteCause, Evidence, Micros, NodeType, Source, TimeSource, Zxid};
use zookeeper_client::{Acls, Client, CreateMode};

use crate::agent::{Agent, BINARY, Settings, zktrail};
use crate::prerequisites::{admin_jars, history_folder, skip};
use crate::servers::{self, Ensemble, Shape, Version, free_port};
use crate::workload;

const SOON: Duration = Duration::from_secs(60);

/// A session by hand, so that its client's address is known.
struct Session {
    stream: TcpStream,
    id: i64,
}

impl Session {
    async fn open(server: std::net::SocketAddr) -> Result<Self> {
        let mut stream = TcpStream::connect(server).await?;
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: 0,
            timeout_ms: 30_000,
            session_id: 0,
            password: Secret(vec![0; 16]),
            read_only: Some(false),
        };
        let bytes = request.to_bytes();
        stream.write_u32(bytes.len() as u32).await?;
        stream.write_all(&bytes).await?;
        let length = stream.read_u32().await?;
        let mut response = vec![0; length as usize];
        stream.read_exact(&mut response).await?;
        let response = ConnectResponse::from_bytes(&response)?;
        Ok(Self { stream, id: response.session_id })
    }

    fn address(&self) -> Result<String> {
        Ok(self.stream.local_addr()?.to_string())
    }
}

fn text<'a>(row: &'a Value, column: &str) -> &'a str {
    row[column].as_str().unwrap_or_default()
}

async fn sessions_have_addresses(settings: servers::Settings, admin_url: Option<&str>, source: &str) -> Result<()> {
    let ensemble = Ensemble::start_with(settings).await?;
    let folder = history_folder()?;
    let first = Session::open(ensemble.address(0)).await?;
    let last = Session::open(ensemble.address(ensemble.len() - 1)).await?;
    let mut agent = Settings::new(ensemble.connect_string(), folder.path()).with("--session-sample", "5s");
    if let Some(url) = admin_url {
        agent = agent.with("--admin-url", url);
    }
    let agent = Agent::start(agent).await?;
    for session in [&first, &last] {
        let query = format!("SELECT * FROM sessions WHERE session_id = {}", session.id);
        let rows =
            agent.sql_until(SOON, &query, |rows| rows.first().is_some_and(|row| !row["address"].is_null())).await?;
        let row = &rows[0];
        ensure!(text(row, "address") == session.address()?, "{row}");
        ensure!(text(row, "address_source") == source && row["timeout"] == 30_000 && row["hosts"] == 1, "{row}");
        ensure!(!row["address_at"].is_null() && !row["last_seen"].is_null() && row["opened_at"].is_null(), "{row}");
    }
    // The agent's own session: opened, and where it is.
    let own = "SELECT * FROM sessions WHERE opened_at IS NOT NULL AND address IS NOT NULL";
    let own = agent.sql_until(SOON, own, |rows| !rows.is_empty()).await?;
    ensure!(own.len() == 1 && text(&own[0], "address").starts_with("127.0.0.1:"), "{own:?}");
    ensure!(agent.metric_sum("zktrail_sessions_connected").await? >= 3.0);

    // The same rounds go on: nothing is recorded twice.
    let rounds = agent.metric_sum("zktrail_connection_samples_total").await?;
    let deadline = std::time::Instant::now() + SOON;
    while agent.metric_sum("zktrail_connection_samples_total").await? < rounds + 2.0 * ensemble.len() as f64 {
        ensure!(std::time::Instant::now() < deadline, "nobody is asked any more");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // Killed, so that no last words come on top.
    drop(agent);
    let layout = Layout::new(folder.path());
    let view = zktrail::history::open_read_only(&layout, "test")?;
    let rows: usize = view.sessions.head.iter().map(|head| head.batch.num_rows()).sum();
    ensure!(rows == 4, "{rows} sightings of three sessions: each seen once, the agent's own opened, too");
    Ok(())
}

fn with_cons(version: Version, shape: Shape) -> servers::Settings {
    servers::Settings { four_letter_words: "srvr,cons".to_owned(), ..servers::Settings::new(version, shape) }
}

macro_rules! by_cons {
    ($($name:ident => $version:ident, $shape:ident;)+) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() -> Result<()> {
            if let Some(missing) = Ensemble::missing(Version::$version) {
                skip(stringify!($name), &missing);
                return Ok(());
            }
            sessions_have_addresses(with_cons(Version::$version, Shape::$shape), None, "cons").await
        }
    )+};
}
by_cons! {
    sessions_have_addresses_by_cons_3_6 => V3_6, Standalone;
    sessions_have_addresses_by_cons_3_9 => V3_9, ThreeNodes;
    sessions_have_addresses_by_cons_embedded => Embedded, ThreeNodes;
}

async fn by_admin_server(test: &str, version: Version) -> Result<()> {
    if let Some(missing) = Ensemble::missing(version) {
        skip(test, &missing);
        return Ok(());
    }
    let Some(jars) = admin_jars() else {
        skip(test, "what an AdminServer needs is not in the cache: run tests/run prepare");
        return Ok(());
    };
    let port = free_port()?;
    // cons is not allowed here: nothing but the AdminServer tells.
    let mut settings = servers::Settings::new(version, Shape::Standalone);
    settings.jars_beside = Some(jars);
    settings.extra.extend([
        "admin.enableServer=true".to_owned(),
        "admin.serverAddress=127.0.0.1".to_owned(),
        format!("admin.serverPort={port}"),
    ]);
    sessions_have_addresses(settings, Some(&format!("http://{{host}}:{port}")), "admin_server").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_have_addresses_by_admin_server_3_6() -> Result<()> {
    by_admin_server("sessions_have_addresses_by_admin_server_3_6", Version::V3_6).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_have_addresses_by_admin_server_3_9() -> Result<()> {
    by_admin_server("sessions_have_addresses_by_admin_server_3_9", Version::V3_9).await
}

/// A server that does not allow `cons` is named with the line of zoo.cfg that would help; recording goes on without.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_refuses_is_asked_politely() -> Result<()> {
    if let Some(missing) = Ensemble::missing(Version::V3_9) {
        skip("a_server_that_refuses_is_asked_politely", &missing);
        return Ok(());
    }
    let ensemble = Ensemble::start(Version::V3_9, Shape::Standalone).await?;
    let folder = history_folder()?;
    let line = "4lw.commands.whitelist=srvr,mntr,ruok,isro,cons";
    let spec = format!("test={}", ensemble.connect_string());
    let check = zktrail("check", &["--ensemble", &spec, "--http", "off", "--postgres", "off"], folder.path()).await?;
    let said = String::from_utf8(check.stdout)?;
    ensure!(check.status.success(), "{said}");
    let note = said.lines().find(|line| line.starts_with("note") && line.contains("connections:"));
    ensure!(note.is_some_and(|note| note.contains(line)), "{said}");

    let settings = Settings::new(ensemble.connect_string(), folder.path()).with("--session-sample", "5s");
    let agent = Agent::start(settings).await?;
    let deadline = std::time::Instant::now() + SOON;
    while agent.metric_sum("zktrail_connection_samples_total{cluster=\"test\",outcome=\"refused\"}").await? < 2.0 {
        ensure!(std::time::Instant::now() < deadline, "it is not asked again");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let log = agent.logs();
    let told =
        log.lines().filter(|told| told.contains("does not tell who is connected") && told.contains(line)).count();
    ensure!(told == 1, "said once, not in every round:\n{log}");
    workload::create(&workload::session(&ensemble.connect_string()).await?, "/recorded", b"").await?;
    agent.sees("/recorded").await?;
    // Off is off.
    drop(agent);
    let settings = Settings::new(ensemble.connect_string(), folder.path()).with("--session-sample", "off");
    let agent = Agent::start(settings).await?;
    ensure!(agent.metric_sum("zktrail_connection_samples_total").await? == 0.0);
    ensure!(!agent.logs().lines().rev().take(5).any(|line| line.contains("does not tell")));
    Ok(())
}

/// A server that logs what it audits, among its other lines, with times that say their zone.
fn audited(version: Version) -> servers::Settings {
    let mut settings = servers::Settings::new(version, Shape::Standalone);
    settings.extra.push("audit.enable=true".to_owned());
    settings.java = vec![
        "-Dorg.slf4j.simpleLogger.log.org.apache.zookeeper.audit=info".to_owned(),
        "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSZ".to_owned(),
    ];
    settings
}

/// What was done, as a lossless source would record it.
struct Done {
    session_id: i64,
    cxid: i32,
    rows: Vec<Change>,
}

impl Done {
    fn of(client: &Client) -> Self {
        Self { session_id: client.session_id().0, cxid: 0, rows: Vec::new() }
    }

    async fn create(&mut self, client: &Client, path: &str, mode: CreateMode) -> Result<()> {
        let (stat, _) = client.create(path, b"", &mode.with_acls(Acls::anyone_all())).await?;
        self.row(ChangeKind::Created, path, stat.czxid, stat.ctime, stat.ephemeral_owner);
        Ok(())
    }

    async fn set(&mut self, client: &Client, path: &str) -> Result<()> {
        let stat = client.set_data(path, b"x", None).await?;
        self.row(ChangeKind::DataChanged, path, stat.mzxid, stat.mtime, stat.ephemeral_owner);
        Ok(())
    }

    async fn delete(&mut self, client: &Client, path: &str) -> Result<()> {
        client.delete(path, None).await?;
        let parent = client.check_stat(workload::parent(path)).await?.context("the parent")?;
        let now = Micros::now().0 / 1_000;
        self.row(ChangeKind::Deleted, path, parent.pzxid, now, 0);
        Ok(())
    }

    fn row(&mut self, kind: ChangeKind, path: &str, zxid: i64, time_ms: i64, ephemeral_owner: i64) {
        self.cxid += 1;
        let time = Micros::from_millis(time_ms);
        self.rows.push(Change {
            incarnation: 1,
            time,
            time_source: TimeSource::Server,
            observed_at: time,
            zxid: Some(Zxid(zxid)),
            position: Zxid(zxid),
            ordinal: 0,
            kind,
            path: path.into(),
            czxid: None,
            version: None,
            aversion: None,
            node_type: Some(if ephemeral_owner == 0 { NodeType::Persistent } else { NodeType::Ephemeral }),
            ephemeral_owner,
            data: None,
            data_length: None,
            data_hash: None,
            acl: None,
            evidence: Evidence::Exact,
            missed: 0,
            source: Source::Txnlog,
            cause: (kind == ChangeKind::Deleted).then_some(DeleteCause::Explicit),
            session_id: Some(self.session_id),
            cxid: Some(self.cxid),
        });
    }
}

async fn session_as(connect: &str, user: &str) -> Result<Client> {
    let credential = format!("{user}:secret");
    let connector = Client::connector().with_auth("digest", credential.as_bytes()).connect(connect).await?;
    Ok(connector)
}

/// The rows of a report over a folder.
async fn report(name: &str, parameters: &[&str], folder: &Path) -> Result<Vec<Value>> {
    let mut command = std::process::Command::new(BINARY);
    command.args(["report", name, "--format", "json", "--data-dir"]).arg(folder);
    command.args(parameters.iter().flat_map(|parameter| ["--param", parameter]));
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    ensure!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn import(folder: &Path, files: &[PathBuf]) -> Result<AuditImported> {
    let settings = HistorySettings { free_space_floor_percent: 0, ..HistorySettings::default() };
    let history = History::open(&Layout::new(folder), "test", settings)?;
    Ok(import_audit(&history, files, LogZone::default(), |_| ())?)
}

async fn record(folder: &Path, rows: Vec<Change>) -> Result<()> {
    let settings = HistorySettings { free_space_floor_percent: 0, ..HistorySettings::default() };
    let (recorder, thread) = History::open(&Layout::new(folder), "test", settings)?.record(|_| ());
    recorder.send(Entry::Changes(rows)).await?;
    let (done, stopped) = tokio::sync::oneshot::channel();
    recorder.send(Entry::Stop(done)).await?;
    stopped.await?;
    drop(recorder);
    ensure!(thread.join().is_ok());
    Ok(())
}

/// Cuts a log in two, as a rotation does, and packs the older half.
fn rotated(log: &Path, folder: &Path) -> Result<[PathBuf; 2]> {
    let text = fs::read_to_string(log)?;
    let lines: Vec<&str> = text.lines().collect();
    let (older, newer) = lines.split_at(lines.len() / 2);
    let paths = [folder.join("audit.log.1.gz"), folder.join("audit.log")];
    let mut packed = flate2::write::GzEncoder::new(fs::File::create(&paths[0])?, flate2::Compression::fast());
    packed.write_all(format!("{}\n", older.join("\n")).as_bytes())?;
    packed.finish()?;
    fs::write(&paths[1], format!("{}\n", newer.join("\n")))?;
    Ok(paths)
}

async fn audit_names_the_authors(version: Version) -> Result<()> {
    if let Some(missing) = Ensemble::missing(version) {
        skip("audit_names_the_authors", &missing);
        return Ok(());
    }
    let ensemble = Ensemble::start_with(audited(version)).await?;
    let connect = ensemble.connect_string();
    // The same ensemble is watched meanwhile, for a history that does not know who writes.
    let watched = history_folder()?;
    let mut agent = Agent::start(Settings::new(&connect, watched.path()).with("--session-sample", "off")).await?;

    let (bob, eve) = (session_as(&connect, "bob").await?, session_as(&connect, "eve").await?);
    let (mut by_bob, mut by_eve) = (Done::of(&bob), Done::of(&eve));
    by_bob.create(&bob, "/app", CreateMode::Persistent).await?;
    for turn in 0..20 {
        by_bob.create(&bob, &format!("/app/b{turn}"), CreateMode::Persistent).await?;
        by_eve.create(&eve, &format!("/app/e{turn}"), CreateMode::Ephemeral).await?;
        // The two write to one znode in turns.
        by_bob.set(&bob, "/app").await?;
        by_eve.set(&eve, "/app").await?;
        by_bob.delete(&bob, &format!("/app/b{turn}")).await?;
    }
    ensure!(eve.delete("/app/nothing", None).await.is_err(), "refused, so nobody's");
    let deleted_by_bob = by_bob.rows.iter().filter(|row| row.kind == ChangeKind::Deleted).count();
    workload::create(&bob, "/end", b"").await?;
    agent.sees("/end").await?;
    ensure!(agent.terminate().await? == 0);
    drop(agent);
    let (bob_id, eve_id) = (by_bob.session_id, by_eve.session_id);
    let written = [by_bob.rows.len(), by_eve.rows.len()];
    drop((bob, eve));

    let files = history_folder()?;
    let logs = rotated(&ensemble.log_file(0), files.path())?;
    for log in &logs {
        ensure!(is_audit_log(log)?, "{}", log.display());
    }
    let [bob_hex, eve_hex] = [bob_id, eve_id].map(|id| format!("{id:#x}"));

    // A history that knows the sessions of its changes.
    let known = history_folder()?;
    record(known.path(), [by_bob.rows, by_eve.rows].concat()).await?;
    let done = import(known.path(), &logs)?;
    ensure!(done.unusable == 0 && done.added > 100 && done.other > 0 && done.known == 0, "{done:?}");
    let again = import(known.path(), &[logs[1].clone(), logs[0].clone()])?;
    ensure!((again.added, again.known) == (0, done.added), "{again:?}");
    let authors = report("authors", &["under=/app"], known.path()).await?;
    ensure!(authors.len() == 2, "{authors:#?}");
    for (row, session, user, count) in
        [(&authors[0], &bob_hex, "bob", written[0]), (&authors[1], &eve_hex, "eve", written[1])]
    {
        ensure!(text(row, "session_id") == session && row["changes"] == count, "{row}");
        // As a server of this version says it: the user, or the address and the user.
        ensure!(text(row, "user_name").split(',').any(|one| one == user), "{row}");
        ensure!(text(row, "address") == "127.0.0.1", "{row}");
        ensure!(text(row, "known_by") == "session by the transaction log; user and address by the audit log", "{row}");
    }
    let deleted = report("who-deleted", &["under=/app"], known.path()).await?;
    ensure!(
        deleted.len() == deleted_by_bob && deleted.iter().all(|row| text(row, "session_id") == bob_hex),
        "{deleted:?}"
    );
    let sessions = zktrail("sql", &["--format", "json", "SELECT * FROM sessions"], known.path()).await?;
    let sessions: Vec<Value> = serde_json::from_slice(&sessions.stdout)?;
    let of_bob = sessions.iter().find(|row| text(row, "session_id") == bob_hex).context("bob's session")?;
    ensure!(text(of_bob, "address") == "127.0.0.1" && text(of_bob, "address_source") == "audit", "{of_bob}");

    // The watched one does not: the audit log alone names them, by path and order.
    import(watched.path(), &logs)?;
    crate::agent::verify(watched.path()).await?;
    let authors = report("authors", &["under=/app"], watched.path()).await?;
    let total: i64 = authors.iter().filter_map(|row| row["changes"].as_i64()).sum();
    ensure!(total >= (written[0] + written[1]) as i64, "{authors:#?}");
    for row in &authors {
        let session = text(row, "session_id");
        let is_one = [&bob_hex, &eve_hex].iter().any(|id| *id == session);
        ensure!(is_one || row["session_id"].is_null() && text(row, "known_by").starts_with("not known"), "{row}");
    }
    let deleted = report("who-deleted", &["under=/app"], watched.path()).await?;
    let named = deleted.iter().filter(|row| text(row, "session_id") == bob_hex).count();
    ensure!(named == deleted_by_bob, "each path was deleted once, so each is named: {deleted:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn audit_names_the_authors_3_6() -> Result<()> {
    audit_names_the_authors(Version::V3_6).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn audit_names_the_authors_3_9() -> Result<()> {
    audit_names_the_authors(Version::V3_9).await
}
