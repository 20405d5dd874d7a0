use std::path::PathBuf;

use anyhow::Context;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Config, Editor};

use super::Format;
use super::complete::Line;
use super::door::Door;
use super::output::{Output, Target};
use super::statements;

const HELP: &str = "\
End a statement with a semicolon; Tab completes.
  \\d [TABLE]   the tables, or a table's columns
  \\dt          the tables
  \\timing      tell how long each statement took, or stop telling
  \\q           quit (also Ctrl-D)
Functions: parent(path), name(path), depth(path), prefix(path, n), data_text(data), decode(path, data), hex(id)
Time travel: SELECT * FROM znodes_at('2026-11-20T09:30:00Z'); SELECT * FROM tree_diff('2026-11-20', now());";

/// Lines that are remembered.
const HISTORY_LINES_MAX: usize = 10_000;

/// A conversation, until the end of input.
pub(super) fn run(door: &Door, format: Format) -> anyhow::Result<()> {
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .max_history_size(HISTORY_LINES_MAX)
        .context("the line editor")?
        .auto_add_history(true)
        .build();
    let mut editor: Editor<Line, FileHistory> = Editor::with_config(config).context("the line editor")?;
    editor.set_helper(Some(Line::new(door)));
    let history = history_file();
    if let Some(history) = &history {
        // A first conversation has no past.
        let _ = editor.load_history(history);
    }
    eprintln!("zktrail {}, asking {}. \\? helps, \\q quits.", env!("CARGO_PKG_VERSION"), door.describe());
    let mut conversation = Conversation { door, format, timing: false };
    loop {
        match editor.readline("zktrail> ") {
            Ok(line) => {
                if !conversation.take(&line) {
                    break;
                }
            }
            // Ctrl-C leaves the line, Ctrl-D the conversation.
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(error).context("cannot read from the terminal"),
        }
    }
    if let Some(history) = &history
        && let Err(error) = editor.save_history(history)
    {
        eprintln!("zktrail: the lines are not remembered: {}: {error}", history.display());
    }
    Ok(())
}

struct Conversation<'a> {
    door: &'a Door,
    format: Format,
    timing: bool,
}

impl Conversation<'_> {
    /// `false` ends the conversation.
    fn take(&mut self, line: &str) -> bool {
        let line = line.trim();
        if let Some(command) = line.strip_prefix('\\') {
            return self.command(command.trim_end_matches(';'));
        }
        for statement in statements::split(line) {
            self.ask(statement);
        }
        true
    }

    fn command(&mut self, command: &str) -> bool {
        let (name, argument) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
        match (name, argument.trim()) {
            ("q", _) => return false,
            ("d" | "dt", "") => self.ask(
                "SELECT table_name AS \"table\" FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1",
            ),
            ("d", table) => self.ask(&format!("DESCRIBE {table}")),
            ("timing", _) => {
                self.timing = !self.timing;
                eprintln!("timing is {}", if self.timing { "on" } else { "off" });
            }
            ("?", _) => eprintln!("{HELP}"),
            (other, _) => eprintln!("\\{other} is unknown; \\? lists the commands"),
        }
        true
    }

    /// An error ends the statement, not the conversation.
    fn ask(&self, statement: &str) {
        match Output::new(Target::Stdout, self.format).answer(self.door, statement) {
            Ok(answered) if self.timing => {
                eprintln!("{} rows, {:.3} s", answered.rows, answered.took.as_secs_f64());
            }
            Ok(_) => {}
            Err(error) => eprintln!("error: {error:#}"),
        }
    }
}

/// `$XDG_STATE_HOME/zktrail/sql_history`, by default under `~/.local/state`; its folder is made if need be.
fn history_file() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let state = state.or_else(|| std::env::home_dir().map(|home| home.join(".local/state")))?;
    let folder = state.join("zktrail");
    std::fs::create_dir_all(&folder).ok()?;
    Some(folder.join("sql_history"))
}
