use std::io::IsTerminal as _;

/// Whether standard output shows colour: on a terminal that can, where NO_COLOR is not set.
pub(super) fn on_stdout() -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    std::io::stdout().is_terminal() && !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}
