//! What people install: the systemd unit, the image's recipe and the Kubernetes manifests, held by the tools that read
//! them, and run as far as the agent sees them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::agent::BINARY;
use crate::prerequisites::{history_folder, packaging_tool, skip};
use crate::servers::{Ensemble, Shape, Version, free_port};

mod build_context;

/// Of ten, as `systemd-analyze security` sums it up: what a service that talks to the network can hardly be below.
const EXPOSURE_MAX_PERCENT: &str = "15";
/// Kubernetes versions that the manifests are good for, oldest and newest.
const KUBERNETES: [&str; 2] = ["1.25.0", "1.36.0"];
const READY_WITHIN: Duration = Duration::from_secs(60);
const ENDS_WITHIN: Duration = Duration::from_secs(60);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> Result<String> {
    fs::read_to_string(root().join(name)).with_context(|| name.to_owned())
}

fn run(command: &mut Command) -> Result<Output> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?}"))?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{command:?} ends with {}\n{out}\n{err}", output.status);
    Ok(output)
}

/// The value of a setting of the unit.
fn setting(unit: &str, key: &str) -> Result<String> {
    let mut values = unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let value = values.next().with_context(|| format!("the unit has no {key}="))?;
    ensure!(values.next().is_none(), "the unit has {key}= twice");
    Ok(value.to_owned())
}

#[test]
fn systemd_takes_the_unit() -> Result<()> {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        skip("systemd_takes_the_unit", "systemd-analyze is not installed (Debian: systemd)");
        return Ok(());
    }
    let unit = read("packaging/systemd/zktrail.service")?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("zktrail.service");
    fs::write(&path, unit.replace("/usr/local/bin/zktrail", BINARY))?;
    // With what the page puts into a drop-in.
    let page = read("docs/operating.md")?;
    let (_, block) = page.split_once("<!-- drop-in -->\n```ini\n").context("the drop-in of the page")?;
    let drop_ins = folder.path().join("zktrail.service.d");
    fs::create_dir(&drop_ins)?;
    fs::write(drop_ins.join("override.conf"), block.split_once("```").context("its end")?.0)?;
    let verified = run(Command::new("systemd-analyze").arg("verify").arg(&path))?;
    ensure!(verified.stderr.is_empty(), "{}", String::from_utf8_lossy(&verified.stderr));
    let mut security = Command::new("systemd-analyze");
    security.args(["security", "--offline=true", "--no-pager"]).arg(format!("--threshold={EXPOSURE_MAX_PERCENT}"));
    let exposure = run(security.arg(&path))?;
    println!("{}", String::from_utf8_lossy(&exposure.stdout).lines().last().unwrap_or_default());

    let users = root().join("packaging/systemd/zktrail.sysusers.conf");
    let planned = run(Command::new("systemd-sysusers").args(["--dry-run", "--root"]).arg(folder.path()).arg(&users))?;
    ensure!(String::from_utf8_lossy(&planned.stderr).contains(&setting(&unit, "User")?), "{planned:?}");
    Ok(())
}

#[test]
fn linters_and_schemas_take_the_image_and_the_manifests() -> Result<()> {
    let (Some(hadolint), Some(validate)) = (packaging_tool("hadolint"), packaging_tool("kubernetes-validate")) else {
        skip(
            "linters_and_schemas_take_the_image_and_the_manifests",
            "they are not in the cache: run tests/run prepare",
        );
        return Ok(());
    };
    run(Command::new(hadolint).args(["--failure-threshold", "style"]).arg(root().join("Dockerfile")))?;
    let folder = root().join("packaging/kubernetes");
    let mut manifests: Vec<PathBuf> = fs::read_dir(&folder)?.flatten().map(|entry| entry.path()).collect();
    manifests.sort();
    ensure!(manifests.len() == 4, "{manifests:?}");
    for version in KUBERNETES {
        run(Command::new(&validate).args(["--strict", "--kubernetes-version", version]).args(&manifests))?;
    }
    // The schemas are asked, not merely there.
    let wrong = tempfile::tempdir()?.keep().join("wrong.yaml");
    fs::write(&wrong, read("packaging/kubernetes/statefulset.yaml")?.replace("runAsNonRoot", "runAsNoRoot"))?;
    ensure!(run(Command::new(&validate).args(["--strict", "--quiet"]).arg(&wrong)).is_err(), "a wrong key was taken");
    fs::remove_dir_all(wrong.parent().context("a folder")?)?;
    Ok(())
}

