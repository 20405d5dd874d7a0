//! Reads what was recorded after a cursor, a bounded piece at a time, cluster by cluster in the order of seq.
//!
//! A piece is at most [`ROWS_MAX`] rows of a window of [`WINDOW_SEQS`]: parts are pruned by their range of seqs, so that
//! catching up from far behind costs a scan of a part or two a piece, not of the whole history.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::cursor::{Cursor, Place};
use super::event::{Event, Kind, Row, integer, micros, rfc3339, text};
use super::filter::{Filter, quote};
use super::since::Beginning;
use super::{Ask, ReadError};

const ROWS_MAX: usize = 500;
const WINDOW_SEQS: i64 = 10_000;
/// Gaps cost a reading of all coverage.
const GAPS_EVERY: Duration = Duration::from_secs(2);

/// What one round found.
pub struct Round {
    pub events: Vec<Event>,
    /// Whether there is more already.
    pub more: bool,
}

/// Reads on from a cursor.
pub struct Reader<'a> {
    history: &'a dyn Ask,
    filter: &'a Filter,
    /// Only these clusters; all where it is empty.
    only: &'a [String],
    /// Up to where everything was read.
    pub cursor: Cursor,
    clusters: BTreeSet<String>,
    /// The clusters whose history was seen to be the one that the cursor is of, since the agent was last away.
    proved: BTreeSet<String>,
    open_gaps: BTreeSet<(String, String, String)>,
    gaps_asked: Option<Instant>,
}

impl<'a> Reader<'a> {
    pub fn new(history: &'a dyn Ask, filter: &'a Filter, only: &'a [String], cursor: Cursor) -> Self {
        Self {
            history,
            filter,
            only,
            cursor,
            clusters: BTreeSet::new(),
            proved: BTreeSet::new(),
            open_gaps: BTreeSet::new(),
            gaps_asked: None,
        }
    }

    /// The time (µs since 1970) by the clock that times in the history are of.
    pub fn now(history: &dyn Ask) -> Result<i64, ReadError> {
        let rows = history.ask("SELECT now() AS now")?;
        let now = rows.first().and_then(|row| micros(text(row, "now")));
        now.ok_or_else(|| ReadError::Failed(format!("the history's clock cannot be read: {rows:?}")))
    }

    /// The time from which on a beginning's changes were observed. A zxid is of the one cluster that is asked for, in its
    /// last incarnation.
    pub fn beginning(history: &dyn Ask, beginning: Beginning, only: &[String]) -> Result<i64, ReadError> {
        let zxid = match beginning {
            Beginning::Observed(time) => return Ok(time),
            Beginning::Zxid(zxid) => zxid,
        };
        let cluster = match only {
            [cluster] => cluster.clone(),
            _ => {
                let clusters = history.ask("SELECT DISTINCT cluster FROM coverage LIMIT 2")?;
                if clusters.len() > 1 {
                    return Err(ReadError::Failed(
                        "a zxid belongs to one ensemble, and this history has several: name it with --cluster"
                            .to_string(),
                    ));
                }
                clusters.first().map(|row| text(row, "cluster").to_owned()).unwrap_or_default()
            }
        };
        let name = quote(&cluster);
        let rows = history.ask(&format!(
            "SELECT min(observed_at) AS first FROM changes WHERE cluster = {name} AND position >= {zxid} \
                 AND incarnation = (SELECT max(incarnation) FROM coverage WHERE cluster = {name})"
        ))?;
        match rows.first().and_then(|row| micros(text(row, "first"))) {
            Some(first) => Ok(first),
            // Nothing has come so far.
            None => Self::now(history),
        }
    }

    /// The agent was away: who answers now may be another, with another history.
    pub fn was_away(&mut self) {
        self.proved.clear();
        self.gaps_asked = None;
    }

