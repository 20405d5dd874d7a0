use std::sync::{Arc, Mutex};

use futures::StreamExt;

use super::*;
use crate::history::view::View;
use crate::lens::PathGlob;
use crate::query::encode::JsonEncoder;
use crate::query::fixture::{DAY, Interval, MIDNIGHT, observed, part, rows, view};
use crate::query::{Engine, Limits};

/// An engine that is asked from a test's own thread.
struct Door {
    engine: Engine,
    runtime: tokio::runtime::Runtime,
}

impl Ask for Door {
    fn ask(&self, sql: &str) -> Result<Vec<Row>, ReadError> {
        let failed = |error: &dyn std::fmt::Display| ReadError::Failed(error.to_string());
        self.runtime.block_on(async {
            let mut stream = self.engine.query(sql).await.map_err(|error| failed(&error))?;
            let mut encoder = JsonEncoder::new(&stream.schema());
            let mut text = Vec::new();
            while let Some(batch) = stream.next().await {
                encoder.batch(&batch.map_err(|error| failed(&error))?, &mut text);
            }
            encoder.finish(&mut text);
            serde_json::from_slice(&text).map_err(|error| failed(&error))
        })
    }

    fn describe(&self) -> String {
        "the test".to_owned()
    }
}

/// A door to a history that a test changes.
fn door(views: Vec<View>) -> (Door, Arc<Mutex<Vec<View>>>) {
    let views = Arc::new(Mutex::new(views));
    let seen = views.clone();
    let sources = Arc::new(move || Ok(seen.lock().unwrap().clone()));
    let engine = Engine::new(sources, Limits::default(), &std::env::temp_dir()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    (Door { engine, runtime }, views)
}

/// Rounds until there is nothing more; every event, as what it is and its seq (or its time, for a gap).
fn read(reader: &mut Reader<'_>) -> Vec<(Kind, i64)> {
    let mut events = Vec::new();
    reader.gaps_asked = None;
    loop {
        let round = reader.round().unwrap();
        let of = |event: &Event| match event.kind {
            Kind::Change | Kind::Pruned => (event.kind, event.place.seq),
            _ => (event.kind, (micros(&event.at).unwrap() - MIDNIGHT) / 1_000_000),
        };
        events.extend(round.events.iter().map(of));
        if !round.more {
            return events;
        }
    }
}

fn changes(from: i64, to: i64) -> Vec<(Kind, i64)> {
    (from..to).map(|seq| (Kind::Change, seq)).collect()
}

const WATCHED: &[Interval] = &[(0, 86_000, None)];

#[test]
fn clusters_are_merged_by_time_and_each_keeps_its_order() {
    let event = |cluster: &str, at: &str, seq: i64| {
        let place = Place { seq, ..Place::default() };
        Event { kind: Kind::Change, cluster: cluster.into(), row: Row::new(), place, at: at.into() }
    };
    let a = vec![event("a", "1", 1), event("a", "3", 2), event("a", "3", 3)];
    let b = vec![event("b", "2", 1), event("b", "3", 2)];
    let merged: Vec<(String, i64)> =
        merge(vec![a, b]).into_iter().map(|event| (event.cluster, event.place.seq)).collect();
    let expected = [("a", 1), ("b", 1), ("a", 2), ("a", 3), ("b", 2)];
    assert_eq!(merged, expected.map(|(cluster, seq)| (cluster.to_owned(), seq)));
}

#[test]
fn parts_and_head_are_read_once_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let parts =
        || vec![part(dir.path(), "a", DAY, &rows(1, 1_500, 7)), part(dir.path(), "a", DAY, &rows(1_500, 13_000, 7))];
    let (door, views) = door(vec![observed(view("a", parts(), &rows(13_000, 13_050, 7)), WATCHED)]);
    let filter = Filter::default();
    let mut reader = Reader::new(&door, &filter, &[], Cursor::default());
    assert_eq!(read(&mut reader), changes(1, 13_050));
    assert_eq!(read(&mut reader), []);
    // More is recorded; and one who comes from the cursor's text goes on there, too.
    *views.lock().unwrap() = vec![observed(view("a", parts(), &rows(13_000, 13_060, 7)), WATCHED)];
    let cursor: Cursor = reader.cursor.to_string().parse().unwrap();
    assert_eq!(read(&mut reader), changes(13_050, 13_060));
    assert_eq!(read(&mut Reader::new(&door, &filter, &[], cursor)), changes(13_050, 13_060));
}

