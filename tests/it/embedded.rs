//! The embedded ensemble answers as a real server does, to clients that are not ours, and breaks when it is told to.
//!
//! What real servers must pass with the agent it passes too: see `main_job`, `faults`, `reconnect` and `harness`.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use zktrail::demo::ensemble::{Ensemble, Faults, Options};
use zookeeper_client::{
    Acls, AddWatchMode, Client, CreateMode, Error, EventType, MultiReadResult, MultiWriteError, MultiWriteResult,
};

use crate::agent::{self, Agent, Settings};
use crate::check::{self, CHANGES_IN_ORDER, Expectations, GAPS};
use crate::main_job::wait_tree_equals;
use crate::prerequisites::{history_folder, python, script, skip};
use crate::servers::{self, Shape, Version, four_letter_word};
use crate::workload::{self, Workload};

/// What a script prints when it is run against this ensemble.
async fn run_script(name: &'static str, connect_string: String) -> Result<String> {
    let python = python().context("Python is not in the cache: run tests/run prepare")?;
    let mut command = Command::new(python);
    command.arg(script(name)).arg(connect_string).stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{name} ends with {}\n{out}\n{err}", output.status);
    Ok(out.into_owned())
}

/// Everything that kazoo does is answered by the embedded ensemble as by a real server: Stats, errors, watches, ACLs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kazoo_sees_no_difference() -> Result<()> {
    if python().is_none() {
        skip("kazoo_sees_no_difference", "Python is not in the cache: run tests/run prepare");
        return Ok(());
    }
    let embedded = Ensemble::start(Options::default()).await?;
    let told = run_script("embedded_basics.py", embedded.connect_string()).await?;
    ensure!(told.lines().count() > 70, "{told}");
    embedded.shutdown().await;
    if let Some(missing) = servers::Ensemble::missing(Version::V3_9) {
        skip("kazoo_sees_no_difference", &missing);
        return Ok(());
    }
    let real = servers::Ensemble::start(Version::V3_9, Shape::Standalone).await?;
    let expected = run_script("embedded_basics.py", real.connect_string()).await?;
    let differences: Vec<String> = told
        .lines()
        .zip(expected.lines())
        .filter(|(told, expected)| told != expected)
        .map(|(told, expected)| format!("- {expected}\n+ {told}"))
        .collect();
    ensure!(differences.is_empty(), "a real server (-) and the embedded one (+):\n{}", differences.join("\n"));
    ensure!(told.lines().count() == expected.lines().count());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kazoo_recipes_work() -> Result<()> {
    if python().is_none() {
        skip("kazoo_recipes_work", "Python is not in the cache: run tests/run prepare");
        return Ok(());
    }
    let ensemble = Ensemble::start(Options::default()).await?;
    let told = run_script("embedded_recipes.py", ensemble.connect_string()).await?;
    ensure!(told == "lock 40\ncounter 100\nelection 4\n", "{told}");
    Ok(())
}

fn persistent() -> zookeeper_client::CreateOptions<'static> {
    CreateMode::Persistent.with_acls(Acls::anyone_all())
}

