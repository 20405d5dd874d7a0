//! Servers on loopback: started, asked, killed, started again. Real ZooKeeper ones, or the embedded ensemble in their place.

use std::collections::HashSet;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use zktrail::demo::ensemble as embedded;

use crate::prerequisites;

const READY_WITHIN: Duration = Duration::from_secs(60);
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    V3_6,
    V3_8,
    V3_9,
    /// The embedded ensemble, as before 3.9.
    EmbeddedWithoutZxids,
    /// The embedded ensemble.
    Embedded,
}

impl Version {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V3_6 => "3.6",
            Self::V3_8 => "3.8",
            Self::V3_9 => "3.9",
            Self::EmbeddedWithoutZxids => "embedded, no zxids",
            Self::Embedded => "embedded",
        }
    }

    /// Whether watch notifications carry the transaction's zxid.
    pub fn tells_zxids(self) -> bool {
        matches!(self, Self::V3_9 | Self::Embedded)
    }

    pub fn is_embedded(self) -> bool {
        matches!(self, Self::EmbeddedWithoutZxids | Self::Embedded)
    }

    pub fn jars(self) -> Option<PathBuf> {
        let folder = prerequisites::cache()?.join("zookeeper").join(self.as_str());
        folder.join("stamp").exists().then_some(folder)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Standalone,
    ThreeNodes,
}

/// How servers are to run. The defaults suit most tests.
#[derive(Clone, Debug)]
pub struct Settings {
    pub version: Version,
    pub shape: Shape,
    pub tick: Duration,
    /// The `4lw.commands.whitelist`; by itself a server only allows `srvr`.
    pub four_letter_words: String,
    /// How far the servers' wall clocks are off, to either side, in seconds.
    pub clock_offset_seconds: i64,
    /// How often emptied containers and outlived TTL znodes are looked for.
    /// Rarely by default, so that nothing disappears that a test did not delete.
    pub container_check: Duration,
    /// More lines for zoo.cfg.
    pub extra: Vec<String>,
    /// More lines for that of one server; they win over those of all.
    pub extra_of: Vec<(usize, String)>,
    /// More options for java, and a folder of jars beside the server's own.
    pub java: Vec<String>,
    pub jars_beside: Option<PathBuf>,
    /// A server whose `dataDir` is elsewhere, on a disk of its own.
    pub data_elsewhere: Option<(usize, PathBuf)>,
}

impl Settings {
    pub fn new(version: Version, shape: Shape) -> Self {
        Self {
            version,
            shape,
            tick: Duration::from_millis(1_000),
            four_letter_words: "srvr".to_owned(),
            clock_offset_seconds: 0,
            container_check: Duration::from_secs(24 * 3_600),
            extra: Vec::new(),
            extra_of: Vec::new(),
            java: Vec::new(),
            jars_beside: None,
            data_elsewhere: None,
        }
    }

    fn data_dir(&self, folder: &Path, index: usize) -> PathBuf {
        match &self.data_elsewhere {
            Some((server, elsewhere)) if *server == index => elsewhere.clone(),
            _ => folder.join(index.to_string()),
        }
    }
}

/// One standalone server or three that form a quorum. Dropping it kills them and removes their data.
pub struct Ensemble {
    settings: Settings,
    /// Real ones; none where the ensemble is embedded.
    nodes: Vec<Node>,
    embedded: Option<embedded::Ensemble>,
    folder: tempfile::TempDir,
}

struct Node {
    client_port: u16,
    process: Option<Child>,
}

impl Ensemble {
    /// Why servers of this version cannot run here, if they cannot.
    pub fn missing(version: Version) -> Option<String> {
        if version.is_embedded() {
            return None;
        }
        if version.jars().is_none() {
            return Some(format!("ZooKeeper {} is not in the cache: run tests/run prepare", version.as_str()));
        }
        match Command::new("java").arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status() {
            Ok(status) if status.success() => None,
            _ => Some("java does not run".to_owned()),
        }
    }

    pub async fn start(version: Version, shape: Shape) -> Result<Self> {
        Self::start_with(Settings::new(version, shape)).await
    }

