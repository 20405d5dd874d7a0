//! Whether SQL's functions mean here what they mean in PostgreSQL: one list of expressions (`tests/golden/functions.cases`)
//! is asked of both. `docs/functions.md` is made of the answers.
//!
//! What PostgreSQL answers is kept in `tests/golden/functions.answers`, for machines without it; where it is there, it is
//! asked, and must still answer so. `ZKTRAIL_COMPLETE=1` writes both files anew: read the difference.

mod page;
mod postgres;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use zktrail::query::Engine;

use crate::prerequisites;
use crate::story::{Kept, Story};

/// What PostgreSQL said to everything.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Recorded {
    pub version: String,
    /// The names of all of its functions.
    pub functions: Vec<String>,
    pub answers: Vec<Answer>,
}

/// What PostgreSQL said to one expression.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    pub expression: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub kind: Option<String>,
    /// `None` with a type: NULL.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<String>,
}

pub struct Group {
    pub name: String,
    pub expressions: Vec<String>,
}

/// How an answer of ours stands to PostgreSQL's.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    Same,
    BothRefuse,
    /// With what.
    Refused(String),
    /// PostgreSQL refuses what we answer.
    Wider(String),
    Different(String),
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn functions_mean_what_postgresql_means() -> Result<()> {
    let complete = std::env::var_os("ZKTRAIL_COMPLETE").is_some();
    let groups = groups()?;
    let expressions: Vec<String> = groups.iter().flat_map(|group| group.expressions.clone()).collect();
    let file = golden("functions.answers");
    let recorded = match postgres::Server::start()? {
        Some(server) => {
            let asked = server.ask(&expressions)?;
            if complete {
                std::fs::write(&file, written(&asked)?)?;
            } else {
                compare_with_recorded(&asked, &read(&file)?)?;
            }
            asked
        }
        None => {
            prerequisites::skip(
                "functions_mean_what_postgresql_means (live)",
                "there is no PostgreSQL: what it once answered has to do",
            );
            read(&file)?
        }
    };
    let story = Story::record(Kept::Head).await?;
    let engine = story.engine()?;
    let mut verdicts = Vec::new();
    for answer in &recorded.answers {
        verdicts.push(judge(answer, ask(&engine, &answer.expression).await));
    }
    let ours = names(&engine).await?;
    let page = page::write(&groups, &recorded, &verdicts, &ours);
    let different: Vec<String> = recorded
        .answers
        .iter()
        .zip(&verdicts)
        .filter_map(|(answer, verdict)| match verdict {
            Verdict::Different(ours) => {
                Some(format!("{}\n    PostgreSQL: {}\n    zktrail:    {ours}", answer.expression, shown(answer)))
            }
            _ => None,
        })
        .collect();
    ensure!(different.is_empty(), "{} answers differ silently:\n{}", different.len(), different.join("\n"));
    let unasked = page::unasked(&recorded, &expressions, &ours);
    ensure!(unasked.is_empty(), "functions of PostgreSQL's names that no expression asks: {unasked:?}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/functions.md");
    if complete {
        std::fs::create_dir_all(path.parent().context("docs")?)?;
        std::fs::write(&path, &page)?;
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    ensure!(kept == page, "docs/functions.md is not what the answers say: run with ZKTRAIL_COMPLETE=1");
    Ok(())
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn groups() -> Result<Vec<Group>> {
    let text = std::fs::read_to_string(golden("functions.cases"))?;
    let mut groups: Vec<Group> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(name) = line.strip_prefix("## ") {
            groups.push(Group { name: name.to_owned(), expressions: Vec::new() });
        } else if !line.starts_with("# ") {
            groups.last_mut().context("an expression before the first group")?.expressions.push(line.to_owned());
        }
    }
    Ok(groups)
}

fn read(file: &Path) -> Result<Recorded> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    Ok(serde_json::from_str(&text)?)
}

