use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::query::{Access, Values};

fn caller() -> Caller {
    let access = Access { user: Some("ann".into()), values: Values::Withheld, ..Access::full() };
    Caller { door: Door::Http, address: "10.1.2.3".parse().unwrap(), access, is_owner: false }
}

fn lines(path: &Path) -> Vec<serde_json::Value> {
    std::fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_line_a_query_and_a_failed_login() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.jsonl");
    let log = AccessLog::to_file(&path).unwrap();
    let events: Arc<Mutex<Vec<Event>>> = Arc::default();
    let heard = events.clone();
    log.observe(Arc::new(move |event| heard.lock().unwrap().push(event)));
    let mut line = log.query(&caller(), "SELECT 1\nFROM changes");
    line.rows(2);
    line.rows(3);
    line.end(Outcome::Ok);
    drop(log.query(&caller(), "ALTER USER ann PASSWORD 'hunter2'"));
    log.login_failed(Door::Postgres, "::1".parse().unwrap(), "eve\n{\"user\":\"ann\"}", LoginFailure::Wrong);

    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let written = lines(&path);
    assert_eq!(written.len(), 3);
    let text = |at: usize, key: &str| written[at][key].as_str().unwrap_or_default().to_owned();
    assert_eq!((text(0, "user"), text(0, "role"), text(0, "door")), ("ann".into(), "read".into(), "http".into()));
    assert_eq!((text(0, "statement"), text(0, "outcome")), ("SELECT 1\nFROM changes".into(), "ok".into()));
    assert_eq!(written[0]["rows"], 5);
    assert_eq!((text(1, "statement"), text(1, "outcome")), ("ALTER …".into(), "cancelled".into()));
    assert_eq!((text(2, "event"), text(2, "user")), ("login_failed".into(), "eve{\"user\":\"ann\"}".into()));
    assert!(text(0, "time").ends_with('Z') && written[0]["took_ms"].is_number());
    assert_eq!(events.lock().unwrap().len(), 3);
}

#[test]
fn a_file_that_was_moved_away_is_opened_anew() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.jsonl");
    let log = AccessLog::to_file(&path).unwrap();
    log.query(&caller(), "SELECT 1").end(Outcome::Ok);
    std::fs::rename(&path, dir.path().join("access.1")).unwrap();
    log.query(&caller(), "SELECT 2").end(Outcome::Ok);
    log.reopen().unwrap();
    log.query(&caller(), "SELECT 3").end(Outcome::Ok);
    assert_eq!((lines(&dir.path().join("access.1")).len(), lines(&path).len()), (2, 1));
}
