use serde_json::json;

use super::plan::Action;
use super::{Format, Outcome, Rows};
use crate::cli::sql::output;

const HEADER: [&str; 4] = ["action", "connection", "znode", "what"];

/// Rows in one of the forms. Nothing in them is secret: see [`super::uri::Uri::shown`].
pub(super) fn text(rows: &Rows, format: Format) -> String {
    match format {
        Format::Table => table(rows),
        Format::Json => json(rows),
        Format::Csv => csv(rows),
    }
}

pub(super) fn print(text: &str) -> anyhow::Result<()> {
    output::print(text.as_bytes()).map(|_| ())
}

/// One line that counts.
pub(super) fn summary(rows: &Rows, applies: bool) -> String {
    let count = |wanted: &str| rows.iter().filter(|(step, _)| step.action.as_str() == wanted).count();
    let failed = rows.iter().filter(|(_, outcome)| matches!(outcome, Outcome::Failed(_))).count();
    let changes = count("create") + count("update") + count("delete");
    let refused = match count("refuse") {
        0 => String::new(),
        refused => format!(", {refused} refused"),
    };
    match (changes, applies) {
        (0, _) => {
            format!("{} as the znodes say{refused}", if refused.is_empty() { "everything is" } else { "the rest is" })
        }
        (_, false) => format!(
            "{} to create, {} to update, {} to delete{refused}; nothing was done: say --apply",
            count("create"),
            count("update"),
            count("delete")
        ),
        (_, true) => format!("{} done, {failed} failed{refused}", changes - failed),
    }
}

fn cells((step, outcome): &(super::Step, Outcome)) -> [String; 4] {
    let (action, what) = match (outcome, &step.action) {
        (Outcome::Failed(why), action) => (format!("{} failed", action.as_str()), why.clone()),
        (Outcome::Done, Action::Create(_)) => ("created".to_owned(), step.what.clone()),
        (Outcome::Done, Action::Update { .. }) => ("updated".to_owned(), step.what.clone()),
        (Outcome::Done, Action::Delete { .. }) => ("deleted".to_owned(), step.what.clone()),
        (_, action) => (action.as_str().to_owned(), step.what.clone()),
    };
    [action, printable(&step.name), printable(&step.path), printable(&what)]
}

/// What a name or path holds must not steer a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn table(rows: &Rows) -> String {
    let lines: Vec<[String; 4]> = std::iter::once(HEADER.map(str::to_owned)).chain(rows.iter().map(cells)).collect();
    let width = |column: usize| {
        lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths = [width(0), width(1), width(2)];
    let mut text = String::new();
    for (at, [action, name, path, what]) in lines.iter().enumerate() {
        let [a, b, c] = widths;
        text.push_str(format!("{action:a$}  {name:b$}  {path:c$}  {what}").trim_end());
        text.push('\n');
        if at == 0 {
            text.push_str(&format!("{}  {}  {}  {}\n", "-".repeat(a), "-".repeat(b), "-".repeat(c), "-".repeat(4)));
        }
    }
    text
}

fn json(rows: &Rows) -> String {
    let row = |row: &(super::Step, Outcome)| {
        let (step, outcome) = row;
        let (state, error) = match outcome {
            Outcome::Planned => ("planned", None),
            Outcome::Done => ("done", None),
            Outcome::Failed(why) => ("failed", Some(why)),
        };
        let state = if matches!(step.action, Action::Keep | Action::Refuse) { "nothing" } else { state };
        json!({
            "action": step.action.as_str(),
            "connection": step.name,
            "znode": step.path,
            "what": step.what,
            "outcome": state,
            "error": error,
        })
    };
    format!("{}\n", serde_json::Value::Array(rows.iter().map(row).collect()))
}

fn csv(rows: &Rows) -> String {
    let quoted = |text: &String| format!("\"{}\"", text.replace('"', "\"\""));
    let mut text = format!("{}\r\n", HEADER.join(","));
    for row in rows {
        text.push_str(&cells(row).iter().map(quoted).collect::<Vec<_>>().join(","));
        text.push_str("\r\n");
    }
    text
}
