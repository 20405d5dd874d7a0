//! The shipped questions, each with its answer to a small story: the same file on the command line over a folder and
//! over an agent, and over HTTP, in every state that a history may be in.

use std::path::PathBuf;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use zktrail::query::library;

use crate::story::{Kept, Story};

/// The story's own day: nothing here depends on when the test runs.
const WINDOW: [(&str, &str); 2] = [("since", "2026-11-20"), ("until", "2026-11-20T05:00")];

/// What each report is asked beside the window.
fn parameters(name: &str) -> Vec<(&'static str, &'static str)> {
    let own: &[(&str, &str)] = match name {
        "path-life" => &[("path", "/config/app")],
        "tree-growth" => &[("names", "2")],
        "biggest" => &[("limit", "5")],
        _ => &[],
    };
    let has_window = !matches!(name, "biggest" | "ephemeral-owners");
    WINDOW.iter().filter(|_| has_window).chain(own).copied().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_report_has_its_answer_at_every_door() -> Result<()> {
    for kept in Kept::ALL {
        let story = Story::record(kept).await?;
        let url = story.serve().await?;
        for recipe in library::shipped() {
            let name = recipe.name.to_string();
            let parameters = parameters(&name);
            let over_http = post(&url, &recipe.sql, &parameters).await.with_context(|| name.clone())?;
            let by_agent = report(&name, &parameters, ["--agent", &url]).await?;
            let by_folder =
                report(&name, &parameters, ["--data-dir", &story.layout.dir().display().to_string()]).await?;
            ensure!(by_agent == over_http, "{name} in {kept:?}, by agent:\n{by_agent}\nover HTTP:\n{over_http}");
            ensure!(by_folder == over_http, "{name} in {kept:?}, by folder:\n{by_folder}\nover HTTP:\n{over_http}");
            insta::with_settings!({ snapshot_path => golden(), prepend_module_to_snapshot => false, omit_expression => true }, {
                insta::assert_snapshot!(name.as_str(), over_http.replace("\r\n", "\n"));
            });
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_says_what_it_was_asked_and_what_it_did_not_see() -> Result<()> {
    let story = Story::record(Kept::Both).await?;
    let folder = story.layout.dir().display().to_string();
    let run = |arguments: &[&str]| run(arguments.iter().map(|argument| (*argument).to_owned()).collect());

    let listed = run(&["report"]).await?;
    let text = String::from_utf8(listed.stdout)?;
    for recipe in library::shipped() {
        ensure!(text.contains(&*recipe.name) && text.contains(recipe.question()), "{text}");
        let shown = run(&["report", "--show", &recipe.name]).await?;
        ensure!(shown.stdout == recipe.sql.as_bytes(), "{}", recipe.name);
    }
    let json = run(&["report", "--format", "json"]).await?;
    let json: serde_json::Value = serde_json::from_slice(&json.stdout)?;
    ensure!(json.as_array().is_some_and(|recipes| recipes.len() == library::shipped().count()), "{json}");

    let flapping =
        ["report", "flapping", "--data-dir", &folder, "--since", "2026-11-20", "--until", "2026-11-20T05:00"];
    let table = run(&flapping).await?;
    let (out, said) = (String::from_utf8(table.stdout)?, String::from_utf8(table.stderr)?);
    ensure!(table.status.success() && out.contains("/brokers/ids/3") && out.ends_with("(1 row)\n"), "{out}{said}");
    ensure!(said.contains("recording began at 2026-11-20 02:00:00 only; 1 gap, 1m 30s."), "{said}");
    // Before the gap, and by zxid.
    let before = ["report", "flapping", "--data-dir", &folder, "--since", "2026-11-20T02:00", "--until", "02:30Z"];
    let until = ["--until", "0x100000ca", "--param", "times=1"];
    let whole = run(&[&before[..6], &["--until", "2026-11-20T02:30"]].concat()).await?;
    ensure!(String::from_utf8(whole.stderr)?.contains("no gap in what was observed"), "a whole window");
    let by_zxid =
        run(&[&flapping[..4], &["--since", "0x1000000c8"], &["--until", "0x1000000cf", until[2], until[3]]].concat())
            .await?;
    let out = String::from_utf8(by_zxid.stdout)?;
    ensure!(out.contains("/brokers/ids/3"), "{out}");

    for (arguments, code, words) in [
        (&["report", "flaping"][..], 2, "did you mean 'flapping'"),
        (&["report", "path-life", "--data-dir", &folder], 2, "it needs path: --param path="),
        (&["report", "churn", "--data-dir", &folder, "--since", "soon"], 2, "'soon' is no moment"),
        (&["report", "churn", "--data-dir", &folder, "--param", "limit=5"], 2, "no parameter limit"),
        (&["report", "flapping", "--data-dir", &folder, "--param", "times=x"], 1, "times: 'x' is no whole number"),
        (&["report", "churn", "--data-dir", "/nowhere"], 1, "/nowhere"),
        (&["report", "churn", "--queries", "/nowhere"], 1, "/nowhere"),
    ] {
        let failed = run(arguments).await?;
        let said = String::from_utf8(failed.stderr)?;
        ensure!(failed.status.code() == Some(code) && said.contains(words), "{arguments:?}: {said}");
    }
    Ok(())
}

/// The file as it is, pasted into a request without parameters, uses its defaults.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_answers_as_plain_text_too() -> Result<()> {
    let story = Story::record(Kept::Parts).await?;
    let url = story.serve().await?;
    for recipe in library::shipped().filter(|recipe| recipe.name != "path-life") {
        let (url, sql) = (format!("{url}/sql"), recipe.sql.to_string());
        let response = tokio::task::spawn_blocking(move || http().post(url).send(sql)).await??;
        let status = response.status();
        let body = response.into_body().read_to_string()?;
        ensure!(status == 200, "{}: {status} {body}", recipe.name);
    }
    Ok(())
}

/// Whatever a value holds, it is a value: nothing of it is read as SQL.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_is_never_read_as_sql() -> Result<()> {
    let story = Story::record(Kept::Head).await?;
    let url = story.serve().await?;
    for value in ["it's", "'' OR ''=''", "$value", "x'; DROP TABLE changes; --", "\\'", "/* */ ü 🐘"] {
        let answer = post(
            &url,
            "SELECT $value = $again AS same, length($value) AS n, 1 AS one",
            &[("value", value), ("again", value)],
        )
        .await?;
        ensure!(answer == format!("same,n,one\r\ntrue,{},1\r\n", value.chars().count()), "{value}: {answer}");
    }
    for (body, words) in [
        (r#"{"sql": "SELECT $a"}"#, "the parameter $a has no value"),
        (r#"{"sql": "SELECT 1", "params": {"a": [1]}}"#, "each value a string, number, boolean or null"),
        (r#"{"sql": "SELECT 1", "parms": {}}"#, "unknown field `parms`"),
        (r#"{"params": {}}"#, "missing field `sql`"),
        (r#"{"sql": " "}"#, "the body is empty"),
    ] {
        let url = format!("{url}/sql");
        let request = move || http().post(url).header("Content-Type", "application/json; charset=utf-8").send(body);
        let response = tokio::task::spawn_blocking(request).await??;
        let status = response.status();
        let told = response.into_body().read_to_string()?;
        let told: serde_json::Value = serde_json::from_str(&told)?;
        ensure!(status == 400 && told["error"].as_str().is_some_and(|told| told.contains(words)), "{body}: {told}");
    }
    Ok(())
}

fn golden() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/queries")
}

fn http() -> ureq::Agent {
    ureq::Agent::new_with_config(ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build())
}

async fn post(url: &str, sql: &str, parameters: &[(&str, &str)]) -> Result<String> {
    let parameters: serde_json::Map<String, serde_json::Value> =
        parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
    let body = serde_json::json!({ "sql": sql, "params": parameters }).to_string();
    let url = format!("{url}/sql");
    tokio::task::spawn_blocking(move || {
        let request = http().post(url).header("Content-Type", "application/json").header("Accept", "text/csv");
        let response = request.send(body)?;
        let status = response.status();
        let body = response.into_body().read_to_string()?;
        ensure!(status == 200, "{status}: {body}");
        Ok(body)
    })
    .await?
}

async fn report(name: &str, parameters: &[(&str, &str)], door: [&str; 2]) -> Result<String> {
    let mut arguments: Vec<String> = ["report", name, "--format", "csv", door[0], door[1]].map(str::to_owned).into();
    arguments.extend(parameters.iter().flat_map(|(name, value)| ["--param".to_owned(), format!("{name}={value}")]));
    let output = run(arguments).await?;
    ensure!(output.status.success(), "report {name}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

async fn run(arguments: Vec<String>) -> Result<Output> {
    let child = move || Command::new(env!("CARGO_BIN_EXE_zktrail")).args(arguments).output();
    Ok(tokio::task::spawn_blocking(child).await??)
}
