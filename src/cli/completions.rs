use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Cli;

/// Prints a shell's completions of every command and flag.
#[derive(Debug, Args)]
#[command(after_help = "\
Where to put them:
  bash   zktrail completions bash > ~/.local/share/bash-completion/completions/zktrail
  zsh    zktrail completions zsh > \"${fpath[1]}/_zktrail\"
  fish   zktrail completions fish > ~/.config/fish/completions/zktrail.fish")]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(args: &CompletionsArgs) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "zktrail", &mut script);
    match std::io::stdout().write_all(&script) {
        // Whoever read us has had enough, as in `| head`.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error).context("cannot write"),
        _ => Ok(ExitCode::SUCCESS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_has_every_command() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::Elvish, Shell::PowerShell] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "zktrail", &mut script);
            let script = String::from_utf8(script).expect("text");
            for word in ["tail", "verify", "completions", "cursor-file"] {
                assert!(script.contains(word), "{shell}: {word}");
            }
        }
    }
}
