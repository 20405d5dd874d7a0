//! What the server's own `TxnLogToolkit -d` prints, from what we read.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use zktrail::source::jute::Op;
use zktrail::source::jute::txn::{Acls, CreationKind, Digests, Entry, Txn};
use zktrail::source::txnlog::{Segment, Step};

use super::java;
use crate::servers::Version;

/// Holds our reading of a segment against the toolkit's, record by record; gives how many there were, and how long the
/// toolkit took when nobody held it up.
pub(super) fn compare(version: Version, log: &Path) -> Result<(usize, Duration)> {
    let started = Instant::now();
    let mut toolkit = command(version, log)?.stdout(Stdio::null()).spawn()?;
    ensure!(toolkit.wait()?.success(), "the toolkit failed on {}", log.display());
    let took = started.elapsed();

    let mut toolkit = command(version, log)?.stdout(Stdio::piped()).spawn()?;
    let mut printed = BufReader::with_capacity(1 << 20, toolkit.stdout.take().context("piped")?);
    let records = compare_with(version, &mut printed, log);
    // It would wait for us to read on.
    let _ = toolkit.kill();
    toolkit.wait()?;
    Ok((records?, took))
}

fn command(version: Version, log: &Path) -> Result<Command> {
    let jars = version.jars().context("the cache has no jars: run tests/run prepare")?;
    let mut command = Command::new("java");
    command.args(["-Duser.timezone=UTC", "-Duser.language=en", "-Duser.country=US"]);
    command.args(["-Dfile.encoding=UTF-8", "-Dstdout.encoding=UTF-8", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]);
    command.arg("-cp").arg(jars.join("*")).arg("org.apache.zookeeper.server.persistence.TxnLogToolkit");
    command.arg("-d").arg(log);
    Ok(command)
}

fn compare_with(version: Version, printed: &mut impl BufRead, log: &Path) -> Result<usize> {
    expect(printed, b"ZooKeeper Transactional Log File with dbid 0 txnlog format version 2\n")?;
    let file = std::fs::File::open(log)?;
    let mut segment = Segment::open(&log.display().to_string(), file, false)?;
    let mut digests = Digests::default();
    let mut records = 0;
    let mut due = String::new();
    while segment.advance()? == Step::Record {
        let record = segment.record().context("a record")?;
        let entry = Entry::read(record.payload, &mut digests)?;
        let at = format!("record {records} at byte {} of {}: {entry:?}", record.offset, log.display());
        // Only the time is printed differently by different versions of Java.
        let mut time = Vec::new();
        printed.read_until(b's', &mut time)?;
        let time = String::from_utf8(time)?.replace('\u{202f}', " ").replace(',', "");
        let due_time = chrono::DateTime::from_timestamp_millis(entry.header.time_ms).context("a time")?;
        ensure!(time == due_time.format("%-m/%-d/%y %-I:%M:%S %p UTC s").to_string(), "{time:?} of {at}");
        due.clear();
        print(version, &entry, &mut due)?;
        expect(printed, due.as_bytes()).context(at)?;
        records += 1;
    }
    expect(printed, format!("EOF reached after {records} txns.\n").as_bytes())?;
    Ok(records)
}

fn expect(printed: &mut impl BufRead, due: &[u8]) -> Result<()> {
    let mut got = vec![0; due.len()];
    printed.read_exact(&mut got).with_context(|| format!("it ends where {:?} is due", String::from_utf8_lossy(due)))?;
    if got != due {
        let _ = printed.take(200).read_to_end(&mut got);
        let (got, due) = (String::from_utf8_lossy(&got), String::from_utf8_lossy(due));
        anyhow::bail!("the toolkit prints\n{got:?}\nand we read\n{due:?}");
    }
    Ok(())
}

/// The rest of a line, behind the time and the `s` of `session`.
fn print(version: Version, entry: &Entry<'_>, to: &mut String) -> Result<()> {
    let header = &entry.header;
    let (session, cxid, zxid) = (header.session_id, i64::from(header.cxid), header.zxid);
    write!(to, "ession 0x{session:x} cxid 0x{cxid:x} zxid 0x{zxid:x} {} ", name(version, entry.txn.op()))?;
    body(version, &entry.txn, to)?;
    if !to.ends_with('\n') {
        to.push('\n');
    }
    Ok(())
}

