use super::*;
use crate::serve::http::{self, AppState, Hosts, SnapshotRefused};

/// An agent's HTTP door over an empty history, for as long as the runtime lives.
fn served(limits: Limits) -> (tokio::runtime::Runtime, String) {
    let (runtime, url, _) = served_with_engine(limits);
    (runtime, url)
}

fn served_with_engine(limits: Limits) -> (tokio::runtime::Runtime, String, Engine) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listener = runtime.block_on(http::bind("127.0.0.1:0".parse().unwrap())).unwrap();
    let address = listener.local_addr().unwrap();
    let engine = Engine::new(Arc::new(|| Ok(Vec::new())), limits, &std::env::temp_dir()).unwrap();
    let state = AppState {
        engine: engine.clone(),
        metrics: Arc::new(String::new),
        health: Arc::new(|| Ok(())),
        ready: Arc::new(Vec::new),
        snapshot: Arc::new(|_| Box::pin(async { Err(SnapshotRefused::Unauthorised) })),
        hosts: Hosts::new(address, []),
        credentials: Default::default(),
        access_log: Default::default(),
        version: "0",
    };
    runtime.spawn(http::serve(listener, http::router(state), std::future::pending()));
    (runtime, format!("http://{address}"), engine)
}

fn rows_and_error(door: &Door, sql: &str) -> (usize, Option<String>) {
    let rows = match door.ask(sql) {
        Ok(rows) => rows,
        Err(error) => return (0, Some(error.to_string())),
    };
    let mut count = 0;
    for batch in rows {
        match batch {
            Ok(batch) => count += batch.num_rows(),
            Err(error) => return (count, Some(error.to_string())),
        }
    }
    (count, None)
}

#[test]
fn the_agent_answers_whole_or_says_why_not() {
    let (_runtime, url) = served(Limits { rows_max: 300_000, ..Limits::default() });
    // With and without its scheme.
    let door = Door::find(None, Some(url.trim_start_matches("http://"))).unwrap();
    assert_eq!(rows_and_error(&door, "SELECT * FROM changes"), (0, None));
    let door = Door::find(None, Some(&url)).unwrap();
    assert_eq!(rows_and_error(&door, "SELECT * FROM changes"), (0, None));
    assert_eq!(rows_and_error(&door, "SELECT * FROM generate_series(1, 250000)"), (250_000, None));
    let (rows, error) = rows_and_error(&door, "SELECT * FROM generate_series(1, 400000)");
    assert!(
        rows <= 300_000 && error.as_deref().is_some_and(|e| e.starts_with("query stopped at 300000 rows")),
        "{error:?}"
    );
    let (_, error) = rows_and_error(&door, "SELECT nothing FROM changes");
    assert!(error.as_deref().is_some_and(|error| error.starts_with("No field named nothing")), "{error:?}");
}

#[test]
fn an_agent_that_was_named_is_never_replaced_by_a_folder() {
    // Bound and dropped: nobody listens there.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = Door::find(None, Some(&format!("http://{free}"))).err().unwrap().to_string();
    assert!(error.contains(&free.to_string()) && error.contains("--data-dir"), "{error}");
}

/// A statement that would run for minutes ends as soon as it is interrupted, and the next one runs.
fn ends_when_interrupted(door: &Door, engine: &Engine) {
    let endless = "SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b \
         WHERE a.value + b.value = -1";
    let interrupt = door.interrupt().clone();
    let running = engine.clone();
    let presser = std::thread::spawn(move || {
        while running.activity().running == 0 {
            std::thread::yield_now();
        }
        assert!(!interrupt.press());
    });
    let started = std::time::Instant::now();
    assert!(rows_and_error(door, endless).1.is_some() && door.interrupt().is_pressed());
    presser.join().unwrap();
    while engine.activity().running > 0 {
        assert!(started.elapsed() < std::time::Duration::from_secs(30), "the query goes on");
        std::thread::yield_now();
    }
    door.interrupt().reset();
    assert_eq!(rows_and_error(door, "SELECT 1"), (1, None));
}

#[test]
fn an_interrupt_ends_a_query_of_a_folder() {
    let engine = Engine::new(Arc::new(|| Ok(Vec::new())), Limits::default(), &std::env::temp_dir()).unwrap();
    let door = Door::over(engine.clone()).unwrap();
    ends_when_interrupted(&door, &engine);
}

#[test]
fn an_interrupt_ends_a_query_of_an_agent_there_too() {
    let (_runtime, url, engine) = served_with_engine(Limits::default());
    let door = Door::find(None, Some(&url)).unwrap();
    ends_when_interrupted(&door, &engine);
}