#[test]
fn filters_move_the_cursor_past_what_they_hold_back() {
    let dir = tempfile::tempdir().unwrap();
    let parts = vec![part(dir.path(), "a", DAY, &rows(1, 12_000, 4_000))];
    let (door, _) = door(vec![observed(view("a", parts, &[]), WATCHED)]);
    let globs = vec![PathGlob::new("/app/0005").unwrap()];
    let filter = Filter { globs, kinds: Vec::new() };
    let mut reader = Reader::new(&door, &filter, &[], Cursor::default());
    assert_eq!(read(&mut reader), [5, 4_005, 8_005].map(|seq| (Kind::Change, seq)));
    let place = reader.cursor.places["a"];
    assert_eq!((place.seq, place.observed_at), (11_999, MIDNIGHT + 11_999 * 1_000_000));
}

#[test]
fn it_begins_where_it_is_told() {
    let (door, _) = door(vec![observed(view("a", Vec::new(), &rows(1, 100, 7)), WATCHED)]);
    let filter = Filter::default();
    let from = |seconds: i64| {
        let cursor = Cursor { since: MIDNIGHT + seconds * 1_000_000, ..Cursor::default() };
        read(&mut Reader::new(&door, &filter, &[], cursor))
    };
    assert_eq!(from(90), changes(90, 100));
    assert_eq!(from(1_000), []);
    let only = ["b".to_owned()];
    assert_eq!(read(&mut Reader::new(&door, &filter, &only, Cursor::default())), [], "there is no b");
}

#[test]
fn what_retention_removed_is_told_once() {
    let (door, _) = door(vec![observed(view("a", Vec::new(), &rows(50, 60, 7)), WATCHED)]);
    let filter = Filter::default();
    let place = Place { seq: 20, observed_at: 5, gaps_to: 0 };
    let cursor = Cursor { since: 0, places: [("a".to_owned(), place)].into() };
    let mut reader = Reader::new(&door, &filter, &[], cursor);
    let round = reader.round().unwrap();
    let pruned = &round.events[0];
    assert_eq!(
        (pruned.kind, integer(&pruned.row, "from_seq"), integer(&pruned.row, "to_seq")),
        (Kind::Pruned, Some(21), Some(49))
    );
    assert_eq!(round.events.len(), 11);
    reader.was_away();
    assert_eq!(read(&mut reader), []);
}

#[test]
fn another_history_is_refused() {
    let (door, _) = door(vec![observed(view("a", Vec::new(), &rows(1, 60, 7)), WATCHED)]);
    let filter = Filter::default();
    let read = |seq: i64, observed_at: i64| {
        let place = Place { seq, observed_at, gaps_to: 0 };
        let cursor = Cursor { since: 0, places: [("a".to_owned(), place)].into() };
        let mut reader = Reader::new(&door, &filter, &[], cursor);
        reader.round().map(|round| round.events.len())
    };
    assert_eq!(read(50, MIDNIGHT + 50_000_000).unwrap(), 9);
    assert!(matches!(read(50, MIDNIGHT), Err(ReadError::OtherHistory(_))), "another row has that seq");
    assert!(matches!(read(60, 0), Err(ReadError::OtherHistory(_))), "it does not reach that far");
}

#[test]
fn gaps_stand_where_they_were_and_are_told_once() {
    let covered = &[(0, 10, Some("disconnected")), (20, 30, Some("crashed"))];
    let (door, views) = door(vec![observed(view("a", Vec::new(), &rows(1, 40, 7)), covered)]);
    let filter = Filter::default();
    let mut reader = Reader::new(&door, &filter, &[], Cursor::default());
    let mut expected = changes(1, 11);
    expected.push((Kind::GapOpened, 10));
    expected.extend(changes(11, 21));
    expected.push((Kind::GapClosed, 20));
    expected.extend(changes(21, 31));
    expected.push((Kind::GapOpened, 30));
    expected.extend(changes(31, 40));
    let sort = |mut events: Vec<(Kind, i64)>| {
        // At the same instant either may come first.
        events.sort_by_key(|(kind, at)| (*at, *kind != Kind::Change));
        events
    };
    assert_eq!(sort(read(&mut reader)), expected);
    assert_eq!(read(&mut reader), [], "an open gap is told once");
    let covered = &[(0, 10, Some("disconnected")), (20, 30, Some("crashed")), (50, 60, None)];
    *views.lock().unwrap() = vec![observed(view("a", Vec::new(), &rows(1, 41, 7)), covered)];
    assert_eq!(read(&mut reader), [(Kind::Change, 40), (Kind::GapClosed, 50)]);
    // Whoever goes on from here hears of none of them again.
    let cursor: Cursor = reader.cursor.to_string().parse().unwrap();
    assert_eq!(read(&mut Reader::new(&door, &filter, &[], cursor)), []);
}
