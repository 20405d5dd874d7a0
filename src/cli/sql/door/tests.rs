use super::*;
use crate::serve::http::{self, AppState, Hosts, SnapshotRefused};

/// An agent's HTTP door over an empty history, for as long as the runtime lives.
fn served(limits: Limits) -> (tokio::runtime::Runtime, String) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listener = runtime.block_on(http::bind("127.0.0.1:0".parse().unwrap())).unwrap();
    let address = listener.local_addr().unwrap();
    let state = AppState {
        engine: Engine::new(Arc::new(|| Ok(Vec::new())), limits, &std::env::temp_dir()).unwrap(),
        metrics: Arc::new(String::new),
        health: Arc::new(|| Ok(())),
        ready: Arc::new(Vec::new),
        snapshot: Arc::new(|_| Box::pin(async { Err(SnapshotRefused::Unauthorised) })),
        hosts: Hosts::new(address, []),
        version: "0",
    };
    runtime.spawn(http::serve(listener, http::router(state), std::future::pending()));
    (runtime, format!("http://{address}"))
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