    /// Starts the servers and returns once every one of them serves.
    pub async fn start_with(settings: Settings) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("zktrail-servers-").tempdir()?;
        let nodes = match settings.shape {
            Shape::Standalone => 1,
            Shape::ThreeNodes => 3,
        };
        if settings.version.is_embedded() {
            ensure!(settings.clock_offset_seconds == 0, "the embedded ensemble has this process's clock");
            let options = embedded::Options {
                servers: nodes,
                zxids_in_notifications: settings.version.tells_zxids(),
                session_timeout_min: Duration::from_secs(1),
                container_check: settings.container_check,
                ..embedded::Options::default()
            };
            let embedded = Some(embedded::Ensemble::start(options).await?);
            return Ok(Self { settings, nodes: Vec::new(), embedded, folder });
        }
        let ports: Vec<[u16; 3]> =
            (0..nodes).map(|_| Ok([free_port()?, free_port()?, free_port()?])).collect::<Result<_>>()?;
        for (index, _) in ports.iter().enumerate() {
            configure(&settings, folder.path(), index, &ports)?;
        }
        let nodes = ports.iter().map(|[client_port, ..]| Node { client_port: *client_port, process: None }).collect();
        let mut ensemble = Self { settings, nodes, embedded: None, folder };
        for index in 0..ensemble.nodes.len() {
            ensemble.launch(index)?;
        }
        ensemble.wait_ready().await?;
        Ok(ensemble)
    }

    pub fn len(&self) -> usize {
        self.embedded.as_ref().map_or(self.nodes.len(), |embedded| embedded.addresses().count())
    }

    pub fn address(&self, index: usize) -> SocketAddr {
        if let Some(embedded) = &self.embedded {
            return embedded.addresses().nth(index).expect("a server");
        }
        SocketAddr::from(([127, 0, 0, 1], self.nodes[index].client_port))
    }

    /// `127.0.0.1:…,127.0.0.1:…`, every node, whether it runs or not.
    pub fn connect_string(&self) -> String {
        (0..self.len()).map(|index| self.address(index).to_string()).collect::<Vec<_>>().join(",")
    }

    /// Where each server has its log and snapshots; none of an embedded one.
    pub fn data_dirs(&self) -> Vec<std::path::PathBuf> {
        (0..self.nodes.len()).map(|index| self.data_dir(index)).collect()
    }

    /// SIGKILL, and waits until the process is gone. An embedded server closes its port and connections.
    pub fn kill_node(&mut self, index: usize) -> Result<()> {
        if let Some(embedded) = &mut self.embedded {
            embedded.stop_server(index);
            return Ok(());
        }
        if let Some(mut process) = self.nodes[index].process.take() {
            process.kill()?;
            process.wait()?;
        }
        Ok(())
    }

    /// How far the clocks of servers are off that are started from now on.
    pub fn set_clock_offset(&mut self, seconds: i64) {
        self.settings.clock_offset_seconds = seconds;
    }

    /// How often servers that are started from now on look for emptied containers and outlived TTL znodes.
    pub fn set_container_check(&mut self, every: Duration) {
        self.settings.container_check = every;
    }

    /// The `dataDir` of a real server.
    pub fn data_dir(&self, index: usize) -> PathBuf {
        self.settings.data_dir(self.folder.path(), index)
    }

    /// Starts a killed node again on its own data and ports, and returns once it serves.
    pub async fn restart_node(&mut self, index: usize) -> Result<()> {
        self.kill_node(index)?;
        if let Some(embedded) = &mut self.embedded {
            embedded.start_server(index).await?;
            return Ok(());
        }
        self.launch(index)?;
        self.wait_node(index).await
    }

    /// Starts killed nodes of a real ensemble together, for where none of them would serve alone.
    pub async fn restart_nodes(&mut self, nodes: &[usize]) -> Result<()> {
        for node in nodes {
            self.kill_node(*node)?;
            self.launch(*node)?;
        }
        for node in nodes {
            self.wait_node(*node).await?;
        }
        Ok(())
    }

    /// The index of the leader; of a standalone, 0.
    pub async fn leader(&self) -> Result<usize> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            for index in 0..self.len() {
                if let Ok(mode) = mode(self.address(index)).await
                    && matches!(mode.as_str(), "leader" | "standalone")
                {
                    return Ok(index);
                }
            }
            ensure!(Instant::now() < deadline, "no leader within {READY_WITHIN:?}\n{}", self.logs());
            tokio::time::sleep(ASK_AGAIN_AFTER).await;
        }
    }

    /// What a server prints, loggers and all.
    pub fn log_file(&self, index: usize) -> PathBuf {
        self.folder.path().join(format!("{index}.log"))
    }

    /// The last lines of every server's log.
    pub fn logs(&self) -> String {
        let tail = |index: usize| {
            let text = fs::read_to_string(self.log_file(index)).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            format!("--- server {index}\n{}", lines[lines.len().saturating_sub(30)..].join("\n"))
        };
        (0..self.nodes.len()).map(tail).collect::<Vec<_>>().join("\n")
    }

    fn launch(&mut self, index: usize) -> Result<()> {
        let jars = self.settings.version.jars().context("the cache has no jars: run tests/run prepare")?;
        let log = File::options().create(true).append(true).open(self.log_file(index))?;
        // The server dies with us even where nothing can be dropped any more; setpriv replaces itself with it.
        let mut command = Command::new("setpriv");
        command.args([
            "--pdeathsig",
            "KILL",
            "java",
            "-Xms64m",
            "-Xmx256m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
        ]);
        command.args([
            "-Dzookeeper.extendedTypesEnabled=true",
            // A killed process loses nothing that it wrote; only a machine could.
            "-Dzookeeper.forceSync=no",
            "-Dzookeeper.preAllocSize=4096",
            "-Dzookeeper.admin.enableServer=false",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
        ]);
        command.arg(format!("-Dznode.container.checkIntervalMs={}", self.settings.container_check.as_millis()));
        command.args(&self.settings.java);
        let mut class_path = jars.join("*").into_os_string();
        if let Some(beside) = &self.settings.jars_beside {
            class_path.push(":");
            class_path.push(beside.join("*"));
        }
        command.arg("-cp").arg(class_path).arg("org.apache.zookeeper.server.quorum.QuorumPeerMain");
        command.arg(self.folder.path().join(format!("{index}.cfg")));
        let offset = self.settings.clock_offset_seconds;
        if offset != 0 {
            let library = prerequisites::faketime().context("libfaketime is not installed (Debian: faketime)")?;
            command.env("LD_PRELOAD", library);
            command.env("FAKETIME", format!("{offset:+}"));
            command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let process = command.spawn().context("starting a ZooKeeper server with setpriv and java")?;
        self.nodes[index].process = Some(process);
        Ok(())
    }

    async fn wait_ready(&mut self) -> Result<()> {
        for index in 0..self.len() {
            self.wait_node(index).await?;
        }
        Ok(())
    }

    async fn wait_node(&mut self, index: usize) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            match mode(self.address(index)).await {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > deadline => {
                    bail!("server {index} does not serve within {READY_WITHIN:?}: {error:#}\n{}", self.logs());
                }
                Err(_) => {}
            }
            if let Some(process) = &mut self.nodes[index].process
                && let Some(status) = process.try_wait()?
            {
                bail!("server {index} ended with {status}\n{}", self.logs());
            }
            tokio::time::sleep(ASK_AGAIN_AFTER).await;
        }
    }
}

