//! Runs the clients' programs and gathers what they say.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use super::features::{ClientKind, FEATURES, Interpreter};
use crate::prerequisites::{cache, postgresql, postgresql_libraries, script};

/// Where a server is and who may enter.
pub struct Door<'a> {
    pub is_postgresql: bool,
    pub port: u16,
    pub pid: u32,
    pub user: &'a str,
    pub password: &'a str,
    pub database: &'a str,
    pub ca: &'a Path,
    pub other_ca: &'a Path,
    pub connections_max: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Yes,
    No,
    NotApplicable,
}

/// What one client's program said.
#[derive(Debug, Default)]
pub struct Report {
    /// Package and version.
    pub versions: Vec<(String, String)>,
    pub outcomes: BTreeMap<String, (Outcome, String)>,
}

/// What a program needs and what is not there.
pub fn missing() -> Option<String> {
    for interpreter in [Interpreter::Clients, Interpreter::Sqlalchemy14] {
        if python(interpreter).is_none() {
            return Some(format!("the clients ({interpreter:?}) are not in the cache: run tests/run prepare"));
        }
    }
    if jdbc().is_none() {
        return Some("the JDBC driver is not in the cache: run tests/run prepare".to_owned());
    }
    if postgresql("psql").is_none() {
        return Some("psql is not to be found: run tests/run prepare".to_owned());
    }
    None
}

fn python(interpreter: Interpreter) -> Option<PathBuf> {
    let name = match interpreter {
        Interpreter::Clients => "clients",
        Interpreter::Sqlalchemy14 => "clients-sqlalchemy14",
    };
    cache().map(|cache| cache.join(name).join("bin/python")).filter(|python| python.exists())
}

/// The class path of the driver.
fn jdbc() -> Option<String> {
    let folder = cache()?.join("jdbc");
    folder.join("stamp").exists().then(|| format!("{}/*", folder.display()))
}

/// Writes what the programs read; gives the file.
pub fn settings(folder: &Path, door: &Door<'_>, facts: &Value) -> Result<PathBuf> {
    let tables: Value = serde_json::from_str(include_str!("../../clients/tables.json"))?;
    let psql = postgresql("psql").context("psql is not to be found")?;
    let settings = json!({
        "server": if door.is_postgresql { "postgresql" } else { "zktrail" },
        "host": "localhost",
        "port": door.port,
        "pid": door.pid,
        "user": door.user,
        "password": door.password,
        "database": door.database,
        "ca": door.ca,
        "other_ca": door.other_ca,
        "connections_max": door.connections_max,
        "psql": psql,
        "psql_libraries": postgresql_libraries(&psql),
        "tables": tables,
        "facts": facts,
    });
    let file = folder.join(format!("settings-{}.json", door.port));
    std::fs::write(&file, serde_json::to_vec_pretty(&settings)?)?;
    Ok(file)
}

/// Runs a program to its end. An error where it says something that is not an outcome.
pub async fn run(client: &ClientKind, settings: &Path) -> Result<Report> {
    let output = python_output(client.interpreter, client.program, &[settings.to_owned()]).await?;
    let mut report = Report::default();
    for line in output.lines() {
        let line: Value = serde_json::from_str(line).with_context(|| format!("{} says {line:?}", client.name))?;
        let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
        ensure!(text("client") == client.name, "{} calls itself {}", client.name, line["client"]);
        if let Some(versions) = line["versions"].as_object() {
            let versions =
                versions.iter().map(|(name, version)| (name.clone(), version.as_str().unwrap_or("").to_owned()));
            report.versions.extend(versions);
            continue;
        }
        let outcome = match text("outcome").as_str() {
            "yes" => Outcome::Yes,
            "no" => Outcome::No,
            "n/a" => Outcome::NotApplicable,
            other => bail!("{}: outcome {other:?}", client.name),
        };
        let feature = text("feature");
        ensure!(FEATURES.iter().any(|(known, _)| *known == feature), "{}: no feature {feature}", client.name);
        report.outcomes.insert(feature, (outcome, text("detail")));
    }
    Ok(report)
}

/// What a script beside the programs prints.
pub async fn python_output(interpreter: Interpreter, program: &str, arguments: &[PathBuf]) -> Result<String> {
    let python = python(interpreter).context("Python is not in the cache")?;
    let mut command = Command::new(python);
    command.arg(script("clients").join(program)).args(arguments);
    command.env("ZKTRAIL_JDBC", jdbc().unwrap_or_default());
    command.env("ZKTRAIL_JDBC_PROGRAM", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/Jdbc.java"));
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    // Neither the machine's own settings of libpq nor its time zone may matter.
    command.env("PGSERVICEFILE", "/nonexistent").env("PGPASSFILE", "/nonexistent").env("TZ", "UTC");
    command.stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    ensure!(output.status.success(), "{program} ends with {}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}