/// Written once for a real server and the embedded one.
async fn rust_client(connect_string: &str) -> Result<()> {
    let client = workload::session(connect_string).await?;
    let other = workload::session(connect_string).await?;

    let mut deep = client.watch("/", AddWatchMode::PersistentRecursive).await?;
    let (_, appears) = client.check_and_watch_stat("/a").await?;
    let (created, _) = other.create("/a", b"1", &persistent()).await?;
    let event = appears.changed().await;
    ensure!((event.event_type, event.path.as_str()) == (EventType::NodeCreated, "/a"), "{event:?}");
    let set = other.set_data("/a", b"22", Some(0)).await?;
    ensure!(set.version == 1 && set.mzxid > created.czxid && set.data_length == 2);
    ensure!(other.set_data("/a", b"", Some(0)).await == Err(Error::BadVersion));
    ensure!(other.create("/a", b"", &persistent()).await.err() == Some(Error::NodeExists));
    ensure!(other.delete("/none", None).await == Err(Error::NoNode));

    let sequential = CreateMode::EphemeralSequential.with_acls(Acls::anyone_all());
    let (stat, sequence) = other.create("/a/s-", b"", &sequential).await?;
    ensure!(stat.ephemeral_owner == other.session_id().0 && sequence.to_string() == "0000000000");
    for (path, options) in [
        ("/box", CreateMode::Container.with_acls(Acls::anyone_all())),
        ("/ttl", persistent().with_ttl(Duration::from_secs(60))),
    ] {
        let (stat, _) = other.create(path, b"", &options).await?;
        ensure!(stat.ephemeral_owner == 0, "{path}");
    }
    let (children, stat) = client.get_children("/a").await?;
    ensure!(children == ["s-0000000000"] && stat.num_children == 1 && stat.cversion == 1);
    let (acls, _) = client.get_acl("/a").await?;
    ensure!(acls.len() == 1);

    let mut writer = other.new_multi_writer();
    writer.add_create("/a/m", b"", &persistent())?;
    writer.add_set_data("/a/m", b"x", Some(0))?;
    writer.add_check_version("/a", 1)?;
    writer.add_delete("/a/m", Some(1))?;
    let results = writer.commit().await?;
    let [MultiWriteResult::Create { path, stat }, MultiWriteResult::SetData { .. }, MultiWriteResult::Check, _] =
        results.as_slice()
    else {
        bail!("{results:?}");
    };
    ensure!(path == "/a/m" && !stat.is_invalid() && stat.czxid > set.mzxid, "{results:?}");
    let mut writer = other.new_multi_writer();
    writer.add_set_data("/a", b"never", None)?;
    writer.add_delete("/none", None)?;
    match writer.commit().await {
        Err(MultiWriteError::OperationFailed { index: 1, source: Error::NoNode }) => {}
        other => bail!("{other:?}"),
    }
    let mut reader = client.new_multi_reader();
    reader.add_get_data("/a")?;
    reader.add_get_children("/a")?;
    reader.add_get_data("/none")?;
    let read = reader.commit().await?;
    let [MultiReadResult::Data { data, .. }, MultiReadResult::Children { children }, MultiReadResult::Error { err }] =
        read.as_slice()
    else {
        bail!("{read:?}");
    };
    ensure!(data == b"22" && children.len() == 1 && *err == Error::NoNode);
    client.sync("/").await?;

    let mut near = client.watch("/box", AddWatchMode::Persistent).await?;
    other.create("/box/x", b"", &persistent()).await?;
    other.set_data("/box/x", b"1", None).await?;
    other.set_data("/box", b"1", None).await?;
    for (kind, path) in [(EventType::NodeChildrenChanged, "/box"), (EventType::NodeDataChanged, "/box")] {
        let event = near.changed().await;
        ensure!((event.event_type, event.path.as_str()) == (kind, path), "{event:?}");
    }
    drop(near);

    // The end of a session is heard of.
    drop(other);
    let mut heard = Vec::new();
    loop {
        let event = deep.changed().await;
        ensure!(event.zxid > 0, "{event:?}");
        heard.push(format!("{} {}", event.event_type, event.path));
        if event.event_type == EventType::NodeDeleted && event.path.starts_with("/a/s-") {
            break;
        }
    }
    let expected = [
        "NodeCreated /a",
        "NodeDataChanged /a",
        "NodeCreated /a/s-0000000000",
        "NodeCreated /box",
        "NodeCreated /ttl",
        "NodeCreated /a/m",
        "NodeDataChanged /a/m",
        "NodeDeleted /a/m",
        "NodeCreated /box/x",
        "NodeDataChanged /box/x",
        "NodeDataChanged /box",
        "NodeDeleted /a/s-0000000000",
    ];
    ensure!(heard == expected, "{heard:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rust_client_sees_no_difference() -> Result<()> {
    let embedded = Ensemble::start(Options::default()).await?;
    rust_client(&embedded.connect_string()).await.context("embedded")?;
    if let Some(missing) = servers::Ensemble::missing(Version::V3_9) {
        skip("rust_client_sees_no_difference", &missing);
        return Ok(());
    }
    let real = servers::Ensemble::start(Version::V3_9, Shape::Standalone).await?;
    rust_client(&real.connect_string()).await.context("3.9")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_letter_words_tell() -> Result<()> {
    let mut ensemble = Ensemble::start(Options { servers: 2, ..Options::default() }).await?;
    let addresses: Vec<_> = ensemble.addresses().collect();
    let client = workload::session(&ensemble.connect_string()).await?;
    let made = workload::create(&client, "/a", b"").await?;
    ensure!(four_letter_word(addresses[0], "ruok").await? == "imok");
    let srvr = four_letter_word(addresses[0], "srvr").await?;
    ensure!(srvr.contains("Zookeeper version: 3.9.") && srvr.contains("Mode: leader\n"), "{srvr}");
    let zxid = format!("Zxid: {:#x}\n", made.czxid);
    ensure!(srvr.contains(&zxid), "{srvr}");
    ensure!(four_letter_word(addresses[1], "srvr").await?.contains("Mode: follower\n"));
    let mntr = four_letter_word(addresses[1], "mntr").await?;
    for sample in ["zk_znode_count\t5\n", "zk_server_state\tfollower\n", "zk_global_sessions\t1\n"] {
        ensure!(mntr.contains(sample), "{mntr}");
    }
    let cons = [four_letter_word(addresses[0], "cons").await?, four_letter_word(addresses[1], "cons").await?];
    let session = format!("sid={:#x}", client.session_id().0);
    ensure!(cons.iter().filter(|list| list.contains(&session)).count() == 1, "each lists its own: {cons:?}");
    ensure!(four_letter_word(addresses[0], "kill").await?.contains("not in the whitelist"));
    ensemble.stop_server(0);
    ensure!(four_letter_word(addresses[1], "srvr").await?.contains("Mode: leader\n"));
    ensemble.start_server(0).await?;
    ensure!(four_letter_word(addresses[0], "ruok").await? == "imok");
    Ok(())
}

/// A hand-made connection, to do what no client does.
async fn connected(ensemble: &Ensemble) -> Result<TcpStream> {
    use zktrail::source::jute::{ConnectRequest, Record as _, Secret};

    let mut stream = TcpStream::connect(ensemble.address()).await?;
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
    Ok(stream)
}

/// Whether the other side closes the connection before long.
async fn is_closed(mut stream: TcpStream) -> Result<()> {
    let mut bytes = Vec::new();
    // An end or a reset: either way nothing more comes.
    let _ = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut bytes))
        .await
        .context("the connection stays open")?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bounds_hold() -> Result<()> {
    use zktrail::source::jute::{Op, Record as _, RequestHeader};

    let options =
        Options { connections_max: 2, packet_bytes_max: 10_000, outgoing_bytes_max: 200_000, ..Options::default() };
    let ensemble = Ensemble::start(options).await?;
    let client = workload::session(&ensemble.connect_string()).await?;
    let faults = ensemble.faults();
    ensure!(faults.connections() == 1 && faults.sessions() == [client.session_id().0]);

    // A packet beyond the limit.
    let mut huge = connected(&ensemble).await?;
    huge.write_u32(10_001).await?;
    is_closed(huge).await?;
    // One connection too many.
    only_one_is_left(&faults).await?;
    let mute = connected(&ensemble).await?;
    ensure!(connected(&ensemble).await.is_err(), "a third connection is taken");

    // A client that asks and never reads is not listened to beyond what may be queued for it.
    let mut mute = mute;
    workload::create(&client, "/big", &[b'x'; 9_000]).await?;
    let mut body = RequestHeader { xid: 1, op: Op::GetData.code() }.to_bytes();
    body.extend("/big".to_owned().to_bytes());
    body.push(0);
    let mut request = (body.len() as u32).to_be_bytes().to_vec();
    request.extend(body);
    let many = request.repeat(10_000);
    let mut written = 0;
    while let Ok(sent) = tokio::time::timeout(Duration::from_secs(1), mute.write_all(&many)).await {
        sent.context("it was cut instead of not being listened to")?;
        written += many.len();
        ensure!(written < 256 * 1024 * 1024, "it is listened to all the while");
    }
    ensure!(faults.connections() == 2, "it was cut instead of not being listened to");
    client.get_data("/big").await?;

    // One that watches and never reads is cut when too much has been queued.
    drop(mute);
    only_one_is_left(&faults).await?;
    let mut deaf = connected(&ensemble).await?;
    let mut body = RequestHeader { xid: 1, op: Op::AddWatch.code() }.to_bytes();
    body.extend("/".to_owned().to_bytes());
    body.extend(1i32.to_be_bytes());
    deaf.write_u32(body.len() as u32).await?;
    deaf.write_all(&body).await?;
    let deadline = Instant::now() + Duration::from_secs(60);
    while faults.connections() > 1 {
        ensure!(Instant::now() < deadline, "it is never cut");
        let sets: Vec<_> = (0..1_000).map(|_| client.set_data("/big", b"", None)).collect();
        futures::future::try_join_all(sets).await?;
    }
    is_closed(deaf).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_do_what_they_say() -> Result<()> {
    let ensemble = Ensemble::start(Options::default()).await?;
    let faults = ensemble.faults();
    let connect = ensemble.connect_string();
    let client = workload::session(&connect).await?;
    let session = client.session_id();
    workload::create(&client, "/a", b"").await?;

    // One-shot watches are set again after a cut, and tell what was missed.
    let (_, _, missed) = client.get_and_watch_data("/a").await?;
    let (_, later) = client.check_and_watch_stat("/later").await?;
    faults.cut_connections();
    let other = workload::session(&connect).await?;
    workload::set(&other, "/a", b"1").await?;
    let event = missed.changed().await;
    ensure!((event.event_type, event.path.as_str()) == (EventType::NodeDataChanged, "/a"), "{event:?}");
    ensure!(reads_again(&client).await? && client.session_id() == session, "a cut costs no session");
    workload::create(&other, "/later", b"").await?;
    let event = later.changed().await;
    ensure!((event.event_type, event.path.as_str()) == (EventType::NodeCreated, "/later"), "{event:?}");

    // The third packet from now on is not sent any more. Nobody else is sent any meanwhile.
    faults.cut_after_packets(2);
    client.get_data("/a").await?;
    client.get_data("/a").await?;
    ensure!(client.get_data("/a").await.is_err(), "the third answer came");
    ensure!(reads_again(&client).await?);

    faults.delay_packets(Duration::from_millis(150));
    let began = Instant::now();
    futures::future::try_join_all((0..20).map(|_| client.get_data("/a"))).await?;
    let took = began.elapsed();
    ensure!(took >= Duration::from_millis(150) && took < Duration::from_millis(20 * 150), "20 at once took {took:?}");
    faults.heal();

    faults.refuse_connections();
    let refused = tokio::time::timeout(Duration::from_millis(500), reads_again(&client)).await;
    ensure!(!matches!(refused, Ok(Ok(true))), "a connection was taken");
    faults.heal();
    ensure!(reads_again(&client).await?);

    let options = CreateMode::Ephemeral.with_acls(Acls::anyone_all());
    client.create("/e", b"", &options).await?;
    ensure!(faults.expire_session(session.0) && !faults.expire_session(session.0));
    let deadline = Instant::now() + Duration::from_secs(60);
    while !matches!(client.get_data("/a").await, Err(Error::SessionExpired)) {
        ensure!(Instant::now() < deadline, "the session does not expire");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let client = workload::session(&connect).await?;
    ensure!(client.check_stat("/e").await?.is_none(), "the ephemeral outlives its session");

    let address = ensemble.address();
    ensemble.shutdown().await;
    ensure!(TcpStream::connect(address).await.is_err(), "the port is open after the shutdown");
    Ok(())
}

async fn only_one_is_left(faults: &Faults) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    while faults.connections() > 1 {
        ensure!(Instant::now() < deadline, "{} connections are left", faults.connections());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// Asks until an answer comes.
async fn reads_again(client: &Client) -> Result<bool> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match client.get_data("/a").await {
            Ok(_) => return Ok(true),
            Err(error) if Instant::now() > deadline => return Err(error.into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// Cuts between any two packets, and sessions that expire, at moments that no proxy could choose: nothing is doubled,
/// and what has no row lies inside a gap.
async fn every_injected_fault_is_a_gap(zxids_in_notifications: bool) -> Result<()> {
    let ensemble = Ensemble::start(Options { zxids_in_notifications, ..Options::default() }).await?;
    let faults = ensemble.faults();
    let connect = ensemble.connect_string();
    let folder = history_folder()?;
    let mut agent = Agent::start(Settings::new(&connect, folder.path()).with("--session-timeout", "5s")).await?;

    let mut agents = faults.sessions();
    let running = Workload::new(&connect, 23, 0).careful(200.0).start();
    running.advance(100).await;
    for round in 0..8u32 {
        match round % 4 {
            0 => faults.cut_after_packets(17 * round),
            1 => {
                let expired = agents.drain(..).filter(|session| faults.expire_session(*session)).count();
                ensure!(round > 1 || expired == 1, "{expired} sessions expired");
            }
            2 => {
                faults.delay_packets(Duration::from_millis(20));
                running.advance(40).await;
                faults.refuse_connections();
                tokio::time::sleep(Duration::from_millis(300)).await;
                faults.heal();
            }
            _ => faults.cut_connections(),
        }
        running.advance(150).await;
        let client = workload::session(&connect).await?;
        let path = format!("/back-{round}");
        workload::create(&client, &path, b"").await?;
        agent.sees(&path).await?;
    }
    let recorded = running.stop().await?;
    workload::create(&workload::session(&connect).await?, "/done", b"").await?;
    agent.sees("/done").await?;

    let rows = check::rows(&agent.sql(CHANGES_IN_ORDER).await?)?;
    let gaps = check::gaps(&agent.sql(GAPS).await?)?;
    let expected = Expectations { root: "/work", zxids: zxids_in_notifications, gaps: Some(&gaps) };
    let findings = check::compare(&recorded, &rows, expected).with_context(|| format!("{gaps:#?}"))?;
    println!("{} gaps, {findings:?}", gaps.len());
    ensure!(findings.matched > 200, "hardly anything was watched: {findings:?}");
    ensure!(gaps.iter().filter(|gap| gap.from_time.is_some()).count() >= 5, "{gaps:#?}");
    wait_tree_equals(&agent, &connect).await?;
    ensure!(agent.terminate().await? == 0, "SIGTERM must end the agent with 0");
    agent::verify(folder.path()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_injected_fault_is_a_gap_with_zxids() -> Result<()> {
    every_injected_fault_is_a_gap(true).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_injected_fault_is_a_gap_without_zxids() -> Result<()> {
    every_injected_fault_is_a_gap(false).await
}
