//! The runbook in grafana/README.md: each alert has an entry, and every question there has an answer.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context as _, Result, ensure};

use crate::agent::Agent;
use crate::prometheus_server::grafana;

/// One entry: its heading, and what stands below it.
fn entries() -> Result<Vec<(String, String)>> {
    let page = fs::read_to_string(grafana("README.md"))?;
    let (_, runbook) = page.split_once("\n# Runbook\n").context("a runbook")?;
    let entries = runbook.split("\n## ").skip(1).filter_map(|entry| entry.split_once('\n'));
    Ok(entries.map(|(heading, text)| (heading.trim().to_owned(), text.to_owned())).collect())
}

/// As pages link to headings.
fn anchor(heading: &str) -> String {
    let letters = heading.to_lowercase().replace(' ', "-");
    letters.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
}

/// The statements of an entry.
fn questions(text: &str) -> Vec<&str> {
    let blocks = text.split("```sql\n").skip(1).filter_map(|rest| rest.split("```").next());
    let statements = blocks.flat_map(|block| block.split(";\n"));
    statements.map(str::trim).filter(|statement| !statement.is_empty()).collect()
}

/// Each statement of the runbook, as an operator would ask it.
pub async fn every_question_has_an_answer(agent: &Agent) -> Result<()> {
    for (heading, text) in entries()? {
        for question in questions(&text) {
            agent.sql(question).await.with_context(|| format!("{heading}: {question}"))?;
        }
    }
    Ok(())
}

/// The value of a key, where a line has it.
fn value<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.trim_start().trim_start_matches("- ").strip_prefix(key)?.strip_prefix(": ").map(str::trim)
}

#[test]
fn each_alert_has_all_that_is_asked_of_it_and_an_entry() -> Result<()> {
    const PAGES: [&str; 4] = ["ZktrailAgentBlind", "ZktrailDiskFloor", "ZktrailNoLeaderSeen", "ZookeeperQuorumAtRisk"];
    let entries = entries()?;
    let text = fs::read_to_string(grafana("alerts.yml"))?;
    let mut pages = BTreeSet::new();
    let mut linked = BTreeSet::new();
    for rule in text.split("- alert: ").skip(1) {
        let name = rule.lines().next().unwrap_or_default();
        let find = |key: &str| rule.lines().find_map(|line| value(line, key)).with_context(|| format!("{name}: {key}"));
        for key in ["expr", "for", "summary", "description"] {
            find(key)?;
        }
        let severity = find("severity")?;
        ensure!(matches!(severity, "critical" | "warning" | "info"), "{name}: {severity}");
        if severity == "critical" {
            pages.insert(name);
        }
        let (page, place) = find("runbook_url")?.split_once('#').context("a place on a page")?;
        ensure!(page == "grafana/README.md", "{name}: {page}");
        let entry = entries.iter().find(|(heading, _)| anchor(heading) == place);
        let (_, entry) = entry.with_context(|| format!("{name}: there is no entry {place}"))?;
        ensure!(
            entry.contains(&format!("`{name}`, {severity}")),
            "the entry {place} must begin with `{name}`, {severity}"
        );
        ensure!(!questions(entry).is_empty(), "{name}: nothing to ask next");
        linked.insert(place.to_owned());
    }
    ensure!(pages == BTreeSet::from(PAGES), "{pages:?} wake somebody");
    let unlinked: Vec<_> = entries.iter().filter(|(heading, _)| !linked.contains(&anchor(heading))).collect();
    ensure!(unlinked.is_empty(), "entries of no alert: {unlinked:?}");
    Ok(())
}

#[test]
fn links_within_the_page_lead_somewhere() -> Result<()> {
    let page = fs::read_to_string(grafana("README.md"))?;
    let anchors: BTreeSet<String> = page
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| anchor(line.trim_start_matches('#').trim_start()))
        .collect();
    for link in page.split("](#").skip(1).filter_map(|rest| rest.split(')').next()) {
        ensure!(anchors.contains(link), "#{link} is no heading");
    }
    Ok(())
}
