use std::path::PathBuf;

use anyhow::Context;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Config, Editor};

use super::Format;
use super::complete::Line;
use super::door::Door;
use super::interrupt::Cancelled;
use super::output::{Output, Target};
use super::statements::{self, Inside};

const HELP: &str = "\
End a statement with a semicolon; Tab completes.
  \\d [TABLE]   the tables, or a table's columns
  \\dt          the tables
  \\x           a column a line, or tables again
  \\timing      tell how long each statement took, or stop telling
  \\q           quit (also Ctrl-D, quit, exit)
Ctrl-C cancels the statement that runs, and leaves the one that is being written.
Functions: parent(path), name(path), depth(path), prefix(path, n), data_text(data), decode(path, data), hex(id)
Time travel: SELECT * FROM znodes_at('2026-11-20T09:30:00Z'); SELECT * FROM tree_diff(now() - INTERVAL '10 minutes', now());";

const TABLES: &str =
    "SELECT table_name AS \"table\" FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1";

/// Statements that are remembered.
const HISTORY_LINES_MAX: usize = 10_000;

/// A conversation, until the end of input.
pub(super) fn run(door: &Door, format: Format) -> anyhow::Result<()> {
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .max_history_size(HISTORY_LINES_MAX)
        .context("the line editor")?
        .build();
    let mut editor: Editor<Line, FileHistory> = Editor::with_config(config).context("the line editor")?;
    editor.set_helper(Some(Line::new(door)));
    let history = history_file();
    if let Some(history) = &history {
        // A first conversation has no past.
        let _ = editor.load_history(history);
    }
    eprintln!("zktrail {}, asking {}. \\? helps, \\q quits.", env!("CARGO_PKG_VERSION"), door.describe());
    door.interrupt().listen().context("cannot listen for Ctrl-C")?;
    let mut conversation = Conversation { door, format, timing: false, expanded: false, open: String::new() };
    // What is remembered: a statement as a whole, not its lines.
    let mut typed = String::new();
    loop {
        match editor.readline(conversation.prompt()) {
            Ok(line) => {
                typed.push_str(&line);
                let goes_on = conversation.take(&line);
                if conversation.open.is_empty() || !goes_on {
                    // Only a full disk keeps a line from being remembered, and then it is missed by nobody.
                    let _ = editor.add_history_entry(typed.trim());
                    typed.clear();
                } else {
                    typed.push('\n');
                }
                if !goes_on {
                    break;
                }
            }
            // Ctrl-C leaves the statement, Ctrl-D the conversation.
            Err(ReadlineError::Interrupted) => {
                typed.clear();
                conversation.open.clear();
            }
            Err(ReadlineError::Eof) => {
                if !conversation.open.is_empty() {
                    eprintln!("the statement without a semicolon was not run");
                }
                break;
            }
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
    expanded: bool,
    /// The statement whose semicolon has not come yet, with its line ends.
    open: String,
}

impl Conversation<'_> {
    /// Tells a new statement, one that goes on, and one that goes on inside a quote or a comment.
    fn prompt(&self) -> &'static str {
        match statements::inside(&self.open) {
            Some(Inside::Quote('"')) => "      \"> ",
            Some(Inside::Quote(_)) => "      '> ",
            Some(Inside::Comment) => "      *> ",
            None if self.open.is_empty() => "zktrail> ",
            None => "      -> ",
        }
    }

    /// Takes what was entered: a line, or several that were pasted or recalled. `false` ends the conversation.
    fn take(&mut self, entered: &str) -> bool {
        entered.lines().all(|line| self.take_line(line))
    }

    fn take_line(&mut self, line: &str) -> bool {
        let bare = line.trim().trim_end_matches(';').trim_end();
        let is_word = ["quit", "exit", "help"].iter().any(|word| word.eq_ignore_ascii_case(bare));
        if statements::inside(&self.open).is_some() {
            if is_word || bare.starts_with('\\') {
                eprintln!("this is inside a quote or a comment: close it, or leave the statement with Ctrl-C");
            }
        } else if let Some(command) = bare.strip_prefix('\\') {
            return self.command(command);
        } else if is_word && !self.open.is_empty() {
            eprintln!("a statement is open: end it with a semicolon, or leave it with Ctrl-C. \\? helps, \\q quits");
            return true;
        } else if is_word {
            return self.command(if bare.eq_ignore_ascii_case("help") { "?" } else { "q" });
        }
        let mut text = std::mem::take(&mut self.open);
        text.push_str(line);
        text.push('\n');
        let (complete, rest) = statements::split_open(&text);
        if statements::inside(rest).is_some() || !statements::is_blank(rest) {
            self.open = rest.trim_start().to_owned();
        }
        for statement in complete {
            if !self.ask(statement) {
                break;
            }
        }
        true
    }

    fn command(&mut self, command: &str) -> bool {
        let (name, argument) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
        match (name, argument.trim()) {
            ("q", _) => return false,
            ("d" | "dt", "") => {
                self.ask(TABLES);
            }
            ("d", table) => {
                self.ask(&format!("DESCRIBE {table}"));
            }
            ("x", _) => {
                self.expanded = !self.expanded;
                eprintln!("{}", if self.expanded { "a column a line" } else { "tables" });
            }
            ("timing", _) => {
                self.timing = !self.timing;
                eprintln!("timing is {}", if self.timing { "on" } else { "off" });
            }
            ("?", _) => eprintln!("{HELP}"),
            (other, _) => eprintln!("\\{other} is unknown; \\? lists the commands"),
        }
        true
    }

    /// An error ends the statement, not the conversation; `false` where it was cancelled.
    fn ask(&self, statement: &str) -> bool {
        self.door.interrupt().reset();
        let answered = Output::new(Target::Stdout, self.format).expanded(self.expanded).answer(self.door, statement);
        self.door.interrupt().reset();
        match answered {
            Ok(answered) if self.timing => {
                eprintln!("{} rows, {:.3} s", answered.rows, answered.took.as_secs_f64());
            }
            Ok(_) => {}
            Err(error) if error.is::<Cancelled>() => {
                eprintln!("cancelled");
                return false;
            }
            Err(error) => eprintln!("error: {error:#}"),
        }
        true
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::query::{Engine, Limits};

    fn door() -> Door {
        let engine = Engine::new(Arc::new(|| Ok(Vec::new())), Limits::default(), &std::env::temp_dir()).unwrap();
        Door::over(engine).unwrap()
    }

    fn conversation(door: &Door) -> Conversation<'_> {
        Conversation { door, format: Format::Json, timing: false, expanded: false, open: String::new() }
    }

    #[test]
    fn what_the_help_advertises_runs() {
        let door = door();
        let statements: Vec<&str> = HELP.split("SELECT ").skip(1).map(|rest| rest.split(';').next().unwrap()).collect();
        assert_eq!(statements.len(), 2);
        for statement in statements {
            assert!(door.ask(&format!("SELECT {statement}")).is_ok(), "{statement}");
        }
        assert!(door.ask(TABLES).is_ok());
    }

    #[test]
    fn a_statement_stays_open_until_its_semicolon() {
        let door = door();
        let mut conversation = conversation(&door);
        for (line, prompt, goes_on) in [
            ("SELECT", "      -> ", true),
            ("  'a quote", "      '> ", true),
            ("\\q", "      '> ", true),
            ("quit", "      '> ", true),
            ("' AS x", "      -> ", true),
            ("\\timing", "      -> ", true),
            ("\\x", "      -> ", true),
            ("quit", "      -> ", true),
            ("HELP;", "      -> ", true),
            ("; SELECT 1; /* and", "      *> ", true),
            ("*/", "zktrail> ", true),
            ("SELECT 1;\nSELECT 2", "      -> ", true),
            ("\\q", "      -> ", false),
        ] {
            assert_eq!(conversation.take(line), goes_on, "{line}");
            assert_eq!(conversation.prompt(), prompt, "{line}");
        }
        assert!(conversation.timing && conversation.expanded);
        assert_eq!(conversation.open, "SELECT 2\n");
        conversation.open.clear();
        for word in ["quit", "exit", "EXIT;", "\\q", "  \\q ;"] {
            assert!(!conversation.take(word), "{word}");
        }
        assert!(conversation.take("help") && conversation.take("\\?"));
    }
}
