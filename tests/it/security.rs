//! What the doors let in, and what someone without the right to values finds out: over HTTP and over PostgreSQL.

use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use zktrail::query::{Engine, Limits};
use zktrail::serve::access_log::AccessLog;
use zktrail::serve::http::{self, AppState, Credentials, Hosts, SnapshotRefused};
use zktrail::serve::pg::{self, PgState};
use zktrail::serve::users::{Role, Users, Verifier, edit};

use crate::prerequisites::sized;
use crate::story::{Kept, Story};

/// Pieces of the story's values, as they are and as every form of an answer would show them.
const VALUES: [&str; 4] = ["keep me", "timeout=30", "pool=10", "jdbc:db1"];

/// Whether an answer holds a piece of a value, in whatever form.
fn leaks(answer: &str) -> Option<&'static str> {
    let lower = answer.to_lowercase();
    VALUES.into_iter().find(|value| {
        let hex: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
        // Base64 of the middle of a text depends on where it begins: of each place what does not depend on the rest.
        let shifted = (0..3).any(|shift| {
            let padded = format!("{}{value}", "\0".repeat(shift));
            let encoded = base64(padded.as_bytes());
            encoded.get(4 * shift.min(1)..encoded.len().saturating_sub(4)).is_some_and(|middle| answer.contains(middle))
        });
        lower.contains(value) || lower.contains(&hex) || shifted
    })
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0_u32, |word, byte| (word << 8) | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for at in 0..=chunk.len() {
            out.push(char::from(ALPHABET[(word >> (18 - 6 * at)) as usize & 63]));
        }
        (chunk.len()..3).for_each(|_| out.push('='));
    }
    out
}

/// Both doors over the story, with `ann` who may see values and `bob` who may not.
struct Doors {
    http: SocketAddr,
    postgres: SocketAddr,
    log: PathBuf,
    _folder: tempfile::TempDir,
    _story: Story,
}

const ANN: &str = "ann's own password";
const BOB: &str = "bob's own password";

fn list(path: &Path) -> Result<()> {
    for (name, role, password) in [("ann", Role::ReadValues, ANN), ("bob", Role::Read, BOB)] {
        let name = name.parse().map_err(anyhow::Error::msg)?;
        edit::add(path, &name, role, &Verifier::of_new(password)?, &[])?;
    }
    Ok(())
}

impl Doors {
    async fn open() -> Result<Self> {
        let story = Story::record(Kept::Both).await?;
        let limits = Limits { rows_max: 2_000, time_max: Duration::from_secs(5), ..Limits::default() };
        let engine: Engine = story.engine_with(limits)?;
        let folder = tempfile::tempdir()?;
        let (list_path, log) = (folder.path().join("users.toml"), folder.path().join("access.jsonl"));
        list(&list_path)?;
        let (users, access_log) = (Users::of_file(&list_path)?, AccessLog::to_file(&log)?);
        let listener = http::bind("127.0.0.1:0".parse()?).await?;
        let http = listener.local_addr()?;
        let state = AppState {
            engine: engine.clone(),
            metrics: Arc::new(String::new),
            health: Arc::new(|| Ok(())),
            ready: Arc::new(Vec::new),
            snapshot: Arc::new(|_| Box::pin(async { Err(SnapshotRefused::Unauthorised) })),
            hosts: Hosts::new(http, []),
            credentials: Credentials { users: users.clone(), ..Credentials::default() },
            access_log: access_log.clone(),
            version: "0",
        };
        tokio::spawn(http::serve(listener, http::router(state), std::future::pending()));
        let listener = pg::bind("127.0.0.1:0".parse()?).await?;
        let postgres = listener.local_addr()?;
        let state = PgState {
            engine,
            users,
            tls: None,
            tls_required: false,
            connections_max: 20,
            access_log,
            connections: Arc::new(|_| ()),
            version: "0",
        };
        tokio::spawn(pg::serve(listener, state, std::future::pending()));
        Ok(Self { http, postgres, log, _folder: folder, _story: story })
    }

