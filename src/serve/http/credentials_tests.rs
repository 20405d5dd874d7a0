//! Who is let in over HTTP.

use base64::Engine as _;

use super::tests::{ask, get_request, post_request, state, status};
use super::*;
use crate::query::Limits;
use crate::serve::tls::Tls;
use crate::serve::users::{Role, Users, Verifier, edit};

const TOKEN: &str = "0123456789abcdef";

/// `ann` may see everything, `bob` metadata alone; both within limits of their own.
fn users(dir: &std::path::Path) -> Users {
    let path = dir.join("users.toml");
    for (name, role, rows) in [("ann", Role::ReadValues, "20"), ("bob", Role::Read, "10")] {
        let verifier = Verifier::of_new(&format!("password of {name}")).unwrap();
        let limits = [("rows", rows.to_owned()), ("time", "5s".to_owned()), ("memory", "1MiB".to_owned())];
        edit::add(&path, &name.parse().unwrap(), role, &verifier, &limits).unwrap();
    }
    Users::of_file(&path).unwrap()
}

fn credentials(users: Users) -> Credentials {
    Credentials { users, token: TOKEN.into(), door_file: Some("/somewhere/.agent.json".into()), token_only: false }
}

/// A door that believes to be bound to `bound`, and the address where it is.
async fn served(credentials: Credentials, bound: Option<&str>, tls: Option<Tls>) -> SocketAddr {
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let bound = bound.map_or(address, |bound| bound.parse().unwrap());
    let door_file = credentials.door_file.clone();
    let state = AppState { credentials, ..state(Limits::default(), bound) };
    let listener = DoorListener::new(listener, tls, door_file).unwrap();
    tokio::spawn(serve_door(listener, router(state), std::future::pending()));
    address
}

fn basic(name: &str, password: &str) -> String {
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}"));
    format!("Authorization: Basic {pair}\r\n")
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

async fn sql(address: SocketAddr, headers: &str, sql: &str) -> String {
    ask(address, post_request("/sql", headers, sql)).await
}

#[tokio::test]
async fn where_users_are_listed_a_password_opens() {
    let dir = tempfile::tempdir().unwrap();
    let address = served(credentials(users(dir.path())), None, None).await;
    for path in ["/metrics", "/healthz", "/readyz"] {
        let open = ask(address, get_request(path, &address.to_string())).await;
        assert!([200, 503].contains(&status(&open)), "{path}: {open}");
    }
    for headers in [
        String::new(),
        basic("ann", "password of bob"),
        basic("eve", "password of ann"),
        basic("ann", ""),
        bearer("0123456789abcdee"),
        bearer(""),
        "Authorization: Basic !!!\r\n".to_owned(),
        basic("ann", "password of ann") + &bearer(TOKEN),
    ] {
        let refused = sql(address, &headers, "SELECT 1").await;
        assert_eq!(status(&refused), 401, "{headers}: {refused}");
        assert!(refused.contains("www-authenticate: Basic realm=\"zktrail\""), "{refused}");
        assert!(refused.contains("zktrail-door: /somewhere/.agent.json") && !refused.contains(TOKEN), "{refused}");
    }
    for headers in [basic("ann", "password of ann"), basic("bob", "password of bob"), bearer(TOKEN)] {
        let answered = sql(address, &headers, "SELECT 1 AS one").await;
        assert!(status(&answered) == 200 && answered.contains("[{\"one\":1}]"), "{headers}: {answered}");
        let index = ask(address, post_request("/", &headers, "").replacen("POST", "GET", 1)).await;
        assert_eq!(status(&index), 200, "{index}");
    }
    // A control of the agent takes its owner, whoever else is listed.
    let snapshot = ask(address, post_request("/snapshot", &basic("ann", "password of ann"), "")).await;
    assert_eq!(status(&snapshot), 401, "{snapshot}");
}

#[tokio::test]
async fn a_users_bounds_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let address = served(credentials(users(dir.path())), None, None).await;
    let (ann, bob) = (basic("ann", "password of ann"), basic("bob", "password of bob"));
    let rows = "SELECT * FROM generate_series(1, 15)";
    assert_eq!(status(&sql(address, &ann, rows).await), 200);
    let limited = sql(address, &bob, rows).await;
    assert!(status(&limited) == 422 && limited.contains("10 rows (limit rows of the user bob"), "{limited}");
    let large = "SELECT count(*) FROM (SELECT DISTINCT x FROM generate_series(1, 3000000) AS s(x) ORDER BY x)";
    let limited = sql(address, &ann, large).await;
    assert!(status(&limited) == 422 && limited.contains("the user ann together may hold 1 MiB"), "{limited}");
    let long = "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b, \
                generate_series(1, 100000) c";
    let limited = sql(address, &bob, long).await;
    assert!(status(&limited) == 408 && limited.contains("5 s (limit time of the user bob"), "{limited}");
}

#[tokio::test]
async fn whoever_fails_too_often_waits() {
    let dir = tempfile::tempdir().unwrap();
    let address = served(credentials(users(dir.path())), None, None).await;
    assert_eq!(status(&sql(address, &basic("ann", "password of ann"), "SELECT 1").await), 200);
    let mut last = String::new();
    for _ in 0..12 {
        last = sql(address, &basic("ann", "no password of hers"), "SELECT 1").await;
    }
    assert!(status(&last) == 429 && last.contains("retry-after: "), "{last}");
    // Who was let in goes on, others are not concerned.
    assert_eq!(status(&sql(address, &basic("ann", "password of ann"), "SELECT 1").await), 200);
    assert_eq!(status(&sql(address, &basic("bob", "password of bob"), "SELECT 1").await), 200);
}

