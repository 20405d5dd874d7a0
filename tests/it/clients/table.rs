//! The compatibility table as a page: made from a run, and compared with the one in the repository.

use std::fmt::Write as _;

use super::allowed::ALLOWED;
use super::features::{CLIENTS, ClientKind, FEATURES, GROUPS, REPLAYED};
use super::programs::{Outcome, Report};

const HEAD: &str = "\
# Clients of the PostgreSQL door

What each client gets when it connects to `zktrail agent --postgres`, as the test suite saw it: every cell is a check that
drives the client itself against an agent on a recorded history, and the same checks pass against a real PostgreSQL.
`yes` is that; `–` means that the client has no such thing; a number stands for what does not work, and why, below.

This page is written by the suite. To write it anew: `ZKTRAIL_WRITE_DOCS=1 cargo test --test it clients`.

";

/// The page. `reports` in the order of [`CLIENTS`] and then [`REPLAYED`].
pub fn page(reports: &[(&ClientKind, Report)]) -> String {
    let mut page = HEAD.to_owned();
    let find = |name: &str| reports.iter().find(|(client, _)| client.name == name).map(|(_, report)| report);
    page.push_str("| client | driven as | connects with |\n| --- | --- | --- |\n");
    for client in CLIENTS.iter().chain(&REPLAYED) {
        let versions: Vec<String> = find(client.name)
            .map(|report| report.versions.iter().map(|(package, version)| format!("{package} {version}")).collect())
            .unwrap_or_default();
        let _ = writeln!(page, "| {} | {} | `{}` |", client.title, versions.join(", "), client.connect);
    }
    for (group, title) in GROUPS {
        let features: Vec<_> = FEATURES.iter().filter(|(name, _)| name.split('.').next() == Some(group)).collect();
        let replayed: Vec<&ClientKind> = REPLAYED.iter().filter(|client| client.name == group).collect();
        let clients: Vec<&ClientKind> = if replayed.is_empty() { CLIENTS.iter().collect() } else { replayed };
        let _ = write!(page, "\n## {title}\n\n| |");
        for client in &clients {
            let _ = write!(page, " {} |", client.title);
        }
        let _ = write!(page, "\n| --- |{}\n", " --- |".repeat(clients.len()));
        for (feature, meaning) in features {
            let _ = write!(page, "| {} |", meaning.replace('|', "\\|"));
            for client in &clients {
                let outcome = find(client.name).and_then(|report| report.outcomes.get(*feature));
                let cell = match outcome {
                    Some((Outcome::Yes, _)) => "yes".to_owned(),
                    Some((Outcome::NotApplicable, _)) => "–".to_owned(),
                    _ => match reason(client.name, feature) {
                        Some(number) => format!("no ({number})"),
                        None => "no".to_owned(),
                    },
                };
                let _ = write!(page, " {cell} |");
            }
            page.push('\n');
        }
    }
    let reasons = reasons();
    if !reasons.is_empty() {
        page.push_str("\n## What does not work, and why\n\n");
        for (number, reason) in reasons.iter().enumerate() {
            let _ = writeln!(page, "{}. {reason}", number + 1);
        }
    }
    page
}

/// The reasons, each once, in the order in which they are written down.
fn reasons() -> Vec<&'static str> {
    let mut found: Vec<&'static str> = Vec::new();
    for known in ALLOWED {
        if !found.contains(&known.reason) {
            found.push(known.reason);
        }
    }
    found
}

fn reason(client: &str, feature: &str) -> Option<usize> {
    let known = ALLOWED.iter().find(|known| known.is_about(client, feature))?;
    reasons().iter().position(|reason| *reason == known.reason).map(|at| at + 1)
}
