//! A PostgreSQL of this test's own: made anew, on a socket in a folder of its own, ended by its process id.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::{Answer, Recorded};
use crate::prerequisites;

pub struct Server {
    child: Child,
    programs: PathBuf,
    folder: tempfile::TempDir,
}

/// The folder of initdb and postgres: what is installed, else what `tests/run` has unpacked.
fn programs() -> Option<PathBuf> {
    let roots = [Some(PathBuf::from("/")), prerequisites::cache().map(|cache| cache.join("postgresql"))];
    let mut found: Vec<PathBuf> = roots
        .into_iter()
        .flatten()
        .filter_map(|root| std::fs::read_dir(root.join("usr/lib/postgresql")).ok())
        .flat_map(|versions| versions.flatten().map(|version| version.path().join("bin")))
        .filter(|folder| {
            folder.join("initdb").is_file() && folder.join("postgres").is_file() && folder.join("psql").is_file()
        })
        .collect();
    found.sort();
    found.pop()
}

/// PostgreSQL does not run as root.
fn unprivileged(program: &Path) -> Command {
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|itself| std::os::unix::fs::MetadataExt::uid(&itself) == 0);
    if !is_root {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program);
    command
}

impl Server {
    pub fn start() -> Result<Option<Self>> {
        let Some(programs) = programs() else { return Ok(None) };
        let folder = tempfile::Builder::new().prefix("zktrail-postgresql-").tempdir()?;
        std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777))?;
        let data = folder.path().join("data");
        let made = unprivileged(&programs.join("initdb"))
            .args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "-D"])
            .arg(&data)
            .output()
            .context("initdb")?;
        ensure!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let child = unprivileged(&programs.join("postgres"))
            .args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "timezone=UTC", "-c", "jit=off", "-k"])
            .arg(folder.path())
            .arg("-D")
            .arg(&data)
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.path().join("log"))?)
            .spawn()
            .context("postgres")?;
        let mut server = Self { child, programs, folder };
        server.wait()?;
        Ok(Some(server))
    }

    fn wait(&mut self) -> Result<()> {
        let until = Instant::now() + Duration::from_secs(60);
        while self.run("SELECT 1").is_err() {
            if let Some(status) = self.child.try_wait()? {
                let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
                bail!("postgres ended with {status}: {log}");
            }
            ensure!(Instant::now() < until, "postgres does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn run(&self, sql: &str) -> Result<String> {
        let mut child = Command::new(self.programs.join("psql"))
            .args([
                "-X",
                "-q",
                "-A",
                "-t",
                "-v",
                "ON_ERROR_STOP=1",
                "-U",
                "postgres",
                "-d",
                "postgres",
                "-f",
                "-",
                "-h",
            ])
            .arg(self.folder.path())
            .env("PGCLIENTENCODING", "UTF8")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        child.stdin.take().context("stdin")?.write_all(sql.as_bytes())?;
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "psql: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }

    pub fn ask(&self, expressions: &[String]) -> Result<Recorded> {
        let mut sql = String::from(
            "CREATE FUNCTION pg_temp.ask(q text) RETURNS json LANGUAGE plpgsql AS $$
             DECLARE r record;
             BEGIN
                 EXECUTE 'SELECT pg_typeof(x)::text AS t, x::text AS a FROM (SELECT ' || q || ' AS x) AS q' INTO STRICT r;
                 RETURN json_build_object('expression', q, 'kind', r.t, 'text', r.a);
             EXCEPTION WHEN others THEN
                 RETURN json_build_object('expression', q, 'error', sqlerrm);
             END $$;
             SELECT json_agg(pg_temp.ask(q) ORDER BY n) FROM (VALUES (0, '1')",
        );
        for (number, expression) in (1..).zip(expressions) {
            sql.push_str(&format!(", ({number}, $case${expression}$case$)"));
        }
        sql.push_str(") AS v(n, q);");
        let mut answers: Vec<Answer> = serde_json::from_str(&self.run(&sql)?)?;
        answers.remove(0);
        let functions =
            self.run("SELECT json_agg(DISTINCT proname) FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace")?;
        let version = self.run("SHOW server_version")?;
        let version = version.split_whitespace().next().unwrap_or_default().to_owned();
        Ok(Recorded { version, functions: serde_json::from_str(&functions)?, answers })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