impl Drop for Ensemble {
    fn drop(&mut self) {
        // The test harness shows this where a test failed.
        println!("{}", self.logs());
        for index in 0..self.nodes.len() {
            let _ = self.kill_node(index);
        }
    }
}

/// What a server answers to a four-letter word.
pub async fn four_letter_word(server: SocketAddr, word: &str) -> Result<String> {
    let answer = tokio::time::timeout(Duration::from_secs(5), async {
        let mut stream = TcpStream::connect(server).await?;
        stream.write_all(word.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        anyhow::Ok(answer)
    });
    answer.await.with_context(|| format!("{word} was not answered within 5 s"))?
}

/// `standalone`, `leader`, `follower` … An error while the server does not serve (yet).
async fn mode(server: SocketAddr) -> Result<String> {
    let answer = four_letter_word(server, "srvr").await?;
    match answer.lines().find_map(|line| line.strip_prefix("Mode: ")) {
        Some(mode) => Ok(mode.to_owned()),
        None => bail!("{server} answers {:?}", answer.trim()),
    }
}

/// A port that nothing listens on and that no outgoing connection is ever given, so that it stays free
/// while its server is down.
pub fn free_port() -> Result<u16> {
    static TAKEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);
    const PORTS: std::ops::Range<u32> = 15_000..32_000;

    let mut taken = TAKEN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let taken = taken.get_or_insert_default();
    let span = PORTS.end - PORTS.start;
    // Test processes at the same time start at different places.
    let start = std::process::id().wrapping_mul(613);
    for step in 0..span {
        let port = (PORTS.start + start.wrapping_add(step) % span) as u16;
        if !taken.contains(&port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            taken.insert(port);
            return Ok(port);
        }
    }
    bail!("no port is free between {} and {}", PORTS.start, PORTS.end)
}

fn configure(settings: &Settings, folder: &Path, index: usize, ports: &[[u16; 3]]) -> Result<()> {
    let data = settings.data_dir(folder, index);
    fs::create_dir_all(&data)?;
    let mut lines = vec![
        format!("tickTime={}", settings.tick.as_millis()),
        "initLimit=20".to_owned(),
        "syncLimit=10".to_owned(),
        "minSessionTimeout=1000".to_owned(),
        "maxSessionTimeout=60000".to_owned(),
        "maxClientCnxns=0".to_owned(),
        "admin.enableServer=false".to_owned(),
        format!("4lw.commands.whitelist={}", settings.four_letter_words),
        format!("dataDir={}", data.display()),
    ];
    match settings.shape {
        Shape::Standalone => {
            lines.push("clientPortAddress=127.0.0.1".to_owned());
            lines.push(format!("clientPort={}", ports[index][0]));
        }
        Shape::ThreeNodes => {
            fs::write(data.join("myid"), format!("{}\n", index + 1))?;
            lines.push("quorumListenOnAllIPs=false".to_owned());
            for (peer, [client, quorum, election]) in ports.iter().enumerate() {
                let id = peer + 1;
                lines.push(format!("server.{id}=127.0.0.1:{quorum}:{election}:participant;127.0.0.1:{client}"));
            }
        }
    }
    lines.extend(settings.extra.iter().cloned());
    lines.extend(settings.extra_of.iter().filter(|(of, _)| *of == index).map(|(_, line)| line.clone()));
    fs::write(folder.join(format!("{index}.cfg")), lines.join("\n") + "\n")?;
    Ok(())
}
