//! A real PostgreSQL with the same tables and rows: what passes there must pass at our door, and what fails there is
//! the client's own limit.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::certificates::Certificates;
use crate::prerequisites::{postgresql, postgresql_libraries};
use crate::servers::free_port;

const READY_WITHIN: Duration = Duration::from_secs(60);
/// Debian's user that owns nothing: PostgreSQL refuses to run as root.
const NOBODY: u32 = 65_534;

pub struct Postgresql {
    pub port: u16,
    pub administrator_password: &'static str,
    process: Child,
    folder: tempfile::TempDir,
}

impl Postgresql {
    pub async fn start(connections_max: usize) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("zktrail-postgresql-").tempdir()?;
        let initdb = reachable(&postgresql("initdb").context("initdb is not to be found")?, folder.path())?;
        let data = folder.path().join("data");
        let administrator_password = "administrator";
        let password_file = folder.path().join("password");
        fs::write(&password_file, administrator_password)?;
        give_away(folder.path())?;
        give_away(&password_file)?;
        let mut command = unprivileged(&initdb);
        command.args([
            "--username=administrator",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        ]);
        command.arg("--pwfile").arg(&password_file).arg("--pgdata").arg(&data);
        let output = command.output()?;
        ensure!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
        let certificates = Certificates::make(folder.path())?;
        give_away(&certificates.key)?;
        give_away(&certificates.certificate)?;

        let port = free_port()?;
        let settings = [
            "listen_addresses=localhost".to_owned(),
            format!("port={port}"),
            "unix_socket_directories=".to_owned(),
            "ssl=on".to_owned(),
            format!("ssl_cert_file={}", certificates.certificate.display()),
            format!("ssl_key_file={}", certificates.key.display()),
            format!("max_connections={connections_max}"),
            "superuser_reserved_connections=0".to_owned(),
            "client_connection_check_interval=200ms".to_owned(),
            "timezone=UTC".to_owned(),
            "fsync=off".to_owned(),
            "jit=off".to_owned(),
            "max_parallel_workers=0".to_owned(),
        ];
        let mut command = unprivileged(&initdb.with_file_name("postgres"));
        command.arg("-D").arg(&data);
        for setting in settings {
            command.arg("-c").arg(setting);
        }
        let log = File::create(folder.path().join("log"))?;
        let process = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        let mut server = Self { port, administrator_password, process, folder };
        server.wait_ready().await?;
        Ok(server)
    }

    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    pub fn other_ca(&self) -> PathBuf {
        self.folder.path().join("other-ca.pem")
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    async fn wait_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            if log.contains("ready to accept connections") {
                return Ok(());
            }
            if let Some(status) = self.process.try_wait()? {
                bail!("PostgreSQL ended with {status}\n{log}");
            }
            ensure!(Instant::now() < deadline, "PostgreSQL is not ready within {READY_WITHIN:?}\n{log}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Postgresql {
    fn drop(&mut self) {
        // SIGQUIT: its children end too.
        let pid = rustix::process::Pid::from_child(&self.process);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::QUIT);
        let _ = self.process.wait();
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The program, or its copy in this folder where it lies in root's own cache and another user must run it.
fn reachable(program: &Path, folder: &Path) -> Result<PathBuf> {
    let fetched = postgresql_libraries(program).and_then(|libraries| Some(libraries.parent()?.parent()?.to_owned()));
    let Some(fetched) = fetched.filter(|_| is_root()) else {
        return Ok(program.to_owned());
    };
    let copy = folder.join("usr");
    let status = Command::new("cp").arg("-r").arg(&fetched).arg(&copy).status()?;
    ensure!(status.success(), "copying {} ends with {status}", fetched.display());
    Ok(copy.join(program.strip_prefix(&fetched)?))
}

fn unprivileged(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    if is_root() {
        let id = NOBODY.to_string();
        command.args(["--reuid", &id, "--regid", &id, "--clear-groups"]);
    }
    // The server ends with the tests, also where nothing can be dropped any more.
    command.args(["--pdeathsig", "QUIT"]).arg(program).env("LC_ALL", "C");
    if let Some(libraries) = postgresql_libraries(program) {
        command.env("LD_LIBRARY_PATH", libraries);
    }
    command
}

fn give_away(path: &Path) -> Result<()> {
    if is_root() {
        chown(path, Some(NOBODY), Some(NOBODY))?;
    }
    if path.is_dir() {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}
