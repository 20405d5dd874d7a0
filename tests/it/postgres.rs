//! The PostgreSQL door, asked by a client that is not ours, and by bytes that no client sends.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, bail, ensure};
use futures::TryStreamExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error, NoTls, SimpleQueryMessage};

use crate::agent::{Agent, Settings};
use crate::prerequisites::{history_folder, skip};
use crate::servers::{Ensemble, Shape, Version};
use crate::workload::{self, Workload};

/// An agent with some history behind it, and what it needs to live.
struct Recorded {
    agent: Agent,
    _ensemble: Ensemble,
    _folder: tempfile::TempDir,
}

/// Operations that the history holds.
const OPERATIONS: usize = 300;

/// Runs for minutes: each of its joins multiplies.
const ENDLESS: &str = "SELECT count(*) FROM changes a, changes b, changes c, changes d, changes e \
                       WHERE a.seq + b.seq + c.seq + d.seq + e.seq = -1";

/// How soon a query has to be gone whose client does not want it any more.
const GONE_WITHIN: Duration = Duration::from_secs(10);

impl Recorded {
    async fn new(flags: &[(&str, &str)]) -> Result<Self> {
        let ensemble = Ensemble::start(Version::Embedded, Shape::Standalone).await?;
        let connect = ensemble.connect_string();
        let folder = history_folder()?;
        let settings = Settings::new(&connect, folder.path());
        let settings = flags.iter().fold(settings, |settings, (flag, value)| settings.with(flag, value));
        let agent = Agent::start(settings).await?;
        Workload::new(&connect, 1, OPERATIONS).run().await?;
        workload::create(&workload::session(&connect).await?, "/end", b"\x00\xff").await?;
        agent.sees("/end").await?;
        Ok(Self { agent, _ensemble: ensemble, _folder: folder })
    }

    fn dsn(&self) -> String {
        let door = self.agent.postgres();
        format!("host={} port={} user=ada dbname=zktrail connect_timeout=10", door.ip(), door.port())
    }

    async fn client(&self) -> Result<Client> {
        self.client_with("").await
    }

    async fn client_with(&self, more: &str) -> Result<Client> {
        let (client, connection) = tokio_postgres::connect(&format!("{} {more}", self.dsn()), NoTls).await?;
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(client)
    }