    /// Status and body of a query over HTTP, as one connection of one user asks them.
    fn http(&self, name: &str, password: &str) -> impl Fn(&[u8]) -> Result<(u16, String)> + Send + 'static {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .timeout_global(Some(Duration::from_secs(60)))
            .build();
        let (agent, url) = (ureq::Agent::new_with_config(config), format!("http://{}/sql", self.http));
        let authorization = format!("Basic {}", base64(format!("{name}:{password}").as_bytes()));
        move |sql: &[u8]| {
            let request = agent.post(&url).header("Authorization", &authorization).header("Accept", "text/csv");
            let mut response = request.header("Content-Type", "text/plain").send(sql)?;
            let status = response.status().as_u16();
            // A limit that is reached half way breaks the answer off.
            Ok((status, response.body_mut().read_to_string().unwrap_or_default()))
        }
    }

    async fn postgres(&self, name: &str, password: &str) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(self.postgres.port()).user(name).password(password).dbname("zktrail");
        let (client, connection) = config.connect(tokio_postgres::NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }
}

/// What a simple query answers, as one text.
async fn told(client: &tokio_postgres::Client, sql: &str) -> std::result::Result<String, String> {
    use tokio_postgres::SimpleQueryMessage::Row;
    match client.simple_query(sql).await {
        Ok(messages) => {
            let cells = messages.iter().filter_map(|message| match message {
                Row(row) => Some((0..row.len()).map(|at| row.get(at).unwrap_or("NULL")).collect::<Vec<_>>().join(",")),
                _ => None,
            });
            Ok(cells.collect::<Vec<_>>().join("\n"))
        }
        Err(error) => Err(error.as_db_error().map_or_else(|| error.to_string(), |error| format!("{error:?}"))),
    }
}

/// Ways to a value, each of which shows one to whoever may see it.
const ROUTES: &[&str] = &[
    "SELECT data_text(data) FROM changes WHERE data IS NOT NULL",
    "SELECT * FROM changes",
    "SELECT * FROM znodes",
    "SELECT * FROM snapshots",
    "SELECT * FROM znodes_at('2026-11-20T03:30:00Z')",
    "SELECT data_text(data) FROM znodes WHERE path = '/config/app'",
    "SELECT encode(data, 'hex') FROM znodes",
    "SELECT encode(data, 'base64') FROM znodes",
    "SELECT max(data_text(data)), min(data_text(data)) FROM changes",
    "SELECT data_text(data), count(*) FROM changes GROUP BY 1",
    "SELECT string_agg(data_text(data), ';') FROM changes",
    "SELECT array_agg(data_text(data)) FROM znodes",
    "SELECT 'x' || data_text(data) FROM changes",
    "SELECT upper(data_text(data)) FROM znodes",
    "SELECT substr(data_text(data), 1, 20) FROM znodes",
    "SELECT (SELECT data_text(data) FROM znodes WHERE path = '/config/app')",
    "WITH t AS (SELECT data AS d FROM changes) SELECT data_text(d) FROM t",
    "SELECT data_text(a.data) FROM changes a JOIN snapshots b USING (path)",
    "SELECT data_text(lag(data) OVER (ORDER BY seq)) FROM changes",
    "SELECT data_text(last_value(data ORDER BY seq)) FROM changes WHERE path = '/config/app'",
    "SELECT data_text(d) FROM (SELECT data AS d FROM changes UNION ALL SELECT data FROM znodes)",
    "SELECT CAST(data_text(data) AS INT) FROM znodes WHERE path = '/config/app'",
    "SELECT to_timestamp(data_text(data)) FROM znodes WHERE path = '/config/app'",
    "SELECT replace(arrow_cast(data, 'Utf8'), 'zzz', '') FROM znodes WHERE path = '/config/app'",
];

/// Counts that depend on values, for whoever may see them.
const COUNTS: &[&str] = &[
    "SELECT count(*) FROM changes WHERE data_length > 5",
    "SELECT count(*) FROM changes WHERE data_hash IS NOT NULL",
    "SELECT count(*) FROM znodes WHERE data_text(data) LIKE 'timeout%'",
    "SELECT count(*) FROM snapshots WHERE acl IS NOT NULL OR data_length >= 0",
    "SELECT count(*) FROM changes a JOIN znodes b ON a.data_hash = b.data_hash",
    "SELECT coalesce(max(data_length), 0) FROM changes",
    "SELECT count(DISTINCT data) FROM changes",
    "SELECT count(*) FROM tree_diff('2026-11-20T02:30:00Z', '2026-11-20T03:30:00Z') WHERE data_hash_a IS NOT NULL OR data_length_b > 0",
];

