//! Ensembles that want credentials: TLS, client certificates, SASL; what is told where something is wrong, and rotation.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use zookeeper_client::{Acls, Client, CreateMode, SaslOptions};

use crate::agent::{Agent, BINARY, Settings, zktrail};
use crate::prerequisites::{history_folder, skip};
use crate::servers::{self, Ensemble, Shape, Version, free_port};
use crate::workload;

mod authority;

use authority::{AgentFiles, Authority, EXPIRED, ServerFiles, VALID, secret};

const TOLD_WITHIN: Duration = Duration::from_secs(60);
const USER: &str = "ann";
const PASSWORD: &str = "open sesame";

/// A server with a clear port and a secured one.
struct Secured {
    ensemble: Ensemble,
    port: u16,
    folder: tempfile::TempDir,
}

impl Secured {
    async fn start(version: Version, ca: &Authority, client_auth: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let port = free_port()?;
        let files = ServerFiles::write(folder.path(), ca, &ca.sign("server", &["127.0.0.1"], VALID)?)?;
        let mut settings = servers::Settings::new(version, Shape::Standalone);
        settings.extra.extend(files.lines(port, client_auth));
        Ok(Self { ensemble: Ensemble::start_with(settings).await?, port, folder })
    }

    fn secure(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn clear(&self) -> String {
        self.ensemble.connect_string()
    }

    /// Restarts it with other files.
    async fn restart(&mut self, ca: &Authority, hosts: &[&str], years: (i32, i32)) -> Result<()> {
        ServerFiles::write(self.folder.path(), ca, &ca.sign("server", hosts, years)?)?;
        self.ensemble.restart_node(0).await
    }
}

fn agent_settings(connect: &str, folder: &Path, flags: &[String]) -> Settings {
    let mut settings = Settings::new(connect, folder).with("--session-timeout", "4s");
    settings.extra.extend(flags.iter().cloned());
    settings
}

/// What `zktrail check` says, and whether it is content.
async fn check(connect: &str, flags: &[String]) -> Result<(bool, String)> {
    let folder = tempfile::tempdir()?;
    let ensemble = format!("test={connect}");
    let mut arguments = vec!["--ensemble", &ensemble, "--http", "off", "--postgres", "off", "--session-timeout", "10s"];
    arguments.extend(flags.iter().map(String::as_str));
    let output = zktrail("check", &arguments, folder.path()).await?;
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(!text.contains("panicked") && !text.contains(PASSWORD), "{text}");
    Ok((output.status.success(), text))
}

async fn complains(connect: &str, flags: &[String], words: &[&str]) -> Result<()> {
    let (content, text) = check(connect, flags).await?;
    ensure!(!content, "check is content with {flags:?}:\n{text}");
    for words in words {
        ensure!(text.contains(words), "check with {flags:?} does not say {words:?}:\n{text}");
    }
    Ok(())
}

/// What reads znodes for Superset gets as far as these words: nobody is Superset there.
async fn superset_sync(connect: &str, flags: &[String], words: &str) -> Result<()> {
    let mut process = std::process::Command::new(BINARY);
    process.args(["superset", "sync", "--ensemble", connect, "--path", "/zookeeper", "--user", "x"]);
    process.args(["--superset", "http://127.0.0.1:1"]).args(flags).env("ZKTRAIL_SUPERSET_PASSWORD", "x");
    let output = tokio::task::spawn_blocking(move || process.output()).await??;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success() && text.contains(words), "superset sync does not say {words:?}: {text}");
    Ok(())
}

