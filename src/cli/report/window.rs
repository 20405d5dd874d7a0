use anyhow::{anyhow, bail};
use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;

use crate::cli::sql::door::Door;
use crate::query::Parameters;
use crate::query::parameters::Value;
use crate::query::when::{self, length, readable};
use crate::zk::Micros;

const SQL: &str = include_str!("gaps_in_window.sql");
const CLUSTERS: &str = "SELECT count(DISTINCT cluster) FROM coverage";
const INCARNATIONS: &str = "SELECT count(DISTINCT incarnation) FROM coverage WHERE $cluster IN ('', cluster)";

/// What was not seen in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Unseen {
    gaps: i64,
    open: i64,
    longest_micros: i64,
    /// `None` where nothing was ever observed.
    began: Option<Micros>,
    since: Micros,
}

/// A zxid belongs to one ensemble, and to one incarnation of it.
pub(super) fn check_zxid(door: &Door, parameters: &Parameters) -> anyhow::Result<()> {
    let has_zxid = ["since", "until"].iter().any(|name| text(parameters, name).starts_with("0x"));
    if !has_zxid {
        return Ok(());
    }
    let cluster = text(parameters, "cluster");
    if cluster.is_empty() {
        let clusters = one_row(door, CLUSTERS, &Parameters::new())?;
        let several = number(&clusters, 0)?.unwrap_or_default();
        if several > 1 {
            bail!("a zxid belongs to one ensemble, and this history has {several}: name it with --cluster");
        }
    }
    let incarnations = one_row(door, INCARNATIONS, &Parameters::from([("cluster".to_owned(), Value::Text(cluster))]))?;
    let several = number(&incarnations, 0)?.unwrap_or_default();
    if several > 1 {
        bail!("the ensemble was rebuilt, its zxids began anew ({several} incarnations): give a time instead of a zxid");
    }
    Ok(())
}

/// One line on the window's gaps; `None` where the report has no window.
pub(super) fn gaps(door: &Door, parameters: &Parameters) -> anyhow::Result<Option<String>> {
    let (since, until) = (text(parameters, "since"), text(parameters, "until"));
    if since.is_empty() || until.is_empty() {
        return Ok(None);
    }
    let window = parameters.iter().filter(|(name, _)| ["since", "until", "cluster"].contains(&name.as_str()));
    let window: Parameters = window.map(|(name, value)| (name.clone(), value.clone())).collect();
    let row = one_row(door, SQL, &window)?;
    let unseen = Unseen {
        gaps: number(&row, 0)?.unwrap_or_default(),
        open: number(&row, 1)?.unwrap_or_default(),
        longest_micros: number(&row, 2)?.unwrap_or_default(),
        began: number(&row, 3)?.map(Micros),
        since: Micros(number(&row, 5)?.unwrap_or_default()),
    };
    let cluster = text(parameters, "cluster");
    let scope = if cluster.is_empty() { String::new() } else { format!(" --cluster {cluster}") };
    let again = format!("zktrail report gaps --since {} --until {}{scope}", brief(&since), brief(&until));
    Ok(Some(format!("Window {} to {}: {}", shown(&since), shown(&until), said(&unseen, &again))))
}

fn said(unseen: &Unseen, again: &str) -> String {
    let Some(began) = unseen.began else { return "nothing was ever observed.".to_owned() };
    let before = match began > unseen.since && unseen.since > Micros(0) {
        true => format!("recording began at {} only; ", readable(began)),
        false => String::new(),
    };
    let longest = length(unseen.longest_micros);
    let gaps = match (unseen.gaps, unseen.open) {
        (0, _) if before.is_empty() => return "no gap in what was observed.".to_owned(),
        (0, _) => "no gap since then".to_owned(),
        (1, 0) => format!("1 gap, {longest}"),
        (1, _) => format!("1 gap, not over, {longest} so far"),
        (gaps, 0) => format!("{gaps} gaps, the longest {longest}"),
        (gaps, open) => format!("{gaps} gaps, {open} of them not over, the longest {longest}"),
    };
    format!("{before}{gaps}. What happened then is not in the answer, or not exactly: {again}")
}

/// A moment for a command line: parts of a second are nobody's business there.
fn brief(bound: &str) -> String {
    match when::parse(bound, Micros(0)) {
        Ok(when::Bound::Time(time)) => format!("{}Z", readable(time).replace(' ', "T")),
        _ => bound.to_owned(),
    }
}

/// A moment as the window's ends are told.
fn shown(bound: &str) -> String {
    match when::parse(bound, Micros(0)) {
        Ok(when::Bound::Time(time)) => format!("{} UTC", readable(time)),
        _ => bound.to_owned(),
    }
}

fn text(parameters: &Parameters, name: &str) -> String {
    parameters.get(name).map(Value::to_string).unwrap_or_default()
}

fn one_row(door: &Door, sql: &str, parameters: &Parameters) -> anyhow::Result<RecordBatch> {
    for batch in door.ask_with(sql, parameters)? {
        let batch = batch?;
        if batch.num_rows() > 0 {
            return Ok(batch);
        }
    }
    Err(anyhow!("the question about gaps has no answer"))
}

fn number(row: &RecordBatch, at: usize) -> anyhow::Result<Option<i64>> {
    let column = row.columns().get(at).and_then(|column| column.as_primitive_opt::<Int64Type>());
    let column = column.ok_or_else(|| anyhow!("the answer about gaps has no number in column {at}"))?;
    Ok(column.is_valid(0).then(|| column.value(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_seen_is_said() {
        let whole = Unseen { gaps: 0, open: 0, longest_micros: 0, began: Some(Micros(5)), since: Micros(6) };
        assert_eq!(said(&whole, "again"), "no gap in what was observed.");
        let two = Unseen { gaps: 2, open: 1, longest_micros: 91_000_000, ..whole };
        assert!(said(&two, "again").starts_with("2 gaps, 1 of them not over, the longest 1m 31s. What happened then"));
        let late = Unseen { since: Micros(1), ..whole };
        assert!(said(&late, "again").starts_with("recording began at 1970-01-01 00:00:00 only; no gap since then."));
        assert_eq!(said(&Unseen { began: None, ..whole }, "again"), "nothing was ever observed.");
    }
}
