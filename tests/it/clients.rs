//! Every client that people have drives the PostgreSQL door, and the same checks hold a real PostgreSQL.
//!
//! The checks are Python's (`py/clients/`), written once over what a client can do (`suite.py`); a client's program
//! (`drive_….py`) says how that client does it. `docs/clients.md` is made from the run.

mod allowed;
mod certificates;
mod features;
mod history;
mod postgresql;
mod programs;
mod table;

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};

use self::allowed::{ALLOWED, ALLOWED_ON_POSTGRESQL, Known};
use self::certificates::Certificates;
use self::features::{CLIENTS, ClientKind, FEATURES, Interpreter, REPLAYED};
use self::history::History;
use self::postgresql::Postgresql;
use self::programs::{Door, Outcome, Report};
use crate::prerequisites::skip;

const CONNECTIONS_MAX: usize = 20;
const USER: &str = "reader";
const PASSWORD: &str = "a reader's password";
const DATABASE: &str = "zktrail";
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/clients.md");

/// Whatever fails at our door for no fault of ours fails here too, and the suite itself is right.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_suite_holds_a_real_postgresql() -> Result<()> {
    if let Some(missing) = programs::missing() {
        skip("clients_suite_holds_a_real_postgresql", &missing);
        return Ok(());
    }
    if crate::prerequisites::postgresql("postgres").is_none() {
        skip("clients_suite_holds_a_real_postgresql", "PostgreSQL is not to be found: run tests/run prepare");
        return Ok(());
    }
    let history = History::record().await?;
    let server = Postgresql::start(CONNECTIONS_MAX).await?;
    let folder = tempfile::tempdir()?;
    let (ca, other_ca) = (server.ca(), server.other_ca());
    let door = Door {
        is_postgresql: true,
        port: server.port,
        pid: server.pid(),
        user: USER,
        password: PASSWORD,
        database: DATABASE,
        ca: &ca,
        other_ca: &other_ca,
        connections_max: CONNECTIONS_MAX,
    };
    let settings = programs::settings(folder.path(), &door, &history.facts)?;
    let arguments =
        [settings.clone(), PathBuf::from(history.agent.http().to_string()), server.administrator_password.into()];
    programs::python_output(Interpreter::Clients, "load_postgresql.py", &arguments).await?;
    let reports = run_all(&settings).await?;
    judge(&reports, ALLOWED_ON_POSTGRESQL)
}

/// The door that people connect to. `ZKTRAIL_WRITE_DOCS=1` writes docs/clients.md anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_get_what_the_table_says() -> Result<()> {
    if let Some(missing) = programs::missing() {
        skip("clients_get_what_the_table_says", &missing);
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let certificates = Certificates::make(folder.path())?;
    let mut history = History::record().await?;
    history.guard(USER, PASSWORD, &certificates, CONNECTIONS_MAX).await?;
    let door = Door {
        is_postgresql: false,
        port: history.agent.postgres().port(),
        pid: history.agent.pid().context("the agent runs")?,
        user: USER,
        password: PASSWORD,
        database: DATABASE,
        ca: &certificates.ca,
        other_ca: &certificates.other_ca,
        connections_max: CONNECTIONS_MAX,
    };
    let settings = programs::settings(folder.path(), &door, &history.facts)?;
    let reports = run_all(&settings).await?;
    let whole = reports.len() == CLIENTS.len() + REPLAYED.len();
    let page = table::page(&reports);
    let write = std::env::var_os("ZKTRAIL_WRITE_DOCS").is_some_and(|value| value == "1");
    if whole && write {
        std::fs::write(PAGE, &page)?;
    }
    judge(&reports, ALLOWED)?;
    if whole { up_to_date(&page) } else { Ok(()) }
}

/// Compares the page with the one in the repository.
fn up_to_date(page: &str) -> Result<()> {
    let kept = std::fs::read_to_string(PAGE).with_context(|| format!("reading {PAGE}"))?;
    let differs = page.lines().zip(kept.lines()).find(|(now, kept)| now != kept);
    ensure!(
        page == kept,
        "docs/clients.md is not what was seen; ZKTRAIL_WRITE_DOCS=1 writes it anew. The first line that differs: {differs:?}"
    );
    Ok(())
}

/// Runs every program, one after another: some measure the server's processor time.
async fn run_all(settings: &std::path::Path) -> Result<Vec<(&'static ClientKind, Report)>> {
    let chosen = std::env::var("ZKTRAIL_CLIENTS").unwrap_or_default();
    let mut reports = Vec::new();
    for client in CLIENTS.iter().chain(&REPLAYED) {
        if chosen.is_empty() || chosen.split(',').any(|name| name == client.name) {
            reports.push((client, programs::run(client, settings).await?));
        }
    }
    Ok(reports)
}

/// Every feature has an outcome, and only what is allowed to fail fails; what is allowed to and does not is no longer.
fn judge(reports: &[(&ClientKind, Report)], allowed: &[Known]) -> Result<()> {
    let mut wrong = Vec::new();
    for (client, report) in reports {
        for (feature, _) in FEATURES {
            let asked = match REPLAYED.iter().find(|replayed| feature.starts_with(&format!("{}.", replayed.name))) {
                Some(replayed) => replayed.name == client.name,
                None => CLIENTS.iter().any(|known| known.name == client.name),
            };
            let known = allowed.iter().find(|known| known.is_about(client.name, feature));
            match report.outcomes.get(*feature) {
                Some((Outcome::No, detail)) if known.is_none() => {
                    wrong.push(format!("{} {feature}: {detail}", client.name))
                }
                Some((Outcome::Yes | Outcome::NotApplicable, _))
                    if known.is_some_and(|known| !known.features.is_empty()) =>
                {
                    wrong.push(format!("{} {feature}: works now, and is still on the list", client.name));
                }
                None if asked => wrong.push(format!("{} {feature}: was not looked at", client.name)),
                _ => {}
            }
        }
    }
    ensure!(wrong.is_empty(), "{} of the clients' checks:\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}
