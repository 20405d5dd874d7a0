//! The dashboards of grafana/: made by their source, known to Grafana's own SDK, and every one of their queries answered by a
//! real Prometheus and a real door. What Grafana does to a query is done by `py/dashboards/`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use zookeeper_client::{Acls, Client, CreateMode};

use crate::agent::{Agent, Settings};
use crate::prerequisites::{cache, history_folder, prometheus, script, skip};
use crate::prometheus_server::{Prometheus, grafana, promtool};
use crate::servers::{self, Ensemble, Shape, Version};
use crate::workload::{Workload, create, session};

const BOARDS: [&str; 3] = ["ensemble-health", "what-changed", "agent"];
/// Each in a folder of its own, because all have one name.
const SDKS: [&str; 3] = ["grafana-10.1", "grafana-11.6", "grafana-next"];
const LOOKS_UNTIL: Duration = Duration::from_secs(60);
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(500);

fn files() -> Vec<PathBuf> {
    BOARDS.iter().map(|board| grafana(&format!("{board}.json"))).collect()
}

/// The interpreter of a folder of the cache.
fn python(folder: &str) -> Option<PathBuf> {
    cache().map(|cache| cache.join(folder).join("bin/python")).filter(|python| python.exists())
}

/// Whether a program is content, and what it printed.
async fn run(python: PathBuf, program: PathBuf, arguments: Vec<String>) -> Result<(bool, String)> {
    let mut command = Command::new(python);
    command.arg(program).args(arguments).env("PYTHONDONTWRITEBYTECODE", "1");
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    Ok((output.status.success(), text))
}

