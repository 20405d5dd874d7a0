use std::fmt::Write;
use std::process::ExitCode;

use crate::cli::sql::{Format, output};
use crate::query::library::Recipe;

/// Prints what each report answers and takes.
pub(super) fn print(recipes: &[Recipe], format: Format) -> anyhow::Result<ExitCode> {
    let text = match format {
        Format::Table | Format::Parquet => table(recipes),
        Format::Json => json(recipes),
        Format::Csv => csv(recipes),
    };
    output::print(text.as_bytes())
}

fn table(recipes: &[Recipe]) -> String {
    let width = recipes.iter().map(|recipe| recipe.name.chars().count()).max().unwrap_or_default();
    let mut text = String::new();
    for recipe in recipes {
        let _ = writeln!(text, "{:width$}  {}", recipe.name, recipe.question());
        let taken: Vec<String> = recipe.parameters().iter().map(taken).collect();
        let _ = writeln!(text, "{:width$}  {}", "", taken.join("  "));
    }
    text.push_str(
        "\nzktrail report NAME runs one; --since, --until, --cluster and --param NAME=VALUE set its parameters.\n\
         zktrail report NAME --show prints its SQL, with what each parameter means and what it is honest about.\n",
    );
    text
}

fn taken(declared: &crate::query::parameters::Declaration) -> String {
    match declared.default.as_deref() {
        None => format!("{}=(required)", declared.name),
        Some("") => format!("{}=(all)", declared.name),
        Some(default) => format!("{}={default}", declared.name),
    }
}

fn json(recipes: &[Recipe]) -> String {
    let recipes: Vec<serde_json::Value> = recipes
        .iter()
        .map(|recipe| {
            let parameters: Vec<serde_json::Value> = recipe
                .parameters()
                .into_iter()
                .map(|declared| {
                    serde_json::json!({
                        "name": declared.name,
                        "type": declared.takes.as_str(),
                        "default": declared.default,
                        "meaning": declared.meaning,
                    })
                })
                .collect();
            serde_json::json!({ "name": recipe.name, "question": recipe.question(), "parameters": parameters })
        })
        .collect();
    format!("{}\n", serde_json::Value::Array(recipes))
}

fn csv(recipes: &[Recipe]) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let mut text = "name,question,parameters\r\n".to_owned();
    for recipe in recipes {
        let taken: Vec<String> = recipe.parameters().iter().map(taken).collect();
        let _ = write!(text, "{},{},{}\r\n", quoted(&recipe.name), quoted(recipe.question()), quoted(&taken.join(" ")));
    }
    text
}
