//! `zktrail tail` against a real agent on a real server: every change once, whatever restarts.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::agent::{Agent, Settings};
use crate::prerequisites::{history_folder, skip};
use crate::servers::{Ensemble, Shape, Version};
use crate::workload;

const BINARY: &str = env!("CARGO_BIN_EXE_zktrail");
const WITHIN: Duration = Duration::from_secs(60);
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// A running `zktrail tail`. Dropping it kills it.
struct Tail {
    process: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Tail {
    fn start(folder: &Path, name: &str, arguments: &[&str]) -> Result<Self> {
        let (out, err) = (folder.join(format!("{name}.out")), folder.join(format!("{name}.err")));
        let append = |path: &Path| File::options().create(true).append(true).open(path);
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", BINARY, "tail"]).args(arguments);
        command.stdin(Stdio::null()).stdout(append(&out)?).stderr(append(&err)?);
        Ok(Self { process: command.spawn().context("starting zktrail tail")?, out, err })
    }

    fn said(&self) -> Result<String> {
        Ok(fs::read_to_string(&self.err)?)
    }

    /// The whole lines that it wrote.
    fn rows(&self) -> Result<Vec<Value>> {
        rows(&self.out)
    }

    /// SIGKILL.
    fn kill(mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    async fn terminate(mut self) -> Result<(ExitStatus, String)> {
        let pid = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        self.ended().await
    }

    async fn ended(&mut self) -> Result<(ExitStatus, String)> {
        let deadline = Instant::now() + WITHIN;
        loop {
            if let Some(status) = self.process.try_wait()? {
                return Ok((status, self.said()?));
            }
            ensure!(Instant::now() < deadline, "zktrail tail does not end: {}", self.said()?);
            tokio::time::sleep(LOOK_AGAIN_AFTER).await;
        }
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn rows(path: &Path) -> Result<Vec<Value>> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| serde_json::from_str(line).with_context(|| format!("{line:?}"))).collect()
}

fn seqs(rows: &[Value]) -> Vec<i64> {
    rows.iter().filter_map(|row| row["seq"].as_i64()).collect()
}

fn kinds<'a>(rows: &'a [Value], kind: &str) -> Vec<&'a Value> {
    rows.iter().filter(|row| row["kind"] == kind).collect()
}

async fn until(what: &str, mut is: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + WITHIN;
    while !is()? {
        if Instant::now() > deadline {
            bail!("{what}: not within {WITHIN:?}");
        }
        tokio::time::sleep(LOOK_AGAIN_AFTER).await;
    }
    Ok(())
}

async fn recorded(agent: &Agent) -> Result<Vec<i64>> {
    Ok(seqs(&agent.sql("SELECT seq FROM changes ORDER BY seq").await?))
}

