//! `docs/functions.md`.

use std::collections::BTreeSet;

use super::{Group, Recorded, Verdict};

/// Words of SQL that are no functions in PostgreSQL's catalogue, and mean the same there.
const SYNTAX: [&str; 6] = ["coalesce", "nullif", "greatest", "least", "grouping", "row"];

/// Names of PostgreSQL's that are something else here by their nature: the last name of a path, and whose version it is.
const OTHERS: [&str; 2] = ["name", "version"];

pub fn write(groups: &[Group], recorded: &Recorded, verdicts: &[Verdict], ours: &[String]) -> String {
    let mut page = String::from(HEAD);
    let mut notes = String::new();
    let mut wider = String::new();
    let mut at = 0;
    page.push_str(
        "\n| functions | asked | same | refused by both | refused here |\n| --- | ---: | ---: | ---: | ---: |\n",
    );
    for group in groups {
        let end = at + group.expressions.len();
        let asked: Vec<_> = (at..end).filter_map(|at| Some((recorded.answers.get(at)?, verdicts.get(at)?))).collect();
        at = end;
        let count = |is: fn(&Verdict) -> bool| asked.iter().filter(|(_, verdict)| is(verdict)).count();
        page.push_str(&format!(
            "| {} | {} | {} | {} | {} |\n",
            cell(&group.name),
            asked.len(),
            count(|verdict| *verdict == Verdict::Same),
            count(|verdict| *verdict == Verdict::BothRefuse),
            count(|verdict| matches!(verdict, Verdict::Refused(_))),
        ));
        for (answer, verdict) in asked {
            match verdict {
                Verdict::Refused(error) => {
                    notes.push_str(&format!("| {} | {} |\n", code(&answer.expression), cell(error)));
                }
                Verdict::Wider(ours) => wider.push_str(&format!(
                    "| {} | {} | {} |\n",
                    code(&answer.expression),
                    code(ours),
                    cell(answer.error.as_deref().unwrap_or_default())
                )),
                _ => {}
            }
        }
    }
    page.push_str("\n## Refused here\n\nPostgreSQL answers these; zktrail says that it does not.\n\n| expression | error |\n| --- | --- |\n");
    page.push_str(&notes);
    page.push_str("\n## Refused by PostgreSQL alone\n\nzktrail answers these, where PostgreSQL does not.\n\n| expression | zktrail | PostgreSQL's error |\n| --- | --- | --- |\n");
    page.push_str(&wider);
    page.push_str("\n## Ours alone\n\nFunctions whose names PostgreSQL has not. Those of zktrail itself are explained in the README; the others are DataFusion's.\n\n");
    let known: BTreeSet<&str> = recorded.functions.iter().map(String::as_str).chain(SYNTAX).collect();
    let alone: Vec<String> = ours
        .iter()
        .filter(|name| !known.contains(name.as_str()) && !name.starts_with("zktrail_"))
        .map(|name| format!("`{name}`"))
        .collect();
    page.push_str(&alone.join(" "));
    page.push_str("\n\n`name(path)` is the last name of a path; PostgreSQL's function of that name is a cast that nobody needs. `version()` names zktrail.");
    page.push('\n');
    page
}

const HEAD: &str = "# Functions

What SQL's functions and operators mean here, held against PostgreSQL. This page is made by a test that asks one list of
expressions of both, as text; no answer may differ without an error. Numbers are compared to 14 digits.

- A `numeric` has at most 38 digits here, and each expression a fixed number of them behind the point: a literal its own, a
  quotient 16 to 20, `numeric` without a size 16. What would need more is an error. `avg` of whole numbers and the
  transcendental functions give `double precision`.
- A whole number without a cast is a `bigint`, so that a sum which passes 32 bits is answered; past 64 bits it is an error.
- Text is compared and sorted by code points, as in PostgreSQL under the collation `C.UTF-8`.
- Intervals compare as in PostgreSQL; sorted or aggregated by `min` and `max` they go by months, then days, then time.
- Times have years from 1 to 262142 and are never infinite.
- `sum` of whole numbers is a `numeric`, whatever their width.
- JSON is text. A value that was cast to `json` or `jsonb` is checked, and to `jsonb` also written in its normal form.
";

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

fn code(text: &str) -> String {
    let text = text.replace('\n', "⏎").replace('\t', "⇥");
    let fence = if text.contains('`') { "``" } else { "`" };
    format!("{fence}{}{fence}", text.replace('|', "\\|"))
}

/// Functions with a name of PostgreSQL's that no expression of the list calls.
pub fn unasked(recorded: &Recorded, expressions: &[String], ours: &[String]) -> Vec<String> {
    let theirs: BTreeSet<&str> = recorded.functions.iter().map(String::as_str).collect();
    let called = |name: &str| {
        expressions.iter().any(|expression| {
            expression.match_indices(name).any(|(at, _)| {
                let before = expression.get(..at).and_then(|before| before.chars().next_back());
                let after = expression.get(at + name.len()..).and_then(|after| after.chars().next());
                let is_word = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
                !is_word(before) && !is_word(after)
            })
        })
    };
    ours.iter()
        .filter(|name| theirs.contains(name.as_str()) && !OTHERS.contains(&name.as_str()) && !called(name))
        .cloned()
        .collect()
}
