use std::io::{Read, Write};
use std::time::Duration;

use arrow::array::RecordBatch;

use super::*;
use crate::history::schema;
use crate::history::view::{TableView, View};
use crate::query::Limits;

fn view(cluster: &str) -> View {
    View {
        cluster: cluster.into(),
        changes: TableView::default(),
        coverage: TableView::default(),
        sessions: TableView::default(),
        audit: Arc::from(Vec::new()),
        snapshots: Arc::from(Vec::new()),
        open_coverage: RecordBatch::new_empty(schema::COVERAGE.clone()),
    }
}

pub(super) fn state(limits: Limits, bound: SocketAddr) -> AppState {
    let engine = Engine::new(Arc::new(|| Ok(vec![view("prod")])), limits, &std::env::temp_dir()).unwrap();
    AppState {
        engine,
        metrics: Arc::new(|| "zktrail_up 1\n".to_owned()),
        health: Arc::new(|| Ok(())),
        ready: Arc::new(|| {
            let ready =
                |cluster: &str, ready| Readiness { cluster: cluster.to_owned(), ready, reason: "bootstrap".to_owned() };
            vec![ready("prod", true), ready("test", false)]
        }),
        snapshot: Arc::new(|token| {
            Box::pin(async move {
                match token.as_deref() {
                    Some("secret") => Ok("prod at 5".to_owned()),
                    _ => Err(SnapshotRefused::Unauthorised),
                }
            })
        }),
        hosts: Hosts::new(bound, []),
        credentials: Credentials::default(),
        access_log: AccessLog::to_log(),
        version: "0",
    }
}

/// A served door, and one request to it as it goes over the wire. Gives the whole response.
async fn served(limits: Limits) -> SocketAddr {
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, router(state(limits, address)), std::future::pending()));
    address
}

pub(super) async fn ask(address: SocketAddr, request: String) -> String {
    let response = tokio::task::spawn_blocking(move || {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut response = Vec::new();
        stream.read_to_end(&mut response).unwrap();
        response
    });
    String::from_utf8_lossy(&response.await.unwrap()).into_owned()
}

pub(super) fn get_request(path: &str, host: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
}

pub(super) fn post_request(path: &str, headers: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}",
        body.len()
    )
}

