//! What SQL means over a history, in `tests/slt/*.slt`: in process and over HTTP, with the same history in the head only,
//! in parts only, and in both.
//!
//! `ZKTRAIL_COMPLETE=1` writes the answers of the first of these into the files: read the difference.

use std::path::Path;

use anyhow::{Context, Result};
use futures::StreamExt;
use sqllogictest::{
    AsyncDB, DBOutput, DefaultColumnType, Runner, default_column_validator, default_normalizer, default_validator,
};
use zktrail::query::Engine;
use zktrail::query::encode::JsonEncoder;

use crate::story::{Kept, Story};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sql_means_the_same_everywhere() -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slt");
    let mut files: Vec<_> =
        std::fs::read_dir(&folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    files.sort();
    anyhow::ensure!(files.len() > 5, "{files:?}");
    for kept in Kept::ALL {
        if kept != Kept::Head && std::env::var_os("ZKTRAIL_COMPLETE").is_some() {
            break;
        }
        let story = Story::record(kept).await?;
        let url = story.serve().await?;
        let engine = story.engine()?;
        for file in &files {
            for door in [Door::Engine(engine.clone()), Door::Http(url.clone())] {
                let place = format!("{} in {kept:?} by {}", file.display(), door.engine_name());
                let mut runner = Runner::new(|| async { Ok(door.clone()) });
                if std::env::var_os("ZKTRAIL_COMPLETE").is_some() {
                    let completed = runner.update_test_file(
                        file,
                        "  ",
                        default_validator,
                        default_normalizer,
                        default_column_validator,
                    );
                    completed.await.map_err(|error| anyhow::anyhow!("{place}: {error}"))?;
                    break;
                }
                runner.run_file_async(file).await.with_context(|| place)?;
            }
        }
    }
    Ok(())
}

#[derive(Clone)]
enum Door {
    Engine(Engine),
    Http(String),
}

/// An error as the user is told it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Told(String);

impl Told {
    fn new(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

#[async_trait::async_trait]
impl AsyncDB for Door {
    type Error = Told;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Told> {
        let json = match self {
            Self::Engine(engine) => {
                let mut stream = engine.query(sql).await.map_err(Told::new)?;
                let mut encoder = JsonEncoder::new(&stream.schema());
                let mut out = Vec::new();
                while let Some(batch) = stream.next().await {
                    encoder.batch(&batch.map_err(Told::new)?, &mut out);
                }
                encoder.finish(&mut out);
                String::from_utf8(out).map_err(Told::new)?
            }
            Self::Http(url) => {
                let (url, sql) = (format!("{url}/sql"), sql.to_owned());
                tokio::task::spawn_blocking(move || ask(&url, &sql)).await.map_err(Told::new)??
            }
        };
        let rows: Vec<serde_json::Map<String, serde_json::Value>> = serde_json::from_str(&json).map_err(Told::new)?;
        let types = vec![DefaultColumnType::Any; rows.first().map_or(0, serde_json::Map::len)];
        let rows = rows.iter().map(|row| row.values().map(cell).collect()).collect();
        Ok(DBOutput::Rows { types, rows })
    }

    async fn shutdown(&mut self) {}

    fn engine_name(&self) -> &str {
        match self {
            Self::Engine(_) => "engine",
            Self::Http(_) => "http",
        }
    }
}

fn ask(url: &str, sql: &str) -> Result<String, Told> {
    let config = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build();
    let response = ureq::Agent::new_with_config(config).post(url).send(sql).map_err(Told::new)?;
    let is_answer = response.status() == 200;
    let body = response.into_body().read_to_string().map_err(Told::new)?;
    if is_answer {
        return Ok(body);
    }
    let error: serde_json::Value = serde_json::from_str(&body).map_err(Told::new)?;
    Err(Told(error["error"].as_str().unwrap_or(&body).to_owned()))
}

/// As the files show a value: one word, NULL where there is none.
fn cell(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => "NULL".to_owned(),
        serde_json::Value::String(text) if text.is_empty() => "(empty)".to_owned(),
        serde_json::Value::String(text) => text.replace('\n', "⏎"),
        other => other.to_string(),
    }
}
