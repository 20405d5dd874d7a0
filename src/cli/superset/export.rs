use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};

use super::bundle::Bundle;
use super::route::{ASKED_PASSWORD, Route};
use crate::config::Config;

/// Write the dashboard "ZooKeeper history" as a bundle that Superset imports
///
/// It holds a database connection, datasets, charts and the dashboard. Import it in Superset under Dashboards, or with
/// POST /api/v1/dashboard/import/. Once imported, that renews the dashboard alone; POST /api/v1/assets/import/ (form
/// field `bundle`) renews everything that a bundle of the same --name and --route had brought.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  zktrail superset export --route live --uri postgresql://reader@zktrail.example:5847/zktrail?sslmode=require \\
      --ask-password -o zktrail.zip
  zktrail superset export --route files --data-dir /srv/zktrail/history -o zktrail-files.zip

Routes:
  live    a running agent's PostgreSQL door: everything that is recorded, to the second. Superset needs psycopg2-binary.
  files   DuckDB, in Superset's own process, over the Parquet folder: what is younger than the agent's --flush-age is
          not there yet. Superset needs duckdb and duckdb-engine, and read access to the folder.")]
pub struct ExportArgs {
    /// How Superset reaches the history
    #[arg(long, value_enum)]
    route: RouteName,

    /// Route live: the agent's PostgreSQL door, as Superset reaches it, without a password
    #[arg(long, value_name = "URI", default_value = "postgresql://superset@127.0.0.1:5847/zktrail")]
    uri: String,

    /// Route live: let the import ask for the password
    ///
    /// In Superset a form does; over the API it is the form field `passwords`, {"databases/zktrail.yaml": "…"}.
    #[arg(long, conflicts_with = "password_file")]
    ask_password: bool,

    /// Route live: write the password, the first line of this file, into the bundle, as the command
    /// `superset import-dashboards` needs it. The bundle is then a secret itself
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,

    /// Route files: the history's folder, by the path that it has where Superset runs
    #[arg(long, value_name = "DIR", env = "ZKTRAIL_DATA_DIR", default_value = Config::DATA_DIR)]
    data_dir: PathBuf,

    /// Name of the database connection; several histories in one Superset need several names.
    /// [default: zktrail, or "zktrail files"]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// Where to write the bundle
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,

    /// Overwrite the file
    #[arg(long)]
    force: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum RouteName {
    Live,
    Files,
}

impl ExportArgs {
    fn bundle(&self) -> anyhow::Result<Bundle> {
        let (name, route) = match self.route {
            RouteName::Live => {
                let password = match (&self.password_file, self.ask_password) {
                    (Some(path), _) => Some(super::secret_file(path)?),
                    (None, true) => Some(ASKED_PASSWORD.to_owned()),
                    (None, false) => None,
                };
                ("zktrail", Route::live(&self.uri, password.as_deref())?)
            }
            RouteName::Files => {
                if self.ask_password || self.password_file.is_some() {
                    bail!("--route files has no password: it reads the folder");
                }
                let folder = std::path::absolute(&self.data_dir)
                    .with_context(|| format!("cannot resolve {}", self.data_dir.display()))?;
                let Some(folder) = folder.to_str() else {
                    bail!("{} is not UTF-8: Superset could not name it", folder.display());
                };
                ("zktrail files", Route::files(folder)?)
            }
        };
        let title = match (&self.name, self.route) {
            (Some(name), _) => format!("ZooKeeper history: {name}"),
            (None, RouteName::Live) => "ZooKeeper history".to_owned(),
            (None, RouteName::Files) => "ZooKeeper history (files)".to_owned(),
        };
        let name = self.name.clone().unwrap_or_else(|| name.to_owned());
        if name.trim().is_empty() || name.chars().any(char::is_control) {
            bail!("--name {name:?} names no connection");
        }
        Ok(Bundle { name, title, route })
    }
}

pub(super) fn run(args: &ExportArgs) -> anyhow::Result<ExitCode> {
    let bundle = args.bundle()?;
    write(&args.output, &bundle.zip()?, args.force)?;
    eprintln!("zktrail: {} holds the dashboard {:?}", args.output.display(), bundle.title);
    if let Route::Files { folder } = &bundle.route
        && !Path::new(folder).join("changes").is_dir()
    {
        eprintln!("zktrail: note: there is no {folder}/changes here; Superset must find it where it runs");
    }
    if args.password_file.is_some() {
        eprintln!("zktrail: note: the password is in it; whoever has the file has the password");
    } else if args.ask_password {
        eprintln!("zktrail: the import asks for the password");
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes a file that only its owner reads; what is there already stays unless `force`.
fn write(path: &Path, bytes: &[u8], force: bool) -> anyhow::Result<()> {
    let mut options = File::options();
    options.write(true).mode(0o600);
    if force {
        options.create(true).truncate(true)
    } else {
        options.create_new(true)
    };
    let written = options.open(path).and_then(|mut file| file.write_all(bytes));
    match written {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            bail!("{} exists: say --force to overwrite it, or choose another --output", path.display())
        }
        written => written.with_context(|| format!("cannot write {}", path.display())),
    }
}