pub(super) fn status(response: &str) -> u16 {
    response.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

#[tokio::test]
async fn every_page_answers() {
    let address = served(Limits::default()).await;
    for (path, expected, words) in [
        ("/", 200, "POST /sql"),
        ("/metrics", 200, "zktrail_up 1"),
        ("/healthz", 200, "ok"),
        ("/readyz", 503, "test not ready: bootstrap"),
        ("/sql", 405, "POST"),
        ("/nothing", 404, "/ lists what there is"),
    ] {
        let response = ask(address, get_request(path, &address.to_string())).await;
        assert_eq!(status(&response), expected, "{path}: {response}");
        assert!(response.contains(words), "{path}: {response}");
        assert!(!response.to_lowercase().contains("access-control"), "{path}: {response}");
    }
    let index = ask(address, get_request("/", &address.to_string())).await;
    assert!(index.contains(&format!("'SHOW TABLES' http://{address}/sql")), "{index}");
    let strange = ask(address, get_request("/metrics", "evil.example")).await;
    assert_eq!(status(&strange), 421, "{strange}");
    let refused = ask(address, post_request("/snapshot", "", "")).await;
    assert_eq!(status(&refused), 401, "{refused}");
    let taken = ask(address, post_request("/snapshot", "Authorization: Bearer secret\r\n", "")).await;
    assert!(status(&taken) == 200 && taken.contains("prod at 5"), "{taken}");
}

#[tokio::test]
async fn sql_answers_in_the_form_asked_for() {
    let address = served(Limits::default()).await;
    let sql = "SELECT 1 AS one, 'x' AS text, X'00ff' AS data";
    let json = ask(address, post_request("/sql", "", sql)).await;
    assert!(status(&json) == 200 && json.contains("[{\"one\":1,\"text\":\"x\",\"data\":\"AP8=\"}]"), "{json}");
    let csv = ask(address, post_request("/sql", "Accept: text/csv\r\n", sql)).await;
    assert!(csv.contains("one,text,data\r\n1,x,AP8=\r\n"), "{csv}");
    let arrow = ask(address, post_request("/sql", "Accept: application/vnd.apache.arrow.stream\r\n", sql)).await;
    assert!(arrow.contains("content-type: application/vnd.apache.arrow.stream"), "{arrow}");

    for (request, expected, words) in [
        (post_request("/sql", "", "SELECT nothing FROM changes"), 400, "No field named nothing"),
        (post_request("/sql", "", "DROP TABLE changes"), 400, "read-only"),
        (post_request("/sql", "", ""), 400, "the body is empty"),
        (post_request("/sql", "Accept: image/png\r\n", sql), 406, "image/png"),
        (post_request("/sql", "", &" ".repeat(BODY_BYTES_MAX + 1)), 413, "error"),
    ] {
        let response = ask(address, request).await;
        assert_eq!(status(&response), expected, "{response}");
        assert!(response.contains("{\"error\":") && response.contains(words), "{response}");
    }
}

#[tokio::test]
async fn a_limit_is_a_status_or_a_cut_never_a_whole_answer() {
    let limits = Limits { rows_max: 300_000, time_max: Duration::from_secs(20), ..Limits::default() };
    let address = served(limits).await;
    // Before anything went out: a status.
    let few = ask(address, post_request("/sql", "", "SELECT 1 FROM generate_series(1, 400000) LIMIT 0")).await;
    assert_eq!(status(&few), 200, "{few}");
    let tight = served(Limits { rows_max: 10, ..Limits::default() }).await;
    let limited = ask(tight, post_request("/sql", "", "SELECT * FROM generate_series(1, 11)")).await;
    assert!(status(&limited) == 422 && limited.contains("rows_max"), "{limited}");
    // After: no end to the array, no last chunk.
    let cut = ask(
        address,
        post_request("/sql", "", "SELECT generate_series, 'a long text' AS t FROM generate_series(1, 400000)"),
    )
    .await;
    assert_eq!(status(&cut), 200);
    assert!(cut.len() > 1 << 20 && !cut.ends_with("0\r\n\r\n") && !cut.contains("}]"), "{}", &cut[cut.len() - 100..]);
    // The form of our own command line says why.
    let accept = format!("Accept: {FRAMED_ARROW}\r\n");
    let framed = ask(
        address,
        post_request("/sql", &accept, "SELECT generate_series, 'a long text' AS t FROM generate_series(1, 400000)"),
    )
    .await;
    assert!(framed.contains("query stopped at 300000 rows"));
}

#[tokio::test]
async fn off_loopback_only_the_open_doors_answer() {
    // The guard goes by the address that is bound; the test asks over loopback all the same.
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let elsewhere = state(Limits::default(), "192.0.2.1:9847".parse().unwrap());
    tokio::spawn(serve(listener, router(elsewhere), std::future::pending()));
    for (path, expected) in [("/metrics", 200), ("/healthz", 200), ("/readyz", 503), ("/", 403), ("/sql", 403)] {
        let response = ask(address, get_request(path, "any.example")).await;
        assert_eq!(status(&response), expected, "{path}: {response}");
    }
    let response = ask(address, post_request("/sql", "", "SELECT 1")).await;
    assert_eq!(status(&response), 403, "{response}");
}

#[tokio::test]
async fn parquet_ends_in_its_footer_or_is_none() {
    let address = served(Limits { rows_max: 300_000, ..Limits::default() }).await;
    let ask = |path: &'static str, sql: &'static str| async move {
        tokio::task::spawn_blocking(move || {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            let request = post_request(path, "", sql).replace("HTTP/1.1", "HTTP/1.0");
            stream.write_all(request.as_bytes()).unwrap();
            let mut response = Vec::new();
            // Broken off is an end, too.
            let _ = stream.read_to_end(&mut response);
            let head = response.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
            response.split_off(head)
        })
        .await
        .unwrap()
    };
    let rows = |file: Vec<u8>| -> usize {
        let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(bytes::Bytes::from(file), 8_192);
        reader.unwrap().map(|batch| batch.unwrap().num_rows()).sum()
    };
    let whole = ask("/sql?format=parquet", "SELECT g, sha256(g::text) AS h FROM generate_series(1, 200000) AS g").await;
    assert_eq!(rows(whole), 200_000);
    assert_eq!(rows(ask("/sql?format=parquet", "SELECT 1 AS one WHERE false").await), 0);
    let cut = ask("/sql?format=parquet", "SELECT g, sha256(g::text) AS h FROM generate_series(1, 400000) AS g").await;
    assert!(!cut.ends_with(b"PAR1"), "{} bytes", cut.len());
    for (path, sql, words) in [
        ("/sql?format=parquet", "SELECT interval '1 day' AS i", "nothing that Parquet can hold"),
        ("/sql?format=xml", "SELECT 1", "there is no format"),
        ("/sql?form=csv", "SELECT 1", "and no \\\"form\\\""),
    ] {
        let told = String::from_utf8(ask(path, sql).await).unwrap();
        assert!(told.contains(words), "{told}");
    }
    let shown =
        String::from_utf8(ask("/sql?format=csv", "SELECT interval '26 hours' + interval '1 day' AS i").await).unwrap();
    assert_eq!(shown, "i\r\n1 day 26:00:00\r\n");
}
