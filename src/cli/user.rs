//! `zktrail user`: the list of those who may ask.

use std::io::{IsTerminal, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Subcommand, ValueEnum};

use crate::config::{ByteSize, Config, Count, Environment, HumanDuration};
use crate::serve::users::{Role, User, UserName, Verifier, edit};

/// List who may ask an agent. Where users are listed every door wants a name and a password: HTTP (Basic) and
/// PostgreSQL (SCRAM-SHA-256). The file holds verifiers, never passwords.
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    after_help = "\
The file is --users-file, else the configuration's users_file, else users.toml in the history's folder. A running agent
reads it again on SIGHUP. Roles:
  read          everything but what znodes hold and who may read them: data, data_hash, data_length, acl are null
  read-values   everything

  zktrail user add grafana --role read --time 30s --concurrent 4
  zktrail user add ann --role read-values --password-stdin < password.txt"
)]
pub struct UserArgs {
    #[command(subcommand)]
    action: Action,

    /// The file that lists the users
    #[arg(long, value_name = "FILE", env = "ZKTRAIL_USERS_FILE", global = true)]
    users_file: Option<PathBuf>,

    /// The history's folder, whose users.toml it is
    #[arg(long, value_name = "DIR", global = true, conflicts_with = "users_file")]
    data_dir: Option<PathBuf>,

    /// The agent's config file
    #[arg(long, value_name = "FILE", env = "ZKTRAIL_CONFIG", global = true)]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List a user
    Add(AddArgs),
    /// Give a user another password
    Password(PasswordArgs),
    /// Show the users, their roles and limits
    List(ListArgs),
    /// Take a user off the list
    Remove(RemoveArgs),
}

#[derive(Debug, Args)]
struct AddArgs {
    /// Letters, digits, _ - . @
    name: UserName,

    /// read: metadata alone; read-values: also what znodes hold
    #[arg(long, value_name = "ROLE")]
    role: Role,

    /// The most that the user's queries together hold in memory, for example 256MiB
    #[arg(long, value_name = "SIZE")]
    memory: Option<ByteSize>,

    /// The longest that a query of the user takes, for example 30s
    #[arg(long, value_name = "DURATION")]
    time: Option<HumanDuration>,

    /// The most rows of an answer
    #[arg(long, value_name = "COUNT")]
    rows: Option<Count>,

    /// The most queries of the user that run at once, on all doors together
    #[arg(long, value_name = "COUNT")]
    concurrent: Option<Count>,

    #[command(flatten)]
    source: PasswordSource,
}

#[derive(Debug, Args)]
struct PasswordArgs {
    /// A listed user
    name: UserName,

    #[command(flatten)]
    source: PasswordSource,
}

#[derive(Debug, Args)]
struct RemoveArgs {
    /// A listed user
    name: UserName,
}

