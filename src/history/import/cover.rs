//! What an import says of sessions, and of what it covered.

use std::collections::HashSet;
use std::path::Path;

use arrow::array::{Int32Array, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::record_batch::RecordBatch;

use super::super::coverage::Aspect;
use super::super::days::{PartWriter, int64_range, read, read_projected};
use super::super::error::HistoryError;
use super::super::gaps::{Interval, intervals};
use super::super::head;
use super::super::layout::{Day, Table};
use super::super::open::History;
use super::super::part::Part;
use super::super::replay::rows::{column, text, value};
use super::super::rows::{CoverageRow, Sighting, SightingEvent, SightingSource, coverage_rows, sighting_rows};
use super::super::timeline;
use super::super::view::{HeadBatch, View};
use crate::zk::{Ended, Micros, Source, Zxid};

/// Sightings that wait for their part.
pub(super) const SIGHTINGS_MAX: usize = 100_000;

/// What tells one sighting from another: session, event, zxid (or time, where there is none) and source.
type Seen = (i32, i64, String, Place, String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Place {
    Zxid(i64),
    Time(i64),
}

/// Adds the sightings that are not on record yet: by session, event, zxid and source. Gives how many there were.
pub(super) fn add_sightings(history: &mut History, mut sightings: Vec<Sighting>) -> Result<u64, HistoryError> {
    let seen = seen(&history.state.view(), &sightings)?;
    let mut new: HashSet<Seen> = HashSet::new();
    sightings.retain(|sighting| {
        let seen_as = seen_as(sighting);
        !seen.contains(&seen_as) && new.insert(seen_as)
    });
    // A part a day, numbered in the order in which they are put in place.
    sightings.sort_by_key(|sighting| sighting.time.day());
    let batches = sighting_rows(&sightings, history.next.sessions);
    let batches = batches.map_err(|source| HistoryError::Arrow { path: "sessions".into(), source })?;
    add(history, Table::Sessions, &batches)?;
    Ok(sightings.len() as u64)
}

fn seen_as(sighting: &Sighting) -> Seen {
    let place = sighting.zxid.map_or(Place::Time(sighting.time.0), |zxid| Place::Zxid(zxid.0));
    let (event, source) = (sighting.event.as_str().to_owned(), sighting.source.as_str().to_owned());
    (sighting.incarnation, sighting.session_id, event, place, source)
}

/// Those on record that may be some of these.
fn seen(view: &View, sightings: &[Sighting]) -> Result<HashSet<Seen>, HistoryError> {
    let mut seen = HashSet::new();
    let wanted: HashSet<Seen> = sightings.iter().map(seen_as).collect();
    if wanted.is_empty() {
        return Ok(seen);
    }
    let by_zxid = sightings.iter().all(|sighting| sighting.zxid.is_some());
    let zxids = || sightings.iter().filter_map(|sighting| sighting.zxid).map(|zxid| zxid.0);
    let (low, high) = (zxids().min().unwrap_or(i64::MIN), zxids().max().unwrap_or(i64::MAX));
    for part in view.sessions.parts.iter() {
        if by_zxid && int64_range(part, "zxid")?.is_some_and(|(min, max)| max < low || min > high) {
            continue;
        }
        for batch in read_projected(part, &["incarnation", "session_id", "event", "time", "zxid", "source"])? {
            add_seen(&mut seen, &wanted, &batch?, &part.path())?;
        }
    }
    Ok(seen)
}

fn add_seen(
    seen: &mut HashSet<Seen>,
    wanted: &HashSet<Seen>,
    batch: &RecordBatch,
    place: &Path,
) -> Result<(), HistoryError> {
    let (incarnation, session) =
        (column::<Int32Array>(batch, "incarnation", place)?, column::<Int64Array>(batch, "session_id", place)?);
    let (event, zxid) = (column::<StringArray>(batch, "event", place)?, column::<Int64Array>(batch, "zxid", place)?);
    let (source, time) =
        (column::<StringArray>(batch, "source", place)?, column::<TimestampMicrosecondArray>(batch, "time", place)?);
    for at in 0..batch.num_rows() {
        let (event, source) = (event.value(at).to_owned(), source.value(at).to_owned());
        let place = value(&zxid, at).map_or(Place::Time(time.value(at)), Place::Zxid);
        let row = (incarnation.value(at), session.value(at), event, place, source);
        if wanted.contains(&row) {
            seen.insert(row);
        }
    }
    Ok(())
}

/// What says that a stretch was covered, for data and ACLs, as far as no log said so before.
pub(super) fn uncovered_rows(view: &View, whole: CoverageRow) -> Result<Vec<CoverageRow>, HistoryError> {
    let intervals = intervals(view)?;
    let mut rows = Vec::new();
    for aspect in [Aspect::Data, Aspect::Acl] {
        rows.extend(uncovered(&intervals, CoverageRow { aspect, ..whole.clone() }));
    }
    rows.sort_by_key(|row| row.to_time.day());
    Ok(rows)
}

/// Puts rows of coverage into place.
pub(super) fn add_coverage(history: &mut History, rows: Vec<CoverageRow>) -> Result<(), HistoryError> {
    let batches = coverage_rows(&rows, history.next.coverage);
    let batches = batches.map_err(|source| HistoryError::Arrow { path: "coverage".into(), source })?;
    add(history, Table::Coverage, &batches)
}

/// What is left of a stretch beside what logs cover already.
fn uncovered(intervals: &[Interval], whole: CoverageRow) -> Vec<CoverageRow> {
    let mut covered: Vec<&Interval> = intervals
        .iter()
        .filter(|interval| {
            interval.is_lossless()
                && interval.incarnation == whole.incarnation
                && interval.aspect == whole.aspect.as_str()
                && super::super::gaps::is_within(&whole.path, &interval.path)
        })
        .collect();
    covered.sort_by_key(|interval| (interval.from_zxid, interval.to_zxid));
    let mut left = Vec::new();
    let mut rest = whole;
    for interval in covered {
        if interval.to_zxid <= rest.from_zxid.0 || interval.from_zxid >= rest.to_zxid.0 {
            continue;
        }
        if interval.from_zxid > rest.from_zxid.0 {
            let to_time = Micros(interval.from_time).clamp(rest.from_time, rest.to_time.max(rest.from_time));
            left.push(CoverageRow { to_zxid: Zxid(interval.from_zxid), to_time, ..rest.clone() });
        }
        rest.from_time = Micros(interval.to_time).clamp(rest.from_time, rest.to_time.max(rest.from_time));
        rest.from_zxid = Zxid(interval.to_zxid);
        if rest.from_zxid >= rest.to_zxid {
            return left;
        }
    }
    left.push(rest);
    left
}

/// Adds what another history covered, as far as no interval here of the same source and path holds it.
pub(super) fn add_coverage_of(history: &mut History, other: &View) -> Result<u64, HistoryError> {
    let mine = intervals(&history.state.view())?;
    let is_held = |theirs: &Interval| {
        mine.iter().any(|own| {
            let key = |interval: &Interval| (interval.incarnation, interval.source.clone(), interval.path.clone());
            let times = own.from_time <= theirs.from_time && theirs.to_time <= own.to_time;
            let zxids = own.from_zxid <= theirs.from_zxid && theirs.to_zxid <= own.to_zxid;
            times && zxids && own.aspect == theirs.aspect && key(own) == key(theirs)
        })
    };
    let mut rows = Vec::new();
    for theirs in intervals(other)?.iter().filter(|theirs| !is_held(theirs)) {
        let (Some(source), Some(aspect)) = (Source::parse(&theirs.source), Aspect::parse(&theirs.aspect)) else {
            continue;
        };
        rows.push(CoverageRow {
            incarnation: theirs.incarnation,
            source,
            path: theirs.path.as_str().into(),
            aspect,
            from_time: Micros(theirs.from_time),
            to_time: Micros(theirs.to_time),
            from_zxid: Zxid(theirs.from_zxid),
            to_zxid: Zxid(theirs.to_zxid),
            ended: theirs.ended.as_deref().and_then(ended),
            missed_at_least: theirs.missed_at_least,
        });
    }
    // Stable: within a day their order stays that of the other history.
    rows.sort_by_key(|row| row.to_time.day());
    let batches = coverage_rows(&rows, history.next.coverage);
    let batches = batches.map_err(|source| HistoryError::Arrow { path: "coverage".into(), source })?;
    add(history, Table::Coverage, &batches)?;
    Ok(rows.len() as u64)
}

fn ended(text: &str) -> Option<Ended> {
    const ALL: [Ended; 9] = [
        Ended::Rolled,
        Ended::Stopped,
        Ended::Disconnected,
        Ended::SessionExpired,
        Ended::AuthFailed,
        Ended::Overrun,
        Ended::DiskFull,
        Ended::WriteFailed,
        Ended::Unreadable,
    ];
    ALL.into_iter().find(|ended| ended.as_str() == text)
}

/// Everything that another history heard of sessions. Held in memory: a row a session and event.
pub(super) fn sightings_of(other: &View) -> Result<Vec<Sighting>, HistoryError> {
    let mut sightings = Vec::new();
    for part in other.sessions.parts.iter() {
        for batch in read(part)? {
            decode_sightings(&batch?, &part.path(), &mut sightings)?;
        }
    }
    for head in other.sessions.head.iter() {
        decode_sightings(&head.batch, Path::new("the head of sessions"), &mut sightings)?;
    }
    Ok(sightings)
}

fn decode_sightings(batch: &RecordBatch, place: &Path, sightings: &mut Vec<Sighting>) -> Result<(), HistoryError> {
    let (incarnation, session) =
        (column::<Int32Array>(batch, "incarnation", place)?, column::<Int64Array>(batch, "session_id", place)?);
    let (event, zxid) = (column::<StringArray>(batch, "event", place)?, column::<Int64Array>(batch, "zxid", place)?);
    let (source, time) =
        (column::<StringArray>(batch, "source", place)?, column::<TimestampMicrosecondArray>(batch, "time", place)?);
    let (timeout, address) =
        (column::<Int32Array>(batch, "timeout_ms", place)?, column::<StringArray>(batch, "address", place)?);
    for at in 0..batch.num_rows() {
        let events = [SightingEvent::Opened, SightingEvent::Seen, SightingEvent::Closed];
        let event = events.into_iter().find(|own| own.as_str() == event.value(at));
        let (Some(event), Some(source)) = (event, SightingSource::parse(source.value(at))) else { continue };
        sightings.push(Sighting {
            incarnation: incarnation.value(at),
            session_id: session.value(at),
            event,
            time: Micros(time.value(at)),
            zxid: value(&zxid, at).map(Zxid),
            timeout_ms: value(&timeout, at),
            address: text(&address, at).map(Into::into),
            source,
        });
    }
    Ok(())
}

/// What the agent's clock shows more than the server's about a time of the server's; `None` where nothing tells.
pub(super) fn agent_ahead(view: &View, incarnation: i32, time: Micros) -> Result<Option<i64>, HistoryError> {
    let heard = super::Heard::of(view, incarnation)?;
    match timeline::find(&view.changes, incarnation, time.0, &heard)?.agent_ahead {
        Some(ahead) => Ok(Some(ahead)),
        None => timeline::first_agent_ahead(&view.changes, incarnation, &heard),
    }
}

/// Puts rows into place as parts, a run of one day each. The rows are numbered.
fn add(history: &mut History, table: Table, batches: &[HeadBatch]) -> Result<(), HistoryError> {
    let (disk, layout, cluster) = (&history.disk, &history.layout, &history.cluster);
    let folder = layout.cluster(table, cluster);
    for run in head::runs(batches, i64::MAX) {
        let Some(day) = run.first().map(|batch| batch.day) else { continue };
        disk.create_dir(&folder)?;
        let mut writer = PartWriter::create(disk, &folder, table, cluster, &[])?;
        for batch in &run {
            writer.write(&batch.batch)?;
        }
        let (dot_path, written) = writer.finish_under_dot_name(None)?;
        let day_folder = layout.day(table, cluster, Day(day.0));
        let path = day_folder.join(written.range.file_name(table));
        history.state.add_part(|| {
            disk.create_dir(&day_folder)?;
            disk.rename(&dot_path, &path)?;
            disk.sync_dir(&day_folder)?;
            disk.sync_dir(&folder)?;
            Ok(std::sync::Arc::new(Part::new(table, cluster.clone(), day, written.range, path.clone(), written.bytes)))
        })?;
        history.next.set(table, written.range.last + 1);
    }
    Ok(())
}
