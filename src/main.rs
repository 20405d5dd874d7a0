//! Parses the arguments, calls the subcommand, sets the exit code.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    bound_arenas();
    zktrail::cli::run(zktrail::cli::Cli::parse())
}

/// Lets glibc's allocator keep as many arenas as there are cores, in place of eight times as many.
///
/// What one thread frees, others cannot use where each has an arena of its own: under 50 clients' queries memory grew by
/// 8 MB a second.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "mallopt has no safe form; it is called before there is a second thread")]
fn bound_arenas() {
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let arenas = libc::c_int::try_from(cores.max(2)).unwrap_or(libc::c_int::MAX);
    // Where it is refused, everything works as before.
    let _ = unsafe { libc::mallopt(libc::M_ARENA_MAX, arenas) };
}

#[cfg(not(target_env = "gnu"))]
fn bound_arenas() {}