#[derive(Debug, Args)]
struct ListArgs {
    /// The form of the list
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
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

#[derive(Debug, Args)]
struct PasswordSource {
    /// Read the password from stdin, its first line, instead of asking for it
    #[arg(long)]
    password_stdin: bool,
}

/// Runs to the exit code.
pub(super) fn run(args: UserArgs) -> anyhow::Result<ExitCode> {
    let path = match args.users_file {
        Some(path) => path,
        None => Config::users_file(args.config.as_deref(), args.data_dir.as_deref(), &Environment::of_process())?,
    };
    let told = match args.action {
        Action::List(list) => {
            print!("{}", listed(&edit::list(&path)?, list.format, &path));
            return Ok(ExitCode::SUCCESS);
        }
        Action::Add(add) => {
            // Before a password is asked for that would be of no use.
            if edit::is_listed(&path, &add.name)? {
                bail!("{} lists {} already: zktrail user password {1}", path.display(), add.name.as_str());
            }
            let verifier = Verifier::of_new(&add.source.read(&add.name)?)?;
            make_folder(&path)?;
            edit::add(&path, &add.name, add.role, &verifier, &add.limits())?;
            format!("{} may ask, with the role {}", add.name.as_str(), add.role.as_str())
        }
        Action::Password(password) => {
            if !edit::is_listed(&path, &password.name)? {
                bail!("{} does not list {}: zktrail user list", path.display(), password.name.as_str());
            }
            edit::set_verifier(&path, &password.name, &Verifier::of_new(&password.source.read(&password.name)?)?)?;
            format!("{} has another password", password.name.as_str())
        }
        Action::Remove(remove) => {
            edit::remove(&path, &remove.name)?;
            format!("{} may not ask any more", remove.name.as_str())
        }
    };
    println!(
        "{told} ({}). A running agent reads this on SIGHUP; without a list it has to be started anew where a \
              door is off loopback.",
        path.display()
    );
    Ok(ExitCode::SUCCESS)
}

impl AddArgs {
    fn limits(&self) -> Vec<(&'static str, String)> {
        let limits = [
            ("memory", self.memory.map(|size| size.to_string())),
            ("time", self.time.map(|time| time.to_string())),
            ("rows", self.rows.map(|count| count.to_string())),
            ("concurrent", self.concurrent.map(|count| count.to_string())),
        ];
        limits.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }
}

impl PasswordSource {
    /// Never from the command line, which every process of the machine can read.
    fn read(&self, name: &UserName) -> anyhow::Result<String> {
        if self.password_stdin {
            let mut text = String::new();
            std::io::stdin().take(PASSWORD_BYTES_READ).read_to_string(&mut text).context("the password on stdin")?;
            return Ok(text.lines().next().unwrap_or_default().to_owned());
        }
        if !std::io::stdin().is_terminal() {
            bail!("there is no terminal to ask for the password on: give it on stdin, with --password-stdin");
        }
        let ask = |prompt: String| rpassword::prompt_password(prompt).context("cannot ask for the password");
        let password = ask(format!("Password of {}: ", name.as_str()))?;
        if ask("Once more: ".to_owned())? != password {
            bail!("the two are not the same; nothing was changed");
        }
        Ok(password)
    }
}

/// Beyond what any password may have.
const PASSWORD_BYTES_READ: u64 = 4_096;

/// The first user may be listed before the first agent has run.
fn make_folder(path: &Path) -> anyhow::Result<()> {
    match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(parent)
            .with_context(|| format!("cannot make the folder {}", parent.display())),
        None => Ok(()),
    }
}

const COLUMNS: [&str; 6] = ["name", "role", "memory", "time", "rows", "concurrent"];

fn row(name: &str, user: &User) -> [Option<String>; 6] {
    let limits = &user.limits;
    [
        Some(name.to_owned()),
        Some(user.role.as_str().to_owned()),
        limits.memory_bytes_max.map(|bytes| ByteSize(bytes as u64).to_string()),
        limits.time_max.map(|time| HumanDuration(time).to_string()),
        limits.rows_max.map(|rows| rows.to_string()),
        limits.concurrent_max.map(|count| count.to_string()),
    ]
}

fn listed(users: &std::collections::BTreeMap<String, User>, format: Format, path: &Path) -> String {
    let rows: Vec<[Option<String>; 6]> = users.iter().map(|(name, user)| row(name, user)).collect();
    match format {
        Format::Json => {
            let object = |row: &[Option<String>; 6]| -> serde_json::Value {
                COLUMNS
                    .iter()
                    .map(|name| (*name).to_owned())
                    .zip(row.iter().cloned().map(Into::into))
                    .collect::<serde_json::Map<_, _>>()
                    .into()
            };
            format!("{:#}\n", rows.iter().map(object).collect::<serde_json::Value>())
        }
        Format::Csv => {
            // Neither a name nor a limit has anything that would have to be quoted.
            let line = |row: &[Option<String>; 6]| {
                row.iter().map(|cell| cell.clone().unwrap_or_default()).collect::<Vec<_>>().join(",")
            };
            let lines: Vec<String> = std::iter::once(COLUMNS.join(",")).chain(rows.iter().map(line)).collect();
            lines.join("\n") + "\n"
        }
        Format::Table if rows.is_empty() => {
            format!("nobody is listed in {}: on loopback any name enters without a password\n", path.display())
        }
        Format::Table => {
            let mut table: Vec<[String; 6]> = vec![COLUMNS.map(str::to_owned)];
            table.extend(rows.into_iter().map(|row| row.map(|cell| cell.unwrap_or_else(|| "-".to_owned()))));
            let width =
                |column: usize| table.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0);
            let widths: Vec<usize> = (0..COLUMNS.len()).map(width).collect();
            let line = |row: &[String; 6]| {
                let cells: Vec<String> =
                    row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
                cells.join("  ").trim_end().to_owned() + "\n"
            };
            table.iter().map(line).collect()
        }
    }
}
