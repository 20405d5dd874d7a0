//! `zktrail report`: the shipped questions, and an operator's own, by name.

mod folder;
mod list;
mod window;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use datafusion::common::utils::datafusion_strsim::levenshtein;

use super::sql::Format as SqlFormat;
use super::sql::door::DoorArgs;
use super::sql::interrupt::{self, Cancelled};
use super::sql::output::{self, Output, Target};
use super::when;
use crate::query::Parameters;
use crate::query::library::{self, Recipe};
use crate::query::parameters::{Type, Value};
use crate::zk::Micros;

/// Answer a question that operators ask, by its name. Without a name: list them. Each is a file of plain SQL (--show)
/// with parameters; --queries adds a folder of your own.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  zktrail report                                       what there is
  zktrail report flapping --since 24h
  zktrail report config-changes --since 03:00 --until 03:30 --param under=/app
  zktrail report deleted --since 0x1000002a3 --format json
  zktrail report --show flapping > my-queries/flapping-brokers.sql
  zktrail report flapping-brokers --queries my-queries

The answer goes to stdout; how long nobody was looking in its window goes to stderr.")]
pub struct ReportArgs {
    /// The report's name; without it all are listed
    name: Option<String>,

    #[arg(long, value_name = "WHEN", help = format!("From here on: {}", when::HELP))]
    since: Option<String>,

    /// Up to here, as for --since
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,

    /// Only this ensemble
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,

    /// A parameter of the report; may be repeated
    #[arg(long, short, value_name = "NAME=VALUE", value_parser = pair)]
    param: Vec<(String, String)>,

    /// The form of the answer
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,

    /// Print the report's SQL instead of running it
    #[arg(long, requires = "name", conflicts_with_all = ["since", "until", "cluster", "param"])]
    show: bool,

    /// A folder of further *.sql files; one named like a shipped report takes its place
    #[arg(long, value_name = "DIR")]
    queries: Option<PathBuf>,

    #[command(flatten)]
    door: DoorArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Aligned, for people
    Table,
    /// One array of objects
    Json,
    /// With a header
    Csv,
}

impl From<Format> for SqlFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Table => Self::Table,
            Format::Json => Self::Json,
            Format::Csv => Self::Csv,
        }
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.trim_start_matches('$').to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE, as in limit=20".to_owned()),
    }
}

/// Runs to the exit code: 0 answered, 1 it failed, 2 the command line is wrong, 130 Ctrl-C.
pub fn run(args: ReportArgs) -> anyhow::Result<ExitCode> {
    let mut recipes: Vec<Recipe> = library::shipped().collect();
    if let Some(dir) = &args.queries {
        folder::add(dir, &mut recipes)?;
    }
    let Some(name) = &args.name else {
        let format = args.format;
        return list::print(&recipes, format.into());
    };
    let Some(recipe) = recipes.iter().find(|recipe| recipe.name == *name) else {
        eprintln!("zktrail: {}", unknown(name, &recipes));
        return Ok(ExitCode::from(2));
    };
    if args.show {
        return output::print(recipe.sql.as_bytes());
    }
    let parameters = match parameters(recipe, &args, Micros::now()) {
        Ok(parameters) => parameters,
        Err(error) => {
            eprintln!("zktrail: report {name}: {error:#}");
            return Ok(ExitCode::from(2));
        }
    };
    let door = args.door.find()?;
    door.interrupt().listen().context("cannot listen for Ctrl-C")?;
    if let Err(error) = window::check_zxid(&door, &parameters) {
        eprintln!("zktrail: report {name}: {error:#}");
        return Ok(ExitCode::from(2));
    }
    let mut output = Output::new(Target::Stdout, args.format.into());
    match output.answer_with(&door, &recipe.sql, &parameters) {
        Ok(_) => {}
        Err(error) if output::is_broken_pipe(&error) => return Ok(ExitCode::SUCCESS),
        Err(error) if error.is::<Cancelled>() => {
            eprintln!("zktrail: cancelled");
            return Ok(ExitCode::from(interrupt::EXIT_CODE));
        }
        Err(error) => return Err(error.context(format!("report {name}"))),
    }
    output.close()?;
    if let Some(said) = window::gaps(&door, &parameters).with_context(|| format!("report {name}: its gaps"))? {
        eprintln!("{said}");
    }
    Ok(ExitCode::SUCCESS)
}