    /// Waits until no query runs in the agent.
    async fn is_idle(&self) -> Result<()> {
        let deadline = Instant::now() + GONE_WITHIN;
        while self.agent.metric_sum("zktrail_queries_running").await? > 0.0 {
            ensure!(Instant::now() < deadline, "a query still runs after {GONE_WITHIN:?}\n{}", self.agent.logs());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

fn code(error: &Error) -> &str {
    error.code().map_or("none", |code| code.code())
}

/// The SQLSTATE by which a statement is refused.
async fn refused(client: &Client, sql: &str) -> Result<String> {
    match client.simple_query(sql).await {
        Ok(rows) => bail!("{sql} is answered: {rows:?}"),
        Err(error) => Ok(code(&error).to_owned()),
    }
}

/// The only value of the only row, as text.
async fn one(client: &Client, sql: &str) -> Result<Option<String>> {
    let answer = client.simple_query(sql).await.with_context(|| sql.to_owned())?;
    let row = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    Ok(row.with_context(|| format!("{sql}: no row"))?.get(0).map(str::to_owned))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_types_and_parameters() -> Result<()> {
    let recorded = Recorded::new(&[]).await?;
    let client = recorded.client().await?;
    let statement = client
        .prepare(
            "SELECT time, date, seq, incarnation, path, data, data_length, cause, zxid > 0, 1.5::float8 \
             FROM changes WHERE path = $1 AND time > $2 AND seq > $3 AND kind = ANY($4) LIMIT $5",
        )
        .await?;
    let types: Vec<_> = statement.columns().iter().map(|column| column.type_().clone()).collect();
    let expected = [
        Type::TIMESTAMPTZ,
        Type::DATE,
        Type::INT8,
        Type::INT4,
        Type::TEXT,
        Type::BYTEA,
        Type::INT4,
        Type::TEXT,
        Type::BOOL,
        Type::FLOAT8,
    ];
    ensure!(types == expected, "{types:?}");
    ensure!(
        statement.params() == [Type::TEXT, Type::TIMESTAMPTZ, Type::INT8, Type::TEXT_ARRAY, Type::INT8],
        "{:?}",
        statement.params()
    );
    let kinds = vec!["created", "deleted"];
    let rows = client.query(&statement, &[&"/end", &SystemTime::UNIX_EPOCH, &0_i64, &kinds, &5_i64]).await?;
    let [row] = rows.as_slice() else { bail!("{} rows", rows.len()) };
    let time: SystemTime = row.get(0);
    ensure!(time.elapsed()? < Duration::from_secs(600), "{time:?}");
    ensure!(row.get::<_, &[u8]>(5) == b"\x00\xff" && row.get::<_, i32>(6) == 2);
    ensure!(row.get::<_, Option<&str>>(7).is_none() && row.get::<_, bool>(8) && row.get::<_, f64>(9) == 1.5);

    // As often as one likes, though a flush has changed what is behind the tables.
    for _ in 0..3 {
        ensure!(client.query(&statement, &[&"/end", &time, &0_i64, &kinds, &5_i64]).await?.is_empty());
    }
    // What a client sends with its own type is not bent to another.
    let half = client.query_typed("SELECT count(*) FROM changes WHERE ordinal = $1", &[(&0.5_f64, Type::FLOAT8)]);
    ensure!(half.await?.first().map(|row| row.get::<_, i64>(0)) == Some(0));
    #[allow(clippy::disallowed_methods, reason = "a client's own clock")]
    let now = client.query_one("SELECT count(*) FROM znodes_at($1)", &[&SystemTime::now()]).await;
    ensure!(now.is_err_and(|error| error.to_string().contains("parameter 0")), "a text is a moment's type here");
    let count: i64 = client.query_one("SELECT count(*) FROM znodes", &[]).await?.get(0);
    ensure!(count > 1, "{count}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_transactions_and_errors() -> Result<()> {
    let recorded = Recorded::new(&[]).await?;
    let client = recorded.client().await?;
    for (sql, expected) in [
        ("SELEC 1", "42601"),
        ("SELECT * FROM nowhere", "42P01"),
        ("SELECT nothing FROM changes", "42703"),
        ("SELECT no_such_function(1)", "42883"),
        ("SELECT 1 / 0", "22012"),
        ("INSERT INTO changes VALUES (1)", "25006"),
        ("CREATE TABLE x (a int)", "25006"),
        ("EXPLAIN ANALYZE INSERT INTO changes VALUES (1)", "25006"),
        ("COPY changes FROM STDIN", "25006"),
        ("COPY changes TO '/etc/passwd'", "0A000"),
        ("LISTEN changes", "0A000"),
        ("VACUUM", "0A000"),
        ("SET datafusion.execution.batch_size = 1", "42704"),
        ("SET client_encoding = 'LATIN1'", "0A000"),
        ("SAVEPOINT a", "25P01"),
        ("DECLARE c CURSOR FOR SELECT 1", "25P01"),
        ("FETCH 1 FROM c", "34000"),
    ] {
        let told = refused(&client, sql).await?;
        ensure!(told == expected, "{sql}: {told}, not {expected}");
    }
    // A text of several statements ends with the first that fails.
    ensure!(refused(&client, "SELECT 1; SELECT nothing; SELECT 2").await? == "42703");

    client.batch_execute("BEGIN; SAVEPOINT a").await?;
    ensure!(refused(&client, "SELECT nothing FROM changes").await? == "42703");
    ensure!(refused(&client, "SELECT 1").await? == "25P02");
    client.batch_execute("ROLLBACK TO a; SELECT 1").await?;
    ensure!(refused(&client, "SELECT nothing FROM changes").await? == "42703");
    client.batch_execute("ROLLBACK").await?;
    ensure!(one(&client, "SELECT 1").await?.as_deref() == Some("1"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_settings_stay_in_their_session() -> Result<()> {
    let recorded = Recorded::new(&[]).await?;
    let (one_client, other) = (recorded.client().await?, recorded.client().await?);
    one_client.batch_execute("SET TimeZone = 'Asia/Tokyo'; SET statement_timeout = '2s'").await?;
    ensure!(one(&one_client, "SHOW timezone").await?.as_deref() == Some("Asia/Tokyo"));
    ensure!(one(&other, "SHOW timezone").await?.as_deref() == Some("UTC"));
    ensure!(one(&other, "SHOW statement_timeout").await?.as_deref() == Some("0"));

    // Shown and read in the session's zone.
    let shown = one(&one_client, "SELECT time FROM changes LIMIT 1").await?.unwrap_or_default();
    ensure!(shown.ends_with("+09"), "{shown}");
    let tokyo = "SELECT timestamptz '2026-11-20 09:00:00' = timestamptz '2026-11-20 00:00:00+00'";
    ensure!(one(&one_client, tokyo).await?.as_deref() == Some("t"));
    ensure!(one(&other, tokyo).await?.as_deref() == Some("f"));
    let midnight = "SELECT DISTINCT extract(hour FROM date_trunc('day', time)) FROM changes";
    ensure!(one(&one_client, midnight).await?.as_deref() == Some("0"));

    one_client.batch_execute("BEGIN; SET LOCAL TimeZone = 'UTC'; COMMIT").await?;
    ensure!(one(&one_client, "SHOW timezone").await?.as_deref() == Some("Asia/Tokyo"));
    one_client.batch_execute("BEGIN; SET TimeZone = 'UTC'; ROLLBACK").await?;
    ensure!(one(&one_client, "SHOW timezone").await?.as_deref() == Some("Asia/Tokyo"));
    one_client.batch_execute("RESET ALL").await?;
    ensure!(one(&one_client, "SHOW timezone").await?.as_deref() == Some("UTC"));
    let told = one(&one_client, "SELECT count(*) FROM pg_stat_activity").await?;
    ensure!(told.as_deref() == Some("2"), "{told:?} sessions");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_cursors_portals_and_copy() -> Result<()> {
    let recorded = Recorded::new(&[]).await?;
    let mut client = recorded.client().await?;
    let count: i64 = client.query_one("SELECT count(*) FROM changes", &[]).await?.get(0);
    let count = usize::try_from(count)?;

    let transaction = client.transaction().await?;
    let portal = transaction.bind("SELECT seq FROM changes ORDER BY seq", &[]).await?;
    let mut seqs: Vec<i64> = Vec::new();
    loop {
        let part = transaction.query_portal(&portal, 7).await?;
        if part.is_empty() {
            break;
        }
        ensure!(part.len() <= 7);
        seqs.extend(part.iter().map(|row| row.get::<_, i64>(0)));
    }
    ensure!(seqs.len() == count && seqs.is_sorted_by(|a, b| a < b), "{} of {count}", seqs.len());

    transaction.batch_execute("DECLARE c NO SCROLL CURSOR FOR SELECT seq FROM changes ORDER BY seq").await?;
    let rows = |answer: Vec<SimpleQueryMessage>| {
        answer.iter().filter(|message| matches!(message, SimpleQueryMessage::Row(_))).count()
    };
    ensure!(rows(transaction.simple_query("FETCH 10 FROM c").await?) == 10);
    transaction.batch_execute("MOVE 5 IN c").await?;
    let next = transaction.query_one("FETCH NEXT FROM c", &[]).await?.get::<_, i64>(0);
    ensure!(next == seqs[15], "{next}");
    ensure!(rows(transaction.simple_query("FETCH ALL FROM c").await?) == count - 16);
    ensure!(rows(transaction.simple_query("FETCH ALL FROM c").await?) == 0);
    transaction.batch_execute("CLOSE c").await?;
    transaction.commit().await?;

    let copied = client.copy_out("COPY (SELECT path, data, cause FROM changes WHERE path = '/end') TO STDOUT").await?;
    let copied: Vec<_> = copied.try_collect().await?;
    ensure!(copied.concat() == b"/end\t\\\\x00ff\t\\N\n", "{:?}", String::from_utf8_lossy(&copied.concat()));
    let copied = client.copy_out("COPY changes (path, kind) TO STDOUT WITH (FORMAT csv, HEADER)").await?;
    let copied: Vec<_> = copied.try_collect().await?;
    let copied = copied.concat();
    ensure!(copied.starts_with(b"path,kind\n"));
    ensure!(copied.iter().filter(|byte| **byte == b'\n').count() == count + 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_query_ends_with_its_client() -> Result<()> {
    let recorded = Recorded::new(&[]).await?;
    let client = recorded.client().await?;

    // By a cancel request.
    let token = client.cancel_token();
    let (ended, ()) = tokio::join!(client.simple_query(ENDLESS), async {
        recorded.agent_is_busy().await;
        let _ = token.cancel_query(NoTls).await;
    });
    ensure!(ended.is_err_and(|error| code(&error) == "57014"));
    recorded.is_idle().await?;
    ensure!(one(&client, "SELECT 1").await?.as_deref() == Some("1"), "the session goes on");

    // By its timeout.
    client.batch_execute("SET statement_timeout = 200").await?;
    ensure!(refused(&client, ENDLESS).await? == "57014");
    client.batch_execute("SET statement_timeout = 0").await?;
    recorded.is_idle().await?;

    // By another session.
    let other = recorded.client().await?;
    let pid = one(&client, "SELECT pg_backend_pid()").await?.unwrap_or_default();
    let (ended, cancelled) = tokio::join!(client.simple_query(ENDLESS), async {
        recorded.agent_is_busy().await;
        one(&other, &format!("SELECT pg_cancel_backend({pid})")).await
    });
    ensure!(ended.is_err_and(|error| code(&error) == "57014") && cancelled?.as_deref() == Some("t"));
    recorded.is_idle().await?;

    // By a client that goes away: nobody reads its socket any more, and then it is closed.
    let (gone, connection) = tokio_postgres::connect(&recorded.dsn(), NoTls).await?;
    let connection = tokio::spawn(connection);
    let asking = tokio::spawn(async move { gone.simple_query(ENDLESS).await.map(|_| ()) });
    recorded.agent_is_busy().await;
    connection.abort();
    ensure!(asking.await?.is_err(), "there is nobody to answer");
    recorded.is_idle().await
}

impl Recorded {
    async fn agent_is_busy(&self) {
        while self.agent.metric_sum("zktrail_queries_running").await.unwrap_or(0.0) < 1.0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// A pool opens all of its connections at the same moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_takes_a_burst_of_connections() -> Result<()> {
    const BURST: usize = 90;
    let recorded = Recorded::new(&[("--postgres-connections", "100")]).await?;
    let mut opening = tokio::task::JoinSet::new();
    for _ in 0..BURST {
        let dsn = recorded.dsn();
        opening.spawn(async move {
            let (client, connection) = tokio_postgres::connect(&dsn, NoTls).await?;
            tokio::spawn(connection);
            client.simple_query("SELECT 1").await?;
            Ok::<_, tokio_postgres::Error>(client)
        });
    }
    let mut open = Vec::new();
    while let Some(opened) = opening.join_next().await {
        open.push(opened?.with_context(|| format!("after {} of {BURST}", open.len()))?);
    }
    ensure!(open.len() == BURST);
    Ok(())
}

/// Those beyond the bound on beginners are told, also where they say nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_tells_those_it_has_no_room_for() -> Result<()> {
    use tokio::io::AsyncReadExt as _;
    let recorded = Recorded::new(&[]).await?;
    let mut silent = Vec::new();
    for _ in 0..400 {
        silent.push(tokio::net::TcpStream::connect(recorded.agent.postgres()).await?);
    }
    let last = silent.last_mut().context("a connection")?;
    let mut answer = Vec::new();
    tokio::time::timeout(Duration::from_secs(5), last.read_to_end(&mut answer)).await.context("no word")??;
    ensure!(answer.first() == Some(&b'E') && answer.windows(5).any(|code| code == b"53300"), "{answer:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_bounds_its_connections() -> Result<()> {
    let recorded = Recorded::new(&[("--postgres-connections", "2")]).await?;
    let first = recorded.client().await?;
    let _second = recorded.client().await?;
    let third = tokio_postgres::connect(&recorded.dsn(), NoTls).await;
    let Err(error) = third else { bail!("a third connection is open") };
    ensure!(code(&error) == "53300", "{error:?}");
    ensure!(recorded.agent.metric_sum("zktrail_postgres_refused_total").await? >= 1.0);
    let wrong = tokio_postgres::connect(&recorded.dsn().replace("zktrail", "nowhere"), NoTls).await;
    ensure!(wrong.is_err_and(|error| code(&error) == "3D000"));
    drop(first);
    let deadline = Instant::now() + GONE_WITHIN;
    while recorded.client().await.is_err() {
        ensure!(Instant::now() < deadline, "a place that was left is not free");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_catalog_tells_of_every_table() -> Result<()> {
    let recorded = Recorded::new(&[]).await?;
    let client = recorded.client().await?;
    let version = one(&client, "SELECT version()").await?.unwrap_or_default();
    ensure!(version.starts_with("PostgreSQL 16.4 (zktrail "), "{version}");
    for table in ["changes", "znodes", "snapshots", "coverage", "gaps", "sessions", "audit"] {
        let shown = client.prepare(&format!("SELECT * FROM {table}")).await?;
        let listed = client
            .query(
                "SELECT a.attname, a.atttypid::int8 FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid \
                 WHERE c.relname = $1 AND a.attnum > 0 ORDER BY a.attnum",
                &[&table],
            )
            .await?;
        let named =
            client.query("SELECT column_name FROM information_schema.columns WHERE table_name = $1", &[&table]).await?;
        ensure!(listed.len() == shown.columns().len() && named.len() == listed.len(), "{table}");
        for (listed, column) in listed.iter().zip(shown.columns()) {
            let name = listed.get::<_, &str>(0);
            ensure!(name == column.name(), "{table}: {name} and {}", column.name());
            let of = listed.get::<_, i64>(1);
            ensure!(of == i64::from(column.type_().oid()), "{table}.{name}: {of} and {}", column.type_());
        }
    }
    for nothing in ["pg_index", "pg_constraint"] {
        ensure!(one(&client, &format!("SELECT count(*) FROM pg_catalog.{nothing}")).await?.as_deref() == Some("0"));
    }
    // Its own words, as its users type them.
    let Ok(found) = Command::new("psql").arg("--version").stdout(Stdio::null()).status() else {
        skip("postgres_catalog_tells_of_every_table", "psql is not installed (Debian: postgresql-client)");
        return Ok(());
    };
    ensure!(found.success());
    for words in ["\\d", "\\dt", "\\dv", "\\dn", "\\l", "\\df", "\\du", "\\d changes", "\\dp", "\\conninfo"] {
        let mut psql = Command::new("psql");
        psql.args(["-X", "-v", "ON_ERROR_STOP=1", "-d", &recorded.dsn(), "-c", words]).stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || psql.output()).await??;
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success() && !err.contains("ERROR"), "{words}: {out}{err}");
    }
    Ok(())
}

/// No bytes, before or after the startup, take the agent down.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_hostile_bytes() -> Result<()> {
    const CONNECTIONS: usize = 200;
    let recorded = Recorded::new(&[]).await?;
    let mut random = fastrand::Rng::with_seed(4);
    let startup = b"\0\0\0\x1c\0\x03\0\0user\0eve\0database\0\0\0";
    for turn in 0..CONNECTIONS {
        let mut socket = TcpStream::connect(recorded.agent.postgres()).await?;
        let mut bytes = Vec::new();
        if turn % 4 > 0 {
            bytes.extend_from_slice(startup);
        }
        for _ in 0..random.usize(1..20) {
            let body: Vec<u8> = (0..random.usize(0..40)).map(|_| random.u8(..)).collect();
            let length = match turn % 3 {
                0 => random.u32(..),
                _ => u32::try_from(body.len() + 4)?,
            };
            bytes.push(*random.choice(b"QPBDECHSXpdcfF?").context("a type")?);
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(&body);
        }
        let _ = socket.write_all(&bytes).await;
        let _ = socket.shutdown().await;
        // It closes, or answers what it understood; it does not hang.
        let mut answer = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(30), socket.read_to_end(&mut answer)).await;
        ensure!(read.is_ok(), "turn {turn}: no end after 30 s");
    }
    let client = recorded.client().await?;
    for _ in 0..200 {
        let text: String = (0..random.usize(0..60)).map(|_| *random.choice(WORDS).unwrap_or(&"x")).collect();
        let _ = client.simple_query(&text).await;
    }
    ensure!(!client.is_closed() && one(&client, "SELECT 1").await?.as_deref() == Some("1"));
    ensure!(!recorded.agent.logs().contains("panicked"), "{}", recorded.agent.logs());
    Ok(())
}

/// What hostile statements are made of.
const WORDS: &[&str] = &[
    "SELECT ",
    "FROM ",
    "changes ",
    "(",
    ")",
    ",",
    "'",
    "\"",
    ";",
    "--\n",
    "/*",
    "*/",
    "$1",
    "$$",
    "::",
    "int ",
    "COPY ",
    "TO ",
    "STDOUT ",
    "DECLARE ",
    "CURSOR ",
    "FOR ",
    "FETCH ",
    "-",
    "1",
    "e99999999",
    "NULL ",
    "LIKE ",
    "ESCAPE ",
    "ANY",
    "[",
    "]",
    "{",
    "}",
    "ä",
    "\\",
    "pg_class ",
    "regclass ",
    "WITH ",
    "RECURSIVE ",
    "UNION ",
    "SET ",
    "= ",
    "BEGIN ",
    "ROLLBACK ",
    "interval ",
    "CASE ",
    "WHEN ",
    "END ",
    ".",
    "*",
    "ORDER BY ",
    "LIMIT ",
];