/// One znode's whole life, 25 times, and one that stays.
async fn work(client: &zookeeper_client::Client, root: &str) -> Result<()> {
    workload::create(client, root, b"").await?;
    for number in 0..25 {
        let path = format!("{root}/{number}");
        workload::create(client, &path, b"one").await?;
        workload::set(client, &path, b"two").await?;
        workload::delete(client, &path).await?;
    }
    // A value that nothing overtakes before it is read.
    workload::create(client, &format!("{root}/kept"), b"hostile \x1b[31m\n").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_once_across_restarts() -> Result<()> {
    if let Some(missing) = Ensemble::missing(Version::V3_9) {
        skip("every_change_once_across_restarts", &missing);
        return Ok(());
    }
    let ensemble = Ensemble::start(Version::V3_9, Shape::Standalone).await?;
    let connect = ensemble.connect_string();
    let (folder, scratch) = (history_folder()?, tempfile::tempdir()?);
    let mut agent = Agent::start(Settings::new(&connect, folder.path())).await?;
    let url = format!("http://{}", agent.http());
    let file = |name: &str| scratch.path().join(name).display().to_string();

    let (lines_cursor, handler_cursor, handled) = (file("lines"), file("handler"), file("handled"));
    let lines = ["--agent", &url, "--since", "oldest", "--format", "json", "--cursor-file", &lines_cursor];
    let append = format!("cat >> '{handled}'");
    let handler = ["--agent", &url, "--since", "oldest", "--cursor-file", &handler_cursor, "--exec", &append];
    let text = ["--agent", &url, "--since", "oldest", "/before/*", "--kind", "created,data_changed"];
    let tail = Tail::start(scratch.path(), "lines", &lines)?;
    let exec = Tail::start(scratch.path(), "exec", &handler)?;
    let plain = Tail::start(scratch.path(), "text", &text)?;

    let client = workload::session(&connect).await?;
    work(&client, "/before").await?;
    agent.sees("/before/kept").await?;
    agent.kill9()?;
    until("the absence is told", || Ok(tail.said()?.contains("is away") && exec.said()?.contains("is away"))).await?;
    workload::create(&client, "/while away", b"").await?;
    agent.start_again().await?;
    work(&client, "/after").await?;
    agent.sees("/after/kept").await?;
    let expected = recorded(&agent).await?;
    ensure!(expected.len() > 150, "{} changes", expected.len());
    until("every change is shown", || Ok(seqs(&tail.rows()?).len() >= expected.len())).await?;
    until("every change is handled", || Ok(rows(Path::new(&handled))?.len() >= expected.len())).await?;
    let shown = tail.rows()?;
    ensure!(seqs(&shown) == expected, "shown {:?}, recorded {expected:?}", seqs(&shown));
    ensure!(seqs(&rows(Path::new(&handled))?) == expected, "each is handled once, in order");
    // The gap is in the stream: it begins before what the rescan found, and ends after it.
    let place = |wanted: &dyn Fn(&Value) -> bool| shown.iter().position(wanted);
    let away = place(&|row| row["path"] == "/while away").context("what happened meanwhile is found")?;
    ensure!(shown[away]["source"] == "rescan", "{}", shown[away]);
    let (opened, closed) = (place(&|row| row["kind"] == "gap_opened"), place(&|row| row["kind"] == "gap_closed"));
    ensure!(opened < Some(away) && opened.is_some(), "the gap opens at {opened:?}, the row is at {away}");
    ensure!(closed > Some(away), "the gap closes at {closed:?}, the row is at {away}");
    ensure!(kinds(&shown, "gap_opened").len() == 1 && kinds(&shown, "gap_closed").len() == 1);
    for name in ["is away", "is back after"] {
        ensure!(tail.said()?.matches(name).count() == 1, "{:?}", tail.said()?);
    }
    // Filters, and values that stay on their line.
    let shows = |what: &str| -> Result<usize> { Ok(fs::read_to_string(&plain.out)?.matches(what).count()) };
    until("what the filter lets pass", || Ok(shows("/before/")? >= 51 && shows("GAP ENDS")? >= 1)).await?;
    let page = fs::read_to_string(&plain.out)?;
    ensure!(shows("/before/")? == 51 && shows("deleted")? == 0 && shows("/after")? == 0, "{page}");
    ensure!(page.contains("hostile \\u{1b}[31m\\n") && !page.contains('\x1b'), "{page}");

    // One that is killed goes on in another process; so does one that is told to end.
    exec.kill()?;
    let (status, said) = tail.terminate().await?;
    ensure!(status.code() == Some(0), "SIGTERM ends it with {status}: {said}");
    work(&client, "/later").await?;
    agent.sees("/later/kept").await?;
    let expected = recorded(&agent).await?;
    let ends = [&lines[..], &["--no-follow"]].concat();
    let (status, said) = Tail::start(scratch.path(), "lines", &ends)?.ended().await?;
    ensure!(status.code() == Some(0), "--no-follow ends with {status}: {said}");
    let shown = rows(&scratch.path().join("lines.out"))?;
    ensure!(seqs(&shown) == expected, "shown {:?}, recorded {expected:?}", seqs(&shown));
    let ends = [&handler[..], &["--no-follow", "--exec-concurrency", "4"]].concat();
    let (status, said) = Tail::start(scratch.path(), "exec", &ends)?.ended().await?;
    ensure!(status.code() == Some(0), "--exec ends with {status}: {said}");
    let mut handled = seqs(&rows(Path::new(&handled))?);
    handled.sort_unstable();
    handled.dedup();
    ensure!(handled == expected, "handled {handled:?}, recorded {expected:?}");

    // Any line's cursor goes on behind that line, also without an agent.
    ensure!(agent.terminate().await? == 0);
    let place = shown.len() / 2;
    let cursor = shown[place]["cursor"].as_str().context("a line has its cursor")?;
    let dir = folder.path().display().to_string();
    let rest = ["--data-dir", &dir, "--format", "json", "--no-follow", "--cursor", cursor];
    let (status, said) = Tail::start(scratch.path(), "rest", &rest)?.ended().await?;
    ensure!(status.code() == Some(0), "a folder ends with {status}: {said}");
    ensure!(seqs(&rows(&scratch.path().join("rest.out"))?) == seqs(&shown[place + 1..]), "behind {place}");

    // Another history is not taken for this one.
    let other = history_folder()?;
    let mut agent = Agent::start(Settings::new(&connect, other.path())).await?;
    workload::create(&client, "/elsewhere", b"").await?;
    agent.sees("/elsewhere").await?;
    ensure!(agent.terminate().await? == 0);
    let dir = other.path().display().to_string();
    let wrong = ["--data-dir", &dir, "--no-follow", "--cursor", cursor];
    let (status, said) = Tail::start(scratch.path(), "wrong", &wrong)?.ended().await?;
    ensure!(status.code() == Some(1) && said.contains("another history"), "{status}: {said}");
    Ok(())
}