/// Waits until the agent's log says so.
async fn logs(agent: &Agent, words: &str) -> Result<()> {
    let deadline = Instant::now() + TOLD_WITHIN;
    while !agent.logs().contains(words) {
        ensure!(Instant::now() < deadline, "the agent does not log {words:?}\n{}", agent.logs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

fn hang_up(agent: &Agent) -> Result<()> {
    let pid = agent.pid().and_then(|pid| rustix::process::Pid::from_raw(pid.try_into().ok()?));
    Ok(rustix::process::kill_process(pid.context("the agent does not run")?, rustix::process::Signal::HUP)?)
}

fn flags(more: &[&str]) -> Vec<String> {
    more.iter().map(|flag| (*flag).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_opens_and_what_is_wrong_is_told() -> Result<()> {
    if let Some(missing) = Ensemble::missing(Version::V3_9) {
        skip("a_client_certificate_opens_and_what_is_wrong_is_told", &missing);
        return Ok(());
    }
    let (ca, other) = (Authority::new("zktrail test authority")?, Authority::new("another authority")?);
    let mut server = Secured::start(Version::V3_9, &ca, "need").await?;
    let folder = tempfile::tempdir()?;
    let files = |name: &str, ca: &Authority, signed| AgentFiles::write(&folder.path().join(name), ca, &signed);
    let good = files("good", &ca, ca.sign("agent", &[], VALID)?)?;
    let expired = files("expired", &ca, ca.sign("agent", &[], EXPIRED)?)?;
    let stranger = files("stranger", &ca, other.sign("agent", &[], VALID)?)?;
    let strange_ca = files("strange-ca", &other, ca.sign("agent", &[], VALID)?)?;
    let mismatched = files("mismatched", &ca, ca.sign("agent", &[], VALID)?)?;
    std::fs::copy(&good.key, &mismatched.key)?;

    let (content, text) = check(&server.secure(), &good.flags()).await?;
    ensure!(content, "{text}");
    for words in ["TLS: TLS 1.", "the server is ", "until 2080-01-01", "authentication: x509:CN=agent", "ZooKeeper 3.9"]
    {
        ensure!(text.contains(words), "check does not say {words:?}:\n{text}");
    }
    let secure = server.secure();
    let named = format!("localhost:{}", server.port);
    let mut any_name = good.flags();
    any_name.extend(flags(&["--zk-hostname-check", "false"]));
    let mut strange_name = strange_ca.flags();
    strange_name.extend(flags(&["--zk-hostname-check", "false"]));
    complains(&secure, &strange_ca.flags(), &["no authority in", "has signed its certificate"]).await?;
    complains(&secure, &strange_name, &["no authority in"]).await?;
    complains(&secure, &good.flags_without_identity(), &["it wants a client certificate (TLS alert"]).await?;
    complains(&secure, &stranger.flags(), &["it refuses our certificate", "truststore"]).await?;
    complains(&secure, &expired.flags(), &["the client certificate zk_cert", "expired on 2020-01-01"]).await?;
    complains(&secure, &mismatched.flags(), &["is not the key of the certificate"]).await?;
    complains(&named, &good.flags(), &["its certificate names 127.0.0.1, not localhost"]).await?;
    complains(&secure, &[], &["it speaks TLS on this port: say zk_ca"]).await?;
    complains(&server.clear(), &good.flags(), &["it speaks plain text on this port: name its secureClientPort"])
        .await?;
    let (content, text) = check(&named, &any_name).await?;
    ensure!(content && text.contains("zk_hostname_check is off"), "{text}");
    superset_sync(&secure, &good.flags(), "127.0.0.1:1").await?;
    superset_sync(&secure, &strange_ca.flags(), "no authority in").await?;

    server.restart(&ca, &["127.0.0.1"], EXPIRED).await?;
    complains(&secure, &good.flags(), &["its certificate expired on 2020-01-01 00:00:00 UTC"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_rotated_while_the_agent_records() -> Result<()> {
    if let Some(missing) = Ensemble::missing(Version::V3_9) {
        skip("certificates_are_rotated_while_the_agent_records", &missing);
        return Ok(());
    }
    let (ca, next) = (Authority::new("the authority of today")?, Authority::new("the authority of tomorrow")?);
    let mut server = Secured::start(Version::V3_9, &ca, "need").await?;
    let (folder, history) = (tempfile::tempdir()?, history_folder()?);
    let files = AgentFiles::write(folder.path(), &ca, &ca.sign("agent", &[], VALID)?)?;
    let agent = Agent::start(agent_settings(&server.secure(), history.path(), &files.flags())).await?;
    let writer = workload::session(&server.clear()).await?;
    workload::create(&writer, "/secured", b"1").await?;
    ensure!(agent.sees("/secured").await? == "watch", "it is known by its notification");
    let gaps = "SELECT count(*) FROM gaps";
    let before = agent.sql_integer(gaps).await?;

    // A bad file: the old ones stay, and so does the session.
    std::fs::write(&files.certificate, "no certificate\n")?;
    hang_up(&agent)?;
    logs(&agent, "credentials stay as they were").await?;
    ensure!(agent.logs().contains("holds no certificate"), "{}", agent.logs());
    workload::create(&writer, "/after-a-bad-file", b"").await?;
    ensure!(agent.sees("/after-a-bad-file").await? == "watch", "the session goes on");

    // Good ones, of another authority: the session that stands needs none, the next one does.
    AgentFiles::write(folder.path(), &next, &next.sign("agent", &[], VALID)?)?;
    hang_up(&agent)?;
    logs(&agent, "read again: credentials").await?;
    workload::create(&writer, "/after-good-files", b"").await?;
    ensure!(agent.sees("/after-good-files").await? == "watch", "a reload makes no gap");
    ensure!(agent.sql_integer(gaps).await? == before, "a reload makes no gap");
    drop(writer);
    server.restart(&next, &["127.0.0.1"], VALID).await?;
    let writer = workload::session(&server.clear()).await?;
    workload::create(&writer, "/with-the-next-authority", b"").await?;
    agent.sees("/with-the-next-authority").await?;

    // A server whose certificate has expired is named, not hammered, and taken back once it has a new one.
    drop(writer);
    server.restart(&next, &["127.0.0.1"], EXPIRED).await?;
    logs(&agent, "its certificate expired on 2020-01-01").await?;
    server.restart(&next, &["127.0.0.1"], VALID).await?;
    let writer = workload::session(&server.clear()).await?;
    workload::create(&writer, "/back", b"").await?;
    agent.sees("/back").await?;
    let log = agent.logs();
    ensure!(!log.contains("panicked"), "{log}");
    ensure!(log.matches("expired on 2020-01-01").count() <= 5, "the log is flooded\n{log}");
    let (_, metrics) = agent.get("/metrics").await?;
    for line in [
        "zktrail_client_certificate_expiry_timestamp_seconds{cluster=\"test\"} 3471292800",
        "zktrail_reloads_total{outcome=\"failed\",what=\"ensemble credentials\"} 1",
        "zktrail_reloads_total{outcome=\"ok\",what=\"ensemble credentials\"} 1",
    ] {
        ensure!(metrics.contains(line), "no {line} in\n{metrics}");
    }
    Ok(())
}

/// A session of SASL, which creates.
async fn sasl_session(connect: &str) -> Result<Client> {
    let sasl = SaslOptions::digest_md5(USER, PASSWORD);
    Ok(Client::connector().with_session_timeout(Duration::from_secs(10)).with_sasl(sasl).connect(connect).await?)
}

async fn sasl_opens(version: Version) -> Result<()> {
    if let Some(missing) = Ensemble::missing(version) {
        skip("sasl_opens", &missing);
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let jaas = folder.path().join("jaas.conf");
    let login = "org.apache.zookeeper.server.auth.DigestLoginModule";
    let write_jaas = |password: &str| {
        secret(&jaas, &format!("Server {{\n    {login} required\n    user_{USER}=\"{password}\";\n}};\n"))
    };
    write_jaas(PASSWORD)?;
    let mut settings = servers::Settings::new(version, Shape::Standalone);
    settings.java.push(format!("-Djava.security.auth.login.config={}", jaas.display()));
    settings.extra.push("authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider".to_owned());
    settings.extra.push("sessionRequireClientSASLAuth=true".to_owned());
    let mut server = Ensemble::start_with(settings).await?;
    let connect = server.connect_string();

    let password = folder.path().join("password");
    secret(&password, &format!("{PASSWORD}\n"))?;
    let wrong = folder.path().join("wrong");
    secret(&wrong, "close sesame\n")?;
    let sasl = |user: &str, file: &Path| {
        flags(&["--sasl-user", user, "--sasl-password-file", file.to_str().unwrap_or_default()])
    };
    let (content, text) = check(&connect, &sasl(USER, &password)).await?;
    ensure!(content && text.contains("authentication: the user ann (SASL DIGEST-MD5)"), "{text}");
    let refused = "authentication: refused: the server refuses the SASL user";
    complains(&connect, &sasl(USER, &wrong), &[refused, "\"ann\"", "against the server's JAAS file"]).await?;
    // Not with the right password: a 3.6 server takes a user that it does not know for the one before.
    complains(&connect, &sasl("nobody", &wrong), &[refused, "\"nobody\""]).await?;
    complains(&connect, &[], &["the server lets in nobody without credentials"]).await?;

    let history = history_folder()?;
    let mut never = Agent::spawn(agent_settings(&connect, history.path(), &sasl(USER, &wrong)))?;
    logs(&never, "authentication failed: the server refuses the SASL user").await?;
    ensure!(!never.logs().contains("sesame") && !never.logs().contains("panicked"), "{}", never.logs());
    never.kill9()?;
    drop(never);

    let agent = Agent::start(agent_settings(&connect, history.path(), &sasl(USER, &password))).await?;
    let writer = sasl_session(&connect).await?;
    let theirs = CreateMode::Persistent.with_acls(Acls::creator_all());
    writer.create("/ours", b"ann's", &theirs).await?;
    let value = "SELECT data_text(data) AS value FROM changes WHERE path = '/ours' AND data IS NOT NULL";
    let rows = agent.sql_until(TOLD_WITHIN, value, |rows| !rows.is_empty()).await?;
    ensure!(rows[0]["value"] == "ann's", "what only ann may read is read: {rows:?}");
    drop(writer);

    // The password is changed on the server first; the agent's follows with SIGHUP.
    write_jaas("close sesame")?;
    server.restart_node(0).await?;
    logs(&agent, "the server refuses the SASL user").await?;
    secret(&password, "close sesame\n")?;
    hang_up(&agent)?;
    let ready = Instant::now() + TOLD_WITHIN;
    while agent.get("/readyz").await?.0 != 200 {
        ensure!(Instant::now() < ready, "the new password does not open\n{}", agent.logs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    ensure!(!agent.logs().contains("sesame") && !agent.logs().contains("panicked"), "{}", agent.logs());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn sasl_opens_3_9() -> Result<()> {
    sasl_opens(Version::V3_9).await
}

#[tokio::test(flavor = "multi_thread")]
async fn sasl_opens_3_6() -> Result<()> {
    sasl_opens(Version::V3_6).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_server_without_sasl_speaks_tls_and_takes_nobody_for_granted() -> Result<()> {
    if let Some(missing) = Ensemble::missing(Version::V3_6) {
        skip("an_old_server_without_sasl_speaks_tls_and_takes_nobody_for_granted", &missing);
        return Ok(());
    }
    let ca = Authority::new("zktrail test authority")?;
    let server = Secured::start(Version::V3_6, &ca, "none").await?;
    let (folder, history) = (tempfile::tempdir()?, history_folder()?);
    let files = AgentFiles::write(folder.path(), &ca, &ca.sign("agent", &[], VALID)?)?;
    let agent = Agent::start(agent_settings(&server.secure(), history.path(), &files.flags_without_identity())).await?;
    // The server's metrics come over TLS, too.
    let deadline = Instant::now() + Duration::from_secs(60);
    while !agent.metric_sum("zk_up").await.is_ok_and(|up| up == 1.0) {
        ensure!(Instant::now() < deadline, "the server is not asked over TLS\n{}", agent.logs());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    ensure!(agent.metric_sum("zk_server_leader").await? == 1.0);
    let writer = workload::session(&server.clear()).await?;
    workload::create(&writer, "/secured", b"1").await?;
    ensure!(agent.sees("/secured").await? == "watch", "it is known by its notification");
    let password = folder.path().join("password");
    secret(&password, PASSWORD)?;
    let mut with_user = files.flags_without_identity();
    with_user.extend(flags(&["--sasl-user", USER, "--sasl-password-file", password.to_str().unwrap_or_default()]));
    complains(&server.secure(), &with_user, &["asks the user ann (SASL DIGEST-MD5) for no proof"]).await
}

/// A server that takes connections and says nothing but goodbye: tried ever more rarely, and told of once.
#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_speak_tls_is_not_hammered() -> Result<()> {
    let (ca, folder, history) = (Authority::new("zktrail test authority")?, tempfile::tempdir()?, tempfile::tempdir()?);
    let files = AgentFiles::write(folder.path(), &ca, &ca.sign("agent", &[], VALID)?)?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let accepted = Arc::new(AtomicUsize::new(0));
    let counted = accepted.clone();
    let accepting = tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    let agent = Agent::spawn(agent_settings(&address.to_string(), history.path(), &files.flags()))?;
    logs(&agent, "it closed the connection in the TLS handshake: is this its secureClientPort?").await?;
    let before = accepted.load(Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let more = accepted.load(Ordering::Relaxed) - before;
    accepting.abort();
    let log = agent.logs();
    ensure!(more <= 20, "{more} connections in five seconds\n{log}");
    ensure!(log.matches("in the TLS handshake").count() <= 2 && !log.contains("panicked"), "the log is flooded\n{log}");
    Ok(())
}