/// What no user may do, on any door.
const FORBIDDEN: &[&str] = &[
    "CREATE TABLE t AS SELECT 1",
    "CREATE VIEW v AS SELECT * FROM changes",
    "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'",
    "DROP TABLE changes",
    "INSERT INTO changes VALUES (1)",
    "UPDATE changes SET data = NULL",
    "DELETE FROM changes",
    "TRUNCATE changes",
    "COPY changes TO '/tmp/zktrail-security-test.csv'",
    "COPY (SELECT 1) TO '/tmp/zktrail-security-test.csv' STORED AS CSV",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '/tmp/zktrail-security-test.csv'",
    "EXPLAIN ANALYZE INSERT INTO changes SELECT * FROM changes",
    "SELECT * FROM '/etc/passwd'",
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_parquet('/etc/passwd')",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT lo_import('/etc/passwd')",
    "SELECT * FROM pg_authid",
    "LOAD '/etc/passwd'",
    "ALTER USER bob PASSWORD 'x'",
    "GRANT ALL ON changes TO bob",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_without_the_right_sees_no_value_on_any_door() -> Result<()> {
    let doors = Doors::open().await?;
    let (ann, bob) = (doors.http("ann", ANN), doors.http("bob", BOB));
    let (pg_ann, pg_bob) = (doors.postgres("ann", ANN).await?, doors.postgres("bob", BOB).await?);
    let mut shown = 0;
    for sql in ROUTES {
        let (_, answer) = bob(sql.as_bytes())?;
        ensure!(leaks(&answer).is_none(), "{sql} over HTTP: {answer}");
        let answer = told(&pg_bob, sql).await.unwrap_or_else(|error| error);
        ensure!(leaks(&answer).is_none(), "{sql} over PostgreSQL: {answer}");
        let (_, to_ann) = ann(sql.as_bytes())?;
        let pg_to_ann = told(&pg_ann, sql).await.unwrap_or_else(|error| error);
        shown += usize::from(leaks(&to_ann).is_some() && leaks(&pg_to_ann).is_some());
    }
    ensure!(shown * 10 >= ROUTES.len() * 7, "only {shown} of {} routes lead to a value", ROUTES.len());
    for sql in COUNTS {
        let (status, answer) = bob(sql.as_bytes())?;
        ensure!(status == 200 && answer.lines().last() == Some("0"), "{sql}: {answer}");
        ensure!(told(&pg_bob, sql).await.as_deref() == Ok("0"), "{sql} over PostgreSQL");
        let (_, to_ann) = ann(sql.as_bytes())?;
        ensure!(to_ann.lines().last() != Some("0"), "{sql}: {to_ann}");
    }
    // Bound parameters are asked behind the same tables.
    let path = "/config/app";
    let rows = pg_bob.query("SELECT data, data_length, acl FROM znodes WHERE path = $1", &[&path]).await?;
    let row = rows.first().context("one znode")?;
    ensure!(row.try_get::<_, Option<Vec<u8>>>(0)?.is_none() && row.try_get::<_, Option<i32>>(1)?.is_none());
    let rows = pg_ann.query("SELECT data FROM znodes WHERE path = $1", &[&path]).await?;
    ensure!(rows.first().context("one znode")?.try_get::<_, Option<Vec<u8>>>(0)?.is_some());
    // The log says who asked what, and holds no row of an answer.
    let log = std::fs::read_to_string(&doors.log)?;
    for words in
        ["\"door\":\"http\"", "\"door\":\"postgres\"", "\"user\":\"bob\",\"role\":\"read\"", "\"outcome\":\"ok\""]
    {
        ensure!(log.contains(words), "the access log lacks {words}");
    }
    ensure!(!log.contains("keep me") && !log.contains(BOB), "{log}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_writes_and_nobody_reads_files() -> Result<()> {
    let doors = Doors::open().await?;
    let ann = doors.http("ann", ANN);
    let pg_ann = doors.postgres("ann", ANN).await?;
    for sql in FORBIDDEN {
        let (status, answer) = ann(sql.as_bytes())?;
        ensure!(status == 400 && !answer.contains("root:"), "{sql}: {status} {answer}");
        let refused = told(&pg_ann, sql).await;
        ensure!(refused.as_ref().is_err_and(|error| !error.contains("root:")), "{sql} over PostgreSQL: {refused:?}");
    }
    ensure!(!Path::new("/tmp/zktrail-security-test.csv").exists());
    ensure!(told(&pg_ann, "SELECT 1").await.as_deref() == Ok("1"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_password_nobody_enters() -> Result<()> {
    let doors = Doors::open().await?;
    for (name, password) in [("bob", ""), ("bob", ANN), ("eve", BOB), ("", ""), ("bob", "\u{0}"), ("BOB", BOB)] {
        let (status, _) = doors.http(name, password)(b"SELECT 1")?;
        ensure!(status == 401, "{name}:{password} over HTTP: {status}");
        if !name.is_empty() && !password.contains('\0') {
            let refused = doors.postgres(name, password).await.err().context("let in over PostgreSQL")?;
            let code = refused.code().map(|code| code.code().to_owned());
            ensure!(password.is_empty() || code.as_deref() == Some("28P01"), "{name}: {refused:?}");
        }
    }
    let log = std::fs::read_to_string(&doors.log)?;
    ensure!(log.matches("\"event\":\"login_failed\"").count() >= 8 && !log.contains(ANN), "{log}");
    Ok(())
}

/// Numbers from a seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn pick<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }
}

const TRICKS: &[&str] = &[
    "\u{202e}",
    "\u{200b}",
    "\u{feff}",
    "ｄａｔａ",
    "data\u{301}",
    "\u{0}",
    "'",
    "''",
    "\"",
    "\\",
    "$$",
    "--",
    "/*",
    "*/",
    ";",
    "💥",
    "\u{10ffff}",
    "E'\\x'",
    "U&'\\0000'",
    "X'zz'",
    "0x",
    "1e999",
    "-9223372036854775808",
    "99999999999999999999",
    "NULL",
    "NaN",
    "$1",
    "$zz",
    ":x",
    "??",
    "::",
    "::bytea",
    "::int",
    "[]",
    "[1:2]",
    "{}",
    "(",
    ")",
    "((",
    "))",
    ",",
    ".*",
];

const PIECES: &[&str] = &[
    "data",
    "data_text(data)",
    "data_hash",
    "data_length",
    "acl",
    "path",
    "seq",
    "changes",
    "znodes",
    "snapshots",
    "znodes_at('2026-11-20')",
    "tree_diff(1, 2)",
    "information_schema.columns",
    "pg_catalog.pg_class",
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP BY",
    "ORDER BY",
    "LIMIT",
    "UNION ALL",
    "INTERSECT",
    "JOIN",
    "CROSS JOIN",
    "LATERAL",
    "OVER ()",
    "FILTER (WHERE true)",
    "DISTINCT ON (data)",
    "EXPLAIN ANALYZE",
    "EXPLAIN VERBOSE",
    "CASE WHEN data IS NULL THEN 1 END",
    "EXISTS (SELECT 1)",
    "IN (SELECT data FROM changes)",
    "CAST(data AS TEXT)",
    "to_char(time, 'YYYY')",
    "unnest",
    "generate_series(1, 100000000)",
    "repeat('x', 1000000000)",
    "lpad('x', 2000000000)",
    "regexp_replace(path, '(a+)+$', '')",
    "decode(path, data)",
    "hex(data_hash)",
    "array_agg(data)",
    "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r)",
    "VALUES (1)",
    "TABLE changes",
    "SHOW ALL",
    "SET x = 1",
    "COPY changes TO '/tmp/x'",
    "DROP TABLE changes",
    "INTERVAL '1 day'",
];

/// One hostile statement. Where it is no text it goes over HTTP alone.
fn hostile(dice: &mut Dice) -> Vec<u8> {
    let valid = |dice: &mut Dice| dice.pick(if dice.0.is_multiple_of(2) { ROUTES } else { COUNTS }).to_owned();
    match dice.below(12) {
        0 => {
            let depth = 1 + dice.below(3_000);
            format!("SELECT {}1{}", "(".repeat(depth), ")".repeat(depth)).into_bytes()
        }
        1 => {
            let depth = 1 + dice.below(400);
            format!("{}SELECT data FROM changes{}", "SELECT * FROM (".repeat(depth), ")".repeat(depth)).into_bytes()
        }
        2 => format!("SELECT '{}'", dice.pick(TRICKS).repeat(1 + dice.below(50_000))).into_bytes(),
        3 => {
            let mut bytes = valid(dice).into_bytes();
            for _ in 0..1 + dice.below(8) {
                let at = dice.below(bytes.len());
                bytes[at] = dice.next() as u8;
            }
            bytes
        }
        4 => {
            let operator = dice.pick(&[" + ", " OR ", " AND ", " || ", " = ", "::text::", " NOT "]);
            format!("SELECT 1{}", format!("{operator}1").repeat(1 + dice.below(2_000))).into_bytes()
        }
        5 => (0..1 + dice.below(30)).map(|_| dice.pick(PIECES)).collect::<Vec<_>>().join(" ").into_bytes(),
        6 => (0..1 + dice.below(200)).map(|_| dice.pick(TRICKS)).collect::<String>().into_bytes(),
        _ => {
            let base = valid(dice);
            let mut words: Vec<String> = base.split(' ').map(str::to_owned).collect();
            for _ in 0..1 + dice.below(4) {
                let at = dice.below(words.len());
                match dice.below(5) {
                    0 => drop(words.remove(at)),
                    1 => words.insert(at, dice.pick(PIECES).to_owned()),
                    2 => words.insert(at, dice.pick(TRICKS).to_owned()),
                    3 => words[at] = dice.pick(PIECES).to_owned(),
                    _ => {
                        let other = dice.below(words.len());
                        words.swap(at, other);
                    }
                }
                if words.is_empty() {
                    break;
                }
            }
            words.join(" ").into_bytes()
        }
    }
}

/// Ten thousand of them in the long form: none makes a thread panic, none shows a value, and the doors answer after.
#[test]
fn hostile_statements_break_nothing_and_find_nothing() -> Result<()> {
    // As the agent's own.
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().thread_stack_size(zktrail::query::STACK_BYTES).build()?;
    runtime.block_on(async { tokio::spawn(hostile_statements()).await? })
}

async fn hostile_statements() -> Result<()> {
    let doors = Doors::open().await?;
    let count = sized(600, 10_000);
    let (bob, mut dice) = (doors.http("bob", BOB), Dice(0x5eed));
    let mut pg_bob = doors.postgres("bob", BOB).await?;
    let (mut answered, mut refused) = (0, 0);
    for number in 0..count {
        let sql = hostile(&mut dice);
        let shown = || String::from_utf8_lossy(&sql).chars().take(300).collect::<String>();
        let (status, answer) =
            tokio::task::block_in_place(|| bob(&sql)).with_context(|| format!("{number}: {}", shown()))?;
        // A text that its own question held is no leak; the pieces of values stand in some of the routes.
        let asked = leaks(&String::from_utf8_lossy(&sql)).is_some();
        ensure!(asked || leaks(&answer).is_none(), "{number}: {} answered {answer}", shown());
        ensure!(!answer.contains("panicked"), "{number}: {} answered {answer}", shown());
        ensure!([200, 400, 408, 413, 422, 500].contains(&status), "{number}: {} answered {status} {answer}", shown());
        match status {
            200 => answered += 1,
            _ => refused += 1,
        }
        let Ok(text) = std::str::from_utf8(&sql) else { continue };
        if text.contains('\0') || number % 2 == 0 {
            continue;
        }
        let answer = told(&pg_bob, text).await.unwrap_or_else(|error| error);
        ensure!(asked || leaks(&answer).is_none(), "{number} over PostgreSQL: {} answered {answer}", shown());
        ensure!(!answer.contains("panicked"), "{number} over PostgreSQL: {} answered {answer}", shown());
        if pg_bob.is_closed() {
            pg_bob = doors.postgres("bob", BOB).await?;
        }
    }
    ensure!(answered > count / 20 && refused > count / 3, "{answered} answered, {refused} refused");
    let (status, one) = tokio::task::block_in_place(|| bob(b"SELECT 1 AS one"))?;
    ensure!(status == 200 && one == "one\r\n1\r\n", "{one}");
    ensure!(told(&doors.postgres("ann", ANN).await?, "SELECT 1").await.as_deref() == Ok("1"));
    Ok(())
}

// The agent as a process.

fn zktrail(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zktrail"));
    command.args(arguments);
    for name in ["ZKTRAIL_AGENT", "ZKTRAIL_USER", "ZKTRAIL_PASSWORD", "ZKTRAIL_CA", "ZKTRAIL_CONFIG", "RUST_LOG"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Certificate and key, valid for these years.
fn certificate(dir: &Path, name: &str, years: (i32, i32)) -> Result<(PathBuf, PathBuf)> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    (params.not_before, params.not_after) = (date_time_ymd(years.0, 1, 1), date_time_ymd(years.1, 1, 1));
    let (certificate, key_path) = (dir.join(format!("{name}.crt")), dir.join(format!("{name}.key")));
    std::fs::write(&certificate, params.self_signed(&key)?.pem())?;
    std::fs::write(&key_path, key.serialize_pem())?;
    Ok((certificate, key_path))
}

#[test]
fn an_agent_that_would_be_open_or_cannot_be_trusted_does_not_start() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("history").display().to_string();
    let (good, good_key) = certificate(dir.path(), "good", (2020, 2080))?;
    let (expired, expired_key) = certificate(dir.path(), "expired", (2010, 2020))?;
    let users = dir.path().join("users.toml");
    list(&users)?;
    let open = dir.path().join("open.toml");
    std::fs::copy(&users, &open)?;
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o644))?;
    let path = |path: &Path| path.display().to_string();
    let [good, good_key, expired, expired_key, users, open] =
        [&good, &good_key, &expired, &expired_key, &users, &open].map(|one| path(one));
    let there = "0.0.0.0:0";
    for (arguments, words) in [
        (vec!["--tls-cert", &expired, "--tls-key", &expired_key], "expired on 2020-01-01"),
        (vec!["--tls-cert", &good, "--tls-key", &expired_key], "is not that of the certificate"),
        (vec!["--tls-cert", &good], "tls_cert is given without tls_key"),
        (vec!["--tls-cert", "/nowhere", "--tls-key", &good_key], "cannot read /nowhere"),
        (vec!["--tls-required"], "there is no certificate"),
        (vec!["--users-file", "/nowhere/users.toml"], "cannot read the users file"),
        (vec!["--users-file", &open], "chmod 600"),
        (vec!["--http", there, "--users-file", &users], "passwords in clear text"),
        (vec!["--http", "off", "--postgres", there, "--users-file", &users], "passwords in clear text"),
        (vec!["--http", "off", "--postgres", there], "without a password"),
    ] {
        let here = ["agent", "--ensemble", "x=127.0.0.1:1", "--data-dir", &data];
        let mut doors = vec!["--http", "127.0.0.1:0", "--postgres", "127.0.0.1:0"];
        doors.retain(|_| !arguments.contains(&"--http") && !arguments.contains(&"--postgres"));
        let all: Vec<&str> = here.into_iter().chain(doors).chain(arguments.iter().copied()).collect();
        let mut child = zktrail(&all).spawn()?;
        let until = Instant::now() + Duration::from_secs(60);
        while child.try_wait()?.is_none() {
            if Instant::now() > until {
                child.kill()?;
                bail!("{arguments:?} started");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let output = child.wait_with_output()?;
        ensure!(output.status.code() == Some(1) && text(&output).contains(words), "{arguments:?}: {}", text(&output));
    }
    Ok(())
}

/// An agent of its own process; its ensemble is nowhere.
struct Agent {
    child: Child,
    dir: tempfile::TempDir,
    http: u16,
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Agent {
    fn data(&self) -> PathBuf {
        self.dir.path().join("history")
    }

    fn start(dir: tempfile::TempDir, more: &[&str]) -> Result<Self> {
        // Free a moment ago: whoever takes it meanwhile makes the agent say so.
        let http = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let (data, address) = (dir.path().join("history").display().to_string(), format!("127.0.0.1:{http}"));
        let mut command = zktrail(&[
            "agent",
            "--ensemble",
            "x=127.0.0.1:1",
            "--data-dir",
            &data,
            "--http",
            &address,
            "--postgres",
            "off",
        ]);
        let log = std::fs::File::create(dir.path().join("agent.log"))?;
        let child = command.args(more).stdout(Stdio::null()).stderr(log).spawn()?;
        let mut agent = Self { child, dir, http };
        agent.until("HTTP: /metrics")?;
        Ok(agent)
    }

    /// Waits until the agent's log has these words.
    fn until(&mut self, words: &str) -> Result<()> {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let log = std::fs::read_to_string(self.dir.path().join("agent.log"))?;
            if log.contains(words) {
                return Ok(());
            }
            ensure!(Instant::now() < until && self.child.try_wait()?.is_none(), "no {words:?} in the log: {log}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn ask(&self, arguments: &[&str], password: Option<&str>) -> Result<Output> {
        let mut command = zktrail(&["sql", "--format", "csv", "SELECT 41 + 1 AS n"]);
        // Nobody's folder, so that only the agent can answer.
        command.args(arguments).current_dir(self.dir.path().join("elsewhere"));
        password.map(|password| command.env("ZKTRAIL_PASSWORD", password));
        Ok(command.output()?)
    }
}

fn user(data: &Path, arguments: &[&str], password: &str) -> Result<Output> {
    let mut child = zktrail(&["user"]).args(arguments).arg("--data-dir").arg(data).stdin(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A command that needs no password does not read it.
        let _ = writeln!(stdin, "{password}");
    }
    Ok(child.wait_with_output()?)
}

#[test]
fn commands_enter_with_the_folders_token_or_a_password_over_tls_too() -> Result<()> {
    for with_tls in [false, true] {
        let dir = tempfile::tempdir()?;
        std::fs::create_dir(dir.path().join("elsewhere"))?;
        let data = dir.path().join("history");
        let added = user(&data, &["add", "ann", "--role", "read-values", "--rows", "100", "--password-stdin"], ANN)?;
        ensure!(added.status.success(), "{}", text(&added));
        let short = user(&data, &["add", "eve", "--role", "read", "--password-stdin"], "short")?;
        ensure!(short.status.code() == Some(1) && text(&short).contains("fewer than 8"), "{}", text(&short));
        let asked = user(&data, &["password", "ann"], "")?;
        ensure!(text(&asked).contains("--password-stdin"), "{}", text(&asked));
        let listed = user(&data, &["list"], "")?;
        ensure!(text(&listed).contains("ann   read-values  -       -     100   -"), "{}", text(&listed));

        let (certificate_path, key) = certificate(dir.path(), "tls", (2020, 2080))?;
        let (certificate_path, key) = (certificate_path.display().to_string(), key.display().to_string());
        let more: Vec<&str> =
            if with_tls { vec!["--tls-cert", &certificate_path, "--tls-key", &key] } else { Vec::new() };
        let mut agent = Agent::start(dir, &more)?;
        let plain = format!("http://127.0.0.1:{}", agent.http);
        let url = if with_tls { plain.replace("http", "https") } else { plain.clone() };

        // The folder's owner is let in without a word.
        let owner = agent.ask(&["--agent", &plain], None)?;
        ensure!(owner.status.success() && text(&owner) == "n\r\n42\r\n", "{}", text(&owner));
        let mut by_password = vec!["--agent", &url, "--user", "ann"];
        if with_tls {
            let untrusted = agent.ask(&by_password, Some(ANN))?;
            ensure!(text(&untrusted).contains("is not trusted"), "{}", text(&untrusted));
            by_password.extend(["--ca", &certificate_path]);
        }
        let ann = agent.ask(&by_password, Some(ANN))?;
        ensure!(ann.status.success() && text(&ann) == "n\r\n42\r\n", "{}", text(&ann));
        let wrong = agent.ask(&by_password, Some(BOB))?;
        ensure!(
            wrong.status.code() == Some(1) && text(&wrong).contains("does not let the user ann in"),
            "{}",
            text(&wrong)
        );

        // Who is not listed any more is out after a SIGHUP; a list that is broken changes nothing.
        let removed = user(&agent.data(), &["remove", "ann"], "")?;
        ensure!(removed.status.success(), "{}", text(&removed));
        hang_up(&agent)?;
        agent.until("read again: users")?;
        let gone = agent.ask(&by_password, Some(ANN))?;
        ensure!(gone.status.code() == Some(1), "{}", text(&gone));
        std::fs::write(agent.data().join("users.toml"), "[users.ann]\nrole = \"root\"\n")?;
        hang_up(&agent)?;
        agent.until("users stay as they were")?;
        let owner = agent.ask(&["--agent", &plain], None)?;
        ensure!(owner.status.success(), "{}", text(&owner));

        // What the folder's owner cannot read does not help others.
        std::fs::write(agent.data().join(".agent.json"), "{}")?;
        let nobody = agent.ask(&["--agent", &plain], None)?;
        let words = if with_tls { "speaks TLS" } else { "wants a name and a password: --user NAME" };
        ensure!(nobody.status.code() == Some(1) && text(&nobody).contains(words), "{}", text(&nobody));
    }
    Ok(())
}

fn hang_up(agent: &Agent) -> Result<()> {
    let status = Command::new("kill").arg("-HUP").arg(agent.child.id().to_string()).status()?;
    ensure!(status.success(), "kill -HUP");
    Ok(())
}