fn body(version: Version, txn: &Txn<'_>, to: &mut String) -> Result<()> {
    match txn {
        Txn::Create(creation) => {
            write!(to, "{},{},{}", creation.path, text(creation.data), acl_list(&creation.acls))?;
            let parent_cversion = creation.parent_cversion;
            match creation.kind {
                CreationKind::Create { ephemeral } | CreationKind::Create2 { ephemeral } => {
                    write!(to, ",{ephemeral},{parent_cversion}")?;
                }
                CreationKind::Container => write!(to, ",{parent_cversion}")?,
                CreationKind::Ttl { ttl_ms } => write!(to, ",{parent_cversion},{ttl_ms}")?,
            }
        }
        Txn::SetData { path, data, version, .. } => write!(to, "{path},{},{version}", text(*data))?,
        Txn::Multi(parts) => {
            for (at, part) in parts.iter().enumerate() {
                let separator = if at == 0 { "" } else { ";" };
                // The toolkit does not take parts apart: it shows their bytes as a text.
                write!(to, "{separator}{}:{}", name(version, part.op()), text(Some(&part.body_bytes())))?;
            }
        }
        Txn::CloseSession { ephemerals: None } => {}
        Txn::CloseSession { ephemerals: Some(paths) } => {
            let paths: Vec<String> = paths.iter().map(escape).collect();
            writeln!(to, "v{{{}}}", paths.join(","))?;
        }
        Txn::CreateSession { timeout_ms: int } | Txn::Error { code: int } => writeln!(to, "{int}")?,
        Txn::Delete { path, .. } => writeln!(to, "{}", escape(path))?,
        Txn::Check { path, version } => writeln!(to, "{},{version}", escape(path))?,
        Txn::SetAcl { path, acls, version } => {
            let acls: Vec<String> = acls.iter().map(|entry| format!("s{{{}}}", acl(entry))).collect();
            writeln!(to, "{},v{{{}}},{version}", escape(path), acls.join(","))?;
        }
    }
    Ok(())
}

fn name(version: Version, op: Op) -> &'static str {
    match op {
        Op::CreateSession => "createSession",
        Op::CloseSession => "closeSession",
        Op::Error => "error",
        Op::Create => "create",
        Op::Create2 => "create2",
        Op::CreateContainer => "createContainer",
        Op::CreateTtl if version != Version::V3_9 => "createTtl",
        Op::CreateTtl => "createTTL",
        Op::Delete => "delete",
        Op::DeleteContainer => "deleteContainer",
        Op::SetData => "setData",
        Op::SetAcl => "setACL",
        Op::Reconfig => "reconfig",
        Op::Check => "check",
        Op::Multi => "multi",
        _ => "unknown",
    }
}

fn text(data: Option<&[u8]>) -> String {
    java::text(data.unwrap_or_default())
}

/// A list of Java's, of records whose text ends a line each.
fn acl_list(acls: &Acls<'_>) -> String {
    let entries: Vec<String> = acls.iter().map(|entry| format!("{}\n", acl(entry))).collect();
    format!("[{}]", entries.join(", "))
}

fn acl<S: AsRef<str>>((perms, scheme, id): (i32, S, S)) -> String {
    format!("{perms},s{{{},{}}}", escape(scheme.as_ref()), escape(id.as_ref()))
}

fn escape(text: &str) -> String {
    let mut escaped = "'".to_owned();
    for letter in text.chars() {
        match letter {
            '\0' => escaped.push_str("%00"),
            '\n' => escaped.push_str("%0A"),
            '\r' => escaped.push_str("%0D"),
            '%' => escaped.push_str("%25"),
            ',' => escaped.push_str("%2C"),
            '}' => escaped.push_str("%7D"),
            other => escaped.push(other),
        }
    }
    escaped
}