#[tokio::test]
async fn off_loopback_credentials_open_under_any_name() {
    let dir = tempfile::tempdir().unwrap();
    let bound = Some("192.0.2.1:9847");
    let address = served(credentials(users(dir.path())), bound, None).await;
    let under_another_name =
        |headers: &str| post_request("/sql", headers, "SELECT 1").replace("Host: localhost", "Host: zktrail.example");
    let answered = ask(address, under_another_name(&basic("ann", "password of ann"))).await;
    assert_eq!(status(&answered), 200, "{answered}");
    assert_eq!(status(&ask(address, under_another_name("")).await), 401);
    // Where nobody is listed only the owner's token opens, from this machine.
    let address = served(credentials(Users::nobody_listed()), bound, None).await;
    assert_eq!(status(&sql(address, "", "SELECT 1").await), 403);
    assert_eq!(status(&sql(address, &basic("ann", "password of ann"), "SELECT 1").await), 403);
    assert_eq!(status(&sql(address, &bearer(TOKEN), "SELECT 1").await), 200);
}

#[tokio::test]
async fn the_owners_door_takes_the_token_alone() {
    let dir = tempfile::tempdir().unwrap();
    let own = Credentials { token_only: true, ..credentials(users(dir.path())) };
    let address = served(own, None, None).await;
    assert_eq!(status(&sql(address, &bearer(TOKEN), "SELECT 1").await), 200);
    assert_eq!(status(&sql(address, &basic("ann", "password of ann"), "SELECT 1").await), 401);
    assert_eq!(status(&ask(address, get_request("/metrics", "localhost")).await), 401);
    // Without a token there is none that fits.
    let nobodys = Credentials { token: "".into(), token_only: true, ..credentials(Users::nobody_listed()) };
    let address = served(nobodys, None, None).await;
    assert_eq!(status(&sql(address, &bearer(""), "SELECT 1").await), 401);
}

#[tokio::test]
async fn pages_of_other_sites_get_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let address = served(credentials(users(dir.path())), None, None).await;
    let ann = basic("ann", "password of ann");
    for (more, expected) in [
        ("", 200),
        ("Sec-Fetch-Site: same-origin\r\n", 200),
        ("Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n", 403),
        ("Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\n", 403),
        ("Sec-Fetch-Site: same-site\r\nSec-Fetch-Mode: cors\r\n", 403),
    ] {
        let response = sql(address, &format!("{ann}{more}"), "SELECT 1").await;
        assert_eq!(status(&response), expected, "{more}: {response}");
    }
    let rebound = post_request("/sql", &ann, "SELECT 1").replace("Host: localhost", "Host: evil.example");
    assert_eq!(status(&ask(address, rebound).await), 421);
}

#[tokio::test]
async fn over_tls_plain_text_is_sent_away() {
    let dir = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certificate = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    let (certificate_path, key_path) = (dir.path().join("tls.crt"), dir.path().join("tls.key"));
    std::fs::write(&certificate_path, certificate.pem()).unwrap();
    std::fs::write(&key_path, key.serialize_pem()).unwrap();
    let tls = Tls::load(&certificate_path, &key_path).unwrap();
    let address = served(credentials(users(dir.path())), None, Some(tls)).await;
    let plain = ask(address, get_request("/metrics", "localhost")).await;
    assert!(status(&plain) == 400 && plain.contains("this door speaks TLS"), "{plain}");
    assert!(plain.contains("zktrail-door: /somewhere/.agent.json"), "{plain}");

    let over_tls = tokio::task::spawn_blocking(move || {
        let trusted = ureq::tls::Certificate::from_pem(certificate.pem().as_bytes()).unwrap();
        let tls = ureq::tls::TlsConfig::builder().root_certs(ureq::tls::RootCerts::new_with_certs(&[trusted]));
        let config = ureq::Agent::config_builder().http_status_as_error(false).tls_config(tls.build()).build();
        let agent = ureq::Agent::new_with_config(config);
        let pair = base64::engine::general_purpose::STANDARD.encode("ann:password of ann");
        let url = format!("https://{address}");
        let right =
            agent.post(format!("{url}/sql")).header("Authorization", format!("Basic {pair}")).send("SELECT 1 AS one");
        let nobody = agent.post(format!("{url}/sql")).send("SELECT 1").unwrap().status().as_u16();
        // Not everybody's certificate is trusted.
        let strict = ureq::get(format!("{url}/metrics")).call().is_err();
        (right.unwrap().body_mut().read_to_string().unwrap(), nobody, strict)
    });
    assert_eq!(over_tls.await.unwrap(), ("[{\"one\":1}]\n".to_owned(), 401, true));
    // Neither silence nor noise holds the door up.
    let silent: Vec<_> = (0..8).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
    let noise = ask(address, "\u{16}\u{3}\u{1}nonsense that is no handshake".to_owned()).await;
    assert!(!noise.contains("HTTP/1.1 200"), "{noise}");
    assert_eq!(status(&ask(address, get_request("/metrics", "localhost")).await), 400);
    drop(silent);
}