/// An expression a line, so that a difference can be read.
fn written(recorded: &Recorded) -> Result<String> {
    let answers: Vec<String> = recorded.answers.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
    Ok(format!(
        "{{\"version\":{},\n\"functions\":{},\n\"answers\":[\n{}\n]}}\n",
        serde_json::to_string(&recorded.version)?,
        serde_json::to_string(&recorded.functions)?,
        answers.join(",\n")
    ))
}

/// Another PostgreSQL may have more functions, or other words for an error; its answers must be the same.
fn compare_with_recorded(asked: &Recorded, recorded: &Recorded) -> Result<()> {
    ensure!(
        asked.answers.len() == recorded.answers.len(),
        "the list has changed since its answers were recorded: run with ZKTRAIL_COMPLETE=1"
    );
    for (asked, recorded) in asked.answers.iter().zip(&recorded.answers) {
        let same = asked.expression == recorded.expression
            && asked.error.is_some() == recorded.error.is_some()
            && asked.text == recorded.text;
        ensure!(same, "PostgreSQL answers {asked:?}, and answered {recorded:?}");
    }
    Ok(())
}

fn shown(answer: &Answer) -> String {
    match (&answer.error, &answer.text) {
        (Some(error), _) => format!("ERROR: {error}"),
        (None, Some(text)) => text.clone(),
        (None, None) => "NULL".to_owned(),
    }
}

/// The text form of an expression's value, as our engine gives it.
async fn ask(engine: &Engine, expression: &str) -> Result<Option<String>, String> {
    let sql = format!("SELECT CAST(x AS text) AS x FROM (SELECT {expression} AS x) AS q");
    let mut stream = engine.query(&sql).await.map_err(|error| error.to_string())?;
    let mut answer = None;
    let mut rows = 0;
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(|error| error.to_string())?;
        for row in 0..batch.num_rows() {
            rows += 1;
            let column = batch.columns().first().ok_or("no column")?;
            let text = arrow::util::display::array_value_to_string(column, row).map_err(|error| error.to_string())?;
            answer = (!column.is_null(row)).then_some(text);
        }
    }
    if rows != 1 {
        return Ok(Some(format!("{rows} rows")));
    }
    Ok(answer)
}

fn judge(theirs: &Answer, ours: Result<Option<String>, String>) -> Verdict {
    match (&theirs.error, ours) {
        (Some(_), Err(_)) => Verdict::BothRefuse,
        (None, Err(error)) => Verdict::Refused(error),
        (Some(_), Ok(ours)) => Verdict::Wider(ours.unwrap_or_else(|| "NULL".to_owned())),
        (None, Ok(ours)) if ours == theirs.text => Verdict::Same,
        (None, Ok(ours)) => {
            let number = matches!(theirs.kind.as_deref(), Some("numeric" | "double precision" | "real"));
            match (&theirs.text, &ours) {
                (Some(theirs), Some(ours)) if number && same_number(theirs, ours) => Verdict::Same,
                (_, ours) => Verdict::Different(ours.clone().unwrap_or_else(|| "NULL".to_owned())),
            }
        }
    }
}

/// To 14 digits: a numeric has as many as it needs in PostgreSQL, and a fixed number of them in Arrow.
fn same_number(theirs: &str, ours: &str) -> bool {
    let (Ok(theirs), Ok(ours)) = (theirs.parse::<f64>(), ours.parse::<f64>()) else { return false };
    theirs == ours || (theirs - ours).abs() <= theirs.abs().max(ours.abs()) * 1e-14
}

/// The names of our functions.
async fn names(engine: &Engine) -> Result<Vec<String>> {
    let sql = "SELECT DISTINCT routine_name FROM information_schema.routines ORDER BY 1";
    let mut stream = engine.query(sql).await?;
    let mut names = Vec::new();
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        for row in 0..batch.num_rows() {
            names.push(arrow::util::display::array_value_to_string(batch.column(0), row)?);
        }
    }
    Ok(names)
}
