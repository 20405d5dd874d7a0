//! Runs a command for each change: bounded concurrency, a timeout, and a count of what went wrong.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, Signal, kill_process_group};

/// How often a running handler is looked after, at first and at last.
const LOOK_AFTER_MIN: Duration = Duration::from_millis(1);
const LOOK_AFTER_MAX: Duration = Duration::from_millis(20);

/// The command and its bounds.
#[derive(Clone, Debug)]
pub(super) struct Handler {
    /// For `sh -c`.
    pub command: String,
    /// 1: one after the other, in order. More: so many at a time, in no order.
    pub concurrency: usize,
    /// A handler that runs longer is killed with everything that it started.
    pub timeout: Duration,
}

/// Why a handler is counted as failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandlerError {
    #[error("cannot be started: {0}")]
    Start(#[from] std::io::Error),
    #[error("did not end within {0:?} and was killed")]
    Timeout(Duration),
    #[error("ended with {}", code.map_or_else(|| format!("signal {}", signal.unwrap_or_default()), |code| code.to_string()))]
    Ended { code: Option<i32>, signal: Option<i32> },
}

impl Handler {
    /// Runs the command for each input. `ended` hears of each as it ends: its place, how it went, and how many of the
    /// inputs have ended without one before them that has not. Where `stop` says so no more are started, and those that
    /// run are waited for.
    pub(super) fn run_all(
        &self,
        inputs: &[String],
        stop: impl Fn() -> bool + Sync,
        mut ended: impl FnMut(usize, Result<(), HandlerError>, usize),
    ) {
        let next = AtomicUsize::new(0);
        let (tell, told) = mpsc::sync_channel(self.concurrency);
        std::thread::scope(|scope| {
            for _ in 0..self.concurrency.min(inputs.len()) {
                let (tell, next, stop) = (tell.clone(), &next, &stop);
                scope.spawn(move || {
                    while !stop() {
                        let at = next.fetch_add(1, Ordering::Relaxed);
                        let Some(input) = inputs.get(at) else { return };
                        if tell.send((at, self.run(input))).is_err() {
                            return;
                        }
                    }
                });
            }
            drop(tell);
            let mut prefix = Prefix::default();
            for (at, result) in told {
                ended(at, result, prefix.done(at));
            }
        });
    }

    /// Runs the command once, with the input and an end of line on its standard input.
    fn run(&self, input: &str) -> Result<(), HandlerError> {
        // A file in memory instead of a pipe: nobody waits for a handler that does not read.
        let mut stdin = File::from(memfd_create("zktrail-change", MemfdFlags::CLOEXEC).map_err(std::io::Error::from)?);
        stdin.write_all(input.as_bytes())?;
        stdin.write_all(b"\n")?;
        stdin.rewind()?;
        let mut command = Command::new("sh");
        // A group of its own: Ctrl-C ends the tail after the handler, and a timeout ends all that it started.
        command.arg("-c").arg(&self.command).stdin(Stdio::from(stdin)).process_group(0);
        let mut child = command.spawn()?;
        let deadline = Instant::now() + self.timeout;
        let mut pause = LOOK_AFTER_MIN;
        loop {
            if let Some(status) = child.try_wait()? {
                return match status.success() {
                    true => Ok(()),
                    false => Err(HandlerError::Ended { code: status.code(), signal: status.signal() }),
                };
            }
            if Instant::now() >= deadline {
                end(&mut child);
                return Err(HandlerError::Timeout(self.timeout));
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(LOOK_AFTER_MAX);
        }
    }
}

/// Kills a child that was not waited for yet, with its group.
fn end(child: &mut Child) {
    // It is its group's leader and not reaped: the id is still its own.
    let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
    let _ = child.wait();
}

/// How many of the first have ended, in whatever order they end.
#[derive(Debug, Default)]
struct Prefix {
    length: usize,
    beyond: BTreeSet<usize>,
}

impl Prefix {
    fn done(&mut self, at: usize) -> usize {
        self.beyond.insert(at);
        while self.beyond.remove(&self.length) {
            self.length += 1;
        }
        self.length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handler(command: &str, concurrency: usize) -> Handler {
        Handler { command: command.to_owned(), concurrency, timeout: Duration::from_secs(20) }
    }

    fn inputs(count: usize) -> Vec<String> {
        (0..count).map(|at| at.to_string()).collect()
    }

    #[test]
    fn the_prefix_waits_for_the_slowest() {
        let mut prefix = Prefix::default();
        assert_eq!([2, 0, 1, 4, 3].map(|at| prefix.done(at)), [0, 1, 3, 3, 5]);
    }

    #[test]
    fn one_at_a_time_keeps_the_order() {
        let folder = tempfile::tempdir().expect("a folder");
        let out = folder.path().join("out");
        let mut seen = Vec::new();
        let command = format!("cat >> '{}'", out.display());
        handler(&command, 1).run_all(
            &inputs(9),
            || false,
            |at, result, prefix| {
                result.expect("it succeeds");
                seen.push((at, prefix));
            },
        );
        assert_eq!(seen, (0..9).map(|at| (at, at + 1)).collect::<Vec<_>>());
        assert_eq!(std::fs::read_to_string(out).expect("written"), "0\n1\n2\n3\n4\n5\n6\n7\n8\n");
    }

    #[test]
    fn several_at_a_time_get_each_input_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let command = format!("read n; mkdir '{}'/$n", folder.path().display());
        let (mut count, mut last) = (0, 0);
        handler(&command, 4).run_all(
            &inputs(20),
            || false,
            |_, result, prefix| {
                result.expect("it succeeds");
                count += 1;
                last = prefix;
            },
        );
        assert_eq!((count, last), (20, 20));
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 20);
    }

    #[test]
    fn failures_are_told_and_inputs_need_not_be_read() {
        let large = "x".repeat(1 << 20);
        let run = |command: &str, timeout: Duration| {
            let mut told = String::new();
            let handler = Handler { timeout, ..handler(command, 1) };
            handler.run_all(
                std::slice::from_ref(&large),
                || false,
                |_, result, _| {
                    told = result.err().map(|error| error.to_string()).unwrap_or_default();
                },
            );
            told
        };
        let long = Duration::from_secs(20);
        assert_eq!(run("exit 0", long), "");
        assert_eq!(run("exit 3", long), "ended with 3");
        assert_eq!(run("kill -9 $$", long), "ended with signal 9");
        assert_eq!(run("sleep 60 & sleep 60", Duration::from_millis(50)), "did not end within 50ms and was killed");
    }

    #[test]
    fn a_stop_starts_no_more() {
        let stopped = std::sync::atomic::AtomicBool::new(false);
        let mut count = 0;
        handler("true", 1).run_all(
            &inputs(100),
            || stopped.load(Ordering::SeqCst),
            |_, _, _| {
                count += 1;
                stopped.store(true, Ordering::SeqCst);
            },
        );
        assert!((1..=3).contains(&count), "{count}");
    }
}