fn text(paths: impl IntoIterator<Item = PathBuf>) -> Vec<String> {
    paths.into_iter().map(|path| path.display().to_string()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dashboards_are_made_by_their_source_and_fit_together() -> Result<()> {
    let Some(python) = python("python") else {
        skip(
            "dashboards_are_made_by_their_source_and_fit_together",
            "Python is not in the cache: run tests/run prepare",
        );
        return Ok(());
    };
    let (is_same, said) = run(python.clone(), grafana("source/build.py"), vec!["--check".to_owned()]).await?;
    ensure!(is_same, "run python3 grafana/source/build.py: {said}");
    let (fits, said) = run(python, script("dashboards/boards.py"), text(files())).await?;
    ensure!(fits, "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dashboards_are_what_grafana_knows() -> Result<()> {
    let folder = tempfile::tempdir()?;
    // The check sees what is wrong: an option that no table has, and a panel of no type.
    let mut board: Value = serde_json::from_str(&fs::read_to_string(grafana("what-changed.json"))?)?;
    let panels = board["panels"].as_array_mut().context("panels")?;
    let table = panels.iter_mut().find(|panel| panel["type"] == "table").context("a table")?;
    table["options"]["colour"] = "green".into();
    panels[1]["type"] = "gadget".into();
    let broken = folder.path().join("broken.json");
    fs::write(&broken, board.to_string())?;
    for sdk in SDKS {
        let Some(python) = python(sdk) else {
            skip("dashboards_are_what_grafana_knows", &format!("{sdk} is not in the cache: run tests/run prepare"));
            return Ok(());
        };
        let (is_known, said) = run(python.clone(), script("dashboards/sdk.py"), text(files())).await?;
        ensure!(is_known, "{sdk}: {said}");
        let (is_known, said) = run(python, script("dashboards/sdk.py"), text([broken.clone()])).await?;
        ensure!(!is_known && said.contains("colour is lost") && said.contains("gadget"), "{sdk}: {said}");
    }
    Ok(())
}

/// What asking everything once told.
struct Answers(Value);

impl Answers {
    fn list(&self, name: &str) -> Vec<&str> {
        self.0[name].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
    }

    fn is_whole(&self) -> bool {
        self.list("empty").is_empty() && self.list("wrong").is_empty()
    }

    fn needs_mntr(&self) -> BTreeSet<&str> {
        self.list("needs_mntr").into_iter().collect()
    }
}

/// An ensemble, an agent on it, and a Prometheus that scrapes the agent.
struct Scene {
    ensemble: Ensemble,
    agent: Agent,
    prometheus: Prometheus,
    python: PathBuf,
    since: Instant,
    _folder: tempfile::TempDir,
}

impl Scene {
    /// `None` where something is missing here, which is said.
    async fn set(test: &str, version: Version, words: &str, flags: &[(&str, &str)]) -> Result<Option<Self>> {
        let missing = Ensemble::missing(version);
        let programs = (prometheus("prometheus"), prometheus("promtool"), python("clients"));
        let (None, (Some(program), Some(tool), Some(python))) = (&missing, programs) else {
            skip(
                test,
                &missing.unwrap_or_else(|| "Prometheus or the clients are not there: run tests/run prepare".to_owned()),
            );
            return Ok(None);
        };
        let mut settings = servers::Settings::new(version, Shape::ThreeNodes);
        settings.four_letter_words = words.to_owned();
        let ensemble = Ensemble::start_with(settings).await?;
        let client = session(&ensemble.connect_string()).await?;
        for path in ["/config", "/members"] {
            create(&client, path, b"").await?;
        }
        let folder = history_folder()?;
        let settings = Settings::new(ensemble.connect_string(), folder.path())
            .with("--session-timeout", "4s")
            .with("--server-sample", "1s")
            .with("--flush-age", "2s");
        let settings = flags.iter().fold(settings, |settings, (flag, value)| settings.with(flag, value));
        let agent = Agent::start(settings).await?;
        let metrics = agent.get("/metrics").await?.1;
        promtool(&tool, &["check", "metrics"], Some(&metrics))?;
        let since = Instant::now();
        let prometheus = Prometheus::start(&program, &agent.http().to_string(), &[]).await?;
        Ok(Some(Self { ensemble, agent, prometheus, python, since, _folder: folder }))
    }

    /// Asks everything again and again until nothing that should be there is missing.
    async fn look(&self, more: &[&str]) -> Result<Answers> {
        let deadline = Instant::now() + LOOKS_UNTIL;
        loop {
            let seconds = self.since.elapsed().as_secs() + 10;
            let mut arguments = vec![self.prometheus.url().to_owned(), self.agent.postgres().port().to_string()];
            arguments.push(seconds.to_string());
            arguments.extend(more.iter().map(|&one| one.to_owned()));
            arguments.extend(text(files()));
            let (_, said) = run(self.python.clone(), script("dashboards/ask.py"), arguments).await?;
            let answers = Answers(serde_json::from_str(&said).with_context(|| said.clone())?);
            if answers.is_whole() {
                return Ok(answers);
            }
            let (empty, wrong) = (answers.list("empty"), answers.list("wrong"));
            ensure!(Instant::now() < deadline, "empty: {empty:#?}\nwrong: {wrong:#?}");
            tokio::time::sleep(LOOK_AGAIN_AFTER).await;
        }
    }
}

/// Something of everything that a dashboard shows: configuration that is changed, a member that comes and goes, deletes.
async fn live(connect: &str) -> Result<Client> {
    let client = session(connect).await?;
    for path in ["/config/app", "/scratch"] {
        create(&client, path, b"one").await?;
    }
    client.set_data("/config/app", b"two", None).await?;
    client.delete("/scratch", None).await?;
    let ephemeral = CreateMode::Ephemeral.with_acls(Acls::anyone_all());
    for _ in 0..4 {
        client.create("/members/one", b"here", &ephemeral).await?;
        client.delete("/members/one", None).await?;
    }
    client.create("/members/one", b"here", &ephemeral).await?;
    Ok(client)
}

/// Nobody does anything: no panel may be empty for that. Then everything happens, also an outage, and every query has
/// something to tell.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dashboards_have_no_empty_panel() -> Result<()> {
    const NAME: &str = "dashboards_have_no_empty_panel";
    let flags = [("--subtree", "/members"), ("--subtree", "/config"), ("--config-subtree", "/config")];
    let scene = Scene::set(NAME, Version::V3_9, "srvr,mntr,ruok,isro,cons", &flags).await?;
    let Some(mut scene) = scene else { return Ok(()) };
    let quiet = scene.look(&[]).await?;
    ensure!(quiet.needs_mntr().is_empty(), "empty though mntr is answered: {:?}", quiet.needs_mntr());

    let connect = scene.ensemble.connect_string();
    let client = live(&connect).await?;
    scene
        .agent
        .sql_until(LOOKS_UNTIL, "SELECT 1 FROM changes WHERE path = '/members/one'", |rows| rows.len() >= 9)
        .await?;
    drop(client);
    // No majority: nobody can look, and a new leader begins a new term.
    let leader = scene.ensemble.leader().await?;
    let stopped = [leader, (leader + 1) % 3];
    for node in stopped {
        scene.ensemble.kill_node(node)?;
    }
    scene.prometheus.wait_for("zktrail_gap_open == 1").await?;
    scene.ensemble.restart_nodes(&stopped).await?;
    scene.prometheus.wait_for("zktrail_gap_open == 0").await?;
    let running = Workload::new(&connect, 5, 0).careful(50.0).start();
    running.advance(50).await;
    let answers = scene.look(&["--lively", "--path", "/config/app"]).await?;
    ensure!(answers.needs_mntr().is_empty(), "empty though mntr is answered: {:?}", answers.needs_mntr());
    running.stop().await?;
    Ok(())
}

/// Where the servers answer `srvr` alone, the only word that they allow by default, the panels that stay empty are those
/// that say so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dashboards_work_with_srvr_alone() -> Result<()> {
    const NAME: &str = "dashboards_work_with_srvr_alone";
    // The agent was told of no prefix, either.
    let Some(scene) = Scene::set(NAME, Version::V3_6, "srvr", &[]).await? else { return Ok(()) };
    let answers = scene.look(&["--only", "prometheus"]).await?;
    let mut says = BTreeSet::new();
    for file in files() {
        says.extend(those_that_need_mntr(&file)?);
    }
    let empty: BTreeSet<String> = answers.needs_mntr().into_iter().map(str::to_owned).collect();
    ensure!(says == empty, "panels that say they need mntr: {says:#?}\nthat do: {empty:#?}");
    Ok(())
}

fn those_that_need_mntr(file: &Path) -> Result<Vec<String>> {
    let board: Value = serde_json::from_str(&fs::read_to_string(file)?)?;
    let title = board["title"].as_str().context("a title")?;
    let panels = board["panels"].as_array().context("panels")?.iter();
    let needs = panels.filter(|panel| {
        let says = panel["fieldConfig"]["defaults"]["noValue"].as_str();
        says.is_some_and(|says| says.starts_with("Needs mntr"))
    });
    Ok(needs.map(|panel| format!("{title}: {}", panel["title"].as_str().unwrap_or_default())).collect())
}