fn unknown(name: &str, recipes: &[Recipe]) -> String {
    let near = recipes.iter().min_by_key(|recipe| levenshtein(&recipe.name, name));
    let is_near = |recipe: &&Recipe| {
        levenshtein(&recipe.name, name) <= name.chars().count().div_ceil(3)
            || (name.len() > 2 && recipe.name.contains(name))
    };
    let contained = || recipes.iter().find(|recipe| name.len() > 2 && recipe.name.contains(name));
    match near.filter(is_near).or_else(contained) {
        Some(near) => format!("there is no report '{name}': did you mean '{}'? `zktrail report` lists them", near.name),
        None => {
            let names: Vec<&str> = recipes.iter().map(|recipe| recipe.name.as_ref()).collect();
            format!("there is no report '{name}': there are {}", names.join(", "))
        }
    }
}

/// What the command line gives the report's parameters. Moments are settled here, once, so that the report and what is
/// said of its gaps are about the same window; those that were not given are settled to their defaults.
fn parameters(recipe: &Recipe, args: &ReportArgs, now: Micros) -> anyhow::Result<Parameters> {
    let declared = recipe.parameters();
    let flags = [("since", &args.since), ("until", &args.until), ("cluster", &args.cluster)];
    let flags = flags.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?)));
    let mut parameters = Parameters::new();
    for (name, value) in flags.chain(args.param.iter().cloned()) {
        if !declared.iter().any(|declared| declared.name == name) {
            let names: Vec<&str> = declared.iter().map(|declared| declared.name.as_str()).collect();
            bail!("it has no parameter {name}; it has {}", names.join(", "));
        }
        if parameters.insert(name.clone(), Value::Text(value)).is_some() {
            bail!("the parameter {name} was given twice");
        }
    }
    for declared in &declared {
        let given = parameters.get(&declared.name).map(Value::to_string).or_else(|| declared.default.clone());
        let Some(given) = given else {
            bail!("it needs {name}: --param {name}=… ({})", declared.meaning, name = declared.name);
        };
        if matches!(declared.takes, Type::From | Type::To) {
            let bound = when::parse(&given, now).with_context(|| format!("the parameter {}", declared.name))?;
            parameters.insert(declared.name.clone(), Value::Text(bound.to_string()));
        }
    }
    Ok(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(since: Option<&str>, param: &[(&str, &str)]) -> ReportArgs {
        ReportArgs {
            name: None,
            since: since.map(str::to_owned),
            until: None,
            cluster: None,
            param: param.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            format: Format::Table,
            show: false,
            queries: None,
            door: DoorArgs::default(),
        }
    }

    fn recipe(name: &str) -> Recipe {
        library::shipped().find(|recipe| recipe.name == name).unwrap()
    }

    /// 2026-11-20T12:30:00Z.
    const NOW: Micros = Micros(1_795_177_800_000_000);

    #[test]
    fn moments_are_settled_once() {
        let settled = parameters(&recipe("flapping"), &args(Some("2h"), &[("limit", "5")]), NOW).unwrap();
        let expected =
            [("limit", "5"), ("since", "2026-11-20T10:30:00.000000Z"), ("until", "2026-11-20T12:30:00.000000Z")];
        assert_eq!(settled, expected.map(|(name, value)| (name.to_owned(), value.into())).into());
        let by_zxid = parameters(&recipe("flapping"), &args(Some("0x2A"), &[]), NOW).unwrap();
        assert_eq!(by_zxid.get("since"), Some(&"0x2a".into()));
    }

    #[test]
    fn errors_say_which_parameter_and_what_to_do() {
        for (name, args, words) in [
            ("biggest", args(Some("2h"), &[]), &["no parameter since", "it has cluster, under, depth, limit"][..]),
            ("path-life", args(None, &[]), &["it needs path: --param path=", "the znode"]),
            ("churn", args(Some("soon"), &[]), &["the parameter since", "'soon' is no moment"]),
            ("churn", args(Some("2h"), &[("since", "3h")]), &["since was given twice"]),
        ] {
            let error = format!("{:#}", parameters(&recipe(name), &args, NOW).unwrap_err());
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
        }
        let recipes: Vec<Recipe> = library::shipped().collect();
        for (name, near) in
            [("flaping", "flapping"), ("hottest", "hottest-paths"), ("undelete", "deleted"), ("gap", "gaps")]
        {
            assert!(unknown(name, &recipes).contains(&format!("did you mean '{near}'")), "{}", unknown(name, &recipes));
        }
        assert!(unknown("weather", &recipes).contains("there are authors, biggest"));
        assert!(pair("limit").is_err() && pair("=1").is_err());
        assert_eq!(pair("$path=/a=b"), Ok(("path".to_owned(), "/a=b".to_owned())));
    }
}