    /// The clusters that were asked for and are not there yet.
    pub fn unknown(&self) -> Vec<&'a str> {
        self.only.iter().map(String::as_str).filter(|name| !self.clusters.contains(*name)).collect()
    }

    /// Reads the next piece. Where it fails nothing was read: the next round tries the same again.
    pub fn round(&mut self) -> Result<Round, ReadError> {
        let before = (self.cursor.clone(), self.open_gaps.clone());
        let result = self.try_round();
        if result.is_err() {
            (self.cursor, self.open_gaps) = before;
            self.gaps_asked = None;
        }
        result
    }

    fn try_round(&mut self) -> Result<Round, ReadError> {
        let ask_gaps = self.gaps_asked.is_none_or(|at| at.elapsed() >= GAPS_EVERY);
        if ask_gaps {
            self.find_clusters()?;
        }
        let mut streams = Vec::new();
        let mut more = false;
        let mut rescanned = false;
        for cluster in self.clusters.clone() {
            let mut events = Vec::new();
            if !self.proved.contains(&cluster) && !self.prove(&cluster, &mut events)? {
                continue;
            }
            more |= self.changes(&cluster, &mut events)?;
            // What a scan found lies behind a gap: the gap is told first.
            rescanned |= events.iter().any(|event| text(&event.row, "source") == "rescan");
            streams.push(events);
        }
        if ask_gaps || rescanned {
            streams.push(self.gaps()?);
            self.gaps_asked = Some(Instant::now());
        }
        Ok(Round { events: merge(streams), more })
    }

    fn find_clusters(&mut self) -> Result<(), ReadError> {
        for row in self.history.ask("SELECT DISTINCT cluster FROM coverage")? {
            let cluster = text(&row, "cluster");
            if self.only.is_empty() || self.only.iter().any(|only| only == cluster) {
                self.clusters.insert(cluster.to_owned());
            }
        }
        Ok(())
    }

    /// Finds out whether this cluster's history goes on where the cursor stands; false where nothing can be said yet.
    fn prove(&mut self, cluster: &str, events: &mut Vec<Event>) -> Result<bool, ReadError> {
        let name = quote(cluster);
        let Some(place) = self.cursor.places.get(cluster).copied() else {
            let seq = self.begin(&name)?;
            let place = Place { seq, observed_at: 0, gaps_to: self.cursor.since };
            self.cursor.places.insert(cluster.to_owned(), place);
            self.proved.insert(cluster.to_owned());
            return Ok(true);
        };
        let sql = format!("SELECT min(seq) AS first, max(seq) AS last FROM changes WHERE cluster = {name}");
        let bounds = self.history.ask(&sql)?;
        let bound = |column: &str| bounds.first().and_then(|row| integer(row, column));
        let (Some(first), Some(last)) = (bound("first"), bound("last")) else { return Ok(false) };
        let other = || {
            ReadError::OtherHistory(format!(
                "the cursor belongs to another history of {cluster:?}: change {} is not the one that it saw \
                 ({} holds changes {first} to {last}). Begin anew: without the cursor, with --since",
                place.seq,
                self.history.describe(),
            ))
        };
        if last < place.seq {
            return Err(other());
        }
        if place.observed_at != 0 {
            let sql = format!("SELECT observed_at FROM changes WHERE cluster = {name} AND seq = {}", place.seq);
            let rows = self.history.ask(&sql)?;
            let seen = rows.first().and_then(|row| micros(text(row, "observed_at")));
            if seen.is_some_and(|seen| seen != place.observed_at) {
                return Err(other());
            }
        }
        if place.seq > 0 && first > place.seq.saturating_add(1) {
            let to = first - 1;
            let mut row = Row::new();
            row.insert("cluster".into(), cluster.into());
            row.insert("kind".into(), "pruned".into());
            row.insert("from_seq".into(), (place.seq + 1).into());
            row.insert("to_seq".into(), to.into());
            let place = Place { seq: to, observed_at: 0, ..place };
            self.cursor.places.insert(cluster.to_owned(), place);
            events.push(Event { kind: Kind::Pruned, cluster: cluster.to_owned(), row, place, at: String::new() });
        }
        self.proved.insert(cluster.to_owned());
        Ok(true)
    }

    /// The last seq before what is to be read of a cluster that the cursor does not hold.
    fn begin(&self, name: &str) -> Result<i64, ReadError> {
        if self.cursor.since <= 0 {
            return Ok(0);
        }
        let since = quote(&rfc3339(self.cursor.since));
        // One statement, so that both are of one moment.
        let ends = format!(
            "SELECT min(seq) FILTER (WHERE observed_at >= to_timestamp({since})) AS first, max(seq) AS last \
             FROM changes WHERE cluster = {name}"
        );
        let rows = self.history.ask(&ends)?;
        let end = |column: &str| rows.first().and_then(|row| integer(row, column));
        Ok(end("first").map(|first| first.saturating_sub(1).max(0)).or_else(|| end("last")).unwrap_or(0))
    }

    /// The next changes of a cluster; tells whether there are more.
    fn changes(&mut self, cluster: &str, events: &mut Vec<Event>) -> Result<bool, ReadError> {
        let name = quote(cluster);
        let Some(mut place) = self.cursor.places.get(cluster).copied() else { return Ok(false) };
        let after = format!("FROM changes WHERE cluster = {name} AND seq > {}", place.seq);
        let bounds = self.history.ask(&format!("SELECT min(seq) AS first, max(seq) AS last {after}"))?;
        let bound = |column: &str| bounds.first().and_then(|row| integer(row, column));
        let (Some(first), Some(last)) = (bound("first"), bound("last")) else { return Ok(false) };
        let end = last.min(first.saturating_add(WINDOW_SEQS - 1));
        let rows = self
            .history
            .ask(&format!("SELECT * {after} AND seq <= {end}{} ORDER BY seq LIMIT {ROWS_MAX}", self.filter.sql()))?;
        let all = rows.len() < ROWS_MAX;
        let mut at = String::new();
        for row in rows {
            let Some(seq) = integer(&row, "seq") else { continue };
            let observed_at = text(&row, "observed_at");
            place = Place { seq, observed_at: micros(observed_at).unwrap_or_default(), ..place };
            // Between other clusters' rows, but never before an earlier one of its own.
            at = at.max(observed_at.to_owned());
            if self.filter.matches(text(&row, "path")) {
                events.push(Event { kind: Kind::Change, cluster: cluster.to_owned(), row, place, at: at.clone() });
            }
        }
        if all && place.seq < end {
            // The rest of the window does not pass the filter.
            let sql = format!("SELECT observed_at FROM changes WHERE cluster = {name} AND seq = {end}");
            let rows = self.history.ask(&sql)?;
            let observed_at = rows.first().and_then(|row| micros(text(row, "observed_at"))).unwrap_or_default();
            place = Place { seq: end, observed_at, ..place };
        }
        self.cursor.places.insert(cluster.to_owned(), place);
        Ok(place.seq < last)
    }

    /// The edges of gaps that were not told yet.
    fn gaps(&mut self) -> Result<Vec<Event>, ReadError> {
        let told: BTreeMap<String, i64> =
            self.cursor.places.iter().map(|(cluster, place)| (cluster.clone(), place.gaps_to)).collect();
        let Some(least) = told.values().min() else { return Ok(Vec::new()) };
        let rows = self.history.ask(&format!(
            "SELECT * FROM gaps WHERE to_time IS NULL OR to_time > to_timestamp({}) ORDER BY from_time, path",
            quote(&rfc3339((*least).max(0)))
        ))?;
        let mut edges = Vec::new();
        let mut open = BTreeSet::new();
        for row in rows {
            let cluster = text(&row, "cluster").to_owned();
            let Some(told) = told.get(&cluster).filter(|_| self.proved.contains(&cluster)) else { continue };
            let to = micros(text(&row, "to_time"));
            if to.is_some_and(|to| to <= *told) {
                continue;
            }
            let key = (cluster.clone(), text(&row, "path").to_owned(), text(&row, "from_time").to_owned());
            if !self.open_gaps.contains(&key) {
                edges.push((text(&row, "from_time").to_owned(), Kind::GapOpened, cluster.clone(), row.clone()));
            }
            if to.is_some() {
                edges.push((text(&row, "to_time").to_owned(), Kind::GapClosed, cluster, row));
            } else {
                open.insert(key);
            }
        }
        self.open_gaps = open;
        edges.sort_by(|(a, ..), (b, ..)| a.cmp(b));
        Ok(edges.into_iter().map(|(at, kind, cluster, row)| self.edge(at, kind, cluster, row)).collect())
    }

    fn edge(&mut self, at: String, kind: Kind, cluster: String, mut row: Row) -> Event {
        let place = self.cursor.places.entry(cluster.clone()).or_default();
        let name = if kind == Kind::GapOpened { "gap_opened" } else { "gap_closed" };
        if kind == Kind::GapClosed {
            place.gaps_to = place.gaps_to.max(micros(&at).unwrap_or_default());
        } else {
            // What ended it is told with its end.
            for later in ["to_time", "to_zxid", "missed_at_least"] {
                row.shift_remove(later);
            }
        }
        row.insert("kind".into(), name.into());
        Event { kind, cluster, row, place: *place, at }
    }
}

/// One stream of several, by time; the order within each stays.
fn merge(streams: Vec<Vec<Event>>) -> Vec<Event> {
    let mut events: Vec<Event> = streams.into_iter().flatten().collect();
    events.sort_by(|a, b| a.at.cmp(&b.at));
    events
}

#[cfg(test)]
mod tests;