/// An agent as a service manager runs it. Dropping it kills it.
struct Service {
    process: Child,
    folder: PathBuf,
}

impl Service {
    fn start(command: &mut Command, folder: &Path) -> Result<Self> {
        let process = command.stdin(Stdio::null()).spawn().with_context(|| format!("{command:?}"))?;
        Ok(Self { process, folder: folder.to_owned() })
    }

    fn health(&self, flag: Option<&str>) -> Result<Output> {
        let mut command = Command::new(BINARY);
        command.arg("health").args(flag).arg("--data-dir").arg(&self.folder).stdin(Stdio::null());
        Ok(command.output()?)
    }

    async fn wait_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            let answer = self.health(Some("--ready"))?;
            if answer.status.success() {
                return Ok(());
            }
            if let Some(status) = self.process.try_wait()? {
                bail!("the agent ended with {status}");
            }
            ensure!(Instant::now() < deadline, "not ready: {answer:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn signal(&self, signal: rustix::process::Signal) -> Result<()> {
        Ok(rustix::process::kill_process(rustix::process::Pid::from_child(&self.process), signal)?)
    }

    /// SIGTERM, which must end it with 0.
    async fn stop(mut self) -> Result<()> {
        self.signal(rustix::process::Signal::TERM)?;
        let began = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait()? {
                ensure!(status.success(), "SIGTERM ends the agent with {status}");
                println!("stopped after {:.1?}", began.elapsed());
                return Ok(());
            }
            ensure!(began.elapsed() < ENDS_WITHIN, "the agent does not stop");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The unit's command line records, reloads and stops.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_units_command_runs() -> Result<()> {
    let unit = read("packaging/systemd/zktrail.service")?;
    let ensemble = Ensemble::start(Version::Embedded, Shape::Standalone).await?;
    let folder = history_folder()?;
    let (config, history) = (folder.path().join("zktrail.toml"), folder.path().join("history"));
    let toml = "http = \"127.0.0.1:0\"\npostgres = \"off\"\n[[ensemble]]\nname = \"prod\"\n";
    fs::write(&config, format!("{toml}servers = \"{}\"\n", ensemble.connect_string()))?;
    let line = setting(&unit, "ExecStart")?;
    let words = line.split(' ').skip(1).map(|word| match word {
        "/etc/zktrail/zktrail.toml" => config.clone(),
        "/var/lib/zktrail/history" => history.clone(),
        word => PathBuf::from(word),
    });
    let words: Vec<PathBuf> = words.collect();
    ensure!(words.contains(&config) && words.contains(&history), "{line}");
    let mut service = Service::start(Command::new(BINARY).args(&words), &history)?;
    service.wait_ready().await?;
    ensure!(setting(&unit, "ExecReload")? == "/bin/kill -HUP $MAINPID");
    service.signal(rustix::process::Signal::HUP)?;
    let health = service.health(None)?;
    ensure!(health.status.success(), "{health:?}");
    service.wait_ready().await?;
    service.stop().await?;
    let gone = Command::new(BINARY).arg("health").arg("--data-dir").arg(&history).output()?;
    ensure!(gone.status.code() == Some(1), "{gone:?}");
    Ok(())
}

/// The StatefulSet's configuration and probes: asked under the pod's address, whatever that is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pods_probes_are_answered_and_nothing_else() -> Result<()> {
    let ensemble = Ensemble::start(Version::Embedded, Shape::Standalone).await?;
    let folder = history_folder()?;
    let (config, history) = (folder.path().join("zktrail.toml"), folder.path().join("history"));
    let manifest = read("packaging/kubernetes/configmap.yaml")?;
    let (_, block) = manifest.split_once("zktrail.toml: |\n").context("the configuration in the ConfigMap")?;
    let toml: String = block.lines().map(|line| format!("{}\n", line.strip_prefix("    ").unwrap_or(line))).collect();
    let (http, postgres) = (free_port()?, free_port()?);
    let servers = toml.lines().find(|line| line.starts_with("servers = ")).context("servers")?;
    let here = toml
        .replace(servers, &format!("servers = \"{}\"", ensemble.connect_string()))
        .replace("0.0.0.0:9847", &format!("0.0.0.0:{http}"))
        .replace("127.0.0.1:5847", &format!("127.0.0.1:{postgres}"))
        .replace("/var/lib/zktrail/history", &history.to_string_lossy());
    fs::write(&config, here)?;
    let set = read("packaging/kubernetes/statefulset.yaml")?;
    ensure!(set.contains(r#"args: ["agent", "--config", "/etc/zktrail/zktrail.toml"]"#), "{set}");
    let mut service = Service::start(Command::new(BINARY).args(["agent", "--config"]).arg(&config), &history)?;
    service.wait_ready().await?;

    let paths: Vec<&str> = set.lines().filter_map(|line| line.trim().strip_prefix("path: ")).collect();
    ensure!(paths == ["/metrics", "/readyz"], "{paths:?}");
    for path in paths.into_iter().chain(["/healthz"]) {
        // As the kubelet does: the pod's address is the Host.
        let (status, body) =
            ask(http, &format!("GET {path} HTTP/1.1\r\nHost: 10.42.0.7:9847\r\nConnection: close\r\n\r\n")).await?;
        ensure!(status == 200, "GET {path}: {status} {body}");
    }
    let sql = "POST /sql HTTP/1.1\r\nHost: 10.42.0.7:9847\r\nConnection: close\r\nContent-Length: 8\r\n\r\nSELECT 1";
    let (status, body) = ask(http, sql).await?;
    ensure!(status == 403, "POST /sql: {status} {body}");
    // In the pod the folder's owner may ask: kubectl exec.
    sql_as_documented("zktrail-0 -- zktrail sql\n", http, &history)?;
    let answer = Command::new(BINARY).args(["sql", "SELECT 1 AS one"]).arg("--data-dir").arg(&history).output()?;
    ensure!(answer.status.success(), "{answer:?}");
    service.stop().await
}

/// The image's environment and command, and its health check.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_images_command_runs() -> Result<()> {
    let recipe = read("Dockerfile")?;
    for line in [
        r#"ENTRYPOINT ["zktrail"]"#,
        r#"CMD ["agent"]"#,
        r#"CMD ["zktrail", "health"]"#,
        "ENV ZKTRAIL_DATA_DIR=/var/lib/zktrail/history",
        "ZKTRAIL_HTTP=0.0.0.0:9847",
        "USER 65532:65532",
    ] {
        ensure!(recipe.contains(line), "{line}");
    }
    let ensemble = Ensemble::start(Version::Embedded, Shape::Standalone).await?;
    let folder = history_folder()?;
    let history = folder.path().join("history");
    let http = free_port()?;
    let mut command = Command::new(BINARY);
    command.arg("agent").env("ZKTRAIL_DATA_DIR", &history).env("ZKTRAIL_HTTP", format!("0.0.0.0:{http}"));
    command.env("ZKTRAIL_POSTGRES", "off").env("ZKTRAIL_ENSEMBLE", format!("prod={}", ensemble.connect_string()));
    let mut service = Service::start(&mut command, &history)?;
    service.wait_ready().await?;
    let health = Command::new(BINARY).arg("health").env("ZKTRAIL_DATA_DIR", &history).output()?;
    ensure!(health.status.success(), "{health:?}");
    sql_as_documented("docker exec --interactive --tty zktrail zktrail sql\n", http, &history)?;
    service.stop().await
}

/// What the page says beside the agent: `zktrail sql` and nothing else, with the image's environment. Only the port is the
/// test's own.
fn sql_as_documented(line: &str, http: u16, history: &Path) -> Result<()> {
    ensure!(read("docs/operating.md")?.contains(line), "{line}");
    let mut command = Command::new(BINARY);
    command.args(["sql", "SELECT count(*) AS gaps FROM gaps"]).env("ZKTRAIL_AGENT", format!("localhost:{http}"));
    command.env("ZKTRAIL_DATA_DIR", history).env("ZKTRAIL_HTTP", format!("0.0.0.0:{http}"));
    let answer = run(&mut command)?;
    ensure!(String::from_utf8_lossy(&answer.stdout).contains("gaps"), "{answer:?}");
    Ok(())
}

/// Status and body of one raw request.
async fn ask(port: u16, request: &str) -> Result<(u16, String)> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    Ok((status, body.to_owned()))
}
